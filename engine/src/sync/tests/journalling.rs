//! What loses a conflict is in a journal, whatever fails between the commits of two nodes.

use std::collections::BTreeSet;

use super::super::memory::number;
use super::*;

/// What goes wrong at one node in the sync that decides.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// The connection breaks at this call.
    Breaks(u32),
    /// It will not take this value.
    Refuses(i64),
}

/// Every node changes the same row, and one of them has trouble. What stands then, and what the journals have.
fn outcome(policy: &str, count: usize, node: usize, trouble: Trouble) -> (i64, BTreeSet<i64>) {
    let cluster = Cluster::new(count, &[(1, 1)]);
    cluster.block(cluster.session(policy, 10).install()).unwrap();
    cluster.block(cluster.session(policy, 10).sync()).unwrap();
    for (at, database) in cluster.databases.iter().enumerate() {
        time::pass(2_000_000);
        assert!(database.lock().write(1, Some(10 + at as i64), false));
    }
    {
        let mut state = cluster.databases[node].lock();
        match trouble {
            Trouble::Breaks(fuse) => state.fuse = Some(fuse),
            Trouble::Refuses(value) => state.refuses = Some(value),
        }
    }
    // Whatever it says: it may have lost the node at once.
    let _ended = cluster.block(cluster.session(policy, 10).sync());
    {
        let mut state = cluster.databases[node].lock();
        state.fuse = None;
        state.refuses = None;
    }
    cluster.block(cluster.session(policy, 10).sync()).unwrap();
    let rows = cluster.rows();
    assert!(rows.iter().all(|row| *row == rows[0]), "{rows:?}");
    let journals = cluster.databases.iter().flat_map(|database| database.lock().journal.clone());
    let lost = journals.filter_map(|lost| lost.loser_row.as_deref().map(|row| number(&row[1]))).collect();
    (rows[0][0].1, lost)
}

#[test]
fn what_loses_is_kept_whatever_fails_meanwhile() {
    for policy in ["\"latest-wins\"", "\"earliest-wins\"", "{ prefer = [\"b\"] }"] {
        for (count, node) in [(2, 0), (2, 1), (3, 0), (3, 1), (3, 2)] {
            let values = 10..10 + count as i64;
            let troubles = (0..40).map(Trouble::Breaks).chain(values.clone().map(Trouble::Refuses));
            for trouble in troubles {
                let (won, kept) = outcome(policy, count, node, trouble);
                let lost: BTreeSet<i64> = values.clone().filter(|value| *value != won).collect();
                assert_eq!(kept, lost, "{policy} of {count}, {node} {trouble:?}: {won} stands");
            }
        }
    }
}
