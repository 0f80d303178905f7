//! From an outcome to what each node has to do about it: direction, operations, mapping, entries, journal.

use std::sync::Arc;

use super::contest::{Content, Contest};
use super::decide::{Resolved, Settled};
use super::opened::Opened;
use super::table::{Form, Table};
use crate::model::{Dot, Images, Key, Lost, NodeId, ParkedCode, Row, Stamp, Vector, time};
use crate::node::apply::{Decision, Effect, Otherwise};
use crate::node::{Note, WriteMode};

/// What `target` has to do about the outcome of a contest; `None` if nothing.
pub fn decision(
    table: &Table,
    form: &Form,
    target: NodeId,
    key: &Key,
    contest: &Contest,
    resolved: &Resolved,
    base: Option<&Row>,
    opened: &Opened,
) -> Option<Decision> {
    let parked = opened.parked(target, table.index, key);
    let standing = contest.standing(target);
    let up_to_date = resolved.vector.dots().iter().all(|dot| contest.stands_for(target, dot, table, opened));
    let effect = effect(table, form, target, contest, resolved, base, up_to_date);
    let vector = standing.map_or(Vector::EMPTY, |contender| contender.version.vector.clone());
    let notes = notes(table, target, key, contest, resolved, opened);
    let lost = match &effect {
        Effect::Write(..) | Effect::Delete | Effect::Park(..) => lost(table, target, key, contest, resolved, opened),
        Effect::Keep => Vec::new(),
    };
    let nothing_to_do = matches!(effect, Effect::Keep) && notes.is_empty() && lost.is_empty() && parked.is_none();
    if nothing_to_do {
        return None;
    }
    Some(Decision {
        key: key.clone(),
        otherwise: otherwise(target, contest, resolved, vector, standing.map_or(i64::MIN, |c| c.version.stamp.time)),
        effect,
        notes,
        waiting: parked.cloned().map(Box::new),
        lost,
    })
}

fn effect(
    table: &Table,
    form: &Form,
    target: NodeId,
    contest: &Contest,
    resolved: &Resolved,
    base: Option<&Row>,
    up_to_date: bool,
) -> Effect {
    let taken = resolved.taken.map(|at| &contest.versions[at]);
    let is_taken = taken.is_some_and(|taken| taken.version.node == target && !taken.version.waiting);
    if is_taken || up_to_date {
        return Effect::Keep;
    }
    let stands = contest.standing(target).map(|contender| &contender.content);
    let operations = table.operations;
    match &resolved.settled {
        Settled::Parked(code, why) => Effect::Park(*code, why.clone()),
        Settled::Deleted => match stands {
            Some(Content::Deleted) => Effect::Keep,
            _ if operations.delete => Effect::Delete,
            _ => Effect::Keep,
        },
        Settled::Row { row, unknown } => {
            if unknown.is_empty() && stands.and_then(Content::row).is_some_and(|standing| standing == &**row) {
                return Effect::Keep;
            }
            let mode = match (operations.insert, operations.update) {
                (true, true) => WriteMode::Upsert,
                (true, false) => WriteMode::InsertOnly,
                (false, true) => WriteMode::UpdateOnly,
                (false, false) => return Effect::Keep,
            };
            let mut row = row.clone();
            if let Some(base) = base {
                unknown.iter().for_each(|&column| Arc::make_mut(&mut row)[column] = base[column].clone());
            }
            let local = if form.lens.is_identity() { row } else { Arc::new(form.lens.to_local(&row)) };
            match form.spec.misfit(&local) {
                Some((column, why)) => Effect::Park(
                    ParkedCode::Value,
                    format!("the value of `{column}` does not fit {}: it {why}", form.spec.full_name()),
                ),
                None => Effect::Write(local, mode),
            }
        }
    }
}

/// The version that waits if the target cannot take the outcome. Of an undecided conflict that is the latest version
/// that the target does not hold itself.
fn otherwise(
    target: NodeId,
    contest: &Contest,
    resolved: &Resolved,
    standing: Vector,
    standing_time: i64,
) -> Otherwise {
    let (row, vector, stamp) = match &resolved.settled {
        Settled::Row { row, .. } => (Some(row.clone()), resolved.vector.clone(), resolved.stamp),
        Settled::Deleted | Settled::Parked(ParkedCode::Unreadable, _) => {
            (None, resolved.vector.clone(), resolved.stamp)
        }
        Settled::Parked(..) => {
            let foreign = contest
                .versions
                .iter()
                .filter(|c| c.content != Content::Unread && !standing.includes(&c.version.vector));
            let leading =
                foreign.filter(|c| c.version.waiting || c.version.node != target).max_by_key(|c| c.version.stamp);
            match leading {
                Some(leading) => {
                    let row = match &leading.content {
                        Content::Row(row) => Some(row.clone()),
                        _ => None,
                    };
                    (row, leading.version.vector.clone(), leading.version.stamp)
                }
                None => (None, resolved.vector.clone(), resolved.stamp),
            }
        }
    };
    Otherwise { vector, stamp, row, standing, standing_time }
}

/// The entries that tell other nodes what the target has now seen, where its positions do not say it.
fn notes(
    table: &Table,
    target: NodeId,
    key: &Key,
    contest: &Contest,
    resolved: &Resolved,
    opened: &Opened,
) -> Vec<Note> {
    if matches!(resolved.settled, Settled::Parked(..)) {
        return Vec::new();
    }
    let relays = table.relays();
    // With two nodes, positions tell all, except what a partial page has not reached.
    // What the node knew before, it has told before.
    let untold = |dot: &Dot| {
        !contest.stands_for(target, dot, table, opened) && (relays || !opened.will_pass(table.index, target, dot))
    };
    let Some(last) = resolved.vector.dots().iter().copied().filter(untold).max_by_key(|dot| dot.number) else {
        return Vec::new();
    };
    let deleted = matches!(resolved.settled, Settled::Deleted);
    let note = |dot: Dot, vector: Vector, stamp: Stamp, images: Option<Images>| Note {
        key: key.clone(),
        deleted,
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
            let mut vector = Vector::EMPTY;
            vector.add(delta.dot);
            let images = Images { before: delta.before.clone(), after: delta.after.clone() };
            note(delta.dot, vector, Stamp { time: *time, node: delta.dot.node }, Some(images))
        })
        .collect();
    notes.sort_by_key(|note| (note.dot.node, note.dot.number));
    match notes.last_mut() {
        Some(note) => {
            note.vector = resolved.vector.clone();
            note.stamp.time = resolved.stamp.time;
        }
        None => {
            // The change that stands, where it is among those to be told.
            let own = resolved.vector.dots().iter().copied().find(|dot| dot.node == resolved.stamp.node && untold(dot));
            notes.push(note(own.unwrap_or(last), resolved.vector.clone(), resolved.stamp, None));
        }
    }
    notes
}

/// The losing versions that the target holds and is about to overwrite.
fn lost(
    table: &Table,
    target: NodeId,
    key: &Key,
    contest: &Contest,
    resolved: &Resolved,
    opened: &Opened,
) -> Vec<Lost> {
    let holds = |&&at: &&usize| {
        let version = &contest.versions[at].version;
        (version.waiting && version.node == target)
            || version.vector.dots().iter().all(|dot| contest.stands_for(target, dot, table, opened))
    };
    let winner_row = match &resolved.settled {
        Settled::Row { row, .. } => Some((**row).clone()),
        _ => None,
    };
    let lost = |&at: &usize| {
        let loser = &contest.versions[at];
        Lost {
            id: resolved.id.clone(),
            table: table.index,
            key: key.clone(),
            decided: time::now(),
            winner: resolved.stamp.node,
            winner_time: resolved.stamp.time,
            winner_row: winner_row.clone(),
            loser: loser.version.stamp.node,
            loser_time: loser.version.stamp.time,
            loser_row: loser.content.row().cloned(),
            reason: resolved.reason.clone(),
        }
    };
    resolved.losers.iter().filter(holds).map(lost).collect()
}
