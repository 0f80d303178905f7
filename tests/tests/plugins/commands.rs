//! `concord plugin`: what authors and integrators see.

use concord::plugin::{Host, Limits, Pin, Plugin};
use concord_tests::{Concord, Output, guests};

const CONFIG: &str = "name = \"shop\"\nplugins = \"plugins\"\n[nodes.office]\nurl = \"sqlite:a.db\"\n[nodes.branch]\nurl = \"sqlite:b.db\"\n";

/// A folder with these tables in its file, and `merge-fields` among its plugins.
pub(super) fn folder(tables: &str) -> Concord {
    let mut concord = Concord::new(&format!("{CONFIG}{tables}"));
    concord.env("CONCORD_CACHE_DIR", &guests::cache().display().to_string());
    std::fs::create_dir(concord.path("plugins")).unwrap();
    put(&concord, "merge-fields");
    concord
}

pub(super) fn put(concord: &Concord, name: &str) {
    let file = format!("{name}.wasm");
    std::fs::copy(guests::plugins().join(&file), concord.path("plugins").join(&file)).unwrap();
}

pub(super) fn ended(output: &Output, code: i32) -> &str {
    assert_eq!(output.status.code(), Some(code), "{}{}", output.stdout, output.stderr);
    &output.stdout
}

const MERGE: &str = "[tables.items]\nconflict = { plugin = \"merge-fields\", fields = { stock = \"sum\" } }\n";

#[tokio::test]
async fn plugins_are_looked_at_pinned_and_told_when_they_change() {
    let concord = folder(MERGE);
    let said = concord.run(&["plugin", "check"]).await;
    assert!(ended(&said, 2).contains("plugin `merge-fields`: concord.lock does not name it"), "{}", said.stdout);
    assert_eq!(ended(&concord.run(&["plugin", "lock"]).await, 0), "pinned merge-fields\n");
    assert_eq!(ended(&concord.run(&["plugin", "lock"]).await, 0), "everything is pinned as it is\n");
    let said = concord.run(&["plugin", "check", "--offline", "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(ended(&said, 0)).unwrap();
    let plugin = &report["plugins"][0];
    assert_eq!(plugin["plugin"], "merge-fields");
    assert_eq!((&plugin["pinned"], &plugin["roles"][0]), (&true.into(), &"resolver".into()));
    assert_eq!(plugin["sha256"].as_str().unwrap().len(), 64);
    // Another file in its place.
    std::fs::copy(guests::plugins().join("hostile.wasm"), concord.path("plugins/merge-fields.wasm")).unwrap();
    let said = concord.run(&["plugin", "check"]).await;
    assert!(ended(&said, 2).contains("is not the file that concord.lock names"), "{}", said.stdout);
    let said = concord.run(&["plugin", "lock"]).await;
    ended(&said, 2);
    assert!(said.stderr.contains("calls itself `hostile`"), "{}", said.stderr);
}

/// No table is needed for that, nor a database.
#[tokio::test]
async fn what_the_file_says_to_plugins_is_held_against_their_schemas() {
    let concord = folder(MERGE);
    ended(&concord.run(&["plugin", "lock"]).await, 0);
    ended(&concord.run(&["plugin", "check", "--offline"]).await, 0);
    let misspelt = MERGE.replace("fields =", "filds =");
    let other = "[tables.others]\nconflict = { plugin = \"merge-fields\", fields = { note = \"newest\" } }\n";
    let filter = "[tables.parts.nodes.branch]\nfilter = { plugin = \"merge-fields\" }\n";
    concord.write("concord.toml", &format!("{CONFIG}{misspelt}{other}{filter}"));
    let said = concord.run(&["plugin", "check"]).await;
    let told = ended(&said, 2);
    for problem in [
        "problem: plugin `merge-fields`, resolver of `items`: its configuration does not fit: ",
        "`filds` cannot stand here",
        "problem: plugin `merge-fields`, resolver of `others`: its configuration does not fit: ",
        "problem: plugin `merge-fields`, filter of `parts`: it is no filter, but a resolver (role)",
    ] {
        assert!(told.contains(problem), "{problem}: {told}");
    }
    let said = concord.run(&["plugin", "check", "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(ended(&said, 2)).unwrap();
    // The file is the one that is pinned, and nothing is wrong with it.
    let plugin = &report["plugins"][0];
    assert_eq!((&plugin["pinned"], &plugin["problem"]), (&true.into(), &serde_json::Value::Null));
    assert_eq!(plugin["misfits"].as_array().map(Vec::len), Some(3), "{report}");
    // There are no databases, and none was looked for.
    assert_eq!(report["opened"], false);
    assert_eq!((&report["problems"], &report["away"]), (&serde_json::json!([]), &serde_json::json!([])));
}

/// Code of the pinned plugin is begun with while the file's digest is taken; what comes of it is for that very file.
#[test]
fn no_other_file_passes_for_the_one_whose_code_is_at_hand() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, path) = (folder.path().join("cache"), folder.path().join("merge-fields.wasm"));
    let whole = std::fs::read(guests::plugins().join("merge-fields.wasm")).unwrap();
    let load = |bytes: &[u8], pin: Option<&Pin>| {
        std::fs::write(&path, bytes).unwrap();
        let host = Host::new(Some(&cache)).unwrap();
        let loaded = Plugin::load(&host, &path, "merge-fields", Limits::default(), pin);
        (loaded.map(|plugin| plugin.digest).map_err(|failure| failure.code.to_string()), host.cached())
    };
    let digest = load(&whole, None).0.unwrap();
    let pin = Pin { name: "merge-fields".to_owned(), version: "1.0.0".to_owned(), sha256: digest.clone() };
    assert_eq!(load(&whole, Some(&pin)), (Ok(digest.clone()), Some((1, 0))));
    let hostile = std::fs::read(guests::plugins().join("hostile.wasm")).unwrap();
    for other in [&b""[..], b"hello", b"\0asm\x01\0\0\0", &whole[..whole.len() - 1], &hostile] {
        assert_eq!(load(other, Some(&pin)).0, Err("digest".to_owned()));
    }
    // What is kept and cannot be used is made anew.
    for kept in std::fs::read_dir(cache.join("compiled")).unwrap() {
        std::fs::write(kept.unwrap().path(), "broken").unwrap();
    }
    assert_eq!(load(&whole, Some(&pin)), (Ok(digest), Some((0, 1))));
}

const FILES: [&str; 2] = ["a.db", "b.db"];

/// A folder with these tables in its file and these plugins, all of them pinned, and tables in its databases.
async fn at_tables(tables: &str, plugins: &[&str]) -> Concord {
    let concord = folder(tables);
    plugins.iter().for_each(|name| put(&concord, name));
    for file in FILES {
        let made = rusqlite::Connection::open(concord.path(file)).unwrap();
        made.execute_batch(
            "CREATE TABLE items (id integer PRIMARY KEY, note text, stock integer);
             CREATE TABLE orders (id integer PRIMARY KEY, country text, total integer)",
        )
        .unwrap();
    }
    let office = rusqlite::Connection::open(concord.path("a.db")).unwrap();
    office.execute_batch("INSERT INTO orders VALUES (1, 'DE', 50), (2, 'FR', 500)").unwrap();
    ended(&concord.run(&["plugin", "lock"]).await, 0);
    concord
}

fn keeping(keep: &str) -> String {
    format!("[tables.orders.nodes.branch]\nfilter = {{ plugin = \"cel\", keep = \"{keep}\" }}\n")
}

#[tokio::test]
async fn plugins_are_opened_for_the_tables_that_use_them() {
    // One that uses none is no matter here, although it is nowhere.
    let tables = format!("{MERGE}{}[tables.nowhere]\n", keeping("row.total > 100"));
    let concord = at_tables(&tables, &["cel"]).await;
    let content = || FILES.map(|file| std::fs::read(concord.path(file)).unwrap());
    let before = content();
    let said = concord.run(&["plugin", "check"]).await;
    let told = "table orders at branch: filter cel, tried on 2 rows\ntable items: resolver merge-fields\n\
                they fit the tables; next: concord check, which looks at all else\n";
    assert!(ended(&said, 0).ends_with(told), "{}", said.stdout);
    let said = concord.run(&["plugin", "check", "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(ended(&said, 0)).unwrap();
    let tables = |at: usize| report["plugins"][at]["tables"].clone();
    let filter =
        serde_json::json!([{ "table": "orders", "node": "branch", "role": "filter", "tried": 2, "failed": 0 }]);
    let resolver = serde_json::json!([{ "table": "items", "role": "resolver", "tried": 0, "failed": 0 }]);
    assert_eq!((tables(0), tables(1)), (filter, resolver), "{report}");
    assert_eq!(report["problems"], serde_json::json!([]));
    assert!(content() == before, "something was written at a node");
    // Whoever leaves the tables out is told of none, and names no files besides.
    let said = concord.run(&["plugin", "check", "--offline"]).await;
    let told = ended(&said, 0);
    assert!(!told.contains("table orders") && !told.contains("they fit the tables"), "{told}");
    let said = concord.run(&["plugin", "check", "plugins/cel.wasm"]).await;
    assert!(!ended(&said, 0).contains("table orders"), "{}", said.stdout);
    let said = concord.run(&["plugin", "check", "plugins/cel.wasm", "--offline"]).await;
    ended(&said, 2);
    assert!(said.stderr.contains("cannot be used with"), "{}", said.stderr);
    // What a filter kept away before is told here, too.
    concord.write("concord.toml", &format!("{CONFIG}{MERGE}{}", keeping("row.total > 100")));
    ended(&concord.run(&["install"]).await, 0);
    concord.write("concord.toml", &format!("{CONFIG}{MERGE}{}", keeping("row.total > 200")));
    let said = concord.run(&["plugin", "check"]).await;
    assert!(ended(&said, 0).contains("concord load --refilter"), "{}", said.stdout);
}

/// What no schema tells: what a plugin says to a table, what its rows come to, and what tables lack.
#[tokio::test]
async fn what_does_not_fit_the_tables_is_told_where_plugins_are_looked_at() {
    let refuses = "[tables.items]\nconflict = { plugin = \"hostile\", attack = \"open-refuse\" }\n";
    let wants = "[tables.items.nodes.branch]\nfilter = { plugin = \"hostile\", attack = \"want-unknown\" }\n";
    let makes = "[tables.items.nodes.branch.mapping]\nplugin = \"cel\"\nlocal = { note = \"row.motto\" }\n\
                 shared = { motto = { is = \"row.note\" } }\n";
    let concord = at_tables(&format!("{refuses}{}", keeping("true")), &["cel", "hostile"]).await;
    for (tables, problem) in [
        (refuses.to_owned(), "this table is not to my liking (no-thanks)"),
        (wants.to_owned(), "it wants to see `nothing`, which the table does not have"),
        (keeping("row.contry == 'DE'"), "`orders` has no such column (unknown-column)"),
        // It opens, and makes another table than the one that others have.
        (makes.to_owned(), "`items` has no column `motto` at office"),
        // It fits, and fails at every row.
        (keeping("row.country.split('-')[5] == 'x'"), "node `branch`: the filter of `orders` fails at 2 of 2 rows"),
        (keeping("row.total > 100").replace("orders", "gone"), "there is no table `gone` at office"),
    ] {
        concord.write("concord.toml", &format!("{CONFIG}{tables}"));
        let said = concord.run(&["plugin", "check"]).await;
        let told = ended(&said, 2);
        assert!(told.contains("\nproblem: ") && told.contains(problem), "{problem}: {told}");
        assert!(!told.contains("they fit the tables"), "{told}");
        let said = concord.run(&["plugin", "check", "--json"]).await;
        let report: serde_json::Value = serde_json::from_str(ended(&said, 2)).unwrap();
        assert!(report["problems"].to_string().contains(problem), "{report}");
        // Nothing else is amiss.
        ended(&concord.run(&["plugin", "check", "--offline"]).await, 0);
    }
}

#[tokio::test]
async fn plugins_are_not_opened_for_tables_while_a_node_is_away() {
    let concord = at_tables(&format!("{MERGE}{}", keeping("row.total > 100")), &["cel"]).await;
    std::fs::remove_file(concord.path("b.db")).unwrap();
    let said = concord.run(&["plugin", "check"]).await;
    let told = ended(&said, 3);
    assert!(told.contains("problem: node `branch`: ") && !told.contains("they fit the tables"), "{told}");
    let unopened = "no plugin was opened for the tables, which takes all nodes; --offline leaves that out\n";
    assert!(told.ends_with(unopened), "{told}");
    let said = concord.run(&["plugin", "check", "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(ended(&said, 3)).unwrap();
    assert_eq!(report["away"][0]["node"], "branch");
    assert_eq!(report["plugins"][0]["tables"], serde_json::json!([]));
    ended(&concord.run(&["plugin", "check", "--offline"]).await, 0);
}

/// Whether all is well, the key does not fit, or the table does not.
#[tokio::test]
async fn what_a_plugin_keeps_secret_is_shown_nowhere() {
    let mapping = |key: &str, column: &str| {
        format!(
            "[tables.items.nodes.office]\nmapping = {{ plugin = \"redact\", key = {key}, columns = {{ {column} = \"hash\" }} }}\n"
        )
    };
    let concord = folder(&mapping("\"canary canary canary\"", "note"));
    put(&concord, "redact");
    for file in ["a.db", "b.db"] {
        let made = rusqlite::Connection::open(concord.path(file)).unwrap();
        made.execute_batch("CREATE TABLE items (id integer PRIMARY KEY, note text, stock integer)").unwrap();
    }
    let unseen = |said: &Output| assert!(!said.says("canary"), "{}{}", said.stdout, said.stderr);
    ended(&concord.run(&["plugin", "lock"]).await, 0);
    let said = concord.run(&["check", "-vv"]).await;
    let told = r#"at office: mapping redact {"key":"…","columns":{"note":"hash"}}"#;
    assert!(ended(&said, 0).contains(told), "{}", said.stdout);
    unseen(&said);
    let said = concord.run(&["check", "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(ended(&said, 0)).unwrap();
    assert_eq!(report["tables"][0]["mappings"][0]["config"]["key"], "…");
    unseen(&said);
    let said = concord.run(&["plugin", "check", "-vv"]).await;
    assert!(ended(&said, 0).contains("table items at office: mapping redact, no row to try it on"), "{}", said.stdout);
    unseen(&said);
    for (key, column) in [("\"canary canary canary\"", "nte"), ("\"canary\"", "note"), ("[\"canary\"]", "note")] {
        concord.write("concord.toml", &format!("{CONFIG}{}", mapping(key, column)));
        let said = concord.run(&["check", "-vv"]).await;
        ended(&said, 2);
        assert!(said.says("plugin `redact`"), "{}{}", said.stdout, said.stderr);
        unseen(&said);
        let said = concord.run(&["plugin", "check", "-vv"]).await;
        ended(&said, 2);
        assert!(said.says("plugin `redact`"), "{}{}", said.stdout, said.stderr);
        unseen(&said);
    }
}

/// It says so at each of many rows and in every look, and is quoted where that is told.
#[tokio::test]
async fn what_breaks_a_plugin_again_and_again_is_logged_once() {
    let concord = folder("[tables.items.nodes.branch]\nfilter = { plugin = \"hostile\", attack = \"panic\" }\n");
    put(&concord, "hostile");
    for file in ["a.db", "b.db"] {
        let made = rusqlite::Connection::open(concord.path(file)).unwrap();
        made.execute_batch("CREATE TABLE items (id integer PRIMARY KEY, note text, stock integer)").unwrap();
    }
    ended(&concord.run(&["plugin", "lock"]).await, 0);
    ended(&concord.run(&["install"]).await, 0);
    let user = rusqlite::Connection::open(concord.path("a.db")).unwrap();
    for id in 0..12 {
        user.execute("INSERT INTO items VALUES (?1, 'poison', 1)", [id]).unwrap();
    }
    let said = concord.run(&["sync"]).await;
    // Nor is it said that there is nothing to do.
    assert!(ended(&said, 1).starts_with("nothing was carried\n"), "{}", said.stdout);
    assert!(said.stderr.contains("table `items` stands still: "), "{}", said.stderr);
    assert_eq!(said.stderr.matches("ERROR").count(), 1, "{}", said.stderr);
    let said = concord.run(&["sync", "-vv"]).await;
    assert!(said.stderr.matches("a panic on purpose").count() > 3, "{}", said.stderr);
}

#[tokio::test]
async fn plugins_that_are_named_are_pinned_and_the_others_stay_as_they_are() {
    let other = "[tables.others]\nconflict = { plugin = \"longest\", column = \"note\" }\n";
    let concord = folder(&format!("{MERGE}{other}"));
    put(&concord, "longest");
    let pins = || std::fs::read_to_string(concord.path("concord.lock")).unwrap_or_default();
    assert_eq!(ended(&concord.run(&["plugin", "lock", "longest"]).await, 0), "pinned longest\n");
    assert!(pins().contains("\"longest\"") && !pins().contains("\"merge-fields\""), "{}", pins());
    assert_eq!(ended(&concord.run(&["plugin", "lock", "merge-fields", "longest"]).await, 0), "pinned merge-fields\n");
    let pinned = pins();
    // What has become of others is not looked at.
    std::fs::write(concord.path("plugins/longest.wasm"), "hello").unwrap();
    let said = concord.run(&["plugin", "lock", "merge-fields"]).await;
    assert_eq!((ended(&said, 0), pins()), ("merge-fields: pinned as it is\n", pinned));
    let said = concord.run(&["plugin", "lock", "merge-feild"]).await;
    ended(&said, 2);
    let told = "no table uses a plugin `merge-feild`; did you mean `merge-fields`? plugins in use: `longest` or `merge-fields`";
    assert!(said.stderr.contains(told), "{}", said.stderr);
    let said = folder("[tables.items]\n").run(&["plugin", "lock", "longest"]).await;
    ended(&said, 2);
    assert!(said.stderr.contains("no table uses a plugin") && !said.stderr.contains("in use"), "{}", said.stderr);
}

#[tokio::test]
async fn where_a_plugin_is_missing_the_one_that_was_meant_is_told() {
    let concord = folder(&MERGE.replace("merge-fields", "merge-feilds"));
    put(&concord, "longest");
    let told = "did you mean `merge-fields`? plugins there: `longest` or `merge-fields`";
    let said = concord.run(&["plugin", "lock"]).await;
    ended(&said, 2);
    assert!(said.stderr.contains("merge-feilds.wasm") && said.stderr.contains(told), "{}", said.stderr);
    let said = concord.run(&["plugin", "check"]).await;
    assert!(ended(&said, 2).contains(told), "{}", said.stdout);
}

#[tokio::test]
async fn files_are_looked_at_without_a_configuration() {
    let concord = folder("");
    std::fs::write(concord.path("plugins/other.wasm"), b"hello").unwrap();
    let said = concord.run(&["plugin", "check", "plugins/merge-fields.wasm"]).await;
    assert!(ended(&said, 0).contains("Merges rows column by column"), "{}", said.stdout);
    let said = concord.run(&["plugin", "check", "plugins/other.wasm"]).await;
    assert!(ended(&said, 2).contains("is no WebAssembly"), "{}", said.stdout);
    let said = concord.run(&["plugin", "check", "plugins/Other.txt"]).await;
    ended(&said, 2);
    let rule = "no name of a plugin's file, which is its name and .wasm; a name takes 1 to 60 lower-case letters, digits and \
                hyphens, and no hyphen at either end";
    assert!(said.stderr.contains(rule), "{}", said.stderr);
}

#[tokio::test]
async fn a_plugins_schema_does_not_steer_the_terminal() {
    let concord = folder("");
    let mut plugin = std::fs::read(guests::plugins().join("hostile.wasm")).unwrap();
    let (from, to) = (br#""attack": {"type": "string"}"#, br#""\u001b": {"type": "strina"}"#);
    let at = plugin.windows(from.len()).position(|part| part == from).expect("its schema");
    plugin[at..at + to.len()].copy_from_slice(to);
    std::fs::write(concord.path("plugins/hostile.wasm"), plugin).unwrap();
    let said = concord.run(&["plugin", "check", "plugins/hostile.wasm"]).await;
    assert!(ended(&said, 2).contains("is no JSON Schema"), "{}", said.stdout);
    assert!(!said.says("\u{1b}"), "{:?}{:?}", said.stdout, said.stderr);
}

#[tokio::test]
async fn what_a_compiler_made_becomes_a_plugin() {
    let concord = folder("");
    let module = guests::plugins().join("wasm32-unknown-unknown/release/hostile.wasm").display().to_string();
    let said = concord.run(&["plugin", "build", &module, "--output", "plugins/hostile.wasm"]).await;
    let told = "plugins/hostile.wasm is the plugin hostile 0.1.0, a filter and mapping and resolver\n";
    assert_eq!(ended(&said, 0), told);
    let said = concord.run(&["plugin", "build", "plugins/hostile.wasm", "--output", "plugins/twice.wasm"]).await;
    ended(&said, 2);
    assert!(said.stderr.contains("it is a component already"), "{}", said.stderr);
    let said = concord.run(&["plugin", "build", &module, "--output", "plugins/friendly.wasm"]).await;
    ended(&said, 2);
    assert!(said.stderr.contains("calls itself `hostile`"), "{}", said.stderr);
    assert!(!concord.path("plugins/friendly.wasm").exists(), "what is refused is not left there");
    // Who forgets to make a component of what cargo made.
    std::fs::copy(&module, concord.path("my_rule.wasm")).unwrap();
    let said = concord.run(&["plugin", "test", "my_rule.wasm"]).await;
    ended(&said, 2);
    assert!(said.stderr.contains("`concord plugin build my_rule.wasm --output my-rule.wasm`"), "{}", said.stderr);
    // The plugin is looked at before its fixtures, of which there are none here either.
    let said = concord.run(&["plugin", "test", "gone.wasm"]).await;
    ended(&said, 2);
    assert!(said.stderr.contains("gone.wasm") && !said.stderr.contains("fixtures"), "{}", said.stderr);
}

/// A case about the column `note`, in which the later version is expected.
const CASE: &str = r#"{
    "table": {"name": "items", "columns": {"id": "integer", "note": "text", "stock": "integer"}, "key": ["id"]},
    "nodes": ["office", "branch"],
    "config": {"attack": "ATTACK"},
    "conflicts": [{
        "versions": [
            {"node": "office", "time": 2, "row": {"id": 1, "note": "o"}},
            {"node": "branch", "time": 1, "row": {"id": 1, "note": "b"}}
        ],
        "answer": {"take": "office"}
    }]
}"#;

/// What a test of the hostile plugin says.
async fn tested(attack: &str, code: i32) -> String {
    let concord = folder("");
    put(&concord, "hostile");
    concord.write("fixtures/case.json", &CASE.replace("ATTACK", attack));
    let said = concord.run(&["plugin", "test", "plugins/hostile.wasm"]).await;
    ended(&said, code).to_owned()
}

#[tokio::test]
async fn answers_are_compared_and_laws_are_tried() {
    assert!(tested("latest", 0).await.contains("good"));
    let said = tested("none", 1).await;
    let wrong = "conflict 1:\n  answer   {\"problem\":\"answer\"}\n  expected {\"take\":\"office\"}\n  because: plugin `hostile`";
    assert!(said.contains(wrong), "{said}");
    // Who always takes the first breaks the law of order, whoever that is.
    let said = tested("good", 1).await;
    assert!(said.contains("an answer depends on the order of the versions"), "{said}");
    let said = tested("alternating", 1).await;
    assert!(said.contains("conflict 1 breaks a law"), "{said}");
    let said = tested("growing", 1).await;
    assert!(said.contains("what was decided is decided otherwise when it is asked about again"), "{said}");
    let said = tested("open-refuse", 1).await;
    assert!(said.contains("this table is not to my liking (no-thanks)"), "{said}");
}

/// Of cases that nobody wrote: two versions that are equally good.
#[tokio::test]
async fn laws_are_tried_beyond_the_cases_of_a_fixture() {
    let concord = folder("");
    put(&concord, "hostile");
    let alike = CASE.replace("\"o\"", "\"b\"").replace("\"take\": \"office\"", "\"take\": \"branch\"");
    concord.write("fixtures/case.json", &alike.replace("ATTACK", "good"));
    let said = concord.run(&["plugin", "test", "plugins/hostile.wasm"]).await;
    let law =
        "conflict 1 with the same `note` in all versions breaks a law: an answer depends on the order of the versions";
    assert!(ended(&said, 1).contains(law), "{}", said.stdout);
    assert!(concord.path("fixtures/broken/case-order.json").exists());
}

#[tokio::test]
async fn a_refusal_for_another_reason_is_told() {
    let concord = folder("");
    put(&concord, "hostile");
    let refuses = CASE.split("\"conflicts\"").next().unwrap().replace("ATTACK", "open-refuse");
    concord.write("fixtures/case.json", &format!("{refuses}\"role\": \"resolver\", \"refuses\": \"unknown-column\"}}"));
    let said = concord.run(&["plugin", "test", "plugins/hostile.wasm"]).await;
    let told = "it was to refuse its configuration as `unknown-column`, and did as `no-thanks`: ";
    assert!(ended(&said, 1).contains(told), "{}", said.stdout);
}

/// What is said to authors holds for what comes with Concord.
#[tokio::test]
async fn the_fixtures_of_our_own_plugins_hold() {
    let concord = folder("");
    let examples = ["longest", "region", "full-name"].map(|name| format!("examples/plugins/{name}"));
    for source in ["plugins/cel", "plugins/key-prefix", "plugins/merge-fields", "plugins/redact", "plugins/reshape"]
        .into_iter()
        .chain(examples.iter().map(String::as_str))
    {
        let name = source.rsplit('/').next().unwrap();
        let plugin = guests::plugins().join(format!("{name}.wasm")).display().to_string();
        let fixtures = format!("{}/../{source}/fixtures", env!("CARGO_MANIFEST_DIR"));
        let said = concord.run(&["plugin", "test", &plugin, "--fixtures", &fixtures]).await;
        assert!(ended(&said, 0).contains("good"), "{}", said.stdout);
    }
}

#[tokio::test]
async fn fixtures_that_are_none_are_told_where() {
    let concord = folder("");
    put(&concord, "hostile");
    let said = concord.run(&["plugin", "test", "plugins/hostile.wasm"]).await;
    ended(&said, 2);
    assert!(said.stderr.contains("fixtures cannot be read"), "{}", said.stderr);
    concord.write("fixtures/case.json", &CASE.replace("\"take\"", "\"tkae\""));
    let said = concord.run(&["plugin", "test", "plugins/hostile.wasm"]).await;
    ended(&said, 2);
    assert!(said.stderr.contains("case.json: unknown variant `tkae`"), "{}", said.stderr);
}

#[tokio::test]
async fn conflicts_of_the_past_are_told_as_another_plugin_would_end_them() {
    let concord = folder("[tables.items]\n");
    for file in ["a.db", "b.db"] {
        let made = rusqlite::Connection::open(concord.path(file)).unwrap();
        made.execute_batch("CREATE TABLE items (id integer PRIMARY KEY, note text, stock integer); INSERT INTO items VALUES (1, 'x', 1)")
            .unwrap();
    }
    ended(&concord.run(&["install"]).await, 0);
    // If both are of one millisecond, the first node wins as well.
    for (file, stock) in [("b.db", 9), ("a.db", 5)] {
        let user = rusqlite::Connection::open(concord.path(file)).unwrap();
        user.execute("UPDATE items SET stock = ?1", [stock]).unwrap();
    }
    ended(&concord.run(&["sync"]).await, 0);
    ended(&concord.run(&["plugin", "replay", "items"]).await, 2);
    let most = MERGE.replace("sum", "max");
    concord.write("concord.toml", &format!("{CONFIG}{most}"));
    ended(&concord.run(&["plugin", "lock"]).await, 0);
    let said = concord.run(&["plugin", "replay", "items"]).await;
    let told = ended(&said, 1);
    assert!(told.contains(r#"  was  {"id":1,"note":"x","stock":5}"#), "{told}");
    assert!(told.contains(r#"  now  {"id":1,"note":"x","stock":9}"#), "{told}");
    assert!(told.contains("was asked about 1 conflict: 1 would end otherwise"), "{told}");
    let said = concord.run(&["plugin", "replay", "items", "--with", "plugins/merge-fields.wasm", "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(ended(&said, 1)).unwrap();
    assert_eq!((&report["asked"], &report["differences"][0]["now"]["stock"]), (&1.into(), &9.into()));
    let said = concord.run(&["plugin", "replay", "others"]).await;
    ended(&said, 2);
    assert!(said.stderr.contains("no table is called `others`"), "{}", said.stderr);
}

/// Makes the plugin that was begun in Rust, with what the plugins here are compiled with; what the commands say of it, which is of
/// version 0.2.0 then.
async fn built(concord: &Concord, name: &str) -> (String, String) {
    let here = concord.path(name);
    // It is called by the version that is raised as that of any crate.
    let manifest = std::fs::read_to_string(here.join("Cargo.toml")).unwrap();
    let raised = manifest.replacen("version.workspace = true", "version = \"0.2.0\"", 1);
    std::fs::write(here.join("Cargo.toml"), raised).unwrap();
    std::fs::copy(guests::root().join("plugins/Cargo.lock"), here.join("Cargo.lock")).unwrap();
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(&here).args(["build", "--quiet", "--offline", "--release", "--target", "wasm32-unknown-unknown"]);
    guests::said(cargo.env("CARGO_TARGET_DIR", guests::plugins().join("begun")));
    let module = format!("begun/wasm32-unknown-unknown/release/{}.wasm", name.replace('-', "_"));
    let module = guests::plugins().join(module).display().to_string();
    let (output, fixtures) = (format!("{name}/{name}.wasm"), format!("{name}/fixtures"));
    let built = concord.run(&["plugin", "build", &module, "--output", &output]).await;
    let tested = concord.run(&["plugin", "test", &output, "--fixtures", &fixtures]).await;
    (ended(&built, 0).to_owned(), ended(&tested, 0).to_owned())
}

#[tokio::test]
async fn a_plugin_in_rust_is_begun_built_and_tested() {
    let concord = folder("");
    assert!(ended(&concord.run(&["plugin", "new", "my-rule"]).await, 0).starts_with("wrote ./my-rule"));
    let (said, _) = built(&concord, "my-rule").await;
    assert_eq!(said, "my-rule/my-rule.wasm is the plugin my-rule 0.2.0, a resolver\n");
    // Nothing is written over.
    let said = concord.run(&["plugin", "new", "my-rule", "--lang", "c"]).await;
    ended(&said, 2);
    assert!(said.stderr.contains("is there already"), "{}", said.stderr);
    let said = concord.run(&["plugin", "new", "My rule"]).await;
    ended(&said, 2);
    let rule =
        "no name of a plugin; it takes 1 to 60 lower-case letters, digits and hyphens, and no hyphen at either end";
    assert!(said.stderr.contains(rule), "{}", said.stderr);
}

/// Or a new one would still say that it is 0.1.0.
#[test]
fn every_plugin_is_called_by_the_version_of_its_crate() {
    let mut seen = 0;
    for folder in ["plugins", "examples/plugins"] {
        for plugin in std::fs::read_dir(guests::root().join(folder)).unwrap() {
            let file = plugin.unwrap().path().join("src/lib.rs");
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if text.contains("\nimpl Plugin for ") {
                let line = "const VERSION: &str = env!(\"CARGO_PKG_VERSION\");";
                assert!(text.contains(line), "{}", file.display());
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 8);
}

/// What cargo would refuse when the plugin is built.
#[tokio::test]
async fn names_that_cargo_refuses_are_for_other_languages() {
    let concord = folder("");
    for (name, why) in [
        (
            "1abc",
            "`1abc` cannot be the name of a plugin in Rust: cargo refuses a digit at the beginning; begin with a letter",
        ),
        ("concord-plugin", "the SDK that it is built with is called so; take another name"),
    ] {
        let said = concord.run(&["plugin", "new", name]).await;
        ended(&said, 2);
        assert!(said.stderr.contains(why) && !concord.path(name).exists(), "{}", said.stderr);
        ended(&concord.run(&["plugin", "new", name, "--lang", "c"]).await, 0);
    }
}

#[tokio::test]
async fn a_filter_in_rust_is_begun_built_and_tested() {
    let concord = folder("");
    ended(&concord.run(&["plugin", "new", "my-part", "--role", "filter"]).await, 0);
    let readme = std::fs::read_to_string(concord.path("my-part/README.md")).unwrap();
    assert!(readme.contains("A filter for Concord") && readme.contains("plugin = \"my-part\", column"), "{readme}");
    let (said, tested) = built(&concord, "my-part").await;
    assert_eq!(said, "my-part/my-part.wasm is the plugin my-part 0.2.0, a filter\n");
    assert!(tested.contains("my-part ") && tested.contains("refused-column "), "{tested}");
}

#[tokio::test]
async fn a_mapping_in_rust_is_begun_built_and_tested() {
    let concord = folder("");
    ended(&concord.run(&["plugin", "new", "my-shape", "--role", "mapping"]).await, 0);
    let readme = std::fs::read_to_string(concord.path("my-shape/README.md")).unwrap();
    assert!(readme.contains("A mapping for Concord") && readme.contains("plugin = \"my-shape\", name"), "{readme}");
    let (said, tested) = built(&concord, "my-shape").await;
    assert_eq!(said, "my-shape/my-shape.wasm is the plugin my-shape 0.2.0, a mapping\n");
    assert!(tested.contains("my-shape ") && tested.contains("refused-column "), "{tested}");
}

#[tokio::test]
async fn plugins_in_c_are_begun_built_and_tested() {
    let concord = folder("");
    for (role, name) in [("resolver", "my-rule"), ("filter", "my-part"), ("mapping", "my-shape")] {
        ended(&concord.run(&["plugin", "new", name, "--lang", "c", "--role", role, "--at", "plugins"]).await, 0);
        let here = |file: &str| format!("plugins/{name}/{file}");
        let readme = std::fs::read_to_string(concord.path(&here("README.md"))).unwrap();
        let command = format!("concord plugin build {name}-core.wasm --role {role} --output {name}.wasm\n");
        assert!(readme.contains(&command) && readme.contains("`plugin.c` is the plugin"), "{readme}");
        guests::said(&mut std::process::Command::new(concord.path(&here("build"))));
        let (module, output) = (here(&format!("{name}-core.wasm")), format!("{name}.wasm"));
        let said = concord.run(&["plugin", "build", &module, "--role", role, "--output", &output]).await;
        assert_eq!(ended(&said, 0), format!("{name}.wasm is the plugin {name} 0.1.0, a {role}\n"));
        let said = concord.run(&["plugin", "test", &output, "--fixtures", &here("fixtures")]).await;
        assert!(ended(&said, 0).contains(&format!("{name} ")), "{}", said.stdout);
    }
}

/// It is that of `examples`, which is built and tested, but for names and places.
#[tokio::test]
async fn a_plugin_in_python_is_begun() {
    let concord = folder("");
    ended(&concord.run(&["plugin", "new", "my-rule", "--lang", "python"]).await, 0);
    let read = |file: &str| std::fs::read_to_string(concord.path("my-rule").join(file)).expect("a file");
    assert!(read("plugin.py").contains("d.Description(\"my-rule\", "), "{}", read("plugin.py"));
    let build = read("build");
    assert!(build.contains("-d \"$here/wit\" -w resolver-plugin componentize plugin "), "{build}");
    assert!(build.contains("$here/my-rule.wasm") && !build.contains("shortest"), "{build}");
    let mut without = std::process::Command::new(concord.path("my-rule/build"));
    let said = without.arg("no-such-tool").output().expect("it is run");
    let told = String::from_utf8_lossy(&said.stderr);
    assert!(told.starts_with("no-such-tool is missing; `pip install componentize-py` has it"), "{told}");
    assert!(!read("README.md").contains("shortest.") && read("README.md").contains("plugin test my-rule.wasm"));
    assert_eq!(read("wit/plugin.wit"), std::fs::read_to_string(guests::root().join("wit/plugin.wit")).unwrap());
}

/// As that in Python; `make languages` builds and tests the example.
#[tokio::test]
async fn a_plugin_in_javascript_is_begun() {
    let concord = folder("");
    ended(&concord.run(&["plugin", "new", "my-rule", "--lang", "js"]).await, 0);
    let read = |file: &str| std::fs::read_to_string(concord.path("my-rule").join(file)).expect("a file");
    let example = guests::root().join("examples/plugins/javascript/shortest.js");
    let example = std::fs::read_to_string(example).expect("the example").replace("'shortest'", "'my-rule'");
    assert_eq!(read("plugin.js"), example);
    for file in ["README.md", "build", "package.json", "package-lock.json"] {
        assert!(!read(file).contains("shortest.") && !read(file).contains("\"shortest\""), "{file}: {}", read(file));
    }
    assert!(
        read("README.md").contains("plugin test my-rule.wasm\n") && read("build").contains("-w wit -n resolver-plugin")
    );
    assert_eq!(read("wit/plugin.wit"), std::fs::read_to_string(guests::root().join("wit/plugin.wit")).unwrap());
}

/// They are those of `examples` as well, which are built and tested by the same fixtures: in C above, in others by `make languages`.
#[tokio::test]
async fn filters_and_mappings_in_other_languages_are_begun() {
    let concord = folder("");
    for (language, ending, quote) in
        [("python", "py", '"'), ("javascript", "js", '\''), ("typescript", "ts", '\''), ("c", "c", '"')]
    {
        for (role, example, file) in [("filter", "region", "region"), ("mapping", "full-name", "full_name")] {
            let name = format!("my-{role}-{ending}");
            ended(&concord.run(&["plugin", "new", &name, "--lang", language, "--role", role]).await, 0);
            let read = |file: &str| std::fs::read_to_string(concord.path(&name).join(file)).expect("a file");
            let source = guests::root().join(format!("examples/plugins/{language}/{file}.{ending}"));
            let source = std::fs::read_to_string(source).expect("the example");
            let called = |name: &str| format!("{quote}{name}{quote}");
            assert_eq!(read(&format!("plugin.{ending}")), source.replace(&called(example), &called(&name)));
            let readme = read("README.md");
            assert!(readme.starts_with(&format!("# A {role} in ")), "{readme}");
            assert!(readme.contains(&format!("{role} = {{ plugin = \"{name}\", ")), "{readme}");
            for other in ["shortest", "region.", "resolver", "full_name", "../", "{role}"] {
                assert!(!readme.contains(other), "{other} in {readme}");
            }
            let build = read("build");
            let world = if language == "c" { format!("bindings/{role}_plugin.c") } else { format!("{role}-plugin") };
            assert!(build.contains(&world) && build.contains(&format!("/{name}")), "{build}");
            for other in ["shortest", "resolver", "every-role", "third", "../"] {
                assert!(!build.contains(other), "{other} in {build}");
            }
            assert!(concord.path(&name).join("fixtures/refused-column.json").exists());
        }
    }
    let compiled = std::fs::read_to_string(concord.path("my-mapping-ts/tsconfig.json")).expect("a file");
    assert!(compiled.contains("\"files\": [\"plugin.ts\", \"generated/types/mapping-plugin.d.ts\"]"), "{compiled}");
}

/// What is built is to be found by no `git add .`, whether or not the folder is in a repository.
#[tokio::test]
async fn what_is_built_in_a_folder_that_was_begun_is_no_source() {
    let concord = folder("");
    for (language, built) in [
        ("rust", &["target/", "*.wasm"][..]),
        ("python", &["venv/", "__pycache__/", "*.wasm"]),
        ("c", &["*.wasm"]),
        ("typescript", &["node_modules/", "*.wasm", "generated/"]),
        ("javascript", &["node_modules/", "*.wasm", "generated.js"]),
    ] {
        let name = format!("in-{language}");
        ended(&concord.run(&["plugin", "new", &name, "--lang", language]).await, 0);
        let ignored = std::fs::read_to_string(concord.path(&name).join(".gitignore")).unwrap_or_default();
        let ignored: Vec<&str> = ignored.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(ignored, built, "{language}");
    }
}

#[tokio::test]
async fn the_demo_shows_a_plugin_at_work() {
    let concord = folder("");
    let kept = concord.path("kept");
    let said = concord.run(&["demo", "--plugins", "plugins", "--keep", "kept"]).await;
    assert!(ended(&said, 0).contains("Both tables hold 100 - 30 - 5 = 65 pieces."), "{}", said.stdout);
    for node in ["one", "two"] {
        let database = rusqlite::Connection::open(kept.join(format!("{node}.db"))).unwrap();
        let pieces = database.query_row("SELECT pieces FROM stock WHERE item = 'cheese'", [], |row| row.get(0));
        assert_eq!(pieces, Ok(65), "{node}");
    }
    let said = concord.run(&["demo", "--plugins", "nowhere"]).await;
    ended(&said, 2);
    assert!(said.stderr.contains("`make plugins` makes it"), "{}", said.stderr);
}
