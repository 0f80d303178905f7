//! Where a row's present value comes from, and where it stands: from histories, positions, waiting rows and journals.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value as Document};

use super::attendance::Away;
use super::contest::{Content, Contest};
use super::decide::is_conflict_id;
use super::examine::participants;
use super::opened::Opened;
use super::session::Session;
use super::settle;
use super::status::ConflictReport;
use super::subset::Belongs;
use super::table::Table;
use super::waiting::AtStake;
use crate::error::{Error, Result};
use crate::merge::Version;
use crate::model::{
    Key, Lost, NodeId, Parked, ParkedCode, Row, Stamp, Type, Value, Waiting, key_value_from_json, value_from_json,
};
use crate::node::Sought;

/// What is known of a row.
#[derive(Clone, Debug, Serialize)]
pub struct Why {
    pub table: String,
    pub key: Document,
    /// The versions that no other has seen: one if the row is decided, several if a conflict will be decided with the next
    /// sync or by a person, none if nobody knows of a change of the row.
    pub versions: Vec<WhyVersion>,
    pub known_from: KnownFrom,
    /// How things stand at every node that is there.
    pub nodes: Vec<WhyNode>,
    /// What lost in conflicts about this row, and what a person said about them, newest first.
    pub lost: Vec<ConflictReport>,
    pub away: Vec<Away>,
    pub stopped: Option<String>,
}

/// A version of a row.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct WhyVersion {
    /// Where it was written; absent if nobody remembers.
    pub node: Option<String>,
    /// When (µs UTC); absent if nobody remembers.
    pub written: Option<i64>,
    /// Absent if it is a delete, or cannot be read now.
    pub row: Option<Document>,
    /// Whether nobody can tell now what it holds, or whether it is a delete.
    pub unread: bool,
}

/// What tells who wrote a row.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum KnownFrom {
    /// Entries of histories that not everybody has passed yet.
    History,
    /// The journal's newest entry about it: of a conflict, of a person's word on one, or of what a delete took or a change replaced unread.
    Journal,
    /// Nothing any more: everybody has had the change, and its entries are purged. It was written at this time at the latest
    /// (µs UTC), when the last change of the table was made that everybody has had, or a load or a repair wrote the row.
    Purged(i64),
    /// Nothing: the row was not changed since Concord was installed, as far as the nodes know that are there.
    Nothing,
}

/// A row at one node.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct WhyNode {
    pub node: String,
    pub state: WhyState,
    /// The row that stands there, in the shared names; absent if there is none.
    pub row: Option<Document>,
    /// The row that stands in the way of the one that waits there, where the two are one to the node's database by their keys.
    pub in_the_way: Option<Document>,
    /// Why it is not what it should be there.
    pub reason: Option<String>,
    /// Since when a version waits there (µs UTC).
    pub since: Option<i64>,
}

#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum WhyState {
    /// It has the present value.
    Current,
    /// It does not take changes of this table from elsewhere, or not this kind of change.
    Apart,
    /// The next sync brings the present value.
    OnItsWay,
    /// It could not take the present value, which waits there.
    Waits,
    /// It has one of several versions that are still to be decided between.
    Undecided,
    /// Its row is another, and nothing tells why.
    Differs,
    /// Its row cannot be read, and nothing tells whether it is the present one.
    Unreadable,
}

impl Session {
    /// Tells what is known of the row with this key.
    pub async fn why(&mut self, table: &str, key: &[String]) -> Result<Why> {
        self.needs_history(table)?;
        self.prepare().await?;
        self.report(async |session| session.tell_why(table, key).await).await
    }

    async fn tell_why(&mut self, table: &str, key: &[String]) -> Result<Why> {
        let Some(table) = self.tables.iter().find(|known| known.name == table).cloned() else {
            return Err(Error::Usage(format!("no table is called `{table}`")));
        };
        let key = read_key(&table, key)?;
        let opened = self.open().await?;
        let stopped = self.stopped().into_iter().find(|stopped| stopped.table == table.name).map(|stopped| stopped.why);
        let looked = self.contest_of(&opened, &table, &key).await;
        let others = Box::pin(self.namesakes_anywhere(&opened, &table, &key)).await;
        self.close().await;
        let ((mut contest, rows), others) = (looked?, others?);
        let participants = participants(&table, &opened);
        contest.close(&participants, &table, &opened);
        contest.find_absent(&table);
        let lost: Vec<_> = self
            .journals(Some(&table.name), Sought::Key(&key), 0)
            .await?
            .into_iter()
            .filter(|lost| lost.key == key)
            .collect();
        let account = Account { table: &table, opened: &opened, names: &self.names, rows: &rows };
        let decided = !contest.seen().is_empty();
        let mut why = Why {
            table: table.name.clone(),
            key: table.key_document(&key),
            versions: Vec::new(),
            known_from: KnownFrom::History,
            nodes: Vec::new(),
            lost: Vec::new(),
            away: self.away(),
            stopped,
        };
        if decided {
            account.tell_history(&contest, &key, &mut why);
        } else {
            // What a load or a repair wrote was written elsewhere before, and what was given up tells of no writer. What a delete took,
            // or was replaced unread while a load went on, tells who wrote what is there instead.
            let is_decision = |lost: &&Lost| {
                let is_replaced = ["delete-", "unread-"].iter().any(|kind| lost.id.starts_with(*kind));
                is_replaced || is_conflict_id(&lost.id) || lost.id.contains('.')
            };
            let youngest = lost.iter().max_by_key(|lost| lost.decided);
            let told = youngest
                .filter(is_decision)
                .map(|lost| (Stamp { time: lost.winner_time, node: lost.winner }, lost.winner_row.as_deref()));
            let rewritten = youngest.filter(|lost| !is_decision(lost)).map(|lost| lost.decided);
            account.tell_rows(told, rewritten, &mut why);
        }
        tell_subsets(&table, &rows, decided, &mut why).await?;
        for (at, other) in others {
            if let Some(told) = why.nodes.iter_mut().find(|told| told.node == self.names[at.index()]) {
                told.in_the_way = Some(other);
            }
        }
        why.lost = lost.into_iter().map(|lost| self.conflict_report(lost)).collect();
        let unknown = !decided && why.lost.is_empty() && rows.iter().flatten().all(|row| *row == Found::None);
        if unknown && why.away.is_empty() {
            return Err(Error::Usage(format!(
                "no node has a row of `{}` with the key {}, and nobody remembers one",
                why.table, why.key
            )));
        }
        Ok(why)
    }

    /// The versions that an outcome was to be found of which waits at a node, except for what stands there, as far as they can
    /// be read. Asked while snapshots are open.
    pub(super) async fn at_stake(&mut self, opened: &Opened, at: NodeId, waits: &Parked) -> Result<Vec<AtStake>> {
        let Some(table) = self.tables.get(waits.table).cloned() else { return Ok(Vec::new()) };
        let (mut contest, rows) = self.contest_of(opened, &table, &waits.key).await?;
        contest.close(&participants(&table, opened), &table, opened);
        contest.find_absent(&table);
        let others = contest.tops(&table, opened).into_iter().map(|top| &contest.versions[top]);
        let others = others.filter(|contender| contender.version.node != at).map(|contender| {
            let (stamp, name) = (contender.version.stamp, &self.names[contender.version.node.index()]);
            let (row, unread) = match &rows[contender.version.node.index()] {
                _ if contender.version.waiting => (contender.content.row().cloned(), None),
                Some(Found::Row(row)) => (Some(row.clone()), None),
                Some(Found::Unreadable(why)) => (None, Some(format!("at {name} it cannot be read: {why}"))),
                _ => (None, None),
            };
            AtStake { stamp, row, unread }
        });
        let mut at_stake: Vec<AtStake> = others.collect();
        for dot in waits.vector.dots().iter().filter(|dot| !contest.is_here(dot, &table)) {
            let stamp = Stamp { node: dot.node, ..waits.stamp };
            if stamp != waits.stamp || waits.content == Waiting::Delete {
                let unread = Some(format!("its content is at {}, which is away", self.names[dot.node.index()]));
                at_stake.push(AtStake { stamp, row: None, unread });
            }
        }
        Ok(at_stake)
    }

    /// All versions of a key that anybody tells of, and the rows that stand, by node. Asked while snapshots are open.
    pub(super) async fn contest_of(
        &mut self,
        opened: &Opened,
        table: &Table,
        key: &Key,
    ) -> Result<(Contest, Vec<Option<Found>>)> {
        let mut contest = Contest::default();
        let mut rows = Vec::with_capacity(self.members.len());
        for (node, _) in opened.nodes().filter(|(node, _)| table.form(*node).is_some()) {
            for parked in self.with_rows(opened, table.index, node, std::slice::from_ref(key), false).await? {
                contest.wait(node, &parked);
            }
        }
        for member in &mut self.members {
            let parts = (table.form(member.id), opened.present[member.id.index()].as_ref(), member.node.as_deref_mut());
            let (Some(form), Some(presence), Some(node)) = parts else {
                rows.push(None);
                continue;
            };
            if form.spec.captured {
                let mut enter = |entry| contest.enter(member.id, entry, &presence.clock, table);
                let read = node.entries_of(&form.spec, &[key], &mut enter).await;
                read.map_err(Error::at(&member.name, "reading the history"))?;
            }
            let found = node.rows(&form.spec, &[key]).await.map_err(Error::at(&member.name, "reading the row"))?;
            let found = form.lens.share_apart(found, Option::as_mut).await;
            rows.push(Some(match found.into_iter().next().flatten() {
                None => Found::None,
                Some(Ok(row)) => Found::Row(row),
                Some(Err(why)) => Found::Unreadable(why),
            }));
        }
        if table.has_subsets() {
            for (at, found) in rows.iter().enumerate() {
                contest.fill(NodeId(at as u16), found.as_ref().map(Found::content));
            }
        }
        Ok((contest, rows))
    }
}

/// Tells what filters say: nothing is amiss where a row is not because it does not belong there, and something may be where it stands
/// nevertheless.
async fn tell_subsets(table: &Table, rows: &[Option<Found>], decided: bool, why: &mut Why) -> Result<()> {
    if !table.has_subsets() {
        return Ok(());
    }
    let nodes: Vec<usize> = (0..rows.len()).filter(|at| rows[*at].is_some()).collect();
    let row = |at: usize| match &rows[at] {
        Some(Found::Row(row)) => Some(Arc::new(row.clone())),
        _ => None,
    };
    let current = nodes.iter().zip(&why.nodes).filter(|(_, told)| told.state == WhyState::Current).map(|(at, _)| *at);
    let whole = nodes.iter().copied().filter(|at| table.subset(NodeId(*at as u16)).is_none());
    let Some(row) = current.chain(whole).find_map(row).or_else(|| nodes.iter().copied().find_map(row)) else {
        return Ok(());
    };
    let mut places = Vec::with_capacity(rows.len());
    for at in 0..rows.len() {
        places.extend(table.belong_apart(NodeId(at as u16), vec![row.clone()]).await?);
    }
    let kept = nodes.iter().zip(&why.nodes).any(|(at, told)| told.row.is_some() && places[*at] == Belongs::Inside);
    let belongs_nowhere = places.iter().all(|place| *place == Belongs::Outside);
    for (at, told) in nodes.into_iter().zip(&mut why.nodes) {
        let Some(subset) = table.subset(NodeId(at as u16)) else { continue };
        let filter = subset.judge.told();
        let stands = rows[at] != Some(Found::None);
        match (&places[at], told.state) {
            (Belongs::Inside, WhyState::Differs | WhyState::OnItsWay)
                if !stands && table.filtered_otherwise.is_some() =>
            {
                told.reason =
                    Some("it belongs there by this file's filter, by which no rows were moved yet".to_owned());
            }
            (Belongs::Outside, WhyState::Current) if stands && table.filtered_otherwise.is_some() => {
                let what = "it does not belong there by this file's filter, by which no rows were moved yet";
                told.reason = Some(what.to_owned());
            }
            (Belongs::Inside, _) | (_, WhyState::Waits | WhyState::Undecided | WhyState::Unreadable) => {}
            (Belongs::Outside, WhyState::Current | WhyState::Differs | WhyState::Apart | WhyState::OnItsWay)
                if !stands =>
            {
                told.state = WhyState::Apart;
                told.reason = Some(format!("it does not belong there by the node's filter, {filter}"));
            }
            (Belongs::Outside, WhyState::Current) => {
                let what = match (belongs_nowhere, kept, decided) {
                    (true, ..) => "it belongs at no node by their filters, and stays where it is",
                    (false, true, false) => {
                        told.state = WhyState::Differs;
                        "it does not belong there by the node's filter, and no change of it is on its way: `concord verify --repair` \
                         removes it there"
                    }
                    (false, ..) => "it does not belong there by the node's filter, and goes once another node has it",
                };
                told.reason = Some(what.to_owned());
            }
            (Belongs::Unknown(why), WhyState::Differs | WhyState::OnItsWay) if !stands => {
                told.reason = Some(format!("nothing tells whether it belongs there: {why}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What stands at a node, in the shared shape.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    None,
    Row(Row),
    Unreadable(String),
}

struct Account<'a> {
    table: &'a Table,
    opened: &'a Opened,
    names: &'a [String],
    /// By node; `None` where nobody is.
    rows: &'a [Option<Found>],
}

impl Found {
    pub(super) fn content(&self) -> Content {
        match self {
            Found::None => Content::Deleted,
            Found::Row(row) => Content::Row(Arc::new(row.clone())),
            Found::Unreadable(why) => Content::Unreadable(why.as_str().into()),
        }
    }
}

impl Account<'_> {
    /// The columns of a row that live at a node.
    fn document(&self, node: NodeId, row: &Row) -> Document {
        let lives = |place: usize| self.table.form(node).is_none_or(|form| form.lens.has(place));
        let columns = self.table.columns.iter().enumerate().filter(|(place, _)| lives(*place));
        let members: Map<String, Document> =
            columns.map(|(place, column)| (column.name.clone(), crate::model::value_to_json(&row[place]))).collect();
        Document::Object(members)
    }

    fn standing(&self, node: NodeId) -> Option<Document> {
        match &self.rows[node.index()] {
            Some(Found::Row(row)) => Some(self.document(node, row)),
            _ => None,
        }
    }

    fn is_unread(&self, node: NodeId) -> bool {
        matches!(self.rows[node.index()], None | Some(Found::Unreadable(_)))
    }

    fn node(&self, node: NodeId, state: WhyState, reason: Option<String>) -> WhyNode {
        let unreadable = match &self.rows[node.index()] {
            Some(Found::Unreadable(why)) => Some(format!("the row cannot be read: {why}")),
            _ => None,
        };
        let (row, reason) = (self.standing(node), reason.or(unreadable));
        WhyNode { node: self.names[node.index()].clone(), state, row, in_the_way: None, reason, since: None }
    }

    /// The nodes that are there and have the table.
    fn nodes(&self) -> impl Iterator<Item = NodeId> {
        let all = (0..self.rows.len()).map(|at| NodeId(at as u16));
        all.filter(|node| self.rows[node.index()].is_some())
    }

    /// What entries and waiting rows tell.
    fn tell_history(&self, contest: &Contest, key: &Key, why: &mut Why) {
        let mut tops = contest.tops(self.table, self.opened);
        let version = |&at: &usize| -> &Version { &contest.versions[at].version };
        if let Some((owed, _)) = contest.owes(self.table) {
            tops.retain(|top| !owed.vector.includes(&version(top).vector));
            why.versions.push(WhyVersion {
                node: Some(self.names[owed.stamp.node.index()].clone()),
                written: Some(owed.stamp.time),
                row: None,
                unread: true,
            });
        }
        for at in &tops {
            let Version { waiting, stamp, .. } = version(at);
            let content = &contest.versions[*at].content;
            let (row, unread) = match (content, *waiting) {
                (Content::Row(row), true) => {
                    (Some(self.table.known_document(row, &contest.untold(*at, self.table))), false)
                }
                (_, true) => (None, *content == Content::Unread),
                (_, false) => {
                    let holder = self.holder(contest, *at);
                    (self.standing(holder), self.is_unread(holder))
                }
            };
            let known = stamp.time != i64::MIN;
            why.versions.push(WhyVersion {
                node: known.then(|| self.names[stamp.node.index()].clone()),
                written: known.then_some(stamp.time),
                row,
                unread,
            });
        }
        for node in self.nodes() {
            let parked = self.opened.parked(node, self.table.index, key);
            let standing = contest.standing(node).map(|contender| &contender.version.vector);
            let is_top = |at: &&usize| standing.is_some_and(|vector| vector.includes(&version(at).vector));
            let current = tops.iter().any(|at| is_top(&at));
            let mut told = match (&tops[..], parked) {
                (_, Some(parked)) if parked.code == ParkedCode::Conflict => {
                    self.node(node, WhyState::Undecided, Some(parked.message.clone()))
                }
                (_, Some(parked)) if !parked.code.is_passing() => {
                    self.node(node, WhyState::Waits, Some(parked.message.clone()))
                }
                ([top], _) if current => match self.differs(contest, *top, node) {
                    Some((state, reason)) => self.node(node, state, Some(reason)),
                    None => self.node(node, WhyState::Current, None),
                },
                ([_], _) if !self.table.is_target(node) => {
                    self.node(node, WhyState::Apart, Some("the table goes one way, away from here".to_owned()))
                }
                ([_], Some(busy)) => self.node(node, WhyState::OnItsWay, Some(busy.message.clone())),
                ([_], None) => self.node(node, WhyState::OnItsWay, None),
                _ if current => self.node(node, WhyState::Undecided, None),
                _ => self.node(node, WhyState::OnItsWay, None),
            };
            told.since = parked.map(|parked| parked.since);
            why.nodes.push(told);
        }
    }

    /// Where the content of a version that does not wait is to be read: of nodes that have seen the same at the one that wrote it, as what
    /// came of it elsewhere may not be carried there.
    fn holder(&self, contest: &Contest, at: usize) -> NodeId {
        let version = &contest.versions[at].version;
        let writer = version.stamp.node;
        let is_whole = |node: NodeId| self.table.form(node).is_some_and(|form| form.lens.is_total());
        let has_same = |node: NodeId| contest.standing(node).is_some_and(|one| one.version.vector == version.vector);
        let holder = match is_whole(writer) && has_same(writer) && !self.is_unread(writer) {
            true => writer,
            false => version.node,
        };
        // It may have been taken away again by the node's own filter. A delete is none where others have seen as much and hold a row.
        if !self.says_nothing(holder) {
            return holder;
        }
        let others = self.nodes().filter(|node| has_same(*node) && self.standing(*node).is_some());
        others.min_by_key(|node| !is_whole(*node)).unwrap_or(holder)
    }

    /// Whether a node has no row, and has a filter: that says nothing of the others'.
    fn says_nothing(&self, node: NodeId) -> bool {
        self.table.subset(node).is_some() && self.standing(node).is_none()
    }

    /// Why a node that has seen a version holds another row all the same, if it does. Between snapshots that do not fit together nobody
    /// can tell.
    fn differs(&self, contest: &Contest, top: usize, node: NodeId) -> Option<(WhyState, String)> {
        let (content, holder) = match &contest.versions[top] {
            contender if contender.version.waiting => (contender.content.clone(), node),
            _ => {
                let holder = self.holder(contest, top);
                (self.rows[holder.index()].as_ref()?.content(), holder)
            }
        };
        let own = self.rows[node.index()].as_ref()?.content();
        let (row, own) = match (&content, &own) {
            (Content::Row(_) | Content::Deleted, Content::Row(_) | Content::Deleted) => (content.row(), own.row()),
            _ => return None,
        };
        let same = match (row, own) {
            (Some(row), Some(own)) => settle::differing(self.table, (holder, row), (node, own)).is_empty(),
            (row, own) => row.is_none() == own.is_none(),
        };
        if same || self.opened.doubtful {
            return None;
        }
        let operations = self.table.operations;
        let is_carried = match (row, own) {
            (Some(_), None) => operations.insert,
            (Some(_), Some(_)) => operations.update,
            (None, _) => operations.delete,
        };
        Some(match (is_carried, self.table.gives_rows(node)) {
            (false, _) => (WhyState::Apart, "this kind of change is not carried here".to_owned()),
            (true, gives_rows) => {
                let because = match gives_rows {
                    true => "and no history tells why",
                    false => "as it was changed here, where nothing records that: the table goes one way",
                };
                (WhyState::Differs, format!("it has had the change, but its row is another, {because}"))
            }
        })
    }

    /// What is left where no entry tells anything: the rows themselves, and the journal's newest entry, or when that was made if it tells of
    /// no writer.
    fn tell_rows(&self, told: Option<(Stamp, Option<&Row>)>, rewritten: Option<i64>, why: &mut Why) {
        let whole = |node: &NodeId| self.table.form(*node).is_some_and(|form| form.lens.is_total());
        // What stands where no rows are taken from is nobody else's.
        let mut nodes: Vec<NodeId> = self.nodes().collect();
        nodes.sort_by_key(|node| !self.table.gives_rows(*node));
        let read = || nodes.iter().copied().filter(|node| !self.is_unread(*node));
        let told_by = read().find(|node| whole(node) && !self.says_nothing(*node));
        let Some(first) = told_by.or(read().find(whole)).or(read().next()).or(nodes.first().copied()) else { return };
        let row = match &self.rows[first.index()] {
            Some(Found::Row(row)) => Some(row),
            _ => None,
        };
        let tells = whole(&first) && !self.is_unread(first);
        let told = told.filter(|(_, told)| tells && *told == row);
        why.known_from = match (&told, self.last_purged().max(rewritten)) {
            (Some(_), _) => KnownFrom::Journal,
            (None, Some(time)) => KnownFrom::Purged(time),
            (None, None) => KnownFrom::Nothing,
        };
        why.versions.push(WhyVersion {
            node: told.as_ref().map(|(stamp, _)| self.names[stamp.node.index()].clone()),
            written: told.as_ref().map(|(stamp, _)| stamp.time),
            row: self.standing(first),
            unread: self.is_unread(first),
        });
        for node in self.nodes() {
            let same = match (row, &self.rows[node.index()]) {
                (Some(row), Some(Found::Row(own))) => {
                    settle::differing(self.table, (first, row), (node, own)).is_empty()
                }
                (row, own) => row.is_none() == (*own == Some(Found::None)),
            };
            why.nodes.push(match same {
                _ if self.is_unread(node) => self.node(node, WhyState::Unreadable, None),
                true => self.node(node, WhyState::Current, None),
                false => {
                    let (state, because) = match self.may_stay_apart(row.is_some(), self.standing(node).is_some()) {
                        true => (WhyState::Apart, "and such a change is not carried here"),
                        false => (
                            WhyState::Differs,
                            "and no history tells why: the rows differed when Concord was installed, or were changed where nothing \
                             records it",
                        ),
                    };
                    let reason = format!("it is another than at {}, {because}", self.names[first.index()]);
                    self.node(node, state, Some(reason))
                }
            });
        }
    }

    /// Whether a node may hold another row than the one that tells, and one of them none, because `operations` do not carry what made
    /// them so. Of a two-way table nobody can tell whether a row was created here or deleted there.
    fn may_stay_apart(&self, told: bool, own: bool) -> bool {
        let (operations, is_two_way) = (self.table.operations, self.table.from.is_none());
        match (told, own) {
            (true, true) => !operations.update,
            (true, false) => !operations.insert || is_two_way && !operations.delete,
            (false, _) => !operations.delete || is_two_way && !operations.insert,
        }
    }

    /// When the last change of the table was made that everybody has had, as far as positions tell.
    fn last_purged(&self) -> Option<i64> {
        let mut last = None;
        for (target, _) in self.opened.nodes() {
            for (source, presence) in self.opened.nodes().filter(|(source, _)| *source != target) {
                let witness = &self.opened.proven(self.table.index, target, source).witness;
                let times = witness.iter().flat_map(|witness| &witness.entries);
                last = last.max(times.map(|entry| presence.clock.correct(entry.time)).max());
            }
        }
        last
    }
}

impl Why {
    /// The code with which the command ends.
    pub fn exit_code(&self) -> u8 {
        let settled = |node: &WhyNode| matches!(node.state, WhyState::Current | WhyState::Apart | WhyState::OnItsWay);
        if self.away.iter().any(|away| away.unreachable) {
            crate::error::UNREACHABLE
        } else if self.stopped.is_some() || !self.away.is_empty() || !self.nodes.iter().all(settled) {
            crate::error::ATTENTION
        } else {
            crate::error::DONE
        }
    }
}

/// A key as a person writes it: one value, `column=value` for each column, or a JSON array as reports show it.
fn read_key(table: &Table, parts: &[String]) -> Result<Key> {
    let columns: Vec<_> = table.key.iter().map(|&place| &table.columns[place]).collect();
    let names = columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>();
    let wrong = |what: String| {
        let example = match &names[..] {
            [name] => format!("a value of `{name}`, or a JSON array of one"),
            names => format!(
                "{}, or a JSON array of {} values",
                names.iter().map(|name| format!("{name}=…")).collect::<Vec<_>>().join(" "),
                names.len()
            ),
        };
        Error::Usage(format!("{what}\n    the key of `{}` is {example}", table.name))
    };
    if let [text] = parts
        && let Ok(Document::Array(values)) = serde_json::from_str(text)
        && (columns.len() > 1 || values.len() == 1)
    {
        if values.len() != columns.len() {
            return Err(wrong(format!("{text} has {} values", values.len())));
        }
        let read = columns.iter().zip(&values).map(|(column, value)| {
            key_value_from_json(&column.ty, value)
                .ok_or_else(|| wrong(format!("{value} is no {} for `{}`", column.ty, column.name)))
        });
        return read.collect();
    }
    let mut key = Vec::with_capacity(columns.len());
    for column in &columns {
        let named = parts.iter().find_map(|part| part.split_once('=').filter(|(name, _)| *name == column.name));
        let text = match (named, parts) {
            (Some((_, text)), _) => text,
            (None, [text]) if columns.len() == 1 => text,
            _ => return Err(wrong(format!("`{}` is missing", column.name))),
        };
        key.push(
            value_of(&column.ty, text)
                .ok_or_else(|| wrong(format!("`{text}` is no {} for `{}`", column.ty, column.name)))?,
        );
    }
    if parts.len() != columns.len() {
        return Err(wrong(format!("{} values are given", parts.len())));
    }
    Ok(key.into())
}

/// A value in plain words, of the type in which it travels.
fn value_of(ty: &Type, text: &str) -> Option<Value> {
    let plain = Document::String(text.to_owned());
    let document = || serde_json::from_str::<Document>(text).ok().filter(|document| !document.is_null());
    let of_document = || document().and_then(|document| key_value_from_json(ty, &document));
    match ty {
        // Where a column takes anything, what looks like a number is one; text in quotes is text all the same.
        Type::Any | Type::Bytes => of_document().or_else(|| value_from_json(ty, &plain)),
        Type::Float => text.parse().ok().map(Value::Float),
        _ => value_from_json(ty, &plain).or_else(of_document),
    }
}
