//! What lost is kept for as long as the file says, and no longer.

use concord_tests::{As, Cluster, Kind};

const ITEMS: &str = "CREATE TABLE items (id integer PRIMARY KEY, name text);
                     INSERT INTO items VALUES (1, 'one'), (2, 'two'), (3, 'three')";

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

concord_tests::clusters! {
    pairs: [old_conflicts_are_forgotten, a_part_at_a_time]
    many: []
    all: []
}

/// Three conflicts, which the second node wins, so that the first journals what lost.
async fn three_conflicts(kinds: &[Kind]) -> Cluster {
    let mut cluster =
        Cluster::new(kinds, |_| ITEMS.to_owned(), "[defaults]\njournal = \"90d\"\n[tables.items]\n").await;
    cluster.later(0, "UPDATE items SET name = 'lost'").await;
    cluster.later(1, "UPDATE items SET name = 'won'").await;
    assert_eq!(cluster.settle().await.conflicts, 3);
    cluster
}

/// Makes the conflicts about these keys so many days older, in all journals.
async fn age(cluster: &Cluster, days: i64, keys: &str) {
    for node in &cluster.nodes {
        let journal = match node.database.kind() {
            Kind::Sqlite | Kind::Mariadb => "concord_journal",
            Kind::Postgres => "concord.journal",
        };
        let sql = format!("UPDATE {journal} SET decided = decided - {} WHERE \"key\" IN ({keys})", days * DAY);
        node.database.user_as(As::Sync).await.execute(&sql).await;
    }
}

/// How many conflicts are told of, which both journals keep.
async fn kept(cluster: &Cluster) -> usize {
    let conflicts = cluster.session().conflicts(0).await.expect("a journal").len();
    let status = cluster.session().status().await.expect("a status");
    assert!(status.nodes.iter().all(|node| node.conflicts == conflicts as u64), "{:?}", status.nodes);
    conflicts
}

async fn old_conflicts_are_forgotten(kinds: &[Kind]) {
    let mut cluster = three_conflicts(kinds).await;
    age(&cluster, 89, "'[1]', '[2]'").await;
    // It writes nothing where nothing is old enough.
    cluster.settle().await;
    assert_eq!(kept(&cluster).await, 3);
    age(&cluster, 2, "'[2]'").await;
    cluster.sync().await;
    assert_eq!(kept(&cluster).await, 2);
    cluster.settle().await;
    // Another file, another time.
    cluster.configure("[defaults]\njournal = \"1d\"\n[tables.items]\n");
    cluster.sync().await;
    assert_eq!(kept(&cluster).await, 1);
}

async fn a_part_at_a_time(kinds: &[Kind]) {
    let cluster = three_conflicts(kinds).await;
    age(&cluster, 5, "'[1]', '[3]'").await;
    age(&cluster, 5, "'[3]'").await;
    let before = concord::model::time::now() - DAY;
    let mut gone = Vec::new();
    for _ in 0..3 {
        for node in &cluster.nodes {
            let mut node = node.database.node().await;
            gone.push(node.trim_journal(before, 1).await.expect("old entries"));
        }
        let left = cluster.session().conflicts(0).await.expect("a journal");
        assert!(gone.len() > 2 || left.iter().all(|one| one.key != serde_json::json!([3])), "the oldest goes first");
    }
    assert_eq!((gone, kept(&cluster).await), (vec![1, 1, 1, 1, 0, 0], 1));
}
