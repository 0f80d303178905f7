//! A database in memory, for testing the cycle by the ten thousand: snapshots, transactions that commit late, an engine's
//! connection that breaks at any call, and nothing that a real one would need time for.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;

use crate::model::{
    Arrival, Cut, Entry, EntryId, Images, Key, Lost, Op, Parked, Position, Row, TableSpec, Value, Vector,
};
use crate::node::blueprint::{Blueprint, Draft};
use crate::node::{
    Catalogue, CatalogueColumn, Drift, Entries, Error, ErrorKind, Ledger, Lot, Lots, MissingRight, Move, Node, Note,
    Opened, Probe, Result, Room, Scanned, Service, Sought, Sync, Walked, WriteMode, Writes,
};

/// The first key of the second table. One place for both tables' rows is enough: their keys tell them apart.
pub const SECOND: i64 = 1000;

/// One database with the tables `t` and `u`, both of (id integer key, value integer).
#[derive(Clone, Default)]
pub struct Database {
    pub state: Arc<Mutex<State>>,
    /// Whether a transaction that applies is open: there is one at a time.
    applying: Arc<AtomicBool>,
}

#[derive(Clone, Default)]
pub struct State {
    pub rows: BTreeMap<i64, i64>,
    pub history: Vec<Entry>,
    /// All entries there ever were, by table.
    pub ever: Vec<(usize, EntryId)>,
    /// Marks of users' transactions that have not committed, with what each will do to a row.
    pub open: Vec<(i64, Entry, Option<i64>)>,
    next_id: i64,
    next_mark: i64,
    pub positions: HashMap<(String, String), Position>,
    /// By table.
    pub purged: [Cut; 2],
    /// The witnesses of others' positions, by table and target.
    pub kept: Vec<(usize, String, EntryId)>,
    pub parked: BTreeMap<i64, Parked>,
    pub journal: Vec<Lost>,
    service: Option<Service>,
    progress: Option<String>,
    /// Whether the node can be reached.
    pub up: bool,
    /// After so many calls the connection breaks; a commit may still have happened.
    pub fuse: Option<u32>,
    /// The error of the clock, µs.
    pub skew: i64,
    /// Rows with this value are refused by a constraint.
    pub refuses: Option<i64>,
    /// Rows with this value cannot be read.
    pub unreadable: Option<i64>,
    /// Whoever reads more rows than this by their keys is overtaken by another engine.
    pub busy: Option<usize>,
    /// How often that was so.
    pub overtakes: u32,
    /// How the table differs from what was installed, as snapshots see it.
    pub drift: Option<String>,
    /// Whether whoever begins to write finds the table changed since the snapshot.
    pub changing: bool,
    /// Rows written by Concord, to see an echo.
    pub writes: u64,
    /// How often Concord tried to write rows.
    pub tries: u64,
    /// Draws how long calls take.
    pub pace: u64,
    /// Rows that a walk gives at once, at most.
    pub stride: Option<usize>,
    /// What the next snapshots show, each of an earlier moment or of the present: as if it had been opened before those of the
    /// other nodes.
    pub shown: VecDeque<Option<State>>,
    /// Rows that the transaction which applies has written: nobody else can until it ends.
    locked: BTreeSet<i64>,
}

pub fn number(value: &Value) -> i64 {
    match value {
        Value::Int(number) => *number,
        other => panic!("{other:?} is no integer"),
    }
}

/// The table, by its index, that a key belongs to.
fn table_of(key: &Key) -> usize {
    usize::from(number(&key[0]) >= SECOND)
}

pub fn identity(entry: &Entry) -> EntryId {
    EntryId { mark: entry.mark, id: entry.id, time: entry.time }
}

fn key(id: i64) -> Key {
    vec![Value::Int(id)].into()
}

fn row(id: i64, value: i64) -> Row {
    vec![Value::Int(id), Value::Int(value)].into()
}

impl State {
    fn clock(&self) -> i64 {
        crate::model::time::now() + self.skew
    }

    /// A user sets or deletes rows in one transaction that commits now, or is left open. Nobody else may write a row
    /// meanwhile, as in any database.
    pub fn write_all(&mut self, writes: &[(i64, Option<i64>)], late: bool) -> Option<Vec<EntryId>> {
        let held =
            |id: i64| self.locked.contains(&id) || self.open.iter().any(|(_, entry, _)| number(&entry.key[0]) == id);
        let absent = |id: i64, value: Option<i64>| !self.rows.contains_key(&id) && value.is_none();
        if writes.iter().any(|(id, value)| held(*id) || absent(*id, *value)) {
            return None;
        }
        self.next_mark += 1;
        let mut written = Vec::new();
        for &(id, value) in writes {
            self.next_id += 1;
            let image = |value: Option<i64>| value.map(|value| -> Row { vec![Value::Int(value)].into() });
            let entry = Entry {
                id: self.next_id,
                mark: self.next_mark,
                op: match (self.rows.contains_key(&id), value) {
                    (_, None) => Op::Delete,
                    (true, Some(_)) => Op::Update,
                    (false, Some(_)) => Op::Insert,
                },
                time: self.clock(),
                key: key(id),
                arrival: None,
                images: Some(Images { before: image(self.rows.get(&id).copied()), after: image(value) }),
            };
            written.push(identity(&entry));
            self.open.push((entry.mark, entry, value));
        }
        if !late {
            self.commit(self.open.len() - 1);
        }
        Some(written)
    }

    /// A user's transaction that writes to other tables.
    pub fn write_elsewhere(&mut self) {
        self.next_mark += 1;
    }

    /// The same with one row.
    pub fn write(&mut self, id: i64, value: Option<i64>, late: bool) -> bool {
        self.write_all(&[(id, value)], late).is_some()
    }

    /// Commits the transaction that an open write belongs to.
    pub fn commit(&mut self, at: usize) {
        let mark = self.open[at].0;
        let (done, open) = std::mem::take(&mut self.open).into_iter().partition(|(of, ..)| *of == mark);
        self.open = open;
        for (_, entry, value) in done {
            let id = number(&entry.key[0]);
            match value {
                Some(value) => self.rows.insert(id, value),
                None => self.rows.remove(&id),
            };
            self.enter(entry);
        }
    }

    fn history_of(&self, table: &TableSpec) -> impl Iterator<Item = &Entry> {
        let index = table.index;
        self.history.iter().filter(move |entry| table_of(&entry.key) == index)
    }

    fn enter(&mut self, entry: Entry) {
        self.ever.push((table_of(&entry.key), identity(&entry)));
        self.history.push(entry);
    }

    /// What is there after a restore: no transaction that was open, and nothing in the way.
    pub fn restored(&self) -> State {
        State {
            open: Vec::new(),
            locked: BTreeSet::new(),
            up: true,
            fuse: None,
            refuses: None,
            unreadable: None,
            ..self.clone()
        }
    }

    fn cut(&self) -> Cut {
        Cut::new(self.next_mark + 1, self.open.iter().map(|(mark, ..)| *mark).collect())
    }
}

impl Database {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn connect(&self) -> Result<Box<dyn Node>> {
        if !self.lock().up {
            return Err(Error::new(ErrorKind::Lost, "away"));
        }
        Ok(Box::new(Connection {
            database: self.clone(),
            snapshot: None,
            work: None,
            saved: Vec::new(),
            names: Vec::new(),
            applies: false,
            overtaken: false,
        }))
    }
}

struct Connection {
    database: Database,
    snapshot: Option<State>,
    /// What the transaction that applies has made of the state, and the keys it has locked.
    work: Option<Work>,
    saved: Vec<Work>,
    names: Vec<String>,
    /// Whether the open transaction that applies is this connection's.
    applies: bool,
    /// Whether another engine comes before this one.
    overtaken: bool,
}

#[derive(Clone, Default)]
struct Work {
    rows: BTreeMap<i64, Option<i64>>,
    notes: Vec<Note>,
    /// And since when.
    touched: Vec<(i64, Option<i64>)>,
    parked: Vec<Parked>,
    unparked: Vec<i64>,
    lost: Vec<Lost>,
    moves: Vec<Move>,
}

impl Connection {
    /// One call over the connection, which may be the one at which it breaks.
    fn call(&self) -> Result<()> {
        let mut state = self.database.lock();
        if !state.up {
            return Err(Error::new(ErrorKind::Lost, "away"));
        }
        if let Some(left) = &mut state.fuse {
            if *left == 0 {
                state.fuse = None;
                return Err(Error::new(ErrorKind::Lost, "broken"));
            }
            *left -= 1;
        }
        Ok(())
    }

    /// Lets other engines go on for a while.
    async fn pause(&self) {
        let turns = {
            let mut state = self.database.lock();
            state.pace = state.pace.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Mostly short, now and then as long as a whole cycle.
            if state.pace >> 61 == 0 { state.pace >> 54 & 63 } else { state.pace >> 62 }
        };
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    fn end(&mut self) {
        self.work = None;
        if std::mem::take(&mut self.applies) {
            self.database.lock().locked.clear();
            self.database.applying.store(false, Ordering::Relaxed);
        }
    }

    fn snapshot(&self) -> Result<&State> {
        self.call()?;
        self.snapshot.as_ref().ok_or_else(|| Error::new(ErrorKind::Other, "no snapshot is open"))
    }

    fn work(&mut self) -> Result<&mut Work> {
        self.call()?;
        self.open_work()
    }

    fn open_work(&mut self) -> Result<&mut Work> {
        self.work.as_mut().ok_or_else(|| Error::new(ErrorKind::Other, "no transaction is open"))
    }

    /// Whether the row is there for the transaction that applies.
    fn stands(&mut self, id: i64) -> Result<bool> {
        let own = self.open_work()?.rows.get(&id).map(Option::is_some);
        Ok(own.unwrap_or_else(|| self.database.lock().rows.contains_key(&id)))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.end();
    }
}

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
            lacks: None,
            alike: None,
        };
        Ok(Some(Catalogue {
            schema: None,
            name: table.to_owned(),
            columns: vec![column("id", false), column("value", true)],
            key: vec!["id".into()],
            uniques: Vec::new(),
            references: Vec::new(),
            referenced: Vec::new(),
            user_triggers: Vec::new(),
            partitioned: false,
            partitions: Vec::new(),
            refusals: Vec::new(),
            numbered: Vec::new(),
        }))
    }

    async fn blueprint(&mut self, _: &str) -> Result<Option<Blueprint>> {
        self.call()?;
        Ok(Some(Blueprint::default()))
    }

    fn draft(&self, _: &Blueprint) -> Draft {
        Draft::default()
    }

    async fn build(&mut self, _: &[String]) -> Result<()> {
        self.call()
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

    async fn install(&mut self, sync: &Sync, tables: &[TableSpec]) -> Result<Vec<String>> {
        self.database.lock().service = Some(Service {
            sync: sync.name.clone(),
            node: sync.node.clone(),
            nodes: sync.nodes.clone(),
            uuid: uuid::Uuid::new_v4().to_string(),
            tables: tables.iter().map(|table| (table.name.clone(), table.shape.clone())).collect(),
        });
        Ok(Vec::new())
    }

    async fn uninstall(&mut self) -> Result<bool> {
        Ok(self.database.lock().service.take().is_some())
    }

    async fn last_number(&mut self, _: &TableSpec, _: usize) -> Result<i64> {
        Ok(self.database.lock().rows.keys().last().copied().unwrap_or(0))
    }

    async fn reset(&mut self) -> Result<()> {
        let mut state = self.database.lock();
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
            clock: state.clock(),
            shared_marks: true,
            positions: state
                .positions
                .iter()
                .filter_map(|((name, source), position)| Some((table(name)?, source.clone(), position.clone())))
                .collect(),
            purged: tables.iter().map(|table| (table.index, state.purged[table.index].clone())).collect(),
            kept: state.kept.iter().filter(|(at, ..)| tables.iter().any(|t| t.index == *at)).cloned().collect(),
            next_marks: tables.iter().map(|table| (table.index, state.next_mark + 1)).collect(),
            parked: state.parked.values().filter(|row| tables.iter().any(|t| t.index == row.table)).cloned().collect(),
            drifted: state.drift.iter().map(|what| (0, Drift::harmless(what))).collect(),
        };
        self.snapshot = Some(state);
        Ok(opened)
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

    async fn entries_of(&mut self, _: &TableSpec, keys: &[&Key]) -> Result<Vec<Entry>> {
        let state = self.snapshot()?;
        let mut entries: Vec<Entry> =
            state.history.iter().filter(|entry| keys.contains(&&entry.key)).cloned().collect();
        entries.sort_by_key(|entry| entry.id);
        Ok(entries)
    }

    async fn rows(&mut self, _: &TableSpec, keys: &[&Key]) -> Result<Vec<Option<std::result::Result<Row, String>>>> {
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

    async fn begin_apply(&mut self, _: &[TableSpec]) -> Result<()> {
        self.call()?;
        if self.database.lock().changing {
            return Err(Error::new(ErrorKind::Drift, "the table was changed meanwhile"));
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
        _: bool,
    ) -> Result<Vec<Option<std::result::Result<Row, String>>>> {
        let written = self.work()?.rows.clone();
        let state = self.database.lock();
        let stands = |id: &i64| written.get(id).copied().unwrap_or_else(|| state.rows.get(id).copied());
        Ok(keys.iter().map(|key| number(&key[0])).map(|id| stands(&id).map(|value| Ok(row(id, value)))).collect())
    }

    async fn claim(&mut self, moves: &[Move]) -> Result<bool> {
        self.work()?;
        let overtaken = std::mem::take(&mut self.overtaken);
        let mut state = self.database.lock();
        // This is done in the present, and nobody looks at the past afterwards.
        state.shown.clear();
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
        Ok(keys.filter_map(|key| state.parked.values().find(|waits| waits.key == **key).cloned()).collect())
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
        let work = self.work.take().ok_or_else(|| Error::new(ErrorKind::Other, "no transaction is open"))?;
        {
            let mut state = self.database.lock();
            state.next_mark += 1;
            let mark = state.next_mark;
            state.writes += work.rows.len() as u64;
            for (id, value) in work.rows {
                match value {
                    Some(value) => state.rows.insert(id, value),
                    None => state.rows.remove(&id),
                };
            }
            for note in work.notes {
                state.next_id += 1;
                let Note { key, deleted, dot, vector, stamp, images } = note;
                // As a real node would: through the text that is kept.
                let vector = Vector::read(&vector.write(&self.names), &self.names).unwrap();
                let op = if deleted { Op::Delete } else { Op::Update };
                let id = state.next_id;
                state.enter(Entry {
                    id,
                    mark,
                    op,
                    time: stamp.time,
                    key,
                    arrival: Some(Arrival { dot, vector }),
                    images,
                });
            }
            for (id, since) in work.touched {
                state.next_id += 1;
                let image = state.rows.get(&id).map(|value| -> Row { vec![Value::Int(*value)].into() });
                let entry = Entry {
                    id: state.next_id,
                    mark,
                    op: Op::Update,
                    time: since.unwrap_or_else(|| state.clock()),
                    key: key(id),
                    arrival: None,
                    images: Some(Images { before: image.clone(), after: image }),
                };
                state.enter(entry);
            }
            for id in work.unparked {
                state.parked.remove(&id);
            }
            for parked in work.parked {
                state.parked.insert(number(&parked.key[0]), parked);
            }
            for lost in work.lost {
                let name = |lost: &Lost| (lost.id.clone(), lost.loser, lost.loser_time);
                let known = state.journal.iter().any(|known| name(known) == name(&lost));
                if !known {
                    state.journal.push(lost);
                }
            }
            for m in work.moves {
                state.positions.insert((m.table, m.source), m.to);
            }
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
        let before = state.history.len();
        let held =
            witnesses.iter().filter(|(_, wanted)| state.history_of(table).any(|entry| identity(entry) == *wanted));
        let held: Vec<(usize, String, EntryId)> =
            held.map(|(target, entry)| (table.index, (*target).to_owned(), *entry)).collect();
        state.history.retain(|entry| {
            table_of(&entry.key) != table.index
                || !through.contains(entry.mark, entry.id)
                || (entry.arrival.is_some() && !arrivals)
        });
        let gone = (before - state.history.len()) as u64;
        if gone > 0 {
            state.purged[table.index] = through.clone();
            state.kept.retain(|(at, target, entry)| {
                *at != table.index
                    || !through.contains(entry.mark, entry.id)
                    || !witnesses.iter().any(|(known, _)| known == target)
                    || witnesses.contains(&(target, *entry))
            });
            for one in held {
                if !state.kept.contains(&one) {
                    state.kept.push(one);
                }
            }
        }
        Ok(gone)
    }

    async fn pulse(&mut self, _: &[TableSpec]) -> Result<u64> {
        Ok(self.database.lock().next_id as u64)
    }

    async fn journalled(&mut self, _: &[TableSpec]) -> Result<u64> {
        Ok(self.database.lock().journal.len() as u64)
    }

    async fn journal(&mut self, _: &[TableSpec], _: Sought<'_>, _: usize) -> Result<Vec<Lost>> {
        Ok(self.database.lock().journal.clone())
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
