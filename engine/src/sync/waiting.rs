//! Giving up a row that waits: what stands at its node counts, and goes to the others.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value as Document;

use super::examine::participants;
use super::opened::Opened;
use super::session::Session;
use super::status::{ConflictReport, ParkedReport};
use super::subset;
use super::why::Found;
use crate::error::{Error, Result};
use crate::fault;
use crate::model::{Dot, Key, Lost, NodeId, Op, Parked, ParkedCode, Row, Stamp, TableSpec, Waiting, time};
use crate::node::{self, Move, Node, Note};

/// Begins why a version was lost that nobody could read as it was given up.
const UNREAD: &str = "given up by hand unread";

/// A version that is given up with an outcome that waits.
pub(super) struct AtStake {
    /// Who wrote it.
    pub stamp: Stamp,
    /// `None` if it is a delete, or cannot be read.
    pub row: Option<Row>,
    /// Why it cannot be read.
    pub unread: Option<String>,
}

/// A row that no longer waits.
#[derive(Clone, Debug, Serialize)]
pub struct Dropped {
    pub node: String,
    pub table: String,
    pub key: Document,
    /// Whether it was given up there alone: nothing stood beside it, which says nothing where a row may be missing although nobody has
    /// deleted it. The others keep what they have.
    pub alone: bool,
}

impl ConflictReport {
    /// Whether nobody could read what was lost, as it was given up by hand.
    pub fn is_unread(&self) -> bool {
        self.reason.starts_with(UNREAD)
    }
}

impl Session {
    /// Gives up what `chosen` picks. What stands at the node becomes a change made now that has seen what waited, so that the
    /// next cycle carries it everywhere; what waited goes to the journal. Where nothing stands because nothing was ever taken, or
    /// because it does not belong there, nothing is said to anybody; what waits there and stands nowhere is not given up.
    pub async fn drop_parked(&mut self, chosen: impl Fn(&ParkedReport) -> bool) -> Result<Vec<Dropped>> {
        self.prepare().await?;
        let opened = self.open().await?;
        let mut at_stake: HashMap<(NodeId, usize, Key), Vec<AtStake>> = HashMap::new();
        for (at, presence) in opened.nodes() {
            let all = presence.parked.iter().flat_map(|table| table.values());
            let owed = all.filter(|row| row.is_owed() && chosen(&self.parked_report(at, row)));
            for row in owed.collect::<Vec<&Parked>>() {
                let versions = self.at_stake(&opened, at, row).await?;
                at_stake.insert((at, row.table, row.key.clone()), versions);
            }
        }
        let alone = self.all_alone(&opened, &chosen).await;
        self.close().await;
        let alone = alone?;
        fault::point("drop-chosen").await.map_err(|fault| Error::Stopped(fault.to_string()))?;
        let mut dropped = Vec::new();
        for (at, presence) in opened.nodes() {
            let all = presence.parked.iter().flat_map(|table| table.values());
            let rows: Vec<&Parked> = all
                .filter(|row| chosen(&self.parked_report(at, row)))
                .filter(|row| self.tables[row.table].spec(at).is_some())
                .collect();
            if rows.is_empty() {
                continue;
            }
            // Whoever parked another version since has moved a position.
            let tables = self.tables.iter().filter(|table| rows.iter().any(|row| row.table == table.index));
            let stays: Vec<Move> = tables.flat_map(|table| self.stays(&opened, table, at)).collect();
            // Nobody is kept from giving up these rows by what is done to other tables.
            let mut specs = Session::specs(&self.tables, at);
            specs.retain(|spec| rows.iter().any(|row| row.table == spec.index));
            let member = &mut self.members[at.index()];
            let Some(node) = member.node.as_deref_mut() else { continue };
            let giving_up = async {
                node.begin_apply(&specs).await?;
                // Whoever wrote or dropped what waits moved none.
                let read: Vec<_> = rows.iter().map(|row| (row.table, &row.key, Some(*row))).collect();
                if !(node.claim(&stays).await? && node::apply::waits_as_read(node, &specs, &read).await?) {
                    node.rollback().await?;
                    return Ok(false);
                }
                for row in &rows {
                    let Some(spec) = specs.iter().find(|spec| spec.index == row.table) else { continue };
                    let place = (at, row.table, row.key.clone());
                    if !alone.contains(&place) {
                        assert_standing(node, spec, row, at).await?;
                    }
                    give_up(node, spec, &specs, row, at, at_stake.get(&place).map_or(&[], Vec::as_slice)).await?;
                }
                node.commit().await.map(|()| true)
            };
            match giving_up.await {
                Ok(true) => {}
                Ok(false) => {
                    return Err(Error::Stopped(format!(
                        "node `{}`: another engine has been at work there in the meantime; look at `concord parked list` again",
                        member.name
                    )));
                }
                Err(error) => {
                    node.rollback().await.map_err(Error::at(&member.name, "giving rows up"))?;
                    if error.is_lock() {
                        return Err(Error::Unreachable(vec![format!(
                            "node `{}`: a user is changing a row beside which one waits ({error}); nothing was given up there\n    run \
                             it again when that is over",
                            member.name
                        )]));
                    }
                    return Err(Error::at(&member.name, "giving rows up")(error));
                }
            }
            dropped.extend(rows.iter().map(|row| Dropped {
                node: member.name.clone(),
                table: self.tables[row.table].name.clone(),
                key: self.tables[row.table].key_document(&row.key),
                alone: alone.contains(&(at, row.table, row.key.clone())),
            }));
        }
        Ok(dropped)
    }

    /// Those of the rows that are to be given up which wait alone.
    async fn all_alone(
        &mut self,
        opened: &Opened,
        chosen: &impl Fn(&ParkedReport) -> bool,
    ) -> Result<HashSet<(NodeId, usize, Key)>> {
        let mut alone = HashSet::new();
        for (at, presence) in opened.nodes() {
            let all = presence.parked.iter().flat_map(|table| table.values());
            for row in all.filter(|row| chosen(&self.parked_report(at, row))).collect::<Vec<&Parked>>() {
                if self.waits_alone(opened, at, row).await? {
                    alone.insert((at, row.table, row.key.clone()));
                }
            }
        }
        Ok(alone)
    }

    /// Whether what waits at a node stands beside nothing, and that says nothing. Fails if it is all that is left of it, or if the
    /// row is to be decided first.
    async fn waits_alone(&mut self, opened: &Opened, at: NodeId, waits: &Parked) -> Result<bool> {
        let found = self.tables.get(waits.table).filter(|table| table.may_lack_it(at) && table.form(at).is_some());
        let Some(table) = found.cloned() else { return Ok(false) };
        let (mut contest, rows) = self.contest_of(opened, &table, &waits.key).await?;
        for (node, found) in rows.iter().enumerate() {
            contest.fill(NodeId(node as u16), found.as_ref().map(Found::content));
        }
        contest.close(&participants(&table, opened), &table, opened);
        contest.find_hollow(&table);
        if waits.code == ParkedCode::Filter && contest.has_heard_more(at, &waits.vector) {
            let (key, name) = (table.key_document(&waits.key), &self.names[at.index()]);
            return Err(Error::Stopped(format!(
                "node `{name}`: what waits of the row {key} of `{}` is still to be weighed against a change for which the row went from \
                 there, and given up before that it could be missing there for good; nothing was given up\n    run `concord sync` \
                 with the nodes that made the change",
                table.name
            )));
        }
        let is_alone = contest.standing(at).is_some_and(|standing| !standing.stands());
        if is_alone && subset::is_last(&contest, at) {
            let (key, name) = (table.key_document(&waits.key), &self.names[at.index()]);
            // A node that has to be let in is not, as long as anything waits.
            let out = self.members.iter().find(|member| member.restored.is_some()).map(|member| &member.name);
            let way_out = out.map_or_else(String::new, |out| {
                format!(
                    "\n    if only `{out}` has it, which is to be let in again: `concord reset`, which forgets all that waits, then \
                     `concord load`, usually with --prefer"
                )
            });
            return Err(Error::Stopped(format!(
                "node `{name}`: what waits of the row {key} of `{}` stands at no node that is there, so it would be lost; nothing was \
                 given up\n    let the node take it, or bring back the nodes that have it; see: concord parked list{way_out}",
                table.name
            )));
        }
        Ok(is_alone)
    }
}

/// Makes what stands beside what waits a change that replaces it.
async fn assert_standing(node: &mut dyn Node, spec: &TableSpec, row: &Parked, at: NodeId) -> node::Result<()> {
    // Where the key cannot be, nothing stands.
    if !spec.captured || spec.local_key(&row.key).is_err() {
        return Ok(());
    }
    // First that the waiting version was seen.
    let last: Option<Dot> = row.vector.dots().iter().copied().filter(|dot| dot.node != at).max_by_key(|dot| dot.number);
    if let Some(dot) = last {
        let note = Note {
            key: row.key.clone(),
            op: if row.content == Waiting::Delete { Op::Delete } else { Op::Update },
            dot,
            vector: row.vector.clone(),
            stamp: row.stamp,
            images: None,
        };
        node.note(spec, &[&note]).await?;
    }
    node::apply::lock_and_touch(node, spec, &row.key, None).await
}

/// Takes what waits away, and journals it.
async fn give_up(
    node: &mut dyn Node,
    spec: &TableSpec,
    specs: &[TableSpec],
    row: &Parked,
    at: NodeId,
    at_stake: &[AtStake],
) -> node::Result<()> {
    // One at a time: they may be large.
    let read = match row.content {
        Waiting::Unread => node.waiting_rows(spec, &[&row.key]).await?.pop(),
        _ => None,
    };
    let (content, unknown) = match read.map_or_else(|| row.content.clone(), |read| read.content) {
        Waiting::Row { row, unknown } => (Some(row), unknown),
        Waiting::Delete | Waiting::Unread => (None, Vec::new()),
    };
    node.unpark(spec, &[&row.key]).await?;
    let id = format!("dropped-{}", uuid::Uuid::new_v4().simple());
    let told = at_stake.iter().any(|version| version.stamp == row.stamp);
    let waited = (!told).then_some((row.stamp, content, unknown, None));
    let at_stake = at_stake.iter().map(|one| (one.stamp, one.row.clone(), Vec::new(), one.unread.as_deref()));
    let lost = at_stake.chain(waited).map(|(stamp, content, unknown, unread)| Lost {
        id: id.clone(),
        table: row.table,
        key: row.key.clone(),
        decided: time::now(),
        winner: at,
        winner_time: time::now(),
        winner_row: None,
        winner_unknown: Vec::new(),
        loser: stamp.node,
        loser_time: stamp.time,
        loser_row: content.map(Arc::new),
        loser_unknown: unknown,
        reason: match unread {
            Some(unread) => format!("{UNREAD}: {unread}"),
            None => format!("dropped by hand; it waited because: {}", row.message),
        },
        told: None,
    });
    let lost: Vec<Lost> = lost.collect();
    node.record(specs, &lost.iter().collect::<Vec<_>>(), false).await
}
