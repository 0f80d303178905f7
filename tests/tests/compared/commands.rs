//! What the other commands say and do about tables that are compared.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use concord::sync::{LoadOptions, Wish};
use concord_tests::{Cluster, Concord, Database, Kind, PATIENCE, wait_until};

use super::{ALL, ONE_WAY, PAIRS, TWO_WAY, Watch, settle, table};

fn wish(file: bool) -> Wish {
    Wish { table: None, limit: 20, file }
}

#[tokio::test]
async fn a_plan_tells_what_a_comparison_would_do_and_writes_nothing() {
    let mut cluster = Cluster::bare(PAIRS[1], table, ONE_WAY).await;
    cluster.run(0, "INSERT INTO t VALUES (1, 'a', 1), (2, 'a', 1)").await;
    cluster.run(1, "INSERT INTO t VALUES (2, 'b', 1), (3, 'b', 1)").await;
    let before = cluster.imprints().await;
    let (plan, _) = cluster.session().plan(&wish(false)).await.expect("all are there");
    let found = &plan.compared[0];
    assert_eq!((found.differences, found.mended), (3, 0));
    assert_eq!((found.carried[0].node.as_str(), found.carried[0].written, found.carried[0].deleted), ("b", 2, 1));
    assert_eq!(cluster.imprints().await, before);
    let refused = cluster.session().plan(&wish(true)).await.expect_err("it has no history");
    assert!(refused.to_string().contains("`concord verify --repair --out FILE`"), "{refused}");
    settle(&mut cluster).await;
    let (plan, _) = cluster.session().plan(&wish(false)).await.expect("all are there");
    assert_eq!(plan.compared[0].differences, 0);
}

/// What would be written is none of what has to be told although the rest fails.
#[tokio::test]
async fn a_plan_that_fails_says_so_whatever_it_has_found() {
    let setup = |kind| format!("{}; CREATE TABLE u (id integer PRIMARY KEY)", table(kind));
    let config = format!("{ONE_WAY}[tables.u]\nmode = \"compare\"\nfrom = \"a\"\n");
    let mut cluster = Cluster::bare(PAIRS[0], setup, &config).await;
    cluster.run(0, "INSERT INTO t VALUES (1, 'a', 1)").await;
    let mut concord = cluster.command(&config);
    // The first table is read twice, to sum it up and to narrow.
    let failed = concord.faults("verify-pass=error@3").run(&["plan"]).await.expect(1);
    assert!(failed.stderr.contains("`verify-pass`"), "{failed:?}");
}

#[tokio::test]
async fn what_needs_a_history_is_refused_with_the_reason() {
    let refused = |done: Result<(), concord::error::Error>| {
        let error = done.expect_err("there is no history");
        assert_eq!(error.exit_code(), 2, "{error}");
        assert!(
            error.to_string().contains("kept in step by comparison") && error.to_string().contains("`concord sync`")
        );
    };
    let bare = Cluster::bare(PAIRS[0], table, ONE_WAY).await;
    let key = ["1".to_owned()];
    refused(bare.session().why("t", &key).await.map(drop));
    refused(bare.session().conflicts(0).await.map(drop));
    refused(bare.session().parked().await.map(drop));
    refused(bare.session().reset().await.map(drop));
    refused(bare.session().load(&LoadOptions::default(), &mut |_| ()).await.map(drop));
    let setup = |kind| format!("{}; CREATE TABLE u (id integer PRIMARY KEY)", table(kind));
    let mut mixed = Cluster::new(PAIRS[1], setup, &format!("{ONE_WAY}[tables.u]\n")).await;
    let options = LoadOptions { tables: vec!["t".to_owned()], ..LoadOptions::default() };
    refused(mixed.session().load(&options, &mut |_| ()).await.map(drop));
    refused(mixed.session().why("t", &key).await.map(drop));
    refused(mixed.session().conflicts_of(Some("t"), 0).await.map(drop));
    refused(mixed.session().needs_history("t"));
    mixed.session().needs_history("u").expect("it has a history");
    let concord = mixed.command(&format!("{ONE_WAY}[tables.u]\n"));
    for command in [vec!["parked", "list"], vec!["parked", "retry"], vec!["parked", "drop", "--yes"]] {
        let said = concord.run(&[command, vec!["--table", "t"]].concat()).await.expect(2);
        assert!(said.stderr.contains("kept in step by comparison"), "{}", said.stderr);
    }
    concord.run(&["parked", "list", "--table", "u"]).await.ok();
    // A load of everything passes it over, and says so.
    mixed.run(0, "INSERT INTO t VALUES (1, 'a', 1)").await;
    let loaded = mixed.load(&LoadOptions::default()).await;
    assert_eq!((loaded.compared, loaded.tables.len()), (vec!["t".to_owned()], 1));
    mixed.holds_at(1, ALL, &[]).await;
    mixed.settle().await;
    mixed.holds(ALL, &["1|a|1"]).await;
    mixed.session().reset().await.expect("a table has a history");
    mixed.settle().await;
}

/// A watch compares at its beginning, and again when the time has come, and does nothing in between whatever is written.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_compares_now_and_then() {
    let config = format!("{ONE_WAY}[defaults]\ncompare_every = \"200ms\"\n");
    let mut cluster = Cluster::bare(PAIRS[1], table, &config).await;
    let (cycles, comparisons) = <(Arc<AtomicU64>, Arc<AtomicU64>)>::default();
    let counts = (cycles.clone(), comparisons.clone());
    let watch = Watch::new(&cluster, move |cycle| {
        counts.0.fetch_add(1, Ordering::SeqCst);
        counts.1.fetch_add(cycle.compared.len() as u64, Ordering::SeqCst);
    });
    for id in 1..=3 {
        cluster.run(0, &format!("INSERT INTO t VALUES ({id}, 'a', 1)")).await;
        let count = format!("SELECT count(*) FROM t WHERE id = {id}");
        let arrived = async || (cluster.rows(1, &count).await == ["1"]).then_some(());
        wait_until("the row to arrive", PATIENCE, arrived).await;
    }
    watch.ends().await;
    assert_eq!(cycles.load(Ordering::SeqCst), comparisons.load(Ordering::SeqCst));
}

/// The command: exit codes, what is told, and the document.
#[tokio::test]
async fn the_command_tells_of_conflicts() {
    let databases = [Database::new(Kind::Sqlite).await, Database::new(Kind::Sqlite).await];
    for (database, rows) in databases.iter().zip(["(1, 'x', 5), (2, 'x', 1)", "(1, 'y', 5)"]) {
        let mut user = database.user().await;
        user.execute(&format!("{}; INSERT INTO t VALUES {rows}", table(Kind::Sqlite))).await;
    }
    let [a, b] = [databases[0].url(), databases[1].url()];
    let nodes = format!("[nodes.a]\nurl = \"{a}\"\n[nodes.b]\nurl = \"{b}\"\n");
    let concord = Concord::new(&format!("name = \"shop\"\n{nodes}{TWO_WAY}"));
    let checked = concord.run(&["check"]).await.ok();
    assert!(checked.says("nothing to install") && checked.says("table t: compared, key (id)"), "{}", checked.stdout);
    assert!(concord.run(&["install"]).await.ok().says("a: nothing to install"));
    let planned = concord.run(&["plan"]).await.expect(1);
    assert!(planned.says("at b: 1 to write, 0 to delete"), "{}", planned.stdout);
    let synced = concord.run(&["sync"]).await.expect(1);
    assert!(synced.says("[1]: a conflict: the rows differ and are equally late at a, b"), "{}", synced.stdout);
    let document = concord.run(&["sync", "--json"]).await.expect(1).json();
    assert_eq!((&document["compared"][0]["undecided"], &document["nodes"]), (&1.into(), &serde_json::json!([])));
    assert!(concord.run(&["status"]).await.ok().says("compared: t"));
    concord.run(&["verify"]).await.expect(1);
    concord.run(&["verify", "--repair", "--prefer", "b", "--out", "mend.jsonl"]).await.expect(1);
    concord.run(&["verify", "--plan", "mend.jsonl"]).await.ok();
    assert!(concord.run(&["sync"]).await.ok().says("nothing to carry"));
    for command in [vec!["why", "t", "1"], vec!["load"], vec!["conflicts", "list"], vec!["parked", "list"]] {
        assert!(concord.run(&command).await.expect(2).stderr.contains("kept in step by comparison"), "{command:?}");
    }
    concord.run(&["uninstall", "--yes"]).await.ok();
    drop(databases);
}
