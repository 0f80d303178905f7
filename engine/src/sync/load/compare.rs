//! Comparing before anything is written: what would be copied, and what nobody could decide.

use std::collections::HashMap;
use std::sync::Arc;

use super::part::read_part;
use super::{Leg, Load, LoadedNode, PROBE, ROWS, Stage, WEIGHT};
use crate::error::{Error, Result};
use crate::fault;
use crate::model::{Key, NodeId, Row, Value, write_json};
use crate::sync::load::Loaded;
use crate::sync::session::Session;
use crate::sync::settle;
use crate::sync::subset::Belongs;

/// Rows that differ of which so many are looked at twice and named.
const EXAMPLES: usize = 1_000;

/// Of these so many are shown.
const SHOWN: usize = 5;

/// What comparing a table came to.
#[derive(Default)]
struct Compared {
    rows: u64,
    /// Rows that are missing, by node.
    missing: HashMap<NodeId, u64>,
    /// Rows that differ, by the node that would be given another one.
    replaced: HashMap<NodeId, u64>,
    /// Rows that do not belong where they stand, by node.
    removed: HashMap<NodeId, u64>,
    differing: u64,
    examples: Vec<Key>,
    undecided: u64,
}

/// Two nodes and the columns in which their rows of a key differ.
struct Difference {
    key: Key,
    nodes: (NodeId, NodeId),
    columns: Vec<usize>,
}

impl Session {
    /// Refuses a load if rows differ and nothing says which are right. Where at most one node holds rows nothing can differ.
    pub(super) async fn refuse_undecided(&mut self, load: &Load, told: &mut (dyn FnMut(&Stage) + Send)) -> Result<()> {
        let mut found: Vec<(usize, u64, Vec<Difference>)> = Vec::new();
        for (table, legs) in by_table(&load.legs) {
            if load.rule(self, table).is_some() || self.holders(table, &legs).await? < 2 {
                continue;
            }
            let compared = self.compare_legs(load, &legs, told).await?;
            if compared.differing == 0 {
                continue;
            }
            // What was merely on its way has arrived by then.
            self.carry().await?;
            let left = self.differences(table, &compared.examples).await?;
            let count = compared.differing - (compared.examples.len() - left.len()) as u64;
            if count > 0 {
                found.push((table, count, left));
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for (table, count, differences) in found {
            let name = &self.tables[table].name;
            let rows = if count == 1 { "1 row differs".to_owned() } else { format!("{count} rows differ") };
            let examples: Vec<String> = differences.iter().take(SHOWN).map(|one| self.told(table, one)).collect();
            lines.push(format!(
                "table `{name}`: {rows} between nodes, and nothing says which are right: {}{}; say so with `--prefer NODE`, or \
                 name in [tables.{name}] a column that tells which is later: updated = \"…\"",
                examples.join("; "),
                if count > SHOWN as u64 { "; …" } else { "" },
            ));
        }
        lines.push("nothing was written".to_owned());
        Err(Error::Stopped(lines.join("\n")))
    }

    /// Tells what a load would do, without doing it.
    pub(super) async fn compare_all(
        &mut self,
        load: &Load,
        loaded: &mut Loaded,
        told: &mut (dyn FnMut(&Stage) + Send),
    ) -> Result<()> {
        for (table, legs) in by_table(&load.legs) {
            let compared = self.compare_legs(load, &legs, told).await?;
            let name = &self.tables[table].name;
            let Some(report) = loaded.tables.iter_mut().find(|known| known.table == *name) else { continue };
            report.rows = compared.rows;
            report.undecided = compared.undecided;
            report.nodes = nodes(&self.names, &compared);
        }
        Ok(())
    }

    /// At how many nodes a table has rows.
    async fn holders(&mut self, table: usize, legs: &[Leg]) -> Result<usize> {
        self.look().await?;
        let mut holders = 0;
        for leg in legs {
            holders += usize::from(!self.walk(table, leg.walker, None, 1).await?.is_empty());
        }
        self.close().await;
        Ok(holders)
    }

    async fn walk(
        &mut self,
        table: usize,
        at: NodeId,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<crate::node::Walked>> {
        let member = &mut self.members[at.index()];
        let (Some(node), Some(form)) = (member.node.as_deref_mut(), self.tables[table].form(at)) else {
            return Err(self.not_there(table));
        };
        let doing = || format!("reading rows of {}", form.spec.full_name());
        let rows = read_part(node, &form.spec, after, limit).await.map_err(Error::at(&member.name, doing()))?;
        Ok(rows.into_iter().map(|(key, row)| (key, row.map(|row| form.lens.to_shared(row)))).collect())
    }

    /// The rows of keys at a node, in the shared shape; what cannot be read counts as not there.
    async fn found(&mut self, table: usize, at: NodeId, keys: &[&Key]) -> Result<Vec<Option<Row>>> {
        let member = &mut self.members[at.index()];
        let (Some(node), Some(form)) = (member.node.as_deref_mut(), self.tables[table].form(at)) else {
            return Err(self.not_there(table));
        };
        let doing = || format!("reading rows of {}", form.spec.full_name());
        let rows = node.rows(&form.spec, keys).await.map_err(Error::at(&member.name, doing()))?;
        Ok(rows.into_iter().map(|row| row.and_then(|row| row.ok()).map(|row| form.lens.to_shared(row))).collect())
    }

    /// Goes through a table at every node that has a say, a part in each snapshot.
    async fn compare_legs(
        &mut self,
        load: &Load,
        legs: &[Leg],
        told: &mut (dyn FnMut(&Stage) + Send),
    ) -> Result<Compared> {
        let mut compared = Compared::default();
        for (place, leg) in legs.iter().enumerate() {
            let total = self.count_rows(*leg).await?;
            let mut stage = self.stage(*leg, true, total);
            let (mut after, mut limit) = (None, PROBE);
            loop {
                self.look().await?;
                fault::point("load-compare").await?;
                let walked = self.walk(leg.table, leg.walker, after.as_ref(), limit).await?;
                let Some((last, _)) = walked.last() else { break };
                after = Some(last.clone());
                let weight: usize = walked.iter().flat_map(|(_, row)| row.iter().flatten().map(Value::weight)).sum();
                stage.rows += walked.len() as u64;
                limit = (WEIGHT / (weight / walked.len()).max(1)).clamp(1, ROWS);
                self.compare_part(load, *leg, &legs[..place], walked, &mut compared).await?;
                self.close().await;
                told(&stage);
            }
            self.close().await;
            compared.rows += stage.rows;
        }
        Ok(compared)
    }

    async fn compare_part(
        &mut self,
        load: &Load,
        leg: Leg,
        before: &[Leg],
        walked: Vec<crate::node::Walked>,
        compared: &mut Compared,
    ) -> Result<()> {
        let table = self.tables[leg.table].clone();
        let keys: Vec<&Key> = walked.iter().map(|(key, _)| key).collect();
        let others: Vec<NodeId> = self
            .members
            .iter()
            .map(|member| member.id)
            .filter(|&node| node != leg.walker && table.form(node).is_some())
            .collect();
        let mut rows: Vec<Vec<Option<Row>>> = Vec::new();
        for &other in &others {
            rows.push(self.found(leg.table, other, &keys).await?);
        }
        // Where rows belong is a matter of the walker's, which is as good as any other that is alike.
        let mut places: HashMap<NodeId, Vec<Belongs>> = HashMap::new();
        for &node in others.iter().chain([&leg.walker]).filter(|node| table.subset(**node).is_some()) {
            let read = walked.iter().filter_map(|(_, row)| row.as_ref().ok()).cloned().map(Arc::new).collect();
            let mut belong = table.belong_apart(node, read).await?.into_iter();
            let each = walked.iter().map(|(_, row)| row.as_ref().ok().and_then(|_| belong.next()).unwrap_or_default());
            places.insert(node, each.collect());
        }
        let rule = load.rule(self, leg.table);
        let condition = load.conditions.get(&leg.table);
        for (at, (key, row)) in walked.iter().enumerate() {
            let Ok(row) = row else { continue };
            let mut all: Vec<(NodeId, &Row)> = vec![(leg.walker, row)];
            let found = others.iter().zip(&rows).filter_map(|(&other, rows)| Some((other, rows[at].as_ref()?)));
            all.extend(found);
            let met_before = all[1..].iter().any(|(node, _)| before.iter().any(|leg| leg.walker == *node));
            if met_before || condition.is_some_and(|condition| !all.iter().any(|(_, row)| condition.holds(row))) {
                continue;
            }
            all.sort_by_key(|(node, _)| *node);
            for &other in others.iter().filter(|&&other| table.is_target(other) && table.operations.insert) {
                let outside = places.get(&other).is_some_and(|places| places[at] == Belongs::Outside);
                if !outside && !all.iter().any(|(node, _)| *node == other) {
                    *compared.missing.entry(other).or_default() += 1;
                }
            }
            let is_outside = |node: &NodeId| places.get(node).is_some_and(|places| places[at] == Belongs::Outside);
            for (node, _) in all.iter().filter(|(node, _)| load.refilter && table.is_target(*node)) {
                *compared.removed.entry(*node).or_default() += u64::from(is_outside(node));
            }
            if settle::all_alike(&table, &all) {
                continue;
            }
            compared.differing += 1;
            if compared.examples.len() < EXAMPLES {
                compared.examples.push(key.clone());
            }
            let sources: Vec<(NodeId, &Row)> = all.iter().copied().filter(|(node, _)| table.is_source(*node)).collect();
            match rule.as_ref().and_then(|rule| rule.decide(&table, &sources, &self.names)) {
                None => compared.undecided += 1,
                Some(settlement) => {
                    let Some(winner) = all.iter().find(|(node, _)| *node == settlement.winner).copied() else {
                        continue;
                    };
                    for one in all.iter().filter(|(node, _)| table.is_target(*node) && table.operations.update) {
                        if !settle::differing(&table, winner, *one).is_empty() {
                            *compared.replaced.entry(one.0).or_default() += 1;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Those of some keys whose rows still differ.
    async fn differences(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Difference>> {
        self.look().await?;
        let keys: Vec<&Key> = keys.iter().collect();
        let shape = self.tables[table].clone();
        let nodes: Vec<NodeId> =
            self.members.iter().map(|member| member.id).filter(|&node| shape.form(node).is_some()).collect();
        let mut rows = Vec::new();
        for &node in &nodes {
            rows.push(self.found(table, node, &keys).await?);
        }
        self.close().await;
        let mut left = Vec::new();
        for (at, key) in keys.into_iter().enumerate() {
            let here: Vec<(NodeId, &Row)> =
                nodes.iter().zip(&rows).filter_map(|(&node, rows)| Some((node, rows[at].as_ref()?))).collect();
            let pairs =
                here.iter().enumerate().flat_map(|(at, one)| here[at + 1..].iter().map(move |other| (*one, *other)));
            let mut differing = pairs.map(|(one, other)| (one.0, other.0, settle::differing(&shape, one, other)));
            if let Some((one, other, columns)) = differing.find(|(.., columns)| !columns.is_empty()) {
                left.push(Difference { key: key.clone(), nodes: (one, other), columns });
            }
        }
        Ok(left)
    }

    /// `[1] (a and b: name, price)`.
    fn told(&self, table: usize, difference: &Difference) -> String {
        let mut key = Vec::new();
        write_json(&difference.key, &mut key);
        let name = |node: NodeId| &self.names[node.index()];
        let columns: Vec<&str> =
            difference.columns.iter().map(|&place| self.tables[table].columns[place].name.as_str()).collect();
        let (one, other) = difference.nodes;
        format!("{} ({} and {}: {})", String::from_utf8_lossy(&key), name(one), name(other), columns.join(", "))
    }
}

/// The legs of each table, in the order of the tables.
fn by_table(legs: &[Leg]) -> Vec<(usize, Vec<Leg>)> {
    let mut tables: Vec<(usize, Vec<Leg>)> = Vec::new();
    for leg in legs {
        match tables.last_mut() {
            Some((table, legs)) if *table == leg.table => legs.push(*leg),
            _ => tables.push((leg.table, vec![*leg])),
        }
    }
    tables
}

fn nodes(names: &[String], compared: &Compared) -> Vec<LoadedNode> {
    let of = |counts: &HashMap<NodeId, u64>, at: usize| counts.get(&NodeId(at as u16)).copied().unwrap_or(0);
    let all = names.iter().enumerate().map(|(at, name)| LoadedNode {
        node: name.clone(),
        copied: of(&compared.missing, at),
        replaced: of(&compared.replaced, at),
        removed: of(&compared.removed, at),
    });
    all.filter(|node| node.copied + node.replaced + node.removed > 0).collect()
}
