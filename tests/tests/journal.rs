//! What lost is kept for as long as the file says, and no longer.

use concord_tests::{As, Cluster, Kind};
use serde_json::json;

/// More than are written one statement at a time.
const MANY: i64 = 1_200;

const ITEMS: &str = "CREATE TABLE items (id integer PRIMARY KEY, name text);
                     INSERT INTO items VALUES (1, 'one'), (2, 'two'), (3, 'three')";

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

concord_tests::clusters! {
    pairs: [
        old_conflicts_are_forgotten, a_part_at_a_time, many_at_once_are_told_as_few,
        a_conflict_of_two_nodes_leaves_no_entries, a_list_that_is_cut_says_so,
        what_left_the_file_is_counted
    ]
    many: []
    all: []
}

/// Three conflicts, which the second node wins; both journal what lost.
async fn three_conflicts(kinds: &[Kind]) -> Cluster {
    let mut cluster =
        Cluster::new(kinds, |_| ITEMS.to_owned(), "[defaults]\njournal = \"90d\"\n[tables.items]\n").await;
    cluster.later(0, "UPDATE items SET name = 'lost'").await;
    cluster.later(1, "UPDATE items SET name = 'won'").await;
    assert_eq!(cluster.settle().await.conflicts, 3);
    cluster
}

/// Whoever cuts a list says so.
async fn a_list_that_is_cut_says_so(kinds: &[Kind]) {
    let cluster = three_conflicts(kinds).await;
    let concord = cluster.command("[tables.items]\n");
    for (limit, lines, more) in [("2", 2, true), ("3", 3, false), ("0", 3, false), ("1", 1, true)] {
        let told = concord.run(&["conflicts", "list", "--limit", limit]).await.ok();
        let listed = told.stdout.lines().filter(|line| line.contains("items")).count();
        assert_eq!((listed, told.says("--limit 0 shows all")), (lines, more), "{}", told.stdout);
        let told = concord.run(&["conflicts", "list", "--json", "--limit", limit]).await.ok().json();
        assert_eq!((told["conflicts"].as_array().map(Vec::len), &told["more"]), (Some(lines), &json!(more)));
    }
}

/// GIVEN a conflict of a table that leaves the file
/// WHEN conflicts are listed, or that one is asked for
/// THEN it is said how many there are that cannot be told, until the table is in the file again.
async fn what_left_the_file_is_counted(kinds: &[Kind]) {
    const BOTH: &str = "[tables.items]\n[tables.others]\n";
    const ONE: &str = "[tables.others]\n";
    let setup = |_: Kind| format!("{ITEMS}; CREATE TABLE others (id integer PRIMARY KEY)");
    let mut cluster = Cluster::new(kinds, setup, BOTH).await;
    cluster.later(0, "UPDATE items SET name = 'lost' WHERE id = 1").await;
    cluster.later(1, "UPDATE items SET name = 'won' WHERE id = 1").await;
    assert_eq!(cluster.settle().await.conflicts, 1);
    let id = cluster.session().conflicts(0).await.expect("a journal").remove(0).id;
    let before = cluster.command(BOTH).run(&["conflicts", "list", "--json"]).await.ok().json();
    assert_eq!(before["untold"], 0, "{before:#}");
    cluster.configure(ONE);
    cluster.install().await;
    let concord = cluster.command(ONE);
    let listed = concord.run(&["conflicts", "list"]).await.ok();
    let why = "2 entries of the journals are of nodes or tables that left the file";
    assert!(listed.says("no conflicts") && listed.says(why), "{listed:?}");
    assert_eq!(concord.run(&["conflicts", "list", "--json"]).await.ok().json()["untold"], 2);
    let shown = concord.run(&["conflicts", "show", &id]).await;
    assert!(shown.says("no conflict has an id that begins with") && shown.says(why), "{shown:?}");
    cluster.configure(BOTH);
    cluster.install().await;
    let listed = cluster.command(BOTH).run(&["conflicts", "list"]).await.ok();
    assert!(listed.says(&id[..10]) && !listed.says("left the file"), "{listed:?}");
    // Of a table that stands still it is not known, which is not none.
    cluster.run_as_owner(0, "DROP TABLE others").await;
    let told = cluster.command(BOTH).run(&["conflicts", "list", "--json"]).await.expect(1).json();
    assert!(told["untold"].is_null() && told["stopped"][0]["table"] == "others", "{told:#}");
}

/// GIVEN a conflict of a table that has another key since
/// WHEN conflicts are listed, or that one is asked for
/// THEN it is told under the key that it was kept with.
#[tokio::test]
async fn what_lost_under_a_former_key_is_told() {
    let setup = |_: Kind| {
        "CREATE TABLE items (id integer PRIMARY KEY, n integer NOT NULL, name text);
         INSERT INTO items VALUES (1, 1, 'one')"
            .to_owned()
    };
    let mut cluster = Cluster::new(&[Kind::Postgres, Kind::Mariadb], setup, "[tables.items]\n").await;
    cluster.later(0, "UPDATE items SET name = 'lost'").await;
    cluster.later(1, "UPDATE items SET name = 'won'").await;
    assert_eq!(cluster.settle().await.conflicts, 1);
    let id = cluster.session().conflicts(0).await.expect("a journal").remove(0).id;
    for (at, former) in ["CONSTRAINT items_pkey", "PRIMARY KEY"].iter().enumerate() {
        cluster.run_as_owner(at, &format!("ALTER TABLE items DROP {former}, ADD PRIMARY KEY (id, n)")).await;
    }
    cluster.install().await;
    let concord = cluster.command("[tables.items]\n");
    let listed = concord.run(&["conflicts", "list", "--json"]).await.ok().json();
    assert_eq!((&listed["conflicts"][0]["key"], &listed["untold"]), (&json!([1]), &json!(0)), "{listed:#}");
    let shown = concord.run(&["conflicts", "show", &id]).await.ok();
    assert!(shown.says("won") && shown.says("lost"), "{shown:?}");
    let refused = concord.run(&["conflicts", "resolve", &id, "--undo"]).await.expect(2);
    assert!(refused.says("under a key that the table had before"), "{refused:?}");
}

/// Makes the conflicts about these keys so many days older, in all journals.
async fn age(cluster: &Cluster, days: i64, keys: &str) {
    for node in &cluster.nodes {
        let journal = match node.database.kind() {
            Kind::Sqlite | Kind::Mariadb => "concord_journal",
            Kind::Postgres => "concord.journal",
        };
        let sql = format!("UPDATE {journal} SET decided = decided - {} WHERE \"key\" IN ({keys})", days * DAY);
        node.database.user_as(As::Sync).await.execute(&sql).await;
    }
}

/// How many conflicts are told of, which both journals keep.
async fn kept(cluster: &Cluster) -> usize {
    let conflicts = cluster.session().conflicts(0).await.expect("a journal").len();
    let status = cluster.session().status().await.expect("a status");
    assert!(status.nodes.iter().all(|node| node.conflicts == conflicts as u64), "{:?}", status.nodes);
    conflicts
}

async fn old_conflicts_are_forgotten(kinds: &[Kind]) {
    let mut cluster = three_conflicts(kinds).await;
    age(&cluster, 89, "'[1]', '[2]'").await;
    // It writes nothing where nothing is old enough.
    cluster.settle().await;
    assert_eq!(kept(&cluster).await, 3);
    age(&cluster, 2, "'[2]'").await;
    cluster.sync().await;
    assert_eq!(kept(&cluster).await, 2);
    cluster.settle().await;
    // Another file, another time.
    cluster.configure("[defaults]\njournal = \"1d\"\n[tables.items]\n");
    cluster.sync().await;
    assert_eq!(kept(&cluster).await, 1);
}

async fn a_part_at_a_time(kinds: &[Kind]) {
    let cluster = three_conflicts(kinds).await;
    age(&cluster, 5, "'[1]', '[3]'").await;
    age(&cluster, 5, "'[3]'").await;
    let before = concord::model::time::now() - DAY;
    let mut gone = Vec::new();
    for _ in 0..3 {
        for node in &cluster.nodes {
            let mut node = node.database.node().await;
            gone.push(node.trim_journal(before, 1).await.expect("old entries"));
        }
        let left = cluster.session().conflicts(0).await.expect("a journal");
        assert!(gone.len() > 2 || left.iter().all(|one| one.key != serde_json::json!([3])), "the oldest goes first");
    }
    assert_eq!((gone, kept(&cluster).await), (vec![1, 1, 1, 1, 0, 0], 1));
}

/// Positions tell all: an entry would be read, passed and purged for nothing.
async fn a_conflict_of_two_nodes_leaves_no_entries(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, |_| ITEMS.to_owned(), "[tables.items]\n").await;
    cluster.later(0, "UPDATE items SET name = 'first'").await;
    cluster.later(1, "UPDATE items SET name = 'second'").await;
    let mut session = cluster.session();
    let (first, second) = (session.cycle().await.expect("a cycle"), session.cycle().await.expect("a cycle"));
    assert_eq!((first.conflicts, second.entries, second.wrote), (3, 0, false), "{second:?}");
}

/// So many that they are written in another way: with one deleted here, text that is hard to write down, and NULL.
async fn many_at_once_are_told_as_few(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, |_| ITEMS.to_owned(), "[tables.items]\n").await;
    let many = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})");
    cluster.later(0, &format!("INSERT INTO items {many} SELECT i + 10, 'first' FROM n")).await;
    cluster.settle().await;
    cluster.later(0, "UPDATE items SET name = 'a\t\"ü\" ''b''\n\\N' || id WHERE id > 10").await;
    cluster.later(0, "UPDATE items SET name = NULL WHERE id = 12").await;
    cluster.later(0, "DELETE FROM items WHERE id = 13").await;
    cluster.later(1, "UPDATE items SET name = 'won ' || id WHERE id > 10").await;
    assert_eq!(cluster.settle().await.conflicts, MANY as u64);
    assert_eq!(kept(&cluster).await, MANY as usize);
    let journal = cluster.session().conflicts(0).await.expect("a journal");
    for told in &journal {
        let [id] = &told.key.as_array().expect("a key")[..] else { panic!("{:?}", told.key) };
        let row = |name: serde_json::Value| Some(json!({"id": id, "name": name}));
        assert_eq!((told.winner.as_str(), &told.winner_row), ("b", &row(json!(format!("won {id}")))));
        let lost = match id.as_i64().expect("a number") {
            12 => row(json!(null)),
            13 => None,
            id => row(json!(format!("a\t\"ü\" 'b'\n\\N{id}"))),
        };
        assert_eq!((told.loser.as_str(), &told.loser_row), ("a", &lost));
        assert!(told.loser_time < told.winner_time && told.winner_time < told.decided, "{told:?}");
        assert!(told.table == "items" && told.reason.contains("latest"), "{told:?}");
    }
}
