//! Compiled code that is kept: files that are mapped into memory as they are, so that what is not run is not even read.
//!
//! To load compiled code is to run it, so it is taken from a folder alone that nobody else can look into, and from a file there that
//! is named for the component's digest and for all settings of the compiler.

use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use tracing::debug;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::digest::hexadecimal;
use crate::files;

/// What was not used for so long goes when something is added. That it is used is noted once a day.
const OLD: Duration = Duration::from_hours(24 * 30);
const DAY: Duration = Duration::from_hours(24);

/// The folder of compiled code; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    folder: PathBuf,
    /// Components that came out of it, and such as had to be compiled.
    hits: Arc<AtomicUsize>,
    misses: Arc<AtomicUsize>,
}

impl Compiled {
    /// Keeps it in this folder, which is made, or becomes, private to the user. Fails if others may write to it, or
    /// look into it for good: what they reach there they may also write to, as far as the files' own permissions go.
    pub fn kept_in(folder: &Path) -> io::Result<Compiled> {
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(folder)?;
        let folder = make_private(folder)?;
        Ok(Compiled { folder, hits: Arc::default(), misses: Arc::default() })
    }

    /// How many components came out of it, and how many had to be compiled.
    pub fn counted(&self) -> (usize, usize) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    /// The component of these bytes, which have this digest: as it is kept, or compiled and kept from now on.
    pub fn component(&self, engine: &Engine, bytes: &[u8], digest: &str) -> wasmtime::Result<Component> {
        if let Some(component) = self.kept(engine, digest) {
            return Ok(component);
        }
        let path = self.path(engine, digest);
        let component = Component::from_binary(engine, bytes)?;
        self.misses.fetch_add(1, Ordering::Relaxed);
        let kept = component.serialize().and_then(|code| Ok(files::write_whole(&path, &code)?));
        match kept {
            Ok(()) => self.tidy(),
            Err(why) => debug!(file = %path.display(), why = %format!("{why:#}"), "Compiled code is not kept."),
        }
        Ok(component)
    }

    /// The component of this digest, if it is kept.
    pub fn kept(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let path = self.path(engine, digest);
        if !path.is_file() {
            return None;
        }
        // SAFETY: nobody but this user gets into the folder, where files are whole at every moment and never written to again.
        let mapped = unsafe { Component::deserialize_file(engine, &path) };
        // Some file systems hold nothing that may be run where it lies.
        let loaded = mapped.or_else(|_| unsafe { Component::deserialize(engine, fs::read(&path)?) });
        match loaded {
            Ok(component) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                used(&path);
                Some(component)
            }
            Err(why) => {
                debug!(file = %path.display(), why = %format!("{why:#}"), "Compiled code cannot be used.");
                None
            }
        }
    }

    fn path(&self, engine: &Engine, digest: &str) -> PathBuf {
        self.folder.join(format!("{}.cwasm", name(engine, digest)))
    }

    /// Deletes what nobody has used for long.
    fn tidy(&self) {
        for file in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            // Or what somebody did not come to end.
            let name = file.file_name();
            let is_ours = name.to_str().is_some_and(|name| name.ends_with(".cwasm") || name.starts_with(".tmp"));
            let age = file.metadata().and_then(|known| known.modified()).map(age);
            if is_ours && age.is_ok_and(|age| age > OLD) {
                // Whoever has mapped it keeps it.
                let _ = fs::remove_file(file.path());
            }
        }
    }
}

/// Makes sure that nobody but the user gets into the folder. One that others could only look into is closed to them, such as
/// was restored from a copy; where they could write, nobody knows what they have put there. A folder that a link leads to may be
/// there for others, and is left as it is. Where it is without links: one of those may lead elsewhere tomorrow.
#[cfg(unix)]
fn make_private(folder: &Path) -> io::Result<PathBuf> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    const ELSEWHERE: &str = "set CONCORD_CACHE_DIR to a folder on a file system that keeps permissions";
    let real = folder.canonicalize()?;
    let known = fs::metadata(folder)?;
    let own = tempfile::tempfile_in(folder)?.metadata()?.uid();
    if known.uid() != own {
        return Err(io::Error::other("it is another user's; set CONCORD_CACHE_DIR to a folder of your own"));
    }
    // Whoever may rename it, or a folder that it is in, puts another in its place. A group is one that somebody chose.
    for around in real.ancestors().skip(1) {
        const OWN: &str = "set CONCORD_CACHE_DIR to a folder of your own";
        const ALL_MAY_RENAME: u32 = 0o002;
        const STICKY: u32 = 0o1000;
        let (known, shown) = (fs::metadata(around)?, around.display());
        if ![own, 0].contains(&known.uid()) {
            return Err(io::Error::other(format!("{shown}, which it is in, is another user's; {OWN}")));
        }
        if known.mode() & (ALL_MAY_RENAME | STICKY) == ALL_MAY_RENAME {
            return Err(io::Error::other(format!("others may rename it, as all may write to {shown}; {OWN}")));
        }
    }
    if known.mode() & 0o022 != 0 {
        let why = format!("others may write to it; delete it, so that it is made anew, or {ELSEWHERE}");
        return Err(io::Error::other(why));
    }
    if known.mode() & 0o077 != 0 && fs::symlink_metadata(folder)?.is_symlink() {
        return Err(io::Error::other(
            "it is a link to a folder that others may look into; close that to them (chmod 700), or set CONCORD_CACHE_DIR to a folder \
             of your own",
        ));
    }
    if known.mode() & 0o077 != 0 {
        // Some file systems know no permissions, and tell so or not.
        let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
        if fs::metadata(folder)?.mode() & 0o077 != 0 {
            return Err(io::Error::other(format!("others may look into it; {ELSEWHERE}")));
        }
    }
    Ok(real)
}

/// Only Unix tells who gets into a folder.
#[cfg(not(unix))]
fn make_private(folder: &Path) -> io::Result<PathBuf> {
    Ok(folder.to_owned())
}

/// Another for each component, version of the compiler, machine and setting.
fn name(engine: &Engine, digest: &str) -> String {
    struct Settings(Sha256);
    impl Hasher for Settings {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut settings = Settings(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut settings);
    settings.write(digest.as_bytes());
    hexadecimal(&settings.0.finalize())
}

/// Notes that a file is used.
fn used(path: &Path) {
    let noted = File::open(path).and_then(|file| match age(file.metadata()?.modified()?) > DAY {
        true => file.set_modified(SystemTime::now()),
        false => Ok(()),
    });
    if let Err(why) = noted {
        debug!(file = %path.display(), %why, "That compiled code is used cannot be noted.");
    }
}

fn age(time: SystemTime) -> Duration {
    time.elapsed().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Host;

    const COMPONENT: &str = "(component (core module (func (export \"f\"))))";

    fn kept(folder: &Path) -> Vec<PathBuf> {
        let files = fs::read_dir(folder.join("compiled")).unwrap();
        files.map(|file| file.unwrap().path()).collect()
    }

    /// By one host each: how many came out of the folder and how many were compiled.
    fn load(folder: &Path, digest: &str) -> (usize, usize) {
        let host = Host::new(Some(folder)).unwrap();
        host.component(&wat::parse_str(COMPONENT).unwrap(), digest).unwrap();
        host.cached().unwrap()
    }

    #[test]
    fn what_was_compiled_is_taken_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path(), "one"), (0, 1));
        assert_eq!(load(folder.path(), "one"), (1, 0));
        assert_eq!(load(folder.path(), "another"), (0, 1));
        assert_eq!(kept(folder.path()).len(), 2);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(folder.path().join("compiled")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_others_may_have_put_there_is_not_taken() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        load(folder.path(), "one");
        let mode = |mode| {
            fs::set_permissions(folder.path().join("compiled"), fs::Permissions::from_mode(mode)).unwrap();
            Host::new(Some(folder.path())).unwrap().cached()
        };
        for others in [0o777, 0o720, 0o702] {
            assert_eq!(mode(others), None, "{others:o}");
        }
        assert_eq!(mode(0o700), Some((0, 0)));
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_others_could_only_look_into_is_closed_to_them() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        load(folder.path(), "one");
        let compiled = folder.path().join("compiled");
        for others in [0o750, 0o701, 0o755] {
            fs::set_permissions(&compiled, fs::Permissions::from_mode(others)).unwrap();
            assert_eq!(load(folder.path(), "one"), (1, 0), "{others:o}");
            assert_eq!(fs::metadata(&compiled).unwrap().permissions().mode() & 0o777, 0o700, "{others:o}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_behind_a_link_is_not_closed_to_others() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (shared, link) = (folder.path().join("shared"), folder.path().join("compiled"));
        fs::create_dir(&shared).unwrap();
        std::os::unix::fs::symlink(&shared, &link).unwrap();
        let set = |mode| fs::set_permissions(&shared, fs::Permissions::from_mode(mode)).unwrap();
        set(0o755);
        let why = Compiled::kept_in(&link).unwrap_err().to_string();
        assert!(why.contains("it is a link") && why.contains("CONCORD_CACHE_DIR"), "{why}");
        assert_eq!(fs::metadata(&shared).unwrap().permissions().mode() & 0o777, 0o755);
        set(0o700);
        assert!(Compiled::kept_in(&link).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_others_may_put_another_in_the_place_of_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let compiled = folder.path().join("compiled");
        let kept = |mode| {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            Compiled::kept_in(&compiled).map(drop).map_err(|why| why.to_string())
        };
        let why = kept(0o777).unwrap_err();
        assert!(why.contains("others may rename it") && why.contains("CONCORD_CACHE_DIR"), "{why}");
        // As `/tmp` is, and what a group shares.
        for mode in [0o1777, 0o775, 0o2770, 0o755, 0o700] {
            assert_eq!(kept(mode), Ok(()), "{mode:o}");
        }
        // Only root gives folders away.
        if std::os::unix::fs::chown(folder.path(), Some(12_345), None).is_ok() {
            let why = kept(0o700).unwrap_err();
            assert!(why.contains("which it is in, is another user's"), "{why}");
        }
    }

    /// Every folder around it, up to the root: Concord itself makes the nearest.
    #[cfg(unix)]
    #[test]
    fn a_cache_in_a_folder_whose_content_all_may_rename_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (cache, link) = (folder.path().join("shared/concord"), folder.path().join("link"));
        fs::create_dir_all(&cache).unwrap();
        std::os::unix::fs::symlink(&cache, &link).unwrap();
        let kept = |cache: &Path, mode| {
            fs::set_permissions(folder.path().join("shared"), fs::Permissions::from_mode(mode)).unwrap();
            Host::new(Some(cache)).unwrap().cached()
        };
        // Nor does it help that a link leads there from a folder that nobody else may write to.
        for cache in [&cache, &link] {
            assert_eq!(kept(cache, 0o777), None, "{}", cache.display());
            assert_eq!(kept(cache, 0o1777), Some((0, 0)), "{}", cache.display());
        }
    }

    #[cfg(unix)]
    #[test]
    fn why_a_folder_is_refused_is_told_with_what_to_do() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o770)).unwrap();
        let why = Compiled::kept_in(folder.path()).unwrap_err().to_string();
        assert!(why.contains("delete it") && why.contains("CONCORD_CACHE_DIR"), "{why}");
    }

    #[test]
    fn what_is_no_compiled_code_is_compiled_anew() {
        let folder = tempfile::tempdir().unwrap();
        load(folder.path(), "one");
        let [file] = &kept(folder.path())[..] else { panic!("one file is kept") };
        let whole = fs::read(file).unwrap();
        for broken in [&b""[..], b"nothing of the kind", &whole[..whole.len() / 2]] {
            fs::write(file, broken).unwrap();
            assert_eq!(load(folder.path(), "one"), (0, 1));
            assert_eq!(load(folder.path(), "one"), (1, 0));
        }
    }

    #[test]
    fn what_was_not_used_for_long_goes() {
        let folder = tempfile::tempdir().unwrap();
        load(folder.path(), "one");
        let [file] = &kept(folder.path())[..] else { panic!("one file is kept") };
        let aged = |days: u32| {
            let file = File::options().append(true).open(file).unwrap();
            file.set_modified(SystemTime::now() - DAY * days).unwrap();
        };
        aged(29);
        assert_eq!(load(folder.path(), "one"), (1, 0));
        assert!(age(fs::metadata(file).unwrap().modified().unwrap()) < DAY);
        load(folder.path(), "another");
        assert!(file.is_file());
        aged(31);
        load(folder.path(), "a third");
        assert!(!file.is_file());
    }
}
