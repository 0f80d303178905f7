//! Many rows that one node alone has changed: they are written while others are still being read.

use std::os::unix::process::ExitStatusExt;

use concord_tests::{Cluster, Kind, PATIENCE};

use super::{BOTH_POSTGRES, ITEMS, WITH_MARIADB, items, losers};

concord_tests::clusters! {
    pairs: [
        changed_before_rows_are_written_early, broken_while_rows_are_written_early, stopped_while_rows_are_written_early,
        refused_among_rows_that_are_written_early, a_table_is_changed_beside_many_rows, broken_at_the_end_of_rows_written_early,
        killed_while_rows_are_written_early, a_source_that_stands_still_keeps_no_user_waiting,
    ]
    many: [changed_before_rows_are_written_early_among_all]
    all: []
}

/// More than are written as soon as they are read anyway.
pub(super) const ROWS: u32 = 5_000;

/// What the first node alone has changed.
pub(super) async fn many(kinds: &[Kind]) -> Cluster {
    let mut cluster = items(kinds, "[tables.items]").await;
    change_many(&mut cluster).await;
    cluster
}

async fn change_many(cluster: &mut Cluster) {
    let rows: Vec<String> = (10..10 + ROWS).map(|id| format!("({id}, 'row', {})", id + 100)).collect();
    cluster.run(0, &format!("INSERT INTO items VALUES {}", rows.join(", "))).await;
    cluster.run(0, "UPDATE items SET name = 'engine' WHERE id = 1").await;
}

pub(super) const TOTAL: &str = "SELECT count(*), sum(amount) FROM items";

pub(super) async fn holds_all(cluster: &mut Cluster) {
    let sum: u64 = 60 + (110..110 + u64::from(ROWS)).sum::<u64>();
    cluster.holds(TOTAL, &[&format!("{}|{sum}", ROWS + 3)]).await;
}

async fn changed_before_rows_are_written_early(kinds: &[Kind]) {
    let mut cluster = many(kinds).await;
    let last = kinds.len() - 1;
    let meanwhile =
        async |cluster: &mut Cluster| cluster.later(last, "UPDATE items SET name = 'user' WHERE id = 1").await;
    cluster.sync_while("early-begin", meanwhile).await;
    cluster.settle().await;
    cluster.holds("SELECT name FROM items WHERE id = 1", &["user"]).await;
    // Of several targets another may be the one that stands, and this one written by then.
    if kinds.len() == 2 {
        assert_eq!(losers(&cluster).await, ["engine"]);
    }
    holds_all(&mut cluster).await;
}

async fn changed_before_rows_are_written_early_among_all(kinds: &[Kind]) {
    changed_before_rows_are_written_early(kinds).await;
}

/// The connection to the source breaks when the target has begun, and that to the target while it is written.
async fn broken_while_rows_are_written_early(kinds: &[Kind]) {
    for fault in ["fetch=error@3", "early-begin=error@1", "early-write=error@1"] {
        let mut cluster = many(kinds).await;
        let faults = std::sync::Arc::new(std::sync::Mutex::new(fault.parse().expect("the rule is one")));
        let mut session = cluster.session();
        let broken = concord::fault::scoped(faults, session.sync()).await.expect("the others go on");
        let away: Vec<&str> = broken.away.iter().map(|away| away.node.as_str()).collect();
        match fault {
            "fetch=error@3" => assert_eq!((away, broken.nodes), (vec!["a"], vec![])),
            // Whoever breaks is left, comes back with the second cycle, and has nothing more in the third.
            _ => assert_eq!((away, broken.cycles), (vec![], 3), "{fault}"),
        }
        drop(session);
        cluster.settle().await;
        holds_all(&mut cluster).await;
    }
}

/// The connection to the target breaks when all is written and when it is committed.
async fn broken_at_the_end_of_rows_written_early(kinds: &[Kind]) {
    for point in ["apply-begin", "apply-claimed", "apply-written", "apply-before-commit", "apply-after-commit"] {
        let mut cluster = many(kinds).await;
        let faults = std::sync::Arc::new(std::sync::Mutex::new(format!("{point}=error@1").parse().expect("a rule")));
        let mut session = cluster.session();
        let broken = concord::fault::scoped(faults, session.sync()).await.expect("the others go on");
        assert!(!broken.away.is_empty() || broken.cycles > 1, "{point}: {broken:?}");
        drop(session);
        cluster.run(1, "UPDATE items SET name = 'user' WHERE id = 2").await;
        cluster.settle().await;
        cluster.holds("SELECT name FROM items WHERE id < 3 ORDER BY id", &["engine", "user"]).await;
        assert_eq!(losers(&cluster).await, [] as [&str; 0], "{point}");
        holds_all(&mut cluster).await;
    }
}

/// Of several tables none is written without having been looked at, also one whose rows are not written early.
async fn a_table_is_changed_beside_many_rows(kinds: &[Kind]) {
    let setup = |_| {
        format!(
            "{ITEMS}; CREATE TABLE parts (id integer PRIMARY KEY, item integer NOT NULL REFERENCES items (id), name text);
             INSERT INTO parts VALUES (1, 1, 'old')"
        )
    };
    let mut cluster = Cluster::new(kinds, setup, "[tables.items]\n[tables.parts]").await;
    change_many(&mut cluster).await;
    cluster.run(0, "UPDATE parts SET name = 'engine' WHERE id = 1").await;
    let change = async |cluster: &mut Cluster| cluster.run_as_owner(1, "ALTER TABLE parts ADD COLUMN more text").await;
    let summary = cluster.sync_while("read-done", change).await;
    let stopped: Vec<&str> = summary.stopped.iter().map(|stopped| stopped.table.as_str()).collect();
    assert_eq!(stopped, ["parts"], "{summary:?}");
    cluster.holds_at(1, "SELECT name FROM parts", &["old"]).await;
    holds_all(&mut cluster).await;
}

/// The engine goes away in the middle: nothing of what it wrote is left, and nobody is locked out.
async fn stopped_while_rows_are_written_early(kinds: &[Kind]) {
    let mut cluster = many(kinds).await;
    let mut session = cluster.session();
    let reached = cluster.file("reached");
    let rule = format!("early-write=pause:{}@1", reached.display());
    let faults = std::sync::Arc::new(std::sync::Mutex::new(rule.parse().expect("the rule is one")));
    let stopped = async {
        concord_tests::wait_until("rows to be written early", PATIENCE, async || reached.exists().then_some(())).await;
    };
    tokio::select! {
        summary = concord::fault::scoped(faults, session.sync()) => panic!("nothing was written early: {summary:?}"),
        () = stopped => {}
    }
    drop(session);
    std::fs::remove_file(&reached).expect("it is there");
    cluster.holds_at(1, "SELECT count(*) FROM items", &["3"]).await;
    cluster.run(1, "UPDATE items SET name = 'user' WHERE id = 2").await;
    cluster.settle().await;
    cluster.holds("SELECT name FROM items WHERE id < 3 ORDER BY id", &["engine", "user"]).await;
    holds_all(&mut cluster).await;
}

/// The engine is killed before, while and after rows are written early.
async fn killed_while_rows_are_written_early(kinds: &[Kind]) {
    let mut cluster = items(kinds, "[tables.items]").await;
    change_many(&mut cluster).await;
    let mut concord = cluster.command("[tables.items]\n");
    let points = ["early-begin", "early-write", "apply-begin", "apply-before-commit", "apply-after-commit"];
    let mut updates = 0;
    for (round, point) in points.into_iter().enumerate() {
        // On a busy machine rows may come too slowly to be written early.
        for left in (0..10).rev() {
            cluster.run(0, "UPDATE items SET amount = amount + 1 WHERE id < 50000").await;
            updates += 1;
            let killed = concord.faults(&format!("{point}=abort@1")).run(&["sync"]).await;
            if killed.status.signal() == Some(libc::SIGABRT) {
                break;
            }
            assert!(left > 0 && killed.status.success() && point.starts_with("early"), "{point}: {killed:?}");
        }
        // Nobody is locked out by what is left of it.
        cluster.run(1, &format!("INSERT INTO items VALUES ({}, 'user', 0)", 60_000 + round)).await;
        cluster.settle().await;
        let rows = u64::from(ROWS) + 3;
        let sum: u64 = 60 + (110..110 + u64::from(ROWS)).sum::<u64>() + updates * rows;
        cluster.holds(TOTAL, &[&format!("{}|{sum}", rows + round as u64 + 1)]).await;
    }
}

/// While the source says nothing, users of the target write what the engine had begun to write.
async fn a_source_that_stands_still_keeps_no_user_waiting(kinds: &[Kind]) {
    let mut cluster = many(kinds).await;
    let meanwhile = async |cluster: &mut Cluster| cluster.later(1, "INSERT INTO items VALUES (10, 'user', 110)").await;
    cluster.sync_while("fetch@3", meanwhile).await;
    cluster.settle().await;
    cluster.holds("SELECT name FROM items WHERE id = 10", &["user"]).await;
    assert_eq!(losers(&cluster).await, ["row"]);
    holds_all(&mut cluster).await;
}

/// What a user holds locked is left to the next cycle, and keeps nothing else back.
#[tokio::test]
async fn a_user_holds_one_of_the_rows_that_are_written_early() {
    for kinds in [BOTH_POSTGRES, WITH_MARIADB] {
        let mut cluster = many(kinds).await;
        cluster.later(1, "START TRANSACTION").await;
        cluster.run(1, "UPDATE items SET name = 'user' WHERE id = 1").await;
        let summary = cluster.sync().await;
        assert_eq!((summary.held, summary.waiting, &summary.failed), (1, 0, &None), "{summary:?}");
        cluster.holds_at(1, "SELECT count(*) FROM items WHERE id >= 10", &[&ROWS.to_string()]).await;
        cluster.run(1, "COMMIT").await;
        cluster.settle().await;
        cluster.holds("SELECT name FROM items WHERE id = 1", &["user"]).await;
        assert_eq!(losers(&cluster).await, ["engine"]);
        holds_all(&mut cluster).await;
    }
}

/// One row that a node cannot take waits there, and the others arrive.
async fn refused_among_rows_that_are_written_early(kinds: &[Kind]) {
    let mut cluster = many(kinds).await;
    cluster.run_as_owner(1, "CREATE UNIQUE INDEX one_amount ON items (amount)").await;
    cluster.run(0, "UPDATE items SET amount = 112 WHERE id = 11").await;
    cluster.install().await;
    cluster.sync().await;
    assert_eq!(cluster.waiting().await.len(), 1, "{:?}", cluster.waiting().await);
    cluster.holds_at(1, "SELECT count(*) FROM items", &[&(ROWS + 2).to_string()]).await;
}
