//! The bindings that lie beside the plugins in C, how their modules become components, and what they do for want of a library.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use concord::model::Row;
use concord::plugin::{Filter, Limits, Mapping, Plugin, Put, Role, componentize};
use concord_tests::{Concord, guests};
use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;

use super::languages::C;
use super::{facts, items, row};

/// The folder of the example.
fn example() -> PathBuf {
    guests::root().join("examples/plugins/c")
}

/// Set to write the bindings anew, after the interface has changed.
const RENEW: &str = "CONCORD_RENEW_BINDINGS";

#[test]
fn bindings_are_those_of_the_interface() {
    for role in Role::ALL {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_path(guests::root().join("wit")).expect("an interface");
        let world = resolve.select_world(&[package], Some(&format!("{role}-plugin"))).expect("a world");
        let mut files = Files::default();
        let options = wit_bindgen_c::Opts { no_object_file: true, ..Default::default() };
        options.build().generate(&mut resolve, world, &mut files).expect("bindings");
        let folder = example().join("bindings");
        for (name, content) in files.iter() {
            let file = folder.join(name);
            if std::env::var_os(RENEW).is_some() {
                std::fs::write(&file, content).expect("the bindings are written");
            }
            let there = std::fs::read(&file).unwrap_or_default();
            assert!(there == content, "{name} is not what the interface says; {RENEW}=1 writes it anew");
        }
    }
}

#[tokio::test]
async fn a_module_that_does_not_say_what_it_serves_is_told_to() {
    let concord = Concord::new("");
    let module = concord.path("shortest-core.wasm");
    guests::said(Command::new("sh").arg(example().join("build")).arg(&module));
    let built = concord.run(&["plugin", "build", "shortest-core.wasm", "--output", "shortest.wasm"]).await;
    assert_eq!(built.status.code(), Some(2), "{}", built.stderr);
    assert!(built.stderr.contains("--role"), "{}", built.stderr);
    let build = ["plugin", "build", "shortest-core.wasm", "--role", "resolver", "--output", "shortest.wasm"];
    concord.run(&build).await.ok();
    // A role that it does not play.
    let why = componentize(&std::fs::read(module).expect("a module"), Some(Role::Filter)).expect_err("no filter");
    assert!(why.contains("filter"), "{why}");
}

/// The filter in C, opened for `items`.
fn region(limits: Limits, config: &str) -> Filter {
    let file = C.other("region", "region", Role::Filter);
    let plugin = Plugin::load(&guests::host(), &file, "region", limits, None).expect("a plugin");
    Filter::open(Arc::new(plugin), items(), config, &facts()).expect("a filter")
}

/// It has a reader of its own for what its schema allows.
#[test]
fn a_configuration_is_read_however_it_is_written() {
    let config = r#" { "values" : [ "two \"\\\/\b\f\n\r\t", "caf\u00e9 \u20AC \ud83D\uDe00\u0041", "straße, [:]" ,"" ] , "column":"no\u0074e" } "#;
    let filter = region(Limits::default(), config);
    assert_eq!(filter.wanted(), [1]);
    let notes = [
        ("two \"\\/\u{8}\u{c}\n\r\t", true),
        ("café € 😀A", true),
        ("straße, [:]", true),
        ("", true),
        ("note", false),
        ("two ", false),
        ("café € 😀", false),
    ];
    for (note, belongs) in notes {
        assert_eq!(filter.judge(&[&row(1, note, 1)]), [Ok(belongs)], "{note:?}");
    }
    let filter = region(Limits::default(), r#"{"column":"note","values":[]}"#);
    assert_eq!(filter.judge(&[&row(1, "", 1)]), [Ok(false)]);
}

/// Memory is given back after each answer, but for what was learnt when it was opened.
#[test]
fn what_is_learnt_stays_and_answers_do_not() {
    let limits = Limits { memory: 1 << 20, ..Limits::default() };
    let filter = region(limits, r#"{"column": "note", "values": ["here", "there"]}"#);
    let rows: Vec<Row> =
        (0..1000).map(|at| row(at, ["here", "a note that belongs nowhere", "there"][at as usize % 3], 1)).collect();
    let rows: Vec<&Row> = rows.iter().collect();
    for _ in 0..30 {
        let answers = filter.judge(&rows);
        assert!(answers.iter().enumerate().all(|(at, answer)| *answer == Ok(at % 3 != 1)));
    }
    assert_eq!(filter.spent().calls, 30, "one instance has answered all");
    let mapping = C.other("full-name", "full_name", Role::Mapping);
    let plugin = Plugin::load(&guests::host(), &mapping, "full-name", limits, None).expect("a plugin");
    let config = r#"{"name": "note", "first": "note", "last": "stock", "cents": []}"#;
    let mapping = Mapping::open(Arc::new(plugin), items(), config, &facts()).expect("a mapping");
    for _ in 0..30 {
        let shared = mapping.to_shared(&rows);
        assert!(shared.iter().all(Result::is_ok), "{shared:?}");
        let shared: Vec<Row> = shared.into_iter().flatten().collect();
        let puts: Vec<Put<'_>> =
            shared.iter().zip(&rows).map(|(shared, row)| Put { shared, current: Some(row) }).collect();
        assert!(mapping.to_local(&puts).iter().zip(&rows).all(|(local, row)| local.as_ref() == Ok(*row)));
    }
    assert_eq!(mapping.spent().calls, 60, "one instance has answered all");
}
