//! More cases for the laws than somebody thought of: those of a fixture, with the values that are forgotten most.
//!
//! A law holds whatever a row holds, and it is mostly broken where two versions are equally good, where there is nothing, or
//! where a text is empty or has several words. Answers are expected of none of these cases.

use super::failure::Role;
use super::fixture::{Conflict, Fixture, Judged, Mapped, latest};
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
        // What was done in each change would have to be varied as well.
        for (at, conflict) in conflicts.iter().enumerate().filter(|(_, conflict)| conflict.changes.is_empty()) {
            let mut conflict = conflict.clone();
            if marked {
                // So that versions are told apart which are alike otherwise.
                for version in &mut conflict.versions {
                    let mark = Value::text(version.node.as_str());
                    version.row = version.row.take().map(|row| row.into_iter().chain([mark.clone()]).collect());
                }
            }
            for &(place, ref name) in &columns {
                let first = conflict.versions.iter().find_map(|version| Some(version.row.as_ref()?[place].clone()));
                for (value, what) in [(first, "the same"), (Some(Value::Null), "no")] {
                    let mut varied = conflict.clone();
                    let rows = varied.versions.iter_mut().filter_map(|version| version.row.as_mut());
                    rows.for_each(|row| row[place] = value.clone().unwrap_or(Value::Null));
                    self.conflict(varied.clone(), format!("conflict {} with {what} `{name}` in all versions", at + 1));
                    let time = varied.versions[0].time;
                    varied.versions.iter_mut().for_each(|version| version.time = time);
                    (varied.latest, varied.start) = latest(&varied.versions, &self.fixture.facts.nodes);
                    let told = format!("conflict {} with {what} `{name}` and the same time in all versions", at + 1);
                    self.conflict(varied, told);
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
