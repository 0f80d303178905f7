//! Completing rows of nodes where not every column lives.

use std::sync::Arc;

use super::contest::{Content, Contest};
use super::table::Table;
use crate::model::{Dot, Row, Value, Vector};

/// What [`complete`] finds.
pub(super) struct Completed {
    /// The rows of the versions that are left, in their order.
    pub rows: Vec<Option<Arc<Row>>>,
    /// The columns that nobody here has.
    pub unknown: Vec<usize>,
    /// The places of versions which these rows have seen, each with a column whose value there is not in the rows.
    pub passed_over: Vec<(usize, usize)>,
    /// The changes that the rows cannot vouch for, because what they did to such a column is not known here.
    pub unvouched: Vec<Dot>,
}

/// Completes the versions that are left, whose places are `tops`: columns that do not live at a version's node are taken from
/// another version that has them. `seen` is what all versions together have seen.
///
/// Of several versions that have a column, each takes it from one that knows all that it knows itself of the nodes where the column
/// lives, if there is one, and among those from one that knows most of them. How young a version is says nothing: its last change
/// may come from a node without the column. What is at a node that gives no rows away is its own.
pub(super) fn complete(table: &Table, contest: &Contest, tops: &[usize], seen: &Vector) -> Completed {
    let versions = &contest.versions;
    let mut rows: Vec<Option<Arc<Row>>> = tops.iter().map(|&top| versions[top].content.shared()).collect();
    let has = |at: usize, column: usize| versions[at].tells_of(column, table);
    // Who has no row lacks no column of it.
    let lacks = |top: usize, column: usize| versions[top].content.row().is_some() && !has(top, column);
    let (mut unknown, mut passed_over, mut unvouched) = (Vec::new(), Vec::new(), Vec::new());
    if tops.iter().all(|&top| versions[top].is_whole(table)) {
        return Completed { rows, unknown, passed_over, unvouched };
    }
    let mut by_age: Vec<usize> = (0..versions.len()).filter(|&at| versions[at].content.row().is_some()).collect();
    by_age.sort_by_key(|&at| std::cmp::Reverse(versions[at].version.stamp));
    for column in (0..table.columns.len()).filter(|&column| tops.iter().any(|&top| lacks(top, column))) {
        // Whoever is away may have the column.
        let lives_at = |dot: &&Dot| table.form(dot.node).is_none_or(|form| form.lens.has(column));
        let saw = |at: usize, dot: &Dot| versions[at].version.vector.saw(dot);
        let knows = |at: usize, other: usize| {
            versions[other].version.vector.dots().iter().filter(lives_at).all(|dot| saw(at, dot))
        };
        let vector = |at: usize| &versions[at].version.vector;
        let replaces = |one: usize, other: usize| {
            let later = || vector(one).includes(vector(other)) && !vector(other).includes(vector(one));
            knows(one, other) && (!knows(other, one) || later())
        };
        let holders: Vec<usize> = by_age.iter().copied().filter(|&at| has(at, column)).collect();
        let givers: Vec<usize> =
            holders.iter().copied().filter(|&at| table.gives_rows(versions[at].version.node)).collect();
        // What is weighed with the column wins or loses as a whole.
        let mut weighed: Vec<usize> = tops.iter().copied().filter(|&top| has(top, column)).collect();
        for (row, &top) in rows.iter_mut().zip(tops) {
            let Some(row) = row.as_mut().filter(|_| lacks(top, column)) else { continue };
            let able: Vec<usize> = givers.iter().copied().filter(|&at| knows(at, top)).collect();
            let able = if able.is_empty() { &givers } else { &able };
            let best = |&&one: &&usize| !able.iter().any(|&other| replaces(other, one));
            let known = able.iter().find(best).copied();
            let value = known.and_then(|at| versions[at].content.row()).map(|row| row[column].clone());
            if value.is_none() && !unknown.contains(&column) {
                unknown.push(column);
            }
            Arc::make_mut(row)[column] = value.unwrap_or(Value::Null);
            weighed.extend(known);
        }
        if givers.is_empty() {
            continue;
        }
        let is_open =
            |dot: &&Dot| lives_at(dot) && !weighed.iter().any(|&at| saw(at, dot)) && !went(contest, tops, dot);
        // What stands here besides is replaced as well. Whoever is away is weighed when he comes back.
        let over = |&at: &usize| versions[at].version.vector.dots().iter().any(|dot| is_open(&dot));
        let over: Vec<usize> = holders.iter().copied().filter(over).collect();
        unvouched.extend(seen.dots().iter().filter(is_open).filter(|dot| !over.iter().any(|&at| saw(at, dot))));
        passed_over.extend(over.iter().map(|&at| (at, column)));
    }
    Completed { rows, unknown, passed_over, unvouched }
}

/// Whether a change went into a delete that is weighed: there is no column of which it is not known what became.
pub(super) fn went(contest: &Contest, tops: &[usize], dot: &Dot) -> bool {
    let deleted = tops.iter().map(|&top| &contest.versions[top]).filter(|top| top.content == Content::Deleted);
    deleted.into_iter().any(|top| top.version.vector.saw(dot))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::Version;
    use crate::model::{Cut, NodeId, Parked, ParkedCode, Stamp, Type, Waiting};
    use crate::sync::contest::Contender;
    use crate::sync::table::Form;

    /// A table of an id and a name, which the second of two nodes lacks.
    fn table(from: Option<NodeId>) -> Table {
        let columns = [("id", Type::Int), ("name", Type::Text)];
        let form = |columns: &[(&str, Type)]| Some(Form::bare(columns, 2));
        Table { from, ..Table::bare(&columns, vec![form(&columns), form(&columns[..1])]) }
    }

    /// What nobody knew of a row that waits is known from who has it. Of a column that lives everywhere it is another matter: there the
    /// row is older than the column.
    #[test]
    fn what_waits_tells_of_no_column_that_was_not_known() {
        let (table, own) = (table(None), |name: Value| -> Row { vec![Value::Int(1), name].into() });
        let waits = |unknown: usize| Parked {
            table: 0,
            key: vec![Value::Int(1)].into(),
            code: ParkedCode::Constraint,
            message: "no".to_owned(),
            since: 0,
            vector: Vector::of(Dot { node: NodeId(1), number: 2, mark: 2 }),
            stamp: Stamp { time: 2, node: NodeId(1) },
            content: Waiting::Row { row: own(Value::Null), unknown: vec![unknown] },
            standing: Vector::EMPTY,
            standing_time: i64::MIN,
            read: Cut::START,
        };
        assert_eq!([0, 1].map(|unknown| table.as_it_counts(waits(unknown)).is_owed()), [true, false]);
        let version = Version {
            node: NodeId(0),
            waiting: false,
            behind: false,
            vector: Vector::EMPTY,
            stamp: Stamp { time: 1, node: NodeId(0) },
        };
        let mut contest = Contest::default();
        contest.versions.push(Contender::new(version, Content::Row(Arc::new(own(Value::text("own"))))));
        contest.wait(NodeId(1), &table.as_it_counts(waits(1)));
        let top = contest.versions.iter().position(|one| one.version.waiting).expect("it waits");
        let completed = complete(&table, &contest, &[top], &contest.seen());
        assert_eq!(completed.rows[0].as_ref().map(|row| row[1].clone()), Some(Value::text("own")));
        assert_eq!((completed.unknown.len(), contest.untold(top, &table)), (0, vec![1]));
    }

    /// A column that the source of a table that goes one way has not is each target's own.
    #[test]
    fn what_is_at_a_target_is_for_no_other() {
        let row = |name: Value| Content::Row(Arc::new(vec![Value::Int(1), name].into()));
        for (from, waiting, name) in [
            (None, false, Value::text("own")),
            (Some(NodeId(1)), false, Value::Null),
            (Some(NodeId(1)), true, Value::Null),
        ] {
            let version = |node: u16, waiting: bool, time: i64| Version {
                node: NodeId(node),
                waiting,
                behind: false,
                vector: Vector::of(Dot { node: NodeId(node), number: time, mark: time }),
                stamp: Stamp { time, node: NodeId(node) },
            };
            let mut contest = Contest::default();
            contest.versions.extend([
                Contender::new(version(0, waiting, 1), row(Value::text("own"))),
                Contender::new(version(1, false, 2), row(Value::Null)),
            ]);
            let completed = complete(&table(from), &contest, &[1], &contest.seen());
            assert_eq!(completed.unknown, if name == Value::Null { vec![1] } else { Vec::new() });
            assert_eq!(completed.rows[0].as_ref().map(|row| row[1].clone()), Some(name));
            assert!(from.is_none() || completed.passed_over.is_empty() && completed.unvouched.is_empty());
        }
    }
}
