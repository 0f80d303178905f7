//! How the rows of one key differ.

use std::sync::Arc;

use serde::Serialize;

use super::super::settle;
use super::super::subset::Belongs;
use super::super::table::Table;
use crate::error::Result;
use crate::model::{Key, NodeId, Row};

/// What stands at a node for a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    Absent,
    /// In the shared shape.
    Row(Arc<Row>),
    /// A row that cannot be read, and why.
    Odd(String),
}

impl Standing {
    pub fn row(&self) -> Option<&Arc<Row>> {
        match self {
            Standing::Row(row) => Some(row),
            _ => None,
        }
    }

    /// Whether just this stands there.
    pub fn is(&self, row: Option<&Row>) -> bool {
        match self {
            Standing::Absent => row.is_none(),
            Standing::Row(own) => row == Some(&**own),
            Standing::Odd(_) => false,
        }
    }
}

/// A key whose rows are not alike.
#[derive(Clone, Debug)]
pub struct Difference {
    pub key: Key,
    /// By the nodes that were compared.
    pub standing: Vec<(NodeId, Standing)>,
    /// Nodes that lack the row.
    pub missing: Vec<NodeId>,
    /// Targets of a one-way table that have a row which its source has not, and nodes where a row does not belong that another has.
    pub extra: Vec<NodeId>,
    /// Nodes whose row has other values than another's; of a one-way table, than the source's.
    pub differing: Vec<NodeId>,
    /// Places of the columns in which they differ.
    pub columns: Vec<usize>,
    /// Nodes whose row cannot be read.
    pub odd: Vec<NodeId>,
}

/// How many differences there are that nothing is to be done about, because the table's `operations` leave them alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Allowed {
    pub missing: u64,
    pub extra: u64,
    pub differing: u64,
}

impl Allowed {
    pub fn add(&mut self, other: Allowed) {
        self.missing += other.missing;
        self.extra += other.extra;
        self.differing += other.differing;
    }

    pub fn subtract(&mut self, other: Allowed) {
        self.missing -= other.missing;
        self.extra -= other.extra;
        self.differing -= other.differing;
    }
}

/// Where the rows of keys belong, by key and node: what stands at a node that takes all, or at the first that has it, tells.
pub async fn places(table: &Table, standing: &[Vec<(NodeId, Standing)>]) -> Result<Vec<Vec<Belongs>>> {
    let mut places = vec![Vec::new(); standing.len()];
    if !table.has_subsets() {
        return Ok(places);
    }
    let telling = |standing: &Vec<(NodeId, Standing)>| {
        let rows = || standing.iter().filter_map(|(node, stands)| Some((*node, stands.row()?.clone())));
        let whole = rows().find(|(node, _)| table.subset(*node).is_none());
        whole.or_else(|| rows().next()).map(|(_, row)| row)
    };
    let told: Vec<Option<Arc<Row>>> = standing.iter().map(telling).collect();
    for at in 0..table.subsets.len() {
        let rows = told.iter().flatten().cloned().collect();
        let mut belong = table.belong_apart(NodeId(at as u16), rows).await?.into_iter();
        for (places, told) in places.iter_mut().zip(&told) {
            places.push(told.as_ref().and_then(|_| belong.next()).unwrap_or_default());
        }
    }
    Ok(places)
}

/// How the rows of a key differ, if they do other than the table's operations allow.
pub fn compare(
    table: &Table,
    key: Key,
    standing: Vec<(NodeId, Standing)>,
    places: &[Belongs],
    allowed: &mut Allowed,
) -> Option<Difference> {
    let mut difference = Difference {
        key,
        missing: Vec::new(),
        extra: Vec::new(),
        differing: Vec::new(),
        columns: Vec::new(),
        odd: standing.iter().filter(|(_, stands)| matches!(stands, Standing::Odd(_))).map(|(node, _)| *node).collect(),
        standing,
    };
    match table.from {
        Some(from) => difference.one_way(table, from),
        None => difference.two_way(table, places),
    }
    difference.leave_out(places);
    let operations = table.operations;
    let let_be = |ok: bool, nodes: &mut Vec<NodeId>, count: &mut u64| {
        if ok {
            *count += nodes.len() as u64;
            nodes.clear();
        }
    };
    // Of a two-way table nobody can tell whether a row was created here or deleted there. Of one that is compared, nothing is
    // ever deleted.
    let_be(
        !operations.insert || table.from.is_none() && !operations.delete && !table.compared,
        &mut difference.missing,
        &mut allowed.missing,
    );
    let_be(!operations.delete, &mut difference.extra, &mut allowed.extra);
    let_be(!operations.update, &mut difference.differing, &mut allowed.differing);
    if difference.differing.is_empty() {
        difference.columns.clear();
    }
    let any = [&difference.missing, &difference.extra, &difference.differing, &difference.odd];
    any.iter().any(|nodes| !nodes.is_empty()).then_some(difference)
}

impl Difference {
    pub fn at(&self, node: NodeId) -> Option<&Standing> {
        self.standing.iter().find(|(at, _)| *at == node).map(|(_, stands)| stands)
    }

    fn one_way(&mut self, table: &Table, from: NodeId) {
        let Some(source) = self.at(from).cloned() else { return };
        for (node, stands) in self.standing.iter().filter(|(node, _)| *node != from) {
            match (&source, stands) {
                (Standing::Row(_) | Standing::Odd(_), Standing::Absent) => self.missing.push(*node),
                (Standing::Absent, Standing::Row(_) | Standing::Odd(_)) => self.extra.push(*node),
                (Standing::Row(a), Standing::Row(b)) => {
                    let columns = settle::differing(table, (from, a), (*node, b));
                    if !columns.is_empty() {
                        self.differing.push(*node);
                    }
                    self.columns.extend(columns);
                }
                _ => {}
            }
        }
        self.tidy();
    }

    /// What filters say about what was found: of a row that does not belong at a node nothing is missing there, and if another has it
    /// which keeps it, it is too many.
    fn leave_out(&mut self, places: &[Belongs]) {
        let place = |node: &NodeId| places.get(node.index()).unwrap_or(&Belongs::Inside);
        self.missing.retain(|node| *place(node) == Belongs::Inside);
        let has = |(_, stands): &&(NodeId, Standing)| *stands != Standing::Absent;
        let is_kept = self.standing.iter().filter(has).any(|(node, _)| *place(node) == Belongs::Inside);
        if is_kept {
            let strays = self.standing.iter().filter(has).filter(|(node, _)| *place(node) == Belongs::Outside);
            self.extra.extend(strays.map(|(node, _)| *node));
            let extra = &self.extra;
            self.differing.retain(|node| !extra.contains(node));
        }
        self.tidy();
    }

    fn two_way(&mut self, table: &Table, places: &[Belongs]) {
        let counts = |node: &NodeId| places.get(node.index()) != Some(&Belongs::Outside);
        let any = self.standing.iter().any(|(node, stands)| counts(node) && stands.row().is_some());
        let rows: Vec<(NodeId, &Row)> = self
            .standing
            .iter()
            // What does not belong where it stands is no side in it where others have the row.
            .filter(|(node, _)| !any || counts(node))
            .filter_map(|(node, stands)| Some((*node, &**stands.row()?)))
            .collect();
        for (at, a) in rows.iter().enumerate() {
            for b in &rows[at + 1..] {
                let columns = settle::differing(table, *a, *b);
                if !columns.is_empty() {
                    self.differing.extend([a.0, b.0]);
                }
                self.columns.extend(columns);
            }
        }
        if rows.len() + self.odd.len() > 0 {
            let absent = self.standing.iter().filter(|(_, stands)| *stands == Standing::Absent);
            self.missing = absent.map(|(node, _)| *node).collect();
        }
        self.tidy();
    }

    fn tidy(&mut self) {
        for nodes in [&mut self.differing, &mut self.missing, &mut self.extra] {
            nodes.sort_unstable();
            nodes.dedup();
        }
        self.columns.sort_unstable();
        self.columns.dedup();
    }
}
