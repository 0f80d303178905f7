//! A filter that keeps the rows with one of some texts in a column; docs/src/plugins.md builds it step by step.

use concord_plugin::*;

#[derive(serde::Deserialize)]
struct Region {
    column: String,
    values: Vec<String>,
}

impl Plugin for Region {
    const NAME: &str = "region";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Rows with one of some texts in a column belong at the node";
    const CONFIG_SCHEMA: &str = r#"{
        "type": "object", "additionalProperties": false, "required": ["column", "values"],
        "properties": {"column": {"type": "string"}, "values": {"type": "array", "items": {"type": "string"}}}
    }"#;
}

impl Filter for Region {
    fn open(context: &Context) -> Result<Self, Problem> {
        let region: Region = context.config()?;
        context.place(&region.column)?;
        Ok(region)
    }

    fn columns(&self) -> Vec<String> {
        vec![self.column.clone()]
    }

    fn keeps(&self, row: &[Value]) -> Result<bool, Problem> {
        Ok(row[0].as_text().is_some_and(|text| self.values.iter().any(|value| value == text)))
    }
}

filter!(Region);
