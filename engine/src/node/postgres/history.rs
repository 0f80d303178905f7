//! Reading: the snapshot, the entries in it, the present rows; and what becomes of entries afterwards.
//!
//! A snapshot of PostgreSQL is `xmax` and the transactions below it that were open. What it sees is exactly the cut of
//! that shape, so an entry is new when it is visible now and was not in the cut before, whenever its transaction
//! committed and whatever else is still open. Nothing has to wait for the oldest transaction of the server.

use std::hash::{DefaultHasher, Hash, Hasher};

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::drift::Fingerprint;
use super::schema::{REPLICA, get, schema_of};
use super::sql::ALIVE;
use super::wire::{Args, Wire, read_mark};
use super::{HISTORY, Phase, Postgres, identity, quote, sql, witness};
use crate::model::{Arrival, Column, Cut, Dot, Entry, EntryId, Images, Key, NodeId, Op, Row, TableSpec, Vector};
use crate::node::{Drift, Entries, Error, ErrorKind, Opened, Purge, Result};

/// Fails where row-level security would hide rows. Everything asked for in the snapshot is a range of an index or a list of
/// keys, so plans are made once, and by indexes: the planner knows neither how long a list is nor, right after the histories
/// were created or emptied, how long they are.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL row_security = off; \
                     SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off; \
                     SET LOCAL enable_bitmapscan = off";

/// The same, unless the server is a replica: there no transaction shows as open, so a cut would pass those that commit late.
/// It is asked in a transaction before that of the snapshot: a replica may become a primary, and never the other way round.
fn begin() -> String {
    let refuse = format!(
        "BEGIN IF pg_catalog.pg_is_in_recovery() THEN RAISE EXCEPTION USING ERRCODE = '57P03', MESSAGE = {}; END IF; END",
        quote::literal(REPLICA)
    );
    format!("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; DO {}; COMMIT; {BEGIN}", quote::body(&refuse))
}

/// Nothing is lost if it has to be done again.
const PURGE: &str = "BEGIN; SET LOCAL synchronous_commit = off";

/// What [`Node::pulse`](crate::node::Node::pulse) remembers between calls.
#[derive(Debug, Default)]
pub struct Pulse {
    sequences: i64,
    /// A transaction that moved the sequences may still be open while the snapshot's xmin is at or below this.
    settles_above: i64,
}

impl Postgres {
    pub(super) async fn open_snapshot(&mut self, tables: &[TableSpec]) -> Result<Opened> {
        self.begin(Phase::Reading, &begin()).await?;
        self.know_equalities(tables).await?;
        let service = self.check_service().await?;
        let now = self.fingerprints(tables).await?;
        let drifted = self.compare(tables, &now);
        let state = format!(
            "SELECT (EXTRACT (EPOCH FROM pg_catalog.clock_timestamp()) * 1000000)::pg_catalog.int8, \
                pg_catalog.pg_snapshot_xmax(s)::pg_catalog.text::pg_catalog.int8, \
                ARRAY (SELECT x::pg_catalog.text::pg_catalog.int8 FROM pg_catalog.pg_snapshot_xip(s) AS x), {} \
             FROM pg_catalog.pg_current_snapshot() AS s",
            identity::identities()
        );
        let rows = self.fetch(state, identity::args(tables.iter())).await?;
        let clock = get(&rows[0], 0)?;
        self.note_identities(tables, get(&rows[0], 3)?);
        let next: i64 = get(&rows[0], 1)?;
        self.whole = Cut::new(next, get(&rows[0], 2)?);
        let witness::Remembered { positions, purged, kept } = self.read_positions(tables).await?;
        let parked = self.read_parked(tables).await?;
        let next_marks = tables.iter().map(|table| (table.index, next)).collect();
        Ok(Opened { service, clock, shared_marks: true, positions, purged, kept, next_marks, parked, drifted })
    }

    /// The same where nothing of Concord's need be installed.
    pub(super) async fn open_scan(&mut self, tables: &[TableSpec]) -> Result<()> {
        self.begin(Phase::Reading, BEGIN).await?;
        // To a snapshot that is older than the commit of a TRUNCATE or of a rewriting ALTER TABLE the table is empty, although
        // it never was: so they are held off, or waited for, before there is one.
        for table in tables {
            self.run(&format!("LOCK TABLE {} IN ACCESS SHARE MODE", sql::table(table))).await?;
        }
        self.know_equalities(tables).await?;
        // The first query takes the snapshot.
        self.read_identities(tables).await
    }

    /// Makes sure that the open snapshot shows a table as it is, and that it does until the snapshot is closed.
    ///
    /// To a snapshot that is older than the commit of a TRUNCATE, of a rewriting ALTER TABLE or of a swap by renaming, the
    /// table that is there now is empty, although it never was. Queries look at the catalogue of the snapshot, and functions
    /// at the present one.
    pub(super) async fn find_shown(&mut self, table: &TableSpec) -> Result<()> {
        if self.shown.contains(&table.index) {
            return Ok(());
        }
        // Whoever reads holds this lock to the end anyway.
        self.run(&format!("LOCK TABLE {} IN ACCESS SHARE MODE", sql::table(table))).await?;
        let mut args = Args::new();
        args.add(schema_of(table).to_owned());
        args.add(table.local.clone());
        args.add(sql::table(table));
        let rows = self
            .fetch(
                "WITH RECURSIVE now (oid) AS (SELECT pg_catalog.to_regclass($3::pg_catalog.text)::pg_catalog.oid), \
                 parts (oid) AS ( \
                     SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                     WHERE n.nspname = $1::pg_catalog.name AND c.relname = $2::pg_catalog.name \
                     UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN parts p ON i.inhparent = p.oid \
                 ) \
                 SELECT (SELECT n.oid FROM now n) IN (SELECT p.oid FROM parts p) AND (SELECT pg_catalog.bool_and( \
                     COALESCE(pg_catalog.pg_relation_filenode(c.oid), 0::pg_catalog.oid) = c.relfilenode \
                     AND (NOT c.relispartition OR COALESCE(pg_catalog.pg_partition_root(c.oid) = (SELECT n.oid FROM now n), false))) \
                     FROM parts p JOIN pg_catalog.pg_class c ON c.oid = p.oid)",
                args,
            )
            .await?;
        if get::<Option<bool>>(&rows[0], 0)? != Some(true) {
            let name = table.full_name();
            return Err(Error::new(ErrorKind::Drift, format!("the table {name} was rebuilt while it was read")));
        }
        self.shown.insert(table.index);
        Ok(())
    }

    /// How tables differ from what the last install left, by table index.
    pub(super) fn compare(&mut self, tables: &[TableSpec], now: &[Fingerprint]) -> Vec<(usize, Drift)> {
        let mut drifted = Vec::new();
        self.widened.clear();
        for (table, now) in tables.iter().zip(now) {
            match self.fingerprints.get(&table.name) {
                None => drifted.push((table.index, Drift::harmless("it is not installed here"))),
                Some(text) => {
                    let left = Fingerprint::read(text);
                    drifted.extend(left.drift(now).map(|drift| (table.index, drift)));
                    if left.only_made_always(now) {
                        self.widened.insert(table.name.clone(), (text.clone(), now.write()));
                    }
                }
            }
        }
        drifted
    }

    pub(super) async fn read_entries(
        &mut self,
        table: &TableSpec,
        after: &Cut,
        through: Option<i64>,
        limit: usize,
    ) -> Result<Entries> {
        let mut args = Args::new();
        let parts = sql::beyond(&mut args, after);
        args.mark(through.unwrap_or(i64::MAX));
        let through = args.count();
        // One more than asked for tells whether there are more.
        args.add(limit.saturating_add(1).try_into().unwrap_or(i64::MAX));
        let limited = args.count();
        let history = sql::history(table);
        let columns = EntryColumns::of(table);
        let part = |condition: &String| {
            format!(
                "(SELECT {} FROM {history} AS h WHERE {condition} AND h.xid OPERATOR(pg_catalog.<=) ${through}::pg_catalog.xid8 \
                 AND {ALIVE} ORDER BY h.xid, h.id LIMIT ${limited}::pg_catalog.int8)",
                columns.select
            )
        };
        let parts = parts.iter().map(part).collect::<Vec<_>>().join(" UNION ALL ");
        let statement = format!("{parts} ORDER BY xid, id LIMIT ${limited}::pg_catalog.int8");
        let names = self.names.clone();
        let (mut entries, mut more) = (Vec::new(), false);
        self.stream(statement, args, |row| {
            more = entries.len() == limit;
            if !more {
                entries.push(columns.read(&names, &row)?);
            }
            Ok(())
        })
        .await?;
        Ok(Entries { entries, whole: self.whole.clone(), more })
    }

    pub(super) async fn count_entries(&mut self, table: &str, after: &Cut, origin: Option<&str>) -> Result<u64> {
        let mut args = Args::new();
        let parts = sql::beyond(&mut args, after);
        let whose = origin.map_or_else(String::new, |origin| {
            args.add(origin);
            format!(" AND h.origin OPERATOR(pg_catalog.=) ${}", args.count())
        });
        let history = quote::table(HISTORY, &sql::history_name(table));
        let counts = parts.iter().map(|condition| {
            format!("(SELECT pg_catalog.count(*) FROM {history} AS h WHERE ({condition}){whose} AND {ALIVE})")
        });
        let rows = self.fetch(format!("SELECT {}", counts.collect::<Vec<_>>().join(" + ")), args).await?;
        Ok(get::<i64>(&rows[0], 0)?.unsigned_abs())
    }

    pub(super) async fn read_entries_of(
        &mut self,
        table: &TableSpec,
        keys: &[&Key],
        each: &mut (dyn FnMut(Entry) + Send),
    ) -> Result<()> {
        let mut args = Args::new();
        let wanted = sql::keys(&mut args, table, sql::cells(keys));
        let columns = EntryColumns::of(table);
        let statement = format!(
            "SELECT {} FROM {wanted} JOIN {} AS h ON {} WHERE {ALIVE} ORDER BY h.id",
            columns.select,
            sql::history(table),
            self.same_entry_key(table)
        );
        let names = self.names.clone();
        self.stream(statement, args, |row| {
            each(columns.read(&names, &row)?);
            Ok(())
        })
        .await
    }

    /// The rows of these keys; `hold` ends the statement, such as to lock them.
    pub(super) async fn read_rows(
        &mut self,
        table: &TableSpec,
        keys: &[&Key],
        hold: &str,
    ) -> Result<Vec<Option<std::result::Result<Row, String>>>> {
        let mut found = vec![None; keys.len()];
        if keys.is_empty() {
            return Ok(found);
        }
        let mut args = Args::new();
        let wanted = sql::keys(&mut args, table, sql::cells(keys));
        let wires: Vec<Wire> = table.columns.iter().map(Wire::of).collect();
        let columns = table.columns.iter().zip(&wires);
        let columns: String = columns
            .map(|(column, wire)| format!(", {}", wire.outgoing(&format!("t.{}", quote::ident(&column.name)))))
            .collect();
        let statement = format!(
            "SELECT u.n{columns} FROM {wanted} JOIN {} AS t ON {}{hold}",
            sql::table(table),
            self.same_key(table)
        );
        self.stream(statement, args, |row| {
            let at: i64 = get(&row, 0)?;
            let cells = wires.iter().zip(&table.columns).enumerate().map(|(at, (wire, column))| {
                wire.read(&row, at + 1).map_err(|why| format!("column {} {why}", column.name))
            });
            found[at as usize - 1] = Some(cells.collect());
            Ok(())
        })
        .await?;
        Ok(found)
    }

    /// Where the owner has let triggers fire in replication sessions as well, notes how they are since: whatever is done to them
    /// from now on is drift again.
    pub(super) async fn note_triggers(&mut self, table: &TableSpec) -> Result<()> {
        let Some((left, now)) = self.widened.remove(&table.name) else { return Ok(()) };
        self.begin(Phase::Purging, "BEGIN").await?;
        let mut args = Args::new();
        args.add(table.name.as_str()).add(left).add(now);
        let note = "UPDATE concord.installed SET fingerprint = $3 WHERE \"table\" OPERATOR(pg_catalog.=) $1 \
                    AND fingerprint OPERATOR(pg_catalog.=) $2";
        self.execute(note.to_owned(), args).await?;
        self.run("COMMIT").await?;
        self.phase = Phase::Idle;
        Ok(())
    }

    pub(super) async fn delete_entries(
        &mut self,
        table: &TableSpec,
        through: &Cut,
        arrivals: bool,
        witnesses: &[(&str, EntryId)],
    ) -> Result<u64> {
        self.begin(Phase::Purging, PURGE).await?;
        let gone = self.delete_passed(table, through, arrivals, witnesses).await?;
        if gone.is_some() {
            self.run("COMMIT").await?;
            self.phase = Phase::Idle;
        }
        Ok(gone.unwrap_or(0))
    }

    /// The same for several tables, without an end.
    pub(super) async fn begin_deleting(&mut self, purges: &[Purge]) -> Result<()> {
        self.begin(Phase::Purging, PURGE).await?;
        for purge in purges {
            self.delete_passed(&purge.table, &purge.through, purge.arrivals, &purge.witnesses()).await?;
        }
        Ok(())
    }

    /// How many went; `None` if nothing was written.
    async fn delete_passed(
        &mut self,
        table: &TableSpec,
        through: &Cut,
        arrivals: bool,
        witnesses: &[(&str, EntryId)],
    ) -> Result<Option<u64>> {
        let mut args = Args::new();
        let passed = passed(&mut args, through);
        let mine = if arrivals { "" } else { " AND h.origin IS NULL" };
        let history = sql::history(table);
        args.add(table.name.as_str()).add(through.to_string());
        let name = args.count() - 1;
        let remember = witness::remember(&mut args, table, name, &passed, witnesses);
        // What stands is locked and read, also what another engine has written meanwhile.
        let books = format!(
            "WITH some_ AS MATERIALIZED (SELECT EXISTS (SELECT FROM {history} AS h WHERE {passed}{mine}) AS are), \
                {remember}, \
                mark AS (INSERT INTO concord.purged AS p (\"table\", cut) SELECT ${name}, ${} FROM some_ WHERE are \
                    ON CONFLICT (\"table\") DO UPDATE SET cut = p.cut RETURNING p.cut) \
             SELECT cut FROM mark",
            name + 1
        );
        let Some(stands) = self.fetch(books, args).await?.pop() else { return Ok(None) };
        let stands: Cut = super::service::parse(&get::<String>(&stands, 0)?)?;
        let mut args = Args::new();
        let passed = self::passed(&mut args, through);
        let mut mark = String::new();
        // Whoever comes late takes nothing back of what another engine has purged.
        if !stands.includes(through) {
            args.add(table.name.as_str()).add(stands.join(through).to_string());
            let at = args.count();
            mark = format!(
                "WITH mark AS (UPDATE concord.purged AS p SET cut = ${at}::pg_catalog.text \
                    WHERE p.\"table\" OPERATOR(pg_catalog.=) ${}::pg_catalog.text) ",
                at - 1
            );
        }
        self.execute(format!("{mark}DELETE FROM {history} AS h WHERE {passed}{mine}"), args).await.map(Some)
    }

    /// Changes when an entry was written. It is written before its transaction commits, so while one that could have
    /// written it is open the end of any transaction changes the number too.
    pub(super) async fn read_pulse(&mut self, tables: &[TableSpec]) -> Result<u64> {
        let mut args = Args::new();
        args.add(HISTORY).add(tables.iter().map(|table| sql::history_name(&table.name)).collect::<Vec<_>>());
        let rows = self
            .fetch(
                "SELECT (SELECT pg_catalog.sum(pg_catalog.pg_sequence_last_value(d.objid))::pg_catalog.int8 \
                    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_depend d ON d.deptype = 'i' AND d.refobjsubid = 1 \
                        AND d.refobjid = c.oid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass \
                        AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
                    WHERE c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1) \
                        AND c.relname = ANY ($2::pg_catalog.text[])), \
                    pg_catalog.pg_snapshot_xmin(p)::pg_catalog.text::pg_catalog.int8, \
                    pg_catalog.pg_snapshot_xmax(p)::pg_catalog.text::pg_catalog.int8, p::pg_catalog.text \
                 FROM pg_catalog.pg_current_snapshot() AS p",
                args,
            )
            .await?;
        let sequences: i64 = get::<Option<i64>>(&rows[0], 0)?.unwrap_or(0);
        let (xmin, xmax): (i64, i64) = (get(&rows[0], 1)?, get(&rows[0], 2)?);
        if sequences != self.pulse.sequences {
            self.pulse = Pulse { sequences, settles_above: xmax };
        }
        let mut hasher = DefaultHasher::new();
        sequences.hash(&mut hasher);
        if xmin <= self.pulse.settles_above {
            get::<String>(&rows[0], 3)?.hash(&mut hasher);
        }
        Ok(hasher.finish())
    }

    /// Transactions of any database of the server that keep the oldest open transaction id from rising.
    pub(super) async fn read_blockers(&mut self) -> Result<Vec<String>> {
        let rows = self
            .fetch(
                "SELECT pg_catalog.format('process %s (%s in database %s) has been %s since %s', a.pid, \
                        coalesce(a.usename::pg_catalog.text, 'unknown'), a.datname, coalesce(a.state, 'in a transaction'), \
                        coalesce(pg_catalog.to_char(a.xact_start, 'YYYY-MM-DD HH24:MI:SS UTC'), 'a time it does not tell us')) AS line, \
                    a.xact_start AS since \
                 FROM pg_catalog.pg_stat_activity a WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid() \
                    AND (a.xact_start IS NULL OR a.xact_start < pg_catalog.clock_timestamp() - INTERVAL '5 seconds') \
                 UNION ALL SELECT pg_catalog.format('the prepared transaction %L of %s in database %s has waited since %s; end it \
                        there with COMMIT PREPARED or ROLLBACK PREPARED', p.gid, p.owner, p.database, \
                        pg_catalog.to_char(p.prepared, 'YYYY-MM-DD HH24:MI:SS UTC')), p.prepared \
                 FROM pg_catalog.pg_prepared_xacts p WHERE p.prepared < pg_catalog.clock_timestamp() - INTERVAL '5 seconds' \
                 ORDER BY since NULLS LAST",
                Args::new(),
            )
            .await?;
        rows.iter().map(|row| get(row, 0)).collect()
    }
}

/// The condition that an entry `h` lies before a cut; adds the parameters.
fn passed(args: &mut Args, cut: &Cut) -> String {
    args.mark(cut.next()).marks(cut.open().iter().copied());
    let at = args.count();
    let mut passed = format!(
        "(h.xid OPERATOR(pg_catalog.<) ${}::pg_catalog.xid8 AND h.xid OPERATOR(pg_catalog.<>) ALL (${at}::pg_catalog.xid8[]))",
        at - 1
    );
    for &(mark, last) in cut.inside() {
        args.mark(mark).add(last);
        let at = args.count();
        passed += &format!(" OR (h.xid OPERATOR(pg_catalog.=) ${}::pg_catalog.xid8 AND h.id <= ${at})", at - 1);
    }
    format!("({passed})")
}

/// The columns of a history in the order in which they are read.
struct EntryColumns<'a> {
    keys: Vec<(&'a Column, Wire)>,
    images: Vec<(&'a Column, Wire)>,
    select: String,
}

/// Where the key begins in a result.
const KEY: usize = 8;

impl<'a> EntryColumns<'a> {
    fn of(table: &'a TableSpec) -> EntryColumns<'a> {
        let keys: Vec<_> = table.key_columns().map(|column| (column, Wire::of(column))).collect();
        let mut select = "h.id, h.xid, h.op, h.\"time\", h.origin, h.number, h.mark, h.vector".to_owned();
        for ((_, wire), name) in keys.iter().zip(sql::history_keys(table)) {
            select += &format!(", {}", wire.outgoing(&format!("h.{name}")));
        }
        let images: Vec<_> = table.image_columns().map(|column| (column, Wire::of(column))).collect();
        if !images.is_empty() {
            select += ", h.before, h.after";
        }
        for (column, wire) in &images {
            let (old, new) = sql::image_columns(column);
            for name in [old, new] {
                select += &format!(", {}", wire.outgoing(&format!("h.{}", quote::ident(&name))));
            }
        }
        EntryColumns { keys, images, select }
    }

    fn read(&self, names: &[String], row: &PgRow) -> Result<Entry> {
        let damaged = |why: String| {
            Error::new(ErrorKind::Service, format!("an entry of {HISTORY} cannot be read: {why}; run `concord reset`"))
        };
        let op = row.try_get_raw(2).ok().and_then(|raw| raw.as_str().ok()).and_then(Op::from_letter);
        let cell = |at: usize, column: &Column, wire: &Wire| {
            wire.read(row, at).map_err(|why| damaged(format!("column {} {why}", column.name)))
        };
        let key: Key = self
            .keys
            .iter()
            .enumerate()
            .map(|(at, (column, wire))| cell(KEY + at, column, wire))
            .collect::<Result<_>>()?;
        // What a node made that is no longer in the sync is carried on as this node's own.
        let node = |name: &str| names.iter().position(|known| known == name).map(|at| NodeId(at as u16));
        let arrival = match get::<Option<&str>>(row, 4)?.and_then(node) {
            None => None,
            Some(origin) => {
                let number = get::<Option<i64>>(row, 5)?.ok_or_else(|| damaged("it has no number".to_owned()))?;
                let mark = get::<Option<i64>>(row, 6)?.ok_or_else(|| damaged("it has no mark".to_owned()))?;
                let vector = get::<Option<&str>>(row, 7)?.and_then(|text| Vector::read(text, names));
                let vector = vector.ok_or_else(|| damaged("its vector is malformed".to_owned()))?;
                Some(Arrival { dot: Dot { node: origin, number, mark }, vector })
            }
        };
        Ok(Entry {
            id: get(row, 0)?,
            mark: read_mark(row, 1)?,
            op: op.ok_or_else(|| damaged("its operation is unknown".to_owned()))?,
            time: get(row, 3)?,
            key,
            arrival,
            images: self.read_images(row, cell)?,
        })
    }

    fn read_images(
        &self,
        row: &PgRow,
        cell: impl Fn(usize, &Column, &Wire) -> Result<crate::model::Value>,
    ) -> Result<Option<Images>> {
        if self.images.is_empty() {
            return Ok(None);
        }
        let flags = KEY + self.keys.len();
        let (Some(before), Some(after)) = (get::<Option<bool>>(row, flags)?, get::<Option<bool>>(row, flags + 1)?)
        else {
            return Ok(None);
        };
        let side = |offset: usize| -> Result<Row> {
            let cells = self.images.iter().enumerate();
            cells.map(|(at, (column, wire))| cell(flags + 2 + 2 * at + offset, column, wire)).collect()
        };
        Ok(Some(Images {
            before: if before { Some(side(0)?) } else { None },
            after: if after { Some(side(1)?) } else { None },
        }))
    }
}
