//! Partitioned tables: the change may be made at the root, at a leaf, or between two leaves.

use super::{Case, refused};
use concord_tests::Kind;

concord_tests::conformance! {
    every: []
    standard: []
    sqlite: []
    postgres: [
        insert_through_the_root, write_to_a_leaf, move_between_leaves, leaf_truncated, root_truncated, two_levels,
        leaf_with_another_column_order, copy_into_a_leaf, a_leaf_alone, a_leaf_that_hides_rows,
    ]
    mariadb: []
}

/// Three leaves by region, with the columns of one in another order.
const SALES: &str = "
    CREATE TABLE sales (region text, id int, amount int, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
    CREATE TABLE sales_north PARTITION OF sales FOR VALUES IN ('north');
    CREATE TABLE sales_south (gone int, amount int, id int NOT NULL, region text NOT NULL, PRIMARY KEY (id, region));
    ALTER TABLE sales_south DROP COLUMN gone;
    ALTER TABLE sales_south DROP CONSTRAINT sales_south_pkey;
    ALTER TABLE sales ATTACH PARTITION sales_south FOR VALUES IN ('south');
    CREATE TABLE sales_rest PARTITION OF sales DEFAULT;
    INSERT INTO sales VALUES ('north', 1, 10), ('north', 2, 20), ('south', 1, 30), ('west', 1, 40)";

async fn insert_through_the_root(kind: Kind) {
    let mut case = Case::new(kind, SALES, &["sales"]).await;
    case.change("INSERT INTO sales VALUES ('south', 5, 1), ('east', 5, 1), ('north', 1, 0) ON CONFLICT (region, id) DO UPDATE SET amount = -1").await;
    case.captured(&[("sales", &["south/5", "east/5", "north/1"])]).await;
}

async fn write_to_a_leaf(kind: Kind) {
    let mut case = Case::new(kind, SALES, &["sales"]).await;
    case.change("INSERT INTO sales_north VALUES ('north', 3, 1); UPDATE sales_north SET amount = 0 WHERE id = 1; DELETE FROM sales_rest").await;
    case.captured(&[("sales", &["north/3", "north/1", "west/1"])]).await;
}

async fn leaf_with_another_column_order(kind: Kind) {
    let mut case = Case::new(kind, SALES, &["sales"]).await;
    case.change("INSERT INTO sales_south (id, region, amount) VALUES (9, 'south', 1); UPDATE sales_south SET id = 77 WHERE id = 1").await;
    case.captured(&[("sales", &["south/9", "south/1", "south/77"])]).await;
}

async fn move_between_leaves(kind: Kind) {
    let mut case = Case::new(kind, SALES, &["sales"]).await;
    case.change("UPDATE sales SET region = 'south' WHERE region = 'north' AND id = 2; UPDATE sales SET region = 'north' WHERE region = 'west' AND id = 9").await;
    case.captured(&[("sales", &["north/2", "south/2"])]).await;
    case.change("UPDATE sales SET region = 'far ' || region WHERE region IN ('north', 'south') AND id = 1").await;
    case.captured(&[("sales", &["north/1", "south/1", "far north/1", "far south/1"])]).await;
}

/// A TRUNCATE of such a leaf would take rows that Concord's role does not see.
async fn a_leaf_that_hides_rows(kind: Kind) {
    let hide = "ALTER TABLE sales_north ENABLE ROW LEVEL SECURITY; ALTER TABLE sales_north FORCE ROW LEVEL SECURITY";
    assert!(refused(kind, &format!("{SALES}; {hide}"), "sales").await);
}

async fn leaf_truncated(kind: Kind) {
    let mut case = Case::new(kind, SALES, &["sales"]).await;
    case.change("TRUNCATE sales_north").await;
    case.captured(&[("sales", &["north/1", "north/2"])]).await;
    case.change("TRUNCATE sales_south, sales_rest").await;
    case.captured(&[("sales", &["south/1", "west/1"])]).await;
}

async fn root_truncated(kind: Kind) {
    let mut case = Case::new(kind, SALES, &["sales"]).await;
    case.change("TRUNCATE sales").await;
    case.captured(&[("sales", &["north/1", "north/2", "south/1", "west/1"])]).await;
}

async fn two_levels(kind: Kind) {
    let setup = "
        CREATE TABLE log (year int, month int, id int, note text, PRIMARY KEY (year, month, id)) PARTITION BY LIST (year);
        CREATE TABLE log_2024 PARTITION OF log FOR VALUES IN (2024) PARTITION BY RANGE (month);
        CREATE TABLE log_2024_1 PARTITION OF log_2024 FOR VALUES FROM (1) TO (7);
        CREATE TABLE log_2024_2 PARTITION OF log_2024 FOR VALUES FROM (7) TO (13);
        CREATE TABLE log_2025 PARTITION OF log FOR VALUES IN (2025);
        INSERT INTO log VALUES (2024, 1, 1, 'a'), (2024, 8, 1, 'b'), (2025, 1, 1, 'c')";
    let mut case = Case::new(kind, setup, &["log"]).await;
    case.change("UPDATE log SET note = note || '!'").await;
    case.captured(&[("log", &["2024/1/1", "2024/8/1", "2025/1/1"])]).await;
    case.change("UPDATE log_2024 SET month = 9 WHERE month = 1").await;
    case.captured(&[("log", &["2024/1/1", "2024/9/1"])]).await;
    case.change(
        "INSERT INTO log_2024_1 VALUES (2024, 2, 2, 'leaf'); INSERT INTO log_2024 VALUES (2024, 3, 3, 'branch')",
    )
    .await;
    case.captured(&[("log", &["2024/2/2", "2024/3/3"])]).await;
    case.change("TRUNCATE log_2024").await;
    case.captured(&[("log", &["2024/2/2", "2024/3/3", "2024/8/1", "2024/9/1"])]).await;
}

async fn copy_into_a_leaf(kind: Kind) {
    let mut case = Case::new(kind, SALES, &["sales"]).await;
    case.user.copy_in("COPY sales_north FROM STDIN", "north\t8\t1\n").await;
    case.user.copy_in("COPY sales FROM STDIN", "south\t8\t1\neast\t8\t1\n").await;
    case.captured(&[("sales", &["north/8", "south/8", "east/8"])]).await;
}

/// A leaf that is synced by itself is refused, or what is written to it by way of the root is captured.
async fn a_leaf_alone(kind: Kind) {
    if refused(kind, SALES, "sales_north").await {
        return;
    }
    let mut case = Case::new(kind, SALES, &["sales_north"]).await;
    case.change("UPDATE sales SET amount = 0 WHERE id = 1; TRUNCATE sales").await;
    case.captured(&[("sales_north", &["north/1", "north/2"])]).await;
}
