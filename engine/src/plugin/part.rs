//! What all roles have in common: a part that a plugin plays for one table.

use std::sync::{Arc, Mutex, PoisonError};

use tracing::warn;

use super::bindings::concord::plugin::types as wit;
use super::failure::{Failure, Role, told};
use super::instance::{Running, Spent};
use super::limits::FAILURES;
use super::load::Plugin;
use super::schema::misfits;
use super::shape::{Facts, Shape, ShapeColumn};
use super::state::Who;
use crate::model::Type;

/// An instance in which a role was opened, with what the role exports.
pub(super) struct Open<Guest> {
    pub running: Running,
    pub guest: Guest,
}

impl<Guest> std::fmt::Debug for Open<Guest> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.running.fmt(f)
    }
}

/// A part that a plugin plays for one table.
#[derive(Debug)]
pub(super) struct Part {
    pub plugin: Arc<Plugin>,
    pub shape: Shape,
    pub context: wit::Context,
    pub who: Who,
    role: Role,
    spent: Mutex<Spent>,
}

impl Part {
    /// Checks that the plugin plays this role, and the configuration (a JSON object) against its schema.
    pub fn new(plugin: Arc<Plugin>, role: Role, shape: Shape, config: &str, facts: &Facts) -> Result<Part, Failure> {
        let of_table = |failure: Failure| failure.of(role, &shape.name);
        plugin.expect(role).map_err(of_table)?;
        let problems = misfits(plugin.schema.as_ref(), config);
        if !problems.is_empty() {
            let message = format!("its configuration does not fit: {}", problems.join("; "));
            return Err(of_table(Failure::new(&plugin.name, "config", message)));
        }
        // What other columns hold is seldom so large.
        let may_be = |column: &ShapeColumn| matches!(column.ty, Type::Int | Type::Any);
        if let Some(warning) = plugin.warning().filter(|_| shape.columns.iter().any(may_be)) {
            warn!(table = %shape.name, "{warning}");
        }
        let who = Who { plugin: plugin.name.clone(), role: Some(role), table: Some(shape.name.clone()) };
        Ok(Part { context: shape.context(config, facts), plugin, shape, who, role, spent: Mutex::default() })
    }

    /// The failure, as one of this part.
    pub fn of(&self, failure: Failure) -> Failure {
        failure.of(self.role, &self.shape.name)
    }

    /// A component that is not what it was when it was loaded.
    pub fn drifted(&self, why: &wasmtime::Error) -> Failure {
        self.of(Failure::new(&self.plugin.name, "role", told(&format!("{why:#}"), 300)))
    }

    pub fn fails(&self, function: &'static str, code: &str, message: String) -> Failure {
        self.of(Failure::new(&self.plugin.name, code, message)).calling(function)
    }

    /// What the plugin declared.
    pub fn problem(&self, function: &'static str, problem: wit::Problem) -> Failure {
        let column = problem.column.map(|column| format!("`{}`: ", told(&column, 60))).unwrap_or_default();
        let message = format!("{column}{}", told(&problem.message, 500));
        let failure = self.fails(function, &told(&problem.code, 60), message);
        Failure { hint: problem.hint.map(|hint| told(&hint, 500).into()), ..failure }
    }

    /// What was used up so far, to open it not counted.
    pub fn spent(&self) -> Spent {
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn count(&self, before: Spent, after: Spent) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.calls += after.calls - before.calls;
        spent.rows += after.rows - before.rows;
        spent.fuel += after.fuel - before.fuel;
        spent.time += after.time.saturating_sub(before.time);
        spent.memory = spent.memory.max(after.memory);
    }
}

impl Part {
    /// An answer for each item, as [`ask_all`] gets them. What holds an integer that the plugin would round is not shown to it.
    pub fn ask_all<I, A>(
        &self,
        items: &[I],
        size: impl Fn(&[I]) -> usize,
        exact: impl Fn(&I) -> Result<(), Failure>,
        mut ask: impl FnMut(&[I]) -> Result<Vec<Result<A, Failure>>, Failure>,
    ) -> Vec<Result<A, Failure>> {
        if self.plugin.rounds.is_none() {
            return ask_all(items, size, ask);
        }
        let mut answers = Vec::with_capacity(items.len());
        for shown in items.chunk_by(|one, other| exact(one).is_ok() && exact(other).is_ok()) {
            match shown.first().map(&exact) {
                Some(Err(failure)) => answers.push(Err(failure)),
                _ => answers.extend(ask_all(shown, &size, &mut ask)),
            }
        }
        answers
    }
}

/// An answer for each item. `size` says how many items, at least one, make one call. Where a call fails as a whole each of
/// its items is asked about alone, to find out which it was.
fn ask_all<I, A>(
    items: &[I],
    size: impl Fn(&[I]) -> usize,
    mut ask: impl FnMut(&[I]) -> Result<Vec<Result<A, Failure>>, Failure>,
) -> Vec<Result<A, Failure>> {
    let mut answers = Vec::with_capacity(items.len());
    let mut rest = items;
    while !rest.is_empty() {
        let (batch, others) = rest.split_at(size(rest));
        rest = others;
        match ask(batch) {
            Ok(all) => answers.extend(all),
            Err(failure) if batch.len() == 1 => answers.push(Err(failure)),
            Err(_) => ask_each(batch, &mut ask, &mut answers),
        }
    }
    answers
}

fn ask_each<I, A>(
    batch: &[I],
    ask: &mut impl FnMut(&[I]) -> Result<Vec<Result<A, Failure>>, Failure>,
    answers: &mut Vec<Result<A, Failure>>,
) {
    let mut failures = 0;
    let mut last: Option<Failure> = None;
    for item in batch {
        if let Some(last) = last.as_ref().filter(|_| failures >= FAILURES) {
            let message =
                format!("it failed {failures} times in succession and is not asked any more: {}", last.message);
            answers.push(Err(Failure { message: message.into(), ..last.clone() }));
            continue;
        }
        match ask(std::slice::from_ref(item)) {
            Ok(all) => {
                failures = 0;
                answers.extend(all);
            }
            Err(failure) => {
                failures += 1;
                last = Some(failure.clone());
                answers.push(Err(failure));
            }
        }
    }
}
