//! `concord plugin replay`: what a plugin would have made of the conflicts of the past.

use std::path::PathBuf;

use clap::Args;

use super::conflicts::{code, known};
use super::plugin::name_of;
use super::report::{counted, cut, instant, json, one_line, say};
use super::sync::left_out;
use super::{Global, Output, with_session};
use crate::error::{ATTENTION, DONE, Result};
use crate::sync::Difference;

#[derive(Clone, Debug, Args)]
#[command(
    about = "Ask a plugin about the conflicts of the past, and show what it would decide otherwise",
    long_about = "Ask the plugin of a table about the conflicts that the journals tell of, and show those that would end otherwise: \
                  after its settings were changed, or for another version of it that is named with --with. Nothing is written. \
                  The table needs a plugin in the configuration also then, whose \
                  settings are gone by. A plugin that decides by what each change did to columns is asked about conflicts that were \
                  decided by that, as far as the journals keep it; others are left out and counted.",
    after_long_help = "Example:\n  concord plugin replay customers\n  concord plugin replay customers --with new/longest.wasm --json\n\n\
                       Exit code 1 tells that something would end otherwise."
)]
pub struct Replay {
    /// The table, as the configuration calls it
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// Ask the plugin in this file, which need not be pinned, with the settings of the table
    #[arg(long, value_name = "FILE")]
    pub with: Option<PathBuf>,
    /// The newest so many conflicts; 0 is all
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub limit: usize,
    #[command(flatten)]
    pub output: Output,
}

pub fn run(global: &Global, args: &Replay) -> Result<u8> {
    let name = args.with.as_deref().map(name_of).transpose()?;
    let replay = with_session(global, async |session| {
        known(&args.table, "table", session.config.tables.iter().map(|table| table.name.as_str()))?;
        let other = name.as_deref().zip(args.with.as_deref());
        session.replay(&args.table, other, args.limit).await
    })?;
    if args.output.json {
        json(&replay)?;
    } else {
        for difference in &replay.differences {
            tell(difference)?;
        }
        let asked = counted(replay.asked as u64, "conflict", "conflicts");
        let differ = match replay.differences.len() {
            0 => "none would end otherwise".to_owned(),
            many => format!("{many} would end otherwise"),
        };
        say(&format!("{} {} was asked about {asked}: {differ}", replay.plugin, replay.version))?;
        if replay.incomplete > 0 {
            let lack = counted(replay.incomplete as u64, "conflict is", "conflicts are");
            say(&format!("{lack} left out, since no journal holds all that it takes"))?;
        }
        left_out(&replay.away, &[]);
    }
    Ok(match code(&replay.away, &[]) {
        DONE if !replay.differences.is_empty() => ATTENTION,
        code => code,
    })
}

fn tell(difference: &Difference) -> Result<()> {
    let Difference { id, key, decided, was, reason, now, parked } = difference;
    let row = |row: &Option<_>| row.as_ref().map_or_else(|| "deleted".to_owned(), serde_json::Value::to_string);
    let now = match parked {
        Some(why) => format!("left to a person: {why}"),
        None => row(now),
    };
    say(&format!("{} {} of {}", cut(id, 24), cut(&key.to_string(), 40), instant(*decided)))?;
    say(&one_line(&format!("  was  {}  ({reason})", row(was))))?;
    say(&format!("{}\n", one_line(&format!("  now  {now}"))))
}
