//! Reading the next part of a table while the last one is written, over a connection of its own.

use super::part::read_part;
use std::collections::HashSet;
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::model::{Cut, Key, NodeId, TableSpec};
use crate::node::{self, Node, Walked};
use crate::sync::opened::Opened;
use crate::sync::table::Table;
use crate::sync::turns::UNTOLD;

/// More changes than this since a part was read, and it is read again.
const CHANGES: usize = 10_000;

/// A second connection to the node whose rows are gone through.
pub struct Reader {
    node: Option<Box<dyn Node>>,
    task: Option<JoinHandle<Done>>,
}

/// The connection comes back with what was read over it.
type Done = (Box<dyn Node>, node::Result<Ahead>);

/// A part that was read in an earlier snapshot than the one it is weighed in.
pub struct Ahead {
    after: Key,
    pub rows: Vec<Walked>,
    /// Everything that its snapshot sees of the table's history.
    whole: Cut,
    state: node::Opened,
}

impl Reader {
    pub fn new(node: Box<dyn Node>) -> Reader {
        Reader { node: Some(node), task: None }
    }

    /// Begins to read what stands behind a key. A snapshot is open only for as long as that takes.
    pub fn start(&mut self, spec: Arc<TableSpec>, after: Key, limit: usize) {
        if let Some(mut node) = self.node.take() {
            self.task = Some(tokio::spawn(async move {
                let read = read(&mut *node, &spec, after, limit).await;
                (node, read)
            }));
        }
    }

    /// What was read behind a key, if anything.
    pub async fn take(&mut self, after: Option<&Key>) -> Option<Ahead> {
        // What cannot be read ahead is read when it is needed, and fails there if it has to.
        let (node, read) = self.task.take()?.await.ok()?;
        self.node = Some(node);
        read.ok().filter(|ahead| Some(&ahead.after) == after)
    }
}

async fn read(node: &mut dyn Node, spec: &Arc<TableSpec>, after: Key, limit: usize) -> node::Result<Ahead> {
    let reading = async {
        let state = node.begin_read(std::slice::from_ref(spec)).await?;
        let whole = node.entries(spec, &Cut::START, None, 0).await?.whole;
        let rows = read_part(node, spec, Some(&after), limit).await?;
        Ok(Ahead { after, rows, whole, state })
    };
    let read = reading.await;
    node.end_read().await?;
    read
}

impl Ahead {
    /// Whether rows were settled at the walker since, other than by the portion before, which was about other rows: `passed` is the
    /// turn before and after it.
    pub fn is_of_another_turn(&self, table: &Table, passed: Option<&(Cut, Cut)>, now: &Cut) -> bool {
        let then = self.stood(table, UNTOLD);
        then != now && !passed.is_some_and(|(from, to)| from == then && to == now)
    }

    /// The position in the history of this name when it was read.
    fn stood(&self, table: &Table, source: &str) -> &Cut {
        static START: Cut = Cut::START;
        let mut known = self.state.positions.iter().filter(|(index, name, _)| *index == table.index && name == source);
        known.next().map_or(&START, |(.., position)| &position.cut)
    }

    /// The keys whose rows may have changed since: users did it, or Concord wrote what waited. `None` if that cannot be told
    /// from the snapshot that is open, or if it was Concord that may have changed others.
    pub async fn stale(
        &self,
        node: &mut dyn Node,
        spec: &TableSpec,
        table: &Table,
        walker: NodeId,
        opened: &Opened,
        names: &[String],
    ) -> node::Result<Option<HashSet<Key>>> {
        let Some(presence) = &opened.present[walker.index()] else { return Ok(None) };
        let moved = (0..names.len()).map(|at| NodeId(at as u16)).any(|source| {
            source != walker
                && opened.position(table.index, walker, source) != self.stood(table, &names[source.index()])
        });
        let purged = !self.whole.includes(&presence.purged[table.index]);
        if moved || purged || presence.installation != self.state.service.uuid {
            return Ok(None);
        }
        // What waited and has been written since is in no history here, and moves no position.
        let waited = self.state.parked.iter().filter(|row| row.table == table.index).map(|row| row.key.clone());
        let read = node.entries(spec, &self.whole, None, CHANGES).await?;
        Ok((!read.more).then(|| read.entries.into_iter().map(|entry| entry.key).chain(waited).collect()))
    }
}
