//! `concord bundle`: packing, checking and adding bundles.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::plugin::host;
use super::report::{Table, counted, json, say};
use super::test_plugin::tried;
use super::{Global, Output, note};
use crate::bundle::{Addition, Bundle, Given, Signature, misfits};
use crate::config::{Config, SigningKey};
use crate::error::{ATTENTION, DONE, Error, Result, USAGE};
use crate::files::write_whole;
use crate::plugin::{Host, LOCK, Limits, Plugin};

#[derive(Clone, Debug, Args)]
#[command(about = "Pack bundles of plugins and settings, check them, and add them to a sync")]
pub struct Bundles {
    #[command(subcommand)]
    pub command: BundleCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub enum BundleCommand {
    #[command(
        about = "Make one file of a bundle's folder",
        long_about = "Check a folder as `check` does and make one file of it, NAME-VERSION.concord, with the digests of the plugins in \
                      its manifest. The same folder always becomes the same file. To sign it: minisign -S -m FILE.",
        after_long_help = "Example:\n  concord bundle pack web-shop"
    )]
    Pack(Pack),
    #[command(
        about = "Check a bundle, and ask its plugins about their fixtures; change nothing",
        long_about = "Check a bundle in a folder or file: its files and manifest, the version of Concord it is for, its plugins and their \
                      digests, its settings in a sync that is made up for it, and its plugins' answers to their fixtures.",
        after_long_help = "Example:\n  concord bundle check web-shop-1.0.0.concord"
    )]
    Check(Check),
    #[command(
        about = "Add a bundle's plugins and tables to the configuration",
        long_about = "Put a bundle's plugins into the folder of plugins, pin them in concord.lock, and add its tables at the end of the \
                      configuration. All of it or nothing: what is there already is never overwritten, and the file must be valid with \
                      the tables in it. Where the configuration has keys in [bundles], one of them must have signed the bundle. With \
                      --replace it comes in the place of another version of itself, set as that one was where --set says nothing \
                      else; what was changed by hand between its two lines in the file goes.",
        after_long_help = "Example:\n  concord bundle add web-shop-1.0.0.concord --set branch=berlin"
    )]
    Add(Add),
}

#[derive(Clone, Debug, Args)]
pub struct Pack {
    /// The folder of the bundle
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Try the settings with this in the place of a parameter; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
    /// The file to write [default: NAME-VERSION.concord, here]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub report: Output,
}

#[derive(Clone, Debug, Args)]
pub struct Check {
    /// The bundle, a folder or a file
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,
    /// Try the settings with this in the place of a parameter; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
    /// Demand a signature by this key; may be repeated
    #[arg(long, value_name = "KEY", value_parser = key)]
    pub key: Vec<SigningKey>,
    #[command(flatten)]
    pub report: Output,
}

#[derive(Clone, Debug, Args)]
pub struct Add {
    /// The bundle, a folder or a file
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,
    /// What a parameter of the bundle is here; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
    /// Take the place of another version of the bundle, and of its plugins
    #[arg(long)]
    pub replace: bool,
    #[command(flatten)]
    pub report: Output,
}

fn setting(text: &str) -> std::result::Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it takes a name and a value: --set branch=berlin")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn key(text: &str) -> std::result::Result<SigningKey, String> {
    SigningKey::parse(text).ok_or_else(|| {
        "it is no public key of minisign, RW and 54 more characters, the second line of the file of the key".to_owned()
    })
}

pub fn run(global: &Global, bundles: &Bundles) -> Result<u8> {
    match &bundles.command {
        BundleCommand::Pack(args) => pack(args),
        BundleCommand::Check(args) => check(args),
        BundleCommand::Add(args) => add(global, args),
    }
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Step {
    step: String,
    result: String,
    problems: Vec<String>,
    /// The code with which the command ends because of the problems.
    #[serde(skip)]
    code: u8,
}

impl Step {
    fn good(step: impl Into<String>, result: impl Into<String>) -> Step {
        Step { step: step.into(), result: result.into(), problems: Vec::new(), code: DONE }
    }

    fn bad(step: impl Into<String>, problems: Vec<String>, code: u8) -> Step {
        Step { step: step.into(), result: "FAILED".to_owned(), problems, code }
    }
}

/// What there is to say about a bundle.
#[derive(Debug, Serialize)]
struct Checked {
    bundle: String,
    version: String,
    /// Of the file; a folder has none.
    sha256: Option<String>,
    /// The file that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    steps: Vec<Step>,
}

impl Checked {
    fn code(&self) -> u8 {
        self.steps.iter().map(|step| step.code).max().unwrap_or(DONE)
    }

    fn tell(&self, output: Output) -> Result<u8> {
        if output.json {
            json(self)?;
            return Ok(self.code());
        }
        let mut table = Table::new(&["step", "result"]);
        for step in &self.steps {
            table.row([step.step.as_str(), step.result.as_str()]);
        }
        table.print()?;
        for step in &self.steps {
            for problem in &step.problems {
                say(&format!("\n{}: {problem}", step.step))?;
            }
        }
        Ok(self.code())
    }
}

fn check(args: &Check) -> Result<u8> {
    let given = Given::read(&args.bundle).map_err(refused)?;
    let signature = given.signature(&args.key).map_err(refused)?;
    let bundle = given.open().map_err(refused)?;
    let mut checked = examine(&bundle, &args.set)?;
    checked.steps.insert(0, Step::good("signature", told(&signature)));
    checked.tell(args.report)
}

fn pack(args: &Pack) -> Result<u8> {
    let given = Given::read(&args.folder).map_err(refused)?;
    if !given.is_folder() {
        return Err(Error::Usage(format!(
            "{} is no folder; a bundle is packed from its folder",
            args.folder.display()
        )));
    }
    let (bundle, bytes) = given.open().and_then(Bundle::packed).map_err(refused)?;
    let mut checked = examine(&bundle, &args.set)?;
    if checked.code() != DONE {
        checked.sha256 = None;
        return checked.tell(args.report);
    }
    let manifest = &bundle.manifest;
    let usual = || PathBuf::from(format!("{}-{}.concord", manifest.name, manifest.version));
    let file = args.output.clone().unwrap_or_else(usual);
    write_whole(&file, &bytes)
        .map_err(|why| Error::Usage(format!("{} cannot be written: {why}; check its permissions", file.display())))?;
    checked.file = Some(file.display().to_string());
    if args.report.json {
        return checked.tell(args.report);
    }
    let sha256 = bundle.sha256.as_deref().unwrap_or_default();
    say(&format!("wrote {}: {} {}\nsha256 {sha256}", file.display(), manifest.name, manifest.version))?;
    say(&format!("next: minisign -S -m {} signs it, for whoever knows your key", file.display()))?;
    Ok(DONE)
}

/// Looks at everything that needs neither a configuration nor a database.
fn examine(bundle: &Bundle, set: &[(String, String)]) -> Result<Checked> {
    let manifest = &bundle.manifest;
    let files = bundle.contents.files().count() as u64;
    let size = bundle.contents.size().div_ceil(1024);
    let mut steps = vec![
        Step::good("contents", format!("{}, {size} KiB", counted(files, "file", "files"))),
        Step::good("manifest", format!("{} {}, for this Concord", manifest.name, manifest.version)),
    ];
    let host = host()?;
    let mut loaded = Vec::new();
    for name in manifest.plugins.keys() {
        match bundle.load(&host, name, Limits::usual()) {
            Ok(plugin) => {
                let roles = plugin.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" and ");
                let result = format!("{}, a {roles}, sha256 {}…", plugin.description.version, &plugin.digest[..12]);
                steps.push(Step::good(format!("plugin {name}"), result));
                let plugin = Arc::new(plugin);
                steps.push(fixtures(bundle, &plugin));
                loaded.push(plugin);
            }
            Err(failure) => steps.push(Step::bad(format!("plugin {name}"), vec![failure.to_string()], USAGE)),
        }
    }
    let problems = match manifest.try_settings(set) {
        Ok(config) => misfits(&config, loaded.iter().map(Arc::as_ref)),
        Err(problems) => problems,
    };
    steps.push(match problems.is_empty() {
        true => Step::good("tables", "good"),
        false => Step::bad("tables", problems, USAGE),
    });
    Ok(Checked {
        bundle: manifest.name.clone(),
        version: manifest.version.to_string(),
        sha256: bundle.sha256.clone(),
        file: None,
        steps,
    })
}

fn fixtures(bundle: &Bundle, plugin: &Arc<Plugin>) -> Step {
    let step = format!("fixtures of {}", plugin.name);
    let fixtures = match bundle.fixtures(&plugin.name) {
        Ok(fixtures) => fixtures,
        Err(why) => return Step::bad(step, vec![why], USAGE),
    };
    if fixtures.is_empty() {
        return Step::good(step, "none, so nothing was asked");
    }
    let mut failures = Vec::new();
    for fixture in &fixtures {
        match fixture.role(plugin) {
            Ok(role) => failures.extend(tried(plugin, fixture, role).told()),
            Err(why) => failures.push(format!("{}: {why}", fixture.name)),
        }
    }
    match failures.is_empty() {
        true => Step::good(step, format!("{} good", fixtures.len())),
        false => Step::bad(step, failures, ATTENTION),
    }
}

/// What adding a bundle came to.
#[derive(Debug, Serialize)]
struct Added {
    bundle: String,
    version: String,
    sha256: Option<String>,
    /// The key that signed it, if one was demanded.
    signed_by: Option<String>,
    plugins: Vec<AddedPlugin>,
    tables: Vec<String>,
    /// Whether the configuration was changed.
    changed: bool,
    /// The version of the bundle that was there before.
    replaced: Option<String>,
    /// Its settings that this one does not take, by their names, and its tables that this one does not bring.
    dropped: Vec<String>,
    gone: Vec<String>,
}

#[derive(Debug, Serialize)]
struct AddedPlugin {
    plugin: String,
    version: String,
    sha256: String,
    file: String,
    written: bool,
}

fn add(global: &Global, args: &Add) -> Result<u8> {
    let path = &global.config;
    let given = Given::read(&args.bundle).map_err(refused)?;
    // Before anything in the bundle is looked at.
    let signature = given.signature(&Config::signing_keys(path, &Config::text(path)?)?).map_err(refused)?;
    let bundle = given.open().map_err(refused)?;
    let host: Host = host()?;
    let addition = Addition::prepare(&bundle, &host, path, &args.set, args.replace)?;
    addition.carry_out()?;
    let manifest = &bundle.manifest;
    let added = Added {
        bundle: manifest.name.clone(),
        version: manifest.version.to_string(),
        sha256: bundle.sha256.clone(),
        signed_by: match &signature {
            Signature::Good { key, .. } => Some(key.clone()),
            Signature::Absent | Signature::Unchecked => None,
        },
        plugins: addition
            .plugins
            .iter()
            .map(|plugin| AddedPlugin {
                plugin: plugin.name.clone(),
                version: plugin.version.clone(),
                sha256: plugin.sha256.clone(),
                file: plugin.file.display().to_string(),
                written: plugin.is_new(),
            })
            .collect(),
        tables: addition.tables.clone(),
        changed: !addition.is_known,
        replaced: addition.replaced.clone(),
        dropped: addition.dropped.clone(),
        gone: addition.gone.clone(),
    };
    if !global.quiet {
        for warning in &addition.config.warnings {
            note(&format!("warning: {warning}"));
        }
    }
    if args.report.json {
        json(&added)?;
        return Ok(DONE);
    }
    say(&format!("bundle {} {}: {}", added.bundle, added.version, manifest.summary))?;
    say(&format!("signature: {}", told(&signature)))?;
    for plugin in &added.plugins {
        let done = if plugin.written { "written to" } else { "is already" };
        say(&format!("plugin {} {} {done} {}, and pinned in {LOCK}", plugin.plugin, plugin.version, plugin.file))?;
    }
    let done = match &added.replaced {
        Some(version) => format!("in the place of {} {version} in", added.bundle),
        None if added.changed => "added to".to_owned(),
        None => "already in".to_owned(),
    };
    let tables = counted(added.tables.len() as u64, "table", "tables");
    say(&format!("{tables} {done} {}: {}", path.display(), added.tables.join(", ")))?;
    if !added.gone.is_empty() {
        let gone = counted(added.gone.len() as u64, "table", "tables");
        say(&format!(
            "{gone} gone from {}, which this version does not bring: {}",
            path.display(),
            added.gone.join(", ")
        ))?;
    }
    for name in &added.dropped {
        say(&format!("what `{name}` was set to is not kept: this version takes no such parameter"))?;
    }
    say("next: concord check, then concord install")?;
    Ok(DONE)
}

fn told(signature: &Signature) -> String {
    match signature {
        Signature::Absent => "none; nothing vouches for who made it".to_owned(),
        Signature::Unchecked => "not looked at, since no key is named; nothing vouches for who made it".to_owned(),
        Signature::Good { key, comment } => format!("good, by {key} ({comment})"),
    }
}

fn refused(why: String) -> Error {
    Error::Refused(vec![why])
}
