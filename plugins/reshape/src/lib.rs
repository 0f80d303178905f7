//! Gives a node's table another shape by what the configuration says of its columns. See README.md.

mod config;
mod lens;
mod number;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use concord_plugin::{Column, Context, Mapping, Plugin, Problem, Row, Value, problem};

use lens::{Fault, Part};

struct Reshape {
    /// The shared columns.
    columns: Vec<Column>,
    /// Each makes some of the shared columns of some of the node's.
    parts: Vec<Part>,
    /// A row of the node where none stands: NULL but for what columns of its own begin with.
    initial: Vec<Value>,
}

impl Plugin for Reshape {
    const NAME: &str = "reshape";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Renames, splits, joins and translates columns, by configuration alone";
    const CONFIG_SCHEMA: &str = include_str!("../config.schema.json");
}

impl Mapping for Reshape {
    fn open(context: &Context) -> Result<Self, Problem> {
        config::open(context)
    }

    fn columns(&self) -> Vec<Column> {
        self.columns.clone()
    }

    fn to_shared(&self, local: &[Value]) -> Result<Row, Problem> {
        let mut row = vec![Value::Null; self.columns.len()];
        for part in &self.parts {
            if part.lens.is_same() {
                row[part.shared[0]] = local[part.local[0]].clone();
                continue;
            }
            let values = part.get(&at(&part.local, local)).map_err(|fault| self.says(part, fault))?;
            part.shared.iter().zip(values).for_each(|(&at, value)| row[at] = value.into_owned());
        }
        Ok(row)
    }

    fn to_local(&self, shared: &[Value], current: Option<&[Value]>) -> Result<Row, Problem> {
        let mut row: Vec<Cow<'_, Value>> = current.unwrap_or(&self.initial).iter().map(Cow::Borrowed).collect();
        for part in &self.parts {
            if part.lens.is_same() {
                let (own, wanted) = (part.local[0], &shared[part.shared[0]]);
                if !current.is_some_and(|current| current[own].same(wanted)) {
                    row[own] = Cow::Borrowed(wanted);
                }
                continue;
            }
            let wanted = at(&part.shared, shared);
            // What stands there and says the same stays: it may say more. That alone makes both laws hold for any part.
            if current.is_some_and(|current| gives(part, &at(&part.local, current), &wanted)) {
                continue;
            }
            let values = part.put(&wanted).map_err(|fault| self.says(part, fault))?;
            part.local.iter().zip(values).for_each(|(&at, value)| row[at] = value);
            let own: Vec<&Value> = part.local.iter().map(|&at| &*row[at]).collect();
            if !gives(part, &own, &wanted) {
                return Err(self.says(part, part.lens.not_back()));
            }
        }
        Ok(row.into_iter().map(Cow::into_owned).collect())
    }
}

impl Reshape {
    fn says(&self, part: &Part, fault: Fault) -> Problem {
        let column = part.shared.first().map(|&at| self.columns[at].name.clone());
        Problem { column, ..problem(fault.code, fault.message) }
    }
}

/// The values at these places.
fn at<'a>(places: &[usize], row: &'a [Value]) -> Vec<&'a Value> {
    places.iter().map(|&at| &row[at]).collect()
}

/// Whether these values of the node are shared as these.
fn gives(part: &Part, own: &[&Value], wanted: &[&Value]) -> bool {
    part.get(own).is_ok_and(|got| got.iter().zip(wanted).all(|(one, other)| one.same(other)))
}

concord_plugin::mapping!(Reshape);
