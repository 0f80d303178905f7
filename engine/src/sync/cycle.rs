//! One round: read what is new everywhere, decide, apply, advance positions, purge.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::future::join_all;
use serde::Serialize;
use tracing::{debug, info};

use super::attendance::{Away, Member};
use super::awaited::Awaited;
use super::contest::Contests;
use super::decide::Outcomes;
use super::early::{Writer, Writing};
use super::load::Portion;
use super::opened::Opened;
use super::order;
use super::read::{self, Page};
use super::session::{Carried, Session, Stopped, add_carried, add_failure};
use super::table::Table;
use super::verify::{Verified, VerifiedTable};
use crate::error::{Error, Result};
use crate::fault;
use crate::model::{Cut, Entry, Key, NodeId, Op, Position, TableSpec, Witness, time};
use crate::node::apply::early::Early;
use crate::node::apply::{Applied, Batch, Decision, Place, TableBatch};
use crate::node::{self, ErrorKind, Move, Reason, Refusal};

/// What one cycle did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cycle {
    /// New entries that were read.
    pub entries: u64,
    pub carried: Vec<Carried>,
    pub conflicts: u64,
    pub parked: u64,
    pub waiting: u64,
    /// Rows that a user's transaction still keeps from being written at the end of the cycle.
    pub held: u64,
    /// How many rows were so in this very cycle.
    #[serde(skip)]
    pub(crate) held_now: u64,
    /// Keys that were put off to the next cycle because users were changing them.
    pub busy: u64,
    /// Whether more is waiting to be read.
    pub more: bool,
    /// Whether another engine moved the positions meanwhile.
    pub overtaken: bool,
    /// Whether anything was written anywhere.
    pub wrote: bool,
    /// What a comparison found of the tables that are kept in step by it, if there was one, and what became of it.
    pub compared: Vec<VerifiedTable>,
    pub away: Vec<Away>,
    pub stopped: Vec<Stopped>,
    /// Nodes that did not take their part, or a comparison that did not come to its end, and why.
    pub failed: Option<String>,
    /// Whether trying again may help with what failed, because it is a matter of locks, or of room on a disk or in memory.
    #[serde(skip)]
    pub(crate) may_pass: bool,
    /// Whether all that was there when the run of cycles began has been read.
    #[serde(skip)]
    pub(crate) reached: bool,
    /// Whether rows that were tried in vain before are due once more, and were not come to.
    #[serde(skip)]
    pub(crate) leaves_due: bool,
    /// Whether rows that waited were tried in vain.
    #[serde(skip)]
    pub(crate) in_vain: bool,
    /// What was to be written besides by a load and could not be: at which node, of which table by index, and why.
    #[serde(skip)]
    pub(crate) left: Vec<(NodeId, usize, Key, Reason)>,
    /// Tables, by index, in which a row waits anywhere.
    #[serde(skip)]
    pub(crate) unsettled: HashSet<usize>,
}

impl Cycle {
    /// Whether a further cycle would find nothing to do.
    pub fn is_quiet(&self) -> bool {
        self.entries == 0 && !self.more && !self.overtaken && self.busy == 0 && !self.wrote && self.failed.is_none()
    }
}

/// The new entries, by table and node.
pub(super) type Pages = Vec<Vec<Option<Page>>>;

/// All contests, by table.
pub(super) type AllContests = Vec<Contests>;

/// A row that the cycle to come makes a change of its node, so that the one after it decides about it.
pub(super) struct Foreseen {
    pub table: usize,
    pub node: NodeId,
    pub key: Key,
    /// By the node's clock, µs.
    pub time: i64,
}

impl Foreseen {
    /// It comes after everything that is there.
    fn entry(&self) -> Entry {
        let last = i64::MAX - 1;
        let (op, time) = (Op::Update, self.time);
        Entry { id: last, mark: last, op, time, key: Key::default(), arrival: None, images: None }
    }
}

/// What each node has to do.
pub(super) type Batches = Vec<Option<Batch>>;

impl Session {
    /// One round of the sync, without the nodes that fail while they are looked at.
    pub async fn cycle(&mut self) -> Result<Cycle> {
        self.cycle_with(&mut None).await
    }

    /// The same, with rows that a load has at hand.
    pub(super) async fn cycle_with(&mut self, portion: &mut Option<Portion>) -> Result<Cycle> {
        self.prepare().await?;
        self.enough()?;
        let mut looked_again = false;
        loop {
            // What a load has at hand it leaves to the sync where a plugin fails, and hands over nothing at which the sync would stop.
            match portion.as_ref() {
                None => self.tables.iter().for_each(Table::begin_round),
                Some(portion) if portion.last => self.tables.iter().for_each(Table::begin_last_round),
                Some(_) => {}
            }
            for table in &mut self.tables {
                table.uncompared = self.uncompared.get(&table.index).cloned();
            }
            let done = self.round(portion).await;
            self.tables.iter().for_each(Table::end_round);
            match done {
                Err(error) => {
                    // A snapshot that stays open would hold back what the databases clean up.
                    self.close().await;
                    if !looked_again && self.has_changed(&error) {
                        looked_again = true;
                        self.prepare().await?;
                    } else {
                        self.do_without(error)?;
                    }
                }
                done => return done,
            }
        }
    }

    /// One round among those who are there.
    ///
    /// Everything up to the batches is computed from what one snapshot of each node showed. Each batch is one transaction,
    /// which looks again before it writes. Nothing is locked while there is something to weigh; where one node alone has
    /// news, the others' transactions begin while it is still read.
    async fn round(&mut self, portion: &mut Option<Portion>) -> Result<Cycle> {
        let mut cycle = Cycle::default();
        let Some((opened, contests)) = self.weigh(&mut cycle, &[]).await? else {
            return Ok(if cycle.overtaken { cycle } else { self.nothing_arrived(cycle, portion) });
        };
        let besides = match portion {
            // What was not read yet may be about the very rows.
            Some(portion) if !cycle.more => Some(self.weigh_portion(portion, &opened, &contests).await?),
            _ => None,
        };
        let shared = Arc::new(opened);
        // What a load brings besides is not decided yet.
        let early = portion.is_none();
        let (mut outcomes, mut writing) = match self.decide(&shared, contests, early, !cycle.more).await? {
            Ok(decided) => decided,
            Err(smaller) => {
                self.read_fewer(smaller).await;
                return Ok(self.nothing_arrived(cycle, portion));
            }
        };
        outcomes.gave_up.extend(besides.iter().flat_map(|besides| besides.gave_up.iter().cloned()));
        if self.stop_for_plugins(&outcomes.gave_up) {
            self.stop_writing(writing).await;
            return Ok(self.nothing_arrived(cycle, portion));
        }
        outcomes.extend(besides.unwrap_or_else(|| Outcomes::new(0, 0)));
        let Some(mut opened) = Arc::into_inner(shared) else {
            return Err(Error::Internal("deciding goes on after its end".to_owned()));
        };
        fault::point("read-done").await?;
        cycle.conflicts = outcomes.conflicts;
        let mut in_line = cycle.conflicts > 0;
        if in_line {
            // Nobody is to be claimed out of turn.
            self.stop_writing(std::mem::take(&mut writing)).await;
        }
        let mut batches = self.batches(&opened, outcomes);
        self.claim_turns(&opened, &mut batches);
        if let Some(portion) = portion {
            self.take_portions_turn(portion, &opened, &mut batches);
            in_line |= portion.removes();
        }
        let whole = !cycle.more;
        let purging = self.stop_purging_where_written(&batches, &mut writing).await;
        let unwritten = self.apply(&mut opened, batches, writing, in_line, &mut cycle).await?;
        for (node, error) in unwritten {
            // Pages begin where the last of those who are there stands, so the others would get no more than its page. A load has to
            // have everybody.
            let goes_on = portion.is_none() && !whole && error.kind != ErrorKind::Drift;
            if !(goes_on && self.go_on_without(node, &error)) {
                cycle.fail(&self.names[node.index()], &error);
            }
        }
        fault::point("applied").await?;
        if !cycle.overtaken {
            self.schedule.came();
        }
        self.purge(&opened, whole, &cycle, purging).await;
        fault::point("cycle-done").await?;
        if cycle.is_quiet() {
            self.tidy(time::moment()).await;
        }
        // Twice as many of such rows would be read in vain.
        if self.weight <= self.rows_limit / 2 {
            self.page = (self.page * 2).min(self.config.defaults.batch);
        }
        self.leave_out(&mut cycle);
        Ok(cycle)
    }

    /// The end of a round that was given up before it wrote: what a portion came to was not written either.
    fn nothing_arrived(&mut self, mut cycle: Cycle, portion: &mut Option<Portion>) -> Cycle {
        if let Some(portion) = portion {
            portion.outcome = None;
        }
        (cycle.more, cycle.reached) = (true, false);
        self.leave_out(&mut cycle);
        cycle
    }

    /// Closes the snapshots; the next cycle reads so many changes at once.
    async fn read_fewer(&mut self, page: usize) {
        self.close().await;
        debug!(page, "Rows are large; reading fewer at once.");
        self.page = page;
    }

    /// Reads what is new everywhere, and brings together all that is known of each key. `None` if the snapshots do not fit
    /// together, because another engine was at work between them, or if a smaller page is to be read first, as rows that are spoken of
    /// and wait are large. What is foreseen counts as if it were there.
    pub(super) async fn weigh(
        &mut self,
        cycle: &mut Cycle,
        foreseen: &[Foreseen],
    ) -> Result<Option<(Opened, AllContests)>> {
        let mut opened = self.open().await?;
        self.enough()?;
        let pages = self.read(&opened, cycle).await?;
        if opened.doubtful || self.is_skewed(&opened, &pages) {
            self.close().await;
            cycle.overtaken = true;
            return Ok(None);
        }
        self.plan_positions(&mut opened, &pages);
        self.schedule.look(&self.tables, &opened, &pages, time::moment());
        let partial = partial_pages(&pages);
        let awaited = match self.await_rows(&mut opened, &pages, foreseen, cycle).await? {
            Ok(awaited) => awaited,
            Err(smaller) => {
                self.read_fewer(smaller).await;
                return Ok(None);
            }
        };
        let mut contests = self.gather(&opened, pages, awaited);
        for touched in foreseen {
            let Some(presence) = &opened.present[touched.node.index()] else { continue };
            let contest = contests[touched.table].entry(touched.key.clone()).or_default();
            contest.enter(touched.node, touched.entry(), &presence.clock, &self.tables[touched.table]);
        }
        self.examine(&opened, &mut contests, &partial).await?;
        Ok(Some((opened, contests)))
    }

    /// Notes which nodes and tables took no part.
    fn leave_out(&self, cycle: &mut Cycle) {
        cycle.away = self.away();
        cycle.stopped = self.stopped();
    }

    /// Reads what is new at each node.
    async fn read(&mut self, opened: &Opened, cycle: &mut Cycle) -> Result<Pages> {
        let (tables, limit) = (&self.tables, self.page);
        let reading = join_all(self.members.iter_mut().map(async |member| {
            let presence = opened.present[member.id.index()].as_ref()?;
            let shared_marks = presence.shared_marks;
            let (read, starts): (Vec<usize>, Vec<(Arc<TableSpec>, Cut)>) = tables
                .iter()
                .filter_map(|table| {
                    let start = read::start(table, member.id, opened)?;
                    Some((table.index, (table.spec(member.id)?.clone(), start)))
                })
                .unzip();
            let pages = match fault::point("read").await {
                Ok(()) => {
                    member
                        .apart(move |node| {
                            Box::pin(async move { read::pages(node, &starts, shared_marks, limit).await })
                        })
                        .await?
                }
                Err(fault) => Err(fault.into()),
            };
            Some(pages.map(|pages| read.into_iter().zip(pages).collect::<Vec<_>>()))
        }))
        .await;
        let mut all: Pages = tables.iter().map(|_| (0..self.members.len()).map(|_| None).collect()).collect();
        cycle.reached = true;
        for (at, result) in reading.into_iter().enumerate() {
            let Some(result) = result else { continue };
            let pages = result.map_err(Error::at(&self.members[at].name, "reading the history"))?;
            for (table, page) in pages {
                cycle.entries += page.entries.len() as u64;
                cycle.more |= page.is_partial();
                // Who is met later has his own beginning.
                let goal = self.goal.entry((table, NodeId(at as u16))).or_insert_with(|| page.visible().clone());
                cycle.reached &= page.reaches(goal);
                all[table][at] = Some(page);
            }
        }
        Ok(all)
    }

    /// Whether a target has passed more than the snapshot of a source shows, because another engine has worked between
    /// the snapshots. What would come of that is out of date already.
    fn is_skewed(&self, opened: &Opened, pages: &Pages) -> bool {
        let present = || opened.nodes().map(|(node, _)| node);
        self.tables.iter().any(|table| {
            let pages = pages[table.index].iter().enumerate();
            pages.filter_map(|(at, page)| Some((NodeId(at as u16), page.as_ref()?))).any(|(source, page)| {
                let mut targets = present().filter(|&target| target != source && table.is_target(target));
                targets.any(|target| !page.shows(opened.position(table.index, target, source)))
            })
        })
    }

    /// Where each target's positions will stand. A position moves only when there is something to pass, so that a sync at
    /// rest writes nothing.
    fn plan_positions(&self, opened: &mut Opened, pages: &Pages) {
        let present: Vec<NodeId> = opened.nodes().map(|(node, _)| node).collect();
        for table in &self.tables {
            for (at, page) in pages[table.index].iter().enumerate() {
                let (source, Some(page)) = (NodeId(at as u16), page) else { continue };
                opened.set_read(table.index, source, page.cut(), page.visible().clone());
                for &target in &present {
                    if target == source || !table.is_target(target) || table.spec(target).is_none() {
                        continue;
                    }
                    let from = opened.position(table.index, target, source);
                    if page.entries.iter().any(|entry| !from.contains(entry.mark, entry.id)) {
                        let shown_by = opened.present[at].as_ref().map(|source| source.installation.clone());
                        let entries = page.last_passed(from);
                        let witness = shown_by.map(|installation| Witness { installation, entries });
                        let to = Position { cut: page.position(from), witness };
                        opened.plan(table.index, target, source, to);
                    }
                }
            }
        }
    }

    /// Brings the versions of each key together.
    fn gather(&self, opened: &Opened, pages: Pages, awaited: Awaited) -> AllContests {
        let mut all: AllContests = Vec::with_capacity(self.tables.len());
        for ((table, pages), awaited) in self.tables.iter().zip(pages).zip(awaited) {
            let mut contests = Contests::default();
            for (at, waiting) in awaited.into_iter().enumerate() {
                for parked in waiting {
                    contests.entry(parked.key.clone()).or_default().wait(NodeId(at as u16), &parked);
                }
            }
            for (at, page) in pages.into_iter().enumerate() {
                let (Some(page), Some(presence)) = (page, &opened.present[at]) else { continue };
                contests.reserve(page.entries.len().saturating_sub(contests.len()));
                // A transaction that was begun first may have changed a row after another: what a node did is told in the order of ids.
                let mut entries = page.entries;
                entries.sort_by_key(|entry| entry.id);
                for mut entry in entries {
                    let contest = contests.entry(std::mem::take(&mut entry.key)).or_default();
                    contest.enter(NodeId(at as u16), entry, &presence.clock, table);
                }
            }
            all.push(contests);
        }
        all
    }

    /// Closes the snapshots. A node that breaks here has told everything that was asked of it.
    pub(super) async fn close(&mut self) {
        join_all(self.members.iter_mut().map(async |member| {
            if let Some(mut reader) = member.reader.take() {
                // Whatever it breaks at, nothing more is asked of it.
                let _ = reader.end_read().await;
            }
            if let Some(node) = member.node.as_deref_mut()
                && let Err(error) = node.end_read().await
            {
                member.leave(&error);
            }
        }))
        .await;
    }

    /// One batch for each node that has something to do.
    pub(super) fn batches(&self, opened: &Opened, outcomes: Outcomes) -> Batches {
        let nodes = outcomes.decisions.into_iter().enumerate();
        nodes.map(|(at, tables)| self.batch(NodeId(at as u16), tables, opened)).collect()
    }

    /// One node's share of the work, with the positions that go with it.
    pub(super) fn batch(&self, node: NodeId, tables: Vec<Vec<Decision>>, opened: &Opened) -> Option<Batch> {
        let name = self.names[node.index()].clone();
        let mut batch = Batch { node: name, moves: self.moves(opened, node), ..Batch::default() };
        for (index, decisions) in tables.into_iter().enumerate() {
            let table = &self.tables[index];
            let Some(spec) = table.spec(node).filter(|_| !decisions.is_empty()) else { continue };
            let moves = |stay: &Move| batch.moves.iter().any(|step| step.is_of(stay));
            let stays: Vec<Move> = self.stays(opened, table, node).filter(|stay| !moves(stay)).collect();
            batch.stays.extend(stays);
            let read = spec.captured.then(|| opened.read_cut(index, node)).flatten();
            let weighed = read.as_ref().and_then(|_| opened.visible_cut(index, node));
            batch.tables.push(TableBatch { spec: spec.clone(), read, weighed, decisions });
        }
        if batch.moves.is_empty() && batch.tables.is_empty() {
            return None;
        }
        let specs: Vec<&TableSpec> = batch.tables.iter().map(|table| &*table.spec).collect();
        batch.order = order::parents_first(&specs);
        Some(batch)
    }

    /// The steps of a node's positions that are planned.
    pub(super) fn moves(&self, opened: &Opened, node: NodeId) -> Vec<Move> {
        let step = |(table, source, from, to): (usize, NodeId, &Cut, &Position)| Move {
            table: self.tables[table].name.clone(),
            source: self.names[source.index()].clone(),
            from: from.clone(),
            to: to.clone(),
        };
        opened.moves(node).map(step).collect()
    }

    /// A node's positions in a table, as steps that stay where they are: whoever claims them finds out whether another engine has
    /// been at work there since. One that works with nodes that are away from here moves those nodes' positions alone.
    pub(super) fn stays<'a>(
        &'a self,
        opened: &'a Opened,
        table: &'a Table,
        node: NodeId,
    ) -> impl Iterator<Item = Move> + 'a {
        let sources = self.members.iter().map(|member| member.id);
        sources.filter(move |&source| source != node && table.is_source(source)).map(move |source| {
            let cut = opened.position(table.index, node, source);
            Move {
                table: table.name.clone(),
                source: self.names[source.index()].clone(),
                from: cut.clone(),
                to: cut.clone().into(),
            }
        })
    }

    /// Writes every node's batch, each in one transaction, at the same time, and goes on where one was begun early. `in_line` if
    /// something was weighed that another engine may have decided differently; then nothing was. The nodes that are there and
    /// could not be written.
    pub(super) async fn apply(
        &mut self,
        opened: &mut Opened,
        batches: Batches,
        writing: Writing,
        in_line: bool,
        cycle: &mut Cycle,
    ) -> Result<Vec<(NodeId, node::Error)>> {
        let writers = writing.into_writers(self.members.len());
        let places = if in_line { Place::line(&batches) } else { Place::abreast(&batches) };
        let members = self.members.iter_mut().zip(batches.into_iter().zip(places)).zip(writers);
        let applying = join_all(members.map(async |((member, (batch, place)), writer)| {
            let early = match writer {
                Some(Writer { rows, task, apart, .. }) => {
                    let early = member.take_back(task, apart).await;
                    drop(rows);
                    early
                }
                None => Early::Nothing,
            };
            let id = member.id;
            let Some(batch) = batch else {
                let undone = match early {
                    Early::Begun(_) => member.apart(|node| Box::pin(async move { node.rollback().await })).await?,
                    Early::Unbegun(error) | Early::Failed(error) => Err(error),
                    Early::Nothing | Early::Warily(_) => return None,
                };
                return Some((id, undone.map(|()| Applied::default())));
            };
            let applying = member.apart(move |node| {
                Box::pin(async move {
                    let result = node::apply::apply(node, &batch, place, early).await;
                    // Giving up so many rows takes a while, and nobody has to wait for it.
                    tokio::task::spawn_blocking(move || drop(batch));
                    result
                })
            });
            Some((id, applying.await?))
        }))
        .await;
        let mut unwritten = Vec::new();
        for (node, result) in applying.into_iter().flatten() {
            let member = &mut self.members[node.index()];
            match result {
                Ok(applied) if applied.overtaken => cycle.overtaken = true,
                Ok(mut applied) => {
                    opened.moved(node);
                    let left = std::mem::take(&mut applied.left).into_iter();
                    cycle.left.extend(left.map(|(table, key, reason)| (node, table, key, reason)));
                    cycle.count(member, &applied);
                    self.schedule.tried(&self.tables, node, &applied, time::moment());
                    if let Some(presence) = &mut opened.present[node.index()] {
                        for (table, key) in &applied.unparked {
                            presence.parked[*table].remove(key);
                        }
                        for (table, Refusal { key, reason, .. }) in &applied.refused {
                            cycle.unsettled.insert(*table);
                            match presence.parked[*table].get_mut(key) {
                                Some(parked) => parked.code = reason.code,
                                None if reason.code.is_passing() => cycle.held += 1,
                                None => cycle.waiting += 1,
                            }
                        }
                    }
                }
                Err(error) if error.is_absence() => member.leave(&error),
                Err(error) => {
                    // What the others took is theirs, and this node is tried again. Every report says why.
                    info!(node = %member.name, %error, "Nothing was written there.");
                    // If the catalogue changed between reading and writing, the next cycle looks again and says what.
                    member.prepared &= error.kind != ErrorKind::Drift;
                    unwritten.push((node, error));
                }
            }
        }
        for parked in opened.nodes().flat_map(|(_, presence)| presence.parked.iter().flat_map(HashMap::values)) {
            cycle.waiting += u64::from(!parked.code.is_passing());
            cycle.held += u64::from(parked.code.is_passing());
            cycle.unsettled.insert(parked.table);
        }
        Ok(unwritten)
    }
}

impl Cycle {
    /// Adds what a comparison did.
    pub(crate) fn take(&mut self, compared: Verified) {
        for table in &compared.tables {
            self.wrote |= !table.carried.is_empty();
            add_carried(&mut self.carried, &table.carried);
        }
        // Who missed one table alone is told with it, and is there for everything else.
        let missed = |away: &Away| compared.tables.iter().any(|table| table.missed.contains(away));
        self.away = compared.away.into_iter().filter(|away| !missed(away)).collect();
        (self.compared, self.stopped) = (compared.tables, compared.stopped);
    }

    /// Notes that a node could not be written.
    pub(super) fn fail(&mut self, node: &str, error: &node::Error) {
        self.may_pass |= error.may_pass();
        add_failure(&mut self.failed, format!("node `{node}`: {error}"));
    }

    fn count(&mut self, member: &Member, applied: &Applied) {
        self.wrote |= applied.committed;
        self.held_now += applied.held;
        self.in_vain |= applied.refused.iter().any(|(_, refusal)| !refusal.new);
        for (_, refusal) in applied.refused.iter().filter(|(_, refusal)| refusal.new) {
            match refusal.reason.code.is_passing() {
                true => self.busy += 1,
                false => self.parked += 1,
            }
        }
        if applied.written + applied.deleted > 0 {
            self.carried.push(Carried {
                node: member.name.clone(),
                written: applied.written,
                deleted: applied.deleted,
            });
        }
    }
}

/// Tables and nodes of which not everything was read.
fn partial_pages(pages: &Pages) -> HashSet<(usize, NodeId)> {
    let mut partial = HashSet::new();
    for (table, pages) in pages.iter().enumerate() {
        for (at, page) in pages.iter().enumerate() {
            if page.as_ref().is_some_and(Page::is_partial) {
                partial.insert((table, NodeId(at as u16)));
            }
        }
    }
    partial
}
