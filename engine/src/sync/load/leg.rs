//! Going through one table at one node, part by part.

use std::collections::HashMap;

use tracing::debug;

use super::ahead::Reader;
use super::portion::{Portion, Stretch, Weighed, Written};
use super::progress::Progress;
use super::{LOOKS, Load, Loaded, LoadedNode, PROBE, ROWS, Stage, WEIGHT};
use crate::error::{Error, Result};
use crate::fault;
use crate::model::{Key, NodeId};
use crate::node;
use crate::sync::cycle::Cycle;
use crate::sync::session::Session;

/// How often a part is tried before the load gives up over what a node says.
const ATTEMPTS: u32 = 8;

/// Rows of one leg that are left because users hold them up: beyond, it is the table that is held up.
const MOST_BUSY: usize = 1_000;

/// A table at a node, to be gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leg {
    pub table: usize,
    pub walker: NodeId,
}

/// A row that could not be written, to be tried once more.
pub(super) struct Deferred {
    pub table: usize,
    pub key: Key,
    /// Where the row stands that was to be written.
    pub holder: NodeId,
    /// Where users hold it up, and how.
    pub held: Option<(NodeId, String)>,
    /// Why it is not for the sync, if it is not.
    pub stays: Option<Stays>,
}

/// Why a row is left as it is at all nodes.
#[derive(Debug)]
pub(super) enum Stays {
    /// It cannot be read at the holder, for this reason, so that nobody can tell whose row is right.
    Undecidable(String),
    /// Its table stood still when it was to be tried, so that nobody has looked at it.
    Unlooked,
    /// A plugin fails in this way at it and so many others that the sync would stop at them.
    Fails(String),
}

impl Deferred {
    pub fn refused(table: usize, key: Key, holder: NodeId) -> Deferred {
        Deferred { table, key, holder, held: None, stays: None }
    }

    /// What could not be read.
    pub fn unread(table: usize, weighed: &Weighed) -> impl Iterator<Item = Deferred> {
        let goes = weighed.unreadable.iter().map(move |(at, key)| Deferred::refused(table, key.clone(), *at));
        let stays = weighed.undecidable.iter().map(move |(at, key, why)| Deferred {
            stays: Some(Stays::Undecidable(why.clone())),
            ..Deferred::refused(table, key.clone(), *at)
        });
        goes.chain(stays)
    }
}

impl Session {
    /// Goes through a table at one node, from behind a key.
    #[expect(clippy::too_many_arguments, reason = "what a leg changes belongs to the whole load")]
    pub(super) async fn walk_leg(
        &mut self,
        load: &Load,
        leg: Leg,
        mut after: Option<Key>,
        empty: &[NodeId],
        progress: &mut Progress,
        deferred: &mut Vec<Deferred>,
        loaded: &mut Loaded,
        told: &mut (dyn FnMut(&Stage) + Send),
    ) -> Result<()> {
        if self.tables[leg.table].form(leg.walker).is_none() {
            progress.leave_out();
            return Ok(());
        }
        let total = self.count_rows(leg).await?;
        let mut stage = self.stage(leg, false, total);
        let mut reader = match (self.connector)(self.config.nodes[leg.walker.index()].target.clone()).await {
            Ok(node) => Some(Reader::new(node)),
            // Reading ahead is a convenience.
            Err(error) => {
                debug!(%error, "No second connection.");
                None
            }
        };
        let (mut limit, mut most) = (PROBE, ROWS);
        let mut again: Vec<(Key, u32)> = Vec::new();
        let mut busy = 0;
        let mut ended = false;
        // Rows that are left are looked for anew after an interruption.
        let mut remember = deferred.is_empty();
        let mut passed = None;
        while !ended || !again.is_empty() {
            let mut portion = Some(Portion {
                table: leg.table,
                walker: leg.walker,
                rule: load.rule(self, leg.table),
                condition: load.conditions.get(&leg.table).cloned(),
                stretch: (!ended).then(|| Stretch { after: after.clone(), limit }),
                again: again.iter().map(|(key, _)| key.clone()).collect(),
                empty: empty.to_vec(),
                last: false,
                refilter: load.refilter,
                passed: passed.take(),
                reader: reader.take(),
                outcome: None,
            });
            let done = self.weighed(&mut portion).await;
            reader = portion.and_then(|portion| portion.reader);
            let Some((weighed, left)) = done? else {
                // Another engine is at work. Shorter parts are less in its way.
                most = (most / 2).max(PROBE);
                limit = limit.min(most);
                continue;
            };
            if self.tables[leg.table].form(leg.walker).is_none() {
                progress.leave_out();
            }
            most = (most * 2).min(ROWS);
            let looked_at: HashMap<Key, u32> = std::mem::take(&mut again).into_iter().collect();
            let looks = |key: &Key| looked_at.get(key).copied().unwrap_or(0);
            let mut next: Vec<(Key, u32)> = Vec::new();
            for key in &weighed.again {
                let looks = looks(key) + 1;
                if looks < LOOKS {
                    next.push((key.clone(), looks));
                } else if weighed.unmoved.contains(key) {
                    // What it waits for may come where rows that were refused are tried again.
                    let holder = weighed.winners.get(key).copied().unwrap_or(leg.walker);
                    deferred.push(Deferred::refused(leg.table, key.clone(), holder));
                }
            }
            self.count_up(leg, &weighed, &left, loaded);
            for (node, key, reason) in left {
                let looks = looks(&key) + 1;
                let is_busy = reason.code.is_passing();
                if is_busy && looks < LOOKS {
                    next.push((key, looks));
                    continue;
                }
                busy += usize::from(is_busy);
                if busy > MOST_BUSY {
                    return Err(self.held_up(load, node, leg.table, busy, &reason.message));
                }
                let holder = weighed.winners.get(&key).copied().unwrap_or(leg.walker);
                debug!(node = %self.names[node.index()], reason = %reason.message, "A row is left for later.");
                let held = is_busy.then_some((node, reason.message));
                deferred.push(Deferred { held, ..Deferred::refused(leg.table, key, holder) });
            }
            deferred.extend(Deferred::unread(leg.table, &weighed));
            remember &= deferred.is_empty();
            again = next;
            self.has_left(leg, again.iter().map(|(key, _)| key), deferred);
            passed = weighed.passed;
            stage.rows += weighed.rows;
            if let Some(rows) = (weighed.weight as u64).checked_div(weighed.rows).filter(|each| *each > 0) {
                limit = (WEIGHT / usize::try_from(rows).unwrap_or(usize::MAX)).clamp(1, most);
            }
            match weighed.last {
                Some(last) => {
                    self.has_reached(leg, &last);
                    after = Some(last);
                }
                None => ended = true,
            }
            told(&stage);
            if remember && again.is_empty() {
                progress.reached(self, leg, after.as_ref()).await?;
            }
        }
        Ok(())
    }

    /// One cycle with a portion: what was weighed and what could not be written; `None` if it has to be done again.
    pub(super) async fn weighed(
        &mut self,
        portion: &mut Option<Portion>,
    ) -> Result<Option<(Weighed, Vec<(NodeId, Key, node::Reason)>)>> {
        let again = portion.as_ref().map(|portion| portion.again.clone()).unwrap_or_default();
        for attempt in 1.. {
            let cycle = self.cycle_with(portion).await?;
            self.everybody_but(&[])?;
            fault::point("load-part").await?;
            let outcome = portion.as_mut().and_then(|portion| portion.outcome.take());
            match (outcome, &cycle) {
                (_, Cycle { failed: Some(why), may_pass: true, .. }) if attempt >= ATTEMPTS => {
                    return Err(Error::Unreachable(vec![why.clone()]));
                }
                (_, Cycle { failed: Some(why), .. }) if attempt >= ATTEMPTS => return Err(Error::Stopped(why.clone())),
                (Some(weighed), Cycle { failed: None, overtaken: false, .. }) => {
                    let left = cycle.left.into_iter().map(|(node, _, key, reason)| (node, key, reason)).collect();
                    return Ok(Some((weighed, left)));
                }
                (_, Cycle { overtaken: true, .. }) => return Ok(None),
                _ => {}
            }
            if let Some(portion) = portion {
                portion.again.clone_from(&again);
            }
        }
        Ok(None)
    }

    /// Adds to the report what a part came to.
    pub(super) fn count_up(
        &self,
        leg: Leg,
        weighed: &Weighed,
        left: &[(NodeId, Key, node::Reason)],
        loaded: &mut Loaded,
    ) {
        let name = &self.tables[leg.table].name;
        let Some(table) = loaded.tables.iter_mut().find(|table| table.table == *name) else { return };
        table.rows += weighed.rows;
        table.undecided += weighed.undecided;
        table.outside += weighed.outside;
        let passed_over = weighed.passed_over.iter().map(|key| (leg.table, key.clone()));
        table.passed_over += passed_over.filter(|key| loaded.passed_over.insert(key.clone())).count() as u64;
        let done = weighed.done(left.iter().map(|(node, key, _)| (*node, key)));
        for (node, written) in done.into_iter().filter(|(_, written)| *written != Written::default()) {
            let Written { created: copied, replaced, removed } = written;
            let name = &self.names[node.index()];
            match table.nodes.iter_mut().find(|known| known.node == *name) {
                Some(known) => {
                    known.copied += copied;
                    known.replaced += replaced;
                    known.removed += removed;
                }
                None => table.nodes.push(LoadedNode { node: name.clone(), copied, replaced, removed }),
            }
        }
    }

    /// Rows are locked, or were changed at each look. Progress stays before them.
    pub(super) fn held_up(&self, load: &Load, node: NodeId, table: usize, rows: usize, why: &str) -> Error {
        let number = match rows {
            1 => "1 row".to_owned(),
            2..=MOST_BUSY => format!("{rows} rows"),
            _ => format!("more than {MOST_BUSY} rows"),
        };
        // What follows is about the next cycle, which there is none of.
        let why = why.split_once(';').map_or(why, |(why, _)| why);
        Error::Unreachable(vec![format!(
            "node `{}`: {number} of `{}` could not be written: {why}\n    run `concord load` again when that is over; {}",
            self.names[node.index()],
            self.tables[table].name,
            self.goes_on(load),
        )])
    }

    pub(super) async fn count_rows(&mut self, leg: Leg) -> Result<u64> {
        self.look().await?;
        let member = &mut self.members[leg.walker.index()];
        let (Some(node), Some(spec)) = (member.node.as_deref_mut(), self.tables[leg.table].spec(leg.walker)) else {
            return Err(self.not_there(leg.table));
        };
        let total = node.count(spec).await.map_err(Error::at(&member.name, "counting rows"))?;
        self.close().await;
        Ok(total)
    }

    /// The nodes at which a table has no rows before anything is copied. Whatever comes to be there later was copied, or is
    /// in a history, so nobody has to go through it or look for rows there. That a trigger changes what is written is only
    /// seen of rows that are known.
    pub(super) async fn empty_at(&mut self, table: usize) -> Result<Vec<NodeId>> {
        let mut empty = Vec::new();
        self.look().await?;
        for member in &mut self.members {
            let (Some(node), Some(spec)) = (member.node.as_deref_mut(), self.tables[table].spec(member.id)) else {
                continue;
            };
            let first = node.walk(spec, None, 1).await.map_err(Error::at(&member.name, "looking for rows"))?;
            if first.is_empty() && spec.captured && spec.user_triggers.is_empty() {
                empty.push(member.id);
            }
        }
        self.close().await;
        Ok(empty)
    }

    pub(super) fn stage(&self, leg: Leg, comparing: bool, total: u64) -> Stage {
        let table = self.tables[leg.table].name.clone();
        Stage { table, node: self.names[leg.walker.index()].clone(), comparing, rows: 0, total }
    }
}
