//! A random run, and what is known of it from outside.
//!
//! The reference is kept outside of everything: for `sum` the sum of all acknowledged increments, for `latest-wins` the
//! write that no other write has seen, the latest of these by the true time. With other policies, and after a restore, it
//! is only known that the nodes come together at something that was written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::cluster::Cluster;
use super::random::{Random, number};
use crate::model::{EntryId, Lost, time};
use crate::sync::memory::{self, SECOND, number as number_of};
use crate::sync::schedule::Schedule;
use crate::sync::session::Session;

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    Sum,
    Latest,
    Earliest,
    Prefer,
}

/// Writes that lie closer together than this, in microseconds, may count in either order: clocks are measured over calls
/// that a busy machine interrupts.
const TOLERANCE: i64 = 500_000;

/// A write to one key, as far as whoever made it knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Where; nowhere for what was there from the start.
    pub at: Option<usize>,
    /// By the true time.
    pub time: i64,
    /// When it was committed at the latest. What is decided meanwhile counts as seen by it where nothing has to be written at
    /// its node, so that it may count as made at any time until then.
    pub committed: i64,
    /// The number of its entry; none for what was there from the start.
    pub number: i64,
    /// No other write to the key has the same.
    pub value: Option<i64>,
    /// Whether no row stood where it was made.
    pub made: bool,
    /// The places in the list of the key's writes of those that it has certainly seen: earlier ones at its node, the one
    /// that stood there, and all that these had seen. Who deleted a row that is not there nobody can tell.
    pub seen: BTreeSet<usize>,
}

/// A random run, and what is known of it from outside.
pub struct Run {
    pub random: Random,
    pub kind: Kind,
    pub cluster: Cluster,
    /// What the rows of the first table must be in the end if they are summed.
    pub totals: Vec<i64>,
    /// Every acknowledged increment: where, as which entry, to which key, by how much.
    pub made: Vec<(usize, EntryId, i64, i64)>,
    /// Every write to each key, in the order of time.
    pub written: BTreeMap<i64, Vec<Write>>,
    /// Whether a node was put back, so that nobody outside knows which writes are left.
    pub restored: bool,
    /// How many of a hundred transactions commit late.
    pub late: u64,
    /// Whether time stands still: where it jumps while clocks are measured, nobody knows what they showed.
    pub still: bool,
    /// How the first table is configured, if that is another than the kind says.
    pub settings: Option<&'static str>,
}

impl Run {
    pub fn new(seed: u64) -> Run {
        // What else would depend on how busy the machine is: how much time passes meanwhile, and how long threads keep others waiting.
        let mut machine = Random(!seed ^ number("CONCORD_BUSY").unwrap_or(0) << 32);
        time::step(1 << machine.below(13));
        let most = [0, 10, 100, 500][machine.below(4) as usize];
        memory::take_turns(machine.next(), most);
        let mut random = Random(seed);
        let kind = match random.below(10) {
            0..=3 => Kind::Sum,
            4..=7 => Kind::Latest,
            8 => Kind::Earliest,
            _ => Kind::Prefer,
        };
        let count = 2 + random.below(4) as usize;
        let keys = 1 + random.below(3) as i64;
        let rows: Vec<(i64, i64)> =
            [0, SECOND].iter().flat_map(|first| (*first..first + keys).map(|id| (id, 100))).collect();
        let cluster = Cluster::new(count, &rows);
        for database in &cluster.databases {
            let mut state = database.lock();
            // Wrong by so little that it counts as right, or by up to half a minute.
            let most = if random.chance(50) { 500 } else { 30_000_000 };
            state.skew = random.below(2 * most + 1) as i64 - most as i64;
            state.pace = random.next();
            // Writes follow each other faster than that.
            state.unsteady = 300;
        }
        let first = |value| Write {
            at: None,
            time: i64::MIN,
            committed: i64::MIN,
            number: 0,
            value: Some(value),
            made: true,
            seen: BTreeSet::new(),
        };
        let written = rows.iter().map(|(id, value)| (*id, vec![first(*value)])).collect();
        let totals = vec![100; keys as usize];
        Run {
            random,
            kind,
            cluster,
            totals,
            made: Vec::new(),
            written,
            restored: false,
            late: 15,
            still: false,
            settings: None,
        }
    }

    /// Whether the values of a row are added up.
    pub fn is_summed(&self, id: i64) -> bool {
        self.kind == Kind::Sum && id < SECOND
    }

    pub fn conflict(&self) -> &'static str {
        match self.kind {
            _ if self.settings.is_some() => self.settings.unwrap_or_default(),
            Kind::Sum => "{ sum = [\"value\"] }",
            Kind::Latest => "\"latest-wins\"",
            Kind::Earliest => "\"earliest-wins\"",
            Kind::Prefer => "{ prefer = [\"b\"] }",
        }
    }

    /// A user of one node writes something, to one row or to several of both tables in one transaction.
    pub fn write(&mut self, at: usize) {
        let mut ids: Vec<i64> = self.written.keys().copied().collect();
        let several = if self.random.chance(40) { 1 + self.random.below(ids.len() as u64) } else { 1 };
        let ids: Vec<i64> =
            (0..several).map(|_| ids.swap_remove(self.random.below(ids.len() as u64) as usize)).collect();
        let late = self.random.chance(self.late);
        if self.random.chance(80) && !self.still {
            time::pass(1_000_000 + self.random.below(3_000_000) as i64);
        }
        let mut writes = Vec::new();
        for &id in &ids {
            let value = if self.is_summed(id) {
                let before = self.cluster.databases[at].lock().rows.get(&id).copied().unwrap_or(0);
                Some(before + 1 + self.random.below(9) as i64)
            } else if self.random.chance(20) {
                None
            } else {
                Some(1_000_000 + self.written[&id].len() as i64)
            };
            writes.push((id, value));
        }
        let now = time::now();
        let mut state = self.cluster.databases[at].lock();
        let before: Vec<Option<i64>> = ids.iter().map(|id| state.rows.get(id).copied()).collect();
        let entries = state.write_all(&writes, late);
        drop(state);
        for (entry, ((id, value), before)) in entries.into_iter().flatten().zip(writes.into_iter().zip(before)) {
            if let (true, Some(value)) = (self.is_summed(id), value) {
                let by = value - before.unwrap_or(0);
                self.totals[id as usize] += by;
                self.made.push((at, entry, id, by));
            }
            let written = self.written.entry(id).or_default();
            let own = written.iter().rposition(|write| write.at == Some(at));
            let standing = before.and_then(|_| written.iter().position(|write| write.value == before));
            let mut seen = BTreeSet::new();
            for place in own.into_iter().chain(standing) {
                seen.insert(place);
                seen.extend(&written[place].seen);
            }
            let committed = if late { i64::MAX } else { now };
            written.push(Write {
                at: Some(at),
                time: now,
                committed,
                number: entry.id,
                value,
                made: before.is_none(),
                seen,
            });
        }
    }

    /// A transaction of a user of one node ends, if one is open.
    pub fn commit(&mut self, at: usize) {
        let mut state = self.cluster.databases[at].lock();
        match state.open.len() as u64 {
            0 => return state.write_elsewhere(),
            open => state.commit(self.random.below(open) as usize),
        }
        let open: Vec<i64> = state.open.iter().map(|(_, entry, _)| entry.id).collect();
        let ended =
            |write: &&mut Write| write.at == Some(at) && write.committed == i64::MAX && !open.contains(&write.number);
        self.written.values_mut().flatten().filter(ended).for_each(|write| write.committed = time::now());
    }

    /// Cycles of one engine, or of two at once, while nodes are away and connections break.
    pub fn cycles(&mut self, session: &mut Session) -> Result<(), String> {
        let mut other = self.random.chance(30).then(|| self.cluster.session(self.conflict(), 1000));
        let calm = other.is_some() && self.random.chance(50);
        for database in &self.cluster.databases {
            let mut state = database.lock();
            state.up = calm || self.random.chance(75);
            state.fuse = (!calm && self.random.chance(30)).then(|| self.random.below(40) as u32);
        }
        if self.random.chance(20) {
            *session = self.cluster.session(self.conflict(), 1 + self.random.below(4) as usize);
            session.schedule = Schedule::by_the_clock(time::moment());
        }
        session.schedule.pass(Duration::from_secs(self.random.below(8)));
        // An engine that lost a connection reports it or leaves the node out; either is fine here.
        let cycles = async |session: &mut Session, count: u64| {
            for _ in 0..count {
                let _ = session.cycle().await;
            }
        };
        let count = 1 + self.random.below(3);
        match &mut other {
            None => self.cluster.block(cycles(session, count)),
            Some(other) => {
                let count_other = 1 + self.random.below(3);
                self.cluster.block(async { futures::join!(cycles(session, count), cycles(other, count_other)) });
            }
        }
        for database in &self.cluster.databases {
            let mut state = database.lock();
            state.up = true;
            state.fuse = None;
        }
        for away in session.away().iter().chain(&other.map_or_else(Vec::new, |other| other.away())) {
            if !away.unreachable {
                return Err(format!("{} is left out: {}", away.node, away.why));
            }
        }
        Ok(())
    }

    /// What a row may be in the end.
    pub fn expected(&self, id: i64) -> Vec<Option<i64>> {
        if self.is_summed(id) {
            return vec![Some(self.totals[id as usize])];
        }
        self.expected_of(id, &self.written[&id])
    }

    /// The same if just these writes had been made.
    pub fn expected_of(&self, id: i64, written: &[Write]) -> Vec<Option<i64>> {
        let known = (self.kind == Kind::Latest || id >= SECOND) && !self.restored;
        let tops = written.iter().enumerate().filter(|(at, _)| !written.iter().any(|write| write.seen.contains(at)));
        let latest = written.iter().map(|write| write.time).max().unwrap_or(i64::MIN).saturating_sub(TOLERANCE);
        match known {
            true => tops.filter(|(_, write)| write.committed >= latest).map(|(_, write)| write.value).collect(),
            false => written.iter().map(|write| write.value).collect(),
        }
    }

    /// Everybody has come together.
    pub fn check(&mut self) -> Result<(), String> {
        let cluster = &self.cluster;
        let rows = cluster.rows();
        if rows.iter().any(|other| *other != rows[0]) {
            return Err(format!("the nodes differ: {rows:?}"));
        }
        let waiting: usize = cluster.databases.iter().map(|database| database.lock().parked.len()).sum();
        if waiting > 0 {
            return Err(format!("{waiting} rows still wait"));
        }
        for id in self.written.keys() {
            let value = rows[0].iter().find(|(key, _)| key == id).map(|(_, value)| *value);
            let expected = self.expected(*id);
            if !expected.contains(&value) {
                return Err(format!("row {id} is {value:?} and should be one of {expected:?}: {:?}", self.written[id]));
            }
        }
        let writes =
            |cluster: &Cluster| -> u64 { cluster.databases.iter().map(|database| database.lock().writes).sum() };
        let before = writes(cluster);
        let mut session = cluster.session(self.conflict(), 1000);
        let cycle = cluster.block(session.cycle()).map_err(|error| error.to_string())?;
        if cycle.wrote || writes(cluster) != before {
            return Err(format!("a sync at rest wrote something: {cycle:?}"));
        }
        for database in &cluster.databases {
            let state = database.lock();
            if !state.history.is_empty() || state.kept.len() > 4 * (cluster.databases.len() - 1) {
                return Err(format!("kept for nobody: {:?}, {:?}", state.history, state.kept));
            }
        }
        Ok(())
    }
}

/// What nobody has seen who wrote later either stands in the end or is in a journal, or was in one that is `gone`.
pub fn nothing_went_silently(run: &Run, gone: &[Lost]) -> Result<(), String> {
    let rows = run.cluster.rows();
    for (id, written) in &run.written {
        let stands: Vec<i64> = rows.iter().flatten().filter(|(key, _)| key == id).map(|(_, value)| *value).collect();
        let journals = run.cluster.databases.iter().flat_map(|database| database.lock().journal.clone());
        let journals = journals.chain(gone.iter().cloned()).filter(|lost| number_of(&lost.key[0]) == *id);
        let lost: Vec<Option<i64>> = journals.map(|lost| lost.loser_row.map(|row| number_of(&row[1]))).collect();
        for (place, write) in written.iter().enumerate().filter(|(_, write)| write.at.is_some()) {
            let Some(value) = write.value else { continue };
            let is_over = written.iter().any(|other| other.seen.contains(&place));
            if !is_over && !stands.contains(&value) && !lost.contains(&Some(value)) && !lost.contains(&None) {
                return Err(format!("row {id} is {stands:?}, and {write:?} went silently: {written:?}"));
            }
        }
    }
    Ok(())
}
