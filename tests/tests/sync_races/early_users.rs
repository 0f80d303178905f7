//! Users who want the rows that are being written early, or hold them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use concord::fault::{self, Faults};
use concord::sync::Summary;
use concord_tests::{As, Cluster, Kind, PATIENCE, User, wait_until};
use tokio::task::JoinSet;

use super::early::ROWS;
use super::locks::somebody_waits;
use super::{BOTH_POSTGRES, ITEMS, WITH_MARIADB, losers};

const WITH_SQLITE: &[Kind] = &[Kind::Postgres, Kind::Sqlite];

/// Many rows that stand at every node, each of which the first then changes.
pub(super) async fn changed_everywhere(kinds: &[Kind], tables: &str) -> Cluster {
    let mut cluster = Cluster::new(kinds, |_| ITEMS.to_owned(), tables).await;
    let rows: Vec<String> = (10..10 + ROWS).map(|id| format!("({id}, 'row', {id})")).collect();
    cluster.run(0, &format!("INSERT INTO items VALUES {}", rows.join(", "))).await;
    cluster.sync().await;
    cluster.run(0, "UPDATE items SET name = 'engine', amount = amount + 1").await;
    cluster
}

/// Syncs with everything read before the first row is written, so that nobody is waited for; how often rows were tried that were not
/// written early.
pub(super) async fn sync_at_leisure(cluster: &mut Cluster) -> (Summary, u64) {
    once_all_is_read(cluster, "", async |_| ()).await
}

/// The same. When some of it is written at the second node and the rest is not, `meanwhile` happens; once the rest is being
/// written, `afterwards`.
pub(super) async fn sync_around_a_part(
    cluster: &mut Cluster,
    meanwhile: impl AsyncFnOnce(&mut Cluster),
    afterwards: impl AsyncFnOnce(&mut Cluster),
) -> Summary {
    let part = cluster.file("part");
    let acting = async |cluster: &mut Cluster| {
        wait_until("a part to be written", PATIENCE, async || part.exists().then_some(())).await;
        meanwhile(cluster).await;
        std::fs::remove_file(&part).expect("it is there");
        afterwards(cluster).await;
    };
    once_all_is_read(cluster, &pause("early-write", &part), acting).await.0
}

/// Syncs, with these rules and `acting` beside it once everything is read; also how often rows were tried from then on.
async fn once_all_is_read(cluster: &mut Cluster, then: &str, acting: impl AsyncFnOnce(&mut Cluster)) -> (Summary, u64) {
    let [writing, read] = ["writing", "read"].map(|name| cluster.file(name));
    let first = [pause("early-write", &writing), pause("read-done", &read)].join(",");
    let faults = Arc::new(Mutex::new(rules(&first)));
    let mut session = cluster.session();
    let working = Box::pin(fault::scoped(Arc::clone(&faults), session.sync()));
    let acting = async {
        for file in [&writing, &read] {
            wait_until("all to be read", PATIENCE, async || file.exists().then_some(())).await;
        }
        *faults.lock().expect("nobody panics with it") = rules(then);
        for file in [writing, read] {
            std::fs::remove_file(file).expect("it is there");
        }
        acting(cluster).await;
    };
    let summary = futures::join!(working, acting).0.expect("the others go on");
    let tries = faults.lock().expect("nobody panics with it").passes("apply-attempt");
    (summary, tries)
}

fn rules(text: &str) -> Faults {
    text.parse().expect("a list of rules")
}

fn pause(point: &str, file: &std::path::Path) -> String {
    format!("{point}=pause:{}@1", file.display())
}

/// Rows of the second node that nobody holds locked.
async fn free(cluster: &mut Cluster) -> HashSet<String> {
    let rows = cluster.nodes[1].user.rows("SELECT id FROM items FOR UPDATE SKIP LOCKED").await;
    rows.into_iter().flatten().flatten().collect()
}

/// One that nobody holds, and one that is written already.
pub(super) async fn free_and_written(cluster: &mut Cluster) -> (String, String) {
    let free = free(cluster).await;
    let written = (10..10 + ROWS).map(|id| id.to_string()).find(|id| !free.contains(id)).expect("some are written");
    (free.into_iter().next().expect("not all are written"), written)
}

/// Who gives way where a user and the engine hold what the other wants.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Victim {
    User,
    Engine,
}

/// Whoever of the two gives way: what the other did is there, and nothing is done by halves.
#[tokio::test]
async fn a_deadlock_with_rows_that_are_written_early() {
    for kinds in [BOTH_POSTGRES, WITH_MARIADB] {
        for victim in [Victim::User, Victim::Engine] {
            a_deadlock(kinds, victim).await;
        }
    }
}

async fn a_deadlock(kinds: &[Kind], victim: Victim) {
    let mut cluster = changed_everywhere(kinds, "[tables.items]").await;
    // PostgreSQL undoes who looks first whether there is a deadlock, MariaDB who has written less.
    let setting = match (kinds[1], victim) {
        (Kind::Postgres, Victim::User) => "SET deadlock_timeout = '1ms'",
        (Kind::Postgres, _) => "SET deadlock_timeout = '1min'",
        (_, Victim::User) => "DO 0",
        _ => {
            cluster.run_as_owner(1, "CREATE TABLE ballast (id integer PRIMARY KEY)").await;
            "INSERT INTO ballast SELECT seq FROM seq_1_to_30000"
        }
    };
    cluster.nodes[1].user = cluster.nodes[1].database.user_as(As::Admin).await;
    let other = Mutex::new(String::new());
    let meanwhile = async |cluster: &mut Cluster| {
        let (free, written) = free_and_written(cluster).await;
        *other.lock().expect("nobody panics with it") = written;
        cluster
            .run(1, &format!("START TRANSACTION; {setting}; UPDATE items SET name = 'user' WHERE id = {free}"))
            .await;
    };
    let afterwards = async |cluster: &mut Cluster| {
        somebody_waits(&cluster.nodes[1].database).await;
        let id = other.lock().expect("nobody panics with it").clone();
        let user = &mut cluster.nodes[1].user;
        let done = user.try_execute(&format!("UPDATE items SET name = 'user' WHERE id = {id}")).await;
        match victim {
            Victim::User => {
                let error = done.expect_err("the engine has written more");
                assert!(error.to_lowercase().contains("deadlock"), "{error}");
                user.execute("ROLLBACK").await;
            }
            Victim::Engine => {
                done.expect("the engine gives way");
                user.execute("COMMIT").await;
            }
        }
    };
    let summary = sync_around_a_part(&mut cluster, meanwhile, afterwards).await;
    assert_eq!((&summary.failed, &summary.away[..]), (&None, &[][..]), "{victim:?}: {summary:?}");
    cluster.settle().await;
    let by_user = if victim == Victim::User { 0 } else { 2 };
    let count = "SELECT name, count(*) FROM items GROUP BY name ORDER BY name";
    let mut expected = vec![format!("engine|{}", ROWS + 3 - by_user)];
    expected.extend((by_user > 0).then(|| format!("user|{by_user}")));
    cluster.holds(count, &expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(losers(&cluster).await.len(), by_user as usize, "{kinds:?}, {victim:?}");
}

/// An administrator ends the statement, or the session, in which the engine waits for a user.
#[tokio::test]
async fn what_is_written_early_is_cancelled_or_cut_off() {
    for kinds in [BOTH_POSTGRES, WITH_MARIADB] {
        for whole in [false, true] {
            cancelled(kinds, whole).await;
        }
    }
}

async fn cancelled(kinds: &[Kind], whole: bool) {
    let mut cluster = changed_everywhere(kinds, "[tables.items]").await;
    let meanwhile = async |cluster: &mut Cluster| {
        let (free, _) = free_and_written(cluster).await;
        cluster.later(1, "START TRANSACTION").await;
        cluster.run(1, &format!("UPDATE items SET name = 'user' WHERE id = {free}")).await;
    };
    let afterwards = async |cluster: &mut Cluster| {
        let database = &cluster.nodes[1].database;
        somebody_waits(database).await;
        let mut admin = database.user_as(As::Admin).await;
        match database.kind() {
            Kind::Mariadb => {
                let waiting = "SELECT id FROM information_schema.processlist
                               WHERE db = database() AND id <> connection_id() AND command <> 'Sleep'";
                let id = admin.cell(waiting).await;
                admin.execute(&format!("KILL {} {id}", if whole { "CONNECTION" } else { "QUERY" })).await;
            }
            _ => {
                let end = if whole { "pg_terminate_backend" } else { "pg_cancel_backend" };
                let waiting = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
                admin.execute(&format!("SELECT {end}(pid) {waiting}")).await;
            }
        }
    };
    let summary = sync_around_a_part(&mut cluster, meanwhile, afterwards).await;
    // Whoever was cut off is there again in the next cycle.
    assert_eq!((summary.held, summary.waiting, &summary.failed), (1, 0, &None), "{summary:?}");
    assert_eq!(summary.away, []);
    let count = "SELECT count(*) FROM items WHERE name = 'engine'";
    cluster.holds_at(1, count, &[&(ROWS + 2).to_string()]).await;
    cluster.run(1, "COMMIT").await;
    cluster.settle().await;
    cluster.holds(count, &[&(ROWS + 2).to_string()]).await;
    assert_eq!(losers(&cluster).await, ["engine"]);
}

/// What users did, and for how long one of them was kept waiting.
#[derive(Debug, Default)]
struct Done {
    added: u64,
    longest: Duration,
}

/// Adds one to a row so many times, a different one each time.
async fn add(mut user: User, times: u64, seed: u64) -> Done {
    let mut done = Done::default();
    for step in 0..times {
        let id = 10 + (seed + step * 1_009) % u64::from(ROWS);
        let start = Instant::now();
        match user.try_execute(&format!("UPDATE items SET amount = amount + 1 WHERE id = {id}")).await {
            Ok(()) => done.added += 1,
            Err(error) => assert!(error.to_lowercase().contains("deadlock"), "{error}"),
        }
        done.longest = done.longest.max(start.elapsed());
    }
    done
}

/// Users of both nodes go on adding to rows that are being written: everything counts once.
#[tokio::test]
async fn users_add_on_both_sides_while_rows_are_written_early() {
    for kinds in [BOTH_POSTGRES, WITH_MARIADB, WITH_SQLITE] {
        let tables = "[tables.items]\nconflict = { sum = [\"amount\"] }";
        let mut cluster = changed_everywhere(kinds, tables).await;
        let mut total = 60 + (10..10 + u64::from(ROWS)).sum::<u64>() + u64::from(ROWS) + 3;
        let mut users = JoinSet::new();
        let meanwhile = async |cluster: &mut Cluster| {
            for (at, node) in cluster.nodes.iter().enumerate() {
                for user in 0..2 {
                    users.spawn(add(node.database.user().await, 200, (at as u64 * 2 + user) * 401));
                }
            }
        };
        let summary = sync_around_a_part(&mut cluster, meanwhile, async |_| ()).await;
        assert_eq!((&summary.failed, &summary.away[..]), (&None, &[][..]), "{summary:?}");
        while let Some(done) = users.join_next().await {
            let done = done.expect("users do not panic");
            assert!(done.longest < Duration::from_secs(30), "{done:?}");
            total += done.added;
        }
        cluster.settle().await;
        cluster.holds("SELECT sum(amount) FROM items", &[&total.to_string()]).await;
    }
}

/// While the source says nothing, what was written is let go.
#[tokio::test]
async fn no_row_stays_locked_while_the_source_stands_still() {
    for kinds in [BOTH_POSTGRES, WITH_MARIADB] {
        let mut cluster = changed_everywhere(kinds, "[tables.items]").await;
        let meanwhile = async |cluster: &mut Cluster| {
            let start = Instant::now();
            let all = async || (free(cluster).await.len() == ROWS as usize + 3).then_some(());
            wait_until("all rows to be free", PATIENCE, all).await;
            assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
            cluster.later(1, "UPDATE items SET name = 'user' WHERE id < 20").await;
        };
        cluster.sync_while("fetch@3", meanwhile).await;
        cluster.settle().await;
        cluster.holds("SELECT count(*) FROM items WHERE name = 'user'", &["13"]).await;
        assert_eq!(losers(&cluster).await.len(), 13);
    }
}
