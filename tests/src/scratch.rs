//! The folder of this process in which servers keep their data, and its removal.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Waits until standard input ends, which it does when the test's process is gone, however it went. Then it sees to it
/// that the servers in the folder are gone, and removes the folder. The wait is bounded: a server whose parent died
/// stays a zombie where nobody collects those.
const JANITOR: &str = r#"
cat >/dev/null
for pidfile in "$1"/*/postmaster.pid; do
    [ -f "$pidfile" ] || continue
    pid=$(head -n 1 "$pidfile") || continue
    kill -QUIT "$pid" 2>/dev/null
    tries=0
    while [ -f "$pidfile" ] && kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 100 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
done
for pidfile in "$1"/*/mariadbd.pid; do
    [ -f "$pidfile" ] || continue
    pid=$(head -n 1 "$pidfile") || continue
    kill -KILL "$pid" 2>/dev/null
done
exec rm -rf -- "$1"
"#;

/// Free bytes from which on data is kept in memory: more than all tests at once need.
const ENOUGH: u128 = 3 << 30;

/// This process's folder. Made on first use; removed when the process is gone.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<(PathBuf, File)> = OnceLock::new();
    let (folder, _lock) = FOLDER.get_or_init(|| {
        let root = root();
        create(&root)
            .unwrap_or_else(|error| panic!("cannot prepare a folder for servers in {}: {error}", root.display()))
    });
    folder
}

/// Where the folders of all processes lie: `$CONCORD_TEST_DIR`, or memory where there is plenty, or the folder for
/// temporary files. A database is created ten times as fast in memory as on a disk.
fn root() -> PathBuf {
    if let Some(root) = std::env::var_os("CONCORD_TEST_DIR") {
        return root.into();
    }
    let memory = Path::new("/dev/shm");
    if free_bytes(memory).is_some_and(|free| free >= ENOUGH) { memory.to_owned() } else { std::env::temp_dir() }
}

/// How many bytes may still be written to the file system of a folder, if there is one.
fn free_bytes(folder: &Path) -> Option<u128> {
    let path = std::ffi::CString::new(folder.as_os_str().as_encoded_bytes()).ok()?;
    let mut answer = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends in NUL, and the answer is read only if the call says that it wrote it.
    let answer = unsafe {
        if libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) != 0 {
            return None;
        }
        answer.assume_init()
    };
    // The numbers are of another width on every system.
    Some(u128::from(answer.f_bavail) * u128::from(answer.f_frsize))
}

fn create(root: &Path) -> io::Result<(PathBuf, File)> {
    // SAFETY: geteuid cannot fail and touches no memory.
    let user = unsafe { libc::geteuid() };
    let base = root.join(format!("concord-tests-{user}"));
    fs::create_dir_all(&base)?;
    if fs::symlink_metadata(&base)?.uid() != user {
        return Err(io::Error::other(format!("{} belongs to somebody else", base.display())));
    }
    // The server may run as another user, who has to get through but not to look around.
    fs::set_permissions(&base, fs::Permissions::from_mode(0o711))?;

    // Under this lock no folder is half made and none is half swept.
    let gate = File::create(base.join("lock"))?;
    gate.lock()?;
    sweep(&base);
    // Not the number alone: processes of several containers may share the folder.
    let prefix = format!("{}-", std::process::id());
    let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(&base)?.keep();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o711))?;
    let lock = File::create(folder.join("lock"))?;
    lock.lock()?;

    // The write end of the pipe stays open, and is closed by the system when this process ends. Its own process group
    // keeps the janitor from being interrupted together with the test.
    let janitor = Command::new("sh")
        .args(["-c", JANITOR, "janitor"])
        .arg(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    std::mem::forget(janitor.stdin);
    Ok((folder, lock))
}

/// Removes folders of processes that are gone and whose janitor did not live to do it.
fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let folder = entry.path();
        let Ok(lock) = File::open(folder.join("lock")) else { continue };
        if lock.try_lock().is_ok() {
            stop_servers(&folder);
            // The janitor may be at it at the same time.
            let _ = fs::remove_dir_all(&folder);
        }
    }
}

/// Stops servers that still work in a folder of the dead.
fn stop_servers(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let data = entry.path();
        let Ok(status) = fs::read_to_string(data.join("postmaster.pid")) else { continue };
        let Some(pid) = status.lines().next().and_then(|pid| pid.trim().parse::<u32>().ok()) else { continue };
        // The number may belong to another process by now.
        let ours = fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&*data.to_string_lossy()));
        if ours {
            super::process::signal(pid, libc::SIGQUIT);
        }
    }
}
