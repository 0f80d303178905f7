//! A row of each table that has to be there: TRUNCATE, DROP PARTITION and their like take rows away and fire no trigger.
//!
//! Of every table the key of one row is kept. A row that is gone left an entry when a user deleted it, and when Concord
//! deletes it, it forgets the key in the same transaction. So one that is gone without an entry did not go alone.

use std::collections::HashMap;

use super::schema::one;
use super::service::{hash, key_from_text, key_text};
use super::wire::{Args, Wire, string, text};
use super::{MySql, sql};
use crate::model::{Key, TableSpec};
use crate::node::{Drift, Result};

impl MySql {
    /// Which of the tables have lost rows unrecorded, as the snapshot shows. Others get a new row to look for where they
    /// need one.
    pub(super) async fn look_for_samples(&mut self, tables: &[&TableSpec]) -> Result<Vec<(usize, Drift)>> {
        let mut kept = HashMap::new();
        for row in self.main()?.fetch("SELECT name, `key` FROM concord_sample", Args::new()).await? {
            kept.insert(string(&row, 0)?, string(&row, 1)?);
        }
        let mut lost = Vec::new();
        for spec in tables.iter().filter(|spec| spec.captured) {
            let key = kept.get(&spec.name).and_then(|text| key_from_text(spec, text));
            match key {
                Some(key) if self.is_there(spec, &key).await? => {}
                Some(key) if !self.was_deleted(spec, &key).await? => {
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
    /// update by a user, as it brings no row back: of a row that one reference deletes and another changes, it may be recorded last.
    async fn was_deleted(&mut self, spec: &TableSpec, key: &Key) -> Result<bool> {
        let mut args = Args::new();
        let condition = sql::of_keys(&mut args, spec, &[key]);
        let statement = format!(
            "SELECT h.op FROM {} AS h WHERE {condition} AND h.op <> 'P' AND NOT (h.op = 'U' AND h.origin IS NULL) \
             ORDER BY h.id DESC LIMIT 1",
            sql::history(spec)
        );
        let rows = self.main()?.fetch(&statement, args).await?;
        Ok(rows.first().and_then(|row| text(row, 0)).is_some_and(|op| op == "D"))
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
