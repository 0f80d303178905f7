//! The filter `cel`: which rows move, what it refuses, and what it costs; and the mapping: what rows become, and what waits.

use std::sync::Arc;

use concord::model::{Decimal, Json, Row, Type, Value};
use concord::plugin::{Failure, Filter, Limits, Plugin, Shape, ShapeColumn};
use concord_tests::{Cluster, Kind};

use super::reshape::between;
use super::{facts, load};

const ALL: &str = "SELECT id, country, total FROM orders ORDER BY id";

#[tokio::test]
async fn rows_come_in_and_go_out_and_one_that_fails_waits() {
    let setup = |_| {
        "CREATE TABLE orders (id integer PRIMARY KEY, country text, total numeric(10, 2));
         INSERT INTO orders VALUES (1, 'DE', 200), (2, 'DE', 150.5)"
            .to_owned()
    };
    let tables =
        "[tables.orders.nodes.b]\nfilter = { plugin = \"cel\", keep = \"row.country == 'DE' && row.total > 100\" }\n";
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Sqlite], setup, tables).await;
    cluster.pin(&["cel"]);
    cluster.install().await;
    cluster.later(0, "INSERT INTO orders VALUES (3, 'DE', 100), (4, 'DE', 100.01), (5, 'FR', 500)").await;
    cluster.sync().await;
    cluster.holds_at(1, ALL, &["1|DE|200", "2|DE|150.5", "4|DE|100.01"]).await;
    cluster
        .later(0, "UPDATE orders SET total = 99.99 WHERE id = 1; UPDATE orders SET country = 'DE' WHERE id = 5")
        .await;
    cluster.sync().await;
    cluster.holds_at(1, ALL, &["2|DE|150.5", "4|DE|100.01", "5|DE|500"]).await;
    cluster.quiet().await;
    // What fails waits, and its neighbours go on.
    cluster
        .later(0, "UPDATE orders SET total = NULL WHERE id = 2; UPDATE orders SET total = 7 WHERE id = 4; UPDATE orders SET total = 101 WHERE id = 1")
        .await;
    assert_eq!(cluster.sync().await.waiting, 1);
    cluster.holds_at(1, ALL, &["1|DE|101", "2|DE|150.5", "5|DE|500"]).await;
    let told = "plugin `cel`, filter of `orders`, judge: `keep` cannot do `>` with null_type and int (kind); \
        `total` is NULL here; ask `row.total != null && …` first";
    assert_eq!(cluster.reasons("b").await, [told]);
    cluster.later(0, "UPDATE orders SET total = 5 WHERE id = 2").await;
    assert_eq!(cluster.sync().await.waiting, 0);
    cluster.holds_at(1, ALL, &["1|DE|101", "5|DE|500"]).await;
    cluster.quiet().await;
}

/// A column may be in the file before `install` has seen it, as where a sync runs now and then by itself.
#[tokio::test]
async fn a_column_that_came_since_is_told_with_what_to_do() {
    let setup = |_| "CREATE TABLE orders (id integer PRIMARY KEY, total numeric(10, 2))".to_owned();
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Sqlite], setup, "[tables.orders]\n").await;
    cluster.pin(&["cel"]);
    for at in 0..2 {
        cluster.run_as_owner(at, "ALTER TABLE orders ADD COLUMN country text").await;
    }
    cluster.configure("[tables.orders.nodes.b]\nfilter = { plugin = \"cel\", keep = \"row.country == 'DE'\" }\n");
    let refused = cluster.session().sync().await.expect_err("nothing tells of that column yet").to_string();
    assert!(refused.contains("country") && refused.contains("run `concord install`"), "{refused}");
    // That a plugin cannot be had at all is another matter.
    cluster.pin(&[]);
    let refused = cluster.session().sync().await.expect_err("nobody has pinned it").to_string();
    assert!(!refused.contains("concord install"), "{refused}");
}

const MAPPED: &str = r#"[tables.people.nodes.b]
table = "kunden"

[tables.people.nodes.b.mapping]
plugin = "cel"
own = ["memo"]

[tables.people.nodes.b.mapping.shared]
id = { is = "row.nr" }
name = { kind = "text", is = "row.first + ' ' + row.last" }
discount = { kind = "decimal", is = "row.percent == null ? null : row.percent * 0.01" }
active = { kind = "boolean", is = "row.state > 0" }

[tables.people.nodes.b.mapping.local]
nr = "row.id"
first = "row.name.split(' ', 2)[0]"
last = "row.name.split(' ', 2)[1]"
percent = "row.discount == null ? null : row.discount * 100"
state = "row.active ? (current.state != null && current.state > 0 ? current.state : 1) : 0"
"#;

async fn expressions_make_rows_both_ways(kinds: &[Kind]) {
    let mut cluster = Cluster::bare(kinds, |_| String::new(), MAPPED).await;
    let tables = [
        "CREATE TABLE people (id bigint PRIMARY KEY, name varchar(80), discount numeric(8,5), active boolean)",
        "CREATE TABLE kunden (nr bigint PRIMARY KEY, first varchar(40), last varchar(40), percent numeric(6,2), state bigint, memo varchar(20))",
    ];
    cluster.create(&tables).await;
    cluster.pin(&["cel"]);
    cluster.install().await;
    cluster.later(0, "INSERT INTO people VALUES (1, 'Bob van Loon', 0.125, true)").await;
    cluster.later(1, "INSERT INTO kunden VALUES (2, 'Mary Ann', 'Evans', NULL, 7, 'ours')").await;
    cluster.sync().await;
    let kunden = "SELECT nr, first, last, state, memo FROM kunden ORDER BY nr";
    cluster.holds_at(1, kunden, &["1|Bob|van Loon|1|NULL", "2|Mary Ann|Evans|7|ours"]).await;
    cluster.holds_at(1, "SELECT nr FROM kunden WHERE percent = 12.5", &["1"]).await;
    cluster
        .holds_at(0, "SELECT id, name FROM people WHERE active ORDER BY id", &["1|Bob van Loon", "2|Mary Ann Evans"])
        .await;
    cluster.later(0, "UPDATE people SET discount = 0.05 WHERE id = 2").await;
    cluster.sync().await;
    cluster.holds_at(1, kunden, &["1|Bob|van Loon|1|NULL", "2|Mary Ann|Evans|7|ours"]).await;
    cluster.holds_at(1, "SELECT nr FROM kunden WHERE percent = 5", &["2"]).await;
    cluster.quiet().await;
    // What comes to nothing waits, on either side, and its neighbours go on.
    cluster.later(0, "UPDATE people SET name = 'Cher' WHERE id = 1").await;
    cluster.later(1, "UPDATE kunden SET last = NULL WHERE nr = 2").await;
    cluster.later(1, "INSERT INTO kunden VALUES (3, 'Eve', 'B', 1, 0, NULL)").await;
    cluster.sync().await;
    cluster.holds_at(0, "SELECT id, name FROM people WHERE NOT active", &["3|Eve B"]).await;
    assert_eq!(cluster.waiting().await, ["a people [2] unreadable", "b people [1] mapping"]);
    let told =
        "plugin `cel`, mapping of `people`, to-local: `local.last` asks for an element that is not there (no-such-key)";
    assert_eq!(cluster.reasons("b").await, [told]);
    cluster.later(0, "UPDATE people SET name = 'Cher ' WHERE id = 1").await;
    cluster.later(1, "UPDATE kunden SET last = '' WHERE nr = 2").await;
    assert_eq!(cluster.sync().await.waiting, 0);
    cluster.holds_at(1, "SELECT first FROM kunden WHERE last = '' ORDER BY nr", &["Cher", "Mary Ann"]).await;
    cluster.quiet().await;
}

between! {
    [expressions_make_rows_both_ways]
    postgres_mariadb: [Postgres, Mariadb];
    mariadb_postgres: [Mariadb, Postgres];
}

fn orders() -> Shape {
    let columns = [
        ("id", Type::Int),
        ("country", Type::Text),
        ("total", Type::Decimal),
        ("made", Type::Instant),
        ("doc", Type::Json),
    ];
    let columns = columns.map(|(name, ty)| ShapeColumn { name: name.to_owned(), ty });
    Shape { name: "orders".to_owned(), columns: columns.into(), key: vec![0] }
}

fn cel() -> Arc<Plugin> {
    Arc::new(load("cel", Limits::default()).expect("the plugin"))
}

fn open(cel: &Arc<Plugin>, keep: &str) -> Result<Filter, Failure> {
    let config = serde_json::json!({ "keep": keep }).to_string();
    Filter::open(cel.clone(), orders(), &config, &facts())
}

#[test]
fn what_cannot_be_is_refused_before_any_row() {
    let cel = cel();
    let said = |keep: &str| open(&cel, keep).expect_err(keep).to_string();
    let told = said("row.country == 'DE' &&");
    assert!(told.contains("open: `keep` cannot be read at line 1, column 23: "), "{told}");
    assert_eq!(
        said("row.contry == 'DE'"),
        "plugin `cel`, filter of `orders`, open: `contry`: `orders` has no such column (unknown-column); \
         it has: id, country, total, made, doc"
    );
    let told = said(&format!("{}true{}", "(".repeat(5_000), ")".repeat(5_000)));
    assert!(told.contains("Recursion limit of 96 exceeded"), "{told}");
    let told = said("");
    assert!(told.contains("its configuration does not fit: `keep`"), "{told}");
}

#[test]
fn the_stack_holds_as_deep_as_an_expression_goes() {
    let cel = cel();
    let nested = |levels: usize| format!("{}row.id{} > 0", "(1 + ".repeat(levels), ")".repeat(levels));
    let most = (1..200).rev().find(|&levels| open(&cel, &nested(levels)).is_ok()).expect("one");
    assert!(most > 20, "{most}");
    let filter = open(&cel, &nested(most)).expect("a filter");
    let row: Row = vec![Value::Int(1), Value::Null, Value::Null, Value::Null, Value::Null].into();
    assert_eq!(filter.judge(&[&row]), [Ok(true)], "{most} levels");
}

/// A load asks about all rows of a table.
#[test]
fn many_rows_stay_far_within_the_limits() {
    let row = |id: i64| -> Row {
        vec![
            Value::Int(id),
            Value::text(if id % 2 == 0 { "DE" } else { "FR" }),
            Value::Decimal(Decimal::parse("1234.50").expect("a number")),
            Value::Instant(1_720_000_000_000_000),
            Value::Json(Json::new(r#"{"tags": ["x", "y", "abc"], "n": 1}"#)),
        ]
        .into()
    };
    let cel = cel();
    let rows: Vec<Row> = (0..50_000).map(row).collect();
    let rows: Vec<&Row> = rows.iter().collect();
    for keep in [
        "row.id % 2 == 0",
        "row.country.matches('^D\\\\w+$')",
        "row.country == 'DE' && row.total > 100",
        "row.country in ['DE', 'AT', 'CH'] && row.total > 100.5 && row.made >= timestamp('2024-01-01T00:00:00Z')
            && has(row.doc.tags) && row.doc.tags.exists(tag, tag.startsWith('a'))",
    ] {
        let filter = open(&cel, keep).expect(keep);
        let answers = filter.judge(&rows);
        assert!(answers.iter().enumerate().all(|(at, answer)| *answer == Ok(at % 2 == 0)), "{keep}");
        let spent = filter.spent();
        let (fuel, time) = (spent.fuel / 50_000, spent.time / 50_000);
        println!("{fuel} of fuel and {time:?} for a row, {} KiB: {keep}", spent.memory >> 10);
        assert!(fuel < 80_000 && spent.memory < 32 << 20, "{keep}: {spent:?}");
    }
}
