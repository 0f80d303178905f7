//! A plugin that attacks in every way: each attack has one outcome, the rows beside the one that is concerned are answered,
//! and the next batch is served as if nothing had been.

use std::time::{Duration, Instant};

use concord::model::{Type, Value};
use concord::plugin::{Limits, Resolution};

use super::{Cases, items, open, row};

/// Tight, so that what runs into them does so soon.
fn tight() -> Limits {
    Limits { memory: 16 << 20, fuel: 50_000_000, fuel_per_row: 1_000_000, answer: 16 << 20, ..Limits::default() }
}

fn config(attack: &str) -> String {
    format!(r#"{{"attack": "{attack}"}}"#)
}

/// What becomes of a poisoned row between two good ones: its failure with the code in front, or its resolution.
#[track_caller]
fn poisoned(attack: &str) -> String {
    let resolver = open("hostile", tight(), items(), &config(attack)).unwrap_or_else(|why| panic!("{attack}: {why}"));
    let cases = Cases::of(&["good", "poison", "good"]);
    let mut answers = resolver.resolve(&cases.disputes());
    assert_eq!(answers.len(), 3, "{attack}");
    for neighbour in [2, 0] {
        assert_eq!(answers.remove(neighbour), Ok(Resolution::Take(0)), "{attack}: the row beside it");
    }
    let next = resolver.resolve(&Cases::of(&["good"; 3]).disputes());
    assert_eq!(
        next,
        [Ok(Resolution::Take(0)), Ok(Resolution::Take(0)), Ok(Resolution::Take(0))],
        "{attack}: afterwards"
    );
    match answers.remove(0) {
        Err(failure) => {
            assert_eq!((&*failure.plugin, failure.table.as_deref()), ("hostile", Some("items")), "{attack}");
            assert!(failure.to_string().starts_with("plugin `hostile`, resolver of `items`, resolve: "), "{failure}");
            format!("{}: {}", failure.code, failure.message)
        }
        Ok(resolution) => format!("{resolution:?}"),
    }
}

/// What is said when it is opened with this attack.
#[track_caller]
fn opened(attack: &str) -> String {
    let failure = open("hostile", tight(), items(), &config(attack)).expect_err(attack);
    assert_eq!(failure.function.or(Some("-")), failure.function, "{attack}: {failure}");
    format!("{}: {}", failure.code, failure.message)
}

#[test]
fn an_endless_loop_is_stopped_by_its_fuel() {
    assert_eq!(poisoned("loop"), "fuel: it used up its 51000000 instructions of fuel");
}

#[test]
fn a_loop_with_fuel_enough_is_stopped_by_time() {
    let limits = Limits { fuel: u64::MAX / 2, time: Duration::from_millis(100), ..tight() };
    let resolver = open("hostile", limits, items(), &config("loop")).unwrap();
    let begun = Instant::now();
    let answers = resolver.resolve(&Cases::of(&["poison"]).disputes());
    assert_eq!(answers[0].as_ref().unwrap_err().code.as_ref(), "time");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn endless_logging_is_stopped_too() {
    assert_eq!(poisoned("log-endless"), "forbidden: it logs without end");
}

#[test]
fn recursion_without_end_is_stopped_by_the_stack() {
    assert_eq!(poisoned("recursion"), "stack: its calls go too deep");
}

#[test]
fn memory_without_end_is_refused() {
    assert_eq!(poisoned("memory"), "memory: it asked for more than 16 MiB of memory");
}

#[test]
fn a_panic_leaves_its_message() {
    let said = poisoned("panic");
    assert!(said.starts_with("trap: it gave up: ") && said.ends_with("a panic on purpose"), "{said}");
    let said = poisoned("index");
    assert!(said.starts_with("trap: it gave up: ") && said.contains("the len is 0 but the index is 3"), "{said}");
    let said = poisoned("divide");
    assert!(said.starts_with("trap: it gave up: ") && said.contains("divide by zero"), "{said}");
}

#[test]
fn what_gives_up_without_words_is_told_without() {
    assert_eq!(poisoned("abort"), "trap: it gave up");
    let said = poisoned("unaligned");
    assert!(said.starts_with("trap: it broke down (") && said.contains("out of bounds"), "{said}");
}

#[test]
fn a_problem_is_told_with_its_code_column_and_hint() {
    assert_eq!(poisoned("problem"), "bad-note: `note`: the note is poison");
    let resolver = open("hostile", tight(), items(), &config("problem")).unwrap();
    let failure = resolver.resolve(&Cases::of(&["poison"]).disputes()).remove(0).unwrap_err();
    let told = "plugin `hostile`, resolver of `items`, resolve: `note`: the note is poison (bad-note); a hint";
    assert_eq!(failure.to_string(), told);
}

#[test]
fn endless_words_are_cut() {
    let said = poisoned("problem-long");
    assert!(said.chars().count() < 700 && !said.contains('\n'), "{}", said.len());
    let said = poisoned("park-long");
    assert!(said.starts_with("Park(\"zzz") && said.chars().count() < 600, "{}", said.len());
}

#[test]
fn answers_that_are_none_concern_their_row_alone() {
    for (attack, outcome) in [
        ("take-far", "answer: it took version 7 of 2, counted from 0"),
        ("other", "answer: it answered what is not known here: `quantum`"),
        ("short", "answer: a row of 2 values, and the table has 3 columns"),
        ("long", "answer: a row of 4 values, and the table has 3 columns"),
        ("key", "answer: it changed the key of the row"),
        ("null-key", "answer: it changed the key of the row"),
        ("kind", "answer: the value of `stock` is text, and the column holds integer"),
        ("other-value", "answer: the value of `note` is of a kind that is not known here: `point`"),
        ("decimal", "answer: the value of `note` is no decimal number: `1e9`"),
    ] {
        assert_eq!(poisoned(attack), outcome, "{attack}");
    }
}

#[test]
fn text_that_is_no_text_is_no_answer() {
    let said = poisoned("invalid-text");
    assert!(said.starts_with("trap: it broke down (invalid utf-8"), "{said}");
}

#[test]
fn good_answers_are_taken_as_they_are() {
    assert_eq!(poisoned("park"), "Park(\"a person has to look\")");
    assert_eq!(poisoned("delete"), "Delete");
    assert_eq!(poisoned("merged"), format!("{:?}", Resolution::Merged(row(1, "cured", 1))));
    assert_eq!(poisoned("kept"), "Take(0)");
    for harmless in ["log-flood", "log-long", "log-control"] {
        assert_eq!(poisoned(harmless), "Take(0)");
    }
}

/// All answers to a batch of three that has nothing wrong with it.
fn batch(attack: &str) -> Vec<String> {
    let resolver = open("hostile", tight(), items(), &config(attack)).unwrap();
    let told = |answer: Result<Resolution, concord::plugin::Failure>| match answer {
        Ok(resolution) => format!("{resolution:?}"),
        Err(failure) => format!("{}: {}", failure.code, failure.message),
    };
    resolver.resolve(&Cases::of(&["good"; 3]).disputes()).into_iter().map(told).collect()
}

#[test]
fn a_wrong_number_of_answers_is_none() {
    assert_eq!(batch("none"), ["answer: it gave 0 answers to 1 conflicts"; 3]);
    assert_eq!(batch("too-few"), ["answer: it gave 0 answers to 1 conflicts"; 3]);
    assert_eq!(batch("too-many"), ["answer: it gave 2 answers to 1 conflicts"; 3]);
}

#[test]
fn giant_answers_are_not_taken_in() {
    assert_eq!(batch("giant"), ["memory: it asked for more than 16 MiB of memory"; 3]);
    let limits = Limits { memory: 512 << 20, fuel: 1 << 40, ..tight() };
    let resolver = open("hostile", limits, items(), &config("giant")).unwrap();
    let failure = resolver.resolve(&Cases::of(&["good"]).disputes()).remove(0).unwrap_err();
    assert_eq!((&*failure.code, &*failure.message), ("answer", "it answered more than 16 MiB"));
    let resolver = open("hostile", limits, items(), &config("shared")).unwrap();
    let failure = resolver.resolve(&Cases::of(&["good"]).disputes()).remove(0).unwrap_err();
    assert_eq!((&*failure.code, &*failure.message), ("answer", "it answered more than 16 MiB"));
}

#[test]
fn who_breaks_down_at_the_first_call_only_is_asked_again() {
    // The first call of each new instance fails, so every row is asked for alone and in vain.
    let answers = batch("first-call");
    assert!(answers.iter().all(|answer| answer.starts_with("trap: it gave up: ")), "{answers:?}");
    // At the third call of an instance one row fails, and its neighbours do not.
    let resolver = open("hostile", tight(), items(), &config("third-call")).unwrap();
    let outcomes: Vec<bool> =
        (0..9).map(|_| resolver.resolve(&Cases::of(&["good"]).disputes()).remove(0).is_ok()).collect();
    assert_eq!(outcomes, [true, true, false, true, true, false, true, true, false]);
}

/// What it keeps from call to call goes with its instance before it is too much, and changes no answer.
#[test]
fn what_is_kept_from_call_to_call_is_not_kept_for_ever() {
    let resolver = open("hostile", tight(), items(), &config("kept")).unwrap();
    let cases = Cases::of(&["poison"; 100]);
    // More than 60 MiB, and an instance may have 16.
    for call in 1..=10 {
        let answers = resolver.resolve(&cases.disputes());
        let taken = answers.iter().filter(|answer| **answer == Ok(Resolution::Take(0))).count();
        assert_eq!(taken, 100, "call {call}: {answers:?}");
    }
    let spent = resolver.spent();
    // Whenever an instance had too much, all were asked about anew.
    assert!(spent.calls > 10 && spent.memory <= 16 << 20, "{spent:?}");
}

#[test]
fn who_fails_again_and_again_is_not_asked_any_more() {
    let resolver = open("hostile", tight(), items(), &config("panic")).unwrap();
    let answers = resolver.resolve(&Cases::of(&["poison"; 12]).disputes());
    let given_up = |at: usize| answers[at].as_ref().unwrap_err().message.contains("8 times in succession");
    assert_eq!((0..12).filter(|&at| given_up(at)).collect::<Vec<_>>(), [8, 9, 10, 11]);
    // One in a thousand does not make the others wait.
    let mut notes = vec!["good"; 1_000];
    notes[500] = "poison";
    let answers = resolver.resolve(&Cases::of(&notes).disputes());
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 1);
}

#[test]
fn what_goes_wrong_while_it_is_opened_is_told_before_any_row() {
    assert_eq!(opened("open-refuse"), "no-thanks: `note`: this table is not to my liking");
    assert_eq!(opened("open-loop"), "fuel: it used up its 51000000 instructions of fuel");
    assert_eq!(opened("open-recursion"), "stack: its calls go too deep");
    assert_eq!(opened("open-memory"), "memory: it asked for more than 16 MiB of memory");
    assert!(opened("open-panic").starts_with("trap: it gave up: "));
    assert_eq!(
        opened("record-unknown"),
        "open: it wants to see the changes of `nothing`, which the table does not have"
    );
    assert_eq!(
        opened("record-key"),
        "open: it wants to see the changes of `id`, which is part of the key and never changes"
    );
    assert_eq!(opened("record-twice"), "open: it wants to see the changes of `note`, and does so twice");
}

#[test]
fn a_configuration_that_does_not_fit_is_refused_before_the_plugin_sees_it() {
    let failure = open("hostile", tight(), items(), "{}").unwrap_err();
    assert_eq!(&*failure.code, "config");
    assert!(failure.message.contains("`attack` is missing"), "{failure}");
    let failure = open("hostile", tight(), items(), r#"{"attack": 1}"#).unwrap_err();
    assert!(failure.message.contains("`attack`: 1 is not of type \"string\""), "{failure}");
}

#[test]
fn a_plugin_goes_by_the_name_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let copy = concord::plugin::Plugin::file(folder.path(), "friendly");
    std::fs::copy(concord_tests::guests::plugins().join("hostile.wasm"), &copy).unwrap();
    let failure =
        concord::plugin::Plugin::load(&concord_tests::guests::host(), &copy, "friendly", tight(), None).unwrap_err();
    assert_eq!(&*failure.code, "describe");
    assert!(failure.message.contains("calls itself `hostile`"), "{failure}");
}

#[test]
fn memory_is_counted_and_fuel_is_the_same_every_time() {
    let spent = || {
        let resolver = open("hostile", tight(), items(), &config("merged")).unwrap();
        resolver.resolve(&Cases::of(&["poison"; 100]).disputes());
        resolver.spent()
    };
    let (first, second) = (spent(), spent());
    assert_eq!((first.calls, first.rows), (1, 100));
    assert!(first.fuel > 10_000 && first.memory > 1 << 16, "{first:?}");
    assert_eq!((first.fuel, first.memory), (second.fuel, second.memory));
}

#[test]
fn columns_of_other_kinds_are_told_and_checked() {
    let mut shape = items();
    shape.columns[1].ty = Type::Native("inet".to_owned());
    let resolver = open("hostile", tight(), shape, &config("merged")).unwrap();
    let answers = resolver.resolve(&Cases::of(&["poison"]).disputes());
    let Ok(Resolution::Merged(merged)) = &answers[0] else { panic!("{answers:?}") };
    assert_eq!(merged[1], Value::text("cured"));
}
