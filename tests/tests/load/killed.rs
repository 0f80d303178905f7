//! `load` is killed at any moment while users of all nodes write: it goes on where it was, ends, and nothing is lost.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use concord_tests::mariadb::is_mysql;
use concord_tests::{As, Concord, Database, Kind, NAMES, PATIENCE, Rng, Seed, User, wait_until};
use tokio::task::JoinSet;

/// Rows at each node before anything is installed, of which half are the same everywhere.
const ROWS: u64 = 6_000;

/// How often a load is killed, unless `CONCORD_KILLS` says otherwise: with MariaDB half as often, and fifty times in all other tests
/// together.
const KILLS: u64 = 17;

/// Some loads end before they are killed. So many of those there may be for each that is.
const SPARE: u64 = 3;

const POINTS: [&str; 7] =
    ["load-part", "load-remembered", "apply-claimed", "apply-written", "apply-after-commit", "applied", "read-done"];

struct Scene {
    concord: Concord,
    databases: Vec<Database>,
    observers: Vec<User>,
}

impl Scene {
    async fn new(kinds: &[Kind]) -> Scene {
        let mut text = "name = \"killed\"\n".to_owned();
        let mut databases = Vec::new();
        let mut observers = Vec::new();
        for (at, &kind) in kinds.iter().enumerate() {
            let database = Database::new(kind).await;
            let mut owner = database.user_as(As::Sync).await;
            owner
                .execute("CREATE TABLE items (id bigint PRIMARY KEY, node integer, body text, n bigint NOT NULL)")
                .await;
            let own = ROWS / 2 * (at as u64 + 1);
            let rows = (1..=ROWS / 2).map(|id| format!("({id}, NULL, 'alike', {id})"));
            let rows: Vec<String> =
                rows.chain((own + 1..=own + ROWS / 2).map(|id| format!("({id}, {at}, 'of one', {id})"))).collect();
            owner.execute(&format!("INSERT INTO items VALUES {}", rows.join(", "))).await;
            text += &format!("[nodes.{}]\nurl = \"{}\"\n", NAMES[at], database.url());
            observers.push(owner);
            databases.push(database);
        }
        let concord = Concord::new(&(text + "[tables.items]\n"));
        concord.run(&["install"]).await.ok();
        Scene { concord, databases, observers }
    }

    async fn contents(&mut self) -> Vec<Vec<Vec<concord_tests::Text>>> {
        let mut all = Vec::new();
        for observer in &mut self.observers {
            all.push(observer.rows("SELECT * FROM items ORDER BY id").await);
        }
        all
    }
}

/// What a user wrote last to rows that only this user writes to.
type Written = Vec<(u64, Option<String>)>;

/// Changes, deletes and creates rows of one node's own until told to stop.
async fn write(
    mut user: User,
    at: usize,
    nodes: u64,
    mut rng: Rng,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicBool>,
) -> Written {
    let mut written: std::collections::BTreeMap<u64, Option<String>> = Default::default();
    let known = match user {
        User::Mariadb(..) => "ON DUPLICATE KEY UPDATE body = VALUES(body)",
        User::Sqlite(_) | User::Postgres(_) => "ON CONFLICT (id) DO UPDATE SET body = excluded.body",
    };
    while !stop.load(Ordering::Relaxed) {
        // Every node has rows of its own all over the table, those that are alike and new ones among them.
        let id = rng.below(ROWS * 2) * nodes + at as u64 + 1;
        let body = format!("{at} {:016x}", rng.next());
        let sql = match rng.below(10) {
            0 => format!("DELETE FROM items WHERE id = {id}"),
            _ => format!("INSERT INTO items VALUES ({id}, {at}, '{body}', 0) {known}"),
        };
        let deletes = sql.starts_with("DELETE");
        if deletes {
            // A row that has not arrived yet cannot be deleted, and comes afterwards.
            if !user.rows(&format!("{sql} RETURNING id")).await.is_empty() {
                written.insert(id, None);
            }
        } else {
            user.execute(&sql).await;
            written.insert(id, Some(body));
        }
        count.store(true, Ordering::Relaxed);
        // The moment is what is random here; nothing is waited for.
        tokio::time::sleep(Duration::from_micros(rng.below(4_000))).await;
    }
    written.into_iter().collect()
}

async fn killed(kinds: &[Kind], usual: u64, test: &'static str) {
    let seed = Seed::new(test);
    let mut rng = seed.rng(0);
    let kills = std::env::var("CONCORD_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let mut scene = Scene::new(kinds).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    let mut counts = Vec::new();
    for (at, database) in scene.databases.iter().enumerate() {
        let (user, rng, stop) = (database.user().await, seed.rng(1 + at as u64), Arc::clone(&stop));
        let count = Arc::new(AtomicBool::new(false));
        counts.push(Arc::clone(&count));
        writers.spawn(write(user, at, kinds.len() as u64, rng, stop, count));
    }
    wait_until("everybody to write", PATIENCE, async || {
        counts.iter().all(|count| count.load(Ordering::Relaxed)).then_some(())
    })
    .await;
    let (mut dead, mut resumed, mut ended) = (0, 0, 0);
    let mut takes = Duration::from_millis(700);
    for attempt in 0..kills * (1 + SPARE) {
        // Where all of them died before they had come anywhere, some more have to tell.
        if dead >= kills && resumed > 0 {
            break;
        }
        let point =
            if rng.chance(60) { format!("{}=abort@{}", rng.pick(&POINTS), 1 + rng.below(12)) } else { String::new() };
        let start = Instant::now();
        // Rows that users write everywhere differ until they have been synced, and no row may be lost by that.
        let running = scene.concord.faults(&point).start(&["load", "--prefer", "a", "--json"]);
        let output = if point.is_empty() {
            tokio::time::sleep(takes.mul_f64(rng.below(1_000) as f64 / 1_000.0)).await;
            running.kill().await
        } else {
            running.wait().await
        };
        match output.status.signal() {
            Some(_) => dead += 1,
            None => {
                // Users who write all the time may leave a row or two to the next sync.
                assert!(matches!(output.status.code(), Some(0 | 1)), "load {attempt}: {output:?}");
                ended += 1;
                takes = start.elapsed();
                resumed += u64::from(output.json()["resumed"].as_bool() == Some(true));
            }
        }
    }
    let output = scene.concord.faults("").run(&["load", "--prefer", "a", "--json"]).await;
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    resumed += u64::from(output.json()["resumed"].as_bool() == Some(true));
    assert!(dead >= kills && resumed > 0, "{dead} loads were killed, {ended} ended, {resumed} went on");
    stop.store(true, Ordering::Relaxed);
    let mut written = Vec::new();
    while let Some(done) = writers.join_next().await {
        written.extend(done.expect("a writer does not panic"));
    }
    scene.concord.run(&["sync"]).await.ok();
    let contents = scene.contents().await;
    for (at, rows) in contents.iter().enumerate() {
        let differing: Vec<_> = rows.iter().filter(|row| !contents[0].contains(row)).take(3).collect();
        assert!(rows.len() == contents[0].len() && differing.is_empty(), "{} differs: {differing:?}", NAMES[at]);
    }
    let rows: std::collections::HashMap<u64, &str> =
        contents[0].iter().filter_map(|row| Some((row[0].as_deref()?.parse().ok()?, row[2].as_deref()?))).collect();
    for (id, body) in &written {
        assert_eq!(rows.get(id).copied(), body.as_deref(), "what was written last to {id}");
    }
    // What nobody wrote to is everywhere.
    for id in 1..=ROWS / 2 * (kinds.len() as u64 + 1) {
        assert!(rows.contains_key(&id) || written.iter().any(|(known, _)| *known == id), "{id} is lost");
    }
    scene.concord.run(&["verify"]).await.ok();
    let output = scene.concord.run(&["load", "--json"]).await.ok().json();
    assert_eq!(output["tables"][0]["nodes"], serde_json::json!([]), "nothing is missing and nothing differs");
}

#[tokio::test]
async fn between_files() {
    killed(&[Kind::Sqlite, Kind::Sqlite], KILLS, "load::killed::between_files").await;
}

#[tokio::test]
async fn between_databases() {
    killed(&[Kind::Postgres, Kind::Postgres], KILLS, "load::killed::between_databases").await;
}

#[tokio::test]
async fn among_three_of_both_kinds() {
    let three = [Kind::Postgres, Kind::Sqlite, Kind::Postgres];
    killed(&three, KILLS, "load::killed::among_three_of_both_kinds").await;
}

#[tokio::test]
async fn between_mariadb_and_postgres() {
    // MySQL does not tell its users whether there was a row to delete.
    if !is_mysql().await {
        killed(&[Kind::Mariadb, Kind::Postgres], KILLS / 2, "load::killed::between_mariadb_and_postgres").await;
    }
}
