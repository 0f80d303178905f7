//! Adding up what every change did, each counted once.

use super::policy::Verdict;
use super::{Candidate, Version};
use crate::model::{Decimal, Dot, Grain, Row, Value, Vector};

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
        let Some(total) = total_of(column, place, start.version, start_row, deltas) else {
            return Verdict::Park(format!("the sum of column {} leaves the range of its type", column + 1));
        };
        merged[column] = total;
    }
    Verdict::Merge(merged)
}

/// Which of the recorded columns of a row that somebody else made hold, for every version, what that comes to with the changes that it
/// has not seen. Of one that came about otherwise than by the changes that are told, the value is not in the sum.
pub fn added_up(columns: &[usize], tops: &[Candidate<'_>], deltas: &[Delta], row: &Row) -> Vec<usize> {
    let is_in = |top: &Candidate<'_>, place: usize, column: usize| {
        let total = |own| total_of(column, place, top.version, own, deltas);
        top.row.is_none_or(|own| total(own).is_some_and(|total| total == row[column]))
    };
    let is_sum = |&(place, &column): &(usize, &usize)| tops.iter().all(|top| is_in(top, place, column));
    columns.iter().enumerate().filter(is_sum).map(|(_, &column)| column).collect()
}

/// What a column of this version's row comes to with the changes that the version has not seen. `place` is the column's among the
/// recorded ones.
fn total_of(column: usize, place: usize, version: &Version, row: &Row, deltas: &[Delta]) -> Option<Value> {
    let unseen = deltas.iter().filter(|delta| !version.vector.saw(&delta.dot));
    let side = |row: &Option<Row>| row.as_ref().map_or(Value::Null, |row| row[place].clone());
    let steps: Vec<(Value, Value)> = unseen.map(|delta| (side(&delta.before), side(&delta.after))).collect();
    total(&row[column], &steps)
}

/// Brings what was made of floats of 4 bytes alone to one of these, in columns of which a node holds no others: the sum of two of them
/// is seldom one, and would fit nowhere. Where a value that went into it has more digits, some node holds more, and keeps the sum as
/// it is. `columns` are places among the recorded columns, each with the place in the row.
pub fn to_singles(
    row: &mut Row,
    columns: impl Iterator<Item = (usize, usize)>,
    tops: &[Candidate<'_>],
    deltas: &[Delta],
) {
    for (recorded, column) in columns {
        if values(tops, deltas, recorded, column).all(is_single) {
            row[column] = Grain::Single.apply(row[column].clone());
        }
    }
}

/// Brings what was made of names of floats alone to the name of the nearest float, in columns where a node keeps decimals as floats and
/// not this one: 0.30000000000000004 and 0.1 are held there, and their exact sum is not. `columns` are those of [`to_singles`].
pub fn to_names(
    row: &mut Row,
    columns: impl Iterator<Item = (usize, usize)>,
    tops: &[Candidate<'_>],
    deltas: &[Delta],
) {
    for (recorded, column) in columns {
        let Value::Decimal(sum) = &row[column] else { continue };
        let nearest = sum.as_str().parse::<f64>().ok().and_then(Decimal::naming);
        if let Some(nearest) = nearest
            && values(tops, deltas, recorded, column).all(is_name)
        {
            row[column] = Value::Decimal(nearest);
        }
    }
}

/// Everything that went into a column.
fn values<'a>(
    tops: &'a [Candidate<'_>],
    deltas: &'a [Delta],
    recorded: usize,
    column: usize,
) -> impl Iterator<Item = &'a Value> {
    let versions = tops.iter().filter_map(|top| top.row).map(move |row| &row[column]);
    let images = deltas.iter().flat_map(|delta| [&delta.before, &delta.after]).flatten();
    versions.chain(images.map(move |image| &image[recorded]))
}

/// Whether the value is the name of a float, if it is a decimal.
fn is_name(value: &Value) -> bool {
    match value {
        Value::Decimal(number) => number.float().is_some(),
        _ => true,
    }
}

/// Whether a float of 4 bytes holds the value, if it is a float.
fn is_single(value: &Value) -> bool {
    match value {
        Value::Float(number) => !number.is_finite() || f64::from(*number as f32) == *number,
        _ => true,
    }
}

/// A value with what changes from one value to another did to it.
fn total(start: &Value, steps: &[(Value, Value)]) -> Option<Value> {
    let wide = |value: &Value| match value {
        Value::Int(v) => Some(i128::from(*v)),
        Value::Uint(v) => Some(i128::from(*v)),
        Value::Null => Some(0),
        _ => None,
    };
    if start.is_null() && steps.iter().all(|(before, after)| before.is_null() && after.is_null()) {
        return Some(Value::Null);
    }
    // Of integers only the outcome has to be in range, not what comes up on the way to it.
    let differences = steps.iter().map(|(before, after)| Some(wide(after)? - wide(before)?));
    if let (Some(start), Some(difference)) = (wide(start), differences.sum::<Option<i128>>()) {
        let sum = start + difference;
        return match i64::try_from(sum) {
            Ok(sum) => Some(Value::Int(sum)),
            Err(_) => u64::try_from(sum).ok().map(Value::Uint),
        };
    }
    let step =
        |total: Value, (before, after): &(Value, Value)| add(&total, after).and_then(|sum| subtract(&sum, before));
    steps.iter().try_fold(start.clone(), step)
}

/// NULL counts as nothing. `None` if the result is out of range or the values are no numbers.
fn add(a: &Value, b: &Value) -> Option<Value> {
    combine(a, b, i64::checked_add, 1, |a, b| a + b)
}

fn subtract(a: &Value, b: &Value) -> Option<Value> {
    match (a, b) {
        (Value::Null, Value::Null) => Some(Value::Null),
        (Value::Null, b) => subtract(&subtract(b, b)?, b),
        _ => combine(a, b, i64::checked_sub, -1, |a, b| a - b),
    }
}

fn combine(
    a: &Value,
    b: &Value,
    integers: fn(i64, i64) -> Option<i64>,
    sign: i8,
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
        (Value::Decimal(a), Value::Decimal(b)) => Value::Decimal(exact(a, b, sign)?),
        (a, b) => Value::Float(floats(float(a)?, float(b)?)),
    })
}

/// The sum of two decimals, of which the second has a sign besides. Digit by digit: what is left of floats, such as -2.8e-17, has more
/// of them beside an amount than any integer here. `None` if one is no number.
fn exact(a: &Decimal, b: &Decimal, sign: i8) -> Option<Decimal> {
    if !a.is_finite() || !b.is_finite() {
        return None;
    }
    let ((_, a_whole, a_fraction), (_, b_whole, b_fraction)) = (a.parts(), b.parts());
    // There may be one digit more in front.
    let whole = 1 + a_whole.len().max(b_whole.len());
    let mut digits = vec![0i8; whole + a_fraction.len().max(b_fraction.len())];
    for (number, sign) in [(a, 1), (b, sign)] {
        let (negative, before, behind) = number.parts();
        let sign = if negative { -sign } else { sign };
        let own = before.bytes().chain(behind.bytes()).map(|digit| (digit - b'0') as i8);
        digits[whole - before.len()..].iter_mut().zip(own).for_each(|(sum, digit)| *sum += sign * digit);
    }
    let negative = digits.iter().find(|digit| **digit != 0).is_some_and(|digit| *digit < 0);
    let mut carried = 0;
    for digit in digits.iter_mut().rev() {
        let sum = carried + if negative { -*digit } else { *digit };
        (carried, *digit) = (sum.div_euclid(10), sum.rem_euclid(10));
    }
    let digits: String = digits.iter().map(|digit| char::from(b'0' + digit.unsigned_abs())).collect();
    let (whole, fraction) = digits.split_at(whole);
    let whole = whole.trim_start_matches('0');
    let (sign, whole) = (if negative { "-" } else { "" }, if whole.is_empty() { "0" } else { whole });
    let point = if fraction.is_empty() { "" } else { "." };
    Decimal::parse(&format!("{sign}{whole}{point}{fraction}"))
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

    /// Of a row that somebody else made.
    #[test]
    fn a_column_is_added_up_if_every_change_is_in_it() {
        let (a, b) = (version(0, &[dot(0, 2)], 10), version(1, &[dot(1, 1)], 20));
        let row = |sum: i64, note: &str| -> Row { vec![Value::Int(sum), Value::text(note)].into() };
        let rows = [row(106, "a"), row(120, "b")];
        let tops = [Candidate { version: &a, row: Some(&rows[0]) }, Candidate { version: &b, row: Some(&rows[1]) }];
        let delta = |node, number, before: (i64, &str), after: (i64, &str)| {
            let [before, after] = [before, after].map(|(sum, note)| Some(row(sum, note)));
            Delta { dot: dot(node, number), before, after, upon: None }
        };
        let deltas = [
            delta(0, 1, (100, "-"), (105, "-")),
            delta(0, 2, (105, "-"), (106, "a")),
            delta(1, 1, (100, "-"), (120, "b")),
        ];
        let added_up = |made: &Row| added_up(&[0, 1], &tops, &deltas, made);
        assert_eq!(added_up(&row(126, "b")), vec![0]);
        // One of the changes was left out, or taken twice.
        for sum in [106, 120, 121, 125, 146] {
            assert!(added_up(&row(sum, "b")).is_empty(), "{sum}");
        }
        // It was another before, of which nobody was told: what b comes to is not what a does.
        let apart = row(109, "a");
        let tops = [Candidate { version: &a, row: Some(&apart) }, tops[1]];
        assert!(super::added_up(&[0, 1], &tops, &deltas, &row(126, "b")).is_empty());
    }

    #[test]
    fn only_the_outcome_has_to_be_in_range() {
        let (start, most) = (Value::Int(i64::MAX - 3), Value::Int(i64::MAX - 3));
        assert_eq!(total(&start, &[(most.clone(), Value::Int(i64::MAX))]), Some(Value::Int(i64::MAX)));
        assert_eq!(total(&start, &[(Value::Int(0), Value::Int(9)), (most, Value::Int(0))]), Some(Value::Int(9)));
        assert_eq!(total(&Value::Int(i64::MIN), &[(Value::Int(0), Value::Int(-1))]), None);
        assert_eq!(total(&Value::Null, &[(Value::Null, Value::Int(4))]), Some(Value::Int(4)));
        assert_eq!(total(&Value::Null, &[(Value::Int(5), Value::Null)]), Some(Value::Int(-5)));
        assert_eq!(total(&Value::Null, &[(Value::Null, Value::Null)]), Some(Value::Null));
    }

    #[test]
    fn integers_above_those_with_a_sign_add_up_as_well() {
        let most = i64::MAX.unsigned_abs();
        let steps = [(Value::Uint(most + 1), Value::Uint(most + 4)), (Value::Uint(most + 1), Value::Int(1))];
        assert_eq!(total(&Value::Uint(most + 1), &steps[..1]), Some(Value::Uint(most + 4)));
        assert_eq!(total(&Value::Uint(most + 1), &steps), Some(Value::Int(4)));
        assert_eq!(total(&Value::Null, &[(Value::Null, Value::Uint(u64::MAX))]), Some(Value::Uint(u64::MAX)));
        assert_eq!(total(&Value::Int(i64::MAX), &[(Value::Int(0), Value::Int(1))]), Some(Value::Uint(most + 1)));
        assert_eq!(total(&Value::Uint(u64::MAX), &[(Value::Int(0), Value::Int(1))]), None);
    }

    /// 0.1 became 0.2 at one node and 0.3 at another, as floats of 4 bytes have them.
    #[test]
    fn a_sum_of_floats_of_4_bytes_is_one() {
        let single = |number: f32| Value::Float(f64::from(number));
        let row = |value: Value| -> Row { vec![Value::Int(1), value].into() };
        let delta = |node: u16, after: f32| {
            let [before, after] = [0.1, after].map(|number| Some(vec![single(number)].into()));
            Delta { dot: dot(node, 1), before, after, upon: None }
        };
        let (a, b) = (version(0, &[dot(0, 1)], 10), version(1, &[dot(1, 1)], 20));
        let rows = [row(single(0.2)), row(single(0.3))];
        let tops = [Candidate { version: &a, row: Some(&rows[0]) }, Candidate { version: &b, row: Some(&rows[1]) }];
        let deltas = [delta(0, 0.2), delta(1, 0.3)];
        let Verdict::Merge(mut merged) = merge(&[1], &tops, &deltas, 1) else { panic!("they add up") };
        assert_ne!(merged, row(single(0.4)), "the sum has more digits");
        to_singles(&mut merged, [(0, 1)].into_iter(), &tops, &deltas);
        assert_eq!(merged, row(single(0.4)));
        // What was made of more digits is not touched, nor what would become an infinity.
        for kept in [0.1, 1e300] {
            let [exact, mut made] = [row(Value::Float(kept)), row(Value::Float(kept))];
            let tops = [Candidate { version: &a, row: Some(&exact) }];
            to_singles(&mut made, [(0, 1)].into_iter(), &tops, &[]);
            assert_eq!(made, exact);
        }
        let mut beyond = row(Value::Float(1e300));
        to_singles(&mut beyond, [(0, 1)].into_iter(), &[], &[]);
        assert_eq!(beyond, row(Value::Float(1e300)));
    }

    /// Two nodes hold floats of 8 bytes, a third one of 4, so that the sum waits there: nothing of it is lost at the others.
    #[test]
    fn a_sum_of_floats_of_8_bytes_stays_exact_where_a_node_holds_less() {
        let row = |value: f64| -> Row { vec![Value::Int(1), Value::Float(value)].into() };
        let image = |value: f64| -> Option<Row> { Some(vec![Value::Float(value)].into()) };
        let delta = |node: u16, before: f64, after: f64| Delta {
            dot: dot(node, 1),
            before: image(before),
            after: image(after),
            upon: None,
        };
        let (a, b) = (version(0, &[dot(0, 1)], 10), version(1, &[dot(1, 1)], 20));
        // In turn only what stands and only what it was before have digits that are too many.
        for [before, at_a, at_b, sum] in [
            [16_777_216.0, 16_777_216.5, 16_777_218.0, 16_777_218.5],
            [16_777_216.5, 16_777_218.0, 16_777_220.0, 16_777_221.5],
        ] {
            let rows = [row(at_a), row(at_b)];
            let tops = [Candidate { version: &a, row: Some(&rows[0]) }, Candidate { version: &b, row: Some(&rows[1]) }];
            let deltas = [delta(0, before, at_a), delta(1, before, at_b)];
            let Verdict::Merge(mut merged) = merge(&[1], &tops, &deltas, 1) else { panic!("they add up") };
            to_singles(&mut merged, [(0, 1)].into_iter(), &tops, &deltas);
            assert_eq!(merged, row(sum));
        }
    }

    /// 0.1 became 0.30000000000000004 at one file of SQLite and 0.2 at another: the exact sum is 0.40000000000000004, which neither keeps.
    #[test]
    fn a_sum_of_names_of_floats_is_one() {
        let decimal = |text: &str| Value::Decimal(Decimal::parse(text).unwrap());
        let row = |text: &str| -> Row { vec![Value::Int(1), decimal(text)].into() };
        let delta = |node: u16, before: &str, after: &str| {
            let [before, after] = [before, after].map(|text| Some(vec![decimal(text)].into()));
            Delta { dot: dot(node, 1), before, after, upon: None }
        };
        let (a, b) = (version(0, &[dot(0, 1)], 10), version(1, &[dot(1, 1)], 20));
        for (before, at_a, at_b, sum, brought) in [
            ("0.1", "0.30000000000000004", "0.2", "0.40000000000000004", "0.4"),
            // More digits than an integer of 128 bits has.
            (
                "-0.000000000000000027755575615628914",
                "1234567.5",
                "1",
                "1234568.500000000000000027755575615628914",
                "1234568.5",
            ),
            // Of what no float is read as, nothing is lost.
            ("0.1", "0.10000000000000001", "0.2", "0.20000000000000001", "0.20000000000000001"),
            ("0.1", "0.2", "9007199254740993", "9007199254740993.1", "9007199254740993.1"),
        ] {
            let rows = [row(at_a), row(at_b)];
            let tops = [Candidate { version: &a, row: Some(&rows[0]) }, Candidate { version: &b, row: Some(&rows[1]) }];
            let deltas = [delta(0, before, at_a), delta(1, before, at_b)];
            let Verdict::Merge(mut merged) = merge(&[1], &tops, &deltas, 1) else { panic!("they add up") };
            assert_eq!(merged, row(sum));
            to_names(&mut merged, [(0, 1)].into_iter(), &tops, &deltas);
            assert_eq!(merged, row(brought));
        }
        let none: Row = vec![Value::Null, decimal("NaN")].into();
        let mut brought = none.clone();
        to_names(&mut brought, [(0, 0), (0, 1)].into_iter(), &[], &[]);
        assert_eq!(brought, none);
    }

    #[test]
    fn decimals_of_any_length_add_up() {
        let decimal = |text: &str| Value::Decimal(Decimal::parse(text).unwrap());
        let (nines, zeros) = ("9".repeat(49), "0".repeat(50));
        let long = [format!("{nines}9"), format!("1{zeros}"), format!("{nines}8"), format!("-{nines}8")];
        let [nines, more, less, below] = long.each_ref().map(String::as_str);
        for (a, b, sum, difference) in [
            ("0.1", "0.25", "0.35", "-0.15"),
            ("-10", "0.01", "-9.99", "-10.01"),
            ("100", "-99.9", "0.1", "199.9"),
            ("5", "5.00", "10", "0"),
            ("-0.5", "-0.50", "-1", "0"),
            (nines, "1", more, less),
            ("1", nines, more, below),
        ] {
            assert_eq!(add(&decimal(a), &decimal(b)), Some(decimal(sum)), "{a} + {b}");
            assert_eq!(subtract(&decimal(a), &decimal(b)), Some(decimal(difference)), "{a} - {b}");
        }
        assert_eq!(add(&decimal("NaN"), &decimal("1")), None);
        assert_eq!(subtract(&decimal("1"), &decimal("-Infinity")), None);
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
