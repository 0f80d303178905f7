//! A session with the nodes of a sync: what is known of them and of the tables, and what a run of cycles did.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use serde::Serialize;
use tracing::info;

use super::attendance::{Away, LOOK_AGAIN, Member};
use super::cycle::Cycle;
use super::early::FEW;
use super::fetch::ROWS_LIMIT;
use super::load::Refilters;
use super::plugins::Plugins;
use super::purge::Purged;
use super::schedule::Schedule;
use super::table::Table;
use super::uncompared::Uncompared;
use super::verify::{Verified, VerifiedTable};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::model::{Cut, Key, NodeId, TableSpec, time};
use crate::node::{self, Node, Target};
use crate::plugin::Failure;

/// How many times as many entries as there were at its start may be read in a run, before it comes to an end whatever is still written.
const LATER: u64 = 8;

/// The nodes of a sync, connected as far as they can be reached.
pub struct Session {
    pub config: Config,
    pub(super) names: Vec<String>,
    pub(super) members: Vec<Member>,
    /// Known once a node that has the tables installed was reached.
    pub(super) tables: Vec<Table>,
    /// Entries read at once; lower than the configured number while rows are so large that memory would run out.
    pub(super) page: usize,
    /// The memory that the rows of one cycle may take, in bytes.
    pub(super) rows_limit: usize,
    /// The memory that the rows which came with the pages of the last cycle took, in bytes.
    pub(super) weight: usize,
    /// The keys, by table, of which something waits and that came with the pages of the cycle.
    pub(super) spoken: Vec<HashSet<Key>>,
    /// Where fewer rows than this have changed, none is written before all are read.
    pub(super) few: usize,
    /// What the histories showed when a turn of the run's cycles began, by table and node: as soon as that is read the turn ends,
    /// however fast users write.
    pub(super) goal: HashMap<(usize, NodeId), Cut>,
    /// When the tables were taken from the service tables.
    pub(super) adopted: Option<Instant>,
    /// Whether a load is at work, in which nodes take part whose rows are not compared yet.
    pub(super) loads: bool,
    /// How far that load has come in each table, by index, if it lets nodes in.
    pub(super) uncompared: HashMap<usize, Uncompared>,
    /// How this session's last look for entries to be deleted ended.
    pub(super) purged: Purged,
    /// When it was last made sure that the journals hold nothing older than the file says.
    pub(super) tidied: Option<Instant>,
    /// Which rows that wait were tried already.
    pub(super) schedule: Schedule,
    pub(super) plugins: Plugins,
    pub(super) refilters: Refilters,
    /// How often what stands still is looked at again.
    pub(super) look_again: Duration,
    /// Whether it runs on for long, so that what was read of the file may be out of date.
    pub(super) watches: bool,
    pub(super) connector: Connector,
}

/// How a session connects to the database at a place of the configuration file: [`node::connect`], or a test's own.
pub type Connector = Arc<dyn Fn(Target) -> BoxFuture<'static, node::Result<Box<dyn Node>>> + Send + Sync>;

/// A table that stands still.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Stopped {
    pub table: String,
    pub why: String,
}

/// What a run of cycles did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    pub cycles: u64,
    /// Rows written and deleted, by node.
    pub nodes: Vec<Carried>,
    pub conflicts: u64,
    /// Rows that began to wait.
    pub parked: u64,
    /// Rows that wait at its end, other than those that only wait for the next cycle.
    pub waiting: u64,
    /// Rows that users kept from being written to the end.
    pub held: u64,
    /// What was found of the tables that are kept in step by comparison, and what became of it.
    pub compared: Vec<VerifiedTable>,
    pub away: Vec<Away>,
    pub stopped: Vec<Stopped>,
    /// Nodes that did not take their part to the end, or a comparison that did not come to its end, and why.
    pub failed: Option<String>,
    /// Whether trying again may help with that, because it is a matter of locks, or of room on a disk or in memory.
    #[serde(skip)]
    pub(super) may_pass: bool,
}

/// What arrived at a node.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Carried {
    pub node: String,
    pub written: u64,
    pub deleted: u64,
}

impl Session {
    /// A session for the nodes of a configuration file. Connects to nobody yet.
    pub fn new(config: Config) -> Session {
        Session::with_connector(config, Arc::new(|target| Box::pin(async move { node::connect(&target).await })))
    }

    /// The same with another way to connect.
    pub fn with_connector(config: Config, connector: Connector) -> Session {
        let names = config.node_names();
        let member = |(at, name): (usize, &String)| Member::new(NodeId(at as u16), name);
        Session {
            members: names.iter().enumerate().map(member).collect(),
            names,
            tables: Vec::new(),
            page: config.defaults.batch,
            rows_limit: ROWS_LIMIT,
            weight: 0,
            spoken: Vec::new(),
            few: FEW,
            goal: HashMap::new(),
            adopted: None,
            loads: false,
            uncompared: HashMap::new(),
            purged: Purged::NotYet,
            tidied: None,
            schedule: Schedule::default(),
            plugins: Plugins::default(),
            refilters: Refilters::default(),
            look_again: LOOK_AGAIN,
            watches: false,
            connector,
            config,
        }
    }

    /// Carries what the histories tell until nothing is left, and compares the tables that are kept in step by comparison.
    pub async fn sync(&mut self) -> Result<Summary> {
        self.schedule = Schedule::default();
        if !self.config.compares() {
            return self.carry().await;
        }
        let histories = self.config.keeps_histories();
        // Rows may refer to such that the histories bring.
        let mut summary = if histories { self.carry().await? } else { Summary::default() };
        let compared = match self.mend_compared().await {
            Ok(compared) => compared,
            Err(error) => {
                summary.may_pass |= self.told_as_failed(error, &mut summary.failed).await?;
                add_away(&mut summary.away, self.away());
                return Ok(summary);
            }
        };
        let wrote = compared.tables.iter().any(|table| !table.carried.is_empty());
        // Who missed the comparison did so whoever is there afterwards.
        let missed = compared.away.clone();
        summary.take(compared);
        if histories && wrote {
            // What triggers and cascades made of it is told by histories.
            match self.carry().await {
                Ok(later) => summary.extend(later),
                // What the comparison wrote is to be told whatever became of this.
                Err(error) => {
                    summary.may_pass |= self.told_as_failed(error, &mut summary.failed).await?;
                    add_away(&mut summary.away, self.away());
                }
            }
        }
        add_away(&mut summary.away, missed);
        Ok(summary)
    }

    /// Notes why a comparison, or what followed from it, did not come to its end, where that concerns a node or the moment, and tells whether trying again may
    /// help; gives other errors back. What the histories told has been carried, and is to be told whatever became
    /// of the comparison.
    pub(super) async fn told_as_failed(&mut self, error: Error, failed: &mut Option<String>) -> Result<bool> {
        self.close().await;
        let told = match &error {
            Error::Node { .. } | Error::Stopped(_) => true,
            // Who is away is told besides.
            Error::Unreachable(_) | Error::Refused(_) => self.config.keeps_histories(),
            _ => false,
        };
        if !told {
            return Err(error);
        }
        let may_pass = matches!(&error, Error::Node { source, .. } if source.may_pass());
        add_failure(failed, error.to_string());
        Ok(may_pass)
    }

    /// Carries what the histories tell: runs cycles until nothing is left to carry. What users write while it runs is carried
    /// too, but not for ever: what is there at the start is read to its end, then what is there by then, and after the fifth time
    /// what comes later is left to the next run. A cycle writes what the next has to read, so it cannot be the first. Where users write
    /// faster than is read, there is more each time, which [`LATER`] bounds. Rows that wait are tried once in a session, and again
    /// when something changes on which they may depend; where that are more than there is memory for in those cycles, some are left to
    /// the next run.
    pub async fn carry(&mut self) -> Result<Summary> {
        let mut summary = Summary::default();
        self.goal.clear();
        let (mut ends, mut failures) = (0, 0);
        // How many entries may be read until each cycle counts.
        let mut most = u64::MAX;
        let mut entries: u64 = 0;
        loop {
            let cycle = self.cycle().await?;
            summary.add(&cycle);
            // The next cycle mostly finds out what it was, and leaves the table out.
            failures += u64::from(cycle.failed.is_some());
            if failures >= 3 {
                break;
            }
            entries += cycle.entries;
            if !cycle.overtaken && (cycle.reached || entries > most) {
                ends += 1;
                most = most.min(entries.saturating_mul(LATER));
                self.goal.clear();
            }
            if cycle.is_quiet() && !cycle.leaves_due || ends >= 5 {
                break;
            }
        }
        Ok(summary)
    }

    /// All nodes' specs of the tables that do not stand still and of which histories are kept, for one node.
    pub(super) fn specs(tables: &[Table], node: NodeId) -> Vec<TableSpec> {
        tables
            .iter()
            .filter(|table| !table.compared)
            .filter_map(|table| table.spec(node))
            .map(|spec| (**spec).clone())
            .collect()
    }

    /// The tables that stand still, and why.
    pub fn stopped(&self) -> Vec<Stopped> {
        let why = |table: &Table| table.stopped.clone().or(table.filtered_otherwise.clone());
        let stopped = self.tables.iter().filter_map(|table| Some((table, why(table)?)));
        stopped.map(|(table, why)| Stopped { table: table.name.clone(), why }).collect()
    }

    /// Stops the tables whose plugins gave up. Whether there are any.
    pub(super) fn stop_for_plugins(&mut self, gave_up: &[(usize, Failure)]) -> bool {
        gave_up.iter().for_each(|(table, failure)| self.tables[*table].stop_for_plugin(failure));
        if !gave_up.is_empty() {
            // It may have taken long. Before they are looked at again, the other tables have their turn.
            self.adopted = Some(time::moment());
        }
        !gave_up.is_empty()
    }

    /// Makes a report that only reads, and tells as well of tables which stand still for their filters alone.
    pub(super) async fn report<T>(&mut self, make: impl AsyncFnOnce(&mut Session) -> Result<T>) -> Result<T> {
        let stands_still = |table: &&mut Table| table.filtered_otherwise.is_some();
        self.tables.iter_mut().filter(stands_still).for_each(|table| table.stopped = None);
        let made = make(self).await;
        for table in self.tables.iter_mut().filter(stands_still) {
            table.stopped = table.stopped.take().or_else(|| table.filtered_otherwise.clone());
        }
        made
    }
}

impl Table {
    /// The table stands still until rows were moved by its filters.
    pub(super) fn stop_for_filters(&mut self, node: &str, what: &str) {
        if self.stopped.is_none() && self.filtered_otherwise.is_none() {
            self.stop(node, what);
            self.filtered_otherwise.clone_from(&self.stopped);
        }
    }

    /// The table stands still until its plugin is another, or it is tried again.
    fn stop_for_plugin(&mut self, failure: &Failure) {
        if self.stopped.is_some() {
            return;
        }
        let why = format!(
            "{failure}; put it right, or take it out of the file; all its rows are there yet, and each sync tries again"
        );
        // Every report names it; at the level of warnings it would be said with each look at what stands still.
        info!(table = %self.name, %why, "A table stands still.");
        self.stopped = Some(why);
    }

    /// The table as it was known, which stands still because it cannot be set up as it could before, such as for a plugin that cannot
    /// be opened at the moment.
    pub(super) fn not_set_up(&self, why: &str) -> Table {
        let why = format!("{why}; all its rows are there yet, and it is tried again");
        info!(table = %self.name, %why, "A table stands still.");
        let forms = vec![None; self.forms.len()];
        Table { stopped: Some(why), filtered_otherwise: None, forms, ..self.clone() }
    }

    /// The table stands still until somebody sees to it.
    pub(super) fn stop(&mut self, node: &str, what: &str) {
        if self.filtered_otherwise.take().is_some() {
            // It is no longer known how it looks there.
            self.stopped = None;
        }
        if self.stopped.is_none() {
            let why = match what.contains("run `concord ") {
                true => format!("at {node}: {what}"),
                false => format!("at {node}: {what}; run `concord install` once the tables of all nodes agree again"),
            };
            info!(table = %self.name, %why, "A table stands still.");
            self.stopped = Some(why);
        }
    }
}

impl Summary {
    fn add(&mut self, cycle: &Cycle) {
        self.cycles += 1;
        self.conflicts += cycle.conflicts;
        self.parked += cycle.parked;
        self.waiting = cycle.waiting;
        self.held = cycle.held;
        self.away = cycle.away.clone();
        self.stopped = cycle.stopped.clone();
        self.failed = cycle.failed.clone();
        self.may_pass = cycle.may_pass;
        add_carried(&mut self.nodes, &cycle.carried);
        if cycle.entries > 0 {
            info!(entries = cycle.entries, conflicts = cycle.conflicts, "A cycle is done.");
        }
    }

    /// Adds what a comparison did.
    fn take(&mut self, compared: Verified) {
        compared.tables.iter().for_each(|table| add_carried(&mut self.nodes, &table.carried));
        self.compared = compared.tables;
        add_away(&mut self.away, compared.away);
        self.stopped = compared.stopped;
    }

    /// Adds what a later run did.
    pub(super) fn extend(&mut self, later: Summary) {
        self.cycles += later.cycles;
        self.conflicts += later.conflicts;
        self.parked += later.parked;
        add_carried(&mut self.nodes, &later.nodes);
        *self = Summary {
            waiting: later.waiting,
            held: later.held,
            away: later.away,
            stopped: later.stopped,
            failed: later.failed,
            may_pass: later.may_pass,
            ..std::mem::take(self)
        };
    }

    /// The code with which the command ends: a node was away or held up by locks or lack of room, something waits for a person, or all
    /// is done.
    pub fn exit_code(&self) -> u8 {
        if self.away.iter().any(|away| away.unreachable) || self.held > 0 || self.may_pass {
            crate::error::UNREACHABLE
        } else if self.waiting > 0
            || !self.stopped.is_empty()
            || !self.away.is_empty()
            || self.failed.is_some()
            || self.compared.iter().any(VerifiedTable::differs)
        {
            crate::error::ATTENTION
        } else {
            crate::error::DONE
        }
    }
}

/// Adds a reason why something failed to those that are known.
pub(super) fn add_failure(failed: &mut Option<String>, why: String) {
    *failed = Some(match failed.take() {
        Some(others) => format!("{others}; {why}"),
        None => why,
    });
}

/// Adds nodes that took no part to those that are known, each reason once.
pub(super) fn add_away(all: &mut Vec<Away>, more: Vec<Away>) {
    for away in more {
        if !all.contains(&away) {
            all.push(away);
        }
    }
}

pub(super) fn add_carried(all: &mut Vec<Carried>, more: &[Carried]) {
    for carried in more {
        match all.iter_mut().find(|known| known.node == carried.node) {
            Some(known) => {
                known.written += carried.written;
                known.deleted += carried.deleted;
            }
            None => all.push(carried.clone()),
        }
    }
}
