//! Tables of which no history is kept: reading and writing them where nothing of Concord's is installed.

use concord::model::{Key, Row, TableSpec, Value};
use concord::node::{Node, Sync, WriteMode};
use concord_tests::{As, Database, Kind, User, spec};

concord_tests::conformance! {
    every: [nothing_has_to_be_installed, rows_stay_while_they_are_held, what_is_there_is_not_created, it_is_recorded_as_a_users]
    standard: []
    sqlite: []
    postgres: []
    mariadb: [a_table_that_was_emptied_is_not_taken_for_empty]
}

struct Case {
    database: Database,
    node: Box<dyn Node>,
    specs: Vec<TableSpec>,
}

impl Case {
    /// A table of which the row 1 is there.
    async fn new(kind: Kind) -> Case {
        let database = Database::new(kind).await;
        let sql = "CREATE TABLE t (id integer PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'one')";
        database.user_as(As::Sync).await.execute(sql).await;
        let mut node = database.node().await;
        let specs = vec![TableSpec { captured: false, ..spec(&mut *node, "t", 0).await }];
        Case { database, node, specs }
    }

    async fn names(&self) -> Vec<String> {
        let rows = self.database.user().await.rows("SELECT name FROM t ORDER BY id").await;
        rows.into_iter().filter_map(|mut row| row.remove(0)).collect()
    }

    /// A user who waits for nobody.
    async fn impatient(&self, kind: Kind) -> User {
        let mut user = self.database.user().await;
        let briefly = match kind {
            Kind::Sqlite => "PRAGMA busy_timeout = 0",
            Kind::Postgres => "SET lock_timeout = '50ms'",
            Kind::Mariadb => "SET SESSION innodb_lock_wait_timeout = 0",
        };
        user.execute(briefly).await;
        user
    }

    async fn write(&mut self, id: i64, name: &str, mode: WriteMode) {
        let row = row(id, name);
        self.node.write(&[(&self.specs[0], &[&row], mode)]).await.expect("a row");
    }
}

fn key(id: i64) -> Key {
    vec![Value::Int(id)].into()
}

fn row(id: i64, name: &str) -> Row {
    vec![Value::Int(id), Value::text(name)].into()
}

async fn nothing_has_to_be_installed(kind: Kind) {
    let mut case = Case::new(kind).await;
    let (one, two) = (key(1), key(2));
    case.node.begin_scan(&case.specs).await.expect("a snapshot");
    let read = case.node.rows(&case.specs[0], &[&one, &two]).await.expect("rows");
    assert_eq!(read, [Some(Ok(row(1, "one"))), None]);
    // Nobody waits for it.
    case.impatient(kind).await.execute("UPDATE t SET name = 'changed'").await;
    case.node.end_read().await.expect("an end");
    case.node.begin_mend(&case.specs).await.expect("a transaction");
    let now = case.node.rows_now(&case.specs[0], &[&one], true).await.expect("rows");
    assert_eq!(now, [Some(Ok(row(1, "changed")))]);
    case.write(1, "again", WriteMode::UpdateOnly).await;
    case.write(2, "two", WriteMode::InsertOnly).await;
    case.node.commit().await.expect("a commit");
    assert_eq!(case.names().await, ["again", "two"]);
    case.node.begin_mend(&case.specs).await.expect("a transaction");
    case.node.delete(&[(&case.specs[0], &[&one])]).await.expect("a delete");
    case.node.rollback().await.expect("it can be given up");
    assert_eq!(case.names().await, ["again", "two"]);
    assert!(case.node.service().await.expect("an answer").is_none());
}

async fn rows_stay_while_they_are_held(kind: Kind) {
    let mut case = Case::new(kind).await;
    case.node.begin_mend(&case.specs).await.expect("a transaction");
    case.node.rows_now(&case.specs[0], &[&key(1)], true).await.expect("rows");
    let mut user = case.impatient(kind).await;
    user.try_execute("UPDATE t SET name = 'user' WHERE id = 1").await.expect_err("it is held");
    case.node.commit().await.expect("a commit");
    user.execute("UPDATE t SET name = 'user' WHERE id = 1").await;
}

async fn what_is_there_is_not_created(kind: Kind) {
    let mut case = Case::new(kind).await;
    case.node.begin_mend(&case.specs).await.expect("a transaction");
    case.write(1, "other", WriteMode::InsertOnly).await;
    case.write(2, "none", WriteMode::UpdateOnly).await;
    case.node.commit().await.expect("a commit");
    assert_eq!(case.names().await, ["one"]);
}

/// Another sync may keep a history of the table; what is written is news to it.
async fn it_is_recorded_as_a_users(kind: Kind) {
    let mut case = Case::new(kind).await;
    let captured = vec![TableSpec { captured: true, ..case.specs[0].clone() }];
    let nodes = ["here", "there"].map(str::to_owned).to_vec();
    let sync = Sync { name: "test".into(), nodes, node: "here".into() };
    let mut other = case.database.node().await;
    other.install(&sync, &captured).await.expect("an install");
    case.node.begin_mend(&case.specs).await.expect("a transaction");
    case.write(1, "other", WriteMode::UpdateOnly).await;
    case.write(2, "two", WriteMode::InsertOnly).await;
    case.node.delete(&[(&case.specs[0], &[&key(1)])]).await.expect("a delete");
    case.node.commit().await.expect("a commit");
    other.begin_read(&captured).await.expect("a snapshot");
    let entries = other.entries(&captured[0], &Default::default(), None, 10).await.expect("entries").entries;
    let mut ids: Vec<(Key, bool)> = entries.into_iter().map(|entry| (entry.key, entry.arrival.is_none())).collect();
    ids.sort_by_key(|(key, _)| format!("{key:?}"));
    assert_eq!(ids, [(key(1), true), (key(1), true), (key(2), true)]);
}

/// To a snapshot that is older than a TRUNCATE the table would be empty, although it never was.
async fn a_table_that_was_emptied_is_not_taken_for_empty(kind: Kind) {
    let mut case = Case::new(kind).await;
    let mut owner = case.database.user_as(As::Sync).await;
    let mut node = case.database.node().await;
    case.node.begin_scan(&case.specs).await.expect("a snapshot");
    // Whoever empties the table waits until it was read.
    owner.execute("SET SESSION lock_wait_timeout = 0").await;
    owner.try_execute("TRUNCATE t").await.expect_err("somebody reads");
    let one = key(1);
    let read = case.node.rows(&case.specs[0], &[&one]).await.expect("rows");
    assert_eq!(read, [Some(Ok(row(1, "one")))]);
    case.node.end_read().await.expect("an end");
    owner.execute("TRUNCATE t").await;
    node.begin_scan(&case.specs).await.expect("a snapshot");
    assert_eq!(node.rows(&case.specs[0], &[&one]).await.expect("rows"), [None]);
}
