//! A plugin made by a tool in which integers are floats: what it would round is kept from it. The mirror plays it, which rounds nothing;
//! that the tool is known by what it makes is seen where there is one (`languages/quickjs.rs`).

use std::sync::Arc;

use concord::plugin::{Failure, Filter, Limits, Mapping, Plugin, Put, Resolution, Resolver};

use super::{Cases, facts, items, load, row};

const WIDE: i64 = 1 << 53;

fn rounding() -> Arc<Plugin> {
    let mut plugin = load("mirror", Limits::default()).expect("a plugin");
    assert_eq!((plugin.rounds, plugin.warning()), (None, None));
    plugin.rounds = Some("some-tool");
    let warning = plugin.warning().expect("a warning");
    assert!(
        warning.starts_with("plugin `mirror` was made by some-tool: integers beyond 2^53 - 1 would be rounded"),
        "{warning}"
    );
    Arc::new(plugin)
}

#[track_caller]
fn told(failure: &Failure, function: &str) {
    let said = failure.to_string();
    let why = "the row holds an integer beyond 2^53 - 1, and some-tool, which made it, rounds those (rounds); make the plugin with";
    assert!(said.starts_with(&format!("plugin `mirror`, {function}: {why}")), "{said}");
}

#[test]
fn a_resolver_is_not_asked_about_it_and_does_not_answer_it() {
    let resolver = Resolver::open(rounding(), items(), "{}", &facts()).expect("a resolver");
    let mut cases = Cases::of(&["wide", "good", "wide", "wide", "more", "good"]);
    cases.0[0].1 = row(0, "wide", WIDE);
    cases.0[2].2 = row(2, "wide", -WIDE);
    cases.0[3].2 = row(3, "wide", i64::MIN);
    // One more than this is one too many.
    cases.0[4].2 = row(4, "more", WIDE - 1);
    let answers = resolver.resolve(&cases.disputes());
    for at in [1, 5] {
        assert_eq!(answers[at], Ok(Resolution::Merged(row(at as i64, "good", 2))));
    }
    for at in [0, 2, 3, 4] {
        told(answers[at].as_ref().expect_err("it would be rounded"), "resolver of `items`, resolve");
    }
    assert_eq!(resolver.spent().rows, 3, "the others are shown to it");
}

#[test]
fn neither_is_a_mapping() {
    let mapping = Mapping::open(rounding(), items(), "{}", &facts()).expect("a mapping");
    let rows = [row(1, "good", WIDE - 1), row(2, "wide", WIDE), row(WIDE, "its key", 1)];
    let to_shared = mapping.to_shared(&rows.iter().collect::<Vec<_>>());
    assert_eq!(to_shared[0], Ok(rows[0].clone()));
    to_shared[1..].iter().for_each(|one| told(one.as_ref().expect_err("it is wide"), "mapping of `items`, to-shared"));
    let put = |shared, current| Put { shared, current: Some(current) };
    let to_local = mapping.to_local(&[put(&rows[0], &rows[0]), put(&rows[0], &rows[1]), put(&rows[1], &rows[0])]);
    assert_eq!(to_local[0], Ok(rows[0].clone()));
    to_local[1..].iter().for_each(|one| told(one.as_ref().expect_err("it is wide"), "mapping of `items`, to-local"));
}

/// A session opens its plugins anew whenever it looks again at a table that stands still.
#[test]
fn it_is_told_once_of_each_table() {
    let plugin = rounding();
    for _ in 0..2 {
        Resolver::open(Arc::clone(&plugin), items(), "{}", &facts()).expect("a resolver");
        assert_eq!(plugin.warning_of("items"), None);
    }
    assert_eq!(plugin.warning_of("others"), plugin.warning());
    assert_eq!(plugin.warning_of("others"), None);
}

/// What a filter does not want to see does not matter.
#[test]
fn a_filter_judges_by_what_it_sees() {
    let filter = Filter::open(rounding(), items(), "{}", &facts()).expect("a filter");
    assert_eq!(filter.judge(&[&row(1, "good", WIDE), &row(WIDE, "drop", 1)]), [Ok(true), Ok(false)]);
}
