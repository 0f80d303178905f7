//! Users who hold a whole file or table for long.

use std::time::{Duration, Instant};

use concord_tests::{As, Cluster, Kind, PATIENCE};

use super::{SUM, items};

const THREE: &[Kind] = &[Kind::Sqlite, Kind::Sqlite, Kind::Postgres];

/// GIVEN a user who holds the write lock of a file for long
/// WHEN the others have something for it and for each other
/// THEN they get theirs within seconds, the node is named with the reason, and gets its own when the lock is free.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_holds_the_write_lock_of_a_file() {
    let mut cluster = items(THREE, SUM).await;
    cluster.run(1, "UPDATE items SET amount = amount + 1 WHERE id = 1").await;
    let mut long = cluster.nodes[1].database.user().await;
    long.execute("BEGIN IMMEDIATE; UPDATE items SET amount = amount + 5 WHERE id = 2").await;
    for at in [0, 2] {
        cluster.run(at, "UPDATE items SET amount = amount + 10 WHERE id = 1").await;
    }
    let mut session = cluster.session();
    let start = Instant::now();
    let cycle = session.cycle().await.expect("all are there");
    assert!(start.elapsed() < Duration::from_secs(6), "the cycle took {:?}", start.elapsed());
    let failed = cycle.failed.expect("b did not take its part");
    assert!(failed.starts_with("node `b`: ") && failed.contains("another program holds the write lock"), "{failed}");
    assert_eq!(cycle.away, []);
    for at in [0, 2] {
        cluster.holds_at(at, "SELECT amount FROM items WHERE id = 1", &["31"]).await;
    }
    let summary = cluster.sync().await;
    assert_eq!((summary.exit_code(), summary.failed.as_deref()), (3, Some(&*failed)));
    long.execute("COMMIT").await;
    cluster.settle().await;
    cluster.holds("SELECT amount FROM items WHERE id < 3 ORDER BY id", &["31", "25"]).await;
}

/// A user's long read keeps nobody waiting, nor does the log that cannot be put back meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_reads_a_file_for_long() {
    let mut cluster = items(THREE, SUM).await;
    let mut long = cluster.nodes[1].database.user().await;
    long.execute("BEGIN").await;
    let before = long.rows("SELECT * FROM items ORDER BY id").await;
    for round in 1..4 {
        for at in 0..3 {
            cluster.run(at, "UPDATE items SET amount = amount + 1 WHERE id = 1").await;
        }
        let start = Instant::now();
        let summary = cluster.sync().await;
        assert!(start.elapsed() < Duration::from_secs(6), "the sync took {:?}", start.elapsed());
        assert_eq!((summary.exit_code(), &summary.failed), (0, &None));
        cluster.holds("SELECT amount FROM items WHERE id = 1", &[&(10 + 3 * round).to_string()]).await;
        // It puts back what it can.
        cluster.nodes[1].user.rows("PRAGMA wal_checkpoint(PASSIVE)").await;
    }
    assert_eq!(long.rows("SELECT * FROM items ORDER BY id").await, before);
    long.execute("COMMIT").await;
    cluster.settle().await;
}

/// GIVEN a user who holds a whole table, as while altering it
/// WHEN the others have something for it and for each other
/// THEN they get theirs within seconds, and the node its own later: row by row where it can be read, else as a whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_holds_a_whole_table() {
    for (mode, reads) in [("EXCLUSIVE", true), ("ACCESS EXCLUSIVE", false)] {
        let mut cluster = items(THREE, SUM).await;
        cluster.run(2, "UPDATE items SET amount = amount + 1 WHERE id = 2").await;
        let mut long = cluster.nodes[2].database.user_as(As::Sync).await;
        long.execute(&format!("BEGIN; LOCK TABLE items IN {mode} MODE")).await;
        for at in [0, 1] {
            cluster.run(at, "UPDATE items SET amount = amount + 10 WHERE id = 1").await;
        }
        let mut session = cluster.session();
        let start = Instant::now();
        let cycle = session.cycle().await.expect("all are there");
        assert!(start.elapsed() < Duration::from_secs(12), "the cycle took {:?}", start.elapsed());
        if reads {
            assert_eq!((cycle.held, cycle.failed, cycle.away), (1, None, vec![]));
        } else {
            let told = cycle.away.first().map(|away| away.why.clone());
            assert!(told.as_ref().is_some_and(|why| why.contains("locked by somebody else")), "{told:?}");
            assert!(cycle.away[0].unreachable, "it is asked again with the next cycle");
        }
        for at in [0, 1] {
            cluster.holds_at(at, "SELECT amount FROM items WHERE id = 1", &["30"]).await;
        }
        long.execute("COMMIT").await;
        cluster.settle().await;
        cluster.holds("SELECT amount FROM items WHERE id < 3 ORDER BY id", &["30", "21"]).await;
    }
}

/// `install` says at which table somebody is in its way, and has done nothing by halves.
#[tokio::test]
async fn a_user_holds_a_table_that_is_installed() {
    let setup = |_| "CREATE TABLE items (id integer PRIMARY KEY, amount integer)".to_owned();
    let cluster = Cluster::bare(&[Kind::Sqlite, Kind::Postgres], setup, SUM).await;
    let mut long = cluster.nodes[1].database.user_as(As::Sync).await;
    long.execute("BEGIN; LOCK TABLE items IN ROW EXCLUSIVE MODE").await;
    let refused = cluster.try_install().await.expect_err("somebody is in the way");
    assert!(
        refused.contains("creating triggers on public.items: ") && refused.contains("locked by somebody else"),
        "{refused}"
    );
    long.execute("COMMIT").await;
    assert!(cluster.nodes[1].database.node().await.service().await.expect("it is there").is_none());
    cluster.install().await;
}

/// A history that somebody works on, as VACUUM FULL does, while old entries are to be deleted from it.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_holds_a_history() {
    let mut cluster = items(THREE, SUM).await;
    cluster.run(2, "UPDATE items SET amount = amount + 1 WHERE id = 1").await;
    let mut long = cluster.nodes[2].database.user_as(As::Sync).await;
    let lock = async |_: &mut Cluster| {
        long.execute("BEGIN; LOCK TABLE history_store.items IN ACCESS EXCLUSIVE MODE").await;
    };
    let summary = tokio::time::timeout(PATIENCE, cluster.sync_while("applied", lock)).await.expect("a sync that ends");
    assert!(
        summary.away.iter().any(|away| away.node == "c" && away.why.contains("locked by somebody else")),
        "{summary:?}"
    );
    for at in [0, 1] {
        cluster.holds_at(at, "SELECT amount FROM items WHERE id = 1", &["11"]).await;
    }
    long.execute("COMMIT").await;
    cluster.settle().await;
}
