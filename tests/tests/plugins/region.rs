//! The filter among the examples.

use concord_tests::{Cluster, Kind};

const ALL: &str = "SELECT id, name, country FROM customers ORDER BY id";

#[tokio::test]
async fn rows_go_where_they_belong() {
    let setup = |_| {
        "CREATE TABLE customers (id integer PRIMARY KEY, name text, country text);
         INSERT INTO customers VALUES (1, 'Ada', 'DE'), (2, 'Bob', 'AT')"
            .to_owned()
    };
    let tables = "[tables.customers.nodes.b]\nfilter = { plugin = \"region\", column = \"country\", values = [\"DE\", \"AT\"] }\n";
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Sqlite], setup, tables).await;
    cluster.pin(&["region"]);
    cluster.install().await;
    cluster.later(0, "INSERT INTO customers VALUES (3, 'Cid', 'FR'), (4, 'Dan', NULL), (5, 'Eve', 'DE')").await;
    cluster.later(1, "INSERT INTO customers VALUES (6, 'Fay', 'AT')").await;
    cluster.sync().await;
    cluster.holds_at(1, ALL, &["1|Ada|DE", "2|Bob|AT", "5|Eve|DE", "6|Fay|AT"]).await;
    cluster
        .later(0, "UPDATE customers SET country = 'FR' WHERE id = 1; UPDATE customers SET country = 'DE' WHERE id = 3")
        .await;
    cluster.sync().await;
    cluster.holds_at(1, ALL, &["2|Bob|AT", "3|Cid|DE", "5|Eve|DE", "6|Fay|AT"]).await;
    // Who moves a row away at the node itself has it until another node does.
    cluster.later(1, "UPDATE customers SET country = 'FR' WHERE id = 2").await;
    cluster.sync().await;
    cluster.sync().await;
    cluster.holds_at(1, ALL, &["3|Cid|DE", "5|Eve|DE", "6|Fay|AT"]).await;
    let all = ["1|Ada|FR", "2|Bob|FR", "3|Cid|DE", "4|Dan|NULL", "5|Eve|DE", "6|Fay|AT"];
    cluster.holds_at(0, ALL, &all).await;
    cluster.quiet().await;
}
