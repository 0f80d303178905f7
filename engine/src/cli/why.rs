//! `concord why`: where a row's present value comes from, and where it stands.

use clap::Args;
use serde_json::Value as Document;

use super::conflicts::known;
use super::report::{Table, cell, cut, instant, json, one_line, say};
use super::sync::left_out;
use super::{Global, Output, with_session};
use crate::error::Result;
use crate::sync::{KnownFrom, Why as Told, WhyNode, WhyState, WhyVersion};

#[derive(Clone, Debug, Args)]
#[command(
    about = "Tell where a row's present value comes from, and where it stands",
    long_about = "Tell who wrote a row's present value and when, what lost against it and by which rule, and for every node whether it has it, is still to get it, or could not take it, and why. What everybody has had is purged from the histories; then the journal tells what it knows, or else since when at the latest the row is what it is.\n\nThe key is a value, `column=value` for each column of a key of several, or a JSON array as reports show it.",
    after_long_help = "Example:\n  concord why customers 17\n  concord why lines order=A17 line=3\n  concord why lines '[\"A17\", 3]'"
)]
pub struct Why {
    /// The table's shared name
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// The row's key
    #[arg(value_name = "KEY", required = true, allow_negative_numbers = true)]
    pub key: Vec<String>,
    #[command(flatten)]
    pub output: Output,
}

pub fn run(global: &Global, why: &Why) -> Result<u8> {
    let told = with_session(global, async |session| {
        known(&why.table, "table", session.config.tables.iter().map(|table| table.name.as_str()))?;
        session.why(&why.table, &why.key).await
    })?;
    if why.output.json {
        json(&told)?;
    } else {
        print(&told)?;
    }
    Ok(told.exit_code())
}

fn print(why: &Told) -> Result<()> {
    say(&format!("{} {}: {}", why.table, why.key, origin(why)))?;
    let in_the_way = || why.nodes.iter().filter_map(|node| Some((&node.node, node.in_the_way.as_ref()?)));
    if why.versions.len() > 1 || in_the_way().next().is_some() {
        for version in &why.versions {
            say(&one_line(&format!("  {}: {}", written(version), row(version.row.as_ref()))))?;
        }
    }
    say("")?;
    let mut nodes = Table::new(&["node", "state", "row", "why"]);
    for node in &why.nodes {
        let reason = cut(&node.reason.clone().unwrap_or_default(), 300);
        nodes.row([node.node.clone(), state(node), cut(&row(node.row.as_ref()), 80), reason]);
    }
    for away in &why.away {
        nodes.row([away.node.clone(), "not asked".to_owned()]);
    }
    nodes.print()?;
    for (node, other) in in_the_way() {
        say(&one_line(&format!("in its way at {node}: {}", row(Some(other)))))?;
    }
    if !why.lost.is_empty() {
        say("")?;
        let mut lost = Table::new(&["conflict", "decided", "won", "lost", "what lost", "why"]);
        for one in &why.lost {
            let at = [cut(&one.id, 24), instant(one.decided), one.winner.clone(), one.loser.clone()];
            let what = [cut(&row(one.loser_row.as_ref()), 60), cut(&one.reason, 160)];
            lost.row(at.into_iter().chain(what));
        }
        lost.print()?;
    }
    left_out(&why.away, &[]);
    if let Some(stopped) = &why.stopped {
        super::note(&format!("table `{}` stands still: {stopped}", why.table));
    }
    Ok(())
}

/// Who wrote it, as far as anybody knows.
fn origin(why: &Told) -> String {
    match (&why.versions[..], &why.known_from) {
        ([version], KnownFrom::History) => written(version),
        ([version], KnownFrom::Journal) => {
            let written = written(version);
            format!("{written}, as the journal tells, or the same was written again since; its history is purged")
        }
        (_, KnownFrom::Purged(time)) => {
            let time = instant(*time);
            format!("so since {time} at the latest; all nodes have had the change, so its history is purged")
        }
        (_, KnownFrom::Nothing) => "not changed since Concord was installed, as far as is known".to_owned(),
        ([], _) => "nothing is known".to_owned(),
        _ => "several versions, none of which has seen the other; they are decided with the next sync, or by a person"
            .to_owned(),
    }
}

fn written(version: &WhyVersion) -> String {
    let what = match (&version.row, version.unread) {
        (Some(_), _) => "written",
        (None, true) => "changed",
        (None, false) => "deleted",
    };
    match (&version.node, version.written) {
        (Some(node), Some(time)) => format!("{what} at {node}, {}", instant(time)),
        _ => format!("{what} nobody knows where"),
    }
}

fn state(node: &WhyNode) -> String {
    match node.state {
        WhyState::Current => "has it".to_owned(),
        WhyState::Apart => "goes its own way".to_owned(),
        WhyState::OnItsWay => "on its way there".to_owned(),
        WhyState::Waits => node.since.map_or("waits".to_owned(), |since| format!("waits since {}", instant(since))),
        WhyState::Undecided => "undecided".to_owned(),
        WhyState::Differs => "differs".to_owned(),
        WhyState::Unreadable => "unreadable".to_owned(),
    }
}

/// A row on one line.
pub(super) fn row(document: Option<&Document>) -> String {
    match document.and_then(Document::as_object) {
        Some(members) => members
            .iter()
            .map(|(name, value)| format!("{name}={}", cut(&cell(value), 40)))
            .collect::<Vec<_>>()
            .join(" "),
        None => "(none)".to_owned(),
    }
}
