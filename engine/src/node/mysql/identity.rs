//! Whether the table that is written is the one that was read: no lock is held in between, and another may have taken its name.
//!
//! A trigger goes with its table when that is renamed, and there is only one of a name in a database. So a table that is recorded
//! is known by its triggers. The others are known by their columns alone: what users do there is carried nowhere.

use super::wire::{Args, int, string};
use super::{MySql, sql};
use crate::model::TableSpec;
use crate::node::{Error, Result};

/// The columns and triggers of one table, a row each.
const LOOK: &str = "(SELECT CONCAT_WS(' ', 'column', c.COLUMN_NAME, c.ORDINAL_POSITION, c.COLUMN_TYPE, c.IS_NULLABLE, \
        c.COLLATION_NAME, c.EXTRA) AS fact, ? AS place \
    FROM information_schema.COLUMNS AS c WHERE c.TABLE_SCHEMA = DATABASE() AND c.TABLE_NAME = ?) \
    UNION ALL (SELECT CONCAT_WS(' ', 'trigger', t.TRIGGER_NAME, t.CREATED), ? \
    FROM information_schema.TRIGGERS AS t WHERE t.EVENT_OBJECT_SCHEMA = DATABASE() AND t.EVENT_OBJECT_TABLE = ?)";

/// Tables in one statement.
const TABLES: usize = 16;

/// Statements that keep tables what they are until the transaction ends, each after a semicolon.
pub fn hold(tables: &[TableSpec]) -> String {
    tables.iter().map(|table| format!("; SELECT 1 FROM {} LIMIT 1", sql::table(table))).collect()
}

impl MySql {
    /// What is another text after whatever was done to a table or put in its place, for each table.
    async fn read_identities(&mut self, tables: &[TableSpec]) -> Result<Vec<String>> {
        let mut facts: Vec<Vec<String>> = vec![Vec::new(); tables.len()];
        for (part, first) in tables.chunks(TABLES).zip((0..).step_by(TABLES)) {
            let mut args = Args::new();
            for (table, place) in part.iter().zip(first..) {
                let place: i64 = place;
                args.add(place).add(table.local.as_str()).add(place).add(table.local.as_str());
            }
            let statement = vec![LOOK; part.len()].join(" UNION ALL ");
            for row in self.main()?.fetch(&statement, args).await? {
                let place = int(&row, 1)?;
                if let Some(facts) = usize::try_from(place).ok().and_then(|place| facts.get_mut(place)) {
                    facts.push(string(&row, 0)?);
                }
            }
        }
        let identity = |mut facts: Vec<String>| {
            facts.sort_unstable();
            facts.join("\n")
        };
        Ok(facts.into_iter().map(identity).collect())
    }

    /// Takes note of what the tables are that are read now.
    pub(super) async fn note_identities(&mut self, tables: &[TableSpec]) -> Result<()> {
        let identities = self.read_identities(tables).await?;
        self.identities.extend(tables.iter().map(|table| table.index).zip(identities));
        Ok(())
    }

    /// Fails unless the tables, which are held, are what they were when they were read, as far as matters. Of tables that were
    /// not read nothing was decided.
    pub(super) async fn refuse_others(&mut self, tables: &[TableSpec], installed: bool) -> Result<()> {
        let read: Vec<TableSpec> =
            tables.iter().filter(|spec| self.identities.contains_key(&spec.index)).cloned().collect();
        let now = self.read_identities(&read).await?;
        let others: Vec<TableSpec> = read
            .into_iter()
            .zip(now)
            .filter(|(spec, now)| self.identities.get(&spec.index) != Some(now))
            .map(|(spec, _)| spec)
            .collect();
        let Some(first) = others.first() else { return Ok(()) };
        if !installed {
            return Err(Error::changed(first, ""));
        }
        let now = self.fingerprints(&others).await?;
        match self.compare(&others, &now).into_iter().next() {
            None => Ok(()),
            Some((index, drift)) => {
                let table = others.iter().find(|spec| spec.index == index).unwrap_or(first);
                Err(Error::changed(table, &format!(": {}", drift.what)))
            }
        }
    }
}
