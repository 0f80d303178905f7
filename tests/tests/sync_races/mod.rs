//! Users who write while Concord works, and transactions that take their time: no acknowledged write is lost, skipped,
//! taken twice or overwritten unread.

mod early;
mod early_trouble;
mod early_users;
mod late;
pub(crate) mod locks;
mod meanwhile;
mod purging;
mod samples;
mod whole;

use concord_tests::{Cluster, Kind};

const ITEMS: &str = "CREATE TABLE items (id integer PRIMARY KEY, name text, amount integer NOT NULL DEFAULT 0);
                     INSERT INTO items VALUES (1, 'one', 10), (2, 'two', 20), (3, 'three', 30)";
const BOTH_POSTGRES: &[Kind] = &[Kind::Postgres, Kind::Postgres];
const WITH_MARIADB: &[Kind] = &[Kind::Postgres, Kind::Mariadb];
const SUM: &str = "[tables.items]\nconflict = { sum = [\"amount\"] }";

async fn items(kinds: &[Kind], tables: &str) -> Cluster {
    Cluster::new(kinds, |_| ITEMS.to_owned(), tables).await
}

/// The names that lost a conflict.
async fn losers(cluster: &Cluster) -> Vec<String> {
    let journal = cluster.session().conflicts(0).await.expect("a journal");
    journal.iter().filter_map(|lost| Some(lost.loser_row.as_ref()?["name"].as_str()?.to_owned())).collect()
}
