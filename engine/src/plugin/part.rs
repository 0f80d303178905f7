//! What all roles have in common: a part that a plugin plays for one table.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use tracing::warn;

use super::bindings::concord::plugin::types as wit;
use super::failure::{Failure, Role, told, told_or};
use super::instance::{Running, Spent};
use super::limits::{ABREAST, FAILURES};
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

/// The instances in which a role is open: a second one only once two ask at the same time. Which of them answers makes no difference.
#[derive(Debug)]
pub(super) struct Instances<Open> {
    /// `None` before it is started, and after it broke down.
    all: [Mutex<Option<Open>>; ABREAST],
    waiting: AtomicUsize,
}

impl<Open> Instances<Open> {
    pub fn new(first: Open) -> Instances<Open> {
        let mut first = Some(first);
        Instances { all: std::array::from_fn(|_| Mutex::new(first.take())), waiting: AtomicUsize::new(0) }
    }

    /// One that nobody else is asking. Blocks until there is one.
    pub fn free(&self) -> MutexGuard<'_, Option<Open>> {
        for instance in &self.all {
            match instance.try_lock() {
                Ok(free) => return free,
                Err(TryLockError::Poisoned(free)) => return free.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let next = self.waiting.fetch_add(1, Ordering::Relaxed) % ABREAST;
        self.all[next].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part that a plugin plays for one table.
pub struct Part {
    pub(super) plugin: Arc<Plugin>,
    pub(super) shape: Shape,
    pub(super) context: wit::Context,
    pub(super) who: Who,
    role: Role,
    spent: Mutex<Spent>,
    /// By function, while a round lasts.
    tallies: Mutex<Option<Vec<(&'static str, Tally)>>>,
    /// The functions that have given an answer since it was opened, in a round or not.
    answered: Mutex<Vec<&'static str>>,
    /// The first failure of a call about several items of which each was answered alone.
    together: Mutex<Option<Failure>>,
}

/// What the file says to it may be a secret.
impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").field("plugin", &self.plugin).field("shape", &self.shape).finish_non_exhaustive()
    }
}

/// How a function has fared in a round.
#[derive(Clone, Debug, Default)]
struct Tally {
    /// Whether it gave an answer, be it a problem.
    answered: bool,
    /// Whether it did before, where that is to count.
    answered_before: bool,
    /// Rows that broke it, each asked about alone.
    broken: usize,
    /// Why it is not asked any more: it answered nothing and broke [`FAILURES`] times.
    gave_up: Option<Failure>,
    /// The same of what has answered before.
    fails: Option<Failure>,
}

impl Plugin {
    /// Fails unless the plugin plays this role, and the configuration (a JSON object) fits the schema that it describes. That is all that can
    /// be told before the table is known.
    pub fn fits(&self, role: Role, table: &str, config: &str) -> Result<(), Failure> {
        let of_table = |failure: Failure| failure.of(role, table);
        self.expect(role).map_err(of_table)?;
        let problems = misfits(self.schema.as_ref(), config);
        if !problems.is_empty() {
            let message = format!("its configuration does not fit: {}", problems.join("; "));
            return Err(of_table(Failure::new(&self.name, "config", message)));
        }
        Ok(())
    }

    /// What [`Plugin::warning`] says, where a table may have such integers: once of each, however often the plugin is opened for it.
    pub fn warning_of(&self, table: &str) -> Option<String> {
        let warning = self.warning()?;
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        warned.insert(table.to_owned()).then_some(warning)
    }

    /// A configuration as anybody may see it, without what the plugin's schema marks as secret.
    pub fn shown(&self, config: &str) -> serde_json::Value {
        let config: serde_json::Value = serde_json::from_str(config).unwrap_or_default();
        self.schema.as_ref().map_or_else(|| config.clone(), |schema| schema.shown(&config))
    }
}

impl Part {
    /// Checks that the plugin plays this role, and the configuration (a JSON object) against its schema.
    pub(super) fn new(
        plugin: Arc<Plugin>,
        role: Role,
        shape: Shape,
        config: &str,
        facts: &Facts,
    ) -> Result<Part, Failure> {
        plugin.fits(role, &shape.name, config)?;
        // What other columns hold is seldom so large.
        let may_be = |column: &ShapeColumn| matches!(column.ty, Type::Int | Type::Any);
        if shape.columns.iter().any(may_be)
            && let Some(warning) = plugin.warning_of(&shape.name)
        {
            warn!(table = %shape.name, "{warning}");
        }
        let who = Who { plugin: plugin.name.clone(), role: Some(role), table: Some(shape.name.clone()) };
        Ok(Part {
            context: shape.context(config, facts),
            plugin,
            shape,
            who,
            role,
            spent: Mutex::default(),
            tallies: Mutex::default(),
            answered: Mutex::default(),
            together: Mutex::default(),
        })
    }

    /// The failure, as one of this part.
    pub(super) fn of(&self, failure: Failure) -> Failure {
        failure.of(self.role, &self.shape.name)
    }

    /// A component that is not what it was when it was loaded.
    pub(super) fn drifted(&self, why: &wasmtime::Error) -> Failure {
        self.of(Failure::new(&self.plugin.name, "role", told(&format!("{why:#}"), 300)))
    }

    pub(super) fn fails(&self, function: &'static str, code: &str, message: String) -> Failure {
        self.of(Failure::new(&self.plugin.name, code, message)).calling(function)
    }

    /// What the plugin declared.
    pub(super) fn problem(&self, function: &'static str, problem: wit::Problem) -> Failure {
        let column = problem.column.map(|column| format!("`{}`: ", told(&column, 60))).unwrap_or_default();
        let message = format!("{column}{}", told_or(&problem.message, 500, "it gave no reason"));
        let failure = self.fails(function, &told_or(&problem.code, 60, "problem"), message);
        Failure { hint: problem.hint.map(|hint| told(&hint, 500).into()), ..failure }
    }

    /// What was used up so far, to open it not counted.
    pub(super) fn spent(&self) -> Spent {
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, before: Spent, after: Spent) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.calls += after.calls - before.calls;
        spent.rows += after.rows - before.rows;
        spent.fuel += after.fuel - before.fuel;
        spent.time += after.time.saturating_sub(before.time);
        spent.memory = spent.memory.max(after.memory);
    }
}

/// How it fares with what it is asked.
impl Part {
    /// From here on it is not asked any more once it breaks at whatever it is asked. What broke it before counts no more.
    pub fn begin_round(&self) {
        *self.tallies() = Some(Vec::new());
    }

    /// The same where only that is asked about once more which broke it before, and functions that have ever given an answer are not
    /// given up for that.
    pub fn begin_last_round(&self) {
        let answered = self.answered();
        let tally = |function: &&'static str| (*function, Tally { answered_before: true, ..Tally::default() });
        *self.tallies() = Some(answered.iter().map(tally).collect());
    }

    pub fn end_round(&self) {
        *self.tallies() = None;
    }

    /// Its functions that are not asked any more in this round, since they break at whatever they are asked: the last failure of each.
    pub fn gave_up(&self) -> Vec<Failure> {
        self.tallies().iter().flatten().filter_map(|(_, tally)| tally.gave_up.clone()).collect()
    }

    /// Why a function that has answered before breaks at all that it is asked in a last round.
    pub fn broke_at_all(&self) -> Option<Failure> {
        let tallies = self.tallies();
        let mut tallies = tallies.iter().flatten().filter(|(_, tally)| !tally.answered);
        tallies.find_map(|(_, tally)| tally.fails.clone())
    }

    /// Why a call about several items failed of which each was answered alone.
    pub(super) fn failed_together(&self) -> Option<Failure> {
        self.together().clone()
    }

    fn together(&self) -> MutexGuard<'_, Option<Failure>> {
        self.together.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self) -> MutexGuard<'_, Vec<&'static str>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tallies(&self) -> std::sync::MutexGuard<'_, Option<Vec<(&'static str, Tally)>>> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` outside of rounds.
    fn tally<T>(&self, function: &'static str, change: impl FnOnce(&mut Tally) -> T) -> Option<T> {
        let mut tallies = self.tallies();
        let tallies = tallies.as_mut()?;
        let at = tallies.iter().position(|(known, _)| *known == function).unwrap_or_else(|| {
            tallies.push((function, Tally::default()));
            tallies.len() - 1
        });
        Some(change(&mut tallies[at].1))
    }

    /// It has given an answer, be it a problem.
    fn has_answered(&self, function: &'static str) {
        self.tally(function, |tally| tally.answered = true);
        let mut answered = self.answered();
        if !answered.contains(&function) {
            answered.push(function);
        }
    }

    /// One row has broken it.
    fn broke(&self, function: &'static str, failure: &Failure) {
        self.tally(function, |tally| {
            tally.broken += 1;
            if tally.answered || tally.broken < FAILURES {
                return;
            }
            if tally.answered_before {
                tally.fails.get_or_insert_with(|| failure.clone());
            } else if tally.gave_up.is_none() {
                let (broken, last) = (tally.broken, &failure.message);
                let message =
                    format!("it failed at all {broken} rows it was asked about and is not asked any more: {last}");
                tally.gave_up = Some(Failure { message: message.into(), ..failure.clone() });
            }
        });
    }

    /// An answer for each item. `size` says how many items, at least one, make one call. Where a call fails as a whole each of
    /// its items is asked about alone, to find out which it was. What holds an integer that the plugin would round is not shown
    /// to it.
    pub(super) fn ask_all<I, A>(
        &self,
        function: &'static str,
        items: &[I],
        size: impl Fn(&[I]) -> usize,
        exact: impl Fn(&I) -> Result<(), Failure>,
        mut ask: impl FnMut(&[I]) -> Result<Vec<Result<A, Failure>>, Failure>,
    ) -> Vec<Result<A, Failure>> {
        let mut answers = Vec::with_capacity(items.len());
        if self.plugin.rounds.is_none() {
            self.ask_parts(function, items, &size, &mut ask, &mut answers);
            return answers;
        }
        for shown in items.chunk_by(|one, other| exact(one).is_ok() && exact(other).is_ok()) {
            match shown.first().map(&exact) {
                Some(Err(failure)) => answers.push(Err(failure)),
                _ => self.ask_parts(function, shown, &size, &mut ask, &mut answers),
            }
        }
        answers
    }

    fn ask_parts<I, A>(
        &self,
        function: &'static str,
        items: &[I],
        size: &impl Fn(&[I]) -> usize,
        ask: &mut impl FnMut(&[I]) -> Result<Vec<Result<A, Failure>>, Failure>,
        answers: &mut Vec<Result<A, Failure>>,
    ) {
        let mut rest = items;
        while !rest.is_empty() {
            if let Some(failure) = self.tally(function, |tally| tally.gave_up.clone()).flatten() {
                answers.extend(rest.iter().map(|_| Err(Failure { unasked: true, ..failure.clone() })));
                return;
            }
            let (batch, others) = rest.split_at(size(rest));
            rest = others;
            match ask(batch) {
                Ok(all) => {
                    self.has_answered(function);
                    answers.extend(all);
                }
                Err(failure) if batch.len() == 1 => {
                    self.broke(function, &failure);
                    answers.push(Err(failure));
                }
                Err(failure) => {
                    if self.ask_each(function, batch, ask, answers) {
                        self.together().get_or_insert(failure);
                    }
                }
            }
        }
    }

    /// Whether all were answered.
    fn ask_each<I, A>(
        &self,
        function: &'static str,
        batch: &[I],
        ask: &mut impl FnMut(&[I]) -> Result<Vec<Result<A, Failure>>, Failure>,
        answers: &mut Vec<Result<A, Failure>>,
    ) -> bool {
        let mut failures = 0;
        let mut last: Option<Failure> = None;
        for item in batch {
            if let Some(last) = last.as_ref().filter(|_| failures >= FAILURES) {
                let message =
                    format!("it failed {failures} times in succession and is not asked any more: {}", last.message);
                answers.push(Err(Failure { message: message.into(), unasked: true, ..last.clone() }));
                continue;
            }
            match ask(std::slice::from_ref(item)) {
                Ok(all) => {
                    failures = 0;
                    self.has_answered(function);
                    answers.extend(all);
                }
                Err(failure) => {
                    failures += 1;
                    self.broke(function, &failure);
                    last = Some(failure.clone());
                    answers.push(Err(failure));
                }
            }
        }
        last.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_instance_is_there_for_whoever_asks_meanwhile() {
        let instances = Instances::new(1);
        assert_eq!(*instances.free(), Some(1));
        let first = instances.free();
        let mut second = instances.free();
        assert_eq!((*first, *second), (Some(1), None), "the second is yet to be started");
        *second = Some(2);
        drop(first);
        assert_eq!(*instances.free(), Some(1), "one that is started, and not a third");
        let first = instances.free();
        drop(second);
        assert_eq!((*first, *instances.free()), (Some(1), Some(2)));
    }

    #[test]
    fn whoever_comes_while_all_are_asked_gets_the_one_that_is_free_next() {
        let instances = Instances::new(1);
        let (first, second) = (instances.free(), instances.free());
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..4).map(|_| scope.spawn(|| drop(instances.free()))).collect();
            drop((first, second));
            waiting.into_iter().for_each(|waiting| waiting.join().expect("nobody waits for ever"));
        });
    }
}
