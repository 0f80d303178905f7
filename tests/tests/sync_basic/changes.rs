//! Inserts, updates and deletes, without conflicts.

use super::{ALL, ITEMS, items};
use concord_tests::{Cluster, Kind};

concord_tests::clusters! {
    pairs: [nothing_to_do, rows_of_before_stay, a_user_rolls_back, many_rows, small_batches, both_ends_at_once,
            a_large_transaction_in_a_later_table, room_for_the_oldest, divided_among_tables]
    many: []
    all: [inserts, updates, deletes, reinserts, a_row_goes_around]
}

concord_tests::clusters! {
    mariadb: [inserts, updates, deletes, reinserts, a_user_rolls_back, both_ends_at_once]
}

async fn inserts(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    let last = kinds.len() - 1;
    cluster.run(0, "INSERT INTO items VALUES (4, 'four', 40), (5, NULL, -50)").await;
    cluster.run(last, "INSERT INTO items VALUES (6, 'six', 60)").await;
    let summary = cluster.settle().await;
    assert_eq!(summary.conflicts, 0);
    cluster.holds(ALL, &["1|one|10", "2|two|20", "3|three|30", "4|four|40", "5|NULL|-50", "6|six|60"]).await;
    assert_eq!(summary.nodes.iter().map(|node| node.written).sum::<u64>(), 3 * last as u64);
}

async fn updates(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    let last = kinds.len() - 1;
    cluster.run(0, "UPDATE items SET name = NULL, amount = 11 WHERE id = 1").await;
    cluster.run(last, "UPDATE items SET amount = amount + 1 WHERE id > 1").await;
    let summary = cluster.settle().await;
    assert_eq!(summary.conflicts, 0);
    cluster.holds(ALL, &["1|NULL|11", "2|two|21", "3|three|31"]).await;
    cluster.run(last, "UPDATE items SET amount = 12 WHERE id = 1").await;
    assert_eq!(cluster.settle().await.conflicts, 0);
    cluster.holds(ALL, &["1|NULL|12", "2|two|21", "3|three|31"]).await;
}

async fn deletes(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    let last = kinds.len() - 1;
    cluster.run(0, "DELETE FROM items WHERE id = 1").await;
    cluster.run(last, "DELETE FROM items WHERE id = 3").await;
    let summary = cluster.settle().await;
    assert_eq!((summary.conflicts, summary.nodes.iter().map(|node| node.deleted).sum()), (0, 2 * last as u64));
    cluster.holds(ALL, &["2|two|20"]).await;
}

/// A key that was deleted comes back, made anew where it was deleted and elsewhere.
async fn reinserts(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    let last = kinds.len() - 1;
    cluster.run(0, "DELETE FROM items WHERE id IN (1, 2)").await;
    cluster.settle().await;
    cluster.run(0, "INSERT INTO items VALUES (1, 'uno', 1)").await;
    cluster.run(last, "INSERT INTO items VALUES (2, 'dos', 2); DELETE FROM items WHERE id = 3").await;
    cluster.run(last, "INSERT INTO items VALUES (3, 'tres', 3)").await;
    assert_eq!(cluster.settle().await.conflicts, 0);
    cluster.holds(ALL, &["1|uno|1", "2|dos|2", "3|tres|3"]).await;
    cluster.run(last, "DELETE FROM items WHERE id = 1").await;
    cluster.settle().await;
    cluster.holds(ALL, &["2|dos|2", "3|tres|3"]).await;
}

/// Every node in turn adds to what the one before it wrote.
async fn a_row_goes_around(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    for round in 0..2 {
        for at in 0..kinds.len() {
            cluster.run(at, "UPDATE items SET amount = amount + 1 WHERE id = 2").await;
            assert_eq!(cluster.sync().await.conflicts, 0, "round {round}, node {at}");
        }
    }
    cluster.settle().await;
    cluster.holds("SELECT amount FROM items WHERE id = 2", &[&format!("{}", 20 + 2 * kinds.len())]).await;
    assert!(cluster.session().conflicts(0).await.expect("a journal").is_empty());
}

async fn nothing_to_do(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    let summary = cluster.settle().await;
    assert_eq!((summary.nodes, summary.conflicts), (Vec::new(), 0));
}

/// What stood there at install differs and nobody has touched it since: that is for `load` and `verify`.
async fn rows_of_before_stay(kinds: &[Kind]) {
    let mut cluster = Cluster::bare(kinds, |_| ITEMS.to_owned(), "[tables.items]").await;
    cluster.run(1, "UPDATE items SET amount = 99 WHERE id = 1").await;
    cluster.install().await;
    cluster.run(0, "UPDATE items SET amount = 21 WHERE id = 2").await;
    cluster.sync().await;
    cluster.holds_at(0, ALL, &["1|one|10", "2|two|21", "3|three|30"]).await;
    cluster.holds_at(1, ALL, &["1|one|99", "2|two|21", "3|three|30"]).await;
}

async fn a_user_rolls_back(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    cluster.run(0, "BEGIN").await;
    cluster.run(0, "DELETE FROM items").await;
    cluster.run(0, "ROLLBACK").await;
    cluster.run(1, "BEGIN").await;
    cluster.run(1, "SAVEPOINT s").await;
    cluster.run(1, "UPDATE items SET amount = 0").await;
    cluster.run(1, "ROLLBACK TO s").await;
    cluster.run(1, "UPDATE items SET amount = 31 WHERE id = 3").await;
    cluster.run(1, "COMMIT").await;
    cluster.settle().await;
    cluster.holds(ALL, &["1|one|10", "2|two|20", "3|three|31"]).await;
}

const NUMBERS: &str =
    "INSERT INTO items WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
                       SELECT i, 'item ' || i, i FROM n";

/// More than one statement of the engine's takes.
async fn many_rows(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    cluster.run(0, NUMBERS).await;
    cluster.settle().await;
    cluster.run(1, "UPDATE items SET amount = -amount WHERE id % 2 = 0").await;
    cluster.run(0, "DELETE FROM items WHERE id % 3 = 1 AND id % 2 = 1").await;
    assert_eq!(cluster.settle().await.conflicts, 0);
    cluster.holds("SELECT count(*), sum(amount) FROM items WHERE id >= 10", &["9993|-12001997"]).await;
}

/// A batch of seven keeps nobody from arriving, nor does it take any change twice.
async fn small_batches(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, |_| ITEMS.to_owned(), "[defaults]\nbatch = 7\n[tables.items]").await;
    for id in 10..40 {
        cluster.run(0, &format!("INSERT INTO items VALUES ({id}, 'x', {id})")).await;
        cluster.run(1, &format!("INSERT INTO items VALUES ({}, 'y', {id})", id + 100)).await;
    }
    cluster.run(0, "UPDATE items SET amount = amount + 1 WHERE id < 20").await;
    let summary = cluster.settle().await;
    assert!(summary.cycles > 4, "a batch of 7 for 60 rows in {} cycles", summary.cycles);
    assert_eq!(summary.conflicts, 0);
    cluster.holds("SELECT count(*), sum(amount) FROM items", &["63|1543"]).await;
}

/// A page that the first table has begun to fill has no room for a transaction of the second that must go before it.
async fn a_large_transaction_in_a_later_table(kinds: &[Kind]) {
    let setup = format!("{ITEMS}; CREATE TABLE more (id integer PRIMARY KEY, amount integer)");
    let tables = "[defaults]\nbatch = 10\n[tables.items]\n[tables.more]";
    let mut cluster = Cluster::new(kinds, |_| setup.clone(), tables).await;
    let rows: Vec<String> = (1..=35).map(|id| format!("({id}, {id})")).collect();
    cluster.run(0, &format!("INSERT INTO more VALUES {}", rows.join(", "))).await;
    for id in 10..25 {
        cluster.run(0, &format!("INSERT INTO items VALUES ({id}, 'x', {id})")).await;
    }
    let session = async { cluster.session().sync().await.unwrap() };
    let summary = tokio::time::timeout(std::time::Duration::from_secs(60), session).await.expect("it never ends");
    assert_eq!(summary.nodes.iter().map(|node| node.written).sum::<u64>(), 50);
    cluster.holds("SELECT count(*), sum(amount) FROM more", &["35|630"]).await;
    cluster.holds("SELECT count(*) FROM items", &["18"]).await;
}

/// The same key is changed many times between two syncs; only what stands at the end travels.
async fn both_ends_at_once(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    cluster.run(0, "INSERT INTO items VALUES (4, 'four', 40)").await;
    cluster.run(0, "UPDATE items SET amount = 41 WHERE id = 4").await;
    cluster.run(0, "DELETE FROM items WHERE id = 4").await;
    cluster.run(1, "INSERT INTO items VALUES (5, 'five', 50)").await;
    cluster.run(1, "DELETE FROM items WHERE id = 5").await;
    cluster.run(1, "INSERT INTO items VALUES (5, 'fünf', 55)").await;
    let summary = cluster.settle().await;
    assert_eq!(summary.nodes.iter().map(|node| node.written).sum::<u64>(), 1);
    cluster.holds(ALL, &["1|one|10", "2|two|20", "3|three|30", "5|fünf|55"]).await;
}

const TWO: &str =
    "CREATE TABLE one (id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE two (id INTEGER PRIMARY KEY, v TEXT);";

/// The first table's changes, though younger, leave less room in a batch than the oldest transaction takes, which is in the
/// second. It goes first, alone.
async fn room_for_the_oldest(kinds: &[Kind]) {
    let mut cluster =
        Cluster::new(kinds, |_| TWO.to_owned(), "[defaults]\nbatch = 7\n[tables.one]\n[tables.two]").await;
    cluster.run(0, "INSERT INTO two VALUES (1, 'x'), (2, 'x'), (3, 'x'), (4, 'x'), (5, 'x')").await;
    cluster.run(0, "INSERT INTO one VALUES (1, 'x'), (2, 'x'), (3, 'x'), (4, 'x'), (5, 'x')").await;
    let settled = tokio::time::timeout(std::time::Duration::from_secs(60), cluster.settle());
    settled.await.expect("a sync that ends");
    cluster.holds("SELECT (SELECT count(*) FROM one), (SELECT count(*) FROM two)", &["5|5"]).await;
}

/// The oldest transaction is larger than a batch and lies in two tables.
async fn divided_among_tables(kinds: &[Kind]) {
    let mut cluster =
        Cluster::new(kinds, |_| TWO.to_owned(), "[defaults]\nbatch = 3\n[tables.one]\n[tables.two]").await;
    cluster.run(0, "BEGIN").await;
    cluster.run(0, "INSERT INTO one VALUES (1, 'x'), (2, 'x')").await;
    cluster.run(0, "INSERT INTO two VALUES (1, 'x'), (2, 'x'), (3, 'x'), (4, 'x'), (5, 'x')").await;
    cluster.run(0, "COMMIT").await;
    cluster.run(0, "INSERT INTO one VALUES (3, 'x'), (4, 'x'), (5, 'x')").await;
    let settled = tokio::time::timeout(std::time::Duration::from_secs(60), cluster.settle());
    settled.await.expect("a sync that ends");
    cluster.holds("SELECT (SELECT count(*) FROM one), (SELECT count(*) FROM two)", &["5|5"]).await;
}
