//! Going through a table in the order of its key, and reading it whole.

use futures::TryStreamExt;
use sqlx::AssertSqlSafe;

use super::connect::{Line, wait};
use super::wire::{Args, Wire, number};
use super::{MySql, failure, quote, sql};
use crate::model::{Column, Key, Row, TableSpec, Value};
use crate::node::scan::{LOT, Lot, Lots, Scanned};
use crate::node::{Error, ErrorKind, Result, Walked};

/// A row's key and the row.
type Read = (std::result::Result<Key, String>, std::result::Result<Row, String>);

impl MySql {
    pub(super) async fn walk_rows(
        &mut self,
        table: &TableSpec,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Walked>> {
        let reader = Reader::of(table);
        let mut args = Args::new();
        let condition = after.map_or_else(String::new, |key| behind(&mut args, table, key));
        let order: Vec<String> = table.key_columns().map(|column| quote::of("t", &column.name)).collect();
        let statement = format!(
            "SELECT {} FROM {} AS t{condition} ORDER BY {} LIMIT {limit}",
            reader.columns(),
            sql::table(table),
            order.join(", ")
        );
        let mut walked = Vec::with_capacity(limit.min(100_000));
        self.main()?
            .stream(&statement, args, |row| {
                let (key, row) = reader.read(&row);
                let key = key.map_err(|why| {
                    Error::new(ErrorKind::Other, format!("a key of {} cannot be read: {why}", table.full_name()))
                })?;
                walked.push((key, row));
                Ok(())
            })
            .await?;
        Ok(walked)
    }

    pub(super) async fn scan_table(&mut self, table: &TableSpec, lots: &Lots) -> Result<()> {
        let reader = Reader::of(table);
        let statement = format!("SELECT {} FROM {} AS t", reader.columns(), sql::table(table));
        let line = self.main()?;
        let done = scan(line, &statement, &reader, lots).await;
        // What is left of the result would have to be read first.
        line.broken |= done.is_err();
        done
    }

    pub(super) async fn count_rows(&mut self, table: &TableSpec) -> Result<u64> {
        let statement = "SELECT CAST(TABLE_ROWS AS SIGNED) FROM information_schema.TABLES \
                         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?";
        let rows = self.main()?.fetch(statement, super::schema::one(&table.local)).await?;
        if let Some(known) = rows.first().and_then(|row| number(row, 0)).filter(|known| *known > 0) {
            return Ok(known.unsigned_abs());
        }
        // Never counted.
        let rows = self.main()?.fetch(&format!("SELECT COUNT(*) FROM {}", sql::table(table)), Args::new()).await?;
        Ok(rows.first().and_then(|row| number(row, 0)).unwrap_or(0).unsigned_abs())
    }
}

/// Sends the rows of a query; fails if nobody takes them.
async fn scan(line: &mut Line, statement: &str, reader: &Reader<'_>, lots: &Lots) -> Result<()> {
    // Closed at the end it would hold up what is sent next.
    line.prepare(statement, 0).await?;
    let whole = line.facts.whole;
    let (connection, place, id) = line.parts();
    let mut found = sqlx::query(AssertSqlSafe(statement)).fetch(connection);
    let (mut rows, mut size): (Vec<Scanned>, usize) = (Vec::new(), 0);
    while let Some(row) = wait(place, id, found.try_next()).await.map_err(|error| failure::error(error, whole))? {
        let (key, row) = reader.read(&row);
        size += row.as_ref().map_or(64, |row| row.iter().map(Value::weight).sum());
        rows.push(row.map_err(|why| (key.unwrap_or_default(), why)));
        if size >= LOT {
            size = 0;
            lots.send(Lot::of(std::mem::take(&mut rows))).await?;
        }
    }
    lots.send(Lot::of(rows)).await
}

/// How the rows of a table are read.
struct Reader<'a> {
    table: &'a TableSpec,
    wires: Vec<Wire>,
}

impl<'a> Reader<'a> {
    fn of(table: &'a TableSpec) -> Reader<'a> {
        Reader { table, wires: sql::wires(table) }
    }

    fn columns(&self) -> String {
        let columns = self.table.columns.iter();
        columns.map(|column| sql::outgoing(column, &quote::of("t", &column.name))).collect::<Vec<_>>().join(", ")
    }

    fn read(&self, row: &sqlx::mysql::MySqlRow) -> Read {
        let columns = self.wires.iter().zip(&self.table.columns).enumerate();
        let cells = columns
            .map(|(at, (wire, column))| wire.read(row, at).map_err(|why| format!("column {} {why}", column.name)));
        let cells: std::result::Result<Row, String> = cells.collect();
        let key = match &cells {
            Ok(cells) => Ok(self.table.key_of(cells)),
            Err(_) => self.table.key.iter().map(|&at| self.wires[at].read(row, at)).collect(),
        };
        (key, cells)
    }
}

/// The condition that a row `t` stands behind a key; adds the parameters.
fn behind(args: &mut Args, table: &TableSpec, key: &Key) -> String {
    let (mut condition, mut end) = (" WHERE ".to_owned(), String::new());
    for (number, (column, value)) in table.key_columns().zip(key.iter()).enumerate() {
        let wire = Wire::of(column);
        if number + 1 < key.len() {
            // The outermost comparison says where the index is begun, and the equality that rows of the same value are not read again
            // from their first.
            condition += &format!("{} AND (", compared(args, column, &wire, value, ">="));
            condition += &format!("{} OR (", compared(args, column, &wire, value, ">"));
            condition += &format!("{} AND ", compared(args, column, &wire, value, "="));
            end += "))";
        } else {
            condition += &compared(args, column, &wire, value, ">");
        }
    }
    condition + &end
}

/// The condition that a column of a row `t` stands behind a value in the order of its index (`>`), at it (`=`), or at it or behind
/// it (`>=`); adds the parameters. Labels stand there by their place, and would be compared by their letters.
fn compared(args: &mut Args, column: &Column, wire: &Wire, value: &Value, sign: &str) -> String {
    let name = quote::of("t", &column.name);
    match (wire, value) {
        // Listed, for no other comparison of them is looked up in the index.
        (Wire::Labels { labels, several: false }, Value::Text(label)) if sign != "=" => {
            let included = sign == ">=";
            let at = labels.iter().position(|other| **other == **label);
            let own = (included && at.is_none()).then_some(&**label);
            let behind = labels.iter().map(String::as_str).skip(at.map_or(0, |at| at + usize::from(!included)));
            let mut marks = Vec::new();
            for label in own.into_iter().chain(behind) {
                args.add(label);
                marks.push("?");
            }
            if marks.is_empty() { "FALSE".to_owned() } else { format!("{name} IN ({})", marks.join(", ")) }
        }
        (Wire::Labels { labels, several: true }, Value::Text(text)) => {
            args.add(bits(labels, text));
            format!("CAST({name} AS UNSIGNED) {sign} ?")
        }
        _ => {
            args.cell(column, wire, value);
            format!("{name} {sign} {}", sql::parameter(column))
        }
    }
}

/// As which number a set of labels stands in an index.
fn bits(labels: &[String], text: &str) -> u64 {
    let places = text.split(',').filter_map(|part| labels.iter().position(|label| label == part));
    places.fold(0, |bits, place| bits | 1 << place)
}
