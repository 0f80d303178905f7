//! Inserts, updates and deletes in all their forms.

use std::collections::HashMap;

use super::{Case, items, items_after, items_touched};
use concord::model::{Entry, Key, Value};
use concord_tests::Kind;
use concord_tests::mariadb::is_mysql;

concord_tests::conformance! {
    every: [insert, multi_row_insert, insert_select, insert_with_default_key, insert_returning, update_one, update_many, update_all, update_by_subquery, update_noop, update_of_nothing, update_to_null_and_back, delete_one, delete_many, delete_all, delete_of_nothing, write_through_a_view, quiet, entries_of_many_keys]
    standard: [insert_defaults, upsert_inserting, upsert_updating, upsert_doing_nothing, upsert_mixed, upsert_by_another_unique, update_from, cte_write,  thousands_of_rows]
    sqlite: []
    postgres: [merge, cte_chain, copy, cursor]
    mariadb: []
}

async fn insert(kind: Kind) {
    items_after(kind, "INSERT INTO items VALUES (7, 'seven', 70)", &["7"]).await;
}

async fn multi_row_insert(kind: Kind) {
    items_after(kind, "INSERT INTO items VALUES (7, 'seven', 70), (9, 'nine', 90), (-8, NULL, 0)", &["7", "9", "-8"])
        .await;
}

async fn insert_select(kind: Kind) {
    let sql = "INSERT INTO items SELECT id + 100, name || '!', amount FROM items WHERE id > 3";
    items_after(kind, sql, &["104", "105"]).await;
}

async fn insert_with_default_key(kind: Kind) {
    items_after(kind, "INSERT INTO items (name) VALUES ('six'), ('seven')", &["6", "7"]).await;
}

async fn insert_returning(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    if case.user.is_mysql() {
        return; // It has no such clause.
    }
    let returned = case.user.rows("INSERT INTO items (name) VALUES ('six') RETURNING id").await;
    assert_eq!(returned, [[Some("6".to_owned())]]);
    case.captured(&[("items", &["6"])]).await;
}

async fn insert_defaults(kind: Kind) {
    items_after(kind, "INSERT INTO items DEFAULT VALUES", &["6"]).await;
}

async fn upsert_inserting(kind: Kind) {
    let sql = "INSERT INTO items VALUES (6, 'six', 60) ON CONFLICT (id) DO UPDATE SET amount = excluded.amount";
    items_after(kind, sql, &["6"]).await;
}

async fn upsert_updating(kind: Kind) {
    let sql = "INSERT INTO items VALUES (2, 'zwei', 21) ON CONFLICT (id) DO UPDATE SET name = excluded.name";
    items_after(kind, sql, &["2"]).await;
}

async fn upsert_doing_nothing(kind: Kind) {
    let sql = "INSERT INTO items VALUES (2, 'zwei', 21), (9, 'one', 1) ON CONFLICT DO NOTHING";
    items_after(kind, sql, &[]).await;
}

async fn upsert_mixed(kind: Kind) {
    let sql = "INSERT INTO items VALUES (2, 'zwei', 21), (6, 'six', 60), (4, 'vier', 41)
               ON CONFLICT (id) DO UPDATE SET name = excluded.name WHERE items.id <> 4";
    items_after(kind, sql, &["2", "6"]).await;
}

/// The row that is updated is not the one whose key was given.
async fn upsert_by_another_unique(kind: Kind) {
    let sql = "INSERT INTO items VALUES (77, 'three', 31) ON CONFLICT (name) DO UPDATE SET amount = excluded.amount";
    items_after(kind, sql, &["3"]).await;
}

async fn update_one(kind: Kind) {
    items_after(kind, "UPDATE items SET amount = 11 WHERE id = 1", &["1"]).await;
}

async fn update_many(kind: Kind) {
    items_after(kind, "UPDATE items SET amount = amount + 1 WHERE id >= 3", &["3", "4", "5"]).await;
}

async fn update_all(kind: Kind) {
    items_after(kind, "UPDATE items SET amount = -amount", &["1", "2", "3", "4", "5"]).await;
}

async fn update_from(kind: Kind) {
    let sql = "UPDATE items SET amount = new.amount FROM (SELECT 2 AS id, 5 AS amount UNION SELECT 4, 6) AS new
               WHERE items.id = new.id";
    items_after(kind, sql, &["2", "4"]).await;
}

async fn update_by_subquery(kind: Kind) {
    let largest = format!("(SELECT max(amount) FROM {})", itself(kind).await);
    items_after(kind, &format!("UPDATE items SET name = 'largest' WHERE amount = {largest}"), &["5"]).await;
}

async fn update_noop(kind: Kind) {
    items_touched(kind, "UPDATE items SET name = name, amount = amount WHERE id < 3", &[], &["1", "2"]).await;
}

async fn update_of_nothing(kind: Kind) {
    items_after(kind, "UPDATE items SET amount = 0 WHERE id > 100", &[]).await;
}

async fn update_to_null_and_back(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    case.change("UPDATE items SET name = NULL WHERE id IN (1, 2)").await;
    case.captured(&[("items", &["1", "2"])]).await;
    case.change("UPDATE items SET name = 'one' WHERE id = 1").await;
    case.captured(&[("items", &["1"])]).await;
}

async fn delete_one(kind: Kind) {
    items_after(kind, "DELETE FROM items WHERE id = 3", &["3"]).await;
}

async fn delete_many(kind: Kind) {
    let few = format!("(SELECT id FROM {} WHERE amount < 30)", itself(kind).await);
    items_after(kind, &format!("DELETE FROM items WHERE id IN {few}"), &["1", "2"]).await;
}

/// The table where a statement that writes it reads it: MySQL wants that hidden.
async fn itself(kind: Kind) -> &'static str {
    match kind == Kind::Mariadb && is_mysql().await {
        true => "(SELECT * FROM items) AS itself",
        false => "items",
    }
}

/// SQLite empties a table at a stroke when it has no trigger.
async fn delete_all(kind: Kind) {
    items_after(kind, "DELETE FROM items", &["1", "2", "3", "4", "5"]).await;
}

async fn delete_of_nothing(kind: Kind) {
    items_after(kind, "DELETE FROM items WHERE id > 100", &[]).await;
}

async fn cte_write(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    case.change("WITH big AS (SELECT id FROM items WHERE amount > 30) UPDATE items SET amount = 0 WHERE id IN (SELECT id FROM big)")
        .await;
    case.captured(&[("items", &["4", "5"])]).await;
    case.change("WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 12) INSERT INTO items SELECT i, NULL, 0 FROM n")
        .await;
    case.captured(&[("items", &["10", "11", "12"])]).await;
    case.change("WITH n AS (SELECT 11 AS i) DELETE FROM items WHERE id IN (SELECT i FROM n)").await;
    case.captured(&[("items", &["11"])]).await;
}

async fn write_through_a_view(kind: Kind) {
    let view = match kind {
        Kind::Sqlite => {
            "CREATE VIEW names AS SELECT id, name FROM items;
             CREATE TRIGGER rename INSTEAD OF UPDATE ON names BEGIN
                 UPDATE items SET name = new.name WHERE id = new.id;
             END"
        }
        Kind::Mariadb => "CREATE VIEW names AS SELECT id, name FROM items",
        Kind::Postgres => {
            "CREATE VIEW names AS SELECT id, name FROM items;
             GRANT ALL ON names TO app"
        }
    };
    let mut case = Case::new(kind, &format!("{}; {view}", items(kind)), &["items"]).await;
    case.change("UPDATE names SET name = name || '?' WHERE id IN (1, 4)").await;
    case.captured(&[("items", &["1", "4"])]).await;
}

async fn thousands_of_rows(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    case.change("WITH RECURSIVE n(i) AS (SELECT 6 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO items SELECT i, NULL, i FROM n")
        .await;
    let keys: Vec<String> = (6..=3000).map(|key| key.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    case.captured(&[("items", &keys)]).await;
    case.change("UPDATE items SET amount = amount + 1 WHERE id > 5").await;
    case.captured(&[("items", &keys)]).await;
    case.change("DELETE FROM items WHERE id > 5").await;
    case.captured(&[("items", &keys)]).await;
}

/// Looking changes nothing.
async fn quiet(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    case.user.rows("SELECT * FROM items").await;
    case.captured(&[]).await;
    case.captured(&[]).await;
}

async fn merge(kind: Kind) {
    let sql =
        "MERGE INTO items USING (VALUES (1, 11), (2, 0), (9, 90), (3, 30)) AS new (id, amount) ON items.id = new.id
               WHEN MATCHED AND new.amount = 0 THEN DELETE
               WHEN MATCHED AND new.amount <> items.amount THEN UPDATE SET amount = new.amount
               WHEN NOT MATCHED THEN INSERT (id, name, amount) VALUES (new.id, 'merged', new.amount)";
    items_after(kind, sql, &["1", "2", "9"]).await;
}

/// Several writes of one statement, of which none sees what the others did.
async fn cte_chain(kind: Kind) {
    let sql = "WITH gone AS (DELETE FROM items WHERE id <= 2 RETURNING *),
                    raised AS (UPDATE items SET amount = amount + 1 WHERE id = 3 RETURNING *)
               INSERT INTO items SELECT id + 50, name || '+', amount FROM gone UNION ALL SELECT id + 50, name || '+', 0 FROM raised";
    items_after(kind, sql, &["1", "2", "3", "51", "52", "53"]).await;
}

async fn copy(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    case.user.copy_in("COPY items (id, name) FROM STDIN", "10\tten\n11\t\\N\n").await;
    case.captured(&[("items", &["10", "11"])]).await;
    case.change("BEGIN").await;
    case.user.copy_in("COPY items FROM STDIN (FORMAT csv)", "12,twelve,0\n13,thirteen,0\n").await;
    case.change("COMMIT").await;
    case.captured(&[("items", &["12", "13"])]).await;
}

async fn cursor(kind: Kind) {
    let sql = "BEGIN; DECLARE c CURSOR FOR SELECT * FROM items ORDER BY id FOR UPDATE; FETCH 2 FROM c;
               UPDATE items SET amount = 0 WHERE CURRENT OF c; FETCH 1 FROM c; DELETE FROM items WHERE CURRENT OF c; COMMIT";
    items_after(kind, sql, &["2", "3"]).await;
}

/// More keys than any database is asked about one by one: each comes with all its entries, in their order, and no other does.
async fn entries_of_many_keys(kind: Kind) {
    let setup = "CREATE TABLE items (id integer PRIMARY KEY, n integer);
                 CREATE TABLE pairs (a integer, b integer, n integer, PRIMARY KEY (a, b))";
    let mut case = Case::new(kind, setup, &["items", "pairs"]).await;
    let rows = |count: i64, row: fn(i64) -> String| (0..count).map(row).collect::<Vec<_>>().join(", ");
    case.change(&format!("INSERT INTO items VALUES {}", rows(6_000, |id| format!("({id}, 0)")))).await;
    case.change(&format!("INSERT INTO pairs VALUES {}", rows(600, |id| format!("({id}, {id}, 0)")))).await;
    case.change("UPDATE items SET n = 1 WHERE id < 10").await;
    case.change("UPDATE pairs SET n = 1 WHERE a < 10").await;
    case.node.begin_read(&case.specs).await.expect("a snapshot");
    for (spec, count) in case.specs.iter().zip([6_000, 600]) {
        // All but the first, and one that nobody has changed.
        let keys: Vec<Key> = (1..=count).map(|id| vec![Value::Int(id); spec.key.len()].into()).collect();
        let mut entries: HashMap<Key, Vec<i64>> = HashMap::new();
        let mut each = |entry: Entry| entries.entry(entry.key).or_default().push(entry.id);
        case.node.entries_of(spec, &keys.iter().collect::<Vec<_>>(), &mut each).await.expect("all entries");
        assert!(entries.values().all(|ids| ids.is_sorted()), "{}", spec.name);
        let told = (entries.len() as i64, entries.values().flatten().count() as i64);
        assert_eq!(told, (count - 1, count + 8), "{}", spec.name);
    }
}
