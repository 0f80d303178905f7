//! `[bundles]`: from whom bundles are taken.

use std::path::Path;

use minisign_verify::PublicKey;
use toml_edit::Document;

use super::diagnostic::{Show, Source};
use super::section::{Problems, Section, shown};
use super::{Config, syntax};
use crate::error::Error;

/// The public half of a key that signs bundles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    /// As `minisign` writes it, `RW…`.
    pub text: String,
    pub key: PublicKey,
}

impl SigningKey {
    pub fn parse(text: &str) -> Option<SigningKey> {
        let key = PublicKey::from_base64(text).ok()?;
        Some(SigningKey { text: text.to_owned(), key })
    }
}

impl Config {
    /// The keys alone, of a file that may not be whole: there are no tables in it before a bundle brings them.
    pub fn signing_keys(path: &Path, text: &str) -> Result<Vec<SigningKey>, Error> {
        let source = Source { file: path.display().to_string(), text: text.to_owned() };
        let document = Document::parse(text).map_err(|why| Error::Config(vec![syntax(&source, &why)]))?;
        let mut problems = Problems { source: &source, found: Vec::new(), warnings: Vec::new() };
        let keys = read(&Section::root(document.as_table(), &source), &mut problems);
        if problems.found.is_empty() { Ok(keys) } else { Err(Error::Config(problems.found)) }
    }
}

pub(super) fn read(root: &Section<'_>, problems: &mut Problems<'_>) -> Vec<SigningKey> {
    let Some(field) = root.field("bundles", problems.source) else { return Vec::new() };
    let Some(section) = Section::open(&field, "[bundles]".to_owned(), Show::Line, problems) else { return Vec::new() };
    section.only(&["keys"], &|_| None, problems);
    if section.field("keys", problems.source).is_none() {
        let help = "for example: keys = [\"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\"]";
        problems.add(&section.place, Show::Line, "[bundles] names no keys", help);
    }
    let mut keys = Vec::new();
    for named in section.names("keys", "[\"RW…\"]", problems).unwrap_or_default() {
        match SigningKey::parse(&named.name) {
            Some(key) => keys.push(key),
            None => {
                let help = "it is the second line of the file that `minisign -G` wrote as NAME.pub";
                problems.add(
                    &named.place,
                    Show::Line,
                    format!("`{}` is no public key of minisign", shown(&named.name)),
                    help,
                );
            }
        }
    }
    keys
}
