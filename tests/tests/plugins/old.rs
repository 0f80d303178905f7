//! A component that was built against 0.1.0 of the interface, and is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use concord::model::Row;
use concord::plugin::{Filter, Limits, Mapping, Plugin, Put, Role};
use concord_tests::guests;
use wit_component::WitPrinter;
use wit_parser::Resolve;

use super::commands::{ended, folder};
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

/// In every role, from its pin to what it made of rows in both databases.
#[tokio::test]
async fn it_still_goes_through_a_sync() {
    let concord = folder(
        "[tables.disputed]\nconflict = { plugin = \"mirror\" }\n\
         [tables.judged.nodes.branch]\nfilter = { plugin = \"mirror\" }\n\
         [tables.shaped.nodes.branch]\nmapping = { plugin = \"mirror\" }\n",
    );
    std::fs::copy(guests::root().join(FILE), concord.path("plugins/mirror.wasm")).expect("the file is kept");
    let open = |file: &str| rusqlite::Connection::open(concord.path(file)).expect("a database");
    for file in ["a.db", "b.db"] {
        let table = |name: &str| format!("CREATE TABLE {name} (id integer PRIMARY KEY, note text, stock integer);");
        let rows = "INSERT INTO disputed VALUES (1, 'good', 1), (2, 'good', 2);";
        let made = ["disputed", "judged", "shaped"].map(table).concat();
        open(file).execute_batch(&format!("{made}{rows}")).expect("tables");
    }
    assert_eq!(ended(&concord.run(&["plugin", "lock"]).await, 0), "pinned mirror\n");
    ended(&concord.run(&["install"]).await, 0);
    let branch = "UPDATE disputed SET stock = 9; INSERT INTO shaped VALUES (1, 'äöü', -1)";
    open("b.db").execute_batch(branch).expect("changes");
    // Should all be of one millisecond, the first node wins as well. Of the latest version, `more` makes what no version has.
    let office =
        "UPDATE disputed SET note = 'more', stock = 5 WHERE id = 1; UPDATE disputed SET note = 'late' WHERE id = 2;
                  INSERT INTO judged VALUES (1, 'good', 1), (2, 'drop', 2);
                  INSERT INTO shaped VALUES (2, 'good', 2), (3, 'problem', 3)";
    open("a.db").execute_batch(office).expect("changes");
    ended(&concord.run(&["sync"]).await, 1);
    let rows = |file: &str, table: &str| {
        let (database, sql) = (open(file), format!("SELECT id, note, stock FROM {table} ORDER BY id"));
        let mut query = database.prepare(&sql).expect("a query");
        let told = |row: &rusqlite::Row<'_>| {
            Ok(format!("{}|{}|{}", row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
        };
        let rows = query.query_map([], told).expect("rows").collect::<rusqlite::Result<Vec<String>>>();
        rows.expect("rows")
    };
    for file in ["a.db", "b.db"] {
        assert_eq!(rows(file, "disputed"), ["1|more|6", "2|late|2"], "{file}");
    }
    assert_eq!(rows("b.db", "judged"), ["1|good|1"]);
    assert_eq!(rows("a.db", "shaped"), ["1|äöü|-1", "2|good|2", "3|problem|3"]);
    assert_eq!(rows("b.db", "shaped"), ["1|äöü|-1", "2|good|2"]);
    let waiting = concord.run(&["parked", "list", "--json"]).await;
    let told = "plugin `mirror`, mapping of `shaped`, to-local: `note`: the note is poison (bad-note); a hint";
    assert!(waiting.says(told), "{}{}", waiting.stdout, waiting.stderr);
}
