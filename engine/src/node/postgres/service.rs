//! What Concord remembers in the database: who it is, positions, and rows that wait.

use serde_json::Value as Document;
use sqlx::postgres::PgRow;
use tracing::warn;

use super::schema::get;
use super::wire::Args;
use super::witness::{Remembered, WRITTEN, Written};
use super::{HISTORY, Postgres, SERVICE, quote, sql};
use crate::digest::digest;
use crate::model::{
    Cut, KeptRow, Key, NodeId, Parked, ParkedCode, Position, Stamp, TableSpec, Value, Vector, Waiting,
    key_value_from_json, key_value_to_json,
};
use crate::node::{Error, ErrorKind, Ledger, Move, NEWEST, NOT_INSTALLED, Result, SERVICE_VERSION, Service};

/// What is kept of a row that waits.
const PARKED: &str =
    "\"table\", key, code, message, since, vector, time, origin, \"row\", standing, standing_time, read";

/// The same with whether there is no row in place of the row, which may be large.
const PARKED_UNREAD: &str =
    "\"table\", key, code, message, since, vector, time, origin, \"row\" IS NULL, standing, standing_time, read";

/// The condition that reading these two runs nothing that their owner has made: no view, no policy, no cast of a type of his. Also for where
/// the search path is the role's.
const INERT: &str = "NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) ANY (ARRAY[ \
        pg_catalog.to_regclass('concord.node')::pg_catalog.oid, pg_catalog.to_regclass('concord.installed')::pg_catalog.oid]) \
    AND (c.relkind OPERATOR(pg_catalog.<>) 'r' OR pg_catalog.row_security_active(c.oid) OR EXISTS \
        (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid \
            AND a.atttypid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid)))";

impl Postgres {
    /// Whether there are service tables. What reading would run of somebody else's is not read. Whoever may only compare reads what another
    /// role has installed; to a superuser nobody else's is good enough.
    async fn is_installed(&mut self) -> Result<bool> {
        let exists = format!(
            "SELECT pg_catalog.to_regclass('concord.node') IS NOT NULL, \
                pg_catalog.to_regclass('concord.witness') IS NOT NULL \
                    AND pg_catalog.to_regclass('concord.load') IS NOT NULL, {INERT}, \
                (SELECT ARRAY[o.what, o.schema, pg_catalog.pg_get_userbyid(o.owner)::pg_catalog.text] FROM \
                    (SELECT 'concord.node' AS what, 'concord' AS schema, c.relowner AS owner FROM pg_catalog.pg_class c \
                        WHERE c.oid = pg_catalog.to_regclass('concord.node')::pg_catalog.oid \
                    UNION ALL SELECT 'the schema ' || n.nspname, n.nspname::pg_catalog.text, n.nspowner \
                        FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY ($1)) o \
                    WHERE NOT {} LIMIT 1), \
                EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = session_user AND r.rolsuper), \
                EXISTS (SELECT FROM pg_catalog.pg_attribute a \
                    WHERE a.attrelid = pg_catalog.to_regclass('concord.journal')::pg_catalog.oid AND a.attname = 'told')",
            is_trusted("o.owner")
        );
        let mut args = Args::new();
        args.add([SERVICE, HISTORY].as_slice());
        let rows = self.fetch(exists, args).await?;
        let row = &rows[0];
        let there: bool = get(row, 0)?;
        self.complete = get(row, 1)?;
        self.tells = get(row, 5)?;
        if there && !get::<bool>(row, 2)? {
            return Err(not_inert());
        }
        let (foreign, is_super): (Option<Vec<String>>, bool) = (get(row, 3)?, get(row, 4)?);
        self.foreign = match foreign.as_deref() {
            Some([what, schema, owner]) if there => {
                let missing = self.missing_to_take_over(true).await?;
                let mut grants: Vec<String> = missing.into_iter().map(|right| right.grant).collect();
                if grants.is_empty() {
                    // A superuser may take over anything, and is to be a member all the same.
                    grants.push(format!("GRANT {} TO {};", quote::ident(owner), quote::ident(&self.role)));
                }
                Some(format!(
                    "{what} belongs to the role {owner}, who could make Concord run anything; if Concord was installed here as that role, \
                     connect as it, or run `concord install` once an administrator has run: {} Otherwise rename the schema: ALTER \
                     SCHEMA {schema} RENAME TO ...",
                    grants.join(" ")
                ))
            }
            _ => None,
        };
        if is_super {
            self.refuse_foreign()?;
        }
        Ok(there)
    }

    /// Fails where the service tables that were found are somebody's who is not trusted.
    fn refuse_foreign(&self) -> Result<()> {
        self.foreign.as_ref().map_or(Ok(()), |why| Err(Error::new(ErrorKind::Service, why)))
    }

    /// The layout of the service tables, or `None` without any.
    pub(super) async fn read_service_version(&mut self) -> Result<Option<i64>> {
        if !self.is_installed().await? {
            return Ok(None);
        }
        self.refuse_foreign()?;
        let rows = self.fetch("SELECT version FROM concord.node", Args::new()).await?;
        let version = rows.first().map_or(Ok(SERVICE_VERSION), |row| get(row, 0))?;
        refuse_newer(version).map(|()| Some(version))
    }

    /// Fails unless Concord is installed, with all that this one needs.
    pub(super) async fn check_service(&mut self) -> Result<Service> {
        let service = self.read_service().await?;
        self.refuse_foreign()?;
        match service {
            Some(service) if self.complete => Ok(service),
            Some(_) => Err(Error::new(
                ErrorKind::Service,
                "an earlier Concord installed the service tables here; run `concord install`, which extends them",
            )),
            None => Err(not_installed()),
        }
    }

    pub(super) async fn read_service(&mut self) -> Result<Option<Service>> {
        if !self.is_installed().await? {
            return Ok(None);
        }
        // Whatever the layout, these columns are there.
        let node = "SELECT version, sync, node, uuid::pg_catalog.text, nodes FROM concord.node";
        let rows = self.fetch(node, Args::new()).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        refuse_newer(get(row, 0)?)?;
        self.names = get(row, 4)?;
        let (sync, node, uuid) = (get(row, 1)?, get(row, 2)?, get(row, 3)?);
        let rows =
            self.fetch("SELECT \"table\", shape, fingerprint FROM concord.installed ORDER BY 1", Args::new()).await?;
        let tables = rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect::<Result<_>>()?;
        self.fingerprints = rows.iter().map(|row| Ok((get(row, 0)?, get(row, 2)?))).collect::<Result<_>>()?;
        Ok(Some(Service { sync, node, nodes: self.names.clone(), uuid, tables }))
    }

    /// Those of the tables, by index, that are installed for the sync of this name.
    pub(super) async fn read_recorded(&mut self, sync: &str, tables: &[TableSpec]) -> Result<Vec<usize>> {
        // Fails where the schema is there and may not be used: what cannot be read is not taken for nothing.
        let there = format!(
            "SELECT pg_catalog.to_regclass('concord.node') IS NOT NULL \
                AND pg_catalog.to_regclass('concord.installed') IS NOT NULL, {INERT}"
        );
        let rows = self.fetch(there, Args::new()).await?;
        if !get::<bool>(&rows[0], 0)? {
            return Ok(Vec::new());
        }
        if !get::<bool>(&rows[0], 1)? {
            return Err(not_inert());
        }
        let mut args = Args::new();
        args.add(sync);
        let installed = "SELECT n.version, i.\"table\", i.local FROM concord.node AS n CROSS JOIN concord.installed AS i \
                         WHERE n.sync OPERATOR(pg_catalog.=) $1::pg_catalog.text";
        let mut recorded = Vec::new();
        for row in self.fetch(installed, args).await? {
            refuse_newer(get(&row, 0)?)?;
            let (name, local): (String, String) = (get(&row, 1)?, get(&row, 2)?);
            // The file may give it another name by now.
            let known = tables.iter().filter(|spec| spec.name == name || sql::table(spec) == local);
            recorded.extend(known.map(|spec| spec.index));
        }
        Ok(recorded)
    }

    /// The sync's nodes, as the last install left them.
    pub(super) async fn read_names(&mut self) -> Result<()> {
        let rows = self.fetch("SELECT nodes FROM concord.node", Args::new()).await?;
        let row = rows.first().ok_or_else(not_installed)?;
        self.names = get(row, 0)?;
        Ok(())
    }

    /// The node's place in the order of the sync.
    pub(super) fn node_id(&self, name: &str) -> Option<NodeId> {
        self.names.iter().position(|known| known == name).map(|at| NodeId(at as u16))
    }

    pub(super) fn node_name(&self, id: NodeId) -> Result<String> {
        self.names.get(id.index()).cloned().ok_or_else(|| {
            Error::new(ErrorKind::Service, "the sync has more nodes than this one knows; run `concord install`")
        })
    }

    pub(super) fn vector_text(&self, vector: &Vector) -> Result<String> {
        for dot in vector.dots() {
            self.node_name(dot.node)?;
        }
        Ok(vector.write(&self.names))
    }

    // ---- positions ----

    /// Positions in every source's history, what was purged, and others' witnesses, for the given tables. Needs to know
    /// what the snapshot sees.
    pub(super) async fn read_positions(&mut self, tables: &[TableSpec]) -> Result<Remembered> {
        let statement = format!(
            "SELECT \"table\", source, cut, witness, NULL::pg_catalog.xid8, NULL::pg_catalog.int8, NULL::pg_catalog.int8, \
                NULL::pg_catalog.int8 FROM concord.position \
             UNION ALL SELECT \"table\", NULL, cut, NULL, NULL, NULL, NULL, NULL FROM concord.purged \
             UNION ALL SELECT \"table\", target, NULL, NULL, {WRITTEN} FROM concord.witness AS h"
        );
        let mut all = Remembered::default();
        for row in self.fetch(statement, Args::new()).await? {
            let Some(index) = index_of(tables, &get::<String>(&row, 0)?) else { continue };
            let cut = get::<Option<String>>(&row, 2)?.map(|cut| parse(&cut)).transpose()?;
            match (get(&row, 1)?, cut) {
                (Some(source), Some(cut)) => {
                    let witness = get::<Option<String>>(&row, 3)?.map(|witness| parse(&witness)).transpose()?;
                    all.positions.push((index, source, Position { cut, witness }));
                }
                (None, Some(cut)) => all.purged.push((index, cut)),
                (target, None) => {
                    let entry = Written::read(&row, 4)?.proven(self.whole.next());
                    all.kept.extend(target.zip(entry).map(|(target, entry)| (index, target, entry)));
                }
            }
        }
        Ok(all)
    }

    pub(super) async fn read_ledger(&mut self) -> Result<Ledger> {
        let mut ledger = Ledger::default();
        for row in self.fetch("SELECT \"table\", source, cut FROM concord.position", Args::new()).await? {
            ledger.positions.push((get(&row, 0)?, get(&row, 1)?, parse::<Cut>(&get::<String>(&row, 2)?)?));
        }
        let statement = "SELECT \"table\", origin, code, vector FROM concord.parked";
        for row in self.fetch(statement, Args::new()).await? {
            ledger.count_parked(get(&row, 0)?, get(&row, 1)?, &get::<String>(&row, 2)?, &get::<String>(&row, 3)?);
        }
        Ok(ledger)
    }

    pub(super) async fn claim_positions(&mut self, moves: &[Move]) -> Result<bool> {
        if moves.is_empty() {
            return Ok(true);
        }
        let names = |of: fn(&Move) -> &String| moves.iter().map(|step| of(step).clone()).collect::<Vec<_>>();
        let mut rows = self.lock_positions(names(|step| &step.table), names(|step| &step.source)).await?;
        if rows.len() < moves.len() {
            let mut args = Args::new();
            args.add(names(|step| &step.table)).add(names(|step| &step.source)).add(Cut::START.to_string());
            self.fetch(
                "INSERT INTO concord.position (\"table\", source, cut) SELECT m.t, m.s, $3 \
                 FROM unnest($1::pg_catalog.text[], $2::pg_catalog.text[]) AS m (t, s) ORDER BY 1, 2 \
                 ON CONFLICT DO NOTHING",
                args,
            )
            .await?;
            rows = self.lock_positions(names(|step| &step.table), names(|step| &step.source)).await?;
        }
        let mut standing = std::collections::HashMap::new();
        for row in &rows {
            let at: (String, String) = (get(row, 0)?, get(row, 1)?);
            standing.insert(at, parse::<Cut>(&get::<String>(row, 2)?)?);
        }
        Ok(moves.iter().all(|step| standing.get(&(step.table.clone(), step.source.clone())) == Some(&step.from)))
    }

    async fn lock_positions(&mut self, tables: Vec<String>, sources: Vec<String>) -> Result<Vec<PgRow>> {
        let mut args = Args::new();
        args.add(tables).add(sources);
        self.fetch(
            "SELECT p.\"table\", p.source, p.cut FROM concord.position p \
             WHERE (p.\"table\", p.source) IN (SELECT m.t, m.s \
                FROM unnest($1::pg_catalog.text[], $2::pg_catalog.text[]) AS m (t, s)) \
             ORDER BY 1, 2 FOR UPDATE",
            args,
        )
        .await
    }

    pub(super) async fn move_positions(&mut self, moves: &[Move]) -> Result<()> {
        let mut args = Args::new();
        args.add(moves.iter().map(|step| step.table.clone()).collect::<Vec<_>>())
            .add(moves.iter().map(|step| step.source.clone()).collect::<Vec<_>>())
            .add(moves.iter().map(|step| step.to.cut.to_string()).collect::<Vec<_>>())
            .add(moves.iter().map(|step| step.to.witness.as_ref().map(ToString::to_string)).collect::<Vec<_>>());
        self.fetch(
            "UPDATE concord.position AS p SET cut = m.cut, witness = m.witness \
             FROM unnest($1::pg_catalog.text[], $2::pg_catalog.text[], $3::pg_catalog.text[], $4::pg_catalog.text[]) \
                AS m (t, s, cut, witness) \
             WHERE p.\"table\" = m.t AND p.source = m.s",
            args,
        )
        .await?;
        Ok(())
    }

    // ---- rows that wait ----

    pub(super) async fn read_parked(&mut self, tables: &[TableSpec]) -> Result<Vec<Parked>> {
        let statement = format!("SELECT {PARKED_UNREAD} FROM concord.parked ORDER BY since, \"table\", hash");
        let mut parked = Vec::new();
        for row in self.fetch(statement, Args::new()).await? {
            let name: String = get(&row, 0)?;
            let Some(table) = tables.iter().find(|table| table.name == name) else { continue };
            parked.extend(self.parked_row(table, &row, false)?);
        }
        Ok(parked)
    }

    /// What waits of some keys, `whole` with the rows themselves.
    pub(super) async fn read_parked_of(
        &mut self,
        groups: &[(&TableSpec, &[&Key])],
        whole: bool,
    ) -> Result<Vec<Parked>> {
        let columns = if whole { PARKED } else { PARKED_UNREAD };
        let mut args = Args::new();
        args.add(groups.iter().map(|(table, _)| table.name.as_str()).collect::<Vec<_>>());
        // Mostly nothing waits, and no key need be named.
        let waiting = "SELECT t FROM unnest($1::pg_catalog.text[]) AS t \
                       WHERE (SELECT TRUE FROM concord.parked p WHERE p.\"table\" = t LIMIT 1)";
        let waiting = self.fetch(waiting, args).await?;
        let waiting = waiting.iter().map(|row| get(row, 0)).collect::<Result<Vec<String>>>()?;
        let mut parked = Vec::new();
        for (table, keys) in groups.iter().filter(|(table, _)| waiting.contains(&table.name)) {
            let mut args = Args::new();
            args.add(table.name.as_str()).add(keys.iter().map(|key| hash(table, key)).collect::<Vec<_>>());
            let statement = format!(
                "SELECT {columns} FROM concord.parked WHERE \"table\" = $1 AND hash = ANY ($2::pg_catalog.text[])"
            );
            for row in self.fetch(statement, args).await? {
                parked.extend(self.parked_row(table, &row, whole)?);
            }
        }
        Ok(parked)
    }

    /// A row of [`PARKED`], if it is read `whole`, or of [`PARKED_UNREAD`]; `None` if it came from a node that is no longer there.
    fn parked_row(&self, table: &TableSpec, row: &PgRow, whole: bool) -> Result<Option<Parked>> {
        let damaged = || damaged("parked", &table.name);
        let Some(node) = self.node_id(&get::<String>(row, 7)?) else {
            warn!(
                table = table.name,
                "A row that waits came from a node that is no longer in the sync; it is left out."
            );
            return Ok(None);
        };
        let Some(key) = key_from_text(table, &get::<String>(row, 1)?) else {
            warn!(
                table = table.name,
                "A row waits under another key than the table has now; it is left out until the table has its former key."
            );
            return Ok(None);
        };
        let vector = |at| -> Result<Vector> { Vector::read(&get::<String>(row, at)?, &self.names).ok_or_else(damaged) };
        let (content, text) = match whole {
            true => (Waiting::Delete, get::<Option<String>>(row, 8)?),
            false if get::<bool>(row, 8)? => (Waiting::Delete, None),
            false => (Waiting::Unread, None),
        };
        let parked = Parked {
            table: table.index,
            key,
            code: ParkedCode::parse(&get::<String>(row, 2)?).ok_or_else(damaged)?,
            message: get(row, 3)?,
            since: get(row, 4)?,
            vector: vector(5)?,
            stamp: Stamp { time: get(row, 6)?, node },
            content,
            standing: vector(9)?,
            standing_time: get(row, 10)?,
            read: parse(&get::<String>(row, 11)?)?,
        };
        parked.with_row(table, text.as_deref()).map(Some).ok_or_else(damaged)
    }

    pub(super) async fn write_parked(&mut self, tables: &[TableSpec], parked: &[Parked]) -> Result<()> {
        let mut texts: [Vec<Option<String>>; 10] = Default::default();
        let mut numbers: [Vec<i64>; 3] = Default::default();
        for one in parked {
            let table = table_at(tables, one.table)?;
            let key = key_text(table, &one.key);
            let cells = [
                Some(table.name.clone()),
                Some(hash(table, &one.key)),
                Some(key),
                Some(one.code.as_str().to_owned()),
                Some(one.message.replace('\0', "\u{FFFD}")),
                Some(self.vector_text(&one.vector)?),
                Some(self.node_name(one.stamp.node)?),
                table.keep_waiting(&one.content),
                Some(self.vector_text(&one.standing)?),
                Some(one.read.to_string()),
            ];
            texts.iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell));
            let cells = [one.since, one.stamp.time, one.standing_time];
            numbers.iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell));
        }
        let mut args = Args::new();
        for column in texts {
            args.add(column);
        }
        for column in numbers {
            args.add(column);
        }
        self.fetch(
            "INSERT INTO concord.parked AS p (\"table\", hash, key, code, message, vector, origin, \"row\", standing, read, \
                since, time, standing_time) SELECT * FROM unnest($1::pg_catalog.text[], $2::pg_catalog.text[], \
                $3::pg_catalog.text[], $4::pg_catalog.text[], $5::pg_catalog.text[], $6::pg_catalog.text[], \
                $7::pg_catalog.text[], $8::pg_catalog.text[], $9::pg_catalog.text[], $10::pg_catalog.text[], \
                $11::pg_catalog.int8[], $12::pg_catalog.int8[], $13::pg_catalog.int8[]) \
             ON CONFLICT (\"table\", hash) DO UPDATE SET key = excluded.key, code = excluded.code, \
                message = excluded.message, vector = excluded.vector, origin = excluded.origin, \"row\" = excluded.\"row\", \
                standing = excluded.standing, read = excluded.read, since = excluded.since, time = excluded.time, \
                standing_time = excluded.standing_time",
            args,
        )
        .await?;
        Ok(())
    }

    pub(super) async fn delete_parked(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<()> {
        let mut args = Args::new();
        args.add(table.name.as_str()).add(keys.iter().map(|key| hash(table, key)).collect::<Vec<_>>());
        self.fetch("DELETE FROM concord.parked WHERE \"table\" = $1 AND hash = ANY ($2::pg_catalog.text[])", args)
            .await?;
        Ok(())
    }
}

fn not_installed() -> Error {
    Error::new(ErrorKind::Service, NOT_INSTALLED)
}

fn not_inert() -> Error {
    Error::new(
        ErrorKind::Service,
        "concord.node or concord.installed is not as Concord makes it; if it has row-level security, run ALTER TABLE ... DISABLE ROW LEVEL \
         SECURITY; if it is not Concord's, rename the schema: ALTER SCHEMA concord RENAME TO ...",
    )
}

/// The condition that nobody but who is trusted anyway owns something, by the owner's oid: Concord's role, a role that it is a member of, or
/// a superuser; so does the owner of the database, who alone is a member of `pg_database_owner`. A superuser counts as a member of every
/// role to `pg_has_role`, so what was granted is asked for. Where the role has installed triggers' functions before, as after another role
/// did, it goes on.
pub(super) fn is_trusted(owner: &str) -> String {
    format!(
        "CASE WHEN {owner} IN (WITH RECURSIVE mine (oid) AS (SELECT r.oid FROM pg_catalog.pg_roles r \
                WHERE r.rolname IN (session_user, current_user) \
            UNION SELECT m.roleid FROM pg_catalog.pg_auth_members m JOIN mine ON mine.oid = m.member), \
            trusted (oid) AS (SELECT mine.oid FROM mine UNION ALL SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolsuper) \
            SELECT t.oid FROM trusted t UNION ALL SELECT r.oid FROM pg_catalog.pg_roles r \
                JOIN pg_catalog.pg_database d ON d.datdba IN (SELECT t.oid FROM trusted t) \
                WHERE r.rolname = 'pg_database_owner' AND d.datname = pg_catalog.current_database()) THEN true \
        ELSE EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
            JOIN pg_catalog.pg_roles r ON r.oid = p.proowner \
            WHERE n.nspname = '{HISTORY}' AND p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype \
                AND p.proname ~ '[!~]' AND r.rolname IN (session_user, current_user)) END"
    )
}

fn refuse_newer(version: i64) -> Result<()> {
    match version > NEWEST {
        false => Ok(()),
        true => Err(Error::new(
            ErrorKind::Service,
            format!(
                "a newer Concord installed the service tables here (version {version}, this one knows {NEWEST}); \
                 use that one"
            ),
        )),
    }
}

fn index_of(tables: &[TableSpec], name: &str) -> Option<usize> {
    tables.iter().find(|table| table.name == name).map(|table| table.index)
}

pub(super) fn table_at(tables: &[TableSpec], index: usize) -> Result<&TableSpec> {
    let found = tables.iter().find(|table| table.index == index);
    found.ok_or_else(|| Error::new(ErrorKind::Other, "a row of a table that does not take part here"))
}

pub(super) fn parse<T: std::str::FromStr<Err = crate::model::BadCut>>(text: &str) -> Result<T> {
    text.parse().map_err(|error: crate::model::BadCut| Error::new(ErrorKind::Service, error.to_string()))
}

pub(super) fn damaged(what: &str, table: &str) -> Error {
    Error::new(
        ErrorKind::Service,
        format!(
            "{SERVICE}.{what} holds a row of `{table}` that Concord did not write; delete it, or run `concord reset`"
        ),
    )
}

pub(super) fn key_from_text(table: &TableSpec, text: &str) -> Option<Key> {
    let cells: Vec<Document> = serde_json::from_str(text).ok()?;
    if cells.len() != table.key.len() {
        return None;
    }
    table.key_columns().zip(&cells).map(|(column, cell)| key_value_from_json(&column.ty, cell)).collect()
}

pub(super) fn key_text(table: &TableSpec, key: &[Value]) -> String {
    let cells = table.key_columns().zip(key).map(|(column, value)| key_value_to_json(&column.ty, value));
    Document::Array(cells.collect()).to_string()
}

/// Identifies a key of any length, one number spelled in two ways alike.
fn hash(table: &TableSpec, key: &[Value]) -> String {
    let cells = table.key_columns().zip(key).map(|(column, value)| match value {
        Value::Decimal(number) if number.is_finite() => {
            let (negative, whole, fraction) = number.parts();
            format!("{}{whole}.{fraction}", if negative { "-" } else { "" }).into()
        }
        value => key_value_to_json(&column.ty, value),
    });
    let text = Document::Array(cells.collect()).to_string();
    digest(text)
}

pub(super) fn kept_column(
    table: &TableSpec,
    row: &PgRow,
    at: usize,
) -> Result<std::result::Result<Option<KeptRow>, ()>> {
    let Some(text) = get::<Option<String>>(row, at)? else { return Ok(Ok(None)) };
    Ok(table.kept(&text).map(Some).ok_or(()))
}
