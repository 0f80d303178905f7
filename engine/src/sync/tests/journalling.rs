//! What loses a conflict is in a journal, whatever fails between the commits of two nodes.

use std::collections::BTreeSet;

use serde_json::json;

use super::cluster::Cluster;
use super::files;
use crate::model::time;
use crate::sync::Remedy;
use crate::sync::memory::number;

/// What goes wrong at one node in the sync that decides.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// The connection breaks at this call.
    Breaks(u32),
    /// It will not take this value.
    Refuses(i64),
    /// Its user changes the row after it was read, and the connections of all others break at this call.
    IsAlone(u32),
    /// Its user has locked the row and lets it go again, and the connections of all others break at this call.
    IsHeld(u32),
}

/// How many nodes, which of them has trouble, and how many entries are read at once.
const RUNS: [(usize, usize, usize); 10] =
    [(2, 0, 10), (2, 1, 10), (3, 0, 10), (3, 1, 10), (3, 2, 10), (2, 0, 1), (2, 1, 1), (3, 0, 1), (3, 1, 1), (3, 2, 1)];

/// What a user writes who was not read.
const MEANWHILE: i64 = 99;

/// Every node changes the same row, and one of them has trouble. What stands then, and what the journals have.
fn outcome(policy: &str, count: usize, node: usize, trouble: Trouble, page: usize) -> (i64, BTreeSet<i64>) {
    let cluster = Cluster::new(count, &[(1, 1), (2, 1)]);
    cluster.block(cluster.session(policy, page).install()).unwrap();
    cluster.block(cluster.session(policy, page).sync()).unwrap();
    for (at, database) in cluster.databases.iter().enumerate() {
        time::pass(2_000_000);
        // With small pages what follows is not on the first.
        assert!(database.lock().write(2, Some(1), false));
        assert!(database.lock().write(1, Some(10 + at as i64), false));
    }
    match trouble {
        Trouble::Breaks(fuse) => cluster.databases[node].lock().fuse = Some(fuse),
        Trouble::Refuses(value) => cluster.databases[node].lock().refuses = Some(value),
        Trouble::IsAlone(_) => {
            let mut state = cluster.databases[node].lock();
            let before = state.clone();
            state.shown.push_back(Some(before));
            time::pass(2_000_000);
            assert!(state.write(1, Some(MEANWHILE), false));
        }
        Trouble::IsHeld(_) => assert!(cluster.databases[node].lock().write(1, Some(MEANWHILE), true)),
    }
    if let Trouble::IsAlone(fuse) | Trouble::IsHeld(fuse) = trouble {
        let others = cluster.databases.iter().enumerate().filter(|(at, _)| *at != node);
        others.for_each(|(_, database)| database.lock().fuse = Some(fuse));
    }
    // Whatever it says: it may have lost the node at once.
    let _ended = cluster.block(cluster.session(policy, page).sync());
    for database in &cluster.databases {
        let mut state = database.lock();
        state.fuse = None;
        state.refuses = None;
        state.shown.clear();
        state.open.clear();
    }
    cluster.block(cluster.session(policy, page).sync()).unwrap();
    let rows = cluster.rows();
    assert!(rows.iter().all(|row| *row == rows[0]), "{rows:?}");
    let journals = cluster.databases.iter().flat_map(|database| database.lock().journal.clone());
    let lost = journals.filter_map(|lost| lost.loser_row.as_deref().map(|row| number(&row[1]))).collect();
    (rows[0][0].1, lost)
}

#[test]
fn what_loses_is_kept_whatever_fails_meanwhile() {
    for policy in ["\"latest-wins\"", "\"earliest-wins\"", "{ prefer = [\"b\"] }"] {
        for (count, node, page) in RUNS {
            let values = 10..10 + count as i64;
            let troubles = (0..40).map(Trouble::Breaks).chain(values.clone().map(Trouble::Refuses));
            for trouble in troubles {
                let (won, kept) = outcome(policy, count, node, trouble, page);
                let lost: BTreeSet<i64> = values.clone().filter(|value| *value != won).collect();
                assert_eq!(kept, lost, "{policy} of {count}, {node} {trouble:?}: {won} stands");
            }
        }
    }
}

#[test]
fn what_loses_is_kept_where_only_a_node_commits_that_a_user_has_changed() {
    for policy in ["\"latest-wins\"", "\"earliest-wins\"", "{ prefer = [\"b\"] }"] {
        for (count, node, page) in RUNS {
            for trouble in (0..40).map(Trouble::IsAlone) {
                let (won, kept) = outcome(policy, count, node, trouble, page);
                // Its user has replaced what stood there.
                let replaced = 10 + node as i64;
                let values = (10..10 + count as i64).chain([MEANWHILE]);
                let lost: BTreeSet<i64> = values.filter(|value| *value != won && *value != replaced).collect();
                let kept: BTreeSet<i64> = kept.into_iter().filter(|value| *value != replaced).collect();
                assert_eq!(kept, lost, "{policy} of {count}, {node} {trouble:?}: {won} stands");
            }
        }
    }
}

/// What waits there then has won against what stands there, and nothing else tells of that.
#[test]
fn what_loses_is_kept_where_only_a_node_commits_that_a_user_has_locked() {
    for policy in ["\"latest-wins\"", "\"earliest-wins\"", "{ prefer = [\"b\"] }"] {
        for (count, node, page) in RUNS {
            for trouble in (0..40).map(Trouble::IsHeld) {
                let (won, kept) = outcome(policy, count, node, trouble, page);
                let lost: BTreeSet<i64> = (10..10 + count as i64).filter(|value| *value != won).collect();
                assert_eq!(kept, lost, "{policy} of {count}, {node} {trouble:?}: {won} stands");
            }
        }
    }
}

/// GIVEN a conflict from before the table had the key that it has now
/// WHEN conflicts are listed, or it is asked for
/// THEN it is told as it was kept, and cannot be overturned.
#[tokio::test]
async fn a_conflict_under_a_former_key_is_told() {
    let (_folder, databases, mut session) = files::two("CREATE TABLE t (id INTEGER PRIMARY KEY)", "[tables.t]\n");
    session.install().await.expect("nothing is wrong");
    let written = "INSERT INTO concord_journal VALUES
        ('1-abc', 't', '[7, \"x\"]', 4102444800000000, 'a', 2, NULL, 'b', 1, NULL, 'latest-wins', NULL)";
    databases[1].execute(written, []).expect("the journal is there");
    let told = session.conflicts(0).await.expect("both are there");
    assert_eq!(told.iter().map(|one| (&*one.id, &one.key)).collect::<Vec<_>>(), [("1-abc", &json!([7, "x"]))]);
    assert_eq!(session.conflicts_called("1-a").await.expect("both are there").len(), 1);
    let status = session.status().await.expect("both are there");
    assert_eq!(status.nodes.iter().map(|node| node.conflicts).sum::<u64>(), 1);
    let refused = Box::pin(session.resolve("1-abc", &Remedy::Undo, true)).await.expect_err("no such row can be");
    assert!(refused.to_string().contains("under a key that the table had before"), "{refused}");
}
