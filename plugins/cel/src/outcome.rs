//! What an expression comes to, as a value of a column: exactly, or not at all.

use std::collections::BTreeMap;

use common_expression::common::value::Val;
use common_expression::{Value as Outcome, objects::Key};
use concord_plugin::{Kind, Value};
use serde_json::{Map, Number, Value as Document};

use crate::cell::FAR;
use crate::decimal::Decimal;

/// The value, or in words why the column holds none like it. Reads after "`shared.name` comes to ".
pub fn value(outcome: &dyn Val, kind: Kind) -> Result<Value, String> {
    if let Some(number) = outcome.downcast_ref::<Decimal>() {
        return match kind {
            Kind::Decimal | Kind::Any => Ok(Value::Decimal(number.to_string())),
            Kind::Integer => {
                let whole = number.to_string().parse().ok().and_then(Value::from_integer);
                whole.ok_or_else(|| "a decimal number that is no integer".to_owned())
            }
            _ => Err("a decimal number".to_owned()),
        };
    }
    let named = || format!("a value of type {}", outcome.get_type().name());
    let outcome = Outcome::try_from(outcome).map_err(|_| named())?;
    Ok(match (kind, outcome) {
        (Kind::Json, outcome) => match json(&outcome).ok_or_else(named)? {
            Document::Null => Value::Null,
            document => Value::Json(document.to_string()),
        },
        (_, Outcome::Null) => Value::Null,
        (Kind::Boolean | Kind::Any, Outcome::Bool(v)) => Value::Boolean(v),
        // A column of booleans may hold other numbers.
        (Kind::Integer | Kind::Boolean | Kind::Any, Outcome::Int(v)) => Value::Integer(v),
        (Kind::Integer | Kind::Any, Outcome::UInt(v)) => Value::from_integer(v.into()).ok_or_else(named)?,
        (Kind::Float | Kind::Any, Outcome::Float(v)) => Value::Float(v),
        (Kind::Decimal, Outcome::Int(v)) => Value::Decimal(v.to_string()),
        (Kind::Decimal, Outcome::UInt(v)) => Value::Decimal(v.to_string()),
        // Beside decimals a float is the number that is written.
        (Kind::Decimal, Outcome::Float(v)) if v.is_finite() => Value::Decimal(v.to_string()),
        (Kind::Decimal, Outcome::Float(v)) if v.is_nan() => Value::Decimal("NaN".to_owned()),
        (Kind::Decimal, Outcome::Float(v)) => Value::Decimal(if v > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()),
        (Kind::Text | Kind::Native | Kind::Any, Outcome::String(v)) => Value::Text(v.to_string()),
        (Kind::Uuid, Outcome::String(v)) => Value::Uuid(v.to_string()),
        (Kind::Bytes | Kind::Any, Outcome::Bytes(v)) => Value::Bytes(v.to_vec()),
        (Kind::Time, Outcome::Duration(v)) => {
            let micros = v.num_microseconds().filter(|_| v.subsec_nanos() % 1_000 == 0);
            Value::Time(micros.ok_or("a duration that is no number of microseconds")?)
        }
        (Kind::Date | Kind::Timestamp | Kind::Instant, Outcome::Timestamp(v)) => {
            let micros = v.timestamp_micros();
            if v.timestamp_subsec_nanos() % 1_000 != 0 {
                return Err("a time that is no number of microseconds".to_owned());
            }
            // As the infinities were shown.
            let micros = match micros {
                FAR => i64::MAX,
                micros if micros == -FAR => i64::MIN,
                micros => micros,
            };
            match kind {
                Kind::Timestamp => Value::Timestamp(micros),
                Kind::Instant => Value::Instant(micros),
                _ if micros == i64::MAX => Value::Date(i32::MAX),
                _ if micros == i64::MIN => Value::Date(i32::MIN),
                _ if micros % DAY != 0 => return Err("a time that is not the midnight of a date".to_owned()),
                _ => Value::Date(i32::try_from(micros / DAY).map_err(|_| "a date that is too far away")?),
            }
        }
        _ => return Err(named()),
    })
}

/// Microseconds.
const DAY: i64 = 86_400_000_000;

/// The document, with its members in the order of their names, since a map has none.
fn json(outcome: &Outcome) -> Option<Document> {
    Some(match outcome {
        Outcome::Null => Document::Null,
        Outcome::Bool(v) => Document::Bool(*v),
        Outcome::Int(v) => Document::Number((*v).into()),
        Outcome::UInt(v) => Document::Number((*v).into()),
        Outcome::Float(v) => Document::Number(Number::from_f64(*v)?),
        Outcome::String(v) => Document::String(v.to_string()),
        Outcome::List(list) => Document::Array(list.iter().map(json).collect::<Option<_>>()?),
        Outcome::Map(map) => {
            let member = |(name, value): (&Key, &Outcome)| match name {
                Key::String(name) => Some((name.to_string(), json(value)?)),
                _ => None,
            };
            let members: BTreeMap<String, Document> = map.map.iter().map(member).collect::<Option<_>>()?;
            Document::Object(members.into_iter().collect::<Map<_, _>>())
        }
        _ => return None,
    })
}
