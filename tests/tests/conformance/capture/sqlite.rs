//! What only SQLite does: REPLACE in its forms, which fires no delete triggers unless a connection asks for it, and
//! settings of a connection.

use super::{Case, items, items_after, items_touched, refused};
use concord_tests::Kind;

concord_tests::conformance! {
    every: []
    standard: []
    sqlite: [
        replace_same_key, replace_new_key, replace_through_another_unique, replace_hitting_two_rows,
        replace_hitting_three_rows, insert_or_ignore, update_or_replace, update_or_replace_of_the_key,
        update_or_ignore, replace_by_declaration, replace_with_recursive_triggers, replace_referred_rows,
        recursive_triggers_and_cascades, foreign_keys_off, connection_settings, attached_database,
        temporary_tables_in_the_way, replace_in_a_users_trigger, replace_through_a_partial_index,
        replace_through_an_expression_index, replace_through_a_collation, update_or_replace_that_takes_itself_along,
    ]
    postgres: []
    mariadb: []
}

async fn replace_same_key(kind: Kind) {
    items_after(kind, "REPLACE INTO items VALUES (2, 'zwei', 22)", &["2"]).await;
}

async fn replace_new_key(kind: Kind) {
    items_after(kind, "INSERT OR REPLACE INTO items (name) VALUES ('six')", &["6"]).await;
}

/// Row 3 vanishes because its name is taken by the new row 8.
async fn replace_through_another_unique(kind: Kind) {
    items_after(kind, "REPLACE INTO items VALUES (8, 'three', 33)", &["3", "8"]).await;
}

/// Row 2 is replaced by its key, and row 3 vanishes by its name.
async fn replace_hitting_two_rows(kind: Kind) {
    items_after(kind, "REPLACE INTO items VALUES (2, 'three', 23)", &["2", "3"]).await;
}

async fn replace_hitting_three_rows(kind: Kind) {
    let setup = "CREATE TABLE u (id integer PRIMARY KEY, a text, b text, c integer, UNIQUE (a), UNIQUE (b, c));
                 INSERT INTO u VALUES (1, 'a', 'x', 1), (2, 'b', 'y', 2), (3, 'c', 'z', 3), (4, 'd', NULL, 4)";
    let mut case = Case::new(kind, setup, &["u"]).await;
    case.change("REPLACE INTO u VALUES (1, 'b', 'z', 3)").await;
    case.captured(&[("u", &["1", "2", "3"])]).await;
    // NULL equals nothing.
    case.change("REPLACE INTO u VALUES (5, NULL, NULL, 4)").await;
    case.captured(&[("u", &["5"])]).await;
}

async fn insert_or_ignore(kind: Kind) {
    items_after(kind, "INSERT OR IGNORE INTO items VALUES (2, 'zwei', 0), (8, 'one', 0), (9, 'nine', 9)", &["9"]).await;
}

async fn update_or_replace(kind: Kind) {
    items_after(kind, "UPDATE OR REPLACE items SET name = 'four' WHERE id = 1", &["1", "4"]).await;
}

async fn update_or_replace_of_the_key(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    case.change("UPDATE OR REPLACE items SET id = 5 WHERE id = 1").await;
    case.captured(&[("items", &["1", "5"])]).await;
    case.change("UPDATE OR REPLACE items SET id = id + 1 WHERE id = 2").await;
    case.captured(&[("items", &["2", "3"])]).await;
}

async fn update_or_ignore(kind: Kind) {
    items_touched(kind, "UPDATE OR IGNORE items SET name = 'five' WHERE id IN (1, 5)", &[], &["5"]).await;
}

/// A plain INSERT or UPDATE replaces where the table says so.
async fn replace_by_declaration(kind: Kind) {
    let setup =
        "CREATE TABLE r (id integer PRIMARY KEY ON CONFLICT REPLACE, a text UNIQUE ON CONFLICT REPLACE, n integer);
                 INSERT INTO r VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3), (4, 'd', 4)";
    let mut case = Case::new(kind, setup, &["r"]).await;
    case.change("INSERT INTO r VALUES (1, 'b', 5)").await;
    case.captured(&[("r", &["1", "2"])]).await;
    case.change("UPDATE r SET a = 'd' WHERE id = 3").await;
    case.captured(&[("r", &["3", "4"])]).await;
    case.change("UPDATE r SET id = 1 WHERE id = 3").await;
    case.captured(&[("r", &["1", "3"])]).await;
}

async fn replace_with_recursive_triggers(kind: Kind) {
    let sql = "PRAGMA recursive_triggers = ON; REPLACE INTO items VALUES (2, 'three', 23); UPDATE OR REPLACE items SET name = 'four' WHERE id = 1";
    items_after(kind, sql, &["1", "2", "3", "4"]).await;
}

/// The row that is replaced takes its children with it.
async fn replace_referred_rows(kind: Kind) {
    let setup = "CREATE TABLE parent (id integer PRIMARY KEY, name text UNIQUE);
                 CREATE TABLE child (id integer PRIMARY KEY, p integer REFERENCES parent (id) ON DELETE CASCADE);
                 INSERT INTO parent VALUES (1, 'a'), (2, 'b'); INSERT INTO child VALUES (10, 1), (20, 2)";
    for recursive in ["OFF", "ON"] {
        let mut case = Case::new(kind, setup, &["parent", "child"]).await;
        case.change(&format!("PRAGMA recursive_triggers = {recursive}; REPLACE INTO parent VALUES (3, 'b')")).await;
        case.captured(&[("parent", &["2", "3"]), ("child", &["20"])]).await;
    }
}

async fn recursive_triggers_and_cascades(kind: Kind) {
    let setup = "CREATE TABLE tree (id integer PRIMARY KEY, up integer REFERENCES tree (id) ON DELETE CASCADE ON UPDATE CASCADE);
                 INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2)";
    for recursive in ["OFF", "ON"] {
        let mut case = Case::new(kind, setup, &["tree"]).await;
        case.change(&format!("PRAGMA recursive_triggers = {recursive}; UPDATE tree SET id = 5 WHERE id = 2")).await;
        case.captured(&[("tree", &["2", "3", "5"])]).await;
        case.change("DELETE FROM tree WHERE id = 1").await;
        case.captured(&[("tree", &["1", "3", "5"])]).await;
    }
}

/// The row that is replaced takes the updated one along, so that nothing is updated.
async fn update_or_replace_that_takes_itself_along(kind: Kind) {
    let setup = "CREATE TABLE tree (id integer PRIMARY KEY, name text UNIQUE, up integer REFERENCES tree (id) ON DELETE CASCADE);
                 INSERT INTO tree VALUES (1, 'a', NULL), (2, 'b', 1), (3, 'c', NULL)";
    let mut case = Case::new(kind, setup, &["tree"]).await;
    case.change("UPDATE OR REPLACE tree SET name = 'a' WHERE id = 2").await;
    case.captured(&[("tree", &["1", "2"])]).await;
}

async fn foreign_keys_off(kind: Kind) {
    let setup = "CREATE TABLE parent (id integer PRIMARY KEY);
                 CREATE TABLE child (id integer PRIMARY KEY, p integer REFERENCES parent (id) ON DELETE CASCADE);
                 INSERT INTO parent VALUES (1), (2); INSERT INTO child VALUES (10, 1), (20, 2)";
    let mut case = Case::new(kind, setup, &["parent", "child"]).await;
    case.change("PRAGMA foreign_keys = OFF; DELETE FROM parent WHERE id = 1; INSERT INTO child VALUES (30, 99)").await;
    case.captured(&[("parent", &["1"]), ("child", &["30"])]).await;
}

async fn connection_settings(kind: Kind) {
    let settings = [
        "trusted_schema = OFF",
        "reverse_unordered_selects = ON",
        "case_sensitive_like = ON",
        "ignore_check_constraints = ON",
        "cell_size_check = ON",
        "legacy_alter_table = ON",
        "temp_store = MEMORY",
        "automatic_index = OFF",
        "defer_foreign_keys = ON",
        "read_uncommitted = ON",
        "secure_delete = ON",
    ];
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    for setting in settings {
        case.user = case.database.user().await;
        // Some answer with a row.
        case.user.rows(&format!("PRAGMA {setting}")).await;
        case.change(
            "UPDATE items SET amount = amount + 1 WHERE id < 3; REPLACE INTO items VALUES (3, 'three', abs(random()))",
        )
        .await;
        case.captured(&[("items", &["1", "2", "3"])]).await;
    }
}

async fn attached_database(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    let file = case.observer.cell("SELECT file FROM pragma_database_list WHERE name = 'main'").await;
    let folder = std::path::Path::new(&file).parent().expect("a file lies in a folder");
    // The main database of this connection is another, with a table of the same name.
    let other = rusqlite::Connection::open(folder.join("other.db")).expect("a file can be made");
    other.execute_batch("CREATE TABLE items (id integer PRIMARY KEY, amount integer)").expect("SQLite takes it");
    other.execute("ATTACH ? AS shop", [&file]).expect("the file is there");
    other
        .execute_batch("UPDATE shop.items SET amount = 0 WHERE id = 2; REPLACE INTO shop.items VALUES (4, 'one', 1)")
        .expect("SQLite takes it");
    case.captured(&[("items", &["1", "2", "4"])]).await;
}

async fn temporary_tables_in_the_way(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    let tables = case
        .observer
        .rows("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'items'")
        .await;
    for name in tables.into_iter().flatten().flatten() {
        case.change(&format!("CREATE TEMP TABLE \"{name}\" (id integer PRIMARY KEY)")).await;
    }
    case.change("UPDATE items SET amount = 0 WHERE id = 2; REPLACE INTO items VALUES (4, 'one', 1)").await;
    case.captured(&[("items", &["1", "2", "4"])]).await;
}

async fn replace_in_a_users_trigger(kind: Kind) {
    let setup = format!(
        "{}; CREATE TABLE orders (id integer PRIMARY KEY, item text);
         CREATE TRIGGER t AFTER INSERT ON orders BEGIN INSERT INTO items VALUES (new.id, new.item, 0); END",
        items(kind)
    );
    let mut case = Case::new(kind, &setup, &["items", "orders"]).await;
    // The outer statement's OR REPLACE holds inside the trigger too.
    case.change("INSERT OR REPLACE INTO orders VALUES (1, 'two')").await;
    case.captured(&[("orders", &["1"]), ("items", &["1", "2"])]).await;
}

async fn replace_through_a_partial_index(kind: Kind) {
    let setup = "CREATE TABLE p (id integer PRIMARY KEY, slot integer, live integer);
                 CREATE UNIQUE INDEX one_live ON p (slot) WHERE live = 1;
                 INSERT INTO p VALUES (1, 7, 1), (2, 7, 0), (3, 8, 1)";
    let mut case = Case::new(kind, setup, &["p"]).await;
    case.change("REPLACE INTO p VALUES (4, 7, 1)").await;
    case.captured(&[("p", &["1", "4"])]).await;
    case.change("UPDATE OR REPLACE p SET slot = 8 WHERE id = 4").await;
    case.captured(&[("p", &["3", "4"])]).await;
}

/// The table is refused, or the row that vanishes by the expression is captured.
async fn replace_through_an_expression_index(kind: Kind) {
    let setup = "CREATE TABLE x (id integer PRIMARY KEY, name text); CREATE UNIQUE INDEX folded ON x (lower(name));
                 INSERT INTO x VALUES (1, 'A'), (2, 'B')";
    if refused(kind, setup, "x").await {
        return;
    }
    let mut case = Case::new(kind, setup, &["x"]).await;
    case.change("REPLACE INTO x VALUES (3, 'a')").await;
    case.captured(&[("x", &["1", "3"])]).await;
}

/// What counts as the same is up to the column's or the index's collation.
async fn replace_through_a_collation(kind: Kind) {
    let setup = "CREATE TABLE y (id integer PRIMARY KEY, name text COLLATE NOCASE UNIQUE, code text);
                 CREATE UNIQUE INDEX codes ON y (code COLLATE RTRIM);
                 INSERT INTO y VALUES (1, 'A', 'x'), (2, 'B', 'y'), (3, 'C', 'z')";
    let mut case = Case::new(kind, setup, &["y"]).await;
    case.change("REPLACE INTO y VALUES (4, 'a', 'y  ')").await;
    case.captured(&[("y", &["1", "2", "4"])]).await;
}
