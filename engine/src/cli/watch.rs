//! `concord watch`: keeps syncing.

use std::time::Duration;

use clap::Args;

use crate::config::duration;

#[derive(Clone, Debug, Args)]
#[command(
    about = "Keep syncing until stopped",
    long_about = "Sync in a loop until SIGTERM or Ctrl-C, which let the current step finish. Nodes that cannot be \
                  reached are tried again; the others go on without them.",
    after_long_help = "Example:\n  concord watch\n  concord watch --every 500ms -v"
)]
pub struct Watch {
    /// How long to rest when nothing is left, such as 500ms, 5s or 1m
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration::parse)]
    pub every: Duration,
}
