//! The role that turns the rows of one node's table into rows of the shape that all nodes share, and back.

use std::collections::HashSet;
use std::sync::Arc;

use bumpalo::Bump;
use wasmtime::component::Func;

use super::bindings::concord::plugin::types as wit;
use super::bindings::exports::concord::plugin::mapping as guest;
use super::failure::{Failure, Role, told};
use super::handed;
use super::instance::{Running, Spent};
use super::limits::{BATCH, BATCH_WEIGHT};
use super::load::{Plugin, on_own_thread};
use super::part::{self, Instances, Part};
use super::shape::{Facts, Shape, ShapeColumn};
use super::values::row_from_wit;
use crate::model::{KeyRule, Row, Type, Value};

/// The function that makes shared rows.
pub const TO_SHARED: &str = "to-shared";
const TO_LOCAL: &str = "to-local";

/// A mapping, opened for one table at one node.
#[derive(Debug)]
pub struct Mapping {
    part: Part,
    made: Made,
    instances: Instances<Open>,
}

/// What it makes of the node's table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Made {
    shape: Shape,
    /// For each column of the key, in the order of the node's: its place in the node's table, and in the shape.
    key: Vec<(usize, usize)>,
    /// For each of these: by what rule its values are others in the shape.
    rules: Vec<Option<KeyRule>>,
    /// Columns of the shape that hold what a column of the node's table holds, by their places in both.
    copies: Vec<(usize, usize)>,
}

/// Columns of a shape, at most: as many as MySQL takes, which takes most.
const MOST_COLUMNS: usize = 4_096;

/// The fact by which a plugin tells that.
const COPY_OF: &str = "copy-of";

/// The fact by which it tells how it makes other values of a column of the key.
const KEY_RULE: &str = "key-rule";

const MAPPING: &str = "concord:plugin/mapping@0.1.0";

type Open = part::Open<Both>;

/// Its two directions.
struct Both {
    to_shared: Func,
    to_local: Func,
}

type Rows = Vec<Result<wit::Row, wit::Problem>>;

/// A shared row on its way to the node.
#[derive(Clone, Copy, Debug)]
pub struct Put<'a> {
    pub shared: &'a Row,
    /// The row that stands at the node now, in its own shape.
    pub current: Option<&'a Row>,
}

impl<'a> Put<'a> {
    fn handed(&self, room: &'a Bump) -> handed::Put<'a> {
        let current = self.current.map(|current| handed::row(room, current.iter()));
        handed::Put { shared: handed::row(room, self.shared.iter()), current }
    }
}

impl Mapping {
    /// Opens the role for a node's own table: checks the configuration (a JSON object) against the plugin's schema, and the
    /// shape that the plugin makes of the table.
    pub fn open(plugin: Arc<Plugin>, local: Shape, config: &str, facts: &Facts) -> Result<Mapping, Failure> {
        let part = Part::new(plugin, Role::Mapping, local, config, facts)?;
        let (open, made) = on_own_thread(|| start(&part))?;
        Ok(Mapping { part, made, instances: Instances::new(open) })
    }

    pub fn plugin(&self) -> &Plugin {
        &self.part.plugin
    }

    /// The shape that it makes.
    pub fn shape(&self) -> &Shape {
        &self.made.shape
    }

    /// For each column of the key, in the order of the node's: its place in the node's table, and in the shape.
    pub fn key(&self) -> &[(usize, usize)] {
        &self.made.key
    }

    /// For each column of [`Mapping::key`]: by what rule its values are others in the shape.
    pub fn rules(&self) -> &[Option<KeyRule>] {
        &self.made.rules
    }

    /// Columns of the shape that hold what a column of the node's table holds, by their places in the node's table and in the shape.
    pub fn copies(&self) -> &[(usize, usize)] {
        &self.made.copies
    }

    /// What was used up so far, to open it not counted.
    pub fn spent(&self) -> Spent {
        self.part.spent()
    }

    /// How it fares with what it is asked.
    pub fn part(&self) -> &Part {
        &self.part
    }

    /// The shared row of each local one. One that cannot be mapped is a failure of its own; the others go on.
    ///
    /// Blocks, and may take as long as the limits allow.
    pub fn to_shared(&self, locals: &[&Row]) -> Vec<Result<Row, Failure>> {
        let mut running = self.instances.free();
        let weight = |local: &&Row| weight(local);
        let exact = |local: &&Row| self.part.exact(TO_SHARED, local.iter());
        self.part.ask_all(TO_SHARED, locals, batches(weight), exact, |batch| {
            let room = Bump::new();
            let rows: Vec<handed::Row<'_>> = batch.iter().map(|row| handed::row(&room, row.iter())).collect();
            let said = self.ask(&mut running, TO_SHARED, batch.len(), |open| {
                let Open { running, guest } = open;
                let limits = &self.part.plugin.limits;
                running.call(limits, rows.len(), TO_SHARED, |store| {
                    let to_shared = guest.to_shared.typed::<(&[handed::Row<'_>],), (Rows,)>(&*store)?;
                    Ok(to_shared.call(store, (&rows,))?.0)
                })
            })?;
            let judged = |(answer, local): (_, &&Row)| {
                let row = self.row(TO_SHARED, answer, &self.made.shape)?;
                self.keeps(TO_SHARED, local, &row)?;
                Ok(row)
            };
            Ok(said.into_iter().zip(batch).map(judged).collect())
        })
    }

    /// The local row of each that is to be put. As [`Mapping::to_shared`].
    pub fn to_local(&self, puts: &[Put<'_>]) -> Vec<Result<Row, Failure>> {
        let mut running = self.instances.free();
        let weight = |put: &Put<'_>| weight(put.shared) + put.current.map_or(0, weight);
        let exact = |put: &Put<'_>| {
            let current = put.current.into_iter().flat_map(|row| row.iter());
            self.part.exact(TO_LOCAL, put.shared.iter().chain(current))
        };
        self.part.ask_all(TO_LOCAL, puts, batches(weight), exact, |batch| {
            let room = Bump::new();
            let rows: Vec<handed::Put<'_>> = batch.iter().map(|put| put.handed(&room)).collect();
            let said = self.ask(&mut running, TO_LOCAL, batch.len(), |open| {
                let Open { running, guest } = open;
                let limits = &self.part.plugin.limits;
                running.call(limits, rows.len(), TO_LOCAL, |store| {
                    let to_local = guest.to_local.typed::<(&[handed::Put<'_>],), (Rows,)>(&*store)?;
                    Ok(to_local.call(store, (&rows,))?.0)
                })
            })?;
            let judged = |(answer, put): (_, &Put<'_>)| {
                let row = self.row(TO_LOCAL, answer, &self.part.shape)?;
                self.keeps(TO_LOCAL, &row, put.shared)?;
                Ok(row)
            };
            Ok(said.into_iter().zip(batch).map(judged).collect())
        })
    }

    /// One call about so many rows. An answer for each, or what went wrong with the call as a whole.
    fn ask(
        &self,
        running: &mut Option<Open>,
        function: &'static str,
        rows: usize,
        call: impl FnOnce(&mut Open) -> Result<Rows, Failure>,
    ) -> Result<Rows, Failure> {
        let mut open = match running.take() {
            Some(open) => open,
            None => self.reopen()?,
        };
        let before = open.running.spent;
        let said = call(&mut open);
        self.part.count(before, open.running.spent);
        let said = said.map_err(|failure| self.part.of(failure))?;
        if said.len() != rows {
            let message = format!("it gave {} answers about {rows} rows", said.len());
            return Err(self.part.fails(function, "answer", message));
        }
        if !open.running.full {
            *running = Some(open);
        }
        Ok(said)
    }

    /// An answer, if it is a row of this shape.
    fn row(
        &self,
        function: &'static str,
        answer: Result<wit::Row, wit::Problem>,
        shape: &Shape,
    ) -> Result<Row, Failure> {
        let row = answer.map_err(|problem| self.part.problem(function, problem))?;
        let columns = shape.columns.iter().map(|column| (column.name.as_str(), &column.ty));
        let row = row_from_wit(row, columns).map_err(|why| self.part.fails(function, "answer", why))?;
        self.part.exact(function, row.iter())?;
        Ok(row)
    }

    /// Whether both rows have the same key, and the same in columns that are told to be copies.
    fn keeps(&self, function: &'static str, local: &Row, shared: &Row) -> Result<(), Failure> {
        let Made { key, rules, copies, shape } = &self.made;
        for (&(at, place), rule) in key.iter().zip(rules) {
            let why = match rule.as_ref().map(|rule| rule.to_shared(&local[at])) {
                None if local[at] == shared[place] => continue,
                Some(Ok(told)) if told == shared[place] => continue,
                None => "it changed the key of the row".to_owned(),
                Some(Ok(_)) => "it makes another key of the row than its rule does".to_owned(),
                Some(Err(why)) => why,
            };
            return Err(self.part.fails(function, "answer", why));
        }
        if let Some((at, place)) = copies.iter().copied().find(|&(at, place)| local[at] != shared[place]) {
            let (own, made) = (&self.part.shape.columns[at].name, &shape.columns[place].name);
            let why = format!("`{made}` is another than `{own}`, of which it said that it is a copy");
            return Err(self.part.fails(function, "answer", why));
        }
        Ok(())
    }

    /// A new instance in place of one that broke down. It has to make what the first one made.
    fn reopen(&self) -> Result<Open, Failure> {
        let (open, made) = start(&self.part)?;
        match made == self.made {
            true => Ok(open),
            false => Err(self.part.fails("open", "open", "it does not make the same shape as before".to_owned())),
        }
    }
}

fn start(part: &Part) -> Result<(Open, Made), Failure> {
    let indices = guest::GuestIndices::new(&part.plugin.pre).map_err(|why| part.drifted(&why))?;
    let mut running = Running::start(&part.plugin, &part.who).map_err(|failure| part.of(failure))?;
    let guest = running.guest(|store, instance| indices.load(store, instance)).map_err(|why| part.drifted(&why))?;
    let said = running.call(&part.plugin.limits, 1, "open", |store| guest.call_open(store, &part.context));
    let table = said.map_err(|failure| part.of(failure))?.map_err(|problem| part.problem("open", problem))?;
    let made = Made::of(&part.shape, table).map_err(|(why, hint)| part.fails("open", "open", why).hint(hint))?;
    running.spent = Spent { memory: running.spent.memory, ..Spent::default() };
    let mut function = |name: &str| running.function(MAPPING, name).map_err(|why| part.drifted(&why));
    let guest = Both { to_shared: function(TO_SHARED)?, to_local: function(TO_LOCAL)? };
    Ok((Open { running, guest }, made))
}

const KEEPS_KEY: &str = "in this version a mapping leaves the key as it is: answer the columns of the node's key, with their kinds \
                         and their values, or tell the rule by which it makes others (`key-rule`); their names may be others";

impl Made {
    /// What a plugin says that it makes of a node's table; or why that is no table with the same key, and what to do.
    fn of(local: &Shape, table: wit::Table) -> Result<Made, (String, &'static str)> {
        // Neither fuel nor time is counted here.
        if table.columns.len() > MOST_COLUMNS {
            let why = format!("it makes {} columns, and {MOST_COLUMNS} are the most", table.columns.len());
            return Err((why, "make no more than any database holds"));
        }
        let mut names = HashSet::new();
        let mut shape = Shape { name: local.name.clone(), columns: Vec::new(), key: Vec::new() };
        let (mut marked, mut copies, mut ruled) = (Vec::new(), Vec::new(), Vec::new());
        for column in table.columns {
            let name = told(&column.name, 60);
            if column.name.is_empty() || column.name.chars().any(char::is_control) {
                return Err((format!("it makes a column `{name}`, which is no name"), "give every column a name"));
            }
            // As the nodes' databases compare names.
            if !names.insert(column.name.to_ascii_lowercase()) {
                return Err((format!("it makes two columns `{name}`"), "give every column a name of its own"));
            }
            let Some(ty) = kind(local, &column.kind) else {
                let why = format!("it makes a column `{name}` of the kind `{}`, which is none", told(&column.kind, 60));
                return Err((
                    why,
                    "answer one of the kinds in wit/plugin.wit, or that of a column of the node's table",
                ));
            };
            if column.key {
                marked.push(shape.columns.len());
            }
            if let Some((_, text)) = column.facts.iter().find(|(fact, _)| fact == KEY_RULE) {
                let rule = rule(text, &ty, column.key);
                let rule = rule.map_err(|why| (format!("of the column `{name}` it tells a rule, and {why}"), RULES))?;
                ruled.push((shape.columns.len(), rule));
            }
            if let Some((_, own)) = column.facts.iter().find(|(fact, _)| fact == COPY_OF) {
                let at = copy(local, own, &ty).map_err(|why| (format!("it makes `{name}` a copy of {why}"), COPIES))?;
                if copies.iter().any(|&(known, _)| known == at) {
                    return Err((format!("it makes two copies of `{}`", local.columns[at].name), COPIES));
                }
                copies.push((at, shape.columns.len()));
            }
            shape.columns.push(ShapeColumn { name: column.name, ty });
        }
        let key = same_key(local, &shape, &marked)?;
        shape.key = key.iter().map(|&(_, place)| place).collect();
        let rule = |place: usize| ruled.iter().find(|(at, _)| *at == place).map(|(_, rule)| rule.clone());
        let rules = key.iter().map(|&(_, place)| rule(place)).collect();
        Ok(Made { shape, key, rules, copies })
    }
}

const RULES: &str = "`key-rule` is for a column of the key, and one of the two in wit/plugin.wit";

/// The rule that a plugin tells of a column of this type; or what is wrong with it.
fn rule(text: &str, ty: &Type, is_key: bool) -> Result<KeyRule, String> {
    let rule: KeyRule = serde_json::from_str(text).map_err(|why| told(&format!("it is none: {why}"), 200))?;
    let fits = matches!((&rule, ty), (KeyRule::Spread { .. }, Type::Int) | (KeyRule::Prefix { .. }, Type::Text));
    match rule.wrong() {
        Some(why) => Err(told(&why, 200)),
        None if !is_key => Err("it is no column of the key".to_owned()),
        None if !fits => Err(format!("it holds {ty}, for which the rule is not")),
        None => Ok(rule),
    }
}

const COPIES: &str = "`copy-of` names a column of the node's table that has the same values, of the same kind";

/// The place of the column of which one of this type is said to be a copy; or what it is instead.
fn copy(local: &Shape, own: &str, ty: &Type) -> Result<usize, String> {
    let name = told(own, 60);
    let at = local.place(own).ok_or_else(|| format!("`{name}`, which the node's table has not"))?;
    match &local.columns[at].ty {
        held if held == ty => Ok(at),
        held => Err(format!("`{name}`, which holds {held} and not {ty}")),
    }
}

/// Which column of the key is which: those of one name, and the others in the order in which they stand.
fn same_key(local: &Shape, shape: &Shape, marked: &[usize]) -> Result<Vec<(usize, usize)>, (String, &'static str)> {
    let names = |shape: &Shape, places: &[usize]| {
        let names: Vec<String> = places.iter().map(|&place| told(&shape.columns[place].name, 60)).collect();
        names.join(", ")
    };
    if marked.is_empty() {
        return Err(("it makes a table without a key".to_owned(), KEEPS_KEY));
    }
    if marked.len() != local.key.len() {
        let (made, own) = (names(shape, marked), names(local, &local.key));
        return Err((format!("it makes a table with the key ({made}), and that of the node is ({own})"), KEEPS_KEY));
    }
    let alike = |at: usize, place: usize| local.columns[at].name.eq_ignore_ascii_case(&shape.columns[place].name);
    let mut free: Vec<usize> =
        marked.iter().copied().filter(|&place| !local.key.iter().any(|&at| alike(at, place))).collect();
    let mut own: Vec<usize> = local.key.clone();
    own.sort_unstable();
    let mut pairs = Vec::new();
    for at in own {
        let untaken = |&&place: &&usize| alike(at, place) && !pairs.iter().any(|&(_, taken)| taken == place);
        let place = match marked.iter().find(untaken) {
            Some(&place) => place,
            None => free.remove(0),
        };
        let [one, other] = [&local.columns[at], &shape.columns[place]];
        if one.ty != other.ty {
            let (name, ty) = (told(&other.name, 60), &other.ty);
            let why = format!("in the key it makes `{name}` of {ty}, and `{}` of the node holds {}", one.name, one.ty);
            return Err((why, KEEPS_KEY));
        }
        pairs.push((at, place));
    }
    pairs.sort_by_key(|(at, _)| local.key.iter().position(|key| key == at));
    Ok(pairs)
}

/// The type of a kind that the interface knows, or that a column of the node's table has.
fn kind(local: &Shape, kind: &str) -> Option<Type> {
    let own = || local.columns.iter().map(|column| &column.ty).find(|ty| ty.to_string() == kind).cloned();
    Type::PLAIN.into_iter().find(|ty| ty.to_string() == kind).or_else(own)
}

fn weight(row: &Row) -> usize {
    row.iter().map(Value::weight).sum()
}

/// How many of some items, at least one, make one call.
fn batches<I>(weight: impl Fn(&I) -> usize) -> impl Fn(&[I]) -> usize {
    move |items| {
        let mut all = 0;
        let fits = |item: &&I| {
            all += weight(item);
            all <= BATCH_WEIGHT
        };
        items.iter().take(BATCH).take_while(fits).count().max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> Shape {
        let column = |(name, ty): (&str, Type)| ShapeColumn { name: name.to_owned(), ty };
        let columns = [("nr", Type::Int), ("branch", Type::Text), ("net", Type::Native("inet".into()))].map(column);
        Shape { name: "items".to_owned(), columns: columns.into(), key: vec![1, 0] }
    }

    /// `name:kind`, with a `*` if it belongs to the key, and `=own` if it is a copy of that column.
    fn made(columns: &[&str]) -> Result<Made, String> {
        let column = |text: &&str| {
            let (name, kind) = text.split_once(':').unwrap();
            let (kind, copy_of) = kind.split_once('=').map_or((kind, None), |(kind, own)| (kind, Some(own)));
            wit::Column {
                name: name.trim_end_matches('*').to_owned(),
                kind: kind.to_owned(),
                key: name.ends_with('*'),
                facts: copy_of.map(|own| (COPY_OF.to_owned(), own.to_owned())).into_iter().collect(),
            }
        };
        let table = wit::Table { name: "items".to_owned(), columns: columns.iter().map(column).collect() };
        Made::of(&local(), table).map_err(|(why, _)| why)
    }

    #[test]
    fn a_key_stays_what_it_is() {
        let key = |columns: &[&str]| made(columns).unwrap().key;
        assert_eq!(key(&["branch*:text", "nr*:integer"]), [(1, 0), (0, 1)]);
        // What has another name stands in the same order.
        assert_eq!(key(&["id*:integer", "note:text", "place*:text"]), [(1, 2), (0, 0)]);
        assert_eq!(key(&["id*:integer", "BRANCH*:text"]), [(1, 1), (0, 0)]);
        let why = |columns: &[&str]| made(columns).unwrap_err();
        assert_eq!(why(&["nr:integer", "branch:text"]), "it makes a table without a key");
        assert_eq!(
            why(&["nr*:integer", "branch:text"]),
            "it makes a table with the key (nr), and that of the node is (branch, nr)"
        );
        assert_eq!(
            why(&["nr*:text", "branch*:text"]),
            "in the key it makes `nr` of text, and `nr` of the node holds integer"
        );
    }

    #[test]
    fn a_copy_is_of_one_column_of_its_kind() {
        let copies =
            |columns: &[&str]| made(&[&["nr*:integer", "branch*:text"], columns].concat()).map(|made| made.copies);
        assert_eq!(copies(&["from:inet=net", "number:integer=nr"]).unwrap(), [(2, 2), (0, 3)]);
        let why = |columns: &[&str]| copies(columns).unwrap_err();
        assert_eq!(why(&["a:text=lost"]), "it makes `a` a copy of `lost`, which the node's table has not");
        assert_eq!(why(&["a:text=nr"]), "it makes `a` a copy of `nr`, which holds integer and not text");
        assert_eq!(why(&["a:inet=net", "b:inet=net"]), "it makes two copies of `net`");
    }

    #[test]
    fn a_shape_is_of_known_kinds_and_every_name_is_there_once() {
        let why = |columns: &[&str]| made(columns).unwrap_err();
        assert_eq!(why(&["a:text", "A:text"]), "it makes two columns `A`");
        assert_eq!(why(&["a:text"; 4_096]), "it makes two columns `a`");
        assert_eq!(why(&["a:text"; 4_097]), "it makes 4097 columns, and 4096 are the most");
        assert_eq!(why(&[":text"]), "it makes a column ``, which is no name");
        assert_eq!(why(&["a:money"]), "it makes a column `a` of the kind `money`, which is none");
        // A type of the database's own is known if the node's table has it.
        let made = made(&["nr*:integer", "branch*:text", "from:inet", "doc:any"]).unwrap();
        let types: Vec<&Type> = made.shape.columns[2..].iter().map(|column| &column.ty).collect();
        assert_eq!(types, [&Type::Native("inet".into()), &Type::Any]);
    }
}
