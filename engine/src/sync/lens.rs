//! The built-in mapping: renamed columns, and columns that do not live at a node.
//!
//! A lens has two directions (Foster et al. 2007): `to_shared` gets the shared row out of a local one; `to_local` puts a
//! shared row back, and sees the row that stands there now so that what the shared row lacks survives.

use crate::model::{Row, TableSpec, Value};

/// The lens of one table at one node.
#[derive(Clone, Debug)]
pub struct Lens {
    /// For each local column its place in the shared row.
    shared: Vec<usize>,
    width: usize,
    identity: bool,
}

impl Lens {
    pub fn new(spec: &TableSpec, width: usize) -> Lens {
        Lens::of(spec.columns.iter().map(|column| column.shared).collect(), width)
    }

    pub(super) fn of(shared: Vec<usize>, width: usize) -> Lens {
        let identity = shared.len() == width && shared.iter().enumerate().all(|(local, &shared)| local == shared);
        Lens { shared, width, identity }
    }

    /// Whether local and shared rows are the same.
    pub fn is_identity(&self) -> bool {
        self.identity
    }

    /// Whether the column at this place of the shared row lives at the node.
    pub fn has(&self, shared: usize) -> bool {
        self.shared.contains(&shared)
    }

    /// Whether every shared column lives at the node.
    pub fn is_total(&self) -> bool {
        self.shared.len() == self.width
    }

    /// The shared row of a local one; columns that do not live here are NULL, see [`Lens::has`].
    pub fn to_shared(&self, local: Row) -> Row {
        if self.is_identity() {
            return local;
        }
        let mut row = vec![Value::Null; self.width];
        for (value, &place) in local.into_iter().zip(&self.shared) {
            row[place] = value;
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
    fn what_was_put_is_what_is_got() {
        let lens = Lens::of(vec![2, 0], 3);
        let local: Row = vec![Value::Int(3), Value::Int(1)].into();
        let shared = lens.to_shared(local.clone());
        assert_eq!(*shared, [Value::Int(1), Value::Null, Value::Int(3)]);
        assert_eq!(lens.to_local(&shared), local);
        assert!(lens.has(2) && !lens.has(1) && !lens.is_total() && !lens.is_identity());
    }
}
