//! A running instance, and what one call of it comes to.

use std::any::type_name;
use std::time::{Duration, Instant};

use tracing::debug;
use wasmtime::component::{Func, Instance};
use wasmtime::{Store, Trap};

use super::failure::Failure;
use super::limits::Limits;
use super::load::Plugin;
use super::state::{Forbidden, State, Who};

/// What calls used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    pub calls: u64,
    pub rows: u64,
    pub fuel: u64,
    pub time: Duration,
    /// The most memory in use at any time, in bytes.
    pub memory: usize,
}

/// An instance in its store. After a failure it is dead.
pub(super) struct Running {
    store: Store<State>,
    instance: Instance,
    plugin: String,
    /// Whether it printed so much that there is no room for more.
    pub full: bool,
    pub spent: Spent,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(type_name::<Running>())
    }
}

impl Running {
    /// Starts an instance, within the limits of a call.
    pub fn start(plugin: &Plugin, who: &Who) -> Result<Running, Failure> {
        let limits = &plugin.limits;
        let state = State::new(who.clone(), plugin.host.said.clone(), limits.memory);
        let mut store = Store::new(&plugin.host.engine, state);
        store.limiter(|state| state);
        let armed = arm(&mut store, limits, 1);
        let started = armed.and_then(|()| plugin.pre.instantiate(&mut store));
        match started {
            Ok(instance) => {
                Ok(Running { store, instance, plugin: plugin.name.clone(), full: false, spent: Spent::default() })
            }
            Err(error) => Err(explained(&plugin.name, &error, &store, limits, 1).calling("start")),
        }
    }

    /// A function that it exports, in an interface that is named with its package.
    pub fn function(&mut self, interface: &str, name: &str) -> wasmtime::Result<Func> {
        let missing = || wasmtime::Error::msg(format!("it has no `{name}` in {interface}"));
        let store = &mut self.store;
        let within = self.instance.get_export_index(&mut *store, None, interface).ok_or_else(missing)?;
        let place = self.instance.get_export_index(&mut *store, Some(&within), name).ok_or_else(missing)?;
        self.instance.get_func(store, place).ok_or_else(missing)
    }

    /// What an instance exports, by the places that were looked up before.
    pub fn guest<G>(
        &mut self,
        load: impl FnOnce(&mut Store<State>, &Instance) -> wasmtime::Result<G>,
    ) -> wasmtime::Result<G> {
        load(&mut self.store, &self.instance)
    }

    /// One call about so many rows. After a failure nothing more is to be asked of the instance.
    pub fn call<T>(
        &mut self,
        limits: &Limits,
        rows: usize,
        function: &'static str,
        call: impl FnOnce(&mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, Failure> {
        let begun = Instant::now();
        self.store.data_mut().begin();
        let done = arm(&mut self.store, limits, rows).and_then(|()| call(&mut self.store));
        let left = self.store.get_fuel().unwrap_or(0);
        self.spent.calls += 1;
        self.spent.rows += rows as u64;
        self.spent.fuel += limits.fuel_for(rows).saturating_sub(left);
        self.spent.time += begun.elapsed();
        self.spent.memory = self.spent.memory.max(self.store.data().peak());
        let done = done.map_err(|error| {
            debug!(plugin = %self.plugin, function, error = %format!("{error:?}"), "A plugin broke down.");
            explained(&self.plugin, &error, &self.store, limits, rows).calling(function)
        });
        self.full = !self.store.data_mut().end();
        done
    }
}

/// Gives a call what it may use up.
fn arm(store: &mut Store<State>, limits: &Limits, rows: usize) -> wasmtime::Result<()> {
    store.set_fuel(limits.fuel_for(rows))?;
    store.set_epoch_deadline(limits.ticks());
    store.set_hostcall_fuel(limits.answer);
    Ok(())
}

/// A breakdown in words that tell what to do.
fn explained(plugin: &str, error: &wasmtime::Error, store: &Store<State>, limits: &Limits, rows: usize) -> Failure {
    let advice = |name: &str, why: &str| limits.advice(plugin, name, why);
    let fail = |code: &str, message: String| Failure::new(plugin, code, message);
    if let Some(refused) = store.data().refused() {
        return fail("memory", format!("it {refused}")).hint(advice("memory", "it needs that"));
    }
    if let Some(Forbidden(what)) = error.downcast_ref() {
        return fail("forbidden", format!("it {what}"));
    }
    let root = error.root_cause().to_string();
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => fail("fuel", format!("it used up its {} instructions of fuel", limits.fuel_for(rows)))
            .hint(advice("fuel", "it needs them")),
        Some(Trap::Interrupt) => fail("time", format!("it took longer than {} s", limits.time.as_secs_f64()))
            .hint(advice("time", "it needs that")),
        Some(Trap::StackOverflow) => fail("stack", "its calls go too deep".to_owned()),
        Some(trap) => {
            let words = store.data().last_words().map(|words| format!(": {words}")).unwrap_or_default();
            match trap {
                Trap::UnreachableCodeReached if words.is_empty() => fail("trap", "it gave up".to_owned()).hint(
                    "it did not say why; if its tool took the standard error away (componentize-py -s), leave it that",
                ),
                Trap::UnreachableCodeReached => fail("trap", format!("it gave up{words}")),
                Trap::MemoryOutOfBounds => fail("trap", format!("it broke down ({trap}){words}"))
                    .hint("calls of Rust and C that go too deep end so, since their stack lies in memory"),
                trap => fail("trap", format!("it broke down ({trap}){words}")),
            }
        }
        None if root.contains("too much data is being copied") => {
            fail("answer", format!("it answered more than {} MiB", limits.answer >> 20))
                .hint(advice("answer", "that is meant"))
        }
        None => {
            let words = store.data().last_words().map(|words| format!(": {words}")).unwrap_or_default();
            fail("trap", format!("it broke down ({}){words}", super::failure::told(&root, 200)))
        }
    }
}
