//! The configuration: what is made of which columns of the node, and whether it can be.

use concord_plugin::{Column, Context, Kind, Problem, Table, Value, problem};
use serde::Deserialize;
use serde_json::{Map, Value as Document};

use crate::Reshape;
use crate::lens::{Case, Change, Cuts, Lens, Part, Single, Values, found};
use crate::number::Factor;

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    columns: Map<String, Document>,
    #[serde(default)]
    join: Vec<Join>,
    #[serde(default)]
    split: Vec<Split>,
    #[serde(default)]
    own: Vec<String>,
    #[serde(default)]
    initial: Map<String, Document>,
}

#[derive(Deserialize)]
struct Join {
    column: String,
    from: Vec<String>,
    separator: String,
    rest: Option<String>,
}

#[derive(Deserialize)]
struct Split {
    from: String,
    columns: Vec<String>,
    separator: String,
    rest: Option<String>,
}

#[derive(Default, Deserialize)]
struct Shared {
    from: Option<String>,
    kind: Option<String>,
    values: Option<Map<String, Document>>,
    back: Option<Map<String, Document>>,
    others: Option<String>,
    multiply: Option<Document>,
    divide: Option<Document>,
    case: Option<String>,
    stored: Option<String>,
    constant: Option<Document>,
    default: Option<Document>,
    empty: Option<Document>,
}

/// What is made so far.
struct Plan<'a> {
    table: &'a Table,
    /// Where each of the node's columns was named.
    taken: Vec<Option<String>>,
    made: Vec<Made>,
}

struct Made {
    columns: Vec<Column>,
    local: Vec<usize>,
    lens: Lens,
}

/// A place in the configuration, and the column that it is about.
struct At<'a> {
    place: String,
    column: &'a str,
}

impl At<'_> {
    fn says(&self, code: &str, message: impl std::fmt::Display) -> Problem {
        Problem { column: Some(self.column.to_owned()), ..problem(code, format!("`{}` {message}", self.place)) }
    }

    fn under(&self, name: &str) -> At<'_> {
        At { place: format!("{}.{name}", self.place), column: self.column }
    }
}

pub fn open(context: &Context) -> Result<Reshape, Problem> {
    let config: Config = context.config()?;
    let table = &context.table;
    let mut plan = Plan { table, taken: vec![None; table.columns.len()], made: Vec::new() };
    let mut initial = vec![Value::Null; table.columns.len()];
    for name in &config.own {
        let at = At { place: "own".to_owned(), column: name };
        let place = plan.take(&at, name)?;
        plan.not_the_key(&at, place)?;
    }
    for (name, document) in &config.initial {
        let at = At { place: format!("initial.{name}"), column: name };
        if !config.own.contains(name) {
            return Err(at.says("not-own", "is about a column that is not in `own`, so that others say what it holds"));
        }
        let place = plan.place(&at, name)?;
        initial[place] = plan.literal(&at, document, &table.columns[place].kind)?;
    }
    for (number, join) in config.join.iter().enumerate() {
        plan.join(&At { place: format!("join.{number}"), column: &join.column }, join)?;
    }
    for (number, split) in config.split.iter().enumerate() {
        plan.split(&At { place: format!("split.{number}"), column: &split.from }, split)?;
    }
    for (name, document) in config.columns {
        let at = At { place: format!("columns.{name}"), column: &name };
        let shared = serde_json::from_value(document).map_err(|why| at.says("config", why))?;
        plan.column(&at, &shared)?;
    }
    for (place, column) in table.columns.iter().enumerate() {
        if plan.taken[place].is_none() {
            let lens = Lens::Single(Single { change: Change::Same, default: None, empty: None });
            let columns = vec![column.clone().copy_of(&column.name)];
            plan.made.push(Made { columns, local: vec![place], lens });
        }
    }
    plan.finish(initial)
}

impl Plan<'_> {
    fn place(&self, at: &At<'_>, name: &str) -> Result<usize, Problem> {
        let names = || self.table.columns.iter().map(|column| column.name.as_str());
        names().position(|known| known == name).ok_or_else(|| Problem {
            hint: Some(format!("it has: {}", names().collect::<Vec<_>>().join(", "))),
            ..at.says("unknown-column", format!("names `{name}`, and `{}` has no such column", self.table.name))
        })
    }

    /// The place of a column of the node, which nothing else is made of.
    fn take(&mut self, at: &At<'_>, name: &str) -> Result<usize, Problem> {
        let place = self.place(at, name)?;
        match self.taken[place].replace(at.place.clone()) {
            None => Ok(place),
            Some(other) => Err(at.says("twice", format!("is about `{name}`, and so is `{other}`"))),
        }
    }

    fn not_the_key(&self, at: &At<'_>, place: usize) -> Result<(), Problem> {
        match self.table.columns[place].key {
            true => Err(at.says("key", "changes the key, of which nothing but the name can be another")),
            false => Ok(()),
        }
    }

    /// The place of a column of text.
    fn text(&mut self, at: &At<'_>, name: &str) -> Result<usize, Problem> {
        let place = self.take(at, name)?;
        self.not_the_key(at, place)?;
        self.holds(at, place, &[Kind::Text])?;
        Ok(place)
    }

    fn holds(&self, at: &At<'_>, place: usize, kinds: &[Kind]) -> Result<(), Problem> {
        let column = &self.table.columns[place];
        match kinds.contains(&column.kind()) {
            true => Ok(()),
            false => Err(at.says("kind", format!("is not for `{}`, which holds {}", column.name, column.kind))),
        }
    }

    fn join(&mut self, at: &At<'_>, join: &Join) -> Result<(), Problem> {
        let local = join.from.iter().map(|name| self.text(&at.under("from"), name)).collect::<Result<Vec<_>, _>>()?;
        let lens = Lens::Join(cuts(&join.separator, local.len(), join.rest.as_deref()));
        self.made.push(Made { columns: vec![column(&join.column, "text")], local, lens });
        Ok(())
    }

    fn split(&mut self, at: &At<'_>, split: &Split) -> Result<(), Problem> {
        let local = vec![self.text(&at.under("from"), &split.from)?];
        let lens = Lens::Split(cuts(&split.separator, split.columns.len(), split.rest.as_deref()));
        let columns = split.columns.iter().map(|name| column(name, "text")).collect();
        self.made.push(Made { columns, local, lens });
        Ok(())
    }

    fn column(&mut self, at: &At<'_>, shared: &Shared) -> Result<(), Problem> {
        let Shared { from, kind, values, back, others, multiply, divide, case, stored, constant, default, empty } =
            shared;
        let changes = [
            ("values", values.is_some()),
            ("multiply", multiply.is_some()),
            ("divide", divide.is_some()),
            ("case", case.is_some()),
            ("constant", constant.is_some()),
        ];
        let changes: Vec<&str> = changes.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect();
        if let [one, other, ..] = changes[..] {
            return Err(at.says("together", format!("has `{one}` and `{other}`, of which there can be one")));
        }
        // What would do nothing is a mistake.
        let needs = [
            ("back", back.is_some(), "values"),
            ("others", others.is_some(), "values"),
            ("stored", stored.is_some(), "case"),
        ];
        for (name, is_there, needed) in needs {
            if is_there && !changes.contains(&needed) {
                return Err(at.under(name).says("alone", format!("is of use with `{needed}` alone")));
            }
        }
        if kind.is_some() && (changes.is_empty() || case.is_some()) {
            return Err(at.under("kind").says("alone", "is of use with a constant, `values`, `multiply` or `divide`"));
        }
        if let Some(document) = constant {
            for (name, is_there) in
                [("from", from.is_some()), ("default", default.is_some()), ("empty", empty.is_some())]
            {
                if is_there {
                    return Err(at.under(name).says("together", "and a constant cannot be"));
                }
            }
            let at = at.under("constant");
            let kind = kind.as_deref().or_else(|| kind_of(document)).unwrap_or("text");
            let lens = Lens::Constant(self.literal(&at, document, kind)?);
            self.made.push(Made { columns: vec![column(at.column, kind)], local: Vec::new(), lens });
            return Ok(());
        }
        let place = self.take(at, from.as_deref().unwrap_or(at.column))?;
        let local = self.table.columns[place].clone();
        let (change, kind) = match changes.first() {
            Some(&"values") => self.values(at, shared, &local)?,
            Some(&"case") => {
                self.holds(&at.under("case"), place, &[Kind::Text])?;
                let is_upper = |case: &str| case == "upper";
                let upper = case.as_deref().is_some_and(is_upper);
                (Change::Case(Case { upper, stored_upper: stored.as_deref().map(is_upper) }), local.kind.clone())
            }
            Some(name) => {
                let at = at.under(name);
                self.holds(&at, place, &[Kind::Integer, Kind::Decimal])?;
                let kind = kind.clone().unwrap_or_else(|| "decimal".to_owned());
                if !["integer", "decimal"].contains(&kind.as_str()) {
                    return Err(at.says("kind", format!("makes integers or decimals, and no {kind}")));
                }
                let read = |document: &Option<Document>, read: fn(&str) -> Option<Factor>| {
                    document.as_ref().and_then(|document| match document {
                        Document::String(text) => read(text),
                        other => read(&other.to_string()),
                    })
                };
                let factor = read(multiply, Factor::multiply).or_else(|| read(divide, Factor::divide));
                let factor = factor.ok_or_else(|| at.says("number", "is no decimal number other than zero"))?;
                let shared = if kind == "integer" { Kind::Integer } else { Kind::Decimal };
                (Change::Unit(factor, local.kind(), shared), kind)
            }
            None => (Change::Same, local.kind.clone()),
        };
        let read = |document: &Option<Document>, name: &str, kind: &str| {
            document.as_ref().map(|document| self.literal(&at.under(name), document, kind)).transpose()
        };
        let single =
            Single { change, default: read(default, "default", &kind)?, empty: read(empty, "empty", &local.kind)? };
        let is_same = single.is_same();
        if !is_same {
            self.not_the_key(at, place)?;
        }
        let own = local.name.clone();
        let column = Column { name: at.column.to_owned(), kind, ..local };
        let column = if is_same { column.copy_of(&own) } else { column };
        self.made.push(Made { columns: vec![column], local: vec![place], lens: Lens::Single(single) });
        Ok(())
    }

    /// The names of values, and the kind of the shared ones.
    fn values(&self, at: &At<'_>, shared: &Shared, local: &Column) -> Result<(Change, String), Problem> {
        let written = shared.values.iter().flatten();
        let others = shared.others.is_some();
        let mut kinds = written.clone().filter_map(|(_, document)| kind_of(document));
        let kind = match (&shared.kind, others, kinds.next()) {
            (Some(kind), _, _) => kind.clone(),
            (None, true, _) => local.kind.clone(),
            (None, false, Some(first)) if kinds.all(|kind| kind == first) => first.to_owned(),
            (None, false, _) => {
                let message = "holds values of several kinds; name the one that the column has by `kind`";
                return Err(at.under("values").says("kind", message));
            }
        };
        if others && kind != local.kind {
            let message =
                format!("holds {kind} and `{}` {}, so no other value is the same on both", local.name, local.kind);
            return Err(at.under("others").says("kind", message));
        }
        let mut there = Vec::new();
        for (name, document) in written {
            let at = at.under(&format!("values.{name}"));
            let value = self.literal(&at, &Document::String(name.clone()), &local.kind)?;
            there.push((value, self.literal(&at, document, &kind)?));
        }
        let mut back = Vec::new();
        for (name, document) in shared.back.iter().flatten() {
            let at = at.under(&format!("back.{name}"));
            let value = self.literal(&at, &Document::String(name.clone()), &kind)?;
            let local = self.literal(&at, document, &local.kind)?;
            if !found(&there, &local).is_some_and(|made| made.same(&value)) {
                return Err(at.says("no-inverse", "goes back to a value that is shared as another, or as none"));
            }
            back.push((value, local));
        }
        for (place, (local, made)) in there.iter().enumerate() {
            if there[..place].iter().any(|(other, _)| other.same(local)) {
                return Err(at.under("values").says("twice", "names a value of the node in two ways"));
            }
            if found(&back, made).is_some() {
                continue;
            }
            if there.iter().filter(|(_, other)| other.same(made)).count() > 1 {
                let message = "makes one of several values; say by `back` which of them it becomes at the node";
                return Err(at.under("values").says("lossy", message));
            }
            back.push((made.clone(), local.clone()));
        }
        Ok((Change::Values(Values { there, back, others }), kind))
    }

    fn literal(&self, at: &At<'_>, document: &Document, kind: &str) -> Result<Value, Problem> {
        let column = Column { name: String::new(), kind: kind.to_owned(), key: false, facts: Vec::new() };
        Value::from_json(document, column.kind()).ok_or_else(|| at.says("value", format!("is no value of kind {kind}")))
    }

    /// The parts, with the shared columns in the order of the node's.
    fn finish(mut self, initial: Vec<Value>) -> Result<Reshape, Problem> {
        self.made.sort_by_key(|made| made.local.first().copied().unwrap_or(usize::MAX));
        let (mut columns, mut parts): (Vec<Column>, Vec<Part>) = (Vec::new(), Vec::new());
        for Made { columns: made, local, lens } in self.made {
            let first = columns.len();
            for column in made {
                if columns.iter().any(|known| known.name.eq_ignore_ascii_case(&column.name)) {
                    let message = "would be two shared columns; give one of them another name, or name it in `own`";
                    return Err(Problem { column: Some(column.name), ..problem("twice", message) });
                }
                columns.push(column);
            }
            parts.push(Part { local, shared: (first..columns.len()).collect(), lens });
        }
        Ok(Reshape { columns, parts, initial })
    }
}

fn cuts(separator: &str, parts: usize, rest: Option<&str>) -> Cuts {
    Cuts { separator: separator.to_owned(), parts, first_takes_rest: rest == Some("first") }
}

fn column(name: &str, kind: &str) -> Column {
    Column { name: name.to_owned(), kind: kind.to_owned(), key: false, facts: Vec::new() }
}

/// The kind of what is written, if none is named.
fn kind_of(document: &Document) -> Option<&'static str> {
    match document {
        Document::String(_) => Some("text"),
        Document::Bool(_) => Some("boolean"),
        Document::Number(_) if Value::from_json(document, Kind::Integer).is_some() => Some("integer"),
        Document::Number(_) => Some("decimal"),
        Document::Null | Document::Array(_) | Document::Object(_) => None,
    }
}
