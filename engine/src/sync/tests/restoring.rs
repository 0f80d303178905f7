//! The end of a random run at which a node is put back to what it was some time before, and its users go on writing.
//!
//! Whether anything was lost that others know of is told from outside of Concord: every entry that there ever was is
//! remembered with the database it was written to.

use super::cluster::{Cluster, NAMES};
use super::reference::Run;
use crate::model::{Cut, EntryId, ParkedCode};
use crate::sync::memory::{State, identity};
use crate::sync::session::Session;

/// A database as it was put aside.
pub struct Backup {
    pub at: usize,
    pub state: State,
}

/// What a restore means to the others.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Loss {
    /// Nobody else knows of anything that was lost.
    Nothing,
    /// Others have applied what was lost, or no longer keep what the node has to apply again.
    Known,
    /// Others have applied only what was written earlier, and committed later, than something that was not lost; or they have
    /// the content of what was lost and have not passed its entry, because a page was cut short before it.
    Uncertain,
}

fn cut<'a>(state: &'a State, table: usize, source: &str) -> Option<&'a Cut> {
    let table = ["t", "u"][table].to_owned();
    state.positions.get(&(table, source.to_owned())).map(|position| &position.cut)
}

fn passed(state: &State, source: &str, (table, entry): &(usize, EntryId)) -> bool {
    cut(state, *table, source).is_some_and(|cut| cut.contains(entry.mark, entry.id))
}

/// Judges what it means that the database at a place, which was `real`, is the `backup` now.
pub fn loss(cluster: &Cluster, at: usize, real: &State, backup: &State) -> Loss {
    let mut loss = Loss::Nothing;
    let lost: Vec<&(usize, EntryId)> = real.ever.iter().filter(|entry| !backup.ever.contains(entry)).collect();
    for (other, database) in cluster.databases.iter().enumerate().filter(|(other, _)| *other != at) {
        let other_state = database.lock();
        let kept = |table: usize| {
            let passed = backup.ever.iter().filter(|entry| entry.0 == table && passed(&other_state, NAMES[at], entry));
            passed.map(|(_, entry)| entry.id).max()
        };
        for entry in lost.iter().filter(|entry| passed(&other_state, NAMES[at], entry)) {
            match kept(entry.0).is_none_or(|kept| entry.1.id > kept) {
                true => return Loss::Known,
                false => loss = Loss::Uncertain,
            }
        }
        let told = |entry: &EntryId| {
            let mut arrivals = other_state.history.iter().filter_map(|kept| kept.arrival.as_ref());
            arrivals.any(|arrival| {
                arrival
                    .vector
                    .dots()
                    .iter()
                    .chain([&arrival.dot])
                    .any(|dot| (dot.node.index(), dot.number, dot.mark) == (at, entry.id, entry.mark))
            })
        };
        if lost.iter().any(|entry| !passed(&other_state, NAMES[at], entry) && told(&entry.1)) {
            loss = Loss::Uncertain;
        }
        let forgotten = |entry: &&(usize, EntryId)| {
            passed(real, NAMES[other], entry)
                && !passed(backup, NAMES[other], entry)
                && !other_state.history.iter().any(|kept| identity(kept) == entry.1)
        };
        if other_state.ever.iter().any(|entry| forgotten(&entry)) {
            return Loss::Known;
        }
    }
    loss
}

impl Run {
    /// Puts a node back, and checks that it is left out, or that nothing was lost. Returns whether the run goes on as if
    /// nothing had happened.
    pub fn restore(&mut self, session: &mut Session, backup: Backup) -> Result<bool, String> {
        let Backup { at, state } = backup;
        let backup = state.restored();
        let real = self.cluster.databases[at].lock().clone();
        let loss = loss(&self.cluster, at, &real, &backup);
        if loss == Loss::Uncertain {
            return Ok(false);
        }
        let start = crate::model::time::now();
        // As it takes time to restore a database: a number is not given out twice at the same time.
        while crate::model::time::now() == start {}
        let writes = real.writes;
        *self.cluster.databases[at].lock() = backup.clone();
        self.cluster.databases[at].lock().writes = writes;
        self.made.retain(|(node, entry, key, by)| {
            let stays = *node != at || backup.ever.iter().any(|(_, kept)| kept == entry);
            self.totals[*key as usize] -= if stays { 0 } else { *by };
            stays
        });
        for _ in 0..self.random.below(12) {
            self.write(at);
        }
        for _ in 0..self.random.below(3) {
            let other = self.random.below(self.cluster.databases.len() as u64) as usize;
            self.write(other);
        }
        // Where nothing was lost it may be recognised all the same.
        let out = |session: &Session, when: &str| {
            let left_out: Vec<String> =
                session.away().into_iter().filter(|away| !away.unreachable).map(|away| away.node).collect();
            let expected = left_out == [NAMES[at]] || (loss == Loss::Nothing && left_out.is_empty());
            match expected {
                true => Ok(left_out.is_empty()),
                false => {
                    Err(format!("{} was restored, and {when} these are left out: {:?}", NAMES[at], session.away()))
                }
            }
        };
        if loss == Loss::Nothing {
            let _ = self.cluster.block(session.sync());
            out(session, "at once")?;
            self.cluster.settle(self.conflict(), 1000)?;
            let mut after = self.cluster.session(self.conflict(), 1000);
            let _ = self.cluster.block(after.cycle());
            return out(&after, "in the end");
        }
        let positions = backup.positions.clone();
        let kept: Vec<EntryId> = self.cluster.databases[at].lock().history.iter().map(identity).collect();
        let _ = self.cluster.block(session.cycle());
        out(session, "at once")?;
        for (other, database) in self.cluster.databases.iter().enumerate() {
            database.lock().up = other == at || self.random.chance(50);
        }
        let _ = self.cluster.block(session.cycle());
        out(session, "while others are away")?;
        self.cluster.settle(self.conflict(), 1000)?;
        let mut after = self.cluster.session(self.conflict(), 1000);
        self.cluster.block(after.cycle()).map_err(|error| error.to_string())?;
        out(&after, "in the end")?;
        let state = self.cluster.databases[at].lock();
        if state.writes != writes || state.positions != positions {
            return Err(format!("{} was restored and written to", NAMES[at]));
        }
        // It is all there is to tell what its users did since.
        if !kept.iter().all(|entry| state.history.iter().any(|own| identity(own) == *entry)) {
            return Err(format!("{} was restored, and its history was deleted", NAMES[at]));
        }
        drop(state);
        // What could not be read until then waits for its node.
        let waits = |id: &i64| {
            self.cluster.databases.iter().any(|database| {
                database.lock().parked.get(id).is_some_and(|parked| parked.code == ParkedCode::Unreadable)
            })
        };
        let mut others = self.cluster.rows();
        others.remove(at);
        others.iter_mut().for_each(|rows| rows.retain(|(id, _)| !waits(id)));
        match others.iter().all(|rows| *rows == others[0]) {
            true => Ok(false),
            false => Err(format!("{} was restored, and the others differ: {others:?}", NAMES[at])),
        }
    }
}

/// Of what a target had applied the source has purged some and not all: its witness is gone because it went on, not because
/// the source was put back.
#[test]
fn who_went_back_is_told_from_who_lost_a_history() {
    let cluster = Cluster::new(3, &[(1, 1)]);
    cluster.block(cluster.session("\"latest-wins\"", 10).install()).unwrap();
    let mut session = cluster.session("\"latest-wins\"", 10);
    let source = ("t".to_owned(), "a".to_owned());
    cluster.databases[0].lock().write(1, Some(2), false);
    cluster.block(session.sync()).unwrap();
    let former = cluster.databases[1].lock().positions[&source].clone();
    let purged = cluster.databases[0].lock().purged.clone();
    cluster.databases[0].lock().write(1, Some(3), false);
    cluster.block(session.sync()).unwrap();
    // As if the last node were behind, so that only what it has passed had been purged.
    cluster.databases[1].lock().positions.insert(source, former);
    cluster.databases[0].lock().purged = purged;
    let cycle = cluster.block(session.cycle()).unwrap();
    assert_eq!(cycle.away.iter().map(|away| away.node.as_str()).collect::<Vec<_>>(), ["b"], "{:?}", cycle.away);
    assert!(cycle.away[0].why.contains("a knows that it had applied more changes of `t`"), "{:?}", cycle.away);
}
