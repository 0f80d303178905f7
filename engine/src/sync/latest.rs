//! Which of several rows of one key is the latest, where a column of theirs is all there is to tell. What it does not tell is a
//! conflict: the policy `prefer` decides it, or else nobody but a person.

use std::cmp::Ordering;
use std::sync::Arc;

use super::settle::{self, Settlement};
use super::table::Table;
use crate::config::section_of;
use crate::merge::Policy;
use crate::model::{NodeId, Row, Value};

/// The outcome for one key.
#[derive(Debug, PartialEq)]
pub struct Latest {
    /// In the shared shape, with all columns that live anywhere.
    pub row: Arc<Row>,
    pub settlement: Settlement,
    /// Whether others were as late and had to give way to the policy.
    pub disputed: bool,
}

/// The latest of these rows, which are in the shared shape and in the order of the nodes; or in words why none is.
///
/// Columns that do not live where the latest row stands are those of the latest row that has them.
pub fn latest(table: &Table, rows: &[(NodeId, Arc<Row>)], names: &[String]) -> Result<Latest, String> {
    let Some(by) = table.updated else {
        return Err(format!("`{}` names no column that tells which row is the later", table.name));
    };
    let lives = |node: NodeId, place: usize| table.form(node).is_some_and(|form| form.lens.has(place));
    let width = |node: NodeId| (0..table.columns.len()).filter(|place| lives(node, *place)).count();
    let all: Vec<&(NodeId, Arc<Row>)> = rows.iter().collect();
    let mut chosen =
        choose(table, by, &all, names, |a, b| settle::differing(table, (a.0, &a.1), (b.0, &b.1)).is_empty())?;
    // Of those that are alike, the one of which the most is known.
    let most = chosen.among.iter().map(|(node, _)| width(*node)).max();
    let (winner, row) = *chosen.among.iter().find(|(node, _)| Some(width(*node)) == most).unwrap_or(&chosen.first);
    let mut row = row.clone();
    for place in (0..table.columns.len()).filter(|place| !lives(*winner, *place)) {
        let holders: Vec<&(NodeId, Arc<Row>)> = rows.iter().filter(|(node, _)| lives(*node, place)).collect();
        if !holders.is_empty() {
            let part = choose(table, by, &holders, names, |a, b| a.1[place] == b.1[place])?;
            chosen.disputed |= part.disputed;
            Arc::make_mut(&mut row)[place] = part.first.1[place].clone();
        }
    }
    let reason = match chosen.disputed {
        true => format!("prefer: {} goes before the others that are as late", names[winner.index()]),
        false => {
            let column = &table.columns[by].name;
            format!("`{column}` is the latest at {}: {}", names[winner.index()], row[by])
        }
    };
    Ok(Latest { settlement: Settlement { winner: *winner, reason }, disputed: chosen.disputed, row })
}

/// The rows that count.
struct Chosen<'a> {
    first: &'a (NodeId, Arc<Row>),
    /// All that are as late and alike.
    among: Vec<&'a (NodeId, Arc<Row>)>,
    disputed: bool,
}

fn choose<'a>(
    table: &Table,
    by: usize,
    rows: &[&'a (NodeId, Arc<Row>)],
    names: &[String],
    alike: impl Fn(&(NodeId, Arc<Row>), &(NodeId, Arc<Row>)) -> bool,
) -> Result<Chosen<'a>, String> {
    let column = &table.columns[by].name;
    let mut latest: Vec<&(NodeId, Arc<Row>)> = Vec::new();
    for &row in rows {
        match latest.first().map(|best| age(&row.1[by], &best.1[by])) {
            None | Some(Some(Ordering::Equal)) => latest.push(row),
            Some(Some(Ordering::Greater)) => latest = vec![row],
            Some(Some(Ordering::Less)) => {}
            Some(None) => {
                return Err(format!(
                    "`{column}` holds values of kinds that cannot be compared, so none of them is the later"
                ));
            }
        }
    }
    let Some(&first) = latest.first() else { return Err("no node has the row any more".to_owned()) };
    if latest.iter().enumerate().all(|(at, one)| latest[at + 1..].iter().all(|other| alike(one, other))) {
        return Ok(Chosen { first, among: latest, disputed: false });
    }
    let preferred = match &table.policy {
        Policy::Prefer(order) => order.iter().find_map(|node| latest.iter().find(|(at, _)| at == node)),
        _ => None,
    };
    match preferred {
        Some(&preferred) => Ok(Chosen { first: preferred, among: vec![preferred], disputed: true }),
        None => {
            let nodes: Vec<&str> = latest.iter().map(|(node, _)| names[node.index()].as_str()).collect();
            Err(format!(
                "a conflict: the rows differ and are equally late at {} (`{column}`: {}); write one of them anew, run `concord \
                 verify --repair --prefer NODE`, or let the file decide: conflict = {{ prefer = [nodes] }} in {}",
                nodes.join(", "),
                first.1[by],
                section_of(&table.name)
            ))
        }
    }
}

/// Which of two values is the later; what is not known is older than anything.
fn age(a: &Value, b: &Value) -> Option<Ordering> {
    match (a.is_null(), b.is_null()) {
        (true, true) => Some(Ordering::Equal),
        (true, false) => Some(Ordering::Less),
        (false, true) => Some(Ordering::Greater),
        (false, false) => settle::ordered(a, b),
    }
}
