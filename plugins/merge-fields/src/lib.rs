//! Merges the versions of a row column by column: what was changed at one node and left alone at the others is kept, and
//! where several changed the same column its rule decides. See README.md.

mod json;
mod rule;
mod sum;
mod text;

use concord_plugin::{Change, Conflict, Context, Plugin, Problem, Resolution, Resolver, Row, Value, Version, problem};

use rule::{Config, Part, Rule};

struct MergeFields {
    parts: Vec<Part>,
    /// Names of the columns whose changes are recorded.
    recorded: Vec<String>,
}

impl Plugin for MergeFields {
    const NAME: &str = "merge-fields";
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
        let same = |version: &Version| version.row.as_ref().is_some_and(|other| same(other, &row));
        Ok(match conflict.versions.iter().position(same) {
            // A version that says it all is taken as it is, so that nothing counts as lost there.
            Some(at) => Resolution::Take(at as u32),
            None => Resolution::Merged(row),
        })
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
                let of = |node: &String| conflict.versions.iter().find(|version| version.node == *node);
                if let Some(preferred) = nodes.iter().filter_map(of).find_map(|version| version.row.as_ref()) {
                    self.columns.iter().for_each(|&at| row[at] = preferred[at].clone());
                }
            }
            Rule::Max => extreme(conflict, column, row, std::cmp::Ordering::Greater),
            Rule::Min => extreme(conflict, column, row, std::cmp::Ordering::Less),
            Rule::Union => {
                // By age: nobody's place in the list may matter.
                let mut versions: Vec<&Version> = conflict.versions.iter().collect();
                versions.sort_by_key(|version| (std::cmp::Reverse(version.time), &version.node));
                let values = versions.into_iter().filter_map(|version| Some(&version.row.as_ref()?[column]));
                row[column] = json::union(values).map_err(|why| self.says("union", why))?;
            }
            Rule::Text => {
                let base = conflict.base.as_ref().map(|base| &base[self.recorded[0]]);
                let rows = conflict.versions.iter().filter_map(|version| version.row.as_ref());
                let values: Vec<&Value> = rows.map(|row| &row[column]).collect();
                row[column] = text::merge(base, &values).map_err(|why| self.says("text", why))?;
            }
            Rule::Sum => {
                let place = self.recorded[0];
                let Some(start) = &conflict.versions[conflict.start as usize].row else { return Ok(()) };
                let unseen = conflict.changes.iter().filter(|change| !change.seen_by.contains(&conflict.start));
                let side = |row: &Option<Row>| row.as_ref().map_or(Value::Null, |row| row[place].clone());
                let steps: Vec<(Value, Value)> =
                    unseen.map(|change| (side(&change.before), side(&change.after))).collect();
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

/// The largest or the smallest of the versions' values; NULL is neither.
fn extreme(conflict: &Conflict, column: usize, row: &mut Row, wanted: std::cmp::Ordering) {
    let rows = conflict.versions.iter().filter_map(|version| version.row.as_ref());
    for value in rows.map(|other| &other[column]).filter(|value| !value.is_null()) {
        if row[column].is_null() || value.order(&row[column]) == Some(wanted) {
            row[column] = value.clone();
        }
    }
}
