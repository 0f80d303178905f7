//! Differences that are planted are found, each for what it is, and nothing else is.

use concord::sync::Verify;
use concord_tests::mariadb::is_mysql;
use concord_tests::{As, Cluster, Kind};

use super::{told, verify};

/// A table with a column of each kind, one of keys that are texts, and one whose rows are told apart by two columns.
fn tables(kind: Kind) -> String {
    let [note, bytes, exact, at, wall, uid, word] = match kind {
        Kind::Sqlite => ["text", "blob", "text", "text", "text", "uuid", "text"],
        Kind::Postgres => ["text", "bytea", "numeric", "timestamptz", "timestamp", "uuid", "text"],
        Kind::Mariadb => {
            ["longtext", "longblob", "decimal(20,1)", "timestamp(6) NULL", "datetime(6)", "uuid", "varchar(99)"]
        }
    };
    let (blank, some) = if kind == Kind::Postgres { ("'\\x'", "'\\x00ff10'") } else { ("x''", "x'00ff10'") };
    let flag = if kind == Kind::Sqlite { "1" } else { "true" };
    let numbers = "WITH RECURSIVE n (v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < 60)";
    let setup = format!(
        "CREATE TABLE t (id bigint PRIMARY KEY, name text, note {note}, bytes {bytes}, balance numeric(12,2), exact {exact},
            at {at}, wall {wall}, day date, tod time, flag boolean, ratio double precision, doc json, uid {uid}, n bigint);
         INSERT INTO t {numbers} SELECT v, 'name ' || v, 'note ' || v, {some}, v + 0.25, '1234567890123456789.5',
            '2026-01-02 03:04:05.123456+00:00', '2026-01-02 03:04:05.123456', '2026-01-02', '03:04:05', {flag}, 0.1,
            '{{\"a\": [1, 2], \"b\": null}}', '6f9619ff-8b86-d011-b42d-00cf4fc964ff', v FROM n;
         UPDATE t SET bytes = {blank}, note = '' WHERE id IN (58, 59);
         CREATE TABLE words (word {word} PRIMARY KEY, n bigint);
         INSERT INTO words VALUES ('alpha', 1), ('beta', 2), ('gamma', 3);
         CREATE TABLE pairs (a bigint, b bigint, n bigint, PRIMARY KEY (a, b));
         INSERT INTO pairs VALUES (1, 2, 0), (2, 3, 0), (10, 1, 0);"
    );
    spelled(kind, &setup)
}

/// Statements as the kind takes them: literals of MariaDB have no zone, and are of that of the session.
fn spelled(kind: Kind, sql: &str) -> String {
    match kind {
        Kind::Mariadb => format!("SET time_zone = '+00:00'; {}", sql.replace("+00:00'", "'")),
        Kind::Sqlite | Kind::Postgres => sql.to_owned(),
    }
}

const CONFIG: &str = "[tables.t]\n[tables.words]\n[tables.pairs]\n";

/// What is done to the second node, in other words on PostgreSQL where those differ, and what is found.
const PLANTED: &[(&str, &str, &str, &[&str])] = &[
    ("the first row is missing", "DELETE FROM t WHERE id = 1", "", &["[1] missing b"]),
    ("the last row is missing", "DELETE FROM t WHERE id = 60", "", &["[60] missing b"]),
    ("a row in the middle is missing", "DELETE FROM t WHERE id = 30", "", &["[30] missing b"]),
    (
        "a row is there twice, under another key",
        "INSERT INTO t (id, name) SELECT -1, name FROM t WHERE id = 2",
        "",
        &["[-1] missing a"],
    ),
    ("one letter", "UPDATE t SET name = 'nane 3' WHERE id = 3", "", &["[3] name"]),
    ("a trailing blank", "UPDATE t SET name = name || ' ' WHERE id = 4", "", &["[4] name"]),
    ("a leading blank", "UPDATE t SET name = ' ' || name WHERE id = 5", "", &["[5] name"]),
    ("a capital", "UPDATE t SET name = 'Name 6' WHERE id = 6", "", &["[6] name"]),
    ("composed and decomposed é", "UPDATE t SET name = 'e\u{301}' WHERE id = 7", "", &["[7] name"]),
    ("the last letter of a long text", "UPDATE t SET note = replace(note, 'a', 'b') WHERE id = 8", "", &["[8] note"]),
    ("NULL in place of an empty text", "UPDATE t SET note = NULL WHERE id = 59 AND note = ''", "", &["[59] note"]),
    ("an empty text in place of NULL", "UPDATE t SET name = '' WHERE id = 9", "", &["[9] name"]),
    ("NULL in place of zero", "UPDATE t SET n = NULL WHERE id = 10", "", &["[10] n"]),
    ("the text NULL", "UPDATE t SET note = 'NULL' WHERE id = 11", "", &["[11] note"]),
    (
        "one bit of a blob",
        "UPDATE t SET bytes = x'00ff11' WHERE id = 12",
        "UPDATE t SET bytes = '\\x00ff11' WHERE id = 12",
        &["[12] bytes"],
    ),
    (
        "a zero byte more",
        "UPDATE t SET bytes = x'00ff1000' WHERE id = 13",
        "UPDATE t SET bytes = '\\x00ff1000' WHERE id = 13",
        &["[13] bytes"],
    ),
    ("NULL in place of an empty blob", "UPDATE t SET bytes = NULL WHERE id = 58", "", &["[58] bytes"]),
    ("a cent", "UPDATE t SET balance = balance + 0.01 WHERE id = 14", "", &["[14] balance"]),
    ("a sign", "UPDATE t SET balance = -balance WHERE id = 15", "", &["[15] balance"]),
    (
        "the last digit of a long number",
        "UPDATE t SET exact = '1234567890123456789.6' WHERE id = 16",
        "",
        &["[16] exact"],
    ),
    ("a microsecond", "UPDATE t SET at = '2026-01-02 03:04:05.123457+00:00' WHERE id = 17", "", &["[17] at"]),
    (
        "an hour, as a wrong zone makes it",
        "UPDATE t SET at = '2026-01-02 04:04:05.123456+00:00' WHERE id = 18",
        "",
        &["[18] at"],
    ),
    (
        "a microsecond on a wall clock",
        "UPDATE t SET wall = '2026-01-02 03:04:05.123455' WHERE id = 19",
        "",
        &["[19] wall"],
    ),
    ("a day", "UPDATE t SET day = '2026-01-01' WHERE id = 20", "", &["[20] day"]),
    ("a second of the day", "UPDATE t SET tod = '03:04:06' WHERE id = 21", "", &["[21] tod"]),
    (
        "false in place of true",
        "UPDATE t SET flag = 0 WHERE id = 22",
        "UPDATE t SET flag = false WHERE id = 22",
        &["[22] flag"],
    ),
    ("the last bit of a float", "UPDATE t SET ratio = 0.10000000000000002 WHERE id = 23", "", &["[23] ratio"]),
    (
        "an order of a list in JSON",
        "UPDATE t SET doc = '{\"a\": [2, 1], \"b\": null}' WHERE id = 24",
        "",
        &["[24] doc"],
    ),
    ("a member that is null, and none", "UPDATE t SET doc = '{\"a\": [1, 2]}' WHERE id = 25", "", &["[25] doc"]),
    (
        "one digit of a uuid",
        "UPDATE t SET uid = '6f9619ff-8b86-d011-b42d-00cf4fc964fe' WHERE id = 26",
        "",
        &["[26] uid"],
    ),
    (
        "two columns change places",
        "UPDATE t SET name = 'note 27', note = 'name 27' WHERE id = 27",
        "",
        &["[27] name note"],
    ),
    ("two rows change places", "UPDATE t SET n = 57 - n WHERE id IN (28, 29)", "", &["[28] n", "[29] n"]),
    (
        "changes that cancel out in a sum",
        "UPDATE t SET n = n + CASE id WHEN 31 THEN 1 ELSE -1 END WHERE id IN (31, 32)",
        "",
        &["[31] n", "[32] n"],
    ),
    ("a key that moved", "UPDATE t SET id = 100 WHERE id = 33", "", &["[100] missing a", "[33] missing b"]),
    (
        "another case of a key",
        "UPDATE words SET word = 'Beta' WHERE word = 'beta'",
        "",
        &["[\"Beta\"] missing a", "[\"beta\"] missing b"],
    ),
    (
        "a blank behind a key",
        "UPDATE words SET word = 'gamma ' WHERE word = 'gamma'",
        "",
        &["[\"gamma \"] missing a", "[\"gamma\"] missing b"],
    ),
    (
        "the parts of a key change places",
        "UPDATE pairs SET a = 2, b = 1 WHERE a = 1 AND b = 2",
        "",
        &["[1,2] missing b", "[2,1] missing a"],
    ),
    (
        "digits move between the parts of a key",
        "UPDATE pairs SET a = 1, b = 1 WHERE a = 10",
        "",
        &["[1,1] missing a", "[10,1] missing b"],
    ),
];

/// The same at both nodes, before anything is planted.
fn prepared(kind: Kind) -> String {
    let long = format!("UPDATE t SET note = '{}' || CASE WHEN id = 8 THEN 'a' END WHERE id = 8;", "x".repeat(100_000));
    tables(kind)
        + &long
        + "UPDATE t SET name = NULL WHERE id = 9; UPDATE t SET n = 0 WHERE id = 10; UPDATE t SET note = NULL WHERE id = 11; UPDATE t SET name = 'é' WHERE id = 7;"
}

/// Empties the histories: what was written before is no change any more that is on its way.
async fn forget(cluster: &mut Cluster) {
    for node in &mut cluster.nodes {
        let of = |table: &str| match node.database.kind() {
            Kind::Sqlite | Kind::Mariadb => format!("DELETE FROM history_store_{table};"),
            Kind::Postgres => format!("DELETE FROM history_store.{table};"),
        };
        let sql: String = ["t", "words", "pairs"].into_iter().map(of).collect();
        node.database.user_as(As::Sync).await.execute(&sql).await;
    }
}

#[tokio::test]
async fn every_planted_difference() {
    assert!(PLANTED.len() >= 30);
    for kinds in Kind::PAIRS {
        // MySQL has no type for uuids.
        if kinds.contains(&Kind::Mariadb) && is_mysql().await {
            continue;
        }
        let mut cluster = Cluster::new(kinds, prepared, CONFIG).await;
        let before = verify(&cluster, Verify::default()).await;
        let found: Vec<String> = before.tables.iter().flat_map(told).collect();
        assert_eq!((found, before.exit_code()), (vec![], 0), "{kinds:?}");
        let mut expected: Vec<(&str, &str)> = Vec::new();
        for (what, plain, postgres, found) in PLANTED {
            let sql = if kinds[1] == Kind::Postgres && !postgres.is_empty() { postgres } else { plain };
            cluster.run(1, &spelled(kinds[1], sql)).await;
            expected.extend(found.iter().map(|found| (*what, *found)));
        }
        let pending = verify(&cluster, Verify::default()).await;
        let on_their_way: u64 = pending.tables.iter().map(|table| table.on_their_way).sum();
        assert_eq!((on_their_way as usize, pending.exit_code()), (expected.len(), 0), "{kinds:?}: {pending:#?}");
        forget(&mut cluster).await;
        let verified = verify(&cluster, Verify { limit: 1000, ..Verify::default() }).await;
        let found: Vec<String> = verified.tables.iter().flat_map(told).collect();
        for (what, line) in &expected {
            assert!(found.iter().any(|found| found == line), "{what} ({kinds:?}): no `{line}` in {found:#?}");
        }
        assert_eq!(found.len(), expected.len(), "{kinds:?}: {found:#?}");
        let counted: u64 = verified.tables.iter().map(|table| table.differences).sum();
        assert_eq!((counted as usize, verified.exit_code()), (expected.len(), 1), "{kinds:?}");
        // Examples are limited, numbers are not.
        let verified = verify(&cluster, Verify { limit: 2, ..Verify::default() }).await;
        assert_eq!(verified.tables[0].examples.len(), 2);
        assert_eq!(verified.tables.iter().map(|table| table.differences).sum::<u64>(), counted);
    }
}

/// One value as each kind of node may write it: column types of PostgreSQL and of SQLite, what is written at the first node
/// and at the second on PostgreSQL, and what on SQLite. A kind whose cells are empty is left out.
type Spelled = (&'static str, [&'static str; 2], [&'static str; 2], [&'static str; 2]);

const SPELLED: &[Spelled] = &[
    ("zeros behind the point", ["numeric", "numeric(12,2)"], ["1.0", "1.00"], ["1.0", "1"]),
    ("zeros in text", ["numeric", "text"], ["1.10", "1.1"], ["'1.10'", "'1.1'"]),
    ("a whole number", ["numeric(12,2)", "numeric(12,2)"], ["5", "5.00"], ["5", "5.0"]),
    (
        "blanks in JSON",
        ["json", "text"],
        ["'{\"a\":[1,2]}'", "'{ \"a\" : [1, 2] }'"],
        ["'{\"a\":[1,2]}'", "'{ \"a\" : [1, 2] }'"],
    ),
    (
        "the order of members",
        ["json", "text"],
        ["'{\"a\":1,\"b\":2}'", "'{\"b\":2,\"a\":1}'"],
        ["'{\"a\":1,\"b\":2}'", "'{\"b\":2,\"a\":1}'"],
    ),
    ("numbers in JSON", ["json", "text"], ["'[1, 10]'", "'[1.0, 1e1]'"], ["'[1, 10]'", "'[1.0, 1e1]'"]),
    (
        "JSON that is binary",
        ["jsonb", "text"],
        ["'{\"b\":1,  \"a\":2}'", "'{\"a\":2,\"b\":1}'"],
        ["'{\"b\":1,  \"a\":2}'", "'{\"a\":2,\"b\":1}'"],
    ),
    (
        "time zones",
        ["timestamptz", "text"],
        ["'2026-01-02 03:04:05+00'", "'2026-01-02 05:04:05+02'"],
        ["'2026-01-02 03:04:05+00:00'", "'2026-01-02T05:04:05+02:00'"],
    ),
    (
        "parts of a second",
        ["timestamp", "text"],
        ["'2026-01-02 03:04:05.5'", "'2026-01-02 03:04:05.500000'"],
        ["'2026-01-02 03:04:05.5'", "'2026-01-02 03:04:05.500'"],
    ),
    ("booleans", ["boolean", "boolean"], ["true", "'t'"], ["1", "1"]),
    ("floats", ["double precision", "real"], ["0.1", "1e-1"], ["0.1", "1e-1"]),
    ("whole floats", ["double precision", "real"], ["3", "3.0"], ["3", "3.0"]),
    ("zero without and with a sign", ["double precision", "real"], ["'0'", "'-0'"], ["0.0", "-0.0"]),
    (
        "the case of a uuid",
        ["uuid", "text"],
        ["'6f9619ff-8b86-d011-b42d-00cf4fc964ff'", "'6F9619FF-8B86-D011-B42D-00CF4FC964FF'"],
        ["'6f9619ff-8b86-d011-b42d-00cf4fc964ff'", "'6F9619FF-8B86-D011-B42D-00CF4FC964FF'"],
    ),
    (
        "a uuid as bytes",
        ["uuid", "blob"],
        ["'6f9619ff-8b86-d011-b42d-00cf4fc964ff'", "'{6f9619ff8b86d011b42d00cf4fc964ff}'"],
        ["x'6f9619ff8b86d011b42d00cf4fc964ff'", "'6f9619ff-8b86-d011-b42d-00cf4fc964ff'"],
    ),
    ("blanks that fill up", ["char(8)", "text"], ["'ab'", "'ab   '"], ["'ab'", "'ab'"]),
    ("widths of whole numbers", ["smallint", "integer"], ["7", "'7'"], ["7", "'7'"]),
    ("bytes", ["bytea", "blob"], ["'\\x6162'", "'ab'"], ["x'6162'", "x'6162'"]),
];

#[tokio::test]
async fn other_spellings_are_no_difference() {
    let columns = |kind: Kind| -> String {
        let ty = |types: &[&'static str; 2]| types[usize::from(kind == Kind::Sqlite)];
        let columns = SPELLED.iter().enumerate().map(|(at, (_, types, ..))| format!(", c{at} {}", ty(types)));
        format!("CREATE TABLE t (id bigint PRIMARY KEY{})", columns.collect::<String>())
    };
    // Between two files of SQLite the types decide nothing, so other spellings are other values there.
    for kinds in [[Kind::Postgres, Kind::Postgres], [Kind::Postgres, Kind::Sqlite], [Kind::Sqlite, Kind::Postgres]] {
        let mut cluster = Cluster::new(&kinds, columns, "[tables.t]\n").await;
        for (at, kind) in kinds.into_iter().enumerate() {
            for id in 0..2 {
                // The second row is spelled the other way round.
                let spelled = |(_, _, postgres, sqlite): &Spelled| {
                    if kind == Kind::Postgres { postgres[(at + id) % 2] } else { sqlite[(at + id) % 2] }
                };
                let values = SPELLED.iter().map(spelled).collect::<Vec<_>>().join(", ");
                cluster.run(at, &format!("INSERT INTO t VALUES ({id}, {values})")).await;
            }
            let history = if kind == Kind::Sqlite { "history_store_t" } else { "history_store.t" };
            let mut owner = cluster.nodes[at].database.user_as(As::Sync).await;
            owner.execute(&format!("DELETE FROM {history}")).await;
        }
        let verified = verify(&cluster, Verify::default()).await;
        let columns = |line: String| {
            let name =
                |column: &str| SPELLED.get(column.strip_prefix('c')?.parse::<usize>().ok()?).map(|(what, ..)| *what);
            (line.split(' ').filter_map(name).collect::<Vec<_>>(), line.clone())
        };
        let found: Vec<_> = told(&verified.tables[0]).into_iter().map(columns).collect();
        assert!(found.is_empty() && verified.exit_code() == 0, "{kinds:?}: {found:#?}\n{verified:#?}");
        assert_eq!(verified.tables[0].nodes.iter().map(|node| node.rows).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(verified.tables[0].on_their_way, 0);
    }
}

/// SQLite takes any number of rows whose key is NULL, also as many as there are nodes.
#[tokio::test]
async fn rows_without_a_key() {
    let setup = |_: Kind| "CREATE TABLE t (k text PRIMARY KEY, n bigint); INSERT INTO t VALUES ('a', 1)".to_owned();
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Sqlite], setup, "[tables.t]\n").await;
    for count in 1..=3 {
        cluster.run(0, &format!("INSERT INTO t VALUES (NULL, {count}); DELETE FROM history_store_t")).await;
        let found = verify(&cluster, Verify::default()).await;
        assert_eq!(told(&found.tables[0]), ["[null] missing b unreadable a"], "{count}");
        assert_eq!(found.exit_code(), 1);
    }
}
