//! Reading a whole table, page by page: a statement that stands open between two pages would keep the connection on one
//! thread.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row as DbRow};

use super::failure::Told;
use super::schema::Table;
use super::{history, quote, types};
use crate::model::{Key, TableSpec, Value};
use crate::node::scan::{LOT, Scanned};
use crate::node::{Error, ErrorKind, Result};

/// A stored value, text that is none included.
enum Mark {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

/// How pages of a table follow each other.
pub(super) struct Pages {
    /// The first page, and one that begins after what ?1 and so on say.
    first: String,
    next: String,
    /// How many columns come before those of the row, and tell where a page ended.
    marks: usize,
    /// Without any: rows passed so far are counted.
    passed: i64,
    after: Vec<Mark>,
}

impl Pages {
    pub(super) fn of(db: &Connection, spec: &TableSpec) -> Result<Pages> {
        let doing = || format!("reading the catalogue of `{}`", spec.local);
        let gone = || Error::new(ErrorKind::Drift, format!("the table `{}` is not there any more", spec.local));
        let table = Table::read(db, &spec.local).told(doing)?.ok_or_else(gone)?;
        let free = |name: &&str| !table.columns.iter().any(|field| field.name.eq_ignore_ascii_case(name));
        let rowid = ["rowid", "_rowid_", "oid"].into_iter().find(free);
        // The order of the index that holds the rows, so that a page begins where the one before it ended.
        let marks: Vec<String> = match rowid {
            _ if table.without_rowid => {
                let parts = table.key_names().zip(&table.collations);
                parts
                    .map(|(name, collation)| format!("{} COLLATE {}", quote::name(name), quote::name(collation)))
                    .collect()
            }
            Some(rowid) => vec![rowid.to_owned()],
            None => Vec::new(),
        };
        let columns = quote::names(spec.columns.iter().map(|column| column.name.as_str()));
        let (columns, target) = (
            marks.iter().map(String::as_str).chain([columns.as_str()]).collect::<Vec<_>>().join(", "),
            quote::name(&spec.local),
        );
        let (first, next) = match marks.len() {
            // All names of the rowid are taken. Rows are passed over in the order in which they lie.
            0 => {
                let all = format!("SELECT {columns} FROM {target} NOT INDEXED LIMIT -1 OFFSET ?1");
                (all.clone(), all)
            }
            count => {
                let order = marks.join(", ");
                let numbers = (1..=count).map(|number| format!("?{number}")).collect::<Vec<_>>().join(", ");
                let (left, right) =
                    if count == 1 { (order.clone(), numbers) } else { (format!("({order})"), format!("({numbers})")) };
                (
                    format!("SELECT {columns} FROM {target} ORDER BY {order}"),
                    format!("SELECT {columns} FROM {target} WHERE {left} > {right} ORDER BY {order}"),
                )
            }
        };
        Ok(Pages { first, next, marks: marks.len(), passed: 0, after: Vec::new() })
    }

    /// The next rows, and whether there are more.
    pub(super) fn read(&mut self, db: &Connection, spec: &TableSpec) -> Result<(Vec<Scanned>, bool)> {
        let doing = || format!("reading `{}`", spec.local);
        let sql = if self.passed == 0 { &self.first } else { &self.next };
        let mut statement = db.prepare_cached(sql).told(doing)?;
        if self.marks == 0 {
            statement.raw_bind_parameter(1, self.passed).told(doing)?;
        }
        for (mark, at) in self.after.iter().zip(1..) {
            statement.raw_bind_parameter(at, mark.bound()).told(doing)?;
        }
        let mut found = statement.raw_query();
        let (mut rows, mut weight) = (Vec::new(), 0);
        while let Some(row) = found.next().told(doing)? {
            self.passed += 1;
            let scanned = self.scanned(row, spec).told(doing)?;
            weight += scanned.as_ref().map_or(0, |row| row.iter().map(Value::weight).sum()) + 64;
            rows.push(scanned);
            if weight >= LOT {
                let mark = |at| row.get_ref(at).map(Mark::of);
                self.after = (0..self.marks).map(mark).collect::<rusqlite::Result<_>>().told(doing)?;
                return Ok((rows, true));
            }
        }
        Ok((rows, false))
    }

    fn scanned(&self, row: &DbRow<'_>, spec: &TableSpec) -> rusqlite::Result<Scanned> {
        let cell = |&at: &usize| -> rusqlite::Result<Value> {
            Ok(types::decode_key(&spec.columns[at], row.get_ref(self.marks + at)?))
        };
        let key: Key = spec.key.iter().map(cell).collect::<rusqlite::Result<_>>()?;
        if let Some(why) = history::oddity(spec, &key) {
            return Ok(Err((key, why)));
        }
        match history::read_row_at(row, self.marks, spec) {
            Ok(row) => Ok(Ok(row)),
            Err(why) => Ok(Err((key, why))),
        }
    }
}

impl Mark {
    fn of(cell: ValueRef<'_>) -> Mark {
        match cell {
            ValueRef::Null => Mark::Null,
            ValueRef::Integer(v) => Mark::Integer(v),
            ValueRef::Real(v) => Mark::Real(v),
            ValueRef::Text(v) => Mark::Text(v.to_vec()),
            ValueRef::Blob(v) => Mark::Blob(v.to_vec()),
        }
    }

    fn bound(&self) -> ToSqlOutput<'_> {
        ToSqlOutput::Borrowed(match self {
            Mark::Null => ValueRef::Null,
            Mark::Integer(v) => ValueRef::Integer(*v),
            Mark::Real(v) => ValueRef::Real(*v),
            Mark::Text(v) => ValueRef::Text(v),
            Mark::Blob(v) => ValueRef::Blob(v),
        })
    }
}
