//! Random changes among three nodes of which one omits a column: in the end all hold the same as far as they can, and nobody's last
//! word is missing everywhere.

use std::collections::BTreeSet;

use concord_tests::{As, Cluster, Kind, NAMES, Rng, Seed};

const KINDS: [Kind; 3] = [Kind::Sqlite, Kind::Sqlite, Kind::Sqlite];

/// How many runs each policy gets, unless `CONCORD_ROUNDS` says otherwise.
const ROUNDS: u64 = 5;

/// The node that lacks the column is the first, the second or the last.
async fn cluster(policy: &str, without: usize) -> Cluster {
    let name = NAMES[without];
    let tables = format!("[tables.items]\nconflict = {policy}\n[tables.items.nodes.{name}]\nomit = [\"notes\"]");
    let cluster = Cluster::bare(&KINDS, |_| String::new(), &tables).await;
    for at in 0..KINDS.len() {
        let notes = if at == without { "" } else { ", notes text" };
        let sql = format!("CREATE TABLE items (id integer PRIMARY KEY, name text{notes})");
        cluster.nodes[at].database.user_as(As::Sync).await.execute(&sql).await;
    }
    cluster.install().await;
    cluster
}

/// A user of one node does something to one of three rows; every value is written once.
async fn change(cluster: &mut Cluster, at: usize, without: usize, rng: &mut Rng, value: u64) {
    let id = rng.below(3);
    let sql = match rng.below(5) {
        0 => format!("DELETE FROM items WHERE id = {id}"),
        1 if at != without => format!("UPDATE items SET notes = 'n{value}' WHERE id = {id}"),
        2 => format!("UPDATE items SET name = 'v{value}' WHERE id = {id}"),
        _ => format!(
            "INSERT INTO items (id, name) VALUES ({id}, 'v{value}') ON CONFLICT (id) DO UPDATE SET name = excluded.name"
        ),
    };
    cluster.later(at, &sql).await;
}

async fn round(policy: &str, without: usize, rng: &mut Rng) {
    let mut cluster = cluster(policy, without).await;
    let mut away = None;
    for value in 0..10 + rng.below(25) {
        match rng.below(10) {
            0..=5 => {
                let at = rng.below(3) as usize;
                change(&mut cluster, at, without, rng, value).await;
            }
            6 => {
                if let Some(at) = away.take() {
                    cluster.back(at);
                } else {
                    let at = rng.below(3) as usize;
                    cluster.leave(at);
                    away = Some(at);
                }
            }
            _ => drop(cluster.sync().await),
        }
    }
    if let Some(at) = away {
        cluster.back(at);
    }
    cluster.sync().await;
    assert_eq!(cluster.waiting().await, [""; 0]);
    let mut names = BTreeSet::new();
    let mut notes = BTreeSet::new();
    for at in 0..KINDS.len() {
        names.insert(cluster.rows(at, "SELECT id, name FROM items ORDER BY id").await);
        if at != without {
            notes.insert(cluster.rows(at, "SELECT id, notes FROM items ORDER BY id").await);
        }
    }
    assert!(names.len() == 1 && notes.len() == 1, "{policy}, {} lacks notes: {names:?} {notes:?}", NAMES[without]);
    cluster.quiet().await;
}

async fn rounds(policy: &str, test: &'static str) {
    let seed = Seed::new(test);
    let count = std::env::var("CONCORD_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    for at in 0..count {
        let mut rng = seed.rng(at);
        round(policy, (at % 3) as usize, &mut rng).await;
    }
}

#[tokio::test]
async fn the_latest_wins() {
    rounds("\"latest-wins\"", "sync_omitting::the_latest_wins").await;
}

#[tokio::test]
async fn the_earliest_wins() {
    rounds("\"earliest-wins\"", "sync_omitting::the_earliest_wins").await;
}

#[tokio::test]
async fn a_node_is_preferred() {
    rounds("{ prefer = [\"b\"] }", "sync_omitting::a_node_is_preferred").await;
}
