//! `concord reset`: starts the histories anew.

use clap::Args;

use super::Output;

#[derive(Clone, Debug, Args)]
#[command(
    about = "Clear the histories and re-create the triggers",
    long_about = "Clear all histories, positions and waiting rows, and create the triggers anew: the explicit step after a clock was changed. Changes that were not synced yet are no longer carried, so sync first. The journal is kept.",
    after_long_help = "Example:\n  concord sync && concord reset --yes"
)]
pub struct Reset {
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub output: Output,
}
