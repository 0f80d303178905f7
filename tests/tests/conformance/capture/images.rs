//! What is recorded of rows before and after each change; [`Case::captured`] compares it with what the rows were and are.

use super::{Case, items};
use concord_tests::Kind;

concord_tests::conformance! {
    every: [changes_of_every_kind]
    standard: []
    sqlite: [replaced]
    postgres: []
    mariadb: [replaced]
}

/// Items whose amounts and names are recorded, in this order.
async fn recorded(kind: Kind) -> Case {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    case.record(0, &[2, 1]).await;
    case
}

async fn changes_of_every_kind(kind: Kind) {
    let mut case = recorded(kind).await;
    case.change("UPDATE items SET amount = amount + 1 WHERE id < 3; UPDATE items SET name = NULL WHERE id = 1").await;
    case.captured(&[("items", &["1", "2"])]).await;
    case.change("DELETE FROM items WHERE id = 1; INSERT INTO items VALUES (1, 'anew', 7), (6, NULL, 8)").await;
    case.captured(&[("items", &["1", "6"])]).await;
    case.change("UPDATE items SET id = 33, amount = 31 WHERE id = 3").await;
    case.captured(&[("items", &["3", "33"])]).await;
    case.change("DELETE FROM items WHERE id IN (4, 5)").await;
    case.captured(&[("items", &["4", "5"])]).await;
}

/// A row gives way to one of its own key, and another to one of its name.
async fn replaced(kind: Kind) {
    let mut case = recorded(kind).await;
    case.change("REPLACE INTO items VALUES (2, 'four', 5)").await;
    case.captured(&[("items", &["2", "4"])]).await;
}
