//! Values as JSON, without loss: how rows are kept in the journal and among the parked rows, and shown by `--json`.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value as Document};

use super::domain::Type;
use super::time;
use super::value::{Decimal, Json, Key, Row, Value};
use crate::digest::hexadecimal;

/// A value as JSON. Together with the type it travels in (or by itself, for [`Type::Any`]) it can be read back exactly.
///
/// Numbers are JSON numbers, decimals and everything that JSON lacks are strings, bytes are `{"hex": "…"}`.
pub fn value_to_json(value: &Value) -> Document {
    match serde_json::to_value(Told(value)) {
        Ok(document) => document,
        Err(error) => unreachable!("no value is without a JSON form: {error}"),
    }
}

/// Appends an array of the values as [`value_to_json`] has them, without building the document.
pub fn write_json(values: &[Value], out: &mut Vec<u8>) {
    let mut separator = b'[';
    for value in values {
        out.push(separator);
        separator = b',';
        write_value(value, out);
    }
    if values.is_empty() {
        out.push(separator);
    }
    out.push(b']');
}

/// Appends a value as [`value_to_json`] has it.
pub fn write_value(value: &Value, out: &mut Vec<u8>) {
    if let Err(error) = serde_json::to_writer(out, &Told(value)) {
        unreachable!("no value is without a JSON form: {error}");
    }
}

/// A value on its way into a document.
struct Told<'a>(&'a Value);

/// An object of one member.
fn member<S: Serializer>(to: S, name: &str, value: &(impl Serialize + ?Sized)) -> Result<S::Ok, S::Error> {
    let mut members = to.serialize_map(Some(1))?;
    members.serialize_entry(name, value)?;
    members.end()
}

impl Serialize for Told<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => to.serialize_unit(),
            Value::Bool(v) => to.serialize_bool(*v),
            Value::Int(v) => to.serialize_i64(*v),
            Value::Uint(v) => to.serialize_u64(*v),
            // A float that JSON would print like an integer, or cannot print, keeps its kind in an object.
            Value::Float(v) if v.is_finite() => member(to, "float", v),
            Value::Float(v) => member(to, "float", &v.to_string()),
            Value::Decimal(v) => to.serialize_str(v.as_str()),
            Value::Text(v) => to.serialize_str(v),
            Value::Bytes(v) => member(to, "hex", &hexadecimal(v)),
            Value::Json(v) => member(to, "json", v.as_str()),
            Value::Date(_) | Value::Time(_) | Value::Timestamp(_) | Value::Instant(_) | Value::Uuid(_) => {
                to.collect_str(self.0)
            }
        }
    }
}

/// The inverse of [`value_to_json`]; `None` if the document is not such a value of this type.
pub fn value_from_json(ty: &Type, document: &Document) -> Option<Value> {
    Some(match (ty, document) {
        (_, Document::Null) => Value::Null,
        (Type::Bool, Document::Bool(v)) | (Type::Any, Document::Bool(v)) => Value::Bool(*v),
        (Type::Bool, Document::Number(v)) => Value::Int(v.as_i64().filter(|v| !(0..=1).contains(v))?),
        (Type::Int | Type::Any, Document::Number(v)) => match v.as_i64() {
            Some(v) => Value::Int(v),
            None => Value::Uint(v.as_u64()?),
        },
        (Type::Decimal, Document::String(v)) => Value::Decimal(Decimal::parse(v)?),
        (Type::Text | Type::Native(_) | Type::Any, Document::String(v)) => Value::text(v.as_str()),
        (Type::Date, Document::String(v)) => Value::Date(time::parse_date(v)?),
        (Type::Time, Document::String(v)) => Value::Time(time::parse_time(v)?),
        (Type::Timestamp, Document::String(v)) => Value::Timestamp(time::parse_timestamp(v)?),
        (Type::Instant, Document::String(v)) => Value::Instant(time::parse_instant(v)?),
        (Type::Uuid, Document::String(v)) => Value::Uuid(*uuid::Uuid::parse_str(v).ok()?.as_bytes()),
        (Type::Float | Type::Any, Document::Object(members)) if members.contains_key("float") => {
            match &members["float"] {
                Document::Number(v) => Value::Float(v.as_f64()?),
                Document::String(v) => Value::Float(v.parse().ok()?),
                _ => return None,
            }
        }
        (Type::Bytes | Type::Any, Document::Object(members)) if members.contains_key("hex") => {
            let digits = members["hex"].as_str()?.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8));
            let digits = digits.collect::<Option<Vec<u8>>>()?;
            let (pairs, []) = digits.as_chunks::<2>() else { return None };
            Value::Bytes(pairs.iter().map(|[high, low]| high << 4 | low).collect())
        }
        (Type::Json | Type::Any, Document::Object(members)) if members.contains_key("json") => {
            Value::Json(Json::new(members["json"].as_str()?))
        }
        _ => return None,
    })
}

/// [`value_from_json`] for what a person wrote: nobody has looked yet whether a JSON document is one.
pub fn written_value_from_json(ty: &Type, document: &Document) -> Option<Value> {
    value_from_json(ty, document).filter(|value| !matches!(value, Value::Json(json) if !json.is_json()))
}

/// A value of a key or an image as JSON. Where columns bind no type it may be none of its column's; then it says so, lest it be
/// read back as the value that is spelled alike.
pub fn key_value_to_json(ty: &Type, value: &Value) -> Document {
    let document = value_to_json(value);
    if ty.has(value) { document } else { Document::Object(Map::from_iter([(AS_IT_IS.to_owned(), document)])) }
}

/// A value on its way into a document as [`key_value_to_json`] has it, with its column's type.
pub struct KeyValue<'a>(pub &'a Type, pub &'a Value);

impl Serialize for KeyValue<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let KeyValue(ty, value) = self;
        if ty.has(value) { Told(value).serialize(to) } else { member(to, AS_IT_IS, &Told(value)) }
    }
}

/// The inverse of [`key_value_to_json`].
pub fn key_value_from_json(ty: &Type, document: &Document) -> Option<Value> {
    match document.get(AS_IT_IS) {
        Some(document) => value_from_json(&Type::Any, document),
        None => value_from_json(ty, document),
    }
}

/// A key that was kept of a table whose key is another by now, so that it can be told of: the values as they were written.
pub fn former_key(text: &str) -> Option<Key> {
    let cells: Vec<Document> = serde_json::from_str(text).ok()?;
    cells.iter().map(|cell| key_value_from_json(&Type::Any, cell)).collect()
}

const AS_IT_IS: &str = "raw";

/// A row as an object, a member for each column.
pub fn row_to_json<'a>(names: impl IntoIterator<Item = &'a str>, row: &[Value]) -> Document {
    Document::Object(names.into_iter().zip(row).map(|(name, value)| (name.to_owned(), value_to_json(value))).collect())
}

/// The inverse of [`row_to_json`]; a member that is missing is NULL.
pub fn row_from_json<'a>(
    columns: impl IntoIterator<Item = (&'a str, &'a Type)>,
    members: &Map<String, Document>,
) -> Option<Row> {
    columns.into_iter().map(|(name, ty)| value_from_json(ty, members.get(name).unwrap_or(&Document::Null))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = (Type, Value)> {
        prop_oneof![
            any::<i64>().prop_map(|v| (Type::Int, Value::Int(v))),
            (i64::MAX as u64 + 1..).prop_map(|v| (Type::Int, Value::Uint(v))),
            any::<f64>().prop_map(|v| (Type::Float, Value::Float(v))),
            any::<u64>().prop_map(|bits| (Type::Any, Value::Float(f64::from_bits(bits)))),
            (any::<i64>(), 0..9usize)
                .prop_map(|(v, s)| (Type::Decimal, Value::Decimal(Decimal::from_unscaled(v.into(), s)))),
            ".*".prop_map(|v| (Type::Text, Value::text(v))),
            ".*".prop_map(|v| (Type::Any, Value::text(v))),
            prop::collection::vec(any::<u8>(), 0..20).prop_map(|v| (Type::Any, Value::Bytes(v.into()))),
            (-700_000..2_000_000i32).prop_map(|v| (Type::Date, Value::Date(v))),
            (-60_000_000_000_000_000..200_000_000_000_000_000i64).prop_map(|v| (Type::Instant, Value::Instant(v))),
            // All that PostgreSQL has.
            (-2_440_588..=2_145_042_905i32).prop_map(|v| (Type::Date, Value::Date(v))),
            (-210_866_803_200_000_000..=i64::MAX).prop_map(|v| (Type::Timestamp, Value::Timestamp(v))),
            any::<[u8; 16]>().prop_map(|v| (Type::Uuid, Value::Uuid(v))),
            (2..=127i64).prop_map(|v| (Type::Bool, Value::Int(v))),
            (-time::LONGEST..=time::LONGEST).prop_map(|v| (Type::Time, Value::Time(v))),
            (0..13, 0..32).prop_map(|(month, day)| {
                let text = format!("2023-{month:02}-{day:02} 01:02:03");
                (Type::Timestamp, Value::Timestamp(time::parse_timestamp(&text).unwrap()))
            }),
        ]
    }

    #[test]
    fn what_a_person_wrote_as_json_has_to_be_json() {
        let read = |text: &str| {
            [Type::Json, Type::Any]
                .map(|ty| written_value_from_json(&ty, &serde_json::json!({ "json": text })).is_some())
        };
        let deep = "[".repeat(500) + &"]".repeat(500);
        for text in ["null", " {\"a\": [1e999, \"\\ud800\"]} ", &deep] {
            assert_eq!(read(text), [true; 2], "{text}");
        }
        for text in ["", "no json", "{}{}", "'a'", "[1,]"] {
            assert_eq!(read(text), [false; 2], "{text}");
        }
    }

    proptest! {
        #[test]
        fn values_survive_the_text_of_a_document((ty, value) in values()) {
            let text = value_to_json(&value).to_string();
            let back = value_from_json(&ty, &serde_json::from_str(&text).unwrap());
            prop_assert_eq!(back, Some(value), "{}", text);
        }

        #[test]
        fn values_of_keys_stay_what_they_are((ty, _) in values(), text in ".*", bytes: Vec<u8>, number: i64, float: f64) {
            for value in [Value::text(text), Value::Bytes(bytes.into()), Value::Int(number), Value::Float(float)] {
                let text = key_value_to_json(&ty, &value).to_string();
                prop_assert_eq!(&serde_json::to_string(&KeyValue(&ty, &value)).unwrap(), &text);
                let back = key_value_from_json(&ty, &serde_json::from_str(&text).unwrap());
                prop_assert_eq!(back, Some(value), "{} as {}", text, ty);
            }
        }

        #[test]
        fn bytes_are_pairs_of_digits(text in "[0-9a-fA-F]{0,8}") {
            let read = |text: &str| value_from_json(&Type::Bytes, &serde_json::json!({ "hex": text }));
            match text.len() % 2 {
                0 => {
                    let back = value_to_json(&read(&text).unwrap());
                    prop_assert_eq!(back, serde_json::json!({ "hex": text.to_lowercase() }));
                }
                _ => prop_assert_eq!(read(&text), None),
            }
            for other in ["+f", "-1", " 1", "0x", "é"] {
                prop_assert_eq!(read(&format!("{text}{other}")), None);
            }
        }

        #[test]
        fn written_values_are_the_text_of_their_documents(list in prop::collection::vec(values(), 0..4)) {
            let list: Vec<Value> = list.into_iter().map(|(_, value)| value).collect();
            let mut text = Vec::new();
            write_json(&list, &mut text);
            let document = Document::Array(list.iter().map(value_to_json).collect());
            prop_assert_eq!(String::from_utf8(text).unwrap(), document.to_string());
        }
    }
}
