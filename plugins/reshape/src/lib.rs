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
        self.share(local.to_vec())
    }

    fn to_local(&self, shared: &[Value], current: Option<&[Value]>) -> Result<Row, Problem> {
        self.localize(shared.to_vec(), current.map(<[Value]>::to_vec))
    }

    fn share(&self, mut local: Row) -> Result<Row, Problem> {
        let mut row = vec![Value::Null; self.columns.len()];
        for part in &self.parts {
            if part.lens.is_same() {
                row[part.shared[0]] = std::mem::replace(&mut local[part.local[0]], Value::Null);
                continue;
            }
            let values = part.get(&local).map_err(|fault| self.says(part, fault))?;
            part.shared.iter().zip(values).for_each(|(&at, value)| row[at] = value.into_owned());
        }
        Ok(row)
    }

    fn localize(&self, mut shared: Row, current: Option<Row>) -> Result<Row, Problem> {
        let stands = current.is_some();
        let mut row = current.unwrap_or_else(|| self.initial.clone());
        for part in &self.parts {
            if part.lens.is_same() {
                let (own, wanted) = (&mut row[part.local[0]], &mut shared[part.shared[0]]);
                if !(stands && has_spellings(wanted) && own.same(wanted)) {
                    *own = std::mem::replace(wanted, Value::Null);
                }
                continue;
            }
            // What stands there and says the same stays: it may say more. That alone makes both laws hold for any part.
            if stands && part.gives(&row, &shared) {
                continue;
            }
            let values = part.put(&shared).map_err(|fault| self.says(part, fault))?;
            part.local.iter().zip(values).for_each(|(&at, value)| row[at] = value.into_owned());
            if !part.gives(&row, &shared) {
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

/// Whether the value can be written in several ways, so that what stands may say the same otherwise.
fn has_spellings(value: &Value) -> bool {
    use Value::*;
    !matches!(value, Null | Boolean(_) | Text(_) | Bytes(_) | Date(_) | Time(_) | Timestamp(_) | Instant(_))
}

concord_plugin::mapping!(Reshape);
