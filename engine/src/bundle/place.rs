//! Adding a bundle to a sync: worked out first, then written.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml_edit::{Document, Table};

use super::Bundle;
use super::part::{self, Part};
use crate::config::{Config, PluginUse, TableConfig};
use crate::digest::digest;
use crate::error::{Error, Result};
use crate::fault;
use crate::files::{Alone, alone_at, write_new, write_whole, write_whole_if};
use crate::plugin::{Host, LOCK, Lock, Plugin, Role};

/// What adding a bundle comes to. Nothing is written before [`Addition::carry_out`].
#[derive(Debug)]
pub struct Addition {
    /// The sync as it will be.
    pub config: Config,
    pub plugins: Vec<Placed>,
    /// The tables that the bundle brings.
    pub tables: Vec<String>,
    /// Whether the file has these very tables of this bundle already.
    pub is_known: bool,
    /// The version in whose place this one comes.
    pub replaced: Option<String>,
    /// Settings of that one that this one does not take, by their names, and tables that go with it.
    pub dropped: Vec<String>,
    pub gone: Vec<String>,
    /// The pins as they were read, and as they become if that is anything new.
    pinned: Lock,
    lock: Option<Lock>,
    /// The file as it was read, and as it becomes.
    before: String,
    text: String,
    /// Nobody else writes what was read until this is carried out.
    _alone: Alone,
}

/// A plugin and where it goes.
#[derive(Debug)]
pub struct Placed {
    pub name: String,
    pub version: String,
    pub sha256: String,
    pub file: PathBuf,
    /// `None` if that very file lies there already.
    bytes: Option<Vec<u8>>,
    /// Whether it comes in the place of another one.
    over: bool,
}

impl Placed {
    pub fn is_new(&self) -> bool {
        self.bytes.is_some()
    }
}

impl Addition {
    /// Works out what the file at `path` becomes, and refuses what does not fit into it: all of it, or nothing. With `replace`
    /// it comes in the place of whatever version of the bundle is there, set as that was where nothing else is `given`.
    pub fn prepare(
        bundle: &Bundle,
        host: &Host,
        path: &Path,
        given: &[(String, String)],
        replace: bool,
    ) -> Result<Addition> {
        let alone = alone_at(path);
        let manifest = &bundle.manifest;
        let name = &manifest.name;
        let refused = |why: String| Error::Refused(vec![why]);
        let before = Config::text(path)?;
        let shown = path.display();
        let former = Part::of(name, &before).map_err(|why| refused(format!("{shown}:{why}")))?;
        let is_there = |Part { line, .. }: &Part| {
            refused(format!(
                "{shown}:{line}: the bundle `{name}` is in it already, of another version or with other settings; --replace puts \
                 this in its place, down to `# end of bundle {name}`, and with it what was changed there by hand"
            ))
        };
        let version = manifest.version.to_string();
        if let Some(former) = former.as_ref().filter(|former| former.version != version && !replace) {
            return Err(is_there(former));
        }
        let (mut given, mut dropped) = (given.to_vec(), Vec::new());
        if let Some(former) = former.as_ref().filter(|_| replace) {
            let set = former.set.iter().filter(|(name, _)| given.iter().all(|(other, _)| other != name)).cloned();
            let (kept, left): (Vec<_>, Vec<_>) = set.partition(|(name, _)| manifest.parameters.contains_key(name));
            given.extend(kept);
            // A value may be a secret.
            dropped = left.into_iter().map(|(name, _)| name).collect();
        }
        // As they stand in the manifest, in whatever order they were said.
        given.sort_by_key(|(name, _)| manifest.parameters.keys().position(|known| known == name));
        let others = match &former {
            Some(former) => format!("{}{}", &before[..former.at.start], &before[former.at.end..]),
            None => before.clone(),
        };
        let (nodes, present) = names(path, &others)?;
        // First with the nodes that there are, as a name that is none of them is no fault of the bundle's.
        let settings = manifest.settings(&given, &nodes).map_err(Error::Refused)?;
        manifest.try_settings(&given).map_err(Error::Refused)?;
        let (sections, tables) = manifest.sections(&settings).map_err(refused)?;
        let part = part::written(name, &version, &given, &sections);
        let is_known = former.as_ref().is_some_and(|former| before[former.at.clone()] == part);
        if let Some(former) = former.as_ref().filter(|_| !is_known && !replace) {
            return Err(is_there(former));
        }
        let gone = match &former {
            Some(former) if !is_known => {
                let had = Document::parse(&before[former.at.clone()]).map(|part| keys(&part, "tables"));
                let goes = |table: &String| !tables.contains(table) && !present.contains(table);
                had.unwrap_or_default().into_iter().filter(goes).collect()
            }
            _ => Vec::new(),
        };
        let doubles = tables.iter().filter(|table| present.contains(table)).map(|table| {
            format!("{shown}: the table `{table}` is configured already; remove its section, or leave the bundle")
        });
        let doubles: Vec<String> = doubles.collect();
        if !doubles.is_empty() {
            return Err(Error::Refused(doubles));
        }
        let text = match &former {
            _ if is_known => before.clone(),
            Some(former) => format!("{}{part}{}", &before[..former.at.start], &before[former.at.end..]),
            None => {
                let newline = if before.ends_with('\n') || before.is_empty() { "" } else { "\n" };
                format!("{before}{newline}\n{part}")
            }
        };
        let text = if is_known || manifest.plugins.is_empty() { text } else { with_folder(text) };
        let config = Config::parse(path, text.clone(), &|name| std::env::var_os(name)).map_err(|why| {
            refused(format!(
                "with the tables of `{name}` the configuration would not be valid, and nothing was changed:\n{why}"
            ))
        })?;
        let folder = config.plugins.folder.clone().unwrap_or_default();
        let lock = Lock::read(&config.folder().join(LOCK)).map_err(refused)?;
        let (mut loaded, mut plugins, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        for name in manifest.plugins.keys() {
            let placed = bundle.load(host, name, config.plugins.limits(name)).map_err(|failure| failure.to_string());
            let other = config.tables.iter().find(|table| !tables.contains(&table.name) && uses(table, name));
            match placed.and_then(|plugin| Ok((place(bundle, &plugin, &folder, &lock, replace, other)?, plugin))) {
                Ok((placed, plugin)) => {
                    plugins.push(placed);
                    loaded.push(plugin);
                }
                Err(why) => problems.push(why),
            }
        }
        problems.extend(misfits(&config, loaded.iter()));
        if !problems.is_empty() {
            return Err(Error::Refused(problems));
        }
        let pinned = lock.clone();
        let mut lock = lock;
        let lock = lock.set(&loaded.iter().collect::<Vec<_>>()).then_some(lock);
        let replaced = former.filter(|_| !is_known).map(|former| former.version);
        Ok(Addition {
            config,
            plugins,
            tables,
            is_known,
            replaced,
            dropped,
            gone,
            pinned,
            lock,
            before,
            text,
            _alone: alone,
        })
    }

    /// Writes what is not there yet. The configuration comes last, so that whatever stops this half-way leaves a sync that works
    /// as before; where plugins are replaced the pins do, and until then the tables that use them stand still. It can be done
    /// again.
    pub fn carry_out(&self) -> Result<()> {
        let replaces = self.plugins.iter().any(|plugin| plugin.over);
        for plugin in &self.plugins {
            let Some(bytes) = &plugin.bytes else { continue };
            if let Some(folder) = plugin.file.parent() {
                fs::create_dir_all(folder).map_err(|why| unwritable(folder, &why))?;
            }
            let write = if plugin.over { write_whole } else { write_new };
            write(&plugin.file, bytes).map_err(|why| unwritable(&plugin.file, &why))?;
        }
        fault::blocking_point("bundle-plugins-written")?;
        if replaces { self.configure() } else { self.pin() }?;
        fault::blocking_point("bundle-half-told")?;
        if replaces { self.pin() } else { self.configure() }
    }

    fn pin(&self) -> Result<()> {
        let Some(lock) = &self.lock else { return Ok(()) };
        let path = self.config.folder().join(LOCK);
        replace(&path, &lock.write(), || Lock::read(&path).as_ref() == Ok(&self.pinned))
    }

    fn configure(&self) -> Result<()> {
        if self.is_known {
            return Ok(());
        }
        let path = &self.config.path;
        replace(path, &self.text, || Config::text(path).is_ok_and(|text| text == self.before))
    }
}

/// Writes a file in place of what was read of it, and refuses if something else is there now.
fn replace(path: &Path, text: &str, is_as_read: impl FnOnce() -> bool) -> Result<()> {
    if write_whole_if(path, text.as_bytes(), is_as_read).map_err(|why| unwritable(path, &why))? {
        return Ok(());
    }
    let why = format!("{} was changed meanwhile, and is left as it is; add the bundle again", path.display());
    Err(Error::Refused(vec![why]))
}

/// The names of the nodes and tables of a file that may not be whole: a sync may have no tables before a bundle brings them.
fn names(path: &Path, text: &str) -> Result<(Vec<String>, Vec<String>)> {
    // Told with its line, as everywhere.
    Config::signing_keys(path, text)?;
    let document = Document::parse(text).map_err(|why| Error::Internal(why.to_string()))?;
    Ok((keys(&document, "nodes"), keys(&document, "tables")))
}

/// The names of what stands in a section.
fn keys(document: &Table, section: &str) -> Vec<String> {
    let table = document.get(section).and_then(|item| item.as_table_like());
    table.map(|table| table.iter().map(|(name, _)| name.to_owned()).collect()).unwrap_or_default()
}

/// The text of a file that says where plugins lie, below its `name` if it did not say so.
fn with_folder(mut text: String) -> String {
    let Ok(document) = Document::parse(text.as_str()) else { return text };
    if document.contains_key("plugins") {
        return text;
    }
    let end = document.get("name").and_then(|item| item.span()).map_or(0, |span| span.end);
    let line = text[end..].find('\n').map_or(text.len(), |at| end + at + 1);
    let newline = if line == text.len() && !text.ends_with('\n') { "\n" } else { "" };
    text.insert_str(line, &format!("{newline}plugins = \"plugins\"\n"));
    text
}

/// What tables ask of plugins that those cannot do, as far as it can be told without the tables.
pub fn misfits<'a>(config: &Config, plugins: impl Iterator<Item = &'a Plugin>) -> Vec<String> {
    let plugins: Vec<&Plugin> = plugins.collect();
    let uses = config.tables.iter().flat_map(|table| table.plugins().map(move |used| (table, used)));
    let misfit = |(table, (role, used)): (&TableConfig, (Role, &PluginUse))| {
        let plugin = plugins.iter().find(|plugin| plugin.name == used.name)?;
        Some(plugin.fits(role, &table.name, &used.config).err()?.to_string())
    };
    let mut misfits: Vec<String> = Vec::new();
    for misfit in uses.filter_map(misfit) {
        // Several nodes may say the same to it.
        if !misfits.contains(&misfit) {
            misfits.push(misfit);
        }
    }
    misfits
}

/// Whether a table has a use for the plugin of this name.
fn uses(table: &TableConfig, name: &str) -> bool {
    table.plugins().any(|(_, used)| used.name == name)
}

/// Where a plugin goes. Another one of its name is replaced if that was said, and no table but the bundle's, such as `other`, is
/// in need of it.
fn place(
    bundle: &Bundle,
    plugin: &Plugin,
    folder: &Path,
    lock: &Lock,
    replace: bool,
    other: Option<&TableConfig>,
) -> std::result::Result<Placed, String> {
    let name = &plugin.name;
    let file = Plugin::file(folder, name);
    let shown = file.display();
    let bytes = bundle.contents.plugin(name).map(<[u8]>::to_vec);
    let (is, bytes) = match fs::read(&file) {
        Ok(there) if digest(&there) == plugin.digest => (None, None),
        Ok(_) => (Some(format!("{shown} is")), bytes),
        Err(why) if why.kind() == ErrorKind::NotFound => (None, bytes),
        Err(why) => return Err(format!("{shown} cannot be read: {why}; check its permissions")),
    };
    let pinned = lock.pin(name).filter(|pin| pin.sha256 != plugin.digest).map(|_| format!("{LOCK} pins"));
    let over = match (pinned.or(is), other) {
        (None, _) => false,
        (Some(_), None) if replace => true,
        (Some(there), other) => {
            let help = match other {
                Some(table) => format!("`{}`, which is no table of the bundle, uses it as well", table.name),
                None => "--replace puts that of the bundle in its place".to_owned(),
            };
            return Err(format!(
                "{there} another plugin `{name}` than the bundle brings, and a sync has one of a name; {help}"
            ));
        }
    };
    let version = plugin.description.version.clone();
    Ok(Placed { name: name.clone(), version, sha256: plugin.digest.clone(), file, bytes, over })
}

fn unwritable(path: &Path, why: &std::io::Error) -> Error {
    Error::Usage(format!(
        "{} cannot be written: {why}; check its permissions, and add the bundle again",
        path.display()
    ))
}
