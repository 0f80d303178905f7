//! Roles that may do nothing but read and write rows.

use concord_tests::{As, Cluster, Concord, Database, Kind};

use super::{ALL, ONE_WAY, TWO_WAY, compared, settle, table, traces};

/// A PostgreSQL node at which Concord's role has these rights on the table, and may create neither tables nor triggers.
async fn cluster(config: &str, rights: &str) -> Cluster {
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Postgres], table, config).await;
    cluster.run_as_owner(1, &format!("REVOKE ALL ON t FROM app; GRANT {rights} ON t TO app")).await;
    cluster.connect_as(1, As::App);
    let mut role = cluster.nodes[1].database.user_as(As::App).await;
    for forbidden in [
        "CREATE TABLE mine (id integer)",
        "CREATE SCHEMA mine",
        "CREATE TRIGGER mine BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    ] {
        let refused = role.try_execute(forbidden).await;
        assert!(refused.is_err_and(|why| why.contains("denied")), "{forbidden}");
    }
    cluster
}

#[tokio::test]
async fn no_right_but_to_rows_is_needed() {
    let mut cluster = cluster(TWO_WAY, "SELECT, INSERT, UPDATE").await;
    let checked = cluster.session().check().await.expect("all are there");
    assert_eq!(checked.problems, [] as [&str; 0]);
    assert_eq!(cluster.install().await, [] as [&str; 0]);
    cluster.run_as_owner(1, "INSERT INTO t VALUES (1, 'b', 5), (2, 'b', 1)").await;
    cluster.run(0, "INSERT INTO t VALUES (2, 'a', 5), (3, 'a', 5)").await;
    settle(&mut cluster).await;
    cluster.holds(ALL, &["1|b|5", "2|a|5", "3|a|5"]).await;
    assert_eq!(traces(&mut cluster, 1).await, [] as [&str; 0]);
    assert!(cluster.session().status().await.expect("all are there").compared == ["t"]);
    cluster.each_uninstalls().await;
}

/// A source is read and never written.
#[tokio::test]
async fn a_source_may_be_read_only() {
    let mut cluster = cluster(&ONE_WAY.replace("\"a\"", "\"b\""), "SELECT").await;
    let mut owner = cluster.nodes[1].database.user_as(As::Sync).await;
    owner.execute("INSERT INTO t VALUES (1, 'b', 5)").await;
    assert_eq!(cluster.session().check().await.expect("all are there").problems, [] as [&str; 0]);
    settle(&mut cluster).await;
    cluster.holds(ALL, &["1|b|5"]).await;
}

/// So it is where a history is kept of it, for which it gets triggers.
#[tokio::test]
async fn a_source_with_a_history_may_be_read_only() {
    let config = "[tables.t]\nfrom = \"b\"\n";
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Postgres], table, config).await;
    cluster.run_as_owner(1, "REVOKE INSERT, UPDATE, DELETE ON t FROM CURRENT_USER").await;
    assert_eq!(cluster.session().check().await.expect("all are there").problems, [] as [&str; 0]);
    cluster.install().await;
    cluster.run(1, "INSERT INTO t VALUES (1, 'b', 5), (2, 'b', 5)").await;
    cluster.settle().await;
    cluster.run(1, "UPDATE t SET name = 'later' WHERE id = 1; DELETE FROM t WHERE id = 2").await;
    cluster.settle().await;
    cluster.holds_at(0, "SELECT id FROM t WHERE id = 1", &["1"]).await;
    cluster.holds_at(0, "SELECT id FROM t WHERE id = 2", &[]).await;
}

/// Every right that is missing is told with the statement that grants it, and no other.
#[tokio::test]
async fn missing_rights_are_told_exactly() {
    let one_way = ONE_WAY.to_owned();
    let inserting = format!("{ONE_WAY}operations = [\"insert\"]\n");
    let deleting = format!("{ONE_WAY}operations = [\"delete\"]\n");
    let cases: [(&str, &str, &[&str]); 5] = [
        (TWO_WAY, "SELECT", &["INSERT", "UPDATE"]),
        (&one_way, "SELECT, INSERT", &["UPDATE", "DELETE"]),
        (&one_way, "INSERT, UPDATE, DELETE", &["SELECT"]),
        (&inserting, "SELECT", &["INSERT"]),
        (&deleting, "SELECT", &["UPDATE", "DELETE"]),
    ];
    for (config, rights, missing) in cases {
        let mut cluster = cluster(config, rights).await;
        let problems = cluster.session().check().await.expect("all are there").problems;
        let grants: Vec<&str> = problems.iter().filter_map(|problem| problem.lines().nth(1)).map(str::trim).collect();
        let expected: Vec<String> =
            missing.iter().map(|right| format!("GRANT {right} ON TABLE \"public\".\"t\" TO \"app\";")).collect();
        assert_eq!(grants, expected, "{rights}: {problems:#?}");
        assert!(problems[0].starts_with("node `b`: may not "), "{problems:?}");
        let refused = cluster.try_install().await.expect_err("rights are missing");
        assert!(refused.contains(&expected[0]), "{refused}");
        cluster.run_as_owner(1, &expected.concat()).await;
        assert_eq!(cluster.session().check().await.expect("all are there").problems, [] as [&str; 0]);
        cluster.run(0, "INSERT INTO t VALUES (1, 'a', 1)").await;
        cluster.run_as_owner(1, "INSERT INTO t VALUES (2, 'b', 1)").await;
        let summary = cluster.sync().await;
        assert_eq!(summary.exit_code(), 0, "{rights}: {summary:#?}");
    }
}

/// The same of an account of MariaDB: with nothing but the rights that were told, rows are written as the file says.
#[tokio::test]
async fn an_account_needs_no_more_than_is_told() {
    let cases: [(&str, &[&str], &[&str]); 4] = [
        ("\"update\"", &["UPDATE"], &["1|a|9", "2|b|1"]),
        ("\"delete\"", &["DELETE"], &["1|b|1"]),
        ("\"insert\"", &["INSERT"], &["1|b|1", "2|b|1", "3|a|9"]),
        ("\"insert\", \"update\", \"delete\"", &["INSERT", "UPDATE", "DELETE"], &["1|a|9", "3|a|9"]),
    ];
    for (operations, missing, expected) in cases {
        let config = format!("{ONE_WAY}operations = [{operations}]\n");
        let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Mariadb], table, &config).await;
        cluster.run(0, "INSERT INTO t VALUES (1, 'a', 9), (3, 'a', 9)").await;
        cluster.run(1, "INSERT INTO t VALUES (1, 'b', 1), (2, 'b', 1)").await;
        let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
        let name = admin.cell("SELECT database()").await;
        let less =
            format!("REVOKE SELECT, INSERT, UPDATE, DELETE ON {name}.* FROM app@'%'; GRANT SELECT ON t TO app@'%'");
        admin.execute(&less).await;
        cluster.connect_as(1, As::App);
        let problems = cluster.session().check().await.expect("all are there").problems;
        let grants: Vec<&str> = problems.iter().filter_map(|problem| problem.lines().nth(1)).map(str::trim).collect();
        let mut told: Vec<String> =
            missing.iter().map(|right| format!("GRANT {right} ON `{name}`.`t` TO 'app'@'%';")).collect();
        // What refers to a row that goes is shown to nobody who has rights on tables alone.
        told.extend(missing.contains(&"DELETE").then(|| format!("GRANT REFERENCES ON `{name}`.* TO 'app'@'%';")));
        assert_eq!(grants, told, "{operations}: {problems:#?}");
        admin.execute(&told.concat()).await;
        assert_eq!(cluster.session().check().await.expect("all are there").problems, [] as [&str; 0]);
        let summary = cluster.sync().await;
        assert_eq!(summary.exit_code(), 0, "{operations}: {summary:#?}");
        let mut owner = cluster.nodes[1].database.user_as(As::Sync).await;
        let rows = owner.rows(ALL).await.into_iter();
        let rows: Vec<String> = rows.map(|row| row.into_iter().flatten().collect::<Vec<_>>().join("|")).collect();
        assert_eq!(rows, expected, "{operations}");
    }
}

/// MariaDB shows references to nobody who has rights on tables alone, and a delete would take along what refers to the row.
#[tokio::test]
async fn nothing_goes_along_unseen() {
    let setup = |kind: Kind| {
        let own = "CREATE TABLE own (id bigint PRIMARY KEY, t bigint NOT NULL,
                      FOREIGN KEY (t) REFERENCES t (id) ON DELETE CASCADE)";
        if kind == Kind::Mariadb { format!("{}; {own}", table(kind)) } else { table(kind) }
    };
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Mariadb], setup, ONE_WAY).await;
    cluster.run(0, "INSERT INTO t VALUES (3, 'a', 3)").await;
    cluster.run(1, "INSERT INTO t VALUES (1, 'b', 1), (2, 'b', 1); INSERT INTO own VALUES (7, 1)").await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    let name = admin.cell("SELECT database()").await;
    let everything = "SELECT, INSERT, UPDATE, DELETE";
    let less = format!("REVOKE {everything} ON {name}.* FROM app@'%'; GRANT {everything} ON t TO app@'%'");
    admin.execute(&less).await;
    cluster.connect_as(1, As::App);
    let problems = cluster.session().check().await.expect("all are there").problems;
    let grant = format!("GRANT REFERENCES ON `{name}`.* TO 'app'@'%'");
    assert!(
        problems.len() == 1 && problems[0].starts_with("node `b`: may not see which tables refer to t"),
        "{problems:?}"
    );
    assert!(problems[0].contains(&grant), "{problems:?}");
    // All else goes on.
    let summary = cluster.sync().await;
    assert_eq!((compared(&summary).refused, summary.exit_code()), (2, 1), "{summary:#?}");
    assert!(compared(&summary).left[0].why.ends_with(&format!("run {grant}")), "{summary:#?}");
    let mut owner = cluster.nodes[1].database.user_as(As::Sync).await;
    assert_eq!(owner.cell("SELECT group_concat(id ORDER BY id) FROM t").await, "1,2,3");
    assert_eq!(owner.cell("SELECT count(*) FROM own").await, "1");
    // What is seen then has to be read as well.
    admin.execute(&grant).await;
    let problems = cluster.session().check().await.expect("all are there").problems;
    assert!(problems.len() == 1 && problems[0].contains(&format!("GRANT SELECT ON `{name}`.`own`")), "{problems:?}");
    admin.execute("GRANT SELECT ON own TO app@'%'").await;
    assert_eq!(cluster.session().check().await.expect("all are there").problems, [] as [&str; 0]);
    let summary = cluster.sync().await;
    assert_eq!((compared(&summary).refused, summary.exit_code()), (1, 1), "{summary:#?}");
    assert!(compared(&summary).left[0].why.contains("rows of own refer to it"), "{summary:#?}");
    assert_eq!(owner.cell("SELECT group_concat(id ORDER BY id) FROM t").await, "1,3");
    assert_eq!(owner.cell("SELECT count(*) FROM own").await, "1");
}

/// Nor does it show the checks by which it tells json from other texts.
#[tokio::test]
async fn texts_may_be_json_unseen() {
    if concord_tests::mariadb::is_mysql().await {
        return;
    }
    let setup = |kind: Kind| {
        let text = if kind == Kind::Mariadb { "longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" } else { "text" };
        format!("CREATE TABLE t (id bigint PRIMARY KEY, doc {text})")
    };
    let config = format!("{ONE_WAY}operations = [\"insert\"]\n");
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Mariadb], setup, &config).await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    let name = admin.cell("SELECT database()").await;
    let less =
        format!("REVOKE SELECT, INSERT, UPDATE, DELETE ON {name}.* FROM app@'%'; GRANT SELECT, INSERT ON t TO app@'%'");
    admin.execute(&less).await;
    cluster.connect_as(1, As::App);
    let problems = cluster.session().check().await.expect("all are there").problems;
    assert!(problems.len() == 1 && problems[0].contains("may not see whether texts of t are json"), "{problems:?}");
    admin.execute(&format!("GRANT REFERENCES ON {name}.* TO app@'%'")).await;
    assert_eq!(cluster.session().check().await.expect("all are there").problems, [] as [&str; 0]);
}

/// `mode = "compare"` of a node holds for all tables, so that nothing is installed at any.
#[tokio::test]
async fn a_node_that_is_compared_needs_nothing_anywhere() {
    let config = "mode = \"compare\"\n[tables.t]\nfrom = \"a\"\n";
    let mut cluster = cluster(config, "SELECT, INSERT, UPDATE, DELETE").await;
    assert_eq!(cluster.install().await, [] as [&str; 0]);
    cluster.run(0, "INSERT INTO t VALUES (1, 'a', 1)").await;
    settle(&mut cluster).await;
    for at in 0..2 {
        assert_eq!(traces(&mut cluster, at).await, [] as [&str; 0]);
    }
}

/// A file that may only be read can be a source.
#[tokio::test]
#[cfg(unix)]
async fn a_file_that_may_only_be_read_can_be_a_source() {
    use std::os::unix::fs::PermissionsExt;
    let databases = [Database::new(Kind::Sqlite).await, Database::new(Kind::Sqlite).await];
    for (database, rows) in databases.iter().zip(["(1, 'a', 1)", "(2, 'b', 1)"]) {
        let mut user = database.user().await;
        user.execute(&format!("{}; INSERT INTO t VALUES {rows}", table(Kind::Sqlite))).await;
    }
    let [a, b] = [databases[0].url(), databases[1].url()];
    let nodes = format!("[nodes.a]\nurl = \"{a}\"\n[nodes.b]\nurl = \"{b}\"\n");
    let mode = |mode: [u32; 2]| {
        let file = std::path::Path::new(a.trim_start_matches("sqlite:"));
        for (path, mode) in [file, file.parent().expect("a folder")].into_iter().zip(mode) {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("the file is ours");
        }
    };
    mode([0o444, 0o555]);
    let concord = Concord::new(&format!("name = \"shop\"\n{nodes}{ONE_WAY}"));
    concord.run(&["check"]).await.ok();
    concord.run(&["sync"]).await.ok();
    let refused = Concord::new(&format!("name = \"shop\"\n{nodes}{}", ONE_WAY.replace("\"a\"", "\"b\"")));
    assert!(refused.run(&["check"]).await.expect(2).says("may not write the file"));
    mode([0o644, 0o755]);
    let mut user = databases[1].user().await;
    assert_eq!(user.cell("SELECT group_concat(id) FROM t").await, "1");
}

/// Whoever may read the server's own tables sees what others may do, also some who are called like him.
#[tokio::test]
async fn rights_of_others_are_nobodys_own() {
    let database = Database::new(Kind::Mariadb).await;
    let mut admin = database.user_as(As::Admin).await;
    admin.execute("CREATE TABLE t (id integer PRIMARY KEY)").await;
    let name = admin.cell("SELECT database()").await;
    let made = format!(
        "CREATE USER {name}@'%' IDENTIFIED BY 'x'; GRANT SELECT ON mysql.* TO {name}@'%'; GRANT SELECT, DELETE ON t TO {name}@'%';
         CREATE USER {name}@nowhere; GRANT UPDATE ON t TO {name}@nowhere"
    );
    admin.execute(&made).await;
    let url = database.url();
    let (_, place) = url.rsplit_once('@').expect("a URL with a password");
    let target = concord::node::Target::new(format!("mariadb://{name}:x@{place}"));
    let mut node = concord::node::connect(&target).await.expect("a connection");
    let mut table = concord_tests::spec(&mut *node, "t", 0).await;
    table.captured = false;
    let writes = concord::node::Writes { insert: true, update: true, delete: true };
    let missing = node.missing_rights_to_compare(&[(&table, writes)]).await.expect("a look");
    let grants: Vec<&str> = missing.iter().map(|right| &*right.grant).collect();
    let told = [("INSERT", ".`t`"), ("UPDATE", ".`t`"), ("REFERENCES", ".*")]
        .map(|(right, on)| format!("GRANT {right} ON `{name}`{on} TO '{name}'@'%';"));
    assert_eq!(grants, told);
    admin.execute(&format!("DROP USER {name}@'%'; DROP USER {name}@nowhere")).await;
}
