//! Clocks that are wrong, and decisions that differ because of them.

use super::cluster::{Cluster, later};
use crate::model::time;

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

/// GIVEN a server that times changes by another clock than its own, as MariaDB does after a suspend
/// WHEN that is far off, or less than the file lets clocks be
/// THEN it is told so where it is far off, and with what to do, in the place of that its clock is off; and it is left out only as any
/// other is.
#[test]
fn a_server_that_times_changes_by_another_clock_is_told() {
    let cluster = Cluster::new(3, &[(1, 0)]);
    let session = |on_skew: &str| {
        let defaults = format!("max_skew = \"5s\"\non_skew = \"{on_skew}\"");
        cluster.session_with(&defaults, "\"latest-wins\"", 10)
    };
    cluster.block(session("stop").install()).unwrap();
    let told = |micros: i64, on_skew: &str| {
        {
            let mut state = cluster.databases[1].lock();
            (state.skew, state.strays) = (micros, micros);
        }
        let away: Vec<String> =
            cluster.block(session(on_skew).sync()).unwrap().away.into_iter().map(|away| away.why).collect();
        (away, cluster.block(session(on_skew).status()).unwrap().problems)
    };
    let (away, problems) = told(-28_800_000_000, "stop");
    assert!(away.len() == 1 && away[0].starts_with("its UUID(), ") && away[0].contains("by -28800.0 s"), "{away:?}");
    assert!(away[0].contains("a restart of the server") && problems.is_empty(), "{away:?} {problems:?}");
    for (micros, on_skew) in [(-28_800_000_000, "warn"), (6_000_000, "warn")] {
        let (away, problems) = told(micros, on_skew);
        assert!(away.is_empty() && problems.len() == 1, "{away:?} {problems:?}");
        assert!(problems[0].starts_with("node `b`: its UUID(), "), "{problems:?}");
    }
    for micros in [2_000_000, 100_000] {
        assert_eq!(told(micros, "stop"), (Vec::new(), Vec::new()), "{micros}");
    }
    // Its own clock is off.
    cluster.databases[1].lock().strays = 0;
    cluster.databases[1].lock().skew = -60_000_000;
    let away = cluster.block(session("stop").sync()).unwrap().away;
    assert!(away.len() == 1 && away[0].why.starts_with("its clock is off by -60.0 s"), "{away:?}");
}

/// A machine that comes up with a clock far ahead forgets nothing that the nodes' clocks call young.
#[test]
fn a_clock_that_is_ahead_empties_no_journal() {
    const YEAR: i64 = 365 * 86_400_000_000;
    let cluster = Cluster::new(2, &[(1, 0)]);
    let sync = || {
        let defaults = "max_skew = \"1h\"\njournal = \"30d\"";
        cluster.block(cluster.session_with(defaults, "\"latest-wins\"", 10).sync()).unwrap();
        cluster.databases.iter().map(|database| database.lock().journal.len()).sum::<usize>()
    };
    let turn = |skew| cluster.databases.iter().for_each(|database| database.lock().skew = skew);
    cluster.block(cluster.session("\"latest-wins\"", 10).install()).unwrap();
    cluster.databases[0].lock().write(1, Some(7), false);
    later();
    cluster.databases[1].lock().write(1, Some(8), false);
    let kept = sync();
    assert!(kept > 0);
    time::pass(YEAR);
    turn(-YEAR);
    assert_eq!(sync(), kept);
    // A year has passed for everybody.
    turn(0);
    assert_eq!(sync(), 0);
}
