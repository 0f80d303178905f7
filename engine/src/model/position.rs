//! How far a node has come in another node's history, and what proves that the history is still the same.

use std::fmt;
use std::str::FromStr;

use super::cut::{BadCut, Cut};

/// Up to where a node has applied a table of a source.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Position {
    pub cut: Cut,
    /// `None` before the first change, and where a Concord that kept none was the last to move it.
    pub witness: Option<Witness>,
}

impl From<Cut> for Position {
    fn from(cut: Cut) -> Position {
        Position { cut, witness: None }
    }
}

/// What the source has to know for the position to mean anything: the last entries before it. A database that was put
/// back to a moment before them does not, however many numbers it has given out since.
///
/// The text form, kept in the service tables, is `installation mark#id@time[,mark#id@time…]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The [`uuid`](crate::node::Service::uuid) under which the source showed them.
    pub installation: String,
    pub entries: Vec<EntryId>,
}

/// An entry of a history as no other ever is: its number may be given out again, but not at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryId {
    pub mark: i64,
    pub id: i64,
    /// µs, as it stands in the history.
    pub time: i64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}@{}", self.mark, self.id, self.time)
    }
}

impl FromStr for EntryId {
    type Err = BadCut;

    fn from_str(text: &str) -> Result<EntryId, BadCut> {
        let parse = || {
            let (mark, rest) = text.split_once('#')?;
            let (id, time) = rest.split_once('@')?;
            Some(EntryId { mark: mark.parse().ok()?, id: id.parse().ok()?, time: time.parse().ok()? })
        };
        parse().ok_or_else(|| BadCut(text.to_owned()))
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.installation)?;
        for (n, entry) in self.entries.iter().enumerate() {
            write!(f, "{}{entry}", if n == 0 { ' ' } else { ',' })?;
        }
        Ok(())
    }
}

impl FromStr for Witness {
    type Err = BadCut;

    fn from_str(text: &str) -> Result<Witness, BadCut> {
        let (installation, entries) = text.rsplit_once(' ').ok_or_else(|| BadCut(text.to_owned()))?;
        let entries = entries.split(',').map(EntryId::from_str).collect::<Result<_, _>>()?;
        Ok(Witness { installation: installation.to_owned(), entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let entry = |mark, id, time| EntryId { mark, id, time };
        for entries in [vec![entry(7, 3, 1_000_000)], vec![entry(9, 2, -5), entry(8, 4, i64::MAX)]] {
            let witness = Witness { installation: "0b5e-1".to_owned(), entries };
            assert_eq!(witness.to_string().parse::<Witness>().unwrap(), witness);
        }
        for bad in ["", "x", "x ", "x 1#2", "x 1#2@3,", "x 1#2@y"] {
            assert!(bad.parse::<Witness>().is_err(), "{bad}");
        }
    }
}
