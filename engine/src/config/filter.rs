//! `filter = { plugin = … }`: which rows belong at a node.

use super::diagnostic::Show;
use super::plugins::{self, PluginUse};
use super::section::{Problems, Section, shown, shown_key};
use super::{Conflict, Mode, Operations, TableConfig};

/// The section's `filter`, if it has one.
pub(super) fn read(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<PluginUse> {
    plugins::read_role(section, "filter", "{ plugin = \"cel\", keep = \"row.region == 'EU'\" }", problems)
}

/// Refuses filters where they cannot keep what they promise.
pub(super) fn judge(table: &TableConfig, names: &[String], problems: &mut Problems<'_>) {
    let title = format!("[tables.{}]", shown_key(&table.name));
    let filtered = table.nodes.iter().filter_map(|part| Some((part, part.filter.as_ref()?)));
    for (part, filter) in filtered.clone() {
        let node = names.get(part.node.index()).map_or("", String::as_str);
        let (what, help) = match () {
            () if table.mode == Mode::Compare => (
                format!(
                    "{title} is compared, and which rows belong at a node only a history can tell from those that were deleted"
                ),
                "remove `filter`, or let triggers record the changes: remove `mode`",
            ),
            () if table.from == Some(part.node) => (
                format!(
                    "rows of {title} come from `{node}` and are never brought there, so there is nothing to filter"
                ),
                "put the filter at a node that takes the rows",
            ),
            () if table.operations != Operations::ALL => (
                format!("{title} does not carry all operations, and which rows belong at a node changes with each"),
                "remove `filter`, or `operations`",
            ),
            () if matches!(table.conflict, Conflict::Sum(_)) => (
                format!(
                    "{title} adds up changes, and where a row does not belong nobody can tell what a new one adds to"
                ),
                "remove `filter`, or let another policy decide",
            ),
            () => continue,
        };
        problems.add(&filter.place, Show::Line, what, help);
    }
    if filtered.clone().next().is_none() {
        return;
    }
    for column in table.nodes.iter().flat_map(|part| &part.omit) {
        let what = format!("`{}` is left out at a node, and {title} has filters", shown(&column.name));
        let help = "where rows come and go, nobody may be left who has the column: remove `omit`, or `filter`";
        problems.add(&column.place, Show::Line, what, help);
    }
}
