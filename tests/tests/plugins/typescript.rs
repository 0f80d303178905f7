//! The plugin in TypeScript, made as its README says.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use concord::plugin::Limits;
use concord_tests::{Cluster, Concord, Kind, Output, guests};

use super::load;

/// Makes a plugin of what is in a folder, by its own script, and puts it beside the compiled ones. No two builds are alike and
/// each has to be compiled anew, so one that was made of the same is kept.
fn made(folder: &Path, source: &str, name: &str) {
    let plugins = guests::plugins();
    let (plugin, note) = (plugins.join(format!("{name}.wasm")), plugins.join(format!("{name}.made-of")));
    let lock = File::create(plugins.join(".typescript")).expect("a lock");
    lock.lock().expect("a lock");
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap_or_else(|why| panic!("{file}: {why}"));
    let wit = std::fs::read_to_string(guests::root().join("wit/plugin.wit")).expect("the interface");
    let of = [source, "build", "tsconfig.json", "package-lock.json"].map(read).concat() + &wit;
    if plugin.is_file() && std::fs::read_to_string(&note).is_ok_and(|old| old == of) {
        return;
    }
    let tools = guests::said(&mut Command::new(guests::root().join("scripts/componentize-js")));
    let draft = plugins.join(format!("{name}.draft"));
    guests::said(Command::new("sh").arg(folder.join("build")).arg(tools.trim()).arg(&draft));
    std::fs::rename(&draft, &plugin).expect("the plugin is put there");
    std::fs::write(&note, of).expect("the note is written");
}

/// The example.
fn shortest() {
    made(&guests::root().join("examples/plugins/typescript"), "shortest.ts", "shortest");
}

fn ended(output: &Output, code: i32) -> &str {
    assert_eq!(output.status.code(), Some(code), "{}{}", output.stdout, output.stderr);
    &output.stdout
}

#[tokio::test]
async fn the_shortest_text_wins() {
    shortest();
    load("shortest", Limits::default()).expect("it is compiled here, with time enough");
    let mut folder = Concord::new("");
    folder.env("CONCORD_CACHE_DIR", &guests::cache().display().to_string());
    let plugin = guests::plugins().join("shortest.wasm").display().to_string();
    let said = folder.run(&["plugin", "check", &plugin]).await;
    assert!(ended(&said, 0).contains("The version with the shortest text in a column wins"), "{}", said.stdout);
    let fixtures = guests::root().join("examples/plugins/typescript/fixtures").display().to_string();
    ended(&folder.run(&["plugin", "test", &plugin, "--fixtures", &fixtures]).await, 0);
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
