//! How a batch of decisions is written to one database: the same for every kind, in terms of [`Node`]'s primitives.
//!
//! The order of events is what keeps promises 12 to 15. Positions are claimed first, so that of two engines one gives
//! up. Rows are written before anybody looks for changes that were not read: once a row is written it is locked, and
//! whatever a user committed to it before that is visible by then. Those rows are undone and wait. Everything else
//! commits together with its notes, its journal and its positions.

mod batch;
mod books;
pub mod early;
mod knots;
mod looks;
mod obstacles;
mod place;
mod writes;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use tracing::debug;

pub use self::batch::{Applied, Batch, Decision, Effect, Otherwise, TableBatch};
use self::early::{Begun, Early};
pub use self::looks::lock_and_touch;
use self::obstacles::{Needs, Pending};
pub use self::place::Place;
use self::writes::{Chunk, IN_VAIN};
use super::{Constraint, Error, ErrorKind, Move, Node, Reason, Result};
use crate::fault;
use crate::model::{ForeignKey, Key, Parked, ParkedCode, TableSpec};

/// Rows in one statement: few round trips, and not too much to undo when a row is refused. Other sizes were not measured.
const CHUNK: usize = 5_000;

/// How often a batch that met a deadlock or a lock time-out is tried before the cycle gives up on this node.
const ATTEMPTS: u32 = 6;

/// After this there is no third attempt, and a wary one divides no further what somebody holds up: the other nodes wait for
/// the end of the cycle.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes a batch. A deadlock or a lost race for a lock is tried again with a growing, random pause, and warily: whatever
/// somebody still holds up then is left to the next cycle. `place` says whose turn it is, and `early` what was written already.
pub async fn apply(node: &mut dyn Node, batch: &Batch, mut place: Place, early: Early) -> Result<Applied> {
    let specs: Vec<TableSpec> = batch.tables.iter().map(|table| (*table.spec).clone()).collect();
    // Nothing is locked here while others are waited for.
    if !place.comes().await {
        place.pass_on(false);
        return Ok(Applied { overtaken: true, ..Applied::default() });
    }
    let mut start = Instant::now();
    let (mut attempt, mut begun) = match early {
        Early::Nothing => (1, None),
        Early::Warily(waited) => {
            start = start.checked_sub(waited).unwrap_or(start);
            (2, None)
        }
        Early::Begun(begun) if begun.fits(batch) => (1, Some(begun)),
        Early::Begun(_) => {
            node.rollback().await?;
            (1, None)
        }
        Early::Unbegun(error) | Early::Failed(error) => return Err(error),
    };
    loop {
        fault::point("apply-begin").await?;
        let begun = begun.take();
        // Where beginning takes a lock, it has been waited for as long as is worth it.
        match batch.bare {
            _ if begun.is_some() => {}
            true => node.begin_mend(&specs).await?,
            false => node.begin_apply(&specs).await?,
        }
        let error = match Application::new(batch, begun).run(node, &specs, attempt > 1, &mut place).await {
            Ok(applied) => return Ok(Applied { took: start.elapsed(), ..applied }),
            Err(error) => error,
        };
        node.rollback().await?;
        let again = matches!(error.kind, ErrorKind::Retry | ErrorKind::Locked);
        if !again || attempt == ATTEMPTS || attempt > 1 && start.elapsed() > PATIENCE {
            return Err(error);
        }
        debug!(%error, attempt, "Applying again.");
        tokio::time::sleep(pause(attempt)).await;
        attempt += 1;
    }
}

/// Whether the same waits for keys (with the indexes of their tables) as when they were read. Positions have to be claimed.
pub async fn waits_as_read(
    node: &mut dyn Node,
    specs: &[TableSpec],
    read: &[(usize, &Key, Option<&Parked>)],
) -> Result<bool> {
    if read.is_empty() {
        return Ok(true);
    }
    let keys_of =
        |spec: &TableSpec| read.iter().filter(|(table, ..)| *table == spec.index).map(|(_, key, _)| *key).collect();
    let groups: Vec<(&TableSpec, Vec<&Key>)> = specs.iter().map(|spec| (spec, keys_of(spec))).collect();
    let groups: Vec<_> =
        groups.iter().filter(|(_, keys)| !keys.is_empty()).map(|(spec, keys)| (*spec, &keys[..])).collect();
    let now = node.waiting_now(&groups).await?;
    let now: HashMap<(usize, &Key), &Parked> = now.iter().map(|waits| ((waits.table, &waits.key), waits)).collect();
    Ok(read.iter().all(|&(table, key, then)| match (then, now.get(&(table, key))) {
        (None, None) => true,
        (Some(then), Some(now)) => then.is(now),
        _ => false,
    }))
}

/// Fails where triggers of this very sync record the tables, which are held: they would take what is written for users' changes, and
/// somebody with a former file carries these.
async fn refuse_recorded(node: &mut dyn Node, sync: &str, specs: &[TableSpec]) -> Result<()> {
    let recorded = node.recorded(sync, specs).await.map_err(|error| error.while_doing("reading the service tables"))?;
    match specs.iter().find(|spec| recorded.contains(&spec.index)) {
        None => Ok(()),
        Some(spec) => Err(Error::changed(spec, ": triggers record it again")),
    }
}

/// Grows with the attempts; the random half keeps two engines from meeting again.
fn pause(attempt: u32) -> Duration {
    let random = u64::from(uuid::Uuid::new_v4().as_bytes()[0]);
    Duration::from_millis((10 << attempt) * (256 + random) / 512)
}

/// One decision, by table and place in [`TableBatch::decisions`].
type Item = (usize, usize);

/// The state of one attempt.
struct Application<'a> {
    batch: &'a Batch,
    refused: HashMap<Item, Reason>,
    /// Refused by the database, but perhaps only because another row of the batch comes later.
    stuck: BTreeMap<Item, Reason>,
    /// How many rows were written and deleted when the first of them got stuck.
    stuck_since: u64,
    needs: Needs,
    /// Known once it was asked what stands in the way of one of the rows that are being written.
    pending: Option<Pending<'a>>,
    deleted_early: HashSet<usize>,
    written: u64,
    deleted: u64,
    /// Those that a user holds locked.
    held: HashSet<Item>,
    /// Those that become changes of their own, and are locked.
    touched: HashSet<Item>,
    /// Those that were to, and could not be locked, or have been changed since.
    untouched: HashSet<Item>,
    /// After an attempt that waited in vain: until when the rows are looked for that somebody holds up.
    wary: Option<Instant>,
    /// What was written in the same transaction before.
    begun: Option<Begun>,
    /// How many attempts to write in a row have failed at rows that were refused before.
    in_vain: u32,
    /// Those that were refused before, and to which this attempt has not come.
    spared: HashSet<Item>,
    /// Whether those that got stuck are tried once more.
    retries: bool,
}

impl<'a> Application<'a> {
    fn new(batch: &'a Batch, begun: Option<Begun>) -> Self {
        Application {
            batch,
            refused: HashMap::new(),
            stuck: BTreeMap::new(),
            stuck_since: 0,
            needs: Needs::default(),
            pending: None,
            deleted_early: HashSet::new(),
            written: begun.as_ref().map_or(0, |begun| begun.written),
            deleted: 0,
            held: HashSet::new(),
            touched: HashSet::new(),
            untouched: HashSet::new(),
            wary: None,
            begun,
            in_vain: 0,
            spared: HashSet::new(),
            retries: false,
        }
    }

    /// `wary` after an attempt that waited for a lock in vain: rows that somebody holds up are left to the next cycle.
    async fn run(mut self, node: &mut dyn Node, specs: &[TableSpec], wary: bool, place: &mut Place) -> Result<Applied> {
        if self.batch.bare {
            refuse_recorded(node, &self.batch.sync, specs).await?;
        }
        let claimed: Vec<Move> = self.batch.moves.iter().chain(&self.batch.stays).cloned().collect();
        // Where no history is kept there are no positions, and no table for them.
        let is_claimed = self.begun.is_some() || claimed.is_empty() || node.claim(&claimed).await?;
        let is_first = is_claimed && (claimed.is_empty() || self.waits_as_read(node, specs).await?);
        place.pass_on(is_first);
        if !is_first {
            node.rollback().await?;
            return Ok(Applied { overtaken: true, ..Applied::default() });
        }
        fault::point("apply-claimed").await?;
        for (at, table) in self.batch.tables.iter().enumerate() {
            for (number, decision) in table.decisions.iter().enumerate() {
                if let Effect::Park(code, message) = &decision.effect {
                    self.refuse((at, number), *code, message.clone());
                }
            }
        }
        if wary {
            self.wary = Some(Instant::now() + PATIENCE);
            node.hurry().await?;
            self.refuse_what_is_locked(node).await?;
        }
        self.refuse_what_is_another(node).await?;
        self.delete_before_moves(node).await?;
        for group in &self.batch.order {
            self.write_group(node, group).await?;
        }
        for group in self.batch.order.iter().rev() {
            self.delete_group(node, group).await?;
        }
        self.retry_stuck(node).await?;
        self.hold_what_is_touched(node).await?;
        fault::point("apply-written").await?;
        let applied = self.keep_books(node, specs).await?;
        if applied.committed {
            fault::point("apply-before-commit").await?;
            node.commit().await?;
            fault::point("apply-after-commit").await?;
        } else {
            node.rollback().await?;
        }
        Ok(applied)
    }

    /// Whether the same waits for every key as when it was decided. Somebody who wrote it, or gave it up, has moved no position.
    async fn waits_as_read(&self, node: &mut dyn Node, specs: &[TableSpec]) -> Result<bool> {
        let mut read = Vec::new();
        for table in &self.batch.tables {
            // What never waits replaces nothing that does.
            let decisions = table.decisions.iter().filter(|decision| decision.otherwise.is_some());
            read.extend(decisions.map(|decision| (table.spec.index, &decision.key, decision.waiting.as_deref())));
        }
        waits_as_read(node, specs, &read).await
    }

    /// Those of a table that are not carried out yet.
    fn items(&self, table: usize, wanted: impl Fn(&Effect) -> bool) -> Vec<Item> {
        let done = self.begun.as_ref().map(|begun| begun.of(self.batch.tables[table].spec.index)).unwrap_or_default();
        let decisions = self.batch.tables[table].decisions.iter().enumerate();
        let left = decisions.filter(|(number, _)| !done.get(*number).is_some_and(|done| *done));
        left.filter(|(_, decision)| wanted(&decision.effect)).map(|(number, _)| (table, number)).collect()
    }

    fn decision(&self, item: Item) -> &'a Decision {
        &self.batch.tables[item.0].decisions[item.1]
    }

    /// The keys of a chunk's rows in one table.
    fn keys_of(&self, chunk: &[Item], table: usize) -> Vec<&'a Key> {
        chunk.iter().filter(|item| item.0 == table).map(|&item| &self.decision(item).key).collect()
    }

    /// The items of a chunk that concern one table, by key.
    fn by_key(&self, chunk: &[Item], table: usize) -> HashMap<&'a Key, Item> {
        chunk.iter().filter(|item| item.0 == table).map(|&item| (&self.decision(item).key, item)).collect()
    }

    /// The keys of the rows that a chunk is about, by table.
    fn key_groups(&self, items: &[Item]) -> Vec<(&'a TableSpec, Vec<&'a Key>)> {
        let group = |table: usize| (&*self.batch.tables[table].spec, self.keys_of(items, table));
        tables_of(items).into_iter().map(group).collect()
    }

    /// What is tried in one statement. References among the rows of one statement are checked at its end, so rows that may
    /// refer to each other must not be divided up front.
    fn chunks(&self, items: Vec<Item>) -> Vec<Vec<Item>> {
        match self.belong_together(&items) {
            true => vec![items],
            false => items.chunks(CHUNK).map(<[Item]>::to_vec).collect(),
        }
    }

    /// Whether rows may refer to each other.
    fn belong_together(&self, items: &[Item]) -> bool {
        let tables = tables_of(items);
        tables.len() > 1 || tables.iter().any(|&table| self.refers_to_itself(table))
    }

    fn refers_to_itself(&self, table: usize) -> bool {
        let spec = &self.batch.tables[table].spec;
        spec.references.iter().any(|key| key.leads_to(spec))
    }

    /// Whether somebody holds up some of the rows that were tried, and they are to be found.
    fn is_held(&self, error: &Error) -> bool {
        self.wary.is_some() && error.kind == ErrorKind::Locked
    }

    /// Whether without some of the rows that were tried the others can be written.
    fn is_about_rows(&self, error: &Error) -> bool {
        error.is_about_rows() || self.is_held(error)
    }

    /// Whether there is time to find out which rows are to blame.
    fn divides(&self, error: &Error) -> bool {
        !self.is_held(error) || self.wary.is_some_and(|until| Instant::now() < until)
    }

    /// Rows that somebody holds up are a matter of the next cycle, or without a history, of the next comparison.
    fn put_off(&mut self, items: &[Item]) {
        for &item in items {
            let next = match self.batch.bare {
                false => "decided in the next cycle",
                true => "run it again",
            };
            let message = format!("a user holds the row locked, or what it needs; {next}");
            self.refuse(item, ParkedCode::Busy, message);
            self.held.insert(item);
        }
    }

    /// The row waits, whatever else happens to the batch.
    fn refuse(&mut self, item: Item, code: ParkedCode, message: String) {
        self.refused.insert(item, Reason { code, message, unique: false });
        self.hold_up(item);
    }

    /// The row waits unless it can be had at the end of the batch.
    fn give_up(&mut self, item: Item, reason: Reason) {
        self.stick(item, reason);
        self.hold_up(item);
    }

    fn stick(&mut self, item: Item, reason: Reason) {
        if self.stuck.is_empty() {
            self.stuck_since = self.written + self.deleted;
        }
        self.stuck.insert(item, reason);
    }

    /// What cannot be written without this row waits with it.
    fn hold_up(&mut self, item: Item) {
        let mut missing = vec![item];
        while let Some(item) = missing.pop() {
            for (other, reason) in self.needs.of_others(item) {
                if !self.is_out(other) {
                    self.stick(other, reason);
                    missing.push(other);
                }
            }
        }
    }

    /// Whether a row is not to be written for now.
    fn is_out(&self, item: Item) -> bool {
        self.refused.contains_key(&item) || self.stuck.contains_key(&item)
    }

    async fn delete_group(&mut self, node: &mut dyn Node, group: &[usize]) -> Result<()> {
        let late = group.iter().filter(|table| !self.deleted_early.contains(table));
        let items: Vec<Item> =
            late.flat_map(|&table| self.items(table, |effect| matches!(effect, Effect::Delete))).collect();
        self.delete_chunks(node, items).await
    }

    /// Deletes rows to which a reference gives another key once what they refer to is written: they would stand under that then, as if
    /// users had put them there.
    async fn delete_before_moves(&mut self, node: &mut dyn Node) -> Result<()> {
        let early = self.deleted_before_moves();
        for group in self.batch.order.iter().rev() {
            let tables: Vec<usize> = group.iter().copied().filter(|table| early.contains(table)).collect();
            let items: Vec<Item> =
                tables.iter().flat_map(|&table| self.items(table, |effect| matches!(effect, Effect::Delete))).collect();
            self.deleted_early.extend(tables);
            self.delete_chunks(node, items).await?;
        }
        Ok(())
    }

    /// The tables of which such rows go, and those of which rows go that refer to them and would keep them.
    fn deleted_before_moves(&self) -> HashSet<usize> {
        let goes = |table: &usize| !self.items(*table, |effect| matches!(effect, Effect::Delete)).is_empty();
        let going: Vec<usize> = (0..self.batch.tables.len()).filter(goes).collect();
        let mut next: Vec<usize> = going.iter().copied().filter(|&table| self.may_move_keys(table)).collect();
        let mut early: HashSet<usize> = next.iter().copied().collect();
        while let Some(parent) = next.pop() {
            let parent = &self.batch.tables[parent].spec;
            for &table in &going {
                let mut references = self.batch.tables[table].spec.references.iter();
                if references.any(|reference| reference.leads_to(parent)) && early.insert(table) {
                    next.push(table);
                }
            }
        }
        early
    }

    /// Whether a row that this batch writes may change keys of rows of a table that refer to it.
    fn may_move_keys(&self, table: usize) -> bool {
        let spec = &self.batch.tables[table].spec;
        let is_key = |name: &String| spec.key_columns().any(|column| column.name == *name);
        let is_written = |reference: &ForeignKey| {
            let parents = self.batch.tables.iter().filter(|parent| reference.leads_to(&parent.spec));
            parents.flat_map(|parent| &parent.decisions).any(|decision| matches!(decision.effect, Effect::Write(..)))
        };
        let mut followed = spec.references.iter().filter(|reference| reference.follows);
        followed.any(|reference| reference.columns.iter().any(is_key) && is_written(reference))
    }

    /// Deletes rows in chunks, and halves those that fail. Of many that were refused before perhaps not each is come to, as with what is
    /// written, unless they may keep each other: then nobody can tell which of them have to be tried.
    async fn delete_chunks(&mut self, node: &mut dyn Node, mut items: Vec<Item>) -> Result<()> {
        let spares = !self.belong_together(&items);
        let again = if spares { self.take_refused(&mut items) } else { Vec::new() };
        let mut chunks: Vec<Vec<Item>> = self.chunks(items).into_iter().chain(self.chunks(again)).collect();
        chunks.reverse();
        let mut in_vain = 0;
        while let Some(mut chunk) = chunks.pop() {
            chunk.retain(|item| !self.is_out(*item));
            if chunk.is_empty() {
                continue;
            }
            fault::point("apply-delete").await?;
            node.savepoint().await?;
            match self.delete_chunk(node, &chunk).await {
                Ok(Some(deleted)) => {
                    node.release().await?;
                    self.deleted += deleted;
                    in_vain = 0;
                }
                Ok(None) => {
                    node.undo().await?;
                    chunks.push(chunk);
                }
                Err(error) if self.is_about_rows(&error) => {
                    node.undo().await?;
                    let all_again = spares && self.is_again(&chunk, &error);
                    in_vain += u32::from(all_again);
                    if chunk.len() == 1 || !self.divides(&error) {
                        // It may be tried once more.
                        chunk.iter().for_each(|item| _ = self.spared.remove(item));
                        self.give_up_together(&chunk, &error);
                    } else if all_again && in_vain > IN_VAIN {
                        self.give_up_again(&chunk);
                    } else {
                        let second = chunk.split_off(chunk.len() / 2);
                        chunks.push(second);
                        chunks.push(chunk);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How many rows went; `None` if some were refused, so that the others are to be tried again.
    async fn delete_chunk(&mut self, node: &mut dyn Node, chunk: &[Item]) -> Result<Option<u64>> {
        if self.refuse_what_is_referred(node, chunk).await? {
            return Ok(None);
        }
        let mut deleted = self.delete_items(node, chunk).await?;
        if deleted < chunk.len() as u64 && self.may_be_coming(node, chunk).await? {
            node.undo().await?;
            node.savepoint().await?;
            if self.refuse_what_may_come(node, chunk).await? {
                return Ok(None);
            }
            deleted = self.delete_items(node, chunk).await?;
        }
        Ok((!self.refuse_what_changed(node, chunk).await?).then_some(deleted))
    }

    async fn delete_items(&self, node: &mut dyn Node, chunk: &[Item]) -> Result<u64> {
        let groups = self.key_groups(chunk);
        let groups: Vec<_> = groups.iter().map(|(spec, keys)| (*spec, &keys[..])).collect();
        node.delete(&groups).await
    }

    /// Tries what was refused once more, together, for as long as that helps: a parent may have come later, a row may have
    /// given up a unique value, a child may be gone by now.
    async fn retry_stuck(&mut self, node: &mut dyn Node) -> Result<()> {
        self.retries = true;
        loop {
            let stuck = std::mem::take(&mut self.stuck);
            // Nothing has changed for them, and only those that want unique values are put together anew.
            let in_vain =
                self.stuck_since == self.written + self.deleted && !stuck.values().any(|reason| reason.unique);
            if stuck.is_empty() || in_vain {
                self.refused.extend(stuck);
                return Ok(());
            }
            let before = stuck.len();
            self.needs.clear();
            let is_write = |item: &Item| matches!(self.decision(*item).effect, Effect::Write(..));
            let (writes, deletes): (Vec<Item>, Vec<Item>) = stuck.into_keys().partition(is_write);
            self.write_chunks(node, vec![Chunk::of(writes)]).await?;
            for group in self.batch.order.iter().rev() {
                let items = deletes.iter().filter(|item| group.contains(&item.0)).copied().collect();
                self.delete_chunks(node, items).await?;
            }
            if self.stuck.len() >= before && !self.untie(node).await? {
                self.refused.extend(std::mem::take(&mut self.stuck));
                return Ok(());
            }
        }
    }
}

impl Reason {
    fn of(error: &Error) -> Reason {
        let code = match error.kind {
            ErrorKind::Value => ParkedCode::Value,
            _ => ParkedCode::Constraint,
        };
        let unique = error.kind == ErrorKind::Constraint(Constraint::Unique);
        let remedy = match unique {
            true => {
                "; if rows passed such values among each other, give one of them another value first, and its own in a later sync"
            }
            false => "",
        };
        Reason { code, message: format!("{error}{remedy}"), unique }
    }
}

fn tables_of(chunk: &[Item]) -> Vec<usize> {
    let mut tables = Vec::new();
    for &(table, _) in chunk {
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    tables
}

impl From<fault::Fault> for Error {
    fn from(fault: fault::Fault) -> Error {
        Error::new(ErrorKind::Lost, fault.to_string())
    }
}
