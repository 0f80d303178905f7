//! Engines that replace rows of which no history tells, at the same time and by different rules.
//!
//! Such writes move no position and leave no entry. Each is safe by itself; but of two that have both read a = 10 and b = 20,
//! one writes a's row to b and the other b's row to a, and the rows are exchanged. So every node counts for each table how
//! often rows were settled there, in a position of its own that belongs to no history. What is settled between rows that
//! differ passes the turn on at every node that holds the table, also where nothing is written; what only copies rows to where
//! they are missing passes nothing on. Both are written only where the turn is still what it was when the rows were read.
//!
//! Where that is so at every node, two settlements are of one order everywhere: had each come before the other at some node,
//! each would have read before the other had written anything. Whoever was overtaken anywhere looks at everything anew, and the
//! last of them finds what all others left.

use super::cycle::Batches;
use super::opened::Opened;
use super::session::Session;
use crate::model::{Cut, NodeId, time};
use crate::node::Move;
use crate::node::apply::Batch;

/// The source of the position in which turns are counted: no node has this name.
pub const UNTOLD: &str = "";

/// Which rows a settlement is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Settles {
    /// Rows that are missing somewhere, and alike wherever they are.
    #[default]
    Missing,
    /// Also rows that differ.
    Differing,
}

impl Session {
    /// Makes batches claim the turn of a table at these nodes, and pass it on where rows that differ are settled. Gives back
    /// what it is then.
    pub(super) fn take_turn(
        &self,
        table: usize,
        nodes: &[NodeId],
        settles: Settles,
        opened: &Opened,
        batches: &mut Batches,
    ) -> Option<Cut> {
        let table = &self.tables[table];
        let step = |node: NodeId, to: Cut| Move {
            table: table.name.clone(),
            source: UNTOLD.to_owned(),
            from: opened.turn(table.index, node).clone(),
            to: to.into(),
        };
        if settles == Settles::Missing {
            for &node in nodes {
                let writes = |batch: &&mut Batch| batch.tables.iter().any(|part| part.spec.index == table.index);
                if let Some(batch) = batches[node.index()].as_mut().filter(writes) {
                    batch.stays.push(step(node, opened.turn(table.index, node).clone()));
                }
            }
            return None;
        }
        // Never the same again, also where a reset begins anew.
        let last = nodes.iter().map(|&node| opened.turn(table.index, node).next()).fold(time::now(), i64::max);
        let next = Cut::new(last + 1, Vec::new());
        for &node in nodes {
            batches[node.index()].get_or_insert_default().moves.push(step(node, next.clone()));
        }
        Some(next)
    }
}
