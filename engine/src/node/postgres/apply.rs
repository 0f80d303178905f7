//! Writing: rows by key in one statement, and the looks that keep users' changes from being overwritten unread.

use std::collections::{BTreeSet, HashSet};

use super::schema::{ORDINARY, get, schema_of, user_triggers};
use super::wire::{Args, Wire};
use super::{Phase, Postgres, capture, identity, quote, sql};
use crate::model::{Column, Cut, Key, OnGone, Row, TableSpec, Value};
use crate::node::portions::portions;
use crate::node::{Constraint, Error, ErrorKind, NODES_CHANGED, Note, Result, WriteMode};

/// Rows that are locked are given up sooner than a snapshot, if the engine stands still, unless the administrator has set for
/// how long. Whether writing is allowed is for him to say too. The role's own search path, because users' triggers run in this
/// transaction and may rely on it. Others may create operators there, which the server takes where they fit better than its own: so
/// every name in a statement about rows is qualified, the catalogue is asked by [`Postgres::look_up`], and what else compares has
/// values of the very same type on both sides, for which the server's own operators come first, unless the role was given a path
/// that names `pg_catalog` behind another schema.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = on; \
                     SELECT pg_catalog.set_config('idle_in_transaction_session_timeout', '60s', true) \
                        WHERE pg_catalog.current_setting('idle_in_transaction_session_timeout') = '5min'; \
                     SET LOCAL search_path TO DEFAULT; SET CONSTRAINTS ALL IMMEDIATE";

/// To find the rows that somebody holds up takes a wait for each halving, so each is short.
pub const HURRY: &str = "SET LOCAL lock_timeout = '50ms'";

/// The condition that this transaction has made the entry `h`, and not for another node.
const OWN: &str = "h.xid OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id() AND h.origin IS NULL";

/// What writing a table takes beyond its [`TableSpec`].
#[derive(Clone, Debug)]
pub struct Target {
    /// The table's oid, by which its triggers know Concord's writes.
    oid: i64,
    /// See `identity.rs`.
    pub identity: Option<String>,
    /// Whether `ON CONFLICT` can use the key. It cannot use one that may be checked late, or is WITHOUT OVERLAPS; and as it takes
    /// every unique index over these columns, all of them have to tell apart what the columns do.
    arbiter: bool,
    /// The users' triggers that fire on what is written, some of them perhaps named once for each partition.
    triggers: Vec<String>,
}

impl Target {
    /// Whether no two rows of one key can stand in the table at any moment.
    pub fn is_keyed(&self) -> bool {
        self.arbiter
    }
}

impl Postgres {
    pub(super) async fn open_apply(&mut self, tables: &[TableSpec]) -> Result<()> {
        self.begin(Phase::Applying, &format!("{BEGIN}; {}", identity::hold(tables))).await?;
        self.know_equalities(tables).await?;
        let names = self.names.clone();
        self.read_names().await?;
        if !names.is_empty() && names != self.names {
            return Err(Error::new(ErrorKind::Drift, NODES_CHANGED));
        }
        // A table that was rebuilt is another one to its triggers.
        self.targets.clear();
        self.has_triggers = tables.iter().any(|spec| !spec.user_triggers.is_empty());
        self.find_targets(tables.iter()).await?;
        self.refuse_others(tables, true).await?;
        self.refuse_other_triggers(tables)
    }

    /// The same where nothing of Concord's may be installed. Whoever records changes of these tables takes what is written for
    /// a user's; a list of no table tells triggers of users that it is not.
    pub(super) async fn open_mend(&mut self, tables: &[TableSpec]) -> Result<()> {
        let begin = format!("{BEGIN}; SET LOCAL concord.applying = ','; {}", identity::hold_with_triggers(tables));
        self.begin(Phase::Applying, &begin).await?;
        self.as_user = true;
        self.know_equalities(tables).await?;
        self.targets.clear();
        self.find_targets(tables.iter()).await?;
        self.refuse_others(tables, false).await
    }

    /// Fails where users' triggers are others than when the table was looked up, which may be long ago, as nothing is installed for them:
    /// nobody would look at what they do to rows.
    fn refuse_other_triggers(&self, tables: &[TableSpec]) -> Result<()> {
        for spec in tables {
            let Some(target) = self.targets.get(&(schema_of(spec).to_owned(), spec.local.clone())) else { continue };
            let known: BTreeSet<&String> = spec.user_triggers.iter().collect();
            let now: BTreeSet<&String> = target.triggers.iter().collect();
            if now != known {
                let names: Vec<&str> = now.into_iter().map(String::as_str).collect();
                let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                return Err(Error::changed(
                    spec,
                    &format!(": the triggers that fire on what is written are {names} now"),
                ));
            }
        }
        Ok(())
    }

    /// Learns what tables take that nobody has asked about in this transaction.
    async fn find_targets(&mut self, tables: impl Iterator<Item = &TableSpec>) -> Result<()> {
        let name = |spec: &TableSpec| (schema_of(spec).to_owned(), spec.local.clone());
        let wanted: Vec<&TableSpec> = tables.filter(|spec| !self.targets.contains_key(&name(spec))).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut args = identity::args(wanted.iter().copied());
        args.add(wanted.iter().map(|spec| sql::table(spec)).collect::<Vec<_>>());
        let triggers = user_triggers("pg_catalog.to_regclass(t.quoted)::pg_catalog.oid");
        // Indexes that `ON CONFLICT` takes, by the columns that they are over, and whether it can use them.
        let statement = format!(
            "SELECT t.place, pg_catalog.to_regclass(t.quoted)::pg_catalog.oid::pg_catalog.int8, \
                 ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indrelid \
                     AND a.attnum = ANY ((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts - 1])), {}, \
                 i.indimmediate AND NOT EXISTS (SELECT \
                     FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k (attnum, at) \
                         JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
                     WHERE k.at <= i.indnkeyatts AND NOT ({ORDINARY})), \
                 ARRAY({triggers}) \
             FROM unnest($1::pg_catalog.text[], $2::pg_catalog.text[], $3::pg_catalog.text[]) WITH ORDINALITY \
                 AS t (schema, name, quoted, place) \
             LEFT JOIN pg_catalog.pg_index i ON i.indrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(t.quoted)::pg_catalog.oid \
                 AND i.indisunique AND i.indisvalid AND NOT i.indisexclusion AND i.indpred IS NULL AND i.indexprs IS NULL",
            identity::identity("t.schema", "t.name")
        );
        let rows = self.fetch(statement, args).await?;
        let mut looser: HashSet<(String, String)> = HashSet::new();
        for row in rows {
            let place: i64 = get(&row, 0)?;
            let spec = wanted[place as usize - 1];
            let Some(oid) = get(&row, 1)? else {
                return Err(Error::new(ErrorKind::Drift, format!("the table {} does not exist", spec.full_name())));
            };
            let columns: Vec<String> = get(&row, 2)?;
            let is_key =
                columns.len() == spec.key.len() && spec.key_columns().all(|column| columns.contains(&column.name));
            let (identity, triggers) = (get(&row, 3)?, get(&row, 5)?);
            let target = self.targets.entry(name(spec)).or_insert(Target { oid, identity, arbiter: false, triggers });
            target.arbiter |= is_key;
            if is_key && get::<Option<bool>>(&row, 4)? != Some(true) {
                looser.insert(name(spec));
            }
        }
        for name in looser {
            if let Some(target) = self.targets.get_mut(&name) {
                target.arbiter = false;
            }
        }
        Ok(())
    }

    /// Tells the triggers of these tables that the next statement is Concord's own. Those of other tables record what
    /// cascades and users' triggers do there.
    pub(super) async fn announce<'t>(&mut self, tables: impl Iterator<Item = &'t TableSpec> + Clone) -> Result<()> {
        self.find_targets(tables.clone()).await?;
        let mut oids: Vec<i64> = tables
            .filter_map(|spec| self.targets.get(&(schema_of(spec).to_owned(), spec.local.clone())))
            .map(|target| target.oid)
            .filter(|_| !self.as_user)
            .collect();
        oids.sort_unstable();
        oids.dedup();
        if oids != self.announced {
            let list: String = oids.iter().map(|oid| format!("{oid},")).collect();
            let mut args = Args::new();
            args.add(format!(",{list}"));
            self.fetch("SELECT pg_catalog.set_config('concord.applying', $1, true)", args).await?;
            self.announced = oids;
        }
        Ok(())
    }

    pub(super) async fn write_rows(&mut self, groups: &[(&TableSpec, &[&Row], WriteMode)]) -> Result<u64> {
        let groups: Vec<_> = groups.iter().filter(|(_, rows, _)| !rows.is_empty()).collect();
        if groups.is_empty() {
            return Ok(0);
        }
        self.announce(groups.iter().map(|(spec, ..)| *spec)).await?;
        for (spec, rows, mode) in groups.iter().filter(|(_, _, mode)| *mode != WriteMode::InsertOnly) {
            let keys: Vec<Key> = rows.iter().map(|row| spec.key_of(row)).collect();
            self.forget_own(spec, &keys.iter().collect::<Vec<_>>(), Some(*mode)).await?;
        }
        for (spec, rows, mode) in &groups {
            // Nobody asks about others.
            if *mode != WriteMode::Upsert && !spec.user_triggers.is_empty() {
                self.lenient.extend(rows.iter().map(|row| (spec.index, spec.key_of(row))));
            }
        }
        if let [(spec, rows, WriteMode::InsertOnly)] = groups[..]
            && self.copy_in(spec, rows).await?
        {
            return Ok(rows.len() as u64);
        }
        let mut args = Args::new();
        let mut statements = Vec::new();
        for (spec, rows, mode) in &groups {
            let rowset =
                sql::rowset(&mut args, spec.columns.iter().enumerate(), rows.iter().map(|row| &row[..]), "u", 'c');
            statements.extend(self.write_statement(spec, &rowset, *mode));
        }
        self.at_once(statements, args).await
    }

    pub(super) async fn delete_rows(&mut self, groups: &[(&TableSpec, &[&Key])]) -> Result<u64> {
        let groups: Vec<_> = groups.iter().filter(|(_, keys)| !keys.is_empty()).collect();
        if groups.is_empty() {
            return Ok(0);
        }
        self.announce(groups.iter().map(|(spec, _)| *spec)).await?;
        for (spec, keys) in &groups {
            self.forget_own(spec, keys, None).await?;
        }
        let mut args = Args::new();
        let mut statements = Vec::new();
        for (spec, keys) in &groups {
            let keys = sql::keys(&mut args, spec, sql::cells(keys));
            statements.push(format!(
                "DELETE FROM {} AS t USING {keys} WHERE {}",
                sql::table(spec),
                self.same_key(spec)
            ));
        }
        let deleted = self.at_once(statements, args).await?;
        for (spec, keys) in groups.iter().filter(|(spec, _)| !spec.user_triggers.is_empty()) {
            let mut args = Args::new();
            let keys = sql::keys(&mut args, spec, sql::cells(keys));
            let there =
                format!("SELECT EXISTS (SELECT FROM {keys} JOIN {} AS t ON {})", sql::table(spec), self.same_key(spec));
            if get::<bool>(&self.fetch(there, args).await?[0], 0)? {
                return Err(Error::new(
                    ErrorKind::Constraint(Constraint::Other),
                    format!(
                        "a trigger of {} ({}) keeps the row or brings it back",
                        spec.full_name(),
                        spec.user_triggers.join(", ")
                    ),
                ));
            }
        }
        Ok(deleted)
    }

    /// Takes out what this transaction has recorded of rows that are to be written, or deleted without a `mode`: what a reference or a
    /// trigger did to them earlier is overwritten, and would pass for a change that a user made later than what is written.
    ///
    /// Where every change is counted, what changed more than a reference hands on stays, and the row is owed, unless it is deleted
    /// everywhere.
    async fn forget_own(&mut self, table: &TableSpec, keys: &[&Key], mode: Option<WriteMode>) -> Result<()> {
        let is_changed = self.has_triggers || !table.references.is_empty();
        if self.as_user || !table.captured || !is_changed {
            return Ok(());
        }
        let history = sql::history(table);
        // Nearly always there is nothing, and the keys need not be sent.
        let any = format!("SELECT EXISTS (SELECT FROM {history} AS h WHERE {OWN})");
        if !get::<bool>(&self.fetch(any, Args::new()).await?[0], 0)? {
            return Ok(());
        }
        let overwritten = overwritten(mode);
        let same = self.same_entry_key(table);
        let mut args = Args::new();
        let wanted = sql::keys(&mut args, table, sql::cells(keys));
        let condition = format!("{OWN} AND {same} AND {overwritten} AND {}", uncounted(table, mode));
        self.fetch(format!("DELETE FROM {history} AS h USING {wanted} WHERE {condition}"), args).await?;
        if table.images.is_empty() {
            return Ok(());
        }
        let mut args = Args::new();
        let wanted = sql::keys(&mut args, table, sql::cells(keys));
        let left =
            format!("SELECT DISTINCT u.n FROM {wanted} JOIN {history} AS h ON {same} WHERE {OWN} AND {overwritten}");
        for row in self.fetch(left, args).await? {
            let key = keys[get::<i64>(&row, 0)? as usize - 1].clone();
            self.owed.entry(table.index).or_default().insert(key);
        }
        Ok(())
    }

    /// Those of `keys` of which this transaction has recorded, before they were written, what must not be lost.
    pub(super) fn owed_among(&self, table: &TableSpec, keys: &[&Key]) -> Vec<Key> {
        let Some(owed) = self.owed.get(&table.index) else { return Vec::new() };
        keys.iter().filter(|key| owed.contains(**key)).map(|key| (*key).clone()).collect()
    }

    /// Runs several writes as one statement, so that references are checked when all of them are done. How many rows they
    /// wrote in all.
    async fn at_once(&mut self, statements: Vec<String>, args: Args) -> Result<u64> {
        let parts = match &statements[..] {
            [] => return Ok(0),
            [only] => return self.execute(only, args).await,
            several => several.iter().enumerate(),
        };
        let parts = parts.map(|(at, statement)| format!("w{at} AS ({statement} RETURNING 1)")).collect::<Vec<_>>();
        let counts = (0..parts.len()).map(|at| format!("(SELECT pg_catalog.count(*) FROM w{at})"));
        let counts = counts.collect::<Vec<_>>().join(" OPERATOR(pg_catalog.+) ");
        let rows = self.fetch(format!("WITH {} SELECT {counts}", parts.join(", ")), args).await?;
        Ok(get::<i64>(&rows[0], 0)?.unsigned_abs())
    }

    /// The statements that write rows `u`: more than one only where the key cannot be used by `ON CONFLICT`.
    fn write_statement(&self, spec: &TableSpec, rowset: &str, mode: WriteMode) -> Vec<String> {
        let table = sql::table(spec);
        let others: Vec<(usize, &Column)> =
            spec.columns.iter().enumerate().filter(|(at, _)| !spec.key.contains(at)).collect();
        let incoming = |(at, column): (usize, &Column)| Wire::of(column).incoming(&format!("u.c{at}"));
        let names = quote::idents(spec.columns.iter().map(|column| column.name.as_str()));
        let values = spec.columns.iter().enumerate().map(incoming).collect::<Vec<_>>().join(", ");
        // Identity columns that always count by themselves take a value only when told so; other columns do not mind.
        let insert =
            format!("INSERT INTO {table} AS t ({names}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {rowset}");
        let sets = |value: &dyn Fn(usize, &Column) -> String| {
            let sets =
                others.iter().map(|(at, column)| format!("{} = {}", quote::ident(&column.name), value(*at, column)));
            sets.collect::<Vec<_>>().join(", ")
        };
        let same = spec
            .key
            .iter()
            .map(|&at| {
                let column = &spec.columns[at];
                self.equal(column, &format!("t.{}", quote::ident(&column.name)), &format!("u.c{at}"))
            })
            .collect::<Vec<_>>()
            .join(" AND ");
        let update = || {
            let sets = sets(&|at, column| incoming((at, column)));
            format!("UPDATE {table} AS t SET {sets} FROM {rowset} WHERE {same}")
        };
        let name = (schema_of(spec).to_owned(), spec.local.clone());
        // What is inserted has to satisfy a column that takes no NULL and is not written, also where it turns into an update.
        let arbiter = !spec.keeps_own && self.targets.get(&name).is_none_or(|target| target.arbiter);
        let key = quote::idents(spec.key_columns().map(|column| column.name.as_str()));
        let absent = format!("{insert} WHERE NOT EXISTS (SELECT FROM {table} AS t WHERE {same})");
        match mode {
            WriteMode::UpdateOnly if others.is_empty() => Vec::new(),
            WriteMode::UpdateOnly => vec![update()],
            WriteMode::Upsert if others.is_empty() && arbiter => {
                vec![format!("{insert} ON CONFLICT ({key}) DO NOTHING")]
            }
            WriteMode::Upsert if arbiter => {
                let sets = sets(&|_, column| format!("excluded.{}", quote::ident(&column.name)));
                vec![format!("{insert} ON CONFLICT ({key}) DO UPDATE SET {sets}")]
            }
            WriteMode::InsertOnly if arbiter => vec![format!("{insert} ON CONFLICT ({key}) DO NOTHING")],
            WriteMode::Upsert if others.is_empty() => vec![absent],
            WriteMode::InsertOnly => vec![absent],
            // Both parts see the table as it was before the statement, so no row is written twice. A row inserted in the
            // meantime makes the second part fail, and the batch is divided.
            WriteMode::Upsert => vec![update(), absent],
        }
    }

    pub(super) async fn find_referred(
        &mut self,
        table: &TableSpec,
        keys: &[&Key],
        going: &[(&TableSpec, &[&Key])],
    ) -> Result<Vec<Key>> {
        // Whoever adds a reference to a row locks it; after this nobody can until the transaction ends.
        let mut args = Args::new();
        let wanted = sql::keys(&mut args, table, sql::cells(keys));
        let order = quote_key(table, "t");
        let lock = format!(
            "SELECT 1 FROM {} AS t JOIN {wanted} ON {} ORDER BY {order} FOR UPDATE OF t",
            sql::table(table),
            self.same_key(table)
        );
        self.fetch(lock, args).await?;
        let mut referred = Vec::new();
        for reference in table.referenced.iter().filter(|reference| reference.on_delete != OnGone::Refuse) {
            let mut args = Args::new();
            let wanted = sql::keys(&mut args, table, sql::cells(keys));
            let child = quote::table(reference.schema.as_deref().unwrap_or("public"), &reference.table);
            let pairs = reference.columns.iter().zip(&reference.referenced_columns).map(|(own, other)| {
                let column = table.columns.iter().find(|column| column.name == *other);
                let operator = column.map_or("pg_catalog.=", |column| self.equality(&column.native));
                format!("c.{} OPERATOR({operator}) t.{}", quote::ident(own), quote::ident(other))
            });
            let pairs = pairs.collect::<Vec<_>>().join(" AND ");
            let mut stays = String::new();
            for (spec, keys) in going {
                if spec.local == reference.table && spec.schema == reference.schema && !keys.is_empty() {
                    let gone = sql::rowset(&mut args, spec.key_columns().enumerate(), sql::cells(keys), "g", 'k');
                    let same = spec.key_columns().enumerate().map(|(at, column)| {
                        self.equal(column, &format!("c.{}", quote::ident(&column.name)), &format!("g.k{}", at + 1))
                    });
                    stays += &format!(
                        " AND NOT EXISTS (SELECT FROM {gone} WHERE {})",
                        same.collect::<Vec<_>>().join(" AND ")
                    );
                }
            }
            // What a policy hides goes along unseen, as the server deletes it by the rights of the table's owner.
            let hidden = format!("pg_catalog.row_security_active({}::pg_catalog.text)", quote::literal(&child));
            let statement = format!(
                "SELECT u.n FROM {wanted} JOIN {} AS t ON {} \
                 WHERE {hidden} OR EXISTS (SELECT FROM {child} AS c WHERE {pairs}{stays})",
                sql::table(table),
                self.same_key(table)
            );
            for row in self.fetch(statement, args).await? {
                referred.push(get::<i64>(&row, 0)? as usize - 1);
            }
        }
        referred.sort_unstable();
        referred.dedup();
        Ok(referred.into_iter().map(|at| keys[at].clone()).collect())
    }

    pub(super) async fn find_locked(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<Vec<Key>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut args = Args::new();
        let wanted = sql::keys(&mut args, table, sql::cells(keys));
        let there = format!("SELECT u.n FROM {wanted} JOIN {} AS t ON {}", sql::table(table), self.same_key(table));
        let statement = format!(
            "WITH free AS MATERIALIZED ({there} FOR UPDATE OF t SKIP LOCKED) \
             SELECT n FROM ({there}) AS there WHERE NOT EXISTS (SELECT FROM free \
                WHERE free.n OPERATOR(pg_catalog.=) there.n)"
        );
        let rows = self.fetch(statement, args).await?;
        rows.iter().map(|row| Ok(keys[get::<i64>(row, 0)? as usize - 1].clone())).collect()
    }

    pub(super) async fn find_writers(&mut self, table: &TableSpec) -> Result<Vec<i64>> {
        let mut args = Args::new();
        args.add(sql::table(table));
        let rows = self
            .fetch(
                "SELECT DISTINCT x.transactionid::pg_catalog.text::pg_catalog.int8, \
                    pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8 \
                 FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_locks x ON x.virtualtransaction = l.virtualtransaction \
                    AND x.pid IS NOT DISTINCT FROM l.pid AND x.locktype = 'transactionid' AND x.mode = 'ExclusiveLock' AND x.granted \
                 WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid() \
                    AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') \
                    AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
                    AND (l.relation OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1)::pg_catalog.oid OR l.relation IN \
                        (SELECT p.relid::pg_catalog.oid FROM pg_catalog.pg_partition_tree(pg_catalog.to_regclass($1)) p))",
                args,
            )
            .await?;
        let mark = |row| {
            // A lock tells the lower half of the number; an open transaction is less than half a turn old.
            let (half, next): (i64, i64) = (get(row, 0)?, get(row, 1)?);
            let mark = (next & !0xffff_ffff) | half;
            Ok(if mark > next { mark - (1 << 32) } else { mark })
        };
        rows.iter().map(mark).collect()
    }

    pub(super) async fn find_unseen(&mut self, table: &TableSpec, read: &Cut, keys: &[&Key]) -> Result<Vec<Key>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let history = sql::history(table);
        let own = "h.xid OPERATOR(pg_catalog.<>) pg_catalog.pg_current_xact_id()";
        let mut args = Args::new();
        let parts = sql::beyond(&mut args, read);
        let any =
            parts.iter().map(|condition| format!("EXISTS (SELECT FROM {history} AS h WHERE {condition} AND {own})"));
        let any = any.collect::<Vec<_>>().join(" OR ");
        // Asked in the same statement, hence of the same moment, as what is there: a purge takes away and notes that at once.
        let purged = |args: &mut Args| {
            args.add(table.name.as_str());
            let at = args.count();
            format!(
                "(SELECT p.cut FROM concord.purged AS p WHERE p.\"table\" OPERATOR(pg_catalog.=) ${at}::pg_catalog.text)"
            )
        };
        let is_beyond = |cut: Option<String>| -> Result<bool> {
            let cut = cut.map(|cut| super::service::parse::<Cut>(&cut)).transpose()?;
            Ok(cut.is_some_and(|purged| !read.includes(&purged)))
        };
        let all = || keys.iter().map(|key| (*key).clone()).collect();
        let statement = format!("SELECT {any}, {}", purged(&mut args));
        let rows = self.fetch(statement, args).await?;
        if is_beyond(get(&rows[0], 1)?)? {
            return Ok(all());
        }
        // Nearly always nothing is new, and the keys need not be sent.
        if !get::<bool>(&rows[0], 0)? {
            return Ok(Vec::new());
        }
        let mut args = Args::new();
        let wanted = sql::keys(&mut args, table, sql::cells(keys));
        let parts = sql::beyond(&mut args, read);
        let names = sql::history_keys(table).map(|name| format!("h.{name}")).collect::<Vec<_>>().join(", ");
        let parts =
            parts.iter().map(|condition| format!("SELECT {names} FROM {history} AS h WHERE {condition} AND {own}"));
        let statement = format!(
            "WITH h AS MATERIALIZED ({}) SELECT DISTINCT u.n, NULL::pg_catalog.text FROM {wanted} JOIN h ON {} \
             UNION ALL SELECT NULL::pg_catalog.int8, {}",
            parts.collect::<Vec<_>>().join(" UNION "),
            self.same_entry_key(table),
            purged(&mut args)
        );
        let mut unseen = Vec::new();
        for row in &self.fetch(statement, args).await? {
            match get::<Option<i64>>(row, 0)? {
                Some(number) => unseen.push(keys[number as usize - 1].clone()),
                None if is_beyond(get(row, 1)?)? => return Ok(all()),
                None => {}
            }
        }
        Ok(unseen)
    }

    pub(super) async fn find_altered(&mut self, table: &TableSpec, rows: &[&Row]) -> Result<Vec<(Key, String)>> {
        let keys: Vec<Key> = rows.iter().map(|row| table.key_of(row)).collect();
        let keys: Vec<&Key> = keys.iter().collect();
        let standing = self.read_rows(table, &keys, "").await?;
        let mut args = Args::new();
        let wanted = sql::keys(&mut args, table, sql::cells(&keys));
        let statement = format!(
            "SELECT DISTINCT u.n FROM {wanted} JOIN {} AS h ON {} WHERE {OWN}",
            sql::history(table),
            self.same_entry_key(table)
        );
        let mut again = vec![false; rows.len()];
        for row in self.fetch(statement, args).await? {
            let at = get::<i64>(&row, 0)? as usize - 1;
            // What is owed was there before the row was written.
            again[at] = !self.owed.get(&table.index).is_some_and(|owed| owed.contains(keys[at]));
        }
        let mut altered = Vec::new();
        for (at, (row, standing)) in rows.iter().zip(standing).enumerate() {
            let lenient = self.lenient.contains(&(table.index, keys[at].clone()));
            let column = match standing {
                _ if lenient && !again[at] => continue,
                None => Some("(the row is not there)".to_owned()),
                Some(Err(why)) => Some(why),
                Some(Ok(standing)) => {
                    let differs = standing.iter().zip(row.iter()).position(|(now, then)| now != then);
                    differs.map(|at| table.columns[at].name.clone())
                }
            };
            let column = column.or_else(|| again[at].then(|| "(a column that is not synced)".to_owned()));
            altered.extend(column.map(|column| (keys[at].clone(), column)));
        }
        Ok(altered)
    }

    pub(super) async fn write_notes(&mut self, table: &TableSpec, notes: &[&Note]) -> Result<()> {
        // Nobody asks for a row that could never stand here.
        let notes: Vec<&Note> = notes.iter().copied().filter(|note| sql::can_hold(table, &note.key)).collect();
        let weight = |note: &&Note| {
            let sides = note.images.iter().flat_map(|images| [&images.before, &images.after]).flatten();
            note.key.iter().chain(sides.flat_map(|side| side.iter())).map(Value::weight).sum::<usize>()
        };
        for part in portions(notes.iter().map(weight), usize::MAX) {
            self.add_notes(table, &notes[part]).await?;
        }
        Ok(())
    }

    async fn add_notes(&mut self, table: &TableSpec, notes: &[&Note]) -> Result<()> {
        let mut origins = Vec::with_capacity(notes.len());
        let mut vectors = Vec::with_capacity(notes.len());
        for note in notes {
            origins.push(self.node_name(note.dot.node)?);
            vectors.push(self.vector_text(&note.vector)?);
        }
        let mut args = Args::new();
        let mut names =
            vec!["op".to_owned(), "\"time\"".into(), "origin".into(), "number".into(), "mark".into(), "vector".into()];
        let mut casts = vec!["$1::pg_catalog.text[]".to_owned()];
        args.add(notes.iter().map(|note| note.op.letter()).collect::<Vec<_>>());
        let mut add = |args: &Args, ty: &str| casts.push(format!("${}::pg_catalog.{ty}[]", args.count()));
        args.add(notes.iter().map(|note| note.stamp.time).collect::<Vec<_>>());
        add(&args, "int8");
        args.add(origins);
        add(&args, "text");
        args.add(notes.iter().map(|note| note.dot.number).collect::<Vec<_>>());
        add(&args, "int8");
        args.add(notes.iter().map(|note| note.dot.mark).collect::<Vec<_>>());
        add(&args, "int8");
        args.add(vectors);
        add(&args, "text");
        let mut values: Vec<String> =
            ["u.x1::pg_catalog.\"char\"", "u.x2", "u.x3", "u.x4", "u.x5", "u.x6"].map(str::to_owned).to_vec();
        if !table.images.is_empty() {
            for (name, flag) in [
                (
                    "before",
                    notes.iter().map(|note| note.images.as_ref().map(|i| i.before.is_some())).collect::<Vec<_>>(),
                ),
                ("after", notes.iter().map(|note| note.images.as_ref().map(|i| i.after.is_some())).collect::<Vec<_>>()),
            ] {
                args.add(flag);
                casts.push(format!("${}::pg_catalog.bool[]", args.count()));
                names.push(name.to_owned());
                values.push(format!("u.x{}", casts.len()));
            }
        }
        let mut cells = |column: &Column, name: String, cells: &mut dyn Iterator<Item = &Value>| {
            let wire = Wire::of(column);
            let list: Vec<&Value> = cells.collect();
            args.cells(column, &wire, list.into_iter());
            casts.push(wire.parameter(args.count()));
            names.push(quote::ident(&name));
            let value = self.sought(column, &format!("u.x{}", casts.len()));
            values.push(value);
        };
        for (at, (column, name)) in table.key_columns().zip(sql::history_keys(table)).enumerate() {
            cells(column, name, &mut notes.iter().map(|note| &note.key[at]));
        }
        for (at, column) in table.image_columns().enumerate() {
            let (old, new) = sql::image_columns(column);
            let before = |note: &'_ Note| {
                note.images.as_ref().and_then(|images| images.before.as_ref()).map(|row| row[at].clone())
            };
            let after = |note: &'_ Note| {
                note.images.as_ref().and_then(|images| images.after.as_ref()).map(|row| row[at].clone())
            };
            let olds: Vec<Value> = notes.iter().map(|note| before(note).unwrap_or(Value::Null)).collect();
            let news: Vec<Value> = notes.iter().map(|note| after(note).unwrap_or(Value::Null)).collect();
            cells(column, old, &mut olds.iter());
            cells(column, new, &mut news.iter());
        }
        let aliases: Vec<String> = (1..=casts.len()).map(|number| format!("x{number}")).collect();
        let key = if table.images.is_empty() { 6 } else { 8 };
        let enums = table.key_columns().zip(&values[key..]).filter(|(column, _)| self.is_enum(&column.native));
        let known: String = enums.map(|(_, value)| format!(" AND {value} IS NOT NULL")).collect();
        let statement = format!(
            "INSERT INTO {} ({}) SELECT {} FROM {} AS u ({}) WHERE true{known}",
            sql::history(table),
            names.join(", "),
            values.join(", "),
            sql::unnest(&casts),
            aliases.join(", ")
        );
        self.fetch(statement, args).await?;
        Ok(())
    }

    pub(super) async fn write_touch(&mut self, table: &TableSpec, key: &Key, since: Option<i64>) -> Result<()> {
        if !sql::can_hold(table, key) {
            let why = format!(
                "no row of this key can stand in {}, so nothing there could count instead; change or delete it where it is",
                table.full_name()
            );
            return Err(Error::new(ErrorKind::Value, why));
        }
        let mut args = Args::new();
        let keys = [key];
        let wanted = sql::keys(&mut args, table, sql::cells(&keys));
        args.add(since);
        let time = format!("COALESCE(${}::pg_catalog.int8, {})", args.count(), capture::now());
        let mut names = vec!["op".to_owned(), "\"time\"".to_owned()];
        let there = format!("t.{} IS NOT NULL", quote::ident(&table.columns[table.key[0]].name));
        let mut values = vec![format!("CASE WHEN {there} THEN 'U' ELSE 'D' END::pg_catalog.\"char\""), time];
        if !table.images.is_empty() {
            names.extend(["before".to_owned(), "after".to_owned()]);
            values.extend([there.clone(), there]);
        }
        for (column, name) in table.key_columns().zip(sql::history_keys(table)) {
            values.push(Wire::of(column).incoming(&format!("u.{name}")));
            names.push(name);
        }
        for column in table.image_columns() {
            let (old, new) = sql::image_columns(column);
            for name in [old, new] {
                names.push(quote::ident(&name));
                values.push(format!("t.{}", quote::ident(&column.name)));
            }
        }
        let statement = format!(
            "INSERT INTO {} ({}) SELECT {} FROM {wanted} LEFT JOIN {} AS t ON {}",
            sql::history(table),
            names.join(", "),
            values.join(", "),
            sql::table(table),
            self.same_key(table)
        );
        self.fetch(statement, args).await?;
        Ok(())
    }
}

fn quote_key(table: &TableSpec, alias: &str) -> String {
    table.key_columns().map(|column| format!("{alias}.{}", quote::ident(&column.name))).collect::<Vec<_>>().join(", ")
}

/// The condition that a write of this mode overwrites what the entry `h` tells. What is only updated stays away where it is gone.
fn overwritten(mode: Option<WriteMode>) -> &'static str {
    match mode {
        Some(WriteMode::UpdateOnly) => "h.op OPERATOR(pg_catalog.=) 'U'::pg_catalog.\"char\"",
        _ => "TRUE",
    }
}

/// The condition that no change need be counted of which the entry `h` tells: nothing is added up here, or a reference did it, or the row
/// is deleted anyway. What was added to a row that goes everywhere is moot.
fn uncounted(table: &TableSpec, mode: Option<WriteMode>) -> String {
    if table.images.is_empty() || mode.is_none() && table.takes_all {
        return "TRUE".to_owned();
    }
    let mut parts = vec!["h.before IS TRUE AND h.after IS TRUE".to_owned()];
    // As texts, byte by byte: `=` would be whatever the role's search path has, or the column's collation takes for equal.
    parts.extend(table.counted_columns().map(|(_, column)| {
        let (old, new) = sql::image_columns(column);
        let [old, new] =
            [old, new].map(|name| format!("h.{}::pg_catalog.text COLLATE pg_catalog.\"C\"", quote::ident(&name)));
        format!("COALESCE({old} OPERATOR(pg_catalog.=) {new}, ({old}) IS NULL AND ({new}) IS NULL)")
    }));
    let mut ways = vec![parts.join(" AND ")];
    if mode.is_none() {
        ways.push("h.op OPERATOR(pg_catalog.=) 'D'::pg_catalog.\"char\"".to_owned());
    }
    ways.extend(moved(table));
    format!("({})", ways.join(" OR "))
}

/// The condition that the entry `h` tells of a row to which a reference gave another key, if one can: as much went under one key as came
/// under the other.
fn moved(table: &TableSpec) -> Option<String> {
    let names: Vec<String> = sql::history_keys(table).collect();
    let keys = table.kept_of_key()?.into_iter().map(|(at, _)| format!(", h.{}::pg_catalog.text", names[at]));
    let images = table.counted_columns().map(|(_, column)| {
        let (old, new) = sql::image_columns(column);
        let [old, new] = [old, new].map(|name| format!("h.{}::pg_catalog.text", quote::ident(&name)));
        format!(", COALESCE({old}, {new})")
    });
    let cells: String = keys.chain(images).collect();
    // One text, so that no NULL is compared, and nothing by a collation.
    let told = |op: &str| {
        let is_op = format!("h.op OPERATOR(pg_catalog.=) '{op}'::pg_catalog.\"char\"");
        format!("ROW({is_op}{cells})::pg_catalog.text COLLATE pg_catalog.\"C\"")
    };
    let moves = "h.op OPERATOR(pg_catalog.<>) 'U'::pg_catalog.\"char\"";
    Some(format!(
        "{moves} AND {} OPERATOR(pg_catalog.=) ANY (SELECT {} FROM {} AS h WHERE {OWN} AND {moves})",
        told("I"),
        told("D"),
        sql::history(table)
    ))
}
