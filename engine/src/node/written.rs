//! What is to be written at a node, and what keeps it from that.

use crate::model::{Cut, Dot, Images, Key, Op, ParkedCode, Position, Stamp, Vector};

/// One node's position in one source's history of one table.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// The table's shared name.
    pub table: String,
    pub source: String,
    pub from: Cut,
    pub to: Position,
}

impl Move {
    /// Whether both are about the same position.
    pub fn is_of(&self, other: &Move) -> bool {
        self.table == other.table && self.source == other.source
    }
}

/// An entry for a change made elsewhere, see [`crate::model::Arrival`].
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    pub key: Key,
    /// An insert if the row begins here, where it may be missing without having been deleted.
    pub op: Op,
    pub dot: Dot,
    /// Empty if this tells only that the row was made by that change, see [`Arrival::tells_who_made`](crate::model::Arrival::tells_who_made).
    pub vector: Vector,
    pub stamp: Stamp,
    pub images: Option<Images>,
}

impl Note {
    /// See [`Arrival::tells_who_made`](crate::model::Arrival::tells_who_made).
    pub fn tells_who_made(&self) -> bool {
        self.vector.is_empty()
    }
}

/// Which rows a write may create and replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// Both.
    Upsert,
    /// Rows that exist stay as they are.
    InsertOnly,
    /// Rows that do not exist stay away.
    UpdateOnly,
}

/// What stands in the way of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Obstacle {
    /// Its place among the rows that were asked about.
    pub row: usize,
    /// The constraint's name.
    pub constraint: String,
    /// The row of the same table that holds its unique value; `None` if the row that it refers to is not there.
    pub holder: Option<Key>,
}

/// How [`Node::make_room`] moves a unique value aside. What the one cannot, a constraint of the table may let the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// By NULL where the column may be that.
    Null,
    /// By values drawn at random where the column's type has enough of them.
    Drawn,
}

/// A row that a batch could not write, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    pub key: Key,
    pub reason: Reason,
    /// Whether it did not wait before, or for another reason.
    pub new: bool,
}

/// Why a row waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub code: ParkedCode,
    pub message: String,
    /// Whether it is a unique value: any row of the same table that changes may give it up.
    pub unique: bool,
}
