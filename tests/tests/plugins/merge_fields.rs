//! The rules of `merge-fields`, and that it keeps the laws of a resolver.

use super::{items, open, row};
use concord::model::{Key, Value};
use concord::plugin::{Dispute, Limits, Resolution, Side};

#[test]
fn a_configuration_is_refused_with_its_reason() {
    let said = |config: &str| {
        let failure = open("merge-fields", Limits::default(), items(), config).unwrap_err();
        format!("{}: {}", failure.code, failure.message)
    };
    assert_eq!(said(r#"{"fields": {"nothing": "max"}}"#), "unknown-column: `nothing`: `items` has no such column");
    assert_eq!(said(r#"{"fields": {"note": "sum"}}"#), "kind: `note`: the rule is not for columns of kind text");
    assert!(said(r#"{"fields": {"id": "max"}}"#).starts_with("key: `id`: it is part of the key"));
    assert!(
        said(r#"{"fields": {"note": "best"}}"#).starts_with("config: its configuration does not fit: `fields.note`")
    );
    assert!(said("{}").starts_with("config: "));
    let nodes = r#"{"fields": {"note": {"prefer": ["attic"]}}}"#;
    assert_eq!(said(nodes), "unknown-node: `note`: no node is called `attic`");
    let twice = r#"{"fields": {"note": "max"}, "groups": [{"columns": ["note", "stock"], "rule": "latest"}]}"#;
    assert_eq!(said(twice), "twice: `note`: it has two rules");
}

/// As where one node was away while a preferred one changed the row again. No fixture can say so: there a node has one version.
#[test]
fn of_several_versions_of_a_preferred_node_the_youngest_counts() {
    let config = r#"{"fields": {"note": {"prefer": ["branch", "office"]}}}"#;
    let resolver = open("merge-fields", Limits::default(), items(), config).expect("a resolver");
    let key = Key::from([Value::Int(1)]);
    let (old, new, other) = (row(1, "old", 1), row(1, "new", 2), row(1, "other", 3));
    let deleted = Side { node: "branch", time: 5, row: None };
    let of = |(node, time, row)| Side { node, time, row: Some(row) };
    let asked = |versions: Vec<Side<'_>>| {
        let latest = versions.iter().position(|side| side.time == 9).expect("the office's is the latest");
        let dispute = Dispute { key: &key, versions, latest, start: latest, base: None, changes: Vec::new() };
        resolver.resolve(&[dispute]).remove(0)
    };
    let merged = || Ok(Resolution::Merged(row(1, "new", 3)));
    let [first, then, last] = [("branch", 1, &old), ("branch", 3, &new), ("office", 9, &other)];
    assert_eq!(asked(vec![of(first), of(then), of(last)]), merged());
    assert_eq!(asked(vec![of(last), of(then), of(first)]), merged());
    assert_eq!(asked(vec![of(first), of(then), deleted, of(last)]), merged());
}
