//! A row of each table that has to be there: TRUNCATE, DROP PARTITION and their like take rows away and fire no trigger.
//!
//! Of every table the key of one row is kept. A row that is gone left an entry when a user deleted it, and when Concord
//! deletes it, it forgets the key in the same transaction. So one that is gone without an entry did not go alone.

use std::collections::HashMap;

use super::schema::one;
use super::service::{hash, key_from_text, key_text};
use super::wire::{Args, Wire, int, number, string, text};
use super::{MySql, sql};
use crate::model::{Dot, Key, NodeId, TableSpec, Vector};
use crate::node::{Drift, GIVEN_UP, Result};

/// The last delete that is recorded of a row.
struct Gone {
    id: i64,
    /// `None` as long as nobody has read it.
    mark: Option<i64>,
    /// Whether a user made it.
    by_user: bool,
}

impl Gone {
    /// Whether a decision that a later entry tells of, with this mark and this vector, was taken knowing of the delete: the vector says
    /// so, or the delete had its mark by then, as of what everybody has passed no vector tells. Else a user deleted the row meanwhile. Then
    /// none was written: what is only told of is entered without a look for such deletes.
    fn is_known_to(&self, here: Option<NodeId>, mark: Option<i64>, vector: Option<&Vector>) -> bool {
        let (Some(node), Some(vector)) = (here, vector) else { return true };
        let was_read = self.mark.is_some_and(|own| mark.is_none_or(|mark| own < mark));
        !self.by_user || was_read || vector.saw(&Dot { node, number: self.id, mark: 0 })
    }
}

/// The mark of an entry `h`, `NULL` as long as it has none; takes the name of the table.
fn mark() -> String {
    format!(
        "COALESCE(NULLIF(h.mark, {}), (SELECT m.mark FROM concord_marked AS m WHERE m.name = ? \
            AND h.id BETWEEN m.first AND m.last LIMIT 1))",
        sql::NO_MARK
    )
}

impl MySql {
    /// Which of the tables have lost rows unrecorded, as the snapshot shows. Others get a new row to look for where they
    /// need one. `node` is what this one is called.
    pub(super) async fn look_for_samples(&mut self, node: &str, tables: &[&TableSpec]) -> Result<Vec<(usize, Drift)>> {
        let mut kept = HashMap::new();
        for row in self.main()?.fetch("SELECT name, `key` FROM concord_sample", Args::new()).await? {
            kept.insert(string(&row, 0)?, string(&row, 1)?);
        }
        let mut lost = Vec::new();
        for spec in tables.iter().filter(|spec| spec.captured) {
            let key = kept.get(&spec.name).and_then(|text| key_from_text(spec, text));
            match key {
                Some(key) if self.is_there(spec, &key).await? => {}
                Some(key) if !self.was_deleted(node, spec, &key).await? => {
                    let what = "rows are gone that nobody deleted one by one, as after TRUNCATE or DROP PARTITION";
                    lost.push((spec.index, Drift { what: what.to_owned(), unrecorded: true, dropped: false }));
                }
                Some(_) | None => self.keep_sample(spec, kept.contains_key(&spec.name)).await?,
            }
        }
        Ok(lost)
    }

    async fn is_there(&mut self, spec: &TableSpec, key: &Key) -> Result<bool> {
        let mut args = Args::new();
        let condition = sql::with_keys(&mut args, spec, "t", &[key]);
        let statement = format!("SELECT 1 FROM {} AS t WHERE {condition} LIMIT 1", sql::table(spec));
        Ok(!self.main()?.fetch(&statement, args).await?.is_empty())
    }

    /// Whether the last that is known of a row is that somebody deleted it. What was only passed says nothing about it. Nor does an
    /// update by a user, as it brings no row back: of a row that one reference deletes and another changes, it may be recorded last. Nor
    /// does what was decided elsewhere without knowing of the delete.
    async fn was_deleted(&mut self, node: &str, spec: &TableSpec, key: &Key) -> Result<bool> {
        let Some(gone) = self.last_delete(spec, key).await? else { return Ok(false) };
        let mut args = one(&spec.name);
        let condition = sql::of_keys(&mut args, spec, &[key]);
        args.add(gone.id);
        let statement = format!(
            "SELECT {}, h.op, h.origin, h.vector FROM {} AS h WHERE {condition} AND h.id > ? AND h.op <> 'P' \
             AND NOT (h.op = 'U' AND h.origin IS NULL)",
            mark(),
            sql::history(spec)
        );
        let (here, names) = (self.node_id(node), self.names.clone());
        let mut is_back = false;
        self.main()?
            .stream(&statement, args, |row| {
                let is_plain = text(&row, 2).is_none() || text(&row, 1).is_none_or(|op| op == GIVEN_UP);
                let vector = text(&row, 3).and_then(|text| Vector::read(&text, &names));
                is_back |= is_plain || gone.is_known_to(here, number(&row, 0), vector.as_ref());
                Ok(())
            })
            .await?;
        Ok(!is_back)
    }

    async fn last_delete(&mut self, spec: &TableSpec, key: &Key) -> Result<Option<Gone>> {
        let mut args = one(&spec.name);
        let condition = sql::of_keys(&mut args, spec, &[key]);
        let statement = format!(
            "SELECT h.id, {}, h.origin FROM {} AS h WHERE {condition} AND h.op = 'D' ORDER BY h.id DESC LIMIT 1",
            mark(),
            sql::history(spec)
        );
        let rows = self.main()?.fetch(&statement, args).await?;
        let gone = |row| Ok(Gone { id: int(row, 0)?, mark: number(row, 1), by_user: text(row, 2).is_none() });
        rows.first().map(gone).transpose()
    }

    /// Keeps the key of a row that nobody is about to delete: it is locked until the key is kept, and whoever deletes it for
    /// Concord looks for the key after that.
    async fn keep_sample(&mut self, spec: &TableSpec, had: bool) -> Result<()> {
        let kept = self.write_sample(spec, had).await;
        if kept.is_err() {
            self.side = None;
        }
        kept
    }

    async fn write_sample(&mut self, spec: &TableSpec, had: bool) -> Result<()> {
        let wires: Vec<Wire> = spec.key_columns().map(Wire::of).collect();
        let names: Vec<String> =
            spec.key_columns().map(|column| sql::outgoing(column, &super::quote::of("t", &column.name))).collect();
        let side = self.side().await?;
        side.run("START TRANSACTION").await?;
        let lock = if side.facts.maria { "LOCK IN SHARE MODE SKIP LOCKED" } else { "FOR SHARE SKIP LOCKED" };
        let statement = format!("SELECT {} FROM {} AS t LIMIT 1 {lock}", names.join(", "), sql::table(spec));
        let found = side.fetch(&statement, Args::new()).await?;
        let key: Option<Key> =
            found.first().and_then(|row| wires.iter().enumerate().map(|(at, wire)| wire.read(row, at).ok()).collect());
        match key {
            Some(key) => {
                let mut args = one(&spec.name);
                args.add(hash(spec, &key)).add(key_text(spec, &key));
                side.execute("REPLACE INTO concord_sample (name, hash, `key`) VALUES (?, ?, ?)", args).await?;
            }
            None if had => {
                side.execute("DELETE FROM concord_sample WHERE name = ?", one(&spec.name)).await?;
            }
            None => {}
        }
        side.run("COMMIT").await
    }

    /// Forgets the row to look for if Concord has just deleted it.
    pub(super) async fn forget_samples(&mut self, spec: &TableSpec, keys: &[&Key]) -> Result<()> {
        let mut args = one(&spec.name);
        for key in keys {
            args.add(hash(spec, key));
        }
        let list = vec!["?"; keys.len()].join(", ");
        let statement = format!("DELETE FROM concord_sample WHERE name = ? AND hash IN ({list})");
        self.main()?.execute(&statement, args).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_back_by_what_knew_that_it_was_deleted() {
        let (here, there) = (NodeId(1), NodeId(0));
        let seen = |node, number| Vector::of(Dot { node, number, mark: 0 });
        let (mut of_delete, of_another, nothing) = (seen(here, 10), seen(there, 7), Vector::EMPTY);
        of_delete.join(&of_another);
        let known = |mark, by_user, later, vector: &Vector| {
            Gone { id: 10, mark, by_user }.is_known_to(Some(here), later, Some(vector))
        };
        // Read together for the first time, or the delete later, as it was committed late.
        for (mark, later) in [(None, None), (Some(5), Some(5)), (None, Some(5)), (Some(6), Some(5))] {
            assert!(known(mark, true, later, &of_delete), "{mark:?} {later:?}");
            assert!(!known(mark, true, later, &of_another) && !known(mark, true, later, &seen(here, 9)), "{mark:?}");
        }
        // The delete was read before: of what all have passed nobody tells any more.
        for later in [None, Some(6)] {
            assert!(known(Some(5), true, later, &of_another) && known(Some(5), true, later, &nothing), "{later:?}");
        }
        assert!(known(Some(5), false, Some(5), &of_another), "Concord deletes and writes one after the other");
        assert!(Gone { id: 10, mark: None, by_user: true }.is_known_to(Some(here), None, None), "it cannot be read");
    }
}
