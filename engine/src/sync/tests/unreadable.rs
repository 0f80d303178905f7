//! Rows that cannot be read for a while: what lies in doubt until then is decided afterwards, as if nothing had been.

use std::collections::BTreeSet;

use super::cluster::{Cluster, NAMES};
use crate::model::{Value, time};
use crate::sync::{WhyState, memory};

const A: &str = "{ prefer = [\"a\"] }";
const B: &str = "{ prefer = [\"b\"] }";

/// Two nodes change a row, of which the one's version cannot be read. Then it can, or its user writes another, while the other
/// node may be away.
#[test]
fn a_conflict_with_what_cannot_be_read_is_decided_later() {
    for policy in ["\"latest-wins\"", "\"earliest-wins\"", A, B] {
        for nodes in [2, 3] {
            for [b_first, again, away] in (0..8).map(|number| [1, 2, 4].map(|bit| number & bit != 0)) {
                let what = format!("{policy} among {nodes}, b first: {b_first}, a again: {again}, b away: {away}");
                let cluster = Cluster::new(nodes, &[(1, 1)]);
                let sync = || cluster.block(cluster.session(policy, 10).sync());
                cluster.block(cluster.session(policy, 10).install()).unwrap();
                let write = |at: usize, value: i64| {
                    time::pass(2_000_000);
                    assert!(cluster.databases[at].lock().write(1, Some(value), false));
                };
                cluster.databases[0].lock().unreadable = Some(9);
                for at in if b_first { [1, 0] } else { [0, 1] } {
                    write(at, [9, 5][at]);
                }
                (0..2).for_each(|_| drop(sync().unwrap()));
                assert_eq!(cluster.databases[1].lock().rows[&1], 5, "{what}");
                cluster.databases[0].lock().unreadable = None;
                if again {
                    write(0, 7);
                }
                if away {
                    cluster.databases[1].lock().up = false;
                    (0..2).for_each(|_| drop(sync()));
                    cluster.databases[1].lock().up = true;
                }
                (0..2).for_each(|_| drop(sync().unwrap()));
                let a_wins = match policy {
                    "\"latest-wins\"" => again || b_first,
                    "\"earliest-wins\"" => !again && !b_first,
                    policy => policy == A,
                };
                let own = if again { 7 } else { 9 };
                let (won, lost) = if a_wins { (own, 5) } else { (5, own) };
                assert_eq!(cluster.rows(), vec![vec![(1, won)]; nodes], "{what}");
                for database in &cluster.databases {
                    let state = database.lock();
                    assert!(state.parked.is_empty(), "{what}");
                    let told = |row: &[Value]| row[1] == Value::Int(lost);
                    let told = state.journal.iter().any(|one| one.loser_row.as_deref().is_some_and(|row| told(row)));
                    assert!(told, "{what}: {:?}", state.journal);
                }
            }
        }
    }
}

/// GIVEN a node that took a change of another and waits for what a third wrote, which cannot be read
/// WHEN the third corrects that
/// THEN what the first only took is not preferred as if it had written it, and lost once.
#[test]
fn what_a_node_only_took_does_not_count_as_its_own() {
    for policy in ["{ prefer = [\"c\", \"b\"] }", "\"latest-wins\""] {
        let cluster = Cluster::new(3, &[(1, 1)]);
        let sync = || cluster.block(cluster.session(policy, 10).sync()).unwrap();
        cluster.block(cluster.session(policy, 10).install()).unwrap();
        let write = |at: usize, value: i64| {
            time::pass(2_000_000);
            assert!(cluster.databases[at].lock().write(1, Some(value), false));
        };
        cluster.databases[1].lock().unreadable = Some(9);
        cluster.databases[1].lock().up = false;
        write(0, 5);
        sync();
        assert_eq!(cluster.databases[2].lock().rows[&1], 5);
        write(1, 9);
        cluster.databases[1].lock().up = true;
        (0..2).for_each(|_| drop(sync()));
        assert!(cluster.databases.iter().all(|database| database.lock().parked.len() == 1), "{policy}");
        write(1, 7);
        (0..2).for_each(|_| drop(sync()));
        assert_eq!(cluster.rows(), vec![[(1, 7)]; 3], "{policy}");
        let lost: BTreeSet<(u16, i64)> = cluster
            .databases
            .iter()
            .flat_map(|database| database.lock().journal.clone())
            .map(|lost| (lost.loser.0, memory::number(&lost.loser_row.unwrap()[1])))
            .collect();
        assert_eq!(lost, BTreeSet::from([(0, 5)]), "{policy}");
    }
}

/// What had been added before is not added once more, where it is still told of. The other node changes the row before that waits
/// there which cannot be read, or after.
#[test]
fn sums_of_what_cannot_be_read_are_whole() {
    const SUM: &str = "{ sum = [\"value\"] }";
    for after in [false, true] {
        let cluster = Cluster::new(2, &[(1, 100)]);
        let sync = || cluster.block(cluster.session(SUM, 10).sync()).unwrap();
        cluster.block(cluster.session(SUM, 10).install()).unwrap();
        let write = |at: usize, value: i64| assert!(cluster.databases[at].lock().write(1, Some(value), false));
        write(0, 105);
        let before = cluster.databases[0].lock().clone();
        sync();
        assert_eq!(cluster.databases[1].lock().rows[&1], 105);
        {
            // As where an engine ends before it purges.
            let mut state = cluster.databases[0].lock();
            (state.history, state.purged, state.kept) = (before.history, before.purged, before.kept);
            state.unreadable = Some(110);
        }
        write(0, 110);
        if after {
            sync();
            time::pass(2_000_000);
        }
        write(1, 108);
        (0..2).for_each(|_| drop(sync()));
        assert_eq!(cluster.databases[1].lock().parked.len(), 1);
        cluster.databases[0].lock().unreadable = None;
        (0..2).for_each(|_| drop(sync()));
        assert_eq!(cluster.rows(), [[(1, 113)], [(1, 113)]], "{after}");
    }
}

/// What a person has to decide stays undecided, whoever is away, and the person's word goes for all.
#[test]
fn what_a_person_has_to_decide_is_not_decided_by_absence() {
    // The second row of a person's choice is on no side of the conflict.
    for (at, wins, loses) in [(1, 5, vec![9]), (2, 1, vec![5, 9])] {
        for away in [vec![0], vec![1], vec![0, 1]] {
            let cluster = Cluster::new(4, &[(1, 1)]);
            let sync = || cluster.block(cluster.session("\"park\"", 10).sync()).unwrap();
            cluster.block(cluster.session("\"park\"", 10).install()).unwrap();
            for (at, value) in [(0, 9), (1, 5)] {
                time::pass(2_000_000);
                assert!(cluster.databases[at].lock().write(1, Some(value), false));
            }
            (0..2).for_each(|_| drop(sync()));
            for up in [false, true] {
                away.iter().for_each(|at: &usize| cluster.databases[*at].lock().up = up);
                (0..2).for_each(|_| drop(sync()));
                assert_eq!(cluster.rows(), [[(1, 9)], [(1, 5)], [(1, 1)], [(1, 1)]], "{away:?}, there: {up}");
            }
            let dropped = cluster.block(cluster.session("\"park\"", 10).drop_parked(|row| row.node == NAMES[at]));
            assert_eq!(dropped.unwrap().len(), 1);
            sync();
            assert_eq!(cluster.rows(), vec![[(1, wins)]; 4], "{away:?}");
            let state = cluster.databases[at].lock();
            let lost = state.journal.iter().map(|one| memory::number(&one.loser_row.clone().unwrap()[1]));
            let lost: BTreeSet<i64> = lost.collect();
            assert_eq!((lost, state.journal.len()), (loses.iter().copied().collect(), loses.len()));
            assert!(state.parked.is_empty());
        }
    }
}

/// Where rows are not made by Concord, whoever deleted one still has a say when there is no entry of it left.
#[test]
fn a_delete_is_weighed_against_what_could_not_be_read() {
    for operations in ["[\"update\", \"delete\"]", "[\"update\"]", "[\"delete\"]"] {
        for (policy, deleted) in [(A, true), (B, false)] {
            let what = format!("{operations}, {policy}");
            let cluster = Cluster::new(2, &[(1, 1)]);
            let settings = format!("{policy}\noperations = {operations}");
            let sync = || cluster.block(cluster.session(&settings, 10).sync()).unwrap();
            cluster.block(cluster.session(&settings, 10).install()).unwrap();
            cluster.databases[1].lock().unreadable = Some(9);
            for (at, value) in [(0, None), (1, Some(9))] {
                time::pass(2_000_000);
                assert!(cluster.databases[at].lock().write(1, value, false), "{what}");
            }
            sync();
            assert!(cluster.databases.iter().all(|database| database.lock().history.is_empty()), "{what}");
            assert_eq!(cluster.databases[0].lock().parked.len(), 1, "{what}");
            cluster.databases[1].lock().unreadable = None;
            (0..2).for_each(|_| drop(sync()));
            assert!(cluster.databases.iter().all(|database| database.lock().parked.is_empty()), "{what}");
            let stays = !deleted || !operations.contains("delete");
            assert_eq!(cluster.rows(), [vec![], if stays { vec![(1, 9)] } else { vec![] }], "{what}");
        }
    }
}

/// What nobody can read is given up as that, and not as if it had been deleted.
#[test]
fn what_is_given_up_unread_is_told() {
    for away in [false, true] {
        let policy = if away { "\"park\"" } else { "\"latest-wins\"" };
        let cluster = Cluster::new(3, &[(1, 1)]);
        let sync = || cluster.block(cluster.session(policy, 10).sync()).unwrap();
        cluster.block(cluster.session(policy, 10).install()).unwrap();
        if !away {
            cluster.databases[0].lock().unreadable = Some(9);
        }
        for (at, value) in [(0, 9), (1, 5), (2, 7)] {
            time::pass(2_000_000);
            assert!(cluster.databases[at].lock().write(1, Some(value), false));
        }
        (0..2).for_each(|_| drop(sync()));
        cluster.databases[0].lock().up = !away;
        let dropped = cluster.block(cluster.session(policy, 10).drop_parked(|row| row.node == "b")).unwrap();
        assert_eq!(dropped.len(), 1);
        {
            let mut state = cluster.databases[0].lock();
            (state.up, state.unreadable) = (true, None);
        }
        sync();
        assert_eq!(cluster.rows(), vec![[(1, 5)]; 3]);
        let state = cluster.databases[1].lock();
        let told =
            state.journal.iter().map(|lost| (lost.loser.0, lost.loser_row.is_some(), lost.reason.contains("unread")));
        assert_eq!(told.collect::<BTreeSet<_>>(), BTreeSet::from([(0, false, true), (2, true, false)]), "{away}");
        assert_eq!(state.journal.len(), 2, "{away}");
    }
}

/// Of a version that waits at one node and whose own node is away, the journal keeps what waits, and not what stands beside it.
#[test]
fn what_waits_elsewhere_is_kept_where_it_is_given_up() {
    let cluster = Cluster::new(3, &[(1, 1)]);
    let sync = || cluster.block(cluster.session("\"park\"", 10).sync());
    cluster.block(cluster.session("\"park\"", 10).install()).unwrap();
    let only_away = |away: usize| {
        cluster.databases.iter().enumerate().for_each(|(at, database)| database.lock().up = at != away);
    };
    cluster.databases[2].lock().refuses = Some(5);
    for (at, value) in [(1, 5), (0, 9)] {
        time::pass(2_000_000);
        assert!(cluster.databases[at].lock().write(1, Some(value), false));
    }
    for away in [0, 2] {
        only_away(away);
        drop(sync());
    }
    only_away(1);
    let dropped = cluster.block(cluster.session("\"park\"", 10).drop_parked(|row| row.node == "a")).unwrap();
    assert_eq!(dropped.len(), 1);
    only_away(usize::MAX);
    (0..2).for_each(|_| drop(sync().unwrap()));
    assert_eq!(cluster.rows(), [[(1, 9)], [(1, 9)], [(1, 9)]]);
    let state = cluster.databases[0].lock();
    let told =
        state.journal.iter().map(|one| (one.loser.0, one.loser_row.as_deref().map(|row| memory::number(&row[1]))));
    assert_eq!(told.collect::<Vec<_>>(), [(1, Some(5))]);
}

/// A row that one node has and cannot be read is no row that is missing there, and what the others have is told.
#[test]
fn why_goes_by_a_row_that_was_read() {
    for unreadable in [vec![0], vec![1], vec![0, 2], vec![0, 1, 2]] {
        let cluster = Cluster::new(3, &[(1, 5)]);
        cluster.block(cluster.session(A, 10).install()).unwrap();
        for &at in &unreadable {
            cluster.databases[at].lock().unreadable = Some(5);
        }
        let told = cluster.block(cluster.session(A, 10).why("t", &["1".to_owned()])).unwrap();
        let state = |at| if unreadable.contains(&at) { WhyState::Unreadable } else { WhyState::Current };
        let states: Vec<WhyState> = told.nodes.iter().map(|node| node.state).collect();
        assert_eq!(states, [0, 1, 2].map(state), "{told:?}");
        let [version] = &told.versions[..] else { panic!("{told:?}") };
        assert_eq!((version.unread, version.row.is_none()), (unreadable.len() == 3, unreadable.len() == 3), "{told:?}");
        for node in told.nodes.iter().filter(|node| node.state == WhyState::Unreadable) {
            assert!(node.reason.as_deref().is_some_and(|why| why.starts_with("the row cannot be read: ")), "{told:?}");
        }
        assert_eq!(told.exit_code(), 1);
    }
}
