//! What keeps a connection to the file that is meant, and lets it go when that is another.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::failure::Told;
use super::place::{self, FileId, Standing};
use super::{Sqlite, connect};
use crate::node::Result;

/// For how long nobody has written when what stands in the log is brought into the file, and when that is tried again.
pub(super) const AT_REST: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_secs(10);

impl Sqlite {
    /// Opens the file again if another one has taken its place, such as a restored backup, or its log was removed, and tells whether
    /// that is not so.
    pub(super) fn same_file(&mut self) -> Result<bool> {
        if !self.closed {
            let mut standing = self.place.look();
            if matches!(standing, Standing::Gone | Standing::Unknown) {
                // Who moved it away may move it back, and others write to it meanwhile: it stays open until another lies there.
                connect::find(&self.path)?;
                standing = match self.place.look() {
                    Standing::Gone | Standing::Unknown => Standing::Replaced,
                    now => now,
                };
            }
            let is_meant = FileId::of(&self.path).is_ok_and(|file| file == *self.place.file());
            if is_meant && standing == Standing::Intact {
                return Ok(true);
            }
            self.part(standing)?;
        }
        let mut opened = Sqlite::open(self.path.clone())?;
        opened.commits = self.commits.wrapping_add(1);
        *self = opened;
        Ok(false)
    }

    /// Closes the file. What stands in the log belongs into it, also where it was moved away; but nothing is removed that may be another's.
    /// Tells what is in the way of whoever opens another file that lies there, if anything was left.
    fn part(&mut self, standing: Standing) -> Result<Option<String>> {
        self.give_up();
        let brought = match standing {
            // SQLite does it if nobody else has the file open, and removes the log.
            Standing::Intact | Standing::Stripped if self.place.has_no_other() => {
                self.db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map(|_| false)
            }
            // It would not where the file was moved.
            Standing::Replaced => self.place.bring(&self.db),
            _ => Ok(false),
        };
        let is_brought = brought.unwrap_or_else(|error| {
            tracing::debug!(file = %self.path.display(), %error, "The log could not be emptied.");
            false
        });
        // Closed before the other is opened: where the index of the log is the same file, what closes it takes all of this
        // program's locks on it away.
        self.db = Connection::open_in_memory().told(|| "closing a database file")?;
        self.closed = true;
        Ok(match standing {
            Standing::Intact | Standing::Unknown => None,
            Standing::Stripped | Standing::Gone | Standing::Replaced => self.place.note_stray(is_brought),
        })
    }

    /// Empties the log once nobody has written for a while. While this engine has the file open, nobody else does so as the last who
    /// closes it, and whoever copies the file alone when all applications are stopped would copy less than they have written.
    pub(super) fn settle(&mut self, pulse: u64) -> Result<()> {
        let now = Instant::now();
        let due = self.rest.filter(|(known, _)| *known == pulse).map(|(_, due)| due);
        if due.is_some_and(|due| now < due) || !self.db.is_autocommit() {
            return Ok(());
        }
        self.rest = Some((pulse, now + if due.is_some() { AGAIN } else { AT_REST }));
        if due.is_none() || !self.place.has_log() {
            return Ok(());
        }
        self.waiting(Duration::ZERO, |node| {
            if let Err(error) = place::settle(&node.db) {
                tracing::debug!(file = %node.path.display(), %error, "The log could not be emptied.");
            }
            // The log is another now, and known to be this file's.
            node.place.look();
            Ok(())
        })
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        let standing = self.place.look();
        // If this program ends now, nobody keeps the two apart any more.
        if let Ok(Some(why)) = self.part(standing)
            && standing == Standing::Replaced
        {
            tracing::warn!("A database file was closed: {why}.");
        }
    }
}
