//! The laws of a role, tried on the cases of a fixture.

use std::sync::Arc;

use super::failure::{Failure, Role};
use super::filter::Filter;
use super::fixture::{Conflict, Fixture, Mapped, Version, outcome};
use super::load::Plugin;
use super::mapping::{Mapping, Put, TO_SHARED};
use super::resolver::{Resolution, Resolver};
use super::shape::Shape;
use crate::model::{Row, Type, Value, row_to_json};

/// What holds for every plugin, or several engines could not agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// The answer to a case depends on nothing that was asked before or beside it.
    Alone,
    /// A resolver's does not depend on the order of the versions.
    Order,
    /// Versions that all are as the outcome stay as they are.
    Rest,
    /// So does the outcome where the latest version is as it and the others are as they were.
    Settled,
    /// Nor does one about a row on the order of the rows.
    Rows,
    /// It is the same whenever it is asked for.
    Again,
    /// What a mapping puts at a node is what it gets from there.
    Put,
    /// Putting back what it got changes nothing.
    Got,
    /// An integer that no float holds is not rounded to one that some float does.
    Exact,
    /// What is answered alone is answered in a call of several as well.
    Together,
}

impl Law {
    pub fn as_str(&self) -> &'static str {
        match self {
            Law::Alone => "an answer depends on what was asked before or beside it",
            Law::Order => "an answer depends on the order of the versions",
            Law::Rest => "what was decided is decided otherwise when it is asked about again",
            Law::Settled => "what was decided is decided otherwise beside the versions that it came from",
            Law::Rows => "an answer depends on the order of the rows",
            Law::Again => "an answer is another one when it is asked for again",
            Law::Put => "what was put is not what is got",
            Law::Got => "putting back what was got changes the row",
            Law::Exact => "an integer beyond 2^53 is rounded, as where integers are floats",
            Law::Together => "cases that are answered alone fail in a call of several",
        }
    }

    /// In a word, for names of files.
    pub fn name(&self) -> &'static str {
        match self {
            Law::Alone => "alone",
            Law::Order => "order",
            Law::Rest => "rest",
            Law::Settled => "settled",
            Law::Rows => "rows",
            Law::Again => "again",
            Law::Put => "put",
            Law::Got => "got",
            Law::Exact => "exact",
            Law::Together => "together",
        }
    }
}

type Answers = Vec<Result<Resolution, Failure>>;

/// The laws that a plugin breaks in the role that a fixture is for, with the number of the first case that shows it. Fails if the
/// role cannot be opened, or makes another shape than the fixture says.
pub fn tried(plugin: &Arc<Plugin>, fixture: &Fixture) -> Result<Vec<(Law, usize)>, Failure> {
    let (shape, config, facts) = (fixture.shape.clone(), &fixture.config, &fixture.facts);
    match fixture.role(plugin).map_err(|why| Failure::new(&plugin.name, "fixture", why))? {
        Role::Filter => {
            let filter = Filter::open(Arc::clone(plugin), shape, config, facts)?;
            let answers = filter.judge(&fixture.rows.iter().map(|judged| &judged.row).collect::<Vec<_>>());
            broken_by_filter(plugin, fixture, &answers)
        }
        Role::Mapping => {
            let mapping = Mapping::open(Arc::clone(plugin), shape, config, facts)?;
            if fixture.made.as_ref() != Some(mapping.shape()) {
                // Rows of one shape are none of another.
                return Err(Failure::new(&plugin.name, "fixture", "it makes another shape than the fixture says"));
            }
            let (locals, puts) = (fixture.locals.iter().collect::<Vec<_>>(), fixture.puts.iter().collect::<Vec<_>>());
            broken_by_mapping(plugin, fixture, &mapped(&mapping, &locals, &puts))
        }
        Role::Resolver => {
            let resolver = Resolver::open(Arc::clone(plugin), shape, config, facts)?;
            let asked: Vec<_> = fixture.conflicts.iter().map(|one| one.recorded(resolver.recorded())).collect();
            let answers = resolver.resolve(&asked.iter().map(Conflict::dispute).collect::<Vec<_>>());
            broken(plugin, fixture, &answers)
        }
    }
}

/// The laws that a resolver breaks, with the number of the first conflict that shows it, counted from 0. `answers` are those
/// to the conflicts of the fixture, asked together.
pub fn broken(plugin: &Arc<Plugin>, fixture: &Fixture, answers: &Answers) -> Result<Vec<(Law, usize)>, Failure> {
    let open = || Resolver::open(Arc::clone(plugin), fixture.shape.clone(), &fixture.config, &fixture.facts);
    let mut found = of_several(plugin, fixture)?;
    let alone = open()?;
    let conflicts: Vec<Conflict> =
        fixture.conflicts.iter().map(|conflict| conflict.recorded(alone.recorded())).collect();
    let ask = |resolver: &Resolver, conflict: &Conflict| resolver.resolve(&[conflict.dispute()]).pop();
    // One by one, and in the other order.
    for (at, conflict) in conflicts.iter().enumerate().rev() {
        if !same(ask(&alone, conflict).as_ref(), answers.get(at)) {
            found.push((Law::Alone, at));
        }
    }
    let order = open()?;
    for (at, conflict) in conflicts.iter().enumerate().rev() {
        let agrees = |places: &Vec<usize>| {
            let answer = ask(&order, &ordered(conflict, places));
            let answer = answer.map(|answer| answer.map(|answer| back(answer, places)));
            match (&answer, answers.get(at)) {
                (Some(Ok(one)), Some(Ok(other))) => agree(conflict, one, other),
                (one, other) => same(one.as_ref(), other),
            }
        };
        if !orders(conflict.versions.len()).iter().all(agrees) {
            found.push((Law::Order, at));
        }
    }
    let rest = open()?;
    for (at, conflict) in conflicts.iter().enumerate().rev() {
        let Some(Ok(answer)) = answers.get(at) else { continue };
        let Some(row) = outcome(conflict, answer) else { continue };
        // Who goes by changes would be told that there were none.
        let beside = conflict.changes.is_empty().then(|| (Law::Settled, beside(conflict, row)));
        for (law, again) in [(Law::Rest, settled(conflict, row))].into_iter().chain(beside) {
            match ask(&rest, &again) {
                Some(Ok(answer)) if outcome(&again, &answer) == Some(row) => {}
                _ => found.push((law, at)),
            }
        }
    }
    for (at, conflict) in conflicts.iter().enumerate() {
        let Some(wide) = conflict.versions.iter().find_map(|version| widened(version.row.as_ref()?, &fixture.shape))
        else {
            continue;
        };
        let all_wide = settled(conflict, &wide);
        if let Some(Ok(answer)) = ask(&rest, &all_wide)
            && outcome(&all_wide, &answer).is_some_and(|row| rounded(&wide, row))
        {
            found.push((Law::Exact, at));
        }
    }
    Ok(first(found))
}

/// The laws that a filter breaks, with the number of the first row that shows it, counted from 0. `answers` are those to
/// the rows of the fixture, asked together.
pub fn broken_by_filter(
    plugin: &Arc<Plugin>,
    fixture: &Fixture,
    answers: &[Result<bool, Failure>],
) -> Result<Vec<(Law, usize)>, Failure> {
    let open = || Filter::open(Arc::clone(plugin), fixture.shape.clone(), &fixture.config, &fixture.facts);
    let rows: Vec<&Row> = fixture.rows.iter().map(|judged| &judged.row).collect();
    let mut found = of_several(plugin, fixture)?;
    // Each alone, by an instance that was asked nothing else.
    for (at, row) in rows.iter().enumerate() {
        if !same(open()?.judge(&[row]).first(), answers.get(at)) {
            found.push((Law::Alone, at));
        }
    }
    // In the other order and in this one, so that also a single row stands at two places.
    let mirrored: Vec<&Row> = rows.iter().rev().chain(&rows).copied().collect();
    let judged = open()?.judge(&mirrored);
    for (at, answer) in answers.iter().enumerate() {
        let places = [rows.len() - 1 - at, rows.len() + at];
        if places.iter().any(|&place| !same(judged.get(place), Some(answer))) {
            found.push((Law::Rows, at));
        }
    }
    let again = open()?;
    again.judge(&rows);
    let judged = again.judge(&rows);
    for (at, answer) in answers.iter().enumerate() {
        if !same(judged.get(at), Some(answer)) {
            found.push((Law::Again, at));
        }
    }
    Ok(first(found))
}

/// The laws that a mapping breaks, with the number of the first row that shows it, counted from 0 through `locals` and `puts` of the
/// fixture. `answers` are those to both, asked together.
pub fn broken_by_mapping(
    plugin: &Arc<Plugin>,
    fixture: &Fixture,
    answers: &[Result<Row, Failure>],
) -> Result<Vec<(Law, usize)>, Failure> {
    let open = || Mapping::open(Arc::clone(plugin), fixture.shape.clone(), &fixture.config, &fixture.facts);
    let (locals, puts) = (fixture.locals.iter().collect::<Vec<_>>(), fixture.puts.iter().collect::<Vec<_>>());
    let mut found = of_several(plugin, fixture)?;
    let differ = |law: Law, again: &[Result<Row, Failure>]| {
        let other = |at: &usize| !same(again.get(*at), answers.get(*at));
        (0..answers.len()).filter(other).map(|at| (law, at)).collect::<Vec<_>>()
    };
    let mut alone = Vec::new();
    for local in &locals {
        alone.extend(mapped(&open()?, &[local], &[]));
    }
    for put in &puts {
        alone.extend(mapped(&open()?, &[], &[put]));
    }
    found.extend(differ(Law::Alone, &alone));
    let (back, puts_back) =
        (locals.iter().rev().copied().collect::<Vec<_>>(), puts.iter().rev().copied().collect::<Vec<_>>());
    let mut mirrored = mapped(&open()?, &back, &puts_back);
    let mut of_puts = mirrored.split_off(locals.len().min(mirrored.len()));
    mirrored.reverse();
    of_puts.reverse();
    mirrored.extend(of_puts);
    found.extend(differ(Law::Rows, &mirrored));
    let again = open()?;
    mapped(&again, &locals, &puts);
    found.extend(differ(Law::Again, &mapped(&again, &locals, &puts)));
    let lens = open()?;
    for (at, answer) in answers.iter().enumerate() {
        let Ok(answer) = answer else { continue };
        let to_local = |shared: &Row, current: Option<&Row>| lens.to_local(&[Put { shared, current }]).pop();
        match at.checked_sub(locals.len()) {
            None => {
                if to_local(answer, Some(&locals[at].row)) != Some(Ok(locals[at].row.clone())) {
                    found.push((Law::Got, at));
                }
                let Some(wide) = widened(&locals[at].row, &fixture.shape) else { continue };
                if let Some(Ok(shared)) = lens.to_shared(&[&wide]).pop()
                    && let Some(Ok(back)) = to_local(&shared, Some(&wide))
                    && rounded(&wide, &back)
                {
                    found.push((Law::Exact, at));
                }
            }
            Some(put) => {
                // Also where nothing stands, if it can be put there.
                let made = [Some(answer.clone()), to_local(&puts[put].row, None).and_then(Result::ok)];
                let got = |local: &Row| lens.to_shared(&[local]).pop() == Some(Ok(puts[put].row.clone()));
                if !made.iter().flatten().all(got) {
                    found.push((Law::Put, at));
                }
                let Some(wide) = widened(&puts[put].row, lens.shape()) else { continue };
                if let Some(Ok(local)) = to_local(&wide, puts[put].current.as_ref())
                    && let Some(Ok(back)) = lens.to_shared(&[&local]).pop()
                    && rounded(&wide, &back)
                {
                    found.push((Law::Exact, at));
                }
            }
        }
    }
    Ok(first(found))
}

/// Whether [`Law::Together`] is broken.
fn of_several(plugin: &Arc<Plugin>, fixture: &Fixture) -> Result<Vec<(Law, usize)>, Failure> {
    let failed = together(plugin, fixture)?;
    let mapping_put = |failure: &Failure| fixture.made.is_some() && failure.function != Some(TO_SHARED);
    let first = |failure: &Failure| if mapping_put(failure) { fixture.locals.len() } else { 0 };
    Ok(failed.iter().map(|failure| (Law::Together, first(failure))).collect())
}

/// Why a call fails that is about all cases, each of them twice, if each is answered alone.
fn together(plugin: &Arc<Plugin>, fixture: &Fixture) -> Result<Option<Failure>, Failure> {
    let (shape, config, facts) = (fixture.shape.clone(), &fixture.config, &fixture.facts);
    match fixture.role(plugin).map_err(|why| Failure::new(&plugin.name, "fixture", why))? {
        Role::Filter => {
            let filter = Filter::open(Arc::clone(plugin), shape, config, facts)?;
            filter.judge(&twice(fixture.rows.iter().map(|judged| &judged.row)));
            Ok(filter.part().failed_together())
        }
        Role::Mapping => {
            let mapping = Mapping::open(Arc::clone(plugin), shape, config, facts)?;
            mapped(&mapping, &twice(fixture.locals.iter()), &twice(fixture.puts.iter()));
            Ok(mapping.part().failed_together())
        }
        Role::Resolver => {
            let resolver = Resolver::open(Arc::clone(plugin), shape, config, facts)?;
            let asked: Vec<_> = fixture.conflicts.iter().map(|one| one.recorded(resolver.recorded())).collect();
            resolver.resolve(&twice(asked.iter().map(Conflict::dispute)));
            Ok(resolver.part().failed_together())
        }
    }
}

fn twice<T: Clone>(cases: impl Iterator<Item = T> + Clone) -> Vec<T> {
    cases.clone().chain(cases).collect()
}

/// As good as no other number comes out as what a float makes of this one.
const WIDE: i64 = 1_234_567_890_123_456_789;

/// The row with an integer that no float holds in each column of integers but those of the key; `None` if there is none.
fn widened(row: &Row, shape: &Shape) -> Option<Row> {
    let wide = |(at, value): (usize, &Value)| match value {
        Value::Int(_) if shape.columns[at].ty == Type::Int && !shape.key.contains(&at) => Value::Int(WIDE),
        other => other.clone(),
    };
    let widened: Row = row.iter().enumerate().map(wide).collect();
    (widened != *row).then_some(widened)
}

/// Whether an integer became what a float makes of it.
fn rounded(was: &[Value], is: &[Value]) -> bool {
    was.contains(&Value::Int(WIDE)) && is.contains(&Value::Int(WIDE as f64 as i64))
}

/// What becomes of a row on its way there and back, where the two ways of a mapping do not fit each other; or why a call of several
/// failed.
pub fn course(plugin: &Arc<Plugin>, fixture: &Fixture, law: Law, at: usize) -> Option<String> {
    if law == Law::Together {
        return together(plugin, fixture).ok()?.map(|failure| format!("\n  because: {failure}"));
    }
    let (shape, shared) = (&fixture.shape, fixture.made.as_ref()?);
    let lens = Mapping::open(Arc::clone(plugin), shape.clone(), &fixture.config, &fixture.facts).ok()?;
    let told = |shape: &Shape, row: &Row| {
        row_to_json(shape.columns.iter().map(|column| column.name.as_str()), row).to_string()
    };
    let answered = |shape: &Shape, answer: &Result<Row, Failure>| match answer {
        Ok(row) => told(shape, row),
        Err(failure) => failure.to_string(),
    };
    let to_local = |shared: &Row, current: Option<&Row>| lens.to_local(&[Put { shared, current }]).pop();
    match law {
        Law::Got => {
            let local = &fixture.locals.get(at)?.row;
            let got = lens.to_shared(&[local]).pop()?.ok()?;
            let back = answered(shape, &to_local(&got, Some(local))?);
            Some(format!("\n  local    {}\n  is got   {}\n  put back {back}", told(shape, local), told(shared, &got)))
        }
        Law::Put => {
            let put = fixture.puts.get(at.checked_sub(fixture.locals.len())?)?;
            [put.current.as_ref(), None].into_iter().find_map(|current| {
                let local = to_local(&put.row, current)?.ok()?;
                let got = lens.to_shared(&[&local]).pop()?;
                let differs = got.as_ref() != Ok(&put.row);
                let (put, local, got) = (told(shared, &put.row), told(shape, &local), answered(shared, &got));
                differs.then(|| format!("\n  put      {put}\n  becomes  {local}\n  is got   {got}"))
            })
        }
        _ => None,
    }
}

/// What a plugin fails at among the cases of a fixture, each with the case's number as laws count them; or that it does not
/// answer at all.
pub fn failures(plugin: &Arc<Plugin>, fixture: &Fixture) -> Result<Vec<(usize, Failure)>, Failure> {
    let (shape, config, facts) = (fixture.shape.clone(), &fixture.config, &fixture.facts);
    let failed: Vec<Option<Failure>> =
        match fixture.role(plugin).map_err(|why| Failure::new(&plugin.name, "fixture", why))? {
            Role::Filter => {
                let filter = Filter::open(Arc::clone(plugin), shape, config, facts)?;
                let rows: Vec<&Row> = fixture.rows.iter().map(|judged| &judged.row).collect();
                filter.judge(&rows).into_iter().map(Result::err).collect()
            }
            Role::Mapping => {
                let mapping = Mapping::open(Arc::clone(plugin), shape, config, facts)?;
                let (locals, puts) =
                    (fixture.locals.iter().collect::<Vec<_>>(), fixture.puts.iter().collect::<Vec<_>>());
                mapped(&mapping, &locals, &puts).into_iter().map(Result::err).collect()
            }
            Role::Resolver => {
                let resolver = Resolver::open(Arc::clone(plugin), shape, config, facts)?;
                let asked: Vec<_> = fixture.conflicts.iter().map(|one| one.recorded(resolver.recorded())).collect();
                let answers = resolver.resolve(&asked.iter().map(Conflict::dispute).collect::<Vec<_>>());
                answers.into_iter().map(Result::err).collect()
            }
        };
    Ok(failed.into_iter().enumerate().filter_map(|(at, failed)| Some((at, failed?))).collect())
}

/// The answers of a mapping to rows of both directions.
pub fn mapped(mapping: &Mapping, locals: &[&Mapped], puts: &[&Mapped]) -> Vec<Result<Row, Failure>> {
    let mut answers = mapping.to_shared(&locals.iter().map(|local| &local.row).collect::<Vec<_>>());
    let asked: Vec<Put<'_>> = puts.iter().map(|put| Put { shared: &put.row, current: put.current.as_ref() }).collect();
    answers.extend(mapping.to_local(&asked));
    answers
}

/// Of each law the first case that breaks it, which tells most.
fn first(mut found: Vec<(Law, usize)>) -> Vec<(Law, usize)> {
    found.sort_by_key(|(law, at)| (*law as usize, *at));
    found.dedup_by_key(|(law, _)| *law);
    found
}

/// Where it was not asked, for having failed too often before, it may have answered whatever it answers elsewhere.
fn same<A: PartialEq>(one: Option<&Result<A, Failure>>, other: Option<&Result<A, Failure>>) -> bool {
    let unasked = |answer: Option<&Result<A, Failure>>| matches!(answer, Some(Err(failure)) if failure.unasked);
    match (one, other) {
        (one, other) if unasked(one) || unasked(other) => true,
        (Some(Err(one)), Some(Err(other))) => one.code == other.code,
        (one, other) => one == other,
    }
}

/// Whether two answers come to the same: equal versions may stand for each other.
fn agree(conflict: &Conflict, one: &Resolution, other: &Resolution) -> bool {
    let parks = |answer: &Resolution| matches!(answer, Resolution::Park(_));
    one == other || (parks(one) == parks(other) && outcome(conflict, one) == outcome(conflict, other))
}

/// Of so many versions all orders are tried: those of more are too many.
const ALL_ORDERS: usize = 4;

/// The orders in which so many versions are shown besides the one in which they stand, each as the places where they stand there. The
/// first is the other way round.
fn orders(versions: usize) -> Vec<Vec<usize>> {
    if versions > ALL_ORDERS {
        return vec![(0..versions).rev().collect()];
    }
    let mut orders = vec![Vec::new()];
    for next in 0..versions {
        let with_next = |order: &Vec<usize>| {
            let at = |place: usize| {
                let mut longer = order.clone();
                longer.insert(place, next);
                longer
            };
            (0..=order.len()).map(at).collect::<Vec<_>>()
        };
        orders = orders.iter().flat_map(with_next).collect();
    }
    // Each was put at every place, and the last of all was always put at the end.
    orders.pop();
    orders
}

/// The same conflict with its versions in another order.
fn ordered(conflict: &Conflict, places: &[usize]) -> Conflict {
    let mut now = vec![0; places.len()];
    places.iter().enumerate().for_each(|(place, &was)| now[was] = place);
    let mut ordered = conflict.clone();
    ordered.versions = places.iter().map(|&was| conflict.versions[was].clone()).collect();
    (ordered.latest, ordered.start) = (now[conflict.latest], now[conflict.start]);
    for change in &mut ordered.changes {
        change.seen_by.iter_mut().for_each(|place| *place = now[*place]);
        change.seen_by.sort_unstable();
    }
    ordered
}

/// The same conflict with its versions the other way round.
pub(super) fn mirrored(conflict: &Conflict) -> Conflict {
    ordered(conflict, &(0..conflict.versions.len()).rev().collect::<Vec<_>>())
}

fn back(answer: Resolution, places: &[usize]) -> Resolution {
    match answer {
        Resolution::Take(at) => Resolution::Take(places[at]),
        other => other,
    }
}

/// The conflict as it would be asked about if every version were already as it was decided.
fn settled(conflict: &Conflict, row: &[Value]) -> Conflict {
    let version = |version: &Version| Version { row: Some(row.into()), ..version.clone() };
    Conflict { versions: conflict.versions.iter().map(version).collect(), changes: Vec::new(), ..conflict.clone() }
}

/// The same if the latest version alone were so. Whatever came of all versions comes of these too.
fn beside(conflict: &Conflict, row: &[Value]) -> Conflict {
    let mut beside = Conflict { start: conflict.latest, ..conflict.clone() };
    beside.versions[conflict.latest].row = Some(row.into());
    beside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_of_a_few_versions_is_tried() {
        for (versions, others) in [(2, 1), (3, 5), (4, 23), (5, 1)] {
            let orders = orders(versions);
            assert_eq!(orders.len(), others, "{orders:?}");
            assert_eq!(orders[0], (0..versions).rev().collect::<Vec<_>>());
            assert!(orders.iter().all(|order| !order.is_sorted()), "{orders:?}");
            let mut different = orders.clone();
            different.sort();
            different.dedup();
            assert_eq!(different.len(), others, "{orders:?}");
        }
    }

    #[test]
    fn what_was_not_asked_is_no_other_answer() {
        let trap = || Failure::new("x", "trap", "it gave up");
        let failed: Result<bool, Failure> = Err(trap());
        let unasked: Result<bool, Failure> = Err(Failure { unasked: true, ..trap() });
        let good: Result<bool, Failure> = Ok(true);
        assert!(!same(Some(&failed), Some(&good)) && !same(Some(&good), Some(&failed)) && !same(Some(&good), None));
        assert!(same(Some(&unasked), Some(&good)) && same(Some(&good), Some(&unasked)));
        assert!(same(Some(&failed), Some(&failed)) && same(Some(&good), Some(&good)));
    }
}
