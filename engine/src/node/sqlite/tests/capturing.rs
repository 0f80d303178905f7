//! Every way to change a row is recorded.

use super::*;

#[tokio::test]
async fn every_form_of_change_is_recorded() {
    let mut bench = Bench::new("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b INT)", &["t"]).await;
    for (sql, news) in [
        ("INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)", "I1 I2 I3"),
        ("UPDATE t SET b = b + 1 WHERE id < 3", "U1 U2"),
        ("UPDATE t SET id = 9 WHERE id = 3", "D3 I9"),
        ("UPDATE t SET rowid = 3 WHERE rowid = 9", "D9 I3"),
        ("INSERT INTO t VALUES (1, 'x', 1) ON CONFLICT (id) DO UPDATE SET a = excluded.a", "U1"),
        ("INSERT INTO t VALUES (1, 'y', 1) ON CONFLICT DO NOTHING", ""),
        ("INSERT OR IGNORE INTO t VALUES (1, 'y', 1), (4, 'd', 4)", "I4"),
        ("REPLACE INTO t VALUES (4, 'e', 5)", "I4"),
        ("UPDATE OR REPLACE t SET id = 2 WHERE id = 4", "D4 I2"),
        ("DELETE FROM t WHERE id = 1", "D1"),
        ("BEGIN; INSERT INTO t VALUES (7, 'z', 0); ROLLBACK", ""),
        ("BEGIN; INSERT INTO t VALUES (7, 'z', 0); SAVEPOINT s; DELETE FROM t; ROLLBACK TO s; COMMIT", "I7"),
        ("DELETE FROM t", "D2 D3 D7"),
    ] {
        bench.sql(sql);
        let mut found: Vec<_> = bench.news(0).await.split_whitespace().map(str::to_owned).collect();
        let mut wanted: Vec<_> = news.split_whitespace().map(str::to_owned).collect();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted, "{sql}");
    }
}

#[tokio::test]
async fn rows_that_replace_removes_are_recorded() {
    for recursive in [false, true] {
        let mut bench = Bench::new(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, email TEXT UNIQUE, a INT, b INT, UNIQUE (a, b))",
            &["t"],
        )
        .await;
        bench.sql(&format!("PRAGMA recursive_triggers = {recursive}"));
        bench.sql("INSERT INTO t VALUES (1, 'a', 1, 1), (2, 'b', 2, 2), (3, 'c', 3, 3), (4, 'd', 4, 4)");
        bench.news(0).await;
        bench.sql("INSERT OR REPLACE INTO t VALUES (5, 'a', 2, 2)");
        let mut news: Vec<_> = bench.news(0).await.split(' ').map(str::to_owned).collect();
        news.sort();
        assert_eq!(news, ["D1", "D2", "I5"], "recursive_triggers = {recursive}");
        bench.sql("UPDATE OR REPLACE t SET email = 'c' WHERE id = 4");
        let mut news: Vec<_> = bench.news(0).await.split(' ').map(str::to_owned).collect();
        news.sort();
        assert_eq!(news, ["D3", "U4"]);
        // A value that is taken and then given back is no reason to record anything else.
        bench.sql("INSERT OR IGNORE INTO t VALUES (6, 'c', 9, 9); UPDATE t SET b = 7 WHERE id = 5");
        assert_eq!(bench.news(0).await, "U5");
    }
}

#[tokio::test]
async fn rows_that_replace_removes_through_computed_values_are_recorded() {
    let sql =
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT NOT NULL DEFAULT '1', g AS (a || '/' || b) UNIQUE)";
    let mut bench = Bench::new(sql, &["t"]).await;
    bench.sql("INSERT INTO t VALUES (1, 'x', '1'), (2, 'y', '1'), (3, 'z', '2')");
    bench.news(0).await;
    for (sql, wanted) in [
        // Of what the value is made of, one part stays as it is.
        ("UPDATE OR REPLACE t SET a = 'x' WHERE id = 2", ["D1", "U2"]),
        // And one becomes what it is by default.
        ("INSERT OR REPLACE INTO t VALUES (4, 'x', NULL)", ["D2", "I4"]),
        ("UPDATE OR REPLACE t SET a = 'x', b = NULL WHERE id = 3", ["D4", "U3"]),
    ] {
        bench.sql(sql);
        let mut news: Vec<_> = bench.news(0).await.split(' ').map(str::to_owned).collect();
        news.sort();
        assert_eq!(news, wanted, "{sql}");
    }
}

/// Only rows within the index are noted, and they are looked up in it: a scan for each write would take users' time.
#[tokio::test]
async fn rows_are_looked_up_in_a_partial_index() {
    let sql = "CREATE TABLE t (id INTEGER PRIMARY KEY, email TEXT, deleted INT NOT NULL DEFAULT 0, n INT);
               CREATE UNIQUE INDEX one ON t (email) WHERE deleted = 0";
    let mut bench = Bench::new(sql, &["t"]).await;
    bench.sql(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
         INSERT INTO t (id, email) SELECT i, 'u' || i FROM n; UPDATE t SET deleted = 1 WHERE id = 9",
    );
    bench.news(0).await;
    for (sql, wanted) in [
        ("INSERT INTO t (id, email) VALUES (501, 'new')", "I501"),
        ("UPDATE t SET n = 1 WHERE id = 2", "U2"),
        ("INSERT INTO t (id, email) VALUES (502, 'u9')", "I502"),
        ("UPDATE OR REPLACE t SET deleted = 0 WHERE id = 9", "D502 U9"),
        ("REPLACE INTO t (id, email) VALUES (503, 'u3')", "D3 I503"),
        ("REPLACE INTO t (id, email, deleted) VALUES (504, 'u4', 1)", "I504"),
    ] {
        let mut statement = bench.user.prepare(sql).unwrap();
        statement.execute([]).unwrap();
        let scanned = statement.get_status(rusqlite::StatementStatus::FullscanStep);
        assert!(scanned < 50, "{sql}: {scanned}");
        drop(statement);
        let mut news: Vec<_> = bench.news(0).await.split(' ').map(str::to_owned).collect();
        news.sort();
        assert_eq!(news.join(" "), wanted, "{sql}");
    }
    // Others can be removed through another condition.
    bench.sql("DROP INDEX one; CREATE UNIQUE INDEX one ON t (email) WHERE deleted = 0 AND n = 1");
    let drifted = bench.node.begin_read(&bench.specs).await.unwrap().drifted;
    bench.node.end_read().await.unwrap();
    assert!(drifted.len() == 1 && drifted[0].1.unrecorded && drifted[0].1.what.contains("n = 1"), "{drifted:?}");
    bench.install().await;
    assert_eq!(bench.node.begin_read(&bench.specs).await.unwrap().drifted.len(), 0);
    bench.node.end_read().await.unwrap();
}

/// REPLACE removes a row whose going takes along the one that was to be updated, so that nothing is updated.
#[tokio::test]
async fn rows_that_replace_removes_with_the_updated_one_are_recorded() {
    const ONE: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE, up REFERENCES t ON DELETE CASCADE);
                       INSERT INTO t VALUES (1, 'a', NULL), (2, 'b', 1), (3, 'c', 2), (4, 'd', NULL)";
    const TWO: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE, up REFERENCES o ON DELETE CASCADE);
                       CREATE TABLE o (id INTEGER PRIMARY KEY, t REFERENCES t ON DELETE CASCADE);
                       INSERT INTO t VALUES (1, 'a', NULL); INSERT INTO o VALUES (7, 1);
                       INSERT INTO t VALUES (2, 'b', 7), (3, 'c', 7)";
    let name = "UPDATE OR REPLACE t SET name = 'a' WHERE id = 2";
    let id = "UPDATE OR REPLACE t SET id = 1 WHERE id = 2";
    // With recursive triggers SQLite refuses the first.
    for (update, recursive) in [(name, false), (id, false), (id, true)] {
        for (sql, images) in [(ONE, vec![]), (ONE, vec![1]), (TWO, vec![]), (TWO, vec![1])] {
            let mut bench = Bench::bare(sql).await;
            bench.add("t").await.images = images;
            bench.install().await;
            bench.sql(&format!("PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = {recursive}; {update}"));
            let mut news: Vec<_> = bench.news(0).await.split(' ').map(str::to_owned).collect();
            news.sort();
            assert_eq!(news, ["D1", "D2", "D3"], "recursive_triggers = {recursive}: {update}");
        }
    }
}

/// Only columns of which a unique value may be made are named in triggers, and they alone cannot be dropped.
#[tokio::test]
async fn a_column_beside_a_computed_one_can_be_dropped() {
    let sql = "CREATE TABLE t (id INTEGER PRIMARY KEY, note TEXT, junk TEXT, up TEXT AS (upper(note)) VIRTUAL);
               CREATE UNIQUE INDEX t_up ON t (up); INSERT INTO t (id, note) VALUES (1, 'a'), (2, 'b')";
    let mut bench = Bench::new(sql, &["t"]).await;
    bench.sql("ALTER TABLE t DROP COLUMN junk");
    bench.specs.clear();
    bench.add("t").await;
    bench.install().await;
    bench.sql("UPDATE OR REPLACE t SET note = 'A' WHERE id = 2");
    assert_eq!(bench.news(0).await, "D1 U2");
}

#[tokio::test]
async fn rows_that_replace_removes_through_a_default_are_recorded() {
    for default in ["7", "'it''s'", "\"\"", "\"it's\"", "word", "`a``b`", "[two words]", "TRUE", "('a' -- why\n)"] {
        let sql = format!("CREATE TABLE t (id INTEGER PRIMARY KEY, u NOT NULL DEFAULT {default} UNIQUE)");
        let mut bench = Bench::new(&sql, &["t"]).await;
        bench.sql("INSERT INTO t (id) VALUES (1); INSERT OR REPLACE INTO t VALUES (2, NULL)");
        let mut news: Vec<_> = bench.news(0).await.split(' ').map(str::to_owned).collect();
        news.sort();
        assert_eq!(news, ["D1", "I1", "I2"], "{default}");
    }
}

#[tokio::test]
async fn cascades_and_triggers_of_users_are_recorded() {
    let mut bench = Bench::new(
        "CREATE TABLE parent (id INTEGER PRIMARY KEY);
         CREATE TABLE child (id INTEGER PRIMARY KEY, parent REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE);
         CREATE TABLE log (id INTEGER PRIMARY KEY, what);
         CREATE TRIGGER audit AFTER DELETE ON child BEGIN INSERT INTO log (what) VALUES (OLD.id); END",
        &["child", "parent", "log"],
    )
    .await;
    bench
        .sql("PRAGMA foreign_keys = ON; INSERT INTO parent VALUES (1), (2); INSERT INTO child VALUES (10, 1), (11, 2)");
    assert_eq!(bench.news(0).await, "I10 I11");
    bench.sql("UPDATE parent SET id = 5 WHERE id = 2; DELETE FROM parent WHERE id = 1");
    assert_eq!(bench.news(0).await, "U11 D10");
    assert_eq!(bench.news(2).await, "I1");
}

#[tokio::test]
async fn hostile_names_are_recorded() {
    for odd in ["a`b", "a\"b", "a'b", "a]b", "ünï 表", "select", "a\nb", "new", "id"] {
        let name = crate::node::sqlite::quote::name(odd);
        let mut bench = Bench::new(
            &format!("CREATE TABLE {name} ({name} TEXT NOT NULL, `x``y` UNIQUE, PRIMARY KEY ({name}))"),
            &[odd],
        )
        .await;
        bench.sql(&format!("INSERT INTO {name} VALUES ('k', 1), ('l', 2); REPLACE INTO {name} VALUES ('m', 2)"));
        let mut news: Vec<_> = bench.news(0).await.split(' ').map(str::to_owned).collect();
        news.sort();
        assert_eq!(news, ["Dl", "Ik", "Il", "Im"], "{odd}");
        bench.node.begin_apply(&bench.specs).await.unwrap();
        bench.write(&[row([text("k"), int(7)])]).await.unwrap();
        bench.node.commit().await.unwrap();
        assert_eq!(bench.table(odd), "k 7\nm 2");
        assert!(bench.node.uninstall().await.unwrap());
    }
}

#[tokio::test]
async fn the_clock_is_utc_and_microseconds() {
    let mut bench = Bench::new("CREATE TABLE t (id INTEGER PRIMARY KEY)", &["t"]).await;
    let before = crate::model::time::now();
    bench.sql("INSERT INTO t VALUES (1)");
    let time = bench.entries().await[0].time;
    // SQLite's clock has milliseconds.
    assert!((before - 1000..=crate::model::time::now()).contains(&time), "{before} {time}");
}

/// A small generator, so that a run can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len() as u64) as usize]
    }

    fn value(&mut self) -> String {
        match self.roll(10) {
            0 => "NULL".to_owned(),
            1..=5 => (self.roll(8) as i64 - 1).to_string(),
            6 | 7 => format!("'{}'", (b'a' + self.roll(6) as u8) as char),
            8 => format!("'{}'", (b'A' + self.roll(6) as u8) as char),
            _ => format!("{}.0", self.roll(5)),
        }
    }

    /// A statement that may fail, on a table with these columns.
    fn statement(&mut self, table: &str, columns: &[&str], key: &[&str], rowid: bool) -> String {
        let or = |dice: &mut Dice| dice.pick(&["", "", "OR REPLACE", "OR REPLACE", "OR IGNORE", "OR ABORT"]);
        let (column, other) = (self.pick(columns), self.pick(columns));
        match self.roll(20) {
            0..=9 => {
                let (or, rows) = (or(self), 1 + self.roll(3));
                let mut names = columns.to_vec();
                if rowid && self.roll(10) == 0 {
                    names.push("rowid");
                }
                let row = |dice: &mut Dice| {
                    let mut cells: Vec<_> = columns.iter().map(|_| dice.value()).collect();
                    if names.len() > columns.len() {
                        cells.push((dice.roll(9) as i64).to_string());
                    }
                    format!("({})", cells.join(", "))
                };
                let values = (0..rows).map(|_| row(self)).collect::<Vec<_>>().join(", ");
                let upsert = match self.roll(6) {
                    0 => format!(" ON CONFLICT ({}) DO UPDATE SET {column} = {}", key.join(", "), self.value()),
                    1 => " ON CONFLICT DO NOTHING".to_owned(),
                    _ => String::new(),
                };
                format!("INSERT {or} INTO {table} ({}) VALUES {values}{upsert}", names.join(", "))
            }
            10..=15 => {
                let (or, value) = (or(self), self.value());
                let set = match self.roll(4) {
                    0 => format!("{column} = {column} + 1"),
                    1 => format!("{column} = upper({column}), {other} = {value}"),
                    _ => format!("{column} = {value}"),
                };
                let place = match self.roll(4) {
                    0 => String::new(),
                    _ => format!(" WHERE {other} {} {}", self.pick(&["=", ">", "<"]), self.value()),
                };
                format!("UPDATE {or} {table} SET {set}{place}")
            }
            16 if rowid => format!("UPDATE {} {table} SET rowid = {}", or(self), self.roll(9)),
            17 => format!("INSERT OR REPLACE INTO {table} SELECT * FROM {table} WHERE {column} > {}", self.value()),
            _ => format!("DELETE FROM {table} WHERE {column} = {}", self.value()),
        }
    }
}

/// Random statements, by each shape of table and key, with both settings of `recursive_triggers`: a copy that is kept
/// from the history alone stays equal to the table, and images, where recorded, form unbroken chains.
async fn follow_random_statements(sql: &str, columns: &[&str], images: &[&str], rowid: bool) {
    for (recursive, seed) in [(false, 0x9e37_79b9), (true, 0x1234_5678)] {
        let mut bench = Bench::bare(sql).await;
        let spec = bench.add("t").await;
        spec.images = images.iter().map(|name| spec.columns.iter().position(|c| c.name == *name).unwrap()).collect();
        let key: Vec<String> = spec.key_columns().map(|column| column.name.clone()).collect();
        let key: Vec<&str> = key.iter().map(String::as_str).collect();
        bench.install().await;
        bench.sql(&format!(
            "PRAGMA recursive_triggers = {recursive}; PRAGMA foreign_keys = ON; PRAGMA synchronous = OFF"
        ));
        let (mut dice, mut replica) = (Dice(seed), Replica::default());
        for step in 0..400 {
            let mut done = Vec::new();
            bench.sql("BEGIN");
            for _ in 0..=dice.roll(5) {
                let sql = dice.statement("t", columns, &key, rowid);
                let _refused = bench.user.execute_batch(&sql);
                done.push(sql);
                // Rows without a key cannot be told apart.
                bench.sql(&format!("DELETE FROM t WHERE {} IS NULL", key.join(" IS NULL OR ")));
            }
            bench.sql(if dice.roll(6) == 0 { "ROLLBACK" } else { "COMMIT" });
            let whole = whole(&bench.user, &bench.specs[0]);
            if let Err(why) = replica.follow(&mut bench, 0, &whole).await {
                panic!("recursive_triggers = {recursive}, step {step}: {why}\n{}", done.join(";\n"));
            }
            if whole.len() > 30 {
                bench.sql("DELETE FROM t WHERE abs(random()) % 2");
            }
        }
    }
}

#[tokio::test]
async fn random_statements_with_an_integer_key() {
    let sql = "CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT UNIQUE, v INT, w, UNIQUE (v, w))";
    follow_random_statements(sql, &["id", "u", "v", "w"], &[], false).await;
    follow_random_statements(sql, &["id", "u", "v", "w"], &["u", "w"], false).await;
}

#[tokio::test]
async fn random_statements_with_a_text_key_and_odd_indexes() {
    let sql = "CREATE TABLE t (u, id TEXT PRIMARY KEY, v TEXT NOT NULL DEFAULT 'd' UNIQUE);
               CREATE UNIQUE INDEX t_u ON t (u COLLATE NOCASE DESC) WHERE v <> 'a'";
    follow_random_statements(sql, &["u", "id", "v"], &[], true).await;
    follow_random_statements(sql, &["u", "id", "v"], &["v"], true).await;
}

#[tokio::test]
async fn random_statements_without_rowid() {
    let sql = "CREATE TABLE t (x, k1 TEXT, u UNIQUE, k2 INT, PRIMARY KEY (k2, k1)) WITHOUT ROWID";
    follow_random_statements(sql, &["x", "k1", "u", "k2"], &[], false).await;
    follow_random_statements(sql, &["x", "k1", "u", "k2"], &["u"], false).await;
}

#[tokio::test]
async fn random_statements_with_keys_that_only_look_alike() {
    for sql in [
        "CREATE TABLE t (id TEXT PRIMARY KEY COLLATE NOCASE, x, u INT UNIQUE)",
        "CREATE TABLE t (id NOT NULL PRIMARY KEY, x, u UNIQUE ON CONFLICT REPLACE)",
        "CREATE TABLE t (id TEXT NOT NULL UNIQUE COLLATE NOCASE, x, u)",
        "CREATE TABLE t (id TEXT COLLATE NOCASE NOT NULL, x, u INT UNIQUE, PRIMARY KEY (id COLLATE BINARY))",
    ] {
        follow_random_statements(sql, &["id", "x", "u"], &[], true).await;
    }
}

#[tokio::test]
async fn random_statements_with_references_and_computed_columns() {
    let sql = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, up REFERENCES t ON DELETE CASCADE ON UPDATE SET NULL,
                               b AS (lower(a)) STORED UNIQUE)";
    follow_random_statements(sql, &["id", "a", "up"], &[], false).await;
    let sql = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b INT NOT NULL DEFAULT 3, g AS (a || '/' || b) UNIQUE)";
    follow_random_statements(sql, &["id", "a", "b"], &[], false).await;
    follow_random_statements(sql, &["id", "a", "b"], &["a"], false).await;
}
