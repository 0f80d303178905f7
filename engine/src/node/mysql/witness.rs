//! The entries that prove a history to be the one whose changes others have applied.

use std::collections::BTreeMap;
use std::collections::HashSet;

use super::wire::{Args, int};
use super::{MySql, sql};
use crate::model::{Cut, EntryId, Position, TableSpec};
use crate::node::Result;

/// What is remembered here about the histories of this node and of others, by table index.
#[derive(Default)]
pub struct Remembered {
    pub positions: Vec<(usize, String, Position)>,
    pub purged: Vec<(usize, Cut)>,
    pub kept: Vec<(usize, String, EntryId)>,
}

impl MySql {
    /// See [`crate::node::Node::holds`].
    pub(super) async fn find_entries(&mut self, entries: &[(&TableSpec, EntryId)]) -> Result<Vec<bool>> {
        let mut tables: BTreeMap<usize, (&TableSpec, Vec<i64>)> = BTreeMap::new();
        for (table, entry) in entries {
            tables.entry(table.index).or_insert((table, Vec::new())).1.push(entry.id);
        }
        let stamp = self.stamp;
        let mut found = HashSet::new();
        for (index, (table, ids)) in tables {
            for part in ids.chunks(sql::KEYS) {
                let mut args = Args::new();
                args.add(stamp).all(part);
                let list = vec!["?"; part.len()].join(", ");
                let statement = format!(
                    "SELECT COALESCE(NULLIF(h.mark, {}), ?), h.id, h.time FROM {} AS h WHERE h.id IN ({list})",
                    sql::NO_MARK,
                    sql::history(table)
                );
                for row in self.main()?.fetch(&statement, args).await? {
                    found.insert((index, EntryId { mark: int(&row, 0)?, id: int(&row, 1)?, time: int(&row, 2)? }));
                }
            }
        }
        Ok(entries.iter().map(|(table, entry)| found.contains(&(table.index, *entry))).collect())
    }

    /// Remembers those `witnesses` that the history holds, and forgets the same targets' former ones that lie before a cut.
    pub(super) async fn remember(
        &mut self,
        table: &TableSpec,
        through: &Cut,
        witnesses: &[(&str, EntryId)],
    ) -> Result<()> {
        let mut targets: Vec<&str> = witnesses.iter().map(|(target, _)| *target).collect();
        targets.sort_unstable();
        targets.dedup();
        for target in targets {
            let own = || witnesses.iter().filter(|(name, _)| *name == target);
            let mut args = Args::new();
            let (passed, marks) = sql::passed(through);
            args.add(table.name.as_str()).add(target).all(&marks);
            let mut keep = String::new();
            for (_, entry) in own() {
                args.add(entry.mark).add(entry.id);
                keep += " AND NOT (h.mark = ? AND h.id = ?)";
            }
            let statement =
                format!("DELETE h FROM concord_witness AS h WHERE h.name = ? AND h.target = ? AND {passed}{keep}");
            self.main()?.execute(&statement, args).await?;
            for (_, entry) in own() {
                let mut args = Args::new();
                args.add(table.name.as_str()).add(target).add(entry.mark).add(entry.id);
                let statement = format!(
                    "INSERT INTO concord_witness (name, target, mark, id, time) SELECT ?, ?, h.mark, h.id, h.time \
                     FROM {} AS h WHERE h.mark = ? AND h.id = ? \
                     ON DUPLICATE KEY UPDATE time = VALUES(time)",
                    sql::history(table)
                );
                self.main()?.execute(&statement, args).await?;
            }
        }
        Ok(())
    }
}
