//! The bindings that lie beside the plugin in C, and how its module becomes a component.

use std::path::PathBuf;
use std::process::Command;

use concord::plugin::{Role, componentize};
use concord_tests::{Concord, guests};
use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;

/// The folder of the example.
fn example() -> PathBuf {
    guests::root().join("examples/plugins/c")
}

/// Set to write the bindings anew, after the interface has changed.
const RENEW: &str = "CONCORD_RENEW_BINDINGS";

#[test]
fn bindings_are_those_of_the_interface() {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(guests::root().join("wit")).expect("an interface");
    let world = resolve.select_world(&[package], Some("resolver-plugin")).expect("a world");
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
