//! A plugin's configuration against the JSON Schema that it describes.

use std::fmt;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::Value as Document;

use super::secrets;

/// What a configuration has to look like.
pub(super) struct Schema {
    validator: Validator,
    document: Document,
}

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
            Ok(validator) => Ok(Some(Schema { validator, document })),
            Err(why) => {
                let place = within(&why.instance_path().to_string());
                Err(format!("the schema of its configuration is no JSON Schema: {place}{why}"))
            }
        }
    }

    /// A configuration without its secrets.
    pub fn shown(&self, config: &Document) -> Document {
        secrets::shown(&self.document, config)
    }

    /// What is wrong with a configuration, in words that tell no secret.
    pub fn problems(&self, config: &Document) -> Vec<String> {
        let shown = self.shown(config);
        self.validator.iter_errors(config).take(TOLD).map(|problem| self.told(&problem, config, &shown)).collect()
    }

    /// One problem of a configuration, of which `shown` has no secrets.
    fn told(&self, problem: &ValidationError<'_>, config: &Document, shown: &Document) -> String {
        let path = problem.instance_path().to_string();
        let (is, may) = (config.pointer(&path), shown.pointer(&path));
        let Some(may) = may.filter(|may| may.is_object() || is == Some(*may)) else {
            // The names of what stands in a secret are a part of it.
            let mut path = path.as_str();
            while shown.pointer(path).is_none() {
                path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            }
            return format!("{}it does not fit ({})", within(path), problem.kind().keyword());
        };
        let place = within(&path);
        match problem.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let known = self.known_beside(&problem.schema_path().to_string());
                format!("{place}{} cannot stand here{known}", quoted(unexpected.iter().map(String::as_str)))
            }
            ValidationErrorKind::Required { property } => match property.as_str() {
                Some(name) => format!("{place}`{name}` is missing"),
                None => format!("{place}{problem}"),
            },
            ValidationErrorKind::Enum { options: Document::Array(options) } => {
                let stands = if is == Some(may) { may.to_string() } else { "what stands here".to_owned() };
                let options: Vec<String> = options.iter().map(Document::to_string).collect();
                format!("{place}{stands} is none of {}", options.join(", "))
            }
            ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context } => {
                // What is meant is rather a form of the kind that stands there.
                let is_alike = |problems: &&Vec<ValidationError<'static>>| {
                    !problems.iter().any(|inner| inner.instance_path().to_string() == path && is_unlike(inner, may))
                };
                let any_alike = context.iter().any(|problems| is_alike(&problems));
                let forms = context.iter().filter(|problems| !any_alike || is_alike(problems));
                let told = |problems: &Vec<ValidationError<'static>>| {
                    let told: Vec<String> =
                        problems.iter().take(TOLD).map(|problem| self.told(problem, config, shown)).collect();
                    told.join(" and ")
                };
                forms.map(told).collect::<Vec<_>>().join("; or ")
            }
            ValidationErrorKind::OneOfMultipleValid { context } => {
                let forms = self.document.pointer(&problem.schema_path().to_string());
                let named = |(at, problems): (usize, &Vec<ValidationError<'static>>)| {
                    let names = forms?.get(at)?.get("required")?.as_array()?.iter().filter_map(Document::as_str);
                    problems.is_empty().then(|| quoted(names).replace(", ", " and "))
                };
                let named: Vec<String> = context.iter().enumerate().filter_map(named).collect();
                let named = if named.len() > 1 { format!(": {}", named.join(", or ")) } else { String::new() };
                format!("{place}it is more than one form at once, of which one is to be left{named}")
            }
            ValidationErrorKind::MinProperties { limit: 1 } => {
                format!("{place}nothing stands here{}", self.known_beside(&problem.schema_path().to_string()))
            }
            _ if is != Some(may) => format!("{place}{}", problem.masked()),
            _ => format!("{place}{problem}"),
        }
    }

    /// What can stand where the rule at this place of the schema found something else, as far as that is known.
    fn known_beside(&self, rule: &str) -> String {
        let parent = rule.rsplit_once('/').and_then(|(parent, _)| self.document.pointer(parent));
        match parent.and_then(|parent| parent.get("properties")?.as_object()) {
            Some(known) if known.is_empty() => ", nor can anything else".to_owned(),
            Some(known) => format!("; what can: {}", quoted(known.keys().map(String::as_str))),
            None => String::new(),
        }
    }
}

/// Whether a form is for values of another kind than the one that stands there.
fn is_unlike(problem: &ValidationError<'_>, stands: &Document) -> bool {
    match problem.kind() {
        ValidationErrorKind::Type { .. } => true,
        ValidationErrorKind::Enum { .. } => stands.is_object() || stands.is_array(),
        _ => false,
    }
}

/// A place in a document, before what there is to say about it.
fn within(path: &str) -> String {
    match path {
        "" => String::new(),
        path => format!("`{}`: ", path.trim_start_matches('/').replace('/', ".")),
    }
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
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
        assert!(said.contains("`n`: \"x\" is not of type \"integer\""), "{said}");
        // Whoever misspells a key is told what there is.
        assert!(said.contains("`hwo` cannot stand here; what can: `n`, `how`"), "{said}");
        assert_eq!(misfits(schema.as_ref(), "{}"), ["`n` is missing"]);
        assert!(misfits(schema.as_ref(), r#"{"n": 1.5}"#)[0].contains("1.5"));
        assert_eq!(misfits(None, "{}"), Vec::<String>::new());
        assert_eq!(misfits(None, r#"{"a": 1}"#), ["`a`: the plugin takes no configuration"]);
        assert!(Schema::parse("{").unwrap_err().contains("no JSON"));
        let why = Schema::parse(r#"{"properties": {"n": {"type": "thing"}}}"#).unwrap_err();
        assert!(why.contains("no JSON Schema: `properties.n.type`: "), "{why}");
        assert!(Schema::parse("").unwrap().is_none());
    }

    /// Whoever misspells one of several forms is told what there is.
    #[test]
    fn what_fits_none_of_several_forms_is_told_by_the_form_that_was_meant() {
        let schema = Schema::parse(
            r##"{"type": "object", "anyOf": [{"required": ["fields"]}, {"required": ["groups", "rule"]}],
                "properties": {"fields": {"additionalProperties": {"$ref": "#/$defs/rule"}}},
                "$defs": {"rule": {"oneOf": [
                    {"enum": ["latest", "earliest", "max", "min"]},
                    {"type": "object", "additionalProperties": false, "required": ["prefer"],
                     "properties": {"prefer": {"type": "array"}, "most": {"type": "integer", "minimum": 8}}}]}}}"##,
        );
        let schema = schema.unwrap();
        for (config, expected) in [
            (
                r#"{"fields": {"mx": "maximum"}}"#,
                r#"`fields.mx`: "maximum" is none of "latest", "earliest", "max", "min""#,
            ),
            (r#"{"fields": {"mx": {}}}"#, "`fields.mx`: `prefer` is missing"),
            (
                r#"{"fields": {"mx": {"prefer": [], "prefre": 1}}}"#,
                "`fields.mx`: `prefre` cannot stand here; what can: `prefer`, `most`",
            ),
            (r#"{"fields": {"mx": {"prefer": [], "most": 4}}}"#, "`fields.mx.most`: 4 is less than the minimum of 8"),
            ("{}", "`fields` is missing; or `groups` is missing and `rule` is missing"),
        ] {
            assert_eq!(misfits(schema.as_ref(), config), [expected], "{config}");
        }
    }

    /// What the file has to say is told in its words, and not in those of JSON Schema.
    #[test]
    fn two_forms_at_once_and_nothing_at_all_are_told_by_what_can_be_said() {
        let schema = Schema::parse(
            r#"{"type": "object", "minProperties": 1, "oneOf": [{"required": ["of", "slot"]}, {"required": ["prefix", "others"]}, {}],
                "properties": {"of": {}, "slot": {}, "prefix": {}, "others": {}, "any": {"oneOf": [{}, {}]}, "columns": {"minProperties": 1}}}"#,
        );
        let schema = schema.unwrap();
        let said = |config: &str| misfits(schema.as_ref(), config).join("; ");
        assert_eq!(
            said(r#"{"of": 2, "slot": 0, "prefix": "A", "others": ["B"]}"#),
            "it is more than one form at once, of which one is to be left: `of` and `slot`, or `prefix` and `others`"
        );
        let any = "`any`: it is more than one form at once, of which one is to be left";
        assert_eq!(said(r#"{"any": 1}"#), any);
        assert_eq!(said(r#"{"columns": {}}"#), "`columns`: nothing stands here");
        let nothing = "nothing stands here; what can: `of`, `slot`, `prefix`, `others`, `any`, `columns`";
        assert_eq!(said("{}"), nothing);
    }

    #[test]
    fn no_problem_tells_a_secret() {
        let schema = Schema::parse(
            r##"{"type": "object", "additionalProperties": false, "maxProperties": 2, "properties": {
                "key": {"type": "string", "minLength": 16, "writeOnly": true},
                "to": {"properties": {"keys": {"items": {"type": "string"}, "writeOnly": true}}},
                "either": {"oneOf": [{"enum": ["a"]}, {"required": ["key"], "properties": {"key": {"maxLength": 9, "writeOnly": true}}}]},
                "n": {"type": "integer"}, "pair": {"type": "array", "maxItems": 1, "items": {"$ref": "#/properties/key"}}}}"##,
        );
        let schema = schema.unwrap();
        for (config, expected) in [
            (r#"{"key": "canary"}"#, "`key`: it does not fit (minLength)"),
            (r#"{"either": {"key": "canary, canary, canary"}}"#, "`either.key`: it does not fit (maxLength)"),
            (r#"{"key": {"canary": 1}}"#, "`key`: it does not fit (type)"),
            (r#"{"to": {"keys": ["x", {"canary": 1}]}}"#, "`to.keys`: it does not fit (type)"),
            (r#"{"key": "canary, canary, canary", "n": 1, "to": {}}"#, "value has more than 2 properties"),
            (r#"{"pair": ["canary, canary, canary", "canary, canary, canary"]}"#, "`pair`: it does not fit (maxItems)"),
            (r#"{"key": "canary, canary, canary", "hwo": 1}"#, "`hwo` cannot stand here"),
            (r#"{"key": "canary, canary, canary", "n": "x"}"#, "`n`: \"x\" is not of type \"integer\""),
        ] {
            let said = misfits(schema.as_ref(), config).join("; ");
            assert!(said.starts_with(expected) && !said.contains("canary"), "{said}");
        }
    }

    #[test]
    fn a_schema_refers_to_nothing_outside() {
        assert!(Schema::parse(r#"{"$ref": "http://example.org/schema.json"}"#).is_err());
        assert!(Schema::parse(r#"{"$ref": "file:///etc/passwd"}"#).is_err());
    }
}
