//! Rows that could not be copied: they are tried again, and what is left over is handed to the sync.

use std::collections::{HashMap, HashSet};

use tracing::info;

use super::super::session::Session;
use super::portion::Portion;
use super::{Deferred, Leg, Load, Loaded, PROBE, ROWS};
use crate::error::{Error, Result};
use crate::model::{Key, NodeId, TableSpec};
use crate::node::{self, Node};

impl Session {
    /// Tries rows that could not be written once more, for as long as that helps: a row that they refer to may have come.
    pub(super) async fn try_again(
        &mut self,
        load: &Load,
        deferred: &mut Vec<Deferred>,
        loaded: &mut Loaded,
    ) -> Result<()> {
        loop {
            keep_one_each(deferred);
            let before = deferred.len();
            *deferred = self.try_once(load, std::mem::take(deferred), false, loaded).await?;
            if deferred.is_empty() || deferred.len() >= before {
                return Ok(());
            }
        }
    }

    /// Tries each row once; those that are still refused. With `last` what stands in their place is journalled where it does.
    pub(super) async fn try_once(
        &mut self,
        load: &Load,
        mut deferred: Vec<Deferred>,
        last: bool,
        loaded: &mut Loaded,
    ) -> Result<Vec<Deferred>> {
        let mut left: Vec<Deferred> = Vec::new();
        keep_one_each(&mut deferred);
        deferred.sort_by_key(|row| load.legs.iter().position(|leg| leg.table == row.table));
        let mut most = ROWS;
        while let Some(first) = deferred.first() {
            let table = first.table;
            let other = deferred.iter().take(most).position(|row| row.table != table);
            let part = ..other.unwrap_or(deferred.len().min(most));
            let holders: HashMap<&Key, NodeId> = deferred[part].iter().map(|row| (&row.key, row.holder)).collect();
            let walker = first.holder;
            let mut portion = Some(Portion {
                table,
                walker,
                rule: load.rule(self, table),
                condition: None,
                stretch: None,
                again: deferred[part].iter().map(|row| row.key.clone()).collect(),
                empty: Vec::new(),
                last,
                refilter: load.refilter,
                passed: None,
                reader: None,
                outcome: None,
            });
            let Some((weighed, refused)) = self.weighed(&mut portion).await? else {
                // Another engine is at work. Shorter parts are less in its way.
                most = (most / 2).max(PROBE);
                continue;
            };
            most = (most * 2).min(ROWS);
            self.count_up(Leg { table, walker }, &weighed, &refused, loaded);
            let holder = |key: &Key| weighed.winners.get(key).or(holders.get(key)).copied().unwrap_or(walker);
            left.extend(refused.into_iter().map(|(node, key, reason)| {
                let held = reason.code.is_passing().then_some((node, reason.message));
                Deferred { table, holder: holder(&key), key, held }
            }));
            let unmoved = weighed.unmoved.iter();
            left.extend(unmoved.map(|key| Deferred { table, holder: holder(key), key: key.clone(), held: None }));
            let unreadable = weighed.unreadable.iter();
            left.extend(unreadable.map(|(at, key)| Deferred { table, key: key.clone(), holder: *at, held: None }));
            deferred.drain(part);
        }
        keep_one_each(&mut left);
        Ok(left)
    }

    /// Hands what could not be written over to the sync: the row becomes a change of the node where it stands, waits where it
    /// is not taken, and is tried again like any other. It counts as made when the load began: what users have done since to
    /// the same key elsewhere is later.
    pub(super) async fn hand_over(&mut self, load: &Load, deferred: Vec<Deferred>) -> Result<HashSet<(usize, Key)>> {
        let mut by_node: HashMap<NodeId, Vec<(usize, Key)>> = HashMap::new();
        let mut seen = HashSet::new();
        for row in deferred {
            let rows = by_node.entry(row.holder).or_default();
            if seen.insert((row.table, row.key.clone())) {
                rows.push((row.table, row.key));
            }
        }
        for (node, rows) in by_node {
            info!(node = %self.names[node.index()], rows = rows.len(), "Rows that cannot be copied wait.");
            let mut specs = Session::specs(&self.tables, node);
            specs.retain(|spec| rows.iter().any(|(table, _)| *table == spec.index));
            let member = &mut self.members[node.index()];
            let Some(writer) = member.node.as_deref_mut() else { return Err(self.unreachable()) };
            if let Err(error) = touch(writer, &specs, &rows, load.since[node.index()]).await {
                writer.rollback().await.map_err(Error::at(&member.name, "handing rows over"))?;
                if error.is_lock() {
                    return Err(Error::Unreachable(vec![format!(
                        "node `{}`: a row that is to be handed over to the sync is held up: {error}\n    run `concord load` again when \
                         that is over; {}",
                        self.names[node.index()],
                        self.goes_on(load)
                    )]));
                }
                return Err(Error::at(&member.name, "handing rows over to the sync")(error));
            }
        }
        Ok(seen)
    }

    /// Tells of the rows that were handed over, after the sync has been at them: which wait, and how many came together.
    pub(super) async fn count_handed(&mut self, handed: HashSet<(usize, Key)>, loaded: &mut Loaded) -> Result<()> {
        if handed.is_empty() {
            return Ok(());
        }
        self.prepare().await?;
        let opened = self.open().await?;
        self.close().await;
        for (table, key) in handed {
            let name = &self.tables[table].name;
            let Some(told) = loaded.tables.iter_mut().find(|told| told.table == *name) else { continue };
            match opened.nodes().any(|(node, _)| opened.parked(node, table, &key).is_some()) {
                true => told.waiting += 1,
                false => told.together += 1,
            }
        }
        Ok(())
    }
}

/// Several nodes may have refused the same row. Where one of them was held up, it is not done with by what the sync makes of it.
fn keep_one_each(deferred: &mut Vec<Deferred>) {
    let mut known = HashSet::new();
    deferred.sort_by_key(|row| row.held.is_none());
    deferred.retain(|row| known.insert((row.table, row.key.clone())));
}

async fn touch(
    node: &mut dyn Node,
    specs: &[TableSpec],
    rows: &[(usize, Key)],
    since: Option<i64>,
) -> node::Result<()> {
    node.begin_apply(specs).await?;
    for (table, key) in rows {
        if let Some(spec) = specs.iter().find(|spec| spec.index == *table && spec.captured) {
            node::apply::lock_and_touch(node, spec, key, since).await?;
        }
    }
    node.commit().await
}
