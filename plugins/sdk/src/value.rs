//! Values: looking into them, and comparing them by meaning.

use std::cmp::Ordering;

use serde_json::Value as Document;

use crate::{Kind, Value};

impl Value {
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The text of a `text` value.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number of an `integer` or `unsigned` value.
    pub fn as_integer(&self) -> Option<i128> {
        match self {
            Value::Integer(number) => Some(i128::from(*number)),
            Value::Unsigned(number) => Some(i128::from(*number)),
            _ => None,
        }
    }

    /// The value of an integer that the databases can hold.
    pub fn from_integer(number: i128) -> Option<Value> {
        match i64::try_from(number) {
            Ok(number) => Some(Value::Integer(number)),
            Err(_) => u64::try_from(number).ok().map(Value::Unsigned),
        }
    }

    /// A value of this kind as a configuration writes it. Texts stand for values of all kinds, since the names in an object are texts.
    /// `None` for what is no value of the kind, and for kinds that nobody writes down.
    pub fn from_json(document: &Document, kind: Kind) -> Option<Value> {
        let text = match document {
            Document::String(text) => text.clone(),
            Document::Number(number) => number.to_string(),
            Document::Bool(truth) => truth.to_string(),
            Document::Null | Document::Array(_) | Document::Object(_) => return None,
        };
        let whole = || text.parse().ok().and_then(Value::from_integer);
        match kind {
            Kind::Boolean if !document.is_number() => text.parse().ok().map(Value::Boolean),
            Kind::Integer => whole(),
            Kind::Decimal => parse_decimal(&text).map(|(number, scale)| Value::Decimal(write_decimal(number, scale))),
            Kind::Float => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Float),
            Kind::Any if document.is_number() => whole(),
            Kind::Text | Kind::Native | Kind::Any if document.is_string() => Some(Value::Text(text)),
            Kind::Uuid if document.is_string() => Some(Value::Uuid(text.to_lowercase())),
            _ => None,
        }
    }

    /// Which of two values of a kind is the larger: numbers by value, texts by their code points, times by time. `None` if
    /// they are of different kinds or of one without order.
    pub fn order(&self, other: &Value) -> Option<Ordering> {
        Some(match (self, other) {
            (Value::Boolean(a), Value::Boolean(b)) => a.cmp(b),
            (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
            (Value::Decimal(a), Value::Decimal(b)) => decimals(a, b)?,
            (Value::Text(a), Value::Text(b)) => a.cmp(b),
            (Value::Date(a), Value::Date(b)) => a.cmp(b),
            (Value::Time(a), Value::Time(b))
            | (Value::Timestamp(a), Value::Timestamp(b))
            | (Value::Instant(a), Value::Instant(b)) => a.cmp(b),
            (a, b) => a.as_integer()?.cmp(&b.as_integer()?),
        })
    }

    /// Whether two values mean the same: `1.0` and `1.00` do.
    pub fn same(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::Json(a), Value::Json(b)) | (Value::Uuid(a), Value::Uuid(b)) => a == b,
            (Value::Other(a), Value::Other(b)) => a == b,
            (Value::Decimal(a), Value::Decimal(b)) if a == b => true,
            (Value::Float(a), Value::Float(b)) => a == b || (a.is_nan() && b.is_nan()),
            (a, b) => a.order(b) == Some(Ordering::Equal),
        }
    }
}

/// A plain decimal number: its digits as a whole number, and how many of them stand after the point. `None` for what is
/// no number or has more digits than are counted here.
pub fn parse_decimal(text: &str) -> Option<(i128, usize)> {
    let (sign, unsigned) = text.strip_prefix('-').map_or((1, text), |unsigned| (-1, unsigned));
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    // `parse` would take another sign.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i128 = digits.parse().ok()?;
    Some((sign * number, fraction.len()))
}

/// The inverse of [`parse_decimal`].
pub fn write_decimal(number: i128, scale: usize) -> String {
    let digits = format!("{:0>width$}", number.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if number < 0 { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// Two numbers as whole numbers of the same scale.
pub fn align(a: (i128, usize), b: (i128, usize)) -> Option<(i128, i128, usize)> {
    let scale = a.1.max(b.1);
    let raise =
        |(number, own): (i128, usize)| number.checked_mul(10i128.checked_pow(u32::try_from(scale - own).ok()?)?);
    Some((raise(a)?, raise(b)?, scale))
}

fn decimals(a: &str, b: &str) -> Option<Ordering> {
    let (a, b, _) = align(parse_decimal(a)?, parse_decimal(b)?)?;
    Some(a.cmp(&b))
}
