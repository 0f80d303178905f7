//! Loads that are broken off or held up: what they leave is not forgotten, and not taken for another's.

use super::{before, items};
use concord::sync::{LoadOptions, Stage};
use concord_tests::{As, Cluster, Concord, Database, Kind};

/// Loads until a fault, which must come.
async fn breaks_off(cluster: &Cluster, options: &LoadOptions, faults: &str) {
    let faults = std::sync::Arc::new(std::sync::Mutex::new(faults.parse().expect("the rule is one")));
    let mut session = cluster.session();
    let mut deaf = |_: &Stage| ();
    let load = Box::pin(session.load(options, &mut deaf));
    concord::fault::scoped(faults, load).await.expect_err("it is broken off");
}

/// A row is lost at a node that no history tells of.
async fn lose_row_1(cluster: &mut Cluster) {
    let triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'items'";
    for name in cluster.rows(0, triggers).await {
        cluster.run_as_owner(0, &format!("DROP TRIGGER \"{name}\"")).await;
    }
    cluster.run_as_owner(0, "DELETE FROM items WHERE id = 1").await;
    cluster.install().await;
}

/// One that was far is followed by one that begins anew and is broken off earlier: the third goes on with the second.
#[tokio::test]
async fn what_an_earlier_one_left_is_not_taken_for_the_last_ones() {
    let kinds = [Kind::Sqlite, Kind::Sqlite];
    let tables = "CREATE TABLE items (id integer PRIMARY KEY, name text); CREATE TABLE others (id integer PRIMARY KEY)";
    let mut cluster = Cluster::new(&kinds, |_| tables.to_owned(), "[tables.items]\n[tables.others]\n").await;
    let rows = "INSERT INTO items VALUES (1, 'one'), (2, 'two'); INSERT INTO others VALUES (1)";
    before(&mut cluster, &[(0, rows), (1, rows)]).await;
    let options = LoadOptions::default();
    // The last leg is that of `others` at b.
    breaks_off(&cluster, &options, "load-remembered=error@4").await;
    lose_row_1(&mut cluster).await;
    breaks_off(&cluster, &LoadOptions { restart: true, ..options.clone() }, "load-remembered=error@1").await;
    assert!(cluster.load(&options).await.resumed, "it went on where the second was");
    cluster.holds("SELECT id, name FROM items ORDER BY id", &["1|one", "2|two"]).await;
}

/// What the file says of the table is another: nothing of the former load counts.
#[tokio::test]
async fn one_that_broke_off_begins_anew_where_more_is_carried() {
    let kinds = [Kind::Sqlite, Kind::Sqlite];
    let mut cluster = items(&kinds, "operations = [\"update\"]").await;
    before(
        &mut cluster,
        &[(0, "INSERT INTO items VALUES (1, 'one', 1)"), (1, "INSERT INTO items VALUES (2, 'two', 2)")],
    )
    .await;
    breaks_off(&cluster, &LoadOptions::default(), "load-remembered=error@2").await;
    cluster.configure("[tables.items]\n");
    cluster.install().await;
    assert!(!cluster.load(&LoadOptions::default()).await.resumed, "it began anew");
    cluster.holds(super::ALL, &["1|one|1", "2|two|2"]).await;
}

/// A reset gives up what was not carried, also of rows that the load has gone through.
#[tokio::test]
async fn one_that_broke_off_begins_anew_after_a_reset() {
    let mut cluster = items(&[Kind::Sqlite; 2], "").await;
    before(
        &mut cluster,
        &[(0, "INSERT INTO items VALUES (1, 'one', 1)"), (1, "INSERT INTO items VALUES (2, 'two', 2)")],
    )
    .await;
    let options = LoadOptions { prefer: Some("a".to_owned()), ..LoadOptions::default() };
    breaks_off(&cluster, &options, "load-remembered=error@2").await;
    cluster.run(0, "UPDATE items SET name = 'uno' WHERE id = 1").await;
    cluster.session().reset().await.unwrap_or_else(|error| panic!("reset: {error}"));
    assert!(!cluster.load(&options).await.resumed, "it began anew");
    cluster.holds(super::ALL, &["1|uno|1", "2|two|2"]).await;
}

/// GIVEN a reset that was broken off when one node was done, so that the others accuse it
/// WHEN it is called again
/// THEN that is mended, and nobody is taken for a node that was put back.
#[tokio::test]
async fn a_reset_that_broke_off_leaves_nobody_out() {
    let mut cluster = items(&[Kind::Sqlite; 3], "").await;
    for at in 0..3 {
        cluster.run(at, &format!("INSERT INTO items VALUES ({at}, 'one', 1)")).await;
    }
    cluster.settle().await;
    let faults = std::sync::Arc::new(std::sync::Mutex::new("remove-node=error@2".parse().expect("the rule is one")));
    let mut session = cluster.session();
    concord::fault::scoped(faults, Box::pin(session.reset())).await.expect_err("it is broken off");
    drop(session);
    let away = cluster.sync().await.away;
    assert!(away.len() == 1 && away[0].node == "a", "{away:?}");
    let (nodes, _) = cluster.session().reset().await.unwrap_or_else(|error| panic!("reset: {error}"));
    assert!(!nodes.iter().flat_map(|lines| &lines.done).any(|line| line.contains("`concord load`")), "{nodes:?}");
    cluster.run(0, "UPDATE items SET name = 'two' WHERE id = 0").await;
    cluster.settle().await;
    cluster.holds(super::ALL, &["0|two|1", "1|one|1", "2|one|1"]).await;
}

/// Two nodes of which a user of the second holds the table so that it can be read and not be written.
async fn held(kind: Kind, rows: u64) -> (Concord, [Database; 2], concord_tests::User) {
    let databases = [Database::new(Kind::Sqlite).await, Database::new(kind).await];
    for database in &databases {
        database.user_as(As::Sync).await.execute("CREATE TABLE items (id integer PRIMARY KEY)").await;
    }
    let many = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) INSERT INTO items SELECT i FROM n"
    );
    databases[0].user_as(As::Sync).await.execute(&many).await;
    let [a, b] = databases.each_ref().map(Database::url);
    let mut concord =
        Concord::new(&format!("name = \"held\"\n[nodes.a]\nurl = \"{a}\"\n[nodes.b]\nurl = \"{b}\"\n[tables.items]\n"));
    concord.env("CONCORD_PATIENCE", "100");
    concord.run(&["install"]).await.ok();
    let mut user = databases[1].user_as(As::Sync).await;
    user.execute(match kind {
        Kind::Postgres => "BEGIN; LOCK TABLE items IN SHARE MODE",
        Kind::Mariadb => "LOCK TABLES items READ",
        Kind::Sqlite => unreachable!("who writes to SQLite locks the file, and who reads locks nothing"),
    })
    .await;
    (concord, databases, user)
}

async fn let_go(kind: Kind, user: &mut concord_tests::User) {
    user.execute(if kind == Kind::Mariadb { "UNLOCK TABLES" } else { "ROLLBACK" }).await;
}

async fn count(database: &Database) -> Vec<Vec<concord_tests::Text>> {
    database.user_as(As::Sync).await.rows("SELECT count(*) FROM items").await
}

/// Rows that users hold up all the while are not passed over: no history tells of them.
async fn rows_that_are_held_up_come_later(kind: Kind) {
    let (concord, databases, mut user) = held(kind, 3).await;
    let output = concord.run(&["load"]).await.expect(3);
    assert!(output.says("node `b`: 3 rows of `items` could not be written: a user holds"), "{output:?}");
    let_go(kind, &mut user).await;
    concord.run(&["load"]).await.ok();
    assert_eq!(count(&databases[1]).await, [[Some("3".to_owned())]]);
    assert!(concord.run(&["sync"]).await.ok().says("nothing to carry"));
}

/// Of a table that is held up as a whole nothing is passed over: the load ends, and goes on when it may.
async fn a_table_that_is_held_up_ends_it(kind: Kind) {
    let (concord, databases, mut user) = held(kind, 3_000).await;
    let output = concord.run(&["load"]).await.expect(3);
    assert!(output.says("node `b`: more than 1000 rows of `items` could not be written"), "{output:?}");
    let_go(kind, &mut user).await;
    concord.run(&["load"]).await.ok();
    assert_eq!(count(&databases[1]).await, [[Some("3000".to_owned())]]);
}

macro_rules! of_each {
    ($($kind:ident: $module:ident)*) => {$(
        mod $module {
            #[tokio::test]
            async fn rows_that_are_held_up_come_later() {
                super::rows_that_are_held_up_come_later(concord_tests::Kind::$kind).await;
            }
            #[tokio::test]
            async fn a_table_that_is_held_up_ends_it() {
                super::a_table_that_is_held_up_ends_it(concord_tests::Kind::$kind).await;
            }
        }
    )*};
}

of_each!(Postgres: postgres Mariadb: mariadb);

/// It ends with 1 for what waited before it, and says so.
#[tokio::test]
async fn what_its_sync_did_and_what_waits_is_told() {
    let databases = [Database::new(Kind::Sqlite).await, Database::new(Kind::Sqlite).await];
    for database in &databases {
        let tables = "CREATE TABLE items (id integer PRIMARY KEY, name text); INSERT INTO items VALUES (1, 'one')";
        database.user_as(As::Sync).await.execute(tables).await;
    }
    let [a, b] = databases.each_ref().map(Database::url);
    let nodes = format!("name = \"told\"\n[nodes.a]\nurl = \"{a}\"\n[nodes.b]\nurl = \"{b}\"\n");
    let concord = Concord::new(&format!("{nodes}[tables.items]\nconflict = \"park\"\n"));
    concord.run(&["install"]).await.ok();
    for (at, database) in databases.iter().enumerate() {
        let update = format!("UPDATE items SET name = '{at}' WHERE id = 1");
        database.user_as(As::Sync).await.execute(&update).await;
    }
    concord.run(&["sync"]).await.expect(1);
    databases[0].user_as(As::Sync).await.execute("INSERT INTO items VALUES (2, 'two')").await;
    let output = concord.run(&["load"]).await.expect(1);
    assert!(output.says("the sync before and after carried what histories tell:"), "{output:?}");
    assert!(output.says("2 rows wait for a person; see: concord parked list"), "{output:?}");
}
