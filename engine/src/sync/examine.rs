//! Completing the contests: all that is known about the keys that need it.

use std::collections::{HashMap, HashSet};

use super::contest::{Contest, Contests};
use super::cycle::AllContests;
use super::opened::Opened;
use super::read;
use super::session::Session;
use super::table::Table;
use crate::error::{Error, Result};
use crate::model::{Cut, Dot, Entry, Key, NodeId};

/// Keys whose entries are asked for at once. Each question goes through a whole history, which has no index by key, so the
/// fewer the better.
const EXAMINE: usize = 50_000;

/// What a history holds besides the pages that are read of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Nothing,
    More,
}

impl Session {
    /// Makes sure that all contests tell all that is known.
    pub(super) async fn examine(
        &mut self,
        opened: &Opened,
        contests: &mut AllContests,
        partial: &HashSet<(usize, NodeId)>,
    ) -> Result<()> {
        for (table, contests) in contests.iter_mut().enumerate() {
            self.examine_table(table, opened, contests, partial).await?;
        }
        Ok(())
    }

    /// Makes sure that the contests tell all that is known, where the pages may not.
    ///
    /// A page leaves out what all who take part have passed. That is enough to see which single version has seen all
    /// others, but not to weigh several: whoever learned of a change in a roundabout way has said so in an entry that may
    /// be passed by now. Nor is it enough for a version that stands beside one that waits, or where a page was cut short,
    /// so that a row's content is younger than the entries that were read. Nor for a node that is told of a change which was
    /// made elsewhere than where anybody has read it: it may be the very node that others heard it from. For those keys all
    /// entries are taken in. So they are of everything that is added up: whatever is refused or cannot be read waits, and beside it
    /// only what is known now tells of each change whether it went into what stands.
    async fn examine_table(
        &mut self,
        table: usize,
        opened: &Opened,
        contests: &mut Contests,
        partial: &HashSet<(usize, NodeId)>,
    ) -> Result<()> {
        let participants = participants(&self.tables[table], opened);
        let targets = targets(&self.tables[table], opened);
        let waits = |key: &Key| participants.iter().any(|&node| opened.parked(node, table, key).is_some());
        let waiting: Vec<Key> = contests.keys().filter(|key| waits(key)).cloned().collect();
        for &node in &participants {
            let all = partial.contains(&(table, node)).then(|| contests.keys().cloned().collect::<Vec<_>>());
            self.complete(table, node, opened, contests, all.as_ref().unwrap_or(&waiting)).await?;
        }
        let mut incomplete: Vec<Vec<Key>> = vec![Vec::new(); self.members.len()];
        let adds_up = self.tables[table].policy.merges();
        let cut_off: Vec<bool> =
            participants.iter().map(|&node| adds_up && leaves_out(&self.tables[table], node, opened)).collect();
        let may_hide = |table: &Table, node| table.may_leave_untold() && table.subset(node).is_some();
        let mut kept: HashMap<NodeId, Option<Kept>> = HashMap::new();
        for &node in &participants {
            if !contests.is_empty() && may_hide(&self.tables[table], node) {
                kept.insert(node, self.kept_before_pages(table, node, opened).await?);
            }
        }
        let hides = |node: &NodeId| kept.get(node) == Some(&Some(Kept::More));
        for at in 0..contests.len() {
            let (table, Some((key, contest))) = (&self.tables[table], contests.get_index_mut(at)) else { continue };
            if is_settled(table, opened, key, contest, &targets) {
                continue;
            }
            contest.close(&participants, table, opened);
            if !table.relays() && !adds_up {
                continue;
            }
            // Who has no row mostly speaks for none, whatever was passed there; which nodes these are shows later.
            let disputed = contest.tops(table, opened).len() > 1 || table.has_subsets() && !contest.is_plain(table);
            let hearsay = contest.seen();
            let hearsay = || hearsay.dots().iter().filter(|dot| !opened.was_read(table.index, dot));
            for (&node, cut_off) in participants.iter().zip(&cut_off) {
                let may_have_heard = || hearsay().any(|dot| !contest.stands_for(node, dot, table, opened));
                if disputed || *cut_off || hides(&node) || may_have_heard() {
                    incomplete[node.index()].push(key.clone());
                }
            }
        }
        for &node in &participants {
            let left = &mut incomplete[node.index()];
            if left.is_empty() {
                continue;
            }
            let kept = match kept.get(&node) {
                _ if partial.contains(&(table, node)) => Some(Kept::Nothing),
                Some(kept) => *kept,
                None => self.kept_before_pages(table, node, opened).await?,
            };
            if kept == Some(Kept::Nothing) {
                // Nothing is read again where all that there is was taken in.
                left.clear();
            }
            self.complete(table, node, opened, contests, &incomplete[node.index()]).await?;
        }
        for key in incomplete.into_iter().flatten().collect::<HashSet<_>>() {
            if let Some(contest) = contests.get_mut(&key) {
                contest.close(&participants, &self.tables[table], opened);
            }
        }
        Ok(())
    }

    /// What a node's history holds that no page does any more, as all have passed it: an entry of these may tell where a row began,
    /// without which it does not show what went into the row. `None` of a history that nobody reads.
    async fn kept_before_pages(&mut self, table: usize, node: NodeId, opened: &Opened) -> Result<Option<Kept>> {
        let (table, member) = (&self.tables[table], &mut self.members[node.index()]);
        let Some(spec) = table.spec(node).filter(|spec| spec.captured) else { return Ok(None) };
        let (Some(start), Some(reader)) = (read::start(table, node, opened), member.node.as_deref_mut()) else {
            return Ok(None);
        };
        let mut count = async |after: &Cut| {
            let counted = reader.pending(&spec.name, after, None).await;
            counted.map_err(Error::at(&member.name, "reading the history"))
        };
        let kept = count(&Cut::START).await?;
        let is_more = kept > 0 && kept > count(&start).await?;
        Ok(Some(if is_more { Kept::More } else { Kept::Nothing }))
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
        let (tables, member) = (&self.tables, &mut self.members[node.index()]);
        let Some(reader) = member.node.as_deref_mut().filter(|_| spec.captured) else { return Ok(()) };
        for keys in keys.chunks(EXAMINE) {
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
            let borrowed: Vec<&Key> = keys.iter().collect();
            // A few keys may have been changed any number of times: what their entries say is kept, not the entries.
            let mut enter = |entry: Entry| {
                if let Some(contest) = contests.get_mut(&entry.key) {
                    contest.enter(node, entry, &presence.clock, &tables[table]);
                }
            };
            let read = reader.entries_of(&spec, &borrowed, &mut enter).await;
            read.map_err(Error::at(&member.name, "reading the history"))?;
        }
        Ok(())
    }
}

/// Whether every node that takes part has seen everything that there is to see of a key, and made the same of it.
pub(super) fn is_settled(table: &Table, opened: &Opened, key: &Key, contest: &Contest, targets: &[NodeId]) -> bool {
    !contest.may_differ(table)
        && targets.iter().all(|&target| {
            let sees = |dot: &Dot| contest.stands_for(target, dot, table, opened);
            // What does not belong where it was changed stays there until others have it.
            let waits_for_others = table.subset(target).is_some() && contest.is_answered(target, table, opened);
            !waits_for_others
                && opened.parked(target, table.index, key).is_none()
                && contest.versions.iter().all(|contender| contender.version.vector.dots().iter().all(sees))
        })
}

/// Whether a node keeps entries that a page leaves out, because all who take part have passed them.
fn leaves_out(table: &Table, node: NodeId, opened: &Opened) -> bool {
    let (Some(start), Some(presence)) = (read::start(table, node, opened), &opened.present[node.index()]) else {
        return false;
    };
    !presence.purged[table.index].includes(&start)
}

/// The nodes that take part in a table.
pub(super) fn participants(table: &Table, opened: &Opened) -> Vec<NodeId> {
    opened.nodes().map(|(node, _)| node).filter(|&node| table.form(node).is_some()).collect()
}

/// The nodes that take part and to which the table is carried.
pub(super) fn targets(table: &Table, opened: &Opened) -> Vec<NodeId> {
    let nodes = opened.nodes().map(|(node, _)| node);
    nodes.filter(|&node| table.form(node).is_some() && table.is_target(node)).collect()
}
