//! The most memory that a sync takes, measured in a process that does nothing else.

use std::process::Command;

use concord_tests::Database;

use super::Run;
use super::files;
use super::place::{self, Nodes};
use super::report::Target;
use super::verify;

const POSTGRES: &str = "memory: pending changes, PostgreSQL to PostgreSQL";
const SQLITE: &str = "memory: pending changes, SQLite to PostgreSQL";

/// Under these arguments the program is the process that is measured: it syncs, or compares.
pub const SYNC: &str = "--sync-once";
pub const VERIFY: &str = "--verify-once";

/// Does what a flag says with the sync of a file, and prints the peak of its own memory in KiB.
pub fn child(flag: &str, config: &str) {
    let text = std::fs::read_to_string(config).unwrap_or_else(|why| panic!("{config}: {why}"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    match flag {
        SYNC => drop(runtime.block_on(Box::pin(place::sync(&text)))),
        _ => drop(runtime.block_on(Box::pin(verify::once(&text)))),
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
    println!("{}", peak.unwrap_or("0"));
}

pub async fn run(run: &mut Run) {
    if run.wants(POSTGRES) {
        let server = run.server().await;
        let nodes = Nodes::postgres(&server, 2, 0).await;
        let mut user = nodes.databases[0].user().await;
        let mut first = 1;
        for pending in run.sizes.pending {
            // One transaction: the hardest case, because batches are divided between transactions where that is possible.
            place::insert(&mut user, "accounts", first, first + pending - 1).await;
            first += pending;
            nodes.settle().await;
            measure(run, SYNC, POSTGRES, pending, nodes.config()).await;
            nodes.agree().await;
        }
    }
    if run.wants(SQLITE) {
        let server = run.server().await;
        let folder = place::folder();
        let file = folder.path().join("a.db");
        let database = Database::on(&server).await;
        place::create(&database, "accounts", 0).await;
        files::create(&file, 0);
        let source = files::open(&file);
        let config = place::config([format!("sqlite:{}", file.display()), database.url()].into_iter());
        place::install(&config).await;
        let mut first = 1;
        for pending in run.sizes.pending {
            source.execute_batch(&files::insert(first, first + pending - 1)).expect("rows are inserted");
            first += pending;
            measure(run, SYNC, SQLITE, pending, &config).await;
            verify::once(&config).await;
        }
    }
}

/// Measures a process that does what a flag says with so many rows.
pub async fn measure(run: &mut Run, flag: &str, name: &str, rows: i64, config: &str) {
    let folder = place::folder();
    let file = folder.path().join("concord.toml");
    std::fs::write(&file, config).expect("the folder is ours");
    let mut command = Command::new(std::env::current_exe().expect("a process knows its program"));
    command.arg(flag).arg(&file);
    let start = std::time::Instant::now();
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it runs").expect("it starts");
    let took = start.elapsed().as_secs_f64();
    let peak: Option<f64> = String::from_utf8_lossy(&output.stdout).trim().parse().ok();
    let Some(peak) = peak.filter(|_| output.status.success()) else {
        panic!("{flag} failed: {}", String::from_utf8_lossy(&output.stderr));
    };
    let detail = format!("{rows} rows in {took:.1} s");
    run.report.figure(&format!("{name} ({rows})"), Target::AtMost(200.0), "MiB", peak / 1024.0, detail);
}
