//! Creating tables that are missing at a node from what they are at another.

use serde::Serialize;

use super::order;
use super::session::Session;
use crate::config::{TableConfig, TableNode};
use crate::error::{Error, Result};
use crate::model::TableSpec;
use crate::node::blueprint::{Blueprint, IndexPart, ReferencePart};

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
    /// which has them: all of a node together, where it can undo them; `told` hears of each as soon as it is there to stay. With `dry`
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
        let reshaped = tables.iter().zip(&blueprints).filter(|(table, found)| {
            found.iter().any(Option::is_none) && table.nodes.iter().any(|part| part.mapping.is_some())
        });
        let problems: Vec<String> = reshaped
            .map(|(table, _)| {
                let name = &table.name;
                format!(
                    "{}: `{name}` is missing at a node, and a mapping gives it another shape at one; create it by hand",
                    self.config.at(&table.place)
                )
            })
            .collect();
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
        let mut problems = Vec::new();
        for group in parents_first(tables, blueprints) {
            for at in 0..self.members.len() {
                let mut left: Vec<usize> =
                    group.iter().copied().filter(|&index| blueprints[index][at].is_none()).collect();
                let mut links = Vec::new();
                left.reverse();
                while let Some(index) = left.pop() {
                    let Some(source) = blueprints[index].iter().position(Option::is_some) else { continue };
                    let Some(blueprint) = &blueprints[index][source] else { continue };
                    let mut wanted = carried(blueprint, tables, index, source, at, &left);
                    let member = &mut self.members[at];
                    let Some(node) = member.node.as_deref_mut() else { continue };
                    let drafted = node.draft(&wanted).await;
                    let mut draft = drafted.map_err(Error::at(&member.name, format!("drafting `{}`", wanted.table)))?;
                    wanted.notes.extend(draft.notes);
                    let parts = [source, at].map(|node| &tables[index].nodes[node]);
                    let names = [source, at].map(|node| self.names[node].as_str());
                    let lines = not_carried(blueprint, parts, names).into_iter().chain(draft.problems);
                    let (place, name) = (self.config.at(&tables[index].place), &tables[index].name);
                    problems.extend(
                        lines.map(|line| format!("{place}: `{name}` cannot be created at {}: {line}", names[1])),
                    );
                    // Tables that refer to each other are tied together when the last of them is there.
                    links.append(&mut draft.links);
                    if left.is_empty() {
                        draft.statements.append(&mut links);
                    }
                    let created = Created {
                        node: self.names[at].clone(),
                        table: wanted.table,
                        from: self.names[source].clone(),
                        statements: draft.statements,
                        notes: wanted.notes,
                    };
                    planned[at].push(created);
                }
            }
        }
        if problems.is_empty() { Ok(planned) } else { Err(Error::Refused(problems)) }
    }
}

/// The places of the tables, those that others refer to first and those that refer to each other together.
fn parents_first(tables: &[TableConfig], blueprints: &[Vec<Option<Blueprint>>]) -> Vec<Vec<usize>> {
    let specs: Vec<TableSpec> = tables
        .iter()
        .zip(blueprints)
        .enumerate()
        .map(|(index, (table, found))| {
            let source = found.iter().position(Option::is_some).unwrap_or(0);
            let references = found[source].iter().flat_map(|blueprint| &blueprint.references);
            let parents = references.filter_map(|reference| place(tables, source, &reference.table));
            TableSpec::bare(index, &table.name, parents.map(|parent| tables[parent].name.as_str()))
        })
        .collect();
    order::parents_first(&specs.iter().collect::<Vec<_>>())
}

/// The synced table that a node knows by a local name.
fn place(tables: &[TableConfig], node: usize, local: &str) -> Option<usize> {
    let bare = |name: &str| name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    tables.iter().position(|table| bare(&table.nodes[node].table) == bare(local))
}

/// The blueprint of a table at one node in the words of another, where some tables are still to be made.
fn carried(
    blueprint: &Blueprint,
    tables: &[TableConfig],
    index: usize,
    source: usize,
    target: usize,
    later: &[usize],
) -> Blueprint {
    let (from, to) = (&tables[index].nodes[source], &tables[index].nodes[target]);
    let mut wanted = Blueprint { table: to.table.clone(), notes: blueprint.notes.clone(), ..Blueprint::default() };
    for part in blueprint.columns.iter().filter(|part| part.unsupported.is_none()) {
        if let Some(name) = renamed(from, to, &part.name) {
            let mut part = part.clone();
            part.name = name;
            wanted.columns.push(part);
        }
    }
    let all = |names: &[String]| names.iter().map(|name| renamed(from, to, name)).collect::<Option<Vec<String>>>();
    wanted.key = all(&blueprint.key).unwrap_or_default();
    for index in &blueprint.indexes {
        match all(&index.columns) {
            Some(columns) => wanted.indexes.push(IndexPart { columns, ..index.clone() }),
            None => wanted.notes.push(format!("index {}, of which a column does not live here", index.name)),
        }
    }
    for reference in &blueprint.references {
        let parent = place(tables, source, &reference.table);
        let carried = parent.and_then(|parent| {
            let (from, to) = (&tables[parent].nodes[source], &tables[parent].nodes[target]);
            let referenced =
                reference.referenced.iter().map(|name| renamed(from, to, name)).collect::<Option<Vec<_>>>()?;
            Some(ReferencePart {
                columns: all(&reference.columns)?,
                table: to.table.clone(),
                referenced,
                later: later.contains(&parent),
                ..reference.clone()
            })
        });
        match carried {
            Some(reference) => wanted.references.push(reference),
            None => wanted.notes.push(format!("the reference to {}, which is not synced", reference.table)),
        }
    }
    wanted
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
