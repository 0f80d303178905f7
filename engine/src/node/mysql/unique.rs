//! Making room: unique values that rows of one batch pass among each other.

use super::wire::Args;
use super::{MySql, quote, sql};
use crate::model::{Column, Domain, Key, Row, TableSpec};
use crate::node::{Result, Room};

impl MySql {
    /// Rows whose unique columns are about to change give their present values up, one statement per index.
    pub(super) async fn clear_uniques(&mut self, table: &TableSpec, rows: &[&Row], room: Room) -> Result<()> {
        let followed: Vec<String> = self
            .read_edges()
            .await?
            .into_iter()
            .filter(|edge| edge.parent == table.local && edge.on_update != super::cascades::Action::Refuse)
            .flat_map(|edge| edge.referenced)
            .collect();
        self.announce(std::iter::once(table)).await?;
        // Numbers that are drawn one by one would meet now and then among thousands.
        let base = uuid::Uuid::new_v4().as_u128() as u32;
        self.main()?.run(&format!("SET {COUNTER} = {base}")).await?;
        let keys: Vec<Key> = rows.iter().map(|row| table.key_of(row)).collect();
        let keys: Vec<&Key> = keys.iter().collect();
        for unique in &table.uniques {
            let Some(set) = aside(table, &unique.columns, &followed, room) else { continue };
            for part in keys.chunks(sql::KEYS) {
                let mut args = Args::new();
                let condition = sql::with_keys(&mut args, table, "t", part);
                let statement = format!("UPDATE {} AS t SET {set} WHERE {condition}", sql::table(table));
                self.main()?.execute(&statement, args).await?;
            }
        }
        Ok(())
    }
}

/// What columns are set to so that a row collides with no other in a unique index. References that follow a value would take
/// their rows along, and a value that refers to another row is not made up if there is a choice.
fn aside(table: &TableSpec, columns: &[String], followed: &[String], room: Room) -> Option<String> {
    let is_key = |column: &Column| table.key_columns().any(|key| key.name == column.name);
    let refers = |column: &Column| table.references.iter().any(|reference| reference.columns.contains(&column.name));
    let free: Vec<&Column> =
        table.columns.iter().filter(|column| !is_key(column) && !followed.contains(&column.name)).collect();
    let set = |column: &Column, value: &str| format!("{} = {value}", quote::of("t", &column.name));
    let own: Vec<&&Column> = free.iter().filter(|column| columns.contains(&column.name)).collect();
    if let Some(column) = own.iter().find(|column| column.nullable).filter(|_| room == Room::Null) {
        return Some(set(column, "NULL"));
    }
    let (referring, plain): (Vec<_>, Vec<_>) = own.into_iter().partition(|column| refers(column));
    let drawn = |column: &Column| Some(set(column, &random(column)?));
    if let Some(set) = plain.into_iter().chain(referring).find_map(&drawn) {
        return Some(set);
    }
    // The server does not tell what a value that it works out is made of: it may be any of the others.
    let is_known = |name: &String| table.columns.iter().any(|column| column.name == *name);
    if !columns.is_empty() && columns.iter().all(is_known) {
        return None;
    }
    let others = || free.iter().filter(|column| !refers(column));
    let nulls: Vec<String> = others().filter(|column| column.nullable).map(|column| set(column, "NULL")).collect();
    let sets = match room == Room::Null && !nulls.is_empty() {
        true => nulls,
        false => others().filter_map(|column| drawn(column)).collect(),
    };
    (!sets.is_empty()).then(|| sets.join(", "))
}

/// Counts the rows that step aside.
const COUNTER: &str = "@concord_room";

/// A number that is another for each row, from zero to below this.
fn next(bound: i64) -> String {
    format!("(({COUNTER} := {COUNTER} + 1) MOD {bound})")
}

/// 64 digits that are others for each row. MySQL knows neither MD5 nor SHA1 any more, from 9.6 on.
const DIGEST: &str = "SHA2(UUID(), 256)";

/// An expression that gives each row another value of the column's type.
fn random(column: &Column) -> Option<String> {
    Some(match &column.domain {
        Domain::Text { .. } if column.native.starts_with("enum") || column.native.starts_with("set") => return None,
        Domain::Text { max, .. } => format!("LEFT({DIGEST}, {})", max.unwrap_or(32).min(32)),
        Domain::Uuid => "UUID()".to_owned(),
        Domain::Bytes => match column.native.split(['(', ')']).nth(1).and_then(|n| n.parse::<usize>().ok()) {
            Some(length) if column.native.starts_with("binary") => {
                format!("RPAD(LEFT(UNHEX({DIGEST}), {length}), {length}, x'00')")
            }
            Some(length) => format!("LEFT(UNHEX({DIGEST}), {length})"),
            None => format!("UNHEX({DIGEST})"),
        },
        // Below zero, where applications seldom count.
        Domain::Int { unsigned: false, bits } if *bits >= 16 => format!("-1 - {}", next((1 << (bits - 1).min(40)) - 1)),
        Domain::Int { unsigned: true, bits } if *bits >= 16 && !column.native.starts_with("year") => {
            next((1 << (*bits).min(40)) - 1)
        }
        Domain::Float { .. } => format!("-1 - {}", next(16_000_000)),
        Domain::Decimal { limits: Some((precision, scale)) } => {
            let digits = (*precision).min(12);
            format!("{} / 1e{}", next(10i64.pow(digits)), scale.saturating_sub(precision - digits))
        }
        Domain::Date { .. } => format!("DATE_ADD('1000-01-01', INTERVAL {} DAY)", next(3_000_000)),
        Domain::Timestamp { .. } => format!("DATE_ADD('1000-01-01', INTERVAL {} SECOND)", next(200_000_000_000)),
        Domain::Instant { .. } => format!("FROM_UNIXTIME(1 + {})", next(2_000_000_000)),
        _ => return None,
    })
}
