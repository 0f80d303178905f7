//! How the rows of a node become shared ones and back: renamed columns, and columns that do not live at a node; and before that
//! whatever a plugin makes of the node's table.
//!
//! A lens has two directions (Foster et al. 2007): `get` makes the shared row of a local one; `put` puts a shared row back. A
//! plugin also sees the row that stands there now, so that what the shared row lacks survives; elsewhere such columns are not
//! written.

use std::borrow::Cow;
use std::panic::resume_unwind;
use std::sync::Arc;

use super::apart::blocking;
use super::mapped::{Current, Reshape};
use crate::model::{Grain, Key, KeyRule, Row, TableSpec, Value, shared_key};
use crate::node::Scanned;
use crate::plugin::Put;

/// The lens of one table at one node.
#[derive(Clone, Debug)]
pub struct Lens {
    /// For each local column, or column that the mapping makes, its place in the shared row.
    shared: Vec<usize>,
    width: usize,
    identity: bool,
    /// Places of the shared row whose values are brought to what all nodes keep.
    grains: Vec<(usize, Grain)>,
    mapping: Option<Mapped>,
}

/// A mapping in use.
#[derive(Clone, Debug)]
struct Mapped {
    reshape: Arc<dyn Reshape>,
    /// The places of the key in the node's own rows, and by what rules it is another among the nodes.
    key: Vec<usize>,
    keys: Vec<Option<KeyRule>>,
}

impl Lens {
    pub fn new(spec: &TableSpec, width: usize) -> Lens {
        Lens::of(spec.columns.iter().filter_map(|column| column.shared).collect(), width)
    }

    pub(super) fn of(shared: Vec<usize>, width: usize) -> Lens {
        let identity = shared.len() == width && shared.iter().enumerate().all(|(local, &shared)| local == shared);
        Lens { shared, width, identity, grains: Vec::new(), mapping: None }
    }

    /// One behind a mapping, of which each column has its place in the shared row.
    pub(super) fn behind(reshape: Arc<dyn Reshape>, spec: &TableSpec, shared: Vec<usize>, width: usize) -> Lens {
        let mapping = Some(Mapped { reshape, key: spec.key.clone(), keys: spec.keys.clone() });
        Lens { identity: false, mapping, ..Lens::of(shared, width) }
    }

    /// Whether a plugin maps: what it takes to do so may fail, and takes its time.
    pub fn is_mapped(&self) -> bool {
        self.mapping.is_some()
    }

    pub fn mapping(&self) -> Option<&dyn Reshape> {
        self.mapping.as_ref().map(|mapping| &*mapping.reshape)
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

    /// The shared row of a local one, or of what a mapping made of it; columns that do not live here are NULL, see
    /// [`Lens::has`].
    pub fn get(&self, local: Row) -> Row {
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

    /// The local row of a shared one, or what a mapping has to make it of.
    pub fn put(&self, row: &Row) -> Row {
        self.shared.iter().map(|&place| row[place].clone()).collect()
    }

    /// Brings rows that were read at the node into the shared shape. Of one that has none it is told why. Blocks where a plugin
    /// maps.
    pub fn share<'a>(&self, rows: impl Iterator<Item = &'a mut Result<Row, String>>) {
        let Some(mapping) = &self.mapping else {
            rows.flatten().for_each(|row| *row = self.get(std::mem::take(row)));
            return;
        };
        let rows: Vec<&mut Result<Row, String>> = rows.filter(|row| row.is_ok()).collect();
        let locals: Vec<&Row> = rows.iter().filter_map(|row| row.as_ref().ok()).collect();
        let made = self.made(mapping, &locals);
        rows.into_iter().zip(made).for_each(|(row, made)| *row = made);
    }

    /// The shared rows that a mapping makes, or why there is none. Blocks.
    fn made<'a>(&'a self, mapping: &Mapped, locals: &[&Row]) -> impl Iterator<Item = Result<Row, String>> + use<'a> {
        let made = mapping.reshape.to_shared(locals).into_iter();
        made.map(|made| made.map(|made| self.get(made)).map_err(|failure| failure.to_string()))
    }

    /// The same for whoever may not block: the rows of some items.
    pub async fn share_apart<T: Send + 'static>(
        &self,
        mut items: Vec<T>,
        row: fn(&mut T) -> Option<&mut Result<Row, String>>,
    ) -> Vec<T> {
        if !self.is_mapped() || items.is_empty() {
            self.share(items.iter_mut().filter_map(row));
            return items;
        }
        let lens = self.clone();
        let sharing = blocking(move || {
            lens.share(items.iter_mut().filter_map(row));
            items
        });
        sharing.await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
    }

    /// The shared rows of what stands where a plugin maps, which somebody else needs as well. For whoever may not block.
    pub async fn shared_of(&self, rows: Vec<Current>) -> Vec<Option<Result<Row, String>>> {
        debug_assert!(self.is_mapped(), "whoever has no mapping shares rows themselves");
        let Some(mapping) = self.mapping.clone().filter(|_| !rows.is_empty()) else { return Vec::new() };
        let lens = self.clone();
        let sharing = blocking(move || {
            let locals: Vec<&Row> = rows.iter().flatten().flatten().map(|row| &**row).collect();
            let mut made = lens.made(&mapping, &locals);
            let mut shared = |row: &Result<Arc<Row>, String>| match row {
                Ok(_) => made.next().unwrap_or_else(|| Err("it was not mapped".to_owned())),
                Err(why) => Err(why.clone()),
            };
            rows.iter().map(|row| row.as_ref().map(&mut shared)).collect()
        });
        sharing.await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
    }

    /// The same for rows of a scan. Blocks.
    pub fn share_scanned(&self, scanned: Vec<Scanned>) -> Vec<Scanned> {
        let Some(mapping) = &self.mapping else {
            return scanned.into_iter().map(|scanned| scanned.map(|local| self.get(local))).collect();
        };
        let key = |local: &Row| -> Key { mapping.key.iter().map(|&at| local[at].clone()).collect() };
        let local = |one: &Scanned| one.as_ref().map_or_else(|(key, _)| key.clone(), key);
        let keys: Vec<Key> = scanned.iter().map(|one| shared_key(&mapping.keys, local(one))).collect();
        let mut rows: Vec<Result<Row, String>> = scanned.into_iter().map(|one| one.map_err(|(_, why)| why)).collect();
        self.share(rows.iter_mut());
        rows.into_iter().zip(keys).map(|(row, key)| row.map_err(|why| (key, why))).collect()
    }

    /// The node's own rows of shared ones that are put where others stand, or none; or why there is none. Blocks.
    pub fn localize(&self, puts: &[Put<'_>]) -> Vec<Result<Row, String>> {
        let Some(mapping) = &self.mapping else { return puts.iter().map(|put| Ok(self.put(put.shared))).collect() };
        let narrow: Vec<Cow<'_, Row>> = puts.iter().map(|put| self.narrowed(put.shared)).collect();
        let asked: Vec<Put<'_>> =
            narrow.iter().zip(puts).map(|(shared, put)| Put { shared, current: put.current }).collect();
        let locals = mapping.reshape.to_local(&asked);
        // What was put has to be what is got: or the node would hold what nobody decided, and tell nobody.
        let made: Vec<&Row> = locals.iter().flatten().collect();
        let mut back = self.made(mapping, &made);
        let judged = locals.into_iter().zip(puts).map(|(local, put)| {
            let local = local.map_err(|failure| failure.to_string())?;
            let made = back.next().ok_or("what was made of it for this node was not mapped back")?;
            let got = made.map_err(|why| format!("what was made of it for this node cannot be mapped back: {why}"))?;
            self.is_what_was_put(mapping, &got, put.shared)?;
            Ok(local)
        });
        judged.collect()
    }

    /// The same as [`Lens::put`], without a copy of what has these columns in this order.
    fn narrowed<'a>(&self, row: &'a Row) -> Cow<'a, Row> {
        let straight = self.is_total() && self.shared.is_sorted();
        if straight { Cow::Borrowed(row) } else { Cow::Owned(self.put(row)) }
    }

    fn is_what_was_put(&self, mapping: &Mapped, got: &Row, put: &Row) -> Result<(), String> {
        match self.shared.iter().position(|&place| got[place] != put[place]) {
            None => Ok(()),
            Some(at) => {
                let (told, name) = (mapping.reshape.told(), &mapping.reshape.shape().columns[at].name);
                Err(format!("{told} does not give back what was put: `{name}` would be another"))
            }
        }
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
            assert_eq!(*lens.get(local), [Value::Timestamp(1_500_000), Value::Timestamp(1_000_000)]);
        }
    }

    #[test]
    fn what_was_put_is_what_is_got() {
        let lens = Lens::of(vec![2, 0], 3);
        let local: Row = vec![Value::Int(3), Value::Int(1)].into();
        let shared = lens.get(local.clone());
        assert_eq!(*shared, [Value::Int(1), Value::Null, Value::Int(3)]);
        assert_eq!(lens.put(&shared), local);
        assert!(lens.has(2) && !lens.has(1) && !lens.is_total() && !lens.is_identity());
    }
}
