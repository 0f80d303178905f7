//! Two engines at work on one sync, of which neither knows what the other has just done.

use super::cluster::Cluster;
use crate::model::{Cut, time};
use crate::node::Move;
use crate::node::apply::early::Early;
use crate::node::apply::{Batch, Place, apply};
use crate::sync::memory;

/// What waits is given up by an engine that one node is away from, while another engine has brought something newer from there.
#[test]
fn what_another_engine_has_brought_is_not_given_up_unseen() {
    let cluster = Cluster::new(3, &[(1, 1)]);
    cluster.block(cluster.session("\"latest-wins\"", 10).install()).unwrap();
    cluster.block(cluster.session("\"latest-wins\"", 10).sync()).unwrap();
    cluster.databases[2].lock().refuses = Some(7);
    let waits_after_a_change_at = |at: usize| {
        time::pass(2_000_000);
        assert!(cluster.databases[at].lock().write(1, Some(7), false));
        cluster.block(cluster.session("\"latest-wins\"", 10).sync()).unwrap();
        cluster.databases[2].lock().parked[&1].clone()
    };
    let first = waits_after_a_change_at(0);
    let before = [0, 2].map(|at: usize| cluster.databases[at].lock().clone());
    cluster.databases[0].lock().up = false;
    let second = waits_after_a_change_at(1);
    assert_ne!(first.vector, second.vector);
    (cluster.databases[0].lock().up, cluster.databases[1].lock().up) = (true, false);
    for (at, state) in [0, 2].into_iter().zip(before) {
        cluster.databases[at].lock().shown.push_back(Some(state));
    }
    let given_up = cluster.block(cluster.session("\"latest-wins\"", 10).drop_parked(|_| true));
    assert!(matches!(given_up, Err(crate::error::Error::Stopped(_))), "{given_up:?}");
    assert_eq!(cluster.databases[2].lock().parked[&1].vector, second.vector);
}

/// Two engines leave a row to the next cycle, each at one node and without knowing of the other's change. Both changes count.
#[test]
fn sums_of_what_two_engines_put_off_are_whole() {
    const SUM: &str = "{ sum = [\"value\"] }";
    let cluster = Cluster::new(2, &[(1, 100)]);
    cluster.block(cluster.session(SUM, 10).install()).unwrap();
    cluster.block(cluster.session(SUM, 10).sync()).unwrap();
    let change = |at: usize, value: i64| {
        time::pass(2_000_000);
        let mut state = cluster.databases[at].lock();
        let before = state.clone();
        assert!(state.write(1, Some(value), false));
        before
    };
    let a_before = change(0, 105);
    let b_before = change(1, 107);
    let b_after = cluster.databases[1].lock().clone();
    // The first has read what a wrote and not what b did, the second the other way round; both before either wrote anything.
    for (a, b) in [(None, b_before), (Some(a_before), b_after)] {
        cluster.databases[0].lock().shown.push_back(a);
        cluster.databases[1].lock().shown.push_back(Some(b));
        cluster.block(cluster.session(SUM, 10).cycle()).unwrap();
    }
    assert!(cluster.databases.iter().all(|database| database.lock().parked.len() == 1));
    cluster.block(cluster.session(SUM, 10).sync()).unwrap();
    assert_eq!(cluster.rows(), [[(1, 112)], [(1, 112)]]);
}

/// A cluster of two that prefers the first node, whose change waits at the second, and the second's state as an engine sees it
/// that is about to write it there.
fn waits_at_the_second() -> (Cluster, memory::State) {
    let cluster = Cluster::new(2, &[(1, 100)]);
    cluster.block(cluster.session(PREFER, 10).install()).unwrap();
    cluster.databases[1].lock().refuses = Some(105);
    assert!(cluster.databases[0].lock().write(1, Some(105), false));
    cluster.block(cluster.session(PREFER, 10).sync()).unwrap();
    let mut state = cluster.databases[1].lock();
    state.refuses = None;
    let seen = state.clone();
    assert_eq!((seen.rows[&1], seen.parked.len()), (100, 1));
    drop(state);
    (cluster, seen)
}

const PREFER: &str = "{ prefer = [\"a\"] }";

/// What waited was written by another engine, and a user has changed it since: it does not wait again as if nobody had seen it.
#[test]
fn what_another_engine_wrote_does_not_wait_again() {
    let (cluster, seen) = waits_at_the_second();
    cluster.block(cluster.session(PREFER, 10).sync()).unwrap();
    assert!(cluster.databases[1].lock().write(1, Some(112), false));
    cluster.databases[1].lock().shown.push_back(Some(seen));
    let cycle = cluster.block(cluster.session(PREFER, 10).cycle()).unwrap();
    assert!(cycle.overtaken && cluster.databases[1].lock().parked.is_empty(), "{cycle:?}");
    cluster.block(cluster.session(PREFER, 10).sync()).unwrap();
    assert_eq!(cluster.rows(), [[(1, 112)], [(1, 112)]]);
}

/// What was given up neither waits again nor is written by an engine that has not seen that.
#[test]
fn what_was_given_up_does_not_come_back() {
    let (cluster, seen) = waits_at_the_second();
    assert_eq!(cluster.block(cluster.session(PREFER, 10).drop_parked(|_| true)).unwrap().len(), 1);
    cluster.databases[1].lock().shown.push_back(Some(seen));
    let cycle = cluster.block(cluster.session(PREFER, 10).cycle()).unwrap();
    assert!(cycle.overtaken, "{cycle:?}");
    cluster.block(cluster.session(PREFER, 10).sync()).unwrap();
    assert_eq!(cluster.rows(), [[(1, 100)], [(1, 100)]]);
}

/// What another engine has written, or given up, a moment ago is not said to have been given up.
#[test]
fn what_no_longer_waits_is_not_given_up() {
    for dropped in [false, true] {
        let (cluster, seen) = waits_at_the_second();
        match dropped {
            true => drop(cluster.block(cluster.session(PREFER, 10).drop_parked(|_| true)).unwrap()),
            false => drop(cluster.block(cluster.session(PREFER, 10).sync()).unwrap()),
        }
        cluster.databases[1].lock().shown.push_back(Some(seen));
        let given_up = cluster.block(cluster.session(PREFER, 10).drop_parked(|_| true));
        assert!(matches!(given_up, Err(crate::error::Error::Stopped(_))), "{given_up:?}");
        cluster.block(cluster.session(PREFER, 10).sync()).unwrap();
        let expected = if dropped { 100 } else { 105 };
        assert_eq!(cluster.rows(), [[(1, expected)], [(1, expected)]]);
    }
}

/// A cluster of two with a conflict that two engines decide differently, as each has measured another error of a's clock: for the
/// first, a's change is a second later, for the second, a second earlier.
fn measured_differently() -> (Cluster, [memory::State; 2]) {
    let cluster = Cluster::new(2, &[(1, 100)]);
    cluster.block(cluster.session("\"latest-wins\"", 10).install()).unwrap();
    cluster.block(cluster.session("\"latest-wins\"", 10).sync()).unwrap();
    assert!(cluster.databases[1].lock().write(1, Some(107), false));
    time::pass(1_000_000);
    assert!(cluster.databases[0].lock().write(1, Some(105), false));
    let mut seen = [0, 1].map(|at: usize| cluster.databases[at].lock().clone());
    seen[0].skew = 2_000_000;
    (cluster, seen)
}

/// One engine's outcome is everybody's, whichever of two engines is the faster at which node.
#[test]
fn a_conflict_is_not_decided_by_another_engine_at_each_node() {
    let (cluster, seen) = measured_differently();
    // What the first decided was taken at a, and not yet at b.
    cluster.databases[1].lock().changing = true;
    cluster.block(cluster.session("\"latest-wins\"", 10).cycle()).unwrap();
    cluster.databases[1].lock().changing = false;
    assert_eq!(cluster.rows(), [[(1, 105)], [(1, 107)]]);
    for (database, seen) in cluster.databases.iter().zip(seen) {
        database.lock().shown.push_back(Some(seen));
    }
    let cycle = cluster.block(cluster.session("\"latest-wins\"", 10).cycle()).unwrap();
    assert!(cycle.overtaken && cycle.conflicts == 1, "{cycle:?}");
    cluster.block(cluster.session("\"latest-wins\"", 10).sync()).unwrap();
    assert_eq!(cluster.rows(), [[(1, 105)], [(1, 105)]]);
}

/// What waits is tried again without anything new: another engine may have brought something newer meanwhile.
#[test]
fn a_batch_that_moves_nothing_gives_way_too() {
    let cluster = Cluster::new(2, &[]);
    let mut node = cluster.databases[0].connect().unwrap();
    let stays = |cut: Cut| Move { table: "t".into(), source: "b".into(), from: cut.clone(), to: cut.into() };
    for (cut, overtaken) in [(Cut::START, false), (Cut::through(3), true)] {
        let batch = Batch { stays: vec![stays(cut)], ..Batch::default() };
        assert_eq!(
            cluster.block(apply(&mut *node, &batch, Place::default(), Early::Nothing)).unwrap().overtaken,
            overtaken
        );
    }
}
