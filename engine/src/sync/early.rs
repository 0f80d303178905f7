//! Rows that are written at their targets while those behind them are still being read. Where one node alone has news there is
//! nothing to weigh, so what was decided stands whatever follows; see [`early`](crate::node::apply::early).

use std::collections::HashSet;

use futures::future::join_all;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tracing::debug;

use super::apart;
use super::attendance::Member;
use super::contest::Contests;
use super::cycle::AllContests;
use super::decide::Outcomes;
use super::opened::Opened;
use super::purge::Purging;
use super::session::Session;
use super::table::Table;
use crate::fault;
use crate::model::NodeId;
use crate::node::apply::early::{self, Beginning, Early, Next, Ready, STEP};
use crate::node::apply::{Decision, Effect};
use crate::node::{self, Node, WriteMode};

/// Fewer rows than this are written as soon as they are read anyway.
pub(super) const FEW: usize = 4_000;

/// What is being done early.
#[derive(Default)]
pub(super) struct Writing {
    /// By node.
    writers: Vec<Option<Writer>>,
    /// What is deleted of histories meanwhile.
    pub purging: Vec<Purging>,
}

/// Gives the node back, with what came of it.
pub(super) type Task = JoinSet<(Box<dyn Node>, Early)>;

/// A node at which rows are being written; it is back when that has come to its end.
pub(super) struct Writer {
    /// Whoever lets go of this wants nothing of what was written.
    pub rows: UnboundedSender<Next>,
    pub task: Task,
    /// Whether its rows are read over another connection.
    pub apart: bool,
    /// By table: its place in [`Beginning::tables`], and how many of its decisions were looked at.
    tables: Vec<Option<(usize, usize)>>,
}

impl Writing {
    /// Whether nothing is written early anywhere.
    pub fn is_idle(&self) -> bool {
        self.writers.iter().all(Option::is_none)
    }

    /// Passes on what was decided since. Once a conflict was met that only rows showed, all is written in line.
    pub fn tell(&mut self, outcomes: &Outcomes) {
        if outcomes.conflicts > 0 {
            return;
        }
        for (writer, decided) in self.writers.iter_mut().zip(&outcomes.decisions) {
            let Some(writer) = writer else { continue };
            for (known, decisions) in writer.tables.iter_mut().zip(decided) {
                let Some((table, known)) = known else { continue };
                for (number, decision) in decisions.iter().enumerate().skip(*known) {
                    if let Some(row) = ready(*table, number, decision) {
                        // Who has given up tells so at the end.
                        let _ = writer.rows.send(Next::Row(row));
                    }
                }
                *known = decisions.len();
            }
        }
    }

    /// There is nothing more to come.
    pub fn end(&self) {
        for writer in self.writers.iter().flatten() {
            let _ = writer.rows.send(Next::End);
        }
    }
}

/// The row of a decision of which everything is known.
fn ready(table: usize, number: usize, decision: &Decision) -> Option<Ready> {
    let Decision { key, effect: Effect::Write(row, WriteMode::Upsert), waiting: None, touch: None, upon: None, .. } =
        decision
    else {
        return None;
    };
    Some(Ready { table, number, key: key.clone(), row: row.clone() })
}

/// The node whose versions alone are left, so that rows are read nowhere else, and the tables that they are of; `None` if there
/// are several, or a row waits.
fn only_source(tables: &[Table], opened: &Opened, all: &AllContests) -> Option<(NodeId, HashSet<usize>)> {
    let mut source = None;
    let mut about = HashSet::new();
    for (table, contests) in tables.iter().zip(all).filter(|(_, contests)| !contests.is_empty()) {
        about.insert(table.index);
        for contest in contests.values() {
            let [top] = contest.tops(table, opened)[..] else { return None };
            let node = contest.versions[top].version.node;
            if contest.waits() || *source.get_or_insert(node) != node {
                return None;
            }
        }
    }
    Some((source?, about))
}

/// Whether what becomes of a row is known as soon as it is read, there and where [`is_read`].
fn is_plain(table: &Table) -> bool {
    let total = table.forms.iter().flatten().all(|form| form.lens.is_total());
    let blind = table.from.is_none() && !table.operations.insert || table.deletes_blindly();
    total && table.stopped.is_none() && !blind
}

/// Whether rows of a table are read at a node although none is left there: whether a row is there at all matters where rows may be
/// missing, and a plugin is to see what it is put over.
fn is_read(table: &Table, node: NodeId) -> bool {
    table.has_subsets() || table.is_target(node) && table.form(node).is_some_and(|form| form.lens.is_mapped())
}

impl Session {
    /// Begins to write early at every node where that can be done. The nodes are away until [`Session::stop_writing`], or
    /// until they are written.
    pub(super) fn start_writing(&mut self, opened: &Opened, all: &AllContests) -> Writing {
        if all.iter().map(|contests| contests.len()).sum::<usize>() < self.few {
            return Writing::default();
        }
        let plain = |(table, contests): (&Table, &Contests)| contests.is_empty() || is_plain(table);
        if !self.tables.iter().zip(all).all(plain) {
            return Writing::default();
        }
        let Some((source, about)) = only_source(&self.tables, opened, all) else { return Writing::default() };
        let nodes: Vec<NodeId> = self.members.iter().map(|member| member.id).collect();
        let beginnings: Vec<Option<Beginning>> = nodes
            .into_iter()
            .map(|node| (node != source && opened.is_present(node)).then(|| self.beginning(opened, node, &about))?)
            .collect();
        let tables = &self.tables;
        let writers = self.members.iter_mut().zip(beginnings).map(|(member, beginning)| {
            let beginning = beginning?;
            let mut known = vec![None; all.len()];
            for (place, (spec, _)) in beginning.tables.iter().enumerate() {
                known[spec.index] = Some((place, 0));
            }
            let apart = about.iter().any(|&table| is_read(&tables[table], member.id));
            if apart {
                if member.is_alone {
                    return None;
                }
                member.reader = Some(member.node.as_mut()?.give_snapshot()?);
            }
            let mut node = member.node.take()?;
            let (rows, coming) = unbounded_channel();
            let mut task = JoinSet::new();
            task.spawn(fault::carried(async move {
                let early = early::write(&mut *node, beginning, coming).await;
                (node, early)
            }));
            Some(Writer { rows, task, apart, tables: known })
        });
        Writing { writers: writers.collect(), purging: Vec::new() }
    }

    /// What is known of a node before the first row; `None` if nothing is to be written there early. `about` are the tables in
    /// which something has changed.
    fn beginning(&self, opened: &Opened, node: NodeId, about: &HashSet<usize>) -> Option<Beginning> {
        let written = |table: &&Table| about.contains(&table.index) && table.is_target(node);
        let tables: Vec<&Table> =
            self.tables.iter().filter(written).filter(|table| table.spec(node).is_some()).collect();
        // Rows that refer to others may have to wait for them, and what triggers do is to be looked at. While such rows are read
        // nothing could be written, and all else would stay locked.
        let writable = |table: &&Table| {
            table.spec(node).is_some_and(|spec| spec.references.is_empty() && spec.user_triggers.is_empty())
        };
        if tables.is_empty() || !tables.iter().all(writable) {
            return None;
        }
        let mut claimed = self.moves(opened, node);
        let turns = self.turns(opened, node, &claimed);
        claimed.extend(turns);
        for table in &tables {
            let stays = self.stays(opened, table, node);
            let stays: Vec<_> = stays.filter(|stay| !claimed.iter().any(|step| step.is_of(stay))).collect();
            claimed.extend(stays);
        }
        let with_read = tables.into_iter().filter_map(|table| {
            let spec = table.spec(node)?;
            let read = spec.captured.then(|| opened.read_cut(table.index, node)).flatten();
            Some(((**spec).clone(), read))
        });
        Some(Beginning { step: STEP.min(self.few).max(1), tables: with_read.collect(), claimed })
    }

    /// Undoes what was done early; the nodes are back.
    pub(super) async fn stop_writing(&mut self, writing: Writing) {
        let Writing { writers, purging } = writing;
        // All are told before one is waited for.
        let tasks: Vec<_> =
            writers.into_iter().map(|writer| writer.map(|writer| (writer.task, writer.apart))).collect();
        let deleting: Vec<_> = purging.into_iter().map(Purging::stop).collect();
        // Users wait for rows that are locked, and for no entry that is being deleted.
        join_all(self.members.iter_mut().zip(tasks).map(async |(member, task)| {
            let Some((task, apart)) = task else { return };
            let undone = match member.take_back(task, apart).await {
                Early::Begun(_) => member.apart(|node| Box::pin(async move { node.rollback().await })).await,
                Early::Unbegun(error) | Early::Failed(error) => Some(Err(error)),
                Early::Nothing | Early::Warily(_) => None,
            };
            if let Some(Err(error)) = undone.filter(|undone| undone.as_ref().is_err_and(node::Error::is_absence)) {
                member.leave(&error);
            }
        }))
        .await;
        self.end_stopped(deleting).await;
    }
}

impl Writing {
    /// Those who write, by node.
    pub(super) fn into_writers(mut self, nodes: usize) -> Vec<Option<Writer>> {
        self.writers.resize_with(nodes, || None);
        self.writers
    }
}

impl Member {
    /// Waits until what was written early has come to its end. Whoever stops waiting cuts it off, and the connection with it.
    /// `is_apart` if that was another connection, without which the node is there all the same.
    pub(super) async fn take_back(&mut self, task: Task, is_apart: bool) -> Early {
        match apart::back(&mut self.node, task).await {
            Some(Early::Unbegun(error)) if is_apart => {
                debug!(node = %self.name, kind = ?error.kind, "What is written early takes a second connection.");
                // It may have been waited for.
                self.is_alone = true;
                Early::Nothing
            }
            early => early.unwrap_or_default(),
        }
    }
}
