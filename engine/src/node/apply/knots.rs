//! Rows that cannot be written before others are deleted, which cannot be deleted before these are written: a row that goes
//! holds a unique value that another wants, and rows refer to it that are to refer to that other.

use std::collections::{BTreeMap, BTreeSet};

use super::writes::Outcome;
use super::{Application, CHUNK, Effect, Item, Needs, tables_of};
use crate::fault;
use crate::model::{Row, Value};
use crate::node::{Constraint, Error, ErrorKind, Node, Reason, Result, Room};

impl Needs {
    /// Of the rows that are stuck those that hang together.
    fn knots(&self, stuck: &BTreeMap<Item, Reason>) -> Vec<BTreeSet<Item>> {
        let mut near: BTreeMap<Item, Vec<Item>> = BTreeMap::new();
        let is_stuck = |(item, other): &(Item, Item)| stuck.contains_key(item) && stuck.contains_key(other);
        for (item, other) in self.pairs().filter(is_stuck) {
            near.entry(item).or_default().push(other);
            near.entry(other).or_default().push(item);
        }
        let mut knots = Vec::new();
        while let Some((&first, _)) = near.first_key_value() {
            let (mut knot, mut next) = (BTreeSet::new(), vec![first]);
            while let Some(item) = next.pop() {
                if knot.insert(item) {
                    next.extend(near.remove(&item).unwrap_or_default());
                }
            }
            knots.push(knot);
        }
        knots
    }
}

impl Application<'_> {
    /// Tries what hangs together once more: what goes steps aside, the others are written, and it is deleted. Either all of it is
    /// done or nothing, as a row that stays is not to have stepped aside. Whether anything was.
    ///
    /// All knots are tried at once, and halved where that fails.
    pub(super) async fn untie(&mut self, node: &mut dyn Node) -> Result<bool> {
        let is_delete = |item: &Item| matches!(self.decision(*item).effect, Effect::Delete);
        let knots = self.needs.knots(&self.stuck).into_iter();
        let mut left = vec![knots.filter(|knot| knot.iter().any(is_delete)).collect::<Vec<_>>()];
        let mut untied = false;
        while let Some(mut knots) = left.pop() {
            knots.retain(|knot| !knot.iter().any(|item| self.refused.contains_key(item)));
            if knots.is_empty() {
                continue;
            }
            let items = knots.iter().flatten().copied();
            let (deletes, mut writes): (Vec<Item>, Vec<Item>) =
                items.partition(|item| matches!(self.decision(*item).effect, Effect::Delete));
            self.needs.sort(&mut writes);
            match self.write_before_deletes(node, &writes, &deletes).await? {
                Outcome::Written => {
                    writes.iter().chain(&deletes).for_each(|item| drop(self.stuck.remove(item)));
                    untied = true;
                }
                Outcome::Again => left.push(knots),
                Outcome::Failed(error) if knots.len() > 1 && self.divides(&error) => {
                    let second = knots.split_off(knots.len() / 2);
                    left.extend([second, knots]);
                }
                Outcome::Failed(_) => {}
            }
        }
        // Of several reasons the one that no other row can change is told.
        self.stuck.retain(|item, _| !self.refused.contains_key(item));
        Ok(untied)
    }

    async fn write_before_deletes(
        &mut self,
        node: &mut dyn Node,
        writes: &[Item],
        deletes: &[Item],
    ) -> Result<Outcome> {
        let mut outcome = Outcome::Again;
        for room in [Room::Null, Room::Drawn] {
            fault::point("apply-attempt").await?;
            node.savepoint().await?;
            outcome = match self.write_and_delete(node, writes, deletes, room).await {
                Ok(Some((written, deleted))) => {
                    node.release().await?;
                    self.written += written;
                    self.deleted += deleted;
                    return Ok(Outcome::Written);
                }
                Ok(None) => {
                    node.undo().await?;
                    return Ok(Outcome::Again);
                }
                Err(error) if self.is_about_rows(&error) => {
                    node.undo().await?;
                    Outcome::Failed(error)
                }
                Err(error) => return Err(error),
            };
        }
        Ok(outcome)
    }

    /// How many rows were written and how many deleted; `None` if some were refused.
    async fn write_and_delete(
        &mut self,
        node: &mut dyn Node,
        writes: &[Item],
        deletes: &[Item],
        room: Room,
    ) -> Result<Option<(u64, u64)>> {
        self.step_aside(node, deletes, room).await?;
        self.make_room(node, &self.needs.holders(writes), room).await?;
        let written = self.write_items(node, writes).await?;
        let changed = self.refuse_what_changed(node, writes).await?;
        let all = written == writes.len() as u64;
        if self.refuse_what_altered(node, writes, all).await? || changed {
            return Ok(None);
        }
        let stays = |why| Error::new(ErrorKind::Constraint(Constraint::Reference), why);
        if self.refuse_what_is_referred(node, deletes).await? {
            return Err(stays("other rows would go along"));
        }
        let deleted = self.delete_items(node, deletes).await?;
        if deleted < deletes.len() as u64 {
            return Err(stays("not all rows that are to go are there"));
        }
        Ok((!self.refuse_what_changed(node, deletes).await?).then_some((written, deleted)))
    }

    /// Moves unique values of rows that are deleted next, of which only the keys are known. NULL is in nobody's way.
    async fn step_aside(&self, node: &mut dyn Node, deletes: &[Item], room: Room) -> Result<()> {
        for table in tables_of(deletes) {
            let spec = &self.batch.tables[table].spec;
            let row = |key| {
                let mut row: Row = vec![Value::Null; spec.columns.len()].into();
                for (&at, value) in spec.key.iter().zip(spec.local_key(key)?) {
                    row[at] = value;
                }
                Ok(row)
            };
            let rows: std::result::Result<Vec<Row>, String> =
                self.keys_of(deletes, table).into_iter().map(row).collect();
            let rows = rows.map_err(|why| Error::new(ErrorKind::Other, why))?;
            for rows in rows.chunks(CHUNK) {
                node.make_room(spec, &rows.iter().collect::<Vec<_>>(), room).await?;
            }
        }
        Ok(())
    }
}
