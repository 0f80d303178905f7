//! A database in memory, for testing the cycle by the ten thousand: snapshots, transactions that commit late, an engine's
//! connection that breaks at any call, and nothing that a real one would need time for.

mod connection;
mod node;
mod state;
mod work;

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
