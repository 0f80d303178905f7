//! `bundle.toml`: what a bundle is, what it takes, and the settings that it brings.

use std::collections::BTreeMap;
use std::fmt;

use semver::{Version, VersionReq};
use serde::Deserialize;
use toml_edit::{DocumentMut, Item, Table, value};

use crate::plugin::{NAMES, is_name};

/// A manifest without mistakes that can be seen in it alone.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub name: String,
    pub version: Version,
    pub summary: String,
    /// The plugins with the SHA-256 of each, in hexadecimal digits; a folder may leave that to `pack`.
    pub plugins: BTreeMap<String, Option<String>>,
    pub parameters: BTreeMap<String, Parameter>,
    /// The sections `[tables.…]`, with placeholders and comments.
    pub(super) tables: Table,
}

/// What whoever adds a bundle has to say, or may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub kind: Kind,
    pub about: String,
    pub default: Option<Setting>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Text,
    Integer,
    Boolean,
    /// The name of a node of the sync.
    Node,
}

/// What a parameter is set to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Setting {
    Boolean(bool),
    Integer(i64),
    Text(String),
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setting::Boolean(truth) => truth.fmt(f),
            Setting::Integer(number) => number.fmt(f),
            Setting::Text(text) => text.fmt(f),
        }
    }
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Integer => "integer",
            Kind::Boolean => "boolean",
            Kind::Node => "node",
        }
    }

    /// What was said on the command line.
    pub fn read(self, text: &str) -> Option<Setting> {
        match self {
            Kind::Text | Kind::Node => Some(Setting::Text(text.to_owned())),
            Kind::Integer => text.parse().ok().map(Setting::Integer),
            Kind::Boolean => text.parse().ok().map(Setting::Boolean),
        }
    }

    fn takes(self, setting: &Setting) -> bool {
        match self {
            Kind::Text | Kind::Node => matches!(setting, Setting::Text(_)),
            Kind::Integer => matches!(setting, Setting::Integer(_)),
            Kind::Boolean => matches!(setting, Setting::Boolean(_)),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    version: String,
    summary: String,
    concord: String,
    #[serde(default)]
    plugins: BTreeMap<String, FilePlugin>,
    #[serde(default)]
    parameters: BTreeMap<String, FileParameter>,
    /// Read from the document, which has the comments as well.
    #[serde(rename = "tables")]
    _tables: BTreeMap<String, serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePlugin {
    digest: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileParameter {
    #[serde(rename = "type")]
    kind: Kind,
    about: String,
    default: Option<Setting>,
}

impl Manifest {
    /// Reads a manifest, and refuses it where it is made for another Concord than this.
    pub fn parse(text: &str) -> Result<Manifest, String> {
        let file: File = toml_edit::de::from_str(text).map_err(|why| why.to_string().trim_end().to_owned())?;
        let name = named("the bundle", &file.name)?;
        let version = Version::parse(&file.version)
            .map_err(|why| format!("`version` is none: {why}; for example version = \"1.0.0\""))?;
        let range = VersionReq::parse(&file.concord).map_err(|why| {
            format!("`concord` is no range of versions: {why}; for example concord = \">=0.1, <0.2\"")
        })?;
        let this = env!("CARGO_PKG_VERSION");
        if !Version::parse(this).is_ok_and(|this| range.matches(&this)) {
            return Err(format!("the bundle is made for Concord {range}, and this is {this}; use another of either"));
        }
        let mut plugins = BTreeMap::new();
        for (plugin, FilePlugin { digest }) in file.plugins {
            let digest = digest.map(|text| digest_of(&plugin, &text)).transpose()?;
            plugins.insert(named("a plugin", &plugin)?, digest);
        }
        let mut parameters = BTreeMap::new();
        for (name, FileParameter { kind, about, default }) in file.parameters {
            let what = format!("`default` of the parameter `{}`", super::contents::shown(&name));
            if !is_parameter(&name) {
                let rule = "a letter, then letters, digits and underscores, all lower-case";
                return Err(format!("`{}` is no name of a parameter: {rule}", super::contents::shown(&name)));
            }
            if default.as_ref().is_some_and(|default| !kind.takes(default)) {
                return Err(format!("{what} is no {}", kind.as_str()));
            }
            if let Some(Setting::Text(text)) = &default {
                one_line(&what, text)?;
            }
            one_line(&format!("`about` of the parameter `{name}`"), &about)?;
            parameters.insert(name, Parameter { kind, about, default });
        }
        one_line("`summary`", &file.summary)?;
        let document: DocumentMut = text.parse().map_err(|why: toml_edit::TomlError| why.to_string())?;
        let tables = document.get("tables").cloned().and_then(|item| item.into_table().ok());
        let tables = tables.filter(|tables| !tables.is_empty()).ok_or("it has no [tables.NAME]")?;
        Ok(Manifest { name, version, summary: file.summary, plugins, parameters, tables })
    }
}

/// The text of a manifest with these digests in it.
pub(super) fn with_digests(text: &str, digests: &BTreeMap<String, String>) -> Result<String, String> {
    let mut document: DocumentMut = text.parse().map_err(|why: toml_edit::TomlError| why.to_string())?;
    let sections = |implicit: bool| {
        let mut table = Table::new();
        table.set_implicit(implicit);
        Item::Table(table)
    };
    let plugins = document.entry("plugins").or_insert_with(|| sections(true));
    for (name, digest) in digests {
        let plugins = plugins.as_table_like_mut().ok_or("`plugins` is no section")?;
        let plugin = plugins.entry(name).or_insert_with(|| sections(false));
        let plugin = plugin.as_table_like_mut().ok_or_else(|| format!("`plugins.{name}` is no section"))?;
        plugin.insert("digest", value(format!("sha256:{digest}")));
    }
    Ok(document.to_string())
}

/// Whether a parameter can have this name, and stand as `{name}` in a setting.
pub(super) fn is_parameter(name: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.len() <= 60 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(good)
}

fn named(what: &str, name: &str) -> Result<String, String> {
    match is_name(name) {
        true => Ok(name.to_owned()),
        false => Err(format!("`{}` cannot be the name of {what}; it takes {NAMES}", super::contents::shown(name))),
    }
}

fn digest_of(plugin: &str, text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("sha256:").unwrap_or_default();
    match digits.len() == 64 && digits.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c)) {
        true => Ok(digits.to_owned()),
        false => Err(format!(
            "`digest` of the plugin `{}` is none: sha256: and 64 hexadecimal digits, which `pack` writes",
            super::contents::shown(plugin)
        )),
    }
}

/// It is shown on terminals.
fn one_line(what: &str, text: &str) -> Result<(), String> {
    match text.chars().any(char::is_control) || text.len() > 1000 {
        true => Err(format!("{what} is longer than 1000 bytes or holds control characters; write it as one line")),
        false => Ok(()),
    }
}
