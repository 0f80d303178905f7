//! The files of a sync's folder: each whole at every moment, and only one command at a time that writes to them.

use std::fs::{self, File};
use std::io::{Result, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Kept by the only command that writes to the files of a folder. Whoever reads one of them to write it anew holds this
/// from before it reads until it has written, or what another command writes meanwhile would be lost.
#[derive(Debug)]
pub struct Alone {
    _folder: Option<File>,
}

/// Waits until no other command writes to the folder of a file. Where folders cannot be locked nobody is waited for.
pub fn alone_at(path: &Path) -> Alone {
    // Opened as a file no system but Unix knows a folder.
    let held = File::open(folder_of(path)).and_then(|folder| folder.lock().map(|()| folder));
    Alone { _folder: held.ok() }
}

/// Writes a file that is whole at every moment, in place of one of the same name; where that is a link, in the place it
/// leads to. Owner and permissions stay.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole_if(path, bytes, || true).map(drop)
}

/// The same, but only if `is_as_read` says so once all else is done; whether it did. Whoever edits a file by hand waits for nobody.
pub fn write_whole_if(path: &Path, bytes: &[u8], is_as_read: impl FnOnce() -> bool) -> Result<bool> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let draft = written(&path, bytes)?;
    let is_as_read = is_as_read();
    if is_as_read {
        draft.persist(&path).map_err(|why| why.error)?;
    }
    Ok(is_as_read)
}

/// As [`write_whole`], but fails if there is a file of that name.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    written(path, bytes)?.persist_noclobber(path).map_err(|why| why.error)?;
    Ok(())
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

fn written(path: &Path, bytes: &[u8]) -> Result<NamedTempFile> {
    let mut draft = draft_of(path, &folder_of(path))?;
    draft.write_all(bytes)?;
    draft.as_file().sync_all()?;
    Ok(draft)
}

/// A file with the owner and permissions of the one in whose place it comes, or those that anybody's files have.
#[cfg(unix)]
fn draft_of(path: &Path, folder: &Path) -> Result<NamedTempFile> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
    let Ok(old) = fs::metadata(path) else {
        return tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o666)).tempfile_in(folder);
    };
    // Until it is as the old one nobody else may look into it: there may be passwords in it.
    let draft = NamedTempFile::new_in(folder)?;
    let new = draft.as_file().metadata()?;
    if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
        fchown(draft.as_file(), Some(old.uid()), Some(old.gid()))?;
    }
    draft.as_file().set_permissions(old.permissions())?;
    Ok(draft)
}

#[cfg(not(unix))]
fn draft_of(_: &Path, folder: &Path) -> Result<NamedTempFile> {
    NamedTempFile::new_in(folder)
}
