//! Both ways, the later by a column of the rows' own.

use std::collections::BTreeMap;

use concord::sync::{Repair, Verify};
use concord_tests::{Cluster, Kind, Seed};

use super::{ALL, PAIRS, TWO_WAY, carried, compared, settle, table};

/// GIVEN rows that differ, with and without a time, and rows that only one node has
/// WHEN a sync runs
/// THEN the later stands everywhere, what has no time is the older, and what was missing is copied.
#[tokio::test]
async fn the_later_row_wins() {
    for kinds in Kind::PAIRS {
        let mut cluster = Cluster::bare(kinds, table, TWO_WAY).await;
        cluster.run(0, "INSERT INTO t VALUES (1, 'a', 5), (2, 'a', 6), (3, 'a', NULL), (4, 'only a', NULL)").await;
        cluster.run(1, "INSERT INTO t VALUES (1, 'b', 6), (2, 'b', 5), (3, 'b', -1), (5, 'only b', 5)").await;
        let summary = settle(&mut cluster).await;
        assert_eq!(carried(&summary), [("a".to_owned(), 3, 0), ("b".to_owned(), 2, 0)], "{kinds:?}");
        cluster.holds(ALL, &["1|b|6", "2|a|6", "3|b|-1", "4|only a|NULL", "5|only b|5"]).await;
    }
}

/// A deleted row comes back, as the manual says: nothing tells that it was deleted.
#[tokio::test]
async fn deletes_stay_where_they_are_made_until_the_row_comes_back() {
    let mut cluster = Cluster::bare(PAIRS[1], table, &TWO_WAY.replace("\"insert\", ", "")).await;
    cluster.run(0, "INSERT INTO t VALUES (1, 'a', 5)").await;
    let summary = cluster.sync().await;
    assert_eq!((carried(&summary), summary.exit_code()), (vec![], 0));
    cluster.configure(TWO_WAY);
    settle(&mut cluster).await;
    cluster.run(0, "DELETE FROM t").await;
    settle(&mut cluster).await;
    cluster.holds(ALL, &["1|a|5"]).await;
}

/// GIVEN rows that differ and are equally late
/// WHEN a sync runs
/// THEN both stay, it is told why, and the command ends with 1; until a person, a user or the policy decides.
#[tokio::test]
async fn equally_late_rows_are_a_conflict() {
    for kinds in PAIRS {
        let mut cluster = Cluster::bare(kinds, table, TWO_WAY).await;
        cluster.run(0, "INSERT INTO t VALUES (1, 'a', 5), (2, 'a', NULL), (3, 'same', 5), (4, 'a', 1)").await;
        cluster.run(1, "INSERT INTO t VALUES (1, 'b', 5), (2, 'b', NULL), (3, 'same', 5)").await;
        let summary = cluster.sync().await;
        let found = compared(&summary);
        assert_eq!((found.undecided, found.mended, summary.exit_code()), (2, 1, 1), "{found:#?}");
        let why = &found.left.iter().find(|left| left.key[0] == 1).expect("the row 1").why;
        assert!(why.starts_with("a conflict: the rows differ and are equally late at a, b (`at`: 5)"), "{why}");
        cluster.holds_at(0, ALL, &["1|a|5", "2|a|NULL", "3|same|5", "4|a|1"]).await;
        cluster.holds_at(1, ALL, &["1|b|5", "2|b|NULL", "3|same|5", "4|a|1"]).await;
        cluster.quiet().await;
        // A user writes it anew.
        cluster.run(0, "UPDATE t SET at = 6 WHERE id = 1").await;
        assert_eq!(cluster.sync().await.exit_code(), 1);
        cluster.holds_at(1, ALL, &["1|a|6", "2|b|NULL", "3|same|5", "4|a|1"]).await;
        // The policy decides, and that is told.
        cluster.configure(&format!("{TWO_WAY}conflict = {{ prefer = [\"b\"] }}\n"));
        let summary = settle(&mut cluster).await;
        assert_eq!(compared(&summary).disputed, 1);
        cluster.holds(ALL, &["1|a|6", "2|b|NULL", "3|same|5", "4|a|1"]).await;
    }
}

/// Where a column has no type, what is not comparable tells nothing.
#[tokio::test]
async fn values_of_different_kinds_are_a_conflict() {
    let setup = |_| "CREATE TABLE t (id integer PRIMARY KEY, name text, at)".to_owned();
    let mut cluster = Cluster::bare(PAIRS[0], setup, TWO_WAY).await;
    cluster.run(0, "INSERT INTO t VALUES (1, 'a', 5), (2, 'a', 'y')").await;
    cluster.run(1, "INSERT INTO t VALUES (1, 'b', 'x'), (2, 'b', 'x')").await;
    let summary = cluster.sync().await;
    let left = &compared(&summary).left;
    assert!(left.len() == 1 && left[0].why.contains("cannot be compared"), "{left:#?}");
    cluster.holds_at(1, ALL, &["1|b|x", "2|a|y"]).await;
}

#[tokio::test]
async fn a_person_decides_with_prefer() {
    let mut cluster = Cluster::bare(PAIRS[2], table, TWO_WAY).await;
    cluster.run(0, "INSERT INTO t VALUES (1, 'a', 5)").await;
    cluster.run(1, "INSERT INTO t VALUES (1, 'b', 5)").await;
    assert_eq!(cluster.sync().await.exit_code(), 1);
    let how = Verify { repair: Repair::Mend, prefer: Some("b".to_owned()), ..Verify::default() };
    let verified = cluster.session().verify(&how).await.expect("all are there");
    assert_eq!((verified.tables[0].mended, verified.exit_code()), (1, 0));
    cluster.holds(ALL, &["1|b|5"]).await;
    settle(&mut cluster).await;
}

#[tokio::test]
async fn of_three_the_latest_wins() {
    let kinds = [Kind::Sqlite, Kind::Postgres, Kind::Postgres];
    let mut cluster = Cluster::bare(&kinds, table, TWO_WAY).await;
    cluster.run(0, "INSERT INTO t VALUES (1, 'a', 1), (2, 'late', 9), (3, 'x', 5), (4, 'x', 5)").await;
    cluster.run(1, "INSERT INTO t VALUES (1, 'b', 2), (2, 'late', 9), (3, 'y', 5)").await;
    cluster.run(2, "INSERT INTO t VALUES (1, 'c', 3), (2, 'c', 8), (3, 'z', 6), (5, 'c', NULL)").await;
    settle(&mut cluster).await;
    cluster.holds(ALL, &["1|c|3", "2|late|9", "3|z|6", "4|x|5", "5|c|NULL"]).await;
    // Of two that are as late, neither is the latest of all.
    cluster.run(0, "UPDATE t SET name = 'p', at = 20 WHERE id = 1").await;
    cluster.run(1, "UPDATE t SET name = 'q', at = 20 WHERE id = 1").await;
    let summary = cluster.sync().await;
    assert_eq!((compared(&summary).undecided, summary.exit_code()), (1, 1));
    cluster.holds_at(2, "SELECT name FROM t WHERE id = 1", &["c"]).await;
    cluster.run(2, "UPDATE t SET name = 'r', at = 21 WHERE id = 1").await;
    settle(&mut cluster).await;
    cluster.holds("SELECT name FROM t WHERE id = 1", &["r"]).await;
}

/// GIVEN three nodes, of which the one with the latest row lacks a column
/// WHEN a sync runs
/// THEN the column is everywhere that of the latest row that has it, and nothing is left in conflict.
#[tokio::test]
async fn a_column_that_the_latest_row_lacks_is_of_the_latest_that_has_it() {
    let setup = |kind| match kind {
        Kind::Sqlite => "CREATE TABLE t (id integer PRIMARY KEY, name text, at bigint)".to_owned(),
        _ => "CREATE TABLE t (id integer PRIMARY KEY, name text, at bigint, notes text)".to_owned(),
    };
    let kinds = [Kind::Sqlite, Kind::Postgres, Kind::Postgres];
    let config = format!("{TWO_WAY}[tables.t.nodes.a]\nomit = [\"notes\"]\n");
    let mut cluster = Cluster::bare(&kinds, setup, &config).await;
    cluster.run(0, "INSERT INTO t VALUES (1, 'late', 9), (2, 'as late', 7)").await;
    cluster.run(1, "INSERT INTO t VALUES (1, 'b', 3, 'older'), (2, 'as late', 7, 'the notes')").await;
    cluster.run(2, "INSERT INTO t VALUES (1, 'c', 5, 'newer'), (2, 'c', 1, 'other notes'), (3, 'new', 1, 'x')").await;
    let summary = cluster.sync().await;
    assert_eq!(summary.exit_code(), 0, "{summary:#?}");
    let rows = ["1|late|9|newer", "2|as late|7|the notes", "3|new|1|x"];
    cluster.holds_at(1, ALL, &rows).await;
    cluster.holds_at(2, ALL, &rows).await;
    cluster.holds_at(0, ALL, &["1|late|9", "2|as late|7", "3|new|1"]).await;
    cluster.quiet().await;
}

/// GIVEN writes at random nodes, each later than all before
/// WHEN a sync runs now and then, with some of the nodes
/// THEN in the end every row is the one that was written last, and no row is missing.
#[tokio::test]
async fn random_writes_come_together() {
    let seed = Seed::new("random_writes_come_together");
    let mut rng = seed.rng(0);
    let kinds = [Kind::Sqlite; 3];
    let mut cluster = Cluster::bare(&kinds, table, TWO_WAY).await;
    let mut last: BTreeMap<u64, String> = BTreeMap::new();
    for time in 1..=150 {
        let (at, id) = (rng.below(3) as usize, rng.below(12));
        let sql = format!(
            "INSERT INTO t VALUES ({id}, 'n{at}', {time}) ON CONFLICT (id) DO UPDATE SET name = 'n{at}', at = {time}"
        );
        cluster.run(at, &sql).await;
        last.insert(id, format!("{id}|n{at}|{time}"));
        if rng.chance(10) {
            let away = rng.below(4) as usize;
            (0..3).filter(|at| *at == away).for_each(|at| cluster.leave(at));
            cluster.sync().await;
            (0..3).for_each(|at| cluster.back(at));
        }
    }
    settle(&mut cluster).await;
    let last: Vec<&str> = last.values().map(String::as_str).collect();
    cluster.holds(ALL, &last).await;
}
