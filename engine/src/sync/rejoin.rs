//! Letting nodes take part that were left out: put back from a backup, replaced, or come late to histories of which much
//! is purged.
//!
//! Such a node begins a new life. Its own history is emptied, since its numbers may mean other changes elsewhere, and it
//! stands in the others' histories where all who stay have come. What it lacks, and what it holds that others lack, is found by
//! comparing rows, which is what a load does next.
//!
//! Another load may do the same at the same time, and be ahead: what users have done to a node since it takes part again must
//! not be forgotten once more. So each step is taken only where everything still stands as it was when the node was
//! accused. A new life names the one it follows until all rows are compared. Where that was broken off the next load goes on with it.
//! If users have changed anything there meanwhile it begins one more: what they have made of rows that are older than any history tells
//! is compared like any other row.

use std::collections::{BTreeSet, HashSet};

use serde::{Deserialize, Serialize};
use tracing::info;

use super::opened::Opened;
use super::read;
use super::restored::Restored;
use super::session::{Session, Summary};
use crate::config::Mode;
use crate::error::{Error, Result};
use crate::fault;
use crate::model::{Cut, NodeId, ParkedCode};

/// How often the nodes are looked at anew because another engine lets nodes in as well.
const ATTEMPTS: u32 = 8;

/// How many entries are looked through for changes of users. Beyond, there are taken to be some.
const ENTRIES: usize = 10_000;

/// Why a node is left out that was let in.
pub(super) const UNFINISHED: &str =
    "it was let in again, and its rows are not yet compared to the end; `concord load` does that, or is at it";

/// What a node remembers from the beginning of a new life until a load has gone through all rows.
#[derive(Serialize, Deserialize)]
pub(super) struct Renewed {
    /// The installation that was there before; the one that is there, where a reset has noted that the node is to be let in.
    pub follows: String,
}

impl Renewed {
    /// What is remembered in a node's progress of a load, if it is that.
    pub fn read(progress: &str) -> Option<Renewed> {
        serde_json::from_str(progress).ok()
    }

    /// As it is remembered where no load has come any further.
    pub fn text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|why| Error::Internal(format!("writing JSON: {why}")))
    }
}

/// The life of a node before it was looked at whether others accuse it.
struct Life {
    installation: String,
    follows: Option<String>,
}

impl Session {
    /// The nodes that are left out because of what the service tables say against each other.
    pub(super) async fn left_out(&mut self) -> Result<Vec<NodeId>> {
        self.open().await?;
        self.close().await;
        Ok(self.members.iter().filter(|member| member.restored.is_some()).map(|member| member.id).collect())
    }

    /// Which nodes were let in by a load that has not come to its end, each with its installation.
    pub(super) async fn unfinished(&mut self) -> Result<Vec<(NodeId, String)>> {
        let mut unfinished = Vec::new();
        for at in (0..self.members.len()).map(|at| NodeId(at as u16)) {
            let life = self.life(at).await?;
            unfinished.extend(life.follows.map(|_| (at, life.installation)));
        }
        Ok(unfinished)
    }

    /// Those of the unfinished nodes at which users have made changes that not everybody has heard of. What a load has heard of while it
    /// was at work there is compared with the rest already. Whoever a reset has noted is among them in any case, as it is still to begin its
    /// new life. `left_out` are the nodes that others accuse.
    pub(super) async fn changed_meanwhile(
        &mut self,
        unfinished: &[(NodeId, String)],
        left_out: &[NodeId],
    ) -> Result<Vec<(NodeId, String)>> {
        let mut changed = Vec::new();
        if unfinished.is_empty() {
            return Ok(changed);
        }
        let opened = self.look().await?;
        if opened.present.iter().any(Option::is_none) {
            self.close().await;
            return Err(self.unreachable());
        }
        for (at, installation) in unfinished {
            if self.has_changed_rows(&opened, *at, left_out.contains(at)).await? {
                changed.push((*at, installation.clone()));
            }
        }
        self.close().await;
        for noted in unfinished.iter().filter(|node| !changed.contains(node)).cloned().collect::<Vec<_>>() {
            if self.life(noted.0).await?.follows.as_ref() == Some(&noted.1) {
                changed.push(noted);
            }
        }
        Ok(changed)
    }

    /// Of who `is_left_out` the others remember positions in the history of its former life, which may lie behind all that this one has
    /// given out. Its history was emptied when this life began, and nobody has heard of anything in it.
    async fn has_changed_rows(&mut self, opened: &Opened, at: NodeId, is_left_out: bool) -> Result<bool> {
        let member = &mut self.members[at.index()];
        let Some(node) = member.node.as_deref_mut() else { return Err(self.unreachable()) };
        for table in &self.tables {
            let (Some(heard), Some(spec)) = (read::start(table, at, opened), table.spec(at)) else { continue };
            let after = if is_left_out { Cut::START } else { heard };
            let read = node.entries(spec, &after, None, ENTRIES).await;
            let read = read.map_err(Error::at(&member.name, "reading the history"))?;
            if read.more || read.entries.iter().any(|entry| entry.arrival.is_none()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Carries what is on its way among the others. What users have made at these nodes of rows that are older than any history tells
    /// would be the latest to them.
    pub(super) async fn carry_without(&mut self, unfinished: &[NodeId]) -> Result<Summary> {
        self.set_apart(unfinished);
        let carried = self.carry().await?;
        self.take_back(unfinished).await?;
        Ok(carried)
    }

    /// Leaves these nodes out, as whoever does not load does.
    pub(super) fn set_apart(&mut self, unfinished: &[NodeId]) {
        if !unfinished.is_empty() {
            self.loads = false;
        }
        for node in unfinished {
            self.members[node.index()].leave_out(UNFINISHED.to_owned());
        }
    }

    /// Lets nodes be loaded that were set apart.
    pub(super) async fn take_back(&mut self, unfinished: &[NodeId]) -> Result<()> {
        if unfinished.is_empty() {
            return Ok(());
        }
        self.loads = true;
        for node in unfinished {
            self.members[node.index()].let_back();
        }
        self.prepare().await?;
        let is_there = |node: &NodeId| self.members[node.index()].node.is_some();
        if unfinished.iter().all(is_there) { Ok(()) } else { Err(self.unreachable()) }
    }

    /// Fails if anything waits at the nodes that stay.
    pub(super) async fn nothing_waits(&mut self, let_in: &[NodeId]) -> Result<()> {
        let opened = self.look().await?;
        self.close().await;
        self.everybody_but(let_in)?;
        self.refuse_waiting(&opened, let_in)
    }

    /// Who begins where all others have come counts as having seen all that they have. Where that waits at others, whatever stands at
    /// this node, or that nothing does, would pass for what has come of it: whoever lets a row wait has passed its change.
    fn refuse_waiting(&self, opened: &Opened, let_in: &[NodeId]) -> Result<()> {
        let (mut waiting, mut places, mut passes, mut is_unknown) = (Vec::new(), BTreeSet::new(), true, false);
        for table in self.tables.iter().filter(|table| !table.compared) {
            let mut keys = HashSet::new();
            for (node, presence) in opened.nodes().filter(|(node, _)| !let_in.contains(node)) {
                for (key, parked) in &presence.parked[table.index] {
                    passes &= parked.code.is_passing();
                    // A row may stand nowhere but at a node that is let in, so that it is not given up where it waits.
                    is_unknown |= table.may_lack_it(node)
                        || matches!(parked.code, ParkedCode::Filter | ParkedCode::Unreadable | ParkedCode::Unheard);
                    keys.insert(key);
                    places.insert(node);
                }
            }
            match keys.len() {
                0 => {}
                1 => waiting.push(format!("1 row of `{}`", table.name)),
                rows => waiting.push(format!("{rows} rows of `{}`", table.name)),
            }
        }
        let Some(first) = let_in.first().filter(|_| !waiting.is_empty()) else { return Ok(()) };
        let places: Vec<String> = places.iter().map(|node| format!("`{}`", self.names[node.index()])).collect();
        let what = format!(
            "node `{}` has to be let in again, and for that nothing may wait at other nodes: {} at {}",
            self.names[first.index()],
            waiting.join(", "),
            places.join(", "),
        );
        Err(match passes {
            true => Error::Unreachable(vec![format!(
                "{what}, as users hold them or change them all the time\n    run `concord load` again when that is over"
            )]),
            false => Error::Refused(vec![format!(
                "{what}; see `concord parked list`, decide with `concord parked retry`, `concord parked drop` or `concord conflicts resolve`, \
                 and run `concord load` again{}",
                // Nobody tells what it waits for as long as the node is out.
                match is_unknown {
                    true =>
                        "\n    if a row waits for what only a node that is left out knows or has: `concord reset`, which forgets all that \
                         waits, then `concord load`, usually with --prefer, which compares all rows as they stand",
                    false => "",
                }
            )]),
        })
    }

    /// Fails if a node that stays keeps a history of a table that is not one of this file's: whoever begins anew does so in that as well,
    /// and nobody would compare its rows. What only those keep who are let in, nobody carries.
    pub(super) async fn lists_all_histories(&mut self, let_in: &[NodeId]) -> Result<()> {
        let Some(first) = let_in.first() else { return Ok(()) };
        let has_history =
            |name: &String| self.config.tables.iter().any(|table| table.name == *name && table.mode != Mode::Compare);
        for member in self.members.iter_mut().filter(|member| !let_in.contains(&member.id)) {
            let Some(node) = member.node.as_deref_mut() else { continue };
            let service = node.service().await.map_err(Error::at(&member.name, "reading the service tables"))?;
            let mut installed = service.iter().flat_map(|service| &service.tables).map(|(name, _)| name);
            if let Some(table) = installed.find(|&name| !has_history(name)) {
                return Err(Error::Refused(vec![format!(
                    "node `{}` has to be let in again, and for that all tables that keep histories are compared; `{}` keeps one of `{table}`, \
                     which is no such table of this file; run `concord install`, or use the file that lists it",
                    self.names[first.index()],
                    member.name,
                )]));
            }
        }
        Ok(())
    }

    /// Lets these nodes take part again. Those that were let in before and have `changed` begin anew: what users did there was made of
    /// rows that nobody had compared, so it is compared with all others.
    pub(super) async fn rejoin(&mut self, nodes: &[NodeId], changed: &[(NodeId, String)]) -> Result<()> {
        for (at, installation) in changed {
            self.all_go_on(*at)?;
            let life = self.life(*at).await?;
            // Another load may have come to its end meanwhile, or let it in as well.
            if life.follows.is_some() && life.installation == *installation {
                self.renew(*at, installation, nodes).await?;
            }
        }
        for _ in 0..ATTEMPTS {
            let mut lives = Vec::with_capacity(nodes.len());
            for &at in nodes {
                lives.push(self.life(at).await?);
            }
            let left_out = self.left_out().await?;
            if left_out.is_empty() {
                return Ok(());
            }
            for at in left_out {
                self.all_go_on(at)?;
                let Some(place) = nodes.iter().position(|node| *node == at) else { return Err(self.unreachable()) };
                self.let_in(at, &lives[place], nodes).await?;
            }
        }
        Err(Error::Stopped(
            "another engine lets nodes in at the same time; run `concord load` again when it has ended".to_owned(),
        ))
    }

    /// Fails if a table stands still, in which nobody could tell what a node lacks that is let in.
    pub(super) fn all_go_on(&self, at: NodeId) -> Result<()> {
        let mut tables = self.tables.iter().filter(|table| !table.compared);
        let Some((table, why)) = tables.find_map(|table| Some((table, table.stopped.as_ref()?))) else { return Ok(()) };
        // A load of that table alone would be refused as well.
        let why = match &table.filtered_otherwise {
            Some(why) => why.replace(&format!(" --table {}", table.name), "") + " for all tables",
            None => why.clone(),
        };
        Err(Error::Refused(vec![format!(
            "node `{}` has to be let in again, and for that all its tables are compared; table `{}` stands still: {why}",
            self.names[at.index()],
            table.name,
        )]))
    }

    /// Which life a node has, and whether others may still have to forget the one before.
    async fn life(&mut self, at: NodeId) -> Result<Life> {
        let member = &mut self.members[at.index()];
        let Some(node) = member.node.as_deref_mut() else { return Err(self.unreachable()) };
        let doing = || Error::at(&member.name, "reading the service tables");
        // In this order: where this life is there and says no more what it follows, others know of it.
        let installation = node.service().await.map_err(doing())?.map(|service| service.uuid).unwrap_or_default();
        let progress = node.progress().await.map_err(doing())?;
        let renewed = progress.as_deref().and_then(Renewed::read);
        Ok(Life { installation, follows: renewed.map(|renewed| renewed.follows) })
    }

    /// Takes the steps by which a node comes to take part, as far as nobody else takes them.
    ///
    /// The node itself goes first: while others still remember its former life they accuse it, so that whoever breaks off
    /// here leaves it where it was. Rows that are read from now on hold everything before the positions it begins with.
    async fn let_in(&mut self, at: NodeId, life: &Life, let_in: &[NodeId]) -> Result<()> {
        let Some(restored) = self.members[at.index()].restored.clone() else { return Ok(()) };
        let Restored { installation, former, positions: seen, .. } = restored;
        let is_renewed = life.follows.is_some() && former == life.follows;
        if !is_renewed && (installation != life.installation || !self.renew(at, &installation, let_in).await?) {
            return Ok(());
        }
        let name = self.names[at.index()].clone();
        for member in self.members.iter_mut().filter(|member| member.id != at) {
            let Some(node) = member.node.as_deref_mut() else { continue };
            let stood = seen.iter().filter(|(target, ..)| *target == member.id);
            let stood: Vec<(String, Cut)> = stood.map(|(_, table, cut)| (table.clone(), cut.clone())).collect();
            node.forget(&name, &stood).await.map_err(Error::at(&member.name, format!("forgetting `{name}`")))?;
            fault::point("rejoin-forgotten").await?;
        }
        Ok(())
    }

    /// Gives a node a new life, unless its installation is another by now.
    async fn renew(&mut self, at: NodeId, installation: &str, let_in: &[NodeId]) -> Result<bool> {
        let positions = self.passed_by_others(at, let_in).await?;
        let member = &mut self.members[at.index()];
        let Some(node) = member.node.as_deref_mut() else { return Err(self.unreachable()) };
        let renewed = Renewed { follows: installation.to_owned() }.text()?;
        fault::point("rejoin-renew").await?;
        let done = node.renew(installation, &positions, &renewed).await;
        if !done.map_err(Error::at(&member.name, "giving it a new identity"))? {
            return Ok(false);
        }
        info!(node = %member.name, "A node begins a new life.");
        fault::point("rejoin-renewed").await?;
        Ok(true)
    }

    /// Up to where everybody who stays has applied every history that a node takes in. Whatever comes to wait later, at whomever, comes
    /// of a change behind that, which the node then has not seen either.
    async fn passed_by_others(&mut self, target: NodeId, let_in: &[NodeId]) -> Result<Vec<(String, String, Cut)>> {
        let opened = self.look().await?;
        if let Err(why) = self.everybody_but(let_in).and_then(|()| self.refuse_waiting(&opened, let_in)) {
            self.close().await;
            return Err(why);
        }
        let mut cuts = Vec::new();
        for member in self.members.iter_mut().filter(|member| member.id != target) {
            let Some(node) = member.node.as_deref_mut() else { continue };
            let source = member.id;
            for table in self.tables.iter().filter(|table| table.is_source(source) && table.is_target(target)) {
                let Some(spec) = table.spec(source).filter(|_| table.spec(target).is_some()) else { continue };
                let read = node.entries(spec, &Cut::START, None, 0).await;
                let read = read.map_err(Error::at(&member.name, "reading the history"))?;
                let stay =
                    opened.nodes().map(|(node, _)| node).filter(|node| *node != source && !let_in.contains(node));
                let stay = stay.filter(|&node| table.is_target(node) && table.spec(node).is_some());
                let passed = stay.fold(read.whole, |cut, node| cut.meet(opened.position(table.index, node, source)));
                cuts.push((table.name.clone(), self.names[source.index()].clone(), passed));
            }
        }
        self.close().await;
        Ok(cuts)
    }
}
