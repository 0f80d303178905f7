//! Which of several rows of one key is right where no history tells: rows that were there before anything was recorded, or
//! that came to differ in another way. For [`load`](super::load) and for mending what a comparison found.

use std::cmp::Ordering;
use std::sync::Arc;

use super::table::Table;
use crate::digest::short_digest;
use crate::merge::Policy;
use crate::model::{Key, Lost, NodeId, Row, Type, Value, time, write_json};

/// How the rows of one table are decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule(Vec<Criterion>);

/// One thing to go by; what it does not tell, the next does.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Criterion {
    /// The table comes from this node alone.
    Source(NodeId),
    /// The one that was named for this once.
    Named(NodeId),
    /// The later of a column, by its place in the shared row.
    Updated(usize),
    /// Who stays goes before these, which are let in: what stands there may be older than anything tells.
    Staying(Vec<NodeId>),
    /// The first of these that has the row.
    Policy(Vec<NodeId>),
}

/// The outcome for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    pub winner: NodeId,
    /// The rule and, in words, why.
    pub reason: String,
}

/// Whether a column of this type can tell which of two rows is younger.
pub fn tells_age(ty: &Type) -> bool {
    use Type::*;
    matches!(ty, Int | Float | Decimal | Text | Date | Timestamp | Instant | Any)
}

impl Rule {
    /// How rows of a table are decided, if `prefer` or the file says: a table that comes from one node follows it, whatever
    /// is preferred.
    pub fn of(table: &Table, prefer: Option<NodeId>) -> Option<Rule> {
        let policy = match &table.policy {
            Policy::Prefer(nodes) => Some(Criterion::Policy(nodes.clone())),
            _ => None,
        };
        let source = table.from.map(Criterion::Source);
        let all = [source, prefer.map(Criterion::Named), table.updated.map(Criterion::Updated), policy];
        let all: Vec<Criterion> = all.into_iter().flatten().collect();
        (!all.is_empty()).then_some(Rule(all))
    }

    /// The same where these nodes are let in again. What others have goes before theirs, also before the file says whom it prefers: that is
    /// about changes, and a row of a backup is none.
    #[must_use]
    pub fn letting_in(mut self, let_in: &[NodeId]) -> Rule {
        if !let_in.is_empty() && !matches!(self.0.first(), Some(Criterion::Source(_))) {
            let policy = self.0.iter().position(|criterion| matches!(criterion, Criterion::Policy(_)));
            self.0.insert(policy.unwrap_or(self.0.len()), Criterion::Staying(let_in.to_vec()));
        }
        self
    }

    /// Whether a node is one of those that are let in.
    fn is_let_in(&self, node: NodeId) -> bool {
        self.0.iter().any(|criterion| matches!(criterion, Criterion::Staying(let_in) if let_in.contains(&node)))
    }

    /// The rule in words.
    pub fn told(&self, table: &Table, names: &[String]) -> String {
        let name = |node: &NodeId| names[node.index()].as_str();
        let all = |nodes: &[NodeId]| nodes.iter().map(name).collect::<Vec<_>>().join(", ");
        let one = |criterion: &Criterion| match criterion {
            Criterion::Source(node) => format!("the table comes from {}", name(node)),
            Criterion::Named(node) => format!("--prefer {}", name(node)),
            Criterion::Updated(place) => format!("the later `{}`", table.columns[*place].name),
            Criterion::Staying(let_in) => format!("the nodes that stay before {}", all(let_in)),
            Criterion::Policy(nodes) => format!("prefer {}", all(nodes)),
        };
        self.0.iter().map(one).collect::<Vec<_>>().join(", then ")
    }

    /// Decides between the rows of one key, in the shared shape; at least one, in the order of the nodes.
    pub fn decide(&self, table: &Table, rows: &[(NodeId, &Row)], names: &[String]) -> Option<Settlement> {
        let name = |node: NodeId| names[node.index()].as_str();
        // Of equally late rows, that of a node that is let in comes last as well.
        let mut rows = rows.to_vec();
        rows.sort_by_key(|(node, _)| self.is_let_in(*node));
        for criterion in &self.0 {
            let has = |node: &NodeId| rows.iter().any(|(at, _)| at == node);
            let found = match criterion {
                Criterion::Source(node) => {
                    has(node).then(|| (*node, format!("the table comes from {} alone", name(*node))))
                }
                Criterion::Named(node) => has(node).then(|| (*node, format!("--prefer {}", name(*node)))),
                Criterion::Policy(nodes) => nodes
                    .iter()
                    .find(|node| has(node))
                    .map(|node| (*node, format!("prefer: {} goes before the others", name(*node)))),
                Criterion::Updated(place) => latest(table, *place, &rows).map(|(node, value)| {
                    (node, format!("`{}` is the latest at {}: {value}", table.columns[*place].name, name(node)))
                }),
                Criterion::Staying(let_in) => {
                    if rows.iter().any(|(node, _)| !let_in.contains(node)) {
                        rows.retain(|(node, _)| !let_in.contains(node));
                    }
                    None
                }
            };
            if let Some((winner, reason)) = found {
                return Some(Settlement { winner, reason });
            }
        }
        // A rule that tells nothing here, such as a preferred node without the row, leaves it to the order.
        let lets_in = self.0.iter().any(|criterion| matches!(criterion, Criterion::Staying(_)));
        let among = if lets_in { ", but for nodes that are let in" } else { "" };
        rows.first().map(|(winner, _)| Settlement {
            winner: *winner,
            reason: format!("nothing else tells; {} stands first in the file{among}", name(*winner)),
        })
    }
}

/// The winner's row with the columns that do not live there. Where those who have such a column differ in it, the rule decides
/// about it among them, as it does about rows, and the reason says so; `None` if the winner has all columns.
pub fn whole(
    rule: &Rule,
    table: &Table,
    settlement: &mut Settlement,
    rows: &[(NodeId, Arc<Row>)],
    names: &[String],
) -> Option<Arc<Row>> {
    let lens = &table.form(settlement.winner)?.lens;
    let (_, own) = rows.iter().find(|(node, _)| *node == settlement.winner)?;
    if lens.is_total() {
        return None;
    }
    let mut row = (**own).clone();
    for place in (0..table.columns.len()).filter(|place| !lens.has(*place)) {
        let has = |node: NodeId| table.form(node).is_some_and(|form| form.lens.has(place));
        let holders: Vec<(NodeId, &Row)> =
            rows.iter().filter(|(node, _)| has(*node)).map(|(node, row)| (*node, &**row)).collect();
        let Some(settled) = rule.decide(table, &holders, names) else { continue };
        let (_, taken) = holders.iter().find(|(node, _)| *node == settled.winner)?;
        row[place] = taken[place].clone();
        if holders.iter().any(|(_, other)| other[place] != row[place]) {
            settlement.reason += &format!("; `{}`: {}", table.columns[place].name, settled.reason);
        }
    }
    Some(Arc::new(row))
}

/// The node whose row is the latest by a column, unless the column tells nothing. Of equal ones the first counts.
fn latest<'a>(table: &Table, place: usize, rows: &[(NodeId, &'a Row)]) -> Option<(NodeId, &'a Value)> {
    let lives = |node: NodeId| table.form(node).is_some_and(|form| form.lens.has(place));
    let told = rows.iter().filter(|(node, row)| lives(*node) && !row[place].is_null());
    told.map(|(node, row)| (*node, &row[place])).reduce(|best, next| match age(next.1, best.1) {
        Ordering::Greater => next,
        _ => best,
    })
}

/// Which of two values is the later or the larger; values of different kinds tell nothing.
fn age(a: &Value, b: &Value) -> Ordering {
    ordered(a, b).unwrap_or(Ordering::Equal)
}

/// The order of two values; `None` between kinds that are not compared.
pub fn ordered(a: &Value, b: &Value) -> Option<Ordering> {
    use Value::*;
    Some(match (a, b) {
        (Int(a), Int(b)) | (Timestamp(a), Timestamp(b)) | (Instant(a), Instant(b)) => a.cmp(b),
        (Uint(a), Uint(b)) => a.cmp(b),
        (Uint(_), Int(_)) => Ordering::Greater,
        (Int(_), Uint(_)) => Ordering::Less,
        (Date(a), Date(b)) => a.cmp(b),
        (Float(a), Float(b)) => a.total_cmp(b),
        (Int(a), Float(b)) => (*a as f64).total_cmp(b),
        (Float(a), Int(b)) => a.total_cmp(&(*b as f64)),
        (Decimal(a), Decimal(b)) if a.is_finite() && b.is_finite() => {
            let ((less, whole, part), (other_less, other_whole, other_part)) = (a.parts(), b.parts());
            let size = (whole.len(), whole, part).cmp(&(other_whole.len(), other_whole, other_part));
            match (less, other_less) {
                (false, false) => size,
                (true, true) => size.reverse(),
                (false, true) => Ordering::Greater,
                (true, false) => Ordering::Less,
            }
        }
        (Text(a), Text(b)) => a.cmp(b),
        (Time(a), Time(b)) => a.cmp(b),
        (Bool(a), Bool(b)) => a.cmp(b),
        (Uuid(a), Uuid(b)) => a.cmp(b),
        (a, b) if a == b => Ordering::Equal,
        _ => return None,
    })
}

/// The shared columns in which the rows of two nodes differ, of those that live at both.
pub fn differing(table: &Table, a: (NodeId, &Row), b: (NodeId, &Row)) -> Vec<usize> {
    let (Some(one), Some(other)) = (table.form(a.0), table.form(b.0)) else { return Vec::new() };
    let whole = one.lens.is_total() && other.lens.is_total();
    let pairs = a.1.iter().zip(b.1.iter()).enumerate().filter(|(_, (a, b))| a != b).map(|(place, _)| place);
    pairs.filter(|&place| whole || one.lens.has(place) && other.lens.has(place)).collect()
}

/// Whether no two of these rows differ.
pub fn all_alike(table: &Table, rows: &[(NodeId, &Row)]) -> bool {
    let total = |node: NodeId| table.form(node).is_some_and(|form| form.lens.is_total());
    let alike = |one: &(NodeId, &Row), other: &(NodeId, &Row)| differing(table, *one, *other).is_empty();
    match rows.iter().find(|(node, _)| total(*node)) {
        // What is like a row with all columns is like all others that are.
        Some(whole) => rows.iter().all(|other| other.0 == whole.0 || alike(whole, other)),
        None => rows.iter().enumerate().all(|(at, one)| rows[at + 1..].iter().all(|other| alike(one, other))),
    }
}

/// The shared row that a target is to have: the winner's, with columns that do not live there from the target's own row,
/// or else from the first node that has them.
pub fn completed(table: &Table, winner: NodeId, rows: &[(NodeId, Arc<Row>)], target: NodeId) -> Option<Arc<Row>> {
    let of = |node: NodeId| rows.iter().find(|(at, _)| *at == node).map(|(_, row)| row);
    let mut row = of(winner)?.clone();
    let lens = &table.form(winner)?.lens;
    if lens.is_total() {
        return Some(row);
    }
    let own = rows.iter().filter(|(node, _)| *node == target);
    let others: Vec<_> = own.chain(rows.iter().filter(|(node, _)| *node != target)).collect();
    for place in (0..table.columns.len()).filter(|place| !lens.has(*place)) {
        let has = |node: NodeId| table.form(node).is_some_and(|form| form.lens.has(place));
        if let Some((_, other)) = others.iter().find(|(node, _)| has(*node)) {
            Arc::make_mut(&mut row)[place] = other[place].clone();
        }
    }
    Some(row)
}

/// What the journal keeps of a row that lost. `cause` begins its id, such as `load`; the same rows get the same id again, at
/// every node.
pub fn lost(
    cause: &str,
    table: &Table,
    key: &Key,
    settlement: &Settlement,
    winner_row: &Arc<Row>,
    loser: NodeId,
    loser_row: &Arc<Row>,
) -> Lost {
    let mut text = table.name.clone().into_bytes();
    for values in [&**key, &***winner_row, &***loser_row] {
        text.push(b'\n');
        write_json(values, &mut text);
    }
    let digest = short_digest(text);
    let when = |row: &Row| match table.updated.map(|place| &row[place]) {
        Some(Value::Timestamp(micros) | Value::Instant(micros)) => *micros,
        _ => time::now(),
    };
    // Both are as they stand at their nodes.
    let unknown = |node: NodeId| table.form(node).map_or(Vec::new(), |form| form.lens.missing());
    Lost {
        id: format!("{cause}-{digest}"),
        table: table.index,
        key: key.clone(),
        decided: time::now(),
        winner: settlement.winner,
        winner_time: when(winner_row),
        winner_row: Some(winner_row.clone()),
        winner_unknown: unknown(settlement.winner),
        loser,
        loser_time: when(loser_row),
        loser_row: Some(loser_row.clone()),
        loser_unknown: unknown(loser),
        reason: format!("{cause}: {}", settlement.reason),
        told: None,
    }
}

/// Begins the id of what lost to a row that could not be read: no such row is in the journal, which is no delete.
pub const WON_UNREAD: &str = "load-unread";

/// What the journal keeps of a row that loses in a load to one that cannot be read.
pub fn lost_unread(table: &Table, key: &Key, settlement: &Settlement, loser: NodeId, loser_row: &Arc<Row>) -> Lost {
    let lost = lost(WON_UNREAD, table, key, settlement, loser_row, loser, loser_row);
    Lost {
        winner_row: None,
        winner_time: lost.decided,
        winner_unknown: Vec::new(),
        reason: format!("load: {}; what could not be read there is not in the journal", settlement.reason),
        ..lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, Decimal, Domain, TableSpec};
    use crate::sync::lens::Lens;
    use crate::sync::table::Form;

    /// A table of an id, a time and a name, of which node 1 lacks `without`.
    fn table(policy: Policy, from: Option<u16>, updated: Option<usize>, without: Option<usize>) -> Table {
        let columns = [("id", Type::Int), ("at", Type::Instant), ("name", Type::Text)];
        let form = |without: Option<usize>| {
            let places = (0..columns.len()).filter(|place| Some(*place) != without);
            let spec = TableSpec {
                columns: places
                    .map(|shared| Column {
                        name: columns[shared].0.to_owned(),
                        shared: Some(shared),
                        native: String::new(),
                        collation: None,
                        domain: Domain::Json { nul: true, binary: false },
                        ty: columns[shared].1.clone(),
                        nullable: true,
                    })
                    .collect(),
                key: vec![0],
                ..TableSpec::bare(0, "t", std::iter::empty())
            };
            Some(Form { lens: Lens::new(&spec, columns.len()), spec: Arc::new(spec) })
        };
        Table {
            policy,
            updated,
            from: from.map(NodeId),
            ..Table::bare(&columns, vec![form(None), form(without), form(None)])
        }
    }

    fn row(at: Option<i64>, name: &str) -> Row {
        vec![Value::Int(1), at.map_or(Value::Null, Value::Instant), Value::text(name)].into()
    }

    fn winner(table: &Table, prefer: Option<u16>, rows: &[(u16, Row)]) -> Option<(u16, String)> {
        let names = ["a", "b", "c"].map(str::to_owned);
        let rows: Vec<(NodeId, &Row)> = rows.iter().map(|(node, row)| (NodeId(*node), row)).collect();
        let settled = Rule::of(table, prefer.map(NodeId))?.decide(table, &rows, &names)?;
        Some((settled.winner.0, settled.reason))
    }

    #[test]
    fn what_was_named_goes_before_what_is_later_and_that_before_the_policy() {
        let rows = [(0, row(Some(5), "old")), (1, row(Some(9), "new")), (2, row(None, "unknown"))];
        let plain = table(Policy::LatestWins, None, None, None);
        assert_eq!(winner(&plain, None, &rows), None);
        assert_eq!(winner(&plain, Some(2), &rows).unwrap(), (2, "--prefer c".to_owned()));
        let updated = table(Policy::Prefer(vec![NodeId(2)]), None, Some(1), None);
        assert_eq!(winner(&updated, Some(0), &rows).unwrap().0, 0);
        let (by_time, why) = winner(&updated, None, &rows).unwrap();
        assert_eq!(by_time, 1);
        assert!(why.starts_with("`at` is the latest at b: "), "{why}");
        let policy = table(Policy::Prefer(vec![NodeId(2)]), None, None, None);
        assert_eq!(winner(&policy, None, &rows).unwrap().0, 2);
        let one_way = table(Policy::LatestWins, Some(0), Some(1), None);
        assert_eq!(winner(&one_way, Some(1), &rows).unwrap().0, 0);
    }

    #[test]
    fn who_stands_first_wins_where_nothing_tells() {
        let updated = table(Policy::LatestWins, None, Some(1), None);
        assert_eq!(winner(&updated, None, &[(1, row(Some(5), "x")), (2, row(Some(5), "y"))]).unwrap().0, 1);
        let (first, why) = winner(&updated, None, &[(1, row(None, "x")), (2, row(None, "y"))]).unwrap();
        assert_eq!((first, why.as_str()), (1, "nothing else tells; b stands first in the file"));
        assert_eq!(winner(&updated, Some(0), &[(1, row(Some(5), "x")), (2, row(Some(6), "y"))]).unwrap().0, 2);
    }

    #[test]
    fn who_is_let_in_goes_behind_those_who_stay() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let decided = |table: &Table, prefer: Option<u16>, rows: &[(u16, Row)]| {
            let rows: Vec<(NodeId, &Row)> = rows.iter().map(|(node, row)| (NodeId(*node), row)).collect();
            let rule = Rule::of(table, prefer.map(NodeId))?.letting_in(&[NodeId(0)]);
            let settled = rule.decide(table, &rows, &names)?;
            Some((settled.winner.0, settled.reason, rule.told(table, &names)))
        };
        let (stale, newer) = ((0, row(Some(5), "backup")), (2, row(Some(5), "kept")));
        let plain = table(Policy::LatestWins, None, None, None);
        // Nobody has said anything: that is asked, as ever.
        assert_eq!(decided(&plain, None, &[stale.clone(), newer.clone()]), None);
        let (winner, why, told) = decided(&plain, Some(1), &[stale.clone(), newer.clone()]).unwrap();
        assert_eq!((winner, told.as_str()), (2, "--prefer b, then the nodes that stay before a"));
        assert_eq!(why, "nothing else tells; c stands first in the file, but for nodes that are let in");
        // Whoever is named goes first all the same, and so does a row that is known to be later.
        assert_eq!(decided(&plain, Some(0), &[stale.clone(), newer.clone()]).unwrap().0, 0);
        let updated = table(Policy::LatestWins, None, Some(1), None);
        assert_eq!(decided(&updated, None, &[(0, row(Some(6), "since")), newer.clone()]).unwrap().0, 0);
        assert_eq!(decided(&updated, None, &[stale.clone(), newer.clone()]).unwrap().0, 2);
        let policy = table(Policy::Prefer(vec![NodeId(0)]), None, None, None);
        let (winner, _, told) = decided(&policy, None, &[stale.clone(), newer.clone()]).unwrap();
        assert_eq!((winner, told.as_str()), (2, "the nodes that stay before a, then prefer a"));
        assert_eq!(decided(&policy, None, std::slice::from_ref(&stale)).unwrap().0, 0);
        let one_way = table(Policy::LatestWins, Some(0), None, None);
        assert_eq!(decided(&one_way, Some(2), &[stale, newer]).unwrap().0, 0);
    }

    #[test]
    fn numbers_are_compared_by_value() {
        let decimal = |text: &str| Value::Decimal(Decimal::parse(text).unwrap());
        for (less, more) in [("9.5", "10"), ("-10", "-9.5"), ("-1", "0.5"), ("1.05", "1.5"), ("0.5", "1")] {
            assert_eq!(age(&decimal(less), &decimal(more)), Ordering::Less, "{less} {more}");
            assert_eq!(age(&decimal(more), &decimal(less)), Ordering::Greater, "{less} {more}");
        }
        assert_eq!(age(&decimal("1.50"), &decimal("1.5")), Ordering::Equal);
        assert_eq!(age(&Value::Uint(u64::MAX), &Value::Int(i64::MAX)), Ordering::Greater);
    }

    #[test]
    fn columns_that_live_at_one_side_only_differ_from_nothing_and_come_from_where_they_live() {
        let table = table(Policy::LatestWins, None, None, Some(2));
        let (full, bare) = (row(Some(5), "kept"), row(Some(7), ""));
        assert_eq!(differing(&table, (NodeId(0), &full), (NodeId(1), &bare)), [1]);
        let rows = [(NodeId(0), Arc::new(full)), (NodeId(1), Arc::new(bare))];
        assert_eq!(*completed(&table, NodeId(1), &rows, NodeId(0)).unwrap(), row(Some(7), "kept"));
        assert_eq!(*completed(&table, NodeId(1), &rows, NodeId(2)).unwrap(), row(Some(7), "kept"));
    }

    #[test]
    fn columns_that_the_winner_lacks_are_decided_among_those_who_have_them() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let rows = [(0, row(Some(5), "first")), (1, row(Some(9), "")), (2, row(Some(7), "later"))];
        let rows = rows.map(|(node, row)| (NodeId(node), Arc::new(row)));
        let whole = |updated: Option<usize>, winner: u16, rows: &[(NodeId, Arc<Row>)]| {
            let table = table(Policy::LatestWins, None, updated, Some(2));
            let rule = Rule::of(&table, Some(NodeId(winner))).unwrap();
            let mut settlement = Settlement { winner: NodeId(winner), reason: "why".to_owned() };
            let row = whole(&rule, &table, &mut settlement, rows, &names);
            (row.map(|row| (*row).clone()), settlement.reason)
        };
        let (taken, why) = whole(Some(1), 1, &rows);
        assert_eq!(taken, Some(row(Some(9), "later")));
        assert!(why.starts_with("why; `name`: `at` is the latest at c"), "{why}");
        let (taken, why) = whole(None, 1, &rows);
        assert_eq!(taken, Some(row(Some(9), "first")));
        assert_eq!(why, "why; `name`: nothing else tells; a stands first in the file");
        assert_eq!(whole(Some(1), 0, &rows), (None, "why".to_owned()));
        assert_eq!(whole(Some(1), 1, &rows[..2]), (Some(row(Some(9), "first")), "why".to_owned()));
    }

    #[test]
    fn the_journal_knows_a_loser_again() {
        let table = table(Policy::LatestWins, None, Some(1), None);
        let settlement = Settlement { winner: NodeId(0), reason: "why".into() };
        let (won, other) = (Arc::new(row(Some(5), "won")), Arc::new(row(Some(4), "lost")));
        let key: Key = vec![Value::Int(1)].into();
        let once = lost("load", &table, &key, &settlement, &won, NodeId(1), &other);
        let again = lost("load", &table, &key, &settlement, &won, NodeId(2), &other);
        assert_eq!(once.id, again.id);
        assert!(once.id.starts_with("load-") && once.reason == "load: why");
        assert_eq!((once.winner_time, once.loser_time), (5, 4));
        assert_ne!(lost("load", &table, &key, &settlement, &other, NodeId(1), &won).id, once.id);
    }
}
