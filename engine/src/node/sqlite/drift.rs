//! Whether a table is still as `install` left it, and what differs.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::capture;
use super::failure::{Told, damaged};
use super::schema::{self, Index, Table};
use super::service::Installed;
use crate::model::{ForeignKey, OnGone, TableSpec};
use crate::node::{Drift, Result, found};

/// The fingerprint of a table, readable by a person in `concord_installed`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shape {
    columns: Vec<ShapeColumn>,
    key: Vec<String>,
    uniques: BTreeSet<String>,
    /// Those of a part of the rows, with their conditions, of which triggers take account; nothing was noted by an earlier Concord.
    #[serde(default)]
    partial: Option<BTreeSet<String>>,
    references: BTreeSet<String>,
    /// Concord's own triggers and their texts.
    triggers: BTreeMap<String, String>,
    /// Those of users.
    user_triggers: BTreeMap<String, String>,
    /// The columns of the history table.
    history: Vec<String>,
    /// Whether Concord's triggers were made since `install` was there last, if with the same texts.
    #[serde(default)]
    anew: bool,
    /// Other tables on which Concord's triggers for this one stand, as they went with the table that they were made for.
    #[serde(default)]
    elsewhere: BTreeSet<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ShapeColumn {
    name: String,
    declared: String,
    not_null: bool,
    generated: bool,
}

/// One of Concord's triggers as it stands in the catalogue.
pub(super) struct Trigger {
    pub sql: String,
    pub table: String,
    /// Its place in the catalogue: greater means made later.
    pub place: i64,
}

/// Concord's triggers for the table of this shared name, by name.
pub(super) fn our_triggers(db: &Connection, name: &str) -> Result<BTreeMap<String, Trigger>> {
    const KINDS: [&str; 11] = [
        "insert",
        "update",
        "rekey",
        "delete",
        "guard_before_insert",
        "guard_before_update",
        "guard_before_delete",
        "guard_after_insert",
        "guard_after_update",
        "guard_after_delete",
        "guard_after_cascade",
    ];
    // One look at the catalogue, which has no index by name.
    let names = KINDS.map(|kind| capture::trigger_name(kind, name));
    let doing = || "reading the triggers";
    let mut found = BTreeMap::new();
    let mut statement = db
        .prepare_cached(
            "SELECT name, sql, tbl_name, rowid FROM sqlite_schema
             WHERE type = 'trigger' AND name IN (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )
        .told(doing)?;
    let mut rows = statement.query(rusqlite::params_from_iter(&names)).told(doing)?;
    while let Some(row) = rows.next().told(doing)? {
        let trigger =
            Trigger { sql: row.get(1).told(doing)?, table: row.get(2).told(doing)?, place: row.get(3).told(doing)? };
        found.insert(row.get(0).told(doing)?, trigger);
    }
    Ok(found)
}

/// The table's present shape.
pub(super) fn shape(db: &Connection, spec: &TableSpec, table: &Table) -> Result<Shape> {
    let doing = || format!("reading the catalogue of `{}`", table.name);
    let columns_of = |index: &Index| {
        let columns = index.columns.iter().map(|(column, collation)| match (column, collation.as_str()) {
            (None, _) => "an expression".to_owned(),
            (Some(column), "BINARY") => column.clone(),
            (Some(column), collation) => format!("{column} {collation}"),
        });
        format!("({})", columns.collect::<Vec<_>>().join(", "))
    };
    let uniques = table.other_uniques().map(|index| {
        let partial = if index.partial { " where …" } else { "" };
        format!("{}{partial}", columns_of(index))
    });
    let partial = table.other_uniques().filter_map(|index| {
        let condition = index.condition.as_ref()?;
        Some(format!("{} where {condition}", columns_of(index)))
    });
    let reference = |key: &ForeignKey| {
        let gone = match key.on_delete {
            OnGone::Refuse => "",
            OnGone::Cascade => " on delete cascade",
            OnGone::Detach => " on delete detach",
        };
        let (from, to) = (key.columns.join(", "), key.referenced_columns.join(", "));
        format!("{}({from}) to {}({to}){gone}", key.table, key.referenced_table)
    };
    let (to, from) = (schema::references(db, &table.name, false), schema::references(db, &table.name, true));
    let references = to.told(doing)?.iter().chain(&from.told(doing)?).map(reference).collect();
    let user_triggers = schema::user_triggers(db, &table.name).told(doing)?;
    // A trigger that went to another table when this one was renamed away records nothing here.
    let (ours, strayed): (Vec<_>, Vec<_>) =
        our_triggers(db, &spec.name)?.into_iter().partition(|(_, trigger)| trigger.table == table.name);
    let last = last(db)?;
    let anew = ours.iter().any(|(_, trigger)| last.is_none_or(|last| trigger.place > last));
    let history = Table::read(db, &super::install::history_name(&spec.name)).told(doing)?;
    Ok(Shape {
        columns: table
            .columns
            .iter()
            .map(|field| ShapeColumn {
                name: field.name.clone(),
                declared: field.declared.clone(),
                not_null: field.not_null,
                generated: field.generated,
            })
            .collect(),
        key: table.key_names().map(str::to_owned).collect(),
        uniques: uniques.collect(),
        partial: Some(partial.collect()),
        references,
        triggers: ours.into_iter().map(|(name, trigger)| (name, trigger.sql)).collect(),
        user_triggers: user_triggers.into_iter().map(|(name, sql, _)| (name, sql)).collect(),
        history: history.map_or(Vec::new(), |table| table.columns.into_iter().map(|field| field.name).collect()),
        anew,
        elsewhere: strayed.into_iter().map(|(_, trigger)| trigger.table).collect(),
    })
}

/// What a column of a history tells, and of which of the table's columns, by its place.
fn recorded<'a>(name: &'a str, mut columns: impl Iterator<Item = &'a String>) -> (&'a str, Option<usize>) {
    let told = ["key_", "old_", "new_"].into_iter().find_map(|told| name.strip_prefix(told).map(|of| (told, of)));
    match told {
        Some((told, of)) => (told, columns.position(|column| column == of)),
        None => (name, None),
    }
}

/// A trigger that never acts, made after all others of Concord's. A table that is dropped and made again, with the very texts of
/// the triggers that a dump holds, has its own after this one: the catalogue keeps triggers in the order in which they were made, and so
/// does VACUUM, while it gives them other places.
const LAST: &str = "concord_last";

fn last(db: &Connection) -> Result<Option<i64>> {
    let mut statement = db
        .prepare_cached("SELECT rowid FROM sqlite_schema WHERE type = 'trigger' AND name = ?1")
        .told(|| "reading the triggers")?;
    statement.query_row([LAST], |row| row.get(0)).optional().told(|| "reading the triggers")
}

/// Makes what tells whether triggers were made since, unless it stands after all of these tables.
pub(super) fn make_last(db: &Connection, names: &[&str]) -> Result<()> {
    let last = last(db)?;
    let mut is_last = last.is_some();
    for name in names {
        is_last &= our_triggers(db, name)?.values().all(|trigger| last.is_some_and(|last| trigger.place < last));
    }
    if is_last {
        return Ok(());
    }
    db.execute_batch(&format!(
        "DROP TRIGGER IF EXISTS {LAST}; \
         CREATE TRIGGER {LAST} BEFORE DELETE ON concord_installed WHEN 0 BEGIN SELECT 1; END"
    ))
    .told(|| "making the last of the triggers")
}

impl Shape {
    pub(super) fn parse(text: &str) -> Result<Shape> {
        serde_json::from_str(text).map_err(|_| damaged("the fingerprint of a table cannot be read"))
    }

    pub(super) fn text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|_| damaged("the fingerprint of a table cannot be written"))
    }

    /// Whether the history has the columns with which `install` left it.
    pub(super) fn has_its_history(&self, db: &Connection, history: &str) -> Result<bool> {
        let standing = Table::read(db, history).told(|| format!("reading the catalogue of `{history}`"))?;
        Ok(standing.is_some_and(|table| table.columns.iter().map(|field| &field.name).eq(&self.history)))
    }

    /// Whether a history of these columns is about the same columns of the table, which have other names now.
    pub(super) fn records_the_same(&self, wanted: &[String], table: &Table) -> bool {
        let then = self.history.iter().map(|name| recorded(name, self.columns.iter().map(|column| &column.name)));
        let now = wanted.iter().map(|name| recorded(name, table.columns.iter().map(|field| &field.name)));
        self.columns.len() == table.columns.len() && then.eq(now)
    }

    /// How the table is another `now`, if it is.
    pub(super) fn drift(&self, now: &Shape) -> Option<Drift> {
        // A new unique constraint makes REPLACE remove rows of which nobody takes note, and users' triggers may come before
        // Concord's.
        let unrecorded = self.triggers != now.triggers
            || self.user_triggers != now.user_triggers
            || now.anew
            || !now.uniques.is_subset(&self.uniques)
            || matches!((&self.partial, &now.partial), (Some(was), Some(is)) if !is.is_subset(was));
        let dropped = self.history != now.history;
        self.difference(now).map(|what| Drift { what, unrecorded, dropped })
    }

    /// What is different in `now`, in words.
    pub(super) fn difference(&self, now: &Shape) -> Option<String> {
        let mut said = Vec::new();
        self.columns_differ(now, &mut said);
        if self.key != now.key {
            said.push(format!("the key was ({}) and is ({})", self.key.join(", "), now.key.join(", ")));
        }
        match (&self.partial, &now.partial) {
            (Some(was), Some(is)) if self.uniques == now.uniques => {
                sets_differ("the unique constraint ", was, is, &mut said);
            }
            _ => sets_differ("the unique constraint ", &self.uniques, &now.uniques, &mut said),
        }
        sets_differ("the reference ", &self.references, &now.references, &mut said);
        texts_differ("the trigger ", &self.user_triggers, &now.user_triggers, &mut said);
        if !self.triggers.is_empty() && now.triggers.is_empty() {
            said.push("Concord's triggers are gone, as when a table is rebuilt".to_owned());
        } else {
            texts_differ("Concord's trigger ", &self.triggers, &now.triggers, &mut said);
            if now.anew && self.triggers == now.triggers {
                said.push("Concord's triggers were made anew, as when a table is put back from a dump".to_owned());
            }
        }
        said.extend(now.elsewhere.iter().map(|table| found::strayed(&format!("`{table}`"))));
        if now.history.is_empty() {
            said.push("its history table is gone".to_owned());
        } else if self.history != now.history {
            said.push("its history table has other columns".to_owned());
        }
        (!said.is_empty()).then(|| said.join("; "))
    }

    fn columns_differ(&self, now: &Shape, said: &mut Vec<String>) {
        let find = |columns: &[ShapeColumn], name: &str| columns.iter().position(|column| column.name == name);
        let mut moved = false;
        for (at, old) in self.columns.iter().enumerate() {
            match find(&now.columns, &old.name).map(|at| (at, &now.columns[at])) {
                None => said.push(format!("column `{}` is gone", old.name)),
                Some((_, new)) if new.declared != old.declared => said
                    .push(format!("column `{}` was declared `{}` and is `{}`", old.name, old.declared, new.declared)),
                Some((_, new)) if new != old => said.push(format!("column `{}` was changed", old.name)),
                Some((new_at, _)) => moved |= new_at != at,
            }
        }
        for new in now.columns.iter().filter(|new| find(&self.columns, &new.name).is_none()) {
            said.push(format!("column `{}` was added", new.name));
        }
        if moved && said.is_empty() {
            said.push("the columns stand in another order".to_owned());
        }
    }

    /// The same, of which note is taken as it is.
    pub(super) fn noted(self) -> Shape {
        Shape { anew: false, ..self }
    }

    /// Why a table described by `spec` cannot work with what is installed.
    pub(super) fn misses(&self, spec: &TableSpec) -> Option<String> {
        let installed_for = |prefix: &str| {
            self.history.iter().filter_map(|column| column.strip_prefix(prefix)).map(str::to_owned).collect::<Vec<_>>()
        };
        let named = |columns: &mut dyn Iterator<Item = &crate::model::Column>| {
            columns.map(|column| column.name.clone()).collect::<Vec<_>>()
        };
        if installed_for("key_") != named(&mut spec.key_columns()) {
            return Some("it was installed with another key".to_owned());
        }
        if installed_for("old_") != named(&mut spec.image_columns()) {
            return Some("it was installed for another conflict policy".to_owned());
        }
        match (spec.captured, self.triggers.is_empty()) {
            (true, true) => Some("it was installed without triggers".to_owned()),
            (false, false) => Some("it was installed with triggers, which are of no use now".to_owned()),
            _ => None,
        }
    }
}

fn sets_differ(what: &str, was: &BTreeSet<String>, is: &BTreeSet<String>, said: &mut Vec<String>) {
    said.extend(was.difference(is).map(|gone| format!("{what}{gone} is gone")));
    said.extend(is.difference(was).map(|new| format!("{what}{new} was added")));
}

fn texts_differ(what: &str, was: &BTreeMap<String, String>, is: &BTreeMap<String, String>, said: &mut Vec<String>) {
    for (name, text) in was {
        match is.get(name) {
            None => said.push(format!("{what}`{name}` is missing")),
            Some(now) if now != text => said.push(format!("{what}`{name}` was changed")),
            Some(_) => {}
        }
    }
    said.extend(is.keys().filter(|name| !was.contains_key(*name)).map(|name| format!("{what}`{name}` was added")));
}

/// What differs between a table and how it was installed. `known` remembers the answers for one state of the catalogue.
pub(super) fn drifted(
    db: &Connection,
    spec: &TableSpec,
    installed: Option<&Installed>,
    version: i64,
    known: &mut Known,
) -> Result<Option<Drift>> {
    let Some(installed) = installed else { return Ok(Some(Drift::harmless("it is not installed"))) };
    if installed.local != spec.local {
        return Ok(Some(Drift::harmless(format!("it was installed for the table `{}`", installed.local))));
    }
    let was = Shape::parse(&installed.fingerprint)?;
    let difference = match known.get(&spec.name) {
        Some((at, shape, difference)) if *at == version && *shape == installed.fingerprint => difference.clone(),
        _ => {
            let difference = match Table::read(db, &spec.local).told(|| "reading the catalogue")? {
                None => Some(Drift::harmless("the table is gone")),
                Some(table) => was.drift(&shape(db, spec, &table)?),
            };
            known.insert(spec.name.clone(), (version, installed.fingerprint.clone(), difference.clone()));
            difference
        }
    };
    Ok(difference.or_else(|| was.misses(spec).map(Drift::harmless)))
}

/// For each table the version of the catalogue and the fingerprint that were compared, and the outcome.
pub(super) type Known = BTreeMap<String, (i64, String, Option<Drift>)>;
