//! What stands in the way of rows: others that hold their unique values, and rows they refer to that are not there.

use sqlx::mysql::MySqlRow;

use super::wire::{Args, Wire, int};
use super::{MySql, quote, sql};
use crate::model::{Column, Key, Row, TableSpec};
use crate::node::{Error, ErrorKind, Obstacle, Result};

/// Rows in one statement: each is a query of its own, by the server's own notion of what is equal.
const ROWS: usize = 200;

/// How the server calls the key.
const KEY: &str = "PRIMARY";

impl MySql {
    pub(super) async fn find_obstacles(&mut self, table: &TableSpec, rows: &[&Row]) -> Result<Vec<Obstacle>> {
        let mut found = self.find_missing(table, rows).await?;
        found.extend(self.find_holders(table, rows).await?);
        found.extend(self.find_namesakes(table, rows).await?);
        Ok(found)
    }

    /// Rows whose keys are others, and the same to the server.
    async fn find_namesakes(&mut self, table: &TableSpec, rows: &[&Row]) -> Result<Vec<Obstacle>> {
        let keys: Vec<Key> = rows.iter().map(|row| table.key_of(row)).collect();
        let found = self.namesakes_of(table, &keys.iter().collect::<Vec<_>>()).await?;
        let obstacle = |(row, holder)| Obstacle { row, constraint: KEY.to_owned(), holder: Some(holder) };
        Ok(found.into_iter().map(obstacle).collect())
    }

    /// The keys of rows that stand and are the same to the server as other ones of `keys`, each with the place of that.
    pub(super) async fn namesakes_of(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<Vec<(usize, Key)>> {
        if !table.key_columns().any(sql::is_lenient) {
            return Ok(Vec::new());
        }
        let wires: Vec<Wire> = table.key_columns().map(Wire::of).collect();
        let columns: Vec<(&Column, String)> =
            table.key_columns().map(|column| (column, quote::of("t", &column.name))).collect();
        let names: Vec<String> = columns.iter().map(|(column, name)| sql::outgoing(column, name)).collect();
        let numbered: Vec<(usize, &Key)> = keys.iter().copied().enumerate().collect();
        let mut found = Vec::new();
        for part in numbered.chunks(ROWS) {
            let mut args = Args::new();
            let mut queries = Vec::new();
            for (number, key) in part {
                args.add(*number as i64);
                let condition = sql::matching(&mut args, &columns, std::iter::once(&key[..]), false);
                queries.push(format!(
                    "SELECT CAST(? AS SIGNED) AS n, {} FROM {} AS t WHERE {condition}",
                    names.join(", "),
                    sql::table(table)
                ));
            }
            for row in self.main()?.fetch(&queries.join(" UNION ALL "), args).await? {
                let holder: std::result::Result<Key, String> =
                    wires.iter().enumerate().map(|(n, wire)| wire.read(&row, n + 1)).collect();
                let holder = holder
                    .map_err(|why| Error::new(ErrorKind::Other, format!("a key of {} {why}", table.full_name())))?;
                let at = int(&row, 0)? as usize;
                if holder != *keys[at] {
                    found.push((at, holder));
                }
            }
        }
        Ok(found)
    }

    async fn find_missing(&mut self, table: &TableSpec, rows: &[&Row]) -> Result<Vec<Obstacle>> {
        let wires = sql::wires(table);
        let mut found = Vec::new();
        for reference in &table.references {
            let place = |name: &String| table.columns.iter().position(|column| column.name == *name);
            // What refers by a column that does not live here cannot be told.
            let Some(own) = reference.columns.iter().map(place).collect::<Option<Vec<usize>>>() else { continue };
            let pairs = own.iter().zip(&reference.referenced_columns);
            let same: Vec<String> = pairs
                .map(|(&at, name)| format!("{} = {}", quote::of("p", name), sql::parameter(&table.columns[at])))
                .collect();
            let query = format!(
                "SELECT CAST(? AS SIGNED) AS n FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM {} AS p WHERE {})",
                quote::ident(&reference.referenced_table),
                same.join(" AND ")
            );
            let ask = |args: &mut Args, number: usize, row: &Row| {
                args.add(number as i64);
                for &at in &own {
                    args.sought(&table.columns[at], &wires[at], &row[at]);
                }
                query.clone()
            };
            for row in self.ask_about(&given(rows, &own), ask).await? {
                let row = int(&row, 0)? as usize;
                found.push(Obstacle { row, constraint: reference.name.clone(), holder: None });
            }
        }
        Ok(found)
    }

    async fn find_holders(&mut self, table: &TableSpec, rows: &[&Row]) -> Result<Vec<Obstacle>> {
        let wires = sql::wires(table);
        let mut found = Vec::new();
        for unique in &table.uniques {
            let Some(own) = table.told_by(unique) else { continue };
            let keys: Vec<String> =
                table.key_columns().map(|column| sql::outgoing(column, &quote::of("t", &column.name))).collect();
            let ask = |args: &mut Args, number: usize, row: &Row| {
                args.add(number as i64);
                let mut equal = |at: &usize| {
                    let column = &table.columns[*at];
                    sql::equal(args, column, &quote::of("t", &column.name), &wires[*at], &row[*at])
                };
                let values: Vec<String> = own.iter().map(&mut equal).collect();
                let key: Vec<String> = table.key.iter().map(&mut equal).collect();
                format!(
                    "SELECT CAST(? AS SIGNED) AS n, {} FROM {} AS t WHERE {} AND NOT ({})",
                    keys.join(", "),
                    sql::table(table),
                    values.join(" AND "),
                    key.join(" AND ")
                )
            };
            for row in self.ask_about(&given(rows, &own), ask).await? {
                let holder: std::result::Result<Key, String> =
                    table.key.iter().enumerate().map(|(n, &at)| wires[at].read(&row, n + 1)).collect();
                let holder = holder
                    .map_err(|why| Error::new(ErrorKind::Other, format!("a key of {} {why}", table.full_name())))?;
                let row = int(&row, 0)? as usize;
                found.push(Obstacle { row, constraint: unique.name.clone(), holder: Some(holder) });
            }
        }
        Ok(found)
    }

    /// Asks a query about each row, given by its number. One for which the server refuses the statement, because a column has not the
    /// letters of one of its texts, is in nobody's way: it is found by halving, and left out.
    async fn ask_about(
        &mut self,
        rows: &[(usize, &Row)],
        query: impl Fn(&mut Args, usize, &Row) -> String,
    ) -> Result<Vec<MySqlRow>> {
        let mut told = Vec::new();
        let mut parts: Vec<&[(usize, &Row)]> = rows.chunks(ROWS).rev().collect();
        while let Some(part) = parts.pop() {
            let mut args = Args::new();
            let queries: Vec<String> = part.iter().map(|(number, row)| query(&mut args, *number, row)).collect();
            match self.main()?.fetch(&queries.join(" UNION ALL "), args).await {
                Err(error) if error.kind == ErrorKind::Value => match part {
                    [_] => {}
                    part => {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.extend([second, first]);
                    }
                },
                answer => told.extend(answer?),
            }
        }
        Ok(told)
    }
}

/// The rows that have a value in all of these columns, with their numbers.
fn given<'r>(rows: &[&'r Row], columns: &[usize]) -> Vec<(usize, &'r Row)> {
    let rows = rows.iter().copied().enumerate();
    rows.filter(|(_, row)| columns.iter().all(|&at| !row[at].is_null())).collect()
}
