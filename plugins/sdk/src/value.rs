//! Values: looking into them, and comparing them by meaning.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::mem::discriminant;

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

    /// Which of two values is the larger: numbers of all kinds by value, to the last digit, texts by their code points, times by
    /// time. Infinities are the ends of the numbers and NaN is above all of them, as in PostgreSQL; booleans are 0 and 1, since
    /// columns of them may hold other numbers. `None` if there is no order between the two, as between a text and a number.
    pub fn order(&self, other: &Value) -> Option<Ordering> {
        Some(match (self, other) {
            (Value::Float(a), Value::Float(b)) => a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan())),
            (Value::Text(a), Value::Text(b)) => a.cmp(b),
            (Value::Date(a), Value::Date(b)) => a.cmp(b),
            (Value::Time(a), Value::Time(b))
            | (Value::Timestamp(a), Value::Timestamp(b))
            | (Value::Instant(a), Value::Instant(b)) => a.cmp(b),
            (a, b) => match (a.as_integer(), b.as_integer()) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => decimals(&written(a)?, &written(b)?)?,
            },
        })
    }

    /// Whether two values mean the same to Concord: `1.0` and `1.00` do, and so do JSON documents that differ in blanks, in the order of
    /// members or in how a number is written. Values of different kinds never do.
    pub fn same(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::Json(a), Value::Json(b)) => a == b || same_json(a, b),
            (Value::Uuid(a), Value::Uuid(b)) => a.eq_ignore_ascii_case(b),
            (Value::Other(a), Value::Other(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Decimal(a), Value::Decimal(b)) => a == b || decimals(a, b) == Some(Ordering::Equal),
            (a, b) => {
                let are_integers = a.as_integer().is_some() && b.as_integer().is_some();
                (are_integers || discriminant(a) == discriminant(b)) && a.order(b) == Some(Ordering::Equal)
            }
        }
    }
}

/// Each database writes documents in its own way. Text that is no JSON stands for itself.
fn same_json(a: &str, b: &str) -> bool {
    let parse = |text: &str| serde_json::from_str::<Document>(text).ok();
    parse(a).zip(parse(b)).is_some_and(|(a, b)| same_document(&a, &b))
}

/// Whether two documents mean the same, as [`Value::same`] has it: `19.9` and `19.90` do, which serde tells apart.
pub fn same_document(a: &Document, b: &Document) -> bool {
    match (a, b) {
        (Document::Number(a), Document::Number(b)) => same_number(&a.to_string(), &b.to_string()),
        (Document::Array(a), Document::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_document(a, b))
        }
        (Document::Object(a), Document::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same_document(a, b)))
        }
        (a, b) => a == b,
    }
}

fn same_number(a: &str, b: &str) -> bool {
    a == b || significant(a).zip(significant(b)).is_some_and(|(a, b)| a == b)
}

/// Whether a number is below 0, its digits without zeros at either end, and the power of ten by which these are multiplied: `1`, `1.0`
/// and `10e-1` are one. `None` if the power is too large to be counted.
fn significant(number: &str) -> Option<(bool, String, i128)> {
    let (mantissa, power) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let power: i64 = power.parse().ok()?;
    let (negative, unsigned) = mantissa.strip_prefix('-').map_or((false, mantissa), |unsigned| (true, unsigned));
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let trimmed = digits.trim_end_matches('0');
    if trimmed.is_empty() {
        return Some((false, String::new(), 0));
    }
    let power = i128::from(power) + (digits.len() - trimmed.len()) as i128 - fraction.len() as i128;
    Some((negative, trimmed.to_owned(), power))
}

/// A plain decimal number: its digits as a whole number, and how many of them stand after the point. `None` for what is
/// no number or has more digits than are counted here.
pub fn parse_decimal(text: &str) -> Option<(i128, usize)> {
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |unsigned| (true, unsigned));
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits = || whole.bytes().chain(fraction.bytes()).map(|byte| byte.wrapping_sub(b'0'));
    let count = whole.len() + fraction.len();
    if count == 0 || digits().any(|digit| digit > 9) {
        return None;
    }
    let number = match count <= SMALL {
        true => i128::from(digits().fold(0, |number: i64, digit| number * 10 + i64::from(digit))),
        false => digits().try_fold(0_i128, |number, digit| number.checked_mul(10)?.checked_add(i128::from(digit)))?,
    };
    Some((if negative { -number } else { number }, fraction.len()))
}

/// So many digits any integer of 64 bits holds. Those of 128 are dear in WebAssembly.
const SMALL: usize = 18;

/// The inverse of [`parse_decimal`].
pub fn write_decimal(number: i128, scale: usize) -> String {
    let mut digits = match u64::try_from(number.unsigned_abs()) {
        Ok(small) => small.to_string(),
        Err(_) => number.unsigned_abs().to_string(),
    };
    if digits.len() <= scale {
        digits.insert_str(0, &"0".repeat(scale + 1 - digits.len()));
    }
    if scale > 0 {
        digits.insert(digits.len() - scale, '.');
    }
    if number < 0 {
        digits.insert(0, '-');
    }
    digits
}

/// Two numbers as whole numbers of the same scale.
pub fn align(a: (i128, usize), b: (i128, usize)) -> Option<(i128, i128, usize)> {
    let scale = a.1.max(b.1);
    let raise = |(number, own): (i128, usize)| match scale - own {
        0 => Some(number),
        more => number.checked_mul(10i128.checked_pow(u32::try_from(more).ok()?)?),
    };
    Some((raise(a)?, raise(b)?, scale))
}

/// A number as a decimal has it. All digits of the very number that a float's bits stand for: at most 1074 after the point.
fn written(number: &Value) -> Option<Cow<'_, str>> {
    Some(match number {
        Value::Boolean(truth) => Cow::Borrowed(if *truth { "1" } else { "0" }),
        Value::Integer(number) => Cow::Owned(number.to_string()),
        Value::Unsigned(number) => Cow::Owned(number.to_string()),
        Value::Decimal(text) => Cow::Borrowed(text),
        Value::Float(number) if number.is_finite() => Cow::Owned(format!("{number:.1074}")),
        Value::Float(number) if number.is_nan() => Cow::Borrowed("NaN"),
        Value::Float(number) => Cow::Borrowed(if *number > 0.0 { "Infinity" } else { "-Infinity" }),
        _ => return None,
    })
}

/// By the digits, since a decimal may have more of them than any integer here.
fn decimals(a: &str, b: &str) -> Option<Ordering> {
    let ((a, a_whole, a_fraction), (b, b_whole, b_fraction)) = (parts(a)?, parts(b)?);
    let sizes = (a_whole.len(), a_whole, a_fraction).cmp(&(b_whole.len(), b_whole, b_fraction));
    Some(a.cmp(&b).then(if a < 0 { sizes.reverse() } else { sizes }))
}

/// On which side of zero a number lies, at 2 and beyond if it is none with digits; and its digits before and after the point,
/// without zeros that carry no meaning.
fn parts(text: &str) -> Option<(i8, &str, &str)> {
    match text {
        "-Infinity" => return Some((-2, "", "")),
        "Infinity" => return Some((2, "", "")),
        "NaN" => return Some((3, "", "")),
        _ => {}
    }
    let (side, unsigned) = text.strip_prefix('-').map_or((1, text), |unsigned| (-1, unsigned));
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let are_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if !(are_digits(whole) && are_digits(fraction)) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    Some((if whole.is_empty() && fraction.is_empty() { 0 } else { side }, whole, fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Value {
        Value::Decimal(text.to_owned())
    }

    #[test]
    fn decimals_are_read_and_written() {
        let ten = |power: u32| 10i128.pow(power);
        for (text, number, scale, written) in [
            ("0", 0, 0, "0"),
            ("-0.5", -5, 1, "-0.5"),
            (".5", 5, 1, "0.5"),
            ("0012.340", 1234, 2, "12.34"),
            ("-100", -100, 0, "-100"),
            ("999999999999999999", ten(18) - 1, 0, "999999999999999999"),
            ("1000000000000000000", ten(18), 0, "1000000000000000000"),
            ("-1844674407370955161.7", -18_446_744_073_709_551_617, 1, "-1844674407370955161.7"),
            ("0.00000000000000000001", 1, 20, "0.00000000000000000001"),
            ("170141183460469231731687303715884105727", i128::MAX, 0, "170141183460469231731687303715884105727"),
        ] {
            assert_eq!(parse_decimal(text), Some((number, scale)), "{text}");
            assert_eq!(write_decimal(number, scale), written, "{text}");
        }
        let none = ["", "-", ".", "-.0", "+1", "--1", "1e5", "1.2.3", "NaN", "1 ", "٣"];
        for text in none.into_iter().chain(["170141183460469231731687303715884105728"]) {
            assert_eq!(parse_decimal(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_of_all_kinds_have_one_order() {
        let long = "9".repeat(60);
        // Each line is one number, and they rise.
        let rising = [
            vec![decimal("-Infinity"), Value::Float(f64::NEG_INFINITY)],
            vec![decimal(&format!("-{long}.5"))],
            vec![decimal(&format!("-{long}"))],
            vec![Value::Integer(i64::MIN), Value::Float(-9_223_372_036_854_775_808.0)],
            vec![Value::Integer(-5), Value::Float(-5.0), decimal("-5.00")],
            vec![Value::Float(-4.5), decimal("-4.5")],
            vec![Value::Integer(0), Value::Float(-0.0), Value::Float(0.0), decimal("-0.0"), Value::Boolean(false)],
            vec![Value::Float(f64::from_bits(1))],
            vec![decimal("0.09")],
            vec![decimal("0.1")],
            vec![Value::Float(0.1)],
            vec![Value::Integer(1), decimal("01.0"), Value::Boolean(true)],
            vec![Value::Float(4.5), decimal("4.50")],
            vec![Value::Integer(9)],
            vec![Value::Integer(10)],
            vec![Value::Float(9_007_199_254_740_992.0), decimal("9007199254740992")],
            vec![Value::Integer(9_007_199_254_740_993)],
            vec![Value::Integer(i64::MAX)],
            vec![Value::Float(9_223_372_036_854_775_808.0), Value::Unsigned(1 << 63)],
            vec![decimal(&long), decimal(&format!("{long}.000"))],
            vec![decimal(&format!("{long}.5"))],
            vec![Value::Float(f64::MAX)],
            vec![Value::Float(f64::INFINITY), decimal("Infinity")],
            vec![Value::Float(f64::NAN), Value::Float(-f64::NAN), decimal("NaN")],
        ];
        for (at, some) in rising.iter().enumerate() {
            for (to, others) in rising.iter().enumerate() {
                for (one, other) in some.iter().flat_map(|one| others.iter().map(move |other| (one, other))) {
                    assert_eq!(one.order(other), Some(at.cmp(&to)), "{one:?} {other:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_of_another_kind_has_no_order_or_is_another_value() {
        let (five, text) = (Value::Integer(5), Value::Text("5".to_owned()));
        for (one, other) in [
            (&five, &text),
            (&five, &Value::Null),
            (&five, &Value::Time(5)),
            (&five, &decimal("five")),
            (&five, &decimal("5e1")),
            (&five, &decimal("")),
            (&text, &Value::Boolean(true)),
            (&Value::Instant(5), &Value::Timestamp(5)),
            (&Value::Bytes(vec![5]), &Value::Bytes(vec![6])),
        ] {
            assert_eq!((one.order(other), other.order(one)), (None, None), "{one:?} {other:?}");
        }
        assert!(
            !five.same(&Value::Float(5.0))
                && !five.same(&decimal("5"))
                && !Value::Integer(1).same(&Value::Boolean(true))
        );
        assert!(five.same(&Value::Unsigned(5)) && decimal("1.0").same(&decimal("1.00")) && !five.same(&text));
        assert!(Value::Float(f64::NAN).same(&Value::Float(-f64::NAN)) && Value::Float(0.0).same(&Value::Float(-0.0)));
        let long = "9".repeat(60);
        assert!(decimal(&long).same(&decimal(&format!("0{long}.0"))) && decimal("NaN").same(&decimal("NaN")));
    }

    #[test]
    fn documents_are_the_same_by_meaning() {
        let same = |one: &str, other: &str| Value::Json(one.to_owned()).same(&Value::Json(other.to_owned()));
        for (one, other) in [
            (r#"{"a":1,"b":[1.0,"x"]}"#, r#"{ "b": [1e0, "x"], "a": 1.00 }"#),
            (r#"{"a":{"x":null,"y":"\u00e4"}}"#, r#"{"a": {"y": "ä", "x": null}}"#),
            ("100", "1E+2"),
            ("[0.10, -0.0]", "[1e-1,0]"),
            ("9007199254740993", "9007199254740993.0"),
            ("[1e99999999999999999999]", "[ 1e99999999999999999999 ]"),
            ("{no", "{no"),
        ] {
            assert!(same(one, other) && same(other, one), "{one} {other}");
        }
        for (one, other) in [
            ("9007199254740993", "9007199254740992"),
            ("0.1", "0.1000000000000000055"),
            ("[1,2]", "[2,1]"),
            ("[1]", "[1,1]"),
            (r#"{"a":null}"#, "{}"),
            (r#"{"a":1}"#, r#"{"b":1}"#),
            ("1", r#""1""#),
            ("1", "-1"),
            ("1e99999999999999999999", "10e99999999999999999999"),
            ("{no", "{ no"),
        ] {
            assert!(!same(one, other) && !same(other, one), "{one} {other}");
        }
    }

    #[test]
    fn uuids_are_the_same_in_letters_of_either_case() {
        let uuid = |text: &str| Value::Uuid(text.to_owned());
        let small = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
        assert!(uuid(small).same(&uuid(&small.to_uppercase())));
        assert!(!uuid(small).same(&uuid(&small.replace('6', "7"))));
        assert!(!uuid(small).same(&Value::Text(small.to_owned())));
    }
}
