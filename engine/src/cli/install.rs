//! `concord install`: prepares the databases.

use clap::Args;

use super::Output;

#[derive(Clone, Debug, Args)]
#[command(
    about = "Create service tables and triggers on every node",
    long_about = "Create or repair service tables and triggers on every node. What is in place stays as it is; an install that was interrupted goes on when it is run again.",
    after_long_help = "Example:\n  concord install"
)]
pub struct Install {
    #[command(flatten)]
    pub output: Output,
}
