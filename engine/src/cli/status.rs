//! `concord status`: how things stand.

use std::time::Duration;

use clap::Args;

use super::report::{Table, count, cut, json, say, span_of};
use super::sync::{left_out, not_in_the_file};
use super::{Global, Output, note, with_session};
use crate::error::Result;

#[derive(Clone, Debug, Args)]
#[command(
    about = "Show what is pending, waiting or stopped at every node",
    long_about = "Show for every node and table what is pending, the lag, conflicts, rows that wait, drift, the clock's offset, and what holds the history back; where anything is pending, which nodes have it not yet, and which rights they lack to take it. A change that met a row which somebody holds, as an open transaction does, is pending until it could be written. Rights by which users' changes are recorded on MySQL and MariaDB are told wherever they are missing, since without them users can write nothing. Nothing is changed. Exits with 1 if rows wait, a table stands still, a node is left out, such a right is missing or a server times changes by a clock that has strayed, and with 3 if a node could not be reached.",
    after_long_help = "Example:\n  concord status"
)]
pub struct Status {
    #[command(flatten)]
    pub output: Output,
}

pub fn run(global: &Global, status: &Status) -> Result<u8> {
    let found = with_session(global, async |session| session.status().await)?;
    if status.output.json {
        json(&found)?;
    } else {
        print(&found)?;
        not_in_the_file(global.quiet, &found.unlisted);
    }
    Ok(found.exit_code())
}

fn print(status: &crate::sync::Status) -> Result<()> {
    let lacks = status.tables.iter().any(|line| !line.lacking.is_empty());
    let heads = ["table", "node", ">pending", ">oldest", ">kept", ">waiting", "not yet at"];
    let mut tables = Table::new(if lacks { &heads } else { &heads[..6] });
    for line in &status.tables {
        let oldest = line.lag.map(|lag| span_of(Duration::from_secs_f64(lag))).unwrap_or_default();
        let counts = [count(line.pending), oldest, count(line.kept), count(line.parked)];
        let lacking = lacks.then(|| line.lacking.join(", "));
        tables.row([line.table.clone(), line.node.clone()].into_iter().chain(counts).chain(lacking));
    }
    if !tables.is_empty() {
        tables.print()?;
    }
    let mut nodes = Table::new(&["node", ">clock", ">conflicts", "held back by"]);
    for node in &status.nodes {
        let clock = match node.clock_offset {
            0.0 => "right".to_owned(),
            offset => format!("{offset:+.3} s"),
        };
        let blockers = cut(&node.blockers.join("; "), 160);
        nodes.row([node.node.clone(), clock, count(node.conflicts), blockers]);
    }
    if !nodes.is_empty() {
        say("")?;
        nodes.print()?;
    }
    if !status.compared.is_empty() {
        say(&format!("compared: {}; concord verify tells whether rows differ", status.compared.join(", ")))?;
    }
    status.problems.iter().for_each(|problem| note(problem));
    left_out(&status.away, &status.stopped);
    Ok(())
}
