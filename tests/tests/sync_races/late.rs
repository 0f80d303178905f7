//! Transactions that began early and end late, or never: what others do meanwhile arrives, and theirs counts once.

use concord_tests::postgres::Server;
use concord_tests::{As, Cluster, Database, Kind, PATIENCE, User, wait_until};

use super::{BOTH_POSTGRES, ITEMS, SUM, items};

/// Transactions that write early and commit after others, some of whose numbers are lower and some higher.
#[tokio::test]
async fn late_commits_are_neither_skipped_nor_read_twice() {
    for kinds in [BOTH_POSTGRES, &[Kind::Mariadb, Kind::Postgres]] {
        commits_late(kinds).await;
    }
}

async fn commits_late(kinds: &[Kind]) {
    let mut cluster = items(kinds, SUM).await;
    let mut late: Vec<User> = Vec::new();
    for id in 1..=3 {
        let mut user = cluster.nodes[0].database.user().await;
        user.execute(&format!("BEGIN; UPDATE items SET amount = amount + 1 WHERE id = {id}")).await;
        cluster.run(0, &format!("INSERT INTO items VALUES ({}, 'between', {id})", id + 10)).await;
        late.push(user);
    }
    cluster.settle().await;
    for (n, at) in [1, 0, 2].into_iter().enumerate() {
        late[at].execute("SAVEPOINT s; INSERT INTO items VALUES (100, 'undone', 1); ROLLBACK TO s; COMMIT").await;
        cluster.run(1, &format!("UPDATE items SET amount = amount + 10 WHERE id = {}", at + 1)).await;
        cluster.settle().await;
        cluster.holds("SELECT sum(amount) FROM items WHERE id < 4", &[&(60 + 11 * (n + 1)).to_string()]).await;
    }
    cluster.holds("SELECT id, amount FROM items ORDER BY id", &["1|21", "2|31", "3|41", "11|1", "12|2", "13|3"]).await;
}

/// Nothing that somebody does in another database of the server keeps changes from arriving.
#[tokio::test]
async fn a_long_transaction_in_another_database() {
    let mut cluster = items(BOTH_POSTGRES, SUM).await;
    let other = Database::new(Kind::Postgres).await;
    let mut long = other.user_as(As::Sync).await;
    long.execute("BEGIN; CREATE TABLE t (id integer)").await;
    for _ in 0..2 {
        for at in 0..2 {
            cluster.run(at, "UPDATE items SET amount = amount + 1 WHERE id = 1").await;
        }
        cluster.settle().await;
    }
    cluster.holds("SELECT amount FROM items WHERE id = 1", &["14"]).await;
    long.execute("COMMIT").await;
    cluster.settle().await;
}

#[tokio::test]
async fn an_orphaned_prepared_transaction() {
    let server = Server::dedicated(&[]);
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Sqlite], |_| ITEMS.to_owned(), SUM).await;
    let database = Database::on(&server).await;
    database.user_as(As::Sync).await.execute(ITEMS).await;
    cluster.replace(0, database).await;
    cluster.install().await;
    // GIVEN a change that is neither there nor gone, and a session that has been idle within a transaction
    cluster.run(0, "BEGIN; UPDATE items SET amount = amount + 1 WHERE id = 1; PREPARE TRANSACTION 'orphan'").await;
    let mut idle = cluster.nodes[0].database.user().await;
    idle.execute("BEGIN; UPDATE items SET amount = amount + 1 WHERE id = 2").await;
    // WHEN others go on THEN their changes arrive
    cluster.run(0, "UPDATE items SET amount = 33 WHERE id = 3").await;
    cluster.run(1, "UPDATE items SET amount = amount + 10 WHERE id = 3").await;
    cluster.settle().await;
    cluster.holds("SELECT amount FROM items ORDER BY id", &["10", "20", "43"]).await;
    // AND status names, after a while, both that hold the horizon back
    let named = async || {
        let status = cluster.session().status().await.expect("a status");
        let blockers = status.nodes.into_iter().find(|node| node.node == "a").expect("a is there").blockers;
        (blockers.len() >= 2).then_some(blockers)
    };
    let blockers = wait_until("status to name two blockers", PATIENCE, named).await;
    assert!(blockers.iter().any(|line| line.contains("orphan")), "{blockers:?}");
    let pid = idle.cell("SELECT pg_backend_pid()").await;
    assert!(blockers.iter().any(|line| line.contains(&pid)), "{blockers:?}");
    // AND when they end, their changes count once
    idle.execute("COMMIT").await;
    cluster.run(0, "COMMIT PREPARED 'orphan'").await;
    cluster.settle().await;
    cluster.holds("SELECT amount FROM items ORDER BY id", &["11", "21", "43"]).await;
}
