//! `ids = "interleave"`: nodes number new rows in steps of their own, so that no two draw the same key.

use std::sync::Arc;

use concord::config::Config;
use concord::sync::{LoadOptions, Session};
use concord_tests::{As, Cluster, Database, Kind, NAMES, mariadb, postgres};

const THREE: &[Kind] = &[Kind::Postgres, Kind::Postgres, Kind::Postgres];

const TABLES: &str = "[tables.items]\nids = \"interleave\"\n[tables.parts]\nids = \"interleave\"\n";

/// A sequence behind a default, and a column that always counts by itself.
fn setup(_: Kind) -> String {
    "CREATE TABLE items (id serial PRIMARY KEY, name text);
     CREATE TABLE parts (id bigint GENERATED ALWAYS AS IDENTITY (INCREMENT BY 7) PRIMARY KEY, name text);
     GRANT USAGE ON SEQUENCE items_id_seq TO PUBLIC"
        .to_owned()
}

async fn increments(cluster: &mut Cluster, at: usize) -> Vec<String> {
    let sql = "SELECT increment_by FROM pg_sequences WHERE schemaname = 'public' ORDER BY sequencename";
    cluster.rows(at, sql).await
}

/// A session for the first so many of a cluster's nodes.
fn session_of(cluster: &Cluster, nodes: usize, tables: &str) -> Session {
    let mut text = "name = \"test\"\n".to_owned();
    for (name, node) in NAMES.iter().zip(&cluster.nodes).take(nodes) {
        text += &format!("[nodes.{name}]\nurl = \"{}\"\n", node.database.url());
    }
    Session::new(Config::parse(std::path::Path::new("test.toml"), text + tables, &|_| None).expect("a good file"))
}

#[tokio::test]
async fn nobody_draws_what_another_draws() {
    let mut cluster = Cluster::bare(THREE, setup, TABLES).await;
    // Rows from before, which stand at one node and are known to no sequence.
    cluster.run(1, "INSERT INTO items VALUES (500, 'old')").await;
    for _ in 0..10 {
        cluster.run(2, "INSERT INTO items (name) VALUES ('c')").await;
    }
    let done = cluster.install().await;
    assert_eq!(done.iter().filter(|line| line.contains("counts in steps of 3")).count(), 6, "{done:?}");
    assert_eq!(cluster.install().await, Vec::<String>::new());
    let sql = |name: &str| {
        format!(
            "INSERT INTO items (name) SELECT '{name}' FROM generate_series(1, 300);
                 INSERT INTO parts (name) SELECT '{name}' FROM generate_series(1, 300)"
        )
    };
    let [a, b, c] = &mut cluster.nodes[..] else { unreachable!("three nodes") };
    let (first, second, third) = (sql("a"), sql("b"), sql("c"));
    futures::join!(a.user.execute(&first), b.user.execute(&second), c.user.execute(&third));
    let summary = cluster.sync().await;
    assert_eq!((summary.conflicts, summary.exit_code()), (0, 0));
    cluster.holds("SELECT count(*) FROM items WHERE length(name) = 1 AND id > 500", &["900"]).await;
    cluster.holds("SELECT count(*), count(DISTINCT id % 3) FROM parts", &["900|3"]).await;
    cluster.holds("SELECT count(DISTINCT id % 3) FROM parts WHERE name = 'b'", &["1"]).await;
}

#[tokio::test]
async fn put_back_when_it_is_no_longer_wanted() {
    // What is made of a number is none.
    let code = "ALTER TABLE items ADD code text DEFAULT 'C' || currval('items_id_seq'::regclass)";
    let mut cluster = Cluster::new(&THREE[..2], |kind| format!("{}; {code}", setup(kind)), TABLES).await;
    assert_eq!(increments(&mut cluster, 0).await, ["2", "2"]);
    cluster.run(1, "INSERT INTO items (name) SELECT 'b' FROM generate_series(1, 3)").await;
    cluster.sync().await;
    cluster.configure("[tables.items]\nids = \"interleave\"\n[tables.parts]\n");
    let done = cluster.install().await;
    assert!(done.iter().any(|line| line.contains("counts by 7 again")), "{done:?}");
    assert_eq!(
        (increments(&mut cluster, 0).await, increments(&mut cluster, 1).await),
        (vec!["2".into(), "7".into()], vec!["2".into(), "7".into()])
    );
    assert_eq!(cluster.install().await, Vec::<String>::new());
    cluster.session().uninstall().await.expect("everything is removed");
    for at in 0..2 {
        assert_eq!(increments(&mut cluster, at).await, ["1", "7"]);
    }
    // Not what the other node has drawn.
    cluster.run(0, "INSERT INTO items (name) SELECT 'a' FROM generate_series(1, 5)").await;
    assert!(!cluster.session().uninstall().await.expect("nothing is left").iter().any(|node| !node.done.is_empty()));
}

/// Where all tables are compared nobody draws for the others any more.
#[tokio::test]
async fn put_back_where_tables_are_compared() {
    let mut cluster = Cluster::new(&THREE[..2], setup, TABLES).await;
    cluster.configure(
        "[tables.items]\nmode = \"compare\"\nfrom = \"a\"\n[tables.parts]\nmode = \"compare\"\nfrom = \"a\"\n",
    );
    let done = cluster.install().await;
    assert_eq!(done.iter().filter(|line| line.contains("counts by 7 again")).count(), 2, "{done:?}");
    for at in 0..2 {
        assert_eq!(increments(&mut cluster, at).await, ["1", "7"]);
    }
}

#[tokio::test]
async fn done_anew_for_another_number_of_nodes() {
    let mut cluster = Cluster::bare(THREE, setup, "").await;
    session_of(&cluster, 2, TABLES).install().await.expect("nothing is wrong");
    assert_eq!(increments(&mut cluster, 1).await, ["2", "2"]);
    cluster.run(0, "INSERT INTO items (name) SELECT 'a' FROM generate_series(1, 40)").await;
    let before: i64 = cluster.rows(0, "SELECT max(id) FROM items").await[0].parse().expect("a number");
    session_of(&cluster, 2, TABLES).sync().await.expect("a sync");
    session_of(&cluster, 3, TABLES).install().await.expect("a node is added");
    for at in 0..3 {
        assert_eq!(increments(&mut cluster, at).await, ["3", "3"]);
        cluster.run(at, "INSERT INTO items (name) VALUES ('new')").await;
        let id: i64 = cluster.rows(at, "SELECT max(id) FROM items").await[0].parse().expect("a number");
        assert!(id > before && id % 3 == at as i64, "{id} at {at}");
    }
}

/// Whoever sets a sequence by hand puts it out of step; `install` puts it right.
#[tokio::test]
async fn what_is_out_of_step_is_put_right() {
    let cluster = Cluster::new(&THREE[..2], setup, TABLES).await;
    let mut owner = cluster.nodes[1].database.user_as(As::Sync).await;
    owner.execute("SELECT setval('items_id_seq', 10000, true)").await;
    let done = cluster.install().await;
    assert!(done.len() == 1 && done[0].contains("items_id_seq counts in steps of 2"), "{done:?}");
    let next: i64 = owner.cell("SELECT nextval('items_id_seq')").await.parse().expect("a number");
    assert!(next > 10000 && next % 2 == 1, "{next}");
}

/// A database that was put back draws no number that it had drawn before.
#[tokio::test]
async fn what_was_put_back_counts_on() {
    let server = postgres::Server::dedicated(&[]);
    let mut cluster = Cluster::bare(&THREE[..2], setup, "[tables.items]\nids = \"interleave\"\n").await;
    let database = Database::on(&server).await;
    database.user_as(As::Sync).await.execute(&setup(Kind::Postgres)).await;
    cluster.replace(1, database).await;
    cluster.install().await;
    cluster.run(1, "INSERT INTO items (name) VALUES ('before')").await;
    cluster.settle().await;
    cluster.disconnect(1).await;
    server.put_aside();
    cluster.reconnect(1).await;
    cluster.run(1, "INSERT INTO items (name) SELECT 'lost' FROM generate_series(1, 5)").await;
    cluster.settle().await;
    let drawn: i64 = cluster.rows(0, "SELECT max(id) FROM items").await[0].parse().expect("a number");
    cluster.disconnect(1).await;
    server.put_back();
    cluster.reconnect(1).await;
    let loaded = cluster.load(&LoadOptions::default()).await;
    assert_eq!(loaded.rejoined, ["b"]);
    assert!(loaded.numbered.len() == 1 && loaded.numbered[0].contains("b: items: "), "{:?}", loaded.numbered);
    cluster.run(1, "INSERT INTO items (name) VALUES ('after')").await;
    let next: i64 = cluster.rows(1, "SELECT id FROM items WHERE name = 'after'").await[0].parse().expect("a number");
    assert!(next > drawn && next % 2 == 1, "{next} after {drawn}");
    assert_eq!(cluster.install().await, Vec::<String>::new());
}

/// A number at the end of what a column holds leaves no room for others, which is told before anything is changed.
#[tokio::test]
async fn where_no_room_is_left_nothing_is_installed() {
    let tables = "[tables.items]\nids = \"interleave\"\n";
    let narrow = |_: Kind| "CREATE TABLE items (id serial PRIMARY KEY, name text)".to_owned();
    let wide = |_: Kind| "CREATE TABLE items (id bigserial PRIMARY KEY, name text)".to_owned();
    for (setup, most) in [(narrow as fn(Kind) -> String, "2147483647"), (wide, "9223372036854775807")] {
        let mut cluster = Cluster::bare(&THREE[..2], setup, tables).await;
        cluster.run(1, &format!("INSERT INTO items VALUES ({most}, 'the last')")).await;
        let why = cluster.try_install().await.expect_err("there is no room");
        assert!(why.contains(&format!("`id` has come to {most} at b and ends at {most} at a")), "{why}");
        assert!(why.contains("give the row with that number another"), "{why}");
        assert_eq!(cluster.rows(0, "SELECT to_regnamespace('concord') IS NULL").await, ["t"]);
        cluster.run(1, "DELETE FROM items").await;
        cluster.install().await;
    }
}

#[tokio::test]
async fn keys_that_can_collide_are_reported() {
    let check = async |kinds: &[Kind], setup: fn(Kind) -> String, tables: &str| {
        let cluster = Cluster::bare(kinds, setup, tables).await;
        let checked = cluster.session().check().await.expect("a look");
        (checked.warnings.join("\n"), checked.problems.join("\n"))
    };
    let (warnings, problems) = check(&THREE[..2], setup, "[tables.items]\n[tables.parts]\nfrom = \"a\"\n").await;
    assert!(warnings.contains("`items`") && warnings.contains("interleave") && problems.is_empty(), "{warnings}");
    assert!(warnings.contains("a by the sequence public.items_id_seq"), "{warnings}");
    // One way, nobody collides.
    assert!(!warnings.contains("`parts`"), "{warnings}");
    let (warnings, _) = check(&THREE[..2], setup, TABLES).await;
    assert!(!warnings.contains("number `id`"), "{warnings}");
    // SQLite cannot count in steps, and says so.
    let simple = |kind: Kind| match kind {
        Kind::Mariadb => "CREATE TABLE items (id bigint AUTO_INCREMENT PRIMARY KEY, name text)".to_owned(),
        Kind::Postgres => "CREATE TABLE items (id bigserial PRIMARY KEY, name text)".to_owned(),
        Kind::Sqlite => "CREATE TABLE items (id integer PRIMARY KEY, name text)".to_owned(),
    };
    let mixed = &[Kind::Postgres, Kind::Sqlite];
    let (warnings, _) = check(mixed, simple, "[tables.items]\n").await;
    assert!(warnings.contains("b by the rowid") && !warnings.contains("interleave"), "{warnings}");
    let (_, problems) = check(mixed, simple, "[defaults]\nids = \"interleave\"\n[tables.items]\n").await;
    assert!(problems.contains("SQLite numbers rows by one") && problems.contains("uuids"), "{problems}");
    let (_, problems) = check(&[Kind::Mariadb, Kind::Sqlite], simple, "[tables.items]\nids = \"interleave\"\n").await;
    assert!(problems.contains("at b that cannot be had for `id`: SQLite numbers rows by one"), "{problems}");
    // Where only one node counts, nobody collides with it.
    let one = |kind: Kind| match kind {
        Kind::Mariadb => "CREATE TABLE items (id bigint AUTO_INCREMENT PRIMARY KEY, name text)".to_owned(),
        Kind::Postgres => "CREATE TABLE items (id bigserial PRIMARY KEY, name text)".to_owned(),
        Kind::Sqlite => "CREATE TABLE items (id bigint NOT NULL PRIMARY KEY, name text)".to_owned(),
    };
    let (warnings, problems) = check(mixed, one, "[tables.items]\nids = \"interleave\"\n").await;
    assert!(!warnings.contains("number `id`") && problems.is_empty(), "{warnings} {problems}");
}

/// Names that differ in their case are one column, as everywhere.
#[tokio::test]
async fn keys_of_other_spelling_count_in_steps_too() {
    const TABLES: &str = "[tables.items]\nids = \"interleave\"\n";
    let mut cluster = Cluster::bare(&THREE[..2], |_| "CREATE TABLE others (id integer)".to_owned(), TABLES).await;
    let tables = [
        "CREATE TABLE items (id bigserial PRIMARY KEY, name text)",
        "CREATE TABLE items (\"ID\" bigserial PRIMARY KEY, name text)",
    ];
    cluster.create(&tables).await;
    cluster.configure("[tables.items]\n");
    let warnings = cluster.session().check().await.expect("a look").warnings.join("\n");
    assert!(warnings.contains("several nodes number `id` by themselves"), "{warnings}");
    cluster.configure(TABLES);
    let done = cluster.install().await;
    assert_eq!(done.iter().filter(|line| line.contains("counts in steps of 2")).count(), 2, "{done:?}");
    let setup = |kind: Kind| match kind {
        Kind::Sqlite => "CREATE TABLE items (ID integer PRIMARY KEY, name text)".to_owned(),
        _ => "CREATE TABLE items (id bigserial PRIMARY KEY, name text)".to_owned(),
    };
    let cluster = Cluster::bare(&[Kind::Postgres, Kind::Sqlite], setup, TABLES).await;
    let problems = cluster.session().check().await.expect("a look").problems.join("\n");
    assert!(problems.contains("SQLite numbers rows by one"), "{problems}");
}

/// On MariaDB the steps are the server's: what has to be set is told, and where it is set, keys begin beyond all there are.
#[tokio::test]
async fn a_server_that_counts_in_steps() {
    let setup = |kind: Kind| match kind {
        Kind::Mariadb => "CREATE TABLE items (id bigint AUTO_INCREMENT PRIMARY KEY, name text)".to_owned(),
        _ => "CREATE TABLE items (id bigserial PRIMARY KEY, name text)".to_owned(),
    };
    let mut cluster =
        Cluster::bare(&[Kind::Mariadb, Kind::Postgres], setup, "[tables.items]\nids = \"interleave\"\n").await;
    let refused = cluster.try_install().await.expect_err("the shared server counts by one");
    let told = "auto_increment_increment is 1 and auto_increment_offset is 1 for the whole server; let its administrator set \
                auto_increment_increment = 2 and auto_increment_offset = 2";
    assert!(refused.contains("at a that cannot be had for `id`: ") && refused.contains(told), "{refused}");
    // The first node's numbers are even.
    let steps = [("auto-increment-increment", "2"), ("auto-increment-offset", "2")];
    let server = tokio::task::spawn_blocking(move || mariadb::Server::dedicated(&steps)).await.expect("it starts");
    cluster.replace(0, Database::on_mariadb(&server).await).await;
    cluster.run_as_owner(0, &setup(Kind::Mariadb)).await;
    cluster.run(1, "INSERT INTO items VALUES (7001, 'old')").await;
    let done = cluster.install().await;
    assert!(done.iter().any(|line| line.contains("AUTO_INCREMENT counts in steps of 2 from 8002")), "{done:?}");
    assert_eq!(cluster.install().await, Vec::<String>::new());
    cluster.run(0, "INSERT INTO items (name) SELECT 'a' FROM seq_1_to_50").await;
    cluster.run(1, "INSERT INTO items (name) SELECT 'b' FROM generate_series(1, 50)").await;
    let summary = cluster.sync().await;
    assert_eq!((summary.conflicts, summary.exit_code()), (0, 0));
    // All numbers of such a column are too near to its end.
    cluster.run_as_owner(0, "CREATE TABLE small (id tinyint AUTO_INCREMENT PRIMARY KEY)").await;
    cluster.run_as_owner(1, "CREATE TABLE small (id smallserial PRIMARY KEY)").await;
    let small = session_of(&cluster, 2, "[tables.small]\nids = \"interleave\"\n").check().await.expect("a look");
    assert!(small.problems.iter().any(|problem| problem.contains("ends at 127 at a")), "{:?}", small.problems);
    let odd = "SELECT count(*), sum(id % 2) FROM items WHERE id > 7001 AND name";
    for (name, row) in [("a", "50|0"), ("b", "50|50")] {
        cluster.holds(&format!("{odd} = '{name}'"), &[row]).await;
    }
}

/// Of two such servers neither draws what the other draws, in either table, also once a server was started again and sessions
/// began anew.
#[tokio::test]
async fn two_servers_that_count_in_steps() {
    let setup = |_: Kind| {
        "CREATE TABLE items (id integer AUTO_INCREMENT PRIMARY KEY, name varchar(20));
         CREATE TABLE parts (id bigint AUTO_INCREMENT PRIMARY KEY, name varchar(20))"
            .to_owned()
    };
    let mut cluster = Cluster::bare(&[Kind::Mariadb, Kind::Mariadb], setup, TABLES).await;
    let refused = cluster.try_install().await.expect_err("the shared server counts by one");
    for (node, offset) in [("a", 2), ("b", 1)] {
        let set = format!("set auto_increment_increment = 2 and auto_increment_offset = {offset}");
        assert!(refused.contains(&format!("at {node} that cannot be had for `id`: ")), "{refused}");
        assert!(refused.contains(&set), "{refused}");
    }
    let start = |offset| {
        let steps = [("auto-increment-increment", "2"), ("auto-increment-offset", offset)];
        mariadb::Server::dedicated(&steps)
    };
    let servers = tokio::task::spawn_blocking(move || ["2", "1"].map(start)).await.expect("they start");
    for (at, server) in servers.iter().enumerate() {
        cluster.replace(at, Database::on_mariadb(server).await).await;
        cluster.run_as_owner(at, &setup(Kind::Mariadb)).await;
    }
    let done = cluster.install().await;
    assert_eq!(done.iter().filter(|line| line.contains("AUTO_INCREMENT counts in steps of 2")).count(), 4, "{done:?}");
    for rows in [300, 600] {
        if rows > 300 {
            let server = Arc::clone(&servers[1]);
            let restarting = tokio::task::spawn_blocking(move || {
                server.kill();
                server.start();
            });
            restarting.await.expect("it starts again");
            cluster.reconnect(1).await;
            assert_eq!(cluster.install().await, Vec::<String>::new());
        }
        // Both at once.
        let [a, b] = &mut cluster.nodes[..] else { unreachable!("two nodes") };
        let [first, second] = ["a", "b"].map(|name| {
            let insert = |table: &str| format!("INSERT INTO {table} (name) SELECT '{name}' FROM seq_1_to_300");
            format!("{}; {}", insert("items"), insert("parts"))
        });
        futures::join!(a.user.execute(&first), b.user.execute(&second));
        assert_eq!(cluster.settle().await.conflicts, 0);
        for table in ["items", "parts"] {
            let odd = format!("SELECT count(*), sum(id % 2) FROM {table} WHERE name");
            cluster.holds(&format!("{odd} = 'a'"), &[&format!("{rows}|0")]).await;
            cluster.holds(&format!("{odd} = 'b'"), &[&format!("{rows}|{rows}")]).await;
        }
    }
}
