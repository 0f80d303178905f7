//! Capture: whatever a user does to a table, exactly the keys whose rows changed are in its history.
//!
//! What changed is found by looking at the whole table before and after, without Concord's help. A history that misses
//! one of those keys loses a change. One that names others costs work, and is allowed only where a statement touched
//! the row without changing it ([`Case::touched`]).

mod cascades;
mod images;
mod keys;
mod mariadb;
mod partitions;
mod postgres;
mod random;
mod reactions;
mod rows;
mod sqlite;
mod transactions;

use std::collections::{BTreeMap, BTreeSet};

use concord::model::{Cut, Entry, Key, Row, TableSpec};
use concord::node::{Node, Sync};
use concord_tests::{As, Database, Kind, Text, User, parse_key, spec};

/// Expected keys by table, as text; the values of a composite key are separated by `/`.
type Keys<'a> = &'a [(&'a str, &'a [&'a str])];

/// How far the clocks of a test and a database may seem apart, µs.
const SLACK: i64 = 2_000_000;

/// Tables with Concord installed, before and after a user's change.
struct Case {
    database: Database,
    node: Box<dyn Node>,
    specs: Vec<TableSpec>,
    /// Looks at the tables with plain settings, whatever the user's session is set to.
    observer: User,
    user: User,
    before: Vec<Content>,
    /// The histories' end and the database's clock before the change.
    from: Vec<Cut>,
    clock: i64,
    touched: BTreeSet<(String, String)>,
}

/// A table's rows by the text of their key.
type Content = BTreeMap<String, Vec<Text>>;

impl Case {
    /// Runs `setup` as the owner and installs capture on `tables`.
    async fn new(kind: Kind, setup: &str, tables: &[&str]) -> Case {
        let database = Database::new(kind).await;
        let mut observer = database.user_as(As::Sync).await;
        observer.execute(setup).await;
        let mut node = database.node().await;
        let mut specs = Vec::new();
        for (index, table) in tables.iter().enumerate() {
            specs.push(spec(&mut *node, table, index).await);
        }
        let done = node.install(&here(), &specs).await.unwrap_or_else(|error| panic!("install: {error}"));
        assert!(!done.is_empty(), "install says what it did");
        let user = database.user().await;
        let (before, from, touched) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut case = Case { database, node, specs, observer, user, before, from, clock: 0, touched };
        case.start().await;
        case
    }

    /// Has these columns of a table, of which nothing is in the history, recorded as well.
    async fn record(&mut self, table: usize, columns: &[usize]) {
        self.specs[table].images = columns.to_vec();
        self.node.install(&here(), &self.specs).await.unwrap_or_else(|error| panic!("install: {error}"));
        self.start().await;
    }

    /// Looks at the tables and their histories; the change comes next.
    async fn start(&mut self) {
        self.before.clear();
        self.from.clear();
        self.touched.clear();
        for spec in &self.specs {
            self.before.push(content(&mut self.observer, spec).await);
        }
        let opened = self.node.begin_read(&self.specs).await.unwrap_or_else(|error| panic!("begin_read: {error}"));
        assert_eq!(opened.drifted, [], "install left a table that differs from what it recorded");
        assert_eq!((opened.service.node.as_str(), opened.service.sync.as_str()), ("here", "test"));
        self.clock = opened.clock;
        for spec in &self.specs {
            let page = self.node.entries(spec, &Cut::START, None, usize::MAX >> 1).await;
            self.from.push(page.unwrap_or_else(|error| panic!("entries: {error}")).whole);
        }
        self.node.end_read().await.unwrap_or_else(|error| panic!("end_read: {error}"));
    }

    /// What a user does, in one call, in a session of the application's.
    async fn change(&mut self, sql: &str) {
        self.user.execute(sql).await;
    }

    /// Keys that the change touches without changing their rows: the history may name them.
    fn touched(&mut self, keys: Keys<'_>) {
        let flat =
            keys.iter().flat_map(|(table, keys)| keys.iter().map(|key| ((*table).to_owned(), (*key).to_owned())));
        self.touched.extend(flat);
    }

    /// Compares what changed with what the test says, and both with the histories. More changes may follow.
    async fn captured(&mut self, expected: Keys<'_>) {
        for (table, _) in expected {
            assert!(self.specs.iter().any(|spec| spec.name == *table), "{table} is not part of the test");
        }
        let opened = self.node.begin_read(&self.specs).await.unwrap_or_else(|error| panic!("begin_read: {error}"));
        for at in 0..self.specs.len() {
            self.captured_in(at, expected, opened.clock).await;
        }
        self.node.end_read().await.unwrap_or_else(|error| panic!("end_read: {error}"));
        self.start().await;
    }

    async fn captured_in(&mut self, at: usize, expected: Keys<'_>, clock: i64) {
        let spec = &self.specs[at];
        let name = &spec.name;
        let before = &self.before[at];
        let after = content(&mut self.observer, spec).await;
        let changed: BTreeSet<String> =
            before.keys().chain(after.keys()).filter(|key| before.get(*key) != after.get(*key)).cloned().collect();
        let expected: BTreeSet<String> = expected
            .iter()
            .filter(|(table, _)| table == name)
            .flat_map(|(_, keys)| keys.iter())
            .map(|k| (*k).into())
            .collect();
        assert_eq!(changed, expected, "the test expects other rows of {name} to change than did");

        let page = self.node.entries(spec, &self.from[at], None, usize::MAX >> 1).await;
        let page = page.unwrap_or_else(|error| panic!("entries of {name}: {error}"));
        assert!(!page.more, "a page without a limit is whole");
        let mut reported = BTreeSet::new();
        for entry in &page.entries {
            assert_eq!(entry.arrival, None, "a user's change to {name} looks like an arrival");
            assert!(!self.from[at].contains(entry.mark, entry.id), "an entry of {name} lies before its cut");
            assert!(page.whole.contains(entry.mark, entry.id), "an entry of {name} lies outside its cut");
            assert!(
                (self.clock - SLACK..=clock + SLACK).contains(&entry.time),
                "an entry of {name} is {} µs off the clock",
                entry.time - clock
            );
            reported.insert(key_text(&entry.key));
        }
        let missed: Vec<_> = changed.difference(&reported).collect();
        assert!(missed.is_empty(), "changed in {name} and not in its history: {missed:?}");
        let idle = |key: &&String| !changed.contains(*key) && !self.touched.contains(&(name.clone(), (*key).clone()));
        let idle: Vec<_> = reported.iter().filter(idle).collect();
        assert!(idle.is_empty(), "in the history of {name} and not changed: {idle:?}");
        images_lead(spec, before, &after, &page.entries);

        // The entries' keys find the rows: what a reader gets by them is what stands in the table.
        let keys: Vec<Key> = page.entries.iter().map(|entry| entry.key.clone()).collect();
        let found = rows(&mut *self.node, spec, &keys).await;
        for (key, row) in keys.iter().zip(&found) {
            let text = key_text(key);
            assert_eq!(row.is_some(), after.contains_key(&text), "the row of {text} in {name}");
            assert!(row.as_ref().is_none_or(|row| spec.key_of(row) == *key), "another row for {text} of {name}");
        }
        // All rows together are the table.
        let keys: Vec<Key> = after.keys().map(|key| key_value(spec, key)).collect();
        let found = rows(&mut *self.node, spec, &keys).await;
        let lost: Vec<_> = after.keys().zip(&found).filter(|(_, row)| row.is_none()).collect();
        assert!(lost.is_empty(), "rows of {name} not found by their key: {lost:?}");

        let again = self.node.entries(spec, &page.whole, None, usize::MAX >> 1).await;
        let again = again.unwrap_or_else(|error| panic!("entries of {name}: {error}")).entries;
        assert_eq!(again, [], "entries of {name} are read twice");
    }
}

fn here() -> Sync {
    Sync { name: "test".into(), nodes: vec!["here".into(), "there".into()], node: "here".into() }
}

/// What is recorded of a row, as text; `None` where there is no row.
type Recorded = Option<Vec<Text>>;

/// What the entries tell of each row before and after leads from what it was to what it is: whatever went stood there or had come, in
/// whichever order. Where nothing is recorded they tell nothing.
fn images_lead(spec: &TableSpec, before: &Content, after: &Content, entries: &[Entry]) {
    let name = &spec.name;
    let mut told: BTreeMap<String, [Vec<Recorded>; 2]> = BTreeMap::new();
    for entry in entries {
        assert_eq!(entry.images.is_some(), !spec.images.is_empty(), "what is recorded in the history of {name}");
        let Some(images) = &entry.images else { continue };
        let text = |row: &Row| row.iter().map(|value| (!value.is_null()).then(|| value.to_string())).collect();
        let [went, came] = told.entry(key_text(&entry.key)).or_default();
        went.push(images.before.as_ref().map(text));
        came.push(images.after.as_ref().map(text));
    }
    for (key, [mut went, mut came]) in told {
        let recorded = |row: &Vec<Text>| spec.images.iter().map(|&at| row[at].clone()).collect();
        went.push(after.get(&key).map(recorded));
        came.push(before.get(&key).map(recorded));
        went.sort();
        came.sort();
        assert_eq!(went, came, "what went and what came of {key} in the history of {name}");
    }
}

/// Whether the table cannot be synced, so that there is nothing to miss.
async fn refused(kind: Kind, setup: &str, table: &str) -> bool {
    let database = Database::new(kind).await;
    database.user_as(As::Sync).await.execute(setup).await;
    let found = database.node().await.catalogue(table).await.unwrap_or_else(|error| panic!("{table}: {error}"));
    !found.expect("the table is there").refusals.is_empty()
}

async fn rows(node: &mut dyn Node, spec: &TableSpec, keys: &[Key]) -> Vec<Option<Row>> {
    let keys: Vec<&Key> = keys.iter().collect();
    let rows = node.rows(spec, &keys).await.unwrap_or_else(|error| panic!("rows of {}: {error}", spec.name));
    let readable = |row| match row {
        Ok(row) => row,
        Err(why) => panic!("a row of {} cannot be read: {why}", spec.name),
    };
    rows.into_iter().map(|row| row.map(readable)).collect()
}

async fn content(observer: &mut User, spec: &TableSpec) -> Content {
    let columns: Vec<String> = spec.columns.iter().map(|column| quoted(&column.name)).collect();
    let sql = format!("SELECT {} FROM {}", columns.join(", "), quoted(&spec.local));
    let rows = observer.rows(&sql).await;
    let count = rows.len();
    let content: Content = rows
        .into_iter()
        .map(|row| {
            let key: Vec<&str> = spec.key.iter().map(|&at| row[at].as_deref().unwrap_or("NULL")).collect();
            (key.join("/"), row)
        })
        .collect();
    assert_eq!(content.len(), count, "keys of {} are told apart by their text", spec.name);
    content
}

fn key_text(key: &Key) -> String {
    key.iter().map(ToString::to_string).collect::<Vec<_>>().join("/")
}

fn key_value(spec: &TableSpec, text: &str) -> Key {
    let parts: Vec<&str> = if spec.key.len() == 1 { vec![text] } else { text.split('/').collect() };
    spec.key_columns().zip(parts).map(|(column, part)| parse_key(column, part)).collect()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table of five items, whose ids 1 to 5 are its key and whose names are unique.
fn items(kind: Kind) -> &'static str {
    match kind {
        Kind::Sqlite => {
            "CREATE TABLE items (id integer PRIMARY KEY, name text UNIQUE, amount integer NOT NULL DEFAULT 0);
             INSERT INTO items VALUES (1, 'one', 10), (2, 'two', 20), (3, 'three', 30), (4, 'four', 40), (5, 'five', 50)"
        }
        Kind::Mariadb => {
            "CREATE TABLE items (id int AUTO_INCREMENT PRIMARY KEY, name varchar(99) UNIQUE, amount int NOT NULL DEFAULT 0);
             INSERT INTO items VALUES (1, 'one', 10), (2, 'two', 20), (3, 'three', 30), (4, 'four', 40), (5, 'five', 50)"
        }
        Kind::Postgres => {
            "CREATE TABLE items (id int GENERATED BY DEFAULT AS IDENTITY (START WITH 6) PRIMARY KEY, name text UNIQUE,
                                 amount int NOT NULL DEFAULT 0);
             INSERT INTO items VALUES (1, 'one', 10), (2, 'two', 20), (3, 'three', 30), (4, 'four', 40), (5, 'five', 50)"
        }
    }
}

/// One change to the table of items.
async fn items_after(kind: Kind, change: &str, expected: &[&str]) {
    items_touched(kind, change, expected, &[]).await;
}

/// One change to the table of items that may leave entries for `touched` as well.
async fn items_touched(kind: Kind, change: &str, expected: &[&str], touched: &[&str]) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    case.touched(&[("items", touched)]);
    case.change(change).await;
    case.captured(&[("items", expected)]).await;
}

/// As many forms of change as were asked for are tried on each kind.
#[test]
fn there_are_forms_enough_for_each_kind() {
    let program = std::env::current_exe().expect("the tests' own program");
    let list = std::process::Command::new(program).args(["conformance::capture::", "--list"]).output();
    let list = String::from_utf8(list.expect("a list of the tests").stdout).expect("names");
    for kind in ["sqlite", "postgres", "mariadb"] {
        // Such as `conformance::capture::rows::mariadb::replace: test`.
        let names = list.lines().filter_map(|line| line.strip_suffix(": test"));
        let forms = names.filter(|name| name.rsplit("::").nth(1) == Some(kind)).count();
        assert!(forms >= 35, "{forms} forms on {kind}:\n{list}");
    }
}
