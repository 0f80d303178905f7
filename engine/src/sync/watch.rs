//! Running on: a cycle whenever something may have changed, and at least so often.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::cycle::Cycle;
use super::purge::Purged;
use super::schedule::Schedule;
use super::session::Session;
use crate::error::{Error, Result};
use crate::model::time;

/// How often the nodes are asked whether anything was written. The question is cheap (see [`crate::node::Node::pulse`]).
const LOOK: Duration = Duration::from_millis(50);

/// The same where it does not matter: files are looked after with that question.
const SELDOM: Duration = Duration::from_secs(1);

/// The longest pause after errors.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Session {
    /// Runs cycles until `stop` is ready; each is told to `report`. A cycle is run at least `every` so often, and at once
    /// when a node's pulse changes. Rows that wait are tried again after growing pauses, and at once when something happened
    /// that they may depend on. A node that cannot be reached is tried again with every cycle; an error that concerns
    /// the whole sync ends it, unless trying again may help. Once a cycle went well, what is wrong at nodes is told as of a
    /// cycle, and looked at again: the file was right, and somebody may be at work there. Tables that are kept in step by
    /// comparison are compared at the beginning, and again when `compare_every` of the configuration has passed since the last
    /// time.
    pub async fn watch(
        &mut self,
        every: Duration,
        stop: impl Future<Output = ()>,
        mut report: impl FnMut(&Cycle),
    ) -> Result<()> {
        tokio::pin!(stop);
        self.schedule = Schedule::by_the_clock(time::moment());
        self.watches = true;
        let (mut pause, mut went_well) = (every, false);
        let histories = self.config.keeps_histories();
        let mut due = self.config.compares().then(Instant::now);
        loop {
            // A cycle is not cut off: it ends within one transaction's time, and a killed one would only be repeated.
            let before = self.pulses().await;
            let mut done = if histories { self.cycle().await } else { Ok(Cycle::default()) };
            if let (Ok(cycle), true) = (&mut done, due.is_some_and(|due| due <= Instant::now())) {
                // This may take long, and is. Whatever is under way then is undone.
                let compared = tokio::select! {
                    biased;
                    () = &mut stop => return Ok(()),
                    compared = self.mend_compared() => compared,
                };
                match compared {
                    Ok(compared) => cycle.take(compared),
                    Err(error) => match self.told_as_failed(error, &mut cycle.failed).await {
                        Ok(_) => {
                            (cycle.away, cycle.stopped) = (self.away(), self.stopped());
                        }
                        Err(error) => done = Err(error),
                    },
                }
                due = due.map(|_| Instant::now() + self.config.defaults.compare_every);
            }
            match done {
                Ok(cycle) => {
                    report(&cycle);
                    (pause, went_well) = (every, true);
                    let at_once = cycle.more || cycle.overtaken || self.schedule.is_pressing();
                    // What is tried in vain may leave traces, such as numbers that were drawn; they are no news.
                    let is_held_up = cycle.in_vain || self.purged == Purged::HeldUp;
                    let in_vain = cycle.failed.is_some() || is_held_up && cycle.is_quiet();
                    let before = if in_vain { self.pulses().await } else { before };
                    let until_due = due.map(|due| due.saturating_duration_since(Instant::now()));
                    // What is only compared is not compared sooner for a write.
                    let rest = match histories {
                        true => until_due.map_or(every, |until_due| until_due.min(every)),
                        false => until_due.unwrap_or(every),
                    };
                    tokio::select! {
                        biased;
                        () = &mut stop => return Ok(()),
                        () = self.wait(histories.then_some(&before[..]), if at_once { Duration::ZERO } else { rest }) => {}
                    }
                }
                Err(error) => {
                    let longest = if passes(&error) {
                        warn!(%error, "A cycle failed; trying again.");
                        LONGEST_PAUSE
                    } else if went_well && self.may_be_put_right(&error) {
                        debug!(%error, "A cycle failed; looking again.");
                        report(&self.come_to_nothing(&error));
                        if !histories {
                            // Nothing but a comparison tells whether it was put right.
                            due = due.map(|_| Instant::now());
                        }
                        self.look_again
                    } else {
                        return Err(error);
                    };
                    // A snapshot that stays open over the pause would hold back what the databases clean up.
                    self.close().await;
                    pause = (pause * 2).min(longest);
                    tokio::select! {
                        biased;
                        () = &mut stop => return Ok(()),
                        () = self.wait(None, pause) => {}
                    }
                }
            }
        }
    }

    /// What is told of a cycle that failed over nodes.
    fn come_to_nothing(&self, error: &Error) -> Cycle {
        // Who is away is told besides.
        let failed = matches!(error, Error::Node { .. }).then(|| error.to_string());
        Cycle { failed, away: self.away(), stopped: self.stopped(), ..Cycle::default() }
    }

    /// Waits until something may have been written since the pulses `before`, if that matters, or for so long.
    async fn wait(&mut self, before: Option<&[Option<u64>]>, longest: Duration) {
        let until = Instant::now() + longest;
        let look = if before.is_some() { LOOK } else { SELDOM };
        while Instant::now() < until {
            sleep(look.min(until - Instant::now())).await;
            let pulses = self.pulses().await;
            if before.is_some_and(|before| pulses != before) {
                return;
            }
        }
    }

    /// Every node's pulse; `None` for nodes that are away.
    async fn pulses(&mut self) -> Vec<Option<u64>> {
        let tables = &self.tables;
        join_all(self.members.iter_mut().map(async |member| {
            let specs = Session::specs(tables, member.id);
            match member.node.as_deref_mut()?.pulse(&specs).await {
                Ok(pulse) => return Some(pulse),
                Err(error) if error.is_absence() => member.leave(&error),
                // It shows in the next cycle, where it is told.
                Err(_) => {}
            }
            None
        }))
        .await
    }
}

/// Whether the same may succeed later.
fn passes(error: &Error) -> bool {
    error.exit_code() == crate::error::UNREACHABLE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::tests::files;

    /// A file is looked after also where no history tells when it was written to.
    #[tokio::test]
    async fn the_log_of_a_file_that_is_compared_is_emptied() {
        let sql = "PRAGMA journal_mode = wal; CREATE TABLE t (id INTEGER PRIMARY KEY)";
        let (folder, _databases, mut session) = files::two(sql, "[tables.t]\nmode = \"compare\"\nfrom = \"a\"\n");
        let (mut cycles, log) = (0, folder.path().join("a-wal"));
        let is_left = || log.metadata().expect("a log").len() > 0;
        assert!(is_left());
        let emptied = async {
            while is_left() {
                sleep(LOOK).await;
            }
        };
        let watch = Box::pin(session.watch(Duration::from_secs(3600), emptied, |_| cycles += 1));
        let ended = tokio::time::timeout(Duration::from_secs(20), watch).await;
        ended.expect("the log is emptied").expect("nothing is wrong");
        assert_eq!(cycles, 1);
    }
}
