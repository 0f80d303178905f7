//! Loading what is no plugin, told step by step; what WebAssembly can be written by hand for.

mod inert;

use std::path::PathBuf;

use tempfile::TempDir;
use wasmtime::component::Component;
use wasmtime::{ResourceLimiter, Store};

use super::state::{Said, State, Who};
use super::*;

fn host() -> Host {
    Host::new(None).unwrap_or_else(|why| panic!("{why}"))
}

/// A file `x.wasm` of these bytes.
fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = Plugin::file(folder.path(), "x");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// What is said when this is loaded, with its code.
fn said(bytes: &[u8]) -> (String, String) {
    let (folder, path) = file(bytes);
    let failure = Plugin::load(&host(), &path, "x", Limits::default(), None).unwrap_err();
    let text = failure.to_string().replace(&folder.path().display().to_string(), "plugins");
    (failure.code.into(), text)
}

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

#[test]
fn what_is_no_component_is_told_from_the_first_bytes() {
    let (code, text) = said(b"hello");
    assert_eq!(code, "decode");
    assert_eq!(text, "plugin `x`: plugins/x.wasm is no WebAssembly (decode); a plugin is a component, a .wasm file");
    let (code, text) = said(&component("(module)"));
    assert_eq!(code, "decode");
    assert!(text.contains("is a core module of WebAssembly and no component"), "{text}");
    // The text form is refused too: a pin is one of bytes that are run.
    assert_eq!(said(b"(component)").0, "decode");
    let mut broken = component("(component (core module (func)))");
    broken.truncate(broken.len() - 3);
    let (code, text) = said(&broken);
    assert!(code == "decode" && text.contains("cannot be compiled"), "{text}");
}

#[test]
fn compiled_code_of_others_is_never_read() {
    let host = host();
    let compiled = host.engine.precompile_component(&component("(component)")).unwrap();
    let (code, text) = said(&compiled);
    assert!(code == "decode" && text.contains("is no WebAssembly"), "{text}");
}

#[test]
fn a_file_that_is_not_there_or_too_large_is_not_read() {
    let (_folder, path) = file(&[0; 2_000]);
    let limits = Limits { file: 1_000, ..Limits::default() };
    let failure = Plugin::load(&host(), &path, "x", limits, None).unwrap_err();
    assert_eq!(&*failure.code, "file");
    assert!(failure.message.ends_with("has 2000 bytes, and the limit is 1000"), "{failure}");
    assert_eq!(failure.hint.as_deref(), Some("raise `file` in [limits.x] if that is meant"));
    // Where no file sets them there is nothing to raise.
    let limits = Limits { file: 1_000, ..Limits::usual() };
    let hint = Plugin::load(&host(), &path, "x", limits, None).unwrap_err().hint;
    assert!(hint.is_some_and(|hint| hint.contains("usual limits") && !hint.contains("raise")));
    let limits = Limits::default();
    let failure = Plugin::load(&host(), &path.with_file_name("y.wasm"), "y", limits, None).unwrap_err();
    assert!(failure.message.starts_with("there is no file "), "{failure}");
}

#[test]
fn another_file_than_the_one_pinned_is_not_looked_into() {
    let (_folder, path) = file(b"hello");
    let pin = Pin { name: "x".into(), version: "1.2.0".into(), sha256: "0".repeat(64) };
    let failure = Plugin::load(&host(), &path, "x", Limits::default(), Some(&pin)).unwrap_err();
    assert_eq!(&*failure.code, "digest");
    let digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert!(failure.message.contains(digest) && failure.message.contains("version 1.2.0"), "{failure}");
}

#[test]
fn imports_and_roles_are_looked_at_before_anything_runs() {
    let (code, text) = said(&component(r#"(component (import "wasi:http/types@0.2.0" (instance)))"#));
    assert!(code == "import" && text.contains("needs `wasi:http/types@0.2.0`, which plugins are not given"), "{text}");
    let (code, text) = said(&component("(component)"));
    assert!(code == "role" && text.contains("plays no role: it exports nothing"), "{text}");
    let exports = r#"(component
        (instance $i)
        (export "concord:plugin/describe@0.1.0" (instance $i))
        (export "concord:plugin/filter@0.1.0" (instance $i)))"#;
    let (code, text) = said(&component(exports));
    assert!(code == "role" && text.contains("its `describe` is not that of the interface"), "{text}");
    let newer = r#"(component (instance $i) (export "concord:plugin/filter@0.2.0" (instance $i)))"#;
    let (code, text) = said(&component(newer));
    assert!(code == "role" && text.contains("made for concord:plugin@0.2.0"), "{text}");
}

/// A store with 1 MiB of memory.
fn store(host: &Host) -> Store<State> {
    let state = State::new(Who { plugin: "x".into(), role: None, table: None }, Said::default(), 1 << 20);
    let mut store = Store::new(&host.engine, state);
    store.limiter(|state| state);
    store.set_fuel(1_000_000).unwrap();
    store.set_epoch_deadline(100);
    store
}

/// What becomes of a component that does this when it is started.
fn start(text: &str) -> String {
    let host = host();
    let component = Component::from_binary(&host.engine, &component(text)).unwrap();
    let mut store = store(&host);
    match host.linker.instantiate(&mut store, &component) {
        Ok(_) => "it started".to_owned(),
        Err(why) => format!("{why:#}"),
    }
}

#[test]
fn nobody_waits_for_a_clock_that_stands_still() {
    let waits = |version: &str, function: &str| {
        start(&format!(
            r#"(component
            (import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type (sub resource)))))
            (alias export $poll "pollable" (type $pollable))
            (import "wasi:clocks/monotonic-clock@{version}" (instance $clock
                (alias outer 1 $pollable (type $p))
                (export "pollable" (type $own (eq $p)))
                (export "now" (func (result u64)))
                (export "{function}" (func (param "when" u64) (result (own $own))))))
            (core func $wait (canon lower (func $clock "{function}")))
            (core module $m
                (import "" "wait" (func $wait (param i64) (result i32)))
                (func $start (drop (call $wait (i64.const 3600000000000))))
                (start $start))
            (core instance (instantiate $m (with "" (instance (export "wait" (func $wait)))))))"#
        ))
    };
    for function in ["subscribe-duration", "subscribe-instant"] {
        // A component finds what it was built against in any later version.
        for version in ["0.2.0", "0.2.3", "0.2.12"] {
            let said = waits(version, function);
            assert!(said.contains("wants to wait"), "{function} of {version}: {said}");
        }
    }
}

/// What is said of a filter that does one thing when it is started, and another when it is to describe itself.
fn described(start: &str, describe: &str) -> String {
    let module = format!(
        r#"(module
            (memory (export "memory") 1)
            (func $deep (call $deep))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8))
            (func $start {start})
            (start $start)
            (func (export "concord:plugin/describe@0.1.0#describe") (result i32) {describe} (i32.const 0))
            (func (export "concord:plugin/filter@0.1.0#open") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 0))
            (func (export "concord:plugin/filter@0.1.0#judge") (param i32 i32) (result i32) (i32.const 0)))"#
    );
    let bytes = componentize(&wat::parse_str(module).unwrap(), Some(Role::Filter)).unwrap();
    let limits = Limits { memory: 1 << 20, fuel: 100_000, fuel_per_row: 1, ..Limits::default() };
    let loaded = Plugin::of_bytes(&host(), &bytes, &PathBuf::from("x.wasm"), "x", limits, None);
    loaded.unwrap_err().to_string()
}

/// No sync begins with such a plugin, and none is the worse for it.
#[test]
fn what_is_done_before_anything_was_asked_is_bounded_and_told() {
    for (attack, told) in [
        (
            "(loop (br 0))",
            "it used up its 100001 instructions of fuel (fuel); raise `fuel` in [limits.x] if it needs them",
        ),
        ("(call $deep)", "its calls go too deep (stack)"),
        (
            "(loop (drop (memory.grow (i32.const 1))) (br 0))",
            "it asked for more than 1 MiB of memory (memory); raise `memory` in [limits.x] if it needs that",
        ),
        (
            "(unreachable)",
            "it gave up (trap); it did not say why; if its tool took the standard error away (componentize-py -s), leave it that",
        ),
        (
            "(drop (i32.load (i32.const -4)))",
            "it broke down (wasm trap: out of bounds memory access) (trap); calls of Rust and C that go too deep end so, since their \
             stack lies in memory",
        ),
        ("(drop (i32.div_s (i32.const 1) (i32.const 0)))", "it broke down (wasm trap: integer divide by zero) (trap)"),
    ] {
        assert_eq!(described(attack, ""), format!("plugin `x`, start: {told}"), "{attack}");
        assert_eq!(described("", attack), format!("plugin `x`, describe: {told}"), "{attack}");
    }
    // A description that lies nowhere, and one without end.
    let nowhere = "(return (i32.const -8))";
    let endless = "(i32.store (i32.const 0) (i32.const 8)) (i32.store (i32.const 4) (i32.const -1))";
    for (attack, told) in [(nowhere, "pointer not aligned"), (endless, "out of bounds")] {
        let said = described("", attack);
        assert!(said.starts_with("plugin `x`, describe: it broke down (") && said.ends_with(" (trap)"), "{said}");
        assert!(said.contains("out of bounds") || said.contains(told), "{said}");
    }
}

#[test]
fn what_a_start_may_use_up_is_bounded() {
    let module = |body: &str| format!("(component (core module $m {body}) (core instance (instantiate $m)))");
    assert_eq!(start(&module("(memory 16)")), "it started");
    assert!(start(&module("(memory 17)")).contains("no more memory"));
    assert!(start(&module("(func $f (loop (br 0))) (start $f)")).contains("all fuel consumed"));
    assert!(start(&module("(table 200001 funcref)")).contains("no larger table"));
    // All memories count together.
    let two =
        "(component (core module $m (memory 10)) (core instance (instantiate $m)) (core instance (instantiate $m)))";
    assert!(start(two).contains("no more memory"));
    // So do instances, memories and tables, however small they are.
    let many = |module: &str, count: usize| {
        start(&format!("(component (core module $m {module}) {})", "(core instance (instantiate $m))".repeat(count)))
    };
    assert_eq!(many("", 64), "it started");
    assert!(many("", 65).contains("instance count too high at 65"));
    assert_eq!(many("(memory 0)", 16), "it started");
    assert!(many("(memory 0)", 17).contains("memory count too high at 17"));
    assert_eq!(many(&"(table 0 funcref)".repeat(32), 2), "it started");
    assert!(many(&"(table 0 funcref)".repeat(13), 5).contains("table count too high at 65"));
}

/// Memory of so many bytes at once that the account of it would begin anew.
#[test]
fn what_memory_is_asked_for_is_counted_however_much_it_is() {
    let mut state = State::new(Who { plugin: "x".into(), role: None, table: None }, Said::default(), 1 << 20);
    let page = 1 << 16;
    assert!(state.memory_growing(0, page, None).unwrap());
    for _ in 0..20 {
        state.memory_growing(0, usize::MAX - page + 1, None).unwrap_err();
    }
    assert_eq!((state.peak(), state.refused()), (page, Some("asked for more than 1 MiB of memory")));
    // There is none that could be asked for so much.
    let component = component("(component (core module (memory i64 0)))");
    let why = Component::from_binary(&host().engine, &component).err().map(|why| format!("{why:#}"));
    assert!(why.as_ref().is_some_and(|why| why.contains("64")), "{why:?}");
}
