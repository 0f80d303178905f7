//! Plans against random states: a plan writes nothing, carrying it out does what it says, and what users have changed since
//! is neither overwritten nor lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::cluster::{Cluster, NAMES, later};
use super::hidden::{lost, nodes};
use super::random::seeds;
use super::reference::Run;
use crate::model::{ParkedCode, Waiting};
use crate::sync::memory::{SECOND, State, number};
use crate::sync::plan::{Change, Plan, PlanFile, Wish};

const ALL: Wish = Wish { table: None, limit: 0, file: true };

impl Run {
    /// A random state: writes, cycles, absences.
    fn shake(&mut self) -> Result<(), String> {
        let conflict = self.conflict();
        self.cluster.block(self.cluster.session(conflict, 1000).install()).map_err(|error| error.to_string())?;
        let mut session = self.cluster.session(conflict, 1000);
        for _ in 0..3 + self.random.below(30) {
            let at = self.random.below(self.cluster.databases.len() as u64) as usize;
            match self.random.below(100) {
                0..=64 => self.write(at),
                65..=72 => {
                    let mut state = self.cluster.databases[at].lock();
                    match state.open.len() as u64 {
                        0 => state.write_elsewhere(),
                        open => state.commit(self.random.below(open) as usize),
                    }
                }
                73..=77 => {
                    let mut state = self.cluster.databases[at].lock();
                    let value = state.rows.values().next().copied();
                    state.refuses = if state.refuses.is_none() { value } else { None };
                }
                _ => self.cycles(&mut session)?,
            }
        }
        for database in &self.cluster.databases {
            database.lock().refuses = None;
        }
        Ok(())
    }

    /// All transactions end.
    fn end_transactions(&self) {
        for database in &self.cluster.databases {
            let mut state = database.lock();
            while !state.open.is_empty() {
                state.commit(0);
            }
        }
    }

    fn plan(&self) -> Result<(Plan, PlanFile), String> {
        let before = self.cluster.all();
        let planned = self.cluster.block(self.cluster.session(self.conflict(), 3).plan(&ALL));
        let (plan, file) = planned.map_err(|error| error.to_string())?;
        if self.cluster.all() != before {
            return Err("a plan wrote something".to_owned());
        }
        let file = PlanFile::parse(Path::new("test.plan"), &file.unwrap()).map_err(|error| error.to_string())?;
        Ok((plan, file))
    }
}

impl Cluster {
    /// Everything that the databases hold, service tables included.
    fn all(&self) -> Vec<String> {
        let text = |state: &State| {
            let State { rows, history, open, positions, purged, kept, parked, journal, .. } = state;
            let positions: BTreeMap<_, _> = positions.iter().collect();
            format!(
                "{rows:?} {history:?} {open:?} {positions:?} {purged:?} {kept:?} {parked:?} {journal:?} {}",
                state.writes
            )
        };
        self.databases.iter().map(|database| text(&database.lock())).collect()
    }

    /// Other databases with the same content.
    fn copied(&self) -> Cluster {
        let copy = Cluster::new(self.databases.len(), &[]);
        for (copy, database) in copy.databases.iter().zip(&self.databases) {
            *copy.lock() = database.lock().clone();
        }
        copy
    }

    /// The rows that the nodes would have, if a plan came true.
    fn predicted(&self, plan: &Plan) -> Vec<BTreeMap<i64, i64>> {
        let mut all: Vec<BTreeMap<i64, i64>> =
            self.databases.iter().map(|database| database.lock().rows.clone()).collect();
        for row in &plan.rows {
            let at = NAMES.iter().position(|name| *name == row.node).unwrap();
            let key = row.key[0].as_i64().unwrap();
            assert_eq!(row.table, if key >= SECOND { "u" } else { "t" });
            let value = row.after.as_ref().map(|row| row["value"].as_i64().unwrap());
            let before = all[at].get(&key).copied();
            assert_eq!(row.before.as_ref().map(|row| row["value"].as_i64().unwrap()), before);
            match (row.change, value) {
                (Change::Insert | Change::Update | Change::Same, Some(value)) => {
                    assert_eq!(row.change == Change::Insert, before.is_none());
                    assert_eq!(row.change == Change::Same, before == Some(value));
                    all[at].insert(key, value);
                }
                (Change::Delete, None) => {
                    all[at].remove(&key);
                }
                (Change::Wait | Change::Later, None) => {}
                other => panic!("{other:?}"),
            }
        }
        all
    }
}

/// Plans one random state, and does it in both ways.
fn carried_out(seed: u64) -> Result<(), String> {
    let mut run = Run::new(seed);
    // A sync measures wrong clocks anew, and of writes that lie closer together than it can measure another may win.
    let steady = run.random.chance(80);
    if steady {
        run.cluster.databases.iter().for_each(|database| database.lock().skew = 0);
    }
    run.shake()?;
    run.end_transactions();
    let (plan, file) = run.plan()?;
    let predicted = run.cluster.predicted(&plan);
    let copy = run.cluster.copied();
    let summary = copy.block(copy.session(run.conflict(), 1000).sync()).map_err(|error| error.to_string())?;
    let rows = |cluster: &Cluster| -> Vec<BTreeMap<i64, i64>> {
        cluster.databases.iter().map(|database| database.lock().rows.clone()).collect()
    };
    if steady && rows(&copy) != predicted || summary.conflicts != plan.conflict_count {
        return Err(format!(
            "sync made {:?} of {predicted:?} with {} conflicts: {plan:#?}",
            rows(&copy),
            summary.conflicts
        ));
    }
    let done = run.cluster.block(run.cluster.session(run.conflict(), 1000).carry_out(&file));
    let done = done.map_err(|error| error.to_string())?;
    if rows(&run.cluster) != predicted || !done.moved_on.is_empty() || done.left > 0 {
        return Err(format!("the plan became {:?}, {done:?}: {plan:#?}", rows(&run.cluster)));
    }
    // A second time it is out of date, unless it moved nothing.
    let again = run.cluster.block(run.cluster.session(run.conflict(), 1000).carry_out(&file));
    if let Ok(again) = again
        && (again.nodes.iter().any(|node| node.written + node.deleted > 0) || plan.entries > 0)
    {
        return Err(format!("it was carried out twice: {again:?}"));
    }
    run.cluster.settle(run.conflict(), 2)?;
    run.check()
}

/// Users write between the plan and its carrying out, transactions commit late, nodes go away, connections break.
fn overtaken_by_users(seed: u64) -> Result<(), String> {
    let mut run = Run::new(seed);
    run.shake()?;
    let (_, file) = run.plan()?;
    for _ in 0..1 + run.random.below(4) {
        let at = run.random.below(run.cluster.databases.len() as u64) as usize;
        let open = run.cluster.databases[at].lock().open.len() as u64;
        match open > 0 && run.random.chance(40) {
            true => {
                let which = run.random.below(open) as usize;
                run.cluster.databases[at].lock().commit(which);
            }
            false => run.write(at),
        }
    }
    let since = run.cluster.rows();
    let breaks = run.random.chance(30);
    for database in &run.cluster.databases {
        let mut state = database.lock();
        state.up = !breaks || run.random.chance(80);
        state.fuse = (breaks && run.random.chance(50)).then(|| run.random.below(20) as u32);
    }
    let done = run.cluster.block(run.cluster.session(run.conflict(), 1000).carry_out(&file));
    if let (Ok(done), false) = (&done, breaks) {
        for row in &done.moved_on {
            let key = row.key[0].as_i64().unwrap();
            let of = |rows: &[(i64, i64)]| rows.iter().find(|(id, _)| *id == key).copied();
            for (before, after) in since.iter().zip(run.cluster.rows()) {
                if of(before) != of(&after) {
                    return Err(format!("row {key} had moved on and was written all the same: {done:?}"));
                }
            }
        }
    } else if let (Err(error), false) = (&done, breaks) {
        return Err(error.to_string());
    }
    run.cluster.settle(run.conflict(), 2)?;
    run.check()
}

fn all_well(count: u64, run: impl Fn(u64) -> Result<(), String>) {
    let failures: Vec<String> =
        seeds(count).filter_map(|seed| run(seed).err().map(|what| format!("seed {seed}: {what}"))).collect();
    let shown = failures.iter().take(4).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} runs went wrong; replay one with CONCORD_SEED=…\n{shown}", failures.len());
}

#[test]
fn a_plan_writes_nothing_and_comes_true() {
    all_well(1_000, carried_out);
}

#[test]
fn what_users_change_meanwhile_is_neither_overwritten_nor_lost() {
    all_well(500, overtaken_by_users);
}

/// Two nodes with a conflict that the second wins, and a plan of it.
fn conflict_planned() -> (Cluster, PlanFile) {
    let cluster = Cluster::new(2, &[(1, 1)]);
    cluster.block(cluster.session("\"latest-wins\"", 10).install()).unwrap();
    cluster.databases[0].lock().write(1, Some(2), false);
    later();
    cluster.databases[1].lock().write(1, Some(3), false);
    let (plan, file) = cluster.block(cluster.session("\"latest-wins\"", 10).plan(&ALL)).unwrap();
    assert_eq!((plan.conflict_count, plan.conflicts[0].winner.as_deref()), (1, Some("b")));
    (cluster, PlanFile::parse(Path::new("test.plan"), &file.unwrap()).unwrap())
}

/// The winner was changed since, so the loser stays for now; when it is replaced, it is in the journal.
#[test]
fn who_lost_in_a_plan_is_in_the_journal_although_the_winner_moved_on() {
    let (cluster, file) = conflict_planned();
    cluster.databases[1].lock().write(1, Some(4), false);
    let done = cluster.block(cluster.session("\"latest-wins\"", 10).carry_out(&file)).unwrap();
    assert_eq!((done.moved_on[0].changed_at.join(","), done.left), ("b".to_owned(), 1));
    assert_eq!(cluster.databases[0].lock().rows[&1], 2);
    cluster.block(cluster.session("\"latest-wins\"", 10).sync()).unwrap();
    assert!(cluster.rows().iter().all(|rows| *rows == [(1, 4)]), "{:?}", cluster.rows());
    let journal = cluster.databases[0].lock().journal.clone();
    assert_eq!(journal.len(), 1, "{journal:?}");
    assert_eq!(journal[0].loser_row.as_ref().unwrap()[1], crate::model::Value::Int(2));
}

/// GIVEN a row that waits, which was kept before its table had another column
/// WHEN a plan is made, and carried out
/// THEN what waits is what the plan saw, although for what it waits shows only when it is read.
#[test]
fn what_waits_with_other_columns_does_not_make_a_plan_out_of_date() {
    let cluster = Cluster::new(2, &[(1, 1)]);
    cluster.block(cluster.session("\"latest-wins\"", 10).install()).unwrap();
    cluster.databases[0].lock().write(1, Some(7), false);
    cluster.databases[1].lock().refuses = Some(7);
    assert_eq!(cluster.block(cluster.session("\"latest-wins\"", 10).sync()).unwrap().waiting, 1);
    {
        let mut state = cluster.databases[1].lock();
        state.refuses = None;
        let waits = state.parked.get_mut(&1).unwrap();
        let row = waits.content.row().cloned().unwrap();
        waits.content = Waiting::Row { row, unknown: vec![1] };
        assert_eq!(waits.code, ParkedCode::Constraint);
    }
    let (_, file) = cluster.block(cluster.session("\"latest-wins\"", 10).plan(&ALL)).unwrap();
    let file = PlanFile::parse(Path::new("test.plan"), &file.unwrap()).unwrap();
    let done = cluster.block(cluster.session("\"latest-wins\"", 10).carry_out(&file)).unwrap();
    assert_eq!((done.exit_code(), cluster.rows()), (0, vec![vec![(1, 7)]; 2]), "{done:?}");
    // What has come to wait since is another.
    cluster.databases[1].lock().refuses = Some(8);
    cluster.databases[0].lock().write(1, Some(8), false);
    cluster.block(cluster.session("\"latest-wins\"", 10).sync()).unwrap();
    let (_, file) = cluster.block(cluster.session("\"latest-wins\"", 10).plan(&ALL)).unwrap();
    let file = PlanFile::parse(Path::new("test.plan"), &file.unwrap()).unwrap();
    cluster.databases[1].lock().parked.get_mut(&1).unwrap().since += 1;
    let error = cluster.block(cluster.session("\"latest-wins\"", 10).carry_out(&file)).unwrap_err();
    assert!(error.to_string().contains("waits at node `b` otherwise"), "{error}");
}

/// One version cannot be read, so the plan has no outcome, and another was written since: all three are weighed later.
#[test]
fn what_a_plan_could_not_decide_is_not_decided_by_it() {
    for (policy, stands) in [("\"latest-wins\"", 7), ("\"earliest-wins\"", 9)] {
        let cluster = Cluster::new(3, &[(1, 1)]);
        cluster.block(cluster.session(policy, 10).install()).unwrap();
        for (node, value) in [(2, 9), (0, 3)] {
            later();
            cluster.databases[node].lock().write(1, Some(value), false);
        }
        cluster.databases[0].lock().unreadable = Some(3);
        let (_, file) = cluster.block(cluster.session(policy, 10).plan(&ALL)).unwrap();
        let file = PlanFile::parse(Path::new("test.plan"), &file.unwrap()).unwrap();
        later();
        cluster.databases[1].lock().write(1, Some(7), false);
        cluster.block(cluster.session(policy, 10).carry_out(&file)).unwrap();
        cluster.databases[0].lock().unreadable = None;
        cluster.block(cluster.session(policy, 10).sync()).unwrap();
        let rows = cluster.rows();
        assert_eq!(rows, vec![vec![(1, stands)]; 3], "{policy}");
        let journals = cluster.databases.iter().flat_map(|database| database.lock().journal.clone());
        let lost = journals.map(|lost| number(&lost.loser_row.expect("a row that lost")[1]));
        let lost: BTreeSet<i64> = lost.collect();
        assert_eq!(lost, [3, 7, 9].into_iter().filter(|value| *value != stands).collect(), "{policy}");
    }
}

#[test]
fn a_plan_of_something_else_is_refused_before_anything_is_touched() {
    let (cluster, file) = conflict_planned();
    let before = cluster.all();
    let refused = |session: &mut crate::sync::Session, why: &str| {
        let error = cluster.block(session.carry_out(&file)).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!((cluster.all(), error.exit_code()), (before.clone(), crate::error::USAGE));
    };
    refused(&mut cluster.session("\"earliest-wins\"", 10), "its rule");
    let mut other = cluster.session("\"latest-wins\"", 10);
    other.config.name = "other".to_owned();
    refused(&mut other, "a plan of the sync `model`");
    cluster.databases[0].lock().drift = Some("a trigger is missing".to_owned());
    refused(&mut cluster.session("\"latest-wins\"", 10), "stands still");
    cluster.databases[0].lock().drift = None;
    cluster.databases[0].lock().service = None;
    cluster.block(cluster.session("\"latest-wins\"", 10).install()).unwrap();
    refused(&mut cluster.session("\"latest-wins\"", 10), "another database");
}

#[test]
fn a_broken_or_edited_plan_is_refused_with_its_place() {
    let cluster = Cluster::new(2, &[(1, 1)]);
    cluster.block(cluster.session("\"latest-wins\"", 10).install()).unwrap();
    cluster.databases[0].lock().write_all(&[(1, Some(2)), (2, Some(987_654_321)), (3, Some(5))], false);
    let (_, file) = cluster.block(cluster.session("\"latest-wins\"", 10).plan(&ALL)).unwrap();
    let text = String::from_utf8(file.unwrap()).unwrap();
    let line = 1 + text.lines().position(|line| line.contains("987654321")).unwrap();
    let refused = |text: &str, why: &str| {
        let error = PlanFile::parse(Path::new("test.plan"), text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    refused(&text.replace("987654321", "987654322"), &format!("test.plan:{line}: row"));
    refused(&text.replace("987654321", "}"), &format!("test.plan:{line}:"));
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("{\"node\"")).collect();
    refused(&text.replace(&format!("{}\n", rows[0]), ""), "taken out");
    refused(&text.replace(rows[1], &format!("{0},\n{0}", rows[1].trim_end_matches(','))), "");
    refused(&text.replace("\"model\"", "\"other\""), "the head of the plan");
    refused(&text.replace("\"format\": 1", "\"format\": 2"), "format 2");
    refused("{}", "this is no plan");
    // What a formatter does to it is nobody's harm.
    PlanFile::parse(Path::new("x"), text.replace("\":", "\" : ").as_bytes()).unwrap();
}

/// An older Concord kept nothing of what stood where nothing records what users change: nobody could tell what they did since.
#[test]
fn a_plan_that_does_not_tell_what_stood_is_refused() {
    let settings = "\"latest-wins\"\nfrom = \"b\"";
    for change in [Some(7), None] {
        let cluster = Cluster::new(2, &[(1, 1)]);
        let session = || cluster.session(settings, 10);
        cluster.block(session().install()).unwrap();
        assert!(cluster.databases[1].lock().write(1, change, false));
        let (_, file) = cluster.block(session().plan(&ALL)).unwrap();
        let text = file.unwrap();
        let file = || PlanFile::parse(Path::new("test.plan"), &text).unwrap();
        let before = cluster.all();
        let error = cluster.block(session().carry_out(&file().without_what_stood())).unwrap_err();
        assert!(error.to_string().contains("an older Concord made it"), "{error}");
        assert_eq!((cluster.all(), error.exit_code()), (before, crate::error::USAGE));
        cluster.block(session().carry_out(&file())).unwrap();
        assert_eq!(cluster.databases[0].lock().rows.get(&1).copied(), change);
    }
}

/// At the node where no row belongs the plan writes nothing, but tells that the other change was passed there.
#[test]
fn what_a_user_made_since_has_not_seen_what_a_plan_passes() {
    let (cluster, settings) = nodes(&[Some(&[0]), None, None], &[Some(3), Some(3), Some(3)]);
    let sync = || (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync())));
    let write = |node: usize, value| {
        later();
        assert!(cluster.databases[node].lock().write(1, value, false));
    };
    cluster.databases[2].lock().up = false;
    write(0, None);
    sync();
    assert_eq!(cluster.rows()[..2], [vec![], vec![]]);
    write(1, Some(5));
    cluster.databases[2].lock().up = true;
    let (_, file) = cluster.block(cluster.session(settings, 10).plan(&ALL)).unwrap();
    let file = PlanFile::parse(Path::new("test.plan"), &file.unwrap()).unwrap();
    write(0, Some(6));
    cluster.block(cluster.session(settings, 10).carry_out(&file)).unwrap();
    sync();
    assert_eq!(cluster.rows(), [[(1, 6)], [(1, 6)], [(1, 6)]]);
    assert!(lost(&cluster).contains(&5), "{:?}", lost(&cluster));
}
