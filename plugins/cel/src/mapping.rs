//! A mapping by expressions: one for each shared column that differs, and one for each column of the node that is made of them.

use concord_plugin::{Column, Context, Kind, Mapping, Problem, Row, Table, Value, problem};
use serde_json::{Map, Value as Document};

use crate::expression::{Expression, Scope};
use crate::outcome;

pub struct Made {
    columns: Vec<Column>,
    /// For each shared column what it is made of.
    shared: Vec<Shared>,
    /// The same for each column of the node.
    local: Vec<Local>,
}

enum Shared {
    /// The node's column at this place.
    Same(usize),
    By(Expression, Kind),
}

enum Local {
    Same(usize),
    /// Nobody else knows of it. What it holds in a row that comes from elsewhere.
    Own(Value),
    By(Expression, Kind),
}

#[derive(serde::Deserialize)]
struct Config {
    keep: Option<String>,
    #[serde(default)]
    shared: Map<String, Document>,
    #[serde(default)]
    local: Map<String, Document>,
    #[serde(default)]
    own: Vec<String>,
    #[serde(default)]
    initial: Map<String, Document>,
}

#[derive(serde::Deserialize)]
struct SharedColumn {
    kind: Option<String>,
    is: String,
}

fn at(column: &str, code: &str, message: impl Into<String>) -> Problem {
    Problem { column: Some(column.to_owned()), ..problem(code, message) }
}

impl Mapping for Made {
    fn open(context: &Context) -> Result<Self, Problem> {
        let config: Config = context.config()?;
        if config.keep.is_some() {
            return Err(problem("config", "`keep` is for a filter, and a mapping takes `shared` and `local`"));
        }
        let own = &context.table;
        for name in config.own.iter().chain(config.local.keys()) {
            context.place(name)?;
        }
        if let Some(name) = config.initial.keys().find(|name| !config.own.contains(name)) {
            return Err(at(name, "not-own", format!("`initial.{name}` is about a column that is not in `own`")));
        }
        let (mut columns, mut shared) = (Vec::new(), Vec::new());
        for (place, column) in own.columns.iter().enumerate() {
            let name = &column.name;
            let (is_own, by) = (config.own.contains(name), config.local.contains_key(name));
            match (is_own, by, config.shared.contains_key(name)) {
                (true, true, _) => return Err(at(name, "twice", format!("it is in `own`, and so is `local.{name}`"))),
                (true, ..) if column.key => return Err(at(name, "key", "it is part of the key, which all share")),
                (false, false, true) => {
                    let why = format!(
                        "`shared.{name}` says what the others see, and nothing what the node holds: say it by `local.{name}`, \
                         or name it in `own`"
                    );
                    return Err(at(name, "no-inverse", why));
                }
                (false, false, false) => {
                    columns.push(column.clone().copy_of(name));
                    shared.push(Shared::Same(place));
                }
                _ => {}
            }
        }
        let row = Scope { name: "row", table: own };
        for (name, document) in &config.shared {
            let says = |why: serde_json::Error| at(name, "config", format!("`shared.{name}`: {why}"));
            let SharedColumn { kind, is } = serde_json::from_value(document.clone()).map_err(says)?;
            let is = Expression::compile(&format!("shared.{name}"), &is, &[row])?;
            let bare = is.bare().map(|one| one.column.clone());
            let kind = kind.or_else(|| bare.as_ref().map(|column| column.kind.clone())).ok_or_else(|| {
                at(name, "kind", format!("`shared.{name}` is more than a column; say by `kind` what it holds"))
            })?;
            let key = bare.is_some_and(|column| column.key);
            let column = Column { name: name.clone(), kind, key, facts: Vec::new() };
            shared.push(Shared::By(is, column.kind()));
            columns.push(column);
        }
        let table = Table { name: own.name.clone(), columns };
        let scopes = [Scope { name: "row", table: &table }, Scope { name: "current", table: own }];
        let mut local = Vec::new();
        for column in &own.columns {
            let name = &column.name;
            local.push(if config.own.contains(name) {
                let initial = config.initial.get(name).map(|document| {
                    Value::from_json(document, column.kind()).ok_or_else(|| {
                        at(name, "value", format!("`initial.{name}` is no value of kind {}", column.kind))
                    })
                });
                Local::Own(initial.transpose()?.unwrap_or(Value::Null))
            } else if let Some(Document::String(source)) = config.local.get(name) {
                let by = Expression::compile(&format!("local.{name}"), source, &scopes)?;
                if column.key && !by.bare().is_some_and(|one| one.scope == 0 && one.column.key) {
                    let why = format!("`local.{name}` changes the key, of which nothing but the name can be another");
                    return Err(at(name, "key", why));
                }
                Local::By(by, column.kind())
            } else {
                let place = table.columns.iter().position(|known| known.name == *name);
                Local::Same(place.ok_or_else(|| at(name, "no-inverse", "nothing says what the node holds"))?)
            });
        }
        let mut columns = table.columns;
        for (column, shared) in columns.iter_mut().zip(&shared) {
            if let Shared::By(there, _) = shared
                && let Some(from) = there.bare()
                && let Local::By(back, _) = &local[from.place]
                && back.bare().is_some_and(|one| one.scope == 0 && one.column.name == column.name)
            {
                *column = column.clone().copy_of(&from.column.name);
            }
        }
        Ok(Made { columns, shared, local })
    }

    fn columns(&self) -> Vec<Column> {
        self.columns.clone()
    }

    fn to_shared(&self, local: &[Value]) -> Result<Row, Problem> {
        let value = |shared: &Shared| match shared {
            Shared::Same(place) => Ok(local[*place].clone()),
            Shared::By(expression, kind) => made(expression, *kind, &[Some(local)]),
        };
        self.shared.iter().map(value).collect()
    }

    fn to_local(&self, shared: &[Value], current: Option<&[Value]>) -> Result<Row, Problem> {
        let got = current.and_then(|current| self.to_shared(current).ok());
        // What is made of columns that are as the node shares them already stays: it may say more than they do.
        let is_as_shared = |expression: &Expression| {
            let same = |got: &Row| {
                let mut columns = expression.columns.iter().filter(|one| one.scope == 0);
                columns.all(|one| got[one.place].same(&shared[one.place]))
            };
            got.as_ref().is_some_and(same)
        };
        let value = |(place, local): (usize, &Local)| match (local, current) {
            (Local::Own(initial), None) => Ok(initial.clone()),
            (Local::Own(_), Some(current)) => Ok(current[place].clone()),
            (Local::Same(from), Some(current)) if current[place].same(&shared[*from]) => Ok(current[place].clone()),
            (Local::Same(from), _) => Ok(shared[*from].clone()),
            (Local::By(expression, _), Some(current)) if is_as_shared(expression) => Ok(current[place].clone()),
            (Local::By(expression, kind), _) => made(expression, *kind, &[Some(shared), current]),
        };
        let row: Row = self.local.iter().enumerate().map(value).collect::<Result<_, _>>()?;
        self.comes_back(&row, shared)?;
        Ok(row)
    }
}

impl Made {
    fn comes_back(&self, row: &[Value], shared: &[Value]) -> Result<(), Problem> {
        let got = self.to_shared(row).map_err(|why| {
            let message = format!("what the node would hold for it cannot be shared again: {}", why.message);
            Problem { message, code: "not-back".to_owned(), ..why }
        })?;
        match got.iter().zip(shared).position(|(got, put)| !got.same(put)) {
            None => Ok(()),
            Some(place) => {
                let name = &self.columns[place].name;
                Err(at(name, "not-back", "what the node would hold for it is shared as another value"))
            }
        }
    }
}

/// What an expression comes to. Of a row that is not there every column is NULL.
fn made(expression: &Expression, kind: Kind, rows: &[Option<&[Value]>]) -> Result<Value, Problem> {
    let cells: Vec<&Value> =
        expression.columns.iter().map(|one| rows[one.scope].map_or(&Value::Null, |row| &row[one.place])).collect();
    // A column alone is handed on as it is: not all of its values have one in CEL.
    if let Some(one) = expression.bare()
        && one.column.kind() == kind
    {
        return Ok(cells[0].clone());
    }
    expression.come_to(&cells, |outcome| {
        outcome::value(outcome, kind).map_err(|why| {
            problem("kind", format!("`{}` comes to {why}, which its column does not hold", expression.at))
        })
    })
}
