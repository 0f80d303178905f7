//! A column that comes and goes with an installation.

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
