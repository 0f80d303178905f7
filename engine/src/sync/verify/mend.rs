//! Mending what differs: whose row is right, and writing it where another stands, unless somebody has been there since.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::future::join_all;

use super::super::examine;
use super::super::latest::{Latest, latest};
use super::super::mapped::localized_apart;
use super::super::opened::Opened;
use super::super::session::{Carried, Session};
use super::super::settle::{self, Rule, Settlement};
use super::super::subset::Belongs;
use super::super::table::{Form, Table};
use super::super::turns::Settles;
use super::compare::{Difference, Standing};
use super::report::{Counted, Left};
use crate::config::section_of;
use crate::error::{Error, Result};
use crate::fault;
use crate::model::{Key, NodeId, ParkedCode, Row, Value};
use crate::node::WriteMode;
use crate::node::apply::early::Early;
use crate::node::apply::{self, Decision, Effect, Place};

/// What is to be written about one key, and what it was decided upon.
#[derive(Clone, Debug, PartialEq)]
pub struct Mend {
    pub key: Key,
    /// What stands at the nodes, in the shared shape; `None` where there is no row.
    pub read: Vec<(NodeId, Option<Arc<Row>>)>,
    /// What stands at nodes in their own shape, where a plugin maps or the shared one does not tell it.
    pub locals: Vec<(NodeId, Arc<Row>)>,
    /// What is to stand there; nodes at which nothing is to change are left out.
    pub write: Vec<(NodeId, Option<Arc<Row>>)>,
    /// Whose row is taken, and why.
    pub settlement: Settlement,
    /// Whether another row was as good and lost by the table's policy alone, without a journal that would tell.
    pub disputed: bool,
    /// Whether a row that does not belong where it stands is to go once this is written, so that another node has it.
    pub stays: bool,
    /// Whether a person changed what was decided, so that each node has what is written there and nothing else.
    pub by_hand: bool,
    /// As what the key was counted, if it was compared just now.
    pub counted: Counted,
}

impl Mend {
    /// The memory that the rows to be written take, in bytes.
    pub fn weight(&self) -> usize {
        weight(&self.write)
    }

    /// The same with the rows that stand there.
    pub fn whole_weight(&self) -> usize {
        weight(&self.read) + weight(&self.write)
    }

    /// What stood at a node in its own shape, as it was read.
    fn stood(&self, node: NodeId, form: &Form) -> Option<Arc<Row>> {
        let local = self.locals.iter().find(|(at, _)| *at == node).map(|(_, row)| row.clone());
        let read = || self.read.iter().find(|(at, _)| *at == node).and_then(|(_, row)| row.as_deref());
        local.or_else(|| read().map(|row| Arc::new(form.lens.put(row))))
    }
}

fn weight(rows: &[(NodeId, Option<Arc<Row>>)]) -> usize {
    let rows = rows.iter().filter_map(|(_, row)| row.as_ref());
    rows.flat_map(|row| row.iter()).map(Value::weight).sum::<usize>() + 256
}

/// Nodes that did not take a row, each with why.
pub type Told = Vec<(NodeId, String)>;

/// What became of rows that were to be written.
#[derive(Debug, Default)]
pub struct Done {
    /// Keys that stand as they were meant to.
    pub mended: u64,
    /// Of these, keys that the table's policy alone decided.
    pub disputed: u64,
    pub carried: Vec<Carried>,
    /// With each node that did not take the row, and why.
    pub left: Vec<(Mend, Left, Told)>,
    /// Whether another engine was at work on the table, so that all of them are left and to be looked at anew.
    pub overtaken: bool,
    /// Why a node did not take its part, once everything above is noted of the others.
    pub failed: Option<Error>,
}

/// How a difference is mended; otherwise why nobody can tell.
pub fn mend(
    table: &Table,
    difference: &Difference,
    prefer: Option<NodeId>,
    names: &[String],
) -> std::result::Result<Mend, String> {
    for (node, stands) in &difference.standing {
        if let Standing::Odd(why) = stands {
            return Err(format!("the row at {} cannot be read: {why}", names[node.index()]));
        }
    }
    let rows: Vec<(NodeId, Arc<Row>)> =
        difference.standing.iter().filter_map(|(node, stands)| Some((*node, stands.row()?.clone()))).collect();
    // What is not to stand anywhere is nobody's to copy.
    let rows: Vec<_> = rows.into_iter().filter(|(node, _)| !difference.extra.contains(node)).collect();
    let (settlement, whole, disputed) = settlement(table, difference, &rows, prefer, names)?;
    let winner = settlement.winner;
    let mut write = Vec::new();
    let mut stays = false;
    for (node, stands) in &difference.standing {
        if difference.extra.contains(node) {
            write.push((*node, None));
            continue;
        }
        match difference.place(winner, *node) {
            Belongs::Inside => {}
            Belongs::Unknown(_) if difference.at(winner) == Some(stands) => continue,
            Belongs::Unknown(why) => return Err(not_judged(&names[node.index()], why)),
            Belongs::Outside => {
                let goes = difference.may_go(winner, *node);
                stays |= !goes && stands.row().is_some();
                write.extend(goes.then_some((*node, None)));
                continue;
            }
        }
        // Which nodes lack a row of which others have another version is known now.
        let wanted = table.has_subsets() || difference.missing.contains(node) || difference.differing.contains(node);
        if !wanted || *node == winner && whole.is_none() {
            continue;
        }
        let row = match &whole {
            Some(row) => Some(row.clone()),
            None => settle::completed(table, winner, &rows, *node),
        };
        let Some(row) = row else { continue };
        let changes = stands.row().is_none_or(|own| !settle::differing(table, (*node, own), (*node, &row)).is_empty());
        if changes {
            write.push((*node, Some(row)));
        }
    }
    let read = difference.standing.iter().map(|(node, stands)| (*node, stands.row().cloned())).collect();
    let stays = stays && write.iter().any(|(_, row)| row.is_some());
    let (key, counted) = (difference.key.clone(), Counted::default());
    let by_hand = false;
    Ok(Mend { key, read, locals: Vec::new(), write, settlement, disputed, stays, by_hand, counted })
}

/// In words, that a filter failed.
pub fn not_judged(node: &str, why: &str) -> String {
    format!("nothing tells whether the row belongs at {node}: {why}")
}

/// Whose row is taken; the row, where it is made of those of several nodes; and whether it was disputed.
fn settlement(
    table: &Table,
    difference: &Difference,
    rows: &[(NodeId, Arc<Row>)],
    prefer: Option<NodeId>,
    names: &[String],
) -> std::result::Result<(Settlement, Option<Arc<Row>>, bool), String> {
    if table.compared && table.from.is_none() && !prefer.is_some_and(|node| rows.iter().any(|(at, _)| *at == node)) {
        match latest(table, rows, names) {
            Ok(Latest { row, settlement, disputed }) => return Ok((settlement, Some(row), disputed)),
            Err(why) if !difference.differing.is_empty() => return Err(why),
            // Rows that differ are left alone; wherever one is missing, any will do.
            Err(_) => {}
        }
    }
    let (settlement, whole) = known_rule(table, difference, rows, prefer, names)?;
    Ok((settlement, whole, false))
}

fn known_rule(
    table: &Table,
    difference: &Difference,
    rows: &[(NodeId, Arc<Row>)],
    prefer: Option<NodeId>,
    names: &[String],
) -> std::result::Result<(Settlement, Option<Arc<Row>>), String> {
    if let Some(from) = table.from {
        let reason = format!("the table comes from {} alone", names[from.index()]);
        return Ok((Settlement { winner: from, reason }, None));
    }
    if difference.differing.is_empty() {
        let Some((winner, _)) = rows.first() else { return Err("no node has the row any more".to_owned()) };
        return Ok((Settlement { winner: *winner, reason: "the row was missing elsewhere".to_owned() }, None));
    }
    // Whoever differs from nobody lacks the columns that it is about.
    let differing: Vec<(NodeId, &Row)> = rows
        .iter()
        .filter(|(node, _)| difference.differing.contains(node))
        .map(|(node, row)| (*node, &**row))
        .collect();
    let settled = Rule::of(table, prefer).and_then(|rule| {
        let mut settlement = rule.decide(table, &differing, names)?;
        let whole = settle::whole(&rule, table, &mut settlement, rows, names);
        Some((settlement, whole))
    });
    settled.ok_or_else(|| {
        format!(
            "nothing tells whose row is right: pass --prefer NODE, or name a column in the file that tells when a row was \
             changed: {} updated = \"…\"",
            section_of(&table.name)
        )
    })
}

impl Session {
    /// Writes rows of a table where those stand that were read in the snapshots that `opened` tells of. A row that somebody has
    /// changed since stays as it is, and so does everything at all nodes if another engine has brought something to one of them since.
    pub(super) async fn mend(&mut self, table: usize, opened: &Opened, mends: Vec<Mend>) -> Result<Done> {
        fault::point("verify-mend").await?;
        let compared = self.tables[table].compared;
        let mut left: HashMap<usize, Vec<(Left, NodeId, String)>> = HashMap::new();
        let mut carried = Vec::new();
        let nodes = self.members.len();
        let mut decisions: Vec<Vec<Decision>> = (0..nodes).map(|_| Vec::new()).collect();
        // Which of `mends` each decision is about.
        let mut places: Vec<Vec<usize>> = vec![Vec::new(); nodes];
        for (at, mend) in mends.iter().enumerate() {
            for (node, row) in &mend.write {
                let stood = mend.read.iter().find(|(at, _)| at == node).and_then(|(_, row)| row.as_deref());
                match self.effect(table, *node, row.as_deref(), stood) {
                    Ok(effect) => {
                        decisions[node.index()].push(self.decision(table, mend, *node, effect));
                        places[node.index()].push(at);
                    }
                    Err(why) => {
                        left.entry(at).or_default().push((Left::Refused, *node, why));
                    }
                }
            }
        }
        let mut batches = Vec::with_capacity(nodes);
        for (node, decisions) in decisions.into_iter().enumerate() {
            let mut tables: Vec<Vec<Decision>> = (0..self.tables.len()).map(|_| Vec::new()).collect();
            let any = !decisions.is_empty();
            let id = NodeId(node as u16);
            tables[table] = match self.tables[table].form(id).filter(|form| form.lens.is_mapped()) {
                Some(form) => {
                    let current = |at: &usize| mends[*at].locals.iter().find(|(at, _)| *at == id);
                    let current = places[node].iter().map(|at| current(at).map(|(_, row)| Ok(row.clone())));
                    localized_apart(form, decisions.into_iter().zip(current).collect()).await
                }
                None => decisions,
            };
            let mut batch = any.then(|| self.batch(id, tables, opened)).flatten();
            // Where no entry tells what a user did since, the row itself does.
            let form = self.tables[table].form(id).filter(|form| !form.spec.captured);
            if let (Some(batch), Some(form)) = (&mut batch, form) {
                batch.bare = compared;
                batch.sync.clone_from(&self.config.name);
                for (decision, at) in batch.tables.iter_mut().flat_map(|part| &mut part.decisions).zip(&places[node]) {
                    decision.upon = Some(mends[*at].stood(id, form));
                }
            }
            batches.push(batch);
        }
        if !compared {
            let replaces = |mend: &Mend| {
                let stood = |node: &NodeId| mend.read.iter().any(|(at, row)| at == node && row.is_some());
                mend.write.iter().any(|(node, _)| stood(node))
            };
            let settles = if mends.iter().any(replaces) { Settles::Differing } else { Settles::Missing };
            let nodes = examine::participants(&self.tables[table], opened);
            self.take_turn(table, &nodes, settles, opened, &mut batches);
        }
        let mut overtaken = None;
        let applying = join_all(self.members.iter_mut().zip(&batches).map(async |(member, batch)| {
            let (batch, node) = (batch.as_ref()?, member.node.as_deref_mut()?);
            Some((member.id, apply::apply(node, batch, Place::default(), Early::Nothing).await))
        }))
        .await;
        let (mut failed, mut unwritten): (Option<Error>, HashSet<usize>) = Default::default();
        for (node, result) in applying.into_iter().flatten() {
            let member = &mut self.members[node.index()];
            match result {
                Ok(applied) if applied.overtaken => overtaken = Some(node),
                Ok(applied) => {
                    let (written, deleted) = (applied.written, applied.deleted);
                    if written + deleted > 0 {
                        self.schedule.touch(&self.tables, node, &self.tables[table]);
                        carried.push(Carried { node: member.name.clone(), written, deleted });
                    }
                    let refused: HashMap<&Key, _> = applied.left.iter().map(|(_, key, reason)| (key, reason)).collect();
                    for &at in &places[node.index()] {
                        let Some(reason) = refused.get(&mends[at].key) else { continue };
                        let (because, why) = match reason.code {
                            ParkedCode::Busy if compared => (Left::MovedOn, reason.message.clone()),
                            ParkedCode::Busy => (Left::MovedOn, "a user changed the row in the meantime".to_owned()),
                            _ => (Left::Refused, reason.message.clone()),
                        };
                        left.entry(at).or_default().push((because, node, why));
                    }
                }
                Err(error) => {
                    member.prepared &= error.kind != crate::node::ErrorKind::Drift;
                    let doing = format!("mending rows of `{}`", self.tables[table].name);
                    failed = failed.or_else(|| Some(Error::at(&member.name, doing)(error)));
                    unwritten.extend(&places[node.index()]);
                }
            }
        }
        if let Some(node) = overtaken {
            // Also what was written elsewhere may be out of date already.
            for at in 0..mends.len() {
                let why = "another engine was at work there in the meantime; run it again".to_owned();
                left.insert(at, vec![(Left::MovedOn, node, why)]);
            }
        }
        // Nobody will remove what stayed, if a node failed.
        let is_done = |(at, mend): &(usize, &Mend)| {
            !(left.contains_key(at) || unwritten.contains(at) || mend.stays && failed.is_some())
        };
        let done = || mends.iter().enumerate().filter(is_done);
        let (mended, disputed) = (done().count() as u64, done().filter(|(_, mend)| mend.disputed).count() as u64);
        let told = |(at, mend): (usize, Mend)| {
            let mut told = left.remove(&at)?;
            told.sort_by_key(|(_, node, _)| *node);
            // What has moved on anywhere may be looked at again, and whoever refuses it will do so again.
            let moved_on = told.iter().any(|(because, ..)| *because == Left::MovedOn);
            let because = if moved_on { Left::MovedOn } else { Left::Refused };
            Some((mend, because, told.into_iter().map(|(_, node, why)| (node, why)).collect()))
        };
        let left = mends.into_iter().enumerate().filter_map(told).collect();
        Ok(Done { mended, disputed, carried, left, overtaken: overtaken.is_some(), failed })
    }

    /// What a node at which a row stood, or none, has to do to have this row, or none; otherwise why it cannot have it.
    pub(super) fn effect(
        &self,
        table: usize,
        node: NodeId,
        row: Option<&Row>,
        stood: Option<&Row>,
    ) -> std::result::Result<Effect, String> {
        let table = &self.tables[table];
        let Some(form) = table.form(node) else {
            return Err(format!("the table is not there at {}", self.names[node.index()]));
        };
        let Some(row) = row else { return Ok(Effect::Delete) };
        let mode = match (form.spec.captured, stood) {
            (true, _) => WriteMode::Upsert,
            // Nobody can lock a row that is not there: one that is created meanwhile stays.
            (false, None) => WriteMode::InsertOnly,
            (false, Some(_)) => WriteMode::UpdateOnly,
        };
        match form.write(Arc::new(row.clone()), mode) {
            Effect::Park(_, why) => Err(why),
            effect => Ok(effect),
        }
    }

    fn decision(&self, table: usize, mend: &Mend, node: NodeId, effect: Effect) -> Decision {
        let table = &self.tables[table];
        let of = |rows: &[(NodeId, Option<Arc<Row>>)], at: NodeId| {
            rows.iter().find(|(node, _)| *node == at).and_then(|(_, row)| row.clone())
        };
        // Where the row does not belong, what is right stands elsewhere.
        let is_written = |at: &NodeId| mend.write.iter().any(|(node, _)| node == at);
        let stays = |row: &Arc<Row>| mend.read.iter().any(|(at, own)| own.as_ref() == Some(row) && !is_written(at));
        let elsewhere = || of(&mend.read, mend.settlement.winner).filter(|row| !mend.by_hand && stays(row));
        let winner_row = of(&mend.write, node).or_else(elsewhere);
        // Without a history nobody can tell what lost from what was merely behind; there is no journal of that.
        let stood = of(&mend.read, node).filter(|_| !table.compared);
        let lost = stood.filter(|own| winner_row.as_ref() != Some(own)).map(|own| {
            let mut lost = settle::lost(
                "verify",
                table,
                &mend.key,
                &mend.settlement,
                winner_row.as_ref().unwrap_or(&own),
                node,
                &own,
            );
            // What is written is whole.
            lost.winner_unknown.clear();
            lost.winner_row = winner_row;
            if mend.by_hand {
                lost.winner = node;
            }
            lost
        });
        Decision {
            key: mend.key.clone(),
            effect,
            notes: Vec::new(),
            waiting: None,
            touch: None,
            otherwise: None,
            lost: Vec::new(),
            lost_here: lost,
            lost_before: false,
            upon: None,
        }
    }
}
