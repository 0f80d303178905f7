//! What an install would give up: changes that somebody still lacks, of nodes and tables that have left the file or of tables
//! that have to be recorded in another way, or are recorded no more.

use std::collections::HashMap;

use super::kept_shape::{self, Installed, OtherOperations, REVIVES, Remedy, Retargeted};
use super::session::Session;
use super::shape::same_name;
use crate::config::{Mode, TableNode};
use crate::error::{Error, Result};
use crate::model::{Cut, NodeId, TableSpec};
use crate::node::{self, ErrorKind, Ledger, Node, OF_FORMER_SHAPE, Service};

/// What a node was installed for, as the snapshot that is open there shows it.
struct Former {
    service: Service,
    ledger: Ledger,
    /// The tables that go on being recorded here.
    specs: Vec<TableSpec>,
    /// What is another about these tables, by their place.
    others: HashMap<usize, Others>,
}

/// What is another about a table at a node than when it was installed there, so that what was recorded cannot be carried as what it
/// was.
#[derive(Default)]
struct Others {
    /// The table that it was, which still stands there beside the one that it is now.
    table: Option<String>,
    /// A column of which changes would be passed over, see [`left_out`].
    left_out: Option<String>,
    /// A column that is read from another one.
    column: Option<Retargeted>,
    operations: Option<OtherOperations>,
}

impl Others {
    fn are_none(&self) -> bool {
        self.table.is_none() && self.left_out.is_none() && self.column.is_none() && self.operations.is_none()
    }
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
        warnings.extend(self.tell_who_leaves(&formers));
        for (at, former) in formers.iter().enumerate() {
            let Some(former) = former else { continue };
            refusals.extend(self.recorded_anew(at, former, &formers).await?);
            refusals.extend(self.left_behind(at, former, &formers).await?);
        }
        self.close().await;
        if refusals.is_empty() { Ok(warnings) } else { Err(Error::Refused(refusals)) }
    }

    /// Which nodes the sync had that are not in the file: they would go unnoticed where it is merely the older of two.
    fn tell_who_leaves(&self, formers: &[Option<Former>]) -> Option<String> {
        let known = formers.iter().flatten().flat_map(|former| &former.service.nodes);
        let mut gone: Vec<&str> = known.filter(|node| !self.names.contains(node)).map(String::as_str).collect();
        gone.sort_unstable();
        gone.dedup();
        (!gone.is_empty()).then(|| {
            format!(
                "{} left the sync, as the file does not list it: nothing is carried there any more; if this file was the older one, run \
                 `concord install` with the newer one, and `concord load`",
                gone.iter().map(|node| format!("node `{node}`")).collect::<Vec<_>>().join(", ")
            )
        })
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
        let mut others = HashMap::new();
        for spec in &specs {
            let Some(kept) = service.shape(&spec.name) else { continue };
            let part = &self.config.tables[spec.index].nodes[at];
            let found = look_for_others(node, part, kept, spec).await;
            let found = found.map_err(Error::at(&member.name, format!("looking up `{}`", part.table)))?;
            warn_of_others(&member.name, kept, spec, &found, warnings);
            if !found.are_none() {
                others.insert(spec.index, found);
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
        Ok(Some(Former { service, ledger, specs, others }))
    }

    /// Tables whose history has to be made anew, or will tell less, while it still holds changes.
    async fn recorded_anew(&mut self, at: usize, former: &Former, formers: &[Option<Former>]) -> Result<Vec<String>> {
        let mut refusals = self.under_former_keys(at, former);
        for spec in &former.specs {
            let Some(kept) = former.service.shape(&spec.name) else { continue };
            let anew = kept_shape::needs_new_history(kept, &spec.shape);
            let others = former.others.get(&spec.index);
            if !anew && others.is_none() {
                continue;
            }
            // What all others have passed may stand there still, as where amounts are counted one by one and a row waits.
            let table = &self.tables[spec.index];
            let lacked = lacking(formers, at, &self.names[at], &spec.name, |other| table.is_target(other));
            let after = lacked.clone().filter(|_| !anew).unwrap_or(Cut::START);
            let left = self.count(at, &spec.name, &after, None).await?;
            if left == 0 {
                continue;
            }
            let arrived = match lacked.filter(|_| anew && waits(formers, &spec.name)) {
                Some(lacked) => self.count(at, &spec.name, &lacked, None).await? == 0,
                None => false,
            };
            let (name, changes) = (&spec.name, counted(left, "change", "changes"));
            let rekeyed = self.tables[spec.index].rekeyed(kept).filter(|_| anew);
            let none = Others::default();
            let why = match (others.unwrap_or(&none), rekeyed) {
                (Others { table: Some(was), .. }, _) => format!(
                    "`{name}` is the table `{}` there in this file and was `{was}`, and {changes} made to that may not have arrived \
                     everywhere; run `concord sync` with the former `table` first",
                    spec.full_name()
                ),
                (_, Some(rekeyed)) => format!(
                    "`{name}` {rekeyed}, and {changes} recorded under the former one may not have arrived everywhere; {OF_FORMER_KEY}"
                ),
                _ if arrived => format!(
                    "`{name}` has to be recorded in another way now, and {changes} recorded in the former way, though arrived \
                     everywhere, cannot go while rows of it wait; {}",
                    of_what_waits(name)
                ),
                _ if anew => format!(
                    "`{name}` has to be recorded in another way now, and {changes} recorded in the former way may not have \
                     arrived everywhere; {OF_FORMER_SHAPE}"
                ),
                (Others { left_out: Some(column), .. }, _) => format!(
                    "`{column}` of `{name}` does not live there in this file, and {changes} made there may not have arrived everywhere; \
                     run `concord sync` with the former `omit` first"
                ),
                (Others { column: Some(Retargeted { shared, was, is }), .. }, _) => format!(
                    "`{shared}` of `{name}` is the column `{is}` there in this file and was `{was}`, and {changes} made there may not have \
                     arrived everywhere; run `concord sync` with the former `columns` first"
                ),
                // Of what was made apart under the former ones one would overwrite the other unread; and what was carried under them
                // would be no more.
                (Others { operations, .. }, _) => {
                    let others = operations.as_ref().map_or_else(String::new, |others| others.told(name));
                    format!(
                        "{others}, and {changes} made before may not have arrived everywhere; run `concord sync` with the former \
                         `operations` first"
                    )
                }
            };
            refusals.push(format!("node `{}`: {why}", self.names[at]));
        }
        Ok(refusals)
    }

    /// Tables in which rows wait that would be found no more under the key of today, whether or not they are recorded there.
    fn under_former_keys(&self, at: usize, former: &Former) -> Vec<String> {
        let tables = self.tables.iter().filter(|table| !table.compared);
        let refused = tables.filter_map(|table| {
            let rekeyed = table.rekeyed(former.service.shape(&table.name)?)?;
            let wait = former.ledger.parked.iter().filter(|((waits, _), _)| *waits == table.name);
            let wait: u64 = wait.map(|(_, rows)| rows).sum();
            (wait > 0).then(|| {
                format!(
                    "node `{}`: {} there in `{}`, which {rekeyed}; {OF_FORMER_KEY}",
                    self.names[at],
                    counted(wait, "row waits", "rows wait"),
                    table.name
                )
            })
        });
        refused.collect()
    }

    /// What has not arrived everywhere of nodes and tables that have left the file, or from and at nodes that a table does not go from
    /// or to any more.
    async fn left_behind(&mut self, at: usize, former: &Former, formers: &[Option<Former>]) -> Result<Vec<String>> {
        let (names, tables) = (self.names.clone(), self.config.tables.clone());
        let (name, node) = (names[at].clone(), NodeId(at as u16));
        let gone = |node: &String| !names.contains(node);
        let listed = |table: &String| tables.iter().find(|config| config.name == *table);
        let dropped = |table: &String| listed(table).is_none_or(|config| config.mode == Mode::Compare);
        let how = |table: &String| match listed(table) {
            None => "is no longer in the file".to_owned(),
            Some(config) => match config.from.filter(|_| config.mode == Mode::Triggers) {
                Some(from) => format!("gets its changes from `{}` alone from now on", names[from.index()]),
                None => "is compared from now on".to_owned(),
            },
        };
        let installed = |table: &str| former.service.shape(table).and_then(kept_shape::installed);
        let takes_no_more = |table: &String| {
            let known = self.tables.iter().find(|known| known.name == *table);
            known.is_some_and(|known| !known.takes_rows(node)) && installed(table).is_some_and(|was| was.takes)
        };
        let mut refusals = Vec::new();
        for ((table, origins), rows) in &former.ledger.parked {
            let rows = counted(*rows, "row waits", "rows wait");
            let why = match (dropped(table), origins.iter().find(|origin| gone(origin))) {
                (true, _) => format!("{rows} there in `{table}`, which {}", how(table)),
                (_, Some(gone)) => format!("{rows} there in `{table}` from `{gone}`, which is no longer in the file"),
                _ if takes_no_more(table) => format!("{rows} there in `{table}`, which {}", how(table)),
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
        // What is recorded there no more.
        for table in self.tables.iter().filter(|table| !table.compared && !table.is_source(node)) {
            if installed(&table.name).is_some_and(|was| was.captured) {
                let after = lacking(formers, at, &name, &table.name, |_| true);
                questions.extend(after.map(|after| Question { table: table.name.clone(), after, origin: None }));
            }
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
            // Where every table is compared there is nothing to reset.
            let reset = match self.config.keeps_histories() {
                true => "`concord reset`",
                false => "with the former file too, `concord reset`",
            };
            refusals.push(format!(
                "node `{name}`: {what} may not have arrived everywhere; run `concord sync` with the former file first, or \
                 {reset} to give up whatever was not carried"
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

/// What is another about a table at a node.
async fn look_for_others(node: &mut dyn Node, part: &TableNode, kept: &str, spec: &TableSpec) -> node::Result<Others> {
    let installed = kept_shape::installed(kept);
    let left_out = left_out(node, part, kept, &spec.shape).await?;
    let operations = OtherOperations::of(kept, &spec.shape);
    let mut others = Others { left_out, operations, ..Others::default() };
    // One that was only renamed took its triggers along, and stands under its former name no more.
    if let Some(was) = installed.as_ref().map(|was| &was.table).filter(|was| **was != spec.full_name()) {
        let found = node.catalogue(was).await?.filter(|found| found.refusals.is_empty());
        let stands = found.is_some_and(|found| match &found.schema {
            Some(schema) => format!("{schema}.{}", found.name) == *was,
            None => found.name == *was,
        });
        others.table = stands.then(|| was.clone());
    }
    let retargeted = kept_shape::retargeted(kept, spec);
    // Of another table all columns are others.
    if others.table.is_none() && !retargeted.is_empty() {
        let columns = node.catalogue(&part.table).await?.map_or_else(Vec::new, |found| found.columns);
        let is_other = |column: &Retargeted| {
            let stands = columns.iter().any(|standing| same_name(&standing.name, &column.was));
            stands || installed.as_ref().is_some_and(|was| was.had(&column.is))
        };
        others.column = retargeted.into_iter().find(is_other);
    }
    Ok(others)
}

/// Warns of what a node has missed, or nobody else had of it, and no history tells.
fn warn_of_others(node: &str, kept: &str, spec: &TableSpec, others: &Others, warnings: &mut Vec<String>) {
    let name = &spec.name;
    if let Some(was) = &others.table {
        warnings.push(format!(
            "node `{node}`: `{name}` is the table `{}` there from now on and was `{was}`; of what was done to its rows until now nothing \
             is known: run `concord load --table {name}`",
            spec.full_name()
        ));
    }
    if let Some(Retargeted { shared, was, is }) = &others.column {
        warnings.push(format!(
            "node `{node}`: `{shared}` of `{name}` is the column `{is}` there from now on and was `{was}`, and what stands in its rows may \
             be meant for another: before anybody writes to them there, run `concord verify --repair --table {name} --prefer NODE` \
             with a node whose rows are right"
        ));
    }
    let is_new_source = |was: Installed| spec.captured && !was.captured;
    if kept_shape::installed(kept).is_some_and(is_new_source) {
        warnings.push(format!(
            "node `{node}`: what users change in `{name}` there is carried from now on, and what they changed before is in no history: \
             compare its rows with those of the other nodes"
        ));
    }
    let told = others.operations.as_ref().and_then(|others| not_carried_so_far(name, others));
    if let Some(told) = told.filter(|told| !warnings.contains(told)) {
        warnings.push(told);
    }
}

/// What is to be done about what was not carried so far, if more is carried from now on.
fn not_carried_so_far(name: &str, others: &OtherOperations) -> Option<String> {
    let added = others.added().join("`, `");
    match others.remedy() {
        Remedy::Nothing => None,
        Remedy::Load { revives } => Some(format!(
            "table `{name}`: `{added}` is carried from now on, and what was done so far has stayed where it was done: before anybody writes \
             to these rows again, run `concord load --table {name} --prefer NODE` with a node whose rows are right{}",
            if revives { REVIVES } else { "" }
        )),
        Remedy::Delete { revives } => Some(format!(
            "table `{name}`: `{added}` is carried from now on, and what was deleted so far stays where it stands elsewhere: delete it there \
             as well{}",
            if revives { "; `concord load` would bring it back" } else { "" }
        )),
    }
}

/// The first column that lived at a node when the shape was kept there, and does not by the file, although it still stands there:
/// what was changed in it would be passed over. Of one that the table has lost nothing can be told any more, and one that came
/// since was never promised to anybody; there the former file could not be synced with again either.
async fn left_out(node: &mut dyn Node, part: &TableNode, kept: &str, shape: &str) -> node::Result<Option<String>> {
    let lived = kept_shape::lived(kept);
    let mut goes = kept_shape::omitted(shape).unwrap_or_default();
    goes.retain(|column| lived.contains(column));
    // What a mapping makes stands in no catalogue.
    if part.mapping.is_none() && !goes.is_empty() {
        let columns = node.catalogue(&part.table).await?.map_or_else(Vec::new, |found| found.columns);
        let stands = |local: &str| columns.iter().any(|column| !column.generated && same_name(&column.name, local));
        let installed = kept_shape::installed(kept);
        // The file does not tell any more how it was called there.
        goes.retain(|column| match installed.as_ref().and_then(|was| was.local(column)) {
            Some(local) => stands(local),
            None => true,
        });
    }
    Ok(goes.into_iter().next())
}

/// What can be done about what is to be carried of a table that has another key now.
const OF_FORMER_KEY: &str = "either let the table have its former key at all nodes once more, run `concord install` and `concord sync`, and change the \
     key then; or run `concord reset` with the key as it is now, which gives up what is not carried of every table, and then `concord load`";

/// The same of one that has to be recorded in another way, where changes that have arrived are kept for rows that wait.
fn of_what_waits(name: &str) -> String {
    format!(
        "either give the table, its policy and its mapping their former shape once more, run `concord install`, let these rows arrive or \
         give them up (`concord parked list --table {name}`), run `concord sync`, and change them then; or run `concord reset`, which \
         gives up what is not carried of every table, and then `concord load`"
    )
}

/// Whether a row of a table waits anywhere.
fn waits(formers: &[Option<Former>], table: &str) -> bool {
    let mut parked = formers.iter().flatten().flat_map(|former| &former.ledger.parked);
    parked.any(|((known, _), rows)| known == table && *rows > 0)
}

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
