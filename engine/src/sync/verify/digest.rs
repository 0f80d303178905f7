//! What a table comes to: sums of row hashes, by parts of the keys. Where the sums of two nodes are equal the rows are.
//!
//! A row's hash is 128 bits wide, over the canonical form of the key and of the columns that are compared, with a seed drawn
//! for each run. Hashes are added up, so the order in which rows are read does not matter; rows that are exchanged, doubled or
//! moved change the sum, since each hash knows its key.

use std::collections::HashMap;
use std::sync::Arc;

use twox_hash::XxHash3_128;

use super::super::lens::Lens;
use super::super::subset::{Judge, Subset};
use super::super::table::Table;
use crate::model::{Key, NodeId, Row, Value, write_canonical};
use crate::node::{LOT, Scanned};

/// Into so many parts the keys of a table are divided by their hash.
const PARTS: usize = 1 << 16;

/// Columns that the same nodes have, and are compared there.
#[derive(Debug, PartialEq)]
pub struct Class {
    /// Places in the shared row, without the key's.
    columns: Vec<usize>,
    /// Where some have filters, of each two a row counts if it belongs at the other. What one node holds alone does not belong there.
    nodes: Vec<NodeId>,
}

/// How rows of a table are compared.
#[derive(Debug)]
pub struct Measure {
    key: Vec<usize>,
    /// The first is that of all nodes, so that it tells which rows there are.
    classes: Vec<Class>,
    seed: u64,
}

impl Measure {
    /// For the rows of these nodes.
    pub fn of(table: &Table, nodes: &[NodeId], seed: u64) -> Measure {
        if table.has_subsets() {
            return Measure { key: table.key.clone(), classes: parts(table, nodes), seed };
        }
        let mut classes = vec![Class { columns: Vec::new(), nodes: nodes.to_vec() }];
        for column in (0..table.columns.len()).filter(|column| !table.key.contains(column)) {
            let has = |node: &&NodeId| table.form(**node).is_some_and(|form| form.lens.has(column));
            let holders: Vec<NodeId> = nodes.iter().filter(has).copied().collect();
            // What goes one way is compared with where it comes from.
            if holders.len() < 2 || table.from.is_some_and(|from| !holders.contains(&from)) {
                continue;
            }
            match classes.iter_mut().find(|class| class.nodes == holders) {
                Some(class) => class.columns.push(column),
                None => classes.push(Class { columns: vec![column], nodes: holders }),
            }
        }
        Measure { key: table.key.clone(), classes, seed }
    }

    /// Whether the class is that of rows which do not belong at their node.
    fn is_astray(&self, class: usize) -> bool {
        self.classes[class].nodes.len() == 1 && class > 0
    }

    fn hash(&self, bytes: &[u8]) -> u128 {
        XxHash3_128::oneshot_with_seed(self.seed, bytes)
    }
}

/// How the rows of nodes are compared of which some have filters: those that hold all with each other, and each of the others with
/// one of these; if there is none, each two of them, and each by itself.
fn parts(table: &Table, nodes: &[NodeId]) -> Vec<Class> {
    let columns: Vec<usize> = (0..table.columns.len()).filter(|column| !table.key.contains(column)).collect();
    let class = |nodes: Vec<NodeId>| Class { columns: columns.clone(), nodes };
    let (mut whole, parts): (Vec<NodeId>, Vec<NodeId>) = nodes.iter().partition(|node| table.subset(**node).is_none());
    whole.sort_by_key(|node| Some(*node) != table.from);
    match whole.first() {
        Some(&first) => {
            let pairs: Vec<Class> = parts.into_iter().map(|part| class(vec![first, part])).collect();
            std::iter::once(class(whole)).chain(pairs).collect()
        }
        None => {
            let pairs = parts.iter().enumerate();
            let pairs = pairs.flat_map(|(at, one)| parts[at + 1..].iter().map(move |other| vec![*one, *other]));
            pairs.chain(parts.iter().map(|part| vec![*part])).map(class).collect()
        }
    }
}

/// Which rows count in a class: those that belong by this filter, or those that do not.
type Mask = Option<(Arc<dyn Judge>, bool)>;

/// Takes the measure of one node's rows.
pub struct Ruler {
    measure: Arc<Measure>,
    node: NodeId,
    lens: Lens,
    /// Rows as they were read which plugins are to map or judge, and their size in bytes.
    pending: Vec<Scanned>,
    weight: usize,
    /// The places of the node's classes.
    classes: Vec<usize>,
    /// By these classes.
    masks: Vec<Mask>,
    buffer: Vec<u8>,
    /// By these classes; none where the row does not count.
    hashes: Vec<Option<u128>>,
}

impl Ruler {
    fn new(measure: &Arc<Measure>, node: NodeId, subsets: &[Option<Subset>], lens: &Lens) -> Ruler {
        let classes = measure.classes.iter().enumerate().filter(|(_, class)| class.nodes.contains(&node));
        let judge = |node: NodeId| Some(Arc::clone(&subsets.get(node.index())?.as_ref()?.judge));
        let mask = |class: &Class| match class.nodes[..] {
            _ if subsets.is_empty() => None,
            [one] => judge(one).map(|judge| (judge, false)),
            [one, other] => judge(if one == node { other } else { one }).map(|judge| (judge, true)),
            _ => None,
        };
        Ruler {
            measure: measure.clone(),
            node,
            lens: lens.clone(),
            pending: Vec::new(),
            weight: 0,
            masks: classes.clone().map(|(_, class)| mask(class)).collect(),
            classes: classes.map(|(at, _)| at).collect(),
            buffer: Vec::new(),
            hashes: Vec::new(),
        }
    }

    /// Whether plugins are asked about the rows.
    fn asks(&self) -> bool {
        self.lens.is_mapped() || self.masks.iter().any(Option::is_some)
    }

    /// For each row in which of the node's classes it counts. What nobody can tell counts as if it belonged; the second look sees to
    /// it.
    fn count_in(&self, scanned: &[Scanned]) -> Vec<Vec<bool>> {
        let mut counts = vec![vec![true; self.classes.len()]; scanned.len()];
        let readable = scanned.iter().enumerate().filter_map(|(at, scanned)| Some((at, scanned.as_ref().ok()?)));
        let (places, rows): (Vec<usize>, Vec<&Row>) = readable.unzip();
        for (class, mask) in self.masks.iter().enumerate() {
            let Some((judge, wanted)) = mask else { continue };
            for (at, answer) in places.iter().zip(judge.judge(&rows)) {
                counts[*at][class] = answer.unwrap_or(true) == *wanted;
            }
        }
        counts
    }

    /// The hash of the key, and the key if it is `wanted`; the hashes of the row for each of the node's classes in which it counts
    /// are left in `hashes`.
    fn apply(&mut self, scanned: Scanned, counts: &[bool], wanted: impl FnOnce(u128) -> bool) -> (u128, Option<Key>) {
        let found = self.measured(scanned, wanted);
        self.hashes.iter_mut().zip(counts).filter(|(_, counts)| !**counts).for_each(|(hash, _)| *hash = None);
        found
    }

    fn measured(&mut self, scanned: Scanned, wanted: impl FnOnce(u128) -> bool) -> (u128, Option<Key>) {
        let Ruler { measure, classes, buffer, hashes, node, .. } = self;
        hashes.clear();
        buffer.clear();
        match scanned {
            Ok(row) => {
                measure.key.iter().for_each(|&at| write_canonical(&row[at], buffer));
                let key_hash = measure.hash(buffer);
                let end = buffer.len();
                for &class in &*classes {
                    buffer.truncate(end);
                    measure.classes[class].columns.iter().for_each(|&at| write_canonical(&row[at], buffer));
                    hashes.push(Some(measure.hash(buffer)));
                }
                let key = wanted(key_hash).then(|| measure.key.iter().map(|&at| row[at].clone()).collect());
                (key_hash, key)
            }
            Err((key, _)) => {
                key.iter().for_each(|value| write_canonical(value, buffer));
                let key_hash = measure.hash(buffer);
                // Like no row anywhere: it has to be looked at.
                buffer.extend_from_slice(b"\xFFodd");
                buffer.extend_from_slice(&node.0.to_le_bytes());
                let hash = measure.hash(buffer);
                hashes.extend(classes.iter().map(|_| Some(hash)));
                (key_hash, wanted(key_hash).then_some(key))
            }
        }
    }
}

fn part_of(key_hash: u128) -> usize {
    key_hash as usize % PARTS
}

/// What takes in the rows of one node.
pub trait Taker: Send + 'static {
    fn ruler(&mut self) -> &mut Ruler;

    /// Measures a row in the shared shape, which counts in these of the node's classes.
    fn add(&mut self, scanned: Scanned, counts: &[bool]);

    fn take(&mut self, scanned: Scanned) {
        let ruler = self.ruler();
        if !ruler.asks() {
            let scanned = scanned.map(|local| ruler.lens.get(local));
            return self.add(scanned, &[]);
        }
        ruler.weight += scanned.iter().flat_map(|row| row.iter()).map(Value::weight).sum::<usize>() + 256;
        ruler.pending.push(scanned);
        if ruler.weight >= LOT {
            self.end();
        }
    }

    /// There are no more.
    fn end(&mut self) {
        let ruler = self.ruler();
        ruler.weight = 0;
        let pending = ruler.lens.share_scanned(std::mem::take(&mut ruler.pending));
        let counts = ruler.count_in(&pending);
        pending.into_iter().zip(counts).for_each(|(scanned, counts)| self.add(scanned, &counts));
    }
}

/// The sums of one node.
pub struct Sums {
    ruler: Ruler,
    /// By the node's classes and part.
    sums: Vec<Vec<u128>>,
    /// Rows in each part.
    counts: Vec<u32>,
    pub rows: u64,
}

impl Sums {
    pub fn new(measure: &Arc<Measure>, node: NodeId, subsets: &[Option<Subset>], lens: &Lens) -> Sums {
        let ruler = Ruler::new(measure, node, subsets, lens);
        let sums = ruler.classes.iter().map(|_| vec![0; PARTS]).collect();
        Sums { ruler, sums, counts: vec![0; PARTS], rows: 0 }
    }

    fn sum(&self, class: usize, part: usize) -> Option<u128> {
        let own = self.ruler.classes.iter().position(|&own| own == class)?;
        Some(self.sums[own][part])
    }
}

impl Taker for Sums {
    fn ruler(&mut self) -> &mut Ruler {
        &mut self.ruler
    }

    fn add(&mut self, scanned: Scanned, counts: &[bool]) {
        let (key_hash, _) = self.ruler.apply(scanned, counts, |_| false);
        let part = part_of(key_hash);
        for (sums, hash) in self.sums.iter_mut().zip(&self.ruler.hashes) {
            sums[part] = sums[part].wrapping_add(hash.unwrap_or(0));
        }
        self.counts[part] = self.counts[part].saturating_add(1);
        self.rows += 1;
    }
}

/// The parts in which any sums of a class differ, each with the number of rows that all nodes together have there.
pub fn differing(measure: &Measure, all: &[Sums]) -> Vec<(usize, u64)> {
    let differs = |part: &usize| {
        (0..measure.classes.len()).any(|class| {
            let mut sums = all.iter().filter_map(|own| own.sum(class, *part));
            let first = sums.next();
            // Of what is to be nowhere there is nothing to compare with.
            let astray = measure.is_astray(class) && first.is_some_and(|sum| sum != 0);
            astray || sums.any(|sum| Some(sum) != first)
        })
    };
    let rows = |part: usize| all.iter().map(|own| u64::from(own.counts[part])).sum();
    (0..PARTS).filter(differs).map(|part| (part, rows(part))).collect()
}

/// Some of the parts.
pub struct Selection(Vec<u64>);

impl Selection {
    pub fn of(parts: &[(usize, u64)]) -> Selection {
        let mut bits = vec![0; PARTS / 64];
        parts.iter().for_each(|(part, _)| bits[part / 64] |= 1 << (part % 64));
        Selection(bits)
    }

    fn has(&self, part: usize) -> bool {
        self.0[part / 64] >> (part % 64) & 1 == 1
    }
}

/// A row: the hash of its key, the key, and its hashes by the node's classes.
type Measured = (u128, Key, Box<[Option<u128>]>);

/// The rows of one node in some parts: the key, and the hashes by the node's classes.
pub struct Narrow {
    ruler: Ruler,
    selection: Arc<Selection>,
    rows: Vec<Measured>,
}

impl Narrow {
    pub fn new(
        measure: &Arc<Measure>,
        node: NodeId,
        subsets: &[Option<Subset>],
        lens: &Lens,
        selection: &Arc<Selection>,
    ) -> Narrow {
        let ruler = Ruler::new(measure, node, subsets, lens);
        Narrow { ruler, selection: selection.clone(), rows: Vec::new() }
    }
}

impl Taker for Narrow {
    fn ruler(&mut self) -> &mut Ruler {
        &mut self.ruler
    }

    fn add(&mut self, scanned: Scanned, counts: &[bool]) {
        let selection = &self.selection;
        let (key_hash, key) = self.ruler.apply(scanned, counts, |key_hash| selection.has(part_of(key_hash)));
        if let Some(key) = key {
            self.rows.push((key_hash, key, self.ruler.hashes.as_slice().into()));
        }
    }
}

/// The keys whose rows are not alike at all nodes.
pub fn unlike(measure: &Measure, all: Vec<Narrow>) -> Vec<Key> {
    struct Seen {
        key: Key,
        /// By class: the hash that every node with the class has to have, and how many have it.
        hashes: Vec<(u128, usize)>,
        /// Whose row came last.
        last: Option<NodeId>,
        alike: bool,
    }
    let mut seen: HashMap<u128, Seen> = HashMap::new();
    for Narrow { ruler, rows, .. } in all {
        for (key_hash, key, hashes) in rows {
            let row = seen.entry(key_hash).or_insert_with(|| Seen {
                key,
                hashes: vec![(0, 0); measure.classes.len()],
                last: None,
                alike: true,
            });
            // Of several rows of one key nobody can tell which is the one that other nodes have.
            row.alike &= row.last.replace(ruler.node) != Some(ruler.node);
            for (&class, hash) in ruler.classes.iter().zip(hashes) {
                let Some(hash) = hash else { continue };
                let (known, count) = &mut row.hashes[class];
                row.alike &= *count == 0 || *known == hash;
                (*known, *count) = (hash, *count + 1);
            }
        }
    }
    let whole = |row: &Seen| {
        let complete = |(at, (class, (_, count))): (usize, (&Class, &(u128, usize)))| {
            *count == 0 && at > 0 || *count == class.nodes.len() && !measure.is_astray(at)
        };
        row.alike && measure.classes.iter().zip(&row.hashes).enumerate().all(complete)
    };
    seen.into_values().filter(|row| !whole(row)).map(|row| row.key).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::plugin::Failure;

    const A: NodeId = NodeId(0);
    const B: NodeId = NodeId(1);

    fn row(cells: &[i64]) -> Row {
        cells.iter().map(|cell| Value::Int(*cell)).collect()
    }

    fn measure() -> Arc<Measure> {
        let class = Class { columns: vec![1, 2], nodes: vec![A, B] };
        Arc::new(Measure { key: vec![0], classes: vec![class], seed: 7 })
    }

    fn lens() -> Lens {
        Lens::of(vec![0, 1, 2], 3)
    }

    /// The keys that are told to differ.
    fn compared(a: &[&[i64]], b: &[&[i64]]) -> Vec<Key> {
        let measure = measure();
        let sums = |node, rows: &[&[i64]]| {
            let mut sums = Sums::new(&measure, node, &[], &lens());
            rows.iter().for_each(|cells| sums.take(Ok(row(cells))));
            sums
        };
        let parts = differing(&measure, &[sums(A, a), sums(B, b)]);
        let selection = Arc::new(Selection::of(&parts));
        let narrow = |node, rows: &[&[i64]]| {
            let mut narrow = Narrow::new(&measure, node, &[], &lens(), &selection);
            rows.iter().for_each(|cells| narrow.take(Ok(row(cells))));
            narrow
        };
        let mut keys = unlike(&measure, vec![narrow(A, a), narrow(B, b)]);
        keys.sort_by_key(|key| format!("{key:?}"));
        keys
    }

    #[test]
    fn order_does_not_matter_and_everything_else_does() {
        assert!(compared(&[&[1, 5, 6], &[2, 7, 8]], &[&[2, 7, 8], &[1, 5, 6]]).is_empty());
        let keys = |keys: &[i64]| keys.iter().map(|key| row(&[*key])).collect::<Vec<Key>>();
        // Values of two columns, and of two rows, that change places.
        assert_eq!(compared(&[&[1, 5, 6], &[2, 7, 8]], &[&[2, 7, 8], &[1, 6, 5]]), keys(&[1]));
        assert_eq!(compared(&[&[1, 5, 6], &[2, 7, 8]], &[&[1, 7, 8], &[2, 5, 6]]), keys(&[1, 2]));
        // What would cancel out in a sum of values.
        assert_eq!(compared(&[&[1, 5, 5], &[2, 5, 5]], &[&[1, 4, 5], &[2, 6, 5]]), keys(&[1, 2]));
        assert_eq!(compared(&[&[1, 5, 6]], &[]), keys(&[1]));
        assert_eq!(compared(&[], &[&[1, 5, 6], &[9, 0, 0]]), keys(&[1, 9]));
    }

    #[test]
    fn rows_that_cannot_be_read_are_like_no_other() {
        let measure = measure();
        let mut sums = [Sums::new(&measure, A, &[], &lens()), Sums::new(&measure, B, &[], &lens())];
        sums.iter_mut().for_each(|sums| sums.take(Err((row(&[1]), "odd".to_owned()))));
        assert_eq!(differing(&measure, &sums).len(), 1);
    }

    /// SQLite takes several rows whose key is NULL: as many as there are nodes do not stand for one row at each.
    #[test]
    fn rows_of_one_key_at_one_node_are_not_those_of_several_nodes() {
        let measure = measure();
        let selection = Arc::new(Selection(vec![u64::MAX; PARTS / 64]));
        let key: Row = vec![Value::Null].into();
        for scanned in
            [Err((key.clone(), "odd".to_owned())), Ok(vec![Value::Null, Value::Int(5), Value::Int(6)].into())]
        {
            let mut all = [A, B].map(|node| Narrow::new(&measure, node, &[], &lens(), &selection));
            (0..2).for_each(|_| all[0].take(scanned.clone()));
            assert_eq!(unlike(&measure, all.into()), std::slice::from_ref(&key), "{scanned:?}");
        }
    }

    /// Everything belongs there; knows how much it was shown at once, in bytes.
    #[derive(Debug, Default)]
    struct Weighed(AtomicUsize);

    impl Judge for Weighed {
        fn judge(&self, rows: &[&Row]) -> Vec<std::result::Result<bool, Failure>> {
            let shown = rows.iter().flat_map(|row| row.iter()).map(Value::weight).sum();
            self.0.fetch_max(shown, Ordering::Relaxed);
            vec![Ok(true); rows.len()]
        }

        fn told(&self) -> String {
            "scales".to_owned()
        }
    }

    #[test]
    fn filters_are_asked_about_no_more_than_fits_into_memory() {
        let judge = Arc::new(Weighed::default());
        let subsets = [None, Some(Subset { judge: judge.clone(), mark: None })];
        let mut sums = Sums::new(&measure(), A, &subsets, &lens());
        let large = |id: i64| vec![Value::Int(id), Value::text("x".repeat(100 << 10)), Value::Null].into();
        (0..100).for_each(|id| sums.take(Ok(large(id))));
        sums.end();
        let shown = judge.0.load(Ordering::Relaxed);
        assert!(sums.rows == 100 && shown > LOT / 2 && shown < 2 * LOT, "{shown} bytes");
    }
}
