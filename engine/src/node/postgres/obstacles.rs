//! What stands in the way of rows: others that hold their unique values, and rows they refer to that are not there.

use std::collections::BTreeMap;

use super::schema::get;
use super::wire::{Args, Wire};
use super::{Postgres, quote, sql};
use crate::model::{Column, Key, Row, TableSpec};
use crate::node::{Error, ErrorKind, Obstacle, Result};

/// References that are checked by plain equality with rows that the role can see, as they are now.
const REFERENCES: &str = "SELECT f.conname::pg_catalog.text, n.nspname::pg_catalog.text, c.relname::pg_catalog.text, \
        ARRAY (SELECT a.attname::pg_catalog.text FROM pg_catalog.unnest(f.conkey) WITH ORDINALITY AS k (attnum, at) \
            JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.attnum ORDER BY k.at), \
        ARRAY (SELECT a.attname::pg_catalog.text FROM pg_catalog.unnest(f.confkey) WITH ORDINALITY AS k (attnum, at) \
            JOIN pg_catalog.pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.attnum ORDER BY k.at), \
        ARRAY (SELECT pg_catalog.quote_ident(s.nspname) || '.' || o.oprname \
            FROM pg_catalog.unnest(f.conpfeqop) WITH ORDINALITY AS k (oid, at) \
            JOIN pg_catalog.pg_operator o ON o.oid = k.oid JOIN pg_catalog.pg_namespace s ON s.oid = o.oprnamespace \
            ORDER BY k.at) \
    FROM pg_catalog.pg_constraint f JOIN pg_catalog.pg_class c ON c.oid = f.confrelid \
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE f.contype = 'f' AND f.conparentid = 0 AND f.conrelid = pg_catalog.to_regclass($1) \
        AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT') \
        AND NOT pg_catalog.row_security_active(c.oid) \
        AND coalesce(pg_catalog.to_jsonb(f) ->> 'conperiod', 'false') = 'false' \
        AND coalesce(pg_catalog.to_jsonb(f) ->> 'conenforced', 'true') = 'true' \
    ORDER BY f.conname";

impl Postgres {
    pub(super) async fn find_obstacles(&mut self, table: &TableSpec, rows: &[&Row]) -> Result<Vec<Obstacle>> {
        let mut found = self.find_missing(table, rows).await?;
        found.extend(self.find_holders(table, rows).await?);
        Ok(found)
    }

    async fn find_missing(&mut self, table: &TableSpec, rows: &[&Row]) -> Result<Vec<Obstacle>> {
        let mut args = Args::new();
        args.add(sql::table(table));
        let mut found = Vec::new();
        for reference in self.look_up(REFERENCES, args).await? {
            let constraint: String = get(&reference, 0)?;
            let parent = quote::table(&get::<String>(&reference, 1)?, &get::<String>(&reference, 2)?);
            let (own, theirs): (Vec<String>, Vec<String>) = (get(&reference, 3)?, get(&reference, 4)?);
            let operators: Vec<String> = get(&reference, 5)?;
            let place = |name: &String| table.columns.iter().position(|column| column.name == *name);
            // What refers by a column that does not live here cannot be told.
            let Some(own) = own.iter().map(place).collect::<Option<Vec<usize>>>() else { continue };
            let mut args = Args::new();
            let columns: BTreeMap<usize, &Column> = own.iter().map(|&at| (at, &table.columns[at])).collect();
            let rowset = sql::rowset(&mut args, columns.into_iter(), rows.iter().map(|row| &row[..]), "u", 'c');
            let given = own.iter().map(|at| format!("u.c{at} IS NOT NULL"));
            let same = own.iter().zip(&theirs).zip(&operators).map(|((at, theirs), operator)| {
                let value = Wire::of(&table.columns[*at]).incoming(&format!("u.c{at}"));
                format!("p.{} OPERATOR({operator}) {value}", quote::ident(theirs))
            });
            let statement = format!(
                "SELECT u.n FROM {rowset} WHERE {} AND NOT EXISTS (SELECT FROM {parent} AS p WHERE {})",
                given.collect::<Vec<_>>().join(" AND "),
                same.collect::<Vec<_>>().join(" AND ")
            );
            for row in self.fetch(statement, args).await? {
                let row = get::<i64>(&row, 0)? as usize - 1;
                found.push(Obstacle { row, constraint: constraint.clone(), holder: None });
            }
        }
        Ok(found)
    }

    async fn find_holders(&mut self, table: &TableSpec, rows: &[&Row]) -> Result<Vec<Obstacle>> {
        let mut found = Vec::new();
        for unique in &table.uniques {
            let Some(own) = table.told_by(unique) else { continue };
            let mut args = Args::new();
            let columns: BTreeMap<usize, &Column> =
                own.iter().chain(&table.key).map(|&at| (at, &table.columns[at])).collect();
            let rowset = sql::rowset(&mut args, columns.into_iter(), rows.iter().map(|row| &row[..]), "u", 'c');
            let equal = |at: &usize| {
                let column = &table.columns[*at];
                self.equal(column, &format!("t.{}", quote::ident(&column.name)), &format!("u.c{at}"))
            };
            let wires: Vec<Wire> = table.key_columns().map(Wire::of).collect();
            let key = table.key_columns().zip(&wires);
            let key = key.map(|(column, wire)| wire.outgoing(&format!("t.{}", quote::ident(&column.name))));
            let statement = format!(
                "SELECT u.n, {} FROM {rowset} JOIN {} AS t ON {} WHERE NOT ({})",
                key.collect::<Vec<_>>().join(", "),
                sql::table(table),
                own.iter().map(equal).collect::<Vec<_>>().join(" AND "),
                table.key.iter().map(equal).collect::<Vec<_>>().join(" AND ")
            );
            for row in self.fetch(statement, args).await? {
                let holder: std::result::Result<Key, String> =
                    wires.iter().enumerate().map(|(at, wire)| wire.read(&row, at + 1)).collect();
                let holder = holder
                    .map_err(|why| Error::new(ErrorKind::Other, format!("a key of {} {why}", table.full_name())))?;
                let row = get::<i64>(&row, 0)? as usize - 1;
                found.push(Obstacle { row, constraint: unique.name.clone(), holder: Some(holder) });
            }
        }
        Ok(found)
    }
}
