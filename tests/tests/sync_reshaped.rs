//! What waits and what is in the journal while the columns of its table come and go: rows are kept by the names of their
//! columns, and what a kept row does not tell is not taken for NULL.

use concord::sync::{LoadOptions, Remedy};
use concord_tests::{As, Cluster, Kind};

concord_tests::clusters! {
    pairs: [
        a_row_waits_while_a_column_comes, a_row_waits_while_a_column_goes, a_row_waits_while_the_key_changes,
        a_decision_is_overturned_after_a_column_came,
    ]
    many: [a_row_waits_while_a_column_comes]
    all: [what_did_not_live_there_stays]
}

const ITEMS: &str = "CREATE TABLE items (id integer PRIMARY KEY, extra varchar(20), name varchar(20))";

/// Row 2 waits at the last node, where names are unique; its history is purged everywhere.
async fn waiting(kinds: &[Kind]) -> Cluster {
    let mut cluster = Cluster::bare(kinds, |_| ITEMS.to_owned(), "[tables.items]\n").await;
    let last = kinds.len() - 1;
    owner(&mut cluster, last, "CREATE UNIQUE INDEX one_name ON items (name)").await;
    cluster.install().await;
    cluster.run(0, "INSERT INTO items VALUES (1, 'A', 'same'), (2, 'B', 'same')").await;
    for _ in 0..3 {
        cluster.sync().await;
    }
    waits(&cluster, last).await;
    cluster
}

async fn waits(cluster: &Cluster, at: usize) {
    assert_eq!(cluster.waiting().await, [format!("{} items [2] constraint", concord_tests::NAMES[at])]);
}

async fn owner(cluster: &mut Cluster, at: usize, sql: &str) {
    cluster.nodes[at].database.user_as(As::Sync).await.execute(sql).await;
}

async fn everywhere(cluster: &mut Cluster, sql: &str) {
    for at in 0..cluster.nodes.len() {
        owner(cluster, at, sql).await;
        // Who is connected knows the table as it was.
        cluster.reconnect(at).await;
    }
}

/// The row is still refused, and arrives as soon as it may.
async fn arrives(cluster: &mut Cluster, sql: &str, rows: &[&str]) {
    let last = cluster.nodes.len() - 1;
    cluster.install().await;
    for _ in 0..2 {
        cluster.sync().await;
        waits(cluster, last).await;
    }
    let on = if cluster.nodes[last].database.kind() == Kind::Mariadb { " ON items" } else { "" };
    owner(cluster, last, &format!("DROP INDEX one_name{on}")).await;
    cluster.install().await;
    cluster.settle().await;
    cluster.holds(sql, rows).await;
    assert!(cluster.waiting().await.is_empty());
}

async fn a_row_waits_while_a_column_comes(kinds: &[Kind]) {
    let mut cluster = waiting(kinds).await;
    everywhere(&mut cluster, "ALTER TABLE items ADD COLUMN price integer DEFAULT 7").await;
    arrives(&mut cluster, "SELECT id, extra, name, price FROM items ORDER BY id", &["1|A|same|7", "2|B|same|7"]).await;
}

async fn a_row_waits_while_a_column_goes(kinds: &[Kind]) {
    let mut cluster = waiting(kinds).await;
    everywhere(&mut cluster, "ALTER TABLE items DROP COLUMN extra").await;
    arrives(&mut cluster, "SELECT id, name FROM items ORDER BY id", &["1|same", "2|same"]).await;
}

/// Under another key it would not be found again.
async fn a_row_waits_while_the_key_changes(kinds: &[Kind]) {
    let mut cluster = waiting(kinds).await;
    for (at, kind) in kinds.iter().enumerate() {
        match kind {
            Kind::Sqlite => {
                let anew = "ALTER TABLE items RENAME TO former;
                            CREATE TABLE items (id integer NOT NULL, extra varchar(20), name varchar(20) NOT NULL, PRIMARY KEY (id, name));
                            INSERT INTO items SELECT * FROM former; DROP TABLE former";
                owner(&mut cluster, at, anew).await;
            }
            Kind::Postgres => {
                let anew = "ALTER TABLE items DROP CONSTRAINT items_pkey; ALTER TABLE items ADD PRIMARY KEY (id, name)";
                owner(&mut cluster, at, anew).await;
            }
            Kind::Mariadb => {
                owner(&mut cluster, at, "ALTER TABLE items DROP PRIMARY KEY, ADD PRIMARY KEY (id, name)").await;
            }
        }
    }
    let refused = cluster.try_install().await.expect_err("a row waits under the former key");
    assert!(refused.contains("1 row waits there in `items`, which has another key now"), "{refused}");
}

/// Nor would it where the key is of another type, whether or not the node's own changes go anywhere.
#[tokio::test]
async fn a_row_waits_while_the_key_gets_another_type() {
    for way in ["", "from = \"a\"\n"] {
        let kinds = [Kind::Postgres, Kind::Sqlite];
        let mut cluster = Cluster::bare(&kinds, |_| ITEMS.to_owned(), &format!("[tables.items]\n{way}")).await;
        owner(&mut cluster, 1, "CREATE UNIQUE INDEX one_name ON items (name)").await;
        cluster.install().await;
        cluster.run(0, "INSERT INTO items VALUES (1, 'A', 'same'), (2, 'B', 'same')").await;
        cluster.sync().await;
        waits(&cluster, 1).await;
        owner(&mut cluster, 0, "DROP TRIGGER \"!concord_k\" ON items; ALTER TABLE items ALTER COLUMN id TYPE text")
            .await;
        let anew = "ALTER TABLE items RENAME TO former;
                    CREATE TABLE items (id text NOT NULL PRIMARY KEY, extra varchar(20), name varchar(20));
                    INSERT INTO items SELECT * FROM former; DROP TABLE former";
        owner(&mut cluster, 1, anew).await;
        let refused = cluster.try_install().await.expect_err("a row waits under a key of the former type");
        assert!(
            refused.contains("node `b`: 1 row waits there in `items`, which has a key of another type now"),
            "{way}{refused}"
        );
    }
}

async fn a_decision_is_overturned_after_a_column_came(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, |_| ITEMS.to_owned(), "[tables.items]\n").await;
    cluster.run(0, "INSERT INTO items VALUES (1, 'A', 'first')").await;
    cluster.settle().await;
    cluster.later(0, "UPDATE items SET name = 'lost' WHERE id = 1").await;
    cluster.later(1, "UPDATE items SET name = 'won' WHERE id = 1").await;
    assert_eq!(cluster.sync().await.conflicts, 1);
    everywhere(&mut cluster, "ALTER TABLE items ADD COLUMN price integer").await;
    everywhere(&mut cluster, "ALTER TABLE items DROP COLUMN extra").await;
    cluster.install().await;
    cluster.run(1, "UPDATE items SET price = 7 WHERE id = 1").await;
    cluster.settle().await;
    let journal = cluster.session().conflicts(0).await.expect("a journal");
    assert_eq!(journal[0].loser_row, Some(serde_json::json!({"id": 1, "name": "lost"})));
    let undone = Box::pin(cluster.session().resolve(&journal[0].id, &Remedy::Undo, false)).await;
    undone.expect("nobody changed what the decision was about");
    cluster.settle().await;
    cluster.holds("SELECT id, name, price FROM items", &["1|lost|7"]).await;
}

/// What a node lost never told of the columns that do not live there.
async fn what_did_not_live_there_stays(kinds: &[Kind]) {
    let last = concord_tests::NAMES[kinds.len() - 1];
    let tables = format!("[tables.items]\n[tables.items.nodes.{last}]\nomit = [\"extra\"]\n");
    let mut cluster = Cluster::bare(kinds, |_| ITEMS.to_owned(), &tables).await;
    for at in 0..kinds.len() {
        let name = if at == kinds.len() - 1 { "theirs" } else { "ours" };
        owner(&mut cluster, at, &format!("INSERT INTO items VALUES (1, 'kept', '{name}')")).await;
    }
    cluster.install().await;
    cluster.load(&LoadOptions { prefer: Some("a".into()), ..LoadOptions::default() }).await;
    cluster.holds("SELECT name FROM items", &["ours"]).await;
    let journal = cluster.session().conflicts(0).await.expect("a journal");
    let lost = journal.iter().find(|one| one.loser == last).expect("what was replaced");
    assert_eq!(lost.loser_row, Some(serde_json::json!({"id": 1, "name": "theirs"})));
    let undone = Box::pin(cluster.session().resolve(&lost.id, &Remedy::Undo, false)).await;
    undone.expect("nobody changed it since");
    cluster.settle().await;
    cluster.holds("SELECT extra, name FROM items", &["kept|theirs"]).await;
}
