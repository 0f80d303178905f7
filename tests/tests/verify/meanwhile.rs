//! Comparing while users write and engines are at work: no false alarm.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use concord::sync::Verify;
use concord_tests::{As, Cluster, Kind, Seed};

use super::{told, verify};

const TABLE: &str = "CREATE TABLE t (id bigint PRIMARY KEY, n bigint)";

fn table(kind: Kind) -> String {
    let first = "WITH RECURSIVE n (v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < 300)";
    let _ = kind;
    format!("{TABLE}; {first} INSERT INTO t SELECT v, v FROM n")
}

#[tokio::test]
async fn what_is_on_its_way_or_waits_is_counted_apart() {
    let setup = |kind: Kind| match kind {
        Kind::Sqlite => table(kind),
        Kind::Postgres | Kind::Mariadb => table(kind) + "; ALTER TABLE t ADD CONSTRAINT small CHECK (n < 1000)",
    };
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Postgres, Kind::Sqlite], setup, "[tables.t]\n").await;
    cluster.run(0, "UPDATE t SET n = 2000 WHERE id = 1").await;
    cluster.sync().await;
    assert_eq!(cluster.waiting().await, ["b t [1] constraint"]);
    cluster.run(1, "DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (1000, 1)").await;
    cluster.run(2, "UPDATE t SET n = -1 WHERE id = 3").await;
    let verified = verify(&cluster, Verify::default()).await;
    let found = &verified.tables[0];
    assert_eq!((told(found), found.on_their_way, found.waiting), (vec![], 3, 1), "{verified:#?}");
    assert_eq!(verified.exit_code(), 0);
    // Nor is it mended.
    let how = Verify { repair: concord::sync::Repair::Mend, prefer: Some("a".into()), ..Verify::default() };
    assert_eq!(verify(&cluster, how).await.tables[0].mended, 0);
    cluster.sync().await;
    let verified = verify(&cluster, Verify::default()).await;
    assert_eq!((verified.tables[0].on_their_way, verified.tables[0].waiting), (0, 1));
}

#[tokio::test]
async fn nodes_that_are_away_are_told_and_the_others_compared() {
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Postgres, Kind::Sqlite], table, "[tables.t]\n").await;
    cluster.leave(2);
    let verified = verify(&cluster, Verify::default()).await;
    assert_eq!((verified.exit_code(), verified.away.len(), verified.tables[0].nodes.len()), (3, 1, 2));
    cluster.run(0, "UPDATE t SET n = 0 WHERE id = 5").await;
    cluster.sync().await;
    // What only the absent node lacks is no difference of the others.
    let verified = verify(&cluster, Verify::default()).await;
    assert_eq!((told(&verified.tables[0]), verified.tables[0].on_their_way), (vec![], 0));
    cluster.leave(1);
    let verified = verify(&cluster, Verify::default()).await;
    assert!(verified.tables[0].skipped.as_deref().is_some_and(|why| why.contains("not two nodes")), "{verified:?}");
}

/// At the second look the first node's snapshot is opened, and then an engine carries a change before the second's is.
async fn overtaken_between_snapshots(first: &str, meanwhile: impl AsyncFnOnce(&mut Cluster)) {
    // A file's snapshot is there before anybody else's is begun.
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Postgres], table, "[tables.t]\n").await;
    let (at, sql) = first.split_once(": ").expect("a node and a statement");
    cluster.run(usize::from(at == "b"), sql).await;
    let mut session = cluster.session();
    let how = Verify::default();
    // Each reading opens two: to sum up, to narrow, and to look again.
    let verified = cluster
        .during("open@6", session.verify(&how), async |cluster| {
            meanwhile(cluster).await;
            cluster.sync().await;
        })
        .await
        .unwrap();
    assert_eq!((told(&verified.tables[0]), verified.exit_code()), (vec![], 0), "{first}: {verified:#?}");
}

#[tokio::test]
async fn snapshots_that_do_not_fit_together_are_taken_anew() {
    // The second shows neither the change, which was purged, nor does the first show that it has arrived.
    overtaken_between_snapshots("b: UPDATE t SET n = 0 WHERE id = 1", async |_| ()).await;
    // The first shows a change, and the second that a later one has arrived.
    overtaken_between_snapshots("a: UPDATE t SET n = 0 WHERE id = 1", async |cluster| {
        cluster.run(0, "UPDATE t SET n = -1 WHERE id = 1").await;
    })
    .await;
}

/// Users write at every node and an engine carries it, while everything is compared again and again; one difference that
/// stays is found every time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_false_alarm_while_users_write_and_a_sync_runs() {
    let seed = Seed::new("no_false_alarm");
    for kinds in [&[Kind::Postgres, Kind::Postgres][..], &[Kind::Sqlite, Kind::Postgres], &[Kind::Sqlite, Kind::Sqlite]]
    {
        let mut cluster = Cluster::new(kinds, table, "[tables.t]\n").await;
        cluster.run(1, "INSERT INTO t VALUES (5000, 1)").await;
        let history = if kinds[1] == Kind::Sqlite { "history_store_t" } else { "history_store.t" };
        cluster.nodes[1].database.user_as(As::Sync).await.execute(&format!("DELETE FROM {history}")).await;
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for at in 0..2 {
            let mut user = cluster.nodes[at].database.user().await;
            let (stop, mut rng) = (stop.clone(), seed.rng(at as u64));
            tasks.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let id = 1 + rng.below(400);
                    let sql = match rng.below(4) {
                        0 => format!("DELETE FROM t WHERE id = {id}"),
                        1 => format!("INSERT INTO t VALUES ({id}, {}) ON CONFLICT (id) DO NOTHING", rng.below(1000)),
                        _ => format!("UPDATE t SET n = {} WHERE id BETWEEN {id} AND {id} + 3", rng.below(1000)),
                    };
                    // Whoever finds the file locked tries again.
                    let _ = user.try_execute(&sql).await;
                    tokio::task::yield_now().await;
                }
            }));
        }
        let mut engine = cluster.session();
        let (running, ending) = (Arc::new(AtomicBool::new(false)), stop.clone());
        let started = running.clone();
        tasks.push(tokio::spawn(async move {
            while !ending.load(Ordering::Relaxed) {
                Box::pin(engine.cycle()).await.unwrap();
                started.store(true, Ordering::Relaxed);
            }
        }));
        concord_tests::wait_until("the first cycle", concord_tests::PATIENCE, async || {
            running.load(Ordering::Relaxed).then_some(())
        })
        .await;
        let (mut moving, mut alarms) = (0, Vec::new());
        for _ in 0..6 {
            let verified = verify(&cluster, Verify::default()).await;
            moving += verified.tables[0].on_their_way;
            if told(&verified.tables[0]) != ["[5000] missing a"] {
                alarms.push(format!("{verified:#?}"));
            }
        }
        stop.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.unwrap();
        }
        assert!(alarms.is_empty(), "{kinds:?}: {} of 6, such as {}", alarms.len(), alarms[0]);
        // Otherwise nothing was tested.
        assert!(moving > 0, "{kinds:?}: nothing was on its way");
    }
}
