//! `concord install`: prepares the databases.

use clap::Args;
use serde::Serialize;

use super::report::{json, say};
use super::{Global, Output, remark, with_session};
use crate::error::{DONE, Result};
use crate::sync::NodeLines;

#[derive(Clone, Debug, Args)]
#[command(
    about = "Create service tables and triggers on every node",
    long_about = "Create or repair service tables and triggers on every node. What is in place stays as it is; an install that was interrupted goes on when it is run again. Tables with mode = \"compare\" get no triggers, and where every table has it nothing is installed.",
    after_long_help = "Example:\n  concord install"
)]
pub struct Install {
    #[command(flatten)]
    pub output: Output,
}

/// What `install --json` tells.
#[derive(Serialize)]
struct Installed<'a> {
    nodes: &'a [NodeLines],
    warnings: &'a [String],
}

pub fn run(global: &Global, install: &Install) -> Result<u8> {
    let mut installs = true;
    let (nodes, warnings) = with_session(global, async |session| {
        installs = session.config.keeps_histories();
        session.install().await
    })?;
    if install.output.json {
        json(&Installed { nodes: &nodes, warnings: &warnings })?;
    } else {
        print(&nodes, if installs { "already in place" } else { "nothing to install" })?;
        for warning in &warnings {
            remark(global.quiet, &format!("warning: {warning}"));
        }
    }
    Ok(DONE)
}

/// What commands that change nodes tell with `--json`.
#[derive(Serialize)]
pub(super) struct Done<'a> {
    pub nodes: &'a [NodeLines],
}

/// What was done at each node, or `idle` where there was nothing to do.
pub(super) fn print(nodes: &[NodeLines], idle: &str) -> Result<()> {
    for node in nodes {
        if node.done.is_empty() {
            say(&format!("{}: {idle}", node.node))?;
        }
        for line in &node.done {
            say(&format!("{}: {line}", node.node))?;
        }
    }
    Ok(())
}
