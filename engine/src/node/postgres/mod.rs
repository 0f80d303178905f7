//! PostgreSQL, 13 and newer.
//!
//! Marks are 64-bit transaction ids and a cut is a snapshot, so that a transaction that commits late is found whenever it
//! does (`history.rs`). Triggers record keys as they change (`capture.rs`). Rows travel as arrays, one per column, in
//! binary form (`wire.rs`).

mod apply;
mod blueprint;
mod capture;
mod connect;
mod copy;
mod drift;
mod failure;
mod gaps;
mod history;
mod holders;
mod identity;
mod install;
mod journal;
mod loading;
mod numbers;
mod obstacles;
mod quote;
mod rights;
mod scan;
mod schema;
mod service;
mod sql;
mod types;
mod unique;
mod walk;
mod wire;
mod witness;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::TryStreamExt;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection};

use self::connect::Place;
use self::holders::Lock;
use self::wire::Args;
use super::blueprint::{Blueprint, Building, Draft};
use super::{
    Catalogue, Entries, Error, ErrorKind, Ledger, Lots, MissingRight, Move, Node, Note, Numbers, Obstacle, Opened,
    Probe, Purge, Result, Room, Service, Sought, Stepped, Steps, Sync, Walked, WriteMode, Writes,
};
use crate::model::{Cut, Entry, EntryId, Key, Lost, Parked, Row, TableSpec};

/// The schemas that belong to Concord.
const SERVICE: &str = "concord";
const HISTORY: &str = "history_store";

pub async fn connect(url: &str) -> Result<Box<dyn Node>> {
    let mut node = Postgres::new(Place::parse(url)?);
    node.open().await?;
    Ok(Box::new(node))
}

/// One database, through one session that is opened again when it breaks.
struct Postgres {
    place: Place,
    session: Option<PgConnection>,
    phase: Phase,
    /// The transaction holds an error and can only be undone or rolled back.
    aborted: bool,
    /// The savepoint is to be released before the next one.
    released: bool,
    /// A statement found a table other than it was prepared for.
    stale: bool,
    /// The server's process that serves the session.
    pid: i32,
    role: String,
    /// Schemas in which the role looks for unqualified names.
    path: Vec<String>,
    /// Types that have an `=` of their own, by name: the operator. Read when a type that is not built in is met.
    equalities: Option<HashMap<String, String>>,
    /// Types that are enums, read with these.
    enums: HashSet<String>,
    /// How each table was left by the last install, by its shared name, as the service tables say.
    fingerprints: HashMap<String, String>,
    /// Of tables whose triggers their owner made fire in replication sessions as well: the fingerprint that was left, and
    /// the one that was found.
    widened: HashMap<String, (String, String)>,
    /// The sync's nodes as the service tables name them.
    names: Vec<String>,
    /// Whether all service tables are there that this Concord knows.
    complete: bool,
    /// Whether its journal keeps what plugins were told, which that of an earlier Concord does not.
    tells: bool,
    /// Why the service tables are not trusted, if they are not.
    foreign: Option<String>,
    /// What the snapshot being read sees.
    whole: Cut,
    /// Per table (schema, name): what writing it takes.
    targets: HashMap<(String, String), apply::Target>,
    /// What each table was when it was read last, by table index, see `identity.rs`.
    identities: HashMap<usize, Option<String>>,
    /// Tables that the open snapshot has been found to show as they are, by table index.
    shown: HashSet<usize>,
    /// Per table, whether rows can be copied in, as far as this transaction has asked.
    copied: HashMap<(String, String), bool>,
    /// The tables whose triggers know that the next statement is Concord's own.
    announced: Vec<i64>,
    /// Whether what is written next is a user's change, of which no trigger is told.
    as_user: bool,
    /// Keys of the last write that need not look as they were written, by table index.
    lenient: HashSet<(usize, Key)>,
    /// Whether a table that this transaction may write has triggers of users.
    has_triggers: bool,
    /// Keys of rows that were written although this transaction had recorded what must not be lost, by table index.
    owed: HashMap<usize, HashSet<Key>>,
    pulse: history::Pulse,
    /// Where the session comes back that a snapshot was given away with.
    returned: Returned,
    /// Whether that is where this one's goes at its end.
    is_lent: bool,
}

/// A session that nobody uses, and the server's process that serves it.
type Returned = Arc<Mutex<Option<(PgConnection, i32)>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Reading,
    Applying,
    Purging,
    Installing,
}

impl Postgres {
    fn new(place: Place) -> Postgres {
        Postgres {
            place,
            session: None,
            phase: Phase::Idle,
            aborted: false,
            released: false,
            stale: false,
            pid: 0,
            role: String::new(),
            path: Vec::new(),
            equalities: None,
            enums: HashSet::new(),
            fingerprints: HashMap::new(),
            widened: HashMap::new(),
            names: Vec::new(),
            complete: false,
            tells: false,
            foreign: None,
            whole: Cut::START,
            targets: HashMap::new(),
            identities: HashMap::new(),
            shown: HashSet::new(),
            copied: HashMap::new(),
            announced: Vec::new(),
            as_user: false,
            lenient: HashSet::new(),
            has_triggers: false,
            owed: HashMap::new(),
            pulse: history::Pulse::default(),
            returned: Returned::default(),
            is_lent: false,
        }
    }

    /// Makes sure of a session that is in no transaction.
    async fn open(&mut self) -> Result<()> {
        if self.phase != Phase::Idle {
            self.close().await;
        }
        // It knows the statements that are asked again and again.
        if let Some((session, pid)) = self.returned.lock().unwrap_or_else(PoisonError::into_inner).take() {
            (self.session, self.pid) = (Some(session), pid);
        }
        if self.session.is_none() {
            let opening = self.place.connect().await?;
            (self.session, self.path, self.pid) = (Some(opening.connection), opening.path, opening.pid);
            (self.role, self.stale) = (opening.role, false);
        }
        if self.stale {
            self.targets.clear();
            self.stale = false;
            if let Some(session) = &mut self.session {
                let clearing = self.place.answer(self.pid, session.clear_cached_statements()).await;
                clearing.map_err(|error| self.fail(error))?;
            }
        }
        Ok(())
    }

    /// Gives up whatever transaction there is.
    async fn close(&mut self) {
        let phase = std::mem::replace(&mut self.phase, Phase::Idle);
        self.aborted = false;
        self.released = false;
        self.as_user = false;
        self.announced.clear();
        self.copied.clear();
        self.lenient.clear();
        self.owed.clear();
        if phase != Phase::Idle && self.run("ROLLBACK").await.is_err() {
            // Without a working connection the server rolls back by itself.
            self.session = None;
        }
    }

    /// Starts a transaction with these statements.
    async fn begin(&mut self, phase: Phase, statements: &str) -> Result<()> {
        self.open().await?;
        // From here on something may be open that has to be rolled back, whatever the outcome.
        self.phase = phase;
        self.shown.clear();
        self.run(statements).await
    }

    /// The session, and how to wait for its answers.
    fn connection(&mut self) -> Result<(&mut PgConnection, &Place, i32)> {
        let gone = || Error::new(ErrorKind::Lost, "the connection to PostgreSQL is gone");
        Ok((self.session.as_mut().ok_or_else(gone)?, &self.place, self.pid))
    }

    /// Runs one statement with parameters. Its text is prepared once per session.
    async fn fetch(&mut self, statement: impl AsRef<str>, args: Args) -> Result<Vec<PgRow>> {
        let query = sqlx::query_with(AssertSqlSafe(statement.as_ref()), args.finish()?);
        let (session, place, pid) = self.connection()?;
        let result = place.answer(pid, query.fetch_all(session)).await;
        result.map_err(|error| self.fail(error))
    }

    /// The same for a question about the catalogue, which compares much that is not of one type: where rows are applied, and the search
    /// path is the role's, it is asked by the server's own operators alone.
    async fn look_up(&mut self, statement: &str, args: Args) -> Result<Vec<PgRow>> {
        if self.phase != Phase::Applying {
            return self.fetch(statement, args).await;
        }
        self.run("SET LOCAL search_path TO pg_catalog").await?;
        let rows = self.fetch(statement, args).await?;
        self.run("SET LOCAL search_path TO DEFAULT").await?;
        Ok(rows)
    }

    /// Runs one statement that gives no rows; how many it changed.
    async fn execute(&mut self, statement: impl AsRef<str>, args: Args) -> Result<u64> {
        let query = sqlx::query_with(AssertSqlSafe(statement.as_ref()), args.finish()?);
        let (session, place, pid) = self.connection()?;
        let result = place.answer(pid, query.execute(session)).await;
        result.map(|done| done.rows_affected()).map_err(|error| self.fail(error))
    }

    /// The same for many rows: each is given to `take` as it arrives, so that the server goes on meanwhile.
    async fn stream(
        &mut self,
        statement: impl AsRef<str>,
        args: Args,
        mut take: impl FnMut(PgRow) -> Result<()> + Send,
    ) -> Result<()> {
        let query = sqlx::query_with(AssertSqlSafe(statement.as_ref()), args.finish()?);
        let (session, place, pid) = self.connection()?;
        let mut rows = query.fetch(session);
        loop {
            match place.answer(pid, rows.try_next()).await {
                Ok(Some(row)) => take(row)?,
                Ok(None) => return Ok(()),
                Err(error) => {
                    drop(rows);
                    return Err(self.fail(error));
                }
            }
        }
    }

    /// Runs statements without parameters, in one round trip.
    async fn run(&mut self, statements: &str) -> Result<()> {
        let (session, place, pid) = self.connection()?;
        let result = place.answer(pid, sqlx::raw_sql(AssertSqlSafe(statements)).execute(session)).await;
        result.map(drop).map_err(|error| self.fail(error))
    }

    fn fail(&mut self, error: sqlx::Error) -> Error {
        let error = failure::error(error);
        match error.kind {
            ErrorKind::Lost => self.session = None,
            ErrorKind::Drift => self.stale = true,
            _ => {}
        }
        self.aborted = self.phase != Phase::Idle;
        error
    }
}

#[async_trait]
impl Node for Postgres {
    async fn probe(&mut self) -> Result<Probe> {
        self.open().await?;
        self.read_probe().await
    }

    async fn catalogue(&mut self, table: &str) -> Result<Option<Catalogue>> {
        self.open().await?;
        let read = self.read_catalogue(table).await;
        self.with_grant(read, false).await
    }

    async fn blueprint(&mut self, table: &str) -> Result<Option<Blueprint>> {
        self.open().await?;
        let read = self.read_blueprint(table).await;
        self.with_grant(read, false).await
    }

    async fn draft(&mut self, blueprint: &Blueprint, taken: &mut HashSet<String>) -> Result<Draft> {
        self.open().await?;
        let written = self.write_draft(blueprint, taken).await;
        self.with_grant(written, false).await
    }

    async fn build(&mut self, tables: &[Vec<String>], made: &mut (dyn FnMut(usize) + Send)) -> Building {
        let done = self.run_statements(tables, made).await;
        self.close().await;
        match done {
            Err((place, error)) => self.with_grant(Err(error), false).await.map_err(|error| (place, error)),
            done => done,
        }
    }

    async fn missing_rights(&mut self, tables: &[TableSpec]) -> Result<Vec<MissingRight>> {
        self.open().await?;
        self.read_missing_rights(tables).await
    }

    async fn gaps(&mut self, tables: &[TableSpec]) -> Result<Vec<String>> {
        self.open().await?;
        self.find_gaps(tables).await
    }

    async fn missing_rights_to_compare(&mut self, tables: &[(&TableSpec, Writes)]) -> Result<Vec<MissingRight>> {
        self.open().await?;
        self.read_missing_rights_to_compare(tables).await
    }

    async fn service(&mut self) -> Result<Option<Service>> {
        self.open().await?;
        let read = self.read_service().await;
        self.with_grant(read, true).await
    }

    async fn recorded(&mut self, sync: &str, tables: &[TableSpec]) -> Result<Vec<usize>> {
        if self.phase == Phase::Idle {
            self.open().await?;
        }
        self.read_recorded(sync, tables).await
    }

    async fn install(&mut self, sync: &Sync, tables: &[TableSpec]) -> Result<Vec<String>> {
        let done = self.install_all(sync, tables).await;
        self.close().await;
        let done = self.with_grant(done, true).await;
        self.with_holders(&tables.iter().collect::<Vec<_>>(), Lock::Change, done).await
    }

    async fn keep_shapes(&mut self, shapes: &[(String, String)]) -> Result<()> {
        let done = self.write_shapes(shapes).await;
        self.close().await;
        done
    }

    async fn uninstall(&mut self) -> Result<bool> {
        let done = self.uninstall_all().await;
        self.close().await;
        let done = self.with_grant(done, true).await;
        self.with_holders(&[], Lock::Change, done).await
    }

    async fn numbers(&mut self, table: &TableSpec, column: usize) -> Result<Numbers> {
        self.open().await?;
        self.read_numbers(table, column).await
    }

    async fn greatest_in(&mut self, table: &TableSpec, column: usize, step: i64, slot: i64) -> Result<i64> {
        self.open().await?;
        self.read_greatest(table, column, Some((step, slot))).await
    }

    async fn step_numbers(&mut self, table: &TableSpec, column: usize, steps: Steps) -> Result<Stepped> {
        let done = self.make_steps(table, column, steps).await;
        self.close().await;
        done
    }

    async fn restore_numbers(&mut self, keep: &[(&TableSpec, usize)]) -> Result<Vec<String>> {
        let done = self.restore_steps(keep).await;
        self.close().await;
        done
    }

    async fn reset(&mut self) -> Result<()> {
        let done = self.reset_all().await;
        self.close().await;
        let done = self.with_grant(done, true).await;
        self.with_holders(&[], Lock::Change, done).await
    }

    async fn renew(&mut self, former: &str, positions: &[(String, String, Cut)], progress: &str) -> Result<bool> {
        let done = self.renew_all(former, positions, progress).await;
        self.close().await;
        done
    }

    async fn start_at(&mut self, positions: &[(String, String, Cut)]) -> Result<()> {
        let done = self.start_positions(positions).await;
        self.close().await;
        done
    }

    async fn forget(&mut self, node: &str, seen: &[(String, Cut)]) -> Result<bool> {
        let done = self.forget_node(node, seen).await;
        self.close().await;
        done
    }

    async fn progress(&mut self) -> Result<Option<String>> {
        self.open().await?;
        self.read_progress().await
    }

    async fn set_progress(&mut self, progress: Option<&str>) -> Result<()> {
        self.open().await?;
        self.write_progress(progress).await.map_err(|error| error.held_at("concord.load"))
    }

    async fn begin_read(&mut self, tables: &[TableSpec]) -> Result<Opened> {
        let opened = self.open_snapshot(tables).await;
        let opened = self.with_grant(opened, true).await;
        self.with_holders(&[], Lock::Read, opened).await
    }

    async fn begin_scan(&mut self, tables: &[TableSpec]) -> Result<()> {
        let opened = self.open_scan(tables).await;
        let opened = self.with_grant(opened, false).await;
        self.with_holders(&tables.iter().collect::<Vec<_>>(), Lock::Read, opened).await
    }

    async fn entries(&mut self, table: &TableSpec, after: &Cut, through: Option<i64>, limit: usize) -> Result<Entries> {
        self.read_entries(table, after, through, limit).await
    }

    async fn holds(&mut self, entries: &[(&TableSpec, EntryId)]) -> Result<Vec<bool>> {
        self.find_entries(entries).await
    }

    async fn pending(&mut self, table: &str, after: &Cut, origin: Option<&str>) -> Result<u64> {
        self.count_entries(table, after, origin).await
    }

    async fn ledger(&mut self) -> Result<Ledger> {
        self.read_ledger().await
    }

    async fn entries_of(
        &mut self,
        table: &TableSpec,
        keys: &[&Key],
        each: &mut (dyn FnMut(Entry) + Send),
    ) -> Result<()> {
        self.read_entries_of(table, keys, each).await
    }

    async fn rows(
        &mut self,
        table: &TableSpec,
        keys: &[&Key],
    ) -> Result<Vec<Option<std::result::Result<Row, String>>>> {
        let rows = self.read_rows(table, keys, "").await;
        let rows = self.with_holders(&[table], Lock::Read, rows).await?;
        let shown = self.find_shown(table).await;
        self.with_holders(&[table], Lock::Read, shown).await?;
        Ok(rows)
    }

    async fn scan(&mut self, table: &TableSpec, lots: &Lots) -> Result<()> {
        // Here the rows are gone when they have been read.
        let shown = self.find_shown(table).await;
        self.with_holders(&[table], Lock::Read, shown).await?;
        self.scan_table(table, lots).await
    }

    async fn walk(&mut self, table: &TableSpec, after: Option<&Key>, limit: usize) -> Result<Vec<Walked>> {
        let rows = self.walk_rows(table, after, limit).await;
        let rows = self.with_holders(&[table], Lock::Read, rows).await?;
        self.find_shown(table).await?;
        Ok(rows)
    }

    async fn count(&mut self, table: &TableSpec) -> Result<u64> {
        let count = self.count_rows(table).await;
        let count = self.with_holders(&[table], Lock::Read, count).await?;
        self.find_shown(table).await?;
        Ok(count)
    }

    async fn end_read(&mut self) -> Result<()> {
        self.close().await;
        if self.is_lent && !self.stale {
            let session = self.session.take().map(|session| (session, self.pid));
            *self.returned.lock().unwrap_or_else(PoisonError::into_inner) = session;
        }
        Ok(())
    }

    fn give_snapshot(&mut self) -> Option<Box<dyn Node>> {
        if self.phase != Phase::Reading || self.aborted {
            return None;
        }
        let session = self.session.take()?;
        self.phase = Phase::Idle;
        Some(Box::new(Postgres {
            session: Some(session),
            phase: Phase::Reading,
            pid: self.pid,
            role: self.role.clone(),
            path: self.path.clone(),
            equalities: self.equalities.clone(),
            enums: self.enums.clone(),
            whole: self.whole.clone(),
            shown: std::mem::take(&mut self.shown),
            returned: Arc::clone(&self.returned),
            is_lent: true,
            ..Postgres::new(self.place.clone())
        }))
    }

    async fn begin_apply(&mut self, tables: &[TableSpec]) -> Result<()> {
        let opened = self.open_apply(tables).await;
        self.with_holders(&tables.iter().collect::<Vec<_>>(), Lock::Read, opened).await
    }

    async fn begin_mend(&mut self, tables: &[TableSpec]) -> Result<()> {
        let opened = self.open_mend(tables).await;
        self.with_holders(&tables.iter().collect::<Vec<_>>(), Lock::Write, opened).await
    }

    async fn rows_now(
        &mut self,
        table: &TableSpec,
        keys: &[&Key],
        hold: bool,
    ) -> Result<Vec<Option<std::result::Result<Row, String>>>> {
        self.read_rows(table, keys, if hold { " FOR UPDATE OF t" } else { "" }).await
    }

    async fn claim(&mut self, moves: &[Move]) -> Result<bool> {
        let claimed = self.claim_positions(moves).await;
        self.with_engines(claimed).await
    }

    async fn waiting_now(&mut self, groups: &[(&TableSpec, &[&Key])]) -> Result<Vec<Parked>> {
        self.read_parked_of(groups, false).await
    }

    async fn waiting_rows(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<Vec<Parked>> {
        self.read_parked_of(&[(table, keys)], true).await
    }

    async fn hurry(&mut self) -> Result<()> {
        self.run(apply::HURRY).await
    }

    async fn savepoint(&mut self) -> Result<()> {
        match std::mem::take(&mut self.released) {
            true => self.run("RELEASE SAVEPOINT concord; SAVEPOINT concord").await,
            false => self.run("SAVEPOINT concord").await,
        }
    }

    async fn undo(&mut self) -> Result<()> {
        // The announcement may have been made after the savepoint, and is undone with it.
        self.announced.clear();
        // So is the lock that kept the types from being changed; what cannot be copied needs none.
        self.copied.retain(|_, can| !*can);
        self.lenient.clear();
        self.owed.clear();
        // One that was let go and is still there goes first.
        for _ in 0..=u8::from(std::mem::take(&mut self.released)) {
            self.run("ROLLBACK TO SAVEPOINT concord; RELEASE SAVEPOINT concord").await?;
        }
        self.aborted = false;
        Ok(())
    }

    async fn release(&mut self) -> Result<()> {
        // Said with the next savepoint, or by the commit. One of them at most is left unsaid.
        if std::mem::replace(&mut self.released, true) {
            self.run("RELEASE SAVEPOINT concord").await?;
        }
        Ok(())
    }

    async fn write(&mut self, groups: &[(&TableSpec, &[&Row], WriteMode)]) -> Result<u64> {
        self.write_rows(groups).await
    }

    async fn delete(&mut self, groups: &[(&TableSpec, &[&Key])]) -> Result<u64> {
        self.delete_rows(groups).await
    }

    async fn obstacles(&mut self, table: &TableSpec, rows: &[&Row]) -> Result<Vec<Obstacle>> {
        self.find_obstacles(table, rows).await
    }

    async fn make_room(&mut self, table: &TableSpec, rows: &[&Row], room: Room) -> Result<()> {
        self.clear_uniques(table, rows, room).await
    }

    async fn still_referred(
        &mut self,
        table: &TableSpec,
        keys: &[&Key],
        going: &[(&TableSpec, &[&Key])],
    ) -> Result<Vec<Key>> {
        self.find_referred(table, keys, going).await
    }

    async fn hidden_referring(&mut self, table: &TableSpec) -> Result<Option<MissingRight>> {
        self.missing_to_see_referring(table).await
    }

    async fn locked(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<Vec<Key>> {
        self.find_locked(table, keys).await
    }

    async fn writers(&mut self, table: &TableSpec) -> Result<Vec<i64>> {
        self.find_writers(table).await
    }

    async fn unseen(&mut self, table: &TableSpec, read: &Cut, keys: &[&Key]) -> Result<Vec<Key>> {
        let mut unseen = self.find_unseen(table, read, keys).await?;
        unseen.extend(self.owed_among(table, keys));
        Ok(unseen)
    }

    async fn altered(&mut self, table: &TableSpec, rows: &[&Row]) -> Result<Vec<(Key, String)>> {
        self.find_altered(table, rows).await
    }

    async fn note(&mut self, table: &TableSpec, notes: &[&Note]) -> Result<()> {
        let history = || format!("{HISTORY}.{}", table.name);
        self.write_notes(table, notes).await.map_err(|error| error.held_at(history()))
    }

    async fn write_as_user(&mut self, table: &TableSpec, key: &Key, row: Option<&Row>) -> Result<()> {
        self.as_user = true;
        let written = match row {
            Some(row) => self.write_rows(&[(table, &[row], WriteMode::Upsert)]).await,
            None => self.delete_rows(&[(table, &[key])]).await,
        };
        self.as_user = false;
        written.map(drop).map_err(|error| error.held_at(table.full_name()))
    }

    async fn touch(&mut self, table: &TableSpec, key: &Key, since: Option<i64>) -> Result<()> {
        self.write_touch(table, key, since).await
    }

    async fn park(&mut self, tables: &[TableSpec], parked: &[Parked]) -> Result<()> {
        self.write_parked(tables, parked).await.map_err(|error| error.held_at("concord.parked"))
    }

    async fn unpark(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<()> {
        self.delete_parked(table, keys).await
    }

    async fn record(&mut self, tables: &[TableSpec], lost: &[&Lost], again: bool) -> Result<()> {
        self.write_journal(tables, lost, again).await.map_err(|error| error.held_at("concord.journal"))
    }

    async fn advance(&mut self, moves: &[Move]) -> Result<()> {
        self.move_positions(moves).await.map_err(|error| error.held_at("concord.position"))
    }

    async fn commit(&mut self) -> Result<()> {
        if self.aborted {
            // COMMIT would roll back and call it a success.
            return Err(Error::new(ErrorKind::Retry, "the transaction failed and cannot be committed"));
        }
        self.run("COMMIT").await?;
        self.phase = Phase::Idle;
        self.released = false;
        self.as_user = false;
        self.announced.clear();
        self.copied.clear();
        self.lenient.clear();
        self.owed.clear();
        Ok(())
    }

    async fn rollback(&mut self) -> Result<()> {
        self.close().await;
        Ok(())
    }

    async fn purge(
        &mut self,
        table: &TableSpec,
        through: &Cut,
        arrivals: bool,
        witnesses: &[(&str, EntryId)],
    ) -> Result<u64> {
        let done = async {
            self.note_triggers(table).await?;
            self.delete_entries(table, through, arrivals, witnesses).await
        };
        let done = done.await;
        self.close().await;
        self.with_holders(&[], Lock::Write, done).await
    }

    async fn begin_purge(&mut self, purges: &[Purge]) -> Result<bool> {
        for purge in purges {
            self.note_triggers(&purge.table).await?;
        }
        self.begin_deleting(purges).await.map(|()| true)
    }

    async fn pulse(&mut self, tables: &[TableSpec]) -> Result<u64> {
        self.open().await?;
        self.read_pulse(tables).await
    }

    async fn journalled(&mut self, tables: &[TableSpec]) -> Result<u64> {
        self.open().await?;
        self.count_journal(tables).await
    }

    async fn journal_size(&mut self) -> Result<u64> {
        self.open().await?;
        self.count_whole_journal().await
    }

    async fn journal(&mut self, tables: &[TableSpec], sought: Sought<'_>, limit: usize) -> Result<Vec<Lost>> {
        self.open().await?;
        self.read_journal(tables, sought, limit).await
    }

    async fn trim_journal(&mut self, before: i64, most: usize) -> Result<u64> {
        self.open().await?;
        self.delete_journal(before, most).await
    }

    async fn blockers(&mut self) -> Result<Vec<String>> {
        self.open().await?;
        self.read_blockers().await
    }
}
