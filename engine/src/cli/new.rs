//! `concord new`: writes a commented file.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::report::say;
use crate::config::{NAME_RULE, as_name, is_name, new_nodes, template};
use crate::error::{DONE, Error, Result};

/// With what URLs of databases begin, and hardly any folder.
const SCHEMES: [&str; 5] = ["sqlite:", "postgres:", "postgresql:", "mysql:", "mariadb:"];

/// Write a commented concord.toml for given databases.
#[derive(Args)]
#[command(
    about = "Write a commented concord.toml for given databases",
    long_about = "Write a commented concord.toml into a folder, which is created if need be. An existing file is \
                  never overwritten. Passwords in the given URLs are not written: a variable takes their place.",
    after_long_help = "Example:\n  concord new shop --table customers --node office=postgres://sync@db.example/shop \
                       sqlite:branch.db"
)]
pub struct New {
    /// The folder to write concord.toml into
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// URLs of databases; each node is named after its database
    #[arg(value_name = "URL")]
    pub urls: Vec<String>,
    /// A node by its name and URL; may be repeated
    #[arg(long = "node", value_name = "NAME=URL")]
    pub nodes: Vec<String>,
    /// A table to keep in step; may be repeated
    #[arg(long = "table", value_name = "NAME")]
    pub tables: Vec<String>,
    /// The name of the sync [default: that of the folder]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// URLs may hold passwords.
impl std::fmt::Debug for New {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("New").field("dir", &self.dir).finish_non_exhaustive()
    }
}

pub fn run(new: &New) -> Result<u8> {
    say(&write(new)?)?;
    Ok(DONE)
}

/// Writes the file and returns what to tell the user.
fn write(new: &New) -> Result<String> {
    // It may hold a password, so it is not repeated.
    if SCHEMES.iter().any(|scheme| new.dir.to_string_lossy().starts_with(scheme)) {
        return Err(Error::Usage(
            "the first word is the folder that concord.toml goes into, and the URLs follow: concord new shop URL URL"
                .to_owned(),
        ));
    }
    let dir = std::path::absolute(&new.dir).map_err(|why| failed("finding", &new.dir, &why))?;
    let mut given: Vec<(Option<String>, String)> = Vec::new();
    for node in &new.nodes {
        // What has no name may be a URL with a password, so it is not repeated.
        let (name, url) = node
            .split_once('=')
            .filter(|(name, _)| !name.contains(':'))
            .ok_or_else(|| Error::Usage("--node takes a name and a URL: --node office=sqlite:office.db".to_owned()))?;
        given.push((Some(name.to_owned()), url.to_owned()));
    }
    given.extend(new.urls.iter().map(|url| (None, url.clone())));
    for (_, url) in &mut given {
        *url = seen_from(url, &dir)?;
    }
    let nodes = new_nodes(&given, &dir).map_err(Error::Usage)?;
    if nodes.len() == 1 {
        return Err(Error::Usage("one database has nothing to agree with: give at least two, or none".to_owned()));
    }
    let name = sync_name(new, &dir)?;
    let mut tables: Vec<String> = Vec::new();
    for table in &new.tables {
        if !tables.contains(table) {
            tables.push(table.clone());
        }
    }

    fs::create_dir_all(&dir).map_err(|why| failed("creating", &new.dir, &why))?;
    let path = dir.join("concord.toml");
    let shown = new.dir.join("concord.toml");
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(|why| match why.kind() {
        ErrorKind::AlreadyExists => Error::Usage(format!(
            "{} exists already and is left as it is\n    name another folder, or move the file away",
            shown.display()
        )),
        _ => failed("creating", &shown, &why),
    })?;
    file.write_all(template(&name, &nodes, &tables).as_bytes()).map_err(|why| failed("writing", &shown, &why))?;

    let mut text = format!("wrote {}", shown.display());
    text += match (nodes.is_empty(), tables.is_empty()) {
        (true, true) => "\nnext: name your databases and tables in it, then",
        (true, false) => "\nnext: name your databases in it, then",
        (false, true) => "\nnext: name your tables in it, then",
        (false, false) => "\nnext:",
    };
    text += &format!(" concord check -c {}", in_shell(&shown.display().to_string()));
    Ok(text)
}

/// A word as a shell takes it.
fn in_shell(word: &str) -> String {
    match word.chars().all(|c| c.is_alphanumeric() || "-_./+,:@%=".contains(c)) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

fn failed(doing: &str, path: &Path, why: &std::io::Error) -> Error {
    Error::Usage(format!("{doing} {}: {why}", path.display()))
}

fn sync_name(new: &New, dir: &Path) -> Result<String> {
    let folder = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match &new.name {
        None => Ok(as_name(folder).unwrap_or_else(|| "sync".to_owned())),
        Some(name) if is_name(name) => Ok(name.clone()),
        Some(_) => Err(Error::Usage(format!("--name: {NAME_RULE}"))),
    }
}

/// A URL as the file must have it: paths are typed relative to here, and read relative to the file.
fn seen_from(url: &str, dir: &Path) -> Result<String> {
    let Some(rest) = url.strip_prefix("sqlite:") else { return Ok(url.to_owned()) };
    let (path, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.starts_with([':', '/', '$']) {
        return Ok(url.to_owned());
    }
    let here = std::env::current_dir().map_err(|why| failed("finding", Path::new(path), &why))?;
    let path = moved(path, &here, dir).map_err(|why| failed("finding", Path::new(path), &why))?;
    Ok(format!("sqlite:{path}{query}"))
}

/// The path of a URL that is relative to one folder as it is relative to another, or else absolute.
fn moved(path: &str, from: &Path, to: &Path) -> std::io::Result<String> {
    // What these characters mean in a URL they do not mean in the name of a folder.
    let in_url = |folder: &Path| folder.to_string_lossy().replace('%', "%25").replace('?', "%3F");
    let path = std::path::absolute(Path::new(&in_url(from)).join(path))?;
    Ok(path.strip_prefix(in_url(to)).unwrap_or(&path).display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn new(dir: &Path, urls: &[&str], tables: &[&str]) -> New {
        let own = |list: &[&str]| list.iter().map(|&one| one.to_owned()).collect();
        New { dir: dir.to_owned(), urls: own(urls), nodes: Vec::new(), tables: own(tables), name: None }
    }

    #[test]
    fn what_is_written_can_be_loaded_and_is_not_overwritten() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("My Shop");
        let branch = format!("sqlite:{}/branch.db", dir.display());
        let command = new(&dir, &["postgres://sync@db/shop", &branch], &["customers", "sales.orders"]);
        let told = write(&command).unwrap();
        assert!(told.starts_with("wrote ") && told.ends_with("/My Shop/concord.toml'"), "{told}");
        let config = Config::load(&dir.join("concord.toml")).unwrap();
        assert_eq!(config.name, "my-shop");
        assert_eq!(config.node_names(), ["shop", "branch"]);
        assert_eq!(config.nodes[1].target.secret_url(), branch);
        let names: Vec<&str> = config.tables.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(names, ["customers", "sales.orders"]);

        let again = write(&command).unwrap_err();
        assert_eq!(again.exit_code(), crate::error::USAGE);
        assert!(again.to_string().contains("exists already"), "{again}");
    }

    #[test]
    fn a_url_is_no_folder() {
        let refused =
            write(&new(Path::new("mysql://sync:secret@db/shop"), &["sqlite:a.db", "sqlite:b.db"], &[])).unwrap_err();
        assert_eq!(refused.exit_code(), crate::error::USAGE);
        let told = refused.to_string();
        assert!(told.contains("the folder") && !told.contains("secret"), "{told}");
    }

    /// A sync may be called what the file may say.
    #[test]
    fn a_name_is_taken_as_the_file_takes_it() {
        let named = |name: &str| {
            let command = New { name: Some(name.to_owned()), ..new(Path::new("shop"), &[], &[]) };
            sync_name(&command, Path::new("/ws/shop")).map_err(|why| why.to_string())
        };
        for good in ["shop", "-b_2-", "--"] {
            assert_eq!(named(good).as_deref(), Ok(good));
        }
        for bad in ["", "Shop", "a.b", "a".repeat(33).as_str()] {
            assert_eq!(named(bad), Err(format!("--name: {NAME_RULE}")), "{bad}");
        }
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let here = std::env::current_dir().unwrap();
        let seen = |url: &str, dir: &Path| seen_from(url, dir).unwrap();
        assert_eq!(seen("sqlite:a/b.db?x=1", &here.join("a")), "sqlite:b.db?x=1");
        assert_eq!(seen("sqlite://b.db", &here.join("a")), format!("sqlite:{}/b.db", here.display()));
        assert_eq!(seen("sqlite:/x/b.db", &here), "sqlite:/x/b.db");
        assert_eq!(seen("postgres://a/b", &here), "postgres://a/b");
    }

    #[test]
    fn folders_are_no_urls() {
        let seen = |path: &str, dir: &str| moved(path, Path::new("/ws/a%2Fx?"), Path::new(dir)).unwrap();
        assert_eq!(seen("b%20c.db", "/ws/a%2Fx?"), "b%20c.db");
        assert_eq!(seen("b%20c.db", "/ws"), "a%252Fx%3F/b%20c.db");
        assert_eq!(seen("d%25/b.db", "/ws/a%2Fx?/d%"), "b.db");
        assert_eq!(seen("b.db", "/other"), "/ws/a%252Fx%3F/b.db");
    }

    #[test]
    fn a_table_that_is_named_twice_is_written_once() {
        let temp = tempfile::tempdir().unwrap();
        write(&new(temp.path(), &["sqlite:a.db", "sqlite:b.db"], &["b", "a", "b"])).unwrap();
        let config = Config::load(&temp.path().join("concord.toml")).unwrap();
        let names: Vec<&str> = config.tables.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
    }

    #[test]
    fn bad_databases_are_refused_without_showing_them() {
        let temp = tempfile::tempdir().unwrap();
        for urls in [
            &["postgres://me:canary"][..],
            &["postgres://me:can/ary@db/x", "sqlite:a.db"],
            &["sqlite:a.db"],
            &["canary", "sqlite:a.db"],
            &["oracle://me:canary@db/x", "sqlite:a.db"],
        ] {
            let error = write(&new(temp.path(), urls, &[])).unwrap_err();
            assert_eq!(error.exit_code(), crate::error::USAGE);
            let text = format!("{error} {error:?}");
            assert!(!text.contains("canary") && !text.contains("ary@"), "{text}");
        }
        assert!(!temp.path().join("concord.toml").exists());
    }
}
