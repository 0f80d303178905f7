//! A database for one test.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, mpsc};

use concord::node::{self, Node, Target};
use tempfile::TempDir;

use super::postgres::{ADMIN, APP, SYNC, Server};
use super::{Kind, User, mariadb};

/// Whom to connect as. SQLite knows no roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum As {
    /// The superuser.
    Admin,
    /// The owner of the database and its tables, as which Concord connects.
    Sync,
    /// An application: may read and write the tables in `public`, and owns nothing.
    App,
}

/// An empty database of its own, removed when dropped.
#[derive(Debug)]
pub struct Database {
    kind: Kind,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Sqlite(TempDir),
    Postgres { server: Arc<Server>, name: String },
    Mariadb { server: Arc<mariadb::Server>, name: String },
}

impl Database {
    /// On PostgreSQL and MariaDB on the server that all tests share.
    pub async fn new(kind: Kind) -> Database {
        let place = match kind {
            Kind::Sqlite => {
                // In memory where there is plenty: Concord waits for the disk with every commit.
                let made = tempfile::Builder::new().prefix("sqlite-").tempdir_in(super::scratch::folder());
                let folder = made.expect("a temporary folder");
                // Concord creates no database; it has to be there.
                rusqlite::Connection::open(folder.path().join("test.db"))
                    .and_then(|file| file.execute_batch("PRAGMA user_version = 0; VACUUM"))
                    .expect("a new file can be a database");
                Place::Sqlite(folder)
            }
            Kind::Postgres => {
                let server = tokio::task::spawn_blocking(Server::shared).await.expect("PostgreSQL starts");
                return Database::on(&server).await;
            }
            Kind::Mariadb => {
                let server = tokio::task::spawn_blocking(mariadb::Server::shared).await.expect("MariaDB starts");
                return Database::on_mariadb(&server).await;
            }
        };
        Database { kind, place }
    }

    /// On a PostgreSQL server of the test's own.
    pub async fn on(server: &Arc<Server>) -> Database {
        let (name, server) = (create_postgres(server).await, Arc::clone(server));
        Database { kind: Kind::Postgres, place: Place::Postgres { server, name } }
    }

    /// On a MariaDB server of the test's own.
    pub async fn on_mariadb(server: &Arc<mariadb::Server>) -> Database {
        let (name, server) = (create_mariadb(server).await, Arc::clone(server));
        Database { kind: Kind::Mariadb, place: Place::Mariadb { server, name } }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The URL under which Concord knows the database.
    pub fn url(&self) -> String {
        self.url_as(As::Sync)
    }

    pub fn url_as(&self, role: As) -> String {
        match &self.place {
            Place::Sqlite(folder) => format!("sqlite:{}", folder.path().join("test.db").display()),
            Place::Postgres { server, name } => server.url(role.name(), name),
            Place::Mariadb { server, name } => server.url(role.name(), name),
        }
    }

    /// A connection of the application's.
    pub async fn user(&self) -> User {
        self.user_as(As::App).await
    }

    /// A user's connection. On SQLite references are enforced, as they should be, and a lock is waited for.
    pub async fn user_as(&self, role: As) -> User {
        match &self.place {
            Place::Sqlite(folder) => {
                let connection = rusqlite::Connection::open(folder.path().join("test.db")).expect("the file is there");
                connection
                    .execute_batch("PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 30000; PRAGMA synchronous = OFF")
                    .expect("settings are taken");
                User::sqlite(connection)
            }
            Place::Postgres { server, name } => {
                User::postgres(&server.url(role.name(), name)).await.expect("the server takes connections")
            }
            Place::Mariadb { server, name } => {
                User::mariadb(&server.url(role.name(), name)).await.expect("the server takes connections")
            }
        }
    }

    /// Concord's view of the database.
    pub async fn node(&self) -> Box<dyn Node> {
        match node::connect(&Target::new(self.url())).await {
            Ok(node) => node,
            Err(error) => panic!("cannot connect to {}: {error}", Target::new(self.url())),
        }
    }
}

impl As {
    fn name(self) -> &'static str {
        match self {
            As::Admin => ADMIN,
            As::Sync => SYNC,
            As::App => APP,
        }
    }
}

/// Creates a database on a server, with the rights of the roles in it, and returns its name.
async fn create_postgres(server: &Server) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let mut admin = User::postgres(&server.url(ADMIN, "postgres")).await.expect("the server takes connections");
    // template0 has no connections that would be in the way.
    admin.execute(&format!("CREATE DATABASE {name} OWNER {SYNC} TEMPLATE template0")).await;
    let mut owner = User::postgres(&server.url(SYNC, &name)).await.expect("the server takes connections");
    owner
        .execute(&format!(
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO {APP};
             ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO {APP}"
        ))
        .await;
    name
}

/// Creates a database on a server, with the rights of the owner of its tables, and returns its name. Its texts are told apart
/// as in other databases.
async fn create_mariadb(server: &mariadb::Server) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("{}{}", server.prefix(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut admin = User::mariadb(&server.url(ADMIN, "mysql")).await.expect("the server takes connections");
    let exact = if admin.is_mysql() { "utf8mb4_0900_bin" } else { "utf8mb4_nopad_bin" };
    admin
        .execute(&format!(
            "CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE {exact}; GRANT ALL ON {name}.* TO '{SYNC}'@'%';
             GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.* TO '{APP}'@'%'"
        ))
        .await;
    name
}

impl Drop for Database {
    fn drop(&mut self) {
        let (url, name) = match &self.place {
            Place::Sqlite(_) => return,
            Place::Postgres { server, name } => (server.url(ADMIN, "postgres"), name),
            Place::Mariadb { server, name } => (server.url(ADMIN, "mysql"), name),
        };
        // Without waiting; what is left when the process ends goes with the server.
        let _ = DROPPER.lock().unwrap_or_else(PoisonError::into_inner).send((url, name.clone()));
    }
}

/// Drops databases one after the other on a thread of its own: hundreds of them take gigabytes.
static DROPPER: LazyLock<Mutex<mpsc::Sender<(String, String)>>> = LazyLock::new(|| {
    let (names, inbox) = mpsc::channel::<(String, String)>();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        for (url, name) in inbox {
            runtime.block_on(async {
                if url.starts_with("mariadb:") {
                    if let Ok(mut admin) = User::mariadb(&url).await {
                        let _ = admin.try_execute(&format!("SET lock_wait_timeout = 5; DROP DATABASE {name}")).await;
                    }
                } else if let Ok(mut admin) = User::postgres(&url).await {
                    // A prepared transaction, for one, keeps a database.
                    let _ = admin.try_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
                }
            });
        }
    });
    Mutex::new(names)
});
