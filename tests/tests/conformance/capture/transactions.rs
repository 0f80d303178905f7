//! What transactions and savepoints keep and give up.

use super::{Case, items, items_after, items_touched};
use concord_tests::{As, Kind};

concord_tests::conformance! {
    every: [transaction_rolled_back, savepoint_rolled_back, savepoint_released, several_tables, statement_that_fails, insert_then_delete, delete_then_insert, changed_and_changed_back, connection_lost_in_a_transaction, written_by_concords_own_role]
    standard: []
    sqlite: [or_rollback]
    postgres: [prepared_transaction, procedure_that_commits, exception_in_a_block, isolation_levels]
    mariadb: []
}

async fn transaction_rolled_back(kind: Kind) {
    let sql = "BEGIN; UPDATE items SET amount = 0; DELETE FROM items WHERE id = 2; INSERT INTO items VALUES (8, 'x', 1); ROLLBACK";
    items_after(kind, sql, &[]).await;
}

async fn savepoint_rolled_back(kind: Kind) {
    let sql = "BEGIN; UPDATE items SET amount = 0 WHERE id = 1; SAVEPOINT s; UPDATE items SET amount = 0 WHERE id = 2;
               DELETE FROM items WHERE id = 3; ROLLBACK TO s; UPDATE items SET amount = 0 WHERE id = 4; COMMIT";
    items_after(kind, sql, &["1", "4"]).await;
}

async fn savepoint_released(kind: Kind) {
    let sql = "BEGIN; SAVEPOINT a; UPDATE items SET amount = 0 WHERE id = 1; SAVEPOINT b;
               DELETE FROM items WHERE id = 2; RELEASE SAVEPOINT b; RELEASE SAVEPOINT a; COMMIT";
    items_after(kind, sql, &["1", "2"]).await;
}

async fn several_tables(kind: Kind) {
    let setup = "CREATE TABLE a (id integer PRIMARY KEY, n integer); CREATE TABLE b (id integer PRIMARY KEY, n integer);
                 CREATE TABLE c (id integer PRIMARY KEY, n integer); INSERT INTO a VALUES (1, 1); INSERT INTO b VALUES (1, 1)";
    let mut case = Case::new(kind, setup, &["a", "b"]).await;
    let sql = "BEGIN; UPDATE a SET n = 2; INSERT INTO c VALUES (5, 5); INSERT INTO b VALUES (2, 2); UPDATE b SET n = 3; COMMIT";
    case.change(sql).await;
    case.captured(&[("a", &["1"]), ("b", &["1", "2"])]).await;
}

async fn statement_that_fails(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    let sql = "INSERT INTO items VALUES (8, 'eight', 8), (9, 'nine', 9), (1, 'again', 0)";
    assert!(case.user.try_execute(sql).await.is_err());
    case.captured(&[]).await;
}

async fn insert_then_delete(kind: Kind) {
    let sql = "BEGIN; INSERT INTO items VALUES (8, 'eight', 8); DELETE FROM items WHERE id = 8; COMMIT";
    items_touched(kind, sql, &[], &["8"]).await;
}

async fn delete_then_insert(kind: Kind) {
    let sql = "BEGIN; DELETE FROM items WHERE id = 2; INSERT INTO items VALUES (2, 'new', 0); COMMIT";
    items_after(kind, sql, &["2"]).await;
}

async fn changed_and_changed_back(kind: Kind) {
    let sql = "UPDATE items SET amount = 0 WHERE id = 1; UPDATE items SET amount = 10 WHERE id = 1";
    items_touched(kind, sql, &[], &["1"]).await;
}

async fn connection_lost_in_a_transaction(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    case.change("BEGIN; UPDATE items SET amount = 0").await;
    case.user = case.database.user().await;
    // Waits for the lost transaction's locks to go.
    case.change("UPDATE items SET amount = 1 WHERE id = 1").await;
    case.captured(&[("items", &["1"])]).await;
}

/// A person who uses Concord's role is a user as well.
async fn written_by_concords_own_role(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    case.user = case.database.user_as(As::Sync).await;
    case.change("UPDATE items SET amount = 0 WHERE id = 1; INSERT INTO items VALUES (6, 'six', 6)").await;
    case.captured(&[("items", &["1", "6"])]).await;
}

async fn or_rollback(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    let sql = "BEGIN; UPDATE items SET amount = 0 WHERE id = 1; INSERT OR ROLLBACK INTO items VALUES (2, 'x', 0)";
    assert!(case.user.try_execute(sql).await.is_err());
    case.captured(&[]).await;
    let sql =
        "BEGIN; UPDATE items SET amount = 0 WHERE id = 1; INSERT OR FAIL INTO items VALUES (8, 'x', 0), (2, 'y', 0)";
    assert!(case.user.try_execute(sql).await.is_err());
    case.change("COMMIT").await;
    case.captured(&[("items", &["1", "8"])]).await;
}

async fn prepared_transaction(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    // Prepared transactions have names in the whole server.
    let name = case.user.cell("SELECT current_database()").await;
    case.change(&format!("BEGIN; UPDATE items SET amount = 0 WHERE id = 1; PREPARE TRANSACTION '{name}'")).await;
    case.captured(&[]).await;
    case.change("UPDATE items SET amount = 0 WHERE id = 2").await;
    case.captured(&[("items", &["2"])]).await;
    case.change(&format!("COMMIT PREPARED '{name}'")).await;
    case.captured(&[("items", &["1"])]).await;
}

async fn procedure_that_commits(kind: Kind) {
    let setup = format!(
        "{}; CREATE PROCEDURE work() LANGUAGE plpgsql AS $$ BEGIN
             UPDATE items SET amount = 0 WHERE id = 1; COMMIT;
             UPDATE items SET amount = 0 WHERE id = 2; ROLLBACK;
             UPDATE items SET amount = 0 WHERE id = 3; COMMIT;
         END $$",
        items(kind)
    );
    let mut case = Case::new(kind, &setup, &["items"]).await;
    case.change("CALL work()").await;
    case.captured(&[("items", &["1", "3"])]).await;
}

async fn exception_in_a_block(kind: Kind) {
    let sql = "DO $$ BEGIN
                   UPDATE items SET amount = 0 WHERE id = 1;
                   BEGIN UPDATE items SET amount = 0 WHERE id = 2; PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN NULL; END;
                   EXECUTE 'DELETE FROM items WHERE id = 3';
               END $$";
    items_after(kind, sql, &["1", "3"]).await;
}

async fn isolation_levels(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    for (level, key) in [("READ UNCOMMITTED", "1"), ("REPEATABLE READ", "2"), ("SERIALIZABLE", "3")] {
        case.change(&format!("BEGIN ISOLATION LEVEL {level}; UPDATE items SET amount = -1 WHERE id = {key}; COMMIT"))
            .await;
        case.captured(&[("items", &[key])]).await;
    }
}
