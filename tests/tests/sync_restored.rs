//! Databases that were put back from a backup, or replaced: recognised, left out, and told.

use std::path::PathBuf;

use concord_tests::postgres::Server;
use concord_tests::{As, Cluster, Database, Kind};

const ITEMS: &str =
    "CREATE TABLE items (id integer PRIMARY KEY, name text); INSERT INTO items VALUES (1, 'one'), (2, 'two')";
const ALL: &str = "SELECT * FROM items ORDER BY id";

/// What the sync says about node b, which it leaves out while a and c go on.
async fn left_out(cluster: &mut Cluster) {
    cluster.run(0, "UPDATE items SET name = 'goes on' WHERE id = 2").await;
    let before = cluster.rows(1, ALL).await;
    let summary = cluster.sync().await;
    let away: Vec<_> = summary.away.iter().map(|away| (away.node.as_str(), away.unreachable)).collect();
    assert_eq!(away, [("b", false)], "{:?}", summary.away);
    assert!(summary.away[0].why.starts_with("it was restored from a backup or replaced: "), "{}", summary.away[0].why);
    assert!(summary.away[0].why.contains("`items`"), "{}", summary.away[0].why);
    assert_eq!(summary.exit_code(), 1);
    // Its rows stay what they are, and it tells nobody anything.
    assert_eq!(cluster.rows(1, ALL).await, before);
    for at in [0, 2] {
        cluster.holds_at(at, "SELECT name FROM items WHERE id = 2", &["goes on"]).await;
    }
    cluster.quiet().await;
}

fn path(database: &Database) -> PathBuf {
    database.url().trim_start_matches("sqlite:").into()
}

/// A copy of a file that nobody writes to, put in its place later.
async fn restore(cluster: &mut Cluster, meanwhile: impl AsyncFnOnce(&mut Cluster)) {
    let file = path(&cluster.nodes[1].database);
    cluster.nodes[1].user.rows("PRAGMA wal_checkpoint(TRUNCATE)").await;
    let backup = file.with_extension("backup");
    std::fs::copy(&file, &backup).expect("the file is ours");
    meanwhile(cluster).await;
    cluster.disconnect(1).await;
    for ending in ["-wal", "-shm"] {
        // They are gone if the last user closed the file.
        let _ = std::fs::remove_file(format!("{}{ending}", file.display()));
    }
    std::fs::rename(&backup, &file).expect("the file is ours");
    cluster.reconnect(1).await;
}

const KINDS: &[Kind] = &[Kind::Sqlite, Kind::Sqlite, Kind::Postgres];

async fn three() -> Cluster {
    let mut cluster = Cluster::new(KINDS, |_| ITEMS.to_owned(), "[tables.items]").await;
    cluster.run(1, "UPDATE items SET name = 'before' WHERE id = 1").await;
    cluster.settle().await;
    cluster
}

/// It has lost changes that others have applied.
#[tokio::test]
async fn a_file_that_lost_its_own_changes() {
    let mut cluster = three().await;
    restore(&mut cluster, async |cluster| {
        cluster.run(1, "UPDATE items SET name = 'lost' WHERE id = 1").await;
        cluster.settle().await;
    })
    .await;
    left_out(&mut cluster).await;
}

/// It has lost changes that it had applied and that their makers no longer keep.
#[tokio::test]
async fn a_file_that_lost_what_it_had_applied() {
    let mut cluster = three().await;
    restore(&mut cluster, async |cluster| {
        cluster.run(0, "UPDATE items SET name = 'lost' WHERE id = 1").await;
        cluster.settle().await;
    })
    .await;
    left_out(&mut cluster).await;
}

/// Nothing happened since the backup was made: the copy is as good as the original.
#[tokio::test]
async fn a_file_that_lost_nothing() {
    let mut cluster = three().await;
    restore(&mut cluster, async |_| ()).await;
    cluster.run(1, "UPDATE items SET name = 'after' WHERE id = 1").await;
    cluster.settle().await;
    cluster.holds(ALL, &["1|after", "2|two"]).await;
}

/// A database on PostgreSQL that was put back to what it was before others took its changes and it took theirs.
#[tokio::test]
async fn a_database_put_back() {
    let server = Server::dedicated(&[]);
    let mut cluster =
        Cluster::bare(&[Kind::Sqlite, Kind::Sqlite, Kind::Sqlite], |_| ITEMS.to_owned(), "[tables.items]").await;
    let database = Database::on(&server).await;
    database.user_as(As::Sync).await.execute(ITEMS).await;
    cluster.replace(1, database).await;
    cluster.install().await;
    cluster.settle().await;
    let name = cluster.nodes[1].user.cell("SELECT current_database()").await;
    let elsewhere = Database::on(&server).await;
    let mut admin = elsewhere.user_as(As::Admin).await;
    cluster.disconnect(1).await;
    let end = format!("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'");
    admin.rows(&end).await;
    admin.execute(&format!("CREATE DATABASE backup TEMPLATE {name} OWNER sync")).await;
    cluster.reconnect(1).await;
    for at in 0..2 {
        cluster.run(at, &format!("INSERT INTO items VALUES (1{at}, 'lost')")).await;
    }
    cluster.settle().await;
    cluster.disconnect(1).await;
    admin.rows(&end).await;
    admin.execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
    admin.execute(&format!("ALTER DATABASE backup RENAME TO {name}")).await;
    cluster.reconnect(1).await;
    left_out(&mut cluster).await;
}

/// An empty database in the node's place, where Concord was installed again.
#[tokio::test]
async fn a_file_that_was_replaced() {
    let mut cluster = three().await;
    cluster.run(1, "UPDATE items SET name = 'more' WHERE id = 1").await;
    cluster.settle().await;
    let database = Database::new(Kind::Sqlite).await;
    database.user_as(As::Sync).await.execute(ITEMS).await;
    cluster.replace(1, database).await;
    let summary = cluster.sync().await;
    assert!(summary.away[0].why.starts_with("nothing is installed there, as in a database that is new"), "{summary:?}");
    cluster.install().await;
    left_out(&mut cluster).await;
}
