//! Creating tables that are missing at a node from what they are at another.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;

use super::order;
use super::session::Session;
use super::table::Table;
use crate::config::{Ids, TableConfig, TableNode};
use crate::error::{Error, Result};
use crate::model::{Domain, NodeId, TableSpec, Type};
use crate::node::blueprint::{Blueprint, IndexPart, Part, ReferencePart};
use crate::node::{Catalogue, CatalogueColumn};

/// A table that was created, or would be.
#[derive(Clone, Debug, Serialize)]
pub struct Created {
    pub node: String,
    /// The local name.
    pub table: String,
    /// The node from which it was taken.
    pub from: String,
    pub statements: Vec<String>,
    /// What could not be carried, a line each.
    pub notes: Vec<String>,
}

impl Session {
    /// Creates the tables that the file names and that are missing at a node, in the shape that they have at the first node
    /// which has them and no mapping: all of a node together, where it can undo them; `told` hears of each as soon as it is there to stay. With `dry`
    /// nothing is done. Tables that are referred to come first.
    pub async fn create_missing(&mut self, dry: bool, told: &mut (dyn FnMut(Created) + Send)) -> Result<()> {
        self.connect().await;
        if self.members.iter().any(|member| member.node.is_none()) {
            return Err(self.unreachable());
        }
        let tables = self.config.tables.clone();
        let mut blueprints: Vec<Vec<Option<Blueprint>>> = Vec::new();
        for table in &tables {
            let mut found = Vec::new();
            for member in &mut self.members {
                let local = &table.nodes[member.id.index()].table;
                let Some(node) = member.node.as_deref_mut() else { continue };
                let read = node.blueprint(local).await;
                found.push(read.map_err(Error::at(&member.name, format!("looking up `{local}`")))?);
            }
            blueprints.push(found);
        }
        let nowhere = tables.iter().zip(&blueprints).filter(|(_, found)| found.iter().all(Option::is_none));
        let problems: Vec<String> = nowhere
            .map(|(table, _)| {
                format!("{}: there is no table `{}` at any node", self.config.at(&table.place), table.name)
            })
            .collect();
        if !problems.is_empty() {
            return Err(Error::Refused(problems));
        }
        let mut problems: Vec<String> = Vec::new();
        for (table, found) in tables.iter().zip(&blueprints) {
            let (place, name) = (self.config.at(&table.place), &table.name);
            let has_source = source(table, found).is_some_and(|at| table.nodes[at].mapping.is_none());
            for ((part, node), _) in table.nodes.iter().zip(&self.names).zip(found).filter(|(_, found)| found.is_none())
            {
                let why = match (&part.mapping, has_source) {
                    (Some(_), _) => "where a mapping gives it another shape",
                    (None, false) => "and a mapping gives it another shape wherever it is",
                    (None, true) => continue,
                };
                problems.push(format!("{place}: `{name}` is missing at {node}, {why}; create it there by hand"));
            }
        }
        if !problems.is_empty() {
            return Err(Error::Refused(problems));
        }
        let planned = self.planned(&tables, &blueprints).await?;
        for (member, tables) in self.members.iter_mut().zip(planned) {
            let Some(node) = member.node.as_deref_mut().filter(|_| !dry && !tables.is_empty()) else {
                tables.into_iter().for_each(&mut *told);
                continue;
            };
            let statements: Vec<Vec<String>> = tables.iter().map(|table| table.statements.clone()).collect();
            let mut made = Vec::new();
            let mut stays = |place: usize| {
                made.push(format!("`{}`", tables[place].table));
                told(tables[place].clone());
            };
            let built = node.build(&statements, &mut stays).await;
            built.map_err(|(place, error)| {
                // What was made cannot be undone everywhere.
                let error = match made.is_empty() {
                    true => error,
                    false => error.with(format!("created there before: {}", made.join(", "))),
                };
                Error::at(&member.name, format!("creating `{}`", tables[place].table))(error)
            })?;
        }
        Ok(())
    }

    /// What is to be created at each node, in this order; or why no table can be made that could be synced. All is looked at before
    /// anything is done.
    async fn planned(
        &mut self,
        tables: &[TableConfig],
        blueprints: &[Vec<Option<Blueprint>>],
    ) -> Result<Vec<Vec<Created>>> {
        let mut planned: Vec<Vec<Created>> = self.members.iter().map(|_| Vec::new()).collect();
        let mut problems: Vec<(usize, String)> = Vec::new();
        // No index may have the name of a table, also of one that is made after it.
        let locals = |at: usize| tables.iter().map(move |table| bare(&table.nodes[at].table));
        let mut taken: Vec<HashSet<String>> = (0..self.members.len()).map(|at| locals(at).collect()).collect();
        let mut foreseen: Vec<(usize, NodeId, Catalogue)> = Vec::new();
        let mut there = There { tables, blueprints, made: HashMap::new() };
        for group in parents_first(tables, blueprints) {
            for at in 0..self.members.len() {
                let mut left: Vec<usize> =
                    group.iter().copied().filter(|&index| blueprints[index][at].is_none()).collect();
                let mut links = Vec::new();
                left.reverse();
                while let Some(index) = left.pop() {
                    let Some((source, blueprint)) = there.source(index) else { continue };
                    let mut wanted = there.carried(index, at);
                    there.refer(&mut wanted, index, at, &left);
                    there.made.insert((index, at), Arc::new(wanted.clone()));
                    let member = &mut self.members[at];
                    let Some(node) = member.node.as_deref_mut() else { continue };
                    let drafted = node.draft(&wanted, &mut taken[at]).await;
                    let mut draft = drafted.map_err(Error::at(&member.name, format!("drafting `{}`", wanted.table)))?;
                    if draft.typed {
                        foreseen.push((index, member.id, catalogue(&wanted)));
                    }
                    wanted.notes.extend(draft.notes);
                    let parts = [source, at].map(|node| &tables[index].nodes[node]);
                    let names = [source, at].map(|node| self.names[node].as_str());
                    let mut lines = not_carried(blueprint, parts, names);
                    lines.append(&mut draft.problems);
                    if wanted.key.is_empty() && !blueprint.key.is_empty() {
                        lines.push("a column of the key does not live there: take it out of `omit`".to_owned());
                    }
                    let (place, name) = (self.config.at(&tables[index].place), &tables[index].name);
                    problems.extend(
                        lines.into_iter().map(|line| {
                            (index, format!("{place}: `{name}` cannot be created at {}: {line}", names[1]))
                        }),
                    );
                    // Tables that refer to each other are tied together when the last of them is there.
                    links.append(&mut draft.links);
                    if left.is_empty() {
                        draft.statements.append(&mut links);
                    }
                    planned[at].push(Created {
                        node: self.names[at].clone(),
                        table: wanted.table,
                        from: self.names[source].clone(),
                        statements: draft.statements,
                        notes: wanted.notes,
                    });
                }
            }
        }
        if planned.iter().any(|tables| !tables.is_empty()) {
            let told: HashSet<usize> = problems.iter().map(|(index, _)| *index).collect();
            problems.extend(self.judged(blueprints, &foreseen, &told).await?);
        }
        if problems.is_empty() {
            return Ok(planned);
        }
        problems.sort_by_key(|(index, _)| *index);
        Err(Error::Refused(problems.into_iter().map(|(_, line)| line).collect()))
    }

    /// What `install` would refuse of the tables as they are where they are there, and as they are `foreseen` elsewhere, each with the
    /// place of its table; those that are `told` are passed over.
    async fn judged(
        &mut self,
        blueprints: &[Vec<Option<Blueprint>>],
        foreseen: &[(usize, NodeId, Catalogue)],
        told: &HashSet<usize>,
    ) -> Result<Vec<(usize, String)>> {
        let mut problems = Vec::new();
        let mut config = self.config.clone();
        for (index, found) in blueprints.iter().enumerate().filter(|(index, _)| !told.contains(index)) {
            let mut catalogues = Vec::new();
            for member in self.members.iter_mut().filter(|member| found[member.id.index()].is_some()) {
                let local = &config.tables[index].nodes[member.id.index()].table;
                let Some(node) = member.node.as_deref_mut() else { continue };
                let read = node.catalogue(local).await;
                let read = read.map_err(Error::at(&member.name, format!("looking up `{local}`")))?;
                catalogues.extend(read.map(|catalogue| (member.id, catalogue)));
            }
            // One refusal is enough.
            if catalogues.iter().all(|(_, catalogue)| catalogue.refusals.is_empty() && !catalogue.key.is_empty()) {
                let others = foreseen.iter().filter(|(table, ..)| *table == index);
                catalogues.extend(others.map(|(_, node, catalogue)| (*node, catalogue.clone())));
            }
            // But for floats only the table that is to be made tells what loses something beside the others.
            if found.iter().any(Option::is_none) {
                let foresees_all = catalogues.len() == config.nodes.len();
                let TableConfig { nodes, lossy, .. } = &mut config.tables[index];
                lossy.retain(|named| {
                    let there = found.iter().zip(&*nodes);
                    let mut parts = there.filter_map(|(found, node)| found.as_ref()?.part(node.local(&named.name)));
                    foresees_all && parts.next().is_some_and(|part| part.ty == Type::Float)
                });
            }
            catalogues.sort_by_key(|(node, _)| node.index());
            if let Err(lines) = Table::agreed(&config, index, &catalogues, &mut self.plugins) {
                problems.extend(lines.iter().map(|line| (index, line.to_string())));
            }
        }
        Ok(problems)
    }
}

/// The places of the tables, those that others refer to first and those that refer to each other together.
fn parents_first(tables: &[TableConfig], blueprints: &[Vec<Option<Blueprint>>]) -> Vec<Vec<usize>> {
    let specs: Vec<TableSpec> = tables
        .iter()
        .zip(blueprints)
        .enumerate()
        .map(|(index, (table, found))| {
            let source = source(table, found).unwrap_or(0);
            let references = found[source].iter().flat_map(|blueprint| &blueprint.references);
            let parents = references.filter_map(|reference| place(tables, blueprints, source, &reference.table));
            TableSpec::bare(index, &table.name, parents.map(|parent| tables[parent].name.as_str()))
        })
        .collect();
    order::parents_first(&specs.iter().collect::<Vec<_>>())
}

/// The first node that has a table in the shape which the nodes share, or else in whatever shape.
fn source(table: &TableConfig, found: &[Option<Blueprint>]) -> Option<usize> {
    let there = || (0..found.len()).filter(move |&node| found[node].is_some());
    there().find(|&node| table.nodes[node].mapping.is_none()).or_else(|| there().next())
}

/// A local name without its schema, as names of indexes are compared with it.
fn bare(name: &str) -> String {
    name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase()
}

/// The synced table that a reference at a node is to. Schemas may have tables of one name: that of a table is the one in which it was
/// found. What refers to a table that is missing there has the name of the file, if any.
fn place(
    tables: &[TableConfig],
    blueprints: &[Vec<Option<Blueprint>>],
    node: usize,
    referenced: &str,
) -> Option<usize> {
    let found = blueprints.iter().map(|found| found[node].as_ref());
    let mut names =
        found.zip(tables).map(|(found, table)| found.map_or(&table.nodes[node].table, |found| &found.found));
    names.position(|name| name == referenced)
}

/// What is there, and what will be.
struct There<'a> {
    tables: &'a [TableConfig],
    blueprints: &'a [Vec<Option<Blueprint>>],
    /// Those that are to be made, by the places of table and node.
    made: HashMap<(usize, usize), Arc<Blueprint>>,
}

impl<'a> There<'a> {
    /// The node from which a table is taken, and how it is there.
    fn source(&self, index: usize) -> Option<(usize, &'a Blueprint)> {
        let node = source(&self.tables[index], &self.blueprints[index])?;
        Some((node, self.blueprints[index][node].as_ref()?))
    }

    /// A table as it is at a node, or will be.
    fn at(&self, index: usize, node: usize) -> Arc<Blueprint> {
        match (&self.blueprints[index][node], self.made.get(&(index, node))) {
            (Some(blueprint), _) => Arc::new(blueprint.clone()),
            (None, Some(made)) => made.clone(),
            (None, None) => Arc::new(self.carried(index, node)),
        }
    }

    /// The blueprint of a table that is missing at a node, in the words of that node and without references.
    fn carried(&self, index: usize, target: usize) -> Blueprint {
        let nodes = &self.tables[index].nodes;
        let mut wanted = Blueprint { table: nodes[target].table.clone(), ..Blueprint::default() };
        let Some((source, blueprint)) = self.source(index) else { return wanted };
        let (from, to) = (&nodes[source], &nodes[target]);
        wanted.notes = blueprint.notes.clone();
        wanted.options = blueprint.options.clone();
        wanted.collation.clone_from(&blueprint.collation);
        wanted.in_steps = self.tables[index].ids == Ids::Interleave && self.tables[index].from.is_none();
        for part in blueprint.columns.iter().filter(|part| part.unsupported.is_none()) {
            if let Some(name) = renamed(from, to, &part.name) {
                let mut part = part.clone();
                part.name = name;
                wanted.columns.push(part);
            }
        }
        wanted.key = all_renamed(from, to, &blueprint.key).unwrap_or_default();
        for index in &blueprint.indexes {
            match all_renamed(from, to, &index.columns) {
                _ if is_computed(blueprint, &index.columns) => {
                    wanted.notes.push(format!("index {}, of which a column is computed", index.name));
                }
                Some(columns) => wanted.indexes.push(IndexPart { columns, ..index.clone() }),
                None => wanted.notes.push(format!("index {}, of which a column does not live here", index.name)),
            }
        }
        wanted
    }

    /// Adds to a blueprint that was carried what the table refers to, where some tables are made `later`. A column that refers to
    /// another is of its type, if its values can be.
    fn refer(&self, wanted: &mut Blueprint, index: usize, target: usize, later: &[usize]) {
        let Some((source, blueprint)) = self.source(index) else { return };
        let nodes = &self.tables[index].nodes;
        for reference in &blueprint.references {
            let Some(parent) = place(self.tables, self.blueprints, source, &reference.table) else {
                wanted.notes.push(format!("the reference to {}, which is not synced", reference.table));
                continue;
            };
            let there = &self.tables[parent].nodes;
            let own = |names: &[String]| all_renamed(&nodes[source], &nodes[target], names);
            let (Some(columns), Some(sets), Some(referenced)) = (
                own(&reference.columns),
                own(&reference.sets),
                all_renamed(&there[source], &there[target], &reference.referenced),
            ) else {
                wanted
                    .notes
                    .push(format!("the reference to {}, of which a column does not live here", reference.table));
                continue;
            };
            let to = if parent == index { Arc::new(wanted.clone()) } else { self.at(parent, target) };
            if is_computed(wanted, &columns) || is_computed(&to, &referenced) {
                let mapped = [source, target].iter().any(|&node| there[node].mapping.is_some());
                let why = if mapped { "which has another shape by a mapping" } else { "of which a column is computed" };
                wanted.notes.push(format!("the reference to {}, {why}", reference.table));
                continue;
            }
            let spelled = |name: &String| to.part(name).map(|part| part.name.clone());
            let referenced: Vec<String> = referenced.iter().filter_map(spelled).collect();
            for (name, referenced) in columns.iter().zip(&referenced) {
                let own = wanted.columns.iter_mut().find(|part| part.name == *name);
                let Some((own, other)) = own.zip(to.part(referenced)) else { continue };
                if own.accepts.contains(&other.ty) {
                    own.accepts = vec![other.ty.clone()];
                    own.ty = other.ty.clone();
                    // A longer text refers to nothing.
                    match own.ty {
                        Type::Text => own.collation.clone_from(&other.collation),
                        _ => own.size = other.size,
                    }
                }
            }
            wanted.references.push(ReferencePart {
                columns,
                sets,
                table: there[target].table.clone(),
                referenced,
                later: later.contains(&parent),
                to: Some(to),
                ..reference.clone()
            });
        }
    }
}

/// A table that is to be made as the catalogue will have it, as far as its columns' types tell.
fn catalogue(wanted: &Blueprint) -> Catalogue {
    let column = |part: &Part| CatalogueColumn {
        name: part.name.clone(),
        native: part.ty.to_string(),
        collation: None,
        domain: match part.ty {
            Type::Decimal => Domain::Decimal { limits: part.size.digits },
            Type::Text => Domain::Text { max: part.size.length, padded: false, nul: true },
            Type::Float => Domain::Float { bits: part.size.bits.unwrap_or(64) },
            _ => Domain::of(&part.ty),
        },
        nullable: part.nullable,
        generated: false,
        lacks: Vec::new(),
        alike: None,
    };
    Catalogue {
        name: wanted.table.clone(),
        columns: wanted.columns.iter().map(column).collect(),
        key: wanted.key.clone(),
        ..Catalogue::default()
    }
}

/// Whether one of the columns is none that a table can be made with: those that the database computes are left out.
fn is_computed(blueprint: &Blueprint, columns: &[String]) -> bool {
    columns.iter().any(|name| blueprint.part(name).is_none())
}

/// Names of columns at another node; `None` if one of them does not live there.
fn all_renamed(from: &TableNode, to: &TableNode, names: &[String]) -> Option<Vec<String>> {
    names.iter().map(|name| renamed(from, to, name)).collect()
}

/// Columns of a table at one node of which no value can be carried, unless the file lets them live neither there nor at the other.
fn not_carried(blueprint: &Blueprint, parts: [&TableNode; 2], names: [&str; 2]) -> Vec<String> {
    let mut lines = Vec::new();
    for part in &blueprint.columns {
        let Some(why) = &part.unsupported else { continue };
        let shared = parts[0].shared(&part.name);
        let lives = parts.iter().zip(names).filter(|(here, _)| !here.omits(shared)).map(|(_, name)| name);
        let lives: Vec<&str> = lives.collect();
        if !lives.is_empty() {
            lines.push(format!("column {shared}, which the file lets live at {}: {why}", lives.join(" and ")));
        }
    }
    lines
}

/// A column's name at another node; `None` if it does not live there.
fn renamed(from: &TableNode, to: &TableNode, local: &str) -> Option<String> {
    let shared = from.shared(local);
    (!to.omits(shared)).then(|| to.local(shared).to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    #[test]
    fn a_table_is_taken_from_where_no_mapping_gives_it_another_shape() {
        let mut text = "name = \"s\"\nplugins = \"plugins\"\n".to_owned();
        for name in ["a", "b", "c"] {
            text += &format!("[nodes.{name}]\nurl = \"sqlite:/{name}.db\"\n");
        }
        text += "[tables.t]\n[tables.t.nodes.a]\nmapping = { plugin = \"times\", by = 1 }\n";
        let config = Config::parse(Path::new("s.toml"), text, &|_| None).unwrap();
        let taken = |there: &[usize]| {
            let found: Vec<_> = (0..3).map(|at| there.contains(&at).then(Blueprint::default)).collect();
            source(&config.tables[0], &found)
        };
        let sources = [taken(&[0, 1, 2]), taken(&[0, 2]), taken(&[0]), taken(&[])];
        assert_eq!(sources, [Some(1), Some(2), Some(0), None]);
    }
}
