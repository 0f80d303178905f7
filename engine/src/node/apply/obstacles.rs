//! What stands in the way of rows, as the database tells: rows that wait, and rows that need each other.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::DiGraph;

use super::writes::{Chunk, is_unique};
use super::{Application, CHUNK, Effect, Item, tables_of};
use crate::model::{ForeignKey, Key, ParkedCode, Row, TableSpec, key_value_to_json};
use crate::node::{Error, Node, Obstacle, Reason, Result, WriteMode};

/// Which rows cannot be written before others of the batch: those that refer to them, and those that take a unique value
/// over from them.
#[derive(Default)]
pub(super) struct Needs {
    /// What a row needs, and what to say if that is not written.
    of: HashMap<Item, Vec<(Item, Arc<Reason>)>>,
    /// The same from the other side.
    by: HashMap<Item, Vec<Item>>,
    /// A row, and one that is to go and holds a unique value which it wants.
    going: Vec<(Item, Item)>,
    /// Rows that need each other in a circle have a number in common.
    circles: HashMap<Item, usize>,
    numbers: usize,
}

impl Needs {
    pub fn clear(&mut self) {
        *self = Needs::default();
    }

    fn add(&mut self, item: Item, other: Item, reason: Arc<Reason>) {
        let needs = self.of.entry(item).or_default();
        if !needs.iter().any(|(known, _)| *known == other) {
            needs.push((other, reason));
            self.by.entry(other).or_default().push(item);
        }
    }

    /// The rows that hang together, two and two.
    pub fn pairs(&self) -> impl Iterator<Item = (Item, Item)> {
        let needed = self.of.iter().flat_map(|(item, needs)| needs.iter().map(|(other, _)| (*item, *other)));
        needed.chain(self.going.iter().copied())
    }

    /// The rows that need this one, and what to say if it is not written.
    pub fn of_others(&self, item: Item) -> Vec<(Item, Reason)> {
        let others = self.by.get(&item).into_iter().flatten();
        let reason = |other: &Item| self.of[other].iter().find(|(needed, _)| *needed == item);
        others.filter_map(|other| Some((*other, (*reason(other)?.1).clone()))).collect()
    }

    /// What to say of a row if those that it needs are not written.
    pub fn reason(&self, item: Item) -> Option<&Reason> {
        self.of.get(&item)?.first().map(|(_, reason)| &**reason)
    }

    /// Those of `items` that hold a unique value which another of them wants.
    pub fn holders(&self, items: &[Item]) -> Vec<Item> {
        if self.of.is_empty() {
            return Vec::new();
        }
        let wanting: HashSet<&Item> = items.iter().collect();
        let is_wanted = |item: &&Item| {
            let others = self.by.get(item).into_iter().flatten().filter(|other| wanting.contains(other));
            others.flat_map(|other| &self.of[other]).any(|(needed, reason)| needed == *item && reason.unique)
        };
        items.iter().filter(is_wanted).copied().collect()
    }

    /// Where to divide: as near to the middle as can be without parting a circle; `None` if that cannot be.
    pub fn middle(&self, items: &[Item]) -> Option<usize> {
        let parts = |&at: &usize| {
            let circle = |item: Item| self.circles.get(&item);
            circle(items[at]).is_none_or(|number| circle(items[at - 1]) != Some(number))
        };
        let middle = items.len() / 2;
        (middle..items.len()).filter(|&at| at > 0).find(parts).or_else(|| (1..middle).rev().find(parts))
    }

    /// Puts rows behind those that they need, and those of a circle side by side.
    pub fn sort(&mut self, items: &mut Vec<Item>) {
        if self.of.is_empty() {
            return;
        }
        let mut graph = DiGraph::<Item, ()>::new();
        let places: BTreeMap<Item, _> = items.iter().map(|&item| (item, graph.add_node(item))).collect();
        for (item, place) in &places {
            let needed = self.of.get(item).into_iter().flatten().filter_map(|(other, _)| places.get(other));
            for other in needed {
                graph.add_edge(*place, *other, ());
            }
        }
        // Circles come after everything that they lead to.
        items.clear();
        for circle in kosaraju_scc(&graph) {
            self.numbers += 1;
            for place in &circle {
                items.push(graph[*place]);
                if circle.len() > 1 {
                    self.circles.insert(graph[*place], self.numbers);
                }
            }
        }
    }
}

/// What an obstacle means for the batch.
enum Meaning {
    /// Nothing can be done about it in these chunks.
    Blocked,
    /// Another row has to be written first or as well.
    Needs(Item),
    /// It cannot be told.
    Unknown,
}

/// The rows that are still to be written, by table and key.
#[derive(Default)]
pub(super) struct Pending<'a>(HashMap<usize, HashMap<&'a Key, Item>>);

impl<'a> Pending<'a> {
    fn insert(&mut self, item: Item, key: &'a Key) {
        self.0.entry(item.0).or_default().insert(key, item);
    }

    pub fn remove(&mut self, item: Item, key: &Key) {
        self.0.entry(item.0).or_default().remove(key);
    }

    fn get(&self, table: usize, key: &Key) -> Option<Item> {
        self.0.get(&table)?.get(key).copied()
    }
}

impl<'a> Application<'a> {
    /// Asks what stands in the way of a chunk that failed. Rows for which nothing can be done wait; if the others need rows
    /// of later chunks, those join them. Whether anything was learned.
    pub(super) async fn ask(
        &mut self,
        node: &mut dyn Node,
        chunk: &mut Chunk,
        left: &mut Vec<Chunk>,
        error: &Error,
    ) -> Result<bool> {
        chunk.asked = true;
        let mut learned = is_unique(error) && self.delete_early(node, &chunk.items).await?;
        if self.pending.is_none() {
            let mut pending = Pending::default();
            let all = chunk.items.iter().chain(left.iter().flat_map(|chunk| &chunk.items));
            all.for_each(|&item| pending.insert(item, &self.decision(item).key));
            self.pending = Some(pending);
        }
        let mut within: HashSet<Item> = chunk.items.iter().copied().collect();
        let mut blocked: Vec<(Item, Reason)> = Vec::new();
        let mut blocking: Vec<(Item, Key)> = Vec::new();
        let mut asking = chunk.items.clone();
        while !asking.is_empty() {
            let mut beyond = false;
            for (item, obstacle) in self.find_obstacles(node, &asking).await? {
                match self.meaning(item, &obstacle) {
                    Meaning::Unknown => continue,
                    Meaning::Blocked => {
                        blocked.push((item, self.describe(item, &obstacle)));
                        blocking.extend(obstacle.holder.map(|holder| (item, holder)));
                    }
                    Meaning::Needs(other) => {
                        beyond |= !within.contains(&other);
                        let reason = self.describe(item, &obstacle);
                        self.needs.add(item, other, Arc::new(reason));
                    }
                }
                learned = true;
            }
            asking = if beyond { chunk.join(left) } else { Vec::new() };
            within.extend(&asking);
        }
        self.find_going(&blocking);
        for (item, reason) in blocked {
            // Of several reasons the first is told.
            if !self.is_out(item) {
                self.give_up(item, reason);
            }
        }
        if learned {
            chunk.items.retain(|&item| !self.is_out(item));
            self.needs.sort(&mut chunk.items);
        }
        Ok(learned)
    }

    /// Takes note of those rows in the way of others that are still to be deleted.
    fn find_going(&mut self, blocking: &[(Item, Key)]) {
        let items: Vec<Item> = blocking.iter().map(|(item, _)| *item).collect();
        for table in tables_of(&items) {
            let deletes = self.items(table, |effect| matches!(effect, Effect::Delete));
            let going: HashMap<&Key, Item> = deletes.iter().map(|&item| (&self.decision(item).key, item)).collect();
            let pairs = blocking.iter().filter(|(item, _)| item.0 == table);
            let pairs = pairs.filter_map(|(item, holder)| Some((*item, *going.get(holder)?)));
            self.needs.going.extend(pairs);
        }
    }

    async fn find_obstacles(&self, node: &mut dyn Node, items: &[Item]) -> Result<Vec<(Item, Obstacle)>> {
        let mut found = Vec::new();
        for table in tables_of(items) {
            // Of a row that may only be created, or only be replaced, nobody knows whether it will be written at all, unless it
            // was looked at. So was what never waits: a load and a comparison decide by rows.
            let rows = items.iter().filter(|item| item.0 == table);
            let rows = rows.filter_map(|&item| self.row(item).map(|(row, mode)| (item, row, mode)));
            let looked_at = |item: &Item| {
                let decision = self.decision(*item);
                decision.upon.is_some() || decision.otherwise.is_none()
            };
            let rows = rows.filter(|(item, _, mode)| looked_at(item) || *mode == WriteMode::Upsert);
            let rows: Vec<(Item, &Row)> = rows.map(|(item, row, _)| (item, row)).collect();
            for part in rows.chunks(CHUNK) {
                let rows: Vec<&Row> = part.iter().map(|(_, row)| *row).collect();
                node.savepoint().await?;
                match node.obstacles(&self.batch.tables[table].spec, &rows).await {
                    Ok(obstacles) => {
                        node.release().await?;
                        found.extend(obstacles.into_iter().map(|obstacle| (part[obstacle.row].0, obstacle)));
                    }
                    // Another of the rows holds a value that cannot even be compared.
                    Err(error) if self.is_about_rows(&error) => node.undo().await?,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(found)
    }

    /// The row of a key, if it is still to be written.
    fn coming(&self, table: usize, key: &Key) -> Option<Item> {
        self.pending.as_ref()?.get(table, key).filter(|&item| !self.is_out(item))
    }

    fn meaning(&self, item: Item, obstacle: &Obstacle) -> Meaning {
        let spec = &self.batch.tables[item.0].spec;
        match &obstacle.holder {
            Some(holder) => match self.coming(item.0, holder) {
                Some(other) => Meaning::Needs(other),
                None => Meaning::Blocked,
            },
            None => match spec.references.iter().find(|reference| reference.name == obstacle.constraint) {
                Some(reference) => self.provider(item, reference),
                None => Meaning::Unknown,
            },
        }
    }

    /// The row to which another refers, if it is still to be written.
    fn provider(&self, item: Item, reference: &ForeignKey) -> Meaning {
        let is_parent =
            |spec: &TableSpec| spec.local == reference.referenced_table && spec.schema == reference.referenced_schema;
        let parent = self.batch.tables.iter().position(|table| is_parent(&table.spec));
        let is_coming = |parent: &usize| self.pending.as_ref().is_some_and(|pending| pending.0.contains_key(parent));
        let Some(parent) = parent.filter(is_coming) else { return Meaning::Blocked };
        let (spec, Some((row, _))) = (&self.batch.tables[item.0].spec, self.row(item)) else {
            return Meaning::Unknown;
        };
        let value = |name: &String| {
            let place = reference.referenced_columns.iter().position(|column| column == name)?;
            let at = spec.columns.iter().position(|column| column.name == reference.columns[place])?;
            Some(row[at].clone())
        };
        let key: Option<Key> = self.batch.tables[parent].spec.key_columns().map(|column| value(&column.name)).collect();
        // It refers to other columns than the key.
        let Some(key) = key.map(|key| self.batch.tables[parent].spec.shared_key(key)) else { return Meaning::Unknown };
        match self.coming(parent, &key) {
            Some(other) if other == item => Meaning::Unknown,
            Some(other) => Meaning::Needs(other),
            None => Meaning::Blocked,
        }
    }

    fn describe(&self, item: Item, obstacle: &Obstacle) -> Reason {
        let spec = &self.batch.tables[item.0].spec;
        let (name, table) = (&obstacle.constraint, spec.full_name());
        let message = match &obstacle.holder {
            Some(holder) => match spec.uniques.iter().find(|unique| unique.name == *name) {
                Some(unique) => format!(
                    "another row of {table} has the same {}, which is unique ({name}); change one of the two",
                    unique.columns.join(", ")
                ),
                None => format!(
                    "to this database the key {} is the same as {}, of a row that stands in {table}: it tells texts apart less \
                     exactly (its collation); change the key of one of the two",
                    shown(spec, &self.decision(item).key),
                    shown(spec, holder)
                ),
            },
            None => {
                let reference = spec.references.iter().find(|reference| reference.name == *name);
                let parent = reference.map_or("another table", |reference| &reference.referenced_table);
                format!("the foreign key {name} of {table} refers to a row of {parent} that is not there")
            }
        };
        Reason { code: ParkedCode::Constraint, message, unique: obstacle.holder.is_some() }
    }
}

/// A key as it is written in JSON.
fn shown(spec: &TableSpec, key: &Key) -> String {
    let cells = spec.key_columns().zip(key.iter()).map(|(column, value)| key_value_to_json(&column.ty, value));
    serde_json::Value::Array(cells.collect()).to_string()
}
