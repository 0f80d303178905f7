//! Changes that the database makes by itself: cascades and users' triggers.

use super::{Case, refused};
use concord_tests::Kind;

concord_tests::conformance! {
    every: [cascade_delete, cascade_set_null, cascade_update_key, cascade_through_three_tables, self_referencing_cascade, parent_not_synced, trigger_writes_another_table]
    standard: [cascade_set_default, trigger_writes_the_same_row, trigger_that_sorts_last_writes_the_same_row, trigger_deletes_the_row, trigger_writes_another_row]
    sqlite: []
    postgres: [before_trigger_changes_the_row, before_trigger_refuses_the_row, deferred_constraint_trigger, rule]
    mariadb: []
}

fn family(on: &str) -> String {
    format!(
        "CREATE TABLE parent (id integer PRIMARY KEY, n integer);
         CREATE TABLE child (id integer PRIMARY KEY, p integer DEFAULT 9 REFERENCES parent (id) {on});
         INSERT INTO parent VALUES (1, 1), (2, 2), (9, 9);
         INSERT INTO child VALUES (10, 1), (11, 1), (20, 2)"
    )
}

async fn cascade_delete(kind: Kind) {
    let mut case = Case::new(kind, &family("ON DELETE CASCADE"), &["parent", "child"]).await;
    case.change("DELETE FROM parent WHERE id = 1").await;
    case.captured(&[("parent", &["1"]), ("child", &["10", "11"])]).await;
}

async fn cascade_set_null(kind: Kind) {
    let mut case = Case::new(kind, &family("ON DELETE SET NULL"), &["parent", "child"]).await;
    case.change("DELETE FROM parent WHERE id = 1").await;
    case.captured(&[("parent", &["1"]), ("child", &["10", "11"])]).await;
}

async fn cascade_set_default(kind: Kind) {
    let mut case = Case::new(kind, &family("ON DELETE SET DEFAULT"), &["parent", "child"]).await;
    case.change("DELETE FROM parent WHERE id = 2").await;
    case.captured(&[("parent", &["2"]), ("child", &["20"])]).await;
}

async fn cascade_update_key(kind: Kind) {
    let mut case = Case::new(kind, &family("ON UPDATE CASCADE"), &["parent", "child"]).await;
    case.change("UPDATE parent SET id = 3 WHERE id = 1").await;
    case.captured(&[("parent", &["1", "3"]), ("child", &["10", "11"])]).await;
}

async fn cascade_through_three_tables(kind: Kind) {
    let setup = "CREATE TABLE a (id integer PRIMARY KEY);
                 CREATE TABLE b (id integer PRIMARY KEY, a integer REFERENCES a (id) ON DELETE CASCADE);
                 CREATE TABLE c (b integer REFERENCES b (id) ON DELETE CASCADE, n integer, PRIMARY KEY (b, n));
                 INSERT INTO a VALUES (1), (2); INSERT INTO b VALUES (1, 1), (2, 1), (3, 2); INSERT INTO c VALUES (1, 1), (2, 1), (3, 1)";
    let mut case = Case::new(kind, setup, &["a", "b", "c"]).await;
    case.change("DELETE FROM a WHERE id = 1").await;
    case.captured(&[("a", &["1"]), ("b", &["1", "2"]), ("c", &["1/1", "2/1"])]).await;
}

async fn self_referencing_cascade(kind: Kind) {
    let setup = "CREATE TABLE tree (id integer PRIMARY KEY, up integer REFERENCES tree (id) ON DELETE CASCADE);
                 INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2), (4, 2), (5, NULL)";
    let mut case = Case::new(kind, setup, &["tree"]).await;
    case.change("DELETE FROM tree WHERE id = 1").await;
    case.captured(&[("tree", &["1", "2", "3", "4"])]).await;
}

/// The change begins in a table that Concord does not know.
async fn parent_not_synced(kind: Kind) {
    let mut case = Case::new(kind, &family("ON DELETE CASCADE"), &["child"]).await;
    case.change("DELETE FROM parent WHERE id = 1").await;
    case.captured(&[("child", &["10", "11"])]).await;
}

/// `items` with a table `log`, and a trigger of this name and event on `items` that runs a statement for each row.
fn with_trigger(kind: Kind, name: &str, event: &str, statement: &str) -> String {
    let tables = "CREATE TABLE items (id integer PRIMARY KEY, n integer, doubled integer);
                  CREATE TABLE log (id integer PRIMARY KEY, n integer);
                  INSERT INTO items VALUES (1, 1, 2), (2, 2, 4), (3, 3, 6); INSERT INTO log VALUES (1, 0), (2, 0), (3, 0)";
    let trigger = match kind {
        Kind::Sqlite => format!("CREATE TRIGGER {name} {event} ON items FOR EACH ROW BEGIN {statement}; END"),
        Kind::Mariadb => format!("CREATE TRIGGER {name} {event} ON items FOR EACH ROW BEGIN {statement}; END"),
        Kind::Postgres => format!(
            "CREATE FUNCTION react() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {statement}; RETURN NULL; END $$;
             CREATE TRIGGER {name} {event} ON items FOR EACH ROW EXECUTE FUNCTION react()"
        ),
    };
    format!("{tables}; {trigger}")
}

async fn trigger_writes_another_table(kind: Kind) {
    let setup = with_trigger(kind, "t", "AFTER UPDATE", "UPDATE log SET n = n + 1 WHERE id = new.id");
    let mut case = Case::new(kind, &setup, &["items", "log"]).await;
    case.change("UPDATE items SET n = 7 WHERE id < 3").await;
    case.captured(&[("items", &["1", "2"]), ("log", &["1", "2"])]).await;
}

async fn trigger_writes_the_same_row(kind: Kind) {
    let sql = "UPDATE items SET doubled = 2 * new.n WHERE id = new.id";
    let mut case = Case::new(kind, &with_trigger(kind, "a", "AFTER INSERT", sql), &["items"]).await;
    case.change("INSERT INTO items (id, n) VALUES (4, 4), (5, 5)").await;
    case.captured(&[("items", &["4", "5"])]).await;
}

async fn trigger_that_sorts_last_writes_the_same_row(kind: Kind) {
    let sql = "UPDATE items SET doubled = 2 * new.n WHERE id = new.id";
    let mut case = Case::new(kind, &with_trigger(kind, "zzzz", "AFTER UPDATE OF n", sql), &["items"]).await;
    case.change("UPDATE items SET n = 10 WHERE id > 1").await;
    case.captured(&[("items", &["2", "3"])]).await;
}

async fn trigger_deletes_the_row(kind: Kind) {
    let sql = "DELETE FROM items WHERE id = new.id AND new.n < 0";
    let mut case = Case::new(kind, &with_trigger(kind, "a", "AFTER UPDATE", sql), &["items"]).await;
    case.change("UPDATE items SET n = -1 WHERE id = 2; UPDATE items SET n = 5 WHERE id = 3").await;
    case.captured(&[("items", &["2", "3"])]).await;
}

async fn trigger_writes_another_row(kind: Kind) {
    let sql = "UPDATE items SET doubled = doubled + 1 WHERE id = 3";
    let mut case = Case::new(kind, &with_trigger(kind, "m", "AFTER DELETE", sql), &["items"]).await;
    case.change("DELETE FROM items WHERE id = 1").await;
    case.captured(&[("items", &["1", "3"])]).await;
}

async fn before_trigger_changes_the_row(kind: Kind) {
    let setup = format!(
        "{};
         CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             new.doubled := 2 * new.n;
             IF tg_op = 'INSERT' THEN new.id := new.id + 100; END IF;
             RETURN new;
         END $$;
         CREATE TRIGGER zz BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION stamp()",
        with_trigger(kind, "t", "AFTER DELETE", "PERFORM 1")
    );
    let mut case = Case::new(kind, &setup, &["items"]).await;
    case.change("INSERT INTO items (id, n) VALUES (4, 4); UPDATE items SET n = 9 WHERE id = 1").await;
    case.captured(&[("items", &["104", "1"])]).await;
}

async fn before_trigger_refuses_the_row(kind: Kind) {
    let setup = format!(
        "{};
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF old.id = 2 THEN RETURN NULL; END IF;
             IF tg_op = 'DELETE' THEN RETURN old; END IF;
             RETURN new;
         END $$;
         CREATE TRIGGER a BEFORE UPDATE OR DELETE ON items FOR EACH ROW EXECUTE FUNCTION refuse()",
        with_trigger(kind, "t", "AFTER DELETE", "PERFORM 1")
    );
    let mut case = Case::new(kind, &setup, &["items"]).await;
    case.change("UPDATE items SET n = 9").await;
    case.captured(&[("items", &["1", "3"])]).await;
    case.change("DELETE FROM items").await;
    case.captured(&[("items", &["1", "3"])]).await;
}

/// Writes at the very end of the transaction, when all other triggers have run.
async fn deferred_constraint_trigger(kind: Kind) {
    let setup = format!(
        "{};
         CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             UPDATE log SET n = n + 1 WHERE id = new.id; RETURN NULL;
         END $$;
         CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON items DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION late()",
        with_trigger(kind, "t", "AFTER DELETE", "PERFORM 1")
    );
    let mut case = Case::new(kind, &setup, &["items", "log"]).await;
    case.change("BEGIN; UPDATE items SET n = 9 WHERE id = 1; UPDATE items SET n = 8 WHERE id = 3; COMMIT").await;
    case.captured(&[("items", &["1", "3"]), ("log", &["1", "3"])]).await;
}

/// A rule rewrites the statement. The table is refused, or what the rule makes of the statement is captured.
async fn rule(kind: Kind) {
    let setup = format!(
        "{}; CREATE RULE also AS ON DELETE TO items DO ALSO UPDATE log SET n = -1 WHERE id = old.id",
        with_trigger(kind, "t", "AFTER UPDATE", "PERFORM 1")
    );
    if refused(kind, &setup, "items").await {
        return;
    }
    let mut case = Case::new(kind, &setup, &["items", "log"]).await;
    case.change("DELETE FROM items WHERE id = 1").await;
    case.captured(&[("items", &["1"]), ("log", &["1"])]).await;
}
