//! The built-in policies.

use super::sum::{self, Delta};
use super::{Candidate, Version};
use crate::model::{NodeId, Row, Stamp};

/// How the conflicts of a table are decided.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Policy {
    /// The latest change wins.
    #[default]
    LatestWins,
    /// The earliest change wins.
    EarliestWins,
    /// The first of these nodes that has a version wins, with its latest; the latest change if none has.
    Prefer(Vec<NodeId>),
    /// Nobody wins until a person decides.
    Park,
    /// These columns (places in the shared row) add up what every change did to them, each counted once; the others are
    /// those of the latest change.
    Sum(Vec<usize>),
    /// Somebody else is asked, who is told what each change did to the columns at these places in the shared row.
    Asked { recorded: Vec<usize> },
}

/// What is told of a row in which columns are added up.
pub const SUMS: &str = "sum: every change counted once";

/// The answer of a policy.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The version at this place among those that were weighed.
    Take(usize),
    /// A row made of several.
    Merge(Row),
    /// The row is deleted.
    Delete,
    /// None; the text says why.
    Park(String),
}

impl Policy {
    /// Whether the outcome may differ from every version, so that even equal versions have to be merged.
    pub fn merges(&self) -> bool {
        !self.recorded().is_empty()
    }

    /// The places in the shared row of the columns of which each change's before and after are recorded.
    pub fn recorded(&self) -> &[usize] {
        match self {
            Policy::Sum(columns) | Policy::Asked { recorded: columns } => columns,
            _ => &[],
        }
    }

    /// The name used in the configuration file.
    pub fn name(&self) -> &'static str {
        match self {
            Policy::LatestWins => "latest-wins",
            Policy::EarliestWins => "earliest-wins",
            Policy::Prefer(_) => "prefer",
            Policy::Park => "park",
            Policy::Sum(_) => "sum",
            Policy::Asked { .. } => "plugin",
        }
    }

    /// Decides between versions that have not seen each other, and says why.
    pub(super) fn resolve(&self, tops: &[Candidate<'_>], deltas: &[Delta], names: &[String]) -> (Verdict, String) {
        let name = |version: &Version| names[version.stamp.node.index()].as_str();
        let at = |stamp: &Stamp| format!("{} ({stamp})", names[stamp.node.index()]);
        let others = |winner: usize| {
            let others = tops.iter().enumerate().filter(|(place, _)| *place != winner);
            others.map(|(_, top)| at(&top.version.stamp)).collect::<Vec<_>>().join(" and ")
        };
        let compared = |winner: usize, word: &str| {
            let stamp = &tops[winner].version.stamp;
            if tops.iter().all(|top| top.version.stamp.time == stamp.time) {
                format!(
                    "{}: written at the same time, {stamp}; {} stands first in the file",
                    self.name(),
                    name(tops[winner].version)
                )
            } else {
                format!("{}: {} is {word} than {}", self.name(), at(stamp), others(winner))
            }
        };
        match self {
            Policy::LatestWins => {
                let winner = latest(tops);
                (Verdict::Take(winner), compared(winner, "later"))
            }
            Policy::EarliestWins => {
                // The earliest time; at equal times the node that stands first, as everywhere.
                let earliest = |(_, top): &(usize, &Candidate<'_>)| (top.version.stamp.time, top.version.stamp.node);
                let winner = tops.iter().enumerate().min_by_key(earliest).map_or(0, |(place, _)| place);
                (Verdict::Take(winner), compared(winner, "earlier"))
            }
            Policy::Prefer(nodes) => {
                // Of one node there may be several, where some nodes have heard less of it than others.
                let of = |node: &NodeId| {
                    let own = tops.iter().enumerate().filter(|(_, top)| top.version.stamp.node == *node);
                    own.max_by_key(|(_, top)| top.version.stamp).map(|(place, _)| place)
                };
                match nodes.iter().find_map(of) {
                    Some(winner) => {
                        let reason = format!("prefer: {} goes before {}", name(tops[winner].version), others(winner));
                        (Verdict::Take(winner), reason)
                    }
                    None => {
                        let winner = latest(tops);
                        (Verdict::Take(winner), compared(winner, "later"))
                    }
                }
            }
            Policy::Park => {
                let mut stamps: Vec<Stamp> = tops.iter().map(|top| top.version.stamp).collect();
                stamps.sort_by_key(|stamp| stamp.node);
                let all: Vec<String> = stamps.iter().map(at).collect();
                let reason =
                    format!("changed at {}, and the policy `park` leaves the decision to a person", all.join(" and "));
                (Verdict::Park(reason.clone()), reason)
            }
            Policy::Sum(columns) => {
                let verdict = sum::merge(columns, tops, deltas, latest(tops));
                let reason = match &verdict {
                    Verdict::Park(why) => why.clone(),
                    _ => format!("{SUMS}; the other columns from {}", at(&tops[latest(tops)].version.stamp)),
                };
                (verdict, reason)
            }
            Policy::Asked { .. } => {
                let reason = "whoever decides was not asked".to_owned();
                (Verdict::Park(reason.clone()), reason)
            }
        }
    }
}

/// The place of the latest version.
pub fn latest(tops: &[Candidate<'_>]) -> usize {
    tops.iter().enumerate().max_by_key(|(_, top)| top.version.stamp).map_or(0, |(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Value, Vector};

    fn decided(policy: &Policy, times: &[(u16, i64)]) -> (Verdict, String) {
        let versions: Vec<Version> = times
            .iter()
            .map(|&(node, time)| Version {
                node: NodeId(node),
                waiting: false,
                behind: false,
                vector: Vector::EMPTY,
                stamp: Stamp { time, node: NodeId(node) },
            })
            .collect();
        let rows: Vec<Row> = times.iter().map(|&(node, _)| vec![Value::Int(node.into())].into()).collect();
        let tops: Vec<Candidate> =
            versions.iter().zip(&rows).map(|(version, row)| Candidate { version, row: Some(row) }).collect();
        policy.resolve(&tops, &[], &["a".to_owned(), "b".to_owned(), "c".to_owned()])
    }

    #[test]
    fn policies_take_what_they_say() {
        let second = 1_000_000;
        let (verdict, reason) = decided(&Policy::LatestWins, &[(0, second), (1, 2 * second)]);
        assert_eq!(verdict, Verdict::Take(1));
        assert_eq!(reason, "latest-wins: b (1970-01-01 00:00:02+00:00) is later than a (1970-01-01 00:00:01+00:00)");
        assert_eq!(decided(&Policy::LatestWins, &[(1, 5), (0, 5)]).0, Verdict::Take(1));
        assert_eq!(decided(&Policy::EarliestWins, &[(0, 2), (1, 1)]).0, Verdict::Take(1));
        assert_eq!(decided(&Policy::EarliestWins, &[(1, 1), (0, 1)]).0, Verdict::Take(1));
        assert_eq!(decided(&Policy::Prefer(vec![NodeId(2), NodeId(0)]), &[(0, 1), (1, 9)]).0, Verdict::Take(0));
        assert_eq!(decided(&Policy::Prefer(vec![NodeId(2)]), &[(0, 1), (1, 9)]).0, Verdict::Take(1));
        assert!(matches!(decided(&Policy::Park, &[(0, 1), (1, 9)]).0, Verdict::Park(_)));
    }

    #[test]
    fn of_several_versions_of_a_preferred_node_the_latest_wins() {
        let prefer = Policy::Prefer(vec![NodeId(1)]);
        assert_eq!(decided(&prefer, &[(1, 1), (1, 3), (0, 9)]).0, Verdict::Take(1));
        assert_eq!(decided(&prefer, &[(1, 3), (0, 9), (1, 1)]).0, Verdict::Take(0));
    }
}
