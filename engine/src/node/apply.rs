//! How a batch of decisions is written to one database: the same for every kind, in terms of [`Node`]'s primitives.
//!
//! The order of events is what keeps promises 12 to 15. Positions are claimed first, so that of two engines one gives
//! up. Rows are written before anybody looks for changes that were not read: once a row is written it is locked, and
//! whatever a user committed to it before that is visible by then. Those rows are undone and wait. Everything else
//! commits together with its notes, its journal and its positions.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::{Constraint, Error, ErrorKind, Move, Node, Note, Refusal, Result, WriteMode};
use crate::fault;
use crate::model::{Cut, Key, Lost, OnGone, Parked, ParkedCode, Row, Stamp, TableSpec, Vector, time};

/// Rows in one statement: few round trips, and not too much to undo when a row is refused. Other sizes were not measured.
const CHUNK: usize = 5_000;

/// How often a batch that met a deadlock or a lock time-out is tried before the cycle gives up on this node.
const ATTEMPTS: u32 = 6;

/// After this there is no third attempt: the other nodes wait for the end of the cycle.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one node is to take in one transaction.
#[derive(Debug, Default)]
pub struct Batch {
    pub moves: Vec<Move>,
    /// Positions that do not move, and have to stand where they were read all the same: what was decided without news,
    /// such as about rows that wait, must not overwrite what another engine has brought since.
    pub stays: Vec<Move>,
    pub tables: Vec<TableBatch>,
    /// Indexes into `tables`, parents before children; tables that refer to each other stand together.
    pub order: Vec<Vec<usize>>,
}

/// The part of a [`Batch`] that concerns one table.
#[derive(Debug)]
pub struct TableBatch {
    pub spec: Arc<TableSpec>,
    /// Up to where this node's own history was read, if it has one: what lies beyond was not seen by the decisions.
    pub read: Option<Cut>,
    pub decisions: Vec<Decision>,
}

/// What becomes of one key at one node.
#[derive(Debug)]
pub struct Decision {
    pub key: Key,
    pub effect: Effect,
    /// Entries that tell others what this node has now seen.
    pub notes: Vec<Note>,
    /// What waits for this key at the node now, if anything.
    pub waiting: Option<Box<Parked>>,
    /// What waits if the effect cannot be had.
    pub otherwise: Otherwise,
    pub lost: Vec<Lost>,
}

#[derive(Debug)]
pub enum Effect {
    /// What stands at the node is the outcome.
    Keep,
    /// The row in the node's own shape.
    Write(Arc<Row>, WriteMode),
    Delete,
    /// Known beforehand to be impossible.
    Park(ParkedCode, String),
}

/// A version as it will wait if the node cannot take it; see [`Parked`].
#[derive(Debug)]
pub struct Otherwise {
    pub vector: Vector,
    pub stamp: Stamp,
    /// In the shared shape.
    pub row: Option<Arc<Row>>,
    pub standing: Vector,
    pub standing_time: i64,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Applied {
    /// Another engine has moved the positions; nothing was written.
    pub overtaken: bool,
    pub written: u64,
    pub deleted: u64,
    /// Whether anything at all was written, service tables included.
    pub committed: bool,
    /// By table index: the keys that wait now and did not before, or for another reason.
    pub parked: Vec<(usize, Refusal)>,
    /// By table index: the keys that waited and no longer do.
    pub unparked: Vec<(usize, Key)>,
}

/// Writes a batch. A deadlock or a lost race for a lock is tried again with a growing, random pause.
pub async fn apply(node: &mut dyn Node, batch: &Batch) -> Result<Applied> {
    let specs: Vec<TableSpec> = batch.tables.iter().map(|table| (*table.spec).clone()).collect();
    let start = Instant::now();
    let mut attempt = 1;
    loop {
        fault::point("apply-begin").await?;
        // Where beginning takes a lock, it has been waited for as long as is worth it.
        node.begin_apply(&specs).await?;
        let error = match Application::new(batch).run(node, &specs, attempt > 1).await {
            Ok(applied) => return Ok(applied),
            Err(error) => error,
        };
        node.rollback().await?;
        if error.kind != ErrorKind::Retry || attempt == ATTEMPTS || attempt > 1 && start.elapsed() > PATIENCE {
            return Err(error);
        }
        debug!(%error, attempt, "Applying again.");
        tokio::time::sleep(pause(attempt)).await;
        attempt += 1;
    }
}

/// Grows with the attempts; the random half keeps two engines from meeting again.
fn pause(attempt: u32) -> Duration {
    let random = u64::from(uuid::Uuid::new_v4().as_bytes()[0]);
    Duration::from_millis((10 << attempt) * (256 + random) / 512)
}

/// One decision, by table and place in [`TableBatch::decisions`].
type Item = (usize, usize);

/// The state of one attempt.
struct Application<'a> {
    batch: &'a Batch,
    refused: HashMap<Item, (ParkedCode, String)>,
    /// Refused by the database, but perhaps only because another row of the batch comes later.
    stuck: Vec<(Item, Error)>,
    deleted_early: HashSet<usize>,
    written: u64,
    deleted: u64,
}

impl<'a> Application<'a> {
    fn new(batch: &'a Batch) -> Self {
        Application {
            batch,
            refused: HashMap::new(),
            stuck: Vec::new(),
            deleted_early: HashSet::new(),
            written: 0,
            deleted: 0,
        }
    }

    /// `wary` after an attempt that waited for a lock in vain: rows that somebody holds are left to the next cycle.
    async fn run(mut self, node: &mut dyn Node, specs: &[TableSpec], wary: bool) -> Result<Applied> {
        let claimed: Vec<Move> = self.batch.moves.iter().chain(&self.batch.stays).cloned().collect();
        if !node.claim(&claimed).await? {
            node.rollback().await?;
            return Ok(Applied { overtaken: true, ..Applied::default() });
        }
        fault::point("apply-claimed").await?;
        for (at, table) in self.batch.tables.iter().enumerate() {
            for (number, decision) in table.decisions.iter().enumerate() {
                if let Effect::Park(code, message) = &decision.effect {
                    self.refused.insert((at, number), (*code, message.clone()));
                }
            }
        }
        if wary {
            self.refuse_what_is_locked(node).await?;
        }
        for group in &self.batch.order {
            self.write_group(node, group).await?;
        }
        for group in self.batch.order.iter().rev() {
            self.delete_group(node, group).await?;
        }
        self.retry_stuck(node).await?;
        fault::point("apply-written").await?;
        let applied = self.keep_books(node, specs).await?;
        if applied.committed {
            fault::point("apply-before-commit").await?;
            node.commit().await?;
            fault::point("apply-after-commit").await?;
        } else {
            node.rollback().await?;
        }
        Ok(applied)
    }

    fn items(&self, table: usize, wanted: impl Fn(&Effect) -> bool) -> Vec<Item> {
        let decisions = self.batch.tables[table].decisions.iter().enumerate();
        decisions.filter(|(_, decision)| wanted(&decision.effect)).map(|(number, _)| (table, number)).collect()
    }

    fn decision(&self, item: Item) -> &'a Decision {
        &self.batch.tables[item.0].decisions[item.1]
    }

    /// Writes the rows of tables that refer to each other, or of one table.
    async fn write_group(&mut self, node: &mut dyn Node, group: &[usize]) -> Result<()> {
        let is_write = |effect: &Effect| matches!(effect, Effect::Write(..));
        let items: Vec<Item> = group.iter().flat_map(|&table| self.items(table, is_write)).collect();
        for chunk in self.chunks(items) {
            self.write_chunk(node, chunk).await?;
        }
        Ok(())
    }

    /// What is tried in one statement. References among the rows of one statement are checked at its end, so rows that may
    /// refer to each other must not be divided up front.
    fn chunks(&self, items: Vec<Item>) -> Vec<Vec<Item>> {
        let tables = tables_of(&items);
        if tables.len() > 1 || tables.iter().any(|&table| self.refers_to_itself(table)) {
            return vec![items];
        }
        items.chunks(CHUNK).map(<[Item]>::to_vec).collect()
    }

    fn refers_to_itself(&self, table: usize) -> bool {
        let spec = &self.batch.tables[table].spec;
        spec.references.iter().any(|key| key.referenced_table == spec.local && key.referenced_schema == spec.schema)
    }

    /// Writes a chunk, and by halving finds the rows that cannot be written.
    async fn write_chunk(&mut self, node: &mut dyn Node, chunk: Vec<Item>) -> Result<()> {
        let mut chunks = vec![chunk];
        while let Some(mut chunk) = chunks.pop() {
            chunk.retain(|item| !self.refused.contains_key(item));
            if chunk.is_empty() {
                continue;
            }
            node.savepoint().await?;
            let mut result = self.write_items(node, &chunk, false).await;
            if result.as_ref().is_err_and(|error| error.kind == ErrorKind::Constraint(Constraint::Unique)) {
                node.undo().await?;
                self.delete_early(node, &chunk).await?;
                node.savepoint().await?;
                result = self.write_items(node, &chunk, true).await;
            }
            match result {
                Ok(()) => {
                    let changed = self.refuse_what_changed(node, &chunk).await?;
                    if self.refuse_what_altered(node, &chunk).await? || changed {
                        node.undo().await?;
                        chunks.push(chunk);
                    } else {
                        node.release().await?;
                        self.written += chunk.len() as u64;
                    }
                }
                Err(error) if error.is_about_rows() => {
                    node.undo().await?;
                    self.divide(&mut chunks, chunk, error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A unique value stood in the way: a row that this batch deletes anyway may hold it.
    async fn delete_early(&mut self, node: &mut dyn Node, chunk: &[Item]) -> Result<()> {
        for table in tables_of(chunk) {
            if self.deleted_early.insert(table) {
                let deletes = self.items(table, |effect| matches!(effect, Effect::Delete));
                self.delete_chunks(node, deletes).await?;
            }
        }
        Ok(())
    }

    /// The rows of a chunk that go to one table.
    fn rows_of(&self, chunk: &[Item], table: usize) -> Vec<(&'a Row, WriteMode)> {
        let of_table = chunk.iter().filter(|item| item.0 == table);
        let row = |&item: &Item| match &self.decision(item).effect {
            Effect::Write(row, mode) => Some((&**row, *mode)),
            _ => None,
        };
        of_table.filter_map(row).collect()
    }

    /// The items of a chunk that concern one table, by key.
    fn keys_of(&self, chunk: &[Item], table: usize) -> HashMap<&'a Key, Item> {
        chunk.iter().filter(|item| item.0 == table).map(|&item| (&self.decision(item).key, item)).collect()
    }

    /// Writes a chunk in one statement, `with_room` after moving the unique values that its rows hold now out of the way.
    async fn write_items(&self, node: &mut dyn Node, chunk: &[Item], with_room: bool) -> Result<()> {
        let mut groups: Vec<(&TableSpec, Vec<&Row>, WriteMode)> = Vec::new();
        for table in tables_of(chunk) {
            let spec: &TableSpec = &self.batch.tables[table].spec;
            let rows = self.rows_of(chunk, table);
            if with_room {
                node.make_room(spec, &rows.iter().map(|(row, _)| *row).collect::<Vec<_>>()).await?;
            }
            for mode in [WriteMode::Upsert, WriteMode::InsertOnly, WriteMode::UpdateOnly] {
                let rows: Vec<&Row> = rows.iter().filter(|(_, m)| *m == mode).map(|(row, _)| *row).collect();
                if !rows.is_empty() {
                    groups.push((spec, rows, mode));
                }
            }
        }
        let groups: Vec<_> = groups.iter().map(|(spec, rows, mode)| (*spec, &rows[..], *mode)).collect();
        node.write(&groups).await
    }

    /// Refuses what somebody else changed since it was read; whether there was any.
    async fn refuse_what_changed(&mut self, node: &mut dyn Node, chunk: &[Item]) -> Result<bool> {
        let before = self.refused.len();
        for table in tables_of(chunk) {
            let TableBatch { spec, read: Some(read), .. } = &self.batch.tables[table] else { continue };
            let items = self.keys_of(chunk, table);
            let keys: Vec<&Key> = items.keys().copied().collect();
            for key in node.unseen(spec, read, &keys).await? {
                if let Some(&item) = items.get(&key) {
                    let message = "a user changed the row here in the meantime; decided in the next cycle";
                    self.refused.insert(item, (ParkedCode::Busy, message.to_owned()));
                }
            }
        }
        Ok(self.refused.len() > before)
    }

    /// Refuses what somebody holds locked, so that nothing else waits for it.
    async fn refuse_what_is_locked(&mut self, node: &mut dyn Node) -> Result<()> {
        for table in 0..self.batch.tables.len() {
            let items = self.items(table, |effect| matches!(effect, Effect::Write(..) | Effect::Delete));
            for chunk in items.chunks(CHUNK) {
                let items = self.keys_of(chunk, table);
                let keys: Vec<&Key> = items.keys().copied().collect();
                for key in node.locked(&self.batch.tables[table].spec, &keys).await? {
                    if let Some(&item) = items.get(&key) {
                        let message = "a user holds the row locked; decided in the next cycle";
                        self.refused.insert(item, (ParkedCode::Busy, message.to_owned()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Refuses what a trigger changed as it was written; whether there was any.
    async fn refuse_what_altered(&mut self, node: &mut dyn Node, chunk: &[Item]) -> Result<bool> {
        let before = self.refused.len();
        for table in tables_of(chunk) {
            let spec = &self.batch.tables[table].spec;
            if spec.user_triggers.is_empty() {
                continue;
            }
            let items = self.keys_of(chunk, table);
            // A row that may only be created, or only be replaced, may rightly stand there differently.
            let written = self.rows_of(chunk, table).into_iter().filter(|(_, mode)| *mode == WriteMode::Upsert);
            let rows: Vec<&Row> = written.map(|(row, _)| row).collect();
            for (key, column) in node.altered(spec, &rows).await? {
                if let Some(&item) = items.get(&key) {
                    self.refused.insert(item, (ParkedCode::Altered, altered(spec, &column)));
                }
            }
        }
        Ok(self.refused.len() > before)
    }

    /// Puts the halves of a chunk that failed back, or the one row that fails among the stuck.
    fn divide(&mut self, chunks: &mut Vec<Vec<Item>>, mut chunk: Vec<Item>, error: Error) {
        if chunk.len() == 1 {
            self.stuck.push((chunk[0], error));
        } else {
            let second = chunk.split_off(chunk.len() / 2);
            chunks.push(second);
            chunks.push(chunk);
        }
    }

    async fn delete_group(&mut self, node: &mut dyn Node, group: &[usize]) -> Result<()> {
        let late = group.iter().filter(|table| !self.deleted_early.contains(table));
        let items: Vec<Item> =
            late.flat_map(|&table| self.items(table, |effect| matches!(effect, Effect::Delete))).collect();
        self.delete_chunks(node, items).await
    }

    async fn delete_chunks(&mut self, node: &mut dyn Node, items: Vec<Item>) -> Result<()> {
        let mut chunks = self.chunks(items);
        chunks.reverse();
        while let Some(mut chunk) = chunks.pop() {
            chunk.retain(|item| !self.refused.contains_key(item));
            if chunk.is_empty() {
                continue;
            }
            node.savepoint().await?;
            let result = match self.refuse_what_is_referred(node, &chunk).await? {
                true => Ok(true),
                false => match self.delete_items(node, &chunk).await {
                    Ok(()) => self.refuse_what_changed(node, &chunk).await,
                    Err(error) => Err(error),
                },
            };
            match result {
                Ok(false) => {
                    node.release().await?;
                    self.deleted += chunk.len() as u64;
                }
                Ok(true) => {
                    node.undo().await?;
                    chunks.push(chunk);
                }
                Err(error) if error.is_about_rows() => {
                    node.undo().await?;
                    self.divide(&mut chunks, chunk, error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn delete_items(&self, node: &mut dyn Node, chunk: &[Item]) -> Result<()> {
        let groups = self.key_groups(chunk);
        let groups: Vec<_> = groups.iter().map(|(spec, keys)| (*spec, &keys[..])).collect();
        node.delete(&groups).await
    }

    fn key_groups(&self, chunk: &[Item]) -> Vec<(&'a TableSpec, Vec<&'a Key>)> {
        let group = |table: usize| (&*self.batch.tables[table].spec, self.keys_of(chunk, table).into_keys().collect());
        tables_of(chunk).into_iter().map(group).collect()
    }

    /// Refuses deletes that would take rows along which nobody asked to delete; whether there was any.
    async fn refuse_what_is_referred(&mut self, node: &mut dyn Node, chunk: &[Item]) -> Result<bool> {
        let before = self.refused.len();
        let going = self.key_groups(chunk);
        let going: Vec<_> = going.iter().map(|(spec, keys)| (*spec, &keys[..])).collect();
        for table in tables_of(chunk) {
            let spec = &self.batch.tables[table].spec;
            if spec.referenced.iter().all(|key| key.on_delete == OnGone::Refuse) {
                continue;
            }
            let items = self.keys_of(chunk, table);
            let keys: Vec<&Key> = items.keys().copied().collect();
            for key in node.still_referred(spec, &keys, &going).await? {
                if let Some(&item) = items.get(&key) {
                    let message = format!(
                        "rows of {} refer to it here and would be deleted or changed with it; change those first, or keep \
                         this row with `concord parked drop`",
                        referring(spec)
                    );
                    self.refused.insert(item, (ParkedCode::Referred, message));
                }
            }
        }
        Ok(self.refused.len() > before)
    }

    /// Tries what was refused once more, together, for as long as that helps: a parent may have come later, two rows may
    /// have swapped a unique value across chunks, a child may be gone by now.
    async fn retry_stuck(&mut self, node: &mut dyn Node) -> Result<()> {
        loop {
            let stuck = std::mem::take(&mut self.stuck);
            if stuck.is_empty() {
                return Ok(());
            }
            let before = stuck.len();
            let is_write = |item: &Item| matches!(self.decision(*item).effect, Effect::Write(..));
            let (writes, deletes) = stuck.into_iter().map(|(item, _)| item).partition(is_write);
            self.write_chunk(node, writes).await?;
            self.delete_chunks(node, deletes).await?;
            if self.stuck.len() >= before {
                for (item, error) in std::mem::take(&mut self.stuck) {
                    let code = match error.kind {
                        ErrorKind::Value => ParkedCode::Value,
                        _ => ParkedCode::Constraint,
                    };
                    self.refused.insert(item, (code, error.to_string()));
                }
                return Ok(());
            }
        }
    }

    /// Everything that stands beside the rows: what waits, what lost, what was seen, and the positions.
    async fn keep_books(self, node: &mut dyn Node, specs: &[TableSpec]) -> Result<Applied> {
        let mut applied = Applied { written: self.written, deleted: self.deleted, ..Applied::default() };
        let mut park = Vec::new();
        let mut lost = Vec::new();
        let mut noted = 0;
        for (at, table) in self.batch.tables.iter().enumerate() {
            let mut notes = Vec::new();
            let mut unpark = Vec::new();
            for (number, decision) in table.decisions.iter().enumerate() {
                match self.refused.get(&(at, number)) {
                    Some((code, message)) => {
                        // What a user has replaced meanwhile lost to nobody: the next cycle decides anew.
                        if *code != ParkedCode::Busy {
                            lost.extend(&decision.lost);
                        }
                        let waits = parked(table, decision, *code, message);
                        let same = |old: &Parked| {
                            old.vector == waits.vector
                                && old.code == waits.code
                                && old.standing == waits.standing
                                && old.message == waits.message
                        };
                        if !decision.waiting.as_deref().is_some_and(same) {
                            // Changes that have to be counted one by one are told all the same: whoever takes what waits
                            // here may have no other way to hear of each.
                            notes.extend(decision.notes.iter().filter(|note| note.images.is_some()));
                            let refusal = Refusal { key: waits.key.clone(), code: *code, message: message.clone() };
                            applied.parked.push((table.spec.index, refusal));
                            park.push(waits);
                        }
                    }
                    None => {
                        lost.extend(&decision.lost);
                        notes.extend(&decision.notes);
                        if decision.waiting.is_some() {
                            applied.unparked.push((table.spec.index, decision.key.clone()));
                            unpark.push(&decision.key);
                        }
                    }
                }
            }
            if !notes.is_empty() {
                noted += notes.len();
                node.note(&table.spec, &notes).await?;
            }
            if !unpark.is_empty() {
                node.unpark(&table.spec, &unpark).await?;
            }
        }
        if !park.is_empty() {
            node.park(specs, &park).await?;
        }
        if !lost.is_empty() {
            node.record(specs, &lost).await?;
        }
        if !self.batch.moves.is_empty() {
            node.advance(&self.batch.moves).await?;
        }
        for (_, refusal) in applied.parked.iter().filter(|(_, refusal)| refusal.code != ParkedCode::Busy) {
            warn!(reason = %refusal.message, "A row waits.");
        }
        applied.committed = applied.written + applied.deleted > 0
            || noted + park.len() + lost.len() + applied.unparked.len() + self.batch.moves.len() > 0;
        Ok(applied)
    }
}

fn parked(table: &TableBatch, decision: &Decision, code: ParkedCode, message: &str) -> Parked {
    let Otherwise { vector, stamp, row, standing, standing_time } = &decision.otherwise;
    Parked {
        table: table.spec.index,
        read: table.read.clone().unwrap_or_default(),
        key: decision.key.clone(),
        code,
        message: message.to_owned(),
        since: time::now(),
        vector: vector.clone(),
        stamp: *stamp,
        row: row.as_deref().cloned(),
        standing: standing.clone(),
        standing_time: *standing_time,
    }
}

fn tables_of(chunk: &[Item]) -> Vec<usize> {
    let mut tables = Vec::new();
    for &(table, _) in chunk {
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    tables
}

fn referring(spec: &TableSpec) -> String {
    let tables = spec.referenced.iter().filter(|key| key.on_delete != OnGone::Refuse).map(|key| key.table.as_str());
    tables.collect::<Vec<_>>().join(", ")
}

fn altered(spec: &TableSpec, column: &str) -> String {
    format!(
        "a trigger of {} ({}) changed `{column}` of the row as it was written; let the trigger stand aside while Concord \
         writes (docs/triggers.md), then `concord parked retry`",
        spec.full_name(),
        spec.user_triggers.join(", ")
    )
}

impl From<fault::Fault> for Error {
    fn from(fault: fault::Fault) -> Error {
        Error::new(ErrorKind::Lost, fault.to_string())
    }
}
