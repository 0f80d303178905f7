//! What MariaDB and MySQL do when rows are written: triggers of users, indexes of their own kind, and the rights that recording takes.

use concord_tests::{As, Cluster, Kind};

const WITH_SQLITE: &[Kind] = &[Kind::Sqlite, Kind::Mariadb];

/// GIVEN an engine that goes on
/// WHEN a user creates a trigger that changes what is written, or drops it
/// THEN that is noticed before anything more is written, and the next cycle goes by it.
#[tokio::test]
async fn triggers_that_come_and_go_beside_a_watch_are_noticed() {
    let setup = |_| "CREATE TABLE t (id integer PRIMARY KEY, n integer)".to_owned();
    let mut cluster = Cluster::new(WITH_SQLITE, setup, "[tables.t]").await;
    let mut session = cluster.session();
    cluster.run(0, "INSERT INTO t VALUES (1, 1)").await;
    session.sync().await.expect("a sync");
    cluster.run_as_owner(1, "CREATE TRIGGER touch BEFORE UPDATE ON t FOR EACH ROW SET NEW.n = 99").await;
    cluster.run(0, "UPDATE t SET n = 2").await;
    let cycle = session.cycle().await.expect("a cycle");
    let failed = cycle.failed.unwrap_or_default();
    assert!(failed.contains("the table t was changed meanwhile") && failed.contains("are touch now"), "{failed}");
    let summary = session.sync().await.expect("a sync");
    assert_eq!((summary.failed, summary.stopped.len()), (None, 0));
    assert_eq!(cluster.waiting().await, ["b t [1] altered"]);
    assert!(cluster.reasons("b").await[0].contains("t (touch) changed `n`"));
    cluster.holds_at(1, "SELECT n FROM t", &["1"]).await;
    cluster.run_as_owner(1, "DROP TRIGGER touch").await;
    cluster.run(0, "UPDATE t SET n = 3").await;
    assert_eq!(session.sync().await.expect("a sync").failed, None);
    cluster.settle().await;
    cluster.holds("SELECT n FROM t", &["3"]).await;
}

/// GIVEN a trigger that lets rows in by one state only, and counts them
/// WHEN changes arrive of rows that are there
/// THEN it does not fire, and it does for rows that are new.
#[tokio::test]
async fn a_trigger_before_inserts_sees_no_updates() {
    let setup = |kind: Kind| {
        let counting = "CREATE TABLE counted (n integer); INSERT INTO counted VALUES (0);
             CREATE TRIGGER only_new BEFORE INSERT ON orders FOR EACH ROW BEGIN
                IF NEW.status <> 'new' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'only new ones'; END IF;
                UPDATE counted SET n = n + 1;
             END";
        let orders = "CREATE TABLE orders (id integer PRIMARY KEY, status varchar(9))";
        if kind == Kind::Mariadb { format!("{orders}; {counting}") } else { orders.to_owned() }
    };
    let mut cluster = Cluster::new(WITH_SQLITE, setup, "[tables.orders]").await;
    cluster.run(0, "INSERT INTO orders VALUES (1, 'new'), (2, 'new')").await;
    cluster.settle().await;
    cluster.run(0, "UPDATE orders SET status = 'paid'").await;
    cluster.settle().await;
    cluster.holds_at(1, "SELECT n FROM counted", &["2"]).await;
    cluster
        .run(0, "UPDATE orders SET status = 'sent' WHERE id = 1; INSERT INTO orders VALUES (3, 'paid'), (4, 'new')")
        .await;
    cluster.sync().await;
    assert_eq!(cluster.waiting().await, ["b orders [3] constraint"]);
    cluster.holds_at(1, "SELECT status FROM orders ORDER BY id", &["sent", "paid", "new"]).await;
    cluster.holds_at(1, "SELECT n FROM counted", &["3"]).await;
}

/// MariaDB writes no row of such a table that may be there or not.
#[tokio::test]
async fn an_index_without_overlaps_takes_rows() {
    if concord_tests::mariadb::is_mysql().await {
        return;
    }
    let setup = |kind: Kind| {
        let overlaps =
            if kind == Kind::Mariadb { ", PERIOD FOR stay (a, b), UNIQUE (room, stay WITHOUT OVERLAPS)" } else { "" };
        format!(
            "CREATE TABLE bookings (id integer PRIMARY KEY, room integer NOT NULL, a date NOT NULL, b date NOT NULL,
                note varchar(9){overlaps});
             CREATE TABLE others (id integer PRIMARY KEY)"
        )
    };
    let kinds = &[Kind::Postgres, Kind::Mariadb];
    let mut cluster = Cluster::new(kinds, setup, "[tables.bookings]\n[tables.others]").await;
    let rows = "(1, 7, '2026-01-01', '2026-01-05', 'one'), (2, 8, '2026-01-01', '2026-01-05', 'two')";
    cluster.run(0, &format!("INSERT INTO bookings VALUES {rows}; INSERT INTO others VALUES (1)")).await;
    cluster.settle().await;
    cluster.run(0, "UPDATE bookings SET note = 'uno' WHERE id = 1").await;
    cluster.run(1, "UPDATE bookings SET note = 'due' WHERE id = 2").await;
    cluster.settle().await;
    cluster.holds("SELECT note FROM bookings ORDER BY id", &["uno", "due"]).await;
    // What overlaps waits, and holds up nothing.
    cluster.run(0, "INSERT INTO bookings VALUES (3, 7, '2026-01-04', '2026-01-09', 'three')").await;
    cluster.run(0, "UPDATE bookings SET note = 'dos' WHERE id = 2; INSERT INTO others VALUES (2)").await;
    assert_eq!(cluster.sync().await.failed, None);
    assert_eq!(cluster.waiting().await, ["b bookings [3] constraint"]);
    cluster.holds("SELECT note FROM bookings WHERE id = 2", &["dos"]).await;
    cluster.holds("SELECT id FROM others ORDER BY id", &["1", "2"]).await;
}

/// What references bring to a table is recorded by triggers of tables that nobody syncs.
#[tokio::test]
async fn rights_on_tables_that_nobody_syncs_are_told() {
    let setup = |_| {
        "CREATE TABLE p (id integer PRIMARY KEY);
         CREATE TABLE c (id integer PRIMARY KEY, p integer, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE);
         INSERT INTO p VALUES (1), (2)"
            .to_owned()
    };
    let mut cluster = Cluster::bare(WITH_SQLITE, setup, "[tables.c]").await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    let name = admin.cell("SELECT database()").await;
    admin
        .execute(&format!(
            "GRANT CREATE, DROP, ALTER, INDEX, LOCK TABLES ON {name}.* TO app@'%'; GRANT TRIGGER ON c TO app@'%'"
        ))
        .await;
    cluster.connect_as(1, As::App);
    let problems = cluster.session().check().await.expect("all are there").problems;
    let grant = format!("GRANT TRIGGER ON `{name}`.`p` TO 'app'@'%';");
    let told = |problem: &&String| problem.contains("create triggers on p, from which references change rows of c");
    assert!(problems.iter().find(told).is_some_and(|problem| problem.ends_with(&grant)), "{problems:?}");
    let refused = cluster.try_install().await.expect_err("a right is missing");
    assert!(refused.contains(&grant), "{refused}");
    admin.execute(&grant).await;
    assert_eq!(cluster.session().check().await.expect("all are there").problems, [] as [&str; 0]);
    cluster.install().await;
    cluster.run(0, "INSERT INTO c VALUES (10, 1), (20, 2)").await;
    cluster.settle().await;
    cluster.run(1, "DELETE FROM p WHERE id = 1").await;
    cluster.settle().await;
    cluster.holds("SELECT id FROM c", &["20"]).await;
}
