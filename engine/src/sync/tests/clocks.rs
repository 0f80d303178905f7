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
