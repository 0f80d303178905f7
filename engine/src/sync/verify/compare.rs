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
    /// Targets of a one-way table that have a row which its source has not, and nodes where a row does not belong that another has;
    /// where rows differ the latter depends on which of them is right, see [`Difference::may_go`].
    pub extra: Vec<NodeId>,
    /// Those of them where it is the node's filter that says so.
    pub strays: Vec<NodeId>,
    /// Nodes whose row has other values than another's; of a one-way table, than the source's.
    pub differing: Vec<NodeId>,
    /// Places of the columns in which they differ.
    pub columns: Vec<usize>,
    /// Nodes whose row cannot be read.
    pub odd: Vec<NodeId>,
    /// Nodes without the row of which nobody knows whether they lack it, and why the filter does not tell.
    pub unjudged: Vec<(NodeId, String)>,
    pub places: Places,
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

/// Whose rows of a key were judged, and where each belongs, by node.
pub type Places = Vec<(NodeId, Vec<Belongs>)>;

/// Where all rows of keys belong, by key.
pub async fn places(table: &Table, standing: &[Vec<(NodeId, Standing)>]) -> Result<Vec<Places>> {
    if !table.has_subsets() {
        return Ok(vec![Places::new(); standing.len()]);
    }
    let rows: Vec<Arc<Row>> = standing.iter().flatten().filter_map(|(_, stands)| stands.row().cloned()).collect();
    let mut answers = Vec::with_capacity(table.subsets.len());
    for at in 0..table.subsets.len() {
        answers.push(table.belong_apart(NodeId(at as u16), rows.clone()).await?.into_iter());
    }
    let of_key = |standing: &Vec<(NodeId, Standing)>| {
        let holders = standing.iter().filter(|(_, stands)| stands.row().is_some());
        holders.map(|(node, _)| (*node, answers.iter_mut().filter_map(Iterator::next).collect())).collect()
    };
    Ok(standing.iter().map(of_key).collect())
}

/// How the rows of a key differ, if they do other than the table's operations allow.
pub fn compare(
    table: &Table,
    key: Key,
    standing: Vec<(NodeId, Standing)>,
    places: Places,
    allowed: &mut Allowed,
) -> Option<Difference> {
    let mut difference = Difference {
        key,
        missing: Vec::new(),
        extra: Vec::new(),
        strays: Vec::new(),
        differing: Vec::new(),
        columns: Vec::new(),
        odd: standing.iter().filter(|(_, stands)| matches!(stands, Standing::Odd(_))).map(|(node, _)| *node).collect(),
        standing,
        unjudged: Vec::new(),
        places,
    };
    match table.from {
        Some(from) => difference.one_way(table, from),
        None => difference.two_way(table),
    }
    difference.leave_out(table.from);
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
    (any.iter().any(|nodes| !nodes.is_empty()) || !difference.unjudged.is_empty()).then_some(difference)
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

    /// Where the row of a node belongs; what was not judged belongs everywhere.
    pub fn place(&self, of: NodeId, node: NodeId) -> &Belongs {
        let own = self.places.iter().find(|(at, _)| *at == of);
        own.and_then(|(_, places)| places.get(node.index())).unwrap_or(&Belongs::Inside)
    }

    /// Whether what stands at a node where the row of `winner` does not belong may be removed: another holds that row and keeps it,
    /// because it belongs there or because it is the last.
    pub fn may_go(&self, winner: NodeId, node: NodeId) -> bool {
        let (Some(own), Some(right)) = (self.at(node), self.at(winner)) else { return false };
        let keeps = |other: NodeId| *self.place(winner, other) == Belongs::Inside || other == winner && own != right;
        let mut others = self.standing.iter().filter(|(other, stands)| *other != node && stands == right);
        *own != Standing::Absent && others.any(|(other, _)| keeps(*other))
    }

    /// What filters say about what was found: where a row does not belong it is not missing, and it is too many if another has it
    /// which keeps it. Of rows that differ any may turn out to be right.
    fn leave_out(&mut self, from: Option<NodeId>) {
        let holders = self.places.iter().map(|(node, _)| *node);
        let sides: Vec<NodeId> = holders.filter(|node| from.is_none_or(|from| from == *node)).collect();
        let Some(&first) = sides.first() else { return };
        let alike = from.is_some() || self.differing.is_empty();
        let mut missing = std::mem::take(&mut self.missing);
        for node in missing.iter().filter(|_| alike) {
            if let Belongs::Unknown(why) = self.place(first, *node).clone() {
                self.unjudged.push((*node, why));
            }
        }
        missing.retain(|node| sides.iter().all(|of| *self.place(*of, *node) == Belongs::Inside));
        self.missing = missing;
        let has = |(_, stands): &&(NodeId, Standing)| *stands != Standing::Absent;
        if alike && self.standing.iter().filter(has).any(|(node, _)| *self.place(first, *node) == Belongs::Inside) {
            let strays = self.standing.iter().filter(has).map(|(node, _)| *node);
            let strays: Vec<NodeId> = strays.filter(|node| *self.place(first, *node) == Belongs::Outside).collect();
            self.differing.retain(|node| !strays.contains(node));
            self.extra.extend(&strays);
            self.strays = strays;
        }
        self.tidy();
    }

    fn two_way(&mut self, table: &Table) {
        let held = self.standing.iter().filter_map(|(node, stands)| Some((*node, &**stands.row()?)));
        let rows: Vec<(NodeId, &Row)> = held.collect();
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
