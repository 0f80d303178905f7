//! Tables of which some nodes omit columns.

mod installing;
mod lost;
mod outcome;
mod unknown;
mod waiting;

use concord_tests::{As, Cluster, Kind, NAMES, Rng, Seed};

/// How many rounds each policy gets, unless `CONCORD_ROUNDS` says otherwise.
const ROUNDS: u64 = 6;

/// Plays rounds, or the one that `CONCORD_ROUND` names; each says what went wrong.
async fn rounds(test: &'static str, mut round: impl AsyncFnMut(&mut Rng) -> Result<(), String>) {
    let seed = Seed::new(test);
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is {text:?} and no number")))
    };
    let played = match number("CONCORD_ROUND") {
        Some(only) => only..only + 1,
        None => 0..number("CONCORD_ROUNDS").unwrap_or(ROUNDS),
    };
    let count = played.clone().count();
    let mut failures = Vec::new();
    for at in played {
        failures.extend(round(&mut seed.rng(at)).await.err().map(|why| format!("CONCORD_ROUND={at}: {why}")));
    }
    assert!(failures.is_empty(), "{} of {count} rounds went wrong\n{}", failures.len(), failures.join("\n"));
}

/// As many nodes, each with its table `items`, which lacks these columns there.
async fn lacking(policy: &str, lacks: &[Vec<&str>], table: impl Fn(usize) -> String) -> Cluster {
    let mut tables = format!("[tables.items]\nconflict = {policy}\n");
    for (name, lacks) in NAMES.iter().zip(lacks).filter(|(_, lacks)| !lacks.is_empty()) {
        tables += &format!("[tables.items.nodes.{name}]\nomit = {lacks:?}\n");
    }
    let cluster = Cluster::bare(&vec![Kind::Sqlite; lacks.len()], |_| String::new(), &tables).await;
    for (at, node) in cluster.nodes.iter().enumerate() {
        node.database.user_as(As::Sync).await.execute(&table(at)).await;
    }
    cluster.install().await;
    cluster
}

/// What all of these hold of a column, if they hold the same.
async fn agreed(cluster: &mut Cluster, column: &str, who: impl Iterator<Item = usize>) -> Result<Vec<String>, String> {
    let mut found: Option<Vec<String>> = None;
    for at in who {
        let rows = cluster.rows(at, &format!("SELECT id, {column} FROM items ORDER BY id")).await;
        match &found {
            Some(found) if *found != rows => return Err(format!("{} has {rows:?} and not {found:?}", NAMES[at])),
            _ => found = Some(rows),
        }
    }
    Ok(found.unwrap_or_default())
}
