//! What `--repair` writes, what it leaves alone, and plans.

use std::path::Path;
use std::sync::{Arc, Mutex};

use concord::fault::{self, Faults};
use concord::sync::{ConflictReport, Left, Remedy, Repair, Verified, Verify};
use concord_tests::{As, Cluster, Kind};
use serde_json::json;

use super::{PAIRS, told, verify};

fn table(_: Kind) -> String {
    "CREATE TABLE t (id bigint PRIMARY KEY, name text, n bigint NOT NULL);
     INSERT INTO t VALUES (1, 'same', 1), (2, 'differs', 2), (3, 'differs', 3), (4, 'gone', 4), (5, 'gone', 5)"
        .to_owned()
}

/// Rows that differ without a change that would be on its way: 2 and 3 differ, 4 is missing at b, 5 at a, 6 is at b alone.
async fn differing(kinds: &[Kind], config: &str) -> Cluster {
    let mut cluster = Cluster::new(kinds, table, config).await;
    cluster.run(0, "UPDATE t SET n = 20 WHERE id = 2; DELETE FROM t WHERE id = 5").await;
    cluster
        .run(1, "UPDATE t SET n = 30 WHERE id = 3; DELETE FROM t WHERE id = 4; INSERT INTO t VALUES (6, 'new', 6)")
        .await;
    forget(&mut cluster).await;
    cluster
}

async fn forget(cluster: &mut Cluster) {
    for node in cluster.nodes.iter_mut() {
        let history = if node.database.kind() == Kind::Postgres { "history_store.t" } else { "history_store_t" };
        node.database.user_as(As::Sync).await.execute(&format!("DELETE FROM {history}")).await;
    }
}

fn mending(prefer: Option<&str>) -> Verify {
    Verify { repair: Repair::Mend, prefer: prefer.map(str::to_owned), ..Verify::default() }
}

/// Differences, mended, moved on, undecided, refused, and the exit code.
fn numbers(verified: &Verified) -> ([u64; 5], u8) {
    let table = &verified.tables[0];
    ([table.differences, table.mended, table.moved_on, table.undecided, table.refused], verified.exit_code())
}

const ALL: &str = "SELECT * FROM t ORDER BY id";

#[tokio::test]
async fn what_nobody_can_decide_is_left_alone_and_the_rest_copied() {
    for kinds in PAIRS {
        let mut cluster = differing(kinds, "[tables.t]\n").await;
        let verified = verify(&cluster, mending(None)).await;
        assert_eq!(numbers(&verified), ([5, 3, 0, 2, 0], 1), "{kinds:?}: {verified:#?}");
        let left = &verified.tables[0].left[0];
        assert!(left.because == Left::Undecided && left.why.contains("--prefer NODE"), "{left:?}");
        cluster.holds_at(0, ALL, &["1|same|1", "2|differs|20", "3|differs|3", "4|gone|4", "5|gone|5", "6|new|6"]).await;
        cluster.holds_at(1, ALL, &["1|same|1", "2|differs|2", "3|differs|30", "4|gone|4", "5|gone|5", "6|new|6"]).await;
        let verified = verify(&cluster, mending(Some("b"))).await;
        assert_eq!(numbers(&verified), ([2, 2, 0, 0, 0], 0), "{kinds:?}: {verified:#?}");
        cluster.holds(ALL, &["1|same|1", "2|differs|2", "3|differs|30", "4|gone|4", "5|gone|5", "6|new|6"]).await;
        // What was overwritten is in the journal, and no change that would be carried.
        let journal = cluster.session().conflicts(0).await.unwrap();
        assert_eq!(journal.len(), 2);
        assert!(
            journal.iter().all(|lost| lost.loser == "a" && lost.winner == "b" && lost.reason == "verify: --prefer b")
        );
        assert_eq!(journal.iter().find(|lost| lost.key[0] == 2).unwrap().loser_row.as_ref().unwrap()["n"], 20);
        cluster.settle().await;
        assert_eq!(numbers(&verify(&cluster, Verify::default()).await), ([0; 5], 0));
    }
}

#[tokio::test]
async fn the_policy_and_the_column_that_tells_what_is_later_decide() {
    let kinds = PAIRS[1];
    let mut cluster = differing(kinds, "[tables.t]\nupdated = \"n\"\n").await;
    assert_eq!(numbers(&verify(&cluster, mending(None)).await), ([5, 5, 0, 0, 0], 0));
    cluster.holds(ALL, &["1|same|1", "2|differs|20", "3|differs|30", "4|gone|4", "5|gone|5", "6|new|6"]).await;
    let mut cluster = differing(kinds, "[tables.t]\nconflict = { prefer = [\"a\"] }\n").await;
    assert_eq!(numbers(&verify(&cluster, mending(None)).await), ([5, 5, 0, 0, 0], 0));
    cluster.holds(ALL, &["1|same|1", "2|differs|20", "3|differs|3", "4|gone|4", "5|gone|5", "6|new|6"]).await;
}

#[tokio::test]
async fn one_way_the_targets_become_like_the_source() {
    for kinds in Kind::PAIRS {
        let mut cluster = differing(kinds, "[tables.t]\nfrom = \"a\"\n").await;
        let found = verify(&cluster, Verify::default()).await;
        assert_eq!(told(&found.tables[0]), ["[2] n", "[3] n", "[4] missing b", "[5] extra b", "[6] extra b"]);
        let verified = verify(&cluster, mending(None)).await;
        assert_eq!(numbers(&verified), ([5, 5, 0, 0, 0], 0), "{verified:#?}");
        cluster.holds(ALL, &["1|same|1", "2|differs|20", "3|differs|3", "4|gone|4"]).await;
        // What was deleted is in the journal too.
        assert_eq!(cluster.session().conflicts(0).await.unwrap().len(), 4);
        cluster.settle().await;
    }
}

#[tokio::test]
async fn what_is_not_carried_is_no_difference() {
    let two_way: [(&str, &[&str], [u64; 3]); 4] = [
        ("[\"insert\", \"update\"]", &["[2] n", "[3] n"], [3, 0, 0]),
        ("[\"insert\", \"delete\"]", &["[4] missing b", "[5] missing a", "[6] missing a"], [0, 0, 4]),
        ("[\"update\", \"delete\"]", &["[2] n", "[3] n"], [3, 0, 0]),
        ("[\"delete\"]", &[], [3, 0, 4]),
    ];
    let one_way: [(&str, &[&str], [u64; 3]); 4] = [
        ("[\"insert\", \"update\"]", &["[2] n", "[3] n", "[4] missing b"], [0, 2, 0]),
        ("[\"insert\", \"delete\"]", &["[4] missing b", "[5] extra b", "[6] extra b"], [0, 0, 2]),
        ("[\"update\", \"delete\"]", &["[2] n", "[3] n", "[5] extra b", "[6] extra b"], [1, 0, 0]),
        ("[\"insert\"]", &["[4] missing b"], [0, 2, 2]),
    ];
    for (from, cases) in [("", two_way), ("from = \"a\"\n", one_way)] {
        let mut cluster = differing(PAIRS[1], &format!("[tables.t]\n{from}")).await;
        for (operations, found, allowed) in cases {
            cluster.configure(&format!("[tables.t]\n{from}operations = {operations}\n"));
            cluster.install().await;
            let verified = verify(&cluster, Verify::default()).await;
            let table = &verified.tables[0];
            assert_eq!(told(table), *found, "{from} {operations}");
            let counts = [table.allowed.missing, table.allowed.extra, table.allowed.differing];
            assert_eq!(counts, allowed, "{from} {operations}");
            assert_eq!(verified.exit_code(), u8::from(!found.is_empty()));
        }
    }
}

/// The row is read, and a user changes it before it is written.
#[tokio::test]
async fn what_moves_on_meanwhile_is_left_to_its_user() {
    for kinds in PAIRS {
        let mut cluster = differing(kinds, "[tables.t]\n").await;
        let mut session = cluster.session();
        let how = mending(Some("a"));
        let verified = cluster
            .during("verify-mend", session.verify(&how), async |cluster| {
                cluster.run(1, "UPDATE t SET n = 31 WHERE id = 3").await;
                cluster.run(0, "INSERT INTO t VALUES (5, 'anew', 50)").await;
            })
            .await
            .unwrap();
        assert_eq!(numbers(&verified), ([5, 3, 2, 0, 0], 1), "{kinds:?}: {verified:#?}");
        cluster
            .holds_at(1, ALL, &["1|same|1", "2|differs|20", "3|differs|31", "4|gone|4", "5|gone|5", "6|new|6"])
            .await;
        cluster.holds_at(0, "SELECT n FROM t WHERE id = 5", &["50"]).await;
        cluster.settle().await;
        cluster.holds("SELECT n FROM t WHERE id IN (3, 5) ORDER BY id", &["31", "50"]).await;
    }
}

/// The same where nothing records what users do, as the table goes one way.
#[tokio::test]
async fn what_moves_on_meanwhile_at_a_target_is_not_overwritten() {
    for kinds in PAIRS {
        let mut cluster = differing(kinds, "[tables.t]\nfrom = \"a\"\n").await;
        let mut session = cluster.session();
        let how = mending(None);
        let verified = cluster
            .during("verify-mend", session.verify(&how), async |cluster| {
                cluster.run(1, "UPDATE t SET n = 31 WHERE id = 3; UPDATE t SET n = 60 WHERE id = 6").await;
                cluster.run(1, "INSERT INTO t VALUES (4, 'anew', 40)").await;
            })
            .await
            .unwrap();
        assert_eq!(numbers(&verified), ([5, 2, 3, 0, 0], 1), "{kinds:?}: {verified:#?}");
        cluster.holds_at(1, ALL, &["1|same|1", "2|differs|20", "3|differs|31", "4|anew|40", "6|new|60"]).await;
        // What was not overwritten did not lose.
        let journal = cluster.session().conflicts(0).await.unwrap();
        let mut keys: Vec<_> = journal.iter().map(|lost| lost.key[0].as_u64()).collect();
        keys.sort();
        assert_eq!(keys, [Some(2), Some(5)], "{kinds:?}: {journal:#?}");
    }
}

/// A node that refuses a row says why, and nothing waits.
#[tokio::test]
async fn what_a_node_refuses_is_told_and_does_not_wait() {
    let setup = |kind: Kind| match kind {
        Kind::Sqlite => table(kind),
        Kind::Postgres | Kind::Mariadb => table(kind) + "; ALTER TABLE t ADD CONSTRAINT small CHECK (n < 20)",
    };
    let mut cluster = Cluster::new(PAIRS[1], setup, "[tables.t]\n").await;
    cluster.run(0, "UPDATE t SET n = 20 WHERE id = 2; UPDATE t SET n = 7 WHERE id = 3").await;
    forget(&mut cluster).await;
    let verified = verify(&cluster, mending(Some("a"))).await;
    assert_eq!(numbers(&verified), ([2, 1, 0, 0, 1], 1), "{verified:#?}");
    let left = &verified.tables[0].left[0];
    assert!(left.node.as_deref() == Some("b") && left.why.contains("small"), "{left:?}");
    assert_eq!(cluster.waiting().await, [""; 0]);
    cluster.holds_at(1, "SELECT n FROM t WHERE id IN (2, 3) ORDER BY id", &["2", "7"]).await;
    assert_eq!(cluster.session().conflicts(0).await.unwrap().len(), 1);
}

/// Each node that refuses a row says why; it counts once.
#[tokio::test]
async fn what_several_nodes_refuse_is_told_of_each() {
    let setup = |kind: Kind| match kind {
        Kind::Sqlite => table(kind),
        Kind::Postgres | Kind::Mariadb => table(kind) + "; ALTER TABLE t ADD CONSTRAINT small CHECK (n < 20)",
    };
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Postgres, Kind::Postgres], setup, "[tables.t]\n").await;
    cluster.run(0, "UPDATE t SET n = 20 WHERE id = 2").await;
    forget(&mut cluster).await;
    let verified = verify(&cluster, mending(Some("a"))).await;
    assert_eq!(numbers(&verified), ([1, 0, 0, 0, 1], 1), "{verified:#?}");
    let left = &verified.tables[0].left;
    let told: Vec<_> = left.iter().map(|left| (left.node.as_deref(), left.why.contains("small"))).collect();
    assert_eq!(told, [(Some("b"), true), (Some("c"), true)], "{left:?}");
}

/// GIVEN a node that may not be written
/// WHEN differences are mended, at once or by a plan
/// THEN what the other took is told beside the reason.
#[tokio::test]
async fn what_one_node_took_is_told_though_another_fails() {
    for by_plan in [false, true] {
        let mut cluster = differing(PAIRS[1], "[tables.t]\n").await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plan.jsonl");
        verify(&cluster, Verify { repair: Repair::Plan(file.clone()), ..mending(Some("a")) }).await;
        cluster.run_as_owner(1, "REVOKE INSERT, UPDATE ON t FROM sync").await;
        let verified = match by_plan {
            true => cluster.session().carry_out_plan(&file, 20).await.unwrap(),
            false => verify(&cluster, mending(Some("a"))).await,
        };
        assert_eq!(numbers(&verified), ([5, 2, 0, 0, 0], 1), "{verified:#?}");
        let table = &verified.tables[0];
        let carried: Vec<_> = table.carried.iter().map(|one| (one.node.as_str(), one.written, one.deleted)).collect();
        assert_eq!(carried, [("a", 2, 0)]);
        let mut told = table.skipped.iter().chain(verified.away.iter().map(|away| &away.why));
        assert!(told.any(|why| why.contains("permission denied for table t")), "{verified:#?}");
        cluster.holds_at(0, "SELECT id FROM t ORDER BY id", &["1", "2", "3", "4", "5", "6"]).await;
    }
}

/// GIVEN a plan about two tables
/// WHEN the second changes once the plan was read
/// THEN what was written of the first is told, and that the second stands still; if nothing was written, the latter alone.
#[tokio::test]
async fn a_plan_tells_that_a_table_stands_still_meanwhile() {
    let setup = |_| ["t", "u"].map(|name| format!("CREATE TABLE {name} (id integer PRIMARY KEY, n integer);")).concat();
    for first in [true, false] {
        let mut cluster = Cluster::new(&[Kind::Sqlite; 2], setup, "[tables.t]\n[tables.u]\n").await;
        let mut sql = "INSERT INTO u VALUES (1, 1), (2, 2), (3, 3);".to_owned();
        if first {
            sql += "INSERT INTO t VALUES (1, 1);";
        }
        cluster.run(1, &sql).await;
        let mut owner = cluster.nodes[1].database.user_as(As::Sync).await;
        owner.execute("DELETE FROM history_store_t; DELETE FROM history_store_u").await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plan.jsonl");
        verify(&cluster, Verify { repair: Repair::Plan(file.clone()), ..mending(None) }).await;
        let mut session = cluster.session();
        let carried = cluster
            .during("open", session.carry_out_plan(&file, 20), async |cluster| {
                cluster.run_as_owner(0, "ALTER TABLE u RENAME COLUMN n TO m").await;
            })
            .await;
        if first {
            let verified = carried.unwrap();
            assert_eq!((verified.tables[0].mended, verified.exit_code()), (1, 1), "{verified:#?}");
            let stopped = &verified.stopped[0];
            assert_eq!((verified.stopped.len(), stopped.table.as_str()), (1, "u"), "{verified:#?}");
            assert!(stopped.why.contains("not all of the plan was carried out"), "{verified:#?}");
            cluster.holds_at(0, "SELECT * FROM t", &["1|1"]).await;
        } else {
            let refused = carried.unwrap_err();
            assert!(refused.to_string().starts_with("table `u` stands still: at a: "), "{refused}");
            assert_eq!(refused.exit_code(), 2);
        }
        cluster.holds_at(0, "SELECT * FROM u", &[]).await;
    }
}

/// GIVEN a row that stands at one node alone, where it does not belong
/// WHEN that node is cut off once another has the row
/// THEN it is not told as mended until it is gone from there.
#[tokio::test]
async fn what_could_not_be_removed_is_not_told_as_mended() {
    let setup = |_| "CREATE TABLE t (id integer PRIMARY KEY, note text)".to_owned();
    let config = "[tables.t]\n[tables.t.nodes.b]\nfilter = { plugin = \"hostile\", attack = \"drop\" }\n";
    let mut cluster = Cluster::bare(&[Kind::Sqlite; 2], setup, config).await;
    cluster.pin(&["hostile"]);
    cluster.install().await;
    cluster.run(1, "INSERT INTO t VALUES (1, 'poison')").await;
    forget(&mut cluster).await;
    // Both are opened to sum up, to narrow, to look again, and to remove it.
    let faults: Faults = "open=error@8".parse().expect("the rule is one");
    let (mut session, how) = (cluster.session(), mending(None));
    let verifying = fault::scoped(Arc::new(Mutex::new(faults)), session.verify(&how));
    let verified = Box::pin(verifying).await.unwrap();
    assert_eq!(numbers(&verified), ([1, 0, 0, 0, 0], 3), "{verified:#?}");
    cluster.holds("SELECT id FROM t", &["1"]).await;
    assert_eq!(numbers(&verify(&cluster, mending(None)).await), ([1, 1, 0, 0, 0], 0));
    cluster.holds_at(1, "SELECT id FROM t", &[]).await;
}

/// Columns that do not live at a node are compared, and taken, where they do.
#[tokio::test]
async fn columns_come_from_where_they_live() {
    let setup = |kind: Kind| match kind {
        Kind::Postgres | Kind::Mariadb => table(kind),
        Kind::Sqlite => "CREATE TABLE t (id bigint PRIMARY KEY, zahl bigint NOT NULL);
             INSERT INTO t VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)"
            .to_owned(),
    };
    let config = "[tables.t]\n[tables.t.nodes.b]\nomit = [\"name\"]\ncolumns = { n = \"zahl\" }\n";
    let mut cluster = Cluster::new(&[Kind::Postgres, Kind::Sqlite, Kind::Postgres], setup, config).await;
    cluster.run(1, "UPDATE t SET zahl = 20 WHERE id = 2").await;
    cluster.run(2, "UPDATE t SET name = 'other' WHERE id = 3; DELETE FROM t WHERE id = 4").await;
    forget(&mut cluster).await;
    let found = verify(&cluster, Verify::default()).await;
    assert_eq!(told(&found.tables[0]), ["[2] n", "[3] name", "[4] missing c"]);
    let nodes: Vec<[u64; 2]> = found.tables[0].nodes.iter().map(|node| [node.missing, node.differing]).collect();
    assert_eq!(nodes, [[0, 2], [0, 1], [1, 2]]);
    assert_eq!(numbers(&verify(&cluster, mending(Some("b"))).await), ([3, 3, 0, 0, 0], 0));
    for at in [0, 2] {
        cluster.holds_at(at, ALL, &["1|same|1", "2|differs|20", "3|differs|3", "4|gone|4", "5|gone|5"]).await;
    }
    cluster.holds_at(1, ALL, &["1|1", "2|20", "3|3", "4|4", "5|5"]).await;
}

/// What the preferred node lacks is decided among those who have it; nothing is left that differs and counts as mended.
#[tokio::test]
async fn columns_that_the_preferred_node_lacks_are_decided_among_the_others() {
    let setup = |kind: Kind| match kind {
        Kind::Postgres | Kind::Mariadb => table(kind),
        Kind::Sqlite => "CREATE TABLE t (id bigint PRIMARY KEY, n bigint NOT NULL);
             INSERT INTO t VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)"
            .to_owned(),
    };
    let config = "[tables.t]\n[tables.t.nodes.c]\nomit = [\"name\"]\n";
    let mut cluster = Cluster::new(&[Kind::Postgres, Kind::Postgres, Kind::Sqlite], setup, config).await;
    cluster.run(1, "UPDATE t SET name = 'other' WHERE id = 2").await;
    cluster.run(2, "UPDATE t SET n = 20 WHERE id = 2").await;
    forget(&mut cluster).await;
    assert_eq!(numbers(&verify(&cluster, mending(Some("c"))).await), ([1, 1, 0, 0, 0], 0));
    for at in [0, 1] {
        cluster.holds_at(at, "SELECT name, n FROM t WHERE id = 2", &["differs|20"]).await;
    }
    assert_eq!(numbers(&verify(&cluster, Verify::default()).await), ([0, 0, 0, 0, 0], 0));
    let lost = cluster.session().conflicts(0).await.unwrap();
    assert!(lost.iter().any(|lost| lost.reason.contains("--prefer c; `name`: nothing else tells; a")), "{lost:?}");
}

/// A plan is written, edited, and carried out as far as the rows are still those that it was made of.
#[tokio::test]
async fn plans_can_be_edited_and_do_what_they_say() {
    for kinds in PAIRS {
        let mut cluster = differing(kinds, "[tables.t]\n").await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plan.jsonl");
        let how = Verify { repair: Repair::Plan(file.clone()), ..mending(Some("a")) };
        assert_eq!(numbers(&verify(&cluster, how).await), ([5, 0, 0, 0, 0], 1));
        cluster.holds_at(1, "SELECT id, n FROM t ORDER BY id", &["1|1", "2|2", "3|30", "5|5", "6|6"]).await;
        let plan = std::fs::read_to_string(&file).unwrap();
        assert_eq!(plan.lines().count(), 6, "{plan}");
        // One line less, one value another, and one row that moves on.
        let edited: Vec<String> = plan
            .lines()
            .filter(|line| !line.contains("\"key\":[4]"))
            .map(|line| {
                line.replace(
                    "\"b\":{\"id\":2,\"name\":\"differs\",\"n\":20}",
                    "\"b\":{\"id\":2,\"name\":\"edited\",\"n\":21}",
                )
            })
            .collect();
        std::fs::write(&file, edited.join("\n")).unwrap();
        cluster.run(1, "UPDATE t SET n = 300 WHERE id = 3").await;
        let done = cluster.session().carry_out_plan(&file, 20).await.unwrap();
        assert_eq!(numbers(&done), ([4, 3, 1, 0, 0], 1), "{kinds:?}: {done:#?}");
        cluster.holds_at(1, ALL, &["1|same|1", "2|edited|21", "3|differs|300", "5|gone|5", "6|new|6"]).await;
        cluster.holds_at(0, "SELECT id, n FROM t ORDER BY id", &["1|1", "2|20", "3|3", "4|4", "5|5", "6|6"]).await;
        // Everything has moved on since.
        let again = cluster.session().carry_out_plan(&file, 20).await.unwrap();
        assert_eq!(numbers(&again), ([4, 0, 4, 0, 0], 1));
    }
}

/// GIVEN rows that pass unique values among each other, of more memory than is written at once
/// WHEN they are mended, at once or by a plan
/// THEN all of them are.
#[tokio::test]
async fn rows_that_need_each_other_are_mended_however_large() {
    let setup = |_| {
        "CREATE TABLE t (id bigint PRIMARY KEY, place bigint UNIQUE, doc text);
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120)
         INSERT INTO t SELECT i, i, hex(zeroblob(50000)) FROM n"
            .to_owned()
    };
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Sqlite], setup, "[tables.t]\n").await;
    cluster.run(0, "UPDATE t SET place = -place; UPDATE t SET place = 1 - place").await;
    forget(&mut cluster).await;
    let verified = verify(&cluster, mending(Some("a"))).await;
    assert_eq!(numbers(&verified), ([120, 120, 0, 0, 0], 0), "{:?}", verified.tables[0].left);
    cluster.run(1, "UPDATE t SET place = -place; UPDATE t SET place = 2 + (40 - place) % 120").await;
    forget(&mut cluster).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.jsonl");
    let verified = verify(&cluster, Verify { repair: Repair::Plan(file.clone()), ..mending(Some("b")) }).await;
    assert_eq!(verified.tables[0].differences, 120);
    let done = cluster.session().carry_out_plan(&file, 20).await.unwrap();
    assert_eq!(numbers(&done), ([120, 120, 0, 0, 0], 0), "{:?}", done.tables[0].left);
    cluster.same().await;
}

/// The lines of a plan by which the nodes are to have what `a` has, each by its key.
async fn planned(cluster: &Cluster, file: &Path) -> Vec<serde_json::Value> {
    let how = Verify { repair: Repair::Plan(file.to_owned()), ..mending(Some("a")) };
    verify(cluster, how).await;
    let plan = std::fs::read_to_string(file).unwrap();
    plan.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn rewrite(file: &Path, lines: &[serde_json::Value]) {
    let lines: Vec<String> = lines.iter().map(|line| line.to_string()).collect();
    std::fs::write(file, lines.join("\n")).unwrap();
}

async fn undo(cluster: &Cluster, lost: &ConflictReport) -> Result<(), String> {
    let done = Box::pin(cluster.session().resolve(&lost.id, &Remedy::Undo, false)).await;
    done.map(drop).map_err(|error| error.to_string())
}

/// The journal tells what was written, and not what would have been without the person who changed the plan.
#[tokio::test]
async fn what_a_plan_says_otherwise_is_in_the_journal_and_can_be_undone() {
    let written = |n: u64| json!({"id": n, "name": "by hand", "n": 21});
    for kinds in PAIRS {
        let mut cluster = differing(kinds, "[tables.t]\n").await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plan.jsonl");
        let mut lines = planned(&cluster, &file).await;
        for line in &mut lines {
            match line["key"][0].as_u64() {
                Some(2) => line["write"] = json!({"a": written(2), "b": written(2)}),
                Some(3) => line["write"] = json!({"b": null}),
                Some(4) => line["write"] = json!({"a": null}),
                _ => {}
            }
        }
        rewrite(&file, &lines);
        let done = cluster.session().carry_out_plan(&file, 20).await.unwrap();
        assert_eq!(numbers(&done), ([5, 5, 0, 0, 0], 0), "{kinds:?}: {done:#?}");
        let mut journal = cluster.session().conflicts(0).await.unwrap();
        journal.sort_by_key(|lost| (lost.key[0].as_u64(), lost.loser.clone()));
        let told: Vec<_> = journal.iter().map(|lost| (&lost.key[0], &*lost.winner, &*lost.loser)).collect();
        assert_eq!(told, [(&json!(2), "a", "a"), (&json!(2), "b", "b"), (&json!(3), "b", "b"), (&json!(4), "a", "a"),]);
        assert!(journal.iter().all(|lost| lost.reason == "verify: the plan was changed by hand"), "{journal:#?}");
        let won: Vec<_> = journal.iter().map(|lost| lost.winner_row.clone()).collect();
        assert_eq!(won, [Some(written(2)), Some(written(2)), None, None]);
        undo(&cluster, &journal[1]).await.unwrap();
        undo(&cluster, &journal[3]).await.unwrap();
        // What the plan left at a was nobody's to overwrite.
        let refused = undo(&cluster, &journal[2]).await.unwrap_err();
        assert!(refused.contains("at `a` it is now {\"id\":3") && refused.contains("--force"), "{refused}");
        cluster.sync().await;
        let two_and_four = "SELECT * FROM t WHERE id IN (2, 4) ORDER BY id";
        cluster.holds(two_and_four, &["2|differs|2", "4|gone|4"]).await;
    }
}

/// What a plan wrote where not all columns live can be undone as well.
#[tokio::test]
async fn what_is_planned_for_nodes_without_a_column_is_kept_whole() {
    let omitting = "[tables.t]\n[tables.t.nodes.b]\nomit = [\"name\"]\n";
    let mut cluster = differing(PAIRS[1], omitting).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.jsonl");
    planned(&cluster, &file).await;
    cluster.session().carry_out_plan(&file, 20).await.unwrap();
    let journal = cluster.session().conflicts(0).await.unwrap();
    let lost = journal.iter().find(|lost| lost.key[0] == 2).unwrap();
    assert_eq!((&*lost.winner, &*lost.loser, &*lost.reason), ("a", "b", "verify: --prefer a"));
    assert_eq!(lost.winner_row, Some(json!({"id": 2, "name": "differs", "n": 20})));
    undo(&cluster, lost).await.unwrap();
    cluster.sync().await;
    cluster.holds_at(0, "SELECT * FROM t WHERE id = 2", &["2|differs|2"]).await;
    cluster.holds_at(1, "SELECT id, n FROM t WHERE id = 2", &["2|2"]).await;
}

/// GIVEN a plan for a row that one node takes and another refuses
/// WHEN it is carried out
/// THEN the reason is told, and not that the row has moved on.
#[tokio::test]
async fn what_one_node_refuses_of_a_plan_is_told_with_its_reason() {
    let setup = |_| {
        "CREATE TABLE kinds (id bigint PRIMARY KEY);
         INSERT INTO kinds VALUES (1), (99);
         CREATE TABLE t (id bigint PRIMARY KEY, name text UNIQUE, n bigint NOT NULL REFERENCES kinds (id));
         INSERT INTO t VALUES (1, 'one', 1)"
            .to_owned()
    };
    let mut cluster = Cluster::new(&[Kind::Sqlite; 3], setup, "[tables.t]\n").await;
    cluster.run(0, "UPDATE t SET n = 99, name = 'other'").await;
    cluster.run(2, "DELETE FROM kinds WHERE id = 99").await;
    forget(&mut cluster).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.jsonl");
    verify(&cluster, Verify { repair: Repair::Plan(file.clone()), ..mending(Some("a")) }).await;
    let done = cluster.session().carry_out_plan(&file, 20).await.unwrap();
    assert_eq!(numbers(&done), ([1, 0, 0, 0, 1], 1));
    let left = &done.tables[0].left[0];
    assert!(left.node.as_deref() == Some("c") && left.why.contains("not there"), "{left:?}");
    cluster.holds_at(1, ALL, &["1|other|99"]).await;
}

#[tokio::test]
async fn a_plan_that_does_not_fit_is_refused_before_anything_is_written() {
    let mut cluster = differing(PAIRS[1], "[tables.t]\n").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.jsonl");
    let how = Verify { repair: Repair::Plan(file.clone()), ..mending(Some("a")) };
    verify(&cluster, how).await;
    let plan = std::fs::read_to_string(&file).unwrap();
    let wrong = [
        ("\"sync\":\"test\"", "\"sync\":\"shop\"", ":1: it was made for the sync `shop`"),
        ("[\"a\",\"b\"]", "[\"a\",\"c\"]", ":1: it was made for the nodes a, c"),
        ("verify plan 1", "verify plan 9", ":1: it is a `concord verify plan 9`"),
        ("{\"plan\"", "{\"plans\"", ":1: it is no plan"),
        ("\"table\":\"t\",\"key\":[6]", "\"table\":\"u\",\"key\":[6]", "no table is called `u`"),
        ("\"write\":{\"a\":{\"id\":6", "\"write\":{\"x\":{\"id\":6", "no node is called `x`"),
        ("\"write\":{\"a\":{\"id\":6", "\"write\":{\"a\":{\"id\":7", "the row at a has another key"),
        ("\"write\":{\"a\":{\"id\":6,\"name\"", "\"write\":{\"a\":{\"id\":6,\"nam\"", "has no column `nam`"),
        ("\"key\":[6]", "\"key\":[\"6\"]", "this is no key of `t`"),
        (
            "\"write\":{\"a\":{\"id\":6,\"name\":\"new\",\"n\":6}",
            "\"write\":{\"a\":{\"id\":6,\"name\":\"new\",\"n\":\"6\"}",
            "`n` at a is no integer",
        ),
        (
            "\"write\":{\"a\":{\"id\":6,\"name\":\"new\",\"n\":6}",
            "\"write\":{\"a\":{\"id\":6,\"name\":\"new\"}",
            "has no `n`",
        ),
        ("\"write\":{\"a\":{\"id\":6", "\"read\":{\"a\":{\"id\":6", "duplicate field `read`"),
    ];
    for (part, by, says) in wrong {
        assert!(plan.contains(part), "{part}: {plan}");
        std::fs::write(&file, plan.replacen(part, by, 1)).unwrap();
        let error = cluster.session().carry_out_plan(&file, 20).await.unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains(says), "{says}: {error}");
        cluster.holds_at(1, "SELECT id, n FROM t ORDER BY id", &["1|1", "2|2", "3|30", "5|5", "6|6"]).await;
        cluster.holds_at(0, "SELECT id, n FROM t ORDER BY id", &["1|1", "2|20", "3|3", "4|4"]).await;
    }
}

/// Rows that refer to others come after them, and go before them, whatever the order of the file.
#[tokio::test]
async fn tables_that_refer_to_each_other_are_mended_together() {
    let setup = |_: Kind| {
        "CREATE TABLE t (id bigint PRIMARY KEY); CREATE TABLE child (id bigint PRIMARY KEY, t bigint REFERENCES t (id));
         INSERT INTO t VALUES (1); INSERT INTO child VALUES (1, 1)"
            .to_owned()
    };
    for kinds in PAIRS {
        let config = "[tables.child]\nfrom = \"a\"\n[tables.t]\nfrom = \"a\"\n";
        let mut cluster = Cluster::new(kinds, setup, config).await;
        cluster.run(0, "INSERT INTO t VALUES (2); INSERT INTO child VALUES (2, 2)").await;
        cluster.run(1, "INSERT INTO t VALUES (3); INSERT INTO child VALUES (3, 3)").await;
        forget(&mut cluster).await;
        let history = if kinds[0] == Kind::Postgres { "history_store.child" } else { "history_store_child" };
        cluster.nodes[0].database.user_as(As::Sync).await.execute(&format!("DELETE FROM {history}")).await;
        let verified = verify(&cluster, mending(None)).await;
        assert_eq!(verified.exit_code(), 0, "{kinds:?}: {verified:#?}");
        let counts: Vec<[u64; 2]> = verified.tables.iter().map(|table| [table.differences, table.mended]).collect();
        assert_eq!((counts, verified.tables[0].table.as_str()), (vec![[2, 2], [2, 2]], "child"));
        cluster.holds("SELECT * FROM child ORDER BY id", &["1|1", "2|2"]).await;
        cluster.holds("SELECT * FROM t ORDER BY id", &["1", "2"]).await;
    }
}

/// Of rows that refer to each other over three tables nobody can be deleted before those that refer to it.
#[tokio::test]
async fn a_chain_of_references_is_deleted_from_its_end() {
    let setup = |_: Kind| {
        "CREATE TABLE t (id bigint PRIMARY KEY); CREATE TABLE u (id bigint PRIMARY KEY, t bigint REFERENCES t (id));
         CREATE TABLE v (id bigint PRIMARY KEY, u bigint REFERENCES u (id))"
            .to_owned()
    };
    let tables = ["t", "u", "v"];
    let config = tables.map(|name| format!("[tables.{name}]\nfrom = \"a\"\n")).concat();
    for (kinds, by_plan) in PAIRS.into_iter().flat_map(|kinds| [(kinds, false), (kinds, true)]) {
        // Nothing is recorded yet.
        let mut cluster = Cluster::bare(kinds, setup, &config).await;
        cluster.run(1, "INSERT INTO t VALUES (1); INSERT INTO u VALUES (1, 1); INSERT INTO v VALUES (1, 1)").await;
        cluster.install().await;
        let verified = if by_plan {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("plan.jsonl");
            verify(&cluster, Verify { repair: Repair::Plan(file.clone()), ..mending(None) }).await;
            cluster.session().carry_out_plan(&file, 20).await.unwrap()
        } else {
            verify(&cluster, mending(None)).await
        };
        assert_eq!(verified.exit_code(), 0, "{kinds:?}: {verified:#?}");
        assert!(verified.tables.iter().all(|table| table.carried[0].deleted == 1), "{verified:#?}");
        cluster.holds("SELECT id FROM t UNION ALL SELECT id FROM v", &[]).await;
    }
}
