//! `mapping = { plugin = … }`: what the shared rows of a node's table are.

use super::diagnostic::Show;
use super::plugins::{self, PluginUse};
use super::section::{Problems, Section, shown_key};
use super::{Mode, TableConfig};

/// The section's `mapping`, if it has one.
pub(super) fn read(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<PluginUse> {
    plugins::read_role(section, "mapping", "{ plugin = \"reshape\" }", problems)
}

/// Refuses mappings where they cannot keep what they promise.
pub(super) fn judge(table: &TableConfig, problems: &mut Problems<'_>) {
    let title = format!("[tables.{}]", shown_key(&table.name));
    for mapping in table.nodes.iter().filter_map(|part| part.mapping.as_ref()) {
        if table.mode == Mode::Compare {
            let what = format!("{title} is compared, and this version maps only tables of which a history is kept");
            let help = "remove `mapping`, or let triggers record the changes: remove `mode`";
            problems.add(&mapping.place, Show::Line, what, help);
        }
    }
}
