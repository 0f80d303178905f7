//! Changes of which nobody who is there knows all: what was done to a column went by way of a node that lacks it, or stands where
//! the row cannot be read.

use concord_tests::{Cluster, Kind};

use super::lacking;

/// A row of 100 at three nodes, of which the second lacks the column `notes`.
async fn account() -> Cluster {
    let table = |at| {
        let (notes, first) = if at == 1 { ("", "") } else { (", notes text", ", 'first'") };
        format!(
            "CREATE TABLE items (id integer PRIMARY KEY, amount integer NOT NULL, name text{notes}); \
             INSERT INTO items VALUES (1, 100, 'v'{first})"
        )
    };
    lacking("{ sum = [\"amount\"] }", &[vec![], vec!["notes"], vec![]], table).await
}

/// GIVEN a change of the third node that the second has heard of, and not the first
/// WHEN those two meet while the third is away, and users of each may go on
/// THEN nobody takes what is known only in part, and once all are there every change counts once and nothing goes silently.
#[tokio::test]
async fn what_is_added_up_waits_for_who_knows_the_columns_of_it() {
    for (at_c, at_b, at_a, amount, notes, lost) in [
        ("amount = amount + 5", "", "amount = amount + 1", 106, "first", 0),
        ("amount = amount + 5, notes = 'x'", "amount = amount + 7", "", 112, "x", 0),
        ("amount = amount + 5, notes = 'x'", "amount = amount + 7", "amount = amount + 1", 113, "first", 1),
    ] {
        let mut cluster = account().await;
        cluster.leave(0);
        cluster.later(2, &format!("UPDATE items SET {at_c}")).await;
        cluster.sync().await;
        cluster.leave(2);
        cluster.back(0);
        if !at_b.is_empty() {
            cluster.later(1, &format!("UPDATE items SET {at_b}")).await;
        }
        assert_eq!(cluster.sync().await.waiting, 1);
        assert_eq!(cluster.waiting().await, ["a items [1] unreadable"]);
        let told = "what c changed came by way of a node that lacks columns";
        assert!(cluster.reasons("a").await[0].starts_with(told), "{:?}", cluster.reasons("a").await);
        cluster.holds_at(0, "SELECT amount, notes FROM items", &["100|first"]).await;
        if !at_a.is_empty() {
            cluster.later(0, &format!("UPDATE items SET {at_a}")).await;
        }
        cluster.sync().await;
        // Its maker alone does not know what else the other has heard of.
        cluster.leave(1);
        cluster.back(2);
        cluster.sync().await;
        cluster.back(1);
        cluster.sync().await;
        assert_eq!(cluster.waiting().await, [""; 0]);
        for at in [0, 2] {
            cluster.holds_at(at, "SELECT amount, notes FROM items", &[&format!("{amount}|{notes}")]).await;
        }
        cluster.holds_at(1, "SELECT amount FROM items", &[&amount.to_string()]).await;
        let journal = "SELECT count(*) FROM concord_journal WHERE loser_row LIKE '%\"x\"%'";
        cluster.holds_at(0, journal, &[&lost.to_string()]).await;
        cluster.quiet().await;
    }
}

/// What all who are there have had before keeps nobody waiting, although those who have the column are away.
#[tokio::test]
async fn what_all_who_are_there_have_had_is_no_news() {
    let lacks = [vec![], vec!["notes"], vec!["notes"], vec![]];
    let table = |at: usize| {
        let notes = if lacks[at].is_empty() { ", notes text DEFAULT 'first'" } else { "" };
        format!(
            "CREATE TABLE items (id integer PRIMARY KEY, amount integer NOT NULL{notes}); INSERT INTO items (id, amount) VALUES (1, 100)"
        )
    };
    let mut cluster = lacking("{ sum = [\"amount\"] }", &lacks, table).await;
    // As the last is away, all entries stay.
    cluster.leave(3);
    cluster.later(0, "UPDATE items SET amount = amount + 5, notes = 'x'").await;
    cluster.sync().await;
    cluster.leave(0);
    cluster.later(1, "UPDATE items SET amount = amount + 7").await;
    assert_eq!(cluster.sync().await.waiting, 0);
    cluster.holds_at(2, "SELECT amount FROM items", &["112"]).await;
    cluster.later(2, "UPDATE items SET amount = amount + 1").await;
    cluster.later(0, "UPDATE items SET amount = amount + 10").await;
    cluster.back(0);
    cluster.back(3);
    cluster.sync().await;
    assert_eq!(cluster.waiting().await, [""; 0]);
    for at in [0, 3] {
        cluster.holds_at(at, "SELECT amount, notes FROM items", &["123|x"]).await;
    }
    for at in [1, 2] {
        cluster.holds_at(at, "SELECT amount FROM items", &["123"]).await;
    }
    cluster.quiet().await;
}

/// GIVEN a row that cannot be read at the only node with a column
/// WHEN a node without the column changes the row
/// THEN the change waits there until the row can be read, and the column stays what it is.
#[tokio::test]
async fn a_column_of_a_row_that_cannot_be_read_is_kept() {
    let tables = "[tables.items.nodes.b]\nomit = [\"notes\"]\n";
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Postgres], |_| String::new(), tables).await;
    let tables = [
        "CREATE TABLE items (id integer PRIMARY KEY, price integer, notes text); INSERT INTO items VALUES (7, 'abc', 'mine')",
        "CREATE TABLE items (id integer PRIMARY KEY, price integer); INSERT INTO items VALUES (7, 1)",
    ];
    cluster.create(&tables).await;
    cluster.install().await;
    cluster.run(1, "UPDATE items SET price = 3 WHERE id = 7").await;
    assert_eq!(cluster.sync().await.waiting, 1);
    cluster.holds_at(0, "SELECT price, notes FROM items", &["abc|mine"]).await;
    assert_eq!(cluster.waiting().await, ["a items [7] value"]);
    let told = cluster.reasons("a").await;
    assert!(told[0].contains("cannot be read, and its `notes`"), "{told:?}");
    cluster.later(0, "UPDATE items SET price = 5 WHERE id = 7").await;
    cluster.sync().await;
    assert_eq!(cluster.waiting().await, [""; 0]);
    cluster.holds_at(0, "SELECT price, notes FROM items", &["5|mine"]).await;
    cluster.holds_at(1, "SELECT price FROM items", &["5"]).await;
    cluster.quiet().await;
}
