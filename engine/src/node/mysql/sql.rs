//! Pieces of SQL that many statements about a table share.

use super::quote;
use super::wire::{Args, Wire};
use crate::model::{Column, Cut, Domain, Key, TableSpec, Value};

/// Keys in one statement: few enough that the server looks each of them up.
pub const KEYS: usize = 500;

/// Parameters in one statement, of at most 65,535.
pub const PARAMETERS: usize = 60_000;

/// The condition that an entry `h` was not given up, see [`GIVEN_UP`](crate::node::GIVEN_UP).
pub const ALIVE: &str = "h.op <> 'X'";

/// The table itself.
pub fn table(spec: &TableSpec) -> String {
    quote::ident(&spec.local)
}

/// Its history, which carries the shared name.
pub fn history(spec: &TableSpec) -> String {
    quote::ident(&history_name(&spec.name))
}

pub fn history_name(shared: &str) -> String {
    quote::fitting("history_store_", shared)
}

/// The history's columns for the key. They are numbered, so that renaming a key column takes nothing away.
pub fn history_keys(spec: &TableSpec) -> impl Iterator<Item = String> {
    (1..=spec.key.len()).map(|number| format!("k{number}"))
}

/// The history's columns for the value of an image column before and after a change.
pub fn image_columns(at: usize) -> (String, String) {
    (format!("old_{at}"), format!("new_{at}"))
}

/// Whether a row of this key could stand in the table.
pub fn can_hold(spec: &TableSpec, key: &[Value]) -> bool {
    spec.key_columns().zip(key).all(|(column, value)| column.domain.holds(value).is_ok())
}

/// The key columns of a row that goes by an alias.
pub fn key_list(spec: &TableSpec, alias: &str) -> String {
    spec.key_columns().map(|column| quote::of(alias, &column.name)).collect::<Vec<_>>().join(", ")
}

pub fn wires(spec: &TableSpec) -> Vec<Wire> {
    spec.columns.iter().map(Wire::of).collect()
}

/// How a column comes back as it is.
pub fn outgoing(column: &Column, name: &str) -> String {
    match &column.domain {
        Domain::Uuid | Domain::Native(_) if !column.native.starts_with("bit") => {
            format!("CAST({name} AS CHAR)")
        }
        _ => name.to_owned(),
    }
}

/// Whether a column holds texts as they come, rather than labels.
fn is_text(column: &Column) -> bool {
    let is_label = column.native.starts_with("enum") || column.native.starts_with("set");
    matches!(column.domain, Domain::Text { .. }) && !is_label
}

/// Whether a collation takes different texts for different.
pub fn is_exact(collation: &str) -> bool {
    collation.contains("nopad_bin") || collation == "utf8mb4_0900_bin" || collation == "binary"
}

/// Whether texts that the column calls equal may be different ones, such as in case or in blanks at the end.
pub fn is_lenient(column: &Column) -> bool {
    is_text(column) && column.collation.as_deref().is_some_and(|collation| !is_exact(collation))
}

/// The collation and the character set of a column that cannot hold every letter.
fn narrow(column: &Column) -> Option<(&str, &str)> {
    let collation = column.collation.as_deref().filter(|_| is_text(column))?;
    let (charset, _) = collation.split_once('_')?;
    (!["utf8mb4", "uca1400"].contains(&charset)).then_some((collation, charset))
}

/// A parameter that is compared with a column. MySQL refuses a statement for one letter that the column's character set has not,
/// MariaDB a condition that the two differ. Such a letter becomes another instead.
fn mark(column: &Column) -> String {
    match narrow(column) {
        Some((collation, charset)) => {
            format!("CONVERT(CONVERT(? USING utf8mb4) USING {charset}) COLLATE {collation}")
        }
        None => parameter(column),
    }
}

/// A parameter of the column's own type. Decimals travel as texts, and MariaDB compares the two as floating-point numbers, to which
/// neighbours of many digits are the same, where it does not look them up in an index.
pub fn parameter(column: &Column) -> String {
    match &column.domain {
        Domain::Decimal { limits: Some((digits, scale)) } => format!("CAST(? AS DECIMAL({digits}, {scale}))"),
        _ => "?".to_owned(),
    }
}

/// The condition that a column has a value, by what the server takes for equal; adds the parameters. A text with letters that the
/// column's character set has not equals nothing.
pub fn equal(args: &mut Args, column: &Column, name: &str, wire: &Wire, value: &Value) -> String {
    let mark = mark(column);
    args.sought(column, wire, value);
    if narrow(column).is_none() {
        return format!("{name} = {mark}");
    }
    args.sought(column, wire, value).sought(column, wire, value);
    format!("({name} = {mark} AND {} = {})", exact(&mark), exact("?"))
}

/// A text such that only equal ones are equal.
pub fn exact(expression: &str) -> String {
    format!("CAST(CONVERT({expression} USING utf8mb4) AS BINARY)")
}

/// The condition that columns have the values of one of these keys, and exactly those; adds the parameters. A condition on
/// one column is a list, on several one alternative after the other: both are looked up in the index.
pub fn among<'v>(
    args: &mut Args,
    columns: &[(&Column, String)],
    keys: impl Iterator<Item = &'v [Value]> + Clone,
) -> String {
    matching(args, columns, keys, true)
}

/// The same by what the database takes for equal, which is more unless it is to be `exactly`.
pub fn matching<'v>(
    args: &mut Args,
    columns: &[(&Column, String)],
    keys: impl Iterator<Item = &'v [Value]> + Clone,
    exactly: bool,
) -> String {
    let wires: Vec<Wire> = columns.iter().map(|(column, _)| Wire::of(column)).collect();
    // What equals it to the server, or became so on its way, may be another text.
    let is_doubtful = |column: &Column| is_lenient(column) || narrow(column).is_some();
    if let ([(column, name)], [wire]) = (columns, &wires[..])
        && (exactly || narrow(column).is_none())
    {
        let list = |args: &mut Args| {
            let mut marks = Vec::new();
            for key in keys.clone() {
                args.sought(column, wire, &key[0]);
                marks.push(mark(column));
            }
            if marks.is_empty() { "NULL".to_owned() } else { marks.join(", ") }
        };
        let mut condition = format!("{name} IN ({})", list(args));
        if exactly && is_doubtful(column) {
            let binary: Vec<String> = keys.clone().map(|_| exact("?")).collect();
            list(args);
            condition += &format!(" AND {} IN ({})", exact(name), binary.join(", "));
        }
        return condition;
    }
    let mut alternatives = Vec::new();
    for key in keys {
        let mut parts = Vec::new();
        for (((column, name), wire), value) in columns.iter().zip(&wires).zip(key) {
            if !exactly {
                parts.push(equal(args, column, name, wire, value));
                continue;
            }
            args.sought(column, wire, value);
            parts.push(format!("{name} = {}", mark(column)));
            if is_doubtful(column) {
                args.sought(column, wire, value);
                parts.push(format!("{} = {}", exact(name), exact("?")));
            }
        }
        alternatives.push(format!("({})", parts.join(" AND ")));
    }
    if alternatives.is_empty() { "FALSE".to_owned() } else { format!("({})", alternatives.join(" OR ")) }
}

/// The condition that a row that goes by an alias has one of these keys.
pub fn with_keys(args: &mut Args, spec: &TableSpec, alias: &str, keys: &[&Key]) -> String {
    let columns: Vec<(&Column, String)> =
        spec.key_columns().map(|column| (column, quote::of(alias, &column.name))).collect();
    among(args, &columns, keys.iter().map(|key| &key[..]))
}

/// The condition that an entry `h` is about one of these keys.
pub fn of_keys(args: &mut Args, spec: &TableSpec, keys: &[&Key]) -> String {
    let columns: Vec<(&Column, String)> =
        spec.key_columns().zip(history_keys(spec)).map(|(column, name)| (column, format!("h.{name}"))).collect();
    among(args, &columns, keys.iter().map(|key| &key[..]))
}

/// A condition on an entry `h`, with its parameters: marks as literals would make each cycle's statements new ones, to be
/// prepared anew.
pub type Bound = (String, Vec<i64>);

/// What stands in place of the mark of an entry that has none yet: a mark can take its place where it lies, while one in place of
/// NULL makes the row longer, and takes the server more than twice as long. Histories made before hold NULL. Both come before
/// all marks in the index: who deletes by it also locks what comes after, and would wait for entries that are not committed.
pub const NO_MARK: i64 = -1;

/// Entries that have no mark yet, as conditions no two of which hold at once, each one place in the index by mark. What the
/// database holds is a constant, so that it knows how few there are.
pub fn unmarked() -> [Bound; 2] {
    ["h.mark IS NULL".to_owned(), format!("h.mark = {NO_MARK}")].map(|condition| (condition, Vec::new()))
}

/// The same as one condition, for entries that are found by something else.
pub fn is_unmarked() -> String {
    let [(null, _), (number, _)] = unmarked();
    format!("({null} OR {number})")
}

fn list(marks: &[i64]) -> String {
    vec!["?"; marks.len()].join(", ")
}

/// The condition that an entry `h` lies beyond a cut, as separate conditions no two of which hold at once, each a range of
/// the index by mark. Entries that have no mark yet are in none of them.
pub fn beyond(cut: &Cut) -> Vec<Bound> {
    let divided: Vec<i64> = cut.inside().iter().map(|(mark, _)| *mark).collect();
    let open: Vec<i64> = cut.open().iter().copied().filter(|mark| !divided.contains(mark)).collect();
    let mut parts = Vec::new();
    if !open.is_empty() {
        parts.push((format!("h.mark IN ({})", list(&open)), open));
    }
    let mut rest = "h.mark >= ?".to_owned();
    if !divided.is_empty() {
        rest += &format!(" AND h.mark NOT IN ({})", list(&divided));
    }
    parts.push((rest, [&[cut.next()], &divided[..]].concat()));
    let inside = cut.inside().iter();
    parts.extend(inside.map(|(mark, last)| ("h.mark = ? AND h.id > ?".to_owned(), vec![*mark, *last])));
    parts
}

/// The condition that an entry `h` lies before a cut.
pub fn passed(cut: &Cut) -> Bound {
    let mut marks = [&[cut.next()], cut.open()].concat();
    let mut parts = vec![match cut.open() {
        [] => format!("(h.mark > {NO_MARK} AND h.mark < ?)"),
        open => format!("(h.mark > {NO_MARK} AND h.mark < ? AND h.mark NOT IN ({}))", list(open)),
    }];
    for (mark, last) in cut.inside() {
        parts.push("(h.mark = ? AND h.id <= ?)".to_owned());
        marks.extend([mark, last]);
    }
    (format!("({})", parts.join(" OR ")), marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_become_ranges() {
        let cut = Cut::new(9, vec![4, 6]).extend_inside(6, 30).extend_inside(12, 70);
        assert_eq!(
            beyond(&cut),
            [
                ("h.mark IN (?)".to_owned(), vec![4]),
                ("h.mark >= ? AND h.mark NOT IN (?, ?)".to_owned(), vec![9, 6, 12]),
                ("h.mark = ? AND h.id > ?".to_owned(), vec![6, 30]),
                ("h.mark = ? AND h.id > ?".to_owned(), vec![12, 70])
            ]
        );
        let either = "((h.mark > -1 AND h.mark < ? AND h.mark NOT IN (?, ?)) \
             OR (h.mark = ? AND h.id <= ?) OR (h.mark = ? AND h.id <= ?))";
        assert_eq!(passed(&cut), (either.to_owned(), vec![9, 4, 6, 6, 30, 12, 70]));
        assert_eq!(beyond(&Cut::START), [("h.mark >= ?".to_owned(), vec![0])]);
    }
}
