//! The second look: keys whose rows were not alike are looked up once more in fresh snapshots, and told apart from changes
//! that are on their way.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::super::opened::Opened;
use super::super::read;
use super::super::session::Session;
use super::compare::Standing;
use crate::error::{Error, Result};
use crate::fault;
use crate::model::{Entry, Key, NodeId, Row, Value};

/// Keys that are looked up in the same snapshots, at most.
pub(super) const TOGETHER: usize = 10_000;

/// Keys whose rows are asked for while nobody knows how large they are, and at most.
const PROBE: usize = 16;
const FETCH: usize = 2_000;

/// The memory that rows which are compared may take at once, in bytes.
const ROWS_LIMIT: usize = 16 << 20;

/// How often the snapshots are opened anew while another engine moves the positions between them.
const LOOKS: u32 = 50;

/// The pause between two of those.
const PAUSE: Duration = Duration::from_millis(20);

/// The rows of a key, by node.
pub struct Stands {
    pub rows: Vec<(NodeId, Standing)>,
    /// The rows in their nodes' own shape, where the shared one does not tell it and somebody needs it: where a plugin maps, and where
    /// nothing but the row itself tells whether a user has changed it.
    pub locals: Vec<(NodeId, Arc<Row>)>,
}

/// What stands between two keys and a comparison.
#[derive(Default)]
pub struct Restless {
    /// Changes of these are on their way, also those that met a row which somebody held.
    pub moving: HashSet<Key>,
    /// These wait somewhere for a person, or for what they depend on.
    pub waiting: HashSet<Key>,
}

impl Session {
    /// Opens snapshots at these nodes that fit together: what any of them has applied, the others show. `None` if another
    /// engine is too busy for that, or if somebody is not there any more.
    pub(super) async fn open_together(&mut self, table: usize, nodes: &[NodeId]) -> Result<Option<Opened>> {
        for _ in 0..LOOKS {
            let mut opened = self.open_for(table).await?;
            fault::point("verify-look").await?;
            if super::comparable_nodes(&self.tables[table], &opened).as_deref() != Some(nodes) {
                self.close().await;
                return Ok(None);
            }
            if !opened.doubtful && self.cuts_fit(table, nodes, &mut opened).await? {
                return Ok(Some(opened));
            }
            self.close().await;
            tokio::time::sleep(PAUSE).await;
        }
        Ok(None)
    }

    /// Notes what each node's snapshot shows of its history; whether it is all that others have applied.
    async fn cuts_fit(&mut self, table: usize, nodes: &[NodeId], opened: &mut Opened) -> Result<bool> {
        for &source in nodes {
            let start = read::start(&self.tables[table], source, opened);
            let (Some(spec), Some(start)) = (self.tables[table].spec(source).cloned(), start) else { continue };
            let member = &mut self.members[source.index()];
            let Some(node) = member.node.as_deref_mut() else { continue };
            let page = node.entries(&spec, &start, None, 1).await;
            let whole = page.map_err(Error::at(&member.name, "reading the history"))?.whole;
            let table = &self.tables[table];
            let mut targets = nodes.iter().filter(|&&target| target != source && table.is_target(target));
            if targets.any(|&target| !whole.includes(opened.position(table.index, target, source))) {
                return Ok(false);
            }
            opened.set_read(table.index, source, whole.clone(), whole);
        }
        Ok(true)
    }

    /// Which of these keys are still being carried, or wait.
    pub(super) async fn restless(
        &mut self,
        table: usize,
        nodes: &[NodeId],
        opened: &Opened,
        keys: &[Key],
    ) -> Result<Restless> {
        let mut restless = Restless::default();
        let borrowed: Vec<&Key> = keys.iter().collect();
        for &source in nodes {
            for key in keys {
                match opened.parked(source, table, key) {
                    // It is tried with the next cycle, and no person is asked about it.
                    Some(parked) if parked.code.is_passing() => restless.moving.insert(key.clone()),
                    Some(_) => restless.waiting.insert(key.clone()),
                    None => continue,
                };
            }
            let Some(spec) = self.tables[table].spec(source).filter(|spec| spec.captured).cloned() else { continue };
            let member = &mut self.members[source.index()];
            let Some(node) = member.node.as_deref_mut() else { continue };
            let table = &self.tables[table];
            let takes = |target: &&NodeId| **target != source && table.is_target(**target) && table.is_source(source);
            let mut look = |entry: Entry| {
                let passed =
                    |target: &NodeId| opened.position(table.index, *target, source).contains(entry.mark, entry.id);
                if !nodes.iter().filter(takes).all(passed) {
                    restless.moving.insert(entry.key);
                }
            };
            let read = node.entries_of(&spec, &borrowed, &mut look).await;
            read.map_err(Error::at(&member.name, "reading the history"))?;
        }
        Ok(restless)
    }

    /// The rows of as many of these keys as memory allows, at least of one, at every node; `step` is how many to try, and then
    /// how many to try next.
    pub(super) async fn standing_rows(
        &mut self,
        table: usize,
        nodes: &[NodeId],
        keys: &[Key],
        step: &mut usize,
    ) -> Result<Vec<Stands>> {
        let keys: Vec<&Key> = keys.iter().take((*step).max(1)).collect();
        let tables = &self.tables;
        let asked = &keys;
        let members = self.members.iter_mut().filter(|member| nodes.contains(&member.id));
        let reading = join_all(members.map(async |member| {
            let (form, node) = (tables[table].form(member.id)?, member.node.as_deref_mut()?);
            let rows = node.rows(&form.spec, asked).await;
            let doing = format!("reading rows of {}", form.spec.full_name());
            let rows = match rows.map_err(Error::at(&member.name, doing)) {
                Ok(rows) => rows,
                Err(error) => return Some((member.id, Err(error))),
            };
            let local = |row: &Option<_>| match row {
                Some(Ok(row)) if form.lens.is_mapped() || !form.spec.captured => Some(Arc::new(Row::clone(row))),
                _ => None,
            };
            let locals: Vec<Option<Arc<Row>>> = rows.iter().map(local).collect();
            let rows = form.lens.share_apart(rows, Option::as_mut).await;
            let is_told = |row: &Option<_>, local: &Arc<Row>| match row {
                Some(Ok(row)) if !form.lens.is_mapped() => form.lens.put(row) == **local,
                _ => false,
            };
            let with_local = rows.into_iter().zip(locals).map(|(row, local)| {
                let local = local.filter(|local| !is_told(&row, local));
                (row, local)
            });
            Some((member.id, Ok(with_local.collect::<Vec<_>>())))
        }));
        let empty = |_| Stands { rows: Vec::with_capacity(nodes.len()), locals: Vec::new() };
        let mut standing: Vec<Stands> = keys.iter().map(empty).collect();
        let mut weight = 0;
        for (node, rows) in reading.await.into_iter().flatten() {
            for (all, (row, local)) in standing.iter_mut().zip(rows?) {
                let stands = match row {
                    None => Standing::Absent,
                    Some(Err(why)) => Standing::Odd(why),
                    Some(Ok(row)) => {
                        weight += row.iter().map(Value::weight).sum::<usize>();
                        Standing::Row(Arc::new(row))
                    }
                };
                all.rows.push((node, stands));
                all.locals.extend(local.map(|local| (node, local)));
            }
        }
        let each = (weight / keys.len().max(1)).max(1);
        *step = (ROWS_LIMIT / each).clamp(1, FETCH);
        Ok(standing)
    }

    /// With how many keys to begin asking for rows.
    pub(super) fn first_step() -> usize {
        PROBE
    }
}
