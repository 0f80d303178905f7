//! A column that comes and goes with an installation, or becomes another.

use concord_tests::{Cluster, Kind};

/// What an engine with another file than was installed would pass over, or take for what it is not, stands still until it is said.
#[tokio::test]
async fn a_column_comes_and_goes_with_an_install() {
    const ALL: &str = "[tables.items]\n";
    const LESS: &str = "[tables.items]\n[tables.items.nodes.c]\nomit = [\"notes\"]";
    let table = |_| "CREATE TABLE items (id integer PRIMARY KEY, name text, notes text)".to_owned();
    let mut cluster = Cluster::new(&[Kind::Sqlite; 3], table, LESS).await;
    cluster.run(0, "INSERT INTO items VALUES (1, 'v1', 'n1')").await;
    cluster.sync().await;
    for (other, same, missed) in [(ALL, LESS, "n1"), (LESS, ALL, "n2")] {
        cluster.configure(other);
        cluster.run(0, "UPDATE items SET notes = 'n' || (substr(notes, 2) + 1)").await;
        let summary = cluster.sync().await;
        assert!(summary.stopped.iter().any(|stopped| stopped.why.contains("omit")), "{:?}", summary.stopped);
        cluster.holds_at(1, "SELECT notes FROM items", &[missed]).await;
        cluster.configure(same);
        let mut running = cluster.session();
        assert_eq!(running.sync().await.expect("a sync").stopped, []);
        cluster.configure(ALL);
        let (_, warnings) = cluster.session().install().await.expect("nothing stands in the way");
        // Who runs already has the older file.
        let stopped = running.sync().await.expect("a sync").stopped;
        assert_eq!(stopped.iter().any(|stopped| stopped.why.contains("omit")), same == LESS, "{stopped:?}");
        let told = warnings.iter().any(|line| line.contains("`notes`") && line.contains("verify --repair"));
        assert_eq!(told, other == ALL, "{warnings:?}");
    }
}

/// A change of the column would be passed over.
#[tokio::test]
async fn no_column_goes_before_its_changes_have_arrived() {
    let table = |_| "CREATE TABLE items (id integer PRIMARY KEY, notes text)".to_owned();
    let mut cluster = Cluster::new(&[Kind::Sqlite; 2], table, "[tables.items]\n").await;
    cluster.run(1, "INSERT INTO items VALUES (1, 'n1')").await;
    cluster.configure("[tables.items]\n[tables.items.nodes.b]\nomit = [\"notes\"]");
    let refused = cluster.session().install().await.expect_err("something stands in the way").to_string();
    assert!(refused.contains("`notes` of `items`") && refused.contains("former `omit`"), "{refused}");
    cluster.configure("[tables.items]\n");
    cluster.sync().await;
    cluster.configure("[tables.items]\n[tables.items.nodes.b]\nomit = [\"notes\"]");
    cluster.session().install().await.expect("nothing stands in the way");
}

/// The file has no name any more for a column that it leaves out, which may have another one there.
#[tokio::test]
async fn no_column_of_another_name_goes_before_its_changes_have_arrived() {
    const NAMED: &str = "[tables.items]\n[tables.items.nodes.b]\ncolumns = { notes = \"remark\" }";
    const LESS: &str =
        "[tables.items]\n[tables.items.nodes.a]\nomit = [\"remark\"]\n[tables.items.nodes.b]\nomit = [\"notes\"]";
    let table = |kind| match kind {
        Kind::Postgres => "CREATE TABLE items (id integer PRIMARY KEY, remark text)".to_owned(),
        _ => "CREATE TABLE items (id integer PRIMARY KEY, notes text)".to_owned(),
    };
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Postgres], table, NAMED).await;
    cluster.run(1, "INSERT INTO items VALUES (1, 'n1')").await;
    cluster.configure(LESS);
    let refused = cluster.try_install().await.expect_err("the change would be passed over");
    assert!(refused.contains("`notes` of `items`") && refused.contains("former `omit`"), "{refused}");
    cluster.configure(NAMED);
    cluster.sync().await;
    cluster.holds_at(0, "SELECT notes FROM items", &["n1"]).await;
    cluster.configure(LESS);
    cluster.install().await;
}

/// GIVEN changes of a node that nobody has carried yet
/// WHEN a column that only the other node has comes, or one goes there, and the file then leaves it out
/// THEN nothing of it is given up, and the changes are carried.
#[tokio::test]
async fn what_came_or_went_elsewhere_is_left_out_whatever_is_on_its_way() {
    let table = |_| "CREATE TABLE items (id integer PRIMARY KEY, name varchar(20), notes varchar(20))".to_owned();
    for kinds in [[Kind::Sqlite, Kind::Sqlite], [Kind::Sqlite, Kind::Postgres], [Kind::Sqlite, Kind::Mariadb]] {
        for (at, change, omit) in [
            (0, "ALTER TABLE items ADD COLUMN email varchar(20)", "email"),
            (1, "ALTER TABLE items DROP COLUMN notes", "notes"),
        ] {
            let mut cluster = Cluster::new(&kinds, table, "[tables.items]\n").await;
            cluster.run(0, "INSERT INTO items VALUES (1, 'one', 'n1')").await;
            cluster.settle().await;
            cluster.run(1, "UPDATE items SET name = 'two' WHERE id = 1").await;
            cluster.run_as_owner(at, change).await;
            assert_eq!(cluster.sync().await.stopped.len(), 1, "{kinds:?} {omit}");
            cluster.configure(&format!("[tables.items]\n[tables.items.nodes.b]\nomit = [\"{omit}\"]"));
            assert_eq!(cluster.try_install().await.err(), None, "{kinds:?} {omit}");
            cluster.reconnect(at).await;
            assert_eq!(cluster.sync().await.stopped, [], "{kinds:?} {omit}");
            cluster.holds("SELECT id, name FROM items", &["1|two"]).await;
            cluster.holds_at(0, "SELECT notes FROM items", &["n1"]).await;
            cluster.quiet().await;
        }
    }
}

/// GIVEN two columns of a node that the file took for each other
/// WHEN the file is put right
/// THEN the table stands still until that is installed, for whoever has the former file as well, and `install` says how the rows are.
#[tokio::test]
async fn columns_that_were_mixed_up_are_told() {
    const MIXED: &str = "[tables.items.nodes.b]\ncolumns = { phone = \"fax\", fax = \"phone\" }";
    let table =
        |_| "CREATE TABLE items (id integer PRIMARY KEY, phone varchar(9), fax varchar(9), city varchar(9))".to_owned();
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let mut cluster = Cluster::new(&[Kind::Sqlite, kind], table, MIXED).await;
        cluster.run(0, "INSERT INTO items VALUES (1, 'p', 'f', 'c')").await;
        let mut running = cluster.session();
        assert_eq!(running.sync().await.expect("a sync").stopped, []);
        cluster.holds_at(1, "SELECT phone, fax FROM items", &["f|p"]).await;
        cluster.configure("[tables.items]");
        cluster.run(1, "UPDATE items SET city = 'd'").await;
        let stopped = cluster.sync().await.stopped;
        let told = |why: &str| why.contains("for `phone`, and this file") && why.contains("run `concord install`");
        assert!(stopped.iter().any(|stopped| told(&stopped.why)), "{kind:?}: {stopped:?}");
        cluster.holds_at(0, "SELECT * FROM items", &["1|p|f|c"]).await;
        let refused = cluster.try_install().await.expect_err("the row would be carried as what it is not");
        assert!(refused.contains("`phone` of `items`") && refused.contains("former `columns` first"), "{refused}");
        cluster.configure(MIXED);
        cluster.sync().await;
        cluster.configure("[tables.items]");
        let (_, warnings) = cluster.session().install().await.expect("nothing stands in the way");
        let told =
            |line: &String| line.contains("`phone` of `items`") && line.contains("verify --repair --table items");
        assert!(warnings.iter().any(told), "{kind:?}: {warnings:?}");
        let stopped = running.sync().await.expect("a sync").stopped;
        assert!(stopped.iter().any(|stopped| stopped.why.contains("for `phone`, and this file")), "{stopped:?}");
        assert_eq!(cluster.sync().await.stopped, []);
        cluster.holds_at(0, "SELECT * FROM items", &["1|p|f|d"]).await;
    }
}
