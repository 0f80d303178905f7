//! Networks, other engines and the database's own rules in the way of rows that are written early.

use std::time::{Duration, Instant};

use concord::sync::Summary;
use concord_tests::{Cluster, Kind, Mode, PATIENCE, wait_until};

use super::early::{ROWS, TOTAL, holds_all, many};
use super::early_users::{changed_everywhere, free_and_written, sync_around_a_part, sync_at_leisure};
use super::{BOTH_POSTGRES, WITH_MARIADB, losers};

concord_tests::clusters! {
    pairs: [
        a_table_is_changed_before_rows_are_written_early, the_rest_of_a_batch_follows_rows_written_early,
        refused_by_a_reference_that_may_be_checked_late,
    ]
    many: [one_of_several_holds_a_lock_while_rows_are_written_early]
    all: []
}

const NODES: [&[Kind]; 2] =
    [&[Kind::Postgres, Kind::Postgres, Kind::Sqlite], &[Kind::Postgres, Kind::Mariadb, Kind::Sqlite]];

/// The network to one of two targets falls silent, or breaks, in the midst of it: the other has everything.
#[tokio::test]
async fn a_network_fails_while_rows_are_written_early() {
    for (kinds, all) in NODES.into_iter().zip([&[false, true][..], &[true]]) {
        for &silent in all {
            let mut cluster = changed_everywhere(kinds, "[tables.items]").await;
            cluster.way(1);
            let count = "SELECT count(*) FROM items WHERE name = 'engine'";
            let meanwhile = async |cluster: &mut Cluster| match silent {
                true => cluster.way(1).set(Mode::Stalled),
                false => cluster.way(1).cut(),
            };
            let afterwards = async |cluster: &mut Cluster| {
                let arrived = async || (cluster.rows(2, count).await == [(ROWS + 3).to_string()]).then_some(());
                wait_until("the other to have all", PATIENCE, arrived).await;
                cluster.way(1).cut();
                cluster.later(1, "UPDATE items SET name = 'user' WHERE id < 20").await;
                cluster.way(1).set(Mode::Open);
            };
            let summary = sync_around_a_part(&mut cluster, meanwhile, afterwards).await;
            // Of whoever was away the rows arrive with the next cycle.
            assert_eq!((&summary.failed, &summary.away[..]), (&None, &[][..]), "{silent}: {summary:?}");
            cluster.settle().await;
            cluster.holds(count, &[&(ROWS - 10).to_string()]).await;
        }
    }
}

/// The network to the source falls silent in the midst of it: what is written at the target is let go before the engine gives
/// the source up.
#[tokio::test]
async fn a_network_to_the_source_falls_silent_while_rows_are_written_early() {
    for kinds in [BOTH_POSTGRES, WITH_MARIADB] {
        let mut cluster = changed_everywhere(kinds, "[tables.items]").await;
        cluster.way(0);
        let silence = async |cluster: &mut Cluster| cluster.way(0).set(Mode::Stalled);
        let afterwards = async |cluster: &mut Cluster| {
            let start = Instant::now();
            cluster.later(1, "UPDATE items SET name = 'user'").await;
            assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
            cluster.way(0).cut();
            cluster.way(0).set(Mode::Open);
        };
        let summary = cluster.sync_around("fetch@3", silence, afterwards).await;
        let away: Vec<&str> = summary.away.iter().map(|away| away.node.as_str()).collect();
        assert_eq!((away, summary.nodes), (vec!["a"], vec![]));
        cluster.settle().await;
        cluster.holds("SELECT count(*) FROM items WHERE name = 'user'", &[&(ROWS + 3).to_string()]).await;
    }
}

/// Of two engines one writes, and the other gives up or finds that done.
#[tokio::test]
async fn two_engines_write_the_same_rows_early() {
    for kinds in [BOTH_POSTGRES, WITH_MARIADB] {
        let mut cluster = many(kinds).await;
        let mut other = cluster.command("[tables.items]\n");
        other.env("CONCORD_PATIENCE", "100");
        let meanwhile = async |_: &mut Cluster| {
            let output = other.run(&["sync"]).await.expect(3);
            assert!(output.says("position: locked by somebody else"), "{output:?}");
        };
        let summary = sync_around_a_part(&mut cluster, meanwhile, async |_| ()).await;
        let written = |summary: &Summary| summary.nodes.iter().map(|node| node.written).sum::<u64>();
        assert_eq!((written(&summary), &summary.failed), (u64::from(ROWS) + 1, &None), "{summary:?}");
        // The other comes first.
        cluster.run(0, "UPDATE items SET name = 'again'").await;
        let meanwhile = async |_: &mut Cluster| drop(other.run(&["sync"]).await.ok());
        let summary = cluster.sync_while("early-begin", meanwhile).await;
        assert_eq!((written(&summary), &summary.failed), (0, &None), "{summary:?}");
        cluster.settle().await;
        cluster.holds("SELECT count(*) FROM items WHERE name = 'again'", &[&(ROWS + 3).to_string()]).await;
        holds_all(&mut cluster).await;
        assert_eq!(losers(&cluster).await, [] as [&str; 0]);
    }
}

/// The engine is killed while the server still lets it wait for a user.
#[tokio::test]
async fn killed_while_rows_written_early_wait_for_a_user() {
    for kinds in [BOTH_POSTGRES, WITH_MARIADB] {
        let mut cluster = changed_everywhere(kinds, "[tables.items]").await;
        let mut concord = cluster.command("[tables.items]\n");
        let [writing, told] = ["writing", "told"].map(|name| cluster.file(name));
        let rules = format!("early-write=pause:{},read-done=pause:{}", writing.display(), told.display());
        let running = concord.faults(&rules).start(&["sync"]);
        for file in [&writing, &told] {
            wait_until("all to be read", PATIENCE, async || file.exists().then_some(())).await;
        }
        std::fs::remove_file(&writing).expect("it is there");
        wait_until("a part to be written", PATIENCE, async || writing.exists().then_some(())).await;
        let (free, written) = free_and_written(&mut cluster).await;
        cluster.later(1, "START TRANSACTION").await;
        cluster.run(1, &format!("UPDATE items SET name = 'user' WHERE id = {free}")).await;
        std::fs::remove_file(&writing).expect("it is there");
        super::locks::somebody_waits(&cluster.nodes[1].database).await;
        running.kill().await;
        cluster.run(1, "COMMIT").await;
        cluster.later(1, &format!("UPDATE items SET name = 'user' WHERE id = {written}")).await;
        cluster.settle().await;
        cluster.holds("SELECT count(*) FROM items WHERE name = 'user'", &["2"]).await;
        cluster.holds("SELECT count(*) FROM items WHERE name = 'engine'", &[&(ROWS + 1).to_string()]).await;
        assert_eq!(losers(&cluster).await, ["engine", "engine"]);
    }
}

/// The table stands still, and nothing of it is written.
async fn a_table_is_changed_before_rows_are_written_early(kinds: &[Kind]) {
    let mut cluster = many(kinds).await;
    let change = async |cluster: &mut Cluster| cluster.run_as_owner(1, "ALTER TABLE items ADD COLUMN more text").await;
    let summary = cluster.sync_while("early-begin", change).await;
    let stopped: Vec<&str> = summary.stopped.iter().map(|stopped| stopped.table.as_str()).collect();
    assert_eq!(stopped, ["items"], "{summary:?}");
    cluster.holds_at(1, TOTAL, &["3|60"]).await;
    cluster.run_as_owner(1, "ALTER TABLE items DROP COLUMN more").await;
    cluster.reconnect(1).await;
    cluster.settle().await;
    holds_all(&mut cluster).await;
}

/// Rows of several tables, rows that go and come again, and unique values that are free only once other rows are gone or
/// have changed.
async fn the_rest_of_a_batch_follows_rows_written_early(kinds: &[Kind]) {
    let setup = |_| {
        "CREATE TABLE items (id integer PRIMARY KEY, name varchar(20) UNIQUE, amount integer);
         CREATE TABLE notes (id integer PRIMARY KEY, body varchar(20))"
            .to_owned()
    };
    let mut cluster = Cluster::new(kinds, setup, "[tables.items]\n[tables.notes]").await;
    let rows = |from: u32, to: u32| (from..to).map(|id| format!("({id}, 'n{id}', 1)")).collect::<Vec<_>>().join(", ");
    let notes = |from: u32, to: u32| (from..to).map(|id| format!("({id}, 'b{id}')")).collect::<Vec<_>>().join(", ");
    cluster.run(0, &format!("INSERT INTO items VALUES {}", rows(0, 3_000))).await;
    cluster.run(0, &format!("INSERT INTO notes VALUES {}", notes(0, 2_000))).await;
    cluster.settle().await;
    for unique in [false, true] {
        cluster.run(0, "UPDATE items SET amount = amount + 1 WHERE id < 2900").await;
        cluster.run(0, "UPDATE notes SET body = 'new' WHERE id < 1900").await;
        // Rows that go, and one that goes and comes.
        cluster.run(0, "DELETE FROM notes WHERE id >= 1950").await;
        cluster.run(0, "DELETE FROM items WHERE id BETWEEN 2910 AND 2920 OR id = 5").await;
        cluster.run(0, "INSERT INTO items VALUES (5, 'again', 7)").await;
        if unique {
            cluster.run(0, "UPDATE items SET name = 'aside' WHERE id = 10").await;
            cluster.run(0, "UPDATE items SET name = 'n10' WHERE id = 2800").await;
            cluster.run(0, "UPDATE items SET name = 'n2800' WHERE id = 10").await;
            cluster.run(0, "DELETE FROM items WHERE id = 2950").await;
            cluster.run(0, "INSERT INTO items VALUES (9000, 'n2950', 1)").await;
        }
        let (done, tries) = sync_at_leisure(&mut cluster).await;
        assert_eq!((done.waiting, done.held, &done.failed), (0, 0, &None), "{done:?}");
        // Where nothing is in the way nothing is left to be tried.
        assert_eq!(tries > 0, unique, "{done:?}");
        cluster.settle().await;
        // Everything is as it was.
        cluster.run(0, "UPDATE items SET name = 'n5' WHERE id = 5").await;
        cluster.run(0, &format!("INSERT INTO items VALUES {}", rows(2_910, 2_921))).await;
        cluster.run(0, &format!("INSERT INTO notes VALUES {}", notes(1_950, 2_000))).await;
        cluster.settle().await;
    }
    cluster.holds("SELECT name FROM items WHERE id IN (10, 2800, 9000) ORDER BY id", &["n2800", "n10", "n2950"]).await;
}

/// A table that is not synced refers to the row, by a value that changes.
async fn refused_by_a_reference_that_may_be_checked_late(kinds: &[Kind]) {
    let setup = |_| "CREATE TABLE items (id integer PRIMARY KEY, name varchar(20) UNIQUE, amount integer)".to_owned();
    let mut cluster = Cluster::new(kinds, setup, "[tables.items]").await;
    let rows: Vec<String> = (0..ROWS).map(|id| format!("({id}, 'n{id}', 1)")).collect();
    cluster.run(0, &format!("INSERT INTO items VALUES {}", rows.join(", "))).await;
    cluster.sync().await;
    let late = if kinds[1] == Kind::Mariadb { "" } else { "DEFERRABLE INITIALLY DEFERRED" };
    let child = format!(
        "CREATE TABLE own (id integer PRIMARY KEY, name varchar(20),
            FOREIGN KEY (name) REFERENCES items (name) {late});
         INSERT INTO own VALUES (1, 'n4000')"
    );
    cluster.run_as_owner(1, &child).await;
    cluster.install().await;
    cluster.run(0, "UPDATE items SET amount = 2").await;
    cluster.run(0, "UPDATE items SET name = 'other' WHERE id = 4000").await;
    let summary = cluster.sync().await;
    assert_eq!((summary.waiting, &summary.failed), (1, &None), "{summary:?}");
    assert_eq!(cluster.waiting().await, ["b items [4000] constraint"]);
    cluster.holds_at(1, "SELECT count(*) FROM items WHERE amount = 2", &[&(ROWS - 1).to_string()]).await;
    cluster.run_as_owner(1, "DELETE FROM own").await;
    cluster.settle().await;
}

/// One of several is held up by its user: the others have everything, and it follows.
async fn one_of_several_holds_a_lock_while_rows_are_written_early(kinds: &[Kind]) {
    let mut cluster = many(kinds).await;
    // All of a file is locked at once.
    let begin = if kinds[1] == Kind::Sqlite { "BEGIN IMMEDIATE" } else { "START TRANSACTION" };
    cluster.run(1, begin).await;
    cluster.run(1, "UPDATE items SET name = 'user' WHERE id = 1").await;
    let summary = cluster.sync().await;
    // A file is locked as a whole, and by then only the waiting for it has failed.
    match kinds[1] {
        Kind::Sqlite => assert!(summary.failed.as_deref().is_some_and(|why| why.contains("node `b`")), "{summary:?}"),
        _ => assert_eq!((summary.held, &summary.failed), (1, &None), "{summary:?}"),
    }
    for at in (0..kinds.len()).filter(|at| *at != 1) {
        cluster.holds_at(at, "SELECT count(*) FROM items", &[&(ROWS + 3).to_string()]).await;
    }
    cluster.run(1, "COMMIT").await;
    cluster.settle().await;
    cluster.holds("SELECT name FROM items WHERE id = 1", &["user"]).await;
    holds_all(&mut cluster).await;
}
