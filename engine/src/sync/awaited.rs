//! Reading what waits. There may be many such rows, and large ones: snapshots leave the rows themselves unread, and nobody reads more
//! of them than he decides about.

use std::collections::{HashMap, HashSet};

use super::cycle::{Cycle, Foreseen, Pages};
use super::fetch::{Came, FETCH, PROBE};
use super::opened::Opened;
use super::session::Session;
use crate::error::{Error, Result};
use crate::model::{Key, NodeId, Parked, Value, Waiting};

/// What waits of the contests of a cycle, with its rows, by table and node.
pub(super) type Awaited = Vec<Vec<Vec<Parked>>>;

/// In which order keys have their turn of which something waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Turn {
    /// The row is spoken of in this cycle, so that what waits of it has to be weighed as well.
    Spoken,
    /// Somewhere it only waits for the next cycle. Such rows are tried in every one.
    Passing,
    /// Nobody has come to it since the cycles began.
    Untried,
    /// It was tried, and may be taken by now.
    Again,
}

const TURNS: [Turn; 4] = [Turn::Spoken, Turn::Passing, Turn::Untried, Turn::Again];

impl Session {
    /// Reads what waits and does not rest. What takes more memory than the rows of one cycle may is left to the cycles that follow,
    /// as long as nobody speaks of it: until then it rests as well. Another cycle has to follow only for rows to which nobody has come
    /// yet: those that were tried may be due again in each cycle, where users change what they depend on, and there would be no end.
    /// `Err` holds a smaller page size if what is spoken of alone takes too much.
    pub(super) async fn await_rows(
        &mut self,
        opened: &mut Opened,
        pages: &Pages,
        foreseen: &[Foreseen],
        cycle: &mut Cycle,
    ) -> Result<std::result::Result<Awaited, usize>> {
        let (most, tables) = (self.rows_limit, self.tables.len());
        let nodes: Vec<Vec<NodeId>> = (0..tables).map(|table| self.where_it_counts(table, opened)).collect();
        let mut due = Vec::with_capacity(tables);
        for (table, nodes) in nodes.iter().enumerate() {
            due.push(self.due(table, opened, nodes, pages, foreseen));
        }
        let spoken = |due: &HashMap<Turn, Vec<Key>>| -> HashSet<Key> {
            due.get(&Turn::Spoken).into_iter().flatten().cloned().collect()
        };
        self.spoken = due.iter().map(spoken).collect();
        let mut all: Awaited = (0..tables).map(|_| vec![Vec::new(); self.members.len()]).collect();
        let (mut weight, mut until, mut came) = (0_usize, usize::MAX, Came::default());
        // Where not each table has its turn, another one is the first each time.
        let first = self.schedule.looks().checked_rem(tables).unwrap_or_default();
        for turn in TURNS {
            // However much is read before them, rows of each kind have a share.
            until = match turn {
                Turn::Spoken => usize::MAX,
                Turn::Passing => weight.saturating_add(most / 2),
                Turn::Untried => most.max(weight.saturating_add(most / 2)),
                Turn::Again => until,
            };
            let mut others = due.iter().filter(|due| due.contains_key(&turn)).count();
            for table in (0..tables).map(|at| (first + at) % tables) {
                let Some(keys) = due[table].remove(&turn) else { continue };
                others -= 1;
                let end = if turn == Turn::Passing { share(weight, until, others) } else { until };
                let aim = if turn == Turn::Spoken { most } else { end };
                let (mut left, mut step) = (&keys[..], PROBE);
                while !left.is_empty() {
                    if weight >= end {
                        match turn {
                            Turn::Untried => (cycle.more, cycle.reached) = (true, false),
                            Turn::Again => cycle.leaves_due = true,
                            Turn::Spoken | Turn::Passing => {}
                        }
                        break;
                    }
                    let (lot, rest) = left.split_at(step.min(left.len()));
                    let before = weight;
                    for &node in &nodes[table] {
                        let read = self.with_rows(opened, table, node, lot, false).await?;
                        if let Some(presence) = &mut opened.present[node.index()] {
                            tell_codes(&mut presence.parked[table], &read);
                        }
                        for weighs in read.iter().map(weight_of) {
                            weight += weighs;
                            if turn == Turn::Spoken {
                                came.add(node, weighs);
                            }
                        }
                        all[table][node.index()].extend(read);
                    }
                    // Whoever asks for everything has no pages.
                    if turn == Turn::Spoken
                        && self.page < usize::MAX
                        && let Some(smaller) = came.smaller(self.page, most)
                    {
                        return Ok(Err(smaller));
                    }
                    if turn == Turn::Untried {
                        self.schedule.comes_to(table, lot);
                    }
                    let each = ((weight - before) / lot.len()).max(1);
                    step = (aim.saturating_sub(weight) / each).clamp(PROBE, FETCH);
                    left = rest;
                }
            }
        }
        self.weight = came.weight();
        Ok(Ok(all))
    }

    /// The nodes of which what waits is to be weighed.
    fn where_it_counts(&self, table: usize, opened: &Opened) -> Vec<NodeId> {
        let table = &self.tables[table];
        if table.stopped.is_some() {
            return Vec::new();
        }
        // Whoever's own history was not read, because nobody else is there, decides nothing about it.
        let read = |node: NodeId| opened.read_cut(table.index, node).is_some();
        let counts = |node: &NodeId| table.spec(*node).is_some_and(|spec| !spec.captured || read(*node));
        opened.nodes().map(|(node, _)| node).filter(counts).collect()
    }

    /// The keys of which something waits at these nodes and does not rest.
    fn due(
        &self,
        table: usize,
        opened: &Opened,
        nodes: &[NodeId],
        pages: &Pages,
        foreseen: &[Foreseen],
    ) -> HashMap<Turn, Vec<Key>> {
        // With whether some of it passes.
        let mut keys: HashMap<&Key, bool> = HashMap::new();
        for (_, presence) in opened.nodes().filter(|(node, _)| nodes.contains(node)) {
            for (key, parked) in &presence.parked[table] {
                if !self.schedule.rests(opened, table, key) {
                    *keys.entry(key).or_default() |= parked.code.is_passing();
                }
            }
        }
        let mut due: HashMap<Turn, Vec<Key>> = HashMap::new();
        if keys.is_empty() {
            return due;
        }
        let read = pages[table].iter().flatten().flat_map(|page| &page.entries).map(|entry| &entry.key);
        let foreseen = foreseen.iter().filter(|touched| touched.table == table).map(|touched| &touched.key);
        let spoken: HashSet<&Key> = read.chain(foreseen).filter(|key| keys.contains_key(*key)).collect();
        for (key, passing) in keys {
            let turn = if spoken.contains(key) {
                Turn::Spoken
            } else if passing {
                Turn::Passing
            } else if self.schedule.is_untried(opened, nodes, table, key) {
                Turn::Untried
            } else {
                Turn::Again
            };
            due.entry(turn).or_default().push(key.clone());
        }
        due
    }

    /// What waits of these keys at a node, with its rows. Those of what stands for an outcome that was not found are read only with
    /// `owed`: they are no versions. Asked while snapshots are open.
    pub(super) async fn with_rows(
        &mut self,
        opened: &Opened,
        table: usize,
        node: NodeId,
        keys: &[Key],
        owed: bool,
    ) -> Result<Vec<Parked>> {
        let mut waiting: Vec<Parked> = keys.iter().filter_map(|key| opened.parked(node, table, key)).cloned().collect();
        let is_wanted = |parked: &&Parked| parked.content == Waiting::Unread && (owed || !parked.is_owed());
        let wanted: Vec<&Key> = waiting.iter().filter(is_wanted).map(|parked| &parked.key).collect();
        let (table, member) = (&self.tables[table], &mut self.members[node.index()]);
        let (Some(spec), Some(reader)) = (table.spec(node), member.node.as_deref_mut()) else { return Ok(waiting) };
        if wanted.is_empty() {
            return Ok(waiting);
        }
        let read = reader.waiting_rows(spec, &wanted).await;
        let read = read.map_err(Error::at(&member.name, "reading the rows that wait"))?;
        let mut read: HashMap<Key, Parked> = read.into_iter().map(|parked| (parked.key.clone(), parked)).collect();
        for parked in &mut waiting {
            if let Some(read) = read.remove(&parked.key) {
                *parked = table.as_it_counts(read);
            }
        }
        Ok(waiting)
    }
}

/// Up to which weight a table reads, and as many others after it. No other cycle follows for rows that only wait for the next one, and
/// each run may begin with the same table: it leaves something to the others.
fn share(weight: usize, until: usize, others: usize) -> usize {
    weight.saturating_add(until.saturating_sub(weight).div_ceil(others + 1))
}

/// For what rows wait shows when they are read: their table may have other columns by now.
fn tell_codes(known: &mut HashMap<Key, Parked>, read: &[Parked]) {
    for parked in read {
        if let Some(known) = known.get_mut(&parked.key) {
            known.code = parked.code;
            known.message.clone_from(&parked.message);
        }
    }
}

fn weight_of(parked: &Parked) -> usize {
    parked.content.row().map_or(0, |row| row.iter().map(Value::weight).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GIVEN tables of which rows pass, one of them with far more than there is room for
    /// WHEN it is the first, in the middle or the last
    /// THEN each has its share, to which comes what those before it have left, and they take no more together than there is room for.
    #[test]
    fn a_table_full_of_held_rows_leaves_something_to_the_others() {
        let full = usize::MAX;
        for (wanted, read) in [
            ([full, 10, 10], [100, 10, 10]),
            ([10, full, 10], [10, 145, 10]),
            ([10, 10, full], [10, 10, 280]),
            ([full, full, full], [100, 100, 100]),
        ] {
            let mut weight = 50;
            for (at, (wanted, read)) in wanted.into_iter().zip(read).enumerate() {
                let end = share(weight, 350, 2 - at);
                let reads = wanted.min(end - weight);
                assert_eq!(reads, read, "{wanted} at {at}");
                weight += reads;
            }
        }
        // One alone has all; where a lot was larger than thought, nothing is left.
        assert_eq!((share(50, 350, 0), share(400, 350, 1)), (350, 400));
    }
}
