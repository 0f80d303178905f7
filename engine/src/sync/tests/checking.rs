//! What is told of filters before anything is installed, and by `install`.

use std::path::Path;

use tempfile::TempDir;

use super::files;
use super::filters::remainder;
use crate::config::Config;
use crate::sync::session::Session;

const FILTER: &str = "filter = { plugin = \"remainder\", at = 1, is = [0] }";

/// Nodes `a` and `b` with tables of which one refers to the other.
fn session(folder: &TempDir, tables: &str) -> Session {
    let mut text = "name = \"test\"\nplugins = \"plugins\"\n".to_owned();
    for name in ["a", "b"] {
        let path = folder.path().join(name);
        let database = rusqlite::Connection::open(&path).expect("a file");
        let sql = "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, value INTEGER);
                   CREATE TABLE IF NOT EXISTS u (id INTEGER PRIMARY KEY, t INTEGER REFERENCES t (id))";
        database.execute_batch(sql).expect("tables");
        text += &format!("[nodes.{name}]\nurl = \"sqlite:{}\"\n", path.display());
    }
    text += tables;
    let config = Config::parse(&folder.path().join("concord.toml"), text, &|_| None).expect("a good file");
    assert!(config.warnings.is_empty(), "what every command would say");
    let mut session = Session::new(config);
    session.plugins.native.insert("remainder".to_owned(), remainder);
    session
}

/// What waits for a row that never comes is told before.
#[tokio::test]
async fn a_table_that_refers_to_rows_which_are_kept_away_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let at_b = |table: &str| format!("[tables.{table}.nodes.b]\n{FILTER}\n");
    for (tables, warns) in [
        (format!("[tables.t]\n[tables.u]\n{}", at_b("t")), true),
        (format!("[tables.t]\n[tables.u]\n{}{}", at_b("t"), at_b("u")), false),
        (format!("[tables.t]\n[tables.u]\nfrom = \"b\"\n{}", at_b("t")), false),
        ("[tables.t]\n[tables.u]\n".to_owned(), false),
    ] {
        let checked = session(&folder, &tables).check().await.expect("they are there");
        assert_eq!(checked.problems, Vec::<String>::new(), "{tables}");
        let told = checked.warnings.iter().filter(|warning| {
            warning.starts_with("node `b`: `u` refers to `t`, of which a filter keeps rows away there")
        });
        assert_eq!(told.count(), usize::from(warns), "{tables}: {:?}", checked.warnings);
    }
}

#[tokio::test]
async fn filters_are_shown_and_where_every_node_has_one_that_is_said_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let one = format!("[tables.t.nodes.b]\n{FILTER}\n");
    let all = format!("{one}[tables.t.nodes.a]\n{}\n", FILTER.replace("at = 1", "at = 0"));
    for (tables, nodes) in [(one, vec!["b"]), (all, vec!["a", "b"])] {
        let checked = session(&folder, &tables).check().await.expect("they are there");
        let told: Vec<&str> = checked.tables[0].filters.iter().map(|filter| filter.node.as_str()).collect();
        assert_eq!(told, nodes);
        let filter = checked.tables[0].filters.last().expect("there is one");
        assert_eq!(
            (filter.plugin.as_str(), filter.config.to_string()),
            ("remainder", r#"{"at":1,"is":[0]}"#.to_owned())
        );
        let every: Vec<_> = checked.warnings.iter().filter(|why| why.contains("every node has a filter")).collect();
        assert_eq!(every.len(), nodes.len() - 1, "{:?}", checked.warnings);
    }
}

#[tokio::test]
async fn a_plugin_that_is_not_there_is_told_with_those_that_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let plugins = folder.path().join("plugins");
    std::fs::create_dir(&plugins).expect("a folder");
    let mut told = Vec::new();
    for file in [None, Some("cel.wasm"), Some("region.wasm")] {
        file.into_iter().for_each(|file| std::fs::write(Path::new(&plugins).join(file), "").expect("a file"));
        let tables = "[tables.t.nodes.b]\nfilter = { plugin = \"cell\", keep = \"true\" }\n";
        let checked = session(&folder, tables).check().await.expect("they are there");
        assert!(checked.problems[0].contains("there is no file") && checked.problems[0].contains("cell.wasm"));
        told.push(checked.problems[0].clone());
    }
    for (told, words) in told.iter().zip(["put the plugin there", "plugins there: `cel`", "did you mean `cel`?"]) {
        assert!(told.contains(words) && !told.contains("concord plugin lock"), "{told}");
    }
}

/// Of what is inserted where a column does not live nobody knows its content, and a default stands in for none.
#[tokio::test]
async fn columns_that_nobody_fills_in_are_told() {
    let sql = "CREATE TABLE o (id INTEGER PRIMARY KEY, state TEXT NOT NULL DEFAULT 'new', note TEXT DEFAULT 'x')";
    let omits = "[tables.o.nodes.b]\nomit = [\"state\", \"note\"]\n";
    for (settings, warns) in [("", true), ("from = \"a\"\n", false), ("operations = [\"update\", \"delete\"]\n", false)]
    {
        let (_folder, databases, mut session) = files::two(sql, &format!("[tables.o]\n{settings}{omits}"));
        let columns = "ALTER TABLE o DROP COLUMN state; ALTER TABLE o DROP COLUMN note";
        databases[1].execute_batch(columns).expect("they are there");
        let checked = session.check().await.expect("both are there");
        assert_eq!(checked.problems, Vec::<String>::new(), "{settings}");
        let told: Vec<_> = checked.warnings.iter().filter(|why| why.contains("inserted at b wait here")).collect();
        assert_eq!(told.len(), usize::from(warns), "{settings}: {:?}", checked.warnings);
        assert!(told.iter().all(|why| why.starts_with("node `a`: ") && why.contains("`state` of ")), "{told:?}");
    }
}

/// The name of a table with a schema is a key of the file in quotes alone.
#[tokio::test]
async fn sections_that_are_proposed_can_be_pasted() {
    let named = "[tables.\"main.o\"]\n";
    let at_b = "[tables.\"main.o\".nodes.b]";
    let otherwise = format!("{named}{at_b}\ntable = \"p\"\n");
    for (change, tables, proposed) in [
        ("DROP TABLE o", named, format!("add: {at_b} table = \"…\"")),
        ("DROP TABLE o", &*otherwise, format!("change `table` in {at_b}")),
        ("ALTER TABLE o DROP COLUMN v", named, format!("add to {at_b}: omit = [\"v\"]")),
    ] {
        let (_folder, databases, mut session) =
            files::two("CREATE TABLE o (id TEXT PRIMARY KEY NOT NULL, v TEXT)", tables);
        databases[1].execute_batch(change).expect("it is there");
        let checked = session.check().await.expect("both are there");
        assert!(checked.problems.iter().any(|why| why.contains(&proposed)), "{proposed}: {:?}", checked.problems);
    }
}

/// Another mark beside it makes no other shape of a table.
#[tokio::test]
async fn an_install_says_of_a_load_that_was_broken_off_nothing_that_is_not_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let tables = format!("[tables.t.nodes.b]\n{FILTER}\n");
    session(&folder, &tables).install().await.expect("nothing is wrong");
    let database = rusqlite::Connection::open(folder.path().join("b")).expect("a file");
    let broken_off = "UPDATE concord_installed SET shape = json_set(shape, '$.filter', 'refiltered 0123456789abcdef')";
    assert_eq!(database.execute(broken_off, []).expect("it is installed"), 1);
    let (lines, _) = session(&folder, &tables).install().await.expect("nothing is wrong");
    assert!(lines.iter().all(|lines| lines.done.is_empty()), "{lines:?}");
    let kept = "SELECT json_extract(shape, '$.filter') FROM concord_installed";
    let kept: String = database.query_row(kept, [], |row| row.get(0)).expect("it is installed");
    assert_eq!(kept, "refiltered");
}
