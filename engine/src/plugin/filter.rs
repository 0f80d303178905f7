//! The role that says which rows belong at a node.

use std::sync::Arc;

use bumpalo::Bump;
use wasmtime::component::Func;

use super::bindings::concord::plugin::types as wit;
use super::bindings::exports::concord::plugin::filter as guest;
use super::failure::{Failure, Role, told};
use super::handed;
use super::instance::{Running, Spent};
use super::limits::{BATCH, BATCH_WEIGHT};
use super::load::{Plugin, on_own_thread};
use super::part::{self, Instances, Part};
use super::shape::{Facts, Shape};
use crate::model::{Row, Value};

/// A filter, opened for one table.
#[derive(Debug)]
pub struct Filter {
    part: Part,
    wanted: Vec<usize>,
    instances: Instances<Open>,
}

/// With its `judge`.
type Open = part::Open<Func>;

const FILTER: &str = "concord:plugin/filter@0.1.0";

type Verdicts = Vec<Result<guest::Verdict, wit::Problem>>;

impl Filter {
    /// Opens the role for a table: checks the configuration (a JSON object) against the plugin's schema, and the columns that
    /// the plugin wants to see.
    pub fn open(plugin: Arc<Plugin>, shape: Shape, config: &str, facts: &Facts) -> Result<Filter, Failure> {
        let part = Part::new(plugin, Role::Filter, shape, config, facts)?;
        let (open, wanted) = on_own_thread(|| start(&part))?;
        Ok(Filter { part, wanted, instances: Instances::new(open) })
    }

    pub fn plugin(&self) -> &Plugin {
        &self.part.plugin
    }

    /// What the file says to the plugin, as a JSON object.
    pub fn config(&self) -> &str {
        &self.part.context.config
    }

    /// The places of the columns that it is shown, in its order.
    pub fn wanted(&self) -> &[usize] {
        &self.wanted
    }

    /// What was used up so far, to open it not counted.
    pub fn spent(&self) -> Spent {
        self.part.spent()
    }

    /// How it fares with what it is asked.
    pub fn part(&self) -> &Part {
        &self.part
    }

    /// Whether each row, in the shared shape, belongs. One that cannot be judged is a failure of its own; the others go on.
    ///
    /// Blocks, and may take as long as the limits allow.
    pub fn judge(&self, rows: &[&Row]) -> Vec<Result<bool, Failure>> {
        let mut running = self.instances.free();
        let exact = |row: &&Row| self.part.exact("judge", self.shown(row));
        self.part.ask_all("judge", rows, |rows| self.batch_of(rows), exact, |batch| self.ask(&mut running, batch))
    }

    /// What the plugin sees of a row.
    fn shown<'a>(&'a self, row: &'a Row) -> impl ExactSizeIterator<Item = &'a Value> {
        self.wanted.iter().map(|&at| &row[at])
    }

    /// One call. An answer for each row, or what went wrong with the call as a whole.
    fn ask(&self, running: &mut Option<Open>, batch: &[&Row]) -> Result<Vec<Result<bool, Failure>>, Failure> {
        let mut open = match running.take() {
            Some(open) => open,
            None => self.reopen()?,
        };
        let room = Bump::new();
        let rows: Vec<handed::Row<'_>> = batch.iter().map(|row| handed::row(&room, self.shown(row))).collect();
        let before = open.running.spent;
        let Open { running: instance, guest: judge } = &mut open;
        let said = instance.call(&self.part.plugin.limits, batch.len(), "judge", |store| {
            let judge = judge.typed::<(&[handed::Row<'_>],), (Verdicts,)>(&*store)?;
            Ok(judge.call(store, (&rows,))?.0)
        });
        self.part.count(before, open.running.spent);
        let said = said.map_err(|failure| self.part.of(failure))?;
        if said.len() != batch.len() {
            let message = format!("it gave {} answers about {} rows", said.len(), batch.len());
            return Err(self.part.fails("judge", "answer", message));
        }
        if !open.running.full {
            *running = Some(open);
        }
        Ok(said.into_iter().map(|answer| self.judged(answer)).collect())
    }

    fn judged(&self, answer: Result<guest::Verdict, wit::Problem>) -> Result<bool, Failure> {
        match answer {
            Ok(guest::Verdict::Keep) => Ok(true),
            Ok(guest::Verdict::Drop) => Ok(false),
            Ok(guest::Verdict::Other(what)) => {
                let message = format!("it answered what is not known here: `{}`", told(&what, 60));
                Err(self.part.fails("judge", "answer", message))
            }
            Err(problem) => Err(self.part.problem("judge", problem)),
        }
    }

    /// A new instance in place of one that broke down. It has to want what the first one wanted.
    fn reopen(&self) -> Result<Open, Failure> {
        let (open, wanted) = start(&self.part)?;
        match wanted == self.wanted {
            true => Ok(open),
            false => Err(self.part.fails("open", "open", "it does not want the same columns as before".to_owned())),
        }
    }

    /// How many of these, at least one, make one call.
    fn batch_of(&self, rows: &[&Row]) -> usize {
        let mut weight = 0;
        let fits = |row: &&&Row| {
            weight += self.shown(row).map(Value::weight).sum::<usize>();
            weight <= BATCH_WEIGHT
        };
        rows.iter().take(BATCH).take_while(fits).count().max(1)
    }
}

fn start(part: &Part) -> Result<(Open, Vec<usize>), Failure> {
    let indices = guest::GuestIndices::new(&part.plugin.pre).map_err(|why| part.drifted(&why))?;
    let mut running = Running::start(&part.plugin, &part.who).map_err(|failure| part.of(failure))?;
    let guest = running.guest(|store, instance| indices.load(store, instance)).map_err(|why| part.drifted(&why))?;
    let said = running.call(&part.plugin.limits, 1, "open", |store| guest.call_open(store, &part.context));
    let names = said.map_err(|failure| part.of(failure))?.map_err(|problem| part.problem("open", problem))?;
    let mut wanted = Vec::new();
    for name in names {
        let wrong = match part.shape.place(&name) {
            None => "which the table does not have",
            Some(place) if wanted.contains(&place) => "and does so twice",
            Some(place) => {
                wanted.push(place);
                continue;
            }
        };
        return Err(part.fails("open", "open", format!("it wants to see `{}`, {wrong}", told(&name, 60))));
    }
    running.spent = Spent { memory: running.spent.memory, ..Spent::default() };
    let judge = running.function(FILTER, "judge").map_err(|why| part.drifted(&why))?;
    Ok((Open { running, guest: judge }, wanted))
}
