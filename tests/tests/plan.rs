//! `concord plan` writes nothing and says what a sync does; `sync --plan` does what it says.

use concord::sync::{Carriage, Plan, PlanFile, WhyState, Wish};
use concord_tests::{Cluster, Kind, NAMES};
use serde_json::json;

const ITEMS: &str =
    "CREATE TABLE items (id integer PRIMARY KEY, name text, amount integer NOT NULL DEFAULT 0 CHECK (amount < 1000));
                     INSERT INTO items VALUES (1, 'one', 10), (2, 'two', 20), (3, 'three', 30)";

const ALL: &str = "SELECT * FROM items ORDER BY id";

concord_tests::clusters! {
    pairs: [
        every_change_is_planned, a_row_that_waits_is_told, values_survive_the_file, what_users_make_of_rows_at_a_target_is_left,
    ]
    many: [whoever_is_away_is_left_for_later]
    all: [a_plan_comes_true, rows_that_moved_on_are_left]
}

concord_tests::clusters! {
    mariadb: [every_change_is_planned, a_plan_comes_true, what_users_make_of_rows_at_a_target_is_left]
}

async fn items(kinds: &[Kind]) -> Cluster {
    Cluster::new(kinds, |_| ITEMS.to_owned(), "[tables.items]\n").await
}

/// Plans, and finds that nothing was written anywhere.
async fn plan(cluster: &mut Cluster) -> (Plan, PlanFile) {
    let before = cluster.imprints().await;
    let wish = Wish { table: None, limit: 0, file: true };
    let (plan, file) = Box::pin(cluster.session().plan(&wish)).await.expect("a plan");
    assert_eq!(cluster.imprints().await, before);
    let path = cluster.file("test.plan");
    std::fs::write(&path, file.expect("it was asked for")).expect("the folder is ours");
    (plan, PlanFile::read(&path).expect("it is as it was written"))
}

async fn carry_out(cluster: &Cluster, file: &PlanFile) -> Carriage {
    Box::pin(cluster.session().carry_out(file)).await.expect("the plan fits")
}

async fn every_change_is_planned(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    cluster.run(0, "INSERT INTO items VALUES (4, 'four', 40); UPDATE items SET amount = 11 WHERE id = 1").await;
    cluster.run(0, "DELETE FROM items WHERE id = 2").await;
    cluster.later(0, "UPDATE items SET name = 'early' WHERE id = 3").await;
    cluster.later(1, "UPDATE items SET name = 'late' WHERE id = 3").await;
    let (plan, _) = plan(&mut cluster).await;
    let rows: Vec<String> = plan
        .rows
        .iter()
        .map(|row| format!("{} {} {:?} {} {}", row.node, row.key, row.change, row.columns.join(","), row.from))
        .collect();
    let mut sorted = rows.clone();
    sorted.sort();
    let expected =
        ["a [3] Update name b", "b [1] Update amount a", "b [2] Delete  a", "b [4] Insert  a"].map(str::to_owned);
    assert_eq!(sorted, expected);
    let update = plan.rows.iter().find(|row| row.key == json!([1])).expect("it is planned");
    assert_eq!(update.before, Some(json!({"id": 1, "name": "one", "amount": 10})));
    assert_eq!(update.after, Some(json!({"id": 1, "name": "one", "amount": 11})));
    let [conflict] = &plan.conflicts[..] else { panic!("{:?}", plan.conflicts) };
    assert_eq!((conflict.winner.as_deref(), conflict.versions.len()), (Some("b"), 2));
    assert!(conflict.reason.starts_with("latest-wins: b ("), "{}", conflict.reason);
    assert_eq!(plan.exit_code(), 0);
    // The journal calls it the same.
    assert_eq!(cluster.settle().await.conflicts, 1);
    assert_eq!(cluster.session().conflicts(0).await.expect("a journal")[0].id, conflict.id);
    cluster.holds(ALL, &["1|one|11", "3|late|30", "4|four|40"]).await;
}

/// Everywhere something, among it conflicts of all.
async fn a_plan_comes_true(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    for (at, name) in NAMES.iter().enumerate().take(kinds.len()) {
        let id = 10 + at;
        cluster
            .later(
                at,
                &format!(
                    "INSERT INTO items VALUES ({id}, '{name}', {id}); UPDATE items SET name = '{name}' WHERE id = 1"
                ),
            )
            .await;
    }
    cluster.later(0, "DELETE FROM items WHERE id = 2; UPDATE items SET id = 30 WHERE id = 3").await;
    let (plan, file) = plan(&mut cluster).await;
    let done = carry_out(&cluster, &file).await;
    assert_eq!((done.exit_code(), done.left, done.moved_on.len()), (0, 0, 0), "{done:?}");
    let written: u64 = done.nodes.iter().map(|node| node.written + node.deleted).sum();
    assert_eq!(written, plan.counts.iter().map(|counts| counts.all()).sum::<u64>());
    cluster.same().await;
    let winner = NAMES[kinds.len() - 1];
    cluster.holds("SELECT name FROM items WHERE id = 1", &[winner]).await;
    // A plan is good for once.
    let error = Box::pin(cluster.session().carry_out(&file)).await.expect_err("it is out of date");
    assert!(error.to_string().contains("were carried"), "{error}");
    assert_eq!(error.exit_code(), 2);
    assert_eq!(cluster.sync().await.nodes, []);
    cluster.settle().await;
}

async fn rows_that_moved_on_are_left(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    let last = kinds.len() - 1;
    cluster
        .later(0, "UPDATE items SET name = 'early' WHERE id = 1; UPDATE items SET name = 'plain' WHERE id = 2")
        .await;
    cluster.later(last, "UPDATE items SET name = 'late' WHERE id = 1").await;
    cluster.later(0, "UPDATE items SET name = 'third' WHERE id = 3").await;
    let (_, file) = plan(&mut cluster).await;
    // The winner of the conflict is changed again, and where another row was to be written a user writes it.
    cluster
        .later(last, "UPDATE items SET name = 'later' WHERE id = 1; UPDATE items SET amount = 31 WHERE id = 3")
        .await;
    let done = carry_out(&cluster, &file).await;
    let moved: Vec<String> =
        done.moved_on.iter().map(|row| format!("{} {}", row.key, row.changed_at.join(","))).collect();
    assert_eq!(moved, [format!("[1] {}", NAMES[last]), format!("[3] {}", NAMES[last])], "{done:?}");
    assert_eq!(done.exit_code(), 1);
    cluster.holds_at(last, ALL, &["1|later|10", "2|plain|20", "3|three|31"]).await;
    cluster.holds_at(0, ALL, &["1|early|10", "2|plain|20", "3|third|30"]).await;
    cluster.settle().await;
    cluster.holds(ALL, &["1|later|10", "2|plain|20", "3|three|31"]).await;
    // What lost is in the journal, also what lost in the plan.
    let journal = cluster.session().conflicts(0).await.expect("a journal");
    let lost: Vec<String> =
        journal.iter().filter_map(|one| Some(one.loser_row.as_ref()?["name"].to_string())).collect();
    assert!(lost.contains(&"\"early\"".to_owned()) && lost.contains(&"\"third\"".to_owned()), "{lost:?}");
}

/// The table goes one way, so nothing records what users do at the node that only takes it.
async fn what_users_make_of_rows_at_a_target_is_left(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, |_| ITEMS.to_owned(), "[tables.items]\nfrom = \"a\"\n").await;
    let change = "UPDATE items SET amount = amount + 1 WHERE id = 1; DELETE FROM items WHERE id = 2";
    cluster.run(0, &format!("{change}; UPDATE items SET name = 'new' WHERE id = 3")).await;
    cluster.run(0, "INSERT INTO items VALUES (4, 'four', 40), (5, 'five', 50), (6, 'six', 60)").await;
    let (_, file) = plan(&mut cluster).await;
    cluster.run(1, "UPDATE items SET amount = 12 WHERE id = 1; UPDATE items SET amount = 21 WHERE id = 2").await;
    cluster.run(1, "INSERT INTO items VALUES (4, 'mine', 1)").await;
    let mut session = cluster.session();
    // Two more at the last moment.
    let done = cluster
        .during("plan-checked", session.carry_out(&file), async |cluster| {
            cluster.run(1, "UPDATE items SET amount = 31 WHERE id = 3; INSERT INTO items VALUES (5, 'mine', 1)").await;
        })
        .await
        .expect("the plan fits");
    let moved: Vec<String> =
        done.moved_on.iter().map(|row| format!("{} {}", row.key, row.changed_at.join(","))).collect();
    assert_eq!(moved, ["[1] b", "[2] b", "[4] b"], "{done:?}");
    assert_eq!((done.left, done.exit_code()), (5, 1), "{done:?}");
    let left = ["1|one|12", "2|two|21", "3|three|31", "4|mine|1", "5|mine|1", "6|six|60"];
    cluster.holds_at(1, ALL, &left).await;
    // The next sync brings what the source has, as ever.
    cluster.sync().await;
    cluster.holds(ALL, &["1|one|11", "3|new|30", "4|four|40", "5|five|50", "6|six|60"]).await;
}

/// What a constraint refuses shows when it is tried; what waits is told with its reason from then on.
async fn a_row_that_waits_is_told(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    let refusing = if kinds[1] == Kind::Postgres {
        "ALTER TABLE items ADD CHECK (name <> 'bad')"
    } else {
        "CREATE UNIQUE INDEX names ON items (name); INSERT INTO items VALUES (9, 'bad', 0)"
    };
    let owner = cluster.nodes[1].database.user_as(concord_tests::As::Sync);
    owner.await.execute(refusing).await;
    cluster.install().await;
    cluster.sync().await;
    cluster.run(0, "UPDATE items SET name = 'bad' WHERE id = 1").await;
    let (first, file) = plan(&mut cluster).await;
    assert_eq!((first.exit_code(), first.rows.len()), (0, 1), "{first:?}");
    let done = carry_out(&cluster, &file).await;
    assert_eq!((done.exit_code(), done.waiting), (1, 1), "{done:?}");
    let (then, _) = plan(&mut cluster).await;
    assert_eq!((then.exit_code(), then.counts[0].retry), (1, 1), "{then:?}");
    assert!(then.rows[0].reason.as_ref().is_some_and(|why| why.contains("has waited")), "{then:?}");
}

/// Values that text and numbers of JSON are too narrow for.
async fn values_survive_the_file(kinds: &[Kind]) {
    let same = kinds[0] == kinds[1];
    let more = if same { ", price numeric(20, 4), at timestamptz, day date" } else { "" };
    let setup = |kind: Kind| {
        let (raw, ratio) = match kind {
            Kind::Postgres => ("bytea", "double precision"),
            Kind::Sqlite => ("blob", "real"),
            Kind::Mariadb => ("blob", "double"),
        };
        format!(
            "CREATE TABLE things (id bigint, part varchar(99) NOT NULL, raw {raw}, ratio {ratio}{more}, PRIMARY KEY (part, id))"
        )
    };
    let mut cluster = Cluster::new(kinds, setup, "[tables.things]\n").await;
    let raw = |kind: Kind, hex: &str| match kind {
        Kind::Postgres => format!("'\\x{hex}'::bytea"),
        Kind::Sqlite | Kind::Mariadb => format!("x'{hex}'"),
    };
    let sql = format!(
        "INSERT INTO things (id, part, raw, ratio) VALUES (9223372036854775807, 'ä\"\n''', {}, 0.1), (-9223372036854775807, '', NULL, 1e300)",
        raw(kinds[0], "00ff10")
    );
    cluster.run(0, &sql).await;
    if same && kinds[0] == Kind::Postgres {
        cluster.run(0, "UPDATE things SET price = 12345678901234.5678, at = '2024-02-29 12:00:00.123456+02', day = '0001-01-01'").await;
    }
    let (_, file) = plan(&mut cluster).await;
    let done = carry_out(&cluster, &file).await;
    let written: Vec<u64> = done.nodes.iter().map(|node| node.written).collect();
    assert_eq!((done.exit_code(), written), (0, vec![2]), "{done:?} {:?}", cluster.reasons("b").await);
    if same {
        cluster.settle().await;
    }
    cluster.holds("SELECT id, ratio FROM things WHERE part <> ''", &["9223372036854775807|0.1"]).await;
}

/// A plan without a node is carried out without it, and its changes are found to have moved rows on.
async fn whoever_is_away_is_left_for_later(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    cluster.later(0, "UPDATE items SET name = 'a1' WHERE id = 1; UPDATE items SET name = 'a2' WHERE id = 2").await;
    cluster.later(2, "UPDATE items SET name = 'c1' WHERE id = 1").await;
    cluster.leave(2);
    let (plan, file) = plan(&mut cluster).await;
    assert_eq!((plan.exit_code(), plan.away.len()), (3, 1));
    cluster.back(2);
    let done = carry_out(&cluster, &file).await;
    assert_eq!(done.moved_on.len(), 1, "{done:?}");
    cluster.holds_at(1, ALL, &["1|one|10", "2|a2|20", "3|three|30"]).await;
    cluster.settle().await;
    cluster.holds(ALL, &["1|c1|10", "2|a2|20", "3|three|30"]).await;
}

#[tokio::test]
async fn the_command() {
    let mut cluster = items(&[Kind::Postgres, Kind::Sqlite]).await;
    let concord = cluster.command("[tables.items]\n");
    let said = concord.run(&["plan"]).await.ok();
    assert_eq!(said.stdout, "nothing to carry\n");
    cluster.run(0, "UPDATE items SET amount = amount + 1").await;
    cluster.run(1, "DELETE FROM items WHERE id = 3").await;
    let said = concord.run(&["plan", "--limit", "1"]).await.ok();
    for part in [
        "items at b: 2 to update",
        "~ [1] amount: 10 → 11",
        "… 1 more",
        "1 conflict",
        "b wins: latest-wins",
        "(deleted)",
    ] {
        assert!(said.says(part), "{part}: {}", said.stdout);
    }
    let told = concord.run(&["plan", "--json", "--limit", "1", "--out", "my.plan"]).await.ok().json();
    assert_eq!((&told["counts"][1]["update"], told["rows"].as_array().map(Vec::len)), (&json!(2), Some(2)), "{told}");
    let text = std::fs::read_to_string(concord.path("my.plan")).expect("it was written");
    concord.write("edited.plan", &text.replacen("\"amount\":11", "\"amount\":12", 1));
    let said = concord.run(&["sync", "--plan", "edited.plan"]).await.expect(2);
    assert!(said.says("edited.plan:") && said.says("was changed since it was written"), "{}", said.stderr);
    let said = concord.run(&["sync", "--plan", "none.plan"]).await.expect(2);
    assert!(said.says("cannot be read"), "{}", said.stderr);
    cluster.holds_at(1, "SELECT amount FROM items", &["10", "20"]).await;
    concord.run(&["sync", "--plan", "my.plan"]).await.ok();
    cluster.holds(ALL, &["1|one|11", "2|two|21"]).await;
    let said = concord.run(&["sync", "--plan", "my.plan", "--json"]).await.expect(2);
    assert!(said.says("Make a new plan"), "{}", said.stderr);
    let said = concord.run(&["plan", "--table", "itms"]).await.expect(2);
    assert!(said.says("items"), "{}", said.stderr);
}

/// A key that SQLite keeps in a column of another type: it waits where it does not fit, and neither the plan nor a person takes it
/// for the key that is spelled alike.
#[tokio::test]
async fn keys_that_only_one_node_can_have() {
    let kinds = [Kind::Sqlite, Kind::Postgres];
    for (types, good, odd, told) in [
        (["text", "text"], "'a'", "x'ff'", json!([{"raw": {"hex": "ff"}}])),
        (["text", "numeric"], "'1.5'", "'1.50'", json!([{"raw": "1.50"}])),
        (["text", "text"], "'a'", "NULL", json!([null])),
    ] {
        let setup = |kind| {
            let ty = types[usize::from(kind != Kind::Sqlite)];
            format!("CREATE TABLE items (id {ty} PRIMARY KEY, name text)")
        };
        let mut cluster = Cluster::new(&kinds, setup, "[tables.items]\n").await;
        cluster.run(0, &format!("INSERT INTO items VALUES ({good}, 'good')")).await;
        cluster.settle().await;
        cluster.run(0, &format!("UPDATE items SET name = 'new'; INSERT INTO items VALUES ({odd}, 'odd')")).await;
        // Once as it is new, and once as it waits.
        for _ in 0..2 {
            let (planned, file) = plan(&mut cluster).await;
            assert!(planned.rows.iter().any(|row| row.key == told), "{:?}", planned.rows);
            carry_out(&cluster, &file).await;
            cluster.holds_at(1, "SELECT name FROM items", &["new"]).await;
            let parked = cluster.session().parked().await.expect("a list");
            assert_eq!(parked.iter().map(|row| &row.key).collect::<Vec<_>>(), [&told]);
        }
        let why = Box::pin(cluster.session().why("items", &[told.to_string()])).await.expect("what waits is known");
        assert_eq!(why.key, told);
        assert!(why.nodes.iter().any(|node| node.state == WhyState::Waits), "{why:?}");
    }
}
