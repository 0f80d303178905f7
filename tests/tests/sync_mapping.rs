//! Tables that differ from node to node in names and columns, and tables that are carried one way or in part.

use concord_tests::{Cluster, Kind};

concord_tests::clusters! {
    pairs: [
        other_names, a_schema_or_capitals, omitted_columns_survive, omitted_where_it_was_changed, from_one_node, from_is_not_undone,
        what_a_target_alone_has_is_its_own, inserts_only, updates_only, without_deletes, several_tables_of_one_file, a_missing_column_is_named, a_generated_column_is_named,
    ]
    many: [
        other_names_among_all, an_omitted_column_passes_by_nodes_without_it, a_delete_beats_a_change_without_a_column, from_one_node_to_all,
    ]
    all: []
}

const NAMES: &str = "SELECT id, name FROM items ORDER BY id";

fn same(_: Kind) -> String {
    "CREATE TABLE items (id integer PRIMARY KEY, name text, notes text); INSERT INTO items VALUES (1, 'one', 'first'), (2, 'two', NULL)"
        .to_owned()
}

/// A cluster whose last node, which is of another kind or the same, has tables of its own.
async fn odd(kinds: &[Kind], setup: &str, tables: &str) -> Cluster {
    let mut cluster = Cluster::bare(kinds, |_| String::new(), tables).await;
    for at in 0..kinds.len() {
        let sql = if at == kinds.len() - 1 { setup.to_owned() } else { same(kinds[at]) };
        cluster.nodes[at].database.user_as(concord_tests::As::Sync).await.execute(&sql).await;
    }
    let last = concord_tests::NAMES[kinds.len() - 1];
    cluster.configure(&tables.replace("LAST", last));
    cluster
}

async fn other_names(kinds: &[Kind]) {
    let setup = "CREATE TABLE \"Waren\" (bemerkung text, bezeichnung text, \"Nr\" integer PRIMARY KEY);
                 INSERT INTO \"Waren\" VALUES ('first', 'one', 1), (NULL, 'two', 2)";
    let tables = "[tables.items.nodes.LAST]
                  table = \"Waren\"
                  columns = { id = \"Nr\", name = \"bezeichnung\", notes = \"bemerkung\" }";
    let mut cluster = odd(kinds, setup, tables).await;
    cluster.install().await;
    let last = kinds.len() - 1;
    cluster.run(0, "INSERT INTO items VALUES (3, 'three', 'neu'); UPDATE items SET name = 'uno' WHERE id = 1").await;
    cluster
        .run(last, "INSERT INTO \"Waren\" VALUES ('auch neu', 'vier', 4); DELETE FROM \"Waren\" WHERE \"Nr\" = 2")
        .await;
    assert_eq!(cluster.sync().await.conflicts, 0);
    let rows = ["1|uno|first", "3|three|neu", "4|vier|auch neu"];
    for at in 0..last {
        cluster.holds_at(at, "SELECT * FROM items ORDER BY id", &rows).await;
    }
    cluster.holds_at(last, "SELECT \"Nr\", bezeichnung, bemerkung FROM \"Waren\" ORDER BY 1", &rows).await;
    cluster.quiet().await;
}

async fn other_names_among_all(kinds: &[Kind]) {
    other_names(kinds).await;
}

async fn a_schema_or_capitals(kinds: &[Kind]) {
    let (setup, table) = match kinds[1] {
        Kind::Postgres => {
            ("CREATE SCHEMA shop; GRANT ALL ON SCHEMA shop TO app; CREATE TABLE shop.items", "shop.items")
        }
        Kind::Sqlite | Kind::Mariadb => ("CREATE TABLE ITEMS", "ITEMS"),
    };
    let grant = if kinds[1] == Kind::Postgres { "; GRANT ALL ON shop.items TO app" } else { "" };
    let setup = format!("{setup} (id integer PRIMARY KEY, name text, notes text){grant}");
    let mut cluster = odd(kinds, &setup, &format!("[tables.items.nodes.LAST]\ntable = \"{table}\"")).await;
    cluster.install().await;
    cluster.run(0, "UPDATE items SET name = 'changed'").await;
    cluster.run(1, &format!("INSERT INTO {table} VALUES (3, 'three', NULL)")).await;
    cluster.sync().await;
    cluster.holds_at(0, NAMES, &["1|changed", "2|changed", "3|three"]).await;
    cluster.holds_at(1, &NAMES.replace("items", table), &["1|changed", "2|changed", "3|three"]).await;
    cluster.quiet().await;
}

/// What the node alone keeps: a column that is omitted there, and one that nobody else has.
const OWN_COLUMNS: &str = "CREATE TABLE items (id integer PRIMARY KEY, name text, secret text DEFAULT 'none');
                           INSERT INTO items VALUES (1, 'one', 'a'), (2, 'two', 'b')";

async fn omitted_columns_survive(kinds: &[Kind]) {
    let tables = "[tables.items.nodes.LAST]\nomit = [\"notes\"]\n[tables.items.nodes.a]\nomit = [\"secret\"]";
    let mut cluster = odd(kinds, OWN_COLUMNS, tables).await;
    cluster.install().await;
    // WHEN the rows change on both sides
    cluster.run(0, "UPDATE items SET name = 'uno' WHERE id = 1; INSERT INTO items VALUES (3, 'three', 'kept')").await;
    cluster.run(1, "UPDATE items SET name = 'dos' WHERE id = 2; INSERT INTO items VALUES (4, 'four', 'd')").await;
    cluster.sync().await;
    // THEN what lives at one node only stays what it was
    cluster
        .holds_at(0, "SELECT * FROM items ORDER BY id", &["1|uno|first", "2|dos|NULL", "3|three|kept", "4|four|NULL"])
        .await;
    let there = cluster.rows(1, "SELECT id, name, secret FROM items ORDER BY id").await;
    assert_eq!(there[..2], ["1|uno|a", "2|dos|b"]);
    assert_eq!(there[3], "4|four|d");
    cluster.run(0, "UPDATE items SET notes = 'more' WHERE id = 2; UPDATE items SET name = 'quatro' WHERE id = 4").await;
    cluster.sync().await;
    cluster.holds_at(0, "SELECT notes FROM items ORDER BY id", &["first", "more", "kept", "NULL"]).await;
    cluster.holds_at(1, "SELECT secret FROM items WHERE id IN (2, 4) ORDER BY id", &["b", "d"]).await;
    cluster.quiet().await;
}

/// A conflict in which one side lacks a column: the winner's row keeps the value of that column that the other side has.
async fn omitted_where_it_was_changed(kinds: &[Kind]) {
    let setup =
        "CREATE TABLE items (id integer PRIMARY KEY, name text); INSERT INTO items VALUES (1, 'one'), (2, 'two')";
    let mut cluster = odd(kinds, setup, "[tables.items.nodes.LAST]\nomit = [\"notes\"]").await;
    cluster.install().await;
    cluster.later(0, "UPDATE items SET notes = 'new', name = 'early' WHERE id = 1").await;
    cluster.later(1, "UPDATE items SET name = 'late' WHERE id = 1").await;
    cluster.sync().await;
    cluster.holds_at(0, "SELECT * FROM items WHERE id = 1", &["1|late|new"]).await;
    cluster.holds_at(1, "SELECT * FROM items WHERE id = 1", &["1|late"]).await;
    cluster.quiet().await;
}

/// The last node lacks a column; a change that comes back by way of it must not take the column's values along.
async fn an_omitted_column_passes_by_nodes_without_it(kinds: &[Kind]) {
    let last = kinds.len() - 1;
    let setup =
        "CREATE TABLE items (id integer PRIMARY KEY, name text); INSERT INTO items VALUES (1, 'one'), (2, 'two')";
    let mut cluster = odd(kinds, setup, "[tables.items.nodes.LAST]\nomit = [\"notes\"]").await;
    cluster.install().await;
    cluster.leave(1);
    cluster.run(0, "UPDATE items SET name = 'uno', notes = 'changed' WHERE id = 1").await;
    cluster.sync().await;
    cluster.back(1);
    cluster.leave(0);
    cluster.run(last, "UPDATE items SET name = 'eins' WHERE id = 1").await;
    cluster.sync().await;
    cluster.back(0);
    cluster.sync().await;
    for at in 0..last {
        cluster.holds_at(at, "SELECT * FROM items ORDER BY id", &["1|eins|changed", "2|two|NULL"]).await;
    }
    cluster.holds_at(last, "SELECT * FROM items ORDER BY id", &["1|eins", "2|two"]).await;
    cluster.quiet().await;
}

/// What the last node changed loses to a delete. The other nodes still hold the row, with the column that the last lacks and without
/// having heard of the delete, which must not make it count as unheard of.
async fn a_delete_beats_a_change_without_a_column(kinds: &[Kind]) {
    let last = kinds.len() - 1;
    let setup =
        "CREATE TABLE items (id integer PRIMARY KEY, name text); INSERT INTO items VALUES (1, 'one'), (2, 'two')";
    let mut cluster = odd(kinds, setup, "[tables.items.nodes.LAST]\nomit = [\"notes\"]").await;
    cluster.install().await;
    cluster.later(last, "UPDATE items SET name = 'eins'").await;
    cluster.later(0, "DELETE FROM items WHERE id = 1").await;
    assert_eq!(cluster.sync().await.conflicts, 1);
    for at in 0..last {
        cluster.holds_at(at, "SELECT * FROM items", &["2|eins|NULL"]).await;
    }
    cluster.holds_at(last, "SELECT * FROM items", &["2|eins"]).await;
    cluster.quiet().await;
}

async fn one_way(kinds: &[Kind], settings: &str) -> Cluster {
    Cluster::new(kinds, same, &format!("[tables.items]\n{settings}")).await
}

async fn from_one_node(kinds: &[Kind]) {
    let mut cluster = one_way(kinds, "from = \"a\"").await;
    let last = kinds.len() - 1;
    cluster.run(0, "UPDATE items SET name = 'uno' WHERE id = 1; INSERT INTO items VALUES (3, 'three', NULL)").await;
    cluster.run(last, "UPDATE items SET name = 'mine' WHERE id = 2; INSERT INTO items VALUES (9, 'own', NULL)").await;
    assert_eq!(cluster.sync().await.conflicts, 0);
    cluster.holds_at(0, NAMES, &["1|uno", "2|two", "3|three"]).await;
    cluster.holds_at(last, NAMES, &["1|uno", "2|mine", "3|three", "9|own"]).await;
    cluster.run(0, "DELETE FROM items WHERE id = 3").await;
    cluster.sync().await;
    cluster.holds_at(last, NAMES, &["1|uno", "2|mine", "9|own"]).await;
    cluster.quiet().await;
}

async fn from_one_node_to_all(kinds: &[Kind]) {
    from_one_node(kinds).await;
}

/// The next change at the source replaces what stands there, whatever a user did meanwhile.
async fn from_is_not_undone(kinds: &[Kind]) {
    let mut cluster = one_way(kinds, "from = \"a\"").await;
    cluster.run(0, "UPDATE items SET name = 'uno'").await;
    cluster.later(1, "UPDATE items SET name = 'mine' WHERE id = 1; DELETE FROM items WHERE id = 2").await;
    assert_eq!(cluster.sync().await.conflicts, 0);
    cluster.holds(NAMES, &["1|uno", "2|uno"]).await;
    cluster.quiet().await;
}

/// A column that the node which gives the rows has not: what users write to it there is not overwritten, whenever they do, and
/// rows that stand are replaced although none could be created where it takes no NULL.
async fn what_a_target_alone_has_is_its_own(kinds: &[Kind]) {
    for (column, takes_new) in [("shelf varchar(9) DEFAULT 'store'", true), ("shelf varchar(9) NOT NULL", false)] {
        let setup = format!(
            "CREATE TABLE items (id integer PRIMARY KEY, name text, notes text, {column});
             INSERT INTO items VALUES (1, 'one', 'first', 'A1'), (2, 'two', NULL, 'A2')"
        );
        let tables = "[tables.items]\nfrom = \"a\"\n[tables.items.nodes.a]\nomit = [\"shelf\"]";
        let mut cluster = odd(kinds, &setup, tables).await;
        cluster.install().await;
        cluster.run(0, "UPDATE items SET name = 'uno' WHERE id = 1").await;
        if takes_new {
            cluster.run(0, "INSERT INTO items VALUES (3, 'three', NULL)").await;
        }
        // WHEN a user moves the item when its row has been read
        let summary = cluster
            .sync_while("apply-begin", async |cluster| {
                cluster.run(1, "UPDATE items SET shelf = 'B2' WHERE id = 1").await;
            })
            .await;
        // THEN it stays where it is
        assert_eq!(summary.waiting, 0, "{:?}", cluster.reasons("b").await);
        let rows = ["1|uno|B2", "2|two|A2", "3|three|store"];
        let rows = if takes_new { &rows[..] } else { &rows[..2] };
        cluster.holds_at(1, "SELECT id, name, shelf FROM items ORDER BY id", rows).await;
        cluster.quiet().await;
    }
}

/// Nor does such a column cost a statement for each row. All rows that one statement writes have the time at which it began.
#[tokio::test]
async fn what_a_target_alone_has_costs_no_statement_for_each_row() {
    let setup = "CREATE TABLE items (id integer PRIMARY KEY, name text, notes text, shelf varchar(9));
                 CREATE TABLE log (at datetime(6));
                 INSERT INTO items VALUES (1, 'one', 'first', 'A1'), (2, 'two', NULL, 'A2');
                 CREATE TRIGGER logged AFTER UPDATE ON items FOR EACH ROW INSERT INTO log VALUES (NOW(6))";
    let tables = "[tables.items]\nfrom = \"a\"\n[tables.items.nodes.a]\nomit = [\"shelf\"]";
    let mut cluster = odd(&[Kind::Sqlite, Kind::Mariadb], setup, tables).await;
    cluster.install().await;
    let more = "WITH RECURSIVE n(i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n WHERE i < 42)
                INSERT INTO items SELECT i, 'new', NULL FROM n";
    cluster.run(0, more).await;
    cluster.sync().await;
    cluster.run(1, "DELETE FROM log").await;
    cluster.run(0, "UPDATE items SET name = 'changed'").await;
    cluster.sync().await;
    cluster.holds_at(1, "SELECT count(*) >= 42, count(DISTINCT at) < 5 FROM log", &["1|1"]).await;
    cluster
        .holds_at(1, "SELECT shelf, count(*) FROM items GROUP BY shelf ORDER BY shelf", &["NULL|40", "A1|1", "A2|1"])
        .await;
    cluster.quiet().await;
}

async fn inserts_only(kinds: &[Kind]) {
    let mut cluster = one_way(kinds, "operations = [\"insert\"]").await;
    cluster.run(0, "INSERT INTO items VALUES (3, 'three', NULL); UPDATE items SET name = 'uno' WHERE id = 1; DELETE FROM items WHERE id = 2").await;
    cluster.sync().await;
    cluster.holds_at(0, NAMES, &["1|uno", "3|three"]).await;
    cluster.holds_at(1, NAMES, &["1|one", "2|two", "3|three"]).await;
    cluster.quiet().await;
}

async fn updates_only(kinds: &[Kind]) {
    let mut cluster = one_way(kinds, "operations = [\"update\"]").await;
    cluster.run(0, "INSERT INTO items VALUES (3, 'three', NULL); UPDATE items SET name = 'uno' WHERE id = 1; DELETE FROM items WHERE id = 2").await;
    let arrived = cluster.sync().await.nodes;
    assert_eq!(arrived.iter().map(|node| (node.node.as_str(), node.written)).collect::<Vec<_>>(), [("b", 1)]);
    cluster.holds_at(0, NAMES, &["1|uno", "3|three"]).await;
    cluster.holds_at(1, NAMES, &["1|uno", "2|two"]).await;
    cluster.quiet().await;
}

async fn without_deletes(kinds: &[Kind]) {
    let mut cluster = one_way(kinds, "from = \"a\"\noperations = [\"insert\", \"update\"]").await;
    cluster.run(0, "INSERT INTO items VALUES (3, 'three', NULL); UPDATE items SET name = 'uno' WHERE id = 1; DELETE FROM items WHERE id = 2").await;
    cluster.sync().await;
    cluster.holds_at(0, NAMES, &["1|uno", "3|three"]).await;
    cluster.holds_at(1, NAMES, &["1|uno", "2|two", "3|three"]).await;
    // What was kept can be written again.
    cluster.run(0, "INSERT INTO items VALUES (2, 'dos', NULL)").await;
    cluster.sync().await;
    cluster.holds(NAMES, &["1|uno", "2|dos", "3|three"]).await;
    cluster.quiet().await;
}

async fn several_tables_of_one_file(kinds: &[Kind]) {
    let setup = |kind| {
        same(kind)
            + "; CREATE TABLE rates (code varchar(9) PRIMARY KEY, rate integer); INSERT INTO rates VALUES ('EUR', 100)"
    };
    let mut cluster =
        Cluster::new(kinds, setup, "[tables.items]\nconflict = \"earliest-wins\"\n[tables.rates]\nfrom = \"b\"").await;
    cluster.later(1, "UPDATE rates SET rate = 101; UPDATE items SET name = 'early' WHERE id = 1").await;
    cluster.later(0, "UPDATE items SET name = 'late' WHERE id = 1").await;
    cluster.sync().await;
    cluster.holds(NAMES, &["1|early", "2|two"]).await;
    cluster.holds("SELECT * FROM rates", &["EUR|101"]).await;
    cluster.quiet().await;
}

async fn a_missing_column_is_named(kinds: &[Kind]) {
    let cluster = odd(kinds, "CREATE TABLE items (id integer PRIMARY KEY, name text)", "[tables.items]").await;
    let refused = cluster.try_install().await.expect_err("`notes` is missing");
    assert!(refused.contains("`items` has no column `notes` at b"), "{refused}");
    assert!(refused.contains("omit = [\"notes\"]"), "{refused}");
    // Nothing was changed anywhere.
    for at in 0..2 {
        let node = &mut cluster.nodes[at].database.node().await;
        assert!(node.service().await.expect("it can be asked").is_none());
    }
}

async fn a_generated_column_is_named(kinds: &[Kind]) {
    let setup =
        "CREATE TABLE items (id integer PRIMARY KEY, name text, notes text GENERATED ALWAYS AS (name || '!') STORED)";
    let cluster = odd(kinds, setup, "[tables.items]").await;
    let refused = cluster.try_install().await.expect_err("`notes` is computed");
    assert!(refused.contains("`notes` of `items` is computed by the database at b"), "{refused}");
    assert!(refused.contains("omit = [\"notes\"]"), "{refused}");
}
