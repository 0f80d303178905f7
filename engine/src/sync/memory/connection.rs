//! A connection, which may break at any call and take its time.

use std::sync::atomic::Ordering;

use super::work::Work;
use super::{Database, State};
use crate::node::{Error, ErrorKind, Purge, Result};

pub struct Connection {
    pub database: Database,
    pub snapshot: Option<State>,
    /// What the transaction that applies has made of the state, and the keys it has locked.
    pub work: Option<Work>,
    pub saved: Vec<Work>,
    /// What the open transaction that purges has deleted.
    pub purging: Option<Vec<Purge>>,
    pub names: Vec<String>,
    /// Whether the open transaction that applies is this connection's.
    pub applies: bool,
    /// Whether another engine comes before this one.
    pub overtaken: bool,
}

impl Connection {
    pub fn new(database: Database) -> Connection {
        Connection {
            database,
            snapshot: None,
            work: None,
            saved: Vec::new(),
            purging: None,
            names: Vec::new(),
            applies: false,
            overtaken: false,
        }
    }

    /// One call over the connection, which may be the one at which it breaks.
    pub fn call(&self) -> Result<()> {
        let mut state = self.database.lock();
        if !state.up {
            return Err(Error::new(ErrorKind::Lost, "away"));
        }
        if let Some(left) = &mut state.fuse {
            if *left == 0 {
                state.fuse = None;
                state.up &= !state.dies;
                return Err(Error::new(ErrorKind::Lost, "broken"));
            }
            *left -= 1;
        }
        Ok(())
    }

    /// Lets other engines go on for a while.
    pub async fn pause(&self) {
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

    pub fn end(&mut self) {
        (self.work, self.purging) = (None, None);
        if std::mem::take(&mut self.applies) {
            self.database.lock().locked.clear();
            self.database.applying.store(false, Ordering::Relaxed);
        }
    }

    pub fn snapshot(&self) -> Result<&State> {
        self.call()?;
        self.snapshot.as_ref().ok_or_else(|| Error::new(ErrorKind::Other, "no snapshot is open"))
    }

    pub fn work(&mut self) -> Result<&mut Work> {
        self.call()?;
        self.open_work()
    }

    pub fn open_work(&mut self) -> Result<&mut Work> {
        self.work.as_mut().ok_or_else(|| Error::new(ErrorKind::Other, "no transaction is open"))
    }

    /// Whether the row is there for the transaction that applies.
    pub fn stands(&mut self, id: i64) -> Result<bool> {
        let own = self.open_work()?.rows.get(&id).map(Option::is_some);
        Ok(own.unwrap_or_else(|| self.database.lock().rows.contains_key(&id)))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.end();
    }
}
