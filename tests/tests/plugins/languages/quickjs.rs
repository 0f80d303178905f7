//! What componentize-qjs makes: a component in which a 64-bit integer is a float. It is noticed, and said.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use concord::plugin::{Limits, Resolution};
use concord_tests::{Concord, guests};

use super::{Cases, Made, answer, mirror};

/// The mirror in JavaScript, made by the other tool; in it an integer is a number, so it counts with those.
fn made() -> PathBuf {
    let tools = guests::root().join("target/npm/quickjs");
    std::fs::create_dir_all(&tools).expect("a folder");
    let lock = File::create(tools.join(".lock")).expect("a lock");
    lock.lock().expect("a lock");
    let (source, plugin) = (tools.join("mirror.js"), tools.join("mirror.wasm"));
    let mirror = std::fs::read_to_string(guests::root().join("tests/guests/mirror/mirror.js")).expect("a guest");
    let numbers = mirror.replace("1n", "1");
    assert_ne!(numbers, mirror);
    if plugin.is_file() && std::fs::read_to_string(&source).is_ok_and(|old| old == numbers) {
        return plugin;
    }
    let program = tools.join("node_modules/.bin/componentize-qjs");
    if !program.exists() {
        let install = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"];
        guests::said(Command::new("npm").args(install).arg(&tools).arg("componentize-qjs@0.4.5"));
    }
    std::fs::write(&source, numbers).expect("the source is written");
    let mut make = Command::new(program);
    make.args(["--sync", "--stub-wasi", "-n", "resolver-plugin", "--wit"]).arg(guests::root().join("wit"));
    guests::said(make.arg("--js").arg(&source).arg("-o").arg(&plugin));
    plugin
}

const WHY: &str = "the row holds an integer beyond 2^53 - 1, and componentize-qjs, which made it, rounds those (rounds); make the plugin \
                   with componentize-js";

/// Made in another way than by a `build`.
fn opened() -> concord::plugin::Resolver {
    let plugin = super::loaded(&made(), "mirror", super::limits()).expect("a plugin");
    assert_eq!(plugin.rounds, Some("componentize-qjs"));
    concord::plugin::Resolver::open(plugin.into(), super::items(), "{}", &super::facts()).expect("a resolver")
}

#[test]
#[ignore = "needs a compiler that only `make languages` fetches, and runs it"]
fn what_it_would_round_is_kept_from_it() {
    let asked = opened();
    let told = |stock: i64, note: &str| {
        let row = super::super::row(1, note, stock);
        answer(&asked, Some(&row), Some(&row)).map_err(|failure| failure.to_string())
    };
    let most = (1 << 53) - 1;
    for stock in [0, most, -most] {
        assert_eq!(told(stock, "as it is"), Ok(Resolution::Merged(super::super::row(1, "as it is", stock))));
    }
    for stock in [most + 1, -most - 1, i64::MIN, i64::MAX] {
        let said = told(stock, "as it is").expect_err("it would be rounded");
        assert!(said.starts_with(&format!("plugin `mirror`, resolver of `items`, resolve: {WHY}")), "{said}");
    }
    // So is what comes out beyond it.
    for stock in [most, most - 1] {
        let said = told(stock, "more").map_err(|said| said.contains(WHY));
        match stock == most {
            true => assert_eq!(said, Err(true)),
            false => assert_eq!(said, Ok(Resolution::Merged(super::super::row(1, "more", most)))),
        }
    }
}

#[test]
#[ignore = "needs a compiler that only `make languages` fetches, and runs it"]
fn its_neighbours_are_decided() {
    let asked = opened();
    let mut cases = Cases::of(&["good", "wide", "good", "wide", "wide", "good"]);
    for at in [1, 3, 4] {
        cases.0[at].2 = super::super::row(at as i64, "wide", i64::MAX);
    }
    let answers = asked.resolve(&cases.disputes());
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true, false, false, true]);
    assert_eq!(asked.spent().rows, 3, "it was shown the others");
}

#[tokio::test]
#[ignore = "needs a compiler that only `make languages` fetches, and runs it"]
async fn whoever_looks_at_it_is_told() {
    let mut folder = Concord::new("");
    folder.env("CONCORD_CACHE_DIR", &guests::cache().display().to_string());
    let plugin = made();
    super::loaded(&plugin, "mirror", super::limits()).expect("it is compiled here, with time enough");
    let plugin = plugin.display().to_string();
    let said = folder.run(&["plugin", "check", &plugin]).await;
    assert_eq!(said.status.code(), Some(0), "{}{}", said.stdout, said.stderr);
    let told = "warning: plugin `mirror` was made by componentize-qjs: integers beyond 2^53 - 1 would be rounded in it, so rows with such \
                are kept from it and wait; make the plugin with componentize-js, where they are exact";
    assert!(said.stdout.contains(told), "{}", said.stdout);
}

/// No other tool is taken for it.
#[test]
#[ignore = "needs a compiler that only `make languages` fetches, and runs it"]
fn others_do_not_round() {
    for made in [Made::InRust, Made::As(super::TYPESCRIPT)] {
        let exact = mirror(made, Limits::default(), super::items(), "{}").expect("a resolver");
        assert_eq!(exact.plugin().rounds, None);
    }
}
