//! Carrying a plan out: precisely what it says, for the rows that are still as it saw them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value as Document;

use super::file::{PlanFile, WrittenNode, shape, waiting_text};
use super::row::{Scribe, WrittenRow};
use super::{LOOK, LOOKS};
use crate::error::{Error, Result};
use crate::fault;
use crate::model::{Cut, Key, NodeId, Parked, ParkedCode, Row, TableSpec};
use crate::node::Move;
use crate::node::apply::{Batch, Effect, TableBatch};
use crate::sync::attendance::Away;
use crate::sync::cycle::{Batches, Cycle};
use crate::sync::early::Writing;
use crate::sync::opened::Opened;
use crate::sync::session::{Carried, Session, Stopped};
use crate::sync::{order, read};

/// What carrying out a plan did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Carriage {
    pub nodes: Vec<Carried>,
    /// Rows that were changed since the plan was made. They were left to the next sync.
    pub moved_on: Vec<MovedOn>,
    /// Rows that were left to the next sync, counted once for each node that would have taken them.
    pub left: u64,
    /// How many of them a user holds locked.
    pub held: u64,
    /// Rows that wait at its end, other than for the next sync.
    pub waiting: u64,
    /// Whether another engine was faster at some node, so that nothing was written there.
    pub overtaken: bool,
    pub away: Vec<Away>,
    pub stopped: Vec<Stopped>,
    /// Nodes that did not take their part, and why.
    pub failed: Option<String>,
    /// Whether trying again may help with that, because it is a matter of locks, or of room on a disk or in memory.
    #[serde(skip)]
    may_pass: bool,
}

/// A row that is no longer what a plan saw.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct MovedOn {
    pub table: String,
    pub key: Document,
    /// Where it was changed since.
    pub changed_at: Vec<String>,
}

/// Keys of the plan that were changed since, with the nodes where.
type Moved = HashMap<(usize, Key), Vec<NodeId>>;

/// A decision of a plan beside which something else waits than the plan saw, as far as that is known unread: its places.
struct Unlike<'a> {
    batch: usize,
    part: usize,
    decision: usize,
    row: &'a WrittenRow,
}

/// Whether what waits for a key is what the plan saw.
fn waits_as_told(waits: Option<&Parked>, row: &WrittenRow, names: &[String]) -> bool {
    waits.map(|waits| waiting_text(waits, names)) == row.waits
}

impl Session {
    /// Does what a plan says. Refuses it before anything is touched if the sync, its nodes or its tables are others, or if
    /// another engine has carried changes of these tables since. What users have changed since, anywhere, is not
    /// overwritten: it waits for the next sync, which decides anew.
    pub async fn carry_out(&mut self, file: &PlanFile) -> Result<Carriage> {
        let header = &file.whole.plan;
        if header.sync != self.config.name {
            return Err(
                file.refuse(format!("it is a plan of the sync `{}`, not of `{}`", header.sync, self.config.name))
            );
        }
        let listed: Vec<&str> = header.nodes.iter().map(|node| node.name.as_str()).collect();
        if listed != self.names {
            let (listed, names) = (listed.join(", "), self.names.join(", "));
            return Err(file.refuse(format!("it was made for the nodes {listed}, and the file lists {names}")));
        }
        self.prepare().await?;
        let mut opened = self.open_calmly().await?;
        let prepared = self.prepare_batches(&opened, file).await;
        self.close().await;
        let (batches, moved) = prepared?;
        let mut cycle = Cycle::default();
        fault::point("plan-checked").await.map_err(|fault| Error::Stopped(fault.to_string()))?;
        for (node, error) in self.apply(&mut opened, batches, Writing::default(), true, &mut cycle).await? {
            cycle.fail(&self.names[node.index()], &error);
        }
        let mut moved_on: Vec<(usize, Key, Vec<NodeId>)> =
            moved.into_iter().map(|((table, key), nodes)| (table, key, nodes)).collect();
        moved_on.sort_by_cached_key(|(table, key, _)| (*table, self.tables[*table].key_document(key).to_string()));
        let moved_on = moved_on.into_iter().map(|(table, key, nodes)| MovedOn {
            table: self.tables[table].name.clone(),
            key: self.tables[table].key_document(&key),
            changed_at: nodes.iter().map(|node| self.names[node.index()].clone()).collect(),
        });
        Ok(Carriage {
            moved_on: moved_on.collect(),
            nodes: cycle.carried,
            left: cycle.busy,
            held: cycle.held_now,
            waiting: cycle.waiting,
            overtaken: cycle.overtaken,
            away: self.away(),
            stopped: self.stopped(),
            failed: cycle.failed,
            may_pass: cycle.may_pass,
        })
    }

    /// Snapshots between which no other engine was at work.
    async fn open_calmly(&mut self) -> Result<Opened> {
        for look in 1..=LOOKS {
            let opened = self.open().await?;
            if !opened.doubtful {
                return Ok(opened);
            }
            self.close().await;
            tokio::time::sleep(Duration::from_millis(10) * look).await;
        }
        Err(Error::Stopped("another engine is carrying changes all the time; stop it, and make a new plan".to_owned()))
    }

    /// Compares the plan with what is there, and makes batches of it.
    async fn prepare_batches(&mut self, opened: &Opened, file: &PlanFile) -> Result<(Batches, Moved)> {
        let mut moves = Vec::new();
        for (at, written) in file.whole.plan.nodes.iter().enumerate() {
            let node = NodeId(at as u16);
            moves.push(match opened.present[at].as_ref().zip(written.installation.as_ref()) {
                Some((presence, installation)) => {
                    if presence.installation != *installation {
                        let name = &written.name;
                        return Err(file.refuse(format!("node `{name}` is another database, or was installed anew")));
                    }
                    Some(self.compare(opened, file, node, written)?)
                }
                // It took no part, or takes none now; what concerns it is the next sync's.
                None => None,
            });
        }
        let mut batches: Vec<Option<Batch>> = moves
            .into_iter()
            .zip(&self.names)
            .map(|(moves, node)| {
                moves.map(|(moves, stays)| Batch { node: node.clone(), moves, stays, ..Batch::default() })
            })
            .collect();
        let mut planned: Vec<HashSet<Key>> = vec![HashSet::new(); self.tables.len()];
        let mut unlike: Vec<Unlike<'_>> = Vec::new();
        for (number, row) in file.whole.rows.iter().enumerate() {
            let broken = || file.refuse(format!("row {} is none of this sync's tables and nodes", number + 1));
            let at = self.names.iter().position(|name| *name == row.node).ok_or_else(broken)?;
            let table = self.tables.iter().find(|table| table.name == row.table).ok_or_else(broken)?;
            let Some(batch) = &mut batches[at] else { continue };
            let spec = table.spec(NodeId(at as u16)).ok_or_else(broken)?;
            if row.lacks_what_stood(spec) {
                return Err(file.refuse(format!(
                    "an older Concord made it, and it does not tell what stood in `{}` at node `{}`, where nothing records what users \
                     change",
                    row.table, row.node
                )));
            }
            let mut decision = Scribe { names: &self.names, table, spec }.read(row).ok_or_else(broken)?;
            planned[table.index].insert(decision.key.clone());
            let waits = opened.parked(NodeId(at as u16), table.index, &decision.key);
            let is_unlike = !waits_as_told(waits, row, &self.names);
            decision.waiting = waits.cloned().map(Box::new);
            let part = match batch.tables.iter().position(|part| part.spec.index == table.index) {
                Some(part) => part,
                None => {
                    let read = match spec.captured {
                        true => self.read_then(file, at, &row.table)?,
                        false => None,
                    };
                    batch.tables.push(TableBatch {
                        spec: spec.clone(),
                        weighed: read.clone(),
                        read,
                        decisions: Vec::new(),
                    });
                    batch.tables.len() - 1
                }
            };
            let decisions = &mut batch.tables[part].decisions;
            if is_unlike {
                unlike.push(Unlike { batch: at, part, decision: decisions.len(), row });
            }
            decisions.push(decision);
        }
        self.compare_as_read(opened, file, &mut batches, &unlike).await?;
        let mut moved = self.moved_on(opened, file, &planned).await?;
        self.look_at_what_stood(&batches, &mut moved).await?;
        for (at, batch) in batches.iter_mut().enumerate() {
            let Some(batch) = batch else { continue };
            let specs: Vec<&TableSpec> = batch.tables.iter().map(|table| &*table.spec).collect();
            batch.order = order::parents_first(&specs);
            self.hold_back(NodeId(at as u16), batch, &moved);
        }
        let some = |batch: Option<Batch>| batch.filter(|batch| !batch.moves.is_empty() || !batch.tables.is_empty());
        Ok((batches.into_iter().map(some).collect(), moved))
    }

    /// Compares rows once more, read, that seem to wait otherwise than the plan saw: for what they wait may show only then, as their table
    /// has other columns by now. Refuses those that do.
    async fn compare_as_read(
        &mut self,
        opened: &Opened,
        file: &PlanFile,
        batches: &mut [Option<Batch>],
        unlike: &[Unlike<'_>],
    ) -> Result<()> {
        let lots = unlike.chunk_by(|one, other| (one.batch, one.part) == (other.batch, other.part));
        let lots: Vec<&[Unlike<'_>]> = lots.flat_map(|lot| lot.chunks(LOOK)).collect();
        for lot in lots {
            let Some(&Unlike { batch, part, .. }) = lot.first() else { continue };
            let Some(part) = batches[batch].as_mut().and_then(|batch| batch.tables.get_mut(part)) else { continue };
            let keys: Vec<Key> = lot.iter().map(|unlike| part.decisions[unlike.decision].key.clone()).collect();
            let read = self.with_rows(opened, part.spec.index, NodeId(batch as u16), &keys, true).await?;
            let mut read: HashMap<Key, Parked> = read.into_iter().map(|parked| (parked.key.clone(), parked)).collect();
            for &Unlike { decision, row, .. } in lot {
                let decision = &mut part.decisions[decision];
                let read = read.remove(&decision.key);
                if !waits_as_told(read.as_ref(), row, &self.names) {
                    return Err(file.refuse(format!(
                        "the row {} of `{}` waits at node `{}` otherwise than when the plan was made",
                        self.tables[part.spec.index].key_document(&decision.key),
                        row.table,
                        row.node
                    )));
                }
                if let (Some(waits), Some(read)) = (&mut decision.waiting, read) {
                    (waits.code, waits.message) = (read.code, read.message);
                }
            }
        }
        Ok(())
    }

    /// The positions that the plan moves and those that it counts on at one node; refuses if any has moved since, or a table
    /// is not what it was.
    fn compare(
        &self,
        opened: &Opened,
        file: &PlanFile,
        node: NodeId,
        written: &WrittenNode,
    ) -> Result<(Vec<Move>, Vec<Move>)> {
        let name = &written.name;
        let find = |name: &str| self.tables.iter().find(|table| table.name == name);
        for part in &written.tables {
            let Some(table) = find(&part.table) else {
                return Err(file.refuse(format!("table `{}` is no longer in the file", part.table)));
            };
            if let Some(why) = &table.stopped {
                return Err(file.refuse(format!("table `{}` stands still: {why}", part.table)));
            }
            if table.spec(node).is_none_or(|spec| shape(table, spec) != part.shape) {
                let table = &part.table;
                return Err(file.refuse(format!("table `{table}` or its rule at node `{name}` is not what it was")));
            }
        }
        let read = |steps: &[super::file::WrittenMove]| -> Result<Vec<Move>> {
            let mut moves = Vec::new();
            for step in steps {
                let step = step.read().ok_or_else(|| file.refuse(format!("a position of node `{name}` is none")))?;
                let source = self.names.iter().position(|known| *known == step.source);
                let places = find(&step.table).map(|table| table.index).zip(source);
                let Some((table, source)) = places else {
                    return Err(file.refuse(format!("a position of node `{name}` is of no node or table of this sync")));
                };
                if *opened.position(table, node, NodeId(source as u16)) != step.from {
                    return Err(file.refuse(format!(
                        "changes of `{}` were carried from `{}` to `{name}` since it was made",
                        step.table, step.source
                    )));
                }
                moves.push(step);
            }
            Ok(moves)
        };
        Ok((read(&written.moves)?, read(&written.stays)?))
    }

    /// Up to where the plan had read a table's history at a node.
    fn read_then(&self, file: &PlanFile, node: usize, table: &str) -> Result<Option<Cut>> {
        let part = file.whole.plan.nodes[node].tables.iter().find(|part| part.table == table);
        let cut = part.map_or(Some(None), |part| part.cut());
        cut.ok_or_else(|| file.refuse(format!("the cut of `{table}` at node `{}` is none", self.names[node])))
    }

    /// Which keys of the plan were changed since at any node that is there. A node that the plan had not seen counts with
    /// all that the others have not taken yet.
    async fn moved_on(&mut self, opened: &Opened, file: &PlanFile, planned: &[HashSet<Key>]) -> Result<Moved> {
        let mut wanted: Vec<Vec<(usize, Cut)>> = vec![Vec::new(); self.members.len()];
        for table in self.tables.iter().filter(|table| !planned[table.index].is_empty()) {
            for (node, _) in opened.nodes() {
                let Some(now) = read::start(table, node, opened) else { continue };
                let then = self.read_then(file, node.index(), &table.name)?;
                wanted[node.index()].push((table.index, then.unwrap_or(now)));
            }
        }
        let mut moved = Moved::new();
        for (member, wanted) in self.members.iter_mut().zip(wanted) {
            let Some(node) = member.node.as_deref_mut() else { continue };
            for (table, after) in wanted {
                let Some(spec) = self.tables[table].spec(member.id) else { continue };
                let read = node.entries(spec, &after, None, usize::MAX).await;
                let read = read.map_err(Error::at(&member.name, "reading the history"))?;
                for entry in read.entries.into_iter().filter(|entry| planned[table].contains(&entry.key)) {
                    let nodes = moved.entry((table, entry.key)).or_default();
                    if !nodes.contains(&member.id) {
                        nodes.push(member.id);
                    }
                }
            }
        }
        Ok(moved)
    }

    /// Adds the keys whose rows are others than the plan saw at nodes where nothing records what users change.
    async fn look_at_what_stood(&mut self, batches: &[Option<Batch>], moved: &mut Moved) -> Result<()> {
        for (member, batch) in self.members.iter_mut().zip(batches) {
            let (Some(node), Some(batch)) = (member.node.as_deref_mut(), batch) else { continue };
            for part in &batch.tables {
                let noted = part.decisions.iter().filter_map(|decision| Some((&decision.key, decision.upon.as_ref()?)));
                let noted: Vec<(&Key, &Option<Arc<Row>>)> = noted.collect();
                for lot in noted.chunks(LOOK) {
                    let keys: Vec<&Key> = lot.iter().map(|(key, _)| *key).collect();
                    let standing = node.rows(&part.spec, &keys).await;
                    let standing = standing.map_err(Error::at(&member.name, "reading rows"))?;
                    for (&(key, stood), stands) in lot.iter().zip(&standing) {
                        let same = match (stood, stands) {
                            (None, None) => true,
                            (Some(stood), Some(Ok(row))) => **stood == *row,
                            _ => false,
                        };
                        if !same {
                            moved.entry((part.spec.index, key.clone())).or_default().push(member.id);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes the next sync decide about rows that have moved on: what would have been written waits for it.
    fn hold_back(&self, node: NodeId, batch: &mut Batch, moved: &Moved) {
        for part in &mut batch.tables {
            for decision in &mut part.decisions {
                let Some(nodes) = moved.get(&(part.spec.index, decision.key.clone())) else { continue };
                // What waits for an outcome is no version, and what waits for another row to be weighed first is decided later anyway.
                match decision.effect {
                    Effect::Keep | Effect::Park(ParkedCode::Unweighed, _) => continue,
                    Effect::Park(code, _) if code.is_owed() => continue,
                    _ => {}
                }
                if nodes.contains(&node) {
                    // What a user has replaced here meanwhile lost to nobody.
                    decision.lost_here = None;
                }
                let names: Vec<&str> = nodes.iter().map(|node| self.names[node.index()].as_str()).collect();
                let message =
                    format!("changed at {} since the plan was made; decided in the next sync", names.join(", "));
                decision.effect = Effect::Park(ParkedCode::Busy, message);
            }
        }
    }
}

impl Carriage {
    /// The code with which the command ends: a node was away or held up, not all was done, or all is done.
    pub fn exit_code(&self) -> u8 {
        if self.away.iter().any(|away| away.unreachable) || self.held > 0 || self.may_pass {
            crate::error::UNREACHABLE
        } else if self.left + self.waiting > 0
            || !self.moved_on.is_empty()
            || self.overtaken
            || !self.away.is_empty()
            || !self.stopped.is_empty()
            || self.failed.is_some()
        {
            crate::error::ATTENTION
        } else {
            crate::error::DONE
        }
    }
}
