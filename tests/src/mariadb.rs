//! Private MariaDB servers, as [`postgres`](super::postgres) has those of PostgreSQL.
//!
//! One server is shared by all tests of a process, each with a database of its own ([`Server::shared`]). Its time zone is one
//! that shows when code relies on it, and its usual collation one that takes many texts for equal.
//!
//! `CONCORD_MYSQL_URL` names another server in its place, MySQL or MariaDB, by the URL of an account that may do everything
//! ([`Server::at`]).

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::postgres::{ADMIN, APP, PASSWORD, PASSWORD_IN_URL, SYNC};
use super::server::{copy, free_port, in_server_user, run, server_user};
use super::{User, process, scratch};

/// Nothing waits for the disk, and what a small server needs not is left out.
const SETTINGS: &[(&str, &str)] = &[
    ("bind-address", "127.0.0.1"),
    ("innodb-flush-method", "nosync"),
    ("innodb-buffer-pool-size", "128M"),
    ("innodb-log-file-size", "32M"),
    ("innodb-temp-data-file-path", "ibtmp1:4M:autoextend"),
    ("innodb-stats-persistent", "OFF"),
    ("key-buffer-size", "64K"),
    ("aria-pagecache-buffer-size", "1M"),
    ("max-connections", "400"),
    ("default-time-zone", "-02:30"),
    ("character-set-server", "utf8mb4"),
    ("collation-server", "utf8mb4_general_ci"),
    ("skip-name-resolve", "ON"),
];

/// How long a server may take to start on a busy machine.
const START: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

/// Whether the server that all tests share is MySQL, for what only one of the two has.
pub async fn is_mysql() -> bool {
    tokio::task::spawn_blocking(Server::shared).await.expect("the server starts").mysql
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    data: PathBuf,
    host: String,
    port: u16,
    /// With what the names of databases begin.
    prefix: String,
    settings: Vec<(String, String)>,
    /// Whether it is MySQL and not MariaDB.
    mysql: bool,
    process: Mutex<Option<Child>>,
}

impl Server {
    /// The server that all tests of this process share.
    pub fn shared() -> Arc<Server> {
        static SHARED: OnceLock<Arc<Server>> = OnceLock::new();
        Arc::clone(SHARED.get_or_init(|| match std::env::var("CONCORD_MYSQL_URL") {
            Ok(url) => Server::at(&url),
            Err(_) => Server::dedicated(&[]),
        }))
    }

    /// A server that runs already, by the URL of an account that may do everything. It gets the roles of the tests, which stay,
    /// and databases of names that no other run has.
    ///
    /// Not to be called where a future is awaited.
    pub fn at(url: &str) -> Arc<Server> {
        let address = url.rsplit_once('@').map_or(url, |(_, rest)| rest);
        let address = address.split(['/', '?']).next().unwrap_or_default();
        let (host, port) = address.split_once(':').unwrap_or((address, "3306"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mysql = runtime.block_on(async {
            let mut user = User::mariadb(url).await.unwrap_or_else(|error| panic!("CONCORD_MYSQL_URL: {error}"));
            user.execute(&roles()).await;
            if user.is_mysql() {
                user.execute(&format!("GRANT SELECT ON performance_schema.replication_applier_status TO '{SYNC}'@'%'"))
                    .await;
            }
            user.is_mysql()
        });
        let (data, process) = (scratch::folder().join("elsewhere"), Mutex::default());
        let prefix = format!("concord_test_{}_", std::process::id());
        let port = port.parse().expect("the port in CONCORD_MYSQL_URL is a number");
        Arc::new(Server { data, host: host.to_owned(), port, prefix, settings: Vec::new(), mysql, process })
    }

    /// A server of its own, with settings beyond the usual. Stopped and removed when the last one lets go of it.
    pub fn dedicated(settings: &[(&str, &str)]) -> Arc<Server> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let data = scratch::folder().join(format!("mariadb-{count}"));
        copy(template(), &data);
        let settings = SETTINGS.iter().chain(settings).map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let (host, prefix) = ("127.0.0.1".to_owned(), "test_".to_owned());
        let mut server = Server {
            data,
            host,
            port: 0,
            prefix,
            settings: settings.collect(),
            mysql: false,
            process: Mutex::new(None),
        };
        // Somebody else may take the port between looking and starting.
        for _ in 0..5 {
            server.port = free_port();
            match server.try_start() {
                Ok(()) => return Arc::new(server),
                Err(log) if log.contains("Address already in use") => {}
                Err(log) => panic!("MariaDB does not start in {}:\n{log}", server.data.display()),
            }
        }
        panic!("found no free port for MariaDB");
    }

    /// The URL of a database for a role, by one of the two schemes, which mean the same: every second database has the other.
    pub fn url(&self, role: &str, database: &str) -> String {
        let scheme = if database.ends_with(['1', '3', '5', '7', '9']) { "mysql" } else { "mariadb" };
        format!("{scheme}://{role}:{PASSWORD_IN_URL}@{}:{}/{database}", self.host, self.port)
    }

    /// With what the names of its databases begin.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server, as if the power went.
    pub fn kill(&self) {
        if let Some(mut child) = self.process.lock().unwrap_or_else(PoisonError::into_inner).take() {
            process::signal(child.id(), libc::SIGKILL);
            child.wait().expect("the server is a child of this process");
        }
    }

    /// Starts a server that was killed again, on the same port.
    pub fn start(&self) {
        if let Err(log) = self.try_start() {
            panic!("MariaDB does not start again in {}:\n{log}", self.data.display());
        }
    }

    /// Starts the server and waits until it takes connections. Fails with its log.
    fn try_start(&self) -> Result<(), String> {
        let log_file = self.data.with_extension("log");
        let log = || fs::read_to_string(&log_file).unwrap_or_default();
        let fail = |error: io::Error| format!("{error}\n{}", log());
        let mut command = in_server_user(&daemon());
        command.arg("--no-defaults").arg(format!("--datadir={}", self.data.display()));
        command.arg(format!("--socket={}", self.data.join("socket").display()));
        // A server that starts clears away what lies in its folder for temporary tables, whose ever it is.
        let temporary = self.data.with_extension("tmp");
        fs::create_dir_all(&temporary).map_err(fail)?;
        if let Some((uid, gid)) = server_user() {
            std::os::unix::fs::chown(&temporary, Some(uid), Some(gid)).map_err(fail)?;
        }
        command.arg(format!("--tmpdir={}", temporary.display()));
        command.arg(format!("--pid-file={}", self.data.join("mariadbd.pid").display()));
        command.arg(format!("--init-file={}", self.data.join("roles.sql").display()));
        command.arg(format!("--port={}", self.port));
        for (name, value) in &self.settings {
            command.arg(format!("--{name}={value}"));
        }
        let output = File::create(&log_file).map_err(fail)?;
        command.stdin(Stdio::null()).stdout(output.try_clone().map_err(fail)?).stderr(output);
        let mut child = process::spawn(command, libc::SIGKILL).map_err(fail)?;
        let started = Instant::now();
        while !log().contains("ready for connections") {
            if child.try_wait().map_err(fail)?.is_some() {
                return Err(log());
            }
            if started.elapsed() > START {
                process::signal(child.id(), libc::SIGKILL);
                return Err(format!("not ready after {START:?}\n{}", log()));
            }
            std::thread::sleep(POLL);
        }
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        // What is left goes with the process's folder.
        let _ = fs::remove_dir_all(&self.data);
        let _ = fs::remove_dir_all(self.data.with_extension("tmp"));
        let _ = fs::remove_file(self.data.with_extension("log"));
    }
}

/// A data folder fresh from the program that makes them, to be copied. Made once in a process.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let parent = scratch::folder().join("mariadb-template");
        fs::create_dir(&parent).expect("the folder is new and ours");
        if let Some((uid, gid)) = server_user() {
            std::os::unix::fs::chown(&parent, Some(uid), Some(gid)).expect("root may give a folder away");
        }
        let data = parent.join("data");
        let mut install = in_server_user(&program("mariadb-install-db"));
        install.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
        install.arg(format!("--tmpdir={}", parent.display()));
        install.args(["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]);
        install.args(["--innodb-flush-method=nosync", "--innodb-log-file-size=32M", "--innodb-buffer-pool-size=16M"]);
        run(install, None);
        fs::write(data.join("roles.sql"), roles()).expect("root and the owner may write there");
        std::fs::set_permissions(data.join("roles.sql"), std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .expect("the file is ours");
        data
    })
}

/// The statements that make the roles of the tests.
fn roles() -> String {
    let mut roles = String::new();
    for role in [ADMIN, SYNC, APP] {
        roles += &format!("CREATE USER IF NOT EXISTS '{role}'@'%' IDENTIFIED BY '{PASSWORD}';\n");
    }
    roles + &format!("GRANT ALL ON *.* TO '{ADMIN}'@'%' WITH GRANT OPTION;\n")
}

/// The server's program.
fn daemon() -> PathBuf {
    program("mariadbd")
}

/// A program of MariaDB's server package.
fn program(name: &str) -> PathBuf {
    let on_path = std::env::var_os("PATH");
    let folders = on_path.iter().flat_map(|path| std::env::split_paths(path).collect::<Vec<_>>());
    let usual = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"].map(PathBuf::from);
    let own = std::env::var_os("CONCORD_MARIADB_BIN").map(PathBuf::from);
    own.into_iter().chain(folders).chain(usual).map(|folder| folder.join(name)).find(|file| file.is_file()).unwrap_or_else(
        || {
            panic!(
                "the tests need MariaDB's server program `{name}`: install the Debian package `mariadb-server` (apt-get \
                 install mariadb-server), or name its folder in CONCORD_MARIADB_BIN"
            )
        },
    )
}
