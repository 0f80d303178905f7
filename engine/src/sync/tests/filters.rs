//! Nodes that hold a part of the rows: every node ends with just those rows of the whole that belong there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value as Document;

use super::cluster::{Cluster, NAMES, later};
use super::random::{Random, seeds};
use super::reference::{Kind, Run, Write, nothing_went_silently};
use crate::model::{ParkedCode, Row};
use crate::plugin::Failure;
use crate::sync::memory::{SECOND, number};
use crate::sync::subset::Judge;

thread_local! {
    /// The nodes whose filters fail for now, a bit for each. A test has a thread of its own, but its filters may be asked on others.
    static FAILING: Arc<AtomicU64> = Arc::default();
}

/// Lets the filters of these nodes fail, and no others.
pub fn fail(nodes: u64) {
    FAILING.with(|failing| failing.store(nodes, Ordering::Relaxed));
}

/// Values with one of these remainders, divided by 3, belong at this node.
#[derive(Debug, Clone)]
pub struct Remainder {
    at: usize,
    is: BTreeSet<i64>,
    failing: Arc<AtomicU64>,
}

impl Remainder {
    pub fn new(at: usize, is: impl IntoIterator<Item = i64>) -> Remainder {
        Remainder { at, is: is.into_iter().collect(), failing: FAILING.with(Arc::clone) }
    }

    pub fn takes(&self, value: i64) -> bool {
        self.is.contains(&value.rem_euclid(3))
    }

    fn text(&self) -> String {
        let is: Vec<_> = self.is.iter().collect();
        format!("filter = {{ plugin = \"remainder\", at = {}, is = {is:?} }}", self.at)
    }
}

impl Judge for Remainder {
    fn judge(&self, rows: &[&Row]) -> Vec<Result<bool, Failure>> {
        let fails = self.failing.load(Ordering::Relaxed) >> self.at & 1 == 1;
        let judged = |row: &&Row| match fails {
            true => Err(Failure::new("remainder", "judge", "it fails for a while".to_owned())),
            false => Ok(self.takes(number(&row[1]))),
        };
        rows.iter().map(judged).collect()
    }

    fn told(&self) -> String {
        "a remainder".to_owned()
    }
}

pub fn remainder(config: &str) -> Arc<dyn Judge> {
    let config: Document = serde_json::from_str(config).unwrap();
    let is = config["is"].as_array().unwrap().iter().map(|one| one.as_i64().unwrap());
    Arc::new(Remainder::new(config["at"].as_u64().unwrap() as usize, is))
}

/// A policy, and a filter for nodes that have one.
pub fn settings(policy: &str, filters: &[Option<Remainder>]) -> &'static str {
    let mut text = policy.to_owned();
    for (name, filter) in NAMES.iter().zip(filters) {
        if let Some(filter) = filter {
            text += &format!("\n[tables.t.nodes.{name}]\n{}", filter.text());
        }
    }
    text.leak()
}

fn run(seed: u64, look: impl Fn(&Run, &[Option<Remainder>]) -> Result<(), String>) -> Result<(), String> {
    run_among(seed, None, look)
}

/// The same, where somebody holds rows locked now and then, as drawn from another sequence.
fn run_among(
    seed: u64,
    users: Option<Random>,
    look: impl Fn(&Run, &[Option<Remainder>]) -> Result<(), String>,
) -> Result<(), String> {
    let mut run = Run::new(seed);
    if seed % 2 == 1 {
        // Whatever is new is written early.
        run.cluster.few = 1;
    }
    let count = run.cluster.databases.len();
    if run.kind == Kind::Sum {
        run.kind = Kind::Latest;
    }
    let mut filters: Vec<Option<Remainder>> = Vec::new();
    for at in 0..count {
        let few: Vec<i64> = (0..3).filter(|_| run.random.chance(50)).collect();
        filters.push(run.random.chance(60).then(|| Remainder::new(at, few)));
    }
    run.settings = Some(settings(run.conflict(), &filters));
    let (kind, settings) = (run.kind, run.conflict());
    let told = |what| format!("seed {seed} ({kind:?}, {count} nodes): {what}\n{settings}");
    play(&mut run, users, &filters).and_then(|()| look(&run, &filters)).map_err(told)
}

/// What is there from the start is where it belongs.
pub fn place(run: &Run, filters: &[Option<Remainder>]) {
    let inside = |at: usize, value: i64| filters[at].as_ref().is_none_or(|filter| filter.takes(value));
    for (at, database) in run.cluster.databases.iter().enumerate() {
        let last = |value: i64| at == 0 && (0..filters.len()).all(|at| !inside(at, value));
        database.lock().rows.retain(|id, value| *id >= SECOND || inside(at, *value) || last(*value));
    }
}

fn play(run: &mut Run, mut users: Option<Random>, filters: &[Option<Remainder>]) -> Result<(), String> {
    let conflict = run.conflict();
    fail(0);
    place(run, filters);
    run.cluster.block(run.cluster.session(conflict, 1000).install()).map_err(|error| error.to_string())?;
    let mut session = run.cluster.session(conflict, 1000);
    let trace = std::env::var("CONCORD_TRACE").is_ok();
    for _ in 0..3 + run.random.below(60) {
        if trace {
            run.cluster.show();
        }
        let count = run.cluster.databases.len() as u64;
        if let Some(users) = &mut users
            && users.chance(15)
        {
            run.cluster.databases[users.below(count) as usize].lock().holds = users.below(8) as u32;
        }
        let at = run.random.below(count) as usize;
        match run.random.below(100) {
            0..=54 => run.write(at),
            55..=62 => run.commit(at),
            63..=66 => {
                let reads = run.random.chance(50);
                let mut state = run.cluster.databases[at].lock();
                let value = state.rows.values().next().copied();
                let trouble = if reads { &mut state.unreadable } else { &mut state.refuses };
                *trouble = if trouble.is_none() { value } else { None };
            }
            67..=68 => session = run.cluster.session(conflict, 1000),
            69..=72 => fail(FAILING.with(|failing| failing.load(Ordering::Relaxed)) ^ 1 << at),
            _ => run.cycles(&mut session)?,
        }
    }
    fail(0);
    run.cluster.databases.iter().for_each(|database| database.lock().holds = 0);
    let few = 1 + run.random.below(4) as usize;
    run.cluster.settle(conflict, few)
}

/// What a row may be in the end. What was made at a node where none stood, and deleted there, may have been nothing to others who
/// had the row; several such rows may have come and gone.
fn expected(run: &Run, id: i64, filters: &[Option<Remainder>]) -> Vec<Option<i64>> {
    let mut expected = run.expected(id);
    if id >= SECOND {
        return expected;
    }
    let mut rests = vec![run.written[&id].clone()];
    for _ in 0..3 {
        rests = rests.iter().flat_map(|written| without_one(written, filters)).collect();
        rests.iter().for_each(|written| expected.extend(run.expected_of(id, written)));
    }
    expected
}

/// What is left without a row that was made and deleted at a node with a filter, for each such row.
fn without_one(written: &[Write], filters: &[Option<Remainder>]) -> Vec<Vec<Write>> {
    let mut rests = Vec::new();
    for (end, delete) in written.iter().enumerate().filter(|(_, write)| write.value.is_none()) {
        let Some(at) = delete.at.filter(|at| filters[*at].is_some()) else { continue };
        for begin in (0..end).filter(|place| written[*place].at == Some(at) && written[*place].made) {
            let within = |place: usize| (begin..=end).contains(&place) && written[place].at == Some(at);
            let renumbered = |seen: usize| seen - (0..seen).filter(|place| within(*place)).count();
            let kept = |write: &Write| {
                let seen = write.seen.iter().filter(|seen| !within(**seen)).map(|seen| renumbered(*seen)).collect();
                Write { seen, ..write.clone() }
            };
            rests.push((0..written.len()).filter(|place| !within(*place)).map(|place| kept(&written[place])).collect());
        }
    }
    rests
}

/// Everybody holds what belongs there.
pub fn check(run: &Run, filters: &[Option<Remainder>]) -> Result<(), String> {
    let rows = run.cluster.rows();
    for id in run.written.keys() {
        let inside =
            |at: usize, value: i64| *id >= SECOND || filters[at].as_ref().is_none_or(|filter| filter.takes(value));
        let here: Vec<Option<i64>> =
            rows.iter().map(|rows| rows.iter().find(|(key, _)| key == id).map(|(_, value)| *value)).collect();
        let value = here.iter().flatten().next().copied();
        let expected = expected(run, *id, filters);
        if !expected.contains(&value) {
            return Err(format!("row {id} is {here:?} and should be one of {expected:?}: {:?}", run.written[id]));
        }
        let Some(value) = value else { continue };
        // What came out may belong nowhere, and stand nowhere any more: then it waits beside whatever stands.
        let waits_for_a_home = |at: usize| {
            let parked = run.cluster.databases[at].lock().parked.get(id).cloned();
            let outcome = parked.filter(|parked| parked.code == ParkedCode::Outside);
            let outcome = outcome.and_then(|parked| parked.content.row().cloned());
            outcome.is_some_and(|row| (0..here.len()).all(|at| !inside(at, number(&row[1]))))
        };
        if (0..here.len()).all(|at| here[at].is_none() || waits_for_a_home(at)) {
            continue;
        }
        let homeless = (0..here.len()).all(|at| !inside(at, value));
        for (at, stands) in here.iter().enumerate() {
            let right = match stands {
                None => !inside(at, value),
                Some(stands) => *stands == value && (inside(at, value) || homeless),
            };
            if !right {
                return Err(format!("row {id} is {here:?}, which is wrong at {}: {:?}", NAMES[at], run.written[id]));
            }
        }
        for database in &run.cluster.databases {
            if let Some(parked) = database.lock().parked.get(id)
                && !(homeless && parked.code == ParkedCode::Outside)
            {
                return Err(format!("row {id} waits: {parked:?}"));
            }
        }
    }
    let writes = || -> u64 { run.cluster.databases.iter().map(|database| database.lock().writes).sum() };
    let before = writes();
    let mut session = run.cluster.session(run.conflict(), 1000);
    let cycle = run.cluster.block(session.cycle()).map_err(|error| error.to_string())?;
    if cycle.wrote || writes() != before {
        return Err(format!("a sync at rest wrote something: {cycle:?}"));
    }
    match run.cluster.databases.iter().find(|database| !database.lock().history.is_empty()) {
        Some(database) => Err(format!("kept for nobody: {:?}", database.lock().history)),
        None => Ok(()),
    }
}

fn check_journals(run: &Run, _: &[Option<Remainder>]) -> Result<(), String> {
    nothing_went_silently(run, &[])
}

#[test]
fn nothing_goes_silently() {
    let failures: Vec<String> =
        seeds(500).filter_map(|seed| run_among(seed, Some(Random(seed)), check_journals).err()).collect();
    let shown = failures.iter().take(8).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} runs went wrong; replay one with CONCORD_SEED=…\n{shown}", failures.len());
}

#[test]
fn every_node_ends_with_what_belongs_there() {
    let failures: Vec<String> = seeds(500).filter_map(|seed| run(seed, check).err()).collect();
    let shown = failures.iter().take(8).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} runs went wrong; replay one with CONCORD_SEED=…\n{shown}", failures.len());
}

/// Rows that somebody holds, or that wait for a filter, while others under their keys are made, deleted and passed.
#[test]
fn nothing_goes_silently_while_rows_are_held() {
    let failures: Vec<String> = [1427, 2302, 2483, 3190, 3592]
        .into_iter()
        .filter_map(|seed| run_among(seed, Some(Random(seed)), check_journals).err())
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Rows that were made anew, deleted again and again where others are hidden, and waited meanwhile.
#[test]
fn rows_that_come_and_go_while_something_waits() {
    let failures: Vec<String> = [1207, 1478, 2321, 2931, 2968, 3204, 3240, 3571, 3608, 4255, 5231, 5404, 6967]
        .into_iter()
        .filter_map(|seed| run(seed, check).err())
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Two nodes with filters of multiples of three and one that takes all, which hold a row that the first then moves out of its
/// filter, while the filter of the second fails. The third may be away.
fn moved(policy: &str, away: bool) -> (Cluster, &'static str) {
    fail(1 << 1);
    let multiples = |at| Some(Remainder::new(at, [0]));
    let settings = settings(policy, &[multiples(0), multiples(1)]);
    let cluster = Cluster::new(3, &[(1, 3)]);
    cluster.block(cluster.session(settings, 10).install()).unwrap();
    assert!(cluster.databases[0].lock().write(1, Some(4), false));
    cluster.databases[2].lock().up = !away;
    (0..2).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync()).unwrap()));
    assert_eq!(cluster.databases[1].lock().parked[&1].code, ParkedCode::Filter);
    (cluster, settings)
}

/// The node where it waits may find that it does not belong there, or be reset.
#[test]
fn nobody_gives_up_what_only_waits_elsewhere() {
    for (policy, other) in [("\"latest-wins\"", None), ("\"park\"", Some(7))] {
        let (cluster, settings) = moved(policy, true);
        let sync = || (0..2).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync()).unwrap()));
        assert_eq!(cluster.rows()[0], [(1, 4)], "{policy}");
        fail(0);
        if let Some(value) = other {
            assert!(cluster.databases[2].lock().write(1, Some(value), false));
        } else {
            sync();
        }
        cluster.databases[2].lock().up = true;
        sync();
        let stands = match other {
            None => [vec![], vec![], vec![(1, 4)]],
            // A person is to decide, and has both.
            Some(value) => [vec![(1, 4)], vec![(1, 3)], vec![(1, value)]],
        };
        assert_eq!(cluster.rows(), stands, "{policy}");
    }
}

/// As nobody knows whether those who have it come back.
#[test]
fn what_waits_where_it_does_not_belong_waits_for_those_who_have_it() {
    let (cluster, settings) = moved("\"latest-wins\"", false);
    let sync = || (0..2).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync()).unwrap()));
    assert_eq!(cluster.rows(), [vec![], vec![(1, 3)], vec![(1, 4)]]);
    cluster.databases[1].lock().rows.remove(&1);
    fail(0);
    cluster.databases[2].lock().up = false;
    sync();
    let waits = cluster.databases[1].lock().parked.get(&1).cloned().expect("what waited");
    assert_eq!((waits.code, waits.content.row().map(|row| number(&row[1]))), (ParkedCode::Outside, Some(4)));
    cluster.databases[2].lock().up = true;
    sync();
    assert_eq!(cluster.rows(), [vec![], vec![], vec![(1, 4)]]);
    assert!(cluster.databases[1].lock().parked.is_empty());
}

/// The row was made without knowing of others, but won against the last of them, and that waits where it was to go.
#[test]
fn a_delete_of_what_has_won_is_one_where_it_waits() {
    fail(0);
    let settings = settings("\"latest-wins\"", &[Some(Remainder::new(0, [1])), Some(Remainder::new(1, [0, 1]))]);
    let cluster = Cluster::new(3, &[]);
    cluster.databases[1..].iter().for_each(|database| database.lock().rows = [(1, 3)].into());
    cluster.block(cluster.session(settings, 10).install()).unwrap();
    let sync = || (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync()).unwrap()));
    let write = |at: usize, value| {
        later();
        assert!(cluster.databases[at].lock().write(1, value, false));
    };
    write(1, Some(7));
    write(0, Some(4));
    cluster.databases[2].lock().up = false;
    fail(1 << 1);
    sync();
    assert_eq!(cluster.databases[1].lock().parked[&1].code, ParkedCode::Filter);
    assert_eq!(cluster.rows(), [vec![(1, 4)], vec![(1, 7)], vec![(1, 3)]]);
    write(0, None);
    cluster.databases[2].lock().up = true;
    fail(0);
    sync();
    assert_eq!(cluster.rows(), [vec![], vec![], vec![]]);
    let journals = cluster.databases.iter().flat_map(|database| database.lock().journal.clone());
    let lost: BTreeSet<i64> = journals.filter_map(|lost| Some(number(&lost.loser_row?[1]))).collect();
    assert!(lost.contains(&7), "{lost:?}");
}

/// What was made and deleted elsewhere, where it is hidden, does not have what it is.
#[test]
fn the_last_of_a_row_stays_whatever_came_and_went_elsewhere() {
    fail(0);
    let settings = settings("\"latest-wins\"", &[Some(Remainder::new(0, [0])), Some(Remainder::new(1, [0]))]);
    let cluster = Cluster::new(2, &[(1, 3)]);
    cluster.block(cluster.session(settings, 10).install()).unwrap();
    let sync = || (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync()).unwrap()));
    assert!(cluster.databases[1].lock().write(1, Some(4), false));
    sync();
    assert_eq!(cluster.rows(), [vec![], vec![(1, 4)]]);
    for value in [Some(6), Some(9), None] {
        later();
        assert!(cluster.databases[0].lock().write(1, value, false));
    }
    sync();
    assert_eq!(cluster.rows(), [vec![], vec![(1, 4)]]);
}

/// Of two nodes that have a row before and after nobody has to be told who took it; where it comes or goes, filters hide something.
#[test]
fn only_what_comes_or_goes_between_two_nodes_is_told() {
    fail(0);
    for both in [true, false] {
        let other = both.then(|| Remainder::new(1, [0, 1]));
        let settings = settings("\"latest-wins\"", &[Some(Remainder::new(0, [0])), other]);
        let cluster = Cluster::new(2, &[(1, 3)]);
        cluster.block(cluster.session(settings, 10).install()).unwrap();
        let mut session = cluster.session(settings, 10);
        let write = |at: usize, value| {
            later();
            assert!(cluster.databases[at].lock().write(1, value, false));
        };
        let told = || {
            let told =
                |at: usize| cluster.databases[at].lock().history.iter().filter(|entry| entry.arrival.is_some()).count();
            [told(0), told(1)]
        };
        let mut cycle = || drop(cluster.block(session.cycle()).unwrap());
        write(0, Some(6));
        cycle();
        assert_eq!((cluster.rows(), told()), (vec![vec![(1, 6)], vec![(1, 6)]], [0, 0]), "a change");
        write(0, Some(9));
        write(1, Some(12));
        cycle();
        assert_eq!((cluster.rows(), told()), (vec![vec![(1, 12)], vec![(1, 12)]], [0, 0]), "a conflict");
        let lost: Vec<i64> = cluster.databases[0]
            .lock()
            .journal
            .iter()
            .filter_map(|lost| Some(number(&lost.loser_row.as_ref()?[1])))
            .collect();
        assert_eq!(lost, [9], "once");
        write(0, Some(4));
        cycle();
        assert_eq!((&cluster.rows()[1], told()), (&vec![(1, 4)], [0, 1]), "a row that is to go at one");
        cycle();
        assert_eq!(cluster.rows(), [vec![], vec![(1, 4)]]);
        write(1, Some(15));
        cycle();
        assert_eq!((&cluster.rows()[0], told()[0]), (&vec![(1, 15)], 1), "a row that comes to one");
    }
}

/// Of rows that are replaced where a filter is only that they are there, and of histories nothing that a page has told.
#[test]
fn no_more_is_read_than_it_takes() {
    fail(0);
    let settings = settings("\"latest-wins\"", &[None, Some(Remainder::new(1, [0, 1]))]);
    let rows = [(1, 3), (2, 4), (3, 6)];
    let cluster = Cluster::new(2, &rows);
    cluster.block(cluster.session(settings, 10).install()).unwrap();
    let mut session = cluster.session(settings, 10);
    let write = |at: usize, by: i64| {
        later();
        for (id, value) in rows {
            assert!(cluster.databases[at].lock().write(id, Some(value + by), false));
        }
    };
    let mut cycle = || {
        for database in &cluster.databases {
            let mut state = database.lock();
            (state.rows_read, state.rows_looked_for, state.entries_read) = (0, 0, 0);
        }
        cluster.block(session.cycle()).unwrap();
        let read = |at: usize| {
            let state = cluster.databases[at].lock();
            (state.rows_read, state.rows_looked_for, state.entries_read)
        };
        assert_eq!(cluster.rows()[0], cluster.rows()[1]);
        [read(0), read(1)]
    };
    write(0, 3);
    assert_eq!(cycle(), [(3, 0, 0), (0, 3, 0)], "changes at one node");
    write(0, 6);
    write(1, 9);
    assert_eq!(cycle(), [(3, 0, 0), (3, 0, 0)], "conflicts");
    // What is kept there may tell what no page does.
    cluster.databases[0].lock().crowded = true;
    write(0, 12);
    cycle();
    write(0, 15);
    write(1, 18);
    let [(.., kept), (.., purged)] = cycle();
    assert!(kept > 3 && purged == 0, "{kept} and {purged} entries were read again");
}

/// Where a row began is told by an entry that nobody reads any more, while there is no room to delete it.
#[test]
fn what_was_taken_is_known_where_the_row_began_long_before() {
    fail(0);
    let settings = settings("{ prefer = [\"a\"] }", &[None, Some(Remainder::new(1, [0]))]);
    let cluster = Cluster::new(2, &[]);
    cluster.block(cluster.session(settings, 10).install()).unwrap();
    cluster.databases.iter().for_each(|database| database.lock().crowded = true);
    let mut session = cluster.session(settings, 10);
    for (at, value) in [(1, 3), (0, 6), (1, 9)] {
        later();
        assert!(cluster.databases[at].lock().write(1, Some(value), false));
        (0..2).for_each(|_| drop(cluster.block(session.cycle())));
        assert_eq!(cluster.rows(), [vec![(1, value)], vec![(1, value)]]);
    }
    assert!(cluster.databases.iter().all(|database| database.lock().journal.is_empty()), "no conflict");
}
