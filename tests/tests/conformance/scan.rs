//! Reading whole tables: every row once, as the snapshot has it, in lots that are smaller than the table.

use std::collections::BTreeMap;

use concord::model::{Cut, Key, TableSpec, Value};
use concord::node::{Node, Scanned, Sync, lots};
use concord_tests::{As, Database, Kind, PATIENCE, spec, wait_until};

concord_tests::conformance! {
    every: [every_row_once, an_empty_table, the_snapshot_goes_on, nobody_who_takes_them]
    standard: []
    sqlite: [every_kind_of_key, keys_that_cannot_be_carried]
    postgres: [types_that_travel_as_text, a_table_that_is_filled_anew]
    mariadb: []
}

struct Case {
    database: Database,
    node: Box<dyn Node>,
    specs: Vec<TableSpec>,
}

impl Case {
    async fn new(kind: Kind, sql: &str, table: &str) -> Case {
        let database = Database::new(kind).await;
        database.user_as(As::Sync).await.execute(sql).await;
        let mut node = database.node().await;
        let specs = vec![spec(&mut *node, table, 0).await];
        let nodes = ["here", "there"].map(str::to_owned).to_vec();
        let sync = Sync { name: "test".into(), nodes, node: "here".into() };
        node.install(&sync, &specs).await.unwrap_or_else(|error| panic!("install: {error}"));
        Case { database, node, specs }
    }

    async fn begin(&mut self) {
        self.node.begin_read(&self.specs).await.expect("a snapshot");
    }

    /// All rows, and in how many lots they came.
    async fn scan(&mut self) -> (Vec<Scanned>, usize) {
        let (sender, mut receiver) = lots();
        let taking = async {
            let (mut rows, mut lots) = (Vec::new(), 0);
            while let Some(lot) = receiver.recv().await {
                lot.unpack(|row| rows.push(row)).expect("rows");
                lots += 1;
            }
            (rows, lots)
        };
        let scanning = async {
            let done = self.node.scan(&self.specs[0], &sender).await;
            drop(sender);
            done.expect("a scan");
        };
        futures::join!(scanning, taking).1
    }

    /// That a scan gives what is found by key, each row once.
    async fn check(&mut self, count: usize) -> usize {
        self.begin().await;
        let (scanned, lots) = self.scan().await;
        assert_eq!(scanned.len(), count, "{lots} lots");
        let mut rows = BTreeMap::new();
        let mut keys: Vec<Key> = Vec::new();
        for row in scanned {
            let row = row.expect("a row that can be carried");
            keys.push(self.specs[0].key_of(&row));
            rows.insert(format!("{:?}", self.specs[0].key_of(&row)), row);
        }
        assert_eq!(rows.len(), count, "some rows came twice");
        let borrowed: Vec<&Key> = keys.iter().collect();
        for (key, found) in keys.iter().zip(self.node.rows(&self.specs[0], &borrowed).await.expect("rows")) {
            assert_eq!(found, Some(Ok(rows[&format!("{key:?}")].clone())));
        }
        self.node.end_read().await.expect("the end");
        lots
    }
}

/// Rows of 4 KiB.
fn many(table: &str, rows: usize) -> String {
    let text = "x".repeat(4096);
    format!(
        "CREATE TABLE {table} (id bigint PRIMARY KEY, body text, n numeric(12,2));
         INSERT INTO {table} WITH RECURSIVE n (v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < {rows})
         SELECT v * 3 - 700, '{text}' || v, v + 0.5 FROM n"
    )
}

async fn every_row_once(kind: Kind) {
    let mut case = Case::new(kind, &many("items", 700), "items").await;
    let lots = case.check(700).await;
    assert!(lots > 3, "all rows in {lots} lots");
}

async fn an_empty_table(kind: Kind) {
    let mut case = Case::new(kind, "CREATE TABLE items (id bigint PRIMARY KEY)", "items").await;
    case.check(0).await;
}

async fn the_snapshot_goes_on(kind: Kind) {
    let mut case = Case::new(kind, &many("items", 300), "items").await;
    case.begin().await;
    let mut user = case.database.user().await;
    user.execute("INSERT INTO items VALUES (5000, 'new', 0); DELETE FROM items WHERE id = 200").await;
    for _ in 0..2 {
        let (rows, _) = case.scan().await;
        assert_eq!(rows.len(), 300);
    }
    let page = case.node.entries(&case.specs[0], &Cut::START, None, 10).await.expect("a page");
    assert_eq!(page.entries, []);
    let gone: Key = vec![Value::Int(200)].into();
    assert!(case.node.rows(&case.specs[0], &[&gone]).await.expect("rows")[0].is_some());
}

async fn nobody_who_takes_them(kind: Kind) {
    let mut case = Case::new(kind, &many("items", 700), "items").await;
    case.begin().await;
    let (sender, receiver) = lots();
    drop(receiver);
    case.node.scan(&case.specs[0], &sender).await.expect_err("nobody is there");
    case.node.end_read().await.expect("the end");
    // The node is as good as before.
    case.check(700).await;
}

/// Tables whose rows lie in different orders, and one that leaves no name for the order in which they lie.
async fn every_kind_of_key(kind: Kind) {
    let text = "x".repeat(8192);
    let numbers = "WITH RECURSIVE n (v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < 300)";
    let shapes = [
        "(a text, b integer, body text, PRIMARY KEY (a, b))",
        "(a text, b integer, body text, PRIMARY KEY (a, b)) WITHOUT ROWID",
        "(a text COLLATE NOCASE, b integer, body text, PRIMARY KEY (b DESC, a COLLATE NOCASE)) WITHOUT ROWID",
        "(a blob, b integer, body text, PRIMARY KEY (a, b)) WITHOUT ROWID",
        "(a, b, body text, rowid, oid, _rowid_, PRIMARY KEY (a, b))",
        "(a text UNIQUE NOT NULL, b integer, body text)",
    ];
    for shape in shapes {
        let sql = format!(
            "CREATE TABLE items {shape}; {numbers} INSERT INTO items (a, b, body) SELECT 'k' || v, v % 7, '{text}' FROM n;"
        );
        let mut case = Case::new(kind, &sql, "items").await;
        let lots = case.check(300).await;
        assert!(lots > 3, "{shape}: all rows in {lots} lots");
    }
}

async fn keys_that_cannot_be_carried(kind: Kind) {
    let sql =
        "CREATE TABLE items (a text PRIMARY KEY, n integer); INSERT INTO items VALUES (NULL, 1), (NULL, 2), ('a', 3)";
    let mut case = Case::new(kind, sql, "items").await;
    case.begin().await;
    let (rows, _) = case.scan().await;
    let odd: Vec<&(Key, String)> = rows.iter().filter_map(|row| row.as_ref().err()).collect();
    assert_eq!((rows.len(), odd.len()), (3, 2));
    assert!(odd.iter().all(|(key, why)| key[0] == Value::Null && why.contains("give the row a key")), "{odd:?}");
}

async fn types_that_travel_as_text(kind: Kind) {
    let sql = "CREATE TYPE mood AS ENUM ('glad', 'sad');
               CREATE TABLE items (id integer PRIMARY KEY, \"Mood \"\"s\" mood, list int[], span interval, doc jsonb);
               INSERT INTO items VALUES (1, 'sad', '{1,NULL}', '1 day 2 hours', '{\"a\": 1}'), (2, NULL, NULL, NULL, NULL)";
    let mut case = Case::new(kind, sql, "items").await;
    case.check(2).await;
}

/// To a snapshot from before the commit of a TRUNCATE the table is empty, although to everybody else it never was.
async fn a_table_that_is_filled_anew(kind: Kind) {
    let mut case = Case::new(kind, &many("items", 10), "items").await;
    let mut user = case.database.user_as(As::Sync).await;
    let anew = "BEGIN; CREATE TEMPORARY TABLE kept AS SELECT * FROM items; TRUNCATE items; INSERT INTO items SELECT * FROM kept";
    user.execute(anew).await;
    let mut admin = case.database.user_as(As::Admin).await;
    let committing = async {
        let waits = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let waiting = async || (!admin.rows(waits).await.is_empty()).then_some(());
        wait_until("the scan to wait for the user", PATIENCE, waiting).await;
        user.execute("COMMIT").await;
    };
    let scanning = async {
        case.node.begin_scan(&case.specs).await.expect("a snapshot");
        case.scan().await.0.len()
    };
    assert_eq!(futures::join!(scanning, committing).0, 10);
}
