//! Rows that refer to each other, unique values that move, and transactions that belong together.

use std::sync::{Arc, Mutex};

use concord::fault::{self, Faults};
use concord_tests::{As, Cluster, Kind};

concord_tests::clusters! {
    pairs: [parents_and_children_from_both_sides, deletes_children_first, a_chain_of_one_table, a_tree_is_cut_down, unique_values_swapped, unique_values_swapped_not_null, unique_values_turned_around_far_apart, unique_value_of_a_deleted_row, unique_value_in_two_new_rows, re_parented_and_old_parent_deleted, cascades, parent_deleted_here_child_inserted_there, cascade_that_would_take_an_unseen_child, set_null, a_child_of_a_row_that_waits, a_parent_with_a_unique_value_takes_another_key, a_parent_that_has_to_stay_keeps_its_unique_value, a_unique_value_of_a_parent_that_takes_its_children_along, what_a_reference_did_before_a_row_arrives_is_no_change, what_a_reference_did_is_no_later_than_its_row, what_a_reference_did_to_a_sum_is_no_change, a_key_that_a_reference_changed_adds_nothing, what_is_deleted_is_not_taken_along, what_is_deleted_goes_in_one_go, what_a_trigger_did_is_no_later_than_its_row, what_a_trigger_adds_before_a_row_arrives_is_added_up, what_a_trigger_does_to_a_sum_that_is_deleted_is_moot, what_a_reference_does_to_others_is_carried, thousands_of_parents_take_other_keys]
    standard: [two_tables_in_a_circle]
    many: []
    all: [parents_then_children]
}

fn shop(_: Kind) -> String {
    "CREATE TABLE customers (id integer PRIMARY KEY, name text NOT NULL);
     CREATE TABLE orders (id integer PRIMARY KEY, customer integer NOT NULL REFERENCES customers (id), item text);
     INSERT INTO customers VALUES (1, 'ann'), (2, 'bob');
     INSERT INTO orders VALUES (10, 1, 'x'), (20, 2, 'y')"
        .to_owned()
}

// Children first in the file: the order of writing does not come from there.
const SHOP: &str = "[tables.orders]\n[tables.customers]";

const BOTH_POSTGRES: &[Kind] = &[Kind::Postgres, Kind::Postgres];

async fn parents_then_children(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, shop, SHOP).await;
    let last = kinds.len() - 1;
    cluster.run(0, "INSERT INTO customers VALUES (3, 'cyd'); INSERT INTO orders VALUES (30, 3, 'z')").await;
    cluster
        .run(last, "INSERT INTO customers VALUES (4, 'dan'); INSERT INTO orders VALUES (40, 4, 'z'), (41, 1, 'w')")
        .await;
    cluster.settle().await;
    cluster.holds("SELECT id FROM orders ORDER BY id", &["10", "20", "30", "40", "41"]).await;
}

async fn parents_and_children_from_both_sides(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, shop, SHOP).await;
    cluster.run(0, "INSERT INTO customers VALUES (3, 'cyd')").await;
    cluster.settle().await;
    cluster.run(1, "INSERT INTO orders VALUES (30, 3, 'z')").await;
    cluster.run(0, "UPDATE customers SET name = 'eve' WHERE id = 3; DELETE FROM orders WHERE id = 10").await;
    cluster.settle().await;
    cluster.run(1, "DELETE FROM customers WHERE id = 1").await;
    cluster.settle().await;
    cluster.holds("SELECT name FROM customers ORDER BY id", &["bob", "eve"]).await;
    cluster.holds("SELECT * FROM orders ORDER BY id", &["20|2|y", "30|3|z"]).await;
}

async fn deletes_children_first(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, shop, SHOP).await;
    cluster.run(1, "DELETE FROM orders; DELETE FROM customers; INSERT INTO customers VALUES (9, 'new')").await;
    cluster.settle().await;
    cluster.holds("SELECT id FROM customers", &["9"]).await;
    cluster.holds("SELECT count(*) FROM orders", &["0"]).await;
}

const PEOPLE: &str = "CREATE TABLE people (id integer PRIMARY KEY, boss integer REFERENCES people (id))";

/// Each row refers to one with a larger key, so that no order of keys fits.
async fn a_chain_of_one_table(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, |_| PEOPLE.to_owned(), "[tables.people]").await;
    cluster.run(0, "INSERT INTO people VALUES (9, NULL); INSERT INTO people VALUES (5, 9); INSERT INTO people VALUES (1, 5), (7, 7)").await;
    cluster
        .run(
            1,
            "INSERT INTO people VALUES (8, NULL); INSERT INTO people VALUES (4, 8); INSERT INTO people VALUES (3, 4)",
        )
        .await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM people ORDER BY id", &["1|5", "3|4", "4|8", "5|9", "7|7", "8|NULL", "9|NULL"]).await;
}

async fn a_tree_is_cut_down(kinds: &[Kind]) {
    let setup = |_| {
        format!(
            "{PEOPLE}; INSERT INTO people VALUES (1, NULL); INSERT INTO people VALUES (2, 1), (3, 2), (4, 3), (5, 1)"
        )
    };
    let mut cluster = Cluster::new(kinds, setup, "[tables.people]").await;
    cluster.run(0, "UPDATE people SET boss = NULL WHERE id = 5").await;
    for id in [4, 3, 2, 1] {
        cluster.run(0, &format!("DELETE FROM people WHERE id = {id}")).await;
    }
    cluster.settle().await;
    cluster.holds("SELECT * FROM people", &["5|NULL"]).await;
}

async fn two_tables_in_a_circle(kinds: &[Kind]) {
    let setup = |kind| {
        match kind {
        Kind::Sqlite => "CREATE TABLE teams (id integer PRIMARY KEY, lead integer NOT NULL REFERENCES staff (id) DEFERRABLE INITIALLY DEFERRED);
                         CREATE TABLE staff (id integer PRIMARY KEY, team integer NOT NULL REFERENCES teams (id) DEFERRABLE INITIALLY DEFERRED)"
            .to_owned(),
        Kind::Mariadb => "CREATE TABLE teams (id integer PRIMARY KEY, lead integer NOT NULL);
                          CREATE TABLE staff (id integer PRIMARY KEY, team integer NOT NULL REFERENCES teams (id));
                          ALTER TABLE teams ADD FOREIGN KEY (lead) REFERENCES staff (id)"
            .to_owned(),
        Kind::Postgres => "CREATE TABLE teams (id integer PRIMARY KEY, lead integer NOT NULL);
                           CREATE TABLE staff (id integer PRIMARY KEY, team integer NOT NULL REFERENCES teams (id) DEFERRABLE INITIALLY DEFERRED);
                           ALTER TABLE teams ADD FOREIGN KEY (lead) REFERENCES staff (id) DEFERRABLE INITIALLY DEFERRED"
            .to_owned(),
    }
    };
    let mut cluster = Cluster::new(kinds, setup, "[tables.teams]\n[tables.staff]").await;
    cluster.run(0, "BEGIN; INSERT INTO teams VALUES (1, 11); INSERT INTO staff VALUES (11, 1), (12, 1); COMMIT").await;
    cluster.settle().await;
    cluster.run(1, "BEGIN; UPDATE teams SET lead = 12; DELETE FROM staff WHERE id = 11; COMMIT").await;
    cluster.run(1, "BEGIN; INSERT INTO staff VALUES (22, 2); INSERT INTO teams VALUES (2, 22); COMMIT").await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM teams ORDER BY id", &["1|12", "2|22"]).await;
    cluster.run(0, "BEGIN; DELETE FROM teams WHERE id = 1; DELETE FROM staff WHERE team = 1; COMMIT").await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM staff", &["22|2"]).await;
}

fn seats(not_null: bool) -> impl Fn(Kind) -> String {
    move |_| {
        let null = if not_null { "NOT NULL" } else { "" };
        format!(
            "CREATE TABLE seats (id integer PRIMARY KEY, seat text {null} UNIQUE);
             INSERT INTO seats VALUES (1, 'window'), (2, 'aisle'), (3, 'middle')"
        )
    }
}

const SWAP: &str = "UPDATE seats SET seat = 'parked' WHERE id = 1; UPDATE seats SET seat = 'window' WHERE id = 2;
                    UPDATE seats SET seat = 'aisle' WHERE id = 1";

async fn unique_values_swapped(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, seats(false), "[tables.seats]").await;
    cluster.run(0, SWAP).await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM seats ORDER BY id", &["1|aisle", "2|window", "3|middle"]).await;
}

async fn unique_values_swapped_not_null(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, seats(true), "[tables.seats]").await;
    cluster.run(1, SWAP).await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM seats ORDER BY id", &["1|aisle", "2|window", "3|middle"]).await;
}

/// Every row takes the value of one that is written in another statement.
async fn unique_values_turned_around_far_apart(kinds: &[Kind]) {
    let setup = |_| {
        "CREATE TABLE seats (id integer PRIMARY KEY, seat integer NOT NULL UNIQUE);
         INSERT INTO seats WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5200) SELECT i, i FROM n"
            .to_owned()
    };
    let mut cluster = Cluster::new(kinds, setup, "[tables.seats]").await;
    cluster.run(0, "UPDATE seats SET seat = -seat; UPDATE seats SET seat = 5201 + seat").await;
    cluster.settle().await;
    cluster.holds("SELECT count(*) FROM seats WHERE id + seat = 5201", &["5200"]).await;
}

async fn unique_value_of_a_deleted_row(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, seats(true), "[tables.seats]").await;
    cluster.run(0, "DELETE FROM seats WHERE id = 1; INSERT INTO seats VALUES (4, 'window')").await;
    cluster.run(1, "DELETE FROM seats WHERE id = 3; UPDATE seats SET seat = 'middle' WHERE id = 2").await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM seats ORDER BY id", &["2|middle", "4|window"]).await;
}

/// Nobody can know which of them is meant: both stay where they are and say why, until a person changes one.
async fn unique_value_in_two_new_rows(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, seats(true), "[tables.seats]").await;
    cluster.run(0, "INSERT INTO seats VALUES (4, 'new'), (6, 'other')").await;
    cluster.run(1, "INSERT INTO seats VALUES (5, 'new')").await;
    let summary = cluster.sync().await;
    assert_eq!(summary.waiting, 2);
    assert_eq!(cluster.waiting().await, ["a seats [5] constraint", "b seats [4] constraint"]);
    cluster.holds_at(1, "SELECT seat FROM seats WHERE id = 6", &["other"]).await;
    cluster.quiet().await;
    cluster.run(1, "UPDATE seats SET seat = 'newer' WHERE id = 5").await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM seats WHERE id > 3 ORDER BY id", &["4|new", "5|newer", "6|other"]).await;
}

async fn re_parented_and_old_parent_deleted(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, shop, SHOP).await;
    cluster.run(0, "INSERT INTO customers VALUES (3, 'cyd'); UPDATE orders SET customer = 3 WHERE id = 10; DELETE FROM customers WHERE id = 1").await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM orders ORDER BY id", &["10|3|x", "20|2|y"]).await;
    cluster.holds("SELECT id FROM customers ORDER BY id", &["2", "3"]).await;
}

fn following(action: &'static str) -> impl Fn(Kind) -> String {
    move |kind| {
        shop(kind)
            .replace("NOT NULL REFERENCES customers (id)", &format!("REFERENCES customers (id) ON DELETE {action}"))
    }
}

async fn cascades(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, following("CASCADE"), SHOP).await;
    cluster.run(0, "DELETE FROM customers WHERE id = 1").await;
    assert_eq!(cluster.settle().await.conflicts, 0);
    cluster.holds("SELECT id FROM orders", &["20"]).await;
    cluster.run(1, "DELETE FROM customers").await;
    cluster.settle().await;
    cluster.holds("SELECT count(*) FROM orders", &["0"]).await;
}

async fn set_null(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, following("SET NULL"), SHOP).await;
    cluster.run(0, "DELETE FROM customers WHERE id = 1").await;
    assert_eq!(cluster.settle().await.conflicts, 0);
    cluster.holds("SELECT * FROM orders ORDER BY id", &["10|NULL|x", "20|2|y"]).await;
}

async fn parent_deleted_here_child_inserted_there(kinds: &[Kind]) {
    // GIVEN a parent without children
    let setup = |kind| shop(kind) + "; INSERT INTO customers VALUES (3, 'cyd')";
    let mut cluster = Cluster::new(kinds, setup, SHOP).await;
    // WHEN it is deleted at one node and gets a child at another
    cluster.run(0, "DELETE FROM customers WHERE id = 3; UPDATE customers SET name = 'ann2' WHERE id = 1").await;
    cluster.run(1, "INSERT INTO orders VALUES (30, 3, 'z'); UPDATE orders SET item = 'y2' WHERE id = 20").await;
    let summary = cluster.sync().await;
    // THEN both wait with a reason, and nothing else does
    assert_eq!(summary.waiting, 2);
    assert_eq!(cluster.waiting().await, ["a orders [30] constraint", "b customers [3] constraint"]);
    let reasons = cluster.reasons("b").await;
    assert!(reasons[0].to_lowercase().contains("foreign key"), "{reasons:?}");
    cluster.holds("SELECT name FROM customers WHERE id = 1", &["ann2"]).await;
    cluster.holds("SELECT item FROM orders WHERE id = 20", &["y2"]).await;
    cluster.quiet().await;
    // AND a later change resolves it
    cluster.run(1, "UPDATE orders SET customer = 1 WHERE id = 30").await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM orders ORDER BY id", &["10|1|x", "20|2|y2", "30|1|z"]).await;
    cluster.holds("SELECT id FROM customers ORDER BY id", &["1", "2"]).await;
}

/// Other rows are never deleted to make a change fit: the delete waits while a child that its user did not see is there.
async fn cascade_that_would_take_an_unseen_child(kinds: &[Kind]) {
    let setup = |kind| following("CASCADE")(kind) + "; INSERT INTO customers VALUES (3, 'cyd')";
    let mut cluster = Cluster::new(kinds, setup, SHOP).await;
    cluster.run(0, "DELETE FROM customers WHERE id = 3").await;
    cluster.run(1, "INSERT INTO orders VALUES (30, 3, 'z')").await;
    cluster.sync().await;
    cluster.holds_at(1, "SELECT * FROM orders WHERE id = 30", &["30|3|z"]).await;
    assert_eq!(cluster.waiting().await, ["a orders [30] constraint", "b customers [3] referred"]);
    cluster.quiet().await;
    // A person keeps the parent.
    let dropped = cluster.session().drop_parked(|row| row.table == "customers").await.expect("it can be dropped");
    assert_eq!(dropped.len(), 1);
    cluster.settle().await;
    cluster.holds("SELECT * FROM orders WHERE id = 30", &["30|3|z"]).await;
    cluster.holds("SELECT name FROM customers WHERE id = 3", &["cyd"]).await;
}

/// The parent cannot be written at one node; only its child waits with it.
async fn a_child_of_a_row_that_waits(kinds: &[Kind]) {
    let mut cluster = Cluster::bare(kinds, |_| String::new(), SHOP).await;
    for (node, check) in cluster.nodes.iter().zip(["", ", CHECK (name <> 'bad')"]) {
        let sql = shop(node.database.kind()).replace("name text NOT NULL", &format!("name text NOT NULL{check}"));
        node.database.user_as(As::Sync).await.execute(&sql).await;
    }
    cluster.install().await;
    cluster.run(0, "INSERT INTO customers VALUES (3, 'bad'), (4, 'good')").await;
    cluster.run(0, "INSERT INTO orders VALUES (30, 3, 'x'), (40, 4, 'y')").await;
    cluster.sync().await;
    assert_eq!(cluster.waiting().await, ["b customers [3] constraint", "b orders [30] constraint"]);
    cluster.holds_at(1, "SELECT id FROM orders ORDER BY id", &["10", "20", "40"]).await;
    cluster.quiet().await;
    cluster.run(0, "UPDATE customers SET name = 'better' WHERE id = 3").await;
    cluster.settle().await;
    cluster.holds("SELECT id FROM orders ORDER BY id", &["10", "20", "30", "40"]).await;
}

/// On PostgreSQL, notes in which transaction each row of the shop arrived.
fn noting(kind: Kind) -> String {
    let notes = "CREATE TABLE arrivals (row_id integer, part text, xact xid8);
                 CREATE FUNCTION arrived() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
                     INSERT INTO public.arrivals VALUES (NEW.id, TG_TABLE_NAME, pg_current_xact_id()); RETURN NULL;
                 END $$;
                 CREATE TRIGGER arrived AFTER INSERT OR UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION arrived();
                 CREATE TRIGGER arrived AFTER INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION arrived()";
    match kind {
        Kind::Sqlite | Kind::Mariadb => shop(kind),
        Kind::Postgres => format!("{}; {notes}", shop(kind)),
    }
}

/// What one user transaction wrote to several tables arrives in one.
#[tokio::test]
async fn transactions_arrive_whole() {
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Postgres], noting, SHOP).await;
    cluster
        .run(
            0,
            "BEGIN; INSERT INTO customers VALUES (3, 'cyd'); INSERT INTO orders VALUES (30, 3, 'z');
             UPDATE orders SET item = 'X' WHERE id = 10; COMMIT",
        )
        .await;
    cluster.settle().await;
    cluster.holds_at(1, "SELECT count(*), count(DISTINCT xact::text) FROM arrivals", &["3|1"]).await;
}

/// Where a batch is too small for all, it is divided between users' transactions and not within them.
#[tokio::test]
async fn small_batches_do_not_divide_transactions() {
    let tables = "[defaults]\nbatch = 3\n[tables.orders]\n[tables.customers]";
    let mut cluster = Cluster::new(&[Kind::Postgres, Kind::Postgres], noting, tables).await;
    for n in 100..110 {
        let orders = format!("INSERT INTO orders VALUES ({n}, {n}, 'o'), (1{n}, {n}, 'p')");
        cluster.run(0, &format!("BEGIN; INSERT INTO customers VALUES ({n}, 'c'); {orders}; COMMIT")).await;
    }
    let summary = cluster.settle().await;
    assert!(summary.cycles > 4, "{} cycles", summary.cycles);
    let divided =
        "SELECT row_id % 1000 AS n FROM arrivals GROUP BY n HAVING count(*) <> 3 OR count(DISTINCT xact::text) > 1";
    cluster.holds_at(1, divided, &[]).await;
    cluster.holds_at(1, "SELECT count(DISTINCT xact::text) > 4 FROM arrivals", &["t"]).await;
}

/// What refers to a table that is not synced is not touched, and not lost.
#[tokio::test]
async fn a_reference_from_a_table_that_is_not_synced() {
    let mut cluster = Cluster::new(&[Kind::Postgres, Kind::Sqlite], shop, "[tables.customers]").await;
    cluster.run(0, "DELETE FROM orders; DELETE FROM customers WHERE id = 1").await;
    cluster.sync().await;
    assert_eq!(cluster.waiting().await, ["b customers [1] constraint"]);
    cluster.run(1, "DELETE FROM orders").await;
    cluster.settle().await;
    cluster.holds("SELECT id FROM customers", &["2"]).await;
}

/// Nor is what refers to a part of a table that is synced.
#[tokio::test]
async fn a_reference_to_a_partition_from_a_table_that_is_not_synced() {
    let setup = |kind| match kind {
        Kind::Postgres => "CREATE TABLE customers (id integer PRIMARY KEY) PARTITION BY RANGE (id);
             CREATE TABLE low PARTITION OF customers FOR VALUES FROM (0) TO (10);
             CREATE TABLE orders (id integer PRIMARY KEY, customer integer REFERENCES low ON DELETE CASCADE);
             INSERT INTO customers VALUES (1), (2); INSERT INTO orders VALUES (10, 1)"
            .to_owned(),
        _ => "CREATE TABLE customers (id integer PRIMARY KEY); INSERT INTO customers VALUES (1), (2)".to_owned(),
    };
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Postgres], setup, "[tables.customers]").await;
    cluster.run(0, "DELETE FROM customers").await;
    cluster.sync().await;
    assert_eq!(cluster.waiting().await.len(), 1);
    cluster.holds_at(1, "SELECT id, customer FROM orders", &["10|1"]).await;
    cluster.run(1, "DELETE FROM orders").await;
    cluster.settle().await;
    // One that comes later may have taken rows along.
    let later = "CREATE TABLE later (id integer PRIMARY KEY, customer integer REFERENCES low ON DELETE CASCADE)";
    cluster.run_as_owner(1, later).await;
    let stopped = cluster.sync().await.stopped;
    assert!(stopped.len() == 1 && stopped[0].why.contains("of public.later was added"), "{stopped:?}");
}

/// Parents with a value that is theirs alone, and children.
fn families(value: &str, action: &str) -> String {
    format!(
        "CREATE TABLE parents (id integer PRIMARY KEY, mail varchar(50) {value} UNIQUE);
         CREATE TABLE children (id integer PRIMARY KEY, parent integer NOT NULL,
             FOREIGN KEY (parent) REFERENCES parents (id) {action});
         INSERT INTO parents VALUES (1, 'a'), (2, 'b'), (3, 'c');
         INSERT INTO children VALUES (10, 1), (20, 2)"
    )
}

const FAMILIES: &str = "[tables.children]\n[tables.parents]";

/// Neither can be first: the new row wants the mail of the old one, which the child has to leave before it can go.
async fn a_parent_with_a_unique_value_takes_another_key(kinds: &[Kind]) {
    for value in ["", "NOT NULL"] {
        let mut cluster = Cluster::new(kinds, |_| families(value, "ON UPDATE CASCADE"), FAMILIES).await;
        cluster.run(0, "UPDATE parents SET id = 100 WHERE id = 1; UPDATE parents SET mail = 'd' WHERE id = 3").await;
        cluster.run(1, "UPDATE parents SET id = 200 WHERE id = 2; INSERT INTO children VALUES (21, 200)").await;
        let summary = cluster.sync().await;
        assert_eq!(summary.waiting, 0, "{:?}", cluster.reasons("b").await);
        cluster.settle().await;
        // Each takes the key that the next one leaves.
        cluster.run(0, "UPDATE parents SET id = 3000 WHERE id = 3; UPDATE parents SET id = 3 WHERE id = 200").await;
        cluster.run(0, "UPDATE parents SET id = 200 WHERE id = 100").await;
        cluster.settle().await;
        cluster.holds("SELECT * FROM parents ORDER BY id", &["3|b", "200|a", "3000|d"]).await;
        cluster.holds("SELECT * FROM children ORDER BY id", &["10|200", "20|3", "21|3"]).await;
    }
}

/// It stepped aside for nothing, and is as it was.
async fn a_parent_that_has_to_stay_keeps_its_unique_value(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, |_| families("", "ON UPDATE CASCADE"), FAMILIES).await;
    cluster.run(1, "INSERT INTO children VALUES (11, 1)").await;
    cluster.run(0, "UPDATE parents SET id = 100 WHERE id = 1; UPDATE parents SET id = 200 WHERE id = 2").await;
    cluster.sync().await;
    cluster.holds_at(1, "SELECT * FROM parents ORDER BY id", &["1|a", "3|c", "200|b"]).await;
    cluster.holds_at(1, "SELECT * FROM children ORDER BY id", &["10|1", "11|1", "20|200"]).await;
    cluster.quiet().await;
    cluster.run(1, "UPDATE children SET parent = 3 WHERE id = 11").await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM parents ORDER BY id", &["3|c", "100|a", "200|b"]).await;
    cluster.holds("SELECT * FROM children ORDER BY id", &["10|100", "11|3", "20|200"]).await;
}

async fn a_unique_value_of_a_parent_that_takes_its_children_along(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, |_| families("NOT NULL", "ON DELETE CASCADE"), FAMILIES).await;
    let change =
        "DELETE FROM parents WHERE id = 1; INSERT INTO parents VALUES (9, 'a'); INSERT INTO children VALUES (90, 9)";
    cluster.run(0, change).await;
    let summary = cluster.sync().await;
    assert_eq!(summary.waiting, 0, "{:?}", cluster.reasons("b").await);
    cluster.settle().await;
    cluster.holds("SELECT * FROM parents ORDER BY id", &["2|b", "3|c", "9|a"]).await;
    cluster.holds("SELECT * FROM children ORDER BY id", &["20|2", "90|9"]).await;
}

/// Children that follow a value of their parents which is not the key, and whose changes are noted by a trigger.
fn followed(kind: Kind, notes: bool) -> String {
    let trigger = match kind {
        _ if !notes => "",
        Kind::Sqlite => "; CREATE TRIGGER noted AFTER UPDATE ON c BEGIN INSERT INTO log VALUES (NEW.id); END",
        Kind::Mariadb => "; CREATE TRIGGER noted AFTER UPDATE ON c FOR EACH ROW INSERT INTO log VALUES (NEW.id)",
        Kind::Postgres => {
            "; CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
                   AS $$ BEGIN INSERT INTO public.log VALUES (NEW.id); RETURN NULL; END $$;
               CREATE TRIGGER noted AFTER UPDATE ON c FOR EACH ROW EXECUTE FUNCTION noted()"
        }
    };
    format!(
        "CREATE TABLE p (id integer PRIMARY KEY, code varchar(9) UNIQUE, mail varchar(9) UNIQUE);
         CREATE TABLE c (id integer PRIMARY KEY, code varchar(9), note varchar(9),
             FOREIGN KEY (code) REFERENCES p (code) ON UPDATE CASCADE);
         CREATE TABLE log (id integer);
         INSERT INTO p VALUES (1, 'x', 'm1'), (2, 'z', 'm2');
         INSERT INTO c VALUES (1, 'x', 'old'), (7, 'z', 'old'){trigger}"
    )
}

const FOLLOWED: &str = "[tables.c]\n[tables.p]";

/// What the parent does to the row as it arrives is no work of the trigger, and is overwritten by the row.
async fn what_a_reference_did_before_a_row_arrives_is_no_change(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, |kind| followed(kind, true), FOLLOWED).await;
    cluster.run(0, "UPDATE p SET code = 'y' WHERE id = 1; UPDATE c SET note = 'hello' WHERE id = 1").await;
    let summary = cluster.settle().await;
    assert_eq!((summary.conflicts, summary.parked), (0, 0));
    cluster.holds("SELECT * FROM c ORDER BY id", &["1|y|hello", "7|z|old"]).await;
}

/// Nor is it younger than what a user does meanwhile where the parent was changed, also where no rows are created.
async fn what_a_reference_did_is_no_later_than_its_row(kinds: &[Kind]) {
    for tables in [FOLLOWED, "[tables.c]\noperations = [\"update\"]\n[tables.p]"] {
        let mut cluster = Cluster::new(kinds, |kind| followed(kind, false), tables).await;
        cluster.run(0, "UPDATE p SET code = 'y' WHERE id = 1").await;
        let summary = cluster
            .sync_while("apply-begin", async |cluster| {
                cluster.later(0, "UPDATE c SET note = 'hello' WHERE id = 1").await;
            })
            .await;
        assert_eq!(summary.conflicts, 0, "{tables}");
        cluster.settle().await;
        cluster.holds("SELECT * FROM c ORDER BY id", &["1|y|hello", "7|z|old"]).await;
    }
}

/// Nor does it add anything where changes are added up.
async fn what_a_reference_did_to_a_sum_is_no_change(kinds: &[Kind]) {
    let setup = |_| {
        "CREATE TABLE p (id integer PRIMARY KEY, code varchar(9) UNIQUE);
         CREATE TABLE c (id integer PRIMARY KEY, code varchar(9), n integer,
             FOREIGN KEY (code) REFERENCES p (code) ON UPDATE CASCADE);
         INSERT INTO p VALUES (1, 'x'); INSERT INTO c VALUES (1, 'x', 10)"
            .to_owned()
    };
    let tables = "[tables.c]\nconflict = { sum = [\"n\"] }\n[tables.p]";
    let mut cluster = Cluster::new(kinds, setup, tables).await;
    cluster.run(0, "UPDATE p SET code = 'y' WHERE id = 1; UPDATE c SET n = n + 5 WHERE id = 1").await;
    let summary = cluster.settle().await;
    assert_eq!((summary.conflicts, summary.parked), (0, 0));
    cluster.holds("SELECT * FROM c", &["1|y|15"]).await;
}

/// Also where the row gets another key by it, and is told as one that went and one that came.
async fn a_key_that_a_reference_changed_adds_nothing(kinds: &[Kind]) {
    let setup = |_| {
        "CREATE TABLE products (id integer PRIMARY KEY, code integer NOT NULL UNIQUE);
         CREATE TABLE stock (code integer NOT NULL, shelf integer NOT NULL, qty integer, PRIMARY KEY (code, shelf),
             FOREIGN KEY (code) REFERENCES products (code) ON UPDATE CASCADE);
         INSERT INTO products VALUES (1, 10); INSERT INTO stock VALUES (10, 1, 5), (10, 2, 5)"
            .to_owned()
    };
    let tables = "[tables.stock]\nconflict = { sum = [\"qty\"] }\n[tables.products]";
    let mut cluster = Cluster::new(kinds, setup, tables).await;
    cluster.run(0, "UPDATE products SET code = 20 WHERE id = 1").await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM stock ORDER BY shelf", &["20|1|5", "20|2|5"]).await;
}

/// A row is deleted, and what it referred to takes another value, which would give it another key: it stays deleted, and amounts count
/// once although rows pass a unique value among each other.
async fn what_is_deleted_is_not_taken_along(kinds: &[Kind]) {
    let setup = |_| {
        "CREATE TABLE products (id integer PRIMARY KEY, code integer NOT NULL UNIQUE);
         CREATE TABLE stock (code integer NOT NULL, shelf integer NOT NULL, label integer UNIQUE, qty integer,
             PRIMARY KEY (code, shelf), FOREIGN KEY (code) REFERENCES products (code) ON UPDATE CASCADE);
         INSERT INTO products VALUES (1, 10); INSERT INTO stock VALUES (10, 1, 1, 5), (10, 2, 2, 5), (10, 3, 3, 5)"
            .to_owned()
    };
    let tables = "[tables.stock]\nconflict = { sum = [\"qty\"] }\n[tables.products]";
    let mut cluster = Cluster::new(kinds, setup, tables).await;
    cluster.run(0, "DELETE FROM stock WHERE shelf = 2; UPDATE stock SET label = 2 WHERE shelf = 1").await;
    cluster.run(0, "UPDATE products SET code = 20 WHERE id = 1; UPDATE stock SET label = 1 WHERE shelf = 3").await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM stock ORDER BY shelf", &["20|1|2|5", "20|3|1|5"]).await;
}

/// GIVEN many rows that refer to another by their key, and rows that refer to them
/// WHEN they are deleted, and what their key refers to is changed
/// THEN they go when nothing keeps them any more: after those rows have gone, or refer to others.
async fn what_is_deleted_goes_in_one_go(kinds: &[Kind]) {
    let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)";
    for (action, change) in [("", "UPDATE parts SET place = 300"), ("ON UPDATE CASCADE", "DELETE FROM parts")] {
        let setup = format!(
            "CREATE TABLE customers (id integer PRIMARY KEY, name varchar(9));
             CREATE TABLE orders (customer integer NOT NULL, place integer NOT NULL, PRIMARY KEY (customer, place),
                 FOREIGN KEY (customer) REFERENCES customers (id) {action});
             CREATE TABLE parts (id integer PRIMARY KEY, customer integer, place integer,
                 FOREIGN KEY (customer, place) REFERENCES orders (customer, place) {action});
             INSERT INTO customers VALUES (1, 'ann');
             INSERT INTO orders (customer, place) {numbers} SELECT 1, i FROM n;
             INSERT INTO parts (id, customer, place) {numbers} SELECT i, 1, i FROM n"
        );
        let tables = "[tables.parts]\n[tables.orders]\n[tables.customers]";
        let mut cluster = Cluster::new(kinds, |_| setup.clone(), tables).await;
        cluster.run(0, &format!("{change}; DELETE FROM orders WHERE place < 300")).await;
        cluster.run(0, "UPDATE customers SET name = 'eve'").await;
        let faults = Arc::new(Mutex::new(Faults::default()));
        drop(Box::pin(fault::scoped(Arc::clone(&faults), cluster.sync())).await);
        let deletes = faults.lock().expect("nobody panics").passes("apply-delete");
        assert!((1..=4).contains(&deletes), "{action}: {deletes} attempts");
        cluster.settle().await;
        cluster.holds("SELECT * FROM orders", &["1|300"]).await;
        cluster.holds("SELECT * FROM customers", &["1|eve"]).await;
    }
}

/// A trigger of one table that writes to another; `then` may name the row as `NEW`, or `OLD`.
fn reacting(kind: Kind, name: &str, event: &str, then: &str) -> String {
    match kind {
        Kind::Sqlite => format!("CREATE TRIGGER {name} AFTER {event} BEGIN {then}; END"),
        Kind::Mariadb => format!("CREATE TRIGGER {name} AFTER {event} FOR EACH ROW {then}"),
        Kind::Postgres => format!(
            "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
                 AS $$ BEGIN {then}; RETURN NULL; END $$;
             CREATE TRIGGER {name} AFTER {event} FOR EACH ROW EXECUTE FUNCTION {name}()"
        ),
    }
}

/// What a trigger did to a row of another table, which arrives itself, is no younger than what a user does to it meanwhile.
async fn what_a_trigger_did_is_no_later_than_its_row(kinds: &[Kind]) {
    let setup = |kind| {
        let then = "UPDATE orders SET customer = NEW.name WHERE buyer = NEW.id";
        format!(
            "CREATE TABLE customers (id integer PRIMARY KEY, name varchar(9));
             CREATE TABLE orders (id integer PRIMARY KEY, buyer integer, customer varchar(9), note varchar(9));
             INSERT INTO customers VALUES (1, 'ann'); INSERT INTO orders VALUES (1, 1, 'ann', 'old'); {}",
            reacting(kind, "named", "UPDATE ON customers", then)
        )
    };
    let mut cluster = Cluster::new(kinds, setup, "[tables.customers]\n[tables.orders]").await;
    cluster.run(0, "UPDATE customers SET name = 'eve' WHERE id = 1").await;
    let summary = cluster
        .sync_while("apply-begin", async |cluster| {
            cluster.later(0, "UPDATE orders SET note = 'hello' WHERE id = 1").await;
        })
        .await;
    assert_eq!(summary.conflicts, 0);
    cluster.settle().await;
    cluster.holds("SELECT * FROM orders", &["1|1|eve|hello"]).await;
}

/// What a trigger of one node takes away from a row that arrives with an addition is not lost.
async fn what_a_trigger_adds_before_a_row_arrives_is_added_up(kinds: &[Kind]) {
    let setup = |_| {
        "CREATE TABLE orders (id integer PRIMARY KEY, product integer, n integer);
         CREATE TABLE stock (product integer PRIMARY KEY, qty integer);
         CREATE TABLE log (qty integer);
         INSERT INTO stock VALUES (1, 100)"
            .to_owned()
    };
    let tables = "[tables.orders]\n[tables.stock]\nconflict = { sum = [\"qty\"] }";
    let mut cluster = Cluster::bare(kinds, setup, tables).await;
    let taken = "UPDATE stock SET qty = qty - NEW.n WHERE product = NEW.product";
    cluster.run_as_owner(1, &reacting(kinds[1], "taken", "INSERT ON orders", taken)).await;
    // Whoever only looks on changes nothing.
    let noted = "INSERT INTO log VALUES (NEW.qty)";
    cluster.run_as_owner(1, &reacting(kinds[1], "noted", "UPDATE ON stock", noted)).await;
    cluster.install().await;
    cluster.run(0, "INSERT INTO orders VALUES (1, 1, 5); UPDATE stock SET qty = qty + 10 WHERE product = 1").await;
    cluster.sync().await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM stock", &["1|105"]).await;
}

/// Also where two tables refer to each other, so that they are written together, whichever of them is first.
#[tokio::test]
async fn what_a_trigger_adds_to_a_row_that_is_written_beside_it_is_added_up() {
    const STAFF: &str = "[tables.staff]\n";
    const TEAMS: &str = "[tables.teams]\nconflict = { sum = [\"size\"] }\n";
    for (other, tables) in [
        (Kind::Mariadb, [TEAMS, STAFF]),
        (Kind::Mariadb, [STAFF, TEAMS]),
        (Kind::Sqlite, [TEAMS, STAFF]),
        (Kind::Sqlite, [STAFF, TEAMS]),
    ] {
        let setup = |kind| {
            let (within, after) = match kind {
                Kind::Sqlite => (" REFERENCES staff (id)", ""),
                _ => ("", "; ALTER TABLE teams ADD FOREIGN KEY (lead) REFERENCES staff (id)"),
            };
            format!(
                "CREATE TABLE teams (id integer PRIMARY KEY, lead integer{within}, size integer);
                 CREATE TABLE staff (id integer PRIMARY KEY, team integer, FOREIGN KEY (team) REFERENCES teams (id));
                 INSERT INTO teams VALUES (1, NULL, 100){after}"
            )
        };
        let mut cluster = Cluster::bare(&[Kind::Postgres, other], setup, &tables.concat()).await;
        let counted = "UPDATE teams SET size = size + 10 WHERE id = NEW.team";
        cluster.run_as_owner(1, &reacting(other, "counted", "INSERT ON staff", counted)).await;
        cluster.install().await;
        cluster.run(0, "INSERT INTO staff VALUES (22, 1); UPDATE teams SET size = size + 1 WHERE id = 1").await;
        cluster.sync().await;
        cluster.settle().await;
        cluster.holds("SELECT id, size FROM teams", &["1|111"]).await;
        cluster.holds("SELECT * FROM staff", &["22|1"]).await;
    }
}

/// What a trigger of one node takes away from a row that is deleted next does not keep the row.
async fn what_a_trigger_does_to_a_sum_that_is_deleted_is_moot(kinds: &[Kind]) {
    let setup = |_| {
        "CREATE TABLE orders (id integer PRIMARY KEY, total integer);
         CREATE TABLE items (id integer PRIMARY KEY, bought integer, amount integer,
             FOREIGN KEY (bought) REFERENCES orders (id));
         INSERT INTO orders VALUES (1, 100), (2, 7); INSERT INTO items VALUES (1, 1, 60), (2, 1, 40), (3, 2, 7)"
            .to_owned()
    };
    let tables = "[tables.items]\n[tables.orders]\nconflict = { sum = [\"total\"] }";
    let mut cluster = Cluster::bare(kinds, setup, tables).await;
    let taken = "UPDATE orders SET total = total - OLD.amount WHERE id = OLD.bought";
    cluster.run_as_owner(1, &reacting(kinds[1], "taken", "DELETE ON items", taken)).await;
    cluster.install().await;
    cluster.run(0, "DELETE FROM items WHERE bought = 1; DELETE FROM orders WHERE id = 1").await;
    cluster.sync().await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM orders", &["2|7"]).await;
    cluster.holds("SELECT * FROM items", &["3|2|7"]).await;
}

/// A parent that has to wait until another is gone is written with its child at last, and takes a row along of which only this
/// node knows.
async fn what_a_reference_does_to_others_is_carried(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, |kind| followed(kind, false), FOLLOWED).await;
    cluster.run(0, "DELETE FROM c WHERE id = 7; DELETE FROM p WHERE id = 2").await;
    cluster.run(0, "UPDATE p SET code = 'y', mail = 'm2' WHERE id = 1; INSERT INTO c VALUES (5, 'y', 'new')").await;
    cluster.run(1, "INSERT INTO c VALUES (9, 'x', 'new')").await;
    cluster.sync().await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM p", &["1|y|m2"]).await;
    cluster.holds("SELECT * FROM c ORDER BY id", &["1|y|old", "5|y|new", "9|y|new"]).await;
}

/// A value changes hands, and rows of the same table refer to it: they belong to whoever has it now, and do not follow who had it.
#[tokio::test]
async fn who_refers_to_a_value_that_changes_hands() {
    // InnoDB refuses it.
    for kinds in
        [BOTH_POSTGRES, &[Kind::Postgres, Kind::Sqlite], &[Kind::Sqlite, Kind::Postgres], &[Kind::Sqlite, Kind::Sqlite]]
    {
        let setup = |_| {
            "CREATE TABLE accounts (id integer PRIMARY KEY, code varchar(9) UNIQUE, note text,
                 parent varchar(9) REFERENCES accounts (code) ON UPDATE CASCADE);
             INSERT INTO accounts VALUES (1, '20', '', NULL), (2, '10', '', NULL), (3, 'x', '', '10')"
                .to_owned()
        };
        let mut cluster = Cluster::new(kinds, setup, "[tables.accounts]").await;
        cluster.run(0, "UPDATE accounts SET note = 'first' WHERE id = 3").await;
        cluster
            .run(0, "UPDATE accounts SET code = '30' WHERE id = 1; UPDATE accounts SET code = '20' WHERE id = 2")
            .await;
        cluster.settle().await;
        cluster.holds("SELECT id, code, parent FROM accounts ORDER BY id", &["1|30|NULL", "2|20|NULL", "3|x|20"]).await;
    }
}

/// One of them has to stay; the others do not wait for it, nor is each tried by itself.
async fn thousands_of_parents_take_other_keys(kinds: &[Kind]) {
    let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)";
    let setup = format!(
        "CREATE TABLE parents (id integer PRIMARY KEY, mail integer NOT NULL UNIQUE);
         CREATE TABLE children (id integer PRIMARY KEY, parent integer NOT NULL,
             FOREIGN KEY (parent) REFERENCES parents (id) ON UPDATE CASCADE);
         INSERT INTO parents (id, mail) {numbers} SELECT i, i FROM n;
         INSERT INTO children (id, parent) {numbers} SELECT i, i FROM n"
    );
    let mut cluster = Cluster::new(kinds, |_| setup.clone(), FAMILIES).await;
    cluster.run(1, "INSERT INTO children VALUES (5000, 1234)").await;
    cluster.run(0, "UPDATE parents SET id = id + 10000").await;
    let faults = Arc::new(Mutex::new(Faults::default()));
    drop(Box::pin(fault::scoped(Arc::clone(&faults), cluster.sync())).await);
    let attempts = faults.lock().expect("nobody panics").passes("apply-attempt");
    assert!(attempts <= 80, "{attempts} attempts");
    cluster.holds_at(1, "SELECT id, mail FROM parents WHERE id < 10000", &["1234|1234"]).await;
    cluster.run(1, "UPDATE children SET parent = 11111 WHERE id = 5000").await;
    cluster.settle().await;
    cluster.holds("SELECT count(*) FROM parents WHERE id = mail + 10000", &["3000"]).await;
    cluster.holds("SELECT count(*) FROM children WHERE parent = id + 10000", &["3000"]).await;
}
