//! `concord why`: who wrote a row, what lost against it, and where it stands, in every state that a row can be in.

use concord::sync::{KnownFrom, LoadOptions, Why, WhyState};
use concord_tests::{As, Cluster, Kind, NAMES};
use serde_json::json;

const ITEMS: &str = "CREATE TABLE items (id integer PRIMARY KEY, name text);
                     INSERT INTO items VALUES (1, 'one'), (2, 'two')";

concord_tests::clusters! {
    pairs: [
        what_is_purged, a_row_that_waits, a_person_decides, one_way, keys_of_several_columns, nothing_is_known,
        what_no_conflict_decided_has_no_known_writer, who_deleted_what_others_had_changed,
    ]
    many: [somebody_is_away]
    all: [on_its_way_and_there, a_conflict]
}

async fn items_with(kinds: &[Kind], settings: &str) -> Cluster {
    Cluster::new(kinds, |_| ITEMS.to_owned(), &format!("[tables.items]\n{settings}\n")).await
}

/// Asks, and finds that nothing was written anywhere.
async fn why(cluster: &mut Cluster, key: &str) -> Why {
    let before = cluster.imprints().await;
    let told = Box::pin(cluster.session().why("items", &[key.to_owned()])).await.expect("a table and a key");
    assert_eq!(cluster.imprints().await, before);
    told
}

fn states(told: &Why) -> Vec<WhyState> {
    told.nodes.iter().map(|node| node.state).collect()
}

async fn on_its_way_and_there(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, "").await;
    let told = why(&mut cluster, "1").await;
    assert_eq!((&told.known_from, told.exit_code()), (&KnownFrom::Nothing, 0));
    assert!(states(&told).iter().all(|state| *state == WhyState::Current), "{told:?}");
    let last = kinds.len() - 1;
    let before = concord::model::time::now() - 5_000;
    cluster.run(last, "UPDATE items SET name = 'new' WHERE id = 1; DELETE FROM items WHERE id = 2").await;
    for (key, row) in [("1", Some(json!({"id": 1, "name": "new"}))), ("[2]", None)] {
        let told = why(&mut cluster, key).await;
        let [version] = &told.versions[..] else { panic!("{told:?}") };
        assert_eq!((version.node.as_deref(), &version.row), (Some(NAMES[last]), &row));
        assert!(version.written.is_some_and(|time| time >= before && time <= concord::model::time::now() + 5_000));
        let mut expected = vec![WhyState::OnItsWay; kinds.len()];
        expected[last] = WhyState::Current;
        assert_eq!((states(&told), told.known_from.clone(), told.exit_code()), (expected, KnownFrom::History, 0));
        assert_ne!(told.nodes[0].row, told.nodes[last].row);
    }
    cluster.settle().await;
    let told = why(&mut cluster, "1").await;
    assert!(states(&told).iter().all(|state| *state == WhyState::Current), "{told:?}");
}

/// Everybody has had it.
async fn what_is_purged(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, "").await;
    let before = concord::model::time::now() - 5_000;
    cluster.run(0, "UPDATE items SET name = 'new' WHERE id = 1").await;
    cluster.settle().await;
    let told = why(&mut cluster, "1").await;
    let KnownFrom::Purged(time) = told.known_from else { panic!("{told:?}") };
    assert!(time >= before && time <= concord::model::time::now(), "{told:?}");
    assert_eq!((&told.versions[0].node, &told.versions[0].written), (&None, &None));
    assert_eq!(told.versions[0].row, Some(json!({"id": 1, "name": "new"})));
}

async fn a_conflict(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, "").await;
    let last = kinds.len() - 1;
    cluster.later(0, "UPDATE items SET name = 'lost' WHERE id = 1").await;
    cluster.later(last, "UPDATE items SET name = 'won' WHERE id = 1").await;
    let told = why(&mut cluster, "1").await;
    let mut from: Vec<_> = told.versions.iter().map(|version| version.node.clone().unwrap_or_default()).collect();
    from.sort();
    assert_eq!((from, told.exit_code()), (vec!["a".to_owned(), NAMES[last].to_owned()], 1));
    assert_eq!((told.nodes[0].state, told.nodes[last].state), (WhyState::Undecided, WhyState::Undecided));
    cluster.settle().await;
    let told = why(&mut cluster, "1").await;
    assert_eq!((&told.known_from, told.exit_code()), (&KnownFrom::Journal, 0), "{told:?}");
    assert_eq!(told.versions[0].node.as_deref(), Some(NAMES[last]));
    assert_eq!(told.versions[0].written, Some(told.lost[0].winner_time));
    assert_eq!((told.lost[0].loser.as_str(), &told.lost[0].loser_row), ("a", &Some(json!({"id": 1, "name": "lost"}))));
    // Another version since: the journal no longer tells who wrote what stands.
    cluster.run(0, "UPDATE items SET name = 'later' WHERE id = 1").await;
    cluster.settle().await;
    let told = why(&mut cluster, "1").await;
    assert!(matches!(told.known_from, KnownFrom::Purged(_)) && told.lost.len() == 1, "{told:?}");
}

async fn a_row_that_waits(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, "").await;
    let unique = "CREATE UNIQUE INDEX names ON items (name)";
    cluster.nodes[1].database.user_as(As::Sync).await.execute(unique).await;
    cluster.install().await;
    cluster.run(0, "UPDATE items SET name = 'two' WHERE id = 1").await;
    assert_eq!(cluster.sync().await.waiting, 1);
    let told = why(&mut cluster, "1").await;
    assert_eq!((states(&told), told.exit_code()), (vec![WhyState::Current, WhyState::Waits], 1), "{told:?}");
    assert_eq!((told.versions[0].node.as_deref(), told.versions.len()), (Some("a"), 1));
    let waits = &told.nodes[1];
    assert_eq!(waits.row, Some(json!({"id": 1, "name": "one"})));
    assert!(waits.since.is_some() && waits.reason.as_ref().is_some_and(|why| why.contains("names")), "{told:?}");
}

async fn a_person_decides(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, "conflict = \"park\"").await;
    cluster.later(0, "UPDATE items SET name = 'here' WHERE id = 1").await;
    cluster.later(1, "UPDATE items SET name = 'there' WHERE id = 1").await;
    cluster.sync().await;
    let told = why(&mut cluster, "1").await;
    assert_eq!((states(&told), told.exit_code()), (vec![WhyState::Undecided, WhyState::Undecided], 1), "{told:?}");
    let mut rows: Vec<String> = told
        .versions
        .iter()
        .map(|version| version.row.as_ref().map_or("", |row| row["name"].as_str().unwrap_or("")).to_owned())
        .collect();
    rows.sort();
    assert_eq!(rows, ["here", "there"], "{told:?}");
}

async fn one_way(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, "from = \"a\"").await;
    cluster.run(1, "UPDATE items SET name = 'apart' WHERE id = 1").await;
    let told = why(&mut cluster, "1").await;
    assert_eq!((states(&told), told.exit_code()), (vec![WhyState::Current, WhyState::Differs], 1), "{told:?}");
    cluster.run(0, "UPDATE items SET name = 'new' WHERE id = 1").await;
    let told = why(&mut cluster, "1").await;
    assert_eq!(states(&told), [WhyState::Current, WhyState::OnItsWay], "{told:?}");
}

async fn keys_of_several_columns(kinds: &[Kind]) {
    let setup =
        "CREATE TABLE items (part varchar(99) NOT NULL, id integer NOT NULL, name text, PRIMARY KEY (part, id));
                 INSERT INTO items VALUES ('a b', 1, 'one')";
    let mut cluster = Cluster::new(kinds, |_| setup.to_owned(), "[tables.items]\n").await;
    cluster.run(0, "UPDATE items SET name = 'new'").await;
    for key in [&["[\"a b\", 1]"][..], &["part=a b", "id=1"], &["id=1", "part=a b"]] {
        let key: Vec<String> = key.iter().map(|part| (*part).to_owned()).collect();
        let told = Box::pin(cluster.session().why("items", &key)).await.expect("it is a key");
        assert_eq!(told.versions[0].node.as_deref(), Some("a"), "{key:?}");
    }
    for (key, why) in [
        (&["1"][..], "`part` is missing"),
        (&["part=a b", "id=x"], "is no "),
        (&["[1]"], "has 1 values"),
        (&["part=a b", "id=1", "more=2"], "3 values"),
    ] {
        let key: Vec<String> = key.iter().map(|part| (*part).to_owned()).collect();
        let error = Box::pin(cluster.session().why("items", &key)).await;
        match error {
            // SQLite takes text in a column of integers.
            Err(error) => {
                assert!(error.exit_code() == 2 && (error.to_string().contains(why) || why == "is no "), "{error}")
            }
            Ok(told) => panic!("{key:?}: {told:?}"),
        }
    }
}

async fn nothing_is_known(kinds: &[Kind]) {
    let cluster = items_with(kinds, "").await;
    let error = Box::pin(cluster.session().why("items", &["77".to_owned()])).await.expect_err("there is none");
    assert!(error.to_string().contains("nobody remembers") && error.exit_code() == 2, "{error}");
}

/// Its change came by way of another, and others still have to hear of it.
async fn somebody_is_away(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, "").await;
    cluster.run(0, "UPDATE items SET name = 'new' WHERE id = 1").await;
    cluster.leave(2);
    cluster.sync().await;
    let told = why(&mut cluster, "1").await;
    assert_eq!((told.away[0].node.as_str(), told.exit_code(), told.nodes.len()), ("c", 3, kinds.len() - 1));
    assert!(states(&told).iter().all(|state| *state == WhyState::Current), "{told:?}");
    cluster.back(2);
    cluster.leave(0);
    let told = why(&mut cluster, "1").await;
    let version = &told.versions[0];
    assert_eq!((version.node.as_deref(), told.versions.len()), (Some("a"), 1), "{told:?}");
    assert_eq!(told.nodes[1].state, WhyState::OnItsWay, "{told:?}");
    cluster.back(0);
    cluster.settle().await;
}

/// GIVEN rows that a load or a repair wrote, and one that was given up
/// WHEN nothing else tells of them
/// THEN nobody is named for having written them just then.
async fn what_no_conflict_decided_has_no_known_writer(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, "").await;
    cluster.each_uninstalls().await;
    cluster.run(1, "UPDATE items SET name = 'old' WHERE id = 1").await;
    cluster.install().await;
    let prefer = LoadOptions { prefer: Some("a".to_owned()), ..LoadOptions::default() };
    cluster.load(&prefer).await;
    cluster.settle().await;
    let told = why(&mut cluster, "1").await;
    assert!(told.lost.iter().any(|lost| lost.id.starts_with("load-")), "{told:?}");
    let [version] = &told.versions[..] else { panic!("{told:?}") };
    assert_eq!((&version.node, version.written), (&None, None), "{told:?}");
    // It is not older than what was written then.
    let KnownFrom::Purged(time) = told.known_from else { panic!("{told:?}") };
    assert!(told.lost.iter().all(|lost| lost.decided <= time), "{told:?}");
    // What stands where a row is given up may be nothing.
    let unique = "CREATE UNIQUE INDEX names ON items (name)";
    cluster.nodes[1].database.user_as(As::Sync).await.execute(unique).await;
    cluster.install().await;
    cluster.run(0, "INSERT INTO items VALUES (3, 'two')").await;
    assert_eq!(cluster.sync().await.waiting, 1);
    cluster.session().drop_parked(|row| row.node == "b").await.expect("it can be given up");
    cluster.settle().await;
    let told = why(&mut cluster, "3").await;
    assert!(told.lost.iter().any(|lost| lost.id.starts_with("dropped-")), "{told:?}");
    assert_ne!(told.known_from, KnownFrom::Journal, "{told:?}");
}

/// GIVEN a row that was changed where updates are not carried
/// WHEN somebody deletes it who does not know of that
/// THEN he is named for it.
async fn who_deleted_what_others_had_changed(kinds: &[Kind]) {
    let mut cluster = items_with(kinds, "operations = [\"insert\", \"delete\"]").await;
    cluster.run(1, "UPDATE items SET name = 'mine' WHERE id = 1").await;
    cluster.sync().await;
    cluster.run(0, "DELETE FROM items WHERE id = 1").await;
    cluster.settle().await;
    let told = why(&mut cluster, "1").await;
    assert!(told.lost.len() == 1 && told.lost[0].id.starts_with("delete-"), "{told:?}");
    assert_eq!(told.known_from, KnownFrom::Journal, "{told:?}");
    let [version] = &told.versions[..] else { panic!("{told:?}") };
    assert_eq!((version.node.as_deref(), &version.row), (Some("a"), &None), "{told:?}");
    assert_eq!(version.written, Some(told.lost[0].winner_time));
}

/// A row that cannot be read is not taken for a deleted one, neither where it stands nor where it waits.
#[tokio::test]
async fn what_cannot_be_read_is_not_told_as_deleted() {
    let sql =
        "CREATE TABLE items (id integer PRIMARY KEY, number integer); INSERT INTO items VALUES (1, 5), (2, 5), (3, 5)";
    let kinds = [Kind::Postgres, Kind::Sqlite];
    let mut cluster = Cluster::new(&kinds, |_| sql.to_owned(), "[tables.items]\n").await;
    let concord = cluster.command("[tables.items]\n");
    cluster.run(1, "UPDATE items SET number = 'abc' WHERE id = 1; DELETE FROM items WHERE id = 2").await;
    for waits in [false, true] {
        // Nobody remembers the deleted one once it is gone everywhere.
        for (key, unread) in
            [("1", true), ("2", false), ("3", false)].into_iter().filter(|(key, _)| !waits || *key != "2")
        {
            let told = why(&mut cluster, key).await;
            let [version] = &told.versions[..] else { panic!("{told:?}") };
            assert_eq!((version.unread, version.row.is_some()), (unread, key == "3"), "{told:?}");
        }
        let said = concord.run(&["why", "items", "1"]).await.expect(i32::from(waits));
        assert!(said.says("changed at b") && !said.says("deleted at"), "{}", said.stdout);
        if !waits {
            cluster.sync().await;
        }
    }
    cluster.leave(1);
    let told = cluster.session().why("items", &["1".to_owned()]).await.expect("a table and a key");
    let [version] = &told.versions[..] else { panic!("{told:?}") };
    assert_eq!((version.node.as_deref(), version.unread), (Some("b"), true), "{told:?}");
    cluster.back(1);
    let said = concord.run(&["parked", "list"]).await.ok();
    assert!(said.says("unread") && !said.says("delete"), "{}", said.stdout);
}

#[tokio::test]
async fn the_command() {
    let mut cluster = items_with(&[Kind::Postgres, Kind::Sqlite], "").await;
    let concord = cluster.command("[tables.items]\n");
    cluster.later(0, "UPDATE items SET name = 'lost' WHERE id = 1").await;
    cluster.later(1, "UPDATE items SET name = 'won' WHERE id = 1").await;
    let said = concord.run(&["why", "items", "1"]).await.expect(1);
    assert!(said.says("several versions") && said.says("undecided"), "{}", said.stdout);
    concord.run(&["sync"]).await.ok();
    let said = concord.run(&["why", "items", "1"]).await.ok();
    let journal = "as the journal tells, or the same was written again since";
    for part in ["written at b", journal, "has it", "name=lost", "latest-wins"] {
        assert!(said.says(part), "{part}: {}", said.stdout);
    }
    cluster.run(0, "UPDATE items SET name = 'new' WHERE id = 2").await;
    let said = concord.run(&["why", "items", "[2]"]).await.ok();
    assert!(said.says("written at a") && said.says("on its way there"), "{}", said.stdout);
    concord.run(&["sync"]).await.ok();
    let said = concord.run(&["why", "items", "2"]).await.ok();
    assert!(said.says("at the latest"), "{}", said.stdout);
    let told = concord.run(&["why", "items", "2", "--json"]).await.ok().json();
    assert!(told["known_from"]["purged"].is_i64() && told["nodes"][0]["state"] == "current", "{told}");
    let said = concord.run(&["why", "itms", "2"]).await.expect(2);
    assert!(said.says("items"), "{}", said.stderr);
}
