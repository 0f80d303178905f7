//! Mappings by plugins: what crosses the lens of a node whose table has another shape, and what is written there.
//!
//! A mapping stands before the built-in lens: it makes rows of the node's own table into rows of another shape, which takes the
//! place of the node's table wherever the shared shape is put together; renaming and omitting go on from there. So everything
//! behind the lens knows shared rows alone, and everything before it the node's own.
//!
//! Rows are mapped when they have been read, and what is to be written when it has been decided: nothing that is locked waits for a
//! plugin, but for what is written early, which is let go after a moment. The row that is to be overwritten is read in the snapshot of
//! the decision, so whatever a user does to it from then on is noticed as ever: where the node records changes by an entry beyond what
//! was read, which is looked for once the row is locked; elsewhere by reading the row again, locked, before it is written
//! ([`Decision::upon`]).

use std::fmt::Debug;
use std::panic::resume_unwind;
use std::sync::Arc;

use super::apart::blocking;
use super::plugins::Plugins;
use super::table::{Form, Table};
use crate::config::{Config, Diagnostic, TableConfig};
use crate::model::{Domain, KeyRule, NodeId, ParkedCode, Row, Type};
use crate::node::apply::{Decision, Effect};
use crate::node::{Catalogue, CatalogueColumn, Numbered, WriteMode};
use crate::plugin::{Failure, Mapping, Part, Put, Shape, ShapeColumn};

/// Makes rows of one node's table into rows of another shape with the same key, or one by a rule, and back.
pub trait Reshape: Debug + Send + Sync {
    /// What it makes.
    fn shape(&self) -> &Shape;

    /// For each column of the key, in the order of the node's: its place in the node's table, and in the shape.
    fn key(&self) -> &[(usize, usize)];

    /// For each of these: by what rule its values are others in the shape.
    fn rules(&self) -> &[Option<KeyRule>];

    /// Columns of the shape that always hold what a column of the node's table holds, by their places in both.
    fn copies(&self) -> &[(usize, usize)];

    /// An answer for each row. Blocks.
    fn to_shared(&self, locals: &[&Row]) -> Vec<std::result::Result<Row, Failure>>;

    /// The same.
    fn to_local(&self, puts: &[Put<'_>]) -> Vec<std::result::Result<Row, Failure>>;

    /// In words.
    fn told(&self) -> String;

    /// The plugin's part that it is, if it is one.
    fn part(&self) -> Option<&Part> {
        None
    }
}

impl Reshape for Mapping {
    fn shape(&self) -> &Shape {
        Mapping::shape(self)
    }

    fn key(&self) -> &[(usize, usize)] {
        Mapping::key(self)
    }

    fn rules(&self) -> &[Option<KeyRule>] {
        Mapping::rules(self)
    }

    fn copies(&self) -> &[(usize, usize)] {
        Mapping::copies(self)
    }

    fn to_shared(&self, locals: &[&Row]) -> Vec<std::result::Result<Row, Failure>> {
        Mapping::to_shared(self, locals)
    }

    fn to_local(&self, puts: &[Put<'_>]) -> Vec<std::result::Result<Row, Failure>> {
        Mapping::to_local(self, puts)
    }

    fn told(&self) -> String {
        format!("plugin `{}`", self.plugin().name)
    }

    fn part(&self) -> Option<&Part> {
        Some(Mapping::part(self))
    }
}

/// The columns of a node's table of which a mapping is told, each with the type of its values. What a database computes is left
/// out, and what cannot be carried: both stay what they are.
pub fn told(catalogue: &Catalogue) -> impl Iterator<Item = (&CatalogueColumn, Type)> {
    let columns = catalogue.columns.iter().filter(|column| !column.generated);
    columns.filter_map(|column| Some((column, column.domain.own_type()?)))
}

/// What a mapping makes of a node's table, if there is one.
pub fn reshape(
    config: &Config,
    table: &TableConfig,
    node: NodeId,
    catalogue: &Catalogue,
    plugins: &mut Plugins,
) -> Result<Option<Arc<dyn Reshape>>, String> {
    // What the table is refused for is told elsewhere.
    let Some(used) = table.nodes[node.index()].mapping.as_ref().filter(|_| catalogue.refusals.is_empty()) else {
        return Ok(None);
    };
    let columns: Vec<ShapeColumn> =
        told(catalogue).map(|(column, ty)| ShapeColumn { name: column.name.clone(), ty }).collect();
    let place = |name: &String| columns.iter().position(|column| column.name == *name);
    let key: Option<Vec<usize>> = catalogue.key.iter().map(place).collect();
    let local = &table.nodes[node.index()].table;
    let Some(key) = key.filter(|key| !key.is_empty()) else {
        return Err(format!(
            "`{local}` at {} has no key to identify rows by that a mapping could be told: add a primary key over columns of plain types",
            config.nodes[node.index()].name
        ));
    };
    let shape = Shape { name: table.name.clone(), columns, key };
    plugins.mapping(config, shape, used).map(Some).map_err(|failure| failure.to_string())
}

/// A node's table as the other nodes see it behind a mapping.
pub fn seen_behind(catalogue: &Catalogue, reshape: &dyn Reshape) -> Catalogue {
    let shape = reshape.shape();
    let native = format!("made by {}", reshape.told());
    let column = |column: &ShapeColumn| CatalogueColumn {
        name: column.name.clone(),
        native: native.clone(),
        collation: None,
        domain: Domain::of(&column.ty),
        nullable: true,
        generated: false,
        lacks: Vec::new(),
        alike: None,
    };
    let made =
        |at: usize| reshape.key().iter().find(|(own, _)| *own == at).map(|&(_, place)| &shape.columns[place].name);
    // Numbers that each node has for itself collide with nobody's.
    let is_ruled =
        |at: usize| reshape.key().iter().zip(reshape.rules()).any(|(&(own, _), rule)| own == at && rule.is_some());
    let numbered = catalogue.numbered.iter().filter_map(|numbered| {
        let at = told(catalogue).position(|(column, _)| column.name == numbered.column).filter(|at| !is_ruled(*at))?;
        Some(Numbered { column: made(at)?.clone(), ..numbered.clone() })
    });
    Catalogue {
        columns: shape.columns.iter().map(column).collect(),
        key: reshape.key().iter().map(|&(_, place)| shape.columns[place].name.clone()).collect(),
        numbered: numbered.collect(),
        ..catalogue.clone()
    }
}

/// The same, where what is a copy of a column of the node's holds no more than that does.
pub fn held_behind(catalogue: &Catalogue, reshape: &dyn Reshape) -> Catalogue {
    let mut seen = seen_behind(catalogue, reshape);
    for &(own, made) in reshape.copies() {
        if let Some((column, _)) = told(catalogue).nth(own) {
            seen.columns[made].domain = column.domain.clone();
        }
    }
    seen
}

/// Columns that refer to keys which each node makes for itself, and are shared as they stand or by another rule: at the other nodes
/// their rows would come to belong to others' rows. Of columns beside the key no rule is told, so what a mapping makes of these is its
/// own affair.
pub fn references_unmapped(config: &Config, tables: &[Table]) -> Vec<Diagnostic> {
    let mut problems: Vec<Diagnostic> = Vec::new();
    let forms = |node: NodeId| tables.iter().filter_map(move |table| Some((table, table.form(node)?)));
    for (at, here) in config.nodes.iter().enumerate() {
        let node = NodeId(at as u16);
        for (table, form) in forms(node) {
            for reference in &form.spec.references {
                let is_parent = |(_, other): &(&Table, &Form)| {
                    other.spec.local == reference.referenced_table && other.spec.schema == reference.referenced_schema
                };
                let Some((parent, keys)) = forms(node).find(is_parent) else { continue };
                let pairs = reference.columns.iter().zip(&reference.referenced_columns);
                for (column, key) in pairs {
                    let (child, parent) = (&table.name, &parent.name);
                    let (how, help) = match (form.key_rule(column), keys.key_rule(key)) {
                        (_, Some(_)) if form.shares_as_it_is(column) => (
                            ", of which each node makes its own, and is shared as it stands",
                            format!(
                                "give `{child}` the mapping of `{parent}` wherever that has it, with `{column}` among its `columns`"
                            ),
                        ),
                        (Some(own), Some(other)) if !is_same_rule(own, other) => (
                            ", of which each node makes its own, and is shared by another rule",
                            format!(
                                "give both at each node the same rule: the same `of` and `slot`, or the same prefixes, as `{parent}` has \
                                 them"
                            ),
                        ),
                        (Some(_), None) if keys.shares_as_it_is(key) => (
                            ", which all nodes share as it stands, and is shared by a rule",
                            format!(
                                "take `{column}` out of the `columns` of its mapping, or give `{parent}` the mapping as well"
                            ),
                        ),
                        _ => continue,
                    };
                    let part = &config.tables[table.index].nodes[at];
                    let message = format!(
                        "`{column}` of `{child}` at {} refers to `{key}` of `{parent}`{how}: elsewhere it would be the key of another row",
                        here.name
                    );
                    let place = part.mapping.as_ref().map_or(&part.place, |used| &used.place);
                    let problem = config.diagnostic(place, message, help);
                    // A column may be in several references.
                    if !problems.iter().any(|known| known.message == problem.message) {
                        problems.push(problem);
                    }
                }
            }
        }
    }
    problems
}

/// Whether two rules make the same of every key. In which order the prefixes of others stand says nothing.
fn is_same_rule(one: &KeyRule, other: &KeyRule) -> bool {
    match (one, other) {
        (KeyRule::Prefix { own, others }, KeyRule::Prefix { own: other_own, others: other_others }) => {
            let all_in = |some: &[String], all: &[String]| some.iter().all(|prefix| all.contains(prefix));
            own == other_own && all_in(others, other_others) && all_in(other_others, others)
        }
        (one, other) => one == other,
    }
}

/// The row that stands at a node, in its own shape, as it was read; or why it cannot be read.
pub type Current = Option<std::result::Result<Arc<Row>, String>>;

impl Form {
    /// Whether what stands in this column of the node's is what the others have, by what a mapping tells of it, if there is one.
    fn shares_as_it_is(&self, column: &str) -> bool {
        let Some(at) = self.spec.columns.iter().position(|own| own.name == column) else { return false };
        let Some(reshape) = self.lens.mapping() else { return self.spec.columns[at].shared.is_some() };
        let is_same_key = || reshape.key().iter().zip(reshape.rules()).any(|(key, rule)| key.0 == at && rule.is_none());
        reshape.copies().iter().any(|(own, _)| *own == at) || is_same_key()
    }

    /// By what rule this column of the node's is another among the nodes, as far as that is told: if it is of the key.
    fn key_rule(&self, column: &str) -> Option<&KeyRule> {
        let mut rules = self.spec.key_columns().zip(&self.spec.keys);
        rules.find(|(own, _)| own.name == column).and_then(|(_, rule)| rule.as_ref())
    }

    /// What it takes to write a shared row here. Where a plugin maps, the row stays what it is until it is [`localized`].
    pub fn write(&self, row: Arc<Row>, mode: WriteMode) -> Effect {
        let local = match () {
            () if self.lens.is_mapped() => return Effect::Write(row, mode),
            () if self.lens.is_identity() => row,
            () => Arc::new(self.lens.put(&row)),
        };
        self.fitting(local, mode)
    }

    /// The same for a single row, whose place is known to be the node's to fill, and for whoever may not block.
    pub async fn write_apart(&self, row: Arc<Row>, current: Current) -> Effect {
        if !self.lens.is_mapped() {
            return self.write(row, WriteMode::Upsert);
        }
        let form = self.clone();
        let mapping = blocking(move || match form.localize(&[(row, current)]).pop() {
            Some(Ok(local)) => form.fitting(Arc::new(local), WriteMode::Upsert),
            Some(Err(why)) => Effect::Park(ParkedCode::Mapping, why),
            None => Effect::Keep,
        });
        mapping.await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
    }

    /// [`Form::localize`] for whoever may not block.
    pub(super) async fn localize_apart(&self, rows: Vec<(Arc<Row>, Current)>) -> Vec<std::result::Result<Row, String>> {
        let form = self.clone();
        let mapping = blocking(move || form.localize(&rows));
        mapping.await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
    }

    /// The node's own rows of those that are to be written over what stands; or why there is none. Blocks.
    fn localize(&self, rows: &[(Arc<Row>, Current)]) -> Vec<std::result::Result<Row, String>> {
        let puts = rows.iter().filter_map(|(shared, current)| match current {
            None => Some(Put { shared, current: None }),
            Some(Ok(current)) => Some(Put { shared, current: Some(current) }),
            Some(Err(_)) => None,
        });
        let puts: Vec<Put<'_>> = puts.collect();
        let mut made = self.lens.localize(&puts).into_iter();
        let each = rows.iter().map(|(_, current)| match current {
            Some(Err(why)) => Err(format!("what stands here cannot be read, and would be lost: {why}")),
            None | Some(Ok(_)) => made.next().unwrap_or_else(|| Err("it was not mapped".to_owned())),
        });
        each.collect()
    }

    fn fitting(&self, local: Arc<Row>, mode: WriteMode) -> Effect {
        match self.spec.misfit(&local) {
            Some((column, why)) => {
                let table = self.spec.full_name();
                Effect::Park(ParkedCode::Value, format!("the value of `{column}` does not fit {table}: it {why}"))
            }
            None => Effect::Write(local, mode),
        }
    }
}

/// Decisions at a node where a plugin maps, with what stands there: rows that are to be written are made the node's own. Blocks.
pub fn localized(form: &Form, decisions: Vec<(Decision, Current)>) -> Vec<Decision> {
    // What is not to be written is not mapped either: if that failed it would wait for nothing.
    let is_passed = |mode: WriteMode, current: &Current| {
        matches!((mode, current), (WriteMode::InsertOnly, Some(Ok(_))) | (WriteMode::UpdateOnly, None))
    };
    let write = |(decision, current): &'_ (Decision, Current)| match &decision.effect {
        Effect::Write(row, mode) if !is_passed(*mode, current) => Some((row.clone(), current.clone())),
        _ => None,
    };
    let writes: Vec<(Arc<Row>, Current)> = decisions.iter().filter_map(write).collect();
    let mut made = form.localize(&writes).into_iter();
    let mut done = Vec::with_capacity(decisions.len());
    for (mut decision, current) in decisions {
        if let Effect::Write(_, mode) = decision.effect {
            let local = if is_passed(mode, &current) { None } else { made.next() };
            let current = current.and_then(Result::ok);
            decision.effect = match local {
                None => Effect::Keep,
                Some(Err(why)) => Effect::Park(ParkedCode::Mapping, why),
                Some(Ok(local)) if form.spec.captured => form.fitting(Arc::new(local), mode),
                // No entry tells what a user did meanwhile, and what is not there cannot be locked.
                Some(Ok(local)) => {
                    let mode = if current.is_some() { WriteMode::UpdateOnly } else { WriteMode::InsertOnly };
                    form.fitting(Arc::new(local), mode)
                }
            };
            if !form.spec.captured && !matches!(decision.effect, Effect::Park(ParkedCode::Mapping, _)) {
                decision.upon = Some(current);
            }
        }
        done.push(decision);
    }
    done
}

/// The same for whoever may not block.
pub async fn localized_apart(form: &Form, decisions: Vec<(Decision, Current)>) -> Vec<Decision> {
    let form = form.clone();
    let mapping = blocking(move || localized(&form, decisions));
    mapping.await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}
