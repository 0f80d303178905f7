//! `concord parked`: rows that a node could not take.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value as Document;

use super::conflicts::{code, known};
use super::report::{Table, ago, counted, cut, json, one_line, say};
use super::sync::left_out;
use super::why::row;
use super::{Global, Output, agreed, note, sync, with_session};
use crate::error::{ATTENTION, DONE, Error, Result, UNREACHABLE};
use crate::model::{ParkedCode, time};
use crate::sync::{Away, Dropped, ParkedReport, Session, Stopped, Summary};

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
    long_about = "List the rows that wait, where, since when and why. Rows are retried by every sync. With --key, where another row is \
                  the same one to the node's database by its key, both rows are shown.",
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
                  the other nodes. Of a conflict that waits for a person at several nodes, --node says at which of them the row is \
                  right.",
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

/// What `list --json` tells.
#[derive(Serialize)]
struct Report<'a> {
    parked: &'a [ParkedReport],
    /// Nodes that could not be asked.
    away: &'a [Away],
    /// Tables that stand still, of which not all that waits may be told.
    stopped: &'a [Stopped],
}

/// What `retry --json` tells.
#[derive(Serialize)]
struct Retried<'a> {
    sync: &'a Summary,
    /// Those of the chosen rows that still wait.
    parked: &'a [ParkedReport],
}

/// What `drop --json` tells.
#[derive(Serialize)]
struct Gone<'a> {
    dropped: &'a [Dropped],
}

pub fn run(global: &Global, parked: &Parked) -> Result<u8> {
    match &parked.action {
        Action::List(list) => run_list(global, list),
        Action::Retry(retry) => run_retry(global, retry),
        Action::Drop(drop) => run_drop(global, drop),
    }
}

impl Choice {
    /// Refuses names that the configuration does not have, a table that is compared, and a key that cannot be read; returns the key.
    fn check(&self, session: &Session) -> Result<Option<Document>> {
        if let Some(node) = &self.node {
            known(node, "node", session.config.nodes.iter().map(|node| node.name.as_str()))?;
        }
        if let Some(table) = &self.table {
            known(table, "table", session.config.tables.iter().map(|table| table.name.as_str()))?;
            session.needs_history(table)?;
        }
        let Some(key) = &self.key else { return Ok(None) };
        match serde_json::from_str(key) {
            Ok(Document::Array(values)) => Ok(Some(Document::Array(values))),
            _ => Err(Error::Usage(
                "--key takes a key as `concord parked list` prints it: --key '[17]' or --key '[\"Berlin\", 3]'"
                    .to_owned(),
            )),
        }
    }

    fn picks(&self, key: Option<&Document>, node: &str, table: &str, its: &Document) -> bool {
        self.node.as_deref().is_none_or(|name| name == node)
            && self.table.as_deref().is_none_or(|name| name == table)
            && key.is_none_or(|key| key == its)
    }

    /// A table that stands still is not written, so nothing of it can be given up.
    fn refuse_what_stands_still(&self, chosen: &[ParkedReport], stopped: &[Stopped]) -> Result<()> {
        let is_meant =
            |table: &str| self.table.as_deref() == Some(table) || chosen.iter().any(|row| row.table == table);
        match stopped.iter().find(|stopped| is_meant(&stopped.table)) {
            None => Ok(()),
            Some(Stopped { table, why }) => Err(Error::Stopped(format!(
                "table `{table}` stands still: {why}\n    nothing was given up; rows of other tables can be, with --table"
            ))),
        }
    }

    /// Why no row is chosen: there may be some where nobody could look.
    fn nothing_chosen(&self, away: &[Away], stopped: &[Stopped]) -> Error {
        let is_meant = |away: &&Away| self.node.as_deref().is_none_or(|node| node == away.node);
        let away: Vec<Away> = away.iter().filter(is_meant).cloned().collect();
        if code(&away, &[]) == UNREACHABLE {
            let lines = away.iter().map(|away| format!("node `{}`: {}", away.node, away.why));
            return Error::Unreachable(lines.collect());
        }
        left_out(&away, stopped);
        Error::Usage("no row that waits was chosen\n    see: concord parked list".to_owned())
    }

    /// The chosen rows among those that wait, `whole` with their contents.
    async fn waiting(&self, session: &mut Session, whole: bool) -> Result<Vec<ParkedReport>> {
        let key = self.check(session)?;
        let picks = |row: &ParkedReport| self.picks(key.as_ref(), &row.node, &row.table, &row.key);
        session.parked_among(whole, picks).await
    }
}

fn run_list(global: &Global, list: &List) -> Result<u8> {
    let (found, away, stopped) = with_session(global, async |session| {
        // Of one row both are shown, it and what stands in its way.
        let whole = list.output.json || list.choice.key.is_some();
        let found = list.choice.waiting(session, whole).await?;
        Ok((found, session.away(), session.stopped()))
    })?;
    if list.output.json {
        json(&Report { parked: &found, away: &away, stopped: &stopped })?;
    } else {
        print(&found, "no rows wait")?;
        found.iter().filter_map(beside).try_for_each(|lines| say(&lines))?;
        left_out(&away, &stopped);
    }
    Ok(code(&away, &stopped))
}

fn run_retry(global: &Global, retry: &Retry) -> Result<u8> {
    let (summary, left) = with_session(global, async |session| {
        // Names are checked first: a mistyped one is no reason to sync.
        retry.choice.check(session)?;
        let summary = session.carry().await?;
        Ok((summary, retry.choice.waiting(session, retry.output.json).await?))
    })?;
    if retry.output.json {
        json(&Retried { sync: &summary, parked: &left })?;
    } else {
        sync::print_carried(&summary)?;
        sync::print_held(summary.held)?;
        print(&left, none_left(&summary))?;
        if left.is_empty() && summary.waiting > 0 && !summary.stopped.is_empty() {
            let rows = counted(summary.waiting, "row waits", "rows wait");
            say(&format!("{rows} for a person; see: concord parked list"))?;
        }
        sync::not_carried(&summary);
    }
    Ok(summary.exit_code())
}

/// What is said where no chosen row was found to wait: nobody could look at nodes that are away, nor into tables that stand still.
fn none_left(summary: &Summary) -> &'static str {
    match (summary.away.is_empty(), summary.stopped.is_empty()) {
        (true, true) => "no rows wait any more",
        (false, true) => "no rows wait elsewhere",
        (true, false) => "no rows wait in the tables that go on",
        (false, false) => "no rows wait elsewhere in the tables that go on",
    }
}

fn run_drop(global: &Global, drop: &Drop) -> Result<u8> {
    let dropped = with_session(global, async |session| {
        let chosen = drop.choice.waiting(session, false).await?;
        drop.choice.refuse_what_stands_still(&chosen, &session.stopped())?;
        if chosen.is_empty() {
            return Err(drop.choice.nothing_chosen(&session.away(), &session.stopped()));
        }
        refuse_several_sides(&chosen)?;
        if !drop.yes && !drop.output.json {
            print(&chosen, "")?;
        }
        let rows = counted(chosen.len() as u64, "version that waits is", "versions that wait are");
        let what = format!(
            "{rows} given up and kept in the journal; what stands at the nodes goes to the others, and where nothing stands, so does that, \
             unless the node may be without the row although nobody has deleted it, by a filter or `operations`."
        );
        if !agreed(&what, drop.yes)? {
            return Ok(None);
        }
        // What began to wait since, another version of the same row included, was not agreed to.
        let place = |row: &ParkedReport| (row.node.clone(), row.table.clone(), row.key.to_string());
        let shown: HashMap<_, _> = chosen.iter().map(|row| (place(row), row)).collect();
        let dropped = session.drop_parked(|row| shown.get(&place(row)) == Some(&row)).await?;
        Ok(Some((dropped, chosen.len(), session.away(), session.stopped())))
    })?;
    let Some((dropped, agreed, away, stopped)) = dropped else { return Ok(ATTENTION) };
    if drop.output.json {
        json(&Gone { dropped: &dropped })?;
    } else {
        given_up(&dropped).iter().try_for_each(|line| say(line))?;
    }
    if dropped.len() == agreed {
        return Ok(DONE);
    }
    left_out(&away, &stopped);
    let left = counted((agreed - dropped.len()) as u64, "version was", "versions were");
    note(&format!("{left} not given up, as no longer what was shown; see: concord parked list"));
    Ok(ATTENTION)
}

/// What was given up, and what comes of it.
fn given_up(dropped: &[Dropped]) -> Vec<String> {
    let alone = dropped.iter().filter(|one| one.alone).count();
    let rows = |rows: usize| counted(rows as u64, "version", "versions");
    let mut lines = Vec::new();
    if dropped.len() > alone || dropped.is_empty() {
        lines.push(format!(
            "{} given up; what stands there counts as the latest change, and is carried if changes made there are",
            rows(dropped.len() - alone)
        ));
    }
    if alone > 0 {
        lines.push(format!(
            "{} given up there alone, where no row stands; the others keep what they have, and where it belongs there and `operations` \
             carry inserts the next `concord load` tries to copy it there",
            rows(alone)
        ));
    }
    lines
}

/// Refuses to decide one conflict for several nodes at once: what stands at each would count as the latest change, none of which has
/// seen the other, so that the same conflict would wait again.
fn refuse_several_sides(chosen: &[ParkedReport]) -> Result<()> {
    let mut sides: BTreeMap<(&str, String), Vec<&ParkedReport>> = BTreeMap::new();
    // Where a node could not weigh all of a conflict, it waits there as something else.
    for row in chosen.iter().filter(|row| ParkedCode::parse(row.code).is_some_and(ParkedCode::is_owed)) {
        sides.entry((&*row.table, row.key.to_string())).or_default().push(row);
    }
    let is_conflict = |row: &&ParkedReport| row.code == ParkedCode::Conflict.as_str();
    match sides.into_iter().find(|(_, rows)| rows.len() > 1 && rows.iter().any(is_conflict)) {
        None => Ok(()),
        Some(((table, key), rows)) => Err(Error::Usage(format!(
            "the conflict about {key} of `{table}` waits at {}; nothing was given up\n    say at which node the row is right: --node \
             NODE --table {table} --key '{key}'",
            rows.iter().map(|row| &*row.node).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
        ))),
    }
}

fn print(rows: &[ParkedReport], none: &str) -> Result<()> {
    if rows.is_empty() {
        return say(none);
    }
    let now = time::now();
    let mut table = Table::new(&["node", "table", "key", "since", "from", "what", "why"]);
    for row in rows {
        let what = match row.writes {
            _ if [ParkedCode::Unreadable, ParkedCode::Unheard].map(ParkedCode::as_str).contains(&row.code) => "unread",
            true => "write",
            // One was deleted, or none is known that is to be told.
            false if row.code == ParkedCode::Conflict.as_str() => "no row",
            false => "delete",
        };
        let place = [row.node.clone(), row.table.clone(), row.key.to_string(), ago(row.since, now)];
        table.row(place.into_iter().chain([row.from.clone(), what.to_owned(), cut(&row.message, 300)]));
    }
    table.print()
}

/// A row that waits and the one in its way, if that was looked for and found.
fn beside(waits: &ParkedReport) -> Option<String> {
    let other = one_line(&row(Some(waits.in_the_way.as_ref()?)));
    let waiting = one_line(&row(waits.row.as_ref()));
    Some(format!("\nwaits at {}: {waiting}\nin its way: {other}", waits.node))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The row that waits for its parent at a node with a filter is not deleted at the others.
    #[test]
    fn what_is_given_up_at_a_node_alone_is_not_told_as_carried() {
        let dropped = |alone: bool| Dropped {
            node: "b".to_owned(),
            table: "items".to_owned(),
            key: serde_json::json!([1]),
            alone,
        };
        let lines = given_up(&[dropped(true)]);
        assert!(lines.len() == 1 && lines[0].starts_with("1 version given up there alone"), "{lines:?}");
        assert!(lines[0].contains("where it belongs there and `operations` carry inserts"), "{lines:?}");
        let lines = given_up(&[dropped(false), dropped(true), dropped(false)]);
        assert!(lines[0].starts_with("2 versions given up; what stands there counts as"), "{lines:?}");
        assert_eq!(lines.len(), 2);
    }

    /// It may wait at another node because somebody is away, or because a row cannot be read.
    #[test]
    fn one_conflict_may_wait_for_several_reasons() {
        let row = |node: &str, key: u64, code: ParkedCode| ParkedReport {
            node: node.to_owned(),
            table: "items".to_owned(),
            key: serde_json::json!([key]),
            code: code.as_str(),
            message: String::new(),
            since: 0,
            from: "a".to_owned(),
            written: 0,
            row: None,
            in_the_way: None,
            writes: false,
        };
        let refused = |rows: &[ParkedReport]| refuse_several_sides(rows).err().map(|error| error.to_string());
        for other in [ParkedCode::Conflict, ParkedCode::Unheard, ParkedCode::Unreadable] {
            let why = refused(&[row("a", 1, ParkedCode::Conflict), row("b", 1, other)]).unwrap_or_default();
            assert!(why.contains("[1] of `items` waits at a, b") && why.contains("--node NODE"), "{other:?}: {why}");
            assert_eq!(refused(&[row("a", 1, ParkedCode::Conflict), row("b", 2, other)]), None);
        }
        // What waits for something else is given up for itself.
        assert_eq!(refused(&[row("a", 1, ParkedCode::Conflict), row("b", 1, ParkedCode::Constraint)]), None);
        assert_eq!(refused(&[row("a", 1, ParkedCode::Unreadable), row("b", 1, ParkedCode::Unheard)]), None);
    }
}
