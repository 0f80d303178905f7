//! Makes one key space of those of all nodes, so that what two nodes both call 5 are two rows. See README.md.

use concord_plugin::{Column, Context, Kind, Mapping, Plugin, Problem, Row, Value, problem};

#[derive(serde::Deserialize)]
struct Config {
    of: Option<i64>,
    slot: Option<i64>,
    prefix: Option<String>,
    others: Option<Vec<String>>,
    columns: Option<Vec<String>>,
}

/// What a node's own keys are among the nodes.
enum Rule {
    Spread { of: i64, slot: i64 },
    Prefix { own: String, others: Vec<String> },
}

struct KeyPrefix {
    rule: Rule,
    columns: Vec<Column>,
    /// The places of those that hold such keys.
    places: Vec<usize>,
}

impl Plugin for KeyPrefix {
    const NAME: &str = "key-prefix";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str =
        "Makes one key space of those of all nodes, by numbers that each has for itself, or by prefixes";
    const CONFIG_SCHEMA: &str = include_str!("../config.schema.json");
}

impl Mapping for KeyPrefix {
    fn open(context: &Context) -> Result<Self, Problem> {
        let config: Config = context.config()?;
        let rule = match (config.of, config.slot, config.prefix, config.others) {
            (Some(of), Some(slot), None, None) => Rule::Spread { of, slot },
            (None, None, Some(own), Some(others)) => Rule::Prefix { own, others },
            _ => return Err(problem("config", "it needs `of` and `slot`, or `prefix` and `others`")),
        };
        rule.check()?;
        let columns = &context.table.columns;
        let places: Vec<usize> = match &config.columns {
            Some(named) => named.iter().map(|name| context.place(name)).collect::<Result<_, _>>()?,
            None => (0..columns.len()).filter(|&at| columns[at].key).collect(),
        };
        let (kind, told) = match rule {
            Rule::Spread { .. } => (Kind::Integer, "whole numbers"),
            Rule::Prefix { .. } => (Kind::Text, "texts"),
        };
        for &at in &places {
            if columns[at].kind() != kind {
                let message = format!("it holds {}, and the rule is for {told}", columns[at].kind);
                return Err(Problem { column: Some(columns[at].name.clone()), ..problem("kind", &message) });
            }
        }
        let made = columns.iter().enumerate().map(|(at, column)| match places.contains(&at) {
            true if column.key => column.clone().key_rule(rule.told()),
            true => column.clone(),
            false => column.clone().copy_of(&column.name),
        });
        Ok(KeyPrefix { columns: made.collect(), rule, places })
    }

    fn columns(&self) -> Vec<Column> {
        self.columns.clone()
    }

    fn to_shared(&self, local: &[Value]) -> Result<Row, Problem> {
        self.mapped(local, Rule::shared)
    }

    fn to_local(&self, shared: &[Value], _: Option<&[Value]>) -> Result<Row, Problem> {
        self.mapped(shared, Rule::local)
    }
}

impl KeyPrefix {
    fn mapped(&self, row: &[Value], to: fn(&Rule, &Value) -> Result<Value, Problem>) -> Result<Row, Problem> {
        let mut row = row.to_vec();
        for &at in &self.places {
            let column = || Some(self.columns[at].name.clone());
            row[at] = to(&self.rule, &row[at]).map_err(|why| Problem { column: column(), ..why })?;
        }
        Ok(row)
    }
}

impl Rule {
    /// Concord looks at the rules of keys, and knows nothing of columns that only refer to such a key.
    fn check(&self) -> Result<(), Problem> {
        match self {
            Rule::Spread { of, slot } if *of < 2 || !(0..*of).contains(slot) => Err(problem(
                "slot",
                format!(
                    "of {of} nodes none is number {slot}: let `of` be 2 or more, and `slot` 0 or more and below that"
                ),
            )),
            Rule::Spread { .. } => Ok(()),
            Rule::Prefix { own, others } => {
                let mut all: Vec<&String> = others.iter().chain([own]).collect();
                all.sort_unstable();
                match all[0].is_empty() || all.windows(2).any(|two| two[1].starts_with(two[0].as_str())) {
                    true => Err(problem(
                        "prefix",
                        "one of the prefixes is empty, or begins with another: it tells no node from the others",
                    )),
                    false => Ok(()),
                }
            }
        }
    }

    /// The rule as Concord applies it to keys that stand in no row.
    fn told(&self) -> String {
        let rule = match self {
            Rule::Spread { of, slot } => serde_json::json!({"spread": {"of": of, "slot": slot}}),
            Rule::Prefix { own, others } => serde_json::json!({"prefix": {"own": own, "others": others}}),
        };
        rule.to_string()
    }

    fn shared(&self, local: &Value) -> Result<Value, Problem> {
        match (self, local) {
            (_, Value::Null) => Ok(Value::Null),
            (Rule::Spread { of, slot }, Value::Integer(local)) => {
                let (round, place) = match *local {
                    own @ 0.. => (own, *slot),
                    // Others' keys, counted from 0.
                    other => {
                        let (round, place) = ((-1 - other) / (of - 1), (-1 - other) % (of - 1));
                        (round, if place < *slot { place } else { place + 1 })
                    }
                };
                let shared = round.checked_mul(*of).and_then(|first| first.checked_add(place));
                shared.map(Value::Integer).ok_or_else(|| problem("too-large", "it is too large to be shared"))
            }
            (Rule::Prefix { own, others }, Value::Text(local)) => Ok(Value::Text(match begins(local, others) {
                true => local.clone(),
                false => format!("{own}{local}"),
            })),
            _ => Err(problem("no-key", "the rule does not know such a key")),
        }
    }

    fn local(&self, shared: &Value) -> Result<Value, Problem> {
        match (self, shared) {
            (_, Value::Null) => Ok(Value::Null),
            (Rule::Spread { of, slot }, Value::Integer(shared)) if *shared >= 0 => {
                let (round, place) = (shared / of, shared % of);
                Ok(Value::Integer(match place {
                    own if own == *slot => round,
                    other => -1 - (round * (of - 1) + if other < *slot { other } else { other - 1 }),
                }))
            }
            (Rule::Prefix { own, others }, Value::Text(shared)) => match shared.strip_prefix(own.as_str()) {
                Some(local) if !begins(local, others) => Ok(Value::Text(local.to_owned())),
                None if begins(shared, others) => Ok(Value::Text(shared.clone())),
                _ => Err(problem("no-node", "it begins with the prefix of no node, or of two")),
            },
            _ => Err(problem("no-key", "the rule does not know such a key")),
        }
    }
}

fn begins(text: &str, others: &[String]) -> bool {
    others.iter().any(|other| text.starts_with(other.as_str()))
}

concord_plugin::mapping!(KeyPrefix);
