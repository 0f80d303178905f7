//! The first copy, in whatever state the nodes are, and the way back for nodes that were left out.
//!
//! Changes are captured before anything is compared, so rows are copied while users go on writing. Every table is gone
//! through at each node in turn, a part at a time; each part is weighed in a cycle of its own, together with whatever
//! changes are on their way then. The first node that holds a key is the one at which the key is dealt with. How far the
//! load has come is remembered at the node whose rows are gone through, after everybody has committed.

mod ahead;
mod compare;
mod condition;
mod leftovers;
mod part;
mod portion;
mod progress;
mod refilter;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;
use tracing::debug;

use self::ahead::Reader;
use self::condition::Condition;
pub(super) use self::portion::Portion;
use self::portion::{Stretch, Weighed, Written};
use self::progress::Progress;
pub use self::progress::forget_at;
pub(super) use self::refilter::Refilters;
use super::attendance::Away;
use super::cycle::Cycle;
use super::order;
use super::rejoin::UNFINISHED;
use super::schedule::Schedule;
use super::session::{Session, Stopped, Summary};
use super::settle::Rule;
use super::table::Table;
use super::verify::no_table_called;
use crate::error::{Error, Result};
use crate::fault;
use crate::model::{Key, NodeId, TableSpec};
use crate::node;

/// Rows of a part at most.
const ROWS: usize = 20_000;

/// Rows of a part whose size in memory nobody knows yet.
const PROBE: usize = 500;

/// The size in memory that a part may have at one node, in bytes.
const WEIGHT: usize = 12 << 20;

/// How often a part is tried before the load gives up over what a node says.
const ATTEMPTS: u32 = 8;

/// How often a key with changes on their way is looked at again. After the first time everything older has arrived, so
/// what is on its way then is carried to everybody by the sync.
const LOOKS: u32 = 4;

/// Rows of one leg that are left because users hold them up: beyond, it is the table that is held up.
const MOST_BUSY: usize = 1_000;

/// What to load, and how.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The node whose rows count where rows differ.
    pub prefer: Option<String>,
    /// Only these tables; all if there are none.
    pub tables: Vec<String>,
    /// Only rows for which this holds.
    pub condition: Option<String>,
    /// Only tell what would be done.
    pub dry_run: bool,
    /// Begin anew, whatever an earlier load has done.
    pub restart: bool,
    /// Remove rows where they do not belong, and from then on go by the filters of the file.
    pub refilter: bool,
}

/// What a load did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Loaded {
    pub dry_run: bool,
    /// Whether it went on where an earlier one had been interrupted.
    pub resumed: bool,
    /// Nodes that had been left out and take part again.
    pub rejoined: Vec<String>,
    /// Which keys count on beyond what nodes that take part again had drawn before, a line each.
    pub numbered: Vec<String>,
    pub tables: Vec<LoadedTable>,
    /// Tables that need no load, because they are kept in step by comparison.
    pub compared: Vec<String>,
    /// What the sync carried before and after.
    pub sync: Summary,
    pub away: Vec<Away>,
    pub stopped: Vec<Stopped>,
    /// The keys that were passed over, by table: several nodes may have their rows.
    #[serde(skip)]
    pub(crate) passed_over: HashSet<(usize, Key)>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct LoadedTable {
    pub table: String,
    /// Rows that were gone through; a row that several nodes hold counts at each.
    pub rows: u64,
    pub nodes: Vec<LoadedNode>,
    /// Rows that could not be copied or read, and wait now: see `concord parked list`.
    pub waiting: u64,
    /// Rows that a dry run leaves to the sync, which would come first; see `concord plan`.
    pub on_their_way: u64,
    /// Rows that could not be written one by one, such as those that refer to each other, and came with the sync.
    pub together: u64,
    /// Rows that wait somewhere and were left as they are, although a mapping may have made others of them.
    pub passed_over: u64,
    /// Rows that differ and that nothing decides.
    pub undecided: u64,
    /// How rows that differ are decided, if that is said anywhere.
    pub rule: Option<String>,
}

/// Rows that came to one node.
#[derive(Clone, Debug, Default, Serialize, PartialEq)]
pub struct LoadedNode {
    pub node: String,
    pub copied: u64,
    pub replaced: u64,
    /// Rows that did not belong there.
    pub removed: u64,
}

/// How far a load has come, for whoever looks on.
#[derive(Clone, Debug)]
pub struct Stage {
    pub table: String,
    pub node: String,
    /// Whether rows are only compared.
    pub comparing: bool,
    /// Rows of the table at this node that were gone through.
    pub rows: u64,
    /// About how many there are.
    pub total: u64,
}

/// A table at a node, to be gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leg {
    table: usize,
    walker: NodeId,
}

/// A row that could not be written, to be tried once more.
struct Deferred {
    table: usize,
    key: Key,
    /// Where the row stands that was to be written.
    holder: NodeId,
    /// Where users hold it up, and how.
    held: Option<(NodeId, String)>,
}

/// What a load has to know throughout.
struct Load {
    prefer: Option<NodeId>,
    refilter: bool,
    conditions: HashMap<usize, Arc<Condition>>,
    legs: Vec<Leg>,
    /// When it began, by the clock of each node.
    since: Vec<Option<i64>>,
    /// Keys, by table, about which the sync decides that comes first; empty once it has.
    on_their_way: Vec<HashSet<Key>>,
    /// Nodes that others accuse when it begins.
    left_out: Vec<NodeId>,
    /// Nodes that an earlier load let in and whose rows it has not compared to the end, each with its installation. What users have made
    /// of these since is not carried.
    unfinished: Vec<(NodeId, String)>,
    /// Nodes whose rows were not compared to the end since they were let in, by this load or before.
    let_in: Vec<NodeId>,
}

impl Load {
    fn rule(&self, session: &Session, table: usize) -> Option<Rule> {
        Rule::of(&session.tables[table], self.prefer)
    }
}

impl Session {
    /// Copies rows that are missing somewhere and decides those that differ. `told` hears now and then how far it is.
    pub async fn load(&mut self, options: &LoadOptions, told: &mut (dyn FnMut(&Stage) + Send)) -> Result<Loaded> {
        self.loads = true;
        let mut lives = Vec::new();
        let mut loaded = self.load_rows(options, told, &mut lives).await;
        self.loads = false;
        if loaded.is_err() {
            // That is why the nodes say of each other what they do.
            if let Some(why) = self.let_in_by_another(&lives).await {
                loaded = Err(why);
            }
            // Whoever was let in and has not everything is to be found out.
            self.members.iter_mut().for_each(|member| member.prepared = false);
        }
        loaded
    }

    /// What has happened if a node that this load lets in has another life by now than these.
    async fn let_in_by_another(&mut self, lives: &[(NodeId, String)]) -> Option<Error> {
        for (at, life) in lives {
            let member = &mut self.members[at.index()];
            let Some(node) = member.node.as_deref_mut() else { continue };
            // Who cannot tell now has given the error that is there.
            let Ok(Some(service)) = node.service().await else { continue };
            if service.uuid != *life {
                return Some(self.let_in_elsewhere(*at, "has begun to let it in anew, and this one ends here"));
            }
        }
        None
    }

    fn let_in_elsewhere(&self, at: NodeId, what: &str) -> Error {
        Error::Unreachable(vec![format!(
            "node `{}`: another `concord load` {what}\n    wait for that, and run `concord load` again if the node is still left out",
            self.names[at.index()],
        )])
    }

    /// `lives` becomes the installations of the nodes that are let in.
    async fn load_rows(
        &mut self,
        options: &LoadOptions,
        told: &mut (dyn FnMut(&Stage) + Send),
        lives: &mut Vec<(NodeId, String)>,
    ) -> Result<Loaded> {
        self.accepts(options)?;
        let prefer = self.preferred(options)?;
        self.begin_refilter(options)?;
        self.prepare().await?;
        self.may_refilter()?;
        let left_out = self.left_out().await?;
        self.everybody_but(&left_out)?;
        let unfinished = self.unfinished().await?;
        let absent = with(&left_out, &unfinished);
        self.compares_enough(&absent, options)?;
        self.lists_all_histories(&absent).await?;
        let mut load = self.plan_load(options, prefer)?;
        (load.left_out, load.unfinished) = (left_out, unfinished);
        let stood_still = self.stand_still(options);
        let all_go_on = !self.tables.iter().any(Table::stands_still);
        let compared = if options.tables.is_empty() { self.compared_names() } else { Vec::new() };
        let mut loaded = Loaded { dry_run: options.dry_run, compared, ..Loaded::default() };
        let tables = load.legs.iter().map(|leg| leg.table);
        for table in tables {
            let name = &self.tables[table].name;
            if !loaded.tables.iter().any(|known| known.table == *name) {
                let rule = load.rule(self, table).map(|rule| rule.told(&self.tables[table], &self.names));
                loaded.tables.push(LoadedTable { table: name.clone(), rule, ..LoadedTable::default() });
            }
        }
        if options.dry_run || options.refilter {
            let apart = self.apart(&load).await?;
            load.on_their_way = self.on_their_way(&apart).await?;
        }
        if options.dry_run {
            self.compare_all(&load, &mut loaded, told).await?;
            loaded.rejoined = absent.iter().map(|node| self.names[node.index()].clone()).collect();
            loaded.stopped = self.stopped();
            return Ok(loaded);
        }
        if options.refilter {
            // What is refused is to leave everything to the former filters, by which what waits can be decided.
            let changed = self.changed_meanwhile(&load.unfinished, &load.left_out).await?;
            let let_in = with(&load.left_out, &changed);
            if !let_in.is_empty() {
                self.nothing_waits(&let_in).await?;
            }
            self.refuse_undecided(&load, told).await?;
        }
        load.on_their_way.clear();
        self.keep_filters(true).await?;
        load.since = self.clocks().await?;
        self.schedule = Schedule::default();
        let unfinished: Vec<NodeId> = load.unfinished.iter().map(|(node, _)| *node).collect();
        loaded.sync = self.carry_without(&unfinished).await?;
        self.everybody_but(&absent)?;
        unfinished.iter().try_for_each(|node| self.all_go_on(*node))?;
        let mut changed = self.changed_meanwhile(&load.unfinished, &load.left_out).await?;
        let mut let_in = self.asked_to_let_in(&load, &changed).await?;
        let mut progress = Progress::new(self, options, all_go_on).await?;
        let begun = match let_in.is_empty() && !options.restart {
            true => progress.find(self, &load.legs).await?,
            false => None,
        };
        if begun.is_none() {
            self.refuse_undecided(&load, told).await?;
            // That may have taken long. It is asked once more only: what is changed later still is changed while rows are copied.
            let known = changed.len();
            for node in self.changed_meanwhile(&load.unfinished, &load.left_out).await? {
                if !changed.contains(&node) {
                    changed.push(node);
                }
            }
            if changed.len() > known {
                let_in = self.asked_to_let_in(&load, &changed).await?;
                self.refuse_undecided(&load, told).await?;
            }
        }
        if !let_in.is_empty() {
            self.rejoin(&let_in, &changed).await?;
            progress = Progress::new(self, options, all_go_on).await?;
        }
        load.let_in.clone_from(&progress.let_in);
        *lives = progress.let_in_lives();
        if begun.is_none() {
            // What an earlier load has left at some node is not to be taken for this one's.
            progress.begin(self).await?;
        }
        loaded.resumed = begun.is_some();
        let (first, mut after) = begun.unwrap_or((0, None));
        let mut deferred = Vec::new();
        let mut empty: Vec<NodeId> = Vec::new();
        for (at, &leg) in load.legs.iter().enumerate().skip(first) {
            let first_of_table = at.checked_sub(1).is_none_or(|before| load.legs[before].table != leg.table);
            if first_of_table {
                empty = self.empty_at(leg.table).await?;
            }
            if !empty.contains(&leg.walker) {
                self.walk_leg(&load, leg, after.take(), &empty, &mut progress, &mut deferred, &mut loaded, told)
                    .await?;
            }
            let last_of_table = load.legs.get(at + 1).is_none_or(|next| next.table != leg.table);
            if last_of_table {
                self.try_again(&load, &mut deferred, &mut loaded).await?;
            }
        }
        self.try_again(&load, &mut deferred, &mut loaded).await?;
        for _ in 0..LOOKS {
            if deferred.iter().any(|row| row.held.is_some()) {
                deferred = self.try_once(&load, deferred, false, &mut loaded).await?;
            }
        }
        // Handed over at a node that was let in, it would count as a change of its users: the next load meets all these rows again.
        let hands_over =
            |deferred: &[Deferred]| load.let_in.is_empty() || deferred.iter().all(|row| row.held.is_none());
        // Once more, and what is still refused loses to what waits: it is in the journal before that is told to anybody.
        if hands_over(&deferred) {
            deferred = self.try_once(&load, deferred, true, &mut loaded).await?;
        }
        // Also if another load has let somebody in.
        if !absent.is_empty() || !progress.let_in.is_empty() {
            loaded.numbered = self.count_on().await;
        }
        let hands_over = hands_over(&deferred);
        let (held, refused): (Vec<Deferred>, Vec<Deferred>) = deferred.into_iter().partition(|row| row.held.is_some());
        let handed = if hands_over { self.hand_over(&load, refused).await? } else { HashSet::new() };
        // No history tells of them, and as changes of who holds them they might win over what users are about to do.
        if let Some((row, (node, why))) = held.first().and_then(|row| Some((row, row.held.as_ref()?))) {
            return Err(self.held_up(&load, *node, row.table, held.len(), why));
        }
        let let_in: BTreeSet<NodeId> = absent.iter().chain(&progress.let_in).copied().collect();
        let unfinished = progress.end(self).await?;
        let done = let_in.iter().filter(|node| !unfinished.contains(node));
        loaded.rejoined = done.map(|node| self.names[node.index()].clone()).collect();
        self.keep_filters(false).await?;
        // What was copied is in no history that would tell that rows which wait may depend on it.
        self.schedule = Schedule::default();
        let last = self.carry().await?;
        loaded.sync.extend(last);
        self.count_handed(handed, &mut loaded).await?;
        loaded.away = self.away();
        let still_out = |node: NodeId| {
            let node = self.names[node.index()].clone();
            Away { node, why: UNFINISHED.to_owned(), unreachable: false }
        };
        loaded.away.extend(unfinished.into_iter().map(still_out));
        loaded.stopped = self.stopped();
        for table in stood_still {
            if !loaded.stopped.iter().any(|stopped| stopped.table == table) {
                let why = format!("it stood still when the load began; run `concord load --table {table}`");
                loaded.stopped.push(Stopped { table, why });
            }
        }
        Ok(loaded)
    }

    /// The nodes that begin anew: those that are left out, and those that were let in and have `changed`. Fails if another load is at that,
    /// or if anything waits elsewhere.
    async fn asked_to_let_in(&mut self, load: &Load, changed: &[(NodeId, String)]) -> Result<Vec<NodeId>> {
        if let Some((node, _)) = changed.first()
            && progress::another_is_at_work(self, changed).await?
        {
            return Err(self.let_in_elsewhere(*node, "is letting it in"));
        }
        let let_in = with(&load.left_out, changed);
        if !let_in.is_empty() {
            self.nothing_waits(&let_in).await?;
        }
        Ok(let_in)
    }

    /// The tables that are to be gone through and stand still.
    fn stand_still(&self, options: &LoadOptions) -> Vec<String> {
        let chosen = |name: &String| options.tables.is_empty() || options.tables.contains(name);
        let still = self.tables.iter().filter(|table| table.stands_still());
        still.map(|table| table.name.clone()).filter(chosen).collect()
    }

    /// Fails if something is asked for that the file alone shows to be wrong.
    pub fn accepts(&self, options: &LoadOptions) -> Result<()> {
        self.preferred(options)?;
        let names: Vec<&str> = self.config.tables.iter().map(|table| table.name.as_str()).collect();
        for name in &options.tables {
            if !names.contains(&name.as_str()) {
                return Err(no_table_called(name, &names));
            }
            self.needs_history(name)?;
        }
        match &options.condition {
            Some(_) if !self.config.keeps_histories() => Err(Error::Usage(
                "--where says which rows are loaded, and every table is kept in step by comparison, which needs no load\n    \
                 leave it out"
                    .to_owned(),
            )),
            _ => Ok(()),
        }
    }

    fn preferred(&self, options: &LoadOptions) -> Result<Option<NodeId>> {
        options.prefer.as_deref().map(|name| self.node_called(name)).transpose()
    }

    /// Fails unless all nodes are there, or are among those that are let back in.
    pub(super) fn everybody_but(&self, absent: &[NodeId]) -> Result<()> {
        let missing = |member: &&super::attendance::Member| {
            member.node.is_none() || (member.away.is_some() && !absent.contains(&member.id))
        };
        match self.members.iter().find(missing) {
            None => Ok(()),
            Some(member) if member.away.is_some() => Err(self.unreachable()),
            Some(member) => Err(Error::Unreachable(vec![format!("node `{}`: it is not connected", member.name)])),
        }
    }

    /// Fails if nodes would be let back in and not all rows were compared: they begin anew in all tables at once, and what they lack in
    /// others would be told by no history.
    fn compares_enough(&self, absent: &[NodeId], options: &LoadOptions) -> Result<()> {
        let Some(&at) = absent.first() else { return Ok(()) };
        let left_out = match (options.tables.is_empty(), &options.condition) {
            (false, Some(_)) => "--table and --where",
            (false, None) => "--table",
            (true, Some(_)) => "--where",
            (true, None) => return self.all_go_on(at),
        };
        let load = if options.refilter { "concord load --refilter" } else { "concord load" };
        Err(Error::Refused(vec![format!(
            "node `{}` has to be let in again, and for that all its tables are compared: run `{load}` without {left_out} first",
            self.names[at.index()],
        )]))
    }

    /// Why a table cannot be read: it stands still since a moment ago, or its node is away.
    fn not_there(&self, table: usize) -> Error {
        let table = &self.tables[table];
        match &table.stopped {
            Some(why) => Error::Stopped(format!("table `{}` stands still: {why}", table.name)),
            None => self.unreachable(),
        }
    }

    /// Which tables are gone through where: tables that others refer to first, and nodes in the order of the file.
    fn plan_load(&self, options: &LoadOptions, prefer: Option<NodeId>) -> Result<Load> {
        options.tables.iter().try_for_each(|name| self.table_called(name).map(drop))?;
        let chosen = |table: &str| options.tables.is_empty() || options.tables.iter().any(|name| name == table);
        let mut conditions = HashMap::new();
        for table in self.tables.iter().filter(|table| chosen(&table.name) && !table.compared) {
            if let Some(text) = &options.condition {
                conditions.insert(table.index, Arc::new(Condition::parse(text, table)?));
            }
        }
        // What is referred to anywhere comes first everywhere.
        let mut specs: Vec<TableSpec> = Vec::new();
        for table in &self.tables {
            let mut forms = table.forms.iter().flatten().map(|form| &form.spec);
            let Some(first) = forms.next() else { continue };
            let mut spec = (**first).clone();
            spec.references.clear();
            for form in table.forms.iter().flatten() {
                for reference in &form.spec.references {
                    let node = table
                        .forms
                        .iter()
                        .position(|own| own.as_ref().is_some_and(|own| Arc::ptr_eq(&own.spec, &form.spec)));
                    let target = self.tables.iter().find(|other| {
                        let there = node.and_then(|node| other.forms[node].as_ref());
                        there.is_some_and(|there| {
                            there.spec.local == reference.referenced_table
                                && there.spec.schema == reference.referenced_schema
                        })
                    });
                    if let Some(first) = target.and_then(|target| target.forms.iter().flatten().next()) {
                        let mut reference = reference.clone();
                        reference.referenced_table.clone_from(&first.spec.local);
                        reference.referenced_schema.clone_from(&first.spec.schema);
                        spec.references.push(reference);
                    }
                }
            }
            specs.push(spec);
        }
        let mut legs = Vec::new();
        let borrowed: Vec<&TableSpec> = specs.iter().collect();
        for group in order::parents_first(&borrowed) {
            let mut group: Vec<usize> = group.into_iter().map(|at| specs[at].index).collect();
            group.sort_unstable();
            for index in group {
                let table = &self.tables[index];
                let walkers = self.members.iter().map(|member| member.id);
                let walkers = walkers.filter(|&node| table.is_source(node) && table.form(node).is_some());
                legs.extend(walkers.filter(|_| chosen(&table.name)).map(|walker| Leg { table: index, walker }));
            }
        }
        Ok(Load {
            prefer,
            refilter: options.refilter,
            conditions,
            legs,
            since: Vec::new(),
            on_their_way: Vec::new(),
            left_out: Vec::new(),
            unfinished: Vec::new(),
            let_in: Vec::new(),
        })
    }

    /// Goes through a table at one node, from behind a key.
    #[expect(clippy::too_many_arguments, reason = "what a leg changes belongs to the whole load")]
    async fn walk_leg(
        &mut self,
        load: &Load,
        leg: Leg,
        mut after: Option<Key>,
        empty: &[NodeId],
        progress: &mut Progress,
        deferred: &mut Vec<Deferred>,
        loaded: &mut Loaded,
        told: &mut (dyn FnMut(&Stage) + Send),
    ) -> Result<()> {
        if self.tables[leg.table].form(leg.walker).is_none() {
            progress.leave_out();
            return Ok(());
        }
        let total = self.count_rows(leg).await?;
        let mut stage = self.stage(leg, false, total);
        let mut reader = match (self.connector)(self.config.nodes[leg.walker.index()].target.clone()).await {
            Ok(node) => Some(Reader::new(node)),
            // Reading ahead is a convenience.
            Err(error) => {
                debug!(%error, "No second connection.");
                None
            }
        };
        let (mut limit, mut most) = (PROBE, ROWS);
        let mut again: Vec<(Key, u32)> = Vec::new();
        let mut busy = 0;
        let mut ended = false;
        // Rows that are left are looked for anew after an interruption.
        let mut remember = deferred.is_empty();
        let mut passed = None;
        while !ended || !again.is_empty() {
            let mut portion = Some(Portion {
                table: leg.table,
                walker: leg.walker,
                rule: load.rule(self, leg.table),
                condition: load.conditions.get(&leg.table).cloned(),
                stretch: (!ended).then(|| Stretch { after: after.clone(), limit }),
                again: again.iter().map(|(key, _)| key.clone()).collect(),
                empty: empty.to_vec(),
                last: false,
                refilter: load.refilter,
                passed: passed.take(),
                reader: reader.take(),
                outcome: None,
            });
            let done = self.weighed(&mut portion).await;
            reader = portion.and_then(|portion| portion.reader);
            let Some((weighed, left)) = done? else {
                // Another engine is at work. Shorter parts are less in its way.
                most = (most / 2).max(PROBE);
                limit = limit.min(most);
                continue;
            };
            if self.tables[leg.table].form(leg.walker).is_none() {
                progress.leave_out();
            }
            most = (most * 2).min(ROWS);
            let looks = |key: &Key| again.iter().find(|(known, _)| known == key).map_or(0, |(_, looks)| *looks);
            let mut next: Vec<(Key, u32)> = Vec::new();
            for key in &weighed.again {
                let looks = looks(key) + 1;
                if looks < LOOKS {
                    next.push((key.clone(), looks));
                } else if weighed.unmoved.contains(key) {
                    // What it waits for may come where rows that were refused are tried again.
                    let holder = weighed.winners.get(key).copied().unwrap_or(leg.walker);
                    deferred.push(Deferred { table: leg.table, key: key.clone(), holder, held: None });
                }
            }
            self.count_up(leg, &weighed, &left, loaded);
            for (node, key, reason) in left {
                let looks = looks(&key) + 1;
                let is_busy = reason.code.is_passing();
                if is_busy && looks < LOOKS {
                    next.push((key, looks));
                    continue;
                }
                busy += usize::from(is_busy);
                if busy > MOST_BUSY {
                    return Err(self.held_up(load, node, leg.table, busy, &reason.message));
                }
                let holder = weighed.winners.get(&key).copied().unwrap_or(leg.walker);
                debug!(node = %self.names[node.index()], reason = %reason.message, "A row is left for later.");
                let held = is_busy.then_some((node, reason.message));
                deferred.push(Deferred { table: leg.table, key, holder, held });
            }
            deferred.extend(weighed.unreadable.iter().map(|(holder, key)| Deferred {
                table: leg.table,
                key: key.clone(),
                holder: *holder,
                held: None,
            }));
            remember &= deferred.is_empty();
            again = next;
            passed = weighed.passed;
            stage.rows += weighed.rows;
            if let Some(rows) = (weighed.weight as u64).checked_div(weighed.rows).filter(|each| *each > 0) {
                limit = (WEIGHT / usize::try_from(rows).unwrap_or(usize::MAX)).clamp(1, most);
            }
            match weighed.last {
                Some(last) => after = Some(last),
                None => ended = true,
            }
            told(&stage);
            if remember && again.is_empty() {
                progress.reached(self, leg, after.as_ref()).await?;
            }
        }
        Ok(())
    }

    /// One cycle with a portion: what was weighed and what could not be written; `None` if it has to be done again.
    async fn weighed(
        &mut self,
        portion: &mut Option<Portion>,
    ) -> Result<Option<(Weighed, Vec<(NodeId, Key, node::Reason)>)>> {
        let again = portion.as_ref().map(|portion| portion.again.clone()).unwrap_or_default();
        for attempt in 1.. {
            let cycle = self.cycle_with(portion).await?;
            self.everybody_but(&[])?;
            fault::point("load-part").await?;
            let outcome = portion.as_mut().and_then(|portion| portion.outcome.take());
            match (outcome, &cycle) {
                (_, Cycle { failed: Some(why), may_pass: true, .. }) if attempt >= ATTEMPTS => {
                    return Err(Error::Unreachable(vec![why.clone()]));
                }
                (_, Cycle { failed: Some(why), .. }) if attempt >= ATTEMPTS => return Err(Error::Stopped(why.clone())),
                (Some(weighed), Cycle { failed: None, overtaken: false, .. }) => {
                    let left = cycle.left.into_iter().map(|(node, _, key, reason)| (node, key, reason)).collect();
                    return Ok(Some((weighed, left)));
                }
                (_, Cycle { overtaken: true, .. }) => return Ok(None),
                _ => {}
            }
            if let Some(portion) = portion {
                portion.again.clone_from(&again);
            }
        }
        Ok(None)
    }

    /// Adds to the report what a part came to.
    fn count_up(&self, leg: Leg, weighed: &Weighed, left: &[(NodeId, Key, node::Reason)], loaded: &mut Loaded) {
        let name = &self.tables[leg.table].name;
        let Some(table) = loaded.tables.iter_mut().find(|table| table.table == *name) else { return };
        table.rows += weighed.rows;
        table.undecided += weighed.undecided;
        let passed_over = weighed.passed_over.iter().map(|key| (leg.table, key.clone()));
        table.passed_over += passed_over.filter(|key| loaded.passed_over.insert(key.clone())).count() as u64;
        let done = weighed.done(left.iter().map(|(node, key, _)| (*node, key)));
        for (node, written) in done.into_iter().filter(|(_, written)| *written != Written::default()) {
            let Written { created: copied, replaced, removed } = written;
            let name = &self.names[node.index()];
            match table.nodes.iter_mut().find(|known| known.node == *name) {
                Some(known) => {
                    known.copied += copied;
                    known.replaced += replaced;
                    known.removed += removed;
                }
                None => table.nodes.push(LoadedNode { node: name.clone(), copied, replaced, removed }),
            }
        }
    }

    /// What the clocks of all nodes show.
    async fn clocks(&mut self) -> Result<Vec<Option<i64>>> {
        let opened = self.look().await?;
        self.close().await;
        Ok(opened.present.iter().map(|presence| Some(presence.as_ref()?.clock.shown)).collect())
    }

    /// Rows are locked, or were changed at each look. Progress stays before them.
    fn held_up(&self, load: &Load, node: NodeId, table: usize, rows: usize, why: &str) -> Error {
        let number = match rows {
            1 => "1 row".to_owned(),
            2..=MOST_BUSY => format!("{rows} rows"),
            _ => format!("more than {MOST_BUSY} rows"),
        };
        // What follows is about the next cycle, which there is none of.
        let why = why.split_once(';').map_or(why, |(why, _)| why);
        Error::Unreachable(vec![format!(
            "node `{}`: {number} of `{}` could not be written: {why}\n    run `concord load` again when that is over; {}",
            self.names[node.index()],
            self.tables[table].name,
            self.goes_on(load),
        )])
    }

    /// Where a load that ends here is gone on with.
    fn goes_on(&self, load: &Load) -> String {
        let let_in: Vec<String> = load.let_in.iter().map(|node| format!("`{}`", self.names[node.index()])).collect();
        match let_in.is_empty() {
            true => "it goes on where it was".to_owned(),
            false => format!(
                "it goes on where it was, or begins anew if users of {} have changed anything by then",
                let_in.join(", ")
            ),
        }
    }

    async fn count_rows(&mut self, leg: Leg) -> Result<u64> {
        self.look().await?;
        let member = &mut self.members[leg.walker.index()];
        let (Some(node), Some(spec)) = (member.node.as_deref_mut(), self.tables[leg.table].spec(leg.walker)) else {
            return Err(self.not_there(leg.table));
        };
        let total = node.count(spec).await.map_err(Error::at(&member.name, "counting rows"))?;
        self.close().await;
        Ok(total)
    }

    /// The nodes at which a table has no rows before anything is copied. Whatever comes to be there later was copied, or is
    /// in a history, so nobody has to go through it or look for rows there. That a trigger changes what is written is only
    /// seen of rows that are known.
    async fn empty_at(&mut self, table: usize) -> Result<Vec<NodeId>> {
        let mut empty = Vec::new();
        self.look().await?;
        for member in &mut self.members {
            let (Some(node), Some(spec)) = (member.node.as_deref_mut(), self.tables[table].spec(member.id)) else {
                continue;
            };
            let first = node.walk(spec, None, 1).await.map_err(Error::at(&member.name, "looking for rows"))?;
            if first.is_empty() && spec.captured && spec.user_triggers.is_empty() {
                empty.push(member.id);
            }
        }
        self.close().await;
        Ok(empty)
    }

    fn stage(&self, leg: Leg, comparing: bool, total: u64) -> Stage {
        let table = self.tables[leg.table].name.clone();
        Stage { table, node: self.names[leg.walker.index()].clone(), comparing, rows: 0, total }
    }
}

/// These nodes and those, each once, in the order of the file.
fn with(nodes: &[NodeId], others: &[(NodeId, String)]) -> Vec<NodeId> {
    let all: BTreeSet<NodeId> = nodes.iter().copied().chain(others.iter().map(|(node, _)| *node)).collect();
    all.into_iter().collect()
}

impl Loaded {
    /// The code with which the command ends.
    pub fn exit_code(&self) -> u8 {
        let undecided = self.tables.iter().any(|table| table.undecided + table.waiting + table.passed_over > 0);
        match self.sync.exit_code() {
            crate::error::DONE if undecided || !self.stopped.is_empty() || !self.away.is_empty() => {
                crate::error::ATTENTION
            }
            code => code,
        }
    }
}
