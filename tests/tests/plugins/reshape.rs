//! The mapping `reshape` between databases: both ways, upon what stands, and with what cannot come back.

use concord::error::DONE;
use concord::sync::Verify;
use concord_tests::{Cluster, Kind, Seed};

const TABLES: &str = r#"[tables.customers.nodes.b]
table = "kunden"

[tables.customers.nodes.b.mapping]
plugin = "reshape"
own = ["memo", "filiale"]
initial = { filiale = "Mitte" }
join = [{ column = "name", from = ["vorname", "nachname"], separator = " ", rest = "first" }]
split = [{ from = "ort", columns = ["zip", "city"], separator = " " }]

[tables.customers.nodes.b.mapping.columns]
id = { from = "nr" }
balance = { from = "saldo_cent", divide = 100 }
status = { from = "stand", values = { A = "active", N = "active", G = "closed" }, back = { active = "A" } }
active = { from = "aktiv", values = { J = true, N = false } }
email = { case = "lower" }
country = { constant = "DE" }
phone = { from = "telefon", empty = "" }
"#;

const HERE: &str = "SELECT id, name, zip, city, status, email, phone, country FROM customers ORDER BY id";
const THERE: &str = "SELECT nr, vorname, nachname, ort, saldo_cent, stand, aktiv, email, telefon, memo, filiale FROM kunden ORDER BY nr";

async fn customers(kinds: &[Kind]) -> Cluster {
    let mut cluster = Cluster::bare(kinds, |_| String::new(), TABLES).await;
    let tables = [
        "CREATE TABLE customers (id bigint PRIMARY KEY, name varchar(80), zip varchar(9), city varchar(40), balance numeric(12,3),
         status varchar(9), active boolean, email varchar(40), phone varchar(20), country varchar(2))",
        "CREATE TABLE kunden (nr bigint PRIMARY KEY, vorname varchar(40), nachname varchar(40), ort varchar(60), saldo_cent bigint,
         stand varchar(1), aktiv varchar(1), email varchar(40), telefon varchar(20) NOT NULL, memo varchar(40),
         filiale varchar(20) NOT NULL)",
    ];
    cluster.create(&tables).await;
    cluster.pin(&["reshape"]);
    cluster.install().await;
    cluster
}

async fn columns_of_another_shape_are_one_row(kinds: &[Kind]) {
    let mut cluster = customers(kinds).await;
    cluster
        .later(0, "INSERT INTO customers VALUES (1, 'Ada Maria Lovelace', '10115', 'Berlin Mitte', 12.5, 'active', true, 'ada@x.org', NULL, 'DE')")
        .await;
    cluster
        .later(1, "INSERT INTO kunden VALUES (2, 'Bob', 'van Loon', '80331 München', -5, 'N', 'N', 'Bob@X.org', '089', 'ours', 'Nord')")
        .await;
    assert_eq!(cluster.sync().await.exit_code(), DONE);
    let bob = "2|Bob|van Loon|80331 München|-5|N|N|Bob@X.org|089|ours|Nord";
    cluster.holds_at(1, THERE, &["1|Ada Maria|Lovelace|10115 Berlin Mitte|1250|A|J|ada@x.org||NULL|Mitte", bob]).await;
    let shared = [
        "1|Ada Maria Lovelace|10115|Berlin Mitte|active|ada@x.org|NULL|DE",
        "2|Bob van Loon|80331|München|active|bob@x.org|089|DE",
    ];
    cluster.holds_at(0, HERE, &shared).await;
    cluster.holds_at(0, "SELECT id FROM customers WHERE active AND balance = 12.5", &["1"]).await;
    cluster.holds_at(0, "SELECT id FROM customers WHERE NOT active AND balance = -0.05", &["2"]).await;
    cluster.quiet().await;
    // What says the same there stays as it is written there.
    cluster.later(0, "UPDATE customers SET balance = 1, city = 'Wien' WHERE id = 2").await;
    cluster.sync().await;
    cluster
        .holds_at(
            1,
            &THERE.replace("ORDER", "WHERE nr = 2 ORDER"),
            &["2|Bob|van Loon|80331 Wien|100|N|N|Bob@X.org|089|ours|Nord"],
        )
        .await;
    let verified = cluster.session().verify(&Verify::default()).await.expect("a comparison");
    assert_eq!((verified.exit_code(), verified.tables[0].differences), (DONE, 0), "{verified:?}");
    // A conflict is one of shared rows, and the later wins.
    cluster.later(0, "UPDATE customers SET status = 'closed' WHERE id = 1").await;
    cluster.later(1, "UPDATE kunden SET telefon = '030' WHERE nr = 1").await;
    assert_eq!(cluster.sync().await.conflicts, 1);
    cluster.holds_at(0, "SELECT status, phone FROM customers WHERE id = 1", &["active|030"]).await;
    cluster.later(1, "DELETE FROM kunden WHERE nr = 2").await;
    cluster.sync().await;
    cluster.holds_at(0, "SELECT id FROM customers", &["1"]).await;
    cluster.quiet().await;
}

async fn what_would_not_come_back_waits(kinds: &[Kind]) {
    let mut cluster = customers(kinds).await;
    let rows = "(1, 'Ada L', '1', 'a', 0.005, 'active', true, 'a@x', NULL, 'DE'), (2, 'Bob L', '1 2', 'a', 1, 'active', true, 'a@x', NULL, 'DE'),
         (3, 'Eve L', '1', 'a', 1, 'lost', true, 'a@x', NULL, 'DE'), (4, 'Dan L', '1', 'a', 1, 'active', true, 'A@x', NULL, 'DE'),
         (5, 'Zoe L', '1', 'a', 1, 'active', true, 'a@x', NULL, 'FR'), (6, 'Max L', '1', 'a', 1, 'active', true, 'a@x', '', 'DE'),
         (7, 'Pia L', '1', 'a', 1, 'active', true, 'a@x', '1', 'DE')";
    cluster.later(0, &format!("INSERT INTO customers VALUES {rows}")).await;
    assert_eq!(cluster.sync().await.waiting, 6);
    cluster.holds_at(1, "SELECT nr FROM kunden", &["7"]).await;
    let mut why = cluster.reasons("b").await;
    why.sort();
    let told =
        |column: &str, why: &str| format!("plugin `reshape`, mapping of `customers`, to-local: `{column}`: {why}");
    let expected = [
        told("balance", "it comes to no whole number, and integers are held there (part)"),
        told("country", "the node can hold only rows with the one value that is configured (constant)"),
        told("email", "it has letters of a case in which the node shares none (case)"),
        told("phone", "what the node would hold for it is shared as another value (not-back)"),
        told("status", "it is nothing that `values` makes of a value of the node (unknown-value)"),
        told("zip", "it cannot be told from the node's one text where its parts begin and end (parts)"),
    ];
    assert_eq!(why, expected);
    cluster.later(0, "UPDATE customers SET balance = 1, zip = '1', status = 'closed', email = 'a@x', country = 'DE', phone = NULL").await;
    assert_eq!(cluster.sync().await.waiting, 0);
    cluster.holds_at(1, "SELECT nr FROM kunden ORDER BY nr", &["1", "2", "3", "4", "5", "6", "7"]).await;
    cluster.later(1, "UPDATE kunden SET stand = 'X' WHERE nr = 1").await;
    cluster.sync().await;
    assert_eq!(cluster.waiting().await, ["a customers [1] unreadable"]);
    cluster.later(1, "UPDATE kunden SET stand = 'N' WHERE nr = 1").await;
    cluster.sync().await;
    cluster.holds_at(0, "SELECT status FROM customers WHERE id = 1", &["active"]).await;
    cluster.quiet().await;
}

/// What users write at either side at random, also what the other cannot hold; once nothing of that is left both hold the same.
async fn random_changes_come_to_the_same(kinds: &[Kind]) {
    let seed = Seed::new("random_changes_come_to_the_same");
    let mut rng = seed.rng(0);
    let mut cluster = customers(kinds).await;
    for _ in 0..60 {
        let (at, id) = (rng.below(2) as usize, 1 + rng.below(6));
        let sql = match (at, rng.below(8)) {
            (0, 0) => format!("DELETE FROM customers WHERE id = {id}"),
            (_, 0) => format!("DELETE FROM kunden WHERE nr = {id}"),
            (0, 1 | 2) => {
                let (name, zip) = (rng.pick(&["Ada L", "Bob van L", "Cher"]), rng.pick(&["1", "1 2"]));
                format!(
                    "DELETE FROM customers WHERE id = {id}; INSERT INTO customers VALUES
                     ({id}, '{name}', '{zip}', 'a b', 1.25, 'active', true, 'a@x', NULL, 'DE')"
                )
            }
            (_, 1 | 2) => {
                let (stand, mail) = (rng.pick(&["A", "N", "G", "X"]), rng.pick(&["a@x", "A@x"]));
                format!(
                    "DELETE FROM kunden WHERE nr = {id}; INSERT INTO kunden VALUES
                     ({id}, 'Ada', 'van L', '1 a', 5, '{stand}', 'J', '{mail}', '', 'mine', 'Nord')"
                )
            }
            (0, _) => {
                let set = [
                    "name = 'Eve'",
                    "name = NULL",
                    "zip = '7', city = NULL",
                    "zip = NULL",
                    "balance = balance * 2",
                    "balance = 0.001",
                    "status = 'closed'",
                    "status = 'active'",
                    "status = 'lost'",
                    "email = 'B@x'",
                    "email = 'b@x'",
                    "phone = ''",
                    "phone = '1'",
                    "phone = NULL",
                    "country = 'FR'",
                    "country = 'DE'",
                    "active = false",
                ];
                format!("UPDATE customers SET {} WHERE id = {id}", rng.pick(&set))
            }
            _ => {
                let set = [
                    "vorname = 'Mary Ann'",
                    "nachname = NULL",
                    "ort = NULL",
                    "ort = '2 c d'",
                    "saldo_cent = saldo_cent + 1",
                    "stand = 'N'",
                    "stand = 'G'",
                    "stand = 'X'",
                    "aktiv = 'N'",
                    "aktiv = 'x'",
                    "email = 'C@X'",
                    "telefon = '2'",
                    "telefon = ''",
                    "memo = 'm'",
                ];
                format!("UPDATE kunden SET {} WHERE nr = {id}", rng.pick(&set))
            }
        };
        cluster.later(at, &sql).await;
        if rng.chance(30) {
            cluster.sync().await;
        }
    }
    cluster.sync().await;
    // WHEN nothing is left that one of them cannot hold
    cluster.later(1, "UPDATE kunden SET stand = 'A', aktiv = 'J'").await;
    cluster
        .later(0, "UPDATE customers SET zip = '1', balance = 1, status = 'active', email = 'a@x', phone = NULL, country = 'DE'")
        .await;
    for _ in 0..3 {
        cluster.sync().await;
    }
    assert_eq!(cluster.waiting().await, [""; 0]);
    let verified = cluster.session().verify(&Verify::default()).await.expect("a comparison");
    assert_eq!((verified.exit_code(), verified.tables[0].differences), (DONE, 0), "{verified:?}");
    // THEN both hold the same, each in its way
    let here = cluster.rows(0, "SELECT id, name, status, phone FROM customers ORDER BY id").await;
    let there = cluster.rows(1, "SELECT nr, vorname, nachname, stand, telefon FROM kunden ORDER BY nr").await;
    let shared = |row: &String| {
        let [id, first, last, state, phone] = row.split('|').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let name = [first, last].into_iter().filter(|part| *part != "NULL").collect::<Vec<_>>().join(" ");
        let name = if name.is_empty() { "NULL" } else { &name };
        let status = if state == "G" { "closed" } else { "active" };
        format!("{id}|{name}|{status}|{}", if phone.is_empty() { "NULL" } else { phone })
    };
    assert_eq!(here, there.iter().map(shared).collect::<Vec<_>>());
    cluster.quiet().await;
}

/// What a mapping passes on is rounded to what the node's own column keeps, as it is where nothing maps.
async fn copies_may_be_lossy(kinds: &[Kind]) {
    let tables = "[tables.orders]\nlossy = [\"created\"]\n[tables.orders.nodes.b.mapping]\nplugin = \"reshape\"\n\
                  columns = { created = { from = \"angelegt\" } }\n";
    let mut cluster = Cluster::bare(kinds, |_| String::new(), tables).await;
    let created = [
        "CREATE TABLE orders (id bigint PRIMARY KEY, created timestamp(6) NULL)",
        "CREATE TABLE orders (id bigint PRIMARY KEY, angelegt timestamp(0) NULL)",
    ];
    cluster.create(&created).await;
    cluster.pin(&["reshape"]);
    let checked = cluster.session().check().await.expect("all are there");
    assert_eq!(checked.problems, [""; 0]);
    let fits = checked.tables[0].fits.iter().filter(|fit| fit.column == "created");
    let told: Vec<(&str, &str)> = fits.map(|fit| (fit.from.as_str(), fit.fit)).collect();
    assert!(told.contains(&("a", "lossy")), "{told:?}");
    cluster.install().await;
    cluster.later(0, "INSERT INTO orders VALUES (1, '2024-03-01 12:00:00.75')").await;
    cluster.later(1, "INSERT INTO orders VALUES (2, '2024-03-01 12:00:01')").await;
    assert_eq!(cluster.sync().await.waiting, 0);
    let count = "SELECT count(*) FROM orders WHERE angelegt = '2024-03-01 12:00:00'";
    cluster.holds_at(1, count, &["1"]).await;
    // Where it was written it stands as it was.
    cluster.holds_at(0, "SELECT count(*) FROM orders WHERE created = '2024-03-01 12:00:00.75'", &["1"]).await;
    cluster.quiet().await;
    let verified = cluster.session().verify(&Verify::default()).await.expect("a comparison");
    assert_eq!((verified.exit_code(), verified.tables[0].differences), (DONE, 0), "{verified:?}");
}

/// Tests between databases of two kinds.
macro_rules! between {
    ($tests:tt $($name:ident: $kinds:tt;)*) => {
        $(mod $name {
            $crate::plugins::reshape::between!(@each $kinds $tests);
        })*
    };
    (@each [$one:ident, $other:ident] [$($test:ident),* $(,)?]) => {
        $(#[tokio::test]
        async fn $test() {
            Box::pin(super::$test(&[concord_tests::Kind::$one, concord_tests::Kind::$other])).await;
        })*
    };
}
pub(super) use between;

between! {
    [columns_of_another_shape_are_one_row, what_would_not_come_back_waits, random_changes_come_to_the_same]
    postgres_mariadb: [Postgres, Mariadb];
    mariadb_postgres: [Mariadb, Postgres];
    mariadb_sqlite: [Mariadb, Sqlite];
}

between! {
    [copies_may_be_lossy]
    both_mariadb: [Mariadb, Mariadb];
    both_postgres: [Postgres, Postgres];
}
