//! The configuration: which columns are merged by which rule.

use concord_plugin::{Context, Kind, Problem, problem};
use serde::Deserialize;
use serde_json::{Map, Value as Document};

#[derive(Deserialize)]
pub struct Config {
    #[serde(default)]
    fields: Map<String, Document>,
    #[serde(default)]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    columns: Vec<String>,
    rule: Document,
}

/// Columns that are merged together.
pub struct Part {
    /// The first column's name, for messages.
    pub name: String,
    /// Places in the row.
    pub columns: Vec<usize>,
    /// Their places among the recorded columns, if they are recorded.
    pub recorded: Vec<usize>,
    pub rule: Rule,
}

pub enum Rule {
    /// As the latest change left it that changed it.
    Latest,
    /// As the earliest change left it that changed it.
    Earliest,
    Max,
    Min,
    /// Every change counts once.
    Sum,
    /// The text with what was changed in its lines anywhere.
    Text,
    /// The elements of all versions' JSON arrays.
    Union,
    /// As it is at the first of these nodes that has a version.
    Prefer(Vec<String>),
}

/// The rules that configurations name by a word; `config.schema.json` lets these pass.
const NAMED: [(&str, Rule); 7] = [
    ("latest", Rule::Latest),
    ("earliest", Rule::Earliest),
    ("max", Rule::Max),
    ("min", Rule::Min),
    ("sum", Rule::Sum),
    ("text", Rule::Text),
    ("union", Rule::Union),
];

impl Rule {
    fn read(document: &Document) -> Option<Rule> {
        if let Some(nodes) = document.get("prefer") {
            return Some(Rule::Prefer(serde_json::from_value(nodes.clone()).ok()?));
        }
        let word = document.as_str()?;
        NAMED.into_iter().find(|(name, _)| *name == word).map(|(_, rule)| rule)
    }

    /// Whether it goes by what changes did, and not by the versions alone.
    fn records(&self) -> bool {
        matches!(self, Rule::Latest | Rule::Earliest | Rule::Sum | Rule::Text)
    }

    /// What it needs the column to hold, if not just anything.
    fn wants(&self) -> Option<&'static [Kind]> {
        use Kind::*;
        match self {
            Rule::Sum => Some(&[Integer, Decimal, Float, Any]),
            Rule::Text => Some(&[Text, Any]),
            Rule::Union => Some(&[Json, Text, Any]),
            Rule::Max | Rule::Min => {
                Some(&[Boolean, Integer, Float, Decimal, Text, Date, Time, Timestamp, Instant, Any])
            }
            Rule::Latest | Rule::Earliest | Rule::Prefer(_) => None,
        }
    }

    fn is_for(&self, kind: Kind) -> bool {
        self.wants().is_none_or(|kinds| kinds.contains(&kind))
    }
}

/// The rules for columns of a kind, as configurations give them.
fn rules_for(kind: Kind) -> String {
    let named = NAMED.into_iter().filter(|(_, rule)| rule.is_for(kind)).map(|(name, _)| name);
    named.chain([r#"{ prefer = ["NODE"] }"#]).collect::<Vec<_>>().join(", ")
}

/// The parts that a configuration names. The columns to be recorded are added to `recorded`.
pub fn parts(config: Config, context: &Context, recorded: &mut Vec<String>) -> Result<Vec<Part>, Problem> {
    let single = config.fields.into_iter().map(|(name, rule)| Group { columns: vec![name], rule });
    let mut parts: Vec<Part> = Vec::new();
    for Group { columns: names, rule } in single.chain(config.groups) {
        let first = names.first().cloned().unwrap_or_default();
        let Some(rule) = Rule::read(&rule) else {
            return Err(of(&first, "unknown-rule", format!("there is no rule {rule}")));
        };
        if names.len() > 1 && !matches!(rule, Rule::Latest | Rule::Earliest | Rule::Prefer(_)) {
            let message = "a group is merged by `latest`, `earliest` or `prefer`".to_owned();
            return Err(of(&first, "group", message));
        }
        if let Rule::Prefer(nodes) = &rule
            && let Some(unknown) = nodes.iter().find(|node| !context.nodes().any(|known| known == node.as_str()))
        {
            return Err(of(&first, "unknown-node", format!("no node is called `{unknown}`")));
        }
        let mut columns = Vec::new();
        for name in &names {
            let place = context.place(name)?;
            let column = &context.table.columns[place];
            if column.key {
                return Err(of(name, "key", "it is part of the key, which is the same in all versions".to_owned()));
            }
            if columns.contains(&place) || parts.iter().any(|part| part.columns.contains(&place)) {
                return Err(of(name, "twice", "it has two rules".to_owned()));
            }
            if !rule.is_for(column.kind()) {
                let message = format!(
                    "the rule is not for columns of kind {}; those that are: {}",
                    column.kind,
                    rules_for(column.kind())
                );
                return Err(of(name, "kind", message));
            }
            columns.push(place);
        }
        let mut places = Vec::new();
        if rule.records() {
            for name in &names {
                places.push(recorded.len());
                recorded.push(name.clone());
            }
        }
        parts.push(Part { name: first, columns, recorded: places, rule });
    }
    Ok(parts)
}

fn of(column: &str, code: &str, message: String) -> Problem {
    Problem { column: Some(column.to_owned()), ..problem(code, message) }
}
