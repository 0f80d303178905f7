//! What `check` tells of values: for each column what becomes of them between each two nodes.

use concord_tests::{Cluster, Kind};

const TABLES: &str = "[tables.t]\nlossy = [\"at\"]\n[tables.u]\n";

/// A column that cannot be carried hides neither the others nor what becomes of it where it could be.
#[tokio::test]
async fn every_column_between_each_two_of_three_nodes() {
    let setup = |_| "CREATE TABLE u (id integer PRIMARY KEY)".to_owned();
    let cluster = Cluster::bare(&[Kind::Postgres; 3], setup, TABLES).await;
    let types = [
        ("smallint", "timestamp(0)", "text"),
        ("integer", "timestamp", "integer"),
        ("integer", "timestamp(0)", "text"),
    ];
    let tables =
        types.map(|(n, at, note)| format!("CREATE TABLE t (id integer PRIMARY KEY, n {n}, at {at}, note {note})"));
    cluster.create(&tables.each_ref().map(String::as_str)).await;
    let concord = cluster.command(TABLES);

    let printed = concord.run(&["check"]).await.expect(2).stdout;
    let start = printed.find("table t:").expect("the table is told");
    let table = printed[start..].split("\n\n").next().unwrap_or_default();
    let differ = |one: &str, its: &str, other: &str, own: &str| {
        format!(
            "`note` at {one} ({its}) holds {its} and `note` at {other} ({own}) holds {own}; give both the same type"
        )
    };
    let (ab, bc) = (differ("b", "integer", "a", "text"), differ("c", "text", "b", "integer"));
    let refused = [("a to b", &ab), ("b to a", &ab), ("b to c", &bc), ("c to b", &bc)]
        .map(|(between, why)| format!("{between}: refused, as {why}"))
        .join("\n                          ");
    let expected = [
        "table t: key (id), conflicts: latest-wins",
        "  column  travels as      between the nodes",
        "  id      integer         exact",
        "  n       integer         b to a: rows wait with numbers outside -32768 to 32767",
        "                          c to a: rows wait with numbers outside -32768 to 32767",
        "                          exact elsewhere",
        "  at      timestamp       b to a: lossy cut to 0 digits of a second",
        "                          b to c: lossy cut to 0 digits of a second",
        "                          exact elsewhere",
    ];
    let last = format!("  note    no shared type  {refused}\n                          exact elsewhere");
    assert_eq!(table, format!("{}\n{last}", expected.join("\n")), "{printed}");

    let told = concord.run(&["check", "--json"]).await.expect(2).json();
    let tables = told["tables"].as_array().expect("a list");
    let names: Vec<_> = tables.iter().filter_map(|table| table["table"].as_str()).collect();
    assert_eq!(names, ["t", "u"], "{told}");
    let fits = tables[0]["fits"].as_array().expect("a list");
    let count = |verdict: &str| fits.iter().filter(|fit| fit["fit"] == verdict).count();
    assert_eq!(["exact", "waits", "lossy", "refused"].map(count), [16, 2, 2, 4], "{told}");
}
