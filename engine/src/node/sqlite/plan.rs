//! The statements that read and write one table, worked out once per transaction.

use rusqlite::Connection;

use super::failure::Told;
use super::install::history_name;
use super::schema::{self, Index, Table};
use super::{capture, quote};
use crate::model::TableSpec;
use crate::node::{Error, ErrorKind, Result};

pub(super) struct Plan {
    /// All columns of the row of a key; the key is bound from ?1 on.
    pub select: String,
    /// The same for a key of which a part is NULL.
    pub select_null: String,
    /// Rows in the order of their keys, from the beginning; how many at most is bound last, here and below.
    pub walk: String,
    /// The same behind a key that is bound from ?1 on.
    pub walk_on: String,
    /// The rows of which a part of the key is NULL, if there can be any.
    pub walk_keyless: Option<String>,
    pub delete_one: String,
    /// `None` where a key has to be compared part by part.
    pub delete: Option<Many>,
    /// Creates or replaces; `None` where that has to be done in two steps, as where only what is created has to satisfy a column that
    /// takes no NULL and is not written.
    pub upsert: Option<Many>,
    /// The whole row is bound from ?1 on, here and below.
    pub insert: String,
    /// Creates unless the key is there; `None` where that has to be looked up, see there.
    pub insert_only: Option<Many>,
    /// `None` if the key is all there is.
    pub update: Option<String>,
    /// Whether a row is there, by its key alone.
    pub exists: String,
    /// Whether what is written may make the database change other rows, which have to be recorded.
    pub reacts: bool,
    pub has_user_triggers: bool,
    /// The history table, quoted.
    pub history: String,
    /// Its columns for an entry: the fixed ones, the key, the images.
    pub entry_columns: String,
    pub keys: String,
    /// Unique columns whose changes references hand on to other rows.
    followed: Vec<String>,
    /// Unique indexes that are not the key.
    pub uniques: Vec<Index>,
    /// Columns that the database works out.
    pub generated: Vec<String>,
    /// How a key is found, bound from a given number on.
    condition: Vec<(String, bool, bool)>,
}

/// A statement for any number of rows or keys, whose values are bound one after the other.
pub(super) struct Many {
    head: String,
    item: String,
    tail: String,
}

impl Many {
    pub(super) fn sql(&self, count: usize) -> String {
        let items = std::iter::repeat_n(self.item.as_str(), count).collect::<Vec<_>>().join(", ");
        format!("{}{items}{}", self.head, self.tail)
    }
}

impl Plan {
    pub(super) fn new(db: &Connection, spec: &TableSpec) -> Result<Plan> {
        let doing = || format!("reading the catalogue of `{}`", spec.local);
        let table = Table::read(db, &spec.local).told(doing)?;
        let table = table
            .ok_or_else(|| Error::new(ErrorKind::Drift, format!("the table `{}` is not there any more", spec.local)))?;
        let followed = schema::followed_columns(db, &table.name).told(doing)?;
        let is_key = |name: &str| spec.key_columns().any(|column| column.name.eq_ignore_ascii_case(name));
        let user_triggers = schema::user_triggers(db, &table.name).told(doing)?;
        let part = |column: &crate::model::Column| {
            let part = table.key_names().position(|name| name == column.name);
            let lax = part.is_some_and(|part| table.is_lax(part));
            (quote::name(&column.name), column.nullable, lax)
        };
        let condition: Vec<_> = spec.key_columns().map(part).collect();
        let lax = condition.iter().any(|(.., lax)| *lax);
        let target = quote::name(&spec.local);
        let columns = quote::names(spec.columns.iter().map(|column| column.name.as_str()));
        let key = quote::names(spec.key_columns().map(|column| column.name.as_str()));
        let marks = |count: usize| format!("({})", vec!["?"; count].join(", "));
        let others: Vec<(usize, String)> = (0..spec.columns.len())
            .filter(|at| !spec.key.contains(at))
            .map(|at| (at + 1, quote::name(&spec.columns[at].name)))
            .collect();
        // An OR clause overrules what the table's definition says about conflicts, such as to delete the other row, but
        // also what the users' triggers say about theirs; those of an upsert's update are overruled in any case.
        let clause = table.is_overruled(!user_triggers.is_empty());
        let or = if clause { " OR ABORT" } else { "" };
        let set = |value: &dyn Fn(usize, &str) -> String| {
            others.iter().map(|(at, name)| format!("{name} = {}", value(*at, name))).collect::<Vec<_>>().join(", ")
        };
        let insert = format!("INSERT{or} INTO {target} ({columns}) VALUES ");
        let many_rows = |then: &str| Many {
            head: insert.clone(),
            item: marks(spec.columns.len()),
            tail: format!(" ON CONFLICT ({key}) DO {then}"),
        };
        let do_update = match others.is_empty() {
            true => "NOTHING".to_owned(),
            false => format!("UPDATE SET {}", set(&|_, name| format!("excluded.{name}"))),
        };
        let by_row = found_by(&condition, &spec.key.iter().map(|at| at + 1).collect::<Vec<_>>(), false);
        let numbers: Vec<usize> = (1..=condition.len()).collect();
        let by_key = found_by(&condition, &numbers, false);
        // Where keys that differ may be equal by the column's collation, the order has to tell them apart.
        let exactly = |(name, _, lax): &(String, bool, bool)| match lax {
            true => format!("{name} COLLATE BINARY"),
            false => name.clone(),
        };
        let ordered = condition.iter().map(exactly).collect::<Vec<_>>().join(", ");
        let nulls: Vec<String> =
            condition.iter().filter(|(_, nullable, _)| *nullable).map(|(name, ..)| format!("{name} IS NULL")).collect();
        let keyed = nulls.iter().map(|null| null.replace("IS NULL", "IS NOT NULL")).collect::<Vec<_>>().join(" AND ");
        let (first, further) = match keyed.as_str() {
            "" => (String::new(), String::new()),
            keyed => (format!(" WHERE {keyed}"), format!(" AND {keyed}")),
        };
        let walk = format!("SELECT {columns} FROM {target}");
        let (head, item) = match spec.key.len() {
            1 => (format!("DELETE FROM {target} WHERE {key} IN ("), "?".to_owned()),
            parts => (format!("DELETE FROM {target} WHERE ({key}) IN (VALUES "), marks(parts)),
        };
        let entry_keys = spec.key_columns().map(|column| format!("key_{}", column.name)).collect::<Vec<_>>();
        let keys = quote::names(entry_keys.iter().map(String::as_str));
        let mut entry_columns = format!("{}, {keys}", quote::names(capture::FIXED));
        if !spec.images.is_empty() {
            let named = |prefix: &'static str| spec.image_columns().map(move |c| format!("{prefix}{}", c.name));
            let images: Vec<_> = named("old_").chain(named("new_")).collect();
            entry_columns += &format!(", sides, {}", quote::names(images.iter().map(String::as_str)));
        }
        Ok(Plan {
            select: format!("SELECT {columns} FROM {target} WHERE {by_key}"),
            select_null: format!("SELECT {columns} FROM {target} WHERE {}", found_by(&condition, &numbers, true)),
            walk: format!("{walk}{first} ORDER BY {ordered} LIMIT ?1"),
            walk_on: format!(
                "{walk} WHERE ({ordered}) > ({}){further} ORDER BY {ordered} LIMIT ?{}",
                numbers.iter().map(|at| format!("?{at}")).collect::<Vec<_>>().join(", "),
                numbers.len() + 1
            ),
            walk_keyless: (!nulls.is_empty()).then(|| format!("{walk} WHERE {} LIMIT ?1", nulls.join(" OR "))),
            delete_one: format!("DELETE FROM {target} WHERE {by_key}"),
            delete: (!lax).then(|| Many { head, item, tail: ")".to_owned() }),
            upsert: (!lax && clause && !spec.keeps_own).then(|| many_rows(&do_update)),
            insert_only: (!lax && !spec.keeps_own).then(|| many_rows("NOTHING")),
            update: (!others.is_empty())
                .then(|| format!("UPDATE{or} {target} SET {} WHERE {by_row}", set(&|at, _| format!("?{at}")))),
            insert: format!("{insert}{}", marks(spec.columns.len())),
            exists: format!("SELECT 1 FROM {target} WHERE {by_key}"),
            reacts: spec.reacts() || !user_triggers.is_empty() || followed.iter().any(|column| !is_key(column)),
            has_user_triggers: !user_triggers.is_empty(),
            history: quote::name(&history_name(&spec.name)),
            entry_columns,
            keys,
            followed,
            uniques: table.other_uniques().cloned().collect(),
            generated: table.columns.iter().filter(|field| field.generated).map(|field| field.name.clone()).collect(),
            condition,
        })
    }

    /// The condition that finds a row by its key, bound from number `first` on.
    pub(super) fn by_key(&self, first: usize) -> String {
        found_by(&self.condition, &(first..first + self.condition.len()).collect::<Vec<_>>(), false)
    }

    /// Whether changes of this column are handed on to rows that refer to it.
    pub(super) fn is_followed(&self, column: &str) -> bool {
        self.followed.iter().any(|name| name.eq_ignore_ascii_case(column))
    }
}

/// `name = ?n` for each part of the key, exact where `=` alone is not.
fn found_by(condition: &[(String, bool, bool)], numbers: &[usize], null: bool) -> String {
    let part = |((name, nullable, lax), at): (&(String, bool, bool), &usize)| {
        let is = if null && *nullable { "IS" } else { "=" };
        match lax {
            false => format!("{name} {is} ?{at}"),
            true => {
                format!("{name} {is} ?{at} AND {name} {is} ?{at} COLLATE BINARY AND typeof({name}) = typeof(?{at})")
            }
        }
    };
    condition.iter().zip(numbers).map(part).collect::<Vec<_>>().join(" AND ")
}
