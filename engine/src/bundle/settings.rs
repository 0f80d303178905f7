//! From settings with placeholders to sections of a configuration file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml_edit::{DocumentMut, Item, Key, Table, Value};

use super::Manifest;
use super::manifest::{Kind, Setting, is_parameter};
use crate::config::{Config, NAME_RULE, as_name, is_name};
use crate::error::Error;

/// What every parameter is set to.
pub(super) type Settings = BTreeMap<String, Setting>;

impl Manifest {
    /// What the parameters come to with what was `given` on the command line, in a sync with these nodes; or all that is
    /// wrong with that.
    pub(super) fn settings(&self, given: &[(String, String)], nodes: &[String]) -> Result<Settings, Vec<String>> {
        let (mut settings, mut problems) = (Settings::new(), Vec::new());
        for (at, (name, _)) in given.iter().enumerate() {
            if !self.parameters.contains_key(name) {
                let known = self.parameters.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                let known = if known.is_empty() { "it takes none".to_owned() } else { format!("it takes {known}") };
                problems.push(format!("the bundle takes no parameter `{name}`; {known}"));
            } else if given[..at].iter().any(|(other, _)| other == name) {
                problems.push(format!("`{name}` is set twice"));
            }
        }
        for (name, parameter) in &self.parameters {
            let kind = parameter.kind;
            let setting = match given.iter().find(|(other, _)| other == name) {
                Some((_, text)) => match kind.read(text) {
                    Some(setting) => setting,
                    None => {
                        problems.push(format!("`{name}` takes {}, and `{text}` is none", one_of(kind)));
                        continue;
                    }
                },
                None => match &parameter.default {
                    Some(default) => default.clone(),
                    None => {
                        problems.push(format!(
                            "`{name}` has to be set ({}): --set {name}={}",
                            parameter.about,
                            kind.as_str().to_uppercase()
                        ));
                        continue;
                    }
                },
            };
            if let (Kind::Node, Setting::Text(node)) = (kind, &setting)
                && !nodes.contains(node)
            {
                let all = nodes.join(", ");
                problems
                    .push(format!("`{name}` names a node, and none is called `{node}`: --set {name}= one of {all}"));
                continue;
            }
            settings.insert(name.clone(), setting);
        }
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }

    /// The sections `[tables.…]` with these settings, comments and all, and the names of the tables.
    pub(super) fn sections(&self, settings: &Settings) -> Result<(String, Vec<String>), String> {
        let mut filler = Filler { settings, used: BTreeSet::new() };
        let mut tables = filler.table(&self.tables)?;
        if let Some(idle) = settings.keys().find(|name| !filler.used.contains(*name)) {
            return Err(format!("no setting has the parameter `{idle}` in it"));
        }
        // Written out one by one: the file that they go into may have tables already.
        tables.set_implicit(true);
        tables.set_dotted(false);
        let names: Vec<String> = tables.iter().map(|(name, _)| name.to_owned()).collect();
        for name in &names {
            let item = tables.get_mut(name).map(std::mem::take).unwrap_or_default();
            let mut table =
                item.into_table().map_err(|_| format!("`tables.{}` is no section", super::contents::shown(name)))?;
            table.set_dotted(false);
            table.set_implicit(false);
            tables.insert(name, Item::Table(table));
        }
        let mut document = DocumentMut::new();
        document.insert("tables", Item::Table(tables));
        Ok((format!("{}\n", document.to_string().trim()), names))
    }

    /// Tries the settings in a sync that was made up for it, with samples where nothing is said; and whether the plugins of
    /// the bundle are those that the tables use. The sync.
    pub fn try_settings(&self, given: &[(String, String)]) -> Result<Config, Vec<String>> {
        let mut nodes = Vec::new();
        let mut said = given.to_vec();
        for (name, parameter) in &self.parameters {
            let set = given.iter().find(|(other, _)| other == name).map(|(_, text)| text.clone());
            let default = parameter.default.as_ref().map(Setting::to_string);
            if set.is_none() && default.is_none() {
                said.push((
                    name.clone(),
                    match parameter.kind {
                        Kind::Text => name.clone(),
                        Kind::Node => as_name(name).unwrap_or_default(),
                        Kind::Integer => "1".to_owned(),
                        Kind::Boolean => "true".to_owned(),
                    },
                ));
            }
            if parameter.kind == Kind::Node {
                let node = set.or(default).unwrap_or_else(|| as_name(name).unwrap_or_default());
                if !is_name(&node) {
                    return Err(vec![format!("`{name}` names a node, and none can be called `{node}`: {NAME_RULE}")]);
                }
                nodes.push(node);
            }
        }
        nodes.extend(["one", "other"].map(str::to_owned));
        nodes.sort_unstable();
        nodes.dedup();
        let settings = self.settings(&said, &nodes)?;
        let (sections, _) = self.sections(&settings).map_err(|why| vec![why])?;
        let nodes: String = nodes.iter().map(|node| format!("nodes.{node}.url = \"sqlite:{node}.db\"\n")).collect();
        let text = format!("name = \"trial\"\nplugins = \"plugins\"\n{nodes}{sections}");
        let config = Config::parse(Path::new("the tables of bundle.toml"), text, &|_| None).map_err(|why| {
            let why = without_lines(why);
            let help = match why.contains("no node is called") {
                true => "\n    a bundle names a node by a parameter: [parameters.branch] of the type \"node\", and \"{branch}\" in the tables",
                false => "",
            };
            vec![format!("in a sync that was made up to try it: {why}{help}")]
        })?;
        self.compare_plugins(&config.plugins_used()).map_err(|why| vec![why])?;
        Ok(config)
    }

    /// Fails unless the tables use these plugins and no others.
    fn compare_plugins(&self, used: &[&str]) -> Result<(), String> {
        if let Some(missing) = used.iter().find(|name| !self.plugins.contains_key(**name)) {
            return Err(format!("its tables use the plugin `{missing}`, which is not in it"));
        }
        match self.plugins.keys().find(|name| !used.contains(&name.as_str())) {
            Some(idle) => Err(format!("none of its tables uses the plugin `{idle}`")),
            None => Ok(()),
        }
    }
}

/// What is wrong with a file that was made up, without the numbers of its lines: those of `bundle.toml` are others.
fn without_lines(why: Error) -> String {
    match why {
        Error::Config(mut found) => {
            found.iter_mut().for_each(|problem| problem.line = 0);
            Error::Config(found).to_string()
        }
        why => why.to_string(),
    }
}

fn one_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "a text",
        Kind::Integer => "an integer",
        Kind::Boolean => "true or false",
        Kind::Node => "a node",
    }
}

/// Puts settings in the place of `{parameter}`, in values and in keys.
struct Filler<'a> {
    settings: &'a Settings,
    used: BTreeSet<String>,
}

impl Filler<'_> {
    /// A text with everything filled in. Braces around what could be no name of a parameter stand for themselves.
    fn text(&mut self, text: &str) -> Result<String, String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            filled += before;
            match after.split_once('}').filter(|(name, _)| is_parameter(name)) {
                Some((name, after)) => {
                    filled += &self.setting(name)?.to_string();
                    rest = after;
                }
                None => {
                    filled.push('{');
                    rest = after;
                }
            }
        }
        Ok(filled + rest)
    }

    fn setting(&mut self, name: &str) -> Result<Setting, String> {
        self.used.insert(name.to_owned());
        let setting = self.settings.get(name).cloned();
        setting.ok_or_else(|| format!("`{{{name}}}` stands in a setting, and there is no [parameters.{name}]"))
    }

    fn key(&mut self, key: &Key) -> Result<Key, String> {
        let filled = self.text(key.get())?;
        match filled == key.get() {
            true => Ok(key.clone()),
            false => Ok(Key::new(filled)
                .with_leaf_decor(key.leaf_decor().clone())
                .with_dotted_decor(key.dotted_decor().clone())),
        }
    }

    fn table(&mut self, table: &Table) -> Result<Table, String> {
        let mut filled = table.clone();
        filled.clear();
        for (name, item) in table {
            let key = self.key(table.key(name).unwrap_or(&Key::new(name)))?;
            let item = self.item(item)?;
            if filled.contains_key(key.get()) {
                return Err(format!("with these settings `{}` stands twice in it", super::contents::shown(key.get())));
            }
            filled.insert_formatted(&key, item);
        }
        Ok(filled)
    }

    fn item(&mut self, item: &Item) -> Result<Item, String> {
        Ok(match item {
            Item::None => Item::None,
            Item::Value(value) => Item::Value(self.value(value)?),
            Item::Table(table) => Item::Table(self.table(table)?),
            Item::ArrayOfTables(tables) => {
                let mut filled = tables.clone();
                for table in filled.iter_mut() {
                    *table = self.table(table)?;
                }
                Item::ArrayOfTables(filled)
            }
        })
    }

    fn value(&mut self, value: &Value) -> Result<Value, String> {
        let mut filled: Value = match value {
            Value::String(text) => {
                let text = text.value();
                let alone = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
                match alone.filter(|name| is_parameter(name)) {
                    Some(name) => match self.setting(name)? {
                        Setting::Boolean(truth) => truth.into(),
                        Setting::Integer(number) => number.into(),
                        Setting::Text(text) => text.into(),
                    },
                    None => match self.text(text)? {
                        same if same == *text => return Ok(value.clone()),
                        other => other.into(),
                    },
                }
            }
            Value::Array(list) => {
                let mut filled = list.clone();
                for value in filled.iter_mut() {
                    *value = self.value(value)?;
                }
                return Ok(Value::Array(filled));
            }
            Value::InlineTable(table) => {
                let mut filled = table.clone();
                filled.clear();
                for (name, value) in table {
                    let key = self.key(table.key(name).unwrap_or(&Key::new(name)))?;
                    let value = self.value(value)?;
                    if filled.contains_key(key.get()) {
                        let name = super::contents::shown(key.get());
                        return Err(format!("with these settings `{name}` stands twice in it"));
                    }
                    filled.insert_formatted(&key, value);
                }
                return Ok(Value::InlineTable(filled));
            }
            _ => return Ok(value.clone()),
        };
        *filled.decor_mut() = value.decor().clone();
        Ok(filled)
    }
}
