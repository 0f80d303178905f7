//! The command: what it prints, its document, its exit codes.

use concord_tests::{As, Concord, Database, Kind};

/// Two files that differ in the rows 2 and 3, without a change that would be on its way.
async fn differing() -> (Concord, [Database; 2]) {
    let databases = [Database::new(Kind::Sqlite).await, Database::new(Kind::Sqlite).await];
    for (at, database) in databases.iter().enumerate() {
        let sql =
            "CREATE TABLE items (id integer PRIMARY KEY, name text); INSERT INTO items VALUES (1, 'one'), (2, 'two')";
        let mut owner = database.user_as(As::Sync).await;
        owner.execute(sql).await;
        if at == 1 {
            owner.execute("UPDATE items SET name = 'two ' WHERE id = 2; INSERT INTO items VALUES (3, NULL)").await;
        }
    }
    let nodes =
        format!("[nodes.office]\nurl = \"{}\"\n[nodes.branch]\nurl = \"{}\"\n", databases[0].url(), databases[1].url());
    let concord = Concord::new(&format!("name = \"shop\"\n{nodes}[tables.items]\n"));
    concord.run(&["install"]).await.ok();
    (concord, databases)
}

#[tokio::test]
async fn tells_what_differs() {
    let (concord, databases) = differing().await;
    let output = concord.run(&["verify"]).await.expect(1);
    for part in [
        "items: 2 rows differ\n",
        "  node    rows  missing  extra  differing  unreadable\n",
        "  office     2        1      0          1           0\n",
        "  branch     3        0      0          1           0\n",
        "  [2] name: branch \"two \", office \"two\"\n",
        "  [3] missing at office\n",
    ] {
        assert!(output.stdout.contains(part), "no {part:?} in\n{}", output.stdout);
    }
    let document = concord.run(&["verify", "--json"]).await.expect(1).json();
    let table = &document["tables"][0];
    assert_eq!((&table["table"], &table["differences"]), (&"items".into(), &2.into()));
    let of = |id: i64| table["examples"].as_array().unwrap().iter().find(|one| one["key"][0] == id).unwrap();
    assert_eq!(of(2)["columns"]["name"], serde_json::json!({ "branch": "two ", "office": "two" }));
    assert_eq!(of(3)["nodes"], serde_json::json!({ "office": "missing" }));
    let one = concord.run(&["verify", "--limit", "1"]).await.expect(1);
    assert!(one.stdout.contains("… and 1 more"), "{}", one.stdout);
    let all = concord.run(&["verify", "--limit", "0"]).await.expect(1);
    assert!(all.says("  [2] name") && all.says("  [3] missing"), "{}", all.stdout);
    // Nothing is looked at beyond the limit, and that is said.
    let few = concord.run(&["verify", "--narrow", "1", "--json"]).await.expect(1).json();
    let table = &few["tables"][0];
    // Of the row 2 there is one at each node.
    let left = table["not_narrowed"].as_u64().unwrap();
    assert!(table["differences"] == 1 && (1..=2).contains(&left), "{few:#}");
    concord.run(&["verify", "--table", "itmes"]).await.expect(2);
    concord.run(&["verify", "--repair", "--prefer", "offce"]).await.expect(2);
    concord.run(&["verify", "--prefer", "office"]).await.expect(2);
    concord.run(&["verify", "--plan", "none.jsonl"]).await.expect(2);
    drop(databases);
}

#[tokio::test]
async fn mends_at_once_and_by_a_plan() {
    let (concord, databases) = differing().await;
    let planned = concord.run(&["verify", "--repair", "--prefer", "office", "--out", "plan.jsonl"]).await.expect(1);
    assert!(planned.says("concord verify --plan plan.jsonl"), "{}", planned.stdout);
    concord.run(&["verify"]).await.expect(1);
    let done = concord.run(&["verify", "--plan", "plan.jsonl"]).await.ok();
    assert!(done.says("2 rows are mended"), "{}", done.stdout);
    let clean = concord.run(&["verify"]).await.ok();
    assert!(clean.says("items: no differences"), "{}", clean.stdout);
    let again = concord.run(&["verify", "--plan", "plan.jsonl"]).await.expect(1);
    assert!(again.says("2 rows were changed or held in the meantime"), "{}", again.stdout);
    let (concord, others) = differing().await;
    let left = concord.run(&["verify", "--repair"]).await.expect(1);
    assert!(left.says("1 row is mended") && left.says("nothing tells whose row is right"), "{}", left.stdout);
    concord.run(&["verify", "--repair", "--prefer", "branch"]).await.ok();
    concord.run(&["verify"]).await.ok();
    drop((databases, others));
}
