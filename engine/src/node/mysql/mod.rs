//! MySQL, 8.0.19 and newer, and MariaDB, 10.7 and newer. What differs between them is chosen by the server's version.
//!
//! An entry gets its mark when it is read, so that one that is committed late is found whenever it is (`marks.rs`).
//! Triggers record keys as they change (`capture.rs`), and what references do without firing any (`cascades.rs`).

mod apply;
mod blueprint;
mod capture;
mod cascades;
mod connect;
mod drift;
mod failure;
mod history;
mod identity;
mod install;
mod loading;
mod marks;
mod notes;
mod numbers;
mod obstacles;
mod probe;
mod quote;
mod replication;
mod rights;
mod sample;
mod schema;
mod service;
mod sql;
mod types;
mod unique;
mod walk;
mod wire;
mod witness;

use std::collections::{BTreeSet, HashMap, HashSet};

use async_trait::async_trait;

use self::connect::{Line, Place};
use self::marks::Given;
use super::blueprint::{Blueprint, Building, Draft};
use super::{
    Catalogue, Entries, Error, ErrorKind, Ledger, Lots, MissingRight, Move, Node, Note, Numbers, Obstacle, Opened,
    Probe, Purge, Result, Room, Service, Sought, Stepped, Steps, Sync, Walked, WriteMode, Writes,
};
use crate::model::{Cut, Entry, EntryId, Key, Lost, Parked, Row, TableSpec};

const SNAPSHOT: &str =
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

pub async fn connect(url: &str) -> Result<Box<dyn Node>> {
    let mut node = MySql::new(Place::parse(url)?);
    node.open().await?;
    Ok(Box::new(node))
}

/// One database, through one session that is opened again when it breaks, and a second for what has to be done or seen
/// outside of the first one's transaction.
struct MySql {
    place: Place,
    main: Option<Line>,
    side: Option<Line>,
    phase: Phase,
    /// Whether the server that was connected to last is MariaDB, which is known without a session.
    maria: bool,
    /// By how much the clock by which entries are timed was ahead of the server's own when both were read last, µs.
    strays: i64,
    /// How many savepoints there are.
    depth: usize,
    /// How each table was left by the last install, by its shared name, as the service tables say.
    fingerprints: HashMap<String, String>,
    /// What each table was when it was read last, by table index, see `identity.rs`.
    identities: HashMap<usize, String>,
    /// The sync's nodes as the service tables name them.
    names: Vec<String>,
    /// Whether all service tables are there that this Concord knows.
    complete: bool,
    /// Whether its journal keeps what plugins were told, which that of an earlier Concord does not.
    tells: bool,
    /// The last mark that was given to what the snapshot sees.
    stamp: i64,
    /// Which entries have it only by their ids, see `marks.rs`; `None` if the entries themselves say.
    given: Option<Given>,
    /// How many entries a cycle takes.
    lot: usize,
    /// The tables whose triggers know that the next statement is Concord's own.
    announced: String,
    /// The same tables by their shared names.
    owned: BTreeSet<String>,
    /// What shows the triggers that a change is Concord's own.
    proof: Option<i64>,
    /// The server at which that was read last: the one that is written to.
    server: Option<i64>,
    /// Whether what is written next is a user's change, of which no trigger is told.
    as_user: bool,
    /// Whether rows of a table that stand have to be updated one by one, for one of its unique indexes, by its local name, as this
    /// transaction knows.
    hashed: HashMap<String, bool>,
    /// The local names of the tables of which a user's trigger sees rows before they are inserted, as this transaction knows.
    before_insert: HashSet<String>,
    /// Keys of the last write that need not look as they were written, by table index.
    lenient: HashSet<(usize, Key)>,
    /// Whether a table that this transaction may write has triggers of users.
    has_triggers: bool,
    /// Keys of rows that were written although this transaction had recorded what must not be lost, by table index.
    owed: HashMap<usize, HashSet<Key>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Reading,
    Applying,
    Purging,
    Installing,
}

impl MySql {
    fn new(place: Place) -> MySql {
        MySql {
            place,
            main: None,
            side: None,
            phase: Phase::Idle,
            maria: false,
            strays: 0,
            depth: 0,
            fingerprints: HashMap::new(),
            identities: HashMap::new(),
            names: Vec::new(),
            complete: false,
            tells: false,
            stamp: 0,
            given: None,
            lot: 0,
            announced: String::new(),
            owned: BTreeSet::new(),
            proof: None,
            server: None,
            as_user: false,
            hashed: HashMap::new(),
            before_insert: HashSet::new(),
            lenient: HashSet::new(),
            has_triggers: false,
            owed: HashMap::new(),
        }
    }

    /// Makes sure of a session that is in no transaction.
    async fn open(&mut self) -> Result<()> {
        if self.phase != Phase::Idle {
            self.close().await;
        }
        if self.main.as_ref().is_none_or(|main| main.broken) {
            self.main = None;
            self.forget_announced();
            let main = self.place.connect().await?;
            self.maria = main.facts.maria;
            self.main = Some(main);
        }
        Ok(())
    }

    /// Gives up whatever transaction there is.
    async fn close(&mut self) {
        let phase = std::mem::replace(&mut self.phase, Phase::Idle);
        self.depth = 0;
        self.as_user = false;
        self.lenient.clear();
        self.owed.clear();
        self.hashed.clear();
        let Some(main) = &mut self.main else { return };
        // After a deadlock the server has ended the transaction, and what is sent next would be one of its own. Locks of an
        // install are the session's.
        let keep = match phase {
            _ if main.broken => false,
            Phase::Idle => true,
            Phase::Installing => {
                // Whether or not it is heard: the session ends with it.
                let _ = main.run("ROLLBACK; DO RELEASE_ALL_LOCKS()").await;
                false
            }
            Phase::Reading | Phase::Applying | Phase::Purging => main.run("ROLLBACK").await.is_ok(),
        };
        if !keep {
            self.main = None;
            self.forget_announced();
        }
    }

    /// What triggers were told went with the session.
    fn forget_announced(&mut self) {
        self.announced.clear();
        self.owned.clear();
    }

    /// Starts a transaction with these statements.
    async fn begin(&mut self, phase: Phase, statements: &str) -> Result<()> {
        self.open().await?;
        // From here on something may be open that has to be rolled back, whatever the outcome.
        self.phase = phase;
        self.main()?.run(statements).await
    }

    /// Tells with an error about a lock which table is locked, unless it says what is. Nobody says so of a list of them; so each
    /// is asked for once more, for a moment, and the transaction, which has just begun, is given up for that.
    async fn with_locked<T>(&mut self, tables: &[TableSpec], done: Result<T>) -> Result<T> {
        let error = match done {
            Err(error) if error.is_unnamed_lock() => error,
            done => return done,
        };
        self.close().await;
        let name = match tables {
            [one] => one.full_name(),
            // It is told all the same if nobody can be asked.
            tables => self.first_locked(tables).await.ok().flatten().unwrap_or_else(|| all(tables)),
        };
        Err(error.held_at(name))
    }

    async fn first_locked(&mut self, tables: &[TableSpec]) -> Result<Option<String>> {
        self.open().await?;
        self.be_quick().await?;
        let mut locked = None;
        for table in tables {
            let look = self.main()?.run(&format!("SELECT 1 FROM {} LIMIT 1", sql::table(table))).await;
            if look.is_err_and(|error| error.is_lock()) {
                locked = Some(table.full_name());
                break;
            }
        }
        self.main()?.run(&format!("SET SESSION {}", connect::waits())).await?;
        Ok(locked)
    }

    fn main(&mut self) -> Result<&mut Line> {
        let gone = || Error::new(ErrorKind::Lost, "the connection to the server is gone");
        self.main.as_mut().filter(|main| !main.broken).ok_or_else(gone)
    }

    /// The second session, in no transaction. While nothing happens nobody uses it.
    async fn side(&mut self) -> Result<&mut Line> {
        let is_there = match &mut self.side {
            Some(side) => side.is_there().await,
            None => false,
        };
        if !is_there {
            if let Some(side) = self.side.take() {
                side.end().await;
            }
            self.side = Some(self.place.connect().await?);
        }
        let side = self.side.as_mut();
        let side = side.ok_or_else(|| Error::new(ErrorKind::Lost, "the connection to the server is gone"))?;
        side.use_again();
        Ok(side)
    }
}

/// The names of tables of which one was locked.
fn all(tables: &[TableSpec]) -> String {
    let names: Vec<String> = tables.iter().take(3).map(TableSpec::full_name).collect();
    names.join(", ") + if tables.len() > names.len() { ", …" } else { "" }
}

#[async_trait]
impl Node for MySql {
    async fn probe(&mut self) -> Result<Probe> {
        self.open().await?;
        self.read_probe().await
    }

    async fn catalogue(&mut self, table: &str) -> Result<Option<Catalogue>> {
        self.open().await?;
        self.read_catalogue(table).await
    }

    async fn blueprint(&mut self, table: &str) -> Result<Option<Blueprint>> {
        self.open().await?;
        self.read_blueprint(table).await
    }

    async fn draft(&mut self, blueprint: &Blueprint, _: &mut HashSet<String>) -> Result<Draft> {
        self.open().await?;
        self.write_draft(blueprint).await
    }

    async fn build(&mut self, tables: &[Vec<String>], made: &mut (dyn FnMut(usize) + Send)) -> Building {
        let done = self.run_statements(tables, made).await;
        self.close().await;
        done
    }

    async fn missing_rights(&mut self, tables: &[TableSpec]) -> Result<Vec<MissingRight>> {
        self.open().await?;
        self.read_missing_rights(tables).await
    }

    async fn missing_rights_to_compare(&mut self, tables: &[(&TableSpec, Writes)]) -> Result<Vec<MissingRight>> {
        self.open().await?;
        self.read_missing_rights_to_compare(tables).await
    }

    async fn service(&mut self) -> Result<Option<Service>> {
        self.open().await?;
        self.read_service().await
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
        done
    }

    async fn keep_shapes(&mut self, shapes: &[(String, String)]) -> Result<()> {
        let done = self.write_shapes(shapes).await;
        self.close().await;
        done
    }

    async fn uninstall(&mut self) -> Result<bool> {
        let done = self.uninstall_all().await;
        self.close().await;
        done
    }

    async fn numbers(&mut self, table: &TableSpec, column: usize) -> Result<Numbers> {
        self.open().await?;
        let last = self.read_greatest(table, column, None).await?;
        Ok(Numbers::within(&table.columns[column].domain, last))
    }

    async fn greatest_in(&mut self, table: &TableSpec, column: usize, step: i64, slot: i64) -> Result<i64> {
        self.open().await?;
        self.read_greatest(table, column, Some((step, slot))).await
    }

    async fn step_numbers(&mut self, table: &TableSpec, column: usize, steps: Steps) -> Result<Stepped> {
        self.open().await?;
        self.make_steps(table, column, steps).await
    }

    async fn restore_numbers(&mut self, keep: &[(&TableSpec, usize)]) -> Result<Vec<String>> {
        self.open().await?;
        if self.read_service_version().await?.is_some() {
            self.forget_steps(keep).await?;
        }
        Ok(Vec::new())
    }

    async fn reset(&mut self) -> Result<()> {
        let done = self.reset_all().await;
        self.close().await;
        done
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
        self.write_progress(progress).await.map_err(|error| error.held_at("concord_load"))
    }

    fn take_at_once(&mut self, entries: usize) {
        self.lot = entries;
    }

    async fn begin_read(&mut self, tables: &[TableSpec]) -> Result<Opened> {
        let opened = self.open_snapshot(tables).await;
        self.with_locked(tables, opened).await
    }

    fn strays(&self) -> i64 {
        self.strays
    }

    async fn begin_scan(&mut self, tables: &[TableSpec]) -> Result<()> {
        let opened = self.open_scan(tables).await;
        self.with_locked(tables, opened).await
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
        self.read_rows(table, keys, "").await.map_err(|error| error.held_at(table.full_name()))
    }

    async fn namesakes(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<Vec<(Key, Key)>> {
        let found = self.namesakes_of(table, keys).await?;
        Ok(found.into_iter().map(|(at, holder)| (keys[at].clone(), holder)).collect())
    }

    async fn scan(&mut self, table: &TableSpec, lots: &Lots) -> Result<()> {
        self.scan_table(table, lots).await.map_err(|error| error.held_at(table.full_name()))
    }

    async fn walk(&mut self, table: &TableSpec, after: Option<&Key>, limit: usize) -> Result<Vec<Walked>> {
        self.walk_rows(table, after, limit).await.map_err(|error| error.held_at(table.full_name()))
    }

    async fn count(&mut self, table: &TableSpec) -> Result<u64> {
        self.count_rows(table).await.map_err(|error| error.held_at(table.full_name()))
    }

    async fn end_read(&mut self) -> Result<()> {
        self.close().await;
        Ok(())
    }

    async fn begin_apply(&mut self, tables: &[TableSpec]) -> Result<()> {
        let opened = self.open_apply(tables).await;
        self.with_locked(tables, opened).await
    }

    async fn begin_mend(&mut self, tables: &[TableSpec]) -> Result<()> {
        let opened = self.open_mend(tables).await;
        self.with_locked(tables, opened).await
    }

    async fn rows_now(
        &mut self,
        table: &TableSpec,
        keys: &[&Key],
        hold: bool,
    ) -> Result<Vec<Option<std::result::Result<Row, String>>>> {
        self.read_rows(table, keys, if hold { " FOR UPDATE" } else { "" }).await
    }

    async fn claim(&mut self, moves: &[Move]) -> Result<bool> {
        self.claim_positions(moves).await.map_err(|error| marks::held_by_whom(error, "concord_position"))
    }

    async fn waiting_now(&mut self, groups: &[(&TableSpec, &[&Key])]) -> Result<Vec<Parked>> {
        self.read_parked_of(groups, false).await
    }

    async fn waiting_rows(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<Vec<Parked>> {
        self.read_parked_of(&[(table, keys)], true).await
    }

    async fn hurry(&mut self) -> Result<()> {
        self.be_quick().await
    }

    async fn savepoint(&mut self) -> Result<()> {
        let name = self.depth + 1;
        self.main()?.run(&format!("SAVEPOINT concord_{name}")).await?;
        self.depth = name;
        Ok(())
    }

    async fn undo(&mut self) -> Result<()> {
        self.lenient.clear();
        self.owed.clear();
        let name = self.depth;
        self.main()?.run(&format!("ROLLBACK TO SAVEPOINT concord_{name}; RELEASE SAVEPOINT concord_{name}")).await?;
        self.depth = name.saturating_sub(1);
        Ok(())
    }

    async fn release(&mut self) -> Result<()> {
        let name = self.depth;
        self.main()?.run(&format!("RELEASE SAVEPOINT concord_{name}")).await?;
        self.depth = name.saturating_sub(1);
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
        self.hidden_from_who_compares(table).await
    }

    async fn locked(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<Vec<Key>> {
        self.find_locked(table, keys).await
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
        let history = || sql::history_name(&table.name);
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
        self.write_parked(tables, parked).await.map_err(|error| error.held_at("concord_parked"))
    }

    async fn unpark(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<()> {
        self.delete_parked(table, keys).await
    }

    async fn record(&mut self, tables: &[TableSpec], lost: &[&Lost], again: bool) -> Result<()> {
        self.write_journal(tables, lost, again).await.map_err(|error| error.held_at("concord_journal"))
    }

    async fn advance(&mut self, moves: &[Move]) -> Result<()> {
        self.move_positions(moves).await.map_err(|error| marks::held_by_whom(error, "concord_position"))
    }

    async fn commit(&mut self) -> Result<()> {
        self.main()?.run("COMMIT").await?;
        self.phase = Phase::Idle;
        self.depth = 0;
        self.as_user = false;
        self.lenient.clear();
        self.owed.clear();
        self.hashed.clear();
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
        let done = self.delete_entries(table, through, arrivals, witnesses).await;
        self.close().await;
        done
    }

    async fn begin_purge(&mut self, purges: &[Purge]) -> Result<bool> {
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
        // An entry that commits late holds up no other.
        Ok(Vec::new())
    }
}
