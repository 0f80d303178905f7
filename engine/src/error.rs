//! What can go wrong, and with which exit code the command then ends.

use std::fmt;
use std::io;

use crate::config::Diagnostic;
use crate::fault;
use crate::node::{self, ErrorKind};

/// Everything was done, nothing is left.
pub const DONE: u8 = 0;
/// Differences, conflicts or stopped nodes are left for a person.
pub const ATTENTION: u8 = 1;
/// The command line, the configuration or a database's set-up must be corrected first.
pub const USAGE: u8 = 2;
/// A node could not be reached, or not for long enough. Trying again may help.
pub const UNREACHABLE: u8 = 3;
/// A defect of Concord, or something that it does not know.
pub const INTERNAL: u8 = 4;

/// A failure of a whole command. What concerns only some rows or tables is part of the command's report instead.
///
/// Messages are lower-case fragments that say what failed, where, and what to do; none contains a password or a row.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration file; all problems found, in the order of its lines.
    #[error("{}", Lines(.0))]
    Config(Vec<Diagnostic>),
    /// The command was called with something that cannot be.
    #[error("{0}")]
    Usage(String),
    /// A database did not do what was asked.
    #[error("node `{node}`: {doing}: {source}")]
    Node {
        node: String,
        /// What was being done, such as "reading the history of customers".
        doing: String,
        source: node::Error,
    },
    /// No node could be reached that is needed; a line for each.
    #[error("{}", Lines(.0))]
    Unreachable(Vec<String>),
    /// Checks that failed before anything was changed, each with its remedy.
    #[error("{}", Lines(.0))]
    Refused(Vec<String>),
    /// Going on would do harm, such as after a node was restored from a backup. Says what happened and what to do.
    #[error("{0}")]
    Stopped(String),
    /// The report could not be written, such as to a closed pipe.
    #[error("writing the output: {0}")]
    Output(#[from] io::Error),
    /// What should not have happened.
    #[error("internal error: {0}; please report it")]
    Internal(String),
}

impl From<fault::Fault> for Error {
    fn from(fault: fault::Fault) -> Error {
        Error::Stopped(fault.to_string())
    }
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// For `map_err`: an error of the node of this name, while `doing` something.
    pub fn at(node: &str, doing: impl Into<String>) -> impl FnOnce(node::Error) -> Error {
        let (node, doing) = (node.to_owned(), doing.into());
        move |source| Error::Node { node, doing, source }
    }

    /// The code with which the command ends.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Config(_) | Error::Usage(_) | Error::Refused(_) => USAGE,
            Error::Node { source, .. } => match source.kind {
                ErrorKind::Lost | ErrorKind::Login | ErrorKind::Retry | ErrorKind::Locked => UNREACHABLE,
                ErrorKind::Rights | ErrorKind::Service | ErrorKind::Drift => USAGE,
                ErrorKind::Constraint(_) | ErrorKind::Value | ErrorKind::Other => INTERNAL,
            },
            Error::Unreachable(_) => UNREACHABLE,
            Error::Stopped(_) => ATTENTION,
            // Whoever closed the pipe has seen enough.
            Error::Output(why) if why.kind() == io::ErrorKind::BrokenPipe => DONE,
            Error::Output(_) | Error::Internal(_) => INTERNAL,
        }
    }

    /// Whether there is anything to tell the user; nothing is to be said about a closed pipe.
    pub fn is_silent(&self) -> bool {
        self.exit_code() == DONE
    }
}

/// Several messages, one after the other.
struct Lines<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Lines<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, line) in self.0.iter().enumerate() {
            let newline = if n == 0 { "" } else { "\n" };
            write!(f, "{newline}{line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_tell_what_to_do_next() {
        let node = |kind| Error::at("office", "connecting")(node::Error::new(kind, "no"));
        for (error, code) in [
            (Error::Config(Vec::new()), USAGE),
            (Error::Usage(String::new()), USAGE),
            (Error::Refused(Vec::new()), USAGE),
            (node(ErrorKind::Lost), UNREACHABLE),
            (node(ErrorKind::Login), UNREACHABLE),
            (node(ErrorKind::Retry), UNREACHABLE),
            (node(ErrorKind::Locked), UNREACHABLE),
            (node(ErrorKind::Rights), USAGE),
            (node(ErrorKind::Other), INTERNAL),
            (Error::Stopped(String::new()), ATTENTION),
            (Error::Output(io::ErrorKind::BrokenPipe.into()), DONE),
            (Error::Output(io::ErrorKind::StorageFull.into()), INTERNAL),
        ] {
            assert_eq!(error.exit_code(), code, "{error:?}");
        }
        assert_eq!(node(ErrorKind::Lost).to_string(), "node `office`: connecting: no");
        assert_eq!(Error::Refused(vec!["a".into(), "b".into()]).to_string(), "a\nb");
    }
}
