//! What SQLite answers, as errors that the engine acts upon.

use std::fmt::Display;

use rusqlite::ffi::{self, ErrorCode};

use crate::node::{Constraint, Error, ErrorKind, Result};

/// Turns the library's errors into [`Error`]s that say what was being done.
pub(super) trait Told<T> {
    fn told<D: Display>(self, doing: impl FnOnce() -> D) -> Result<T>;
}

impl<T> Told<T> for rusqlite::Result<T> {
    fn told<D: Display>(self, doing: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| failure(error).while_doing(doing()))
    }
}

/// The error without its context. The text is SQLite's own, which names tables and columns but no values.
pub(super) fn failure(error: rusqlite::Error) -> Error {
    match error {
        rusqlite::Error::SqliteFailure(code, message) => classified(&code, message),
        // The statement's text is left out: it is long and says nothing to a person.
        rusqlite::Error::SqlInputError { error, msg, .. } => classified(&error, Some(msg)),
        rusqlite::Error::QueryReturnedNoRows
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::Utf8Error(..) => Error::new(
            ErrorKind::Service,
            "the service tables hold something that Concord does not write; they were altered by hand",
        ),
        other => Error::new(ErrorKind::Other, other.to_string()),
    }
}

fn classified(code: &ffi::Error, message: Option<String>) -> Error {
    let text = message.unwrap_or_else(|| code.to_string());
    let missing = ["no such table", "no such column", "has no column named", "no such trigger", "no such index"];
    let kind = match code.code {
        ErrorCode::ConstraintViolation => match code.extended_code {
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => {
                ErrorKind::Constraint(Constraint::Unique)
            }
            ffi::SQLITE_CONSTRAINT_FOREIGNKEY => ErrorKind::Constraint(Constraint::Reference),
            ffi::SQLITE_CONSTRAINT_DATATYPE => ErrorKind::Value,
            _ => ErrorKind::Constraint(Constraint::Other),
        },
        ErrorCode::TypeMismatch | ErrorCode::TooBig => ErrorKind::Value,
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::FileLockingProtocolFailed
        | ErrorCode::OperationInterrupted
        | ErrorCode::DiskFull
        | ErrorCode::OutOfMemory => ErrorKind::Retry,
        ErrorCode::SchemaChanged => ErrorKind::Drift,
        ErrorCode::CannotOpen | ErrorCode::SystemIoFailure => ErrorKind::Lost,
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied => {
            ErrorKind::Rights
        }
        ErrorCode::Unknown if missing.iter().any(|part| text.contains(part)) => ErrorKind::Drift,
        _ => ErrorKind::Other,
    };
    let remedy = match code.code {
        ErrorCode::DiskFull => "; make room on the disk",
        ErrorCode::SystemIoFailure => "; the disk is full or fails, which the system's log tells",
        ErrorCode::DatabaseCorrupt => "; run `PRAGMA integrity_check` and restore the file from a backup",
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            "; another program holds the write lock of the file: run the command again when it has given that up"
        }
        ErrorCode::ReadOnly | ErrorCode::CannotOpen => {
            "; the file, its folder, and what lies beside it and ends in -wal or -shm must be readable and writable"
        }
        _ => "",
    };
    Error::new(kind, text + remedy)
}

/// An error about a value that its column would not keep.
pub(super) fn unfit(table: &str, column: &str, why: &str) -> Error {
    Error::new(ErrorKind::Value, format!("column `{column}` of `{table}`: the value {why}"))
}

/// An error about service tables that no Concord has written like this.
pub(super) fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::Service, format!("{what}; the service tables were altered by hand: run `concord reset`"))
}
