//! Making room: unique values that rows of one batch pass among each other.

use super::wire::Args;
use super::wire::Wire;
use super::{Postgres, quote, sql};
use crate::model::{Column, Domain, Row, TableSpec, Unique};
use crate::node::Result;

impl Postgres {
    /// Rows whose unique columns are about to change give their present values up, one statement per constraint.
    pub(super) async fn clear_uniques(&mut self, table: &TableSpec, rows: &[&Row]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        self.announce(std::iter::once(table)).await?;
        for unique in &table.uniques {
            let columns = synced(table, unique);
            let Some((name, value)) = placeholder(table, &columns) else { continue };
            let mut args = Args::new();
            let wanted = table.key.iter().map(|&at| (at, &table.columns[at])).chain(
                // A column of the key may be part of another unique index as well.
                columns.iter().copied().filter(|(at, _)| !table.key.contains(at)),
            );
            let rowset = sql::rowset(&mut args, wanted, rows.iter().map(|row| &row[..]), "u", 'c');
            let same = table.key.iter().map(|&at| {
                let column = &table.columns[at];
                self.equal(column, &format!("t.{}", quote::ident(&column.name)), &format!("u.c{at}"))
            });
            let differs = columns.iter().filter(|(at, _)| !table.key.contains(at)).map(|(at, column)| {
                let (name, wire) = (quote::ident(&column.name), Wire::of(column));
                // Text tells apart at least what the column's own type tells apart.
                let text = if matches!(wire, Wire::Native(_) | Wire::Json) { "::pg_catalog.text" } else { "" };
                format!("t.{name}{text} IS DISTINCT FROM u.c{at}")
            });
            let statement = format!(
                "UPDATE {} AS t SET {} = {value} FROM {rowset} WHERE {} AND ({})",
                sql::table(table),
                quote::ident(name),
                same.collect::<Vec<_>>().join(" AND "),
                differs.collect::<Vec<_>>().join(" OR ")
            );
            self.fetch(statement, args).await?;
        }
        Ok(())
    }
}

/// The columns of a constraint that are synced; nobody else's value changes.
fn synced<'t>(table: &'t TableSpec, unique: &Unique) -> Vec<(usize, &'t Column)> {
    table.columns.iter().enumerate().filter(|(_, column)| unique.columns.contains(&column.name)).collect()
}

/// A column outside of the key and a value for it that collides with nothing.
fn placeholder<'t>(table: &TableSpec, columns: &[(usize, &'t Column)]) -> Option<(&'t str, String)> {
    let mut free = columns.iter().filter(|(at, _)| !table.key.contains(at)).map(|(_, column)| *column);
    if let Some(column) = free.clone().find(|column| column.nullable) {
        return Some((&column.name, "NULL".to_owned()));
    }
    free.find_map(|column| random(column).map(|value| (column.name.as_str(), value)))
}

/// An expression that gives each row another value of the column's type.
fn random(column: &Column) -> Option<String> {
    let random = "pg_catalog.random()";
    let times = |factor: &str| format!("({random} OPERATOR(pg_catalog.*) {factor}::pg_catalog.float8)");
    Some(match &column.domain {
        Domain::Text { max, .. } => {
            let text = "pg_catalog.gen_random_uuid()::pg_catalog.text";
            match max {
                Some(max) => format!("pg_catalog.left({text}, {max})"),
                None => text.to_owned(),
            }
        }
        Domain::Uuid => "pg_catalog.gen_random_uuid()".to_owned(),
        Domain::Bytes => {
            "pg_catalog.decode(pg_catalog.md5(pg_catalog.gen_random_uuid()::pg_catalog.text), 'hex')".to_owned()
        }
        // Below zero, where applications seldom count.
        Domain::Int { bits: 16, .. } => format!("(OPERATOR(pg_catalog.-) {})::pg_catalog.int2", times("32768")),
        Domain::Int { unsigned: true, .. } => format!("{}::pg_catalog.int8::pg_catalog.oid", times("4294967295")),
        Domain::Int { bits: 32, .. } => format!("(OPERATOR(pg_catalog.-) {})::pg_catalog.int4", times("2147483647")),
        Domain::Int { .. } => format!("(OPERATOR(pg_catalog.-) {})::pg_catalog.int8", times("9007199254740992")),
        Domain::Float { .. } => times("1e9"),
        Domain::Decimal { limits: None } => format!("{}::pg_catalog.numeric", times("1e15")),
        Domain::Decimal { limits: Some((precision, scale)) } => {
            let digits = (*precision).min(15);
            let shift = scale.saturating_sub(precision - digits);
            format!(
                "(pg_catalog.floor({})::pg_catalog.numeric OPERATOR(pg_catalog./) 1e{}::pg_catalog.numeric)",
                times(&format!("1e{digits}")),
                shift
            )
        }
        Domain::Date => {
            format!("('0001-01-01'::pg_catalog.date OPERATOR(pg_catalog.+) {}::pg_catalog.int4)", times("300000"))
        }
        Domain::Time { .. } => format!(
            "('00:00'::pg_catalog.time OPERATOR(pg_catalog.+) ({random} OPERATOR(pg_catalog.*) '23:59:59'::pg_catalog.interval))"
        ),
        Domain::Timestamp { .. } => format!(
            "('0001-01-01'::pg_catalog.timestamp OPERATOR(pg_catalog.+) ({random} OPERATOR(pg_catalog.*) '300000 days'::pg_catalog.interval))"
        ),
        Domain::Instant { .. } => format!("pg_catalog.to_timestamp({})", times("1e9")),
        _ => return None,
    })
}
