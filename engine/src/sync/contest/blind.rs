//! Rows made by somebody from whom others of the same key are hidden: what that says about these, and what became of them.

use super::contender::Gone;
use super::{Contender, Content, Contest, Own};
use crate::merge::Version;
use crate::model::{Dot, NodeId, Op, ParkedCode, Vector};
use crate::sync::opened::Opened;
use crate::sync::table::Table;

/// How the content of a node stands to what is to take its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It was seen, or weighed.
    Seen,
    /// It was not; a later one of another node is to be weighed in its place.
    Superseded,
    /// It was not, and is to be weighed as written at this time.
    Since(i64),
    /// That is known only to a node that is away.
    Unknown,
}

/// By how much a row of unknown age counts as older than one that was made without it, in µs: more than by what clocks are
/// measured wrong.
pub const LONG_BEFORE: i64 = 1_000_000;

/// A row that a user made where others may be hidden: by which change, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Made {
    pub dot: Dot,
    pub time: i64,
}

/// Whether a node at which rows may be hidden is not there to tell what was known to its users.
fn is_away(node: NodeId, table: &Table, opened: &Opened) -> bool {
    table.is_blind(node) && !(opened.is_present(node) && table.form(node).is_some())
}

impl Contest {
    /// What a user of `maker` did first of all that `node` has not heard of, if that made a row: whoever made it saw no row,
    /// and so nothing of the one that stands at `node`.
    pub fn made_blindly(&self, node: NodeId, maker: NodeId, table: &Table, opened: &Opened) -> Option<&Own> {
        if !table.is_blind(maker) {
            return None;
        }
        let heard = |dot: &Dot| self.has_heard(node, dot, table, opened);
        let unheard = self.own.iter().filter(|own| own.dot.node == maker && !heard(&own.dot));
        let first = unheard.min_by_key(|own| own.dot.number).filter(|own| own.op == Op::Insert)?;
        // What is owed tells of what came before it, and may be no more in any history.
        let owed = self.versions.iter().filter(|contender| contender.owed.is_some() && table.has_subsets());
        let mut told = owed.flat_map(|contender| contender.version.vector.dots());
        let is_before = |dot: &Dot| dot.node == maker && dot.number < first.dot.number && !heard(dot);
        (!told.any(is_before)).then_some(first)
    }

    /// Whether anybody made a row so.
    pub fn is_made_blindly(&self, node: NodeId, table: &Table, opened: &Opened) -> bool {
        let mut makers = self.own.iter().map(|own| own.dot.node);
        makers.any(|maker| maker != node && self.made_blindly(node, maker, table, opened).is_some())
    }

    /// Whether a change went into what stands at a node, or was passed there before it stood.
    fn has_heard(&self, node: NodeId, dot: &Dot, table: &Table, opened: &Opened) -> bool {
        let standing = self.standing(node);
        // What was passed went into what waits there.
        let passes = !table.has_subsets() || standing.is_none_or(|contender| !contender.version.behind);
        passes && opened.passed(table.index, node, dot)
            || standing.is_some_and(|contender| contender.version.vector.saw(dot))
    }

    /// The rows that users made where others may be hidden, as far as anybody tells.
    pub fn all_made_blindly<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = Made> + 'a {
        let own = self.own.iter().filter(|own| own.op == Op::Insert && table.is_blind(own.dot.node));
        own.map(Own::made).chain(self.made.iter().map(|(_, made)| *made))
    }

    /// Rows that went into what is left and were made at nodes that are away, as those tell who took them, and were not heard of at
    /// `node`. Only their makers' histories would tell whether what stands there was known to them.
    fn made_away(&self, node: NodeId, tops: &[usize], table: &Table, opened: &Opened) -> impl Iterator<Item = Made> {
        let is_new = move |made: &Made| {
            is_away(made.dot.node, table, opened) && self.is_new(&made.dot, node, tops, table, opened)
        };
        self.made.iter().map(|(_, made)| *made).filter(is_new)
    }

    /// Whether a change of another node went into what is left, and `node` has not heard of it.
    fn is_new(&self, dot: &Dot, node: NodeId, tops: &[usize], table: &Table, opened: &Opened) -> bool {
        dot.node != node && self.is_left(dot, tops) && !self.has_heard(node, dot, table, opened)
    }

    /// What was put off at a node so that what stands there, which is the version at the place `own`, is weighed first, unless that was
    /// done: once it is a change of its own, whoever has seen that has weighed it.
    fn put_off(&self, own: usize, why: ParkedCode, tops: &[usize]) -> Option<&Version> {
        let node = self.versions[own].version.node;
        let mut versions = self.versions.iter();
        let waiting = versions.find(|one| one.version.node == node && one.code == Some(why))?;
        let knew = |dot: &Dot| waiting.read_own(dot.mark, dot.number) || waiting.version.vector.saw(dot);
        let is_since = |dot: &Dot| dot.node == node && !knew(dot);
        let has_seen = |&top: &usize| top == own || self.versions[top].version.vector.dots().iter().any(is_since);
        (!tops.iter().any(has_seen)).then_some(&waiting.version)
    }

    /// How what stands is to be judged beside what was put off until a node is back. What told by whom that was made may be purged by now.
    fn unheard(&self, own: usize, tops: &[usize], table: &Table, opened: &Opened) -> Unread {
        let Some(waiting) = self.put_off(own, ParkedCode::Unheard, tops) else { return Unread::Seen };
        if !table.has_subsets() {
            // It could not be made a change of its own when another came to wait beside it.
            return self.since(own, waiting.stamp.time);
        }
        let stands = &self.versions[own].version;
        let is_new = |dot: &Dot| self.is_new(dot, stands.node, tops, table, opened);
        // Whoever is back tells what he knew when he changed it, if that was others alone that are not known here. Of whom nothing is told
        // any more, he was there before, and what he told is why it waits.
        let is_upon = |change: &Dot| {
            let before =
                |(source, _, id, _): &&(NodeId, i64, i64, Vector)| *source == change.node && *id < change.number;
            let mut told = self.told.iter().filter(before).flat_map(|(.., vector)| vector.dots());
            told.any(|dot| dot.node != change.node && is_new(dot))
        };
        let mut changes = waiting.vector.dots().iter().filter(|dot| is_new(dot));
        if changes.clone().any(|change| is_away(change.node, table, opened)) {
            return Unread::Unknown;
        }
        let is_told = |change: &Dot| self.own.iter().any(|own| own.dot == *change);
        match changes.any(|change| is_upon(change) || !is_told(change)) {
            true => self.since(own, waiting.stamp.time),
            false => Unread::Seen,
        }
    }

    /// Whether a change went into what is left. Others may have what was made by now, from a node that had nothing to weigh against it.
    fn is_left(&self, dot: &Dot, tops: &[usize]) -> bool {
        let mut tops = tops.iter().map(|&top| &self.versions[top].version);
        tops.any(|version| version.node == dot.node || version.vector.saw(dot))
    }

    /// Whether all that is new to the others of a node is a row that is gone again.
    pub(super) fn came_and_went(&self, maker: NodeId, table: &Table, opened: &Opened) -> bool {
        if !table.is_blind(maker) {
            return false;
        }
        let own = self.own.iter().filter(|own| own.dot.node == maker);
        let Some(last) = own.max_by_key(|own| own.dot.number).filter(|own| own.op == Op::Delete) else { return false };
        if self.took_others_place(maker) {
            return false;
        }
        // Who has no row has nothing to lose, and whoever has heard of it and has one has kept it.
        let counts = |other: &&Contender| !other.is_outside(table) && other.version.node != maker;
        let has_kept =
            |other: &Contender| table.has_subsets() && other.content.is_row() && other.version.vector.saw(&last.dot);
        let mut others = self.versions.iter().filter(counts).peekable();
        (others.peek().is_some() || !table.has_subsets())
            && others.all(|other| {
                let node = other.version.node;
                if other.version.waiting && table.has_subsets() {
                    // What came of the row may wait. If that is nothing, nobody has it.
                    let mut own = self.own.iter().filter(|own| own.dot.node == maker);
                    let is_nothing = other.owed.is_none() && other.content == Content::Deleted;
                    let vector = &other.version.vector;
                    // Who deleted it may have had just what waits.
                    let had = self.standing(maker).is_some_and(|deleted| deleted.version.vector.includes(vector));
                    return is_nothing || has_kept(other) || !had && !own.any(|own| vector.saw(&own.dot));
                }
                opened.passed(table.index, node, &last.dot)
                    || has_kept(other)
                    || self.made_blindly(node, maker, table, opened).is_some()
            })
    }

    /// Whether the row that was made at a node won against others, and stood in their place there until it was deleted.
    pub fn took_others_place(&self, maker: NodeId) -> bool {
        let Some(deleted) = self.standing(maker) else { return false };
        let (Some(made), Some(Gone::Here(gone))) = (deleted.made, deleted.gone) else { return false };
        self.won.iter().any(|(teller, id)| *teller == maker && (made..gone.number).contains(id))
    }

    /// How the content of `node` stands to the outcome of a contest of which `tops` are left.
    pub fn unread(&self, node: NodeId, tops: &[usize], table: &Table, opened: &Opened) -> Unread {
        let place = self.versions.iter().position(|c| c.version.node == node && !c.version.waiting);
        let Some(own) = place else { return Unread::Seen };
        let mut makers: Vec<NodeId> = self.own.iter().map(|own| own.dot.node).filter(|&maker| maker != node).collect();
        makers.sort_unstable();
        makers.dedup();
        let made = makers.into_iter().filter_map(|maker| self.made_blindly(node, maker, table, opened));
        let made = made.filter(|made| self.is_left(&made.dot, tops)).max_by_key(|made| made.time);
        let unread = match made {
            Some(made) => self.unread_beside(own, &made.made(), tops, table, opened),
            // It was put off for that, and what it came of may be purged, but somebody held the row.
            None => match self.put_off(own, ParkedCode::Unweighed, tops) {
                Some(waiting) => self.since(own, waiting.stamp.time),
                None => self.unheard(own, tops, table, opened),
            },
        };
        let is_unknown = |made: Made| {
            self.unread_beside(own, &made, tops, table, opened) != Unread::Seen
                && !self.is_weighed(own, &made.dot, table)
        };
        match unread {
            Unread::Seen if self.made_away(node, tops, table, opened).any(is_unknown) => Unread::Unknown,
            unread => unread,
        }
    }

    /// The same, where this was made without knowing of the content, which is that of the version at the place `own`.
    fn unread_beside(&self, own: usize, made: &Made, tops: &[usize], table: &Table, opened: &Opened) -> Unread {
        match self.unread_if(own, made, tops, table, opened, &|_| false) {
            Unread::Seen => Unread::Seen,
            // What somebody did who is away may have been done to what was made, or to this.
            _ if table.has_subsets()
                && self.unread_if(own, made, tops, table, opened, &|dot| is_away(dot.node, table, opened))
                    == Unread::Seen =>
            {
                Unread::Unknown
            }
            unread => unread,
        }
    }

    /// The same, where changes of which nobody knows upon what they were made count as made upon the content if they are `known`.
    fn unread_if(
        &self,
        own: usize,
        made: &Made,
        tops: &[usize],
        table: &Table,
        opened: &Opened,
        known: &dyn Fn(&Dot) -> bool,
    ) -> Unread {
        let version = &self.versions[own].version;
        let node = version.node;
        let may_come_of = |dot: &Dot| table.has_subsets() && is_away(dot.node, table, opened) && !known(dot);
        let blindly = self.all_made_blindly(table).map(|made| made.dot).filter(|dot| {
            let first = self.made_blindly(node, dot.node, table, opened);
            dot.node != node && first.is_some_and(|first| first.dot.number <= dot.number)
        });
        // Nothing that went into what was put off had seen it, although who made what of that may be purged.
        let put_off = self.put_off(own, ParkedCode::Unweighed, tops).into_iter();
        let blindly: Vec<Dot> = blindly
            .chain(put_off.flat_map(|waiting| waiting.vector.dots().iter().copied()))
            .chain([made.dot])
            .collect();
        let comes_of = |dot: &Dot| blindly.iter().any(|made| self.comes_of(dot, made)) || may_come_of(dot);
        let own_dot = version.vector.dots().iter().find(|dot| dot.node == node);
        let replaces = |other: &Contender| {
            let vector = &other.version.vector;
            !other.version.waiting
                && other.is_version()
                && vector.includes(&version.vector)
                && !version.vector.includes(vector)
                && (other.gone == Some(Gone::Elsewhere)
                    && table.has_subsets()
                    && (self.took_row(other, own_dot)
                        || vector.dots().iter().any(|dot| !version.vector.saw(dot) && known(dot)))
                    || self.made_blindly(node, other.version.node, table, opened).is_none()
                        && other.version.node != made.dot.node
                        && (vector.dots().iter().any(|dot| !version.vector.saw(dot) && !comes_of(dot))
                            || own_dot.is_some_and(|own| self.took_in(other, own, table)))
                    || self.was_told_since(other, &version.vector))
        };
        let successors = self.versions.iter().enumerate().filter(|(_, other)| replaces(other));
        let successors: Vec<(usize, &Contender)> = successors.collect();
        // What was weighed itself, or what came after it, lost knowingly. So did what was deleted by somebody who had it.
        let is_done = |(at, other): &(usize, &Contender)| {
            tops.contains(at) || other.version.vector.saw(&made.dot) || other.content == Content::Deleted
        };
        // What waits anywhere was weighed for it, too, if it has seen more than what was made here and elsewhere without it, but not what
        // waits for just that.
        let tells = |dot: &Dot| !comes_of(dot) && self.made_blindly(node, dot.node, table, opened).is_none();
        let waits_for_it = |(at, other): (usize, &Contender)| {
            let vector = &other.version.vector;
            other.version.waiting
                && other.code != Some(ParkedCode::Unweighed)
                && other.is_version()
                && table.has_subsets()
                && vector.includes(&version.vector)
                && (other.version.node == node && tops.contains(&at)
                    || vector.saw(&made.dot) && vector.dots().iter().any(tells))
        };
        if tops.contains(&own) || successors.iter().any(is_done) || self.versions.iter().enumerate().any(waits_for_it) {
            return Unread::Seen;
        }
        if !successors.is_empty() {
            return Unread::Superseded;
        }
        self.since(own, made.time)
    }

    /// What stands is to be weighed, and is older than what was made then without it, if nobody knows its age.
    fn since(&self, own: usize, made: i64) -> Unread {
        let time = self.versions[own].version.stamp.time;
        Unread::Since(Some(time).filter(|time| *time != i64::MIN).unwrap_or(made - LONG_BEFORE))
    }

    /// Whether a node that takes all rows, and so had this one, has taken a change that was made without it.
    fn is_weighed(&self, own: usize, dot: &Dot, table: &Table) -> bool {
        let stands = &self.versions[own].version;
        self.versions.iter().any(|other| {
            let Version { node, waiting, behind, vector, .. } = &other.version;
            *node != stands.node
                && !waiting
                && !behind
                && other.is_version()
                && table.subset(*node).is_none()
                && vector.includes(&stands.vector)
                && vector.saw(dot)
        })
    }

    /// Whether what was deleted at a node may have been the row of which this is the last change that is told.
    fn took_row(&self, contender: &Contender, own: Option<&Dot>) -> bool {
        contender.began().is_none() || own.is_some_and(|own| contender.version.vector.saw(own))
    }

    /// Whether a row that was made at a node was weighed there later, against all that this has seen.
    fn was_told_since(&self, contender: &Contender, seen: &Vector) -> bool {
        let is_since = |(source, _, id, vector): &(NodeId, i64, i64, Vector)| {
            *source == contender.version.node && contender.made.is_some_and(|made| made < *id) && vector.includes(seen)
        };
        !seen.is_empty() && self.told.iter().any(is_since)
    }

    /// Whether a change of another node went into what stands somewhere, and was not just passed there.
    fn took_in(&self, contender: &Contender, dot: &Dot, table: &Table) -> bool {
        let Version { node, vector, .. } = &contender.version;
        let mut told = self.told.iter().filter(|(source, ..)| source == node);
        vector.saw(dot) && (table.subset(*node).is_none() || told.any(|(_, _, _, vector)| vector.saw(dot)))
    }

    /// Whether a change is one that was made blindly, or was made at its node upon that.
    fn comes_of(&self, dot: &Dot, made: &Dot) -> bool {
        let is_upon = |(source, _, id, vector): &(NodeId, i64, i64, Vector)| {
            *source == dot.node && *id < dot.number && vector.saw(made)
        };
        dot.node == made.node || self.told.iter().any(is_upon)
    }
}
