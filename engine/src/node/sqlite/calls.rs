//! How calls run: on the caller's thread, in a transaction that is over once an error has ended it, and without making
//! anybody else wait for a lock that a user holds.

use std::time::{Duration, Instant};

use super::Sqlite;
use super::failure::Told;
use crate::node::patience::for_locks;
use crate::node::{Error, ErrorKind, Result};

/// How long a cycle waits for a lock that a user holds, before it goes on without this file until the next one.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// The same where nothing depends on it.
pub(super) const LITTLE_PATIENCE: Duration = Duration::from_millis(200);

/// How long a command waits that a person gave to change what is installed.
pub(super) const MUCH_PATIENCE: Duration = Duration::from_secs(10);

/// How long a statement waits for a lock, which stops everything else on this thread.
pub(super) const BRIEFLY: Duration = Duration::from_millis(50);

/// Between two attempts, and between two transactions that lock the file for long.
pub(super) const PAUSE: Duration = Duration::from_millis(5);

/// Runs work that may wait for the disk or a lock.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Tries again for so long while somebody else holds a lock. Other nodes get on meanwhile.
pub(super) async fn patiently<T>(patience: Duration, mut work: impl FnMut() -> Result<T>) -> Result<T> {
    let until = Instant::now() + for_locks(patience);
    loop {
        match blocking(&mut work) {
            Err(error) if error.kind == ErrorKind::Retry && Instant::now() < until => tokio::time::sleep(PAUSE).await,
            done => return done,
        }
    }
}

impl Sqlite {
    /// Runs one call. After an error that ends the transaction, it is ended.
    pub(super) fn run<T>(&mut self, work: impl FnOnce(&mut Sqlite) -> Result<T>) -> Result<T> {
        blocking(|| {
            if self.closed {
                self.same_file()?;
            }
            let within = !self.db.is_autocommit();
            let done = work(self);
            let Err(error) = done else { return done };
            if matches!(error.kind, ErrorKind::Lost | ErrorKind::Retry) {
                self.give_up();
            } else if within && self.db.is_autocommit() && error.is_about_rows() {
                // Nothing can be undone piece by piece any more.
                let message = format!("{error}; the database gave up the whole transaction over it");
                return Err(Error::new(ErrorKind::Other, message));
            }
            Err(error)
        })
    }

    /// The same for a call that reads, where no transaction may be open: then it waits for whoever has locked the file.
    pub(super) async fn reading<T>(&mut self, mut work: impl FnMut(&mut Sqlite) -> Result<T>) -> Result<T> {
        let patience = if self.db.is_autocommit() { PATIENCE } else { Duration::ZERO };
        patiently(patience, || self.run(&mut work)).await
    }

    /// The same for the call that begins a transaction: whatever fails, none is left open.
    pub(super) async fn begin<T>(&mut self, sql: &str, work: impl Fn(&mut Sqlite) -> Result<T>) -> Result<T> {
        let begun = patiently(PATIENCE, || {
            self.run(|node| {
                node.same_file()?;
                node.give_up();
                node.plans.clear();
                node.waiting(Duration::ZERO, |node| {
                    node.db
                        .execute_batch(sql)
                        .told(|| format!("beginning a transaction in `{}`", node.path.display()))?;
                    let begun = work(node);
                    if begun.is_err() {
                        node.give_up();
                    }
                    begun
                })
            })
        });
        begun.await
    }

    /// A call that changes what is installed.
    pub(super) fn change<T>(&mut self, work: impl FnOnce(&mut Sqlite) -> Result<T>) -> Result<T> {
        self.run(|node| {
            node.same_file()?;
            node.give_up();
            node.commits = node.commits.wrapping_add(1);
            node.known.clear();
            node.waiting(MUCH_PATIENCE, work)
        })
    }

    /// Lets statements wait for locks for so long.
    pub(super) fn waiting<T>(&mut self, patience: Duration, work: impl FnOnce(&mut Sqlite) -> Result<T>) -> Result<T> {
        let doing = || "setting how long to wait for locks";
        self.db.busy_timeout(for_locks(patience)).told(doing)?;
        let done = work(self);
        self.db.busy_timeout(BRIEFLY).told(doing)?;
        done
    }

    pub(super) fn give_up(&mut self) {
        if !self.db.is_autocommit()
            && let Err(error) = self.db.execute_batch("ROLLBACK")
        {
            // SQLite rolls back by itself what it cannot roll back on demand.
            tracing::debug!("giving up a transaction: {error}");
        }
    }

    pub(super) fn execute(&mut self, sql: &str) -> Result<()> {
        self.run(|node| node.db.execute_batch(sql).told(|| format!("in `{}`", node.path.display())))
    }
}
