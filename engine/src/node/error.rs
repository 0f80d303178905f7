//! What can go wrong at a database, in kinds that the engine acts upon.

use std::fmt;

use crate::model::TableSpec;

/// What can be done about changes of a table that was recorded in another way than it is to be now.
pub const OF_FORMER_SHAPE: &str = "either give the table, its policy and its mapping their former shape once more, run `concord install` and `concord sync`, \
     and change them then; or run `concord reset`, which gives up what is not carried of every table, and then `concord load`";

/// A failure at one database. The text says what was being done and what the database answered; it never contains a
/// URL's password nor the values of a row.
#[derive(Debug)]
pub struct Error {
    pub kind: ErrorKind,
    message: String,
}

/// What to do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// No connection, or it broke. The outcome of a commit in flight is unknown; read the positions again.
    Lost,
    /// Name or password refused, or the right to connect.
    Login,
    /// Deadlock, serialization failure, no room on the disk or in memory: the same batch again, after a moment.
    Retry,
    /// Somebody held for too long what a statement needs locked: a row, a unique value or a table. Like [`ErrorKind::Retry`];
    /// but what was done since the last savepoint can be undone, and others of the rows written.
    Locked,
    /// A constraint refused a row.
    Constraint(Constraint),
    /// A value was refused: out of range, too long, malformed.
    Value,
    /// A table or column is not what it was: look at the catalogue again.
    Drift,
    /// The user lacks a right.
    Rights,
    /// A newer Concord installed the service tables, or they are damaged.
    Service,
    /// Anything else.
    Other,
}

/// Which kind of constraint refused a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constraint {
    /// Another row stands in the way: a unique index or, on PostgreSQL, an exclusion constraint.
    Unique,
    Reference,
    /// CHECK, NOT NULL, or an exception raised by a trigger.
    Other,
}

/// With what begins who is in the way, after "; ".
pub(super) const IN_THE_WAY: &str = "in the way: ";

/// What is told of something that somebody else holds locked, after its name.
pub const HELD: &str =
    "locked by somebody else, who did not give it free in time; run the command again when that transaction has ended";

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into() }
    }

    /// The same error, told with what was being done: "`doing`: `message`".
    pub fn while_doing(mut self, doing: impl fmt::Display) -> Error {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// The same error, told with what more there is to say: "`message`; `more`".
    pub fn with(mut self, more: impl fmt::Display) -> Error {
        self.message = format!("{}; {more}", self.message);
        self
    }

    /// The same error, told with what is locked if it is about a lock.
    pub fn held_at(self, what: impl fmt::Display) -> Error {
        if self.is_lock() { self.while_doing(what) } else { self }
    }

    /// Whether it is a lock that did not come free in time, also where the whole transaction went with it.
    pub fn is_lock(&self) -> bool {
        self.kind == ErrorKind::Locked || self.kind == ErrorKind::Retry && self.message.contains(HELD)
    }

    /// Whether it is about a lock and does not say of what.
    pub(super) fn is_unnamed_lock(&self) -> bool {
        self.is_lock() && self.message.starts_with(HELD)
    }

    /// A table is not what it was when it was read.
    pub fn changed(table: &TableSpec, what: &str) -> Error {
        Error::new(ErrorKind::Drift, format!("the table {} was changed meanwhile{what}", table.full_name()))
    }

    /// A table's history would have to be made anew, and holds this many changes, which were promised to be carried.
    pub(super) fn holds_changes(table: &TableSpec, changes: u64) -> Error {
        let changes = if changes == 1 { "1 change".to_owned() } else { format!("{changes} changes") };
        Error::new(
            ErrorKind::Drift,
            format!(
                "`{}` has to be recorded in another way now, and {changes} recorded in the former way may not have arrived \
                 everywhere; nothing of them was given up: {OF_FORMER_SHAPE}",
                table.name
            ),
        )
    }

    /// Whether it is a lock that did not come free in time, or room that is lacking, so that trying again later may help.
    pub fn may_pass(&self) -> bool {
        matches!(self.kind, ErrorKind::Locked | ErrorKind::Retry)
    }

    /// Whether the node is away for the time being, so that the others go on without it.
    pub fn is_absence(&self) -> bool {
        matches!(self.kind, ErrorKind::Lost | ErrorKind::Login)
    }

    /// Whether the error concerns the rows that were written, so that without some of them the others can be.
    pub fn is_about_rows(&self) -> bool {
        matches!(self.kind, ErrorKind::Constraint(_) | ErrorKind::Value)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// A reason without those who hold or wait for a lock: they may be others each time that the same is told.
pub fn without_holders(why: &str) -> String {
    why.split("; ").filter(|part| !part.starts_with(IN_THE_WAY)).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_lock_can_be_left_out() {
        let error = |processes: &str| {
            Error::new(ErrorKind::Locked, HELD).held_at("items").with(format!("{IN_THE_WAY}{processes}")).to_string()
        };
        let (one, two) = (error("process 1 holds items, process 2 waits for items"), error("process 3 holds items"));
        assert_ne!(one, two);
        assert_eq!(without_holders(&one), without_holders(&two));
        let both = |first: &str| format!("node `a`: {first}; node `b`: no");
        assert_eq!(without_holders(&both(&one)), format!("node `a`: items: {HELD}; node `b`: no"));
    }

    #[test]
    fn a_lock_is_told_with_its_table_where_the_transaction_went_with_it() {
        let held = |kind, message: &str| Error::new(kind, message).held_at("items").to_string();
        assert_eq!(held(ErrorKind::Retry, HELD), format!("items: {HELD}"));
        assert_eq!(held(ErrorKind::Retry, "deadlock"), "deadlock");
    }

    #[test]
    fn a_lock_that_was_named_is_known() {
        for kind in [ErrorKind::Locked, ErrorKind::Retry] {
            assert!(Error::new(kind, HELD).is_unnamed_lock());
            let named = Error::new(kind, HELD).held_at("items");
            assert!(named.is_lock() && !named.is_unnamed_lock());
        }
        assert!(!Error::new(ErrorKind::Retry, "deadlock").is_unnamed_lock());
    }
}
