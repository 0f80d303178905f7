//! A plugin in every role that hands on what it is given, or does what the note says. As a resolver it is what the mirrors in
//! other languages are.

use std::hint::black_box;

use concord_plugin::*;

struct Mirror {
    columns: Vec<Column>,
    note: usize,
}

impl Plugin for Mirror {
    const NAME: &str = "mirror";
    const SUMMARY: &str = "What it is given, as it is";
    const CONFIG_SCHEMA: &str = r#"{"type": "object"}"#;
}

fn poison() -> Problem {
    Problem {
        column: Some("note".to_owned()),
        hint: Some("a hint".to_owned()),
        ..problem("bad-note", "the note is poison")
    }
}

impl Mirror {
    fn opened(context: &Context) -> Result<Mirror, Problem> {
        if context.config.contains("\"problem\"") {
            return Err(poison());
        }
        assert!(!context.config.contains("\"error\""), "an error on purpose");
        Ok(Mirror { columns: context.table.columns.clone(), note: 1 })
    }

    fn copied(&self, row: &[Value]) -> Result<Row, Problem> {
        match row.get(self.note).and_then(Value::as_text) {
            Some("problem") => Err(poison()),
            Some("error") => panic!("an error on purpose"),
            Some("endless") => loop {
                black_box(());
            },
            Some("memory") => {
                let mut kept = Vec::new();
                loop {
                    kept.push(black_box(vec![1u8; 1 << 20]));
                }
            }
            Some("more") => Ok(row.iter().map(more).collect()),
            _ => Ok(row.to_vec()),
        }
    }
}

fn more(value: &Value) -> Value {
    match value {
        Value::Integer(number) if *number > 1 => Value::Integer(number + 1),
        other => other.clone(),
    }
}

impl Filter for Mirror {
    fn open(context: &Context) -> Result<Self, Problem> {
        let note = context.place("note")?;
        Ok(Mirror { note: 0, columns: vec![context.table.columns[note].clone()] })
    }

    fn columns(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.name.clone()).collect()
    }

    fn keeps(&self, row: &[Value]) -> Result<bool, Problem> {
        Ok(self.copied(row)?[0].as_text() != Some("drop"))
    }
}

impl Mapping for Mirror {
    fn open(context: &Context) -> Result<Self, Problem> {
        Mirror::opened(context)
    }

    fn columns(&self) -> Vec<Column> {
        self.columns.clone()
    }

    fn to_shared(&self, local: &[Value]) -> Result<Row, Problem> {
        self.copied(local)
    }

    fn to_local(&self, shared: &[Value], _: Option<&[Value]>) -> Result<Row, Problem> {
        self.copied(shared)
    }
}

impl Resolver for Mirror {
    fn open(context: &Context) -> Result<Self, Problem> {
        Mirror::opened(context)
    }

    fn resolve(&self, conflict: &Conflict) -> Result<Resolution, Problem> {
        match &conflict.versions[conflict.latest as usize].row {
            Some(row) => self.copied(row).map(Resolution::Merged),
            None => Ok(Resolution::Delete),
        }
    }
}

plugin!(Mirror: filter, mapping, resolver);
