//! What an install would give up: changes that somebody still lacks, of nodes and tables that have left the file or of tables
//! that have to be recorded in another way.

use super::kept_shape;
use super::session::Session;
use crate::config::Mode;
use crate::error::{Error, Result};
use crate::model::{Cut, NodeId, TableSpec};
use crate::node::{self, ErrorKind, Ledger, OF_FORMER_SHAPE, Service};

/// What a node was installed for, as the snapshot that is open there shows it.
struct Former {
    service: Service,
    ledger: Ledger,
    /// The tables that go on being recorded here.
    specs: Vec<TableSpec>,
}

/// Changes at one node that may not have arrived everywhere.
struct Question {
    table: String,
    /// What all others have passed.
    after: Cut,
    /// Only those that were made at a node that is no longer in the file.
    origin: Option<String>,
}

impl Session {
    /// Refuses to install where changes would be given up that somebody still lacks. Returns a warning for each table of
    /// which changes may be in no history, because what records them was not as it should be.
    pub(super) async fn look_at_histories(&mut self) -> Result<Vec<String>> {
        let (mut refusals, mut warnings) = (Vec::new(), Vec::new());
        let mut formers = Vec::new();
        for at in 0..self.members.len() {
            formers.push(self.former(at, &mut warnings).await?);
        }
        for (at, former) in formers.iter().enumerate() {
            let Some(former) = former else { continue };
            refusals.extend(self.recorded_anew(at, former).await?);
            refusals.extend(self.left_behind(at, former, &formers).await?);
        }
        self.close().await;
        if refusals.is_empty() { Ok(warnings) } else { Err(Error::Refused(refusals)) }
    }

    /// Opens a snapshot at a node and reads what it was installed for; `None` if nothing is, if another sync is, or if it cannot
    /// be read.
    async fn former(&mut self, at: usize, warnings: &mut Vec<String>) -> Result<Option<Former>> {
        let member = &mut self.members[at];
        let Some(node) = member.node.as_deref_mut() else { return Ok(None) };
        let reading = || Error::at(&member.name, "reading the service tables");
        let service = node.service().await.map_err(reading())?;
        let ours = |service: &Service| service.sync == self.config.name && service.node == member.name;
        let Some(service) = service.filter(ours) else { return Ok(None) };
        let mut specs = Session::specs(&self.tables, member.id);
        for spec in &specs {
            let was = service.shape(&spec.name).and_then(kept_shape::omitted).unwrap_or_default();
            let is = kept_shape::omitted(&spec.shape).unwrap_or_default();
            let shared = &self.tables[spec.index].columns;
            let lives = |column: &&String| !is.contains(column) && shared.iter().any(|known| known.name == **column);
            for column in was.iter().filter(lives) {
                warnings.push(format!(
                    "node `{}`: `{column}` of `{name}` lives there from now on, and what stands in it has missed all changes: before \
                     anybody writes to its rows there, run `concord verify --repair --table {name} --prefer NODE` with a node whose \
                     rows are right",
                    member.name,
                    name = spec.name
                ));
            }
        }
        specs.retain(|spec| spec.captured && service.shape(&spec.name).is_some());
        let opening = async { Ok::<_, node::Error>((node.begin_read(&specs).await?, node.ledger().await?)) };
        let (opened, ledger) = match opening.await {
            Ok(opened) => opened,
            // Damaged service tables are what `install` is there to mend.
            Err(error) if matches!(error.kind, ErrorKind::Drift | ErrorKind::Service) => {
                warnings.push(format!(
                    "node `{}`: the service tables are damaged ({error}); what they told may be lost: compare the rows of all \
                     tables with those of the other nodes",
                    member.name
                ));
                node.end_read().await.map_err(reading())?;
                return Ok(None);
            }
            Err(error) => return Err(reading()(error)),
        };
        for (table, drift) in &opened.drifted {
            let lost = match (drift.unrecorded, drift.dropped) {
                (false, false) => continue,
                (true, false) => "changes made to it until now may not have been recorded and would not be carried",
                (false, true) => "whatever was recorded of it and not yet carried is gone with its history",
                (true, true) => "changes made to it until now may not have been recorded, or are gone with its history",
            };
            warnings.push(format!(
                "node `{}`: `{}`: {}; {lost}: compare its rows with those of the other nodes",
                member.name, self.tables[*table].name, drift.what
            ));
        }
        Ok(Some(Former { service, ledger, specs }))
    }

    /// Tables whose history has to be made anew, or will tell less, while it still holds changes.
    async fn recorded_anew(&mut self, at: usize, former: &Former) -> Result<Vec<String>> {
        let mut refusals = Vec::new();
        for spec in &former.specs {
            let Some(kept) = former.service.shape(&spec.name) else { continue };
            let was = kept_shape::omitted(kept).unwrap_or_default();
            let goes =
                kept_shape::omitted(&spec.shape).and_then(|is| is.into_iter().find(|column| !was.contains(column)));
            let anew = kept_shape::needs_new_history(kept, &spec.shape);
            if !anew && goes.is_none() {
                continue;
            }
            let wait = former.ledger.parked.iter().filter(|((table, _), _)| *table == spec.name);
            let wait: u64 = wait.map(|(_, rows)| rows).sum();
            let rekeyed = self.tables[spec.index].had_another_key(kept);
            if wait > 0 && rekeyed {
                refusals.push(format!(
                    "node `{}`: {} there in `{}`, which has another key now; {OF_FORMER_KEY}",
                    self.names[at],
                    counted(wait, "row waits", "rows wait"),
                    spec.name
                ));
            }
            let left = self.count(at, &spec.name, &Cut::START, None).await?;
            if left > 0
                && let (false, Some(column)) = (anew, goes)
            {
                refusals.push(format!(
                    "node `{}`: `{column}` of `{}` does not live there in this file, and {} made there may not have arrived everywhere; \
                     run `concord sync` with the former `omit` first",
                    self.names[at],
                    spec.name,
                    counted(left, "change", "changes")
                ));
            } else if left > 0 && rekeyed {
                refusals.push(format!(
                    "node `{}`: `{}` has another key now, and {} recorded under the former one may not have arrived everywhere; \
                     {OF_FORMER_KEY}",
                    self.names[at],
                    spec.name,
                    counted(left, "change", "changes")
                ));
            } else if left > 0 {
                refusals.push(format!(
                    "node `{}`: `{}` has to be recorded in another way now, and {} recorded in the former way may not have \
                     arrived everywhere; {OF_FORMER_SHAPE}",
                    self.names[at],
                    spec.name,
                    counted(left, "change", "changes")
                ));
            }
        }
        Ok(refusals)
    }

    /// What has not arrived everywhere of nodes and tables that have left the file.
    async fn left_behind(&mut self, at: usize, former: &Former, formers: &[Option<Former>]) -> Result<Vec<String>> {
        let name = self.names[at].clone();
        let gone = |node: &String| !self.names.contains(node);
        let tables = self.config.tables.clone();
        let listed = |table: &String| tables.iter().find(|config| config.name == *table);
        let dropped = |table: &String| listed(table).is_none_or(|config| config.mode == Mode::Compare);
        let how = |table: &String| match listed(table) {
            None => "is no longer in the file",
            Some(_) => "is compared from now on",
        };
        let mut refusals = Vec::new();
        for ((table, origins), rows) in &former.ledger.parked {
            let rows = counted(*rows, "row waits", "rows wait");
            let why = match (dropped(table), origins.iter().find(|origin| gone(origin))) {
                (true, _) => format!("{rows} there in `{table}`, which {}", how(table)),
                (_, Some(gone)) => format!("{rows} there in `{table}` from `{gone}`, which is no longer in the file"),
                _ => continue,
            };
            refusals.push(format!(
                "node `{name}`: {why}; with the former file, let them arrive with `concord sync` or give them up with \
                 `concord parked drop --node {name} --table {table}`"
            ));
        }
        let mut questions = Vec::new();
        for (table, _) in former.service.tables.iter().filter(|(table, _)| dropped(table)) {
            let after = lacking(formers, at, &name, table, |_| true);
            questions.extend(after.map(|after| Question { table: table.clone(), after, origin: None }));
        }
        for spec in &former.specs {
            let table = &self.tables[spec.index];
            for origin in former.service.nodes.iter().filter(|node| gone(node)) {
                let after = lacking(formers, at, &name, &spec.name, |other| table.is_target(other));
                let origin = Some(origin.clone());
                questions.extend(after.map(|after| Question { table: spec.name.clone(), after, origin }));
            }
        }
        for Question { table, after, origin } in questions {
            let left = self.count(at, &table, &after, origin.as_deref()).await?;
            if left == 0 {
                continue;
            }
            let changes = counted(left, "change", "changes");
            let what = match origin {
                Some(origin) => format!("{changes} of `{table}` from `{origin}`, which is no longer in the file,"),
                None => format!("{changes} of `{table}`, which {},", how(&table)),
            };
            refusals.push(format!(
                "node `{name}`: {what} may not have arrived everywhere; run `concord sync` with the former file first, or \
                 `concord reset` to give up whatever was not carried"
            ));
        }
        Ok(refusals)
    }

    async fn count(&mut self, at: usize, table: &str, after: &Cut, origin: Option<&str>) -> Result<u64> {
        let member = &mut self.members[at];
        let Some(node) = member.node.as_deref_mut() else { return Ok(0) };
        let counted = match node.pending(table, after, origin).await {
            // A history that is gone has nothing to give up; but the snapshot may be gone with the error.
            Err(error) if error.kind == ErrorKind::Drift => node.begin_read(&[]).await.map(|_| 0),
            counted => counted,
        };
        counted.map_err(Error::at(&member.name, format!("counting the changes of `{table}`")))
    }
}

/// What can be done about what is to be carried of a table that has another key now.
const OF_FORMER_KEY: &str = "either let the table have its former key at all nodes once more, run `concord install` and `concord sync`, and change the \
     key then; or run `concord reset` with the key as it is now, which gives up what is not carried of every table, and then `concord load`";

/// What all other nodes that were installed for it have passed of a table's history at one node; `None` without others.
fn lacking(
    formers: &[Option<Former>],
    at: usize,
    source: &str,
    table: &str,
    takes: impl Fn(NodeId) -> bool,
) -> Option<Cut> {
    let others = formers.iter().enumerate().filter(|(other, _)| *other != at && takes(NodeId(*other as u16)));
    let passed = others.filter_map(|(_, former)| {
        let former = former.as_ref().filter(|former| former.service.nodes.iter().any(|node| node == source))?;
        let position = former.ledger.positions.iter().find(|(of, from, _)| of == table && from == source);
        Some(position.map_or(Cut::START, |(.., cut)| cut.clone()))
    });
    passed.reduce(|a, b| a.meet(&b))
}

fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
