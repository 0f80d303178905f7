//! The canonical value: what a cell is, whichever database holds it.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

use super::{document, time};

/// One cell. Two values are equal when they mean the same, however their databases wrote them.
#[derive(Clone, Debug)]
pub enum Value {
    Null,
    Bool(bool),
    /// Any integer that fits.
    Int(i64),
    /// An integer above `i64::MAX`, never below.
    Uint(u64),
    /// Equal bit by bit, except that `-0.0` equals `0.0` (SQLite keeps no sign of zero) and NaN equals NaN.
    Float(f64),
    Decimal(Decimal),
    Text(Box<str>),
    Bytes(Box<[u8]>),
    /// Days since 1970-01-01; `i32::MAX` and `i32::MIN` are infinity and -infinity. What no calendar has, such as 0000-00-00, has
    /// numbers below all others (see [`time::is_no_day`](super::time::is_no_day)); so have times of such days.
    Date(i32),
    /// Microseconds since midnight; spans of less than nothing or more than a day are of this kind as well.
    Time(i64),
    /// Microseconds since 1970-01-01 00:00 on a wall clock in no particular zone; the extremes are the infinities.
    Timestamp(i64),
    /// Microseconds since 1970-01-01 00:00 UTC; the extremes are the infinities.
    Instant(i64),
    Json(Json),
    Uuid([u8; 16]),
}

/// The cells of one row, in the order of its table's columns.
pub type Row = Box<[Value]>;

/// The cells that identify a row, in the order of its table's key columns.
pub type Key = Box<[Value]>;

impl Value {
    pub fn text(text: impl Into<Box<str>>) -> Value {
        Value::Text(text.into())
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The whole number that a decimal stands for. The error reads after the column's name.
    pub fn whole(number: &Decimal) -> Result<Value, String> {
        let whole = number.unscaled(0);
        let int = whole.and_then(|whole| i64::try_from(whole).ok()).map(Value::Int);
        int.or_else(|| whole.and_then(|whole| u64::try_from(whole).ok()).map(Value::Uint)).ok_or_else(|| {
            format!("holds {}, which is no whole number from {} to {}", number.as_str(), i64::MIN, u64::MAX)
        })
    }

    /// The uuid that a text spells, if in the one spelling that is written. The error reads after the column's name.
    pub fn spelled_uuid(text: &str) -> Result<Value, String> {
        match uuid::Uuid::parse_str(text) {
            Ok(id) if id.hyphenated().to_string() == text => Ok(Value::Uuid(*id.as_bytes())),
            _ => Err("holds a text that is no uuid of 36 small letters".to_owned()),
        }
    }

    /// The uuid that bytes are. The error reads after the column's name.
    pub fn uuid_of_bytes(bytes: &[u8]) -> Result<Value, String> {
        bytes.try_into().map(Value::Uuid).map_err(|_| format!("holds {} bytes and a uuid has 16", bytes.len()))
    }

    /// The name of the value's kind, as error messages use it.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Int(_) | Value::Uint(_) => "integer",
            Value::Float(_) => "float",
            Value::Decimal(_) => "decimal",
            Value::Text(_) => "text",
            Value::Bytes(_) => "bytes",
            Value::Date(_) => "date",
            Value::Time(_) => "time",
            Value::Timestamp(_) => "timestamp",
            Value::Instant(_) => "instant",
            Value::Json(_) => "json",
            Value::Uuid(_) => "uuid",
        }
    }

    /// An approximation of the memory held, in bytes.
    pub fn weight(&self) -> usize {
        size_of::<Value>()
            + match self {
                Value::Decimal(d) => d.as_str().len() + 16,
                Value::Text(t) => t.len() + 16,
                Value::Json(j) => j.as_str().len() + 16,
                Value::Bytes(b) => b.len() + 16,
                _ => 0,
            }
    }
}

/// The bits by which floats are compared.
pub(super) fn float_bits(float: f64) -> u64 {
    if float == 0.0 {
        0
    } else if float.is_nan() {
        f64::NAN.to_bits()
    } else {
        float.to_bits()
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        use Value::*;
        match (self, other) {
            (Null, Null) => true,
            (Bool(a), Bool(b)) => a == b,
            (Int(a), Int(b)) => a == b,
            (Uint(a), Uint(b)) => a == b,
            (Float(a), Float(b)) => float_bits(*a) == float_bits(*b),
            (Decimal(a), Decimal(b)) => a == b,
            (Text(a), Text(b)) => a == b,
            (Bytes(a), Bytes(b)) => a == b,
            (Date(a), Date(b)) => a == b,
            (Time(a), Time(b)) | (Timestamp(a), Timestamp(b)) | (Instant(a), Instant(b)) => a == b,
            (Json(a), Json(b)) => a == b,
            (Uuid(a), Uuid(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Value::Null => {}
            Value::Bool(v) => v.hash(state),
            Value::Int(v) | Value::Time(v) | Value::Timestamp(v) | Value::Instant(v) => v.hash(state),
            Value::Uint(v) => v.hash(state),
            Value::Float(v) => float_bits(*v).hash(state),
            Value::Decimal(v) => v.hash(state),
            Value::Text(v) => v.hash(state),
            Value::Bytes(v) => v.hash(state),
            Value::Date(v) => v.hash(state),
            Value::Json(v) => v.canonical().hash(state),
            Value::Uuid(v) => v.hash(state),
        }
    }
}

/// For people: as a query tool would print it. Not a lossless form; [`value_to_json`](super::value_to_json) is.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("NULL"),
            Value::Bool(v) => v.fmt(f),
            Value::Int(v) => v.fmt(f),
            Value::Uint(v) => v.fmt(f),
            Value::Float(v) => v.fmt(f),
            Value::Decimal(v) => f.write_str(v.as_str()),
            Value::Text(v) => f.write_str(v),
            Value::Bytes(v) => {
                f.write_str("x'")?;
                v.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str("'")
            }
            Value::Date(v) => time::write_date(f, *v),
            Value::Time(v) => time::write_time_of_day(f, *v),
            Value::Timestamp(v) => time::write_timestamp(f, *v),
            Value::Instant(v) => time::write_instant(f, *v),
            Value::Json(v) => f.write_str(v.as_str()),
            Value::Uuid(v) => uuid::Uuid::from_bytes(*v).hyphenated().fmt(f),
        }
    }
}

/// An exact decimal number, kept as the text it was written as; `1.0` equals `1.00`. `NaN`, `Infinity` and
/// `-Infinity` occur where a database has them.
#[derive(Clone, Debug)]
pub struct Decimal(Box<str>);

impl Decimal {
    /// Takes `[-]digits[.digits]`, `NaN`, `Infinity` or `-Infinity`; anything else, exponents included, is refused.
    pub fn parse(text: &str) -> Option<Decimal> {
        if matches!(text, "NaN" | "Infinity" | "-Infinity") {
            return Some(Decimal(text.into()));
        }
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        (all_digits(whole) && all_digits(fraction)).then(|| Decimal(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a number, not NaN or an infinity.
    pub fn is_finite(&self) -> bool {
        self.0.ends_with(|c: char| c.is_ascii_digit())
    }

    /// Sign, digits before and digits after the point, without zeros that carry no meaning. Empty digits are zero.
    pub fn parts(&self) -> (bool, &str, &str) {
        let (negative, digits) = match self.0.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, &*self.0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        (negative && !(whole.is_empty() && fraction.is_empty()), whole, fraction)
    }

    /// The number as a plain fraction of `scale` digits, if it has no more: `1.5` at scale 2 is 150.
    pub fn unscaled(&self, scale: usize) -> Option<i128> {
        let (negative, whole, fraction) = self.parts();
        if !self.is_finite() || fraction.len() > scale {
            return None;
        }
        let number: i128 = format!("{whole}{fraction:0<scale$}0").parse().ok()?;
        let number = number / 10;
        Some(if negative { -number } else { number })
    }

    /// The inverse of [`Decimal::unscaled`].
    pub fn from_unscaled(unscaled: i128, scale: usize) -> Decimal {
        let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let sign = if unscaled < 0 { "-" } else { "" };
        Decimal(if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }.into())
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Decimal) -> bool {
        self.0 == other.0 || (self.is_finite() && other.is_finite() && self.parts() == other.parts())
    }
}

impl Eq for Decimal {}

impl Hash for Decimal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if self.is_finite() { self.parts().hash(state) } else { self.0.hash(state) }
    }
}

/// A JSON document, kept as the text it was written as and compared by meaning: the order of an object's members and
/// the spelling of a number do not matter, the number's exact value does.
#[derive(Clone, Debug)]
pub struct Json(Box<str>);

impl Json {
    /// The text must be JSON; whoever reads it from a database has that database's word for it.
    pub fn new(text: impl Into<Box<str>>) -> Json {
        Json(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the text is JSON, for what no database has looked at.
    pub fn is_json(&self) -> bool {
        serde_json::from_str::<serde::de::IgnoredAny>(&self.0).is_ok()
    }

    /// A name that two members of one object have, if there is one. Databases do not agree on which of the two counts.
    pub fn named_twice(&self) -> Option<Cow<'_, str>> {
        document::named_twice(&self.0)
    }

    /// A number that is neither a 64-bit integer nor exact as a float of 8 bytes, if there is one.
    pub fn beyond_binary(&self) -> Option<String> {
        let document = serde_json::from_str::<serde_json::Value>(&self.0).ok()?;
        let mut left = vec![&document];
        while let Some(document) = left.pop() {
            match document {
                serde_json::Value::Object(members) => left.extend(members.values()),
                serde_json::Value::Array(items) => left.extend(items),
                serde_json::Value::Number(number) if !is_binary(&number.to_string()) => {
                    return Some(number.to_string());
                }
                _ => {}
            }
        }
        None
    }

    /// Members sorted, no white space, numbers in one spelling. Text that is not JSON stands for itself.
    pub fn canonical(&self) -> Cow<'_, str> {
        match serde_json::from_str::<serde_json::Value>(&self.0) {
            Ok(document) => {
                let mut text = String::with_capacity(self.0.len());
                canonical_json(&document, &mut text);
                Cow::Owned(text)
            }
            Err(_) => match document::canonical(&self.0, canonical_json) {
                Some(text) => Cow::Owned(text),
                None => Cow::Borrowed(&self.0),
            },
        }
    }
}

fn canonical_json(document: &serde_json::Value, out: &mut String) {
    match document {
        serde_json::Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| name.as_str());
            out.push('{');
            for (at, (name, value)) in members.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                *out += &serde_json::Value::from(name.as_str()).to_string();
                out.push(':');
                canonical_json(value, out);
            }
            out.push('}');
        }
        serde_json::Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                canonical_json(item, out);
            }
            out.push(']');
        }
        serde_json::Value::Number(number) => *out += &canonical_number(&number.to_string()),
        scalar => *out += &scalar.to_string(),
    }
}

fn is_binary(number: &str) -> bool {
    let same = |float: f64| float.is_finite() && canonical_number(&format!("{float:e}")) == canonical_number(number);
    number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok() || number.parse().is_ok_and(same)
}

/// `digits` and a power of ten, so that `1`, `1.0` and `10e-1` are one number.
fn canonical_number(text: &str) -> String {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let Ok(mut exponent) = exponent.parse::<i64>() else { return text.to_owned() };
    let (sign, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    exponent -= fraction.len() as i64;
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0');
    let trimmed = significant.trim_end_matches('0');
    if trimmed.is_empty() {
        return "0".to_owned();
    }
    exponent += (significant.len() - trimmed.len()) as i64;
    format!("{sign}{trimmed}e{exponent}")
}

impl PartialEq for Json {
    fn eq(&self, other: &Json) -> bool {
        self.0 == other.0 || self.canonical() == other.canonical()
    }
}

impl Eq for Json {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_equal_by_value() {
        let parse = |text: &str| Decimal::parse(text).unwrap();
        assert_eq!(parse("1.0"), parse("1.00"));
        assert_eq!(parse("-0.0"), parse("0"));
        assert_eq!(parse("007.5"), parse("7.50"));
        assert_ne!(parse("1.01"), parse("1.1"));
        assert_ne!(parse("NaN"), parse("0"));
        assert!(Decimal::parse("1e5").is_none() && Decimal::parse("").is_none() && Decimal::parse("-").is_none());
        assert_eq!(parse("-12.5").unscaled(2), Some(-1250));
        assert_eq!(Decimal::from_unscaled(-1250, 2).as_str(), "-12.50");
        assert_eq!(Decimal::from_unscaled(5, 2).as_str(), "0.05");
        assert_eq!(parse("0.005").unscaled(2), None);
    }

    #[test]
    fn json_is_equal_by_meaning_and_exact_in_numbers() {
        let json = |text: &str| Json::new(text);
        assert_eq!(json(r#"{"a":1,"b":[1.0,"x"]}"#), json(r#"{ "b": [1e0, "x"], "a": 1.00 }"#));
        assert_ne!(json("9007199254740993"), json("9007199254740992"));
        assert_ne!(json("[1,2]"), json("[2,1]"));
        assert_eq!(json("100"), json("1e2"));
    }

    #[test]
    fn numbers_of_documents_that_are_neither_integers_nor_floats() {
        let beyond = |text: &str| Json::new(text).beyond_binary();
        assert_eq!(
            beyond(r#"{"a": [-9223372036854775808, 18446744073709551615, 0.1, -0.0, 1.50, 1e22, 5e-324]}"#),
            None
        );
        assert_eq!(beyond(r#"{"9.99999999999999999": "9.99999999999999999"}"#), None);
        for number in ["18446744073709551617", "0.1234567890123456789", "9007199254740993.0", "1e400"] {
            assert_eq!(
                beyond(&format!("[1, {{\"a\": {number}}}]")).map(|found| found.to_lowercase().replace('+', "")),
                Some(number.to_owned())
            );
        }
    }

    #[test]
    fn floats_differ_by_any_bit_but_not_by_the_sign_of_zero() {
        assert_eq!(Value::Float(-0.0), Value::Float(0.0));
        assert_eq!(Value::Float(f64::NAN), Value::Float(-f64::NAN));
        assert_ne!(Value::Float(0.1), Value::Float(0.1 + f64::EPSILON / 16.0 + 1e-17));
    }

    #[test]
    fn a_value_is_three_words() {
        assert_eq!(size_of::<Value>(), 24);
    }
}
