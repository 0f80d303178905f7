//! MariaDB beside PostgreSQL and SQLite: values that come back as they were, keys that are alike here and not there, and
//! rows that need each other.

use std::sync::Arc;

use concord_tests::mariadb::Server;
use concord_tests::{As, Cluster, Database, Kind};
use serde_json::json;

const WITH_POSTGRES: &[Kind] = &[Kind::Mariadb, Kind::Postgres];

/// What a column is called, its types on MariaDB and PostgreSQL, and values as both write them.
const COLUMNS: &[(&str, &str, &str, &[&str])] = &[
    ("flag", "boolean", "boolean", &["TRUE", "FALSE", "NULL"]),
    ("small", "smallint", "smallint", &["-32768", "32767", "0"]),
    ("big", "bigint", "bigint", &["-9223372036854775808", "9223372036854775807", "9007199254740993"]),
    ("ratio", "double", "double precision", &["0.1", "1e-300", "-0.30000000000000004"]),
    ("single", "float", "real", &["0.1", "16777216", "-1.5e38"]),
    ("money", "decimal(30,10)", "numeric(30,10)", &["12345678901234567890.0123456789", "-0.0000000001", "1.5"]),
    ("name", "varchar(40)", "varchar(40)", &["'äöü 😀'", "''", "'blank '"]),
    ("body", "longtext", "text", &["'a''b\"c\\d'", "'%_'", "NULL"]),
    ("day", "date", "date", &["'1000-01-01'", "'9999-12-31'", "'2024-02-29'"]),
    ("clock", "time(6)", "time", &["'00:00:00'", "'23:59:59.999999'", "'12:30:00.5'"]),
    ("wall", "datetime(6)", "timestamp", &["'1000-01-01 00:00:00'", "'9999-12-31 23:59:59.999999'", "NULL"]),
    ("doc", "json", "jsonb", &["'{\"b\": [1, 2.50, null], \"a\": \"ä\"}'", "'[]'", "'9007199254740993'"]),
    (
        "id4",
        "uuid",
        "uuid",
        &["'0e37df36-f698-11e6-8dd4-cb9ced3df976'", "NULL", "'ffffffff-ffff-4fff-bfff-ffffffffffff'"],
    ),
];

/// Whatever a session has set, and in whatever zone the server is.
#[tokio::test]
async fn changes_are_timed_by_the_servers_own_clock() {
    let database = Database::new(Kind::Mariadb).await;
    let mut node = database.node().await;
    let mut strays = Vec::new();
    for _ in 0..50 {
        node.probe().await.expect("it answers");
        strays.push(node.strays());
    }
    // Two looks at a clock are seldom of the same microsecond.
    assert!(
        strays.iter().all(|micros| micros.abs() < 1_000_000) && strays.iter().any(|&micros| micros != 0),
        "{strays:?}"
    );
}

/// Written at one end, changed at the other, and compared at each by its own database.
#[tokio::test]
async fn values_arrive_as_they_were() {
    // MySQL has no uuids and compares json by itself.
    let mysql = concord_tests::mariadb::is_mysql().await;
    let all: Vec<_> = COLUMNS.iter().filter(|(_, ty, ..)| !mysql || *ty != "uuid").collect();
    let setup = |kind: Kind| {
        let columns = all.iter().map(|(name, mariadb, postgres, _)| {
            format!("{name} {}", if kind == Kind::Mariadb { mariadb } else { postgres })
        });
        format!("CREATE TABLE t (id integer PRIMARY KEY, {})", columns.collect::<Vec<_>>().join(", "))
    };
    let mut cluster = Cluster::new(WITH_POSTGRES, setup, "[tables.t]").await;
    let row = |at: usize| all.iter().map(|(.., values)| values[at]).collect::<Vec<_>>().join(", ");
    for from in [0, 1] {
        // Elsewhere each row is what the other two are here.
        let rows: Vec<String> = (0..3).map(|at| format!("({}, {})", 10 * from + at, row(at))).collect();
        cluster.run(from, &format!("INSERT INTO t VALUES {}", rows.join(", "))).await;
        let summary = cluster.sync().await;
        assert_eq!(summary.waiting, 0, "{:?}", cluster.session().parked().await);
        cluster.quiet().await;
        let to = 1 - from;
        for (name, mariadb, postgres, values) in &all {
            for (at, value) in values.iter().enumerate() {
                let (kind, ty) = if to == 0 { (Kind::Mariadb, mariadb) } else { (Kind::Postgres, postgres) };
                let same = match (kind, *value, *name) {
                    (_, "NULL", _) => format!("{name} IS NULL"),
                    (Kind::Mariadb, _, "doc") if mysql => format!("{name} = CAST({value} AS json)"),
                    (Kind::Mariadb, _, "doc") => format!("json_equals({name}, {value})"),
                    (Kind::Mariadb, _, "single") => format!("abs({name} - {value}) <= abs({value}) * 1e-7"),
                    (Kind::Mariadb, ..) => format!("{name} = {value}"),
                    _ => format!("{name} = CAST({value} AS {ty})"),
                };
                let id = 10 * from + at;
                let found = cluster.rows(to, &format!("SELECT count(*) FROM t WHERE id = {id} AND {same}")).await;
                assert_eq!(found, ["1"], "{name} {value} at {}", concord_tests::NAMES[to]);
            }
        }
        // What is changed there comes back.
        cluster.run(to, &format!("UPDATE t SET name = 'changed' WHERE id = {}", 10 * from)).await;
        cluster.sync().await;
        cluster.holds_at(from, &format!("SELECT name FROM t WHERE id = {}", 10 * from), &["changed"]).await;
    }
}

/// What MariaDB would round, cut or take for something else waits, and says why.
#[tokio::test]
async fn what_does_not_fit_waits() {
    let setup = |kind: Kind| {
        match kind {
            Kind::Mariadb => {
                "CREATE TABLE t (id integer PRIMARY KEY, n decimal(5,2), r double, d date, w datetime(3), s varchar(3), b binary(2), y year)"
            }
            _ => {
                "CREATE TABLE t (id integer PRIMARY KEY, n numeric, r double precision, d date, w timestamp, s text, b bytea, y integer)"
            }
        }
        .to_owned()
    };
    let mut cluster = Cluster::new(WITH_POSTGRES, setup, "[tables.t]").await;
    cluster
        .run(
            1,
            "INSERT INTO t (id, n) VALUES (1, 123.456); INSERT INTO t (id, r) VALUES (2, 'NaN'), (3, 'Infinity');
             INSERT INTO t (id, d) VALUES (4, 'infinity'), (5, '0044-03-15 BC'); INSERT INTO t (id, w) VALUES (6, '2024-01-01 00:00:00.0001');
             INSERT INTO t (id, s) VALUES (7, 'four'); INSERT INTO t (id, b) VALUES (8, '\\x01'); INSERT INTO t (id, y) VALUES (9, 70);
             INSERT INTO t VALUES (10, 1.5, 0.5, '2024-01-01', '2024-01-01 00:00:00.001', 'abc', '\\x0102', 1999)",
        )
        .await;
    cluster.sync().await;
    let waiting = cluster.waiting().await;
    let expected: Vec<String> = (1..=9).map(|id| format!("a t [{id}] value")).collect();
    assert_eq!(waiting, expected, "{:?}", cluster.reasons("a").await);
    cluster.holds_at(0, "SELECT id, n, s, y FROM t", &["10|1.50|abc|1999"]).await;
    // Zero dates, which PostgreSQL has not, stay where they are.
    let lax = "SET SESSION sql_mode = ''; UPDATE t SET d = '0000-00-00' WHERE id = 10";
    cluster.run_as_owner(0, lax).await;
    cluster.sync().await;
    let waiting = cluster.waiting().await;
    assert!(waiting.iter().any(|line| line == "b t [10] value"), "{waiting:?}");
}

/// What the file allows to lose is brought to what all nodes keep, and never travels back and forth; `check` tells it before.
#[tokio::test]
async fn what_may_be_lost_is_rounded_once() {
    let setup = |kind: Kind| {
        let columns = match kind {
            Kind::Mariadb => "price decimal(8,2), at datetime, note varchar(4), r float",
            _ => "price numeric(12,4), at timestamp, note varchar(10), r double precision",
        };
        format!("CREATE TABLE t (id integer PRIMARY KEY, n integer, {columns})")
    };
    let strict = "[tables.t]\n";
    let mut cluster = Cluster::bare(WITH_POSTGRES, setup, strict).await;
    // MySQL keeps the sign of a zero.
    let zero = if cluster.nodes[0].user.is_mysql() { "" } else { "; -0.0 arrives as 0.0" };
    let told = async |cluster: &Cluster| {
        let checked = cluster.session().check().await.expect("all are there");
        assert_eq!(checked.problems, [] as [&str; 0]);
        let fits = checked.tables[0].fits.iter().filter(|fit| fit.fit != "exact");
        fits.map(|fit| {
            format!("{} {}{} {} {}", fit.column, fit.from, fit.to, fit.fit, fit.why.clone().unwrap_or_default())
        })
        .collect::<Vec<_>>()
    };
    assert_eq!(
        told(&cluster).await,
        [
            "price ba waits more than 2 digits after the point, more than 6 digits before the point, NaN and infinities",
            "at ab waits days of no calendar such as 0000-00-00",
            "at ba waits more than 0 digits of a second, days outside the years 0 to 9999",
            "note ab waits texts with the letter NUL",
            "note ba waits texts of more than 4 characters",
            &format!(
                "r ba waits numbers that are not exact as floats of 4 bytes, numbers beyond 3.4028235e38, NaN and infinities{zero}"
            ),
        ]
    );
    cluster.configure("[tables.t]\nlossy = [\"price\", \"at\", \"note\", \"r\"]\n");
    assert_eq!(
        told(&cluster).await,
        [
            "price ba lossy rounded to 2 digits after the point; rows wait with more than 6 digits before the point, NaN and infinities",
            "at ab waits days of no calendar such as 0000-00-00",
            "at ba lossy cut to 0 digits of a second; rows wait with days outside the years 0 to 9999",
            "note ab waits texts with the letter NUL",
            "note ba lossy cut to 4 characters",
            &format!(
                "r ba lossy rounded to floats of 4 bytes; rows wait with numbers beyond 3.4028235e38, NaN and infinities{zero}"
            ),
        ]
    );
    cluster.install().await;
    cluster.run(1, "INSERT INTO t VALUES (1, 1, 1.2350, '2024-01-01 00:00:00.999', 'longer', 0.1)").await;
    assert_eq!((cluster.sync().await.waiting, cluster.waiting().await), (0, vec![]));
    let here = "SELECT id, n, price, at, note FROM t";
    cluster.holds_at(0, here, &["1|1|1.24|2024-01-01 00:00:00|long"]).await;
    // Where it is finer it stays, and is taken for the same.
    cluster.holds_at(1, here, &["1|1|1.2350|2024-01-01 00:00:00.999|longer"]).await;
    cluster.quiet().await;
    let verified = cluster.session().verify(&Default::default()).await.expect("all are there");
    assert_eq!(verified.exit_code(), 0, "{verified:#?}");
    // A row that is changed elsewhere arrives as it is there.
    cluster.run(0, "UPDATE t SET n = 2").await;
    cluster.sync().await;
    cluster.holds_at(1, here, &["1|2|1.2400|2024-01-01 00:00:00|long"]).await;
    cluster.quiet().await;
    // What does not even fit rounded waits.
    cluster.run(1, "UPDATE t SET price = 1234567.891").await;
    assert_eq!(cluster.sync().await.waiting, 1);
    for (columns, why) in [("id", "`id` is part of the key of `t`"), ("n", "all nodes keep `n` of `t` alike")] {
        cluster.configure(&format!("[tables.t]\nlossy = [\"{columns}\"]\n"));
        let refused = cluster.try_install().await.expect_err("nothing can be lost there");
        assert!(refused.contains(why), "{refused}");
    }
}

/// How a text key of narrow letters may be declared, by collations that tell texts apart and others. MySQL has none of the former.
async fn narrow_keys() -> &'static [&'static str] {
    let all = &[
        "varchar(20) CHARACTER SET latin1",
        "varchar(20) CHARACTER SET latin1 COLLATE latin1_nopad_bin",
        "varchar(20) CHARACTER SET ascii COLLATE ascii_nopad_bin",
    ];
    if concord_tests::mariadb::is_mysql().await { &all[..1] } else { all }
}

/// A row with letters that its column has not waits alone. MySQL refuses every statement with such letters, were it only to look
/// for them, and MariaDB some.
#[tokio::test]
async fn letters_that_a_column_has_not_hold_up_nobody() {
    for key in narrow_keys().await {
        let setup = |kind: Kind| {
            let [key, basic] = match kind {
                Kind::Mariadb => [*key, " CHARACTER SET utf8mb3"],
                _ => ["varchar(20)", ""],
            };
            format!("CREATE TABLE t (code {key} PRIMARY KEY, seat varchar(20){basic} UNIQUE)")
        };
        let mut cluster = Cluster::new(WITH_POSTGRES, setup, "[tables.t]").await;
        cluster.run(0, "INSERT INTO t VALUES ('?', 's1'), ('b', 's2')").await;
        cluster.settle().await;
        cluster
            .run(
                1,
                "INSERT INTO t VALUES ('漢', 's3'), ('c', '😀'), ('d', 's4'); UPDATE t SET seat = 'x' WHERE code = '?';
                 UPDATE t SET seat = 's1' WHERE code = 'b'; UPDATE t SET seat = 's2' WHERE code = '?'",
            )
            .await;
        assert_eq!(cluster.sync().await.failed, None, "{key}");
        let mut waiting = cluster.waiting().await;
        waiting.sort();
        assert_eq!(waiting, ["a t [\"c\"] value", "a t [\"漢\"] value"], "{key} {:?}", cluster.reasons("a").await);
        cluster.holds_at(0, "SELECT code, seat FROM t ORDER BY code", &["?|s2", "b|s1", "d|s4"]).await;
        // Nothing there could count in its place.
        let refused = cluster.session().drop_parked(|_| true).await.expect_err("it cannot stand there");
        assert!(refused.to_string().contains("change or delete it where it is"), "{key} {refused}");
        cluster.run(1, "DELETE FROM t WHERE code = '漢'; UPDATE t SET seat = 's5' WHERE code = 'c'").await;
        cluster.settle().await;
        cluster.holds_at(0, "SELECT code, seat FROM t ORDER BY code", &["?|s2", "b|s1", "c|s5", "d|s4"]).await;
    }
}

/// What a text becomes on its way to a column that has not its letters is another text, whose row is in nobody's way.
#[tokio::test]
async fn what_such_letters_become_stands_in_nobodys_way() {
    for key in narrow_keys().await {
        let setup = |kind: Kind| {
            let ty = if kind == Kind::Mariadb { *key } else { "varchar(20)" };
            format!("CREATE TABLE t (code {ty} PRIMARY KEY, seat {ty} UNIQUE)")
        };
        let mut cluster = Cluster::new(WITH_POSTGRES, setup, "[tables.t]").await;
        cluster.run(0, "INSERT INTO t VALUES ('?', '?')").await;
        cluster.settle().await;
        cluster.run(1, "INSERT INTO t VALUES ('漢', 's1'), ('b', '字'), ('c', 's2')").await;
        cluster.sync().await;
        let mut waiting = cluster.waiting().await;
        waiting.sort();
        assert_eq!(waiting, ["a t [\"b\"] value", "a t [\"漢\"] value"], "{key} {:?}", cluster.reasons("a").await);
        cluster.holds_at(0, "SELECT * FROM t ORDER BY code", &["?|?", "c|s2"]).await;
        cluster.run(1, "DELETE FROM t WHERE code = '漢'; DELETE FROM t WHERE code = 'b'").await;
        cluster.settle().await;
        cluster.holds_at(0, "SELECT * FROM t ORDER BY code", &["?|?", "c|s2"]).await;
    }
}

/// A key that MariaDB has not comes and goes among several nodes: nothing of it can be entered there, and nobody asks for it.
#[tokio::test]
async fn a_key_that_cannot_stand_there_comes_and_goes() {
    const KINDS: &[Kind] = &[Kind::Mariadb, Kind::Postgres, Kind::Sqlite];
    let narrow = narrow_keys().await.iter().map(|key| (*key, "varchar(20)", "'b'", "'漢'"));
    let others = [("enum('good')", "varchar(20)", "'good'", "'angry'"), ("year", "integer", "1999", "70")];
    for (ty, elsewhere, good, odd) in narrow.chain(others) {
        for policy in ["", "conflict = { sum = [\"n\"] }"] {
            let setup = |kind: Kind| {
                let ty = if kind == Kind::Mariadb { ty } else { elsewhere };
                format!("CREATE TABLE t (code {ty} NOT NULL PRIMARY KEY, n integer)")
            };
            let mut cluster = Cluster::new(KINDS, setup, &format!("[tables.t]\n{policy}")).await;
            // Before anybody looked.
            cluster
                .run(
                    1,
                    &format!(
                        "INSERT INTO t VALUES ({odd}, 1), ({good}, 1); DELETE FROM t WHERE n = 1 AND code = {odd}"
                    ),
                )
                .await;
            assert_eq!(cluster.sync().await.failed, None, "{ty}");
            cluster.quiet().await;
            // After it has waited.
            cluster.run(1, &format!("INSERT INTO t VALUES ({odd}, 1)")).await;
            cluster.sync().await;
            assert_eq!(cluster.waiting().await.len(), 1, "{ty} {:?}", cluster.reasons("a").await);
            cluster.run(2, &format!("DELETE FROM t WHERE code = {odd}; UPDATE t SET n = 2")).await;
            assert_eq!(cluster.sync().await.failed, None, "{ty}");
            cluster.quiet().await;
            assert_eq!(cluster.waiting().await, Vec::<String>::new(), "{ty}");
            cluster.holds("SELECT n FROM t", &["2"]).await;
        }
    }
}

/// A trigger that happens to have a name of Concord's is its owner's.
#[tokio::test]
async fn a_users_trigger_by_a_name_of_concords_stays() {
    let setup = |kind: Kind| {
        let trigger = match kind {
            Kind::Mariadb => {
                "CREATE TRIGGER concord_i_t AFTER INSERT ON t FOR EACH ROW INSERT INTO log VALUES (NEW.id)"
            }
            _ => "",
        };
        format!("CREATE TABLE t (id integer PRIMARY KEY); CREATE TABLE log (n integer); {trigger}")
    };
    let mut cluster = Cluster::new(WITH_POSTGRES, setup, "[tables.t]\nfrom = \"b\"").await;
    cluster.run(1, "INSERT INTO t VALUES (7)").await;
    cluster.sync().await;
    cluster.holds_at(0, "SELECT n FROM log", &["7"]).await;
}

/// Whatever number a user's trigger refuses a row with, the others are written.
#[tokio::test]
async fn a_row_that_a_users_trigger_refuses_holds_up_nobody() {
    let setup = |kind: Kind| {
        let trigger = match kind {
            Kind::Mariadb => {
                "CREATE TABLE two (n integer); INSERT INTO two VALUES (1), (2);
                 CREATE TRIGGER picky BEFORE INSERT ON t FOR EACH ROW
                 IF NEW.id = 2 THEN SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30001, MESSAGE_TEXT = 'not two';
                 ELSEIF NEW.id = 3 THEN SIGNAL SQLSTATE '02000';
                 ELSEIF NEW.id = 4 THEN SELECT n INTO @found FROM two;
                 END IF"
            }
            _ => "",
        };
        format!("CREATE TABLE t (id integer PRIMARY KEY); {trigger}")
    };
    let mut cluster = Cluster::new(WITH_POSTGRES, setup, "[tables.t]\nfrom = \"b\"").await;
    cluster.run(1, "INSERT INTO t SELECT generate_series(1, 5)").await;
    let summary = cluster.sync().await;
    assert_eq!((summary.waiting, summary.failed), (3, None));
    assert!(cluster.reasons("a").await.iter().any(|why| why.contains("not two [30001]")));
    cluster.holds_at(0, "SELECT id FROM t ORDER BY id", &["1", "5"]).await;
}

/// MySQL has no uuids of its own: there they are 16 bytes, in keys as well. Letters may spell what is none, so they are no key.
#[tokio::test]
async fn uuids_that_are_bytes_are_keys() {
    let setup = |id: &'static str| {
        move |kind: Kind| {
            let (id, price) = if kind == Kind::Mariadb { (id, "bigint unsigned") } else { ("uuid", "numeric(20)") };
            format!("CREATE TABLE t (id {id} PRIMARY KEY, price {price})")
        }
    };
    let mut cluster = Cluster::new(WITH_POSTGRES, setup("binary(16)"), "[tables.t]").await;
    cluster.run(1, "INSERT INTO t VALUES ('0e37df36-f698-11e6-8dd4-cb9ced3df976', 18446744073709551615)").await;
    cluster.run(0, "INSERT INTO t VALUES (x'ffffffffffff4fffbfffffffffffffff', 1)").await;
    cluster.sync().await;
    let here = ["0E37DF36F69811E68DD4CB9CED3DF976|18446744073709551615", "FFFFFFFFFFFF4FFFBFFFFFFFFFFFFFFF|1"];
    cluster.holds_at(0, "SELECT hex(id), price FROM t ORDER BY id", &here).await;
    cluster.run(1, "DELETE FROM t WHERE price > 1; UPDATE t SET price = 2").await;
    cluster.sync().await;
    cluster.holds_at(0, "SELECT hex(id), price FROM t", &["FFFFFFFFFFFF4FFFBFFFFFFFFFFFFFFF|2"]).await;
    cluster.quiet().await;
    let verified = cluster.session().verify(&Default::default()).await.expect("all are there");
    assert_eq!(verified.exit_code(), 0, "{verified:#?}");
    let spelled = Cluster::bare(WITH_POSTGRES, setup("char(36)"), "[tables.t]").await;
    let refused = spelled.try_install().await.expect_err("a key has to be readable");
    assert!(refused.contains("`id`, in the key of `t` at a, is char(36) and may hold what is no uuid"), "{refused}");
}

/// For MariaDB a key with blanks behind it is the same key; neither row is ever written over the other.
#[tokio::test]
async fn keys_that_differ_in_blanks_do_not_overwrite_each_other() {
    let setup = |kind: Kind| {
        let collation = if kind == Kind::Mariadb { " COLLATE utf8mb4_bin" } else { "" };
        format!("CREATE TABLE items (code varchar(20){collation} PRIMARY KEY, n integer)")
    };
    let mut cluster = Cluster::new(WITH_POSTGRES, setup, "[tables.items]").await;
    cluster.run(0, "INSERT INTO items VALUES ('a', 1), ('b ', 2)").await;
    cluster.settle().await;
    cluster.run(1, "INSERT INTO items VALUES ('a ', 3), ('b', 4), ('A', 5)").await;
    cluster.sync().await;
    cluster.holds_at(0, "SELECT concat(code, '.'), n FROM items ORDER BY n", &["a.|1", "b .|2", "A.|5"]).await;
    assert_eq!(cluster.waiting().await, ["a items [\"a \"] constraint", "a items [\"b\"] constraint"]);
    // A delete takes the one that is meant.
    cluster.run(1, "DELETE FROM items WHERE code IN ('a ', 'b')").await;
    cluster.settle().await;
    cluster.run(1, "DELETE FROM items WHERE code = 'b '").await;
    cluster.settle().await;
    cluster.holds_at(0, "SELECT n FROM items ORDER BY n", &["1", "5"]).await;
}

/// The same of letters and accents under a usual collation. Of two that are one key there, the one that came first stands, and the
/// other waits with both keys in its reason, and is shown with both rows, until one of them is changed or gone.
#[tokio::test]
async fn keys_that_are_one_key_there_do_not_overwrite_each_other() {
    let setup = |kind: Kind| {
        let collation = if kind == Kind::Mariadb { " COLLATE utf8mb4_general_ci" } else { "" };
        format!("CREATE TABLE items (code varchar(20){collation} PRIMARY KEY, n integer)")
    };
    let mut cluster = Cluster::new(WITH_POSTGRES, setup, "[tables.items]").await;
    cluster.run(0, "INSERT INTO items VALUES ('a', 1), ('b', 2)").await;
    cluster.settle().await;
    cluster.run(1, "INSERT INTO items VALUES ('A', 3), ('á', 4), ('c', 5), ('C', 6)").await;
    cluster.sync().await;
    cluster.holds_at(0, "SELECT code, n FROM items WHERE n < 5 ORDER BY n", &["a|1", "b|2"]).await;
    cluster.holds_at(0, "SELECT count(*) FROM items WHERE n >= 5", &["1"]).await;
    let waiting = cluster.waiting().await;
    assert_eq!(waiting.len(), 3, "{waiting:?}");
    let reasons = cluster.reasons("a").await;
    assert!(reasons.iter().any(|reason| reason.contains("the key [\"A\"] is the same as [\"a\"]")), "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains("the key [\"á\"] is the same as [\"a\"]")), "{reasons:?}");
    both_rows_are_shown(&cluster).await;
    // A key that is only written otherwise replaces the former, in both directions.
    cluster.run(1, "DELETE FROM items WHERE code IN ('á', 'C'); DELETE FROM items WHERE code = 'a'").await;
    cluster.settle().await;
    cluster.holds("SELECT code, n FROM items ORDER BY n", &["b|2", "A|3", "c|5"]).await;
    cluster.run(0, "UPDATE items SET code = 'B' WHERE code = 'b'").await;
    cluster.settle().await;
    cluster.run(1, "UPDATE items SET code = 'b' WHERE code = 'B'").await;
    cluster.settle().await;
    cluster.holds("SELECT code, n FROM items ORDER BY n", &["b|2", "A|3", "c|5"]).await;
}

/// GIVEN four keys in one table and transaction that are one key here under usual collations: another letter, a blank, an accent
/// WHEN they arrive, and when those that wait are changed
/// THEN one stands as it was written and is touched by nobody, and each of the others waits for it.
#[tokio::test]
async fn of_four_keys_that_are_one_there_one_stands_untouched() {
    for (from, collation) in [(Kind::Postgres, "utf8mb4_general_ci"), (Kind::Sqlite, "utf8mb4_unicode_ci")] {
        let setup = |kind: Kind| match kind {
            Kind::Mariadb => format!(
                "CREATE TABLE items (code varchar(20) COLLATE {collation} PRIMARY KEY, n integer);
                 CREATE TABLE touches (code varchar(20));
                 CREATE TRIGGER updated BEFORE UPDATE ON items FOR EACH ROW INSERT INTO touches VALUES (OLD.code);
                 CREATE TRIGGER deleted BEFORE DELETE ON items FOR EACH ROW INSERT INTO touches VALUES (OLD.code)"
            ),
            _ => "CREATE TABLE items (code varchar(20) PRIMARY KEY, n integer)".to_owned(),
        };
        let mut cluster = Cluster::new(&[Kind::Mariadb, from], setup, "[tables.items]").await;
        cluster.run(1, "INSERT INTO items VALUES ('a', 1), ('A', 2), ('a ', 3), ('á', 4)").await;
        let summary = cluster.sync().await;
        assert_eq!((summary.waiting, summary.exit_code()), (3, 1), "{from:?}");
        let there = "SELECT concat(code, '.'), n FROM items";
        let rows = cluster.rows(0, there).await;
        let written = ["a.|1", "A.|2", "a .|3", "á.|4"];
        assert!(rows.len() == 1 && written.contains(&rows[0].as_str()), "{from:?}: {rows:?}");
        let (code, n) = rows[0].split_once(".|").expect("a key and a number");
        let stands = json!({"code": code, "n": n.parse::<i64>().expect("a number")});
        for by in [0, 10] {
            cluster.run(1, &format!("UPDATE items SET n = n + {by} WHERE code <> '{code}'")).await;
            cluster.sync().await;
            let parked = cluster.session().parked().await.expect("what waits");
            let mut told: Vec<_> = parked
                .iter()
                .map(|row| (row.node.as_str(), row.code, row.row.clone(), row.in_the_way.clone()))
                .collect();
            told.sort_by_key(|(_, _, row, _)| row.as_ref().and_then(|row| row["n"].as_i64()));
            let others = [("a", 1), ("A", 2), ("a ", 3), ("á", 4)].into_iter().filter(|(other, _)| *other != code);
            let expected: Vec<_> = others
                .map(|(other, n)| {
                    let row = Some(json!({"code": other, "n": n + by}));
                    ("a", "constraint", row, Some(stands.clone()))
                })
                .collect();
            assert_eq!(told, expected, "{from:?}");
            cluster.holds_at(0, there, &[&rows[0]]).await;
            cluster.holds_at(0, "SELECT code FROM touches", &[]).await;
            cluster.quiet().await;
        }
        // A delete takes those that are meant.
        cluster.run(1, &format!("DELETE FROM items WHERE code <> '{code}'")).await;
        cluster.settle().await;
        cluster.holds_at(0, there, &[&rows[0]]).await;
        cluster.holds_at(0, "SELECT code FROM touches", &[]).await;
    }
}

/// That the row with the key `A`, which waits at the first node for `a`, is told of with both rows.
async fn both_rows_are_shown(cluster: &Cluster) {
    let (waits, stands) = (json!({"code": "A", "n": 3}), json!({"code": "a", "n": 1}));
    let parked = cluster.session().parked().await.expect("what waits");
    let told = parked.iter().find(|row| row.key == json!(["A"])).expect("it waits");
    assert_eq!((&told.row, &told.in_the_way), (&Some(waits.clone()), &Some(stands.clone())));
    let why = Box::pin(cluster.session().why("items", &["A".to_owned()])).await.expect("a table and a key");
    assert_eq!((&why.versions[0].row, &why.nodes[0].in_the_way), (&Some(waits.clone()), &Some(stands.clone())));
    assert_eq!(why.nodes[1].in_the_way, None);
    let concord = cluster.command("[tables.items]\n");
    let one = ["parked", "list", "--table", "items", "--key", "[\"A\"]"];
    let told = concord.run(&[&one[..], &["--json"]].concat()).await.ok().json();
    assert_eq!((&told["parked"][0]["row"], &told["parked"][0]["in_the_way"]), (&waits, &stands));
    // As a person sees it.
    let list = concord.run(&one).await.ok();
    assert!(list.says("waits at a: code=A n=3\nin its way: code=a n=1"), "{list:?}");
    let why = concord.run(&["why", "items", "A"]).await.expect(1);
    assert!(why.says(": code=A n=3") && why.says("in its way at a: code=a n=1"), "{why:?}");
}

/// Rows of two tables that refer to each other arrive together, and one whose parent is missing waits.
#[tokio::test]
async fn rows_that_need_each_other() {
    let setup = |kind: Kind| {
        let late = if kind == Kind::Mariadb { "" } else { " DEFERRABLE INITIALLY DEFERRED" };
        format!(
            "CREATE TABLE teams (id integer PRIMARY KEY, \"lead\" integer NOT NULL);
             CREATE TABLE staff (id integer PRIMARY KEY, team integer NOT NULL REFERENCES teams (id){late});
             ALTER TABLE teams ADD FOREIGN KEY (\"lead\") REFERENCES staff (id){late}"
        )
    };
    let mut cluster = Cluster::new(WITH_POSTGRES, setup, "[tables.teams]\n[tables.staff]").await;
    cluster
        .run(1, "BEGIN; INSERT INTO teams VALUES (1, 10), (2, 20); INSERT INTO staff VALUES (10, 1), (20, 2); COMMIT")
        .await;
    cluster.settle().await;
    cluster.holds_at(0, "SELECT id, \"lead\" FROM teams ORDER BY id", &["1|10", "2|20"]).await;
    cluster.run(1, "BEGIN; DELETE FROM staff WHERE id = 10; DELETE FROM teams WHERE id = 1; COMMIT").await;
    cluster.settle().await;
    cluster.holds_at(0, "SELECT id FROM staff", &["20"]).await;
    // References are checked again afterwards.
    assert!(cluster.nodes[0].user.try_execute("INSERT INTO staff VALUES (30, 3)").await.is_err());
}

/// Another engine reads the histories while this one is about to give entries their marks: neither skips what the other saw.
#[tokio::test(flavor = "multi_thread")]
async fn two_engines_give_marks_at_once() {
    let setup =
        |_| "CREATE TABLE items (id integer PRIMARY KEY, n integer); INSERT INTO items VALUES (1, 0)".to_owned();
    let mut cluster = Cluster::new(WITH_POSTGRES, setup, "[tables.items]\nconflict = { sum = [\"n\"] }").await;
    cluster.run(0, "UPDATE items SET n = n + 1").await;
    let other = Arc::new(tokio::sync::Mutex::new(cluster.session()));
    let meanwhile = async |cluster: &mut Cluster| {
        cluster.run(0, "UPDATE items SET n = n + 10; INSERT INTO items VALUES (2, 5)").await;
        Box::pin(other.lock().await.sync()).await.expect("the other engine's sync");
        cluster.run(0, "UPDATE items SET n = n + 100").await;
    };
    cluster.sync_while("mark-entries", meanwhile).await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM items ORDER BY id", &["1|111", "2|105"]).await;
}

/// A user who holds a row holds up that row and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_a_user_holds() {
    let setup = |_| {
        "CREATE TABLE items (id integer PRIMARY KEY, n integer); INSERT INTO items VALUES (1, 0), (2, 0)".to_owned()
    };
    let mut cluster = Cluster::new(WITH_POSTGRES, setup, "[tables.items]").await;
    let mut user = cluster.nodes[0].database.user_as(As::App).await;
    user.execute("START TRANSACTION; UPDATE items SET n = 5 WHERE id = 1").await;
    cluster.run(1, "UPDATE items SET n = 7").await;
    let summary = cluster.sync().await;
    assert_eq!((summary.held, summary.exit_code()), (1, 3), "{summary:?}");
    cluster.holds_at(0, "SELECT n FROM items ORDER BY id", &["0", "7"]).await;
    user.execute("ROLLBACK").await;
    cluster.settle().await;
    cluster.holds("SELECT n FROM items ORDER BY id", &["7", "7"]).await;
}

/// Where a history stands is a parameter of what reads it. Otherwise each cycle would have its statements prepared, and others given
/// up, for ever.
#[tokio::test]
async fn a_cycle_has_nothing_prepared_that_another_had_already() {
    let server = Server::dedicated(&[]);
    let mut cluster = Cluster::bare(&[], |_| String::new(), "[tables.t]").await;
    for _ in 0..2 {
        let database = Database::on_mariadb(&server).await;
        let mut owner = database.user_as(As::Sync).await;
        owner.execute("CREATE TABLE t (id integer PRIMARY KEY, n integer NOT NULL)").await;
        cluster.add(database).await;
    }
    cluster.install().await;
    let mut session = cluster.session();
    let mut prepared = Vec::new();
    for cycle in 0..5 {
        for at in [0, 1] {
            cluster.run(at, &format!("INSERT INTO t VALUES ({}, 0)", 2 * cycle + at)).await;
            Box::pin(session.sync()).await.expect("both are there");
        }
        let count =
            "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'Com_stmt_prepare'";
        prepared.push(cluster.nodes[0].user.cell(count).await.parse::<u64>().expect("a number"));
    }
    assert_eq!(prepared[4], prepared[3], "{prepared:?}");
}

/// NULL, in place of which the server would put the present time or the next number, waits as it does in other columns that take none.
#[tokio::test]
async fn a_null_becomes_no_time_and_no_number() {
    // Beside a unique index over texts of any length rows are written one by one.
    for unique in ["", ", UNIQUE (name)"] {
        let setup = |kind: Kind| match kind {
            Kind::Mariadb => format!(
                "CREATE TABLE t (id integer PRIMARY KEY, at timestamp NOT NULL DEFAULT current_timestamp, \
                 n bigint NOT NULL AUTO_INCREMENT, name text, KEY (n){unique})"
            ),
            _ => "CREATE TABLE t (id integer PRIMARY KEY, at timestamptz, n bigint, name text)".to_owned(),
        };
        let mut cluster = Cluster::new(WITH_POSTGRES, setup, "[tables.t]").await;
        let rows =
            "(1, NULL, 5, 'one'), (2, '2024-01-01 00:00:00Z', NULL, 'two'), (3, '2024-01-01 00:00:00Z', 7, 'three')";
        cluster.run(1, &format!("INSERT INTO t VALUES {rows}")).await;
        cluster.sync().await;
        let reasons = cluster.reasons("a").await;
        for column in ["column at (timestamp", "column n (bigint"] {
            let told = |why: &&String| why.starts_with(column) && why.contains(") cannot be NULL");
            assert_eq!(reasons.iter().filter(told).count(), 1, "{reasons:?}");
        }
        assert_eq!(cluster.waiting().await, ["a t [1] constraint", "a t [2] constraint"], "{reasons:?}");
        cluster.holds_at(0, "SELECT id, n FROM t", &["3|7"]).await;
        // Where there is a row it stays as it was.
        cluster.run(1, "UPDATE t SET at = NULL, n = 8 WHERE id = 3").await;
        cluster.sync().await;
        cluster.holds_at(0, "SELECT id, n FROM t", &["3|7"]).await;
        cluster.run(1, "UPDATE t SET at = '2024-01-01 00:00:01Z', n = id").await;
        cluster.sync().await;
        assert_eq!(cluster.waiting().await, [] as [&str; 0]);
        cluster.holds("SELECT id, n FROM t ORDER BY id", &["1|1", "2|2", "3|3"]).await;
    }
}

/// A tool that rebuilds a table takes copies of its triggers along, under names of its own.
#[tokio::test]
async fn copies_of_triggers_record_nothing_twice() {
    let setup =
        |_| "CREATE TABLE t (id integer PRIMARY KEY, n integer NOT NULL); INSERT INTO t VALUES (1, 10)".to_owned();
    let mut cluster = Cluster::new(WITH_POSTGRES, setup, "[tables.t]\nconflict = { sum = [\"n\"] }").await;
    cluster.settle().await;
    let copies = "SELECT CONCAT('SET sql_mode = ''', sql_mode, '''; CREATE TRIGGER `', trigger_name, '_v2` ', action_timing, ' ',
                      event_manipulation, ' ON t FOR EACH ROW ', action_statement)
                  FROM information_schema.triggers WHERE trigger_schema = database() AND event_object_table = 't'";
    let copies = cluster.rows(0, copies).await;
    assert_eq!(copies.len(), 3);
    let rebuild =
        "CREATE TABLE t_new LIKE t; INSERT INTO t_new SELECT * FROM t; DROP TABLE t; ALTER TABLE t_new RENAME TO t";
    cluster.run_as_owner(0, rebuild).await;
    for copy in copies {
        cluster.run_as_owner(0, &copy).await;
    }
    cluster.install().await;
    let names = "SELECT trigger_name FROM information_schema.triggers
                 WHERE trigger_schema = database() AND event_object_table = 't' ORDER BY trigger_name";
    cluster.holds_at(0, names, &["concord_d_t", "concord_i_t", "concord_u_t"]).await;
    cluster.run(0, "UPDATE t SET n = n + 5 WHERE id = 1").await;
    cluster.run(1, "UPDATE t SET n = n + 1 WHERE id = 1").await;
    cluster.settle().await;
    cluster.holds("SELECT n FROM t", &["16"]).await;
}
