//! Keeps the rows for which an expression of the Common Expression Language is true. See README.md.

mod cell;
mod constant;
mod decimal;
mod expression;
#[cfg(test)]
mod tests;

use concord_plugin::{Context, Filter, Plugin, Problem, Value};

use expression::Expression;

struct Cel {
    keep: Expression,
}

#[derive(serde::Deserialize)]
struct Config {
    keep: String,
}

impl Plugin for Cel {
    const NAME: &str = "cel";
    const SUMMARY: &str = "Rows for which an expression in CEL is true belong at the node";
    const CONFIG_SCHEMA: &str = include_str!("../config.schema.json");
}

impl Filter for Cel {
    fn open(context: &Context) -> Result<Self, Problem> {
        let config: Config = context.config()?;
        Ok(Cel { keep: Expression::compile(&config.keep, &context.table)? })
    }

    fn columns(&self) -> Vec<String> {
        self.keep.columns.iter().map(|column| column.name.clone()).collect()
    }

    fn keeps(&self, row: &[Value]) -> Result<bool, Problem> {
        self.keep.holds(row)
    }
}

concord_plugin::filter!(Cel);
