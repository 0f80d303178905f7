//! Values of 16 MiB between every two kinds of database, and back.

use concord_tests::mariadb::Server;
use concord_tests::{As, Cluster, Database, Kind};

/// Letters of which a value consists, by the kind of the node that it comes from, and how many times they stand there.
const LETTERS: [(Kind, &str); 3] = [(Kind::Postgres, "abcd"), (Kind::Mariadb, "efgh"), (Kind::Sqlite, "ijkl")];
const TIMES: usize = 4 << 20;

/// What each value becomes at a node of another kind.
const LATER: [(Kind, &str); 3] = [(Kind::Mariadb, "mnop"), (Kind::Sqlite, "qrst"), (Kind::Postgres, "uvwx")];

/// The value as the database's own SQL makes it.
fn value(kind: Kind, letters: &str) -> String {
    match kind {
        Kind::Postgres => format!("convert_to(repeat('{letters}', {TIMES}), 'UTF8')"),
        Kind::Mariadb => format!("repeat('{letters}', {TIMES})"),
        Kind::Sqlite => format!("CAST(replace(hex(zeroblob({TIMES})), '00', '{letters}') AS blob)"),
    }
}

#[tokio::test]
async fn blobs_of_16_mib() {
    let setup = |kind: Kind| {
        let ty = if kind == Kind::Postgres { "bytea" } else { "longblob" };
        format!("CREATE TABLE t (id integer PRIMARY KEY, v {ty})")
    };
    let kinds = [Kind::Postgres, Kind::Postgres, Kind::Sqlite, Kind::Sqlite];
    let mut cluster = Cluster::bare(&kinds, setup, "[tables.t]").await;
    let settings = [("max-allowed-packet", "64M"), ("innodb-log-file-size", "256M")];
    let server = tokio::task::spawn_blocking(move || Server::dedicated(&settings)).await.expect("MariaDB starts");
    for _ in 0..2 {
        let database = Database::on_mariadb(&server).await;
        database.user_as(As::Sync).await.execute(&setup(Kind::Mariadb)).await;
        cluster.add(database).await;
    }
    cluster.install().await;
    let first = |cluster: &Cluster, kind: Kind| {
        cluster.nodes.iter().position(|node| node.database.kind() == kind).expect("there is one")
    };
    for (id, (kind, letters)) in LETTERS.iter().enumerate() {
        let at = first(&cluster, *kind);
        cluster.run(at, &format!("INSERT INTO t VALUES ({id}, {})", value(*kind, letters))).await;
    }
    arrive(&mut cluster, &LETTERS).await;
    for (id, (kind, letters)) in LATER.iter().enumerate() {
        let at = first(&cluster, *kind);
        cluster.run(at, &format!("UPDATE t SET v = {} WHERE id = {id}", value(*kind, letters))).await;
    }
    arrive(&mut cluster, &LATER).await;
    cluster.quiet().await;
}

/// Every node holds these values, byte by byte.
async fn arrive(cluster: &mut Cluster, values: &[(Kind, &str)]) {
    cluster.sync().await;
    for at in 0..cluster.nodes.len() {
        let kind = cluster.nodes[at].database.kind();
        for (id, (_, letters)) in values.iter().enumerate() {
            let same = format!("SELECT count(*) FROM t WHERE id = {id} AND v = {}", value(kind, letters));
            cluster.holds_at(at, &same, &["1"]).await;
        }
    }
    assert_eq!(cluster.waiting().await, [""; 0]);
}
