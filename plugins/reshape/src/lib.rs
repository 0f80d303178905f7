//! Gives a node's table another shape by what the configuration says of its columns. See README.md.

mod config;
mod lens;
mod number;
#[cfg(test)]
mod tests;

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
            let values = part.get(local).map_err(|fault| self.says(part, fault))?;
            part.shared.iter().zip(values).for_each(|(&at, value)| row[at] = value);
        }
        Ok(row)
    }

    fn to_local(&self, shared: &[Value], current: Option<&[Value]>) -> Result<Row, Problem> {
        let mut row = current.map_or_else(|| self.initial.clone(), <[Value]>::to_vec);
        for part in &self.parts {
            let wanted: Vec<Value> = part.shared.iter().map(|&at| shared[at].clone()).collect();
            // What stands there and says the same stays: it may say more. That alone makes both laws hold for any part.
            if current.is_some_and(|current| part.get(current).is_ok_and(|got| same(&got, &wanted))) {
                continue;
            }
            let values = part.put(&wanted).map_err(|fault| self.says(part, fault))?;
            part.local.iter().zip(values).for_each(|(&at, value)| row[at] = value);
            if !part.get(&row).is_ok_and(|got| same(&got, &wanted)) {
                return Err(self.says(part, part.lens.not_back()));
            }
        }
        Ok(row)
    }
}

impl Reshape {
    fn says(&self, part: &Part, fault: Fault) -> Problem {
        let column = part.shared.first().map(|&at| self.columns[at].name.clone());
        Problem { column, ..problem(fault.code, fault.message) }
    }
}

fn same(some: &[Value], others: &[Value]) -> bool {
    some.iter().zip(others).all(|(one, other)| one.same(other))
}

concord_plugin::mapping!(Reshape);
