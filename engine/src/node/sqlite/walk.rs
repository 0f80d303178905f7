//! Reading a table from one end to the other, in the order of its key, a part at a time.

use rusqlite::Connection;
use rusqlite::types::ToSqlOutput;

use super::failure::Told;
use super::plan::Plan;
use super::{history, quote, types};
use crate::model::{Key, TableSpec, Value};
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
    let take = |row: &rusqlite::Row<'_>| taken(row, spec).told(doing);
    if after.is_none()
        && let Some(keyless) = &plan.walk_keyless
    {
        let mut statement = db.prepare_cached(keyless).told(doing)?;
        let mut rows = statement.query([limit.min(KEYLESS) as i64]).told(doing)?;
        while let Some(row) = rows.next().told(doing)? {
            walked.push(take(row)?.0);
        }
    }
    let mut statement = db.prepare_cached(if after.is_some() { &plan.walk_on } else { &plan.walk }).told(doing)?;
    let width = after.map_or(0, |key| key.len());
    for ((column, value), at) in spec.key_columns().zip(after.into_iter().flatten()).zip(1..) {
        history::bind(&mut statement, at, spec, column, history::stored(column, value))?;
    }
    let begin = walked.len();
    let mut most = limit;
    loop {
        statement.raw_bind_parameter(width + 1, i64::try_from(most).unwrap_or(i64::MAX)).told(doing)?;
        let mut rows = statement.raw_query();
        let mut can_go_on = true;
        while let Some(row) = rows.next().told(doing)? {
            let (one, exact) = take(row)?;
            walked.push(one);
            can_go_on = exact;
            if exact && walked.len() - begin >= limit {
                break;
            }
        }
        if can_go_on || walked.len() - begin < most {
            return Ok(walked);
        }
        // Nobody could tell from the last key where to go on, so the part ends with one of those behind it.
        walked.truncate(begin);
        most = most.saturating_mul(2);
    }
}

/// A row, and whether its key, bound again, is what stands there. Bytes may stand for a text that is not UTF-8, and sort
/// elsewhere.
fn taken(row: &rusqlite::Row<'_>, spec: &TableSpec) -> rusqlite::Result<(Walked, bool)> {
    let mut key = Vec::with_capacity(spec.key.len());
    let mut exact = true;
    for &at in &spec.key {
        let (column, cell) = (&spec.columns[at], row.get_ref(at)?);
        let value = types::decode_key(column, cell);
        exact &= match (&value, history::stored(column, &value)) {
            // Any other value is kept as it is.
            (Value::Bytes(_), Ok(ToSqlOutput::Borrowed(bound))) => bound == cell,
            (Value::Bytes(_), _) => false,
            _ => true,
        };
        key.push(value);
    }
    let read = match history::oddity(spec, &key) {
        None => history::read_row(row, spec),
        Some(odd) => Err(odd),
    };
    Ok(((key.into(), read), exact))
}

/// See [`crate::node::Node::count`].
pub(super) fn count(db: &Connection, spec: &TableSpec) -> Result<u64> {
    db.query_row(&format!("SELECT count(*) FROM {}", quote::name(&spec.local)), [], |row| row.get::<_, i64>(0))
        .map(i64::unsigned_abs)
        .told(|| format!("counting the rows of `{}`", spec.local))
}
