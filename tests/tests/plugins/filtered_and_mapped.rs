//! A filter and a mapping at one node: the filter judges shared rows, and what does not belong there is never mapped for it.

use concord::error::DONE;
use concord::sync::{LoadOptions, Verify};
use concord_tests::{As, Cluster, Kind};

concord_tests::clusters! {
    pairs: [
        rows_move_out_and_back, what_the_mapped_node_changes_leaves_it, what_does_not_belong_need_not_be_mapped,
        a_row_stays_where_it_is_until_it_can_be_put, both_become_others_at_once,
    ]
    many: [nodes_of_two_shapes_hold_parts]
    all: []
}

const ITEMS: &str = "SELECT id, note FROM items ORDER BY id";
const WARE: &str = "SELECT nr, vorn, hinten, cents, memo FROM ware ORDER BY nr";

/// Notes that begin with one of these letters belong at the node.
fn part(node: &str, letters: &str) -> String {
    format!(
        "[tables.items.nodes.{node}]
table = \"ware\"
columns = {{ id = \"nr\", price = \"cents\" }}
filter = {{ plugin = \"hostile\", attack = \"begins-{letters}\" }}
mapping = {{ plugin = \"full-name\", name = \"note\", first = \"vorn\", last = \"hinten\", cents = [\"cents\"], own = [\"memo\"] }}
"
    )
}

/// The first node holds all rows, and the others have another shape.
async fn parts(kinds: &[Kind], tables: &str) -> Cluster {
    let mut cluster = Cluster::bare(kinds, |_| String::new(), tables).await;
    for at in 0..kinds.len() {
        let sql = match tables.contains(&format!("nodes.{}]\ntable", concord_tests::NAMES[at])) {
            false => "CREATE TABLE items (id bigint PRIMARY KEY, note text, price numeric(12,3))",
            true => "CREATE TABLE ware (memo text, nr bigint PRIMARY KEY, hinten text, vorn text, cents bigint)",
        };
        cluster.nodes[at].database.user_as(As::Sync).await.execute(sql).await;
    }
    cluster.pin(&["hostile", "full-name"]);
    cluster.install().await;
    cluster
}

/// Syncs until everything is at rest, and compares.
async fn settled(cluster: &mut Cluster) {
    let summary = cluster.sync().await;
    assert_eq!((&summary.away[..], &summary.stopped[..], summary.conflicts), (&[][..], &[][..], 0));
    assert_eq!(cluster.waiting().await, [""; 0]);
    cluster.quiet().await;
    let verified = cluster.session().verify(&Verify::default()).await.expect("a comparison");
    assert_eq!((verified.exit_code(), verified.tables[0].differences), (DONE, 0), "{verified:?}");
}

async fn rows_move_out_and_back(kinds: &[Kind]) {
    let mut cluster = parts(kinds, &part("b", "b")).await;
    cluster.later(0, "INSERT INTO items VALUES (1, 'b one', 1.5), (2, 'a two', 2), (3, 'b', NULL)").await;
    settled(&mut cluster).await;
    cluster.holds_at(1, WARE, &["1|b|one|150|NULL", "3|b|NULL|NULL|NULL"]).await;
    cluster.later(1, "UPDATE ware SET memo = 'mine'").await;
    settled(&mut cluster).await;
    cluster
        .later(0, "UPDATE items SET note = 'b two' WHERE id = 2; UPDATE items SET note = 'a one' WHERE id = 1")
        .await;
    settled(&mut cluster).await;
    cluster.holds_at(1, WARE, &["2|b|two|200|NULL", "3|b|NULL|NULL|mine"]).await;
    cluster.later(0, "UPDATE items SET note = 'b again' WHERE id = 1; DELETE FROM items WHERE id = 3").await;
    settled(&mut cluster).await;
    // What the node alone knew has gone with the row.
    cluster.holds_at(1, WARE, &["1|b|again|150|NULL", "2|b|two|200|NULL"]).await;
}

async fn what_the_mapped_node_changes_leaves_it(kinds: &[Kind]) {
    let mut cluster = parts(kinds, &part("b", "b")).await;
    cluster.later(1, "INSERT INTO ware VALUES ('mine', 1, 'one', 'b', 5), ('mine', 2, 'two', 'b', 6)").await;
    settled(&mut cluster).await;
    cluster.later(1, "UPDATE ware SET vorn = 'a', cents = 7 WHERE nr = 1").await;
    // Nobody else can take it yet.
    cluster.leave(0);
    cluster.sync().await;
    cluster.holds_at(1, WARE, &["1|a|one|7|mine", "2|b|two|6|mine"]).await;
    cluster.back(0);
    settled(&mut cluster).await;
    cluster.holds_at(0, ITEMS, &["1|a one", "2|b two"]).await;
    cluster.holds_at(0, "SELECT id FROM items WHERE price = 0.07", &["1"]).await;
    cluster.holds_at(1, WARE, &["2|b|two|6|mine"]).await;
    // A delete there is one everywhere, as the row belonged there.
    cluster.later(1, "DELETE FROM ware WHERE nr = 2").await;
    settled(&mut cluster).await;
    cluster.holds_at(0, ITEMS, &["1|a one"]).await;
}

async fn what_does_not_belong_need_not_be_mapped(kinds: &[Kind]) {
    let mut cluster = parts(kinds, &part("b", "b")).await;
    cluster.later(0, "INSERT INTO items VALUES (1, 'a one', 0.005), (2, 'b two', 0.005)").await;
    cluster.sync().await;
    assert_eq!(cluster.waiting().await, ["b items [2] mapping"]);
    // What belongs there no more waits there no more.
    cluster.later(0, "UPDATE items SET note = 'a two' WHERE id = 2").await;
    settled(&mut cluster).await;
    cluster.holds_at(1, WARE, &[]).await;
}

async fn a_row_stays_where_it_is_until_it_can_be_put(kinds: &[Kind]) {
    // What begins with c belongs at the first node alone, and what begins with b at the other alone.
    let tables = part("b", "b") + "[tables.items.nodes.a]\nfilter = { plugin = \"hostile\", attack = \"begins-ac\" }\n";
    let mut cluster = parts(kinds, &tables).await;
    cluster.later(0, "INSERT INTO items VALUES (1, 'c one', 0.005), (2, 'c two', 2)").await;
    cluster.sync().await;
    cluster
        .later(0, "UPDATE items SET note = 'b one' WHERE id = 1; UPDATE items SET note = 'b two' WHERE id = 2")
        .await;
    cluster.sync().await;
    // THEN what the other can take has moved, and nobody has given up what it cannot
    cluster.holds_at(0, ITEMS, &["1|b one"]).await;
    cluster.holds_at(1, WARE, &["2|b|two|200|NULL"]).await;
    assert!(cluster.waiting().await.contains(&"b items [1] mapping".to_owned()));
    cluster.later(0, "UPDATE items SET price = 0.5 WHERE id = 1").await;
    settled(&mut cluster).await;
    cluster.holds_at(0, ITEMS, &[]).await;
    cluster.holds_at(1, WARE, &["1|b|one|50|NULL", "2|b|two|200|NULL"]).await;
}

async fn both_become_others_at_once(kinds: &[Kind]) {
    let tables = part("b", "b");
    let mut cluster = parts(kinds, &tables).await;
    cluster.later(0, "INSERT INTO items VALUES (1, 'b one', 1), (2, 'c two', 2), (3, 'b c', 3)").await;
    settled(&mut cluster).await;
    let other = tables.replace("begins-b", "begins-c");
    let other = other.replace("first = \"vorn\", last = \"hinten\"", "first = \"hinten\", last = \"vorn\"");
    cluster.configure(&other);
    assert_eq!(cluster.sync().await.stopped.len(), 1);
    let options = LoadOptions { refilter: true, prefer: Some("a".to_owned()), ..LoadOptions::default() };
    cluster.load(&options).await;
    settled(&mut cluster).await;
    cluster.holds_at(0, ITEMS, &["1|b one", "2|c two", "3|b c"]).await;
    cluster.holds_at(1, WARE, &["2|two|c|200|NULL"]).await;
}

/// A row wanders from part to part, by way of the node that holds all.
async fn nodes_of_two_shapes_hold_parts(kinds: &[Kind]) {
    let tables = concord_tests::NAMES[1..kinds.len()].iter().map(|name| part(name, name)).collect::<String>();
    let mut cluster = parts(kinds, &tables).await;
    cluster.later(0, "INSERT INTO items VALUES (1, 'b one', 1)").await;
    for at in 1..kinds.len() {
        settled(&mut cluster).await;
        for other in 1..kinds.len() {
            let rows = cluster.rows(other, "SELECT nr, cents FROM ware").await;
            assert_eq!(rows, if other == at { vec!["1|100"] } else { vec![] }, "{at}");
        }
        let next = concord_tests::NAMES.get(at + 1).filter(|_| at + 1 < kinds.len()).unwrap_or(&"x");
        cluster.later(at, &format!("UPDATE ware SET vorn = '{next}'")).await;
    }
    settled(&mut cluster).await;
    cluster.holds_at(0, ITEMS, &["1|x one"]).await;
}
