//! Random changes among nodes of which some omit a column: whoever is there holds the same as far as he can, and nothing that was
//! written goes silently.

use std::collections::BTreeSet;

use concord_tests::{Cluster, Rng};

use super::{agreed, lacking, rounds};

/// Databases of which some lack the column `notes`, and what their users have done.
struct Case {
    cluster: Cluster,
    /// Who lacks it.
    without: Vec<usize>,
    away: BTreeSet<usize>,
    /// Whether rows only change, so that it is known what becomes of each value.
    changes: bool,
    /// Every value, and whether somebody who had it wrote another.
    written: Vec<(String, bool)>,
}

impl Case {
    async fn new(policy: &str, count: usize, without: Vec<usize>, changes: bool) -> Case {
        let lacks: Vec<Vec<&str>> =
            (0..count).map(|at| if without.contains(&at) { vec!["notes"] } else { Vec::new() }).collect();
        let table = |at| {
            let notes = if without.contains(&at) { "" } else { ", notes text" };
            let rows = if changes { "; INSERT INTO items (id, name) VALUES (0, 'v'), (1, 'v')" } else { "" };
            format!("CREATE TABLE items (id integer PRIMARY KEY, name text{notes}){rows}")
        };
        let cluster = lacking(policy, &lacks, table).await;
        Case { cluster, without, away: BTreeSet::new(), changes, written: Vec::new() }
    }

    /// A user of one node does something to a row; every value is written once.
    async fn change(&mut self, at: usize, rng: &mut Rng) {
        let value = self.written.len();
        let id = rng.below(if self.changes { 2 } else { 3 });
        let column = if self.without.contains(&at) || rng.chance(60) { "name" } else { "notes" };
        let sql = match rng.below(5) {
            0 if !self.changes => format!("DELETE FROM items WHERE id = {id}"),
            1 | 2 if !self.changes => format!(
                "INSERT INTO items (id, name) VALUES ({id}, '{value}!') ON CONFLICT (id) DO UPDATE SET name = excluded.name"
            ),
            _ => {
                let before = self.cluster.rows(at, &format!("SELECT {column} FROM items WHERE id = {id}")).await;
                self.written.iter_mut().filter(|(value, _)| before.contains(value)).for_each(|(_, over)| *over = true);
                format!("UPDATE items SET {column} = '{value}!' WHERE id = {id}")
            }
        };
        self.written.push((format!("{value}!"), false));
        self.cluster.later(at, &sql).await;
    }

    async fn sync(&mut self) -> Result<BTreeSet<String>, String> {
        self.cluster.sync().await;
        let count = self.cluster.nodes.len();
        let there = (0..count).filter(|at| !self.away.contains(at));
        let names = agreed(&mut self.cluster, "name", there.clone()).await?;
        let notes = agreed(&mut self.cluster, "notes", there.filter(|at| !self.without.contains(at))).await?;
        Ok(names.into_iter().chain(notes).collect())
    }

    /// The first value that is not there, was not replaced by somebody who had it, and is in no journal.
    async fn gone(&self, standing: &BTreeSet<String>) -> Option<&str> {
        let journal = self.cluster.session().conflicts(0).await.expect("a journal");
        let lost: Vec<String> =
            journal.iter().map(|lost| serde_json::to_string(&lost.loser_row).expect("a row")).collect();
        let is_there = |value: &str| {
            standing.iter().any(|row| row.ends_with(&format!("|{value}")))
                || lost.iter().any(|row| row.contains(&format!("\"{value}\"")))
        };
        let mut gone = self.written.iter().filter(|(value, over)| !over && !is_there(value));
        gone.next().map(|(value, _)| value.as_str()).filter(|_| self.changes)
    }
}

async fn round(policy: &str, rng: &mut Rng) -> Result<(), String> {
    let count = 3 + rng.below(3) as usize;
    let mut without: Vec<usize> = (0..count).collect();
    for _ in 0..1 + rng.below(count as u64 - 1) {
        without.remove(rng.below(without.len() as u64) as usize);
    }
    let mut case = Case::new(policy, count, without, rng.chance(50)).await;
    let told = format!("{policy}, {count} nodes, {:?} lack notes", case.without);
    for _ in 0..10 + rng.below(25) {
        let at = rng.below(count as u64) as usize;
        match rng.below(10) {
            0..=5 => case.change(at, rng).await,
            6 | 7 if case.away.remove(&at) => case.cluster.back(at),
            6 | 7 if case.away.len() + 2 < count => {
                case.cluster.leave(at);
                case.away.insert(at);
            }
            _ => _ = case.sync().await.map_err(|why| format!("{told}: {why}"))?,
        }
    }
    for at in std::mem::take(&mut case.away) {
        case.cluster.back(at);
    }
    let standing = case.sync().await.map_err(|why| format!("{told}, in the end: {why}"))?;
    if let Some(gone) = case.gone(&standing).await {
        return Err(format!("{told}: {gone} is gone"));
    }
    assert_eq!(case.cluster.waiting().await, [""; 0]);
    case.cluster.quiet().await;
    Ok(())
}

#[tokio::test]
async fn the_latest_wins() {
    rounds("sync_omitted::lost::the_latest_wins", async |rng: &mut Rng| round("\"latest-wins\"", rng).await).await;
}

#[tokio::test]
async fn the_earliest_wins() {
    rounds("sync_omitted::lost::the_earliest_wins", async |rng: &mut Rng| round("\"earliest-wins\"", rng).await).await;
}

#[tokio::test]
async fn a_node_is_preferred() {
    rounds("sync_omitted::lost::a_node_is_preferred", async |rng: &mut Rng| round("{ prefer = [\"b\"] }", rng).await)
        .await;
}

/// The first of three lacks the column, and has heard of a note that the second wrote; the third has written another.
async fn two_notes(policy: &str) -> Case {
    let mut case = Case::new(policy, 3, vec![0], true).await;
    case.cluster.leave(2);
    case.cluster.later(2, "UPDATE items SET name = 'c', notes = 'of c' WHERE id = 1").await;
    case.cluster.later(1, "UPDATE items SET notes = 'of b' WHERE id = 1").await;
    case.cluster.sync().await;
    case
}

async fn lost(case: &Case) -> Vec<String> {
    let journal = case.cluster.session().conflicts(0).await.expect("a journal");
    let told = journal.iter().map(|lost| serde_json::to_string(&lost.loser_row).expect("a row"));
    told.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Who lacks a column wins with the value that he has heard of, and loses with it.
#[tokio::test]
async fn each_version_has_the_value_that_it_came_of() {
    for (policy, name, notes, other) in
        [("\"latest-wins\"", "a", "of b", "of c"), ("{ prefer = [\"c\"] }", "c", "of c", "of b")]
    {
        let mut case = two_notes(policy).await;
        case.cluster.later(0, "UPDATE items SET name = 'a' WHERE id = 1").await;
        case.cluster.back(2);
        let standing = case.sync().await.expect("the same everywhere");
        for row in [format!("1|{name}"), format!("1|{notes}")] {
            assert!(standing.contains(&row), "{policy}: {standing:?}");
        }
        let lost = lost(&case).await;
        assert!(lost.len() == 1 && lost[0].contains(other), "{policy}: {lost:?}");
        case.cluster.quiet().await;
    }
}

/// What was decided where the one node was away, and then the other, is the same at both in the end.
#[tokio::test]
async fn what_was_decided_without_a_column_reaches_all_who_have_it() {
    let mut case = two_notes("\"earliest-wins\"").await;
    case.cluster.leave(1);
    case.cluster.back(2);
    case.cluster.sync().await;
    case.cluster.back(1);
    let standing = case.sync().await.expect("the same everywhere");
    assert!(standing.contains("1|c"), "{standing:?}");
    let lost = lost(&case).await;
    let kept = |note: &str| standing.contains(&format!("1|{note}")) || lost.iter().any(|row| row.contains(note));
    assert!(kept("of b") && kept("of c"), "{standing:?} {lost:?}");
    case.cluster.quiet().await;
}
