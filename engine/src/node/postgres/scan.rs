//! Reading a whole table: COPY in binary form, which costs both sides less than a result of rows.

use futures::TryStreamExt;
use sqlx::postgres::PgConnection;

use super::connect::Place;
use super::wire::Wire;
use super::{Postgres, quote, sql};
use crate::model::{Key, Row, TableSpec, Value};
use crate::node::scan::{LOT, Lot, Lots, Scanned};
use crate::node::{Error, ErrorKind, Result};

/// With what a copy begins: a signature and four bytes of flags, then the length of what may follow.
const HEAD: usize = 19;

impl Postgres {
    pub(super) async fn scan_table(&mut self, table: &TableSpec, lots: &Lots) -> Result<()> {
        // The snapshot is set up for finding a few rows by an index.
        self.run("SET LOCAL enable_seqscan = on").await?;
        let done = self.copy_out(table, lots).await;
        if done.is_err() {
            // What is left of the copy would be taken for the answer to what is asked next.
            self.session = None;
        }
        done?;
        self.run("SET LOCAL enable_seqscan = off").await
    }

    async fn copy_out(&mut self, table: &TableSpec, lots: &Lots) -> Result<()> {
        let reader = Reader::of(table);
        let columns = table.columns.iter().zip(&reader.wires);
        let columns: Vec<String> =
            columns.map(|(column, wire)| wire.outgoing(&format!("t.{}", quote::ident(&column.name)))).collect();
        let statement =
            format!("COPY (SELECT {} FROM {} AS t) TO STDOUT (FORMAT binary)", columns.join(", "), sql::table(table));
        let (session, place, pid) = self.connection()?;
        match copy(session, place, pid, &statement, reader, lots).await {
            Ok(sent) => sent,
            Err(error) => Err(self.fail(error)),
        }
    }
}

/// Sends what the statement gives; fails on the inside if nobody takes it.
async fn copy(
    session: &mut PgConnection,
    place: &Place,
    pid: i32,
    statement: &str,
    reader: Reader,
    lots: &Lots,
) -> sqlx::Result<Result<()>> {
    let mut rows = place.answer(pid, session.copy_out_raw(statement)).await?;
    // Every message holds whole rows; the first begins with the head of the copy.
    let mut raw: Vec<u8> = Vec::with_capacity(LOT + LOT / 8);
    let mut head = HEAD;
    while let Some(message) = place.answer(pid, rows.try_next()).await? {
        let skipped = head.min(message.len());
        head -= skipped;
        raw.extend_from_slice(&message[skipped..]);
        if raw.len() >= LOT {
            let full = std::mem::replace(&mut raw, Vec::with_capacity(LOT + LOT / 8));
            let reader = reader.clone();
            if let Err(error) = lots.send(Lot::packed(move |take| reader.read(&full, take))).await {
                return Ok(Err(error));
            }
        }
    }
    Ok(lots.send(Lot::packed(move |take| reader.read(&raw, take))).await)
}

/// How a row of a copy is read.
#[derive(Clone)]
struct Reader {
    wires: Vec<Wire>,
    names: Vec<String>,
    key: Vec<usize>,
}

impl Reader {
    fn of(table: &TableSpec) -> Reader {
        Reader {
            wires: table.columns.iter().map(Wire::of).collect(),
            names: table.columns.iter().map(|column| column.name.clone()).collect(),
            key: table.key.clone(),
        }
    }

    fn read(&self, mut raw: &[u8], mut take_row: impl FnMut(Scanned)) -> Result<()> {
        while !raw.is_empty() {
            match i16::from_be_bytes(take(&mut raw)?) {
                // The end of the copy.
                -1 => break,
                fields if usize::try_from(fields).is_ok_and(|fields| fields == self.wires.len()) => {
                    take_row(self.row(&mut raw)?);
                }
                _ => return Err(broken()),
            }
        }
        Ok(())
    }

    fn row(&self, raw: &mut &[u8]) -> Result<Scanned> {
        let mut cells: Vec<Value> = Vec::with_capacity(self.wires.len());
        let mut odd: Option<String> = None;
        for (wire, name) in self.wires.iter().zip(&self.names) {
            let cell = match i32::from_be_bytes(take(raw)?) {
                -1 => Value::Null,
                length => {
                    let length = usize::try_from(length).map_err(|_| broken())?;
                    let (cell, rest) = raw.split_at_checked(length).ok_or_else(broken)?;
                    *raw = rest;
                    wire.decode(cell).unwrap_or_else(|why| {
                        odd.get_or_insert_with(|| format!("column {name} {why}"));
                        Value::Null
                    })
                }
            };
            cells.push(cell);
        }
        Ok(match odd {
            None => Ok(Row::from(cells)),
            Some(why) => Err((self.key.iter().map(|&at| cells[at].clone()).collect::<Key>(), why)),
        })
    }
}

fn take<const N: usize>(raw: &mut &[u8]) -> Result<[u8; N]> {
    let (first, rest) = raw.split_first_chunk().ok_or_else(broken)?;
    *raw = rest;
    Ok(*first)
}

fn broken() -> Error {
    Error::new(ErrorKind::Other, "COPY gave rows in an unknown form")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> Reader {
        Reader { wires: vec![Wire::Int4, Wire::Text], names: vec!["id".into(), "name".into()], key: vec![0] }
    }

    fn read(raw: &[u8]) -> Result<Vec<Scanned>> {
        let mut rows = Vec::new();
        reader().read(raw, |row| rows.push(row)).map(|()| rows)
    }

    #[test]
    fn rows_are_read_whole_or_not_at_all() {
        let one = b"\0\x02\0\0\0\x04\0\0\0\x07\0\0\0\x01x";
        let raw = [&one[..], b"\0\x02\0\0\0\x04\0\0\0\x08\xff\xff\xff\xff", b"\xff\xff"].concat();
        let rows: Vec<Row> = read(&raw).unwrap().into_iter().map(|row| row.unwrap()).collect();
        assert_eq!(*rows[0], [Value::Int(7), Value::text("x")]);
        assert_eq!(*rows[1], [Value::Int(8), Value::Null]);
        for end in 1..one.len() {
            assert!(read(&one[..end]).is_err(), "{end}");
        }
        assert!(read(b"\0\x03").is_err());
    }

    #[test]
    fn what_cannot_be_carried_comes_with_its_key() {
        let rows = read(b"\0\x02\0\0\0\x04\0\0\0\x07\0\0\0\x01\xff").unwrap();
        let (key, why) = rows[0].clone().unwrap_err();
        assert_eq!((&*key, why.as_str()), (&[Value::Int(7)][..], "column name holds text that is not UTF-8"));
    }
}
