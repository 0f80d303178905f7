//! Deleting what everybody has passed, at the end of a cycle. Where rows are written early that is begun at their source while the
//! last of them are still being written, and committed at the end, if it is just what is to be deleted then.

use std::collections::HashSet;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::apart;
use super::attendance::Member;
use super::cycle::{Batches, Cycle};
use super::early::Writing;
use super::opened::{Opened, When};
use super::session::Session;
use super::table::Table;
use crate::fault;
use crate::model::NodeId;
use crate::node::{self, Node, Purge};

/// How long it is waited, once all is deleted, for word that it is to be committed. Whoever else opens a snapshot at MySQL or MariaDB
/// waits meanwhile, be it to tell the status.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// How the last look for entries that everybody has passed ended, by which it depends when the next is due while nothing is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purged {
    NotYet,
    /// Somebody was in the way, or there was no room: with the next cycle.
    HeldUp,
    /// Somebody was away, or went: as soon as all are there.
    Short,
    Everywhere,
}

/// A node at which entries are being deleted in a transaction that is not committed. Whoever lets go of this cuts it off.
pub(super) struct Purging {
    node: NodeId,
    purges: Vec<Purge>,
    /// Tells whether it is to be committed.
    end: oneshot::Sender<bool>,
    task: Task,
}

/// Gives the node back, and tells whether all is committed; else nothing is.
type Task = JoinSet<(Box<dyn Node>, node::Result<bool>)>;

impl Purging {
    /// Tells that it is not to be committed; whoever waits for the task has the node back, at which nothing is left of it.
    pub fn stop(self) -> (NodeId, Task) {
        (self.node, self.task)
    }
}

/// Deletes entries, and commits that once it is told to; whether it has. Else nothing is left of it.
async fn purge_early(node: &mut dyn Node, purges: &[Purge], end: oneshot::Receiver<bool>) -> node::Result<bool> {
    let deleting = async {
        let begun = node.begin_purge(purges).await?;
        fault::point("purge-begun").await?;
        Ok(begun)
    };
    let done = match deleting.await {
        Ok(true) => match tokio::time::timeout(PATIENCE, end).await {
            Ok(Ok(true)) => node.commit().await.map(|()| true),
            _ => Ok(false),
        },
        begun => begun,
    };
    if !matches!(done, Ok(true)) {
        node.rollback().await?;
    }
    done
}

impl Session {
    /// Begins to delete what everybody will have passed when this cycle is written, where rows are being written early, at nodes of
    /// which nothing more is asked. `whole` if all that is visible was read.
    pub(super) fn begin_purges(&mut self, opened: &Opened, whole: bool, writing: &mut Writing) {
        if writing.is_idle() {
            return;
        }
        let arrivals = whole && opened.present.iter().all(Option::is_some);
        for at in 0..self.members.len() {
            let node = NodeId(at as u16);
            // What becomes of rows that are merged tells whether the changes are needed once more.
            let merges = self.tables.iter().any(|table| table.is_source(node) && table.policy.merges());
            if merges || opened.moves(node).next().is_some() {
                continue;
            }
            let purges = self.purges(opened, node, arrivals, When::OnceApplied, &HashSet::new());
            let Some(mut taken) = self.members[at].node.take_if(|_| !purges.is_empty()) else { continue };
            let (mut task, begun, (end, ended)) = (JoinSet::new(), purges.clone(), oneshot::channel());
            task.spawn(fault::carried(async move {
                let done = purge_early(&mut *taken, &begun, ended).await;
                (taken, done)
            }));
            writing.purging.push(Purging { node, purges, end, task });
        }
    }

    /// Undoes what was begun at nodes that are to be written; what is left.
    pub(super) async fn stop_purging_where_written(
        &mut self,
        batches: &Batches,
        writing: &mut Writing,
    ) -> Vec<Purging> {
        let is_in_the_way = |purging: &Purging| batches[purging.node.index()].is_some();
        let all = std::mem::take(&mut writing.purging).into_iter();
        let (written, kept): (Vec<Purging>, Vec<Purging>) = all.partition(is_in_the_way);
        self.end_stopped(written.into_iter().map(Purging::stop).collect()).await;
        kept
    }

    /// Waits for what was told to stop; the nodes are back.
    pub(super) async fn end_stopped(&mut self, all: Vec<(NodeId, Task)>) {
        for (node, task) in all {
            let member = &mut self.members[node.index()];
            let undone = apart::back(&mut member.node, task).await;
            if let Some(Err(error)) = undone.filter(|undone| undone.as_ref().is_err_and(node::Error::is_absence)) {
                member.leave(&error);
            }
        }
    }

    /// Deletes what every node has passed. A failure here loses nothing: the entries are deleted next time.
    pub(super) async fn purge(&mut self, opened: &Opened, whole: bool, cycle: &Cycle, begun: Vec<Purging>) {
        let is_unbegun = begun.is_empty();
        let mut by_node: Vec<Option<Purging>> = self.members.iter().map(|_| None).collect();
        for purging in begun {
            let node = purging.node.index();
            by_node[node] = Some(purging);
        }
        let is_there = |(member, begun): (&Member, &Option<Purging>)| {
            opened.is_present(member.id) && (member.node.is_some() || begun.is_some())
        };
        let everybody = self.members.iter().zip(&by_node).all(is_there);
        let is_due = match self.purged {
            Purged::NotYet | Purged::HeldUp => true,
            Purged::Short => everybody,
            Purged::Everywhere => false,
        };
        if cycle.entries == 0 && is_unbegun && !is_due {
            return;
        }
        let settled = whole && everybody && !cycle.overtaken && opened.all_moved();
        let purges: Vec<Vec<Purge>> = self
            .members
            .iter()
            .map(|member| self.purges(opened, member.id, settled, When::Now, &cycle.unsettled))
            .collect();
        let asked: Vec<bool> = purges.iter().map(|purges| !purges.is_empty()).collect();
        let members = self.members.iter_mut().zip(purges).zip(by_node);
        let done = join_all(members.map(async |((member, purges), begun)| match begun {
            Some(begun) => member.end_purging(begun, &purges).await,
            None => member.purge(&purges).await,
        }))
        .await;
        let failed = |how: fn(&node::Error) -> bool| done.iter().any(|result| result.as_ref().is_err_and(how));
        let is_told = self.purged == Purged::HeldUp;
        self.purged = if failed(node::Error::may_pass) {
            Purged::HeldUp
        } else if failed(node::Error::is_absence) || !everybody {
            Purged::Short
        } else {
            Purged::Everywhere
        };
        for ((member, result), asked) in self.members.iter_mut().zip(done).zip(asked) {
            match result {
                Ok(()) => {
                    member.unpurged.take_if(|_| asked);
                }
                Err(error) if error.is_absence() => member.leave(&error),
                // What stood in the way of writing, or the last time, is told already.
                Err(error) if cycle.failed.is_some() || is_told && error.may_pass() || !member.is_to_tell(&error) => {
                    info!(node = %member.name, %error, "Old entries could not be deleted.");
                }
                Err(error) => warn!(node = %member.name, %error, "Old entries could not be deleted."),
            }
        }
    }

    /// What is to be deleted at a node. `unsettled` are tables in which a row waits anywhere.
    fn purges(
        &self,
        opened: &Opened,
        node: NodeId,
        arrivals: bool,
        when: When,
        unsettled: &HashSet<usize>,
    ) -> Vec<Purge> {
        // Where one is left out, its history is all there is to tell what its users did.
        if !opened.is_present(node) {
            return Vec::new();
        }
        let purge = |table: &Table| {
            // What the changes did is needed until all is decided. Of what waits at two nodes, put there by two engines, neither
            // may have seen what the other has.
            if table.policy.merges() && unsettled.contains(&table.index) {
                return None;
            }
            let (spec, through) = (table.spec(node)?.clone(), opened.floor(table, node, when)?);
            let witnesses = opened.witnesses(table, node, &self.names, when);
            let witnesses = witnesses.map(|(target, entry)| (target.to_owned(), entry)).collect();
            Some(Purge { table: spec, through, arrivals, witnesses })
        };
        self.tables.iter().filter(|table| table.is_source(node)).filter_map(purge).collect()
    }
}

impl Member {
    /// Commits what was begun, if it is what is to be deleted; else that is deleted now.
    async fn end_purging(&mut self, begun: Purging, purges: &[Purge]) -> node::Result<()> {
        let Purging { purges: begun, end, task, .. } = begun;
        let is_it = begun.len() == purges.len() && begun.iter().zip(purges).all(|(begun, purge)| begun.is_like(purge));
        let fault = if is_it { fault::point("purge").await } else { Ok(()) };
        // Whoever does not wait for it any more has given it up.
        let _ = end.send(is_it && fault.is_ok());
        let done = apart::back(&mut self.node, task).await;
        fault?;
        match done {
            Some(Ok(true)) => {
                fault::point("purged-early").await?;
                Ok(fault::point("purged").await?)
            }
            // Whoever is in the way is not waited for twice.
            Some(Err(error)) if is_it && (error.is_absence() || error.is_lock()) => Err(error),
            // A server may have ended the transaction, and one of several tables may be the only one that is ill.
            _ => self.purge(purges).await,
        }
    }

    /// Whether it is yet to be told why nothing can be deleted, which is told from then on.
    fn is_to_tell(&mut self, error: &node::Error) -> bool {
        let why = Some(node::without_holders(&error.to_string()));
        let is_new = self.unpurged != why;
        self.unpurged = why;
        is_new
    }

    async fn purge(&mut self, purges: &[Purge]) -> node::Result<()> {
        let Some(node) = self.node.as_deref_mut() else { return Ok(()) };
        for purge in purges {
            fault::point("purge").await?;
            node.purge(&purge.table, &purge.through, purge.arrivals, &purge.witnesses()).await?;
            fault::point("purged").await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{Error, ErrorKind};

    /// A right that is gone stays so, and every cycle that carries anything would tell it again.
    #[test]
    fn why_nothing_can_be_deleted_is_told_once() {
        let mut member = Member::new(NodeId(0), "a");
        let denied = Error::new(ErrorKind::Rights, "permission denied");
        assert_eq!([&denied, &denied].map(|error| member.is_to_tell(error)), [true, false]);
        assert!(member.is_to_tell(&Error::new(ErrorKind::Rights, "another")) && member.is_to_tell(&denied));
        member.unpurged = None;
        assert!(member.is_to_tell(&denied));
    }
}
