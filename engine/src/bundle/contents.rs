//! What a bundle consists of: a few files in fixed places, none of them large.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::plugin::is_name;

pub(super) const MOST_FILES: usize = 1000;

/// The same as a plugin's file may have where nobody says otherwise: 32 MiB.
pub(super) const LARGEST_FILE: u64 = 32 << 20;

/// All files together, as they are unpacked: 64 MiB.
pub(super) const LARGEST: u64 = 64 << 20;

const PLACES: &str =
    "a bundle holds bundle.toml, README.md, LICENSE, plugins/NAME.wasm and fixtures/NAME/CASE.json, and nothing else";

/// The files of a bundle, by their names in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    files: BTreeMap<String, Vec<u8>>,
    /// Bytes of all files.
    size: u64,
}

impl Contents {
    /// Reads a folder. What begins with a point is the author's own and left out; links are followed nowhere.
    pub fn of_folder(folder: &Path) -> Result<Contents, String> {
        let mut contents = Contents::default();
        contents.gather(folder, "")?;
        Ok(contents)
    }

    fn gather(&mut self, folder: &Path, within: &str) -> Result<(), String> {
        let failed = |what: &Path, why: std::io::Error| format!("{} cannot be read: {why}", what.display());
        for entry in std::fs::read_dir(folder).map_err(|why| failed(folder, why))? {
            let entry = entry.map_err(|why| failed(folder, why))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let (path, name) = (entry.path(), format!("{within}{name}"));
            let kind = entry.file_type().map_err(|why| failed(&path, why))?;
            if kind.is_dir() && within.matches('/').count() < 2 {
                self.gather(&path, &format!("{name}/"))?;
            } else if kind.is_file() {
                let file = File::open(&path).map_err(|why| failed(&path, why))?;
                let size = file.metadata().map_err(|why| failed(&path, why))?.len();
                self.take(&name, size, file)?;
            } else {
                return Err(format!("`{}` is neither a file nor a folder of a bundle; {PLACES}", shown(&name)));
            }
        }
        Ok(())
    }

    /// Reads a file of `size` bytes into the bundle, unless its name is none or taken, or it is too much.
    pub(super) fn take(&mut self, name: &str, size: u64, file: impl Read) -> Result<(), String> {
        if !is_place(name) {
            return Err(format!("`{}` is no file of a bundle; {PLACES}", shown(name)));
        }
        // Where capitals do not count they would be one file.
        if let Some(other) = self.files.keys().find(|other| other.eq_ignore_ascii_case(name)) {
            return Err(format!("`{name}` stands twice in it, or as `{other}` too"));
        }
        if self.files.len() == MOST_FILES {
            return Err(format!("it holds more than {MOST_FILES} files"));
        }
        if size > LARGEST_FILE {
            return Err(format!("`{name}` has {size} bytes, and {} MiB are the most", LARGEST_FILE >> 20));
        }
        if self.size + size > LARGEST {
            return Err(format!("its files have more than {} MiB together", LARGEST >> 20));
        }
        // Memory is taken as bytes come, and not as a header says they will.
        let mut bytes = Vec::new();
        file.take(size + 1).read_to_end(&mut bytes).map_err(|why| format!("`{name}` cannot be read: {why}"))?;
        if bytes.len() as u64 != size {
            return Err(format!("`{name}` has not the {size} bytes that it is said to have"));
        }
        self.size += size;
        self.files.insert(name.to_owned(), bytes);
        Ok(())
    }

    /// Puts other bytes in a file's place.
    pub(super) fn replace(&mut self, name: &str, bytes: Vec<u8>) {
        let old = self.files.insert(name.to_owned(), bytes);
        self.size = self.size - old.map_or(0, |old| old.len() as u64) + self.files[name].len() as u64;
    }

    /// In the order of their names.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn text(&self, name: &str) -> Result<&str, String> {
        let bytes = self.files.get(name).ok_or_else(|| format!("there is no {name} in it"))?;
        std::str::from_utf8(bytes).map_err(|_| format!("{name} is not valid UTF-8"))
    }

    pub fn plugin(&self, name: &str) -> Option<&[u8]> {
        self.files.get(&format!("plugins/{name}.wasm")).map(Vec::as_slice)
    }

    /// Names and files of the plugins.
    pub fn plugins(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files().filter_map(|(name, bytes)| Some((name.strip_prefix("plugins/")?.strip_suffix(".wasm")?, bytes)))
    }

    /// Plugins, and names and texts of the fixtures for them.
    pub(super) fn fixtures(&self) -> impl Iterator<Item = (&str, &str, &[u8])> {
        self.files().filter_map(|(name, bytes)| {
            let (plugin, file) = name.strip_prefix("fixtures/")?.split_once('/')?;
            Some((plugin, file, bytes))
        })
    }
}

/// Whether a bundle has a place for a file of this name. No other can be in one: neither `..` nor a path from the root, and
/// no character of which two systems make different things.
fn is_place(name: &str) -> bool {
    let plain = |text: &str| {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        text.len() <= 60 && text.chars().all(good) && text.starts_with(|c: char| c.is_ascii_alphanumeric())
    };
    match name.split('/').collect::<Vec<_>>()[..] {
        ["bundle.toml" | "README.md"] => true,
        [licence] => plain(licence) && licence.starts_with("LICENSE"),
        ["plugins", file] => file.strip_suffix(".wasm").is_some_and(is_name),
        ["fixtures", plugin, file] => is_name(plugin) && plain(file) && file.ends_with(".json"),
        _ => false,
    }
}

/// A name from a stranger as a message may repeat it.
pub(super) fn shown(name: &str) -> String {
    name.chars().take(80).flat_map(char::escape_debug).collect()
}
