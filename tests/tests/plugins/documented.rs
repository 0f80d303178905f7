//! What is said to authors of plugins: no word of the interface is left unexplained, and the programs that are shown are tested ones.

use std::path::Path;
use std::time::Duration;

use concord::config::Config;
use concord::plugin::{Limits, Plugin};
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

/// Limits of which none is the usual one.
fn none() -> Limits {
    Limits { file: 0, memory: 0, fuel: 0, fuel_per_row: 0, time: Duration::ZERO, answer: 0, can_be_set: true }
}

#[test]
fn limits_are_the_ones_that_are_told() {
    let page = read("docs/src/plugins.md");
    let (_, table) = page.split_once("| key in `[limits.NAME]` | default | meaning |\n").expect("a table of limits");
    let lines = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split('|').map(str::trim).collect()).collect();
    assert_eq!(rows.len(), Limits::NAMED.len(), "{rows:?}");
    let mut told = none();
    for limit in Limits::NAMED {
        let row = rows.iter().find(|row| row[1] == format!("`{}`", limit.name));
        let row = row.unwrap_or_else(|| panic!("docs/src/plugins.md does not tell of `{}`", limit.name));
        // One of them goes on from the line above, which has the unit.
        assert!(row[3].starts_with(limit.unit) || row[3].starts_with('…'), "{row:?}");
        let usual = row[2].parse::<i64>().unwrap_or_else(|why| panic!("{row:?}: {why}"));
        assert!(limit.set(&mut told, usual), "{row:?}");
    }
    assert_eq!(told, Limits::default(), "docs/src/plugins.md tells other limits than there are");
}

/// Each by another number, so that none passes for another.
#[test]
fn every_limit_can_be_set() {
    let parse = |limits: &str| {
        let text = format!(
            "name = \"shop\"\nplugins = \"plugins\"\n[nodes.office]\nurl = \"sqlite:a.db\"\n[nodes.branch]\nurl = \"sqlite:b.db\"\n\
             [limits.cel]\n{limits}\n[tables.items.nodes.branch]\nfilter = {{ plugin = \"cel\", keep = \"true\" }}\n"
        );
        Config::parse(Path::new("concord.toml"), text, &|_| None)
    };
    let config = parse("file = 2\nmemory = 3\nfuel = 5\nfuel_per_row = 7\ntime = 11\nanswer = 13");
    let set = Limits {
        file: 2 << 20,
        memory: 3 << 20,
        fuel: 5,
        fuel_per_row: 7,
        time: Duration::from_secs(11),
        answer: 13 << 20,
        ..none()
    };
    assert_eq!(config.unwrap_or_else(|why| panic!("{why}")).plugins.limits("cel"), set);
    // One more than makes sense is refused, and so is nothing.
    for limit in Limits::NAMED {
        for number in [0, limit.most + 1] {
            let why = parse(&format!("{} = {number}", limit.name)).expect_err(limit.name).to_string();
            assert!(why.contains(&format!("`{}` must be between 1 and {}", limit.name, limit.most)), "{why}");
        }
    }
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
