//! Comparing before anything is written: what would be copied, and what nobody could decide.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::part::read_part;
use super::portion::{self, Standing, Weighed, Weighing, Written};
use super::{Leg, Load, LoadedNode, PROBE, ROWS, Stage, WEIGHT};
use crate::config::section_of;
use crate::error::{Error, Result};
use crate::fault;
use crate::model::{Key, NodeId, Row, Value, write_json};
use crate::node::apply::Effect;
use crate::sync::cycle::Cycle;
use crate::sync::decide::Outcomes;
use crate::sync::load::Loaded;
use crate::sync::session::{Session, add_failure};
use crate::sync::settle;

/// Rows that differ of which so many are looked at twice and named.
const EXAMPLES: usize = 1_000;

/// Of these so many are shown.
const SHOWN: usize = 5;

/// How often the nodes are looked at again while another engine is at work between the looks.
const LOOKS: u32 = 20;

/// What comparing a table came to.
#[derive(Default)]
struct Compared {
    rows: u64,
    differing: u64,
    examples: Vec<Key>,
    /// What the load would make of it.
    weighed: Weighed,
    /// By node: what it would write there.
    written: HashMap<NodeId, Written>,
    /// Rows that would wait.
    waiting: u64,
    /// Rows that would stay as they are since one cannot be read at a node, and the first of them.
    undecidable: u64,
    first_undecidable: Option<(NodeId, Key, String)>,
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
            let mut examples = compared.examples.clone();
            // What was merely on its way has arrived by then. What waits is the sync's.
            let apart = self.apart(load).await?;
            if load.on_their_way.is_empty() {
                self.carry_without(&apart).await?;
            }
            let now = self.on_their_way(&apart).await?;
            examples.retain(|key| !now[table].contains(key));
            let left = self.differences(table, &examples).await?;
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
                 name in {} a column that tells which is later: updated = \"…\"",
                examples.join("; "),
                if count > SHOWN as u64 { "; …" } else { "" },
                section_of(name),
            ));
        }
        lines.push("nothing was written".to_owned());
        Err(Error::Stopped(lines.join("\n")))
    }

    /// The nodes between which and the others nothing is carried: those that an earlier load let in and at which users have changed
    /// anything since. What is on its way to the others of them is no difference.
    pub(super) async fn apart(&mut self, load: &Load) -> Result<Vec<NodeId>> {
        let changed = self.changed_meanwhile(&load.unfinished, &load.left_out).await?;
        Ok(changed.into_iter().map(|(node, _)| node).collect())
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
            report.undecided = compared.weighed.undecided;
            report.outside = compared.weighed.outside;
            report.waiting = compared.waiting;
            report.on_their_way = load.on_their_way[table].len() as u64;
            report.nodes = nodes(&self.names, &compared.written);
            if let Some((at, key, why)) = &compared.first_undecidable {
                let why = self.undecidable(table, compared.undecidable, *at, key, why);
                add_failure(&mut loaded.sync.failed, why);
            }
        }
        Ok(())
    }

    /// The keys, by table, about which something is on its way or waits, so that the next sync decides about them, which these nodes
    /// take no part in.
    pub(super) async fn on_their_way(&mut self, unfinished: &[NodeId]) -> Result<Vec<HashSet<Key>>> {
        self.set_apart(unfinished);
        let page = std::mem::replace(&mut self.page, usize::MAX);
        let mut found = Ok(None);
        for look in 0..LOOKS {
            // Of what another engine does between the looks nothing tells when it is done.
            tokio::time::sleep(Duration::from_millis(10) * look).await;
            found = self.weigh(&mut Cycle::default(), &[]).await;
            self.close().await;
            if !matches!(found, Ok(None)) {
                break;
            }
        }
        self.page = page;
        self.take_back(unfinished).await?;
        let Some((opened, contests)) = found? else {
            return Err(Error::Stopped(
                "another engine is carrying changes all the time, so what is compared is out of date at once; stop it \
                 (`concord watch`) or try again"
                    .to_owned(),
            ));
        };
        let mut keys: Vec<HashSet<Key>> = contests.into_iter().map(|contests| contests.into_keys().collect()).collect();
        for (_, presence) in opened.nodes() {
            // Also what was tried in vain and rests.
            keys.iter_mut().zip(&presence.parked).for_each(|(keys, parked)| keys.extend(parked.keys().cloned()));
        }
        Ok(keys)
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
    ) -> Result<Vec<(Key, Standing)>> {
        let member = &mut self.members[at.index()];
        let (Some(node), Some(form)) = (member.node.as_deref_mut(), self.tables[table].form(at)) else {
            return Err(self.not_there(table));
        };
        let doing = || format!("reading rows of {}", form.spec.full_name());
        let rows = read_part(node, &form.spec, after, limit).await.map_err(Error::at(&member.name, doing()))?;
        let (keys, rows): (Vec<Key>, Vec<_>) = rows.into_iter().map(|(key, row)| (key, Some(row))).unzip();
        Ok(keys.into_iter().zip(portion::standing(form, rows).await.into_iter().flatten()).collect())
    }

    /// The rows of keys at a node, in the shared shape.
    pub(super) async fn found(&mut self, table: usize, at: NodeId, keys: &[&Key]) -> Result<Vec<Option<Standing>>> {
        let member = &mut self.members[at.index()];
        let (Some(node), Some(form)) = (member.node.as_deref_mut(), self.tables[table].form(at)) else {
            return Err(self.not_there(table));
        };
        let doing = || format!("reading rows of {}", form.spec.full_name());
        let rows = node.rows(&form.spec, keys).await.map_err(Error::at(&member.name, doing()))?;
        Ok(portion::standing(form, rows).await)
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
                let weight: usize =
                    walked.iter().flat_map(|(_, row)| row.row().into_iter().flatten().map(Value::weight)).sum();
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
        walked: Vec<(Key, Standing)>,
        compared: &mut Compared,
    ) -> Result<()> {
        let table = self.tables[leg.table].clone();
        let keys: Vec<&Key> = walked.iter().map(|(key, _)| key).collect();
        let everybody: Vec<NodeId> = self.members.iter().map(|member| member.id).collect();
        let everybody: Vec<NodeId> = everybody.into_iter().filter(|&node| table.form(node).is_some()).collect();
        let mut rows = Vec::new();
        for &other in everybody.iter().filter(|&&node| node != leg.walker) {
            rows.push((other, self.found(leg.table, other, &keys).await?.into_iter()));
        }
        let (rule, condition) = (load.rule(self, leg.table), load.conditions.get(&leg.table));
        let weighing = Weighing {
            table: &table,
            rule: rule.as_ref(),
            condition: condition.map(|condition| &**condition),
            walker: leg.walker,
            last: false,
            refilter: load.refilter,
            in_step: true,
            dry: true,
            everybody: &everybody,
            names: &self.names,
        };
        let mut settled = Vec::new();
        for (key, row) in walked {
            let mut here = vec![(leg.walker, row)];
            here.extend(rows.iter_mut().filter_map(|(other, rows)| Some((*other, rows.next()??))));
            let met_before = here[1..].iter().any(|(node, _)| before.iter().any(|leg| leg.walker == *node));
            let is_on_its_way = load.on_their_way.get(leg.table).is_some_and(|keys| keys.contains(&key));
            if met_before || is_on_its_way {
                continue;
            }
            here.sort_by_key(|(node, _)| *node);
            let all: Vec<(NodeId, &Row)> = here.iter().filter_map(|(node, row)| Some((*node, row.row()?))).collect();
            if condition.is_some_and(|condition| !all.iter().any(|(_, row)| condition.holds(row))) {
                continue;
            }
            if !settle::all_alike(&table, &all) {
                compared.differing += 1;
                if compared.examples.len() < EXAMPLES {
                    compared.examples.push(key.clone());
                }
            }
            let unreadable = compared.weighed.unreadable.len();
            settled.extend(weighing.settled(key, here, &mut compared.weighed));
            compared.waiting += (compared.weighed.unreadable.len() - unreadable) as u64;
        }
        let mut outcomes = Outcomes::new(self.members.len(), self.tables.len());
        weighing.weigh_all(settled, &mut compared.weighed, &mut outcomes).await?;
        let decisions = outcomes.decisions.iter().enumerate().flat_map(|(at, tables)| {
            let node = NodeId(at as u16);
            tables.iter().flatten().map(move |decision| (node, decision))
        });
        let waits = decisions.filter(|(_, decision)| matches!(decision.effect, Effect::Park(..)));
        let waits: Vec<(NodeId, &Key)> = waits.map(|(node, decision)| (node, &decision.key)).collect();
        compared.waiting += waits.iter().map(|(_, key)| *key).collect::<HashSet<_>>().len() as u64;
        for (node, written) in compared.weighed.done(waits.into_iter()) {
            let all = compared.written.entry(node).or_default();
            all.created += written.created;
            all.replaced += written.replaced;
            all.removed += written.removed;
        }
        // Of these only the sums are of use; others are for whoever writes.
        let Weighed { undecided, outside, undecidable, .. } = std::mem::take(&mut compared.weighed);
        compared.undecidable += undecidable.len() as u64;
        compared.first_undecidable = compared.first_undecidable.take().or_else(|| undecidable.into_iter().next());
        compared.weighed = Weighed { undecided, outside, ..Weighed::default() };
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
                nodes.iter().zip(&rows).filter_map(|(&node, rows)| Some((node, rows[at].as_ref()?.row()?))).collect();
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

fn nodes(names: &[String], written: &HashMap<NodeId, Written>) -> Vec<LoadedNode> {
    let all = names.iter().enumerate().map(|(at, name)| {
        let written = written.get(&NodeId(at as u16)).copied().unwrap_or_default();
        let (copied, replaced, removed) = (written.created, written.replaced, written.removed);
        LoadedNode { node: name.clone(), copied, replaced, removed }
    });
    all.filter(|node| node.copied + node.replaced + node.removed > 0).collect()
}
