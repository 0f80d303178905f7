//! Entries that everybody has passed, where a node goes while they are deleted, or has no room.

use std::time::Duration;

use super::cluster::Cluster;

const TABLE: &str = "\"latest-wins\"";

/// GIVEN a node that goes while a change of its users is carried and then deleted from its history, wherever that is
/// WHEN it is back after a cycle without it, and nothing is new
/// THEN the change is deleted there.
#[test]
fn who_goes_while_entries_are_deleted_keeps_none() {
    let mut went = 0;
    for calls in 0..60 {
        let cluster = Cluster::new(3, &[(1, 1)]);
        let mut session = cluster.session(TABLE, 10);
        cluster.block(session.install()).unwrap();
        let source = &cluster.databases[0];
        assert!(source.lock().write(1, Some(2), false));
        {
            let mut state = source.lock();
            (state.fuse, state.dies) = (Some(calls), true);
        }
        // It may fail or go on without the node.
        let _ = cluster.block(session.cycle());
        went += u32::from(!source.lock().up);
        let _ = cluster.block(session.cycle());
        {
            let mut state = source.lock();
            (state.fuse, state.up) = (None, true);
        }
        for _ in 0..4 {
            cluster.block(session.cycle()).unwrap();
        }
        let kept = source.lock().history.iter().filter(|entry| entry.arrival.is_none()).count();
        assert_eq!((kept, cluster.rows()[2].clone()), (0, vec![(1, 2)]), "after {calls} calls");
    }
    assert!(went > 0);
}

/// A purge that fails after its first write changes the pulse: nothing that a watch should hurry for.
#[test]
fn a_watch_rests_although_there_is_no_room_to_delete() {
    let cluster = Cluster::new(2, &[(1, 1)]);
    let mut session = cluster.session(TABLE, 10);
    cluster.block(session.install()).unwrap();
    cluster.databases[0].lock().crowded = true;
    assert!(cluster.databases[0].lock().write(1, Some(2), false));
    let mut cycles = 0;
    let watching = async {
        let stop = tokio::time::sleep(Duration::from_millis(700));
        session.watch(Duration::from_secs(60), stop, |_| cycles += 1).await
    };
    cluster.block(watching).unwrap();
    assert!((2..=5).contains(&cycles), "{cycles}");
    cluster.databases[0].lock().crowded = false;
    cluster.block(session.cycle()).unwrap();
    assert!(cluster.databases[0].lock().history.is_empty());
}
