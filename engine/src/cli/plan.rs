//! `concord plan`: what a sync would do now.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value as Document;

use super::conflicts::known;
use super::report::{cell, count, counted, cut, instant, json, one_line, say};
use super::sync::left_out;
use super::{Global, Output, remark, verify, with_session};
use crate::error::{Error, Result};
use crate::sync::{Change, Counts, Plan as Planned, PlannedConflict, PlannedRow, Wish};

/// Characters of a value that are shown.
const WIDTH: usize = 60;

#[derive(Clone, Debug, Args)]
#[command(
    about = "Show what a sync would do now, row by row; write nothing",
    long_about = "Show what `concord sync` would do now: for every table and node the rows that would be written and deleted, with the values before and after, the conflicts with their versions and the decision, and the rows that would wait for a person. Nothing is written anywhere. What only a database can tell, such as whether a constraint takes a row, shows when the plan is carried out.\n\nEverything that is pending is planned at once, so memory grows with it. Exits with 1 if rows would wait for a person, and with 3 if a node could not be reached, or was held up by locks or lack of room; the plan is then one without it.",
    after_long_help = "Example:\n  concord plan\n  concord plan --table customers --limit 0\n  concord plan --out tonight.plan; concord sync --plan tonight.plan"
)]
pub struct Plan {
    /// Show only this table
    #[arg(long, value_name = "TABLE", conflicts_with = "out")]
    pub table: Option<String>,
    /// Show at most so many rows of a table at a node, and so many conflicts of a table; 0 is all. Counts are exact all the same
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
    /// Write the plan to this file, for `concord sync --plan FILE`. It holds rows, so keep it as safe as the databases
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub output: Output,
}

pub fn run(global: &Global, plan: &Plan) -> Result<u8> {
    let wish = Wish { table: plan.table.clone(), limit: plan.limit, file: plan.out.is_some() };
    let (planned, file) = with_session(global, async |session| {
        if let Some(table) = &plan.table {
            known(table, "table", session.config.tables.iter().map(|table| table.name.as_str()))?;
        }
        session.plan(&wish).await
    })?;
    if let (Some(path), Some(bytes)) = (&plan.out, &file) {
        write(path, bytes)
            .map_err(|why| Error::Usage(format!("{}: the plan cannot be written there: {why}", path.display())))?;
    }
    if plan.output.json {
        json(&planned)?;
    } else {
        print(&planned)?;
        if let Some(path) = &plan.out {
            let told = format!("written to {}; carry it out with: concord sync --plan {0}", path.display());
            remark(global.quiet, &told);
        }
    }
    Ok(planned.exit_code())
}

/// Writes the file as a whole or not at all, for nobody else to read.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn print(plan: &Planned) -> Result<()> {
    if plan.counts.is_empty() && plan.conflict_count == 0 && plan.compared.iter().all(|table| !table.differs()) {
        let whole = plan.away.is_empty() && plan.stopped.is_empty();
        say(if whole { "nothing to carry" } else { "nothing would be carried" })?;
    }
    for counts in &plan.counts {
        say(&format!("{} at {}: {}", counts.table, counts.node, summary(counts)))?;
        let rows = plan.rows.iter().filter(|row| row.table == counts.table && row.node == counts.node);
        let mut shown = 0;
        for row in rows {
            shown += 1;
            say(&format!("  {}", line(row)))?;
        }
        more(counts.all() - shown)?;
    }
    if plan.conflict_count > 0 {
        say(&format!("\n{}", counted(plan.conflict_count, "conflict", "conflicts")))?;
        for conflict in &plan.conflicts {
            print_conflict(conflict)?;
        }
        more(plan.conflict_count - plan.conflicts.len() as u64)?;
    }
    for table in plan.compared.iter().filter(|table| table.differs()) {
        verify::print(table, None)?;
        for carried in &table.carried {
            let (written, deleted) = (count(carried.written), count(carried.deleted));
            say(&format!("  at {}: {written} to write, {deleted} to delete", carried.node))?;
        }
    }
    left_out(&plan.away, &plan.stopped);
    Ok(())
}

fn more(left: u64) -> Result<()> {
    if left == 0 { Ok(()) } else { say(&format!("  … {} more (--limit 0 shows all)", count(left))) }
}

/// `2 to insert, 1 to update`.
fn summary(counts: &Counts) -> String {
    let parts = [
        (counts.insert, "to insert"),
        (counts.update, "to update"),
        (counts.delete, "to delete"),
        (counts.same, "there already"),
        (counts.wait, "to wait for a person"),
        (counts.later, "for a later sync to decide"),
    ];
    let mut parts: Vec<String> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{} {what}", count(*number)))
        .collect();
    if counts.retry > 0 {
        parts.push(format!("{} of them tried again", count(counts.retry)));
    }
    parts.join(", ")
}

/// One row of the diff: what is done to it, its key, the values, and where they come from.
fn line(row: &PlannedRow) -> String {
    let (before, after) = (members(row.before.as_ref()), members(row.after.as_ref()));
    let value = |document: &Document| cut(&cell(document), WIDTH);
    let all = |row: &[(String, Document)]| {
        row.iter().map(|(name, document)| format!("{name}={}", value(document))).collect::<Vec<_>>().join(" ")
    };
    let of = |row: &[(String, Document)], name: &str| {
        row.iter().find(|(known, _)| known == name).map(|(_, document)| value(document)).unwrap_or_default()
    };
    let (sign, what) = match row.change {
        Change::Insert => ('+', all(&after)),
        Change::Update if row.before.is_none() => ('~', all(&after)),
        Change::Update => {
            let changed =
                row.columns.iter().map(|name| format!("{name}: {} → {}", of(&before, name), of(&after, name)));
            ('~', changed.collect::<Vec<_>>().join("  "))
        }
        Change::Delete => ('-', all(&before)),
        Change::Same => ('=', "as it stands".to_owned()),
        Change::Wait => ('?', "waits".to_owned()),
        Change::Later => ('?', "is decided by a later sync".to_owned()),
    };
    let reason = row.reason.as_ref().map_or(String::new(), |why| format!("; {}", cut(why, 300)));
    one_line(&format!("{sign} {} {what}  (from {}, {}{reason})", row.key, row.from, instant(row.written)))
}

fn members(row: Option<&Document>) -> Vec<(String, Document)> {
    let members = row.and_then(Document::as_object);
    members.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn print_conflict(conflict: &PlannedConflict) -> Result<()> {
    conflict_lines(conflict).iter().try_for_each(|line| say(line))
}

/// A conflict, its versions and what becomes of them, a line each.
fn conflict_lines(conflict: &PlannedConflict) -> Vec<String> {
    let outcome = match (&conflict.winner, &conflict.row) {
        _ if conflict.undecided => "a person decides".to_owned(),
        (Some(winner), _) => format!("{winner} wins"),
        (None, Some(_)) => "merged".to_owned(),
        (None, None) => "deleted".to_owned(),
    };
    let mut lines =
        vec![format!("  {}: {} {}: {outcome}: {}", conflict.id, conflict.table, conflict.key, conflict.reason)];
    let text = |row: &Option<Document>| match row {
        Some(_) => members(row.as_ref())
            .iter()
            .map(|(name, value)| format!("{name}={}", cut(&cell(value), WIDTH)))
            .collect::<Vec<_>>()
            .join(" "),
        None => "(deleted)".to_owned(),
    };
    for version in &conflict.versions {
        let waits = version.waits_at.as_ref().map_or(String::new(), |node| format!(" (waits at {node})"));
        let text = text(&version.row);
        lines.push(format!("      {} {}{waits}: {text}", version.node, instant(version.written)));
    }
    if conflict.winner.is_none() && conflict.row.is_some() {
        lines.push(format!("      becomes: {}", text(&conflict.row)));
    }
    lines.iter().map(|line| one_line(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::PlannedVersion;
    use serde_json::json;

    fn row(change: Change, before: Option<Document>, after: Option<Document>, columns: &[&str]) -> PlannedRow {
        PlannedRow {
            table: "t".into(),
            node: "branch".into(),
            key: json!([1]),
            change,
            from: "office".into(),
            written: 0,
            before,
            after,
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            reason: None,
        }
    }

    #[test]
    fn rows_read_as_a_diff() {
        let (a, b) = (json!({"id": 1, "name": "a\nb"}), json!({"id": 1, "name": null}));
        let text = |row: PlannedRow| line(&row).split("  (from").next().unwrap().to_owned();
        assert_eq!(text(row(Change::Insert, None, Some(b.clone()), &[])), "+ [1] id=1 name=NULL");
        assert_eq!(text(row(Change::Update, Some(a.clone()), Some(b), &["name"])), "~ [1] name: a b → NULL");
        assert_eq!(text(row(Change::Delete, Some(a), None, &[])), "- [1] id=1 name=a b");
    }

    /// No cell, and nothing that a person wrote to say why, makes up a line.
    #[test]
    fn what_users_wrote_begins_no_line() {
        let row = Some(json!({"id": 1, "note": "x\nt at b: 5 to delete"}));
        let version = PlannedVersion { node: "a".into(), written: 0, waits_at: None, row: row.clone() };
        let conflict = PlannedConflict {
            id: "a1".into(),
            table: "t".into(),
            key: json!([1]),
            versions: vec![version],
            winner: None,
            row,
            undecided: false,
            reason: "because\nnothing to carry".into(),
        };
        let lines = conflict_lines(&conflict);
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| !line.contains('\n')), "{lines:?}");
        assert_eq!(lines[2], "      becomes: id=1 note=x t at b: 5 to delete");
    }
}
