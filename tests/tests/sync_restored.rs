//! Databases that were put back from a backup, or replaced: recognised, left out, and told.

use std::path::PathBuf;
use std::sync::Arc;

use concord::sync::LoadOptions;
use concord_tests::postgres::{self, Server};
use concord_tests::{As, Cluster, Database, Kind};

const ITEMS: &str =
    "CREATE TABLE items (id integer PRIMARY KEY, name text); INSERT INTO items VALUES (1, 'one'), (2, 'two')";
const ALL: &str = "SELECT * FROM items ORDER BY id";

const PUT_BACK: &str = "it was restored from a backup or replaced";
const ANEW: &str = "Concord was installed there anew, or its database is another one: ";

/// What the sync says about node b, which it leaves out while the others go on.
async fn left_out(cluster: &mut Cluster, why: &str) {
    cluster.run(0, "UPDATE items SET name = 'goes on' WHERE id = 2").await;
    let before = cluster.rows(1, ALL).await;
    let summary = cluster.sync().await;
    let away: Vec<_> = summary.away.iter().map(|away| (away.node.as_str(), away.unreachable)).collect();
    assert_eq!(away, [("b", false)], "{:?}", summary.away);
    let told = &summary.away[0].why;
    assert!(told.starts_with(why), "{told}");
    assert!(told.contains("`items`") && told.contains("run `concord load`"), "{told}");
    assert_eq!(summary.exit_code(), 1);
    // Its rows stay what they are, and it tells nobody anything.
    assert_eq!(cluster.rows(1, ALL).await, before);
    let others: Vec<usize> = (0..cluster.nodes.len()).filter(|at| *at != 1).collect();
    let known = cluster.rows(0, ALL).await;
    for &at in &others {
        cluster.holds_at(at, "SELECT name FROM items WHERE id = 2", &["goes on"]).await;
        assert_eq!(cluster.rows(at, ALL).await, known);
    }
    assert!(!known.iter().any(|row| row.contains("anew")), "{known:?}");
    cluster.quiet().await;
}

/// Does what is told to be done about it, and finds everything in order.
async fn mended(cluster: &mut Cluster) {
    let rows = cluster.rows(0, ALL).await;
    cluster.run(1, "DELETE FROM items").await;
    for row in rows {
        let (id, name) = row.split_once('|').expect("two columns");
        cluster.run(1, &format!("INSERT INTO items VALUES ({id}, '{name}')")).await;
    }
    cluster.session().reset().await.unwrap_or_else(|error| panic!("reset: {error}"));
    // Afterwards nothing else tells how old its rows are.
    let away = cluster.sync().await.away;
    assert!(away.len() == 1 && away[0].node == "b" && away[0].why.contains("`concord load`"), "{away:?}");
    let loaded = cluster.load(&LoadOptions::default()).await;
    assert!(loaded.rejoined == ["b"] && loaded.away.is_empty(), "{loaded:?}");
    cluster.run(1, "UPDATE items SET name = 'mended' WHERE id = 1").await;
    cluster.settle().await;
    cluster.holds("SELECT name FROM items WHERE id = 1", &["mended"]).await;
}

fn path(database: &Database) -> PathBuf {
    database.url().trim_start_matches("sqlite:").into()
}

/// A copy of node b's file, to which nobody writes meanwhile.
pub async fn put_aside(cluster: &mut Cluster) -> PathBuf {
    let file = path(&cluster.nodes[1].database);
    cluster.nodes[1].user.rows("PRAGMA wal_checkpoint(TRUNCATE)").await;
    let backup = file.with_extension("backup");
    std::fs::copy(&file, &backup).expect("the file is ours");
    backup
}

/// Puts the copy in the file's place.
pub async fn put_back(cluster: &mut Cluster, backup: PathBuf) {
    let file = path(&cluster.nodes[1].database);
    cluster.disconnect(1).await;
    for ending in ["-wal", "-shm"] {
        // They are gone if the last user closed the file.
        let _ = std::fs::remove_file(format!("{}{ending}", file.display()));
    }
    std::fs::rename(&backup, &file).expect("the file is ours");
    cluster.reconnect(1).await;
}

pub async fn restore(cluster: &mut Cluster, meanwhile: impl AsyncFnOnce(&mut Cluster)) {
    let backup = put_aside(cluster).await;
    meanwhile(cluster).await;
    put_back(cluster, backup).await;
}

const TWO: &[Kind] = &[Kind::Sqlite, Kind::Sqlite];
const THREE: &[Kind] = &[Kind::Sqlite, Kind::Sqlite, Kind::Postgres];

async fn cluster(kinds: &[Kind]) -> Cluster {
    let mut cluster = Cluster::new(kinds, |_| ITEMS.to_owned(), "[tables.items]").await;
    cluster.run(1, "UPDATE items SET name = 'before' WHERE id = 1").await;
    cluster.settle().await;
    cluster
}

/// It has lost changes that others have applied.
#[tokio::test]
async fn a_file_that_lost_its_own_changes() {
    let mut cluster = cluster(THREE).await;
    restore(&mut cluster, async |cluster| {
        cluster.run(1, "UPDATE items SET name = 'lost' WHERE id = 1").await;
        cluster.settle().await;
    })
    .await;
    left_out(&mut cluster, PUT_BACK).await;
    mended(&mut cluster).await;
}

/// It has lost changes that others have applied, and its users have made as many and more since.
async fn a_file_whose_numbers_caught_up(kinds: &[Kind], since: usize) {
    let mut cluster = cluster(kinds).await;
    restore(&mut cluster, async |cluster| {
        for name in ["lost", "lost as well"] {
            cluster.run(1, &format!("UPDATE items SET name = '{name}' WHERE id = 1")).await;
            cluster.settle().await;
        }
    })
    .await;
    for at in 0..since {
        cluster.run(1, &format!("INSERT INTO items VALUES (1{at}, 'anew')")).await;
    }
    left_out(&mut cluster, PUT_BACK).await;
    mended(&mut cluster).await;
}

#[tokio::test]
async fn a_file_whose_numbers_are_as_high_between_two() {
    a_file_whose_numbers_caught_up(TWO, 2).await;
}

#[tokio::test]
async fn a_file_whose_numbers_are_higher_between_two() {
    a_file_whose_numbers_caught_up(TWO, 5).await;
}

#[tokio::test]
async fn a_file_whose_numbers_are_as_high_among_three() {
    a_file_whose_numbers_caught_up(THREE, 2).await;
}

#[tokio::test]
async fn a_file_whose_numbers_are_higher_among_three() {
    a_file_whose_numbers_caught_up(THREE, 5).await;
}

/// The same while one of the others is away, so that nothing is purged.
#[tokio::test]
async fn a_file_whose_numbers_are_higher_while_another_is_away() {
    let mut cluster = cluster(THREE).await;
    cluster.leave(2);
    restore(&mut cluster, async |cluster| {
        cluster.run(1, "UPDATE items SET name = 'lost' WHERE id = 1").await;
        cluster.sync().await;
    })
    .await;
    for at in 0..3 {
        cluster.run(1, &format!("INSERT INTO items VALUES (1{at}, 'anew')")).await;
    }
    let summary = cluster.sync().await;
    assert!(summary.away[0].node == "b" && summary.away[0].why.starts_with(PUT_BACK), "{:?}", summary.away);
    cluster.back(2);
    left_out(&mut cluster, PUT_BACK).await;
    cluster.holds_at(2, "SELECT name FROM items WHERE id = 1", &["lost"]).await;
}

/// An engine that runs on has the file open when another one takes its place.
#[tokio::test]
async fn a_file_that_is_replaced_while_it_is_open() {
    let mut cluster = cluster(TWO).await;
    let mut session = cluster.session();
    restore(&mut cluster, async |cluster| {
        cluster.run(1, "UPDATE items SET name = 'lost' WHERE id = 1").await;
        let summary = session.sync().await.expect("everybody is there");
        assert_eq!(summary.away, []);
    })
    .await;
    cluster.run(1, "INSERT INTO items VALUES (10, 'anew'), (11, 'anew')").await;
    let before = cluster.rows(1, ALL).await;
    let summary = session.sync().await.expect("the other one is there");
    assert!(summary.away.iter().any(|away| away.node == "b" && away.why.starts_with(PUT_BACK)), "{:?}", summary.away);
    assert_eq!(cluster.rows(1, ALL).await, before);
    cluster.holds_at(0, ALL, &["1|lost", "2|two"]).await;
}

/// The file is replaced when it was read and nothing was written to it yet: what was decided is not for the new one.
#[tokio::test]
async fn a_file_that_is_replaced_before_it_is_written_to() {
    let mut cluster = cluster(TWO).await;
    let backup = put_aside(&mut cluster).await;
    cluster.run(0, "UPDATE items SET name = 'loses' WHERE id = 2").await;
    cluster.later(1, "UPDATE items SET name = 'lost' WHERE id = 2").await;
    let summary = cluster.sync_while("read-done", async |cluster| put_back(cluster, backup).await).await;
    assert!(summary.away[0].node == "b" && summary.away[0].why.starts_with(PUT_BACK), "{:?}", summary.away);
    cluster.holds_at(0, ALL, &["1|before", "2|lost"]).await;
    cluster.holds_at(1, ALL, &["1|before", "2|two"]).await;
    cluster.holds_at(1, "SELECT count(*) FROM concord_position", &["0"]).await;
}

/// It has lost changes that it had applied and that their makers no longer keep.
#[tokio::test]
async fn a_file_that_lost_what_it_had_applied() {
    let mut cluster = cluster(THREE).await;
    restore(&mut cluster, async |cluster| {
        cluster.run(0, "UPDATE items SET name = 'lost' WHERE id = 1").await;
        cluster.settle().await;
    })
    .await;
    left_out(&mut cluster, PUT_BACK).await;
}

/// Nothing happened since the backup was made: the copy is as good as the original.
#[tokio::test]
async fn a_file_that_lost_nothing() {
    let mut cluster = cluster(THREE).await;
    restore(&mut cluster, async |_| ()).await;
    cluster.run(1, "UPDATE items SET name = 'after' WHERE id = 1").await;
    cluster.settle().await;
    cluster.holds(ALL, &["1|after", "2|two"]).await;
}

/// A cluster whose node b is on a PostgreSQL server of its own.
async fn served(server: &Arc<Server>, kinds: &[Kind]) -> Cluster {
    let mut cluster = Cluster::bare(kinds, |_| ITEMS.to_owned(), "[tables.items]").await;
    let database = Database::on(server).await;
    database.user_as(As::Sync).await.execute(ITEMS).await;
    cluster.replace(1, database).await;
    cluster.install().await;
    cluster.settle().await;
    cluster
}

/// Ends the connections of node b while its server is taken away.
async fn without(cluster: &mut Cluster, work: impl AsyncFnOnce()) {
    cluster.disconnect(1).await;
    work().await;
    cluster.reconnect(1).await;
}

/// Uses up transaction numbers, as writes to other tables do.
async fn use_numbers(cluster: &mut Cluster, count: u32) {
    let waste = format!("DO $$ BEGIN FOR i IN 1..{count} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$");
    cluster.run(1, &waste).await;
}

/// A database on PostgreSQL that was put back to what it was before others took its changes and it took theirs.
#[tokio::test]
async fn a_database_put_back() {
    let server = Server::dedicated(&[]);
    let mut cluster = served(&server, &[Kind::Sqlite, Kind::Sqlite, Kind::Sqlite]).await;
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
    left_out(&mut cluster, PUT_BACK).await;
}

/// A whole server that was put back, and has given out as many numbers and more since.
async fn a_server_whose_numbers_caught_up(kinds: &[Kind]) {
    let server = Server::dedicated(&[]);
    let mut cluster = served(&server, kinds).await;
    without(&mut cluster, async || server.put_aside()).await;
    for name in ["lost", "lost as well"] {
        cluster.run(1, &format!("UPDATE items SET name = '{name}' WHERE id = 1")).await;
        cluster.settle().await;
    }
    without(&mut cluster, async || server.put_back()).await;
    for at in 0..3 {
        cluster.run(1, &format!("INSERT INTO items VALUES (1{at}, 'anew')")).await;
    }
    use_numbers(&mut cluster, 100).await;
    left_out(&mut cluster, PUT_BACK).await;
    mended(&mut cluster).await;
}

#[tokio::test]
async fn a_server_whose_numbers_are_higher_between_two() {
    a_server_whose_numbers_caught_up(TWO).await;
}

#[tokio::test]
async fn a_server_whose_numbers_are_higher_among_three() {
    a_server_whose_numbers_caught_up(THREE).await;
}

/// A server that was put back to a moment after the last change that others took. Nothing was lost, and what it gives the
/// numbers to that were given to nothing of interest before is carried.
#[tokio::test]
async fn a_server_that_lost_nothing() {
    let server = Server::dedicated(&[]);
    let mut cluster = served(&server, TWO).await;
    cluster.run(1, "UPDATE items SET name = 'kept' WHERE id = 1").await;
    without(&mut cluster, async || server.put_aside()).await;
    use_numbers(&mut cluster, 100).await;
    cluster.settle().await;
    without(&mut cluster, async || server.put_back()).await;
    cluster.run(1, "INSERT INTO items VALUES (10, 'new')").await;
    use_numbers(&mut cluster, 200).await;
    cluster.settle().await;
    cluster.holds(ALL, &["1|kept", "2|two", "10|new"]).await;
}

/// A database that was moved to another server by a dump. Nothing was lost, but that server counts transactions from
/// further below, so that changes made there would have numbers that others have passed.
#[tokio::test]
async fn a_dump_in_a_server_that_counts_anew() {
    let server = Server::dedicated(&[]);
    let mut cluster = served(&server, TWO).await;
    use_numbers(&mut cluster, 5_000).await;
    cluster.run(1, "UPDATE items SET name = 'kept' WHERE id = 1").await;
    cluster.settle().await;
    let other = Server::dedicated(&[]);
    let moved = Database::on(&other).await;
    dump(&cluster.nodes[1].database, &moved);
    cluster.replace(1, moved).await;
    cluster.run(1, "INSERT INTO items VALUES (10, 'anew')").await;
    use_numbers(&mut cluster, 10_000).await;
    // The table stands still until the triggers are as they were.
    assert_eq!(cluster.sync().await.stopped.len(), 1);
    cluster.install().await;
    left_out(&mut cluster, PUT_BACK).await;
    mended(&mut cluster).await;
}

/// The same where the other server counts from further above: nothing is wrong with it.
#[tokio::test]
async fn a_dump_in_a_server_that_counts_on() {
    let server = Server::dedicated(&[]);
    let mut cluster = served(&server, TWO).await;
    cluster.run(1, "UPDATE items SET name = 'kept' WHERE id = 1").await;
    cluster.settle().await;
    let other = Server::dedicated(&[]);
    let moved = Database::on(&other).await;
    let former = std::mem::replace(&mut cluster.nodes[1].user, moved.user().await);
    use_numbers(&mut cluster, 5_000).await;
    cluster.nodes[1].user = former;
    dump(&cluster.nodes[1].database, &moved);
    cluster.replace(1, moved).await;
    cluster.run(1, "INSERT INTO items VALUES (10, 'new')").await;
    cluster.install().await;
    cluster.settle().await;
    cluster.holds(ALL, &["1|kept", "2|two", "10|new"]).await;
}

/// Copies a database as text, with everything that Concord keeps in it.
fn dump(from: &Database, to: &Database) {
    let program = |name: &str| postgres::program(name).unwrap_or_else(|| panic!("there is no `{name}`"));
    let url = |database: &Database| database.url_as(As::Admin);
    let dumped = std::process::Command::new(program("pg_dump")).arg(url(from)).output().expect("pg_dump runs");
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), dumped.stdout).expect("the file is ours");
    let mut psql = std::process::Command::new(program("psql"));
    psql.args(["-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(file.path()).arg(url(to));
    let filled = psql.output().expect("psql runs");
    assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
}

/// An empty database in the node's place, where Concord was installed again.
async fn a_database_that_was_replaced(kind: Kind) {
    let mut cluster = cluster(&[Kind::Sqlite, kind, Kind::Postgres]).await;
    cluster.run(1, "UPDATE items SET name = 'more' WHERE id = 1").await;
    cluster.settle().await;
    let database = Database::new(kind).await;
    database.user_as(As::Sync).await.execute(ITEMS).await;
    cluster.replace(1, database).await;
    let summary = cluster.sync().await;
    assert!(summary.away[0].why.starts_with("nothing is installed there, as in a database that is new"), "{summary:?}");
    cluster.install().await;
    left_out(&mut cluster, ANEW).await;
    mended(&mut cluster).await;
}

#[tokio::test]
async fn a_file_that_was_replaced() {
    a_database_that_was_replaced(Kind::Sqlite).await;
}

#[tokio::test]
async fn a_database_on_postgres_that_was_replaced() {
    a_database_that_was_replaced(Kind::Postgres).await;
}

#[tokio::test]
async fn a_database_on_mariadb_that_was_replaced() {
    a_database_that_was_replaced(Kind::Mariadb).await;
}

/// Journals as they were before they kept what plugins had been told: `install` extends them, and what is in them stays.
#[tokio::test]
async fn journals_of_an_earlier_concord() {
    let mut cluster = cluster(&[Kind::Sqlite, Kind::Postgres, Kind::Mariadb]).await;
    let conflict = async |cluster: &mut Cluster, id: u8| {
        cluster.run(0, &format!("UPDATE items SET name = 'first' WHERE id = {id}")).await;
        cluster.later(1, &format!("UPDATE items SET name = 'second' WHERE id = {id}")).await;
        cluster.settle().await;
    };
    conflict(&mut cluster, 1).await;
    for (at, journal) in ["concord_journal", "concord.journal", "concord_journal"].into_iter().enumerate() {
        cluster.run_as_owner(at, &format!("ALTER TABLE {journal} DROP COLUMN told")).await;
    }
    // Until then all goes on without.
    conflict(&mut cluster, 2).await;
    assert_eq!(cluster.session().conflicts(0).await.expect("a journal").len(), 2);
    let (done, warnings) = cluster.session().install().await.expect("installing");
    let extended = done.iter().flat_map(|node| &node.done).filter(|line| line.contains("extended")).count();
    // Nothing is taken for damaged but what the tests' servers are not to care for.
    let other = warnings.iter().filter(|warning| !warning.contains(" is off: ")).count();
    assert_eq!((extended, other), (3, 0), "{done:?}, {warnings:?}");
    assert_eq!(cluster.install().await, [] as [String; 0]);
    cluster.settle().await;
    conflict(&mut cluster, 1).await;
    assert_eq!(cluster.session().conflicts(0).await.expect("a journal").len(), 3);
}

/// Service tables as they were before positions had witnesses: `install` extends them, and what is not known is not
/// checked.
#[tokio::test]
async fn service_tables_of_an_earlier_concord() {
    let mut cluster = cluster(&[Kind::Sqlite, Kind::Postgres]).await;
    for (at, (position, witness)) in
        [("concord_position", "concord_witness"), ("concord.position", "concord.witness")].into_iter().enumerate()
    {
        let mut owner = cluster.nodes[at].database.user_as(As::Sync).await;
        owner.execute(&format!("ALTER TABLE {position} DROP COLUMN witness; DROP TABLE {witness}")).await;
    }
    let refused = cluster.session().sync().await.expect_err("a column is missing");
    assert!(refused.to_string().contains("run `concord install`, which extends them"), "{refused}");
    let done = cluster.install().await;
    assert_eq!(done.iter().filter(|line| line.contains("extended")).count(), 2, "{done:?}");
    assert_eq!(cluster.install().await, [] as [String; 0]);
    cluster.settle().await;
    for at in 0..2 {
        cluster.run(at, &format!("INSERT INTO items VALUES (1{at}, 'carried')")).await;
    }
    cluster.settle().await;
}
