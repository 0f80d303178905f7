//! Completing the contests: all that is known about the keys that need it, and the rows that the decisions will need.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::join_all;

use super::contest::{Content, Contest, Contests};
use super::cycle::AllContests;
use super::opened::Opened;
use super::session::Session;
use super::table::Table;
use crate::error::{Error, Result};
use crate::fault;
use crate::model::{Dot, Key, NodeId};

/// Rows or keys asked for at once, at most.
const FETCH: usize = 4_000;

/// Rows asked for while nobody knows how large they are.
const PROBE: usize = 16;

/// Keys whose entries are asked for at once. Each question goes through a whole history, which has no index by key, so the
/// fewer the better.
const EXAMINE: usize = 50_000;

/// The memory that the rows of one cycle may take, in bytes. Larger pages are read again in parts.
const ROWS_LIMIT: usize = 48 << 20;

impl Session {
    /// Fetches the rows that the decisions need, in the snapshots that the entries came from. Returns a smaller page size
    /// if the rows would take too much memory.
    pub(super) async fn fetch(
        &mut self,
        opened: &Opened,
        contests: &mut AllContests,
        partial: &HashMap<(usize, NodeId), ()>,
    ) -> Result<Option<usize>> {
        for (table, contests) in contests.iter_mut().enumerate() {
            self.examine(table, opened, contests, partial).await?;
        }
        let mut weight = 0;
        let mut fetched = 0;
        let budget = ROWS_LIMIT;
        for (table, contests) in contests.iter_mut().enumerate() {
            let wanted = self.wanted(&self.tables[table], opened, contests);
            let mut left: Vec<std::vec::IntoIter<(usize, usize)>> = vec![Vec::new().into_iter(); self.members.len()];
            wanted.into_iter().for_each(|(node, places)| left[node.index()] = places.into_iter());
            let mut step = PROBE;
            while left.iter().any(|places| places.len() > 0) {
                let before = (weight, fetched);
                let (tables, known) = (&self.tables, &*contests);
                let reading = join_all(self.members.iter_mut().zip(&mut left).map(async |(member, places)| {
                    let places: Vec<(usize, usize)> = places.by_ref().take(step).collect();
                    let (form, reader) = (tables[table].form(member.id)?, member.node.as_deref_mut()?);
                    let keys: Vec<&Key> =
                        places.iter().filter_map(|(at, _)| known.get_index(*at)).map(|(key, _)| key).collect();
                    if keys.is_empty() {
                        return None;
                    }
                    let rows = match fault::point("fetch").await {
                        Ok(()) => reader.rows(&form.spec, &keys).await,
                        Err(fault) => Err(fault.into()),
                    };
                    let doing = || format!("reading rows of {}", form.spec.full_name());
                    Some((form, places, rows.map_err(|error| Error::at(&member.name, doing())(error))))
                }))
                .await;
                for (form, places, rows) in reading.into_iter().flatten() {
                    for ((at, version), row) in places.iter().zip(rows?) {
                        let content = match row {
                            None => Content::Deleted,
                            Some(Err(why)) => Content::Unreadable(why),
                            Some(Ok(row)) => {
                                weight += row.iter().map(crate::model::Value::weight).sum::<usize>();
                                Content::Row(Arc::new(form.lens.to_shared(row)))
                            }
                        };
                        if let Some((_, contest)) = contests.get_index_mut(*at) {
                            contest.versions[*version].content = content;
                        }
                    }
                    fetched += places.len();
                }
                if weight > budget && self.page > 1 && fetched < self.page {
                    return Ok(Some((fetched * 3 / 4).max(1).min(self.page - 1)));
                }
                let each = ((weight - before.0) / (fetched - before.1).max(1)).max(1);
                step = (budget.saturating_sub(weight) / each).clamp(PROBE, FETCH);
            }
        }
        Ok(None)
    }

    /// Makes sure that the contests tell all that is known, where the pages may not.
    ///
    /// A page leaves out what all who take part have passed. That is enough to see which single version has seen all
    /// others, but not to weigh several: whoever learned of a change in a roundabout way has said so in an entry that may
    /// be passed by now. Nor is it enough for a version that stands beside one that waits, or where a page was cut short,
    /// so that a row's content is younger than the entries that were read. For those keys all entries are taken in.
    async fn examine(
        &mut self,
        table: usize,
        opened: &Opened,
        contests: &mut Contests,
        partial: &HashMap<(usize, NodeId), ()>,
    ) -> Result<()> {
        let participants = participants(&self.tables[table], opened);
        let targets = targets(&self.tables[table], opened);
        let waits = |key: &Key| participants.iter().any(|&node| opened.parked(node, table, key).is_some());
        let waiting: Vec<Key> = contests.keys().filter(|key| waits(key)).cloned().collect();
        for &node in &participants {
            let all = partial.contains_key(&(table, node)).then(|| contests.keys().cloned().collect::<Vec<_>>());
            self.complete(table, node, opened, contests, all.as_ref().unwrap_or(&waiting)).await?;
        }
        let mut disputed = Vec::new();
        for at in 0..contests.len() {
            let Some((key, contest)) = contests.get_index_mut(at) else { continue };
            if is_settled(&self.tables[table], opened, key, contest, &targets) {
                continue;
            }
            contest.close(&participants, &self.tables[table], opened);
            if self.tables[table].relays() && contest.tops().len() > 1 {
                disputed.push(key.clone());
            }
        }
        for &node in &participants {
            self.complete(table, node, opened, contests, &disputed).await?;
        }
        for key in &disputed {
            if let Some(contest) = contests.get_mut(key) {
                contest.close(&participants, &self.tables[table], opened);
            }
        }
        Ok(())
    }

    /// Takes in all entries that a node has of these keys, in place of those that a page held.
    async fn complete(
        &mut self,
        table: usize,
        node: NodeId,
        opened: &Opened,
        contests: &mut Contests,
        keys: &[Key],
    ) -> Result<()> {
        let (Some(spec), Some(presence)) = (self.tables[table].spec(node).cloned(), &opened.present[node.index()])
        else {
            return Ok(());
        };
        let keep_deltas = self.tables[table].policy.merges();
        let member = &mut self.members[node.index()];
        let Some(reader) = member.node.as_deref_mut().filter(|_| spec.captured) else { return Ok(()) };
        for keys in keys.chunks(EXAMINE) {
            let borrowed: Vec<&Key> = keys.iter().collect();
            let entries = reader.entries_of(&spec, &borrowed).await;
            let entries = entries.map_err(Error::at(&member.name, "reading the history"))?;
            for key in keys {
                if let Some(contest) = contests.get_mut(key).filter(|contest| contest.standing(node).is_some()) {
                    contest.forget(node);
                }
            }
            for key in keys {
                if let (Some(contest), Some(parked)) = (contests.get_mut(key), opened.parked(node, table, key)) {
                    contest.remember(node, parked);
                }
            }
            for entry in entries {
                if let Some(contest) = contests.get_mut(&entry.key) {
                    contest.enter(node, entry, &presence.clock, keep_deltas);
                }
            }
        }
        Ok(())
    }

    /// Which rows are needed, by node: the places of contests and of the versions in them.
    fn wanted(&self, table: &Table, opened: &Opened, contests: &mut Contests) -> Vec<(NodeId, Vec<(usize, usize)>)> {
        let mut wanted: Vec<Vec<(usize, usize)>> = vec![Vec::new(); self.members.len()];
        let targets = targets(table, opened);
        let participants = participants(table, opened);
        let all_total = participants.iter().all(|&node| table.form(node).is_some_and(|form| form.lens.is_total()));
        for at in 0..contests.len() {
            let Some((key, contest)) = contests.get_index_mut(at) else { continue };
            if is_settled(table, opened, key, contest, &targets) {
                continue;
            }
            let tops = contest.tops();
            // Columns that do not live at a winner's node come from the others, or stay what they are.
            let everything = !all_total;
            for (place, contender) in contest.versions.iter().enumerate() {
                let version = &contender.version;
                if contender.content != Content::Unread || !(everything || tops.contains(&place)) {
                    continue;
                }
                // What waits without content stands where it was read.
                let from = if version.waiting { version.stamp.node } else { version.node };
                if opened.is_present(from) {
                    wanted[from.index()].push((at, place));
                }
            }
        }
        wanted
            .into_iter()
            .enumerate()
            .filter(|(_, places)| !places.is_empty())
            .map(|(node, places)| (NodeId(node as u16), places))
            .collect()
    }
}

/// Whether every node that takes part has seen everything that there is to see of a key.
pub(super) fn is_settled(table: &Table, opened: &Opened, key: &Key, contest: &Contest, targets: &[NodeId]) -> bool {
    targets.iter().all(|&target| {
        let sees = |dot: &Dot| contest.stands_for(target, dot, table, opened);
        opened.parked(target, table.index, key).is_none()
            && contest.versions.iter().all(|contender| contender.version.vector.dots().iter().all(sees))
    })
}

/// The nodes that take part in a table.
fn participants(table: &Table, opened: &Opened) -> Vec<NodeId> {
    opened.nodes().map(|(node, _)| node).filter(|&node| table.form(node).is_some()).collect()
}

/// The nodes that take part and to which the table is carried.
pub(super) fn targets(table: &Table, opened: &Opened) -> Vec<NodeId> {
    let nodes = opened.nodes().map(|(node, _)| node);
    nodes.filter(|&node| table.form(node).is_some() && table.is_target(node)).collect()
}
