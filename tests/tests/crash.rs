//! Killed at any moment, started anywhere, run twice by mistake: nothing is lost and nothing is applied twice.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use concord_tests::postgres::{Server, Stop};
use concord_tests::{Database, Kind, PATIENCE, POINTS, Seed, breaking_points, wait_until};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::scene::{self, Done, NAMES, Scene};

/// Few enough that a sync takes several cycles, so that points are passed again and again.
const SMALL: usize = 4;

const SQLITE: &[Kind] = &[Kind::Sqlite, Kind::Sqlite];
const POSTGRES: &[Kind] = &[Kind::Postgres, Kind::Postgres];
const MIXED: &[Kind] = &[Kind::Postgres, Kind::Sqlite];
const MARIADB: &[Kind] = &[Kind::Mariadb, Kind::Sqlite];
const BOTH_MARIADB: &[Kind] = &[Kind::Mariadb, Kind::Mariadb];
const OF_EACH: &[Kind] = &[Kind::Mariadb, Kind::Postgres, Kind::Sqlite];
const THREE: &[Kind] = &[Kind::Sqlite, Kind::Postgres, Kind::Sqlite];

/// Kills a sync at every point, at its first, second and third pass, and lets the next one finish.
async fn killed_at_every_point(kinds: &[Kind], test: &'static str) {
    killed(Scene::new(kinds, SMALL).await, 3, test).await;
}

async fn killed(mut scene: Scene, passes: u32, test: &'static str) {
    let seed = Seed::new(test);
    let mut rng = seed.rng(0);
    for point in POINTS {
        for pass in 1..=passes {
            scene.write_everywhere(&mut rng).await;
            let output = scene.concord.faults(&format!("{point}=abort@{pass}")).run(&["sync"]).await;
            let when = format!("killed at pass {pass} of `{point}`");
            assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{when}: {output:?}");
            // What users do now was not seen by anything that was decided before.
            for at in 0..scene.databases.len() {
                scene.write(at, &mut rng).await;
            }
            scene.converges(&when).await;
        }
    }
}

/// What a plugin adds up is exact as well.
#[tokio::test]
async fn killed_at_every_point_while_a_plugin_decides() {
    let test = "crash::killed_at_every_point_while_a_plugin_decides";
    killed(Scene::with_plugin(THREE, SMALL).await, 1, test).await;
}

#[tokio::test]
async fn killed_at_every_point_of_sqlite() {
    killed_at_every_point(SQLITE, "crash::killed_at_every_point_of_sqlite").await;
}

#[tokio::test]
async fn killed_at_every_point_of_postgres() {
    killed_at_every_point(POSTGRES, "crash::killed_at_every_point_of_postgres").await;
}

#[tokio::test]
async fn killed_at_every_point_of_both_kinds() {
    killed_at_every_point(MIXED, "crash::killed_at_every_point_of_both_kinds").await;
}

#[tokio::test]
async fn killed_at_every_point_of_mariadb() {
    killed_at_every_point(MARIADB, "crash::killed_at_every_point_of_mariadb").await;
}

/// Before the entries have their marks, and after.
#[tokio::test]
async fn killed_while_entries_are_marked() {
    let seed = Seed::new("crash::killed_while_entries_are_marked");
    let mut rng = seed.rng(0);
    let mut scene = Scene::new(MARIADB, SMALL).await;
    for fault in ["mark-entries=abort@1", "mark-entries=error@1", "fetch=abort@1"] {
        scene.write_everywhere(&mut rng).await;
        scene.concord.faults(fault).run(&["sync"]).await;
        scene.write(0, &mut rng).await;
        scene.converges(fault).await;
    }
}

#[tokio::test]
async fn killed_at_every_point_of_three_nodes() {
    killed_at_every_point(THREE, "crash::killed_at_every_point_of_three_nodes").await;
}

/// A connection breaks at every point: the command says so or goes on without the node, and the next one finishes.
async fn broken_at_every_point(kinds: &[Kind], test: &'static str) {
    let seed = Seed::new(test);
    let mut rng = seed.rng(0);
    let mut scene = Scene::new(kinds, SMALL).await;
    for point in breaking_points() {
        for pass in 1..=2 {
            scene.write_everywhere(&mut rng).await;
            let output = scene.concord.faults(&format!("{point}=error@{pass}")).run(&["sync"]).await;
            let when = format!("the connection broke at pass {pass} of `{point}`");
            assert!(matches!(output.status.code(), Some(0 | 3)), "{when}: {output:?}");
            scene.converges(&when).await;
        }
    }
}

#[tokio::test]
async fn broken_at_every_point_of_three_nodes() {
    broken_at_every_point(THREE, "crash::broken_at_every_point_of_three_nodes").await;
}

#[tokio::test]
async fn broken_at_every_point_of_both_kinds() {
    broken_at_every_point(MIXED, "crash::broken_at_every_point_of_both_kinds").await;
}

#[tokio::test]
async fn broken_at_every_point_of_mariadb() {
    broken_at_every_point(BOTH_MARIADB, "crash::broken_at_every_point_of_mariadb").await;
}

/// Users of all nodes who write when they are allowed to, each one change for a permit.
struct Writers {
    permits: Vec<Arc<Semaphore>>,
    tasks: JoinSet<Done>,
    stop: Arc<AtomicBool>,
}

impl Writers {
    /// Those of another turn do other things.
    async fn start(scene: &Scene, seed: &Seed, turn: u32) -> Writers {
        let mut writers = Writers { permits: Vec::new(), tasks: JoinSet::new(), stop: Arc::default() };
        for (at, database) in scene.databases.iter().enumerate() {
            let permits = Arc::new(Semaphore::new(0));
            writers.permits.push(Arc::clone(&permits));
            let own = 1 + at as u64 + u64::from(turn) * NAMES.len() as u64;
            let (mut user, mut rng) = (database.user().await, seed.rng(own));
            let stop = Arc::clone(&writers.stop);
            writers.tasks.spawn(async move {
                let mut done = Done::default();
                while let Ok(permit) = permits.acquire().await {
                    permit.forget();
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    scene::write(&mut user, at, &mut rng, &mut done).await;
                }
                done
            });
        }
        writers
    }

    /// Allows so many more changes at each node.
    fn go_on(&self, changes: usize) {
        self.permits.iter().for_each(|permits| permits.add_permits(changes));
    }

    /// Waits until all that was allowed is being written.
    async fn written(&self) {
        wait_until("the users' changes", PATIENCE, async || {
            self.permits.iter().all(|permits| permits.available_permits() == 0).then_some(())
        })
        .await;
    }

    /// Waits until all that was allowed is written, and tells what it was.
    async fn finish(mut self) -> Done {
        self.written().await;
        self.stop.store(true, Ordering::Relaxed);
        self.go_on(1);
        let mut done = Done::default();
        while let Some(written) = self.tasks.join_next().await {
            done.merge(written.expect("a writer does not panic"));
        }
        done
    }
}

/// SIGKILL at random moments, while users write everywhere.
async fn killed_at_random(mut scene: Scene, rounds: u32, test: &'static str) {
    let seed = Seed::new(test);
    let mut rng = seed.rng(0);
    scene.write_everywhere(&mut rng).await;
    let start = Instant::now();
    scene.concord.run(&["sync"]).await.ok();
    let mut usual = start.elapsed().as_micros() as u64;
    let (mut killed, mut at_a_moment) = (0, 0);
    // What is wrong after a third of them might be made good by the others.
    for third in 0..3 {
        let writers = Writers::start(&scene, &seed, third).await;
        for round in third * rounds / 3..(third + 1) * rounds / 3 {
            writers.go_on(1 + rng.below(12) as usize);
            // Half of them at a point, where a moment alone would rarely hit; the others at a moment.
            let is_at_a_point = round.is_multiple_of(2);
            let point = format!("{}=abort@{}", rng.pick(&POINTS), 1 + rng.below(8));
            let running = scene.concord.faults(if is_at_a_point { &point } else { "" }).start(&["sync"]);
            let output = if is_at_a_point {
                running.wait().await
            } else {
                // The moment is what is random here; nothing is waited for.
                let moment = rng.below(usual * 5 / 4);
                tokio::time::sleep(Duration::from_micros(moment)).await;
                let output = running.kill().await;
                // A machine that was busy at first may be idle later, and the other way round.
                let next = if output.status.success() { (usual * 3 / 4).min(moment) } else { usual * 9 / 8 };
                usual = next.max(1_000);
                output
            };
            let signal = output.status.signal();
            assert!(signal.is_some() || output.status.success(), "round {round}: {output:?}");
            killed += u32::from(signal.is_some());
            at_a_moment += u32::from(signal == Some(libc::SIGKILL));
        }
        scene.done.merge(writers.finish().await);
        scene.converges(&format!("after {killed} kills")).await;
    }
    assert!(killed > rounds / 3, "only {killed} of {rounds} syncs were killed");
    assert!(at_a_moment >= rounds / 6, "only {at_a_moment} of {rounds} syncs were killed by SIGKILL");
}

#[tokio::test]
async fn killed_at_random_between_sqlite() {
    killed_at_random(Scene::new(SQLITE, SMALL).await, 45, "crash::killed_at_random_between_sqlite").await;
}

#[tokio::test]
async fn killed_at_random_between_postgres() {
    killed_at_random(Scene::new(POSTGRES, SMALL).await, 45, "crash::killed_at_random_between_postgres").await;
}

#[tokio::test]
async fn killed_at_random_among_three_nodes() {
    killed_at_random(Scene::new(THREE, SMALL).await, 45, "crash::killed_at_random_among_three_nodes").await;
}

#[tokio::test]
async fn killed_at_random_among_nodes_of_each_kind() {
    let test = "crash::killed_at_random_among_nodes_of_each_kind";
    killed_at_random(Scene::new(OF_EACH, SMALL).await, 30, test).await;
}

/// The total is exact as well where it is a plugin that adds up.
#[tokio::test]
async fn killed_at_random_while_a_plugin_decides() {
    let test = "crash::killed_at_random_while_a_plugin_decides";
    killed_at_random(Scene::with_plugin(THREE, SMALL).await, 30, test).await;
}

#[tokio::test]
async fn killed_at_random_while_a_plugin_decides_among_nodes_of_each_kind() {
    let test = "crash::killed_at_random_while_a_plugin_decides_among_nodes_of_each_kind";
    killed_at_random(Scene::with_plugin(OF_EACH, SMALL).await, 30, test).await;
}

/// Two engines that know nothing of each other, while users write everywhere.
async fn two_engines(kinds: &[Kind], test: &'static str) {
    let seed = Seed::new(test);
    let mut rng = seed.rng(0);
    let mut scene = Scene::new(kinds, SMALL).await;
    let writers = Writers::start(&scene, &seed, 0).await;
    for round in 0..6 {
        writers.go_on(5 + rng.below(20) as usize);
        let engines = [scene.concord.start(&["sync"]), scene.concord.start(&["sync"])];
        for engine in engines {
            let output = engine.wait().await;
            // Users who change a row again and again keep it from being written in this run.
            let held = output.status.code() == Some(3) && output.says("locked by users just now");
            assert!(output.status.success() || held, "round {round}: {output:?}");
        }
    }
    scene.done.merge(writers.finish().await);
    scene.converges("after two engines").await;
}

#[tokio::test]
async fn two_engines_between_sqlite() {
    two_engines(SQLITE, "crash::two_engines_between_sqlite").await;
}

#[tokio::test]
async fn two_engines_between_postgres() {
    two_engines(POSTGRES, "crash::two_engines_between_postgres").await;
}

#[tokio::test]
async fn two_engines_among_three_nodes() {
    two_engines(THREE, "crash::two_engines_among_three_nodes").await;
}

#[tokio::test]
async fn two_engines_between_mariadb() {
    two_engines(BOTH_MARIADB, "crash::two_engines_between_mariadb").await;
}

/// The command that watches until it is told to stop: two of them, and every connection breaks now and then.
#[tokio::test]
async fn two_watches_whose_connections_break() {
    let seed = Seed::new("crash::two_watches_whose_connections_break");
    let mut rng = seed.rng(0);
    let mut scene = Scene::new(THREE, SMALL).await;
    let breaking: Vec<String> = breaking_points().map(|point| format!("{point}=error@{}", 2 + rng.below(12))).collect();
    scene.concord.faults(&breaking.join(","));
    let watches: Vec<_> = (0..2).map(|_| scene.concord.start(&["watch", "--every", "20ms"])).collect();
    let writers = Writers::start(&scene, &seed, 0).await;
    for _ in 0..5 {
        writers.go_on(10);
        writers.written().await;
    }
    scene.done.merge(writers.finish().await);
    wait_until("both watches to carry everything", PATIENCE, async || {
        let counters = scene.content("counters").await;
        let notes = scene.content("notes").await;
        (counters.iter().all(|rows| *rows == scene.done.counters()) && notes.iter().all(|rows| *rows == notes[0]))
            .then_some(())
    })
    .await;
    for watch in watches {
        watch.signal(libc::SIGTERM);
        watch.wait().await.ok();
    }
    scene.converges("after two watches").await;
}

/// What users were told is committed must be there after a server's death, or nobody could carry it.
const DURABLE: &[(&str, &str)] = &[("synchronous_commit", "on")];

/// One of two targets dies when the other has committed: the one that has, or the one that has not.
async fn dies_between_commits(committed_dies: bool) {
    let servers = [Server::dedicated(DURABLE), Server::dedicated(DURABLE)];
    let databases =
        vec![Database::on(&servers[0]).await, Database::on(&servers[1]).await, Database::new(Kind::Sqlite).await];
    let seed = Seed::new("crash::dies_");
    let mut rng = seed.rng(0);
    let mut scene = Scene::over(databases, 1000).await;
    scene.concord.run(&["install"]).await.ok();
    for _ in 0..20 {
        scene.write(2, &mut rng).await;
    }
    scene::add(&mut scene.users[2], 1, 1, &mut scene.done).await;
    let before = scene.content("counters").await;
    let (first, second) = (scene.concord.path("first"), scene.concord.path("second"));
    let running = scene
        .concord
        .faults(&format!(
            "apply-after-commit=pause:{}@1,apply-before-commit=pause:{}@2",
            first.display(),
            second.display()
        ))
        .start(&["sync"]);
    wait_until("one commit, and the other just before", PATIENCE, async || {
        (first.exists() && second.exists()).then_some(())
    })
    .await;
    let now = scene.content("counters").await;
    let committed: Vec<usize> = (0..2).filter(|&at| now[at] != before[at]).collect();
    assert_eq!(committed.len(), 1, "one of the two targets has committed");
    let victim = if committed_dies { committed[0] } else { 1 - committed[0] };
    servers[victim].stop(Stop::Kill);
    std::fs::remove_file(&first).expect("the engine made it");
    std::fs::remove_file(&second).expect("the engine made it");
    let output = running.wait().await.expect(3);
    assert!(output.says(&format!("node `{}`", NAMES[victim])), "{output:?}");
    servers[victim].start();
    scene.connect().await;
    for at in 0..3 {
        scene.write(at, &mut rng).await;
    }
    scene.converges("after a target died between the commits").await;
}

#[tokio::test]
async fn dies_before_its_commit() {
    dies_between_commits(false).await;
}

#[tokio::test]
async fn dies_after_its_commit() {
    dies_between_commits(true).await;
}

/// A server dies while the engine is at a point of the cycle.
#[tokio::test]
async fn a_server_dies_at_any_point() {
    let seed = Seed::new("crash::a_server_dies_at_any_point");
    let mut rng = seed.rng(0);
    let server = Server::dedicated(DURABLE);
    let databases = vec![Database::on(&server).await, Database::new(Kind::Sqlite).await];
    let mut scene = Scene::over(databases, 1000).await;
    scene.concord.run(&["install"]).await.ok();
    for point in ["read", "read-done", "apply-claimed", "apply-written", "apply-after-commit", "purge"] {
        scene.write_everywhere(&mut rng).await;
        let file = scene.concord.path("paused");
        let running = scene.concord.faults(&format!("{point}=pause:{}@1", file.display())).start(&["sync"]);
        wait_until(point, PATIENCE, async || file.exists().then_some(())).await;
        server.stop(Stop::Kill);
        std::fs::remove_file(&file).expect("the engine made it");
        let output = running.wait().await;
        assert_eq!(output.status.code(), Some(3), "the server died at `{point}`: {output:?}");
        server.start();
        scene.connect().await;
        scene.converges(&format!("the server died at `{point}`")).await;
    }
}

const AT_ENDS: [(&str, &str); 2] = [("install-node", "remove-node"), ("install-commit", "uninstall-commit")];

/// Installing and removing are taken up again where they were killed, and in the end nothing is left.
async fn killed_while_installing(kinds: &[Kind], points: &[(&str, &str)], test: &'static str) {
    let seed = Seed::new(test);
    let mut rng = seed.rng(0);
    let mut scene = Scene::bare(kinds, 1000).await;
    let before = scene.schemas().await;
    for (point, removing) in points {
        for pass in 1..=2 {
            let when = format!("killed at pass {pass} of `{point}`");
            let output = scene.concord.faults(&format!("{point}=abort@{pass}")).run(&["install"]).await;
            assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{when}: {output:?}");
            // What is there already must not disturb anybody.
            scene.write_everywhere(&mut rng).await;
            let output = scene.concord.faults("").run(&["sync"]).await.expect(2);
            assert!(output.says("concord install"), "{when}: {output:?}");
            scene.make_alike().await;
            scene.concord.run(&["install"]).await.ok();
            let again = scene.concord.run(&["install", "--json"]).await.ok().json();
            let done = |node: &serde_json::Value| node["done"].as_array().is_some_and(Vec::is_empty);
            assert!(again["nodes"].as_array().is_some_and(|nodes| nodes.iter().all(done)), "{when}: {again}");
            // What was captured by a half of the nodes is not wanted: the rows were made alike by hand.
            scene.concord.run(&["reset", "--yes"]).await.ok();
            scene.converges(&when).await;
            scene.write_everywhere(&mut rng).await;
            scene.converges(&when).await;

            let when = format!("killed at pass {pass} of `{removing}`");
            scene.disconnect();
            let output = scene.concord.faults(&format!("{removing}=abort@{pass}")).run(&["uninstall", "--yes"]).await;
            assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{when}: {output:?}");
            scene.connect().await;
            scene.write_everywhere(&mut rng).await;
            scene.disconnect();
            scene.concord.faults("").run(&["uninstall", "--yes"]).await.ok();
            scene.connect().await;
            assert_eq!(scene.schemas().await, before, "{when}: something is left");
            scene.make_alike().await;
        }
    }
}

#[tokio::test]
async fn killed_while_installing_and_removing() {
    killed_while_installing(MIXED, &AT_ENDS, "crash::killed_while_installing_and_removing").await;
}

/// Every statement that creates or removes something commits there, so that a half of it stands.
#[tokio::test]
async fn killed_while_installing_and_removing_on_mariadb() {
    let points = [("install-table", "uninstall-trigger"), AT_ENDS[0], AT_ENDS[1]];
    killed_while_installing(MARIADB, &points, "crash::killed_while_installing_and_removing_on_mariadb").await;
}

/// The journal mode of a file and what is in it are not changed at once: whatever comes between, the next uninstall
/// gives back what was.
#[tokio::test]
async fn killed_between_the_journal_mode_and_the_rest() {
    let mut scene = Scene::bare(SQLITE, 1000).await;
    let before = scene.schemas().await;
    for pass in 1..=2 {
        scene.concord.faults("").run(&["install"]).await.ok();
        assert_ne!(scene.schemas().await, before);
        scene.disconnect();
        let rule = format!("uninstall-switched=abort@{pass}");
        let output = scene.concord.faults(&rule).run(&["uninstall", "--yes"]).await;
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
        scene.concord.faults("").run(&["uninstall", "--yes"]).await.ok();
        scene.connect().await;
        assert_eq!(scene.schemas().await, before, "killed at pass {pass}: something is left");
    }
}
