//! Engines that stand still in the middle, and go on as if nothing had happened.

use concord_tests::{As, Kind, PATIENCE, Seed, wait_until};

use super::super::scene::Scene;
use super::ended;

/// GIVEN an engine that is stopped while it holds rows locked
/// WHEN a user writes the same rows and a second engine works
/// THEN both get on once the server has given the stopped engine's locks up, and what the first does afterwards harms nobody.
#[tokio::test]
async fn stopped_in_the_middle() {
    let mut rng = Seed::new("surroundings::engines::stopped_in_the_middle").rng(0);
    let mut scene = Scene::bare(&[Kind::Postgres, Kind::Postgres], 1000).await;
    for database in &scene.databases {
        // As an administrator may who does not want to wait for a minute.
        let mut admin = database.user_as(As::Admin).await;
        let name = admin.cell("SELECT current_database()").await;
        admin.execute(&format!("ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '500ms'")).await;
    }
    scene.concord.run(&["install"]).await.ok();
    for point in ["fetch", "apply-claimed", "apply-written", "apply-before-commit", "apply-after-commit"] {
        scene.write_everywhere(&mut rng).await;
        let file = scene.concord.path("paused");
        let first = scene.concord.faults(&format!("{point}=pause:{}@1", file.display())).start(&["sync"]);
        wait_until(point, PATIENCE, async || file.exists().then_some(())).await;
        first.signal(libc::SIGSTOP);
        let when = format!("stopped at `{point}`");
        let writing = tokio::time::timeout(PATIENCE, scene.write_everywhere(&mut rng)).await;
        assert!(writing.is_ok(), "{when}: users wait for it");
        ended(&scene.concord.faults("").run(&["sync"]).await, &when);
        let writing = tokio::time::timeout(PATIENCE, scene.write_everywhere(&mut rng)).await;
        assert!(writing.is_ok(), "{when}: users wait for it");
        std::fs::remove_file(&file).expect("the engine made it");
        first.signal(libc::SIGCONT);
        ended(&first.wait().await, &when);
        scene.converges(&when).await;
    }
}
