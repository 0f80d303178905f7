//! How things stand, without changing anything.

use std::sync::Arc;

use std::collections::{BTreeSet, HashSet};

use serde::Serialize;
use serde_json::Value as Document;

use super::attendance::Away;
use super::check::right_told;
use super::decide::is_conflict_id;
use super::opened::{Opened, Presence};
use super::read;
use super::session::{Session, Stopped};
use super::snapshots::strayed;
use super::table::{Form, Table};
use crate::error::Result;
use crate::model::{
    Cut, Entry, Key, Lost, NodeId, Parked, Row, Type, Value, Waiting, key_value_to_json, row_to_json, time,
};
use crate::node::{self, Node, Sought, Writes};

/// Rows that wait whose contents are read at once.
const LOT: usize = 100;

/// From when on it is a matter for a person that somebody holds a row, in microseconds: users' transactions do not last so long.
const LONG_HELD: i64 = 3_600_000_000;

/// What was read of the journals of all nodes.
pub(super) struct Journals {
    /// Newest first, without what several tell alike.
    pub entries: Vec<Lost>,
    /// The last moment (µs UTC) of which a node may have more entries than it told; `None` if all told all.
    pub since: Option<i64>,
}

/// How things stand.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    pub nodes: Vec<NodeStatus>,
    pub tables: Vec<TableStatus>,
    /// Tables of which nothing is pending or waits, because they are kept in step by comparison.
    pub compared: Vec<String>,
    /// Tables that are installed and that the file does not name, so that what is changed in them goes nowhere.
    pub unlisted: Vec<String>,
    /// What else is a matter for a person: why nodes that lack what is pending cannot take it, as far as that shows, which rights are
    /// missing by which users' changes are recorded, which servers time changes by a clock that has strayed, and of which tables the
    /// histories are kept for rows that wait, or that somebody holds for long.
    pub problems: Vec<String>,
    pub away: Vec<Away>,
    pub stopped: Vec<Stopped>,
}

#[derive(Clone, Debug, Serialize)]
pub struct NodeStatus {
    pub node: String,
    /// How far its clock is ahead, in seconds.
    pub clock_offset: f64,
    /// Conflicts that its journal tells of.
    pub conflicts: u64,
    /// Sessions that hold back its history's horizon.
    pub blockers: Vec<String>,
}

/// One table at one node.
#[derive(Clone, Debug, Serialize)]
pub struct TableStatus {
    pub table: String,
    pub node: String,
    /// Changes made here that nodes which are there have not applied yet: entries that they have not passed, and rows that they could not
    /// write because somebody held them, as an open transaction does. Where the node that made such a change is away, it is counted at
    /// the one that could not write it.
    pub pending: u64,
    /// The age of the oldest of them, in seconds.
    pub lag: Option<f64>,
    /// The nodes that are there and have not.
    pub lacking: Vec<String>,
    /// Entries kept, also for nodes that are away.
    pub kept: u64,
    /// Rows that wait here, but for those that are merely tried again with the next sync.
    pub parked: u64,
}

/// A row that waits.
#[derive(Clone, Debug, Serialize)]
pub struct ParkedReport {
    pub node: String,
    pub table: String,
    pub key: Document,
    pub code: &'static str,
    pub message: String,
    /// µs UTC.
    pub since: i64,
    /// Where the waiting version was written, and when.
    pub from: String,
    pub written: i64,
    /// Absent if it is a delete or, as `code` tells, could not be read. Or if nobody asked for it.
    pub row: Option<Document>,
    /// The row that stands in its way at the node, where the two are one to its database by their keys; absent if nobody asked.
    pub in_the_way: Option<Document>,
    /// Whether it is a row, whether or not that was asked for.
    #[serde(skip)]
    pub writes: bool,
}

impl ParkedReport {
    /// What tells it from all else that waits anywhere, or ever has.
    fn identity(&self) -> (&str, &str, &Document, i64, &str, i64) {
        (&self.node, &self.table, &self.key, self.since, &self.from, self.written)
    }
}

/// Whether it is the same version, parked at the same time, whatever was read of it.
impl PartialEq for ParkedReport {
    fn eq(&self, other: &ParkedReport) -> bool {
        self.identity() == other.identity()
    }
}

/// A conflict of the journal.
#[derive(Clone, Debug, Serialize)]
pub struct ConflictReport {
    pub id: String,
    pub table: String,
    pub key: Document,
    /// µs UTC, as are the times below.
    pub decided: i64,
    pub winner: String,
    pub winner_time: i64,
    pub winner_row: Option<Document>,
    pub loser: String,
    pub loser_time: i64,
    pub loser_row: Option<Document>,
    pub reason: String,
    /// The columns of which both rows tell, and in which they differ; equal values may be written differently.
    #[serde(skip)]
    pub differing: Vec<String>,
}

impl Session {
    /// Reads how things stand at all nodes that can be reached.
    pub async fn status(&mut self) -> Result<Status> {
        if let Err(error) = self.assemble().await
            && self.away().is_empty()
        {
            return Err(error);
        }
        let compared = self.compared_names();
        let mut status = Status { compared, ..Status::default() };
        self.agree_on_compared(false).await;
        if !self.config.keeps_histories() {
            (status.away, status.stopped) = (self.away(), self.stopped());
            return Ok(status);
        }
        self.report(async |session| session.tell_status(&mut status).await).await?;
        status.unlisted = self.unlisted();
        status.away = self.away();
        status.stopped = self.stopped();
        Ok(status)
    }

    async fn tell_status(&mut self, status: &mut Status) -> Result<()> {
        let opened = self.open().await?;
        for member in &mut self.members {
            let (Some(presence), Some(node)) = (&opened.present[member.id.index()], member.node.as_deref_mut()) else {
                continue;
            };
            match lines(node, member.id, &self.names, &self.tables, presence, &opened).await {
                Ok(lines) => status.tables.extend(lines),
                Err(error) => member.leave(&error.while_doing("counting pending changes")),
            }
        }
        self.close().await;
        self.tell_why_they_lack(status).await;
        self.tell_what_is_kept(&opened, status);
        let max_skew = self.config.defaults.max_skew.as_micros() as i64;
        let specs: Vec<_> = self.members.iter().map(|member| Session::specs(&self.tables, member.id)).collect();
        for (member, specs) in self.members.iter_mut().zip(specs) {
            let (Some(presence), Some(node)) = (&opened.present[member.id.index()], member.node.as_deref_mut()) else {
                continue;
            };
            let looked = async { Ok((node.journalled(&specs).await?, node.blockers().await?)) };
            match looked.await {
                Ok((conflicts, blockers)) => {
                    status.nodes.push(NodeStatus {
                        node: member.name.clone(),
                        clock_offset: presence.clock.offset as f64 / 1e6,
                        conflicts,
                        blockers,
                    });
                    let strayed = strayed(member.strays, max_skew).map(|why| format!("node `{}`: {why}", member.name));
                    status.problems.extend(strayed);
                }
                Err(error) => {
                    member.leave(&node::Error::while_doing(
                        error,
                        "counting conflicts and looking for long transactions",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Whether nodes that lack what is pending have the right to write it, and all have the rights by which users' changes are recorded,
    /// without which users can write nothing. Nobody else would tell before the next sync.
    async fn tell_why_they_lack(&mut self, status: &mut Status) {
        let lacking: BTreeSet<String> = status.tables.iter().flat_map(|line| &line.lacking).cloned().collect();
        for member in &mut self.members {
            let tables = self.tables.iter().filter(|table| !table.compared);
            let lacks = lacking.contains(&member.name);
            let writes = |table: &Table| Writes {
                insert: table.operations.insert,
                update: table.operations.update,
                // Where there is a filter, rows go that do not belong there any more.
                delete: table.operations.delete || table.subset(member.id).is_some(),
            };
            let wanted: Vec<_> = tables
                .filter_map(|table| {
                    let takes = lacks && table.is_target(member.id);
                    Some((&**table.spec(member.id)?, if takes { writes(table) } else { Writes::default() }))
                })
                .collect();
            let Some(node) = member.node.as_deref_mut().filter(|_| !wanted.is_empty()) else { continue };
            match node.missing_rights_to_compare(&wanted).await {
                Ok(missing) => {
                    status.problems.extend(missing.iter().map(|right| right_told(&member.name, right)));
                }
                Err(error) => member.leave(&error.while_doing("looking up rights")),
            }
        }
    }

    /// Of which tables no history is emptied, anywhere, while a row waits, also for whoever holds it: there it is needed what each change
    /// did, until all is decided.
    fn tell_what_is_kept(&self, opened: &Opened, status: &mut Status) {
        for table in self.tables.iter().filter(|table| table.policy.merges()) {
            let mut waiting = opened.nodes().flat_map(|(_, presence)| presence.parked[table.index].values());
            if waiting.any(|row| !row.code.is_passing()) {
                status.problems.push(format!(
                    "table `{}`: while a row of it waits anywhere, its histories are kept whole at every node, and grow with each change; \
                     what waits is told by `concord parked list --table {0}`",
                    table.name
                ));
                continue;
            }
            let before = time::now() - LONG_HELD;
            let held = passing(opened, table.index).filter(|(_, row)| row.since < before);
            let held: BTreeSet<&str> = held.map(|(node, _)| &*self.names[node.index()]).collect();
            if !held.is_empty() {
                let places: Vec<&str> = held.into_iter().collect();
                status.problems.push(format!(
                    "table `{}`: its histories are kept whole at every node, and grow with each change, while a row of it cannot be written \
                     at {} for more than an hour, as where a transaction that was left open or prepared holds it; end that transaction",
                    table.name,
                    places.join(", ")
                ));
            }
        }
    }

    /// The newest `limit` conflicts in the journals of all nodes that can be reached; 0 is all. A conflict that several nodes
    /// tell of is told once for each version that lost.
    pub async fn conflicts(&mut self, limit: usize) -> Result<Vec<ConflictReport>> {
        self.conflicts_of(None, limit).await
    }

    /// The same for one table alone, if one is named.
    pub async fn conflicts_of(&mut self, table: Option<&str>, limit: usize) -> Result<Vec<ConflictReport>> {
        table.map_or(Ok(()), |table| self.needs_history(table))?;
        self.prepare().await?;
        let all = self.report(async |session| session.journals(table, Sought::All, limit).await).await?;
        Ok(all.into_iter().map(|lost| self.conflict_report(lost)).collect())
    }

    /// The conflicts whose id begins so, whatever their table.
    pub async fn conflicts_called(&mut self, id: &str) -> Result<Vec<ConflictReport>> {
        self.prepare().await?;
        let all = self.report(async |session| session.journals(None, Sought::Id(id), 0).await).await?;
        Ok(all.into_iter().map(|lost| self.conflict_report(lost)).collect())
    }

    /// What the journals of all nodes that are there tell, or what is sought in them, newest first, without what several tell alike.
    pub(super) async fn journals(
        &mut self,
        table: Option<&str>,
        sought: Sought<'_>,
        limit: usize,
    ) -> Result<Vec<Lost>> {
        let mut all = self.read_journals(table, sought, limit).await?.entries;
        if limit > 0 {
            all.truncate(limit);
        }
        Ok(all)
    }

    /// The same of so many entries of each node.
    pub(super) async fn read_journals(
        &mut self,
        table: Option<&str>,
        sought: Sought<'_>,
        each: usize,
    ) -> Result<Journals> {
        let mut all: Vec<Lost> = Vec::new();
        let mut since: Option<i64> = None;
        for member in &mut self.members {
            let mut specs = Session::specs(&self.tables, member.id);
            specs.retain(|spec| table.is_none_or(|table| spec.name == table));
            let Some(node) = member.node.as_deref_mut() else { continue };
            let read = async {
                let journal = node.journal(&specs, sought, each).await?;
                // What cannot be read is counted as well, though it cannot be told, and what is there twice.
                if journal.len() < each && node.journalled(&specs).await? <= each as u64 {
                    return Ok((node.journal(&specs, sought, 0).await?, true));
                }
                Ok::<_, node::Error>((journal, each == 0))
            };
            match read.await {
                Ok((journal, told_all)) => {
                    if !told_all {
                        since = since.max(Some(journal.last().map_or(i64::MAX, |oldest| oldest.decided)));
                    }
                    all.extend(journal);
                }
                Err(error) => member.leave(&error.while_doing("reading the journal")),
            }
        }
        all.sort_by_key(|lost| std::cmp::Reverse(lost.decided));
        // In a conflict two versions of one node may lose. What a load or a repair replaced is named by the rows alone, so that what
        // happens twice is told once.
        let mut told: HashSet<(String, NodeId, Option<i64>)> = HashSet::new();
        let which = |lost: &Lost| (lost.id.clone(), lost.loser, is_conflict_id(&lost.id).then_some(lost.loser_time));
        // An earlier Concord may have decided it as well, and keeps less.
        let full: HashSet<_> = all.iter().filter(|lost| lost.told.is_some()).map(which).collect();
        all.retain(|lost| (lost.told.is_some() || !full.contains(&which(lost))) && told.insert(which(lost)));
        Ok(Journals { entries: all, since })
    }

    pub(super) fn conflict_report(&self, lost: Lost) -> ConflictReport {
        let table = &self.tables[lost.table];
        let row =
            |row: &Option<Arc<Row>>, unknown: &[usize]| row.as_deref().map(|row| table.known_document(row, unknown));
        let known = |place: &usize| !lost.winner_unknown.contains(place) && !lost.loser_unknown.contains(place);
        let differing = match (&lost.winner_row, &lost.loser_row) {
            (Some(winner), Some(loser)) => {
                let places = (0..table.columns.len()).filter(known);
                let places = places.filter(|&place| winner.get(place) != loser.get(place));
                places.map(|place| table.columns[place].name.clone()).collect()
            }
            _ => Vec::new(),
        };
        ConflictReport {
            differing,
            id: lost.id.clone(),
            table: table.name.clone(),
            key: table.key_document(&lost.key),
            decided: lost.decided,
            winner: self.names[lost.winner.index()].clone(),
            winner_time: lost.winner_time,
            winner_row: row(&lost.winner_row, &lost.winner_unknown),
            loser: self.names[lost.loser.index()].clone(),
            loser_time: lost.loser_time,
            loser_row: row(&lost.loser_row, &lost.loser_unknown),
            reason: lost.reason,
        }
    }

    /// All rows that wait anywhere, with their contents, oldest first, without those that only wait for the next cycle.
    pub async fn parked(&mut self) -> Result<Vec<ParkedReport>> {
        self.parked_among(true, |_| true).await
    }

    /// Those of them that `chosen` picks. Their contents, which may be large, are read only with `whole`.
    pub async fn parked_among(
        &mut self,
        whole: bool,
        chosen: impl Fn(&ParkedReport) -> bool,
    ) -> Result<Vec<ParkedReport>> {
        self.prepare().await?;
        let reports = self.report(async |session| session.tell_parked(whole, &chosen).await).await;
        self.close().await;
        let mut reports = reports?;
        reports.sort_by(|a, b| (a.since, &a.node, &a.table).cmp(&(b.since, &b.node, &b.table)));
        Ok(reports)
    }

    async fn tell_parked(&mut self, whole: bool, chosen: &impl Fn(&ParkedReport) -> bool) -> Result<Vec<ParkedReport>> {
        let opened = self.open().await?;
        let mut reports: Vec<ParkedReport> = Vec::new();
        for (node, presence) in opened.nodes() {
            for (table, waiting) in presence.parked.iter().enumerate() {
                let told = waiting.values().filter(|row| !row.code.is_passing());
                let told = told.map(|row| (&row.key, self.parked_report(node, row)));
                let (keys, told): (Vec<&Key>, Vec<ParkedReport>) = told.filter(|(_, report)| chosen(report)).unzip();
                if !whole {
                    reports.extend(told);
                    continue;
                }
                for keys in keys.chunks(LOT) {
                    let keys: Vec<Key> = keys.iter().map(|&key| key.clone()).collect();
                    let rows = self.with_rows(&opened, table, node, &keys, true).await?;
                    let mut others = Box::pin(self.namesakes(table, node, &rows)).await?;
                    reports.extend(rows.iter().map(|row| {
                        let in_the_way = others.remove(&row.key);
                        ParkedReport { in_the_way, ..self.parked_report(node, row) }
                    }));
                }
            }
        }
        Ok(reports)
    }

    /// What is told of a row that waits, with its content if that was read.
    pub(super) fn parked_report(&self, node: NodeId, parked: &Parked) -> ParkedReport {
        let table = &self.tables[parked.table];
        let row = match &parked.content {
            Waiting::Row { row, unknown } => Some(table.known_document(row, unknown)),
            Waiting::Delete | Waiting::Unread => None,
        };
        ParkedReport {
            node: self.names[node.index()].clone(),
            table: table.name.clone(),
            key: table.key_document(&parked.key),
            code: parked.code.as_str(),
            message: parked.message.clone(),
            since: parked.since,
            from: self.names[parked.stamp.node.index()].clone(),
            written: parked.stamp.time,
            row,
            in_the_way: None,
            writes: parked.content != Waiting::Delete,
        }
    }
}

/// How things stand with each table at one node.
async fn lines(
    node: &mut dyn Node,
    at: NodeId,
    names: &[String],
    tables: &[Table],
    presence: &Presence,
    opened: &Opened,
) -> node::Result<Vec<TableStatus>> {
    let mut lines = Vec::new();
    for table in tables.iter().filter(|table| !table.compared) {
        let Some(spec) = table.spec(at) else { continue };
        let parked = presence.parked[table.index].values().filter(|row| !row.code.is_passing()).count() as u64;
        let mut lacking = BTreeSet::new();
        let mut line = TableStatus {
            table: table.name.clone(),
            node: names[at.index()].clone(),
            pending: 0,
            lag: None,
            lacking: Vec::new(),
            kept: 0,
            parked,
        };
        if table.is_source(at) {
            // While nobody else is there, nobody is known to have passed anything.
            let start = read::start(table, at, opened).unwrap_or(Cut::START);
            let first = node.entries(spec, &start, None, 1).await?.entries.into_iter().next();
            let age = |entry: Entry| (time::now() - presence.clock.correct(entry.time)).max(0) as f64 / 1e6;
            line.lag = first.map(age);
            line.pending = node.pending(&spec.name, &start, None).await?;
            line.kept = node.pending(&spec.name, &Cut::START, None).await?;
            let all = (0..names.len()).map(|place| NodeId(place as u16));
            let targets = all.filter(|target| *target != at && table.is_target(*target) && opened.is_present(*target));
            for target in targets.filter(|_| line.pending > 0) {
                if node.pending(&spec.name, opened.position(table.index, target, at), None).await? > 0 {
                    lacking.insert(target.index());
                }
            }
        }
        // Whoever keeps a row for the next cycle has passed its entry: no history tells any more that it lacks the change.
        let mut held: HashSet<(&Key, i64)> = HashSet::new();
        for (target, row) in passing(opened, table.index) {
            let maker = if opened.is_present(row.stamp.node) { row.stamp.node } else { target };
            if maker != at {
                continue;
            }
            held.insert((&row.key, row.stamp.time));
            lacking.insert(target.index());
            let written = if row.stamp.time > 0 { row.stamp.time.min(row.since) } else { row.since };
            let age = (time::now() - written).max(0) as f64 / 1e6;
            line.lag = Some(line.lag.map_or(age, |lag| lag.max(age)));
        }
        line.pending += held.len() as u64;
        line.lacking = lacking.into_iter().map(|target| names[target].clone()).collect();
        lines.push(line);
    }
    Ok(lines)
}

/// The rows of a table that are merely tried again with the next cycle, and where.
fn passing(opened: &Opened, table: usize) -> impl Iterator<Item = (NodeId, &Parked)> {
    let kept =
        opened.nodes().flat_map(move |(node, presence)| presence.parked[table].values().map(move |row| (node, row)));
    kept.filter(|(_, row)| row.code.is_passing())
}

impl Table {
    pub(super) fn row_document(&self, row: &Row) -> Document {
        row_to_json(self.columns.iter().map(|column| column.name.as_str()), row)
    }

    /// The same without the columns of which it does not tell.
    pub(super) fn known_document(&self, row: &Row, unknown: &[usize]) -> Document {
        let mut row = self.row_document(row);
        if let Document::Object(members) = &mut row {
            members.retain(|name, _| !unknown.iter().any(|&place| self.columns[place].name == *name));
        }
        row
    }

    /// Whether a key can be one of the table's as they are: an entry of the journal may bear one of before.
    pub(super) fn may_have_key(&self, key: &Key) -> bool {
        let holds = |form: &Form, at: usize, value: &Value| {
            let column = form.spec.key_columns().nth(at);
            column.is_some_and(|column| column.domain.holds(value).is_ok())
        };
        let fits = |(at, value): (usize, &Value)| {
            self.columns[self.key[at]].ty.has(value) || self.forms.iter().flatten().any(|form| holds(form, at, value))
        };
        key.len() == self.key.len() && key.iter().enumerate().all(fits)
    }

    /// A key as reports show it and commands take it: an array.
    pub(super) fn key_document(&self, key: &Key) -> Document {
        // Of a table that stands still the shape may not be known.
        let ty = |at: usize| self.key.get(at).and_then(|&place| self.columns.get(place)).map(|column| &column.ty);
        let value = |(at, value)| key_value_to_json(ty(at).unwrap_or(&Type::Any), value);
        Document::Array(key.iter().enumerate().map(value).collect())
    }
}

impl Status {
    /// The code with which the command ends.
    pub fn exit_code(&self) -> u8 {
        if self.away.iter().any(|away| away.unreachable) {
            crate::error::UNREACHABLE
        } else if !self.stopped.is_empty()
            || !self.away.is_empty()
            || !self.problems.is_empty()
            || self.tables.iter().any(|table| table.parked > 0)
        {
            crate::error::ATTENTION
        } else {
            crate::error::DONE
        }
    }
}
