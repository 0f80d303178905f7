//! Creating, repairing and removing service tables, histories and triggers, each in one transaction.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use sqlx::Row;

use super::capture::{self, Form, HistoryColumns};
use super::drift::Fingerprint;
use super::schema::get;
use super::service::is_trusted;
use super::wire::Args;
use super::{HISTORY, Phase, Postgres, SERVICE, quote, sql};
use crate::fault;
use crate::model::{Domain, TableSpec};
use crate::node::patience::for_locks;
use crate::node::{Error, ErrorKind, GIVEN_UP, NEWEST, Result, SERVICE_VERSION, Sync, found};

/// What may not run at the same time takes this lock: the first bytes of "concord".
pub(super) const LOCK: i64 = 0x0063_6f6e_636f_7264;

/// Users wait behind whoever waits for a table lock, so nobody waits long.
const LOCKS: Duration = Duration::from_secs(10);

pub(super) fn begin() -> String {
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = {}; SET LOCAL synchronous_commit = on; \
         SET LOCAL client_min_messages = 'warning'",
        for_locks(LOCKS).as_millis()
    )
}

const SERVICE_TABLES: &[(&str, &str)] = &[
    (
        "node",
        "version int8 NOT NULL, sync text NOT NULL, node text NOT NULL, nodes text[] NOT NULL, \
              uuid uuid NOT NULL, single bool PRIMARY KEY DEFAULT true CHECK (single)",
    ),
    (
        "installed",
        "\"table\" text PRIMARY KEY, local text NOT NULL, history text NOT NULL UNIQUE, columns text NOT NULL, \
                   triggers text NOT NULL, shape text NOT NULL, fingerprint text NOT NULL",
    ),
    ("position", "\"table\" text, source text, cut text NOT NULL, witness text, PRIMARY KEY (\"table\", source)"),
    ("purged", "\"table\" text PRIMARY KEY, cut text NOT NULL"),
    (
        "witness",
        "\"table\" text, target text, xid xid8, id int8, \"time\" int8 NOT NULL, \
                 PRIMARY KEY (\"table\", target, xid, id)",
    ),
    ("load", "progress text NOT NULL, single bool PRIMARY KEY DEFAULT true CHECK (single)"),
    (
        "parked",
        "\"table\" text, hash text, key text NOT NULL, code text NOT NULL, message text NOT NULL, \
                since int8 NOT NULL, vector text NOT NULL, time int8 NOT NULL, origin text NOT NULL, \"row\" text, \
                standing text NOT NULL, standing_time int8 NOT NULL, read text NOT NULL, PRIMARY KEY (\"table\", hash)",
    ),
    (
        "journal",
        "id text NOT NULL, loser text NOT NULL, \"table\" text NOT NULL, key text NOT NULL, decided int8 NOT NULL, \
                 winner text NOT NULL, winner_time int8 NOT NULL, winner_row text, loser_time int8 NOT NULL, \
                 loser_row text, reason text NOT NULL, told text",
    ),
];

/// Tells each session that nothing of the journal is old enough to go, for next to nothing: entries come as they are decided.
const JOURNAL_INDEX: &str =
    "CREATE INDEX journal_decided ON concord.journal USING brin (decided) WITH (autosummarize = on)";

/// A table as it was installed.
struct Installed {
    local: String,
    history: String,
    columns: String,
    triggers: String,
    shape: String,
    fingerprint: Fingerprint,
}

impl Postgres {
    pub(super) async fn install_all(&mut self, sync: &Sync, tables: &[TableSpec]) -> Result<Vec<String>> {
        refuse_collisions(tables)?;
        self.begin(Phase::Installing, &begin()).await?;
        self.run(&format!("SELECT pg_catalog.pg_advisory_xact_lock({LOCK})")).await?;
        self.targets.clear();
        let mut done = Vec::new();
        self.create_service(sync, &mut done).await?;
        let installed = self.read_installed().await?;
        let forms = self.forms(tables).await?;
        let mut unlisted: Vec<_> = installed.iter().collect();
        unlisted.retain(|(name, _)| tables.iter().all(|table| table.name != **name));
        for (name, old) in unlisted {
            let doing = || format!("removing triggers from {}", old.local);
            self.remove_table(name, old).await.map_err(|error| error.while_doing(doing()))?;
            done.push(format!("{name}: removed its triggers, history and positions"));
        }
        let now = self.fingerprints(tables).await?;
        for ((spec, form), now) in tables.iter().zip(forms).zip(now) {
            let doing = || format!("creating triggers on {}", spec.full_name());
            let installing = self.install_table(spec, form, installed.get(&spec.name), &now, &mut done).await;
            installing.map_err(|error| error.while_doing(doing()))?;
        }
        fault::point("install-commit").await?;
        self.run("COMMIT").await?;
        self.phase = Phase::Idle;
        Ok(done)
    }

    async fn create_service(&mut self, sync: &Sync, done: &mut Vec<String>) -> Result<()> {
        let existing = self.read_service_version().await?;
        if existing.is_none() {
            self.refuse_foreign_schemas().await?;
            for schema in [SERVICE, HISTORY] {
                self.run(&format!("CREATE SCHEMA IF NOT EXISTS {schema}; REVOKE ALL ON SCHEMA {schema} FROM PUBLIC"))
                    .await?;
            }
        }
        for (name, columns) in SERVICE_TABLES {
            let rows =
                self.fetch_text("SELECT pg_catalog.to_regclass($1) IS NOT NULL", &format!("{SERVICE}.{name}")).await?;
            if !get::<bool>(&rows[0], 0)? {
                self.run(&format!("CREATE TABLE {SERVICE}.{name} ({columns})")).await?;
                done.push(format!("created {SERVICE}.{name}"));
            }
        }
        let rows = self.fetch_text("SELECT pg_catalog.to_regclass($1) IS NOT NULL", "concord.journal_decided").await?;
        if !get::<bool>(&rows[0], 0)? {
            self.run(JOURNAL_INDEX).await?;
        }
        // It has no key, and without one a publication of all tables would keep entries from being trimmed.
        let keyless = "SELECT FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass($1) AND relreplident <> 'f' \
                       AND pg_catalog.pg_has_role(relowner, 'USAGE')";
        if !self.fetch_text(keyless, "concord.journal").await?.is_empty() {
            self.run("ALTER TABLE concord.journal REPLICA IDENTITY FULL").await?;
        }
        for (table, column) in [("position", "witness"), ("journal", "told")] {
            let there = format!(
                "SELECT FROM pg_catalog.pg_attribute WHERE attrelid = pg_catalog.to_regclass($1) AND attname = '{column}'"
            );
            if self.fetch_text(&there, &format!("{SERVICE}.{table}")).await?.is_empty() {
                self.run(&format!("ALTER TABLE {SERVICE}.{table} ADD COLUMN {column} text")).await?;
                done.push(format!("extended {SERVICE}.{table}, which an earlier Concord made"));
            }
        }
        let known = self.read_service().await?;
        if let Some(known) = &known
            && (known.sync != sync.name || known.node != sync.node)
        {
            return Err(Error::new(
                ErrorKind::Service,
                format!(
                    "this database takes part in the sync `{}` as `{}` already, not in `{}` as `{}`; take \
                         Concord off it with `concord uninstall` and its configuration first",
                    known.sync, known.node, sync.name, sync.node
                ),
            ));
        }
        if known.is_none() || self.names != sync.nodes {
            let mut args = Args::new();
            args.add(SERVICE_VERSION).add(sync.name.as_str()).add(sync.node.as_str()).add(sync.nodes.clone());
            self.fetch(
                "INSERT INTO concord.node AS n (version, sync, node, nodes, uuid) \
                 VALUES ($1, $2, $3, $4, pg_catalog.gen_random_uuid()) \
                 ON CONFLICT (single) DO UPDATE SET version = GREATEST(n.version, excluded.version), nodes = excluded.nodes",
                args,
            )
            .await?;
            done.push(format!("this is `{}` of the nodes {}", sync.node, sync.nodes.join(", ")));
            self.names.clone_from(&sync.nodes);
        }
        let before = self.wanted_source().await?;
        self.run(&capture::wanted(&self.role)).await?;
        if before.is_some() && before != self.wanted_source().await? {
            done.push(format!("replaced the function {HISTORY}.{}", capture::WANTED));
        }
        Ok(())
    }

    async fn wanted_source(&mut self) -> Result<Option<String>> {
        let mut args = Args::new();
        args.add(HISTORY).add(capture::WANTED);
        let rows = self
            .fetch(
                "SELECT pg_catalog.concat_ws(' ', p.prosrc, p.proacl) FROM pg_catalog.pg_proc p \
                 JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace AND n.nspname = $1 WHERE p.proname = $2",
                args,
            )
            .await?;
        rows.first().map(|row| get(row, 0)).transpose()
    }

    /// Schemas of these names that Concord did not create are not touched. Whoever owns one could replace what is in it.
    async fn refuse_foreign_schemas(&mut self) -> Result<()> {
        let mut args = Args::new();
        args.add([SERVICE, HISTORY].as_slice());
        let foreign = format!(
            "SELECT n.nspname::pg_catalog.text, pg_catalog.pg_get_userbyid(n.nspowner)::pg_catalog.text, s.is_used \
             FROM pg_catalog.pg_namespace n CROSS JOIN LATERAL (SELECT EXISTS \
                (SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid) AS is_used) s \
             WHERE n.nspname = ANY ($1) AND (s.is_used OR NOT {}) ORDER BY s.is_used DESC, 1",
            is_trusted("n.nspowner")
        );
        let rows = self.fetch(foreign, args).await?;
        let Some(row) = rows.first() else { return Ok(()) };
        let (schema, owner): (String, String) = (get(row, 0)?, get(row, 1)?);
        let why = match get(row, 2)? {
            true => format!(
                "the schema {schema} holds tables that are not Concord's; rename it: ALTER SCHEMA {schema} RENAME TO ..."
            ),
            false => format!(
                "the schema {schema} belongs to the role {owner}, who could replace what Concord would keep in it; drop it, or run \
                 ALTER SCHEMA {schema} OWNER TO {}",
                quote::ident(&self.role)
            ),
        };
        Err(Error::new(ErrorKind::Service, why))
    }

    async fn read_installed(&mut self) -> Result<BTreeMap<String, Installed>> {
        let rows = self
            .fetch(
                "SELECT \"table\", local, history, columns, triggers, shape, fingerprint FROM concord.installed",
                Args::new(),
            )
            .await?;
        let read = rows.iter().map(|row| {
            let installed = Installed {
                local: get(row, 1)?,
                history: get(row, 2)?,
                columns: get(row, 3)?,
                triggers: get(row, 4)?,
                shape: get(row, 5)?,
                fingerprint: Fingerprint::read(&get::<String>(row, 6)?),
            };
            Ok((get(row, 0)?, installed))
        });
        read.collect()
    }

    /// Rows where a table's cascades can come back to it (it lies on a cycle of references of which one cascades), and where
    /// a subscription writes, which fires no triggers of statements.
    pub(super) async fn forms(&mut self, tables: &[TableSpec]) -> Result<Vec<Form>> {
        let mut args = Args::new();
        args.add(tables.iter().map(sql::table).collect::<Vec<_>>());
        let oids = self
            .fetch(
                "SELECT pg_catalog.to_regclass(t.name)::pg_catalog.oid::pg_catalog.int8, EXISTS (SELECT \
                    FROM pg_catalog.pg_subscription_rel s WHERE s.srrelid = pg_catalog.to_regclass(t.name)) \
                 FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY AS t (name, n) ORDER BY t.n",
                args,
            )
            .await?;
        let edges = self
            .fetch(
                "SELECT confrelid::pg_catalog.int8, conrelid::pg_catalog.int8, \
                    confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd') \
                 FROM pg_catalog.pg_constraint WHERE contype = 'f' AND conparentid = 0",
                Args::new(),
            )
            .await?;
        let mut graph: HashMap<i64, Vec<i64>> = HashMap::new();
        let mut cascades = Vec::new();
        for row in &edges {
            let (parent, child) = (get(row, 0)?, get(row, 1)?);
            graph.entry(parent).or_default().push(child);
            if get(row, 2)? {
                cascades.push((parent, child));
            }
        }
        let mut forms = Vec::new();
        for (spec, row) in tables.iter().zip(&oids) {
            let Some(oid) = get::<Option<i64>>(row, 0)? else {
                return Err(Error::new(ErrorKind::Drift, format!("the table {} does not exist", spec.full_name())));
            };
            let from_here = reachable(&graph, oid);
            let returns = cascades.iter().any(|(parent, child)| {
                (*parent == oid || from_here.contains(parent))
                    && (*child == oid || reachable(&graph, *child).contains(&oid))
            });
            let row_form = spec.partitioned || !spec.images.is_empty() || returns || get(row, 1)?;
            forms.push(if row_form { Form::Row } else { Form::Statement });
        }
        Ok(forms)
    }

    async fn install_table(
        &mut self,
        spec: &TableSpec,
        form: Form,
        old: Option<&Installed>,
        now: &Fingerprint,
        done: &mut Vec<String>,
    ) -> Result<()> {
        let (columns, numbers) = self.history_columns(spec).await?;
        let create = columns.create(spec);
        let layout = format!("{numbers} {create}");
        let triggers = if spec.captured { capture::create(spec, form, &self.role) } else { Vec::new() };
        let signature = triggers.join(";\n");
        let as_left = old.is_some_and(|old| {
            old.columns == layout
                && old.triggers == signature
                && (old.fingerprint == *now || old.fingerprint.only_made_always(now))
                && old.local == sql::table(spec)
        });
        if as_left {
            let widened = spec.captured && !now.fires_always() && self.fire_always(spec, form).await?;
            let print = match widened {
                true => self.fingerprints(std::slice::from_ref(spec)).await?.remove(0),
                false => now.clone(),
            };
            if old.is_some_and(|old| old.fingerprint != print) {
                let mut args = Args::new();
                args.add(spec.name.as_str()).add(print.write());
                self.fetch("UPDATE concord.installed SET fingerprint = $2 WHERE \"table\" = $1", args).await?;
                done.push(format!("{}: its triggers fire in replication sessions as well now", spec.name));
            }
            if old.is_some_and(|old| old.shape != spec.shape) {
                let mut args = Args::new();
                args.add(spec.name.as_str()).add(spec.shape.as_str());
                self.fetch("UPDATE concord.installed SET shape = $2 WHERE \"table\" = $1", args).await?;
                done.push(format!("{}: recorded its new shared shape", spec.name));
            }
            return Ok(());
        }
        let history = sql::history(spec);
        let rows = self.fetch_text("SELECT pg_catalog.to_regclass($1) IS NOT NULL", &history).await?;
        let exists: bool = get(&rows[0], 0)?;
        self.drop_functions(&spec.name).await?;
        let drift = old.and_then(|old| old.fingerprint.drift(now)).unwrap_or_default();
        let altered = drift.dropped;
        let whole = exists && !altered;
        // In another table that has taken its place, as when it was rebuilt or came out of a dump, the same columns may have other numbers.
        let moved =
            old.is_some_and(|old| old.columns.ends_with(&format!(" {create}")) && old.fingerprint.is_moved(now));
        let kept = whole && (moved || old.is_some_and(|old| old.columns == layout));
        if kept || (whole && self.retype_history(spec, &columns, &numbers, old, now).await?) {
            if !kept {
                done.push(format!("{}: gave {history} the new types of its columns", spec.name));
            }
        } else {
            let promised = whole && old.is_some() && spec.captured;
            self.replace_history(spec, &create, exists, promised).await?;
            done.push(match exists {
                false => format!("{}: created {history}", spec.name),
                true if altered => format!("{}: replaced {history}, because it was altered", spec.name),
                true => format!("{}: replaced {history}, because its key or images are others now", spec.name),
            });
        }
        if spec.captured {
            for statement in &triggers {
                self.run(statement).await?;
            }
            self.fire_always(spec, form).await?;
            done.push(format!("{}: created triggers on {}", spec.name, spec.full_name()));
            if drift.unrecorded {
                let changes = self.give_up_vanished(spec).await?;
                if changes > 0 {
                    done.push(format!("{}: {}", spec.name, found::given_up(changes, &spec.name)));
                }
            }
        } else if old.is_some_and(|old| !old.triggers.is_empty()) {
            done.push(format!(
                "{}: removed triggers from {}, whose changes are carried nowhere",
                spec.name,
                spec.full_name()
            ));
        }
        if let Some(old) = old {
            for difference in old.fingerprint.differences(now) {
                done.push(format!("{}: took note that {difference}", spec.name));
            }
        }
        let print = self.fingerprints(std::slice::from_ref(spec)).await?.remove(0);
        let mut args = Args::new();
        args.add(spec.name.as_str())
            .add(sql::table(spec))
            .add(sql::history_name(&spec.name))
            .add(layout)
            .add(signature)
            .add(spec.shape.as_str())
            .add(print.write());
        self.fetch(
            "INSERT INTO concord.installed (\"table\", local, history, columns, triggers, shape, fingerprint) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (\"table\") DO UPDATE SET local = excluded.local, \
             history = excluded.history, columns = excluded.columns, triggers = excluded.triggers, \
             shape = excluded.shape, fingerprint = excluded.fingerprint",
            args,
        )
        .await?;
        Ok(())
    }

    /// A new history, whose numbers are above all that one of this name ever gave out: other nodes remember those. Nobody
    /// writes a million entries a second for long, so the microseconds of the clock are above even what is forgotten.
    /// Refused where the former one holds changes that were `promised` to be carried.
    async fn replace_history(&mut self, spec: &TableSpec, create: &str, exists: bool, promised: bool) -> Result<()> {
        let history = sql::history(spec);
        let mut last = 0;
        if exists {
            // Whoever writes to the table has been waited for, and nobody enters anything until the end.
            self.run(&format!("LOCK TABLE {history} IN ACCESS EXCLUSIVE MODE")).await?;
            if promised {
                let alive = sql::ALIVE;
                let count = format!("SELECT pg_catalog.count(*) FROM {history} AS h WHERE {alive}");
                let counted = self.fetch(count, Args::new()).await?;
                let left = get::<i64>(&counted[0], 0)?.unsigned_abs();
                if left > 0 {
                    return Err(Error::holds_changes(spec, left));
                }
            }
            let last_value = "SELECT pg_catalog.pg_sequence_last_value(pg_catalog.pg_get_serial_sequence($1, 'id')::pg_catalog.regclass)";
            last = get::<Option<i64>>(&self.fetch_text(last_value, &history).await?[0], 0)?.unwrap_or(0);
            self.run(&format!("DROP TABLE {history}")).await?;
        }
        self.run(create).await?;
        let now = self.fetch(format!("SELECT {}", capture::now()), Args::new()).await?;
        let start = last.saturating_add(1).max(get(&now[0], 0)?);
        self.run(&format!("ALTER TABLE {history} ALTER COLUMN id RESTART WITH {start}")).await
    }

    /// Gives up the changes of rows that are gone although nobody deleted them, which would delete the rows elsewhere; how many of users
    /// there were. What Concord did to these rows goes with them. A row that Concord took away has no change later than that; one that
    /// others only told of has none of a user, and may have none here where not all rows are to be here.
    ///
    /// Where such a row had another key before, the delete of that one goes too, as there would be neither elsewhere. Then that key may have
    /// changes of a row that is gone, and so on.
    ///
    /// Whoever writes to the table has been waited for when its triggers were made, and nobody does until the end.
    async fn give_up_vanished(&mut self, spec: &TableSpec) -> Result<u64> {
        self.know_equalities(std::slice::from_ref(spec)).await?;
        let (history, alive) = (sql::history(spec), sql::ALIVE);
        let keys: Vec<String> = sql::history_keys(spec).collect();
        let exact = |value: &str| format!("{value}::pg_catalog.text COLLATE pg_catalog.\"C\"");
        let same = spec.key_columns().zip(&keys).map(|(column, key)| {
            let (own, key) = (format!("t.{}", quote::ident(&column.name)), format!("l.{key}"));
            let same = format!("{} OPERATOR({}) {key}", self.plain(column, &own), self.equality(&column.native));
            // What a type or a collation calls equal may be another key.
            match column.domain {
                Domain::Text { .. } | Domain::Native(_) => {
                    format!("{same} AND {} OPERATOR(pg_catalog.=) {}", exact(&own), exact(&key))
                }
                _ => same,
            }
        });
        let same = same.collect::<Vec<_>>().join(" AND ");
        let apart: Vec<String> = keys.iter().map(|key| exact(&format!("h.{key}"))).collect();
        let keys: String = keys.iter().map(|key| format!(", h.{key}")).collect();
        let last = |condition: &str| format!("pg_catalog.max(h.id) FILTER (WHERE {condition}) OVER w");
        // An update alone brings no row back.
        let (all, own, gone, back) = (
            last("h.op IN ('I', 'U')"),
            last("h.origin IS NULL AND h.op IN ('I', 'U')"),
            last("h.op = 'D'"),
            last("h.op = 'I' OR h.op = 'U' AND h.origin IS NOT NULL"),
        );
        // Of changes that are counted one by one others' are entered also while the row itself waits.
        let waits =
            "SELECT EXISTS (SELECT FROM concord.parked WHERE \"table\" OPERATOR(pg_catalog.=) $1::pg_catalog.text)";
        let waits: bool = get(&self.fetch_text(waits, &spec.name).await?[0], 0)?;
        let made = if spec.takes_all && (spec.images.is_empty() || !waits) { all } else { own };
        let former = "CASE WHEN h.op = 'I' AND h.origin IS NULL AND pg_catalog.lag(h.op) OVER x = 'D' \
                      AND pg_catalog.lag(h.origin) OVER x IS NULL THEN pg_catalog.lag(h.id) OVER x END";
        // Else rows that are only hidden would count as gone.
        self.run("SET LOCAL row_security = off").await?;
        let statement = format!(
            "WITH given AS (UPDATE {history} AS g SET op = $1::pg_catalog.text::pg_catalog.\"char\" \
             FROM (SELECT h.xid, h.id{keys}, {made} AS made, {gone} AS gone, {back} AS back, {former} AS former \
                FROM {history} AS h \
                WHERE {alive} WINDOW w AS (PARTITION BY {}), x AS (PARTITION BY h.xid ORDER BY h.id)) AS l \
             WHERE g.xid = l.xid AND g.id = l.id AND l.made > COALESCE(l.gone, 0) AND (l.gone IS NULL OR l.back > l.gone) \
                AND NOT EXISTS (SELECT FROM {} AS t WHERE {same}) RETURNING g.origin, g.xid, l.former), \
             deleted AS (UPDATE {history} AS g SET op = $1::pg_catalog.text::pg_catalog.\"char\" FROM given AS l \
                WHERE g.xid = l.xid AND g.id = l.former RETURNING 1) \
             SELECT (SELECT pg_catalog.count(*) FROM given), \
                (SELECT pg_catalog.count(*) FROM given WHERE origin IS NULL) + (SELECT pg_catalog.count(*) FROM deleted)",
            apart.join(", "),
            sql::table(spec)
        );
        let mut given = 0;
        loop {
            let counted = self.fetch_text(&statement, GIVEN_UP).await?;
            if get::<i64>(&counted[0], 0)? == 0 {
                return Ok(given);
            }
            given += get::<i64>(&counted[0], 1)?.unsigned_abs();
            let mut args = Args::new();
            args.add(NEWEST);
            self.fetch("UPDATE concord.node SET version = GREATEST(version, $1)", args).await?;
        }
    }

    /// Gives the history's columns other types and names where the same columns are recorded and their values fit.
    async fn retype_history(
        &mut self,
        spec: &TableSpec,
        columns: &HistoryColumns,
        numbers: &str,
        old: Option<&Installed>,
        now: &Fingerprint,
    ) -> Result<bool> {
        let Some(old) = old else { return Ok(false) };
        let same = old.columns.starts_with(&format!("{numbers} "));
        if !same && !old.fingerprint.is_moved(now) {
            return Ok(false);
        }
        let history = sql::history(spec);
        let images = spec.image_columns().map(|column| column.name.as_str());
        let renamed: Vec<(String, &str)> =
            old.fingerprint.images().into_iter().zip(images).filter(|(then, now)| then != now).collect();
        // By way of names that no column has, as two may have changed theirs.
        let (mut aside, mut named) = (Vec::new(), Vec::new());
        for (at, (then, now)) in renamed.iter().enumerate() {
            for side in ["old_", "new_"] {
                let between = quote::ident(&format!("renamed {side}{at}"));
                let (then, now) = (quote::fitting(side, then), quote::fitting(side, now));
                aside.push(format!("ALTER TABLE {history} RENAME COLUMN {} TO {between}", quote::ident(&then)));
                named.push(format!("ALTER TABLE {history} RENAME COLUMN {between} TO {}", quote::ident(&now)));
            }
        }
        let retype = |(name, ty): &(String, String)| {
            let name = quote::ident(name);
            format!("ALTER COLUMN {name} TYPE {ty} USING CAST({name}::pg_catalog.text AS {ty})")
        };
        let retypes: Vec<String> = columns.keys.iter().chain(&columns.images).map(retype).collect();
        let retype = format!("ALTER TABLE {history} {}", retypes.join(", "));
        let all: Vec<String> = aside.into_iter().chain(named).chain([retype]).collect();
        self.run("SAVEPOINT retype").await?;
        match self.run(&all.join("; ")).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind == ErrorKind::Lost || error.may_pass() => Err(error),
            Err(_) => self.run("ROLLBACK TO SAVEPOINT retype").await.map(|()| false),
        }
    }

    /// The history's columns with types from the catalogue: what a domain is made of, without length or precision.
    /// With them the numbers of the columns they stand for, which a renamed column keeps.
    async fn history_columns(&mut self, spec: &TableSpec) -> Result<(HistoryColumns, String)> {
        let mut args = Args::new();
        args.add(sql::table(spec));
        let rows = self
            .fetch(
                "WITH RECURSIVE base (name, number, oid) AS ( \
                    SELECT a.attname, a.attnum, a.atttypid FROM pg_catalog.pg_attribute a \
                    WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped \
                 UNION ALL SELECT b.name, b.number, t.typbasetype FROM base b \
                    JOIN pg_catalog.pg_type t ON t.oid = b.oid AND t.typtype = 'd') \
                 SELECT b.name::pg_catalog.text, pg_catalog.format_type(b.oid, -1), b.number \
                 FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.oid AND t.typtype <> 'd'",
                args,
            )
            .await?;
        let types: HashMap<String, (String, i16)> =
            rows.iter().map(|row| Ok((get(row, 0)?, (get(row, 1)?, get(row, 2)?)))).collect::<Result<_>>()?;
        let recorded = spec.key_columns().chain(spec.image_columns());
        if let Some(missing) = recorded.clone().find(|column| !types.contains_key(&column.name)) {
            let message = format!("{} has no column {} any more", spec.full_name(), missing.name);
            return Err(Error::new(ErrorKind::Drift, message));
        }
        let numbers: Vec<i16> = recorded.map(|column| types[&column.name].1).collect();
        Ok((HistoryColumns::of(spec, |column| types[&column.name].0.clone()), format!("{numbers:?}")))
    }

    /// Lets the triggers fire in replication sessions as well, where the role may; whether it may anywhere.
    async fn fire_always(&mut self, spec: &TableSpec, form: Form) -> Result<bool> {
        let mut any = false;
        for (table, statement) in capture::always(spec, form) {
            if self.owns(&table).await? {
                self.run(&statement).await?;
                any = true;
            }
        }
        Ok(any)
    }

    async fn owns(&mut self, table: &str) -> Result<bool> {
        let statement = "SELECT pg_catalog.pg_has_role(relowner, 'USAGE') FROM pg_catalog.pg_class \
                         WHERE oid = pg_catalog.to_regclass($1)";
        let rows = self.fetch_text(statement, table).await?;
        rows.first().map_or(Ok(false), |row| get(row, 0))
    }

    /// Drops a table's trigger functions and with them its triggers, which only the table's owner could drop directly.
    async fn drop_functions(&mut self, shared: &str) -> Result<()> {
        let drops: Vec<String> = capture::functions(shared)
            .iter()
            .map(|function| format!("DROP FUNCTION IF EXISTS {}() CASCADE", quote::table(HISTORY, function)))
            .collect();
        self.run(&drops.join("; ")).await
    }

    async fn remove_table(&mut self, shared: &str, old: &Installed) -> Result<()> {
        self.drop_functions(shared).await?;
        self.run(&format!("DROP TABLE IF EXISTS {}", quote::table(HISTORY, &old.history))).await?;
        for table in ["installed", "position", "purged", "witness", "parked"] {
            self.fetch_text(&format!("DELETE FROM concord.{table} WHERE \"table\" = $1"), shared).await?;
        }
        Ok(())
    }

    pub(super) async fn fetch_text(&mut self, statement: &str, text: &str) -> Result<Vec<sqlx::postgres::PgRow>> {
        let mut args = Args::new();
        args.add(text);
        self.fetch(statement, args).await
    }

    pub(super) async fn uninstall_all(&mut self) -> Result<bool> {
        self.begin(Phase::Installing, &begin()).await?;
        self.run(&format!("SELECT pg_catalog.pg_advisory_xact_lock({LOCK})")).await?;
        if self.read_service_version().await?.is_none() {
            return Ok(false);
        }
        let mut ours: HashSet<String> = SERVICE_TABLES.iter().map(|(name, _)| quote::table(SERVICE, name)).collect();
        ours.insert(quote::table(SERVICE, super::numbers::TABLE));
        self.restore_all_steps().await?;
        for installed in self.read_installed().await?.values() {
            ours.insert(quote::table(HISTORY, &installed.history));
        }
        let mut args = Args::new();
        args.add([SERVICE, HISTORY].as_slice());
        let rows = self
            .fetch(
                "SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = ANY ($1) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')",
                args,
            )
            .await?;
        for row in &rows {
            let (schema, name): (&str, &str) =
                (row.try_get(0).map_err(super::failure::error)?, row.try_get(1).map_err(super::failure::error)?);
            if !ours.contains(&quote::table(schema, name)) {
                return Err(Error::new(
                    ErrorKind::Service,
                    format!(
                        "{schema}.{name} is not Concord's and would be dropped with the schema; move it away first"
                    ),
                ));
            }
        }
        self.run(&format!("DROP SCHEMA {HISTORY} CASCADE; DROP SCHEMA {SERVICE} CASCADE")).await?;
        fault::point("uninstall-commit").await?;
        self.run("COMMIT").await?;
        self.phase = Phase::Idle;
        self.targets.clear();
        self.stale = true;
        Ok(true)
    }

    pub(super) async fn reset_all(&mut self) -> Result<()> {
        self.begin(Phase::Installing, &begin()).await?;
        self.run(&format!("SELECT pg_catalog.pg_advisory_xact_lock({LOCK})")).await?;
        self.check_service().await?;
        self.clear_histories().await?;
        self.run("COMMIT").await?;
        self.phase = Phase::Idle;
        Ok(())
    }

    /// The names of the histories.
    pub(super) async fn histories(&mut self) -> Result<Vec<String>> {
        Ok(self.read_installed().await?.into_values().map(|installed| installed.history).collect())
    }

    /// Empties the histories, and forgets what was applied, purged and parked.
    pub(super) async fn clear_histories(&mut self) -> Result<()> {
        let histories: Vec<String> =
            self.histories().await?.iter().map(|history| quote::table(HISTORY, history)).collect();
        // Those that somebody dropped `install` makes anew.
        let mut args = Args::new();
        args.add(histories);
        let there =
            "SELECT h FROM pg_catalog.unnest($1::pg_catalog.text[]) AS h WHERE pg_catalog.to_regclass(h) IS NOT NULL";
        let histories: Vec<String> =
            self.fetch(there, args).await?.iter().map(|row| get(row, 0)).collect::<Result<_>>()?;
        if !histories.is_empty() {
            // Ids go on from where they are, so that none is ever used twice.
            self.run(&format!("TRUNCATE {} CONTINUE IDENTITY", histories.join(", "))).await?;
        }
        self.run(
            "DELETE FROM concord.position; DELETE FROM concord.purged; DELETE FROM concord.witness; \
             DELETE FROM concord.parked",
        )
        .await
    }
}

fn reachable(graph: &HashMap<i64, Vec<i64>>, from: i64) -> HashSet<i64> {
    let mut seen = HashSet::new();
    let mut next = vec![from];
    while let Some(table) = next.pop() {
        for &child in graph.get(&table).into_iter().flatten() {
            if seen.insert(child) {
                next.push(child);
            }
        }
    }
    seen
}

/// Two shared names that would share a history or the name of a function.
fn refuse_collisions(tables: &[TableSpec]) -> Result<()> {
    let mut taken: HashMap<String, &str> = HashMap::new();
    for table in tables {
        for name in capture::functions(&table.name).into_iter().chain([sql::history_name(&table.name)]) {
            if let Some(other) = taken.insert(name.clone(), &table.name)
                && other != table.name
            {
                return Err(Error::new(
                    ErrorKind::Service,
                    format!("tables `{other}` and `{}` would share {HISTORY}.{name}; rename one of them", table.name),
                ));
            }
        }
    }
    Ok(())
}
