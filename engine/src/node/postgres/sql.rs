//! Pieces of SQL that many statements about a table share.

use super::schema::schema_of;
use super::wire::{Args, Wire};
use super::{HISTORY, Postgres, quote};
use crate::model::{Column, Cut, Key, TableSpec, Value};

/// The condition that an entry `h` was not given up, see [`GIVEN_UP`](crate::node::GIVEN_UP).
pub const ALIVE: &str = "h.op OPERATOR(pg_catalog.<>) 'X'::pg_catalog.\"char\"";

/// The table itself.
pub fn table(spec: &TableSpec) -> String {
    quote::table(schema_of(spec), &spec.local)
}

/// Its history, which carries the shared name.
pub fn history(spec: &TableSpec) -> String {
    quote::table(HISTORY, &history_name(&spec.name))
}

pub fn history_name(shared: &str) -> String {
    quote::fitting("", shared)
}

/// The history's columns for the key. They are numbered, so that renaming a key column takes nothing away.
pub fn history_keys(spec: &TableSpec) -> impl Iterator<Item = String> {
    (1..=spec.key.len()).map(|number| format!("k{number}"))
}

/// The history's column for the value of an image column before and after a change.
pub fn image_columns(column: &Column) -> (String, String) {
    (quote::fitting("old_", &column.name), quote::fitting("new_", &column.name))
}

/// Whether a row of this key could stand in the table. A key that no column can hold is nobody's, and must not find the row
/// that it would be cut, padded or rounded to.
pub fn can_hold(spec: &TableSpec, key: &[Value]) -> bool {
    let mut scratch = Vec::new();
    spec.key_columns()
        .zip(key)
        .all(|(column, value)| column.domain.holds(value).is_ok() && Wire::of(column).encode(value, &mut scratch))
}

/// Keys as a table `u (k1, k2, …, n)`, n counting from 1; adds the parameters. What a column cannot hold is NULL there.
pub fn keys<'v>(args: &mut Args, spec: &TableSpec, keys: impl Iterator<Item = &'v [Value]> + Clone) -> String {
    rowset(args, spec.key_columns().enumerate(), keys, "u", 'k')
}

/// Values by position as a table `alias (c0, c1, …, n)`: a parameter for each column, an element for each row.
pub fn rowset<'s, 'v>(
    args: &mut Args,
    columns: impl Iterator<Item = (usize, &'s Column)>,
    rows: impl Iterator<Item = &'v [Value]> + Clone,
    alias: &str,
    letter: char,
) -> String {
    let (mut parameters, mut names) = (Vec::new(), Vec::new());
    for (at, column) in columns {
        let wire = Wire::of(column);
        let cells = rows.clone().map(|row| &row[at]);
        let _ = if letter == 'k' { args.sought(column, &wire, cells) } else { args.cells(column, &wire, cells) };
        parameters.push(wire.parameter(args.count()));
        // Keys are numbered as in the history, columns as in the row.
        names.push(format!("{letter}{}", if letter == 'k' { at + 1 } else { at }));
    }
    format!("{} WITH ORDINALITY AS {alias} ({}, n)", unnest(&parameters), names.join(", "))
}

/// Arrays side by side. With several arguments the bare name always means the built-in function, and only the bare name
/// takes several.
pub fn unnest(arrays: &[String]) -> String {
    let qualified = if arrays.len() == 1 { "pg_catalog." } else { "" };
    format!("{qualified}unnest({})", arrays.join(", "))
}

/// Rows of a list of keys, as [`keys`] wants them.
pub fn cells<'v>(keys: &'v [&'v Key]) -> impl Iterator<Item = &'v [Value]> + Clone {
    keys.iter().map(|key| &key[..])
}

/// The condition that an entry `h` lies beyond a cut, as separate conditions no two of which hold at once, each a range
/// of the index (xid, id); adds the parameters.
pub fn beyond(args: &mut Args, cut: &Cut) -> Vec<String> {
    let divided = |mark: &i64| cut.inside().iter().any(|(inside, _)| inside == mark);
    args.marks(cut.open().iter().copied().filter(|open| !divided(open)));
    let mut parts = vec![format!("h.xid OPERATOR(pg_catalog.=) ANY (${}::pg_catalog.xid8[])", args.count())];
    args.mark(cut.next());
    let mut rest = format!("h.xid OPERATOR(pg_catalog.>=) ${}::pg_catalog.xid8", args.count());
    if !cut.inside().is_empty() {
        args.marks(cut.inside().iter().map(|(mark, _)| *mark));
        rest += &format!(" AND h.xid OPERATOR(pg_catalog.<>) ALL (${}::pg_catalog.xid8[])", args.count());
    }
    parts.push(rest);
    for &(mark, last) in cut.inside() {
        args.mark(mark).add(last);
        let at = args.count();
        parts.push(format!(
            "h.xid OPERATOR(pg_catalog.=) ${}::pg_catalog.xid8 AND h.id OPERATOR(pg_catalog.>) ${at}",
            at - 1
        ));
    }
    parts
}

impl Postgres {
    /// `left = right` for a column's values, by the operator that the column's type compares by. The right side comes
    /// from a parameter.
    pub(super) fn equal(&self, column: &Column, left: &str, right: &str) -> String {
        let operator = self.equality(&column.native);
        format!("{} OPERATOR({operator}) {}", self.plain(column, left), self.sought(column, right))
    }

    /// A value as it stands in a table, of which operators can be found: those of enums take no domain over one. Indexes serve as well.
    pub(super) fn plain(&self, column: &Column, value: &str) -> String {
        match self.is_enum(&column.native) {
            true => format!("CAST({value} AS {})", column.native),
            false => value.to_owned(),
        }
    }

    /// An element of a parameter as a value of the column; NULL where it is a label that an enum lacks.
    pub(super) fn sought(&self, column: &Column, element: &str) -> String {
        let value = Wire::of(column).incoming(element);
        match self.is_enum(&column.native) {
            false => value,
            true => format!(
                "CASE WHEN {element} OPERATOR(pg_catalog.=) \
                 ANY (pg_catalog.enum_range(NULL::{})::pg_catalog.text[]) THEN {value} END",
                column.native
            ),
        }
    }

    /// That the rows `t` and `u` have the same key, `t` being the table and `u` from [`keys`].
    pub(super) fn same_key(&self, spec: &TableSpec) -> String {
        let pairs = spec.key_columns().enumerate();
        let equal = pairs.map(|(at, column)| {
            self.equal(column, &format!("t.{}", quote::ident(&column.name)), &format!("u.k{}", at + 1))
        });
        equal.collect::<Vec<_>>().join(" AND ")
    }

    /// That the entry `h` is about the key `u`.
    pub(super) fn same_entry_key(&self, spec: &TableSpec) -> String {
        let pairs = spec.key_columns().zip(history_keys(spec));
        let equal = pairs.map(|(column, name)| self.equal(column, &format!("h.{name}"), &format!("u.{name}")));
        equal.collect::<Vec<_>>().join(" AND ")
    }
}
