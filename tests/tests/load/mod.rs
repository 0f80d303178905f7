//! The first copy, and the way back of nodes that were left out.

mod broken_off;
mod copies;
mod copying;
mod creating;
mod joining;
mod killed;
mod meanwhile;

use concord::sync::{LoadOptions, Loaded};
use concord_tests::{Cluster, Kind};

/// A table that both kinds of database understand, without rows.
const ITEMS: &str = "CREATE TABLE items (id integer PRIMARY KEY, name text, amount integer NOT NULL DEFAULT 0)";

const ALL: &str = "SELECT * FROM items ORDER BY id";

async fn items(kinds: &[Kind], settings: &str) -> Cluster {
    Cluster::new(kinds, |_| ITEMS.to_owned(), &format!("[tables.items]\n{settings}\n")).await
}

/// Writes rows at a node that no history tells of, as those that were there before.
async fn before(cluster: &mut Cluster, rows: &[(usize, &str)]) {
    cluster.each_uninstalls().await;
    for (at, sql) in rows {
        cluster.run(*at, sql).await;
    }
    cluster.install().await;
}

fn prefer(node: &str) -> LoadOptions {
    LoadOptions { prefer: Some(node.to_owned()), ..LoadOptions::default() }
}

/// What came to the nodes, as `table node copied replaced`.
fn came(loaded: &Loaded) -> Vec<String> {
    let tables = loaded.tables.iter();
    let mut lines: Vec<String> = tables
        .flat_map(|table| {
            let line = |node: &concord::sync::LoadedNode| {
                format!("{} {} {} {}", table.table, node.node, node.copied, node.replaced)
            };
            table.nodes.iter().map(line).collect::<Vec<_>>()
        })
        .collect();
    lines.sort();
    lines
}
