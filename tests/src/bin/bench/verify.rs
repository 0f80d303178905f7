//! A comparison of two nodes takes little longer than reading both.

use std::time::Instant;

use concord::sync::Verify;
use concord_tests::Database;
use futures::TryStreamExt;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::Run;
use super::memory;
use super::place::{self, Nodes};
use super::report::Target;

const EQUAL: &str = "verify: equal rows, by SELECT * on both";
const MEMORY: &str = "memory: verify";

/// Compares once; how many seconds it took.
pub async fn once(config: &str) -> f64 {
    let start = Instant::now();
    let verified =
        place::session(config).verify(&Verify::default()).await.unwrap_or_else(|why| panic!("verify: {why}"));
    assert_eq!(verified.exit_code(), 0, "{verified:?}");
    start.elapsed().as_secs_f64()
}

pub async fn run(run: &mut Run) {
    if !run.wants(EQUAL) && !run.wants(MEMORY) {
        return;
    }
    let server = run.server().await;
    let nodes = Nodes::postgres(&server, 2, run.sizes.large).await;
    if run.wants(EQUAL) {
        let (mut rounds, mut works) = (Vec::new(), Vec::new());
        for round in 0..=run.rounds {
            let (mut took, mut work) = ([0.0; 2], [0.0; 2]);
            for turn in 0..2 {
                let which = (turn + round) % 2;
                let before = place::work(&server).await;
                took[which] = match which {
                    0 => once(nodes.config()).await,
                    _ => select(&nodes).await,
                };
                work[which] = place::work(&server).await - before;
            }
            if round > 0 {
                rounds.push(took.into());
                works.push(work.into());
            }
        }
        run.report.ratio(EQUAL, Target::AtMost(2.0), "s", rounds);
        run.report.work(EQUAL, works);
    }
    if run.wants(MEMORY) {
        memory::measure(run, memory::VERIFY, MEMORY, run.sizes.large, nodes.config()).await;
    }
}

/// Reads both tables at once, row by row, on connections that are open; how many seconds that took.
async fn select(nodes: &Nodes) -> f64 {
    let mut connections = Vec::new();
    for database in &nodes.databases {
        connections.push(connect(database).await);
    }
    let start = Instant::now();
    let reading = connections.into_iter().map(|mut connection| {
        tokio::spawn(async move {
            let mut rows = sqlx::query("SELECT * FROM accounts").fetch(&mut connection);
            let mut count = 0u64;
            while let Some(row) = rows.try_next().await.expect("rows are read") {
                std::hint::black_box(row);
                count += 1;
            }
            drop(rows);
            connection.close().await.expect("the connection closes");
            count
        })
    });
    for count in futures::future::join_all(reading).await {
        assert!(count.expect("reading does not panic") > 0);
    }
    start.elapsed().as_secs_f64()
}

async fn connect(database: &Database) -> PgConnection {
    PgConnection::connect(&database.url()).await.expect("the server answers")
}
