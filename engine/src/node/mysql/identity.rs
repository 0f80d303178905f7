//! Whether the table that is written is the one that was read: no lock is held in between, and another may have taken its name.
//!
//! A trigger goes with its table when that is renamed, and there is only one of a name in a database. So a table that is recorded
//! is known by its triggers. The others are known by their columns alone: what users do there is carried nowhere.
//!
//! The same look tells which triggers users have now. They decide how rows are written and what is looked at afterwards, and are in
//! no fingerprint, since they may come and go.

use std::collections::BTreeSet;

use super::wire::{Args, int, string, text};
use super::{MySql, capture, sql};
use crate::model::TableSpec;
use crate::node::{Error, Result};

/// The columns and triggers of one table, a row each: with the name of a trigger that is a user's, see
/// [`may_be_ours`](super::schema::TriggerFacts::may_be_ours), and of its table, which other letters may spell.
const COLUMNS: &str = "(SELECT CONCAT_WS(' ', 'column', c.COLUMN_NAME, c.ORDINAL_POSITION, c.COLUMN_TYPE, c.IS_NULLABLE, \
        c.COLLATION_NAME, c.EXTRA) AS fact, ? AS place, NULL AS users, NULL AS its_table, NULL AS event \
    FROM information_schema.COLUMNS AS c WHERE c.TABLE_SCHEMA = DATABASE() AND c.TABLE_NAME = ?)";

const TRIGGERS: &str = "(SELECT CONCAT_WS(' ', 'trigger', t.TRIGGER_NAME, t.CREATED), ?, \
        IF(CAST(LEFT(t.TRIGGER_NAME, 8) AS BINARY) = CAST('concord_' AS BINARY) \
            AND COALESCE(LOCATE(CAST(? AS BINARY), CAST(t.ACTION_STATEMENT AS BINARY)) > 0, TRUE), NULL, t.TRIGGER_NAME), \
        t.EVENT_OBJECT_TABLE, CONCAT_WS(' ', t.ACTION_TIMING, t.EVENT_MANIPULATION) \
    FROM information_schema.TRIGGERS AS t WHERE t.EVENT_OBJECT_SCHEMA = DATABASE() AND t.EVENT_OBJECT_TABLE = ?)";

/// Tables in one statement.
const TABLES: usize = 16;

/// Statements that keep tables what they are until the transaction ends, each after a semicolon.
pub fn hold(tables: &[TableSpec]) -> String {
    tables.iter().map(|table| format!("; SELECT 1 FROM {} LIMIT 1", sql::table(table))).collect()
}

/// What a look shows of a table.
#[derive(Default)]
struct Look {
    facts: Vec<String>,
    /// The names of users' triggers.
    users: BTreeSet<String>,
    /// Whether one of them sees rows before they are inserted.
    is_before_insert: bool,
}

impl Look {
    /// What is another text after whatever was done to the table or put in its place.
    fn identity(&self) -> String {
        self.facts.join("\n")
    }

    /// Whether users have other triggers than when the table was looked up.
    fn has_others_than(&self, table: &TableSpec) -> bool {
        !self.users.iter().eq(table.user_triggers.iter().collect::<BTreeSet<_>>())
    }
}

impl MySql {
    /// Looks at tables, in their order.
    async fn look_at(&mut self, tables: &[TableSpec]) -> Result<Vec<Look>> {
        let mut looks: Vec<Look> = tables.iter().map(|_| Look::default()).collect();
        for (part, first) in tables.chunks(TABLES).zip((0..).step_by(TABLES)) {
            let mut args = Args::new();
            for (table, place) in part.iter().zip(first..) {
                let (place, local): (i64, _) = (place, table.local.as_str());
                args.add(place).add(local).add(place).add(capture::OURS).add(local);
            }
            let statement = vec![format!("{COLUMNS} UNION ALL {TRIGGERS}"); part.len()].join(" UNION ALL ");
            for row in self.main()?.fetch(&statement, args).await? {
                let place = usize::try_from(int(&row, 1)?).ok();
                let Some(at) = place.filter(|at| *at < tables.len()) else { continue };
                let look = &mut looks[at];
                look.facts.push(string(&row, 0)?);
                let is_its_own = text(&row, 3).is_some_and(|table| table == tables[at].local);
                if let Some(trigger) = text(&row, 2).filter(|_| is_its_own) {
                    let event = text(&row, 4).unwrap_or_default();
                    look.is_before_insert |= event.starts_with("BEFORE") && event.contains("INSERT");
                    look.users.insert(trigger);
                }
            }
        }
        looks.iter_mut().for_each(|look| look.facts.sort_unstable());
        Ok(looks)
    }

    /// Takes note of what the tables are that are read now.
    pub(super) async fn note_identities(&mut self, tables: &[TableSpec]) -> Result<()> {
        let looks = self.look_at(tables).await?;
        self.identities.extend(tables.iter().zip(looks).map(|(table, look)| (table.index, look.identity())));
        Ok(())
    }

    /// Fails unless the tables, which are held, are what they were when they were read, as far as matters, and have the triggers of
    /// users that they had when they were looked up. Of tables that were not read nothing was decided.
    pub(super) async fn refuse_others(&mut self, tables: &[TableSpec], installed: bool) -> Result<()> {
        let compared = self.compare_with_read(tables, installed).await;
        if compared.is_err() {
            // Nothing is written, so whoever alters them need not wait.
            self.close().await;
        }
        compared
    }

    async fn compare_with_read(&mut self, tables: &[TableSpec], installed: bool) -> Result<()> {
        let looks = self.look_at(tables).await?;
        let is_other = |(table, look): &(&TableSpec, &Look)| {
            self.identities.get(&table.index).is_some_and(|read| *read != look.identity())
        };
        let others: Vec<TableSpec> =
            tables.iter().zip(&looks).filter(is_other).map(|(table, _)| table.clone()).collect();
        if let Some(first) = others.first() {
            if !installed {
                return Err(Error::changed(first, ""));
            }
            let now = self.fingerprints(&others).await?;
            if let Some((index, drift)) = self.compare(&others, &now).into_iter().next() {
                let table = others.iter().find(|table| table.index == index).unwrap_or(first);
                return Err(Error::changed(table, &format!(": {}", drift.what)));
            }
        }
        // Nobody would look at what they do to rows. The table is looked up anew.
        if let Some((table, look)) = tables.iter().zip(&looks).find(|(table, look)| look.has_others_than(table)) {
            let names: Vec<&str> = look.users.iter().map(String::as_str).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(Error::changed(table, &format!(": the triggers that fire on what is written are {names} now")));
        }
        let before_insert = tables.iter().zip(&looks).filter(|(_, look)| look.is_before_insert);
        self.before_insert = before_insert.map(|(table, _)| table.local.clone()).collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_are_the_same_in_any_order() {
        let with = |names: &[&str]| TableSpec {
            user_triggers: names.iter().map(|name| (*name).to_owned()).collect(),
            ..TableSpec::bare(0, "t", std::iter::empty())
        };
        let look = Look { users: ["a", "b"].map(str::to_owned).into(), ..Look::default() };
        assert!(!look.has_others_than(&with(&["b", "a"])));
        for others in [&["a"][..], &["a", "b", "c"], &[]] {
            assert!(look.has_others_than(&with(others)), "{others:?}");
        }
    }
}
