//! `concord plugin`: looking at plugins, pinning them, and making them.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::check::tried;
use super::new_plugin::{self, NewPlugin};
use super::replay::{self, Replay};
use super::report::{Table, counted, json, say};
use super::test_plugin::{self, TestPlugin};
use super::{Global, Output, block_on, load};
use crate::bundle::misfits;
use crate::config::{Config, nearest};
use crate::error::{DONE, Error, Result, USAGE};
use crate::fault;
use crate::files::{alone_at, write_whole, write_whole_if};
use crate::plugin::{Failure, Host, LOCK, Limits, Lock, NAMES, Pin, Plugin, Role, componentize, is_name};
use crate::sync::{Away, Checked, Session};

#[derive(Clone, Debug, Args)]
#[command(about = "Look at plugins, pin them, and test them")]
pub struct Plugins {
    #[command(subcommand)]
    pub command: PluginCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub enum PluginCommand {
    #[command(
        about = "Load plugins and say what they are; change nothing",
        long_about = "Load plugins through all checks that need no table: size, digest, decoding, imports, roles, start, description and \
                      schema. Without names: all that the configuration uses, compared with concord.lock, and what it says to them, \
                      held against their schemas. Where nothing is amiss so far, they are opened for the tables that use them, what \
                      they ask for and make is held against these at all nodes, and filters and mappings are tried on some rows, as \
                      `concord check` does.",
        after_long_help = "Example:\n  concord plugin check\n  concord plugin check --offline\n  concord plugin check \
                           plugins/merge-fields.wasm --json"
    )]
    Check(Check),
    #[command(
        about = "Pin the plugins that the configuration uses, as they are now",
        long_about = "Write concord.lock beside the configuration: the SHA-256 of every plugin in use, or anew of those that are named. \
                      Only what is pinned runs. Keep the file with the configuration.",
        after_long_help = "Example:\n  concord plugin lock\n  concord plugin lock merge-fields"
    )]
    Lock(LockArgs),
    #[command(
        about = "Make a plugin of what a compiler made",
        long_about = "Make a component of a core module that was compiled for wasm32-unknown-unknown with the bindings of an interface, \
                      as Rust makes it with the SDK. A module in C says with --role what it serves. Components that other tools make \
                      need no such step.",
        after_long_help = "Example:\n  cargo build --release --target wasm32-unknown-unknown\n  concord plugin build \
                           target/wasm32-unknown-unknown/release/longest.wasm --output plugins/longest.wasm"
    )]
    Build(Build),
    Test(TestPlugin),
    New(NewPlugin),
    Replay(Replay),
}

#[derive(Clone, Debug, Args)]
pub struct Check {
    /// Files of plugins
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Leave the tables out: nothing is connected to
    #[arg(long, conflicts_with = "files")]
    pub offline: bool,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Clone, Debug, Args)]
pub struct LockArgs {
    /// Those to pin, of the plugins in use; the others stay as they are
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Clone, Debug, Args)]
pub struct Build {
    /// The module that the compiler made
    #[arg(value_name = "MODULE")]
    pub module: PathBuf,
    /// The file of the plugin, NAME.wasm
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// What it serves, where the module does not say so itself: filter, mapping or resolver
    #[arg(long, value_name = "ROLE", value_parser = role)]
    pub role: Option<Role>,
}

fn role(text: &str) -> std::result::Result<Role, String> {
    let names = || Role::ALL.map(|role| role.as_str()).join(", ");
    Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| format!("roles are {}", names()))
}

pub fn run(global: &Global, plugins: &Plugins) -> Result<u8> {
    match &plugins.command {
        PluginCommand::Check(args) => check(global, args),
        PluginCommand::Lock(args) => lock(global, args),
        PluginCommand::Build(args) => build(args),
        PluginCommand::Test(args) => test_plugin::run(args),
        PluginCommand::New(args) => new_plugin::run(args),
        PluginCommand::Replay(args) => replay::run(global, args),
    }
}

/// What was found, for programs.
#[derive(Serialize)]
struct Report {
    plugins: Vec<Looked>,
    /// Whether they were to be opened for the tables: not if any has a problem of its own.
    opened: bool,
    /// What came of opening them for the tables.
    warnings: Vec<String>,
    problems: Vec<String>,
    /// Nodes that could not be looked at, so that no plugin was opened.
    away: Vec<Away>,
}

/// What is known of a plugin.
#[derive(Serialize)]
struct Looked {
    plugin: String,
    file: String,
    version: Option<String>,
    summary: Option<String>,
    roles: Vec<&'static str>,
    sha256: Option<String>,
    /// Whether concord.lock names this very file; absent without a configuration.
    pinned: Option<bool>,
    /// What it cannot be used for.
    warning: Option<String>,
    problem: Option<String>,
    /// What tables ask of it that it cannot do, as far as it can be told without them.
    misfits: Vec<String>,
    /// What it was opened for.
    tables: Vec<Opened>,
}

/// A table that a plugin was opened for.
#[derive(Serialize)]
struct Opened {
    table: String,
    /// Absent of a resolver, which is for all nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    role: &'static str,
    /// Rows on which it was tried, and how many of them it fails at; a mapping both ways, a resolver on none.
    tried: u64,
    failed: u64,
}

impl Looked {
    fn problems(&self) -> impl Iterator<Item = &String> {
        self.problem.iter().chain(&self.misfits)
    }
}

fn check(global: &Global, args: &Check) -> Result<u8> {
    let host = host()?;
    let (mut plugins, config) = match &args.files[..] {
        [] => {
            let config = load(global)?;
            (all_in_use(&host, &config)?, Some(config))
        }
        files => (in_files(&host, files)?, None),
    };
    let is_sound = plugins.iter().all(|one| one.problems().next().is_none());
    // What is wrong without the tables would only be said once more.
    let opens = is_sound && !args.offline && !plugins.is_empty();
    let (checked, failed) = match config.filter(|_| opens).map(open_all).transpose() {
        Ok(checked) => (checked, None),
        // What was found out so far is told all the same.
        Err(error) => (None, Some(error)),
    };
    for one in &mut plugins {
        one.tables = checked.as_ref().map_or_else(Vec::new, |checked| opened(&one.plugin, checked));
    }
    let code = if is_sound { checked.as_ref().map_or(DONE, Checked::exit_code) } else { USAGE };
    if args.output.json {
        let Checked { warnings, problems, away, .. } = checked.unwrap_or_default();
        json(&Report { plugins, opened: opens, warnings, problems, away })?;
    } else {
        print(&plugins, checked.as_ref())?;
        if !is_sound && args.files.is_empty() && !args.offline {
            say("no plugin was opened for the tables before that is put right")?;
        }
    }
    failed.map_or(Ok(code), Err)
}

/// The plugins that the configuration uses, held against concord.lock and their schemas.
fn all_in_use(host: &Host, config: &Config) -> Result<Vec<Looked>> {
    let lock = read_lock(config)?;
    let look = |name: &str| {
        let pin = lock.pin(name);
        let plugin = in_use(host, config, name, pin);
        let mut looked = looked(name.to_owned(), file_of(config, name), &plugin);
        looked.misfits = misfits(config, plugin.iter());
        looked.pinned = Some(pin.is_some() && looked.problem.is_none());
        if pin.is_none() && looked.problem.is_none() {
            let why = format!("plugin `{name}`: {LOCK} does not name it; `concord plugin lock` pins it as it is");
            looked.problem = Some(why);
        }
        looked
    };
    Ok(config.plugins_used().into_iter().map(look).collect())
}

fn in_files(host: &Host, files: &[PathBuf]) -> Result<Vec<Looked>> {
    let look = |file: &PathBuf| -> Result<Looked> {
        let name = name_of(file)?;
        let plugin = Plugin::load(host, file, &name, Limits::usual(), None);
        Ok(looked(name, file.clone(), &plugin))
    };
    files.iter().map(look).collect()
}

/// Opens the plugins for the tables that use them, as `concord check` does.
fn open_all(config: Config) -> Result<Checked> {
    let mut session = Session::new(config);
    block_on(async { session.check_plugins().await })
}

/// What a plugin was opened for.
fn opened(plugin: &str, checked: &Checked) -> Vec<Opened> {
    let mut all = Vec::new();
    for table in &checked.tables {
        let opened = |node: Option<String>, role: Role, tried, failed| Opened {
            table: table.table.clone(),
            node,
            role: role.as_str(),
            tried,
            failed,
        };
        if table.resolver.as_deref() == Some(plugin) {
            all.push(opened(None, Role::Resolver, 0, 0));
        }
        for (role, used) in [(Role::Filter, &table.filters), (Role::Mapping, &table.mappings)] {
            let used = used.iter().filter(|used| used.plugin == plugin);
            all.extend(used.map(|used| opened(Some(used.node.clone()), role, used.tried, used.failed)));
        }
    }
    all
}

fn print(plugins: &[Looked], checked: Option<&Checked>) -> Result<()> {
    if plugins.is_empty() {
        return say("no table uses a plugin");
    }
    let mut table = Table::new(&["plugin", "version", "roles", "sha256", "summary"]);
    for one in plugins {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let digest = text(&one.sha256).chars().take(12).collect();
        table.row([one.plugin.clone(), text(&one.version), one.roles.join(", "), digest, text(&one.summary)]);
    }
    table.print()?;
    for warning in plugins.iter().filter_map(|one| one.warning.as_ref()) {
        say(&format!("warning: {warning}"))?;
    }
    for problem in plugins.iter().flat_map(Looked::problems) {
        say(&format!("problem: {problem}"))?;
    }
    let Some(checked) = checked else { return Ok(()) };
    let is_good = checked.problems.is_empty();
    for (plugin, used) in plugins.iter().flat_map(|one| one.tables.iter().map(move |used| (&one.plugin, used))) {
        say(&match &used.node {
            None => format!("table {}: {} {plugin}", used.table, used.role),
            Some(node) => {
                let tried = tried(used.tried, is_good);
                format!("table {} at {node}: {} {plugin}, {tried}", used.table, used.role)
            }
        })?;
    }
    for warning in &checked.warnings {
        say(&format!("warning: {warning}"))?;
    }
    for problem in &checked.problems {
        say(&format!("problem: {problem}"))?;
    }
    if !checked.away.is_empty() {
        say("no plugin was opened for the tables, which takes all nodes; --offline leaves that out")?;
    } else if is_good {
        say("they fit the tables; next: concord check, which looks at all else")?;
    }
    Ok(())
}

fn looked(name: String, file: PathBuf, plugin: &std::result::Result<Plugin, Failure>) -> Looked {
    let mut looked = Looked {
        plugin: name,
        file: file.display().to_string(),
        version: None,
        summary: None,
        roles: Vec::new(),
        sha256: None,
        pinned: None,
        warning: None,
        problem: None,
        misfits: Vec::new(),
        tables: Vec::new(),
    };
    match plugin {
        Ok(plugin) => {
            looked.version = Some(plugin.description.version.clone());
            looked.summary = Some(plugin.description.summary.clone());
            looked.roles = plugin.roles.iter().map(|role| role.as_str()).collect();
            looked.warning = plugin.warning();
            looked.sha256 = Some(plugin.digest.clone());
        }
        Err(failure) => looked.problem = Some(failure.to_string()),
    }
    looked
}

/// Pins plugins that a configuration uses to what lies there now: those of these names and, without names, all. The lock file before
/// and after.
pub(super) fn pin(config: &Config, names: &[String]) -> Result<(Lock, Lock)> {
    let used = config.plugins_used();
    if let Some(name) = names.iter().find(|name| !used.contains(&name.as_str())) {
        let why = match used.is_empty() {
            true => "no table uses a plugin".to_owned(),
            false => {
                let help = nearest::suggestion(name, used.iter().copied(), "plugins in use");
                format!("no table uses a plugin `{name}`; {help}")
            }
        };
        return Err(Error::Usage(why));
    }
    let host = host()?;
    let path = config.folder().join(LOCK);
    let old = read_lock(config)?;
    let meant = |name: &&str| names.is_empty() || names.iter().any(|meant| meant == name);
    let load = |name: &str| in_use(&host, config, name, None);
    let plugins: Vec<std::result::Result<Plugin, Failure>> = used.into_iter().filter(meant).map(load).collect();
    let problems: Vec<String> = plugins.iter().filter_map(|plugin| Some(plugin.as_ref().err()?.to_string())).collect();
    if !problems.is_empty() {
        return Err(Error::Refused(problems));
    }
    let plugins: Vec<&Plugin> = plugins.iter().flatten().collect();
    let mut new = if names.is_empty() { Lock::default() } else { old.clone() };
    new.set(&plugins);
    if new != old {
        fault::blocking_point("lock-write")?;
        let is_as_read = || Lock::read(&path).as_ref() == Ok(&old);
        let written = write_whole_if(&path, new.write().as_bytes(), is_as_read).map_err(|why| {
            Error::Usage(format!("{} cannot be written: {why}; check its permissions", path.display()))
        })?;
        if !written {
            let why = format!("{} was changed meanwhile, and is left as it is; pin again", path.display());
            return Err(Error::Refused(vec![why]));
        }
    }
    Ok((old, new))
}

fn lock(global: &Global, args: &LockArgs) -> Result<u8> {
    let _alone = alone_at(&global.config);
    let config = load(global)?;
    let path = config.folder().join(LOCK);
    let (old, new) = pin(&config, &args.names)?;
    let changed: Vec<&str> =
        new.pins.iter().filter(|pin| old.pin(&pin.name) != Some(*pin)).map(|pin| pin.name.as_str()).collect();
    if args.output.json {
        json(&serde_json::json!({ "file": path.display().to_string(), "pinned": changed, "all": new.pins.len() }))?;
    } else if new == old {
        match &args.names[..] {
            [] => say("everything is pinned as it is")?,
            names => say(&format!("{}: pinned as it is", names.join(", ")))?,
        }
    } else {
        for name in &changed {
            say(&format!("pinned {name}"))?;
        }
        let gone = old.pins.iter().filter(|pin| new.pin(&pin.name).is_none()).count() as u64;
        if gone > 0 {
            say(&format!("{} not used any more", counted(gone, "pin is", "pins are")))?;
        }
    }
    Ok(DONE)
}

fn build(args: &Build) -> Result<u8> {
    let name = name_of(&args.output)?;
    let shown = args.module.display();
    let module = std::fs::read(&args.module).map_err(|why| Error::Usage(format!("{shown} cannot be read: {why}")))?;
    let component = componentize(&module, args.role).map_err(|why| Error::Usage(format!("{shown}: {why}")))?;
    // What is no plugin takes the place of none.
    let plugin = Plugin::of_bytes(&host()?, &component, &args.output, &name, Limits::usual(), None);
    let plugin = plugin.map_err(|failure| Error::Refused(vec![failure.to_string()]))?;
    write_whole(&args.output, &component)
        .map_err(|why| Error::Usage(format!("{} cannot be written: {why}", args.output.display())))?;
    let roles = plugin.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" and ");
    say(&format!("{} is the plugin {name} {}, a {roles}", args.output.display(), plugin.description.version))?;
    Ok(DONE)
}

pub(super) fn host() -> Result<Host> {
    Host::shared().map_err(Error::Internal)
}

fn read_lock(config: &Config) -> Result<Lock> {
    Lock::read(&config.folder().join(LOCK)).map_err(|why| Error::Refused(vec![why]))
}

/// The plugin that a file is named for.
pub(super) fn name_of(file: &std::path::Path) -> Result<String> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match file.extension().is_some_and(|extension| extension == "wasm") && is_name(&name) {
        true => Ok(name),
        false => {
            let near = name.to_ascii_lowercase().replace('_', "-");
            let help = match is_name(&near) {
                // Cargo names modules so.
                true if near != name => format!(
                    "; such as {near}.wasm, which `concord plugin build {} --output {near}.wasm` makes of a module",
                    file.display()
                ),
                true => format!("; such as {near}.wasm"),
                false => String::new(),
            };
            let message = format!("is no name of a plugin's file, which is its name and .wasm; a name takes {NAMES}");
            Err(Error::Usage(format!("{} {message}{help}", file.display())))
        }
    }
}

/// Loads a plugin that the configuration uses.
fn in_use(host: &Host, config: &Config, name: &str, pin: Option<&Pin>) -> std::result::Result<Plugin, Failure> {
    config.plugins.file(name)?;
    Plugin::load(host, &file_of(config, name), name, config.plugins.limits(name), pin)
}

fn file_of(config: &Config, name: &str) -> PathBuf {
    Plugin::file(&config.plugins.folder.clone().unwrap_or_default(), name)
}
