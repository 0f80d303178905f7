//! What MySQL, MariaDB and the connection report, as errors that the engine acts upon.

use sqlx::mysql::MySqlDatabaseError;

use crate::node::{Constraint, Error, ErrorKind, HELD};

/// A subquery gives two rows where one is wanted: how a statement of Concord's gives up, see `apply.rs`.
pub const GUARD: u16 = 1242;

/// No number could be drawn for a row: a statement that adds rows from a query has them locked to its end, where
/// `innodb_autoinc_lock_mode` is 1. It is told in place of a time-out and of a deadlock, by which the transaction is gone.
const NUMBERLESS: u16 = 1467;

/// How both say that a file cannot be written, and that the disk is full.
const WRITE: u16 = 3;
const DISK_FULL: u16 = 20;

/// The system's number for a disk that is full.
const ENOSPC: &str = "28";

/// How MariaDB says that a text cannot be written in a character set, in a statement that writes, with the letter.
const CHARSET_OF_LETTER: u16 = 1977;

/// How MySQL says it, with the text or without.
const CHARSET_OF_TEXT: u16 = 3854;
const CHARSET_OF_PARAMETER: u16 = 3988;

/// The error without anything that could hold a value. `whole`: a time-out undoes the whole transaction at this server.
pub fn error(error: sqlx::Error, whole: bool) -> Error {
    match error {
        sqlx::Error::Database(error) => match error.try_downcast_ref::<MySqlDatabaseError>() {
            Some(error) => database(error.number(), error.code(), error.message(), whole),
            None => Error::new(ErrorKind::Other, "the database reported an error that cannot be read"),
        },
        sqlx::Error::Io(error) => Error::new(ErrorKind::Lost, format!("the connection broke: {error}")),
        sqlx::Error::Tls(error) => Error::new(
            ErrorKind::Lost,
            format!(
                "TLS could not be agreed on: {error}; hosts other than this machine need a verified certificate unless \
                 the URL says otherwise: append ?ssl-mode=VERIFY_IDENTITY&ssl-ca=FILE, or ?ssl-mode=REQUIRED to encrypt \
                 without verifying, or ?ssl-mode=DISABLED to send everything in the clear"
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

fn database(number: u16, state: Option<&str>, message: &str, whole: bool) -> Error {
    let kind = match kind(number, state) {
        ErrorKind::Locked if whole => ErrorKind::Retry,
        ErrorKind::Other if lacks_room(number, message) => ErrorKind::Retry,
        kind => kind,
    };
    let text = match number {
        _ if is_users_own(state) => message.to_owned(),
        GUARD => "another row holds the same value of a unique index, or a key that this database takes for the same \
                  (as when one ends in blanks)"
            .to_owned(),
        1062 | 1586 | 1859 => match message.rsplit_once(" for key ") {
            Some((_, key)) => format!("another row has the same value of the unique index {key}"),
            None => "another row has the same value of a unique index".to_owned(),
        },
        1205 | 3572 => HELD.to_owned(),
        NUMBERLESS => format!(
            "{message}: somebody's statement keeps the numbers of AUTO_INCREMENT of a table locked for long, or there are no more of them"
        ),
        _ if lacks_room(number, message) => format!("{message}; make room on the server's disk"),
        CHARSET_OF_LETTER | CHARSET_OF_TEXT | CHARSET_OF_PARAMETER => {
            "Incorrect string value: a text has letters that the character set of its column has not".to_owned()
        }
        1419 => "the server writes a binary log and lets nobody create triggers who is no administrator; as an administrator \
                 run SET GLOBAL log_bin_trust_function_creators = 1 (and put it into the server's settings), and then \
                 `concord install` once more"
            .to_owned(),
        3819 | 4025 => format!("a check constraint refuses the row: {message}"),
        3100 => format!(
            "{message}; the server has left its group, or a transaction is larger than group_replication_transaction_size_limit: \
             where that stays so, raise it"
        ),
        1665 => "the server's binary log holds statements (binlog_format = STATEMENT), which Concord's transactions cannot be \
                 written to; set binlog_format = ROW"
            .to_owned(),
        _ if kind == ErrorKind::Value => scrubbed(message),
        _ => message.to_owned(),
    };
    Error::new(kind, format!("{text} [{number}]"))
}

/// Whether the disk is full: the server says so, or the message holds the system's number for that where a file could not be written
/// or a storage engine failed.
fn lacks_room(number: u16, message: &str) -> bool {
    match number {
        DISK_FULL | 1021 | 1114 => true,
        // By itself, in whatever language it is told: a file's name may hold it too.
        WRITE | 1026 | 1030 | 1180 => {
            message.split_whitespace().any(|word| word.trim_end_matches([')', ',', '.']) == ENOSPC)
        }
        _ => false,
    }
}

/// `Incorrect integer value: 'secret' for column 'n' at row 1` without what stands between.
fn scrubbed(message: &str) -> String {
    let Some(start) = message.find(": '") else { return message.to_owned() };
    match message[start..].rfind("' for ") {
        Some(end) => format!("{}{}", &message[..start], &message[start + end + 1..]),
        None => message[..start].to_owned(),
    }
}

/// Whether a user's trigger refuses the row, with whatever number it likes: servers leave the class to them.
fn is_users_own(state: Option<&str>) -> bool {
    state.is_some_and(|state| state.starts_with("45"))
}

/// What the class of the SQLSTATE adds to the number: users' triggers may fail in ways that no list of numbers knows.
fn kind(number: u16, state: Option<&str>) -> ErrorKind {
    if is_users_own(state) {
        return ErrorKind::Constraint(Constraint::Other);
    }
    match (kind_of(number), state.and_then(|state| state.get(..2))) {
        (ErrorKind::Other, Some("22")) => ErrorKind::Value,
        (ErrorKind::Other, Some("02" | "21" | "23" | "44")) => ErrorKind::Constraint(Constraint::Other),
        (kind, _) => kind,
    }
}

fn kind_of(number: u16) -> ErrorKind {
    match number {
        1022 | 1062 | 1169 | 1569 | 1586 | 1859 | GUARD => ErrorKind::Constraint(Constraint::Unique),
        1216 | 1217 | 1451 | 1452 => ErrorKind::Constraint(Constraint::Reference),
        // NOT NULL, CHECK, no default, a trigger's own error, references that would make duplicates.
        1048 | 1364 | 1442 | 1526 | 1644 | 1761 | 1762 | 3819 | 4025 => ErrorKind::Constraint(Constraint::Other),
        // In a user's trigger: SELECT INTO that finds several rows, CASE without a branch, a procedure that calls itself.
        1172 | 1339 | 1456 => ErrorKind::Constraint(Constraint::Other),
        // A value that an index over an expression does not take, or not so many of.
        3751 | 3752 | 3903..=3908 => ErrorKind::Value,
        // Also: texts and a column of which neither can be written in the other's letters.
        1267 | 1270 | 1271 | 1118 | 1153 | 1264 | 1265 | 1292 | 1300 | 1301 | 1366 | 1406 | 1411 | 1426 | 1690
        | 3140 | 3141 | 3150 | 3151 | 3156 | 3157 | CHARSET_OF_LETTER | CHARSET_OF_TEXT | CHARSET_OF_PARAMETER => {
            ErrorKind::Value
        }
        // The transaction is gone, or may be. Also: the table was changed since the snapshot; there is no room now; it was not let commit.
        1020 | 1021 | 1037 | 1038 | 1041 | 1114 | 1180 | 1206 | 1213 | 1317 | 1412 | 1613 | 1614 | 1615 | 1969
        | 3024 | 3101 | NUMBERLESS => ErrorKind::Retry,
        1205 | 3572 => ErrorKind::Locked,
        1054 | 1091 | 1109 | 1136 | 1146 | 1305 | 1360 | 1932 => ErrorKind::Drift,
        1044 | 1142 | 1143 | 1227 | 1370 | 1419 => ErrorKind::Rights,
        1045 | 1049 | 1130 | 1251 | 1524 | 1698 | 1862 => ErrorKind::Login,
        // A server that takes no writes now (1290, 1836, 1874) or nobody in (3032), or has left its group (1047, 3100).
        1047 | 1290 | 1836 | 1874 | 3032 | 3100 => ErrorKind::Lost,
        1040 | 1053 | 1077 | 1079 | 1080 | 1152 | 1158..=1161 | 1184 | 1203 | 1226 | 1927 | 2006 | 2013 | 4031 => {
            ErrorKind::Lost
        }
        _ => ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_kinds() {
        for (number, expected) in [
            (1062, ErrorKind::Constraint(Constraint::Unique)),
            (1452, ErrorKind::Constraint(Constraint::Reference)),
            (1644, ErrorKind::Constraint(Constraint::Other)),
            (1406, ErrorKind::Value),
            (1271, ErrorKind::Value),
            (CHARSET_OF_PARAMETER, ErrorKind::Value),
            (1213, ErrorKind::Retry),
            (1205, ErrorKind::Locked),
            (1054, ErrorKind::Drift),
            (1142, ErrorKind::Rights),
            (1045, ErrorKind::Login),
            (1927, ErrorKind::Lost),
            (1290, ErrorKind::Lost),
            (1836, ErrorKind::Lost),
            (1874, ErrorKind::Lost),
            (3032, ErrorKind::Lost),
            (3100, ErrorKind::Lost),
            (1180, ErrorKind::Retry),
            (3101, ErrorKind::Retry),
            (NUMBERLESS, ErrorKind::Retry),
            (1064, ErrorKind::Other),
        ] {
            assert_eq!(kind(number, Some("HY000")), expected, "{number}");
        }
        assert_eq!(database(1205, None, "Lock wait timeout exceeded", true).kind, ErrorKind::Retry);
    }

    #[test]
    fn what_a_users_trigger_fails_with_is_about_a_row() {
        let other = ErrorKind::Constraint(Constraint::Other);
        for (number, state, expected) in [
            (30001, "45000", other),
            (1205, "45000", other),
            (1643, "02000", other),
            (1172, "42000", other),
            (1339, "20000", other),
            (1365, "22012", ErrorKind::Value),
            (1441, "22008", ErrorKind::Value),
            (3752, "HY000", ErrorKind::Value),
            (3903, "22018", ErrorKind::Value),
            (3907, "HY000", ErrorKind::Value),
        ] {
            let error = database(number, Some(state), "no more than ten", false);
            assert_eq!(error.kind, expected, "{number}");
            assert_eq!(error.to_string(), format!("no more than ten [{number}]"));
        }
        // The number says more than the class.
        assert_eq!(kind(1062, Some("23000")), ErrorKind::Constraint(Constraint::Unique));
        assert_eq!(kind(1136, Some("21S01")), ErrorKind::Drift);
        assert_eq!(kind(1064, Some("42000")), ErrorKind::Other);
    }

    #[test]
    fn a_full_disk_says_what_to_do() {
        let error = database(1114, Some("HY000"), "The table 't' is full", false);
        assert_eq!(error.to_string(), "The table 't' is full; make room on the server's disk [1114]");
        let full = "No space left on device";
        for (number, message) in [
            (3, format!("Error writing file './binlog' (errno: 28 \"{full}\")")),
            (3, format!("Error writing file './binlog' (OS errno 28 - {full})")),
            (3, "Error writing file './binlog' (Errcode: 28)".to_owned()),
            (1030, format!("Got error 28 - '{full}' from storage engine")),
            (20, "Disk is full writing './binlog'".to_owned()),
            (1026, format!("Error writing file './t' (errno: 28 \"{full}\")")),
            (1030, format!("Got error 28 \"{full}\" from storage engine InnoDB")),
            (1180, format!("Got error 28 \"{full}\" during COMMIT")),
        ] {
            let error = database(number, Some("HY000"), &message, false);
            assert_eq!(error.kind, ErrorKind::Retry, "{message}");
            assert_eq!(error.to_string(), format!("{message}; make room on the server's disk [{number}]"));
        }
        // A disk that fails does not pass by itself.
        for (number, failing) in [
            (1030, "Got error 5 \"Input/output error\" from storage engine InnoDB"),
            (1026, "Error writing file './shop/t28.ibd' (errno: 5 \"Input/output error\")"),
            (3, "Error writing file './tmp/28' (errno: 128 \"Key has been revoked\")"),
        ] {
            assert_eq!(database(number, Some("HY000"), failing, false).kind, ErrorKind::Other, "{failing}");
        }
    }

    #[test]
    fn values_are_taken_out_of_messages() {
        let shown = |number, message| database(number, None, message, false).to_string();
        assert_eq!(
            shown(1062, "Duplicate entry 'canary for key 'x'' for key 'name'"),
            "another row has the same value of the unique index 'name' [1062]"
        );
        assert_eq!(
            shown(1366, "Incorrect integer value: 'canary' for column `d`.`t`.`n` at row 1"),
            "Incorrect integer value for column `d`.`t`.`n` at row 1 [1366]"
        );
        assert!(!shown(CHARSET_OF_TEXT, "Cannot convert string 'canary' from utf8mb4 to latin1").contains("canary"));
        let letter = "Cannot convert 'utf8mb4' character 0xE6BCA2 to 'latin1'";
        assert!(!shown(CHARSET_OF_LETTER, letter).contains("E6BCA2"));
        assert_eq!(
            shown(1292, "Truncated incorrect DOUBLE value: 'canary'"),
            "Truncated incorrect DOUBLE value [1292]"
        );
    }
}
