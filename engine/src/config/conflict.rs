//! `conflict = …`: who wins when a key was changed at several nodes.

use super::nearest;
use super::plugins::{self, PluginUse};
use super::section::{Named, Problems, Section, shown};
use super::tables::node_called;
use crate::model::NodeId;

/// A conflict policy.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Conflict {
    /// The greatest version wins.
    #[default]
    LatestWins,
    /// The smallest version wins.
    EarliestWins,
    /// A person decides.
    Park,
    /// The first of these nodes that changed the key wins; if none of them did, the latest.
    Prefer(Vec<NodeId>),
    /// What every node added to these columns (shared names) is added up; the other columns are the latest's.
    Sum(Vec<Named>),
    /// A plugin with the role of a resolver decides.
    Plugin(PluginUse),
}

const POLICIES: [&str; 3] = ["latest-wins", "earliest-wins", "park"];
const EXAMPLE: &str = "\"latest-wins\"";

/// The section's `conflict`, if it has one. `sums` says whether columns can be named here.
pub(super) fn read(
    section: &Section<'_>,
    nodes: &[String],
    sums: bool,
    problems: &mut Problems<'_>,
) -> Option<Conflict> {
    let field = section.field("conflict", problems.source)?;
    if let Some(name) = field.item.as_str() {
        let policy = match name {
            "latest-wins" => Some(Conflict::LatestWins),
            "earliest-wins" => Some(Conflict::EarliestWins),
            "park" => Some(Conflict::Park),
            _ => None,
        };
        if policy.is_none() {
            let forms = "{ prefer = [nodes] }, { sum = [columns] } or { plugin = \"name\" }";
            let help = format!("{}, {forms}", nearest::suggestion(name, POLICIES, "policies"));
            problems.add(&field.value, section.show, format!("no conflict policy is called `{}`", shown(name)), help);
        }
        return policy;
    }
    if field.item.as_table_like().is_none() {
        section.wrong_type(&field, "a policy's name or a section", EXAMPLE, problems);
        return None;
    }
    let title = format!("`conflict` of {}", section.title);
    let policy = Section::open(&field, title, section.show, problems)?;
    let keys = policy.fields(problems.source);
    if keys.iter().any(|key| key.name == "plugin") {
        return plugins::read_use(&policy, problems).map(Conflict::Plugin);
    }
    policy.only(&["prefer", "sum", "plugin"], &|_| None, problems);
    let known: Vec<_> = keys.iter().filter(|key| matches!(key.name, "prefer" | "sum")).collect();
    match known[..] {
        [] if keys.is_empty() => {
            let help = "for example: conflict = { prefer = [\"office\"] }";
            problems.add(&field.value, section.show, "`conflict` names no policy", help);
            None
        }
        [] => None,
        [key] if key.name == "prefer" => prefer(&policy, nodes, problems),
        [key] if sums => policy.names(key.name, "[\"balance\"]", problems).map(Conflict::Sum),
        [key] => {
            let help = "columns belong to one table: put it in that table's [tables.…] section";
            problems.add(&key.key, section.show, "`sum` cannot be a default", help);
            None
        }
        _ => {
            let help = "`prefer` and `sum` exclude each other: remove one";
            problems.add(&field.key, section.show, "`conflict` names two policies", help);
            None
        }
    }
}

fn prefer(policy: &Section<'_>, nodes: &[String], problems: &mut Problems<'_>) -> Option<Conflict> {
    let names = policy.names("prefer", "[\"office\"]", problems)?;
    let order = names.iter().filter_map(|name| node_called(name, nodes, policy.show, problems)).collect();
    Some(Conflict::Prefer(order))
}
