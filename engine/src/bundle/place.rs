//! Adding a bundle to a sync: worked out first, then written.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use toml_edit::Document;

use super::{Bundle, sha256};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::fault;
use crate::plugin::{Host, LOCK, Lock, Plugin};

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
    lock: Option<String>,
    text: String,
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
}

impl Placed {
    pub fn is_new(&self) -> bool {
        self.bytes.is_some()
    }
}

impl Addition {
    /// Works out what the file at `path` becomes, and refuses what does not fit into it: all of it, or nothing.
    pub fn prepare(bundle: &Bundle, host: &Host, path: &Path, given: &[(String, String)]) -> Result<Addition> {
        let manifest = &bundle.manifest;
        let name = &manifest.name;
        let refused = |why: String| Error::Refused(vec![why]);
        let before = Config::text(path)?;
        let (nodes, present) = names(path, &before)?;
        let settings = manifest.settings(given, &nodes).map_err(Error::Refused)?;
        let (sections, tables) = manifest.sections(&settings).map_err(refused)?;
        let part = format!(
            "# bundle {name} {}: from here to its end `concord bundle add` wrote it\n{sections}# end of bundle {name}\n",
            manifest.version
        );
        let is_known = before.contains(&part);
        let text = if is_known {
            before
        } else {
            let shown = path.display();
            if let Some(at) = before.lines().position(|line| line.starts_with(&format!("# bundle {name} "))) {
                return Err(refused(format!(
                    "{shown}:{}: the bundle `{name}` is in it already, of another version or with other settings; remove that \
                     part, down to `# end of bundle {name}`, and add it again",
                    at + 1
                )));
            }
            let doubles: Vec<String> = tables
                .iter()
                .filter(|table| present.contains(table))
                .map(|table| {
                    format!(
                        "{shown}: the table `{table}` is configured already; remove its section, or leave the bundle"
                    )
                })
                .collect();
            if !doubles.is_empty() {
                return Err(Error::Refused(doubles));
            }
            let before = if manifest.plugins.is_empty() { before } else { with_folder(before) };
            let newline = if before.ends_with('\n') || before.is_empty() { "" } else { "\n" };
            format!("{before}{newline}\n{part}")
        };
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
            match placed.and_then(|plugin| Ok((place(bundle, &plugin, &folder, &lock)?, plugin))) {
                Ok((placed, plugin)) => {
                    plugins.push(placed);
                    loaded.push(plugin);
                }
                Err(why) => problems.push(why),
            }
        }
        if !problems.is_empty() {
            return Err(Error::Refused(problems));
        }
        let mut pinned = lock;
        let lock = pinned.set(&loaded.iter().collect::<Vec<_>>()).then(|| pinned.write());
        Ok(Addition { config, plugins, tables, is_known, lock, text })
    }

    /// Writes what is not there yet. The configuration comes last, so that whatever stops this half-way leaves a sync that works
    /// as before, and it can be done again.
    pub fn carry_out(&self) -> Result<()> {
        for plugin in &self.plugins {
            let Some(bytes) = &plugin.bytes else { continue };
            if let Some(folder) = plugin.file.parent() {
                fs::create_dir_all(folder).map_err(|why| unwritable(folder, &why))?;
            }
            write(&plugin.file, bytes, false)?;
        }
        fault::blocking_point("bundle-plugins-written")?;
        if let Some(text) = &self.lock {
            write_whole(&self.config.folder().join(LOCK), text.as_bytes())?;
        }
        fault::blocking_point("bundle-plugins-pinned")?;
        if !self.is_known {
            write_whole(&self.config.path, self.text.as_bytes())?;
        }
        Ok(())
    }
}

/// The names of the nodes and tables of a file that may not be whole: a sync may have no tables before a bundle brings them.
fn names(path: &Path, text: &str) -> Result<(Vec<String>, Vec<String>)> {
    // Told with its line, as everywhere.
    Config::signing_keys(path, text)?;
    let document = Document::parse(text).map_err(|why| Error::Internal(why.to_string()))?;
    let keys = |section: &str| {
        let table = document.get(section).and_then(|item| item.as_table_like());
        table.map(|table| table.iter().map(|(name, _)| name.to_owned()).collect()).unwrap_or_default()
    };
    Ok((keys("nodes"), keys("tables")))
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

/// Where a plugin goes, unless another one of its name is there.
fn place(bundle: &Bundle, plugin: &Plugin, folder: &Path, lock: &Lock) -> std::result::Result<Placed, String> {
    let name = &plugin.name;
    let file = Plugin::file(folder, name);
    let shown = file.display();
    let another = |where_: String| {
        format!(
            "{where_} another plugin `{name}` than the bundle brings, and a sync has one of a name; see which of the two the tables need"
        )
    };
    if lock.pin(name).is_some_and(|pin| pin.sha256 != plugin.digest) {
        return Err(another(format!("{LOCK} pins")));
    }
    let bytes = match fs::read(&file) {
        Ok(there) if sha256(&there) == plugin.digest => None,
        Ok(_) => return Err(another(format!("{shown} is"))),
        Err(why) if why.kind() == ErrorKind::NotFound => bundle.contents.plugin(name).map(<[u8]>::to_vec),
        Err(why) => return Err(format!("{shown} cannot be read: {why}; check its permissions")),
    };
    let version = plugin.description.version.clone();
    Ok(Placed { name: name.clone(), version, sha256: plugin.digest.clone(), file, bytes })
}

/// Writes a file that is whole at every moment, in place of one of the same name; where that is a link, in the place it
/// leads to. Owner and permissions stay.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    write(path, bytes, true)
}

fn write(path: &Path, bytes: &[u8], over: bool) -> Result<()> {
    let failed = |why: std::io::Error| unwritable(path, &why);
    let path = if over { path.canonicalize().unwrap_or_else(|_| path.to_owned()) } else { path.to_owned() };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut draft = draft_of(&path, folder).map_err(failed)?;
    draft.write_all(bytes).map_err(failed)?;
    draft.as_file().sync_all().map_err(failed)?;
    match over {
        true => draft.persist(&path).map_err(|why| failed(why.error))?,
        false => draft.persist_noclobber(&path).map_err(|why| failed(why.error))?,
    };
    Ok(())
}

/// A file with the owner and permissions of the one in whose place it comes, or those that anybody's files have.
#[cfg(unix)]
fn draft_of(path: &Path, folder: &Path) -> std::io::Result<NamedTempFile> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
    let Ok(old) = fs::metadata(path) else {
        return tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o666)).tempfile_in(folder);
    };
    // Until it is as the old one nobody else may look into it: there may be passwords in it.
    let draft = NamedTempFile::new_in(folder)?;
    let new = draft.as_file().metadata()?;
    if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
        fchown(draft.as_file(), Some(old.uid()), Some(old.gid()))?;
    }
    draft.as_file().set_permissions(old.permissions())?;
    Ok(draft)
}

#[cfg(not(unix))]
fn draft_of(_: &Path, folder: &Path) -> std::io::Result<NamedTempFile> {
    NamedTempFile::new_in(folder)
}

fn unwritable(path: &Path, why: &std::io::Error) -> Error {
    Error::Usage(format!(
        "{} cannot be written: {why}; check its permissions, and add the bundle again",
        path.display()
    ))
}
