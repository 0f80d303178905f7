//! What a sync would do now, without doing any of it: the cycle up to the batches.
//!
//! Everything that is pending is planned at once, so memory grows with it. What only the databases can tell, such as
//! whether a constraint takes a row, shows when the plan is carried out.

mod carry_out;
mod file;
mod row;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serde::Serialize;
use serde_json::Value as Document;

use self::file::Written;
use super::attendance::Away;
use super::cycle::{Batches, Cycle, Foreseen};
use super::decide::{Account, Outcomes, Settled};
use super::early::Writing;
use super::opened::Opened;
use super::schedule::Schedule;
use super::session::{Session, Stopped, add_away};
use super::table::{Form, Table};
use super::verify::{Verified, VerifiedTable};
use crate::error::{Error, Result};
use crate::model::{Key, NodeId, Row, Stamp, value_to_json};
use crate::node::apply::{Decision, Effect, TableBatch};
use crate::node::{Node, WriteMode};

pub use self::carry_out::{Carriage, MovedOn};
pub use self::file::PlanFile;

/// Rows that are looked up at once where they stand.
const LOOK: usize = 2_000;

/// How often the nodes are looked at again while another engine is at work between the looks.
const LOOKS: u32 = 20;

/// Keys that `--json` and people are shown of each table and node, and conflicts of each table.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Only this table.
    pub table: Option<String>,
    /// At most so many rows of each table at each node, and so many conflicts of each table; 0 is all.
    pub limit: usize,
    /// Whether the plan is to be carried out later.
    pub file: bool,
}

/// What a sync would do now.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Plan {
    /// New entries that were read.
    pub entries: u64,
    pub counts: Vec<Counts>,
    /// As many examples as were asked for.
    pub rows: Vec<PlannedRow>,
    pub conflict_count: u64,
    /// As many examples as were asked for.
    pub conflicts: Vec<PlannedConflict>,
    /// What differs in the tables that are kept in step by comparison, with what would be written as `carried`.
    pub compared: Vec<VerifiedTable>,
    pub away: Vec<Away>,
    pub stopped: Vec<Stopped>,
}

/// How many rows of one table would change at one node.
#[derive(Clone, Debug, Default, Serialize, PartialEq)]
pub struct Counts {
    pub table: String,
    pub node: String,
    pub insert: u64,
    pub update: u64,
    pub delete: u64,
    /// Rows that are written again with the values that stand there.
    pub same: u64,
    /// Rows that would wait for a person.
    pub wait: u64,
    /// Rows about which the cycle after it decides, once what stands there is weighed as well.
    pub later: u64,
    /// Of all of these, rows that wait there already and would be tried again.
    pub retry: u64,
}

/// What would become of one row at one node.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct PlannedRow {
    pub table: String,
    pub node: String,
    pub key: Document,
    pub change: Change,
    /// Where the version was written that arrives, and when (µs UTC).
    pub from: String,
    pub written: i64,
    /// The row that stands there, in the shared names; absent if there is none.
    pub before: Option<Document>,
    /// The row that would stand there; absent if there would be none or what stands there stays.
    pub after: Option<Document>,
    /// The columns that become others.
    pub columns: Vec<String>,
    /// Why it would wait, or why it waits now and would be tried again.
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Insert,
    Update,
    Delete,
    /// Written again as it is.
    Same,
    Wait,
    /// Decided by the cycle after it.
    Later,
}

/// A conflict, and what the rule makes of it.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedConflict {
    /// The id that it will have in the journal.
    pub id: String,
    pub table: String,
    pub key: Document,
    pub versions: Vec<PlannedVersion>,
    /// The node whose version wins as it is, if one does.
    pub winner: Option<String>,
    /// What the row becomes; absent if it is deleted or a person has to decide.
    pub row: Option<Document>,
    /// Whether a person has to decide.
    pub undecided: bool,
    /// The rule and, in words, why.
    pub reason: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct PlannedVersion {
    /// Where it was written.
    pub node: String,
    /// µs UTC.
    pub written: i64,
    /// The node at which it waits, if it does.
    pub waits_at: Option<String>,
    /// Absent if it is a delete.
    pub row: Option<Document>,
}

/// What was computed: everything up to the batches.
struct Draft {
    opened: Opened,
    batches: Batches,
    accounts: Vec<Account>,
    cycle: Cycle,
}

/// What an attempt to plan came to.
enum Drafted {
    Plan(Box<Plan>, Option<Vec<u8>>),
    /// The cycle would put off decisions about these rows, so that what stands there is weighed in the next one.
    Foreseen(Vec<Foreseen>),
    /// Another engine was at work meanwhile.
    Overtaken,
}

/// The rows that a cycle would make changes of their nodes, but for those that count as such already.
fn further(outcomes: &Outcomes, foreseen: &[Foreseen]) -> Vec<Foreseen> {
    let known: HashSet<(usize, NodeId, &Key)> = foreseen.iter().map(|row| (row.table, row.node, &row.key)).collect();
    let mut further = Vec::new();
    for (at, tables) in outcomes.decisions.iter().enumerate() {
        let node = NodeId(at as u16);
        for (table, decisions) in tables.iter().enumerate() {
            let touched = decisions.iter().filter_map(|decision| Some((&decision.key, decision.touch?)));
            let new = touched.filter(|(key, _)| !known.contains(&(table, node, *key)));
            further.extend(new.map(|(key, time)| Foreseen { table, node, key: key.clone(), time }));
        }
    }
    further
}

impl Session {
    /// Plans a sync. Nothing is written anywhere, service tables included.
    ///
    /// With [`Wish::file`] the second is what [`Session::carry_out`] takes.
    pub async fn plan(&mut self, wish: &Wish) -> Result<(Plan, Option<Vec<u8>>)> {
        let compares = |session: &Session, table: &String| session.needs_history(table).is_err();
        let compared_alone = wish.table.as_ref().is_some_and(|table| compares(self, table));
        if wish.file && (compared_alone || !self.config.keeps_histories()) {
            return Err(Error::Usage(
                "such a plan is made of histories, and none is kept of tables that are compared\n    `concord verify --repair \
                 --out FILE` writes what a comparison would do, and `concord verify --plan FILE` does it"
                    .to_owned(),
            ));
        }
        let (mut plan, file) = match self.config.keeps_histories() && !compared_alone {
            true => self.plan_cycle(wish).await?,
            false => (Plan::default(), None),
        };
        if self.config.compares() && !wish.file {
            let found = match self.foresee(wish.table.as_deref(), wish.limit).await {
                Err(error) if !compared_alone => self.told_as_skipped(error, wish.table.as_deref()).await?,
                found => found?,
            };
            (plan.compared, plan.stopped) = (found.tables, found.stopped);
            add_away(&mut plan.away, found.away);
        }
        Ok((plan, file))
    }

    /// The same for the tables of which histories are kept.
    async fn plan_cycle(&mut self, wish: &Wish) -> Result<(Plan, Option<Vec<u8>>)> {
        self.schedule = Schedule::default();
        self.prepare().await?;
        self.enough()?;
        if wish.file {
            self.refuse_what_nobody_records()?;
        }
        let page = std::mem::replace(&mut self.page, usize::MAX);
        let limit = std::mem::replace(&mut self.rows_limit, usize::MAX);
        let mut looks = 0;
        let mut foreseen: Vec<Foreseen> = Vec::new();
        let planned = loop {
            self.tables.iter().for_each(Table::begin_round);
            let drafted = self.draft(wish, &foreseen).await;
            self.tables.iter().for_each(Table::end_round);
            match drafted {
                Ok(Drafted::Plan(plan, file)) => break Ok((*plan, file)),
                Ok(Drafted::Foreseen(further)) => foreseen.extend(further),
                Ok(Drafted::Overtaken) if looks < LOOKS => {
                    looks += 1;
                    tokio::time::sleep(Duration::from_millis(10) * looks).await;
                }
                Ok(Drafted::Overtaken) => {
                    break Err(Error::Stopped(
                        "another engine is carrying changes all the time, so what is planned is out of date at once; \
                         stop it (`concord watch`) or try again"
                            .to_owned(),
                    ));
                }
                Err(error) => {
                    self.close().await;
                    if let Err(error) = self.do_without(error) {
                        break Err(error);
                    }
                }
            }
        };
        (self.page, self.rows_limit) = (page, limit);
        planned
    }

    /// Why a comparison did not come to its end, told of each of its tables, so that what is planned of the others is told too; other
    /// errors than a `sync` tells beside what it carried are given back.
    async fn told_as_skipped(&mut self, error: Error, table: Option<&str>) -> Result<Verified> {
        if !self.config.keeps_histories() {
            return Err(error);
        }
        let mut skipped = None;
        self.told_as_failed(error, &mut skipped).await?;
        let tables = self.compared_tables(table).into_iter();
        let tables =
            tables.map(|at| VerifiedTable { skipped: skipped.clone(), ..VerifiedTable::new(&self.tables[at].name) });
        Ok(Verified { tables: tables.collect(), away: self.away(), stopped: self.stopped() })
    }

    /// One attempt among those who are there.
    async fn draft(&mut self, wish: &Wish, foreseen: &[Foreseen]) -> Result<Drafted> {
        let mut cycle = Cycle::default();
        let Some((opened, contests)) = self.weigh(&mut cycle, foreseen).await? else { return Ok(Drafted::Overtaken) };
        let shared = Arc::new(opened);
        let Ok(deciding) = self.start_deciding(&shared, contests, usize::MAX, true, &mut Writing::default()).await?
        else {
            return Err(Error::Internal("a plan has no pages".to_owned()));
        };
        let mut outcomes = deciding.finish(&mut Writing::default()).await;
        let Some(opened) = Arc::into_inner(shared) else {
            return Err(Error::Internal("deciding goes on after its end".to_owned()));
        };
        if self.stop_for_plugins(&outcomes.gave_up) {
            self.close().await;
            // The same without the tables that stand still now.
            return Ok(Drafted::Foreseen(Vec::new()));
        }
        // A file holds what one cycle does.
        let further = if wish.file { Vec::new() } else { further(&outcomes, foreseen) };
        if !further.is_empty() {
            self.close().await;
            return Ok(Drafted::Foreseen(further));
        }
        for (node, table, decision) in std::mem::take(&mut outcomes.leaving).into_iter().filter(|_| !wish.file) {
            let decisions = &mut outcomes.decisions[node.index()][table];
            decisions.retain(|known| known.key != decision.key);
            decisions.push(decision);
        }
        let accounts = std::mem::take(&mut outcomes.accounts);
        cycle.conflicts = outcomes.conflicts;
        let batches = self.batches(&opened, outcomes);
        let mut draft = Draft { opened, batches, accounts, cycle };
        let plan = self.tell(&draft, wish).await;
        let noted = match wish.file {
            true => self.note_what_stands(&mut draft.batches).await,
            false => Ok(()),
        };
        self.close().await;
        let plan = noted.and(plan)?;
        let file = wish.file.then(|| Written::new(self, &draft).bytes());
        Ok(Drafted::Plan(Box::new(plan), file))
    }

    /// Where nothing records what users do, the rows that are to be written over or deleted are told by themselves from what stands when
    /// the plan is carried out. One that cannot be read is not: nothing could be told from it.
    async fn note_what_stands(&mut self, batches: &mut Batches) -> Result<()> {
        for (member, batch) in self.members.iter_mut().zip(batches) {
            let (Some(node), Some(batch)) = (member.node.as_deref_mut(), batch) else { continue };
            for part in batch.tables.iter_mut().filter(|part| !part.spec.captured) {
                for decisions in part.decisions.chunks_mut(LOOK) {
                    let keys: Vec<&Key> = decisions.iter().map(|decision| &decision.key).collect();
                    let standing = node.rows(&part.spec, &keys).await.map_err(|error| {
                        Error::at(&member.name, format!("reading rows of {}", part.spec.full_name()))(error)
                    })?;
                    for (decision, stood) in decisions.iter_mut().zip(standing) {
                        note_what_stood(decision, stood);
                    }
                }
            }
        }
        Ok(())
    }

    /// A plan that is carried out later relies on histories to tell what was changed since.
    fn refuse_what_nobody_records(&self) -> Result<()> {
        let is_mapped = |form: &Form| form.lens.is_mapped() && !form.spec.captured;
        let silent = |table: &Table| table.forms.iter().position(|form| form.as_ref().is_some_and(is_mapped));
        match self.tables.iter().find_map(|table| Some((table, silent(table)?))) {
            None => Ok(()),
            Some((table, at)) => Err(Error::Usage(format!(
                "`{}` has a mapping at `{node}`, which takes rows and records no changes, so nothing would tell whether the rows \
                 that the plan was made upon are still there\n    `concord plan` without --out tells what a sync would do",
                table.name,
                node = self.names[at]
            ))),
        }
    }

    /// What the batches come to, compared with what stands at the nodes.
    async fn tell(&mut self, draft: &Draft, wish: &Wish) -> Result<Plan> {
        let (tables, names) = (&self.tables, &self.names);
        let wanted = |table: &Table| wish.table.as_ref().is_none_or(|name| *name == table.name);
        let looking = join_all(self.members.iter_mut().zip(&draft.batches).map(async |(member, batch)| {
            let mut told = Vec::new();
            let (Some(node), Some(batch)) = (member.node.as_deref_mut(), batch) else {
                return Ok::<_, Error>(told);
            };
            for part in batch.tables.iter().filter(|part| wanted(&tables[part.spec.index])) {
                let table = &tables[part.spec.index];
                let at = At { table, node: member.id, names };
                told.push(at.tell(node, part, wish.limit).await.map_err(|error| {
                    Error::at(&member.name, format!("reading rows of {}", part.spec.full_name()))(error)
                })?);
            }
            Ok(told)
        }));
        let mut plan = Plan { entries: draft.cycle.entries, ..Plan::default() };
        for told in looking.await {
            for (counts, rows) in told? {
                if counts.all() > 0 {
                    plan.counts.push(counts);
                    plan.rows.extend(rows);
                }
            }
        }
        let place = |table: &str| tables.iter().position(|known| known.name == table);
        plan.counts.sort_by_key(|counts| place(&counts.table));
        plan.rows.sort_by_key(|row| place(&row.table));
        let mut shown: HashMap<usize, usize> = HashMap::new();
        for account in draft.accounts.iter().filter(|account| wanted(&tables[account.table])) {
            plan.conflict_count += 1;
            let shown = shown.entry(account.table).or_default();
            *shown += 1;
            if wish.limit == 0 || *shown <= wish.limit {
                plan.conflicts.push(planned_conflict(account, &tables[account.table], names));
            }
        }
        plan.away = self.away();
        plan.stopped = self.stopped();
        Ok(plan)
    }
}

/// One table at one node.
struct At<'a> {
    table: &'a Table,
    node: NodeId,
    names: &'a [String],
}

impl At<'_> {
    /// Counts what a batch does to the table, and tells the first `limit` rows of it.
    async fn tell(
        &self,
        node: &mut dyn Node,
        part: &TableBatch,
        limit: usize,
    ) -> crate::node::Result<(Counts, Vec<PlannedRow>)> {
        let name = self.names[self.node.index()].clone();
        let mut counts = Counts { table: self.table.name.clone(), node: name, ..Counts::default() };
        let mut rows = Vec::new();
        for decisions in part.decisions.chunks(LOOK) {
            let keys: Vec<&Key> = decisions.iter().map(|decision| &decision.key).collect();
            let standing = node.rows(&part.spec, &keys).await?;
            let mut shown = Vec::new();
            let (mut before, mut after): (Vec<Standing>, Vec<Standing>) = (Vec::new(), Vec::new());
            for (decision, standing) in decisions.iter().zip(standing) {
                let (Some(change), Some(otherwise)) = (change(decision, &standing), &decision.otherwise) else {
                    continue;
                };
                counts.count(change, is_retry(decision));
                if limit == 0 || rows.len() + shown.len() < limit {
                    shown.push((decision, otherwise.stamp, change));
                    before.push(standing);
                    after.push(match &decision.effect {
                        Effect::Write(row, _) => Some(Ok((**row).clone())),
                        _ => None,
                    });
                }
            }
            if let Some(form) = self.table.form(self.node) {
                before = form.lens.share_apart(before, Option::as_mut).await;
                after = form.lens.share_apart(after, Option::as_mut).await;
            }
            let shown = shown.into_iter().zip(before.into_iter().zip(after));
            rows.extend(shown.map(|((decision, stamp, change), rows)| self.planned(decision, stamp, change, rows)));
        }
        Ok((counts, rows))
    }

    /// What becomes of a row, by the rows before and after in the shared shape.
    fn planned(
        &self,
        decision: &Decision,
        stamp: Stamp,
        change: Change,
        (before, after): (Standing, Standing),
    ) -> PlannedRow {
        let columns = || self.table.columns.iter().enumerate();
        let lens = self.table.form(self.node).map(|form| &form.lens);
        let lives = |column: usize| lens.is_none_or(|lens| lens.has(column));
        let (before, unreadable) = match before {
            None => (None, None),
            Some(Ok(row)) => (Some(row), None),
            Some(Err(why)) => (None, Some(format!("what stands there cannot be read: {why}"))),
        };
        let after = after.and_then(std::result::Result::ok);
        let document = |row: &Row| {
            let members = columns().filter(|(at, _)| lives(*at));
            Document::Object(members.map(|(at, c)| (c.name.clone(), value_to_json(&row[at]))).collect())
        };
        let differ = |(at, _): &(usize, _)| match (&before, &after) {
            (Some(before), Some(after)) => before[*at] != after[*at],
            _ => false,
        };
        let reason = match (&decision.effect, &decision.waiting) {
            (Effect::Park(_, why), _) => Some(why.clone()),
            (_, Some(waiting)) if is_retry(decision) => {
                Some(format!("has waited and is tried again: {}", waiting.message))
            }
            // The outcome is a row, and what stands here is to go.
            (Effect::Delete, _) if decision.otherwise.as_ref().is_some_and(|otherwise| otherwise.row.is_some()) => {
                Some("it does not belong here by this node's filter, and is deleted nowhere else".to_owned())
            }
            _ => unreadable,
        };
        PlannedRow {
            table: self.table.name.clone(),
            node: self.names[self.node.index()].clone(),
            key: self.table.key_document(&decision.key),
            change,
            from: self.names[stamp.node.index()].clone(),
            written: stamp.time,
            columns: columns().filter(differ).map(|(_, column)| column.name.clone()).collect(),
            before: before.as_ref().map(document),
            after: after.as_ref().map(document),
            reason,
        }
    }
}

/// The row that stands, or why it cannot be read.
type Standing = Option<std::result::Result<Row, String>>;

/// Decides upon the row that stands, and upon nothing else. What is not there cannot be locked, and one that is created meanwhile stays.
fn note_what_stood(decision: &mut Decision, stood: Standing) {
    let stood = match stood {
        None => None,
        Some(Ok(row)) => Some(Arc::new(row)),
        Some(Err(_)) => return,
    };
    if let Effect::Write(_, mode) = &mut decision.effect {
        match (*mode, &stood) {
            (WriteMode::InsertOnly, Some(_)) | (WriteMode::UpdateOnly, None) => decision.effect = Effect::Keep,
            (_, None) => *mode = WriteMode::InsertOnly,
            (_, Some(_)) => *mode = WriteMode::UpdateOnly,
        }
    }
    if matches!(decision.effect, Effect::Write(..) | Effect::Delete) {
        decision.upon = Some(stood);
    }
}

/// What a decision does to a row; `None` if nothing.
fn change(decision: &Decision, standing: &Standing) -> Option<Change> {
    match (&decision.effect, standing) {
        (Effect::Keep, _) => None,
        (Effect::Park(code, _), _) if code.is_passing() => Some(Change::Later),
        (Effect::Park(..), _) => Some(Change::Wait),
        (Effect::Delete, None) => None,
        (Effect::Delete, Some(_)) => Some(Change::Delete),
        (Effect::Write(_, WriteMode::UpdateOnly), None) | (Effect::Write(_, WriteMode::InsertOnly), Some(_)) => None,
        (Effect::Write(..), None) => Some(Change::Insert),
        (Effect::Write(row, _), Some(Ok(standing))) if standing == &**row => Some(Change::Same),
        (Effect::Write(..), Some(_)) => Some(Change::Update),
    }
}

/// Whether it is what waits for a person there already.
fn is_retry(decision: &Decision) -> bool {
    let waits = decision.waiting.as_deref().filter(|parked| !parked.code.is_passing());
    waits.zip(decision.otherwise.as_ref()).is_some_and(|(parked, otherwise)| parked.vector == otherwise.vector)
}

impl Counts {
    fn count(&mut self, change: Change, retry: bool) {
        *match change {
            Change::Insert => &mut self.insert,
            Change::Update => &mut self.update,
            Change::Delete => &mut self.delete,
            Change::Same => &mut self.same,
            Change::Wait => &mut self.wait,
            Change::Later => &mut self.later,
        } += 1;
        self.retry += u64::from(retry);
    }

    /// All rows that something is done about.
    pub fn all(&self) -> u64 {
        self.insert + self.update + self.delete + self.same + self.wait + self.later
    }
}

impl Plan {
    /// The code with which the command ends: a row would wait for a person, a node is away, or all would be done.
    pub fn exit_code(&self) -> u8 {
        if self.away.iter().any(|away| away.unreachable) {
            crate::error::UNREACHABLE
        } else if !self.stopped.is_empty()
            || !self.away.is_empty()
            || self.counts.iter().any(|counts| counts.wait + counts.retry > 0)
            || self.compared.iter().any(|table| table.undecided > 0 || table.skipped.is_some())
        {
            crate::error::ATTENTION
        } else {
            crate::error::DONE
        }
    }
}

fn planned_conflict(account: &Account, table: &Table, names: &[String]) -> PlannedConflict {
    let document = |row: &Option<Arc<Row>>| row.as_deref().map(|row| table.row_document(row));
    let versions = account.versions.iter().map(|side| PlannedVersion {
        node: names[side.stamp.node.index()].clone(),
        written: side.stamp.time,
        waits_at: side.waiting.then(|| names[side.holder.index()].clone()),
        row: document(&side.row),
    });
    PlannedConflict {
        id: account.id.clone(),
        table: table.name.clone(),
        key: table.key_document(&account.key),
        versions: versions.collect(),
        winner: account.taken.map(|taken| names[account.versions[taken].stamp.node.index()].clone()),
        row: match &account.settled {
            Settled::Row { row, .. } => Some(table.row_document(row)),
            _ => None,
        },
        undecided: matches!(account.settled, Settled::Parked(..)),
        reason: account.reason.clone(),
    }
}
