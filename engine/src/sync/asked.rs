//! Asking a resolver: from contests to what a plugin is told of them, and from its answers to verdicts.

use std::sync::Arc;

use super::base::base;
use super::decide::Ready;
use super::fetch::Weighed;
use super::table::Table;
use super::told;
use crate::merge::{self, Candidate, Verdict};
use crate::model::{NodeId, Stamp};
use crate::plugin::{Change, Dispute, Failure, Resolution, Resolver, Side};

/// What is told between a plugin's name and the versions that it made a row of.
pub(super) const MERGES: &str = "`: merges ";

/// A contest that somebody is asked about, with what it takes to understand the answer.
struct Question<'a> {
    at: usize,
    candidates: Vec<Candidate<'a>>,
    /// For each version as the plugin counts them its place among the candidates.
    order: Vec<usize>,
}

/// What a resolver says about a conflict: a verdict and its reason.
pub(super) type Said = (Verdict, String);

/// A conflict as a resolver was told of it.
pub(super) struct Disputed<'a> {
    dispute: Dispute<'a>,
    /// See [`Question::order`].
    order: Vec<usize>,
}

impl Disputed<'_> {
    /// What the journal keeps of it beside rows. `lost` says of which candidates, by their places, it keeps these.
    pub fn told(&self, table: &Table, lost: impl Fn(usize) -> bool) -> Option<Arc<str>> {
        told::write(table, &self.dispute, |at| lost(self.order[at]))
    }
}

/// What a resolver says about the contests that are conflicts, and what it was told of each. Blocks.
pub(super) fn ask<'a>(
    resolver: &Resolver,
    policy: &merge::Policy,
    contests: &'a [(Weighed, Ready)],
    names: &'a [String],
) -> Vec<Option<(Said, Disputed<'a>)>> {
    let (questions, disputes): (Vec<Question<'a>>, Vec<Dispute<'a>>) = contests
        .iter()
        .enumerate()
        .filter_map(|(at, (weighed, ready))| {
            let candidates = ready.candidates(&weighed.contest, &weighed.tops);
            merge::is_conflict(policy, &candidates)
                .then(|| question(at, weighed, ready, candidates, (policy.recorded(), names)))
        })
        .unzip();
    let answers = resolver.resolve(&disputes);
    let mut all: Vec<Option<(Said, Disputed<'a>)>> = contests.iter().map(|_| None).collect();
    for ((question, dispute), answer) in questions.into_iter().zip(disputes).zip(answers) {
        let said = question.verdict(&resolver.plugin().name, answer, names);
        all[question.at] = Some((said, Disputed { dispute, order: question.order }));
    }
    all
}

fn question<'a>(
    at: usize,
    weighed: &'a Weighed,
    ready: &'a Ready,
    candidates: Vec<Candidate<'a>>,
    (recorded, names): (&[usize], &'a [String]),
) -> (Question<'a>, Dispute<'a>) {
    let name = |node: NodeId| names[node.index()].as_str();
    let stamp = |place: usize| candidates[place].version.stamp;
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    // Nobody's place may depend on who was read first.
    order.sort_by_cached_key(|&place| {
        let version = candidates[place].version;
        (name(version.stamp.node), version.stamp.time, version.vector.write(names))
    });
    let placed = |place: usize| order.iter().position(|&other| other == place).unwrap_or(0);
    let latest = merge::latest(&candidates);
    let start = merge::start(&candidates).unwrap_or(latest);
    let side =
        |&place: &usize| Side { node: name(stamp(place).node), time: stamp(place).time, row: candidates[place].row };
    let mut changes: Vec<(Stamp, i64, Change<'a>)> = Vec::new();
    for (delta, time) in &ready.deltas {
        let seen: Vec<usize> =
            (0..order.len()).filter(|&place| candidates[order[place]].version.vector.saw(&delta.dot)).collect();
        if seen.len() < order.len() {
            let stamp = Stamp { time: *time, node: delta.dot.node };
            let (before, after) = (delta.before.as_ref(), delta.after.as_ref());
            changes.push((
                stamp,
                delta.dot.number,
                Change { node: name(delta.dot.node), time: *time, before, after, seen_by: seen },
            ));
        }
    }
    changes.sort_by_key(|(stamp, number, _)| (*stamp, *number));
    let changes: Vec<Change<'a>> = changes.into_iter().map(|(.., change)| change).collect();
    let base = base(recorded, &candidates, &ready.deltas);
    let dispute = Dispute {
        key: &weighed.key,
        versions: order.iter().map(side).collect(),
        latest: placed(latest),
        start: placed(start),
        base,
        changes,
    };
    (Question { at, candidates, order }, dispute)
}

impl Question<'_> {
    fn verdict(&self, plugin: &str, answer: Result<Resolution, Failure>, names: &[String]) -> Said {
        let told = |place: usize| {
            let stamp = &self.candidates[place].version.stamp;
            format!("{} ({stamp})", names[stamp.node.index()])
        };
        let among = || self.order.iter().map(|&place| told(place)).collect::<Vec<_>>().join(" and ");
        match answer {
            Ok(Resolution::Take(at)) => {
                let place = self.order[at];
                let others = self.order.iter().filter(|&&other| other != place).map(|&other| told(other));
                let others = others.collect::<Vec<_>>().join(" and ");
                (Verdict::Take(place), format!("plugin `{plugin}`: takes {} and not {others}", told(place)))
            }
            Ok(Resolution::Merged(row)) => (Verdict::Merge(row), format!("plugin `{plugin}{MERGES}{}", among())),
            Ok(Resolution::Delete) => (Verdict::Delete, format!("plugin `{plugin}`: deletes, of {}", among())),
            Ok(Resolution::Park(why)) => {
                let reason = format!("plugin `{plugin}` leaves it to a person: {why}");
                (Verdict::Park(reason.clone()), reason)
            }
            Err(failure) => {
                let reason = failure.to_string();
                (Verdict::Park(reason.clone()), reason)
            }
        }
    }
}
