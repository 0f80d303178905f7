//! Comparing all rows of all nodes, and mending what differs.
//!
//! A table is read once at every node and summed up by parts of its keys (`digest`). Where sums differ those parts are read
//! again for the keys whose rows are not alike. These are looked up once more in fresh snapshots (`again`, `look`), where a change
//! that is on its way is told from a difference that stays; what stays is compared column by column (`compare`) and, if asked,
//! mended (`mend`) or written down as a plan (`plan`).

mod again;
mod carry_plan;
mod compare;
mod digest;
mod look;
mod mend;
mod pass;
mod plan;
mod report;
mod tangle;
#[cfg(all(test, feature = "faults"))]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use self::compare::Allowed;
pub use self::report::{Example, Left, LeftAlone, Verified, VerifiedNode, VerifiedTable};

use self::digest::{Measure, Sums};
use self::plan::PlanWriter;
use self::tangle::Tangle;
use super::attendance::Away;
use super::opened::Opened;
use super::order;
use super::session::{Session, add_away};
use super::table::Table;
use crate::error::{Error, Result};
use crate::model::{Key, NodeId, TableSpec};
use crate::node::ErrorKind;

/// Rows of parts that differ which are held at once, of all nodes together.
const NARROWED: u64 = 100_000;

/// How often a table is begun anew because a node came or went.
const ATTEMPTS: u32 = 10;

/// The memory that rows which are to be written may take at once, in bytes.
const MENDS_LIMIT: usize = 8 << 20;

/// The same of rows that can only be written together.
const KNOT_LIMIT: usize = 64 << 20;

/// What is to be compared, and what is to be done about differences.
#[derive(Clone, Debug)]
pub struct Verify {
    /// Only these tables, by their shared names; none means all.
    pub tables: Vec<String>,
    /// How many differing rows of each table are told one by one; 0 is all.
    pub limit: usize,
    /// How many rows of differing parts of a table are looked at one by one. What is beyond is told as a number of rows.
    pub narrow: u64,
    pub repair: Repair,
    /// Whose row is taken where rows differ.
    pub prefer: Option<String>,
    pub progress: Arc<Progress>,
}

/// What is to be done about differences.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Repair {
    /// They are told.
    #[default]
    Tell,
    /// They are mended.
    Mend,
    /// It is told what mending would write.
    Foresee,
    /// How to mend them is written to a file.
    Plan(PathBuf),
}

/// How far a comparison has come.
#[derive(Debug, Default)]
pub struct Progress {
    /// Rows read at all nodes.
    pub rows: Arc<AtomicU64>,
    /// Which table is being compared, counted from 1, and of how many.
    pub table: AtomicU64,
    pub tables: AtomicU64,
}

impl Default for Verify {
    fn default() -> Verify {
        Verify {
            tables: Vec::new(),
            limit: 20,
            narrow: 1_000_000,
            repair: Repair::Tell,
            prefer: None,
            progress: Arc::default(),
        }
    }
}

/// One table's share of a comparison.
struct Task<'a> {
    table: usize,
    nodes: Vec<NodeId>,
    how: &'a Verify,
    prefer: Option<NodeId>,
    report: &'a mut VerifiedTable,
    plan: Option<&'a mut PlanWriter>,
    /// Rows that were refused and are to be tried again.
    tangle: Tangle,
    /// Whether they are tried again now.
    untangles: bool,
}

/// What came of comparing one table.
#[derive(Default)]
struct Attempt {
    /// Who was left out meanwhile.
    out: Vec<Away>,
    /// Why it could not be compared.
    failed: Option<Error>,
    /// Why no other can be compared after it.
    ends: Option<Error>,
}

impl Session {
    /// Compares all rows of all nodes that are there. Rows whose changes are on their way, or that wait, are counted and are
    /// no differences.
    pub async fn verify(&mut self, how: &Verify) -> Result<Verified> {
        self.prepare_any().await?;
        self.enough()?;
        let how = &Verify { limit: all_if_none(how.limit), ..how.clone() };
        let prefer = how.prefer.as_deref().map(|name| self.node_called(name)).transpose()?;
        let mut wanted: Vec<usize> = Vec::new();
        for name in &how.tables {
            let table = self.table_called(name)?;
            if !wanted.contains(&table) {
                wanted.push(table);
            }
        }
        if wanted.is_empty() {
            wanted = (0..self.tables.len()).collect();
        }
        let mut plan = match &how.repair {
            Repair::Plan(path) => Some(PlanWriter::create(path, &self.config.name, &self.names)?),
            Repair::Tell | Repair::Mend | Repair::Foresee => None,
        };
        let alone = wanted.len() == 1;
        let verified = self.verify_tables(wanted, how, prefer, plan.as_mut(), alone).await?;
        if let Some(plan) = plan {
            plan.finish()?;
        }
        Ok(verified)
    }

    /// Compares these tables. What fails because of one is why that was not compared, or the error where somebody asked for it
    /// `alone`.
    pub(super) async fn verify_tables(
        &mut self,
        wanted: Vec<usize>,
        how: &Verify,
        prefer: Option<NodeId>,
        mut plan: Option<&mut PlanWriter>,
        alone: bool,
    ) -> Result<Verified> {
        self.look_for_restored(how).await?;
        self.agree_on_compared(how.repair == Repair::Tell).await;
        let wanted = self.parents_first(wanted);
        let mut reports: Vec<(usize, VerifiedTable)> = Vec::new();
        // Why nothing can be compared any more.
        let mut ended: Option<String> = None;
        how.progress.tables.store(wanted.len() as u64, Ordering::Relaxed);
        for (table, number) in wanted.into_iter().zip(1..) {
            how.progress.table.store(number, Ordering::Relaxed);
            let mut report = VerifiedTable::new(&self.config.tables[table].name);
            if ended.is_some() {
                report.skipped.clone_from(&ended);
                reports.push((table, report));
                continue;
            }
            let done = self.verify_by_itself(table, how, prefer, &mut report, plan.as_deref_mut()).await;
            // What was written until then is to be told whatever became of the rest.
            let wrote = reports.iter().map(|(_, report)| report).chain([&report]).any(|one| !one.carried.is_empty());
            let tells = how.repair == Repair::Mend && wrote;
            let done = match done {
                Err(error @ (Error::Node { .. } | Error::Stopped(_))) if tells => {
                    Attempt { failed: Some(error), ..Attempt::default() }
                }
                done => done?,
            };
            add_away(&mut report.missed, done.out);
            match done.failed {
                Some(error) if alone && !tells => return Err(error),
                failed => report.skipped = failed.map(|error| error.to_string()).or(report.skipped),
            }
            reports.push((table, report));
            ended = match done.ends {
                // Whoever cannot be reached is told as being away.
                Some(error) if !tells && !matches!(error, Error::Unreachable(_)) => return Err(error),
                ends => ends.map(|error| error.to_string()),
            };
        }
        if how.repair == Repair::Mend {
            // Rows that were referred to may be free to go, now that those of other tables are gone: children first.
            for (table, report) in reports.iter_mut().rev().filter(|(_, report)| report.refused > 0) {
                if ended.is_some() {
                    break;
                }
                let before = Box::new(report.clone());
                let done = match self.verify_by_itself(*table, how, prefer, report, None).await {
                    Err(error @ (Error::Node { .. } | Error::Stopped(_))) => {
                        Attempt { failed: Some(error), ..Attempt::default() }
                    }
                    done => done?,
                };
                add_away(&mut report.missed, done.out);
                report.skipped = done.failed.map(|error| error.to_string()).or(report.skipped.take());
                match report.skipped {
                    Some(_) => report.fall_back(*before),
                    None => report.look_back(*before, how.limit),
                }
                ended = done.ends.map(|error| error.to_string());
            }
        }
        reports.sort_by_key(|(table, _)| *table);
        if how.repair == Repair::Mend {
            reports.iter_mut().for_each(|(_, report)| report.tell_written());
        }
        let away = self.away();
        // Who is away to the end did not miss one table alone.
        let is_away = |node: &str| away.iter().any(|away| away.unreachable && away.node == node);
        let mut missed = Vec::new();
        for (_, report) in &mut reports {
            report.missed.retain(|known| !known.unreachable || !is_away(&known.node));
            add_away(&mut missed, report.missed.clone());
        }
        missed.extend(away);
        Ok(Verified {
            tables: reports.into_iter().map(|(_, report)| report).collect(),
            away: missed,
            stopped: self.stopped(),
        })
    }

    /// Compares one table. What fails because of it is no reason not to compare others, at all nodes.
    async fn verify_by_itself(
        &mut self,
        table: usize,
        how: &Verify,
        prefer: Option<NodeId>,
        report: &mut VerifiedTable,
        plan: Option<&mut PlanWriter>,
    ) -> Result<Attempt> {
        let there: Vec<bool> = self.members.iter().map(|member| member.node.is_some()).collect();
        let failed = match self.verify_table(table, how, prefer, report, plan).await {
            Err(error) if is_about_a_table(&error) => Some(error),
            done => {
                done?;
                None
            }
        };
        let name = &self.tables[table].name;
        let members = self.members.iter_mut().zip(there).filter(|(_, there)| *there);
        // Who was held up by a lock, or cut off, may be there for the next table.
        let out = members.filter_map(|(member, _)| member.let_back().or_else(|| member.away.clone()));
        let out: Vec<Away> = out.map(|away| Away { why: format!("table `{name}`: {}", away.why), ..away }).collect();
        // What is known of this table by now is to be told though nobody is there for the next.
        let mut ends = match out.is_empty() {
            true => None,
            false => self.prepare_any().await.err(),
        };
        if !out.is_empty() && ends.is_none() {
            ends = self.look_for_restored(how).await.err();
        }
        if !out.is_empty() && ends.is_none() {
            self.agree_on_compared(how.repair == Repair::Tell).await;
        }
        if how.repair == Repair::Tell {
            // Nobody follows it then, and of the compared tables that come next it is told what it has lost.
            self.members.iter_mut().for_each(|member| member.restored = None);
        }
        Ok(Attempt { out, failed, ends })
    }

    /// Tables in an order in which rows can be copied: those that others refer to come before.
    fn parents_first(&self, tables: Vec<usize>) -> Vec<usize> {
        let specs = |table: &usize| self.members.iter().find_map(|member| self.tables[*table].spec(member.id));
        let (known, unknown): (Vec<usize>, Vec<usize>) = tables.into_iter().partition(|table| specs(table).is_some());
        let found: Vec<&TableSpec> = known.iter().filter_map(|table| specs(table).map(|spec| &**spec)).collect();
        let ordered = order::parents_first(&found).into_iter().flatten().map(|place| known[place]);
        ordered.chain(unknown).collect()
    }

    pub(super) fn node_called(&self, name: &str) -> Result<NodeId> {
        match self.members.iter().find(|member| member.name == name) {
            Some(member) => Ok(member.id),
            None => Err(Error::Usage(format!(
                "no node is called `{name}`\n    nodes of this sync: {}",
                self.names.join(", ")
            ))),
        }
    }

    pub(super) fn table_called(&self, name: &str) -> Result<usize> {
        let found = self.tables.iter().find(|table| table.name == name);
        found.map(|table| table.index).ok_or_else(|| {
            let names: Vec<&str> = self.tables.iter().map(|table| table.name.as_str()).collect();
            no_table_called(name, &names)
        })
    }

    /// Compares one table among those who are there, and again without a node that fails meanwhile.
    async fn verify_table(
        &mut self,
        table: usize,
        how: &Verify,
        prefer: Option<NodeId>,
        report: &mut VerifiedTable,
        mut plan: Option<&mut PlanWriter>,
    ) -> Result<()> {
        for attempt in 0..ATTEMPTS {
            report.begin(how.repair == Repair::Mend);
            if let Some(plan) = plan.as_deref_mut() {
                plan.begin_table(attempt > 0)?;
            }
            let plan = plan.as_deref_mut();
            let (tangle, untangles) = (Tangle::default(), false);
            let task = Task { table, nodes: Vec::new(), how, prefer, report, plan, tangle, untangles };
            match self.compare_table(task).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => {
                    self.close().await;
                    // A table that is compared is looked up anew; what it is now may do.
                    if attempt > 0 || !self.tables[table].compared || !self.has_changed(&error) {
                        self.do_without(error)?;
                    }
                    self.agree_on_compared(how.repair == Repair::Tell).await;
                }
            }
        }
        let name = &self.tables[table].name;
        Err(Error::Stopped(format!("table `{name}`: nodes came and went while it was compared; run it again")))
    }

    /// The same; `false` if others are there than at its beginning.
    async fn compare_table(&mut self, mut task: Task<'_>) -> Result<bool> {
        let opened = self.open_for(task.table).await?;
        let table = &self.tables[task.table];
        let Some(nodes) = comparable_nodes(table, &opened) else {
            task.report.skipped = Some(self.why_not(task.table, &opened));
            self.close().await;
            return Ok(true);
        };
        task.nodes = nodes;
        let seed = u64::from_le_bytes(uuid::Uuid::new_v4().as_bytes()[..8].try_into().unwrap_or_default());
        let measure = Arc::new(Measure::of(table, &task.nodes, seed));
        let takers = task
            .nodes
            .iter()
            .filter_map(|&node| Some((node, Sums::new(&measure, node, &table.subsets, &table.form(node)?.lens))));
        let takers = takers.collect();
        let sums = self.pass(task.table, takers, &task.how.progress.rows).await?;
        self.close().await;
        for (&node, sums) in task.nodes.iter().zip(&sums) {
            task.report.nodes.push(VerifiedNode::new(&self.names[node.index()], sums.rows));
        }
        let parts = digest::differing(&measure, &sums);
        drop(sums);
        let mut left = parts.as_slice();
        let mut narrowed = 0;
        while !left.is_empty() {
            let (mut count, mut rows) = (0, 0);
            while count < left.len()
                && (count == 0 || rows + left[count].1 <= NARROWED.min(task.how.narrow.saturating_sub(narrowed)))
            {
                rows += left[count].1;
                count += 1;
            }
            let (now, later) = left.split_at(count);
            if narrowed + rows > task.how.narrow && narrowed > 0 {
                break;
            }
            narrowed += rows;
            left = later;
            let Some(keys) = self.narrow(&task, &measure, now).await? else { return Ok(false) };
            if !self.look_again(&mut task, groups_of(keys)).await? {
                return Ok(false);
            }
        }
        task.report.not_narrowed = left.iter().map(|(_, rows)| rows).sum();
        self.untangle(&mut task).await
    }

    /// Tries rows that were refused once more, in an order in which they can be written, as long as that is of use; `false` if
    /// others are there than at the beginning.
    async fn untangle(&mut self, task: &mut Task<'_>) -> Result<bool> {
        task.untangles = true;
        let mut before = usize::MAX;
        while !task.tangle.is_empty() && task.tangle.len() < before {
            before = task.tangle.len();
            let tangle = std::mem::take(&mut task.tangle);
            let table = &self.tables[task.table];
            tangle.rows().for_each(|row| task.report.take_back(table, &row.key, &row.counted, &self.names));
            if !self.look_again(task, tangle.groups()).await? {
                return Ok(false);
            }
        }
        task.report.refuse(&self.tables[task.table], &task.tangle, &self.names, task.how.limit);
        Ok(true)
    }

    fn why_not(&self, table: usize, opened: &Opened) -> String {
        let table = &self.tables[table];
        if let Some(why) = &table.stopped {
            return why.clone();
        }
        match table.from.filter(|from| !opened.is_present(*from)) {
            Some(from) => {
                let is_out = self.members[from.index()].restored.is_some();
                let how = if is_out { "left out" } else { "away" };
                format!("it comes from {}, which is {how}", self.names[from.index()])
            }
            None => "there are not two nodes to compare".to_owned(),
        }
    }
}

/// Whether the same node may have no such trouble with other tables.
fn is_about_a_table(error: &Error) -> bool {
    let Error::Node { source, .. } = error else { return false };
    matches!(
        source.kind,
        ErrorKind::Rights | ErrorKind::Constraint(_) | ErrorKind::Value | ErrorKind::Drift | ErrorKind::Other
    )
}

/// Keys by lots that are looked up together.
fn groups_of(keys: Vec<Key>) -> Vec<Vec<Key>> {
    let mut keys = keys.into_iter();
    std::iter::from_fn(|| Some(keys.by_ref().take(look::TOGETHER).collect::<Vec<_>>()).filter(|lot| !lot.is_empty()))
        .collect()
}

/// A limit of which 0 means that there is none.
pub(super) fn all_if_none(limit: usize) -> usize {
    if limit == 0 { usize::MAX } else { limit }
}

/// The nodes whose rows of a table can be compared, in the order of the file; `None` if there are not enough.
fn comparable_nodes(table: &Table, opened: &Opened) -> Option<Vec<NodeId>> {
    let nodes = super::examine::participants(table, opened);
    let enough = nodes.len() > 1 && table.from.is_none_or(|from| nodes.contains(&from));
    enough.then_some(nodes)
}

pub(super) fn no_table_called(name: &str, names: &[&str]) -> Error {
    Error::Usage(format!("no table is called `{name}`\n    tables of this sync: {}", names.join(", ")))
}
