//! Looking once more at rows that were not alike: narrowing to their keys, looking these up in fresh snapshots, telling how they differ,
//! and removing what does not belong where it stands.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::super::session::Session;
use super::compare::{self, Allowed, compare};
use super::digest::{self, Measure, Narrow, Selection};
use super::mend::{self, Done, Mend};
use super::report::{Counted, Left};
use super::{KNOT_LIMIT, MENDS_LIMIT, Repair, Task, comparable_nodes, groups_of};
use crate::error::Result;
use crate::model::{Key, NodeId};

/// How often rows are looked at again because another engine, or a user where no history tells it, changed them before they were
/// written.
const AGAIN: u32 = 3;

impl Session {
    /// The keys in these parts whose rows are not alike; `None` if others are there than at the beginning.
    pub(super) async fn narrow(
        &mut self,
        task: &Task<'_>,
        measure: &Arc<Measure>,
        parts: &[(usize, u64)],
    ) -> Result<Option<Vec<Key>>> {
        let opened = self.open_for(task.table).await?;
        let table = &self.tables[task.table];
        if comparable_nodes(table, &opened).as_ref() != Some(&task.nodes) {
            self.close().await;
            return Ok(None);
        }
        let selection = Arc::new(Selection::of(parts));
        let taker = |&node: &NodeId| {
            Some((node, Narrow::new(measure, node, &table.subsets, &table.form(node)?.lens, &selection)))
        };
        let takers = task.nodes.iter().filter_map(taker).collect();
        let narrow = self.pass(task.table, takers, &task.how.progress.rows).await?;
        self.close().await;
        Ok(Some(digest::unlike(measure, narrow)))
    }

    /// Looks keys up once more, by groups, and does about those that differ what is to be done; `false` if others are there than at
    /// the beginning.
    pub(super) async fn look_again(&mut self, task: &mut Task<'_>, mut groups: Vec<Vec<Key>>) -> Result<bool> {
        // What has moved on meanwhile is looked at once more.
        let mut looks = AGAIN;
        let mut moved_on: Vec<Mend> = Vec::new();
        loop {
            if !self.look_once(task, groups, if looks > 0 { Some(&mut moved_on) } else { None }).await? {
                return Ok(false);
            }
            if moved_on.is_empty() {
                return Ok(true);
            }
            looks -= 1;
            let mut keys = Vec::with_capacity(moved_on.len());
            for mend in moved_on.drain(..) {
                task.report.take_back(&self.tables[task.table], &mend.key, &mend.counted, &self.names);
                keys.push(mend.key);
            }
            groups = groups_of(keys);
        }
    }

    /// One such look; keys that have moved on are told unless there is a list for them.
    async fn look_once(
        &mut self,
        task: &mut Task<'_>,
        groups: Vec<Vec<Key>>,
        mut moved_on: Option<&mut Vec<Mend>>,
    ) -> Result<bool> {
        let mut groups = VecDeque::from(groups);
        while let Some(group) = groups.pop_front() {
            let Some(opened) = self.open_together(task.table, &task.nodes).await? else {
                // Another engine carries so much that there is no moment to look at.
                let opened = self.open_for(task.table).await?;
                let same = comparable_nodes(&self.tables[task.table], &opened).as_ref() == Some(&task.nodes);
                self.close().await;
                task.report.on_their_way += group.len() as u64;
                if !same {
                    return Ok(false);
                }
                continue;
            };
            let restless = self.restless(task.table, &task.nodes, &opened, &group).await?;
            let mut at_rest = Vec::with_capacity(group.len());
            for key in group {
                if restless.waiting.contains(&key) {
                    task.report.waiting += 1;
                } else if restless.moving.contains(&key) {
                    task.report.on_their_way += 1;
                } else {
                    at_rest.push(key);
                }
            }
            let mends = self.tell_differences(task, &mut at_rest, true).await?;
            self.close().await;
            // Memory was too small for the others.
            if !at_rest.is_empty() {
                groups.push_front(at_rest);
            }
            if !mends.is_empty() {
                let mut stays: Vec<Key> = mends.iter().filter(|mend| mend.stays).map(|mend| mend.key.clone()).collect();
                let disputed = mends.iter().filter(|mend| mend.stays && mend.disputed);
                let disputed: HashSet<Key> = disputed.map(|mend| mend.key.clone()).collect();
                let mut done = self.mend(task.table, &opened, mends).await?;
                let failed = done.failed.take();
                stays.retain(|key| done.left.iter().all(|(mend, ..)| mend.key != *key));
                let follows = !self.tables[task.table].compared && !done.overtaken;
                if let Some(moved_on) = moved_on.as_deref_mut().filter(|_| !follows) {
                    let gone = done.left.extract_if(.., |(_, because, ..)| *because == Left::MovedOn);
                    moved_on.extend(gone.map(|(mend, ..)| mend));
                }
                let (table, limit) = (&self.tables[task.table], task.how.limit);
                done.left.retain(|(mend, because, told)| {
                    *because != Left::Refused || !task.tangle.keep(table, mend, told, limit)
                });
                task.report.take(&self.tables[task.table], done, &self.names, task.how.limit);
                if let Some(error) = failed {
                    return Err(error);
                }
                self.remove_what_stayed(task, stays, &disputed).await?;
            }
        }
        Ok(true)
    }

    /// Removes what does not belong where it stands, now that other nodes have it. What is not at rest is left to the next comparison;
    /// `disputed` are those keys that the table's policy alone decided.
    async fn remove_what_stayed(
        &mut self,
        task: &mut Task<'_>,
        mut keys: Vec<Key>,
        disputed: &HashSet<Key>,
    ) -> Result<()> {
        let removed = self.remove_as_far_as_it_goes(task, &mut keys, disputed).await;
        // They were counted when others had come to have them.
        task.report.mended -= keys.len() as u64;
        task.report.disputed -= keys.iter().filter(|key| disputed.contains(*key)).count() as u64;
        removed
    }

    /// The same; keys are left in the list where somebody is not there any more, or another engine is too busy, or it fails.
    async fn remove_as_far_as_it_goes(
        &mut self,
        task: &mut Task<'_>,
        keys: &mut Vec<Key>,
        disputed: &HashSet<Key>,
    ) -> Result<()> {
        while !keys.is_empty() {
            let Some(opened) = self.open_together(task.table, &task.nodes).await? else { return Ok(()) };
            let restless = self.restless(task.table, &task.nodes, &opened, keys).await?;
            keys.retain(|key| !restless.waiting.contains(key) && !restless.moving.contains(key));
            let mut rest = keys.clone();
            let mut mends = self.tell_differences(task, &mut rest, false).await?;
            self.close().await;
            if mends.is_empty() {
                *keys = rest;
                continue;
            }
            mends.iter_mut().for_each(|mend| mend.disputed = disputed.contains(&mend.key));
            let (all, in_dispute) = (mends.len() as u64, mends.iter().filter(|mend| mend.disputed).count() as u64);
            let mut done = self.mend(task.table, &opened, mends).await?;
            *keys = rest;
            let failed = done.failed.take();
            task.report.mended -= all - done.mended;
            task.report.disputed -= in_dispute - done.disputed;
            let done = Done { mended: 0, disputed: 0, ..done };
            task.report.take(&self.tables[task.table], done, &self.names, task.how.limit);
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Compares the rows of keys that are at rest, tells how they differ unless that was told, and gives back what is to be written
    /// about it. Keys for which there is no memory are left in the list.
    async fn tell_differences(&mut self, task: &mut Task<'_>, keys: &mut Vec<Key>, tells: bool) -> Result<Vec<Mend>> {
        let (mut mends, mut weight) = (Vec::new(), 0);
        let mut step = Session::first_step();
        let limit = if task.untangles { KNOT_LIMIT } else { MENDS_LIMIT };
        while !keys.is_empty() && weight < limit {
            let standing = self.standing_rows(task.table, &task.nodes, keys, &mut step).await?;
            let table = &self.tables[task.table];
            let (standing, locals): (Vec<_>, Vec<_>) = standing.into_iter().map(|one| (one.rows, one.locals)).unzip();
            let places = compare::places(table, &standing).await?;
            let standing = standing.into_iter().zip(locals);
            for ((key, (standing, locals)), places) in keys.drain(..standing.len()).zip(standing).zip(places) {
                let mut allowed = Allowed::default();
                let found = compare(table, key, standing, places, &mut allowed);
                let told = tells.then_some(&mut *task.report);
                let Some(difference) = found else {
                    told.into_iter().for_each(|report| report.allowed.add(allowed));
                    continue;
                };
                let counted = told.map_or_else(Counted::default, |report| {
                    report.allowed.add(allowed);
                    report.add(table, &self.names, &difference, allowed, task.how.limit)
                });
                let unjudged = difference.unjudged.first();
                let unjudged = unjudged.map(|(node, why)| mend::not_judged(&self.names[node.index()], why));
                if task.how.repair == Repair::Tell && unjudged.is_none() {
                    continue;
                }
                let mended = unjudged.map_or_else(|| mend::mend(table, &difference, task.prefer, &self.names), Err);
                match mended {
                    Err(why) => task.report.leave(table, &difference.key, Left::Undecided, None, why, task.how.limit),
                    Ok(mend) => match task.plan.as_deref_mut() {
                        Some(plan) => plan.add(table, &self.names, &mend)?,
                        None if task.how.repair == Repair::Foresee => task.report.foresee(&mend, &self.names),
                        None => {
                            weight += mend.weight();
                            mends.push(Mend { counted, locals, ..mend });
                        }
                    },
                }
            }
        }
        Ok(mends)
    }
}
