//! `concord parked`: rows that a node could not take.

use clap::{Args, Subcommand};

use super::Output;

#[derive(Clone, Debug, Args)]
#[command(about = "Show, retry or drop rows that a node could not take")]
pub struct Parked {
    #[command(subcommand)]
    pub action: Action,
}

#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    List(List),
    Retry(Retry),
    Drop(Drop),
}

/// Which rows are meant. Everything that is given must hold.
#[derive(Clone, Debug, Default, Args)]
pub struct Choice {
    /// Only rows that wait at this node
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
    /// Only rows of this table
    #[arg(long, value_name = "TABLE")]
    pub table: Option<String>,
    /// Only the row with this key, as `parked list` prints it: a JSON array
    #[arg(long, value_name = "KEY", requires = "table")]
    pub key: Option<String>,
}

#[derive(Clone, Debug, Args)]
#[command(
    about = "List rows that wait, with the reason",
    long_about = "List the rows that wait, where, since when and why. Rows are retried by every sync.",
    after_long_help = "Example:\n  concord parked list --node branch"
)]
pub struct List {
    #[command(flatten)]
    pub choice: Choice,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Clone, Debug, Args)]
#[command(
    about = "Try rows that wait again, now",
    long_about = "Try rows that wait again, now, such as after a constraint was lifted.",
    after_long_help = "Example:\n  concord parked retry --table customers"
)]
pub struct Retry {
    #[command(flatten)]
    pub choice: Choice,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Clone, Debug, Args)]
#[command(
    about = "Give rows that wait up: what stands at the node counts",
    long_about = "Give rows that wait up: what stands at the node counts as the latest version and is carried to \
                  the other nodes.",
    after_long_help = "Example:\n  concord parked drop --node branch --table customers --key '[17]'"
)]
pub struct Drop {
    #[command(flatten)]
    pub choice: Choice,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub output: Output,
}
