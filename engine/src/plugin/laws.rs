//! The laws of a resolver, tried on the conflicts of a fixture.

use std::sync::Arc;

use super::failure::Failure;
use super::fixture::{Conflict, Fixture, Version, outcome};
use super::load::Plugin;
use super::resolver::{Resolution, Resolver};

/// What holds for every resolver, or several engines could not agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// The answer to a conflict depends on nothing that was asked before or beside it.
    Alone,
    /// It does not depend on the order of the versions.
    Order,
    /// Versions that all are as the outcome stay as they are.
    Rest,
}

impl Law {
    pub fn as_str(&self) -> &'static str {
        match self {
            Law::Alone => "an answer depends on what was asked before or beside it",
            Law::Order => "an answer depends on the order of the versions",
            Law::Rest => "what was decided is decided otherwise when it is asked about again",
        }
    }
}

type Answers = Vec<Result<Resolution, Failure>>;

/// The laws that a plugin breaks, with the number of the first conflict that shows it, counted from 0. `answers` are those
/// to the conflicts of the fixture, asked together.
pub fn broken(plugin: &Arc<Plugin>, fixture: &Fixture, answers: &Answers) -> Result<Vec<(Law, usize)>, Failure> {
    let open = || Resolver::open(Arc::clone(plugin), fixture.shape.clone(), &fixture.config, &fixture.facts);
    let alone = open()?;
    let conflicts: Vec<Conflict> =
        fixture.conflicts.iter().map(|conflict| conflict.recorded(alone.recorded())).collect();
    let ask = |resolver: &Resolver, conflict: &Conflict| resolver.resolve(&[conflict.dispute()]).pop();
    let mut found = Vec::new();
    // One by one, and in the other order.
    for (at, conflict) in conflicts.iter().enumerate().rev() {
        if !same(ask(&alone, conflict).as_ref(), answers.get(at)) {
            found.push((Law::Alone, at));
        }
    }
    let order = open()?;
    for (at, conflict) in conflicts.iter().enumerate().rev() {
        let mirrored = mirrored(conflict);
        let answer = ask(&order, &mirrored).map(|answer| answer.map(|answer| back(answer, conflict.versions.len())));
        let agrees = match (&answer, answers.get(at)) {
            (Some(Ok(one)), Some(Ok(other))) => agree(conflict, one, other),
            (one, other) => same(one.as_ref(), other),
        };
        if !agrees {
            found.push((Law::Order, at));
        }
    }
    let rest = open()?;
    for (at, conflict) in conflicts.iter().enumerate().rev() {
        let Some(Ok(answer)) = answers.get(at) else { continue };
        let Some(row) = outcome(conflict, answer) else { continue };
        let settled = settled(conflict, row);
        match ask(&rest, &settled) {
            Some(Ok(again)) if outcome(&settled, &again) == Some(row) => {}
            _ => found.push((Law::Rest, at)),
        }
    }
    // The first conflict tells most.
    found.sort_by_key(|(law, at)| (*law as usize, *at));
    found.dedup_by_key(|(law, _)| *law);
    Ok(found)
}

fn same(one: Option<&Result<Resolution, Failure>>, other: Option<&Result<Resolution, Failure>>) -> bool {
    match (one, other) {
        (Some(Err(one)), Some(Err(other))) => one.code == other.code,
        (one, other) => one == other,
    }
}

/// Whether two answers come to the same: equal versions may stand for each other.
fn agree(conflict: &Conflict, one: &Resolution, other: &Resolution) -> bool {
    let parks = |answer: &Resolution| matches!(answer, Resolution::Park(_));
    one == other || (parks(one) == parks(other) && outcome(conflict, one) == outcome(conflict, other))
}

/// The same conflict with its versions the other way round.
fn mirrored(conflict: &Conflict) -> Conflict {
    let last = conflict.versions.len() - 1;
    let mut mirrored = conflict.clone();
    mirrored.versions.reverse();
    mirrored.latest = last - conflict.latest;
    mirrored.start = last - conflict.start;
    for change in &mut mirrored.changes {
        change.seen_by.iter_mut().for_each(|place| *place = last - *place);
        change.seen_by.sort_unstable();
    }
    mirrored
}

fn back(answer: Resolution, versions: usize) -> Resolution {
    match answer {
        Resolution::Take(at) => Resolution::Take(versions - 1 - at),
        other => other,
    }
}

/// The conflict as it would be asked about if every version were already as it was decided.
fn settled(conflict: &Conflict, row: &[crate::model::Value]) -> Conflict {
    let version = |version: &Version| Version { row: Some(row.into()), ..version.clone() };
    Conflict { versions: conflict.versions.iter().map(version).collect(), changes: Vec::new(), ..conflict.clone() }
}
