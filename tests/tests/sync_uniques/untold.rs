//! Unique values of which nobody can tell which rows hold them: of part of the rows, of expressions, of what the database
//! works out; and exclusion constraints.

use concord_tests::{As, Cluster, Kind};

use super::{SEATS, SWAP, TABLES, counted, numbered, refuse};

concord_tests::clusters! {
    pairs: [a_value_that_the_database_works_out, rows_that_may_only_be_created]
    standard: [a_part_of_the_rows, a_part_of_the_rows_beside_violations, the_part_that_counts_changes_hands]
    many: []
    all: []
}

async fn a_part_of_the_rows(kinds: &[Kind]) {
    let setup = |_| {
        format!(
            "{}; CREATE UNIQUE INDEX taken ON seats (seat) WHERE note IS NOT NULL; {};
             UPDATE seats SET note = 'taken'; INSERT INTO seats VALUES (6, 1, NULL), (7, 1, NULL)",
            SEATS.replace(" UNIQUE", ""),
            numbered(5)
        )
    };
    let mut cluster = Cluster::new(kinds, setup, TABLES).await;
    cluster.run(0, SWAP).await;
    cluster.settle().await;
    cluster.holds("SELECT seat FROM seats ORDER BY id", &["2", "1", "3", "4", "5", "1", "1"]).await;
}

/// Nobody tells which row holds a value of such an index; those that cannot be written are found all the same, and
/// hold up nobody but who wants their values.
async fn a_part_of_the_rows_beside_violations(kinds: &[Kind]) {
    let setup = |_| {
        format!(
            "{}; CREATE UNIQUE INDEX taken ON seats (seat) WHERE note IS NOT NULL; {}; UPDATE seats SET note = 'taken'",
            SEATS.replace(" UNIQUE", ""),
            numbered(500)
        )
    };
    let mut cluster = Cluster::new(kinds, setup, TABLES).await;
    // GIVEN rows that pass their values on in a circle of 400, a chain that ends at a user's row, and a row that is refused
    // for another reason, before all others
    cluster.nodes[1].database.user_as(As::Sync).await.execute(&refuse(kinds[1])).await;
    cluster.install().await;
    cluster.run(0, "UPDATE seats SET note = 'bad' WHERE id = 450").await;
    cluster.run(1, "INSERT INTO seats VALUES (1001, 1000, 'user'), (1002, 2000, 'user')").await;
    cluster
        .run(
            0,
            "INSERT INTO seats VALUES (1003, 2000, 'late'); UPDATE seats SET seat = -seat WHERE id <= 500;
             UPDATE seats SET seat = 1 + -seat % 400 WHERE id <= 400; UPDATE seats SET seat = -seat WHERE id > 402 AND id <= 500;
             UPDATE seats SET seat = 402 WHERE id = 401; UPDATE seats SET seat = 1000 WHERE id = 402",
        )
        .await;
    let (_, attempts) = counted(&mut cluster).await;
    let expected: Vec<String> = [1003, 401, 402, 450].iter().map(|id| format!("b seats [{id}] constraint")).collect();
    let waiting = cluster.waiting().await;
    assert_eq!(
        waiting.iter().filter(|row| row.starts_with('b')).collect::<Vec<_>>(),
        expected.iter().collect::<Vec<_>>()
    );
    cluster.holds_at(1, "SELECT count(*) FROM seats WHERE id <= 400 AND seat = 1 + id % 400", &["400"]).await;
    assert!(attempts < 250, "{attempts} attempts");
    cluster.quiet().await;
    cluster.run(1, "DELETE FROM seats WHERE id IN (1001, 1002)").await;
    cluster.run(0, "UPDATE seats SET note = 'good' WHERE id = 450").await;
    cluster.settle().await;
}

/// The value stays, and another of its rows is the one that counts: the default address of a customer.
async fn the_part_that_counts_changes_hands(kinds: &[Kind]) {
    let setup = |kind| {
        let (yes, no) = if kind == Kind::Sqlite { ("1", "0") } else { ("true", "false") };
        format!(
            "CREATE TABLE rooms (id integer PRIMARY KEY); INSERT INTO rooms VALUES (1), (2);
             CREATE TABLE seats (id integer PRIMARY KEY, room integer NOT NULL REFERENCES rooms (id), first boolean NOT NULL);
             CREATE UNIQUE INDEX firsts ON seats (room) WHERE first;
             INSERT INTO seats VALUES (1, 1, {no}), (2, 1, {yes}), (3, 2, {yes}), (4, 2, {no})"
        )
    };
    let mut cluster = Cluster::new(kinds, setup, TABLES).await;
    for (room, first) in [(1, 1), (2, 4), (1, 2)] {
        cluster
            .run(0, &format!("UPDATE seats SET first = (1 = 0) WHERE room = {room}; UPDATE seats SET first = (1 = 1) WHERE id = {first}"))
            .await;
        assert_eq!(cluster.sync().await.waiting, 0);
        cluster.holds(&format!("SELECT id FROM seats WHERE first AND room = {room}"), &[&first.to_string()]).await;
    }
}

async fn a_value_that_the_database_works_out(kinds: &[Kind]) {
    let setup = |kind| {
        let generated = match kind {
            Kind::Sqlite => "seat text AS (lower(name)) UNIQUE",
            Kind::Mariadb => "seat varchar(99) AS (lower(name)) STORED UNIQUE",
            Kind::Postgres => "seat text GENERATED ALWAYS AS (lower(name)) STORED UNIQUE",
        };
        format!(
            "CREATE TABLE seats (id integer PRIMARY KEY, name text NOT NULL CHECK (name <> ''), {generated});
             INSERT INTO seats (id, name) VALUES (1, 'Window'), (2, 'aisle')"
        )
    };
    let mut cluster = Cluster::new(kinds, setup, TABLES).await;
    let swap = "UPDATE seats SET name = 'x' WHERE id = 1; UPDATE seats SET name = 'WINDOW' WHERE id = 2; UPDATE seats SET name = 'AISLE' WHERE id = 1";
    cluster.run(0, swap).await;
    cluster.settle().await;
    cluster.holds("SELECT name FROM seats ORDER BY id", &["AISLE", "WINDOW"]).await;
}

/// Rows that are not replaced keep their values when others are written around them.
async fn rows_that_may_only_be_created(kinds: &[Kind]) {
    for unique in ["", "; CREATE UNIQUE INDEX taken ON seats (seat) WHERE id > 0"] {
        // MariaDB has no index over a part of the rows.
        if unique.is_empty() || !kinds.contains(&Kind::Mariadb) {
            only_created(kinds, unique).await;
        }
    }
}

async fn only_created(kinds: &[Kind], unique: &str) {
    let column = if unique.is_empty() { "seat text UNIQUE" } else { "seat text" };
    let setup = |_| {
        format!("CREATE TABLE seats (id integer PRIMARY KEY, {column}); INSERT INTO seats VALUES (1, 'one'){unique}")
    };
    let mut cluster = Cluster::new(kinds, setup, "[tables.seats]\noperations = [\"insert\"]").await;
    cluster.run(1, "INSERT INTO seats VALUES (9, 'nine')").await;
    cluster
        .run(0, "UPDATE seats SET seat = 'first' WHERE id = 1; INSERT INTO seats VALUES (8, 'nine'), (7, 'one')")
        .await;
    cluster.sync().await;
    cluster.holds_at(1, "SELECT * FROM seats ORDER BY id", &["1|one", "9|nine"]).await;
    assert_eq!(cluster.waiting().await, ["a seats [9] constraint", "b seats [7] constraint", "b seats [8] constraint"]);
    cluster.quiet().await;
}

const BOTH_POSTGRES: &[Kind] = &[Kind::Postgres, Kind::Postgres];

/// Swaps the names of two of three rows, under something that makes them unique.
async fn swapped(table: &str, what: &str) {
    let setup = |_| {
        format!(
            "CREATE TABLE seats (id integer PRIMARY KEY, {table});
             INSERT INTO seats (id, name) VALUES (1, 'Left'), (2, 'right'), (3, 'Middle'); {what}"
        )
    };
    let mut cluster = Cluster::new(BOTH_POSTGRES, setup, TABLES).await;
    cluster.run(0, "UPDATE seats SET name = '(none)' WHERE id = 1; UPDATE seats SET name = 'LEFT' WHERE id = 2; UPDATE seats SET name = 'Right' WHERE id = 1").await;
    cluster.settle().await;
    cluster.holds("SELECT name FROM seats ORDER BY id", &["Right", "LEFT", "Middle"]).await;
}

/// GIVEN a second unique index over the key's column at one node, which takes more for equal than the column does
/// WHEN a row arrives that collides with another by that index alone
/// THEN it waits, and the other stays as it is.
#[tokio::test]
async fn an_index_over_the_key_that_takes_more_for_equal() {
    let setup = |_| {
        "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE seats (id text PRIMARY KEY, name text)"
            .to_owned()
    };
    let mut cluster = Cluster::bare(BOTH_POSTGRES, setup, TABLES).await;
    cluster.run_as_owner(1, "CREATE UNIQUE INDEX loose ON seats (id COLLATE ci)").await;
    cluster.install().await;
    cluster.run(1, "INSERT INTO seats VALUES ('abc', 'of b')").await;
    cluster.settle().await;
    cluster.run(0, "INSERT INTO seats VALUES ('ABC', 'of a'), ('x', 'of a')").await;
    cluster.sync().await;
    cluster.holds_at(1, "SELECT * FROM seats ORDER BY id COLLATE \"C\"", &["abc|of b", "x|of a"]).await;
    let waiting = cluster.waiting().await;
    assert!(waiting.len() == 1 && waiting[0].starts_with("b seats ") && waiting[0].contains("ABC"), "{waiting:?}");
    cluster.run(0, "UPDATE seats SET name = 'again' WHERE id <> 'ABC'; DELETE FROM seats WHERE id = 'ABC'").await;
    cluster.settle().await;
    // It is no key either.
    let setup = |kind| {
        let setup = setup(kind).replace("PRIMARY KEY", "NOT NULL");
        format!("{setup}; CREATE UNIQUE INDEX loose ON seats (id COLLATE ci)")
    };
    let cluster = Cluster::bare(BOTH_POSTGRES, setup, TABLES).await;
    let why = cluster.try_install().await.expect_err("rows are not told apart by it");
    assert!(why.contains("has no key"), "{why}");
}

/// An index for patterns or for another order of sorting tells apart just what its column does, and can be the key.
#[tokio::test]
async fn an_index_for_searching_is_a_key() {
    for index in ["id text_pattern_ops", "id varchar_ops", "id COLLATE \"C\""] {
        let setup = |_| {
            format!(
                "CREATE TABLE seats (id varchar(20) NOT NULL, name text); CREATE UNIQUE INDEX alone ON seats ({index})"
            )
        };
        let mut cluster = Cluster::new(BOTH_POSTGRES, setup, TABLES).await;
        cluster.run(0, "INSERT INTO seats VALUES ('a', 'one'), ('A', 'two')").await;
        cluster.settle().await;
        cluster.run(1, "UPDATE seats SET name = 'three' WHERE id = 'a'; DELETE FROM seats WHERE id = 'A'").await;
        cluster.settle().await;
        cluster.holds("SELECT * FROM seats", &["a|three"]).await;
    }
    // One that is of another type's kind tells apart more.
    let setup = |_| {
        "CREATE TYPE pair AS (a numeric, b integer); CREATE TABLE seats (id pair NOT NULL, name text);
         CREATE UNIQUE INDEX alone ON seats (id record_image_ops)"
            .to_owned()
    };
    let why = Cluster::bare(BOTH_POSTGRES, setup, TABLES).await.try_install().await.expect_err("it is no key");
    assert!(why.contains("has no key"), "{why}");
}

#[tokio::test]
async fn values_of_expressions() {
    for table in [
        "name text",
        "name text NOT NULL",
        "name varchar(40) COLLATE \"C\" NOT NULL",
        // What is drawn would not do; NULL does, and the other way round.
        "name text CHECK (name IN ('Left', 'right', 'LEFT', 'Right', 'Middle', '(none)'))",
        "name text CHECK (name IS NOT NULL)",
    ] {
        swapped(table, "CREATE UNIQUE INDEX ON seats (lower(name))").await;
    }
    swapped("name text", "CREATE UNIQUE INDEX ON seats (coalesce(lower(name), 'nobody'))").await;
    swapped("name text, room integer", "CREATE UNIQUE INDEX ON seats (coalesce(room, 0), lower(name))").await;
    swapped("name text, room integer NOT NULL DEFAULT 1", "CREATE UNIQUE INDEX ON seats (room, lower(name))").await;
    swapped("name text NOT NULL, gone date", "CREATE UNIQUE INDEX ON seats (lower(name)) WHERE gone IS NULL").await;
}

#[tokio::test]
async fn exclusion_constraints() {
    swapped("name text NOT NULL", "ALTER TABLE seats ADD CONSTRAINT apart EXCLUDE (lower(name) WITH =)").await;
    swapped("name text, EXCLUDE (name WITH =)", "").await;
    let setup = |_| {
        "CREATE TABLE seats (id integer PRIMARY KEY, during int4range NOT NULL, EXCLUDE USING gist (during WITH &&));
         INSERT INTO seats VALUES (1, '[1,5)'), (2, '[5,9)')"
            .to_owned()
    };
    let mut cluster = Cluster::new(BOTH_POSTGRES, setup, TABLES).await;
    cluster.run(0, "UPDATE seats SET during = 'empty' WHERE id = 1; UPDATE seats SET during = '[2,4)' WHERE id = 2; UPDATE seats SET during = '[6,8)' WHERE id = 1").await;
    cluster.settle().await;
    let setup = |_| {
        "CREATE TABLE seats (id integer PRIMARY KEY, during int4range NOT NULL, gone boolean NOT NULL DEFAULT false,
                             CONSTRAINT apart EXCLUDE USING gist (during WITH &&) WHERE (NOT gone));
         INSERT INTO seats VALUES (1, '[1,5)', false), (2, '[5,9)', false), (3, '[1,9)', true)"
            .to_owned()
    };
    let mut cluster = Cluster::new(BOTH_POSTGRES, setup, TABLES).await;
    cluster.run(0, "UPDATE seats SET during = 'empty' WHERE id = 1; UPDATE seats SET during = '[2,4)' WHERE id = 2; UPDATE seats SET during = '[6,8)' WHERE id = 1").await;
    cluster.settle().await;
    cluster.run(0, "UPDATE seats SET gone = true WHERE id < 3; UPDATE seats SET gone = false WHERE id = 3").await;
    cluster.settle().await;
    // What cannot be had waits, and says why.
    cluster.run(0, "INSERT INTO seats VALUES (4, '[10,12)')").await;
    cluster.run(1, "INSERT INTO seats VALUES (5, '[11,13)')").await;
    cluster.sync().await;
    let reasons = cluster.reasons("b").await;
    assert!(reasons[0].contains("\"apart\"") && reasons[0].contains("give one of them another value"), "{reasons:?}");
}

#[tokio::test]
async fn null_that_equals_null() {
    let version =
        Cluster::bare(&[Kind::Postgres], |_| String::new(), TABLES).await.rows(0, "SHOW server_version_num").await;
    if version[0].as_str() < "150000" {
        return;
    }
    swapped("name text, UNIQUE NULLS NOT DISTINCT (name)", "").await;
}
