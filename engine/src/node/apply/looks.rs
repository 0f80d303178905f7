//! The looks that keep what others do from being overwritten or taken along.

use std::collections::BTreeSet;

use super::{Application, CHUNK, Effect, Item, TableBatch, tables_of};
use crate::model::{Key, OnGone, Parked, ParkedCode, Row, TableSpec, Waiting};
use crate::node::{Constraint, Error, ErrorKind, MissingRight, Node, Reason, Result, WriteMode};

/// Why a row is left alone of which no history tells.
const MOVED_ON: &str = "somebody has changed the row here since it was read";

/// Stands for a column where the whole row is not there.
pub(super) const ABSENT: &str = "(the row is not there)";

impl Application<'_> {
    /// Refuses what somebody else changed since it was read; whether there was any.
    pub(super) async fn refuse_what_changed(&mut self, node: &mut dyn Node, chunk: &[Item]) -> Result<bool> {
        let before = self.refused.len();
        for table in tables_of(chunk) {
            let TableBatch { spec, read: Some(read), .. } = &self.batch.tables[table] else { continue };
            let unseen = node.unseen(spec, read, &self.keys_of(chunk, table)).await?;
            if unseen.is_empty() {
                continue;
            }
            let items = self.by_key(chunk, table);
            for key in unseen {
                if let Some(&item) = items.get(&key) {
                    let message = "a user or a trigger changed the row here in the meantime; decided in the next cycle";
                    self.refuse(item, ParkedCode::Busy, message.to_owned());
                }
            }
        }
        Ok(self.refused.len() > before)
    }

    /// Locks the rows that are to become changes of their own, and finds those that are still what was read. A user who is
    /// changing such a row has drawn the number of his change already: what is asserted beside him would pass for later, and for
    /// having seen it. His change is weighed in its stead.
    pub(super) async fn hold_what_is_touched(&mut self, node: &mut dyn Node) -> Result<()> {
        for (at, table) in self.batch.tables.iter().enumerate() {
            let TableBatch { spec, weighed, decisions, .. } = table;
            for (number, decision) in decisions.iter().enumerate().filter(|(_, decision)| decision.touch.is_some()) {
                let key = [&decision.key];
                node.savepoint().await?;
                match node.rows_now(spec, &key, true).await {
                    Ok(_) => node.release().await?,
                    Err(error) if self.is_about_rows(&error) => {
                        node.undo().await?;
                        self.untouched.insert((at, number));
                        continue;
                    }
                    Err(error) => return Err(error),
                }
                // What lies beyond the page was weighed as well. Were it to keep the row from being touched, nobody would know in the next
                // cycle that what is put off was made blindly.
                let unseen = match weighed {
                    Some(weighed) => node.unseen(spec, weighed, &key).await?,
                    None => Vec::new(),
                };
                let done = if unseen.is_empty() { &mut self.touched } else { &mut self.untouched };
                done.insert((at, number));
            }
        }
        Ok(())
    }

    /// Whether rows that were not there to be deleted may have been inserted by somebody who has not committed yet.
    pub(super) async fn may_be_coming(&mut self, node: &mut dyn Node, chunk: &[Item]) -> Result<bool> {
        for table in tables_of(chunk) {
            let oldest = node.writers(&self.batch.tables[table].spec).await?.into_iter().min();
            let items = chunk.iter().filter(|item| item.0 == table);
            if oldest.is_some_and(|oldest| items.clone().any(|&item| self.began_before(item, oldest))) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Refuses deletes of rows that are not there while somebody may have inserted them: that insert would count as made after
    /// the delete, which it has not seen. Those who began after the delete was first tried do count so, or it would never
    /// come to its end on a busy table. Whether there was any.
    pub(super) async fn refuse_what_may_come(&mut self, node: &mut dyn Node, chunk: &[Item]) -> Result<bool> {
        let before = self.refused.len();
        for table in tables_of(chunk) {
            let spec = &self.batch.tables[table].spec;
            let Some(oldest) = node.writers(spec).await?.into_iter().min() else { continue };
            let keys = self.keys_of(chunk, table);
            let rows = node.rows_now(spec, &keys, false).await?;
            let items = self.by_key(chunk, table);
            for (key, _) in keys.into_iter().zip(rows).filter(|(_, row)| row.is_none()) {
                if let Some(&item) = items.get(key).filter(|&&item| self.began_before(item, oldest)) {
                    let message = "a user's open transaction may have inserted the row; decided in the next cycle";
                    self.refuse(item, ParkedCode::Busy, message.to_owned());
                }
            }
        }
        Ok(self.refused.len() > before)
    }

    /// Whether a transaction had begun when the histories were read with which a delete was first tried. A row that waits in its
    /// stead was tried before there was a delete to be seen.
    fn began_before(&self, item: Item, mark: i64) -> bool {
        let is_delete = |parked: &&Parked| parked.code == ParkedCode::Busy && parked.content == Waiting::Delete;
        let waiting = self.decision(item).waiting.as_deref().filter(is_delete);
        let read = waiting.map(|parked| &parked.read).or(self.batch.tables[item.0].read.as_ref());
        read.is_some_and(|read| mark < read.next())
    }

    /// Where no history tells what somebody else changed: holds the rows as they are, and refuses those that are not what was
    /// read.
    pub(super) async fn refuse_what_is_another(&mut self, node: &mut dyn Node) -> Result<()> {
        for table in 0..self.batch.tables.len() {
            let spec = &self.batch.tables[table].spec;
            let items = self.items(table, |effect| matches!(effect, Effect::Write(..) | Effect::Delete));
            let items = items.into_iter().filter(|item| self.decision(*item).upon.is_some() && !self.is_out(*item));
            // What is not there cannot be held, and is not overwritten if somebody creates it.
            let (there, absent): (Vec<Item>, Vec<Item>) = items.partition(|item| !self.is_upon_nothing(*item));
            for (chunk, hold) in
                there.chunks(CHUNK).map(|chunk| (chunk, true)).chain(absent.chunks(CHUNK).map(|chunk| (chunk, false)))
            {
                let now = node.rows_now(spec, &self.keys_of(chunk, table), hold).await?;
                for (&item, row) in chunk.iter().zip(now) {
                    let same = match (&row, self.decision(item).upon.as_ref().and_then(Option::as_ref)) {
                        (None, None) => true,
                        (Some(Ok(row)), Some(read)) => *row == **read,
                        _ => false,
                    };
                    if !same {
                        self.refuse(item, ParkedCode::Busy, MOVED_ON.to_owned());
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether it was decided upon there being no row.
    fn is_upon_nothing(&self, item: Item) -> bool {
        matches!(self.decision(item).upon, Some(None))
    }

    /// Refuses the rows that somebody holds locked, so that nothing else waits for them.
    pub(super) async fn refuse_what_is_locked(&mut self, node: &mut dyn Node) -> Result<()> {
        for table in 0..self.batch.tables.len() {
            let mut items = self.items(table, |effect| matches!(effect, Effect::Write(..) | Effect::Delete));
            // Whoever only inserts may have no right to lock.
            items.retain(|item| !self.is_upon_nothing(*item));
            for chunk in items.chunks(CHUNK) {
                let items = self.by_key(chunk, table);
                let keys: Vec<&Key> = items.keys().copied().collect();
                node.savepoint().await?;
                match node.locked(&self.batch.tables[table].spec, &keys).await {
                    Ok(locked) => {
                        node.release().await?;
                        let locked: Vec<Item> = locked.iter().filter_map(|key| items.get(key).copied()).collect();
                        self.put_off(&locked);
                    }
                    // The whole table is.
                    Err(error) if self.is_held(&error) => {
                        node.undo().await?;
                        self.put_off(chunk);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Refuses what a trigger changed as it was written, and where no history tells it what somebody created instead; `all` if
    /// every row was written. Whether there was any.
    pub(super) async fn refuse_what_altered(&mut self, node: &mut dyn Node, chunk: &[Item], all: bool) -> Result<bool> {
        let before = self.refused.len();
        for table in tables_of(chunk) {
            let spec = &self.batch.tables[table].spec;
            let upon = chunk.iter().any(|item| item.0 == table && self.decision(*item).upon.is_some());
            let silent = spec.user_triggers.is_empty();
            if silent && (all || !upon) {
                continue;
            }
            let items = self.by_key(chunk, table);
            // A row that may only be created, or only be replaced, may rightly stand there differently, unless it is held.
            let written = self.rows_of(chunk, table).into_iter().filter(|(_, mode)| upon || *mode == WriteMode::Upsert);
            let rows: Vec<&Row> = written.map(|(row, _)| row).collect();
            let altered = match upon {
                true => altered_since(node, spec, &rows).await?,
                false => node.altered(spec, &rows).await?,
            };
            for (key, column) in altered {
                let Some(&item) = items.get(&key) else { continue };
                // Where a row was not written that may only be created, another can stand there. If it was a trigger
                // after all, the next look shows it.
                let created = || matches!(self.decision(item).effect, Effect::Write(_, WriteMode::InsertOnly));
                if silent || upon && !all && column != ABSENT && created() {
                    self.refuse(item, ParkedCode::Busy, MOVED_ON.to_owned());
                    continue;
                }
                let mut message = altered_by(spec, &column);
                if !self.batch.bare {
                    message += ", then `concord parked retry`";
                }
                self.refuse(item, ParkedCode::Altered, message);
            }
        }
        Ok(self.refused.len() > before)
    }

    /// Gives up deletes that would take rows along which nobody asked to delete; whether there was any.
    pub(super) async fn refuse_what_is_referred(&mut self, node: &mut dyn Node, chunk: &[Item]) -> Result<bool> {
        let mut any = false;
        let going = self.key_groups(chunk);
        let going: Vec<_> = going.iter().map(|(spec, keys)| (*spec, &keys[..])).collect();
        for table in tables_of(chunk) {
            let spec = &self.batch.tables[table].spec;
            let acts = spec.referenced.iter().any(|key| key.on_delete != OnGone::Refuse);
            // A role that has nothing installed may not even see what refers to the table.
            let matters = acts || self.batch.bare && node.hidden_referring(spec).await?.is_some();
            if !matters {
                continue;
            }
            let items = self.by_key(chunk, table);
            let keys: Vec<&Key> = items.keys().copied().collect();
            let referred = node.still_referred(spec, &keys, &going).await?;
            let hidden = if referred.is_empty() { None } else { node.hidden_referring(spec).await? };
            for key in referred {
                if let Some(&item) = items.get(&key) {
                    any = true;
                    let mut message = match &hidden {
                        // There may be none that refer to it, and what is done about such rows would be done for nothing.
                        Some(MissingRight { what, grant }) => format!(
                            "rows that refer to it here would be deleted or changed with it, and Concord may not {what}; run {}",
                            grant.trim_end_matches(';')
                        ),
                        None => format!(
                            "rows of {} refer to it here and would be deleted or changed with it; change those first",
                            referring(spec, |on_delete| on_delete != OnGone::Refuse)
                        ),
                    };
                    match self.is_removal(item) {
                        _ if self.batch.bare || hidden.is_some() => {}
                        // What stands here is not to come back elsewhere.
                        true => message += LET_GO,
                        false => message += ", or undo the delete everywhere with `concord parked drop`",
                    }
                    // What refers to it may be gone, or refer to another row, when the batch is done.
                    self.give_up(item, Reason { code: ParkedCode::Referred, message, unique: false });
                }
            }
        }
        Ok(any)
    }

    /// Whether a row goes because it does not belong here, and is deleted nowhere else.
    fn is_removal(&self, item: Item) -> bool {
        let decision = self.decision(item);
        matches!(decision.effect, Effect::Delete)
            && decision.otherwise.as_ref().is_some_and(|otherwise| otherwise.row.is_some())
    }

    /// What helps where the database keeps a row that does not belong here, because others refer to it.
    pub(super) fn lets_go(&self, item: Item, error: &Error) -> Option<String> {
        let is_kept = error.kind == ErrorKind::Constraint(Constraint::Reference) && self.is_removal(item);
        let tables = referring(&self.batch.tables[item.0].spec, |on_delete| on_delete == OnGone::Refuse);
        (is_kept && !tables.is_empty()).then(|| {
            format!("rows of {tables} refer to it and keep it, although it does not belong here by this node's filter; change those first{LET_GO}")
        })
    }
}

/// By what a row goes that does not belong at a node, once nothing there refers to it.
const LET_GO: &str = ", or give their table a filter here that lets them go first";

/// The tables of which a row may refer to this one, and does so when a row of it is deleted, each once.
fn referring(spec: &TableSpec, when_deleted: impl Fn(OnGone) -> bool) -> String {
    let keys = spec.referenced.iter().filter(|key| when_deleted(key.on_delete));
    let tables: BTreeSet<&str> = keys.map(|key| key.table.as_str()).collect();
    tables.into_iter().collect::<Vec<_>>().join(" or ")
}

/// [`Node::touch`] of a row that is locked first. A user who is changing it has drawn the number of his change already: beside him the
/// touch would pass for later, and for having seen it.
pub async fn lock_and_touch(node: &mut dyn Node, spec: &TableSpec, key: &Key, since: Option<i64>) -> Result<()> {
    node.rows_now(spec, &[key], true).await?;
    node.touch(spec, key, since).await
}

/// See [`Node::altered`], where no history tells what triggers did.
pub(super) async fn altered_since(node: &mut dyn Node, spec: &TableSpec, rows: &[&Row]) -> Result<Vec<(Key, String)>> {
    let keys: Vec<Key> = rows.iter().map(|row| spec.shared_key(spec.key_of(row))).collect();
    let standing = node.rows_now(spec, &keys.iter().collect::<Vec<_>>(), false).await?;
    let mut altered = Vec::new();
    for ((row, key), stands) in rows.iter().zip(keys).zip(standing) {
        let column = match stands {
            None => Some(ABSENT.to_owned()),
            Some(Err(why)) => Some(why),
            Some(Ok(stands)) => {
                let differs = stands.iter().zip(row.iter()).position(|(now, then)| now != then);
                differs.map(|at| spec.columns[at].name.clone())
            }
        };
        altered.extend(column.map(|column| (key, column)));
    }
    Ok(altered)
}

fn altered_by(spec: &TableSpec, column: &str) -> String {
    format!(
        "a trigger of {} ({}) changed `{column}` of the row as it was written; let the trigger stand aside while Concord \
         writes (docs/triggers.md)",
        spec.full_name(),
        spec.user_triggers.join(", ")
    )
}
