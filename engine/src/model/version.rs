//! Which changes a row's present content has seen, and when it was written.

use std::fmt::{self, Write as _};

/// A node's place in the order of the configuration file. Ties between versions go to the lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

impl NodeId {
    /// The place as an index into a list of the sync's nodes.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// One user's change: where it was made, its number there, and the mark of the transaction that made it.
///
/// Numbers are the ids of history entries; for one key at one node they rise in the order of the commits. The mark
/// tells whether a [`Cut`](super::Cut) of that node contains the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dot {
    pub node: NodeId,
    pub number: i64,
    pub mark: i64,
}

/// The changes that one key's content has seen: for each node the last of that node's changes to the key.
///
/// A version vector (Parker et al. 1983, "Detection of Mutual Inconsistency in Distributed Systems"), per key and
/// only as long as needed: what every node has passed is purged and counts as seen.
#[derive(Clone, Debug, PartialEq, Eq, Default, Hash)]
pub struct Vector(Vec<Dot>);

impl Vector {
    /// Nothing beyond what every node has passed.
    pub const EMPTY: Vector = Vector(Vec::new());

    /// This change and no more.
    pub fn of(dot: Dot) -> Vector {
        Vector(vec![dot])
    }

    /// The last dots, in the order of their nodes.
    pub fn dots(&self) -> &[Dot] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the change was seen.
    pub fn saw(&self, dot: &Dot) -> bool {
        self.0.iter().any(|own| own.node == dot.node && own.number >= dot.number)
    }

    /// Whether every change that `other` has seen was seen.
    pub fn includes(&self, other: &Vector) -> bool {
        other.0.iter().all(|dot| self.saw(dot))
    }

    /// Adds one change.
    pub fn add(&mut self, dot: Dot) {
        match self.0.binary_search_by_key(&dot.node, |own| own.node) {
            Ok(at) if self.0[at].number < dot.number => self.0[at] = dot,
            Ok(_) => {}
            Err(at) => {
                if self.0.is_empty() {
                    // Most hold one dot, and there are several for each change that is carried.
                    self.0.reserve_exact(1);
                }
                self.0.insert(at, dot);
            }
        }
    }

    /// Leaves out changes.
    pub fn retain(&mut self, keep: impl FnMut(&Dot) -> bool) {
        self.0.retain(keep);
    }

    /// Adds everything `other` has seen.
    pub fn join(&mut self, other: &Vector) {
        for dot in &other.0 {
            self.add(*dot);
        }
    }

    /// The text kept in service tables: `name:number@mark` per node, separated by commas.
    pub fn write(&self, names: &[String]) -> String {
        let mut text = String::new();
        for dot in &self.0 {
            let comma = if text.is_empty() { "" } else { "," };
            if write!(text, "{comma}{}:{}@{}", names[dot.node.index()], dot.number, dot.mark).is_err() {
                unreachable!("a String takes everything");
            }
        }
        text
    }

    /// The nodes that the text kept in service tables names.
    pub fn names(text: &str) -> impl Iterator<Item = &str> {
        text.split(',').filter_map(|part| Some(part.rsplit_once(':')?.0))
    }

    /// Reads the text kept in service tables. A node that is no longer in the sync counts as seen by all and is left
    /// out; anything else that does not parse is `None`.
    pub fn read(text: &str, names: &[String]) -> Option<Vector> {
        let mut vector = Vector::EMPTY;
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, rest) = part.rsplit_once(':')?;
            let (number, mark) = rest.split_once('@')?;
            let (number, mark) = (number.parse().ok()?, mark.parse().ok()?);
            if let Some(at) = names.iter().position(|known| known == name) {
                vector.add(Dot { node: NodeId(at as u16), number, mark });
            }
        }
        Some(vector)
    }
}

/// When and where content was written, totally ordered.
///
/// Microseconds UTC by the node's clock, corrected by its measured offset, and never before the change it was made
/// upon (the idea of hybrid logical clocks, Kulkarni et al. 2014). The greater is the later; at equal times the node
/// that stands first in the file counts as the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    pub time: i64,
    pub node: NodeId,
}

impl Ord for Stamp {
    fn cmp(&self, other: &Stamp) -> std::cmp::Ordering {
        self.time.cmp(&other.time).then_with(|| other.node.cmp(&self.node))
    }
}

impl PartialOrd for Stamp {
    fn partial_cmp(&self, other: &Stamp) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::time::write_instant(f, self.time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(node: u16, number: i64) -> Dot {
        Dot { node: NodeId(node), number, mark: number + 100 }
    }

    #[test]
    fn joins_keep_the_last_change_of_every_node() {
        let mut a = Vector::EMPTY;
        a.add(dot(2, 5));
        a.add(dot(0, 9));
        let mut b = Vector::EMPTY;
        b.add(dot(2, 7));
        b.add(dot(1, 1));
        a.join(&b);
        assert_eq!(a.dots(), [dot(0, 9), dot(1, 1), dot(2, 7)]);
        assert!(a.includes(&b) && !b.includes(&a));
    }

    #[test]
    fn text_form_round_trips_and_forgets_removed_nodes() {
        let names = ["office".to_owned(), "branch".to_owned()];
        let mut vector = Vector::EMPTY;
        vector.add(dot(0, 17));
        vector.add(dot(1, 4));
        let text = vector.write(&names);
        assert_eq!(text, "office:17@117,branch:4@104");
        assert_eq!(Vector::read(&text, &names).unwrap(), vector);
        assert_eq!(Vector::read(&text, &names[..1]).unwrap().dots(), [dot(0, 17)]);
        assert_eq!(Vector::read("office:x@3", &names), None);
    }

    #[test]
    fn ties_go_to_the_node_that_stands_first() {
        let (first, second) = (Stamp { time: 5, node: NodeId(0) }, Stamp { time: 5, node: NodeId(1) });
        assert!(first > second);
        assert!(Stamp { time: 6, node: NodeId(1) } > first);
    }
}
