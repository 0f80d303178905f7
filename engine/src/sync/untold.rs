//! What the journals keep and nobody can tell: conflicts of nodes or tables that left the file.

use super::session::Session;
use crate::node;

impl Session {
    /// How many entries of the journals are of nodes or tables that are not in the file. Unknown while a table stands still: of its
    /// entries nobody could say that they are not among these.
    pub async fn untold_conflicts(&mut self) -> Option<u64> {
        if !self.stopped().is_empty() {
            return None;
        }
        let mut untold = 0;
        for member in &mut self.members {
            let specs = Session::specs(&self.tables, member.id);
            let Some(node) = member.node.as_deref_mut() else { continue };
            let counted = async {
                // In this order: what is new between the two is told as well.
                let all = node.journal_size().await?;
                Ok::<_, node::Error>(all.saturating_sub(node.journalled(&specs).await?))
            };
            match counted.await {
                Ok(left) => untold += left,
                Err(error) => member.leave(&error.while_doing("counting the journal")),
            }
        }
        Some(untold)
    }
}
