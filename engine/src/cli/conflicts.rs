//! `concord conflicts`: the journal of what lost and why.

use clap::{Args, Subcommand};

use super::Output;

#[derive(Clone, Debug, Args)]
#[command(about = "Show what lost in conflicts, and why")]
pub struct Conflicts {
    #[command(subcommand)]
    pub action: Action,
}

#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    List(List),
    Show(Show),
}

#[derive(Clone, Debug, Args)]
#[command(
    about = "List conflicts, newest first",
    long_about = "List conflicts, newest first: when and where, the key, who won and why.",
    after_long_help = "Example:\n  concord conflicts list --table customers --limit 10"
)]
pub struct List {
    /// Only those of this table
    #[arg(long, value_name = "TABLE")]
    pub table: Option<String>,
    /// At most so many; 0 is all
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Clone, Debug, Args)]
#[command(
    about = "Show one conflict with the rows of both sides",
    long_about = "Show one conflict with the rows that won and lost, side by side, and why.",
    after_long_help = "Example:\n  concord conflicts show 3f9a"
)]
pub struct Show {
    /// The conflict's id as `conflicts list` prints it, or the beginning of it
    #[arg(value_name = "ID")]
    pub id: String,
    #[command(flatten)]
    pub output: Output,
}
