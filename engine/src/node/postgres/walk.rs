//! Reading a table from one end to the other, in the order of its key, a part at a time.

use super::schema::get;
use super::wire::{Args, Wire};
use super::{Postgres, quote, sql};
use crate::model::{Key, TableSpec};
use crate::node::{Error, ErrorKind, Result, Walked};

impl Postgres {
    pub(super) async fn walk_rows(
        &mut self,
        table: &TableSpec,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Walked>> {
        let mut args = Args::new();
        let condition = after.map_or_else(String::new, |key| self.behind(&mut args, table, key));
        args.add(i64::try_from(limit).unwrap_or(i64::MAX));
        let wires: Vec<Wire> = table.columns.iter().map(Wire::of).collect();
        let columns = table.columns.iter().zip(&wires);
        let columns: Vec<String> =
            columns.map(|(column, wire)| wire.outgoing(&format!("t.{}", quote::ident(&column.name)))).collect();
        let order: Vec<String> =
            table.key_columns().map(|column| format!("t.{}", quote::ident(&column.name))).collect();
        let statement = format!(
            "SELECT {} FROM {} AS t{condition} ORDER BY {} LIMIT ${}::pg_catalog.int8",
            columns.join(", "),
            sql::table(table),
            order.join(", "),
            args.count()
        );
        let mut walked = Vec::with_capacity(limit.min(100_000));
        self.stream(statement, args, |row| {
            let cells =
                wires.iter().zip(&table.columns).enumerate().map(|(at, (wire, column))| {
                    wire.read(&row, at).map_err(|why| format!("column {} {why}", column.name))
                });
            let read: std::result::Result<crate::model::Row, String> = cells.collect();
            let key = match &read {
                Ok(row) => table.key_of(row),
                // The key's own values are read from the history as well, and have to be readable.
                Err(_) => {
                    let cells = table.key.iter().map(|&at| wires[at].read(&row, at));
                    let key: std::result::Result<Key, String> = cells.collect();
                    key.map_err(|why| {
                        Error::new(ErrorKind::Other, format!("a key of {} cannot be read: {why}", table.full_name()))
                    })?
                }
            };
            walked.push((key, read));
            Ok(())
        })
        .await?;
        Ok(walked)
    }

    /// The condition that a row `t` stands behind a key; adds the parameters.
    fn behind(&self, args: &mut Args, table: &TableSpec, key: &Key) -> String {
        let mut parts: Vec<(String, String, String)> = Vec::new();
        for (column, value) in table.key_columns().zip(key) {
            let wire = Wire::of(column);
            args.cells(column, &wire, std::iter::once(value));
            let element = wire.incoming(&format!("({})[1]", wire.parameter(args.count())));
            // Next to an `=` stand the operators of the same order.
            let schema = self.equality(&column.native).trim_end_matches('=').to_owned();
            parts.push((self.plain(column, &format!("t.{}", quote::ident(&column.name))), element, schema));
        }
        let alike = parts.iter().all(|(.., schema)| *schema == parts[0].2);
        if alike {
            let (columns, elements): (Vec<_>, Vec<_>) =
                parts.iter().map(|(column, element, _)| (column.as_str(), element.as_str())).unzip();
            return format!(
                " WHERE ROW({}) OPERATOR({}>) ROW({})",
                columns.join(", "),
                parts[0].2,
                elements.join(", ")
            );
        }
        let mut condition = String::new();
        for (column, element, schema) in parts.iter().rev() {
            let beyond = format!("{column} OPERATOR({schema}>) {element}");
            condition = match condition.as_str() {
                "" => beyond,
                rest => format!("{column} OPERATOR({schema}>=) {element} AND ({beyond} OR ({rest}))"),
            };
        }
        format!(" WHERE {condition}")
    }

    pub(super) async fn count_rows(&mut self, table: &TableSpec) -> Result<u64> {
        let mut args = Args::new();
        args.add(sql::table(table));
        let rows = self
            .fetch(
                "SELECT CASE WHEN pg_catalog.min(c.reltuples) < 0 THEN -1 \
                    ELSE pg_catalog.sum(c.reltuples)::pg_catalog.int8 END \
                 FROM pg_catalog.pg_class c WHERE c.relkind = 'r' AND (c.oid = pg_catalog.to_regclass($1) \
                    OR c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(pg_catalog.to_regclass($1))))",
                args,
            )
            .await?;
        if let Some(known) = get::<Option<i64>>(&rows[0], 0)?.filter(|known| *known > 0) {
            return Ok(known.unsigned_abs());
        }
        // Never analyzed.
        let rows = self.fetch(format!("SELECT pg_catalog.count(*) FROM {}", sql::table(table)), Args::new()).await?;
        Ok(get::<i64>(&rows[0], 0)?.unsigned_abs())
    }
}
