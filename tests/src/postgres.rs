//! Private PostgreSQL servers.
//!
//! One server is shared by all tests of a process, each with a database of its own ([`Server::shared`]). A test that
//! restarts or kills the server, or leaves something behind that other databases feel, starts one for itself
//! ([`Server::dedicated`]). Passwords are checked, nothing is written durably, and the server's time zone is one that
//! shows when code relies on it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::server::{copy, free_port, in_server_user, run, server_user};
use super::{process, scratch};

/// The server's superuser.
pub const ADMIN: &str = "admin";
/// The role that owns the databases, and as which Concord connects. No superuser.
pub const SYNC: &str = "sync";
/// The role of the application that writes to the databases. Owns nothing.
pub const APP: &str = "app";
/// The password of all of them. Needs escaping in a URL, and is easy to search for in what a command prints.
pub const PASSWORD: &str = "canary/p@ss w:rd";
/// [`PASSWORD`] as it stands in a URL.
pub const PASSWORD_IN_URL: &str = "canary%2Fp%40ss%20w%3Ard";
/// What the server keeps of [`PASSWORD`] (RFC 5803), with one round of hashing in place of 4,096. The client does the
/// rounds, and in a debug build they were a fifth of a command's processor time.
const VERIFIER: &str = "SCRAM-SHA-256$1:Y29uY29yZCdzIHRlc3RzLg==$F/UQVO7i/OGG89gy9lJdBXqBfKoqplgXb19L2xRhub4=:\
    Xm1y58THdHcqOxzXUSC5aMmMFD/wtEEEl98CsX5E1sQ=";

const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("synchronous_commit", "off"),
    ("shared_buffers", "64MB"),
    ("max_wal_size", "256MB"),
    ("max_connections", "200"),
    ("max_prepared_transactions", "10"),
    ("timezone", "America/St_Johns"),
];

/// How long a server may take to start on a busy machine.
const START: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

/// A running server, or one that was stopped and can be started again.
#[derive(Debug)]
pub struct Server {
    data: PathBuf,
    port: u16,
    settings: Vec<(String, String)>,
    postmaster: Mutex<Option<Child>>,
}

/// How to stop a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Connections are closed and everything is written.
    Fast,
    /// As if the power went: the next start recovers.
    Kill,
}

impl Server {
    /// The server that all tests of this process share.
    pub fn shared() -> Arc<Server> {
        static SHARED: OnceLock<Arc<Server>> = OnceLock::new();
        Arc::clone(SHARED.get_or_init(|| Server::dedicated(&[])))
    }

    /// A server of its own, with settings beyond the usual. Stopped and removed when the last one lets go of it.
    pub fn dedicated(settings: &[(&str, &str)]) -> Arc<Server> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let data = scratch::folder().join(format!("postgres-{count}"));
        copy(template(), &data);
        let settings = SETTINGS.iter().chain(settings).map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let mut server = Server { data, port: 0, settings: settings.collect(), postmaster: Mutex::new(None) };
        // Somebody else may take the port between looking and starting.
        for _ in 0..5 {
            server.port = free_port();
            match server.try_start() {
                Ok(()) => return Arc::new(server),
                Err(log) if log.contains("could not bind") => {}
                Err(log) => panic!("PostgreSQL does not start in {}:\n{log}", server.data.display()),
            }
        }
        panic!("found no free port for PostgreSQL");
    }

    /// The URL of a database for a role, one of the constants above.
    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}:{PASSWORD_IN_URL}@127.0.0.1:{}/{database}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's main process; `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.postmaster.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Child::id)
    }

    /// Stops the server and waits until it is gone.
    pub fn stop(&self, how: Stop) {
        let signal = match how {
            Stop::Fast => libc::SIGINT,
            Stop::Kill => libc::SIGQUIT,
        };
        if let Some(mut postmaster) = self.postmaster.lock().unwrap_or_else(PoisonError::into_inner).take() {
            process::signal(postmaster.id(), signal);
            postmaster.wait().expect("the server is a child of this process");
        }
    }

    /// Starts a stopped server again, on the same port.
    pub fn start(&self) {
        if let Err(log) = self.try_start() {
            panic!("PostgreSQL does not start again in {}:\n{log}", self.data.display());
        }
    }

    /// Starts a stopped server again as a replica, of nobody, until it is promoted.
    pub fn start_as_replica(&self) {
        let signal = self.data.join("standby.signal");
        File::create(&signal).expect("the folder is ours");
        if let Some((uid, gid)) = server_user() {
            std::os::unix::fs::chown(&signal, Some(uid), Some(gid)).expect("root may give a file away");
        }
        self.start();
    }

    /// Puts a copy of the whole server aside, as a backup of its files would.
    pub fn put_aside(&self) {
        self.stop(Stop::Fast);
        copy(&self.data, &self.aside());
        self.start();
    }

    /// Puts the copy back in place of everything that happened since.
    pub fn put_back(&self) {
        self.stop(Stop::Fast);
        fs::remove_dir_all(&self.data).expect("the folder is ours");
        fs::rename(self.aside(), &self.data).expect("the folder is ours");
        self.start();
    }

    fn aside(&self) -> PathBuf {
        self.data.with_extension("aside")
    }

    /// Starts the server and waits until it takes connections. Fails with its log.
    fn try_start(&self) -> Result<(), String> {
        let log_file = self.data.with_extension("log");
        let log = || fs::read_to_string(&log_file).unwrap_or_default();
        let fail = |error: io::Error| format!("{error}\n{}", log());
        let mut command = as_server_user("postgres");
        command.arg("-D").arg(&self.data).arg("-p").arg(self.port.to_string());
        for (name, value) in &self.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let output = File::create(&log_file).map_err(fail)?;
        command.stdin(Stdio::null()).stdout(output.try_clone().map_err(fail)?).stderr(output);
        // An immediate shutdown: the server ends its processes and leaves no shared memory behind.
        let mut child = process::spawn(command, libc::SIGQUIT).map_err(fail)?;

        let started = Instant::now();
        while !is_ready(&self.data, child.id()) {
            if child.try_wait().map_err(fail)?.is_some() {
                return Err(log());
            }
            if started.elapsed() > START {
                process::signal(child.id(), libc::SIGQUIT);
                return Err(format!("not ready after {START:?}\n{}", log()));
            }
            std::thread::sleep(POLL);
        }
        *self.postmaster.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Stop::Kill);
        // What is left goes with the process's folder.
        let _ = fs::remove_dir_all(&self.data);
        let _ = fs::remove_dir_all(self.aside());
        let _ = fs::remove_file(self.data.with_extension("log"));
    }
}

/// Whether the server says in its status file that it takes connections. The file may be an older server's.
fn is_ready(data: &Path, pid: u32) -> bool {
    let Ok(status) = fs::read_to_string(data.join("postmaster.pid")) else { return false };
    let mut lines = status.lines();
    lines.next().is_some_and(|line| line.trim() == pid.to_string())
        && lines.nth(6).is_some_and(|line| line.trim() == "ready")
}

/// A data folder fresh from initdb, with the roles in it, to be copied. Made once in a process.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let parent = scratch::folder().join("template");
        fs::create_dir(&parent).expect("the folder is new and ours");
        if let Some((uid, gid)) = server_user() {
            std::os::unix::fs::chown(&parent, Some(uid), Some(gid)).expect("root may give a folder away");
        }
        let password = parent.join("password");
        fs::write(&password, PASSWORD).expect("the folder is new and ours");
        // By anyone: the server's user reads it.
        fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("the file is ours");
        let data = parent.join("data");
        let mut initdb = as_server_user("initdb");
        initdb.args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--username", ADMIN]);
        initdb.arg("--pwfile").arg(&password).arg("-D").arg(&data);
        run(initdb, None);
        let mut single = as_server_user("postgres");
        single.args(["--single", "-F", "-j", "-D"]).arg(&data).arg("postgres");
        let roles = format!(
            "ALTER ROLE {ADMIN} PASSWORD '{VERIFIER}';\n\nCREATE ROLE {SYNC} LOGIN PASSWORD '{VERIFIER}';\n\n\
             CREATE ROLE {APP} LOGIN PASSWORD '{VERIFIER}';\n\n"
        );
        run(single, Some(&roles));
        data
    })
}

/// A program of PostgreSQL, to be run as somebody it agrees to, in an environment that does not disturb it.
fn as_server_user(program: &str) -> Command {
    let mut command = in_server_user(&binaries().join(program));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command
}

/// A program of PostgreSQL that may be installed beside the server or for itself, such as `pgbench`.
pub fn program(name: &str) -> Option<PathBuf> {
    let on_path =
        std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    [binaries().to_owned()].into_iter().chain(on_path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The folder with `initdb` and `postgres`: `$CONCORD_POSTGRES_BIN`, or the highest version installed.
fn binaries() -> &'static Path {
    static BINARIES: OnceLock<PathBuf> = OnceLock::new();
    BINARIES.get_or_init(|| {
        let complete = |folder: &PathBuf| folder.join("postgres").is_file() && folder.join("initdb").is_file();
        if let Some(folder) = std::env::var_os("CONCORD_POSTGRES_BIN") {
            let folder = PathBuf::from(folder);
            assert!(complete(&folder), "CONCORD_POSTGRES_BIN: no `postgres` and `initdb` in {}", folder.display());
            return folder;
        }
        let on_path =
            std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
        let version = |folder: &PathBuf| -> Option<u32> { folder.parent()?.file_name()?.to_str()?.parse().ok() };
        let mut debian: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path().join("bin"))
            .filter(complete)
            .collect();
        debian.sort_by_key(version);
        on_path.filter(complete).chain(debian.into_iter().rev()).next().unwrap_or_else(|| {
            panic!(
                "the tests need PostgreSQL's server programs `initdb` and `postgres`: install the Debian package \
                 `postgresql` (apt-get install postgresql), or name their folder in CONCORD_POSTGRES_BIN"
            )
        })
    })
}
