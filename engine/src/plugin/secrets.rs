//! What of a plugin's configuration is shown: all but what its schema marks with `writeOnly`.

use serde_json::{Map, Value as Document};

/// What stands for a secret.
const HIDDEN: &str = "…";

/// A configuration without its secrets. Whatever may be one is: of alternatives each is taken to hold.
pub(super) fn shown(schema: &Document, config: &Document) -> Document {
    part(schema, vec![schema], config)
}

/// A part of it, to which some schemas may apply.
fn part<'a>(root: &'a Document, schemas: Vec<&'a Document>, value: &Document) -> Document {
    let Some(rules) = applying(root, schemas) else { return Document::from(HIDDEN) };
    match value {
        Document::Object(members) => {
            let member = |(name, value): (&String, &Document)| {
                (name.clone(), part(root, rules.iter().flat_map(|rules| of_member(rules, name)).collect(), value))
            };
            Document::Object(members.iter().map(member).collect())
        }
        Document::Array(items) => {
            let item = |(at, value): (usize, &Document)| {
                part(root, rules.iter().flat_map(|rules| of_item(rules, at)).collect(), value)
            };
            Document::Array(items.iter().enumerate().map(item).collect())
        }
        value => value.clone(),
    }
}

/// These schemas and all that they take in; `None` if one of them says that it is a secret, or cannot be found.
fn applying<'a>(root: &'a Document, mut left: Vec<&'a Document>) -> Option<Vec<&'a Map<String, Document>>> {
    let mut found: Vec<&Map<String, Document>> = Vec::new();
    while let Some(schema) = left.pop() {
        let Some(rules) = schema.as_object() else { continue };
        // Schemas may refer to each other.
        if found.iter().any(|known| std::ptr::eq(*known, rules)) {
            continue;
        }
        found.push(rules);
        for (keyword, rule) in rules {
            match keyword.as_str() {
                "writeOnly" if *rule == true => return None,
                "$ref" | "$dynamicRef" => left.push(root.pointer(rule.as_str()?.strip_prefix('#')?)?),
                "allOf" | "anyOf" | "oneOf" => left.extend(rule.as_array().into_iter().flatten()),
                "if" | "then" | "else" | "not" => left.push(rule),
                "dependentSchemas" => left.extend(rule.as_object().into_iter().flat_map(Map::values)),
                _ => {}
            }
        }
    }
    Some(found)
}

/// What a schema has to say about a member of an object.
fn of_member<'a>(rules: &'a Map<String, Document>, name: &str) -> Vec<&'a Document> {
    let mut schemas: Vec<&Document> = Vec::new();
    match rules.get("properties").and_then(|properties| properties.get(name)) {
        Some(schema) => schemas.push(schema),
        None => {
            schemas.extend(["additionalProperties", "unevaluatedProperties"].iter().filter_map(|of| rules.get(*of)))
        }
    }
    let patterns = rules.get("patternProperties").and_then(Document::as_object);
    schemas.extend(patterns.into_iter().flat_map(Map::values));
    schemas
}

/// What a schema has to say about an item of a list.
fn of_item(rules: &Map<String, Document>, at: usize) -> Vec<&Document> {
    let prefix = rules.get("prefixItems").and_then(|schemas| schemas.get(at));
    prefix.into_iter().chain(["items", "contains", "unevaluatedItems"].iter().filter_map(|of| rules.get(*of))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_marked_is_hidden_wherever_it_stands() {
        let secret = json!({"writeOnly": true});
        for (schema, config, expected) in [
            (json!({"properties": {"key": secret}}), json!({"key": "s", "n": 1}), json!({"key": "…", "n": 1})),
            (secret.clone(), json!({"key": "s"}), json!("…")),
            (json!({"properties": {"key": {"writeOnly": false}}}), json!({"key": 1}), json!({"key": 1})),
            (json!({"additionalProperties": secret}), json!({"a": ["s"]}), json!({"a": "…"})),
            (
                json!({"properties": {"a": true}, "additionalProperties": secret}),
                json!({"a": 1, "b": 2}),
                json!({"a": 1, "b": "…"}),
            ),
            (
                json!({"properties": {"list": {"items": {"properties": {"key": secret}}}}}),
                json!({"list": [{"key": "s", "n": 1}, 2]}),
                json!({"list": [{"key": "…", "n": 1}, 2]}),
            ),
            (json!({"prefixItems": [true, secret]}), json!([1, 2, 3]), json!([1, "…", 3])),
            // Whether it matches, or which alternative holds, is not asked.
            (json!({"patternProperties": {"^k": secret}}), json!({"key": "s"}), json!({"key": "…"})),
            (json!({"anyOf": [{"properties": {"key": secret}}, true]}), json!({"key": "s"}), json!({"key": "…"})),
            (json!({"if": true, "else": {"properties": {"key": secret}}}), json!({"key": "s"}), json!({"key": "…"})),
            (
                json!({"properties": {"to": {"$ref": "#/$defs/to"}}, "$defs": {"to": {"properties": {"key": secret}}}}),
                json!({"to": {"key": "s", "n": 1}}),
                json!({"to": {"key": "…", "n": 1}}),
            ),
            // One that refers to itself, and one to what is not found so easily.
            (
                json!({"properties": {"next": {"$ref": "#"}, "key": secret}}),
                json!({"next": {"next": {"key": "s"}}}),
                json!({"next": {"next": {"key": "…"}}}),
            ),
            (json!({"properties": {"to": {"$ref": "#anchor"}}}), json!({"to": 1}), json!({"to": "…"})),
            (json!({"allOf": [{"$ref": "#"}]}), json!({"n": 1}), json!({"n": 1})),
        ] {
            assert_eq!(shown(&schema, &config), expected, "{schema}");
        }
    }
}
