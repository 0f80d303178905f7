//! `concord watch`: keeps syncing.

use std::time::Duration;

use clap::Args;
use tokio::sync::Notify;

use super::report::{count, counted, say, verbatim};
use super::stop::Stop;
use super::{Global, block_on, load, note, remark};
use crate::config::duration;
use crate::error::{DONE, Error, Result};
use crate::model::time;
use crate::node::without_holders;
use crate::sync::{Away, Cycle, Session, Stopped, VerifiedTable, without_seconds};

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
    /// By table that is compared: why it was not, the last time.
    skipped: Vec<(String, String)>,
    /// Who missed tables that are compared, the last time.
    missed: Vec<Away>,
    started: bool,
}

/// What is told, and where.
#[derive(Debug)]
enum Told {
    Document(String),
    Line(String),
    /// What keeps something from being done.
    Note(String),
    /// What is no error.
    Remark(String),
}

impl Teller {
    fn tell(&mut self, cycle: &Cycle) -> Result<()> {
        for told in self.hear(cycle)? {
            match told {
                Told::Document(text) => verbatim(&text)?,
                Told::Line(text) => say(&text)?,
                Told::Note(text) => note(&text),
                Told::Remark(text) => remark(self.quiet, &text),
            }
        }
        Ok(())
    }

    /// What there is to tell of a cycle, which is known from then on.
    fn hear(&mut self, cycle: &Cycle) -> Result<Vec<Told>> {
        // Cycles that compare nothing tell nothing of what the last comparison found.
        let compares = !cycle.compared.is_empty();
        let away: Vec<Away> = cycle.away.iter().map(steady).collect();
        // What fails again and again is told once.
        let failed = cycle.failed.as_deref().map(without_holders);
        let fails = failed.is_some() && self.failed != failed;
        // So are differences that comparisons find and nothing decides.
        let differing = left_of(cycle);
        let differ = compares && differing != self.differing;
        // And why a table cannot be compared, or not at a node.
        let skipped: Vec<_> = skipped_of(cycle).map(|(table, why)| (table.to_owned(), without_holders(why))).collect();
        let skips = skipped.iter().any(|one| !self.skipped.contains(one));
        let missed: Vec<Away> = missed_of(cycle).map(steady).collect();
        let found_changed = compares && (skipped != self.skipped || missed != self.missed);
        let changed = self.away != away || self.stopped != cycle.stopped || found_changed;
        let disputed = cycle.compared.iter().any(|table| table.disputed > 0);
        let news = fails || differ || skips || disputed;
        let did = !cycle.carried.is_empty() || cycle.conflicts > 0 || cycle.parked > 0 || news;
        let mut told = Vec::new();
        if self.json {
            if did || changed {
                let text =
                    serde_json::to_string(cycle).map_err(|why| Error::Internal(format!("writing JSON: {why}")))?;
                told.push(Told::Document(text));
            }
        } else {
            if !self.started {
                told.push(Told::Remark("watching; Ctrl-C ends it".to_owned()));
            }
            told.extend(self.absences(cycle));
            if did {
                told.extend(self.line(cycle, fails, differ).map(Told::Line));
            }
        }
        self.started = true;
        (self.away, self.failed) = (away, failed);
        self.stopped.clone_from(&cycle.stopped);
        if compares {
            (self.differing, self.skipped, self.missed) = (differing, skipped, missed);
        }
        Ok(told)
    }

    /// One line: what arrived where, and what else happened that is new; `fails` and `differ` tell whether these are.
    fn line(&self, cycle: &Cycle, fails: bool, differ: bool) -> Option<String> {
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
        if differ {
            for (table, rows) in left_of(cycle) {
                parts.push(format!("{table}: {}; see: concord verify", counted(rows, "row differs", "rows differ")));
            }
            let is_alike = |table: &&VerifiedTable| table.left_over() == 0 && table.skipped.is_none();
            for table in cycle.compared.iter().filter(is_alike) {
                if self.differing.iter().any(|(before, _)| *before == table.table) {
                    parts.push(format!("{}: no row differs any more", table.table));
                }
            }
        }
        for table in cycle.compared.iter().filter(|table| table.disputed > 0) {
            let rows = counted(table.disputed, "row was", "rows were");
            parts.push(format!("{}: {rows} equally late elsewhere, and decided by the table's policy", table.table));
        }
        for (table, why) in skipped_of(cycle) {
            if !self.skipped.contains(&(table.to_owned(), without_holders(why))) {
                parts.push(format!("{table}: not compared: {why}"));
            }
        }
        parts.extend(cycle.failed.clone().filter(|_| fails));
        (!parts.is_empty()).then(|| format!("{} {}", clock(), parts.join("; ")))
    }

    /// Who and what begins or ceases to take part.
    fn absences(&self, cycle: &Cycle) -> Vec<Told> {
        let mut told = Vec::new();
        for away in cycle.away.iter().filter(|away| !self.away.contains(&steady(away))) {
            told.push(Told::Note(format!("{} node `{}` is left out: {}", clock(), away.node, away.why)));
        }
        for before in self.away.iter().filter(|before| cycle.away.iter().all(|away| away.node != before.node)) {
            told.push(Told::Remark(format!("{} node `{}` is back", clock(), before.node)));
        }
        for missed in missed_of(cycle).filter(|missed| !self.missed.contains(&steady(missed))) {
            told.push(Told::Note(format!("{} node `{}` missed a comparison: {}", clock(), missed.node, missed.why)));
        }
        for stopped in cycle.stopped.iter().filter(|stopped| !self.stopped.contains(stopped)) {
            told.push(Told::Note(format!("{} table `{}` stands still: {}", clock(), stopped.table, stopped.why)));
        }
        for before in self.stopped.iter().filter(|before| cycle.stopped.iter().all(|now| now.table != before.table)) {
            told.push(Told::Remark(format!("{} table `{}` goes on", clock(), before.table)));
        }
        told
    }
}

/// Why a node is away without what is another each time.
fn steady(away: &Away) -> Away {
    Away { why: without_seconds(&without_holders(&away.why)), ..away.clone() }
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

/// The compared tables that were not compared, or not to their end, and why; but for those that stand still for it, of which is told
/// besides. What was written by then is told as what was carried.
fn skipped_of(cycle: &Cycle) -> impl Iterator<Item = (&str, &str)> {
    let skipped = cycle.compared.iter().filter_map(|table| Some((table.table.as_str(), table.why_skipped()?)));
    skipped
        .filter(move |(table, why)| !cycle.stopped.iter().any(|stopped| stopped.table == *table && stopped.why == *why))
}

/// Nodes that missed the comparison of a table; they take part in everything else.
fn missed_of(cycle: &Cycle) -> impl Iterator<Item = &Away> {
    cycle.compared.iter().flat_map(|table| &table.missed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{Carried, Verified};

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
        let line = Teller::default().line(&cycle, true, true).unwrap();
        assert!(line.ends_with("Z office: 1,200 written, 1 deleted; 1 conflict; 2 rows began to wait"), "{line}");
    }

    /// A cycle that compared `t`, which was not compared to its end for this reason.
    fn comparing(why: Option<&str>) -> Cycle {
        let skipped = why.map(str::to_owned);
        let t = VerifiedTable { table: "t".into(), skipped, ..VerifiedTable::default() };
        Cycle { compared: vec![t], ..Cycle::default() }
    }

    #[test]
    fn why_a_table_was_not_compared_is_told() {
        let failed = comparing(Some("permission denied"));
        let told = Teller::default().line(&failed, true, true).unwrap();
        assert!(told.ends_with("Z t: not compared: permission denied"), "{told}");
        // Of a table that stands still is told already.
        let stopped = Stopped { table: "t".into(), why: "permission denied".into() };
        assert_eq!(skipped_of(&Cycle { stopped: vec![stopped], ..failed }).count(), 0);
    }

    /// What a person reads of cycles that come one after the other, without the time.
    fn heard<const N: usize>(cycles: [&Cycle; N]) -> [Vec<String>; N] {
        let mut teller = Teller { started: true, ..Teller::default() };
        cycles.map(|cycle| {
            let told = teller.hear(cycle).expect("nothing is written").into_iter().map(|told| match told {
                Told::Document(text) | Told::Line(text) | Told::Note(text) | Told::Remark(text) => text,
            });
            told.map(|text| text.split_once("Z ").map_or_else(|| text.clone(), |(_, rest)| rest.to_owned())).collect()
        })
    }

    /// Whoever tells has it in mind until the next comparison, whatever cycles there are in between.
    #[test]
    fn why_a_table_is_not_compared_is_told_once() {
        let (between, failed) = (Cycle::default(), comparing(Some("permission denied")));
        let [first, no, again, none, well, anew] =
            heard([&failed, &between, &failed, &between, &comparing(None), &failed]);
        assert_eq!(first, ["t: not compared: permission denied"]);
        assert!([no, again, none, well].iter().all(Vec::is_empty));
        assert_eq!(anew, first);
    }

    /// What the first comparison wrote before it failed does not make the reason of the next another one.
    #[test]
    fn what_was_written_before_is_none_of_why_a_table_is_not_compared() {
        let wrote = comparing(Some("permission denied; before that, rows were mended: 1 written and 0 deleted at a"));
        let carried = vec![Carried { node: "a".into(), written: 1, deleted: 0 }];
        let wrote = Cycle { carried, ..wrote };
        let [first, again, more] = heard([&wrote, &comparing(Some("permission denied")), &wrote]);
        assert_eq!(first, ["a: 1 written; t: not compared: permission denied"]);
        assert!(again.is_empty(), "{again:?}");
        assert_eq!(more, ["a: 1 written"]);
    }

    #[test]
    fn rows_that_differ_are_told_until_they_are_alike() {
        let found = |differences: u64, written: u64| {
            let t = VerifiedTable { table: "t".into(), differences, ..VerifiedTable::default() };
            let carried = vec![Carried { node: "a".into(), written, deleted: 0 }];
            let carried = carried.into_iter().filter(|carried| carried.written > 0).collect();
            Cycle { compared: vec![t], carried, ..Cycle::default() }
        };
        let [first, wrote, over, none] = heard([&found(2, 0), &found(2, 1), &found(0, 0), &found(0, 0)]);
        assert_eq!(first, ["t: 2 rows differ; see: concord verify"]);
        assert_eq!(wrote, ["a: 1 written"]);
        assert_eq!(over, ["t: no row differs any more"]);
        assert!(none.is_empty(), "{none:?}");
    }

    /// GIVEN tables with histories, and one that is compared and which a node may not read
    /// WHEN a watch compares it, and carries changes in between
    /// THEN that the node missed it is told once, and it is neither left out nor back.
    #[test]
    fn who_misses_a_comparison_is_there_for_the_rest() {
        let missed = |why: &str| Away { node: "b".into(), why: format!("table `t`: {why}"), unreachable: false };
        let away = Away { node: "c".into(), why: "gone".into(), unreachable: true };
        let compared = |why: &str| {
            let t = VerifiedTable { table: "t".into(), missed: vec![missed(why)], ..VerifiedTable::default() };
            let found = Verified { tables: vec![t], away: vec![missed(why), away.clone()], stopped: Vec::new() };
            let mut cycle = Cycle::default();
            cycle.take(found);
            assert_eq!(cycle.away, std::slice::from_ref(&away));
            cycle
        };
        let carrying = Cycle { away: vec![away.clone()], ..Cycle::default() };
        let cycles = [&compared("may not"), &carrying, &compared("may not"), &carrying, &compared("locked"), &carrying];
        let [first, no, again, none, other, last] = heard(cycles);
        assert_eq!(first, ["node `c` is left out: gone", "node `b` missed a comparison: table `t`: may not"]);
        assert!([no, again, none, last].iter().all(Vec::is_empty));
        assert_eq!(other, ["node `b` missed a comparison: table `t`: locked"]);
    }

    /// It is measured anew in each cycle, and each time another.
    #[test]
    fn a_clock_that_is_off_is_told_once() {
        let off = |seconds: &str| {
            let why = format!("its clock is off by {seconds} s, more than max_skew");
            Cycle { away: vec![Away { node: "a".into(), why, unreachable: false }], ..Cycle::default() }
        };
        let [first, again, back] = heard([&off("12.3"), &off("12.4"), &Cycle::default()]);
        assert_eq!(first, ["node `a` is left out: its clock is off by 12.3 s, more than max_skew"]);
        assert!(again.is_empty(), "{again:?}");
        assert_eq!(back, ["node `a` is back"]);
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
        let line = Teller::default().line(&cycle, true, true).unwrap();
        assert!(
            line.ends_with("Z prices: 2 rows were equally late elsewhere, and decided by the table's policy"),
            "{line}"
        );
    }
}
