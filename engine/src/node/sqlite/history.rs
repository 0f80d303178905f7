//! Reading: the state of the node, its history, the rows of keys; and purging.

use std::collections::HashSet;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row as DbRow, Statement, params};

use super::failure::{Told, damaged, unfit};
use super::install::{self, history_name, last_id};
use super::plan::Plan;
use super::{quote, service, types, witness};
use crate::model::{Arrival, Column, Cut, Dot, Entry, EntryId, Images, Key, NodeId, Op, Row, TableSpec, Value};
use crate::node::{Entries, Result};

/// Entries that are purged in one transaction: nobody else can write to the file meanwhile.
const PURGED_AT_ONCE: i64 = 50_000;

/// Where the key begins in an entry's columns.
const KEY: usize = 7;

/// See [`crate::node::Node::entries`]. A mark is the entry's own id.
pub(super) fn entries(
    db: &Connection,
    plan: &Plan,
    spec: &TableSpec,
    names: &[String],
    after: &Cut,
    limit: usize,
) -> Result<Entries> {
    let doing = || format!("reading the history of `{}`", spec.name);
    let whole = Cut::through(last_id(db, &history_name(&spec.name))?);
    let mut statement = db
        .prepare_cached(&format!(
            "SELECT {} FROM {} WHERE id >= ?1 AND op NOT IN ('-', 'X') ORDER BY id",
            plan.entry_columns, plan.history
        ))
        .told(doing)?;
    let mut rows = statement.query([first_beyond(after)]).told(doing)?;
    let mut page = Entries { entries: Vec::new(), whole, more: false };
    while let Some(row) = rows.next().told(doing)? {
        let id: i64 = row.get(0).told(doing)?;
        if after.contains(id, id) {
            continue;
        }
        if page.entries.len() == limit {
            page.more = true;
            break;
        }
        page.entries.push(entry(row, id, spec, names).map_err(|error| error.while_doing(doing()))?);
    }
    Ok(page)
}

/// The smallest id that may lie beyond a cut.
pub(super) fn first_beyond(cut: &Cut) -> i64 {
    cut.open().first().copied().unwrap_or(cut.next())
}

fn entry(row: &DbRow<'_>, id: i64, spec: &TableSpec, names: &[String]) -> Result<Entry> {
    let broken = || damaged(&format!("entry {id} cannot be read"));
    let cell = |at: usize| row.get_ref(at).told(|| format!("reading entry {id}"));
    let text = |at: usize| cell(at).and_then(|cell| cell.as_str().map_err(|_| broken()));
    let number = |at: usize| cell(at).and_then(|cell| cell.as_i64().map_err(|_| broken()));
    let origin = match cell(3)? {
        ValueRef::Null => None,
        // A change of a node that has left the sync is carried on as this node's own.
        _ => names.iter().position(|name| Some(name.as_str()) == text(3).ok()),
    };
    let arrival = match origin {
        None => None,
        Some(node) => Some(Arrival {
            dot: Dot { node: NodeId(node as u16), number: number(4)?, mark: number(5)? },
            vector: service::vector(text(6)?, names)?,
        }),
    };
    let mut key = Vec::with_capacity(spec.key.len());
    for (column, at) in spec.key_columns().zip(KEY..) {
        key.push(types::decode_key(column, cell(at)?));
    }
    let images = match spec.images.len() {
        0 => None,
        width => {
            let first = KEY + key.len();
            let sides = number(first)?;
            let side = |start: usize| -> Result<Row> {
                let value = |(column, at): (&Column, usize)| {
                    let cell = cell(at)?;
                    Ok(types::decode(&column.ty, cell).unwrap_or_else(|_| types::raw(cell)))
                };
                spec.image_columns().zip(start..).map(value).collect()
            };
            let before = (sides & 1 != 0).then(|| side(first + 1)).transpose()?;
            let after = (sides & 2 != 0).then(|| side(first + 1 + width)).transpose()?;
            (sides != 0).then_some(Images { before, after })
        }
    };
    Ok(Entry {
        id,
        mark: id,
        op: Op::from_letter(text(1)?).ok_or_else(broken)?,
        time: number(2)?,
        key: key.into(),
        arrival,
        images,
    })
}

/// See [`crate::node::Node::pending`].
pub(super) fn pending(db: &Connection, table: &str, after: &Cut, origin: Option<&str>) -> Result<u64> {
    let doing = || format!("reading the history of `{table}`");
    let what = if after.open().is_empty() && after.inside().is_empty() { "count(*)" } else { "id" };
    let sql = format!(
        "SELECT {what} FROM {} WHERE id >= ?1 AND op NOT IN ('-', 'X') AND (?2 IS NULL OR origin = ?2)",
        quote::name(&history_name(table))
    );
    let mut statement = db.prepare_cached(&sql).told(doing)?;
    let mut numbers = statement
        .query_map(params![first_beyond(after), origin], |row| row.get::<_, i64>(0))
        .and_then(|rows| rows.collect::<rusqlite::Result<Vec<_>>>())
        .told(doing)?;
    if what == "id" {
        numbers.retain(|id| !after.contains(*id, *id));
        return Ok(numbers.len() as u64);
    }
    Ok(numbers.first().map_or(0, |count| count.unsigned_abs()))
}

/// See [`crate::node::Node::entries_of`]. The history has no index by key, which every user's write would pay for, so all
/// of it is gone through.
pub(super) fn entries_of(
    db: &Connection,
    plan: &Plan,
    spec: &TableSpec,
    names: &[String],
    keys: &[&Key],
    each: &mut (dyn FnMut(Entry) + Send),
) -> Result<()> {
    let doing = || format!("reading the history of `{}`", spec.name);
    let wanted: HashSet<&Key> = keys.iter().copied().collect();
    let mut statement = db
        .prepare_cached(&format!(
            "SELECT {} FROM {} WHERE op NOT IN ('-', 'X') ORDER BY id",
            plan.entry_columns, plan.history
        ))
        .told(doing)?;
    let mut rows = statement.query([]).told(doing)?;
    while let Some(row) = rows.next().told(doing)? {
        if wanted.contains(&key_at(row, KEY, spec).told(doing)?) {
            let id = row.get(0).told(doing)?;
            each(entry(row, id, spec, names).map_err(|error| error.while_doing(doing()))?);
        }
    }
    Ok(())
}

/// The key that stands in a row of the history from column `first` on.
pub(super) fn key_at(row: &DbRow<'_>, first: usize, spec: &TableSpec) -> rusqlite::Result<Key> {
    spec.key_columns().zip(first..).map(|(column, at)| Ok(types::decode_key(column, row.get_ref(at)?))).collect()
}

/// See [`crate::node::Node::rows`].
pub(super) fn rows(
    db: &Connection,
    plan: &Plan,
    spec: &TableSpec,
    keys: &[&Key],
) -> Result<Vec<Option<std::result::Result<Row, String>>>> {
    let doing = || format!("reading rows of `{}`", spec.local);
    let mut statement = db.prepare_cached(&plan.select).told(doing)?;
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        if !can_hold(spec, key) {
            found.push(None);
            continue;
        }
        if let Some(odd) = odd_key(db, plan, spec, key)? {
            found.push(odd.map(Err));
            continue;
        }
        bind_key(&mut statement, 1, spec, key)?;
        let row = statement.raw_query().next().told(doing)?.map(|row| read_row(row, spec));
        found.push(match row {
            None => as_text(db, plan, spec, key)?.map(Err),
            row => row,
        });
    }
    Ok(found)
}

/// Why a key cannot be carried that stands for text which is not UTF-8, where bytes are no oddity.
fn as_text(db: &Connection, plan: &Plan, spec: &TableSpec, key: &[Value]) -> Result<Option<String>> {
    let broken = |value: &Value| matches!(value, Value::Bytes(bytes) if std::str::from_utf8(bytes).is_err());
    let Some((column, _)) = spec.key_columns().zip(key).find(|(_, value)| broken(value)) else { return Ok(None) };
    let doing = || format!("reading rows of `{}`", spec.local);
    let mut statement = db.prepare_cached(&plan.select).told(doing)?;
    for ((column, value), at) in spec.key_columns().zip(key).zip(1..) {
        let encoded = match value {
            Value::Bytes(bytes) if broken(value) => Ok(ToSqlOutput::Borrowed(ValueRef::Text(bytes))),
            value => types::encode_key(column, value),
        };
        bind(&mut statement, at, spec, column, encoded)?;
    }
    let there = statement.raw_query().next().told(doing)?.is_some();
    let why = || format!("the key column `{}` holds text that is not valid UTF-8; correct the row", column.name);
    Ok(there.then(why))
}

/// Whether a row of this key could stand in the table. If not, none does.
pub(super) fn can_hold(spec: &TableSpec, key: &[Value]) -> bool {
    spec.key_columns().zip(key).all(|(column, value)| types::encode_key(column, value).is_ok())
}

/// Binds a key to the parameters of a statement, from the `first` on.
pub(super) fn bind_key(statement: &mut Statement<'_>, first: usize, spec: &TableSpec, key: &[Value]) -> Result<()> {
    for ((column, value), at) in spec.key_columns().zip(key).zip(first..) {
        bind(statement, at, spec, column, types::encode_key(column, value))?;
    }
    Ok(())
}

/// Binds what a value was encoded as.
pub(super) fn bind(
    statement: &mut Statement<'_>,
    at: usize,
    spec: &TableSpec,
    column: &Column,
    encoded: std::result::Result<ToSqlOutput<'_>, String>,
) -> Result<()> {
    let stored = encoded.map_err(|why| unfit(&spec.local, &column.name, &why))?;
    statement.raw_bind_parameter(at, stored).told(|| format!("passing a value for `{}`", column.name))
}

/// Why a part of a key cannot be carried, if it cannot.
pub(super) fn odd(column: &Column, value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(format!("the key column `{}` is NULL; give the row a key", column.name)),
        value if column.ty.has(value) => None,
        value => Some(format!(
            "the key column `{}` holds {} and {} was expected, as Concord spells it; correct the row",
            column.name,
            value.kind(),
            column.ty
        )),
    }
}

/// Why a key cannot be carried, if it cannot.
pub(super) fn oddity(spec: &TableSpec, key: &[Value]) -> Option<String> {
    spec.key_columns().zip(key).find_map(|(column, value)| odd(column, value))
}

/// A value that is odd in a key, as SQLite has it.
pub(super) fn as_stored(value: &Value) -> ValueRef<'_> {
    match value {
        Value::Int(v) => ValueRef::Integer(*v),
        Value::Float(v) => ValueRef::Real(*v),
        Value::Text(v) => ValueRef::Text(v.as_bytes()),
        Value::Bytes(v) => ValueRef::Blob(v),
        _ => ValueRef::Null,
    }
}

/// A value of a key as it is stored, also one that cannot be carried.
pub(super) fn stored<'a>(column: &Column, value: &'a Value) -> std::result::Result<ToSqlOutput<'a>, String> {
    match value {
        value if odd(column, value).is_none() => types::encode_key(column, value),
        value => Ok(ToSqlOutput::Borrowed(as_stored(value))),
    }
}

/// Whether the key is one that cannot be carried: `Some(None)` if there is no row of it, otherwise why it is not.
fn odd_key(db: &Connection, plan: &Plan, spec: &TableSpec, key: &[Value]) -> Result<Option<Option<String>>> {
    let doing = || format!("reading rows of `{}`", spec.local);
    let Some(why) = oddity(spec, key) else { return Ok(None) };
    let mut statement = db.prepare_cached(&plan.select_null).told(doing)?;
    let mut there = false;
    // Bytes may be text that is not UTF-8.
    for as_text in [false, true] {
        for ((column, value), at) in spec.key_columns().zip(key).zip(1..) {
            let raw = |stored| Ok(ToSqlOutput::Borrowed(stored));
            let encoded = match value {
                value if odd(column, value).is_none() => types::encode_key(column, value),
                Value::Bytes(v) if as_text => raw(ValueRef::Text(v)),
                value => raw(as_stored(value)),
            };
            bind(&mut statement, at, spec, column, encoded)?;
        }
        there |= statement.raw_query().next().told(doing)?.is_some();
    }
    // Several may be the one and the other.
    let odd_bytes =
        |(column, value): &(&Column, &Value)| odd(column, value).is_some() && matches!(value, Value::Bytes(_));
    let unsure = spec.key_columns().zip(key).filter(odd_bytes).count() > 1;
    Ok(Some((there || unsure).then_some(why)))
}

/// The cells of a result row as values, or the first that cannot be carried.
pub(super) fn read_row(row: &DbRow<'_>, spec: &TableSpec) -> std::result::Result<Row, String> {
    read_row_at(row, 0, spec)
}

/// The same where other columns come before those of the row.
pub(super) fn read_row_at(row: &DbRow<'_>, first: usize, spec: &TableSpec) -> std::result::Result<Row, String> {
    let mut values = Vec::with_capacity(spec.columns.len());
    for (column, at) in spec.columns.iter().zip(first..) {
        let cell = row.get_ref(at).map_err(|error| error.to_string())?;
        values.push(types::decode(&column.ty, cell).map_err(|why| format!("column `{}` {why}", column.name))?);
    }
    Ok(values.into())
}

/// The last entry of the next portion of what is to be purged behind an entry; `None` if all that is left is one.
pub(super) fn purge_end(
    db: &Connection,
    spec: &TableSpec,
    through: &Cut,
    arrivals: bool,
    behind: Option<i64>,
) -> Result<Option<i64>> {
    let behind = match (behind, arrivals) {
        (Some(behind), _) => behind,
        (None, true) => 0,
        // Below lie the arrivals that stay.
        (None, false) => first_beyond(&purged(db, &spec.name)?) - 1,
    };
    let history = quote::name(&history_name(&spec.name));
    db.prepare_cached(&format!("SELECT id FROM {history} WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT 1 OFFSET ?3"))
        .and_then(|mut statement| {
            statement.query_row(params![behind, first_beyond(through), PURGED_AT_ONCE - 1], |row| row.get(0)).optional()
        })
        .told(|| format!("purging the history of `{}`", spec.name))
}

/// See [`crate::node::Node::purge`]. Of what lies before `behind` nothing is left to delete.
pub(super) fn purge(
    db: &Connection,
    spec: &TableSpec,
    through: &Cut,
    arrivals: bool,
    behind: Option<i64>,
    witnesses: &[(&str, EntryId)],
) -> Result<u64> {
    let doing = || format!("purging the history of `{}`", spec.name);
    let history = quote::name(&history_name(&spec.name));
    let whose = if arrivals { "" } else { " AND origin IS NULL" };
    // The entry itself may have become the row that keeps its number.
    let (from, until) = (behind.unwrap_or(0), first_beyond(through));
    let stands = remembered(db, &spec.name)?;
    let any: bool = db
        .query_row(
            &format!("SELECT EXISTS (SELECT 1 FROM {history} WHERE id >= ?1 AND id < ?2 AND op <> '-'{whose})"),
            [from, until],
            |row| row.get(0),
        )
        .told(doing)?;
    if !any && stands.as_ref().is_some_and(|(cut, _)| cut.includes(through)) {
        return Ok(0);
    }
    db.execute_batch("BEGIN IMMEDIATE").told(doing)?;
    let done = || -> Result<u64> {
        let last = last_id(db, &history_name(&spec.name))?;
        witness::keep(db, spec, until, witnesses)?;
        let mut gone = db
            .execute(
                &format!("DELETE FROM {history} WHERE id >= ?1 AND id < ?2 AND id <> ?3{whose}"),
                params![from, until, last],
            )
            .told(doing)? as u64;
        let (stands, keeper) = remembered(db, &spec.name)?.unwrap_or((Cut::START, None));
        if keeper.is_some_and(|keeper| keeper < until && keeper != last) {
            // It was no entry.
            gone = gone.saturating_sub(1);
            db.execute("UPDATE concord_purged SET keeper = NULL WHERE name = ?1", [&spec.name]).told(doing)?;
        }
        let last_goes: bool = db
            .query_row(
                &format!("SELECT count(*) FROM {history} WHERE id = ?1 AND id < ?2 AND op <> '-'{whose}"),
                params![last, until],
                |row| row.get(0),
            )
            .told(doing)?;
        if last_goes {
            install::keep_number(db, &spec.name, last)?;
            gone += 1;
        }
        install::clear_guard(db, &spec.name)?;
        // Whoever comes late takes nothing back of what another engine has purged.
        if !stands.includes(through) {
            db.execute(
                "INSERT INTO concord_purged (name, cut) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET cut = excluded.cut",
                [&spec.name, &stands.join(through).to_string()],
            )
            .told(doing)?;
        }
        db.execute_batch("COMMIT").told(doing)?;
        Ok(gone)
    };
    let done = done();
    if !db.is_autocommit() {
        db.execute_batch("ROLLBACK").told(doing)?;
    }
    done
}

/// Up to where a history was purged.
pub(super) fn purged(db: &Connection, table: &str) -> Result<Cut> {
    Ok(remembered(db, table)?.map_or(Cut::START, |(cut, _)| cut))
}

/// Up to where a history was purged, and the number that is kept in it.
fn remembered(db: &Connection, table: &str) -> Result<Option<(Cut, Option<i64>)>> {
    let found: Option<(String, Option<i64>)> = db
        .query_row("SELECT cut, keeper FROM concord_purged WHERE name = ?1", [table], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()
        .told(|| "reading positions")?;
    let Some((cut, keeper)) = found else { return Ok(None) };
    let cut: Cut = cut.parse().map_err(|_| damaged("a position cannot be read"))?;
    Ok(Some((cut, keeper)))
}
