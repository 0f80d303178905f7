//! Setting up, resetting and removing the service tables.

use std::sync::Arc;

use serde::Serialize;
use tracing::warn;

use super::attendance::{self, Away, Member};
use super::brought;
use super::kept_shape;
use super::load;
use super::session::Session;
use crate::error::{Error, Result};
use crate::fault;
use crate::node::{self, Service};

/// What a reset has done at a node.
const CLEARED: &str = "history, positions and waiting rows cleared";

/// What was done at one node.
#[derive(Clone, Debug, Serialize)]
pub struct NodeLines {
    pub node: String,
    /// Empty if nothing had to be done.
    pub done: Vec<String>,
}

impl Session {
    /// Creates or repairs the service tables and triggers at every node. Nothing is changed if anything is wrong anywhere.
    pub async fn install(&mut self) -> Result<(Vec<NodeLines>, Vec<String>)> {
        let checked = self.checked().await?;
        self.refuse_renamed().await?;
        if self.members.iter().any(|member| member.away.is_some()) {
            return Err(self.unreachable());
        }
        let warnings = self.look_at_histories().await?;
        let installed = match checked.installs {
            true => self.install_each(&checked.interleaved).await,
            false => self.remove_triggers().await,
        };
        // What is done at some nodes already is no news to the next install, so that nobody would ever tell.
        if installed.is_err() {
            warnings.iter().for_each(|warning| warn!(%warning, "The install was broken off after it had found this."));
        }
        Ok((installed?, [checked.warnings, checked.unrecorded, warnings].concat()))
    }

    async fn install_each(&mut self, interleaved: &[(usize, Vec<usize>)]) -> Result<Vec<NodeLines>> {
        let (name, nodes) = (self.config.name.clone(), self.names.clone());
        let mut lines = Vec::new();
        for member in &mut self.members {
            let mut specs = Session::specs(&self.tables, member.id);
            let sync = node::Sync { name: name.clone(), nodes: nodes.clone(), node: member.name.clone() };
            let Some(node) = member.node.as_deref_mut() else { continue };
            let service = node.service().await.map_err(Error::at(&member.name, "reading the service tables"))?;
            // Rows stay where another filter brought them, whatever is installed beside them.
            let mut marks = Vec::new();
            for spec in &mut specs {
                spec.shape = kept_shape::to_install(&self.tables[spec.index], spec, member.id);
                if let Some(kept) = service.as_ref().and_then(|service| service.shape(&spec.name)) {
                    let (before, mark) = (brought::marks(kept), brought::installed_beside(brought::marks(kept)));
                    spec.shape = brought::with_marks(&spec.shape, mark.clone());
                    if mark != before {
                        marks.push((spec.name.clone(), brought::with_marks(kept, mark)));
                    }
                }
            }
            let installing = async {
                fault::point("install-node").await?;
                // Of itself that is no other shape.
                if !marks.is_empty() {
                    node.keep_shapes(&marks).await?;
                }
                node.install(&sync, &specs).await
            };
            let done = installing.await.map_err(Error::at(&member.name, after("installing", &lines)))?;
            lines.push(NodeLines { node: member.name.clone(), done });
        }
        self.interleave(interleaved, &mut lines).await?;
        Ok(lines)
    }

    /// Where every table is compared there is nothing to install; what was before goes, but for the journal.
    async fn remove_triggers(&mut self) -> Result<Vec<NodeLines>> {
        let (name, nodes) = (self.config.name.clone(), self.names.clone());
        let mut lines = Vec::new();
        for member in &mut self.members {
            let Some(node) = member.node.as_deref_mut() else { continue };
            let service = node.service().await.map_err(Error::at(&member.name, "reading the service tables"))?;
            let mut done = Vec::new();
            if service.is_some_and(|service| service.sync == name && service.node == member.name) {
                let sync = node::Sync { name: name.clone(), nodes: nodes.clone(), node: member.name.clone() };
                done = node.install(&sync, &[]).await.map_err(Error::at(&member.name, "removing triggers"))?;
                let restored = node.restore_numbers(&[]).await;
                done.extend(restored.map_err(Error::at(&member.name, "restoring how keys are numbered"))?);
            }
            lines.push(NodeLines { node: member.name.clone(), done });
        }
        Ok(lines)
    }

    /// Removes every trace from every node.
    pub async fn uninstall(&mut self) -> Result<Vec<NodeLines>> {
        self.each_installed("uninstalling", async |member, node| removed(member, node).await).await
    }

    /// Removes every trace from one node and leaves the others as they are, whether they are there or not. The node's database may be
    /// a copy of another node's, which then has to be there.
    pub async fn uninstall_at(&mut self, name: &str) -> Result<Vec<NodeLines>> {
        let at = self.node_called(name)?.index();
        self.connect().await;
        let why = |away: &Away| vec![format!("node `{}`: {}", away.node, away.why)];
        match &self.members[at].away {
            Some(away) if away.unreachable => return Err(Error::Unreachable(why(away))),
            Some(away) => return Err(Error::Refused(why(away))),
            None => {}
        }
        let service = self.service_at(at).await?;
        let is_its_own = |service: &Service| service.sync == self.config.name && service.node == name;
        if let Some(service) = service.filter(|service| !is_its_own(service))
            && !self.is_copy(at, &service).await?
        {
            let why = attendance::foreign(&self.config.name, &self.names, name, &service);
            return Err(Error::Refused(vec![format!("node `{name}`: {why}")]));
        }
        let mut lines = Vec::new();
        if let Some(node) = self.members[at].node.as_deref_mut() {
            lines.push(removed(name.to_owned(), node).await.map_err(Error::at(name, "uninstalling"))?);
        }
        Ok(lines)
    }

    /// Whether a database that is installed as another node of this sync is not that node's: this one is there, another database,
    /// and installed as what it is.
    async fn is_copy(&mut self, at: usize, service: &Service) -> Result<bool> {
        let original = self.names.iter().position(|name| *name == service.node);
        let Some(original) = original.filter(|_| service.sync == self.config.name) else { return Ok(false) };
        if let Some(away) = &self.members[original].away {
            return Err(Error::Refused(vec![format!(
                "node `{}`: it is installed as node `{}`, and whether it is a copy of that node's database cannot be told while that \
                 one is not there: {}",
                self.names[at], away.node, away.why
            )]));
        }
        let known = self.service_at(original).await?;
        let is_itself = known.is_some_and(|known| known.sync == service.sync && known.node == service.node);
        Ok(is_itself && self.identity(at).await? != self.identity(original).await?)
    }

    async fn service_at(&mut self, at: usize) -> Result<Option<Service>> {
        let Member { name, node, .. } = &mut self.members[at];
        let Some(node) = node.as_deref_mut() else { return Ok(None) };
        node.service().await.map_err(Error::at(name, "reading the service tables"))
    }

    /// What tells a node's database from others.
    async fn identity(&mut self, at: usize) -> Result<Option<String>> {
        let Member { name, node, .. } = &mut self.members[at];
        let Some(node) = node.as_deref_mut() else { return Ok(None) };
        let probe = node.probe().await.map_err(Error::at(name, "asking for the server's version"))?;
        Ok(Some(probe.identity))
    }

    /// Empties the histories and forgets all positions at every node, and makes the triggers anew.
    /// Nothing is emptied if the triggers could not be made. Returns the warnings of [`Session::install`] as well.
    pub async fn reset(&mut self) -> Result<(Vec<NodeLines>, Vec<String>)> {
        self.needs_histories()?;
        self.checked().await?;
        let unknown = self.begin_reset().await?;
        let done = self.reset_each().await;
        // The next reset may not look again.
        if done.is_err() {
            unknown.iter().for_each(|warning| warn!(%warning, "The reset was broken off after it had found this."));
        }
        let (nodes, warnings) = done?;
        Ok((nodes, [unknown, warnings].concat()))
    }

    async fn reset_each(&mut self) -> Result<(Vec<NodeLines>, Vec<String>)> {
        self.each_installed("resetting", async |member, node| {
            let before = load::is_being_emptied(node).await?;
            // Another load may have gone on meanwhile.
            load::begin_reset(node, false, true).await?;
            let emptied = node.reset().await;
            // All or nothing is emptied, and only of a connection that broke it is not known which. Where this fails too, the next reset
            // looks at nobody.
            if emptied.as_ref().is_err_and(|error| !before && !error.is_absence()) {
                let _ = load::begin_reset(node, false, false).await;
            }
            emptied?;
            Ok(NodeLines { node: member, done: vec![CLEARED.to_owned()] })
        })
        .await?;
        let left_out = load::end_reset(self).await?;
        let left_out: Vec<String> = left_out.iter().map(|node| self.names[node.index()].clone()).collect();
        let (mut nodes, warnings) = self.install().await?;
        for lines in &mut nodes {
            lines.done.insert(0, CLEARED.to_owned());
            if left_out.contains(&lines.node) {
                lines.done.insert(1, "left out until `concord load` has compared all its rows".to_owned());
            }
        }
        Ok((nodes, warnings))
    }

    /// Notes at every node that all are being reset, and first at those that others accuse that they are to be let in: afterwards nobody
    /// knows enough to accuse them. A reset that was broken off once it emptied nodes has noted that, and made nodes accuse each other that
    /// are in order. Returns what is to be told of nodes that could not be looked at.
    async fn begin_reset(&mut self) -> Result<Vec<String>> {
        let doing = "noting that it is being reset";
        let (mut is_installed, mut emptying) = (false, Vec::new());
        for at in 0..self.members.len() {
            let is_its_own = self.is_its_own(at).await?;
            let member = &mut self.members[at];
            let Some(node) = member.node.as_deref_mut().filter(|_| is_its_own) else { continue };
            is_installed = true;
            if load::is_being_emptied(node).await.map_err(Error::at(&member.name, doing))? {
                emptying.push(at);
            }
        }
        let looks = is_installed && emptying.is_empty();
        let (accused, unknown) = if looks { self.accused().await? } else { (Vec::new(), Vec::new()) };
        let others = (0..self.members.len()).filter(|at| !accused.contains(at));
        for at in accused.iter().copied().chain(others) {
            let is_its_own = self.is_its_own(at).await?;
            let member = &mut self.members[at];
            let Some(node) = member.node.as_deref_mut().filter(|_| is_its_own) else { continue };
            let noted = load::begin_reset(node, accused.contains(&at), emptying.contains(&at)).await;
            noted.map_err(Error::at(&member.name, doing))?;
        }
        Ok(unknown)
    }

    /// The nodes that others accuse, and what is to be told of those that could not be looked at. That is no reason not to reset them, unless
    /// they may be looked at later.
    async fn accused(&mut self) -> Result<(Vec<usize>, Vec<String>)> {
        let mut other = Session::with_connector(self.config.clone(), Arc::clone(&self.connector));
        other.plugins = std::mem::take(&mut self.plugins);
        // Also among those that were let in and not compared to the end.
        other.loads = true;
        // The account may be allowed no more connections than these.
        for (lent, member) in other.members.iter_mut().zip(&mut self.members) {
            lent.node = member.node.take();
        }
        let looked = Box::pin(async {
            other.prepare().await?;
            other.left_out().await
        });
        let looked = looked.await;
        // Where that failed snapshots may still be open.
        other.close().await;
        self.plugins = std::mem::take(&mut other.plugins);
        for (member, lent) in self.members.iter_mut().zip(&mut other.members) {
            member.node = lent.node.take();
        }
        if other.members.iter().any(|member| member.away.as_ref().is_some_and(|away| away.unreachable)) {
            return Err(other.unreachable());
        }
        // Who was left out there has lost the connection.
        self.connect().await;
        if self.members.iter().any(|member| member.away.is_some()) {
            return Err(self.unreachable());
        }
        let passed_over = other.members.iter().filter(|member| member.restored.is_none());
        let passed_over = passed_over.filter_map(|member| member.away.as_ref());
        let mut unknown: Vec<String> = passed_over.map(|away| format!("node `{}`: {}", away.node, away.why)).collect();
        let still = other.tables.iter().filter_map(|table| Some((&table.name, table.stopped.as_ref()?)));
        unknown.extend(still.map(|(name, why)| format!("table `{name}` stands still: {why}")));
        let accused = match looked {
            Ok(nodes) => nodes.iter().map(|node| node.index()).collect(),
            Err(why) => {
                if unknown.is_empty() {
                    unknown.push(why.to_string());
                }
                Vec::new()
            }
        };
        if unknown.is_empty() {
            return Ok((accused, Vec::new()));
        }
        let warning = format!(
            "whether every node has what it had could not be found out before the reset ({}); if one was put back from a backup, let the \
             others go before it in `conflict` for the load that follows",
            unknown.join("; ")
        );
        Ok((accused, vec![warning]))
    }

    /// Whether what is installed in a node's database is this node.
    async fn is_its_own(&mut self, at: usize) -> Result<bool> {
        let service = self.service_at(at).await?;
        Ok(service.is_some_and(|service| service.sync == self.config.name && service.node == self.names[at]))
    }

    /// Does something at all nodes, or at none if one of them is away or belongs to another sync. Where every table is compared
    /// another sync's are passed over.
    async fn each_installed(
        &mut self,
        doing: &str,
        work: impl AsyncFn(String, &mut dyn node::Node) -> node::Result<NodeLines>,
    ) -> Result<Vec<NodeLines>> {
        self.connect().await;
        if self.members.iter().any(|member| member.away.is_some()) {
            return Err(self.unreachable());
        }
        let (sync, histories) = (self.config.name.clone(), self.config.keeps_histories());
        let mut foreign = vec![false; self.members.len()];
        for Member { id, name, node, .. } in &mut self.members {
            let Some(node) = node.as_deref_mut() else { continue };
            let service = node.service().await.map_err(Error::at(name, "reading the service tables"))?;
            if let Some(service) = service.filter(|service| service.sync != sync || service.node != *name) {
                foreign[id.index()] = true;
                if !histories {
                    continue;
                }
                let why = attendance::foreign(&sync, &self.names, name, &service);
                return Err(Error::Refused(vec![format!("node `{name}`: {why}")]));
            }
        }
        let mut lines = Vec::new();
        for Member { id, name, node, .. } in &mut self.members {
            let Some(node) = node.as_deref_mut() else { continue };
            if foreign[id.index()] {
                lines.push(NodeLines { node: name.clone(), done: Vec::new() });
                continue;
            }
            let working = async {
                fault::point("remove-node").await?;
                work(name.clone(), node).await
            };
            lines.push(working.await.map_err(Error::at(name, after(doing, &lines)))?);
        }
        Ok(lines)
    }
}

/// Removes every trace from a node.
async fn removed(member: String, node: &mut dyn node::Node) -> node::Result<NodeLines> {
    let done = node.uninstall().await?;
    let line = "service tables, histories and triggers removed".to_owned();
    Ok(NodeLines { node: member, done: if done { vec![line] } else { Vec::new() } })
}

/// What is being done at one node after it was done at others, which stays.
fn after(doing: &str, done: &[NodeLines]) -> String {
    let nodes = done.iter().filter(|lines| !lines.done.is_empty()).map(|lines| format!("`{}`", lines.node));
    match nodes.collect::<Vec<_>>().join(", ") {
        nodes if nodes.is_empty() => doing.to_owned(),
        nodes => format!("{doing} (done at {nodes})"),
    }
}
