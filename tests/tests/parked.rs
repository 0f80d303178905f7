//! `concord parked`: what it says of rows that wait where not everybody is there and where a table stands still.

use concord_tests::{As, Concord, Database, Kind, Output};

const NODES: [&str; 3] = ["a", "b", "c"];

/// Three nodes, of which `a` takes no large amounts.
async fn nodes() -> (Vec<Database>, Concord) {
    let mut config = "name = \"parked\"\n".to_owned();
    let mut databases = Vec::new();
    for (name, check) in NODES.iter().zip(["CHECK (amount < 100)", "", ""]) {
        let database = Database::new(Kind::Sqlite).await;
        let setup = format!(
            "CREATE TABLE items (id integer PRIMARY KEY, name text, amount integer {check}); INSERT INTO items VALUES (1, 'one', 1)"
        );
        database.user_as(As::Sync).await.execute(&setup).await;
        config += &format!("[nodes.{name}]\nurl = \"${{NODE_{name}}}\"\n");
        databases.push(database);
    }
    let mut concord = Concord::new(&format!("{config}[tables.items]\nconflict = \"park\"\n"));
    for (name, database) in NODES.iter().zip(&databases) {
        concord.env(&format!("NODE_{name}"), &database.url());
    }
    concord.run(&["install"]).await.ok();
    (databases, concord)
}

async fn said(concord: &Concord, arguments: &[&str], code: i32, part: &str) -> Output {
    let output = concord.run(arguments).await.expect(code);
    assert!(output.says(part), "{arguments:?} does not say {part:?}: {output:?}");
    output
}

/// Another may help only where a chosen node could not be looked at.
#[tokio::test]
async fn nothing_is_chosen_beside_a_node_that_is_away() {
    let (_databases, mut concord) = nodes().await;
    let drop = |node: &'static str| vec!["parked", "drop", "--yes", "--table", "items", "--key", "[7]", "--node", node];
    concord.env("NODE_c", "sqlite:/nowhere/c.db");
    said(&concord, &drop("c"), 3, "node `c`").await;
    said(&concord, &drop("c")[..7], 3, "node `c`").await;
    let output = said(&concord, &drop("a"), 2, "no row that waits was chosen").await;
    assert!(!output.says("node `c`"), "{output:?}");
    // To try again does not help where Concord is not installed.
    let other = Database::new(Kind::Sqlite).await;
    concord.env("NODE_c", &other.url());
    let output = said(&concord, &drop("c"), 2, "no row that waits was chosen").await;
    assert!(output.says("node `c` is left out"), "{output:?}");
}

#[tokio::test]
async fn a_table_that_stands_still_keeps_what_waits() {
    let (databases, concord) = nodes().await;
    databases[1].user().await.execute("INSERT INTO items VALUES (9, 'large', 500)").await;
    for (database, sql) in databases.iter().zip(["DELETE FROM items", "UPDATE items SET amount = 2"]) {
        database.user().await.execute(&format!("{sql} WHERE id = 1")).await;
    }
    concord.run(&["sync"]).await.expect(1);
    let list = said(&concord, &["parked", "list"], 0, "no row").await;
    assert!(list.says("write") && !list.says("delete"), "{list:?}");
    // WHEN the table is no longer what `install` left
    let mut owner = databases[0].user_as(As::Sync).await;
    let trigger = "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'items' ORDER BY name LIMIT 1";
    let trigger = owner.cell(trigger).await;
    owner.execute(&format!("DROP TRIGGER \"{trigger}\"")).await;
    // THEN nothing of it is given up, and the reason is told
    let why = "table `items` stands still: at a";
    said(&concord, &["parked", "list"], 1, why).await;
    said(&concord, &["parked", "drop", "--yes"], 1, why).await;
    said(&concord, &["parked", "drop", "--yes", "--table", "items", "--key", "[7]"], 1, why).await;
    concord.run(&["install"]).await.ok();
    said(&concord, &["parked", "drop", "--yes", "--node", "a", "--table", "items", "--key", "[9]"], 0, "1 version")
        .await;
}

/// GIVEN a row that waits in a table that changed since
/// WHEN it is tried again
/// THEN nobody says that nothing waits, as nobody could look.
#[tokio::test]
async fn what_waits_in_a_table_that_stands_still_is_not_told_as_gone() {
    let (databases, concord) = nodes().await;
    databases[1].user().await.execute("INSERT INTO items VALUES (9, 'large', 500)").await;
    concord.run(&["sync"]).await.expect(1);
    databases[0].user_as(As::Sync).await.execute("ALTER TABLE items ADD COLUMN more text").await;
    let retried = said(&concord, &["parked", "retry"], 1, "no rows wait in the tables that go on").await;
    assert!(retried.says("1 row waits for a person; see: concord parked list"), "{retried:?}");
    assert!(retried.says("table `items` stands still") && !retried.says("any more"), "{retried:?}");
}

/// Each side would count as the latest change, and none of them has seen the other.
#[tokio::test]
async fn a_conflict_is_decided_for_one_node() {
    let (databases, concord) = nodes().await;
    for (database, name) in databases.iter().zip(["here", "there"]) {
        database.user().await.execute(&format!("UPDATE items SET name = '{name}' WHERE id = 1")).await;
    }
    concord.run(&["sync"]).await.expect(1);
    let drop = ["parked", "drop", "--yes", "--table", "items", "--key", "[1]", "--node", "a"];
    let refused = said(&concord, &drop[..7], 2, "say at which node the row is right: --node").await;
    assert!(refused.says("[1] of `items` waits at a, b"), "{refused:?}");
    said(&concord, &drop, 0, "1 version given up").await;
    concord.run(&["sync"]).await.ok();
    for database in &databases {
        assert_eq!(database.user().await.cell("SELECT name FROM items").await, "here");
    }
}

/// Rows that wait may be many and large, so nobody reads them who is not asked for them; but they are not lost.
#[tokio::test]
async fn what_waits_is_read_where_it_is_asked_for() {
    let (databases, concord) = nodes().await;
    databases[1].user().await.execute("INSERT INTO items VALUES (9, 'large', 500)").await;
    concord.run(&["sync"]).await.expect(1);
    let list = said(&concord, &["parked", "list"], 0, "write").await;
    assert!(!list.says("large"), "{list:?}");
    said(&concord, &["parked", "list", "--json"], 0, "large").await;
    said(&concord, &["why", "items", "9"], 1, "large").await;
    // WHEN it is tried again, and given up
    concord.run(&["parked", "retry"]).await.expect(1);
    said(&concord, &["parked", "drop", "--yes", "--node", "a"], 0, "1 version given up").await;
    // THEN the journal has it
    let lost = databases[0].user_as(As::Sync).await.cell("SELECT loser_row FROM concord_journal").await;
    assert!(lost.contains("\"large\"") && lost.contains("500"), "{lost}");
}
