//! Rows that wait of which nobody who was there knew a column.

use concord_tests::{Cluster, Kind};

use super::lacking;

/// GIVEN a change of a node without a column that waits at another without it, while the one that has the column was away
/// WHEN that one comes back, and whoever made the change is there or not
/// THEN it takes the change, and what it has in the column stays.
#[tokio::test]
async fn what_was_not_known_of_a_row_that_waits_is_no_null() {
    for maker_is_there in [true, false] {
        let table = |at| {
            let (notes, first) = if at == 0 { (", notes text", ", 'first'") } else { ("", "") };
            let check = if at == 2 { ", CHECK (name NOT LIKE 'x%')" } else { "" };
            format!(
                "CREATE TABLE items (id integer PRIMARY KEY, name text{notes}{check}); INSERT INTO items VALUES (1, 'one'{first})"
            )
        };
        let mut cluster = lacking("\"latest-wins\"", &[vec![], vec!["notes"], vec!["notes"]], table).await;
        cluster.leave(0);
        cluster.later(1, "UPDATE items SET name = 'x1'").await;
        // It waits for one reason, however often it is tried.
        for parked in [1, 0] {
            let summary = cluster.sync().await;
            assert_eq!((summary.parked, summary.waiting), (parked, 1));
            assert_eq!(cluster.waiting().await, ["c items [1] constraint"]);
        }
        if !maker_is_there {
            cluster.leave(1);
        }
        cluster.back(0);
        assert_eq!(cluster.sync().await.waiting, 1);
        cluster.holds_at(0, "SELECT name, notes FROM items", &["x1|first"]).await;
        cluster.back(1);
        cluster.later(0, "UPDATE items SET name = 'good'").await;
        cluster.sync().await;
        assert_eq!(cluster.waiting().await, [""; 0]);
        cluster.holds_at(0, "SELECT name, notes FROM items", &["good|first"]).await;
        for at in [1, 2] {
            cluster.holds_at(at, "SELECT name FROM items", &["good"]).await;
        }
        cluster.quiet().await;
    }
}

/// A column that the source of a table that goes one way has not is each target's own, also while a row waits for it.
#[tokio::test]
async fn a_targets_own_column_outlasts_what_waits() {
    let tables = "[tables.items]\nfrom = \"a\"\n[tables.items.nodes.a]\nomit = [\"notes\"]\n";
    let mut cluster = Cluster::bare(&[Kind::Sqlite; 3], |_| String::new(), tables).await;
    cluster
        .create(&[
            "CREATE TABLE items (id integer PRIMARY KEY, amount integer); INSERT INTO items VALUES (1, 1)",
            "CREATE TABLE items (id integer PRIMARY KEY, amount integer, notes text, CHECK (amount < 100 OR notes = 'free')); \
             INSERT INTO items VALUES (1, 1, 'own')",
            "CREATE TABLE items (id integer PRIMARY KEY, amount integer, notes text); INSERT INTO items VALUES (1, 1, 'other')",
        ])
        .await;
    cluster.install().await;
    cluster.run(0, "UPDATE items SET amount = 500").await;
    assert_eq!(cluster.sync().await.waiting, 1);
    assert_eq!(cluster.waiting().await, ["b items [1] constraint"]);
    // WHEN the target makes room for it while the source is away
    cluster.leave(0);
    cluster.run(1, "UPDATE items SET notes = 'free'").await;
    cluster.sync().await;
    // THEN it is taken beside what the target itself has
    cluster.holds_at(1, "SELECT amount, notes FROM items", &["500|free"]).await;
    cluster.holds_at(2, "SELECT amount, notes FROM items", &["500|other"]).await;
    cluster.back(0);
    cluster.sync().await;
    assert_eq!(cluster.waiting().await, [""; 0]);
    cluster.quiet().await;
}
