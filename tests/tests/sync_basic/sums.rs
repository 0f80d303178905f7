//! `sum`: what every change added is counted once, whoever was away and whatever was repeated.

use super::{items, items_with};
use concord_tests::{Cluster, Kind};

concord_tests::clusters! {
    pairs: [
        numbers_add_up_and_texts_do_not, inserts_add_up, a_delete_is_a_version, exact_decimals, overflow_waits, many_changes_between_syncs,
    ]
    many: []
    all: [every_node_adds, with_absences]
}

concord_tests::clusters! {
    mariadb: [numbers_add_up_and_texts_do_not, inserts_add_up, exact_decimals]
    many: [with_absences]
}

const SUM: &str = "conflict = { sum = [\"amount\"] }";
const ROW: &str = "SELECT name, amount FROM items WHERE id = 1";

async fn numbers_add_up_and_texts_do_not(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, SUM).await;
    cluster.later(1, "UPDATE items SET amount = amount + 5, name = 'b' WHERE id = 1").await;
    cluster.later(0, "UPDATE items SET amount = amount - 2, name = 'a' WHERE id = 1").await;
    assert_eq!(cluster.settle().await.conflicts, 1);
    cluster.holds(ROW, &["a|13"]).await;
}

async fn every_node_adds(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, SUM).await;
    for round in 1..=3 {
        for at in 0..kinds.len() {
            cluster.run(at, "UPDATE items SET amount = amount + 1").await;
            cluster.run(at, "UPDATE items SET amount = amount + 1 WHERE id = 1").await;
        }
        cluster.settle().await;
        cluster.holds("SELECT amount FROM items WHERE id = 1", &[&(10 + 2 * round * kinds.len()).to_string()]).await;
        cluster.holds("SELECT amount FROM items WHERE id = 2", &[&(20 + round * kinds.len()).to_string()]).await;
    }
}

async fn with_absences(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, SUM).await;
    for away in 0..kinds.len() {
        cluster.leave(away);
        for _ in 0..2 {
            for at in 0..kinds.len() {
                cluster.run(at, "UPDATE items SET amount = amount + 1 WHERE id = 1").await;
            }
            cluster.sync().await;
        }
        cluster.back(away);
    }
    cluster.settle().await;
    cluster.holds("SELECT amount FROM items WHERE id = 1", &[&(10 + 2 * kinds.len() * kinds.len()).to_string()]).await;
}

async fn many_changes_between_syncs(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, SUM).await;
    for step in 1..=50 {
        cluster.run(0, &format!("UPDATE items SET amount = amount + {step} WHERE id = 1")).await;
        cluster.run(1, &format!("UPDATE items SET amount = amount - {} WHERE id = 1", step * 2)).await;
    }
    cluster.settle().await;
    cluster.holds("SELECT amount FROM items WHERE id = 1", &[&(10 + 1275 - 2550).to_string()]).await;
}

/// Both start from nothing.
async fn inserts_add_up(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, SUM).await;
    cluster.later(0, "INSERT INTO items VALUES (4, 'a', 3)").await;
    cluster.later(1, "INSERT INTO items VALUES (4, 'b', 4)").await;
    cluster.settle().await;
    cluster.holds("SELECT name, amount FROM items WHERE id = 4", &["b|7"]).await;
}

async fn a_delete_is_a_version(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, SUM).await;
    cluster.later(0, "UPDATE items SET amount = 11 WHERE id = 1").await;
    cluster.later(1, "DELETE FROM items WHERE id = 1").await;
    cluster.settle().await;
    cluster.holds(ROW, &[]).await;
}

async fn exact_decimals(kinds: &[Kind]) {
    let setup = |_| {
        "CREATE TABLE items (id integer PRIMARY KEY, amount numeric(12,2));
         INSERT INTO items VALUES (1, 0.10), (2, NULL)"
            .to_owned()
    };
    let mut cluster = concord_tests::Cluster::new(kinds, setup, &format!("[tables.items]\n{SUM}")).await;
    cluster.run(0, "UPDATE items SET amount = 0.30 WHERE id = 1; UPDATE items SET amount = 1.50 WHERE id = 2").await;
    cluster.run(1, "UPDATE items SET amount = 0.15 WHERE id = 1; UPDATE items SET amount = 0.75 WHERE id = 2").await;
    assert_eq!(cluster.sync().await.conflicts, 0, "nothing is lost that the journal would have to keep");
    cluster
        .holds("SELECT count(*) FROM items WHERE (id = 1 AND amount = 0.35) OR (id = 2 AND amount = 2.25)", &["2"])
        .await;
    cluster.quiet().await;
}

/// What no column can hold is nobody's sum: the row waits and says why.
async fn overflow_waits(kinds: &[Kind]) {
    let setup = |_| {
        format!(
            "CREATE TABLE items (id integer PRIMARY KEY, amount bigint NOT NULL); INSERT INTO items VALUES (1, {})",
            i64::MAX - 10
        )
    };
    let mut cluster = concord_tests::Cluster::new(kinds, setup, &format!("[tables.items]\n{SUM}")).await;
    for at in 0..2 {
        cluster.run(at, "UPDATE items SET amount = amount + 9 WHERE id = 1").await;
    }
    let summary = cluster.sync().await;
    assert_eq!(summary.waiting, 2);
    let reasons = cluster.reasons("a").await;
    assert!(reasons[0].contains("above what"), "{reasons:?}");
    cluster.quiet().await;
    // A change that makes it fit ends the waiting, with every change counted.
    cluster.run(0, "UPDATE items SET amount = amount - 100 WHERE id = 1").await;
    cluster.settle().await;
    cluster.holds("SELECT amount FROM items", &[&(i64::MAX - 92).to_string()]).await;
}

/// The sum of two floats of 4 bytes is seldom one, and no row is to wait for that.
async fn floats_of_4_bytes_add_up(kind: Kind) {
    let setup = |of: Kind| {
        let ty = if of == Kind::Mariadb { "float" } else { "real" };
        format!("CREATE TABLE items (id integer PRIMARY KEY, amount {ty}); INSERT INTO items VALUES (1, 0.1)")
    };
    let mut cluster = Cluster::new(&[kind, kind], setup, &format!("[tables.items]\n{SUM}\n")).await;
    cluster.run(0, "UPDATE items SET amount = 0.2 WHERE id = 1").await;
    cluster.run(1, "UPDATE items SET amount = 0.3 WHERE id = 1").await;
    let summary = cluster.sync().await;
    assert_eq!(summary.waiting, 0, "{:?}", cluster.reasons("a").await);
    cluster.holds("SELECT count(*) FROM items WHERE amount > 0.399 AND amount < 0.401", &["1"]).await;
    cluster.quiet().await;
}

#[tokio::test]
async fn floats_of_4_bytes_of_postgresql_add_up() {
    floats_of_4_bytes_add_up(Kind::Postgres).await;
}

#[tokio::test]
async fn floats_of_4_bytes_of_mariadb_add_up() {
    floats_of_4_bytes_add_up(Kind::Mariadb).await;
}

/// Without `sum` the same changes are a plain conflict: what the tests above see comes from the policy.
#[tokio::test]
async fn latest_wins_does_not_add() {
    let mut cluster = items(&[Kind::Sqlite, Kind::Sqlite]).await;
    for at in 0..2 {
        cluster.later(at, "UPDATE items SET amount = amount + 5 WHERE id = 1").await;
    }
    cluster.settle().await;
    cluster.holds(ROW, &["one|15"]).await;
}

/// Changes are counted whose values a node could not store: a row that does not fit waits there and holds up no other, and one that
/// fits in the end arrives.
async fn a_column_that_is_smaller_than_the_others(kind: Kind) {
    let setup = |of: Kind| {
        let ty = if of == Kind::Sqlite { "integer" } else { "smallint" };
        format!(
            "CREATE TABLE items (id integer PRIMARY KEY, amount {ty} NOT NULL); INSERT INTO items VALUES (1, 10), (2, 20)"
        )
    };
    let kinds = [kind, Kind::Sqlite, Kind::Sqlite];
    let mut cluster = Cluster::new(&kinds, setup, &format!("[tables.items]\n{SUM}\n")).await;
    let all = "SELECT id, amount FROM items ORDER BY id";
    cluster.run(1, "UPDATE items SET amount = amount + 100000 WHERE id = 1").await;
    cluster.run(2, "UPDATE items SET amount = amount + 1 WHERE id = 2").await;
    cluster.sync().await;
    cluster.holds_at(0, all, &["1|10", "2|21"]).await;
    assert_eq!(cluster.waiting().await, ["a items [1] value"]);
    cluster.run(0, "UPDATE items SET amount = amount + 3 WHERE id = 1").await;
    cluster.run(2, "UPDATE items SET amount = amount - 90000 WHERE id = 1").await;
    cluster.settle().await;
    cluster.holds(all, &["1|10013", "2|21"]).await;
    cluster.run(1, "UPDATE items SET amount = amount + 100000 WHERE id = 2").await;
    cluster.run(0, "UPDATE items SET amount = amount + 5 WHERE id = 2").await;
    cluster.run(1, "UPDATE items SET amount = amount - 99999 WHERE id = 2").await;
    cluster.settle().await;
    cluster.holds(all, &["1|10013", "2|27"]).await;
}

#[tokio::test]
async fn a_column_of_postgresql_that_is_smaller_than_the_others() {
    a_column_that_is_smaller_than_the_others(Kind::Postgres).await;
}

#[tokio::test]
async fn a_column_of_mariadb_that_is_smaller_than_the_others() {
    a_column_that_is_smaller_than_the_others(Kind::Mariadb).await;
}

/// What is no number is in nobody's way: the row waits where the database has nothing like it, and the others go on.
#[tokio::test]
async fn what_is_no_number_holds_up_nobody() {
    let kinds = [Kind::Mariadb, Kind::Postgres, Kind::Sqlite];
    let setup = |of: Kind| {
        let ty = if of == Kind::Sqlite { "text" } else { "numeric(12,2)" };
        format!(
            "CREATE TABLE items (id integer PRIMARY KEY, amount {ty} NOT NULL); INSERT INTO items VALUES (1, 10), (2, 20)"
        )
    };
    let mut cluster = Cluster::new(&kinds, setup, &format!("[tables.items]\n{SUM}\n")).await;
    cluster.run(1, "UPDATE items SET amount = 'NaN' WHERE id = 1; UPDATE items SET amount = 21 WHERE id = 2").await;
    cluster.sync().await;
    cluster.holds_at(0, "SELECT amount FROM items WHERE id = 2", &["21.00"]).await;
    cluster.run(1, "UPDATE items SET amount = 11 WHERE id = 1; UPDATE items SET amount = 22 WHERE id = 2").await;
    cluster.settle().await;
    for at in [0, 1] {
        cluster.holds_at(at, "SELECT amount FROM items ORDER BY id", &["11.00", "22.00"]).await;
    }
}
