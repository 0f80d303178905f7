//! Making room: unique values that rows of one batch pass among each other.

use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, Value as Stored};

use super::apply::{stepped, unrecorded};
use super::connect::Silence;
use super::failure::Told;
use super::history::{bind, bind_key};
use super::plan::Plan;
use super::schema::Index;
use super::types::Affinity;
use super::{quote, types};
use crate::model::{Column, Row, TableSpec};
use crate::node::{Result, Room};

/// See [`crate::node::Node::make_room`].
pub(super) fn make_room(
    db: &Connection,
    silence: &Silence,
    plan: &Plan,
    spec: &TableSpec,
    rows: &[&Row],
    room: Room,
) -> Result<()> {
    let doing = || format!("making room for unique values in `{}`", spec.local);
    let own = || rows.iter().map(|row| spec.key_of(row)).collect();
    unrecorded(db, Some(silence), plan, spec, own, || {
        for unique in &plan.uniques {
            let moved = moved(spec, plan, unique, room);
            if moved.is_empty() {
                continue;
            }
            // Only rows whose values are about to change need to step aside, where the index is over just these values.
            let place = |name: &String| spec.columns.iter().position(|column| column.name == *name);
            let parts: Option<Vec<usize>> = unique.columns.iter().map(|(name, _)| place(name.as_ref()?)).collect();
            let parts = parts.filter(|_| !unique.partial).unwrap_or_default();
            let (first, width) = (moved.len() + 1, moved.len() + spec.key.len());
            let sets =
                moved.iter().zip(1..).map(|((at, _), n)| format!("{} = ?{n}", quote::name(&spec.columns[*at].name)));
            let changes = parts.iter().zip(width + 1..);
            let changes = changes.map(|(&at, n)| format!("{} IS NOT ?{n}", quote::name(&spec.columns[at].name)));
            let changes = changes.collect::<Vec<_>>().join(" OR ");
            let sql = format!(
                "UPDATE OR ABORT {} SET {} WHERE {}{}",
                quote::name(&spec.local),
                sets.collect::<Vec<_>>().join(", "),
                plan.by_key(first),
                if changes.is_empty() { String::new() } else { format!(" AND ({changes})") }
            );
            let mut statement = db.prepare_cached(&sql).told(doing)?;
            for row in rows {
                for ((at, null), n) in moved.iter().zip(1..) {
                    let away = if *null { Stored::Null } else { placeholder(&spec.columns[*at]) };
                    statement.raw_bind_parameter(n, ToSqlOutput::Owned(away)).told(doing)?;
                }
                bind_key(&mut statement, first, spec, &spec.key_of(row))?;
                for (&at, n) in parts.iter().zip(width + 1..) {
                    let column = &spec.columns[at];
                    bind(&mut statement, n, spec, column, types::encode(column, &row[at]))?;
                }
                stepped(statement.raw_execute(), doing)?;
            }
        }
        Ok(())
    })
}

/// The columns that are put out of the way so that a row collides with no other in a unique index, and whether by NULL.
/// References that follow a value would take their rows along.
fn moved(spec: &TableSpec, plan: &Plan, unique: &Index, room: Room) -> Vec<(usize, bool)> {
    let is_free = |at: &usize| !spec.key.contains(at) && !plan.is_followed(&spec.columns[*at].name);
    let mut names = unique.columns.iter().filter_map(|(name, _)| name.as_ref());
    let is_compared = |at: &usize| names.clone().any(|name| *name == spec.columns[*at].name);
    let free: Vec<usize> = (0..spec.columns.len()).filter(is_free).collect();
    let null = |at: &usize| room == Room::Null && spec.columns[*at].nullable;
    let own = || free.iter().filter(|at| is_compared(at));
    if let Some(&at) = own().find(|at| null(at)).or_else(|| own().next()) {
        return vec![(at, null(&at))];
    }
    if !names.any(|name| plan.generated.contains(name)) {
        return Vec::new();
    }
    // SQLite does not tell what a value that it works out is made of: it may be any of the others.
    match free.iter().any(null) {
        true => free.iter().filter(|at| null(at)).map(|&at| (at, true)).collect(),
        false => free.iter().map(|&at| (at, false)).collect(),
    }
}

/// A value that no row has.
fn placeholder(column: &Column) -> Stored {
    let drawn = uuid::Uuid::new_v4();
    let number = i64::from_be_bytes(std::array::from_fn(|at| drawn.as_bytes()[at]));
    match Affinity::of_column(column) {
        Affinity::Integer | Affinity::Numeric => Stored::Integer(-(number & i64::MAX) - 1),
        Affinity::Real => Stored::Real(number as f64),
        Affinity::Text => Stored::Text(format!("concord-{drawn}")),
        Affinity::Blob => Stored::Blob(drawn.as_bytes().to_vec()),
    }
}
