//! `concord plugin new`: a folder with everything that it takes to write a plugin.
//!
//! What it starts with are the examples, so that what is tested there holds for it.

mod templates;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::report::say;
use crate::error::{DONE, Error, Result};
use crate::plugin::{NAMES, is_name};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    Rust,
    Python,
    C,
    #[value(name = "typescript", alias = "ts")]
    TypeScript,
    #[value(name = "javascript", alias = "js")]
    JavaScript,
}

/// The roles that there are examples of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Begun {
    Resolver,
    Filter,
    Mapping,
}

impl Begun {
    fn as_str(self) -> &'static str {
        match self {
            Begun::Resolver => "resolver",
            Begun::Filter => "filter",
            Begun::Mapping => "mapping",
        }
    }

    /// What it does to begin with, in a README.
    fn begins(self) -> &'static str {
        match self {
            Begun::Resolver => RESOLVER_BEGINS,
            Begun::Filter => FILTER_BEGINS,
            Begun::Mapping => MAPPING_BEGINS,
        }
    }
}

#[derive(Clone, Debug, Args)]
#[command(
    about = "Begin a plugin: write a folder with one that works, its fixtures, and how to build and test it",
    long_about = "Write a folder with a resolver, filter or mapping that works, its fixtures, and a README that says how to build and test it. \
                  The folder stands by itself: what it takes of Concord is in it.",
    after_long_help = "Example:\n  concord plugin new cheapest --lang rust\n  concord plugin new branch-only --role filter\n  concord plugin new old-shape --role mapping --lang c"
)]
pub struct NewPlugin {
    #[arg(value_name = "NAME", help = format!("Its name: {NAMES}"))]
    pub name: String,
    /// What it is to serve
    #[arg(long, value_enum, default_value_t = Begun::Resolver)]
    pub role: Begun,
    /// The language to write it in
    #[arg(long = "lang", value_enum, default_value_t = Language::Rust)]
    pub language: Language,
    /// Where to make the folder, instead of here
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub at: PathBuf,
}

/// Stands for the name in templates.
const NAME: &str = "{name}";

/// The package of the SDK, which is in each folder in Rust.
const SDK: &str = "concord-plugin";

const RESOLVER_BEGINS: &str = r#"To begin with it takes the version with the {which} text in a column, which the configuration
names:

    conflict = { plugin = "{name}", column = "note" }"#;

const FILTER_BEGINS: &str = r#"To begin with it keeps the rows with one of some texts in a column, both of which the
configuration names:

    [tables.customers.nodes.branch]
    filter = { plugin = "{name}", column = "country", values = ["DE", "AT"] }"#;

const MAPPING_BEGINS: &str = r#"To begin with it makes one name of a first and a last one, and units of
cents, in columns that the configuration names:

    [tables.customers.nodes.branch]
    mapping = { plugin = "{name}", name = "name", first = "first_name", last = "last_name", cents = ["balance"] }"#;

pub fn run(args: &NewPlugin) -> Result<u8> {
    let name = &args.name;
    if !is_name(name) {
        return Err(Error::Usage(format!("`{name}` is no name of a plugin; it takes {NAMES}")));
    }
    if let Some(why) = refused_by_cargo(name).filter(|_| args.language == Language::Rust) {
        return Err(Error::Usage(format!("`{name}` cannot be the name of a plugin in Rust: {why}")));
    }
    let folder = args.at.join(name);
    let failed = |what: &Path, why: std::io::Error| {
        Error::Usage(format!("{} cannot be written: {why}; check the path and its permissions", what.display()))
    };
    if folder.exists() {
        return Err(Error::Usage(format!("{} is there already; take another name, or --at", folder.display())));
    }
    for (file, text, places) in templates::all(args.language, args.role).into_iter().flatten() {
        let path = folder.join(named(file, args));
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|why| failed(parent, why))?;
        }
        let text = places.iter().fold((*text).to_owned(), |text, (from, to)| text.replace(from, to));
        std::fs::write(&path, named(&text, args)).map_err(|why| failed(&path, why))?;
        if *file == "build" {
            make_executable(&path).map_err(|why| failed(&path, why))?;
        }
    }
    say(&format!("wrote {}; how to build and test it is in {}", folder.display(), folder.join("README.md").display()))?;
    Ok(DONE)
}

/// Why cargo builds no plugin of this name, and what to do.
fn refused_by_cargo(name: &str) -> Option<&'static str> {
    match name {
        SDK => Some("the SDK that it is built with is called so; take another name"),
        _ if name.starts_with(|c: char| c.is_ascii_digit()) => {
            Some("cargo refuses a digit at the beginning; begin with a letter")
        }
        _ => None,
    }
}

/// A template with the name in it, what a compiler makes of the name, and the role.
fn named(text: &str, args: &NewPlugin) -> String {
    let (role, begins) = (args.role.as_str(), args.role.begins());
    // The example in Rust was there first.
    let which = if args.language == Language::Rust { "longest" } else { "shortest" };
    let text = text.replace("{begins}", begins).replace("{which}", which).replace("{role}", role);
    text.replace(NAME, &args.name).replace("{module}", &args.name.replace('-', "_"))
}

#[cfg(unix)]
fn make_executable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_is_called_as_its_manifest_says() {
        let all = templates::all(Language::Rust, Begun::Resolver);
        let manifest = all.into_iter().flatten().find(|(file, ..)| *file == "concord/plugins/sdk/Cargo.toml");
        assert!(manifest.is_some_and(|(_, text, _)| text.contains(&format!("name = \"{SDK}\""))));
    }

    #[test]
    fn the_sdk_comes_with_each_of_its_files() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins/sdk/src");
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("a file").file_name();
        let there = std::fs::read_dir(folder).expect("the SDK").map(name);
        let mut there: Vec<String> = there.map(|name| name.into_string().expect("a name")).collect();
        let all = templates::all(Language::Rust, Begun::Resolver);
        let place = |template: &templates::Template| template.0.strip_prefix("concord/plugins/sdk/src/");
        let mut written: Vec<&str> = all.into_iter().flatten().filter_map(place).collect();
        there.sort();
        written.sort();
        assert_eq!(written, there);
    }
}
