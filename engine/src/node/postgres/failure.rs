//! What PostgreSQL and the connection report, as errors that the engine acts upon.

use sqlx::postgres::PgDatabaseError;

use crate::node::{Constraint, Error, ErrorKind, HELD};

/// The error without anything that could hold a value: PostgreSQL puts those into the detail and the context.
pub fn error(error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::Database(error) => match error.try_downcast_ref::<PgDatabaseError>() {
            Some(error) => database(error),
            None => Error::new(ErrorKind::Other, "the database reported an error that cannot be read"),
        },
        sqlx::Error::Io(error) => Error::new(ErrorKind::Lost, format!("the connection broke: {error}")),
        sqlx::Error::Tls(error) => Error::new(
            ErrorKind::Lost,
            format!(
                "TLS could not be agreed on: {error}; hosts other than this machine need a verified certificate unless \
                 the URL says otherwise: append ?sslmode=verify-full&sslrootcert=FILE, or ?sslmode=require to encrypt \
                 without verifying, or ?sslmode=disable to send everything in the clear"
            ),
        ),
        sqlx::Error::Encode(error) => Error::new(ErrorKind::Value, format!("too large for one statement: {error}")),
        sqlx::Error::Protocol(text) => {
            Error::new(ErrorKind::Lost, format!("the server's answer is not understood: {text}"))
        }
        sqlx::Error::WorkerCrashed | sqlx::Error::PoolClosed | sqlx::Error::PoolTimedOut => {
            Error::new(ErrorKind::Lost, "the connection is gone")
        }
        // The text may quote what stands in the URL.
        sqlx::Error::Configuration(_) => Error::new(ErrorKind::Other, "the URL cannot be understood"),
        other => Error::new(ErrorKind::Other, other.to_string()),
    }
}

fn database(error: &PgDatabaseError) -> Error {
    let code = error.code();
    let raised = error.routine() == Some(RAISES);
    let is_a_rows = is_about_a_row(code, error.r#where(), raised);
    let kind = if is_a_rows { ErrorKind::Constraint(Constraint::Other) } else { kind(code, error.message()) };
    // Exceptions of users' triggers may say anything, and 22xxx quote the value.
    let message = match kind {
        ErrorKind::Value => scrubbed(error.message()),
        ErrorKind::Locked => HELD.to_owned(),
        _ => error.message().to_owned(),
    };
    let place = match (error.constraint(), error.table(), error.column()) {
        (Some(constraint), Some(table), _) => format!(" (constraint {constraint} of {table})"),
        (None, Some(table), Some(column)) => format!(" (column {column} of {table})"),
        _ => String::new(),
    };
    let place = if place.is_empty() || quotes_all(&message, error) { String::new() } else { place };
    // What is raised by hand says what is meant.
    let function = error.r#where().filter(|_| is_a_rows && !raised).and_then(outermost);
    let remedy = match (function, code) {
        (Some(function), "42501") => format!(
            " in {function}, which runs with the rights of Concord's role: grant it what it lacks, or make the function SECURITY DEFINER with \
             a search_path of its own that ends in pg_temp (docs/triggers.md)"
        ),
        (Some(function), _) => format!(" in {function}"),
        (None, "25006") if !is_a_rows => READ_ONLY.to_owned(),
        (None, _) => String::new(),
    };
    Error::new(kind, format!("{message}{place}{remedy} [{code}]"))
}

/// What follows on the server's word that it writes nothing.
const READ_ONLY: &str = "; somebody has set default_transaction_read_only here, as where a disk is full, or it is a replica now: it is tried \
                         again, and takes nothing until that is undone";

/// The user's function within which something failed, by its name: of several the one that the server called. The rest of a context may
/// hold values.
fn outermost(context: &str) -> Option<&str> {
    let line = context.lines().rfind(|line| line.starts_with("PL/") || line.starts_with("SQL function "))?;
    Some(line.find(')').map_or(line, |end| &line[..=end]))
}

/// The routine of the server that carries out RAISE of PL/pgSQL.
const RAISES: &str = "exec_stmt_raise";

/// Whether a function that a user's trigger, default or constraint called failed, whatever it says: without the row that
/// made it fail the others can be written. A statement of Concord's own that fails has no context.
///
/// A conflict of transactions is no row's fault, also within such a function, if the server met it: but where it is `raised` by hand, as
/// for a row that is stale, it comes again with every attempt.
fn is_about_a_row(code: &str, context: Option<&str>, raised: bool) -> bool {
    let by_hand = raised && matches!(code, "40001" | "40P01");
    let lost = matches!(&code[..2.min(code.len())], "57" | "53" | "58");
    let theirs = context.is_some_and(|context| context.contains("PL/") || context.contains("SQL"));
    // The name of Concord's own trigger functions; what fails there is drift.
    let ours = context.is_some_and(|context| context.lines().next().is_some_and(|line| line.contains("history_store")));
    let known =
        matches!(kind(code, ""), ErrorKind::Retry | ErrorKind::Locked | ErrorKind::Constraint(_) | ErrorKind::Value);
    theirs && !ours && (by_hand || !known) && !lost
}

fn quotes_all(message: &str, error: &PgDatabaseError) -> bool {
    error.constraint().is_some_and(|name| message.contains(name))
        && error.table().is_some_and(|name| message.contains(name))
}

/// `invalid input syntax for type integer: "secret"` without what follows the colon.
fn scrubbed(message: &str) -> String {
    let end = message.find(": \"").unwrap_or(message.len());
    let mut text = String::new();
    // `value "…" is out of range`: anything between double quotes may be the value.
    for (at, part) in message[..end].split('"').enumerate() {
        text += if at % 2 == 0 { part } else { "…" };
    }
    text
}

fn kind(code: &str, message: &str) -> ErrorKind {
    match code {
        "23505" | "23P01" => ErrorKind::Constraint(Constraint::Unique),
        "23503" => ErrorKind::Constraint(Constraint::Reference),
        "40001" | "40P01" | "57014" => ErrorKind::Retry,
        "55P03" => ErrorKind::Locked,
        "42501" => ErrorKind::Rights,
        "3D000" => ErrorKind::Login,
        "42P01" | "42703" | "42883" | "42704" | "3F000" | "42804" | "42P10" | "428C9" => ErrorKind::Drift,
        "0A000" if message.contains("cached plan") => ErrorKind::Drift,
        "25006" => ErrorKind::Other,
        "XX000" if message.contains("invalid memory alloc request size") => ErrorKind::Value,
        _ => match &code[..2.min(code.len())] {
            // Two keys of a batch that the column's type calls equal; one by one they can be written.
            "21" => ErrorKind::Constraint(Constraint::Other),
            "23" | "P0" | "44" | "27" => ErrorKind::Constraint(Constraint::Other),
            "22" | "54" => ErrorKind::Value,
            "28" => ErrorKind::Login,
            "08" | "57" | "25" => ErrorKind::Lost,
            _ if code == "53300" => ErrorKind::Lost,
            // Disk, memory, locks: there may be room again.
            "53" => ErrorKind::Retry,
            _ => ErrorKind::Other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_kinds() {
        for (code, expected) in [
            ("23505", ErrorKind::Constraint(Constraint::Unique)),
            ("23P01", ErrorKind::Constraint(Constraint::Unique)),
            ("23503", ErrorKind::Constraint(Constraint::Reference)),
            ("23514", ErrorKind::Constraint(Constraint::Other)),
            ("P0001", ErrorKind::Constraint(Constraint::Other)),
            ("22001", ErrorKind::Value),
            ("40P01", ErrorKind::Retry),
            ("55P03", ErrorKind::Locked),
            ("42703", ErrorKind::Drift),
            ("42501", ErrorKind::Rights),
            ("28P01", ErrorKind::Login),
            ("57P01", ErrorKind::Lost),
            ("53300", ErrorKind::Lost),
            ("53100", ErrorKind::Retry),
            ("58030", ErrorKind::Other),
        ] {
            assert_eq!(kind(code, ""), expected, "{code}");
        }
    }

    #[test]
    fn a_users_function_fails_for_a_row() {
        let theirs = Some("PL/pgSQL function tf() line 1 at SQL statement");
        for code in ["42P01", "MY001", "42501", "3F000", "08001"] {
            assert!(is_about_a_row(code, theirs, false), "{code}");
            assert!(!is_about_a_row(code, None, false), "{code}");
        }
        assert!(!is_about_a_row("57P01", theirs, false) && !is_about_a_row("55P03", theirs, false));
        let ours = Some("PL/pgSQL function history_store.\"t!i\"() line 4 at SQL statement");
        assert!(!is_about_a_row("42P01", ours, false));
    }

    /// Optimistic locking is written so: `RAISE EXCEPTION 'stale' USING ERRCODE = '40001'`. The same batch again would fail for ever, and
    /// with it every table of the node.
    #[test]
    fn what_a_users_function_raises_by_hand_is_about_the_row() {
        let raised = Some("PL/pgSQL function tf() line 1 at RAISE");
        let within = Some("SQL statement \"UPDATE other SET n = 1\"\nPL/pgSQL function tf() line 1 at SQL statement");
        for code in ["40001", "40P01"] {
            assert!(is_about_a_row(code, raised, true), "{code}");
            assert!(!is_about_a_row(code, within, false), "a real one is tried again: {code}");
            assert!(!is_about_a_row(code, Some("PL/pgSQL function history_store.wanted() line 1 at RAISE"), true));
        }
        // A function may tell what befell the server, and so does one of Concord's own.
        for code in ["53100", "57014", "57P03", "58030"] {
            assert!(!is_about_a_row(code, raised, true), "{code}");
        }
    }

    #[test]
    fn the_function_that_failed_is_named_without_values() {
        let context = "SQL statement \"INSERT INTO log VALUES ('canary')\"\nPL/pgSQL function note(text) line 1 at EXECUTE\n\
                       SQL statement \"SELECT note(NEW.name)\"\nPL/pgSQL function public.audit() line 3 at PERFORM";
        assert_eq!(outermost(context), Some("PL/pgSQL function public.audit()"));
        assert_eq!(outermost("SQL function \"audit\" statement 1"), Some("SQL function \"audit\" statement 1"));
        assert_eq!(outermost("SQL statement \"DELETE FROM t WHERE name = 'canary'\""), None);
    }

    #[test]
    fn values_are_taken_out_of_messages() {
        assert_eq!(
            scrubbed("invalid input syntax for type integer: \"canary\""),
            "invalid input syntax for type integer"
        );
        assert_eq!(
            scrubbed("value \"canary\" is out of range for type integer"),
            "value … is out of range for type integer"
        );
        assert_eq!(
            scrubbed("value too long for type character varying(3)"),
            "value too long for type character varying(3)"
        );
    }
}
