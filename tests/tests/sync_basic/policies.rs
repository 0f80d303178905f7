//! Conflicts decided otherwise than by the latest change. Sums have a file of their own.

use super::{items, items_with};
use concord_tests::{Cluster, Kind};

concord_tests::clusters! {
    pairs: [
        earliest_wins, prefer_goes_before_time, prefer_knows_no_third, park_waits_for_a_person, a_parked_drop_asserts_what_stands,
        a_change_that_has_seen_neither_side_still_parks, a_default_holds_for_every_table,
    ]
    many: [a_parked_conflict_of_three]
    all: [prefer_among_all, a_parked_conflict_among_all]
}

concord_tests::clusters! {
    mariadb: []
    many: [a_parked_conflict_of_three]
}

const NAME: &str = "SELECT name FROM items WHERE id = 1";

/// The last node first, then the first.
async fn conflict(cluster: &mut Cluster) {
    let last = cluster.nodes.len() - 1;
    cluster.later(last, "UPDATE items SET name = 'early' WHERE id = 1").await;
    cluster.later(0, "UPDATE items SET name = 'late' WHERE id = 1").await;
}

async fn earliest_wins(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, "conflict = \"earliest-wins\"").await;
    conflict(&mut cluster).await;
    assert_eq!(cluster.settle().await.conflicts, 1);
    cluster.holds(NAME, &["early"]).await;
    let journal = cluster.session().conflicts(0).await.expect("a journal");
    assert!(journal[0].reason.starts_with("earliest-wins: b"), "{}", journal[0].reason);
    assert_eq!(journal[0].loser_row.as_ref().map(|row| row["name"].clone()), Some("late".into()));
}

async fn prefer_goes_before_time(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, "conflict = { prefer = [\"b\"] }").await;
    conflict(&mut cluster).await;
    cluster.later(1, "UPDATE items SET name = 'b2' WHERE id = 2").await;
    cluster.later(0, "DELETE FROM items WHERE id = 2").await;
    assert_eq!(cluster.settle().await.conflicts, 2);
    cluster.holds("SELECT name FROM items WHERE id < 3 ORDER BY id", &["early", "b2"]).await;
}

/// Where only one node changed a row there is nothing to prefer.
async fn prefer_knows_no_third(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, "conflict = { prefer = [\"b\"] }").await;
    cluster.run(0, "UPDATE items SET name = 'alone' WHERE id = 1").await;
    assert_eq!(cluster.settle().await.conflicts, 0);
    cluster.holds(NAME, &["alone"]).await;
}

async fn prefer_among_all(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, "conflict = { prefer = [\"b\", \"a\"] }").await;
    for at in (0..kinds.len()).rev() {
        cluster.later(at, &format!("UPDATE items SET amount = {at}")).await;
    }
    cluster.settle().await;
    cluster.holds("SELECT DISTINCT amount FROM items", &["1"]).await;
}

async fn park_waits_for_a_person(kinds: &[Kind]) {
    // GIVEN a conflict
    let mut cluster = items_with(kinds, "conflict = \"park\"").await;
    conflict(&mut cluster).await;
    cluster.run(0, "UPDATE items SET name = 'zwei' WHERE id = 2").await;
    // WHEN it is parked
    let summary = cluster.sync().await;
    // THEN everybody keeps what they have, the row waits at both, and others go on
    assert_eq!(summary.waiting, 2);
    cluster.holds_at(0, NAME, &["late"]).await;
    cluster.holds_at(1, NAME, &["early"]).await;
    cluster.holds("SELECT name FROM items WHERE id = 2", &["zwei"]).await;
    assert_eq!(cluster.waiting().await, ["a items [1] conflict", "b items [1] conflict"]);
    let reasons = cluster.reasons("a").await;
    assert!(reasons[0].contains("the policy `park` leaves the decision to a person"), "{reasons:?}");
    cluster.quiet().await;
}

async fn a_parked_drop_asserts_what_stands(kinds: &[Kind]) {
    // GIVEN a conflict that waits
    let mut cluster = items_with(kinds, "conflict = \"park\"").await;
    conflict(&mut cluster).await;
    cluster.sync().await;
    // WHEN a person gives up what waits at b
    let dropped = cluster.session().drop_parked(|row| row.node == "b").await.expect("it can be dropped");
    assert_eq!(dropped.len(), 1);
    // THEN what stands at b counts everywhere, and the journal keeps the other
    cluster.settle().await;
    cluster.holds(NAME, &["early"]).await;
    let journal = cluster.session().conflicts(0).await.expect("a journal");
    let lost: Vec<_> = journal.iter().filter_map(|lost| lost.loser_row.as_ref()).map(|row| &row["name"]).collect();
    assert!(lost.iter().any(|name| *name == "late"), "{journal:#?}");
}

async fn a_change_that_has_seen_neither_side_still_parks(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, "conflict = \"park\"").await;
    conflict(&mut cluster).await;
    cluster.sync().await;
    cluster.run(0, "UPDATE items SET name = 'again' WHERE id = 1").await;
    cluster.sync().await;
    cluster.holds_at(0, NAME, &["again"]).await;
    cluster.holds_at(1, NAME, &["early"]).await;
    assert_eq!(cluster.waiting().await, ["a items [1] conflict", "b items [1] conflict"]);
    cluster.quiet().await;
}

/// Three who all differ: giving up one side leaves the others to be judged.
async fn a_parked_conflict_of_three(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, "conflict = \"park\"").await;
    for at in 0..3 {
        cluster.later(at, &format!("UPDATE items SET name = '{at}' WHERE id = 1")).await;
    }
    cluster.sync().await;
    for at in 0..3 {
        cluster.holds_at(at, NAME, &[&at.to_string()]).await;
    }
    cluster.quiet().await;
    // The latest of the others waits at each; what has been given up does not come back.
    for _ in 0..2 {
        cluster.session().drop_parked(|row| row.node == "b").await.expect("it can be dropped");
        cluster.sync().await;
    }
    cluster.settle().await;
    cluster.holds(NAME, &["1"]).await;
}

async fn a_parked_conflict_among_all(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, "conflict = \"park\"").await;
    conflict(&mut cluster).await;
    let summary = cluster.sync().await;
    assert_eq!(summary.waiting, kinds.len() as u64, "it waits at every node");
    cluster.quiet().await;
    cluster.session().drop_parked(|row| row.node == "a").await.expect("it can be dropped");
    cluster.settle().await;
    cluster.holds(NAME, &["late"]).await;
}

async fn a_default_holds_for_every_table(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    cluster.configure("[defaults]\nconflict = \"earliest-wins\"\n[tables.items]");
    conflict(&mut cluster).await;
    cluster.settle().await;
    cluster.holds(NAME, &["early"]).await;
}
