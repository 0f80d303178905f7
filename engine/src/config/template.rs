//! The commented file that `concord new` writes.

use std::path::Path;

use super::expand::Piece;
use super::nodes::{as_name, is_name, name_advice};
use super::section::shown;
use super::url;

/// A database for a new file.
#[derive(Clone, PartialEq, Eq)]
pub struct NewNode {
    pub name: String,
    /// May hold a password or a private key; the file will not.
    pub url: String,
}

/// Checks the databases given for a new file and names those that have no name. The error is for a person.
pub fn new_nodes(given: &[(Option<String>, String)], folder: &Path) -> Result<Vec<NewNode>, String> {
    let mut nodes: Vec<NewNode> = Vec::new();
    for (at, (name, url)) in given.iter().enumerate() {
        let which = name.as_deref().map_or(format!("URL {}", at + 1), |name| format!("node `{}`", shown(name)));
        // Placeholders are for later; to check the URL around them any value will do.
        let mut parts = url.split("${");
        let mut pieces = vec![Piece::Literal(parts.next().unwrap_or_default().to_owned())];
        for part in parts {
            let (_, rest) = part.split_once('}').ok_or(format!("{which}: `${{` without the `}}` that ends it"))?;
            pieces.extend([Piece::Value("value".to_owned()), Piece::Literal(rest.to_owned())]);
        }
        if !url.starts_with("${") {
            url::address(&pieces, folder)
                .map_err(|why| format!("{which}: {}\n    {}", why.message, why.help.replace('\n', "\n    ")))?;
        }
        let name = match name {
            Some(name) if is_name(name) => name.clone(),
            Some(name) => {
                return Err(format!("`{}` cannot be the name of a node\n    {}", shown(name), name_advice(name)));
            }
            None => {
                let base = last_part(url).and_then(as_name).unwrap_or_else(|| "node".to_owned());
                let free = |name: &String| {
                    nodes.iter().all(|node| node.name != *name)
                        && given.iter().all(|(other, _)| other.as_ref() != Some(name))
                };
                let numbered = (2..).map(|n| format!("{}-{n}", &base[..base.len().min(28)]));
                std::iter::once(base.clone()).chain(numbered).find(free).unwrap_or(base)
            }
        };
        if nodes.iter().any(|node| node.name == name) {
            return Err(format!("two nodes are called `{name}`"));
        }
        nodes.push(NewNode { name, url: url.clone() });
    }
    Ok(nodes)
}

/// What a database is called: the name of its file or database, without its ending.
fn last_part(url: &str) -> Option<&str> {
    if url.starts_with("${") {
        return None;
    }
    let (_, rest) = url.split_once(':')?;
    let path = rest.split('?').next()?;
    let last = path.rsplit('/').next()?;
    let last = last.rsplit_once('@').map_or(last, |(_, host)| host);
    Some(last.split('.').next().unwrap_or(last)).filter(|name| !name.is_empty() && !name.contains("${"))
}

/// The text of a new file. Passwords in the URLs are replaced by `${NAME_PASSWORD}`, and private keys by `${NAME_KEY}`. With no
/// nodes or no tables the file says in comments how to add them.
pub fn template(name: &str, nodes: &[NewNode], tables: &[String]) -> String {
    let mut text = format!("{HEAD}\nname = {}\n\n{NODES}", quoted(name));
    for node in nodes {
        let (password, key) = (variable(&node.name, "PASSWORD"), variable(&node.name, "KEY"));
        let (url, had_password, had_key) =
            url::without_secrets(&node.url, &format!("${{{password}}}"), &format!("${{{key}}}"));
        text += &format!("\n[nodes.{}]\n", node.name);
        for (had, what, variable) in [(had_password, "password", password), (had_key, "private key", key)] {
            if had {
                text += &format!(
                    "# The {what} is not kept here: set {variable} to it, as it is, before running concord.\n"
                );
            }
        }
        text += &format!("url = {}\n", quoted(&url));
    }
    if nodes.is_empty() {
        text += EXAMPLE_NODES;
    }
    text += DEFAULTS;
    for table in tables {
        text += &format!("\n[tables.{}]\n", key(table));
    }
    if tables.is_empty() {
        text += "\n# [tables.customers]\n";
    }
    text += TABLE_OPTIONS;
    text
}

/// The variable that holds a secret of the node of this name.
fn variable(node: &str, secret: &str) -> String {
    let name = node.to_uppercase().replace('-', "_");
    let digit = if name.starts_with(|c: char| c.is_ascii_digit()) { "_" } else { "" };
    format!("{digit}{name}_{secret}")
}

const HEAD: &str = "\
# The databases that Concord keeps in agreement, and their tables.
#
#   concord check      looks at all of this and changes nothing
#   concord install    prepares every database: service tables and triggers
#   concord load       copies rows that are missing somewhere, and decides those that differ
#   concord sync       carries changes until nothing is left
#   concord watch      keeps doing so
";

const NODES: &str = "\
# One section for each database, at least two. Names are a-z, 0-9, `_` and `-`. If two rows were changed at the very
# same microsecond, the database that stands first wins.
#
# ${VAR} in a URL is filled in from the environment and ${file:PATH} from a file. Where they stand for a user or a
# password they are taken as they are; written out, characters like / and @ in them are percent-encoded. Paths are
# relative to this file.
";

const EXAMPLE_NODES: &str = "
# [nodes.office]
# url = \"postgres://sync:${OFFICE_PASSWORD}@db.example/shop\"

# [nodes.branch]
# url = \"sqlite:branch.db\"
";

const DEFAULTS: &str = "
[defaults]
# Who wins when a row was changed at several nodes: \"latest-wins\", \"earliest-wins\", \"park\" (a person decides),
# or { prefer = [\"office\"] }. The loser is kept in the journal: concord conflicts list
# conflict = \"latest-wins\"

# By how much clocks may differ, and whether a node beyond that is only reported (\"warn\") or left out (\"stop\").
# max_skew = \"5s\"
# on_skew = \"warn\"

# For how long what lost a conflict is kept, with both rows.
# journal = \"365d\"

# Whether every node numbers new rows in steps of its own (\"interleave\"), so that no two draw the same number.
# ids = \"unchanged\"

# About so many changes are carried at once, at most twice as many; a transaction is divided only if it is larger.
# batch = 100000

# How long `watch` rests between two comparisons of tables whose mode is \"compare\".
# compare_every = \"1m\"

# One section for each table, under the name that all nodes share. Every table needs a primary
# key, or a unique index over columns that are all NOT NULL.
";

const TABLE_OPTIONS: &str = "
# What a table's section can hold:
#
# [tables.accounts]
# conflict = { sum = [\"balance\"] }           # what every node added to these columns is added up
# or { plugin = \"NAME\", … }: a plugin decides; its folder is named at the top of the file, plugins = \"plugins\"
#
# [tables.rates]
# from = \"office\"                            # one way: only this node's changes are carried
# operations = [\"insert\", \"update\"]          # deletes stay where they were made
#
# [tables.parts]
# lossy = [\"weight\"]                       # may be rounded to what all nodes keep; otherwise such rows wait
#
# [tables.prices]
# mode = \"compare\"                           # without triggers: all rows are compared, the later one is taken
# updated = \"changed_at\"                     # the column that tells which one that is
# operations = [\"insert\", \"update\"]          # deletes both ways need triggers
#
# [tables.customers.nodes.branch]
# table = \"Kunden\"                           # the table's name at this node, where it differs
# columns = { name = \"Vollname\" }            # shared = local, where they differ
# omit = [\"notes\"]                           # columns that do not live here
";

/// A TOML string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted += &format!("\\u{:04X}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// A TOML key: bare where it can be.
pub(super) fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { name.to_owned() } else { quoted(name) }
}
