//! Connections that break or fall silent, and servers that take none.

use std::time::{Duration, Instant};

use concord_tests::postgres::Server;
use concord_tests::{As, Database, Kind, Mode, PATIENCE, Proxy, Seed, breaking_points, wait_until};

use super::super::scene::{self, Scene};
use super::ended;

const KINDS: &[Kind] = &[Kind::Postgres, Kind::Sqlite, Kind::Postgres];

const WITH_MARIADB: &[Kind] = &[Kind::Mariadb, Kind::Sqlite, Kind::Postgres];

/// A scene whose first node is reached by a way that can be blocked.
async fn behind_a_proxy(kinds: &[Kind]) -> (Scene, Proxy) {
    let mut scene = Scene::bare(kinds, 1000).await;
    let proxy = Proxy::to(&scene.databases[0]);
    scene.concord.env("NODE_a", proxy.url());
    scene.concord.run(&["install"]).await.ok();
    (scene, proxy)
}

/// The nodes behind no proxy have the same, and it is news.
async fn others_agree(scene: &mut Scene, when: &str) {
    let notes = scene.content("notes").await;
    assert_eq!(notes[1], notes[2], "{when}: the others go on");
}

#[tokio::test]
async fn connections_that_are_cut_at_any_point() {
    cut_at_any_point(KINDS, "surroundings::network::connections_that_are_cut_at_any_point").await;
}

#[tokio::test]
async fn connections_to_mariadb_that_are_cut_at_any_point() {
    cut_at_any_point(WITH_MARIADB, "surroundings::network::connections_to_mariadb_that_are_cut_at_any_point").await;
}

async fn cut_at_any_point(kinds: &[Kind], test: &'static str) {
    let mut rng = Seed::new(test).rng(0);
    let (mut scene, proxy) = behind_a_proxy(kinds).await;
    for point in breaking_points() {
        scene.write_everywhere(&mut rng).await;
        let file = scene.concord.path("paused");
        let running = scene.concord.faults(&format!("{point}=pause:{}@1", file.display())).start(&["sync"]);
        wait_until(point, PATIENCE, async || file.exists().then_some(())).await;
        proxy.cut();
        std::fs::remove_file(&file).expect("the engine made it");
        let when = format!("cut at `{point}`");
        ended(&running.wait().await, &when);
        others_agree(&mut scene, &when).await;
        scene.converges(&when).await;
    }
}

/// A server, or a network, that takes everything and answers nothing: the cycle ends without it.
#[tokio::test]
async fn silence() {
    let mut rng = Seed::new("surroundings::network::silence").rng(0);
    let (mut scene, proxy) = behind_a_proxy(KINDS).await;
    for point in ["read-done", "apply-written"] {
        scene.write_everywhere(&mut rng).await;
        let file = scene.concord.path("paused");
        let running = scene.concord.faults(&format!("{point}=pause:{}@1", file.display())).start(&["sync"]);
        wait_until(point, PATIENCE, async || file.exists().then_some(())).await;
        proxy.set(Mode::Stalled);
        let start = Instant::now();
        std::fs::remove_file(&file).expect("the engine made it");
        let output = running.wait().await.expect(3);
        assert!(start.elapsed() < Duration::from_secs(50), "it took {:?}", start.elapsed());
        assert!(output.says("node `a` is left out") && output.says("no answer"), "{output:?}");
        let when = format!("silence since `{point}`");
        others_agree(&mut scene, &when).await;
        // What was under way arrives now, after the engine has given it up.
        proxy.set(Mode::Open);
        scene.converges(&when).await;
    }
    // From the beginning.
    proxy.set(Mode::Stalled);
    scene.write_everywhere(&mut rng).await;
    let output = scene.concord.run(&["sync"]).await.expect(3);
    assert!(output.says("did not answer within"), "{output:?}");
    others_agree(&mut scene, "silence from the beginning").await;
    proxy.set(Mode::Open);
    scene.converges("after silence").await;
}

/// A statement may take long: whoever is at work is waited for.
#[tokio::test]
async fn a_server_that_takes_its_time() {
    let mut scene = Scene::new(&KINDS[..2], 1000).await;
    scene.databases[0]
        .user_as(As::Sync)
        .await
        .execute(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN IF NEW.body = ''slow'' THEN PERFORM pg_sleep(12); END IF; RETURN NEW; END';
             CREATE TRIGGER slow BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION slow()",
        )
        .await;
    scene.concord.run(&["install"]).await.ok();
    scene.users[1].execute("UPDATE notes SET body = 'slow' WHERE id = 1").await;
    scene.done.last.insert((1, 1), Some("slow".to_owned()));
    scene.converges("it took its time").await;
}

#[tokio::test]
async fn a_watch_goes_on_while_a_network_is_away() {
    let (mut scene, proxy) = behind_a_proxy(KINDS).await;
    let mut watch = scene.concord.start(&["watch", "--every", "20ms"]);
    watch.line("watching").await;
    proxy.set(Mode::Closed);
    proxy.cut();
    watch.line("node `a` is left out").await;
    scene::add(&mut scene.users[0], 2, 5, &mut scene.done).await;
    scene::add(&mut scene.users[1], 1, 7, &mut scene.done).await;
    wait_until("the others to go on", PATIENCE, async || {
        let counters = scene.content("counters").await;
        (counters[2] == counters[1] && counters[2] != counters[0]).then_some(())
    })
    .await;
    proxy.set(Mode::Open);
    watch.line("node `a` is back").await;
    watch.signal(libc::SIGTERM);
    watch.wait().await.ok();
    scene.converges("the network is back").await;
}

/// A server that starts, or has too many connections, says so.
#[tokio::test]
async fn servers_that_take_no_connections() {
    let mut rng = Seed::new("surroundings::network::servers_that_take_no_connections").rng(0);
    let (mut scene, proxy) = behind_a_proxy(KINDS).await;
    for code in ["57P03", "53300"] {
        proxy.set(Mode::Answering(code));
        scene.write_everywhere(&mut rng).await;
        let output = scene.concord.run(&["sync"]).await.expect(3);
        assert!(
            output.says("node `a` is left out: cannot connect to PostgreSQL at") && output.says(code),
            "{output:?}"
        );
        others_agree(&mut scene, code).await;
        proxy.set(Mode::Open);
        scene.converges(code).await;
    }
    let name = scene.users[0].cell("SELECT current_database()").await;
    let mut admin = scene.databases[0].user_as(As::Admin).await;
    admin.execute(&format!("ALTER DATABASE {name} CONNECTION LIMIT 0")).await;
    scene.write_everywhere(&mut rng).await;
    let output = scene.concord.run(&["sync"]).await.expect(3);
    assert!(output.says("too many connections"), "{output:?}");
    admin.execute(&format!("ALTER DATABASE {name} CONNECTION LIMIT -1")).await;
    scene.converges("there is room again").await;
}

#[tokio::test]
async fn sessions_that_an_administrator_ends() {
    let mut rng = Seed::new("surroundings::network::sessions_that_an_administrator_ends").rng(0);
    let mut scene = Scene::new(KINDS, 1000).await;
    let mut admin = scene.databases[0].user_as(As::Admin).await;
    for point in ["read", "fetch", "read-done", "apply-claimed", "apply-written", "apply-before-commit", "purge"] {
        scene.write_everywhere(&mut rng).await;
        let file = scene.concord.path("paused");
        let running = scene.concord.faults(&format!("{point}=pause:{}@1", file.display())).start(&["sync"]);
        wait_until(point, PATIENCE, async || file.exists().then_some(())).await;
        let ended_sessions = admin
            .rows(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'concord'",
            )
            .await;
        assert!(!ended_sessions.is_empty(), "the engine is connected at `{point}`");
        std::fs::remove_file(&file).expect("the engine made it");
        let when = format!("ended at `{point}`");
        ended(&running.wait().await, &when);
        others_agree(&mut scene, &when).await;
        scene.converges(&when).await;
    }
}

/// A commit waits for a standby that is gone: whether it counts is known later.
#[tokio::test]
async fn a_standby_that_does_not_answer() {
    let mut rng = Seed::new("surroundings::network::a_standby_that_does_not_answer").rng(0);
    let server = Server::dedicated(&[]);
    let mut databases = vec![Database::on(&server).await];
    for kind in [Kind::Sqlite, Kind::Postgres] {
        databases.push(Database::new(kind).await);
    }
    let mut scene = Scene::over(databases, 1000).await;
    scene.concord.run(&["install"]).await.ok();
    let mut admin = scene.databases[0].user_as(As::Admin).await;
    admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'gone'").await;
    admin.execute("SELECT pg_reload_conf()").await;
    let taken = async || (admin.cell("SHOW synchronous_standby_names").await == "gone").then_some(());
    wait_until("the setting to be taken", PATIENCE, taken).await;
    scene.write_everywhere(&mut rng).await;
    let output = scene.concord.run(&["sync"]).await;
    // Given up, it holds its locks all the same, which the cycles after it meet.
    assert!(matches!(output.status.code(), Some(1 | 3)) && output.says("node `a`"), "{output:?}");
    others_agree(&mut scene, "a standby is gone").await;
    admin.execute("ALTER SYSTEM RESET synchronous_standby_names").await;
    admin.execute("SELECT pg_reload_conf()").await;
    scene.converges("the standby is no longer waited for").await;
}
