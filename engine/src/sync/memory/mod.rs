//! A database in memory, for testing the cycle by the ten thousand: snapshots, transactions that commit late, an engine's
//! connection that breaks at any call, and nothing that a real one would need time for.

mod connection;
mod node;
mod state;
mod work;

use std::cell::Cell;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard};

use self::connection::Connection;
pub use self::state::State;
use crate::model::{Entry, EntryId, Key, Row, Value};
use crate::node::{Error, ErrorKind, Node, Result};

/// The first key of the second table. One place for both tables' rows is enough: their keys tell them apart.
pub const SECOND: i64 = 1000;

/// One database with the tables `t` and `u`, both of (id integer key, value integer).
#[derive(Clone, Default)]
pub struct Database {
    pub state: Arc<Mutex<State>>,
    /// Whether a transaction that applies is open: there is one at a time.
    applying: Arc<AtomicBool>,
}

thread_local! {
    /// Draws for how many turns of others the thread's engines wait for work that blocks, and for how many at most. Without it other
    /// threads do that work, and what happens meanwhile is never the same.
    static TURNS: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
}

/// Lets work that blocks take as long as this seed has it, at most so many turns.
pub fn take_turns(seed: u64, most: u64) {
    TURNS.set(Some((seed, most)));
}

/// For how many turns the next work is waited for.
pub fn turns() -> Option<u64> {
    let (seed, most) = TURNS.get()?;
    let drawn = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    TURNS.set(Some((drawn, most)));
    Some((drawn >> 32) % (most + 1))
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

impl Database {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn connect(&self) -> Result<Box<dyn Node>> {
        if !self.lock().up {
            return Err(Error::new(ErrorKind::Lost, "away"));
        }
        Ok(Box::new(Connection::new(self.clone())))
    }
}
