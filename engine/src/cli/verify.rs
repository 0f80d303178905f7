//! `concord verify`: compares all rows, and mends what differs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value as Document;

use super::progress::Line;
use super::report::{Table, cell, count, counted, cut, json, one_line, say};
use super::sync::left_out;
use super::{Global, Output, with_session};
use crate::error::Result;
use crate::sync::{Example, Progress, Repair, Session, Verified, VerifiedTable};

#[derive(Clone, Debug, Args)]
#[command(
    about = "Compare all rows of all nodes; --repair mends what differs",
    long_about = "Compare all rows of all nodes. Changes that are on their way and rows that wait are counted and are no differences, so users may go on writing, and a `concord watch` may go on running. Exits with 1 if rows differ, and with 3 if a node could not be reached, or was held up by locks or lack of room; the others are compared all the same.\n\nWith --repair, rows that are missing somewhere are copied there. Of rows that differ that one is taken which the table's `from`, --prefer, the table's `updated` column or its policy `prefer` names; where nothing does they are left alone. What is overwritten goes to the journal (of a table with mode = \"compare\" nothing is kept). Rows that somebody has changed in the meantime are left alone.",
    after_long_help = "Examples:\n  concord verify --table customers\n  concord verify --repair --prefer office\n  concord verify --repair --out plan.jsonl     write what would be done to a file, to read and to edit\n  concord verify --plan plan.jsonl             do it"
)]
pub struct Verify {
    /// Only this table; may be given several times
    #[arg(long, value_name = "TABLE")]
    pub table: Vec<String>,
    /// Tell at most so many differences of each table one by one, 0 for all; all are counted
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
    /// Look at most at so many rows of each table one by one, of those that lie near a difference; beyond, only the number of
    /// rows is told among which something differs
    #[arg(long, value_name = "ROWS", default_value_t = 1_000_000)]
    pub narrow: u64,
    /// Mend what differs
    #[arg(long)]
    pub repair: bool,
    /// Of rows that differ take that of this node
    #[arg(long, value_name = "NODE", requires = "repair")]
    pub prefer: Option<String>,
    /// Write what would be mended to this file instead of doing it
    #[arg(long, value_name = "FILE", requires = "repair")]
    pub out: Option<PathBuf>,
    /// Do what such a file says, where the rows are still as it tells, and compare nothing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["repair", "table", "narrow"])]
    pub plan: Option<PathBuf>,
    #[command(flatten)]
    pub output: Output,
}

pub fn run(global: &Global, verify: &Verify) -> Result<u8> {
    let verified = match &verify.plan {
        Some(plan) => with_session(global, async |session| session.carry_out_plan(plan, verify.limit).await)?,
        None => compare(global, verify)?,
    };
    if verify.output.json {
        json(&verified)?;
    } else {
        for table in &verified.tables {
            print(table, verify.out.as_deref())?;
        }
        left_out(&verified.away, &verified.stopped);
    }
    Ok(verified.exit_code())
}

fn compare(global: &Global, verify: &Verify) -> Result<Verified> {
    let repair = match (&verify.out, verify.repair) {
        (Some(file), _) => Repair::Plan(file.clone()),
        (None, true) => Repair::Mend,
        (None, false) => Repair::Tell,
    };
    let how = crate::sync::Verify {
        tables: verify.table.clone(),
        limit: verify.limit,
        narrow: verify.narrow,
        repair,
        prefer: verify.prefer.clone(),
        progress: Arc::default(),
    };
    with_session(global, async |session: &mut Session| {
        let (mut line, begun) = (Line::new(global.quiet), Instant::now());
        let comparing = session.verify(&how);
        tokio::pin!(comparing);
        loop {
            match tokio::time::timeout(line.every(), &mut comparing).await {
                Ok(done) => return done,
                Err(_) => line.show(|| told_of(&how.progress, begun.elapsed())),
            }
        }
    })
}

/// How far it has come, and the same in fewer words.
fn told_of(progress: &Progress, spent: Duration) -> Vec<String> {
    let rows = progress.rows.load(Ordering::Relaxed);
    let (table, tables) = (progress.table.load(Ordering::Relaxed), progress.tables.load(Ordering::Relaxed));
    let begin = format!("table {table} of {tables}: {} read", counted(rows, "row", "rows"));
    let rate = count((rows as f64 / spent.as_secs_f64().max(0.001)) as u64);
    vec![format!("{begin} at all nodes, {rate} a second"), begin]
}

/// What was found of a table; `out` is the file to which it was written how to mend it. Of one that was not compared to its end it is
/// what was done by then, since nothing else may tell it.
pub(super) fn print(table: &VerifiedTable, out: Option<&Path>) -> Result<()> {
    match &table.skipped {
        Some(why) => say(&format!("{}: not compared: {why}", table.table))?,
        None => print_found(table)?,
    }
    for line in remarks(table, out) {
        say(&format!("  {line}"))?;
    }
    for left in &table.left {
        let at = left.node.as_ref().map_or(String::new(), |node| format!(" at {node}"));
        say(&one_line(&format!("  {}{at}: {}", key(&left.key), left.why)))?;
    }
    Ok(())
}

/// How many rows differ, and some of them.
fn print_found(table: &VerifiedTable) -> Result<()> {
    let what = match table.differences {
        0 if table.not_narrowed == 0 => "no differences".to_owned(),
        number => counted(number, "row differs", "rows differ"),
    };
    say(&format!("{}: {what}", table.table))?;
    if !table.nodes.is_empty() {
        let mut nodes = Table::new(&["  node", ">rows", ">missing", ">extra", ">differing", ">unreadable"]);
        for node in &table.nodes {
            let counts = [node.rows, node.missing, node.extra, node.differing, node.unreadable].map(count);
            nodes.row([format!("  {}", node.node)].into_iter().chain(counts));
        }
        nodes.print()?;
    }
    for example in &table.examples {
        say(&one_line(&format!("  {}", told(example))))?;
    }
    match not_shown(table) {
        Some(more) => say(&format!("  {more}")),
        None => Ok(()),
    }
}

/// How many rows are not shown, and what shows them. Of those that were mended nothing does any more: they may be of a look that was begun
/// anew without a node.
fn not_shown(table: &VerifiedTable) -> Option<String> {
    let more = table.differences.saturating_sub(table.examples.len() as u64);
    let how = if table.mended == 0 { " (--limit 0 shows all)" } else { "" };
    (more > 0 && !table.examples.is_empty()).then(|| format!("… and {} more{how}", count(more)))
}

/// A difference in one line: `[7] differing: name office 'x', branch 'y'`.
fn told(example: &Example) -> String {
    let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut parts: Vec<String> = Vec::new();
    for (node, kind) in &example.nodes {
        match example.filters.get(node) {
            Some(filter) => {
                parts.push(format!("{kind} at {node}: it does not belong there by the node's filter, {filter}"))
            }
            None => kinds.entry(kind).or_default().push(node),
        }
    }
    for (kind, nodes) in &kinds {
        match *kind {
            "differing" => {}
            "unreadable" => {
                parts.extend(example.unreadable.iter().map(|(node, why)| format!("unreadable at {node}: {why}")));
            }
            kind => parts.push(format!("{kind} at {}", nodes.join(", "))),
        }
    }
    for (column, values) in &example.columns {
        let values: Vec<String> =
            values.iter().map(|(node, value)| format!("{node} {}", cut(&quoted(value), 60))).collect();
        parts.push(format!("{column}: {}", values.join(", ")));
    }
    format!("{} {}", key(&example.key), parts.join("; "))
}

fn key(key: &Document) -> String {
    cut(&key.to_string(), 60)
}

/// A value such that blanks at its ends, and text that looks like something else, can be seen.
fn quoted(value: &Document) -> String {
    match value {
        Document::String(text) => format!("{text:?}"),
        other => cell(other),
    }
}

fn remarks(table: &VerifiedTable, out: Option<&Path>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut add = |number: u64, one: &str, many: &str, text: &str| {
        if number > 0 {
            lines.push(format!("{} {text}", counted(number, one, many)));
        }
    };
    add(table.on_their_way, "change is", "changes are", "on the way, and no difference");
    add(table.waiting, "row waits", "rows wait", "at a node; see: concord parked list");
    let allowed = table.allowed.missing + table.allowed.extra + table.allowed.differing;
    add(
        allowed,
        "difference is",
        "differences are",
        &format!(
            "left alone by the table's `operations`: {} missing, {} extra, {} differing",
            count(table.allowed.missing),
            count(table.allowed.extra),
            count(table.allowed.differing)
        ),
    );
    add(
        table.not_narrowed,
        "row stands",
        "rows stand",
        "where something differs and was not looked at one by one; --narrow looks at more",
    );
    add(table.mended, "row is", "rows are", "mended");
    add(table.disputed, "row was", "rows were", "equally late elsewhere, and decided by the table's policy");
    add(table.moved_on, "row was", "rows were", "changed or held in the meantime and left alone; run it again");
    add(
        table.undecided,
        "row was",
        "rows were",
        "left alone because nothing tells whose is right, or where it belongs",
    );
    add(table.refused, "row was", "rows were", "not taken by a node");
    if let Some(file) = out.filter(|_| table.differences > table.undecided) {
        lines.push(format!("written to {}; to do it: concord verify --plan {0}", file.display()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extra_row_is_told_with_the_filter_that_says_so() {
        let nodes = [("a", "extra"), ("b", "extra"), ("c", "missing")];
        let example = Example {
            key: serde_json::json!([7]),
            nodes: nodes.map(|(node, kind)| (node.to_owned(), kind)).into(),
            filters: [("b".to_owned(), "plugin `cel`".to_owned())].into(),
            columns: BTreeMap::new(),
            unreadable: BTreeMap::new(),
        };
        let filtered = "extra at b: it does not belong there by the node's filter, plugin `cel`";
        assert_eq!(told(&example), format!("[7] {filtered}; extra at a; missing at c"));
    }

    #[test]
    fn nobody_is_told_to_look_for_what_was_mended() {
        let example = Example {
            key: serde_json::json!([7]),
            nodes: BTreeMap::new(),
            filters: BTreeMap::new(),
            columns: BTreeMap::new(),
            unreadable: BTreeMap::new(),
        };
        let found = VerifiedTable { differences: 11, examples: vec![example], ..VerifiedTable::new("t") };
        assert_eq!(not_shown(&found).as_deref(), Some("… and 10 more (--limit 0 shows all)"));
        let mended = VerifiedTable { mended: 10, ..found.clone() };
        assert_eq!(not_shown(&mended).as_deref(), Some("… and 10 more"));
        assert_eq!(not_shown(&VerifiedTable { differences: 1, ..found }), None);
    }
}
