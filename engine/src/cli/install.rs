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

/// What `install --json` and `reset --json` tell.
#[derive(Serialize)]
pub(super) struct Installed<'a> {
    pub nodes: &'a [NodeLines],
    pub warnings: &'a [String],
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
        warn(&warnings, global.quiet);
    }
    Ok(DONE)
}

/// What commands that change nodes tell with `--json`.
#[derive(Serialize)]
pub(super) struct Done<'a> {
    pub nodes: &'a [NodeLines],
}

pub(super) fn warn(warnings: &[String], quiet: bool) {
    warnings.iter().for_each(|warning| remark(quiet, &format!("warning: {warning}")));
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
