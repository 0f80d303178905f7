//! The rules of `merge-fields`, and that it keeps the laws of a resolver.

use super::{items, open};
use concord::plugin::Limits;

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
