//! A plugin's configuration against the JSON Schema that it describes.

use std::fmt;

use jsonschema::Validator;
use serde_json::Value as Document;

/// What a configuration has to look like.
pub(super) struct Schema(Validator);

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schema")
    }
}

/// Problems that are told of one configuration, at most.
const TOLD: usize = 5;

impl Schema {
    /// `None` for a plugin that takes no configuration; or why the text is no schema.
    pub fn parse(text: &str) -> Result<Option<Schema>, String> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        let document: Document =
            serde_json::from_str(text).map_err(|why| format!("the schema of its configuration is no JSON: {why}"))?;
        match jsonschema::draft202012::new(&document) {
            Ok(validator) => Ok(Some(Schema(validator))),
            Err(why) => Err(format!("the schema of its configuration is no JSON Schema: {why}")),
        }
    }

    /// What is wrong with a configuration, in words.
    pub fn problems(&self, config: &Document) -> Vec<String> {
        let told = |problem: jsonschema::ValidationError<'_>| {
            let at = problem.instance_path().to_string();
            match at.as_str() {
                "" => problem.to_string(),
                at => format!("`{}`: {problem}", at.trim_start_matches('/').replace('/', ".")),
            }
        };
        self.0.iter_errors(config).take(TOLD).map(told).collect()
    }
}

/// What is wrong with the configuration of a plugin that describes this schema.
pub(super) fn misfits(schema: Option<&Schema>, config: &str) -> Vec<String> {
    let document: Document = match serde_json::from_str(config) {
        Ok(document) => document,
        Err(why) => return vec![format!("it is no JSON: {why}")],
    };
    match schema {
        Some(schema) => schema.problems(&document),
        None => match document.as_object().and_then(|members| members.keys().next()) {
            Some(name) => vec![format!("`{name}`: the plugin takes no configuration")],
            None => Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_fits_its_schema_or_is_told_why_not() {
        let schema = Schema::parse(
            r#"{"type": "object", "additionalProperties": false, "required": ["n"],
                "properties": {"n": {"type": "integer", "maximum": 9007199254740993}, "how": {"enum": ["a", "b"]}}}"#,
        );
        let schema = schema.unwrap();
        assert_eq!(misfits(schema.as_ref(), r#"{"n": 5, "how": "a"}"#), Vec::<String>::new());
        let said = misfits(schema.as_ref(), r#"{"n": "x", "hwo": 1}"#).join("; ");
        assert!(said.contains("`n`: \"x\" is not of type \"integer\"") && said.contains("'hwo'"), "{said}");
        assert!(misfits(schema.as_ref(), r#"{"n": 1.5}"#)[0].contains("1.5"));
        assert_eq!(misfits(None, "{}"), Vec::<String>::new());
        assert_eq!(misfits(None, r#"{"a": 1}"#), ["`a`: the plugin takes no configuration"]);
        assert!(Schema::parse("{").unwrap_err().contains("no JSON"));
        assert!(Schema::parse(r#"{"type": "thing"}"#).unwrap_err().contains("no JSON Schema"));
        assert!(Schema::parse("").unwrap().is_none());
    }

    #[test]
    fn a_schema_refers_to_nothing_outside() {
        assert!(Schema::parse(r#"{"$ref": "http://example.org/schema.json"}"#).is_err());
        assert!(Schema::parse(r#"{"$ref": "file:///etc/passwd"}"#).is_err());
    }
}
