//! Whatever identifies a row: several columns, text, uuids, columns in any place, and keys that change.

use concord_tests::{Cluster, Kind, mariadb};

concord_tests::clusters! {
    pairs: [
        composite, text, uuid, a_unique_index_instead, key_changes, keys_swapped, keys_shifted, a_key_that_moves_onto_a_deleted_one,
        keys_that_differ_in_case_or_blanks, the_key_changes_here_and_the_row_there, bytes_and_big_numbers, no_key, keys_differ,
    ]
    many: [composite_among_all]
    all: []
}

concord_tests::clusters! {
    mariadb: []
    many: [composite_among_all]
}

const KEYED: &str = "SELECT * FROM items ORDER BY 1, 2";

/// The columns of the key stand apart, in another order than in the key.
async fn composite(kinds: &[Kind]) {
    let setup = |_| {
        "CREATE TABLE items (note text, line integer NOT NULL, amount integer, shop varchar(99) NOT NULL, PRIMARY KEY (shop, line));
         INSERT INTO items VALUES ('x', 1, 10, 'north'), ('y', 2, 20, 'north'), ('z', 1, 30, 'south')"
            .to_owned()
    };
    let mut cluster = Cluster::new(kinds, setup, "[tables.items]").await;
    let last = kinds.len() - 1;
    cluster.run(0, "UPDATE items SET amount = 11 WHERE shop = 'north' AND line = 1").await;
    cluster.run(0, "INSERT INTO items VALUES ('new', 2, 40, 'south')").await;
    cluster.run(last, "DELETE FROM items WHERE shop = 'south' AND line = 1; UPDATE items SET note = NULL WHERE line = 2 AND shop = 'north'")
        .await;
    assert_eq!(cluster.settle().await.conflicts, 0);
    cluster
        .holds("SELECT * FROM items ORDER BY shop, line", &["x|1|11|north", "NULL|2|20|north", "new|2|40|south"])
        .await;
}

async fn composite_among_all(kinds: &[Kind]) {
    composite(kinds).await;
}

async fn text(kinds: &[Kind]) {
    let setup = |_| "CREATE TABLE items (amount integer, code varchar(99) PRIMARY KEY NOT NULL)".to_owned();
    let mut cluster = Cluster::new(kinds, setup, "[tables.items]").await;
    cluster.run(0, "INSERT INTO items VALUES (1, ''), (2, 'it''s'), (3, 'a\"b,c'), (4, 'Ünï 🙂'), (5, '1'), (6, '01'), (7, '[1]')").await;
    cluster.settle().await;
    cluster.run(1, "UPDATE items SET amount = amount * 10").await;
    cluster.run(0, "DELETE FROM items WHERE code = '1'").await;
    cluster.settle().await;
    cluster.holds("SELECT count(*), sum(amount) FROM items", &["6|230"]).await;
    cluster.holds("SELECT amount FROM items WHERE code = 'Ünï 🙂'", &["40"]).await;
}

async fn uuid(kinds: &[Kind]) {
    if kinds.contains(&Kind::Mariadb) && mariadb::is_mysql().await {
        return; // It has no such type; `sync_mariadb::uuids_that_are_bytes_are_keys` is about what stands for it.
    }
    let setup = |kind| match kind {
        Kind::Sqlite => "CREATE TABLE items (name text, id uuid PRIMARY KEY NOT NULL)".to_owned(),
        Kind::Postgres | Kind::Mariadb => "CREATE TABLE items (name text, id uuid PRIMARY KEY)".to_owned(),
    };
    let mut cluster = Cluster::new(kinds, setup, "[tables.items]").await;
    cluster.run(0, "INSERT INTO items VALUES ('a', '00000000-0000-4000-8000-00000000000a'), ('b', 'ffffffff-ffff-4fff-bfff-ffffffffffff')").await;
    cluster.settle().await;
    cluster.run(1, "UPDATE items SET name = 'c' WHERE id = 'ffffffff-ffff-4fff-bfff-ffffffffffff'").await;
    cluster.run(1, "INSERT INTO items VALUES ('d', '12345678-9abc-4def-8123-456789abcdef')").await;
    cluster.settle().await;
    cluster
        .holds(
            "SELECT * FROM items ORDER BY name",
            &[
                "a|00000000-0000-4000-8000-00000000000a",
                "c|ffffffff-ffff-4fff-bfff-ffffffffffff",
                "d|12345678-9abc-4def-8123-456789abcdef",
            ],
        )
        .await;
}

async fn a_unique_index_instead(kinds: &[Kind]) {
    let setup = |_| "CREATE TABLE items (name text, code text NOT NULL UNIQUE)".to_owned();
    let mut cluster = Cluster::new(kinds, setup, "[tables.items]").await;
    cluster.run(0, "INSERT INTO items VALUES ('a', 'x'), ('b', 'y')").await;
    cluster.settle().await;
    cluster.run(1, "UPDATE items SET name = 'B' WHERE code = 'y'; DELETE FROM items WHERE code = 'x'").await;
    cluster.settle().await;
    cluster.holds(KEYED, &["B|y"]).await;
}

fn numbered(_: Kind) -> String {
    "CREATE TABLE items (name text, id integer PRIMARY KEY); INSERT INTO items VALUES ('one', 1), ('two', 2), ('three', 3)".to_owned()
}

async fn key_changes(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, numbered, "[tables.items]").await;
    cluster.run(0, "UPDATE items SET id = 10, name = 'ten' WHERE id = 1").await;
    cluster.run(1, "UPDATE items SET id = 20 WHERE id = 2").await;
    assert_eq!(cluster.settle().await.conflicts, 0);
    cluster.holds("SELECT * FROM items ORDER BY id", &["three|3", "ten|10", "two|20"]).await;
}

async fn keys_swapped(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, numbered, "[tables.items]").await;
    cluster.run(0, "UPDATE items SET id = -1 WHERE id = 1; UPDATE items SET id = 1 WHERE id = 2; UPDATE items SET id = 2 WHERE id = -1").await;
    assert_eq!(cluster.settle().await.conflicts, 0);
    cluster.holds("SELECT * FROM items ORDER BY id", &["two|1", "one|2", "three|3"]).await;
}

async fn keys_shifted(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, numbered, "[tables.items]").await;
    // In two steps: neither database defers a primary key.
    cluster.run(1, "UPDATE items SET id = -id - 1; UPDATE items SET id = -id").await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM items ORDER BY id", &["one|2", "two|3", "three|4"]).await;
}

async fn a_key_that_moves_onto_a_deleted_one(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, numbered, "[tables.items]").await;
    cluster.run(0, "DELETE FROM items WHERE id = 1; UPDATE items SET id = 1 WHERE id = 3").await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM items ORDER BY id", &["three|1", "two|2"]).await;
}

/// A key update is a delete and an insert: the row that was changed elsewhere meanwhile conflicts with the delete.
async fn the_key_changes_here_and_the_row_there(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, numbered, "[tables.items]").await;
    cluster.later(0, "UPDATE items SET id = 10 WHERE id = 1").await;
    cluster.later(1, "UPDATE items SET name = 'changed' WHERE id = 1").await;
    assert_eq!(cluster.settle().await.conflicts, 1);
    cluster.holds("SELECT * FROM items ORDER BY id", &["changed|1", "two|2", "three|3", "one|10"]).await;
}

async fn keys_that_differ_in_case_or_blanks(kinds: &[Kind]) {
    let setup = |_| "CREATE TABLE items (code varchar(99) PRIMARY KEY NOT NULL, name text)".to_owned();
    let mut cluster = Cluster::new(kinds, setup, "[tables.items]").await;
    cluster.run(0, "INSERT INTO items VALUES ('a', 'small'), ('A', 'large'), ('a ', 'blank'), (' a', 'before')").await;
    cluster.settle().await;
    cluster.run(1, "UPDATE items SET name = 'SMALL' WHERE code = 'a'; DELETE FROM items WHERE code = 'A'").await;
    cluster.settle().await;
    cluster.holds("SELECT name FROM items ORDER BY lower(name)", &["before", "blank", "SMALL"]).await;
}

async fn bytes_and_big_numbers(kinds: &[Kind]) {
    let setup = |kind| {
        let bytes = match kind {
            Kind::Sqlite => "blob",
            Kind::Postgres => "bytea",
            Kind::Mariadb => "varbinary(99)",
        };
        format!("CREATE TABLE items (n bigint NOT NULL, b {bytes} NOT NULL, name text, PRIMARY KEY (b, n))")
    };
    let bytes = |kind, hex: &str| if kind == Kind::Postgres { format!("'\\x{hex}'") } else { format!("x'{hex}'") };
    let mut cluster = Cluster::new(kinds, setup, "[tables.items]").await;
    for (n, hex) in [(i64::MAX, "00"), (i64::MIN + 1, ""), (0, "ff00ff")] {
        cluster.run(0, &format!("INSERT INTO items VALUES ({n}, {}, 'old')", bytes(kinds[0], hex))).await;
    }
    cluster.sync().await;
    cluster.run(1, &format!("UPDATE items SET name = 'new' WHERE b = {}", bytes(kinds[1], "00"))).await;
    cluster.run(1, &format!("DELETE FROM items WHERE b = {}", bytes(kinds[1], "ff00ff"))).await;
    cluster.sync().await;
    cluster
        .holds("SELECT n, name FROM items ORDER BY n", &["-9223372036854775807|old", "9223372036854775807|new"])
        .await;
    cluster.quiet().await;
}

async fn no_key(kinds: &[Kind]) {
    let setup = |_| "CREATE TABLE items (id integer, name text); CREATE TABLE fine (id integer PRIMARY KEY)".to_owned();
    let cluster = Cluster::bare(kinds, setup, "[tables.fine]\n[tables.items]").await;
    let refused = cluster.try_install().await.expect_err("`items` has no key");
    for at in ["a", "b"] {
        assert!(refused.contains(&format!("`items` at {at} cannot be synced")), "{refused}");
    }
    assert_eq!(refused.matches("has no key").count(), 2, "{refused}");
    assert_eq!(refused.matches("PRIMARY KEY").count(), 2, "{refused}");
    assert!(!refused.contains("`fine`"), "{refused}");
}

async fn keys_differ(kinds: &[Kind]) {
    let mut cluster = Cluster::bare(kinds, |_| String::new(), "[tables.items]").await;
    for (at, key) in ["id", "code"].into_iter().enumerate() {
        let mut owner = cluster.nodes[at].database.user_as(concord_tests::As::Sync).await;
        owner
            .execute(&format!(
                "CREATE TABLE items (id integer NOT NULL, code varchar(99) NOT NULL, PRIMARY KEY ({key}))"
            ))
            .await;
    }
    let refused = cluster.try_install().await.expect_err("the keys differ");
    assert!(refused.contains("the key of `items` is (code) at b and (id) at a"), "{refused}");
    cluster.configure("[tables.items.nodes.b]\ncolumns = { id = \"code\", code = \"id\" }");
    let refused = cluster.try_install().await.expect_err("the types differ");
    assert!(refused.contains("items"), "{refused}");
}
