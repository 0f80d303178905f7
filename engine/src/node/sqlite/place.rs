//! Whether a file is still what lies at its place, together with what SQLite keeps beside it.
//!
//! In WAL mode what was written last stands in the log, which ends in -wal, and SQLite takes whatever has that name for the file's
//! own. An engine that runs on keeps the log there while every application is stopped. Without care a backup that is put in the file's
//! place would be mixed with what was changed since it was made.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::ErrorKind as Io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::calls::BRIEFLY;
use crate::node::{Error, ErrorKind, Result};

/// Which file on the disk this is, whatever name it was opened by.
#[derive(Clone, Debug)]
pub(super) struct FileId {
    name: String,
    /// Where it is kept: the number of a file that is gone is given to another.
    born: Option<SystemTime>,
}

impl PartialEq for FileId {
    fn eq(&self, other: &FileId) -> bool {
        // Some file systems cease to tell when a file was made.
        self.name == other.name && (self.born.is_none() || other.born.is_none() || self.born == other.born)
    }
}

impl FileId {
    pub(super) fn of(path: &Path) -> std::io::Result<FileId> {
        let metadata = std::fs::metadata(path)?;
        Ok(FileId { name: name_of(path, &metadata)?, born: metadata.created().ok() })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.name
    }
}

#[cfg(unix)]
fn name_of(_: &Path, metadata: &std::fs::Metadata) -> std::io::Result<String> {
    use std::os::unix::fs::MetadataExt;
    Ok(format!("{}:{}", metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn name_of(path: &Path, _: &std::fs::Metadata) -> std::io::Result<String> {
    Ok(std::fs::canonicalize(path)?.display().to_string())
}

/// A file that is open, and what lies beside it.
#[derive(Clone)]
pub(super) struct Place {
    /// Without links, as SQLite names what lies beside it.
    path: PathBuf,
    file: FileId,
    /// The log and its index, once they were seen there.
    beside: [Option<FileId>; 2],
}

/// What has become of a file that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Intact,
    /// The log or its index is no longer the one that is in use: whoever opens the file now does not know, or not rightly, what was
    /// written by those who have it open.
    Stripped,
    /// Another file lies there, or none.
    Replaced,
    /// Nobody can tell.
    Unknown,
}

/// Files that were open, by their path, whose log or index was left where it belongs to nothing any more. Nothing in these tells whose
/// they are, and whoever knew has closed the file by the time that it is opened again.
static STRAY: Mutex<BTreeMap<PathBuf, Place>> = Mutex::new(BTreeMap::new());

impl Place {
    /// The file that is about to be opened. Fails if it would be mixed with what was written to another.
    pub(super) fn of(path: &Path) -> Result<Place> {
        let lost = |why: std::io::Error| {
            Error::new(ErrorKind::Lost, format!("cannot open the database file `{}`: {why}", path.display()))
        };
        let path = std::fs::canonicalize(path).map_err(lost)?;
        let place = Place { file: FileId::of(&path).map_err(lost)?, path, beside: [None, None] };
        place.refuse_stray()?;
        Ok(place)
    }

    pub(super) fn file(&self) -> &FileId {
        &self.file
    }

    fn log(&self) -> PathBuf {
        self.with("-wal")
    }

    /// The log and its index that lie there now.
    fn beside_now(&self) -> [Option<FileId>; 2] {
        ["-wal", "-shm"].map(|ending| FileId::of(&self.with(ending)).ok())
    }

    fn with(&self, ending: &str) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(ending);
        PathBuf::from(name)
    }

    /// What has become of the file. What lies beside it for the first time is its own.
    pub(super) fn look(&mut self) -> Standing {
        // Looked at before the file, so that it is not what somebody put beside another.
        let now = self.beside_now();
        match FileId::of(&self.path) {
            Ok(file) if file == self.file => {}
            Err(why) if why.kind() != Io::NotFound => return Standing::Unknown,
            _ => return Standing::Replaced,
        }
        if self.beside.iter().zip(&now).any(|(known, now)| known.is_some() && known != now) {
            return Standing::Stripped;
        }
        self.beside = now;
        Standing::Intact
    }

    /// Whether nothing lies beside the file but what it has in use, which is then not another's.
    pub(super) fn has_no_other(&self) -> bool {
        self.beside.iter().zip(&self.beside_now()).all(|(known, now)| now.is_none() || known == now)
    }

    /// Which of what the file has in use lies there still.
    fn left(&self) -> [bool; 2] {
        let now = self.beside_now();
        std::array::from_fn(|at| now[at].is_some() && now[at] == self.beside[at])
    }

    /// Whether anything stands in the log that lies beside the file.
    pub(super) fn has_log(&self) -> bool {
        std::fs::metadata(self.log()).is_ok_and(|log| log.len() > 0)
    }

    /// Keeps everybody from opening the file that lies there, as long as what is returned is. Fails if somebody has it open.
    fn hold(&self) -> rusqlite::Result<Option<Connection>> {
        if !self.path.exists() {
            return Ok(None);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&self.path, flags)?;
        db.busy_timeout(BRIEFLY)?;
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        // In this mode the index of the log is left alone.
        db.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |_| Ok(()))?;
        db.execute_batch("BEGIN EXCLUSIVE")?;
        Ok(Some(db))
    }

    /// Where another file lies in the place: brings the log into the file `db` that was there, and takes both the log and its index away,
    /// so that whoever still has that file open goes on with what nobody else sees. They stay if somebody has opened the other file, who goes
    /// on with them too, or if a reader keeps the log from being emptied.
    pub(super) fn clear(&self, db: &Connection) -> rusqlite::Result<()> {
        if self.left() == [false, false] {
            return empty_log(db);
        }
        if !self.has_no_other() {
            return Ok(());
        }
        let _held = self.hold()?;
        empty_log(db)?;
        if self.has_log() || !self.has_no_other() {
            return Ok(());
        }
        for ending in ["-wal", "-shm"] {
            // What is left is found by whoever is about to open the file.
            if let Err(error) = std::fs::remove_file(self.with(ending)) {
                tracing::debug!(file = %self.path.display(), ending, %error, "Nothing was removed.");
            }
        }
        Ok(())
    }

    /// Takes note of what was left of a file that was closed because it did not stand as it should; whether anything was.
    pub(super) fn note_stray(&self) -> bool {
        let is_left = self.left().contains(&true);
        if is_left {
            STRAY.lock().unwrap_or_else(PoisonError::into_inner).insert(self.path.clone(), self.clone());
        }
        is_left
    }

    fn refuse_stray(&self) -> Result<()> {
        let mut stray = STRAY.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(former) = stray.get(&self.path) else { return Ok(()) };
        let is_same = former.file == self.file;
        let may_be_opened = match former.left() {
            [false, false] => true,
            [true, true] if is_same => true,
            // Once nobody has it open, SQLite makes a new index of the log that is there.
            _ => is_same && self.hold().is_ok(),
        };
        if may_be_opened {
            stray.remove(&self.path);
            return Ok(());
        }
        let shown = self.path.display();
        let why = if is_same {
            format!(
                "`{shown}-wal` or `{shown}-shm` was removed or replaced while a program has `{shown}` open, which does not know \
                 what others write now; end every program that has it open before any is started again"
            )
        } else {
            format!(
                "another file was put in the place of `{shown}`, and `{shown}-wal` and `{shown}-shm` were left there by the former \
                 one, whose changes SQLite would mix into it; end every program that has either open, remove `{shown}-wal` and \
                 `{shown}-shm` if they are there still, and start nothing before"
            )
        };
        Err(Error::new(ErrorKind::Lost, why))
    }
}

/// Brings what stands in the log into the file and empties the log, if nobody has to be waited for.
fn empty_log(db: &Connection) -> rusqlite::Result<()> {
    // Nobody who writes is kept waiting by this, and by the other only while there is nothing to bring.
    let (all, brought) = checkpoint(db, "PASSIVE")?;
    if brought == all { checkpoint(db, "TRUNCATE").map(drop) } else { Ok(()) }
}

/// The same at a file that is at rest. A log that was brought before is left: who has begun to read since then reads the file
/// alone, and could not go on to write if the log was begun anew.
pub(super) fn settle(db: &Connection) -> rusqlite::Result<()> {
    let (_, before) = checkpoint(db, "NOOP")?;
    let (all, brought) = checkpoint(db, "PASSIVE")?;
    if brought == all && brought > before { checkpoint(db, "TRUNCATE").map(drop) } else { Ok(()) }
}

/// How much stands in the log, and how much of it in the file.
fn checkpoint(db: &Connection, mode: &str) -> rusqlite::Result<(i64, i64)> {
    db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| Ok((row.get(1)?, row.get(2)?)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_file_whose_birth_is_not_told_any_more_is_the_same() {
        let file = |name: &str, born: Option<u64>| FileId {
            name: name.to_owned(),
            born: born.map(|born| SystemTime::UNIX_EPOCH + Duration::from_secs(born)),
        };
        assert_eq!(file("1:2", Some(3)), file("1:2", Some(3)));
        assert_eq!(file("1:2", Some(3)), file("1:2", None));
        assert_ne!(file("1:2", Some(3)), file("1:2", Some(4)));
        assert_ne!(file("1:2", None), file("1:3", None));
    }
}
