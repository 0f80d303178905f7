//! All versions of one key, from all nodes: what a decision is made of.

mod blind;
mod contender;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;
use std::sync::Arc;

use indexmap::IndexMap;

pub use blind::{LONG_BEFORE, Made, Unread};
use contender::Gone;
pub use contender::{Contender, Content};

use super::opened::Opened;
use super::table::Table;
use crate::config::Operations;
use crate::merge::{self, Delta, Version};
use crate::model::{Arrival, Dot, Entry, Key, NodeId, Op, Parked, ParkedCode, Stamp, Vector, Waiting};

/// The versions of one key.
#[derive(Debug, Default)]
pub struct Contest {
    /// What stands at nodes with something new to say, and what waits anywhere.
    pub versions: Vec<Contender>,
    /// The recorded changes, for tables whose policy asks for them.
    pub deltas: Vec<(Delta, i64)>,
    /// Their places by node and number: of one row there may be very many.
    places: BTreeMap<(NodeId, i64), usize>,
    /// What entries about changes made elsewhere tell, with the node that keeps the entry, its mark and its id: whoever has
    /// passed the entry has seen all that it tells.
    told: Vec<(NodeId, i64, i64, Vector)>,
    /// The changes that users made, for tables in which rows are made blindly.
    own: Vec<Own>,
    /// The rows that users made where others may have been hidden, as those tell who took them, with the node that keeps the entry.
    made: Vec<(NodeId, Made)>,
    /// The entries, by their ids, with which nodes tell that their own row won against others.
    won: Vec<(NodeId, i64)>,
}

/// What a user did.
#[derive(Debug)]
pub struct Own {
    dot: Dot,
    op: Op,
    time: i64,
}

impl Own {
    fn made(&self) -> Made {
        Made { dot: self.dot, time: self.time }
    }
}

/// How the clock of a node is to be read.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// How far it is ahead of the engine's, µs.
    pub offset: i64,
    /// What it showed when the snapshot was opened. Nothing that was read can be much younger: a later time comes from a
    /// clock that was put back since, and would win every conflict until then.
    pub shown: i64,
}

/// By how much an entry may be younger than what its node's clock showed to whoever read it, in µs: SQLite's times are rounded
/// to milliseconds, and MariaDB's come from UUIDs, which run ahead where many are drawn. Of engines that read one after the
/// other, one would count such an entry as older than the other does.
const AHEAD: i64 = 1_000_000;

impl Clock {
    /// A time by the node's clock as the engine's clock would have shown it.
    pub fn correct(&self, time: i64) -> i64 {
        time.min(self.shown.saturating_add(AHEAD)) - self.offset
    }
}

/// The contests of one table, by key, in the order in which the keys were first met.
pub type Contests = IndexMap<Key, Contest, foldhash::fast::RandomState>;

impl Contest {
    /// Takes in one entry of a node's history. Entries of one node come in the order of their ids, and after what waits
    /// there: entries about changes made elsewhere then tell of what waits, and what stands is known from the waiting row.
    pub fn enter(&mut self, node: NodeId, entry: Entry, clock: &Clock, table: &Table) {
        let standing = self.standing_mut(node);
        // What was under way then has not seen it, although it was begun before. Nor has what stands beside what waits.
        let is_passed = entry.op == Op::Pass;
        let only_waits = is_passed && entry.arrival.as_ref().is_some_and(Arrival::tells_who_made);
        let is_beside = only_waits || is_passed && standing.is_made();
        if (entry.op, &entry.arrival) == (Op::Insert, &None) && table.subset(node).is_some() {
            standing.make(Dot { node, number: entry.id, mark: entry.mark });
        }
        standing.told = true;
        let was_gone = standing.gone.is_some();
        standing.gone = match (entry.op, &entry.arrival) {
            (Op::Delete, None) => Some(Gone::Here(Dot { node, number: entry.id, mark: entry.mark })),
            (Op::Delete, Some(_)) => Some(Gone::Elsewhere),
            _ if only_waits => standing.gone,
            (Op::Insert, None) => None,
            // A row that is not there was not updated, but asserted anew beside a delete that was under way.
            (Op::Update | Op::Pass, None) => standing.gone.filter(|gone| matches!(gone, Gone::Here(_))),
            // Nor is it back by what was decided beside such a delete.
            (_, Some(arrival)) => standing.gone.filter(|gone| gone.is_unknown_to(&arrival.vector)),
        };
        let behind = standing.version.behind;
        let stamp = &mut standing.version.stamp;
        let vector = &mut standing.version.vector;
        let mut time = entry.time;
        let (mut told, mut own, mut upon) = (None, None, None);
        let dot = match entry.arrival {
            None => {
                let dot = Dot { node, number: entry.id, mark: entry.mark };
                // Beside what waits, the vector tells what the row has seen since.
                upon = (table.policy.merges() && !vector.saw(&dot)).then(|| vector.clone());
                // Never before what it was made upon. What stands beside what waits was dated when that came to wait.
                let earliest = if vector.saw(&dot) { stamp.time } else { stamp.time.saturating_add(1) };
                time = clock.correct(entry.time).max(earliest);
                *stamp = Stamp { time, node };
                vector.add(dot);
                own = (table.makes_blindly() || table.uncompared.is_some()).then_some(Own { dot, op: entry.op, time });
                dot
            }
            Some(arrival) => {
                let is_made = arrival.tells_who_made() && table.has_subsets();
                if entry.op == Op::Insert && !behind && !was_gone && table.subset(node).is_some() {
                    standing.begun = Some(entry.id);
                    *vector = Vector::EMPTY;
                }
                let has_won = arrival.dot.node == node && table.makes_blindly() && !is_made;
                let mut all = arrival.vector;
                all.add(arrival.dot);
                if !behind && !is_beside {
                    // What came out may be older than what lost.
                    if entry.time > stamp.time || all.includes(vector) {
                        *stamp = Stamp { time: entry.time, node: arrival.dot.node };
                    }
                    vector.join(&all);
                }
                self.won.extend(has_won.then_some((node, entry.id)));
                self.made.extend(is_made.then_some((node, Made { dot: arrival.dot, time })));
                told = (!is_beside).then_some((node, entry.mark, entry.id, all));
                arrival.dot
            }
        };
        self.told.extend(told);
        self.own.extend(own);
        if let (true, Some(images)) = (table.policy.merges(), entry.images) {
            match self.places.entry((dot.node, dot.number)) {
                // It may have been told by others, or read without what was before.
                Place::Occupied(place) => {
                    let (delta, _) = &mut self.deltas[*place.get()];
                    delta.upon = upon.or(delta.upon.take());
                }
                Place::Vacant(place) => {
                    place.insert(self.deltas.len());
                    self.deltas.push((Delta { dot, before: images.before, after: images.after, upon }, time));
                }
            }
        }
    }

    /// Takes in what waits at a node: it is a version, and tells what the content that stands there has seen.
    pub fn wait(&mut self, node: NodeId, parked: &Parked) {
        self.remember(node, parked);
        let is_owed = parked.is_owed();
        // Elsewhere there is nothing to be weighed first.
        let code = if parked.code == ParkedCode::Unheard { ParkedCode::Unreadable } else { parked.code };
        let owed = is_owed.then(|| Box::new((code, parked.message.clone())));
        let (content, unknown) = match &parked.content {
            _ if is_owed => (Content::Unread, Vec::new()),
            Waiting::Row { row, unknown } => (Content::Row(Arc::new(row.clone())), unknown.clone()),
            Waiting::Delete => (Content::Deleted, Vec::new()),
            Waiting::Unread => (Content::Unread, Vec::new()),
        };
        let version =
            Version { node, waiting: true, behind: false, vector: parked.vector.clone(), stamp: parked.stamp };
        let read = Some(Box::new(parked.read.clone()));
        let code = Some(parked.code);
        self.versions.push(Contender { read, owed, code, unknown, ..Contender::new(version, content) });
    }

    /// What the content that stands beside a waiting version has seen.
    pub fn remember(&mut self, node: NodeId, parked: &Parked) {
        let standing = self.standing_mut(node);
        standing.version.behind = true;
        standing.stood = parked.standing.dots().iter().any(|dot| dot.node == node);
        standing.version.vector.join(&parked.standing);
        // A node that has only taken others' changes wrote nothing.
        let writer = match standing.stood {
            true => None,
            false => parked.standing.dots().iter().max_by_key(|dot| dot.number).map(|dot| dot.node),
        };
        let stamp = &mut standing.version.stamp;
        if parked.standing_time > stamp.time {
            *stamp = Stamp { time: parked.standing_time, node: writer.unwrap_or(node) };
        }
    }

    /// Forgets what a node's entries said, because all of them are going to be taken in.
    pub fn forget(&mut self, node: NodeId) {
        let standing = self.standing_mut(node);
        standing.version.vector = Vector::EMPTY;
        standing.version.stamp = Stamp { time: i64::MIN, node };
        standing.told = false;
        (standing.gone, standing.made, standing.begun, standing.stood) = (None, None, None, false);
        self.own.retain(|own| own.dot.node != node);
        self.made.retain(|(teller, _)| *teller != node);
        self.won.retain(|(teller, _)| *teller != node);
    }

    /// The columns of which the version at this place does not tell by itself.
    pub fn untold(&self, at: usize, table: &Table) -> Vec<usize> {
        let Contender { version, unknown, .. } = &self.versions[at];
        match version.waiting {
            true => unknown.clone(),
            false => table.form(version.node).map_or(Vec::new(), |form| form.lens.missing()),
        }
    }

    /// What stands somewhere and cannot be read, if a change went into it and it has a column that the versions at these places lack; and why
    /// it cannot.
    pub fn unreadable_with(&self, dot: &Dot, tops: &[usize], table: &Table) -> Option<(&Version, &str)> {
        let is_lacking = |at: usize, column: usize| !self.versions[at].tells_of(column, table);
        let has_more = |contender: &Contender| {
            let mut columns = 0..table.columns.len();
            columns.any(|column| contender.tells_of(column, table) && tops.iter().any(|&at| is_lacking(at, column)))
        };
        self.versions.iter().find_map(|contender| {
            let Contender { version, content: Content::Unreadable(why), .. } = contender else { return None };
            let is_it = version.vector.saw(dot) && !contender.is_private(table) && has_more(contender);
            is_it.then_some((version, &**why))
        })
    }

    /// What users did, and where.
    pub fn own_ops(&self) -> impl Iterator<Item = (NodeId, Op)> {
        self.own.iter().map(|own| (own.dot.node, own.op))
    }

    /// Whether nothing is told of the row but that users changed it where it stands, and it stands wherever that could be told.
    pub fn is_changed_in_place(&self) -> bool {
        let is_update = |own: &Own| own.op == Op::Update;
        let stands = |one: &Contender| one.stands_plainly();
        !self.own.is_empty()
            && self.own.iter().all(is_update)
            && self.told.is_empty()
            && self.versions.iter().all(stands)
    }

    /// Everything that any of the versions has seen.
    pub fn seen(&self) -> Vector {
        let mut seen = Vector::EMPTY;
        let versions = self.versions.iter().filter(|contender| contender.owed.is_some() || contender.is_version());
        versions.for_each(|contender| seen.join(&contender.version.vector));
        seen
    }

    /// An outcome that cannot be found yet, as what it came of is not all here.
    pub fn owes(&self, table: &Table) -> Option<(&Version, &(ParkedCode, String))> {
        let mut owed = self.versions.iter().filter_map(|c| Some((&c.version, &**c.owed.as_ref()?)));
        owed.find(|(version, _)| !version.vector.dots().iter().all(|dot| self.is_here(dot, table)))
    }

    /// The same where nobody is away: what a node has given up is in what others have, whether or not they know of it any more.
    pub fn owes_what_is_left(&self, table: &Table) -> Option<(&Version, &(ParkedCode, String))> {
        let given_up = |dot: &Dot| {
            let standing = self.standing(dot.node);
            standing.is_some_and(|contender| contender.is_outside(table) && contender.version.vector.saw(dot))
        };
        let mut owed = self.versions.iter().filter_map(|c| Some((&c.version, &**c.owed.as_ref()?)));
        owed.find(|(version, _)| !version.vector.dots().iter().all(|dot| self.is_here(dot, table) || given_up(dot)))
    }

    /// Whether a change went into a version that is there and others may have.
    pub fn is_here(&self, dot: &Dot, table: &Table) -> bool {
        let is_for_all = |contender: &&Contender| contender.is_version() && !contender.is_private(table);
        let mut versions = self.versions.iter().filter(is_for_all);
        versions.any(|contender| contender.version.vector.saw(dot))
    }

    fn standing_mut(&mut self, node: NodeId) -> &mut Contender {
        let found = self.versions.iter().position(|c| c.version.node == node && !c.version.waiting);
        let at = found.unwrap_or_else(|| {
            if self.versions.is_empty() {
                // Left to itself a list makes room for four, and there are as many contests as changes.
                self.versions.reserve_exact(2);
            }
            let stamp = Stamp { time: i64::MIN, node };
            let version = Version { node, waiting: false, behind: false, vector: Vector::EMPTY, stamp };
            self.versions.push(Contender::new(version, Content::Unread));
            self.versions.len() - 1
        });
        &mut self.versions[at]
    }

    /// Whether it waits somewhere.
    pub fn waits(&self) -> bool {
        self.versions.iter().any(|contender| contender.version.waiting)
    }

    /// The version that stands at a node, if the node has something to say.
    pub fn standing(&self, node: NodeId) -> Option<&Contender> {
        self.versions.iter().find(|c| c.version.node == node && !c.version.waiting)
    }

    /// Whether the version has seen a change: by its vector, as its node's own, or because its node has passed it. What was
    /// passed went into the version that waits, if one does, and not into the one that stands beside it.
    fn saw(contender: &Contender, dot: &Dot, table: &Table, opened: &Opened) -> bool {
        let version = &contender.version;
        version.vector.saw(dot)
            || (version.node == dot.node
                && contender.begun.is_none_or(|begun| begun < dot.number)
                && contender.read_own(dot.mark, dot.number))
            || (!version.behind
                && contender.counts_passed(table)
                && !contender.is_outside(table)
                && opened.passed(table.index, version.node, dot))
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
                if contender.made.is_some() && opened.passed(table.index, contender.version.node, dot) {
                    contender.heard.add(*dot);
                }
                if Contest::saw(contender, dot, table, opened) {
                    contender.version.vector.add(*dot);
                }
            }
            for (source, mark, id, vector) in &self.told {
                let node = contender.version.node;
                let passed = || match node == *source {
                    true => contender.read_own(*mark, *id) && contender.counts_told(*id, table),
                    // Who lacks columns, or rows, has not passed on all that it was told of.
                    false => {
                        contender.counts_passed(table)
                            && table.subset(*source).is_none()
                            && table.form(*source).is_none_or(|form| form.lens.is_total())
                            && opened.position(table.index, node, *source).contains(*mark, *id)
                    }
                };
                let knows = !contender.version.behind && passed();
                if knows {
                    contender.version.vector.join(vector);
                }
            }
        }
        self.attribute();
        self.date(table);
    }

    /// Who wrote what stands beside what waits, where it came of changes of several other nodes: the row that waits does not keep that, but
    /// whoever has seen the same may tell.
    fn attribute(&mut self) {
        for at in 0..self.versions.len() {
            let Contender { version, stood, .. } = &self.versions[at];
            let is_told = version.stamp.time == i64::MIN || version.stamp.node == version.node || *stood;
            if !version.behind || is_told || version.vector.dots().len() < 2 {
                continue;
            }
            let tells = |other: &&Contender| {
                let is_told = !other.version.behind || other.stood;
                is_told && other.owed.is_none() && other.version.vector == version.vector
            };
            let stamps = self.versions.iter().filter(tells).map(|other| other.version.stamp);
            let known = stamps.filter(|stamp| stamp.time != i64::MIN);
            let told = known.max_by_key(|stamp| (stamp.time == version.stamp.time, *stamp));
            if let Some(told) = told {
                self.versions[at].version.stamp.node = told.node;
            }
        }
    }

    /// How young versions are of which no entry tells it any more.
    fn date(&mut self, table: &Table) {
        // Where a row may be missing without having been deleted, who has one is not as young as a delete that he passed.
        let alike =
            |one: &Contender, other: &Contender| !table.has_subsets() || one.gone.is_some() == other.gone.is_some();
        // Content whose change is long purged, or was passed on by positions alone, is as young as the youngest change
        // that it has seen.
        for at in 0..self.versions.len() {
            let version = &self.versions[at].version;
            if version.stamp.time == i64::MIN {
                let is_within = |other: &&Contender| {
                    other.tells_when_made(version)
                        || version.vector.includes(&other.version.vector) && alike(&self.versions[at], other)
                };
                let within = self.versions.iter().filter(is_within);
                let latest = within.map(|other| other.version.stamp).max_by_key(|stamp| stamp.time);
                self.versions[at].version.stamp = latest.unwrap_or(version.stamp);
            }
        }
        // The same goes where only the last change is purged, and older ones are told of that others made: whoever has seen
        // the same knows how young it is.
        for at in 0..self.versions.len() {
            let version = &self.versions[at].version;
            let same =
                self.versions.iter().filter(|other| alike(&self.versions[at], other)).map(|other| &other.version);
            let same = same
                .filter(|other| other.vector == version.vector && (other.decided_alike(version) || !table.tells_all()));
            let latest = same.map(|other| other.stamp).max();
            self.versions[at].version.stamp = latest.unwrap_or(version.stamp);
        }
        self.order_each_nodes();
    }

    /// Of versions that come of one node's changes, that of the later change is the later one. Of a change that was told of, the time
    /// is as the clock of its node was measured then; of what was made upon it, as it is measured now.
    fn order_each_nodes(&mut self) {
        let number = |version: &Version| {
            let own = version.vector.dots().iter().find(|dot| dot.node == version.stamp.node);
            own.map_or(i64::MIN, |dot| dot.number)
        };
        let precedes = |one: &Version, other: &Version| {
            one.stamp.node == other.stamp.node && number(one) < number(other) && one.stamp.time >= other.stamp.time
        };
        let versions = || self.versions.iter().map(|contender| &contender.version);
        if !versions().any(|other| versions().any(|one| precedes(one, other))) {
            return;
        }
        let mut order: Vec<usize> = (0..self.versions.len()).collect();
        order.sort_by_key(|&at| number(&self.versions[at].version));
        for (place, &at) in order.iter().enumerate() {
            let version = &self.versions[at].version;
            let before = order[..place].iter().map(|&at| &self.versions[at].version);
            if let Some(time) = before.filter(|one| precedes(one, version)).map(|one| one.stamp.time).max() {
                self.versions[at].version.stamp.time = time.saturating_add(1);
            }
        }
    }

    /// Whether the content that stands at a node has seen a change, also at nodes that have nothing new to say.
    pub fn stands_for(&self, node: NodeId, dot: &Dot, table: &Table, opened: &Opened) -> bool {
        match self.standing(node) {
            Some(contender) => Contest::saw(contender, dot, table, opened),
            None => node == dot.node || opened.passed(table.index, node, dot),
        }
    }

    /// The places of the versions that no other has seen, once the contest is closed. What stands at nodes that give no rows away is
    /// none of them, as long as there is anything else.
    pub fn tops(&self, table: &Table, opened: &Opened) -> Vec<usize> {
        let versions: Vec<&Version> = self.versions.iter().map(|contender| &contender.version).collect();
        if !table.may_lack_rows() {
            let mut places: Vec<usize> = (0..versions.len()).filter(|&at| self.versions[at].owed.is_none()).collect();
            let is_private = |at: usize| self.versions[at].is_private(table);
            if places.iter().any(|&at| !is_private(at)) {
                places.retain(|&at| !is_private(at));
            }
            // Of equals the one stands for all that tells of the row, and has every column.
            places.sort_by_key(|&at| (self.versions[at].is_silent(), !self.versions[at].is_whole(table)));
            let there: Vec<&Version> = places.iter().map(|&at| versions[at]).collect();
            let mut tops: Vec<usize> =
                merge::tops(&there, table.tells_all()).into_iter().map(|top| places[top]).collect();
            tops.sort_unstable();
            return tops;
        }
        let among = |left: &dyn Fn(&Contender) -> bool| {
            let mut places: Vec<usize> = (0..versions.len()).filter(|&at| left(&self.versions[at])).collect();
            // Of equals one stands for all that can be read, and was surely made after the others.
            let odds = |one: &Contender| (one.is_deleted_apart(table), matches!(one.content, Content::Unreadable(_)));
            places.sort_by_key(|&at| odds(&self.versions[at]));
            // Also one that waits: what it has seen of the delete came to nothing.
            let apart = |at: usize| self.versions[at].is_deleted_apart(table);
            let alike = |one: usize, other: usize| versions[one].vector == versions[other].vector;
            let stand: Vec<usize> = places.iter().copied().filter(|&at| !apart(at)).collect();
            places.retain(|&at| !(apart(at) && stand.iter().any(|&other| alike(at, other))));
            let left: Vec<&Version> = places.iter().map(|&at| versions[at]).collect();
            let told = left.iter().any(|version| !version.vector.is_empty());
            (told, merge::tops(&left, false).into_iter().map(|top| places[top]).collect::<Vec<usize>>())
        };
        // A row that came and went concerns nobody who has something to say.
        let is_for_all = |contender: &Contender| contender.is_version() && !contender.is_private(table);
        let lasts = |contender: &Contender| {
            let version = &contender.version;
            let stands = version.waiting || contender.content.is_row();
            is_for_all(contender) && (stands || !self.came_and_went(version.node, table, opened))
        };
        match among(&lasts) {
            (told, tops) if told || table.has_subsets() && !tops.is_empty() => tops,
            _ => {
                let left: [&dyn Fn(&Contender) -> bool; 2] = [&is_for_all, &Contender::is_version];
                let tops = left.into_iter().map(|left| among(left).1).find(|tops| !tops.is_empty());
                tops.unwrap_or_else(|| merge::tops(&versions, false))
            }
        }
    }

    /// Tells, once the contents are known, which nodes never took the row, or gave it up because it does not belong there.
    pub fn find_hollow(&mut self, table: &Table) {
        // Entries of changes made elsewhere are kept for longer than those of users: the row came after the delete.
        let is_back = |one: &Contender| {
            one.gone == Some(Gone::Elsewhere)
                && !one.version.waiting
                && matches!(one.content, Content::Row(_) | Content::Stands | Content::Unreadable(_))
        };
        let mut back = false;
        self.versions.iter_mut().filter(|one| table.has_subsets() && is_back(one)).for_each(|one| {
            (one.gone, back) = (None, true);
        });
        if back {
            self.date(table);
        }
        // Where a table goes one way its targets' positions tell what they have taken, or given up for not belonging there. Where the source
        // is here, its own row tells all.
        let tells_nothing = table.from.is_none_or(|from| self.standing(from).is_some());
        for contender in &mut self.versions {
            let version = &mut contender.version;
            // Beside what waits, that tells of a delete whose entry may be purged.
            let stood = match table.has_subsets() {
                true => contender.stood,
                false => version.behind && version.vector.dots().iter().any(|dot| dot.node == version.node),
            };
            let may_lack = table.may_lack_it(version.node);
            let is_absent = !version.waiting && contender.content == Content::Deleted;
            contender.missing = may_lack && is_absent && contender.gone.is_none() && !stood;
            contender.hollow = contender.missing && tells_nothing;
            if contender.hollow && table.has_subsets() {
                // What was passed there went into nothing that could have seen it.
                let node = version.node;
                contender.heard.join(&version.vector);
                version.vector.retain(|dot| dot.node == node);
            }
        }
    }

    /// The same where it is of use, of contents that were filled in.
    pub fn find_absent(&mut self, table: &Table) {
        if table.has_subsets() {
            self.find_hollow(table);
        }
    }

    /// Fills in what stands at a node, as far as it is known.
    pub fn fill(&mut self, node: NodeId, content: Option<Content>) {
        if let Some(content) = content {
            self.standing_mut(node).content = content;
        }
    }

    /// Whether a node at which no row belongs has heard of changes that are not in this, as it may have given up the row for one: it is
    /// not to have it back without them.
    pub fn has_heard_more(&self, node: NodeId, vector: &Vector) -> bool {
        !self.heard_at(node).dots().iter().all(|dot| vector.saw(dot))
    }

    /// What was passed at a node at which no row belongs, without its own changes.
    pub fn heard_at(&self, node: NodeId) -> Vector {
        let mut heard = self.standing(node).map_or(Vector::EMPTY, |contender| contender.heard.clone());
        heard.retain(|dot| dot.node != node);
        heard
    }

    /// A change of a node that has given up the row, of which nobody here knows what became.
    pub fn taken_away(&self, table: &Table) -> Option<Dot> {
        let outside = self.versions.iter().filter(|contender| contender.is_outside(table));
        let mut own = outside.flat_map(|contender| contender.version.vector.dots());
        own.find(|dot| !self.is_here(dot, table)).copied()
    }

    /// A time before all changes that are told of: when a row was written of which nobody knows more than that all have it.
    pub fn before_all(&self) -> i64 {
        let stamps =
            self.versions.iter().map(|contender| contender.version.stamp.time).filter(|time| *time != i64::MIN);
        let first = stamps.chain(self.own.iter().map(|own| own.time)).min();
        first.map_or(i64::MIN, |first| first - LONG_BEFORE)
    }

    /// Whether a node is about to hear that another has its change.
    pub fn is_answered(&self, node: NodeId, table: &Table, opened: &Opened) -> bool {
        self.told.iter().any(|(source, mark, id, vector)| {
            *source != node
                && vector.dots().iter().any(|dot| dot.node == node)
                && !opened.position(table.index, node, *source).contains(*mark, *id)
        })
    }

    /// Whether anybody who is there has a version of the row, or keeps the place of one.
    pub fn is_about_something(&self) -> bool {
        self.versions.iter().any(|contender| contender.is_version() || contender.owed.is_some())
    }

    /// Whether it is clear before anything is known of the contents which version is left: nobody deleted anything, and a node that
    /// takes all rows has seen what anybody has.
    pub fn is_plain(&self, table: &Table) -> bool {
        let has_seen_all = |one: &&Contender| {
            let mut all = self.versions.iter();
            all.all(|other| one.version.vector.includes(&other.version.vector))
        };
        let mut whole = self.versions.iter().filter(|contender| table.subset(contender.version.node).is_none());
        !self.versions.iter().any(|contender| contender.gone.is_some())
            && whole.any(|contender| has_seen_all(&contender))
    }

    /// Whether it is clear, before anything is known of the contents, that of the version at this place nobody has to know more than whether a
    /// row is there: what stands at a node that is there, takes all rows and gives them away has seen all of it and more, nobody deleted
    /// anything, nothing waits, and no row is new where others are hidden. Nor is what loses kept without a conflict. Whoever asks sees to
    /// it that every node has all columns.
    pub fn may_stay_unread(&self, at: usize, table: &Table, opened: &Opened) -> bool {
        let is_plain = |one: &Contender| {
            let Contender { version, gone, owed, .. } = one;
            !version.waiting && !version.behind && gone.is_none() && owed.is_none() && one.began().is_none()
        };
        let vector = &self.versions[at].version.vector;
        let replaces = |other: &Contender| {
            let node = other.version.node;
            let takes_all = !table.may_lack_it(node) && table.gives_rows(node);
            takes_all
                && opened.is_present(node)
                && other.version.vector.includes(vector)
                && !vector.includes(&other.version.vector)
        };
        table.operations == Operations::ALL
            && table.uncompared.is_none()
            && self.versions.iter().all(is_plain)
            && self.versions.iter().any(replaces)
    }

    /// Whether what stands at some of its nodes may have been decided differently, by nodes that have seen the same.
    pub fn may_differ(&self, table: &Table) -> bool {
        let stands = |c: &&Contender| !c.version.waiting && !c.version.behind && c.version.stamp.time != i64::MIN;
        let mut standing = self.versions.iter().filter(stands);
        table.tells_all()
            && standing.next().is_some_and(|first| standing.any(|other| !other.version.decided_alike(&first.version)))
    }
}
