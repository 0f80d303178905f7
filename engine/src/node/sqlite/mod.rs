//! SQLite: a file, opened by one connection.
//!
//! - There is one writer at a time, so the numbers of entries rise in the order of the commits and a cut is a number.
//! - Reading takes one transaction on the write-ahead log, which makes nobody wait.
//! - Applying takes BEGIN IMMEDIATE: nobody else writes until the commit, so what is unseen then stays unseen.
//! - Calls run on the caller's thread; a runtime with several threads is told that one of them is busy.

mod apply;
mod blueprint;
mod calls;
mod capture;
mod connect;
mod drift;
mod failure;
mod file;
mod history;
mod install;
mod journal;
mod loading;
mod obstacles;
mod place;
mod plan;
mod quote;
mod scan;
mod schema;
mod service;
mod types;
mod unique;
mod walk;
mod witness;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use rusqlite::Connection;

use self::calls::PATIENCE;
use self::connect::Silence;
use self::failure::Told;
use self::place::Place;
use self::plan::Plan;
use super::blueprint::{Blueprint, Building, Draft};
use super::{
    Catalogue, Drift, Entries, Error, ErrorKind, Ledger, Lot, Lots, MissingRight, Move, NODES_CHANGED, NOT_INSTALLED,
    Node, Note, Numbers, Obstacle, Opened, Probe, Result, Room, Service, Sought, Sync, Walked, WriteMode, Writes,
};
use crate::model::{Cut, Entry, EntryId, Key, Lost, Parked, Row, TableSpec, time};

/// Opens an existing file, see [`connect::file_of`] for the forms of the URL.
pub async fn connect(url: &str) -> Result<Box<dyn Node>> {
    let path = connect::file_of(url)?;
    Ok(Box::new(calls::patiently(calls::PATIENCE, || Sqlite::open(path.clone())).await?))
}

struct Sqlite {
    path: PathBuf,
    db: Connection,
    place: Place,
    /// Whether the file was closed, and could not be opened again.
    closed: bool,
    /// The last pulse, and when the log is to be emptied if it is still the same.
    rest: Option<(u64, Instant)>,
    silence: Silence,
    /// The sync's nodes as installed, read at the beginning of each transaction.
    names: Vec<String>,
    /// Worked out for the present transaction, by table index.
    plans: HashMap<usize, Arc<Plan>>,
    /// The last number given out in each history before this transaction began, by table index.
    last_before: HashMap<usize, i64>,
    /// Keys of rows that were written although this transaction had recorded what must not be lost, by table index.
    owed: HashMap<usize, HashSet<Key>>,
    known: drift::Known,
    /// The version of the catalogue that the last snapshot saw.
    version: i64,
    /// What the tables of which no history is kept were when they were read last, by table index.
    scanned: HashMap<usize, String>,
    /// Whether what is written in the present transaction is recorded as a user's change.
    as_user: bool,
    /// Counts this connection's own commits.
    commits: u32,
}

/// The journal mode of the file.
fn read_mode(db: &Connection) -> Result<String> {
    db.query_row("PRAGMA journal_mode", [], |row| row.get(0)).told(|| "reading the journal mode")
}

impl Sqlite {
    fn open(path: PathBuf) -> Result<Sqlite> {
        let (db, place, silence) = connect::open(&path)?;
        Ok(Sqlite {
            path,
            db,
            place,
            closed: false,
            rest: None,
            silence,
            names: Vec::new(),
            plans: HashMap::new(),
            last_before: HashMap::new(),
            owed: HashMap::new(),
            known: drift::Known::new(),
            version: 0,
            scanned: HashMap::new(),
            as_user: false,
            commits: 0,
        })
    }

    /// Reads the service tables at the beginning of a transaction.
    fn load(&mut self) -> Result<service::State> {
        let state = service::read(&self.db)?.ok_or_else(|| Error::new(ErrorKind::Service, NOT_INSTALLED))?;
        let state = state.in_full()?;
        self.names.clone_from(&state.nodes);
        Ok(state)
    }

    fn plan(&mut self, spec: &TableSpec) -> Result<Arc<Plan>> {
        if let Some(plan) = self.plans.get(&spec.index) {
            return Ok(plan.clone());
        }
        let plan = Arc::new(Plan::new(&self.db, spec)?);
        self.plans.insert(spec.index, plan.clone());
        Ok(plan)
    }

    fn drifted(&mut self, specs: &[TableSpec], version: i64) -> Result<Vec<(usize, Drift)>> {
        let installed = service::installed(&self.db)?;
        let mut drifted = Vec::new();
        for spec in specs {
            let known = &mut self.known;
            if let Some(drift) = drift::drifted(&self.db, spec, installed.get(&spec.name), version, known)? {
                drifted.push((spec.index, drift));
            }
        }
        Ok(drifted)
    }

    fn opened(&mut self, specs: &[TableSpec]) -> Result<Opened> {
        self.load()?;
        self.version = schema::version(&self.db)?;
        let drifted = self.drifted(specs, self.version)?;
        let mut next_marks = Vec::with_capacity(specs.len());
        for spec in specs {
            match install::last_id(&self.db, &install::history_name(&spec.name)) {
                Ok(last) => next_marks.push((spec.index, last + 1)),
                // A table without a history is among the drifted.
                Err(error) if error.kind == ErrorKind::Drift => {}
                Err(error) => return Err(error),
            }
        }
        let Some(service) = service::service(&self.db)? else {
            return Err(Error::new(ErrorKind::Service, "the service tables are gone"));
        };
        Ok(Opened {
            service,
            clock: time::now(),
            shared_marks: false,
            positions: service::positions(&self.db, specs)?,
            purged: service::purged(&self.db, specs)?,
            kept: witness::kept(&self.db, specs)?,
            next_marks,
            parked: service::parked(&self.db, specs, &self.names)?,
            drifted,
        })
    }

    /// What keeps triggers from recording what is written, unless they are to.
    fn silence(&self) -> Option<&Silence> {
        (!self.as_user).then_some(&self.silence)
    }

    /// Takes out what this transaction has recorded of rows that are to be written, or deleted without a `mode`: what a reference or a
    /// trigger did to them earlier is overwritten, and would pass for a change that a user made later than what is written.
    ///
    /// Where every change is counted, what changed more than a reference hands on stays, and the row is owed, unless it is deleted
    /// everywhere.
    fn forget_own(
        &mut self,
        plan: &Plan,
        spec: &TableSpec,
        mode: Option<WriteMode>,
        keys: impl FnOnce() -> HashSet<Key>,
    ) -> Result<()> {
        let is_overwritten = spec.captured && !self.as_user && mode != Some(WriteMode::InsertOnly);
        let Some(&last) = self.last_before.get(&spec.index).filter(|_| is_overwritten) else { return Ok(()) };
        let left = apply::forget(&self.db, plan, spec, last, &apply::Overwritten::by(spec, mode), keys)?;
        if !left.is_empty() {
            self.owed.entry(spec.index).or_default().extend(left);
        }
        Ok(())
    }

    fn refuse_other_file(&mut self) -> Result<()> {
        let other = "another file has taken its place since it was read, or its log was removed";
        self.run(|node| match node.same_file()? {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Lost, other)),
        })
    }

    fn defer_references(&mut self) -> Result<()> {
        self.db.execute_batch("PRAGMA defer_foreign_keys = ON").told(|| "deferring references")
    }

    /// Takes note of what the tables are that are scanned now.
    fn note_scanned(&mut self, specs: &[TableSpec]) -> Result<()> {
        for spec in specs {
            self.scanned.insert(spec.index, schema::identity(&self.db, &spec.local)?);
        }
        Ok(())
    }

    /// Fails unless the tables are what they were when they were scanned. Of tables that were not nothing was decided.
    fn refuse_others(&self, specs: &[TableSpec]) -> Result<()> {
        for spec in specs {
            let read = self.scanned.get(&spec.index);
            if let Some(read) = read
                && *read != schema::identity(&self.db, &spec.local)?
            {
                return Err(Error::changed(spec, ""));
            }
        }
        Ok(())
    }

    /// What has to be right before anything is written.
    fn prepared(&mut self, specs: &[TableSpec]) -> Result<()> {
        let names = self.names.clone();
        self.load()?;
        if !names.is_empty() && names != self.names {
            return Err(Error::new(ErrorKind::Drift, NODES_CHANGED));
        }
        let version = schema::version(&self.db)?;
        if version != self.version
            && let Some((index, drift)) = self.drifted(specs, version)?.into_iter().next()
        {
            let name = specs.iter().find(|spec| spec.index == index).map_or("a table", |spec| &spec.local);
            return Err(Error::new(ErrorKind::Drift, format!("`{name}` was changed meanwhile: {}", drift.what)));
        }
        self.defer_references()?;
        self.last_before.clear();
        self.owed.clear();
        for spec in specs {
            self.last_before.insert(spec.index, install::last_id(&self.db, &install::history_name(&spec.name))?);
            install::clear_guard(&self.db, &spec.name)?;
        }
        Ok(())
    }
}

#[async_trait]
impl Node for Sqlite {
    async fn probe(&mut self) -> Result<Probe> {
        self.run(|node| {
            let mut probe = Probe {
                server: format!("SQLite {}", rusqlite::version()),
                role: String::new(),
                identity: format!("sqlite:{}", node.place.file().as_str()),
                warnings: Vec::new(),
                refusals: Vec::new(),
            };
            let mode = read_mode(&node.db)?;
            if service::read(&node.db)?.is_some() && mode != "wal" {
                probe.warnings.push(format!(
                    "found in journal mode `{mode}`, to which something has switched it since it was installed: there Concord's reading \
                     makes writers wait; `concord install` switches it to `wal`"
                ));
            }
            probe.warnings.extend(node.place.shuts_out());
            Ok(probe)
        })
    }

    async fn catalogue(&mut self, table: &str) -> Result<Option<Catalogue>> {
        self.run(|node| schema::catalogue(&node.db, table))
    }

    async fn blueprint(&mut self, table: &str) -> Result<Option<Blueprint>> {
        self.run(|node| blueprint::read(&node.db, table))
    }

    async fn draft(&mut self, blueprint: &Blueprint, taken: &mut HashSet<String>) -> Result<Draft> {
        self.run(|node| blueprint::draft(&node.db, blueprint, taken))
    }

    async fn build(&mut self, tables: &[Vec<String>], made: &mut (dyn FnMut(usize) + Send)) -> Building {
        let mut at = 0;
        self.change(|node| blueprint::build(&node.db, tables, &mut at)).map_err(|error| (at, error))?;
        (0..tables.len()).for_each(made);
        Ok(())
    }

    async fn missing_rights(&mut self, _tables: &[TableSpec]) -> Result<Vec<MissingRight>> {
        self.run(|node| {
            let Some(error) = connect::refused_write(&node.db)? else { return Ok(Vec::new()) };
            Ok(vec![MissingRight {
                what: format!("write the file {} and its folder ({error})", node.path.display()),
                grant: connect::grant(&node.path),
            }])
        })
    }

    async fn missing_rights_to_compare(&mut self, tables: &[(&TableSpec, Writes)]) -> Result<Vec<MissingRight>> {
        match tables.iter().any(|(_, writes)| *writes != Writes::default()) {
            true => self.missing_rights(&[]).await,
            false => Ok(Vec::new()),
        }
    }

    async fn service(&mut self) -> Result<Option<Service>> {
        self.run(|node| service::service(&node.db))
    }

    async fn recorded(&mut self, sync: &str, tables: &[TableSpec]) -> Result<Vec<usize>> {
        self.reading(|node| service::recorded(&node.db, sync, tables)).await
    }

    async fn install(&mut self, sync: &Sync, tables: &[TableSpec]) -> Result<Vec<String>> {
        self.change(|node| install::install(&node.db, sync, tables))
    }

    async fn keep_shapes(&mut self, shapes: &[(String, String)]) -> Result<()> {
        self.change(|node| loading::changing(&node.db, || loading::keep_shapes(&node.db, shapes)))
    }

    async fn uninstall(&mut self) -> Result<bool> {
        // A statement that was not finished would keep the file in its journal mode.
        self.db.flush_prepared_statement_cache();
        self.change(|node| install::uninstall(&node.db))
    }

    async fn numbers(&mut self, table: &TableSpec, column: usize) -> Result<Numbers> {
        let last = self.greatest_in(table, column, 1, 0).await?;
        Ok(Numbers::within(&table.columns[column].domain, last))
    }

    async fn greatest_in(&mut self, table: &TableSpec, column: usize, step: i64, slot: i64) -> Result<i64> {
        let (local, column) = (quote::name(&table.local), quote::name(&table.columns[column].name));
        self.run(|node| {
            let sql = format!(
                "SELECT coalesce(max({column}), 0) FROM {local} \
                 WHERE typeof({column}) = 'integer' AND {column} > 0 AND {column} % {step} = {slot}"
            );
            node.db
                .query_row(&sql, [], |row| row.get(0))
                .told(|| format!("looking for the greatest {column} of {local}"))
        })
    }

    async fn reset(&mut self) -> Result<()> {
        self.change(|node| install::reset(&node.db))
    }

    async fn renew(&mut self, former: &str, positions: &[(String, String, Cut)], progress: &str) -> Result<bool> {
        self.change(|node| loading::changing(&node.db, || loading::renew(&node.db, former, positions, progress)))
    }

    async fn start_at(&mut self, positions: &[(String, String, Cut)]) -> Result<()> {
        self.change(|node| loading::changing(&node.db, || loading::start_at(&node.db, positions)))
    }

    async fn forget(&mut self, name: &str, seen: &[(String, Cut)]) -> Result<bool> {
        self.change(|node| loading::changing(&node.db, || loading::forget(&node.db, name, seen)))
    }

    async fn progress(&mut self) -> Result<Option<String>> {
        self.run(|node| loading::progress(&node.db))
    }

    async fn set_progress(&mut self, progress: Option<&str>) -> Result<()> {
        calls::patiently(calls::PATIENCE, || {
            self.run(|node| {
                node.give_up();
                node.commits = node.commits.wrapping_add(1);
                loading::set_progress(&node.db, progress)
            })
        })
        .await
    }

    async fn begin_read(&mut self, tables: &[TableSpec]) -> Result<Opened> {
        self.begin("BEGIN", |node| node.opened(tables)).await
    }

    async fn begin_scan(&mut self, tables: &[TableSpec]) -> Result<()> {
        let mode = self.reading(|node| {
            node.same_file()?;
            node.give_up();
            node.plans.clear();
            read_mode(&node.db)
        });
        match mode.await?.as_str() {
            // The first reading makes the snapshot.
            "wal" => self.begin("BEGIN", |node| node.note_scanned(tables)).await,
            // Whoever reads makes writers wait, so nothing is left open between two calls.
            _ => self.reading(|node| node.note_scanned(tables)).await,
        }
    }

    async fn entries(
        &mut self,
        table: &TableSpec,
        after: &Cut,
        _through: Option<i64>,
        limit: usize,
    ) -> Result<Entries> {
        self.run(|node| {
            let plan = node.plan(table)?;
            history::entries(&node.db, &plan, table, &node.names, after, limit)
        })
    }

    async fn holds(&mut self, entries: &[(&TableSpec, EntryId)]) -> Result<Vec<bool>> {
        self.run(|node| witness::holds(&node.db, entries))
    }

    async fn pending(&mut self, table: &str, after: &Cut, origin: Option<&str>) -> Result<u64> {
        self.run(|node| history::pending(&node.db, table, after, origin))
    }

    async fn ledger(&mut self) -> Result<Ledger> {
        self.run(|node| service::ledger(&node.db))
    }

    async fn entries_of(
        &mut self,
        table: &TableSpec,
        keys: &[&Key],
        each: &mut (dyn FnMut(Entry) + Send),
    ) -> Result<()> {
        self.run(|node| {
            let plan = node.plan(table)?;
            history::entries_of(&node.db, &plan, table, &node.names, keys, each)
        })
    }

    async fn rows(
        &mut self,
        table: &TableSpec,
        keys: &[&Key],
    ) -> Result<Vec<Option<std::result::Result<Row, String>>>> {
        self.reading(|node| {
            let plan = node.plan(table)?;
            history::rows(&node.db, &plan, table, keys)
        })
        .await
    }

    /// The statement that reads rows is kept by the table's index, and reads them whole.
    async fn stand(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<Vec<bool>> {
        Ok(self.rows(table, keys).await?.iter().map(Option::is_some).collect())
    }

    async fn scan(&mut self, table: &TableSpec, lots: &Lots) -> Result<()> {
        let mut pages = self.reading(|node| scan::Pages::of(&node.db, table)).await?;
        loop {
            let (rows, more) = self.reading(|node| pages.read(&node.db, table)).await?;
            lots.send(Lot::of(rows)).await?;
            if !more {
                return Ok(());
            }
        }
    }

    async fn walk(&mut self, table: &TableSpec, after: Option<&Key>, limit: usize) -> Result<Vec<Walked>> {
        self.run(|node| {
            let plan = node.plan(table)?;
            walk::walk(&node.db, &plan, table, after, limit)
        })
    }

    async fn count(&mut self, table: &TableSpec) -> Result<u64> {
        self.run(|node| walk::count(&node.db, table))
    }

    async fn end_read(&mut self) -> Result<()> {
        self.run(|node| {
            node.give_up();
            Ok(())
        })
    }

    async fn begin_apply(&mut self, tables: &[TableSpec]) -> Result<()> {
        self.refuse_other_file()?;
        self.as_user = false;
        self.begin("BEGIN IMMEDIATE", |node| node.prepared(tables)).await
    }

    async fn begin_mend(&mut self, tables: &[TableSpec]) -> Result<()> {
        self.refuse_other_file()?;
        self.as_user = true;
        self.owed.clear();
        self.begin("BEGIN IMMEDIATE", |node| {
            node.refuse_others(tables)?;
            node.defer_references()
        })
        .await
    }

    async fn rows_now(
        &mut self,
        table: &TableSpec,
        keys: &[&Key],
        _hold: bool,
    ) -> Result<Vec<Option<std::result::Result<Row, String>>>> {
        self.rows(table, keys).await
    }

    async fn claim(&mut self, moves: &[Move]) -> Result<bool> {
        self.run(|node| service::claim(&node.db, moves))
    }

    async fn waiting_now(&mut self, groups: &[(&TableSpec, &[&Key])]) -> Result<Vec<Parked>> {
        self.run(|node| service::parked_of(&node.db, groups, &node.names, false))
    }

    async fn waiting_rows(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<Vec<Parked>> {
        self.run(|node| service::parked_of(&node.db, &[(table, keys)], &node.names, true))
    }

    async fn savepoint(&mut self) -> Result<()> {
        // Whoever writes to other nodes meanwhile must not stand still for as long as this takes.
        tokio::task::yield_now().await;
        self.execute("SAVEPOINT concord")
    }

    async fn undo(&mut self) -> Result<()> {
        self.owed.clear();
        self.execute("ROLLBACK TO concord; RELEASE concord")
    }

    async fn release(&mut self) -> Result<()> {
        self.execute("RELEASE concord")
    }

    async fn write(&mut self, groups: &[(&TableSpec, &[&Row], WriteMode)]) -> Result<u64> {
        self.run(|node| {
            let mut written = 0;
            for (table, rows, mode) in groups {
                let plan = node.plan(table)?;
                node.forget_own(&plan, table, Some(*mode), || rows.iter().map(|row| table.key_of(row)).collect())?;
                written += apply::write(&node.db, node.silence(), &plan, table, rows, *mode)?;
            }
            apply::refuse_dangling(&node.db, groups.iter().map(|(table, ..)| *table)).map(|()| written)
        })
    }

    async fn delete(&mut self, groups: &[(&TableSpec, &[&Key])]) -> Result<u64> {
        self.run(|node| {
            let mut deleted = 0;
            for (table, keys) in groups {
                let plan = node.plan(table)?;
                node.forget_own(&plan, table, None, || keys.iter().map(|key| (*key).clone()).collect())?;
                deleted += apply::delete(&node.db, node.silence(), &plan, table, keys)?;
            }
            apply::refuse_dangling(&node.db, groups.iter().map(|(table, _)| *table)).map(|()| deleted)
        })
    }

    async fn obstacles(&mut self, table: &TableSpec, rows: &[&Row]) -> Result<Vec<Obstacle>> {
        self.run(|node| {
            let plan = node.plan(table)?;
            obstacles::find(&node.db, &plan, table, rows)
        })
    }

    async fn make_room(&mut self, table: &TableSpec, rows: &[&Row], room: Room) -> Result<()> {
        self.run(|node| {
            let plan = node.plan(table)?;
            unique::make_room(&node.db, &node.silence, &plan, table, rows, room)
        })
    }

    async fn still_referred(
        &mut self,
        table: &TableSpec,
        keys: &[&Key],
        going: &[(&TableSpec, &[&Key])],
    ) -> Result<Vec<Key>> {
        self.run(|node| {
            let plan = node.plan(table)?;
            apply::still_referred(&node.db, &plan, table, keys, going)
        })
    }

    async fn unseen(&mut self, table: &TableSpec, read: &Cut, keys: &[&Key]) -> Result<Vec<Key>> {
        self.run(|node| {
            let plan = node.plan(table)?;
            let last = node.last_before.get(&table.index).copied().unwrap_or(i64::MAX);
            let mut unseen = apply::unseen(&node.db, &plan, table, read, last, keys)?;
            if let Some(owed) = node.owed.get(&table.index) {
                unseen.extend(keys.iter().filter(|key| owed.contains(**key)).map(|key| (*key).clone()));
            }
            Ok(unseen)
        })
    }

    async fn altered(&mut self, table: &TableSpec, rows: &[&Row]) -> Result<Vec<(Key, String)>> {
        self.run(|node| {
            let plan = node.plan(table)?;
            apply::altered(&node.db, &plan, table, rows)
        })
    }

    async fn note(&mut self, table: &TableSpec, notes: &[&Note]) -> Result<()> {
        self.run(|node| {
            let plan = node.plan(table)?;
            apply::note(&node.db, &plan, table, &node.names, notes)
        })
    }

    async fn write_as_user(&mut self, table: &TableSpec, key: &Key, row: Option<&Row>) -> Result<()> {
        self.run(|node| {
            let plan = node.plan(table)?;
            match row {
                Some(row) => apply::write(&node.db, None, &plan, table, &[row], WriteMode::Upsert)?,
                None => apply::delete(&node.db, None, &plan, table, &[key])?,
            };
            apply::refuse_dangling(&node.db, std::iter::once(table))
        })
    }

    async fn touch(&mut self, table: &TableSpec, key: &Key, since: Option<i64>) -> Result<()> {
        self.run(|node| {
            let plan = node.plan(table)?;
            apply::touch(&node.db, &plan, table, key, since)
        })
    }

    async fn park(&mut self, tables: &[TableSpec], parked: &[Parked]) -> Result<()> {
        self.run(|node| service::park(&node.db, tables, &node.names, parked))
    }

    async fn unpark(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<()> {
        self.run(|node| service::unpark(&node.db, table, keys))
    }

    async fn record(&mut self, tables: &[TableSpec], lost: &[&Lost], _: bool) -> Result<()> {
        self.run(|node| journal::record(&node.db, tables, &node.names, lost))
    }

    async fn advance(&mut self, moves: &[Move]) -> Result<()> {
        self.run(|node| service::advance(&node.db, moves))
    }

    async fn commit(&mut self) -> Result<()> {
        self.run(|node| {
            node.commits = node.commits.wrapping_add(1);
            let done = node.waiting(PATIENCE, |node| {
                node.db.execute_batch("COMMIT").told(|| format!("committing in `{}`", node.path.display()))
            });
            if done.is_err() {
                node.give_up();
            }
            // What was written to the log now is known to be this file's.
            node.place.look();
            done
        })
    }

    async fn rollback(&mut self) -> Result<()> {
        self.run(|node| {
            node.give_up();
            Ok(())
        })
    }

    async fn purge(
        &mut self,
        table: &TableSpec,
        through: &Cut,
        arrivals: bool,
        witnesses: &[(&str, EntryId)],
    ) -> Result<u64> {
        let (mut gone, mut behind) = (0, None);
        loop {
            let (some, end) = calls::patiently(calls::LITTLE_PATIENCE, || {
                self.run(|node| {
                    node.give_up();
                    node.commits = node.commits.wrapping_add(1);
                    let end = history::purge_end(&node.db, table, through, arrivals, behind)?;
                    let until = end.map_or_else(|| through.clone(), Cut::through);
                    Ok((history::purge(&node.db, table, &until, arrivals, behind, witnesses)?, end))
                })
            })
            .await?;
            gone += some;
            if end.is_none() {
                return Ok(gone);
            }
            behind = end;
            // Users who wait for the lock look for it now and then.
            tokio::time::sleep(calls::PAUSE).await;
        }
    }

    async fn pulse(&mut self, _tables: &[TableSpec]) -> Result<u64> {
        self.run(|node| {
            node.same_file()?;
            let version: u32 = node
                .db
                .prepare_cached("PRAGMA data_version")
                .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
                .told(|| "asking for changes")?;
            let pulse = u64::from(version) << 32 | u64::from(node.commits);
            node.settle(pulse)?;
            Ok(pulse)
        })
    }

    async fn journalled(&mut self, tables: &[TableSpec]) -> Result<u64> {
        self.run(|node| {
            let Some(state) = service::read(&node.db)? else { return Ok(0) };
            journal::journalled(&node.db, tables, &state.nodes)
        })
    }

    async fn journal_size(&mut self) -> Result<u64> {
        self.run(|node| match service::read(&node.db)? {
            Some(_) => journal::size(&node.db),
            None => Ok(0),
        })
    }

    async fn journal(&mut self, tables: &[TableSpec], sought: Sought<'_>, limit: usize) -> Result<Vec<Lost>> {
        self.run(|node| {
            let Some(state) = service::read(&node.db)? else { return Ok(Vec::new()) };
            journal::journal(&node.db, tables, &state.nodes, sought, limit)
        })
    }

    async fn trim_journal(&mut self, before: i64, most: usize) -> Result<u64> {
        calls::patiently(calls::LITTLE_PATIENCE, || {
            self.run(|node| {
                node.give_up();
                let gone = journal::trim(&node.db, before, most)?;
                if gone > 0 {
                    node.commits = node.commits.wrapping_add(1);
                }
                Ok(gone)
            })
        })
        .await
    }

    async fn blockers(&mut self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}
