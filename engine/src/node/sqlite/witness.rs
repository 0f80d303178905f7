//! The entries that prove a history to be the one whose changes others have applied.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row as DbRow, params};
use serde_json::Value as Document;

use super::failure::Told;
use super::install::history_name;
use super::quote;
use crate::model::{EntryId, TableSpec};
use crate::node::Result;

/// See [`crate::node::Node::holds`].
pub(super) fn holds(db: &Connection, entries: &[(&TableSpec, EntryId)]) -> Result<Vec<bool>> {
    let holds = |(spec, entry): &(&TableSpec, EntryId)| {
        let history = quote::name(&history_name(&spec.name));
        db.prepare_cached(&format!("SELECT EXISTS (SELECT 1 FROM {history} WHERE id = ?1 AND time = ?2 AND op <> '-')"))
            .and_then(|mut statement| statement.query_row([entry.id, entry.time], |row| row.get(0)))
            .told(|| format!("reading the history of `{}`", spec.name))
    };
    entries.iter().map(holds).collect()
}

/// See [`crate::node::Opened::kept`].
pub(super) fn kept(db: &Connection, specs: &[TableSpec]) -> Result<Vec<(usize, String, EntryId)>> {
    let doing = || "reading witnesses";
    let mut statement = db
        .prepare_cached("SELECT name, target, id, time FROM concord_witness ORDER BY name, target, id")
        .told(doing)?;
    let mut rows = statement.query([]).told(doing)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().told(doing)? {
        let read = |row: &DbRow<'_>| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        let (name, target, id, time) = read(row).told(doing)?;
        if let Some(spec) = specs.iter().find(|spec| spec.name == name) {
            found.push((spec.index, target, EntryId { mark: id, id, time }));
        }
    }
    Ok(found)
}

/// Remembers those witnesses that the history holds, in place of the same targets' former ones below `until`.
pub(super) fn keep(db: &Connection, spec: &TableSpec, until: i64, witnesses: &[(&str, EntryId)]) -> Result<()> {
    let doing = || "remembering witnesses";
    let mut write = db
        .prepare_cached(&format!(
            "INSERT OR REPLACE INTO concord_witness (name, target, id, time)
             SELECT ?1, ?2, id, time FROM {} WHERE id = ?3 AND op <> '-'",
            quote::name(&history_name(&spec.name))
        ))
        .told(doing)?;
    let mut targets: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for (target, entry) in witnesses {
        write.execute(params![spec.name, target, entry.id]).told(doing)?;
        targets.entry(target).or_default().push(entry.id);
    }
    let mut forget = db
        .prepare_cached(
            "DELETE FROM concord_witness WHERE name = ?1 AND target = ?2 AND id < ?3
                AND id NOT IN (SELECT value FROM json_each(?4))",
        )
        .told(doing)?;
    for (target, ids) in targets {
        forget.execute(params![spec.name, target, until, Document::from(ids).to_string()]).told(doing)?;
    }
    Ok(())
}
