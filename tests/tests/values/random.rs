//! Random values of each type are born at a node of each kind, are written anew by every other with a change beside them, and
//! come back as they were. `CONCORD_VALUES` makes it more of them.

use concord_tests::{Cluster, Kind, NAMES, Rng, Seed, Text};

const KINDS: [Kind; 3] = [Kind::Postgres, Kind::Mariadb, Kind::Sqlite];

/// The column's type on PostgreSQL, MariaDB and SQLite.
const COLUMNS: &[(&str, &str, &str)] = &[
    ("bigint", "bigint", "bigint"),
    ("double precision", "double", "double"),
    ("real", "float", "real"),
    ("numeric(40,20)", "decimal(40,20)", "text"),
    ("text", "longtext", "text"),
    ("varchar(20)", "varchar(20)", "varchar(20)"),
    ("bytea", "longblob", "blob"),
    ("date", "date", "date"),
    ("time", "time(6)", "time"),
    ("timestamp", "datetime(6)", "timestamp"),
    ("timestamptz", "timestamp(6)", "timestamptz"),
    ("uuid", "uuid", "uuid"),
    ("uuid", "binary(16)", "blob"),
    ("jsonb", "json", "json"),
    ("boolean", "boolean", "boolean"),
    ("numeric(20)", "bigint unsigned", "numeric"),
];

/// The columns of floats of 4 bytes, and of documents.
const SINGLE: usize = 2;
const DOCUMENT: usize = 13;

#[tokio::test]
async fn values_come_back_as_they_were() {
    let told = std::env::var("CONCORD_VALUES");
    let count: usize = told.map_or(90, |text| text.parse().expect("CONCORD_VALUES is a number"));
    let seed = Seed::new("values::random::values_come_back_as_they_were");
    let mut rng = seed.rng(0);
    let setup = |kind: Kind| {
        let column = |(at, types): (usize, &(&str, &str, &str))| {
            let ty = match kind {
                Kind::Postgres => types.0,
                Kind::Mariadb => types.1,
                Kind::Sqlite => types.2,
            };
            format!(", c{at} {ty}")
        };
        let columns: String = COLUMNS.iter().enumerate().map(column).collect();
        format!("CREATE TABLE t (id integer PRIMARY KEY, n integer{columns})")
    };
    let mut cluster = Cluster::new(&KINDS, setup, "[tables.t]").await;
    for id in 0..count {
        let at = id % KINDS.len();
        let literals: Vec<String> = (0..COLUMNS.len()).map(|column| literal(KINDS[at], column, &mut rng)).collect();
        cluster.run(at, &format!("INSERT INTO t VALUES ({id}, 0, {})", literals.join(", "))).await;
    }
    let mut before = Vec::new();
    for at in 0..KINDS.len() {
        before.push(born(&mut cluster, at).await);
    }
    for at in 0..KINDS.len() {
        cluster.sync().await;
        assert_eq!(cluster.waiting().await, [""; 0], "{:?}", cluster.session().parked().await);
        cluster.holds_at(at, "SELECT count(*) FROM t", &[&count.to_string()]).await;
        cluster.run(at, "UPDATE t SET n = n + 1").await;
    }
    cluster.sync().await;
    cluster.holds("SELECT count(*), min(n), max(n) FROM t", &[&format!("{count}|3|3")]).await;
    for (at, before) in before.iter().enumerate() {
        for (after, before) in born(&mut cluster, at).await.iter().zip(before) {
            assert_eq!(after, before, "born at {}", NAMES[at]);
        }
    }
    cluster.quiet().await;
    let verified = cluster.session().verify(&Default::default()).await.expect("all are there");
    assert_eq!(verified.exit_code(), 0, "{verified:#?}");
}

/// The rows that were born at a node, as it shows them itself. Documents may be spelled otherwise when they come back.
async fn born(cluster: &mut Cluster, at: usize) -> Vec<Vec<Text>> {
    let shown = |column: usize| match (KINDS[at], column) {
        // Otherwise it shows six digits.
        (Kind::Mariadb, SINGLE) => format!("c{column} + 0e0"),
        _ => format!("c{column}"),
    };
    let columns: Vec<String> = (0..COLUMNS.len()).map(shown).collect();
    let sql = format!("SELECT {} FROM t WHERE id % {} = {at} ORDER BY id", columns.join(", "), KINDS.len());
    let mut rows = cluster.nodes[at].user.rows(&sql).await;
    for text in rows.iter_mut().filter_map(|row| row[DOCUMENT].as_mut()) {
        let document: serde_json::Value = serde_json::from_str(text).expect("a document");
        *text = format!("{} {}", document["a"], document["b"]);
    }
    rows
}

/// A value as a user of that kind writes it.
fn literal(kind: Kind, column: usize, rng: &mut Rng) -> String {
    if rng.chance(10) {
        return "NULL".to_owned();
    }
    let bytes = |rng: &mut Rng, most: u64| {
        let length = rng.below(most);
        (0..length).map(|_| format!("{:02x}", rng.below(256))).collect::<String>()
    };
    let letters = |rng: &mut Rng, most: u64| {
        let any = ['a', 'Z', ' ', '\'', '"', '\\', '%', '\n', '\t', 'ä', 'é', '漢', '🙂', '0', '-', '.', '\u{301}'];
        let length = rng.below(most);
        (0..length).map(|_| *rng.pick(&any)).collect::<String>().replace('\'', "''")
    };
    let day = |rng: &mut Rng, first: u64, years: u64| {
        format!("{:04}-{:02}-{:02}", first + rng.below(years), 1 + rng.below(12), 1 + rng.below(28))
    };
    // Never a whole second: SQLite's texts spell that without digits.
    let clock = |rng: &mut Rng| {
        format!("{:02}:{:02}:{:02}.{:06}", rng.below(24), rng.below(60), rng.below(60), 1 + rng.below(999_999))
    };
    // Zero has no sign in SQLite and MariaDB, and NaN and infinities are not everywhere.
    let float = |float: f64| match (kind, float.is_finite() && float != 0.0) {
        (_, false) => "1.5".to_owned(),
        (Kind::Postgres, true) => format!("'{float:e}'"),
        (Kind::Mariadb | Kind::Sqlite, true) => format!("{float:e}"),
    };
    let hex = |digits: &str| match kind {
        Kind::Postgres => format!("'\\x{digits}'"),
        Kind::Mariadb | Kind::Sqlite => format!("x'{digits}'"),
    };
    let uuid = |high: u64, low: u64| {
        let (a, b, c, d, e) = (high >> 32, high >> 16 & 0xffff, high & 0xffff, low >> 48, low << 16 >> 16);
        format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
    };
    match column {
        0 => format!("'{}'", rng.next() as i64 >> rng.below(64)),
        1 => float(f64::from_bits(rng.next())),
        // SQLite reads few others to the last bit, and keeps what it read.
        SINGLE if kind == Kind::Sqlite => float((rng.below(1 << 24) as f64 - f64::from(1 << 23)) / 64.0),
        SINGLE => float(f64::from(f32::from_bits(rng.next() as u32))),
        3 => {
            // With all of its digits, as SQLite's texts keep them.
            let sign = if rng.chance(50) { "-" } else { "" };
            let number = format!("{sign}{}.{:0<20}", rng.next(), rng.next() >> rng.below(60));
            if kind == Kind::Sqlite { format!("'{number}'") } else { number }
        }
        4 => format!("'{}'", letters(rng, 200)),
        5 => format!("'{}'", letters(rng, 21)),
        6 => hex(&bytes(rng, 300)),
        7 => format!("'{}'", day(rng, 1, 9_999)),
        8 => format!("'{}'", clock(rng)),
        9 => format!("'{} {}'", day(rng, 1, 9_999), clock(rng)),
        10 => {
            // Literals of MariaDB have no zone, and are of that of the session.
            let zone = if kind == Kind::Mariadb { "" } else { "+00:00" };
            format!("'{} {}{zone}'", day(rng, 1971, 66), clock(rng))
        }
        // MariaDB refuses those that are of no version in use.
        11 => format!("'{}'", uuid(rng.next() & !0xf000 | 0x4000, rng.next() >> 2 | 1 << 63)),
        12 if kind == Kind::Postgres => format!("'{}'", uuid(rng.next(), rng.next())),
        12 => hex(&format!("{:016x}{:016x}", rng.next(), rng.next())),
        DOCUMENT => {
            let text = serde_json::Value::from(letters(rng, 20).replace("''", "_")).to_string();
            format!("'{{\"b\": [{}, {}.{}], \"a\": {text}}}'", rng.next(), rng.below(99), rng.next())
        }
        14 => rng.chance(50).to_string(),
        _ => (rng.next() >> (1 + rng.below(62))).to_string(),
    }
}
