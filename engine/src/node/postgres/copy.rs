//! Writing rows that are new: COPY in binary form, which takes the server less than half of what INSERT does.
//!
//! COPY fires the same triggers and checks the same constraints, but fails on a row that is there already, and takes bytes for
//! what the column's type says. So it is tried under a savepoint, and only where the types are known to be those of the form.

use sqlx::postgres::PgConnection;

use super::connect::Place;
use super::schema::{get, schema_of};
use super::wire::{Args, Wire};
use super::{Postgres, quote, sql};
use crate::model::{Row, TableSpec};
use crate::node::{Error, ErrorKind, Result};

/// Fewer rows are not worth the savepoint and the look at the types.
const WORTH: usize = 500;

/// Bytes of a message: enough to keep the server busy while the next one is made.
const MESSAGE: usize = 64 << 10;

/// What a copy begins with: the signature, no flags, no extension.
const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What it ends with.
const TAIL: &[u8] = &(-1i16).to_be_bytes();

impl Postgres {
    /// Copies rows in, of which none is there as far as anybody knows. `false` if nothing was written, because they have to be
    /// written in another way.
    pub(super) async fn copy_in(&mut self, spec: &TableSpec, rows: &[&Row]) -> Result<bool> {
        if rows.len() < WORTH || !self.can_copy(spec).await? {
            return Ok(false);
        }
        self.run("SAVEPOINT concord_copy").await?;
        let names = quote::idents(spec.columns.iter().map(|column| column.name.as_str()));
        let statement = format!("COPY {} ({names}) FROM STDIN (FORMAT binary)", sql::table(spec));
        let (session, place, pid) = self.connection()?;
        let error = match copy(session, place, pid, &statement, spec, rows).await {
            Ok(()) => {
                self.run("RELEASE SAVEPOINT concord_copy").await?;
                return Ok(true);
            }
            Err(Failure::Server(error)) => self.fail(error),
            Err(Failure::Row(error)) => error,
        };
        if matches!(error.kind, ErrorKind::Lost | ErrorKind::Retry | ErrorKind::Locked) {
            return Err(error);
        }
        // Whatever is wrong, writing them in the usual way takes it or tells.
        self.run("ROLLBACK TO SAVEPOINT concord_copy; RELEASE SAVEPOINT concord_copy").await?;
        self.aborted = false;
        self.copied.insert((schema_of(spec).to_owned(), spec.local.clone()), false);
        Ok(false)
    }

    /// Whether bytes of a copy mean to the table what they mean here. Nobody changes that before the transaction ends.
    async fn can_copy(&mut self, spec: &TableSpec) -> Result<bool> {
        let name = (schema_of(spec).to_owned(), spec.local.clone());
        if let Some(&known) = self.copied.get(&name) {
            return Ok(known);
        }
        let mut known = self.targets.get(&name).is_some_and(super::apply::Target::is_keyed);
        if known {
            self.run(&format!("LOCK TABLE {} IN ROW EXCLUSIVE MODE", sql::table(spec))).await?;
            let mut args = Args::new();
            args.add(sql::table(spec));
            let rows = self
                .fetch(
                    "SELECT a.attname::pg_catalog.text, a.atttypid::pg_catalog.int8, t.typtype OPERATOR(pg_catalog.=) 'e' \
                     FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid \
                     WHERE a.attrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1)::pg_catalog.oid \
                         AND a.attnum OPERATOR(pg_catalog.>) 0",
                    args,
                )
                .await?;
            let mut types: Vec<(String, i64, bool)> = Vec::with_capacity(rows.len());
            for row in &rows {
                types.push((get(row, 0)?, get(row, 1)?, get(row, 2)?));
            }
            known = spec.columns.iter().all(|column| {
                let wire = Wire::of(column);
                let mut stands = types.iter().filter(|(name, ..)| *name == column.name);
                stands.next().is_some_and(|(_, oid, is_enum)| wire.is_form_of(*oid, *is_enum))
            });
        }
        self.copied.insert(name, known);
        Ok(known)
    }
}

/// Why a copy was given up.
enum Failure {
    Server(sqlx::Error),
    /// A value that cannot be sent.
    Row(Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Failure {
        Failure::Server(error)
    }
}

async fn copy(
    session: &mut PgConnection,
    place: &Place,
    pid: i32,
    statement: &str,
    spec: &TableSpec,
    rows: &[&Row],
) -> std::result::Result<(), Failure> {
    let wires: Vec<Wire> = spec.columns.iter().map(Wire::of).collect();
    let mut copy = place.answer(pid, session.copy_in_raw(statement)).await?;
    let mut message = Vec::with_capacity(MESSAGE + MESSAGE / 8);
    message.extend_from_slice(HEAD);
    for row in rows {
        if let Err(error) = append(spec, &wires, row, &mut message) {
            place.answer(pid, copy.abort("a value cannot be sent")).await?;
            return Err(Failure::Row(error));
        }
        if message.len() >= MESSAGE {
            place.answer(pid, copy.send(&message[..])).await?;
            message.clear();
        }
    }
    message.extend_from_slice(TAIL);
    place.answer(pid, copy.send(&message[..])).await?;
    place.answer(pid, copy.finish()).await?;
    Ok(())
}

/// Appends a row: how many columns it has, and each value with its length.
fn append(spec: &TableSpec, wires: &[Wire], row: &Row, message: &mut Vec<u8>) -> Result<()> {
    // A table has at most 1,600 columns.
    message.extend_from_slice(&(wires.len() as u16).to_be_bytes());
    for ((wire, column), value) in wires.iter().zip(&spec.columns).zip(row.iter()) {
        wire.append(column, value, message)?;
    }
    Ok(())
}
