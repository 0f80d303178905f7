//! When rows that wait are tried again.

use std::time::Duration;

use super::cluster::Cluster;
use crate::model::time;
use crate::sync::schedule::Schedule;
use crate::sync::session::Session;

/// A cluster of two with a row that the second refuses, and a session that has tried it once.
fn refused() -> (Cluster, Session) {
    let cluster = Cluster::new(2, &[(1, 1)]);
    cluster.block(cluster.session("\"latest-wins\"", 10).install()).unwrap();
    cluster.databases[1].lock().refuses = Some(7);
    cluster.databases[0].lock().write(2, Some(7), false);
    let mut session = cluster.session("\"latest-wins\"", 10);
    session.schedule = Schedule::by_the_clock(time::moment());
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
    session.schedule = Schedule::by_the_clock(time::moment());
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
