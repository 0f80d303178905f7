//! The plugin in TypeScript in a sync, one that was begun by `concord plugin new`, and what only this language has.

use std::process::Command;

use concord::plugin::Limits;
use concord_tests::{Cluster, Concord, Kind, Output, guests};

use super::languages::{Made, TYPESCRIPT, mirror};
use super::{Cases, items};

/// Puts the example beside the compiled plugins, where a sync looks for it.
fn shortest() {
    let made = TYPESCRIPT.plugin();
    let plugin = guests::plugins().join("shortest.wasm");
    let content = std::fs::read(made).expect("a plugin");
    if std::fs::read(&plugin).is_ok_and(|old| old == content) {
        return;
    }
    // Whoever reads it now goes on with the old one.
    let draft = tempfile::NamedTempFile::new_in(guests::plugins()).expect("a file");
    std::fs::write(draft.path(), content).expect("the plugin is written");
    draft.persist(&plugin).expect("the plugin is put there");
}

fn ended(output: &Output, code: i32) -> &str {
    assert_eq!(output.status.code(), Some(code), "{}{}", output.stdout, output.stderr);
    &output.stdout
}

#[tokio::test]
async fn conflicts_are_decided_by_it() {
    shortest();
    let setup = |_| {
        "CREATE TABLE items (id integer PRIMARY KEY, note text); INSERT INTO items VALUES (1, 'a'), (2, 'b')".to_owned()
    };
    let tables = "[tables.items]\nconflict = { plugin = \"shortest\", column = \"note\" }";
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Sqlite], setup, tables).await;
    cluster.pin(&["shortest"]);
    cluster.install().await;
    cluster
        .later(0, "UPDATE items SET note = 'äöü' WHERE id = 1; UPDATE items SET note = 'rather long' WHERE id = 2")
        .await;
    cluster.later(1, "UPDATE items SET note = 'four' WHERE id = 1; UPDATE items SET note = 'short' WHERE id = 2").await;
    assert_eq!(cluster.settle().await.conflicts, 2);
    cluster.holds("SELECT id, note FROM items ORDER BY id", &["1|äöü", "2|short"]).await;
    // What it refuses.
    cluster.configure(&tables.replace("\"note\"", "\"nothing\""));
    let error = cluster.session().sync().await.expect_err("no such column").to_string();
    assert!(error.contains("`nothing`: `items` has no such column (unknown-column)"), "{error}");
}

/// It is the example, but for names and places; that it can be built is seen below.
#[tokio::test]
async fn it_is_begun_with_the_example() {
    let folder = Concord::new("");
    ended(&folder.run(&["plugin", "new", "my-rule", "--lang", "ts"]).await, 0);
    let read = |file: &str| std::fs::read_to_string(folder.path("my-rule").join(file)).expect("a file");
    let example = guests::root().join("examples/plugins/typescript/shortest.ts");
    let example = std::fs::read_to_string(example).expect("the example").replace("'shortest'", "'my-rule'");
    assert_eq!(read("plugin.ts"), example);
    for file in ["README.md", "build", "package.json", "package-lock.json", "tsconfig.json"] {
        for other in ["shortest.", "\"shortest\"", "region", "full_name", "every-role"] {
            assert!(!read(file).contains(other), "{other} in {file}: {}", read(file));
        }
    }
    assert!(read("README.md").contains("plugin test my-rule.wasm"), "{}", read("README.md"));
    assert_eq!(read("wit/plugin.wit"), std::fs::read_to_string(guests::root().join("wit/plugin.wit")).unwrap());
}

/// A folder in which a plugin was begun, with this source in place of that with which it was begun.
async fn begun(source: &str) -> Concord {
    let folder = Concord::new("");
    ended(&folder.run(&["plugin", "new", "mirror", "--lang", "typescript"]).await, 0);
    folder.write("mirror/plugin.ts", source);
    folder
}

/// The source of a guest.
fn source() -> String {
    std::fs::read_to_string(guests::root().join("tests/guests/mirror/mirror.ts")).expect("a guest")
}

#[test]
fn a_problem_that_is_thrown_where_one_is_answered_is_an_error() {
    let mirror = mirror(Made::As(TYPESCRIPT), Limits::default(), items(), "{}").expect("a resolver");
    let answers = mirror.resolve(&Cases::of(&["good", "problem, thrown", "good"]).disputes());
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    let said = answers[1].as_ref().expect_err("a problem").to_string();
    assert!(
        said.starts_with("plugin `mirror`, resolver of `items`, resolve: it gave up (trap); it did not say why"),
        "{said}"
    );
}

/// At run time it would be rounded without a word.
#[tokio::test]
async fn a_number_in_place_of_64_bits_is_not_built() {
    let rounds = source().replace("value.val + 1n", "Number(value.val) + 1");
    assert_ne!(rounds, source());
    let folder = begun(&rounds).await;
    let tools = guests::said(Command::new(guests::root().join("scripts/from-npm")).arg("typescript"));
    let built = Command::new("sh").arg(folder.path("mirror/build")).arg(tools.trim()).output().expect("a shell");
    assert!(!built.status.success() && !folder.path("mirror/mirror.wasm").exists(), "{built:?}");
    let told = String::from_utf8_lossy(&built.stderr);
    assert!(told.contains("Type 'number' is not assignable to type 'bigint'"), "{told}");
}

/// Its memory grows from call to call; where there is no more, a new instance goes on.
#[test]
fn it_runs_out_of_memory_and_goes_on() {
    let limits = Limits { memory: 24 << 20, ..Limits::default() };
    let mirror = mirror(Made::As(TYPESCRIPT), limits, items(), "{}").expect("a resolver");
    let notes: Vec<String> = (0..1000).map(|at| format!("a note that is not so short, number {at}")).collect();
    let cases = Cases::of(&notes.iter().map(String::as_str).collect::<Vec<_>>());
    for _ in 0..20 {
        assert!(mirror.resolve(&cases.disputes()).iter().all(Result::is_ok));
    }
    let calls = mirror.spent().calls;
    assert!(calls > 20, "{calls} calls: it never ran out of memory");
}
