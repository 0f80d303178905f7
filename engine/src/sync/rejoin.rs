//! Letting nodes take part that were left out: put back from a backup, replaced, or come late to histories of which much
//! is purged.
//!
//! Such a node begins a new life. Its own history is emptied, since its numbers may mean other changes elsewhere, and it
//! stands at the present end of the others' histories. What it lacks, and what it holds that others lack, is found by
//! comparing rows, which is what a load does next.

use tracing::info;

use super::session::Session;
use crate::error::{Error, Result};
use crate::fault;
use crate::model::{Cut, NodeId};

impl Session {
    /// The nodes that are left out because of what the service tables say against each other.
    pub(super) async fn left_out(&mut self) -> Result<Vec<NodeId>> {
        self.open().await?;
        self.close().await;
        Ok(self.members.iter().filter(|member| member.restored.is_some()).map(|member| member.id).collect())
    }

    /// Lets these nodes take part again.
    ///
    /// The node itself goes first: while others still remember its former life they accuse it, so that whoever breaks off
    /// here leaves it where it was. Rows that are read from now on hold everything before the positions it begins with.
    pub(super) async fn rejoin(&mut self, nodes: &[NodeId]) -> Result<()> {
        for &at in nodes {
            let positions = self.present_cuts(at).await?;
            let name = self.names[at.index()].clone();
            info!(node = %name, "A node begins a new life.");
            let member = &mut self.members[at.index()];
            let Some(node) = member.node.as_deref_mut() else { return Err(self.unreachable()) };
            node.renew(&positions).await.map_err(Error::at(&member.name, "giving it a new identity"))?;
            fault::point("rejoin-renewed").await?;
            for member in self.members.iter_mut().filter(|member| member.id != at) {
                let Some(node) = member.node.as_deref_mut() else { continue };
                node.forget(&name).await.map_err(Error::at(&member.name, format!("forgetting `{name}`")))?;
                fault::point("rejoin-forgotten").await?;
            }
        }
        match self.left_out().await?.is_empty() {
            true => Ok(()),
            false => Err(self.unreachable()),
        }
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
