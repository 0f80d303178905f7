//! What an instance has: an inert WASI, a log, and the account of its memory.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::dispatcher::{self, Dispatch};
use tracing::subscriber::NoSubscriber;
use tracing::{Level, debug, enabled, error, info, warn};
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime::{ResourceLimiter, bail};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};

use super::bindings::concord::plugin::{log, types};
use super::failure::{Role, told, told_with_end};
use super::limits::{HELD, INSTANCES, MEMORIES, TABLE_ELEMENTS, TABLES};

/// What an instance may print before it is renewed, in bytes; beyond twice that nothing is taken.
const PRINTED: usize = 32 << 10;

/// Lines that a call may log, the characters of each, and the lines after which it does nothing else any more.
const LINES: usize = 100;
const LINE: usize = 1_000;
const TOO_MANY_LINES: usize = 10_000;

/// Errors that are remembered for having been logged.
const SAID: usize = 10_000;

/// What no plugin may do. Reads after "it ".
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Forbidden(pub &'static str);

/// Who is running, for the log.
#[derive(Clone, Debug)]
pub(super) struct Who {
    pub plugin: String,
    pub role: Option<Role>,
    pub table: Option<String>,
}

/// What plugins logged as errors in this process, by digests: what breaks down at each of many rows, or in every look of a watch, is
/// told once. Shared by whoever clones it.
#[derive(Clone, Default)]
pub(super) struct Said(Arc<Mutex<HashSet<u64>>>);

impl Said {
    /// Whether that was not said yet, as far as is remembered.
    fn is_new(&self, what: impl Hash) -> bool {
        let mut digest = DefaultHasher::new();
        what.hash(&mut digest);
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() >= SAID {
            said.clear();
        }
        said.insert(digest.finish())
    }
}

/// Does work in which nothing is logged, such as asking plugins about cases that nobody wrote down; unless more than what goes
/// wrong is to be heard (`-v`).
pub fn silently<T>(work: impl FnOnce() -> T) -> T {
    if enabled!(Level::INFO) {
        return work();
    }
    dispatcher::with_default(&Dispatch::none(), work)
}

/// The store's data.
pub(super) struct State {
    wasi: WasiCtx,
    resources: ResourceTable,
    printed: MemoryOutputPipe,
    /// How much of `printed` was told.
    told: usize,
    who: Who,
    said: Said,
    lines: usize,
    /// The last line that was logged as an error in this call: a panic's message, mostly.
    last_error: Option<String>,
    most_memory: usize,
    /// The memory of all instances now, and the most there was.
    memory: usize,
    peak: usize,
    /// What was asked for in vain.
    refused: Option<String>,
}

/// Time stands still: a plugin is a function of its input.
struct Frozen;

impl HostWallClock for Frozen {
    fn resolution(&self) -> Duration {
        Duration::from_micros(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl HostMonotonicClock for Frozen {
    fn resolution(&self) -> u64 {
        1_000
    }

    fn now(&self) -> u64 {
        0
    }
}

impl State {
    pub fn new(who: Who, said: Said, most_memory: usize) -> State {
        let printed = MemoryOutputPipe::new(2 * PRINTED);
        let seed = || Deterministic::new((0..=255).collect());
        let mut resources = ResourceTable::new();
        resources.set_max_capacity(HELD);
        let wasi = WasiCtx::builder()
            .stdout(printed.clone())
            .stderr(printed.clone())
            .wall_clock(Frozen)
            .monotonic_clock(Frozen)
            .secure_random(seed())
            .insecure_random(seed())
            .insecure_random_seed(7)
            .build();
        State {
            wasi,
            resources,
            printed,
            told: 0,
            who,
            said,
            lines: 0,
            last_error: None,
            most_memory,
            memory: 0,
            peak: 0,
            refused: None,
        }
    }

    /// Before a call.
    pub fn begin(&mut self) {
        self.lines = 0;
        self.last_error = None;
        self.refused = None;
    }

    /// After a call: what was printed goes to the log. Whether there is room for what the next call prints.
    pub fn end(&mut self) -> bool {
        let printed = self.printed.contents();
        for line in String::from_utf8_lossy(&printed[self.told..]).lines().filter(|line| !line.trim().is_empty()) {
            self.say(log::Level::Info, line);
        }
        self.told = printed.len();
        let over = self.lines.saturating_sub(LINES);
        if over > 0 {
            warn!(plugin = %self.who.plugin, lines = over, "A plugin logs too much; the rest of this call is left out.");
        }
        printed.len() < PRINTED
    }

    /// The last words before it broke down, if there are any.
    pub fn last_words(&self) -> Option<String> {
        let printed = self.printed.contents();
        let text = String::from_utf8_lossy(&printed[self.told..]).into_owned();
        // Python tells what failed after all the calls that led there.
        self.last_error.clone().or_else(|| Some(told_with_end(&text, 100, 200)).filter(|text| !text.is_empty()))
    }

    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// The most memory that was in use, in bytes.
    pub fn peak(&self) -> usize {
        self.peak
    }

    fn say(&mut self, level: log::Level, message: &str) {
        if matches!(level, log::Level::Error) {
            self.last_error = Some(told(message, 300));
        }
        self.lines += 1;
        // What nobody hears is not said.
        if self.lines > LINES || dispatcher::get_default(Dispatch::is::<NoSubscriber>) {
            return;
        }
        let line = told(message, LINE);
        let Who { plugin, role, table } = &self.who;
        let (role, table) = (role.map_or("", |role| role.as_str()), table.as_deref().unwrap_or(""));
        let level = match level {
            log::Level::Error if !self.said.is_new((plugin, role, table, &line)) => log::Level::Debug,
            level => level,
        };
        match level {
            log::Level::Debug => debug!(%plugin, role, table, "{line}"),
            log::Level::Info => info!(%plugin, role, table, "{line}"),
            log::Level::Warn => warn!(%plugin, role, table, "{line}"),
            log::Level::Error => error!(%plugin, role, table, "{line}"),
        }
    }
}

impl types::Host for State {}

impl log::Host for State {
    fn log(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.say(level, &message);
        if self.lines > TOO_MANY_LINES {
            return Err(Forbidden("logs without end").into());
        }
        Ok(())
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.resources }
    }
}

impl ResourceLimiter for State {
    /// What is allowed here and fails later stays counted: failures are also told of what was never asked here, so whoever gave
    /// them back could be made to give back memory that is in use.
    fn memory_growing(&mut self, current: usize, desired: usize, most: Option<usize>) -> wasmtime::Result<bool> {
        // Not to begin anew at 0, whatever is asked for.
        let all = self.memory.saturating_add(desired.saturating_sub(current));
        if all > self.most_memory {
            self.refused = Some(format!("asked for more than {} MiB of memory", self.most_memory >> 20));
            bail!("no more memory");
        }
        if most.is_some_and(|most| desired > most) {
            return Ok(false);
        }
        self.memory = all;
        self.peak = self.peak.max(all);
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _most: Option<usize>) -> wasmtime::Result<bool> {
        if desired > TABLE_ELEMENTS {
            self.refused = Some(format!("asked for a table of more than {TABLE_ELEMENTS} elements"));
            bail!("no larger table");
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

/// A call that waits is none that can be stopped, and with time standing still it would wait for ever.
pub(super) fn forbid_waiting(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut clock = linker.instance("wasi:clocks/monotonic-clock@0.2.12")?;
    for name in ["subscribe-instant", "subscribe-duration"] {
        clock.func_wrap(name, |_, (_,): (u64,)| -> wasmtime::Result<(Resource<DynPollable>,)> {
            Err(Forbidden("wants to wait").into())
        })?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_not_new_to_anybody() {
        let said = Said::default();
        assert!(said.is_new(("cel", "it broke")) && said.is_new(("cel", "it broke again")));
        assert!(!said.clone().is_new(("cel", "it broke")));
        // Nor is all of it remembered for ever.
        assert!((0..SAID).all(|n| said.is_new(n)));
        assert!(said.is_new(("cel", "it broke")));
    }
}
