//! The bindings that lie beside the plugin in Go.

use concord_tests::guests;
use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;

#[test]
fn bindings_are_those_of_the_interface() {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(guests::root().join("wit")).expect("an interface");
    let world = resolve.select_world(&[package], Some("resolver-plugin")).expect("a world");
    let mut files = Files::default();
    wit_bindgen_go::Opts::default().build().generate(&mut resolve, world, &mut files).expect("bindings");
    let folder = guests::root().join("examples/plugins/go/bindings");
    for (name, content) in files.iter() {
        // It says where the runtime of the bindings lies, which is beside them.
        if name == "go.mod" {
            continue;
        }
        let file = folder.join(name);
        if std::env::var_os("CONCORD_RENEW_BINDINGS").is_some() {
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            std::fs::write(&file, content).expect("the bindings are written");
        }
        let there = std::fs::read(&file).unwrap_or_default();
        assert!(there == content, "{name} is not what the interface says; CONCORD_RENEW_BINDINGS=1 writes it anew");
    }
}
