//! Keys of types that MariaDB compares in a way of its own: whoever goes through a table by them, or looks some of them up, meets each
//! row once and no neighbour of it.

use concord::sync::LoadOptions;
use concord_tests::{Cluster, Kind};

/// How many rows a table has: more than the first steps of a load.
const ROWS: usize = 200;

/// A type, the value of the row `n` in it, and which columns are the key.
type Keyed<'k> = (&'k str, &'k str, &'k str);

#[tokio::test]
async fn numbers_times_and_bytes() {
    let mut tables: Vec<Keyed> = vec![
        ("decimal(20,0)", "1700000000000000000 + n", "id"),
        ("decimal(20,0)", "1700000000000000000 + n DIV 2", "id, n"),
        ("decimal(25,5)", "1700000000000000000.00001 + n * 0.00001", "n, id"),
        ("decimal(20,0) unsigned", "17000000000000000000 + n", "id"),
        ("bigint unsigned", "18446744073709551000 + n", "id"),
        ("bit(60)", "576460752303423488 + n", "id"),
        ("date", "DATE_ADD('1999-12-01', INTERVAL n DAY)", "id"),
        ("datetime(6)", "DATE_ADD('1999-12-31 23:59:59.9999', INTERVAL n MICROSECOND)", "id"),
        ("timestamp(6)", "DATE_ADD('1999-12-31 23:59:59.9999', INTERVAL n MICROSECOND)", "id"),
        ("time(6)", "SEC_TO_TIME(3500 + n * 0.000001)", "id"),
        ("year", "1905 + n", "id"),
        ("varbinary(8)", "UNHEX(LPAD(HEX(n), 4, '0'))", "id"),
    ];
    if !concord_tests::mariadb::is_mysql().await {
        tables.push(("uuid", "CONCAT('00000000-0000-4000-8000-', LPAD(n, 12, '0'))", "id"));
        tables.push(("inet6", "CONCAT('::', n)", "id"));
    }
    each_is_met_once(&tables).await;
}

#[tokio::test]
async fn labels() {
    // Such as stand in no alphabet's order.
    let [set, many] = [("set", 60), ("enum", ROWS)].map(|(ty, count)| {
        let labels: Vec<String> = (1..=count).rev().map(|at| format!("'label {at:03}'")).collect();
        format!("{ty}({})", labels.join(", "))
    });
    let few = "enum('user','group','bot')";
    each_is_met_once(&[
        (&set, "576460752303423488 + n", "id"),
        (&set, "n - 1", "id"),
        (&set, "n DIV 50", "id, n"),
        (&many, "n", "id"),
        (few, "1 + n DIV 80", "id, n"),
        (few, "1 + n MOD 3", "n, id"),
    ])
    .await;
}

/// That a load brings each row, and a sync deletes those that are to go and no other.
async fn each_is_met_once(tables: &[Keyed<'_>]) {
    let name = |at: usize| format!("k{at}");
    let setup = |_| {
        let create = |(at, (ty, _, key)): (usize, &Keyed)| {
            format!("CREATE TABLE {} (id {ty} NOT NULL, n integer NOT NULL, PRIMARY KEY ({key}));", name(at))
        };
        tables.iter().enumerate().map(create).collect()
    };
    let config: String = (0..tables.len()).map(|at| format!("[tables.{}]\n", name(at))).collect();
    let mut cluster = Cluster::bare(&[Kind::Mariadb, Kind::Mariadb], setup, &config).await;
    let numbers = format!("WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < {ROWS})");
    for (at, (_, value, _)) in tables.iter().enumerate() {
        cluster.run(0, &format!("INSERT INTO {} (id, n) {numbers} SELECT {value}, n FROM r", name(at))).await;
    }
    cluster.install().await;
    let counted = async |cluster: &mut Cluster, expected: &str| {
        let mut wrong = Vec::new();
        for (at, (ty, _, key)) in tables.iter().enumerate() {
            let query = format!("SELECT count(*), count(DISTINCT n), min(n), max(n) FROM {}", name(at));
            for node in 0..2 {
                let rows = cluster.rows(node, &query).await;
                if rows != [expected] {
                    wrong.push(format!("{} PRIMARY KEY ({key}) at {node}: {rows:?}", &ty[..ty.len().min(30)]));
                }
            }
        }
        assert!(wrong.is_empty(), "{expected} is not at\n{}", wrong.join("\n"));
    };
    cluster.load(&LoadOptions::default()).await;
    counted(&mut cluster, "200|200|1|200").await;
    // So many of so few that the server would rather read the whole table than look each up.
    for at in 0..tables.len() {
        cluster.run(0, &format!("DELETE FROM {} WHERE n % 2 = 1", name(at))).await;
    }
    cluster.sync().await;
    counted(&mut cluster, "100|100|2|200").await;
    cluster.same().await;
    cluster.quiet().await;
}
