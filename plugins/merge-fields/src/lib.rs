//! Merges the versions of a row column by column: what was changed at one node and left alone at the others is kept, and
//! where several changed the same column its rule decides. See README.md.

mod json;
mod rule;
mod sum;
mod text;

use std::cmp::{Ordering, Reverse};

use concord_plugin::{Change, Conflict, Context, Plugin, Problem, Resolution, Resolver, Row, Value, Version, problem};

use rule::{Config, Part, Rule};

struct MergeFields {
    parts: Vec<Part>,
    /// Names of the columns whose changes are recorded.
    recorded: Vec<String>,
}

impl Plugin for MergeFields {
    const NAME: &str = "merge-fields";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Merges rows column by column: latest, earliest, max, min, sum, union, text, prefer";
    const CONFIG_SCHEMA: &str = include_str!("../config.schema.json");
}

impl Resolver for MergeFields {
    fn open(context: &Context) -> Result<Self, Problem> {
        let config: Config = context.config()?;
        let mut recorded = Vec::new();
        let parts = rule::parts(config, context, &mut recorded)?;
        Ok(MergeFields { parts, recorded })
    }

    fn recorded(&self) -> Vec<String> {
        self.recorded.clone()
    }

    fn resolve(&self, conflict: &Conflict) -> Result<Resolution, Problem> {
        // Whether there is a row at all is the latest change's to say.
        let Some(latest) = &conflict.versions[conflict.latest as usize].row else {
            return Ok(Resolution::Take(conflict.latest));
        };
        let mut row = latest.clone();
        for part in &self.parts {
            part.merge(conflict, &mut row)?;
        }
        // The latest version's other columns were taken as they are.
        let is_latest = || self.columns().all(|at| latest[at].same(&row[at]));
        let same = |(at, version): (usize, &Version)| match &version.row {
            Some(_) if at == conflict.latest as usize => is_latest(),
            other => other.as_ref().is_some_and(|other| same(other, &row)),
        };
        Ok(match conflict.versions.iter().enumerate().position(same) {
            // A version that says it all is taken as it is, so that nothing counts as lost there.
            Some(at) => Resolution::Take(at as u32),
            None => Resolution::Merged(row),
        })
    }
}

impl MergeFields {
    /// The places of the columns that have rules.
    fn columns(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().flat_map(|part| part.columns.iter().copied())
    }
}

concord_plugin::resolver!(MergeFields);

fn same(a: &Row, b: &Row) -> bool {
    a.iter().zip(b).all(|(a, b)| a.same(b))
}

impl Part {
    /// Puts what the versions' columns come to into the row.
    fn merge(&self, conflict: &Conflict, row: &mut Row) -> Result<(), Problem> {
        let column = self.columns[0];
        match &self.rule {
            Rule::Latest => self.take(conflict.changes.iter().rev(), row),
            Rule::Earliest => self.take(conflict.changes.iter(), row),
            Rule::Prefer(nodes) => {
                // Of one node there may be several, where some nodes have heard less of it than others.
                let of = |node: &String| {
                    let own = conflict.versions.iter().filter(|version| version.node == *node);
                    let rows = own.filter_map(|version| Some((version.time, version.row.as_ref()?)));
                    rows.max_by_key(|&(time, _)| time).map(|(_, row)| row)
                };
                if let Some(preferred) = nodes.iter().find_map(of) {
                    self.columns.iter().for_each(|&at| row[at] = preferred[at].clone());
                }
            }
            Rule::Max | Rule::Min => {
                let (code, wanted) = match self.rule {
                    Rule::Max => ("max", Ordering::Greater),
                    _ => ("min", Ordering::Less),
                };
                row[column] = extreme(conflict, column, wanted).map_err(|why| self.says(code, why))?;
            }
            Rule::Union => {
                // By age: nobody's place in the list may matter.
                let mut versions: Vec<&Version> = conflict.versions.iter().collect();
                versions.sort_by_key(|version| (Reverse(version.time), &version.node));
                let values = versions.into_iter().filter_map(|version| Some(&version.row.as_ref()?[column]));
                row[column] = json::union(values).map_err(|why| self.says("union", why))?;
            }
            Rule::Text => {
                let Some((start, unseen)) = unseen(conflict) else { return Ok(()) };
                let merged = text::merge(&start[column], &unseen, self.recorded[0]);
                row[column] = merged.map_err(|why| self.says("text", why))?;
            }
            Rule::Sum => {
                let place = self.recorded[0];
                let Some((start, unseen)) = unseen(conflict) else { return Ok(()) };
                let side = |row: &Option<Row>| row.as_ref().map_or(Value::Null, |row| row[place].clone());
                let steps: Vec<(Value, Value)> =
                    unseen.iter().map(|change| (side(&change.before), side(&change.after))).collect();
                row[column] = sum::total(&start[column], &steps).map_err(|why| self.says("sum", why))?;
            }
        }
        Ok(())
    }

    /// Takes the columns as the first of these changes left them that changed any of them.
    fn take<'a>(&self, mut changes: impl Iterator<Item = &'a Change>, row: &mut Row) {
        let touched = |change: &&Change| match (&change.before, &change.after) {
            (Some(before), Some(after)) => self.recorded.iter().any(|&at| !before[at].same(&after[at])),
            (None, after) => after.is_some(),
            (Some(_), None) => false,
        };
        if let Some(after) = changes.find(touched).and_then(|change| change.after.as_ref()) {
            self.columns.iter().zip(&self.recorded).for_each(|(&at, &recorded)| row[at] = after[recorded].clone());
        }
    }

    fn says(&self, code: &str, why: String) -> Problem {
        Problem { column: Some(self.name.clone()), ..problem(code, why) }
    }
}

/// The row of the version from which to add up, if it has one, and the changes that it has not seen, the earliest first.
fn unseen(conflict: &Conflict) -> Option<(&Row, Vec<&Change>)> {
    let start = conflict.versions[conflict.start as usize].row.as_ref()?;
    let unseen = conflict.changes.iter().filter(|change| !change.seen_by.contains(&conflict.start));
    Some((start, unseen.collect()))
}

/// The largest or the smallest of the versions' values; NULL is neither. Of equal ones that are written differently, such as 5 and
/// 5.0, it is the latest version's, or else the youngest: nobody's place in the list may matter.
fn extreme(conflict: &Conflict, column: usize, wanted: Ordering) -> Result<Value, String> {
    let latest = &conflict.versions[conflict.latest as usize].node;
    let mut versions: Vec<&Version> = conflict.versions.iter().collect();
    versions.sort_by_key(|version| (version.node != *latest, Reverse(version.time), &version.node));
    let values = versions.into_iter().filter_map(|version| Some(&version.row.as_ref()?[column]));
    let mut best: Option<&Value> = None;
    for value in values.filter(|value| !value.is_null()) {
        let Some(so_far) = best else {
            best = Some(value);
            continue;
        };
        match value.order(so_far) {
            Some(order) if order == wanted => best = Some(value),
            Some(_) => {}
            None if value.same(so_far) => {}
            None => return Err(format!("there is no order between {} and {}", kind(so_far), kind(value))),
        }
    }
    Ok(best.cloned().unwrap_or(Value::Null))
}

/// What a value is, for messages.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "NULL",
        Value::Boolean(_) | Value::Integer(_) | Value::Unsigned(_) | Value::Float(_) | Value::Decimal(_) => "a number",
        Value::Text(_) => "a text",
        Value::Bytes(_) => "bytes",
        Value::Date(_) => "a date",
        Value::Time(_) => "a time",
        Value::Timestamp(_) => "a timestamp",
        Value::Instant(_) => "an instant",
        Value::Json(_) => "a JSON document",
        Value::Uuid(_) => "a uuid",
        Value::Other(_) => "a value of an unknown kind",
    }
}
