//! What a resolver is shown in a sync.

use concord_tests::{Concord, guests};

use super::commands::{ended, put};

/// Nodes in another order than that of their names.
const CONFIG: &str = "name = \"shop\"\nplugins = \"plugins\"\n[nodes.west]\nurl = \"sqlite:west.db\"\n[nodes.east]\nurl = \"sqlite:east.db\"\n[nodes.north]\nurl = \"sqlite:north.db\"\n[tables.items]\nconflict = { plugin = \"hostile\", attack = \"shown\" }\n";

#[tokio::test]
async fn all_versions_are_shown_in_the_order_of_their_nodes_names() {
    let mut concord = Concord::new(CONFIG);
    concord.env("CONCORD_CACHE_DIR", &guests::cache().display().to_string());
    std::fs::create_dir(concord.path("plugins")).unwrap();
    put(&concord, "hostile");
    let open = |node: &str| rusqlite::Connection::open(concord.path(&format!("{node}.db"))).unwrap();
    // Changed in a third order.
    let nodes = ["north", "west", "east"];
    for node in nodes {
        let made = "CREATE TABLE items (id integer PRIMARY KEY, note text, stock integer); INSERT INTO items VALUES (1, 'one', 1)";
        open(node).execute_batch(made).unwrap();
    }
    ended(&concord.run(&["plugin", "lock"]).await, 0);
    ended(&concord.run(&["install"]).await, 0);
    for node in nodes {
        open(node).execute("UPDATE items SET note = ?1", [format!("by {node}")]).unwrap();
    }
    ended(&concord.run(&["sync"]).await, 0);
    let all = "east: by east, north: by north, west: by west";
    for node in nodes {
        let note = open(node).query_row("SELECT note FROM items", [], |row| row.get::<_, String>(0));
        assert_eq!(note.as_deref(), Ok(all), "{node}");
    }
}
