//! `plugins`, `[limits.…]`, and what the file says to a plugin where one is used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Document};
use toml_edit::{Item, TableLike, Value};

use super::TableConfig;
use super::diagnostic::{Place, Show};
use super::nearest;
use super::section::{Problems, Section, shown};
use crate::plugin::{Failure, Limits, NAMES, Plugin, is_name};

/// The plugins of a sync.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Plugins {
    /// Where the components lie, each `NAME.wasm`.
    pub folder: Option<PathBuf>,
    /// What single plugins may use up, where it is not the usual.
    pub limits: BTreeMap<String, Limits>,
}

/// A plugin in a place where it plays a role.
#[derive(Clone, PartialEq, Eq)]
pub struct PluginUse {
    pub name: String,
    /// What the file says to it, as a JSON object.
    pub config: String,
    pub place: Place,
}

/// What the file says to a plugin is its own affair, and may be anything.
impl std::fmt::Debug for PluginUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PluginUse").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Plugins {
    /// What a plugin may use up.
    pub fn limits(&self, name: &str) -> Limits {
        self.limits.get(name).copied().unwrap_or_default()
    }

    /// The file of a plugin, if the configuration says where plugins lie. Fails if there is none in that folder, and then tells the
    /// name that was probably meant.
    pub fn file(&self, name: &str) -> Result<Option<PathBuf>, Failure> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let file = Plugin::file(folder, name);
        match file.exists() {
            true => Ok(Some(file)),
            false => {
                let message = format!("there is no file {}", file.display());
                Err(Failure::new(name, "file", message).hint(others(folder, name)))
            }
        }
    }
}

/// What to do about a plugin that is not in the folder.
fn others(folder: &Path, name: &str) -> String {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_plugin = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "wasm");
    let names = files.map(|file| file.path()).filter(is_plugin);
    let mut names: Vec<String> = names.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    match &names[..] {
        [] => "put the plugin there".to_owned(),
        names => nearest::suggestion(name, names.iter().map(String::as_str), "plugins there"),
    }
}

/// The plugin that plays this role by a section of its name, if there is one.
pub(super) fn read_role(
    section: &Section<'_>,
    role: &str,
    example: &str,
    problems: &mut Problems<'_>,
) -> Option<PluginUse> {
    let field = section.field(role, problems.source)?;
    if field.item.as_table_like().is_none() {
        section.wrong_type(&field, "a section that names a plugin", example, problems);
        return None;
    }
    let part = Section::open(&field, format!("`{role}` of {}", section.title), section.show, problems)?;
    if part.field("plugin", problems.source).is_none() {
        let help = format!("for example: {role} = {example}");
        problems.add(&field.value, section.show, format!("`{role}` names no plugin"), help);
        return None;
    }
    read_use(&part, problems)
}

/// The plugin that a section names, with everything else that stands there for its configuration.
pub(super) fn read_use(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<PluginUse> {
    let name = section.text("plugin", "\"merge-fields\"", problems)?;
    if !is_name(&name.name) {
        let what = format!("`{}` cannot be the name of a plugin", shown(&name.name));
        let help = format!("it is the name of its file without .wasm: {NAMES}");
        problems.add(&name.place, section.show, what, help);
        return None;
    }
    let mut config = Map::new();
    for field in section.fields(problems.source).iter().filter(|field| field.name != "plugin") {
        match document(field.item) {
            Some(value) => {
                config.insert(field.name.to_owned(), value);
            }
            None => {
                let what = format!("`{}` holds a number that is none, which plugins cannot be told", shown(field.name));
                problems.add(&field.key, Show::Keys, what, "write a finite number");
            }
        }
    }
    Some(PluginUse { name: name.name, config: Document::Object(config).to_string(), place: name.place })
}

/// The folder and the limits. `tables` are the sections that may use plugins.
pub(super) fn read(root: &Section<'_>, folder: &Path, tables: &[TableConfig], problems: &mut Problems<'_>) -> Plugins {
    let used: Vec<&PluginUse> = tables.iter().flat_map(TableConfig::plugins).map(|(_, used)| used).collect();
    let named = root.text("plugins", "\"plugins\"", problems);
    if let (None, None, Some(first)) = (&named, root.field("plugins", problems.source), used.first()) {
        let help = "name the folder of its file at the top: plugins = \"plugins\"";
        problems.add(&first.place, Show::Line, format!("nothing says where the plugin `{}` lies", first.name), help);
    }
    Plugins { folder: named.map(|named| folder.join(named.name)), limits: limits(root, &used, problems) }
}

fn limits(root: &Section<'_>, used: &[&PluginUse], problems: &mut Problems<'_>) -> BTreeMap<String, Limits> {
    let mut all = BTreeMap::new();
    let Some(field) = root.field("limits", problems.source) else { return all };
    let Some(section) = Section::open(&field, "[limits.NAME]".to_owned(), Show::Line, problems) else { return all };
    for field in section.fields(problems.source) {
        let title = format!("[limits.{}]", shown(field.name));
        let Some(section) = Section::open(&field, title, Show::Line, problems) else { continue };
        if !used.iter().any(|plugin| plugin.name == field.name) {
            let help =
                nearest::suggestion(field.name, used.iter().map(|plugin| plugin.name.as_str()), "plugins in use");
            problems.add(&field.key, Show::Line, format!("no table uses a plugin `{}`", shown(field.name)), help);
        }
        section.only(&Limits::NAMED.map(|limit| limit.name), &|_| None, problems);
        let mut limits = Limits::default();
        for limit in &Limits::NAMED {
            let Some(field) = section.field(limit.name, problems.source) else { continue };
            let Some(number) = field.item.as_integer() else {
                section.wrong_type(&field, &format!("a whole number of {}", limit.unit), "64", problems);
                continue;
            };
            if !limit.set(&mut limits, number) {
                let what = format!("`{}` must be between 1 and {}", limit.name, limit.most);
                problems.add(&field.value, Show::Line, what, format!("it counts {}", limit.unit));
            }
        }
        all.insert(field.name.to_owned(), limits);
    }
    all
}

/// What a plugin is told of a value of the file; `None` if it holds a number that is none.
fn document(item: &Item) -> Option<Document> {
    match item {
        Item::None => Some(Document::Null),
        Item::Value(value) => value_document(value),
        Item::Table(table) => members(table),
        Item::ArrayOfTables(tables) => {
            tables.iter().map(|table| members(table)).collect::<Option<_>>().map(Document::Array)
        }
    }
}

fn value_document(value: &Value) -> Option<Document> {
    Some(match value {
        Value::String(text) => Document::from(text.value().as_str()),
        Value::Integer(number) => Document::from(*number.value()),
        Value::Float(number) => Document::Number(serde_json::Number::from_f64(*number.value())?),
        Value::Boolean(truth) => Document::from(*truth.value()),
        Value::Datetime(time) => Document::from(time.value().to_string()),
        Value::Array(list) => Document::Array(list.iter().map(value_document).collect::<Option<_>>()?),
        Value::InlineTable(table) => return members(table),
    })
}

fn members(table: &dyn TableLike) -> Option<Document> {
    let members = table.iter().map(|(name, item)| Some((name.to_owned(), document(item)?)));
    members.collect::<Option<Map<_, _>>>().map(Document::Object)
}
