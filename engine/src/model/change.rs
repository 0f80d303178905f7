//! Changes as nodes record them, and changes that wait.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cut::Cut;
use super::value::{Key, Row};
use super::version::{Dot, NodeId, Stamp, Vector};

/// What a statement did to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    Insert,
    Update,
    Delete,
    /// No change of the row: Concord tells that one was passed where no row stood, or only waits.
    Pass,
}

impl Op {
    /// The letter kept in the history.
    pub fn letter(self) -> &'static str {
        match self {
            Op::Insert => "I",
            Op::Update => "U",
            Op::Delete => "D",
            Op::Pass => "P",
        }
    }

    pub fn from_letter(letter: &str) -> Option<Op> {
        Some(match letter {
            "I" => Op::Insert,
            "U" => Op::Update,
            "D" => Op::Delete,
            "P" => Op::Pass,
            _ => return None,
        })
    }
}

/// One row of a history_store: that a row changed, not what it became. What it is now is read from the table itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Rises in the order of the commits, for one key at one node.
    pub id: i64,
    /// The mark of the transaction that wrote the entry, see [`Cut`](super::Cut).
    pub mark: i64,
    pub op: Op,
    /// Microseconds UTC: by this node's clock for a user's change, corrected for a change that arrived.
    pub time: i64,
    pub key: Key,
    /// Present when Concord wrote the entry, for a change made elsewhere.
    pub arrival: Option<Arrival>,
    /// Present when the table records images.
    pub images: Option<Images>,
}

/// Where an entry that Concord wrote comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The change itself.
    pub dot: Dot,
    /// Everything the content has seen since.
    pub vector: Vector,
}

impl Arrival {
    /// Whether it tells only that the row was made by that change, where others of its key may have been hidden.
    pub fn tells_who_made(&self) -> bool {
        self.vector.is_empty()
    }
}

/// The recorded columns of a row before and after one change; `None` where there was no row.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Images {
    pub before: Option<Row>,
    pub after: Option<Row>,
}

/// Why a row waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParkedCode {
    /// A user changed the row here after it was read; decided in the next cycle.
    Busy,
    /// What stands here is to be weighed against it first, as it was made without knowing of that; decided in the next cycle.
    Unweighed,
    /// The database refused the row.
    Constraint,
    /// A value does not fit its column.
    Value,
    /// A row that others refer to here cannot be deleted.
    Referred,
    /// A trigger of the database changed what was written.
    Altered,
    /// The policy leaves the conflict to a person.
    Conflict,
    /// The row could not be read at its node.
    Unreadable,
    /// The same, but what stands here is to be weighed against it first unless a node that is away tells that it was known there.
    Unheard,
    /// The node's filter failed, so that nobody knows whether the row belongs there. Or another change was passed there which is away now, so
    /// that nobody knows whether this one is the later.
    Filter,
    /// The node's mapping failed, so that nobody knows what the row is to be there.
    Mapping,
    /// The row does not belong at the node by its filter, and stays there until another has it.
    Outside,
}

impl ParkedCode {
    pub const ALL: [ParkedCode; 12] = [
        ParkedCode::Busy,
        ParkedCode::Unweighed,
        ParkedCode::Constraint,
        ParkedCode::Value,
        ParkedCode::Referred,
        ParkedCode::Altered,
        ParkedCode::Conflict,
        ParkedCode::Unreadable,
        ParkedCode::Unheard,
        ParkedCode::Filter,
        ParkedCode::Mapping,
        ParkedCode::Outside,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            ParkedCode::Busy => "busy",
            ParkedCode::Unweighed => "unweighed",
            ParkedCode::Constraint => "constraint",
            ParkedCode::Value => "value",
            ParkedCode::Referred => "referred",
            ParkedCode::Altered => "altered",
            ParkedCode::Conflict => "conflict",
            ParkedCode::Unreadable => "unreadable",
            ParkedCode::Unheard => "unheard",
            ParkedCode::Filter => "filter",
            ParkedCode::Mapping => "mapping",
            ParkedCode::Outside => "outside",
        }
    }

    /// Whether what waits for it waits for the next cycle alone, and is nobody's business.
    pub fn is_passing(self) -> bool {
        matches!(self, ParkedCode::Busy | ParkedCode::Unweighed)
    }

    /// Whether what waits for it stands for an outcome that was not found.
    pub fn is_owed(self) -> bool {
        matches!(self, ParkedCode::Unreadable | ParkedCode::Unheard | ParkedCode::Conflict)
    }

    pub fn parse(text: &str) -> Option<ParkedCode> {
        ParkedCode::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

/// The content of a version that waits, in the shared shape.
#[derive(Clone, Debug, PartialEq)]
pub enum Waiting {
    /// It is a delete.
    Delete,
    /// It is a row, in which what nobody knew is NULL.
    Row {
        row: Row,
        /// The columns of which it does not tell, as they live at no node that was there: every node keeps its own value.
        unknown: Vec<usize>,
    },
    /// It is a row that was not read: many may wait, and be large.
    Unread,
}

impl Waiting {
    /// The row, if it is one that was read.
    pub fn row(&self) -> Option<&Row> {
        match self {
            Waiting::Row { row, .. } => Some(row),
            Waiting::Delete | Waiting::Unread => None,
        }
    }

    /// The same without its row.
    pub fn unread(&self) -> Waiting {
        match self {
            Waiting::Delete => Waiting::Delete,
            Waiting::Row { .. } | Waiting::Unread => Waiting::Unread,
        }
    }
}

/// A version of a row that one node has not taken yet.
///
/// It takes part in every decision about its key until it is applied or something that has seen it replaces it, so
/// what waits here is never lost and never forgotten.
#[derive(Clone, Debug, PartialEq)]
pub struct Parked {
    pub table: usize,
    pub key: Key,
    pub code: ParkedCode,
    /// What the database or Concord said, for a person.
    pub message: String,
    /// When it was parked, µs UTC.
    pub since: i64,
    /// The version that waits.
    pub vector: Vector,
    pub stamp: Stamp,
    pub content: Waiting,
    /// What the content that stands at the node has seen, of the changes in question.
    pub standing: Vector,
    /// When that content was written, as in a [`Stamp`].
    pub standing_time: i64,
    /// Up to where the waiting version has seen the node's own history.
    pub read: Cut,
}

impl Parked {
    /// Whether it stands for an outcome that was not found, and not for a version that was.
    pub fn is_owed(&self) -> bool {
        self.code.is_owed()
    }

    /// Whether it is the same version, parked at the same time.
    pub fn is(&self, other: &Parked) -> bool {
        let of = |parked: &Parked| (parked.since, parked.stamp, parked.standing_time);
        of(self) == of(other)
            && self.vector == other.vector
            && self.standing == other.standing
            && self.read == other.read
    }
}

/// A version that lost a conflict, as the journal keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Lost {
    /// The same at every node where the same conflict is recorded.
    pub id: String,
    pub table: usize,
    pub key: Key,
    /// When it was decided, µs UTC.
    pub decided: i64,
    pub winner: NodeId,
    pub winner_time: i64,
    pub winner_row: Option<Arc<Row>>,
    /// The columns of which that row does not tell.
    pub winner_unknown: Vec<usize>,
    pub loser: NodeId,
    pub loser_time: i64,
    pub loser_row: Option<Arc<Row>>,
    pub loser_unknown: Vec<usize>,
    /// The policy and, in words, why.
    pub reason: String,
    /// What a plugin that goes by changes was told beside rows, as `sync/told.rs` writes it. One entry of a conflict has it.
    pub told: Option<Arc<str>>,
}
