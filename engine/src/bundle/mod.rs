//! Bundles: plugins, settings of tables and fixtures that integrate a known set of applications, in a folder or one file.
//!
//! [`Given`] is what somebody names on the command line. A signature is looked at before anything in the file is; then
//! [`Given::open`] brings the whole bundle into memory, within limits, and checks all that can be told from it alone. An
//! [`Addition`] works out what adding it to a sync comes to, and only then writes.
//!
//! Invariant: a bundle's names of files never become paths. What is written is named by the plugin's name, which has no
//! character that a path could use.

mod contents;
mod manifest;
mod pack;
mod part;
mod place;
mod settings;
mod signature;
#[cfg(test)]
mod tests;
mod unpack;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::digest::digest;
use crate::plugin::fixture::Fixture;
use crate::plugin::{Failure, Host, Limits, Plugin};

pub use contents::Contents;
pub use manifest::{Kind, Manifest, Parameter, Setting};
pub use pack::pack;
pub use place::{Addition, misfits};
pub use signature::Signature;
pub use unpack::unpack;

/// The file that says what a bundle is.
const MANIFEST: &str = "bundle.toml";

/// A packed bundle has no more bytes than this: 64 MiB.
const LARGEST_PACKED: u64 = 64 << 20;

/// A folder or a file that is said to be a bundle.
#[derive(Debug)]
pub struct Given {
    pub path: PathBuf,
    /// What the file holds; `None` of a folder.
    bytes: Option<Vec<u8>>,
}

/// A bundle that is whole: every plugin is there and is the one that the manifest means.
#[derive(Debug)]
pub struct Bundle {
    pub manifest: Manifest,
    /// The SHA-256 of the file, in hexadecimal digits; a folder has none.
    pub sha256: Option<String>,
    pub contents: Contents,
}

impl Given {
    /// Reads the file, if it is one. Nothing of it is looked at yet.
    pub fn read(path: &Path) -> Result<Given, String> {
        let shown = path.display();
        let failed = |why: std::io::Error| match why.kind() {
            std::io::ErrorKind::NotFound => format!("there is no {shown}; name a bundle's folder or its file"),
            _ => format!("{shown} cannot be read: {why}; check its permissions"),
        };
        let known = std::fs::metadata(path).map_err(failed)?;
        if known.is_dir() {
            return Ok(Given { path: path.to_owned(), bytes: None });
        }
        if !known.is_file() {
            return Err(format!("{shown} is neither a file nor a folder"));
        }
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(LARGEST_PACKED + 1).read_to_end(&mut bytes).map_err(failed)?;
        match bytes.len() as u64 > LARGEST_PACKED {
            true => Err(format!("{shown} has more than {} MiB, which no bundle has", LARGEST_PACKED >> 20)),
            false => Ok(Given { path: path.to_owned(), bytes: Some(bytes) }),
        }
    }

    pub fn is_folder(&self) -> bool {
        self.bytes.is_none()
    }

    /// Unpacks the bundle into memory and checks what can be told from it alone.
    pub fn open(self) -> Result<Bundle, String> {
        let shown = self.path.display().to_string();
        let opened = match &self.bytes {
            None => Contents::of_folder(&self.path).and_then(|contents| Bundle::new(contents, None)),
            Some(bytes) => unpack(bytes).and_then(|contents| Bundle::new(contents, Some(digest(bytes)))),
        };
        opened.map_err(|why| format!("{shown}: {why}"))
    }
}

impl Bundle {
    fn new(contents: Contents, sha256: Option<String>) -> Result<Bundle, String> {
        let manifest = Manifest::parse(contents.text(MANIFEST)?).map_err(|why| format!("{MANIFEST}: {why}"))?;
        if contents.text("README.md")?.trim().is_empty() {
            return Err("README.md is empty; it tells people what the bundle is for".to_owned());
        }
        let mut bundle = Bundle { manifest, sha256, contents };
        bundle.compare_digests()?;
        // Also what a folder says nothing about.
        bundle.manifest.plugins.extend(bundle.digests().into_iter().map(|(name, digest)| (name, Some(digest))));
        if let Some((plugin, file, _)) =
            bundle.contents.fixtures().find(|(plugin, ..)| bundle.contents.plugin(plugin).is_none())
        {
            return Err(format!(
                "fixtures/{plugin}/{file} is for no plugin of the bundle; there is no plugins/{plugin}.wasm"
            ));
        }
        Ok(bundle)
    }

    /// Whether every plugin is there, and is what the manifest says. Only a folder may leave digests to `pack`.
    fn compare_digests(&self) -> Result<(), String> {
        for name in self.manifest.plugins.keys() {
            if self.contents.plugin(name).is_none() {
                return Err(format!("{MANIFEST} names the plugin `{name}`, and there is no plugins/{name}.wasm"));
            }
        }
        for (name, is) in self.digests() {
            match self.manifest.plugins.get(&name).and_then(Option::as_ref) {
                Some(meant) if *meant != is => {
                    return Err(format!(
                        "plugins/{name}.wasm is not the file that {MANIFEST} names: its sha256 is {is}, and not {meant}"
                    ));
                }
                None if self.sha256.is_some() => {
                    return Err(format!(
                        "{MANIFEST} has no digest of the plugin `{name}`; `concord bundle pack` writes it"
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The SHA-256 of each plugin, by its name.
    fn digests(&self) -> BTreeMap<String, String> {
        self.contents.plugins().map(|(name, bytes)| (name.to_owned(), digest(bytes))).collect()
    }

    /// The same bundle with all digests in its manifest, as one file.
    pub fn packed(mut self) -> Result<(Bundle, Vec<u8>), String> {
        let text = manifest::with_digests(self.contents.text(MANIFEST)?, &self.digests())?;
        self.contents.replace(MANIFEST, text.into_bytes());
        let bytes = pack(&self.contents)?;
        if bytes.len() as u64 > LARGEST_PACKED {
            return Err(format!("packed it has more than {} MiB, which nobody would take", LARGEST_PACKED >> 20));
        }
        let bundle = Bundle::new(self.contents, Some(digest(&bytes)))?;
        Ok((bundle, bytes))
    }

    /// Loads a plugin through all checks but those that need a table.
    pub fn load(&self, host: &Host, name: &str, limits: Limits) -> Result<Plugin, Failure> {
        let bytes = self.contents.plugin(name).unwrap_or_default();
        Plugin::of_bytes(host, bytes, &Plugin::file(Path::new("plugins"), name), name, limits, None)
    }

    /// The fixtures of a plugin, in the order of their names.
    pub fn fixtures(&self, plugin: &str) -> Result<Vec<Fixture>, String> {
        let read = |(_, file, text): (&str, &str, &[u8])| {
            let text = std::str::from_utf8(text).map_err(|_| "it is not valid UTF-8".to_owned());
            text.and_then(|text| Fixture::parse(file.trim_end_matches(".json"), text))
                .map_err(|why| format!("fixtures/{plugin}/{file}: {why}"))
        };
        self.contents.fixtures().filter(|(of, ..)| *of == plugin).map(read).collect()
    }
}
