//! `concord check`: whether everything is in place.

use clap::Args;

use super::report::{Table, counted, cut, json, say};
use super::{Global, Output, with_session};
use crate::error::Result;
use crate::sync::{Checked, Fit};

#[derive(Clone, Debug, Args)]
#[command(
    about = "Check configuration, connections, rights, tables and types; change nothing",
    long_about = "Check the configuration, the connections, rights, tables and types of all nodes, and try filters and mappings on some rows of each. Nothing is changed. Missing rights are printed as the statements that grant them.",
    after_long_help = "Example:\n  concord check\n  concord check -c shop/concord.toml --json"
)]
pub struct Check {
    #[command(flatten)]
    pub output: Output,
}

pub fn run(global: &Global, check: &Check) -> Result<u8> {
    let checked = with_session(global, async |session| {
        let mut checked = session.check().await?;
        if checked.problems.is_empty() && checked.away.is_empty() {
            session.check_recorded(&mut checked).await;
        }
        Ok(checked)
    })?;
    if check.output.json {
        json(&checked)?;
    } else {
        print(&checked)?;
    }
    Ok(checked.exit_code())
}

fn print(checked: &Checked) -> Result<()> {
    let mut nodes = Table::new(&["node", "database", "server", "role", "state"]);
    for node in &checked.nodes {
        let state = match (&node.server, node.installed) {
            (None, _) => "not reached",
            (_, true) => "installed",
            (_, false) if !checked.installs => "nothing to install",
            (_, false) => "not installed",
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        nodes.row([node.node.clone(), node.url.clone(), text(&node.server), text(&node.role), state.to_owned()]);
    }
    nodes.print()?;
    for table in &checked.tables {
        let mode = if table.mode == "compare" { "compared, " } else { "" };
        say(&format!("\ntable {}: {mode}key ({}), conflicts: {}", table.table, table.key.join(", "), table.conflict))?;
        for (role, used) in [("filter", &table.filters), ("mapping", &table.mappings)] {
            for used in used {
                let config = cut(&used.config.to_string(), 300);
                let tried = tried(used.tried, checked.problems.is_empty());
                say(&format!("  at {}: {role} {} {config}, {tried}", used.node, used.plugin))?;
            }
        }
        let mut columns = Table::new(&["  column", "travels as", "between the nodes"]);
        for (name, ty) in &table.columns {
            let fits: Vec<&Fit> = table.fits.iter().filter(|fit| fit.column == *name).collect();
            let mut lines = between(&fits).into_iter();
            columns.row([format!("  {name}"), ty.clone(), lines.next().unwrap_or_default()]);
            for line in lines {
                columns.row([String::new(), String::new(), line]);
            }
        }
        if !table.columns.is_empty() {
            columns.print()?;
        }
    }
    lines("warning", &checked.warnings)?;
    lines("not recorded", &checked.unrecorded)?;
    lines("problem", &checked.problems)?;
    say(&match checked.problems.len() as u64 {
        0 if checked.unrecorded.is_empty() => "\nready".to_owned(),
        0 => "\nready, but not every change would be recorded".to_owned(),
        problems => format!("\n{} to be put right first", counted(problems, "problem is", "problems are")),
    })
}

/// On how many rows a plugin was tried.
pub(super) fn tried(rows: u64, is_good: bool) -> String {
    match rows {
        // Where anything is to be put right first, no row was looked for.
        0 if !is_good => "not tried".to_owned(),
        0 => "no row to try it on".to_owned(),
        rows => format!("tried on {}", counted(rows, "row", "rows")),
    }
}

/// A line for each two nodes between which not all values of a column arrive as they are, and one for all others.
fn between(fits: &[&Fit]) -> Vec<String> {
    let mut lines: Vec<String> = fits.iter().filter_map(|fit| told(fit)).collect();
    if lines.len() < fits.len() {
        lines.push(if lines.is_empty() { "exact" } else { "exact elsewhere" }.to_owned());
    }
    lines
}

/// What becomes of values that do not arrive as they are.
fn told(fit: &Fit) -> Option<String> {
    let Fit { from, to, fit, why, .. } = fit;
    let becomes = match *fit {
        "exact" => "exact, but",
        "lossy" => "lossy",
        "refused" => "refused, as",
        _ => "rows wait with",
    };
    Some(format!("{from} to {to}: {becomes} {}", why.as_ref()?))
}

/// A paragraph of messages, if there are any.
fn lines(kind: &str, messages: &[String]) -> Result<()> {
    for (at, message) in messages.iter().enumerate() {
        let gap = if at == 0 { "\n" } else { "" };
        say(&format!("{gap}{kind}: {message}"))?;
    }
    Ok(())
}
