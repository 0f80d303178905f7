//! Whether the table that is written is the one that was read: no lock is held in between, and another may have taken its name.

use super::schema::{get, schema_of};
use super::wire::Args;
use super::{Postgres, sql};
use crate::model::TableSpec;
use crate::node::{Error, Result};

/// A query for what is another text after whatever was done to the table of this name or put in its place; cheap enough to be
/// asked with every batch. It is another as well after some things that do not matter, such as a GRANT.
pub fn identity(schema: &str, name: &str) -> String {
    format!(
        "(SELECT pg_catalog.concat_ws(' ', c.oid, c.xmin, \
             (SELECT pg_catalog.string_agg(a.xmin::pg_catalog.text, ' ' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a \
                 WHERE a.attrelid = c.oid AND a.attnum > 0), \
             (SELECT pg_catalog.string_agg(g.xmin::pg_catalog.text, ' ' ORDER BY g.oid) FROM pg_catalog.pg_trigger g \
                 WHERE g.tgrelid = c.oid), \
             (SELECT pg_catalog.string_agg(h.inhrelid::pg_catalog.text, ' ' ORDER BY h.inhrelid) \
                 FROM pg_catalog.pg_inherits h WHERE h.inhparent = c.oid)) \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = {schema}::pg_catalog.name AND c.relname = {name}::pg_catalog.name)"
    )
}

/// The identities of the tables that two parameters name, as one array; [`args`] are these parameters.
pub fn identities() -> String {
    format!(
        "ARRAY (SELECT {} FROM unnest($1::pg_catalog.text[], $2::pg_catalog.text[]) WITH ORDINALITY AS t (schema, name, place) \
         ORDER BY t.place)",
        identity("t.schema", "t.name")
    )
}

pub fn args<'t>(tables: impl Iterator<Item = &'t TableSpec> + Clone) -> Args {
    let mut args = Args::new();
    args.add(tables.clone().map(|spec| schema_of(spec).to_owned()).collect::<Vec<_>>())
        .add(tables.map(|spec| spec.local.clone()).collect::<Vec<_>>());
    args
}

/// The statement that keeps tables what they are until the transaction ends. Those who write to them go on.
pub fn hold(tables: &[TableSpec]) -> String {
    locked(tables, "ACCESS SHARE")
}

/// The same, for who has to know that they get no triggers either.
pub fn hold_with_triggers(tables: &[TableSpec]) -> String {
    locked(tables, "ROW EXCLUSIVE")
}

fn locked(tables: &[TableSpec], mode: &str) -> String {
    match tables {
        [] => String::new(),
        _ => {
            let names: Vec<String> = tables.iter().map(sql::table).collect();
            format!("LOCK TABLE {} IN {mode} MODE", names.join(", "))
        }
    }
}

impl Postgres {
    /// Takes note of what the tables are in the open snapshot.
    pub(super) fn note_identities(&mut self, tables: &[TableSpec], identities: Vec<Option<String>>) {
        for (table, identity) in tables.iter().zip(identities) {
            self.identities.insert(table.index, identity);
        }
    }

    /// Fails unless the tables, which are held, are what they were when they were read, as far as matters. Of tables that were
    /// not read nothing was decided.
    pub(super) async fn refuse_others(&mut self, tables: &[TableSpec], installed: bool) -> Result<()> {
        let is_other = |spec: &&TableSpec| {
            let target = self.targets.get(&(schema_of(spec).to_owned(), spec.local.clone()));
            let read = self.identities.get(&spec.index);
            read.is_some_and(|read| target.is_none_or(|target| *read != target.identity))
        };
        let others: Vec<TableSpec> = tables.iter().filter(is_other).cloned().collect();
        let Some(first) = others.first() else { return Ok(()) };
        if !installed {
            return Err(Error::changed(first, ""));
        }
        // One without triggers is known by its place in the catalogue alone, with which the text begins.
        let place = |identity: Option<&Option<String>>| {
            identity.and_then(|text| text.as_deref()?.split(' ').next()).map(str::to_owned)
        };
        let is_exchanged = |spec: &&TableSpec| {
            let target = self.targets.get(&(schema_of(spec).to_owned(), spec.local.clone()));
            !spec.captured && place(self.identities.get(&spec.index)) != place(target.map(|target| &target.identity))
        };
        if let Some(exchanged) = others.iter().find(is_exchanged) {
            return Err(Error::changed(exchanged, ": another has taken its place"));
        }
        // Some of what they hold is spelled as the search path has it, and this transaction has that of users' triggers.
        self.run("SET LOCAL search_path TO pg_catalog").await?;
        let now = self.fingerprints(&others).await?;
        self.run("SET LOCAL search_path TO DEFAULT").await?;
        match self.compare(&others, &now).into_iter().next() {
            None => Ok(()),
            Some((index, drift)) => {
                let table = others.iter().find(|spec| spec.index == index).unwrap_or(first);
                Err(Error::changed(table, &format!(": {}", drift.what)))
            }
        }
    }

    /// The identities of tables as the open snapshot shows them.
    pub(super) async fn read_identities(&mut self, tables: &[TableSpec]) -> Result<()> {
        let rows = self.fetch(format!("SELECT {}", identities()), args(tables.iter())).await?;
        let identities = get(&rows[0], 0)?;
        self.note_identities(tables, identities);
        Ok(())
    }
}
