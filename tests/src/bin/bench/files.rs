//! SQLite to SQLite, and between SQLite and PostgreSQL.

use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::Run;
use super::place;
use super::report::Target;

const FILES: &str = "sync: SQLite to SQLite";

type Rows = Vec<[Value; 5]>;

pub async fn run(run: &mut Run) {
    if !run.wants(FILES) {
        return;
    }
    let folder = place::folder();
    let file = |name: &str| folder.path().join(name);
    let files = [file("a.db"), file("b.db"), file("bare.db")];
    files.iter().for_each(|file| create(file, run.sizes.rows));
    let config = place::config(files[..2].iter().map(|file| format!("sqlite:{}", file.display())));
    place::install(&config).await;

    let mut rounds = Vec::new();
    for round in 0..=run.rounds {
        let rows = change(&files[0], round);
        let (mut ours, mut theirs) = (0.0, 0.0);
        for turn in 0..2 {
            files.iter().for_each(|file| settle(file));
            if turn == round % 2 {
                ours = place::sync(&config).await.0;
            } else {
                theirs = write(&files[2], &rows);
            }
        }
        agree(&files);
        rounds.extend((round > 0).then_some((ours, theirs)));
    }
    run.report.ratio(FILES, Target::AtMost(6.0), "s", rounds);
}

/// As an application opens it that cares about its data, and as Concord does.
fn open(file: &Path) -> Connection {
    let connection = Connection::open(file).expect("the file opens");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 10000; \
             PRAGMA cache_size = -32768",
        )
        .expect("settings are taken");
    connection
}

fn create(file: &Path, rows: i64) {
    open(file)
        .execute_batch(&format!(
            "CREATE TABLE accounts (id integer PRIMARY KEY, name text, balance numeric(12,2), updated_at timestamp, \
                payload text);
             INSERT INTO accounts SELECT value, 'name ' || value, value * 7919 % 1000000 / 100.0, \
                '2026-01-01 00:00:00', printf('%0100d', value) FROM generate_series_({rows})"
        )
        .replace(
            &format!("generate_series_({rows})"),
            &format!("(WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < {rows}) SELECT value FROM n)"),
        ))
        .expect("rows are inserted");
}

/// Changes every second row, as a user, and returns the rows.
fn change(file: &Path, version: usize) -> Rows {
    let user = open(file);
    user.execute_batch(&format!(
        "UPDATE accounts SET name = 'name ' || id || '/{version}', balance = round(balance + 1.01, 2), \
         updated_at = '2026-01-01 {:02}:{:02}:00', payload = printf('%0100d', id * 10 + {version}) WHERE id % 2 = 0",
        version / 60 % 24,
        version % 60,
    ))
    .expect("rows are changed");
    let mut query = user.prepare("SELECT * FROM accounts WHERE id % 2 = 0").expect("a query");
    let rows = query.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?]));
    rows.and_then(Iterator::collect).expect("rows are read")
}

/// Prepared upserts in one transaction, with the file's opening, as the sync opens its own; how many seconds it took.
fn write(file: &Path, rows: &Rows) -> f64 {
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
    }
    transaction.commit().expect("a transaction ends");
    let took = start.elapsed().as_secs_f64();
    drop(connection);
    took
}

/// Leaves no work of what was done so far to what is measured next.
fn settle(file: &Path) {
    let moved = open(file).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    moved.expect("the log is written back");
}

fn agree(files: &[PathBuf; 3]) {
    let connection = open(&files[0]);
    for other in &files[1..] {
        let differing: i64 = connection
            .execute("ATTACH ?1 AS other", [other.display().to_string()])
            .and_then(|_| {
                connection.query_row(
                    "SELECT count(*) FROM (SELECT * FROM main.accounts EXCEPT SELECT * FROM other.accounts)",
                    [],
                    |row| row.get(0),
                )
            })
            .expect("files are compared");
        assert_eq!(differing, 0, "{} differs", other.display());
        connection.execute_batch("DETACH other").expect("a file is let go");
    }
}
