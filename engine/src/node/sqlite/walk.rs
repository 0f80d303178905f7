//! Reading a table from one end to the other, in the order of its key, a part at a time.

use rusqlite::Connection;
use rusqlite::types::ToSqlOutput;

use super::failure::Told;
use super::plan::Plan;
use super::{history, quote, types};
use crate::model::{Column, Key, TableSpec, Value};
use crate::node::{Result, Walked};

/// Rows without a key that are told of, at most.
const KEYLESS: usize = 100;

/// See [`crate::node::Node::walk`].
pub(super) fn walk(
    db: &Connection,
    plan: &Plan,
    spec: &TableSpec,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<Walked>> {
    let doing = || format!("reading rows of `{}`", spec.local);
    let mut walked = Vec::new();
    let mut take = |row: &rusqlite::Row<'_>| -> Result<()> {
        let key: Key = spec
            .key
            .iter()
            .map(|&at| Ok(types::decode_key(&spec.columns[at], row.get_ref(at)?)))
            .collect::<rusqlite::Result<_>>()
            .told(doing)?;
        let odd = spec.key_columns().zip(&key).find_map(|(column, value)| history::odd(column, value));
        let read = odd.map_or_else(|| history::read_row(row, spec), Err);
        walked.push((key, read));
        Ok(())
    };
    if after.is_none()
        && let Some(keyless) = &plan.walk_keyless
    {
        let mut statement = db.prepare_cached(keyless).told(doing)?;
        let mut rows = statement.query([limit.min(KEYLESS) as i64]).told(doing)?;
        while let Some(row) = rows.next().told(doing)? {
            take(row)?;
        }
    }
    let mut statement = db.prepare_cached(if after.is_some() { &plan.walk_on } else { &plan.walk }).told(doing)?;
    let width = after.map_or(0, |key| key.len());
    for ((column, value), at) in spec.key_columns().zip(after.into_iter().flatten()).zip(1..) {
        history::bind(&mut statement, at, spec, column, stored(column, value))?;
    }
    statement.raw_bind_parameter(width + 1, limit as i64).told(doing)?;
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next().told(doing)? {
        take(row)?;
    }
    Ok(walked)
}

/// A value of a key as it is stored, also one that cannot be carried.
fn stored<'a>(column: &Column, value: &'a Value) -> std::result::Result<ToSqlOutput<'a>, String> {
    match value {
        value if history::odd(column, value).is_none() => types::encode_key(column, value),
        value => Ok(ToSqlOutput::Borrowed(history::as_stored(value))),
    }
}

/// See [`crate::node::Node::count`].
pub(super) fn count(db: &Connection, spec: &TableSpec) -> Result<u64> {
    db.query_row(&format!("SELECT count(*) FROM {}", quote::name(&spec.local)), [], |row| row.get::<_, i64>(0))
        .map(i64::unsigned_abs)
        .told(|| format!("counting the rows of `{}`", spec.local))
}
