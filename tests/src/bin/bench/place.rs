//! Where it is measured: servers that write as durably as they do out of the box, tables, and the nodes of a sync.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use concord::config::Config;
use concord::sync::{Session, Summary};
use concord_tests::postgres::{ADMIN, SYNC, Server};
use concord_tests::{As, Database, PATIENCE, User, wait_until};

/// The harness spares the disk; whoever measures must not.
const SETTINGS: &[(&str, &str)] = &[
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("shared_buffers", "256MB"),
    ("max_wal_size", "4GB"),
    ("checkpoint_timeout", "30min"),
    ("autovacuum", "on"),
];

const DISK: &str = "CONCORD_TEST_DIR";

/// The table of all workloads on PostgreSQL.
pub const COLUMNS: &str =
    "(id bigint PRIMARY KEY, name text, balance numeric(12,2), updated_at timestamptz, payload text)";

/// Keeps databases off file systems in memory, unless somebody chose.
pub fn choose_disk() {
    if std::env::var_os(DISK).is_none() {
        let disk = Some(Path::new("/var/tmp")).filter(|folder| folder.is_dir());
        let disk = disk.map_or_else(std::env::temp_dir, Path::to_owned);
        // SAFETY: no other thread has been started.
        unsafe { std::env::set_var(DISK, disk) };
    }
}

/// A folder on the disk that is measured on.
pub fn folder() -> tempfile::TempDir {
    let disk = std::env::var_os(DISK).map_or_else(std::env::temp_dir, Into::into);
    tempfile::Builder::new().prefix("concord-bench-").tempdir_in(disk).expect("a folder on the disk")
}

pub async fn server(settings: &[(String, String)]) -> Arc<Server> {
    static SERVER: OnceLock<Arc<Server>> = OnceLock::new();
    let settings = settings.to_vec();
    let start = move || {
        let more = settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let settings: Vec<_> = SETTINGS.iter().copied().chain(more).collect();
        Arc::clone(SERVER.get_or_init(|| Server::dedicated(&settings)))
    };
    tokio::task::spawn_blocking(start).await.expect("PostgreSQL starts")
}

/// Several databases with the same table of the same rows, and the file of the sync between them.
pub struct Nodes {
    pub databases: Vec<Database>,
    config: String,
}

impl Nodes {
    /// On PostgreSQL, with `rows` rows each, installed.
    pub async fn postgres(server: &Arc<Server>, count: usize, rows: i64) -> Nodes {
        let mut databases = Vec::new();
        for _ in 0..count {
            let database = Database::on(server).await;
            create(&database, "accounts", rows).await;
            databases.push(database);
        }
        let config = config(databases.iter().map(Database::url));
        install(&config).await;
        let nodes = Nodes { databases, config };
        nodes.settle().await;
        nodes
    }

    pub fn config(&self) -> &str {
        &self.config
    }

    /// A sync of a session of its own, as the command runs it; how many seconds it took.
    pub async fn sync(&self) -> (f64, Summary) {
        sync(&self.config).await
    }

    /// Leaves no work of what was done so far to what is measured next.
    pub async fn settle(&self) {
        for database in &self.databases {
            settle(database).await;
        }
    }

    /// Panics unless all nodes hold the same rows.
    pub async fn agree(&self) {
        let mut sums = Vec::new();
        for database in &self.databases {
            let mut user = database.user_as(As::Admin).await;
            let sum = "SELECT count(*), sum(hashtextextended(a::text, 0)) FROM accounts a";
            sums.push(user.rows(sum).await);
        }
        assert!(sums.iter().all(|sum| *sum == sums[0]), "the nodes differ: {sums:?}");
    }
}

/// The file of a sync of the table `accounts` between nodes with these URLs.
pub fn config(urls: impl Iterator<Item = String>) -> String {
    let nodes = urls.enumerate().map(|(at, url)| format!("[nodes.n{at}]\nurl = \"{url}\"\n"));
    format!("name = \"bench\"\n{}\n[tables.accounts]\n", nodes.collect::<String>())
}

pub fn session(config: &str) -> Session {
    let parsed = Config::parse(Path::new("bench.toml"), config.to_owned(), &|_| None);
    Session::new(parsed.unwrap_or_else(|error| panic!("{error}")))
}

pub async fn install(config: &str) {
    if let Err(error) = session(config).install().await {
        panic!("install: {error}");
    }
}

pub async fn sync(config: &str) -> (f64, Summary) {
    let start = Instant::now();
    let summary = session(config).sync().await.unwrap_or_else(|error| panic!("sync: {error}"));
    let took = start.elapsed().as_secs_f64();
    assert!(summary.away.is_empty() && summary.stopped.is_empty() && summary.waiting == 0, "{summary:?}");
    (took, summary)
}

/// The processor time, in seconds, that this process and the finished sessions of a server have taken so far.
///
/// A session's time is added to its parent's account when the parent has collected it, which is after the session is gone
/// from `pg_stat_activity`: so it is the list of processes that is waited for. One that ended and was not collected yet is
/// still in that list, with an empty command line.
pub async fn work(server: &Server) -> f64 {
    let parent = server.pid().expect("the server runs");
    let children = format!("/proc/{parent}/task/{parent}/children");
    // The syncs' and writers', and those that cleaned up before: only users stay connected.
    let sessions = [format!("postgres: {SYNC} "), format!("postgres: {ADMIN} ")];
    wait_until("the end of sessions", PATIENCE, async || {
        let list = std::fs::read_to_string(&children).unwrap_or_else(|why| panic!("{children}: {why}"));
        let works = |pid: &str| match std::fs::read(format!("/proc/{pid}/cmdline")) {
            Ok(line) => line.is_empty() || sessions.iter().any(|session| line.starts_with(session.as_bytes())),
            Err(_) => false,
        };
        (!list.split_whitespace().any(works)).then_some(())
    })
    .await;
    let ticks = |file: String, first: usize| {
        let stat = std::fs::read_to_string(&file).unwrap_or_else(|why| panic!("{file}: {why}"));
        // The second field is a name in parentheses, which may hold blanks.
        let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
        let number = |at: usize| fields[at].parse::<f64>().expect("ticks are a number");
        number(first) + number(first + 1)
    };
    let own = ticks("/proc/self/stat".to_owned(), 11);
    let children = ticks(format!("/proc/{}/stat", server.pid().expect("the server runs")), 13);
    // SAFETY: sysconf takes a number and touches no memory.
    (own + children) / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64
}

/// A table of the usual columns with rows 1 to `rows`.
pub async fn create(database: &Database, table: &str, rows: i64) {
    let mut owner = database.user_as(As::Sync).await;
    owner.execute(&format!("CREATE TABLE {table} {COLUMNS}")).await;
    insert(&mut owner, table, 1, rows).await;
}

pub async fn insert(user: &mut User, table: &str, from: i64, to: i64) {
    user.execute(&format!(
        "INSERT INTO {table} SELECT g, 'name ' || g, (g::bigint * 7919 % 1000000) / 100.0, \
         timestamptz '2026-01-01 UTC' + g * interval '1 second', repeat(md5(g::text), 3) || 'abcd' \
         FROM generate_series({from}, {to}) AS g"
    ))
    .await;
}

/// The statement that gives every column but the key a value it never had.
pub fn change(table: &str, version: usize, condition: &str) -> String {
    format!(
        "UPDATE {table} SET name = 'name ' || id || '/{version}', balance = balance + 1.01, \
         updated_at = updated_at + interval '1 hour', payload = repeat(md5(id || '/{version}'), 3) || 'abcd' \
         WHERE {condition}"
    )
}

pub async fn settle(database: &Database) {
    let mut admin = database.user_as(As::Admin).await;
    admin.execute("VACUUM (ANALYZE)").await;
    admin.execute("CHECKPOINT").await;
}
