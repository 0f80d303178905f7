//! Keeping the journals from growing for ever: what was decided longer ago than the file says is deleted, where cycles have
//! nothing else to do.

use std::time::{Duration, Instant};

use futures::future::join_all;
use tracing::{debug, warn};

use super::session::Session;
use crate::model::time;

/// Entries deleted in one transaction, so that nobody waits long for it.
const PORTION: usize = 1_000;

/// Such portions at each node before other work comes first again.
const PORTIONS: usize = 20;

/// How long it takes until somebody looks again: entries age slowly, and a look may read a whole journal.
const PAUSE: Duration = Duration::from_secs(3_600);

impl Session {
    /// Deletes what the journals have kept for long enough, or a part of it. A failure loses nothing: it is tried again.
    pub(super) async fn tidy(&mut self, now: Instant) {
        if self.tidied.is_some_and(|tidied| now.duration_since(tidied) < PAUSE) {
            return;
        }
        let kept = i64::try_from(self.config.defaults.journal.as_micros()).unwrap_or(i64::MAX);
        // Where a machine came up with a clock that is far ahead, everything would seem to be old: the clock that is least
        // ahead counts, of those who are there.
        let least = self.members.iter().filter_map(|member| member.ahead).min().unwrap_or(0).min(0);
        let before = time::now().saturating_add(least).saturating_sub(kept);
        let done = join_all(self.members.iter_mut().map(async |member| {
            let Some(node) = member.node.as_deref_mut() else { return true };
            for _ in 0..PORTIONS {
                match node.trim_journal(before, PORTION).await {
                    Ok(gone) if gone < PORTION as u64 => return true,
                    Ok(gone) => debug!(node = %member.name, gone, "Old conflicts are forgotten."),
                    Err(error) if error.is_absence() => {
                        member.leave(&error);
                        return true;
                    }
                    Err(error) => {
                        warn!(node = %member.name, %error, "The journal could not be cleared of old conflicts.");
                        return true;
                    }
                }
            }
            false
        }))
        .await;
        if done.into_iter().all(|done| done) {
            self.tidied = Some(now);
        }
    }
}
