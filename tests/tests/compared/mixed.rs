//! Some tables by triggers and some by comparison, in one sync; and from the one to the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use concord::sync::Cycle;
use concord_tests::{As, Cluster, Kind, PATIENCE, wait_until};
use tokio::sync::Notify;

use super::{ALL, ONE_WAY, PAIRS, TWO_WAY, Watch, carried, traces};

fn tables(_: Kind) -> String {
    "CREATE TABLE owners (id integer PRIMARY KEY, name text);
     CREATE TABLE t (id bigint PRIMARY KEY, name text, at bigint, owner integer REFERENCES owners (id))"
        .to_owned()
}

/// GIVEN rows of a compared table that refer to those of a table with triggers
/// WHEN they are made on both sides
/// THEN one sync brings all of it, and only the one table has triggers.
#[tokio::test]
async fn both_in_one_sync() {
    for kinds in PAIRS {
        let mut cluster = Cluster::new(kinds, tables, &format!("{TWO_WAY}[tables.owners]\n")).await;
        cluster.run(0, "INSERT INTO owners VALUES (1, 'one'); INSERT INTO t VALUES (1, 'a', 1, 1)").await;
        cluster.run(1, "INSERT INTO owners VALUES (2, 'two'); INSERT INTO t VALUES (2, 'b', 1, 2)").await;
        let summary = cluster.settle().await;
        assert_eq!(carried(&summary), [("a".to_owned(), 2, 0), ("b".to_owned(), 2, 0)], "{kinds:?}: {summary:#?}");
        cluster.run(0, "DELETE FROM t WHERE id = 1; DELETE FROM owners WHERE id = 1").await;
        // Of the compared table nobody knows that it was deleted, so its owner has to stay.
        let summary = cluster.sync().await;
        assert_eq!((summary.waiting, summary.exit_code()), (1, 1), "{summary:#?}");
        for at in 0..2 {
            let ours: Vec<String> = traces(&mut cluster, at).await;
            let triggers = |table: &str| ours.iter().filter(|name| name.starts_with(&format!("{table}."))).count();
            assert!(triggers("owners") > 0 && triggers("t") == 0, "{kinds:?}: {ours:?}");
        }
    }
}

/// What triggers and cascades make of rows that a comparison writes is carried, for it is nobody's but this node's.
#[tokio::test]
async fn what_follows_from_a_comparison_is_recorded() {
    let setup = |kind| {
        let log = "CREATE TABLE log (id integer PRIMARY KEY, name text)";
        let t = super::table(kind);
        match kind {
            Kind::Sqlite => format!(
                "{log}; {t};
                 CREATE TRIGGER log AFTER INSERT ON t WHEN NEW.name = 'logged' BEGIN
                    INSERT INTO log VALUES (NEW.id, NEW.name) ON CONFLICT DO NOTHING; END"
            ),
            _ => format!("{log}; {t}"),
        }
    };
    let config = format!("{}[tables.log]\n", ONE_WAY.replace("\"a\"", "\"b\""));
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Postgres], setup, &config).await;
    cluster.run(1, "INSERT INTO t VALUES (1, 'logged', 1), (2, 'not', 1)").await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM log", &["1|logged"]).await;
}

/// GIVEN a compared table that may not be written any more
/// WHEN a sync finds rows of it to write, and of a table with triggers
/// THEN it is told why the one was not compared, and the other is carried and told.
#[tokio::test]
async fn what_fails_at_comparing_hides_nothing() {
    for (config, written) in [(format!("{ONE_WAY}[tables.owners]\n"), 1), (ONE_WAY.to_owned(), 0)] {
        let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Postgres], tables, &config).await;
        cluster.run_as_owner(1, "REVOKE INSERT, UPDATE ON t FROM sync").await;
        cluster.run(0, "INSERT INTO owners VALUES (1, 'one'); INSERT INTO t VALUES (1, 'a', 1, NULL)").await;
        let summary = cluster.sync().await;
        assert_eq!(carried(&summary).iter().map(|(_, written, _)| written).sum::<u64>(), written, "{summary:#?}");
        let why = super::compared(&summary).skipped.as_deref().unwrap_or_default();
        assert!(why.starts_with("node `b`: mending rows of `t`: permission denied for table t"), "{summary:#?}");
        assert_eq!((summary.failed.as_deref(), summary.exit_code()), (None, 1), "{summary:#?}");
    }
}

/// Whether a comparison failed.
fn fails(cycle: &Cycle) -> bool {
    cycle.compared.iter().any(|table| table.skipped.is_some())
}

/// GIVEN a table that may not be written
/// WHEN it is compared while a watch runs, whether there are tables with triggers or not
/// THEN that is told, and the watch goes on until it may be.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_outlives_what_fails_at_comparing() {
    for more in ["[tables.owners]\n", ""] {
        let config = format!("{ONE_WAY}{more}[defaults]\ncompare_every = \"20ms\"\n");
        let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Postgres], tables, &config).await;
        cluster.run_as_owner(1, "REVOKE INSERT ON t FROM sync").await;
        cluster.run(0, "INSERT INTO t VALUES (1, 'a', 1, NULL)").await;
        let (stop, failures) = (Arc::new(Notify::new()), Arc::new(AtomicU64::new(0)));
        let (heard, counted, mut session) = (stop.clone(), failures.clone(), cluster.session());
        let watching = tokio::spawn(async move {
            let count = |cycle: &Cycle| {
                counted.fetch_add(u64::from(fails(cycle)), Ordering::Relaxed);
            };
            session.watch(Duration::from_millis(20), async move { heard.notified().await }, count).await
        });
        let several = async || (failures.load(Ordering::Relaxed) > 2 || watching.is_finished()).then_some(());
        wait_until("comparisons to fail", PATIENCE, several).await;
        cluster.run_as_owner(1, "GRANT INSERT ON t TO sync").await;
        let arrived = async || (cluster.rows(1, "SELECT id FROM t").await == ["1"]).then_some(());
        wait_until("the row to arrive", PATIENCE, arrived).await;
        stop.notify_one();
        watching.await.expect("it does not panic").expect("it ends well");
    }
}

/// A table that is compared and not there is told by `status` too, beside tables with triggers.
#[tokio::test]
async fn status_tells_of_a_table_that_is_missing() {
    let config = format!("{ONE_WAY}[tables.owners]\n");
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Postgres], tables, &config).await;
    assert_eq!(cluster.session().status().await.expect("all are there").exit_code(), 0);
    for at in 0..2 {
        cluster.run_as_owner(at, "DROP TABLE t").await;
    }
    let status = cluster.session().status().await.expect("all are there");
    let why = "there is no table `t` at a; there is no table `t` at b";
    assert_eq!((status.stopped[0].table.as_str(), status.stopped[0].why.as_str()), ("t", why));
    assert_eq!(status.exit_code(), 1);
}

/// GIVEN a row that waits for one of a compared table, and one that waits for good
/// WHEN a comparison brings what the first waits for
/// THEN the first arrives with the same sync, and the other is tried no more often than in any sync.
#[tokio::test]
async fn what_waits_is_tried_again_for_what_a_comparison_brings() {
    let setup = |kind| {
        let tables =
            format!("{}; CREATE TABLE child (id integer PRIMARY KEY, t bigint REFERENCES t)", super::table(kind));
        match kind {
            Kind::Sqlite | Kind::Mariadb => format!("{tables}; CREATE TABLE u (id integer PRIMARY KEY)"),
            Kind::Postgres => format!(
                "{tables}; CREATE SEQUENCE tries;
                 CREATE TABLE u (id integer PRIMARY KEY CHECK (nextval('tries') < 0))"
            ),
        }
    };
    let config = format!("{ONE_WAY}[tables.child]\n[tables.u]\n");
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Postgres], setup, &config).await;
    cluster.run(0, "INSERT INTO u VALUES (1)").await;
    assert_eq!(cluster.sync().await.waiting, 1);
    let tries = async |cluster: &mut Cluster| {
        let mut owner = cluster.nodes[1].database.user_as(As::Sync).await;
        owner.cell("SELECT last_value FROM tries").await.parse::<i64>().expect("a number")
    };
    let first = tries(&mut cluster).await;
    cluster.sync().await;
    let second = tries(&mut cluster).await;
    cluster.run(0, "INSERT INTO t VALUES (1, 'a', 1); INSERT INTO child VALUES (1, 1)").await;
    let summary = cluster.sync().await;
    assert_eq!(summary.waiting, 1, "{summary:#?}");
    cluster.holds_at(1, "SELECT * FROM child", &["1|1"]).await;
    assert_eq!(tries(&mut cluster).await - second, second - first);
}

/// The same beside a watch, which goes on.
#[tokio::test(flavor = "multi_thread")]
async fn what_fails_at_comparing_ends_no_watch() {
    let config = format!("{ONE_WAY}[tables.owners]\n[defaults]\ncompare_every = \"20ms\"\n");
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Postgres], tables, &config).await;
    cluster.run_as_owner(1, "REVOKE INSERT, UPDATE ON t FROM sync").await;
    cluster.run(0, "INSERT INTO t VALUES (1, 'a', 1, NULL)").await;
    let failures = Arc::new(AtomicU64::new(0));
    let counted = failures.clone();
    let watch = Watch::new(&cluster, move |cycle| {
        counted.fetch_add(u64::from(fails(cycle)), Ordering::SeqCst);
    });
    for id in 1..=2 {
        let failed = async || (failures.load(Ordering::SeqCst) >= id).then_some(());
        wait_until("a comparison to fail", PATIENCE, failed).await;
        cluster.run(0, &format!("INSERT INTO owners VALUES ({id}, 'new')")).await;
        let arrived = async || (cluster.rows(1, "SELECT count(*) FROM owners").await == [id.to_string()]).then_some(());
        wait_until("the row to arrive", PATIENCE, arrived).await;
    }
    watch.ends().await;
}

/// GIVEN a compared table that may not be written at one node, before another in the file
/// WHEN a sync finds rows of both to write
/// THEN the one is told with the reason, and the other arrives everywhere; so does the one, where it may be written.
#[tokio::test]
async fn what_fails_in_one_table_leaves_the_others_alone() {
    let setup = |_| "CREATE TABLE t (id integer PRIMARY KEY); CREATE TABLE u (id integer PRIMARY KEY)".to_owned();
    let compared = |name: &str| format!("[tables.{name}]\nmode = \"compare\"\nfrom = \"a\"\n");
    for kinds in [&[Kind::Sqlite, Kind::Postgres][..], &[Kind::Sqlite, Kind::Postgres, Kind::Sqlite]] {
        let mut cluster = Cluster::bare(kinds, setup, &(compared("t") + &compared("u"))).await;
        cluster.run_as_owner(1, "REVOKE INSERT ON t FROM sync").await;
        cluster.run(0, "INSERT INTO t VALUES (1); INSERT INTO u VALUES (1)").await;
        let mut session = cluster.session();
        for _ in 0..2 {
            let summary = session.sync().await.expect("one table fails");
            let told = summary.compared[0].skipped.iter().chain(summary.away.iter().map(|away| &away.why));
            let told: Vec<&str> = told.map(String::as_str).filter(|why| why.contains("permission denied")).collect();
            assert!(!told.is_empty() && summary.exit_code() == 1, "{summary:#?}");
            assert!(summary.away.iter().all(|away| away.why.starts_with("table `t`: ")), "{summary:#?}");
        }
        cluster.holds("SELECT id FROM u", &["1"]).await;
        cluster.holds_at(kinds.len() - 1, "SELECT count(*) FROM t", &[if kinds.len() > 2 { "1" } else { "0" }]).await;
        cluster.run_as_owner(1, "GRANT INSERT ON t TO sync").await;
        super::settle(&mut cluster).await;
    }
}

/// GIVEN a compared table that a user holds locked at one node, before another in the file
/// WHEN a sync compares both
/// THEN the node is told with the one, and has the rows of the other.
#[tokio::test]
async fn what_is_locked_in_one_table_leaves_the_others_alone() {
    let setup = |_| "CREATE TABLE t (id integer PRIMARY KEY); CREATE TABLE u (id integer PRIMARY KEY)".to_owned();
    let compared = |name: &str| format!("[tables.{name}]\nmode = \"compare\"\nfrom = \"a\"\n");
    let config = compared("t") + &compared("u");
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Postgres], setup, &config).await;
    cluster.run(0, "INSERT INTO t VALUES (1); INSERT INTO u VALUES (1)").await;
    let mut concord = cluster.command(&config);
    concord.env("CONCORD_PATIENCE", "100");
    let mut holder = cluster.nodes[1].database.user_as(As::Sync).await;
    holder.execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE").await;
    let summary = concord.run(&["sync", "--json"]).await.expect(3).json();
    let why = summary["away"][0]["why"].as_str().unwrap_or_default();
    assert!(why.starts_with("table `t`: ") && why.contains("locked by somebody else"), "{summary:#}");
    cluster.holds_at(1, "SELECT id FROM u", &["1"]).await;
    holder.execute("ROLLBACK").await;
    concord.run(&["sync"]).await.ok();
    cluster.holds("SELECT id FROM t", &["1"]).await;
}

/// GIVEN a connection that breaks as a comparison begins
/// WHEN what the others took has the histories carried once more, with the node there again
/// THEN that it missed the comparison is told all the same.
#[tokio::test]
async fn who_missed_a_comparison_is_told_though_there_again() {
    let config = format!("{ONE_WAY}[tables.owners]\n");
    let mut cluster = Cluster::new(&[Kind::Sqlite; 3], tables, &config).await;
    cluster.run(0, "INSERT INTO t VALUES (1, 'a', 1, NULL)").await;
    let mut concord = cluster.command(&config);
    let summary = concord.faults("compare-open=error@2").run(&["sync", "--json"]).await.expect(3).json();
    assert_eq!(summary["away"].as_array().map(Vec::len), Some(1), "{summary:#}");
    assert_eq!(summary["away"][0]["node"], "b", "{summary:#}");
    cluster.holds_at(1, "SELECT id FROM t", &[]).await;
    cluster.holds_at(2, "SELECT id FROM t", &["1"]).await;
    cluster.settle().await;
}

/// GIVEN rows to be written at two nodes, of which one takes none
/// WHEN they are compared
/// THEN what the other took is told beside the reason.
#[tokio::test]
async fn what_one_node_took_is_told_though_another_fails() {
    let mut cluster = Cluster::bare(PAIRS[1], super::table, TWO_WAY).await;
    cluster.run_as_owner(1, "REVOKE INSERT ON t FROM sync").await;
    cluster.run(0, "INSERT INTO t VALUES (1, 'a', 1)").await;
    cluster.run(1, "INSERT INTO t VALUES (2, 'b', 1)").await;
    let summary = cluster.sync().await;
    assert_eq!(carried(&summary), [("a".to_owned(), 1, 0)], "{summary:#?}");
    let why = super::compared(&summary).skipped.as_deref().unwrap_or_default();
    let told = "; before that, rows were mended: 1 written and 0 deleted at a";
    assert!(why.contains("permission denied for table t") && why.ends_with(told), "{why}");
    assert_eq!(summary.exit_code(), 1, "{summary:#?}");
    cluster.holds_at(0, "SELECT count(*) FROM t", &["2"]).await;
}

/// GIVEN rows that are equally late, and a node that takes no new ones
/// WHEN the policy decides the ones, and the others cannot be written
/// THEN the former is told beside the reason, for no journal tells it.
#[tokio::test]
async fn what_a_policy_decided_is_told_though_the_rest_fails() {
    let config = format!("{TWO_WAY}conflict = {{ prefer = [\"b\"] }}\n");
    let mut cluster = Cluster::bare(PAIRS[1], super::table, &config).await;
    cluster.run_as_owner(1, "REVOKE INSERT ON t FROM sync").await;
    cluster.run(0, "INSERT INTO t VALUES (1, 'a', 5), (2, 'a', 5)").await;
    cluster.run(1, "INSERT INTO t VALUES (1, 'b', 5)").await;
    let synced = cluster.command(&config).run(&["sync"]).await.expect(1);
    assert!(synced.says("t: not compared: ") && synced.says("permission denied for table t"), "{synced:?}");
    assert!(synced.says("1 row was equally late elsewhere, and decided by the table's policy"), "{synced:?}");
    cluster.holds_at(0, ALL, &["1|b|5", "2|a|5"]).await;
}

/// GIVEN a row that a node does not take
/// WHEN the table is looked at once more for its sake, and that fails
/// THEN why the row was not taken is told beside that.
#[tokio::test]
async fn why_a_row_was_refused_is_told_though_looking_again_fails() {
    let setup = |kind| match kind {
        Kind::Sqlite => super::table(kind),
        _ => super::table(kind) + "; ALTER TABLE t ADD CONSTRAINT small CHECK (at < 20)",
    };
    let mut cluster = Cluster::bare(PAIRS[1], setup, ONE_WAY).await;
    cluster.run(0, "INSERT INTO t VALUES (1, 'a', 99)").await;
    let mut concord = cluster.command(ONE_WAY);
    // Before, the table is read twice, to sum it up and to narrow.
    let synced = concord.faults("verify-pass=error@3").run(&["sync"]).await.expect(1);
    assert!(synced.says("t: not compared: the fault point `verify-pass`"), "{synced:?}");
    assert!(synced.says("1 row was not taken by a node") && synced.says("[1] at b: "), "{synced:?}");
    assert!(synced.says("small"), "{synced:?}");
}

/// GIVEN three nodes, of which one may not read a compared table
/// WHEN a watch compares it, beside a table with triggers
/// THEN the node is told to have missed it, and is there for the rest.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_a_compared_table_is_not_away() {
    let config = format!("{ONE_WAY}[tables.owners]\n[defaults]\ncompare_every = \"20ms\"\n");
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Postgres, Kind::Sqlite], tables, &config).await;
    cluster.run_as_owner(1, "REVOKE SELECT ON t FROM sync").await;
    cluster.run(0, "INSERT INTO t VALUES (1, 'a', 1, NULL)").await;
    let (missed, away) = <(Arc<AtomicU64>, Arc<AtomicU64>)>::default();
    let counts = (missed.clone(), away.clone());
    let watch = Watch::new(&cluster, move |cycle| {
        let missed = cycle.compared.iter().flat_map(|table| &table.missed).filter(|missed| missed.node == "b");
        counts.0.fetch_add(missed.count() as u64, Ordering::SeqCst);
        counts.1.fetch_add(cycle.away.len() as u64, Ordering::SeqCst);
    });
    let several = async || (missed.load(Ordering::SeqCst) > 1).then_some(());
    wait_until("comparisons to be missed", PATIENCE, several).await;
    watch.ends().await;
    assert_eq!(away.load(Ordering::SeqCst), 0);
    cluster.holds_at(2, "SELECT id FROM t", &["1"]).await;
}

/// The same beside a watch, which says so.
#[tokio::test]
async fn a_watch_tells_why_a_table_was_not_compared() {
    let mut cluster = Cluster::bare(PAIRS[1], super::table, TWO_WAY).await;
    cluster.run_as_owner(1, "REVOKE INSERT ON t FROM sync").await;
    cluster.run(0, "INSERT INTO t VALUES (1, 'a', 1)").await;
    cluster.run(1, "INSERT INTO t VALUES (2, 'b', 1)").await;
    let concord = cluster.command(TWO_WAY);
    let mut watch = concord.start(&["watch"]);
    let line = watch.line("t: not compared: ").await;
    assert!(line.contains("a: 1 written") && line.contains("permission denied for table t"), "{line}");
    watch.kill().await;
}

/// GIVEN a comparison that has written
/// WHEN the histories cannot be carried once more
/// THEN what it wrote is told beside the reason.
#[tokio::test]
async fn what_was_compared_is_told_though_carrying_fails() {
    let config = format!("{ONE_WAY}[tables.owners]\n");
    let mut cluster = Cluster::new(&[Kind::Sqlite; 2], tables, &config).await;
    cluster.settle().await;
    cluster.run(0, "INSERT INTO t VALUES (1, 'a', 1, NULL)").await;
    let mut concord = cluster.command(&config);
    // The first cycle has nothing to carry.
    let summary = concord.faults("cycle-done=error@2").run(&["sync", "--json"]).await.expect(1).json();
    let found = &summary["compared"][0];
    assert_eq!((&found["table"], &found["mended"]), (&"t".into(), &1.into()), "{summary:#}");
    let why = summary["failed"].as_str().unwrap_or_default();
    assert!(why.contains("`cycle-done`"), "{summary:#}");
    cluster.holds_at(1, "SELECT id FROM t", &["1"]).await;
}

/// GIVEN changes of a table with triggers, and a comparison that fails
/// WHEN a sync is planned
/// THEN what is planned of the one is told, and why nothing is of what is compared.
#[tokio::test]
async fn what_fails_at_comparing_hides_no_plan() {
    let config = format!("{ONE_WAY}[tables.owners]\n");
    let mut cluster = Cluster::new(&[Kind::Sqlite; 2], tables, &config).await;
    cluster.run(0, "INSERT INTO owners VALUES (1, 'one')").await;
    let mut concord = cluster.command(&config);
    let plan = concord.faults("verify-pass=error").run(&["plan", "--json"]).await.expect(1).json();
    let counts = &plan["counts"][0];
    assert_eq!((&counts["table"], &counts["insert"]), (&"owners".into(), &1.into()), "{plan:#}");
    let why = plan["compared"][0]["skipped"].as_str().unwrap_or_default();
    assert!(plan["compared"][0]["table"] == "t" && why.contains("`verify-pass`"), "{plan:#}");
}

/// Whoever a plan was made without is told although there again for the comparison.
#[tokio::test]
async fn who_is_away_from_a_plan_is_told_though_compared() {
    let config = format!("{ONE_WAY}[tables.owners]\n");
    let cluster = Cluster::new(&[Kind::Sqlite; 3], tables, &config).await;
    let mut concord = cluster.command(&config);
    let plan = concord.faults("open=error@2").run(&["plan", "--json"]).await.expect(3).json();
    assert_eq!(plan["away"][0]["node"], "b", "{plan:#}");
    assert_eq!(plan["compared"][0]["nodes"].as_array().map(Vec::len), Some(3), "{plan:#}");
}

/// GIVEN a table with triggers and changes that nobody has carried yet
/// WHEN the file says that it is compared
/// THEN `install` refuses until they were carried, and then takes the triggers away.
#[tokio::test]
async fn from_triggers_to_comparison_and_back() {
    for kinds in PAIRS {
        let setup = |kind| format!("{}; CREATE TABLE other (id integer PRIMARY KEY)", super::table(kind));
        let triggers = "[tables.t]\n[tables.other]\n";
        let mut cluster = Cluster::new(kinds, setup, triggers).await;
        cluster.run(0, "INSERT INTO t VALUES (1, 'a', 1)").await;
        let compared = format!("{TWO_WAY}[tables.other]\n");
        cluster.configure(&compared);
        let refused = cluster.try_install().await.expect_err("a change would be given up");
        assert!(refused.contains("1 change of `t`, which is compared from now on,"), "{refused}");
        cluster.configure(triggers);
        cluster.settle().await;
        cluster.configure(&compared);
        let done = cluster.install().await;
        let removed = |done: &[String]| done.iter().filter(|line| line.contains("removed")).count();
        assert_eq!((done.len(), removed(&done)), (2, 2), "{done:?}");
        cluster.run(1, "UPDATE t SET name = 'b', at = 2").await;
        cluster.settle().await;
        cluster.holds(ALL, &["1|b|2"]).await;
        // And with no table of the other kind left, nothing but the journal stays.
        cluster.configure(&format!("{TWO_WAY}[tables.other]\nmode = \"compare\"\nfrom = \"a\"\n"));
        let done = cluster.install().await;
        assert_eq!((done.len(), removed(&done)), (2, 2), "{done:?}");
        cluster.run(0, "UPDATE t SET name = 'c', at = 3").await;
        super::settle(&mut cluster).await;
        cluster.configure(triggers);
        cluster.install().await;
        cluster.run(1, "DELETE FROM t").await;
        cluster.settle().await;
        cluster.holds(ALL, &[]).await;
        cluster.each_uninstalls().await;
    }
}

/// The table in partitions, whose triggers are of another form.
fn partitioned(kind: Kind) -> String {
    let table = super::table(kind);
    match kind {
        Kind::Postgres => format!(
            "{table} PARTITION BY RANGE (id); CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (10);
             CREATE TABLE rest PARTITION OF t DEFAULT"
        ),
        _ => table,
    }
}

/// A comparison may write to a database that takes part in another sync by triggers; to that one it is a user.
#[tokio::test]
async fn another_sync_carries_on_what_a_comparison_brings() {
    type Setup = fn(Kind) -> String;
    let (plain, parts): (Setup, Setup) = (super::table, partitioned);
    for (kinds, table) in [
        ([Kind::Sqlite, Kind::Sqlite, Kind::Postgres], plain),
        ([Kind::Sqlite, Kind::Postgres, Kind::Sqlite], plain),
        ([Kind::Sqlite, Kind::Postgres, Kind::Sqlite], parts),
    ] {
        let [first, middle, last] = kinds;
        let mut mirror = Cluster::bare(&[first, middle], table, ONE_WAY).await;
        let mut shop = Cluster::bare(&[middle, last], table, "[tables.t]\n").await;
        // The middle database is the same.
        shop.nodes.swap(0, 1);
        let middle = mirror.nodes.pop().expect("a node");
        let mut spare = std::mem::replace(&mut shop.nodes[1], middle);
        shop.install().await;
        std::mem::swap(&mut shop.nodes[1], &mut spare);
        mirror.nodes.push(spare);
        mirror.run(0, "INSERT INTO t VALUES (1, 'a', 1)").await;
        // To its own triggers nobody is a user.
        assert_eq!(super::others::mirror(&mirror).sync().await.expect("both are there").exit_code(), 0);
        let middle = mirror.nodes.pop().expect("a node");
        shop.nodes[1] = middle;
        shop.settle().await;
        shop.holds(ALL, &["1|a|1"]).await;
    }
}
