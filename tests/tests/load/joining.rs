//! Nodes that come late or come back, and tables and columns that come and go, step by step as the book has it.

use super::{ALL, ITEMS, came, items, prefer};
use crate::sync_restored::restore;
use concord::sync::LoadOptions;
use concord_tests::{As, Cluster, Database, Kind};

const PURGED: &str = "it joins the sync late, or was replaced";

/// Fills the tables by syncs that leave no history behind.
async fn at_work(cluster: &mut Cluster) {
    cluster.run(0, "INSERT INTO items VALUES (1, 'one', 1), (2, 'two', 2), (3, 'three', 3)").await;
    cluster.settle().await;
    cluster.run(1, "UPDATE items SET name = 'zwei' WHERE id = 2; DELETE FROM items WHERE id = 3").await;
    cluster.settle().await;
}

/// At work until another database, which is empty, took the place of the second.
async fn replaced(kinds: &[Kind]) -> Cluster {
    let mut cluster = items(kinds, "").await;
    at_work(&mut cluster).await;
    let database = Database::new(kinds[1]).await;
    database.user_as(As::Sync).await.execute(ITEMS).await;
    cluster.replace(1, database).await;
    cluster.install().await;
    cluster
}

/// `install` of the longer list, `load`, done; the others go on meanwhile.
async fn a_node_joins(kinds: &[Kind], kind: Kind, rows: &str) {
    let mut cluster = items(kinds, "").await;
    at_work(&mut cluster).await;
    let database = Database::new(kind).await;
    database.user_as(As::Sync).await.execute(&format!("{ITEMS};{rows}")).await;
    let new = cluster.add(database).await;
    cluster.install().await;
    // It is known that it lacks what is purged, so nothing is carried half.
    cluster.run(0, "UPDATE items SET name = 'uno' WHERE id = 1").await;
    cluster.run(new, "INSERT INTO items VALUES (20, 'new there', 20)").await;
    let summary = cluster.sync().await;
    assert_eq!(summary.away.len(), 1);
    assert!(summary.away[0].why.starts_with(PURGED), "{:?}", summary.away);
    assert!(summary.away[0].why.contains("run `concord load`"), "{:?}", summary.away);
    cluster.holds_at(1, "SELECT name FROM items WHERE id = 1", &["uno"]).await;
    let loaded = cluster.load(&prefer("a")).await;
    assert_eq!(loaded.rejoined, ["c"]);
    assert_eq!(loaded.exit_code(), 0, "{loaded:?}");
    cluster.settle().await;
    cluster.run(new, "UPDATE items SET amount = 100 WHERE id = 1").await;
    cluster.run(1, "DELETE FROM items WHERE id = 2").await;
    cluster.settle().await;
}

const TWO: &[Kind] = &[Kind::Postgres, Kind::Sqlite];

#[tokio::test]
async fn an_empty_file_joins() {
    a_node_joins(TWO, Kind::Sqlite, "").await;
}

#[tokio::test]
async fn an_empty_database_joins() {
    a_node_joins(TWO, Kind::Postgres, "").await;
}

#[tokio::test]
async fn a_half_filled_node_joins() {
    let rows = "INSERT INTO items VALUES (1, 'differs', 1), (2, 'zwei', 2), (10, 'its own', 10)";
    for kind in [Kind::Sqlite, Kind::Postgres] {
        a_node_joins(&[Kind::Sqlite, Kind::Sqlite], kind, rows).await;
    }
}

/// The rest of the sync is at work in an engine of its own while the node is let in.
#[tokio::test]
async fn others_go_on_while_a_node_joins() {
    let mut cluster = items(TWO, "").await;
    at_work(&mut cluster).await;
    let database = Database::new(Kind::Postgres).await;
    database.user_as(As::Sync).await.execute(ITEMS).await;
    let new = cluster.add(database).await;
    cluster.install().await;
    let mut session = cluster.session();
    let options = LoadOptions::default();
    let mut deaf = |_: &concord::sync::Stage| ();
    let load = Box::pin(session.load(&options, &mut deaf));
    let loaded = cluster
        .during("load-part", load, async |cluster| {
            cluster.run(0, "INSERT INTO items VALUES (30, 'meanwhile', 30)").await;
            cluster.run(1, "UPDATE items SET name = 'meanwhile' WHERE id = 1").await;
            cluster.run(new, "INSERT INTO items VALUES (31, 'meanwhile', 31)").await;
            let away = cluster.sync().await.away;
            assert_eq!(away.iter().map(|away| away.node.as_str()).collect::<Vec<_>>(), ["c"], "{away:?}");
            assert!(away[0].why.contains("not yet compared to the end"), "{away:?}");
            cluster.holds_at(0, "SELECT name FROM items WHERE id = 1", &["meanwhile"]).await;
        })
        .await
        .expect("everybody is there");
    assert_eq!(loaded.exit_code(), 0, "{loaded:?}");
    cluster.settle().await;
    cluster.holds(ALL, &["1|meanwhile|1", "2|zwei|2", "30|meanwhile|30", "31|meanwhile|31"]).await;
}

/// GIVEN a node that was put back, whose users add to a row what brings it to where it had been
/// WHEN it is let in, and its row is like that of the others
/// THEN the journal keeps what is counted nowhere, and the load tells; not so what others had heard of before the backup was put back.
#[tokio::test]
async fn what_was_added_since_a_node_was_put_back_is_not_lost_silently() {
    let mut cluster = items(&[Kind::Sqlite, Kind::Sqlite], "conflict = { sum = [\"amount\"] }").await;
    cluster.run(0, "INSERT INTO items VALUES (1, 'one', 10), (2, 'two', 10)").await;
    cluster.settle().await;
    cluster.later(1, "UPDATE items SET amount = amount - 3 WHERE id = 2").await;
    restore(&mut cluster, async |cluster| {
        cluster.later(1, "UPDATE items SET amount = amount - 1 WHERE id = 1").await;
        cluster.settle().await;
    })
    .await;
    cluster.later(1, "UPDATE items SET amount = amount - 1 WHERE id = 1").await;
    let uncounted = |loaded: &concord::sync::Loaded| loaded.tables[0].uncounted;
    let dry = cluster.load(&LoadOptions { dry_run: true, ..LoadOptions::default() }).await;
    assert_eq!((dry.rejoined.len(), uncounted(&dry)), (1, 1), "{dry:?}");
    assert!(cluster.session().conflicts(0).await.expect("the journal can be read").is_empty());
    let loaded = cluster.load(&LoadOptions::default()).await;
    assert_eq!((loaded.rejoined.len(), uncounted(&loaded)), (1, 1), "{loaded:?}");
    cluster.holds(ALL, &["1|one|9", "2|two|7"]).await;
    let conflicts = cluster.session().conflicts(0).await.expect("the journal can be read");
    let told: Vec<_> = conflicts.iter().map(|one| (one.key.to_string(), one.reason.as_str())).collect();
    assert_eq!(told.len(), 1, "{conflicts:#?}");
    assert!(told[0].0 == "[1]" && told[0].1.contains("`amount` was changed from 10 to 9 at b"), "{told:?}");
    cluster.settle().await;
}

/// What a node that was put back has lost comes back; what it was given since is kept; what differs is decided.
async fn a_node_is_put_back(kinds: &[Kind]) {
    let mut cluster = items(kinds, "").await;
    at_work(&mut cluster).await;
    restore(&mut cluster, async |cluster| {
        cluster.run(1, "INSERT INTO items VALUES (4, 'lost', 4); UPDATE items SET name = 'lost' WHERE id = 1").await;
        cluster.settle().await;
        cluster.run(0, "UPDATE items SET amount = 22 WHERE id = 2").await;
        cluster.settle().await;
    })
    .await;
    cluster.run(1, "INSERT INTO items VALUES (5, 'since', 5); UPDATE items SET name = 'since' WHERE id = 1").await;
    cluster.run(0, "INSERT INTO items VALUES (6, 'meanwhile', 6)").await;
    let summary = cluster.sync().await;
    assert_eq!(summary.away[0].node, "b");
    // Rows differ, and nobody has said which are right: it stays where it is.
    let stale = cluster.rows(1, ALL).await;
    let error = cluster.session().load(&LoadOptions::default(), &mut |_| ()).await.expect_err("rows differ");
    assert!(error.to_string().contains("2 rows differ between nodes"), "{error}");
    assert_eq!(cluster.rows(1, ALL).await, stale);
    assert_eq!(cluster.sync().await.away[0].node, "b");
    let loaded = cluster.load(&prefer("a")).await;
    assert_eq!(loaded.rejoined, ["b"]);
    cluster.holds(ALL, &["1|lost|1", "2|zwei|22", "4|lost|4", "5|since|5", "6|meanwhile|6"]).await;
    let conflicts = cluster.session().conflicts(0).await.expect("the journal can be read");
    let names: Vec<_> =
        conflicts.iter().filter_map(|one| one.loser_row.as_ref().map(|row| row["name"].clone())).collect();
    assert!(names.contains(&"since".into()) && names.contains(&"zwei".into()), "{conflicts:#?}");
    cluster.settle().await;
    // Its numbers begin anew, and are taken for what they are.
    for at in 0..4 {
        cluster.later(1, &format!("UPDATE items SET name = 'anew {at}' WHERE id = 1")).await;
        cluster.settle().await;
    }
    cluster.run(0, "DELETE FROM items WHERE id > 1").await;
    cluster.settle().await;
    cluster.holds(ALL, &["1|anew 3|1"]).await;
}

#[tokio::test]
async fn a_file_is_put_back_between_two() {
    a_node_is_put_back(&[Kind::Sqlite, Kind::Sqlite]).await;
}

#[tokio::test]
async fn a_file_is_put_back_among_three() {
    a_node_is_put_back(&[Kind::Postgres, Kind::Sqlite, Kind::Sqlite]).await;
}

/// Another database stands in the place of a node.
async fn a_node_is_replaced(kind: Kind) {
    let mut cluster = replaced(&[Kind::Sqlite, kind, Kind::Postgres]).await;
    assert_eq!(cluster.sync().await.away[0].node, "b");
    let loaded = cluster.load(&LoadOptions::default()).await;
    assert_eq!((came(&loaded), loaded.rejoined), (vec!["items b 2 0".to_owned()], vec!["b".to_owned()]));
    cluster.settle().await;
    for at in 0..3 {
        cluster
            .later(
                at,
                &format!("UPDATE items SET amount = amount + 1 WHERE id = 1; INSERT INTO items VALUES (5{at}, 'x', 0)"),
            )
            .await;
        cluster.settle().await;
    }
    cluster.holds("SELECT amount FROM items WHERE id = 1", &["4"]).await;
}

#[tokio::test]
async fn a_file_is_replaced() {
    a_node_is_replaced(Kind::Sqlite).await;
}

#[tokio::test]
async fn a_database_is_replaced() {
    a_node_is_replaced(Kind::Postgres).await;
}

/// Letting a node back in is broken off between any two of its steps, and done by the next load.
#[tokio::test]
async fn coming_back_is_broken_off() {
    for point in ["rejoin-renewed", "rejoin-forgotten", "load-part", "load-remembered"] {
        let mut cluster = items(&[Kind::Sqlite, Kind::Sqlite, Kind::Sqlite], "").await;
        at_work(&mut cluster).await;
        restore(&mut cluster, async |cluster| {
            cluster.run(1, "INSERT INTO items VALUES (4, 'lost', 4)").await;
            cluster.settle().await;
        })
        .await;
        let faults = format!("{point}=error@1").parse().expect("the rule is one");
        let faults = std::sync::Arc::new(std::sync::Mutex::new(faults));
        let mut session = cluster.session();
        let options = LoadOptions::default();
        let mut deaf = |_: &concord::sync::Stage| ();
        let load = Box::pin(session.load(&options, &mut deaf));
        concord::fault::scoped(faults, load).await.expect_err("it is broken off");
        drop(session);
        cluster.run(1, "INSERT INTO items VALUES (5, 'between', 5); UPDATE items SET amount = 50 WHERE id = 1").await;
        cluster.later(0, "UPDATE items SET amount = 100 WHERE id = 1").await;
        // Until all is compared nobody hears of what is done there, and a part of it is not all.
        let away = cluster.sync().await.away;
        assert_eq!(away.iter().map(|away| away.node.as_str()).collect::<Vec<_>>(), ["b"], "{point}");
        if point.starts_with("load-") {
            assert!(away[0].why.contains("not yet compared to the end"), "{away:?}");
            let part = LoadOptions { tables: vec!["items".to_owned()], ..prefer("a") };
            let refused = cluster.session().load(&part, &mut |_| ()).await.expect_err("a part of it is not all");
            assert!(refused.to_string().contains("run `concord load` without --table first"), "{refused}");
            assert_eq!(cluster.sync().await.away, away);
        }
        assert_eq!(cluster.load(&prefer("a")).await.rejoined, ["b"], "{point}");
        cluster.settle().await;
        cluster.holds(ALL, &["1|one|100", "2|zwei|2", "4|lost|4", "5|between|5"]).await;
    }
}

/// Of two nodes one is let in: the other's engine has nobody else meanwhile, and does not give up.
#[tokio::test]
async fn one_of_two_is_let_in() {
    let mut cluster = replaced(&[Kind::Sqlite, Kind::Postgres]).await;
    let mut session = cluster.session();
    let options = prefer("a");
    let mut deaf = |_: &concord::sync::Stage| ();
    let load = Box::pin(session.load(&options, &mut deaf));
    let loaded = cluster
        .during("load-part", load, async |cluster| {
            cluster.run(0, "INSERT INTO items VALUES (30, 'meanwhile', 30)").await;
            let away = cluster.sync().await.away;
            assert_eq!(away.iter().map(|away| away.node.as_str()).collect::<Vec<_>>(), ["b"], "{away:?}");
        })
        .await
        .expect("everybody is there");
    assert_eq!((loaded.exit_code(), loaded.rejoined), (0, vec!["b".to_owned()]));
    cluster.settle().await;
    cluster.holds(ALL, &["1|one|1", "2|zwei|2", "30|meanwhile|30"]).await;
}

/// What waits elsewhere is decided first: the row of who comes late, or that he has none, has seen nothing of it.
#[tokio::test]
async fn nobody_joins_while_rows_wait() {
    let mut cluster = items(TWO, "conflict = \"park\"").await;
    at_work(&mut cluster).await;
    let database = Database::new(Kind::Sqlite).await;
    database.user_as(As::Sync).await.execute(ITEMS).await;
    for at in 0..2 {
        cluster.run(at, &format!("UPDATE items SET name = 'of {at}' WHERE id = 1")).await;
    }
    cluster.sync().await;
    cluster.add(database).await;
    cluster.install().await;
    let refused = cluster.session().load(&prefer("a"), &mut |_| ()).await.expect_err("a row waits");
    assert!(refused.to_string().contains("1 row of `items` at `a`, `b`; see `concord parked list`"), "{refused}");
    for at in 0..2 {
        cluster.holds_at(at, "SELECT name FROM items WHERE id = 1", &[format!("of {at}").as_str()]).await;
    }
    cluster.session().drop_parked(|row| row.node == "b").await.expect("everybody is there");
    assert_eq!(cluster.load(&prefer("a")).await.rejoined, ["c"]);
    cluster.settle().await;
    cluster.holds(ALL, &["1|of 1|1", "2|zwei|2"]).await;
}

/// Two loads let a node in. The second has found it left out, and goes on when the first is done and users are at work there
/// again: what they do is not forgotten.
async fn another_load_was_faster(kind: Kind) {
    let mut cluster = replaced(&[Kind::Sqlite, kind, Kind::Postgres]).await;
    let mut session = cluster.session();
    let options = prefer("a");
    let mut deaf = |_: &concord::sync::Stage| ();
    let load = Box::pin(session.load(&options, &mut deaf));
    let loaded = cluster
        .during("rejoin-renew", load, async |cluster| {
            assert_eq!(cluster.load(&prefer("a")).await.rejoined, ["b"]);
            cluster.run(1, "UPDATE items SET name = 'by a user' WHERE id = 1; DELETE FROM items WHERE id = 2").await;
        })
        .await
        .expect("everybody is there");
    assert_eq!(loaded.exit_code(), 0, "{loaded:?}");
    cluster.settle().await;
    cluster.holds(ALL, &["1|by a user|1"]).await;
}

#[tokio::test]
async fn another_load_was_faster_to_let_a_file_in() {
    another_load_was_faster(Kind::Sqlite).await;
}

#[tokio::test]
async fn another_load_was_faster_to_let_a_database_in() {
    another_load_was_faster(Kind::Postgres).await;
}

#[tokio::test]
async fn another_load_was_faster_to_let_a_database_of_mariadb_in() {
    another_load_was_faster(Kind::Mariadb).await;
}

/// The second load comes between two steps of the first and takes those that are left; the first, which goes on much later,
/// does not forget what the others know of the new life.
async fn another_load_takes_the_steps_that_are_left(kinds: &[Kind]) {
    let mut cluster = items(kinds, "").await;
    at_work(&mut cluster).await;
    restore(&mut cluster, async |cluster| {
        cluster.run(1, "INSERT INTO items VALUES (4, 'lost', 4)").await;
        cluster.settle().await;
    })
    .await;
    let mut session = cluster.session();
    let options = prefer("a");
    let mut deaf = |_: &concord::sync::Stage| ();
    let load = Box::pin(session.load(&options, &mut deaf));
    let loaded = cluster
        .during("rejoin-renewed", load, async |cluster| {
            let since = "UPDATE items SET name = 'since' WHERE id = 1; INSERT INTO items VALUES (6, 'since', 6)";
            cluster.run(1, since).await;
            cluster.load(&prefer("a")).await;
            cluster.run(1, "DELETE FROM items WHERE id = 2").await;
            cluster.settle().await;
            cluster.run(0, "UPDATE items SET amount = 44 WHERE id = 4").await;
            cluster.run(1, "INSERT INTO items VALUES (5, 'later', 5)").await;
        })
        .await
        .expect("everybody is there");
    assert_eq!(loaded.exit_code(), 0, "{loaded:?}");
    assert_eq!(loaded.away, [], "{loaded:?}");
    cluster.settle().await;
    // What was made before all rows were compared was decided like any other difference.
    cluster.holds(ALL, &["1|one|1", "4|lost|44", "5|later|5", "6|since|6"]).await;
}

#[tokio::test]
async fn another_load_takes_the_steps_that_are_left_between_files() {
    another_load_takes_the_steps_that_are_left(&[Kind::Sqlite, Kind::Sqlite, Kind::Sqlite]).await;
}

#[tokio::test]
async fn another_load_takes_the_steps_that_are_left_among_all_kinds() {
    another_load_takes_the_steps_that_are_left(&[Kind::Postgres, Kind::Sqlite, Kind::Mariadb]).await;
}

/// A table is added to the file, and taken out again.
#[tokio::test]
async fn a_table_comes_and_goes() {
    let mut cluster = items(TWO, "").await;
    at_work(&mut cluster).await;
    for at in 0..2 {
        cluster.run_as_owner(at, "CREATE TABLE notes (id integer PRIMARY KEY, body text)").await;
    }
    cluster.run_as_owner(0, "INSERT INTO notes VALUES (1, 'first'), (2, 'both')").await;
    cluster.run_as_owner(1, "INSERT INTO notes VALUES (2, 'both'), (3, 'last')").await;
    cluster.configure("[tables.items]\n[tables.notes]\n");
    let refused = cluster.session().sync().await.expect_err("it is not installed yet");
    assert!(refused.to_string().contains("run `concord install`"), "{refused}");
    cluster.install().await;
    let loaded = cluster.load(&LoadOptions::default()).await;
    assert_eq!(came(&loaded), ["notes a 1 0", "notes b 1 0"]);
    cluster.settle().await;
    cluster.configure("[tables.items]\n");
    cluster.install().await;
    cluster.run(0, "INSERT INTO notes VALUES (4, 'stays')").await;
    cluster.settle().await;
    cluster.holds_at(1, "SELECT count(*) FROM notes", &["3"]).await;
}

/// A column is added at all nodes: the table stands still until it is there everywhere and `install` has seen it.
#[tokio::test]
async fn a_column_is_added_everywhere() {
    let mut cluster = items(TWO, "").await;
    at_work(&mut cluster).await;
    cluster.run_as_owner(0, "ALTER TABLE items ADD COLUMN colour text").await;
    cluster.run(0, "UPDATE items SET colour = 'red' WHERE id = 1").await;
    let summary = cluster.sync().await;
    assert_eq!(summary.stopped.len(), 1, "{summary:?}");
    cluster.run_as_owner(1, "ALTER TABLE items ADD COLUMN colour text").await;
    for at in 0..2 {
        cluster.reconnect(at).await;
    }
    cluster.install().await;
    cluster.settle().await;
    cluster.holds(ALL, &["1|one|1|red", "2|zwei|2|NULL"]).await;
    // What was filled in where nothing recorded it, as a default does, is found by a load.
    cluster.each_uninstalls().await;
    cluster.run(1, "UPDATE items SET colour = 'blue' WHERE id = 2").await;
    cluster.install().await;
    cluster.load(&prefer("b")).await;
    cluster.holds(ALL, &["1|one|1|red", "2|zwei|2|blue"]).await;
    cluster.settle().await;
}

/// A clock that was ahead would make its node win for a day; once it was put right and the histories are reset, times count
/// again.
#[tokio::test]
async fn a_reset_after_a_clock_was_put_right() {
    let mut cluster = items(&[Kind::Sqlite, Kind::Postgres], "").await;
    at_work(&mut cluster).await;
    cluster.run(0, "UPDATE items SET name = 'of the future' WHERE id = 1").await;
    cluster.run(0, "UPDATE history_store_items SET time = time + 86400000000 WHERE op <> '-'").await;
    cluster.settle().await;
    cluster.run(0, "UPDATE items SET name = 'never carried' WHERE id = 2").await;
    cluster.session().reset().await.unwrap_or_else(|error| panic!("reset: {error}"));
    cluster.later(0, "UPDATE items SET name = 'earlier' WHERE id = 1").await;
    cluster.later(1, "UPDATE items SET name = 'later' WHERE id = 1").await;
    cluster.sync().await;
    cluster.holds("SELECT name FROM items WHERE id = 1", &["later"]).await;
    // What was not carried before the reset is found by a load, as the book advises.
    cluster.load(&prefer("a")).await;
    cluster.holds(ALL, &["1|later|1", "2|never carried|2"]).await;
    cluster.settle().await;
}
