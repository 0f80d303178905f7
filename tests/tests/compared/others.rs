//! Databases that take part in another sync as well, which goes by triggers.

use concord::config::Config;
use concord::sync::Session;
use concord_tests::{Cluster, Kind, NAMES};

use super::ONE_WAY;

/// A session of another sync, which compares the same databases.
pub(super) fn mirror(cluster: &Cluster) -> Session {
    let mut text = "name = \"mirror\"\n".to_owned();
    for (name, node) in NAMES.iter().zip(&cluster.nodes) {
        text += &format!("[nodes.{name}]\nurl = \"{}\"\n", node.database.url());
    }
    Session::new(Config::parse(std::path::Path::new("mirror.toml"), text + ONE_WAY, &|_| None).expect("a good file"))
}

/// GIVEN databases of another sync, at one of which a row waits
/// WHEN a file that only compares installs and uninstalls
/// THEN it finds nothing to do, and the other sync is as it was.
#[tokio::test]
async fn another_sync_is_nobodys_concern() {
    let setup = |kind| match kind {
        Kind::Sqlite | Kind::Mariadb => super::table(kind),
        Kind::Postgres => super::table(kind).replace("name text", "name text CHECK (name <> 'no')"),
    };
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Postgres], setup, "[tables.t]\n").await;
    cluster.run(0, "INSERT INTO t VALUES (1, 'no', 1)").await;
    assert_eq!(cluster.sync().await.waiting, 1);
    let (done, _) = mirror(&cluster).install().await.expect("there is nothing to install");
    assert!(done.iter().all(|node| node.done.is_empty()), "{done:?}");
    let done = mirror(&cluster).uninstall().await.expect("there is nothing to remove");
    assert_eq!((done.len(), done.iter().all(|node| node.done.is_empty())), (2, true), "{done:?}");
    assert_eq!(cluster.waiting().await.len(), 1);
}
