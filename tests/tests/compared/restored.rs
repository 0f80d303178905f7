//! Where compared tables come from a node that was restored or replaced, or may have been.

use concord::sync::{LoadOptions, Repair, Verify};
use concord_tests::{Cluster, Kind};

use crate::sync_restored::restore;

const CONFIG: &str = "[tables.t]\nmode = \"compare\"\nfrom = \"b\"\n[tables.owners]\n";
const IDS: &str = "SELECT id FROM t ORDER BY id";

/// A source with two rows of the compared table.
async fn cluster() -> Cluster {
    let tables = |kind| format!("CREATE TABLE owners (id integer PRIMARY KEY, name text); {}", super::table(kind));
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Sqlite], tables, CONFIG).await;
    cluster.run(1, "INSERT INTO owners VALUES (1, 'one'); INSERT INTO t VALUES (1, 'old', 1)").await;
    cluster.settle().await;
    cluster
}

/// What is lost at b, the source, is lost nowhere else, and both tables are told to stand still.
async fn nothing_is_followed(cluster: &mut Cluster) {
    cluster.run(1, "DELETE FROM t WHERE id = 2").await;
    let summary = cluster.sync().await;
    let mut stopped: Vec<&str> = summary.stopped.iter().map(|stopped| stopped.table.as_str()).collect();
    stopped.sort_unstable();
    assert_eq!(stopped, ["owners", "t"], "{summary:#?}");
    cluster.holds_at(0, IDS, &["1", "2"]).await;
}

/// GIVEN a source that was put back and has lost rows
/// WHEN a sync compares, or a command that is about this table alone
/// THEN nothing is deleted elsewhere, and the load that lets the source in says what is to be done before.
#[tokio::test]
async fn nobody_follows_a_source_that_was_put_back() {
    let mut cluster = cluster().await;
    restore(&mut cluster, async |cluster| {
        cluster.run(1, "INSERT INTO owners VALUES (2, 'two'); INSERT INTO t VALUES (2, 'today', 2)").await;
        cluster.settle().await;
    })
    .await;
    let how = Verify { tables: vec!["t".to_owned()], repair: Repair::Mend, ..Verify::default() };
    let verified = cluster.session().verify(&how).await.expect("it tells");
    let out = Some("it comes from b, which is left out");
    assert_eq!(verified.tables[0].skipped.as_deref(), out, "{verified:#?}");
    let summary = cluster.sync().await;
    assert_eq!(super::compared(&summary).skipped.as_deref(), out, "{summary:#?}");
    assert_eq!(summary.exit_code(), 1);
    cluster.holds_at(0, IDS, &["1", "2"]).await;
    let said = cluster.command(CONFIG).run(&["load", "--dry-run"]).await;
    assert!(
        said.says("Bring it back at b before") && !said.says("no load is needed"),
        "{}{}",
        said.stdout,
        said.stderr
    );
    cluster.run(1, "INSERT INTO t VALUES (2, 'today', 2)").await;
    let loaded = cluster.load(&LoadOptions { prefer: Some("a".to_owned()), ..LoadOptions::default() }).await;
    assert!(loaded.rejoined == ["b"] && loaded.compared.is_empty(), "{loaded:#?}");
    cluster.settle().await;
    cluster.holds(IDS, &["1", "2"]).await;
}

/// GIVEN a source at which all tables with triggers stand still, as after it was put back from a dump, so that nothing tells whether it was
/// WHEN a sync compares
/// THEN the compared table stands still too, until `install` was there.
#[tokio::test]
async fn nobody_follows_a_source_of_which_nothing_tells() {
    let mut cluster = cluster().await;
    cluster.run(1, "INSERT INTO t VALUES (2, 'today', 2)").await;
    cluster.settle().await;
    let triggers = "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'owners'";
    for name in cluster.rows(1, triggers).await {
        cluster.run_as_owner(1, &format!("DROP TRIGGER \"{name}\"")).await;
    }
    nothing_is_followed(&mut cluster).await;
    cluster.install().await;
    cluster.settle().await;
    cluster.holds(IDS, &["1"]).await;
}

/// GIVEN a source of whose own tables none can be read, as one that was put back from a dump of before a migration, and a table that comes
/// from elsewhere and goes on, which tells nothing of the source
/// WHEN a sync compares
/// THEN the compared table stands still too, and only a command that writes nothing tells what differs.
#[tokio::test]
async fn tables_that_come_from_elsewhere_tell_nothing_of_a_source() {
    let tables = |kind| {
        format!(
            "CREATE TABLE owners (id integer PRIMARY KEY, name text); CREATE TABLE products (id integer PRIMARY KEY); {}",
            super::table(kind)
        )
    };
    let config = format!("{CONFIG}[tables.products]\nfrom = \"a\"\n");
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Sqlite], tables, &config).await;
    cluster.run(0, "INSERT INTO products VALUES (1)").await;
    cluster.run(1, "INSERT INTO t VALUES (1, 'old', 1), (2, 'today', 2)").await;
    cluster.settle().await;
    cluster.run_as_owner(1, "DROP TABLE owners").await;
    nothing_is_followed(&mut cluster).await;
    let how = Verify { tables: vec!["t".to_owned()], ..Verify::default() };
    let verified = cluster.session().verify(&how).await.expect("it tells");
    assert!(verified.tables[0].skipped.is_none() && verified.tables[0].differences == 1, "{verified:#?}");
}
