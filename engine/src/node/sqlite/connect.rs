//! From a URL to an open file with the settings that Concord relies on.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::calls::BRIEFLY;
use super::failure::{Told, failure};
use super::place::{Place, Standing};
use crate::node::{Error, ErrorKind, Result};

/// While this is set, the triggers of Concord record nothing that this connection writes.
///
/// The triggers ask the built-in function `sqlite_source_id()`, which this connection replaces. No table is involved,
/// so nothing can be left behind that would switch recording off for a user.
#[derive(Clone, Default)]
pub(super) struct Silence(Arc<AtomicBool>);

impl Silence {
    /// Runs `work` with recording switched off if `silent`, and switches it on again whatever happens.
    pub(super) fn during<T>(&self, silent: bool, work: impl FnOnce() -> T) -> T {
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(false, Ordering::Relaxed);
            }
        }
        let _end = End(&self.0);
        self.0.store(silent, Ordering::Relaxed);
        work()
    }
}

/// The file that a URL names: `sqlite:relative.db`, `sqlite:/absolute.db` or `sqlite:///absolute.db`, with `%20` and
/// the like for characters that a URL cannot hold.
pub(super) fn file_of(url: &str) -> Result<PathBuf> {
    let wrong = |why: &str| Err(Error::new(ErrorKind::Other, format!("the URL of a SQLite file {why}")));
    let rest = url.strip_prefix("sqlite:").unwrap_or(url);
    if rest.contains('?') {
        return wrong("takes no settings after `?`; a question mark in the file's name is written %3F");
    }
    let Some(path) = decoded(rest.strip_prefix("//").unwrap_or(rest)) else {
        return wrong("holds a `%` that two hexadecimal digits do not follow; a percent sign is written %25");
    };
    if path.is_empty() || path == "/" {
        return wrong("lacks the file: write sqlite:folder/name.db");
    }
    if path == ":memory:" {
        return wrong("must name a file; a database in memory lives in one program only");
    }
    Ok(PathBuf::from(path))
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        bytes.push(if first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            rest = after;
            let digits = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
            u8::from_str_radix(digits, 16).ok()?
        } else {
            first
        });
    }
    String::from_utf8(bytes).ok()
}

/// What lies at the path. Fails if nothing does.
pub(super) fn find(path: &Path) -> Result<Metadata> {
    std::fs::metadata(path).map_err(|why| {
        let help = match why.kind() {
            std::io::ErrorKind::NotFound => {
                "; if it is to be a new database, create it as an empty file, and its tables with `concord load --create`"
            }
            _ => "",
        };
        Error::new(ErrorKind::Lost, format!("cannot open the database file `{}`: {why}{help}", path.display()))
    })
}

/// Opens an existing file.
pub(super) fn open(path: &Path) -> Result<(Connection, Place, Silence)> {
    let shown = path.display();
    let metadata = find(path)?;
    if !metadata.is_file() {
        return Err(Error::new(ErrorKind::Other, format!("`{shown}` is not a file")));
    }
    let mut place = Place::of(path)?;
    let silence = Silence::default();
    let opened = settled(path, &silence);
    let connection = opened.map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => Error::new(ErrorKind::Other, format!("`{shown}` is not a SQLite database")),
        _ => failure(error).while_doing(format!("opening `{shown}`")),
    })?;
    if matches!(place.look(), Standing::Gone | Standing::Replaced) {
        let why = format!("`{shown}` was moved away, or another file put in its place, while it was opened");
        return Err(Error::new(ErrorKind::Lost, why));
    }
    Ok((connection, place, silence))
}

fn settled(path: &Path, silence: &Silence) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BRIEFLY)?;
    for (setting, on) in [
        // Whoever closes it last would remove what lies beside it, whosever that is: see `Sqlite::part`.
        (DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true),
        // Triggers of users may be written so. What Concord writes has its names in backticks, which are no text to anybody.
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, true),
        (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true),
    ] {
        db.set_db_config(setting, on)?;
    }
    let flag = silence.0.clone();
    // Both answers begin alike, so that a user's trigger can tell Concord's writes in either case (docs/triggers.md).
    // Never removed: the built-in function would not come back. Not deterministic: it is asked for every row.
    db.create_scalar_function(
        "sqlite_source_id",
        0,
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS,
        move |_| Ok(if flag.load(Ordering::Relaxed) { "concord" } else { "concord, recorded" }),
    )?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "cache_size", -16_384)?;
    // Statements on tables with triggers keep a journal of their own, which would go to a temporary file.
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.set_prepared_statement_cache_capacity(256);
    db.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(db)
}

/// Rights on the file and its folder that writing needs, tried out by a write that is taken back.
pub(super) fn refused_write(db: &Connection) -> Result<Option<Error>> {
    let tried = db.execute_batch("BEGIN IMMEDIATE; CREATE TABLE concord_probe(x)");
    if !db.is_autocommit() {
        db.execute_batch("ROLLBACK").told(|| "taking a trial write back")?;
    }
    Ok(tried.err().map(failure).filter(|error| matches!(error.kind, ErrorKind::Rights | ErrorKind::Lost)))
}

/// What lets Concord write the file. The rights of an owner help nobody else.
pub(super) fn grant(path: &Path) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The log and its index get the rights that the file has when they are made, and keep them.
    let beside = ["", "-wal", "-shm"].map(|ending| PathBuf::from(format!("{}{ending}", path.display())));
    let there: Vec<&Path> = beside.iter().map(PathBuf::as_path).filter(|file| file.exists()).collect();
    let files = there.iter().map(|file| format!("'{}'", file.display())).collect::<Vec<_>>().join(" ");
    let are_own = there.iter().chain([&folder]).all(|path| is_own(path));
    let folder = folder.display();
    match are_own {
        true => format!("chmod u+rw {files} && chmod u+rwx '{folder}'"),
        false => format!(
            "chgrp GROUP {files} '{folder}' && chmod g+rw {files} && chmod g+rwxs '{folder}'\n  with a GROUP of which the users of Concord \
             and of the applications are members; or run Concord as the user that owns all of these"
        ),
    }
}

/// Whether something belongs to the user as whom this program runs, as far as that can be told.
#[cfg(unix)]
fn is_own(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let owner = |path: &Path| std::fs::metadata(path).map(|is| is.uid());
    match (owner(path), owner(Path::new("/proc/self"))) {
        (Ok(owner), Ok(own)) => owner == own,
        _ => true,
    }
}

#[cfg(not(unix))]
fn is_own(_: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the test may give files to others.
    #[cfg(unix)]
    #[test]
    fn rights_are_granted_by_whoever_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        let log = folder.path().join("shop.db-wal");
        std::fs::write(&path, "").unwrap();
        std::fs::write(&log, "").unwrap();
        let granted = grant(&path);
        assert!(granted.starts_with("chmod u+rw '") && granted.contains("shop.db-wal' &&"), "{granted}");
        if cfg!(target_os = "linux") && std::os::unix::fs::chown(&log, Some(4321), None).is_ok() {
            let granted = grant(&path);
            assert!(granted.starts_with("chgrp GROUP '") && granted.contains("chmod g+rw"), "{granted}");
        }
    }

    #[test]
    fn urls_name_files() {
        let file = |url| file_of(url).map(|path| path.display().to_string()).map_err(|error| error.to_string());
        assert_eq!(file("sqlite:shop.db").unwrap(), "shop.db");
        assert_eq!(file("sqlite:a/b%20c.db").unwrap(), "a/b c.db");
        assert_eq!(file("sqlite:/var/shop.db").unwrap(), "/var/shop.db");
        assert_eq!(file("sqlite:///var/100%25%3F.db").unwrap(), "/var/100%?.db");
        for bad in ["sqlite:", "sqlite:///", "sqlite::memory:", "sqlite:a.db?mode=ro", "sqlite:a%2", "sqlite:a%zz"] {
            assert!(file(bad).unwrap_err().starts_with("the URL of a SQLite file"), "{bad}");
        }
    }
}
