//! What a row was before its versions went different ways.
//!
//! No version that is there has to be that: a change may have gone into versions beside changes that were made without it. So it is
//! found column by column, by undoing in a version what the others have not seen.

use std::collections::{BTreeMap, VecDeque};

use crate::merge::{Candidate, Delta};
use crate::model::{NodeId, Row, Value};

/// A value of a row, or that there was none.
type Stood<'a> = Option<&'a Value>;

/// A recorded change, with when it was made.
type Change<'a> = &'a (Delta, i64);

/// The recorded `columns` with all that every candidate has seen, and nothing else; `None` if there was no row, or if that cannot
/// be told of each column.
pub(super) fn base(columns: &[usize], candidates: &[Candidate<'_>], changes: &[(Delta, i64)]) -> Option<Row> {
    let is_common = |(delta, _): &Change<'_>| candidates.iter().all(|one| one.version.vector.saw(&delta.dot));
    let (common, apart): (Vec<Change<'_>>, Vec<Change<'_>>) = changes.iter().partition(is_common);
    let of_column = |(place, &column): (usize, &usize)| {
        let undone = candidates.iter().filter_map(|candidate| undo(place, column, candidate, &apart));
        let told: Vec<Stood<'_>> = undone.collect();
        let agreed = told.first().copied().filter(|first| told.iter().all(|other| other == first));
        // A row that won as a whole may hold less than it has seen, and where one cannot be undone there may be nobody to contradict it.
        let stood = match agreed {
            Some(_) if told.len() == candidates.len() => agreed,
            _ => before_all(place, &common, &apart).or(agreed),
        };
        stood?.cloned()
    };
    columns.iter().enumerate().map(of_column).collect()
}

fn before<'a>(place: usize, (delta, _): Change<'a>) -> Stood<'a> {
    delta.before.as_ref().map(|row| &row[place])
}

fn after<'a>(place: usize, (delta, _): Change<'a>) -> Stood<'a> {
    delta.after.as_ref().map(|row| &row[place])
}

/// The value of a candidate without the changes that not all have seen; `None` if one of them was merged with others since.
fn undo<'a>(place: usize, column: usize, candidate: &Candidate<'a>, apart: &[Change<'a>]) -> Option<Stood<'a>> {
    let mut value: Stood<'a> = candidate.row.map(|row| &row[column]);
    let is_in = |change: &&Change<'a>| candidate.version.vector.saw(&change.0.dot);
    let mut left: Vec<Change<'a>> =
        apart.iter().filter(is_in).copied().filter(|change| before(place, change) != after(place, change)).collect();
    left.sort_by_key(|(delta, time)| std::cmp::Reverse((*time, delta.dot.number)));
    // Mostly the first is the next, of very many.
    let mut left = VecDeque::from(left);
    let mut undone: Vec<Change<'a>> = Vec::new();
    while let Some(at) = left.iter().position(|change| after(place, change) == value)
        && let Some(change) = left.remove(at)
    {
        value = before(place, change);
        undone.push(change);
    }
    // What several did alike was done once.
    let is_alike = |one: &Change<'a>| {
        let same = |other: &&Change<'a>| {
            before(place, one) == before(place, other) && after(place, one) == after(place, other)
        };
        undone.iter().any(|other| one.0.dot.node != other.0.dot.node && same(&other))
    };
    left.iter().all(is_alike).then_some(value)
}

/// What the first of each node's changes were made upon, if they were made upon all that is common and agree about it.
fn before_all<'a>(place: usize, common: &[Change<'a>], apart: &[Change<'a>]) -> Option<Stood<'a>> {
    let touches = |change: &&Change<'a>| before(place, change) != after(place, change);
    let mut firsts: BTreeMap<NodeId, i64> = BTreeMap::new();
    for (delta, _) in apart {
        let first = firsts.entry(delta.dot.node).or_insert(delta.dot.number);
        *first = delta.dot.number.min(*first);
    }
    let mut found = None;
    for change in apart {
        let (delta, _) = change;
        let is_first = firsts.get(&delta.dot.node) == Some(&delta.dot.number);
        let had = |(other, _): &Change<'a>| delta.upon.as_ref().is_some_and(|upon| upon.saw(&other.dot));
        if !is_first || apart.iter().any(had) || !common.iter().filter(touches).all(had) {
            continue;
        }
        let stood = before(place, change);
        if *found.get_or_insert(stood) != stood {
            return None;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::Version;
    use crate::model::{Dot, Stamp, Vector};

    fn dot(node: u16, number: i64) -> Dot {
        Dot { node: NodeId(node), number, mark: number }
    }

    fn vector(dots: &[(u16, i64)]) -> Vector {
        let mut vector = Vector::EMPTY;
        dots.iter().for_each(|&(node, number)| vector.add(dot(node, number)));
        vector
    }

    fn row(text: &str) -> Row {
        vec![Value::Text(text.into())].into()
    }

    fn version(node: u16, dots: &[(u16, i64)]) -> Version {
        let stamp = Stamp { time: 0, node: NodeId(node) };
        Version { node: NodeId(node), waiting: false, behind: false, vector: vector(dots), stamp }
    }

    /// A change that was made upon others.
    fn change(node: u16, number: i64, before: &str, after: &str, upon: &[(u16, i64)]) -> (Delta, i64) {
        let [before, after] = [before, after].map(|text| (!text.is_empty()).then(|| row(text)));
        (Delta { dot: dot(node, number), before, after, upon: Some(vector(upon)) }, number)
    }

    fn base_of(versions: &[(&Version, &str)], changes: &[(Delta, i64)]) -> Option<String> {
        let rows: Vec<Option<Row>> = versions.iter().map(|(_, text)| (!text.is_empty()).then(|| row(text))).collect();
        let candidates: Vec<Candidate<'_>> =
            versions.iter().zip(&rows).map(|((version, _), row)| Candidate { version, row: row.as_ref() }).collect();
        base(&[0], &candidates, changes).map(|row| match &row[0] {
            Value::Text(text) => text.to_string(),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn what_all_have_seen_is_in_the_base() {
        // Node 1 changed `x0`, which was merged with a change of node 0 before node 1 took it back.
        let changes = [
            change(0, 1, "x0 y", "x0 Y", &[]),
            change(1, 1, "x0 y", "x1 y", &[]),
            change(1, 2, "x1 y", "x0 y", &[(1, 1)]),
        ];
        let (merged, back) = (version(0, &[(0, 1), (1, 1)]), version(1, &[(1, 1), (1, 2)]));
        assert_eq!(base_of(&[(&merged, "x1 Y"), (&back, "x0 y")], &changes).as_deref(), Some("x1 y"));
        // The first change is purged.
        let changes = [changes[0].clone(), changes[2].clone()];
        assert_eq!(base_of(&[(&merged, "x1 Y"), (&back, "x0 y")], &changes).as_deref(), Some("x1 y"));
    }

    #[test]
    fn of_two_merges_the_base_is_what_all_was_made_upon() {
        let changes = [
            change(0, 1, "0", "a", &[]),
            change(1, 1, "0", "b", &[]),
            change(2, 1, "0", "c", &[]),
            change(3, 1, "0", "d", &[]),
        ];
        let (ab, cd) = (version(0, &[(0, 1), (1, 1)]), version(2, &[(2, 1), (3, 1)]));
        assert_eq!(base_of(&[(&ab, "ab"), (&cd, "cd")], &changes).as_deref(), Some("0"));
    }

    #[test]
    fn what_cannot_be_told_is_not_guessed() {
        // All were made without the first change of node 1 and merged with it since, or upon it.
        let changes = [
            change(0, 1, "0", "a", &[]),
            change(1, 1, "0", "1", &[]),
            change(1, 2, "1", "b", &[]),
            change(2, 1, "0", "c", &[]),
        ];
        let (a, bc) = (version(0, &[(0, 1), (1, 1)]), version(1, &[(1, 1), (1, 2), (2, 1)]));
        assert_eq!(base_of(&[(&a, "a1"), (&bc, "bc")], &changes), None);
        // Whoever made it upon that change knows.
        let mut changes = changes;
        changes[2] = change(1, 2, "1", "b", &[(1, 1)]);
        assert_eq!(base_of(&[(&a, "a1"), (&bc, "bc")], &changes).as_deref(), Some("1"));
    }

    /// Node 2's change went into what node 0's won over as a whole.
    #[test]
    fn what_won_as_a_whole_is_not_taken_for_what_it_has_seen() {
        let changes = [
            change(2, 1, "0", "5", &[]),
            change(0, 1, "0", "1", &[]),
            change(0, 2, "1", "0", &[(0, 1), (2, 1)]),
            change(1, 1, "5", "5", &[(2, 1)]),
        ];
        let (won, other) = (version(0, &[(0, 2), (2, 1)]), version(1, &[(1, 1), (2, 1)]));
        for versions in [[(&won, "0"), (&other, "5")], [(&other, "5"), (&won, "0")]] {
            assert_eq!(base_of(&versions, &changes).as_deref(), Some("5"));
        }
    }

    /// The same beside a merge, which cannot be undone.
    #[test]
    fn what_won_as_a_whole_does_not_speak_for_what_was_merged() {
        let changes = [
            change(2, 1, "0", "5", &[]),
            change(0, 1, "0", "1", &[]),
            change(1, 1, "5", "6", &[(2, 1)]),
            change(3, 1, "5", "8", &[(2, 1)]),
        ];
        let (won, merged) = (version(0, &[(0, 1), (2, 1)]), version(1, &[(1, 1), (2, 1), (3, 1)]));
        for versions in [[(&won, "1"), (&merged, "9")], [(&merged, "9"), (&won, "1")]] {
            assert_eq!(base_of(&versions, &changes).as_deref(), Some("5"));
        }
    }

    #[test]
    fn what_came_and_went_is_undone_in_turn() {
        let changes = [
            change(0, 1, "0", "1", &[]),
            change(0, 2, "1", "0", &[(0, 1)]),
            change(0, 3, "0", "1", &[(0, 2)]),
            change(1, 1, "0", "1", &[]),
            change(2, 1, "0", "", &[]),
        ];
        let (alike, gone) = (version(0, &[(0, 3), (1, 1)]), version(2, &[(2, 1)]));
        assert_eq!(base_of(&[(&alike, "1"), (&gone, "")], &changes).as_deref(), Some("0"));
    }

    #[test]
    fn of_rows_that_were_made_apart_there_is_none() {
        let changes = [change(0, 1, "", "a", &[]), change(1, 1, "", "b", &[])];
        let (a, b) = (version(0, &[(0, 1)]), version(1, &[(1, 1)]));
        assert_eq!(base_of(&[(&a, "a"), (&b, "b")], &changes), None);
    }
}
