//! `concord demo`: two small tables, brought into agreement.

use clap::Args;

#[derive(Clone, Debug, Args)]
#[command(
    about = "Show it: two small tables, changed on both sides and brought into agreement",
    long_about = "Create two SQLite files with the same ten rows, change rows 6 and 7 on both sides in different order, sync them, and print both before and after, saying why.",
    after_long_help = "Example:\n  concord demo\n  concord demo --keep two-tables"
)]
pub struct Demo {
    /// Keep the databases and their configuration in this folder
    #[arg(long, value_name = "DIR")]
    pub keep: Option<std::path::PathBuf>,
}
