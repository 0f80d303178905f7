//! The same key changed at several nodes, none of which had seen the other's change: the latest wins.

use super::{ALL, ITEMS, items};
use concord_tests::{Cluster, Kind, NAMES};

concord_tests::clusters! {
    pairs: [
        update_and_delete, delete_and_update, insert_and_insert, delete_and_delete, same_content, the_journal_tells,
        a_later_change_that_has_seen_it_is_no_conflict, conflicts_do_not_come_back, a_part_of_the_journal,
    ]
    many: []
    all: [latest_first, latest_last]
}

concord_tests::clusters! {
    mariadb: [update_and_delete, insert_and_insert, the_journal_tells]
}

async fn latest_first(kinds: &[Kind]) {
    latest_wins(kinds, &[1, 0]).await;
}

async fn latest_last(kinds: &[Kind]) {
    latest_wins(kinds, &[0, 1]).await;
}

/// Two nodes change a row in this order, the first of the file and the last.
async fn latest_wins(kinds: &[Kind], order: &[usize]) {
    let mut cluster = items(kinds).await;
    for &which in order {
        let at = which * (kinds.len() - 1);
        cluster.later(at, &format!("UPDATE items SET name = '{}' WHERE id = 2", NAMES[at])).await;
    }
    let summary = cluster.settle().await;
    assert_eq!(summary.conflicts, 1);
    let winner = NAMES[order[1] * (kinds.len() - 1)];
    cluster.holds("SELECT name FROM items WHERE id = 2", &[winner]).await;
}

async fn update_and_delete(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    cluster.later(0, "UPDATE items SET amount = 11 WHERE id = 1").await;
    cluster.later(1, "DELETE FROM items WHERE id = 1").await;
    assert_eq!(cluster.settle().await.conflicts, 1);
    cluster.holds(ALL, &["2|two|20", "3|three|30"]).await;
}

/// The row comes back where it was deleted.
async fn delete_and_update(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    cluster.later(1, "DELETE FROM items WHERE id = 1").await;
    cluster.later(0, "UPDATE items SET amount = 11 WHERE id = 1").await;
    assert_eq!(cluster.settle().await.conflicts, 1);
    cluster.holds(ALL, &["1|one|11", "2|two|20", "3|three|30"]).await;
}

async fn insert_and_insert(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    cluster.later(1, "INSERT INTO items VALUES (4, 'first', 1)").await;
    cluster.later(0, "INSERT INTO items VALUES (4, 'second', 2)").await;
    assert_eq!(cluster.settle().await.conflicts, 1);
    cluster.holds("SELECT * FROM items WHERE id = 4", &["4|second|2"]).await;
}

async fn delete_and_delete(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    cluster.later(0, "DELETE FROM items WHERE id = 1").await;
    cluster.later(1, "DELETE FROM items WHERE id = 1").await;
    assert_eq!(cluster.settle().await.conflicts, 0);
    cluster.holds(ALL, &["2|two|20", "3|three|30"]).await;
}

async fn same_content(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    for at in 0..2 {
        cluster.later(at, "UPDATE items SET amount = 7; INSERT INTO items VALUES (4, 'four', 40)").await;
    }
    let summary = cluster.settle().await;
    assert_eq!((summary.conflicts, summary.nodes), (0, Vec::new()));
    assert!(cluster.session().conflicts(0).await.expect("a journal").is_empty());
}

async fn the_journal_tells(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    cluster.later(0, "UPDATE items SET name = 'early', amount = 1 WHERE id = 1; DELETE FROM items WHERE id = 2").await;
    cluster.later(1, "UPDATE items SET name = 'late' WHERE id = 1; UPDATE items SET name = 'kept' WHERE id = 2").await;
    assert_eq!(cluster.settle().await.conflicts, 2);
    let mut journal = cluster.session().conflicts(0).await.expect("a journal");
    journal.sort_by_key(|conflict| conflict.key.to_string());
    assert_eq!(journal.len(), 2, "{journal:#?}");
    let [one, two] = &journal[..] else { unreachable!() };
    assert_eq!((one.table.as_str(), one.key.to_string().as_str()), ("items", "[1]"));
    assert_eq!((one.winner.as_str(), one.loser.as_str()), ("b", "a"));
    assert!(one.winner_time > one.loser_time && one.decided >= one.winner_time);
    assert_eq!(one.loser_row, Some(serde_json::json!({"id": 1, "name": "early", "amount": 1})));
    assert_eq!(one.winner_row, Some(serde_json::json!({"id": 1, "name": "late", "amount": 10})));
    assert!(one.reason.starts_with("latest-wins: b ("), "{}", one.reason);
    assert_eq!((two.key.to_string().as_str(), two.loser.as_str(), &two.loser_row), ("[2]", "a", &None));
    assert_eq!(two.winner_row, Some(serde_json::json!({"id": 2, "name": "kept", "amount": 20})));
    assert_ne!(one.id, two.id);
}

async fn a_later_change_that_has_seen_it_is_no_conflict(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    cluster.later(0, "UPDATE items SET name = 'first' WHERE id = 1").await;
    cluster.later(1, "UPDATE items SET name = 'second' WHERE id = 1").await;
    assert_eq!(cluster.sync().await.conflicts, 1);
    cluster.run(0, "UPDATE items SET name = 'third' WHERE id = 1").await;
    assert_eq!(cluster.settle().await.conflicts, 0);
    cluster.holds("SELECT name FROM items WHERE id = 1", &["third"]).await;
}

async fn conflicts_do_not_come_back(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    for (at, name) in [(0, "x"), (1, "y")] {
        cluster.later(at, &format!("UPDATE items SET name = '{name}'")).await;
    }
    assert_eq!(cluster.sync().await.conflicts, 3);
    assert_eq!(cluster.settle().await.conflicts, 0);
    assert_eq!(cluster.session().conflicts(0).await.expect("a journal").len(), 3);
    assert_eq!(cluster.session().conflicts(2).await.expect("a journal").len(), 2);
}

/// The newest of one table, although another has newer ones; and how many each node's journal has.
async fn a_part_of_the_journal(kinds: &[Kind]) {
    let setup = |_| format!("{ITEMS}; CREATE TABLE more (id integer PRIMARY KEY, name text)");
    let mut cluster = Cluster::new(kinds, setup, "[tables.items]\n[tables.more]").await;
    for sql in [
        "INSERT INTO more VALUES (1, '{}')",
        "INSERT INTO more VALUES (2, '{}')",
        "UPDATE items SET name = '{}' WHERE id = 1",
        "UPDATE items SET name = '{}' WHERE id = 2",
    ] {
        for (at, name) in [(0, "x"), (1, "y")] {
            cluster.later(at, &sql.replace("{}", name)).await;
        }
        assert_eq!(cluster.sync().await.conflicts, 1);
    }
    let told = cluster.session().conflicts_of(Some("more"), 1).await.expect("a journal");
    assert_eq!(
        told.iter().map(|one| (one.table.as_str(), one.key.to_string())).collect::<Vec<_>>(),
        [("more", "[2]".into())]
    );
    let status = cluster.session().status().await.expect("a status");
    for (at, kind) in kinds.iter().enumerate() {
        let journal = if *kind == Kind::Postgres { "concord.journal" } else { "concord_journal" };
        let rows = cluster.rows(at, &format!("SELECT count(*) FROM {journal}")).await;
        assert_eq!(status.nodes[at].conflicts.to_string(), rows[0]);
    }
    assert!(status.nodes.iter().all(|node| node.conflicts == 4), "every node keeps what lost: {:?}", status.nodes);
}
