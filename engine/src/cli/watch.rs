//! `concord watch`: keeps syncing.

use std::time::Duration;

use clap::Args;
use tokio::sync::Notify;

use super::report::{count, counted, say};
use super::stop::Stop;
use super::{Global, block_on, load, note, remark};
use crate::config::duration;
use crate::error::{DONE, Error, Result};
use crate::model::time;
use crate::node::without_holders;
use crate::sync::{Away, Cycle, Session, Stopped};

#[derive(Clone, Debug, Args)]
#[command(
    about = "Keep syncing until stopped",
    long_about = "Sync in a loop until SIGTERM or Ctrl-C, which let the current step finish. Nodes that cannot be \
                  reached are tried again; the others go on without them. So are rows that wait, after pauses that grow \
                  to some minutes, and at once when something changes that they may depend on. Tables with mode = \"compare\" are \
                  compared at the beginning and then every `compare_every` of the file.",
    after_long_help = "Example:\n  concord watch\n  concord watch --every 500ms -v"
)]
pub struct Watch {
    /// How long to rest when nothing is left, such as 500ms, 5s or 1m
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = pause)]
    pub every: Duration,
    /// Report each cycle that did something as one JSON document on a line of its own
    #[arg(long)]
    pub json: bool,
}

/// A span of time that is one.
fn pause(text: &str) -> std::result::Result<Duration, String> {
    match duration::parse(text)? {
        Duration::ZERO => {
            Err("without a pause the databases would be asked without end; write 10ms, for example".to_owned())
        }
        span => Ok(span),
    }
}

pub fn run(global: &Global, watch: &Watch) -> Result<u8> {
    let config = load(global)?;
    block_on(async {
        let mut stop = Stop::listen()?;
        let mut session = Session::new(config);
        let mut teller = Teller { json: watch.json, quiet: global.quiet, ..Teller::default() };
        // Whoever reads the reports may go away: nobody is left to watch for.
        let unheard = Notify::new();
        let mut failed: Option<Error> = None;
        let ending = async {
            tokio::select! {
                () = stop.asked() => {}
                () = unheard.notified() => {}
            }
        };
        let watched = session.watch(watch.every, ending, |cycle| {
            if let Err(error) = teller.tell(cycle) {
                failed = Some(error);
                unheard.notify_one();
            }
        });
        watched.await?;
        failed.map_or(Ok(DONE), Err)
    })
}

/// Tells of cycles that did something, and of nodes and tables when they begin or cease to take part.
#[derive(Default)]
struct Teller {
    json: bool,
    quiet: bool,
    away: Vec<Away>,
    stopped: Vec<Stopped>,
    failed: Option<String>,
    /// By table that is compared: how many rows differ and were left so.
    differing: Vec<(String, u64)>,
    started: bool,
}

impl Teller {
    fn tell(&mut self, cycle: &Cycle) -> Result<()> {
        let away: Vec<Away> = cycle.away.iter().map(steady).collect();
        let changed = self.away != away || self.stopped != cycle.stopped;
        // What fails again and again is told once.
        let failed = cycle.failed.as_deref().map(without_holders);
        let fails = failed.is_some() && self.failed != failed;
        // So are differences that comparisons find and nothing decides.
        let differing = left_of(cycle);
        let differ = !cycle.compared.is_empty() && differing != self.differing;
        if !cycle.compared.is_empty() {
            self.differing = differing;
        }
        let disputed = cycle.compared.iter().any(|table| table.disputed > 0);
        let did = !cycle.carried.is_empty() || cycle.conflicts > 0 || cycle.parked > 0 || fails || differ || disputed;
        if self.json {
            if did || changed {
                let text =
                    serde_json::to_string(cycle).map_err(|why| Error::Internal(format!("writing JSON: {why}")))?;
                say(&text)?;
            }
        } else {
            if !self.started {
                remark(self.quiet, "watching; Ctrl-C ends it");
            }
            self.tell_of_absence(cycle);
            if did {
                say(&line(cycle))?;
            }
        }
        self.started = true;
        self.away = away;
        self.stopped.clone_from(&cycle.stopped);
        self.failed = failed;
        Ok(())
    }

    fn tell_of_absence(&self, cycle: &Cycle) {
        for away in cycle.away.iter().filter(|away| !self.away.contains(&steady(away))) {
            note(&format!("{} node `{}` is left out: {}", clock(), away.node, away.why));
        }
        for before in self.away.iter().filter(|before| cycle.away.iter().all(|away| away.node != before.node)) {
            remark(self.quiet, &format!("{} node `{}` is back", clock(), before.node));
        }
        for stopped in cycle.stopped.iter().filter(|stopped| !self.stopped.contains(stopped)) {
            note(&format!("{} table `{}` stands still: {}", clock(), stopped.table, stopped.why));
        }
        for before in self.stopped.iter().filter(|before| cycle.stopped.iter().all(|now| now.table != before.table)) {
            remark(self.quiet, &format!("{} table `{}` goes on", clock(), before.table));
        }
    }
}

/// Why a node is away without what is another each time.
fn steady(away: &Away) -> Away {
    Away { why: without_holders(&away.why), ..away.clone() }
}

/// `2024-05-31 09:05:00Z`, now.
fn clock() -> String {
    super::report::instant(time::now())
}

/// The compared tables in which rows differ, and how many.
fn left_of(cycle: &Cycle) -> Vec<(String, u64)> {
    let left = cycle.compared.iter().map(|table| (table.table.clone(), table.left_over()));
    left.filter(|(_, rows)| *rows > 0).collect()
}

/// One line: what arrived where, and what else happened.
fn line(cycle: &Cycle) -> String {
    let mut parts: Vec<String> = Vec::new();
    for carried in &cycle.carried {
        let mut what = Vec::new();
        if carried.written > 0 {
            what.push(format!("{} written", count(carried.written)));
        }
        if carried.deleted > 0 {
            what.push(format!("{} deleted", count(carried.deleted)));
        }
        parts.push(format!("{}: {}", carried.node, what.join(", ")));
    }
    if cycle.conflicts > 0 {
        parts.push(counted(cycle.conflicts, "conflict", "conflicts"));
    }
    if cycle.parked > 0 {
        parts.push(counted(cycle.parked, "row began to wait", "rows began to wait"));
    }
    for (table, rows) in left_of(cycle) {
        parts.push(format!("{table}: {}; see: concord verify", counted(rows, "row differs", "rows differ")));
    }
    for table in cycle.compared.iter().filter(|table| table.disputed > 0) {
        let rows = counted(table.disputed, "row was", "rows were");
        parts.push(format!("{}: {rows} equally late elsewhere, and decided by the table's policy", table.table));
    }
    parts.extend(cycle.failed.clone());
    format!("{} {}", clock(), parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{Carried, VerifiedTable};

    #[test]
    fn a_pause_takes_its_time() {
        assert_eq!(pause("20ms"), Ok(Duration::from_millis(20)));
        assert!(pause("0s").is_err() && pause("5").is_err());
    }

    #[test]
    fn a_cycle_is_one_line() {
        let cycle = Cycle {
            carried: vec![Carried { node: "office".into(), written: 1200, deleted: 1 }],
            conflicts: 1,
            parked: 2,
            ..Cycle::default()
        };
        let line = line(&cycle);
        assert!(line.ends_with("Z office: 1,200 written, 1 deleted; 1 conflict; 2 rows began to wait"), "{line}");
    }

    /// No journal tells what lost by the policy of a table that is compared.
    #[test]
    fn what_a_policy_decided_of_a_comparison_is_told() {
        let prices = VerifiedTable {
            table: "prices".into(),
            differences: 2,
            mended: 2,
            disputed: 2,
            ..VerifiedTable::default()
        };
        let cycle = Cycle { compared: vec![prices], ..Cycle::default() };
        let line = line(&cycle);
        assert!(
            line.ends_with("Z prices: 2 rows were equally late elsewhere, and decided by the table's policy"),
            "{line}"
        );
    }
}
