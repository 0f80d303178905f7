//! JSON documents as texts, without recursion: no depth is too much for the stack.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value as Document;

/// So many levels serde_json reads.
const SHALLOW: usize = 127;

/// What a document that is read is made of; the places of others in a list.
enum Part {
    /// As it is to be written.
    Scalar(String),
    Array(Vec<usize>),
    /// Of two members of one name the last counts.
    Object(BTreeMap<String, usize>),
}

/// What is left to write.
enum Piece<'a> {
    Part(usize),
    Name(&'a str),
    Text(&'static str),
}

/// A document that is too deep for serde_json, in the form of others ([`Json::canonical`](super::Json::canonical)): scalars are
/// written by `write`. `None` if it is no document, or not that deep.
pub(super) fn canonical(text: &str, write: impl Fn(&Document, &mut String)) -> Option<String> {
    let parts = read(text, write)?;
    let mut out = String::with_capacity(text.len());
    // The next is the last.
    let mut left = vec![Piece::Part(0)];
    while let Some(piece) = left.pop() {
        match piece {
            Piece::Text(text) => out += text,
            Piece::Name(name) => out += &Document::from(name).to_string(),
            Piece::Part(at) => match &parts[at] {
                Part::Scalar(text) => out += text,
                Part::Array(items) => {
                    left.push(Piece::Text("]"));
                    for (place, item) in items.iter().enumerate().rev() {
                        left.push(Piece::Part(*item));
                        left.push(Piece::Text(if place == 0 { "[" } else { "," }));
                    }
                    if items.is_empty() {
                        left.push(Piece::Text("["));
                    }
                }
                Part::Object(members) => {
                    left.push(Piece::Text("}"));
                    for (place, (name, value)) in members.iter().enumerate().rev() {
                        left.extend([Piece::Part(*value), Piece::Text(":"), Piece::Name(name)]);
                        left.push(Piece::Text(if place == 0 { "{" } else { "," }));
                    }
                    if members.is_empty() {
                        left.push(Piece::Text("{"));
                    }
                }
            },
        }
    }
    Some(out)
}

/// The parts of a document that is deep, the whole first.
fn read(text: &str, write: impl Fn(&Document, &mut String)) -> Option<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::new();
    // The arrays and objects around what is read, the innermost last.
    let mut open: Vec<usize> = Vec::new();
    let mut deepest = 0;
    let mut rest = trimmed(text);
    loop {
        let at = parts.len();
        if let Some(around) = open.last() {
            match &mut parts[*around] {
                Part::Array(items) => items.push(at),
                Part::Object(members) => {
                    let name = literal(rest)?;
                    rest = trimmed(trimmed(&rest[name.len()..]).strip_prefix(':')?);
                    members.insert(serde_json::from_str(name).ok()?, at);
                }
                Part::Scalar(_) => return None,
            }
        }
        let (part, length) = match rest.as_bytes().first()? {
            b'[' => (Part::Array(Vec::new()), 1),
            b'{' => (Part::Object(BTreeMap::new()), 1),
            first => {
                let scalar = match first {
                    b'"' => literal(rest)?,
                    _ => &rest[..rest.find([',', ']', '}', ' ', '\t', '\n', '\r']).unwrap_or(rest.len())],
                };
                let mut text = String::new();
                write(&serde_json::from_str::<Document>(scalar).ok()?, &mut text);
                (Part::Scalar(text), scalar.len())
            }
        };
        let is_open = !matches!(part, Part::Scalar(_));
        parts.push(part);
        rest = trimmed(&rest[length..]);
        if is_open {
            open.push(at);
            deepest = deepest.max(open.len());
            if !rest.starts_with([']', '}']) {
                continue;
            }
        }
        // Behind a value, or in an array or object without any.
        loop {
            let Some(around) = open.last() else {
                return (rest.is_empty() && deepest > SHALLOW).then_some(parts);
            };
            let end = if matches!(parts[*around], Part::Array(_)) { ']' } else { '}' };
            let Some(behind) = rest.strip_prefix(end) else { break };
            open.pop();
            rest = trimmed(behind);
        }
        rest = trimmed(rest.strip_prefix(',')?);
    }
}

/// Without the white space of JSON in front.
fn trimmed(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\n', '\r'])
}

/// The string with which a text begins, quotes included.
fn literal(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('"')?.as_bytes();
    let mut at = 0;
    loop {
        match inside.get(at)? {
            b'"' => return Some(&text[..at + 2]),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// A name that two members of one object have, if there is one. The text must be JSON.
pub(super) fn named_twice(text: &str) -> Option<Cow<'_, str>> {
    // The names of the objects around, and where those of each begin.
    let mut names: Vec<Cow<'_, str>> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|letter| matches!(letter, b'"' | b'{' | b'}')) {
        rest = &rest[at..];
        let mut length = 1;
        match rest.as_bytes()[0] {
            b'{' => open.push(names.len()),
            b'}' => {
                let first = open.pop()?;
                names[first..].sort_unstable();
                if let Some(twice) = names[first..].windows(2).find(|two| two[0] == two[1]) {
                    return Some(twice[0].clone());
                }
                names.truncate(first);
            }
            _ => {
                let string = literal(rest)?;
                length = string.len();
                if trimmed(&rest[length..]).starts_with(':') {
                    names.push(match string.contains('\\') {
                        // Letters may be spelled in several ways.
                        true => Cow::Owned(serde_json::from_str(string).ok()?),
                        false => Cow::Borrowed(&string[1..length - 1]),
                    });
                }
            }
        }
        rest = &rest[length..];
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Json;

    fn nested(depth: usize, inside: &str) -> String {
        "[".repeat(depth) + inside + &"]".repeat(depth)
    }

    #[test]
    fn no_depth_is_too_much() {
        let written = r#"{ "b" : [1.50, "\u00e4", {}, [ ], null],"a":true, "b": [ 10e-1 , "\n/\/", false ] }"#;
        let printed = r#"{"a": true, "b": [1, "\n//", false]}"#;
        for depth in [0, 126, 127, 128, 200_000] {
            let (written, printed) = (Json::new(nested(depth, written)), Json::new(nested(depth, printed)));
            assert_eq!(written.canonical(), nested(depth, r#"{"a":true,"b":[1e0,"\n//",false]}"#), "{depth}");
            assert_eq!(written, printed);
            assert_ne!(written, Json::new(nested(depth, "{}")));
        }
        let members = |depth: usize, text: &str| text.repeat(depth) + "0" + &"}".repeat(depth);
        assert_eq!(Json::new(members(100_000, r#"{"a": "#)).canonical(), members(100_000, r#"{"a":"#));
    }

    #[test]
    fn what_is_no_document_stands_for_itself() {
        for text in [
            "no",
            "1 2",
            "[1,]",
            "[,]",
            "[1 2]",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{1:2}",
            "\"a",
            "\"\\\"",
            "[}",
            "01",
            "1[2",
            "\"\\ud800\"",
            "{\"a\":1]",
            "'a'",
            "\u{a0}1",
            "[1]]",
            "\"a\"b",
            "\"a\n\"",
        ] {
            let text = nested(200, text);
            assert_eq!(Json::new(&*text).canonical(), text);
        }
        for text in [nested(200, "") + "]", nested(200, "") + " 1", "[".repeat(200)] {
            assert_eq!(Json::new(&*text).canonical(), text);
        }
    }

    fn documents() -> impl Strategy<Value = Document> {
        let scalars = prop_oneof![
            Just(Document::Null),
            any::<bool>().prop_map(Document::from),
            any::<i64>().prop_map(Document::from),
            any::<f64>().prop_map(Document::from),
            any::<String>().prop_map(Document::from),
        ];
        scalars.prop_recursive(4, 32, 5, |inside| {
            prop_oneof![
                prop::collection::vec(inside.clone(), 0..5).prop_map(Document::from),
                prop::collection::vec((".{0,2}", inside), 0..5)
                    .prop_map(|members| Document::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Deep documents are written as others are.
        #[test]
        fn depth_makes_no_difference(document in documents(), spread: bool) {
            let text = if spread { serde_json::to_string_pretty(&document).unwrap() } else { document.to_string() };
            let shallow = Json::new(&*text).canonical().into_owned();
            let deep = Json::new(nested(130, &text));
            prop_assert_eq!(deep.canonical(), nested(130, &shallow));
            prop_assert_eq!(named_twice(&text), None);
        }
    }

    #[test]
    fn members_of_one_name() {
        for (text, twice) in [
            (r#"{"a": 1, "a": 1}"#, "a"),
            (r#"[{"a": {"b": 1, "c": {"b": 2}, "b" : 3}}]"#, "b"),
            (r#"{"a": [{"x": 0}], "b": "a", "a": {}}"#, "a"),
            (r#"{"ä": 1, "\u00e4": 2}"#, "ä"),
            (r#"{"\"": 1, "b": 2, "\u0022": 3}"#, "\""),
            (r#"{"": 1, "": 2}"#, ""),
        ] {
            assert_eq!(named_twice(text).as_deref(), Some(twice), "{text}");
            assert_eq!(named_twice(&nested(300, text)).as_deref(), Some(twice), "{text}");
        }
        for text in [
            r#"{"a": {"a": {"a": 1}}, "b": {"a": 1}, "A": 2}"#,
            r#"[{"a": 1}, {"a": 1}, "a", "a"]"#,
            r#"{"a": "a", "b": ":", "c": "\"c\": 1, \"c\": 2", "d": "}{"}"#,
            r#"{"\\": 1, "\\\\": 2, "a": ["a", "a"]}"#,
            "{}",
            "[]",
            "7",
        ] {
            assert_eq!(named_twice(text), None, "{text}");
        }
        let deep = r#"{"a":"#.repeat(100_000) + "0" + &"}".repeat(100_000);
        assert_eq!(named_twice(&deep), None);
    }
}
