//! Many rows that one node alone has changed: they are written while others are still being read.

use concord_tests::{Cluster, Kind, PATIENCE};

use super::{items, losers};

concord_tests::clusters! {
    pairs: [
        changed_before_rows_are_written_early, broken_while_rows_are_written_early, stopped_while_rows_are_written_early,
        refused_among_rows_that_are_written_early,
    ]
    many: [changed_before_rows_are_written_early_among_all]
    all: []
}

/// More than are written as soon as they are read anyway.
const ROWS: u32 = 5_000;

/// What the first node alone has changed.
async fn many(kinds: &[Kind]) -> Cluster {
    let mut cluster = items(kinds, "[tables.items]").await;
    let rows: Vec<String> = (10..10 + ROWS).map(|id| format!("({id}, 'row', {})", id + 100)).collect();
    cluster.run(0, &format!("INSERT INTO items VALUES {}", rows.join(", "))).await;
    cluster.run(0, "UPDATE items SET name = 'engine' WHERE id = 1").await;
    cluster
}

const TOTAL: &str = "SELECT count(*), sum(amount) FROM items";

async fn holds_all(cluster: &mut Cluster) {
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
        assert!(!broken.away.is_empty() || broken.failed.is_some() || broken.cycles > 1, "{fault}: {broken:?}");
        drop(session);
        cluster.settle().await;
        holds_all(&mut cluster).await;
    }
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
