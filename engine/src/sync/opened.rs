//! Who is there, and how far everybody has come: the state of a cycle, read in one snapshot at each node.

use std::collections::{HashMap, HashSet};

use super::contest::Clock;
use super::table::Table;
use crate::model::{Cut, Dot, EntryId, Key, NodeId, Parked, Position};

/// The state of all nodes that take part in a cycle.
#[derive(Debug, Default)]
pub struct Opened {
    /// By [`NodeId`]; `None` for nodes that are away.
    pub present: Vec<Option<Presence>>,
    /// Up to where each target has applied each source, by table, target and source.
    positions: Vec<Vec<Vec<Position>>>,
    /// The turns of settling rows of which no history tells, by table and node; see [`turns`](super::turns).
    turns: Vec<Vec<Cut>>,
    /// Where those positions will stand once this cycle is applied, where they move.
    ahead: HashMap<(usize, NodeId, NodeId), Position>,
    /// Up to where each node's own history was read, by table and node, and what the snapshot shows of it.
    read: HashMap<(usize, NodeId), (Cut, Cut)>,
    /// Positions, by table, target and source, whose witness the source's snapshot does not know.
    pub unproven: HashSet<(usize, NodeId, NodeId)>,
    /// Whether what the snapshots say against each other may come of their being taken one after the other, or somebody takes part again
    /// who is to be looked at first. Then they are opened again.
    pub doubtful: bool,
}

/// Of which moment positions are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// As they stand.
    Now,
    /// As they will stand once this cycle is applied.
    OnceApplied,
}

/// A node that takes part.
#[derive(Debug)]
pub struct Presence {
    pub clock: Clock,
    pub shared_marks: bool,
    /// Drawn when Concord was installed.
    pub installation: String,
    /// What waits here, by table and key.
    pub parked: Vec<HashMap<Key, Parked>>,
    /// Up to where each table's history here was purged.
    pub purged: Vec<Cut>,
    /// The witnesses of targets' positions that are remembered here, by table.
    pub kept: Vec<Vec<(NodeId, EntryId)>>,
    /// The first mark that is certainly not given out yet, by table.
    pub next_marks: Vec<i64>,
}

impl Presence {
    /// A node at which nothing but rows is read.
    pub fn of_rows_alone(tables: usize) -> Presence {
        Presence {
            clock: Clock { offset: 0, shown: 0 },
            shared_marks: false,
            installation: String::new(),
            parked: vec![HashMap::new(); tables],
            purged: vec![Cut::START; tables],
            kept: vec![Vec::new(); tables],
            next_marks: vec![i64::MAX; tables],
        }
    }
}

impl Opened {
    pub fn new(nodes: usize, tables: usize) -> Opened {
        Opened {
            present: (0..nodes).map(|_| None).collect(),
            positions: vec![vec![vec![Position::default(); nodes]; nodes]; tables],
            turns: vec![vec![Cut::START; nodes]; tables],
            ahead: HashMap::new(),
            read: HashMap::new(),
            unproven: HashSet::new(),
            doubtful: false,
        }
    }

    pub fn is_present(&self, node: NodeId) -> bool {
        self.present[node.index()].is_some()
    }

    /// The nodes that take part, in the order of the file.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Presence)> {
        self.present.iter().enumerate().filter_map(|(at, present)| Some((NodeId(at as u16), present.as_ref()?)))
    }

    pub fn position(&self, table: usize, target: NodeId, source: NodeId) -> &Cut {
        &self.proven(table, target, source).cut
    }

    /// The same with its witness.
    pub fn proven(&self, table: usize, target: NodeId, source: NodeId) -> &Position {
        &self.positions[table][target.index()][source.index()]
    }

    /// The same, of either moment.
    pub fn reached(&self, table: usize, target: NodeId, source: NodeId, when: When) -> &Position {
        let planned = self.ahead.get(&(table, target, source)).filter(|_| when == When::OnceApplied);
        planned.unwrap_or_else(|| self.proven(table, target, source))
    }

    pub fn set_position(&mut self, table: usize, target: NodeId, source: NodeId, position: Position) {
        self.positions[table][target.index()][source.index()] = position;
    }

    pub fn turn(&self, table: usize, node: NodeId) -> &Cut {
        &self.turns[table][node.index()]
    }

    pub fn set_turn(&mut self, table: usize, node: NodeId, turn: Cut) {
        self.turns[table][node.index()] = turn;
    }

    /// Whether the target has passed a change at the node where it was made.
    pub fn passed(&self, table: usize, target: NodeId, dot: &Dot) -> bool {
        self.position(table, target, dot.node).contains(dot.mark, dot.number)
    }

    /// Notes up to where a node's history was read in this cycle, and all that is visible of it.
    pub fn set_read(&mut self, table: usize, node: NodeId, cut: Cut, visible: Cut) {
        self.read.insert((table, node), (cut, visible));
    }

    /// Up to where a node's history was read in this cycle, if anybody takes the table from there.
    pub fn read_cut(&self, table: usize, node: NodeId) -> Option<Cut> {
        self.read.get(&(table, node)).map(|(cut, _)| cut.clone())
    }

    /// All that is visible of a node's history in this cycle. Where that is more than was read, all visible entries of the keys that are
    /// decided about were taken in.
    pub fn visible_cut(&self, table: usize, node: NodeId) -> Option<Cut> {
        self.read.get(&(table, node)).map(|(_, visible)| visible.clone())
    }

    /// Whether a change was read in this cycle where it was made, or before, by everybody who takes part.
    pub fn was_read(&self, table: usize, dot: &Dot) -> bool {
        self.read.get(&(table, dot.node)).is_some_and(|(cut, _)| cut.contains(dot.mark, dot.number))
    }

    /// What every target of a table has passed of a source's history; `None` while one of them is away.
    pub fn floor(&self, table: &Table, source: NodeId, when: When) -> Option<Cut> {
        let all = (0..self.present.len()).map(|at| NodeId(at as u16));
        let mut floor: Option<Cut> = None;
        for target in all.filter(|&target| target != source && table.is_target(target)) {
            if !self.is_present(target) {
                return None;
            }
            let position = &self.reached(table.index, target, source, when).cut;
            floor = Some(floor.map_or_else(|| position.clone(), |floor| floor.meet(position)));
        }
        floor.filter(|floor| *floor != Cut::START)
    }

    /// Whether every planned move has happened.
    pub fn all_moved(&self) -> bool {
        self.ahead.is_empty()
    }

    /// Plans to move a position.
    pub fn plan(&mut self, table: usize, target: NodeId, source: NodeId, to: Position) {
        self.ahead.insert((table, target, source), to);
    }

    /// The planned moves of one target: table, source, from and to.
    pub fn moves(&self, target: NodeId) -> impl Iterator<Item = (usize, NodeId, &Cut, &Position)> {
        self.ahead
            .iter()
            .filter(move |((_, t, _), _)| *t == target)
            .map(move |(&(table, _, source), to)| (table, source, self.position(table, target, source), to))
    }

    /// The planned moves of one target have happened.
    pub fn moved(&mut self, target: NodeId) {
        let moves: Vec<(usize, NodeId, Position)> =
            self.moves(target).map(|(table, source, _, to)| (table, source, to.clone())).collect();
        for (table, source, to) in moves {
            self.set_position(table, target, source, to);
            self.ahead.remove(&(table, target, source));
        }
    }

    /// Whether the target will have passed a change once this cycle is applied.
    pub fn will_pass(&self, table: usize, target: NodeId, dot: &Dot) -> bool {
        let ahead = self.ahead.get(&(table, target, dot.node)).map(|position| &position.cut);
        ahead.unwrap_or_else(|| self.position(table, target, dot.node)).contains(dot.mark, dot.number)
    }

    /// What waits for a key at a node.
    pub fn parked(&self, node: NodeId, table: usize, key: &Key) -> Option<&Parked> {
        self.present[node.index()].as_ref()?.parked[table].get(key)
    }
}
