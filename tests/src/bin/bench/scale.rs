//! A sync takes as long as its changes, not as long as its tables.

use concord_tests::{As, Database};

use super::Run;
use super::place::{self, Nodes};
use super::raw;
use super::report::Target;

const SCALE: &str = "sync: few changes, large table by small table";
/// Rows that lie far apart take a database longer whoever writes them.
const RAW: &str = "raw write: few rows, large table by small table";

pub async fn run(run: &mut Run) {
    if !run.wants(SCALE) {
        return;
    }
    let server = run.server().await;
    let sizes = [run.sizes.large, run.sizes.small];
    let nodes = [Nodes::postgres(&server, 2, sizes[0]).await, Nodes::postgres(&server, 2, sizes[1]).await];
    let bare = [Database::on(&server).await, Database::on(&server).await];
    for (database, rows) in bare.iter().zip(sizes) {
        place::create(database, "accounts", rows).await;
    }
    let mut users = [nodes[0].databases[0].user().await, nodes[1].databases[0].user().await];
    let (mut syncs, mut writes) = (Vec::new(), Vec::new());
    for round in 0..=run.rounds {
        let mut took = [[0.0; 2]; 2];
        for turn in 0..2 {
            let which = (turn + round) % 2;
            let step = sizes[which] / run.sizes.few;
            let condition = format!("id % {step} = {}", round as i64 % step);
            users[which].execute(&place::change("accounts", round, &condition)).await;
            let rows = raw::read(&mut users[which], &condition).await;
            nodes[which].settle().await;
            took[0][which] = nodes[which].sync().await.0;
            place::settle(&bare[which]).await;
            took[1][which] = raw::write(&mut bare[which].user_as(As::Sync).await, &rows, &[]).await;
        }
        if round > 0 {
            syncs.push(took[0].into());
            writes.push(took[1].into());
        }
    }
    nodes[0].agree().await;
    run.report.ratio(SCALE, Target::AtMost(1.5), "s", syncs);
    run.report.ratio(RAW, Target::None, "s", writes);
}
