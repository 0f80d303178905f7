//! Eight users write at one node and one at each other, as fast as they can, while all are synced: nothing that was acknowledged
//! is lost and nothing counts twice. `CONCORD_SECONDS` makes them write for longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use concord_tests::{Cluster, Kind, Seed};
use tokio::task::JoinHandle;

const ITEMS: &str = "CREATE TABLE items (id integer PRIMARY KEY, name text, amount integer NOT NULL DEFAULT 0);
                     INSERT INTO items VALUES (1, 'one', 10), (2, 'two', 20), (3, 'three', 30)";

const SUM: &str = "[tables.items]\nconflict = { sum = [\"amount\"] }\n";

fn seconds(usual: u64) -> Duration {
    let told = std::env::var("CONCORD_SECONDS");
    Duration::from_secs(told.map_or(usual, |text| text.parse().expect("CONCORD_SECONDS is a number")))
}

/// How many write at the first node; one does at each other.
const MANY: usize = 8;

/// Writers who count what was acknowledged, and remember which rows.
struct Writers {
    tasks: Vec<JoinHandle<Vec<String>>>,
    acknowledged: Arc<AtomicI64>,
    writing: Arc<AtomicBool>,
}

impl Writers {
    async fn start(cluster: &Cluster, usual: u64) -> Writers {
        let end = Instant::now() + seconds(usual);
        let acknowledged = Arc::new(AtomicI64::new(0));
        let mut tasks = Vec::new();
        for writer in 0..10_i64 {
            let at = (usize::try_from(writer).expect("small") + 1).saturating_sub(MANY);
            let mut user = cluster.nodes[at].database.user().await;
            let acknowledged = acknowledged.clone();
            tasks.push(tokio::spawn(async move {
                let (mut round, mut inserted) = (0, Vec::new());
                while Instant::now() < end {
                    round += 1;
                    let id = (round * 7 + writer) % 3 + 1;
                    let new = 1_000_000 * (writer + 1) + round;
                    // Every few rounds two rows at once, or one that was not there before.
                    let (sql, count) = match round % 5 {
                        0 => (format!("INSERT INTO items VALUES ({new}, 'w{writer}', 1)"), 1),
                        1 => (format!("UPDATE items SET amount = amount + 1 WHERE id IN ({id}, {}) ", id % 3 + 1), 2),
                        _ => (format!("UPDATE items SET amount = amount + 1 WHERE id = {id}"), 1),
                    };
                    match user.try_execute(&sql).await {
                        Ok(()) => {
                            acknowledged.fetch_add(count, Ordering::SeqCst);
                            if round % 5 == 0 {
                                inserted.push(format!("{new}|w{writer}|1"));
                            }
                        }
                        // Two writers of two rows each.
                        Err(error) => {
                            let error = error.to_lowercase();
                            assert!(error.contains("deadlock") || error.contains("lock"), "{error}");
                        }
                    }
                }
                inserted
            }));
        }
        Writers { tasks, acknowledged, writing: Arc::new(AtomicBool::new(true)) }
    }

    /// Waits for the end of their time: how much was added, and the rows that each inserted.
    async fn finish(self) -> (i64, Vec<Vec<String>>) {
        let mut inserted = Vec::new();
        for task in self.tasks {
            inserted.push(task.await.expect("a writer"));
        }
        self.writing.store(false, Ordering::SeqCst);
        (self.acknowledged.load(Ordering::SeqCst), inserted)
    }
}

async fn adds_up(cluster: &mut Cluster, acknowledged: i64, inserted: &[Vec<String>]) {
    cluster.settle().await;
    assert!(acknowledged > 140, "{acknowledged} changes prove nothing");
    cluster.holds("SELECT sum(amount) FROM items", &[&(60 + acknowledged).to_string()]).await;
    // Those who write alone at their node, and somebody at the first.
    let (first, others) = inserted.split_at(MANY);
    let all_did = first.iter().any(|rows| !rows.is_empty()) && others.iter().all(|rows| !rows.is_empty());
    assert!(all_did, "too few rows were inserted to prove anything: {inserted:?}");
    for (writer, rows) in inserted.iter().enumerate() {
        let of_writer = format!("SELECT id, name, amount FROM items WHERE name = 'w{writer}' ORDER BY id");
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        cluster.holds(&of_writer, &rows).await;
    }
}

/// One session that syncs on and on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers() {
    let mut cluster = Cluster::new(&[Kind::Postgres, Kind::Postgres, Kind::Sqlite], |_| ITEMS.to_owned(), SUM).await;
    let writers = Writers::start(&cluster, 10).await;
    let (mut session, writing) = (cluster.session(), writers.writing.clone());
    let syncing = tokio::spawn(async move {
        let mut cycles = 0;
        while writing.load(Ordering::SeqCst) {
            cycles += session.sync().await.expect("all are there").cycles;
        }
        cycles
    });
    let (acknowledged, inserted) = writers.finish().await;
    let cycles = syncing.await.expect("the sync");
    assert!(cycles > 1, "{cycles} cycles prove nothing");
    adds_up(&mut cluster, acknowledged, &inserted).await;
}

/// One command after the other, each killed at some moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_on_mariadb_while_syncs_are_killed() {
    let seed = Seed::new("sync_writers::many_writers_on_mariadb_while_syncs_are_killed");
    let mut rng = seed.rng(0);
    let mut cluster = Cluster::new(&[Kind::Mariadb, Kind::Postgres, Kind::Sqlite], |_| ITEMS.to_owned(), SUM).await;
    let concord = cluster.command(SUM);
    let writers = Writers::start(&cluster, 20).await;
    let (mut killed, mut latest) = (0, 1000);
    while writers.tasks.iter().any(|task| !task.is_finished()) {
        let running = concord.start(&["sync"]);
        // The moment is what is random here; nothing is waited for.
        let moment = rng.below(latest);
        tokio::time::sleep(Duration::from_millis(moment)).await;
        match running.kill().await.status.code() {
            None => {
                killed += 1;
                latest = (latest * 9 / 8).min(1_500);
            }
            // It was at its end before: the next is to be killed earlier.
            Some(_) => latest = (latest * 3 / 4).min(moment).max(20),
        }
    }
    let (acknowledged, inserted) = writers.finish().await;
    eprintln!("{acknowledged} changes, {killed} syncs killed");
    assert!(killed >= 10, "{killed} kills prove nothing");
    adds_up(&mut cluster, acknowledged, &inserted).await;
}
