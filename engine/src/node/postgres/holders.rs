//! Who holds what Concord waited for in vain.

use super::schema::{get, schema_of};
use super::wire::Args;
use super::{HISTORY, Phase, Postgres, SERVICE};
use crate::model::TableSpec;
use crate::node::{Error, IN_THE_WAY, Result};

/// What Concord wanted of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// To read it or to keep it as it is: ACCESS SHARE.
    Read,
    /// To write rows: ROW EXCLUSIVE.
    Write,
    /// To change it or its triggers: SHARE ROW EXCLUSIVE or more.
    Change,
}

impl Lock {
    /// The locks that are in its way.
    fn others(self) -> &'static [&'static str] {
        const ALL: [&str; 5] =
            ["AccessExclusiveLock", "ExclusiveLock", "ShareLock", "ShareRowExclusiveLock", "RowExclusiveLock"];
        match self {
            Lock::Read => &ALL[..1],
            Lock::Write => &ALL[..4],
            Lock::Change => &ALL,
        }
    }
}

/// Of the tables named, those that have triggers of Concord's, and its own: who has locks of these modes, or waits for them, which
/// lets others wait as well. A transaction that was prepared has no process, but a name.
const HOLDERS: &str = "SELECT DISTINCT l.relation::pg_catalog.regclass::pg_catalog.text, l.pid, l.granted, p.gid \
    FROM pg_catalog.pg_locks l \
    JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database() \
    JOIN pg_catalog.pg_class c ON c.oid = l.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    LEFT JOIN (pg_catalog.pg_locks x JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = x.transactionid) \
        ON l.pid IS NULL AND x.pid IS NULL AND x.granted AND x.virtualtransaction = l.virtualtransaction \
    WHERE l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid() AND c.relkind IN ('r', 'p') \
    AND l.mode = ANY ($3::pg_catalog.text[]) AND (n.nspname = $4 OR n.nspname = $5 \
        OR (n.nspname, c.relname) IN (SELECT * FROM unnest($1::pg_catalog.text[]::pg_catalog.name[], $2::pg_catalog.text[]::pg_catalog.name[])) \
        OR EXISTS (SELECT FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid \
            JOIN pg_catalog.pg_namespace h ON h.oid = p.pronamespace AND h.nspname = $5 WHERE g.tgrelid = c.oid)) \
    ORDER BY 3 DESC, 1, 2 LIMIT 5";

/// Who has claimed positions, and does not wait himself. Whoever only reads them locks nothing of this kind.
const ENGINES: &str = "SELECT DISTINCT l.relation::pg_catalog.regclass::pg_catalog.text, l.pid, TRUE, NULL::pg_catalog.text \
    FROM pg_catalog.pg_locks l \
    JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database() \
    JOIN pg_catalog.pg_class c ON c.oid = l.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = $1 AND c.relname = 'position' AND l.granted AND l.mode <> 'AccessShareLock' \
    AND l.pid <> pg_catalog.pg_backend_pid() \
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_locks w WHERE w.pid = l.pid AND NOT w.granted) \
    ORDER BY 2 LIMIT 5";

impl Postgres {
    /// Tells with an error about a lock which tables it is about and who holds them. Where that is not known of a
    /// transaction that only reads or has just begun, it is given up to be able to ask.
    pub(super) async fn with_holders<T>(&mut self, tables: &[&TableSpec], lock: Lock, done: Result<T>) -> Result<T> {
        let error = match done {
            Err(error) if error.is_lock() => error,
            done => return done,
        };
        // Whoever installs says at which table.
        let named = tables.iter().take(3).filter(|_| lock != Lock::Change);
        let names: Vec<String> = named.map(|spec| spec.full_name()).collect();
        let more = if tables.len() > names.len() { ", …" } else { "" };
        let error = match names.is_empty() {
            true => error,
            false => error.while_doing(format!("{}{more}", names.join(", "))),
        };
        let mut args = Args::new();
        args.add(tables.iter().map(|spec| schema_of(spec).to_owned()).collect::<Vec<_>>())
            .add(tables.iter().map(|spec| spec.local.clone()).collect::<Vec<_>>())
            .add(lock.others().to_vec())
            .add(SERVICE)
            .add(HISTORY);
        Err(self.with_answer(error, HOLDERS, args).await)
    }

    /// The same where positions are claimed, which nobody but engines locks. The transaction is given up.
    pub(super) async fn with_engines<T>(&mut self, claimed: Result<T>) -> Result<T> {
        match claimed {
            Err(error) if error.is_lock() => {
                let mut args = Args::new();
                args.add(SERVICE);
                Err(self.with_answer(error.held_at("concord.position"), ENGINES, args).await)
            }
            claimed => claimed,
        }
    }

    /// An error with who is in the way.
    async fn with_answer(&mut self, error: Error, question: &'static str, args: Args) -> Error {
        self.close().await;
        // It is told all the same if nobody can be asked.
        match self.holders(question, args).await {
            Ok(holders) if !holders.is_empty() => error.with(format!("{IN_THE_WAY}{}", holders.join(", "))),
            _ => error,
        }
    }

    async fn holders(&mut self, question: &'static str, args: Args) -> Result<Vec<String>> {
        self.open().await?;
        debug_assert_eq!(self.phase, Phase::Idle);
        let mut holders = Vec::new();
        for row in self.fetch(question, args).await? {
            let (table, pid): (String, Option<i32>) = (get(&row, 0)?, get(&row, 1)?);
            let does = if get(&row, 2)? { "holds" } else { "waits for" };
            let who = match (pid, get::<Option<String>>(&row, 3)?) {
                (Some(pid), _) => format!("process {pid}"),
                (None, Some(name)) => format!("the prepared transaction {}", super::quote::literal(&name)),
                (None, None) => "a prepared transaction".to_owned(),
            };
            holders.push(format!("{who} {does} {table}"));
        }
        Ok(holders)
    }
}
