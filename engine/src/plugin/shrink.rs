//! From a fixture that breaks a law to the smallest one that still does.

use std::sync::Arc;

use super::fixture::{Fixture, Mapped};
use super::laws::{Law, tried};
use super::load::Plugin;
use crate::model::{Row, Value};

/// Fixtures that are tried, at most: interpreters are slow, and a larger one than need be is still one.
const ATTEMPTS: usize = 2_000;

/// The smallest fixture that was found in which a case breaks the law: without other cases, versions, changes and columns as far as
/// they do not matter, and with simpler values.
pub fn smallest(plugin: &Arc<Plugin>, fixture: &Fixture, law: Law) -> Fixture {
    let mut smallest = fixture.clone();
    let mut attempts = 0;
    loop {
        let mut simpler = Vec::new();
        candidates(&smallest, &mut simpler);
        let breaks = |candidate: &Fixture| {
            let found = tried(plugin, candidate).unwrap_or_default();
            found.iter().any(|(broken, _)| *broken == law)
        };
        let found = simpler.into_iter().take(ATTEMPTS.saturating_sub(attempts)).find(|candidate| {
            attempts += 1;
            breaks(candidate)
        });
        match found {
            Some(found) => smallest = found,
            None => return smallest,
        }
    }
}

/// Fixtures that are a step simpler, the largest steps first.
fn candidates(fixture: &Fixture, into: &mut Vec<Fixture>) {
    let mut push = |change: &dyn Fn(&mut Fixture)| {
        let mut simpler = fixture.clone();
        change(&mut simpler);
        into.push(simpler);
    };
    let counts = [fixture.conflicts.len(), fixture.rows.len(), fixture.locals.len(), fixture.puts.len()];
    // The first and the second half of the cases, then all but one.
    let all: usize = counts.iter().sum();
    if all > 3 {
        push(&|simpler| keep_cases(simpler, |at| at < all / 2));
        push(&|simpler| keep_cases(simpler, |at| at >= all / 2));
    }
    if all > 1 {
        (0..all).for_each(|one| push(&|simpler| keep_cases(simpler, |at| at != one)));
    }
    for (at, conflict) in fixture.conflicts.iter().enumerate() {
        (0..conflict.changes.len()).for_each(|change| {
            push(&|simpler| {
                simpler.conflicts[at].changes.remove(change);
            });
        });
        // It takes two, and one with a row.
        let rows = conflict.versions.iter().filter(|version| version.row.is_some()).count();
        for (place, version) in conflict.versions.iter().enumerate() {
            let needed = [conflict.latest, conflict.start].contains(&place) || (rows == 1 && version.row.is_some());
            if conflict.versions.len() > 2 && !needed {
                push(&|simpler| without_version(&mut simpler.conflicts[at], place));
            }
        }
    }
    for (at, put) in fixture.puts.iter().enumerate() {
        if put.current.is_some() {
            push(&|simpler| simpler.puts[at].current = None);
        }
    }
    for place in (0..fixture.shape.columns.len()).rev().filter(|place| !fixture.shape.key.contains(place)) {
        // What a mapping makes of fewer columns is another shape.
        if fixture.made.is_none() {
            push(&|simpler| without_column(simpler, place));
        }
    }
    let count = rows(&mut fixture.clone()).len();
    for at in 0..count {
        let mut copy = fixture.clone();
        let (row, key) = rows(&mut copy).swap_remove(at);
        for (place, value) in row.iter().enumerate().filter(|(place, _)| !key.contains(place)) {
            for value in simpler(value) {
                push(&|simpler| {
                    let (row, _) = rows(simpler).swap_remove(at);
                    row[place] = value.clone();
                });
            }
        }
    }
}

/// Keeps the cases whose number, counted through all kinds, is wanted.
fn keep_cases(fixture: &mut Fixture, wanted: impl Fn(usize) -> bool) {
    let mut at = 0;
    let mut next = || {
        at += 1;
        wanted(at - 1)
    };
    fixture.conflicts.retain(|_| next());
    fixture.rows.retain(|_| next());
    fixture.locals.retain(|_| next());
    fixture.puts.retain(|_| next());
}

fn without_version(conflict: &mut super::fixture::Conflict, place: usize) {
    let moved = |at: usize| at - usize::from(at > place);
    conflict.versions.remove(place);
    (conflict.latest, conflict.start) = (moved(conflict.latest), moved(conflict.start));
    for change in &mut conflict.changes {
        change.seen_by.retain(|at| *at != place);
        change.seen_by.iter_mut().for_each(|at| *at = moved(*at));
    }
}

fn without_column(fixture: &mut Fixture, place: usize) {
    for (row, _) in rows(fixture) {
        let left = row.iter().enumerate().filter(|(at, _)| *at != place).map(|(_, value)| value.clone());
        *row = left.collect();
    }
    let gone = fixture.shape.columns.remove(place);
    fixture.shape.key.iter_mut().for_each(|at| *at -= usize::from(*at > place));
    if let Some(columns) = &mut fixture.columns {
        columns.retain(|name| *name != gone.name);
    }
}

/// All rows that the plugin is shown, each with the places of the key in it.
fn rows(fixture: &mut Fixture) -> Vec<(&mut Row, Vec<usize>)> {
    let Fixture { shape, made, conflicts, rows, locals, puts, .. } = fixture;
    let own = &shape.key;
    let shared = made.as_ref().map_or(own, |made| &made.key);
    let mut all: Vec<(&mut Row, Vec<usize>)> = Vec::new();
    for conflict in conflicts {
        let versions = conflict.versions.iter_mut().filter_map(|version| version.row.as_mut());
        let changes = conflict.changes.iter_mut().flat_map(|change| [change.before.as_mut(), change.after.as_mut()]);
        all.extend(versions.chain(changes.flatten()).map(|row| (row, own.clone())));
    }
    all.extend(rows.iter_mut().map(|judged| (&mut judged.row, own.clone())));
    all.extend(locals.iter_mut().map(|local| (&mut local.row, own.clone())));
    for Mapped { row, current, .. } in puts {
        all.push((row, shared.clone()));
        all.extend(current.as_mut().map(|row| (row, own.clone())));
    }
    all
}

/// Values of the same kind that are simpler.
fn simpler(value: &Value) -> Vec<Value> {
    let mut simpler = match value {
        Value::Null => return Vec::new(),
        Value::Int(v) => {
            [0, 1, v / 2].into_iter().filter(|n| n.unsigned_abs() < v.unsigned_abs()).map(Value::Int).collect()
        }
        Value::Text(_) => {
            let text = value.to_string();
            let letters: Vec<char> = text.chars().collect();
            let of = |letters: &[char]| Value::text(letters.iter().collect::<String>());
            let half = letters.len() / 2;
            match letters.len() {
                0 => Vec::new(),
                1 => vec![of(&[])],
                len => vec![
                    of(&[]),
                    of(&letters[..half]),
                    of(&letters[half..]),
                    of(&letters[1..]),
                    of(&letters[..len - 1]),
                ],
            }
        }
        Value::Bytes(v) if !v.is_empty() => {
            vec![Value::Bytes(v[..v.len() / 2].into()), Value::Bytes(v[v.len() / 2..].into())]
        }
        _ => Vec::new(),
    };
    simpler.insert(0, Value::Null);
    // Of a single byte one half is all of it, and whoever takes that for a step goes on for ever.
    simpler.retain(|simpler| simpler != value);
    simpler
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_simpler_than_itself() {
        let bytes = |bytes: &[u8]| Value::Bytes(bytes.into());
        assert_eq!(simpler(&bytes(b"x")), [Value::Null, bytes(b"")]);
        assert_eq!(simpler(&bytes(b"xy")), [Value::Null, bytes(b"x"), bytes(b"y")]);
        for value in [bytes(b""), Value::text(""), Value::text("x"), Value::text("xy"), Value::Int(1), Value::Int(-1)] {
            assert!(!simpler(&value).contains(&value), "{value:?}");
        }
    }
}
