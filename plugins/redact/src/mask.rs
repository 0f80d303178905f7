//! What is shown in place of a value.

use concord_plugin::{Column, Kind, Value};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value as Document;
use sha2::Sha256;

pub enum Mask {
    /// So many hexadecimal digits of its hash.
    Hash(Hmac<Sha256>, usize),
    /// So many of its last characters.
    Last(usize),
    Value(Value),
    Null,
}

/// Why a column cannot be masked so.
pub struct Refusal {
    pub code: &'static str,
    pub message: String,
}

fn refusal(code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { code, message: message.into() }
}

/// In place of all characters that are not shown, however many, since their number tells as well.
const STARS: &str = "****";

impl Mask {
    pub fn read(document: &Document, column: &Column, key: Option<&str>) -> Result<Mask, Refusal> {
        if column.key {
            return Err(refusal("key", "masks the key, by which the others know the row"));
        }
        let of = |name: &str| document.get(name);
        let number = |document: &Document| document.as_u64().and_then(|number| usize::try_from(number).ok());
        let only = |kinds: &[Kind]| match kinds.contains(&column.kind()) {
            true => Ok(()),
            false => Err(refusal("kind", format!("is not for a column that holds {}", column.kind))),
        };
        match (document.as_str(), of("hash"), of("last"), of("value")) {
            (Some("null"), ..) => Ok(Mask::Null),
            (Some("hash"), ..) | (_, Some(_), ..) => {
                // Of the others the same value may be written in several ways.
                only(&[Kind::Text, Kind::Integer, Kind::Decimal, Kind::Bytes, Kind::Date, Kind::Uuid])?;
                let key = key.ok_or_else(|| refusal("key", "is hashed, and there is no `key` to hash it with"))?;
                let hmac = Hmac::new_from_slice(key.as_bytes()).map_err(|_| refusal("key", "cannot be hashed"))?;
                Ok(Mask::Hash(hmac, of("hash").and_then(number).unwrap_or(64)))
            }
            (_, _, Some(last), _) => {
                only(&[Kind::Text])?;
                number(last).map(Mask::Last).ok_or_else(|| refusal("value", "shows no number of characters"))
            }
            (_, _, _, Some(value)) => Value::from_json(value, column.kind())
                .map(Mask::Value)
                .ok_or_else(|| refusal("value", format!("is to show what is no value of kind {}", column.kind))),
            _ => Err(refusal("mask", "names no mask")),
        }
    }

    /// The kind of what it shows, if not that of the column.
    pub fn kind(&self) -> Option<&'static str> {
        match self {
            Mask::Hash(..) | Mask::Last(_) => Some("text"),
            Mask::Value(_) | Mask::Null => None,
        }
    }

    pub fn is_keyed(&self) -> bool {
        matches!(self, Mask::Hash(..))
    }

    /// What is shown of a value. NULL is nothing to hide.
    pub fn of(&self, value: &Value) -> Value {
        if value.is_null() {
            return Value::Null;
        }
        match self {
            Mask::Null => Value::Null,
            Mask::Value(value) => value.clone(),
            Mask::Last(shown) => Value::Text(last(value.as_text().unwrap_or_default(), *shown)),
            Mask::Hash(hmac, digits) => {
                let mut hmac = hmac.clone();
                hmac.update(&written(value));
                let hash = hmac.finalize().into_bytes();
                let mut text: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
                text.truncate(*digits);
                Value::Text(text)
            }
        }
    }
}

/// The last characters behind stars; of a text that has no more than these, none.
fn last(text: &str, shown: usize) -> String {
    let hidden = text.chars().count().saturating_sub(shown);
    let shown: String = if hidden == 0 { String::new() } else { text.chars().skip(hidden).collect() };
    format!("{STARS}{shown}")
}

/// What is hashed: the same for all ways in which a database may write a value.
fn written(value: &Value) -> Vec<u8> {
    match value {
        Value::Text(text) | Value::Uuid(text) => text.clone().into_bytes(),
        Value::Bytes(bytes) => bytes.clone(),
        Value::Decimal(text) => {
            let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text };
            if text == "-0" { b"0".to_vec() } else { text.into() }
        }
        Value::Date(days) => days.to_string().into_bytes(),
        other => other.as_integer().map(|number| number.to_string()).unwrap_or_default().into_bytes(),
    }
}
