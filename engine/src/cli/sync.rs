//! `concord sync`: carries changes until nothing is left.

use clap::Args;

use super::report::{Table, count, counted, json, say};
use super::{Global, Output, note, with_session};
use crate::error::Result;
use crate::sync::{Away, Stopped, Summary};

#[derive(Clone, Debug, Args)]
#[command(
    about = "Carry changes until nothing is left, then exit",
    long_about = "Carry changes between all nodes until nothing is left, then exit. Exits with 1 if rows wait for a person, and with 3 if a node could not be reached; the other nodes are synced all the same.",
    after_long_help = "Example:\n  concord sync\n  concord sync --json"
)]
pub struct Sync {
    #[command(flatten)]
    pub output: Output,
}

pub fn run(global: &Global, sync: &Sync) -> Result<u8> {
    let summary = with_session(global, async |session| session.sync().await)?;
    if sync.output.json {
        json(&summary)?;
    } else {
        print(&summary)?;
    }
    Ok(summary.exit_code())
}

/// What was carried where, and below it what a person has to look at.
fn print(summary: &Summary) -> Result<()> {
    print_carried(summary)?;
    if summary.waiting > 0 {
        say(&format!("{} for a person; see: concord parked list", counted(summary.waiting, "row waits", "rows wait")))?;
    }
    if summary.held > 0 {
        say(&format!(
            "{} locked by a user; a later sync brings them up to date",
            counted(summary.held, "row is", "rows are")
        ))?;
    }
    left_out(&summary.away, &summary.stopped);
    if let Some(failed) = &summary.failed {
        note(&format!("not everything was carried: {failed}"));
    }
    Ok(())
}

/// What was carried where, and how many conflicts there were.
pub(super) fn print_carried(summary: &Summary) -> Result<()> {
    let mut nodes = Table::new(&["node", ">written", ">deleted"]);
    for node in summary.nodes.iter().filter(|node| node.written + node.deleted > 0) {
        nodes.row([node.node.clone(), count(node.written), count(node.deleted)]);
    }
    if nodes.is_empty() {
        say("nothing to carry")?;
    } else {
        nodes.print()?;
    }
    if summary.conflicts > 0 {
        let conflicts = counted(summary.conflicts, "conflict was", "conflicts were");
        say(&format!("{conflicts} decided; see: concord conflicts list"))?;
    }
    Ok(())
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
