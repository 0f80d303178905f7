//! What is to be deleted of a history.

use std::sync::Arc;

use crate::model::{Cut, EntryId, TableSpec};

/// What [`Node::purge`](super::Node::purge) is to delete of the history of one table.
#[derive(Clone, Debug)]
pub struct Purge {
    pub table: Arc<TableSpec>,
    pub through: Cut,
    pub arrivals: bool,
    /// By the target's name.
    pub witnesses: Vec<(String, EntryId)>,
}

impl Purge {
    /// Whether the other comes to the same.
    pub fn is_like(&self, other: &Purge) -> bool {
        self.table.index == other.table.index
            && self.through == other.through
            && self.arrivals == other.arrivals
            && self.witnesses == other.witnesses
    }

    pub fn witnesses(&self) -> Vec<(&str, EntryId)> {
        self.witnesses.iter().map(|(target, entry)| (target.as_str(), *entry)).collect()
    }
}
