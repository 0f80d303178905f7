//! Compiled code that is kept: files that are mapped into memory as they are, so that what is not run is not even read.
//!
//! To load compiled code is to run it, so it is taken from a folder alone that nobody else can write to, and from a file there that
//! is named for the component's digest and for all settings of the compiler.

use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use tracing::debug;
use wasmtime::Engine;
use wasmtime::component::Component;

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
    /// Keeps it in a folder within this one, which is private to the user. Fails if there is one that others may write to.
    pub fn within(folder: &Path) -> std::io::Result<Compiled> {
        let folder = folder.join("compiled");
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(&folder)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let known = fs::metadata(&folder)?;
            let own = tempfile::tempfile_in(&folder)?.metadata()?.uid();
            if known.uid() != own || known.mode() & 0o022 != 0 {
                return Err(std::io::Error::other("others may write to it; delete it, so that it is made anew"));
            }
        }
        Ok(Compiled { folder, hits: Arc::default(), misses: Arc::default() })
    }

    /// How many components came out of it, and how many had to be compiled.
    pub fn counted(&self) -> (usize, usize) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    /// The component of these bytes, which have this digest: as it is kept, or compiled and kept from now on.
    pub fn component(&self, engine: &Engine, bytes: &[u8], digest: &str) -> wasmtime::Result<Component> {
        let path = self.folder.join(format!("{}.cwasm", name(engine, digest)));
        if path.is_file() {
            // SAFETY: nobody but this user can write to the folder, where files are whole at every moment and never written to again.
            let mapped = unsafe { Component::deserialize_file(engine, &path) };
            // Some file systems hold nothing that may be run where it lies.
            let loaded = mapped.or_else(|_| unsafe { Component::deserialize(engine, fs::read(&path)?) });
            match loaded {
                Ok(component) => {
                    self.hits.fetch_add(1, Ordering::Relaxed);
                    used(&path);
                    return Ok(component);
                }
                Err(why) => debug!(file = %path.display(), why = %format!("{why:#}"), "Compiled code cannot be used."),
            }
        }
        let component = Component::from_binary(engine, bytes)?;
        self.misses.fetch_add(1, Ordering::Relaxed);
        let kept = component.serialize().and_then(|code| Ok(files::write_whole(&path, &code)?));
        match kept {
            Ok(()) => self.tidy(),
            Err(why) => debug!(file = %path.display(), why = %format!("{why:#}"), "Compiled code is not kept."),
        }
        Ok(component)
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
    settings.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
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
        assert_eq!((mode(0o777), mode(0o720), mode(0o750)), (None, None, Some((0, 0))));
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
