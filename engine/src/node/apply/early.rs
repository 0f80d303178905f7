//! Writing early: rows are written while those behind them are still being read and decided.
//!
//! That is done with rows of which everything is known, in the transaction in which the rest of the batch follows: its positions
//! are claimed, and every lot of rows is looked at like any other. Whatever is out of the ordinary undoes all of it, and
//! the batch is then applied as if nothing had been.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;
use tracing::debug;

use super::{Batch, CHUNK, TableBatch};
use crate::fault;
use crate::model::{Cut, Key, Row, TableSpec};
use crate::node::{Error, ErrorKind, Move, Node, Result, WriteMode};

/// How long what was written so far stays locked while nothing follows: users wait for it, and a source may be slow.
const PATIENCE: Duration = Duration::from_millis(250);

/// The same in all: a source may send a little now and then.
const PATIENCE_IN_ALL: Duration = Duration::from_secs(1);

/// Rows are written in multiples of so many as long as more follow: a statement for another number of rows is another one, that
/// MySQL and MariaDB would have to prepare first.
pub const STEP: usize = 1_000;

/// What is known before the first row.
#[derive(Debug)]
pub struct Beginning {
    /// In multiples of how many rows to write, [`STEP`] or fewer.
    pub step: usize,
    /// The tables that the batch may write, with up to where the node's own history was read. They are held and looked at once,
    /// before the first row.
    pub tables: Vec<(TableSpec, Option<Cut>)>,
    /// What the batch will claim: the positions that move, and those that stay.
    pub claimed: Vec<Move>,
}

/// What is to be written next.
#[derive(Debug)]
pub enum Next {
    Row(Ready),
    /// There are no more. Whoever leaves before all of them are written wants nothing of it.
    End,
}

/// A row of which everything is known.
#[derive(Debug)]
pub struct Ready {
    /// The place of its table in [`Beginning::tables`].
    pub table: usize,
    /// The place of its decision among those of the table.
    pub number: usize,
    pub key: Key,
    /// In the node's own shape.
    pub row: Arc<Row>,
}

/// What came of it.
#[derive(Debug, Default)]
pub enum Early {
    /// No transaction is open.
    #[default]
    Nothing,
    /// Nor is there one: somebody was waited for in vain, for so long.
    Warily(Duration),
    /// The transaction is open.
    Begun(Begun),
    /// It could not be begun.
    Unbegun(Error),
    /// There is no use in trying the rest.
    Failed(Error),
}

/// A transaction in which a part of a batch is written.
#[derive(Debug)]
pub struct Begun {
    claimed: Vec<Move>,
    /// By table index: which decisions are carried out, by their places.
    done: Vec<(usize, Vec<bool>)>,
    pub(super) written: u64,
}

impl Begun {
    /// Whether it has claimed all that the batch does, and holds all tables that the batch writes.
    pub(super) fn fits(&self, batch: &Batch) -> bool {
        let known = |step: &Move| self.claimed.iter().any(|claimed| claimed.is_of(step) && claimed.from == step.from);
        let held = |table: &TableBatch| self.done.iter().any(|(index, _)| *index == table.spec.index);
        batch.moves.iter().chain(&batch.stays).all(known) && batch.tables.iter().all(held)
    }

    /// Which decisions about a table are carried out, by their places; there may be more.
    pub(super) fn of(&self, index: usize) -> &[bool] {
        self.done.iter().find(|(table, _)| *table == index).map_or(&[], |(_, done)| done)
    }
}

/// Writes rows as they come, until they end.
pub async fn write(node: &mut dyn Node, beginning: Beginning, mut rows: UnboundedReceiver<Next>) -> Early {
    // It has told all that is asked of it.
    if let Err(error) = node.end_read().await {
        return Early::Failed(error);
    }
    // Nothing is locked before there is something to write.
    let Some(Next::Row(first)) = rows.recv().await else { return Early::Nothing };
    if rows.is_closed() {
        return Early::Nothing;
    }
    let specs: Vec<TableSpec> = beginning.tables.iter().map(|(spec, _)| spec.clone()).collect();
    let begun = async {
        fault::point("early-begin").await?;
        node.begin_apply(&specs).await
    };
    if let Err(error) = begun.await {
        // Whatever that comes to, nothing was written.
        let _ = node.rollback().await;
        return Early::Unbegun(error);
    }
    let mut since = Instant::now();
    let early = match write_all(node, &beginning, first, &mut rows, &mut since).await {
        Ok(Some((done, written))) => {
            return Early::Begun(Begun { claimed: beginning.claimed, done, written });
        }
        Ok(None) => Early::Nothing,
        Err(error) => {
            // The error may be about a row, and its text hold values of it.
            debug!(kind = ?error.kind, "What was written early is undone.");
            match error.kind {
                ErrorKind::Retry | ErrorKind::Locked => Early::Warily(since.elapsed()),
                // Whoever falls silent or away is not waited for a second time.
                _ if error.is_absence() => Early::Failed(error),
                _ => Early::Nothing,
            }
        }
    };
    match node.rollback().await {
        Ok(()) => early,
        Err(error) => Early::Failed(error),
    }
}

/// `None` if something was out of the ordinary. `since` is when the last of what could fail was begun.
async fn write_all(
    node: &mut dyn Node,
    beginning: &Beginning,
    first: Ready,
    rows: &mut UnboundedReceiver<Next>,
    since: &mut Instant,
) -> Result<Option<(Vec<(usize, Vec<bool>)>, u64)>> {
    if !node.claim(&beginning.claimed).await? {
        return Ok(None);
    }
    let mut done: Vec<(usize, Vec<bool>)> = beginning.tables.iter().map(|(spec, _)| (spec.index, Vec::new())).collect();
    let mut written = 0;
    let mut left = vec![first];
    let mut patience = PATIENCE_IN_ALL;
    loop {
        let mut lot = std::mem::take(&mut left);
        let mut ended = false;
        while lot.len() < CHUNK && !ended {
            let next = match rows.try_recv() {
                Ok(next) => next,
                Err(_) if lot.len() >= beginning.step => break,
                Err(_) => {
                    let start = Instant::now();
                    let coming = tokio::time::timeout(PATIENCE.min(patience), rows.recv()).await;
                    patience = patience.saturating_sub(start.elapsed());
                    match coming {
                        Ok(Some(next)) => next,
                        Ok(None) => return Ok(None),
                        Err(_) => {
                            debug!("Rows come too slowly to keep what they are written to locked.");
                            return Ok(None);
                        }
                    }
                }
            };
            match next {
                Next::Row(row) => lot.push(row),
                Next::End => ended = true,
            }
        }
        if !ended {
            left = lot.split_off(lot.len() - lot.len() % beginning.step);
        }
        if rows.is_closed() {
            return Ok(None);
        }
        for (table, (spec, read)) in beginning.tables.iter().enumerate() {
            let of_table: Vec<&Ready> = lot.iter().filter(|ready| ready.table == table).collect();
            if of_table.is_empty() {
                continue;
            }
            fault::point("early-write").await?;
            *since = Instant::now();
            let rows: Vec<&Row> = of_table.iter().map(|ready| &*ready.row).collect();
            let count = node.write(&[(spec, &rows[..], WriteMode::Upsert)]).await?;
            if count != rows.len() as u64 {
                return Ok(None);
            }
            let keys: Vec<&Key> = of_table.iter().map(|ready| &ready.key).collect();
            if let Some(read) = read
                && !node.unseen(spec, read, &keys).await?.is_empty()
            {
                return Ok(None);
            }
            written += count;
            let done = &mut done[table].1;
            for ready in of_table {
                done.resize(done.len().max(ready.number + 1), false);
                done[ready.number] = true;
            }
        }
        if ended {
            return Ok(Some((done, written)));
        }
    }
}
