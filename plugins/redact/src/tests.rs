//! The laws of a lens on every pair of some values, and that no error tells the key. The cases in `fixtures` say what comes of what.

use concord_plugin::{Column, Context, Mapping, Table, Value};

use crate::Redact;

const KEY: &str = "correct horse battery staple";

fn open(config: &str, kind: &str) -> Result<Redact, String> {
    let column =
        |name: &str, kind: &str, key| Column { name: name.to_owned(), kind: kind.to_owned(), key, facts: Vec::new() };
    let columns = vec![column("id", "integer", true), column("a", kind, false)];
    let table = Table { name: "items".to_owned(), columns };
    let opened = Redact::open(&Context { table, config: config.to_owned(), facts: Vec::new() });
    opened.map_err(|why| format!("{}: {} {:?}", why.code, why.message, why.hint))
}

fn lawful(mask: &str, edits: &str, kind: &str, values: &[Value]) {
    let key = if mask.contains("hash") { format!(r#""key": "{KEY}", "#) } else { String::new() };
    let config = format!(r#"{{{key}"edits": "{edits}", "columns": {{"a": {mask}}}}}"#);
    let redact = open(&config, kind).unwrap_or_else(|why| panic!("{config}: {why}"));
    let row = |value: &Value| vec![Value::Integer(1), value.clone()];
    let shared: Vec<Value> =
        values.iter().flat_map(|value| [value.clone(), redact.to_shared(&row(value)).unwrap()[1].clone()]).collect();
    for local in values {
        let got = redact.to_shared(&row(local)).unwrap();
        let back = redact.to_local(&got, Some(&row(local))).expect("it came from there");
        assert_eq!(format!("{back:?}"), format!("{:?}", row(local)), "{config}");
    }
    for shared in &shared {
        for current in values.iter().map(|value| Some(row(value))).chain([None]) {
            if let Ok(made) = redact.to_local(&row(shared), current.as_deref()) {
                assert!(redact.to_shared(&made).unwrap()[1].same(shared), "{config}: {shared:?} upon {current:?}");
            }
        }
    }
}

#[test]
fn every_mask_keeps_the_laws_of_a_lens() {
    let texts =
        ["", "a", "1234", "12345", "*****", "****", "****2345", "ü€5678"].map(|text| Value::Text(text.to_owned()));
    let texts: Vec<Value> = texts.into_iter().chain([Value::Null]).collect();
    let numbers: Vec<Value> = [0, -1, i64::MAX].map(Value::Integer).into_iter().chain([Value::Null]).collect();
    for edits in ["refuse", "accept"] {
        for mask in [r#""hash""#, r#"{"hash": 8}"#, r#"{"last": 4}"#, r#"{"value": "a"}"#, r#""null""#] {
            lawful(mask, edits, "text", &texts);
        }
        for mask in [r#"{"value": 0}"#, r#""null""#] {
            lawful(mask, edits, "integer", &numbers);
        }
    }
}

#[test]
fn a_value_has_one_hash_however_it_is_written() {
    let redact = open(&format!(r#"{{"key": "{KEY}", "columns": {{"a": "hash"}}}}"#), "decimal").unwrap();
    let hash = |text: &str| {
        format!("{:?}", redact.to_shared(&[Value::Integer(1), Value::Decimal(text.to_owned())]).unwrap()[1])
    };
    assert_eq!(hash("1.50"), hash("1.5"));
    assert_eq!(hash("100.00"), hash("100"));
    assert_eq!(hash("-0.0"), hash("0"));
    assert_ne!(hash("100"), hash("1"));
}

#[test]
fn no_error_tells_the_key() {
    for (config, kind) in [
        (r#"{"key": "secret", "columns": {"a": "hash"}}"#, "text"),
        (r#"{"key": {"secret": 1}, "columns": {"a": "hash"}}"#, "text"),
        (r#"{"key": "secretsecretsecret", "columns": {"a": "null"}}"#, "text"),
        (r#"{"key": "secretsecretsecret", "columns": {"a": "hash"}}"#, "json"),
        (r#"{"key": "secretsecretsecret", "columns": {"b": "hash"}}"#, "text"),
        (r#"{"key": "secretsecretsecret", "columns": {"id": "hash"}}"#, "text"),
        (r#"{"key": "secretsecretsecret", "columns": {"a": {"value": "x"}}}"#, "integer"),
        (r#"{"key": "secretsecretsecret", "columns": "hash"}"#, "text"),
    ] {
        let why = open(config, kind).err().unwrap_or_else(|| panic!("{config} was taken"));
        assert!(!why.contains("secret"), "{why}");
    }
}

/// Sums take these and no others.
#[test]
fn what_is_not_masked_is_said_to_be_a_copy() {
    let redact = open(r#"{"columns": {"a": "null"}}"#, "integer").unwrap();
    let facts: Vec<String> =
        redact.columns().iter().map(|column| format!("{} {:?}", column.name, column.facts)).collect();
    assert_eq!(facts, [r#"id [("copy-of", "id")]"#, "a []"]);
}
