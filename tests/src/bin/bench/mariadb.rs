//! What capture costs the users of MariaDB, what a sync to it takes of memory, and the fastest ordinary way to write rows into it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use concord_tests::mariadb::Server;
use concord_tests::{As, Database, Rng, User};
use sqlx::AssertSqlSafe;
use sqlx::mysql::MySqlConnection;

use super::Run;
use super::report::Target;
use super::{memory, place, verify};

const BULK: &str = "capture: a MariaDB user's bulk UPDATE, CPU";
const SINGLE: &str = "capture: single-row transactions on MariaDB, 4 clients";
const MEMORY: &str = "memory: pending changes, PostgreSQL to MariaDB";

/// The harness spares the disk; whoever measures must not.
const SETTINGS: &[(&str, &str)] = &[
    ("innodb-flush-method", "fsync"),
    ("innodb-buffer-pool-size", "512M"),
    ("innodb-log-file-size", "1G"),
    // How fast changed pages are written between the rounds.
    ("innodb-io-capacity", "5000"),
];

/// The table of all workloads on MariaDB.
const COLUMNS: &str =
    "(id bigint PRIMARY KEY, name longtext, balance decimal(12,2), updated_at timestamp(6) NULL, payload longtext)";

/// Rows in one statement of the raw write.
const CHUNK: usize = 1_000;

const CLIENTS: usize = 4;

/// Rows as texts.
pub type Rows = Vec<Vec<String>>;

pub async fn run(run: &mut Run) {
    if run.wants(BULK) {
        let mut rounds = Vec::new();
        for round in 0..=run.rounds {
            let pair = bulk(run, round).await;
            rounds.extend((round > 0).then_some(pair));
        }
        run.report.ratio(BULK, Target::AtMost(2.7), "s", rounds);
    }
    if run.wants(SINGLE) {
        let rounds = single(run).await;
        run.report.ratio(SINGLE, Target::AtLeast(0.75), "/s", rounds);
    }
    if run.wants(MEMORY) {
        let [from, to] = [Database::on(&run.server().await).await, database(run).await];
        place::create(&from, "accounts", 0).await;
        create(&to, "accounts", 0).await;
        let config = place::config([from.url(), to.url()].into_iter());
        place::install(&config).await;
        let pending = run.sizes.pending[0];
        place::insert(&mut from.user().await, "accounts", 1, pending).await;
        place::settle(&from).await;
        memory::measure(run, memory::SYNC, MEMORY, pending, &config).await;
        verify::once(&config).await;
    }
}

/// On a server for all workloads, started on first use.
pub async fn database(run: &mut Run) -> Database {
    static SERVER: OnceLock<Arc<Server>> = OnceLock::new();
    let start = || Arc::clone(SERVER.get_or_init(|| Server::dedicated(SETTINGS)));
    let server = tokio::task::spawn_blocking(start).await.expect("MariaDB starts");
    let database = Database::on_mariadb(&server).await;
    if run.report.mariadb.is_empty() {
        run.report.mariadb = database.user().await.cell("SELECT version()").await;
    }
    database
}

/// A table of the usual columns with rows 1 to `rows`.
pub async fn create(database: &Database, table: &str, rows: i64) {
    let mut owner = database.user_as(As::Sync).await;
    owner.execute(&format!("CREATE TABLE {table} {COLUMNS}")).await;
    insert(&mut owner, table, 1, rows).await;
}

/// Inserts rows `from` to `to`.
pub async fn insert(user: &mut User, table: &str, from: i64, to: i64) {
    user.execute(&format!(
        "SET SESSION time_zone = '+00:00'; SET SESSION max_recursive_iterations = 10000000;
         INSERT INTO {table} WITH RECURSIVE n (g) AS (SELECT {from} UNION ALL SELECT g + 1 FROM n WHERE g < {to})
         SELECT g, concat('name ', g), (g * 7919 % 1000000) / 100.0, '2026-01-01 00:00:00' + INTERVAL g SECOND,
            concat(repeat(md5(g), 3), 'abcd') FROM n WHERE g <= {to}"
    ))
    .await;
}

/// The statement that gives every column but the key of the rows of a condition a value it never had.
pub fn change(table: &str, version: usize, condition: &str) -> String {
    format!(
        "UPDATE {table} SET name = concat('name ', id, '/{version}'), balance = balance + 1.01, \
         updated_at = updated_at + INTERVAL 1 HOUR, payload = concat(repeat(md5(concat(id, '/{version}')), 3), 'abcd') \
         WHERE {condition}"
    )
}

/// Waits until what was written is where it belongs.
pub async fn settle(database: &Database) {
    let mut admin = database.user_as(As::Admin).await;
    admin
        .execute(
            "FLUSH TABLES; SET GLOBAL innodb_max_dirty_pages_pct = 0; SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0",
        )
        .await;
    let dirty = "SELECT CAST(variable_value AS SIGNED) FROM information_schema.global_status
                 WHERE variable_name = 'INNODB_BUFFER_POOL_PAGES_DIRTY'";
    concord_tests::wait_until("the pages to be written", concord_tests::PATIENCE, async || {
        (admin.cell(dirty).await.parse::<i64>().is_ok_and(|pages| pages < 50)).then_some(())
    })
    .await;
    admin.execute("SET GLOBAL innodb_max_dirty_pages_pct = 90").await;
}

/// The rows of a condition.
pub async fn read(database: &Database, condition: &str) -> Rows {
    let rows = database.user().await.rows(&format!("SELECT * FROM accounts WHERE {condition}")).await.into_iter();
    rows.map(|row| row.into_iter().flatten().collect()).collect()
}

/// Prepared upserts and deletes of many rows in one transaction; how many seconds it took.
pub async fn write(database: &Database, rows: &Rows, gone: &[i64]) -> f64 {
    let mut user = database.user().await;
    let connection = connection(&mut user);
    let start = Instant::now();
    sqlx::raw_sql("START TRANSACTION").execute(&mut *connection).await.expect("a transaction begins");
    for chunk in rows.chunks(CHUNK) {
        let marks = vec!["(?, ?, ?, ?, ?)"; chunk.len()].join(", ");
        let statement = format!(
            "INSERT INTO accounts VALUES {marks} ON DUPLICATE KEY UPDATE name = VALUES(name), balance = VALUES(balance), \
             updated_at = VALUES(updated_at), payload = VALUES(payload)"
        );
        let mut query = sqlx::query(AssertSqlSafe(&*statement));
        for row in chunk {
            query = query.bind(row[0].parse::<i64>().expect("a number"));
            for cell in &row[1..] {
                query = query.bind(cell);
            }
        }
        query.execute(&mut *connection).await.expect("rows are written");
    }
    for chunk in gone.chunks(CHUNK) {
        let statement = format!("DELETE FROM accounts WHERE id IN ({})", vec!["?"; chunk.len()].join(", "));
        let mut query = sqlx::query(AssertSqlSafe(&*statement));
        for id in chunk {
            query = query.bind(*id);
        }
        query.execute(&mut *connection).await.expect("rows are deleted");
    }
    sqlx::raw_sql("COMMIT").execute(&mut *connection).await.expect("a transaction ends");
    start.elapsed().as_secs_f64()
}

fn connection(user: &mut User) -> &mut MySqlConnection {
    match user {
        User::Mariadb(connection, _) => connection,
        User::Sqlite(_) | User::Postgres(_) => panic!("this is about MariaDB"),
    }
}

/// Fresh tables for every round: what an UPDATE leaves behind makes the next one dearer.
async fn bulk(run: &mut Run, round: usize) -> (f64, f64) {
    let [database, other] = [database(run).await, database(run).await];
    for (database, table) in [(&database, "accounts"), (&database, "bare"), (&other, "accounts")] {
        create(database, table, run.sizes.rows).await;
    }
    place::install(&place::config([database.url(), other.url()].into_iter())).await;
    let mut user = database.user().await;
    let thread = "SELECT tid FROM information_schema.processlist WHERE id = connection_id()";
    let thread = user.cell(thread).await;
    let mut used = [0.0, 0.0];
    for turn in 0..2 {
        settle(&database).await;
        let which = (turn + round) % 2;
        let before = cpu(&thread);
        user.execute(&change(["accounts", "bare"][which], 1, "id % 2 = 0")).await;
        used[which] = cpu(&thread) - before;
    }
    (used[0], used[1])
}

/// The processor time that a thread has taken, in seconds.
fn cpu(thread: &str) -> f64 {
    let account = std::fs::read_to_string(format!("/proc/{thread}/schedstat")).expect("the session's thread is there");
    let nanoseconds = account.split_whitespace().next().and_then(|first| first.parse::<f64>().ok());
    nanoseconds.expect("the scheduler keeps accounts") / 1e9
}

/// Clients of a table with capture, and of one without.
async fn single(run: &mut Run) -> Vec<(f64, f64)> {
    let [database, other] = [database(run).await, database(run).await];
    for (database, table) in [(&database, "accounts"), (&database, "bare"), (&other, "accounts")] {
        create(database, table, run.sizes.rows).await;
    }
    let config = place::config([database.url(), other.url()].into_iter());
    place::install(&config).await;
    let rows = run.sizes.rows;
    let tables = ["accounts", "bare"].map(|name| Table { name, rows, last: AtomicI64::new(rows) });
    let duration = Duration::from_secs(run.sizes.seconds.into());
    let mut rounds = Vec::new();
    for round in 0..=run.rounds {
        let mut rates = [0.0, 0.0];
        for turn in 0..2 {
            settle(&database).await;
            let which = (turn + round) % 2;
            rates[which] = rate(&database, &tables[which], duration).await;
        }
        rounds.extend((round > 0).then_some((rates[0], rates[1])));
        // What was captured is carried, so that the history is as short in every round.
        place::sync(&config).await;
    }
    rounds
}

struct Table {
    name: &'static str,
    /// How many it was created with.
    rows: i64,
    /// The greatest key that was given away.
    last: AtomicI64,
}

/// Transactions in a second, of all clients.
async fn rate(database: &Database, table: &Table, duration: Duration) -> f64 {
    let mut users = Vec::new();
    for _ in 0..CLIENTS {
        users.push(database.user().await);
    }
    let start = Instant::now();
    let clients = (0..).zip(&mut users).map(|(seed, user)| client(connection(user), table, seed, start + duration));
    let done: u64 = futures::future::join_all(clients).await.into_iter().sum();
    done as f64 / start.elapsed().as_secs_f64()
}

/// By turns updates any of the first rows and inserts one, each in a transaction, until it is time; how many it committed.
async fn client(connection: &mut MySqlConnection, table: &Table, seed: u64, until: Instant) -> u64 {
    let Table { name, rows, last } = table;
    let update = format!("UPDATE {name} SET balance = balance + 0.01, updated_at = now(6) WHERE id = ?");
    let insert = format!("INSERT INTO {name} VALUES (?, 'a new name', 100.01, now(6), repeat('payload ', 12))");
    let mut random = Rng::new(seed);
    let mut done = 0;
    while Instant::now() < until {
        let (statement, id) = match done % 2 {
            0 => (&update, 1 + (random.next() % *rows as u64) as i64),
            _ => (&insert, 1 + last.fetch_add(1, Ordering::Relaxed)),
        };
        let query = sqlx::query(AssertSqlSafe(&**statement)).bind(id);
        query.execute(&mut *connection).await.expect("a row is written");
        done += 1;
    }
    done
}
