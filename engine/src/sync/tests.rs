//! The whole cycle against databases in memory and a simple reference: random nodes, writes, deletes, re-inserts, absences,
//! wrong clocks, transactions that commit late, connections that break at any call, small pages, and transactions over two
//! tables that do not fit into them.
//!
//! The reference is kept outside of everything: for `sum` the sum of all acknowledged increments, for `latest-wins` the
//! write that no other write has seen, the latest of these by the true time. With other policies, and after a restore, it
//! is only known that the nodes come together at something that was written.

mod blindly;
mod engines;
mod journalling;
mod loading;
mod planning;
mod restoring;
mod unreadable;
mod verifying;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::restoring::Backup;
use super::memory::{Database, SECOND};
use super::schedule::Schedule;
use super::session::Session;
use crate::config::Config;
use crate::model::{Cut, EntryId, time};
use crate::node::apply::{Batch, Place, apply};
use crate::node::{Error, ErrorKind, Move};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

pub fn names() -> Vec<String> {
    NAMES.iter().map(|name| (*name).to_owned()).collect()
}

/// A small generator of its own, so that a seed means the same run for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

struct Cluster {
    databases: Vec<Database>,
}

impl Cluster {
    fn new(count: usize, rows: &[(i64, i64)]) -> Cluster {
        let databases: Vec<Database> = (0..count).map(|_| Database::default()).collect();
        for database in &databases {
            let mut state = database.lock();
            state.up = true;
            state.rows = rows.iter().copied().collect();
        }
        Cluster { databases }
    }

    fn session(&self, conflict: &str, batch: usize) -> Session {
        self.session_with("max_skew = \"1h\"", conflict, batch)
    }

    fn session_with(&self, defaults: &str, conflict: &str, batch: usize) -> Session {
        let mut text = format!("name = \"model\"\n[defaults]\n{defaults}\nbatch = {batch}\n");
        for name in &NAMES[..self.databases.len()] {
            text += &format!("[nodes.{name}]\nurl = \"sqlite:/{name}.db\"\n");
        }
        text += &format!("[tables.t]\nconflict = {conflict}\n[tables.u]\n");
        let config = Config::parse(Path::new("model.toml"), text, &|_| None).unwrap();
        let databases = self.databases.clone();
        Session::with_connector(
            config,
            Arc::new(move |target| {
                let at = NAMES.iter().position(|name| target.to_string().ends_with(&format!("{name}.db")));
                let database = at.and_then(|at| databases.get(at)).cloned();
                Box::pin(
                    async move { database.ok_or_else(|| Error::new(ErrorKind::Other, "no such database"))?.connect() },
                )
            }),
        )
    }

    /// For looking into one seed: CONCORD_TRACE=1 CONCORD_SEED=….
    fn show(&self) {
        for (name, database) in NAMES.iter().zip(&self.databases) {
            let state = database.lock();
            let entry = |e: &crate::model::Entry| {
                let images = e.images.as_ref().map(|i| (i.before.clone(), i.after.clone()));
                format!(
                    "{}@{} at {} {:?} {:?} {:?}",
                    e.id,
                    e.mark,
                    e.time,
                    e.key,
                    e.arrival.as_ref().map(|a| (a.dot, a.vector.dots().to_vec())),
                    images
                )
            };
            let parked: Vec<String> = state
                .parked
                .values()
                .map(|p| {
                    format!(
                        "{:?} {:?} vector {:?} at {} standing {:?} at {} row {:?}",
                        p.key,
                        p.code,
                        p.vector.dots(),
                        p.stamp.time,
                        p.standing.dots(),
                        p.standing_time,
                        p.row
                    )
                })
                .collect();
            eprintln!(
                "{name}: {:?} skew {} refuses {:?}\n   history {:#?}\n   open {:?}\n   parked {parked:#?}\n   positions {:?}",
                state.rows,
                state.skew,
                state.refuses,
                state.history.iter().map(entry).collect::<Vec<_>>(),
                state.open.iter().map(|(_, e, v)| (entry(e), v)).collect::<Vec<_>>(),
                state.positions
            );
        }
        eprintln!("--------");
    }

    fn block<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
    }

    fn rows(&self) -> Vec<Vec<(i64, i64)>> {
        self.databases.iter().map(|database| database.lock().rows.iter().map(|(id, v)| (*id, *v)).collect()).collect()
    }

    /// Everybody is there and every transaction has ended: sync until nothing is left, first in pages of so few entries.
    fn settle(&mut self, conflict: &str, few: usize) -> Result<(), String> {
        for database in &self.databases {
            let mut state = database.lock();
            state.up = true;
            state.fuse = None;
            (state.refuses, state.unreadable) = (None, None);
            while !state.open.is_empty() {
                state.commit(0);
            }
        }
        let mut session = self.session(conflict, few);
        for cycles in 0.. {
            // Far more than there are entries.
            if cycles > 2_000 {
                return Err(format!("a sync in pages of {few} never ends: {:?}", self.block(session.cycle())));
            }
            let quiet = self.block(session.cycle()).unwrap().is_quiet();
            if std::env::var("CONCORD_TRACE").is_ok() {
                eprintln!("settling in small pages");
                self.show();
            }
            if quiet {
                break;
            }
        }
        let mut session = self.session(conflict, 1000);
        for _ in 0..4 {
            self.block(session.sync()).unwrap();
            if std::env::var("CONCORD_TRACE").is_ok() {
                eprintln!("settling");
                self.show();
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
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
struct Write {
    /// Where; nowhere for what was there from the start.
    at: Option<usize>,
    /// By the true time.
    time: i64,
    /// When it was committed at the latest. What is decided meanwhile counts as seen by it where nothing has to be written at
    /// its node, so that it may count as made at any time until then.
    committed: i64,
    /// The number of its entry; none for what was there from the start.
    number: i64,
    /// No other write to the key has the same.
    value: Option<i64>,
    /// The places in the list of the key's writes of those that it has certainly seen: earlier ones at its node, the one
    /// that stood there, and all that these had seen. Who deleted a row that is not there nobody can tell.
    seen: BTreeSet<usize>,
}

/// A random run, and what is known of it from outside.
struct Run {
    random: Random,
    kind: Kind,
    cluster: Cluster,
    /// What the rows of the first table must be in the end if they are summed.
    totals: Vec<i64>,
    /// Every acknowledged increment: where, as which entry, to which key, by how much.
    made: Vec<(usize, EntryId, i64, i64)>,
    /// Every write to each key, in the order of time.
    written: BTreeMap<i64, Vec<Write>>,
    /// Whether a node was put back, so that nobody outside knows which writes are left.
    restored: bool,
    /// How many of a hundred transactions commit late.
    late: u64,
    /// Whether time stands still: where it jumps while clocks are measured, nobody knows what they showed.
    still: bool,
}

impl Run {
    fn new(seed: u64) -> Run {
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
        }
        let first = |value| Write {
            at: None,
            time: i64::MIN,
            committed: i64::MIN,
            number: 0,
            value: Some(value),
            seen: BTreeSet::new(),
        };
        let written = rows.iter().map(|(id, value)| (*id, vec![first(*value)])).collect();
        let totals = vec![100; keys as usize];
        Run { random, kind, cluster, totals, made: Vec::new(), written, restored: false, late: 15, still: false }
    }

    /// Whether the values of a row are added up.
    fn is_summed(&self, id: i64) -> bool {
        self.kind == Kind::Sum && id < SECOND
    }

    fn conflict(&self) -> &'static str {
        match self.kind {
            Kind::Sum => "{ sum = [\"value\"] }",
            Kind::Latest => "\"latest-wins\"",
            Kind::Earliest => "\"earliest-wins\"",
            Kind::Prefer => "{ prefer = [\"b\"] }",
        }
    }

    /// A user of one node writes something, to one row or to several of both tables in one transaction.
    fn write(&mut self, at: usize) {
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
            written.push(Write { at: Some(at), time: now, committed, number: entry.id, value, seen });
        }
    }

    /// A transaction of a user of one node ends, if one is open.
    fn commit(&mut self, at: usize) {
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
    fn cycles(&mut self, session: &mut Session) -> Result<(), String> {
        let mut other = self.random.chance(30).then(|| self.cluster.session(self.conflict(), 1000));
        let calm = other.is_some() && self.random.chance(50);
        for database in &self.cluster.databases {
            let mut state = database.lock();
            state.up = calm || self.random.chance(75);
            state.fuse = (!calm && self.random.chance(30)).then(|| self.random.below(40) as u32);
        }
        if self.random.chance(20) {
            *session = self.cluster.session(self.conflict(), 1 + self.random.below(4) as usize);
            session.schedule = Schedule::by_the_clock(Instant::now());
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
    fn expected(&self, id: i64) -> Vec<Option<i64>> {
        if self.is_summed(id) {
            return vec![Some(self.totals[id as usize])];
        }
        let written = &self.written[&id];
        let known = (self.kind == Kind::Latest || id >= SECOND) && !self.restored;
        let tops = written.iter().enumerate().filter(|(at, _)| !written.iter().any(|write| write.seen.contains(at)));
        let latest = written.iter().map(|write| write.time).max().unwrap_or(i64::MIN).saturating_sub(TOLERANCE);
        match known {
            true => tops.filter(|(_, write)| write.committed >= latest).map(|(_, write)| write.value).collect(),
            false => written.iter().map(|write| write.value).collect(),
        }
    }

    /// Everybody has come together.
    fn check(&mut self) -> Result<(), String> {
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

/// One random run; returns what went wrong.
fn run(seed: u64) -> Result<(), String> {
    let mut run = Run::new(seed);
    let (kind, count) = (run.kind, run.cluster.databases.len());
    play(&mut run).map_err(|what| format!("seed {seed} ({kind:?}, {count} nodes): {what}"))
}

fn play(run: &mut Run) -> Result<(), String> {
    let conflict = run.conflict();
    run.cluster.block(run.cluster.session(conflict, 1000).install()).map_err(|error| error.to_string())?;
    let mut session = run.cluster.session(conflict, 1000);
    let mut backups: Vec<Backup> = Vec::new();
    let trace = std::env::var("CONCORD_TRACE").is_ok();
    for _ in 0..3 + run.random.below(60) {
        if trace {
            run.cluster.show();
        }
        let at = run.random.below(run.cluster.databases.len() as u64) as usize;
        match run.random.below(100) {
            0..=54 => run.write(at),
            55..=62 => run.commit(at),
            63..=66 => {
                // A constraint comes and goes, or what cannot be read does.
                let reads = run.random.chance(50);
                let mut state = run.cluster.databases[at].lock();
                let value = state.rows.values().next().copied();
                let trouble = if reads { &mut state.unreadable } else { &mut state.refuses };
                *trouble = if trouble.is_none() { value } else { None };
            }
            67..=68 => session = run.cluster.session(conflict, 1000),
            69..=70 => backups.push(Backup { at, state: run.cluster.databases[at].lock().clone() }),
            _ => run.cycles(&mut session)?,
        }
    }
    if !backups.is_empty() && run.random.chance(50) {
        let which = run.random.below(backups.len() as u64) as usize;
        if !run.restore(&mut session, backups.swap_remove(which))? {
            return Ok(());
        }
        run.restored = true;
    }
    let few = 1 + run.random.below(4) as usize;
    run.cluster.settle(conflict, few)?;
    run.check()
}

/// How many random runs; CONCORD_RUNS asks for more, CONCORD_SEED for one.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("CONCORD_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CONCORD_RUNS").unwrap_or(usual),
    }
}

#[test]
fn random_runs_converge_to_the_reference() {
    let failures: Vec<String> = seeds(2_000).filter_map(|seed| run(seed).err()).collect();
    let shown = failures.iter().take(8).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} runs went wrong; replay one with CONCORD_SEED=…\n{shown}", failures.len());
}

#[test]
fn a_table_that_was_seen_to_goes_on() {
    let cluster = Cluster::new(2, &[(1, 1)]);
    cluster.block(cluster.session("\"latest-wins\"", 10).install()).unwrap();
    let mut session = cluster.session("\"latest-wins\"", 10);
    cluster.databases[1].lock().drift = Some("a trigger is missing".to_owned());
    cluster.databases[0].lock().write(1, Some(2), false);
    let cycle = cluster.block(session.cycle()).unwrap();
    assert_eq!((cycle.stopped.len(), cluster.databases[1].lock().rows[&1]), (1, 1));
    cluster.databases[1].lock().drift = None;
    // As after a while.
    session.adopted = None;
    let cycle = cluster.block(session.cycle()).unwrap();
    assert_eq!((cycle.stopped.len(), cluster.databases[1].lock().rows[&1]), (0, 2));
}

#[test]
fn a_node_that_could_not_take_its_part_is_no_success() {
    let cluster = Cluster::new(2, &[(1, 1)]);
    cluster.block(cluster.session("\"latest-wins\"", 10).install()).unwrap();
    cluster.databases[1].lock().changing = true;
    cluster.databases[0].lock().write(1, Some(2), false);
    let mut session = cluster.session("\"latest-wins\"", 10);
    let summary = cluster.block(session.sync()).unwrap();
    assert!(summary.failed.is_some());
    assert_eq!(summary.exit_code(), crate::error::ATTENTION);
    cluster.databases[1].lock().changing = false;
    let summary = cluster.block(session.sync()).unwrap();
    assert_eq!((summary.exit_code(), cluster.databases[1].lock().rows[&1]), (crate::error::DONE, 2));
}

/// Whoever is alone knows of nobody who has passed anything.
#[test]
fn what_is_pending_is_counted_where_nobody_else_is_there() {
    let cluster = Cluster::new(2, &[(1, 1), (2, 1)]);
    cluster.block(cluster.session("\"latest-wins\"", 10).install()).unwrap();
    (1..3).for_each(|id| assert!(cluster.databases[0].lock().write(id, Some(2), false)));
    cluster.databases[1].lock().up = false;
    let status = cluster.block(cluster.session("\"latest-wins\"", 10).status()).unwrap();
    let line = status.tables.iter().find(|line| line.table == "t").expect("a line");
    assert_eq!((line.node.as_str(), line.pending, line.kept, line.lag.is_some()), ("a", 2, 2, true));
}

/// A cluster of two with a row that the second refuses, and a session that has tried it once.
fn refused() -> (Cluster, Session) {
    let cluster = Cluster::new(2, &[(1, 1)]);
    cluster.block(cluster.session("\"latest-wins\"", 10).install()).unwrap();
    cluster.databases[1].lock().refuses = Some(7);
    cluster.databases[0].lock().write(2, Some(7), false);
    let mut session = cluster.session("\"latest-wins\"", 10);
    session.schedule = Schedule::by_the_clock(Instant::now());
    assert_eq!(tried(&cluster, &mut session), (1, 1));
    (cluster, session)
}

/// Runs a cycle: how often the second node's rows were tried, and how many rows wait at its end.
fn tried(cluster: &Cluster, session: &mut Session) -> (u64, u64) {
    let before = cluster.databases[1].lock().tries;
    let cycle = cluster.block(session.cycle()).unwrap();
    (cluster.databases[1].lock().tries - before, cycle.waiting)
}

#[test]
fn what_waits_is_tried_after_pauses_that_grow() {
    let (cluster, mut session) = refused();
    for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 256, 256] {
        // The pause lasts at least half as long.
        session.schedule.pass(Duration::from_secs(seconds) / 2 - Duration::from_millis(400));
        assert_eq!(tried(&cluster, &mut session), (0, 1), "before {seconds} s");
        session.schedule.pass(Duration::from_secs(seconds) + Duration::from_millis(400));
        assert_eq!(tried(&cluster, &mut session), (1, 1), "after {seconds} s");
    }
    // Changes of other rows are no reason, one of the row itself is.
    cluster.databases[0].lock().write(1, Some(2), false);
    assert_eq!(tried(&cluster, &mut session), (1, 1));
    assert_eq!(cluster.databases[1].lock().rows.get(&1), Some(&2));
    cluster.databases[0].lock().write(2, Some(8), false);
    assert_eq!(tried(&cluster, &mut session), (1, 0));
}

#[test]
fn without_a_clock_what_waits_is_tried_once() {
    let (cluster, mut session) = refused();
    session.schedule = Schedule::default();
    assert_eq!(tried(&cluster, &mut session), (1, 1));
    session.schedule.pass(Duration::from_secs(10_000));
    assert_eq!(tried(&cluster, &mut session), (0, 1));
    cluster.databases[1].lock().refuses = None;
    assert_eq!(tried(&cluster, &mut session), (0, 1));
    // Another run of the command.
    let summary = cluster.block(session.sync()).unwrap();
    assert_eq!((summary.waiting, cluster.databases[1].lock().rows.get(&2)), (0, Some(&7)));
}

#[test]
fn a_node_that_comes_back_is_tried_at_once() {
    let (cluster, mut session) = refused();
    cluster.databases[1].lock().up = false;
    tried(&cluster, &mut session);
    let mut state = cluster.databases[1].lock();
    (state.up, state.refuses) = (true, None);
    drop(state);
    assert_eq!(tried(&cluster, &mut session), (1, 0));
}

#[test]
fn a_table_that_was_seen_to_is_tried_at_once() {
    let (cluster, mut session) = refused();
    cluster.databases[1].lock().drift = Some("a trigger is missing".to_owned());
    assert_eq!(tried(&cluster, &mut session).0, 0);
    let mut state = cluster.databases[1].lock();
    (state.drift, state.refuses) = (None, None);
    drop(state);
    session.adopted = None;
    assert_eq!(tried(&cluster, &mut session), (1, 0));
}

/// What could not be read is read where it was written, by whoever needs it.
#[test]
fn what_could_not_be_read_is_read_when_somebody_comes_back() {
    let (cluster, mut session) = refused();
    cluster.databases[0].lock().unreadable = Some(9);
    cluster.databases[0].lock().write(1, Some(9), false);
    for _ in 0..2 {
        assert_eq!(tried(&cluster, &mut session), (0, 2));
    }
    cluster.databases[0].lock().up = false;
    tried(&cluster, &mut session);
    let mut state = cluster.databases[0].lock();
    (state.up, state.unreadable) = (true, None);
    drop(state);
    assert_eq!(tried(&cluster, &mut session), (1, 1));
    assert_eq!(cluster.databases[1].lock().rows.get(&1), Some(&9));
}

/// A row that a user's open transaction holds is tried in every cycle.
#[test]
fn busy_rows_are_not_put_off() {
    let cluster = Cluster::new(2, &[(1, 1)]);
    cluster.block(cluster.session("\"latest-wins\"", 10).install()).unwrap();
    let mut session = cluster.session("\"latest-wins\"", 10);
    session.schedule = Schedule::by_the_clock(Instant::now());
    cluster.databases[0].lock().write(1, Some(2), false);
    cluster.databases[1].lock().write(1, Some(3), true);
    for _ in 0..3 {
        assert_eq!(tried(&cluster, &mut session), (1, 0));
        assert_eq!(cluster.databases[1].lock().parked.len(), 1);
    }
    cluster.databases[1].lock().commit(0);
    tried(&cluster, &mut session);
    assert_eq!((tried(&cluster, &mut session), cluster.rows()[0] == cluster.rows()[1]), ((0, 0), true));
}

/// A sync that users keep busy ends all the same, and says what it could not write.
#[test]
fn a_row_that_is_held_to_the_end_of_a_busy_sync_is_told() {
    let cluster = Cluster::new(2, &[(1, 1), (2, 1)]);
    cluster.block(cluster.session("\"latest-wins\"", 10).install()).unwrap();
    cluster.databases[0].lock().write(1, Some(2), false);
    cluster.databases[1].lock().write(1, Some(3), true);
    let mut session = cluster.session("\"latest-wins\"", 1000);
    let writing = async {
        for value in 2.. {
            cluster.databases[0].lock().write(2, Some(value), false);
            tokio::task::yield_now().await;
        }
    };
    let summary = cluster.block(async {
        tokio::select! { summary = session.sync() => summary.unwrap(), () = writing => unreachable!() }
    });
    assert_eq!((summary.cycles, summary.held, summary.exit_code()), (5, 1, crate::error::UNREACHABLE), "{summary:?}");
    cluster.databases[1].lock().commit(0);
    assert_eq!(cluster.block(session.sync()).unwrap().exit_code(), crate::error::DONE);
}

/// Users who write faster than pages are read do not keep a sync from its end, and what was there at its beginning has arrived.
#[test]
fn a_sync_ends_although_users_write_faster_than_it_reads() {
    let rows: Vec<(i64, i64)> = (1..30).map(|id| (id, 1)).collect();
    let cluster = Cluster::new(2, &rows);
    cluster.block(cluster.session("\"latest-wins\"", 50).install()).unwrap();
    (1..20).for_each(|id| assert!(cluster.databases[0].lock().write(id, Some(2), false)));
    let mut session = cluster.session("\"latest-wins\"", 50);
    let writing = async {
        for value in 3..5_000 {
            (20..30).for_each(|id| _ = cluster.databases[0].lock().write(id, Some(value), false));
            tokio::task::yield_now().await;
        }
    };
    let summary = cluster.block(async {
        tokio::select! { summary = session.sync() => summary.unwrap(), () = writing => panic!("it goes on") }
    });
    assert_eq!(summary.exit_code(), crate::error::DONE, "{summary:?}");
    let arrived = cluster.databases[1].lock().rows.range(..20).all(|(_, value)| *value == 2);
    assert!(arrived && !cluster.databases[0].lock().history.is_empty());
}

/// What waits is tried again without anything new: another engine may have brought something newer meanwhile.
#[test]
fn a_batch_that_moves_nothing_gives_way_too() {
    let cluster = Cluster::new(2, &[]);
    let mut node = cluster.databases[0].connect().unwrap();
    let stays = |cut: Cut| Move { table: "t".into(), source: "b".into(), from: cut.clone(), to: cut.into() };
    for (cut, overtaken) in [(Cut::START, false), (Cut::through(3), true)] {
        let batch = Batch { stays: vec![stays(cut)], ..Batch::default() };
        assert_eq!(cluster.block(apply(&mut *node, &batch, Place::default())).unwrap().overtaken, overtaken);
    }
}

/// Waits until true time has moved on by more than clocks are measured with.
fn later() {
    let now = crate::model::time::now();
    while crate::model::time::now() < now + 20_000 {
        std::hint::spin_loop();
    }
}

/// What was written later wins, whatever the clocks say.
#[test]
fn clocks_that_are_wrong_decide_nothing() {
    let cluster = Cluster::new(3, &[(1, 0), (2, 0)]);
    for (database, skew) in cluster.databases.iter().zip([0, 60_000_000, -60_000_000]) {
        database.lock().skew = skew;
    }
    cluster.block(cluster.session("\"latest-wins\"", 10).install()).unwrap();
    for (first, last, id) in [(1, 0, 1), (0, 2, 2)] {
        cluster.databases[first].lock().write(id, Some(7), false);
        later();
        cluster.databases[last].lock().write(id, Some(8), false);
    }
    let summary = cluster.block(cluster.session("\"latest-wins\"", 10).sync()).unwrap();
    assert_eq!((summary.conflicts, summary.exit_code()), (2, crate::error::DONE));
    assert!(cluster.rows().iter().all(|rows| *rows == [(1, 8), (2, 8)]), "{:?}", cluster.rows());
}

/// A conflict is decided where one node is there, and again, the other way round, where that node is away: because a clock
/// is off by something else than before, or because the policy was changed.
#[test]
fn decisions_that_differ_come_together() {
    for (policy, skew) in [("latest-wins", -60_000_000), ("earliest-wins", 0)] {
        let cluster = Cluster::new(5, &[(1, 0)]);
        let session = |policy: &str| cluster.session(&format!("{policy:?}"), 10);
        cluster.block(session("latest-wins").install()).unwrap();
        let absent = |nodes: &[usize]| {
            for (at, database) in cluster.databases.iter().enumerate() {
                database.lock().up = !nodes.contains(&at);
            }
        };
        cluster.databases[0].lock().write(1, Some(7), false);
        later();
        cluster.databases[1].lock().write(1, Some(8), false);
        absent(&[3, 4]);
        (0..2).for_each(|at| cluster.databases[at].lock().changing = true);
        cluster.block(session("latest-wins").cycle()).unwrap();
        (0..2).for_each(|at| cluster.databases[at].lock().changing = false);
        cluster.databases[0].lock().skew = skew;
        absent(&[2, 4]);
        cluster.block(session(policy).sync()).unwrap();
        let second: Vec<i64> = cluster.databases.iter().map(|database| database.lock().rows[&1]).collect();
        assert_eq!(second, [7, 7, 8, 7, 0], "{policy}");
        // They meet where neither who wrote it nor anybody else is.
        absent(&[0, 1, 4]);
        cluster.block(session(policy).sync()).unwrap();
        absent(&[]);
        cluster.block(session(policy).sync()).unwrap();
        assert!(cluster.rows().iter().all(|rows| *rows == cluster.rows()[0]), "{policy}: {:?}", cluster.rows());
        let cycle = cluster.block(session(policy).cycle()).unwrap();
        assert!(!cycle.wrote, "{policy}: {cycle:?}");
    }
}

/// Where the file asks for it, a node whose clock is wrong is left out until it is right.
#[test]
fn a_node_whose_clock_is_wrong_is_left_out_where_asked() {
    let cluster = Cluster::new(3, &[(1, 0)]);
    let session = |on_skew: &str| {
        let defaults = format!("max_skew = \"5s\"\non_skew = \"{on_skew}\"");
        cluster.session_with(&defaults, "\"latest-wins\"", 10)
    };
    cluster.block(session("stop").install()).unwrap();
    for (skew, on_skew, out) in [(4_000_000, "stop", false), (60_000_000, "warn", false), (-60_000_000, "stop", true)] {
        cluster.databases[1].lock().skew = skew;
        let value = cluster.databases[0].lock().rows[&1] + 1;
        cluster.databases[0].lock().write(1, Some(value), false);
        let summary = cluster.block(session(on_skew).sync()).unwrap();
        assert_eq!(
            summary.away.iter().map(|away| (&*away.node, away.unreachable)).collect::<Vec<_>>(),
            if out { vec![("b", false)] } else { Vec::new() }
        );
        assert_eq!(summary.exit_code(), if out { crate::error::ATTENTION } else { crate::error::DONE });
        assert_eq!(cluster.databases[2].lock().rows[&1], value);
        assert_eq!(cluster.databases[1].lock().rows[&1] == value, !out);
    }
    cluster.databases[1].lock().skew = 0;
    let summary = cluster.block(session("stop").sync()).unwrap();
    assert_eq!((summary.exit_code(), cluster.databases[1].lock().rows[&1]), (crate::error::DONE, 3));
}

/// Of what a target had applied the source has purged some and not all: its witness is gone because it went on, not because
/// the source was put back.
#[test]
fn who_went_back_is_told_from_who_lost_a_history() {
    let cluster = Cluster::new(3, &[(1, 1)]);
    cluster.block(cluster.session("\"latest-wins\"", 10).install()).unwrap();
    let mut session = cluster.session("\"latest-wins\"", 10);
    let source = ("t".to_owned(), "a".to_owned());
    cluster.databases[0].lock().write(1, Some(2), false);
    cluster.block(session.sync()).unwrap();
    let former = cluster.databases[1].lock().positions[&source].clone();
    let purged = cluster.databases[0].lock().purged.clone();
    cluster.databases[0].lock().write(1, Some(3), false);
    cluster.block(session.sync()).unwrap();
    // As if the last node were behind, so that only what it has passed had been purged.
    cluster.databases[1].lock().positions.insert(source, former);
    cluster.databases[0].lock().purged = purged;
    let cycle = cluster.block(session.cycle()).unwrap();
    assert_eq!(cycle.away.iter().map(|away| away.node.as_str()).collect::<Vec<_>>(), ["b"], "{:?}", cycle.away);
    assert!(cycle.away[0].why.contains("a knows that it had applied more changes of `t`"), "{:?}", cycle.away);
}

/// A sync does not end while it is still finding out how many of them fit into the memory.
#[test]
fn rows_that_are_large_arrive_in_one_run() {
    let cluster = Cluster::new(2, &[]);
    cluster.block(cluster.session("\"latest-wins\"", 1000).install()).unwrap();
    for id in 0..40 {
        assert!(cluster.databases[0].lock().write(id, Some(id), false));
    }
    let mut session = cluster.session("\"latest-wins\"", 1000);
    session.rows_limit = 150;
    cluster.block(session.sync()).unwrap();
    assert_eq!(cluster.rows()[1].len(), 40);
}
