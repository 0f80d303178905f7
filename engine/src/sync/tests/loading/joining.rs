//! Letting a node in: while rows wait elsewhere, after a load that was broken off, and by a file that does not list every table.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::yield_now;

use super::until_one_ends;
use crate::error::Result;
use crate::model::{Cut, time};
use crate::sync::load::{LoadOptions, Loaded, Stage};
use crate::sync::memory::number;
use crate::sync::rejoin::Renewed;
use crate::sync::session::Connector;
use crate::sync::setup::NodeLines;
use crate::sync::tests::cluster::Cluster;
use crate::sync::tests::random::Random;

const LATEST: &str = "\"latest-wins\"";
const PARK: &str = "\"park\"";

/// Three nodes of which the last was put back: it has lost what it had changed, and its rows are those of the others all the same.
fn put_back(conflict: &str) -> Cluster {
    let cluster = Cluster::new(3, &[(1, 1), (2, 1)]);
    cluster.block(cluster.session(conflict, 10).install()).unwrap();
    put_back_in(&cluster, conflict);
    cluster
}

fn put_back_in(cluster: &Cluster, conflict: &str) {
    let backup = cluster.databases[2].lock().clone();
    for value in [3, 1] {
        assert!(cluster.databases[2].lock().write(2, Some(value), false));
        cluster.block(cluster.session(conflict, 10).sync()).unwrap();
    }
    *cluster.databases[2].lock() = backup;
}

/// The nodes that a reset has left out.
fn left_out(nodes: &[NodeLines]) -> Vec<&str> {
    let left_out = nodes.iter().filter(|lines| lines.done.iter().any(|line| line.contains("`concord load`")));
    left_out.map(|lines| &*lines.node).collect()
}

fn prefer(node: &str) -> LoadOptions {
    LoadOptions { prefer: Some(node.to_owned()), ..LoadOptions::default() }
}

fn load(cluster: &Cluster, conflict: &str, options: &LoadOptions) -> Result<Loaded> {
    cluster.block(cluster.session(conflict, 10).load(options, &mut |_| ()))
}

fn installation(cluster: &Cluster) -> Option<String> {
    cluster.databases[2].lock().service.as_ref().map(|service| service.uuid.clone())
}

/// What the last node remembers of a load that let it in and has not come to its end.
fn unfinished(cluster: &Cluster) -> Option<String> {
    let kept = cluster.block(async { cluster.databases[2].connect().unwrap().progress().await.unwrap() });
    kept.filter(|kept| Renewed::read(kept).is_some())
}

/// A load that ended when the last node had begun a new life, and before anybody had forgotten its former one.
fn renew_alone(cluster: &Cluster) {
    let passed = |at: usize, source: &str| -> Vec<(String, String, Cut)> {
        let state = cluster.databases[at].lock();
        let own = state.positions.iter().filter(|((_, of), _)| of == source);
        own.map(|((table, of), position)| (table.clone(), of.clone(), position.cut.clone())).collect()
    };
    let positions = [passed(1, "a"), passed(0, "b")].concat();
    let former = installation(cluster).unwrap();
    let renewed = Renewed { follows: former.clone() }.text().unwrap();
    let done =
        cluster.block(async { cluster.databases[2].connect().unwrap().renew(&former, &positions, &renewed).await });
    assert!(done.unwrap());
}

/// A load that let the last node in, copied all rows and ended before it could say so.
fn let_in_nearly() -> Cluster {
    let cluster = put_back(LATEST);
    load(&cluster, LATEST, &prefer("a")).unwrap();
    let renewed = Renewed { follows: "a former life".to_owned() }.text().unwrap();
    cluster
        .block(async { cluster.databases[2].connect().unwrap().set_progress(Some(renewed.as_str())).await })
        .unwrap();
    cluster
}

/// By a load that begins anew, with nothing that says which rows are right.
fn anew() -> LoadOptions {
    LoadOptions { restart: true, ..LoadOptions::default() }
}

/// An empty node beside one with four rows, each of which is a part of a load by itself.
fn four_rows() -> Cluster {
    let cluster = Cluster::new(2, &[]);
    cluster.block(cluster.session(LATEST, 10).install()).unwrap();
    for id in 1..=4 {
        cluster.databases[0].lock().rows.insert(id, 1);
    }
    cluster.databases.iter().for_each(|database| database.lock().stride = Some(1));
    cluster
}

/// A load that is killed after so many turns.
fn break_off(cluster: &Cluster, life: u64) {
    let mut session = cluster.session(LATEST, 10);
    let (options, mut deaf) = (prefer("a"), |_: &Stage| ());
    let broken_off = async { drop(session.load(&options, &mut deaf).await) };
    let turns = async {
        for _ in 0..life {
            yield_now().await;
        }
    };
    cluster.block(until_one_ends(Random(life), vec![Box::pin(broken_off), Box::pin(turns)]));
}

/// Both of the others change a row that the last has as it was.
fn differ(cluster: &Cluster) {
    for (at, value) in [(0, 5), (1, 6)] {
        assert!(cluster.databases[at].lock().write(1, Some(value), false));
    }
}

/// The row that stands at a node that begins anew has seen nothing of what waits, and does not count as what has come of it.
#[test]
fn nobody_is_let_in_while_rows_wait_elsewhere() {
    let cluster = put_back(PARK);
    differ(&cluster);
    cluster.block(cluster.session(PARK, 10).sync()).unwrap();
    let before = cluster.rows();
    for _ in 0..2 {
        let refused = load(&cluster, PARK, &prefer("a")).unwrap_err().to_string();
        assert!(refused.contains("node `c` has to be let in again"), "{refused}");
        assert!(refused.contains("1 row of `t` at `a`, `b`; see `concord parked list`"), "{refused}");
        assert_eq!(cluster.rows(), before);
    }
    cluster.block(cluster.session(PARK, 10).drop_parked(|row| row.node == "a")).unwrap();
    assert_eq!(load(&cluster, PARK, &prefer("a")).unwrap().rejoined, ["c"]);
    assert_eq!(cluster.rows(), [[(1, 5), (2, 1)]; 3]);
}

/// Rows come to wait at any moment of a load: before the node begins anew, while it does, while its rows are compared.
#[test]
fn what_comes_to_wait_during_a_load_is_not_decided_by_who_is_let_in() {
    for moment in (0..1800).step_by(12) {
        let mut cluster = put_back(PARK);
        let mut session = cluster.session(PARK, 10);
        let (options, mut deaf) = (prefer("a"), |_: &Stage| ());
        // It may refuse.
        let load = Box::pin(async { drop(session.load(&options, &mut deaf).await) });
        let users = async {
            for _ in 0..moment {
                yield_now().await;
            }
            differ(&cluster);
        };
        cluster.block(async { tokio::join!(load, users) });
        cluster.settle(PARK, 10).unwrap();
        let rows = cluster.rows();
        assert_eq!([rows[0][0], rows[1][0]], [(1, 5), (1, 6)], "moment {moment}: {rows:?}");
        let waits = |at: usize| cluster.databases[at].lock().parked.contains_key(&1);
        assert!(waits(0) && waits(1), "moment {moment}");
    }
}

/// Users of another node, or of the one that is let in, change a row before the load has come to it: what it replaces nobody has weighed.
#[test]
fn what_users_change_before_a_load_has_compared_it_replaces_nothing_silently() {
    for at in [0, 2] {
        let mut replaced = 0;
        for moment in (0..1800).step_by(36) {
            let mut cluster = put_back(LATEST);
            cluster.databases.iter().for_each(|database| database.lock().stride = Some(1));
            // What the others know of the second row, and what users made of it where the node was put back.
            assert!(cluster.databases[0].lock().write(2, Some(5), false));
            cluster.block(cluster.session(LATEST, 10).sync()).unwrap();
            assert!(cluster.databases[2].lock().write(2, Some(6), false));
            let mut session = cluster.session(LATEST, 10);
            let (options, mut deaf) = (prefer("a"), |_: &Stage| ());
            let load = Box::pin(async { session.load(&options, &mut deaf).await.map(drop).unwrap() });
            let users = async {
                for _ in 0..moment {
                    yield_now().await;
                }
                // The load may hold it just now.
                loop {
                    let stood = cluster.databases[at].lock().rows.get(&2).copied();
                    if cluster.databases[at].lock().write(2, Some(7), false) {
                        return stood;
                    }
                    yield_now().await;
                }
            };
            let ((), stood) = cluster.block(async { tokio::join!(load, users) });
            cluster.settle(LATEST, 10).unwrap();
            let rows = cluster.rows();
            assert!(rows.iter().all(|one| *one == rows[0]), "at {at}, moment {moment}: {rows:?}");
            let stands = rows[0].iter().find(|(id, _)| *id == 2).map(|(_, value)| *value);
            let journals = cluster.databases.iter().flat_map(|database| database.lock().journal.clone());
            let lost: Vec<i64> = journals.filter_map(|lost| Some(number(&lost.loser_row.as_deref()?[1]))).collect();
            // Whoever changed a row had seen what stood at his node.
            for value in [5, 6, 7].into_iter().filter(|value| stood != Some(*value)) {
                assert!(
                    stands == Some(value) || lost.contains(&value),
                    "at {at}, moment {moment}: {value} went silently, {stands:?} stands, lost {lost:?}"
                );
            }
            let mut ids: Vec<String> = cluster.databases[2].lock().journal.iter().map(|lost| lost.id.clone()).collect();
            ids.sort_unstable();
            assert!(!ids.iter().any(|id| id.ends_with('-')) && ids.windows(2).all(|two| two[0] != two[1]), "{ids:?}");
            replaced += u32::from(stands == Some(7) && lost.contains(&(if at == 2 { 5 } else { 6 })));
        }
        assert!(replaced > 0, "nobody replaced anything at {at}");
    }
}

/// What users make of rows that are older than any history tells is compared like any other row, by a load of all.
#[test]
fn what_was_made_after_a_load_was_broken_off_is_compared() {
    let mut met = 0;
    for life in (0..3000).step_by(12) {
        let mut cluster = put_back(LATEST);
        assert!(cluster.databases[0].lock().write(1, Some(9), false));
        cluster.block(cluster.session(LATEST, 10).sync()).unwrap();
        let installed =
            |cluster: &Cluster| cluster.databases[2].lock().service.as_ref().map(|service| service.uuid.clone());
        let former = installed(&cluster);
        let mut session = cluster.session(LATEST, 10);
        let (options, mut deaf) = (prefer("a"), |_: &Stage| ());
        let broken_off = async { drop(session.load(&options, &mut deaf).await) };
        let turns = async {
            for _ in 0..life {
                yield_now().await;
            }
        };
        cluster.block(until_one_ends(Random(life), vec![Box::pin(broken_off), Box::pin(turns)]));
        drop(session);
        let is_stale = cluster.databases[2].lock().rows.get(&1) == Some(&1);
        if installed(&cluster) == former || !is_stale {
            continue;
        }
        met += 1;
        time::pass(2_000_000);
        assert!(cluster.databases[2].lock().write(1, Some(5), false));
        let part = LoadOptions { tables: vec!["t".to_owned()], ..prefer("a") };
        let refused = load(&cluster, LATEST, &part).unwrap_err().to_string();
        assert!(refused.contains("run `concord load` without --table first"), "life {life}: {refused}");
        let loaded = load(&cluster, LATEST, &prefer("a")).unwrap();
        assert_eq!((loaded.resumed, loaded.rejoined), (false, vec!["c".to_owned()]), "life {life}");
        cluster.settle(LATEST, 10).unwrap();
        assert_eq!(cluster.rows(), [[(1, 9), (2, 1)]; 3], "life {life}");
        let state = cluster.databases[2].lock();
        let lost: Vec<i64> =
            state.journal.iter().filter_map(|lost| Some(number(&lost.loser_row.as_deref()?[1]))).collect();
        assert_eq!(lost, [5], "life {life}");
    }
    assert!(met > 0, "no load was broken off after it had let the node in");
}

/// The others still stand in the history of the former life, behind all that the new one has given out so far.
#[test]
fn what_was_made_before_anybody_had_forgotten_the_former_life_is_compared() {
    let mut cluster = put_back(LATEST);
    assert!(cluster.databases[0].lock().write(1, Some(9), false));
    cluster.block(cluster.session(LATEST, 10).sync()).unwrap();
    renew_alone(&cluster);
    time::pass(2_000_000);
    assert!(cluster.databases[2].lock().write(1, Some(5), false));
    let (mark, id) = cluster.databases[2].lock().history.last().map(|entry| (entry.mark, entry.id)).unwrap();
    let heard = cluster.databases[0].lock().positions[&("t".to_owned(), "c".to_owned())].cut.clone();
    assert!(heard.contains(mark, id), "{heard:?} lies before {mark}");
    assert_eq!(load(&cluster, LATEST, &prefer("a")).unwrap().rejoined, ["c"]);
    cluster.settle(LATEST, 10).unwrap();
    assert_eq!(cluster.rows(), [[(1, 9), (2, 1)]; 3]);
    let state = cluster.databases[2].lock();
    let lost: Vec<i64> = state.journal.iter().filter_map(|lost| Some(number(&lost.loser_row.as_deref()?[1]))).collect();
    assert_eq!(lost, [5]);
}

/// What the others have changed has still to come to a node that was let in, and nobody has to say which row is right.
#[test]
fn what_is_on_its_way_to_a_node_that_was_let_in_is_no_difference() {
    let cluster = let_in_nearly();
    assert!(cluster.databases[0].lock().write(1, Some(9), false));
    cluster.block(cluster.session(LATEST, 10).sync()).unwrap();
    assert_eq!(cluster.rows()[2], [(1, 1), (2, 1)]);
    let planned = load(&cluster, LATEST, &LoadOptions { dry_run: true, ..anew() }).unwrap();
    assert_eq!((planned.tables[0].undecided, planned.tables[0].on_their_way > 0), (0, true), "{planned:?}");
    assert_eq!(load(&cluster, LATEST, &anew()).unwrap().rejoined, ["c"]);
    assert_eq!(cluster.rows(), [[(1, 9), (2, 1)]; 3]);
}

/// It is asked again whether users have changed anything there: as the latest change it would win over what is right.
#[test]
fn what_is_changed_at_a_node_that_was_let_in_while_rows_are_compared_is_compared_too() {
    let cluster = let_in_nearly();
    let mut session = cluster.session(LATEST, 10);
    let mut is_changed = false;
    let mut told = |stage: &Stage| {
        if stage.comparing && !is_changed {
            is_changed = true;
            assert!(cluster.databases[2].lock().write(1, Some(5), false));
        }
    };
    let refused = cluster.block(session.load(&anew(), &mut told)).unwrap_err().to_string();
    assert!(refused.contains("1 row differs between nodes, and nothing says which are right"), "{refused}");
    let before = [[(1, 1), (2, 1)], [(1, 1), (2, 1)], [(1, 5), (2, 1)]];
    assert_eq!(cluster.rows(), before);
}

/// A load that users hold up hands over nothing: that would count as a change that users have made at the node that is let in.
#[test]
fn a_load_that_is_held_up_changes_nothing_at_a_node_that_it_lets_in() {
    let cluster = put_back(LATEST);
    cluster.databases[0].lock().refuses = Some(7);
    cluster.databases[2].lock().rows.insert(3, 7);
    {
        let mut state = cluster.databases[1].lock();
        state.rows.insert(2, 5);
        assert!(state.write(2, Some(8), true));
    }
    let held = load(&cluster, LATEST, &prefer("a")).unwrap_err().to_string();
    assert!(held.contains("1 row of `t` could not be written"), "{held}");
    assert!(cluster.databases[2].lock().history.iter().all(|entry| entry.arrival.is_some()));
    let life = installation(&cluster);
    cluster.databases[1].lock().commit(0);
    let loaded = load(&cluster, LATEST, &prefer("a")).unwrap();
    assert_eq!((loaded.rejoined, loaded.tables[0].waiting), (vec!["c".to_owned()], 1));
    assert_eq!(installation(&cluster), life);
    assert_eq!(cluster.rows(), [vec![(1, 1), (2, 8)], vec![(1, 1), (2, 8), (3, 7)], vec![(1, 1), (2, 8), (3, 7)]]);
}

/// A load at nodes like these is broken off, and its target put back to what it was before: the next one copies all.
fn what_is_lost_is_brought_again(before: impl Fn() -> Cluster) {
    let mut met = 0;
    for life in (0..1000).step_by(10) {
        let cluster = before();
        let backup = cluster.databases[1].lock().clone();
        break_off(&cluster, life);
        met += u64::from((1..4).contains(&cluster.databases[1].lock().rows.len()));
        *cluster.databases[1].lock() = backup;
        load(&cluster, LATEST, &prefer("a")).unwrap();
        assert_eq!(cluster.rows(), [[(1, 1), (2, 1), (3, 1), (4, 1)]; 2], "life {life}");
    }
    assert!(met > 0, "no load was broken off while it was at work");
}

/// What a load has brought is in no history: where a node has lost it, a load that was broken off does not go on.
#[test]
fn what_a_node_has_lost_of_a_load_that_was_broken_off_is_brought_again() {
    what_is_lost_is_brought_again(four_rows);
}

/// GIVEN a load that was broken off before it came anywhere, and one that came further, and a node put back to what was in between
/// THEN the third begins anew, although the first has been at that node as well.
#[test]
fn a_load_that_begins_anew_is_another_one() {
    let begun = |life: u64| {
        let cluster = four_rows();
        break_off(&cluster, life);
        cluster
    };
    let has_begun = |at: usize, cluster: &Cluster| {
        let kept = cluster.block(async { cluster.databases[at].connect().unwrap().progress().await.unwrap() });
        kept.is_some_and(|kept| kept.contains("\"table\":\"\""))
    };
    let first = (0..1000).find(|life| {
        let cluster = begun(*life);
        has_begun(0, &cluster) && has_begun(1, &cluster)
    });
    let first = first.expect("no load was broken off just after it had begun");
    what_is_lost_is_brought_again(|| begun(first));
}

/// Whoever begins anew does so in all tables that keep histories there.
#[test]
fn nobody_is_let_in_by_a_file_that_lacks_a_table() {
    let cluster = put_back(LATEST);
    let tables = cluster.databases[0].lock().service.as_ref().unwrap().tables.clone();
    let add = |at: usize, name: &str| {
        let mut state = cluster.databases[at].lock();
        state.service.as_mut().unwrap().tables.push((name.to_owned(), String::new()));
    };
    for at in [0, 2] {
        add(at, "others");
    }
    for dry_run in [false, true] {
        let refused = load(&cluster, LATEST, &LoadOptions { dry_run, ..prefer("a") }).unwrap_err().to_string();
        assert!(refused.contains("`a` keeps one of `others`"), "{refused}");
        assert!(refused.contains("run `concord install`"), "{refused}");
    }
    // What only the node itself remembers, as it was put back to before the table was taken out, is in nobody's way.
    cluster.databases[0].lock().service.as_mut().unwrap().tables = tables;
    assert_eq!(load(&cluster, LATEST, &prefer("a")).unwrap().rejoined, ["c"]);
}

/// It was let in and nobody has changed anything there: what was compared is not compared again.
#[test]
fn a_load_that_was_letting_a_node_in_goes_on_where_it_was() {
    let mut resumed = 0;
    for life in (0..3000).step_by(12) {
        let mut cluster = put_back(LATEST);
        assert!(cluster.databases[0].lock().write(1, Some(9), false));
        cluster.block(cluster.session(LATEST, 10).sync()).unwrap();
        break_off(&cluster, life);
        if unfinished(&cluster).is_none() {
            continue;
        }
        // The others go on, and it has still to hear of that.
        assert!(cluster.databases[1].lock().write(2, Some(8), false));
        cluster.block(cluster.session(LATEST, 10).sync()).unwrap();
        let life_before = installation(&cluster);
        let loaded = load(&cluster, LATEST, &prefer("a")).unwrap();
        assert_eq!(loaded.rejoined, ["c"], "life {life}");
        if loaded.resumed {
            resumed += 1;
            assert_eq!(installation(&cluster), life_before, "life {life}");
        }
        cluster.settle(LATEST, 10).unwrap();
        assert_eq!(cluster.rows(), [[(1, 9), (2, 8)]; 3], "life {life}");
    }
    assert!(resumed > 0, "no load went on");
}

/// The other is told of by how far it comes.
#[test]
fn nobody_is_let_in_anew_while_another_load_is_at_work() {
    let mut met = 0;
    for life in (0..3000).step_by(24) {
        let cluster = put_back(LATEST);
        break_off(&cluster, life);
        if unfinished(&cluster).is_none_or(|kept| !kept.contains("\"load\"")) {
            continue;
        }
        met += 1;
        assert!(cluster.databases[2].lock().write(1, Some(5), false));
        let life_before = installation(&cluster);
        let mut session = cluster.session(LATEST, 10);
        let (options, mut deaf) = (prefer("a"), |_: &Stage| ());
        let mut refused = None;
        cluster.block(until_one_ends(
            Random(life),
            vec![
                Box::pin(async { refused = Some(session.load(&options, &mut deaf).await.unwrap_err().to_string()) }),
                Box::pin(async {
                    let mut node = cluster.databases[0].connect().unwrap();
                    for step in 0_u64.. {
                        node.set_progress(Some(&format!("step {step}"))).await.unwrap();
                        yield_now().await;
                    }
                }),
            ],
        ));
        let refused = refused.unwrap();
        assert!(refused.contains("node `c`: another `concord load` is letting it in"), "life {life}: {refused}");
        assert_eq!(installation(&cluster), life_before, "life {life}");
    }
    assert!(met > 0, "no load was broken off after it had let the node in");
}

/// What waits until somebody can be read who is left out can be decided by nobody; it is told what there is to do.
#[test]
fn what_waits_for_who_is_left_out_can_be_forgotten() {
    let cluster = put_back(PARK);
    cluster.databases[1].lock().unreadable = Some(6);
    assert!(cluster.databases[1].lock().write(1, Some(6), false));
    cluster.block(cluster.session(PARK, 10).sync()).unwrap();
    let refused = load(&cluster, PARK, &prefer("b")).unwrap_err().to_string();
    assert!(refused.contains("1 row of `t`"), "{refused}");
    assert!(refused.contains("`concord reset`, which forgets all that waits"), "{refused}");
    cluster.databases[1].lock().unreadable = None;
    cluster.block(cluster.session(PARK, 10).reset()).unwrap();
    load(&cluster, PARK, &prefer("b")).unwrap();
    assert_eq!(cluster.rows(), [[(1, 6), (2, 1)]; 3]);
}

/// The same of a row that no node which stays has: it is not given up, and nothing else than to forget it lets the node in.
#[test]
fn what_waits_and_stands_only_at_who_is_left_out_can_be_forgotten() {
    let settings = format!("{LATEST}{}", filter("b", 1, "0"));
    let cluster = Cluster::new(2, &[(1, 3)]);
    let sync = || cluster.block(cluster.session(&settings, 10).sync()).unwrap();
    cluster.block(cluster.session(&settings, 10).install()).unwrap();
    cluster.databases[1].lock().refuses = Some(6);
    assert!(cluster.databases[0].lock().write(2, Some(6), false));
    assert_eq!(sync().waiting, 1);
    let backup = cluster.databases[0].lock().clone();
    for value in [9, 3] {
        assert!(cluster.databases[0].lock().write(1, Some(value), false));
        sync();
    }
    *cluster.databases[0].lock() = backup;
    let refused = load(&cluster, &settings, &prefer("a")).unwrap_err().to_string();
    assert!(refused.contains("left out knows or has: `concord reset`, which forgets all that waits"), "{refused}");
    let refused = cluster.block(cluster.session(&settings, 10).drop_parked(|_| true)).unwrap_err().to_string();
    assert!(refused.contains("stands at no node that is there") && refused.contains("if only `a` has it"), "{refused}");
    cluster.databases[1].lock().refuses = None;
    cluster.block(cluster.session(&settings, 10).reset()).unwrap();
    load(&cluster, &settings, &prefer("a")).unwrap();
    assert_eq!(cluster.rows(), [[(1, 3), (2, 6)]; 2]);
}

/// A part of the settings: a node holds rows whose values leave these remainders.
fn filter(node: &str, at: usize, is: &str) -> String {
    format!("\n[tables.t.nodes.{node}]\nfilter = {{ plugin = \"remainder\", at = {at}, is = [{is}] }}")
}

/// GIVEN nodes that hold parts of the rows, and a backup at the one that holds all and stands first in the file
/// WHEN it is let in, and the node that is named has not all rows either
/// THEN what the backup has goes before nothing that others have.
#[test]
fn a_backup_loses_to_others_where_who_is_named_lacks_the_row() {
    for policy in [LATEST, "{ prefer = [\"a\"] }"] {
        let settings = format!("{policy}{}{}", filter("b", 1, "0"), filter("c", 2, "1"));
        let cluster = Cluster::new(3, &[]);
        for (at, rows) in [(0, &[(1, 3), (2, 4), (3, 7)][..]), (1, &[(1, 3)]), (2, &[(2, 4), (3, 7)])] {
            cluster.databases[at].lock().rows.extend(rows.iter().copied());
        }
        let sync = || cluster.block(cluster.session(&settings, 10).sync()).unwrap();
        cluster.block(cluster.session(&settings, 10).install()).unwrap();
        sync();
        let backup = cluster.databases[0].lock().clone();
        for (at, id, value) in [(1, 1, 6), (2, 2, 10), (1, 1, 9), (2, 2, 13)] {
            assert!(cluster.databases[at].lock().write(id, Some(value), false));
            sync();
        }
        *cluster.databases[0].lock() = backup;
        // This one was not even lost.
        assert!(cluster.databases[2].lock().write(3, Some(10), false));
        assert_eq!(sync().away[0].node, "a");
        let dry = load(&cluster, &settings, &LoadOptions { dry_run: true, ..prefer("b") }).unwrap();
        let table = dry.tables.iter().find(|table| table.table == "t").unwrap();
        let told = table.rule.clone().unwrap();
        assert!(told.starts_with("--prefer b, then the nodes that stay before a"), "{told}");
        assert!(table.nodes.iter().all(|node| node.node == "a" && node.replaced > 0), "{dry:?}");
        assert_eq!(load(&cluster, &settings, &prefer("b")).unwrap().rejoined, ["a"]);
        assert_eq!(cluster.rows(), [vec![(1, 9), (2, 13), (3, 10)], vec![(1, 9)], vec![(2, 13), (3, 10)]], "{policy}");
    }
}

/// GIVEN a backup at the node that holds all rows and stands first in the file, and a row that waits at another node
/// WHEN that is forgotten by a reset, of which one comes after the other, as nothing else lets the node in
/// THEN it stays out until all rows are compared, and what the backup has goes before nothing that others have.
#[test]
fn a_backup_loses_to_others_after_a_reset() {
    let settings = format!("{LATEST}{}{}", filter("b", 1, "0, 2"), filter("c", 2, "1, 2"));
    let cluster = Cluster::new(3, &[]);
    for (at, rows) in [(0, &[(1, 3), (2, 4)][..]), (1, &[(1, 3)]), (2, &[(2, 4)])] {
        cluster.databases[at].lock().rows.extend(rows.iter().copied());
    }
    let sync = || cluster.block(cluster.session(&settings, 10).sync()).unwrap();
    cluster.block(cluster.session(&settings, 10).install()).unwrap();
    sync();
    let backup = cluster.databases[0].lock().clone();
    for (at, id, value) in [(1, 1, 6), (2, 2, 10), (1, 1, 9), (2, 2, 13)] {
        assert!(cluster.databases[at].lock().write(id, Some(value), false));
        sync();
    }
    *cluster.databases[0].lock() = backup;
    cluster.databases[1].lock().refuses = Some(11);
    assert!(cluster.databases[2].lock().write(3, Some(11), false));
    let summary = sync();
    assert_eq!((&*summary.away[0].node, summary.waiting), ("a", 1));
    let refused = load(&cluster, &settings, &prefer("b")).unwrap_err().to_string();
    assert!(refused.contains("`concord reset`, which forgets all that waits"), "{refused}");
    cluster.databases[1].lock().refuses = None;
    for _ in 0..2 {
        let (nodes, _) = cluster.block(cluster.session(&settings, 10).reset()).unwrap();
        assert_eq!(left_out(&nodes), ["a"], "{nodes:?}");
        assert_eq!(sync().away[0].node, "a");
    }
    assert_eq!(load(&cluster, &settings, &prefer("b")).unwrap().rejoined, ["a"]);
    assert!(sync().away.is_empty());
    let all = vec![(1, 9), (2, 13), (3, 11)];
    assert_eq!(cluster.rows(), [all, vec![(1, 9), (3, 11)], vec![(2, 13), (3, 11)]]);
}

/// An account may be allowed no more than one.
#[test]
fn a_reset_looks_who_was_put_back_over_the_connections_that_it_has() {
    let cluster = put_back(LATEST);
    let mut session = cluster.session(LATEST, 10);
    let (connect, connected) = (Arc::clone(&session.connector), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&connected);
    let counting: Connector = Arc::new(move |target| {
        counted.fetch_add(1, Ordering::Relaxed);
        connect(target)
    });
    session.connector = counting;
    let (nodes, warnings) = cluster.block(session.reset()).unwrap();
    assert_eq!((left_out(&nodes), connected.load(Ordering::Relaxed)), (vec!["c"], 3));
    assert!(!warnings.iter().any(|warning| warning.contains("put back from a backup")), "{warnings:?}");
}

/// GIVEN a file that lists a table, or a node, that is not installed yet
/// WHEN a reset cannot look who was put back for that
/// THEN it says so, and no more once all are installed.
#[test]
fn a_reset_says_that_it_could_not_look_who_was_put_back() {
    for (of_table, told) in
        [(true, "is in the file and not installed"), (false, "node `c`: it was installed for the nodes")]
    {
        let cluster = put_back(LATEST);
        for (at, database) in cluster.databases.iter().enumerate() {
            let mut state = database.lock();
            let service = state.service.as_mut().unwrap();
            if of_table {
                service.tables.retain(|(name, _)| name != "u");
            } else if at == 2 {
                service.nodes.pop();
            }
        }
        let reset = || cluster.block(cluster.session(LATEST, 10).reset()).unwrap().1;
        let tells = |warnings: &[String]| {
            warnings.iter().any(|why| why.contains("put back from a backup") && why.contains(told))
        };
        let warnings = reset();
        assert!(tells(&warnings), "{warnings:?}");
        let warnings = reset();
        assert!(!tells(&warnings), "{warnings:?}");
    }
}

/// GIVEN a reset that failed before it had emptied anything
/// WHEN a node is put back from a backup later, and reset is called again
/// THEN that finds it out.
#[test]
fn a_reset_that_emptied_nothing_hides_nobody_from_the_next() {
    let cluster = Cluster::new(3, &[(1, 1), (2, 1)]);
    cluster.block(cluster.session(LATEST, 10).install()).unwrap();
    cluster.databases[0].lock().holds = 1;
    cluster.block(cluster.session(LATEST, 10).reset()).unwrap_err();
    put_back_in(&cluster, LATEST);
    let (nodes, _) = cluster.block(cluster.session(LATEST, 10).reset()).unwrap();
    assert_eq!(left_out(&nodes), ["c"], "{nodes:?}");
}
