//! Rows at nodes that a load lets in and has not compared yet. By their positions these nodes have seen all that the others have, but
//! nobody has weighed what stands there, and what their users make of it, against anything: whatever is written over such a row, or
//! over another for one, is kept in the journal.

use std::collections::HashSet;

use super::contest::Contest;
use super::decide::Resolved;
use super::opened::Opened;
use super::table::Table;
use crate::model::{Key, NodeId, Op, Value};

/// How far a load has come in a table of nodes that it lets in.
#[derive(Clone, Debug, Default)]
pub struct Uncompared {
    /// The nodes that are let in.
    pub let_in: Vec<NodeId>,
    /// Nodes all of whose rows were gone through.
    pub walked: Vec<NodeId>,
    /// The node whose rows are being gone through, and the last key there.
    pub reached: Option<(NodeId, Key)>,
    /// Keys that were met and put off, because changes were on their way or the row could not be written.
    pub left: HashSet<Key>,
}

impl Uncompared {
    /// Whether a row of this key would have been met at a node, if it stood there then.
    fn has_met(&self, node: NodeId, key: &Key) -> bool {
        let reached = || self.reached.as_ref().is_some_and(|(walker, last)| *walker == node && is_up_to(key, last));
        !self.left.contains(key) && (self.walked.contains(&node) || reached())
    }
}

/// Whether a key comes no later than another in any database's order. Of texts nobody knows here.
fn is_up_to(key: &Key, last: &Key) -> bool {
    matches!((&**key, &**last), ([Value::Int(key)], [Value::Int(last)]) if key <= last)
}

impl Contest {
    /// Whether what stands at a node may be replaced by an outcome though nobody has compared the two: one of them is of a node that is
    /// being let in, and the load has not come to the row.
    pub fn is_uncompared(
        &self,
        key: &Key,
        target: NodeId,
        resolved: &Resolved,
        table: &Table,
        opened: &Opened,
    ) -> bool {
        let Some(uncompared) = &table.uncompared else { return false };
        let is_new = |node: &NodeId| {
            let mut dots = resolved.vector.dots().iter().filter(|dot| dot.node == *node);
            dots.any(|dot| !opened.passed(table.index, target, dot))
        };
        if !uncompared.let_in.contains(&target) && !uncompared.let_in.iter().any(is_new) {
            return false;
        }
        // A row that was made since was not met, wherever it has come by now.
        self.own_ops().any(|(_, op)| op == Op::Insert)
            || !self.versions.iter().any(|contender| {
                let version = &contender.version;
                !version.waiting && contender.content.row().is_some() && uncompared.has_met(version.node, key)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_have_one_order() {
        let key = |value: Value| -> Key { [value].into() };
        let text = |text: &str| key(Value::Text(text.into()));
        let reached = |last: Key| Uncompared { reached: Some((NodeId(0), last)), ..Uncompared::default() };
        assert!(reached(key(Value::Int(7))).has_met(NodeId(0), &key(Value::Int(7))));
        assert!(!reached(key(Value::Int(7))).has_met(NodeId(0), &key(Value::Int(8))));
        assert!(!reached(key(Value::Int(7))).has_met(NodeId(1), &key(Value::Int(7))));
        assert!(!reached(text("b")).has_met(NodeId(0), &text("a")));
    }
}
