//! From a URL to a session whose settings are known, and what is asked over it.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::str::FromStr;
use std::task::Poll;
use std::time::Duration;

use futures::TryStreamExt;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlRow, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::wire::{Args, text};
use super::{failure, quote};
use crate::node::patience::{Word, for_locks, patiently};
use crate::node::tls::{self, File, Terms};
use crate::node::{Error, ErrorKind, Result};

/// How long to wait for a server that does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a statement waits for what somebody holds locked.
const LOCKS: Duration = Duration::from_secs(3);

/// The settings for that. MySQL counts whole seconds, from one on.
pub fn waits() -> String {
    let seconds = for_locks(LOCKS).as_secs().max(1);
    format!("innodb_lock_wait_timeout = {seconds}, lock_wait_timeout = {seconds}")
}

/// After how long a silence it is asked whether a session is still at work.
const SILENCE: Duration = Duration::from_secs(10);

/// For how long a server is believed to be at work that says no more than that it takes no connection now.
const BELIEF: Duration = Duration::from_secs(60);

/// How many statements stay prepared. Many tables have many, and lists of different lengths make more. Who gives up one at a time
/// waits each time for the server to acknowledge that, about 40 ms over TCP (the driver leaves Nagle's algorithm on), so all are
/// given up at once.
const PREPARED: usize = 250;

/// How many parameters they may have in all: MariaDB keeps about 500 bytes for each.
const PREPARED_PARAMETERS: usize = 100_000;

/// What the URL may say after the question mark.
const PARAMETERS: &[&str] =
    &["sslmode", "ssl-mode", "sslca", "ssl-ca", "sslcert", "ssl-cert", "sslkey", "ssl-key", "socket"];

const TLS: Terms = Terms { ca: "ssl-ca", no_name: "ssl-mode=VERIFY_CA" };

/// Under which no value is rounded, cut or made up. Key 0 is a key like any other; so is a day that another session has stored
/// although no calendar has it.
pub const MODE: &str = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES";

/// Everything that a value or a plan may depend on. Nothing waits long for what somebody holds locked.
const SETTINGS: &str = "SET NAMES utf8mb4 COLLATE utf8mb4_bin; \
    SET SESSION time_zone = '+00:00', foreign_key_checks = 1, unique_checks = 1, autocommit = 1, \
    sql_safe_updates = 0, sql_select_limit = 18446744073709551615, net_write_timeout = 600, net_read_timeout = 600; \
    SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; SET SESSION TRANSACTION READ WRITE";

/// An engine that stands still or cannot be reached any more must not hold locks and snapshots for ever. MySQL knows no such
/// setting.
const GIVE_UP: &str = "SET SESSION idle_transaction_timeout = 300, idle_write_transaction_timeout = 60";

/// What is to be known of a session.
const FACTS: &str = "SELECT VERSION(), CURRENT_USER(), COALESCE(DATABASE(), ''), CONNECTION_ID(), \
    CAST(@@max_allowed_packet AS SIGNED), CAST(@@innodb_rollback_on_timeout AS SIGNED)";

/// A URL, understood. Prints no password, in any form.
#[derive(Clone)]
pub struct Place {
    options: MySqlConnectOptions,
    shown: String,
    /// The files for TLS that are read where a session is opened.
    files: Vec<File>,
}

/// What is known of a server and of who is connected to it.
#[derive(Clone, Debug)]
pub struct Facts {
    pub version: String,
    /// MariaDB; otherwise MySQL.
    pub maria: bool,
    /// The account that rights are given to.
    pub account: String,
    pub database: String,
    /// The largest message that the server takes, in bytes.
    pub packet: usize,
    /// Whether a time-out undoes the whole transaction.
    pub whole: bool,
}

/// One session.
pub struct Line {
    connection: MySqlConnection,
    place: Place,
    id: i64,
    pub facts: Facts,
    /// The statements that are prepared, by the hashes of their texts.
    prepared: HashSet<u64>,
    /// How many parameters these have.
    parameters: usize,
    /// Whatever transaction there was is gone, and nothing may be sent any more.
    pub broken: bool,
}

impl Place {
    pub fn parse(url: &str) -> Result<Place> {
        let wrong =
            |why: String| Error::new(ErrorKind::Other, format!("the URL of a MySQL or MariaDB node is wrong: {why}"));
        let parsed = url::Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        let mut says_how = false;
        let mut files = Vec::new();
        for (key, value) in parsed.query_pairs() {
            if !PARAMETERS.contains(&&*key) {
                return Err(wrong(format!(
                    "it has a parameter `{key}`, which is not one of {}",
                    PARAMETERS.join(", ")
                )));
            }
            if matches!(&*key, "sslmode" | "ssl-mode") {
                MySqlSslMode::from_str(&value).map_err(|_| {
                    wrong("ssl-mode is none of DISABLED, PREFERRED, REQUIRED, VERIFY_CA, VERIFY_IDENTITY".to_owned())
                })?;
                says_how = true;
            }
            match &*key {
                "sslca" | "ssl-ca" => files.extend(File::named(&key, &value, true)),
                "sslcert" | "ssl-cert" | "sslkey" | "ssl-key" => files.extend(File::named(&key, &value, false)),
                _ => {}
            }
        }
        if parsed.path().trim_matches('/').is_empty() {
            return Err(wrong("it names no database; append one, as in mysql://user@host/database".to_owned()));
        }
        let mut options = MySqlConnectOptions::from_str(url)
            .map_err(|error| failure::error(error, false))?
            .disable_statement_logging()
            .statement_cache_capacity(2 * PREPARED)
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .timezone(None)
            .charset("utf8mb4");
        let host = options.get_host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if !says_how {
            let here = options.get_socket().is_some() || is_here(&host);
            options = options.ssl_mode(if here { MySqlSslMode::Preferred } else { MySqlSslMode::VerifyIdentity });
        }
        options = options.host(&host);
        files.retain(|file| match options.get_ssl_mode() {
            MySqlSslMode::Disabled => false,
            MySqlSslMode::Preferred | MySqlSslMode::Required => !file.is_ca,
            MySqlSslMode::VerifyCa | MySqlSslMode::VerifyIdentity => true,
        });
        let shown = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        Ok(Place { options, shown, files })
    }

    /// Opens a session.
    pub async fn connect(&self) -> Result<Line> {
        let connecting = || format!("cannot connect to the server at {}", self.shown);
        self.files.iter().try_for_each(File::check).map_err(|why| why.while_doing(connecting()))?;
        match tokio::time::timeout(PATIENCE, self.open()).await {
            Ok(Ok(line)) => Ok(line),
            Ok(Err(error)) => {
                let error = match error {
                    // Nothing was there yet that could break.
                    sqlx::Error::Io(why) => Error::new(ErrorKind::Lost, why.to_string()),
                    error => failure::error(error, false),
                };
                let help = match error.kind {
                    ErrorKind::Login => "; check the user, the password and the database in the node's url".to_owned(),
                    ErrorKind::Rights => self.admission(&error.to_string()),
                    _ => tls::remedy(&error.to_string(), &TLS, self.files.iter().find(|file| file.is_ca)),
                };
                Err(Error::new(error.kind, format!("{}: {error}{help}", connecting())))
            }
            Err(_) => Err(Error::new(
                ErrorKind::Lost,
                format!("the server at {} did not answer within {} s", self.shown, PATIENCE.as_secs()),
            )),
        }
    }

    /// What lets an account into the database that has no right on it at all. Which account that is the server says.
    fn admission(&self, refusal: &str) -> String {
        let after = refusal.split_once(" for user ").map(|(_, rest)| rest);
        let account = after.and_then(|rest| rest.split_once(" to database ")).map(|(account, _)| account);
        let (Some(account), Some(database)) = (account, self.options.get_database()) else { return String::new() };
        let database = quote::ident(database);
        format!("; an administrator lets it in with: GRANT SELECT ON {database}.* TO {account};")
    }

    async fn open(&self) -> sqlx::Result<Line> {
        let mut connection = MySqlConnection::connect_with(&self.options).await?;
        // As text and in one round trip: where a prepared statement is closed, what is sent next waits, see `PREPARED`.
        let opening = format!("{SETTINGS}; SET SESSION sql_mode = '{MODE}', {}; {FACTS}", waits());
        let row = sqlx::raw_sql(AssertSqlSafe(opening)).fetch_one(&mut connection).await?;
        let said = |at| text(&row, at).unwrap_or_default();
        let version = said(0);
        let facts = Facts {
            maria: version.contains("MariaDB"),
            version,
            account: said(1),
            database: said(2),
            packet: said(4).parse().unwrap_or(0),
            whole: said(5) == "1",
        };
        if facts.maria {
            sqlx::raw_sql(GIVE_UP).execute(&mut connection).await?;
        }
        let id = said(3).parse().unwrap_or(0);
        Ok(Line { connection, place: self.clone(), id, facts, prepared: HashSet::new(), parameters: 0, broken: false })
    }

    /// Whether the session of this number is at work.
    async fn word_of(&self, id: i64) -> Word {
        let asking = async {
            let mut connection = MySqlConnection::connect_with(&self.options).await?;
            sqlx::query("SELECT ID FROM information_schema.PROCESSLIST WHERE ID = ? AND COMMAND <> 'Sleep'")
                .bind(id)
                .fetch_optional(&mut connection)
                .await
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Ok(Some(_))) => Word::AtWork,
            Ok(Err(sqlx::Error::Database(error)))
                if error.try_downcast_ref::<MySqlDatabaseError>().is_some_and(|error| is_full(error.number())) =>
            {
                Word::Untold
            }
            Ok(_) | Err(_) => Word::Gone,
        }
    }
}

/// Whether a server says that it takes no connection for now.
fn is_full(number: u16) -> bool {
    matches!(number, 1040 | 1203 | 1226)
}

/// Whether nobody can listen on the way.
fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Waits for an answer, which may take its time; after a long silence the server is asked whether it is at work on it.
pub async fn wait<T>(place: &Place, id: i64, answer: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    tokio::pin!(answer);
    // Most rows of a result are there already, and need no clock.
    if let Poll::Ready(answer) = futures::poll!(&mut answer) {
        return answer;
    }
    patiently(answer, SILENCE, BELIEF, || place.word_of(id)).await
}

impl Line {
    /// The connection, and how to wait for its answers.
    pub fn parts(&mut self) -> (&mut MySqlConnection, &Place, i64) {
        (&mut self.connection, &self.place, self.id)
    }

    /// Runs one statement with parameters.
    pub async fn fetch(&mut self, statement: &str, args: Args) -> Result<Vec<MySqlRow>> {
        let mut rows = Vec::new();
        self.stream(statement, args, |row| {
            rows.push(row);
            Ok(())
        })
        .await?;
        Ok(rows)
    }

    /// The same for many rows: each is given to `take` as it arrives.
    pub async fn stream(
        &mut self,
        statement: &str,
        args: Args,
        mut take: impl FnMut(MySqlRow) -> Result<()> + Send,
    ) -> Result<()> {
        self.check(&args)?;
        self.prepare(statement, args.count()).await?;
        let query = sqlx::query_with(AssertSqlSafe(statement), args.finish()?);
        let mut rows = query.fetch(&mut self.connection);
        let failed = loop {
            match wait(&self.place, self.id, rows.try_next()).await {
                Ok(Some(row)) => take(row)?,
                Ok(None) => return Ok(()),
                Err(error) => break error,
            }
        };
        drop(rows);
        Err(self.note(failed))
    }

    /// Runs one statement that gives no rows; how many it found or changed.
    pub async fn execute(&mut self, statement: &str, args: Args) -> Result<u64> {
        self.check(&args)?;
        self.prepare(statement, args.count()).await?;
        let query = sqlx::query_with(AssertSqlSafe(statement), args.finish()?);
        let result = wait(&self.place, self.id, query.execute(&mut self.connection)).await;
        result.map(|done| done.rows_affected()).map_err(|error| self.note(error))
    }

    /// Runs statements without parameters, in one round trip.
    pub async fn run(&mut self, statements: &str) -> Result<()> {
        let running = sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut self.connection);
        let result = wait(&self.place, self.id, running).await;
        result.map(drop).map_err(|error| self.note(error))
    }

    /// Makes room for one more prepared statement.
    pub async fn prepare(&mut self, statement: &str, parameters: usize) -> Result<()> {
        let mut hasher = DefaultHasher::new();
        statement.hash(&mut hasher);
        let hash = hasher.finish();
        if self.prepared.contains(&hash) {
            return Ok(());
        }
        if self.prepared.len() >= PREPARED || self.parameters + parameters > PREPARED_PARAMETERS {
            self.prepared.clear();
            self.parameters = 0;
            let clearing = wait(&self.place, self.id, self.connection.clear_cached_statements()).await;
            clearing.map_err(|error| self.note(error))?;
        }
        self.prepared.insert(hash);
        self.parameters += parameters;
        Ok(())
    }

    /// A message that is too large would end the session.
    fn check(&self, args: &Args) -> Result<()> {
        match args.size() + 4096 > self.facts.packet {
            false => Ok(()),
            true => Err(Error::new(
                ErrorKind::Value,
                format!(
                    "too large for one statement: the server takes {} bytes (max_allowed_packet)",
                    self.facts.packet
                ),
            )),
        }
    }

    fn note(&mut self, error: sqlx::Error) -> Error {
        let error = failure::error(error, self.facts.whole);
        self.broken |= matches!(error.kind, ErrorKind::Lost | ErrorKind::Retry);
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> MySqlSslMode {
        Place::parse(url).unwrap().options.get_ssl_mode()
    }

    #[test]
    fn plaintext_goes_nowhere_unasked() {
        assert!(matches!(mode("mysql://me@db.example/shop"), MySqlSslMode::VerifyIdentity));
        assert!(matches!(mode("mariadb://me@db.example/shop?ssl-mode=DISABLED"), MySqlSslMode::Disabled));
        for here in ["localhost", "127.0.0.1", "[::1]"] {
            assert!(matches!(mode(&format!("mysql://me@{here}/shop")), MySqlSslMode::Preferred), "{here}");
        }
    }

    #[test]
    fn errors_name_the_parameter_and_show_no_secret() {
        for url in [
            "mysql://me:canary@h/d?passwrod=canary",
            "mysql://me:canary@h/d?ssl-mode=canary",
            "mysql://me:canary@h:x/d",
            "mysql://me:canary@h/",
        ] {
            let error = Place::parse(url).err().unwrap();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("canary"), "{shown}");
        }
    }
}
