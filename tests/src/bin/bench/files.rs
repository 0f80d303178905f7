//! Files of SQLite: their table, and the fastest ordinary way to write rows into it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use concord_tests::Database;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

/// Rows as SQLite has them.
pub type Rows = Vec<[Value; 5]>;

/// The file of a database.
pub fn of(database: &Database) -> PathBuf {
    let url = database.url();
    PathBuf::from(url.strip_prefix("sqlite:").unwrap_or_else(|| panic!("this is about SQLite, not {}", database.url())))
}

/// As an application opens it that cares about its data, and as Concord does.
pub fn open(file: &Path) -> Connection {
    let connection = Connection::open(file).expect("the file opens");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 10000; \
             PRAGMA cache_size = -32768",
        )
        .expect("settings are taken");
    connection
}

/// A table of the usual columns with rows 1 to `rows`.
pub fn create(file: &Path, rows: i64) {
    open(file)
        .execute_batch(&format!(
            "CREATE TABLE accounts (id integer PRIMARY KEY, name text, balance numeric(12,2), updated_at timestamptz, \
                payload text);
             {}",
            insert(1, rows)
        ))
        .expect("rows are inserted");
}

/// The statement that inserts rows `from` to `to`.
pub fn insert(from: i64, to: i64) -> String {
    format!(
        "INSERT INTO accounts WITH RECURSIVE n (v) AS (SELECT {from} UNION ALL SELECT v + 1 FROM n WHERE v < {to}) \
         SELECT v, 'name ' || v, v * 7919 % 1000000 / 100.0, '2026-01-01 00:00:00Z', printf('%0100d', v) FROM n \
         WHERE v <= {to}"
    )
}

/// The statement that gives every column but the key of the rows of a condition a value it never had.
pub fn change(version: usize, condition: &str) -> String {
    format!(
        "UPDATE accounts SET name = 'name ' || id || '/{version}', balance = round(balance + 1.01, 2), \
         updated_at = '2026-01-01 {:02}:{:02}:01Z', payload = printf('%0100d', id * 10 + {version}) WHERE {condition}",
        version / 60 % 24,
        version % 60,
    )
}

/// The rows of a condition.
pub fn read(file: &Path, condition: &str) -> Rows {
    let reader = open(file);
    let mut query = reader.prepare(&format!("SELECT * FROM accounts WHERE {condition}")).expect("a query");
    let rows = query.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?]));
    rows.and_then(Iterator::collect).expect("rows are read")
}

/// Prepared upserts and deletes in one transaction, with the file's opening, as the sync opens its own; how many seconds it took.
pub fn write(file: &Path, rows: &Rows, gone: &[i64]) -> f64 {
    let start = Instant::now();
    let mut connection = open(file);
    let transaction = connection.transaction().expect("a transaction begins");
    {
        let mut upsert = transaction
            .prepare(
                "INSERT INTO accounts VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (id) DO UPDATE SET name = excluded.name, \
                 balance = excluded.balance, updated_at = excluded.updated_at, payload = excluded.payload",
            )
            .expect("a statement");
        for row in rows {
            upsert.execute(params_from_iter(row)).expect("a row is written");
        }
        let mut delete = transaction.prepare("DELETE FROM accounts WHERE id = ?1").expect("a statement");
        for id in gone {
            delete.execute([id]).expect("a row is deleted");
        }
    }
    transaction.commit().expect("a transaction ends");
    let took = start.elapsed().as_secs_f64();
    drop(connection);
    took
}

/// Leaves no work of what was done so far to what is measured next.
pub fn settle(file: &Path) {
    let moved = open(file).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    moved.expect("the log is written back");
}
