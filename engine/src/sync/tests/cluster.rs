//! Nodes in memory, and a sync among them.

use std::path::Path;
use std::sync::Arc;

use crate::config::Config;
use crate::model::time;
use crate::node::{Error, ErrorKind};
use crate::sync::early::FEW;
use crate::sync::memory::Database;
use crate::sync::session::Session;

pub const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

pub fn names() -> Vec<String> {
    NAMES.iter().map(|name| (*name).to_owned()).collect()
}

pub struct Cluster {
    pub databases: Vec<Database>,
    /// From how many changed rows on sessions write early.
    pub few: usize,
}

impl Cluster {
    pub fn new(count: usize, rows: &[(i64, i64)]) -> Cluster {
        let databases: Vec<Database> = (0..count).map(|_| Database::default()).collect();
        for database in &databases {
            let mut state = database.lock();
            state.up = true;
            state.rows = rows.iter().copied().collect();
        }
        Cluster { databases, few: FEW }
    }

    pub fn session(&self, conflict: &str, batch: usize) -> Session {
        self.session_with("max_skew = \"1h\"", conflict, batch)
    }

    pub fn session_with(&self, defaults: &str, conflict: &str, batch: usize) -> Session {
        let mut text = format!("name = \"model\"\nplugins = \"plugins\"\n[defaults]\n{defaults}\nbatch = {batch}\n");
        for name in &NAMES[..self.databases.len()] {
            text += &format!("[nodes.{name}]\nurl = \"sqlite:/{name}.db\"\n");
        }
        text += &format!("[tables.t]\nconflict = {conflict}\n[tables.u]\n");
        let config = Config::parse(Path::new("model.toml"), text, &|_| None).unwrap();
        let databases = self.databases.clone();
        let mut session = Session::with_connector(
            config,
            Arc::new(move |target| {
                let at = NAMES.iter().position(|name| target.to_string().ends_with(&format!("{name}.db")));
                let database = at.and_then(|at| databases.get(at)).cloned();
                Box::pin(
                    async move { database.ok_or_else(|| Error::new(ErrorKind::Other, "no such database"))?.connect() },
                )
            }),
        );
        session.few = self.few;
        session.plugins.native.insert("remainder".to_owned(), super::filters::remainder);
        session.plugins.native_mappings.insert("times".to_owned(), super::mapping::times);
        session
    }

    /// For looking into one seed: CONCORD_TRACE=1 CONCORD_SEED=….
    pub fn show(&self) {
        for (name, database) in NAMES.iter().zip(&self.databases) {
            let state = database.lock();
            let entry = |e: &crate::model::Entry| {
                let images = e.images.as_ref().map(|i| (i.before.clone(), i.after.clone()));
                format!(
                    "{}@{} at {} {:?} {:?} {:?}",
                    e.id,
                    e.mark,
                    e.time,
                    e.key,
                    e.arrival.as_ref().map(|a| (a.dot, a.vector.dots().to_vec())),
                    images
                )
            };
            let parked: Vec<String> = state
                .parked
                .values()
                .map(|p| {
                    format!(
                        "{:?} {:?} vector {:?} at {} standing {:?} at {} row {:?}",
                        p.key,
                        p.code,
                        p.vector.dots(),
                        p.stamp.time,
                        p.standing.dots(),
                        p.standing_time,
                        p.content
                    )
                })
                .collect();
            eprintln!(
                "{name}: {:?} skew {} refuses {:?}\n   history {:#?}\n   open {:?}\n   parked {parked:#?}\n   positions {:?}\n   journal {:?}",
                state.rows,
                state.skew,
                state.refuses,
                state.history.iter().map(entry).collect::<Vec<_>>(),
                state.open.iter().map(|(_, e, v)| (entry(e), v)).collect::<Vec<_>>(),
                state.positions,
                state.journal.iter().map(|lost| (&lost.key, &lost.loser_row, &lost.reason)).collect::<Vec<_>>()
            );
        }
        eprintln!("--------");
    }

    pub fn block<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
    }

    pub fn rows(&self) -> Vec<Vec<(i64, i64)>> {
        self.databases.iter().map(|database| database.lock().rows.iter().map(|(id, v)| (*id, *v)).collect()).collect()
    }

    /// Everybody is there and every transaction has ended: sync until nothing is left, first in pages of so few entries.
    pub fn settle(&mut self, conflict: &str, few: usize) -> Result<(), String> {
        for database in &self.databases {
            let mut state = database.lock();
            state.up = true;
            state.fuse = None;
            (state.refuses, state.unreadable) = (None, None);
            while !state.open.is_empty() {
                state.commit(0);
            }
        }
        let mut session = self.session(conflict, few);
        for cycles in 0.. {
            // Far more than there are entries.
            if cycles > 2_000 {
                return Err(format!("a sync in pages of {few} never ends: {:?}", self.block(session.cycle())));
            }
            let quiet = self.block(session.cycle()).unwrap().is_quiet();
            if std::env::var("CONCORD_TRACE").is_ok() {
                eprintln!("settling in small pages");
                self.show();
            }
            if quiet {
                break;
            }
        }
        let mut session = self.session(conflict, 1000);
        for _ in 0..4 {
            self.block(session.sync()).unwrap();
            if std::env::var("CONCORD_TRACE").is_ok() {
                eprintln!("settling");
                self.show();
            }
        }
        Ok(())
    }
}

/// Waits until true time has moved on by more than clocks are measured with.
pub fn later() {
    let now = time::now();
    while time::now() < now + 20_000 {
        std::hint::spin_loop();
    }
}
