//! The first copy, and the way back of nodes that were left out.

mod broken_off;
mod constraints;
mod copies;
mod copying;
mod creating;
mod joining;
mod killed;
mod meanwhile;
mod naming;

use concord::sync::{LoadOptions, Loaded};
use concord_tests::{As, Cluster, Concord, Database, Kind, User};

/// A table that both kinds of database understand, without rows.
const ITEMS: &str = "CREATE TABLE items (id integer PRIMARY KEY, name text, amount integer NOT NULL DEFAULT 0)";

const ALL: &str = "SELECT * FROM items ORDER BY id";

async fn items(kinds: &[Kind], settings: &str) -> Cluster {
    Cluster::new(kinds, |_| ITEMS.to_owned(), &format!("[tables.items]\n{settings}\n")).await
}

/// A filled database and empty ones, and the command between them.
async fn scene_of<const N: usize>(kinds: [Kind; N], filled: &str, tables: &str) -> (Concord, Vec<Database>, Vec<User>) {
    let (mut databases, mut owners) = (Vec::new(), Vec::new());
    let mut text = "name = \"create\"\n".to_owned();
    for (name, kind) in ["a", "b", "c", "d"].into_iter().zip(kinds) {
        let database = Database::new(kind).await;
        text += &format!("[nodes.{name}]\nurl = \"{}\"\n", database.url());
        owners.push(database.user_as(As::Sync).await);
        databases.push(database);
    }
    owners[0].execute(filled).await;
    (Concord::new(&(text + tables)), databases, owners)
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
