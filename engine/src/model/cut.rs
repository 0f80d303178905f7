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
/// `inside` extends a cut by the first entries of transactions that are too large to be carried at once: for each of
/// these marks the entries whose id is at most the one given.
///
/// The text form, kept in the service tables, is `next[:open,open…][/mark#id…]`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Cut {
    next: i64,
    open: Vec<i64>,
    inside: Vec<(i64, i64)>,
}

impl Cut {
    /// The cut before everything.
    pub const START: Cut = Cut { next: 0, open: Vec::new(), inside: Vec::new() };

    /// Every mark below `next` except those in `open`.
    pub fn new(next: i64, mut open: Vec<i64>) -> Cut {
        open.retain(|&mark| mark < next);
        open.sort_unstable();
        open.dedup();
        Cut { next, open, inside: Vec::new() }
    }

    /// Every mark up to and including `last`: the cut of a plain counter.
    pub fn through(last: i64) -> Cut {
        Cut::new(last + 1, Vec::new())
    }

    /// The first mark that lies beyond the cut whatever else is open.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Marks below [`Cut::next`] that the cut does not contain as a whole, in ascending order.
    pub fn open(&self) -> &[i64] {
        &self.open
    }

    /// The transactions of which only the entries up to an id are contained, in ascending order of their marks.
    pub fn inside(&self) -> &[(i64, i64)] {
        &self.inside
    }

    /// Whether the entry `id` written by transaction `mark` lies before the cut.
    pub fn contains(&self, mark: i64, id: i64) -> bool {
        self.contains_all(mark) || self.inside.iter().any(|&(inside, last)| mark == inside && id <= last)
    }

    /// Whether every entry of a transaction lies before the cut.
    pub fn contains_all(&self, mark: i64) -> bool {
        mark < self.next && self.open.binary_search(&mark).is_err()
    }

    /// What lies before both cuts.
    pub fn meet(&self, other: &Cut) -> Cut {
        if self == other {
            return self.clone();
        }
        let mut met = Cut::new(self.next.min(other.next), [&self.open[..], &other.open[..]].concat());
        let both = self.inside.iter().chain(&other.inside).filter_map(|&(mark, last)| {
            let up_to = |cut: &Cut| {
                let part = cut.inside.iter().find(|(inside, _)| *inside == mark).map(|(_, last)| *last);
                if cut.contains_all(mark) { Some(last) } else { part }
            };
            Some((mark, up_to(self)?.min(up_to(other)?)))
        });
        let both: Vec<(i64, i64)> = both.collect();
        both.into_iter().for_each(|(mark, last)| met.add_inside(mark, last));
        met
    }

    /// What lies before either cut.
    pub fn join(&self, other: &Cut) -> Cut {
        let is_open = |mark: &i64| !self.contains_all(*mark) && !other.contains_all(*mark);
        let open = self.open.iter().chain(&other.open).copied().filter(is_open).collect();
        let mut joined = Cut::new(self.next.max(other.next), open);
        self.inside.iter().chain(&other.inside).for_each(|&(mark, last)| joined.add_inside(mark, last));
        joined
    }

    /// This cut advanced towards `whole` by the transactions with marks up to and including `mark`.
    ///
    /// `whole` must contain this cut.
    pub fn advance_to(&self, whole: &Cut, mark: i64) -> Cut {
        let mut cut = if mark < self.next {
            let open = |candidate: &i64| !whole.contains_all(*candidate) || *candidate > mark;
            Cut::new(self.next, self.open.iter().copied().filter(open).collect())
        } else {
            let next = whole.next.min(mark + 1).max(self.next);
            Cut::new(next, whole.open.iter().copied().filter(|&m| m < next).collect())
        };
        self.inside.iter().for_each(|&(inside, last)| cut.add_inside(inside, last));
        cut
    }

    /// This cut extended by the entries of transaction `mark` up to `id`, when that transaction must be divided.
    pub fn extend_inside(&self, mark: i64, id: i64) -> Cut {
        let mut cut = self.clone();
        cut.add_inside(mark, id);
        cut
    }

    fn add_inside(&mut self, mark: i64, id: i64) {
        if self.contains_all(mark) {
            return;
        }
        match self.inside.binary_search_by_key(&mark, |(inside, _)| *inside) {
            Ok(at) => self.inside[at].1 = self.inside[at].1.max(id),
            Err(at) => self.inside.insert(at, (mark, id)),
        }
    }

    /// Whether everything before `other` lies before this cut as well.
    pub fn includes(&self, other: &Cut) -> bool {
        other.next <= self.next
            && self.open.iter().all(|&mark| mark >= other.next || other.open.binary_search(&mark).is_ok())
            && other.inside.iter().all(|&(mark, last)| self.contains(mark, last))
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.next)?;
        for (n, mark) in self.open.iter().enumerate() {
            write!(f, "{}{mark}", if n == 0 { ':' } else { ',' })?;
        }
        self.inside.iter().try_for_each(|(mark, id)| write!(f, "/{mark}#{id}"))
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
            let mut parts = text.split('/');
            let rest = parts.next()?;
            let (next, open) = match rest.split_once(':') {
                None => (rest, Vec::new()),
                Some((next, open)) => (next, open.split(',').map(|m| m.parse().ok()).collect::<Option<_>>()?),
            };
            let mut cut = Cut::new(next.parse().ok()?, open);
            for part in parts {
                let (mark, id) = part.split_once('#')?;
                cut.add_inside(mark.parse().ok()?, id.parse().ok()?);
            }
            Some(cut)
        };
        parse().ok_or_else(|| BadCut(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cuts() -> impl Strategy<Value = Cut> {
        let inside = prop::collection::vec((0..45i64, 0..5i64), 0..3);
        (0..40i64, prop::collection::vec(0..40i64, 0..6), inside).prop_map(|(next, open, inside)| {
            let mut cut = Cut::new(next, open);
            inside.into_iter().for_each(|(mark, id)| cut.add_inside(mark, id));
            cut
        })
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
        fn a_meet_is_what_both_contain(a in cuts(), b in cuts()) {
            let met = a.meet(&b);
            for (mark, id) in entries() {
                let both = a.contains(mark, id) && b.contains(mark, id);
                prop_assert_eq!(met.contains(mark, id), both, "{}#{} of {} and {}", mark, id, a, b);
            }
        }

        #[test]
        fn a_join_is_what_either_contains(a in cuts(), b in cuts()) {
            let joined = a.join(&b);
            for (mark, id) in entries() {
                let either = a.contains(mark, id) || b.contains(mark, id);
                prop_assert_eq!(joined.contains(mark, id), either, "{}#{} of {} and {}", mark, id, a, b);
            }
            prop_assert!(joined.includes(&a) && joined.includes(&b), "{} and {}", a, b);
        }

        #[test]
        fn advancing_adds_exactly_the_marks_up_to_the_bound(
            whole in cuts(), ahead in prop::collection::vec(0..40i64, 0..6), parts in prop::collection::vec((0..45i64, 0..5i64), 0..3),
            back in 0..40i64, mark in 0..50i64,
        ) {
            let whole = Cut { inside: Vec::new(), ..whole };
            // Any cut that `whole` contains: less far, more open, parts of what is whole there.
            let mut a = Cut::new(back.min(whole.next), [&whole.open[..], &ahead[..]].concat());
            parts.into_iter().filter(|(mark, _)| whole.contains_all(*mark)).for_each(|(mark, id)| a.add_inside(mark, id));
            let cut = a.advance_to(&whole, mark);
            for (m, id) in entries() {
                let want = a.contains(m, id) || (m <= mark && whole.contains(m, id));
                prop_assert_eq!(cut.contains(m, id), want, "mark {} in {} of {} towards {}", m, cut, a, whole);
            }
            prop_assert!(cut.includes(&a) && whole.includes(&cut));
        }

        #[test]
        fn inclusion_agrees_with_the_sets(a in cuts(), b in cuts()) {
            if a.includes(&b) {
                prop_assert!(entries().all(|(m, id)| !b.contains(m, id) || a.contains(m, id)), "{} and {}", a, b);
            }
        }

        #[test]
        fn a_cut_includes_every_meet_of_it(a in cuts(), b in cuts()) {
            prop_assert!(a.includes(&a.meet(&b)), "{} and {}", a, b);
        }
    }
}
