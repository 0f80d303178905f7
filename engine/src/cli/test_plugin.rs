//! `concord plugin test`: what a plugin answers to the cases of its fixtures, and whether it keeps the laws of its role.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;
use tracing::warn;

use super::Output;
use super::plugin::{host, name_of};
use super::report::{Table, json, say};
use crate::error::{ATTENTION, DONE, Error, Result};
use crate::model::{Row, row_to_json};
use crate::plugin::fixture::{Answer, Fixture, Verdict};
use crate::plugin::{
    Failure, Filter, Law, Limits, Mapping, Plugin, Resolver, Role, Shape, Spent, broken, broken_by_filter,
    broken_by_mapping, course, failures, mapped, silently, smallest, varied, written,
};

#[derive(Clone, Debug, Args)]
#[command(
    about = "Ask a plugin about the cases in its fixtures, and try the laws of its role",
    long_about = "Ask the compiled plugin about every case in a folder of fixtures, conflicts of a resolver or rows of a filter or mapping, compare \
                  its answers with those that stand there, and try on every case whether the laws hold that engines rely on. Where one is \
                  broken, the smallest case that breaks it is written as a fixture. Tells \
                  fuel and memory.",
    after_long_help = "Example:\n  concord plugin test plugins/merge-fields.wasm --fixtures merge-fields/fixtures"
)]
pub struct TestPlugin {
    /// The file of the plugin
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The folder of its fixtures, files of JSON
    #[arg(long, value_name = "FOLDER", default_value = "fixtures")]
    pub fixtures: PathBuf,
    /// Where the smallest cases that break a law are written, as fixtures [default: `broken` in the folder of the fixtures]
    #[arg(long, value_name = "FOLDER")]
    pub broken: Option<PathBuf>,
    #[command(flatten)]
    pub output: Output,
}

/// What came of one fixture.
#[derive(Serialize)]
pub(super) struct Tested {
    fixture: String,
    role: &'static str,
    conflicts: usize,
    rows: usize,
    /// For each case, the mean.
    fuel: u64,
    /// The most in use, in bytes.
    memory: usize,
    failures: Vec<String>,
    /// What is no failure, and good to know.
    notes: Vec<String>,
    /// The laws that it breaks, with the fixture that has the case.
    #[serde(skip)]
    laws: Vec<(Law, Fixture)>,
    /// The files of the smallest cases that break them.
    broken: Vec<PathBuf>,
}

pub fn run(args: &TestPlugin) -> Result<u8> {
    let name = name_of(&args.file)?;
    let plugin = Plugin::load(&host()?, &args.file, &name, Limits::usual(), None);
    let plugin = Arc::new(plugin.map_err(|failure| Error::Refused(vec![failure.to_string()]))?);
    if let Some(warning) = plugin.warning() {
        warn!("{warning}");
    }
    let fixtures = Fixture::all(&args.fixtures).map_err(Error::Usage)?;
    if fixtures.is_empty() {
        return Err(Error::Usage(format!(
            "{} holds no fixtures; they are files of JSON, which docs/src/plugins.md describes",
            args.fixtures.display()
        )));
    }
    let mut tested = Vec::new();
    for fixture in &fixtures {
        let role = fixture.role(&plugin);
        let role = role.map_err(|why| Error::Usage(format!("the fixture `{}`: {why}", fixture.name)))?;
        let mut one = tried(&plugin, fixture, role);
        for (law, fixture) in std::mem::take(&mut one.laws) {
            let folder = args.broken.clone().unwrap_or_else(|| args.fixtures.join("broken"));
            one.broken.push(write_smallest(&plugin, &fixture, role, law, &folder)?);
        }
        tested.push(one);
    }
    if args.output.json {
        json(&tested)?;
    } else {
        let mut table = Table::new(&["fixture", ">cases", ">fuel each", ">KiB", "result"]);
        for one in &tested {
            let result = if one.failures.is_empty() { "good" } else { "FAILED" };
            let cases = (one.conflicts + one.rows) as u64;
            let [cases, fuel, kib] = [cases, one.fuel, one.memory as u64 >> 10].map(|n| n.to_string());
            table.row([one.fixture.clone(), cases, fuel, kib, result.to_owned()]);
        }
        table.print()?;
        for one in &tested {
            for failure in &one.failures {
                say(&format!("\n{}: {failure}", one.fixture))?;
            }
            for told in &one.notes {
                say(&format!("\n{}: note: {told}", one.fixture))?;
            }
            for file in &one.broken {
                say(&format!("\n{}: the smallest case that breaks it is {}", one.fixture, file.display()))?;
            }
        }
    }
    Ok(if tested.iter().all(|one| one.failures.is_empty()) { DONE } else { ATTENTION })
}

/// Writes the smallest fixture that breaks a law like this one does; its file.
fn write_smallest(plugin: &Arc<Plugin>, fixture: &Fixture, role: Role, law: Law, folder: &Path) -> Result<PathBuf> {
    let file = folder.join(format!("{}-{}.json", fixture.name, law.name()));
    let failed = |why: std::io::Error| {
        let message = format!("{} cannot be written: {why}; check its permissions, or take --broken", file.display());
        Error::Usage(message)
    };
    let text = silently(|| written(plugin, &smallest(plugin, fixture, law), role, law));
    let text = text.map_err(|failure| Error::Refused(vec![failure.to_string()]))?;
    std::fs::create_dir_all(folder).map_err(failed)?;
    std::fs::write(&file, text).map_err(failed)?;
    Ok(file)
}

pub(super) fn tried(plugin: &Arc<Plugin>, fixture: &Fixture, role: Role) -> Tested {
    let mut tested = Tested {
        fixture: fixture.name.clone(),
        role: role.as_str(),
        conflicts: fixture.conflicts.len(),
        rows: fixture.rows.len() + fixture.locals.len() + fixture.puts.len(),
        fuel: 0,
        memory: 0,
        failures: Vec::new(),
        notes: Vec::new(),
        laws: Vec::new(),
        broken: Vec::new(),
    };
    let (shape, config, facts) = (fixture.shape.clone(), &fixture.config, &fixture.facts);
    match role {
        Role::Filter => {
            if let Some(filter) = tested.opened(Filter::open(plugin.clone(), shape, config, facts), fixture) {
                tested.judges(plugin, &filter, fixture);
            }
        }
        Role::Mapping => {
            if let Some(mapping) = tested.opened(Mapping::open(plugin.clone(), shape, config, facts), fixture) {
                tested.maps(plugin, &mapping, fixture);
            }
        }
        Role::Resolver => {
            if let Some(resolver) = tested.opened(Resolver::open(plugin.clone(), shape, config, facts), fixture) {
                tested.resolves(plugin, &resolver, fixture);
            }
        }
    }
    tested.varies(plugin, fixture, role);
    tested
}

impl Tested {
    /// What went wrong, each with the name of the fixture.
    pub(super) fn told(&self) -> impl Iterator<Item = String> {
        self.failures.iter().map(|failure| format!("{}: {failure}", self.fixture))
    }

    /// The role, if it was opened and had to be.
    fn opened<T>(&mut self, opened: std::result::Result<T, Failure>, fixture: &Fixture) -> Option<T> {
        match (opened, &fixture.refuses) {
            (Ok(role), None) => return Some(role),
            (Err(failure), Some(code)) if *failure.code == **code => {}
            (Err(failure), Some(code)) => {
                let is = &failure.code;
                self.failures
                    .push(format!("it was to refuse its configuration as `{code}`, and did as `{is}`: {failure}"));
            }
            (Err(failure), None) => self.failures.push(failure.to_string()),
            (Ok(_), Some(code)) => {
                self.failures.push(format!("it was to refuse its configuration as `{code}`, and took it"));
            }
        }
        None
    }

    fn resolves(&mut self, plugin: &Arc<Plugin>, resolver: &Resolver, fixture: &Fixture) {
        let conflicts: Vec<_> =
            fixture.conflicts.iter().map(|conflict| conflict.recorded(resolver.recorded())).collect();
        let answers = resolver.resolve(&conflicts.iter().map(|conflict| conflict.dispute()).collect::<Vec<_>>());
        for (at, (conflict, answer)) in fixture.conflicts.iter().zip(&answers).enumerate() {
            let is = Answer::of(answer);
            if is != conflict.answer {
                let [is, was] = [&is, &conflict.answer].map(|answer| answer.told(&fixture.shape, conflict));
                self.differs(&format!("conflict {}", at + 1), &is, &was, answer.as_ref().err());
            }
        }
        self.spent(resolver.spent());
        let laws = silently(|| broken(plugin, fixture, &answers));
        self.breaks(plugin, fixture, |at| format!("conflict {}", at + 1), laws);
    }

    fn judges(&mut self, plugin: &Arc<Plugin>, filter: &Filter, fixture: &Fixture) {
        let names = || fixture.shape.columns.iter().map(|column| column.name.as_str());
        if let Some(expected) = &fixture.columns {
            // In which order it asks is its own affair.
            let told = |mut places: Vec<&str>| {
                places.sort_unstable();
                places.join(", ")
            };
            let is = told(filter.wanted().iter().filter_map(|&at| names().nth(at)).collect());
            let was = told(expected.iter().map(String::as_str).collect());
            if is != was {
                self.differs("columns", &is, &was, None);
            }
        }
        let answers = filter.judge(&fixture.rows.iter().map(|judged| &judged.row).collect::<Vec<_>>());
        for (at, (judged, answer)) in fixture.rows.iter().zip(&answers).enumerate() {
            let is = Verdict::of(answer);
            if is != judged.answer {
                let case = format!("row {}, {}", at + 1, row_to_json(names(), &judged.row));
                self.differs(&case, &is.told(), &judged.answer.told(), answer.as_ref().err());
            }
        }
        self.spent(filter.spent());
        let laws = silently(|| broken_by_filter(plugin, fixture, &answers));
        self.breaks(plugin, fixture, |at| format!("row {}", at + 1), laws);
    }

    fn maps(&mut self, plugin: &Arc<Plugin>, mapping: &Mapping, fixture: &Fixture) {
        let Some(made) = &fixture.made else { return };
        if mapping.shape() != made {
            // Rows of one shape are none of another.
            return self.differs("shape", &shape_told(mapping.shape()), &shape_told(made), None);
        }
        let (locals, puts): (Vec<_>, Vec<_>) = (fixture.locals.iter().collect(), fixture.puts.iter().collect());
        let answers = mapped(mapping, &locals, &puts);
        let case = |at: usize| match at.checked_sub(locals.len()) {
            None => format!("local {}", at + 1),
            Some(put) => format!("put {}", put + 1),
        };
        for (at, (one, answer)) in locals.iter().chain(&puts).zip(&answers).enumerate() {
            let is = answer.clone().map_err(|failure| failure.code.to_string());
            if is != one.answer {
                let shape = if at < locals.len() { made } else { &fixture.shape };
                let told = |made: &std::result::Result<Row, String>| match made {
                    Ok(row) => {
                        let names = shape.columns.iter().map(|column| column.name.as_str());
                        serde_json::json!({"row": row_to_json(names, row)}).to_string()
                    }
                    Err(code) => serde_json::json!({"problem": code}).to_string(),
                };
                self.differs(&case(at), &told(&is), &told(&one.answer), answer.as_ref().err());
            }
        }
        self.spent(mapping.spent());
        let laws = silently(|| broken_by_mapping(plugin, fixture, &answers));
        self.breaks(plugin, fixture, case, laws);
    }

    fn differs(&mut self, case: &str, is: &str, was: &str, why: Option<&Failure>) {
        let why = why.map(|failure| format!("\n  because: {failure}")).unwrap_or_default();
        self.failures.push(format!("{case}:\n  answer   {is}\n  expected {was}{why}"));
    }

    fn spent(&mut self, spent: Spent) {
        self.fuel = spent.fuel.checked_div(spent.rows).unwrap_or(0);
        self.memory = spent.memory;
    }

    /// Tells the laws that are broken and are not told yet.
    fn breaks(
        &mut self,
        plugin: &Arc<Plugin>,
        fixture: &Fixture,
        case: impl Fn(usize) -> String,
        laws: std::result::Result<Vec<(Law, usize)>, Failure>,
    ) {
        match laws {
            Ok(broken) => {
                for (law, at) in broken {
                    if self.laws.iter().all(|(known, _)| *known != law) {
                        let course = silently(|| course(plugin, fixture, law, at)).unwrap_or_default();
                        self.failures.push(format!("{} breaks a law: {}{course}", case(at), law.as_str()));
                        self.laws.push((law, fixture.clone()));
                    }
                }
            }
            Err(failure) => self.failures.push(failure.to_string()),
        }
    }

    /// Tries the laws on the cases in forms that nobody wrote down.
    fn varies(&mut self, plugin: &Arc<Plugin>, fixture: &Fixture, role: Role) {
        let Some(varied) = varied(fixture, role).filter(|_| fixture.refuses.is_none()) else { return };
        // It may refuse a table of another shape.
        let Ok(laws) = silently(|| crate::plugin::tried(plugin, &varied.fixture)) else { return };
        let told = |at: usize| varied.told.get(at).cloned().unwrap_or_default();
        self.breaks(plugin, &varied.fixture, told, Ok(laws));
        let failed = silently(|| failures(plugin, &varied.fixture)).unwrap_or_default();
        let broke_down = failed.into_iter().find(|(_, failure)| *failure.code == *"trap");
        if let Some((at, failure)) = broke_down.filter(|_| self.failures.is_empty()) {
            self.notes.push(format!("{}: {failure}", told(at)));
        }
    }
}

/// Columns with their kinds, those of the key marked.
fn shape_told(shape: &Shape) -> String {
    let column = |(at, column): (usize, &crate::plugin::ShapeColumn)| {
        let key = if shape.key.contains(&at) { " (key)" } else { "" };
        format!("{} {}{key}", column.name, column.ty)
    };
    shape.columns.iter().enumerate().map(column).collect::<Vec<_>>().join(", ")
}
