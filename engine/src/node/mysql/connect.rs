//! From a URL to a session whose settings are known, and what is asked over it.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::str::FromStr;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlRow, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::wire::{Args, number, text};
use super::{failure, quote};
use crate::model::time;
use crate::node::patience::{Word, for_locks, patiently, stuck};
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

/// After how long a silence it is asked whether a session is still at work. Servers wait 10 s for a standby unless an administrator
/// says otherwise, and then go on without it.
const SILENCE: Duration = Duration::from_secs(15);

/// For how long a server is believed to be at work that says no more than that it takes no connection now.
const BELIEF: Duration = Duration::from_secs(60);

/// For how many seconds a session is believed to be at work that commits: others may wait for room on the disk, or for a standby,
/// before it.
const COMMITTING: i64 = 60;

/// For how many seconds a session has waited for a standby or for room that was given up, and not for a healthy standby's answer.
const HANGING: i64 = 5;

/// After how long a session that nobody has used is asked whether it is still there: whoever keeps the way may have forgotten it
/// without a word. Sooner where tests look at that.
const REST: Duration = Duration::from_secs(if cfg!(all(feature = "faults", debug_assertions)) { 3 } else { 30 });

/// How long it may take to end a session, and to tell whether it is still there.
const FAREWELL: Duration = Duration::from_secs(1);

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

/// Everything that a value or a plan may depend on, and what would end a session or refuse a statement. Nothing waits long for what somebody holds locked; but what is at work may take
/// its time, which MySQL limits by `max_execution_time`, and MariaDB as in [`GIVE_UP`].
const SETTINGS: &str = "SET NAMES utf8mb4 COLLATE utf8mb4_bin; \
    SET SESSION time_zone = '+00:00', foreign_key_checks = 1, unique_checks = 1, autocommit = 1, \
    sql_safe_updates = 0, sql_select_limit = 18446744073709551615, sql_big_selects = 1, completion_type = 0, /*!80000 max_execution_time = 0, */ \
    net_write_timeout = 600, net_read_timeout = 600; \
    SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; SET SESSION TRANSACTION READ WRITE";

/// An engine that stands still or cannot be reached any more must not hold locks and snapshots for ever. But no statement is given up
/// for taking long, and a session that is idle outside of a transaction is kept. MySQL knows no such settings: there `wait_timeout`
/// is all that ends an engine's transaction, and stays what the administrator has set.
const GIVE_UP: &str = "SET SESSION idle_transaction_timeout = 300, idle_write_transaction_timeout = 60, max_statement_time = 0, \
    wait_timeout = 28800";

/// Whether the server is read-only, as a text: of several values in newer versions of MariaDB.
pub const READ_ONLY: &str = "CONCAT(@@read_only)";

/// Whether this value of [`READ_ONLY`] says so.
pub fn is_read_only(value: &str) -> bool {
    !matches!(value, "0" | "OFF")
}

/// Fails if a server was set read-only since it was connected to. Who has the right to may write there all the same, and would write
/// into what is a replica now.
pub fn refuse_read_only(value: Option<&str>) -> Result<()> {
    match value.is_some_and(is_read_only) {
        false => Ok(()),
        true => Err(Error::new(
            ErrorKind::Lost,
            "the server is read-only now and takes no writes, as at a switchover or where its disk is full; it is tried again, and \
             the node's url has to lead to the server that is written to",
        )),
    }
}

/// Which of the servers that have the same data answers.
pub const SERVER: &str = "CAST(@@server_id AS SIGNED)";

/// What is to be known of a session.
const FACTS: &str = "SELECT VERSION(), CURRENT_USER(), COALESCE(DATABASE(), ''), CONNECTION_ID(), \
    CAST(@@max_allowed_packet AS SIGNED), CAST(@@innodb_rollback_on_timeout AS SIGNED)";

/// For what a session of this account in this database waits that was given up, see [`word`]. Whatever is sent next would wait as
/// well, in one more session each time.
fn hanging() -> String {
    format!(
        "SELECT MAX(COALESCE(NULLIF(p.STATE, ''), 'COMMIT')) FROM information_schema.PROCESSLIST AS p \
         JOIN information_schema.PROCESSLIST AS me ON me.ID = CONNECTION_ID() \
         WHERE p.USER = me.USER AND p.DB = me.DB AND (p.TIME >= {HANGING} AND (p.STATE LIKE 'Waiting for semi-sync ACK%' \
         OR p.STATE IN ('Waiting for someone to free space', 'Waiting for disk space')) \
         OR p.TIME >= {COMMITTING} AND UPPER(LEFT(LTRIM(p.INFO), 6)) = 'COMMIT' AND NOT COALESCE(p.STATE, '') LIKE 'Waiting for % lock')"
    )
}

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
    /// When somebody began to use it last.
    used: Instant,
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
            Ok(Ok((line, None))) => Ok(line),
            Ok(Ok((line, Some(state)))) => {
                line.end().await;
                Err(Error::new(ErrorKind::Lost, stuck(&state)))
            }
            Ok(Err(error)) => {
                let error = match error {
                    // Nothing was there yet that could break.
                    sqlx::Error::Io(why) => Error::new(ErrorKind::Lost, why.to_string()),
                    error => failure::error(error, false),
                };
                let help = match error.kind {
                    ErrorKind::Login => login(&error.to_string()),
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
        // Of a database that is not there it says the same.
        format!(
            "; if there is no database of this name, correct the node's url; if there is, an administrator lets it in with: \
             GRANT SELECT ON {database}.* TO {account};"
        )
    }

    /// A session, and what is [`hanging`] there.
    async fn open(&self) -> sqlx::Result<(Line, Option<String>)> {
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
        let asking = if facts.maria { format!("{GIVE_UP}; {}", hanging()) } else { hanging() };
        let hanging = match sqlx::raw_sql(AssertSqlSafe(asking)).fetch_one(&mut connection).await {
            Ok(row) => text(&row, 0),
            // Versions of MySQL to come may have no such list.
            Err(sqlx::Error::Database(_)) if !facts.maria => None,
            Err(error) => return Err(error),
        };
        let id = said(3).parse().unwrap_or(0);
        let line = Line {
            connection,
            place: self.clone(),
            id,
            facts,
            prepared: HashSet::new(),
            parameters: 0,
            broken: false,
            used: time::moment(),
        };
        Ok((line, hanging))
    }

    /// Whether the session of this number is at work.
    async fn word_of(&self, id: i64) -> Word {
        let asking = async {
            let mut connection = MySqlConnection::connect_with(&self.options).await?;
            let at_what = "SELECT COMMAND, COALESCE(STATE, ''), COALESCE(LEFT(INFO, 20), ''), CAST(TIME AS SIGNED) \
                           FROM information_schema.PROCESSLIST WHERE ID = ?";
            sqlx::query(at_what).bind(id).fetch_optional(&mut connection).await
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Ok(Some(row))) => {
                let said = |at| text(&row, at).unwrap_or_default();
                word(&said(0), &said(1), &said(2), number(&row, 3).unwrap_or(0))
            }
            Ok(Err(sqlx::Error::Database(error)))
                if error.try_downcast_ref::<MySqlDatabaseError>().is_some_and(|error| is_full(error.number())) =>
            {
                Word::Untold
            }
            Ok(_) | Err(_) => Word::Gone,
        }
    }
}

/// What may be wrong where the server refuses the login.
fn login(refusal: &str) -> String {
    let mut help = "; check the user, the password and the database in the node's url".to_owned();
    if refusal.contains("@'localhost'") {
        help += ". If they are right, the server may have an account without a name for localhost, which it takes before one for '%': an \
                 administrator removes it with: DROP USER ''@'localhost';";
    }
    help
}

/// What a session is at by the server's list: at work, unless it waits for a standby or for room on the disk, for which it may wait
/// for ever. It is not told to stop: what is killed as it waits for room leaves a damaged binary log behind.
fn word(command: &str, state: &str, statement: &str, seconds: i64) -> Word {
    let waits = state.starts_with("Waiting for semi-sync ACK")
        || matches!(state, "Waiting for someone to free space" | "Waiting for disk space");
    let commits = statement.trim_start().get(..6).is_some_and(|first| first.eq_ignore_ascii_case("commit"));
    match command {
        "Sleep" => Word::Gone,
        _ if waits || commits && seconds >= COMMITTING => {
            Word::Stuck(if state.is_empty() { "COMMIT" } else { state }.to_owned())
        }
        _ => Word::AtWork,
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
    /// Whether it can be used. After a while in which nobody has used it, it is asked.
    pub async fn is_there(&mut self) -> bool {
        if !self.broken && time::moment().duration_since(self.used) >= REST {
            let answered = tokio::time::timeout(FAREWELL, self.connection.ping()).await;
            self.broken = !matches!(answered, Ok(Ok(())));
        }
        !self.broken
    }

    /// Somebody begins to use it.
    pub fn use_again(&mut self) {
        self.used = time::moment();
    }

    /// Ends the session, so that the server does not take note of one that broke off.
    pub async fn end(self) {
        if !self.broken {
            // Whether or not that is heard.
            let _ = tokio::time::timeout(FAREWELL, self.connection.close()).await;
        }
    }

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

    /// The same; the first value of the first row.
    pub async fn ask(&mut self, statements: &str) -> Result<Option<String>> {
        let asking = sqlx::raw_sql(AssertSqlSafe(statements)).fetch_all(&mut self.connection);
        let result = wait(&self.place, self.id, asking).await;
        let rows = result.map_err(|error| self.note(error))?;
        Ok(rows.first().and_then(|row| text(row, 0)))
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

    /// `mariadb-install-db` makes one.
    #[test]
    fn an_account_without_a_name_may_be_in_the_way() {
        let told =
            |host: &str| login(&format!("Access denied for user 'concord'@'{host}' (using password: YES) [1045]"));
        assert!(told("localhost").contains("DROP USER ''@'localhost'") && !told("10.0.0.7").contains("DROP USER"));
    }

    /// A commit may hang for ever, and a statement that takes long may not be given up.
    #[test]
    fn who_waits_for_a_standby_or_for_room_is_not_at_work() {
        let is_at_work = |command: &str, state: &str, statement: &str, seconds: i64| {
            matches!(word(command, state, statement, seconds), Word::AtWork)
        };
        assert!(!is_at_work("Sleep", "", "", 100));
        for state in [
            "Waiting for semi-sync ACK from slave",
            "Waiting for semi-sync ACK from replica",
            "Waiting for someone to free space",
            "Waiting for disk space",
        ] {
            assert!(!is_at_work("Query", state, "COMMIT", 10), "{state}");
        }
        assert!(is_at_work("Query", "Commit", "COMMIT", 10));
        assert!(!is_at_work("Query", "Commit", "COMMIT", COMMITTING));
        assert!(!is_at_work("Query", "starting", " commit", COMMITTING));
        assert!(is_at_work("Execute", "Sending data", "SELECT t.`id` FROM `t", 10_000));
    }

    /// What is given up may be carried out yet, and so it is told what it waits for.
    #[test]
    fn what_waits_is_told_as_the_server_calls_it() {
        for (state, told) in
            [("Waiting for semi-sync ACK from slave", "Waiting for semi-sync ACK from slave"), ("", "COMMIT")]
        {
            let Word::Stuck(shown) = word("Query", state, "COMMIT", COMMITTING) else { panic!("{state}") };
            assert_eq!(shown, told);
        }
        assert!(matches!(word("Sleep", "", "", COMMITTING), Word::Gone));
    }

    /// MySQL ends the transaction of an engine that has vanished by nothing else.
    #[test]
    fn where_nothing_else_ends_it_an_idle_session_ends_as_the_administrator_says() {
        assert!(!SETTINGS.contains("wait_timeout"));
        for setting in ["idle_write_transaction_timeout", "wait_timeout = 28800"] {
            assert!(GIVE_UP.contains(setting), "{setting}");
        }
    }

    /// As newer versions of MariaDB name it, too.
    #[test]
    fn a_server_is_read_only_by_any_name() {
        for value in ["1", "ON", "NO_LOCK", "NO_LOCK_NO_ADMIN"] {
            let refused = refuse_read_only(Some(value)).unwrap_err();
            assert!(is_read_only(value) && refused.kind == ErrorKind::Lost, "{value}");
        }
        for value in [Some("0"), Some("OFF"), None] {
            assert!(refuse_read_only(value).is_ok(), "{value:?}");
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
