//! The entries that prove a history to be the one whose changes others have applied.
//!
//! An entry proves it where it stands, or among those that were remembered when they were purged. Either was written under
//! a number not below the entry's own. Where it seems otherwise the rows were put into a server that counts anew, as from
//! a dump, and changes made there may have numbers below those that others have passed: there an entry proves nothing.

use std::collections::{BTreeMap, HashSet};

use super::schema::get;
use super::wire::{Args, read_mark};
use super::{Postgres, sql};
use crate::model::{Cut, EntryId, TableSpec};
use crate::node::Result;

/// The columns by which [`Written::read`] reads a row `h` of a history or of the entries remembered.
pub const WRITTEN: &str = "h.xid, h.id, h.\"time\", h.xmin::pg_catalog.text::pg_catalog.int8";

/// An entry as a row that some transaction wrote.
pub struct Written {
    entry: EntryId,
    /// The last 32 bits of that transaction's number.
    by: i64,
}

impl Written {
    /// Reads [`WRITTEN`] from the column `first` on.
    pub fn read(row: &sqlx::postgres::PgRow, first: usize) -> Result<Written> {
        let entry = EntryId { mark: read_mark(row, first)?, id: get(row, first + 1)?, time: get(row, first + 2)? };
        Ok(Written { entry, by: get(row, first + 3)? })
    }

    /// The entry, unless the transactions below `next` cannot have written it.
    pub fn proven(self, next: i64) -> Option<EntryId> {
        let latest = next - 1 - (next - 1 - self.by).rem_euclid(1 << 32);
        (latest >= self.entry.mark).then_some(self.entry)
    }
}

impl Postgres {
    /// See [`crate::node::Node::holds`].
    pub(super) async fn find_entries(&mut self, entries: &[(&TableSpec, EntryId)]) -> Result<Vec<bool>> {
        let mut tables: BTreeMap<usize, (&TableSpec, Vec<EntryId>)> = BTreeMap::new();
        for (table, entry) in entries {
            tables.entry(table.index).or_insert((table, Vec::new())).1.push(*entry);
        }
        let mut args = Args::new();
        let mut parts = Vec::new();
        for (index, (table, wanted)) in &tables {
            args.marks(wanted.iter().map(|entry| entry.mark));
            args.add(wanted.iter().map(|entry| entry.id).collect::<Vec<_>>());
            let at = args.count();
            parts.push(format!(
                "SELECT {index}::pg_catalog.int8, {WRITTEN} FROM {} AS h \
                 WHERE h.xid OPERATOR(pg_catalog.=) ANY (${}::pg_catalog.xid8[]) \
                    AND h.id OPERATOR(pg_catalog.=) ANY (${at}::pg_catalog.int8[])",
                sql::history(table),
                at - 1
            ));
        }
        let mut found = HashSet::new();
        for row in self.fetch(parts.join(" UNION ALL "), args).await? {
            if let Some(entry) = Written::read(&row, 1)?.proven(self.whole.next()) {
                found.insert((get::<i64>(&row, 0)?, entry));
            }
        }
        Ok(entries.iter().map(|(table, entry)| found.contains(&(table.index as i64, *entry))).collect())
    }
}

/// Parts of a `WITH` that has `some_ (are)`, whether there are entries of `table` to be purged, and the table's name as
/// parameter `name`. They remember those `witnesses` that the history holds, and forget the same targets' former ones,
/// where `passed` is that a row `h` lies before the cut through which is purged.
pub fn remember(
    args: &mut Args,
    table: &TableSpec,
    name: usize,
    passed: &str,
    witnesses: &[(&str, EntryId)],
) -> String {
    args.add(witnesses.iter().map(|(target, _)| (*target).to_owned()).collect::<Vec<_>>());
    let targets = args.count();
    args.marks(witnesses.iter().map(|(_, entry)| entry.mark));
    let marks = args.count();
    args.add(witnesses.iter().map(|(_, entry)| entry.id).collect::<Vec<_>>());
    let ids = args.count();
    let wanted = format!(
        "unnest(${targets}::pg_catalog.text[], ${marks}::pg_catalog.xid8[], ${ids}::pg_catalog.int8[]) AS w (target, xid, id)"
    );
    format!(
        "kept AS (INSERT INTO concord.witness (\"table\", target, xid, id, \"time\") \
            SELECT ${name}, w.target, h.xid, h.id, h.\"time\" FROM some_, {wanted} JOIN {} AS h \
                ON h.xid OPERATOR(pg_catalog.=) w.xid AND h.id OPERATOR(pg_catalog.=) w.id \
            WHERE are ON CONFLICT DO NOTHING), \
         forgotten AS (DELETE FROM concord.witness AS h USING some_ WHERE are AND h.\"table\" = ${name} \
            AND h.target = ANY (${targets}::pg_catalog.text[]) AND {passed} \
            AND NOT EXISTS (SELECT FROM {wanted} WHERE w.target = h.target \
                AND w.xid OPERATOR(pg_catalog.=) h.xid AND w.id OPERATOR(pg_catalog.=) h.id))",
        sql::history(table)
    )
}

/// What is remembered here about the histories of this node and of others, by table index.
#[derive(Default)]
pub struct Remembered {
    pub positions: Vec<(usize, String, crate::model::Position)>,
    pub purged: Vec<(usize, Cut)>,
    pub kept: Vec<(usize, String, EntryId)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_written_under_no_lower_number_than_its_own() {
        const ROUND: i64 = 1 << 32;
        let proven = |mark, by: i64, next| {
            let entry = EntryId { mark, id: 1, time: 1 };
            Written { entry, by: by.rem_euclid(ROUND) }.proven(next).is_some()
        };
        // By its own transaction, or by one that purged it, also long ago.
        for (mark, by, next) in
            [(900, 900, 901), (900, 950, 1_000), (900, 950, 3 * ROUND), (ROUND + 5, ROUND + 5, ROUND + 9)]
        {
            assert!(proven(mark, by, next), "{mark} by {by} before {next}");
        }
        // By the one that filled a server which had come less far.
        for (mark, by, next) in [(900, 800, 2_000), (ROUND + 5, 800, 2_000), (ROUND + 5, ROUND + 4, ROUND + 9)] {
            assert!(!proven(mark, by, next), "{mark} by {by} before {next}");
        }
    }
}
