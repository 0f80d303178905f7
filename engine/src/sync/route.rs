//! From an outcome to what each node has to do about it: direction, operations, mapping, entries, journal.

use std::sync::Arc;

use super::contest::{Content, Contest, LONG_BEFORE, Made, Unread};
use super::decide::{Loser, Resolved, Settled};
use super::mapped::{Current, localized};
use super::opened::Opened;
use super::subset::{self, Belongs};
use super::table::{Form, Table};
use crate::model::{Dot, Images, Key, Lost, NodeId, Op, ParkedCode, Row, Stamp, Vector};
use crate::node::apply::{Decision, Effect, Otherwise};
use crate::node::{Note, WriteMode};

/// The outcome of one contest, to be carried out at every node.
pub struct Ruling<'a> {
    pub table: &'a Table,
    pub key: &'a Key,
    pub contest: &'a Contest,
    /// The places of the versions that are left.
    pub tops: &'a [usize],
    pub resolved: &'a Resolved,
    /// Where the outcome belongs, by node; at all where there is none.
    pub places: &'a [Belongs],
    pub opened: &'a Opened,
}

impl Ruling<'_> {
    /// What a node has to do about it; `None` if nothing.
    pub fn at(&self, target: NodeId, form: &Form) -> Option<Decision> {
        let parked = self.opened.parked(target, self.table.index, self.key);
        let standing = self.contest.standing(target);
        let (effect, unread) = self.unless_unread(target, self.effect(target, form));
        let outside = self.is_outside(target);
        let settled = &self.resolved.settled;
        let takes_nothing = match outside {
            true => {
                let may_come = match settled {
                    Settled::Row { .. } | Settled::Parked(ParkedCode::Unreadable, _) => true,
                    Settled::Parked(..) => subset::is_last(self.contest, target),
                    Settled::Deleted => false,
                };
                !may_come || matches!(effect, Effect::Keep)
            }
            false => {
                let hollow = standing.is_some_and(|contender| !contender.is_version());
                hollow && !matches!(settled, Settled::Deleted)
            }
        };
        // Who takes nothing has nothing to tell either, and nothing to wait for.
        let effect = if takes_nothing { Effect::Keep } else { effect };
        let notes = if takes_nothing { Vec::new() } else { self.notes(target, &effect) };
        let losers = &self.resolved.losers;
        let (here, elsewhere): (Vec<&Loser>, Vec<&Loser>) =
            losers.iter().partition(|loser| self.stands_at(target, loser.at));
        let lost: Vec<Lost> = elsewhere.into_iter().map(|loser| self.lost(loser)).collect();
        let lost_here = here.first().map(|loser| self.lost(loser));
        let lost_here = match &effect {
            // It is weighed before it loses.
            _ if unread.is_some() => None,
            Effect::Delete => lost_here.or_else(|| self.lost_blindly(target)).or_else(|| self.lost_uncompared(target)),
            Effect::Write(..) => lost_here.or_else(|| self.lost_uncompared(target)),
            Effect::Keep | Effect::Park(..) => lost_here,
        };
        let loses = !lost.is_empty() || lost_here.is_some();
        let nothing_to_do = matches!(effect, Effect::Keep) && notes.is_empty() && !loses && parked.is_none();
        (!nothing_to_do).then(|| Decision {
            key: self.key.clone(),
            otherwise: Some(self.otherwise(
                target,
                // Where no row belongs none speaks beside what waits, but it is not forgotten for which changes the row went.
                match standing {
                    Some(_) if outside && matches!(settled, Settled::Row { .. }) => self.contest.heard_at(target),
                    Some(contender) if !outside => contender.version.vector.clone(),
                    _ => Vector::EMPTY,
                },
                standing.filter(|_| !outside).map_or(i64::MIN, |contender| contender.version.stamp.time),
            )),
            effect,
            notes,
            waiting: parked.cloned().map(Box::new),
            touch: unread.and_then(|unread| self.age(target, unread)),
            lost,
            lost_here,
            upon: None,
            // What waits is weighed again and again, and so is what it is weighed against. So is, where others failed, what this node
            // has taken.
            lost_before: self.resolved.rivals
                || self.contest.waits()
                || !self.resolved.unvouched.is_empty()
                || self.knows_all(target),
        })
    }

    /// What is to become of the row at nodes where it does not belong, once others have taken it from there. `current` is what
    /// stands at each target, where a plugin maps.
    pub fn leaving(&self, targets: &[NodeId], current: &[Current]) -> Vec<(NodeId, Decision)> {
        let belongs = |node: &NodeId, place: &Belongs| self.places.get(node.index()) == Some(place);
        let writes = |(node, current): (&NodeId, &Current)| {
            let form = self.table.form(*node)?;
            let decision = self.at(*node, form)?;
            let written = match form.lens.is_mapped() {
                true => localized(form, vec![(decision, current.clone())]).pop()?,
                false => decision,
            };
            Some(matches!(written.effect, Effect::Write(..)))
        };
        let takes = |(node, current): (&NodeId, &Current)| {
            belongs(node, &Belongs::Inside) && writes((node, current)) == Some(true)
        };
        let stays = |node: &&NodeId| {
            let stands = self.contest.standing(**node).is_some_and(|standing| standing.content.is_row());
            belongs(node, &Belongs::Outside) && stands && !subset::may_go(self.contest, self.places, **node)
        };
        let staying: Vec<NodeId> = targets.iter().filter(stays).copied().collect();
        if staying.is_empty() || !targets.iter().zip(current).any(takes) {
            return Vec::new();
        }
        let decision = |node: NodeId| Decision {
            key: self.key.clone(),
            effect: Effect::Delete,
            notes: Vec::new(),
            waiting: None,
            touch: None,
            otherwise: Some(self.otherwise(node, Vector::EMPTY, i64::MIN)),
            lost: Vec::new(),
            lost_here: None,
            lost_before: false,
            upon: None,
        };
        staying.into_iter().map(|node| (node, decision(node))).collect()
    }

    /// Whether no row stands at a node because none belongs there, as far as anybody knows.
    fn is_outside(&self, target: NodeId) -> bool {
        self.contest.standing(target).is_some_and(|contender| contender.is_outside(self.table))
    }

    /// What becomes of a row that does not belong at a node: it goes, without being deleted anywhere else.
    fn removal(&self, target: NodeId) -> Effect {
        let standing = self.contest.standing(target).map(|contender| &contender.content);
        let is_outcome = |content: &Content| match (content, &self.resolved.settled) {
            (Content::Row(own), Settled::Row { row, .. }) => own == row,
            _ => false,
        };
        let waits = self.opened.parked(target, self.table.index, self.key).is_some();
        match standing {
            None | Some(Content::Deleted) if subset::is_last(self.contest, target) => {
                Effect::Park(ParkedCode::Outside, subset::LAST.to_owned())
            }
            None | Some(Content::Deleted) => Effect::Keep,
            Some(_) if subset::may_go(self.contest, self.places, target) => Effect::Delete,
            // Until somebody tells that he has it. Beside what waits that may have been told already, if there is nothing to tell him.
            Some(content) if is_outcome(content) && !(waits && self.knows_all(target)) => Effect::Keep,
            Some(_) => Effect::Park(ParkedCode::Outside, subset::LAST.to_owned()),
        }
    }

    /// Whether the content that stands at a node has seen a change.
    fn knows(&self, target: NodeId, dot: &Dot) -> bool {
        self.contest.stands_for(target, dot, self.table, self.opened)
    }

    /// Whether what stands at a node has seen everything that went into the outcome.
    fn knows_all(&self, target: NodeId) -> bool {
        let mut dots = self.resolved.vector.dots().iter().chain(&self.resolved.unvouched);
        dots.all(|dot| self.knows(target, dot))
    }

    /// Whether a node that has seen everything holds what was decided differently nevertheless.
    fn differs(&self, target: NodeId) -> bool {
        let Ruling { contest, resolved, .. } = self;
        resolved.rivals && contest.standing(target).is_some_and(|c| c.version.stamp.node != resolved.stamp.node)
    }

    fn effect(&self, target: NodeId, form: &Form) -> Effect {
        let Ruling { contest, resolved, .. } = self;
        let taken = resolved.taken.map(|at| &contest.versions[at]);
        match self.places.get(target.index()) {
            Some(Belongs::Outside) => return self.removal(target),
            Some(Belongs::Unknown(why)) => return Effect::Park(ParkedCode::Filter, why.clone()),
            Some(Belongs::Inside) | None => {}
        }
        if self.is_outside(target) && contest.has_heard_more(target, &resolved.vector) {
            let why = "another change of the row was passed here, which only nodes that are away know; decided when they are back";
            return match &resolved.settled {
                Settled::Row { .. } => Effect::Park(ParkedCode::Filter, why.to_owned()),
                _ => Effect::Keep,
            };
        }
        let is_taken = taken.is_some_and(|taken| taken.version.node == target && !taken.version.waiting);
        if is_taken || (self.knows_all(target) && !self.differs(target) && !self.is_outside(target)) {
            return Effect::Keep;
        }
        let stands = contest.standing(target).map(|contender| &contender.content);
        let operations = self.table.operations;
        match &resolved.settled {
            Settled::Parked(code, why) => Effect::Park(*code, why.clone()),
            // Also where no row was seen: somebody may be about to commit one.
            Settled::Deleted if operations.delete => Effect::Delete,
            Settled::Deleted => Effect::Keep,
            Settled::Row { row, unknown } => {
                let mut row = row.clone();
                if let Some(standing) = stands.and_then(Content::row) {
                    unknown.iter().for_each(|&column| Arc::make_mut(&mut row)[column] = standing[column].clone());
                    if (0..row.len()).all(|column| standing[column] == row[column] || !form.lens.has(column)) {
                        return Effect::Keep;
                    }
                }
                let mode = match (operations.insert, operations.update) {
                    (true, true) => WriteMode::Upsert,
                    (true, false) => WriteMode::InsertOnly,
                    (false, true) => WriteMode::UpdateOnly,
                    (false, false) => return Effect::Keep,
                };
                if let (true, Some(Content::Unreadable(why))) = (mode != WriteMode::InsertOnly, stands)
                    && let Some(&column) = unknown.iter().find(|&&column| form.lens.has(column))
                {
                    let name = &self.table.columns[column].name;
                    let why = format!(
                        "what stands here cannot be read, and its `{name}`, which nobody else who is there knows, would be lost: {why}"
                    );
                    return Effect::Park(ParkedCode::Value, why);
                }
                form.write(row, mode)
            }
        }
    }

    /// Puts off what would take the place of a row that it was made without, so that this row is weighed first.
    fn unless_unread(&self, target: NodeId, effect: Effect) -> (Effect, Option<Unread>) {
        let Ruling { table, contest, tops, resolved, opened, .. } = self;
        // Once what waits for it has told that it is new, nothing else tells.
        let waits = matches!(effect, Effect::Park(..));
        if !table.makes_blindly() || !(waits || matches!(effect, Effect::Write(..) | Effect::Delete)) {
            return (effect, None);
        }
        let stands = contest.standing(target).is_some_and(|contender| contender.content != Content::Deleted);
        let maker = resolved.stamp.node;
        let was_only_there = resolved.taken.is_some()
            && contest.made_blindly(target, maker, table, opened).is_some()
            && !contest.took_others_place(maker);
        let unheard = || {
            let why = "another row of the same key was made at a node that is away, and nobody else knows whether the one that \
                       stands here was known there; decided when that node is back";
            (Effect::Park(ParkedCode::Unheard, why.to_owned()), None)
        };
        let is_unheard = || {
            opened.parked(target, table.index, self.key).is_some_and(|waits| waits.code == ParkedCode::Unheard)
                || stands && contest.is_made_blindly(target, table, opened)
        };
        let is_last = || resolved.taken.is_some_and(|at| self.waits_at(target, at));
        match contest.unread(target, tops, table, opened) {
            Unread::Seen => match effect {
                // Where nothing was decided, nothing else is going to tell that it is to be weighed.
                Effect::Park(ParkedCode::Unreadable, why) if table.has_subsets() && is_unheard() => {
                    (Effect::Park(ParkedCode::Unheard, why), None)
                }
                effect => (effect, None),
            },
            // Nobody but its own node ever had what was deleted.
            _ if matches!(resolved.settled, Settled::Deleted) && was_only_there => (Effect::Keep, None),
            _ if !stands => (effect, None),
            // What waits at this node alone is not to be forgotten for that.
            Unread::Unknown if waits && is_last() => (effect, None),
            Unread::Unknown => unheard(),
            unread if waits => (effect, Some(unread)),
            unread => {
                let why = "another row of the same key was inserted elsewhere without knowing of the one that stands here; \
                           decided in the next cycle";
                // What has a later one in its place is not to be weighed for itself.
                let code = if unread == Unread::Superseded { ParkedCode::Busy } else { ParkedCode::Unweighed };
                (Effect::Park(code, why.to_owned()), Some(unread))
            }
        }
    }

    /// The time of what is to be weighed, by the node's own clock.
    fn age(&self, target: NodeId, unread: Unread) -> Option<i64> {
        let offset = self.opened.present[target.index()].as_ref().map_or(0, |presence| presence.clock.offset);
        match unread {
            Unread::Since(time) => Some(time + offset),
            Unread::Seen | Unread::Superseded | Unread::Unknown => None,
        }
    }

    /// The row that is replaced before a load has compared it, though one of the two nodes is only being let in.
    fn lost_uncompared(&self, target: NodeId) -> Option<Lost> {
        let Ruling { table, key, contest, resolved, opened, .. } = self;
        if !contest.is_uncompared(key, target, resolved, table, opened) {
            return None;
        }
        let own = (0..contest.versions.len()).find(|&at| self.stands_at(target, at))?;
        let content = &contest.versions[own].content;
        // What its users did since was weighed. What cannot be read nobody could bring back.
        content.row().filter(|_| !contest.own_ops().any(|(node, _)| node == target))?;
        Some(Lost {
            id: format!("unread-{}", resolved.id),
            loser: target,
            loser_time: resolved.stamp.time - LONG_BEFORE,
            reason: "a change was carried while a load let a node in and had not come to this row: nobody knew what stood here".to_owned(),
            ..self.journalled(own, content.shared(), contest.untold(own, table))
        })
    }

    /// The row that a delete takes which was made without hearing of changes.
    fn lost_blindly(&self, target: NodeId) -> Option<Lost> {
        let Ruling { table, contest, resolved, .. } = self;
        let own = (0..contest.versions.len()).find(|&at| self.stands_at(target, at))?;
        if !table.deletes_blindly() || resolved.losers.iter().any(|loser| loser.at == own) {
            return None;
        }
        let (version, content) = (&contest.versions[own].version, &contest.versions[own].content);
        let known = version.stamp.time != i64::MIN;
        content.row()?;
        Some(Lost {
            // Beside what lost the conflict, if there was one.
            id: format!("delete-{}", resolved.id),
            loser: if known { version.stamp.node } else { target },
            loser_time: if known { version.stamp.time } else { resolved.stamp.time - LONG_BEFORE },
            reason:
                "deleted elsewhere; `operations` carries no updates, so it may have been changed here unknown to who \
                     deleted it"
                    .to_owned(),
            ..self.journalled(own, content.shared(), contest.untold(own, table))
        })
    }

    /// A vector without changes of the target beyond its page. They were looked up because their key was in question, and the
    /// outcome is not written over them: they are decided about again, and have not lost yet. Those that what was taken had seen
    /// itself stay: they are no rivals of it, and who could tell may be away then.
    fn read_of(&self, target: NodeId, vector: &Vector) -> Vector {
        let read = self.opened.read_cut(self.table.index, target);
        let taken = self.resolved.taken.map(|at| &self.contest.versions[at].version.vector);
        let known =
            |dot: &&Dot| dot.node != target || read.as_ref().is_none_or(|read| read.contains(dot.mark, dot.number));
        let seen = taken.into_iter().flat_map(|taken| taken.dots()).filter(|dot| dot.node == target);
        let mut kept = Vector::EMPTY;
        vector.dots().iter().filter(known).chain(seen).for_each(|dot| kept.add(*dot));
        kept
    }

    /// The version that waits if the target cannot take the outcome. Of an undecided conflict that is the latest version
    /// that the target does not hold itself.
    fn otherwise(&self, target: NodeId, standing: Vector, standing_time: i64) -> Otherwise {
        let Ruling { contest, resolved, .. } = self;
        let (row, unknown, vector, stamp) = match &resolved.settled {
            // What nobody here knows is not NULL for that: whoever takes what waits completes it as he would the version itself.
            Settled::Row { row, unknown } => {
                (Some(row.clone()), unknown.clone(), resolved.vector.clone(), resolved.stamp)
            }
            Settled::Deleted | Settled::Parked(ParkedCode::Unreadable, _) => {
                (None, Vec::new(), resolved.vector.clone(), resolved.stamp)
            }
            Settled::Parked(..) => {
                let foreign = contest.versions.iter().enumerate().filter(|(_, c)| {
                    let is_known = !matches!(c.content, Content::Unread | Content::Stands);
                    is_known && c.is_version() && !standing.includes(&c.version.vector)
                });
                let leading = foreign
                    .filter(|(_, c)| c.version.waiting || c.version.node != target)
                    .max_by_key(|(_, c)| c.version.stamp);
                let (row, unknown, stamp) = match leading {
                    Some((at, leading)) => {
                        (leading.content.shared(), contest.untold(at, self.table), leading.version.stamp)
                    }
                    None => (None, Vec::new(), resolved.stamp),
                };
                (row, unknown, resolved.vector.clone(), stamp)
            }
        };
        let vector = if self.table.policy.merges() { vector } else { self.read_of(target, &vector) };
        Otherwise { vector, stamp, row, unknown, standing, standing_time }
    }

    /// The entries that tell other nodes what the target has now seen, where its positions do not say it.
    fn notes(&self, target: NodeId, effect: &Effect) -> Vec<Note> {
        let Ruling { table, key, contest, resolved, opened, .. } = self;
        if matches!(resolved.settled, Settled::Parked(..)) {
            return Vec::new();
        }
        let takes_it = matches!(effect, Effect::Keep | Effect::Write(_, WriteMode::Upsert));
        let relays = table.relays() && !(takes_it && self.is_at_both());
        // With two nodes, positions tell all, except what a partial page has not reached.
        // What the node knew before, it has told before.
        let untold = |dot: &Dot| !self.knows(target, dot) && (relays || !opened.will_pass(table.index, target, dot));
        let dots = || resolved.vector.dots().iter().copied();
        // By the change that stands, others see what the outcome was.
        let winner = dots().find(|dot| dot.node == resolved.stamp.node);
        let last = dots().filter(untold).max_by_key(|dot| dot.number);
        let Some(named) = (if last.is_some() { winner.or(last) } else { winner.filter(|_| self.differs(target)) })
        else {
            return Vec::new();
        };
        let stands = || contest.standing(target).is_none_or(|contender| contender.content != Content::Deleted);
        let op = match (&resolved.settled, effect) {
            (Settled::Deleted, _) => Op::Delete,
            (_, Effect::Write(..)) if table.subset(target).is_some() && !stands() => Op::Insert,
            (_, Effect::Keep) if table.subset(target).is_some() && !stands() => Op::Pass,
            _ => Op::Update,
        };
        let note = |dot: Dot, vector: Vector, stamp: Stamp, images: Option<Images>| Note {
            key: (*key).clone(),
            op,
            dot,
            vector,
            stamp,
            images,
        };
        // Recorded changes are told one by one, so that whoever hears of them can count each.
        let mut notes: Vec<Note> = contest
            .deltas
            .iter()
            .filter(|(delta, _)| untold(&delta.dot))
            .map(|(delta, time)| {
                let images = Images { before: delta.before.clone(), after: delta.after.clone() };
                note(delta.dot, Vector::of(delta.dot), Stamp { time: *time, node: delta.dot.node }, Some(images))
            })
            .collect();
        notes.sort_by_key(|note| (note.dot.node, note.dot.number));
        match notes.last_mut().filter(|note| note.dot.node == named.node) {
            Some(note) => {
                note.vector = resolved.vector.clone();
                note.stamp.time = resolved.stamp.time;
            }
            None => notes.push(note(named, resolved.vector.clone(), resolved.stamp, None)),
        }
        self.tell_made(op, &mut notes, untold);
        notes
    }

    /// Whether of two nodes each has the row before and after. Then filters hide nothing of it, and positions tell all, as without them.
    fn is_at_both(&self) -> bool {
        let Ruling { table, contest, places, .. } = self;
        let stays = |at: usize| places.get(at).is_none_or(|place| *place == Belongs::Inside);
        table.may_leave_untold() && (0..2).all(stays) && contest.is_changed_in_place()
    }

    /// Tells by which changes the row was made where others may have been hidden. Whoever has one of these is not to take it for seen,
    /// also where its maker is away.
    fn tell_made(&self, op: Op, notes: &mut Vec<Note>, untold: impl Fn(&Dot) -> bool) {
        let Ruling { table, key, contest, resolved, .. } = self;
        if !table.has_subsets() {
            return;
        }
        let is_new = |made: &Made| resolved.vector.saw(&made.dot) && untold(&made.dot);
        let mut made: Vec<Made> = contest.all_made_blindly(table).filter(is_new).collect();
        made.sort_unstable_by_key(|made| (made.dot.node, made.dot.number));
        made.dedup_by_key(|made| made.dot);
        let note = |Made { dot, time }: Made| {
            let stamp = Stamp { time, node: dot.node };
            Note { key: (*key).clone(), op, dot, vector: Vector::EMPTY, stamp, images: None }
        };
        notes.splice(0..0, made.into_iter().map(note));
    }

    /// Whether the version at this place waits at a node.
    fn waits_at(&self, target: NodeId, at: usize) -> bool {
        let version = &self.contest.versions[at].version;
        version.node == target && version.waiting
    }

    /// Whether the version at this place is what stands at a node.
    fn stands_at(&self, target: NodeId, at: usize) -> bool {
        let version = &self.contest.versions[at].version;
        version.node == target && !version.waiting
    }

    /// What the journal keeps of a version that lost.
    fn lost(&self, loser: &Loser) -> Lost {
        let told = loser.told.clone();
        Lost { told, ..self.journalled(loser.at, loser.row.clone(), loser.unknown.clone()) }
    }

    /// What the journal keeps of the version at this place. Every node that takes the outcome keeps what lost, whether it held it
    /// or not: once its positions have moved, it counts as seen, and if the node that holds it fails now, nothing tells later.
    fn journalled(&self, at: usize, loser_row: Option<Arc<Row>>, loser_unknown: Vec<usize>) -> Lost {
        let Ruling { table, key, contest, resolved, .. } = self;
        let loser = &contest.versions[at];
        let (winner_row, winner_unknown) = match &resolved.settled {
            Settled::Row { row, unknown } => (Some(row.clone()), unknown.clone()),
            _ => (None, Vec::new()),
        };
        Lost {
            id: resolved.id.clone(),
            table: table.index,
            key: (*key).clone(),
            decided: resolved.decided,
            winner: resolved.stamp.node,
            winner_time: resolved.stamp.time,
            winner_row,
            winner_unknown,
            loser: loser.version.stamp.node,
            loser_time: loser.version.stamp.time,
            loser_row,
            loser_unknown,
            reason: resolved.reason.clone().into_owned(),
            told: None,
        }
    }
}
