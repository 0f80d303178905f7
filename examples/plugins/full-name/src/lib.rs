//! A mapping of a node that keeps a name in two columns and money in cents; docs/src/plugins.md builds it step by step.

use concord_plugin::*;

#[derive(serde::Deserialize)]
struct Config {
    /// The shared column that the two become.
    name: String,
    first: String,
    last: String,
    /// Columns of cents, which are shared as decimals of units.
    #[serde(default)]
    cents: Vec<String>,
    /// Columns of which the others know nothing.
    #[serde(default)]
    own: Vec<String>,
}

struct FullName {
    /// The shared columns, and what each is made of.
    columns: Vec<(Column, Source)>,
    first: usize,
    last: usize,
    /// How many columns the node's table has.
    width: usize,
}

/// What a shared column is made of: places of the node's columns.
#[derive(Clone, Copy)]
enum Source {
    Same(usize),
    Name,
    Cents(usize),
}

impl Plugin for FullName {
    const NAME: &str = "full-name";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "A name in two columns is shared as one, and cents as units";
    const CONFIG_SCHEMA: &str = r#"{
        "type": "object", "additionalProperties": false, "required": ["name", "first", "last"],
        "properties": {
            "name": {"type": "string"}, "first": {"type": "string"}, "last": {"type": "string"},
            "cents": {"type": "array", "items": {"type": "string"}},
            "own": {"type": "array", "items": {"type": "string"}}
        }
    }"#;
}

impl Mapping for FullName {
    fn open(context: &Context) -> Result<Self, Problem> {
        let config: Config = context.config()?;
        let (first, last) = (context.place(&config.first)?, context.place(&config.last)?);
        for name in config.cents.iter().chain(&config.own) {
            context.place(name)?;
        }
        let mut columns = Vec::new();
        for (at, column) in context.table.columns.iter().enumerate() {
            let shared =
                |name: &str, kind: &str| Column { name: name.to_owned(), kind: kind.to_owned(), ..column.clone() };
            if at == first {
                columns.push((shared(&config.name, "text"), Source::Name));
            } else if config.cents.contains(&column.name) {
                columns.push((shared(&column.name, "decimal"), Source::Cents(at)));
            } else if at != last && !config.own.contains(&column.name) {
                columns.push((column.clone().copy_of(&column.name), Source::Same(at)));
            }
        }
        Ok(FullName { columns, first, last, width: context.table.columns.len() })
    }

    fn columns(&self) -> Vec<Column> {
        self.columns.iter().map(|(column, _)| column.clone()).collect()
    }

    fn to_shared(&self, local: &[Value]) -> Result<Row, Problem> {
        let value = |(column, source): &(Column, Source)| match *source {
            Source::Same(at) => Ok(local[at].clone()),
            Source::Name => Ok(self.name(local)),
            Source::Cents(at) => units(&column.name, &local[at]),
        };
        self.columns.iter().map(value).collect()
    }

    fn to_local(&self, shared: &[Value], current: Option<&[Value]>) -> Result<Row, Problem> {
        let mut row = current.map_or_else(|| vec![Value::Null; self.width], <[Value]>::to_vec);
        for ((column, source), value) in self.columns.iter().zip(shared) {
            match *source {
                Source::Same(at) => row[at] = value.clone(),
                Source::Cents(at) => row[at] = cents(&column.name, value)?,
                // Where a name is to be divided only the node knows, as long as it is the same.
                Source::Name if current.is_some_and(|current| self.name(current).as_text() == value.as_text()) => {}
                Source::Name => {
                    let text = |text: &str| Value::Text(text.to_owned());
                    (row[self.first], row[self.last]) = match value.as_text().map(|name| (name, name.rsplit_once(' ')))
                    {
                        Some((_, Some((first, last)))) => (text(first), text(last)),
                        Some((name, None)) => (text(name), Value::Null),
                        None => (Value::Null, Value::Null),
                    };
                }
            }
        }
        Ok(row)
    }
}

impl FullName {
    /// The two parts of a name, or the one that is there.
    fn name(&self, local: &[Value]) -> Value {
        match (local[self.first].as_text(), local[self.last].as_text()) {
            (Some(first), Some(last)) => Value::Text(format!("{first} {last}")),
            (Some(one), None) | (None, Some(one)) => Value::Text(one.to_owned()),
            (None, None) => Value::Null,
        }
    }
}

fn units(column: &str, cents: &Value) -> Result<Value, Problem> {
    match cents {
        Value::Null => Ok(Value::Null),
        Value::Integer(cents) => {
            let sign = if *cents < 0 { "-" } else { "" };
            let cents = cents.unsigned_abs();
            Ok(Value::Decimal(format!("{sign}{}.{:02}", cents / 100, cents % 100)))
        }
        _ => Err(wrong(column, "no-cents", "it holds no whole number of cents")),
    }
}

fn cents(column: &str, units: &Value) -> Result<Value, Problem> {
    let Value::Decimal(text) = units else { return Ok(Value::Null) };
    if !text.ends_with(|c: char| c.is_ascii_digit()) {
        return Err(wrong(column, "no-number", "the node keeps no such number"));
    }
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part = part.trim_end_matches('0');
    if part.len() > 2 {
        return Err(wrong(column, "part-of-a-cent", "the node keeps whole cents"));
    }
    let cents = format!("{whole}{part:0<2}").parse();
    cents.map(Value::Integer).map_err(|_| wrong(column, "too-large", "the node keeps cents as a 64-bit integer"))
}

fn wrong(column: &str, code: &str, message: &str) -> Problem {
    Problem { column: Some(column.to_owned()), ..problem(code, message) }
}

mapping!(FullName);
