//! `concord uninstall`: removes every trace.

use clap::Args;

use super::Output;

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
