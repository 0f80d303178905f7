//! From a file to a plugin that may be asked: a sequence of checks, each with its own message.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing::dispatcher::{self, Dispatch};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, InstancePre};

use super::bindings::exports::concord::plugin::{describe, filter, mapping, resolver};
use super::engine::Host;
use super::exact::rounding_tool;
use super::failure::{Failure, Role, told};
use super::instance::Running;
use super::limits::Limits;
use super::lock::Pin;
use super::schema::Schema;
use super::seen::{Seen, Why, opened, unreadable};
use super::state::{State, Who};

/// The package of the interface, without its version.
const PACKAGE: &str = "concord:plugin/";

/// The version of the interface that is served.
const VERSION: &str = "0.1.0";

/// Packages of WASI that are there, and do nothing.
const INERT: [&str; 6] = ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/"];

/// A component that was looked at and may be asked.
pub struct Plugin {
    pub name: String,
    pub file: PathBuf,
    /// The SHA-256 of the file, in hexadecimal digits.
    pub digest: String,
    pub description: Description,
    pub roles: Vec<Role>,
    pub limits: Limits,
    /// The tool that made it, if that is one in which integers beyond 2^53 are rounded without a word.
    pub rounds: Option<&'static str>,
    /// The tables of which that was told.
    pub(super) warned: Mutex<HashSet<String>>,
    pub(super) schema: Option<Schema>,
    pub(super) pre: InstancePre<State>,
    pub(super) host: Host,
}

/// What a plugin says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    pub version: String,
    pub summary: String,
    /// The JSON Schema of its configuration; empty if it takes none.
    pub config_schema: String,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("name", &self.name).field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// What [`is_name`] asks of a name, in words.
pub const NAMES: &str = "1 to 60 lower-case letters, digits and hyphens, and no hyphen at either end";

/// Whether a plugin can have this name. Files are named by it.
pub fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.len() <= 60 && name.chars().all(good) && !name.starts_with('-') && !name.ends_with('-')
}

impl Plugin {
    /// The file of a plugin in a folder of plugins.
    pub fn file(folder: &Path, name: &str) -> PathBuf {
        folder.join(format!("{name}.wasm"))
    }

    /// Loads the plugin of this name from its file. With `pin`, only if it is the one that was pinned.
    ///
    /// The order of the checks: file and its size, digest, decoding and compiling, imports, roles, the start of an instance,
    /// its description, the schema of its configuration. With a pin whose compiled code is kept, what follows the digest is done while the
    /// file is still being read; if both fail, it is the file or its digest that is told.
    pub fn load(host: &Host, file: &Path, name: &str, limits: Limits, pin: Option<&Pin>) -> Result<Plugin, Failure> {
        let fail = |(message, hint): Why| Failure::new(name, "file", message).hint(hint);
        // What is pinned was decoded and compiled before, so it is begun with at once: reading a large file and taking its digest are a good
        // part of what a start takes. Whatever comes of it counts for nothing if this is another file.
        if let Some((pin, component)) = pin.and_then(|pin| Some((pin, host.kept(&pin.sha256)?))) {
            return std::thread::scope(|scope| {
                let read = scope.spawn(|| {
                    let mut opened = opened(file, name, &limits)?;
                    Seen::read(&mut opened).map_err(|why| unreadable(file, &why))
                });
                let looked = Plugin::look(host, component, pin.sha256.clone(), file, name, limits);
                let seen = read.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(fail)?;
                pinned(Some(pin), &seen.digest, file, name)?;
                looked.map(|looked| looked.told_by(&seen))
            });
        }
        let mut bytes = Vec::new();
        let read = opened(file, name, &limits).map_err(fail)?.read_to_end(&mut bytes);
        read.map_err(|why| fail(unreadable(file, &why)))?;
        Plugin::of_bytes(host, &bytes, file, name, limits, pin)
    }

    /// The same for what `file` holds, or is to hold.
    pub fn of_bytes(
        host: &Host,
        bytes: &[u8],
        file: &Path,
        name: &str,
        limits: Limits,
        pin: Option<&Pin>,
    ) -> Result<Plugin, Failure> {
        let seen = Seen::of(bytes);
        pinned(pin, &seen.digest, file, name)?;
        let component = decode(host, bytes, &seen.digest, file)
            .map_err(|(message, hint)| Failure::new(name, "decode", message).hint(hint))?;
        Ok(Plugin::look(host, component, seen.digest.clone(), file, name, limits)?.told_by(&seen))
    }

    /// The checks that follow when it is decoded.
    fn look(
        host: &Host,
        component: Component,
        digest: String,
        file: &Path,
        name: &str,
        limits: Limits,
    ) -> Result<Plugin, Failure> {
        let fail = |code: &str, message: String| Failure::new(name, code, message);
        let ty = component.component_type();
        let imports: Vec<String> = ty.imports(&host.engine).map(|(import, _)| import.to_owned()).collect();
        allowed(&imports).map_err(|(message, hint)| fail("import", message).hint(hint))?;
        let exports: Vec<String> = ty
            .exports(&host.engine)
            .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentInstance(_)))
            .map(|(export, _)| export.to_owned())
            .collect();
        let functions = ty.exports(&host.engine).filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)));
        let rounds = rounding_tool(functions.map(|(export, _)| export));
        let roles = roles(&exports).map_err(|(message, hint)| fail("role", message).hint(hint))?;
        let pre = host.linker.instantiate_pre(&component).map_err(|why| {
            let message = format!("it does not fit the interface: {}", told(&format!("{why:#}"), 300));
            fail("import", message).hint(format!("build it against concord:plugin@{VERSION}"))
        })?;
        let misfit = |export: &str, why: wasmtime::Error| {
            let message = format!("its `{export}` is not that of the interface: {}", told(&format!("{why:#}"), 300));
            fail("role", message).hint(format!("build it against concord:plugin@{VERSION}"))
        };
        let describes = describe::GuestIndices::new(&pre).map_err(|why| misfit("describe", why))?;
        for role in &roles {
            match role {
                Role::Filter => filter::GuestIndices::new(&pre).map(|_| ()),
                Role::Mapping => mapping::GuestIndices::new(&pre).map(|_| ()),
                Role::Resolver => resolver::GuestIndices::new(&pre).map(|_| ()),
            }
            .map_err(|why| misfit(role.as_str(), why))?;
        }
        let mut plugin = Plugin {
            name: name.to_owned(),
            file: file.to_owned(),
            digest,
            description: Description { version: String::new(), summary: String::new(), config_schema: String::new() },
            roles,
            limits,
            rounds,
            warned: Mutex::default(),
            schema: None,
            pre,
            host: host.clone(),
        };
        let who = Who { plugin: name.to_owned(), role: None, table: None };
        let (described, schema) = on_own_thread(|| {
            let mut running = Running::start(&plugin, &who)?;
            let guest = running
                .guest(|store, instance| describes.load(store, instance))
                .map_err(|why| misfit("describe", why))?;
            let said = running.call(&plugin.limits, 1, "describe", |store| guest.call_describe(store));
            let said = said.map_err(|failure| Failure { plugin: name.into(), ..failure })?;
            let schema = Schema::parse(&said.config_schema).map_err(|why| fail("schema", why))?;
            Ok::<_, Failure>((said, schema))
        })?;
        if described.name != name {
            let message = format!(
                "{} calls itself `{}`, and the file is named for `{name}`",
                file.display(),
                told(&described.name, 60)
            );
            return Err(fail("describe", message).hint("name the file as the plugin names itself"));
        }
        plugin.description = Description {
            version: told(&described.version, 60),
            summary: told(&described.summary, 300),
            config_schema: described.config_schema,
        };
        plugin.schema = schema;
        Ok(plugin)
    }

    /// With what all of its file tells.
    fn told_by(mut self, seen: &Seen) -> Plugin {
        self.rounds = self.rounds.filter(|_| seen.marked);
        self
    }

    /// Fails unless the plugin plays this role.
    pub(super) fn expect(&self, role: Role) -> Result<(), Failure> {
        if self.roles.contains(&role) {
            return Ok(());
        }
        let can = self.roles.iter().map(Role::as_str).collect::<Vec<_>>().join(" and ");
        let hints: Vec<&str> = self.roles.iter().map(|role| role.place()).collect();
        Err(Failure::new(&self.name, "role", format!("it is no {role}, but a {can}")).hint(hints.join("; ")))
    }
}

/// Fails if another file was pinned.
fn pinned(pin: Option<&Pin>, digest: &str, file: &Path, name: &str) -> Result<(), Failure> {
    let Some(pin) = pin.filter(|pin| pin.sha256 != digest) else { return Ok(()) };
    let message = format!(
        "{} is not the file that concord.lock names: its sha256 is {digest}, and that of version {} is {}",
        file.display(),
        pin.version,
        pin.sha256
    );
    Err(Failure::new(name, "digest", message)
        .hint("put that file back, or run `concord plugin lock` if it was meant to change"))
}

/// Runs work that may block, as everything in a plugin may, apart from whatever the caller's thread is in the midst of. It is heard by
/// whoever hears the caller.
pub(super) fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let heard = dispatcher::get_default(Dispatch::clone);
    match std::thread::scope(|scope| scope.spawn(|| dispatcher::with_default(&heard, work)).join()) {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn decode(host: &Host, bytes: &[u8], digest: &str, file: &Path) -> Result<Component, Why> {
    let shown = file.display();
    match bytes.get(..8) {
        Some([b'\0', b'a', b's', b'm', 1, 0, 0, 0]) => {
            let hint = "make a component of it: `concord plugin build`, or the tools of its language";
            return Err((format!("{shown} is a core module of WebAssembly and no component"), hint.to_owned()));
        }
        Some([b'\0', b'a', b's', b'm', ..]) => {}
        // Compiled code is never taken from others: to load it is to run it.
        _ => return Err((format!("{shown} is no WebAssembly"), "a plugin is a component, a .wasm file".to_owned())),
    }
    host.component(bytes, digest).map_err(|why| {
        (format!("{shown} cannot be compiled: {}", told(&format!("{why:#}"), 300)), "build it again".to_owned())
    })
}

/// Whether a plugin may import all of this.
fn allowed(imports: &[String]) -> Result<(), Why> {
    for import in imports {
        if let Some(rest) = import.strip_prefix(PACKAGE) {
            let (interface, version) = rest.split_once('@').unwrap_or((rest, ""));
            if !matches!(interface, "log" | "types") {
                let hint = format!(
                    "this Concord serves concord:plugin@{VERSION}; build the plugin against it, or use a newer Concord"
                );
                return Err((format!("it needs `{import}`, which is not there"), hint));
            }
            if !version.starts_with("0.1.") {
                return Err((
                    format!("it is made for concord:plugin@{version}, and this Concord serves {VERSION}"),
                    "use a Concord that serves that version".to_owned(),
                ));
            }
        } else if !INERT.iter().any(|package| import.starts_with(package)) {
            return Err((
                format!("it needs `{import}`, which plugins are not given"),
                "a plugin computes; it has no files, network or clock".to_owned(),
            ));
        }
    }
    Ok(())
}

/// The roles among what a component exports.
fn roles(exports: &[String]) -> Result<Vec<Role>, Why> {
    let ours: Vec<(&str, &str)> = exports
        .iter()
        .filter_map(|export| export.strip_prefix(PACKAGE))
        .map(|export| export.split_once('@').unwrap_or((export, "")))
        .collect();
    if let Some((_, version)) = ours.iter().find(|(_, version)| !version.starts_with("0.1.")) {
        return Err((
            format!("it is made for concord:plugin@{version}, and this Concord serves {VERSION}"),
            "use a Concord that serves that version".to_owned(),
        ));
    }
    let has = |name: &str| ours.iter().any(|(interface, _)| *interface == name);
    let roles: Vec<Role> = Role::ALL.into_iter().filter(|role| has(role.as_str())).collect();
    let hint = || {
        "export `describe` and at least one of `filter`, `mapping` and `resolver` (wit/plugin.wit); in Rust the macro of that name \
         does, at the end of src/lib.rs"
            .to_owned()
    };
    if roles.is_empty() {
        let list = if exports.is_empty() { "nothing".to_owned() } else { told(&exports.join(", "), 200) };
        return Err((format!("it plays no role: it exports {list}"), hint()));
    }
    if !has("describe") {
        return Err(("it does not describe itself".to_owned(), hint()));
    }
    Ok(roles)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn imports_are_ours_or_inert() {
        assert!(
            allowed(&names(&["concord:plugin/log@0.1.0", "concord:plugin/types@0.1.3", "wasi:cli/stderr@0.2.3"]))
                .is_ok()
        );
        let why = |import: &str| allowed(&names(&[import])).unwrap_err().0;
        assert_eq!(
            why("wasi:http/outgoing-handler@0.2.0"),
            "it needs `wasi:http/outgoing-handler@0.2.0`, which plugins are not given"
        );
        assert_eq!(why("env"), "it needs `env`, which plugins are not given");
        assert_eq!(why("concord:plugin/lookup@0.1.0"), "it needs `concord:plugin/lookup@0.1.0`, which is not there");
        assert_eq!(
            why("concord:plugin/log@0.2.0"),
            "it is made for concord:plugin@0.2.0, and this Concord serves 0.1.0"
        );
    }

    #[test]
    fn roles_are_found_among_other_exports() {
        let found = roles(&names(&["exports", "concord:plugin/resolver@0.1.0", "concord:plugin/describe@0.1.0"]));
        assert_eq!(found.unwrap(), [Role::Resolver]);
        assert!(roles(&names(&["concord:plugin/describe@0.1.0"])).unwrap_err().0.starts_with("it plays no role"));
        assert_eq!(roles(&names(&["concord:plugin/filter@0.1.0"])).unwrap_err().0, "it does not describe itself");
        assert!(roles(&names(&["concord:plugin/filter@0.3.0"])).unwrap_err().0.contains("concord:plugin@0.3.0"));
    }

    #[test]
    fn names_are_names_of_files_and_no_paths() {
        assert!(is_name("merge-fields") && is_name("a2"));
        for bad in ["", "../x", "a/b", "A", "a.b", "-a", "a-", "ä", &"x".repeat(61)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
