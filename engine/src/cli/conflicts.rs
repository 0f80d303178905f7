//! `concord conflicts`: the journal of what lost and why.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Map, Value as Document};

use super::report::{Table, cell, count, counted, cut, instant, json, one_line, say};
use super::sync::left_out;
use super::{Global, Output, with_session};
use crate::error::{ATTENTION, DONE, Error, Result, UNREACHABLE};
use crate::model::time;
use crate::sync::{Away, ConflictReport, Remedy, Stopped};

#[derive(Clone, Debug, Args)]
#[command(about = "Show what lost in conflicts and why, and overturn decisions")]
pub struct Conflicts {
    #[command(subcommand)]
    pub action: Action,
}

#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    List(List),
    Show(Show),
    Resolve(Resolve),
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

#[derive(Clone, Debug, Args)]
#[command(
    about = "Overturn a decision by a new change",
    long_about = "Overturn the decision of a conflict: another version of the row is written at one node as its users would write it, and the next sync carries it to the others. What it replaces is kept in the journal. Refused if the row was changed since the conflict, or if a node cannot be asked whether it was, unless --force is given.",
    after_long_help = "Example:\n  concord conflicts resolve 3f9a --undo\n  concord conflicts resolve 3f9a --take branch\n  concord conflicts resolve 3f9a --row row.json",
    group(clap::ArgGroup::new("remedy").required(true).args(["take", "row", "undo"]))
)]
pub struct Resolve {
    /// The conflict's id as `conflicts list` prints it, or the beginning of it
    #[arg(value_name = "ID")]
    pub id: String,
    /// The version that this node had; a delete deletes
    #[arg(long, value_name = "NODE")]
    pub take: Option<String>,
    /// The columns in this file, a JSON object as `conflicts show --json` has rows; others keep their values, and `null` deletes the row
    #[arg(long, value_name = "FILE")]
    pub row: Option<PathBuf>,
    /// The version that lost, if only one did
    #[arg(long)]
    pub undo: bool,
    /// Overwrite the row although it was changed since, or may have been at a node that is away
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub output: Output,
}

/// What `--json` tells.
#[derive(Serialize)]
struct Report<'a> {
    conflicts: &'a [ConflictReport],
    /// Whether there are older ones, beyond `--limit`.
    more: bool,
    /// Nodes whose journals could not be read.
    away: &'a [Away],
    /// Tables that stand still.
    stopped: &'a [Stopped],
    /// Entries of the journals that cannot be told, where all are asked for and no table stands still: of nodes or tables that left the
    /// file.
    #[serde(skip_serializing_if = "Option::is_none")]
    untold: Option<u64>,
}

pub fn run(global: &Global, conflicts: &Conflicts) -> Result<u8> {
    match &conflicts.action {
        Action::List(list) => run_list(global, list),
        Action::Show(show) => run_show(global, show),
        Action::Resolve(resolve) => run_resolve(global, resolve),
    }
}

/// What was read of the journals.
struct Read {
    found: Vec<ConflictReport>,
    /// How much cannot be told, where all was asked for and that is known.
    untold: Option<u64>,
    away: Vec<Away>,
    stopped: Vec<Stopped>,
}

/// The newest conflicts, the nodes that were not asked, and the tables that stand still.
fn read(global: &Global, table: Option<&str>, limit: usize) -> Result<Read> {
    with_session(global, async |session| {
        if let Some(table) = table {
            known(table, "table", session.config.tables.iter().map(|table| table.name.as_str()))?;
        }
        let found = session.conflicts_of(table, limit).await?;
        let untold = match table {
            Some(_) => None,
            None => session.untold_conflicts().await,
        };
        let stopped = session.stopped().into_iter().filter(|stopped| table.is_none_or(|table| stopped.table == table));
        Ok(Read { found, untold, away: session.away(), stopped: stopped.collect() })
    })
}

/// Refuses a name that the configuration does not have, with those that it has.
pub(super) fn known<'a>(name: &str, what: &str, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let names: Vec<&str> = names.collect();
    if names.contains(&name) {
        return Ok(());
    }
    Err(Error::Usage(format!("no {what} is called `{name}`\n    {what}s of this sync: {}", names.join(", "))))
}

/// The exit code of a report that nodes may be missing from, and in which tables may stand still.
pub(super) fn code(away: &[Away], stopped: &[Stopped]) -> u8 {
    match away {
        _ if away.iter().any(|away| away.unreachable) => UNREACHABLE,
        [] if stopped.is_empty() => DONE,
        _ => ATTENTION,
    }
}

fn run_list(global: &Global, list: &List) -> Result<u8> {
    // Whether there are more shows in one more.
    let most = if list.limit == 0 { 0 } else { list.limit.saturating_add(1) };
    let Read { mut found, untold, away, stopped } = read(global, list.table.as_deref(), most)?;
    let more = list.limit > 0 && found.len() > list.limit;
    if more {
        found.truncate(list.limit);
    }
    if list.output.json {
        json(&Report { conflicts: &found, more, away: &away, stopped: &stopped, untold })?;
        return Ok(code(&away, &stopped));
    }
    if found.is_empty() {
        say("no conflicts")?;
    } else {
        let mut rows = Table::new(&["id", "decided", "table", "key", "won", "lost", "why"]);
        for one in &found {
            let ids = [cut(&one.id, 24), instant(one.decided), one.table.clone(), cut(&one.key.to_string(), 40)];
            rows.row(ids.into_iter().chain([one.winner.clone(), one.loser.clone(), cut(&one.reason, 160)]));
        }
        rows.print()?;
    }
    if more {
        say("… and more (--limit 0 shows all)")?;
    }
    if let Some(left) = untold.and_then(left_the_file) {
        say(&left)?;
    }
    left_out(&away, &stopped);
    Ok(code(&away, &stopped))
}

/// That some conflicts cannot be told, if there are any.
fn left_the_file(untold: u64) -> Option<String> {
    let entries = counted(untold, "entry of the journals is", "entries of the journals are");
    (untold > 0).then(|| {
        format!("{entries} of nodes or tables that left the file, and cannot be told while they are out of it")
    })
}

fn run_resolve(global: &Global, resolve: &Resolve) -> Result<u8> {
    let remedy = match (&resolve.take, &resolve.row) {
        (Some(node), _) => Remedy::Take(node.clone()),
        (None, Some(path)) => Remedy::Row(read_row(path)?),
        (None, None) => Remedy::Undo,
    };
    let done = with_session(global, async |session| {
        if let Remedy::Take(node) = &remedy {
            known(node, "node", session.config.nodes.iter().map(|node| node.name.as_str()))?;
        }
        session.resolve(&resolve.id, &remedy, resolve.force).await
    })?;
    if resolve.output.json {
        json(&done)?;
    } else {
        let what = if done.after.is_some() { "written" } else { "deleted" };
        say(&format!("{} {} {what} at {}; the next sync carries it", done.table, done.key, done.node))?;
        say(&format!("what stood there is in the journal: concord conflicts show {}", done.id))?;
        left_out(&done.away, &[]);
    }
    Ok(code(&done.away, &[]))
}

/// The row that a person wrote.
fn read_row(path: &Path) -> Result<Option<Map<String, Document>>> {
    let wrong = |what: String| Error::Usage(format!("{}{what}", path.display()));
    let text = std::fs::read(path).map_err(|why| wrong(format!(": the row cannot be read: {why}")))?;
    match serde_json::from_slice(&text) {
        Ok(Document::Object(columns)) => Ok(Some(columns)),
        Ok(Document::Null) => Ok(None),
        Ok(_) => Err(wrong(": a row is a JSON object of its columns, or null".to_owned())),
        Err(why) => Err(wrong(format!(":{}:{}: this is no JSON: {why}", why.line(), why.column()))),
    }
}

fn run_show(global: &Global, show: &Show) -> Result<u8> {
    let Read { mut found, untold, away, stopped } = with_session(global, async |session| {
        let found = session.conflicts_called(&show.id).await?;
        let untold = match found.is_empty() {
            true => session.untold_conflicts().await,
            false => None,
        };
        Ok(Read { found, untold, away: session.away(), stopped: session.stopped() })
    })?;
    // What a person said about a conflict is told with it, and what was said about that.
    let of = |one: &ConflictReport| one.id.split_once('.').map_or(&*one.id, |(root, _)| root).to_owned();
    found.sort_by_key(|one| (one.id != show.id, one.resolves().is_some()));
    let Some(first) = found.first() else {
        left_out(&away, &stopped);
        return Err(Error::Usage(format!(
            "no conflict has an id that begins with `{}`{}\n    see: concord conflicts list",
            show.id,
            untold.and_then(left_the_file).map_or_else(String::new, |left| format!("; {left}"))
        )));
    };
    // Several versions may have lost one conflict.
    let mut ids: Vec<String> = found.iter().map(of).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() > 1 {
        let some = ids[..ids.len().min(5)].join(", ");
        return Err(Error::Usage(format!(
            "{} conflicts have an id that begins with `{}`\n    say more of it: {some}{}",
            count(ids.len() as u64),
            show.id,
            if ids.len() > 5 { ", …" } else { "" }
        )));
    }
    if show.output.json {
        json(&Report { conflicts: &found, more: false, away: &away, stopped: &stopped, untold: None })?;
        return Ok(code(&away, &stopped));
    }
    say(&format!("conflict {}: table {}, key {}", first.id, first.table, first.key))?;
    say(&decided(first))?;
    let (words, lost): (Vec<&ConflictReport>, Vec<&ConflictReport>) =
        found.iter().partition(|one| one.resolves().is_some() && one.id != first.id);
    for one in &lost {
        say("")?;
        side_by_side(one).print()?;
    }
    if lost.len() > 1 {
        say(&format!("\n{} lost", counted(lost.len() as u64, "version", "versions")))?;
    }
    for one in words {
        say("")?;
        say(&word(one))?;
        side_by_side(one).print()?;
    }
    left_out(&away, &stopped);
    Ok(code(&away, &stopped))
}

fn decided(one: &ConflictReport) -> String {
    one_line(&format!("decided {}: {}", instant(one.decided), one.reason))
}

/// What a person said about a conflict.
fn word(one: &ConflictReport) -> String {
    one_line(&format!("{} at {}: {} ({})", instant(one.decided), one.winner, one.reason, one.id))
}

/// The columns of both rows; those that differ are marked.
fn side_by_side(one: &ConflictReport) -> Table {
    let won = format!("won: {}", one.winner);
    let lost = format!("lost: {}", one.loser);
    let mut rows = Table::new(&["", "column", &won, &lost]);
    rows.row(["", "(written)", &time::instant(one.winner_time), &time::instant(one.loser_time)]);
    let (winner, loser) = (one.winner_row.as_ref(), one.loser_row.as_ref());
    let mut told: Vec<&String> = Vec::new();
    for row in [winner, loser].into_iter().flatten().filter_map(Document::as_object) {
        told.extend(row.keys().filter(|column| !told.contains(column)).collect::<Vec<_>>());
    }
    let absent = match () {
        // What a person gave up lost to what stands there, whatever that is.
        () if one.id.starts_with("dropped-") => "(what stands there)",
        () if one.is_won_unread() => "(unread)",
        () => "(deleted)",
    };
    if told.is_empty() {
        let lost = if one.is_unread() { "(unread)" } else { "(deleted)" };
        rows.row(["", "", absent, lost]);
        return rows;
    }
    let text = |row: Option<&Document>, column: &str| match row {
        // It does not live at that node, or was added since.
        Some(row) => row.get(column).map_or_else(|| "–".to_owned(), cell),
        None => absent.to_owned(),
    };
    for column in told {
        let differs = match (winner, loser) {
            (Some(_), Some(_)) => one.differing.contains(column),
            _ => true,
        };
        let mark = if differs { "*" } else { "" };
        rows.row([mark, column, &cut(&text(winner, column), 60), &cut(&text(loser, column), 60)]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A conflict in which a row of office won against one of branch.
    fn conflict(id: &str, reason: &str, [winner_row, loser_row]: [Option<Document>; 2]) -> ConflictReport {
        ConflictReport {
            id: id.to_owned(),
            table: "t".to_owned(),
            key: json!([1]),
            decided: 0,
            winner: "office".to_owned(),
            winner_time: 0,
            winner_row,
            loser: "branch".to_owned(),
            loser_time: 0,
            loser_row,
            reason: reason.to_owned(),
            differing: Vec::new(),
        }
    }

    #[test]
    fn columns_that_differ_are_marked() {
        let mut one = conflict(
            "1f",
            "",
            [Some(json!({"id": 1, "name": "a", "price": "1"})), Some(json!({"id": 1, "name": "b", "price": "1.00"}))],
        );
        one.differing = vec!["name".into()];
        let marked = |text: String| text.lines().filter(|line| line.starts_with('*')).count();
        assert_eq!(marked(side_by_side(&one).to_string()), 1);
        one.loser_row = None;
        let text = side_by_side(&one).to_string();
        assert!(marked(text.clone()) == 3 && text.contains("(deleted)"), "{text}");
    }

    /// A reason may be a plugin's or a person's.
    #[test]
    fn a_reason_begins_no_line() {
        let one = conflict("1f", "because\nconflict 2f: table u, key [2]", [None, None]);
        for line in [decided(&one), word(&one)] {
            assert!(line.contains("because conflict 2f") && !line.contains('\n'), "{line}");
        }
    }

    /// A row that could not be read when it won is there all the same.
    #[test]
    fn what_won_unread_is_not_told_as_deleted() {
        let one = conflict("load-unread-1f", "load: prefer", [None, Some(json!({"id": 1, "name": "b"}))]);
        let text = side_by_side(&one).to_string();
        assert!(text.contains("(unread)") && !text.contains("(deleted)"), "{text}");
    }

    /// What stands where a version was given up is not known to the journal, and what was given up may not have been read.
    #[test]
    fn what_was_given_up_is_not_told_as_deleted_by_both() {
        let mut one = conflict("dropped-1f", "dropped by hand; it waited because: rows refer to it", [None, None]);
        let last = |one: &ConflictReport| side_by_side(one).to_string().lines().last().unwrap_or_default().to_owned();
        let text = last(&one);
        assert!(text.contains("(what stands there)") && text.contains("(deleted)"), "{text}");
        one.reason = "given up by hand unread: at branch it cannot be read".into();
        let text = last(&one);
        assert!(text.contains("(what stands there)") && text.contains("(unread)"), "{text}");
        one.id = "1-1f".into();
        one.reason = "latest-wins".into();
        assert_eq!(last(&one).matches("(deleted)").count(), 2);
    }

    #[test]
    fn unknown_names_are_refused_with_the_known_ones() {
        let error = known("costumers", "table", ["customers", "orders"].into_iter()).unwrap_err().to_string();
        assert!(error.contains("customers, orders"), "{error}");
        known("orders", "table", ["customers", "orders"].into_iter()).unwrap();
    }
}
