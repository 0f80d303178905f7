//! A sync takes as long as its changes, not as long as its tables.

use super::Run;
use super::place::{self, Nodes};
use super::report::Target;

const SCALE: &str = "sync: few changes, large table by small table";

pub async fn run(run: &mut Run) {
    if !run.wants(SCALE) {
        return;
    }
    let server = run.server().await;
    let sizes = run.sizes;
    let nodes = [Nodes::postgres(&server, 2, sizes.large).await, Nodes::postgres(&server, 2, sizes.small).await];
    let mut users = [nodes[0].databases[0].user().await, nodes[1].databases[0].user().await];
    let mut rounds = Vec::new();
    for round in 0..=run.rounds {
        let mut took = [0.0, 0.0];
        for turn in 0..2 {
            let which = (turn + round) % 2;
            let step = [sizes.large, sizes.small][which] / sizes.few;
            let condition = format!("id % {step} = {}", round as i64 % step);
            users[which].execute(&place::change("accounts", round, &condition)).await;
            nodes[which].settle().await;
            took[which] = nodes[which].sync().await.0;
        }
        rounds.extend((round > 0).then_some((took[0], took[1])));
    }
    nodes[0].agree().await;
    run.report.ratio(SCALE, Target::AtMost(1.5), "s", rounds);
}
