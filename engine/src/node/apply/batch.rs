//! What is to become of rows at one node, and what became of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Cut, Key, Lost, Parked, ParkedCode, Row, Stamp, TableSpec, Vector};
use crate::node::{Move, Note, Reason, Refusal, WriteMode};

/// What one node is to take in one transaction.
#[derive(Debug, Default)]
pub struct Batch {
    /// The node's name, as logs tell it.
    pub node: String,
    pub moves: Vec<Move>,
    /// Positions that do not move, and have to stand where they were read all the same: what was decided without news,
    /// such as about rows that wait, must not overwrite what another engine has brought since.
    pub stays: Vec<Move>,
    pub tables: Vec<TableBatch>,
    /// Indexes into `tables`, parents before children; tables that refer to each other stand together.
    pub order: Vec<Vec<usize>>,
    /// Whether it is about tables that are compared, of which nothing is kept.
    pub bare: bool,
    /// The sync, where it is: none of its triggers may record these tables.
    pub sync: String,
}

/// The part of a [`Batch`] that concerns one table.
#[derive(Debug)]
pub struct TableBatch {
    pub spec: Arc<TableSpec>,
    /// Up to where this node's own history was read, if it has one: what lies beyond was not seen by the decisions.
    pub read: Option<Cut>,
    /// Up to where all that the history tells of the keys in question was weighed: not less than what was read.
    pub weighed: Option<Cut>,
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
    /// The time, by the node's clock, as of which what stands here becomes a change of its own.
    pub touch: Option<i64>,
    /// What waits if the effect cannot be had; `None` if it is then just left, see [`Applied::left`].
    pub otherwise: Option<Otherwise>,
    /// What lost, elsewhere or here. It is kept whatever becomes of the effect: as soon as this node has seen it, nothing else
    /// tells. What is just left because it is busy is looked at anew first.
    pub lost: Vec<Lost>,
    /// What stands here, if it loses. It is kept also where the row is busy: what waits then counts as having won against it.
    pub lost_here: Option<Lost>,
    /// Whether the journal may tell of it already.
    pub lost_before: bool,
    /// Where no history tells what users do, and it matters: the row that was read here, in the node's own shape, or that there was
    /// none. Where another stands now somebody has been there since, and it is left as it is.
    pub upon: Option<Option<Arc<Row>>>,
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
    /// The columns of which that row does not tell.
    pub unknown: Vec<usize>,
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
    /// By table index: what could not be carried out, so that it waits.
    pub refused: Vec<(usize, Refusal)>,
    /// By table index: what could not be carried out and does not wait.
    pub left: Vec<(usize, Key, Reason)>,
    /// How many of both a user holds locked.
    pub held: u64,
    /// By table index: the keys that waited and no longer do.
    pub unparked: Vec<(usize, Key)>,
    /// By table index: how many of those that were refused, for the reason that was told before, nobody came to.
    pub spared: HashMap<usize, usize>,
    /// How long it took, but for the wait for others' turns.
    pub took: Duration,
}
