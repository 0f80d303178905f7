//! Servers of MariaDB that change their mind while Concord is connected: what they let it write, for how long, and who they are.

use std::sync::Arc;
use std::time::Duration;

use concord::model::{Cut, Key, Value};
use concord::node::ErrorKind;
use concord_tests::mariadb::Server;
use concord_tests::{As, Cluster, Database, Kind, PATIENCE, spec, wait_until};

const ITEMS: &str =
    "CREATE TABLE items (id integer PRIMARY KEY, name varchar(20)); INSERT INTO items VALUES (1, 'one'), (2, 'two')";

const CONFIG: &str = "[tables.items]";

const ALL: &str = "SELECT id, name FROM items ORDER BY id";

/// The settings of a server that others may follow.
const LOGGED: &[(&str, &str)] = &[("log-bin", "binlog"), ("server-id", "1"), ("log-bin-trust-function-creators", "ON")];

/// A server of the test's own.
async fn server(settings: &'static [(&'static str, &'static str)]) -> Arc<Server> {
    tokio::task::spawn_blocking(move || Server::dedicated(settings)).await.expect("MariaDB starts")
}

/// A database on this server with the table.
async fn database(server: &Arc<Server>) -> Database {
    let database = Database::on_mariadb(server).await;
    database.user_as(As::Sync).await.execute(ITEMS).await;
    database
}

/// Two nodes of which the second is on this server, where `more` is run before Concord is installed.
async fn served(server: &Arc<Server>, more: &str) -> Cluster {
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Sqlite], |_| ITEMS.to_owned(), CONFIG).await;
    let database = database(server).await;
    database.user_as(As::Sync).await.execute(more).await;
    cluster.replace(1, database).await;
    cluster.install().await;
    cluster.settle().await;
    cluster
}

/// A switchover sets the former primary read-only; whoever may write there all the same would write into a replica.
#[tokio::test]
async fn a_server_that_is_set_read_only() {
    let server = server(&[]).await;
    let mut cluster = served(&server, "").await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    let mut session = cluster.session();
    session.sync().await.expect("both are there");
    admin.execute("SET GLOBAL read_only = ON").await;
    cluster.run(0, "UPDATE items SET name = 'meanwhile' WHERE id = 1").await;
    // The session that knew it otherwise, and one that has seen nothing else.
    for session in [&mut session, &mut cluster.session()] {
        let summary = session.sync().await.expect("one is there");
        let [away] = &summary.away[..] else { panic!("{summary:?}") };
        assert!(away.node == "b" && away.unreachable && away.why.contains("takes no writes"), "{away:?}");
    }
    let refused = cluster.try_install().await.expect_err("nothing may be written");
    let why =
        "node `b`: the server is read-only, as a replica is; give the node the url of the server that is written to";
    assert_eq!(refused, why);
    admin.execute("SET GLOBAL read_only = OFF").await;
    let summary = session.sync().await.expect("both are there again");
    assert_eq!(summary.away, []);
    cluster.holds(ALL, &["1|meanwhile", "2|two"]).await;
}

/// What a log brings fires no triggers, whether or not others may write there. The server that it comes from is one like any other.
#[tokio::test]
async fn a_replica_that_takes_writes() {
    let (primary, replica) = (server(LOGGED).await, server(&[("server-id", "2")]).await);
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Sqlite], |_| ITEMS.to_owned(), CONFIG).await;
    cluster.replace(0, database(&primary).await).await;
    cluster.replace(1, database(&replica).await).await;
    let mut source = cluster.nodes[0].database.user_as(As::Admin).await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    source.execute("CREATE USER copier@'%' IDENTIFIED BY 'x'; GRANT REPLICATION SLAVE ON *.* TO copier@'%'").await;
    // By a name, as one of several that it may follow.
    admin
        .execute(&format!(
            "CHANGE MASTER 'office' TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {}, MASTER_USER = 'copier', MASTER_PASSWORD = 'x';
             START SLAVE 'office'",
            primary.port()
        ))
        .await;
    let copied = source.cell("SELECT database()").await;
    let copied = format!("SELECT count(*) FROM information_schema.tables WHERE table_schema = '{copied}'");
    let arrived = async || (admin.cell(&copied).await == "1").then_some(());
    wait_until("the log to be applied", PATIENCE, arrived).await;

    let refused = cluster.try_install().await.expect_err("one is a replica");
    let why = "node `b`: the server applies another server's log, as a replica does";
    assert!(refused.starts_with(why) && refused.contains("the url of the server that is written to"), "{refused}");
    assert!(!refused.contains("node `a`"), "{refused}");
    let mut warnings = async |cluster: &mut Cluster, sql: &str| {
        admin.execute(sql).await;
        // Others are not shown what stands still.
        cluster.connect_as(1, As::Admin);
        let checked = cluster.session().check().await.expect("both are there");
        assert_eq!(checked.problems, [""; 0]);
        checked.warnings.into_iter().filter(|told| told.contains("set up as a replica")).collect::<Vec<_>>()
    };
    let stopped = warnings(&mut cluster, "STOP SLAVE 'office'").await;
    let [told] = &stopped[..] else { panic!("{stopped:?}") };
    assert!(told.starts_with("node `b`: ") && told.contains("RESET REPLICA ALL"), "{told}");
    assert_eq!(warnings(&mut cluster, "RESET REPLICA 'office' ALL").await, [""; 0]);
    cluster.connect_as(1, As::Sync);
    cluster.install().await;
}

/// No history is asked for before tables are written that are compared.
#[tokio::test]
async fn compared_tables_on_a_server_that_is_set_read_only() {
    let server = server(&[]).await;
    let config = "[tables.items]\nmode = \"compare\"\nfrom = \"a\"\n";
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Sqlite], |_| ITEMS.to_owned(), config).await;
    cluster.replace(1, database(&server).await).await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    // The server itself lets this account write.
    let account =
        cluster.nodes[1].database.user_as(As::Sync).await.cell("SELECT SUBSTRING_INDEX(current_user(), '@', 1)").await;
    admin.execute(&format!("GRANT READ_ONLY ADMIN ON *.* TO '{account}'@'%'")).await;
    admin.execute("SET GLOBAL read_only = ON").await;
    cluster.run(0, "UPDATE items SET name = 'meanwhile' WHERE id = 1").await;
    let ended = format!("{:?}", cluster.session().sync().await);
    assert!(ended.contains("takes no writes"), "{ended}");
    cluster.holds_at(1, ALL, &["1|one", "2|two"]).await;
    admin.execute("SET GLOBAL read_only = OFF").await;
    cluster.sync().await;
    cluster.holds(ALL, &["1|meanwhile", "2|two"]).await;
}

/// What an administrator allows applications, for a statement or for standing idle, does not hold for Concord.
#[tokio::test]
async fn a_server_that_gives_up_what_takes_long() {
    let server = server(&[]).await;
    let slow =
        "CREATE TRIGGER slow BEFORE INSERT ON items FOR EACH ROW SET @waited = IF(NEW.name = 'slow', SLEEP(1), 0)";
    let mut cluster = served(&server, slow).await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    admin.execute("SET GLOBAL max_statement_time = 0.3, GLOBAL wait_timeout = 1").await;
    let mut session = cluster.session();
    session.sync().await.expect("both are there");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    cluster.run(0, "INSERT INTO items VALUES (10, 'slow')").await;
    let summary = session.sync().await.expect("both are there");
    assert_eq!(summary.exit_code(), 0, "{summary:?}");
    cluster.holds(ALL, &["1|one", "2|two", "10|slow"]).await;
}

/// What ends a session with each transaction, begins another by itself, or refuses statements that look at many rows.
#[tokio::test]
async fn a_server_whose_settings_stand_in_the_way() {
    let server = server(&[]).await;
    let mut cluster = served(&server, "").await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    for (at, setting) in ["completion_type = 2", "completion_type = 1", "max_join_size = 1"].iter().enumerate() {
        admin.execute(&format!("SET GLOBAL {setting}")).await;
        cluster.run(0, &format!("UPDATE items SET name = 'after {at}' WHERE id = 1")).await;
        let summary = cluster.session().sync().await.expect("both are there");
        assert_eq!(summary.exit_code(), 0, "{setting}: {summary:?}");
        cluster.holds(ALL, &[&format!("1|after {at}"), "2|two"]).await;
    }
}

/// Behind a proxy that brings what only reads to a replica, that may not know yet what users have committed.
#[tokio::test]
async fn a_look_at_another_server_than_the_one_that_is_written_to() {
    let server = server(&[("server-id", "1")]).await;
    let mut cluster = served(&server, "").await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    let mut node = cluster.nodes[1].database.node().await;
    let specs = vec![spec(&mut *node, "items", 0).await];
    let key = Key::from(vec![Value::Int(1)]);
    cluster.run(1, "UPDATE items SET name = 'by a user' WHERE id = 1").await;
    // Sessions keep the number that they began with, so the second session's server has another.
    admin.execute("SET GLOBAL server_id = 7").await;
    node.begin_apply(&specs).await.expect("a transaction");
    let refused = node.unseen(&specs[0], &Cut::START, &[&key]).await.expect_err("it is another server");
    assert!(refused.kind == ErrorKind::Lost && refused.to_string().contains("server_id 1 and 7"), "{refused}");
    node.rollback().await.expect("it can be given up");
    // Both are opened anew.
    node.begin_apply(&specs).await.expect("a transaction");
    let unseen = node.unseen(&specs[0], &Cut::START, &[&key]).await.expect("an answer");
    assert_eq!(unseen, [key]);
    node.rollback().await.expect("it can be given up");
}

/// Whatever keeps the way to a server forgets connections that nobody uses, as does the server.
#[tokio::test]
async fn a_second_session_that_ended_while_it_was_idle() {
    let cluster = Cluster::new(&[Kind::Sqlite, Kind::Mariadb], |_| ITEMS.to_owned(), CONFIG).await;
    let database = &cluster.nodes[1].database;
    let (mut user, mut admin) = (database.user().await, database.user_as(As::Admin).await);
    let mut node = database.node().await;
    let specs = vec![spec(&mut *node, "items", 0).await];
    user.execute("INSERT INTO items VALUES (3, 'three')").await;
    node.begin_read(&specs).await.expect("a snapshot");
    node.end_read().await.expect("it ends");
    // The one that was opened last gave the entry its mark.
    let last = "SELECT MAX(ID) FROM information_schema.PROCESSLIST WHERE USER = 'sync' AND DB = DATABASE()";
    let second = admin.cell(last).await;
    admin.execute(&format!("KILL {second}")).await;
    user.execute("INSERT INTO items VALUES (4, 'four')").await;
    // In a build for tests it is not used again after three seconds.
    tokio::time::sleep(Duration::from_millis(3_200)).await;
    node.begin_read(&specs).await.expect("a snapshot");
    node.end_read().await.expect("it ends");
}

/// It is opened before anything is locked, and not anew as long as it answers.
#[tokio::test]
async fn a_second_session_that_was_idle_and_is_there() {
    let cluster = Cluster::new(&[Kind::Sqlite, Kind::Mariadb], |_| ITEMS.to_owned(), CONFIG).await;
    let database = &cluster.nodes[1].database;
    let mut admin = database.user_as(As::Admin).await;
    let mut node = database.node().await;
    let specs = vec![spec(&mut *node, "items", 0).await];
    let newest = "SELECT MAX(ID) FROM information_schema.PROCESSLIST WHERE USER = 'sync' AND DB = DATABASE()";
    let first = admin.cell(newest).await;
    node.begin_apply(&specs).await.expect("a transaction");
    let second = admin.cell(newest).await;
    assert_ne!(second, first);
    node.rollback().await.expect("it can be given up");
    tokio::time::sleep(Duration::from_millis(3_200)).await;
    node.begin_apply(&specs).await.expect("a transaction");
    assert_eq!(admin.cell(newest).await, second);
    node.rollback().await.expect("it can be given up");
}

/// A commit waits for a standby that is gone, for as long as an administrator has set: the others do not.
#[tokio::test]
async fn a_standby_of_mariadb_that_does_not_answer() {
    let server = server(LOGGED).await;
    let mut cluster = served(&server, "").await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    let waits = "SET GLOBAL rpl_semi_sync_master_timeout = 3600000; SET GLOBAL rpl_semi_sync_master_enabled = ON";
    admin.execute(waits).await;
    cluster.run(0, "INSERT INTO items VALUES (3, 'three')").await;
    let mut session = cluster.session();
    let syncing = tokio::time::timeout(Duration::from_secs(50), Box::pin(session.sync()));
    let ended = syncing.await.expect("the standby is not waited for");
    let code = ended.as_ref().map_or(3, |summary| summary.exit_code());
    assert_ne!(code, 0, "{ended:?}");
    // What is tried again says why it waits, and leaves not one more session that does.
    let waiting = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for semi-sync ACK%'";
    let before = admin.cell(waiting).await;
    for _ in 0..2 {
        let syncing = tokio::time::timeout(Duration::from_secs(8), Box::pin(session.sync()));
        let ended = format!("{:?}", syncing.await.expect("nothing is sent there"));
        assert!(ended.contains("Waiting for semi-sync ACK") && ended.contains("do not kill it"), "{ended}");
    }
    assert_eq!(before, "1");
    assert_eq!(admin.cell(waiting).await, before);
    admin.execute("SET GLOBAL rpl_semi_sync_master_enabled = OFF").await;
    while admin.cell(waiting).await != "0" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster.settle().await;
    cluster.holds(ALL, &["1|one", "2|two", "3|three"]).await;
}
