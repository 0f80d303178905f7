//! A position in a node's history that has no holes.

use std::fmt;
use std::str::FromStr;

/// A set of committed changes at one node: everything decided before it, nothing after.
///
/// Every entry carries a *mark*, a number its database gives to the transaction that wrote it (PostgreSQL: the
/// 64-bit transaction id; SQLite: the entry's own id). Marks may become visible out of order, so a cut is "every
/// mark below `next`, except those still open when it was taken". That is the shape of a PostgreSQL snapshot, and
/// a plain counter is the case with nothing open.
///
/// `inside` extends a cut by the first entries of one transaction that is too large to be carried at once: those
/// of mark `inside.0` whose id is at most `inside.1`.
///
/// The text form, kept in the service tables, is `next[:open,open…][/mark#id]`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Cut {
    next: i64,
    open: Vec<i64>,
    inside: Option<(i64, i64)>,
}

impl Cut {
    /// The cut before everything.
    pub const START: Cut = Cut { next: 0, open: Vec::new(), inside: None };

    /// Every mark below `next` except those in `open`.
    pub fn new(next: i64, mut open: Vec<i64>) -> Cut {
        open.retain(|&mark| mark < next);
        open.sort_unstable();
        open.dedup();
        Cut { next, open, inside: None }
    }

    /// Every mark up to and including `last`: the cut of a plain counter.
    pub fn through(last: i64) -> Cut {
        Cut::new(last + 1, Vec::new())
    }

    /// The first mark that lies beyond the cut whatever else is open.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Marks below [`Cut::next`] that the cut does not contain, in ascending order.
    pub fn open(&self) -> &[i64] {
        &self.open
    }

    /// The transaction of which only the entries up to an id are contained, if the cut lies inside one.
    pub fn inside(&self) -> Option<(i64, i64)> {
        self.inside
    }

    /// Whether the entry `id` written by transaction `mark` lies before the cut.
    pub fn contains(&self, mark: i64, id: i64) -> bool {
        (mark < self.next && self.open.binary_search(&mark).is_err())
            || self.inside.is_some_and(|(inside, last)| mark == inside && id <= last)
    }

    /// What lies before both cuts. Part of a divided transaction counts only if both contain it.
    pub fn meet(&self, other: &Cut) -> Cut {
        if self == other {
            return self.clone();
        }
        let mut met = Cut::new(self.next.min(other.next), [&self.open[..], &other.open[..]].concat());
        met.inside = match (self.inside, other.inside) {
            (Some((mark, a)), Some((other_mark, b))) if mark == other_mark => Some((mark, a.min(b))),
            (Some((mark, last)), _) if other.contains(mark, i64::MAX) => Some((mark, last)),
            (_, Some((mark, last))) if self.contains(mark, i64::MAX) => Some((mark, last)),
            _ => None,
        };
        met
    }

    /// This cut advanced towards `whole` by the transactions with marks up to and including `mark`.
    ///
    /// `whole` must contain this cut.
    pub fn advance_to(&self, whole: &Cut, mark: i64) -> Cut {
        let open = |candidate: &i64| !whole.contains(*candidate, i64::MAX) || *candidate > mark;
        if mark < self.next {
            let open = self.open.iter().copied().filter(open).collect();
            return Cut { inside: self.inside.filter(|&(inside, _)| inside > mark), ..Cut::new(self.next, open) };
        }
        let next = whole.next.min(mark + 1).max(self.next);
        Cut::new(next, whole.open.iter().copied().filter(|&m| m < next).collect())
    }

    /// This cut extended by the entries of transaction `mark` up to `id`, when that transaction must be divided.
    pub fn extend_inside(&self, mark: i64, id: i64) -> Cut {
        Cut { inside: Some((mark, id)), ..self.clone() }
    }

    /// Whether everything before `other` lies before this cut as well.
    pub fn includes(&self, other: &Cut) -> bool {
        other.next <= self.next
            && self.open.iter().all(|&mark| {
                mark >= other.next || other.open.binary_search(&mark).is_ok() || self.contains(mark, i64::MAX)
            })
            && match other.inside {
                None => true,
                Some((mark, last)) => self.contains(mark, last),
            }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.next)?;
        for (n, mark) in self.open.iter().enumerate() {
            write!(f, "{}{mark}", if n == 0 { ':' } else { ',' })?;
        }
        match self.inside {
            Some((mark, id)) => write!(f, "/{mark}#{id}"),
            None => Ok(()),
        }
    }
}

/// The text of a cut in a service table is not one that Concord writes.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a position that Concord writes; the service tables were altered by hand")]
pub struct BadCut(pub String);

impl FromStr for Cut {
    type Err = BadCut;

    fn from_str(text: &str) -> Result<Cut, BadCut> {
        let parse = || -> Option<Cut> {
            let (rest, inside) = match text.split_once('/') {
                None => (text, None),
                Some((rest, inside)) => {
                    let (mark, id) = inside.split_once('#')?;
                    (rest, Some((mark.parse().ok()?, id.parse().ok()?)))
                }
            };
            let (next, open) = match rest.split_once(':') {
                None => (rest, Vec::new()),
                Some((next, open)) => (next, open.split(',').map(|m| m.parse().ok()).collect::<Option<_>>()?),
            };
            Some(Cut { inside, ..Cut::new(next.parse().ok()?, open) })
        };
        parse().ok_or_else(|| BadCut(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cuts() -> impl Strategy<Value = Cut> {
        (0..40i64, prop::collection::vec(0..40i64, 0..6), prop::option::of((0..45i64, 0..5i64)))
            .prop_map(|(next, open, inside)| Cut { inside, ..Cut::new(next, open) })
    }

    fn entries() -> impl Iterator<Item = (i64, i64)> {
        (0..50).flat_map(|mark| (0..6).map(move |id| (mark, id)))
    }

    proptest! {
        #[test]
        fn text_form_round_trips(cut in cuts()) {
            prop_assert_eq!(cut.to_string().parse::<Cut>().unwrap(), cut);
        }

        #[test]
        fn a_meet_contains_only_what_both_contain(a in cuts(), b in cuts()) {
            let met = a.meet(&b);
            for (mark, id) in entries() {
                if met.contains(mark, id) {
                    prop_assert!(a.contains(mark, id) && b.contains(mark, id), "{} of {} and {}", mark, a, b);
                }
            }
        }

        #[test]
        fn a_meet_of_undivided_cuts_is_exact(a in cuts(), b in cuts()) {
            let (a, b) = (Cut { inside: None, ..a }, Cut { inside: None, ..b });
            let met = a.meet(&b);
            for (mark, id) in entries() {
                prop_assert_eq!(met.contains(mark, id), a.contains(mark, id) && b.contains(mark, id));
            }
        }

        #[test]
        fn advancing_adds_exactly_the_marks_up_to_the_bound(a in cuts(), whole in cuts(), mark in 0..50i64) {
            let (a, whole) = (Cut { inside: None, ..a }, Cut { inside: None, ..whole });
            prop_assume!(whole.includes(&a));
            let cut = a.advance_to(&whole, mark);
            for (m, id) in entries() {
                let want = a.contains(m, id) || (m <= mark && whole.contains(m, id));
                prop_assert_eq!(cut.contains(m, id), want, "mark {} in {} of {} towards {}", m, cut, a, whole);
            }
        }

        #[test]
        fn inclusion_agrees_with_the_sets(a in cuts(), b in cuts()) {
            let (a, b) = (Cut { inside: None, ..a }, Cut { inside: None, ..b });
            // Below START nothing distinguishes "0" from a cut whose marks are all open, so test by content.
            let by_content = entries().all(|(m, id)| !b.contains(m, id) || a.contains(m, id));
            if a.includes(&b) {
                prop_assert!(by_content);
            }
        }
    }
}
