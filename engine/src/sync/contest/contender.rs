//! One version of a key among those that a decision is made of, and what tells how it is to be judged.

use std::sync::Arc;

use crate::merge::Version;
use crate::model::{Cut, Dot, ParkedCode, Row, Vector};
use crate::sync::table::Table;

/// A version, and how it is to be judged.
#[derive(Debug)]
pub struct Contender {
    pub version: Version,
    pub content: Content,
    /// Of what waits, up to where it has seen the history of the node where it waits.
    pub(super) read: Option<Box<Cut>>,
    /// Whether its node's history tells of the row.
    pub(super) told: bool,
    /// Whether the last that its node's history tells is that the row was deleted.
    pub(super) gone: Option<Gone>,
    /// The number of the change by which a user made the row where others may have been hidden. What was passed there until then
    /// went into nothing, and what came to it since, entries tell.
    pub(super) made: Option<i64>,
    /// The id of the entry by which the row began at its node: what was there before it had given up.
    pub(super) begun: Option<i64>,
    /// Whether no row stands at its node, though nobody has deleted it there as far as is known: it may never have been taken, or been given
    /// up because it does not belong there.
    pub(super) missing: bool,
    /// Whether that is so, and what it has seen is nothing that it could pass on.
    pub(super) hollow: bool,
    /// What was passed at its node, and may have gone into nothing as no row belonged there or a user made one.
    pub(super) heard: Vector,
    /// Whether it stands beside what waits, and content of its own node stood there when that came to wait.
    pub(super) stood: bool,
    /// Of what waits, why.
    pub(super) code: Option<ParkedCode>,
    /// The columns of which a row that waits does not tell, see [`Waiting`](crate::model::Waiting).
    pub(super) unknown: Vec<usize>,
    /// Stands for an outcome that was not found, and tells why: a version could not be read, or a person has to decide. Until all
    /// that it has seen is there to be weighed, nothing is decided. It is no version itself.
    pub(super) owed: Option<Box<(ParkedCode, String)>>,
}

/// A delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// Made by a user of the node.
    Here(Dot),
    /// Taken from another node.
    Elsewhere,
}

impl Gone {
    /// Whether it was made while something was decided that has seen this and no more.
    pub(super) fn is_unknown_to(self, seen: &Vector) -> bool {
        matches!(self, Gone::Here(dot) if !seen.saw(&dot))
    }
}

/// The content of a version, as far as it was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Unread,
    Row(Arc<Row>),
    /// A row of which nobody has to know more than that it is there.
    Stands,
    Deleted,
    /// The node cannot give the row in a form that can be carried.
    Unreadable(Box<str>),
}

impl Contender {
    /// Of which no more is known.
    pub fn new(version: Version, content: Content) -> Contender {
        Contender {
            version,
            content,
            read: None,
            told: false,
            gone: None,
            made: None,
            begun: None,
            missing: false,
            hollow: false,
            heard: Vector::EMPTY,
            stood: false,
            code: None,
            unknown: Vec::new(),
            owed: None,
        }
    }

    /// Whether it tells of a column by itself. What waits was completed when it was decided, as far as anybody could.
    pub fn tells_of(&self, column: usize, table: &Table) -> bool {
        match self.version.waiting {
            true => !self.unknown.contains(&column),
            false => table.form(self.version.node).is_some_and(|form| form.lens.has(column)),
        }
    }

    /// Whether it tells of every column by itself.
    pub fn is_whole(&self, table: &Table) -> bool {
        match self.version.waiting {
            true => self.unknown.is_empty(),
            false => table.form(self.version.node).is_some_and(|form| form.lens.is_total()),
        }
    }

    /// Whether it is a version of the row, and not only a place where the row could be.
    pub fn is_version(&self) -> bool {
        !self.hollow && self.owed.is_none()
    }

    /// Whether something stands at its node, or a delete does, so that nothing is lost as long as it does.
    pub fn stands(&self) -> bool {
        !self.version.waiting && self.is_version() && !self.missing && self.content != Content::Unread
    }

    /// Whether it is a row that stands, with nothing that waits beside it, and neither was made nor deleted as far as is told.
    pub(super) fn stands_plainly(&self) -> bool {
        let is_row = !self.version.waiting && self.content.is_row();
        is_row && !self.version.behind && self.gone.is_none() && self.began().is_none()
    }

    /// Whether nothing that is kept at its node tells of the row. If it is not there, as where it vanished, that says nothing.
    pub(super) fn is_silent(&self) -> bool {
        !(self.told || self.version.waiting || self.version.behind)
    }

    /// Whether its node has no row because none belongs there, as far as anybody knows: what was passed there went into nothing.
    pub fn is_outside(&self, table: &Table) -> bool {
        self.hollow && table.has_subsets()
    }

    /// Whether it is what stands at a node that gives no rows away, as the table goes one way: whatever its users made of it is nothing
    /// that others are to have.
    pub fn is_private(&self, table: &Table) -> bool {
        !self.version.waiting && !table.gives_rows(self.version.node)
    }

    /// Whether the row was deleted at its node, which has a filter: of what was passed since nobody knows whether it was anything to it.
    pub(super) fn is_deleted_apart(&self, table: &Table) -> bool {
        self.gone.is_some() && table.subset(self.version.node).is_some()
    }

    /// Whether what its node has passed went into it. Where rows may be hidden that may have been before it was there, and what came
    /// to it since is told.
    pub(super) fn counts_passed(&self, table: &Table) -> bool {
        self.began().is_none() && !self.waits_apart(table)
    }

    /// The id of the entry by which the row began at its node, if others may have been hidden then or it had given up one.
    pub(super) fn began(&self) -> Option<i64> {
        self.made.max(self.begun)
    }

    /// Whether what an entry of its own node's history tells went into it.
    pub(super) fn counts_told(&self, id: i64, table: &Table) -> bool {
        self.began().is_none_or(|began| began < id) && !self.waits_apart(table)
    }

    /// Whether it waits where rows may be hidden: all that went into it is in its vector.
    fn waits_apart(&self, table: &Table) -> bool {
        self.version.waiting && table.subset(self.version.node).is_some()
    }

    /// Whether the last that is told is of a row that a user made where others may be hidden.
    pub(super) fn is_made(&self) -> bool {
        self.made.is_some() && self.gone.is_none()
    }

    /// Takes in that a user made the row where others may be hidden. Whoever did that has not seen what came there and was removed
    /// again without being deleted.
    pub(super) fn make(&mut self, dot: Dot) {
        let Version { node, vector, .. } = &mut self.version;
        if self.gone.is_none() && !vector.saw(&dot) {
            vector.retain(|dot| dot.node == *node);
        }
        self.made = Some(dot.number);
    }

    /// Whether it stands for an outcome that was not found, and the latest of what that is to come of is the last change of this version's
    /// own node.
    pub(super) fn tells_when_made(&self, version: &Version) -> bool {
        let Version { vector, stamp, .. } = &self.version;
        let mut own = version.vector.dots().iter().filter(|dot| dot.node == version.node);
        self.owed.is_some() && stamp.node == version.node && own.any(|dot| vector.dots().contains(dot))
    }

    /// Whether it has seen an entry of its own node's history.
    pub(super) fn read_own(&self, mark: i64, id: i64) -> bool {
        self.read.as_ref().is_none_or(|read| read.contains(mark, id))
    }
}

impl Content {
    /// Whether it is a row that could be carried, as far as was asked.
    pub fn is_row(&self) -> bool {
        matches!(self, Content::Row(_) | Content::Stands)
    }

    pub fn row(&self) -> Option<&Row> {
        match self {
            Content::Row(row) => Some(row),
            _ => None,
        }
    }

    /// The row for whoever keeps it.
    pub fn shared(&self) -> Option<Arc<Row>> {
        match self {
            Content::Row(row) => Some(row.clone()),
            _ => None,
        }
    }
}
