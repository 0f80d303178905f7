//! Values: looking into them, and comparing them by meaning.

use std::cmp::Ordering;

use crate::Value;

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
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let number: i128 = format!("{whole}{fraction}").parse().ok()?;
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
