//! `concord sync`: carries changes until nothing is left.

use clap::Args;

use super::Output;

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
