//! A connection to every node of the sync, and what is known of the tables.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join_all};
use serde::Serialize;
use tracing::info;

use super::cycle::Cycle;
use super::restored::Restored;
use super::table::Table;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::model::{NodeId, TableSpec};
use crate::node::{self, ErrorKind, Node, Target};

/// How often tables that stand still are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The nodes of a sync, connected as far as they can be reached.
pub struct Session {
    pub config: Config,
    pub(super) names: Vec<String>,
    pub(super) members: Vec<Member>,
    /// Known once a node that has the tables installed was reached.
    pub(super) tables: Vec<Table>,
    /// Entries read at once; lower than the configured number while rows are so large that memory would run out.
    pub(super) page: usize,
    /// When the tables were taken from the service tables.
    pub(super) adopted: Option<Instant>,
    /// Whether this session has looked for purged entries yet.
    pub(super) purged: bool,
    connector: Connector,
}

/// How a session connects to the database at a place of the configuration file: [`node::connect`], or a test's own.
pub type Connector = Arc<dyn Fn(Target) -> BoxFuture<'static, node::Result<Box<dyn Node>>> + Send + Sync>;

/// One node.
pub(super) struct Member {
    pub id: NodeId,
    pub name: String,
    pub node: Option<Box<dyn Node>>,
    /// Whether the tables were looked up since it was connected.
    pub prepared: bool,
    /// Whether its clock was off when it was looked at last.
    pub skewed: bool,
    /// Set while it is left out because it was restored from a backup or replaced.
    pub restored: Option<Restored>,
    /// Why it does not take part, if it does not.
    pub away: Option<Away>,
}

/// A node that does not take part.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Away {
    pub node: String,
    pub why: String,
    /// Whether it may come back by itself, as one that cannot be reached may.
    pub unreachable: bool,
}

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
    /// Rows that a user's transaction kept from being written to the end.
    pub held: u64,
    pub away: Vec<Away>,
    pub stopped: Vec<Stopped>,
    /// A node that did not take its part to the end, and why.
    pub failed: Option<String>,
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
        let member = |(at, name): (usize, &String)| Member {
            id: NodeId(at as u16),
            name: name.clone(),
            node: None,
            prepared: false,
            skewed: false,
            restored: None,
            away: None,
        };
        Session {
            members: names.iter().enumerate().map(member).collect(),
            names,
            tables: Vec::new(),
            page: config.defaults.batch,
            adopted: None,
            purged: false,
            connector,
            config,
        }
    }

    /// Connects to the nodes that are not connected; those that cannot be reached are away.
    pub(super) async fn connect(&mut self) {
        let targets = self.config.nodes.iter().map(|node| node.target.clone());
        let connector = &self.connector;
        join_all(self.members.iter_mut().zip(targets).map(async |(member, target)| {
            if member.node.is_some() {
                return;
            }
            member.prepared = false;
            match connector(target).await {
                Ok(node) => {
                    member.node = Some(node);
                    member.away = None;
                }
                Err(error) => member.leave(&error),
            }
        }))
        .await;
    }

    /// Connects, and makes sure of the tables at every node that was not looked at yet.
    pub(super) async fn prepare(&mut self) -> Result<()> {
        self.connect().await;
        let stands_still = self.tables.iter().any(|table| table.stopped.is_some());
        if stands_still && self.adopted.is_none_or(|adopted| adopted.elapsed() >= LOOK_AGAIN) {
            // Somebody may have seen to it.
            self.tables.clear();
            self.members.iter_mut().for_each(|member| member.prepared = false);
        }
        let sync = self.config.name.clone();
        for at in 0..self.members.len() {
            let member = &mut self.members[at];
            let Some(node) = member.node.as_deref_mut().filter(|_| !member.prepared) else { continue };
            let service = match node.service().await {
                Ok(service) => service,
                Err(error) if error.is_absence() => {
                    member.leave(&error);
                    continue;
                }
                Err(error) => return Err(Error::at(&member.name, "reading the service tables")(error)),
            };
            let Some(service) = service else {
                return Err(Error::Refused(vec![format!(
                    "node `{}`: nothing is installed there; run `concord install`",
                    member.name
                )]));
            };
            if service.sync != sync || service.node != member.name {
                return Err(Error::Refused(vec![format!(
                    "node `{}`: it is installed as node `{}` of the sync `{}`, not of `{sync}`; name it so in the file, or run \
                     `concord uninstall` with the file it was installed with",
                    member.name, service.node, service.sync
                )]));
            }
            if service.nodes != self.names {
                return Err(Error::Refused(vec![format!(
                    "node `{}`: it was installed for the nodes {}, and the file lists {}; run `concord install`",
                    self.members[at].name,
                    service.nodes.join(", "),
                    self.names.join(", ")
                )]));
            }
            self.adopt(&service.tables)?;
            self.look_up(at).await?;
        }
        if self.tables.is_empty() {
            // Nobody could be reached who knows the tables.
            return Err(self.unreachable());
        }
        Ok(())
    }

    /// Takes the shapes of the tables from a node's service tables.
    fn adopt(&mut self, kept: &[(String, String)]) -> Result<()> {
        if !self.tables.is_empty() {
            return Ok(());
        }
        let nodes = self.members.len();
        for (index, config) in self.config.tables.iter().enumerate() {
            let shape = kept.iter().find(|(name, _)| *name == config.name);
            let table = shape.and_then(|(_, shape)| Table::from_kept(config, index, nodes, shape));
            let Some(table) = table else {
                return Err(Error::Refused(vec![format!(
                    "{}: table `{}` is in the file and not installed; run `concord install`",
                    self.config.at(&config.place),
                    config.name
                )]));
            };
            self.tables.push(table);
        }
        self.adopted = Some(Instant::now());
        Ok(())
    }

    /// Finds every table at one node. A table that is not what it was stands still.
    async fn look_up(&mut self, at: usize) -> Result<()> {
        let Session { members, tables, config, .. } = self;
        let member = &mut members[at];
        for table in tables.iter_mut() {
            let Some(node) = member.node.as_deref_mut() else { return Ok(()) };
            let part = &config.tables[table.index];
            let local = &part.nodes[at].table;
            let found = match node.catalogue(local).await {
                Ok(Some(catalogue)) => table.form_at(part, member.id, &catalogue),
                Ok(None) => Err(format!("there is no table `{local}`")),
                Err(error) if error.is_absence() => {
                    member.leave(&error);
                    return Ok(());
                }
                Err(error) => return Err(Error::at(&member.name, format!("looking up `{local}`"))(error)),
            };
            match found {
                Ok(form) => table.forms[at] = Some(form),
                Err(why) => table.stop(&member.name, &why),
            }
        }
        member.prepared = true;
        Ok(())
    }

    /// Runs cycles until nothing is left to carry. What users write while it runs is carried too, but not for ever: once
    /// everything that was there at the start has arrived, what comes later is left to the next run.
    pub async fn sync(&mut self) -> Result<Summary> {
        let mut summary = Summary::default();
        let (mut whole_cycles, mut failures, mut lost) = (0, 0, 0);
        loop {
            let cycle = match self.cycle().await {
                Err(Error::Node { node, source, .. })
                    if source.kind == ErrorKind::Lost && lost < self.members.len() =>
                {
                    // A connection broke while reading: the others go on, and this node if it can be reached again.
                    lost += 1;
                    self.close().await;
                    self.members
                        .iter_mut()
                        .filter(|member| member.name == node)
                        .for_each(|member| member.leave(&source));
                    continue;
                }
                cycle => cycle?,
            };
            summary.add(&cycle);
            // The next cycle mostly finds out what it was, and leaves the table out.
            failures += u64::from(cycle.failed.is_some());
            if failures >= 3 {
                break;
            }
            whole_cycles += u64::from(!cycle.more && !cycle.overtaken);
            if cycle.is_quiet() {
                summary.held = cycle.held;
                break;
            }
            if whole_cycles >= 5 {
                break;
            }
        }
        Ok(summary)
    }

    /// All nodes' specs of the tables that do not stand still, for one node.
    pub(super) fn specs(tables: &[Table], node: NodeId) -> Vec<TableSpec> {
        tables.iter().filter_map(|table| table.spec(node)).map(|spec| (**spec).clone()).collect()
    }

    /// The nodes that took no part in what was done last, and why.
    pub fn away(&self) -> Vec<Away> {
        self.members.iter().filter_map(|member| member.away.clone()).collect()
    }

    /// The tables that stand still, and why.
    pub(super) fn stopped(&self) -> Vec<Stopped> {
        let stopped = self.tables.iter().filter_map(|table| Some((table, table.stopped.clone()?)));
        stopped.map(|(table, why)| Stopped { table: table.name.clone(), why }).collect()
    }

    pub(super) fn unreachable(&self) -> Error {
        let away = self.away().into_iter();
        let lines: Vec<String> = away.map(|away| format!("node `{}`: {}", away.node, away.why)).collect();
        match self.away().iter().any(|away| away.unreachable) {
            true => Error::Unreachable(lines),
            false => Error::Refused(lines),
        }
    }
}

impl Member {
    /// The node drops out until it can be reached again.
    pub fn leave(&mut self, error: &node::Error) {
        self.node = None;
        self.prepared = false;
        // A file that is no database does not become one by waiting.
        let unreachable = matches!(error.kind, ErrorKind::Lost | ErrorKind::Login | ErrorKind::Retry);
        let away = Away { node: self.name.clone(), why: error.to_string(), unreachable };
        if self.away.as_ref() != Some(&away) {
            // Every report names it; at the level of warnings it would be said twice.
            info!(node = %self.name, why = %error, "A node is away.");
        }
        self.away = Some(away);
    }
}

impl Table {
    /// The table stands still until somebody sees to it.
    pub(super) fn stop(&mut self, node: &str, what: &str) {
        if self.stopped.is_none() {
            let why = format!("at {node}: {what}; run `concord install` once the tables of all nodes agree again");
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
        self.away = cycle.away.clone();
        self.stopped = cycle.stopped.clone();
        self.failed = cycle.failed.clone();
        for carried in &cycle.carried {
            match self.nodes.iter_mut().find(|known| known.node == carried.node) {
                Some(known) => {
                    known.written += carried.written;
                    known.deleted += carried.deleted;
                }
                None => self.nodes.push(carried.clone()),
            }
        }
        if cycle.entries > 0 {
            info!(entries = cycle.entries, conflicts = cycle.conflicts, "A cycle is done.");
        }
    }

    /// The code with which the command ends: something waits for a person, a node was away, or all is done.
    pub fn exit_code(&self) -> u8 {
        if self.away.iter().any(|away| away.unreachable) {
            crate::error::UNREACHABLE
        } else if self.waiting + self.held > 0
            || !self.stopped.is_empty()
            || !self.away.is_empty()
            || self.failed.is_some()
        {
            crate::error::ATTENTION
        } else {
            crate::error::DONE
        }
    }
}
