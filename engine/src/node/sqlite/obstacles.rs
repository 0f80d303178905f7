//! What stands in the way of rows: others that hold their unique values, and rows they refer to that are not there.

use rusqlite::{Connection, Statement};

use super::failure::Told;
use super::history::{bind, key_at};
use super::plan::Plan;
use super::{quote, types};
use crate::model::{Row, TableSpec};
use crate::node::{Obstacle, Result};

/// See [`crate::node::Node::obstacles`].
pub(super) fn find(db: &Connection, plan: &Plan, spec: &TableSpec, rows: &[&Row]) -> Result<Vec<Obstacle>> {
    let mut found = missing(db, spec, rows)?;
    found.extend(holders(db, plan, spec, rows)?);
    Ok(found)
}

fn missing(db: &Connection, spec: &TableSpec, rows: &[&Row]) -> Result<Vec<Obstacle>> {
    let doing = || format!("looking for rows that `{}` refers to", spec.local);
    let mut found = Vec::new();
    for reference in &spec.references {
        // What refers by a column that does not live here cannot be told.
        let Some(own) = places(spec, &reference.columns) else { continue };
        let conditions = reference.referenced_columns.iter().zip(1..);
        let conditions = conditions.map(|(column, at)| format!("{} = ?{at}", quote::name(column)));
        let sql = format!(
            "SELECT 1 FROM {} WHERE {}",
            quote::name(&reference.referenced_table),
            conditions.collect::<Vec<_>>().join(" AND ")
        );
        let mut statement = db.prepare_cached(&sql).told(doing)?;
        for (at, row) in rows.iter().enumerate().filter(|(_, row)| own.iter().all(|&at| !row[at].is_null())) {
            bind_columns(&mut statement, spec, row, &own)?;
            if statement.raw_query().next().told(doing)?.is_none() {
                found.push(Obstacle { row: at, constraint: reference.name.clone(), holder: None });
            }
        }
    }
    Ok(found)
}

fn holders(db: &Connection, plan: &Plan, spec: &TableSpec, rows: &[&Row]) -> Result<Vec<Obstacle>> {
    let doing = || format!("looking for unique values of `{}`", spec.local);
    let mut found = Vec::new();
    for unique in &spec.uniques {
        let index = plan.uniques.iter().find(|index| index.name == unique.name);
        let (Some(own), Some(index)) = (spec.told_by(unique), index) else { continue };
        let conditions = index.columns.iter().zip(&own).zip(1..).map(|(((_, collation), &at), number)| {
            format!("{} = ?{number} COLLATE {}", quote::name(&spec.columns[at].name), quote::name(collation))
        });
        let sql = format!(
            "SELECT {} FROM {} WHERE {}",
            quote::names(spec.key_columns().map(|column| column.name.as_str())),
            quote::name(&spec.local),
            conditions.collect::<Vec<_>>().join(" AND ")
        );
        let mut statement = db.prepare_cached(&sql).told(doing)?;
        for (at, row) in rows.iter().enumerate() {
            bind_columns(&mut statement, spec, row, &own)?;
            let mut there = statement.raw_query();
            while let Some(holder) = there.next().told(doing)? {
                let holder = key_at(holder, 0, spec).told(doing)?;
                if holder != spec.key_of(row) {
                    found.push(Obstacle { row: at, constraint: unique.name.clone(), holder: Some(holder) });
                }
            }
        }
    }
    Ok(found)
}

fn places(spec: &TableSpec, names: &[String]) -> Option<Vec<usize>> {
    names.iter().map(|name| spec.columns.iter().position(|column| column.name == *name)).collect()
}

fn bind_columns(statement: &mut Statement<'_>, spec: &TableSpec, row: &Row, columns: &[usize]) -> Result<()> {
    for (&at, number) in columns.iter().zip(1..) {
        let (column, is_key) = (&spec.columns[at], spec.key.contains(&at));
        let encoded = if is_key { types::encode_key(column, &row[at]) } else { types::encode(column, &row[at]) };
        bind(statement, number, spec, column, encoded)?;
    }
    Ok(())
}
