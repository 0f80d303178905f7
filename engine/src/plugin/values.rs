//! Values that plugins answer. What they are handed is in [`handed`](super::handed).

use super::bindings::concord::plugin::types as wit;
use crate::model::{Decimal, Json, Row, Type, Value, time};

/// The value that a plugin answered, or in words why it is none. Reads after "the value of … ".
fn from_wit(value: wit::Value) -> Result<Value, String> {
    let shown = |text: &str| super::failure::told(text, 40);
    Ok(match value {
        wit::Value::Null => Value::Null,
        wit::Value::Boolean(v) => Value::Bool(v),
        wit::Value::Integer(v) => Value::Int(v),
        wit::Value::Unsigned(v) => i64::try_from(v).map_or(Value::Uint(v), Value::Int),
        wit::Value::Float(v) => Value::Float(v),
        wit::Value::Decimal(v) => match Decimal::parse(&v) {
            Some(decimal) => Value::Decimal(decimal),
            None => return Err(format!("is no decimal number: `{}`", shown(&v))),
        },
        wit::Value::Text(v) => Value::text(v),
        wit::Value::Bytes(v) => Value::Bytes(v.into()),
        wit::Value::Date(v) => Value::Date(v),
        wit::Value::Time(v) if v.unsigned_abs() <= time::LONGEST.unsigned_abs() => Value::Time(v),
        wit::Value::Time(v) => return Err(format!("is no time: {v} µs")),
        wit::Value::Timestamp(v) => Value::Timestamp(v),
        wit::Value::Instant(v) => Value::Instant(v),
        wit::Value::Json(v) => match serde_json::from_str::<serde::de::IgnoredAny>(&v) {
            Ok(_) => Value::Json(Json::new(v)),
            Err(why) => return Err(format!("is no JSON: {why}")),
        },
        wit::Value::Uuid(v) => match uuid::Uuid::parse_str(&v) {
            Ok(uuid) => Value::Uuid(*uuid.as_bytes()),
            Err(_) => return Err(format!("is no uuid: `{}`", shown(&v))),
        },
        wit::Value::Other((kind, _)) => return Err(format!("is of a kind that is not known here: `{}`", shown(&kind))),
    })
}

/// The row that a plugin answered, if it is one of these columns; else in words why not.
pub(super) fn row_from_wit<'a>(
    row: Vec<wit::Value>,
    columns: impl ExactSizeIterator<Item = (&'a str, &'a Type)>,
) -> Result<Row, String> {
    if row.len() != columns.len() {
        return Err(format!("a row of {} values, and the table has {} columns", row.len(), columns.len()));
    }
    let one = |(value, (name, ty)): (wit::Value, (&str, &Type))| {
        let value = from_wit(value).map_err(|why| format!("the value of `{name}` {why}"))?;
        if ty.has(&value) {
            Ok(value)
        } else {
            Err(format!("the value of `{name}` is {}, and the column holds {ty}", value.kind()))
        }
    };
    row.into_iter().zip(columns).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::handed;
    use bumpalo::Bump;
    use proptest::prelude::*;

    /// What a plugin answers that hands on what it was handed.
    fn answered(value: handed::Value<'_>) -> wit::Value {
        match value {
            handed::Value::Null => wit::Value::Null,
            handed::Value::Boolean(v) => wit::Value::Boolean(v),
            handed::Value::Integer(v) => wit::Value::Integer(v),
            handed::Value::Unsigned(v) => wit::Value::Unsigned(v),
            handed::Value::Float(v) => wit::Value::Float(v),
            handed::Value::Decimal(v) => wit::Value::Decimal(v.to_owned()),
            handed::Value::Text(v) => wit::Value::Text(v.to_owned()),
            handed::Value::Bytes(v) => wit::Value::Bytes(v.to_owned()),
            handed::Value::Date(v) => wit::Value::Date(v),
            handed::Value::Time(v) => wit::Value::Time(v),
            handed::Value::Timestamp(v) => wit::Value::Timestamp(v),
            handed::Value::Instant(v) => wit::Value::Instant(v),
            handed::Value::Json(v) => wit::Value::Json(v.to_owned()),
            handed::Value::Uuid(v) => wit::Value::Uuid(v.to_owned()),
            handed::Value::Other((kind, text)) => wit::Value::Other((kind.to_owned(), text.to_owned())),
        }
    }

    fn values() -> impl Strategy<Value = (Type, Value)> {
        let text = |ty: Type| ".*".prop_map(move |v| (ty.clone(), Value::text(v)));
        prop_oneof![
            Just((Type::Text, Value::Null)),
            any::<bool>().prop_map(|v| (Type::Bool, Value::Bool(v))),
            any::<i64>().prop_map(|v| (Type::Int, Value::Int(v))),
            (i64::MAX as u64 + 1..).prop_map(|v| (Type::Int, Value::Uint(v))),
            any::<u64>().prop_map(|v| (Type::Float, Value::Float(f64::from_bits(v)))),
            "-?[0-9]{1,40}(\\.[0-9]{1,30})?|NaN|-?Infinity"
                .prop_map(|v| (Type::Decimal, Value::Decimal(Decimal::parse(&v).unwrap()))),
            text(Type::Text),
            text(Type::Native("inet".into())),
            text(Type::Any),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(|v| (Type::Bytes, Value::Bytes(v.into()))),
            any::<i32>().prop_map(|v| (Type::Date, Value::Date(v))),
            (-time::LONGEST..=time::LONGEST).prop_map(|v| (Type::Time, Value::Time(v))),
            any::<i64>().prop_map(|v| (Type::Timestamp, Value::Timestamp(v))),
            any::<i64>().prop_map(|v| (Type::Instant, Value::Instant(v))),
            "[0-9]{1,30}|\\{\"[a-z]*\": [0-9]{1,3}\\.0+\\}".prop_filter_map("JSON", |v| {
                serde_json::from_str::<serde_json::Value>(&v).ok()?;
                Some((Type::Json, Value::Json(Json::new(v))))
            }),
            any::<[u8; 16]>().prop_map(|v| (Type::Uuid, Value::Uuid(v))),
        ]
    }

    proptest! {
        #[test]
        fn values_come_back_as_they_went(list in prop::collection::vec(values(), 0..8)) {
            let row: Row = list.iter().map(|(_, value)| value.clone()).collect();
            let room = Bump::new();
            let said = handed::row(&room, row.iter()).iter().map(|value| answered(*value)).collect();
            let back = row_from_wit(said, list.iter().map(|(ty, _)| ("x", ty))).unwrap();
            prop_assert_eq!(&back, &row);
            // Equality is by meaning: what a database prints is the text.
            for (back, value) in back.iter().zip(&*row) {
                prop_assert_eq!(back.to_string(), value.to_string());
            }
        }
    }

    #[test]
    fn what_is_no_value_of_the_column_is_refused() {
        let why = |ty: Type, value: wit::Value| row_from_wit(vec![value], [("x", &ty)].into_iter()).unwrap_err();
        let value = "the value of `x` ";
        assert_eq!(
            why(Type::Decimal, wit::Value::Decimal("1e5".into())),
            format!("{value}is no decimal number: `1e5`")
        );
        assert_eq!(why(Type::Time, wit::Value::Time(i64::MIN)), format!("{value}is no time: {} µs", i64::MIN));
        assert!(why(Type::Json, wit::Value::Json("{".into())).starts_with(&format!("{value}is no JSON: ")));
        assert_eq!(why(Type::Uuid, wit::Value::Uuid("x".into())), format!("{value}is no uuid: `x`"));
        assert_eq!(
            why(Type::Int, wit::Value::Text("1".into())),
            format!("{value}is text, and the column holds integer")
        );
        let other = wit::Value::Other(("point".into(), "(1,2)".into()));
        assert_eq!(why(Type::Any, other), format!("{value}is of a kind that is not known here: `point`"));
        let short = row_from_wit(Vec::new(), [("x", &Type::Int)].into_iter()).unwrap_err();
        assert_eq!(short, "a row of 0 values, and the table has 1 columns");
        // Small numbers may come as either case.
        let small = row_from_wit(vec![wit::Value::Unsigned(7)], [("x", &Type::Int)].into_iter()).unwrap();
        assert!(matches!(small[0], Value::Int(7)));
    }
}
