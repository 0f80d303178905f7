//! Who takes part: connecting, and whether what is installed at a node is what the file describes. Whoever cannot take part
//! is left out with the reason, and the others go on.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join_all};
use serde::Serialize;
use tracing::{info, warn};

use super::brought;
use super::kept_shape::{self, Outline};
use super::load::Refilters;
use super::rejoin::{Renewed, UNFINISHED};
use super::restored::Restored;
use super::session::Session;
use super::shape::goes_on_in_part;
use super::table::Table;
use crate::config::Mode;
use crate::error::{Error, Result};
use crate::model::{NodeId, TableSpec, time};
use crate::node::{self, ErrorKind, NOT_INSTALLED, Node, Service};

/// How often what stands still or does not fit is looked at again.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How long at least, and at most, a login is not tried again that was refused. Whoever tries without end may be locked out.
const REFUSED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What a watch tells whose login is refused.
const AS_IT_BEGAN: &str = "it is tried again now and then, with what the file and the variables said when this `watch` began: if they say \
    something else by now, start it again";

/// With what begins why a node is left out that was installed for other nodes than those of the file.
const OTHER_NODES: &str = "it was installed for the nodes";

/// How long the others wait for a node that did not answer the last time either, when it is tried again and while that goes
/// on.
const AGAIN: Duration = Duration::from_secs(2);
const STILL: Duration = Duration::from_millis(50);

/// One node.
pub(super) struct Member {
    pub id: NodeId,
    pub name: String,
    pub node: Option<Box<dyn Node>>,
    /// What reads rows in its snapshot while it is being written.
    pub reader: Option<Box<dyn Node>>,
    /// Whether a second connection was refused since it was connected.
    pub is_alone: bool,
    /// Whether the tables were looked up since it was connected.
    pub prepared: bool,
    /// The installation that was there then.
    pub life: Option<String>,
    /// How each table, by index, was installed there when the tables were taken from what is kept.
    shapes: HashMap<usize, Outline>,
    /// Tables that were installed there then, and that the file does not name.
    pub unlisted: Vec<String>,
    /// Whether its clock was off when it was looked at last.
    pub skewed: bool,
    /// By how much its clock was ahead of this machine's then, in microseconds.
    pub ahead: Option<i64>,
    /// How much of that is no error of its own clock, since it times changes by another, see [`Node::strays`].
    pub strays: i64,
    /// Tables, by index, in which changes may be made there that are in no history, as they were when they were looked at last.
    pub unrecorded: HashSet<usize>,
    /// Set while it is left out because it was restored from a backup or replaced.
    pub restored: Option<Restored>,
    /// Why it does not take part, if it does not.
    pub away: Option<Away>,
    /// An attempt to connect that takes longer than the others wait for it; it goes on with every cycle.
    connecting: Option<BoxFuture<'static, node::Result<Box<dyn Node>>>>,
    /// Before this there is no use in looking at it again.
    rests_until: Option<Instant>,
    /// How often it has refused the login since it was connected.
    refusals: u32,
    /// Why entries cannot be deleted there, if that was told.
    pub unpurged: Option<String>,
}

/// A node that does not take part.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Away {
    pub node: String,
    pub why: String,
    /// Whether it may come back by itself, as one that cannot be reached may.
    pub unreachable: bool,
}

impl Session {
    /// Connects to the nodes that are not connected; those that cannot be reached are away.
    pub(super) async fn connect(&mut self) {
        let targets = self.config.nodes.iter().map(|node| node.target.clone());
        let (connector, watches) = (&self.connector, self.watches);
        join_all(self.members.iter_mut().zip(targets).map(async |(member, target)| {
            if member.node.is_some() || member.rests_until.is_some_and(|until| time::moment() < until) {
                return;
            }
            (member.prepared, member.is_alone) = (false, false);
            let begun = member.connecting.is_some();
            let attempt = member.connecting.get_or_insert_with(|| {
                // A task of its own: proving who one is takes both sides some time.
                let attempt = tokio::spawn(connector(target));
                Box::pin(async move {
                    match attempt.await.map_err(tokio::task::JoinError::try_into_panic) {
                        Ok(done) => done,
                        Err(Ok(panic)) => std::panic::resume_unwind(panic),
                        Err(Err(_)) => Err(node::Error::new(ErrorKind::Lost, "the engine is ending")),
                    }
                })
            });
            let done = match member.away {
                None => attempt.await,
                Some(_) => {
                    let patience = if begun { STILL } else { AGAIN };
                    let Ok(done) = tokio::time::timeout(patience, attempt).await else { return };
                    done
                }
            };
            member.connecting = None;
            match done {
                Ok(node) => {
                    (member.node, member.refusals) = (Some(node), 0);
                    // Why it was left out is known again once it has been looked at.
                    member.away.take_if(|away| away.unreachable);
                }
                Err(error) if watches && error.kind == ErrorKind::Login => member.leave(&error.with(AS_IT_BEGAN)),
                Err(error) => member.leave(&error),
            }
        }))
        .await;
    }

    /// Connects, and makes sure of the tables at every node that was not looked at yet. Nodes at which something else is
    /// installed than the file describes are left out. Refuses if that is so of all, since then it is the file that is
    /// wrong.
    pub(super) async fn assemble(&mut self) -> Result<()> {
        self.connect().await;
        let stands_still = self.tables.iter().any(Table::stands_still);
        let mut before = Vec::new();
        if stands_still && self.adopted.is_none_or(|adopted| time::moment().duration_since(adopted) >= self.look_again)
        {
            // Somebody may have seen to it.
            before = std::mem::take(&mut self.tables);
            self.refilters.leave_out(before.iter().filter(|table| table.stopped.is_some()));
            self.members.iter_mut().for_each(|member| member.prepared = false);
        }
        if !self.config.keeps_histories() {
            self.assemble_without_histories();
            return Ok(());
        }
        let asking = join_all(self.members.iter_mut().enumerate().map(async |(at, member)| {
            let node = member.node.as_deref_mut().filter(|_| !member.prepared)?;
            match node.service().await {
                Ok(service) => Some((at, service)),
                Err(error) => {
                    member.leave(&error.while_doing("reading the service tables"));
                    None
                }
            }
        }));
        let mut fit: Vec<(usize, Service)> = Vec::new();
        let mut other_nodes = Vec::new();
        for (at, service) in asking.await.into_iter().flatten() {
            let member = &mut self.members[at];
            match misfit(&self.config.name, &self.names, at, service.as_ref()) {
                None => fit.extend(service.map(|service| (at, service))),
                Some(why) => {
                    let ours = |service: Service| service.sync == self.config.name && service.node == self.names[at];
                    if service.is_some_and(ours) {
                        other_nodes.push(format!("node `{}`: {why}", member.name));
                    }
                    member.leave_out(why);
                }
            }
        }
        self.leave_out_unfinished(&mut fit).await;
        if !other_nodes.is_empty() && fit.is_empty() && !self.members.iter().any(|member| member.prepared) {
            return Err(Error::Refused(other_nodes));
        }
        let anew = self.adopt(&fit, &before)?;
        for known in before.into_iter().filter(|table| table.compared) {
            // The next comparison looks at it again.
            self.tables
                .iter_mut()
                .filter(|table| table.index == known.index)
                .for_each(|table| table.clone_from(&known));
        }
        self.look_up(&fit, anew).await;
        Ok(())
    }

    /// Leaves out who was let in by a load that has not come to its end: rows there may be older than histories tell, and what users
    /// make of them would pass for the latest.
    async fn leave_out_unfinished(&mut self, fit: &mut Vec<(usize, Service)>) {
        if self.loads {
            return;
        }
        let mut unfinished = Vec::new();
        for (at, _) in &*fit {
            let member = &mut self.members[*at];
            let Some(node) = member.node.as_deref_mut() else { continue };
            match node.progress().await {
                Ok(kept) if kept.as_deref().and_then(Renewed::read).is_some() => {
                    member.leave_out(UNFINISHED.to_owned())
                }
                Ok(_) => continue,
                Err(error) => member.leave(&error.while_doing("reading how far a load has come")),
            }
            unfinished.push(*at);
        }
        fit.retain(|(at, _)| !unfinished.contains(at));
    }

    /// Where every table is compared nothing is installed, and whoever is connected takes part.
    fn assemble_without_histories(&mut self) {
        for member in self.members.iter_mut().filter(|member| member.node.is_some()) {
            member.prepared = true;
            member.away = None;
        }
        if self.tables.is_empty() {
            let tables = 0..self.config.tables.len();
            self.tables = tables.map(|index| Table::to_be_compared(&self.config, index)).collect();
            self.adopted = Some(time::moment());
        }
    }

    /// Assembles them, and fails if nobody is there who knows the tables, or if no history is kept of any.
    pub(super) async fn prepare(&mut self) -> Result<()> {
        self.needs_histories()?;
        self.prepare_any().await
    }

    /// The same although every table may be one that is compared.
    pub(super) async fn prepare_any(&mut self) -> Result<()> {
        self.assemble().await?;
        if self.tables.is_empty() { Err(self.unreachable()) } else { Ok(()) }
    }

    /// Fails unless there is anything to carry from one node to another, now or when somebody comes back by himself.
    pub(super) fn enough(&self) -> Result<()> {
        if self.enough_among(|_| true) { Ok(()) } else { Err(self.unreachable()) }
    }

    fn enough_among(&self, counts: impl Fn(usize) -> bool) -> bool {
        let members = || self.members.iter().enumerate().filter(|(at, _)| counts(*at)).map(|(_, member)| member);
        let there = members().filter(|member| member.node.is_some()).count();
        let comes_back = |away: &Away| away.unreachable || away.why == UNFINISHED;
        there > 1 || members().any(|member| member.away.as_ref().is_some_and(comes_back))
    }

    /// Whether an error comes of a table that changed while it was read. It is looked up again then, and stands still alone.
    pub(super) fn has_changed(&mut self, error: &Error) -> bool {
        let Error::Node { node, source, .. } = error else { return false };
        let changed = self.members.iter_mut().filter(|member| source.kind == ErrorKind::Drift && member.name == *node);
        changed.map(|member| member.prepared = false).count() > 0
    }

    /// Leaves out the node that an error is about, so that the others can go on; gives the error back if they cannot, as where
    /// no two would be left.
    pub(super) fn do_without(&mut self, error: Error) -> Result<()> {
        let Error::Node { node, doing, source } = &error else { return Err(error) };
        let Some(at) = self.members.iter().position(|member| member.name == *node) else { return Err(error) };
        // Its other connection may have told before.
        if self.members[at].node.is_none() {
            return self.enough().map_err(|_| error);
        }
        // Where nobody goes on without it, there is no use in leaving it out.
        if !is_unreachable(source.kind) && !self.enough_among(|other| other != at) {
            return Err(error);
        }
        self.members[at].go(format!("{doing}: {source}"), source.kind);
        self.enough().map_err(|_| error)
    }

    /// Leaves a node out for a while at which nothing can be written, if two others can go on without it.
    pub(super) fn go_on_without(&mut self, node: NodeId, error: &node::Error) -> bool {
        // Where entries are being deleted a task has the node: who is gone is told by `away` alone.
        let others = self.members.iter().filter(|member| member.id != node && member.away.is_none()).count();
        if others > 1 {
            self.members[node.index()].rest(error);
        }
        others > 1
    }

    /// Takes the shapes of the tables from the service tables of nodes, unless they are known; whether it did. `before` are the tables
    /// that were known.
    fn adopt(&mut self, services: &[(usize, Service)], before: &[Table]) -> Result<bool> {
        if self.tables.is_empty() && services.is_empty() {
            // Nobody is there to tell what they are now, and what was known of them is needed once somebody is.
            self.tables = before.to_vec();
        }
        if !self.tables.is_empty() || services.is_empty() {
            return Ok(false);
        }
        let mut tables = Vec::new();
        for (index, config) in self.config.tables.iter().enumerate() {
            if config.mode == Mode::Compare {
                tables.push(Table::to_be_compared(&self.config, index));
                continue;
            }
            let shape = kept_shape::of_most(services.iter().filter_map(|(_, service)| service.shape(&config.name)));
            let table = match shape {
                Some(shape) => Table::from_kept(&self.config, index, shape, &mut self.plugins),
                None => Ok(None),
            };
            let table = match (table, before.iter().find(|known| known.index == index)) {
                (Err(problem), None) => return Err(Error::Config(vec![*problem])),
                // The file was right, and the others go on.
                (Err(problem), Some(known)) => {
                    let stopped = known.not_set_up(&problem.message);
                    self.refilters.leave_out(std::iter::once(&stopped));
                    Some(stopped)
                }
                (Ok(table), _) => table,
            };
            let table = table.inspect(|table| {
                // Once for each session.
                let is_new = !before.iter().any(|known| known.index == index);
                if let Some(why) = goes_on_in_part(config, &table.policy).filter(|_| is_new) {
                    warn!(table = %config.name, "{why}.");
                }
            });
            let Some(table) = table else {
                return Err(Error::Refused(vec![format!(
                    "{}: table `{}` is in the file and not installed; run `concord install`",
                    self.config.at(&config.place),
                    config.name
                )]));
            };
            tables.push(table);
        }
        self.tables = tables;
        self.adopted = Some(time::moment());
        Ok(true)
    }

    /// Finds every table at these nodes. A table that is not what it was stands still. `anew` if the tables were just taken from what
    /// is kept.
    async fn look_up(&mut self, nodes: &[(usize, Service)], anew: bool) {
        let (tables, config) = (&self.tables, &self.config);
        let members = self.members.iter_mut().enumerate().filter_map(|(at, member)| {
            let (_, service) = nodes.iter().find(|(known, _)| *known == at)?;
            Some((at, member, service))
        });
        let looking = join_all(members.map(async |(at, member, service)| {
            let mut found = Vec::with_capacity(tables.len());
            for table in tables.iter().filter(|table| !table.compared) {
                let local = &config.tables[table.index].nodes[at].table;
                found.push(match member.node.as_deref_mut()?.catalogue(local).await {
                    Ok(Some(catalogue)) => Ok(catalogue),
                    Ok(None) => Err(format!("there is no table `{local}`")),
                    Err(error) => {
                        member.leave(&error.while_doing(format!("looking up `{local}`")));
                        return None;
                    }
                });
            }
            Some((at, service, found))
        }));
        for (at, service, found) in looking.await.into_iter().flatten() {
            let member = &mut self.members[at];
            for (table, found) in self.tables.iter_mut().filter(|table| !table.compared).zip(found) {
                let kept = service.shape(&table.name);
                if anew {
                    member.knows_as_installed(table.index, kept);
                } else if member.is_reinstalled(table.index, kept, &table.kept()) {
                    table.stop_until_adopted(&member.name);
                    self.adopted = None;
                }
                let remapped = nodes.iter().find(|(at, service)| {
                    let kept = service.shape(&table.name).map(brought::marks);
                    kept.is_some_and(|kept| kept.mapping.as_ref() != table.mapping_mark(NodeId(*at as u16)))
                });
                let form = found.and_then(|catalogue| {
                    let form = table.form_at(&self.config, member.id, &catalogue, &mut self.plugins)?;
                    let otherwise = match installed_otherwise(kept, table, &form.spec, &self.refilters) {
                        Some(Otherwise::Carried(why)) => return Err(why),
                        Some(Otherwise::Filters(why)) => Some(why),
                        None => None,
                    };
                    Ok((form, kept.is_some_and(|kept| brought::marks(kept).filter.is_some()), otherwise))
                });
                match form {
                    Ok((form, was_filtered, otherwise)) => {
                        table.forms[at] = Some(form);
                        otherwise.iter().for_each(|why| table.stop_for_filters(&member.name, why));
                        let node = NodeId(at as u16);
                        if was_filtered && table.subset(node).is_none() && table.takes_rows(node) {
                            table.lacks_rows_still(node);
                        }
                    }
                    // Of another mapping the columns that were agreed on know nothing yet.
                    Err(why) if remapped.is_some() && !why.contains("; run `concord ") => {
                        let there = remapped.map_or("", |(at, _)| self.names[*at].as_str());
                        // They were agreed on where there was no mapping, between files of SQLite.
                        let why =
                            why.replace("any among the nodes; let the mapping answer that kind", "any among the nodes");
                        let remedy = format!(
                            "{why}; the mapping at {there} is another in this file, and may make other columns; run `concord install`, and \
                             then `concord load --refilter --table {} --prefer NODE`",
                            table.name
                        );
                        table.stop(&member.name, &remedy);
                    }
                    Err(why) => table.stop(&member.name, &why),
                }
            }
            let is_unlisted = |name: &&String| self.config.tables.iter().all(|table| table.name != **name);
            member.unlisted = service.tables.iter().map(|(name, _)| name).filter(is_unlisted).cloned().collect();
            member.prepared = true;
            member.life = Some(service.uuid.clone());
            member.away = None;
        }
    }

    /// The nodes that took no part in what was done last, and why.
    pub fn away(&self) -> Vec<Away> {
        self.members.iter().filter_map(|member| member.away.clone()).collect()
    }

    /// The tables that are installed at nodes of the sync and that the file does not name, as one that is older than the installation:
    /// what is changed in them is recorded and goes nowhere.
    pub fn unlisted(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.members.iter().flat_map(|member| &member.unlisted).collect();
        names.into_iter().cloned().collect()
    }

    pub(super) fn unreachable(&self) -> Error {
        let lines = self.why_away();
        match self.away().iter().any(|away| away.unreachable) {
            true => Error::Unreachable(lines),
            false => Error::Refused(lines),
        }
    }

    fn why_away(&self) -> Vec<String> {
        self.away().into_iter().map(|away| format!("node `{}`: {}", away.node, away.why)).collect()
    }

    /// Whether an error is about what was found at nodes, where it may be put right while the file stays what it is. Nodes that were
    /// installed for others than the file lists tell that another file is meant.
    pub(super) fn may_be_put_right(&self, error: &Error) -> bool {
        match error {
            Error::Refused(why) => {
                let (away, known) = (self.away(), self.why_away());
                why.iter().all(|why| known.contains(why)) && !away.iter().any(|away| away.why.starts_with(OTHER_NODES))
            }
            Error::Node { .. } => true,
            _ => false,
        }
    }
}

/// Why a node cannot take part in the sync that the file describes, if what is installed there is something else. A list of
/// nodes that differs would make nodes' numbers mean others than those that the file means.
pub(super) fn misfit(sync: &str, names: &[String], at: usize, service: Option<&Service>) -> Option<String> {
    let name = &names[at];
    let Some(service) = service else { return Some(NOT_INSTALLED.to_owned()) };
    if service.sync != sync || service.node != *name {
        return Some(foreign(sync, names, name, service));
    }
    (service.nodes != names).then(|| {
        let gone: Vec<&str> =
            service.nodes.iter().filter(|node| !names.contains(node)).map(String::as_str).collect();
        let remedy = match gone.is_empty() {
            true => "run `concord install`".to_owned(),
            false => format!(
                "if this file is the older one, start again with the newer one; otherwise run `concord install`, which takes {} out of \
                 the sync",
                gone.join(", ")
            ),
        };
        format!("{OTHER_NODES} {}, and the file lists {}; {remedy}", service.nodes.join(", "), names.join(", "))
    })
}

/// In what a table was installed at a node in another way than the file describes, in words.
pub(super) enum Otherwise {
    /// In its columns there, or in the operations.
    Carried(String),
    Filters(String),
}

/// What to do about a database that is installed as another node than the one that the file says it is.
pub(super) fn foreign(sync: &str, names: &[String], name: &str, service: &Service) -> String {
    let Service { sync: of, node, .. } = service;
    if of == sync && names.contains(node) {
        return format!(
            "it is installed as node `{node}` of this sync; name it so in the file, or, if it is a copy of the database of `{node}`, \
             make it a node of its own with `concord uninstall --node {name}`, which leaves the others as they are, and then \
             `concord install` and `concord load`"
        );
    }
    format!(
        "it is installed as node `{node}` of the sync `{of}`, not as `{name}` of `{sync}`, and a database takes part in one sync; name \
         both so in the file, or take Concord off it with a file that does, and `concord uninstall --node {node}`"
    )
}

/// Why a table stands still because it was installed at a node in another way than the file describes. Of those that are being
/// refiltered somebody is about to see to it that rows are where they belong.
pub(super) fn installed_otherwise(
    kept: Option<&str>,
    table: &Table,
    spec: &TableSpec,
    refilters: &Refilters,
) -> Option<Otherwise> {
    let filters = || brought::brought_otherwise(kept, spec).filter(|_| !refilters.moves(table, kept));
    let told =
        |why| Otherwise::Filters(format!("{why} ({}); {}", brought::WATCHED, brought::remedy(kept, table, spec)));
    kept_shape::carried_otherwise(kept, spec).map(Otherwise::Carried).or_else(|| filters().map(told))
}

impl Table {
    /// The table stands still until its shape is taken from what is kept once more: by the one that is known columns would be passed
    /// over that are carried by now, or read as what they were.
    pub(super) fn stop_until_adopted(&mut self, node: &str) {
        self.filtered_otherwise = None;
        let why =
            format!("at {node}: it was installed in another shape meanwhile; it goes on by that with the next sync");
        info!(table = %self.name, %why, "A table stands still.");
        self.stopped = Some(why);
    }
}

/// Whether somebody who fails in this way may come back by himself. A file that is no database does not become one by waiting.
fn is_unreachable(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Lost | ErrorKind::Login | ErrorKind::Retry | ErrorKind::Locked)
}

/// How long a login is not tried again that was refused so many times.
fn rest_after(refusals: u32) -> Duration {
    let (least, most) = REFUSED;
    (least * 2u32.pow(refusals.saturating_sub(1).min(16))).min(most)
}

impl Member {
    pub fn new(id: NodeId, name: &str) -> Member {
        Member {
            id,
            name: name.to_owned(),
            node: None,
            prepared: false,
            life: None,
            shapes: HashMap::new(),
            unlisted: Vec::new(),
            skewed: false,
            ahead: None,
            strays: 0,
            unrecorded: HashSet::new(),
            restored: None,
            away: None,
            connecting: None,
            reader: None,
            is_alone: false,
            rests_until: None,
            refusals: 0,
            unpurged: None,
        }
    }

    /// Notes how a table is installed there, by the shape that is kept.
    fn knows_as_installed(&mut self, table: usize, kept: Option<&str>) {
        self.shapes.extend(kept.and_then(kept_shape::outline).map(|outline| (table, outline)));
    }

    /// Whether a table was installed there, by the shape that is kept, in another way than it is known, and since it became known. An
    /// install that was broken off leaves nodes that differ; that is nothing new to whoever has begun with it.
    pub fn is_reinstalled(&self, table: usize, kept: Option<&str>, known: &str) -> bool {
        let Some(is) = kept.and_then(kept_shape::outline) else { return false };
        kept_shape::outline(known).is_some_and(|known| known != is) && self.shapes.get(&table) != Some(&is)
    }

    /// The node drops out until it can be reached again.
    pub fn leave(&mut self, error: &node::Error) {
        self.go(error.to_string(), error.kind);
    }

    /// The node drops out for a while, also if it can be reached.
    fn rest(&mut self, error: &node::Error) {
        self.leave(error);
        self.rests_until = Some(time::moment() + LOOK_AGAIN);
    }

    /// The node drops out until what is installed there is what the file describes.
    pub fn leave_out(&mut self, why: String) {
        self.go(why, ErrorKind::Service);
    }

    /// Lets a node that was left out although it answers be asked again at once; why it was.
    pub fn let_back(&mut self) -> Option<Away> {
        let away = self.away.take_if(|away| !away.unreachable)?;
        self.rests_until = None;
        Some(away)
    }

    fn go(&mut self, why: String, kind: ErrorKind) {
        self.node = None;
        self.prepared = false;
        // What its clock told holds up nobody who stays.
        (self.ahead, self.strays) = (None, 0);
        let unreachable = is_unreachable(kind);
        self.refusals += u32::from(kind == ErrorKind::Login);
        let rest = match kind {
            ErrorKind::Login => Some(rest_after(self.refusals)),
            _ => (!unreachable).then_some(LOOK_AGAIN),
        };
        self.rests_until = rest.map(|rest| time::moment() + rest);
        let away = Away { node: self.name.clone(), why, unreachable };
        if self.away.as_ref() != Some(&away) {
            // Every report names it; at the level of warnings it would be said twice.
            info!(node = %self.name, why = %away.why, "A node is away.");
        }
        self.away = Some(away);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::session::Connector;
    use super::*;
    use crate::sync::tests::files;

    /// By the clocks of those who are there it is told how old journals are.
    #[test]
    fn who_has_left_has_no_clock() {
        let mut member = Member::new(NodeId(0), "a");
        member.ahead = Some(-3_600_000_000);
        member.leave_out("its clock is off".to_owned());
        assert_eq!(member.ahead, None);
    }

    /// GIVEN nodes that refuse the login, as after a password was changed
    /// WHEN they are asked for again and again
    /// THEN they are after pauses that grow, and a watch tells that it goes by what it has read when it began.
    #[tokio::test]
    async fn a_login_that_is_refused_is_not_tried_without_end() {
        time::step(1);
        let (_folder, _databases, session) = files::two("", "[tables.t]\n");
        let tries = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&tries);
        let refuse: Connector = Arc::new(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            let refused: node::Result<Box<dyn Node>> =
                Err(node::Error::new(ErrorKind::Login, "password authentication failed"));
            Box::pin(futures::future::ready(refused))
        });
        let mut session = Session::with_connector(session.config, refuse);
        for _ in 0..20 {
            session.connect().await;
        }
        assert_eq!(tries.load(Ordering::Relaxed), 2, "each is asked once");
        assert!(session.away().iter().all(|away| away.unreachable && away.why == "password authentication failed"));
        // Two seconds pass with each look at the clock.
        time::step(2_000_000);
        session.watches = true;
        session.connect().await;
        assert_eq!(tries.load(Ordering::Relaxed), 4);
        assert!(session.away().iter().all(|away| away.why.ends_with("start it again")), "{:?}", session.away());
        assert_eq!([1, 2, 3, 5, 6, 999].map(|refusals| rest_after(refusals).as_secs()), [1, 2, 4, 16, 30, 30]);
    }

    /// While a table with triggers stands still it is looked up again and again; why a compared one does is not forgotten over that.
    #[tokio::test]
    async fn what_is_known_of_compared_tables_is_kept() {
        let (_folder, databases, mut session) = files::two(
            "CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TABLE u (id INTEGER PRIMARY KEY)",
            "[tables.t]\nmode = \"compare\"\nfrom = \"a\"\n[tables.u]\n",
        );
        session.install().await.expect("nothing is wrong");
        databases[1].execute_batch("DROP TABLE t; DROP TABLE u").expect("they are there");
        let names = |stopped: Vec<super::super::session::Stopped>| -> Vec<String> {
            stopped.into_iter().map(|stopped| stopped.table).collect()
        };
        session.sync().await.expect("both are there");
        assert_eq!(names(session.stopped()), ["t", "u"]);
        // As if some time had passed.
        session.adopted = None;
        session.cycle().await.expect("both are there");
        assert!(session.adopted.is_some());
        assert_eq!(names(session.stopped()), ["t", "u"]);
    }
}
