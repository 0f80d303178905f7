//! `mapping = { plugin = … }`: what the shared rows of a node's table are.

use super::diagnostic::Show;
use super::plugins::{self, PluginUse};
use super::section::{Problems, Section, shown};
use super::{Conflict, Mode, TableConfig};

/// The section's `mapping`, if it has one.
pub(super) fn read(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<PluginUse> {
    plugins::read_role(section, "mapping", "{ plugin = \"reshape\" }", problems)
}

/// Refuses mappings where they cannot keep what they promise.
pub(super) fn judge(table: &TableConfig, problems: &mut Problems<'_>) {
    let title = format!("[tables.{}]", shown(&table.name));
    for mapping in table.nodes.iter().filter_map(|part| part.mapping.as_ref()) {
        let (what, help) = match () {
            () if table.mode == Mode::Compare => (
                format!("{title} is compared, and this version maps only tables of which a history is kept"),
                "remove `mapping`, or let triggers record the changes: remove `mode`",
            ),
            () if matches!(table.conflict, Conflict::Sum(_)) => (
                format!("{title} adds up changes, and a node with a mapping records those of columns of its own"),
                "remove `mapping`, or let another policy decide",
            ),
            () => continue,
        };
        problems.add(&mapping.place, Show::Line, what, help);
    }
}
