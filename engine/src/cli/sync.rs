//! `concord sync`: carries changes until nothing is left.

use std::path::{Path, PathBuf};

use clap::Args;

use super::report::{Table, count, counted, json, say};
use super::{Global, Output, note, remark, verify, with_session};
use crate::error::Result;
use crate::sync::{Away, Carried, PlanFile, Stopped, Summary, VerifiedTable};

#[derive(Clone, Debug, Args)]
#[command(
    about = "Carry changes until nothing is left, then exit",
    long_about = "Carry changes between all nodes until nothing is left, then exit. Tables with mode = \"compare\" are compared, and what differs is mended. Exits with 1 if rows wait for a person or differ and nothing decides, and with 3 if a node could not be reached, or was held up by locks or lack of room; everything else is synced all the same. What users write meanwhile is carried too, but not for ever: what was there when it began is.",
    after_long_help = "Example:\n  concord sync\n  concord sync --json\n  concord sync --plan tonight.plan"
)]
pub struct Sync {
    /// Do precisely what this file says, which `concord plan --out FILE` wrote. Rows that were changed since are left to the next sync
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    #[command(flatten)]
    pub output: Output,
}

pub fn run(global: &Global, sync: &Sync) -> Result<u8> {
    if let Some(path) = &sync.plan {
        return run_plan(global, sync, path);
    }
    let (summary, unlisted) =
        with_session(global, async |session| session.sync().await.map(|summary| (summary, session.unlisted())))?;
    if sync.output.json {
        json(&summary)?;
    } else {
        print(&summary)?;
    }
    not_in_the_file(global.quiet, &unlisted);
    Ok(summary.exit_code())
}

fn run_plan(global: &Global, sync: &Sync, path: &Path) -> Result<u8> {
    // Broken files are refused before anybody is spoken to.
    let file = PlanFile::read(path)?;
    let done = with_session(global, async |session| session.carry_out(&file).await)?;
    if sync.output.json {
        json(&done)?;
        return Ok(done.exit_code());
    }
    print_nodes(&done.nodes, "nothing was written")?;
    if !done.moved_on.is_empty() {
        let rows = counted(done.moved_on.len() as u64, "row was", "rows were");
        say(&format!("{rows} changed since the plan was made; the next sync decides about them:"))?;
        for row in done.moved_on.iter().take(20) {
            say(&format!("  {} {}, changed at {}", row.table, row.key, row.changed_at.join(", ")))?;
        }
        if done.moved_on.len() > 20 {
            say(&format!("  … {} more (--json tells all)", count(done.moved_on.len() as u64 - 20)))?;
        }
    }
    if done.left > 0 {
        let writes = counted(done.left, "planned write was", "planned writes were");
        say(&format!("{writes} left to the next sync"))?;
    }
    print_held(done.held)?;
    if done.waiting > 0 {
        say(&format!("{} for a person; see: concord parked list", counted(done.waiting, "row waits", "rows wait")))?;
    }
    if done.overtaken {
        note("another engine was faster, so that not everything was carried out; the next sync does the rest");
    }
    left_out(&done.away, &done.stopped);
    if let Some(failed) = &done.failed {
        note(&format!("not everything was carried: {failed}"));
    }
    Ok(done.exit_code())
}

/// What was carried where, and below it what a person has to look at.
fn print(summary: &Summary) -> Result<()> {
    print_carried(summary)?;
    if summary.waiting > 0 {
        say(&format!("{} for a person; see: concord parked list", counted(summary.waiting, "row waits", "rows wait")))?;
    }
    print_held(summary.held)?;
    print_compared(&summary.compared)?;
    not_carried(summary);
    Ok(())
}

/// Who took no part, and what was not carried, on stderr.
pub(super) fn not_carried(summary: &Summary) {
    left_out(&summary.away, &summary.stopped);
    if let Some(failed) = &summary.failed {
        note(&format!("not everything was carried: {failed}"));
    }
}

/// What users kept from being written.
pub(super) fn print_held(held: u64) -> Result<()> {
    match held {
        0 => Ok(()),
        held => say(&format!(
            "{} changed or locked by users just now; a later sync decides about them",
            counted(held, "row was", "rows were")
        )),
    }
}

/// What a person has to know of tables that were compared.
fn print_compared(compared: &[VerifiedTable]) -> Result<()> {
    let remarkable = |table: &&VerifiedTable| table.differs() || table.disputed > 0;
    compared.iter().filter(remarkable).try_for_each(|table| verify::print(table, None))
}

/// What was carried where, and how many conflicts there were.
pub(super) fn print_carried(summary: &Summary) -> Result<()> {
    let compared = summary.compared.iter().all(|table| table.skipped.is_none());
    let left = summary.held > 0 || !summary.away.is_empty() || !summary.stopped.is_empty();
    let whole = compared && summary.failed.is_none() && !left;
    print_nodes(&summary.nodes, if whole { "nothing to carry" } else { "nothing was carried" })?;
    if summary.conflicts > 0 {
        let conflicts = counted(summary.conflicts, "conflict was", "conflicts were");
        say(&format!("{conflicts} decided; see: concord conflicts list"))?;
    }
    Ok(())
}

/// How many rows were written and deleted at each node.
fn print_nodes(carried: &[Carried], none: &str) -> Result<()> {
    let mut nodes = Table::new(&["node", ">written", ">deleted"]);
    for node in carried.iter().filter(|node| node.written + node.deleted > 0) {
        nodes.row([node.node.clone(), count(node.written), count(node.deleted)]);
    }
    if nodes.is_empty() { say(none) } else { nodes.print() }
}

/// Tables that are installed and that the file does not name, on stderr.
pub(super) fn not_in_the_file(quiet: bool, tables: &[String]) {
    if !tables.is_empty() {
        let names: Vec<String> = tables.iter().map(|table| format!("`{table}`")).collect();
        let told = format!(
            "installed and not in this file, so that what is changed there stays where it is: {}; if this file is the older one, take the \
             newer one; otherwise run `concord install`",
            names.join(", ")
        );
        remark(quiet, &told);
    }
}

/// Nodes and tables that took no part, on stderr.
pub(super) fn left_out(away: &[Away], stopped: &[Stopped]) {
    for away in away {
        note(&format!("node `{}` is left out: {}", away.node, away.why));
    }
    for stopped in stopped {
        note(&format!("table `{}` stands still: {}", stopped.table, stopped.why));
    }
}
