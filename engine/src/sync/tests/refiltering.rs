//! Filters that are others now: what `load --refilter` moves, and what it leaves as it is.

use std::time::Duration;

use super::cluster::{Cluster, NAMES, later};
use super::random::{Random, seeds};
use crate::error::Result;
use crate::sync::brought::{self, Marks};
use crate::sync::load::{LoadOptions, Loaded, Stage};
use crate::sync::memory::number;

const PLAIN: &str = "\"latest-wins\"";

/// Only multiples of three belong there.
fn filtered(table: &str, node: &str) -> String {
    let at = NAMES.iter().position(|name| *name == node).unwrap();
    format!("\n[tables.{table}.nodes.{node}]\nfilter = {{ plugin = \"remainder\", at = {at}, is = [0] }}")
}

/// Nodes that are installed and at rest, with a row of each table that belongs at a node with a filter and one that does not.
fn installed(count: usize, settings: &str) -> Cluster {
    let cluster = Cluster::new(count, &[(1, 1), (3, 3), (1001, 1), (1003, 3)]);
    install(&cluster, settings).unwrap();
    cluster.block(cluster.session(settings, 100).sync()).unwrap();
    cluster
}

fn install(cluster: &Cluster, settings: &str) -> Result<Vec<String>> {
    cluster.block(cluster.session(settings, 100).install()).map(|(_, warnings)| warnings)
}

async fn refilter(cluster: &Cluster, settings: &str, tables: &[&str]) -> Result<Loaded> {
    refilter_telling(cluster, settings, tables, &mut |_| ()).await
}

/// The same, for whoever does something meanwhile. What stands still is looked at again without waiting.
async fn refilter_telling(
    cluster: &Cluster,
    settings: &str,
    tables: &[&str],
    told: &mut (dyn FnMut(&Stage) + Send),
) -> Result<Loaded> {
    let tables = tables.iter().map(|table| (*table).to_owned()).collect();
    let options = LoadOptions { refilter: true, tables, ..LoadOptions::default() };
    let mut session = cluster.session(settings, 100);
    session.look_again = Duration::ZERO;
    session.load(&options, told).await
}

/// Whether rows are where a file says, as far as what is kept at the nodes tells.
fn is_moved(cluster: &Cluster, settings: &str) -> bool {
    cluster.block(cluster.session(settings, 100).sync()).unwrap().stopped.is_empty()
}

/// A load that is broken off in the leg of `u` at this node, because the first node is lost.
fn broken_off(cluster: &Cluster, settings: &str, node: &str) {
    let mut lose = |stage: &Stage| {
        if !stage.comparing && (&stage.table[..], &stage.node[..]) == ("u", node) {
            cluster.databases[0].lock().up = false;
        }
    };
    assert!(cluster.block(refilter_telling(cluster, settings, &[], &mut lose)).is_err());
    cluster.databases[0].lock().up = true;
}

/// Lets others do something at a moment in which a load is at work.
fn apart(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap());
}

/// What each node has under a key.
fn values(cluster: &Cluster, id: i64) -> Vec<Option<i64>> {
    cluster.databases.iter().map(|database| database.lock().rows.get(&id).copied()).collect()
}

/// As where a user has moved it out of the filter while the node was left out.
#[test]
fn what_stays_where_it_does_not_belong_is_counted() {
    let settings = format!("{PLAIN}{}", filtered("t", "b"));
    let cluster = Cluster::new(2, &[]);
    cluster.databases[1].lock().rows.extend([(1, 1), (3, 3)]);
    install(&cluster, &settings).unwrap();
    for dry_run in [true, false] {
        let options = LoadOptions { dry_run, ..LoadOptions::default() };
        let loaded = cluster.block(cluster.session(&settings, 100).load(&options, &mut |_| ())).unwrap();
        assert_eq!(loaded.tables.iter().map(|table| table.outside).sum::<u64>(), 1, "{loaded:?}");
    }
    assert_eq!((values(&cluster, 1), values(&cluster, 3)), (vec![Some(1); 2], vec![Some(3); 2]));
    assert_eq!(cluster.block(refilter(&cluster, &settings, &["t"])).unwrap().tables[0].outside, 0);
}

#[test]
fn another_table_that_was_changed_keeps_its_history() {
    let cluster = installed(2, PLAIN);
    let settings = format!("{PLAIN}{}", filtered("u", "b"));
    cluster.databases[1].lock().write(1, Some(7), false);
    cluster.databases[0].lock().drift = Some("a column was added".to_owned());
    let loaded = cluster.block(refilter(&cluster, &settings, &[])).unwrap();
    assert_eq!(loaded.stopped.iter().map(|stopped| &stopped.table[..]).collect::<Vec<_>>(), ["t"]);
    assert_eq!(values(&cluster, 1001), [Some(1), None]);
    cluster.databases[0].lock().drift = None;
    cluster.block(cluster.session(&settings, 100).sync()).unwrap();
    assert_eq!(values(&cluster, 1), [Some(7); 2]);
}

#[test]
fn what_stood_still_during_the_load_has_not_been_moved() {
    let cluster = installed(2, PLAIN);
    let settings = format!("{PLAIN}{}", filtered("t", "b"));
    cluster.databases[0].lock().drift = Some("a column was added".to_owned());
    let loaded = cluster.block(refilter(&cluster, &settings, &[])).unwrap();
    assert_eq!(loaded.stopped.len(), 1);
    cluster.databases[0].lock().drift = None;
    let summary = cluster.block(cluster.session(&settings, 100).sync()).unwrap();
    assert!(summary.stopped[0].why.contains("concord load --refilter"), "{:?}", summary.stopped);
}

/// A load of that table alone lets nobody in, and one that moves no rows does not go through it.
#[test]
fn where_filters_have_changed_a_load_of_all_tables_lets_a_node_in() {
    let cluster = installed(2, PLAIN);
    let backup = cluster.databases[1].lock().clone();
    assert!(cluster.databases[1].lock().write(1, Some(7), false));
    cluster.block(cluster.session(PLAIN, 100).sync()).unwrap();
    // A table that stands still tells of no restored node, so that another has to.
    for value in [4, 5] {
        assert!(cluster.databases[0].lock().write(1001, Some(value), false));
        cluster.block(cluster.session(PLAIN, 100).sync()).unwrap();
    }
    *cluster.databases[1].lock() = backup;
    let settings = format!("{PLAIN}{}", filtered("t", "b"));
    let load = |refilter: bool, tables: &[&str]| {
        let tables = tables.iter().map(|table| (*table).to_owned()).collect();
        let options = LoadOptions { refilter, tables, prefer: Some("a".to_owned()), ..LoadOptions::default() };
        cluster.block(cluster.session(&settings, 100).load(&options, &mut |_| ()))
    };
    for (refilter, tables, remedy) in [
        (true, &["t"][..], "run `concord load --refilter` without --table first"),
        (false, &["u"], "run `concord load` without --table first"),
        (false, &[], "; run `concord load --refilter` for all tables"),
    ] {
        let refused = load(refilter, tables).unwrap_err().to_string();
        assert!(refused.contains("node `b` has to be let in again") && refused.contains(remedy), "{refused}");
    }
    assert_eq!(load(true, &[]).unwrap().rejoined, ["b"]);
    let kept = [1, 3, 1001].map(|id| values(&cluster, id));
    assert_eq!(kept, [[Some(7), None], [Some(3); 2], [Some(5); 2]]);
    assert!(is_moved(&cluster, &settings));
}

#[test]
fn what_stood_still_for_a_while_has_not_been_moved() {
    let settings = format!("{PLAIN}{}", filtered("t", "b"));
    for is_broken_off in [false, true] {
        let cluster = installed(2, PLAIN);
        for database in &cluster.databases {
            let mut state = database.lock();
            state.rows.insert(5, 1);
            state.stride = Some(1);
        }
        let mut meanwhile = |stage: &Stage| {
            let mut state = cluster.databases[0].lock();
            if stage.comparing {
                return;
            }
            state.drift = (stage.table == "t").then(|| "a column was added".to_owned());
            state.up &= !(is_broken_off && (&stage.table[..], &stage.node[..]) == ("u", "b"));
        };
        match cluster.block(refilter_telling(&cluster, &settings, &[], &mut meanwhile)) {
            Ok(loaded) => {
                assert!(loaded.stopped[0].why.contains("concord load --refilter"), "{:?}", loaded.stopped);
                assert!(!is_broken_off && !is_moved(&cluster, &settings));
            }
            Err(error) => assert!(is_broken_off, "{error}"),
        }
        assert_eq!(values(&cluster, 5), [Some(1); 2]);
        cluster.databases[0].lock().up = true;
        cluster.block(refilter(&cluster, &settings, &[])).unwrap();
        assert_eq!(values(&cluster, 5), [Some(1), None], "broken off: {is_broken_off}");
        assert!(is_moved(&cluster, &settings));
    }
}

#[test]
fn what_comes_to_stand_still_while_it_is_compared_is_named() {
    let settings = format!("{PLAIN}{}", filtered("t", "b"));
    let cluster = installed(2, PLAIN);
    let mut drift = |_: &Stage| cluster.databases[0].lock().drift = Some("a column was added".to_owned());
    let error = cluster.block(refilter_telling(&cluster, &settings, &[], &mut drift)).unwrap_err();
    assert!(error.to_string().contains("table `t` stands still: at a: a column was added"), "{error}");
}

/// GIVEN a row that is to move and that its new node refuses until the load is at another table
/// WHEN the load tries it again, and it is taken
/// THEN it goes where it was as well, of which no history would tell.
#[test]
fn what_is_taken_at_last_goes_from_where_it_was() {
    let before = format!("{PLAIN}{}", filtered("t", "b"));
    let after = format!("{PLAIN}{}", filtered("t", "a"));
    let cluster = installed(2, &before);
    {
        let mut state = cluster.databases[1].lock();
        state.rows.remove(&1);
        state.refuses = Some(1);
    }
    let mut relent = |stage: &Stage| {
        if !stage.comparing && stage.table == "u" {
            cluster.databases[1].lock().refuses = None;
        }
    };
    cluster.block(refilter_telling(&cluster, &after, &[], &mut relent)).unwrap();
    assert_eq!((values(&cluster, 1), values(&cluster, 3)), (vec![None, Some(1)], vec![Some(3); 2]));
    assert!(is_moved(&cluster, &after));
}

/// After the load has gone through the table, or after it was broken off then.
#[test]
fn what_others_did_to_a_table_meanwhile_is_gone_through_again() {
    let settings = format!("{PLAIN}{}", filtered("t", "b"));
    let installs = |cluster: &Cluster| {
        // As where the table was created anew.
        cluster.databases[1].lock().rows.insert(1, 1);
        install(cluster, &settings).unwrap();
    };
    let loads = |cluster: &Cluster| drop(cluster.block(refilter(cluster, PLAIN, &["t"])).unwrap());
    let begins_to_load = |cluster: &Cluster| {
        cluster.databases[0].lock().write(1, Some(4), false);
        let mut lose = |stage: &Stage| cluster.databases[0].lock().up &= stage.comparing;
        assert!(cluster.block(refilter_telling(cluster, PLAIN, &["t"], &mut lose)).is_err());
        cluster.databases[0].lock().up = true;
    };
    type Others<'a> = &'a (dyn Fn(&Cluster) + Sync);
    let all: [(&str, Others); 3] = [("installs", &installs), ("loads", &loads), ("begins to load", &begins_to_load)];
    for (name, others) in all {
        for is_broken_off in [false, true] {
            let cluster = installed(2, PLAIN);
            if is_broken_off {
                broken_off(&cluster, &settings, "a");
                assert_eq!(values(&cluster, 1)[1], None);
                others(&cluster);
            } else {
                let mut others = Some(others);
                let mut meanwhile = |stage: &Stage| {
                    if let Some(others) = others.take_if(|_| !stage.comparing && stage.table == "u") {
                        apart(|| others(&cluster));
                    }
                };
                let loaded = cluster.block(refilter_telling(&cluster, &settings, &[], &mut meanwhile)).unwrap();
                assert!(loaded.stopped[0].why.contains("concord load --refilter"), "{name}: {:?}", loaded.stopped);
                assert!(!is_moved(&cluster, &settings), "{name}");
            }
            assert!(values(&cluster, 1)[1].is_some(), "{name}");
            cluster.block(refilter(&cluster, &settings, &[])).unwrap();
            assert_eq!(values(&cluster, 1)[1], None, "{name}, broken off: {is_broken_off}");
            assert!(is_moved(&cluster, &settings));
        }
    }
}

#[test]
fn tables_whose_filters_change_together_are_refiltered_one_by_one() {
    let cluster = installed(2, PLAIN);
    let settings = format!("{PLAIN}{}{}", filtered("t", "b"), filtered("u", "b"));
    for (table, hidden) in [("t", 1), ("u", 1001)] {
        cluster.block(refilter(&cluster, &settings, &[table])).unwrap();
        assert_eq!(values(&cluster, hidden), [Some(1), None]);
    }
    let summary = cluster.block(cluster.session(&settings, 100).sync()).unwrap();
    assert_eq!(summary.stopped, []);
}

#[test]
fn install_goes_on_and_leaves_it_to_the_load_to_move_rows() {
    let cluster = installed(2, PLAIN);
    let settings = format!("{PLAIN}{}", filtered("t", "b"));
    let is_moved = |settings: &str| is_moved(&cluster, settings);
    let warnings = install(&cluster, &settings).unwrap();
    assert!(warnings.iter().any(|warning| warning.contains("concord load --refilter --table t")), "{warnings:?}");
    assert!(!is_moved(&settings) && is_moved(PLAIN));
    // Also where a load was interrupted, and by whatever file.
    for (settings, hidden) in [(PLAIN, Some(1)), (&settings, None)] {
        if let Some(service) = &mut cluster.databases[1].lock().service {
            for (_, kept) in service.tables.iter_mut().filter(|(name, _)| name == "t") {
                let marks = Marks { filter: Some(brought::REFILTERED.to_owned()), ..Marks::default() };
                *kept = brought::with_marks(kept, marks);
            }
        }
        install(&cluster, settings).unwrap();
        assert!(!is_moved(settings));
        cluster.block(refilter(&cluster, settings, &["t"])).unwrap();
        assert!(is_moved(settings));
        assert_eq!(values(&cluster, 1), [Some(1), hidden]);
    }
}

/// What is known of it is no less true.
#[test]
fn reports_tell_of_a_table_that_stands_still_for_its_filters() {
    let former = format!("{PLAIN}{}", filtered("t", "b"));
    let other = former.replace("is = [0]", "is = [0, 1]");
    let cluster = installed(2, &former);
    cluster.databases[0].lock().write(7, Some(7), false);
    for (at, value) in [(0, 6), (1, 9)] {
        cluster.databases[at].lock().write(3, Some(value), false);
        later();
    }
    cluster.block(cluster.session(&former, 100).sync()).unwrap();
    cluster.databases[1].lock().refuses = Some(12);
    cluster.databases[0].lock().write(3, Some(12), false);
    cluster.block(cluster.session(&former, 100).sync()).unwrap();
    cluster.databases[0].lock().write(5, Some(6), false);
    for settings in [&other, PLAIN, &former] {
        let mut session = cluster.session(settings, 100);
        let conflicts = cluster.block(session.conflicts(0)).unwrap();
        assert_eq!((conflicts.len(), conflicts[0].table.as_str()), (1, "t"), "{settings}");
        assert_eq!(cluster.block(session.conflicts_called(&conflicts[0].id)).unwrap().len(), 1);
        assert_eq!(cluster.block(session.parked()).unwrap().len(), 1);
        let status = cluster.block(session.status()).unwrap();
        let lines = status.tables.iter().filter(|line| line.table == "t");
        let counts: Vec<_> = lines.map(|line| (line.pending, line.parked)).collect();
        assert_eq!(counts, [(1, 0), (0, 1)], "{settings}");
        let why = cluster.block(session.why("t", &["3".to_owned()])).unwrap();
        assert_eq!((why.nodes.len(), why.lost.len()), (2, 1), "{settings}");
        if settings == other {
            let hidden = cluster.block(session.why("t", &["7".to_owned()])).unwrap();
            let reason = hidden.nodes[1].reason.as_deref();
            assert_eq!(reason, Some("it belongs there by this file's filter, by which no rows were moved yet"));
        }
        let stands_still = settings != former;
        assert_eq!((why.stopped.is_some(), session.stopped().len()), (stands_still, usize::from(stands_still)));
        assert_eq!(status.stopped.len(), usize::from(stands_still));
        // It is carried no more than before.
        cluster.block(session.sync()).unwrap();
        assert_eq!(values(&cluster, 5)[1].is_some(), !stands_still);
    }
    // What was changed besides may be read no more.
    cluster.databases[1].lock().drift = Some("a column was added".to_owned());
    let mut session = cluster.session(&other, 100);
    let status = cluster.block(session.status()).unwrap();
    assert!(status.stopped[0].why.contains("a column was added"), "{:?}", status.stopped);
    assert!(cluster.block(session.conflicts(0)).unwrap().is_empty());
}

/// Also where it is another table whose rows differ, and where changes are pending.
#[test]
fn a_load_that_is_refused_leaves_everything_to_the_former_filters() {
    let settings = format!("{PLAIN}{}", filtered("t", "b"));
    for differs in [1, 1001] {
        let cluster = installed(2, PLAIN);
        cluster.databases[1].lock().rows.insert(differs, 5);
        cluster.databases[0].lock().write(3, Some(4), false);
        let error = cluster.block(refilter(&cluster, &settings, &[])).unwrap_err().to_string();
        assert!(error.contains("1 row differs") && error.contains("nothing was written"), "{error}");
        assert_eq!(values(&cluster, 3), [Some(4), Some(3)]);
        assert!(is_moved(&cluster, PLAIN));
        assert_eq!(values(&cluster, 3), [Some(4); 2]);
    }
    // What is only on its way is no difference.
    let cluster = installed(2, PLAIN);
    cluster.databases[0].lock().write(3, Some(4), false);
    cluster.block(refilter(&cluster, &settings, &[])).unwrap();
    assert_eq!((values(&cluster, 1), values(&cluster, 3)), (vec![Some(1), None], vec![Some(4), None]));
}

#[test]
fn a_row_made_where_one_was_hidden_is_weighed_when_the_filter_goes() {
    let settings = format!("{PLAIN}{}", filtered("t", "a"));
    let cluster = Cluster::new(2, &[]);
    cluster.databases[1].lock().rows.insert(1, 1);
    install(&cluster, &settings).unwrap();
    later();
    cluster.databases[0].lock().write(1, Some(3), false);
    let loaded = cluster.block(refilter(&cluster, PLAIN, &[])).unwrap();
    assert_eq!((loaded.sync.conflicts, values(&cluster, 1)), (1, vec![Some(3); 2]));
    let lost = cluster.databases.iter().flat_map(|database| database.lock().journal.clone());
    let lost: Vec<i64> = lost.filter_map(|lost| Some(number(&lost.loser_row?[1]))).collect();
    assert!(lost.contains(&1), "{lost:?}");
}

/// Two loads, each by another file, each of which relies on the node that the other takes the row from.
#[test]
fn loads_by_different_filters_leave_a_row_somewhere() {
    let mut lost = Vec::new();
    for seed in seeds(150) {
        let cluster = installed(3, PLAIN);
        let mut random = Random(seed);
        cluster.databases.iter().for_each(|database| database.lock().pace = random.next());
        let file = |one, other| PLAIN.to_owned() + &filtered("t", one) + &filtered("t", other);
        let files = [file("a", "c"), file("b", "c")];
        let loads = files.iter().map(|file| refilter(&cluster, file, &["t"]));
        cluster.block(futures::future::join_all(loads));
        if values(&cluster, 1) == [None; 3] {
            lost.push(seed);
        }
    }
    assert!(lost.is_empty(), "replay one of {} with CONCORD_SEED=…: {lost:?}", lost.len());
}
