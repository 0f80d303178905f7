//! Values on their way to and from the server, in the binary protocol, which alters none.

#[cfg(test)]
mod round_trips;

use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::{Arguments, Decode, Encode, MySql, Row as _};

use super::types;
use crate::model::{Column, Decimal, Domain, Json, Type, Value, time};
use crate::node::{Error, ErrorKind, Result};

/// How a column's values travel.
#[derive(Clone, Debug)]
pub enum Wire {
    Bool,
    Int {
        unsigned: bool,
    },
    Year,
    /// Perhaps rounded to so many digits after the point.
    Float {
        single: bool,
        digits: Option<u32>,
    },
    Decimal,
    /// Perhaps of so many bytes at most, to which `narrow` letters are one each.
    Text {
        most: Option<usize>,
        narrow: bool,
    },
    /// One of these labels, or several of them.
    Labels {
        labels: Vec<String>,
        several: bool,
    },
    Bytes,
    /// Shorter values would be filled up with zeros.
    FixedBytes(usize),
    Date,
    Time,
    Timestamp,
    Instant,
    Json,
    Uuid,
    /// A uuid as its letters.
    SpelledUuid,
    /// A uuid as its 16 bytes.
    UuidBytes,
    /// A whole number in a decimal column.
    Whole,
    Bits(usize),
    Unsupported,
}

impl Wire {
    pub fn of(column: &Column) -> Wire {
        let native = column.native.as_str();
        match &column.domain {
            Domain::Text { .. } if column.ty == Type::Uuid => Wire::SpelledUuid,
            Domain::Bytes if column.ty == Type::Uuid => Wire::UuidBytes,
            Domain::Decimal { .. } if column.ty == Type::Int => Wire::Whole,
            Domain::Bool { .. } => Wire::Bool,
            Domain::Int { .. } if native.starts_with("year") => Wire::Year,
            Domain::Int { unsigned, .. } => Wire::Int { unsigned: *unsigned },
            Domain::Float { bits } => {
                Wire::Float { single: *bits == 32, digits: types::places(native).map(|(_, after)| after) }
            }
            Domain::Decimal { .. } => Wire::Decimal,
            Domain::Text { .. } => match native.split('(').next() {
                Some("enum") => Wire::Labels { labels: labels(native), several: false },
                Some("set") => Wire::Labels { labels: labels(native), several: true },
                _ => {
                    let collation = column.collation.as_deref().unwrap_or_default();
                    let narrow = types::is_narrow(collation);
                    // How many bytes the letters of others take only the server knows.
                    let most = types::room(native).filter(|_| narrow || collation.starts_with("utf8"));
                    Wire::Text { most, narrow }
                }
            },
            Domain::Bytes => match native.strip_prefix("binary(").and_then(|rest| rest.strip_suffix(')')) {
                Some(length) => Wire::FixedBytes(length.parse().unwrap_or(0)),
                None => Wire::Bytes,
            },
            Domain::Date { .. } => Wire::Date,
            Domain::Time { .. } => Wire::Time,
            Domain::Timestamp { .. } => Wire::Timestamp,
            Domain::Instant { .. } => Wire::Instant,
            Domain::Json { .. } => Wire::Json,
            Domain::Uuid => Wire::Uuid,
            Domain::Native(_) => match native.strip_prefix("bit(").and_then(|rest| rest.strip_suffix(')')) {
                Some(length) => Wire::Bits(length.parse().unwrap_or(0)),
                None => Wire::Text { most: None, narrow: false },
            },
            Domain::Loose { .. } | Domain::Unsupported(_) => Wire::Unsupported,
        }
    }

    /// A value that came from the server. Fails with words that follow the column's name.
    pub fn read(&self, row: &MySqlRow, at: usize) -> std::result::Result<Value, String> {
        raw(row, at).map_or(Ok(Value::Null), |bytes| self.decode(bytes))
    }

    fn decode(&self, bytes: &[u8]) -> std::result::Result<Value, String> {
        let text = || std::str::from_utf8(bytes).map_err(|_| "holds a text that is not UTF-8".to_owned());
        Ok(match self {
            Wire::Bool => match integer(bytes, false) {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                other => Value::Int(other as i64),
            },
            Wire::Int { unsigned } => {
                let number = integer(bytes, *unsigned);
                match i64::try_from(number) {
                    Ok(number) => Value::Int(number),
                    Err(_) => Value::Uint(number as u64),
                }
            }
            Wire::Year => Value::Int(integer(bytes, true) as i64),
            Wire::Float { single: true, .. } => Value::Float(f32::from_le_bytes(fixed(bytes)?).into()),
            Wire::Float { single: false, .. } => Value::Float(f64::from_le_bytes(fixed(bytes)?)),
            Wire::Decimal => Value::Decimal(Decimal::parse(text()?).ok_or("holds a number in an unknown form")?),
            Wire::Text { .. } | Wire::Labels { .. } => Value::text(text()?),
            Wire::Bytes | Wire::FixedBytes(_) => Value::Bytes(bytes.into()),
            Wire::Date => {
                let (day, _) = moment(bytes)?;
                Value::Date(day)
            }
            Wire::Time => Value::Time(span(bytes)),
            Wire::Timestamp | Wire::Instant => {
                let (day, micros) = moment(bytes)?;
                let all = i64::from(day) * time::DAY + micros;
                if matches!(self, Wire::Instant) { Value::Instant(all) } else { Value::Timestamp(all) }
            }
            Wire::Json => Value::Json(Json::new(text()?)),
            Wire::Uuid => {
                let id = uuid::Uuid::parse_str(text()?).map_err(|_| "holds a uuid in an unknown form".to_owned())?;
                Value::Uuid(*id.as_bytes())
            }
            Wire::SpelledUuid => Value::spelled_uuid(text()?)?,
            Wire::UuidBytes => Value::uuid_of_bytes(bytes)?,
            Wire::Whole => Value::whole(&Decimal::parse(text()?).ok_or("holds a number in an unknown form")?)?,
            Wire::Bits(length) => {
                let number = bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
                Value::text(format!("{number:0length$b}"))
            }
            Wire::Unsupported => return Err("is of a type that cannot be carried".to_owned()),
        })
    }

    /// Adds the value as a parameter; `None` if the column would store something else, or nothing.
    fn add(&self, args: &mut Args, value: &Value) -> Option<()> {
        match (self, value) {
            // A uuid or an address is assigned no number, be it NULL.
            (Wire::Uuid | Wire::Text { .. }, Value::Null) => args.add(None::<&str>),
            (_, Value::Null) => args.add(None::<i64>),
            (Wire::Bool, Value::Bool(v)) => args.add(i8::from(*v)),
            (Wire::Bool, Value::Int(v)) => args.add(i8::try_from(*v).ok().filter(|v| !(0..=1).contains(v))?),
            (Wire::Int { .. }, Value::Int(v)) => args.add(*v),
            (Wire::Int { unsigned: true }, Value::Uint(v)) => args.add(*v),
            // Other numbers are taken for years of which somebody left out the century.
            (Wire::Year, Value::Int(v)) if *v == 0 || (1901..=2155).contains(v) => args.add(*v),
            (Wire::Float { single, digits }, Value::Float(v)) if rounded(*v, *single, *digits) == *v => match single {
                true => args.add(*v as f32),
                false => args.add(*v),
            },
            (Wire::Decimal, Value::Decimal(v)) if v.is_finite() => args.add(v.as_str()),
            (Wire::Text { most, narrow }, Value::Text(v)) if !is_cut(v, *most, *narrow) => args.add(&**v),
            (Wire::Labels { labels, several }, Value::Text(v)) => {
                is_made_of(labels, *several, v).then(|| args.add(&**v))?
            }
            (Wire::Bytes, Value::Bytes(v)) => args.add(&**v),
            (Wire::FixedBytes(length), Value::Bytes(v)) if v.len() == *length => args.add(&**v),
            (Wire::Date, Value::Date(v)) => args.add(of_four_digits(time::date(*v))?),
            (Wire::Time, Value::Time(v)) if v.abs() <= time::LONGEST => args.add(time::time_of_day(*v)),
            (Wire::Timestamp, Value::Timestamp(v)) | (Wire::Instant, Value::Instant(v)) => {
                args.add(of_four_digits(time::timestamp(*v).replace('T', " "))?)
            }
            (Wire::Json, Value::Json(v)) => args.add(v.as_str()),
            (Wire::UuidBytes, Value::Uuid(v)) => args.add(&v[..]),
            (Wire::Whole, Value::Int(_) | Value::Uint(_)) => args.add(value.to_string()),
            (Wire::Uuid | Wire::SpelledUuid, Value::Uuid(v)) => {
                args.add(uuid::Uuid::from_bytes(*v).hyphenated().to_string())
            }
            (Wire::Bits(length), Value::Text(v)) if v.len() == *length => args.add(u64::from_str_radix(v, 2).ok()?),
            _ => return None,
        };
        Some(())
    }

    /// What the server would make of a value without an error, and what to do about it; reads after the refusal.
    fn remedy(&self, value: &Value) -> String {
        match (self, value) {
            (Wire::Float { single, digits: Some(digits) }, Value::Float(v)) if v.is_finite() => format!(
                ": {v} would be rounded to {}, by the {digits} digits after the point; declare the column as {} without digits",
                rounded(*v, *single, Some(*digits)),
                if *single { "float" } else { "double" }
            ),
            (Wire::Text { most: Some(most), narrow }, Value::Text(v)) => format!(
                ": of {} bytes it takes {most}, and white space at the end would be cut off; make it a longer type, such as longtext",
                bytes(v, *narrow)
            ),
            _ => String::new(),
        }
    }
}

/// What a float becomes in a column of so many digits after the point, by the server's own arithmetic; NaN for what it has not.
fn rounded(number: f64, single: bool, digits: Option<u32>) -> f64 {
    if !number.is_finite() {
        return f64::NAN;
    }
    let Some(digits) = digits else { return number };
    let unit: f64 = format!("1e{digits}").parse().unwrap_or(f64::NAN);
    let whole = number.floor();
    let kept = whole + ((number - whole) * unit).round_ties_even() / unit;
    if single { f64::from(kept as f32) } else { kept }
}

/// Whether the server would cut a text without an error, which it does to white space at the end. Of others that are too long it
/// says so itself.
fn is_cut(text: &str, most: Option<usize>, narrow: bool) -> bool {
    most.is_some_and(|most| bytes(text, narrow) > most) && text.ends_with(char::is_whitespace)
}

fn bytes(text: &str, narrow: bool) -> usize {
    if narrow { text.chars().count() } else { text.len() }
}

/// A date or time that begins with a year of four digits: infinities and years before Christ do not.
fn of_four_digits(text: String) -> Option<String> {
    let plain = text.as_bytes().get(4) == Some(&b'-') && text.as_bytes()[..4].iter().all(u8::is_ascii_digit);
    plain.then_some(text)
}

fn fixed<const N: usize>(bytes: &[u8]) -> std::result::Result<[u8; N], String> {
    bytes.try_into().map_err(|_| format!("came in {} bytes instead of {N}", bytes.len()))
}

/// Bytes with the lowest first.
fn integer(bytes: &[u8], unsigned: bool) -> i128 {
    let number = bytes.iter().rev().fold(0i128, |sum, byte| sum << 8 | i128::from(*byte));
    let negative = !unsigned && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    if negative { number - (1i128 << (8 * bytes.len())) } else { number }
}

/// The day and the microseconds since midnight: a length, then the year, month, day, and what is not zero of the rest.
fn moment(bytes: &[u8]) -> std::result::Result<(i32, i64), String> {
    let two = |at: usize| bytes.get(at..at + 2).map_or(0, |two| i32::from(u16::from_le_bytes([two[0], two[1]])));
    let one = |at: usize| bytes.get(at).map_or(0, |byte| i64::from(*byte));
    let (year, month, day) = (two(1), one(3), one(4));
    let date = format!("{year:04}-{month:02}-{day:02}");
    let date = time::parse_date(&date).ok_or_else(|| format!("holds the date {date}, which nobody can write"))?;
    let micros = bytes.get(8..12).map_or(0, |four| integer(four, true) as i64);
    Ok((date, ((one(5) * 60 + one(6)) * 60 + one(7)) * 1_000_000 + micros))
}

/// Microseconds: a length, a sign, days, hours, minutes, seconds and microseconds.
fn span(bytes: &[u8]) -> i64 {
    let one = |at: usize| bytes.get(at).map_or(0, |byte| i64::from(*byte));
    let days = bytes.get(2..6).map_or(0, |four| integer(four, true) as i64);
    let micros = bytes.get(9..13).map_or(0, |four| integer(four, true) as i64);
    let all = days * time::DAY + ((one(6) * 60 + one(7)) * 60 + one(8)) * 1_000_000 + micros;
    if one(1) == 0 { all } else { -all }
}

/// The labels of an enum or set, from its type as the catalogue has it: with quotes and backslashes doubled, and line breaks and NUL
/// behind a backslash, whatever the `sql_mode`.
pub fn labels(native: &str) -> Vec<String> {
    let mut labels = Vec::new();
    let mut letters = native.split_once('(').map_or("", |(_, rest)| rest).chars().peekable();
    while letters.any(|letter| letter == '\'') {
        let mut label = String::new();
        loop {
            match letters.next() {
                None => return labels,
                Some('\\') => match letters.next() {
                    None => return labels,
                    Some('n') => label.push('\n'),
                    Some('r') => label.push('\r'),
                    Some('0') => label.push('\0'),
                    Some(letter) => label.push(letter),
                },
                Some('\'') if letters.next_if_eq(&'\'').is_none() => break,
                Some(letter) => label.push(letter),
            }
        }
        labels.push(label);
    }
    labels
}

/// Whether a text comes back as it is: its labels exactly, and of several in their order.
fn is_made_of(labels: &[String], several: bool, text: &str) -> bool {
    if !several || text.is_empty() {
        return several || labels.iter().any(|label| label == text);
    }
    let mut places = text.split(',').map(|part| labels.iter().position(|label| label == part));
    let mut last = None;
    places.all(|place| place.is_some() && std::mem::replace(&mut last, place) < place)
}

/// The bytes of a cell; `None` for NULL.
pub fn raw(row: &MySqlRow, at: usize) -> Option<&[u8]> {
    // Decoded as it is: the driver would take a date of zeros for NULL.
    row.try_get_raw(at).ok().and_then(|cell| <&[u8] as Decode<MySql>>::decode(cell).ok())
}

/// A text of the catalogue or of a service table.
pub fn text(row: &MySqlRow, at: usize) -> Option<String> {
    raw(row, at).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// A signed integer of any width.
pub fn number(row: &MySqlRow, at: usize) -> Option<i64> {
    raw(row, at).map(|bytes| integer(bytes, false) as i64)
}

/// A text that has to be there.
pub fn string(row: &MySqlRow, at: usize) -> Result<String> {
    text(row, at).ok_or_else(|| damaged("a text"))
}

/// A number that has to be there.
pub fn int(row: &MySqlRow, at: usize) -> Result<i64> {
    number(row, at).ok_or_else(|| damaged("a number"))
}

fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::Service, format!("the service tables hold NULL in place of {what}; run `concord reset`"))
}

/// What a parameter takes on its way, in bytes: the driver's own hint is that of the reference.
pub trait Weighed {
    fn bytes(&self) -> usize;
}

macro_rules! weighed {
    ($($number:ty)*) => {
        $(impl Weighed for $number {
            fn bytes(&self) -> usize {
                size_of::<$number>()
            }
        })*
    };
}

weighed!(i8 i64 u64 f32 f64);

impl Weighed for &str {
    fn bytes(&self) -> usize {
        self.len()
    }
}

impl Weighed for &[u8] {
    fn bytes(&self) -> usize {
        self.len()
    }
}

impl Weighed for String {
    fn bytes(&self) -> usize {
        self.len()
    }
}

impl<T: Weighed> Weighed for Option<T> {
    fn bytes(&self) -> usize {
        self.as_ref().map_or(0, Weighed::bytes)
    }
}

/// Parameters of one statement.
#[derive(Default)]
pub struct Args {
    arguments: MySqlArguments,
    count: usize,
    size: usize,
    error: Option<Error>,
    /// What is sent for each.
    #[cfg(test)]
    sent: Vec<Vec<u8>>,
}

impl Args {
    pub fn new() -> Args {
        Args::default()
    }

    /// Adds several ordinary numbers.
    pub fn all(&mut self, numbers: &[i64]) -> &mut Args {
        for number in numbers {
            self.add(*number);
        }
        self
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many bytes they take, about.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Adds an ordinary value.
    pub fn add<'t, T: Encode<'t, MySql> + sqlx::Type<MySql> + Weighed>(&mut self, value: T) -> &mut Args {
        self.count += 1;
        self.size += 9 + value.bytes();
        #[cfg(test)]
        self.sent.push({
            let mut sent = Vec::new();
            let _ = value.encode_by_ref(&mut sent);
            sent
        });
        if let Err(error) = self.arguments.add(value) {
            self.error.get_or_insert(Error::new(ErrorKind::Value, format!("too large for one statement: {error}")));
        }
        self
    }

    /// Adds a value of a column. One that the column would alter makes the statement fail.
    pub fn cell(&mut self, column: &Column, wire: &Wire, value: &Value) -> &mut Args {
        if wire.add(self, value).is_none() {
            let kind = value.kind();
            let (name, native, remedy) = (&column.name, &column.native, wire.remedy(value));
            let message = format!("column {name} ({native}) cannot hold this {kind} as it is{remedy}");
            self.refuse(Error::new(ErrorKind::Value, message));
        }
        self
    }

    /// Makes the statement fail.
    pub fn refuse(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }

    /// Adds a value that is looked for. One that the column cannot hold becomes NULL, which equals nothing.
    pub fn sought(&mut self, column: &Column, wire: &Wire, value: &Value) -> &mut Args {
        if column.domain.holds(value).is_err() || wire.add(self, value).is_none() {
            let _ = wire.add(self, &Value::Null);
        }
        self
    }

    pub fn finish(self) -> Result<MySqlArguments> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.arguments),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_counted() {
        let mut args = Args::new();
        args.add(Some("x".repeat(1_000))).add("x".repeat(100).as_str()).add(None::<&str>).add(1i64);
        assert!((1_108..1_200).contains(&args.size()), "{}", args.size());
    }

    #[test]
    fn integers_of_every_width() {
        assert_eq!(Wire::Int { unsigned: false }.decode(&[0xFF]), Ok(Value::Int(-1)));
        assert_eq!(Wire::Int { unsigned: true }.decode(&[0xFF, 0xFF]), Ok(Value::Int(65_535)));
        assert_eq!(Wire::Int { unsigned: true }.decode(&[0xFF; 8]), Ok(Value::Uint(u64::MAX)));
        assert_eq!(Wire::Int { unsigned: false }.decode(&i64::MIN.to_le_bytes()), Ok(Value::Int(i64::MIN)));
        assert_eq!(Wire::Bits(3).decode(&[5]), Ok(Value::text("101")));
        assert_eq!(Wire::Bool.decode(&[0x80]), Ok(Value::Int(-128)));
    }

    #[test]
    fn days_of_no_calendar_and_spans_are_what_they_are() {
        assert_eq!(Wire::Date.decode(&[4, 0xB2, 0x07, 1, 2]), Ok(Value::Date(1)));
        assert_eq!(
            Wire::Timestamp.decode(&[11, 0xB2, 0x07, 1, 1, 0, 0, 1, 7, 0, 0, 0]),
            Ok(Value::Timestamp(1_000_007))
        );
        for (bytes, text) in [
            (&[0][..], "0000-00-00"),
            (&[4, 0xE8, 0x07, 0, 0], "2024-00-00"),
            (&[4, 0xE8, 0x07, 2, 31], "2024-02-31"),
            (&[4, 0, 0, 1, 1], "0000-01-01"),
        ] {
            assert_eq!(Wire::Date.decode(bytes).map(|value| value.to_string()).as_deref(), Ok(text));
        }
        assert_eq!(Wire::Instant.decode(&[0]).unwrap().to_string(), "0000-00-00 00:00:00+00:00");
        assert_eq!(Wire::Time.decode(&[0]), Ok(Value::Time(0)));
        assert_eq!(Wire::Time.decode(&[8, 0, 0, 0, 0, 0, 1, 2, 3]), Ok(Value::Time(3_723_000_000)));
        assert_eq!(Wire::Time.decode(&[8, 0, 1, 0, 0, 0, 0, 0, 0]), Ok(Value::Time(time::DAY)));
        assert_eq!(Wire::Time.decode(&[8, 1, 34, 0, 0, 0, 22, 59, 59]).unwrap().to_string(), "-838:59:59");
        assert_eq!(Wire::Time.decode(&[8, 0, 2, 0, 0, 0, 0, 0, 0]), Ok(Value::Time(2 * time::DAY)));
    }

    #[test]
    fn letters_are_counted_where_it_is_known_what_they_take() {
        let room = |collation: &str| {
            let (native, collation) = ("tinytext".to_owned(), Some(collation.to_owned()));
            let column = Column { native, collation, ..Column::bare(0, "v", Type::Text) };
            match Wire::of(&column) {
                Wire::Text { most, narrow } => (most, narrow),
                other => unreachable!("{other:?} is no text"),
            }
        };
        for narrow in ["latin1_swedish_ci", "cp1251_bin", "cp850_general_ci", "cp866_bin", "tis620_thai_ci", "hp8_bin"]
        {
            assert_eq!(room(narrow), (Some(255), true), "{narrow}");
        }
        assert_eq!(room("utf8mb4_bin"), (Some(255), false));
        for wide in ["gbk_chinese_ci", "sjis_bin", "cp932_japanese_ci", "ucs2_bin", "utf16_bin", "utf32_bin"] {
            assert_eq!(room(wide), (None, false), "{wide}");
        }
    }

    #[test]
    fn what_would_be_stored_otherwise_is_refused() {
        let takes = |wire: &Wire, value: Value| wire.add(&mut Args::new(), &value).is_some();
        for (wire, value) in [
            (Wire::Year, Value::Int(70)),
            (Wire::Float { single: false, digits: None }, Value::Float(f64::NAN)),
            (Wire::Float { single: false, digits: None }, Value::Float(f64::INFINITY)),
            (Wire::Float { single: false, digits: Some(2) }, Value::Float(f64::INFINITY)),
            (Wire::Float { single: false, digits: Some(2) }, Value::Float(1.234)),
            (Wire::Float { single: true, digits: Some(2) }, Value::Float(1.125)),
            (Wire::Float { single: true, digits: Some(0) }, Value::Float(1.5)),
            (Wire::Text { most: Some(3), narrow: false }, Value::text("abc ")),
            (Wire::Text { most: Some(3), narrow: false }, Value::text("äb\n")),
            (Wire::Text { most: Some(3), narrow: true }, Value::text("äbc\n")),
            (Wire::Decimal, Value::Decimal(Decimal::parse("NaN").unwrap())),
            (Wire::FixedBytes(2), Value::Bytes([1].into())),
            (Wire::Date, Value::Date(i32::MAX)),
            (Wire::Date, Value::Date(-719_529)),
            (Wire::Timestamp, Value::Timestamp(i64::MIN)),
            (Wire::Bits(3), Value::text("0101")),
            (Wire::Bool, Value::Int(1)),
            (Wire::Bool, Value::Int(128)),
            (Wire::Time, Value::Time(time::LONGEST + 1)),
        ] {
            assert!(!takes(&wire, value.clone()), "{wire:?} {value:?}");
        }
        assert!(takes(&Wire::Date, Value::Date(-719_528)) && takes(&Wire::Year, Value::Int(0)));
        for (wire, value) in [
            (Wire::Float { single: false, digits: None }, 1.234),
            (Wire::Float { single: false, digits: Some(3) }, 1.234),
            (Wire::Float { single: false, digits: Some(30) }, -2.5),
            (Wire::Float { single: true, digits: Some(2) }, f64::from(1.23f32)),
            (Wire::Float { single: true, digits: Some(2) }, f64::from(-99_999.99f32)),
        ] {
            assert!(takes(&wire, Value::Float(value)), "{wire:?} {value:?}");
        }
        // The server itself refuses the third.
        for text in ["ab ", "abc", "abcd"] {
            assert!(takes(&Wire::Text { most: Some(3), narrow: false }, Value::text(text)), "{text}");
        }
        assert!(takes(&Wire::Text { most: Some(3), narrow: true }, Value::text("äb\n")));
        let labels = labels("enum('a','B','it''s',',')");
        assert_eq!(labels, ["a", "B", "it's", ","]);
        assert!(
            is_made_of(&labels, false, "it's") && !is_made_of(&labels, false, "b") && !is_made_of(&labels, false, "")
        );
        assert!(is_made_of(&labels, true, "a,it's") && is_made_of(&labels, true, ""));
        assert!(!is_made_of(&labels, true, "it's,a") && !is_made_of(&labels, true, "a,a"));
    }

    /// As MariaDB 10.11 tells them.
    #[test]
    fn labels_of_odd_letters() {
        let told = r"enum('a\\b','c\nd','e\0f','i\rj','x(y)','\\\\','\\''n','')";
        assert_eq!(labels(told), ["a\\b", "c\nd", "e\0f", "i\rj", "x(y)", "\\\\", "\\'n", ""]);
        assert_eq!(labels("set('a"), Vec::<String>::new());
    }
}
