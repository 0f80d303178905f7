//! What is new at each node since the others last applied it.

use std::sync::Arc;

use super::opened::Opened;
use super::table::Table;
use crate::model::{Cut, Entry, EntryId, NodeId, TableSpec};
use crate::node::{self, Node};

/// The new entries of one table at one node.
#[derive(Debug)]
pub struct Page {
    pub entries: Vec<Entry>,
    after: Cut,
    whole: Cut,
    reach: Reach,
}

/// How far a page goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Everything that is visible.
    Whole,
    /// The transactions up to this mark.
    Through(i64),
    /// The transactions before this mark, and of that one the entries up to this id: it is too large for one batch.
    Inside(i64, i64),
}

impl Page {
    /// Whether more is visible than the page holds.
    pub fn is_partial(&self) -> bool {
        self.reach != Reach::Whole
    }

    /// Everything that the snapshot shows in which the page was read.
    pub fn visible(&self) -> &Cut {
        &self.whole
    }

    /// Whether nothing before this cut is left to read behind the page.
    pub fn reaches(&self, goal: &Cut) -> bool {
        !self.is_partial() || self.cut().includes(goal)
    }

    /// Whether the snapshot that the page was read in shows everything before a position.
    pub fn shows(&self, position: &Cut) -> bool {
        self.whole.includes(position)
    }

    /// Up to where the page goes.
    pub fn cut(&self) -> Cut {
        match self.reach {
            Reach::Whole => self.whole.clone(),
            Reach::Through(mark) => self.after.advance_to(&self.whole, mark),
            Reach::Inside(..) => self.position(&self.after),
        }
    }

    /// The position of a target that has applied this page, having stood at `from`.
    ///
    /// It ends with the last entry, although more may be visible: where a database is put back to a moment after that entry,
    /// all later numbers are given out anew.
    pub fn position(&self, from: &Cut) -> Cut {
        match (self.reach, self.entries.last()) {
            (Reach::Inside(mark, id), _) => from.advance_to(&self.whole, mark - 1).extend_inside(mark, id),
            (_, Some(last)) => from.advance_to(&self.whole, last.mark),
            (_, None) => from.clone(),
        }
    }

    /// The last entries that a target passes, having stood at `from`: by their marks and by their ids. The transaction
    /// that was the last to commit is mostly one of these, and where marks are ids it is exactly known.
    ///
    /// None of them lies before `from`, so whoever still believes the target there does not purge them.
    pub fn last_passed(&self, from: &Cut) -> Vec<EntryId> {
        let mut passed = self.entries.iter().filter(|entry| !from.contains(entry.mark, entry.id));
        let by_id = passed.clone().max_by_key(|entry| entry.id);
        let ids = passed.next_back().into_iter().chain(by_id);
        let mut ids: Vec<EntryId> =
            ids.map(|entry| EntryId { mark: entry.mark, id: entry.id, time: entry.time }).collect();
        ids.dedup();
        ids
    }
}

/// From where the history of a source has to be read so that every target that takes part gets what it lacks; `None` if
/// nobody takes the table from there.
pub fn start(table: &Table, source: NodeId, opened: &Opened) -> Option<Cut> {
    if !table.is_source(source) || table.stopped.is_some() || table.spec(source).is_none() {
        return None;
    }
    let takes = |target: NodeId| target != source && table.is_target(target) && table.spec(target).is_some();
    let targets = opened.nodes().map(|(target, _)| target).filter(|&target| takes(target));
    targets.map(|target| opened.position(table.index, target, source).clone()).reduce(|a, b| a.meet(&b))
}

/// Reads the new entries of one node, at most about twice `limit` in all, and divides only between transactions where the
/// node's marks number transactions. A single transaction above the limit is divided all the same.
///
/// Tables that record images are read whole: every change of such a row has to be at hand to be counted.
pub async fn pages(
    node: &mut dyn Node,
    tables: &[(Arc<TableSpec>, Cut)],
    shared_marks: bool,
    limit: usize,
) -> node::Result<Vec<Page>> {
    let mut pages: Vec<Page> = Vec::with_capacity(tables.len());
    // Whatever the tables before it have left, each may fill its share: what is oldest in it has to go first.
    let share = (limit / tables.len().max(1)).max(1);
    let mut left = limit;
    let mut bound: Option<i64> = None;
    for (spec, after) in tables {
        let whole = !spec.images.is_empty();
        let (through, wanted) = if whole { (None, usize::MAX) } else { (bound, left.max(share)) };
        let read = node.entries(spec, after, through, wanted).await?;
        left = left.saturating_sub(read.entries.len());
        let mut reach = Reach::Whole;
        if let Some(last) = read.entries.last().filter(|_| read.more) {
            // The last transaction may have more entries, here or in another table.
            bound = shared_marks.then_some(last.mark - 1);
            reach = Reach::Through(last.mark);
        }
        pages.push(Page { entries: read.entries, after: after.clone(), whole: read.whole, reach });
    }
    let Some(bound) = bound else { return Ok(pages) };
    for (page, _) in divisible(&mut pages, tables) {
        page.entries.retain(|entry| entry.mark <= bound);
        page.reach = Reach::Through(bound);
    }
    if divisible(&mut pages, tables).all(|(page, _)| page.entries.is_empty()) {
        one_transaction(node, divisible(&mut pages, tables), bound + 1, limit).await?;
    }
    Ok(pages)
}

/// The pages that need not hold all there is, with their tables.
fn divisible<'a>(
    pages: &'a mut [Page],
    tables: &'a [(Arc<TableSpec>, Cut)],
) -> impl Iterator<Item = (&'a mut Page, &'a TableSpec)> {
    let all = pages.iter_mut().zip(tables).map(|(page, (spec, _))| (page, &**spec));
    all.filter(|(_, spec)| spec.images.is_empty())
}

/// Reads the oldest new transaction, which is larger than the room that there was for it. It has all the room now, or no
/// cycle would ever come past it; what is too large all the same is divided.
async fn one_transaction<'a>(
    node: &mut dyn Node,
    pages: impl Iterator<Item = (&'a mut Page, &'a TableSpec)>,
    mark: i64,
    limit: usize,
) -> node::Result<()> {
    let mut left = limit.max(1);
    for (page, spec) in pages {
        if left == 0 {
            continue;
        }
        let read = node.entries(spec, &page.after, Some(mark), left).await?;
        page.reach = match read.entries.last() {
            Some(last) if read.more => Reach::Inside(mark, last.id),
            _ => Reach::Through(mark),
        };
        left = if read.more { 0 } else { left.saturating_sub(read.entries.len()) };
        page.entries = read.entries;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Op, Value};

    fn page(entries: &[(i64, i64)], whole: Cut, reach: Reach) -> Page {
        let entry = |&(mark, id): &(i64, i64)| Entry {
            id,
            mark,
            op: Op::Update,
            time: 1_000 + id,
            key: vec![Value::Int(id)].into(),
            arrival: None,
            images: None,
        };
        Page { entries: entries.iter().map(entry).collect(), after: Cut::START, whole, reach }
    }

    /// Numbers beyond it may be given out anew after a restore, and would count as passed.
    #[test]
    fn a_position_ends_with_the_last_entry() {
        let from = Cut::new(8, vec![5]);
        let whole = page(&[(5, 2), (9, 3)], Cut::new(20, vec![6, 12]), Reach::Whole);
        assert_eq!(whole.position(&from), Cut::new(10, vec![6]));
        assert_eq!(whole.cut(), Cut::new(20, vec![6, 12]));
        let part = page(&[(5, 2), (9, 3)], Cut::new(20, vec![6, 12]), Reach::Through(15));
        assert_eq!(part.position(&from), Cut::new(10, vec![6]));
        let inside = page(&[(9, 3), (9, 4)], Cut::new(20, vec![]), Reach::Inside(9, 4));
        assert_eq!(inside.position(&from), Cut::new(9, vec![]).extend_inside(9, 4));
    }

    #[test]
    fn the_last_that_is_passed_was_not_passed_before() {
        let ids = |entries: Vec<EntryId>| entries.iter().map(|entry| (entry.mark, entry.id)).collect::<Vec<_>>();
        let page = page(&[(4, 9), (5, 6), (7, 5)], Cut::new(8, vec![]), Reach::Whole);
        assert_eq!(ids(page.last_passed(&Cut::START)), [(7, 5), (4, 9)]);
        assert_eq!(ids(page.last_passed(&Cut::through(4))), [(7, 5), (5, 6)]);
        assert_eq!(ids(page.last_passed(&Cut::new(8, vec![5]))), [(5, 6)]);
    }
}
