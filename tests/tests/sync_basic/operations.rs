//! Tables of which not all operations are carried: what nobody could know of is not overwritten unread.

use super::items_with;
use concord::sync::{PlanFile, Wish};
use concord_tests::{Cluster, Kind, NAMES};

concord_tests::clusters! {
    pairs: [
        made_apart_at_the_first, made_apart_at_the_last, a_row_that_came_and_went, a_key_that_is_given_anew, a_plan_of_it,
        a_delete_keeps_what_it_takes_unread,
    ]
    many: [made_apart_among_many]
    all: []
}

const FOUR: &str = "SELECT name FROM items WHERE id = 4";

const BLIND: &str = "operations = [\"update\", \"delete\"]";

/// The rows that lost, as the node they come from and the name.
async fn losers(cluster: &Cluster) -> Vec<String> {
    let journal = cluster.session().conflicts(0).await.expect("a journal");
    let name = |row: &serde_json::Value| row["name"].as_str().unwrap_or("-").to_owned();
    journal
        .iter()
        .map(|lost| format!("{} {}", lost.loser, lost.loser_row.as_ref().map_or_else(String::new, name)))
        .collect()
}

/// A row is inserted and changed at one node, all of which the other has passed when it inserts its own.
async fn made_apart(kinds: &[Kind], policy: &str, first: usize, winner: &str, loser: &str) {
    let mut cluster = items_with(kinds, &format!("conflict = {policy}\n{BLIND}")).await;
    cluster.later(first, "INSERT INTO items VALUES (4, 'first', 1)").await;
    cluster.sync().await;
    cluster.later(first, "UPDATE items SET name = 'changed' WHERE id = 4").await;
    assert_eq!(cluster.sync().await.nodes, []);
    cluster.later(1 - first, "INSERT INTO items VALUES (4, 'second', 2)").await;
    assert_eq!(cluster.settle().await.conflicts, 1);
    cluster.holds(FOUR, &[winner]).await;
    assert_eq!(losers(&cluster).await, [loser]);
}

async fn made_apart_at_the_first(kinds: &[Kind]) {
    made_apart(kinds, "\"latest-wins\"", 0, "second", "a changed").await;
    made_apart(kinds, "{ prefer = [\"a\"] }", 0, "changed", "b second").await;
}

async fn made_apart_at_the_last(kinds: &[Kind]) {
    made_apart(kinds, "\"latest-wins\"", 1, "second", "b changed").await;
    made_apart(kinds, "\"earliest-wins\"", 1, "changed", "a second").await;
}

async fn made_apart_among_many(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, BLIND).await;
    let last = kinds.len() - 1;
    for at in [0, last] {
        cluster.later(at, "INSERT INTO items VALUES (4, 'old', 1)").await;
    }
    assert_eq!(cluster.sync().await.conflicts, 0);
    cluster.later(1, "INSERT INTO items VALUES (4, 'new', 2)").await;
    assert_eq!(cluster.sync().await.conflicts, 1);
    for at in [0, 1, last] {
        cluster.holds_at(at, FOUR, &["new"]).await;
    }
    let mut lost = losers(&cluster).await;
    lost.sort();
    assert_eq!(lost, ["a old".to_owned(), format!("{} old", NAMES[last])]);
    cluster.quiet().await;
}

async fn a_row_that_came_and_went(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, BLIND).await;
    cluster.run(0, "INSERT INTO items VALUES (4, 'stands', 1)").await;
    cluster.sync().await;
    cluster.run(1, "INSERT INTO items VALUES (4, 'comes', 2)").await;
    cluster.run(1, "DELETE FROM items WHERE id = 4").await;
    assert_eq!(cluster.sync().await.conflicts, 0);
    cluster.holds_at(0, FOUR, &["stands"]).await;
    cluster.quiet().await;
    assert!(losers(&cluster).await.is_empty());
}

/// As good as an insert.
async fn a_key_that_is_given_anew(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, &format!("conflict = {{ prefer = [\"a\"] }}\n{BLIND}")).await;
    cluster.run(0, "INSERT INTO items VALUES (4, 'stands', 1)").await;
    cluster.sync().await;
    cluster.run(1, "UPDATE items SET id = 4 WHERE id = 3").await;
    assert_eq!(cluster.settle().await.conflicts, 1);
    cluster.holds("SELECT id, name FROM items WHERE id > 2", &["4|stands"]).await;
    assert_eq!(losers(&cluster).await, ["b three"]);
}

/// A plan says that the row waits to be weighed; carried out, it leads to the same.
async fn a_plan_of_it(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, BLIND).await;
    cluster.later(0, "INSERT INTO items VALUES (4, 'first', 1)").await;
    cluster.sync().await;
    cluster.later(1, "INSERT INTO items VALUES (4, 'second', 2)").await;
    let wish = Wish { table: None, limit: 0, file: true };
    let (plan, file) = Box::pin(cluster.session().plan(&wish)).await.expect("a plan");
    let reason = plan.rows[0].reason.as_deref().unwrap_or_default();
    assert!(reason.starts_with("another row of the same key was inserted elsewhere"), "{:?}", plan.rows);
    let path = cluster.file("plan");
    std::fs::write(&path, file.expect("a file")).expect("the folder is ours");
    let file = PlanFile::read(&path).expect("it reads as it was written");
    Box::pin(cluster.session().carry_out(&file)).await.expect("it is carried out");
    assert_eq!(cluster.settle().await.conflicts, 1);
    cluster.holds(FOUR, &["second"]).await;
    assert_eq!(losers(&cluster).await, ["a first"]);
}

async fn a_delete_keeps_what_it_takes_unread(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, "operations = [\"insert\", \"delete\"]").await;
    cluster.run(1, "UPDATE items SET name = 'mine' WHERE id = 1").await;
    cluster.sync().await;
    cluster.run(0, "DELETE FROM items WHERE id = 1").await;
    assert_eq!(cluster.sync().await.conflicts, 0);
    cluster.holds("SELECT id FROM items ORDER BY id", &["2", "3"]).await;
    assert_eq!(losers(&cluster).await, ["b mine"]);
    cluster.quiet().await;
}
