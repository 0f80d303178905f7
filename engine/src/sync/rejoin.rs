//! Letting nodes take part that were left out: put back from a backup, replaced, or come late to histories of which much
//! is purged.
//!
//! Such a node begins a new life. Its own history is emptied, since its numbers may mean other changes elsewhere, and it
//! stands at the present end of the others' histories. What it lacks, and what it holds that others lack, is found by
//! comparing rows, which is what a load does next.
//!
//! Another load may do the same at the same time, and be ahead: what users have done to a node since it takes part again must
//! not be forgotten once more. So each step is taken only where everything still stands as it was when the node was
//! accused. A new life names the one it follows for as long as others may still have to forget that one.

use serde::{Deserialize, Serialize};
use tracing::info;

use super::restored::Restored;
use super::session::Session;
use crate::error::{Error, Result};
use crate::fault;
use crate::model::{Cut, NodeId};

/// How often the nodes are looked at anew because another engine lets nodes in as well.
const ATTEMPTS: u32 = 8;

/// Why a node is left out that was let in.
pub(super) const UNFINISHED: &str =
    "it was let in again, and its rows are not yet compared to the end; `concord load` does that, or is at it";

/// What a node remembers from the beginning of a new life until a load has gone through all rows.
#[derive(Serialize, Deserialize)]
pub(super) struct Renewed {
    /// The installation that was there before.
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

    /// Lets these nodes take part again.
    pub(super) async fn rejoin(&mut self, nodes: &[NodeId]) -> Result<()> {
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
                self.let_in(at, &lives[place]).await?;
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
    async fn let_in(&mut self, at: NodeId, life: &Life) -> Result<()> {
        let Some(restored) = self.members[at.index()].restored.clone() else { return Ok(()) };
        let Restored { installation, former, positions: seen, .. } = restored;
        if life.follows.is_none() || former != life.follows {
            if installation != life.installation {
                return Ok(());
            }
            let positions = self.present_cuts(at).await?;
            let member = &mut self.members[at.index()];
            let Some(node) = member.node.as_deref_mut() else { return Err(self.unreachable()) };
            let renewed = Renewed { follows: installation.clone() }.text()?;
            fault::point("rejoin-renew").await?;
            let done = node.renew(&installation, &positions, &renewed).await;
            if !done.map_err(Error::at(&member.name, "giving it a new identity"))? {
                return Ok(());
            }
            info!(node = %member.name, "A node begins a new life.");
            fault::point("rejoin-renewed").await?;
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

    /// The present end of every history that a node takes in.
    async fn present_cuts(&mut self, target: NodeId) -> Result<Vec<(String, String, Cut)>> {
        self.look().await?;
        let mut cuts = Vec::new();
        for member in self.members.iter_mut().filter(|member| member.id != target) {
            let Some(node) = member.node.as_deref_mut() else { continue };
            for table in self.tables.iter().filter(|table| table.is_source(member.id) && table.is_target(target)) {
                let Some(spec) = table.spec(member.id).filter(|_| table.spec(target).is_some()) else { continue };
                let read = node.entries(spec, &Cut::START, None, 0).await;
                let read = read.map_err(Error::at(&member.name, "reading the history"))?;
                cuts.push((table.name.clone(), self.names[member.id.index()].clone(), read.whole));
            }
        }
        self.close().await;
        Ok(cuts)
    }
}
