//! `concord reset`: starts the histories anew.

use clap::Args;

use super::install;
use super::report::{counted, json};
use super::{Global, Output, agreed, block_on, load};
use crate::error::{ATTENTION, DONE, Result};
use crate::sync::Session;

#[derive(Clone, Debug, Args)]
#[command(
    about = "Clear the histories and re-create the triggers",
    long_about = "Clear all histories, positions and waiting rows, and create the triggers anew: the explicit step after a clock was changed. Changes that were not synced yet are no longer carried, so sync first, and load afterwards. A node that was left out stays out until a load of all tables has ended. The journal is kept.",
    after_long_help = "Example:\n  concord sync && concord reset --yes"
)]
pub struct Reset {
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub output: Output,
}

pub fn run(global: &Global, reset: &Reset) -> Result<u8> {
    let config = load(global)?;
    if !reset.yes {
        let what = format!(
            "Histories, positions and waiting rows of all nodes are cleared. {}",
            block_on(left(&mut Session::new(config.clone())))?
        );
        if !agreed(&what, false)? {
            return Ok(ATTENTION);
        }
    }
    let (nodes, warnings) = block_on(async { Session::new(config).reset().await })?;
    if reset.output.json {
        json(&install::Installed { nodes: &nodes, warnings: &warnings })?;
    } else {
        install::print(&nodes, "nothing to reset")?;
        install::warn(&warnings, global.quiet);
    }
    Ok(DONE)
}

/// What would be given up: changes that were not carried yet. Also for `uninstall`.
pub(super) async fn left(session: &mut Session) -> Result<String> {
    // What cannot be looked at, such as a table that stands still, is no reason not to clear it.
    let status = match session.status().await {
        Ok(status) if status.away.is_empty() => status,
        _ => {
            let unknown = "What was not synced yet is no longer carried; how much that is could not be found out.";
            return Ok(unknown.to_owned());
        }
    };
    let pending: u64 = status.tables.iter().map(|line| line.pending).sum();
    let parked: u64 = status.tables.iter().map(|line| line.parked).sum();
    Ok(match (pending, parked) {
        (0, 0) if status.stopped.is_empty() => "Everything is synced: nothing is lost.".to_owned(),
        _ => format!(
            "{} not carried yet and {} no longer carried: `concord sync` first carries what can be.",
            counted(pending, "change", "changes"),
            counted(parked, "waiting row is", "waiting rows are")
        ),
    })
}
