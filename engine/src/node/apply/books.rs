//! What is written beside the rows: what waits, what lost, what was seen, and the positions.

use std::borrow::Cow;
use std::collections::BTreeMap;

use tracing::info;

use super::{Application, Applied, Decision, Otherwise, TableBatch};
use crate::model::{Lost, Op, Parked, ParkedCode, TableSpec, Value, Waiting, time};
use crate::node::{Node, Note, Reason, Refusal, Result};

impl Application<'_> {
    /// Everything that stands beside the rows: what waits, what lost, what was seen, and the positions.
    pub(super) async fn keep_books(self, node: &mut dyn Node, specs: &[TableSpec]) -> Result<Applied> {
        let held = self.held.len() as u64;
        let mut applied = Applied { written: self.written, deleted: self.deleted, held, ..Applied::default() };
        let mut park = Vec::new();
        let (mut lost, mut lost_again) = (Vec::new(), Vec::new());
        // What is going to lose, although nothing can take its place yet.
        let mut losing: Vec<Lost> = Vec::new();
        let mut noted = 0;
        for (at, table) in self.batch.tables.iter().enumerate() {
            let mut notes: Vec<Cow<'_, Note>> = Vec::new();
            let mut unpark = Vec::new();
            for (number, decision) in table.decisions.iter().enumerate() {
                if self.touched.contains(&(at, number)) {
                    node.touch(&table.spec, &decision.key, decision.touch).await?;
                }
                match self.refused.get(&(at, number)) {
                    Some(reason) if decision.otherwise.is_none() => {
                        if reason.code != ParkedCode::Busy {
                            losing.extend(decision.lost.iter().map(|lost| Lost {
                                reason: format!("{}; it stays until the other row can be written here", lost.reason),
                                ..lost.clone()
                            }));
                        }
                        applied.left.push((table.spec.index, decision.key.clone(), reason.clone()));
                    }
                    Some(reason) => {
                        // What is refused is decided again, but what waits then counts as having won against what stands here.
                        lost_again.extend(decision.lost.iter().chain(&decision.lost_here));
                        // Whatever else it waits for, nothing else would tell that what stands is to be weighed first.
                        let code = match self.untouched.contains(&(at, number)) {
                            true if reason.code.is_owed() => ParkedCode::Unheard,
                            true => ParkedCode::Unweighed,
                            false => reason.code,
                        };
                        let Some(mut waits) = parked(table, decision, code, reason) else { continue };
                        // Whatever else comes to it meanwhile, it is told how long somebody holds a row.
                        let held = decision.waiting.as_deref().filter(|old| old.code.is_passing() && code.is_passing());
                        waits.since = held.map_or(waits.since, |old| old.since);
                        let same = |old: &Parked| {
                            old.vector == waits.vector
                                && old.code == waits.code
                                && old.standing == waits.standing
                                && old.message == waits.message
                        };
                        let new = !decision.waiting.as_deref().is_some_and(same);
                        if !new && self.spared.contains(&(at, number)) {
                            *applied.spared.entry(table.spec.index).or_default() += 1;
                        }
                        let refusal = Refusal { key: waits.key.clone(), reason: reason.clone(), new };
                        applied.refused.push((table.spec.index, refusal));
                        if new {
                            // Changes that have to be counted one by one, and by which rows were made, are told all the same:
                            // whoever takes what waits here may have no other way to hear of each.
                            let counted = decision.notes.iter().filter(|note| note.images.is_some());
                            notes.extend(counted.filter(|note| fits(&table.spec, note)).map(Cow::Borrowed));
                            let made = decision.notes.iter().filter(|note| note.tells_who_made()).cloned();
                            notes.extend(made.map(|note| Cow::Owned(Note { op: Op::Pass, ..note })));
                            park.push(waits);
                        }
                    }
                    None => {
                        let lost = if decision.lost_before { &mut lost_again } else { &mut lost };
                        lost.extend(decision.lost.iter().chain(&decision.lost_here));
                        notes.extend(decision.notes.iter().map(|note| fitting(&table.spec, note)));
                        if decision.waiting.is_some() {
                            applied.unparked.push((table.spec.index, decision.key.clone()));
                            unpark.push(&decision.key);
                        }
                    }
                }
            }
            if !notes.is_empty() {
                noted += notes.len();
                node.note(&table.spec, &notes.iter().map(Cow::as_ref).collect::<Vec<_>>()).await?;
            }
            if !unpark.is_empty() {
                node.unpark(&table.spec, &unpark).await?;
            }
        }
        if !park.is_empty() {
            node.park(specs, &park).await?;
        }
        lost_again.extend(&losing);
        for (lost, again) in [(&lost, false), (&lost_again, true)] {
            if !lost.is_empty() {
                node.record(specs, lost, again).await?;
            }
        }
        if !self.batch.moves.is_empty() {
            node.advance(&self.batch.moves).await?;
        }
        let told = |refusal: &&(usize, Refusal)| refusal.1.new && !refusal.1.reason.code.is_passing();
        // By table and code: thousands may wait for one reason.
        let mut waiting: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for (table, refusal) in applied.refused.iter().filter(told) {
            let table = self.batch.tables.iter().find(|batch| batch.spec.index == *table);
            let table = table.map_or("", |batch| &batch.spec.name);
            *waiting.entry((table, refusal.reason.code.as_str())).or_default() += 1;
        }
        for ((table, code), rows) in waiting {
            // The reasons may hold values of the rows, and are for those who may see them. How many wait in the end the command tells: some
            // wait for a step or two only.
            info!(node = self.batch.node.as_str(), table, code, rows, "Rows wait; `concord parked list` tells why.");
        }
        applied.committed = applied.written + applied.deleted > 0
            || noted + park.len() + lost.len() + lost_again.len() + applied.unparked.len() > 0
            || self.batch.moves.len() + self.touched.len() > 0;
        Ok(applied)
    }
}

/// Whether the node's history can hold the values before and after a change, which may come from a wider column.
fn fits(spec: &TableSpec, note: &Note) -> bool {
    let sides = note.images.iter().flat_map(|images| [&images.before, &images.after]).flatten();
    let mut values = sides.flat_map(|side| spec.image_columns().zip(side.iter()));
    values.all(|(column, value)| is_finite(value) && column.domain.holds(value).is_ok())
}

/// Not every database has the others, and nothing can be counted of them.
fn is_finite(value: &Value) -> bool {
    match value {
        Value::Float(value) => value.is_finite(),
        Value::Decimal(value) => value.is_finite(),
        _ => true,
    }
}

/// The note as the node's history can hold it. Without the values it still tells that the change was seen, whose sum is part of the
/// row that stands there.
fn fitting<'n>(spec: &TableSpec, note: &'n Note) -> Cow<'n, Note> {
    if fits(spec, note) { Cow::Borrowed(note) } else { Cow::Owned(Note { images: None, ..note.clone() }) }
}

fn parked(table: &TableBatch, decision: &Decision, code: ParkedCode, reason: &Reason) -> Option<Parked> {
    let Otherwise { vector, stamp, row, unknown, standing, standing_time } = decision.otherwise.as_ref()?;
    Some(Parked {
        table: table.spec.index,
        read: table.read.clone().unwrap_or_default(),
        key: decision.key.clone(),
        code,
        message: reason.message.clone(),
        since: time::now(),
        vector: vector.clone(),
        stamp: *stamp,
        content: match row.as_deref() {
            Some(row) => Waiting::Row { row: row.clone(), unknown: unknown.clone() },
            None => Waiting::Delete,
        },
        standing: standing.clone(),
        standing_time: *standing_time,
    })
}
