//! Tables that are no longer what `install` left: each stands still alone, and says which command puts it right.

use concord::sync::{Repair, Verify};
use concord_tests::postgres::{ADMIN, PASSWORD, Server};
use concord_tests::{As, Cluster, Database, Kind, PATIENCE, wait_until};

concord_tests::clusters! {
    pairs: [
        a_column_is_added, a_column_is_dropped, a_column_is_renamed, a_trigger_is_dropped, a_trigger_is_changed, the_table_is_rebuilt, the_table_is_put_back,
        what_makes_nothing_anew_is_no_drift,
        the_table_is_gone, a_new_index_is_no_drift, a_column_is_renamed_while_it_is_read, rebuilt_beside_a_watch,
        a_column_comes_beside_a_watch,
        the_history_is_dropped, rows_vanish_with_changes_on_their_way,
    ]
    many: [
        a_trigger_is_dropped_among_all, rows_vanish_with_changes_on_their_way, rows_vanish_where_changes_of_others_had_arrived,
    ]
    all: []
}

fn setup(_: Kind) -> String {
    "CREATE TABLE items (id integer PRIMARY KEY, name text, notes text); INSERT INTO items VALUES (1, 'one', NULL), (2, 'two', 'x');
     CREATE TABLE others (id integer PRIMARY KEY, name text)"
        .to_owned()
}

const TABLES: &str = "[tables.items]\n[tables.others]";

/// A cluster whose last node was changed by its owner.
async fn drifted(kinds: &[Kind], change: impl Fn(Kind) -> String) -> Cluster {
    let mut cluster = Cluster::new(kinds, setup, TABLES).await;
    cluster.settle().await;
    let last = kinds.len() - 1;
    owner(&mut cluster, last, &change(kinds[last])).await;
    cluster
}

async fn owner(cluster: &mut Cluster, at: usize, sql: &str) {
    cluster.nodes[at].database.user_as(As::Sync).await.execute(sql).await;
}

/// `items` stands still, with the command to run; `others` goes on; nothing of `items` is lost.
async fn stands_still(cluster: &mut Cluster) -> String {
    let last = cluster.nodes.len() - 1;
    cluster.run(0, "INSERT INTO others VALUES (10, 'a'); UPDATE items SET name = 'uno' WHERE id = 1").await;
    cluster.run(last, "INSERT INTO others VALUES (20, 'b')").await;
    let summary = cluster.sync().await;
    assert_eq!(summary.stopped.len(), 1, "{summary:?}");
    assert_eq!((summary.stopped[0].table.as_str(), summary.exit_code()), ("items", 1));
    let why = summary.stopped[0].why.clone();
    let node = concord_tests::NAMES[last];
    assert!(why.starts_with(&format!("at {node}: ")) && why.contains("`concord install`"), "{why}");
    cluster.holds("SELECT id FROM others ORDER BY id", &["10", "20"]).await;
    cluster.quiet().await;
    let status = cluster.session().status().await.expect("a status");
    assert_eq!(status.stopped, summary.stopped);
    why
}

/// After `install` the change that waited arrives, and new ones do.
async fn repaired(cluster: &mut Cluster) {
    cluster.install().await;
    let last = cluster.nodes.len() - 1;
    cluster.run(last, "INSERT INTO items (id, name) VALUES (3, 'three')").await;
    let summary = cluster.sync().await;
    assert_eq!(summary.stopped, []);
    cluster.holds("SELECT id, name FROM items ORDER BY id", &["1|uno", "2|two", "3|three"]).await;
    cluster.quiet().await;
}

async fn a_column_is_added(kinds: &[Kind]) {
    let add = "ALTER TABLE items ADD COLUMN price integer";
    let mut cluster = drifted(kinds, |_| add.to_owned()).await;
    let why = stands_still(&mut cluster).await;
    assert!(why.contains("price"), "{why}");
    // `install` does not guess: it wants the column everywhere, or left out by name.
    let refused = cluster.try_install().await.expect_err("a has no such column");
    assert!(refused.contains("`items` has no column `price` at a"), "{refused}");
    owner(&mut cluster, 0, add).await;
    repaired(&mut cluster).await;
    cluster.run(0, "UPDATE items SET price = 5 WHERE id = 2").await;
    cluster.settle().await;
    cluster.holds("SELECT price FROM items WHERE id = 2", &["5"]).await;
}

async fn a_column_is_dropped(kinds: &[Kind]) {
    let mut cluster = drifted(kinds, |_| "ALTER TABLE items DROP COLUMN notes".to_owned()).await;
    let why = stands_still(&mut cluster).await;
    assert!(why.contains("notes"), "{why}");
    cluster.configure("[tables.items.nodes.b]\nomit = [\"notes\"]\n[tables.others]");
    repaired(&mut cluster).await;
    cluster.holds_at(0, "SELECT notes FROM items WHERE id = 2", &["x"]).await;
}

async fn a_column_is_renamed(kinds: &[Kind]) {
    let mut cluster = drifted(kinds, |_| "ALTER TABLE items RENAME COLUMN notes TO remarks".to_owned()).await;
    let why = stands_still(&mut cluster).await;
    assert!(why.contains("notes") || why.contains("remarks"), "{why}");
    cluster.configure("[tables.items.nodes.b]\ncolumns = { notes = \"remarks\" }\n[tables.others]");
    repaired(&mut cluster).await;
}

/// Statements that do something with every trigger of Concord's on `items`.
async fn each_trigger(cluster: &mut Cluster, at: usize, change: impl Fn(&str) -> String) {
    let sql = match cluster.nodes[at].database.kind() {
        Kind::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'items' ORDER BY name",
        Kind::Mariadb => {
            "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = database()
             AND event_object_table = 'items' ORDER BY trigger_name"
        }
        Kind::Postgres => {
            "SELECT tgname FROM pg_trigger WHERE tgrelid = 'items'::regclass AND NOT tgisinternal ORDER BY tgname"
        }
    };
    let names = cluster.rows(at, sql).await;
    assert!(!names.is_empty(), "Concord has triggers");
    for name in names {
        owner(cluster, at, &change(&name)).await;
    }
}

async fn a_trigger_is_dropped(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, setup, TABLES).await;
    let last = kinds.len() - 1;
    let on = if kinds[last] == Kind::Postgres { " ON items" } else { "" };
    each_trigger(&mut cluster, last, |name| format!("DROP TRIGGER \"{name}\"{on}")).await;
    stands_still(&mut cluster).await;
    repaired(&mut cluster).await;
}

async fn a_trigger_is_dropped_among_all(kinds: &[Kind]) {
    a_trigger_is_dropped(kinds).await;
}

/// Another trigger under the same name, or one that is switched off.
async fn a_trigger_is_changed(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, setup, TABLES).await;
    match kinds[1] {
        Kind::Mariadb => {
            let change = |name: &str| {
                format!("DROP TRIGGER `{name}`; CREATE TRIGGER `{name}` AFTER UPDATE ON items FOR EACH ROW SET @n = 1")
            };
            each_trigger(&mut cluster, 1, change).await;
        }
        Kind::Postgres => owner(&mut cluster, 1, "ALTER TABLE items DISABLE TRIGGER USER").await,
        Kind::Sqlite => {
            let change = |name: &str| {
                format!("DROP TRIGGER \"{name}\"; CREATE TRIGGER \"{name}\" AFTER UPDATE ON items BEGIN SELECT 1; END")
            };
            each_trigger(&mut cluster, 1, change).await;
        }
    }
    let why = stands_still(&mut cluster).await;
    assert!(why.contains("trigger"), "{why}");
    repaired(&mut cluster).await;
}

#[tokio::test]
async fn a_trigger_function_is_changed() {
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Postgres], setup, TABLES).await;
    let function = "SELECT DISTINCT p.oid::regprocedure FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
                    WHERE t.tgrelid = 'items'::regclass AND NOT t.tgisinternal ORDER BY 1";
    for name in cluster.rows(1, function).await {
        let body = "RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$";
        owner(&mut cluster, 1, &format!("CREATE OR REPLACE FUNCTION {name} {body}")).await;
    }
    stands_still(&mut cluster).await;
    repaired(&mut cluster).await;
}

/// As many tools do it: a new table, the rows copied, the old one dropped, and the name given to the new one.
fn rebuild(kind: Kind) -> String {
    let grant = if kind == Kind::Postgres { "; GRANT ALL ON items TO app" } else { "" };
    format!(
        "CREATE TABLE items_new (id integer PRIMARY KEY, name text, notes text); INSERT INTO items_new SELECT * FROM items;
         DROP TABLE items; ALTER TABLE items_new RENAME TO items{grant}"
    )
}

async fn the_table_is_rebuilt(kinds: &[Kind]) {
    let mut cluster = drifted(kinds, rebuild).await;
    stands_still(&mut cluster).await;
    repaired(&mut cluster).await;
}

/// What takes all rows of `items` away, and no trigger records.
fn vanish(kind: Kind) -> String {
    let anew = "DROP TABLE items; CREATE TABLE items (id integer PRIMARY KEY, name text, notes text)";
    match kind {
        Kind::Mariadb => "TRUNCATE TABLE items".to_owned(),
        Kind::Sqlite => anew.to_owned(),
        Kind::Postgres => format!("{anew}; GRANT ALL ON items TO app"),
    }
}

/// Nobody else loses the rows, and what was deleted before they vanished is deleted.
async fn rows_vanish_with_changes_on_their_way(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, setup, TABLES).await;
    cluster.settle().await;
    let last = kinds.len() - 1;
    let changes = "UPDATE items SET name = 'gone' WHERE id = 1; INSERT INTO items (id, name) VALUES (3, 'gone');
                   DELETE FROM items WHERE id = 2";
    cluster.run(last, changes).await;
    owner(&mut cluster, last, &vanish(kinds[last])).await;
    let summary = cluster.sync().await;
    assert_eq!(summary.stopped.len(), 1, "{summary:?}");
    let done = cluster.install().await;
    assert!(done.iter().any(|line| line.contains("2 changes made here are carried no further")), "{done:?}");
    // An earlier Concord is told that it cannot read that.
    let (node, version) = match kinds[last] {
        Kind::Mariadb => ("concord_node", "3"),
        Kind::Sqlite => ("concord_node", "2"),
        Kind::Postgres => ("concord.node", "2"),
    };
    cluster.holds_at(last, &format!("SELECT version FROM {node}"), &[version]).await;
    assert_eq!(cluster.install().await, Vec::<String>::new());
    cluster.holds_at(last, &format!("SELECT version FROM {node}"), &[version]).await;
    cluster.sync().await;
    cluster.holds_at(0, "SELECT id, name FROM items", &["1|one"]).await;
    cluster.run(0, "UPDATE items SET name = 'uno' WHERE id = 1").await;
    cluster.run(last, "INSERT INTO items (id, name) VALUES (4, 'four')").await;
    cluster.settle().await;
    cluster.holds("SELECT id, name FROM items ORDER BY id", &["1|uno", "4|four"]).await;
    let history = if kinds[last] == Kind::Postgres { "history_store.items" } else { "history_store_items" };
    cluster.holds_at(last, &format!("SELECT id FROM {history} WHERE op = 'X'"), &[]).await;
}

/// GIVEN a node that has taken a change of another, while a third one was away
/// WHEN its rows vanish
/// THEN the third gets the change from who made it, and loses nothing.
async fn rows_vanish_where_changes_of_others_had_arrived(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, setup, TABLES).await;
    cluster.settle().await;
    cluster.leave(1);
    let last = kinds.len() - 1;
    cluster.run(last, "UPDATE items SET name = 'new' WHERE id = 1").await;
    cluster.sync().await;
    cluster.holds_at(0, "SELECT name FROM items ORDER BY id", &["new", "two"]).await;
    owner(&mut cluster, 0, &vanish(kinds[0])).await;
    cluster.back(1);
    cluster.install().await;
    cluster.sync().await;
    for at in 1..kinds.len() {
        cluster.holds_at(at, "SELECT id, name FROM items ORDER BY id", &["1|new", "2|two"]).await;
    }
}

#[tokio::test]
async fn rows_are_truncated_where_changes_of_others_had_arrived() {
    rows_vanish_where_changes_of_others_had_arrived(&[Kind::Mariadb, Kind::Sqlite, Kind::Sqlite]).await;
}

/// The same of a change that the node itself made, and that came to one which lacks a column: it has no other equal.
#[tokio::test]
async fn rows_vanish_whose_changes_came_to_who_lacks_a_column() {
    let tables = format!("{TABLES}\n[tables.items.nodes.b]\nomit = [\"notes\"]");
    let mut cluster = Cluster::new(&[Kind::Sqlite; 3], setup, &tables).await;
    cluster.settle().await;
    cluster.leave(2);
    cluster.run(0, "UPDATE items SET name = 'new' WHERE id = 2").await;
    cluster.sync().await;
    cluster.holds_at(1, "SELECT name FROM items ORDER BY id", &["one", "new"]).await;
    owner(&mut cluster, 0, &vanish(Kind::Sqlite)).await;
    cluster.back(2);
    cluster.install().await;
    cluster.sync().await;
    cluster.holds_at(1, "SELECT id, name FROM items ORDER BY id", &["1|one", "2|new"]).await;
    cluster.holds_at(2, "SELECT name, notes FROM items WHERE id = 2", &["new|x"]).await;
}

/// A row that had another key before keeps that one elsewhere, where it never came under the new one.
#[tokio::test]
async fn rows_vanish_that_had_got_other_keys() {
    for kind in Kind::ALL {
        let mut cluster = Cluster::new(&[Kind::Sqlite, kind], setup, TABLES).await;
        cluster.settle().await;
        cluster.run(1, "UPDATE items SET id = 5 WHERE id = 2; UPDATE items SET id = 6 WHERE id = 5").await;
        owner(&mut cluster, 1, &vanish(kind)).await;
        cluster.install().await;
        cluster.sync().await;
        cluster.holds_at(0, "SELECT id, name FROM items ORDER BY id", &["1|one", "2|two"]).await;
    }
}

/// A dump of one table holds the triggers too, word by word.
async fn the_table_is_put_back(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, setup, TABLES).await;
    cluster.settle().await;
    let last = kinds.len() - 1;
    let triggers = match kinds[last] {
        Kind::Sqlite => "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'items' ORDER BY rowid",
        Kind::Mariadb => {
            "SELECT CONCAT('SET sql_mode = ''', sql_mode, '''; CREATE TRIGGER `', trigger_name, '` ', action_timing, ' ',
                event_manipulation, ' ON items FOR EACH ROW ', action_statement)
             FROM information_schema.triggers WHERE trigger_schema = database() AND event_object_table = 'items'"
        }
        Kind::Postgres => {
            "SELECT pg_get_triggerdef(oid) || '; ALTER TABLE items ENABLE ALWAYS TRIGGER ' || quote_ident(tgname)
             FROM pg_trigger WHERE tgrelid = 'items'::regclass AND NOT tgisinternal"
        }
    };
    let triggers = cluster.rows(last, triggers).await;
    let grant = if kinds[last] == Kind::Postgres { "; GRANT ALL ON items TO app" } else { "" };
    let setup = setup(kinds[last]);
    let (items, _) = setup.split_once(";\n").expect("two tables");
    owner(&mut cluster, last, &format!("DROP TABLE items; {items}{grant}")).await;
    for trigger in triggers {
        owner(&mut cluster, last, &trigger).await;
    }
    let why = stands_still(&mut cluster).await;
    assert!(why.contains("made anew"), "{why}");
    let (_, warnings) = cluster.session().install().await.expect("an install");
    assert!(warnings.iter().any(|line| line.contains("compare its rows")), "{warnings:?}");
    repaired(&mut cluster).await;
}

async fn what_makes_nothing_anew_is_no_drift(kinds: &[Kind]) {
    let mut cluster = drifted(kinds, |kind| match kind {
        Kind::Sqlite => "VACUUM; REINDEX; ALTER TABLE items RENAME TO i2; ALTER TABLE i2 RENAME TO items".to_owned(),
        Kind::Mariadb => "ALTER TABLE items FORCE; RENAME TABLE items TO i2; RENAME TABLE i2 TO items".to_owned(),
        Kind::Postgres => "ALTER TABLE items RENAME TO i2; ALTER TABLE i2 RENAME TO items".to_owned(),
    })
    .await;
    cluster.run(0, "UPDATE items SET name = 'uno' WHERE id = 1").await;
    cluster.run(1, "UPDATE items SET name = 'dos' WHERE id = 2").await;
    cluster.settle().await;
    cluster.holds("SELECT name FROM items ORDER BY id", &["uno", "dos"]).await;
}

/// An engine that goes on knows the new table for what it is: what it writes there comes back to nobody.
async fn rebuilt_beside_a_watch(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, setup, TABLES).await;
    let mut session = cluster.session();
    let last = kinds.len() - 1;
    cluster.run(0, "UPDATE items SET name = 'uno' WHERE id = 1").await;
    session.sync().await.expect("a sync");
    owner(&mut cluster, last, &rebuild(kinds[last])).await;
    cluster.install().await;
    cluster.run(0, "UPDATE items SET name = 'due' WHERE id = 2").await;
    let summary = session.sync().await.expect("a sync");
    let carried: Vec<_> = summary.nodes.iter().map(|node| (node.node.as_str(), node.written)).collect();
    assert_eq!(carried, [(concord_tests::NAMES[last], 1)]);
    cluster.holds("SELECT id, name FROM items ORDER BY id", &["1|uno", "2|due"]).await;
    cluster.quiet().await;
}

/// An engine that goes on learns of a column that came, and was installed, between two of its looks.
async fn a_column_comes_beside_a_watch(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, setup, TABLES).await;
    let mut session = cluster.session();
    session.sync().await.expect("a sync");
    for at in 0..kinds.len() {
        owner(&mut cluster, at, "ALTER TABLE items ADD COLUMN price integer").await;
    }
    cluster.install().await;
    cluster.run(0, "INSERT INTO items (id, price) VALUES (3, 5); UPDATE items SET price = 6 WHERE id = 1").await;
    let stopped = session.sync().await.expect("a sync").stopped;
    assert!(stopped.len() == 1 && stopped[0].why.contains("installed in another shape"), "{stopped:?}");
    assert_eq!(session.sync().await.expect("a sync").stopped, []);
    cluster.holds("SELECT id, price FROM items WHERE price IS NOT NULL ORDER BY id", &["1|6", "3|5"]).await;
    cluster.quiet().await;
}

async fn a_column_is_renamed_while_it_is_read(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, setup, TABLES).await;
    cluster.run(0, "INSERT INTO others VALUES (10, 'a'); UPDATE items SET name = 'uno' WHERE id = 1").await;
    let rename = async |cluster: &mut Cluster| owner(cluster, 0, "ALTER TABLE items RENAME COLUMN name TO title").await;
    let summary = cluster.sync_while("fetch", rename).await;
    // A snapshot of SQLite still shows the table as it was.
    if kinds[0] == Kind::Postgres {
        assert_eq!(summary.stopped.iter().map(|stopped| stopped.table.as_str()).collect::<Vec<_>>(), ["items"]);
    }
    assert_eq!(summary.away, []);
    cluster.holds("SELECT id FROM others", &["10"]).await;
    owner(&mut cluster, 0, "ALTER TABLE items RENAME COLUMN title TO name").await;
    cluster.install().await;
    cluster.settle().await;
    cluster.holds("SELECT name FROM items WHERE id = 1", &["uno"]).await;
}

async fn the_table_is_gone(kinds: &[Kind]) {
    let mut cluster = drifted(kinds, |_| "DROP TABLE items".to_owned()).await;
    stands_still(&mut cluster).await;
    let refused = cluster.try_install().await.expect_err("there is no such table");
    assert!(refused.contains("there is no table `items` at b"), "{refused}");
}

/// The numbers of its successor are above those that others have passed, however many those are.
async fn the_history_is_dropped(kinds: &[Kind]) {
    let history = |kind| if kind == Kind::Postgres { "history_store.items" } else { "history_store_items" };
    for carried in [1, 5] {
        let mut cluster = Cluster::new(kinds, setup, TABLES).await;
        for id in 1..=carried {
            cluster.run(1, &format!("INSERT INTO items (id, name) VALUES ({}, 'before')", 10 + id)).await;
        }
        cluster.settle().await;
        owner(&mut cluster, 1, &format!("DROP TABLE {}", history(kinds[1]))).await;
        cluster.install().await;
        for id in 1..=7 {
            cluster.run(1, &format!("INSERT INTO items (id, name) VALUES ({}, 'after')", 20 + id)).await;
        }
        cluster.run(0, "UPDATE items SET name = 'uno' WHERE id = 1").await;
        cluster.settle().await;
        cluster.holds("SELECT count(*) FROM items WHERE name = 'after'", &["7"]).await;
        // `reset` does without it, and so does the next sync.
        owner(&mut cluster, 1, &format!("DROP TABLE {}", history(kinds[1]))).await;
        cluster.session().reset().await.expect("a reset");
        cluster.run(1, "DELETE FROM items WHERE id > 20").await;
        cluster.settle().await;
        cluster.holds("SELECT count(*) FROM items WHERE name = 'after'", &["0"]).await;
    }
}

/// What does not concern Concord does not stop it.
async fn a_new_index_is_no_drift(kinds: &[Kind]) {
    let mut cluster = drifted(kinds, |_| "CREATE INDEX by_name ON items (name)".to_owned()).await;
    cluster.run(0, "UPDATE items SET name = 'uno' WHERE id = 1").await;
    cluster.run(1, "UPDATE items SET name = 'dos' WHERE id = 2").await;
    cluster.settle().await;
    cluster.holds("SELECT name FROM items ORDER BY id", &["uno", "dos"]).await;
}

/// Tables of one owner, of which Concord's role may do what it needs and no more.
async fn of_somebody_else() -> Cluster {
    let kinds = &[Kind::Postgres, Kind::Sqlite];
    let cluster = Cluster::bare(kinds, setup, TABLES).await;
    let mut admin = cluster.nodes[0].database.user_as(As::Admin).await;
    for table in ["items", "others"] {
        admin.execute(&format!("ALTER TABLE {table} OWNER TO app; GRANT ALL ON {table} TO sync")).await;
    }
    cluster.install().await;
    cluster
}

/// What stops `items`, and what `install` warns of as it mends that.
async fn stopped_and_mended(cluster: &mut Cluster) -> (String, Vec<String>) {
    let summary = cluster.sync().await;
    assert_eq!(summary.stopped.len(), 1, "{summary:?}");
    let (_, warnings) = cluster.session().install().await.expect("it can be installed");
    assert_eq!(cluster.sync().await.stopped, []);
    (summary.stopped[0].why.clone(), warnings)
}

/// Triggers were off and are on again when Concord looks.
#[tokio::test]
async fn triggers_that_were_off_for_a_while() {
    let mut cluster = of_somebody_else().await;
    let off_and_on = "ALTER TABLE items DISABLE TRIGGER USER; UPDATE items SET name = 'unseen' WHERE id = 1;
                      ALTER TABLE items ENABLE TRIGGER USER";
    cluster.run(0, off_and_on).await;
    let (why, warnings) = stopped_and_mended(&mut cluster).await;
    assert!(why.contains("trigger !concord_d was switched off for a while, or made anew"), "{why}");
    assert!(warnings.iter().any(|line| line.contains("may not have been recorded")), "{warnings:?}");
    // Nor is it otherwise where the tables are Concord's own.
    let mut admin = cluster.nodes[0].database.user_as(As::Admin).await;
    admin.execute("ALTER TABLE items OWNER TO sync; GRANT ALL ON items TO app").await;
    cluster.install().await;
    cluster.run_as_owner(0, &off_and_on.replace("ENABLE TRIGGER USER", "ENABLE ALWAYS TRIGGER \"!concord_u\"")).await;
    assert!(stopped_and_mended(&mut cluster).await.0.contains("!concord_u was switched off for a while"));
    // What the server does by itself is no reason.
    for statement in ["VACUUM (FREEZE) pg_trigger", "VACUUM FULL pg_trigger", "ANALYZE items", "REINDEX TABLE items"] {
        admin.execute(statement).await;
    }
    assert_eq!(cluster.sync().await.stopped, []);
    assert_eq!(cluster.install().await, Vec::<String>::new());
}

/// GIVEN a REINDEX CONCURRENTLY that waits for somebody's transaction, with a second unique index that is not valid yet
/// WHEN it is synced meanwhile, and once the REINDEX is done
/// THEN the table stands still at no time.
#[tokio::test]
async fn an_index_that_is_not_valid_is_no_drift() {
    let mut cluster = Cluster::new(&[Kind::Postgres, Kind::Sqlite], setup, TABLES).await;
    cluster.settle().await;
    let database = &cluster.nodes[0].database;
    let mut writer = database.user().await;
    writer.execute("BEGIN; UPDATE items SET notes = 'y' WHERE id = 2").await;
    let (mut admin, mut observer) = (database.user_as(As::Admin).await, database.user_as(As::Admin).await);
    let reindexing = tokio::spawn(async move { admin.execute("REINDEX TABLE CONCURRENTLY items").await });
    let second = "SELECT indexrelid FROM pg_index WHERE indrelid = 'items'::regclass AND NOT indisvalid";
    wait_until("a second index", PATIENCE, async || (!observer.rows(second).await.is_empty()).then_some(())).await;
    cluster.run(1, "UPDATE items SET name = 'uno' WHERE id = 1").await;
    assert_eq!(cluster.sync().await.stopped, []);
    cluster.holds("SELECT name FROM items WHERE id = 1", &["uno"]).await;
    writer.execute("COMMIT").await;
    reindexing.await.expect("it is done");
    assert!(observer.rows(second).await.is_empty());
    assert_eq!(cluster.sync().await.stopped, []);
    cluster.holds("SELECT notes FROM items WHERE id = 2", &["y"]).await;
    assert_eq!(cluster.install().await, Vec::<String>::new());
}

const SUM: &str = "[tables.items]\nconflict = { sum = [\"stock\"] }\n";

/// A new table of the same columns has them at other places where one had been dropped, and what is on its way is carried all the same.
#[tokio::test]
async fn a_rebuilt_table_has_its_columns_at_other_places() {
    let setup = |kind| match kind {
        Kind::Postgres => "CREATE TABLE items (legacy integer, id integer PRIMARY KEY, stock integer NOT NULL);
             ALTER TABLE items DROP COLUMN legacy; INSERT INTO items VALUES (1, 10)"
            .to_owned(),
        _ => "CREATE TABLE items (id integer PRIMARY KEY, stock integer NOT NULL); INSERT INTO items VALUES (1, 10)"
            .to_owned(),
    };
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Postgres], setup, SUM).await;
    cluster.settle().await;
    cluster.run(1, "UPDATE items SET stock = stock + 5 WHERE id = 1").await;
    let rebuild = "CREATE TABLE items_new AS SELECT * FROM items; ALTER TABLE items_new ADD PRIMARY KEY (id);
                   ALTER TABLE items_new ALTER COLUMN stock SET NOT NULL; DROP TABLE items;
                   ALTER TABLE items_new RENAME TO items; GRANT ALL ON items TO app";
    cluster.run_as_owner(1, rebuild).await;
    cluster.run(0, "UPDATE items SET stock = stock + 1 WHERE id = 1").await;
    cluster.install().await;
    cluster.settle().await;
    cluster.holds("SELECT stock FROM items", &["16"]).await;
}

#[tokio::test]
async fn a_summed_column_is_renamed_with_changes_on_their_way() {
    let setup = |_| {
        "CREATE TABLE items (id integer PRIMARY KEY, stock integer NOT NULL); INSERT INTO items VALUES (1, 10)"
            .to_owned()
    };
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Postgres], setup, SUM).await;
    cluster.settle().await;
    cluster.run(1, "UPDATE items SET stock = stock + 5 WHERE id = 1").await;
    cluster.run(0, "UPDATE items SET stock = stock + 1 WHERE id = 1").await;
    cluster.run_as_owner(1, "ALTER TABLE items RENAME COLUMN stock TO quantity").await;
    cluster.configure(&format!("{SUM}[tables.items.nodes.b]\ncolumns = {{ stock = \"quantity\" }}\n"));
    cluster.install().await;
    cluster.settle().await;
    cluster.holds_at(1, "SELECT quantity FROM items", &["16"]).await;
}

/// Rows that come or go with a partition fire no trigger.
#[tokio::test]
async fn partitions_that_come_and_go_with_their_rows() {
    let setup = |kind| match kind {
        Kind::Postgres => "CREATE TABLE items (id integer PRIMARY KEY, name text) PARTITION BY RANGE (id);
             CREATE TABLE low PARTITION OF items FOR VALUES FROM (0) TO (10);
             CREATE TABLE high (id integer NOT NULL, name text);
             INSERT INTO items VALUES (1, 'one'); INSERT INTO high VALUES (11, 'eleven')"
            .to_owned(),
        _ => "CREATE TABLE items (id integer PRIMARY KEY, name text); INSERT INTO items VALUES (1, 'one')".to_owned(),
    };
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Postgres], setup, "[tables.items]").await;
    cluster.settle().await;
    for (change, what) in [
        ("ALTER TABLE items ATTACH PARTITION high FOR VALUES FROM (10) TO (20)", "partition public.high was added"),
        ("DROP TABLE low", "partition public.low is missing"),
    ] {
        cluster.run_as_owner(1, change).await;
        let (why, warnings) = stopped_and_mended(&mut cluster).await;
        assert!(why.contains(what), "{change}: {why}");
        let told = |line: &String| line.contains(what) && line.contains("compare its rows");
        assert!(warnings.iter().any(told), "{change}: {warnings:?}");
    }
}

/// GIVEN a table of MariaDB from which rows go with a partition
/// WHEN a sync runs
/// THEN that table waits for a person, another is carried meanwhile, and the rows, which the other node keeps, come back once they
/// are asked for.
#[tokio::test]
async fn partitions_of_mariadb_go_with_their_rows() {
    let setup = |kind| {
        let parts = match kind {
            Kind::Mariadb => {
                " PARTITION BY RANGE (id) (PARTITION low VALUES LESS THAN (10), PARTITION high VALUES LESS THAN (20))"
            }
            _ => "",
        };
        format!(
            "CREATE TABLE items (id integer PRIMARY KEY, name text){parts};
             INSERT INTO items VALUES (1, 'one'), (2, 'two'), (11, 'eleven');
             CREATE TABLE others (id integer PRIMARY KEY, name text)"
        )
    };
    let mut cluster = Cluster::new(&[Kind::Postgres, Kind::Mariadb], setup, TABLES).await;
    cluster.settle().await;
    let all = "SELECT id, name FROM items ORDER BY id";
    let rows = ["1|one", "2|two", "11|eleven"];
    // By then `high` has all of them, the one whose key is kept among them.
    for (id, change, what, left) in [
        (10, "DROP PARTITION low", "partition low is missing", &rows[2..]),
        (20, "TRUNCATE PARTITION high", "rows are gone that nobody deleted", &rows[3..]),
    ] {
        cluster.run_as_owner(1, &format!("ALTER TABLE items {change}")).await;
        cluster.run(0, &format!("INSERT INTO others VALUES ({id}, 'a')")).await;
        cluster.run(1, &format!("INSERT INTO others VALUES ({}, 'b')", id + 1)).await;
        let summary = cluster.sync().await;
        let [stopped] = &summary.stopped[..] else { panic!("{change}: {summary:?}") };
        assert_eq!((stopped.table.as_str(), summary.exit_code()), ("items", 1), "{change}");
        let why = &stopped.why;
        assert!(
            why.starts_with("at b: ") && why.contains(what) && why.contains("`concord install`"),
            "{change}: {why}"
        );
        let arrived = format!("SELECT name FROM others WHERE id >= {id} ORDER BY id");
        cluster.holds(&arrived, &["a", "b"]).await;
        // Nothing of it is carried to whoever has the rows, then or later.
        for _ in 0..2 {
            cluster.holds_at(0, all, &rows).await;
            cluster.holds_at(1, all, left).await;
            cluster.install().await;
            assert_eq!(cluster.sync().await.stopped, [], "{change}");
        }
        let mend = Verify { repair: Repair::Mend, ..Verify::default() };
        let verified = Box::pin(cluster.session().verify(&mend)).await.expect("a comparison");
        let gone = (rows.len() - left.len()) as u64;
        let (items, code) = (&verified.tables[0], verified.exit_code());
        assert_eq!(
            (items.table.as_str(), items.differences, items.mended, code),
            ("items", gone, gone, 0),
            "{verified:#?}"
        );
        cluster.holds(all, &rows).await;
        cluster.settle().await;
    }
}

/// What a role that owns no table cannot see is told with what mends it.
#[tokio::test]
async fn replication_sessions_on_tables_of_somebody_else() {
    let mut cluster = of_somebody_else().await;
    let checked = cluster.session().check().await.expect("a check");
    let gaps = &checked.unrecorded;
    assert_eq!(serde_json::json!(checked)["unrecorded"], serde_json::json!(gaps));
    assert!(gaps.len() == 2 && gaps[0].contains("  GRANT \"app\" TO \"sync\";"), "{gaps:?}");
    let (_, warnings) = cluster.session().install().await.expect("it can be installed");
    assert!(warnings.contains(&gaps[0]), "{warnings:?}");
    // The owner says so himself, in the words that were given.
    let statement = gaps[0].lines().last().expect("a statement").to_owned();
    cluster.run(0, &statement).await;
    let replica = "SET session_replication_role = replica";
    let mut admin = cluster.nodes[0].database.user_as(As::Admin).await;
    admin.execute(&format!("{replica}; UPDATE items SET name = 'uno' WHERE id = 1")).await;
    assert_eq!(cluster.sync().await.stopped, []);
    cluster.holds("SELECT name FROM items WHERE id = 1", &["uno"]).await;
    assert_eq!(cluster.session().check().await.expect("a check").unrecorded.len(), 1);
    assert_eq!(cluster.install().await, Vec::<String>::new(), "it is known by now");
    let off_and_on = format!("ALTER TABLE items DISABLE TRIGGER USER; {statement}");
    cluster.run(0, &off_and_on).await;
    assert!(stopped_and_mended(&mut cluster).await.0.contains("was switched off for a while"));
    // Or Concord's role becomes a member of the owner, here of one that no other test has.
    let own = "DO $$ BEGIN EXECUTE format('CREATE ROLE %1$I; ALTER TABLE others OWNER TO %1$I; GRANT %1$I TO sync',
                   'keeper of ' || current_database()); END $$";
    admin.execute(own).await;
    let done = cluster.install().await;
    assert_eq!(done, ["others: its triggers fire in replication sessions as well now"]);
    admin.execute(&format!("{replica}; UPDATE others SET name = 'x'; INSERT INTO others VALUES (9, 'nine')")).await;
    cluster.settle().await;
    cluster.holds("SELECT id FROM others", &["9"]).await;
}

/// A subscription's worker fires only triggers of rows, and of these only those that the table's owner told to.
#[tokio::test]
async fn a_subscription_that_writes() {
    let server =
        tokio::task::spawn_blocking(|| Server::dedicated(&[("wal_level", "logical")])).await.expect("it starts");
    let (publisher, subscriber) = (Database::on(&server).await, Database::on(&server).await);
    let mut cluster = Cluster::bare(&[Kind::Postgres, Kind::Postgres], setup, TABLES).await;
    for database in [&publisher, &subscriber] {
        database.user_as(As::Sync).await.execute(&setup(Kind::Postgres)).await;
    }
    cluster.replace(0, subscriber).await;
    cluster.install().await;

    let (mut from, mut to) = (publisher.user_as(As::Admin).await, cluster.nodes[0].database.user_as(As::Admin).await);
    from.execute("CREATE PUBLICATION p FOR TABLE items").await;
    from.rows("SELECT pg_create_logical_replication_slot('s', 'pgoutput')").await;
    let place =
        from.cell("SELECT format('host=127.0.0.1 port=%s dbname=%s', inet_server_port(), current_database())").await;
    to.execute(&format!(
        "CREATE SUBSCRIPTION s CONNECTION '{place} user={ADMIN} password=''{PASSWORD}''' PUBLICATION p
         WITH (create_slot = false, copy_data = false)"
    ))
    .await;
    let summary = cluster.sync().await;
    let why = summary.stopped.first().map_or("", |stopped| stopped.why.as_str());
    assert!(why.contains("a subscription writes to it now") && why.contains("`concord install`"), "{summary:?}");
    cluster.install().await;

    from.execute("UPDATE items SET name = 'uno' WHERE id = 1; DELETE FROM items WHERE id = 2; INSERT INTO items VALUES (3, 'three')").await;
    let arrived = async || (to.cell("SELECT count(*) FROM items WHERE id = 3").await == "1").then_some(());
    wait_until("the subscription to write", PATIENCE, arrived).await;
    cluster.settle().await;
    cluster.holds("SELECT id, name FROM items ORDER BY id", &["1|uno", "3|three"]).await;

    // Where the table is somebody else's nobody can tell its triggers to.
    to.execute("ALTER TABLE items OWNER TO app; GRANT ALL ON items TO sync").await;
    let refused = cluster.try_install().await.expect_err("what the subscription writes would be missed");
    assert!(
        refused.contains("is written by a subscription") && refused.contains("GRANT \"app\" TO \"sync\""),
        "{refused}"
    );
}
