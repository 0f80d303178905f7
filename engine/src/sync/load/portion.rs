//! A part of a table, weighed within a cycle: which of its rows are missing or differ somewhere, and what is to be written.
//!
//! Rows about which anything is on its way are left to the sync: keys with changes that not everybody has passed, and keys
//! that wait. All others stand in the same snapshots as everything else that the cycle reads, and what is written goes with
//! the cycle's own batch, under the same claim of the positions and the same look for what users did meanwhile.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::future::join_all;
use tracing::debug;

use super::ahead::Reader;
use super::condition::Condition;
use super::part::read_part;
use crate::error::{Error, Result};
use crate::model::{Cut, Key, Lost, NodeId, ParkedCode, Row, Value};
use crate::node::WriteMode;
use crate::node::apply::{Decision, Effect};
use crate::sync::contest::Contests;
use crate::sync::cycle::Batches;
use crate::sync::decide::Outcomes;
use crate::sync::examine::participants;
use crate::sync::mapped::{Current, localized_apart};
use crate::sync::opened::Opened;
use crate::sync::session::Session;
use crate::sync::settle::{self, Rule, Settlement};
use crate::sync::subset::Belongs;
use crate::sync::table::{Form, Table};
use crate::sync::turns::Settles;

/// A part of a table that is to be weighed in the next cycle.
pub struct Portion {
    pub table: usize,
    /// The node whose rows are gone through.
    pub walker: NodeId,
    pub rule: Option<Rule>,
    pub condition: Option<Arc<Condition>>,
    /// Where to go on, and how many rows to take; `None` to look at nothing but `again`.
    pub stretch: Option<Stretch>,
    /// Keys to look at besides, whoever holds them.
    pub again: Vec<Key>,
    /// Nodes that had no rows when the load came to the table.
    pub empty: Vec<NodeId>,
    /// Whether what cannot be written now is handed to the sync, which tells no more what it replaces. As there, a plugin that has
    /// answered nothing and breaks at whatever it is asked stops the table.
    pub last: bool,
    /// Whether rows are removed where they do not belong.
    pub refilter: bool,
    /// The walker's turn before and after the portion before this one, if that passed it on.
    pub passed: Option<(Cut, Cut)>,
    pub reader: Option<Reader>,
    pub outcome: Option<Weighed>,
}

impl Portion {
    /// Whether rows go that are kept elsewhere. Of two loads whose turns cross each could have taken the row that the other keeps.
    pub fn removes(&self) -> bool {
        self.outcome.iter().flat_map(|weighed| weighed.written.values()).any(|written| written.removed > 0)
    }
}

/// Rows behind a key, in the walker's order.
#[derive(Clone, Debug)]
pub struct Stretch {
    pub after: Option<Key>,
    pub limit: usize,
}

/// What became of a portion.
#[derive(Debug, Default)]
pub struct Weighed {
    /// The last key of the stretch; `None` if there was none left.
    pub last: Option<Key>,
    /// Rows of the stretch.
    pub rows: u64,
    /// Their size in memory, in bytes.
    pub weight: usize,
    /// Keys that were left to the sync, to be looked at once more.
    pub again: Vec<Key>,
    /// Of these, the ones whose rows are to go somewhere, once another node is seen to have them. No history tells of that.
    pub unmoved: HashSet<Key>,
    /// By node: what was written there.
    pub written: HashMap<NodeId, Written>,
    /// What is done about keys at nodes where no new row is made of them.
    pub apart: HashMap<(NodeId, Key), Does>,
    /// Rows that differ and that nothing decides.
    pub undecided: u64,
    /// Rows that stay where they do not belong. Each counts where its key is dealt with.
    pub outside: u64,
    /// Where the row stands that was to be written, for keys whose row is not the walker's.
    pub winners: HashMap<Key, NodeId>,
    /// Rows that cannot be read at a node and go to the sync as they are at another, or at that.
    pub unreadable: Vec<(NodeId, Key)>,
    /// Rows that stay as they are at all nodes, since nobody can tell whose is right: where one cannot be read, and why.
    pub undecidable: Vec<(NodeId, Key, String)>,
    /// What nodes note, where a row that cannot be read yet may replace theirs.
    pub replaced_unread: Vec<(NodeId, Decision)>,
    /// Why a plugin breaks at all these rows, if there are so many that the sync would stop at them. It has answered for others.
    pub fails: Option<String>,
    /// Keys that wait somewhere, and so were left to the sync, although a mapping may have made other rows of theirs.
    pub passed_over: Vec<Key>,
    pub settles: Settles,
    /// The walker's turn before and after, if the portion passes it on.
    pub passed: Option<(Cut, Cut)>,
}

/// What a portion writes at a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub created: u64,
    pub replaced: u64,
    /// Rows that do not belong there.
    pub removed: u64,
}

/// What a portion does about a key at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    Replaces,
    Removes,
    /// It is only told why it waits.
    Nothing,
}

impl Weighed {
    /// What was written at each node, but for what had to be left.
    pub fn done<'a>(&self, left: impl Iterator<Item = (NodeId, &'a Key)>) -> HashMap<NodeId, Written> {
        let mut done = self.written.clone();
        for (node, key) in left {
            let Some(written) = done.get_mut(&node) else { continue };
            let count = match self.apart.get(&(node, key.clone())) {
                None => &mut written.created,
                Some(Does::Replaces) => &mut written.replaced,
                Some(Does::Removes) => &mut written.removed,
                Some(Does::Nothing) => continue,
            };
            *count = count.saturating_sub(1);
        }
        done
    }
}

/// The rows of a key that stand at nodes where a plugin maps, in their own shape.
type Locals = Vec<(NodeId, Arc<Row>)>;

/// A key about which something may have to be done, and whose row is right.
pub(super) struct Settled {
    key: Key,
    rows: Vec<(NodeId, Arc<Row>)>,
    row: Arc<Row>,
    /// The row, where it is made of those of several nodes.
    whole: Option<Arc<Row>>,
    settlement: Settlement,
    settles: Settles,
    locals: Locals,
    /// Whether the key was dealt with before, at another node or in another part.
    met_before: bool,
}

/// The row of a key at a node.
#[derive(Clone)]
pub(super) enum Standing {
    /// In the shared shape, and in the node's own where a plugin maps.
    Row(Arc<Row>, Option<Arc<Row>>),
    Unreadable(String),
}

impl Standing {
    pub fn row(&self) -> Option<&Row> {
        match self {
            Standing::Row(row, _) => Some(row),
            Standing::Unreadable(_) => None,
        }
    }
}

/// Rows that were read at a node. Of those that a plugin is to see before it writes over them, the node's own are kept.
pub(super) async fn standing(
    form: &Form,
    rows: Vec<Option<std::result::Result<Row, String>>>,
) -> Vec<Option<Standing>> {
    let local = |row: &Option<_>| match row {
        Some(Ok(row)) if form.lens.is_mapped() => Some(Arc::new(Row::clone(row))),
        _ => None,
    };
    let locals: Vec<Option<Arc<Row>>> = rows.iter().map(local).collect();
    let standing = |(row, local): (Option<_>, _)| {
        row.map(|row| match row {
            Ok(row) => Standing::Row(Arc::new(row), local),
            Err(why) => Standing::Unreadable(why),
        })
    };
    form.lens.share_apart(rows, Option::as_mut).await.into_iter().zip(locals).map(standing).collect()
}

impl Session {
    /// Lets what a portion wants written be written only in its turn.
    pub(in crate::sync) fn take_portions_turn(&self, portion: &mut Portion, opened: &Opened, batches: &mut Batches) {
        let Some(weighed) = &mut portion.outcome else { return };
        let nodes = participants(&self.tables[portion.table], opened);
        let next = self.take_turn(portion.table, &nodes, weighed.settles, opened, batches);
        weighed.passed = next.map(|next| (opened.turn(portion.table, portion.walker).clone(), next));
    }

    /// Weighs a portion in the snapshots that are open, and says what every node has to do about it.
    pub(in crate::sync) async fn weigh_portion(
        &mut self,
        portion: &mut Portion,
        opened: &Opened,
        contests: &[Contests],
    ) -> Result<Outcomes> {
        let mut outcomes = Outcomes::new(self.members.len(), self.tables.len());
        let mut weighed = Weighed::default();
        let table = self.tables[portion.table].clone();
        let Some(form) = table.form(portion.walker) else {
            portion.outcome = Some(weighed);
            return Ok(outcomes);
        };
        let contested = &contests[portion.table];
        let everybody = participants(&table, opened);
        let on_its_way = |key: &Key| contested.contains_key(key);
        let waits = |key: &Key| everybody.iter().any(|&node| opened.parked(node, table.index, key).is_some());
        let is_remapped = portion.refilter && self.refilters.remaps(&table);
        let mut keys: Vec<Key> = Vec::new();
        let mut standing: Vec<Vec<Option<Standing>>> = vec![Vec::new(); self.members.len()];
        if let Some(stretch) = portion.stretch.clone() {
            let (rows, stale) = self.stretch(portion, &table, opened, &stretch).await?;
            weighed.rows = rows.len() as u64;
            weighed.last = rows.last().map(|(key, _)| key.clone());
            let mut walked = Vec::new();
            for (key, row) in rows {
                if let Ok(row) = &row {
                    weighed.weight += row.iter().map(Value::weight).sum::<usize>();
                }
                if stale.contains(&key) || on_its_way(&key) {
                    weighed.again.push(key);
                } else if !waits(&key) {
                    walked.push(Some(row));
                    keys.push(key);
                } else if is_remapped {
                    weighed.passed_over.push(key);
                }
            }
            standing[portion.walker.index()] = self::standing(form, walked).await;
            if let (Some(reader), Some(last)) = (&mut portion.reader, &weighed.last) {
                reader.start(form.spec.clone(), last.clone(), stretch.limit);
            }
        }
        let walked = keys.len();
        let before = everybody.iter().filter(|&&node| node < portion.walker && table.is_source(node));
        let before: Vec<NodeId> = before.copied().collect();
        // What came to be there since is in a history, and stays as it is where only new rows are created. Behind another
        // walker it was copied from there, or should have been.
        if before.iter().all(|node| portion.empty.contains(node)) {
            for node in &portion.empty {
                standing[node.index()].resize(walked, None);
            }
        }
        for key in std::mem::take(&mut portion.again) {
            match () {
                () if waits(&key) => weighed.passed_over.extend(is_remapped.then_some(key)),
                () if on_its_way(&key) => weighed.again.push(key),
                () => keys.push(key),
            }
        }
        self.look_up_rows(&table, &everybody, &keys, &mut standing).await?;
        let weighing = Weighing {
            table: &table,
            rule: portion.rule.as_ref(),
            condition: portion.condition.as_deref(),
            walker: portion.walker,
            last: portion.last,
            refilter: portion.refilter,
            dry: false,
            in_step: everybody
                .windows(2)
                .all(|two| opened.turn(table.index, two[0]) == opened.turn(table.index, two[1])),
            everybody: &everybody,
            names: &self.names,
        };
        let mut standing: Vec<_> = standing.into_iter().map(Vec::into_iter).collect();
        let mut settled = Vec::new();
        for (at, key) in keys.into_iter().enumerate() {
            let mut here: Vec<(NodeId, Standing)> = Vec::with_capacity(everybody.len());
            for &node in &everybody {
                here.extend(standing[node.index()].next().flatten().map(|standing| (node, standing)));
            }
            // It was dealt with there. But of the nodes that lacked it one may have failed, when it had come to the others.
            let undecided = weighed.undecided;
            let met_before = at < walked && here.iter().any(|(node, _)| before.contains(node));
            let one = weighing.settled(key, here, &mut weighed);
            settled.extend(one.map(|one| Settled { met_before: met_before || at >= walked, ..one }));
            if met_before {
                weighed.undecided = undecided;
            }
        }
        weighing.weigh_all(settled, &mut weighed, &mut outcomes).await?;
        if portion.last {
            weighed.fails = table.broke_at_all().map(|failure| failure.to_string());
            outcomes.gave_up.extend(table.gave_up().into_iter().map(|failure| (table.index, failure)));
        }
        portion.outcome = Some(weighed);
        Ok(outcomes)
    }

    /// Finds the rows of keys at every node, behind those that are known there.
    async fn look_up_rows(
        &mut self,
        table: &Table,
        everybody: &[NodeId],
        keys: &[Key],
        standing: &mut [Vec<Option<Standing>>],
    ) -> Result<()> {
        let known: Vec<usize> = standing.iter().map(Vec::len).collect();
        let reading =
            join_all(self.members.iter_mut().filter(|member| everybody.contains(&member.id)).map(async |member| {
                let wanted = &keys[known[member.id.index()]..];
                let (form, reader) = (table.form(member.id)?, member.node.as_deref_mut()?);
                if wanted.is_empty() {
                    return None;
                }
                let wanted: Vec<&Key> = wanted.iter().collect();
                let rows = reader.rows(&form.spec, &wanted).await;
                let doing = || format!("reading rows of {}", form.spec.full_name());
                Some((
                    member.id,
                    match rows {
                        Ok(rows) => Ok(self::standing(form, rows).await),
                        Err(error) => Err(Error::at(&member.name, doing())(error)),
                    },
                ))
            }))
            .await;
        for (node, rows) in reading.into_iter().flatten() {
            standing[node.index()].extend(rows?);
        }
        Ok(())
    }

    /// The rows of a stretch as they stand in the walker's snapshot, and those keys among them whose row may be another.
    async fn stretch(
        &mut self,
        portion: &mut Portion,
        table: &Table,
        opened: &Opened,
        stretch: &Stretch,
    ) -> Result<(Vec<crate::node::Walked>, HashSet<Key>)> {
        let ahead = match &mut portion.reader {
            Some(reader) => reader.take(stretch.after.as_ref()).await,
            None => None,
        };
        let member = &mut self.members[portion.walker.index()];
        let doing = || format!("reading rows of `{}`", table.name);
        let (Some(spec), Some(node)) = (table.spec(portion.walker), member.node.as_deref_mut()) else {
            return Ok((Vec::new(), HashSet::new()));
        };
        let now = opened.turn(table.index, portion.walker);
        let ahead = ahead.filter(|ahead| !ahead.is_of_another_turn(table, portion.passed.as_ref(), now));
        if let Some(ahead) = ahead {
            let stale = ahead.stale(node, spec, table, portion.walker, opened, &self.names).await;
            if let Some(stale) = stale.map_err(Error::at(&member.name, doing()))? {
                return Ok((ahead.rows, stale));
            }
        }
        let rows = read_part(node, spec, stretch.after.as_ref(), stretch.limit).await;
        Ok((rows.map_err(Error::at(&member.name, doing()))?, HashSet::new()))
    }
}

/// What weighing one key takes.
pub(super) struct Weighing<'a> {
    pub table: &'a Table,
    pub rule: Option<&'a Rule>,
    pub condition: Option<&'a Condition>,
    /// See [`Portion`].
    pub walker: NodeId,
    pub last: bool,
    pub refilter: bool,
    /// Whether all snapshots are of one turn. A load that settles is at work between them otherwise, and may have taken the row
    /// from where it is seen to be kept.
    pub in_step: bool,
    /// Whether nothing is written, so that nobody looks again at what would have come to a node.
    pub dry: bool,
    pub everybody: &'a [NodeId],
    pub names: &'a [String],
}

impl Weighing<'_> {
    /// Whose row of a key is right; `None` if there is nothing to do about it.
    pub fn settled(&self, key: Key, here: Vec<(NodeId, Standing)>, weighed: &mut Weighed) -> Option<Settled> {
        let table = self.table;
        let mut rows: Vec<(NodeId, Arc<Row>)> = Vec::with_capacity(here.len());
        let mut locals = Locals::new();
        let mut unread: Vec<(NodeId, String)> = Vec::new();
        for (node, standing) in here {
            match standing {
                Standing::Row(row, local) => {
                    rows.push((node, row));
                    locals.extend(local.map(|local| (node, local)));
                }
                Standing::Unreadable(why) => unread.push((node, why)),
            }
        }
        if self.condition.is_some_and(|condition| !rows.iter().any(|(_, row)| condition.holds(row))) {
            return None;
        }
        if !unread.is_empty() {
            self.leave_unread(key, &unread, &rows, weighed);
            return None;
        }
        let (mut settlement, settles) = self.settle(&rows, weighed)?;
        let whole = match (settles, self.rule) {
            (Settles::Differing, Some(rule)) => settle::whole(rule, table, &mut settlement, &rows, self.names),
            _ => None,
        };
        let row = rows.iter().find(|(node, _)| *node == settlement.winner)?.1.clone();
        Some(Settled { key, rows, row, whole, settlement, settles, locals, met_before: false })
    }

    /// What becomes of a key of which rows cannot be read at some nodes. It goes to the sync if it is certain whose row is right. Who only
    /// follows takes that in place of a row that cannot be read; otherwise such a row gives way to none, and to it only what can be
    /// read, which is journalled before.
    fn leave_unread(&self, key: Key, unread: &[(NodeId, String)], rows: &[(NodeId, Arc<Row>)], weighed: &mut Weighed) {
        let table = self.table;
        let Some((at, why)) = unread.first() else { return };
        debug!(node = %self.names[at.index()], why, "A row cannot be read.");
        // It counts as having the row, and its values decide nothing.
        let nothing: Row = vec![Value::Null; table.columns.len()].into();
        let mut sources: Vec<(NodeId, &Row)> = rows.iter().map(|(node, row)| (*node, &**row)).collect();
        sources.extend(unread.iter().map(|(node, _)| (*node, &nothing)));
        sources.retain(|(node, _)| table.is_source(*node));
        sources.sort_by_key(|(node, _)| *node);
        let settled = match (self.rule, &sources[..]) {
            (_, []) => return,
            (Some(rule), sources) => rule.decide(table, sources, self.names),
            (None, [(only, _)]) => Some(Settlement { winner: *only, reason: "the row was missing".to_owned() }),
            (None, _) => None,
        };
        let is_certain = |settlement: &Settlement| match unread {
            _ if table.from.is_some() => true,
            [(node, _)] => *node == settlement.winner,
            _ => false,
        };
        let Some(settlement) = settled.filter(is_certain) else {
            // Whatever users make of it there is the only change that a history tells of, and replaces what others have.
            let reason = format!("the row cannot be read at {}", self.names[at.index()]);
            self.journal_before(&key, &Settlement { winner: *at, reason }, why, rows, weighed);
            weighed.undecidable.push((*at, key, why.clone()));
            return;
        };
        self.journal_before(&key, &settlement, why, rows, weighed);
        weighed.winners.insert(key.clone(), settlement.winner);
        weighed.unreadable.push((settlement.winner, key));
    }

    /// Lets nodes journal what they hold, while it is to be seen that it may be replaced by another row.
    fn journal_before(
        &self,
        key: &Key,
        settlement: &Settlement,
        why: &str,
        rows: &[(NodeId, Arc<Row>)],
        weighed: &mut Weighed,
    ) {
        let (table, winner) = (self.table, settlement.winner);
        let winner_row = rows.iter().find(|(node, _)| *node == winner).map(|(_, row)| row);
        let may_lose = |node: NodeId| self.last && table.operations.update && node != winner && table.is_target(node);
        for (target, own) in rows.iter().filter(|(node, _)| may_lose(*node)) {
            let same = |row: &Arc<Row>| settle::differing(table, (winner, &**row), (*target, &**own)).is_empty();
            if winner_row.is_some_and(same) {
                continue;
            }
            let lost = match winner_row {
                Some(row) => settle::lost("load", table, key, settlement, row, *target, own),
                None => settle::lost_unread(table, key, settlement, *target, own),
            };
            weighed.apart.insert((*target, key.clone()), Does::Nothing);
            let effect = Effect::Park(ParkedCode::Unreadable, why.to_owned());
            weighed.replaced_unread.push((*target, decision(key, effect, vec![lost], None)));
        }
    }

    /// What is to be done about keys at each node.
    pub async fn weigh_all(&self, settled: Vec<Settled>, weighed: &mut Weighed, outcomes: &mut Outcomes) -> Result<()> {
        for (node, decision) in std::mem::take(&mut weighed.replaced_unread) {
            outcomes.decisions[node.index()][self.table.index].push(decision);
        }
        let mut places: Vec<Vec<Belongs>> = vec![Vec::new(); settled.len()];
        if self.table.has_subsets() {
            for at in 0..self.names.len() {
                let rows = settled.iter().map(|one| one.row.clone()).collect();
                let belong = self.table.belong_apart(NodeId(at as u16), rows).await?;
                places.iter_mut().zip(belong).for_each(|(places, place)| places.push(place));
            }
        }
        let mut unmapped: Vec<Vec<(Decision, Current)>> = self.names.iter().map(|_| Vec::new()).collect();
        for (one, places) in settled.into_iter().zip(places) {
            self.weigh(one, &places, weighed, outcomes, &mut unmapped);
        }
        for (at, decisions) in unmapped.into_iter().enumerate().filter(|(_, decisions)| !decisions.is_empty()) {
            let Some(form) = self.table.form(NodeId(at as u16)) else { continue };
            outcomes.decisions[at][self.table.index].extend(localized_apart(form, decisions).await);
        }
        Ok(())
    }

    /// What is to be done about a key at each node, and where its row belongs, by node.
    /// What is to be written through a plugin is left to that, in `unmapped`.
    fn weigh(
        &self,
        settled: Settled,
        places: &[Belongs],
        weighed: &mut Weighed,
        outcomes: &mut Outcomes,
        unmapped: &mut [Vec<(Decision, Current)>],
    ) {
        let table = self.table;
        let Settled { key, rows, row: winner_row, whole, settlement, settles, mut locals, met_before } = settled;
        let winner = settlement.winner;
        let of = |node: NodeId| rows.iter().find(|(at, _)| *at == node).map(|(_, row)| row);
        let belongs = |node: NodeId| places.get(node.index()).unwrap_or(&Belongs::Inside);
        // Nobody gives a row up before another has it who keeps it.
        let is_kept = |but: NodeId| {
            let mut others = self.everybody.iter().filter(|&&node| node != but && *belongs(node) == Belongs::Inside);
            others.any(|&node| of(node) == Some(&winner_row))
        };
        let differs =
            |node: NodeId, own: &Row| !settle::differing(table, (winner, &winner_row), (node, own)).is_empty();
        // It stays where it stands, and replaces what is not right all the same, as in a sync.
        let is_homeless = || self.everybody.iter().all(|&node| *belongs(node) == Belongs::Outside);
        let (mut any, mut removes, mut unmoved) = (false, false, false);
        for &target in self.everybody.iter().filter(|&&node| table.is_target(node)) {
            let Some(own) = of(target).filter(|_| *belongs(target) == Belongs::Outside) else { continue };
            let differs = differs(target, own);
            // What is right may stay where it does not belong, unless it is moved. What is not right goes, as by a sync.
            if !differs && !self.refilter {
                let goes_elsewhere = || self.everybody.iter().any(|&node| *belongs(node) == Belongs::Inside);
                weighed.outside += u64::from(!met_before && goes_elsewhere());
                continue;
            }
            if !self.in_step {
                (removes, unmoved) = (true, true);
                break;
            }
            let may_go = is_kept(target) || differs && is_homeless();
            if !may_go {
                let comes = |node: &NodeId| *belongs(*node) == Belongs::Inside && table.is_target(*node);
                let comes = self.everybody.iter().any(comes);
                unmoved |= comes && !self.dry;
                if !(comes && self.dry) {
                    continue;
                }
            }
            weighed.written.entry(target).or_default().removed += 1;
            weighed.apart.insert((target, key.clone()), Does::Removes);
            let lost = differs.then(|| settle::lost("load", table, &key, &settlement, &winner_row, target, own));
            // By another load's filters the row may be about to go from where it is kept.
            (any, removes) = (true, true);
            outcomes.decisions[target.index()][table.index].push(decision(&key, Effect::Delete, Vec::new(), lost));
        }
        for &target in self.everybody.iter().filter(|&&node| node != winner && table.is_target(node)) {
            let Some(form) = table.form(target) else { continue };
            let own = of(target);
            match belongs(target) {
                Belongs::Inside => {}
                Belongs::Outside => continue,
                Belongs::Unknown(why) => {
                    let differs = own.is_none_or(|own| differs(target, own));
                    // Nobody knows either whether what stands there is to stay.
                    if differs || self.refilter {
                        let lost = own.filter(|_| differs && self.last);
                        let lost =
                            lost.map(|own| settle::lost("load", table, &key, &settlement, &winner_row, target, own));
                        weighed.apart.insert((target, key.clone()), Does::Nothing);
                        let effect = Effect::Park(ParkedCode::Filter, why.clone());
                        let decision = decision(&key, effect, Vec::from_iter(lost), None);
                        outcomes.decisions[target.index()][table.index].push(decision);
                        any = true;
                    }
                    continue;
                }
            }
            let row = whole.clone().or_else(|| settle::completed(table, winner, &rows, target));
            let Some(row) = row else { continue };
            let counted = weighed.written.entry(target).or_default();
            let (mode, lost) = match own {
                Some(own) => {
                    let same = (0..row.len()).all(|place| row[place] == own[place] || !form.lens.has(place));
                    if same || !table.operations.update {
                        continue;
                    }
                    counted.replaced += 1;
                    weighed.apart.insert((target, key.clone()), Does::Replaces);
                    let mut lost = settle::lost("load", table, &key, &settlement, &winner_row, target, own);
                    if let Some(whole) = &whole {
                        lost.winner_row = Some(whole.clone());
                        lost.winner_unknown.clear();
                    }
                    (WriteMode::Upsert, Some(lost))
                }
                None if !table.operations.insert => continue,
                None => {
                    counted.created += 1;
                    // Whether a trigger changed the row is only asked about rows that may be replaced; somebody else's new
                    // row is noticed all the same where changes are recorded.
                    // What another engine has copied there is to be replaced as well where rows differ.
                    let ask =
                        form.spec.captured && (!form.spec.user_triggers.is_empty() || settles == Settles::Differing);
                    (if ask { WriteMode::Upsert } else { WriteMode::InsertOnly }, None)
                }
            };
            any = true;
            let (lost, lost_here) = if self.last { (Vec::from_iter(lost), None) } else { (Vec::new(), lost) };
            let decision = decision(&key, form.write(row, mode), lost, lost_here);
            if form.lens.is_mapped() {
                let current =
                    locals.iter().position(|(node, _)| *node == target).map(|at| Ok(locals.swap_remove(at).1));
                unmapped[target.index()].push((decision, current));
            } else {
                outcomes.decisions[target.index()][table.index].push(decision);
            }
        }
        if any && settles == Settles::Differing || removes {
            weighed.settles = Settles::Differing;
        }
        if unmoved {
            weighed.again.push(key.clone());
            weighed.unmoved.insert(key.clone());
        }
        if (any || unmoved) && winner != self.walker {
            weighed.winners.insert(key, winner);
        }
    }

    /// Who is right, and whether that had to be decided; `None` if there is nothing to do or nobody can tell.
    fn settle(&self, rows: &[(NodeId, Arc<Row>)], weighed: &mut Weighed) -> Option<(Settlement, Settles)> {
        let (first, _) = rows.iter().find(|(node, _)| self.table.is_source(*node))?;
        let missing = rows.len() < self.everybody.len();
        let sources = || rows.iter().filter(|(node, _)| self.table.is_source(*node));
        let total = |node: &NodeId| self.table.form(*node).is_some_and(|form| form.lens.is_total());
        let all: Vec<(NodeId, &Row)> = rows.iter().map(|(node, row)| (*node, &**row)).collect();
        if settle::all_alike(self.table, &all) {
            // Among rows that are alike, one that has all columns is the best to copy.
            let best = sources().find(|(node, _)| total(node)).map_or(*first, |(node, _)| *node);
            let settlement = Settlement { winner: best, reason: "the row was missing".to_owned() };
            let looks = missing || self.refilter && self.table.has_subsets();
            return looks.then_some((settlement, Settles::Missing));
        }
        let borrowed: Vec<(NodeId, &Row)> = sources().map(|(node, row)| (*node, &**row)).collect();
        let settled = self.rule.and_then(|rule| rule.decide(self.table, &borrowed, self.names));
        weighed.undecided += u64::from(settled.is_none());
        settled.map(|settlement| (settlement, Settles::Differing))
    }
}

/// What a node has to do about a row of which no history tells.
fn decision(key: &Key, effect: Effect, lost: Vec<Lost>, lost_here: Option<Lost>) -> Decision {
    Decision {
        key: key.clone(),
        effect,
        notes: Vec::new(),
        waiting: None,
        touch: None,
        otherwise: None,
        lost,
        lost_here,
        lost_before: false,
        upon: None,
    }
}
