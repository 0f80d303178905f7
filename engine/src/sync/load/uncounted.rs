//! Sums that lack what was added at a node that is let in. Its history is emptied, and where its row is like another's nothing differs
//! either: that goes to the journal before anything is forgotten.

use std::collections::HashMap;

use super::portion::Standing;
use super::{Loaded, PROBE};
use crate::digest::short_digest;
use crate::error::{Error, Result};
use crate::merge::Policy;
use crate::model::{Cut, Entry, Key, Lost, NodeId, write_json};
use crate::sync::opened::Opened;
use crate::sync::session::Session;
use crate::sync::settle::{self, Settlement};
use crate::sync::table::Table;

/// What users did to the summed columns of a row.
struct Added {
    key: Key,
    /// By which the journal knows it again.
    changes: Vec<(i64, i64)>,
    /// When it was changed last, as that node's history has it.
    time: i64,
    told: String,
}

impl Session {
    /// What was added at these nodes, of which nobody has heard, to rows that stand alike elsewhere.
    pub(super) async fn uncounted(&mut self, let_in: &[NodeId]) -> Result<Vec<(NodeId, Lost)>> {
        let mut uncounted = Vec::new();
        for &at in let_in {
            for index in 0..self.tables.len() {
                let table = &self.tables[index];
                let Policy::Sum(summed) = &table.policy else { continue };
                if !table.is_source(at) || table.spec(at).is_none() {
                    continue;
                }
                let (table, summed) = (table.clone(), summed.clone());
                let added = self.added(&table, &summed, at, let_in).await?;
                for some in added.chunks(PROBE) {
                    self.alike_elsewhere(&table, some, at, let_in, &mut uncounted).await?;
                }
            }
        }
        Ok(uncounted)
    }

    /// Writes it to the journals of these nodes. A load that is run again writes the same.
    pub(super) async fn journal_uncounted(&mut self, uncounted: &[(NodeId, Lost)]) -> Result<()> {
        for at in 0..self.members.len() {
            let node = NodeId(at as u16);
            let lost: Vec<&Lost> = uncounted.iter().filter(|(at, _)| *at == node).map(|(_, lost)| lost).collect();
            if lost.is_empty() {
                continue;
            }
            let mut specs = Session::specs(&self.tables, node);
            specs.retain(|spec| lost.iter().any(|lost| lost.table == spec.index));
            let member = &mut self.members[at];
            let Some(node) = member.node.as_deref_mut() else { return Err(self.unreachable()) };
            let writing = async {
                node.begin_apply(&specs).await?;
                node.record(&specs, &lost, true).await?;
                node.commit().await
            };
            if let Err(error) = writing.await {
                node.rollback().await.map_err(Error::at(&member.name, "writing the journal"))?;
                return Err(Error::at(&member.name, "writing the journal")(error));
            }
        }
        Ok(())
    }

    /// What users of a node did to summed columns, as far as nobody who stays has passed it.
    async fn added(&mut self, table: &Table, summed: &[usize], at: NodeId, let_in: &[NodeId]) -> Result<Vec<Added>> {
        let opened = self.look().await?;
        let member = &mut self.members[at.index()];
        let (Some(node), Some(spec)) = (member.node.as_deref_mut(), table.spec(at)) else {
            return Err(self.unreachable());
        };
        let read = node.entries(spec, &Cut::START, None, usize::MAX).await;
        let read = read.map_err(Error::at(&member.name, "reading the history"))?;
        self.close().await;
        let mut changes: HashMap<Key, Vec<Entry>> = HashMap::new();
        for entry in read.entries {
            if entry.arrival.is_none() && !was_passed(&opened, table, at, &entry, let_in) {
                changes.entry(entry.key.clone()).or_default().push(entry);
            }
        }
        let name = |place: usize| table.columns[place].name.as_str();
        let mut added: Vec<Added> =
            changes.into_iter().filter_map(|(key, changes)| of_one(key, changes, summed, name)).collect();
        added.sort_by_key(|one| one.time);
        Ok(added)
    }

    /// Adds those of the rows that stand at another node as they stand at this one.
    async fn alike_elsewhere(
        &mut self,
        table: &Table,
        added: &[Added],
        at: NodeId,
        let_in: &[NodeId],
        uncounted: &mut Vec<(NodeId, Lost)>,
    ) -> Result<()> {
        let keys: Vec<&Key> = added.iter().map(|one| &one.key).collect();
        let others: Vec<NodeId> = self.members.iter().map(|member| member.id).collect();
        let others = others.into_iter().filter(|node| !let_in.contains(node) && table.form(*node).is_some());
        self.look().await?;
        let own = self.found(table.index, at, &keys).await?;
        let mut found = Vec::new();
        for other in others {
            found.push((other, self.found(table.index, other, &keys).await?));
        }
        self.close().await;
        for (place, one) in added.iter().enumerate() {
            let Some(Standing::Row(own, _)) = &own[place] else { continue };
            let alike = found.iter().find_map(|(other, rows)| match &rows[place] {
                Some(Standing::Row(row, _)) => {
                    settle::differing(table, (at, own), (*other, row)).is_empty().then_some((*other, row))
                }
                _ => None,
            });
            let Some((winner, row)) = alike else { continue };
            let reason = format!(
                "{} at {}, of which nobody has heard, and the row at {} is alike all the same: the change is counted nowhere",
                one.told,
                self.names[at.index()],
                self.names[winner.index()],
            );
            let settlement = Settlement { winner, reason };
            let lost = settle::lost("load", table, &one.key, &settlement, row, at, own);
            uncounted.push((at, Lost { id: one.id(table), loser_time: one.time, ..lost }));
        }
        Ok(())
    }
}

impl Loaded {
    /// Adds to the report in how many rows something is counted nowhere.
    pub(super) fn count_uncounted(&mut self, tables: &[Table], uncounted: &[(NodeId, Lost)]) {
        for report in &mut self.tables {
            let is_its = |lost: &Lost| tables[lost.table].name == report.table;
            report.uncounted += uncounted.iter().filter(|(_, lost)| is_its(lost)).count() as u64;
        }
    }
}

impl Added {
    fn id(&self, table: &Table) -> String {
        let mut text = format!("{}\n{:?}\n", table.name, self.changes).into_bytes();
        write_json(&self.key, &mut text);
        let digest = short_digest(text);
        format!("load-{digest}")
    }
}

/// Whether somebody who stays has passed a change. Of two entries of one number it is the earlier: a number is given out again only after
/// a node was put back.
fn was_passed(opened: &Opened, table: &Table, at: NodeId, entry: &Entry, let_in: &[NodeId]) -> bool {
    let installation = opened.present[at.index()].as_ref().map(|presence| &presence.installation);
    let targets = opened.nodes().map(|(node, _)| node).filter(|&node| table.is_target(node));
    targets.filter(|node| *node != at && !let_in.contains(node)).any(|target| {
        let position = opened.proven(table.index, target, at);
        let witness = position.witness.as_ref().filter(|witness| Some(&witness.installation) == installation);
        let latest = witness.and_then(|witness| witness.entries.iter().map(|passed| passed.time).max());
        position.cut.contains(entry.mark, entry.id) && latest.is_some_and(|latest| entry.time <= latest)
    })
}

/// What these changes of a row came to; `None` where nothing was added to a row that was there before.
fn of_one<'t>(key: Key, mut changes: Vec<Entry>, summed: &[usize], name: impl Fn(usize) -> &'t str) -> Option<Added> {
    changes.sort_by_key(|entry| entry.id);
    let (first, last) = (changes.first()?, changes.last()?);
    let before = first.images.as_ref()?.before.as_ref()?;
    let after = last.images.as_ref()?.after.as_ref()?;
    let sides = summed.iter().zip(before.iter().zip(after.iter()));
    let changed = sides.filter(|(_, (before, after))| before != after);
    let told: Vec<String> = changed
        .map(|(place, (before, after))| format!("`{}` was changed from {before} to {after}", name(*place)))
        .collect();
    (!told.is_empty()).then(|| Added {
        key,
        changes: changes.iter().map(|entry| (entry.id, entry.time)).collect(),
        time: last.time,
        told: told.join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Images, Op, Row, Value};

    fn change(id: i64, before: Option<i64>, after: Option<i64>) -> Entry {
        let image = |value: Option<i64>| value.map(|value| -> Row { vec![Value::Int(value)].into() });
        Entry {
            id,
            mark: id,
            op: Op::Update,
            time: 1_000 + id,
            key: vec![Value::Int(1)].into(),
            arrival: None,
            images: Some(Images { before: image(before), after: image(after) }),
        }
    }

    #[test]
    fn only_what_was_added_in_the_end_to_a_row_that_was_there_is_told() {
        let told = |changes: &[(Option<i64>, Option<i64>)]| {
            let mut changes: Vec<Entry> =
                changes.iter().zip(1..).map(|((before, after), id)| change(id, *before, *after)).collect();
            changes.reverse();
            of_one(vec![Value::Int(1)].into(), changes, &[2], |_| "count").map(|one| one.told)
        };
        let twice = [(Some(10), Some(9)), (Some(9), Some(7))];
        assert_eq!(told(&twice).as_deref(), Some("`count` was changed from 10 to 7"));
        assert_eq!(told(&[(Some(10), Some(9)), (Some(9), Some(10))]), None);
        assert_eq!(told(&[(None, Some(9))]), None);
        assert_eq!(told(&[(Some(9), None)]), None);
    }
}
