//! The `[nodes.…]` sections.

use std::path::Path;

use super::diagnostic::Show;
use super::expand::{self, Lookup};
use super::section::{Field, Problems, Section, shown};
use super::{NodeConfig, compare, nearest, url};

/// What [`is_name`] asks for, in words.
pub const NAME_RULE: &str = "names are 1 to 32 of a-z, 0-9, `_` and `-`";

/// Names of nodes and of the sync stand in service tables and in versions; the few characters they may have need no
/// quoting anywhere.
pub fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

/// The nearest thing to `text` that can name a node or a sync: 1 to 32 of a-z, 0-9, `_` and `-`.
pub fn as_name(text: &str) -> Option<String> {
    let name: String = text
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
        .take(32)
        .collect();
    let name = name.trim_matches('-').to_owned();
    is_name(&name).then_some(name)
}

/// What to write instead of a name that is none.
pub(super) fn name_advice(name: &str) -> String {
    // What looks like a URL may hold a password.
    match as_name(name).filter(|_| !name.contains([':', '@'])) {
        Some(better) => format!("{NAME_RULE}; for example `{better}`"),
        None => format!("{NAME_RULE}; for example `office`"),
    }
}

/// All nodes in the order of the file: those that can be used, and the names of all that were meant, so that other
/// sections may name them without a second complaint.
pub(super) fn read(
    section: &Section<'_>,
    folder: &Path,
    lookup: Lookup<'_>,
    problems: &mut Problems<'_>,
) -> (Vec<NodeConfig>, Vec<String>) {
    let fields = section.fields(problems.source);
    let names: Vec<String> = fields.iter().map(|field| field.name.to_owned()).collect();
    let mut nodes: Vec<NodeConfig> = Vec::new();
    let mut identities: Vec<String> = Vec::new();
    for field in &fields {
        let Some((node, identity)) = node(field, folder, lookup, problems) else { continue };
        match identities.iter().position(|other| *other == identity) {
            None => {
                nodes.push(node);
                identities.push(identity);
            }
            Some(first) => problems.add(
                &field.key,
                Show::Keys,
                format!("the nodes `{}` and `{}` are the same database", nodes[first].name, node.name),
                format!(
                    "`{}` stands on line {}; each database takes part once",
                    nodes[first].name, nodes[first].place.line
                ),
            ),
        }
    }
    if names.len() < 2 {
        problems.add(
            &section.place,
            Show::Keys,
            match names.first() {
                None => "no nodes: [nodes] is empty".to_owned(),
                Some(only) => format!("only one node, `{}`: a sync takes at least two", shown(only)),
            },
            "add a section for each database, for example:\n[nodes.branch]\nurl = \"sqlite:branch.db\"",
        );
    }
    (nodes, names)
}

fn node(
    field: &Field<'_>,
    folder: &Path,
    lookup: Lookup<'_>,
    problems: &mut Problems<'_>,
) -> Option<(NodeConfig, String)> {
    let valid = is_name(field.name);
    if !valid {
        let what = format!("`{}` cannot be the name of a node", shown(field.name));
        problems.add(&field.key, Show::Keys, what, name_advice(field.name));
    }
    let title = format!("[nodes.{}]", field.name);
    let section = Section::open(field, title, Show::Keys, problems)?;
    section.only(
        &["url", "mode"],
        &|key| match key {
            "host" | "port" | "user" | "username" | "password" | "database" | "dbname" | "path" | "file" => Some(
                "it belongs in the url: postgres://user:${VAR}@host:5432/database or sqlite:path/to/file.db".into(),
            ),
            _ => None,
        },
        problems,
    );
    let example = "\"sqlite:branch.db\"";
    let misspelled = |field: &Field<'_>| nearest::nearest(field.name, ["url"]).is_some();
    if !section.fields(problems.source).iter().any(misspelled) {
        let what = format!("the node `{}` has no `url`", shown(field.name));
        problems.add(&field.key, Show::Keys, what, format!("add below it, for example: url = {example}"));
    }
    let text = section.text("url", example, problems)?;
    let pieces = match expand::expand(&text.name, folder, lookup) {
        Ok(pieces) => pieces,
        Err(failures) => {
            for failure in failures {
                problems.add(&text.place, Show::Keys, failure.message, failure.help);
            }
            return None;
        }
    };
    match url::address(&pieces, folder) {
        Ok(address) => {
            if let Some(secret) = address.literal_secret {
                problems.warn(
                    &text.place,
                    Show::Keys,
                    format!("the {secret} of node `{}` stands in this file", shown(field.name)),
                    "put ${VAR} or ${file:PATH} in its place, so that the file can be shared",
                );
            }
            let mode = compare::mode_of_node(&section, problems);
            let node =
                NodeConfig { name: field.name.to_owned(), target: address.target, mode, place: field.key.clone() };
            valid.then_some((node, address.identity))
        }
        Err(failure) => {
            problems.add(&text.place, Show::Keys, failure.message, failure.help);
            None
        }
    }
}
