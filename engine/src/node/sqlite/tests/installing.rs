//! Installing, drifting, purging, uninstalling.

use super::*;
use crate::node::{ErrorKind, Move};

const SHOP: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE, b INT); CREATE TABLE u (k TEXT PRIMARY KEY)";

#[tokio::test]
async fn uninstall_leaves_nothing() {
    for mode in ["delete", "wal"] {
        let mut bench = Bench::bare(SHOP).await;
        bench.sql(&format!("PRAGMA journal_mode = {mode}"));
        let before = bench.catalogue();
        bench.add("t").await;
        bench.add("u").await;
        assert!(bench.node.service().await.unwrap().is_none());
        assert!(!bench.node.uninstall().await.unwrap());
        let lines = bench.install().await;
        assert!(lines.contains(&"created the service tables".to_owned()), "{lines:?}");
        assert_eq!(lines.iter().any(|line| line.contains("journal mode")), mode == "delete", "{lines:?}");
        bench.sql("INSERT INTO t VALUES (1, 'a', 1); INSERT INTO u VALUES ('k')");
        bench.news(0).await;
        assert_eq!(bench.install().await, Vec::<String>::new());
        assert!(bench.catalogue().starts_with("wal\n"));
        let service = bench.node.service().await.unwrap().unwrap();
        assert_eq!((service.sync.as_str(), service.node.as_str(), service.tables.len()), ("test", "here", 2));
        // The mode can only be given back when nobody else has the file open.
        let path = bench.user.path().unwrap().to_owned();
        bench.user = Connection::open_in_memory().unwrap();
        assert!(bench.node.uninstall().await.unwrap());
        bench.user = Connection::open(path).unwrap();
        assert_eq!(bench.catalogue(), before);
        bench.install().await;
        bench.sql("INSERT INTO t VALUES (2, 'b', 1)");
        assert!(bench.node.uninstall().await.unwrap());
        assert_eq!(bench.catalogue(), before.replace("delete\n", "wal\n"));
    }
}

#[tokio::test]
async fn the_uuid_is_kept_and_the_shape_given_back() {
    let mut bench = Bench::bare(SHOP).await;
    bench.add("t").await.shape = "first".into();
    bench.install().await;
    let first = bench.node.service().await.unwrap().unwrap();
    assert_eq!(first.tables, [("t".to_owned(), "first".to_owned())]);
    bench.specs[0].shape = "second".into();
    assert_eq!(bench.install().await.len(), 1);
    let second = bench.node.service().await.unwrap().unwrap();
    assert_eq!((second.uuid, second.tables[0].1.as_str()), (first.uuid, "second"));
}

#[tokio::test]
async fn drift_stops_one_table_and_says_what_differs() {
    for (sql, said) in [
        ("ALTER TABLE t ADD COLUMN email TEXT", "column `email` was added"),
        ("ALTER TABLE t DROP COLUMN b", "column `b` is gone"),
        ("ALTER TABLE t RENAME COLUMN b TO c", "column `b` is gone; column `c` was added"),
        ("DROP TRIGGER concord_insert_t", "Concord's trigger `concord_insert_t` is missing"),
        ("CREATE UNIQUE INDEX t_b ON t (b)", "the unique constraint (b) was added"),
        ("CREATE TRIGGER mine AFTER INSERT ON t BEGIN SELECT 1; END", "the trigger `mine` was added"),
        (
            "CREATE TABLE w (t REFERENCES t ON DELETE CASCADE)",
            "the reference w(t) to t(id) on delete cascade was added",
        ),
        ("DROP TABLE t", "the table is gone"),
        (
            "CREATE TABLE new (id INTEGER PRIMARY KEY, a TEXT UNIQUE, b INT); DROP TABLE t; ALTER TABLE new RENAME TO t",
            "Concord's triggers are gone, as when a table is rebuilt",
        ),
        ("DROP TABLE history_store_t", "its history table is gone"),
    ] {
        let mut bench = Bench::new(SHOP, &["t", "u"]).await;
        assert_eq!(bench.node.begin_read(&bench.specs).await.unwrap().drifted, []);
        bench.node.end_read().await.unwrap();
        bench.sql(sql);
        let drifted = bench.node.begin_read(&bench.specs).await.unwrap().drifted;
        assert_eq!((drifted.len(), drifted[0].0, drifted[0].1.what.as_str()), (1, 0, said), "{sql}");
        assert!(bench.node.entries(&bench.specs[1], &Cut::START, None, 9).await.is_ok());
        bench.node.end_read().await.unwrap();
        // `install` puts it right, if the table is there.
        if !sql.starts_with("DROP TABLE t") {
            bench.specs.clear();
            bench.add("t").await;
            bench.add("u").await;
            let lines = bench.install().await;
            assert!(!lines.is_empty(), "{sql}");
            assert_eq!(bench.node.begin_read(&bench.specs).await.unwrap().drifted, [], "{sql}");
            bench.node.end_read().await.unwrap();
            assert_eq!(bench.install().await, Vec::<String>::new(), "{sql}");
            // (SQLite looks for a missing table of a trigger in the catalogue as it read it last.)
            bench.sql("SELECT * FROM t; INSERT INTO t (id, a) VALUES (77, 'x')");
            assert!(bench.news(0).await.ends_with("I77"), "{sql}");
        }
    }
    // Between reading and applying, too.
    let mut bench = Bench::new(SHOP, &["t", "u"]).await;
    bench.node.begin_read(&bench.specs).await.unwrap();
    bench.node.end_read().await.unwrap();
    bench.sql("ALTER TABLE t ADD COLUMN late");
    assert_eq!(bench.node.begin_apply(&bench.specs).await.unwrap_err().kind, ErrorKind::Drift);
}

/// What was deleted before that, and what is there, goes on.
#[tokio::test]
async fn changes_of_rows_that_vanished_are_given_up() {
    let rows = "INSERT INTO t VALUES (1, 'x'), (2, 'x'), (3, 'x')";
    let mut bench = Bench::new(&format!("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); {rows}"), &["t"]).await;
    bench.sql("UPDATE t SET a = 'y' WHERE id = 1; DELETE FROM t WHERE id = 2; UPDATE t SET a = 'y' WHERE id = 3");
    bench.sql("DROP TABLE t; CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t VALUES (3, 'z')");
    let lines = bench.install().await;
    assert!(lines.iter().any(|line| line.contains("1 change made here is carried no further")), "{lines:?}");
    assert_eq!(bench.news(0).await, "D2 U3");
    assert_eq!(bench.install().await, Vec::<String>::new());
}

/// Elsewhere there would be neither the former row nor the new one.
#[tokio::test]
async fn with_rows_that_vanished_the_deletes_of_their_former_keys_go() {
    let rows = "INSERT INTO t VALUES (3, 'x'), (7, 'x'), (9, 'x')";
    let mut bench = Bench::new(&format!("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); {rows}"), &["t"]).await;
    bench.news(0).await;
    bench.sql("UPDATE t SET id = 5 WHERE id = 3; UPDATE t SET id = 6 WHERE id = 5; UPDATE t SET id = 8 WHERE id = 7");
    bench.sql("DELETE FROM t WHERE id = 9");
    bench.sql("DROP TABLE t; CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t VALUES (8, 'z')");
    let lines = bench.install().await;
    assert!(lines.iter().any(|line| line.contains("4 changes made here are carried no further")), "{lines:?}");
    assert_eq!(bench.news(0).await, "D7 I8 D9");
}

/// Elsewhere these are two keys, and the entry is of one that is gone.
#[tokio::test]
async fn a_row_whose_key_has_another_case_now_is_none_of_the_former_key() {
    let table = "CREATE TABLE t (id TEXT PRIMARY KEY COLLATE NOCASE, a)";
    let mut bench = Bench::new(&format!("{table}; INSERT INTO t VALUES ('ABC', 1), ('D', 1)"), &["t"]).await;
    bench.news(0).await;
    bench.sql("UPDATE t SET a = 2");
    bench.sql(&format!("DROP TABLE t; {table}; INSERT INTO t VALUES ('abc', 2), ('D', 2)"));
    bench.install().await;
    let entries = bench.entries().await;
    let keys: Vec<Key> = entries.into_iter().map(|entry| entry.key).collect();
    let other: Key = vec![text("D")].into();
    assert_eq!(keys, [other]);
}

/// Whoever clears it out would delete the rows of the new one.
#[tokio::test]
async fn triggers_that_went_with_the_former_table_are_told() {
    let mut bench =
        Bench::new("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t VALUES (1, 'x')", &["t"]).await;
    bench.sql("ALTER TABLE t RENAME TO t_old; CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t SELECT * FROM t_old");
    let drifted = bench.node.begin_read(&bench.specs).await.unwrap().drifted;
    assert!(drifted[0].1.what.contains("its triggers stand on `t_old` now"), "{drifted:?}");
    bench.node.end_read().await.unwrap();
    bench.install().await;
    bench.sql("DELETE FROM t_old; DROP TABLE t_old; UPDATE t SET a = 'y'");
    assert_eq!(bench.news(0).await, "U1");
    assert_eq!(bench.install().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_was_planned_for_another_install_is_drift() {
    let mut bench = Bench::new(SHOP, &["t"]).await;
    bench.add("u").await;
    bench.specs[0].images = vec![1];
    let drifted = bench.node.begin_read(&bench.specs).await.unwrap().drifted;
    assert_eq!(drifted[0].1.what, "it was installed for another conflict policy");
    assert_eq!(drifted[1].1.what, "it is not installed");
    bench.node.end_read().await.unwrap();
    bench.sql("INSERT INTO t VALUES (1, 'a', 1)");
    let (catalogue, spec) = (bench.catalogue(), bench.specs[0].clone());
    let error = bench.node.install(&sync(), &bench.specs).await.unwrap_err().to_string();
    assert!(error.contains("`t` has to be recorded in another way now, and 1 change recorded"), "{error}");
    assert_eq!(bench.catalogue(), catalogue, "an install that is refused changes nothing");
    let former = TableSpec { images: Vec::new(), ..spec };
    assert_eq!(bench.node.purge(&former, &Cut::through(1), true, &[]).await.unwrap(), 1);
    bench.install().await;
    // The history is a new one, but no number is given out twice.
    let opened = bench.node.begin_read(&bench.specs).await.unwrap();
    assert_eq!((opened.drifted, opened.next_marks[0]), (vec![], (0, 2)));
    bench.node.end_read().await.unwrap();
    bench.sql("UPDATE t SET a = 'b'");
    assert_eq!(bench.entries().await[0].id, 2);
    // Tables that are not listed any more go.
    bench.specs.pop();
    assert_eq!(bench.install().await, ["removed triggers and history of `u`, which is no longer synced"]);
    bench.specs[0].captured = false;
    assert_eq!(bench.install().await, ["removed the triggers of `t`, whose changes go nowhere"]);
    let (catalogue, last) = (bench.catalogue(), "CREATE TRIGGER concord_last");
    assert!(catalogue.contains(last) && !catalogue.replace(last, "").contains("TRIGGER"), "{catalogue}");
}

#[tokio::test]
async fn entries_stay_where_a_key_column_has_another_name() {
    let mut bench = Bench::new(SHOP, &["t"]).await;
    bench.sql(
        "INSERT INTO t (id) VALUES (1); ALTER TABLE t RENAME COLUMN id TO ident; INSERT INTO t (ident) VALUES (2)",
    );
    bench.specs.clear();
    bench.add("t").await;
    let lines = bench.install().await;
    assert_eq!(lines[0], "gave the columns of `history_store_t` the names that those of `t` have", "{lines:?}");
    assert_eq!(bench.install().await, Vec::<String>::new());
    assert_eq!(bench.news(0).await, "I1 I2");
}

#[tokio::test]
async fn tables_that_cannot_be_synced_are_refused_with_a_remedy() {
    let mut bench = Bench::bare(
        "CREATE TABLE none (a, b UNIQUE); CREATE VIEW v AS SELECT 1 AS id; CREATE VIRTUAL TABLE f USING fts5(a);
         CREATE TABLE e (id INTEGER PRIMARY KEY, a); CREATE UNIQUE INDEX e_a ON e (lower(a));
         CREATE TABLE r (k REAL PRIMARY KEY); CREATE TABLE orphan (id INTEGER PRIMARY KEY, p REFERENCES nowhere);
         CREATE TABLE b (id INTEGER PRIMARY KEY);
         CREATE TRIGGER stop BEFORE INSERT ON b WHEN NEW.id = 1 BEGIN SELECT raise(ROLLBACK, 'no'); END;
         CREATE TABLE c (id INTEGER PRIMARY KEY, x); CREATE TABLE log (x UNIQUE);
         CREATE TRIGGER write_log AFTER UPDATE OF x ON c BEGIN INSERT OR ROLLBACK INTO log VALUES (NEW.x); END;
         CREATE TABLE d (id INTEGER PRIMARY KEY); CREATE TABLE below (d REFERENCES d ON DELETE CASCADE);
         CREATE TRIGGER deep BEFORE DELETE ON below WHEN OLD.d = 1 BEGIN SELECT raise(ROLLBACK, 'no'); END;
         CREATE TABLE ok (a, n TEXT NOT NULL, m INT NOT NULL, UNIQUE (m, n))",
    )
    .await;
    for (table, said) in [
        ("none", "has no key"),
        ("v", "is a view"),
        ("f", "is a virtual table"),
        ("e", "over an expression"),
        ("r", "holds floats"),
        ("orphan", "nowhere"),
        ("b", "RAISE(ROLLBACK)"),
        ("c", "the danger that the trigger `write_log` ends"),
        ("d", "the danger that the trigger `deep` ends"),
    ] {
        let found = bench.node.catalogue(table).await.unwrap().unwrap();
        // Where nothing is written, what a write sets off is no reason.
        let ends = ["b", "c", "d"].contains(&table);
        assert!(found.refusals.is_empty() == ends && found.written_refusals.is_empty() != ends, "{table}: {found:?}");
        let refusals = [found.refusals, found.written_refusals].concat();
        assert!(refusals.len() == 1 && refusals[0].contains(said), "{table}: {refusals:?}");
    }
    assert!(bench.node.catalogue("missing").await.unwrap().is_none());
    let catalogue = bench.node.catalogue("OK").await.unwrap().unwrap();
    assert_eq!((catalogue.name.as_str(), catalogue.key), ("ok", vec!["m".to_owned(), "n".to_owned()]));
    bench.add("ok").await;
    bench.specs.push(TableSpec { name: "OK".into(), index: 1, ..bench.specs[0].clone() });
    let error = bench.node.install(&sync(), &bench.specs).await.unwrap_err();
    assert!(error.to_string().contains("share one history table"), "{error}");
    bench.specs.pop();
    bench.sql("CREATE TABLE history_store_ok (mine)");
    let error = bench.node.install(&sync(), &bench.specs).await.unwrap_err();
    assert!(error.to_string().contains("did not make"), "{error}");
    assert!(!bench.catalogue().contains("concord"), "an install that fails leaves nothing");
}

/// Texts in double quotes, and functions of mathematics.
#[tokio::test]
async fn what_most_builds_of_sqlite_take_can_be_synced() {
    let sql = "CREATE TABLE log (what);
               CREATE TABLE t (id INTEGER PRIMARY KEY, n INT CHECK (floor(n) = n), root AS (sqrt(n)));
               CREATE TRIGGER t_log AFTER INSERT ON t BEGIN INSERT INTO log VALUES (\"inserted\"); END";
    let mut bench = Bench::new(sql, &["t"]).await;
    bench.node.begin_apply(&bench.specs).await.unwrap();
    bench.write(&[row([int(1), int(4)])]).await.unwrap();
    bench.node.commit().await.unwrap();
    assert_eq!((bench.table("t"), bench.table("log")), ("1 4 2.0".to_owned(), "inserted".to_owned()));
}

#[tokio::test]
async fn numbers_are_never_given_out_twice() {
    let mut bench = Bench::new(SHOP, &["t"]).await;
    bench.sql("INSERT INTO t (id) VALUES (1), (2), (3)");
    let spec = bench.specs[0].clone();
    assert_eq!(bench.node.purge(&spec, &Cut::through(2), false, &[]).await.unwrap(), 2);
    assert_eq!(bench.node.purge(&spec, &Cut::through(3), false, &[]).await.unwrap(), 1);
    assert_eq!(bench.node.purge(&spec, &Cut::through(3), true, &[]).await.unwrap(), 0);
    assert_eq!(bench.entries().await, []);
    let opened = bench.node.begin_read(&bench.specs).await.unwrap();
    assert_eq!((opened.next_marks, opened.purged), (vec![(0, 4)], vec![(0, Cut::through(3))]));
    bench.node.end_read().await.unwrap();
    bench.sql("DELETE FROM t WHERE id = 1");
    assert_eq!(bench.entries().await[0].id, 4);
    assert_eq!(bench.node.purge(&spec, &Cut::through(4), false, &[]).await.unwrap(), 1);
    bench.node.reset().await.unwrap();
    bench.sql("DELETE FROM t WHERE id = 2");
    assert_eq!(bench.entries().await[0].id, 5);
    bench.node.reset().await.unwrap();
    assert_eq!(bench.entries().await, []);
    bench.sql("DELETE FROM t WHERE id = 3");
    assert_eq!(bench.entries().await[0].id, 6);
    assert_eq!(bench.node.purge(&spec, &Cut::through(6), false, &[]).await.unwrap(), 1);
}

/// What others have passed of a history is not remembered here unless it was purged.
#[tokio::test]
async fn numbers_go_on_where_a_history_was_dropped() {
    let mut bench = Bench::new(SHOP, &["t"]).await;
    bench.sql("INSERT INTO t (id) VALUES (1), (2), (3)");
    let last = bench.entries().await.last().unwrap().id;
    bench.sql("DROP TABLE history_store_t");
    assert_eq!(bench.install().await, ["created `history_store_t`"]);
    assert_eq!(bench.entries().await, []);
    // Within triggers SQLite does not notice by itself that the connection, which dropped the table, knows an old catalogue.
    bench.sql("SELECT * FROM t; DELETE FROM t WHERE id = 1");
    let next = bench.entries().await[0].id;
    assert!(next > last, "{next} follows {last}");
}

#[tokio::test]
async fn an_install_goes_on_where_somebody_dropped_the_service_tables() {
    let mut bench = Bench::new(SHOP, &["t"]).await;
    let first = bench.node.service().await.unwrap().unwrap();
    for (table, _) in super::super::service::TABLES {
        bench.sql(&format!("DROP TABLE {table}"));
    }
    for left in ["history_store_t", "history_guard_t"] {
        let error = bench.node.install(&sync(), &bench.specs).await.unwrap_err().to_string();
        assert!(error.contains(left) && error.contains("drop it if"), "{error}");
        bench.sql(&format!("DROP TABLE {left}"));
    }
    bench.install().await;
    // Nobody takes its numbers for those that were given out before.
    assert_ne!(bench.node.service().await.unwrap().unwrap().uuid, first.uuid);
    bench.sql("SELECT * FROM t; INSERT INTO t (id) VALUES (1)");
    assert_eq!(bench.entries().await.len(), 1);
}

#[tokio::test]
async fn newer_and_damaged_service_tables_are_refused() {
    let mut bench = Bench::new(SHOP, &["t"]).await;
    bench.sql("UPDATE concord_node SET version = 99");
    let error = bench.node.service().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Service);
    assert!(error.to_string().contains("newer Concord"), "{error}");
    assert!(bench.node.uninstall().await.is_err() && bench.node.begin_read(&bench.specs).await.is_err());
    bench.sql(
        "UPDATE concord_node SET version = 1; INSERT INTO concord_position VALUES ('t', 'there', 'nonsense', NULL)",
    );
    let error = bench.node.begin_read(&bench.specs).await.unwrap_err();
    assert!(error.kind == ErrorKind::Service && error.to_string().contains("nonsense"), "{error}");
    bench.node.reset().await.unwrap();
    bench.node.begin_read(&bench.specs).await.unwrap();
}

#[tokio::test]
async fn positions_move_by_compare_and_set() {
    let mut bench = Bench::new(SHOP, &["t"]).await;
    let step = |from: i64, to: i64| Move {
        table: "t".into(),
        source: "there".into(),
        from: if from == 0 { Cut::START } else { Cut::through(from) },
        to: Cut::through(to).into(),
    };
    bench.node.begin_apply(&bench.specs).await.unwrap();
    assert!(bench.node.claim(&[step(0, 5)]).await.unwrap());
    bench.node.advance(&[step(0, 5)]).await.unwrap();
    bench.node.commit().await.unwrap();
    bench.node.begin_apply(&bench.specs).await.unwrap();
    assert!(!bench.node.claim(&[step(0, 9)]).await.unwrap());
    assert!(bench.node.claim(&[step(5, 9)]).await.unwrap());
    bench.node.rollback().await.unwrap();
    bench.node.rollback().await.unwrap();
    let opened = bench.node.begin_read(&bench.specs).await.unwrap();
    assert_eq!(opened.positions, [(0, "there".to_owned(), Cut::through(5).into())]);
}

#[tokio::test]
async fn files_that_are_no_database_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("text.db"), "this is not a database, and long enough to be sure".repeat(40)).unwrap();
    for (name, said) in [("text.db", "is not a SQLite database"), ("absent.db", "cannot open"), ("", "is not a file")] {
        let error = super::super::connect(&format!("sqlite:{}", path(name).display())).await.err().unwrap();
        assert!(error.to_string().contains(said) && error.to_string().contains(name), "{error}");
    }
    assert!(!path("absent.db").exists());
}

#[tokio::test]
async fn one_file_is_recognised_by_any_name() {
    let mut bench = Bench::bare(SHOP).await;
    let other = bench.url.replace("/node.db", "/./node%2Edb");
    let mut again = super::super::connect(&other).await.unwrap();
    let probe = bench.node.probe().await.unwrap();
    assert_eq!(probe.identity, again.probe().await.unwrap().identity);
    assert!(probe.server.starts_with("SQLite 3."));
    assert_eq!(bench.node.missing_rights(&[]).await.unwrap(), []);
    let another = Bench::bare(SHOP).await;
    let mut another = another.node;
    assert_ne!(probe.identity, another.probe().await.unwrap().identity);
}

#[tokio::test]
async fn a_file_that_was_replaced_is_opened_again() {
    let mut bench = Bench::new(SHOP, &["t"]).await;
    let path = bench.url.strip_prefix("sqlite:").unwrap().to_owned();
    let pulse = bench.node.pulse(&bench.specs).await.unwrap();
    assert_eq!(bench.node.pulse(&bench.specs).await.unwrap(), pulse);
    bench.sql("INSERT INTO t (id) VALUES (1)");
    assert_ne!(bench.node.pulse(&bench.specs).await.unwrap(), pulse);
    bench.sql(&format!("VACUUM INTO '{path}.copy'; INSERT INTO t (id) VALUES (2)"));
    std::fs::rename(format!("{path}.copy"), &path).unwrap();
    for ending in ["-wal", "-shm"] {
        let _gone = std::fs::remove_file(format!("{path}{ending}"));
    }
    assert_eq!(bench.entries().await.len(), 1);
}
