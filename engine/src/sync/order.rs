//! In which order tables are written, so that what others refer to is there first.

use petgraph::algo::tarjan_scc;
use petgraph::graph::DiGraph;

use crate::model::TableSpec;

/// The places of `tables`, parents before children; tables that refer to each other stand together.
pub fn parents_first(tables: &[&TableSpec]) -> Vec<Vec<usize>> {
    let mut graph = DiGraph::<(), ()>::new();
    let nodes: Vec<_> = tables.iter().map(|_| graph.add_node(())).collect();
    for (child, spec) in tables.iter().enumerate() {
        for key in &spec.references {
            let parent = tables
                .iter()
                .position(|other| other.local == key.referenced_table && other.schema == key.referenced_schema);
            if let Some(parent) = parent {
                graph.add_edge(nodes[child], nodes[parent], ());
            }
        }
    }
    // Tarjan's algorithm yields a component after everything that it refers to.
    tarjan_scc(&graph).into_iter().map(|group| group.into_iter().map(|node| node.index()).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, refers_to: &[&str]) -> TableSpec {
        TableSpec::bare(0, name, refers_to.iter().copied())
    }

    #[test]
    fn parents_stand_before_children_and_cycles_together() {
        let tables = [
            table("item", &["order", "item"]),
            table("order", &["customer", "unsynced"]),
            table("customer", &["agent"]),
            table("agent", &["customer"]),
        ];
        let mut order = parents_first(&tables.iter().collect::<Vec<_>>());
        order.iter_mut().for_each(|group| group.sort_unstable());
        assert_eq!(order, [vec![2, 3], vec![1], vec![0]]);
    }
}
