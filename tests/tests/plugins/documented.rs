//! What is said to authors of plugins: no word of the interface is left unexplained, and the programs that are shown are tested ones.

use concord::plugin::Plugin;
use concord_tests::{Concord, guests};
use wit_parser::{Docs, Resolve, Type, TypeDefKind};

fn read(file: &str) -> String {
    std::fs::read_to_string(guests::root().join(file)).unwrap_or_else(|why| panic!("{file}: {why}"))
}

/// The program in a file, without the line that says what it is.
fn program(file: &str) -> String {
    let text = read(file);
    let (about, program) = text.split_once("\n\n").expect("a line and a program");
    assert!(about.starts_with("//! ") && !about.contains('\n'), "{file}: {about}");
    program.to_owned()
}

/// Lines as they stand in a text, with something in front of those that are not empty.
fn behind(front: &str, text: &str) -> String {
    text.lines().map(|line| format!("{}\n", format!("{front}{line}").trim_end())).collect()
}

#[test]
fn every_word_of_the_interface_is_explained() {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("plugin.wit", &read("wit/plugin.wit")).expect("an interface");
    let mut words: Vec<(String, &Docs)> = vec![("the package".to_owned(), &resolve.packages[package].docs)];
    words.extend(resolve.worlds.iter().map(|(_, world)| (world.name.clone(), &world.docs)));
    for (_, interface) in resolve.interfaces.iter() {
        let name = interface.name.as_deref().expect("none is a world's own");
        words.push((name.to_owned(), &interface.docs));
        let functions = interface.functions.iter();
        words.extend(functions.map(|(function, known)| (format!("{name}.{function}"), &known.docs)));
        for (ty, id) in &interface.types {
            let ty = format!("{name}.{ty}");
            let known = &resolve.types[*id];
            let parts: Vec<(&String, &Docs)> = match &known.kind {
                // It is another interface's, and explained there.
                TypeDefKind::Type(Type::Id(_)) => continue,
                TypeDefKind::Record(record) => record.fields.iter().map(|one| (&one.name, &one.docs)).collect(),
                TypeDefKind::Variant(variant) => variant.cases.iter().map(|one| (&one.name, &one.docs)).collect(),
                TypeDefKind::Enum(known) => known.cases.iter().map(|one| (&one.name, &one.docs)).collect(),
                _ => Vec::new(),
            };
            words.extend(parts.into_iter().map(|(part, docs)| (format!("{ty}.{part}"), docs)));
            words.push((ty, &known.docs));
        }
    }
    for known in [
        "every-role",
        "log",
        "filter.judge",
        "types.row",
        "types.value.null",
        "resolver.change.after",
        "log.level.warn",
    ] {
        assert!(words.iter().any(|(word, _)| word == known), "{known} is not looked at");
    }
    let silent: Vec<&String> = words.iter().filter(|(_, docs)| docs.is_empty()).map(|(word, _)| word).collect();
    assert!(silent.is_empty(), "wit/plugin.wit does not say what these are: {silent:?}");
}

#[test]
fn programs_that_are_shown_are_those_of_the_examples() {
    let page = read("docs/src/plugins.md");
    for source in [
        "examples/plugins/longest/src/lib.rs",
        "examples/plugins/region/src/lib.rs",
        "examples/plugins/full-name/src/lib.rs",
        "tests/guests/germany/src/lib.rs",
    ] {
        assert!(
            page.contains(&behind("    ", &program(source))),
            "docs/src/plugins.md does not show {source} as it is"
        );
    }
    let smallest = behind("//! ", &program("tests/guests/germany/src/lib.rs"));
    let shown = format!("standalone_crate\n{smallest}//! ```\n");
    assert!(read("plugins/sdk/src/lib.rs").contains(&shown), "the SDK does not show the smallest filter as it is");
}

#[tokio::test]
async fn the_smallest_filter_is_a_whole_one() {
    let mut folder = Concord::new("");
    folder.env("CONCORD_CACHE_DIR", &guests::cache().display().to_string());
    let plugin = Plugin::file(&guests::plugins(), "germany").display().to_string();
    let said = folder.run(&["plugin", "check", &plugin]).await.ok().stdout;
    for told in ["germany", "0.2.0", "filter", "Rows of Germany belong at the node"] {
        assert!(said.contains(told), "{said}");
    }
    let fixtures = guests::root().join("tests/guests/germany/fixtures").display().to_string();
    let tested = folder.run(&["plugin", "test", &plugin, "--fixtures", &fixtures]).await;
    assert_eq!(tested.status.code(), Some(0), "{}{}", tested.stdout, tested.stderr);
    for told in ["germany ", "refused-table "] {
        assert!(tested.stdout.lines().any(|line| line.starts_with(told)), "{told}: {}", tested.stdout);
    }
}
