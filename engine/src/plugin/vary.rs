//! More cases for the laws than somebody thought of: those of a fixture, with the values that are forgotten most.
//!
//! A law holds whatever a row holds, and it is mostly broken where two versions are equally good, where there is nothing, or
//! where a text is empty or has several words. Answers are expected of none of these cases.

use super::failure::Role;
use super::fixture::{Conflict, Fixture, Judged, Mapped, Version, latest};
use super::laws::mirrored;
use super::shape::{Shape, ShapeColumn};
use crate::model::{Row, Type, Value};

/// Cases, at most: interpreters are slow.
const MOST: usize = 80;

/// A fixture of cases that nobody wrote.
pub struct Varied {
    pub fixture: Fixture,
    /// What each case is, in the order in which laws count them: "conflict 1 with the same `stock` in all versions".
    pub told: Vec<String>,
}

/// The cases of a fixture in other forms; `None` if there are none.
pub fn varied(fixture: &Fixture, role: Role) -> Option<Varied> {
    let mut bare = fixture.clone();
    bare.conflicts.clear();
    bare.rows.clear();
    bare.locals.clear();
    bare.puts.clear();
    let mut varied = Varied { fixture: bare, told: Vec::new() };
    match role {
        Role::Resolver => varied.conflicts(&fixture.conflicts),
        Role::Filter => varied.rows(&fixture.rows),
        Role::Mapping => varied.mapped(fixture),
    }
    (!varied.told.is_empty()).then_some(varied)
}

impl Varied {
    fn is_full(&self) -> bool {
        self.told.len() >= MOST
    }

    fn conflicts(&mut self, conflicts: &[Conflict]) {
        let columns = others(&self.fixture.shape);
        let marked = self.fixture.shape.place(MARK).is_none();
        if marked {
            self.fixture.shape.columns.push(ShapeColumn { name: MARK.to_owned(), ty: Type::Text });
        }
        for (at, conflict) in conflicts.iter().enumerate() {
            let mut conflict = conflict.clone();
            if marked {
                mark(&mut conflict);
            }
            let of = |what: &str| format!("conflict {} with {what}", at + 1);
            if !conflict.changes.is_empty() {
                self.conflict(renamed(&conflict, &self.fixture.facts.nodes), of("its nodes the other way round"));
                self.conflict(
                    tied(&conflict, &self.fixture.facts.nodes),
                    of("the same time in all versions and changes"),
                );
            }
            for &(place, ref name) in &columns {
                let first = conflict.versions.iter().find_map(|version| Some(version.row.as_ref()?[place].clone()));
                let before = conflict.changes.first().and_then(|change| change.before.as_ref());
                let without = before.map(|row| row[place].clone()).filter(|base| !base.is_null());
                if let Some(base) = without.filter(|_| follows(&conflict, place)) {
                    let mut varied = conflict.clone();
                    values(&mut varied, place).filter(|value| **value == base).for_each(|value| *value = Value::Null);
                    self.conflict(varied, of(&format!("no `{name}` to begin with")));
                }
                for (value, what) in [(first, "the same"), (Some(Value::Null), "no")] {
                    let mut varied = conflict.clone();
                    let value = value.unwrap_or(Value::Null);
                    values(&mut varied, place).for_each(|old| *old = value.clone());
                    let tied = tied(&varied, &self.fixture.facts.nodes);
                    self.conflict(varied, of(&format!("{what} `{name}` in all versions")));
                    self.conflict(tied, of(&format!("{what} `{name}` and the same time in all versions")));
                }
            }
        }
    }

    fn conflict(&mut self, conflict: Conflict, told: String) {
        if !self.is_full() {
            self.fixture.conflicts.push(conflict);
            self.told.push(told);
        }
    }

    fn rows(&mut self, rows: &[Judged]) {
        for (at, judged) in rows.iter().enumerate() {
            for (row, told) in rows_like(&judged.row, &self.fixture.shape) {
                if !self.is_full() {
                    self.fixture.rows.push(Judged { row, answer: judged.answer.clone() });
                    self.told.push(format!("row {} with {told}", at + 1));
                }
            }
        }
    }

    fn mapped(&mut self, fixture: &Fixture) {
        let Some(made) = &fixture.made else { return };
        let of = |all: &[Mapped], shape: &Shape, kind: &str| {
            let like = |(at, one): (usize, &Mapped)| {
                let like = rows_like(&one.row, shape).into_iter();
                let case = |(row, told)| (Mapped { row, ..one.clone() }, format!("{kind} {} with {told}", at + 1));
                like.map(case).collect::<Vec<_>>()
            };
            all.iter().enumerate().flat_map(like).take(MOST / 2).collect::<Vec<_>>()
        };
        let (locals, puts) = (of(&fixture.locals, &fixture.shape, "local"), of(&fixture.puts, made, "put"));
        for (local, told) in locals {
            self.fixture.locals.push(local);
            self.told.push(told);
        }
        for (put, told) in puts {
            self.fixture.puts.push(put);
            self.told.push(told);
        }
    }
}

/// All values of a column: in the versions, and before and after each change, so that what is done to all alike leaves a conflict
/// of which the changes still tell how its versions came about.
fn values(conflict: &mut Conflict, place: usize) -> impl Iterator<Item = &mut Value> {
    let versions = conflict.versions.iter_mut().map(|version| &mut version.row);
    let changes = conflict.changes.iter_mut().flat_map(|change| [&mut change.before, &mut change.after]);
    versions.chain(changes).flatten().map(move |row| &mut row[place])
}

/// Adds a column by which versions are told apart that are alike otherwise: each has the name of the node that changed it last, which
/// is its own where no changes tell.
fn mark(conflict: &mut Conflict) {
    let name = |node: &str| Value::text(node);
    let last = |at: usize| conflict.changes.iter().rfind(|change| change.seen_by.contains(&at));
    let own = |(at, version): (usize, &Version)| match last(at) {
        Some(change) => name(&change.node),
        None if conflict.changes.is_empty() => name(&version.node),
        None => Value::Null,
    };
    let marks: Vec<Value> = conflict.versions.iter().enumerate().map(own).collect();
    for (version, mark) in conflict.versions.iter_mut().zip(marks) {
        version.row = version.row.take().map(|row| with(row, mark));
    }
    let mut changed: Vec<String> = Vec::new();
    for change in &mut conflict.changes {
        let before = if changed.contains(&change.node) { name(&change.node) } else { Value::Null };
        change.before = change.before.take().map(|row| with(row, before));
        change.after = change.after.take().map(|row| with(row, name(&change.node)));
        changed.push(change.node.clone());
    }
}

fn with(row: Row, value: Value) -> Row {
    row.into_iter().chain([value]).collect()
}

/// The same with one time for all that was done. A change stays before another that was made on it, and so does where a sum starts
/// from, if changes tell of it: of other versions some may be missing.
fn tied(conflict: &Conflict, nodes: &[String]) -> Conflict {
    let mut tied = conflict.clone();
    let time = tied.versions[0].time;
    tied.versions.iter_mut().for_each(|version| version.time = time);
    tied.changes.iter_mut().for_each(|change| change.time = time);
    let start = tied.start;
    (tied.latest, tied.start) = latest(&tied.versions, nodes);
    if !tied.changes.is_empty() {
        tied.start = start;
    }
    tied
}

/// The same conflict, had each thing been done at the node that stands as far from the other end by its name.
fn renamed(conflict: &Conflict, nodes: &[String]) -> Conflict {
    let names: Vec<String> = conflict.versions.iter().map(|version| version.node.clone()).collect();
    let last = names.len() - 1;
    let other = |node: &mut String| {
        if let Some(at) = names.iter().position(|name| name == node) {
            node.clone_from(&names[last - at]);
        }
    };
    // Versions stand in the order of their nodes.
    let mut renamed = mirrored(conflict);
    renamed.versions.iter_mut().for_each(|version| other(&mut version.node));
    renamed.changes.iter_mut().for_each(|change| other(&mut change.node));
    renamed.latest = latest(&renamed.versions, nodes).0;
    renamed
}

/// Whether each version has in a column what the last change did that it has seen, as where nothing is added up: then any value may
/// be another one, if it is so wherever it stands.
fn follows(conflict: &Conflict, place: usize) -> bool {
    let of = |row: &Option<Row>| row.as_ref().map(|row| row[place].clone());
    let base = conflict.changes.first().map(|change| of(&change.before));
    conflict.versions.iter().enumerate().all(|(at, version)| {
        let last = conflict.changes.iter().rfind(|change| change.seen_by.contains(&at));
        last.map(|change| of(&change.after)).or(base.clone()) == Some(of(&version.row))
    })
}

/// A column that only varied cases have.
const MARK: &str = "anything_else";

/// The columns that are not of the key.
fn others(shape: &Shape) -> Vec<(usize, String)> {
    let columns = shape.columns.iter().enumerate().filter(|(at, _)| !shape.key.contains(at));
    columns.map(|(at, column)| (at, column.name.clone())).collect()
}

/// The row with another value in one of its columns, and what that is.
fn rows_like(row: &Row, shape: &Shape) -> Vec<(Row, String)> {
    let mut like = Vec::new();
    for (place, name) in others(shape) {
        let mut values = vec![(Value::Null, format!("no `{name}`"))];
        match shape.columns[place].ty {
            Type::Text => values.extend(
                ["", " ", "three words here"].map(|text| (Value::text(text), format!("{text:?} for `{name}`"))),
            ),
            Type::Int => values.extend([0, -1].map(|n| (Value::Int(n), format!("{n} for `{name}`")))),
            _ => {}
        }
        for (value, told) in values.into_iter().filter(|(value, _)| *value != row[place]) {
            let mut row = row.clone();
            row[place] = value;
            like.push((row, told));
        }
    }
    like
}
