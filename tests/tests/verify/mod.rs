//! `concord verify`: what it finds, what it takes for no difference, and what it mends.

mod command;
mod found;
mod meanwhile;
mod mended;

use concord::sync::{Verified, VerifiedTable, Verify};
use concord_tests::{Cluster, Kind};

const PAIRS: [&[Kind]; 5] = [
    &[Kind::Sqlite, Kind::Sqlite],
    &[Kind::Sqlite, Kind::Postgres],
    &[Kind::Postgres, Kind::Postgres],
    &[Kind::Mariadb, Kind::Postgres],
    &[Kind::Sqlite, Kind::Mariadb],
];

/// What a comparison of everything finds.
#[track_caller]
fn verify(cluster: &Cluster, how: Verify) -> impl Future<Output = Verified> {
    let caller = std::panic::Location::caller();
    let mut session = cluster.session();
    async move {
        match Box::pin(session.verify(&how)).await {
            Ok(verified) => verified,
            Err(error) => panic!("{caller}: verify: {error}"),
        }
    }
}

/// The differences of a table, one a line: the key, what is the matter where, and the columns that differ.
fn told(table: &VerifiedTable) -> Vec<String> {
    let mut lines: Vec<String> = table
        .examples
        .iter()
        .map(|example| {
            let at = |kind: &str| {
                let nodes = example.nodes.iter().filter(|(_, known)| **known == kind).map(|(node, _)| node.as_str());
                nodes.collect::<Vec<_>>().join(",")
            };
            let kinds = ["missing", "extra", "unreadable"].into_iter().filter(|kind| !at(kind).is_empty());
            let parts = kinds
                .map(|kind| format!(" {kind} {}", at(kind)))
                .chain(example.columns.keys().map(|c| format!(" {c}")));
            format!("{}{}", example.key, parts.collect::<String>())
        })
        .collect();
    lines.sort();
    lines
}
