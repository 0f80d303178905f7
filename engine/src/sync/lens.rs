//! The built-in mapping: renamed columns, and columns that do not live at a node.
//!
//! A lens has two directions (Foster et al. 2007): `to_shared` gets the shared row out of a local one; `to_local` puts a
//! shared row back, and sees the row that stands there now so that what the shared row lacks survives.

use crate::model::{Grain, Row, TableSpec, Value};

/// The lens of one table at one node.
#[derive(Clone, Debug)]
pub struct Lens {
    /// For each local column its place in the shared row.
    shared: Vec<usize>,
    width: usize,
    identity: bool,
    /// Places of the shared row whose values are brought to what all nodes keep.
    grains: Vec<(usize, Grain)>,
}

impl Lens {
    pub fn new(spec: &TableSpec, width: usize) -> Lens {
        Lens::of(spec.columns.iter().map(|column| column.shared).collect(), width)
    }

    pub(super) fn of(shared: Vec<usize>, width: usize) -> Lens {
        let identity = shared.len() == width && shared.iter().enumerate().all(|(local, &shared)| local == shared);
        Lens { shared, width, identity, grains: Vec::new() }
    }

    /// The same, which brings the values of some places of the shared row to what all nodes keep.
    pub fn with_grains(mut self, grains: impl Iterator<Item = (usize, Grain)>) -> Lens {
        self.grains = grains.collect();
        self
    }

    /// Whether shared rows are put back as they are.
    pub fn is_identity(&self) -> bool {
        self.identity
    }

    /// Whether the column at this place of the shared row lives at the node.
    pub fn has(&self, shared: usize) -> bool {
        self.shared.contains(&shared)
    }

    /// The columns of the shared row that do not live at the node.
    pub fn missing(&self) -> Vec<usize> {
        (0..self.width).filter(|shared| !self.has(*shared)).collect()
    }

    /// Whether every shared column lives at the node.
    pub fn is_total(&self) -> bool {
        self.shared.len() == self.width
    }

    /// The shared row of a local one; columns that do not live here are NULL, see [`Lens::has`].
    pub fn to_shared(&self, local: Row) -> Row {
        let mut row: Vec<Value> = match self.identity {
            true if self.grains.is_empty() => return local,
            true => local.into(),
            false => {
                let mut row = vec![Value::Null; self.width];
                for (value, &place) in local.into_iter().zip(&self.shared) {
                    row[place] = value;
                }
                row
            }
        };
        for (place, grain) in &self.grains {
            row[*place] = grain.apply(std::mem::replace(&mut row[*place], Value::Null));
        }
        row.into()
    }

    /// The local row of a shared one.
    pub fn to_local(&self, row: &Row) -> Row {
        self.shared.iter().map(|&place| row[place].clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_brought_to_what_all_nodes_keep() {
        for shared in [vec![0, 1], vec![1, 0]] {
            let lens = Lens::of(shared.clone(), 2).with_grains([(1, Grain::Seconds(0))].into_iter());
            let local: Row = shared.iter().map(|_| Value::Timestamp(1_500_000)).collect();
            assert_eq!(*lens.to_shared(local), [Value::Timestamp(1_500_000), Value::Timestamp(1_000_000)]);
        }
    }

    #[test]
    fn what_was_put_is_what_is_got() {
        let lens = Lens::of(vec![2, 0], 3);
        let local: Row = vec![Value::Int(3), Value::Int(1)].into();
        let shared = lens.to_shared(local.clone());
        assert_eq!(*shared, [Value::Int(1), Value::Null, Value::Int(3)]);
        assert_eq!(lens.to_local(&shared), local);
        assert!(lens.has(2) && !lens.has(1) && !lens.is_total() && !lens.is_identity());
    }
}
