//! Values in PostgreSQL's binary form: results are read from it, and whole columns travel in it as array parameters.
//!
//! The formats are those of the types' send and receive functions (`src/backend/utils/adt`), stable since version 8.

use std::cell::Cell;

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgRow, PgTypeInfo, Postgres};
use sqlx::{Arguments, Encode, Row as _, ValueRef};

use crate::model::{Column, Decimal, Domain, Json, Type, Value, time};
use crate::node::{Error, ErrorKind, Result};

/// Days and microseconds from 1970-01-01 to 2000-01-01, from which PostgreSQL counts.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// What the server takes, from 4714 BC on. It refuses a whole statement for another one, were it only to look for it.
const DAYS: std::ops::Range<i32> = -2_451_545..2_145_031_949;
const MICROS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

/// The form in which the values of one column travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wire {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    Text,
    /// `character(n)`: compared without the blanks at the end, which are not read.
    Padded,
    Bytea,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Json,
    Jsonb,
    Uuid,
    /// A uuid as its letters.
    SpelledUuid,
    /// A uuid as its 16 bytes.
    UuidBytes,
    /// A whole number in a numeric column.
    Whole,
    /// Any other type, named as SQL writes it without length or precision: travels as text.
    Native(String),
}

impl Wire {
    /// The form of a synced column. A column that cannot be carried is never asked for.
    pub fn of(column: &Column) -> Wire {
        match &column.domain {
            Domain::Text { .. } if column.ty == Type::Uuid => Wire::SpelledUuid,
            Domain::Bytes if column.ty == Type::Uuid => Wire::UuidBytes,
            Domain::Decimal { .. } if column.ty == Type::Int => Wire::Whole,
            Domain::Bool { .. } => Wire::Bool,
            Domain::Int { unsigned: true, .. } => Wire::Oid,
            Domain::Int { bits: 16, .. } => Wire::Int2,
            Domain::Int { bits: 32, .. } => Wire::Int4,
            Domain::Int { .. } => Wire::Int8,
            Domain::Float { bits: 32 } => Wire::Float4,
            Domain::Float { .. } => Wire::Float8,
            Domain::Decimal { .. } => Wire::Numeric,
            Domain::Text { padded: true, .. } => Wire::Padded,
            Domain::Text { .. } => Wire::Text,
            Domain::Bytes => Wire::Bytea,
            Domain::Date { .. } => Wire::Date,
            Domain::Time { .. } => Wire::Time,
            Domain::Timestamp { .. } => Wire::Timestamp,
            Domain::Instant { .. } => Wire::Timestamptz,
            Domain::Json { .. } if column.native == "jsonb" => Wire::Jsonb,
            Domain::Json { .. } => Wire::Json,
            Domain::Uuid => Wire::Uuid,
            Domain::Native(_) | Domain::Loose { .. } | Domain::Unsupported(_) => Wire::Native(column.native.clone()),
        }
    }

    /// The type of the elements of a parameter, its oid and that of its array. Oids of built-in types never change.
    fn element(&self) -> (&'static str, u32, u32) {
        match self {
            Wire::Bool => ("bool", 16, 1000),
            Wire::Int2 => ("int2", 21, 1005),
            Wire::Int4 => ("int4", 23, 1007),
            Wire::Int8 => ("int8", 20, 1016),
            Wire::Oid => ("oid", 26, 1028),
            Wire::Float4 => ("float4", 700, 1021),
            Wire::Float8 => ("float8", 701, 1022),
            Wire::Numeric | Wire::Whole => ("numeric", 1700, 1231),
            Wire::Text | Wire::SpelledUuid | Wire::Native(_) => ("text", 25, 1009),
            Wire::Padded => ("bpchar", 1042, 1014),
            Wire::Bytea | Wire::UuidBytes => ("bytea", 17, 1001),
            Wire::Date => ("date", 1082, 1182),
            Wire::Time => ("time", 1083, 1183),
            Wire::Timestamp => ("timestamp", 1114, 1115),
            Wire::Timestamptz => ("timestamptz", 1184, 1185),
            Wire::Json => ("json", 114, 199),
            Wire::Jsonb => ("jsonb", 3802, 3807),
            Wire::Uuid => ("uuid", 2950, 2951),
        }
    }

    /// Parameter `number` as an array of this form. The type is spelled out so that another type makes another text,
    /// under which the server keeps another plan.
    pub fn parameter(&self, number: usize) -> String {
        format!("${number}::pg_catalog.{}[]", self.element().0)
    }

    /// An element of the parameter as a value of the column.
    pub fn incoming(&self, element: &str) -> String {
        match self {
            Wire::Native(native) => format!("CAST({element} AS {native})"),
            _ => element.to_owned(),
        }
    }

    /// A column as it is read.
    pub fn outgoing(&self, column: &str) -> String {
        match self {
            Wire::Native(_) => format!("{column}::pg_catalog.text"),
            _ => column.to_owned(),
        }
    }

    /// Appends a value in binary form; `false` if it is of another kind than the column.
    pub fn encode(&self, value: &Value, out: &mut Vec<u8>) -> bool {
        macro_rules! narrow {
            ($v:expr, $t:ty) => {
                match <$t>::try_from(*$v) {
                    Ok(v) => out.extend_from_slice(&v.to_be_bytes()),
                    Err(_) => return false,
                }
            };
        }
        match (self, value) {
            (Wire::Bool, Value::Bool(v)) => out.push(u8::from(*v)),
            (Wire::Int2, Value::Int(v)) => narrow!(v, i16),
            (Wire::Int4, Value::Int(v)) => narrow!(v, i32),
            (Wire::Oid, Value::Int(v)) => narrow!(v, u32),
            (Wire::Int8, Value::Int(v)) => out.extend_from_slice(&v.to_be_bytes()),
            (Wire::Time, Value::Time(v)) if (0..=time::DAY).contains(v) => out.extend_from_slice(&v.to_be_bytes()),
            (Wire::Float4, Value::Float(v)) => out.extend_from_slice(&(*v as f32).to_be_bytes()),
            (Wire::Float8, Value::Float(v)) => out.extend_from_slice(&v.to_be_bytes()),
            (Wire::Numeric, Value::Decimal(v)) => return encode_numeric(v.as_str(), out),
            (Wire::Text | Wire::Padded | Wire::Native(_), Value::Text(v)) => out.extend_from_slice(v.as_bytes()),
            (Wire::Bytea, Value::Bytes(v)) => out.extend_from_slice(v),
            (Wire::Date, Value::Date(v)) => {
                let days = match *v {
                    i32::MAX | i32::MIN => Some(*v),
                    days => days.checked_sub(EPOCH_DAYS).filter(|days| DAYS.contains(days)),
                };
                match days {
                    Some(days) => out.extend_from_slice(&days.to_be_bytes()),
                    None => return false,
                }
            }
            (Wire::Timestamp, Value::Timestamp(v)) | (Wire::Timestamptz, Value::Instant(v)) => {
                let micros = match *v {
                    i64::MAX | i64::MIN => Some(*v),
                    micros => micros.checked_sub(EPOCH_MICROS).filter(|micros| MICROS.contains(micros)),
                };
                match micros {
                    Some(micros) => out.extend_from_slice(&micros.to_be_bytes()),
                    None => return false,
                }
            }
            (Wire::Json, Value::Json(v)) => out.extend_from_slice(v.as_str().as_bytes()),
            (Wire::Jsonb, Value::Json(v)) => {
                out.push(1);
                out.extend_from_slice(v.as_str().as_bytes());
            }
            (Wire::Uuid | Wire::UuidBytes, Value::Uuid(v)) => out.extend_from_slice(v),
            (Wire::SpelledUuid, Value::Uuid(v)) => {
                out.extend_from_slice(uuid::Uuid::from_bytes(*v).hyphenated().to_string().as_bytes());
            }
            (Wire::Whole, Value::Int(_) | Value::Uint(_)) => return encode_numeric(&value.to_string(), out),
            _ => return false,
        }
        true
    }

    /// Whether this is the binary form of a type, by its oid. An enum's is its label.
    pub fn is_form_of(&self, oid: i64, is_enum: bool) -> bool {
        const VARCHAR: i64 = 1043;
        match self {
            Wire::Native(_) => is_enum,
            Wire::Text | Wire::SpelledUuid if oid == VARCHAR => true,
            _ => oid == i64::from(self.element().1),
        }
    }

    /// Appends a value of a column with its length, as it stands in a copy.
    pub fn append(&self, column: &Column, value: &Value, out: &mut Vec<u8>) -> Result<()> {
        let at = out.len();
        out.extend_from_slice(&(-1i32).to_be_bytes());
        if *value == Value::Null {
            return Ok(());
        }
        if !self.encode(value, out) {
            return Err(unfit(column, value.kind()));
        }
        let length = i32::try_from(out.len() - at - 4);
        let length = length.map_err(|_| Error::new(ErrorKind::Value, format!("column {}: too large", column.name)))?;
        out[at..at + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// Reads a value in binary form. The error reads after "column … ".
    pub fn decode(&self, bytes: &[u8]) -> std::result::Result<Value, String> {
        let text = || std::str::from_utf8(bytes).map_err(|_| "holds text that is not UTF-8".to_owned());
        Ok(match self {
            Wire::Bool => Value::Bool(fixed::<1>(bytes)? != [0]),
            Wire::Int2 => Value::Int(i16::from_be_bytes(fixed(bytes)?).into()),
            Wire::Int4 => Value::Int(i32::from_be_bytes(fixed(bytes)?).into()),
            Wire::Int8 => Value::Int(i64::from_be_bytes(fixed(bytes)?)),
            Wire::Oid => Value::Int(u32::from_be_bytes(fixed(bytes)?).into()),
            Wire::Float4 => Value::Float(f32::from_be_bytes(fixed(bytes)?).into()),
            Wire::Float8 => Value::Float(f64::from_be_bytes(fixed(bytes)?)),
            Wire::Numeric => Value::Decimal(decode_numeric(bytes)?),
            Wire::Text | Wire::Native(_) => Value::text(text()?),
            Wire::Padded => Value::text(text()?.trim_end_matches(' ')),
            Wire::Bytea => Value::Bytes(bytes.into()),
            Wire::Date => match i32::from_be_bytes(fixed(bytes)?) {
                days @ (i32::MAX | i32::MIN) => Value::Date(days),
                days => Value::Date(days.checked_add(EPOCH_DAYS).ok_or("holds a date that is too late")?),
            },
            Wire::Time => Value::Time(i64::from_be_bytes(fixed(bytes)?)),
            Wire::Timestamp => Value::Timestamp(decode_micros(bytes)?),
            Wire::Timestamptz => Value::Instant(decode_micros(bytes)?),
            Wire::Json => Value::Json(Json::new(text()?)),
            Wire::Jsonb => match bytes.split_first() {
                Some((1, text)) => Value::Json(Json::new(
                    std::str::from_utf8(text).map_err(|_| "holds text that is not UTF-8".to_owned())?,
                )),
                _ => return Err("holds jsonb of an unknown version".to_owned()),
            },
            Wire::Uuid => Value::Uuid(fixed(bytes)?),
            Wire::SpelledUuid => Value::spelled_uuid(text()?)?,
            Wire::UuidBytes => Value::uuid_of_bytes(bytes)?,
            Wire::Whole => Value::whole(&decode_numeric(bytes)?)?,
        })
    }

    /// Reads column `at` of a result.
    pub fn read(&self, row: &PgRow, at: usize) -> std::result::Result<Value, String> {
        let raw = row.try_get_raw(at).map_err(|error| error.to_string())?;
        if raw.is_null() {
            return Ok(Value::Null);
        }
        self.decode(raw.as_bytes().map_err(|error| error.to_string())?)
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> std::result::Result<[u8; N], String> {
    bytes.try_into().map_err(|_| format!("came in {} bytes instead of {N}", bytes.len()))
}

fn decode_micros(bytes: &[u8]) -> std::result::Result<i64, String> {
    match i64::from_be_bytes(fixed(bytes)?) {
        micros @ (i64::MAX | i64::MIN) => Ok(micros),
        micros => micros.checked_add(EPOCH_MICROS).ok_or_else(|| "holds a time that is too late".to_owned()),
    }
}

const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const MINUS_INFINITY: u16 = 0xF000;
const NEGATIVE: u16 = 0x4000;

/// Groups of four digits around the point, with a weight, a sign and the number of digits to show after the point.
fn decode_numeric(bytes: &[u8]) -> std::result::Result<Decimal, String> {
    let broken = || "holds a numeric in an unknown form".to_owned();
    let word = |at: usize| bytes.get(at..at + 2).map(|two| u16::from_be_bytes([two[0], two[1]])).ok_or_else(broken);
    let (groups, weight, sign, scale) =
        (usize::from(word(0)?), i32::from(word(2)? as i16), word(4)?, usize::from(word(6)?));
    let mut text = String::with_capacity(groups * 4 + scale + 3);
    match sign {
        NAN => text.push_str("NaN"),
        INFINITY => text.push_str("Infinity"),
        MINUS_INFINITY => text.push_str("-Infinity"),
        0 | NEGATIVE => {
            if sign == NEGATIVE {
                text.push('-');
            }
            let group = |number: i32| match usize::try_from(number) {
                Ok(at) if at < groups => word(8 + at * 2),
                _ => Ok(0),
            };
            let start = text.len();
            for number in 0..=weight {
                let digits = group(number)?;
                if text.len() == start {
                    if digits > 0 || number == weight {
                        push_four(digits, &mut text);
                        let zeros = text[start..].bytes().take(3).take_while(|digit| *digit == b'0').count();
                        text.drain(start..start + zeros);
                    }
                } else {
                    push_four(digits, &mut text);
                }
            }
            if text.len() == start {
                text.push('0');
            }
            if scale > 0 {
                text.push('.');
                let point = text.len();
                // Groups before the first one kept are zeros.
                let mut number = weight + 1;
                while text.len() < point + scale {
                    push_four(group(number)?, &mut text);
                    number += 1;
                }
                text.truncate(point + scale);
            }
        }
        _ => return Err(broken()),
    }
    Decimal::parse(&text).ok_or_else(broken)
}

/// Appends a group of four digits. Formatting them would take most of the time of reading a table.
fn push_four(group: u16, text: &mut String) {
    for unit in [1000, 100, 10, 1] {
        text.push(char::from(b'0' + (group / unit % 10) as u8));
    }
}

fn encode_numeric(text: &str, out: &mut Vec<u8>) -> bool {
    let mut head = |groups: usize, weight: i16, sign: u16, scale: u16| {
        let Ok(groups) = u16::try_from(groups) else { return false };
        for word in [groups, weight as u16, sign, scale] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        true
    };
    match text {
        "NaN" => return head(0, 0, NAN, 0),
        "Infinity" => return head(0, 0, INFINITY, 0),
        "-Infinity" => return head(0, 0, MINUS_INFINITY, 0),
        _ => {}
    }
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let Ok(scale) = u16::try_from(fraction.len()) else { return false };
    if scale > 0x3FFF {
        return false;
    }
    let mut groups: Vec<u16> = Vec::with_capacity(whole.len() / 4 + fraction.len() / 4 + 2);
    let number = |digits: &[u8]| digits.iter().fold(0u16, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    let (first, rest) = whole.as_bytes().split_at(whole.len() % 4);
    if !first.is_empty() {
        groups.push(number(first));
    }
    groups.extend(rest.chunks(4).map(number));
    let Ok(mut weight) = i16::try_from(groups.len() as i64 - 1) else { return false };
    groups.extend(fraction.as_bytes().chunks(4).map(|four| number(four) * 10u16.pow(4 - four.len() as u32)));
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let zeros = groups.iter().take_while(|&&group| group == 0).count();
    groups.drain(..zeros);
    weight = weight.saturating_sub(zeros as i16);
    if groups.is_empty() {
        weight = 0;
    }
    if !head(groups.len(), weight, if negative && !groups.is_empty() { NEGATIVE } else { 0 }, scale) {
        return false;
    }
    groups.iter().for_each(|group| out.extend_from_slice(&group.to_be_bytes()));
    true
}

/// Parameters of one statement.
#[derive(Default)]
pub struct Args {
    arguments: PgArguments,
    count: usize,
    error: Option<Error>,
}

impl Args {
    pub fn new() -> Args {
        Args::default()
    }

    /// How many parameters there are; the number of the last one.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Adds an ordinary value.
    pub fn add<'t, T: Encode<'t, Postgres> + sqlx::Type<Postgres>>(&mut self, value: T) -> &mut Args {
        self.count += 1;
        if let Err(error) = self.arguments.add(value) {
            self.error.get_or_insert(too_large(&error));
        }
        self
    }

    /// Adds an array of one column's values, written straight into the message.
    pub fn cells<'v>(
        &mut self,
        column: &Column,
        wire: &Wire,
        values: impl Iterator<Item = &'v Value> + Clone,
    ) -> &mut Args {
        let misfit = Cell::new(None);
        self.add(Array {
            element: wire.element().1,
            array: wire.element().2,
            elements: values,
            write: |value: &Value, out: &mut Vec<u8>| match value {
                Value::Null => false,
                value => {
                    if !wire.encode(value, out) {
                        misfit.set(Some(value.kind()));
                    }
                    true
                }
            },
        });
        if let Some(kind) = misfit.get() {
            self.error.get_or_insert(unfit(column, kind));
        }
        self
    }

    /// Adds an array of values that are looked for. One that the column cannot hold becomes NULL, which equals nothing.
    pub fn sought<'v>(
        &mut self,
        column: &Column,
        wire: &Wire,
        values: impl Iterator<Item = &'v Value> + Clone,
    ) -> &mut Args {
        self.add(Array {
            element: wire.element().1,
            array: wire.element().2,
            elements: values,
            write: |value: &Value, out: &mut Vec<u8>| column.domain.holds(value).is_ok() && wire.encode(value, out),
        })
    }

    /// Adds an array of texts, each as `write` appends it; `false` stands for NULL.
    pub fn texts<T>(
        &mut self,
        elements: impl Iterator<Item = T> + Clone,
        write: impl Fn(T, &mut Vec<u8>) -> bool,
    ) -> &mut Args {
        let (_, element, array) = Wire::Text.element();
        self.add(Array { element, array, elements, write })
    }

    /// Adds a 64-bit transaction id.
    pub fn mark(&mut self, mark: i64) -> &mut Args {
        self.add(Ready { oid: 5069, bytes: mark.to_be_bytes().to_vec() })
    }

    /// Adds an array of 64-bit transaction ids.
    pub fn marks(&mut self, marks: impl Iterator<Item = i64> + Clone) -> &mut Args {
        let write = |mark: i64, out: &mut Vec<u8>| {
            out.extend_from_slice(&mark.to_be_bytes());
            true
        };
        self.add(Array { element: 5069, array: 271, elements: marks, write })
    }

    pub fn finish(self) -> Result<PgArguments> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.arguments),
        }
    }
}

fn unfit(column: &Column, kind: &str) -> Error {
    let message = format!("column {} ({}) cannot hold {kind} of this size", column.name, column.native);
    Error::new(ErrorKind::Value, message)
}

fn too_large(error: &BoxDynError) -> Error {
    Error::new(ErrorKind::Value, format!("too large for one statement: {error}"))
}

/// An array parameter that is written as it is sent: `write` appends an element, or answers `false` for NULL.
struct Array<I, W> {
    element: u32,
    array: u32,
    elements: I,
    write: W,
}

impl<I: Iterator + Clone, W: Fn(I::Item, &mut Vec<u8>) -> bool> Array<I, W> {
    fn append(&self, out: &mut Vec<u8>) -> std::result::Result<(), BoxDynError> {
        let start = out.len();
        for word in [1, 0, self.element, 0, 1] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        let (mut count, mut nulls) = (0i32, false);
        for element in self.elements.clone() {
            let at = out.len();
            out.extend_from_slice(&[0xFF; 4]);
            count += 1;
            if (self.write)(element, out) {
                let length = i32::try_from(out.len() - at - 4)?;
                out[at..at + 4].copy_from_slice(&length.to_be_bytes());
            } else {
                nulls = true;
            }
        }
        if count == 0 {
            // An empty array has no dimensions.
            out.truncate(start + 12);
            out[start..start + 4].fill(0);
        } else {
            out[start + 12..start + 16].copy_from_slice(&count.to_be_bytes());
            out[start + 4..start + 8].copy_from_slice(&i32::from(nulls).to_be_bytes());
        }
        Ok(())
    }
}

impl<I, W> sqlx::Type<Postgres> for Array<I, W> {
    fn type_info() -> PgTypeInfo {
        <[u8] as sqlx::Type<Postgres>>::type_info()
    }
}

impl<I: Iterator + Clone, W: Fn(I::Item, &mut Vec<u8>) -> bool> Encode<'_, Postgres> for Array<I, W> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> std::result::Result<IsNull, BoxDynError> {
        self.append(buffer)?;
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(self.array)))
    }

    fn size_hint(&self) -> usize {
        0
    }
}

/// A parameter whose bytes are ready.
struct Ready {
    oid: u32,
    bytes: Vec<u8>,
}

impl sqlx::Type<Postgres> for Ready {
    fn type_info() -> PgTypeInfo {
        <[u8] as sqlx::Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Ready {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> std::result::Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.bytes);
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(self.oid)))
    }

    fn size_hint(&self) -> usize {
        self.bytes.len()
    }
}

/// Reads a 64-bit transaction id.
pub fn read_mark(row: &PgRow, at: usize) -> Result<i64> {
    let raw = row.try_get_raw(at).map_err(super::failure::error)?;
    let bytes = raw.as_bytes().ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(i64::from_be_bytes).ok_or_else(|| Error::new(ErrorKind::Service, "a history entry has no transaction id"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(wire: &Wire, value: &Value) -> Value {
        let mut bytes = Vec::new();
        assert!(wire.encode(value, &mut bytes), "{value:?}");
        wire.decode(&bytes).unwrap()
    }

    proptest! {
        #[test]
        fn numerics_keep_every_digit(text in "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?") {
            let value = Value::Decimal(Decimal::parse(&text).unwrap());
            let Value::Decimal(back) = round_trip(&Wire::Numeric, &value) else { panic!() };
            // PostgreSQL has no negative zero.
            let zero = text.bytes().all(|b| matches!(b, b'-' | b'0' | b'.'));
            let expected = if zero { text.trim_start_matches('-') } else { &text };
            prop_assert_eq!(back.as_str(), expected);
        }

        #[test]
        fn times_keep_every_microsecond(micros in -210_000_000_000_000_000i64..9_000_000_000_000_000_000) {
            let value = Value::Instant(micros);
            prop_assert_eq!(round_trip(&Wire::Timestamptz, &value), value);
        }

        #[test]
        fn floats_keep_every_bit(bits in any::<u64>(), small in any::<u32>()) {
            let value = Value::Float(f64::from_bits(bits));
            prop_assert_eq!(round_trip(&Wire::Float8, &value), value);
            let value = Value::Float(f32::from_bits(small).into());
            prop_assert_eq!(round_trip(&Wire::Float4, &value), value);
        }
    }

    #[test]
    fn extremes_are_infinities_or_refused() {
        for value in [Value::Timestamp(i64::MAX), Value::Timestamp(i64::MIN)] {
            assert_eq!(round_trip(&Wire::Timestamp, &value), value);
        }
        assert_eq!(round_trip(&Wire::Date, &Value::Date(i32::MIN)), Value::Date(i32::MIN));
        for text in ["NaN", "Infinity", "-Infinity", "0.0000", "0.00001000", "10000", "99990000.0001"] {
            let value = Value::Decimal(Decimal::parse(text).unwrap());
            let Value::Decimal(back) = round_trip(&Wire::Numeric, &value) else { panic!() };
            assert_eq!(back.as_str(), text);
        }
        assert!(!Wire::Timestamp.encode(&Value::Timestamp(i64::MIN + 1), &mut Vec::new()));
        let day = |year, month, day| chrono::NaiveDate::from_ymd_opt(year, month, day).unwrap().to_epoch_days();
        assert!(Wire::Date.encode(&Value::Date(day(-4713, 11, 24)), &mut Vec::new()));
        assert!(!Wire::Date.encode(&Value::Date(day(-4713, 11, 23)), &mut Vec::new()));
        let micros = |days: i32| i64::from(days) * 86_400_000_000;
        assert!(Wire::Timestamp.encode(&Value::Timestamp(micros(day(-4713, 11, 24))), &mut Vec::new()));
        assert!(!Wire::Timestamp.encode(&Value::Timestamp(micros(day(-4713, 11, 24)) - 1), &mut Vec::new()));
        assert!(!Wire::Int2.encode(&Value::Int(40_000), &mut Vec::new()));
        assert!(!Wire::Int4.encode(&Value::text("4"), &mut Vec::new()));
        assert!(Wire::Timestamp.decode(&(i64::MAX - 1).to_be_bytes()).is_err());
    }

    #[test]
    fn small_forms() {
        assert_eq!(Wire::Padded.decode(b"ab  "), Ok(Value::text("ab")));
        assert_eq!(Wire::Jsonb.decode(b"\x01{}"), Ok(Value::Json(Json::new("{}"))));
        assert!(Wire::Uuid.decode(b"short").is_err());
        assert_eq!(round_trip(&Wire::Bytea, &Value::Bytes([0, 255].into())), Value::Bytes([0, 255].into()));
    }

    #[test]
    fn arrays_know_their_nulls_and_their_emptiness() {
        let bytes = |elements: &[Option<&str>]| {
            let mut out = vec![9];
            let write = |element: &Option<&str>, out: &mut Vec<u8>| {
                out.extend_from_slice(element.unwrap_or_default().as_bytes());
                element.is_some()
            };
            Array { element: 25, array: 1009, elements: elements.iter(), write }.append(&mut out).unwrap();
            out.split_off(1)
        };
        let array = bytes(&[None, Some("x")]);
        assert_eq!(array[..20], [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 25, 0, 0, 0, 2, 0, 0, 0, 1]);
        assert_eq!(array[20..], [255, 255, 255, 255, 0, 0, 0, 1, b'x']);
        assert_eq!(bytes(&[]), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 25]);
    }
}
