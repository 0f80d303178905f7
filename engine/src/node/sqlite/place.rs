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
    /// How long the log was and when it was written to last, when it was certainly this file's.
    written: Option<(u64, SystemTime)>,
}

/// What has become of a file that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Intact,
    /// The log or its index is no longer the one that is in use: whoever opens the file now does not know, or not rightly, what was
    /// written by those who have it open.
    Stripped,
    /// Nothing lies there.
    Gone,
    /// Another file lies there.
    Replaced,
    /// Nobody can tell.
    Unknown,
}

/// Files that were open, by their path, whose log or index was left where it belongs to nothing any more. Nothing in these tells whose
/// they are, and whoever knew has closed the file by the time that it is opened again.
static STRAY: Mutex<BTreeMap<PathBuf, Stray>> = Mutex::new(BTreeMap::new());

struct Stray {
    former: Place,
    /// Whether all that stood in the log is in the former file.
    is_brought: bool,
}

impl Place {
    /// The file that is about to be opened. Fails if it would be mixed with what was written to another.
    pub(super) fn of(path: &Path) -> Result<Place> {
        let lost = |why: std::io::Error| {
            Error::new(ErrorKind::Lost, format!("cannot open the database file `{}`: {why}", path.display()))
        };
        let path = std::fs::canonicalize(path).map_err(lost)?;
        let place = Place { file: FileId::of(&path).map_err(lost)?, path, beside: [None, None], written: None };
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

    fn written_now(&self) -> Option<(u64, SystemTime)> {
        let log = std::fs::metadata(self.log()).ok()?;
        Some((log.len(), log.modified().ok()?))
    }

    fn with(&self, ending: &str) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(ending);
        PathBuf::from(name)
    }

    /// What has become of the file. What lies beside it for the first time is its own.
    pub(super) fn look(&mut self) -> Standing {
        // Looked at before the file, so that it is not what somebody put beside another.
        let (now, written) = (self.beside_now(), self.written_now());
        match FileId::of(&self.path) {
            Ok(file) if file == self.file => {}
            Ok(_) => return Standing::Replaced,
            Err(why) if why.kind() == Io::NotFound => return Standing::Gone,
            Err(_) => return Standing::Unknown,
        }
        if self.beside.iter().zip(&now).any(|(known, now)| known.is_some() && known != now) {
            return Standing::Stripped;
        }
        if self.beside.iter().zip(&now).any(|(known, now)| known.is_none() && now.is_some()) {
            self.share();
        }
        (self.beside, self.written) = (now, written);
        Standing::Intact
    }

    /// Gives what lies beside the file to the group of the file. Whoever opens the file first makes it, with the rights of the file, but only
    /// root also with its owner and its group: others of the group that may write to the file could not open it any more.
    fn share(&self) {
        for (path, done) in self.given_to_group() {
            if let Err(error) = done {
                tracing::debug!(file = %path.display(), %error, "It could not be given to the group of the database file.");
            }
        }
    }

    /// Why others who may open the file cannot, if that is so, with a remedy.
    pub(super) fn shuts_out(&self) -> Option<String> {
        let (path, _) = self.given_to_group().into_iter().find(|(_, done)| done.is_err())?;
        Some(format!(
            "`{}` is not of the group of the database file, to which Concord may not give it: others who may open the file cannot while \
             Concord has it open; run Concord as the user that owns the file or as a member of its group, or set the setgid bit of the \
             folder (chmod g+s)",
            path.display()
        ))
    }

    /// Gives to the group of the file what lies beside it and keeps others out that the file does not; and whether that was done.
    #[cfg(unix)]
    fn given_to_group(&self) -> Vec<(PathBuf, std::io::Result<()>)> {
        use std::os::unix::fs::{MetadataExt, lchown};
        let Ok(file) = std::fs::metadata(&self.path) else { return Vec::new() };
        let keeps_out = |is: std::fs::Metadata| {
            let is_for_group = is.mode() & 0o060 == 0o060;
            is.gid() != file.gid() && is.mode() & 0o006 != 0o006 && (is_for_group || is.uid() != file.uid())
        };
        // Nothing that a link in the folder leads to.
        let is_plain = |is: &std::fs::Metadata| is.is_file() && is.nlink() == 1;
        let beside = ["-wal", "-shm"].map(|ending| self.with(ending)).into_iter();
        let others =
            beside.filter(|path| std::fs::symlink_metadata(path).is_ok_and(|is| is_plain(&is) && keeps_out(is)));
        others.map(|path| (path.clone(), lchown(&path, None, Some(file.gid())))).collect()
    }

    #[cfg(not(unix))]
    fn given_to_group(&self) -> Vec<(PathBuf, std::io::Result<()>)> {
        Vec::new()
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

    /// Where another file lies in the place: brings the log into the file `db` that was there, and tells whether all of it is in it.
    /// A log that was written to since it was certainly that file's is left alone: who has opened the other file writes to it too.
    pub(super) fn bring(&self, db: &Connection) -> rusqlite::Result<bool> {
        let is_own = self.written.is_some() && self.written == self.written_now();
        let is_there = self.left()[0] && self.has_no_other();
        Ok(is_own && is_there && empty_log(db)?)
    }

    /// Takes note of what was left of a file that was closed because it did not stand as it should, and tells what is in the way of
    /// another file, if anything was. It stays, whatever it holds: who has the former file open still, writes into it.
    pub(super) fn note_stray(&self, is_brought: bool) -> Option<String> {
        if self.left() == [false, false] {
            return None;
        }
        let stray = Stray { former: self.clone(), is_brought };
        let why = stray.in_the_way();
        STRAY.lock().unwrap_or_else(PoisonError::into_inner).insert(self.path.clone(), stray);
        Some(why)
    }

    fn refuse_stray(&self) -> Result<()> {
        let mut all = STRAY.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(stray) = all.get(&self.path) else { return Ok(()) };
        let is_same = stray.former.file == self.file;
        let may_be_opened = match stray.former.left() {
            [false, false] => true,
            [true, true] if is_same => true,
            // Once nobody has it open, SQLite makes a new index of the log that is there.
            _ => is_same && self.is_unused(),
        };
        if may_be_opened {
            all.remove(&self.path);
            return Ok(());
        }
        let shown = self.path.display();
        let why = if is_same {
            format!(
                "`{shown}-wal` or `{shown}-shm` was removed or replaced while a program has `{shown}` open, which does not know \
                 what others write now; end every program that has it open before any is started again"
            )
        } else {
            stray.in_the_way()
        };
        Err(Error::new(ErrorKind::Lost, why))
    }

    /// Whether nobody has the file open. Only for a file that is known, as it is opened for this.
    fn is_unused(&self) -> bool {
        let hold = || -> rusqlite::Result<()> {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let db = Connection::open_with_flags(&self.path, flags)?;
            db.busy_timeout(BRIEFLY)?;
            db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            // In this mode the index of the log is left alone.
            db.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |_| Ok(()))?;
            db.execute_batch("BEGIN EXCLUSIVE")
        };
        hold().is_ok()
    }
}

impl Stray {
    /// Why no other file can be opened in the place, and what is to be done.
    fn in_the_way(&self) -> String {
        let shown = self.former.path.display();
        let log = if self.is_brought {
            format!("what stood in `{shown}-wal` was brought into the former file")
        } else {
            format!(
                "what stands in `{shown}-wal` was not brought into the former file, as it may hold changes of either: keep copies of \
                 it and of both files"
            )
        };
        format!(
            "another file was put in the place of `{shown}`, and `{shown}-wal` and `{shown}-shm` were left there by the former one, \
             which SQLite would mix into it; {log}; end every program that has either file open, then remove `{shown}-wal` and \
             `{shown}-shm` if they are there still, and start nothing before"
        )
    }
}

/// Brings what stands in the log into the file and empties the log, if nobody has to be waited for. Tells whether all is in the file.
fn empty_log(db: &Connection) -> rusqlite::Result<bool> {
    // Nobody who writes is kept waiting by this, and by the other only while there is nothing to bring.
    let (all, brought) = checkpoint(db, "PASSIVE")?;
    if brought == all {
        checkpoint(db, "TRUNCATE")?;
    }
    Ok(brought == all)
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

    /// Where the test may give files to others.
    #[cfg(unix)]
    #[test]
    fn what_lies_beside_a_file_is_of_its_group() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        let (log, index) = (folder.path().join("shop.db-wal"), folder.path().join("shop.db-shm"));
        for (made, mode) in [(&path, 0o660), (&log, 0o660), (&index, 0o666)] {
            std::fs::write(made, "").unwrap();
            std::fs::set_permissions(made, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        if chown(&path, Some(4321), Some(8765)).is_err() {
            return;
        }
        let group = |path: &Path| std::fs::metadata(path).unwrap().gid();
        let before = group(&index);
        let mut place = Place::of(&path).unwrap();
        assert_eq!(place.look(), Standing::Intact);
        assert_eq!((group(&log), group(&index)), (8765, before), "everybody may use the index");
        assert_eq!(place.shuts_out(), None);
    }

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
