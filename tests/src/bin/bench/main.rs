//! Measurements of Concord against raw writes on the same machine in the same run: `make bench`.
//!
//! What is measured, and why so, stands in docs/benchmarks.md.

mod asked;
mod capture;
mod carry;
mod files;
mod latency;
mod load;
mod mariadb;
mod memory;
mod mixed;
mod place;
mod plugins;
mod raw;
mod report;
mod scale;
mod verify;

use std::path::PathBuf;

use concord::allocator::{self, Allocator};
use report::Report;

const USAGE: &str = "usage: bench [--only NAME] [--rounds N] [--quick] [--json FILE] [--set NAME=VALUE]

  --only NAME        only the workloads with NAME in their name
  --rounds N         rounds of each workload (default 7)
  --quick            small sizes and one round, to see that everything works; nothing is judged
  --json FILE        where the figures go (default target/bench.json)
  --set NAME=VALUE   a setting for the PostgreSQL server, such as log_min_duration_statement=0";

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    only: Option<String>,
    rounds: usize,
    quick: bool,
    json: PathBuf,
    settings: Vec<(String, String)>,
}

/// How many rows the workloads take.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// In the table.
    pub rows: i64,
    /// Pending changes of the two measurements of memory.
    pub pending: [i64; 2],
    /// In the large and the small table between which few changes are compared.
    pub large: i64,
    pub small: i64,
    pub few: i64,
    /// How long each round of single-row transactions takes, in seconds.
    pub seconds: u32,
    /// How many commits are watched.
    pub commits: usize,
    /// Rows about which plugins are asked by themselves.
    pub asked: usize,
}

impl Sizes {
    const FULL: Sizes = Sizes {
        rows: 100_000,
        pending: [1_000_000, 2_000_000],
        large: 1_000_000,
        small: 10_000,
        few: 1_000,
        seconds: 5,
        commits: 100,
        asked: 10_000,
    };
    const QUICK: Sizes = Sizes {
        rows: 4_000,
        pending: [20_000, 40_000],
        large: 20_000,
        small: 2_000,
        few: 100,
        seconds: 1,
        commits: 10,
        asked: 1_000,
    };
}

/// What every workload gets.
pub struct Run {
    pub sizes: Sizes,
    pub rounds: usize,
    settings: Vec<(String, String)>,
    only: Option<String>,
    pub report: Report,
}

impl Run {
    /// Whether a workload was asked for.
    pub fn wants(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|only| name.contains(only))
    }

    /// The private server, started on first use.
    pub async fn server(&self) -> std::sync::Arc<concord_tests::postgres::Server> {
        place::server(&self.settings).await
    }
}

/// That of the command.
#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() {
    allocator::give_back_soon();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, config] = &arguments[..]
        && [memory::SYNC, memory::VERIFY].contains(&flag.as_str())
    {
        return memory::child(flag, config);
    }
    if let [flag, config] = &arguments[..]
        && flag == load::CHILD
    {
        return load::child(config);
    }
    let options = match parse(&arguments) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}");
            std::process::exit(2);
        }
    };
    place::choose_disk();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let mut run = Run {
        sizes: if options.quick { Sizes::QUICK } else { Sizes::FULL },
        rounds: options.rounds,
        settings: options.settings,
        only: options.only,
        report: Report::new(!options.quick),
    };
    runtime.block_on(async {
        Box::pin(carry::run(&mut run)).await;
        Box::pin(plugins::run(&mut run)).await;
        asked::run(&mut run);
        Box::pin(mixed::run(&mut run)).await;
        Box::pin(mariadb::run(&mut run)).await;
        Box::pin(capture::run(&mut run)).await;
        Box::pin(memory::run(&mut run)).await;
        Box::pin(scale::run(&mut run)).await;
        Box::pin(verify::run(&mut run)).await;
        Box::pin(load::run(&mut run)).await;
        Box::pin(latency::run(&mut run)).await;
    });
    run.report.print();
    if let Err(why) = run.report.write(&options.json) {
        eprintln!("{} cannot be written: {why}", options.json.display());
        std::process::exit(1);
    }
}

fn parse(arguments: &[String]) -> Result<Options, String> {
    let mut options =
        Options { only: None, rounds: 0, quick: false, json: PathBuf::from("target/bench.json"), settings: Vec::new() };
    let mut left = arguments.iter();
    while let Some(argument) = left.next() {
        let mut value = || left.next().ok_or_else(|| format!("{argument} takes a value\n\n{USAGE}"));
        match argument.as_str() {
            "--only" => options.only = Some(value()?.clone()),
            "--rounds" => {
                let rounds = value()?;
                options.rounds = rounds
                    .parse()
                    .ok()
                    .filter(|&rounds| rounds > 0)
                    .ok_or_else(|| format!("--rounds takes a number of at least 1, not `{rounds}`"))?;
            }
            "--quick" => options.quick = true,
            "--json" => options.json = PathBuf::from(value()?),
            "--set" => {
                let setting = value()?;
                let (name, value) =
                    setting.split_once('=').ok_or_else(|| format!("--set takes NAME=VALUE, not `{setting}`"))?;
                options.settings.push((name.to_owned(), value.to_owned()));
            }
            "-h" | "--help" => return Err(USAGE.to_owned()),
            other => return Err(format!("unknown argument `{other}`\n\n{USAGE}")),
        }
    }
    if options.rounds == 0 {
        options.rounds = if options.quick { 1 } else { 7 };
    }
    Ok(options)
}
