//! What the cycle asks of a node.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;

use super::connection::Connection;
use super::work::Work;
use super::{identity, key, number, row, table_of};
use crate::model::{Cut, Entry, EntryId, Key, Lost, Parked, Row, TableSpec};
use crate::node::blueprint::{Blueprint, Building, Draft};
use crate::node::{
    Catalogue, CatalogueColumn, Drift, Entries, Error, ErrorKind, Ledger, Lot, Lots, MissingRight, Move, Node, Note,
    Numbers, Opened, Probe, Purge, Result, Room, Scanned, Service, Sought, Sync, Walked, WriteMode, Writes,
};

#[async_trait]
impl Node for Connection {
    async fn probe(&mut self) -> Result<Probe> {
        let identity = format!("{:p}", Arc::as_ptr(&self.database.state));
        Ok(Probe { server: "memory".into(), role: String::new(), identity, warnings: Vec::new(), refusals: Vec::new() })
    }

    async fn catalogue(&mut self, table: &str) -> Result<Option<Catalogue>> {
        self.call()?;
        let column = |name: &str, nullable| CatalogueColumn {
            name: name.to_owned(),
            native: "integer".into(),
            collation: None,
            domain: crate::model::Domain::Int { bits: 64, unsigned: false },
            nullable,
            generated: false,
            lacks: Vec::new(),
            alike: None,
        };
        Ok(Some(Catalogue {
            name: table.to_owned(),
            columns: vec![column("id", false), column("value", true)],
            key: vec!["id".into()],
            ..Catalogue::default()
        }))
    }

    async fn blueprint(&mut self, _: &str) -> Result<Option<Blueprint>> {
        self.call()?;
        Ok(Some(Blueprint::default()))
    }

    async fn draft(&mut self, _: &Blueprint, _: &mut HashSet<String>) -> Result<Draft> {
        Ok(Draft::default())
    }

    async fn build(&mut self, _: &[Vec<String>], _: &mut (dyn FnMut(usize) + Send)) -> Building {
        self.call().map_err(|error| (0, error))
    }

    async fn missing_rights(&mut self, _: &[TableSpec]) -> Result<Vec<MissingRight>> {
        Ok(Vec::new())
    }

    async fn missing_rights_to_compare(&mut self, _: &[(&TableSpec, Writes)]) -> Result<Vec<MissingRight>> {
        Ok(Vec::new())
    }

    async fn service(&mut self) -> Result<Option<Service>> {
        self.call()?;
        Ok(self.database.lock().service.clone())
    }

    async fn recorded(&mut self, _: &str, _: &[TableSpec]) -> Result<Vec<usize>> {
        Ok(Vec::new())
    }

    async fn install(&mut self, sync: &Sync, tables: &[TableSpec]) -> Result<Vec<String>> {
        let mut state = self.database.lock();
        for (index, name) in
            ["t", "u"].into_iter().enumerate().filter(|(_, name)| !tables.iter().any(|t| t.name == *name))
        {
            state.history.retain(|entry| table_of(&entry.key) != index);
            state.positions.retain(|(table, _), _| table != name);
            state.parked.retain(|_, row| row.table != index);
        }
        let known = state.service.take().map(|service| service.uuid);
        state.service = Some(Service {
            sync: sync.name.clone(),
            node: sync.node.clone(),
            nodes: sync.nodes.clone(),
            uuid: known.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
            tables: tables.iter().map(|table| (table.name.clone(), table.shape.clone())).collect(),
        });
        Ok(Vec::new())
    }

    async fn keep_shapes(&mut self, shapes: &[(String, String)]) -> Result<()> {
        self.call()?;
        let mut state = self.database.lock();
        let Some(service) = &mut state.service else { return Ok(()) };
        for (name, kept) in &mut service.tables {
            if let Some((_, shape)) = shapes.iter().find(|(table, _)| table == name) {
                kept.clone_from(shape);
            }
        }
        Ok(())
    }

    async fn uninstall(&mut self) -> Result<bool> {
        Ok(self.database.lock().service.take().is_some())
    }

    async fn numbers(&mut self, table: &TableSpec, column: usize) -> Result<Numbers> {
        let last = self.greatest_in(table, column, 1, 0).await?;
        Ok(Numbers { last, most: i64::MAX })
    }

    async fn greatest_in(&mut self, _: &TableSpec, _: usize, step: i64, slot: i64) -> Result<i64> {
        Ok(self.database.lock().rows.keys().rev().copied().find(|number| number % step == slot).unwrap_or(0))
    }

    async fn reset(&mut self) -> Result<()> {
        let mut state = self.database.lock();
        if state.holds > 0 {
            state.holds -= 1;
            return Err(Error::new(ErrorKind::Locked, "somebody holds the history"));
        }
        state.history.clear();
        state.positions.clear();
        state.parked.clear();
        state.purged = Default::default();
        state.kept.clear();
        Ok(())
    }

    async fn renew(&mut self, former: &str, positions: &[(String, String, Cut)], progress: &str) -> Result<bool> {
        self.pause().await;
        self.call()?;
        if self.database.lock().service.as_ref().is_none_or(|service| service.uuid != former) {
            return Ok(false);
        }
        self.reset().await?;
        {
            let mut state = self.database.lock();
            state.next_id += 1_000_000;
            state.progress = Some(progress.to_owned());
            if let Some(service) = &mut state.service {
                service.uuid = uuid::Uuid::new_v4().to_string();
            }
        }
        self.start_at(positions).await?;
        Ok(true)
    }

    async fn start_at(&mut self, positions: &[(String, String, Cut)]) -> Result<()> {
        self.call()?;
        let mut state = self.database.lock();
        for (table, source, cut) in positions {
            let position = state.positions.entry((table.clone(), source.clone())).or_default();
            if position.cut == Cut::START {
                *position = cut.clone().into();
            }
        }
        Ok(())
    }

    async fn forget(&mut self, node: &str, seen: &[(String, Cut)]) -> Result<bool> {
        self.pause().await;
        self.call()?;
        let mut state = self.database.lock();
        let stands = |table: &String| state.positions.get(&(table.clone(), node.to_owned())).map(|at| &at.cut);
        if seen.iter().any(|(table, cut)| stands(table).unwrap_or(&Cut::START) != cut) {
            return Ok(false);
        }
        state.positions.retain(|(_, source), _| source != node);
        state.kept.retain(|(_, target, _)| target != node);
        Ok(true)
    }

    async fn progress(&mut self) -> Result<Option<String>> {
        self.call()?;
        Ok(self.database.lock().progress.clone())
    }

    async fn set_progress(&mut self, progress: Option<&str>) -> Result<()> {
        self.call()?;
        self.database.lock().progress = progress.map(str::to_owned);
        Ok(())
    }

    async fn begin_read(&mut self, tables: &[TableSpec]) -> Result<Opened> {
        self.pause().await;
        self.call()?;
        let state = {
            let mut state = self.database.lock();
            state.shown.pop_front().flatten().unwrap_or_else(|| state.clone())
        };
        let service = state.service.clone().ok_or_else(|| Error::new(ErrorKind::Service, "not installed"))?;
        let table = |name: &str| tables.iter().find(|table| table.name == name).map(|table| table.index);
        let opened = Opened {
            service,
            clock: state.clock_as_measured(),
            shared_marks: true,
            positions: state
                .positions
                .iter()
                .filter_map(|((name, source), position)| Some((table(name)?, source.clone(), position.clone())))
                .collect(),
            purged: tables.iter().map(|table| (table.index, state.purged[table.index].clone())).collect(),
            kept: state.kept.iter().filter(|(at, ..)| tables.iter().any(|t| t.index == *at)).cloned().collect(),
            next_marks: tables.iter().map(|table| (table.index, state.next_mark + 1)).collect(),
            parked: state
                .parked
                .values()
                .filter(|row| tables.iter().any(|t| t.index == row.table))
                .map(unread)
                .collect(),
            drifted: state.drift.iter().map(|what| (0, Drift::harmless(what))).collect(),
        };
        self.snapshot = Some(state);
        Ok(opened)
    }

    fn strays(&self) -> i64 {
        self.database.lock().strays
    }

    async fn begin_scan(&mut self, _: &[TableSpec]) -> Result<()> {
        self.call()?;
        self.snapshot = Some(self.database.lock().clone());
        Ok(())
    }

    async fn entries(&mut self, table: &TableSpec, after: &Cut, through: Option<i64>, limit: usize) -> Result<Entries> {
        self.pause().await;
        let state = self.snapshot()?;
        let mut entries: Vec<Entry> = state
            .history_of(table)
            .filter(|entry| !after.contains(entry.mark, entry.id) && through.is_none_or(|last| entry.mark <= last))
            .cloned()
            .collect();
        entries.sort_by_key(|entry| (entry.mark, entry.id));
        let more = entries.len() > limit;
        entries.truncate(limit);
        Ok(Entries { entries, whole: state.cut(), more })
    }

    async fn holds(&mut self, entries: &[(&TableSpec, EntryId)]) -> Result<Vec<bool>> {
        let state = self.snapshot()?;
        let is_there =
            |(table, wanted): &(&TableSpec, EntryId)| state.history_of(table).any(|entry| identity(entry) == *wanted);
        Ok(entries.iter().map(is_there).collect())
    }

    async fn pending(&mut self, table: &str, after: &Cut, _: Option<&str>) -> Result<u64> {
        let state = self.snapshot()?;
        let table = usize::from(table == "u");
        let entries = state.history.iter().filter(|entry| table_of(&entry.key) == table);
        Ok(entries.filter(|entry| !after.contains(entry.mark, entry.id)).count() as u64)
    }

    async fn ledger(&mut self) -> Result<Ledger> {
        Ok(Ledger::default())
    }

    async fn entries_of(&mut self, _: &TableSpec, keys: &[&Key], each: &mut (dyn FnMut(Entry) + Send)) -> Result<()> {
        let state = self.snapshot()?;
        let mut entries: Vec<Entry> =
            state.history.iter().filter(|entry| keys.contains(&&entry.key)).cloned().collect();
        self.database.lock().entries_read += entries.len() as u64;
        entries.sort_by_key(|entry| entry.id);
        entries.into_iter().for_each(each);
        Ok(())
    }

    async fn stand(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<Vec<bool>> {
        let stand = self.rows(table, keys).await?.iter().map(Option::is_some).collect();
        let mut now = self.database.lock();
        now.rows_read -= keys.len() as u64;
        now.rows_looked_for += keys.len() as u64;
        Ok(stand)
    }

    async fn rows(&mut self, _: &TableSpec, keys: &[&Key]) -> Result<Vec<Option<std::result::Result<Row, String>>>> {
        self.database.lock().rows_read += keys.len() as u64;
        let overtaken = self.database.lock().busy.is_some_and(|most| keys.len() > most);
        self.overtaken |= overtaken;
        let state = self.snapshot()?;
        let find = |key: &&Key| {
            let id = number(&key[0]);
            state.rows.get(&id).map(|value| match Some(*value) == state.unreadable {
                true => Err("is odd".to_owned()),
                false => Ok(row(id, *value)),
            })
        };
        Ok(keys.iter().map(find).collect())
    }

    async fn scan(&mut self, table: &TableSpec, lots: &Lots) -> Result<()> {
        self.call()?;
        let state = self.snapshot()?;
        let own = state.rows.iter().filter(|(id, _)| table_of(&key(**id)) == table.index);
        let scanned = own.map(|(id, value)| match Some(*value) == state.unreadable {
            true => Err((key(*id), "is odd".to_owned())),
            false => Ok(row(*id, *value)),
        });
        let rows: Vec<Scanned> = scanned.collect();
        lots.send(Lot::of(rows)).await
    }

    async fn walk(&mut self, table: &TableSpec, after: Option<&Key>, limit: usize) -> Result<Vec<Walked>> {
        self.pause().await;
        let state = self.snapshot()?;
        let after = after.map_or(i64::MIN, |key| number(&key[0]).saturating_add(1));
        let rows = state.rows.range(after..).filter(|(id, _)| table_of(&key(**id)) == table.index);
        let walked = rows.map(|(id, value)| match Some(*value) == state.unreadable {
            true => (key(*id), Err("is odd".to_owned())),
            false => (key(*id), Ok(row(*id, *value))),
        });
        Ok(walked.take(state.stride.unwrap_or(limit).min(limit)).collect())
    }

    async fn count(&mut self, _: &TableSpec) -> Result<u64> {
        Ok(self.snapshot()?.rows.len() as u64)
    }

    async fn end_read(&mut self) -> Result<()> {
        self.snapshot = None;
        self.call()
    }

    fn give_snapshot(&mut self) -> Option<Box<dyn Node>> {
        // Who is overtaken learns it by what is read over the same connection.
        if self.database.lock().busy.is_some() {
            return None;
        }
        let mut reader = Connection::new(self.database.clone());
        reader.snapshot = Some(self.snapshot.take()?);
        Some(Box::new(reader))
    }

    async fn begin_apply(&mut self, _: &[TableSpec]) -> Result<()> {
        self.call()?;
        if self.database.lock().changing {
            return Err(Error::new(ErrorKind::Drift, "the table was changed meanwhile"));
        }
        if self.database.lock().full {
            return Err(Error::new(ErrorKind::Other, "there is no room"));
        }
        while self.database.applying.swap(true, Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        self.applies = true;
        self.work = Some(Work::default());
        self.saved.clear();
        self.names = crate::sync::tests::names();
        Ok(())
    }

    async fn begin_mend(&mut self, tables: &[TableSpec]) -> Result<()> {
        self.begin_apply(tables).await
    }

    async fn rows_now(
        &mut self,
        _: &TableSpec,
        keys: &[&Key],
        hold: bool,
    ) -> Result<Vec<Option<std::result::Result<Row, String>>>> {
        let written = self.work()?.rows.clone();
        let mut state = self.database.lock();
        let is_open = |id: i64| state.open.iter().any(|(_, entry, _)| number(&entry.key[0]) == id);
        let open = hold && keys.iter().any(|key| is_open(number(&key[0])));
        let held = hold && !open && state.holds > 0;
        if held {
            state.holds -= 1;
        }
        if open || held {
            return Err(Error::new(ErrorKind::Locked, "somebody holds the row"));
        }
        if hold {
            state.locked.extend(keys.iter().map(|key| number(&key[0])));
        }
        let stands = |id: &i64| written.get(id).copied().unwrap_or_else(|| state.rows.get(id).copied());
        Ok(keys.iter().map(|key| number(&key[0])).map(|id| stands(&id).map(|value| Ok(row(id, value)))).collect())
    }

    async fn claim(&mut self, moves: &[Move]) -> Result<bool> {
        self.work()?;
        let overtaken = std::mem::take(&mut self.overtaken);
        let mut state = self.database.lock();
        // This is done in the present, and nobody looks at the past afterwards.
        state.shown.clear();
        if let Some(times) = &mut state.held {
            *times += 1;
            return Err(Error::new(ErrorKind::Locked, crate::node::HELD));
        }
        if overtaken {
            state.overtakes += 1;
            // Not for ever: a test has to come to its end.
            state.busy = state.busy.filter(|_| state.overtakes < 500);
            return Ok(false);
        }
        Ok(moves.iter().all(|m| {
            let standing = state.positions.get(&(m.table.clone(), m.source.clone()));
            standing.map_or(&Cut::START, |position| &position.cut) == &m.from
        }))
    }

    async fn waiting_now(&mut self, groups: &[(&TableSpec, &[&Key])]) -> Result<Vec<Parked>> {
        self.work()?;
        let state = self.database.lock();
        let keys = groups.iter().flat_map(|(_, keys)| *keys);
        Ok(keys.filter_map(|key| state.parked.values().find(|waits| waits.key == **key).map(unread)).collect())
    }

    async fn waiting_rows(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<Vec<Parked>> {
        self.call()?;
        let mut now = self.database.lock();
        now.waiting_read += keys.len() as u64;
        let state = self.snapshot.as_ref().unwrap_or(&*now);
        let waits = |key: &&Key| state.parked.values().find(|waits| waits.key == **key && waits.table == table.index);
        Ok(keys.iter().filter_map(waits).cloned().collect())
    }

    async fn savepoint(&mut self) -> Result<()> {
        let work = self.work()?.clone();
        self.saved.push(work);
        Ok(())
    }

    async fn undo(&mut self) -> Result<()> {
        self.call()?;
        self.work = self.saved.pop();
        Ok(())
    }

    async fn release(&mut self) -> Result<()> {
        self.saved.pop();
        self.call()
    }

    async fn write(&mut self, groups: &[(&TableSpec, &[&Row], WriteMode)]) -> Result<u64> {
        let refuses = {
            let mut state = self.database.lock();
            state.tries += 1;
            state.refuses
        };
        self.call()?;
        let mut written = 0;
        for (_, rows, mode) in groups {
            for row in *rows {
                let id = number(&row[0]);
                let lets_be = match mode {
                    WriteMode::Upsert => false,
                    WriteMode::InsertOnly => self.stands(id)?,
                    WriteMode::UpdateOnly => !self.stands(id)?,
                };
                if lets_be {
                    continue;
                }
                if Some(number(&row[1])) == refuses {
                    return Err(Error::new(ErrorKind::Constraint(crate::node::Constraint::Other), "refused"));
                }
                self.database.lock().locked.insert(id);
                self.open_work()?.rows.insert(id, Some(number(&row[1])));
                written += 1;
            }
        }
        Ok(written)
    }

    async fn delete(&mut self, groups: &[(&TableSpec, &[&Key])]) -> Result<u64> {
        self.call()?;
        let mut deleted = 0;
        for key in groups.iter().flat_map(|(_, keys)| keys.iter()) {
            let id = number(&key[0]);
            self.database.lock().locked.insert(id);
            deleted += u64::from(self.stands(id)?);
            self.open_work()?.rows.insert(id, None);
        }
        Ok(deleted)
    }

    async fn write_as_user(&mut self, _: &TableSpec, key: &Key, row: Option<&Row>) -> Result<()> {
        let work = self.work()?;
        work.rows.insert(number(&key[0]), row.map(|row| number(&row[1])));
        work.touched.push((number(&key[0]), None));
        Ok(())
    }

    async fn make_room(&mut self, _: &TableSpec, _: &[&Row], _: Room) -> Result<()> {
        Ok(())
    }

    async fn still_referred(&mut self, _: &TableSpec, _: &[&Key], _: &[(&TableSpec, &[&Key])]) -> Result<Vec<Key>> {
        Ok(Vec::new())
    }

    async fn unseen(&mut self, table: &TableSpec, read: &Cut, keys: &[&Key]) -> Result<Vec<Key>> {
        self.work()?;
        let state = self.database.lock();
        if !read.includes(&state.purged[table.index]) {
            return Ok(keys.iter().map(|key| (*key).clone()).collect());
        }
        // A row that an open transaction has written is locked: a real database would wait for it to end.
        let committed =
            state.history.iter().filter(|entry| !read.contains(entry.mark, entry.id)).map(|entry| &entry.key);
        let open = state.open.iter().map(|(_, entry, _)| &entry.key);
        Ok(committed.chain(open).filter(|key| keys.contains(key)).cloned().collect())
    }

    async fn altered(&mut self, _: &TableSpec, _: &[&Row]) -> Result<Vec<(Key, String)>> {
        Ok(Vec::new())
    }

    async fn note(&mut self, _: &TableSpec, notes: &[&Note]) -> Result<()> {
        self.work()?.notes.extend(notes.iter().copied().cloned());
        Ok(())
    }

    async fn touch(&mut self, _: &TableSpec, key: &Key, since: Option<i64>) -> Result<()> {
        self.work()?.touched.push((number(&key[0]), since));
        Ok(())
    }

    async fn park(&mut self, _: &[TableSpec], parked: &[Parked]) -> Result<()> {
        self.work()?.parked.extend_from_slice(parked);
        Ok(())
    }

    async fn unpark(&mut self, _: &TableSpec, keys: &[&Key]) -> Result<()> {
        self.work()?.unparked.extend(keys.iter().map(|key| number(&key[0])));
        Ok(())
    }

    async fn record(&mut self, _: &[TableSpec], lost: &[&Lost], _: bool) -> Result<()> {
        self.work()?.lost.extend(lost.iter().copied().cloned());
        Ok(())
    }

    async fn advance(&mut self, moves: &[Move]) -> Result<()> {
        self.work()?.moves.extend_from_slice(moves);
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        self.pause().await;
        // The reply to a commit may be lost after it happened.
        let lost_reply = {
            let state = self.database.lock();
            state.fuse == Some(0) && state.next_id % 2 == 0
        };
        if !lost_reply {
            self.call()?;
        }
        if let Some(purges) = self.purging.take() {
            let mut state = self.database.lock();
            for purge in &purges {
                state.purge(&purge.table, &purge.through, purge.arrivals, &purge.witnesses());
            }
        } else {
            let work = self.work.take().ok_or_else(|| Error::new(ErrorKind::Other, "no transaction is open"))?;
            work.commit(&mut self.database.lock(), &self.names);
        }
        self.end();
        self.pause().await;
        if lost_reply { self.call() } else { Ok(()) }
    }

    async fn rollback(&mut self) -> Result<()> {
        self.end();
        Ok(())
    }

    async fn purge(
        &mut self,
        table: &TableSpec,
        through: &Cut,
        arrivals: bool,
        witnesses: &[(&str, EntryId)],
    ) -> Result<u64> {
        self.pause().await;
        self.call()?;
        let mut state = self.database.lock();
        if state.crowded {
            state.next_id += 1;
            return Err(Error::new(ErrorKind::Retry, "no room"));
        }
        Ok(state.purge(table, through, arrivals, witnesses))
    }

    async fn begin_purge(&mut self, purges: &[Purge]) -> Result<bool> {
        self.pause().await;
        self.call()?;
        while self.database.lock().deleting {
            tokio::task::yield_now().await;
        }
        self.purging = Some(purges.to_vec());
        Ok(true)
    }

    async fn pulse(&mut self, _: &[TableSpec]) -> Result<u64> {
        Ok(self.database.lock().next_id as u64)
    }

    async fn journalled(&mut self, _: &[TableSpec]) -> Result<u64> {
        Ok(self.database.lock().journal.len() as u64)
    }

    async fn journal_size(&mut self) -> Result<u64> {
        Ok(self.database.lock().journal.len() as u64)
    }

    async fn journal(&mut self, tables: &[TableSpec], _: Sought<'_>, _: usize) -> Result<Vec<Lost>> {
        let mut journal = self.database.lock().journal.clone();
        journal.retain(|lost| tables.iter().any(|table| table.index == lost.table));
        Ok(journal)
    }

    async fn trim_journal(&mut self, before: i64, most: usize) -> Result<u64> {
        self.call()?;
        let mut state = self.database.lock();
        let mut old: Vec<i64> = state.journal.iter().map(|lost| lost.decided).filter(|at| *at < before).collect();
        old.sort_unstable();
        old.truncate(most);
        let Some(last) = old.last().copied() else { return Ok(0) };
        state.journal.retain(|lost| lost.decided > last);
        Ok(old.len() as u64)
    }

    async fn blockers(&mut self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// What waits as it is told where nobody asks for the row.
fn unread(parked: &Parked) -> Parked {
    Parked { content: parked.content.unread(), ..parked.clone() }
}
