//! The compiler and what all plugins share: settings, the clock that stops calls, and the folder of compiled code.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tracing::warn;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Engine, OptLevel};

use super::bindings::concord::plugin::log;
use super::compiled::Compiled;
use super::limits::{STACK, TICK};
use super::state::{self, Said, State};

/// What runs plugins; cheap to clone.
#[derive(Clone)]
pub struct Host {
    pub(super) engine: Engine,
    pub(super) linker: Linker<State>,
    pub(super) said: Said,
    compiled: Option<Compiled>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Host")
    }
}

static SHARED: OnceLock<Result<Host, String>> = OnceLock::new();

impl Host {
    /// The host of this process, unless [`Host::share`] set another. Compiled code is kept in the folder that `CONCORD_CACHE_DIR` names, or in the user's own
    /// cache; where there is neither, plugins are compiled whenever they are loaded.
    pub fn shared() -> Result<Host, String> {
        SHARED.get_or_init(|| Host::new(cache_folder().as_deref())).clone()
    }

    /// Makes this the host of the process; `false` if there is one already.
    pub fn share(self) -> bool {
        SHARED.set(Ok(self)).is_ok()
    }

    /// A host that keeps compiled code in `cache`, in a folder that is private to the user.
    pub fn new(cache: Option<&Path>) -> Result<Host, String> {
        let folder = cache.map(|cache| cache.join("compiled"));
        let compiled = folder.and_then(|folder| match Compiled::kept_in(&folder) {
            Ok(compiled) => Some(compiled),
            Err(why) => {
                warn!(folder = %folder.display(), %why, "Compiled plugins are not kept.");
                None
            }
        });
        Host::with(compiled).map_err(|why| format!("the WebAssembly engine does not start: {why:#}"))
    }

    fn with(compiled: Option<Compiled>) -> wasmtime::Result<Host> {
        let mut config = Config::new();
        config
            .consume_fuel(true)
            .epoch_interruption(true)
            .cranelift_opt_level(OptLevel::Speed)
            // The same bits on every machine.
            .cranelift_nan_canonicalization(true)
            .wasm_relaxed_simd(false)
            // What a limit of 4 GiB or less counts needs no more addresses.
            .wasm_memory64(false)
            .max_wasm_stack(STACK)
            .concurrency_support(false);
        // The stack of asynchronous calls has to hold that of WebAssembly, also where none is made.
        config.async_stack_size(STACK + (1 << 20));
        let engine = Engine::new(&config)?;
        let mut linker: Linker<State> = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
        state::forbid_waiting(&mut linker)?;
        log::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
        tick(&engine)?;
        Ok(Host { engine, linker, said: Said::default(), compiled })
    }

    /// The component of these bytes, which have this digest.
    pub(super) fn component(&self, bytes: &[u8], digest: &str) -> wasmtime::Result<Component> {
        match &self.compiled {
            Some(compiled) => compiled.component(&self.engine, bytes, digest),
            None => Component::from_binary(&self.engine, bytes),
        }
    }

    /// The component of this digest, if its compiled code is at hand.
    pub(super) fn kept(&self, digest: &str) -> Option<Component> {
        self.compiled.as_ref()?.kept(&self.engine, digest)
    }

    /// How many components came out of the folder of compiled code, and how many had to be compiled.
    pub fn cached(&self) -> Option<(usize, usize)> {
        self.compiled.as_ref().map(Compiled::counted)
    }
}

/// Lets the engine's time pass for as long as anybody uses it.
fn tick(engine: &Engine) -> wasmtime::Result<()> {
    let weak = engine.weak();
    let ticking = move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    };
    std::thread::Builder::new().name("plugin-clock".to_owned()).spawn(ticking)?;
    Ok(())
}

fn cache_folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    variable("CONCORD_CACHE_DIR").or_else(|| {
        let home = || variable("HOME").map(|home| home.join(".cache"));
        variable("XDG_CACHE_HOME").or_else(home).map(|cache| cache.join("concord"))
    })
}
