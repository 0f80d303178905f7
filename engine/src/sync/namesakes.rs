//! Keys that are several among the nodes and one to a node's database: of what waits there, the row that stands in its way.

use std::collections::HashMap;

use serde_json::Value as Document;

use super::opened::Opened;
use super::session::Session;
use super::table::Table;
use crate::error::{Error, Result};
use crate::model::{Key, NodeId, Parked, ParkedCode, Waiting};

impl Session {
    /// The rows that stand in the way of some that wait at a node, in the shared shape, by the keys of these. Asked while snapshots
    /// are open.
    pub(super) async fn namesakes(
        &mut self,
        table: usize,
        at: NodeId,
        waiting: &[Parked],
    ) -> Result<HashMap<Key, Document>> {
        let (table, member) = (&self.tables[table], &mut self.members[at.index()]);
        let is_refused = |parked: &&Parked| parked.code == ParkedCode::Constraint && parked.content != Waiting::Delete;
        let keys: Vec<&Key> = waiting.iter().filter(is_refused).map(|parked| &parked.key).collect();
        let (Some(form), Some(node)) = (table.form(at), member.node.as_deref_mut()) else { return Ok(HashMap::new()) };
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let doing = "looking for the rows in the way of those that wait";
        let found = match node.namesakes(&form.spec, &keys).await {
            // A key that cannot even be compared is nobody's.
            Err(error) if error.is_about_rows() => Vec::new(),
            found => found.map_err(Error::at(&member.name, doing))?,
        };
        if found.is_empty() {
            return Ok(HashMap::new());
        }
        let (keys, holders): (Vec<Key>, Vec<Key>) = found.into_iter().unzip();
        let rows = node.rows(&form.spec, &holders.iter().collect::<Vec<_>>()).await;
        let rows = rows.map_err(Error::at(&member.name, doing))?;
        let rows = form.lens.share_apart(rows, Option::as_mut).await;
        let missing = form.lens.missing();
        let told = keys.into_iter().zip(rows).filter_map(|(key, row)| {
            let row = row?.ok()?;
            Some((key, table.known_document(&row, &missing)))
        });
        Ok(told.collect())
    }

    /// The same of one key, by the nodes where it waits.
    pub(super) async fn namesakes_anywhere(
        &mut self,
        opened: &Opened,
        table: &Table,
        key: &Key,
    ) -> Result<Vec<(NodeId, Document)>> {
        let mut found = Vec::new();
        for (at, _) in opened.nodes() {
            let Some(parked) = opened.parked(at, table.index, key) else { continue };
            let there = self.namesakes(table.index, at, std::slice::from_ref(parked)).await?;
            found.extend(there.into_values().map(|row| (at, row)));
        }
        Ok(found)
    }
}
