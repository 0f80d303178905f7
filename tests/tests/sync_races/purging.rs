//! Entries that are deleted at their source while the last of many rows are still being written elsewhere.

use std::os::unix::process::ExitStatusExt;
use std::sync::{Arc, Mutex};

use concord::fault::Faults;
use concord::sync::Summary;
use concord_tests::{As, Cluster, Kind, Mode, PATIENCE, wait_until};

use super::early::{ROWS, TOTAL, holds_all, many};

const KINDS: [&[Kind]; 3] =
    [&[Kind::Mariadb, Kind::Postgres], &[Kind::Mariadb, Kind::Mariadb], &[Kind::Postgres, Kind::Sqlite]];

/// How many entries of users the first node has.
async fn entries(cluster: &Cluster) -> String {
    let database = &cluster.nodes[0].database;
    let history = if database.kind() == Kind::Postgres { "history_store.items" } else { "history_store_items" };
    let mut owner = database.user_as(As::Sync).await;
    owner.cell(&format!("SELECT count(*) FROM {history} WHERE origin IS NULL")).await
}

/// Syncs. When all is decided, and a transaction that is still open has deleted the entries of the first node, `meanwhile` happens.
async fn sync_while_deleted(cluster: &mut Cluster, meanwhile: impl AsyncFnOnce(&mut Cluster)) -> Summary {
    let files = ["deleted", "decided"].map(|name| cluster.file(name));
    let rules = format!("purge-begun=pause:{}@1,read-done=pause:{}@1", files[0].display(), files[1].display());
    let faults = Arc::new(Mutex::new(rules.parse().expect("the rules are some")));
    let mut session = cluster.session();
    let working = Box::pin(concord::fault::scoped(faults, session.sync()));
    let acting = async {
        for file in &files {
            wait_until("entries to be deleted", PATIENCE, async || file.exists().then_some(())).await;
        }
        assert_eq!(entries(cluster).await, (ROWS + 1).to_string());
        meanwhile(cluster).await;
        files.iter().for_each(|file| std::fs::remove_file(file).expect("it is there"));
    };
    futures::join!(working, acting).0.expect("a sync")
}

/// What is deleted early is committed at the end, and is not deleted once more.
#[tokio::test]
async fn entries_are_deleted_while_rows_are_written() {
    for kinds in KINDS {
        let mut cluster = many(kinds).await;
        // On a busy machine it may be given up.
        for left in (0..10).rev() {
            let faults = Arc::new(Mutex::new(Faults::default()));
            let mut session = cluster.session();
            let synced = Box::pin(concord::fault::scoped(Arc::clone(&faults), session.sync())).await;
            assert_eq!(synced.expect("a sync").exit_code(), 0);
            assert_eq!(entries(&cluster).await, "0");
            if faults.lock().expect("nobody has panicked").passes("purged-early") == 1 {
                break;
            }
            assert!(left > 0, "{kinds:?}");
            cluster.run(0, "UPDATE items SET name = 'again' WHERE id >= 10").await;
        }
        cluster.settle().await;
    }
}

/// GIVEN entries that are being deleted
/// WHEN users change the same rows and others
/// THEN they wait for nothing, and what they did is carried.
#[tokio::test]
async fn users_go_on_while_entries_are_deleted() {
    for kinds in KINDS {
        let mut cluster = many(kinds).await;
        let meanwhile = async |cluster: &mut Cluster| {
            let mut user = cluster.nodes[0].database.user().await;
            let impatient = match cluster.nodes[0].database.kind() {
                Kind::Postgres => "SET lock_timeout = '1s'",
                _ => "SET SESSION innodb_lock_wait_timeout = 1",
            };
            user.execute(impatient).await;
            for statement in [
                "INSERT INTO items VALUES (7, 'user', 7)",
                "UPDATE items SET name = 'user', amount = amount - 1 WHERE id BETWEEN 10 AND 20",
                "DELETE FROM items WHERE id IN (3, 30)",
            ] {
                user.execute(statement).await;
            }
        };
        sync_while_deleted(&mut cluster, meanwhile).await;
        cluster.settle().await;
        cluster.holds("SELECT count(*) FROM items WHERE name = 'user'", &["12"]).await;
        let sum: u64 = 60 + (110..110 + u64::from(ROWS)).sum::<u64>() + 7 - 11 - 30 - 130;
        cluster.holds(TOTAL, &[&format!("{}|{sum}", ROWS + 3 + 1 - 2)]).await;
        assert_eq!(entries(&cluster).await, "0");
    }
}

/// GIVEN entries that are being deleted
/// WHEN one of two targets goes away before it has taken what they tell of
/// THEN they are there again, until it has come back.
#[tokio::test]
async fn what_a_target_has_not_taken_stays() {
    for kind in [Kind::Mariadb, Kind::Postgres] {
        let mut cluster = many(&[kind, Kind::Sqlite, Kind::Postgres]).await;
        cluster.way(2);
        let meanwhile = async |cluster: &mut Cluster| {
            cluster.way(2).set(Mode::Closed);
            cluster.way(2).cut();
        };
        let summary = sync_while_deleted(&mut cluster, meanwhile).await;
        let away: Vec<&str> = summary.away.iter().map(|away| away.node.as_str()).collect();
        assert_eq!(away, ["c"], "{summary:?}");
        cluster.holds_at(1, "SELECT count(*) FROM items", &[&(ROWS + 3).to_string()]).await;
        assert_eq!(entries(&cluster).await, (ROWS + 1).to_string());
        cluster.way(2).set(Mode::Open);
        cluster.settle().await;
        holds_all(&mut cluster).await;
        assert_eq!(entries(&cluster).await, "0");
    }
}

/// GIVEN a target that a user holds up for longer than one row is waited for
/// WHEN the entries are being deleted already
/// THEN that row waits, and the entries go with the position.
#[tokio::test]
async fn a_row_is_held_up_while_entries_are_deleted() {
    for kinds in [KINDS[0], KINDS[1], super::BOTH_POSTGRES] {
        let mut cluster = many(kinds).await;
        cluster.later(1, "START TRANSACTION").await;
        cluster.run(1, "UPDATE items SET name = 'user' WHERE id = 1").await;
        let summary = sync_while_deleted(&mut cluster, async |_: &mut Cluster| ()).await;
        assert_eq!((summary.held, summary.waiting, &summary.failed), (1, 0, &None), "{summary:?}");
        assert_eq!(entries(&cluster).await, "0");
        cluster.run(1, "COMMIT").await;
        cluster.settle().await;
        cluster.holds("SELECT name FROM items WHERE id = 1", &["user"]).await;
        holds_all(&mut cluster).await;
    }
}

/// A history that is locked is asked for once more with the next cycle, although nothing is new by then.
#[tokio::test]
async fn what_could_not_be_deleted_goes_with_the_next_cycle() {
    let mut cluster = super::items(&[Kind::Postgres, Kind::Sqlite], "[tables.items]").await;
    cluster.run(0, "UPDATE items SET name = 'new'").await;
    let mut holder = cluster.nodes[0].database.user_as(As::Sync).await;
    holder.execute("BEGIN; LOCK TABLE history_store.items IN SHARE MODE").await;
    let mut session = cluster.session();
    assert_eq!(session.cycle().await.expect("a cycle").entries, 3);
    assert_eq!(entries(&cluster).await, "3");
    holder.execute("ROLLBACK").await;
    assert_eq!(session.cycle().await.expect("a cycle").entries, 0);
    assert_eq!(entries(&cluster).await, "0");
}

/// The engine is killed, or loses a node, wherever entries are being deleted: nothing is lost, and nobody is locked out.
#[tokio::test]
async fn killed_while_entries_are_deleted() {
    for kinds in KINDS {
        let mut cluster = many(kinds).await;
        let mut concord = cluster.command("[tables.items]\n");
        for point in [
            "purge-begun",
            "read-done",
            "apply-claimed",
            "apply-before-commit",
            "apply-after-commit",
            "purge",
            "purged",
        ] {
            for rule in ["abort", "error"] {
                let name = format!("{point}, {rule}");
                cluster.run(0, &format!("UPDATE items SET name = '{name}'")).await;
                let output = concord.faults(&format!("{point}={rule}@1")).run(&["sync"]).await;
                assert_eq!(output.status.signal() == Some(libc::SIGABRT), rule == "abort", "{name}: {output:?}");
                cluster.run(0, "UPDATE items SET amount = amount + 1 WHERE id = 1").await;
                cluster.settle().await;
                let count = format!("SELECT count(*) FROM items WHERE name = '{name}'");
                cluster.holds(&count, &[&(ROWS + 3).to_string()]).await;
                assert_eq!(entries(&cluster).await, "0", "{name}");
            }
        }
    }
}
