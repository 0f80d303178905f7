//! Decisions: which of several versions of a row becomes the row everywhere. Pure functions of what was read; they know no
//! database, no order of arrival and no node that is "ours".

mod policy;
mod sum;

use std::borrow::Cow;

use crate::model::{NodeId, Row, Stamp, Vector};

pub use policy::{Policy, SUMS, Verdict, latest};
pub use sum::{Delta, added_up, to_names, to_singles};

/// One node's content of one key, with what it has seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// Where it stands or waits.
    pub node: NodeId,
    /// Whether it waits there because the node could not take it yet, beside another version that stands there.
    pub waiting: bool,
    /// Whether it stands at a node where another version waits, so that the node has passed changes which this content
    /// lacks.
    pub behind: bool,
    pub vector: Vector,
    pub stamp: Stamp,
}

impl Version {
    /// Whether the same change came out of it, as it should where two have seen the same. A conflict that was decided twice,
    /// each time without one of the nodes, may have come out differently if a clock or the policy was changed in between. Two merges
    /// under the same latest change are not told apart.
    pub fn decided_alike(&self, other: &Version) -> bool {
        self.stamp.node == other.stamp.node
    }
}

/// A version with its content: `None` where the row is deleted.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    pub version: &'a Version,
    pub row: Option<&'a Row>,
}

/// The versions that no other version has seen, by their places in `versions`.
///
/// Of versions that have seen the same, one stands for all: the first that does not wait, in the order given. With `rivals`
/// that is so only of those that were decided alike, by [`Version::decided_alike`]. One result means that it can be carried
/// on as it is; more are a conflict.
pub fn tops(versions: &[&Version], rivals: bool) -> Vec<usize> {
    let replaced = |at: usize| {
        let version = versions[at];
        versions.iter().enumerate().any(|(other_at, other)| {
            let first = || (other.waiting, other_at) < (version.waiting, at);
            let stands_for_it = || first() && (!rivals || other.decided_alike(version));
            other_at != at
                && other.vector.includes(&version.vector)
                && (!version.vector.includes(&other.vector) || stands_for_it())
        })
    };
    (0..versions.len()).filter(|&at| !replaced(at)).collect()
}

/// What a key becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub verdict: Verdict,
    /// Everything that went into it.
    pub vector: Vector,
    pub stamp: Stamp,
    /// Whether versions had to be weighed against each other and differed.
    pub conflict: bool,
    /// In words, for the journal.
    pub reason: Cow<'static, str>,
}

/// Whether the versions that are left have to be weighed against each other; `tops` holds at least one.
pub fn is_conflict(policy: &Policy, tops: &[Candidate<'_>]) -> bool {
    let same = tops.iter().all(|top| top.row == tops[0].row);
    tops.len() > 1 && (!same || policy.merges())
}

/// Decides between the versions that are left. `tops` holds at least one; `seen` is what all versions together have seen;
/// `deltas` are the recorded changes of the key, for policies that ask for them. `asked` is the verdict and its reason where
/// somebody else was asked.
pub fn decide(
    policy: &Policy,
    tops: &[Candidate<'_>],
    seen: Vector,
    deltas: &[Delta],
    names: &[String],
    asked: Option<(Verdict, String)>,
) -> Outcome {
    let latest = policy::latest(tops);
    if !is_conflict(policy, tops) {
        let reason = Cow::Borrowed(if tops.len() == 1 { "the only change" } else { "the same content everywhere" });
        let stamp = tops[latest].version.stamp;
        return Outcome { verdict: Verdict::Take(latest), vector: seen, stamp, conflict: false, reason };
    }
    let (verdict, reason) = asked.unwrap_or_else(|| policy.resolve(tops, deltas, names));
    let stamp = match &verdict {
        Verdict::Take(at) => tops[*at].version.stamp,
        _ => tops[latest].version.stamp,
    };
    Outcome { verdict, vector: seen, stamp, conflict: true, reason: reason.into() }
}

/// The place of the version from which to add up what changes did: those that it has not seen are all recorded.
///
/// A version that waits is the best, since the changes that went into it may not be recorded any more; one that is behind is
/// the worst, since those that it lacks may not be either.
pub fn start(tops: &[Candidate<'_>]) -> Option<usize> {
    let with_row = tops.iter().enumerate().filter(|(_, top)| top.row.is_some());
    with_row
        .max_by_key(|(_, top)| (!top.version.behind, top.version.waiting, top.version.stamp))
        .map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Dot;
    use proptest::prelude::*;

    fn version(node: u16, dots: &[(u16, i64)], time: i64) -> Version {
        let mut vector = Vector::EMPTY;
        for &(node, number) in dots {
            vector.add(Dot { node: NodeId(node), number, mark: number });
        }
        Version { node: NodeId(node), waiting: false, behind: false, vector, stamp: Stamp { time, node: NodeId(node) } }
    }

    fn tops(versions: &[Version]) -> Vec<usize> {
        super::tops(&versions.iter().collect::<Vec<_>>(), true)
    }

    #[test]
    fn a_version_that_has_seen_another_replaces_it_whatever_the_clocks_say() {
        let versions = [version(0, &[(0, 1)], 100), version(1, &[(0, 1), (1, 1)], 50)];
        assert_eq!(tops(&versions), [1]);
    }

    #[test]
    fn versions_unseen_by_each_other_conflict_and_equals_are_one() {
        let mut versions =
            [version(0, &[(0, 1)], 1), version(1, &[(1, 1)], 2), version(2, &[(1, 1)], 2), version(3, &[], i64::MIN)];
        versions[2].stamp.node = NodeId(1);
        assert_eq!(tops(&versions), [0, 1]);
    }

    #[test]
    fn versions_that_have_seen_the_same_and_were_decided_differently_conflict() {
        let versions = [version(0, &[(0, 1), (1, 1)], 1), version(1, &[(0, 1), (1, 1)], 2)];
        assert_eq!(tops(&versions), [0, 1]);
        assert_eq!(super::tops(&versions.iter().collect::<Vec<_>>(), false), [0]);
    }

    #[test]
    fn the_one_that_stands_is_preferred_to_its_equal_that_waits() {
        let mut versions = [version(0, &[(1, 1)], 1), version(1, &[(1, 1)], 1)];
        versions[0].waiting = true;
        versions[0].stamp.node = NodeId(1);
        assert_eq!(tops(&versions), [1]);
    }

    proptest! {
        /// Promise 11: neither the order in which nodes are read nor repetition changes the outcome.
        #[test]
        fn the_outcome_does_not_depend_on_the_order_of_the_versions(
            list in prop::collection::vec((prop::collection::vec((0..4u16, 1..4i64), 0..4),), 1..5),
            turn in 0..5usize,
        ) {
            // Content and time are functions of what was seen, as they are in the real thing.
            let mut versions: Vec<Version> = list
                .iter()
                .enumerate()
                .map(|(n, (dots,))| {
                    let mut version = version(n as u16, dots, 0);
                    let seen = version.vector.dots().iter().map(|dot| dot.number * 10i64.pow(dot.node.0.into()));
                    version.stamp = Stamp { time: seen.sum(), node: NodeId(0) };
                    version
                })
                .collect();
            let decide_all = |versions: &[Version]| {
                let rows: Vec<Row> = versions.iter().map(|v| {
                    vec![crate::model::Value::text(v.vector.write(&["a".into(), "b".into(), "c".into(), "d".into()]))].into()
                }).collect();
                let tops = tops(versions);
                let candidates: Vec<Candidate> =
                    tops.iter().map(|&at| Candidate { version: &versions[at], row: Some(&rows[at]) }).collect();
                let outcome = decide(&Policy::LatestWins, &candidates, Vector::EMPTY, &[], &vec!["n".to_owned(); 5], None);
                match outcome.verdict {
                    Verdict::Take(at) => candidates[at].row.cloned(),
                    _ => unreachable!("latest-wins takes a version"),
                }
            };
            let first = decide_all(&versions);
            let turn = turn % versions.len();
            versions.rotate_left(turn);
            prop_assert_eq!(decide_all(&versions), first);
        }

        #[test]
        fn something_is_always_left(list in prop::collection::vec(prop::collection::vec((0..4u16, 1..4i64), 0..4), 1..6)) {
            let versions: Vec<Version> = list.iter().enumerate().map(|(n, dots)| version(n as u16, dots, 0)).collect();
            let tops = tops(&versions);
            prop_assert!(!tops.is_empty());
            for (at, version) in versions.iter().enumerate() {
                let seen = tops.iter().any(|&top| versions[top].vector.includes(&version.vector));
                prop_assert!(seen, "nobody has seen version {}", at);
            }
        }
    }
}
