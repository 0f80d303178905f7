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
mod leg;
mod part;
mod portion;
mod progress;
mod refilter;
mod report;
mod scope;
mod uncounted;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use tracing::warn;

use self::condition::Condition;
use self::leg::{Deferred, Leg, Stays};
pub(super) use self::portion::Portion;
use self::progress::Progress;
pub use self::progress::{begin_reset, end_reset, is_being_emptied};
pub(super) use self::refilter::Refilters;
pub use self::report::{LoadOptions, Loaded, LoadedNode, LoadedTable, Stage};
use super::attendance::{Away, Member};
use super::rejoin::UNFINISHED;
use super::schedule::Schedule;
use super::session::{Session, Stopped, add_failure};
use super::settle::Rule;
use super::table::Table;
use crate::error::{Error, Result};
use crate::model::{Key, NodeId};

/// Rows of a part at most.
const ROWS: usize = 20_000;

/// Rows of a part whose size in memory nobody knows yet.
const PROBE: usize = 500;

/// The size in memory that a part may have at one node, in bytes.
const WEIGHT: usize = 12 << 20;

/// How often a key with changes on their way is looked at again. After the first time everything older has arrived, so
/// what is on its way then is carried to everybody by the sync.
const LOOKS: u32 = 4;

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
        let let_in = with(&[&self.left_out[..], &self.let_in[..]].concat(), &self.unfinished);
        Some(Rule::of(&session.tables[table], self.prefer)?.letting_in(&let_in))
    }

    /// Whether what could not be written is handed over to the sync. At a node that was let in it would count as a change of its users
    /// there: while users hold any of it, that is left to the next load, which meets all these rows again.
    fn hands_over(&self, deferred: &[Deferred]) -> bool {
        self.let_in.is_empty() || deferred.iter().all(|row| row.held.is_none())
    }
}

impl Session {
    /// Copies rows that are missing somewhere and decides those that differ. `told` hears now and then how far it is.
    pub async fn load(&mut self, options: &LoadOptions, told: &mut (dyn FnMut(&Stage) + Send)) -> Result<Loaded> {
        self.loads = true;
        let mut lives = Vec::new();
        let mut loaded = self.load_rows(options, told, &mut lives).await;
        self.loads = false;
        self.uncompared.clear();
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
        let mut load = self.look_round(options).await?;
        let stood_still = self.stand_still(options);
        let all_go_on = !self.tables.iter().any(Table::stands_still);
        let absent = with(&load.left_out, &load.unfinished);
        let mut loaded = self.announce(options, &load, &absent);
        if options.dry_run || options.refilter {
            let apart = self.apart(&load).await?;
            load.on_their_way = self.on_their_way(&apart).await?;
        }
        if options.dry_run {
            self.compare_all(&load, &mut loaded, told).await?;
            let changed = self.changed_meanwhile(&load.unfinished, &load.left_out).await?;
            let uncounted = self.uncounted(&with(&load.left_out, &changed)).await?;
            loaded.count_uncounted(&self.tables, &uncounted);
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
        let (mut progress, begun) = self.begin_load(options, &mut load, &mut loaded, all_go_on, told).await?;
        *lives = progress.let_in_lives();
        if begun.is_none() {
            // What an earlier load has left at some node is not to be taken for this one's.
            progress.begin(self).await?;
        }
        loaded.resumed = begun.is_some();
        let deferred = self.walk_all(&load, begun, &mut progress, &mut loaded, told).await?;
        // Also if another load has let somebody in.
        if !absent.is_empty() || !progress.let_in.is_empty() {
            loaded.numbered = self.count_on().await;
        }
        let (handed, left) = self.give_up(&load, deferred, &mut progress).await?;
        let let_in: BTreeSet<NodeId> = absent.iter().chain(&progress.let_in).copied().collect();
        let unfinished = progress.end(self).await?;
        let done = let_in.iter().filter(|node| !unfinished.contains(node));
        loaded.rejoined = done.map(|node| self.names[node.index()].clone()).collect();
        self.keep_filters(false).await?;
        // What was copied is in no history that would tell that rows which wait may depend on it.
        self.schedule = Schedule::default();
        let last = self.carry().await?;
        loaded.sync.extend(last);
        left.into_iter().for_each(|why| add_failure(&mut loaded.sync.failed, why));
        self.count_handed(handed, &mut loaded).await?;
        self.tell_who_is_out(unfinished, stood_still, &mut loaded);
        Ok(loaded)
    }

    /// What there is to be done, and by whom, unless it may not be.
    async fn look_round(&mut self, options: &LoadOptions) -> Result<Load> {
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
        Ok(Load { left_out, unfinished, ..self.plan_load(options, prefer)? })
    }

    /// The report of a load that has done nothing yet, and lets in who is `absent`. What compared tables have lost there nobody brings back.
    fn announce(&self, options: &LoadOptions, load: &Load, absent: &[NodeId]) -> Loaded {
        let mut compared = if options.tables.is_empty() { self.compared_names() } else { Vec::new() };
        for (table, source) in self.followers(absent) {
            compared.retain(|name| *name != table.name);
            warn!(
                table = %table.name,
                "The table is kept in step by comparison and comes from {source} alone, which is to take part again: what {source} has lost of \
                 it is deleted or replaced at the other nodes by the next sync after that, and no journal keeps it. Bring it back at \
                 {source} before."
            );
        }
        let mut loaded = Loaded { dry_run: options.dry_run, compared, ..Loaded::default() };
        for table in load.legs.iter().map(|leg| &self.tables[leg.table]) {
            if !loaded.tables.iter().any(|known| known.table == table.name) {
                let rule = load.rule(self, table.index).map(|rule| rule.told(table, &self.names));
                loaded.tables.push(LoadedTable { table: table.name.clone(), rule, ..LoadedTable::default() });
            }
        }
        loaded
    }

    /// Lets in who has to be let in. Where a load that was broken off is gone on with, the leg that it had come to, and the key.
    async fn begin_load(
        &mut self,
        options: &LoadOptions,
        load: &mut Load,
        loaded: &mut Loaded,
        all_go_on: bool,
        told: &mut (dyn FnMut(&Stage) + Send),
    ) -> Result<(Progress, Option<(usize, Option<Key>)>)> {
        let mut changed = self.changed_meanwhile(&load.unfinished, &load.left_out).await?;
        let mut let_in = self.asked_to_let_in(load, &changed).await?;
        let mut progress = Progress::new(self, options, all_go_on).await?;
        let begun = match let_in.is_empty() && !options.restart {
            true => progress.find(self, &load.legs).await?,
            false => None,
        };
        if begun.is_none() {
            self.refuse_undecided(load, told).await?;
            // That may have taken long. It is asked once more only: what is changed later still is changed while rows are copied.
            let known = changed.len();
            for node in self.changed_meanwhile(&load.unfinished, &load.left_out).await? {
                if !changed.contains(&node) {
                    changed.push(node);
                }
            }
            if changed.len() > known {
                let_in = self.asked_to_let_in(load, &changed).await?;
                self.refuse_undecided(load, told).await?;
            }
        }
        if !let_in.is_empty() {
            let uncounted = self.uncounted(&let_in).await?;
            self.journal_uncounted(&uncounted).await?;
            loaded.count_uncounted(&self.tables, &uncounted);
            self.rejoin(&let_in, &changed).await?;
            progress = Progress::new(self, options, all_go_on).await?;
        }
        load.let_in.clone_from(&progress.let_in);
        Ok((progress, begun))
    }

    /// Goes through all legs, from where an earlier load has come to, and tries what could not be written once more. What is left of that.
    async fn walk_all(
        &mut self,
        load: &Load,
        begun: Option<(usize, Option<Key>)>,
        progress: &mut Progress,
        loaded: &mut Loaded,
        told: &mut (dyn FnMut(&Stage) + Send),
    ) -> Result<Vec<Deferred>> {
        let (first, mut after) = begun.unwrap_or((0, None));
        self.begin_comparing(load, first, after.as_ref());
        let mut deferred = Vec::new();
        let mut empty: Vec<NodeId> = Vec::new();
        for (at, &leg) in load.legs.iter().enumerate().skip(first) {
            let first_of_table = at.checked_sub(1).is_none_or(|before| load.legs[before].table != leg.table);
            if first_of_table {
                empty = self.empty_at(leg.table).await?;
            }
            if !empty.contains(&leg.walker) {
                self.walk_leg(load, leg, after.take(), &empty, progress, &mut deferred, loaded, told).await?;
            }
            self.has_walked(leg);
            let last_of_table = load.legs.get(at + 1).is_none_or(|next| next.table != leg.table);
            if last_of_table {
                self.try_again(load, &mut deferred, loaded).await?;
            }
        }
        self.try_again(load, &mut deferred, loaded).await?;
        for _ in 0..LOOKS {
            if deferred.iter().any(|row| row.held.is_some()) {
                deferred = self.try_once(load, deferred, false, loaded).await?;
            }
        }
        self.uncompared.clear();
        // Once more, and what is still refused loses to what waits: it is in the journal before that is told to anybody.
        if load.hands_over(&deferred) {
            deferred = self.try_once(load, deferred, true, loaded).await?;
        }
        Ok(deferred)
    }

    /// Notes what is still to be compared of the nodes that are let in, where the load begins at this leg, behind this key.
    fn begin_comparing(&mut self, load: &Load, first: usize, after: Option<&Key>) {
        if load.let_in.is_empty() {
            return;
        }
        for leg in &load.legs[first..] {
            self.uncompared.entry(leg.table).or_default().let_in.clone_from(&load.let_in);
        }
        load.legs[..first].iter().for_each(|leg| self.has_walked(*leg));
        if let (Some(leg), Some(after)) = (load.legs.get(first), after) {
            self.has_reached(*leg, after);
        }
    }

    /// Notes that a table was gone through at a node.
    fn has_walked(&mut self, leg: Leg) {
        if let Some(uncompared) = self.uncompared.get_mut(&leg.table) {
            uncompared.walked.push(leg.walker);
            uncompared.reached = None;
        }
    }

    /// Notes that it was gone through as far as this key.
    fn has_reached(&mut self, leg: Leg, key: &Key) {
        if let Some(uncompared) = self.uncompared.get_mut(&leg.table) {
            uncompared.reached = Some((leg.walker, key.clone()));
        }
    }

    /// Notes which keys were put off.
    fn has_left<'a>(&mut self, leg: Leg, again: impl Iterator<Item = &'a Key>, deferred: &[Deferred]) {
        if let Some(uncompared) = self.uncompared.get_mut(&leg.table) {
            let deferred = deferred.iter().filter(|row| row.table == leg.table).map(|row| row.key.clone());
            uncompared.left = again.cloned().chain(deferred).collect();
        }
    }

    /// Hands over to the sync what could not be written, and gives back what that was. Fails if users hold any of it: no history tells of
    /// that, and as a change of who holds it it might win over what users are about to do. So might the rows of a table that stands
    /// still over what users do until it goes on; these stay, as do those that nobody can decide, and those at which the table would
    /// come to stand still, unless a node is let in: what it has kept of them would pass for what the others have. The second is what is
    /// to be told of them.
    async fn give_up(
        &mut self,
        load: &Load,
        deferred: Vec<Deferred>,
        progress: &mut Progress,
    ) -> Result<(HashSet<(usize, Key)>, Vec<String>)> {
        let hands_over = load.hands_over(&deferred);
        let (held, refused): (Vec<Deferred>, Vec<Deferred>) = deferred.into_iter().partition(|row| row.held.is_some());
        let stays = |row: &Deferred| {
            self.tables[row.table].stands_still()
                || match row.stays {
                    Some(Stays::Fails(_)) => load.let_in.is_empty(),
                    Some(Stays::Undecidable(_) | Stays::Unlooked) => true,
                    None => false,
                }
        };
        let (left, refused): (Vec<Deferred>, Vec<Deferred>) = refused.into_iter().partition(stays);
        if left.iter().any(|row| matches!(row.stays, Some(Stays::Unlooked))) {
            progress.leave_out();
        }
        let left = self.told_as_left(&left);
        let handed = if hands_over { self.hand_over(load, refused).await? } else { HashSet::new() };
        match held.first().and_then(|row| Some((row, row.held.as_ref()?))) {
            Some((row, (node, why))) => Err(self.held_up(load, *node, row.table, held.len(), why)),
            None => Ok((handed, left)),
        }
    }

    /// Adds to the report who is still left out, and which tables stand still.
    fn tell_who_is_out(&self, unfinished: Vec<NodeId>, stood_still: Vec<String>, loaded: &mut Loaded) {
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

    /// Fails unless all nodes are there, or are among those that are let back in.
    pub(super) fn everybody_but(&self, absent: &[NodeId]) -> Result<()> {
        let missing =
            |member: &&Member| member.node.is_none() || (member.away.is_some() && !absent.contains(&member.id));
        match self.members.iter().find(missing) {
            None => Ok(()),
            Some(member) if member.away.is_some() => Err(self.unreachable()),
            Some(member) => Err(Error::Unreachable(vec![format!("node `{}`: it is not connected", member.name)])),
        }
    }

    /// Why a table cannot be read: it stands still since a moment ago, or its node is away.
    fn not_there(&self, table: usize) -> Error {
        let table = &self.tables[table];
        match &table.stopped {
            Some(why) => Error::Stopped(format!("table `{}` stands still: {why}", table.name)),
            None => self.unreachable(),
        }
    }

    /// What the clocks of all nodes show.
    async fn clocks(&mut self) -> Result<Vec<Option<i64>>> {
        let opened = self.look().await?;
        self.close().await;
        Ok(opened.present.iter().map(|presence| Some(presence.as_ref()?.clock.shown)).collect())
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
}

/// These nodes and those, each once, in the order of the file.
fn with(nodes: &[NodeId], others: &[(NodeId, String)]) -> Vec<NodeId> {
    let all: BTreeSet<NodeId> = nodes.iter().copied().chain(others.iter().map(|(node, _)| *node)).collect();
    all.into_iter().collect()
}
