//! Values arrive as they were written, bit by bit, read by the database that they arrived in; what cannot does not.

use concord::sync::Verify;
use concord_tests::{As, Cluster, Kind, NAMES};

const PAIR: &[Kind] = &[Kind::Postgres, Kind::Sqlite];
const BOTH_POSTGRES: &[Kind] = &[Kind::Postgres, Kind::Postgres];
const BOTH_SQLITE: &[Kind] = &[Kind::Sqlite, Kind::Sqlite];

/// A table with one column of these types, on PostgreSQL and on SQLite.
fn column(postgres: &str, sqlite: &str) -> impl Fn(Kind) -> String + use<> {
    let of = |ty: &str| format!("CREATE TABLE t (id integer PRIMARY KEY, v {ty})");
    let (postgres, sqlite) = (of(postgres), of(sqlite));
    move |kind| match kind {
        Kind::Postgres => postgres.clone(),
        Kind::Sqlite => sqlite.clone(),
        Kind::Mariadb => unreachable!("no cluster has one here"),
    }
}

/// What is written at the first node is found at the second, as its own SQL shows it, and the other way round.
async fn travels(kinds: &[Kind], types: (&str, &str), values: &[(&str, &str)], shown: &str, found: &[&str]) {
    let mut cluster = Cluster::new(kinds, column(types.0, types.1), "[tables.t]").await;
    for (id, (there, _)) in (1..).zip(values) {
        cluster.run(0, &format!("INSERT INTO t VALUES ({id}, {there})")).await;
    }
    cluster.sync().await;
    assert_eq!(cluster.waiting().await, [""; 0], "{:?}", cluster.reasons(NAMES[1]).await);
    cluster.holds_at(1, &format!("SELECT {shown} FROM t ORDER BY id"), found).await;
    // And back: rows of the second node's own, and its rewriting of every row.
    for (id, (_, here)) in (101..).zip(values) {
        cluster.run(1, &format!("INSERT INTO t VALUES ({id}, {here})")).await;
    }
    cluster.run(1, "UPDATE t SET v = v WHERE id < 100").await;
    cluster.sync().await;
    assert_eq!(cluster.waiting().await, [""; 0], "{:?}", cluster.reasons(NAMES[0]).await);
    for (id, (there, _)) in (1..).zip(values) {
        for id in [id, 100 + id] {
            let same = format!("SELECT v IS NOT DISTINCT FROM ({there}) FROM t WHERE id = {id}");
            cluster.holds_at(0, &same.replace("IS NOT DISTINCT FROM", equal(kinds[0])), &[truth(kinds[0])]).await;
        }
    }
    cluster.quiet().await;
}

fn equal(kind: Kind) -> &'static str {
    if kind == Kind::Sqlite { "IS" } else { "IS NOT DISTINCT FROM" }
}

fn truth(kind: Kind) -> &'static str {
    if kind == Kind::Sqlite { "1" } else { "t" }
}

#[tokio::test]
async fn integers() {
    let (most, least) = (i64::MAX.to_string(), format!("({} - 1)", i64::MIN + 1));
    let values = [(most.as_str(), most.as_str()), (&least, &least), ("0", "0"), ("NULL", "NULL")];
    let found = [most.as_str(), "-9223372036854775808", "0", "NULL"];
    travels(PAIR, ("bigint", "bigint"), &values, "v", &found).await;
    travels(BOTH_POSTGRES, ("bigint", ""), &values, "v", &found).await;
    let small = [("32767::int2", "32767"), ("(-32768)::int2", "-32768")];
    travels(PAIR, ("smallint", "integer"), &small, "v", &["32767", "-32768"]).await;
}

#[tokio::test]
async fn numeric_keeps_its_scale() {
    let values = ["1.10", "0.00", "-12345678901234567890.123456789000", "1e-20::numeric", "NULL", "100"];
    let pairs: Vec<(&str, &str)> = values.iter().map(|value| (*value, *value)).collect();
    let found = ["1.10", "0.00", "-12345678901234567890.123456789000", "0.00000000000000000001", "NULL", "100"];
    travels(BOTH_POSTGRES, ("numeric", ""), &pairs, "v", &found).await;
    let special = [("'NaN'", "'NaN'"), ("'Infinity'", "'Infinity'"), ("'-Infinity'", "'-Infinity'")];
    travels(BOTH_POSTGRES, ("numeric", ""), &special, "v", &["NaN", "Infinity", "-Infinity"]).await;
    // As text, where no digit may be lost.
    let long = [("12345678901234567890.12", "'12345678901234567890.12'"), ("0.10", "'0.10'")];
    travels(
        PAIR,
        ("numeric(30,2)", "text"),
        &long,
        "typeof(v) || ' ' || v",
        &["text 12345678901234567890.12", "text 0.10"],
    )
    .await;
    let short = [("1234567890.12", "1234567890.12"), ("-0.01", "-0.01"), ("5", "5")];
    travels(PAIR, ("numeric(12,2)", "numeric(12,2)"), &short, "v", &["1234567890.12", "-0.01", "5"]).await;
}

#[tokio::test]
async fn floats() {
    let values = [
        ("0.1", "0.1"),
        ("1.7976931348623157e308", "1.7976931348623157e308"),
        ("5e-324", "5e-324"),
        ("'Infinity'", "9e999"),
        ("'-Infinity'", "-9e999"),
        ("NULL", "NULL"),
        ("123456789.12345679", "123456789.12345679"),
    ];
    let found = ["0.1", "1.7976931348623157e308", "5e-324", "inf", "-inf", "NULL", "123456789.12345679"];
    travels(PAIR, ("double precision", "real"), &values, "v", &found).await;
    let values = [("'NaN'", "'NaN'"), ("'Infinity'", "'Infinity'"), ("'-0'", "'-0'"), ("0.1", "0.1")];
    travels(
        BOTH_POSTGRES,
        ("double precision", ""),
        &values,
        "float8send(v)",
        &["\\x7ff8000000000000", "\\x7ff0000000000000", "\\x8000000000000000", "\\x3fb999999999999a"],
    )
    .await;
    let single = ["'0.1'::real", "'3.4028235e38'::real", "'1e-45'::real", "'NaN'"].map(|value| (value, value));
    travels(BOTH_POSTGRES, ("real", ""), &single, "v", &["0.1", "3.4028235e+38", "1e-45", "NaN"]).await;
}

#[tokio::test]
async fn texts() {
    let values = [
        "''",
        "'it''s \"quoted\" \\ {a,b}'",
        "'🙂 ä́ ﷺ 漢'",
        "NULL",
        "'NULL'",
        "'line\nbreak\ttab\r'",
        "' blank '",
        "'0012'",
    ];
    let pairs: Vec<(&str, &str)> = values.iter().map(|value| (*value, *value)).collect();
    let found = ["", "it's \"quoted\" \\ {a,b}", "🙂 ä́ ﷺ 漢", "NULL", "NULL", "line\nbreak\ttab\r", " blank ", "0012"];
    for kinds in [PAIR, BOTH_POSTGRES, BOTH_SQLITE] {
        travels(kinds, ("text", "text"), &pairs, "v", &found).await;
    }
    travels(PAIR, ("varchar(40)", "varchar(40)"), &pairs, "v", &found).await;
}

#[tokio::test]
async fn bytes() {
    let values = [("'\\x'", "x''"), ("'\\x00ff0027225c'", "x'00ff0027225c'"), ("NULL", "NULL")];
    travels(PAIR, ("bytea", "blob"), &values, "typeof(v) || hex(v)", &["blob", "blob00FF0027225C", "null"]).await;
    travels(
        BOTH_POSTGRES,
        ("bytea", ""),
        &[("'\\x'", "'\\x'"), ("'\\x00ff27'", "'\\x00ff27'")],
        "v",
        &["\\x", "\\x00ff27"],
    )
    .await;
}

#[tokio::test]
async fn a_mebibyte() {
    for kinds in [PAIR, BOTH_POSTGRES, BOTH_SQLITE] {
        let mut cluster = Cluster::new(kinds, column("bytea", "blob"), "[tables.t]").await;
        let (here, there) = match kinds[0] {
            Kind::Postgres => {
                ("(SELECT string_agg(sha256(i::text::bytea), '') FROM generate_series(1, 32768) i)", "md5(v)")
            }
            Kind::Sqlite => ("randomblob(1048576)", "hex(v)"),
            Kind::Mariadb => unreachable!("no cluster has one here"),
        };
        cluster.run(0, &format!("INSERT INTO t VALUES (1, {here})")).await;
        cluster.sync().await;
        cluster.holds_at(1, "SELECT length(v) FROM t", &["1048576"]).await;
        cluster.run(1, "UPDATE t SET id = 2").await;
        let before = cluster.rows(0, &format!("SELECT {there} FROM t WHERE id = 1")).await;
        cluster.sync().await;
        let before: Vec<&str> = before.iter().map(String::as_str).collect();
        cluster.holds_at(0, &format!("SELECT {there} FROM t WHERE id = 2"), &before).await;
        cluster.quiet().await;
    }
}

#[tokio::test]
async fn dates_and_times() {
    let dates = [("'2024-02-29'", "'2024-02-29'"), ("'0001-01-01'", "'0001-01-01'"), ("'9999-12-31'", "'9999-12-31'")];
    travels(PAIR, ("date", "date"), &dates, "v", &["2024-02-29", "0001-01-01", "9999-12-31"]).await;
    let times = [("'23:59:59.999999'", "'23:59:59.999999'"), ("'00:00'", "'00:00:00'")];
    travels(PAIR, ("time", "time"), &times, "v", &["23:59:59.999999", "00:00:00"]).await;
    let stamps =
        [("'2024-02-29 12:34:56.789012'", "'2024-02-29 12:34:56.789012'"), ("'1900-01-01'", "'1900-01-01 00:00:00'")];
    travels(PAIR, ("timestamp", "timestamp"), &stamps, "v", &["2024-02-29 12:34:56.789012", "1900-01-01 00:00:00"])
        .await;
    let instants = [("'2024-07-01 12:00:00.000001+05:30'", "'2024-07-01 06:30:00.000001+00:00'")];
    travels(PAIR, ("timestamptz", "text"), &instants, "v", &["2024-07-01 06:30:00.000001+00:00"]).await;
}

/// What only PostgreSQL can say, among its own.
#[tokio::test]
async fn infinite_times() {
    for ty in ["date", "timestamp", "timestamptz"] {
        let values =
            [("'infinity'", "'infinity'"), ("'-infinity'", "'-infinity'"), ("'0044-03-15 BC'", "'0044-03-15 BC'")];
        let early = if ty == "date" { "0044-03-15 BC" } else { "0044-03-15 00:00:00 BC" };
        let shown = if ty == "timestamptz" { "v AT TIME ZONE 'UTC'" } else { "v" };
        travels(BOTH_POSTGRES, (ty, ""), &values, shown, &["infinity", "-infinity", early]).await;
    }
}

#[tokio::test]
async fn booleans_uuids_and_documents() {
    let truths = [("true", "1"), ("false", "0"), ("NULL", "NULL")];
    travels(PAIR, ("boolean", "boolean"), &truths, "v", &["1", "0", "NULL"]).await;
    let uuid = "'12345678-9abc-4def-8123-456789abcdef'";
    travels(PAIR, ("uuid", "uuid"), &[(&format!("{uuid}::uuid"), uuid)], "v", &[uuid.trim_matches('\'')]).await;
    let document = "'{\"a\": [1, 2.50, null, \"x\\\"y\", {}], \"ü\": 12345678901234567890}'";
    travels(
        PAIR,
        ("jsonb", "json"),
        &[(&format!("{document}::jsonb"), document)],
        "json_extract(v, '$.a[1]') || json_extract(v, '$.a[3]')",
        &["2.5x\"y"],
    )
    .await;
    let spelled = "'{\"b\": 1,  \"a\": 1.0}'";
    let mut cluster = Cluster::new(BOTH_POSTGRES, column("json", ""), "[tables.t]").await;
    cluster.run(0, &format!("INSERT INTO t VALUES (1, {spelled})")).await;
    cluster.settle().await;
    cluster.holds("SELECT v FROM t", &[spelled.trim_matches('\'')]).await;
}

/// Types that both ends have alike travel as their own text.
#[tokio::test]
async fn types_of_postgres_alone() {
    for (ty, value, shown) in [
        ("integer[]", "'{{1,NULL},{-3,4}}'", "{{1,NULL},{-3,4}}"),
        ("integer[]", "'[2:3]={1,NULL}'", "[2:3]={1,NULL}"),
        ("text[]", "ARRAY['a,b', '\"', NULL, 'NULL', '', '🙂']", "{\"a,b\",\"\\\"\",NULL,\"NULL\",\"\",🙂}"),
        ("numeric(6,2)[]", "'{1.5,2}'", "{1.50,2.00}"),
        ("inet", "'10.1.2.3/8'", "10.1.2.3/8"),
        ("interval", "'1 year 2 mons -3 days +04:05:06.789'", "1 year 2 mons -3 days +04:05:06.789"),
        ("mood", "'very happy'", "very happy"),
        ("int4range", "'[1,10)'", "[1,10)"),
        ("tstzrange", "'[2024-01-01 00:00+00,infinity]'", "[\"2024-01-01 00:00:00+00\",infinity]"),
        ("bit varying", "B'10110'", "10110"),
        ("point", "'(0.1,-2e-300)'", "(0.1,-2e-300)"),
        ("pair", "ROW(1, 'a \"b\"')::pair", "(1,\"a \"\"b\"\"\")"),
        ("tsvector", "'''a'':1 ''b c'':2'", "'a':1 'b c':2"),
        ("timetz", "'12:00:00.5+02'", "12:00:00.5+02"),
    ] {
        let setup = |_| {
            format!(
                "CREATE TYPE mood AS ENUM ('sad', 'very happy'); CREATE TYPE pair AS (n integer, t text);
                 CREATE TABLE t (id integer PRIMARY KEY, v {ty})"
            )
        };
        let mut cluster = Cluster::new(BOTH_POSTGRES, setup, "[tables.t]").await;
        cluster.run(0, &format!("INSERT INTO t VALUES (1, {value}), (2, NULL)")).await;
        cluster.settle().await;
        cluster.holds_at(1, "SELECT v FROM t ORDER BY id", &[shown, "NULL"]).await;
    }
}

/// Columns of SQLite hold what they were given, whatever was declared.
#[tokio::test]
async fn sqlite_values_of_another_class() {
    for ty in ["integer", "text", "real", "numeric", "blob", "", "date", "boolean", "varchar(3)"] {
        let mut cluster = Cluster::new(BOTH_SQLITE, column("", ty), "[tables.t]").await;
        for (id, value) in (1..).zip([
            "1",
            "'1'",
            "'abc'",
            "1.5",
            "x'31'",
            "NULL",
            "1e300",
            "''",
            "'1.0'",
            "9007199254740993",
            "'longer than three'",
        ]) {
            cluster.run(0, &format!("INSERT INTO t VALUES ({id}, {value})")).await;
        }
        let stored = cluster.rows(0, "SELECT typeof(v), quote(v) FROM t ORDER BY id").await;
        cluster.settle().await;
        let stored: Vec<&str> = stored.iter().map(String::as_str).collect();
        cluster.holds_at(1, "SELECT typeof(v), quote(v) FROM t ORDER BY id", &stored).await;
    }
}

#[tokio::test]
async fn what_cannot_be_carried_is_refused_by_name() {
    for (kinds, postgres, sqlite, says) in [
        (BOTH_POSTGRES, "money", "", "money"),
        (BOTH_POSTGRES, "regclass", "", "regclass"),
        (PAIR, "integer[]", "text", "does not keep integer[] exactly"),
        (PAIR, "bigint", "text", "does not keep integer exactly"),
        (PAIR, "timestamptz", "integer", "does not keep instant exactly"),
        (PAIR, "text", "real", "does not keep text exactly"),
        (BOTH_POSTGRES, "numeric(3,-2)", "", "rounds"),
    ] {
        let cluster = Cluster::bare(kinds, column(postgres, sqlite), "[tables.t]").await;
        let refused = cluster.try_install().await.expect_err(&format!("{postgres} to {sqlite} is refused"));
        assert!(refused.contains("`v` of `t` at ") && refused.contains(says), "{postgres} to {sqlite}: {refused}");
        for node in &cluster.nodes {
            assert!(
                node.database.node().await.service().await.expect("it can be asked").is_none(),
                "nothing was changed"
            );
        }
    }
    // Of one name, and made of others.
    for (ty, part, other) in [
        ("pos", "CREATE TYPE pos AS (lat numeric, lbl text)", "CREATE TYPE pos AS (lat numeric(6,2), lbl text)"),
        ("pos[]", "CREATE TYPE pos AS (at timestamp)", "CREATE TYPE pos AS (at timestamp(0))"),
        ("span", "CREATE TYPE span AS RANGE (subtype = float8)", "CREATE TYPE span AS RANGE (subtype = float4)"),
        ("price[]", "CREATE DOMAIN price AS numeric", "CREATE DOMAIN price AS numeric(6,2)"),
    ] {
        let table = format!("CREATE TABLE t (id integer PRIMARY KEY, v {ty})");
        let cluster = Cluster::bare(BOTH_POSTGRES, |_| String::new(), "[tables.t]").await;
        cluster.create(&[&format!("{part}; {table}"), &format!("{other}; {table}")]).await;
        let refused = cluster.try_install().await.expect_err("values would be rounded");
        assert!(refused.contains("`v` of `t` at ") && refused.contains(" = ("), "{ty}: {refused}");
        let alike = Cluster::bare(BOTH_POSTGRES, |_| format!("{part}; {table}"), "[tables.t]").await;
        alike.install().await;
    }
    // Two that differ.
    let cluster = Cluster::bare(BOTH_POSTGRES, |_| String::new(), "[tables.t]").await;
    for (node, ty) in cluster.nodes.iter().zip(["integer", "text"]) {
        node.database.user_as(As::Sync).await.execute(&column(ty, "")(Kind::Postgres)).await;
    }
    let refused = cluster.try_install().await.expect_err("the types differ");
    assert!(
        refused.contains("`v` of `t` at b (text) holds text and `v` of `t` at a (integer) holds integer"),
        "{refused}"
    );
}

/// What does not fit waits, with its column and reason; its neighbours go on, and a value that fits ends the waiting.
async fn does_not_fit(narrow: &str, wide: &str, too_much: &str, fits: &str, says: &str) {
    let cluster = &mut Cluster::bare(BOTH_POSTGRES, |_| String::new(), "[tables.t]").await;
    fit_test(cluster, [narrow, wide], too_much, fits, says).await;
}

async fn fit_test(cluster: &mut Cluster, types: [&str; 2], too_much: &str, fits: &str, says: &str) {
    // GIVEN a column that holds less at a than at b
    for (node, ty) in cluster.nodes.iter().zip(types) {
        node.database.user_as(As::Sync).await.execute(&column(ty, ty)(node.database.kind())).await;
    }
    cluster.install().await;
    // WHEN more is written at b
    cluster.run(1, &format!("INSERT INTO t VALUES (1, {fits}), (2, {too_much}), (3, NULL)")).await;
    let summary = cluster.sync().await;
    // THEN that row waits and no other
    assert_eq!((summary.waiting, summary.exit_code()), (1, 1), "{types:?}");
    assert_eq!(cluster.waiting().await, ["a t [2] value"]);
    let reasons = cluster.reasons("a").await;
    assert!(reasons[0].contains("`v`") && reasons[0].contains(says), "{types:?}: {reasons:?}");
    cluster.holds_at(0, "SELECT id FROM t ORDER BY id", &["1", "3"]).await;
    cluster.quiet().await;
    // AND arrives when it fits
    cluster.run(1, &format!("UPDATE t SET v = {fits} WHERE id = 2")).await;
    let summary = cluster.sync().await;
    assert_eq!(summary.waiting, 0);
    cluster.holds_at(0, "SELECT id FROM t ORDER BY id", &["1", "2", "3"]).await;
    cluster.quiet().await;
}

#[tokio::test]
async fn too_long() {
    does_not_fit("varchar(3)", "varchar(9)", "'four'", "'äöü'", "has 4 characters and the column holds 3").await;
    does_not_fit("char(3)", "text", "'ab '", "'abc'", "ends in blanks").await;
}

#[tokio::test]
async fn out_of_range() {
    does_not_fit("smallint", "bigint", "32768", "32767", "outside").await;
    does_not_fit("real", "double precision", "0.1", "0.5", "not exact").await;
    does_not_fit("real", "double precision", "1e300", "'Infinity'", "is 1e300, beyond what a 4-byte float holds").await;
}

#[tokio::test]
async fn more_digits() {
    does_not_fit("numeric(5,2)", "numeric", "1.005", "999.99", "more than 2 digits after the point").await;
    does_not_fit("numeric(5,2)", "numeric", "1000", "1.500", "more than 3 digits before the point").await;
    does_not_fit("timestamp(0)", "timestamp", "'2024-01-01 00:00:00.5'", "'2024-01-01'", "digits of a second").await;
}

/// Also where it may be rounded, nothing becomes an infinity, or comes back as one.
#[tokio::test]
async fn what_no_rounding_makes_fit() {
    let three = &[Kind::Postgres, Kind::Postgres, Kind::Postgres];
    let mut cluster = Cluster::bare(three, |_| String::new(), "[tables.t]\nlossy = [\"f\", \"d\"]\n").await;
    let types = [("double precision", "numeric(5,2)"), ("real", "numeric(4,1)"), ("double precision", "numeric(5,1)")];
    for (node, (float, decimal)) in cluster.nodes.iter().zip(types) {
        let table = format!("CREATE TABLE t (id integer PRIMARY KEY, n integer, f {float}, d {decimal})");
        node.database.user_as(As::Sync).await.execute(&table).await;
    }
    let fits = cluster.session().check().await.expect("all are there").tables.remove(0).fits;
    let told: Vec<String> = fits
        .into_iter()
        .filter_map(|fit| Some(format!("{} {}{} {} {}", fit.column, fit.from, fit.to, fit.fit, fit.why?)))
        .collect();
    assert_eq!(
        told,
        [
            "f ab lossy rounded to floats of 4 bytes; rows wait with numbers beyond 3.4028235e38",
            "f ac lossy rounded to floats of 4 bytes",
            "f ca lossy rounded to floats of 4 bytes",
            "f cb lossy rounded to floats of 4 bytes; rows wait with numbers beyond 3.4028235e38",
            "d ab lossy rounded to 1 digits after the point; rows wait with numbers that are rounded up to more than 3 digits \
             before the point",
            "d ac lossy rounded to 1 digits after the point",
            "d ca waits more than 3 digits before the point",
            "d cb waits more than 3 digits before the point",
        ]
    );
    cluster.install().await;
    cluster
        .run(
            0,
            "INSERT INTO t VALUES (1, 0, 1e300, 1), (2, 0, -1e39, 1), (3, 0, 'Infinity', 1), (4, 0, 1, 999.96), \
             (5, 0, 1e-50, 999.94)",
        )
        .await;
    assert_eq!(cluster.sync().await.waiting, 3);
    assert_eq!(cluster.waiting().await, ["b t [1] value", "b t [2] value", "b t [4] value"]);
    let reasons = cluster.reasons("b").await;
    for says in ["is 1e300, beyond", "is -1e39, beyond", "is 1000.0, with more than 3 digits"] {
        assert!(reasons.iter().any(|reason| reason.contains(says)), "{says}: {reasons:?}");
    }
    let all = "SELECT * FROM t ORDER BY id";
    cluster.holds_at(1, all, &["3|0|Infinity|1.0", "5|0|0|999.9"]).await;
    // Where there is room it arrives.
    let rows = ["1|0|1e+300|1.0", "2|0|-1e+39|1.0", "3|0|Infinity|1.0", "4|0|1|1000.0", "5|0|0|999.9"];
    cluster.holds_at(2, all, &rows).await;
    cluster.quiet().await;
    // Nothing comes back over it but what was rounded.
    cluster.run(1, "UPDATE t SET n = 1").await;
    cluster.run(2, "UPDATE t SET n = 1 WHERE id = 1").await;
    cluster.sync().await;
    let rows = ["1|1|1e+300|1.00", "2|0|-1e+39|1.00", "3|1|Infinity|1.00", "4|0|1|999.96", "5|1|0|999.90"];
    cluster.holds_at(0, all, &rows).await;
    cluster.quiet().await;
}

/// SQLite's own ways to hold what PostgreSQL cannot.
#[tokio::test]
async fn what_sqlite_lets_in() {
    for (postgres, sqlite, bad, fits, code) in [
        ("integer", "integer", "'abc'", "5", "unreadable"),
        ("integer", "integer", "2147483648", "5", "value"),
        ("date", "date", "'tomorrow'", "'2024-01-01'", "unreadable"),
        ("boolean", "boolean", "'no'", "1", "unreadable"),
        ("boolean", "boolean", "2", "1", "value"),
        ("varchar(3)", "varchar(3)", "'longer'", "'ok'", "value"),
        ("text", "text", "'a' || char(0)", "'a'", "value"),
        ("jsonb", "json", "'{no'", "'{}'", "unreadable"),
        ("uuid", "text", "'no'", "'12345678-9abc-4def-8123-456789abcdef'", "unreadable"),
    ] {
        let mut cluster = Cluster::new(PAIR, column(postgres, sqlite), "[tables.t]").await;
        cluster.run(1, &format!("INSERT INTO t VALUES (1, {fits}), (2, {bad}), (3, NULL)")).await;
        cluster.sync().await;
        assert_eq!(cluster.waiting().await, [format!("a t [2] {code}")], "{postgres} from {bad}");
        let reasons = cluster.reasons("a").await;
        assert!(reasons[0].contains("`v`"), "{postgres} from {bad}: {reasons:?}");
        cluster.holds_at(0, "SELECT id FROM t ORDER BY id", &["1", "3"]).await;
        cluster.run(1, &format!("UPDATE t SET v = {fits} WHERE id = 2")).await;
        assert_eq!(cluster.sync().await.waiting, 0, "{postgres} from {bad}");
        cluster.quiet().await;
    }
}

/// And what PostgreSQL can say and SQLite cannot, which `check` tells before.
#[tokio::test]
async fn what_sqlite_cannot_hold() {
    for (postgres, sqlite, bad, fits) in [
        ("double precision", "real", "'NaN'", "1.5"),
        ("numeric", "numeric", "1234567890.123456789", "1.5"),
        ("numeric", "numeric", "'NaN'", "2"),
        ("timestamp", "timestamp", "'0044-03-15 BC'", "'2024-01-01'"),
        ("timestamp", "timestamp", "'290000-01-01'", "'2024-01-01'"),
        ("date", "date", "'999999-12-31'", "'2024-01-01'"),
        ("date", "text", "'999999-12-31'", "'2024-01-01'"),
        ("numeric(12,2)", "numeric(12,2)", "'NaN'", "2"),
        ("jsonb", "json", "'12345678901234567890'", "'12'"),
    ] {
        let mut cluster = Cluster::new(PAIR, column(postgres, sqlite), "[tables.t]").await;
        let verdicts = cluster.session().check().await.expect("all are there").tables.remove(0).fits;
        let told = verdicts.iter().any(|fit| fit.column == "v" && fit.to == "b" && fit.fit == "waits");
        assert!(told, "{postgres} {bad}: {verdicts:?}");
        cluster.run(0, &format!("INSERT INTO t VALUES (1, {fits}), (2, {bad}), (3, NULL)")).await;
        cluster.sync().await;
        assert_eq!(cluster.waiting().await, ["b t [2] value"], "{postgres} {bad}");
        assert!(cluster.reasons("b").await[0].contains("`v`"));
        // What waits is read by every cycle.
        assert!(cluster.sync().await.away.is_empty(), "{postgres} {bad}");
        cluster.run(0, &format!("UPDATE t SET v = {fits} WHERE id = 2")).await;
        assert_eq!(cluster.sync().await.waiting, 0, "{postgres} {bad}");
        cluster.quiet().await;
    }
}

/// Settings of a database that change how types are named and how arrays are read.
#[tokio::test]
async fn whatever_the_database_sets() {
    let setup = |_| "CREATE TABLE items (id inet PRIMARY KEY, list text[])".to_owned();
    let mut cluster = Cluster::bare(BOTH_POSTGRES, setup, "[tables.items]").await;
    let mut admin = cluster.nodes[0].database.user_as(As::Admin).await;
    let name = admin.cell("SELECT current_database()").await;
    for setting in ["array_nulls = off", "quote_all_identifiers = on"] {
        admin.execute(&format!("ALTER DATABASE {name} SET {setting}")).await;
    }
    cluster.install().await;
    cluster.run(1, "INSERT INTO items VALUES ('::1', ARRAY['a', NULL, 'NULL'])").await;
    cluster.settle().await;
    cluster.holds("SELECT id, list[2] IS NULL, list[3] FROM items", &["::1|t|NULL"]).await;
}

/// What an index of SQLite's cannot work out of a value makes that row wait, and no other.
#[tokio::test]
async fn a_value_at_which_an_index_fails() {
    let setup = |kind| {
        let index = if kind == Kind::Sqlite { "; CREATE INDEX k ON t (json_extract(data, '$.k'))" } else { "" };
        format!("CREATE TABLE t (id integer PRIMARY KEY, data text){index}")
    };
    let mut cluster = Cluster::new(PAIR, setup, "[tables.t]").await;
    cluster.run(0, "INSERT INTO t VALUES (1, '{}'), (2, ''), (3, '{}')").await;
    cluster.sync().await;
    assert_eq!(cluster.waiting().await, ["b t [2] constraint"]);
    cluster.holds_at(1, "SELECT id FROM t ORDER BY id", &["1", "3"]).await;
    cluster.quiet().await;
    cluster.run(0, "UPDATE t SET data = '{}' WHERE id = 2").await;
    cluster.settle().await;
}

/// SQLite and MariaDB keep no sign of zero, whoever writes it. That is told, counts as the same value, and travels back only with
/// the row.
#[tokio::test]
async fn a_negative_zero() {
    // How it is written, and read bit by bit; SQLite's floats come as they are, and MariaDB's tell their sign by the angle.
    let spelled = |kind| match kind {
        Kind::Postgres => ("'-0'", "float8send(v)"),
        Kind::Mariadb => ("-0e0", "concat(v, CASE WHEN atan2(v, -1e0) < 0 THEN ' below' ELSE ' above' END)"),
        Kind::Sqlite => ("-0.0", "v"),
    };
    let zero = |kind, sign| match kind {
        Kind::Postgres if sign => "\\x8000000000000000",
        Kind::Postgres => "\\x0000000000000000",
        Kind::Mariadb => "0 above",
        Kind::Sqlite => "0.0",
    };
    for kinds in Kind::PAIRS {
        let (from, to) = (kinds[0], kinds[1]);
        let setup = |_| {
            "CREATE TABLE t (id integer PRIMARY KEY, n integer, v double precision); INSERT INTO t VALUES (1, 0, 0)"
                .to_owned()
        };
        let mut cluster = Cluster::new(kinds, setup, "[tables.t]").await;
        let fits = cluster.session().check().await.expect("a look").tables.remove(0).fits;
        let tells = |why: &str| why.contains("-0.0 arrives as 0.0");
        let told = fits.iter().any(|fit| fit.to == "b" && fit.why.as_deref().is_some_and(tells));
        assert_eq!(told, from == Kind::Postgres && to != Kind::Postgres, "{kinds:?}: {fits:?}");
        let ((written, here), (_, there)) = (spelled(from), spelled(to));
        cluster.run(0, &format!("UPDATE t SET v = {written}; INSERT INTO t VALUES (2, 0, {written})")).await;
        cluster.sync().await;
        let kept = zero(from, true);
        cluster.holds_at(0, &format!("SELECT {here} FROM t ORDER BY id"), &[kept, kept]).await;
        let arrived = zero(to, from == Kind::Postgres);
        cluster.holds_at(1, &format!("SELECT {there} FROM t ORDER BY id"), &[arrived, arrived]).await;
        cluster.quiet().await;
        let verified = Box::pin(cluster.session().verify(&Verify::default())).await.expect("a comparison");
        assert_eq!(verified.exit_code(), 0, "{verified:?}");
        cluster.run(1, "UPDATE t SET n = 1").await;
        cluster.sync().await;
        let back = zero(from, to == Kind::Postgres);
        cluster.holds_at(0, &format!("SELECT {here} FROM t WHERE n = 1"), &[back, back]).await;
        cluster.quiet().await;
    }
}
