//! Random runs over real databases, compared with a simple reference: what users were told is committed.
//!
//! Two to four nodes of mixed kinds; writes, deletes and re-inserts; nodes that are away; engines whose connections
//! break, that vanish in the middle or are killed. In the end every counter is the sum of all that was added anywhere,
//! and every note is the last write of one of the nodes. The cycle runs by the thousand over databases in memory in
//! the engine's own tests; here it is the databases' part that is tried.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use concord::config::Config;
use concord::fault::{self, Faults};
use concord::sync::Session;
use concord_tests::{Kind, PATIENCE, Rng, Seed, breaking_points, wait_until};

use super::scene::{self, Scene};

/// How long the test draws new runs.
const BUDGET: Duration = Duration::from_secs(20);

#[tokio::test]
async fn random_runs_end_as_the_reference_says() {
    let start = Instant::now();
    let mut runs = 0;
    while start.elapsed() < BUDGET {
        Box::pin(run()).await;
        runs += 1;
        if std::env::var_os("CONCORD_SEED").is_some() {
            return;
        }
    }
    println!("{runs} runs");
    assert!(runs > 1, "the machine is too slow to try anything");
}

/// One random run. Its seed is said when it fails.
async fn run() {
    let seed = Seed::new("model::random_runs_end_as_the_reference_says");
    let mut rng = seed.rng(0);
    let count = 2 + rng.below(3) as usize;
    let kinds: Vec<Kind> = (0..count).map(|_| *rng.pick(&Kind::ALL)).collect();
    let mut scene = Scene::new(&kinds, 1000).await;
    for _ in 0..10 + rng.below(15) {
        if rng.chance(50) {
            let at = rng.below(count as u64) as usize;
            for _ in 0..1 + rng.below(4) {
                scene.write(at, &mut rng).await;
            }
        } else {
            engine(&mut scene, &mut rng).await;
        }
    }
    scene.converges(&format!("{kinds:?}")).await;
}

/// An engine with some nodes away works for a while, and may come to harm.
async fn engine(scene: &mut Scene, rng: &mut Rng) {
    let there: Vec<bool> = (0..scene.databases.len()).map(|_| rng.chance(75)).collect();
    let point = *rng.pick(&breaking_points().collect::<Vec<_>>());
    let pass = 1 + rng.below(6);
    if rng.chance(15) {
        there.iter().enumerate().for_each(|(at, there)| scene.reach(at, *there));
        let output = scene.concord.faults(&format!("{point}=abort@{pass}")).run(&["sync"]).await;
        assert_ne!(output.status.code(), Some(4), "{output:?}");
        (0..there.len()).for_each(|at| scene.reach(at, true));
        return;
    }
    let urls: Vec<String> = (0..there.len()).map(|at| scene.url(at, there[at])).collect();
    let text = scene::config(&urls, [1, 4, 1000][rng.below(3) as usize]);
    let config = Config::parse(Path::new("model.toml"), text, &|_| None).unwrap_or_else(|error| panic!("{error}"));
    let mut session = Session::new(config);
    let file = scene.concord.path("vanished");
    let rule = match rng.below(10) {
        0..4 => String::new(),
        4..7 => format!("{point}=error@{pass}"),
        _ => format!("{point}=pause:{}@{pass}", file.display()),
    };
    let faults: Faults = rule.parse().unwrap_or_else(|error| panic!("{error}"));
    let cycles = 1 + rng.below(4);
    let work = fault::scoped(Arc::new(Mutex::new(faults)), async {
        for _ in 0..cycles {
            // An engine that lost a connection says so or leaves the node out; either is fine here.
            let _ = session.cycle().await;
        }
    });
    // The run goes on by itself meanwhile, and mostly comes to its end.
    let vanish = wait_until("the file or the end", 20 * PATIENCE, async || file.exists().then_some(()));
    tokio::select! {
        () = work => {}
        // It is dropped where it stands, with everything that it has begun.
        () = vanish => {}
    }
    drop(session);
    let _ = std::fs::remove_file(&file);
}
