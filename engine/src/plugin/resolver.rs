//! The role that decides conflicts.

use std::sync::Arc;

use bumpalo::Bump;
use wasmtime::component::Func;

use super::bindings::concord::plugin::types as wit;
use super::bindings::exports::concord::plugin::resolver as guest;
use super::failure::{Failure, Role, told};
use super::handed;
use super::instance::{Running, Spent};
use super::limits::{BATCH, BATCH_WEIGHT};
use super::load::{Plugin, on_own_thread};
use super::part::{self, Instances, Part};
use super::shape::{Facts, Shape};
use super::values::row_from_wit;
use crate::model::{Key, Row, Value};

/// A resolver, opened for one table.
#[derive(Debug)]
pub struct Resolver {
    part: Part,
    recorded: Vec<usize>,
    instances: Instances<Open>,
}

/// With its `resolve`.
type Open = part::Open<Func>;

const RESOLVER: &str = "concord:plugin/resolver@0.1.0";

type Resolutions = Vec<Result<guest::Resolution, wit::Problem>>;

/// Versions of one row that have not seen each other.
#[derive(Clone, Debug)]
pub struct Dispute<'a> {
    pub key: &'a Key,
    /// In the order of the nodes' names.
    pub versions: Vec<Side<'a>>,
    /// The place of the version that was written last.
    pub latest: usize,
    /// The place of the version from which to add up changes.
    pub start: usize,
    /// The recorded columns before the versions went different ways, if that is known.
    pub base: Option<Row>,
    /// In the order of their times.
    pub changes: Vec<Change<'a>>,
}

/// A version of the row; `None` where it is deleted.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    pub node: &'a str,
    /// µs UTC.
    pub time: i64,
    pub row: Option<&'a Row>,
}

/// What a change did to the recorded columns.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    pub node: &'a str,
    pub time: i64,
    pub before: Option<&'a Row>,
    pub after: Option<&'a Row>,
    /// The places of the versions that have seen it.
    pub seen_by: Vec<usize>,
}

/// The answer of a resolver.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolution {
    /// The version at this place.
    Take(usize),
    Merged(Row),
    Delete,
    /// A person decides.
    Park(String),
}

impl Resolver {
    /// Opens the role for a table: checks the configuration (a JSON object) against the plugin's schema, and what the
    /// plugin wants to be told.
    pub fn open(plugin: Arc<Plugin>, shape: Shape, config: &str, facts: &Facts) -> Result<Resolver, Failure> {
        let part = Part::new(plugin, Role::Resolver, shape, config, facts)?;
        let (open, recorded) = on_own_thread(|| start(&part))?;
        Ok(Resolver { part, recorded, instances: Instances::new(open) })
    }

    pub fn plugin(&self) -> &Plugin {
        &self.part.plugin
    }

    /// What the file says to the plugin, as a JSON object.
    pub fn config(&self) -> &str {
        &self.part.context.config
    }

    /// The places of the columns whose values before and after each change the resolver wants to see, in its order.
    pub fn recorded(&self) -> &[usize] {
        &self.recorded
    }

    /// What was used up so far, to open it not counted.
    pub fn spent(&self) -> Spent {
        self.part.spent()
    }

    /// How it fares with what it is asked.
    pub fn part(&self) -> &Part {
        &self.part
    }

    /// Decides each dispute. One that cannot be decided is a failure of its own; the others go on.
    ///
    /// Blocks, and may take as long as the limits allow.
    pub fn resolve(&self, disputes: &[Dispute<'_>]) -> Vec<Result<Resolution, Failure>> {
        let mut running = self.instances.free();
        let exact = |dispute: &Dispute<'_>| self.part.exact("resolve", shown(dispute));
        self.part.ask_all("resolve", disputes, batch_of, exact, |batch| self.ask(&mut running, batch))
    }

    /// One call. An answer for each dispute, or what went wrong with the call as a whole.
    fn ask(
        &self,
        running: &mut Option<Open>,
        batch: &[Dispute<'_>],
    ) -> Result<Vec<Result<Resolution, Failure>>, Failure> {
        let mut open = match running.take() {
            Some(open) => open,
            None => self.reopen()?,
        };
        let room = Bump::new();
        let conflicts: Vec<handed::Conflict<'_>> = batch.iter().map(|dispute| conflict(&room, dispute)).collect();
        let before = open.running.spent;
        let Open { running: instance, guest: resolve } = &mut open;
        let said = instance.call(&self.part.plugin.limits, batch.len(), "resolve", |store| {
            let resolve = resolve.typed::<(&[handed::Conflict<'_>],), (Resolutions,)>(&*store)?;
            Ok(resolve.call(store, (&conflicts,))?.0)
        });
        self.part.count(before, open.running.spent);
        let said = said.map_err(|failure| self.part.of(failure))?;
        if said.len() != batch.len() {
            let message = format!("it gave {} answers to {} conflicts", said.len(), batch.len());
            return Err(self.fails("answer", message));
        }
        if !open.running.full {
            *running = Some(open);
        }
        Ok(said.into_iter().zip(batch).map(|(answer, dispute)| self.judged(answer, dispute)).collect())
    }

    /// An answer, if it is one to this dispute.
    fn judged(
        &self,
        answer: Result<guest::Resolution, wit::Problem>,
        dispute: &Dispute<'_>,
    ) -> Result<Resolution, Failure> {
        match answer {
            Err(problem) => Err(self.part.problem("resolve", problem)),
            Ok(guest::Resolution::Take(at)) if (at as usize) < dispute.versions.len() => {
                Ok(Resolution::Take(at as usize))
            }
            Ok(guest::Resolution::Take(at)) => {
                Err(self.fails("answer", format!("it took version {at} of {}, counted from 0", dispute.versions.len())))
            }
            Ok(guest::Resolution::Merged(row)) => {
                let columns = self.part.shape.columns.iter().map(|column| (column.name.as_str(), &column.ty));
                let row = row_from_wit(row, columns).map_err(|why| self.fails("answer", why))?;
                self.part.exact("resolve", row.iter())?;
                let same = self.part.shape.key.iter().zip(dispute.key.iter()).all(|(&place, key)| row[place] == *key);
                match same {
                    true => Ok(Resolution::Merged(row)),
                    false => Err(self.fails("answer", "it changed the key of the row".to_owned())),
                }
            }
            Ok(guest::Resolution::Delete) => Ok(Resolution::Delete),
            Ok(guest::Resolution::Park(why)) => Ok(Resolution::Park(told(&why, 500))),
            Ok(guest::Resolution::Other(what)) => {
                Err(self.fails("answer", format!("it answered what is not known here: `{}`", told(&what, 60))))
            }
        }
    }

    /// A new instance in place of one that broke down. It has to want what the first one wanted.
    fn reopen(&self) -> Result<Open, Failure> {
        let (open, recorded) = start(&self.part)?;
        match recorded == self.recorded {
            true => Ok(open),
            false => Err(self.part.fails("open", "open", "it does not want the same columns as before".to_owned())),
        }
    }

    fn fails(&self, code: &str, message: String) -> Failure {
        self.part.fails("resolve", code, message)
    }
}

fn start(part: &Part) -> Result<(Open, Vec<usize>), Failure> {
    let indices = guest::GuestIndices::new(&part.plugin.pre).map_err(|why| part.drifted(&why))?;
    let mut running = Running::start(&part.plugin, &part.who).map_err(|failure| part.of(failure))?;
    let guest = running.guest(|store, instance| indices.load(store, instance)).map_err(|why| part.drifted(&why))?;
    let said = running.call(&part.plugin.limits, 1, "open", |store| guest.call_open(store, &part.context));
    let needs = said.map_err(|failure| part.of(failure))?.map_err(|problem| part.problem("open", problem))?;
    let mut recorded = Vec::new();
    for name in needs.recorded {
        let wrong = match part.shape.place(&name) {
            None => "which the table does not have",
            Some(place) if part.shape.key.contains(&place) => "which is part of the key and never changes",
            Some(place) if recorded.contains(&place) => "and does so twice",
            Some(place) => {
                recorded.push(place);
                continue;
            }
        };
        let message = format!("it wants to see the changes of `{}`, {wrong}", told(&name, 60));
        return Err(part.fails("open", "open", message));
    }
    running.spent = Spent { memory: running.spent.memory, ..Spent::default() };
    let resolve = running.function(RESOLVER, "resolve").map_err(|why| part.drifted(&why))?;
    Ok((Open { running, guest: resolve }, recorded))
}

/// All that a plugin sees of a dispute.
fn shown<'a>(dispute: &'a Dispute<'_>) -> impl Iterator<Item = &'a Value> {
    let rows = dispute.versions.iter().map(|version| version.row);
    let changes = dispute.changes.iter().flat_map(|change| [change.before, change.after]);
    rows.chain(changes).chain([dispute.base.as_ref()]).flatten().flat_map(|row| row.iter()).chain(dispute.key.iter())
}

/// How many of these, at least one, make one call.
fn batch_of(disputes: &[Dispute<'_>]) -> usize {
    let mut weight = 0;
    let fits = |dispute: &&Dispute<'_>| {
        let row = |row: Option<&Row>| row.map_or(0, |row| row.iter().map(Value::weight).sum::<usize>());
        let versions: usize = dispute.versions.iter().map(|version| row(version.row)).sum();
        let changes: usize = dispute.changes.iter().map(|change| row(change.before) + row(change.after)).sum();
        weight += versions + changes;
        weight <= BATCH_WEIGHT
    };
    disputes.iter().take(BATCH).take_while(fits).count().max(1)
}

fn conflict<'a>(room: &'a Bump, dispute: &'a Dispute<'_>) -> handed::Conflict<'a> {
    let row = |row: Option<&'a Row>| row.map(|row| handed::row(room, row.iter()));
    let place = |at: &usize| u32::try_from(*at).unwrap_or(u32::MAX);
    let version = |side: &'a Side<'_>| handed::Version { node: side.node, time: side.time, row: row(side.row) };
    let change = |change: &'a Change<'_>| handed::Change {
        node: change.node,
        time: change.time,
        before: row(change.before),
        after: row(change.after),
        seen_by: room.alloc_slice_fill_iter(change.seen_by.iter().map(place)),
    };
    handed::Conflict {
        key: handed::row(room, dispute.key.iter()),
        versions: room.alloc_slice_fill_iter(dispute.versions.iter().map(version)),
        latest: place(&dispute.latest),
        start: place(&dispute.start),
        base: row(dispute.base.as_ref()),
        changes: room.alloc_slice_fill_iter(dispute.changes.iter().map(change)),
    }
}
