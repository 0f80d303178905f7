//! What `load --create` makes of constraints: each is carried, or a line tells that it is not.

use concord_tests::{Kind, User};

use super::scene_of;

/// The tables that others refer to.
const PARENTS: &str = "CREATE TABLE parent (id integer PRIMARY KEY);
    CREATE TABLE pair (a integer, b integer, PRIMARY KEY (a, b))";

const TARGETS: [Kind; 3] = [Kind::Postgres, Kind::Mariadb, Kind::Sqlite];

/// What makes the table `{t}`, a line that may be told of it, and the kinds of database at which it is.
type Case = (&'static str, &'static str, &'static [Kind]);

const POSTGRES: &[Case] = &[
    (
        "CREATE TABLE {t} (id integer PRIMARY KEY, p integer REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
        "DEFERRABLE INITIALLY DEFERRED of the reference of p to parent (id)",
        &[Kind::Mariadb],
    ),
    (
        "CREATE TABLE {t} (id integer PRIMARY KEY, p integer REFERENCES parent DEFERRABLE)",
        "DEFERRABLE of the reference of p to parent (id)",
        &[Kind::Mariadb],
    ),
    (
        "CREATE TABLE {t} (id integer PRIMARY KEY, n integer UNIQUE DEFERRABLE)",
        "DEFERRABLE of constraint {t}_n_key",
        &TARGETS,
    ),
    (
        "CREATE TABLE {t} (id integer PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)",
        "DEFERRABLE INITIALLY DEFERRED of constraint {t}_pkey",
        &TARGETS,
    ),
    (
        "CREATE TABLE {t} (id integer PRIMARY KEY, a integer, b integer, FOREIGN KEY (a, b) REFERENCES pair MATCH FULL)",
        "MATCH FULL of the reference of a, b to pair (a, b)",
        &[Kind::Mariadb, Kind::Sqlite],
    ),
    // Of one column it says nothing.
    (
        "CREATE TABLE {t} (id integer PRIMARY KEY, p integer REFERENCES parent MATCH FULL)",
        "MATCH FULL of the reference of p to parent (id)",
        &[],
    ),
    (
        "CREATE TABLE {t} (id integer PRIMARY KEY, a integer, b integer,
            FOREIGN KEY (a, b) REFERENCES pair ON DELETE SET NULL (b))",
        "ON DELETE SET NULL (b) of the reference of a, b to pair (a, b)",
        &[Kind::Mariadb, Kind::Sqlite],
    ),
    (
        "CREATE DOMAIN {t}_age AS integer CHECK (VALUE >= 0); CREATE DOMAIN {t}_old AS {t}_age NOT NULL;
            CREATE TABLE {t} (id integer PRIMARY KEY, age {t}_old)",
        "column age: CHECK ((VALUE >= 0))",
        &TARGETS,
    ),
    (
        "CREATE COLLATION {t}_ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
            CREATE TABLE {t} (id integer PRIMARY KEY, name text);
            CREATE UNIQUE INDEX {t}_by_name ON {t} (name COLLATE {t}_ci)",
        "index {t}_by_name (by a collation or operators that its columns have not)",
        &TARGETS,
    ),
    // It tells apart what the column does.
    (
        "CREATE TABLE {t} (id integer PRIMARY KEY, name text);
            CREATE UNIQUE INDEX {t}_by_name ON {t} (name text_pattern_ops)",
        "index {t}_by_name (by a collation or operators that its columns have not)",
        &[],
    ),
    (
        "CREATE TABLE {t} (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY)",
        "GENERATED ALWAYS of column id: rows may bring numbers of their own there",
        &TARGETS,
    ),
    (
        "CREATE TABLE {t} (id integer PRIMARY KEY); ALTER TABLE {t} ENABLE ROW LEVEL SECURITY;
            CREATE POLICY one ON {t} USING (true); CREATE POLICY other ON {t} USING (true)",
        "its row-level security (one, other)",
        &TARGETS,
    ),
    (
        "CREATE TABLE {t} (id integer PRIMARY KEY, n integer CHECK (n > 0))",
        "constraint {t}_n_check: CHECK ((n > 0))",
        &TARGETS,
    ),
    (
        "CREATE TABLE {t} (id integer PRIMARY KEY, n integer, EXCLUDE (n WITH =))",
        "constraint {t}_n_excl: EXCLUDE USING btree (n WITH =)",
        &TARGETS,
    ),
    (
        "CREATE TABLE {t} (id integer PRIMARY KEY, n smallint)",
        "the limits of column n (smallint) are not enforced",
        &[Kind::Sqlite],
    ),
    (
        "CREATE TABLE {t} (id integer PRIMARY KEY, price numeric(5,2))",
        "the limits of column price (numeric(5,2)) are not enforced",
        &[Kind::Sqlite],
    ),
];

const MARIADB: &[Case] = &[
    (
        "CREATE TABLE {t} (id integer PRIMARY KEY, n tinyint unsigned)",
        "column n: only the numbers 0 to 255",
        &[Kind::Postgres, Kind::Sqlite],
    ),
    (
        "CREATE TABLE {t} (id integer PRIMARY KEY, n int unsigned)",
        "column n: only the numbers 0 to 4294967295",
        &[Kind::Postgres, Kind::Sqlite],
    ),
    (
        "CREATE TABLE {t} (id integer PRIMARY KEY, n mediumint)",
        "column n: only the numbers -8388608 to 8388607",
        &[Kind::Postgres, Kind::Sqlite],
    ),
    (
        "CREATE TABLE {t} (id integer PRIMARY KEY, n smallint)",
        "the limits of column n (smallint(6)) are not enforced",
        &[Kind::Sqlite],
    ),
    (
        "CREATE TABLE {t} (id integer PRIMARY KEY, price decimal(5,2) unsigned)",
        "column price: no numbers below 0",
        &[Kind::Postgres, Kind::Sqlite],
    ),
    (
        "CREATE TABLE {t} (id integer PRIMARY KEY, raw varbinary(9))",
        "column raw: at most 9 bytes",
        &[Kind::Postgres, Kind::Sqlite],
    ),
    (
        "CREATE TABLE {t} (id integer PRIMARY KEY, room integer, starts date NOT NULL, ends date NOT NULL,
            PERIOD FOR validity (starts, ends), UNIQUE once (room, validity WITHOUT OVERLAPS))",
        "WITHOUT OVERLAPS of UNIQUE KEY `once`",
        &TARGETS,
    ),
    (
        "CREATE TABLE {t} (id integer PRIMARY KEY, starts date NOT NULL, ends date NOT NULL,
            PERIOD FOR validity (starts, ends))",
        "PERIOD FOR `validity` (`starts`, `ends`)",
        &TARGETS,
    ),
    (
        "CREATE TABLE {t} (id integer PRIMARY KEY, n integer, CONSTRAINT {t}_above CHECK (n > 0))",
        "constraint {t}_above: CHECK (`n` > 0)",
        &TARGETS,
    ),
];

const SQLITE: &[Case] = &[
    (
        "CREATE TABLE {t} (id INTEGER PRIMARY KEY, p INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)",
        "DEFERRABLE INITIALLY DEFERRED of the reference of p to parent (id)",
        &[Kind::Mariadb],
    ),
    (
        "CREATE TABLE {t} (id INTEGER PRIMARY KEY, name TEXT); CREATE UNIQUE INDEX {t}_by ON {t} (name COLLATE NOCASE)",
        "the collation NOCASE of column name in index {t}_by",
        &TARGETS,
    ),
    ("CREATE TABLE {t} (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE)", "collations", &TARGETS),
    (
        "CREATE TABLE {t} (id INTEGER PRIMARY KEY, n INTEGER NOT NULL ON CONFLICT REPLACE DEFAULT 0)",
        "ON CONFLICT clauses",
        &TARGETS,
    ),
    ("CREATE TABLE {t} (id INTEGER PRIMARY KEY, n INTEGER CHECK (n > 0))", "checks", &TARGETS),
    ("CREATE TABLE {t} (id INTEGER PRIMARY KEY, checked INTEGER, \"check\" TEXT DEFAULT 'CHECK')", "checks", &[]),
    ("CREATE TABLE {t} (id INTEGER PRIMARY KEY, collated TEXT /* COLLATE NOCASE */)", "collations", &[]),
];

/// Whether the server is new enough for a table, and of the maker who tells it so.
async fn knows(owner: &mut User, kind: Kind, sql: &str) -> bool {
    match kind {
        Kind::Postgres if sql.contains("SET NULL (") => {
            owner.cell("SHOW server_version_num").await.parse::<u32>().expect("a number") >= 150_000
        }
        // MySQL has no periods, and shows no widths of integers and checks in another way.
        Kind::Mariadb if ["PERIOD", "smallint", "CHECK"].iter().any(|word| sql.contains(word)) => !owner.is_mysql(),
        _ => true,
    }
}

/// Each table is drafted for all kinds of database at once; nothing is made.
async fn told(kind: Kind, cases: &[Case]) {
    let names: Vec<String> = (0..cases.len()).map(|at| format!("t{at}")).collect();
    let tables: String =
        ["parent", "pair"].into_iter().chain(names.iter().map(String::as_str)).collect::<Vec<_>>().join("]\n[tables.");
    let (concord, _databases, mut owners) =
        scene_of([kind, TARGETS[0], TARGETS[1], TARGETS[2]], PARENTS, &format!("[tables.{tables}]\n")).await;
    let mut known = Vec::new();
    for ((sql, words, kinds), table) in cases.iter().zip(&names) {
        let known_there = knows(&mut owners[0], kind, sql).await;
        let sql = if known_there {
            sql.replace("{t}", table)
        } else {
            format!("CREATE TABLE {table} (id integer PRIMARY KEY)")
        };
        owners[0].execute(&sql).await;
        known.extend(known_there.then(|| (table, words.replace("{t}", table), kinds)));
    }
    let report = concord.run(&["load", "--create", "--dry-run", "--json"]).await.ok().json();
    let created = report["created"].as_array().expect("a list");
    for (table, words, kinds) in known {
        for (node, target) in ["b", "c", "d"].into_iter().zip(TARGETS) {
            let made = created.iter().find(|made| made["node"] == node && made["table"] == *table);
            let notes = made.and_then(|made| made["notes"].as_array()).expect("the table is missing there");
            let is_told = notes.iter().any(|note| *note == words);
            assert_eq!(is_told, kinds.contains(&target), "{words}, from {kind:?} to {target:?}: {notes:?}");
            // Where nothing is to be told all of it is made.
            let of_it =
                |note: &serde_json::Value| ["index", "reference"].iter().any(|one| note.to_string().contains(one));
            assert!(!(kinds.is_empty() && notes.iter().any(of_it)), "{words}, from {kind:?} to {target:?}: {notes:?}");
            // What is to stay is not set with the rest.
            if is_told && words.starts_with("ON DELETE SET") {
                let made = made.map(|made| made["statements"].to_string()).unwrap_or_default();
                assert!(made.contains("NO ACTION") && !made.contains("ON DELETE SET"), "to {target:?}: {made}");
            }
        }
    }
}

#[tokio::test]
async fn of_postgres() {
    told(Kind::Postgres, POSTGRES).await;
}

#[tokio::test]
async fn of_mariadb() {
    told(Kind::Mariadb, MARIADB).await;
}

#[tokio::test]
async fn of_sqlite() {
    told(Kind::Sqlite, SQLITE).await;
}

/// GIVEN rows that refer to each other
/// WHEN a user writes them where the table was created
/// THEN they are looked at with the commit, as where the table comes from.
#[tokio::test]
async fn references_that_are_looked_at_with_the_commit() {
    let filled = "CREATE TABLE staff (id integer PRIMARY KEY,
            boss integer NOT NULL REFERENCES staff (id) DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO staff VALUES (7, 7)";
    for from in [Kind::Postgres, Kind::Sqlite] {
        for to in [Kind::Postgres, Kind::Sqlite] {
            let (concord, _databases, mut owners) = scene_of([from, to], filled, "[tables.staff]\n").await;
            concord.run(&["load", "--create"]).await.ok();
            let circle = "BEGIN; INSERT INTO staff VALUES (1, 2); INSERT INTO staff VALUES (2, 1); COMMIT";
            owners[1].execute(circle).await;
            assert!(owners[1].try_execute("INSERT INTO staff VALUES (3, 9)").await.is_err(), "{from:?} {to:?}");
            assert_eq!(owners[1].cell("SELECT count(*) FROM staff").await, "3", "{from:?} {to:?}");
        }
    }
}

/// What PostgreSQL alone knows of references it knows at the other node as well, whatever the columns are called there; and a
/// default of a domain is one of the column.
#[tokio::test]
async fn references_that_only_postgres_knows() {
    let tables = "[tables.pair]\n[tables.whole]\n[tables.partly]\nnodes.b.columns = { b = \"beta\" }\n";
    let (concord, _databases, mut owners) = scene_of([Kind::Postgres, Kind::Postgres], PARENTS, tables).await;
    let newer = knows(&mut owners[0], Kind::Postgres, "SET NULL (b)").await;
    let on_delete = if newer { "SET NULL (b)" } else { "CASCADE" };
    owners[0]
        .execute(&format!(
            "CREATE DOMAIN seven AS integer DEFAULT 7;
             CREATE TABLE whole (id integer PRIMARY KEY, a integer, b integer,
                 FOREIGN KEY (a, b) REFERENCES pair MATCH FULL ON DELETE CASCADE);
             CREATE TABLE partly (id integer PRIMARY KEY, a integer NOT NULL, b integer, n seven,
                 FOREIGN KEY (a, b) REFERENCES pair ON DELETE {on_delete});
             INSERT INTO pair VALUES (1, 2); INSERT INTO whole VALUES (1, 1, 2), (2, NULL, NULL);
             INSERT INTO partly VALUES (1, 1, 2)"
        ))
        .await;
    concord.run(&["load", "--create"]).await.ok();
    assert!(owners[1].try_execute("INSERT INTO whole VALUES (3, 1, NULL)").await.is_err());
    owners[1].execute("INSERT INTO partly (id, a, beta) VALUES (2, 1, 2); DELETE FROM pair").await;
    let left = if newer { "2" } else { "0" };
    assert_eq!(owners[1].cell("SELECT count(*) FROM partly WHERE a = 1 AND beta IS NULL AND n = 7").await, left);
    assert_eq!(owners[1].cell("SELECT count(*) FROM whole").await, "1");
}
