//! The journal: what lost, in Concord's own table.

use std::sync::Arc;

use super::schema::get;
use super::service::{damaged, kept_column, key_from_text, key_text, table_at};
use super::wire::Args;
use super::{Postgres, copy};
use crate::model::{KeptRow, Lost, NodeId, Row, TableSpec, Value, former_key};
use crate::node::portions::portions;
use crate::node::{Error, ErrorKind, Result, Sought};

/// Entries in one statement: the server keeps a statement's rows in `work_mem` (4 MiB unless configured) and
/// spills what is more to the disk.
const PAGE: usize = 1_000;

impl Postgres {
    pub(super) async fn write_journal(&mut self, tables: &[TableSpec], lost: &[&Lost], again: bool) -> Result<()> {
        let mut entries = Vec::with_capacity(lost.len());
        for &lost in lost {
            let (table, loser) = (table_at(tables, lost.table)?, self.node_name(lost.loser)?);
            entries.push(Entry { lost, table, loser, winner: self.node_name(lost.winner)? });
        }
        if !again && self.tells && entries.len() >= copy::WORTH {
            let statement = format!("COPY concord.journal ({COLUMNS}) FROM STDIN (FORMAT binary)");
            return self.copy_own(&statement, entries.iter(), Entry::append).await;
        }
        // No index helps to find an entry: each would pay for it, and few are ever looked for.
        let unknown = "WHERE NOT EXISTS (SELECT FROM concord.journal AS j \
                       WHERE j.id OPERATOR(pg_catalog.=) u.id AND j.loser OPERATOR(pg_catalog.=) u.loser \
                       AND j.loser_time OPERATOR(pg_catalog.=) u.loser_time)";
        let columns = if self.tells { COLUMNS.to_owned() } else { COLUMNS.replace(" told,", "") };
        let statement = format!(
            "INSERT INTO concord.journal ({columns}) SELECT {columns} FROM unnest({ARRAYS}) AS u ({COLUMNS}) {}",
            if again { unknown } else { "" }
        );
        for page in portions(entries.iter().map(Entry::weight), PAGE) {
            self.execute(&statement, Entry::args(&entries[page])).await?;
        }
        Ok(())
    }

    /// What can be told of the journal, and what the condition asks for.
    async fn told(&mut self, tables: &[TableSpec]) -> Result<(Args, &'static str)> {
        self.check_service().await?;
        let mut args = Args::new();
        args.add(tables.iter().map(|table| table.name.clone()).collect::<Vec<_>>()).add(self.names.clone());
        // What a node lost or won that is no longer in the sync is kept, but cannot be told.
        let told = "concord.journal WHERE \"table\" = ANY ($1::pg_catalog.text[]) \
                    AND loser = ANY ($2::pg_catalog.text[]) AND winner = ANY ($2::pg_catalog.text[])";
        Ok((args, told))
    }

    pub(super) async fn count_journal(&mut self, tables: &[TableSpec]) -> Result<u64> {
        let (args, told) = self.told(tables).await?;
        let rows = self.fetch(format!("SELECT pg_catalog.count(*) FROM (SELECT DISTINCT id, loser, loser_time FROM {told}) AS all_that_lost"), args).await?;
        Ok(get::<i64>(&rows[0], 0)?.unsigned_abs())
    }

    pub(super) async fn count_whole_journal(&mut self) -> Result<u64> {
        self.check_service().await?;
        let counted = "SELECT pg_catalog.count(*) FROM (SELECT DISTINCT id, loser, loser_time FROM concord.journal) AS all_that_lost";
        let rows = self.fetch(counted, Args::new()).await?;
        Ok(get::<i64>(&rows[0], 0)?.unsigned_abs())
    }

    /// See [`crate::node::Node::trim_journal`].
    pub(super) async fn delete_journal(&mut self, before: i64, most: usize) -> Result<u64> {
        let mut args = Args::new();
        args.add(before).add(most as i64);
        let old = "ARRAY(SELECT ctid FROM concord.journal WHERE decided OPERATOR(pg_catalog.<) $1 \
                   ORDER BY decided LIMIT $2::pg_catalog.int8)";
        self.execute(format!("DELETE FROM concord.journal WHERE ctid = ANY ({old})"), args).await
    }

    pub(super) async fn read_journal(
        &mut self,
        tables: &[TableSpec],
        sought: Sought<'_>,
        limit: usize,
    ) -> Result<Vec<Lost>> {
        let (mut args, told) = self.told(tables).await?;
        args.add(if limit == 0 { None } else { Some(limit as i64) });
        let wanted = match (sought, tables) {
            // One number may be spelled in several ways.
            (Sought::Key(key), [table]) if !key.iter().any(|value| matches!(value, Value::Decimal(_))) => {
                args.add(key_text(table, key));
                " AND key OPERATOR(pg_catalog.=) $4"
            }
            (Sought::Id(begins), _) => {
                args.add(begins);
                " AND pg_catalog.starts_with(id, $4)"
            }
            _ => "",
        };
        let statement = format!(
            "SELECT id, loser, \"table\", key, decided, winner, winner_time, winner_row, loser_time, loser_row, reason, \
                {} FROM {told}{wanted} ORDER BY decided DESC, id DESC, loser LIMIT $3::pg_catalog.int8",
            if self.tells { "told" } else { "NULL::pg_catalog.text" }
        );
        let rows = self.fetch(statement, args).await?;
        let mut lost = Vec::with_capacity(rows.len());
        for row in &rows {
            let name: String = get(row, 2)?;
            let damaged = || damaged("journal", &name);
            let table = tables.iter().find(|table| table.name == name).ok_or_else(damaged)?;
            let written: String = get(row, 3)?;
            let Some(key) = key_from_text(table, &written).or_else(|| former_key(&written)) else { continue };
            let node = |at| -> Result<NodeId> { self.node_id(&get::<String>(row, at)?).ok_or_else(damaged) };
            let kept = |at| kept_column(table, row, at)?.map_err(|()| damaged());
            let (winner_row, winner_unknown) = KeptRow::parts(kept(7)?);
            let (loser_row, loser_unknown) = KeptRow::parts(kept(9)?);
            lost.push(Lost {
                id: get(row, 0)?,
                table: table.index,
                key,
                decided: get(row, 4)?,
                winner: node(5)?,
                winner_time: get(row, 6)?,
                winner_row,
                winner_unknown,
                loser: node(1)?,
                loser_time: get(row, 8)?,
                loser_row,
                loser_unknown,
                reason: get(row, 10)?,
                told: get::<Option<String>>(row, 11)?.map(Arc::from),
            });
        }
        Ok(lost)
    }
}

const COLUMNS: &str =
    "id, loser, \"table\", winner, key, winner_row, loser_row, reason, told, decided, winner_time, loser_time";

/// The columns as parameters, see [`Entry::args`].
const ARRAYS: &str = "$1::pg_catalog.text[], $2::pg_catalog.text[], $3::pg_catalog.text[], $4::pg_catalog.text[], \
    $5::pg_catalog.text[], $6::pg_catalog.text[], $7::pg_catalog.text[], $8::pg_catalog.text[], $9::pg_catalog.text[], \
    $10::pg_catalog.int8[], $11::pg_catalog.int8[], $12::pg_catalog.int8[]";

/// What is written of one that lost: texts, of which those of the rows and what was told beside them may be missing, and times.
struct Entry<'a> {
    lost: &'a Lost,
    table: &'a TableSpec,
    loser: String,
    winner: String,
}

impl Entry<'_> {
    const TEXTS: usize = 9;

    fn weight(&self) -> usize {
        let rows = [&self.lost.winner_row, &self.lost.loser_row].into_iter().flatten();
        let told = self.lost.told.as_deref().map_or(0, str::len);
        told + rows.flat_map(|row| row.iter()).map(Value::weight).sum::<usize>()
    }

    fn row(&self, row: Option<&Row>, unknown: &[usize], out: &mut Vec<u8>) -> bool {
        row.map(|row| self.table.keep_into(row, unknown, out)).is_some()
    }

    /// The text of a column, by its place; `false` if it has none.
    fn text(&self, at: usize, out: &mut Vec<u8>) -> bool {
        let lost = self.lost;
        let text: &str = match at {
            0 => &lost.id,
            1 => &self.loser,
            2 => &self.table.name,
            3 => &self.winner,
            4 => &key_text(self.table, &lost.key),
            5 => return self.row(lost.winner_row.as_deref(), &lost.winner_unknown, out),
            6 => return self.row(lost.loser_row.as_deref(), &lost.loser_unknown, out),
            7 => &lost.reason.replace('\0', "\u{FFFD}"),
            _ => match lost.told.as_deref() {
                Some(told) => told,
                None => return false,
            },
        };
        out.extend_from_slice(text.as_bytes());
        true
    }

    fn times(&self) -> [i64; 3] {
        [self.lost.decided, self.lost.winner_time, self.lost.loser_time]
    }

    /// The entries by columns: the parameters of an INSERT.
    fn args(entries: &[Entry<'_>]) -> Args {
        let mut args = Args::new();
        for at in 0..Self::TEXTS {
            args.texts(entries.iter(), |entry, out| entry.text(at, out));
        }
        for at in 0..3 {
            args.add(entries.iter().map(|entry| entry.times()[at]).collect::<Vec<_>>());
        }
        args
    }

    /// The entry as a copy takes it.
    fn append(&self, out: &mut Vec<u8>) -> Result<()> {
        let times = self.times();
        out.extend_from_slice(&((Self::TEXTS + times.len()) as u16).to_be_bytes());
        for column in 0..Self::TEXTS {
            let at = out.len();
            out.extend_from_slice(&(-1i32).to_be_bytes());
            if self.text(column, out) {
                let length = i32::try_from(out.len() - at - 4).map_err(|_| {
                    Error::new(ErrorKind::Value, format!("a row of `{}` is too large for the journal", self.table.name))
                })?;
                out[at..at + 4].copy_from_slice(&length.to_be_bytes());
            }
        }
        for time in times {
            out.extend_from_slice(&8i32.to_be_bytes());
            out.extend_from_slice(&time.to_be_bytes());
        }
        Ok(())
    }
}
