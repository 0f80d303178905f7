//! One part of a table, read in steps, so that it is cut short where rows are large.

use super::{PROBE, WEIGHT};
use crate::model::{Key, TableSpec, Value};
use crate::node::{Node, Result, Walked};

/// Rows of a step at most, and of the first where nobody knows yet how large they are.
const STEP: usize = 1_000;
const FIRST: usize = 16;

/// The rows behind a key, as [`Node::walk`] has them: at most `limit`, and not many more than weigh [`WEIGHT`] together.
pub(super) async fn read_part(
    node: &mut dyn Node,
    spec: &TableSpec,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<Walked>> {
    let mut rows: Vec<Walked> = Vec::new();
    let mut weight = 0;
    let mut step = first_step(limit);
    loop {
        let behind = rows.last().map(|(key, _)| key.clone());
        let some = node.walk(spec, behind.as_ref().or(after), step).await?;
        let is_end = some.len() < step;
        weight += some.iter().flat_map(|(_, row)| row.iter().flatten().map(Value::weight)).sum::<usize>();
        rows.extend(some);
        match next_step(step, limit, rows.len(), weight).filter(|_| !is_end) {
            Some(next) => step = next,
            None => return Ok(rows),
        }
    }
}

fn first_step(limit: usize) -> usize {
    if limit <= PROBE { FIRST.min(limit) } else { STEP }
}

/// How many rows more are read at once after so many of such a weight; `None` if it is enough.
fn next_step(step: usize, limit: usize, rows: usize, weight: usize) -> Option<usize> {
    let room = WEIGHT.checked_sub(weight)? / (weight / rows.max(1)).max(1);
    let next = (step * 8).min(STEP).min(limit.checked_sub(rows)?).min(room);
    (next > 0).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many rows are read of a table with rows of these sizes, in how many steps.
    fn read(limit: usize, size: impl Fn(usize) -> usize) -> (usize, usize) {
        let (mut rows, mut weight, mut steps) = (0, 0, 0);
        let mut next = Some(first_step(limit));
        while let Some(step) = next {
            weight += (rows..rows + step).map(&size).sum::<usize>();
            (rows, steps) = (rows + step, steps + 1);
            next = next_step(step, limit, rows, weight);
        }
        (rows, steps)
    }

    #[test]
    fn a_part_ends_where_rows_are_large() {
        const MIB: usize = 1 << 20;
        assert_eq!(read(20_000, |_| 100), (20_000, 20));
        assert_eq!(read(PROBE, |_| 100), (PROBE, 3));
        assert_eq!(read(1, |_| 100), (1, 1));
        // Nobody knows how large rows are before the first are there.
        assert_eq!(read(PROBE, |_| 10 * MIB), (FIRST, 1));
        // Larger ones come behind small ones.
        assert_eq!(read(20_000, |row| if row < 3_500 { 100 } else { MIB }), (4_000, 4));
        assert!(read(20_000, |_| 2_000).0 < 7_000);
    }
}
