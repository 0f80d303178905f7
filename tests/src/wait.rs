//! Waiting for something to become true, instead of sleeping and hoping.

use std::time::{Duration, Instant};

/// How long a test waits for what should happen at once, on a slow and busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(5);

/// Asks `condition` again and again until it answers with a value, and returns that. Panics with `what` after
/// `timeout`.
#[track_caller]
pub fn wait_until<T, C>(what: &str, timeout: Duration, mut condition: C) -> impl Future<Output = T>
where
    C: AsyncFnMut() -> Option<T>,
{
    let caller = std::panic::Location::caller();
    async move {
        let start = Instant::now();
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            assert!(start.elapsed() < timeout, "{caller}: waited {timeout:?} in vain for {what}");
            tokio::time::sleep(POLL).await;
        }
    }
}
