//! When a sync ends, and what it says of what it could not do.

use super::cluster::Cluster;
use crate::sync::early::FEW;

/// A sync that users keep busy ends all the same, and says what it could not write.
#[test]
fn a_row_that_is_held_to_the_end_of_a_busy_sync_is_told() {
    let cluster = Cluster::new(2, &[(1, 1), (2, 1)]);
    cluster.block(cluster.session("\"latest-wins\"", 10).install()).unwrap();
    cluster.databases[0].lock().write(1, Some(2), false);
    cluster.databases[1].lock().write(1, Some(3), true);
    let mut session = cluster.session("\"latest-wins\"", 1000);
    let writing = async {
        for value in 2.. {
            cluster.databases[0].lock().write(2, Some(value), false);
            tokio::task::yield_now().await;
        }
    };
    let summary = cluster.block(async {
        tokio::select! { summary = session.sync() => summary.unwrap(), () = writing => unreachable!() }
    });
    assert_eq!((summary.cycles, summary.held, summary.exit_code()), (5, 1, crate::error::UNREACHABLE), "{summary:?}");
    cluster.databases[1].lock().commit(0);
    assert_eq!(cluster.block(session.sync()).unwrap().exit_code(), crate::error::DONE);
}

/// Users who write faster than pages are read do not keep a sync from its end, and what was there at its beginning has arrived.
#[test]
fn a_sync_ends_although_users_write_faster_than_it_reads() {
    let rows: Vec<(i64, i64)> = (1..30).map(|id| (id, 1)).collect();
    let cluster = Cluster::new(2, &rows);
    cluster.block(cluster.session("\"latest-wins\"", 50).install()).unwrap();
    (1..20).for_each(|id| assert!(cluster.databases[0].lock().write(id, Some(2), false)));
    let mut session = cluster.session("\"latest-wins\"", 50);
    let writing = async {
        for value in 3..5_000 {
            (20..30).for_each(|id| _ = cluster.databases[0].lock().write(id, Some(value), false));
            tokio::task::yield_now().await;
        }
    };
    let summary = cluster.block(async {
        tokio::select! { summary = session.sync() => summary.unwrap(), () = writing => panic!("it goes on") }
    });
    assert_eq!(summary.exit_code(), crate::error::DONE, "{summary:?}");
    let arrived = cluster.databases[1].lock().rows.range(..20).all(|(_, value)| *value == 2);
    assert!(arrived && !cluster.databases[0].lock().history.is_empty());
}

/// GIVEN a node that can be read and not be written
/// WHEN more has been changed than a cycle reads
/// THEN the others get all of it, and the node, which is named, gets it when it can be written again.
#[test]
fn who_cannot_be_written_keeps_nobody_from_going_on() {
    // Also where rows are written early, and entries deleted meanwhile.
    for few in [FEW, 1] {
        let mut cluster = Cluster::new(3, &[]);
        cluster.few = few;
        let mut session = cluster.session("\"latest-wins\"", 10);
        cluster.block(session.install()).unwrap();
        (0..100).for_each(|id| assert!(cluster.databases[0].lock().write(id, Some(id), false)));
        cluster.databases[2].lock().full = true;
        let summary = cluster.block(session.sync()).unwrap();
        let told = format!("{:?} {:?}", summary.away, summary.failed);
        assert!(told.contains("there is no room") && summary.exit_code() != crate::error::DONE, "{told}");
        assert_eq!(cluster.rows().iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 0]);
        cluster.databases[2].lock().full = false;
        let summary = cluster.block(cluster.session("\"latest-wins\"", 10).sync()).unwrap();
        assert_eq!((summary.exit_code(), cluster.rows()[2].len()), (crate::error::DONE, 100));
    }
}

/// A sync does not end while it is still finding out how many of them fit into the memory.
#[test]
fn rows_that_are_large_arrive_in_one_run() {
    let cluster = Cluster::new(2, &[]);
    cluster.block(cluster.session("\"latest-wins\"", 1000).install()).unwrap();
    for id in 0..40 {
        assert!(cluster.databases[0].lock().write(id, Some(id), false));
    }
    let mut session = cluster.session("\"latest-wins\"", 1000);
    session.rows_limit = 150;
    cluster.block(session.sync()).unwrap();
    assert_eq!(cluster.rows()[1].len(), 40);
}

/// Once it is known how large they are, no more are read than fit.
#[test]
fn large_rows_are_not_read_in_vain_again_and_again() {
    let cluster = Cluster::new(2, &[]);
    cluster.block(cluster.session("\"latest-wins\"", 1000).install()).unwrap();
    (0..400).for_each(|id| assert!(cluster.databases[0].lock().write(id, Some(id), false)));
    let mut session = cluster.session("\"latest-wins\"", 1000);
    session.rows_limit = 1500;
    let mut in_vain = 0;
    loop {
        let cycle = cluster.block(session.cycle()).unwrap();
        in_vain += u32::from(cycle.more && !cycle.wrote);
        if cycle.is_quiet() {
            break;
        }
    }
    assert_eq!((in_vain, cluster.rows()[1].len()), (1, 400));
}
