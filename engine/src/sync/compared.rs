//! Tables that are kept in step by comparison, because nobody may create triggers there.
//!
//! They are compared and mended as `verify --repair` does it, under the rules of the file. Since no history tells what was
//! changed, their shape is looked up anew for each comparison, their snapshots need no service tables, and whoever writes makes
//! sure of the row that stands there ([`Decision::upon`](crate::node::apply::Decision::upon)).
//!
//! Where the same sync went by triggers before, these record such a table until `install` takes them away. Whatever a comparison
//! wrote would be carried once more, as users' changes, and what users changed before would be overwritten unread. So nobody
//! compares a table that is recorded anywhere: every comparison asks at its beginning, and whoever writes asks again
//! ([`Batch::sync`](crate::node::apply::Batch::sync)).

use futures::future::join_all;

use super::attendance;
use super::check::{Checked, right_told};
use super::opened::{Opened, Presence};
use super::session::Session;
use super::table::Table;
use super::verify::{Repair, Verified, Verify, all_if_none};
use crate::config::Mode;
use crate::error::{Error, Result};
use crate::fault;
use crate::model::NodeId;
use crate::node::{Catalogue, Writes};

impl Session {
    /// Compares all tables that are kept in step by comparison, and writes what is to be written.
    pub(super) async fn mend_compared(&mut self) -> Result<Verified> {
        self.prepare_any().await?;
        self.enough()?;
        let how = Verify { repair: Repair::Mend, narrow: u64::MAX, ..Verify::default() };
        self.verify_tables(self.compared_tables(None), &how, None, None, false).await
    }

    /// What a comparison would find now, and would do about it; nothing is written.
    pub(super) async fn foresee(&mut self, table: Option<&str>, limit: usize) -> Result<Verified> {
        self.prepare_any().await?;
        self.enough()?;
        let limit = all_if_none(limit);
        let how = Verify { repair: Repair::Foresee, narrow: u64::MAX, limit, ..Verify::default() };
        self.verify_tables(self.compared_tables(table), &how, None, None, false).await
    }

    /// The places of the tables that are compared, or of the one of this name if it is.
    pub(super) fn compared_tables(&self, table: Option<&str>) -> Vec<usize> {
        let wanted = |known: &&Table| known.compared && table.is_none_or(|table| known.name == table);
        self.tables.iter().filter(wanted).map(|table| table.index).collect()
    }

    /// Fails where every table is compared, for whatever needs a history.
    pub(super) fn needs_histories(&self) -> Result<()> {
        match self.config.keeps_histories() {
            true => Ok(()),
            false => Err(Error::Usage(format!(
                "every table of {} is kept in step by comparison, so there is no history, no journal and nothing that waits\n    \
                 `concord sync` compares and copies what is missing, `concord verify` tells what differs",
                self.config.path.display()
            ))),
        }
    }

    /// Fails for a table that is compared, for whatever needs its history.
    pub fn needs_history(&self, table: &str) -> Result<()> {
        match self.config.tables.iter().any(|known| known.name == table && known.mode == Mode::Compare) {
            false => Ok(()),
            true => Err(Error::Usage(format!(
                "`{table}` is kept in step by comparison, so no history and no journal tell of its rows\n    \
                 `concord sync` compares it and copies what is missing, `concord verify --table {table}` tells what differs"
            ))),
        }
    }

    /// The names of the tables that are compared.
    pub(super) fn compared_names(&self) -> Vec<String> {
        let tables = self.config.tables.iter().filter(|table| table.mode == Mode::Compare);
        tables.map(|table| table.name.clone()).collect()
    }

    /// Looks the compared tables up at every node that is there, and finds the shapes that they share. A table of which there is
    /// none stands still.
    pub(super) async fn agree_on_compared(&mut self) {
        for index in self.compared_tables(None) {
            let config = &self.config.tables[index];
            let looking = join_all(self.members.iter_mut().map(async |member| {
                let local = &config.nodes[member.id.index()].table;
                match member.node.as_deref_mut()?.catalogue(local).await {
                    Ok(found) => Some((member.id, found)),
                    Err(error) => {
                        member.leave(&error.while_doing(format!("looking up `{local}`")));
                        None
                    }
                }
            }));
            let mut catalogues: Vec<(NodeId, Catalogue)> = Vec::new();
            let mut missing = Vec::new();
            for (node, found) in looking.await.into_iter().flatten() {
                match found {
                    Some(catalogue) => catalogues.push((node, catalogue)),
                    None => {
                        let local = &config.nodes[node.index()].table;
                        missing.push(format!("there is no table `{local}` at {}", self.names[node.index()]));
                    }
                }
            }
            let agreed = match missing.is_empty() {
                false => Err(missing),
                true => Table::agreed(&self.config, index, &catalogues, &mut self.plugins)
                    .map_err(|problems| problems.iter().map(ToString::to_string).collect()),
            };
            let agreed = agreed.map_err(|problems| problems.join("; "));
            self.tables[index] =
                agreed.unwrap_or_else(|why| Table { stopped: Some(why), ..Table::to_be_compared(&self.config, index) });
            let recording = self.recording(index).await;
            self.tables[index].stopped = self.tables[index].stopped.take().or_else(|| still_recorded(&recording));
        }
    }

    /// The nodes that are there and at which this sync is installed with triggers for a table. Whoever cannot tell takes no part.
    async fn recording(&mut self, index: usize) -> Vec<String> {
        let (tables, sync) = (&self.tables, self.config.name.as_str());
        let asking = join_all(self.members.iter_mut().map(async |member| {
            let spec = tables[index].spec(member.id)?;
            let recorded = match member.node.as_deref_mut()?.recorded(sync, std::slice::from_ref(&**spec)).await {
                Ok(recorded) => !recorded.is_empty(),
                Err(error) => {
                    member.leave(&error.while_doing("reading the service tables"));
                    false
                }
            };
            recorded.then(|| member.name.clone())
        }));
        asking.await.into_iter().flatten().collect()
    }

    /// Adds to a check in which nothing stands in the way which tables cannot be compared yet.
    pub async fn check_recorded(&mut self, checked: &mut Checked) {
        for index in self.compared_tables(None) {
            let recording = self.recording(index).await;
            if let Some(why) = still_recorded(&recording) {
                let name = &self.tables[index].name;
                checked.warnings.push(format!("table `{name}`: {why}; until then it is not compared"));
            }
            let nodes = checked.nodes.iter_mut().filter(|node| recording.contains(&node.node));
            nodes.for_each(|node| node.installed = true);
        }
        if let Err(why) = self.refuse_renamed().await {
            checked.problems.push(why.to_string());
        }
        let unasked = self.away().into_iter().map(|away| format!("node `{}`: {}", away.node, away.why));
        checked.problems.extend(unasked);
    }

    /// Fails where every table is compared and one of them is recorded at a node that this sync was installed at under another name
    /// than the file gives it: `install` does not take these triggers away, as they may be another node's, and the table would stand
    /// still for ever.
    pub(super) async fn refuse_renamed(&mut self) -> Result<()> {
        if self.config.keeps_histories() {
            return Ok(());
        }
        let mut recording = Vec::new();
        for index in self.compared_tables(None) {
            recording.extend(self.recording(index).await);
        }
        let mut problems = Vec::new();
        for member in self.members.iter_mut().filter(|member| recording.contains(&member.name)) {
            let Some(node) = member.node.as_deref_mut() else { continue };
            let service = node.service().await.map_err(Error::at(&member.name, "reading the service tables"))?;
            if let Some(service) = service.filter(|service| service.node != member.name) {
                let why = attendance::foreign(&self.config.name, &self.names, &member.name, &service);
                problems.push(format!("node `{}`: {why}", member.name));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(Error::Refused(problems)) }
    }

    /// Fails while this sync is installed with triggers anywhere for a table that is compared: a load that lets a node in begins all its
    /// histories anew, and what users changed there would be gone.
    pub async fn refuse_recorded(&mut self) -> Result<()> {
        self.connect().await;
        let mut recording: Vec<Vec<String>> = vec![Vec::new(); self.config.tables.len()];
        for member in &mut self.members {
            let Some(node) = member.node.as_deref_mut() else { continue };
            // Who cannot be asked keeps the load from its work as well.
            let Ok(Some(service)) = node.service().await else { continue };
            for (table, at) in self.config.tables.iter().zip(&mut recording) {
                if service.sync == self.config.name && service.shape(&table.name).is_some() {
                    at.push(member.name.clone());
                }
            }
        }
        let tables = self.config.tables.iter().zip(&recording).filter(|(table, _)| table.mode == Mode::Compare);
        let problems =
            tables.filter_map(|(table, at)| Some(format!("table `{}`: {}", table.name, still_recorded(at)?)));
        match problems.collect::<Vec<_>>() {
            problems if problems.is_empty() => Ok(()),
            problems => Err(Error::Refused(problems)),
        }
    }

    /// Opens what a table is read in: snapshots with all that the service tables tell, or of a compared table, snapshots of it
    /// alone.
    pub(super) async fn open_for(&mut self, table: usize) -> Result<Opened> {
        if !self.tables[table].compared {
            return self.open().await;
        }
        let tables = &self.tables;
        let opening = join_all(self.members.iter_mut().map(async |member| {
            let spec = tables[table].spec(member.id)?;
            let node = member.node.as_deref_mut()?;
            let opening = async {
                fault::point("compare-open").await?;
                node.begin_scan(std::slice::from_ref(&**spec)).await
            };
            Some(opening.await)
        }));
        let opening = opening.await;
        let mut opened = Opened::new(self.members.len(), self.tables.len());
        for (at, result) in opening.into_iter().enumerate() {
            match result {
                None => {}
                Some(Ok(())) => opened.present[at] = Some(Presence::of_rows_alone(self.tables.len())),
                Some(Err(error)) => self.members[at].leave(&error),
            }
        }
        Ok(opened)
    }

    /// What the role of a node lacks to keep the compared tables in step.
    pub(super) async fn lacking_to_compare(&mut self) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        for member in &mut self.members {
            let tables = self.tables.iter().filter(|table| table.compared);
            let wanted: Vec<_> = tables
                .filter_map(|table| {
                    let writes = table.takes_rows(member.id).then_some(table.operations);
                    let writes = writes.map_or(Writes::default(), |operations| Writes {
                        insert: operations.insert,
                        update: operations.update,
                        delete: operations.delete && table.from.is_some(),
                    });
                    Some((&**table.spec(member.id)?, writes))
                })
                .collect();
            let Some(node) = member.node.as_deref_mut().filter(|_| !wanted.is_empty()) else { continue };
            let missing = node.missing_rights_to_compare(&wanted).await;
            for right in missing.map_err(Error::at(&member.name, "looking up rights"))? {
                problems.push(right_told(&member.name, &right));
            }
        }
        Ok(problems)
    }
}

/// Why a table stands still that is recorded at these nodes, if there are any.
fn still_recorded(nodes: &[String]) -> Option<String> {
    (!nodes.is_empty()).then(|| {
        format!(
            "it is compared from now on, and triggers still record it at {}: run `concord sync` with the former file, which carries what \
             users have changed, and then `concord install` with this one",
            nodes.join(", ")
        )
    })
}
