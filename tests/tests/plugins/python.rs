//! The plugin in Python, made as its README says.

use std::process::Command;

use concord_tests::{Concord, guests};

#[tokio::test]
async fn the_shortest_text_wins() {
    let tool = guests::said(&mut Command::new(guests::root().join("scripts/componentize-py")));
    let example = guests::root().join("examples/plugins/python");
    let mut folder = Concord::new("");
    folder.env("CONCORD_CACHE_DIR", &guests::cache().display().to_string());
    let mut build = Command::new("sh");
    build.arg(example.join("build")).arg(tool.trim()).arg(folder.path("shortest.wasm"));
    guests::said(build.env("PYTHONDONTWRITEBYTECODE", "1"));
    let fixtures = example.join("fixtures").display().to_string();
    let tested = folder.run(&["plugin", "test", "shortest.wasm", "--fixtures", &fixtures]).await;
    assert_eq!(tested.status.code(), Some(0), "{}{}", tested.stdout, tested.stderr);
}
