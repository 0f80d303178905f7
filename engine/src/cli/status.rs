//! `concord status`: how things stand.

use clap::Args;

use super::Output;

#[derive(Clone, Debug, Args)]
#[command(
    about = "Show what is pending, waiting or stopped at every node",
    long_about = "Show for every node and table what is pending, the lag, conflicts, rows that wait, drift, the clock's offset, and what holds the history back. Nothing is changed.",
    after_long_help = "Example:\n  concord status"
)]
pub struct Status {
    #[command(flatten)]
    pub output: Output,
}
