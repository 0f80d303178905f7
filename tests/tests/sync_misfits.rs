//! Nodes at which something else is installed than the file describes: each is left out alone, with the command to run, and
//! the others go on. A file that is at odds with all of them is wrong itself.

use concord::node::ErrorKind;
use concord_tests::{As, Cluster, Concord, Kind, PATIENCE, Seed, wait_until};

use super::scene::{self, Scene};

concord_tests::clusters! {
    pairs: []
    many: [removed_at_one, of_another_sync, with_another_list_of_nodes, a_list_of_nodes_that_changes_meanwhile]
    all: []
}

const THREE: &[Kind] = &[Kind::Sqlite, Kind::Postgres, Kind::Sqlite];
const ALL: &str = "SELECT * FROM items ORDER BY id";
const SUM: &str = "[tables.items]\nconflict = { sum = [\"amount\"] }";

async fn items(kinds: &[Kind]) -> Cluster {
    let setup = |_| {
        "CREATE TABLE items (id integer PRIMARY KEY, amount integer NOT NULL); INSERT INTO items VALUES (1, 10), (2, 20)"
            .to_owned()
    };
    let mut cluster = Cluster::new(kinds, setup, SUM).await;
    cluster.run(0, "UPDATE items SET amount = amount + 1").await;
    cluster.settle().await;
    cluster
}

/// Node b is left out for this reason, and status says so, while all others go on; nothing is read or written there.
async fn left_out(cluster: &mut Cluster, why: &str) {
    let last = cluster.nodes.len() - 1;
    for at in 0..=last {
        cluster.run(at, "UPDATE items SET amount = amount + 100 WHERE id = 2").await;
    }
    let before = cluster.rows(1, ALL).await;
    let summary = cluster.sync().await;
    let away: Vec<_> = summary.away.iter().map(|away| (away.node.as_str(), away.unreachable)).collect();
    assert_eq!(away, [("b", false)], "{summary:?}");
    assert!(summary.away[0].why.contains(why), "{}", summary.away[0].why);
    assert_eq!(summary.exit_code(), 1);
    assert_eq!(cluster.rows(1, ALL).await, before);
    let amount = (21 + 100 * last).to_string();
    for at in (0..=last).filter(|at| *at != 1) {
        cluster.holds_at(at, "SELECT amount FROM items WHERE id = 2", &[&amount]).await;
    }
    let status = cluster.session().status().await.expect("a status");
    assert_eq!((status.away, status.nodes.len()), (summary.away, last));
    cluster.quiet().await;
}

async fn owner(cluster: &Cluster, sqlite: &str, postgres: &str) {
    let database = &cluster.nodes[1].database;
    let sql = if database.kind() == Kind::Sqlite { sqlite } else { postgres };
    database.user_as(As::Sync).await.execute(sql).await;
}

async fn removed_at_one(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    cluster.nodes[1].database.node().await.uninstall().await.expect("it is installed");
    left_out(&mut cluster, "nothing is installed there").await;
}

async fn of_another_sync(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    owner(&cluster, "UPDATE concord_node SET sync = 'other'", "UPDATE concord.node SET sync = 'other'").await;
    left_out(&mut cluster, "it is installed as node `b` of the sync `other`").await;
    owner(&cluster, "UPDATE concord_node SET sync = 'test'", "UPDATE concord.node SET sync = 'test'").await;
    cluster.settle().await;
}

const OTHER_LIST: [&str; 2] =
    ["UPDATE concord_node SET nodes = '[\"c\",\"b\",\"a\"]'", "UPDATE concord.node SET nodes = ARRAY['c', 'b', 'a']"];

/// What numbers of nodes mean is said by their list, so nobody may read or write by another.
async fn with_another_list_of_nodes(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    owner(&cluster, OTHER_LIST[0], OTHER_LIST[1]).await;
    left_out(&mut cluster, "it was installed for the nodes c, b, a, and the file lists a, b, c").await;
    cluster.install().await;
    cluster.settle().await;
    let amount = (21 + 100 * kinds.len()).to_string();
    cluster.holds(ALL, &["1|11", &format!("2|{amount}")]).await;
}

/// `install` was run with another file between reading and writing.
async fn a_list_of_nodes_that_changes_meanwhile(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    for at in 0..kinds.len() {
        cluster.run(at, "UPDATE items SET amount = amount + 100").await;
    }
    let meanwhile = async |cluster: &mut Cluster| owner(cluster, OTHER_LIST[0], OTHER_LIST[1]).await;
    let summary = cluster.sync_while("read-done", meanwhile).await;
    assert_eq!(summary.away.iter().map(|away| away.node.as_str()).collect::<Vec<_>>(), ["b"], "{summary:?}");
    cluster.holds_at(1, ALL, &["1|111", "2|121"]).await;
    cluster.install().await;
    cluster.settle().await;
    let amount = 100 * kinds.len();
    cluster.holds(ALL, &[&format!("1|{}", 11 + amount), &format!("2|{}", 21 + amount)]).await;
}

/// Removes Concord from node b beside a watch, which may be in the way for a moment.
async fn remove(scene: &Scene) {
    let mut node = scene.databases[1].node().await;
    let removed = async || {
        let done = node.uninstall().await;
        if let Err(error) = &done {
            assert!(error.kind == ErrorKind::Retry, "{error}");
        }
        done.ok()
    };
    assert!(wait_until("Concord to be removed", PATIENCE, removed).await, "it was installed");
}

/// A watch goes on without a node from which Concord was removed, and takes it up again when it is back.
#[tokio::test]
async fn a_watch_goes_on() {
    let mut scene = Scene::new(THREE, 1000).await;
    let mut rng = Seed::new("sync_misfits::a_watch_goes_on").rng(0);
    let mut watch = scene.concord.start(&["watch", "--every", "20ms"]);
    watch.line("watching").await;
    remove(&scene).await;
    // Removed while it was being looked at, it may have been left out for a deadlock at first, and then for service tables
    // that are missing.
    let line = watch.line("concord install").await;
    assert!(line.contains("node `b` is left out"), "{line}");
    scene::add(&mut scene.users[0], 1, 7, &mut scene.done).await;
    wait_until("the others to go on", PATIENCE, async || {
        let counters = scene.content("counters").await;
        (counters[2] == scene.done.counters()).then_some(())
    })
    .await;
    let output = scene.concord.run(&["sync"]).await.expect(1);
    assert!(
        output.says("node `b` is left out: nothing is installed there") && output.says("concord install"),
        "{output:?}"
    );
    let status = scene.concord.run(&["status", "--json"]).await.expect(1).json();
    assert_eq!((status["away"][0]["node"].as_str(), status["nodes"].as_array().map(Vec::len)), (Some("b"), Some(2)));
    scene.concord.run(&["install"]).await.ok();
    watch.line("node `b` is back").await;
    scene.write_everywhere(&mut rng).await;
    watch.signal(libc::SIGTERM);
    watch.wait().await.ok();
    scene.converges("node b is back").await;
}

/// Nobody is left to carry anything to, and somebody may be about to put that right. Only at the start a watch ends over it.
#[tokio::test]
async fn a_watch_of_two_goes_on() {
    let mut scene = Scene::new(&THREE[..2], 1000).await;
    let mut rng = Seed::new("sync_misfits::a_watch_of_two_goes_on").rng(0);
    let mut watch = scene.concord.start(&["watch", "--every", "20ms"]);
    watch.line("watching").await;
    remove(&scene).await;
    let line = watch.line("concord install").await;
    assert!(line.contains("node `b` is left out"), "{line}");
    let output = scene.concord.run(&["watch"]).await.expect(2);
    assert!(output.says("error: node `b`: ") && output.says("concord install"), "{output:?}");
    scene.concord.run(&["install"]).await.ok();
    watch.line("node `b` is back").await;
    scene.write_everywhere(&mut rng).await;
    watch.signal(libc::SIGTERM);
    let output = watch.wait().await.ok();
    assert!(output.stderr.matches("nothing is installed there").count() <= 1, "told once: {output:?}");
    scene.converges("node b is back").await;
}

/// A file whose list of nodes is not that of any node: nothing is touched, whatever the command.
#[tokio::test]
async fn a_file_that_is_wrong_itself() {
    let mut scene = Scene::new(THREE, 1000).await;
    let mut rng = Seed::new("sync_misfits::a_file_that_is_wrong_itself").rng(0);
    scene.write_everywhere(&mut rng).await;
    // Two nodes know of each other's changes, the third does not.
    scene.reach(2, false);
    scene.concord.run(&["sync"]).await.expect(3);
    scene.reach(2, true);
    scene.write_everywhere(&mut rng).await;
    let before = scene.state().await;
    let urls: Vec<String> = scene.databases.iter().map(|database| database.url()).collect();
    let right = scene::config(&urls, 1000);
    let section = |name: &str, at: usize| format!("[nodes.{name}]\nurl = \"{}\"\n", urls[at]);
    let in_another_order =
        right.replace(&section("a", 0), "").replace(&section("b", 1), &(section("b", 1) + &section("a", 0)));
    let without_one = right.replace(&section("c", 2), "");
    for file in [&in_another_order, &without_one] {
        let concord = Concord::new(file);
        for command in [&["sync"][..], &["watch"]] {
            let output = concord.run(command).await.expect(2);
            assert!(output.says("it was installed for the nodes a, b, c, and the file lists"), "{output:?}");
            assert!(output.says("concord install"), "{output:?}");
        }
        let status = concord.run(&["status"]).await.expect(1);
        assert!(status.says("node `b` is left out: it was installed for the nodes a, b, c"), "{status:?}");
    }
    assert_eq!(scene.state().await, before);
    // In another order the same nodes are the same.
    Concord::new(&in_another_order).run(&["install"]).await.ok();
    Concord::new(&in_another_order).run(&["sync"]).await.ok();
    scene.settled("in another order").await;
    scene.concord.run(&["sync"]).await.expect(2);
    scene.concord.run(&["install"]).await.ok();
    scene.write_everywhere(&mut rng).await;
    scene.converges("in the first order").await;
}
