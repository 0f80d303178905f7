//! `concord uninstall`: removes every trace.

use clap::Args;

use super::report::json;
use super::{Global, Output, agreed, block_on, install, load, reset};
use crate::error::{ATTENTION, DONE, Result};
use crate::sync::Session;

#[derive(Clone, Debug, Args)]
#[command(
    about = "Remove every trace of Concord from every node",
    long_about = "Remove triggers, histories, journal and all other service tables from every node. The tables themselves and their rows are not touched. Changes that were not synced yet are no longer carried.",
    after_long_help = "Example:\n  concord uninstall --yes"
)]
pub struct Uninstall {
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub output: Output,
}

pub fn run(global: &Global, uninstall: &Uninstall) -> Result<u8> {
    let config = load(global)?;
    if !uninstall.yes {
        let what = format!(
            "Triggers, histories, journal and all other service tables of all nodes are removed. {}",
            block_on(reset::left(&mut Session::new(config.clone())))?
        );
        if !agreed(&what, false)? {
            return Ok(ATTENTION);
        }
    }
    let nodes = block_on(async { Session::new(config).uninstall().await })?;
    if uninstall.output.json {
        json(&install::Done { nodes: &nodes })?;
    } else {
        install::print(&nodes, "nothing was installed")?;
    }
    Ok(DONE)
}
