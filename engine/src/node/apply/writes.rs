//! Writing rows: in chunks, of which those that fail are asked about, moved aside, and divided.

use super::looks::{ABSENT, altered_since};
use super::{Application, CHUNK, Effect, Item, tables_of};
use crate::fault;
use crate::model::{ForeignKey, ParkedCode, Row, TableSpec, Value};
use crate::node::portions::{LARGE, portions};
use crate::node::{Constraint, Error, ErrorKind, Node, Reason, Result, Room, WriteMode};

/// How often a chunk is sifted: whoever wants the value of a row that was taken out is found the next time.
const SIFTS: u32 = 3;

/// So many attempts fail, one after the other, at rows of a table that were refused before as they are; beyond, those that were not come
/// to wait on for the reason that was told. What is refused for what it is mostly is again, and all that was written stays locked meanwhile.
pub(super) const IN_VAIN: u32 = 500;

/// What rows may weigh, in bytes, that are written in one statement because they may refer to each other.
const MOST_AT_ONCE: usize = 4 * LARGE;

/// Rows that are tried together.
#[derive(Default)]
pub(super) struct Chunk {
    pub items: Vec<Item>,
    /// Whether it is known what stands in their way.
    pub asked: bool,
    /// Whether all of them may have to step aside, because nobody can tell which of them hold what others want.
    aside: bool,
    /// Whether everything that was to come has been taken in.
    joined: bool,
    /// How often those were taken out that cannot be written even if all step aside, and which.
    sifted: u32,
    sifted_out: Vec<Item>,
}

/// What became of a chunk.
pub(super) enum Outcome {
    Written,
    /// Some of its rows were refused; the others are to be tried again.
    Again,
    Failed(Error),
}

impl Chunk {
    pub fn of(items: Vec<Item>) -> Chunk {
        Chunk { items, ..Chunk::default() }
    }

    fn part(&self, items: &[Item]) -> Chunk {
        Chunk { items: items.to_vec(), sifted_out: Vec::new(), ..*self }
    }

    /// Takes in everything that is still to come; what was new to it.
    pub fn join(&mut self, left: &mut Vec<Chunk>) -> Vec<Item> {
        self.joined = true;
        let more: Vec<Item> = left.drain(..).rev().flat_map(|chunk| chunk.items).collect();
        self.items.extend_from_slice(&more);
        more
    }
}

impl<'a> Application<'a> {
    /// Writes the rows of tables that refer to each other, or of one table.
    pub(super) async fn write_group(&mut self, node: &mut dyn Node, group: &[usize]) -> Result<()> {
        let is_write = |effect: &Effect| matches!(effect, Effect::Write(..));
        let mut items: Vec<Item> = group.iter().flat_map(|&table| self.items(table, is_write)).collect();
        let again = self.take_refused(&mut items);
        let chunks = self.chunks(items).into_iter().chain(self.chunks(again)).map(Chunk::of).collect();
        self.write_chunks(node, chunks).await
    }

    /// Takes out the rows that were refused before as they are, if they are so many that perhaps not each is come to: they neither
    /// hold up the others, nor are the same ones always the first.
    pub(super) fn take_refused(&self, items: &mut Vec<Item>) -> Vec<Item> {
        // Halving a chunk down to each of its rows takes two attempts for each.
        if items.iter().filter(|item| self.was_refused(**item)).count() <= IN_VAIN as usize / 2 {
            return Vec::new();
        }
        let (mut again, new): (Vec<Item>, Vec<Item>) =
            std::mem::take(items).into_iter().partition(|item| self.was_refused(*item));
        *items = new;
        let first = uuid::Uuid::new_v4().as_u128() % again.len() as u128;
        again.rotate_left(first as usize);
        again
    }

    /// Whether a row waits because the database refused the very version that is to be written now.
    fn was_refused(&self, item: Item) -> bool {
        let decision = self.decision(item);
        let (Some(waits), Some(otherwise)) = (&decision.waiting, &decision.otherwise) else { return false };
        matches!(waits.code, ParkedCode::Constraint | ParkedCode::Value)
            && waits.vector == otherwise.vector
            && waits.standing == otherwise.standing
    }

    /// Whether an attempt failed at nothing but such rows.
    pub(super) fn is_again(&self, items: &[Item], error: &Error) -> bool {
        !self.is_held(error) && items.iter().all(|&item| self.was_refused(item))
    }

    /// Lets rows wait on for the reason that was told, unless they can be had at the end of the batch.
    pub(super) fn give_up_again(&mut self, items: &[Item]) {
        for &item in items {
            if let Some(waits) = &self.decision(item).waiting {
                self.give_up(item, Reason { code: waits.code, message: waits.message.clone(), unique: false });
            }
        }
        self.spare(items);
    }

    /// Lets rows wait on for the reason that was told.
    fn leave_refused(&mut self, items: &[Item]) {
        for &item in items {
            if let Some(waits) = &self.decision(item).waiting {
                self.refuse(item, waits.code, waits.message.clone());
            }
        }
        self.spare(items);
    }

    /// Notes that nobody came to these rows, as with those that are left when all are tried once more. Others were come to before.
    fn spare(&mut self, items: &[Item]) {
        if !self.retries {
            self.spared.extend(items);
        }
    }

    /// Writes chunks, and finds the rows that cannot be written: by asking what stands in their way, and where that does
    /// not tell all by halving. Rows that need each other are not parted.
    ///
    /// A chunk is asked about only when it has taken in others since, and sifted only a few times, so however many rows are
    /// to blame there are no more attempts than a few times those that halving needs.
    pub(super) async fn write_chunks(&mut self, node: &mut dyn Node, mut left: Vec<Chunk>) -> Result<()> {
        left.reverse();
        self.pending = None;
        self.in_vain = 0;
        while let Some(mut chunk) = left.pop() {
            chunk.items.retain(|&item| !self.is_out(item));
            if chunk.items.is_empty() {
                continue;
            }
            match self.attempt(node, &chunk).await? {
                Outcome::Written => self.in_vain = 0,
                Outcome::Again => left.push(chunk),
                Outcome::Failed(error) => {
                    // Whatever made it fail, as another order of the same rows might have failed otherwise.
                    let held = self.is_held(&error);
                    let learned = !held && !chunk.asked && self.ask(node, &mut chunk, &mut left, &error).await?;
                    if learned || !held && self.make_way(node, &mut chunk, &mut left).await? {
                        left.push(chunk);
                        continue;
                    }
                    let all_again = self.is_again(&chunk.items, &error);
                    self.in_vain += u32::from(all_again);
                    let middle = self.needs.middle(&chunk.items).filter(|_| self.divides(&error));
                    if all_again && self.in_vain > IN_VAIN && middle.is_some() {
                        self.leave_refused(&chunk.items);
                    } else if let Some(middle) = middle {
                        let (first, second) = chunk.items.split_at(middle);
                        left.extend([chunk.part(second), chunk.part(first)]);
                    } else {
                        self.give_up_together(&chunk.items, &error);
                    }
                }
            }
        }
        Ok(())
    }

    /// Where nobody can tell which rows hold the unique values that others want, all step aside, and those are taken out that
    /// cannot be written even then. If that leaves others without their values, everything that is to come takes part.
    /// Whether there is reason to try again.
    async fn make_way(&mut self, node: &mut dyn Node, chunk: &mut Chunk, left: &mut Vec<Chunk>) -> Result<bool> {
        if !self.has_untold(chunk) {
            return Ok(false);
        }
        if !chunk.aside {
            chunk.aside = true;
        } else if chunk.sifted == 0 {
            chunk.sifted_out = self.sift(node, chunk).await?;
            chunk.sifted = 1;
        } else if !chunk.joined {
            for item in std::mem::take(&mut chunk.sifted_out) {
                self.stuck.remove(&item);
                chunk.items.push(item);
            }
            chunk.asked = chunk.join(left).is_empty();
        } else if chunk.sifted < SIFTS {
            chunk.sifted = if self.sift(node, chunk).await?.is_empty() { SIFTS } else { chunk.sifted + 1 };
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Tries to write a chunk. Where rows pass unique values among each other, those that hold them step aside first.
    async fn attempt(&mut self, node: &mut dyn Node, chunk: &Chunk) -> Result<Outcome> {
        let holders = self.needs.holders(&chunk.items);
        let plain = holders.is_empty().then_some(None);
        let aside = if chunk.aside { &chunk.items } else { &holders };
        let rooms = [Room::Null, Room::Drawn].into_iter().filter(|_| !aside.is_empty());
        let mut outcome = Outcome::Again;
        for aside in plain.into_iter().chain(rooms.map(|room| Some((room, &aside[..])))) {
            outcome = self.write(node, chunk, aside).await?;
            if !matches!(&outcome, Outcome::Failed(error) if is_unique(error)) {
                break;
            }
        }
        Ok(outcome)
    }

    /// Writes a chunk under a savepoint, after rows have stepped aside if they are to, and looks at what was written.
    async fn write(&mut self, node: &mut dyn Node, chunk: &Chunk, aside: Option<(Room, &[Item])>) -> Result<Outcome> {
        fault::point("apply-attempt").await?;
        node.savepoint().await?;
        let written = async {
            if let Some((room, items)) = aside {
                self.make_room(node, items, room).await?;
            }
            self.write_items(node, &chunk.items).await
        };
        let written = match written.await {
            Ok(written) => written,
            Err(error) if self.is_about_rows(&error) => {
                node.undo().await?;
                return Ok(Outcome::Failed(error));
            }
            Err(error) => return Err(error),
        };
        let changed = self.refuse_what_changed(node, &chunk.items).await?;
        let all = written == chunk.items.len() as u64;
        if self.refuse_what_altered(node, &chunk.items, all).await? || changed {
            node.undo().await?;
            return Ok(Outcome::Again);
        }
        node.release().await?;
        self.written += written;
        for &item in &chunk.items {
            let key = &self.decision(item).key;
            self.pending.iter_mut().for_each(|pending| pending.remove(item, key));
        }
        Ok(Outcome::Written)
    }

    /// Writes rows, those of parents first: while the rows of a table are written, nobody records what references do to others of
    /// it by themselves, so no table is written beside those that it refers to unless these refer to it as well.
    pub(super) async fn write_items(&self, node: &mut dyn Node, items: &[Item]) -> Result<u64> {
        let parts = self.in_order(items);
        if parts.len() < 2 {
            return self.write_part(node, items).await;
        }
        node.savepoint().await?;
        match self.write_parts(node, &parts).await {
            Ok(written) => {
                node.release().await?;
                return Ok(written);
            }
            Err(error) if self.is_about_rows(&error) => {
                node.undo().await?;
                // A parent that keeps its children's references from breaking is not written before them.
                if error.kind != ErrorKind::Constraint(Constraint::Reference) {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        self.write_part(node, items).await
    }

    /// The same rows by the groups of their tables, parents first.
    fn in_order(&self, items: &[Item]) -> Vec<Vec<Item>> {
        if tables_of(items).len() < 2 {
            return vec![items.to_vec()];
        }
        let of = |group: &Vec<usize>| items.iter().filter(|item| group.contains(&item.0)).copied().collect::<Vec<_>>();
        self.batch.order.iter().map(of).filter(|part| !part.is_empty()).collect()
    }

    async fn write_parts(&self, node: &mut dyn Node, parts: &[Vec<Item>]) -> Result<u64> {
        let mut written = 0;
        for part in parts {
            written += self.write_part(node, part).await?;
        }
        Ok(written)
    }

    async fn write_part(&self, node: &mut dyn Node, items: &[Item]) -> Result<u64> {
        let mut written = 0;
        let weight = |item: &Item| self.row(*item).map_or(0, |(row, _)| row.iter().map(Value::weight).sum::<usize>());
        // What no statement takes is not written together either.
        let is_one = self.belong_together(items) && items.iter().map(weight).sum::<usize>() <= MOST_AT_ONCE;
        let parts: Vec<&[Item]> = match is_one {
            true => vec![items],
            false => portions(items.iter().map(weight), CHUNK).into_iter().map(|part| &items[part]).collect(),
        };
        for items in parts {
            written += self.write_at_once(node, items).await?;
            let moved = self.moved_along(node, items).await?;
            if !moved.is_empty() {
                self.write_at_once(node, &moved).await?;
            }
        }
        Ok(written)
    }

    /// Those of the rows that were just written which stand differently, because a reference among them handed on that the row to
    /// which they referred before gave up a value: another has it now, to which they were written to refer. Written once more they
    /// stay, as no row gives up anything then.
    async fn moved_along(&self, node: &mut dyn Node, items: &[Item]) -> Result<Vec<Item>> {
        let tables = tables_of(items);
        let mut moved = Vec::new();
        for &table in tables.iter().filter(|table| self.may_move_along(**table, &tables)) {
            // A row that may only be created may rightly be another.
            let is_whole = |item: &&Item| {
                item.0 == table && self.row(**item).is_some_and(|(_, mode)| mode != WriteMode::InsertOnly)
            };
            let items: Vec<Item> = items.iter().filter(is_whole).copied().collect();
            for chunk in items.chunks(CHUNK) {
                let rows: Vec<&Row> = self.rows_of(chunk, table).into_iter().map(|(row, _)| row).collect();
                let altered = altered_since(node, &self.batch.tables[table].spec, &rows).await?;
                let places = self.by_key(chunk, table);
                let there = altered.iter().filter(|(_, column)| column != ABSENT);
                moved.extend(there.filter_map(|(key, _)| places.get(key).copied()));
            }
        }
        Ok(moved)
    }

    /// Whether rows of a table refer to rows of these by other columns than the key, which change as they are written.
    fn may_move_along(&self, table: usize, tables: &[usize]) -> bool {
        let leads_beside_key = |reference: &ForeignKey, parent: &TableSpec| {
            let is_key = |name: &String| parent.key_columns().any(|column| column.name == *name);
            parent.local == reference.referenced_table
                && parent.schema == reference.referenced_schema
                && !reference.referenced_columns.iter().all(is_key)
        };
        let parents = || tables.iter().map(|&parent| &*self.batch.tables[parent].spec);
        let references = &self.batch.tables[table].spec.references;
        references.iter().any(|reference| parents().any(|parent| leads_beside_key(reference, parent)))
    }

    async fn write_at_once(&self, node: &mut dyn Node, items: &[Item]) -> Result<u64> {
        let mut groups: Vec<(&TableSpec, Vec<&Row>, WriteMode)> = Vec::new();
        for table in tables_of(items) {
            let rows = self.rows_of(items, table);
            for mode in [WriteMode::Upsert, WriteMode::InsertOnly, WriteMode::UpdateOnly] {
                let rows: Vec<&Row> = rows.iter().filter(|(_, m)| *m == mode).map(|(row, _)| *row).collect();
                if !rows.is_empty() {
                    groups.push((&self.batch.tables[table].spec, rows, mode));
                }
            }
        }
        let groups: Vec<_> = groups.iter().map(|(spec, rows, mode)| (*spec, &rows[..], *mode)).collect();
        node.write(&groups).await
    }

    /// The rows of a chunk that go to one table.
    pub(super) fn rows_of(&self, items: &[Item], table: usize) -> Vec<(&'a Row, WriteMode)> {
        items.iter().filter(|item| item.0 == table).filter_map(|&item| self.row(item)).collect()
    }

    /// What is to be written.
    pub(super) fn row(&self, item: Item) -> Option<(&'a Row, WriteMode)> {
        match &self.decision(item).effect {
            Effect::Write(row, mode) => Some((row, *mode)),
            _ => None,
        }
    }

    /// Finds the rows of a chunk that cannot be written although all of them step aside, by halving; they wait, and the
    /// others are as they were. Of those that were refused before perhaps not each is come to.
    async fn sift(&mut self, node: &mut dyn Node, chunk: &Chunk) -> Result<Vec<Item>> {
        for room in [Room::Null, Room::Drawn] {
            node.savepoint().await?;
            match self.make_room(node, &chunk.items, room).await {
                Ok(()) => {}
                Err(error) if self.is_about_rows(&error) => {
                    node.undo().await?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            let (mut bad, mut again) = (Vec::new(), Vec::new());
            let mut left = vec![&chunk.items[..]];
            while let Some(items) = left.pop() {
                fault::point("apply-attempt").await?;
                node.savepoint().await?;
                match self.write_items(node, items).await {
                    Ok(_) => {
                        node.release().await?;
                        self.in_vain = 0;
                    }
                    Err(error) if self.is_about_rows(&error) => {
                        node.undo().await?;
                        let all_again = self.is_again(items, &error);
                        self.in_vain += u32::from(all_again);
                        match items {
                            items if items.len() == 1 || !self.divides(&error) => bad.push((items, error)),
                            items if all_again && self.in_vain > IN_VAIN => again.extend_from_slice(items),
                            items => {
                                let (first, second) = items.split_at(items.len() / 2);
                                left.extend([second, first]);
                            }
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
            node.undo().await?;
            self.leave_refused(&again);
            for (items, error) in &bad {
                self.give_up_together(items, error);
            }
            return Ok(bad.into_iter().flat_map(|(items, _)| items).copied().collect());
        }
        Ok(Vec::new())
    }

    /// Moves unique values of rows that are written next out of each other's way.
    pub(super) async fn make_room(&self, node: &mut dyn Node, items: &[Item], room: Room) -> Result<()> {
        for table in tables_of(items) {
            // A row that may only be created is not written where it stands, and would stay as it was moved.
            let rows = self.rows_of(items, table).into_iter().filter(|(_, mode)| *mode != WriteMode::InsertOnly);
            let rows: Vec<&Row> = rows.map(|(row, _)| row).collect();
            for rows in rows.chunks(CHUNK) {
                let made = node.make_room(&self.batch.tables[table].spec, rows, room).await;
                made.map_err(|error| match error.is_about_rows() {
                    // The rows themselves may be right: what they step aside to is not.
                    true => Error::new(
                        ErrorKind::Constraint(Constraint::Unique),
                        format!("rows that pass unique values among each other cannot step aside: {error}"),
                    ),
                    false => error,
                })?;
            }
        }
        Ok(())
    }

    /// A unique value stood in the way: a row that this batch deletes anyway may hold it. Whether there were any.
    pub(super) async fn delete_early(&mut self, node: &mut dyn Node, items: &[Item]) -> Result<bool> {
        let before = self.deleted;
        for table in tables_of(items) {
            if self.deleted_early.insert(table) {
                let deletes = self.items(table, |effect| matches!(effect, Effect::Delete));
                self.delete_chunks(node, deletes).await?;
            }
        }
        Ok(self.deleted > before)
    }

    /// Whether a table has unique values of which nobody can tell which rows share them.
    fn has_untold(&self, chunk: &Chunk) -> bool {
        tables_of(&chunk.items).into_iter().any(|table| {
            let spec = &self.batch.tables[table].spec;
            spec.uniques.iter().any(|unique| spec.told_by(unique).is_none())
        })
    }

    /// Gives up a row, or rows of which none can be written without the others.
    pub(super) fn give_up_together(&mut self, items: &[Item], error: &Error) {
        if self.is_held(error) {
            return self.put_off(items);
        }
        for &item in items {
            let mut reason = Reason::of(error);
            if let Some(help) = self.lets_go(item, error) {
                reason.message = format!("{help}: {}", reason.message);
            }
            if let Some(need) = self.needs.reason(item).filter(|_| items.len() > 1) {
                let rows = items.len();
                let message = format!("{}; {rows} rows that need each other cannot be written: {error}", need.message);
                reason = Reason { message, ..need.clone() };
            }
            self.give_up(item, reason);
        }
    }
}

pub(super) fn is_unique(error: &Error) -> bool {
    error.kind == ErrorKind::Constraint(Constraint::Unique)
}
