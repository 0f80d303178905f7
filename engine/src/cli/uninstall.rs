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
    after_long_help = "Example:\n  concord uninstall --yes\n  concord uninstall --node branch"
)]
pub struct Uninstall {
    /// From this node alone; the others stay as they are, and need not be there. Its database may be a copy of another node's
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub output: Output,
}

pub fn run(global: &Global, uninstall: &Uninstall) -> Result<u8> {
    let config = load(global)?;
    if !uninstall.yes {
        let what = match &uninstall.node {
            None => format!(
                "Triggers, histories, journal and all other service tables of all nodes are removed. {}",
                block_on(reset::left(&mut Session::new(config.clone())))?
            ),
            Some(node) => format!(
                "Triggers, histories, journal and all other service tables of node `{node}` are removed. What was changed there and not \
                 synced yet is no longer carried: `concord sync` first carries what can be."
            ),
        };
        if !agreed(&what, false)? {
            return Ok(ATTENTION);
        }
    }
    let nodes = block_on(async {
        let mut session = Session::new(config);
        match &uninstall.node {
            None => session.uninstall().await,
            Some(node) => session.uninstall_at(node).await,
        }
    })?;
    if uninstall.output.json {
        json(&install::Done { nodes: &nodes })?;
    } else {
        install::print(&nodes, "nothing was installed")?;
    }
    Ok(DONE)
}
