//! Engines that replace rows of which no history tells, at the same time and by different rules.
//!
//! Such writes move no position and leave no entry. Each is safe by itself; but of two that have both read a = 10 and b = 20,
//! one writes a's row to b and the other b's row to a, and the rows are exchanged. So every node counts for each table how
//! often rows were settled there, in a position of its own that belongs to no history. What is settled between rows that
//! differ passes the turn on at every node that holds the table, also where nothing is written; what only copies rows to where
//! they are missing passes nothing on. Both are written only where the turn is still what it was when the rows were read.
//!
//! A sync passes no turn on. But where rows do not belong everywhere, it may pass a change by because of what stands at a node, or does
//! not, and writes nothing there that would look once more. So of such a table ([`Table::rests_on_what_stands`]) it claims the turn
//! wherever it moves a position, and what copies rows passes it on where it writes, and nowhere else: whoever loses a node has
//! what it wanted to do there either done or to be weighed anew, and needs the nodes no more where it has won. A sync keeps nobody
//! from anything by that, as the turn stays what it is; and what keeps it from its end has an end.
//!
//! Where that is so at every node, two settlements are of one order everywhere: had each come before the other at some node,
//! each would have read before the other had written anything. Whoever was overtaken anywhere looks at everything anew, and the
//! last of them finds what all others left.

use super::cycle::Batches;
use super::opened::Opened;
use super::session::Session;
use super::table::Table;
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
    /// Makes batches claim the turn of a table at these nodes, and pass it on: where rows that differ are settled everywhere, otherwise
    /// only of some tables and where rows are written. Gives back what it is then.
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
        let writes = |batch: &&mut Batch| batch.tables.iter().any(|part| part.spec.index == table.index);
        // Who moves rows by other filters than those that are kept lets no sync go by the table, and needs turns that are alike.
        let as_kept = nodes.iter().all(|node| table.as_installed.contains_key(node));
        let stays = settles == Settles::Missing && !(as_kept && table.rests_on_what_stands());
        // Never the same again, also where a reset begins anew.
        let last = nodes.iter().map(|&node| opened.turn(table.index, node).next()).fold(time::now(), i64::max);
        let next = Cut::new(last + 1, Vec::new());
        for &node in nodes {
            let batch = match settles {
                Settles::Missing => batches[node.index()].as_mut().filter(writes),
                Settles::Differing => Some(batches[node.index()].get_or_insert_default()),
            };
            let Some(batch) = batch else { continue };
            let to = if stays { opened.turn(table.index, node) } else { &next };
            let step = step(node, to.clone());
            // The sync may have claimed it besides.
            batch.stays.retain(|stay| !stay.is_of(&step));
            let steps = if stays { &mut batch.stays } else { &mut batch.moves };
            steps.push(step);
        }
        (!stays).then_some(next)
    }

    /// Makes the batches of a sync claim the turns of tables of which they may pass changes by because of what stands where these would
    /// go.
    pub(super) fn claim_turns(&self, opened: &Opened, batches: &mut Batches) {
        for (member, batch) in self.members.iter().zip(batches) {
            let Some(batch) = batch else { continue };
            let turns = self.turns(opened, member.id, &batch.moves);
            batch.stays.extend(turns);
        }
    }

    /// The turns that go with such moves at a node, as steps that stay where they are.
    pub(super) fn turns(&self, opened: &Opened, node: NodeId, moves: &[Move]) -> Vec<Move> {
        let is_moved = |table: &&Table| moves.iter().any(|step| step.table == table.name);
        let tables = self.tables.iter().filter(|table| table.rests_on_what_stands()).filter(is_moved);
        let stay = |table: &Table| {
            let turn = opened.turn(table.index, node);
            Move { table: table.name.clone(), source: UNTOLD.to_owned(), from: turn.clone(), to: turn.clone().into() }
        };
        tables.map(stay).collect()
    }
}

impl Table {
    /// Whether a sync may leave a node as it is because of what it read there, also where nothing was changed there: rows that do not
    /// belong there are left out if there are none, and what lives there in part is compared.
    fn rests_on_what_stands(&self) -> bool {
        self.has_subsets() || self.forms.iter().flatten().any(|form| !form.lens.is_total() || form.lens.is_mapped())
    }
}
