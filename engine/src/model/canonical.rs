//! The one form of bytes that every value has, by which rows of different databases are compared without being brought
//! together.

use super::value::Value;

/// Appends the value's form. Two values have the same form just when they are equal, and no form is the beginning of
/// another, so that rows of values can be compared by the forms of their cells one after the other.
pub fn write_canonical(value: &Value, out: &mut Vec<u8>) {
    let mut fixed = |tag: u8, bytes: &[u8]| {
        out.push(tag);
        out.extend_from_slice(bytes);
    };
    match value {
        Value::Null => fixed(0, &[]),
        Value::Bool(v) => fixed(1, &[u8::from(*v)]),
        Value::Int(v) => fixed(2, &v.to_le_bytes()),
        Value::Uint(v) => fixed(3, &v.to_le_bytes()),
        Value::Float(v) => fixed(4, &super::value::float_bits(*v).to_le_bytes()),
        Value::Decimal(v) if v.is_finite() => {
            let (negative, whole, fraction) = v.parts();
            fixed(5, &[u8::from(negative)]);
            part(whole.as_bytes(), out);
            part(fraction.as_bytes(), out);
        }
        Value::Decimal(v) => whole(6, v.as_str().as_bytes(), out),
        Value::Text(v) => whole(7, v.as_bytes(), out),
        Value::Bytes(v) => whole(8, v, out),
        Value::Date(v) => fixed(9, &v.to_le_bytes()),
        Value::Time(v) => fixed(10, &v.to_le_bytes()),
        Value::Timestamp(v) => fixed(11, &v.to_le_bytes()),
        Value::Instant(v) => fixed(12, &v.to_le_bytes()),
        Value::Json(v) => whole(13, v.canonical().as_bytes(), out),
        Value::Uuid(v) => fixed(14, v),
    }
}

fn whole(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    part(bytes, out);
}

fn part(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Decimal, Json};

    fn form(row: &[Value]) -> Vec<u8> {
        let mut out = Vec::new();
        row.iter().for_each(|value| write_canonical(value, &mut out));
        out
    }

    /// Few different ones, so that equal ones meet.
    fn values() -> impl Strategy<Value = Value> {
        let decimals = ["0", "-0.0", "1", "1.0", "01.00", "1.1", "11", "-1", "NaN", "Infinity", "-Infinity"];
        let documents = ["1", "1.0", "10e-1", "[1,2]", "[1, 2]", r#"{"a":1,"b":2}"#, r#"{"b": 2, "a": 1.0}"#, "\"1\""];
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            (-2..2i64).prop_map(Value::Int),
            (0..2u64).prop_map(|v| Value::Uint(u64::MAX - v)),
            prop::sample::select(vec![0.0, -0.0, 1.0, f64::NAN, -f64::NAN, f64::INFINITY]).prop_map(Value::Float),
            prop::sample::select(decimals.to_vec()).prop_map(|v| Value::Decimal(Decimal::parse(v).unwrap())),
            "[01 ]{0,2}".prop_map(Value::text),
            prop::collection::vec(0..2u8, 0..3).prop_map(|v| Value::Bytes(v.into())),
            (0..2i32).prop_map(Value::Date),
            (0..2i64).prop_map(Value::Time),
            (0..2i64).prop_map(Value::Timestamp),
            (0..2i64).prop_map(Value::Instant),
            prop::sample::select(documents.to_vec()).prop_map(|v| Value::Json(Json::new(v))),
            (0..2u8).prop_map(|v| Value::Uuid([v; 16])),
        ]
    }

    proptest! {
        #[test]
        fn rows_have_one_form_just_when_they_are_equal(
            a in prop::collection::vec(values(), 0..3),
            b in prop::collection::vec(values(), 0..3),
        ) {
            prop_assert_eq!(form(&a) == form(&b), a == b, "{:?} {:?}", a, b);
        }

        #[test]
        fn single_values_do_too(a in values(), b in values()) {
            prop_assert_eq!(form(std::slice::from_ref(&a)) == form(std::slice::from_ref(&b)), a == b, "{:?} {:?}", a, b);
        }
    }
}
