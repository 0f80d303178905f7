//! Shows masks of a node's values to the others, and keeps the values. See README.md.

mod mask;
#[cfg(test)]
mod tests;

use concord_plugin::{Column, Context, Mapping, Plugin, Problem, Row, Value, problem};
use serde_json::{Map, Value as Document};

use mask::Mask;

struct Redact {
    columns: Vec<Column>,
    /// Places of columns, and how each is masked.
    masks: Vec<(usize, Mask)>,
    accepts: bool,
}

#[derive(serde::Deserialize)]
struct Config {
    columns: Map<String, Document>,
    /// Of any kind, since whoever complains of another kind shows it.
    key: Option<Document>,
    edits: Option<String>,
}

impl Plugin for Redact {
    const NAME: &str = "redact";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Shows masks or hashes of a node's values to the others, and keeps the values";
    const CONFIG_SCHEMA: &str = include_str!("../config.schema.json");
}

impl Mapping for Redact {
    fn open(context: &Context) -> Result<Self, Problem> {
        let config: Config = context.config()?;
        let key = match config.key {
            None => None,
            Some(Document::String(key)) if key.len() >= 16 => Some(key),
            Some(_) => return Err(problem("key", "`key` has to be a text of 16 bytes or more")),
        };
        let own = &context.table.columns;
        let mut columns: Vec<Column> = own.iter().map(|column| column.clone().copy_of(&column.name)).collect();
        let mut masks = Vec::new();
        for (name, document) in &config.columns {
            let at = context.place(name)?;
            let says = |why: mask::Refusal| Problem {
                column: Some(name.clone()),
                ..problem(why.code, format!("`columns.{name}` {}", why.message))
            };
            let mask = Mask::read(document, &own[at], key.as_deref()).map_err(says)?;
            let kind = mask.kind().unwrap_or(&own[at].kind).to_owned();
            columns[at] = Column { kind, facts: Vec::new(), ..own[at].clone() };
            masks.push((at, mask));
        }
        if key.is_some() && !masks.iter().any(|(_, mask)| mask.is_keyed()) {
            return Err(problem("alone", "`key` is of use with a column that is hashed"));
        }
        Ok(Redact { columns, masks, accepts: config.edits.as_deref() == Some("accept") })
    }

    fn columns(&self) -> Vec<Column> {
        self.columns.clone()
    }

    fn to_shared(&self, local: &[Value]) -> Result<Row, Problem> {
        let mut row = local.to_vec();
        self.masks.iter().for_each(|(at, mask)| row[*at] = mask.of(&local[*at]));
        Ok(row)
    }

    fn to_local(&self, shared: &[Value], current: Option<&[Value]>) -> Result<Row, Problem> {
        let mut row = shared.to_vec();
        for (at, mask) in &self.masks {
            let shared = &shared[*at];
            row[*at] = match current.map(|current| &current[*at]) {
                Some(current) if mask.of(current).same(shared) => current.clone(),
                // Nobody's value is lost.
                None if shared.is_null() => Value::Null,
                _ if self.accepts && mask.of(shared).same(shared) => shared.clone(),
                stands => return Err(self.unknown(*at, stands.is_some())),
            };
        }
        Ok(row)
    }
}

impl Redact {
    fn unknown(&self, at: usize, stands: bool) -> Problem {
        let (message, hint) = match stands {
            true => (
                "it was changed where only its mask is known, so the value that belongs to it is unknown",
                "change it at this node",
            ),
            false => (
                "the row comes from where only masks are known, so the value that belongs here is unknown",
                "insert the row at this node, or leave the column NULL elsewhere",
            ),
        };
        Problem {
            column: Some(self.columns[at].name.clone()),
            hint: Some(hint.to_owned()),
            ..problem("masked", message)
        }
    }
}

concord_plugin::mapping!(Redact);
