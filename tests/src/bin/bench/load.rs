//! The first copy: time of a load by time of the fastest raw copy of the same rows, and the load's memory.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use concord::sync::LoadOptions;
use concord_tests::{As, Database, User};

use super::Run;
use super::files;
use super::place;
use super::report::Target;

const POSTGRES: &str = "load: PostgreSQL to empty PostgreSQL";
const MIXED: &str = "load: SQLite to empty PostgreSQL";
const SQLITE: &str = "load: SQLite to empty SQLite";

/// Under this argument the program is the process that is measured.
pub const CHILD: &str = "--load-once";

/// A load costs so much more than a sync that a few rounds have to do.
const ROUNDS: usize = 3;

/// Runs the load of a file and prints the peak of its own memory in KiB and the seconds that it took.
pub fn child(config: &str) {
    let text = std::fs::read_to_string(config).unwrap_or_else(|why| panic!("{config}: {why}"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let start = Instant::now();
    runtime.block_on(Box::pin(async {
        let mut session = place::session(&text);
        let loaded = session.load(&LoadOptions::default(), &mut |_| ()).await;
        let loaded = loaded.unwrap_or_else(|error| panic!("load: {error}"));
        assert_eq!(loaded.exit_code(), 0, "{loaded:?}");
    }));
    let took = start.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
    println!("{} {took}", peak.unwrap_or("0"));
}

pub async fn run(run: &mut Run) {
    let rows = run.sizes.large;
    if run.wants(POSTGRES) {
        let server = run.server().await;
        let source = Database::on(&server).await;
        place::create(&source, "accounts", rows).await;
        let data = copied_out(&source).await;
        let mut rounds = Rounds::default();
        for round in 0..=run.rounds.min(ROUNDS) {
            let (target, bare) = (Database::on(&server).await, Database::on(&server).await);
            place::create(&target, "accounts", 0).await;
            place::create(&bare, "accounts", 0).await;
            let config = place::config([source.url(), target.url()].into_iter());
            place::install(&config).await;
            let (mut ours, mut theirs) = ((0.0, 0.0), 0.0);
            for turn in 0..2 {
                place::settle(&source).await;
                if turn == round % 2 {
                    ours = load(&config).await;
                } else {
                    theirs = copy_in(&bare, &data).await;
                }
            }
            same(&source, &target).await;
            rounds.add(round, ours, theirs);
            uninstall(&config).await;
        }
        rounds.tell(run, POSTGRES, Target::AtMost(3.0));
    }
    let folder = place::folder();
    let file = folder.path().join("source.db");
    let url = |file: &Path| format!("sqlite:{}", file.display());
    if run.wants(MIXED) || run.wants(SQLITE) {
        files::create(&file, rows);
    }
    if run.wants(MIXED) {
        let server = run.server().await;
        let mut rounds = Rounds::default();
        let mut data = None;
        for round in 0..=run.rounds.min(ROUNDS) {
            let (target, bare) = (Database::on(&server).await, Database::on(&server).await);
            place::create(&target, "accounts", 0).await;
            place::create(&bare, "accounts", 0).await;
            let config = place::config([url(&file), target.url()].into_iter());
            place::install(&config).await;
            // The same rows as PostgreSQL spells them are there after the first load, which does not count.
            let ours = load(&config).await;
            if data.is_none() {
                data = Some(copied_out(&target).await);
            }
            let theirs = copy_in(&bare, data.as_deref().unwrap_or_default()).await;
            same(&bare, &target).await;
            rounds.add(round, ours, theirs);
            uninstall(&config).await;
        }
        rounds.tell(run, MIXED, Target::AtMost(3.0));
    }
    if run.wants(SQLITE) {
        let mut rounds = Rounds::default();
        for round in 0..=run.rounds.min(ROUNDS) {
            let folder = place::folder();
            let (target, bare) = (folder.path().join("target.db"), folder.path().join("bare.db"));
            files::create(&target, 0);
            files::create(&bare, 0);
            let config = place::config([url(&file), url(&target)].into_iter());
            place::install(&config).await;
            let (mut ours, mut theirs) = ((0.0, 0.0), 0.0);
            for turn in 0..2 {
                if turn == round % 2 {
                    ours = load(&config).await;
                } else {
                    theirs = attach(&file, &bare);
                }
            }
            let count = |file: &Path| -> (i64, i64) {
                let sum = "SELECT count(*), sum(id * length(payload)) FROM accounts";
                files::open(file).query_row(sum, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows are counted")
            };
            assert_eq!(count(&file), count(&target));
            rounds.add(round, ours, theirs);
            uninstall(&config).await;
        }
        rounds.tell(run, SQLITE, Target::AtMost(6.0));
    }
}

#[derive(Default)]
struct Rounds {
    seconds: Vec<(f64, f64)>,
    peak: f64,
}

impl Rounds {
    fn add(&mut self, round: usize, (took, peak): (f64, f64), theirs: f64) {
        self.seconds.extend((round > 0).then_some((took, theirs)));
        self.peak = self.peak.max(peak);
    }

    fn tell(self, run: &mut Run, name: &str, target: Target) {
        let detail = format!("the most of {} loads", self.seconds.len() + 1);
        run.report.ratio(name, target, "s", self.seconds);
        run.report.figure(&format!("{name}, memory"), Target::AtMost(200.0), "MiB", self.peak / 1024.0, detail);
    }
}

/// A load in a process of its own: seconds and KiB.
async fn load(config: &str) -> (f64, f64) {
    let folder = place::folder();
    let file = folder.path().join("concord.toml");
    std::fs::write(&file, config).expect("the folder is ours");
    let mut command = Command::new(std::env::current_exe().expect("a process knows its program"));
    command.arg(CHILD).arg(&file);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it runs").expect("it starts");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers: Vec<f64> = told.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    match numbers[..] {
        [peak, took] if output.status.success() => (took, peak),
        _ => panic!("the load failed: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

async fn uninstall(config: &str) {
    place::session(config).uninstall().await.unwrap_or_else(|error| panic!("uninstall: {error}"));
}

/// The rows as `COPY` writes them.
async fn copied_out(database: &Database) -> Vec<u8> {
    use futures::TryStreamExt;
    let mut user = database.user_as(As::Sync).await;
    let User::Postgres(connection) = &mut user else { panic!("this is about PostgreSQL") };
    let stream = connection.copy_out_raw("COPY accounts TO STDOUT").await.expect("rows are copied");
    stream.map_ok(|part| part.to_vec()).try_concat().await.expect("rows are copied")
}

async fn copy_in(database: &Database, data: &[u8]) -> f64 {
    let mut user = database.user_as(As::Sync).await;
    let User::Postgres(connection) = &mut user else { panic!("this is about PostgreSQL") };
    let start = Instant::now();
    let mut copy = connection.copy_in_raw("COPY accounts FROM STDIN").await.expect("a copy begins");
    for part in data.chunks(1 << 20) {
        copy.send(part).await.expect("rows are sent");
    }
    copy.finish().await.expect("rows are copied");
    start.elapsed().as_secs_f64()
}

async fn same(a: &Database, b: &Database) {
    let mut sums = Vec::new();
    for database in [a, b] {
        let sum = "SELECT count(*), sum(hashtextextended(a::text, 0)) FROM accounts a";
        sums.push(database.user_as(As::Admin).await.rows(sum).await);
    }
    assert_eq!(sums[0], sums[1]);
}

fn attach(source: &Path, target: &Path) -> f64 {
    let start = Instant::now();
    let connection = files::open(target);
    connection.execute("ATTACH ?1 AS source", [source.display().to_string()]).expect("a file is attached");
    connection.execute("INSERT INTO main.accounts SELECT * FROM source.accounts", []).expect("rows are copied");
    start.elapsed().as_secs_f64()
}
