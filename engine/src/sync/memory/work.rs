//! A transaction that applies, until it commits.

use std::collections::BTreeMap;

use super::{State, key, number};
use crate::model::{Arrival, Entry, Images, Lost, Op, Parked, Row, Value, Vector};
use crate::node::{Move, Note};

#[derive(Clone, Default)]
pub struct Work {
    pub rows: BTreeMap<i64, Option<i64>>,
    pub notes: Vec<Note>,
    /// And since when.
    pub touched: Vec<(i64, Option<i64>)>,
    pub parked: Vec<Parked>,
    pub unparked: Vec<i64>,
    pub lost: Vec<Lost>,
    pub moves: Vec<Move>,
}

impl Work {
    /// Commits all of it at once; vectors are kept in the order of these names.
    pub fn commit(self, state: &mut State, names: &[String]) {
        state.next_mark += 1;
        let mark = state.next_mark;
        state.writes += self.rows.len() as u64;
        for (id, value) in self.rows {
            match value {
                Some(value) => state.rows.insert(id, value),
                None => state.rows.remove(&id),
            };
        }
        for note in self.notes {
            state.next_id += 1;
            let Note { key, op, dot, vector, stamp, images } = note;
            // As a real node would: through the text that is kept.
            let vector = Vector::read(&vector.write(names), names).unwrap();
            let id = state.next_id;
            state.enter(Entry { id, mark, op, time: stamp.time, key, arrival: Some(Arrival { dot, vector }), images });
        }
        for (id, since) in self.touched {
            state.next_id += 1;
            let image = state.rows.get(&id).map(|value| -> Row { vec![Value::Int(*value)].into() });
            let entry = Entry {
                id: state.next_id,
                mark,
                op: if image.is_some() { Op::Update } else { Op::Delete },
                time: since.unwrap_or_else(|| state.clock()),
                key: key(id),
                arrival: None,
                images: Some(Images { before: image.clone(), after: image }),
            };
            state.enter(entry);
        }
        for id in self.unparked {
            state.parked.remove(&id);
        }
        for parked in self.parked {
            state.parked.insert(number(&parked.key[0]), parked);
        }
        for lost in self.lost {
            let name = |lost: &Lost| (lost.id.clone(), lost.loser, lost.loser_time);
            let known = state.journal.iter().any(|known| name(known) == name(&lost));
            if !known {
                state.journal.push(lost);
            }
        }
        for m in self.moves {
            state.positions.insert((m.table, m.source), m.to);
        }
    }
}
