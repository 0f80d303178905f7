//! Who holds what Concord waited for in vain.

use super::schema::{get, schema_of};
use super::wire::Args;
use super::{HISTORY, Phase, Postgres, SERVICE};
use crate::model::TableSpec;
use crate::node::{ErrorKind, Result};

/// Of the tables named, those that have triggers of Concord's, and its own: who holds them so that others wait. Whoever only
/// waits for such a lock lets others wait as well.
const HOLDERS: &str = "SELECT DISTINCT l.relation::pg_catalog.regclass::pg_catalog.text, l.pid \
    FROM pg_catalog.pg_locks l \
    JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database() \
    JOIN pg_catalog.pg_class c ON c.oid = l.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE l.pid <> pg_catalog.pg_backend_pid() AND c.relkind IN ('r', 'p') AND (l.mode = 'AccessExclusiveLock' OR l.granted \
        AND ($3 AND l.mode = 'RowExclusiveLock' OR l.mode IN ('ShareRowExclusiveLock', 'ShareLock', 'ExclusiveLock'))) \
    AND (n.nspname = $4 OR n.nspname = $5 \
        OR (n.nspname, c.relname) IN (SELECT * FROM unnest($1::pg_catalog.text[]::pg_catalog.name[], $2::pg_catalog.text[]::pg_catalog.name[])) \
        OR EXISTS (SELECT FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid \
            JOIN pg_catalog.pg_namespace h ON h.oid = p.pronamespace AND h.nspname = $5 WHERE g.tgrelid = c.oid)) \
    ORDER BY 1, 2 LIMIT 5";

impl Postgres {
    /// Tells with an error about a lock which tables it is about and which processes hold them. Where that is not known of a
    /// transaction that only reads or has just begun, it is given up to be able to ask. `writers`: whether those who only
    /// write to a table are in the way as well.
    pub(super) async fn with_holders<T>(&mut self, tables: &[&TableSpec], writers: bool, done: Result<T>) -> Result<T> {
        let error = match done {
            Err(error) if error.kind == ErrorKind::Locked => error,
            done => return done,
        };
        // Whoever installs says at which table.
        let names: Vec<String> = tables.iter().take(3).filter(|_| !writers).map(|spec| spec.full_name()).collect();
        let more = if tables.len() > names.len() { ", …" } else { "" };
        let error = match names.is_empty() {
            true => error,
            false => error.while_doing(format!("{}{more}", names.join(", "))),
        };
        self.close().await;
        // It is told all the same if nobody can be asked.
        Err(match self.holders(tables, writers).await {
            Ok(holders) if !holders.is_empty() => error.with(holders.join(", ")),
            _ => error,
        })
    }

    async fn holders(&mut self, tables: &[&TableSpec], writers: bool) -> Result<Vec<String>> {
        self.open().await?;
        debug_assert_eq!(self.phase, Phase::Idle);
        let mut args = Args::new();
        args.add(tables.iter().map(|spec| schema_of(spec).to_owned()).collect::<Vec<_>>())
            .add(tables.iter().map(|spec| spec.local.clone()).collect::<Vec<_>>())
            .add(writers)
            .add(SERVICE)
            .add(HISTORY);
        let rows = self.fetch(HOLDERS, args).await?;
        rows.iter().map(|row| Ok(format!("process {} holds {}", get::<i32>(row, 1)?, get::<String>(row, 0)?))).collect()
    }
}
