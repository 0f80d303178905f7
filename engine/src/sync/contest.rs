//! All versions of one key, from all nodes: what a decision is made of.

use std::sync::Arc;

use indexmap::IndexMap;

use super::opened::Opened;
use super::table::Table;
use crate::merge::{self, Delta, Version};
use crate::model::{Cut, Dot, Entry, Key, NodeId, Parked, Row, Stamp, Vector};

/// The versions of one key.
#[derive(Debug, Default)]
pub struct Contest {
    /// What stands at nodes with something new to say, and what waits anywhere.
    pub versions: Vec<Contender>,
    /// The recorded changes, for tables whose policy asks for them.
    pub deltas: Vec<(Delta, i64)>,
    /// What entries about changes made elsewhere tell, with the node that keeps the entry, its mark and its id: whoever has
    /// passed the entry has seen all that it tells.
    told: Vec<(NodeId, i64, i64, Vector)>,
}

/// A version, and how it is to be judged.
#[derive(Debug)]
pub struct Contender {
    pub version: Version,
    pub content: Content,
    /// Of what waits, up to where it has seen the history of the node where it waits.
    read: Option<Box<Cut>>,
    /// One side of a conflict that nobody has decided: it has seen what its vector says, whatever its node has passed
    /// since.
    undecided: bool,
}

/// The content of a version, as far as it was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Unread,
    Row(Arc<Row>),
    Deleted,
    /// The node cannot give the row in a form that can be carried.
    Unreadable(Box<str>),
}

impl Contender {
    /// Whether it has seen an entry of its own node's history.
    fn read_own(&self, mark: i64, id: i64) -> bool {
        self.read.as_ref().is_none_or(|read| read.contains(mark, id))
    }
}

impl Content {
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
    /// Takes in one entry of a node's history. Entries of one node come in the order of their ids, and after what waits
    /// there: entries about changes made elsewhere then tell of what waits, and what stands is known from the waiting row.
    pub fn enter(&mut self, node: NodeId, entry: Entry, clock: &Clock, keep_deltas: bool) {
        let standing = self.standing_mut(node);
        let behind = standing.version.behind;
        let stamp = &mut standing.version.stamp;
        let vector = &mut standing.version.vector;
        let mut time = entry.time;
        let mut told = None;
        let dot = match entry.arrival {
            None => {
                let dot = Dot { node, number: entry.id, mark: entry.mark };
                // Never before what it was made upon.
                time = clock.correct(entry.time).max(stamp.time.saturating_add(1));
                *stamp = Stamp { time, node };
                vector.add(dot);
                dot
            }
            Some(arrival) => {
                let mut all = arrival.vector;
                all.add(arrival.dot);
                if !behind {
                    // What came out may be older than what lost.
                    if entry.time > stamp.time || all.includes(vector) {
                        *stamp = Stamp { time: entry.time, node: arrival.dot.node };
                    }
                    vector.join(&all);
                }
                told = Some((node, entry.mark, entry.id, all));
                arrival.dot
            }
        };
        self.told.extend(told);
        if let (true, Some(images)) = (keep_deltas, entry.images)
            && !self.deltas.iter().any(|(delta, _)| delta.dot.node == dot.node && delta.dot.number == dot.number)
        {
            self.deltas.push((Delta { dot, before: images.before, after: images.after }, time));
        }
    }

    /// Takes in what waits at a node: it is a version, and tells what the content that stands there has seen.
    pub fn wait(&mut self, node: NodeId, parked: &Parked) {
        self.remember(node, parked);
        let content = match (&parked.row, parked.code) {
            (_, crate::model::ParkedCode::Unreadable) => Content::Unread,
            (Some(row), _) => Content::Row(Arc::new(row.clone())),
            (None, _) => Content::Deleted,
        };
        self.versions.push(Contender {
            version: Version { node, waiting: true, behind: false, vector: parked.vector.clone(), stamp: parked.stamp },
            content,
            read: Some(Box::new(parked.read.clone())),
            undecided: parked.code == crate::model::ParkedCode::Conflict,
        });
    }

    /// What the content that stands beside a waiting version has seen.
    pub fn remember(&mut self, node: NodeId, parked: &Parked) {
        let standing = self.standing_mut(node);
        standing.version.behind = true;
        standing.version.vector.join(&parked.standing);
        let stamp = &mut standing.version.stamp;
        if parked.standing_time > stamp.time {
            *stamp = Stamp { time: parked.standing_time, node };
        }
    }

    /// Forgets what a node's entries said, because all of them are going to be taken in.
    pub fn forget(&mut self, node: NodeId) {
        let standing = self.standing_mut(node);
        standing.version.vector = Vector::EMPTY;
        standing.version.stamp = Stamp { time: i64::MIN, node };
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
            if self.versions.is_empty() {
                // Left to itself a list makes room for four, and there are as many contests as changes.
                self.versions.reserve_exact(2);
            }
            self.versions.push(Contender {
                version: Version {
                    node,
                    waiting: false,
                    behind: false,
                    vector: Vector::EMPTY,
                    stamp: Stamp { time: i64::MIN, node },
                },
                content: Content::Unread,
                read: None,
                undecided: false,
            });
            self.versions.len() - 1
        });
        &mut self.versions[at]
    }

    /// The version that stands at a node, if the node has something to say.
    pub fn standing(&self, node: NodeId) -> Option<&Contender> {
        self.versions.iter().find(|c| c.version.node == node && !c.version.waiting)
    }

    /// Whether the version has seen a change: by its vector, as its node's own, or because its node has passed it. What was
    /// passed went into the version that waits, if one does, and not into the one that stands beside it.
    fn saw(contender: &Contender, dot: &Dot, table: &Table, opened: &Opened) -> bool {
        let version = &contender.version;
        if contender.undecided {
            return version.vector.saw(dot);
        }
        version.vector.saw(dot)
            || (version.node == dot.node && contender.read_own(dot.mark, dot.number))
            || (!version.behind && opened.passed(table.index, version.node, dot))
    }

    /// Brings what stands at the other nodes that take part into the contest, and makes each version's vector say
    /// everything that it has seen of what is weighed here. From then on vectors alone tell which version replaces which.
    pub fn close(&mut self, nodes: &[NodeId], table: &Table, opened: &Opened) {
        nodes.iter().for_each(|&node| {
            self.standing_mut(node);
        });
        // All changes that are told of, not only the last of each node: a version may have seen the earlier ones only.
        let told = self.versions.iter().flat_map(|contender| contender.version.vector.dots());
        let mut dots: Vec<Dot> = told.copied().chain(self.deltas.iter().map(|(delta, _)| delta.dot)).collect();
        dots.sort_unstable();
        dots.dedup();
        for contender in &mut self.versions {
            for dot in &dots {
                if Contest::saw(contender, dot, table, opened) {
                    contender.version.vector.add(*dot);
                }
            }
            for (source, mark, id, vector) in self.told.iter().filter(|_| !contender.undecided) {
                let node = contender.version.node;
                let passed = || match node == *source {
                    true => contender.read_own(*mark, *id),
                    // Who lacks columns has not passed on all that it was told of.
                    false => {
                        table.form(*source).is_none_or(|form| form.lens.is_total())
                            && opened.position(table.index, node, *source).contains(*mark, *id)
                    }
                };
                let knows = !contender.version.behind && passed();
                if knows {
                    contender.version.vector.join(vector);
                }
            }
        }
        // Content whose change is long purged, or was passed on by positions alone, is as young as the youngest change
        // that it has seen.
        for at in 0..self.versions.len() {
            let version = &self.versions[at].version;
            if version.stamp.time == i64::MIN {
                let within = self.versions.iter().filter(|other| version.vector.includes(&other.version.vector));
                let latest = within.map(|other| other.version.stamp).max_by_key(|stamp| stamp.time);
                self.versions[at].version.stamp = latest.unwrap_or(version.stamp);
            }
        }
        // The same goes where only the last change is purged, and older ones are told of that others made: whoever has seen
        // the same knows how young it is.
        for at in 0..self.versions.len() {
            let version = &self.versions[at].version;
            let same =
                self.versions.iter().map(|other| &other.version).filter(|other| {
                    other.vector == version.vector && (other.decided_alike(version) || !table.tells_all())
                });
            let latest = same.map(|other| other.stamp).max();
            self.versions[at].version.stamp = latest.unwrap_or(version.stamp);
        }
    }

    /// Whether the content that stands at a node has seen a change, also at nodes that have nothing new to say.
    pub fn stands_for(&self, node: NodeId, dot: &Dot, table: &Table, opened: &Opened) -> bool {
        match self.standing(node) {
            Some(contender) => Contest::saw(contender, dot, table, opened),
            None => node == dot.node || opened.passed(table.index, node, dot),
        }
    }

    /// The places of the versions that no other has seen, once the contest is closed.
    pub fn tops(&self, table: &Table) -> Vec<usize> {
        let versions: Vec<&Version> = self.versions.iter().map(|contender| &contender.version).collect();
        merge::tops(&versions, table.tells_all())
    }

    /// Whether what stands at some of its nodes may have been decided differently, by nodes that have seen the same.
    pub fn may_differ(&self, table: &Table) -> bool {
        let stands = |c: &&Contender| !c.version.waiting && !c.version.behind && c.version.stamp.time != i64::MIN;
        let mut standing = self.versions.iter().filter(stands);
        table.tells_all()
            && standing.next().is_some_and(|first| standing.any(|other| !other.version.decided_alike(&first.version)))
    }
}
