//! `concord check`: whether everything is in place.

use clap::Args;

use super::Output;

#[derive(Clone, Debug, Args)]
#[command(
    about = "Check configuration, connections, rights, tables and types; change nothing",
    long_about = "Check the configuration, the connections, rights, tables and types of all nodes. Nothing is changed. Missing rights are printed as the statements that grant them.",
    after_long_help = "Example:\n  concord check\n  concord check -c shop/concord.toml --json"
)]
pub struct Check {
    #[command(flatten)]
    pub output: Output,
}
