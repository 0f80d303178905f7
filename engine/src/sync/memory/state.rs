//! What a database holds and what its users do to it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::{identity, key, number, table_of};
use crate::model::{Cut, Entry, EntryId, Images, Lost, Op, Parked, Position, Row, TableSpec, Value};
use crate::node::Service;

#[derive(Clone, Default)]
pub struct State {
    pub rows: BTreeMap<i64, i64>,
    pub history: Vec<Entry>,
    /// All entries there ever were, by table.
    pub ever: Vec<(usize, EntryId)>,
    /// Marks of users' transactions that have not committed, with what each will do to a row.
    pub open: Vec<(i64, Entry, Option<i64>)>,
    pub(super) next_id: i64,
    pub(super) next_mark: i64,
    pub positions: HashMap<(String, String), Position>,
    /// By table.
    pub purged: [Cut; 2],
    /// The witnesses of others' positions, by table and target.
    pub kept: Vec<(usize, String, EntryId)>,
    pub parked: BTreeMap<i64, Parked>,
    pub journal: Vec<Lost>,
    pub service: Option<Service>,
    pub(super) progress: Option<String>,
    /// Whether the node can be reached.
    pub up: bool,
    /// After so many calls the connection breaks; a commit may still have happened.
    pub fuse: Option<u32>,
    /// Whether all connections break then, and nobody can be reached.
    pub dies: bool,
    /// The error of the clock, µs.
    pub skew: i64,
    /// How much of that is no error of the server's own clock, µs.
    pub strays: i64,
    /// By how much, at most, the clock seems to be off besides to whoever opens a snapshot, another time each, µs.
    pub unsteady: u64,
    /// Whether nothing can be written.
    pub full: bool,
    /// Whether entries cannot be deleted for want of room, which shows only when something is written.
    pub crowded: bool,
    /// Rows with this value are refused by a constraint.
    pub refuses: Option<i64>,
    /// How often positions were claimed in vain, if another engine holds them.
    pub held: Option<u32>,
    /// Whether deleting entries does not come to its end for the time being.
    pub deleting: bool,
    /// How often more somebody holds what is to be locked, who changes nothing.
    pub holds: u32,
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
    /// How many rows were read by their keys, of how many it was only asked whether they stand, and how many entries were read by
    /// their keys.
    pub rows_read: u64,
    pub rows_looked_for: u64,
    pub entries_read: u64,
    /// How many rows that wait were asked for.
    pub waiting_read: u64,
    /// Draws how long calls take.
    pub pace: u64,
    /// Rows that a walk gives at once, at most.
    pub stride: Option<usize>,
    /// What the next snapshots show, each of an earlier moment or of the present: as if it had been opened before those of the
    /// other nodes.
    pub shown: VecDeque<Option<State>>,
    /// Rows that the transaction which applies has written: nobody else can until it ends.
    pub(super) locked: BTreeSet<i64>,
}

impl State {
    pub(super) fn clock(&self) -> i64 {
        crate::model::time::now() + self.skew
    }

    /// The clock as a snapshot shows it.
    pub(super) fn clock_as_measured(&self) -> i64 {
        let noise = (self.pace >> 32) % (2 * self.unsteady + 1);
        self.clock() + noise as i64 - self.unsteady as i64
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

    pub(super) fn history_of(&self, table: &TableSpec) -> impl Iterator<Item = &Entry> {
        let index = table.index;
        self.history.iter().filter(move |entry| table_of(&entry.key) == index)
    }

    pub(super) fn enter(&mut self, entry: Entry) {
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
            dies: false,
            refuses: None,
            held: None,
            unreadable: None,
            ..self.clone()
        }
    }

    pub(super) fn cut(&self) -> Cut {
        Cut::new(self.next_mark + 1, self.open.iter().map(|(mark, ..)| *mark).collect())
    }

    /// Deletes entries that nobody needs, and keeps the witnesses among them; how many.
    pub(super) fn purge(
        &mut self,
        table: &TableSpec,
        through: &Cut,
        arrivals: bool,
        witnesses: &[(&str, EntryId)],
    ) -> u64 {
        let before = self.history.len();
        let held =
            witnesses.iter().filter(|(_, wanted)| self.history_of(table).any(|entry| identity(entry) == *wanted));
        let held: Vec<(usize, String, EntryId)> =
            held.map(|(target, entry)| (table.index, (*target).to_owned(), *entry)).collect();
        self.history.retain(|entry| {
            table_of(&entry.key) != table.index
                || !through.contains(entry.mark, entry.id)
                || (entry.arrival.is_some() && !arrivals)
        });
        let gone = (before - self.history.len()) as u64;
        if gone > 0 {
            self.purged[table.index] = self.purged[table.index].join(through);
            self.kept.retain(|(at, target, entry)| {
                *at != table.index
                    || !through.contains(entry.mark, entry.id)
                    || !witnesses.iter().any(|(known, _)| known == target)
                    || witnesses.contains(&(target, *entry))
            });
            for one in held {
                if !self.kept.contains(&one) {
                    self.kept.push(one);
                }
            }
        }
        gone
    }
}
