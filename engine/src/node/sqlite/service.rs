//! The service tables: what is installed, positions, what waits.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row as DbRow, params};
use serde_json::Value as Document;
use tracing::warn;

use super::drift::Shape;
use super::failure::{Told, damaged};
use super::install::refuse_newer;
use crate::model::{
    Column, Cut, KeptRow, Key, NodeId, Parked, ParkedCode, Position, Stamp, TableSpec, Value, Vector, Waiting,
    key_value_from_json, key_value_to_json,
};
use crate::node::{Error, ErrorKind, Ledger, Move, Result, SERVICE_VERSION, Service, Sync};

/// Name and definition of each service table. No definition may need a newer SQLite than the users' programs have.
pub(super) const TABLES: [(&str, &str); 8] = [
    (
        "concord_node",
        "CREATE TABLE concord_node (version INTEGER NOT NULL, sync TEXT NOT NULL, node TEXT NOT NULL, \
         uuid TEXT NOT NULL, nodes TEXT NOT NULL, journal_mode TEXT NOT NULL)",
    ),
    (
        "concord_installed",
        "CREATE TABLE concord_installed (name TEXT PRIMARY KEY NOT NULL, local TEXT NOT NULL, \
         fingerprint TEXT NOT NULL, shape TEXT NOT NULL)",
    ),
    (
        "concord_position",
        "CREATE TABLE concord_position (name TEXT NOT NULL, source TEXT NOT NULL, cut TEXT NOT NULL, \
         witness TEXT, PRIMARY KEY (name, source))",
    ),
    (
        "concord_witness",
        "CREATE TABLE concord_witness (name TEXT NOT NULL, target TEXT NOT NULL, id INTEGER NOT NULL, \
         time INTEGER NOT NULL, PRIMARY KEY (name, target, id))",
    ),
    (
        "concord_purged",
        "CREATE TABLE concord_purged (name TEXT PRIMARY KEY NOT NULL, cut TEXT NOT NULL, keeper INTEGER)",
    ),
    ("concord_load", "CREATE TABLE concord_load (one INTEGER PRIMARY KEY NOT NULL, progress TEXT NOT NULL)"),
    (
        "concord_parked",
        "CREATE TABLE concord_parked (name TEXT NOT NULL, key TEXT NOT NULL, code TEXT NOT NULL, \
         message TEXT NOT NULL, since INTEGER NOT NULL, vector TEXT NOT NULL, time INTEGER NOT NULL, \
         origin TEXT NOT NULL, row TEXT, standing TEXT NOT NULL, standing_time INTEGER NOT NULL, read TEXT NOT NULL, \
         PRIMARY KEY (name, key))",
    ),
    (
        "concord_journal",
        "CREATE TABLE concord_journal (id TEXT NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL, \
         decided INTEGER NOT NULL, winner TEXT NOT NULL, winner_time INTEGER NOT NULL, winner_row TEXT, \
         loser TEXT NOT NULL, loser_time INTEGER NOT NULL, loser_row TEXT, reason TEXT NOT NULL, \
         told TEXT, PRIMARY KEY (id, loser, loser_time))",
    ),
];

/// The one row of `concord_node`.
pub(super) struct State {
    pub sync: String,
    pub node: String,
    pub uuid: String,
    /// All nodes, in the order of the configuration file.
    pub nodes: Vec<String>,
    /// What the file's journal mode was before the install.
    pub journal_mode: String,
    /// Whether all tables are there that this Concord needs.
    complete: bool,
}

impl State {
    /// Fails if an earlier Concord installed less than this one needs.
    pub(super) fn in_full(self) -> Result<State> {
        match self.complete {
            true => Ok(self),
            false => Err(Error::new(
                ErrorKind::Service,
                "an earlier Concord installed the service tables here; run `concord install`, which extends them",
            )),
        }
    }
}

/// A row of `concord_installed`.
pub(super) struct Installed {
    pub local: String,
    /// How the table looked, see [`Shape`].
    pub fingerprint: String,
    /// [`TableSpec::shape`].
    pub shape: String,
}

/// What is installed, or `None`; refused if a newer Concord did it.
pub(super) fn read(db: &Connection) -> Result<Option<State>> {
    let doing = || "reading the service tables";
    let (there, complete): (bool, bool) = db
        .prepare_cached(
            "SELECT coalesce(sum(name = 'concord_node'), 0), count(*) = 3
             FROM sqlite_schema WHERE type = 'table' AND name IN ('concord_node', 'concord_witness', 'concord_load')",
        )
        .and_then(|mut statement| statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))))
        .told(doing)?;
    if !there {
        return Ok(None);
    }
    // The version alone first: the other columns may be others in another version.
    let version = db
        .prepare_cached("SELECT version FROM concord_node")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)).optional())
        .told(doing)?;
    refuse_newer(version.unwrap_or(0))?;
    let (sync, node, uuid, nodes, journal_mode) = db
        .prepare_cached("SELECT sync, node, uuid, nodes, journal_mode FROM concord_node")
        .and_then(|mut statement| {
            statement
                .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, String>(3)?, row.get(4)?)))
        })
        .told(doing)?;
    let nodes = serde_json::from_str(&nodes).map_err(|_| damaged("the list of nodes cannot be read"))?;
    Ok(Some(State { sync, node, uuid, nodes, journal_mode, complete }))
}

/// Whether a service table has a column, which that of an earlier Concord may not have.
pub(super) fn has_column(db: &Connection, table: &str, column: &str) -> Result<bool> {
    let found = db
        .prepare_cached("SELECT count(*) FROM pragma_table_info(?1) WHERE name = ?2")
        .and_then(|mut statement| statement.query_row([table, column], |row| row.get::<_, i64>(0)));
    Ok(found.told(|| "looking at the service tables")? > 0)
}

/// Makes the tables that are missing and writes who this is. Returns whether tables of an earlier layout were extended.
pub(super) fn create(db: &Connection, sync: &Sync, mode: &str) -> Result<bool> {
    let doing = || "making the service tables";
    for (_, sql) in TABLES {
        db.execute_batch(&sql.replacen("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1)).told(doing)?;
    }
    // Each session asks whether something is old enough to go.
    db.execute_batch("CREATE INDEX IF NOT EXISTS concord_journal_decided ON concord_journal (decided)").told(doing)?;
    let mut extends = false;
    for (table, column) in [("concord_position", "witness"), ("concord_journal", "told")] {
        if !has_column(db, table, column)? {
            db.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {column} TEXT")).told(doing)?;
            extends = true;
        }
    }
    let nodes = Document::from(sync.nodes.clone()).to_string();
    let changed = db
        .execute(
            "UPDATE concord_node SET version = max(version, ?1), sync = ?2, node = ?3, nodes = ?4,
                    journal_mode = CASE ?5 WHEN 'wal' THEN journal_mode ELSE ?5 END",
            params![SERVICE_VERSION, sync.name, sync.node, nodes, mode],
        )
        .told(doing)?;
    if changed == 0 {
        let uuid = uuid::Uuid::new_v4().to_string();
        db.execute(
            "INSERT INTO concord_node (version, sync, node, uuid, nodes, journal_mode) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![SERVICE_VERSION, sync.name, sync.node, uuid, nodes, mode],
        )
        .told(doing)?;
    }
    Ok(extends)
}

pub(super) fn service(db: &Connection) -> Result<Option<Service>> {
    let Some(state) = read(db)? else { return Ok(None) };
    let tables = installed(db)?.into_iter().map(|(name, installed)| (name, installed.shape)).collect();
    Ok(Some(Service { sync: state.sync, node: state.node, nodes: state.nodes, uuid: state.uuid, tables }))
}

/// The installed tables by shared name.
pub(super) fn installed(db: &Connection) -> Result<BTreeMap<String, Installed>> {
    db.prepare_cached("SELECT name, local, fingerprint, shape FROM concord_installed")
        .and_then(|mut statement| {
            let read = |row: &DbRow<'_>| {
                Ok((row.get(0)?, Installed { local: row.get(1)?, fingerprint: row.get(2)?, shape: row.get(3)? }))
            };
            statement.query_map([], read)?.collect()
        })
        .told(|| "reading what is installed")
}

/// Those of the tables, by index, that are installed for the sync of this name.
pub(super) fn recorded(db: &Connection, sync: &str, tables: &[TableSpec]) -> Result<Vec<usize>> {
    if read(db)?.is_none_or(|state| state.sync != sync) {
        return Ok(Vec::new());
    }
    let installed = installed(db)?;
    // The file may give it another name by now.
    let is_recorded = |spec: &&TableSpec| {
        installed.iter().any(|(name, known)| *name == spec.name || known.local.eq_ignore_ascii_case(&spec.local))
    };
    Ok(tables.iter().filter(is_recorded).map(|spec| spec.index).collect())
}

pub(super) fn set_installed(db: &Connection, spec: &TableSpec, fingerprint: &Shape) -> Result<()> {
    db.execute(
        "INSERT INTO concord_installed (name, local, fingerprint, shape) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (name) DO UPDATE
            SET local = excluded.local, fingerprint = excluded.fingerprint, shape = excluded.shape",
        params![spec.name, spec.local, fingerprint.text()?, spec.shape],
    )
    .map(drop)
    .told(|| "writing what is installed")
}

fn parsed<T: std::str::FromStr<Err = crate::model::BadCut>>(text: &str) -> Result<T> {
    text.parse().map_err(|bad: crate::model::BadCut| damaged(&bad.to_string()))
}

/// Positions of the tables in `specs` from a table with the columns name, something, cut and witness.
fn read_positions(db: &Connection, sql: &str, specs: &[TableSpec]) -> Result<Vec<(usize, String, Position)>> {
    let doing = || "reading positions";
    let mut statement = db.prepare_cached(sql).told(doing)?;
    let mut rows = statement.query([]).told(doing)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().told(doing)? {
        let read = |row: &DbRow<'_>| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, String>(2)?, row.get(3)?));
        let (name, source, cut, witness): (_, _, _, Option<String>) = read(row).told(doing)?;
        if let Some(spec) = specs.iter().find(|spec| spec.name == name) {
            let witness = witness.map(|text| parsed(&text)).transpose()?;
            found.push((spec.index, source, Position { cut: parsed(&cut)?, witness }));
        }
    }
    Ok(found)
}

/// Up to where each source is applied here.
pub(super) fn positions(db: &Connection, specs: &[TableSpec]) -> Result<Vec<(usize, String, Position)>> {
    read_positions(db, "SELECT name, source, cut, witness FROM concord_position ORDER BY name, source", specs)
}

/// See [`crate::node::Node::ledger`].
pub(super) fn ledger(db: &Connection) -> Result<Ledger> {
    let doing = || "reading what is remembered";
    let mut ledger = Ledger::default();
    let mut statement = db.prepare_cached("SELECT name, source, cut FROM concord_position").told(doing)?;
    let mut rows = statement.query([]).told(doing)?;
    while let Some(row) = rows.next().told(doing)? {
        let text = |at| row.get::<_, String>(at).told(doing);
        ledger.positions.push((text(0)?, text(1)?, parsed(&text(2)?)?));
    }
    let mut statement = db.prepare_cached("SELECT name, origin, code, vector FROM concord_parked").told(doing)?;
    let mut rows = statement.query([]).told(doing)?;
    while let Some(row) = rows.next().told(doing)? {
        let text = |at| row.get::<_, String>(at).told(doing);
        ledger.count_parked(text(0)?, text(1)?, &text(2)?, &text(3)?);
    }
    Ok(ledger)
}

/// Up to where the histories were purged.
pub(super) fn purged(db: &Connection, specs: &[TableSpec]) -> Result<Vec<(usize, Cut)>> {
    let found = read_positions(db, "SELECT name, '', cut, NULL FROM concord_purged ORDER BY name", specs)?;
    Ok(found.into_iter().map(|(table, _, at)| (table, at.cut)).filter(|(_, cut)| *cut != Cut::START).collect())
}

/// Up to where one history was purged.
pub(super) fn purged_through(db: &Connection, table: &str) -> Result<Cut> {
    db.query_row("SELECT cut FROM concord_purged WHERE name = ?1", [table], |row| row.get::<_, String>(0))
        .optional()
        .told(|| "reading positions")?
        .map_or(Ok(Cut::START), |cut| parsed(&cut))
}

/// The position in a source's history of a table, if it has ever moved or was claimed.
pub(super) fn position(db: &Connection, table: &str, source: &str) -> Result<Option<Cut>> {
    let found: Option<String> = db
        .prepare_cached("SELECT cut FROM concord_position WHERE name = ?1 AND source = ?2")
        .and_then(|mut read| read.query_row([table, source], |row| row.get(0)).optional())
        .told(|| "reading positions")?;
    found.map(|text| parsed(&text)).transpose()
}

/// See [`crate::node::Node::claim`]; the write lock is held already.
pub(super) fn claim(db: &Connection, moves: &[Move]) -> Result<bool> {
    for step in moves {
        let stands = match position(db, &step.table, &step.source)? {
            Some(cut) => cut,
            None => {
                db.execute(
                    "INSERT INTO concord_position (name, source, cut) VALUES (?1, ?2, ?3)",
                    params![step.table, step.source, Cut::START.to_string()],
                )
                .told(|| "reading positions")?;
                Cut::START
            }
        };
        if stands != step.from {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn advance(db: &Connection, moves: &[Move]) -> Result<()> {
    let doing = || "moving positions";
    let mut write = db
        .prepare_cached(
            "INSERT INTO concord_position (name, source, cut, witness) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (name, source) DO UPDATE SET cut = excluded.cut, witness = excluded.witness",
        )
        .told(doing)?;
    for step in moves {
        let witness = step.to.witness.as_ref().map(ToString::to_string);
        write.execute(params![step.table, step.source, step.to.cut.to_string(), witness]).told(doing)?;
    }
    Ok(())
}

// ---- rows and keys as text ----

/// A key as text, the same for keys that are equal: a decimal may be spelled in several ways.
pub(super) fn written_key(spec: &TableSpec, key: &[Value]) -> String {
    let plain = |(column, value): (&Column, &Value)| match value {
        Value::Decimal(decimal) if decimal.is_finite() => Document::from(super::types::plain(decimal)),
        value => key_value_to_json(&column.ty, value),
    };
    Document::Array(spec.key_columns().zip(key).map(plain).collect()).to_string()
}

/// The inverse of [`written_key`].
pub(super) fn key_from(spec: &TableSpec, text: &str) -> Result<Key> {
    let key: Option<Key> = match serde_json::from_str(text) {
        Ok(Document::Array(cells)) if cells.len() == spec.key.len() => {
            spec.key_columns().zip(&cells).map(|(column, cell)| key_value_from_json(&column.ty, cell)).collect()
        }
        _ => None,
    };
    key.ok_or_else(unreadable)
}

fn unreadable() -> Error {
    damaged("a row that waits or is journalled cannot be read")
}

/// A row that was kept, see [`TableSpec::keep`].
pub(super) fn kept(spec: &TableSpec, text: &str) -> Result<KeptRow> {
    spec.kept(text).ok_or_else(unreadable)
}

pub(super) fn node_named(names: &[String], name: &str) -> Option<NodeId> {
    names.iter().position(|known| known == name).map(|at| NodeId(at as u16))
}

pub(super) fn name_of(names: &[String], node: NodeId) -> Result<&str> {
    names
        .get(node.index())
        .map(String::as_str)
        .ok_or_else(|| damaged("a change comes from a node that was not known when Concord was installed here"))
}

pub(super) fn vector(text: &str, names: &[String]) -> Result<Vector> {
    Vector::read(text, names).ok_or_else(|| damaged("a version vector cannot be read"))
}

/// The vector as text, once all its nodes are known to have names.
pub(super) fn vector_text(vector: &Vector, names: &[String]) -> Result<String> {
    for dot in vector.dots() {
        name_of(names, dot.node)?;
    }
    Ok(vector.write(names))
}

pub(super) fn spec_at(specs: &[TableSpec], index: usize) -> Result<&TableSpec> {
    specs.iter().find(|spec| spec.index == index).ok_or_else(|| damaged("a row belongs to a table that is not synced"))
}

// ---- rows that wait ----

pub(super) fn parked(db: &Connection, specs: &[TableSpec], names: &[String]) -> Result<Vec<Parked>> {
    let doing = || "reading the rows that wait";
    let mut statement = db
        .prepare_cached(
            "SELECT name, key, code, message, since, vector, time, origin, row IS NULL, standing, standing_time, read
             FROM concord_parked ORDER BY since, name, key",
        )
        .told(doing)?;
    let mut rows = statement.query([]).told(doing)?;
    let mut parked = Vec::new();
    while let Some(row) = rows.next().told(doing)? {
        let name: String = row.get(0).told(doing)?;
        if let Some(spec) = specs.iter().find(|spec| spec.name == name) {
            parked.extend(parked_row(row, spec, names, false)?);
        }
    }
    Ok(parked)
}

/// What waits of some keys, `whole` with the rows themselves.
pub(super) fn parked_of(
    db: &Connection,
    groups: &[(&TableSpec, &[&Key])],
    names: &[String],
    whole: bool,
) -> Result<Vec<Parked>> {
    let doing = || "reading what waits of some keys";
    let content = if whole { "row" } else { "row IS NULL" };
    let sql = format!(
        "SELECT name, key, code, message, since, vector, time, origin, {content}, standing, standing_time, read
         FROM concord_parked WHERE name = ?1 AND key = ?2"
    );
    let mut parked = Vec::new();
    for (spec, keys) in groups {
        if !any_waits(db, spec)? {
            continue;
        }
        let mut statement = db.prepare_cached(&sql).told(doing)?;
        for key in *keys {
            let mut rows = statement.query([&spec.name, &written_key(spec, key)]).told(doing)?;
            if let Some(row) = rows.next().told(doing)? {
                parked.extend(parked_row(row, spec, names, whole)?);
            }
        }
    }
    Ok(parked)
}

/// A row that waits; `None` if it came from a node that is no longer there. Unless it is read `whole`, there is in place of the row
/// itself whether there is none.
fn parked_row(row: &rusqlite::Row<'_>, spec: &TableSpec, names: &[String], whole: bool) -> Result<Option<Parked>> {
    let doing = || "reading the rows that wait";
    let text = |at| row.get::<_, String>(at).told(doing);
    let Some(node) = node_named(names, &text(7)?) else {
        warn!(table = spec.name, "A row that waits came from a node that is no longer in the sync; it is left out.");
        return Ok(None);
    };
    let Ok(key) = key_from(spec, &text(1)?) else {
        warn!(
            table = spec.name,
            "A row waits under another key than the table has now; it is left out until the table has its former key."
        );
        return Ok(None);
    };
    let (content, text_of_it) = match whole {
        true => (Waiting::Delete, row.get::<_, Option<String>>(8).told(doing)?),
        false if row.get::<_, bool>(8).told(doing)? => (Waiting::Delete, None),
        false => (Waiting::Unread, None),
    };
    let parked = Parked {
        table: spec.index,
        key,
        code: ParkedCode::parse(&text(2)?).ok_or_else(|| damaged("a row waits for an unknown reason"))?,
        message: text(3)?,
        since: row.get(4).told(doing)?,
        vector: vector(&text(5)?, names)?,
        stamp: Stamp { time: row.get(6).told(doing)?, node },
        content,
        standing: vector(&text(9)?, names)?,
        standing_time: row.get(10).told(doing)?,
        read: parsed(&text(11)?)?,
    };
    parked.with_row(spec, text_of_it.as_deref()).map(Some).ok_or_else(unreadable)
}

/// Whether anything waits in a table: mostly nothing does, and no key need be looked for.
pub(super) fn any_waits(db: &Connection, spec: &TableSpec) -> Result<bool> {
    db.query_row("SELECT EXISTS (SELECT 1 FROM concord_parked WHERE name = ?1)", [&spec.name], |row| row.get(0))
        .told(|| "looking for rows that wait")
}

pub(super) fn park(db: &Connection, specs: &[TableSpec], names: &[String], parked: &[Parked]) -> Result<()> {
    let doing = || "making rows wait";
    let mut write = db
        .prepare_cached(
            "INSERT OR REPLACE INTO concord_parked
                 (name, key, code, message, since, vector, time, origin, row, standing, standing_time, read)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )
        .told(doing)?;
    for row in parked {
        let spec = spec_at(specs, row.table)?;
        write
            .execute(params![
                spec.name,
                written_key(spec, &row.key),
                row.code.as_str(),
                row.message,
                row.since,
                vector_text(&row.vector, names)?,
                row.stamp.time,
                name_of(names, row.stamp.node)?,
                spec.keep_waiting(&row.content),
                vector_text(&row.standing, names)?,
                row.standing_time,
                row.read.to_string(),
            ])
            .told(doing)?;
    }
    Ok(())
}

pub(super) fn unpark(db: &Connection, spec: &TableSpec, keys: &[&Key]) -> Result<()> {
    let doing = || "ending the waiting of rows";
    if !any_waits(db, spec)? {
        return Ok(());
    }
    let mut write = db.prepare_cached("DELETE FROM concord_parked WHERE name = ?1 AND key = ?2").told(doing)?;
    for key in keys {
        write.execute([&spec.name, &written_key(spec, key)]).told(doing)?;
    }
    Ok(())
}
