//! How long a commit takes to be seen at the other node while Concord watches.

use std::time::{Duration, Instant};

use super::Run;
use super::place::{self, Nodes};
use super::report::{Target, median};

const LATENCY: &str = "watch: commit to visible";

pub async fn run(run: &mut Run) {
    if !run.wants(LATENCY) {
        return;
    }
    let server = run.server().await;
    let nodes = Nodes::postgres(&server, 2, run.sizes.rows).await;
    let mut writer = nodes.databases[0].user().await;
    let mut reader = nodes.databases[1].user().await;
    let commits = run.sizes.commits;
    let (done, stop) = tokio::sync::oneshot::channel::<()>();
    let mut session = place::session(nodes.config());
    let watching = session.watch(Duration::from_secs(1), async move { drop(stop.await) }, |_| ());
    let measuring = async move {
        let mut took = Vec::new();
        for number in 0..commits {
            writer.execute(&format!("UPDATE accounts SET name = 'seen {number}' WHERE id = {}", number + 1)).await;
            let start = Instant::now();
            let seen = format!("SELECT name = 'seen {number}' FROM accounts WHERE id = {}", number + 1);
            while reader.cell(&seen).await != "t" {
                tokio::time::sleep(Duration::from_millis(1)).await;
                assert!(start.elapsed() < Duration::from_secs(60), "a change does not arrive");
            }
            took.push(start.elapsed().as_secs_f64() * 1e3);
        }
        drop(done);
        took
    };
    let (watched, took) = tokio::join!(watching, measuring);
    watched.unwrap_or_else(|error| panic!("watch: {error}"));
    let slowest = took.iter().copied().fold(0.0, f64::max);
    let detail = format!("{commits} commits, one after the other; the slowest took {slowest:.0} ms");
    run.report.figure(LATENCY, Target::None, "ms", median(took), detail);
}
