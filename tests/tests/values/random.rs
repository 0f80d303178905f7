//! Random values of each type go from PostgreSQL to MariaDB and SQLite, are written anew by each of them with a change beside them,
//! and come back as they were. `CONCORD_VALUES` makes it more of them.

use concord_tests::{Cluster, Kind, Rng, Seed};

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

#[tokio::test]
async fn values_come_back_as_they_were() {
    let told = std::env::var("CONCORD_VALUES");
    let count: usize = told.map_or(60, |text| text.parse().expect("CONCORD_VALUES is a number"));
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
    let mut cluster = Cluster::new(&[Kind::Postgres, Kind::Mariadb, Kind::Sqlite], setup, "[tables.t]").await;
    for id in 0..count {
        let literals: Vec<String> = (0..COLUMNS.len()).map(|at| literal(at, &mut rng)).collect();
        cluster.run(0, &format!("INSERT INTO t VALUES ({id}, 0, {})", literals.join(", "))).await;
    }
    let all: Vec<String> = (0..COLUMNS.len()).map(|at| format!("c{at}")).collect();
    let all = format!("SELECT id, {} FROM t ORDER BY id", all.join(", "));
    let before = cluster.rows(0, &all).await;
    for at in [1, 2] {
        cluster.sync().await;
        assert_eq!(cluster.waiting().await, [""; 0], "{:?}", cluster.session().parked().await);
        cluster.holds_at(at, "SELECT count(*) FROM t", &[&count.to_string()]).await;
        cluster.run(at, "UPDATE t SET n = n + 1").await;
    }
    cluster.sync().await;
    cluster.holds_at(0, "SELECT count(*), min(n) FROM t", &[&format!("{count}|2")]).await;
    for (after, before) in cluster.rows(0, &all).await.iter().zip(&before) {
        assert_eq!(after, before);
    }
    cluster.quiet().await;
    let verified = cluster.session().verify(&Default::default()).await.expect("all are there");
    assert_eq!(verified.exit_code(), 0, "{verified:#?}");
}

/// A value as PostgreSQL writes it.
fn literal(column: usize, rng: &mut Rng) -> String {
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
    let clock = |rng: &mut Rng| {
        format!("{:02}:{:02}:{:02}.{:06}", rng.below(24), rng.below(60), rng.below(60), rng.below(1_000_000))
    };
    // Zero has no sign in SQLite, and NaN and infinities are not everywhere.
    let float = |float: f64| if float.is_finite() && float != 0.0 { format!("'{float:e}'") } else { "1.5".to_owned() };
    match column {
        0 => format!("'{}'", rng.next() as i64 >> rng.below(64)),
        1 => float(f64::from_bits(rng.next())),
        2 => float(f64::from(f32::from_bits(rng.next() as u32))),
        3 => format!("{}{}.{}", if rng.chance(50) { "-" } else { "" }, rng.next(), rng.next() >> rng.below(60)),
        4 => format!("'{}'", letters(rng, 200)),
        5 => format!("'{}'", letters(rng, 21)),
        6 => format!("'\\x{}'", bytes(rng, 300)),
        7 => format!("'{}'", day(rng, 1, 9_999)),
        8 => format!("'{}'", clock(rng)),
        9 => format!("'{} {}'", day(rng, 1, 9_999), clock(rng)),
        10 => format!("'{} {}Z'", day(rng, 1971, 66), clock(rng)),
        // MariaDB refuses those that are of no version in use.
        11 => format!("'{:016x}{:016x}'", rng.next() & !0xf000 | 0x4000, rng.next() >> 2 | 1 << 63),
        12 => format!("'{:016x}{:016x}'", rng.next(), rng.next()),
        13 => {
            let text = serde_json::Value::from(letters(rng, 20).replace("''", "_")).to_string();
            format!("'{{\"b\": [{}, {}.{}], \"a\": {text}}}'", rng.next(), rng.below(99), rng.next())
        }
        14 => rng.chance(50).to_string(),
        _ => (rng.next() >> (1 + rng.below(62))).to_string(),
    }
}
