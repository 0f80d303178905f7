//! Adding up what every change did, each counted once.

use super::Candidate;
use super::policy::Verdict;
use crate::model::{Decimal, Dot, Row, Value, Vector};

/// What one change did to the recorded columns of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    pub dot: Dot,
    /// The recorded columns before and after, in the order in which the policy names them; `None` where there was no row.
    pub before: Option<Row>,
    pub after: Option<Row>,
    /// What the row had seen when it was changed, as far as its node's history tells; `None` if only others told of the change.
    pub upon: Option<Vector>,
}

/// Starts from one version, see [`start`](super::start), and adds what the changes that it has not seen did.
pub(super) fn merge(columns: &[usize], tops: &[Candidate<'_>], deltas: &[Delta], latest: usize) -> Verdict {
    // A delete is a version like any other: the latest change decides whether there is a row at all.
    let Some(latest_row) = tops[latest].row else { return Verdict::Take(latest) };
    let start = super::start(tops).map_or(&tops[latest], |place| &tops[place]);
    let Some(start_row) = start.row else { return Verdict::Take(latest) };
    let mut merged = latest_row.clone();
    for (place, &column) in columns.iter().enumerate() {
        let unseen = deltas.iter().filter(|delta| !start.version.vector.saw(&delta.dot));
        let side = |row: &Option<Row>| row.as_ref().map_or(Value::Null, |row| row[place].clone());
        let steps: Vec<(Value, Value)> = unseen.map(|delta| (side(&delta.before), side(&delta.after))).collect();
        let Some(total) = total(&start_row[column], &steps) else {
            return Verdict::Park(format!("the sum of column {} leaves the range of its type", column + 1));
        };
        merged[column] = total;
    }
    Verdict::Merge(merged)
}

/// A value with what changes from one value to another did to it.
fn total(start: &Value, steps: &[(Value, Value)]) -> Option<Value> {
    let wide = |value: &Value| match value {
        Value::Int(v) => Some(i128::from(*v)),
        Value::Null => Some(0),
        _ => None,
    };
    // Of integers only the outcome has to be in range, not what comes up on the way to it.
    let differences = steps.iter().map(|(before, after)| Some(wide(after)? - wide(before)?));
    if let (Value::Int(start), Some(difference)) = (start, differences.sum::<Option<i128>>()) {
        return i64::try_from(i128::from(*start) + difference).ok().map(Value::Int);
    }
    let step =
        |total: Value, (before, after): &(Value, Value)| add(&total, after).and_then(|sum| subtract(&sum, before));
    steps.iter().try_fold(start.clone(), step)
}

/// NULL counts as nothing. `None` if the result is out of range or the values are no numbers.
fn add(a: &Value, b: &Value) -> Option<Value> {
    combine(a, b, i64::checked_add, i128::checked_add, |a, b| a + b)
}

fn subtract(a: &Value, b: &Value) -> Option<Value> {
    match (a, b) {
        (Value::Null, Value::Null) => Some(Value::Null),
        (Value::Null, b) => subtract(&subtract(b, b)?, b),
        _ => combine(a, b, i64::checked_sub, i128::checked_sub, |a, b| a - b),
    }
}

fn combine(
    a: &Value,
    b: &Value,
    integers: fn(i64, i64) -> Option<i64>,
    unscaled: fn(i128, i128) -> Option<i128>,
    floats: fn(f64, f64) -> f64,
) -> Option<Value> {
    let float = |value: &Value| match value {
        Value::Int(v) => Some(*v as f64),
        Value::Float(v) => Some(*v),
        _ => None,
    };
    Some(match (a, b) {
        (a, Value::Null) => a.clone(),
        (Value::Null, b) => b.clone(),
        (Value::Int(a), Value::Int(b)) => Value::Int(integers(*a, *b)?),
        (Value::Decimal(a), Value::Decimal(b)) => {
            let scale = a.parts().2.len().max(b.parts().2.len());
            Value::Decimal(Decimal::from_unscaled(unscaled(a.unscaled(scale)?, b.unscaled(scale)?)?, scale))
        }
        (a, b) => Value::Float(floats(float(a)?, float(b)?)),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Version;
    use super::*;
    use crate::model::{NodeId, Stamp, Vector};

    fn dot(node: u16, number: i64) -> Dot {
        Dot { node: NodeId(node), number, mark: number }
    }

    fn delta(node: u16, number: i64, before: i64, after: i64) -> Delta {
        let row = |value| Some(vec![Value::Int(value)].into());
        Delta { dot: dot(node, number), before: row(before), after: row(after), upon: None }
    }

    fn version(node: u16, dots: &[Dot], time: i64) -> Version {
        let mut vector = Vector::EMPTY;
        dots.iter().for_each(|dot| vector.add(*dot));
        Version { node: NodeId(node), waiting: false, behind: false, vector, stamp: Stamp { time, node: NodeId(node) } }
    }

    #[test]
    fn every_change_counts_once() {
        // 100, then +5 and +1 at node 0, +20 at node 1.
        let (a, b) = (version(0, &[dot(0, 2)], 10), version(1, &[dot(1, 1)], 20));
        let rows: [Row; 2] = [
            vec![Value::Int(1), Value::text("a"), Value::Int(106)].into(),
            vec![Value::Int(1), Value::text("b"), Value::Int(120)].into(),
        ];
        let tops = [Candidate { version: &a, row: Some(&rows[0]) }, Candidate { version: &b, row: Some(&rows[1]) }];
        let deltas = [delta(0, 1, 100, 105), delta(0, 2, 105, 106), delta(1, 1, 100, 120)];
        let want: Row = vec![Value::Int(1), Value::text("b"), Value::Int(126)].into();
        assert_eq!(merge(&[2], &tops, &deltas, 1), Verdict::Merge(want));
    }

    #[test]
    fn only_the_outcome_has_to_be_in_range() {
        let (start, most) = (Value::Int(i64::MAX - 3), Value::Int(i64::MAX - 3));
        assert_eq!(total(&start, &[(most.clone(), Value::Int(i64::MAX))]), Some(Value::Int(i64::MAX)));
        assert_eq!(total(&start, &[(Value::Int(0), Value::Int(9)), (most, Value::Int(0))]), Some(Value::Int(9)));
        assert_eq!(total(&start, &[(Value::Int(0), Value::Int(4))]), None);
        assert_eq!(total(&Value::Null, &[(Value::Null, Value::Int(4))]), Some(Value::Int(4)));
    }

    #[test]
    fn arithmetic_is_exact_and_refuses_to_overflow() {
        let decimal = |text: &str| Value::Decimal(Decimal::parse(text).unwrap());
        assert_eq!(add(&decimal("0.1"), &decimal("0.25")), Some(decimal("0.35")));
        assert_eq!(subtract(&Value::Null, &Value::Int(3)), Some(Value::Int(-3)));
        assert_eq!(subtract(&Value::Null, &decimal("1.5")), Some(decimal("-1.5")));
        assert_eq!(add(&Value::Int(i64::MAX), &Value::Int(1)), None);
        assert_eq!(add(&Value::text("x"), &Value::Int(1)), None);
        assert_eq!(add(&Value::Int(1), &Value::Float(0.5)), Some(Value::Float(1.5)));
    }
}
