//! Rows behind plugins are written while others are still being read: what stands where they go is read over another connection.

use std::sync::{Arc, Mutex};

use concord_tests::{As, Cluster, Kind};

const BOTH: &[Kind] = &[Kind::Postgres, Kind::Postgres];

/// More than are written as soon as they are read anyway.
const ROWS: u32 = 5_000;

const FILTER: &str = "filter = { plugin = \"hostile\", attack = \"drop\" }";
const MAPPING: &str = "mapping = { plugin = \"reshape\", columns = { note = { case = \"lower\" } } }";

/// A filter or mapping at the second node, and what the first node alone has changed.
async fn many(plugin: &str) -> Cluster {
    let setup = |_| {
        "CREATE TABLE items (id integer PRIMARY KEY, note text);
         INSERT INTO items VALUES (1, 'one'), (2, 'two'), (3, 'three')"
            .to_owned()
    };
    let mut cluster = Cluster::bare(BOTH, setup, &format!("[tables.items.nodes.b]\n{plugin}\n")).await;
    cluster.pin(&["hostile", "reshape"]);
    cluster.install().await;
    let rows: Vec<String> = (10..10 + ROWS).map(|id| format!("({id}, 'row')")).collect();
    cluster.run(0, &format!("INSERT INTO items VALUES {}", rows.join(", "))).await;
    cluster.run(0, "UPDATE items SET note = 'engine' WHERE id = 1").await;
    cluster
}

async fn holds_all(cluster: &mut Cluster) {
    cluster.holds("SELECT count(*) FROM items WHERE note = 'row'", &[&ROWS.to_string()]).await;
}

#[tokio::test]
async fn what_a_user_changes_while_rows_behind_plugins_are_written_is_kept() {
    for plugin in [FILTER, MAPPING] {
        let mut cluster = many(plugin).await;
        let meanwhile =
            async |cluster: &mut Cluster| cluster.later(1, "UPDATE items SET note = 'user' WHERE id = 1").await;
        cluster.sync_while("early-begin", meanwhile).await;
        cluster.settle().await;
        cluster.holds("SELECT note FROM items WHERE id = 1", &["user"]).await;
        let lost = cluster.session().conflicts(0).await.expect("a journal");
        assert_eq!(lost.len(), 1, "{lost:?}");
        holds_all(&mut cluster).await;
    }
}

/// The connections break to the source, to the target where it is read and where it is written, and at the end.
#[tokio::test]
async fn broken_while_rows_behind_plugins_are_written() {
    let faults =
        ["fetch=error@3", "fetch=error@4", "early-begin=error@1", "early-write=error@1", "apply-before-commit=error@1"];
    for plugin in [FILTER, MAPPING] {
        for fault in faults {
            let mut cluster = many(plugin).await;
            let rules = Arc::new(Mutex::new(fault.parse().expect("the rule is one")));
            let mut session = cluster.session();
            let broken = concord::fault::scoped(rules, session.sync()).await.expect("the others go on");
            let felt = !broken.away.is_empty() || broken.failed.is_some() || broken.cycles > 1;
            // A second connection that does not come about is missed by nobody.
            assert!(felt || fault.starts_with("early-begin"), "{fault}: {broken:?}");
            drop(session);
            cluster.run(1, "UPDATE items SET note = 'user' WHERE id = 2").await;
            cluster.settle().await;
            cluster.holds("SELECT note FROM items WHERE id < 3 ORDER BY id", &["engine", "user"]).await;
            holds_all(&mut cluster).await;
        }
    }
}

/// Where no second connection is let in, rows are written over the one that has read.
#[tokio::test]
async fn rows_behind_plugins_arrive_over_one_connection() {
    for plugin in [FILTER, MAPPING] {
        let mut cluster = many(plugin).await;
        let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
        let limit = |most: &str| {
            format!(
                "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT %s', current_database(), {most}); END $$"
            )
        };
        // Those who are connected, this one among them, and one more.
        let there = "(SELECT count(*) + 1 FROM pg_stat_activity WHERE datname = current_database())";
        admin.execute(&limit(there)).await;
        let summary = cluster.sync().await;
        assert_eq!((summary.waiting, summary.away.len(), &summary.failed), (0, 0, &None), "{summary:?}");
        admin.execute(&limit("-1")).await;
        holds_all(&mut cluster).await;
    }
}
