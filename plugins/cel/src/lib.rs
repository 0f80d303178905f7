//! Keeps the rows for which an expression of the Common Expression Language is true, and makes rows by such expressions. See README.md.

mod cell;
mod constant;
mod decimal;
mod expression;
mod mapping;
mod number;
mod outcome;
#[cfg(test)]
mod tests;

use concord_plugin::{Context, Filter, Plugin, Problem, Value, problem};

use expression::{Expression, Scope};

struct Cel {
    keep: Expression,
}

#[derive(serde::Deserialize)]
struct Config {
    keep: Option<String>,
    #[serde(flatten)]
    others: serde_json::Map<String, serde_json::Value>,
}

impl Plugin for Cel {
    const NAME: &str = "cel";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Expressions in CEL say which rows belong at a node, or what is made of them";
    const CONFIG_SCHEMA: &str = include_str!("../config.schema.json");
}

impl Filter for Cel {
    fn open(context: &Context) -> Result<Self, Problem> {
        let config: Config = context.config()?;
        if let Some((name, _)) = config.others.iter().next() {
            return Err(problem("config", format!("`{name}` is for a mapping, and a filter takes `keep` alone")));
        }
        let keep = config.keep.ok_or_else(|| problem("config", "there is no `keep`, which says what belongs"))?;
        let row = Scope { name: "row", table: &context.table };
        Ok(Cel { keep: Expression::compile("keep", &keep, &[row])? })
    }

    fn columns(&self) -> Vec<String> {
        self.keep.columns.iter().map(|one| one.column.name.clone()).collect()
    }

    fn keeps(&self, row: &[Value]) -> Result<bool, Problem> {
        self.keep.holds(row)
    }
}

concord_plugin::plugin!(Cel: filter);
concord_plugin::mapping!(role mapping::Made);
