//! An application's connection to a database: what users do, behind Concord's back.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use futures::TryStreamExt;
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection, Decode, MySql, Row, Type, ValueRef};

use super::mysql;

/// A cell as text, `None` for NULL. Floats and the like are spelled as the database spells them; bytes of SQLite as
/// `x'…'`.
pub type Text = Option<String>;

/// One connection of a user. Speaks SQL as the database does; nothing is added or changed.
pub enum User {
    // On a thread of its own while it waits for a lock, so that the test goes on.
    Sqlite(Arc<Mutex<rusqlite::Connection>>),
    Postgres(Box<PgConnection>),
    /// MariaDB, or MySQL in its place.
    Mariadb(Box<MySqlConnection>, Server),
}

/// Which server a [`User::Mariadb`] speaks to, by the server's own version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Mariadb,
    Mysql,
}

impl User {
    pub(crate) fn sqlite(connection: rusqlite::Connection) -> User {
        User::Sqlite(Arc::new(Mutex::new(connection)))
    }

    /// Connects to any PostgreSQL URL.
    pub async fn postgres(url: &str) -> Result<User, String> {
        Ok(User::Postgres(Box::new(PgConnection::connect(url).await.map_err(|error| error.to_string())?)))
    }

    /// Connects to any MySQL or MariaDB URL, as an application that quotes names and joins texts as standard SQL does.
    pub async fn mariadb(url: &str) -> Result<User, String> {
        let connection = MySqlConnection::connect(url).await.map_err(|error| error.to_string())?;
        let mut user = User::Mariadb(Box::new(connection), Server::Mariadb);
        let is_mysql = !user.cell("SELECT version()").await.contains("MariaDB");
        if let (User::Mariadb(_, server), true) = (&mut user, is_mysql) {
            *server = Server::Mysql;
        }
        let levels = if is_mysql { "cte_max_recursion_depth" } else { "max_recursive_iterations" };
        let modes = "ANSI_QUOTES,PIPES_AS_CONCAT,STRICT_TRANS_TABLES,NO_BACKSLASH_ESCAPES";
        user.try_execute(&format!(
            "SET NAMES utf8mb4; SET SESSION time_zone = '+05:30', {levels} = 100000, sql_mode = '{modes}'"
        ))
        .await?;
        Ok(user)
    }

    /// Whether the server is MySQL and not MariaDB.
    pub fn is_mysql(&self) -> bool {
        matches!(self, User::Mariadb(_, Server::Mysql))
    }

    /// Statements as the server takes them.
    fn spelled<'s>(&self, sql: &'s str) -> Cow<'s, str> {
        if self.is_mysql() { mysql::spelled(sql) } else { Cow::Borrowed(sql) }
    }

    /// Runs statements, separated by semicolons; panics if one fails.
    #[track_caller]
    pub fn execute(&mut self, sql: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            if let Err(error) = self.try_execute(sql).await {
                panic!("{caller}: {error}\nin: {sql}");
            }
        }
    }

    /// Runs statements; fails with the database's message. On PostgreSQL several statements in one call are one
    /// transaction unless they say otherwise.
    pub async fn try_execute(&mut self, sql: &str) -> Result<(), String> {
        let sql = &*self.spelled(sql);
        match self {
            User::Sqlite(connection) => {
                let sql = sql.to_owned();
                on_thread(connection, move |connection| connection.execute_batch(&sql)).await
            }
            User::Postgres(connection) => {
                let ran = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut **connection).await;
                ran.map(drop).map_err(|error| error.to_string())
            }
            User::Mariadb(connection, _) => {
                // Nothing behind the last semicolon would be a statement, and an error.
                let sql = sql.trim_end().trim_end_matches(';');
                if sql.is_empty() {
                    return Ok(());
                }
                let ran = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut **connection).await;
                ran.map(drop).map_err(|error| error.to_string())
            }
        }
    }

    /// Runs one statement; how many rows it wrote or deleted, as the database counts, or its message.
    pub async fn affected(&mut self, sql: &str) -> Result<u64, String> {
        let sql = &*self.spelled(sql);
        match self {
            User::Sqlite(connection) => {
                let sql = sql.to_owned();
                on_thread(connection, move |connection| {
                    connection.execute_batch(&sql)?;
                    Ok(connection.changes())
                })
                .await
            }
            User::Postgres(connection) => {
                let ran = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut **connection).await;
                ran.map(|done| done.rows_affected()).map_err(|error| error.to_string())
            }
            User::Mariadb(connection, _) => {
                let ran = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut **connection).await;
                ran.map(|done| done.rows_affected()).map_err(|error| error.to_string())
            }
        }
    }

    /// The rows of one query; panics if it fails.
    #[track_caller]
    pub fn rows(&mut self, sql: &str) -> impl Future<Output = Vec<Vec<Text>>> {
        let caller = std::panic::Location::caller();
        async move {
            match self.try_rows(sql).await {
                Ok(rows) => rows,
                Err(error) => panic!("{caller}: {error}\nin: {sql}"),
            }
        }
    }

    /// The rows of one query, or the database's message.
    pub async fn try_rows(&mut self, sql: &str) -> Result<Vec<Vec<Text>>, String> {
        let sql = &*self.spelled(sql);
        match self {
            User::Sqlite(connection) => {
                let sql = sql.to_owned();
                on_thread(connection, move |connection| {
                    let mut statement = connection.prepare(&sql)?;
                    let width = statement.column_count();
                    let rows = statement.query_map([], |row| {
                        (0..width).map(|at| Ok(sqlite_text(row.get_ref(at)?))).collect::<rusqlite::Result<Vec<_>>>()
                    })?;
                    rows.collect()
                })
                .await
            }
            User::Postgres(connection) => {
                // The simple protocol: every value comes as text.
                let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch(&mut **connection);
                rows.map_ok(|row: PgRow| (0..row.len()).map(|at| postgres_text(&row, at)).collect())
                    .try_collect()
                    .await
                    .map_err(|error| error.to_string())
            }
            User::Mariadb(connection, _) => {
                let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch(&mut **connection);
                rows.map_ok(|row: MySqlRow| (0..row.len()).map(|at| mariadb_text(&row, at)).collect())
                    .try_collect()
                    .await
                    .map_err(|error| error.to_string())
            }
        }
    }

    /// The only cell of a query's only row, as text; panics if there is none or it is NULL.
    #[track_caller]
    pub fn cell(&mut self, sql: &str) -> impl Future<Output = String> {
        let caller = std::panic::Location::caller();
        async move {
            let rows = self.try_rows(sql).await.unwrap_or_else(|error| panic!("{caller}: {error}\nin: {sql}"));
            match rows.as_slice() {
                [row] if row.len() == 1 => {
                    row[0].clone().unwrap_or_else(|| panic!("{caller}: NULL is the answer to: {sql}"))
                }
                _ => panic!("{caller}: {} rows instead of one cell for: {sql}", rows.len()),
            }
        }
    }

    /// `COPY … FROM STDIN` with this data; PostgreSQL only.
    pub async fn copy_in(&mut self, sql: &str, data: &str) {
        let User::Postgres(connection) = self else { panic!("only PostgreSQL has COPY") };
        let mut copy = connection.copy_in_raw(sql).await.unwrap_or_else(|error| panic!("{error}\nin: {sql}"));
        copy.send(data.as_bytes()).await.unwrap_or_else(|error| panic!("{error}\nin: {sql}"));
        copy.finish().await.unwrap_or_else(|error| panic!("{error}\nin: {sql}"));
    }
}

async fn on_thread<T: Send + 'static>(
    connection: &Arc<Mutex<rusqlite::Connection>>,
    work: impl FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, String> {
    let connection = Arc::clone(connection);
    let done = tokio::task::spawn_blocking(move || {
        work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner)).map_err(|error| error.to_string())
    });
    done.await.expect("a user's statement does not panic")
}

fn sqlite_text(value: rusqlite::types::ValueRef<'_>) -> Text {
    use rusqlite::types::ValueRef;
    Some(match value {
        ValueRef::Null => return None,
        ValueRef::Integer(v) => v.to_string(),
        ValueRef::Real(v) => format!("{v:?}"),
        ValueRef::Text(v) => String::from_utf8_lossy(v).into_owned(),
        ValueRef::Blob(v) => format!("x'{}'", v.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    })
}

fn postgres_text(row: &PgRow, at: usize) -> Text {
    let value = row.try_get_raw(at).expect("the column is there");
    (!value.is_null()).then(|| value.as_str().expect("PostgreSQL sends text").to_owned())
}

/// Bytes as SQLite's are shown.
fn mariadb_text(row: &MySqlRow, at: usize) -> Text {
    let value = row.try_get_raw(at).expect("the column is there");
    let ty = value.type_info().into_owned();
    let is_bytes = <[u8] as Type<MySql>>::compatible(&ty) && !<str as Type<MySql>>::compatible(&ty);
    // Whatever the type: a date of zeros is no NULL.
    let bytes = <&[u8] as Decode<MySql>>::decode(value).ok()?;
    match is_bytes {
        true => Some(format!("x'{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())),
        false => Some(String::from_utf8_lossy(bytes).into_owned()),
    }
}
