//! Filters by themselves: each attack has one outcome, and the rows beside the one that is concerned are judged.

use std::sync::Arc;

use concord::model::Row;
use concord::plugin::{Failure, Filter, Limits, Role};

use super::{facts, items, load, row};

/// Tight, so that what runs into them does so soon.
fn tight() -> Limits {
    Limits { memory: 16 << 20, fuel: 50_000_000, fuel_per_row: 1_000_000, answer: 16 << 20, ..Limits::default() }
}

fn open(attack: &str) -> Result<Filter, Failure> {
    let config = format!(r#"{{"attack": "{attack}"}}"#);
    Filter::open(Arc::new(load("hostile", tight())?), items(), &config, &facts())
}

fn judge(filter: &Filter, notes: &[&str]) -> Vec<Result<bool, Failure>> {
    let rows: Vec<Row> = notes.iter().enumerate().map(|(at, note)| row(at as i64, note, 1)).collect();
    filter.judge(&rows.iter().collect::<Vec<_>>())
}

/// What becomes of a poisoned row between two good ones.
#[track_caller]
fn poisoned(attack: &str) -> String {
    let filter = open(attack).unwrap_or_else(|why| panic!("{attack}: {why}"));
    let mut answers = judge(&filter, &["good", "poison", "good"]);
    assert_eq!(answers.len(), 3, "{attack}");
    for neighbour in [2, 0] {
        assert_eq!(answers.remove(neighbour), Ok(true), "{attack}: the row beside it");
    }
    assert_eq!(judge(&filter, &["good"; 3]), [Ok(true), Ok(true), Ok(true)], "{attack}: afterwards");
    match answers.remove(0) {
        Err(failure) => {
            assert!(failure.to_string().starts_with("plugin `hostile`, filter of `items`, judge: "), "{failure}");
            format!("{}: {}", failure.code, failure.message)
        }
        Ok(keeps) => keeps.to_string(),
    }
}

#[test]
fn it_is_shown_what_it_wants_and_nothing_else() {
    // The guest judges rows of one column and takes others for good.
    let filter = open("drop").expect("a filter");
    assert_eq!(filter.wanted(), [1]);
    assert_eq!(poisoned("drop"), "false");
}

#[test]
fn columns_that_are_not_there_cannot_be_wanted() {
    let said = |attack: &str| {
        let failure = open(attack).expect_err(attack);
        format!("{}: {}", failure.code, failure.message)
    };
    assert_eq!(said("want-unknown"), "open: it wants to see `nothing`, which the table does not have");
    assert_eq!(said("want-twice"), "open: it wants to see `note`, and does so twice");
    assert_eq!(said("open-refuse"), "no-thanks: `note`: this table is not to my liking");
    assert!(said("open-panic").starts_with("trap: it gave up"), "{}", said("open-panic"));
}

#[test]
fn whatever_goes_wrong_is_no_answer() {
    assert_eq!(poisoned("problem"), "bad-note: `note`: the note is poison");
    assert_eq!(poisoned("other"), "answer: it answered what is not known here: `maybe`");
    assert_eq!(poisoned("loop"), "fuel: it used up its 51000000 instructions of fuel");
    assert_eq!(poisoned("recursion"), "stack: its calls go too deep");
    assert_eq!(poisoned("memory"), "memory: it asked for more than 16 MiB of memory");
    assert!(poisoned("panic").starts_with("trap: it gave up: "));
}

#[test]
fn answers_are_counted() {
    for (attack, told) in [("none", "it gave 0 answers about 1 rows"), ("too-many", "it gave 2 answers about 1 rows")] {
        let filter = open(attack).expect(attack);
        let answers = judge(&filter, &["good", "good"]);
        let failures: Vec<String> = answers.into_iter().map(|one| one.expect_err(attack).message.into()).collect();
        assert_eq!(failures, [told, told]);
    }
}

#[test]
fn what_fails_again_and_again_is_not_asked_any_more() {
    let filter = open("panic").expect("a filter");
    let answers = judge(&filter, &["poison"; 12]);
    let told: Vec<bool> = answers
        .iter()
        .map(|answer| answer.as_ref().expect_err("none is judged").message.contains("is not asked any more"))
        .collect();
    assert_eq!(told, [[false; 8].as_slice(), [true; 4].as_slice()].concat());
    // Nobody may take that for what it would have answered.
    let unasked: Vec<bool> =
        answers.iter().map(|answer| answer.as_ref().is_err_and(|failure| failure.unasked)).collect();
    assert_eq!(unasked, told);
}

#[test]
fn a_plugin_may_play_two_roles() {
    let roles = |name: &str| load(name, Limits::default()).expect(name).roles;
    assert_eq!(roles("twofold"), [Role::Filter, Role::Resolver]);
    assert_eq!(roles("longest"), [Role::Resolver]);
    let filter = Filter::open(Arc::new(load("twofold", tight()).expect("a plugin")), items(), "{}", &facts());
    let answers = judge(&filter.expect("a filter"), &["good", ""]);
    assert_eq!(answers, [Ok(true), Ok(false)]);
}
