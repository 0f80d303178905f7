//! Unique values that rows pass among each other, whatever makes them unique and whoever else is in the batch.

use std::sync::{Arc, Mutex};

use concord::fault::{self, Faults};
use concord::sync::Summary;
use concord_tests::{As, Cluster, Kind};

concord_tests::clusters! {
    pairs: [
        thousands_turned_around, thousands_turned_around_beside_a_violation, a_chain_that_ends_at_a_users_row,
        a_swap_beside_a_row_that_cannot_be_written, a_circle_that_a_refused_row_breaks, a_circle_that_a_busy_row_breaks,
        a_swap_of_children_beside_an_orphan, columns_of_a_composite, a_part_of_the_rows, a_part_of_the_rows_beside_violations, the_part_that_counts_changes_hands,
        a_value_that_the_database_works_out, a_swap_of_many_values_at_once, rows_that_may_only_be_created,
        a_check_that_leaves_no_other_value, values_that_references_follow,
    ]
    many: [the_same_value_from_two_nodes]
    all: []
}

const SEATS: &str = "CREATE TABLE seats (id integer PRIMARY KEY, seat integer NOT NULL UNIQUE, note text)";
const TABLES: &str = "[tables.seats]";
/// Every row takes the value of the next, and the last that of the first.
const TURN: &str =
    "UPDATE seats SET seat = -seat WHERE id <= 12000; UPDATE seats SET seat = 1 + -seat % 12000 WHERE id <= 12000";
const TURNED: &str = "SELECT count(*) FROM seats WHERE id <= 12000 AND seat = 1 + id % 12000";

fn numbered(count: usize) -> String {
    let numbers = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})");
    format!("INSERT INTO seats {numbers} SELECT i, i FROM n").replace("INTO seats", "INTO seats (id, seat)")
}

/// Syncs; how often rows were tried in a statement.
async fn counted(cluster: &mut Cluster) -> (Summary, u64) {
    let faults = Arc::new(Mutex::new(Faults::default()));
    let done = Box::pin(fault::scoped(Arc::clone(&faults), cluster.sync())).await;
    (done, faults.lock().expect("nobody panics").passes("apply-attempt"))
}

/// Puts the schema at b, and adds something to it there.
async fn with(kinds: &[Kind], setup: &str, at_b: &str) -> Cluster {
    let cluster = Cluster::bare(kinds, |_| String::new(), TABLES).await;
    for (node, more) in cluster.nodes.iter().zip(["", at_b]) {
        let setup = match setup.split_once("--at b") {
            Some((before, after)) => format!("{before}{more}{after}"),
            None => format!("{setup}; {more}"),
        };
        node.database.user_as(As::Sync).await.execute(&setup).await;
    }
    cluster.install().await;
    cluster
}

async fn thousands_turned_around(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, |_| format!("{SEATS}; {}", numbered(12_000)), TABLES).await;
    cluster.run(0, TURN).await;
    let (summary, attempts) = counted(&mut cluster).await;
    assert_eq!(summary.waiting, 0);
    assert!(attempts <= 3, "{attempts} attempts");
    cluster.settle().await;
    cluster.holds(TURNED, &["12000"]).await;
}

/// One row cannot have its value because a user's row has it; that is no matter of the others.
async fn thousands_turned_around_beside_a_violation(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, |_| format!("{SEATS}; {}", numbered(12_000)), TABLES).await;
    cluster.run(1, "INSERT INTO seats VALUES (20001, 20000, NULL)").await;
    cluster.run(0, &format!("INSERT INTO seats VALUES (20000, 20000, NULL); {TURN}")).await;
    let (summary, attempts) = counted(&mut cluster).await;
    assert_eq!(summary.waiting, 2);
    assert!(attempts <= 8, "{attempts} attempts");
    cluster.holds(TURNED, &["12000"]).await;
    assert_eq!(cluster.waiting().await, ["a seats [20001] constraint", "b seats [20000] constraint"]);
    cluster.quiet().await;
    cluster.run(1, "UPDATE seats SET seat = 20001 WHERE id = 20001").await;
    cluster.settle().await;
}

/// Each row wants the value of the next, and the last that of a row that a user added meanwhile: all of them wait for that.
async fn a_chain_that_ends_at_a_users_row(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, |_| format!("{SEATS}; {}", numbered(6_000)), TABLES).await;
    cluster.run(1, "INSERT INTO seats VALUES (6001, 6001, NULL)").await;
    cluster.run(0, "UPDATE seats SET seat = -seat; UPDATE seats SET seat = 1 - seat").await;
    cluster.run(0, "INSERT INTO seats VALUES (7000, 7000, NULL)").await;
    let (summary, attempts) = counted(&mut cluster).await;
    // At a, the user's row waits for the last of the others.
    assert_eq!(summary.waiting, 6_001);
    assert!(attempts <= 10, "{attempts} attempts");
    cluster.holds_at(1, "SELECT count(*) FROM seats WHERE seat = id", &["6002"]).await;
    cluster.run(1, "UPDATE seats SET seat = 9999 WHERE id = 6001").await;
    cluster.settle().await;
    cluster.holds("SELECT count(*) FROM seats WHERE seat = id + 1", &["6000"]).await;
}

const SWAP: &str = "UPDATE seats SET seat = -1 WHERE id = 1; UPDATE seats SET seat = 1 WHERE id = 2;
                    UPDATE seats SET seat = 2 WHERE id = 1";

async fn a_swap_beside_a_row_that_cannot_be_written(kinds: &[Kind]) {
    let table = format!("{SEATS}; {}", numbered(5)).replace("note text", "note text --at b\n");
    let mut cluster = with(kinds, &table, ", CHECK (note <> 'bad')").await;
    for (n, between) in [(3, ""), (4, "UPDATE seats SET note = 'good' WHERE id = 5;")] {
        cluster.run(0, &format!("UPDATE seats SET note = 'bad' WHERE id = {n}; {between} {SWAP}")).await;
        cluster.sync().await;
        cluster.holds_at(1, "SELECT id, seat FROM seats WHERE id < 3 ORDER BY id", &["1|2", "2|1"]).await;
        cluster.run(0, "UPDATE seats SET seat = -1 WHERE id = 1; UPDATE seats SET seat = 2 WHERE id = 2; UPDATE seats SET seat = 1 WHERE id = 1").await;
        cluster.sync().await;
        cluster.holds_at(1, "SELECT id, seat FROM seats WHERE id < 3 ORDER BY id", &["1|1", "2|2"]).await;
    }
    assert_eq!(cluster.waiting().await, ["b seats [3] constraint", "b seats [4] constraint"]);
    cluster.quiet().await;
}

/// Of two circles one has a row that b refuses: its rows wait, and say for what; the other is written. So are those of a
/// chain that do not need the refused row.
async fn a_circle_that_a_refused_row_breaks(kinds: &[Kind]) {
    let table = format!("{SEATS}; {}", numbered(9)).replace("note text", "note text --at b\n");
    let mut cluster = with(kinds, &table, ", CHECK (note <> 'bad')").await;
    let bad = "UPDATE seats SET note = 'bad' WHERE id IN (2, 8)";
    cluster
        .run(
            0,
            &format!(
                "UPDATE seats SET seat = -seat; UPDATE seats SET seat = 1 - seat WHERE id IN (1, 2, 4, 5, 7, 8, 9);
                 UPDATE seats SET seat = 1 WHERE id = 3; UPDATE seats SET seat = 4 WHERE id = 6; {bad}"
            ),
        )
        .await;
    cluster.sync().await;
    // 1, 2, 3 are a circle, and 4, 5, 6; 7 needs 8, which needs 9.
    let expected = ["b seats [1] constraint", "b seats [2] constraint", "b seats [3] constraint"];
    let expected: Vec<_> = expected.into_iter().chain(["b seats [7] constraint", "b seats [8] constraint"]).collect();
    assert_eq!(cluster.waiting().await, expected);
    cluster.holds_at(1, "SELECT seat FROM seats ORDER BY id", &["1", "2", "3", "5", "6", "4", "7", "8", "10"]).await;
    let reasons = cluster.reasons("b").await;
    let circle = reasons.iter().filter(|reason| reason.contains("3 rows that need each other cannot be written"));
    assert_eq!(circle.filter(|reason| reason.to_lowercase().contains("check constraint")).count(), 3, "{reasons:?}");
    assert_eq!(reasons.iter().filter(|reason| reason.contains("has the same seat")).count(), 4, "{reasons:?}");
    cluster.quiet().await;
    cluster.run(0, "UPDATE seats SET note = 'good' WHERE note = 'bad'").await;
    cluster.settle().await;
}

/// A user changes one row of a circle between reading and writing: none is overwritten, and the next cycle decides.
async fn a_circle_that_a_busy_row_breaks(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, |_| format!("{SEATS}; {}", numbered(12_000)), TABLES).await;
    cluster.run(0, TURN).await;
    let meanwhile = async |cluster: &mut Cluster| {
        cluster.later(1, "UPDATE seats SET note = 'user', seat = 30000 WHERE id = 7000").await;
    };
    cluster.sync_while("read-done", meanwhile).await;
    cluster.settle().await;
    // The user's row has its own value, and left the one that the row before wants.
    cluster.holds(TURNED, &["11999"]).await;
    cluster.holds("SELECT seat, note FROM seats WHERE id = 7000", &["30000|user"]).await;
}

/// The rows that swap refer to others, and so does one whose parent is missing.
async fn a_swap_of_children_beside_an_orphan(kinds: &[Kind]) {
    let setup = |_| {
        "CREATE TABLE rooms (id integer PRIMARY KEY);
         CREATE TABLE seats (id integer PRIMARY KEY, seat integer NOT NULL UNIQUE, room integer REFERENCES rooms (id),
                             beside integer REFERENCES seats (id));
         INSERT INTO rooms VALUES (1); INSERT INTO seats VALUES (1, 1, 1, NULL), (2, 2, 1, NULL), (3, 3, 1, NULL), (4, 4, 1, NULL)"
            .to_owned()
    };
    let mut cluster = Cluster::new(kinds, setup, TABLES).await;
    cluster.run(0, "INSERT INTO rooms VALUES (2); UPDATE seats SET room = 2 WHERE id = 3").await;
    cluster
        .run(0, &format!("INSERT INTO seats VALUES (9, 9, 1, 1), (8, 8, 1, 9), (7, 7, 2, 9), (6, 6, 1, 7); {SWAP}"))
        .await;
    cluster.sync().await;
    assert_eq!(
        cluster.waiting().await,
        ["b seats [3] constraint", "b seats [6] constraint", "b seats [7] constraint"],
        "those in the room that is not there, and the one beside them"
    );
    let reasons = cluster.reasons("b").await;
    assert!(reasons.iter().all(|reason| reason.contains("foreign key")), "{reasons:?}");
    cluster.holds_at(1, "SELECT id, seat FROM seats ORDER BY id", &["1|2", "2|1", "3|3", "4|4", "8|8", "9|9"]).await;
    cluster.quiet().await;
    cluster.run(1, "INSERT INTO rooms VALUES (2)").await;
    cluster.settle().await;
}

/// Places within a group change, and the group, which refers to another table, has to stay.
async fn columns_of_a_composite(kinds: &[Kind]) {
    let setup = |_| {
        "CREATE TABLE rooms (id integer PRIMARY KEY); INSERT INTO rooms VALUES (1), (2);
         CREATE TABLE seats (id integer PRIMARY KEY, room integer NOT NULL REFERENCES rooms (id), seat integer NOT NULL,
                             UNIQUE (room, seat));
         INSERT INTO seats VALUES (1, 1, 1), (2, 1, 2), (3, 2, 1), (4, 2, 2)"
            .to_owned()
    };
    let mut cluster = Cluster::new(kinds, setup, TABLES).await;
    cluster.run(0, &format!("{SWAP}; UPDATE seats SET seat = 9 WHERE id = 4; UPDATE seats SET seat = 2 WHERE id = 3; UPDATE seats SET seat = 1 WHERE id = 4")).await;
    cluster.settle().await;
    cluster.holds("SELECT room, seat FROM seats ORDER BY id", &["1|2", "1|1", "2|2", "2|1"]).await;
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

/// A trigger that lets no row have the note `bad`.
fn refuse(kind: Kind) -> String {
    match kind {
        Kind::Sqlite => {
            "CREATE TRIGGER refuse BEFORE UPDATE ON seats WHEN NEW.note = 'bad' BEGIN SELECT RAISE(ABORT, 'no'); END"
                .to_owned()
        }
        Kind::Postgres => "ALTER TABLE seats ADD CHECK (note <> 'bad')".to_owned(),
    }
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

async fn a_swap_of_many_values_at_once(kinds: &[Kind]) {
    let setup = |_| {
        "CREATE TABLE seats (id integer PRIMARY KEY, a text UNIQUE, b integer UNIQUE, c text NOT NULL UNIQUE);
         INSERT INTO seats VALUES (1, 'a1', 1, 'c1'), (2, 'a2', 2, 'c2'), (3, 'a3', 3, 'c3')"
            .to_owned()
    };
    let mut cluster = Cluster::new(kinds, setup, TABLES).await;
    // One column goes one way round and another the other.
    cluster
        .run(
            1,
            "UPDATE seats SET a = 'x' || id, b = -id, c = 'x' || id;
             UPDATE seats SET a = 'a' || (1 + id % 3), b = 1 + (id + 1) % 3, c = CASE id WHEN 3 THEN 'c3' ELSE 'c' || (3 - id) END",
        )
        .await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM seats ORDER BY id", &["1|a2|3|c2", "2|a3|1|c1", "3|a1|2|c3"]).await;
}

/// Rows that are not replaced keep their values when others are written around them.
async fn rows_that_may_only_be_created(kinds: &[Kind]) {
    for unique in ["", "; CREATE UNIQUE INDEX taken ON seats (seat) WHERE id > 0"] {
        only_created(kinds, unique).await;
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

/// No other value is allowed, not even for a moment: the rows wait, and say which constraint it is and what to do.
async fn a_check_that_leaves_no_other_value(kinds: &[Kind]) {
    let setup = |_| {
        "CREATE TABLE seats (id integer PRIMARY KEY, seat text NOT NULL CONSTRAINT sides CHECK (seat IN ('left', 'right')),
                             CONSTRAINT one_each UNIQUE (seat));
         INSERT INTO seats VALUES (1, 'left'), (2, 'right')"
            .to_owned()
    };
    let mut cluster = Cluster::new(kinds, setup, TABLES).await;
    cluster.run(0, "DELETE FROM seats; INSERT INTO seats VALUES (1, 'right'), (2, 'left')").await;
    cluster.sync().await;
    assert_eq!(cluster.waiting().await, ["b seats [1] constraint", "b seats [2] constraint"]);
    let reasons = cluster.reasons("b").await;
    let unique = if kinds[1] == Kind::Sqlite { "sqlite_autoindex_seats_1" } else { "one_each" };
    let says = |reason: &String| [unique, "sides", "change one of the two"].iter().all(|part| reason.contains(part));
    assert!(reasons.iter().all(says), "{reasons:?}");
    cluster.quiet().await;
    // As told: one of them lets go first.
    cluster.run(0, "DELETE FROM seats WHERE id = 2").await;
    cluster.sync().await;
    cluster.run(0, "INSERT INTO seats VALUES (2, 'left')").await;
    cluster.settle().await;
    cluster.holds("SELECT seat FROM seats ORDER BY id", &["right", "left"]).await;
}

/// Moving a value that references follow would take their rows along, for good: it stays, and the rows wait.
async fn values_that_references_follow(kinds: &[Kind]) {
    let setup = |_| {
        "CREATE TABLE seats (id integer PRIMARY KEY, seat text UNIQUE);
         CREATE TABLE guests (id integer PRIMARY KEY, seat text REFERENCES seats (seat) ON UPDATE CASCADE);
         INSERT INTO seats VALUES (1, 'left'), (2, 'right'); INSERT INTO guests VALUES (1, 'left'), (2, 'right')"
            .to_owned()
    };
    let mut cluster = Cluster::new(kinds, setup, TABLES).await;
    cluster.run(0, "DELETE FROM guests; UPDATE seats SET seat = NULL WHERE id = 1; UPDATE seats SET seat = 'left' WHERE id = 2; UPDATE seats SET seat = 'right' WHERE id = 1").await;
    cluster.sync().await;
    cluster.holds_at(1, "SELECT * FROM guests ORDER BY id", &["1|left", "2|right"]).await;
    cluster.holds_at(1, "SELECT * FROM seats ORDER BY id", &["1|left", "2|right"]).await;
    assert_eq!(cluster.waiting().await, ["b seats [1] constraint", "b seats [2] constraint"]);
}

/// Where both arrive the one waits for the other, for the same reason whether they were tried together or not.
async fn the_same_value_from_two_nodes(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, |_| SEATS.to_owned(), TABLES).await;
    cluster.run(0, "INSERT INTO seats VALUES (4, 1, 'a')").await;
    cluster.run(2, "INSERT INTO seats VALUES (5, 1, 'c')").await;
    assert_eq!(cluster.sync().await.waiting, kinds.len() as u64);
    cluster.quiet().await;
    cluster.run(2, "UPDATE seats SET seat = 2 WHERE id = 5").await;
    cluster.settle().await;
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
