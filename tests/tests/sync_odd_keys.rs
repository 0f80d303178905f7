//! Keys that one node has and another cannot hold. Their rows wait, with the reason, and nothing else does; above all they are
//! not taken for the key that a column would make of them.

use concord::sync::LoadOptions;
use concord_tests::{As, Cluster, Kind};

concord_tests::clusters! {
    pairs: []
    many: [a_label_that_an_enum_lacks]
    all: []
}

const PAIR: &[Kind] = &[Kind::Sqlite, Kind::Postgres];
const SEVERAL: &[Kind] = &[Kind::Sqlite, Kind::Postgres, Kind::Sqlite, Kind::Postgres];
const ALL: &str = "SELECT name FROM items ORDER BY name";

/// Nothing waits or is left to do. The keys themselves look different from kind to kind.
async fn settled(cluster: &mut Cluster) {
    cluster.sync().await;
    cluster.quiet().await;
    assert_eq!(cluster.waiting().await, Vec::<String>::new());
}

/// Nodes of SQLite and PostgreSQL with keys of these types, and a row with the good key.
async fn keyed(kinds: &[Kind], types: [&str; 2], good: &str) -> Cluster {
    let setup = |kind| {
        let ty = if kind == Kind::Sqlite { types[0] } else { types[1] };
        format!("CREATE TABLE items (id {ty} NOT NULL, name text, PRIMARY KEY (id))")
    };
    let mut cluster = Cluster::new(kinds, setup, "[tables.items]").await;
    cluster.run(0, &format!("INSERT INTO items VALUES ({good}, 'good')")).await;
    settled(&mut cluster).await;
    cluster
}

/// A row with the odd key waits wherever it is not taken while the good one goes on, until it is gone again.
async fn waits(kinds: &[Kind], types: [&str; 2], good: &str, odd: &str, taken: impl Fn(usize) -> bool) {
    let mut cluster = keyed(kinds, types, good).await;
    let strict = (0..kinds.len()).filter(|at| !taken(*at)).count();
    cluster.run(0, &format!("INSERT INTO items VALUES ({odd}, 'odd')")).await;
    cluster.sync().await;
    assert_eq!(cluster.waiting().await.len(), strict, "{odd}");
    // Looked up, changed and waiting anew, it is in nobody's way.
    for change in ["again", "gone"] {
        cluster.run(0, &format!("UPDATE items SET name = '{change}'")).await;
        cluster.sync().await;
        for at in 0..kinds.len() {
            let rows = [change, change];
            cluster.holds_at(at, ALL, if taken(at) { &rows } else { &rows[..1] }).await;
        }
        assert_eq!(cluster.waiting().await.len(), strict, "{odd}");
    }
    cluster.quiet().await;
    cluster.run(0, &format!("DELETE FROM items WHERE id = {odd}; UPDATE items SET name = 'left'")).await;
    settled(&mut cluster).await;
    cluster.holds(ALL, &["left"]).await;
    // It came and went before anybody looked.
    cluster.run(0, &format!("INSERT INTO items VALUES ({odd}, 'odd'); DELETE FROM items WHERE id = {odd}")).await;
    settled(&mut cluster).await;
    cluster.holds(ALL, &["left"]).await;
}

const MISFITS: &[([&str; 2], &str, &str)] = &[
    (["integer", "integer"], "1", "5000000000"),
    (["text", "text"], "'a'", "'a' || char(0)"),
    (["text", "varchar(3)"], "'abc'", "'abcd'"),
    (["text", "char(5)"], "'a'", "'a  '"),
    (["text", "numeric(8,2)"], "'0.13'", "'0.125'"),
    (["text", "timestamptz(0)"], "'2024-01-01 00:00:01+00:00'", "'2024-01-01 00:00:00.500000+00:00'"),
    // Before the first day of PostgreSQL.
    (["date", "date"], "'2020-01-01'", "'-5000-01-01'"),
];

#[tokio::test]
async fn what_a_column_cannot_hold() {
    for (types, good, odd) in MISFITS {
        waits(PAIR, *types, good, odd, |at| PAIR[at] == Kind::Sqlite).await;
    }
}

#[tokio::test]
async fn what_a_column_cannot_hold_among_several() {
    for (types, good, odd) in MISFITS {
        waits(SEVERAL, *types, good, odd, |at| SEVERAL[at] == Kind::Sqlite).await;
    }
}

/// What SQLite stores in a column of another type, or spells otherwise than Concord does. The last ones are what the good key
/// means, and two keys all the same.
const OTHERWISE: &[([&str; 2], &str, &str)] = &[
    (["text", "text"], "'a'", "x'0102'"),
    (["text", "text"], "'a'", "CAST(x'ff41' AS text)"),
    (["int", "integer"], "1", "'one'"),
    (["int", "bigint"], "1", "1.5"),
    (["blob", "uuid"], "x'00000000000040008000000000000001'", "x'01'"),
    (["text", "uuid"], "'00000000-0000-4000-8000-00000000000a'", "'00000000-0000-4000-8000-00000000000A'"),
    (["text", "numeric"], "'1.5'", "'1.50'"),
    (["text", "timestamptz"], "'2024-01-01 00:00:00+00:00'", "'2024-01-01T00:00:00Z'"),
];

#[tokio::test]
async fn what_is_of_another_type_or_spelled_otherwise() {
    for (types, good, odd) in OTHERWISE {
        waits(PAIR, *types, good, odd, |at| at == 0).await;
    }
}

#[tokio::test]
async fn what_is_of_another_type_or_spelled_otherwise_among_several() {
    for (types, good, odd) in OTHERWISE {
        waits(SEVERAL, *types, good, odd, |at| at == 0).await;
    }
}

/// What `char` makes of a key with blanks is another key, whose row is nobody's to delete.
#[tokio::test]
async fn blanks_do_not_make_a_key_another() {
    for kinds in [PAIR, SEVERAL] {
        let mut cluster = keyed(kinds, ["text", "char(5)"], "'q'").await;
        cluster.run(0, "INSERT INTO items VALUES ('q  ', 'padded')").await;
        cluster.sync().await;
        cluster.run(0, "DELETE FROM items WHERE id = 'q  '").await;
        settled(&mut cluster).await;
        cluster.holds(ALL, &["good"]).await;
    }
}

/// A decimal of more digits than NUMERIC keeps in SQLite.
#[tokio::test]
async fn a_number_that_sqlite_cannot_hold() {
    let kinds = &[Kind::Postgres, Kind::Sqlite];
    let mut cluster = keyed(kinds, ["numeric(30,20)", "numeric"], "1.5").await;
    cluster.run(0, "INSERT INTO items VALUES (1.2345678901234567890123, 'long'), ('NaN', 'none')").await;
    cluster.sync().await;
    assert_eq!(cluster.waiting().await.len(), 2);
    cluster.run(0, "DELETE FROM items WHERE id <> 1.5").await;
    settled(&mut cluster).await;
    cluster.holds(ALL, &["good"]).await;
}

/// What cannot stand at the node where it waits cannot be given up there.
#[tokio::test]
async fn giving_it_up_is_refused() {
    let mut cluster = keyed(PAIR, ["integer", "integer"], "1").await;
    cluster.run(0, "INSERT INTO items VALUES (5000000000, 'odd')").await;
    cluster.sync().await;
    let refused = cluster.session().drop_parked(|_| true).await.expect_err("nothing can stand there instead");
    assert!(refused.to_string().contains("change or delete it where it is"), "{refused}");
    assert_eq!(cluster.waiting().await.len(), 1);
}

async fn a_label_that_an_enum_lacks(kinds: &[Kind]) {
    let kinds: Vec<Kind> = kinds.iter().map(|_| Kind::Postgres).collect();
    let setup = |_| "CREATE TYPE mood AS ENUM ('good'); CREATE TABLE items (id mood PRIMARY KEY, name text)".to_owned();
    let mut cluster = Cluster::new(&kinds, setup, "[tables.items]").await;
    let add = async |cluster: &Cluster, at: usize, label: &str| {
        let mut owner = cluster.nodes[at].database.user_as(As::Sync).await;
        owner.execute(&format!("ALTER TYPE mood ADD VALUE '{label}'")).await;
    };
    for label in ["odd", "passing"] {
        add(&cluster, 0, label).await;
    }
    cluster.run(0, "INSERT INTO items VALUES ('good', 'old'), ('odd', 'old'), ('passing', 'old')").await;
    cluster.run(0, "DELETE FROM items WHERE id = 'passing'").await;
    for name in ["new", "newer"] {
        cluster.run(0, &format!("UPDATE items SET name = '{name}'")).await;
        cluster.sync().await;
        assert_eq!(cluster.waiting().await.len(), kinds.len() - 1);
        cluster.holds_at(1, "SELECT name FROM items", &[name]).await;
    }
    for at in 1..kinds.len() {
        add(&cluster, at, "odd").await;
    }
    cluster.settle().await;
    cluster.holds("SELECT * FROM items ORDER BY id", &["good|newer", "odd|newer"]).await;
}

/// No operator is found for a domain over an enum, whose own takes enums alone.
#[tokio::test]
async fn a_domain_over_an_enum() {
    let setup = |_| {
        "CREATE TYPE mood AS ENUM ('good', 'bad', 'odd'); CREATE DOMAIN kept AS mood;
         CREATE TABLE items (id kept PRIMARY KEY, name text);
         CREATE TABLE seats (id integer PRIMARY KEY, item kept UNIQUE)"
            .to_owned()
    };
    let tables = "[tables.items]\n[tables.seats]";
    let mut cluster = Cluster::bare(&[Kind::Postgres, Kind::Postgres], setup, tables).await;
    cluster.run(0, "INSERT INTO items VALUES ('good', 'a'), ('bad', 'b')").await;
    cluster.install().await;
    cluster.load(&LoadOptions::default()).await;
    cluster.run(1, "UPDATE items SET name = upper(name); INSERT INTO seats VALUES (1, 'good'), (2, 'bad')").await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM items ORDER BY id::mood", &["good|A", "bad|B"]).await;
    let swap = "UPDATE seats SET item = 'odd' WHERE id = 1; UPDATE seats SET item = 'good' WHERE id = 2;
                UPDATE seats SET item = 'bad' WHERE id = 1; DELETE FROM items WHERE name = 'A'";
    cluster.run(0, swap).await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM seats ORDER BY id", &["1|bad", "2|good"]).await;
    cluster.holds("SELECT name FROM items", &["B"]).await;
    // One that is taken.
    cluster.run(0, "INSERT INTO seats VALUES (3, 'odd')").await;
    cluster.run(1, "INSERT INTO seats VALUES (4, 'odd')").await;
    cluster.sync().await;
    assert_eq!(cluster.waiting().await, ["a seats [4] constraint", "b seats [3] constraint"]);
}

/// Keys that are no day and no time of a day: MariaDB and SQLite hold them, are loaded with them and go through them in their
/// order; at PostgreSQL they wait.
#[tokio::test]
async fn days_of_no_calendar_and_spans() {
    const KINDS: &[Kind] = &[Kind::Mariadb, Kind::Mariadb, Kind::Sqlite, Kind::Postgres];
    let setup = |_| "CREATE TABLE items (d date NOT NULL, t time NOT NULL, name text, PRIMARY KEY (d, t))".to_owned();
    let rows = "SELECT concat(d, ' ', t, ' ', name) FROM items ORDER BY d, t";
    let mut cluster = Cluster::bare(KINDS, setup, "[tables.items]").await;
    cluster.run(0, "SET SESSION sql_mode = CONCAT(@@sql_mode, ',ALLOW_INVALID_DATES')").await;
    cluster
        .run(
            0,
            "INSERT INTO items VALUES ('0000-00-00', '00:00:00', 'a'), ('2024-00-00', '-00:00:01', 'b'), \
             ('2024-02-31', '838:59:59', 'c'), ('2024-02-29', '12:00:00', 'd')",
        )
        .await;
    cluster.install().await;
    cluster.load(&LoadOptions::default()).await;
    let of = |names: [&str; 4]| {
        let keys = ["0000-00-00 00:00:00", "2024-00-00 -00:00:01", "2024-02-29 12:00:00", "2024-02-31 838:59:59"];
        keys.iter().zip(names).map(|(key, name)| format!("{key} {name}")).collect::<Vec<_>>()
    };
    let holds = async |cluster: &mut Cluster, names: [&str; 4]| {
        let expected = of(names);
        for at in 0..3 {
            let rows =
                if at == 2 { rows.replace("concat(", "(").replace(", ' ', ", " || ' ' || ") } else { rows.to_owned() };
            assert_eq!(cluster.rows(at, &rows).await, expected, "{at}");
        }
        cluster.holds_at(3, "SELECT name FROM items", &[names[2]]).await;
        assert_eq!(cluster.waiting().await.len(), 3, "{:?}", cluster.reasons("d").await);
    };
    cluster.sync().await;
    holds(&mut cluster, ["a", "b", "d", "c"]).await;
    cluster.run(1, "UPDATE items SET name = upper(name)").await;
    cluster.sync().await;
    holds(&mut cluster, ["A", "B", "D", "C"]).await;
    cluster.run(2, "UPDATE items SET name = name || '2'").await;
    cluster.sync().await;
    holds(&mut cluster, ["A2", "B2", "D2", "C2"]).await;
    cluster.quiet().await;
    cluster.run(1, "DELETE FROM items WHERE name <> 'D2'").await;
    settled(&mut cluster).await;
    cluster.holds("SELECT name FROM items", &["D2"]).await;
}
