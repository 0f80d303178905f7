//! The rules of `merge-fields`, and that it keeps the laws of a resolver.

use super::{items, open, row};
use concord::model::{Key, Value};
use concord::plugin::{Dispute, Limits, Resolution, Side};
use concord_tests::{Cluster, Kind};

#[test]
fn a_configuration_is_refused_with_its_reason() {
    let said = |config: &str| {
        let failure = open("merge-fields", Limits::default(), items(), config).unwrap_err();
        format!("{}: {}", failure.code, failure.message)
    };
    assert_eq!(said(r#"{"fields": {"nothing": "max"}}"#), "unknown-column: `nothing`: `items` has no such column");
    assert_eq!(
        said(r#"{"fields": {"note": "sum"}}"#),
        "kind: `note`: the rule is not for columns of kind text; those that are: latest, earliest, max, min, text, union, \
         { prefer = [\"NODE\"] }"
    );
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

fn merged(rest: &str, rule: &str) -> String {
    format!("[tables.items]\n{rest}conflict = {{ plugin = \"merge-fields\", fields = {{ price = \"{rule}\" }} }}\n")
}

/// What each change did is told as it was done, and would not fit what versions have been rounded to.
#[tokio::test]
async fn of_what_is_recorded_nothing_may_be_lost() {
    let tables = |rule: &str| merged("lossy = [\"Price\"]\n", rule);
    let mut cluster = Cluster::bare(&[Kind::Postgres, Kind::Postgres], |_| String::new(), &tables("sum")).await;
    let items = [2, 3].map(|scale| format!("CREATE TABLE items (id integer PRIMARY KEY, price numeric(8,{scale}))"));
    cluster.create(&[&items[0], &items[1]]).await;
    cluster.pin(&["merge-fields"]);
    let problems = cluster.session().check().await.expect("all are there").problems;
    let why = "conflicts of `items` are decided by what each change did to `Price`, so nothing of it may be lost";
    assert!(problems.len() == 1 && problems[0].contains(why), "{problems:?}");
    // Of a rule that goes by the versions alone nothing is recorded.
    cluster.configure(&tables("max"));
    assert_eq!(cluster.session().check().await.expect("all are there").problems, [""; 0]);
}

/// The sum of two floats of 4 bytes is seldom one, and no row is to wait for that.
#[tokio::test]
async fn sums_of_floats_of_4_bytes_fit() {
    let setup = |_| {
        "CREATE TABLE items (id integer PRIMARY KEY, price real, note text); INSERT INTO items VALUES (1, 0.1, 'x')"
            .to_owned()
    };
    let mut cluster = Cluster::bare(&[Kind::Postgres, Kind::Postgres], setup, &merged("", "sum")).await;
    cluster.pin(&["merge-fields"]);
    cluster.install().await;
    cluster.run(0, "UPDATE items SET price = 0.2, note = 'a'").await;
    cluster.run(1, "UPDATE items SET price = 0.3, note = 'b'").await;
    let summary = cluster.sync().await;
    assert_eq!(summary.waiting, 0, "{:?}", cluster.reasons("a").await);
    cluster.holds("SELECT count(*) FROM items WHERE price = 0.4::real", &["1"]).await;
    cluster.quiet().await;
    let replay = cluster.session().replay("items", None, 0).await.expect("a replay");
    assert_eq!((replay.asked, replay.differences.len()), (1, 0), "{replay:#?}");
}
