//! When rows that wait are tried again.

use std::time::Duration;

use super::cluster::Cluster;
use crate::model::{ParkedCode, time};
use crate::sync::memory::SECOND;
use crate::sync::schedule::Schedule;
use crate::sync::session::Session;
use crate::sync::verify::Verify;

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

/// Where it counts what each change did, one row that nobody looks at has the histories grow everywhere.
#[test]
fn histories_that_are_kept_for_what_waits_are_told() {
    for (policy, told) in [("{ sum = [\"value\"] }", 1), ("\"latest-wins\"", 0)] {
        let cluster = Cluster::new(2, &[(1, 1)]);
        cluster.block(cluster.session(policy, 10).install()).unwrap();
        cluster.databases[1].lock().refuses = Some(7);
        cluster.databases[0].lock().write(2, Some(7), false);
        cluster.block(cluster.session(policy, 10).sync()).unwrap();
        let problems = cluster.block(cluster.session(policy, 10).status()).unwrap().problems;
        assert_eq!((problems.len(), cluster.databases[0].lock().history.len()), (told, told), "{problems:?}");
        let names = |problem: &String| problem.contains("concord parked list --table t");
        assert!(problems.iter().all(names), "{problems:?}");
        cluster.databases[1].lock().refuses = None;
        cluster.block(cluster.session(policy, 10).sync()).unwrap();
        assert_eq!(cluster.block(cluster.session(policy, 10).status()).unwrap().problems, [] as [&str; 0]);
    }
}

/// So has one that somebody holds, as a prepared transaction that was forgotten does. For a while that is nobody's business.
#[test]
fn histories_that_are_kept_for_what_is_held_are_told_after_a_while() {
    for (policy, told) in [("{ sum = [\"value\"] }", 1), ("\"latest-wins\"", 0)] {
        let cluster = Cluster::new(2, &[(1, 1)]);
        cluster.block(cluster.session(policy, 10).install()).unwrap();
        cluster.databases[1].lock().refuses = Some(7);
        cluster.databases[0].lock().write(2, Some(7), false);
        cluster.block(cluster.session(policy, 10).sync()).unwrap();
        let problems = |minutes: i64| {
            let mut state = cluster.databases[1].lock();
            let held = state.parked.get_mut(&2).unwrap();
            (held.code, held.since) = (ParkedCode::Busy, time::now() - minutes * 60_000_000);
            drop(state);
            cluster.block(cluster.session(policy, 10).status()).unwrap().problems
        };
        assert_eq!(problems(50), [] as [&str; 0]);
        let problems = problems(70);
        assert_eq!(problems.len(), told, "{problems:?}");
        assert!(problems.iter().all(|problem| problem.contains("cannot be written at b ")), "{problems:?}");
    }
}

/// It counts from when the row was held first, however often it is changed elsewhere meanwhile.
#[test]
fn what_is_held_is_told_although_it_is_changed_again() {
    let policy = "{ sum = [\"value\"] }";
    let cluster = Cluster::new(2, &[(1, 1)]);
    cluster.block(cluster.session(policy, 10).install()).unwrap();
    assert!(cluster.databases[1].lock().write(1, Some(9), true));
    for value in [2, 3] {
        assert!(cluster.databases[0].lock().write(1, Some(value), false));
        drop(cluster.block(cluster.session(policy, 10).sync()));
        assert_eq!(cluster.databases[1].lock().parked[&1].code, ParkedCode::Busy);
        time::pass(40 * 60_000_000);
    }
    let problems = cluster.block(cluster.session(policy, 10).status()).unwrap().problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("cannot be written at b "), "{problems:?}");
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

/// Their changes were passed where they are to go, and no person is asked about them: nothing else tells that they have not arrived, as
/// beside a transaction that somebody has prepared and forgotten.
#[test]
fn busy_rows_are_told_to_be_pending() {
    let cluster = Cluster::new(2, &[(1, 1)]);
    let session = || cluster.session("\"latest-wins\"", 10);
    let told = || {
        let tables = cluster.block(session().status()).unwrap().tables;
        let lines = tables.iter().filter(|line| line.table == "t");
        lines.map(|line| (line.pending, line.lacking.join(" "), line.lag.is_some(), line.parked)).collect::<Vec<_>>()
    };
    let (lacking, nothing) = ((1, "b".to_owned(), true, 0), (0, String::new(), false, 0));
    cluster.block(session().install()).unwrap();
    cluster.databases[0].lock().write(1, Some(2), false);
    cluster.databases[1].lock().write(1, Some(3), true);
    assert_eq!(told(), [lacking.clone(), nothing.clone()]);
    cluster.block(session().cycle()).unwrap();
    assert_eq!(cluster.databases[1].lock().parked.len(), 1);
    assert_eq!(told(), [lacking.clone(), nothing.clone()]);
    let verified = cluster.block(session().verify(&Verify::default())).unwrap();
    let found = &verified.tables[0];
    assert_eq!((found.differences, found.on_their_way, found.waiting), (0, 1, 0), "{found:?}");
    // Whoever made it may be away.
    cluster.databases[0].lock().up = false;
    assert_eq!(told(), [lacking]);
    cluster.databases[0].lock().up = true;
    cluster.databases[1].lock().commit(0);
    (0..2).for_each(|_| drop(cluster.block(session().sync()).unwrap()));
    assert_eq!(told(), [nothing.clone(), nothing]);
}

/// There may be any number of them, for months.
#[test]
fn the_rows_of_what_rests_are_not_read() {
    let (cluster, mut session) = refused();
    // Once it is due.
    session.schedule = Schedule::default();
    let read = || cluster.databases[1].lock().waiting_read;
    assert_eq!((tried(&cluster, &mut session), read()), ((1, 1), 1));
    assert_eq!((tried(&cluster, &mut session), read()), ((0, 1), 1));
    cluster.block(cluster.session("\"latest-wins\"", 10).status()).unwrap();
    cluster.databases[0].lock().write(1, Some(2), false);
    assert_eq!((tried(&cluster, &mut session), read()), ((1, 1), 1));
    // Whoever speaks of it has it weighed.
    cluster.databases[0].lock().write(2, Some(7), false);
    assert_eq!((tried(&cluster, &mut session), read()), ((1, 1), 2));
}

/// A cluster of two with forty rows that wait at the second, and a session with no room for more than a few.
fn forty(conflict: &str) -> (Cluster, Session) {
    let cluster = Cluster::new(2, &[(1, 1)]);
    cluster.block(cluster.session(conflict, 1000).install()).unwrap();
    cluster.databases[1].lock().refuses = Some(7);
    for id in 2..42 {
        cluster.databases[0].lock().write(id, Some(7), false);
    }
    assert_eq!(cluster.block(cluster.session(conflict, 1000).sync()).unwrap().waiting, 40);
    let mut session = cluster.session(conflict, 1000);
    session.rows_limit = 150;
    cluster.databases[1].lock().waiting_read = 0;
    (cluster, session)
}

/// What is due is tried in as many cycles as it takes, each with as much of it as there is memory for rows.
#[test]
fn of_what_waits_no_more_is_read_than_there_is_room_for() {
    let (cluster, mut session) = forty("\"latest-wins\"");
    for (read, more) in [(16, true), (32, true), (40, false), (40, false)] {
        let cycle = cluster.block(session.cycle()).unwrap();
        assert_eq!((cluster.databases[1].lock().waiting_read, cycle.more, cycle.waiting), (read, more, 40));
    }
    cluster.databases[1].lock().refuses = None;
    let mut session = cluster.session("\"latest-wins\"", 10);
    session.rows_limit = 150;
    let summary = cluster.block(session.sync()).unwrap();
    assert_eq!((summary.waiting, cluster.rows()[0] == cluster.rows()[1]), (0, true), "{summary:?}");
}

/// GIVEN some rows that a node refuses, or more than are each tried again
/// WHEN they were tried so often that pauses grow no more
/// THEN those of the many are shorter yet, as not each was come to each time.
#[test]
fn of_many_that_are_refused_some_are_spared() {
    for (rows, due) in [(100, false), (600, true)] {
        let cluster = Cluster::new(2, &[(1, 1)]);
        cluster.block(cluster.session("\"latest-wins\"", 1000).install()).unwrap();
        cluster.databases[1].lock().refuses = Some(7);
        for id in 2..rows + 2 {
            cluster.databases[0].lock().write(id, Some(7), false);
        }
        let mut session = cluster.session("\"latest-wins\"", 1000);
        session.schedule = Schedule::by_the_clock(time::moment());
        for _ in 0..9 {
            session.schedule.pass(Duration::from_secs(1_000));
            assert_eq!(tried(&cluster, &mut session).1, rows as u64);
        }
        // Half of the longest pause is more.
        session.schedule.pass(Duration::from_secs(110));
        assert_eq!(tried(&cluster, &mut session).0 > 0, due, "{rows}");
    }
}

/// GIVEN more rows that wait than there is room for, and users who change what these may depend on before each cycle, and other rows
/// WHEN each of them was tried
/// THEN no further cycle has to follow for them, so that a sync, or a part of a load, comes to its end.
#[test]
fn what_was_tried_and_is_due_once_more_has_no_other_cycle_follow() {
    let (cluster, mut session) = forty("\"latest-wins\"");
    session.schedule = Schedule::by_the_clock(time::moment());
    let mut told = Vec::new();
    for value in 12..20 {
        session.schedule.pass(Duration::from_secs(1_000));
        cluster.databases[0].lock().write(1, Some(value), false);
        let cycle = cluster.block(session.cycle()).unwrap();
        assert_eq!((cycle.waiting, cluster.databases[1].lock().rows.get(&1)), (40, Some(&value)));
        told.push((cycle.more, cycle.reached, cycle.leaves_due));
    }
    let (untried, tried) = ([(true, false, false), (true, false, true)], [(false, true, true); 6]);
    assert_eq!(told, [&untried[..], &tried[..]].concat());
}

/// Also where more waits than there is room for, and all of that is due.
#[test]
fn busy_rows_have_their_turn_in_every_cycle() {
    let (cluster, mut session) = forty("\"latest-wins\"");
    session.schedule = Schedule::by_the_clock(time::moment());
    cluster.databases[0].lock().write(1, Some(2), false);
    cluster.databases[1].lock().write(1, Some(3), true);
    for _ in 0..5 {
        session.schedule.pass(Duration::from_secs(1_000));
        assert_eq!(cluster.block(session.cycle()).unwrap().held, 1);
    }
    // The user changes his mind, of which no history tells.
    cluster.databases[1].lock().open.clear();
    session.schedule.pass(Duration::from_secs(1_000));
    cluster.block(session.cycle()).unwrap();
    assert_eq!(cluster.databases[1].lock().rows.get(&1), Some(&2));
}

/// GIVEN a user who holds more rows of the table that is looked at first than there is room for, and one of another that was held
/// WHEN somebody syncs, and there is no news
/// THEN that one arrives.
#[test]
fn held_rows_of_one_table_do_not_keep_those_of_others() {
    let cluster = Cluster::new(2, &[(1, 1)]);
    let session = || cluster.session("\"latest-wins\"", 1000);
    cluster.block(session().install()).unwrap();
    let many = |value: i64| (SECOND..SECOND + 200).map(|id| (id, Some(value))).collect::<Vec<_>>();
    assert!(cluster.databases[0].lock().write(1, Some(2), false));
    assert!(cluster.databases[0].lock().write_all(&many(2), false).is_some());
    assert!(cluster.databases[1].lock().write(1, Some(3), true));
    assert!(cluster.databases[1].lock().write_all(&many(3), true).is_some());
    assert_eq!(cluster.block(session().sync()).unwrap().held, 201);
    // He changes his mind about this one, of which no history tells.
    drop(cluster.databases[1].lock().open.remove(0));
    let mut later = session();
    later.rows_limit = 5_000;
    assert_eq!(cluster.block(later.sync()).unwrap().held, 200);
    assert_eq!(cluster.databases[1].lock().rows.get(&1), Some(&2));
}

/// GIVEN more rows that wait than there is room for
/// WHEN somebody changes all of them
/// THEN no more are read at once than there is room for, and all arrive.
#[test]
fn rows_that_wait_and_are_spoken_of_make_pages_smaller() {
    let (cluster, mut session) = forty("\"latest-wins\"");
    for id in 2..42 {
        cluster.databases[0].lock().write(id, Some(8), false);
    }
    for cycles in 0.. {
        assert!(cycles < 200, "it goes on");
        cluster.databases[1].lock().waiting_read = 0;
        let cycle = cluster.block(session.cycle()).unwrap();
        // Those that nobody speaks of are read beside them.
        let read = cluster.databases[1].lock().waiting_read;
        assert!(read < 40, "{read}");
        if cycle.is_quiet() {
            break;
        }
    }
    assert!(cluster.databases[1].lock().parked.is_empty());
    assert_eq!(cluster.rows()[0], cluster.rows()[1]);
}

/// Of such rows no page makes fewer.
#[test]
fn what_waits_and_nobody_speaks_of_keeps_no_page_small() {
    // With what waits is read what stands beside it.
    let (cluster, mut session) = forty("\"latest-wins\"\noperations = [\"insert\", \"delete\"]");
    session.page = 2;
    cluster.block(session.cycle()).unwrap();
    assert_eq!((cluster.databases[1].lock().waiting_read, session.page), (16, 4));
}
