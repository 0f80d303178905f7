//! From a URL to a session whose settings are known.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::str::FromStr;
use std::task::Poll;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use super::{failure, quote};
use crate::node::patience::{Word, for_locks, patiently};
use crate::node::tls::{self, File, Terms};
use crate::node::{Error, ErrorKind, Result};

/// How long to wait for a server that does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a statement waits for what somebody holds locked.
const LOCKS: Duration = Duration::from_secs(3);

/// After how long a silence it is asked whether a session is still at work.
const SILENCE: Duration = Duration::from_secs(10);

/// For how long a server is believed to be at work that says no more than that it takes no connection now.
const BELIEF: Duration = Duration::from_secs(60);

/// What the URL may say after the question mark; sqlx would print the value of anything else into the log.
const PARAMETERS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// The variable of the environment that says how to connect where the URL does not, as for libpq.
const MODE: &str = "PGSSLMODE";

const NO_MODE: &str = "none of disable, prefer, require, verify-ca, verify-full";

const TLS: Terms = Terms { ca: "sslrootcert", no_name: "sslmode=verify-ca" };

/// Everything a text form or a plan may depend on. The search path is that of the role only while rows are applied,
/// for the sake of users' triggers. Nothing waits long for what somebody holds locked. Compiling plans and starting workers
/// cost more than they gain for statements such as ours; where scans are switched off, workers would be started even to read
/// an empty table. An engine that stands still or cannot be reached any more must not hold locks and snapshots for ever: the
/// server gives them up, after the time that the administrator has set or after this; but what is at work may take its time (how long a
/// transaction takes PostgreSQL limits from 17 on). Notices are for nobody, and a server that
/// has many to tell while rows are copied in would wait for ever for them to be read.
const SETTINGS: &str = "SET search_path = pg_catalog; SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; \
    SET IntervalStyle = 'iso_8601'; SET extra_float_digits = 3; SET bytea_output = 'hex'; SET xmlbinary = 'base64'; \
    SET xmloption = 'content'; SET client_encoding = 'UTF8'; SET standard_conforming_strings = on; SET quote_all_identifiers = off; SET array_nulls = on; \
    SET statement_timeout = 0; SET default_transaction_isolation = 'read committed'; \
    SET default_transaction_deferrable = off; SET jit = off; SET client_min_messages = error; \
    SET max_parallel_workers_per_gather = 0; \
    SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; \
    SET tcp_user_timeout = 60000; \
    SELECT set_config('transaction_timeout', '0', false) \
        WHERE current_setting('transaction_timeout', true) IS NOT NULL; \
    SELECT set_config('idle_in_transaction_session_timeout', '5min', false) \
        WHERE current_setting('idle_in_transaction_session_timeout') = '0'";

/// A URL, understood. Prints no password, in any form.
#[derive(Clone)]
pub struct Place {
    options: PgConnectOptions,
    shown: String,
    /// The files for TLS that are read where a session is opened.
    files: Vec<File>,
}

/// A session that was opened just now.
pub struct Opening {
    pub connection: PgConnection,
    /// Schemas in which the role looks for unqualified names.
    pub path: Vec<String>,
    /// The server's process that serves it.
    pub pid: i32,
    /// Who logged in.
    pub role: String,
}

impl Place {
    pub fn parse(url: &str) -> Result<Place> {
        let wrong = |why: String| Error::new(ErrorKind::Other, format!("the URL of a PostgreSQL node is wrong: {why}"));
        let mut parsed = url::Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        let (mut says_how, mut says_where, mut trusts) = (false, false, false);
        let mut files = Vec::new();
        for (key, value) in parsed.query_pairs() {
            let known = PARAMETERS.contains(&&*key) || (key.starts_with("options[") && key.ends_with(']'));
            if !known {
                return Err(wrong(format!(
                    "it has a parameter `{key}`, which is not one of {}",
                    PARAMETERS.join(", ")
                )));
            }
            if matches!(&*key, "sslmode" | "ssl-mode") {
                PgSslMode::from_str(&value).map_err(|_| wrong(format!("sslmode is {NO_MODE}")))?;
                says_how = true;
            }
            says_where |= matches!(&*key, "host" | "hostaddr");
            match &*key {
                "sslrootcert" | "ssl-root-cert" | "ssl-ca" => {
                    trusts = true;
                    files.extend(File::named(&key, &value, true));
                }
                "sslcert" | "ssl-cert" | "sslkey" | "ssl-key" => files.extend(File::named(&key, &value, false)),
                _ => {}
            }
        }
        // With the brackets that it has in a URL, an address is none.
        if let (Some(url::Host::Ipv6(address)), false) = (parsed.host(), says_where) {
            parsed.query_pairs_mut().append_pair("host", &address.to_string());
        }
        let mut options =
            PgConnectOptions::from_str(parsed.as_str()).map_err(failure::error)?.disable_statement_logging();
        if options.get_application_name().is_none() {
            options = options.application_name("concord");
        }
        if !says_how && !environment_says_how(std::env::var_os(MODE).as_deref())? {
            let mode = if is_here(&options) { PgSslMode::Prefer } else { PgSslMode::VerifyFull };
            options = options.ssl_mode(mode);
        }
        // As libpq does it.
        if matches!(options.get_ssl_mode(), PgSslMode::Require) && trusts {
            options = options.ssl_mode(PgSslMode::VerifyCa);
        }
        files.retain(|file| match options.get_ssl_mode() {
            PgSslMode::Disable | PgSslMode::Allow => false,
            PgSslMode::Prefer | PgSslMode::Require => !file.is_ca,
            PgSslMode::VerifyCa | PgSslMode::VerifyFull => true,
        });
        // Enough for every statement about some hundred tables.
        options = options.statement_cache_capacity(2000);
        let shown = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => {
                let host = options.get_host();
                let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
                format!("{host}:{}", options.get_port())
            }
        };
        Ok(Place { options, shown, files })
    }

    /// Opens a session.
    pub async fn connect(&self) -> Result<Opening> {
        let connecting = || format!("cannot connect to PostgreSQL at {}", self.shown);
        self.files.iter().try_for_each(File::check).map_err(|why| why.while_doing(connecting()))?;
        let session = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            let row = sqlx::query(
                "SELECT pg_catalog.current_schemas(false)::pg_catalog.text[], pg_catalog.pg_backend_pid(), \
                             session_user::pg_catalog.text",
            )
            .persistent(false)
            .fetch_one(&mut connection)
            .await?;
            let settings = format!("{SETTINGS}; SET lock_timeout = {}", for_locks(LOCKS).as_millis());
            sqlx::raw_sql(AssertSqlSafe(settings)).execute(&mut connection).await?;
            Ok(Opening { path: row.try_get(0)?, pid: row.try_get(1)?, role: row.try_get(2)?, connection })
        };
        match tokio::time::timeout(PATIENCE, session).await {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(error)) => {
                let error = match error {
                    // Nothing was there yet that could break.
                    sqlx::Error::Io(why) => Error::new(ErrorKind::Lost, why.to_string()),
                    error => failure::error(error),
                };
                let help = match error.kind {
                    ErrorKind::Login => "; check the user, the password and the database in the node's url".to_owned(),
                    ErrorKind::Rights => {
                        let role = self.options.get_username();
                        let database = quote::ident(self.options.get_database().unwrap_or(role));
                        let role = quote::ident(role);
                        format!("; an administrator lets it in with: GRANT CONNECT ON DATABASE {database} TO {role};")
                    }
                    _ => tls::remedy(&error.to_string(), &TLS, self.files.iter().find(|file| file.is_ca)),
                };
                Err(Error::new(error.kind, format!("{}: {error}{help}", connecting())))
            }
            Err(_) => Err(Error::new(
                ErrorKind::Lost,
                format!("PostgreSQL at {} did not answer within {} s", self.shown, PATIENCE.as_secs()),
            )),
        }
    }
}

impl Place {
    /// Waits for a session's answer, which may take its time. If there is silence for long, the server is asked over another
    /// connection whether it is still at work on it; if not, or if nobody answers there either, the session is lost.
    pub async fn answer<T>(&self, pid: i32, answer: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
        tokio::pin!(answer);
        // Most rows of a result are there already, and need no clock.
        if let Poll::Ready(answer) = futures::poll!(&mut answer) {
            return answer;
        }
        patiently(answer, SILENCE, BELIEF, || self.word_of(pid)).await
    }

    /// Whether the session of this process is at work, other than on waiting for us or for a standby that may never answer.
    async fn word_of(&self, pid: i32) -> Word {
        let asking = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            let at_work = "SELECT a.state = 'active' AND a.wait_event_type IS DISTINCT FROM 'Client' \
                              AND a.wait_event IS DISTINCT FROM 'SyncRep' \
                           FROM pg_catalog.pg_stat_activity AS a WHERE a.pid = $1";
            sqlx::query_scalar(at_work).bind(pid).fetch_optional(&mut connection).await
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Ok(Some(true))) => Word::AtWork,
            Ok(Err(sqlx::Error::Database(error))) if error.code().is_some_and(|code| is_full(&code)) => Word::Untold,
            Ok(_) | Err(_) => Word::Gone,
        }
    }
}

/// Whether a server says that it takes no connection for now: too many, or it is starting or shutting down.
fn is_full(code: &str) -> bool {
    matches!(code, "53300" | "57P03")
}

/// Whether the environment says how to connect, with this value of its variable; one that is empty says nothing. The driver would take
/// one that it does not know for `prefer`.
fn environment_says_how(value: Option<&OsStr>) -> Result<bool> {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(false) };
    match value.to_str().map(PgSslMode::from_str) {
        Some(Ok(_)) => Ok(true),
        _ => Err(Error::new(
            ErrorKind::Other,
            format!("the environment variable {MODE} is {NO_MODE}; set it right, or unset it"),
        )),
    }
}

/// Whether nobody can listen on the way: a socket or a loopback address.
fn is_here(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> PgSslMode {
        Place::parse(url).unwrap().options.get_ssl_mode()
    }

    #[test]
    fn plaintext_goes_nowhere_unasked() {
        if std::env::var_os(MODE).is_some() {
            return;
        }
        assert!(matches!(mode("postgres://me@db.example/shop"), PgSslMode::VerifyFull));
        assert!(matches!(mode("postgres://me@db.example/shop?sslmode=disable"), PgSslMode::Disable));
        for here in ["localhost", "127.0.0.1", "[::1]", "%2Ftmp"] {
            assert!(matches!(mode(&format!("postgres://me@{here}/shop")), PgSslMode::Prefer), "{here}");
        }
    }

    #[test]
    fn what_the_environment_asks_for_is_understood_or_refused() {
        let says = |value: Option<&str>| environment_says_how(value.map(OsStr::new)).map_err(|why| why.to_string());
        assert_eq!(
            [None, Some(""), Some("disable"), Some("verify-full")].map(says),
            [false, false, true, true].map(Ok)
        );
        for typo in [" ", "verify_full", "verify-ful", "on"] {
            let why = says(Some(typo)).unwrap_err();
            assert!(why.contains("PGSSLMODE") && why.contains("verify-full"), "{why}");
        }
    }

    #[test]
    fn an_address_has_no_brackets() {
        for (url, host, shown) in [
            ("postgres://me@[::1]:5433/shop", "::1", "[::1]:5433"),
            ("postgres://me@[2001:db8::7]/shop?sslmode=require", "2001:db8::7", "[2001:db8::7]:5432"),
            ("postgres://me@[::1]/shop?hostaddr=127.0.0.1", "127.0.0.1", "127.0.0.1:5432"),
            ("postgres://me@db.example/shop", "db.example", "db.example:5432"),
        ] {
            let place = Place::parse(url).unwrap();
            assert_eq!((place.options.get_host(), place.shown.as_str()), (host, shown), "{url}");
        }
    }

    #[test]
    fn whoever_names_an_authority_has_it_asked() {
        assert!(matches!(mode("postgres://me@h/d?sslmode=require&sslrootcert=ca.crt"), PgSslMode::VerifyCa));
        assert!(matches!(mode("postgres://me@h/d?sslrootcert=ca.crt&sslmode=prefer"), PgSslMode::Prefer));
        assert!(matches!(mode("postgres://me@h/d?sslmode=require"), PgSslMode::Require));
        let files = |url: &str| Place::parse(url).unwrap().files.len();
        assert_eq!(files("postgres://me@h/d?sslmode=verify-full&sslrootcert=ca.crt&sslkey=key"), 2);
        assert_eq!(files("postgres://me@h/d?sslmode=disable&sslrootcert=ca.crt&sslkey=key"), 0);
    }

    #[test]
    fn a_server_that_is_full_says_so() {
        assert_eq!(["53300", "57P03", "28P01", "3D000", "28000"].map(is_full), [true, true, false, false, false]);
    }

    #[test]
    fn errors_name_the_parameter_and_show_no_secret() {
        for url in [
            "postgres://me:canary@h/d?passwrod=canary",
            "postgres://me:canary@h/d?sslmode=canary",
            "postgres://me:canary@h:x/d",
        ] {
            let error = Place::parse(url).err().unwrap();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("canary"), "{shown}");
        }
    }
}
