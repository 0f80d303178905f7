//! Unique values that rows pass among each other, whoever else is in the batch.

mod untold;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use concord::fault::{self, Faults};
use concord::sync::Summary;
use concord_tests::{As, Cluster, Kind, Seed};

concord_tests::clusters! {
    pairs: [thousands_turned_around, thousands_turned_around_beside_a_violation, a_chain_that_ends_at_a_users_row, a_swap_beside_a_row_that_cannot_be_written, a_circle_that_a_refused_row_breaks, a_circle_that_a_busy_row_breaks, a_swap_of_children_beside_an_orphan, columns_of_a_composite, a_swap_of_many_values_at_once, values_that_references_follow, any_values_among_any_rows]
    standard: [a_check_that_leaves_no_other_value]
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
    assert_eq!(summary.waiting, 0, "{:?}", cluster.reasons("b").await.first());
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

/// A trigger that lets no row have the note `bad`.
fn refuse(kind: Kind) -> String {
    match kind {
        Kind::Sqlite => {
            "CREATE TRIGGER refuse BEFORE UPDATE ON seats WHEN NEW.note = 'bad' BEGIN SELECT RAISE(ABORT, 'no'); END"
                .to_owned()
        }
        Kind::Postgres | Kind::Mariadb => "ALTER TABLE seats ADD CHECK (note <> 'bad')".to_owned(),
    }
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
        "CREATE TABLE seats (id integer PRIMARY KEY, seat varchar(99) UNIQUE);
         CREATE TABLE guests (id integer PRIMARY KEY, seat varchar(99) REFERENCES seats (seat) ON UPDATE CASCADE);
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

/// Values pass among rows at random, beside users' rows and rows that b refuses: those wait that cannot be had, and no others.
async fn any_values_among_any_rows(kinds: &[Kind]) {
    let seed = Seed::new("any_values_among_any_rows");
    let mut rng = seed.rng(0);
    let setup = "CREATE TABLE seats (id integer PRIMARY KEY, seat integer UNIQUE, note text)";
    let mut cluster = with(kinds, setup, &refuse(kinds[1]).replace("BEFORE UPDATE", "BEFORE INSERT")).await;
    let update = refuse(kinds[1]).replace("TRIGGER refuse", "TRIGGER refuse_more");
    if kinds[1] == Kind::Sqlite {
        cluster.nodes[1].database.user_as(As::Sync).await.execute(&update).await;
        cluster.install().await;
    }
    for round in 0..6 {
        let count = 2 + rng.below(60);
        let first: BTreeMap<u64, u64> = (1..=count).map(|id| (id, id)).collect();
        let rows: Vec<String> = first.iter().map(|(id, seat)| format!("({id}, {seat}, 'ok')")).collect();
        cluster.run(0, &format!("DELETE FROM seats; INSERT INTO seats VALUES {}", rows.join(", "))).await;
        cluster.settle().await;
        // Some rows go, some come, and all that are there share the values that there are, some of them the users'.
        let users: Vec<u64> = (0..rng.below(4)).map(|n| 5_000 + n).collect();
        let mut ids: Vec<u64> = (1..=count + rng.below(5)).filter(|_| rng.below(10) > 0).collect();
        let mut values: Vec<u64> = (1..=count).chain(users.iter().copied()).collect();
        let moving = 1 + rng.below(values.len() as u64) as usize;
        for at in 0..moving {
            let other = at + rng.below((values.len() - at) as u64) as usize;
            values.swap(at, other);
        }
        ids.truncate(values.len());
        let last: BTreeMap<u64, (u64, bool)> =
            ids.iter().zip(&values).map(|(id, seat)| (*id, (*seat, rng.below(25) == 0))).collect();
        let rows: Vec<String> = last
            .iter()
            .map(|(id, (seat, bad))| format!("({id}, {seat}, '{}')", if *bad { "bad" } else { "ok" }))
            .collect();
        let rows = format!("DELETE FROM seats; INSERT INTO seats SELECT * FROM (VALUES {}) AS v", rows.join(", "));
        cluster.run(0, &if last.is_empty() { "DELETE FROM seats".to_owned() } else { rows }).await;
        for seat in &users {
            cluster.run(1, &format!("INSERT INTO seats VALUES ({}, {seat}, 'user')", seat + 1_000)).await;
        }
        cluster.sync().await;
        // A row cannot be written that is bad, or wants the value of a row that keeps it: a user's, or one that cannot be
        // written itself.
        let mut waits: BTreeSet<u64> = last.iter().filter(|(_, (_, bad))| *bad).map(|(id, _)| *id).collect();
        loop {
            let held = |seat: &u64, id: &u64| {
                let holder = first.iter().find(|(_, held)| *held == seat).map(|(holder, _)| holder);
                users.contains(seat) || holder.is_some_and(|holder| holder != id && waits.contains(holder))
            };
            let more: Vec<u64> = last
                .iter()
                .filter(|(id, (seat, _))| !waits.contains(id) && held(seat, id))
                .map(|(id, _)| *id)
                .collect();
            if more.is_empty() {
                break;
            }
            waits.extend(more);
        }
        let mut expected: Vec<String> = Vec::new();
        for id in first.keys().chain(last.keys()).collect::<BTreeSet<_>>() {
            let seat = if waits.contains(id) { first.get(id) } else { last.get(id).map(|(seat, _)| seat) };
            expected.extend(seat.map(|seat| format!("{id}|{seat}")));
        }
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        let mine = "SELECT id, seat FROM seats WHERE id < 5000 ORDER BY id";
        let there = cluster.rows(1, mine).await;
        assert_eq!(there, expected, "round {round}: {first:?} becomes {last:?} beside {users:?}; {waits:?} wait");
        cluster.run(0, "UPDATE seats SET note = 'ok' WHERE note = 'bad'").await;
        cluster.run(1, "DELETE FROM seats WHERE id >= 5000").await;
        cluster.settle().await;
    }
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
