//! What capture costs the users of PostgreSQL.

use std::process::Command;

use concord_tests::As;
use concord_tests::postgres::{self, APP};

use super::Run;
use super::place::{self, Nodes};
use super::report::Target;

const BULK: &str = "capture: a user's bulk UPDATE, server CPU";
const SINGLE: &str = "capture: single-row updates a second";

pub async fn run(run: &mut Run) {
    if run.wants(BULK) {
        let mut rounds = Vec::new();
        for round in 0..=run.rounds {
            let pair = bulk(run, round).await;
            rounds.extend((round > 0).then_some(pair));
        }
        run.report.ratio(BULK, Target::AtMost(1.6), "s", rounds);
    }
    if run.wants(SINGLE) {
        match postgres::program("pgbench") {
            Some(pgbench) => single(run, &pgbench).await,
            None => run.report.skip(SINGLE, "pgbench is not installed beside the server"),
        }
    }
}

/// Fresh tables for every round: what an UPDATE leaves behind makes the next one dearer.
async fn bulk(run: &Run, round: usize) -> (f64, f64) {
    let server = run.server().await;
    let nodes = Nodes::postgres(&server, 2, run.sizes.rows).await;
    let database = &nodes.databases[0];
    place::create(database, "bare", run.sizes.rows).await;
    let mut user = database.user().await;
    let pid = user.cell("SELECT pg_backend_pid()").await;
    let mut used = [0.0, 0.0];
    for turn in 0..2 {
        place::settle(database).await;
        let which = (turn + round) % 2;
        let table = ["accounts", "bare"][which];
        let before = cpu(&pid);
        user.execute(&place::change(table, 1, "id % 2 = 0")).await;
        used[which] = cpu(&pid) - before;
    }
    (used[0], used[1])
}

/// The processor time that a process has taken, in seconds. The scheduler's own account is finer than the ticks of `stat`.
fn cpu(pid: &str) -> f64 {
    let nanoseconds = std::fs::read_to_string(format!("/proc/{pid}/schedstat"))
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok())
        .filter(|&nanoseconds| nanoseconds > 0.0);
    if let Some(nanoseconds) = nanoseconds {
        return nanoseconds / 1e9;
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the server's process is there");
    // The second field is a name in parentheses, which may hold blanks.
    let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("ticks are a number");
    // SAFETY: sysconf takes a number and touches no memory.
    (ticks(11) + ticks(12)) / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64
}

async fn single(run: &mut Run, pgbench: &std::path::Path) {
    let server = run.server().await;
    let nodes = Nodes::postgres(&server, 2, run.sizes.rows).await;
    let database = &nodes.databases[0];
    place::create(database, "bare", run.sizes.rows).await;
    let folder = place::folder();
    let mut rounds = Vec::new();
    for round in 0..=run.rounds {
        let mut rates = [0.0, 0.0];
        for turn in 0..2 {
            place::settle(database).await;
            let which = (turn + round) % 2;
            let table = ["accounts", "bare"][which];
            let script = folder.path().join(table);
            let text = format!(
                "\\set id random(1, {})\nUPDATE {table} SET balance = balance + 0.01, updated_at = now() WHERE id = :id;\n",
                run.sizes.rows
            );
            std::fs::write(&script, text).expect("the folder is ours");
            rates[which] = rate(pgbench, &database.url_as(As::App), &script, run.sizes.seconds).await;
        }
        rounds.extend((round > 0).then_some((rates[0], rates[1])));
        // What was captured is carried, so that the history is as short in every round.
        nodes.sync().await;
    }
    run.report.ratio(SINGLE, Target::AtLeast(0.75), "/s", rounds);
}

/// Transactions in a second, of four clients that do not wait for the disk.
async fn rate(pgbench: &std::path::Path, url: &str, script: &std::path::Path, seconds: u32) -> f64 {
    let mut command = Command::new(pgbench);
    command.args(["-n", "-M", "prepared", "-c", "4", "-j", "2", "-T", &seconds.to_string(), "-f"]).arg(script).arg(url);
    command.env("PGOPTIONS", "-c synchronous_commit=off").env("LC_ALL", "C");
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it runs").expect("pgbench runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    rate.unwrap_or_else(|| panic!("pgbench as {APP}: {said}{}", String::from_utf8_lossy(&output.stderr)))
}
