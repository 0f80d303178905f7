//! The main job: changes made anywhere arrive everywhere, once.

mod absences;
mod changes;
mod conflicts;
mod operations;
mod policies;
mod sums;

use concord_tests::{Cluster, Kind};

/// A table of three items that both kinds of database understand.
const ITEMS: &str = "CREATE TABLE items (id integer PRIMARY KEY, name text, amount integer NOT NULL DEFAULT 0);
                     INSERT INTO items VALUES (1, 'one', 10), (2, 'two', 20), (3, 'three', 30)";

const ALL: &str = "SELECT * FROM items ORDER BY id";

async fn items(kinds: &[Kind]) -> Cluster {
    items_with(kinds, "").await
}

/// The same with settings of the table.
async fn items_with(kinds: &[Kind], settings: &str) -> Cluster {
    Cluster::new(kinds, |_| ITEMS.to_owned(), &format!("[tables.items]\n{settings}\n")).await
}
