//! From one node to the others.

use concord_tests::{Cluster, Kind};

use super::{ALL, ONE_WAY, PAIRS, carried, compared, settle, table, traces};

/// GIVEN rows that differ, that only the source has, and that only the target has, and nothing installed anywhere
/// WHEN a sync runs
/// THEN the target is as the source, and nothing of Concord's is in either database.
#[tokio::test]
async fn targets_become_like_the_source() {
    for kinds in Kind::PAIRS {
        let mut cluster = Cluster::bare(kinds, table, ONE_WAY).await;
        cluster.run(0, "INSERT INTO t VALUES (1, 'same', 1), (2, 'new', 2), (3, NULL, 3), (4, 'gone', 4)").await;
        cluster.run(1, "INSERT INTO t VALUES (1, 'same', 1), (2, 'old', 9), (5, 'extra', 5)").await;
        let summary = settle(&mut cluster).await;
        assert_eq!(carried(&summary), [("b".to_owned(), 3, 1)], "{kinds:?}: {summary:#?}");
        cluster.holds(ALL, &["1|same|1", "2|new|2", "3|NULL|3", "4|gone|4"]).await;
        cluster.run(0, "DELETE FROM t WHERE id = 1; UPDATE t SET at = NULL WHERE id = 2").await;
        let summary = settle(&mut cluster).await;
        assert_eq!(carried(&summary), [("b".to_owned(), 1, 1)]);
        for at in 0..2 {
            assert_eq!(traces(&mut cluster, at).await, [] as [&str; 0]);
        }
    }
}

/// Of targets it is not told how their rows would fare elsewhere, with triggers or without.
#[tokio::test]
async fn only_what_comes_from_the_source_is_checked() {
    let three = &[Kind::Postgres, Kind::Postgres, Kind::Sqlite];
    for config in [ONE_WAY, "[tables.t]\nfrom = \"a\"\n"] {
        let cluster = Cluster::bare(three, table, config).await;
        let checked = cluster.session().check().await.expect("all are there");
        assert_eq!(checked.problems, [] as [&str; 0]);
        let fits = checked.tables[0].fits.iter().filter(|fit| fit.column == "name");
        let ways: Vec<[&str; 2]> = fits.map(|fit| [fit.from.as_str(), fit.to.as_str()]).collect();
        assert_eq!(ways, [["a", "b"], ["a", "c"]], "{config}");
    }
}

#[tokio::test]
async fn each_operation_can_be_switched_off() {
    let cases: [(&str, &[&str], u64); 4] = [
        ("[\"insert\"]", &["2|old|9", "4|gone|4", "5|extra|5"], 2),
        ("[\"update\"]", &["2|new|2", "5|extra|5"], 2),
        ("[\"delete\"]", &["2|old|9"], 2),
        ("[\"insert\", \"update\"]", &["2|new|2", "4|gone|4", "5|extra|5"], 1),
    ];
    for (operations, rows, allowed) in cases {
        let config = format!("{ONE_WAY}operations = {operations}\n");
        let mut cluster = Cluster::bare(PAIRS[1], table, &config).await;
        cluster.run(0, "INSERT INTO t VALUES (2, 'new', 2), (4, 'gone', 4)").await;
        cluster.run(1, "INSERT INTO t VALUES (2, 'old', 9), (5, 'extra', 5)").await;
        let summary = cluster.sync().await;
        cluster.holds_at(1, ALL, rows).await;
        // What is switched off is counted, and is nothing for a person.
        let left = compared(&summary).allowed;
        assert_eq!((left.missing + left.extra + left.differing, summary.exit_code()), (allowed, 0), "{operations}");
        cluster.quiet().await;
    }
}

/// Columns that live at one of them are not touched, and names are those of each node.
#[tokio::test]
async fn mappings_are_heeded() {
    let setup = |kind: Kind| match kind {
        Kind::Sqlite => "CREATE TABLE t (id integer PRIMARY KEY, name text, notes text)".to_owned(),
        _ => {
            "CREATE TABLE \"Kunden\" (id integer PRIMARY KEY, \"Vollname\" text, secret text DEFAULT 'own')".to_owned()
        }
    };
    let config = format!(
        "{ONE_WAY}[tables.t.nodes.a]\nomit = [\"secret\"]\n[tables.t.nodes.b]\ntable = \"Kunden\"\n\
         columns = {{ name = \"Vollname\" }}\nomit = [\"notes\"]\n"
    );
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Postgres], setup, &config).await;
    cluster.run(0, "INSERT INTO t VALUES (1, 'one', 'a'), (2, 'two', 'b'), (3, 'three', 'c')").await;
    cluster.run(1, "INSERT INTO \"Kunden\" VALUES (1, 'one', 'kept'), (2, 'old', 'kept too')").await;
    let summary = cluster.sync().await;
    assert_eq!((carried(&summary), summary.exit_code()), (vec![("b".to_owned(), 2, 0)], 0));
    cluster.holds_at(1, "SELECT * FROM \"Kunden\" ORDER BY id", &["1|one|kept", "2|two|kept too", "3|three|own"]).await;
    cluster.quiet().await;
}

/// Rows that refer to others come after them, and go before them.
#[tokio::test]
async fn references_are_heeded() {
    let setup = |_| {
        "CREATE TABLE parent (id integer PRIMARY KEY);
         CREATE TABLE child (id integer PRIMARY KEY, parent integer NOT NULL REFERENCES parent (id))"
            .to_owned()
    };
    let config =
        ["child", "parent"].map(|name| format!("[tables.{name}]\nmode = \"compare\"\nfrom = \"a\"\n")).concat();
    for kinds in PAIRS {
        let mut cluster = Cluster::bare(kinds, setup, &config).await;
        cluster.run(0, "INSERT INTO parent VALUES (1), (2); INSERT INTO child VALUES (1, 1), (2, 2)").await;
        cluster.run(1, "INSERT INTO parent VALUES (3); INSERT INTO child VALUES (3, 3), (1, 3)").await;
        let summary = settle(&mut cluster).await;
        assert_eq!(carried(&summary), [("b".to_owned(), 4, 2)], "{summary:#?}");
    }
}

/// Unique values that rows pass among each other, and that a deleted row gives up.
#[tokio::test]
async fn unique_values_change_places() {
    let setup = |_| "CREATE TABLE t (id integer PRIMARY KEY, name text UNIQUE)".to_owned();
    for kinds in PAIRS {
        let mut cluster = Cluster::bare(kinds, setup, ONE_WAY).await;
        cluster.run(0, "INSERT INTO t VALUES (1, 'y'), (2, 'x'), (3, 'z'), (5, 'v')").await;
        cluster.run(1, "INSERT INTO t VALUES (1, 'x'), (2, 'y'), (4, 'z'), (5, 'w')").await;
        let summary = settle(&mut cluster).await;
        assert_eq!(carried(&summary), [("b".to_owned(), 4, 1)], "{kinds:?}: {summary:#?}");
    }
}

/// Rows that others refer to with ON DELETE CASCADE go after those, and stay if those are nobody's to delete.
#[tokio::test]
async fn nothing_goes_along_unasked() {
    let setup = |_| {
        "CREATE TABLE parent (id integer PRIMARY KEY);
         CREATE TABLE child (id integer PRIMARY KEY, parent integer NOT NULL REFERENCES parent (id) ON DELETE CASCADE);
         CREATE TABLE own (id integer PRIMARY KEY, parent integer NOT NULL REFERENCES parent (id) ON DELETE CASCADE)"
            .to_owned()
    };
    let config =
        ["child", "parent"].map(|name| format!("[tables.{name}]\nmode = \"compare\"\nfrom = \"a\"\n")).concat();
    for kinds in PAIRS {
        let mut cluster = Cluster::bare(kinds, setup, &config).await;
        cluster.run(1, "INSERT INTO parent VALUES (1), (2); INSERT INTO child VALUES (1, 1)").await;
        cluster.run(1, "INSERT INTO own VALUES (2, 2)").await;
        let summary = cluster.sync().await;
        assert_eq!((carried(&summary), summary.exit_code()), (vec![("b".to_owned(), 0, 2)], 1), "{summary:#?}");
        let left = &summary.compared[1].left[0];
        assert!(left.why.contains("rows of ") && left.why.ends_with("change those first"), "{left:?}");
        cluster.holds_at(1, "SELECT * FROM own", &["2|2"]).await;
        cluster.run(1, "DELETE FROM own").await;
        settle(&mut cluster).await;
    }
}

/// WHEN the source is away
/// THEN nothing is taken for deleted, and the next sync with it goes on.
#[tokio::test]
async fn without_the_source_nothing_happens() {
    let kinds = [Kind::Sqlite, Kind::Postgres, Kind::Sqlite];
    let mut cluster = Cluster::bare(&kinds, table, &ONE_WAY.replace("\"a\"", "\"b\"")).await;
    cluster.run(1, "INSERT INTO t VALUES (1, 'one', 1)").await;
    cluster.run(0, "INSERT INTO t VALUES (2, 'two', 2)").await;
    cluster.leave(1);
    let summary = cluster.sync().await;
    let skipped = compared(&summary).skipped.clone().unwrap_or_default();
    assert_eq!((skipped.as_str(), summary.exit_code()), ("it comes from b, which is away", 3));
    cluster.holds_at(0, ALL, &["2|two|2"]).await;
    cluster.back(1);
    cluster.leave(2);
    assert_eq!(cluster.sync().await.exit_code(), 3);
    cluster.holds_at(0, ALL, &["1|one|1"]).await;
    cluster.back(2);
    settle(&mut cluster).await;
    cluster.holds(ALL, &["1|one|1"]).await;
}

/// More rows than are looked at together, and nothing of it twice.
#[tokio::test]
async fn many_rows_arrive() {
    let mut cluster = Cluster::bare(PAIRS[1], table, ONE_WAY).await;
    let rows = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000)
                INSERT INTO t SELECT i, 'row ' || i, i FROM n";
    cluster.run(0, rows).await;
    let summary = settle(&mut cluster).await;
    assert_eq!(carried(&summary), [("b".to_owned(), 25_000, 0)]);
}

/// GIVEN rows that pass unique values among each other or refer to each other, of more memory than is written at once
/// WHEN a sync runs
/// THEN they are written in an order in which they can be, and together where there is none.
#[tokio::test]
async fn rows_that_need_each_other_arrive_however_large() {
    let setup = |_| {
        "CREATE TABLE t (id bigint PRIMARY KEY, place bigint UNIQUE, boss bigint REFERENCES t (id), doc text)"
            .to_owned()
    };
    for kinds in [[Kind::Sqlite, Kind::Sqlite], [Kind::Sqlite, Kind::Postgres]] {
        let mut cluster = Cluster::bare(&kinds, setup, ONE_WAY).await;
        // Each row refers to another, in one round.
        let rows = "PRAGMA foreign_keys = off;
                    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120)
                    INSERT INTO t SELECT i, i, 1 + (i * 37) % 120, hex(zeroblob(50000)) FROM n";
        cluster.run(0, rows).await;
        let summary = settle(&mut cluster).await;
        assert_eq!(carried(&summary), [("b".to_owned(), 120, 0)], "{kinds:?}");
        // Each takes the value of the next, and the last a free one.
        cluster.run(0, "UPDATE t SET place = -place; UPDATE t SET place = 1 - place").await;
        let summary = settle(&mut cluster).await;
        assert_eq!(carried(&summary), [("b".to_owned(), 120, 0)], "{kinds:?}");
        // The values go round.
        cluster.run(0, "UPDATE t SET place = -place; UPDATE t SET place = 2 + (40 - place) % 120").await;
        let summary = settle(&mut cluster).await;
        assert_eq!(carried(&summary), [("b".to_owned(), 120, 0)], "{kinds:?}");
        cluster.run(0, "PRAGMA foreign_keys = off; DELETE FROM t").await;
        let summary = settle(&mut cluster).await;
        assert_eq!(carried(&summary), [("b".to_owned(), 0, 120)], "{kinds:?}");
    }
}
