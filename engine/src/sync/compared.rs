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
    /// none stands still; so does one of whose source nobody could tell that it was put back, unless it is only told how they differ.
    pub(super) async fn agree_on_compared(&mut self, only_tells: bool) {
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
            let followed = self.tables[index].from.filter(|_| !only_tells);
            let why = || still_recorded(&recording).or_else(|| self.may_be_put_back(followed?));
            let why = self.tables[index].stopped.clone().or_else(why);
            self.tables[index].stopped = why;
        }
    }

    /// Looks whether nodes were restored or replaced, of which only histories tell, before compared tables are mended.
    pub(super) async fn look_for_restored(&mut self, how: &Verify) -> Result<()> {
        if how.repair != Repair::Tell && self.config.compares() && self.config.keeps_histories() {
            self.open().await?;
            self.close().await;
        }
        Ok(())
    }

    /// Why nobody follows a node in compared tables that may have been put back: all histories stand still that would tell of it, which
    /// are those of tables in which it gives rows away, if there are any, and that is so at the node itself as after it was put back.
    fn may_be_put_back(&self, source: NodeId) -> Option<String> {
        let histories = || self.tables.iter().filter(|table| !table.compared);
        let own = || histories().filter(move |table| table.gives_rows(source));
        let nobody_tells = match own().next() {
            Some(_) => own().all(Table::stands_still),
            None => histories().next().is_some() && histories().all(Table::stands_still),
        };
        // Where others are the reason it is as if there were no histories.
        let is_changed =
            |table: &Table| table.stands_still() && table.forms.get(source.index()).is_none_or(Option::is_none);
        let is_changed = !self.members[source.index()].unrecorded.is_empty() || histories().any(is_changed);
        (nobody_tells && is_changed).then(|| {
            let name = &self.names[source.index()];
            format!(
                "it comes from {name}, where no table with triggers is as it was installed that would tell whether {name} was put back from a \
                 backup; it goes on with these"
            )
        })
    }

    /// The compared tables that come from nodes which are let in, each with its source. What these have lost of them nobody brings back.
    pub(super) fn followers<'a>(&'a self, let_in: &'a [NodeId]) -> impl Iterator<Item = (&'a Table, &'a str)> {
        let compared = self.tables.iter().filter(|table| table.compared);
        let compared =
            compared.filter_map(move |table| Some((table, table.from.filter(|from| let_in.contains(from))?)));
        compared.map(move |(table, from)| (table, self.names[from.index()].as_str()))
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
        let (tables, histories) = (&self.tables, self.config.keeps_histories());
        let opening = join_all(self.members.iter_mut().map(async |member| {
            let spec = tables[table].spec(member.id)?;
            // What was put back may have lost rows, which is nothing to follow. Nor is anybody who is left out for another reason, as that
            // is not looked for there. Where no histories are kept nobody is left out who is connected.
            let is_out = member.restored.is_some() || histories && member.away.is_some();
            let node = member.node.as_deref_mut().filter(|_| !is_out)?;
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

#[cfg(test)]
mod tests {
    use crate::model::NodeId;
    use crate::sync::attendance::Away;
    use crate::sync::tests::files;

    /// A clock that is off lets nobody look whether the node was put back.
    #[tokio::test]
    async fn whoever_is_left_out_is_not_followed() {
        let (_folder, _databases, mut session) = files::two(
            "CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TABLE u (id INTEGER PRIMARY KEY)",
            "[tables.t]\nmode = \"compare\"\nfrom = \"b\"\n[tables.u]\n",
        );
        session.install().await.expect("nothing is wrong");
        assert_eq!(session.sync().await.expect("both are there").stopped, []);
        let mut present = Vec::new();
        for is_out in [false, true] {
            session.members[1].away =
                is_out.then(|| Away { node: "b".to_owned(), why: "its clock is off".to_owned(), unreachable: false });
            present.push(session.open_for(0).await.expect("both are there").is_present(NodeId(1)));
            session.close().await;
        }
        assert_eq!(present, [true, false]);
    }
}
