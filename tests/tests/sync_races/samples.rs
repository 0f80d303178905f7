//! The row of each table at MySQL and MariaDB that has to be there, or to have been deleted: what betrays that rows are gone without a trace.

use concord_tests::{Cluster, Kind};

use super::{SUM, items};

const THREE: &[Kind] = &[Kind::Sqlite, Kind::Mariadb, Kind::Sqlite];

/// A user of b deletes the first row once a cycle has read the histories: it counts as deleted, and as nothing else.
async fn deleted_meanwhile(cluster: &mut Cluster) {
    let meanwhile = async |cluster: &mut Cluster| cluster.later(1, "DELETE FROM items WHERE id = 1").await;
    let summary = cluster.sync_while("read-done", meanwhile).await;
    assert_eq!(summary.stopped, [], "{summary:?}");
    cluster.settle().await;
    cluster.holds("SELECT id FROM items ORDER BY id", &["2", "3"]).await;
}

/// GIVEN a change that loses against one of b, which is only told of there
/// WHEN a user of b deletes the row before that
/// THEN it counts as deleted, although what was decided without knowing of that is told last.
#[tokio::test]
async fn deleted_while_it_is_told_of() {
    let mut cluster = items(THREE, "[tables.items]").await;
    // Now there is a row to look for: the first.
    cluster.settle().await;
    cluster.run(0, "UPDATE items SET name = 'first' WHERE id = 1").await;
    cluster.later(1, "UPDATE items SET name = 'last' WHERE id = 1").await;
    deleted_meanwhile(&mut cluster).await;
}

/// The same of what is counted one by one, and told while the row waits.
#[tokio::test]
async fn deleted_while_an_amount_arrives() {
    let mut cluster = items(THREE, SUM).await;
    cluster.settle().await;
    cluster.run(0, "UPDATE items SET amount = amount + 5 WHERE id = 1").await;
    deleted_meanwhile(&mut cluster).await;
}

/// GIVEN a row that was deleted and came back, of which a node that is away knows neither
/// WHEN all rows go without a trace
/// THEN it is missed, although what came with it does not tell of the delete, which the others had passed.
#[tokio::test]
async fn gone_after_it_came_back() {
    let mut cluster = items(THREE, "[tables.items]").await;
    cluster.settle().await;
    cluster.leave(2);
    cluster.run(1, "DELETE FROM items WHERE id = 1").await;
    cluster.sync().await;
    cluster.run(0, "INSERT INTO items VALUES (1, 'back', 11)").await;
    cluster.sync().await;
    // Another had become the row to look for.
    cluster.run(1, "DELETE FROM items WHERE id = 2").await;
    cluster.sync().await;
    let first = "SELECT count(*) FROM concord_sample WHERE name = 'items' AND `key` LIKE '%1%'";
    cluster.holds_at(1, first, &["1"]).await;
    cluster.run_as_owner(1, "TRUNCATE TABLE items").await;
    let summary = cluster.sync().await;
    assert_eq!(summary.stopped.len(), 1, "{summary:?}");
    assert!(summary.stopped[0].why.contains("rows are gone"), "{summary:?}");
    cluster.holds_at(0, "SELECT id FROM items ORDER BY id", &["1", "3"]).await;
}
