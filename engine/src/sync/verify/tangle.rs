//! Rows that a node refused and may take once others of the same table are written: in which order, and which of them together.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::FixedState;
use petgraph::algo::kosaraju_scc;
use petgraph::graph::DiGraph;

use super::super::table::Table;
use super::mend::{Mend, Told};
use super::report::Counted;
use super::{MENDS_LIMIT, look};
use crate::model::{Key, NodeId, Row, TableSpec, Value};

/// Rows that are kept to be tried again, at most.
const MOST: usize = 250_000;

/// Rows that were refused.
#[derive(Default)]
pub struct Tangle(Vec<Refused>);

/// A row that was refused.
pub struct Refused {
    pub key: Key,
    /// As what it was counted when it was compared.
    pub counted: Counted,
    /// Where and why, if it is one of the first.
    pub told: Told,
    weight: usize,
    strands: Strands,
}

/// What hangs together: digests of a node, a constraint and values.
#[derive(Default)]
pub struct Strands {
    /// It is written after every row that unties one of these,
    after: Vec<u64>,
    /// and before those that are after one of these.
    unties: Vec<u64>,
}

/// By what one row can keep another from being written.
#[derive(Clone, Copy, Hash)]
enum Tie {
    /// A unique value that is taken, until it is given up.
    Unique,
    /// A row that is referred to and not there, until it comes.
    Missing,
    /// A row that is still referred to, until nothing does.
    Referred,
}

impl Strands {
    /// What writing this comes after, and before.
    pub fn of(table: &Table, mend: &Mend) -> Strands {
        let mut strands = Strands::default();
        for (node, row) in &mend.write {
            let Some(spec) = table.spec(*node) else { continue };
            let stood = mend.read.iter().find(|(at, _)| at == node).and_then(|(_, row)| row.as_deref());
            strands.add(*node, spec, stood, row.as_deref());
        }
        strands
    }

    fn add(&mut self, node: NodeId, spec: &TableSpec, stood: Option<&Row>, row: Option<&Row>) {
        let is_own = |schema: &Option<String>, table: &str| *schema == spec.schema && table == spec.local;
        let digest = |tie: Tie, at: usize, columns: &[String], row: Option<&Row>| -> Option<u64> {
            let row = row?;
            let mut hasher = FixedState::default().build_hasher();
            (node, tie, at).hash(&mut hasher);
            for name in columns {
                let column = spec.columns.iter().find(|column| column.name == *name)?;
                let value = &row[column.shared?];
                // It collides with nothing and refers to nothing.
                if *value == Value::Null {
                    return None;
                }
                value.hash(&mut hasher);
            }
            (!columns.is_empty()).then(|| hasher.finish())
        };
        let mut tie = |after: Option<u64>, unties: Option<u64>| {
            if after != unties {
                self.after.extend(after);
                self.unties.extend(unties);
            }
        };
        for (at, unique) in spec.uniques.iter().enumerate() {
            let held = |row| digest(Tie::Unique, at, &unique.columns, row);
            tie(held(row), held(stood));
        }
        for (at, key) in spec.references.iter().enumerate() {
            if !is_own(&key.referenced_schema, &key.referenced_table) {
                continue;
            }
            let refers = |tie, row| digest(tie, at, &key.columns, row);
            let holds = |tie, row| digest(tie, at, &key.referenced_columns, row);
            if refers(Tie::Missing, row) != refers(Tie::Missing, stood) {
                tie(refers(Tie::Missing, row), None);
                tie(None, refers(Tie::Referred, stood));
            }
            if holds(Tie::Missing, row) != holds(Tie::Missing, stood) {
                tie(None, holds(Tie::Missing, row));
                tie(holds(Tie::Referred, stood), None);
            }
        }
    }
}

impl Tangle {
    /// Keeps a row that was refused, if others may have been in its way and there is room for it. `told` is where and why.
    pub fn keep(&mut self, table: &Table, mend: &Mend, told: &[(NodeId, String)], limit: usize) -> bool {
        let strands = Strands::of(table, mend);
        if strands.after.is_empty() || self.0.len() >= MOST {
            return false;
        }
        let told = if self.0.len() < limit { told.to_vec() } else { Vec::new() };
        let (key, counted, weight) = (mend.key.clone(), mend.counted.clone(), mend.weight());
        self.0.push(Refused { key, counted, told, weight, strands });
        true
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn rows(&self) -> impl Iterator<Item = &Refused> {
        self.0.iter()
    }

    /// The keys, in groups to be written one after the other: rows that can only be written together are in one, however many.
    pub fn groups(self) -> Vec<Vec<Key>> {
        let mut graph = DiGraph::<(), ()>::with_capacity(self.0.len(), self.0.len());
        let nodes: Vec<_> = self.0.iter().map(|_| graph.add_node(())).collect();
        let mut unties: HashMap<u64, Vec<usize>> = HashMap::new();
        for (at, refused) in self.0.iter().enumerate() {
            refused.strands.unties.iter().for_each(|strand| unties.entry(*strand).or_default().push(at));
        }
        for (at, refused) in self.0.iter().enumerate() {
            let before = refused.strands.after.iter().filter_map(|strand| unties.get(strand)).flatten();
            before.filter(|&&before| before != at).for_each(|&before| {
                graph.add_edge(nodes[at], nodes[before], ());
            });
        }
        let mut groups: Vec<Vec<Key>> = Vec::new();
        let (mut keys, mut weight) = (0, 0);
        // A component comes after everything that it comes after. (Tarjan's algorithm does the same, and recurses.)
        for knot in kosaraju_scc(&graph) {
            let weighs: usize = knot.iter().map(|node| self.0[node.index()].weight).sum();
            (keys, weight) = (keys + knot.len(), weight + weighs);
            if groups.is_empty() || keys > look::TOGETHER || weight > MENDS_LIMIT {
                (keys, weight) = (knot.len(), weighs);
                groups.push(Vec::new());
            }
            let group = groups.last_mut();
            group.into_iter().for_each(|group| group.extend(knot.iter().map(|node| self.0[node.index()].key.clone())));
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Value;

    fn refused(number: i64, after: &[u64], unties: &[u64], weight: usize) -> Refused {
        let strands = Strands { after: after.to_vec(), unties: unties.to_vec() };
        let key = Key::from(vec![Value::Int(number)]);
        Refused { key, counted: Counted::default(), told: Vec::new(), weight, strands }
    }

    fn numbers(groups: Vec<Vec<Key>>) -> Vec<Vec<String>> {
        let number = |key: &Key| format!("{:?}", key[0]).chars().filter(char::is_ascii_digit).collect::<String>();
        groups.iter().map(|group| group.iter().map(number).collect()).collect()
    }

    /// Each takes what the next gives up; many, as whoever recursed would run out of stack.
    #[test]
    fn a_row_comes_after_those_that_it_needs() {
        let rows = (0..100_000).map(|at| refused(at, &[at as u64 + 1], &[at as u64], 1));
        let order: Vec<String> = numbers(Tangle(rows.collect()).groups()).concat();
        let expected: Vec<String> = (0..100_000).rev().map(|at: i64| at.to_string()).collect();
        assert!(order == expected, "{:?}", &order[..10]);
    }

    #[test]
    fn rows_that_need_each_other_are_in_one_group() {
        let half = MENDS_LIMIT / 2;
        let rows = [
            refused(0, &[1], &[9], half),
            refused(1, &[2], &[1], half),
            refused(2, &[3], &[2], half),
            refused(3, &[1], &[3], half),
            refused(4, &[9], &[], 1),
        ];
        let mut groups = numbers(Tangle(rows.into()).groups());
        groups[0].sort();
        assert_eq!(groups, [vec!["1", "2", "3"], vec!["0", "4"]]);
    }
}
