//! Trying filters and mappings on some of the rows that are there, before anything is installed: what opens well may still fail at
//! every row, as an expression does that compares a number with a text.

use std::sync::Arc;

use super::brought;
use super::check::{Checked, UsedPlugin};
use super::mapped::Current;
use super::session::Session;
use super::subset::Belongs;
use super::table::Table;
use crate::error::Result;
use crate::model::{Key, NodeId, Row, Value};
use crate::node;

/// Rows of a table that are read at each node, at most.
const ROWS: usize = 20;

/// How a plugin fares with what it was asked.
#[derive(Default)]
struct Trial {
    rows: u64,
    failed: u64,
    /// What it fails with first.
    first: Option<String>,
    /// Whether it is another mapping than the one that made the rows, so that it may well fail at all until they are gone through.
    is_another: bool,
}

impl Trial {
    fn of<'a>(answers: impl Iterator<Item = Option<&'a String>>) -> Trial {
        let mut trial = Trial::default();
        for failure in answers {
            trial.rows += 1;
            trial.failed += u64::from(failure.is_some());
            trial.first = trial.first.take().or(failure.cloned());
        }
        trial
    }

    /// Adds it to what is told of the plugin; `does` is what the plugin does not do with so many of so many rows.
    fn tell(self, used: &mut [UsedPlugin], node: &str, does: &str, checked: (&mut Vec<String>, &mut Vec<String>)) {
        if let Some(used) = used.iter_mut().find(|used| used.node == node) {
            used.tried += self.rows;
            used.failed += self.failed;
        }
        let (problems, warnings) = checked;
        let Some(first) = self.first else { return };
        let mut told = format!("node `{node}`: {does} {} of {} rows that were tried: {first}", self.failed, self.rows);
        if self.is_another {
            told += "; it is another mapping than the one that made them, and `concord load --refilter` brings them in step";
        }
        if self.failed == self.rows && !self.is_another { problems } else { warnings }.push(told);
    }
}

impl Session {
    /// Tries the filters and mappings of all tables on the first rows of each node. What fails at some is a warning, and at all a
    /// problem; that rows cannot be read, as they are locked, is a warning. Plugins take no longer than their limits allow. Changes nothing.
    pub(super) async fn try_plugins(&mut self, checked: &mut Checked) -> Result<()> {
        for at in 0..self.tables.len() {
            let is_mapped = |table: &Table| table.forms.iter().flatten().any(|form| form.lens.is_mapped());
            if self.tables[at].has_subsets() || is_mapped(&self.tables[at]) {
                // So that one that hangs is not asked for ever.
                self.tables[at].begin_round();
                let tried = self.try_table(at, checked).await;
                self.tables[at].end_round();
                tried?;
            }
        }
        Ok(())
    }

    async fn try_table(&mut self, at: usize, checked: &mut Checked) -> Result<()> {
        let mut shared: Vec<(NodeId, Vec<Arc<Row>>)> = Vec::new();
        for node in (0..self.members.len()).map(|at| NodeId(at as u16)) {
            let rows = match self.some_rows(at, node).await {
                Ok(rows) => rows,
                Err(why) => {
                    let (name, table) = (&self.names[node.index()], &self.tables[at].name);
                    checked
                        .warnings
                        .push(format!("node `{name}`: no plugin was tried on the rows of `{table}` there: {why}"));
                    continue;
                }
            };
            let Some(form) = self.tables[at].form(node) else { continue };
            let rows = form.lens.share_apart(rows.into_iter().map(Ok).collect(), |row| Some(row)).await;
            if form.lens.is_mapped() {
                let does = format!("the mapping of `{}` makes no shared row of", self.tables[at].name);
                let trial = Trial::of(rows.iter().map(|row| row.as_ref().err()));
                let mappings = &mut checked.tables[at].mappings;
                trial.tell(mappings, &self.names[node.index()], &does, (&mut checked.problems, &mut checked.warnings));
            }
            shared.push((node, rows.into_iter().flatten().map(Arc::new).collect()));
        }
        for target in (0..self.members.len()).map(|at| NodeId(at as u16)) {
            self.try_target(at, target, &shared, checked).await?;
        }
        Ok(())
    }

    /// Tries what stands between the shared rows and a node.
    async fn try_target(
        &mut self,
        at: usize,
        target: NodeId,
        shared: &[(NodeId, Vec<Arc<Row>>)],
        checked: &mut Checked,
    ) -> Result<()> {
        let table = &self.tables[at];
        let Some(form) = table.form(target).cloned() else { return Ok(()) };
        let mut coming = carried(table, shared);
        if table.subset(target).is_some() {
            let rows = coming.iter().map(|(_, row)| row.clone()).collect();
            let places = table.belong_apart(target, rows).await?;
            let failed = places.iter().map(|place| match place {
                Belongs::Unknown(why) => Some(why),
                Belongs::Inside | Belongs::Outside => None,
            });
            let does = format!("the filter of `{}` fails at", table.name);
            let filters = &mut checked.tables[at].filters;
            let told = (&mut checked.problems, &mut checked.warnings);
            Trial::of(failed).tell(filters, &self.names[target.index()], &does, told);
            let mut belongs = places.iter().map(|place| *place == Belongs::Inside);
            coming.retain(|_| belongs.next().unwrap_or(true));
        }
        coming.retain(|(source, _)| *source != target);
        if !form.lens.is_mapped() || !table.takes_rows(target) || coming.is_empty() {
            return Ok(());
        }
        let rows: Vec<Arc<Row>> = coming.into_iter().map(|(_, row)| row).collect();
        let index = table.index;
        if let Some(unmade) = checked.unmade.iter_mut().find(|one| one.table == index && one.node == target) {
            let new = form.localize_apart(rows.iter().map(|row| (row.clone(), None)).collect()).await;
            let made: Vec<&Row> = new.iter().flatten().collect();
            let is_filled = |at: usize| !made.is_empty() && made.iter().all(|row| row[at] != Value::Null);
            unmade.columns.retain(|&at| !is_filled(at));
        }
        let Ok(puts) = self.upon_what_stands(at, target, rows).await else {
            // That its rows cannot be read is told.
            return Ok(());
        };
        let made = form.localize_apart(puts).await;
        let does = format!("the mapping of `{}` makes no row for the node of", self.tables[at].name);
        let trial = Trial::of(made.iter().map(|row| row.as_ref().err()));
        let trial = Trial { is_another: self.is_remapped(at, target).await, ..trial };
        let mappings = &mut checked.tables[at].mappings;
        trial.tell(mappings, &self.names[target.index()], &does, (&mut checked.problems, &mut checked.warnings));
        Ok(())
    }

    /// Whether what others hold was made by another mapping of a node than the file has there now.
    async fn is_remapped(&mut self, at: usize, node: NodeId) -> bool {
        let (Some(spec), Some(reader)) = (self.tables[at].spec(node), self.members[node.index()].node.as_deref_mut())
        else {
            return false;
        };
        let service = reader.service().await.ok().flatten().filter(|service| service.sync == self.config.name);
        service.is_some_and(|service| brought::is_remapped(service.shape(&spec.name), spec))
    }

    /// The first rows of a table at a node, as they stand there, but for those that cannot be read at all.
    async fn some_rows(&mut self, at: usize, node: NodeId) -> node::Result<Vec<Row>> {
        let (Some(spec), Some(reader)) = (self.tables[at].spec(node), self.members[node.index()].node.as_deref_mut())
        else {
            return Ok(Vec::new());
        };
        let reading = async {
            reader.begin_scan(std::slice::from_ref(&**spec)).await?;
            reader.walk(spec, None, ROWS).await
        };
        let read = reading.await;
        reader.end_read().await?;
        Ok(read?.into_iter().filter_map(|(_, row)| row.ok()).take(ROWS).collect())
    }

    /// Rows that are to be put at a node, each with what stands there under its key.
    async fn upon_what_stands(
        &mut self,
        at: usize,
        node: NodeId,
        rows: Vec<Arc<Row>>,
    ) -> node::Result<Vec<(Arc<Row>, Current)>> {
        let table = &self.tables[at];
        let (Some(spec), Some(reader)) = (table.spec(node), self.members[node.index()].node.as_deref_mut()) else {
            return Ok(Vec::new());
        };
        let keys: Vec<Key> = rows.iter().map(|row| table.key.iter().map(|&at| row[at].clone()).collect()).collect();
        let reading = async {
            reader.begin_scan(std::slice::from_ref(&**spec)).await?;
            reader.rows(spec, &keys.iter().collect::<Vec<_>>()).await
        };
        let read = reading.await;
        reader.end_read().await?;
        let stands = read?.into_iter().map(|stands| stands.map(|row| row.map(Arc::new)));
        // What cannot be read is not for the plugin to put right.
        Ok(rows.into_iter().zip(stands).filter(|(_, stands)| !matches!(stands, Some(Err(_)))).collect())
    }
}

/// The rows that are carried to others, each once: those of the source, or of all nodes that have every column, if any has. Of others
/// a sync would complete them first.
fn carried(table: &Table, shared: &[(NodeId, Vec<Arc<Row>>)]) -> Vec<(NodeId, Arc<Row>)> {
    let is_whole = |node: NodeId| table.form(node).is_some_and(|form| form.lens.is_total());
    let any_whole = shared.iter().any(|(node, _)| is_whole(*node));
    let counts = |node: NodeId| match table.from {
        Some(from) => node == from,
        None => !any_whole || is_whole(node),
    };
    let mut rows: Vec<(NodeId, Arc<Row>)> = Vec::new();
    for (node, some) in shared.iter().filter(|(node, _)| counts(*node)) {
        for row in some {
            if rows.iter().all(|(_, known)| known != row) {
                rows.push((*node, row.clone()));
            }
        }
    }
    rows
}
