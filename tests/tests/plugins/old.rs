//! A component that was built against 0.1.0 of the interface, and is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use concord::model::Row;
use concord::plugin::{Filter, Limits, Mapping, Plugin, Put, Role};
use concord_tests::guests;
use wit_component::WitPrinter;
use wit_parser::Resolve;

use super::{facts, items, row};

const FILE: &str = "tests/guests/old/mirror.wasm";

fn old() -> Arc<Plugin> {
    let plugin = Plugin::load(&guests::host(), &guests::root().join(FILE), "mirror", Limits::default(), None);
    Arc::new(plugin.unwrap_or_else(|why| panic!("{why}")))
}

/// The lines of each interface of the package, in no order; without words about them, and without what they use of one another.
fn interfaces(resolve: &Resolve) -> BTreeMap<String, Vec<String>> {
    let (package, _) = (resolve.packages.iter())
        .find(|(_, package)| package.name.namespace == "concord" && package.name.name == "plugin")
        .expect("the package of plugins");
    let mut printer = WitPrinter::default();
    printer.emit_docs(false);
    printer.print(resolve, package, &[]).expect("it can be printed");
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut name = None;
    for line in printer.output.to_string().lines() {
        if let Some(begins) = line.strip_prefix("interface ") {
            name = Some(begins.trim_end_matches(" {").to_owned());
        } else if line == "}" {
            name = None;
        } else if let Some(name) = &name
            && !line.trim().is_empty()
            && !line.trim().starts_with("use ")
        {
            found.entry(name.clone()).or_default().push(line.to_owned());
        }
    }
    found.values_mut().for_each(|lines| lines.sort());
    found
}

/// Later versions add interfaces; what stands in these changes its shape with 0.2.0 at the earliest.
#[test]
fn the_interface_is_what_it_was_built_against() {
    let file = std::fs::read(guests::root().join(FILE)).expect("the file is kept");
    let decoded = wit_component::decode(&file).expect("a component");
    let was = interfaces(decoded.resolve());
    let mut resolve = Resolve::default();
    let text = std::fs::read_to_string(guests::root().join("wit/plugin.wit")).expect("the interface");
    resolve.push_str("plugin.wit", &text).expect("an interface");
    let mut is = interfaces(&resolve);
    assert_eq!(was.keys().collect::<Vec<_>>(), ["describe", "filter", "log", "mapping", "resolver", "types"]);
    is.retain(|name, _| was.contains_key(name));
    assert_eq!(is, was, "wit/plugin.wit changes what plugins were built against");
}

#[test]
fn it_still_plays_its_roles() {
    let plugin = old();
    assert_eq!(plugin.roles, [Role::Filter, Role::Mapping, Role::Resolver]);
    assert_eq!((&*plugin.description.version, &*plugin.description.summary), ("0.1.0", "What it is given, as it is"));
    let filter = Filter::open(plugin.clone(), items(), "{}", &facts()).expect("a filter");
    assert_eq!(filter.wanted(), [1]);
    let rows = ["good", "drop", "problem"].map(|note| row(1, note, i64::MIN));
    let judged = filter.judge(&rows.iter().collect::<Vec<_>>());
    assert_eq!((&judged[..2], judged[2].is_err()), (&[Ok(true), Ok(false)][..], true));
    let mapping = Mapping::open(plugin, items(), "{}", &facts()).expect("a mapping");
    assert_eq!(mapping.shape(), &items());
    let rows: Vec<Row> = vec![row(1, "good", i64::MAX), row(2, "äöü", i64::MIN)];
    let local: Vec<&Row> = rows.iter().collect();
    assert_eq!(mapping.to_shared(&local), rows.iter().cloned().map(Ok).collect::<Vec<_>>());
    let puts: Vec<Put<'_>> = rows.iter().map(|shared| Put { shared, current: Some(&rows[0]) }).collect();
    assert_eq!(mapping.to_local(&puts), rows.iter().cloned().map(Ok).collect::<Vec<_>>());
    let why = mapping.to_shared(&[&row(3, "problem", 1)]).remove(0).expect_err("a problem").to_string();
    assert_eq!(why, "plugin `mirror`, mapping of `items`, to-shared: `note`: the note is poison (bad-note); a hint");
}
