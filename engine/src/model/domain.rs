//! What a column can hold, and whether a value fits it exactly.

use std::fmt;

use super::time;
use super::value::{Decimal, Json, Value};

/// The type in which a column's values travel between nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    Bool,
    Int,
    Float,
    Decimal,
    Text,
    Bytes,
    Date,
    Time,
    Timestamp,
    Instant,
    Json,
    Uuid,
    /// A type that only columns of the very same native type share; its values travel as that type's text.
    Native(String),
    /// Whatever is stored, with its own kind: between columns of SQLite, which bind a type to the value.
    Any,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::Bool => "boolean",
            Type::Int => "integer",
            Type::Float => "float",
            Type::Decimal => "decimal",
            Type::Text => "text",
            Type::Bytes => "bytes",
            Type::Date => "date",
            Type::Time => "time",
            Type::Timestamp => "timestamp",
            Type::Instant => "instant",
            Type::Json => "json",
            Type::Uuid => "uuid",
            Type::Native(name) => name,
            Type::Any => "any",
        })
    }
}

/// The set of values that one column stores without changing them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Domain {
    /// Some take other numbers than 0 and 1 besides, each as the integer that it is.
    Bool {
        numbers: bool,
    },
    Int {
        bits: u8,
        unsigned: bool,
    },
    Float {
        bits: u8,
    },
    /// All digits before the point, or at most `precision` digits of which `scale` stand after the point.
    Decimal {
        limits: Option<(u32, u32)>,
    },
    /// `max` counts characters. A `padded` column does not keep blanks at the end. Not all take the letter NUL.
    Text {
        max: Option<u32>,
        padded: bool,
        nul: bool,
    },
    Bytes,
    /// Some take days that no calendar has, such as 0000-00-00; likewise below.
    Date {
        zeros: bool,
    },
    /// `digits` of a second, 0 to 6; likewise below. Some take spans below zero and beyond a day.
    Time {
        digits: u8,
        spans: bool,
    },
    Timestamp {
        digits: u8,
        zeros: bool,
    },
    Instant {
        digits: u8,
        zeros: bool,
    },
    /// Not all take the letter NUL in their texts. To some the numbers are `binary`: 64-bit integers and floats of 8 bytes. Both are
    /// said of columns that do not keep a document's text, and so not two members of one name.
    Json {
        nul: bool,
        binary: bool,
    },
    Uuid,
    /// A type that travels as text to columns of the same native type, and nowhere else.
    Native(String),
    /// A column of SQLite: it stores any value, and `affinity` may turn one kind into another. `accepts` lists the types
    /// that come back as they were written.
    Loose {
        affinity: String,
        accepts: Vec<Type>,
    },
    /// No value can be carried; the text says why.
    Unsupported(String),
}

/// Why a value does not fit a column. Reads after "it …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misfit(pub String);

/// The years 0 to 9999, which are written with four digits.
const CALENDAR: std::ops::RangeInclusive<i64> = -62_167_219_200_000_000..=253_402_300_799_999_999;

impl Domain {
    /// The type in which the column's values travel, unless other columns decide (see [`Type::shared`]).
    fn strict_type(&self) -> Option<Type> {
        Some(match self {
            Domain::Bool { .. } => Type::Bool,
            Domain::Int { .. } => Type::Int,
            Domain::Float { .. } => Type::Float,
            Domain::Decimal { .. } => Type::Decimal,
            Domain::Text { .. } => Type::Text,
            Domain::Bytes => Type::Bytes,
            Domain::Date { .. } => Type::Date,
            Domain::Time { .. } => Type::Time,
            Domain::Timestamp { .. } => Type::Timestamp,
            Domain::Instant { .. } => Type::Instant,
            Domain::Json { .. } => Type::Json,
            Domain::Uuid => Type::Uuid,
            Domain::Native(name) => Type::Native(name.clone()),
            Domain::Loose { .. } | Domain::Unsupported(_) => return None,
        })
    }

    /// The type in which the column's values travel by themselves, where no column of another node has a say: as SQLite's are
    /// declared. None if they cannot travel, or would be turned into something else.
    pub fn own_type(&self) -> Option<Type> {
        let Domain::Loose { affinity, accepts } = self else { return self.strict_type() };
        match affinity.as_str() {
            "TEXT" => Some(Type::Text),
            "BLOB" if accepts.contains(&Type::Text) => Some(Type::Any),
            _ => accepts.first().cloned(),
        }
    }

    /// A column that holds every value of a type.
    pub fn of(ty: &Type) -> Domain {
        match ty {
            Type::Bool => Domain::Bool { numbers: true },
            Type::Int => Domain::Int { bits: 64, unsigned: true },
            Type::Float => Domain::Float { bits: 64 },
            Type::Decimal => Domain::Decimal { limits: None },
            Type::Text => Domain::Text { max: None, padded: false, nul: true },
            Type::Bytes => Domain::Bytes,
            Type::Date => Domain::Date { zeros: true },
            Type::Time => Domain::Time { digits: 6, spans: true },
            Type::Timestamp => Domain::Timestamp { digits: 6, zeros: true },
            Type::Instant => Domain::Instant { digits: 6, zeros: true },
            Type::Json => Domain::Json { nul: true, binary: false },
            Type::Uuid => Domain::Uuid,
            Type::Native(name) => Domain::Native(name.clone()),
            Type::Any => Domain::Loose { affinity: "BLOB".to_owned(), accepts: Vec::new() },
        }
    }

    /// Whether the column holds values of a type that other columns have and it has not: whole numbers beyond 64 bits, uuids as 36
    /// letters or 16 bytes. What else stands there is unreadable.
    pub fn poses_as(&self, ty: &Type) -> bool {
        matches!(
            (self, ty),
            (Domain::Decimal { limits: Some((_, 0)) }, Type::Int)
                | (Domain::Text { max: Some(36), .. } | Domain::Bytes, Type::Uuid)
        )
    }

    /// Whether the column keeps a document as it was written.
    pub(super) fn keeps_text(&self) -> bool {
        matches!(self, Domain::Json { nul: true, binary: false })
    }

    /// Whether the column gives back `value` as it was written. A value that does not fit is never rounded, cut or
    /// padded: its row waits.
    pub fn holds(&self, value: &Value) -> Result<(), Misfit> {
        let no = |why: String| Err(Misfit(why));
        match (self, value) {
            (_, Value::Null) => Ok(()),
            (Domain::Int { bits, unsigned }, Value::Int(v)) => {
                let (v, bits) = (i128::from(*v), u32::from(*bits));
                let (min, max) = if *unsigned {
                    (0, (1i128 << bits) - 1)
                } else {
                    (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)
                };
                if (min..=max).contains(&v) { Ok(()) } else { no(format!("is {v}, outside {min} to {max}")) }
            }
            (Domain::Int { bits: 64, unsigned: true }, Value::Uint(_)) => Ok(()),
            (Domain::Int { .. }, Value::Uint(v)) => no(format!("is {v}, above what the column holds")),
            (Domain::Float { bits: 32 }, Value::Float(v)) if v.is_finite() && (*v as f32).is_infinite() => {
                no(format!("is {v:?}, beyond what a 4-byte float holds"))
            }
            (Domain::Float { bits: 32 }, Value::Float(v)) if f64::from(*v as f32) != *v && !v.is_nan() => {
                no(format!("is {v}, not exact as a 4-byte float"))
            }
            (Domain::Decimal { limits }, Value::Decimal(v)) => {
                let Some((precision, scale)) = limits else { return Ok(()) };
                if !v.is_finite() {
                    return if v.as_str() == "NaN" {
                        Ok(())
                    } else {
                        no(format!("is {}, which needs a column without a precision", v.as_str()))
                    };
                }
                let (_, whole, fraction) = v.parts();
                if fraction.len() > *scale as usize {
                    return no(format!("is {}, with more than {scale} digits after the point", v.as_str()));
                }
                if whole.len() > precision.saturating_sub(*scale) as usize {
                    return no(format!(
                        "is {}, with more than {} digits before the point",
                        v.as_str(),
                        precision - scale
                    ));
                }
                Ok(())
            }
            (Domain::Decimal { limits: Some((precision, 0)) }, Value::Int(_) | Value::Uint(_)) => {
                match value.to_string().trim_start_matches('-').len() > *precision as usize {
                    true => no(format!("is {value}, with more than {precision} digits before the point")),
                    false => Ok(()),
                }
            }
            (domain, Value::Uuid(_)) if domain.poses_as(&Type::Uuid) => Ok(()),
            (Domain::Text { max, padded, nul }, Value::Text(v)) => {
                if !nul && v.contains('\0') {
                    return no("contains a NUL character, which the column cannot store".to_owned());
                }
                if *padded && v.ends_with(' ') {
                    return no("ends in blanks, which the column does not keep".to_owned());
                }
                match max {
                    Some(max) if v.chars().count() > *max as usize => {
                        no(format!("has {} characters and the column holds {max}", v.chars().count()))
                    }
                    _ => Ok(()),
                }
            }
            (Domain::Bool { numbers: false }, Value::Int(v)) => {
                no(format!("is {v}, a number other than 0 and 1, and the column holds boolean"))
            }
            (Domain::Date { zeros: false }, Value::Date(v)) if time::is_no_day(*v) => {
                no(format!("is {value}, which is no day of the calendar"))
            }
            (Domain::Time { spans: false, .. }, Value::Time(v)) if !(0..=time::DAY).contains(v) => {
                no(format!("is {value}, a span and no time of a day"))
            }
            (Domain::Time { digits, .. }, Value::Time(v)) => fits_digits(*v, *digits),
            (Domain::Timestamp { digits, zeros }, Value::Timestamp(v))
            | (Domain::Instant { digits, zeros }, Value::Instant(v)) => match *v {
                i64::MAX | i64::MIN => Ok(()),
                v if !zeros && time::is_of_no_day(v) => no(format!("is {value}, which is on no day of the calendar")),
                v => fits_digits(v, *digits),
            },
            (Domain::Json { nul: false, .. }, Value::Json(v)) if has_nul(v.as_str()) => {
                no("contains a NUL character, which the column cannot store".to_owned())
            }
            (Domain::Json { binary, .. }, Value::Json(v)) if !self.keeps_text() => fits_parsed(v, *binary),
            (Domain::Loose { affinity, .. }, value) => fits_loosely(affinity, value),
            (Domain::Unsupported(why), _) => no(format!("cannot be stored: {why}")),
            (Domain::Native(_), Value::Text(_)) => Ok(()),
            (domain, value) => match domain.strict_type() {
                Some(ty) if ty.has(value) => Ok(()),
                Some(ty) => no(format!("is {} and the column holds {ty}", value.kind())),
                None => Ok(()),
            },
        }
    }
}

/// Whether a document names the letter NUL: `\u0000` behind no backslash that is spent otherwise.
fn has_nul(json: &str) -> bool {
    json.match_indices("\\u0000")
        .any(|(at, _)| json[..at].bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 0)
}

/// Whether a document fits a column that keeps what it says and not its text.
fn fits_parsed(document: &Json, binary: bool) -> Result<(), Misfit> {
    if let Some(name) = document.named_twice() {
        let name = serde_json::Value::from(&*name);
        return Err(Misfit(format!(
            "names the member {name} twice, of which the column would keep only the last; leave it once"
        )));
    }
    match binary.then(|| document.beyond_binary()).flatten() {
        Some(number) => {
            Err(Misfit(format!("contains {number}, which is neither a 64-bit integer nor exact as a float")))
        }
        None => Ok(()),
    }
}

fn fits_digits(micros: i64, digits: u8) -> Result<(), Misfit> {
    let unit = 10i64.pow(6 - u32::from(digits.min(6)));
    if micros % unit == 0 { Ok(()) } else { Err(Misfit(format!("has more than {digits} digits of a second"))) }
}

impl Decimal {
    /// The shortest number that names a float, as which floats travel to columns of decimals; `None` of infinities and NaN.
    pub fn naming(float: f64) -> Option<Decimal> {
        Decimal::parse(&float.to_string()).filter(Decimal::is_finite)
    }

    /// The float of which this is the shortest name, so that either can stand for the other and none travels back and forth. All
    /// numbers of up to 15 digits have one, and of longer ones those that floats are read as, such as 0.30000000000000004.
    pub fn float(&self) -> Option<f64> {
        let float = self.as_str().parse::<f64>().ok().filter(|_| self.is_finite())?;
        (Decimal::naming(float).as_ref() == Some(self)).then_some(float)
    }
}

fn fits_loosely(affinity: &str, value: &Value) -> Result<(), Misfit> {
    let no = |why: String| Err(Misfit(why));
    match value {
        Value::Uint(v) => no(format!("is {v}, above what SQLite's 64-bit integers hold")),
        Value::Float(v) if v.is_nan() => no("is NaN, which SQLite stores as NULL".to_owned()),
        Value::Decimal(v) if affinity == "NUMERIC" => {
            // It keeps whole numbers of 64 bits as such, and everything else as floats.
            let is_integer = v.unscaled(0).is_some_and(|whole| i64::try_from(whole).is_ok());
            if is_integer || v.float().is_some() {
                Ok(())
            } else if v.is_finite() {
                no(format!("is {}, with more digits than a NUMERIC column of SQLite keeps", v.as_str()))
            } else {
                no(format!("is {}, which a NUMERIC column of SQLite does not keep", v.as_str()))
            }
        }
        Value::Date(v) if time::is_far(*v) => no("lies outside the calendar".to_owned()),
        Value::Timestamp(v) | Value::Instant(v)
            if !matches!(*v, i64::MAX | i64::MIN) && !CALENDAR.contains(v) && !time::is_of_no_day(*v) =>
        {
            no("lies outside the years 0 to 9999".to_owned())
        }
        _ => Ok(()),
    }
}

impl Type {
    /// All but those of a database's own.
    pub const PLAIN: [Type; 13] = [
        Type::Bool,
        Type::Int,
        Type::Float,
        Type::Decimal,
        Type::Text,
        Type::Bytes,
        Type::Date,
        Type::Time,
        Type::Timestamp,
        Type::Instant,
        Type::Json,
        Type::Uuid,
        Type::Any,
    ];

    /// Whether a value is of this type. NULL is of every type; numbers that are neither true nor false are of the type of booleans.
    pub fn has(&self, value: &Value) -> bool {
        if let (Type::Bool, Value::Int(v)) = (self, value) {
            return !(0..=1).contains(v);
        }
        matches!(
            (self, value),
            (_, Value::Null)
                | (Type::Any, _)
                | (Type::Bool, Value::Bool(_))
                | (Type::Int, Value::Int(_) | Value::Uint(_))
                | (Type::Float, Value::Float(_))
                | (Type::Decimal, Value::Decimal(_))
                | (Type::Text | Type::Native(_), Value::Text(_))
                | (Type::Bytes, Value::Bytes(_))
                | (Type::Date, Value::Date(_))
                | (Type::Time, Value::Time(_))
                | (Type::Timestamp, Value::Timestamp(_))
                | (Type::Instant, Value::Instant(_))
                | (Type::Json, Value::Json(_))
                | (Type::Uuid, Value::Uuid(_))
        )
    }

    /// Whether rows can be identified by columns of this type.
    pub fn identifies(&self) -> bool {
        !matches!(self, Type::Float | Type::Json)
    }

    /// The type that the columns of all nodes share, or why they share none. Each column comes with words that name
    /// it, such as "`balance` of `accounts` at office (numeric)".
    pub fn shared<'a>(columns: impl IntoIterator<Item = (String, &'a Domain)> + Clone) -> Result<Type, String> {
        let mut strict: Vec<(String, &Domain, Type)> = Vec::new();
        for (who, domain) in columns.clone() {
            if let Domain::Unsupported(why) = domain {
                return Err(format!("{who}: {why}"));
            }
            strict.extend(domain.strict_type().map(|ty| (who, domain, ty)));
        }
        let carries = |domain: &Domain, own: &Type, ty: &Type| own == ty || domain.poses_as(ty);
        let all_carry = |ty: &Type| strict.iter().all(|(_, domain, own)| carries(domain, own, ty));
        let shared = match strict.iter().find(|(.., ty)| all_carry(ty)) {
            Some((who, _, ty)) => Some((who.clone(), ty.clone())),
            None => match strict.split_first() {
                None => None,
                Some(((first, _, agreed), others)) => {
                    let other = others.iter().find(|(.., ty)| ty != agreed);
                    let (who, ty) = other.map_or((first, agreed), |(who, _, ty)| (who, ty));
                    return Err(format!("{who} holds {ty} and {first} holds {agreed}; give both the same type"));
                }
            },
        };
        let mut loose: Option<(String, &str)> = None;
        for (who, domain) in columns {
            let Domain::Loose { affinity, accepts } = domain else { continue };
            match &shared {
                Some((first, ty)) if !accepts.contains(ty) => {
                    return Err(format!("{who} does not keep {ty} exactly, which {first} holds"));
                }
                Some(_) => {}
                None => match &loose {
                    Some((first, other)) if other != affinity => {
                        return Err(format!(
                            "{who} turns values into {affinity} and {first} into {other}; declare both alike"
                        ));
                    }
                    _ => loose = Some((who, affinity)),
                },
            }
        }
        Ok(shared.map_or(Type::Any, |(_, ty)| ty))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Value {
        Value::Decimal(Decimal::parse(text).unwrap())
    }

    #[test]
    fn nothing_is_rounded_cut_or_padded() {
        let money = Domain::Decimal { limits: Some((12, 2)) };
        assert!(money.holds(&decimal("9999999999.99")).is_ok());
        assert!(money.holds(&decimal("1.500")).is_ok());
        assert!(money.holds(&decimal("0.005")).is_err());
        assert!(money.holds(&decimal("12345678901")).is_err());
        let small = Domain::Int { bits: 16, unsigned: false };
        assert!(small.holds(&Value::Int(32767)).is_ok() && small.holds(&Value::Int(32768)).is_err());
        assert!(Domain::Int { bits: 64, unsigned: false }.holds(&Value::Int(i64::MIN)).is_ok());
        let name = Domain::Text { max: Some(3), padded: true, nul: false };
        assert!(name.holds(&Value::text("äöü")).is_ok());
        assert!(name.holds(&Value::text("abcd")).is_err() && name.holds(&Value::text("a ")).is_err());
        assert!(Domain::Text { max: None, padded: false, nul: false }.holds(&Value::text("a\0")).is_err());
        assert!(Domain::Text { max: None, padded: false, nul: true }.holds(&Value::text("a\0")).is_ok());
        let documents = Domain::Json { nul: false, binary: false };
        let json = |text: &str| Value::Json(super::super::value::Json::new(text));
        assert!(documents.holds(&json(r#""a\u0000""#)).is_err() && documents.holds(&json(r#""a\\\u0000""#)).is_err());
        assert!(documents.holds(&json(r#""a\\u0000""#)).is_ok());
        for (nul, binary) in [(false, false), (true, true), (true, false)] {
            let documents = Domain::Json { nul, binary };
            let twice = documents.holds(&json(r#"[{"a": 1, "b": {"\u0061": 2, "a\n": 3, "a": 4}}]"#));
            let why = r#"names the member "a" twice, of which the column would keep only the last; leave it once"#;
            assert_eq!(twice, if documents.keeps_text() { Ok(()) } else { Err(Misfit(why.to_owned())) });
            assert_eq!(documents.holds(&json(r#"{"a": {"a": 1}, "b": ["a", "a"]}"#)), Ok(()));
            assert_eq!(documents.holds(&json("18446744073709551617")).is_err(), binary);
        }
        assert!(Domain::Timestamp { digits: 3, zeros: false }.holds(&Value::Timestamp(1_000)).is_ok());
        assert!(Domain::Timestamp { digits: 3, zeros: false }.holds(&Value::Timestamp(1_001)).is_err());
        assert!(Domain::Float { bits: 32 }.holds(&Value::Float(0.1)).is_err());
        assert!(Domain::Float { bits: 32 }.holds(&Value::Float(0.5)).is_ok());
        assert!(Domain::Float { bits: 32 }.holds(&Value::Float(f64::NEG_INFINITY)).is_ok());
        for numbers in [true, false] {
            let truth = Domain::Bool { numbers };
            assert!(truth.holds(&Value::Bool(true)).is_ok() && truth.holds(&Value::Int(1)).is_err());
            assert_eq!(truth.holds(&Value::Int(2)).is_ok(), numbers);
        }
    }

    #[test]
    fn what_only_some_databases_have_is_told() {
        let (no_day, micros) =
            (time::parse_date("2024-00-00").unwrap(), time::parse_timestamp("0000-00-00 00:00:01").unwrap());
        let why = |domain: Domain, value: Value| domain.holds(&value).unwrap_err().0;
        assert_eq!(
            why(Domain::Date { zeros: false }, Value::Date(no_day)),
            "is 2024-00-00, which is no day of the calendar"
        );
        for zeros in [true, false] {
            assert_eq!(Domain::Date { zeros }.holds(&Value::Date(no_day)).is_ok(), zeros);
            assert_eq!(Domain::Timestamp { digits: 0, zeros }.holds(&Value::Timestamp(micros)).is_ok(), zeros);
            assert_eq!(Domain::Instant { digits: 0, zeros }.holds(&Value::Instant(micros)).is_ok(), zeros);
            assert!(Domain::Timestamp { digits: 0, zeros }.holds(&Value::Timestamp(micros + 1)).is_err());
        }
        let span = |spans| Domain::Time { digits: 0, spans };
        assert_eq!(why(span(false), Value::Time(-1_000_000)), "is -00:00:01, a span and no time of a day");
        assert!(
            span(true).holds(&Value::Time(-1_000_000)).is_ok() && span(false).holds(&Value::Time(time::DAY)).is_ok()
        );
    }

    #[test]
    fn numeric_columns_of_sqlite_keep_whole_numbers_of_64_bits() {
        let numeric = Domain::Loose { affinity: "NUMERIC".into(), accepts: vec![Type::Decimal] };
        for kept in ["9007199254740993", "-9223372036854775808", "9223372036854775807.00", "1234567890123.45", "-0.5"] {
            assert_eq!(numeric.holds(&decimal(kept)), Ok(()), "{kept}");
        }
        for digits in ["9223372036854775808", "9007199254740993.5", "0.12345678901234567"] {
            let why = format!("is {digits}, with more digits than a NUMERIC column of SQLite keeps");
            assert_eq!(numeric.holds(&decimal(digits)), Err(Misfit(why)));
        }
        assert!(numeric.holds(&decimal("NaN")).is_err() && numeric.holds(&decimal("-Infinity")).is_err());
    }

    /// A sum of money of 17 digits is what SQLite holds itself, and goes from one of its files to the next.
    #[test]
    fn numeric_columns_of_sqlite_keep_what_floats_are_read_as() {
        let numeric = Domain::Loose { affinity: "NUMERIC".into(), accepts: vec![Type::Decimal] };
        for float in [0.1 + 0.2, 12345678901234.56, -1e15 - 0.3, 1e19, 5e-324, f64::MAX, i64::MIN as f64, 0.0] {
            let name = Decimal::naming(float).unwrap();
            assert_eq!(numeric.holds(&Value::Decimal(name.clone())), Ok(()), "{float:?}");
            assert_eq!(name.float(), Some(float));
        }
        // 0.1 is its shortest name.
        assert!(numeric.holds(&decimal("0.10000000000000001")).is_err());
        assert!(numeric.holds(&decimal("0.1000000000000000")).is_ok());
        for float in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(Decimal::naming(float).is_none());
        }
    }

    /// They are told behind "it".
    #[test]
    fn reasons_read_as_sentences() {
        let why = |domain: Domain, value: Value| domain.holds(&value).unwrap_err().0;
        let money = || Domain::Decimal { limits: Some((5, 2)) };
        let whole = Domain::Decimal { limits: Some((2, 0)) };
        let int = |bits, unsigned| Domain::Int { bits, unsigned };
        let loose = Domain::Loose { affinity: "INTEGER".into(), accepts: vec![Type::Int] };
        for (told, reason) in [
            (why(int(8, false), Value::Int(128)), "is 128, outside -128 to 127"),
            (why(int(64, false), Value::Uint(1 << 63)), "is 9223372036854775808, above what the column holds"),
            (why(Domain::Float { bits: 32 }, Value::Float(0.1)), "is 0.1, not exact as a 4-byte float"),
            (why(Domain::Float { bits: 32 }, Value::Float(-1e300)), "is -1e300, beyond what a 4-byte float holds"),
            (why(money(), decimal("Infinity")), "is Infinity, which needs a column without a precision"),
            (why(money(), decimal("0.005")), "is 0.005, with more than 2 digits after the point"),
            (why(money(), decimal("1000")), "is 1000, with more than 3 digits before the point"),
            (why(whole, Value::Int(-100)), "is -100, with more than 2 digits before the point"),
            (why(Domain::Unsupported("no".into()), Value::Int(1)), "cannot be stored: no"),
            (why(loose, Value::Uint(1 << 63)), "is 9223372036854775808, above what SQLite's 64-bit integers hold"),
        ] {
            assert_eq!(told, reason);
        }
    }

    #[test]
    fn strict_columns_decide_and_loose_ones_follow() {
        let integer = Domain::Loose { affinity: "INTEGER".into(), accepts: vec![Type::Int, Type::Bool] };
        let text = Domain::Loose { affinity: "TEXT".into(), accepts: vec![Type::Text, Type::Instant] };
        let instant = Domain::Instant { digits: 6, zeros: false };
        let shared = |domains: Vec<&Domain>| {
            Type::shared(domains.into_iter().enumerate().map(|(n, d)| (format!("column {n}"), d)).collect::<Vec<_>>())
        };
        assert_eq!(shared(vec![&instant, &text]), Ok(Type::Instant));
        assert_eq!(shared(vec![&text, &text]), Ok(Type::Any));
        assert!(shared(vec![&text, &integer]).unwrap_err().contains("column 1 turns values into INTEGER"));
        assert!(shared(vec![&instant, &integer]).unwrap_err().contains("column 1 does not keep instant"));
        assert!(shared(vec![&instant, &Domain::Json { nul: true, binary: false }]).is_err());
        let spelled = Domain::Text { max: Some(36), padded: true, nul: false };
        assert_eq!(shared(vec![&spelled, &Domain::Uuid, &Domain::Bytes]), Ok(Type::Uuid));
        assert_eq!(shared(vec![&spelled, &spelled]), Ok(Type::Text));
        assert!(shared(vec![&spelled, &Domain::Bytes]).is_err());
        let (whole, big) = (Domain::Decimal { limits: Some((20, 0)) }, Domain::Int { bits: 64, unsigned: true });
        assert_eq!(shared(vec![&whole, &big]), Ok(Type::Int));
        assert!(shared(vec![&Domain::Decimal { limits: Some((20, 2)) }, &big]).is_err());
    }
}
