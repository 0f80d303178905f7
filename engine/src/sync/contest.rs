//! All versions of one key, from all nodes: what a decision is made of.

use indexmap::IndexMap;

use super::opened::Opened;
use super::table::Table;
use crate::merge::{self, Delta, Version};
use crate::model::{Dot, Entry, Key, NodeId, Parked, Row, Stamp, Vector};

/// The versions of one key.
#[derive(Debug, Default)]
pub struct Contest {
    /// What stands at nodes with something new to say, and what waits anywhere.
    pub versions: Vec<Contender>,
    /// The recorded changes, for tables whose policy asks for them.
    pub deltas: Vec<(Delta, i64)>,
}

/// A version, and how it is to be judged.
#[derive(Debug)]
pub struct Contender {
    pub version: Version,
    /// Whether what its node's positions cover counts as seen. Not where something waits: that was passed, not taken.
    pub by_position: bool,
    pub content: Content,
}

/// The content of a version, as far as it was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Unread,
    Row(std::sync::Arc<Row>),
    Deleted,
    /// The node cannot give the row in a form that can be carried.
    Unreadable(String),
}

impl Content {
    pub fn row(&self) -> Option<&Row> {
        match self {
            Content::Row(row) => Some(row),
            _ => None,
        }
    }
}

/// How the clock of a node is to be read.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// How far it is ahead of the engine's, µs.
    pub offset: i64,
    /// What it showed when the snapshot was opened. Nothing that was read can be younger: a later time comes from a
    /// clock that was put back since, and would win every conflict until then.
    pub shown: i64,
}

impl Clock {
    /// A time by the node's clock as the engine's clock would have shown it.
    pub fn correct(&self, time: i64) -> i64 {
        time.min(self.shown) - self.offset
    }
}

/// The contests of one table, by key, in the order in which the keys were first met.
pub type Contests = IndexMap<Key, Contest, foldhash::fast::RandomState>;

impl Contest {
    /// Takes in one entry of a node's history. Entries of one node come in the order of their ids.
    pub fn enter(&mut self, node: NodeId, entry: Entry, clock: &Clock, keep_deltas: bool) {
        let standing = self.standing_mut(node);
        let stamp = &mut standing.version.stamp;
        let vector = &mut standing.version.vector;
        let dot = match entry.arrival {
            None => {
                let dot = Dot { node, number: entry.id, mark: entry.mark };
                // Never before what it was made upon.
                let time = clock.correct(entry.time).max(stamp.time.saturating_add(1));
                *stamp = Stamp { time, node };
                dot
            }
            Some(arrival) => {
                if entry.time > stamp.time {
                    *stamp = Stamp { time: entry.time, node: arrival.dot.node };
                }
                vector.join(&arrival.vector);
                arrival.dot
            }
        };
        vector.add(dot);
        let time = stamp.time;
        if let (true, Some(images)) = (keep_deltas, entry.images)
            && !self.deltas.iter().any(|(delta, _)| delta.dot.node == dot.node && delta.dot.number == dot.number)
        {
            self.deltas.push((Delta { dot, before: images.before, after: images.after }, time));
        }
    }

    /// Takes in what waits at a node: it is a version, and tells what the content that stands there has seen.
    pub fn wait(&mut self, node: NodeId, parked: &Parked) {
        let standing = self.standing_mut(node);
        standing.by_position = false;
        standing.version.vector.join(&parked.standing);
        let stamp = &mut standing.version.stamp;
        if parked.standing_time > stamp.time {
            *stamp = Stamp { time: parked.standing_time, node };
        }
        let content = match (&parked.row, parked.code) {
            (_, crate::model::ParkedCode::Unreadable) => Content::Unread,
            (Some(row), _) => Content::Row(std::sync::Arc::new(row.clone())),
            (None, _) => Content::Deleted,
        };
        self.versions.push(Contender {
            version: Version { node, waiting: true, vector: parked.vector.clone(), stamp: parked.stamp },
            by_position: false,
            content,
        });
    }

    /// Makes sure that the version standing at a node is among those to be weighed.
    pub fn stand(&mut self, node: NodeId) {
        self.standing_mut(node);
    }

    /// The content that stands at a node has seen this change of the node's own users as well, and is as young.
    pub fn label(&mut self, node: NodeId, dot: Dot, time: i64) {
        let version = &mut self.standing_mut(node).version;
        if !version.vector.saw(&dot) {
            version.vector.add(dot);
            version.stamp = Stamp { time: time.max(version.stamp.time.saturating_add(1)), node };
        }
    }

    /// Everything that any of the versions has seen.
    pub fn seen(&self) -> Vector {
        let mut seen = Vector::EMPTY;
        self.versions.iter().for_each(|contender| seen.join(&contender.version.vector));
        seen
    }

    fn standing_mut(&mut self, node: NodeId) -> &mut Contender {
        let found = self.versions.iter().position(|c| c.version.node == node && !c.version.waiting);
        let at = found.unwrap_or_else(|| {
            self.versions.push(Contender {
                version: Version { node, waiting: false, vector: Vector::EMPTY, stamp: Stamp { time: i64::MIN, node } },
                by_position: true,
                content: Content::Unread,
            });
            self.versions.len() - 1
        });
        &mut self.versions[at]
    }

    /// The version that stands at a node, if the node has something to say.
    pub fn standing(&self, node: NodeId) -> Option<&Contender> {
        self.versions.iter().find(|c| c.version.node == node && !c.version.waiting)
    }

    /// Whether the version has seen a change.
    pub fn saw(&self, contender: &Contender, dot: &Dot, table: &Table, opened: &Opened) -> bool {
        let version = &contender.version;
        version.vector.saw(dot)
            || (!version.waiting && version.node == dot.node)
            || (contender.by_position && opened.passed(table.index, version.node, dot))
    }

    /// Whether the content that stands at a node has seen a change, also at nodes that have nothing new to say.
    pub fn stands_for(&self, node: NodeId, dot: &Dot, table: &Table, opened: &Opened) -> bool {
        match self.standing(node) {
            Some(contender) => self.saw(contender, dot, table, opened),
            None => node == dot.node || opened.passed(table.index, node, dot),
        }
    }

    /// The places of the versions that no other has seen. Their stamps become the latest of all that equal them, since
    /// a node that only holds what others wrote may not know when.
    pub fn tops(&mut self, table: &Table, opened: &Opened) -> Vec<usize> {
        if self.versions.len() == 1 {
            return vec![0];
        }
        let versions: Vec<Version> = self.versions.iter().map(|contender| contender.version.clone()).collect();
        let saw = |version: &Version, dot: &Dot| {
            let contender =
                self.versions.iter().find(|c| c.version.node == version.node && c.version.waiting == version.waiting);
            contender.is_some_and(|contender| self.saw(contender, dot, table, opened))
        };
        let tops = merge::tops(&versions, saw);
        let includes = |a: &Version, b: &Version| b.vector.dots().iter().all(|dot| saw(a, dot));
        let latest = |&top: &usize| {
            let equals = versions.iter().filter(|v| includes(v, &versions[top]) && includes(&versions[top], v));
            equals.map(|version| version.stamp).max_by_key(|stamp| stamp.time)
        };
        let stamps: Vec<Option<Stamp>> = tops.iter().map(latest).collect();
        for (&top, stamp) in tops.iter().zip(stamps) {
            let own = &mut self.versions[top].version.stamp;
            *own = stamp.filter(|stamp| stamp.time > own.time).unwrap_or(*own);
        }
        tops
    }
}
