//! `mode = "compare"`: tables that are kept in step by comparing their rows, and what cannot be had of them.

use super::diagnostic::{Place, Show};
use super::nearest;
use super::section::{Named, Problems, Section, shown, shown_key};
use super::{Conflict, TableConfig};

/// By what a table is kept in step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Triggers record what is changed.
    #[default]
    Triggers,
    /// All rows are compared, at all nodes; nothing but the rows themselves tells what was changed.
    Compare,
}

/// `mode` of a table, with its place.
pub(super) fn mode(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<(Mode, Place)> {
    read(section, &["compare", "triggers"], problems)
}

/// `mode` of a node. What it says holds for all tables, and triggers it cannot demand: a table at which another node is compared
/// has none.
pub(super) fn mode_of_node(section: &Section<'_>, problems: &mut Problems<'_>) -> Mode {
    read(section, &["compare"], problems).map_or(Mode::Triggers, |(mode, _)| mode)
}

fn read(section: &Section<'_>, allowed: &[&str], problems: &mut Problems<'_>) -> Option<(Mode, Place)> {
    let text = section.text("mode", "\"compare\"", problems)?;
    match text.name.as_str() {
        "compare" => Some((Mode::Compare, text.place)),
        "triggers" if allowed.contains(&"triggers") => Some((Mode::Triggers, text.place)),
        other => {
            let help = nearest::suggestion(other, allowed.iter().copied(), "what it can be");
            problems.add(&text.place, section.show, format!("`mode` cannot be `{}`", shown(other)), help);
            None
        }
    }
}

/// The mode of a table, of which `own` is what its section says, and `node` the first that can only be compared.
pub(super) fn mode_of(
    table: &str,
    own: Option<(Mode, Place)>,
    node: Option<&str>,
    problems: &mut Problems<'_>,
) -> Mode {
    match (own, node) {
        (Some((Mode::Triggers, place)), Some(node)) => {
            let what = format!("`{}` cannot go by triggers: [nodes.{node}] is compared", shown(table));
            let help =
                format!("a table is compared at all nodes or at none: remove `mode` here, or from [nodes.{node}]");
            problems.add(&place, Show::Line, what, help);
            Mode::Compare
        }
        (Some((mode, _)), None) => mode,
        (None, None) => Mode::Triggers,
        (_, Some(_)) => Mode::Compare,
    }
}

/// Refuses what a comparison cannot do of a table that is compared. `why` is where that is said, and `node` the node because of
/// which it is, if it is one.
pub(super) fn judge(
    table: &TableConfig,
    why: &Place,
    node: Option<&str>,
    conflict: Option<&Place>,
    operations: Option<&Place>,
    ids: Option<&Place>,
    problems: &mut Problems<'_>,
) {
    let (name, key) = (shown(&table.name), shown_key(&table.name));
    let compared = match node {
        None => "compared".to_owned(),
        Some(node) => format!("compared, as [nodes.{node}] is,"),
    };
    if let Some(place) = ids {
        let what = format!("`{name}` is {compared} and `ids` is for tables with triggers");
        problems.add(place, Show::Line, what, "remove `ids`; use uuids, or give each node a range of its own");
    }
    if table.from.is_some() {
        return;
    }
    match &table.updated {
        None => {
            let what =
                format!("`{name}` is {compared} and goes both ways, and nothing tells which of two rows is the later");
            let help = format!(
                "name a column that tells when a row was changed: updated = \"changed_at\" in [tables.{key}]; or the only \
                 node at which it is changed: from = \"…\""
            );
            problems.add(why, Show::Line, what, help);
        }
        Some(updated) => refuse_omitted(table, updated, problems),
    }
    if table.operations.delete {
        let what = format!(
            "deletes of `{name}` cannot go both ways: where a row is missing at one node, a comparison cannot tell whether it \
             was deleted there or created at the other"
        );
        let help = format!(
            "leave deletes where they are made: operations = [\"insert\", \"update\"] in [tables.{key}]; or name the only \
             node at which it is changed: from = \"…\"; or let triggers record it (remove mode = \"compare\")"
        );
        problems.add(operations.unwrap_or(why), Show::Line, what, help);
    }
    if let Conflict::EarliestWins | Conflict::Sum(_) | Conflict::Plugin(_) = table.conflict {
        let what =
            format!("`{name}` is {compared} and the later `updated` wins: without a history there is no other rule");
        let help = format!(
            "of rows that are equally late, conflict = {{ prefer = [nodes] }} in [tables.{key}] takes one, and \
             \"latest-wins\" or \"park\" leaves them to a person"
        );
        problems.add(conflict.unwrap_or(why), Show::Line, what, help);
    }
}

fn refuse_omitted(table: &TableConfig, updated: &Named, problems: &mut Problems<'_>) {
    // The catalogue's case may be another than that of either.
    let is_it = |omitted: &&Named| omitted.name.eq_ignore_ascii_case(&updated.name);
    for omitted in table.nodes.iter().flat_map(|part| &part.omit).filter(is_it) {
        let what = format!(
            "`{}` tells which row of `{}` is the later, and does not live at this node",
            shown(&updated.name),
            shown(&table.name)
        );
        problems.add(&omitted.place, Show::Line, what, "add the column there, or name another one as `updated`");
    }
}
