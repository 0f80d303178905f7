//! `concord.toml` -> a validated description of the sync.
//!
//! Everything that can be told from the file alone is checked here, and every problem is reported with its line and
//! what to do about it, many at once. What needs a database (tables, columns, types, rights) is checked by `sync`,
//! which points back into the file through the [`Place`]s kept here.
//!
//! Invariant: nothing in here can print a password, neither a URL's nor one that stands in a misspelled key.

mod bundles;
mod compare;
mod conflict;
mod defaults;
mod diagnostic;
pub mod duration;
mod expand;
mod filter;
mod mapping;
pub(crate) mod nearest;
mod nodes;
mod plugins;
mod secret;
mod section;
mod tables;
mod template;
#[cfg(test)]
mod tests;
mod url;

use std::path::{Path, PathBuf};

use toml_edit::Document;

use crate::error::Error;
use crate::model::NodeId;
use crate::node::Target;
use crate::plugin::Role;

use diagnostic::{Show, Source};
use section::{Problems, Section, shown};

pub use bundles::SigningKey;
pub use compare::Mode;
pub use conflict::Conflict;
pub use defaults::{Defaults, Ids, OnSkew};
pub use diagnostic::{Diagnostic, Place};
pub use expand::Lookup;
pub use nodes::{NAME_RULE, as_name, is_name};
pub use plugins::{PluginUse, Plugins};
pub use secret::one_line;
pub(crate) use secret::without_urls;
pub use section::Named;
pub use template::{NewNode, new_nodes, template};

/// A sync, as its file describes it.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file, as the user named it.
    pub path: PathBuf,
    /// The name of the sync, as the databases remember it.
    pub name: String,
    /// In the order of the file, which decides ties: [`NodeId`]s count along it. At least two.
    pub nodes: Vec<NodeConfig>,
    pub defaults: Defaults,
    /// In the order of the file. At least one.
    pub tables: Vec<TableConfig>,
    pub plugins: Plugins,
    /// Whose bundles are taken; anybody's if there are none.
    pub signing_keys: Vec<SigningKey>,
    /// What is allowed but unwise, such as a password in the file.
    pub warnings: Vec<Diagnostic>,
    source: Source,
}

/// One database.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    pub name: String,
    /// Where it is, with every placeholder filled in. Shows no secrets when printed.
    pub target: Target,
    /// [`Mode::Compare`] if no triggers can be made there, so that every table is compared.
    pub mode: Mode,
    pub place: Place,
}

/// One table, by its shared name.
#[derive(Clone, Debug)]
pub struct TableConfig {
    pub name: String,
    pub place: Place,
    /// By what it is kept in step, at all nodes.
    pub mode: Mode,
    /// Its own policy or the default one.
    pub conflict: Conflict,
    /// The only node whose changes are carried, where the table is one-way.
    pub from: Option<NodeId>,
    /// Which changes are carried; the others stay where they were made.
    pub operations: Operations,
    /// How the nodes number new rows.
    pub ids: Ids,
    /// The shared column that tells when a row was last changed. Decides between rows that differ without a history that
    /// tells which is younger.
    pub updated: Option<Named>,
    /// Shared columns whose values may be rounded or cut to what all nodes keep.
    pub lossy: Vec<Named>,
    /// The table at each node, by [`NodeId`].
    pub nodes: Vec<TableNode>,
}

/// A set of kinds of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operations {
    pub insert: bool,
    pub update: bool,
    pub delete: bool,
}

impl Operations {
    pub const ALL: Operations = Operations { insert: true, update: true, delete: true };
}

/// How a table differs at one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableNode {
    pub node: NodeId,
    /// The local name, `name` or `schema.name`; the shared one unless the file says otherwise.
    pub table: String,
    /// The section for this node, or else the table's.
    pub place: Place,
    /// Columns whose local name differs from the shared one.
    pub columns: Vec<Rename>,
    /// Shared columns that do not live here.
    pub omit: Vec<Named>,
    /// The plugin that says which rows belong here; all if there is none.
    pub filter: Option<PluginUse>,
    /// The plugin that makes shared rows of the table's and back; they are alike if there is none.
    pub mapping: Option<PluginUse>,
}

/// A column's two names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    pub shared: String,
    pub local: String,
    pub place: Place,
}

/// More problems than this are counted and not shown.
const SHOWN: usize = 20;

const ADD_TABLE: &str = "add a section for each table to keep in step, for example:\n[tables.customers]";
const ADD_NODE: &str =
    "add a section for each database, for example:\n[nodes.office]\nurl = \"postgres://user@host/database\"";

impl Config {
    /// Reads and checks the file, with placeholders filled in from the environment. Speaks to no database.
    pub fn load(path: &Path) -> Result<Config, Error> {
        Config::parse(path, Config::text(path)?, &|name| std::env::var_os(name))
    }

    /// The text of the file, of which nothing is checked yet.
    pub fn text(path: &Path) -> Result<String, Error> {
        let file = path.display().to_string();
        let refuse = |message: &str, help: &str| Error::Config(vec![Diagnostic::of_file(&file, message, help)]);
        let bytes = std::fs::read(path).map_err(|why| match why.kind() {
            std::io::ErrorKind::NotFound => {
                refuse("no such file", "`concord new DIR` writes one; another is named with -c FILE")
            }
            _ if path.is_dir() => refuse("this is a folder", "name the file in it: -c DIR/concord.toml"),
            _ => refuse(&format!("cannot be read: {why}"), "check its permissions"),
        })?;
        String::from_utf8(bytes).map_err(|why| {
            let line = why.as_bytes()[..why.utf8_error().valid_up_to()].iter().filter(|&&b| b == b'\n').count() + 1;
            refuse(&format!("line {line} is not valid UTF-8"), "save the file as UTF-8")
        })
    }

    /// Checks the text of the file at `path`, with variables from `lookup`.
    pub fn parse(path: &Path, text: String, lookup: Lookup<'_>) -> Result<Config, Error> {
        let source = Source { file: path.display().to_string(), text };
        let document =
            Document::parse(source.text.as_str()).map_err(|why| Error::Config(vec![syntax(&source, &why)]))?;
        let mut problems = Problems { source: &source, found: Vec::new(), warnings: Vec::new() };
        let config = read(path, document.as_table(), lookup, &mut problems);
        let Problems { mut found, warnings, .. } = problems;
        match config {
            Some(config) if found.is_empty() => Ok(Config { warnings, source, ..config }),
            _ => {
                found.sort_by_key(|problem| (problem.line, problem.column));
                let more = found.len().saturating_sub(SHOWN);
                found.truncate(SHOWN);
                if more > 0 {
                    let what = format!("{more} more problems are not shown");
                    found.push(Diagnostic::of_file(&source.file, what, "correct those above first"));
                }
                Err(Error::Config(found))
            }
        }
    }

    /// The folder that relative paths start from.
    pub fn folder(&self) -> PathBuf {
        folder(&self.path)
    }

    /// The names of all nodes, by [`NodeId`].
    pub fn node_names(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.name.clone()).collect()
    }

    /// The place as messages name it: `concord.toml:14`.
    pub fn at(&self, place: &Place) -> String {
        format!("{}:{}", self.source.file, place.line)
    }

    /// A problem that a database's catalogue revealed, told like those found in the file alone. `help` may be empty.
    pub fn diagnostic(&self, place: &Place, message: impl AsRef<str>, help: impl AsRef<str>) -> Diagnostic {
        let of_node = self.nodes.iter().any(|node| node.place.line == place.line);
        let show = if of_node { Show::Keys } else { Show::Line };
        self.source.diagnostic(place, show, message.as_ref(), help.as_ref())
    }

    /// The names of the plugins that tables use, each once.
    pub fn plugins_used(&self) -> Vec<&str> {
        let uses = self.tables.iter().flat_map(TableConfig::plugins);
        let mut names: Vec<&str> = uses.map(|(_, used)| used.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether any table is kept in step by triggers, so that the nodes need service tables.
    pub fn keeps_histories(&self) -> bool {
        self.tables.iter().any(|table| table.mode == Mode::Triggers)
    }

    /// Whether any table is kept in step by comparison.
    pub fn compares(&self) -> bool {
        self.tables.iter().any(|table| table.mode == Mode::Compare)
    }
}

/// The section of a table, so that what a message proposes can be pasted into the file.
pub(crate) fn section_of(table: &str) -> String {
    format!("[tables.{}]", template::key(table))
}

/// The section of a table for one node.
pub(crate) fn section_at(table: &str, node: &str) -> String {
    format!("[tables.{}.nodes.{}]", template::key(table), template::key(node))
}

impl TableConfig {
    /// The plugins that have a part in it, at whatever nodes.
    pub fn plugins(&self) -> impl Iterator<Item = (Role, &PluginUse)> {
        let resolver = match &self.conflict {
            Conflict::Plugin(used) => Some((Role::Resolver, used)),
            _ => None,
        };
        resolver.into_iter().chain(self.nodes.iter().flat_map(|node| {
            let filter = node.filter.iter().map(|used| (Role::Filter, used));
            filter.chain(node.mapping.iter().map(|used| (Role::Mapping, used)))
        }))
    }
}

impl TableNode {
    /// The local name of a shared column.
    pub fn local<'a>(&'a self, shared: &'a str) -> &'a str {
        self.columns.iter().find(|rename| rename.shared == shared).map_or(shared, |rename| &rename.local)
    }

    /// The shared name of a local column.
    pub fn shared<'a>(&'a self, local: &'a str) -> &'a str {
        self.columns.iter().find(|rename| rename.local == local).map_or(local, |rename| &rename.shared)
    }

    /// Whether the shared column does not live here.
    pub fn omits(&self, shared: &str) -> bool {
        self.omit.iter().any(|column| column.name == shared)
    }
}

/// Reads all sections. What is returned is only whole if no problem was added.
fn read(path: &Path, root: &toml_edit::Table, lookup: Lookup<'_>, problems: &mut Problems<'_>) -> Option<Config> {
    let source = problems.source;
    let root = Section::root(root, source);
    let folder = folder(path);
    root.only(
        &["name", "plugins", "bundles", "nodes", "defaults", "limits", "tables"],
        &|key| match key {
            "conflict" | "max_skew" | "on_skew" | "batch" => Some("it belongs in the section [defaults]".to_owned()),
            _ => None,
        },
        problems,
    );
    let name = root.text("name", "\"shop\"", problems);
    match &name {
        None if root.field("name", source).is_none() => {
            problems.nowhere("the sync has no `name`", "add at the top, for example: name = \"shop\"");
        }
        Some(name) if !nodes::is_name(&name.name) => {
            let what = format!("`{}` cannot be the name of a sync", shown(&name.name));
            problems.add(&name.place, Show::Keys, what, nodes::name_advice(&name.name));
        }
        _ => {}
    }
    let (nodes, names) = match root.field("nodes", source) {
        None => {
            problems.nowhere("no nodes", ADD_NODE);
            (Vec::new(), Vec::new())
        }
        Some(field) => match Section::open(&field, "[nodes.NAME]".to_owned(), Show::Keys, problems) {
            Some(section) => nodes::read(&section, &folder, lookup, problems),
            None => (Vec::new(), Vec::new()),
        },
    };
    let settings = root
        .field("defaults", source)
        .and_then(|field| Section::open(&field, "[defaults]".to_owned(), Show::Line, problems));
    let defaults =
        settings.as_ref().map_or_else(Defaults::default, |section| defaults::read(section, &names, problems));
    let tables = match root.field("tables", source) {
        None => {
            problems.nowhere("no tables", ADD_TABLE);
            Vec::new()
        }
        Some(field) => Section::open(&field, "[tables.NAME]".to_owned(), Show::Line, problems)
            .map_or_else(Vec::new, |section| tables::read(&section, &defaults, &nodes, &names, problems)),
    };
    let plugins = plugins::read(&root, &folder, &tables, problems);
    let signing_keys = bundles::read(&root, problems);
    if let Some(section) = &settings {
        defaults::warn_of_idle(section, &tables, problems);
    }
    Some(Config {
        path: path.to_owned(),
        name: name?.name,
        nodes,
        defaults,
        tables,
        plugins,
        signing_keys,
        warnings: Vec::new(),
        source: source.clone(),
    })
}

fn folder(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Connections outlive a change of the working directory, and messages should say where a file was looked for.
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
}

/// Whether a line may be what the file says to a plugin, which may be a secret.
fn tells_a_plugin(section: &str, line: &str) -> bool {
    let has = |text: &str, words: &[&str]| {
        text.lines().next().is_some_and(|first| words.iter().any(|word| first.contains(word)))
    };
    has(section, &["conflict", "filter", "mapping"]) || has(line, &["plugin"])
}

/// A file that is not TOML.
fn syntax(source: &Source, why: &toml_edit::TomlError) -> Diagnostic {
    let place = source.place(why.span().unwrap_or(0..0));
    let before = &source.text[..place.start];
    let last_section = before.lines().rfind(|line| line.trim_start().starts_with('[')).unwrap_or_default();
    let line = &source.text[before.rfind('\n').map_or(0, |at| at + 1)..];
    let section = if line.trim_start().starts_with('[') { line } else { last_section };
    // Where quotes do not match nobody can tell values from keys, so lines that may hold a URL or a plugin's secret are not shown.
    let show = match section.trim_start() {
        _ if source.text.contains("\"\"\"") || source.text.contains("'''") => Show::Nothing,
        section if section.starts_with("[tables.") && tells_a_plugin(section, line) => Show::Start,
        section if section.starts_with("[tables.") || section.starts_with("[defaults]") => Show::Line,
        _ => Show::Start,
    };
    let help = match why.message() {
        message if message.starts_with("duplicate key") => "a key or section stands once: merge the two",
        message if message.contains("string") => "texts stand in double quotes, for example: name = \"shop\"",
        _ => "the file is TOML: key = \"text\" lines under [section] lines",
    };
    source.diagnostic(&place, show, why.message(), help)
}
