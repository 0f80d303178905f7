//! JSON arrays as sets.

use concord_plugin::Value;
use concord_plugin::value::same_document;
use serde_json::Value as Document;

/// The elements of all these arrays, each once however it is written, in the order in which they are first met. NULL is an empty
/// array, unless all are NULL.
pub fn union<'a>(values: impl Iterator<Item = &'a Value>) -> Result<Value, String> {
    let mut elements: Vec<Document> = Vec::new();
    let mut kind: Option<&Value> = None;
    for value in values {
        let (Value::Json(text) | Value::Text(text)) = value else {
            if value.is_null() {
                continue;
            }
            return Err("there are values that are no JSON".to_owned());
        };
        kind = kind.or(Some(value));
        let Ok(Document::Array(list)) = serde_json::from_str(text) else {
            return Err("there are values that are no JSON arrays".to_owned());
        };
        for element in list {
            if !elements.iter().any(|known| same_document(known, &element)) {
                elements.push(element);
            }
        }
    }
    let text = || Document::Array(elements).to_string();
    Ok(match kind {
        None => Value::Null,
        Some(Value::Json(_)) => Value::Json(text()),
        Some(_) => Value::Text(text()),
    })
}
