//! Random changes among nodes of which some omit columns: in the end all hold the same as far as they can, nobody's last word is
//! missing everywhere, and what is summed is exact.

use std::collections::BTreeSet;

use concord_tests::{Cluster, NAMES, Rng};

use super::{agreed, lacking, rounds};

/// The columns that a node may lack.
const COLUMNS: [&str; 2] = ["notes", "place"];

const SUM: &str = "{ sum = [\"amount\"] }";
const PARK: &str = "\"park\"";

/// A random run.
struct Round {
    cluster: Cluster,
    policy: &'static str,
    /// By node, what it lacks.
    lacks: Vec<Vec<&'static str>>,
    /// Who refuses names that begin with `x`.
    strict: Option<usize>,
    /// What each of the three rows amounts to.
    totals: [u64; 3],
    /// For telling what was done.
    trace: bool,
}

impl Round {
    /// Of three nodes one lacks a column; of five, two or three lack one or both.
    async fn new(policy: &'static str, rng: &mut Rng) -> Round {
        let count = if rng.below(3) == 0 { 3 } else { 5 };
        let mut lacks: Vec<Vec<&'static str>> = vec![Vec::new(); count];
        for _ in 0..if count == 3 { 1 } else { 2 + rng.below(2) } {
            let at = rng.below(count as u64) as usize;
            lacks[at] = match rng.below(5) {
                0 => COLUMNS.to_vec(),
                column => vec![COLUMNS[column as usize % 2]],
            };
        }
        let strict = (rng.below(3) == 0).then(|| rng.below(count as u64) as usize);
        Round::over(policy, lacks, strict).await
    }

    async fn over(policy: &'static str, lacks: Vec<Vec<&'static str>>, strict: Option<usize>) -> Round {
        let table = |at: usize| {
            let mut sql =
                "CREATE TABLE items (id integer PRIMARY KEY, amount integer NOT NULL DEFAULT 0, name text".to_owned();
            for column in COLUMNS.iter().filter(|column| !lacks[at].contains(column)) {
                sql += &format!(", {column} text");
            }
            sql + if strict == Some(at) { ", CHECK (name NOT LIKE 'x%'))" } else { ")" }
        };
        let cluster = lacking(policy, &lacks, table).await;
        let trace = std::env::var("CONCORD_TRACE").is_ok();
        let mut round = Round { cluster, policy, lacks, strict, totals: [0; 3], trace };
        if policy == SUM {
            round.run(0, "INSERT INTO items (id, amount, name) VALUES (0, 0, 'v'), (1, 0, 'v'), (2, 0, 'v')").await;
            round.cluster.sync().await;
        }
        round
    }

    async fn run(&mut self, at: usize, sql: &str) {
        if self.trace {
            eprintln!("{}: {sql}", NAMES[at]);
        }
        self.cluster.later(at, sql).await;
    }

    async fn sync(&mut self) {
        let summary = self.cluster.sync().await;
        if self.trace {
            eprintln!("sync, {} conflicts, {} wait", summary.conflicts, summary.waiting);
            for (at, name) in NAMES.iter().enumerate().take(self.lacks.len()) {
                eprintln!("  {name}: {:?}", self.cluster.rows(at, "SELECT * FROM items ORDER BY id").await);
            }
        }
    }

    /// A user of one node does something to one of three rows; every value is written once.
    async fn change(&mut self, at: usize, rng: &mut Rng, value: u64) {
        let id = rng.below(3);
        let bad = if self.strict.is_some_and(|strict| strict != at) && rng.below(4) == 0 { "x" } else { "" };
        let has: Vec<&str> = COLUMNS.into_iter().filter(|column| !self.lacks[at].contains(column)).collect();
        let column = (!has.is_empty()).then(|| has[rng.below(has.len() as u64) as usize]);
        let sql = match (rng.below(7), column) {
            (0 | 1, _) if self.policy == SUM => {
                let by = 1 + rng.below(9);
                self.totals[id as usize] += by;
                format!("UPDATE items SET amount = amount + {by} WHERE id = {id}")
            }
            (0, _) => format!("DELETE FROM items WHERE id = {id}"),
            (1, _) => format!(
                "DELETE FROM items WHERE id = {id}; INSERT INTO items (id, name) VALUES ({id}, '{bad}v{value}')"
            ),
            (2 | 3, Some(column)) => format!("UPDATE items SET {column} = 'n{value}' WHERE id = {id}"),
            (4, _) => format!("UPDATE items SET name = '{bad}v{value}' WHERE id = {id}"),
            _ => format!(
                "INSERT INTO items (id, name) VALUES ({id}, '{bad}v{value}') ON CONFLICT (id) DO UPDATE SET name = excluded.name"
            ),
        };
        self.run(at, &sql).await;
    }

    async fn play(&mut self, rng: &mut Rng) {
        let count = self.lacks.len() as u64;
        let mut away: BTreeSet<usize> = BTreeSet::new();
        for value in 0..10 + rng.below(30) {
            match rng.below(12) {
                0..=6 => {
                    let at = rng.below(count) as usize;
                    self.change(at, rng, value).await;
                }
                7 | 8 => {
                    let at = rng.below(count) as usize;
                    if away.remove(&at) {
                        self.cluster.back(at);
                    } else if away.len() as u64 + 2 < count || (away.is_empty() && count == 3) {
                        self.cluster.leave(at);
                        away.insert(at);
                    }
                    if self.trace {
                        eprintln!("away: {away:?}");
                    }
                }
                _ => self.sync().await,
            }
        }
        away.iter().for_each(|&at| self.cluster.back(at));
        self.sync().await;
    }

    /// What waits is made good or decided by a person, one by one.
    async fn release(&mut self, rng: &mut Rng) {
        if self.strict.is_some() {
            for at in 0..self.lacks.len() {
                self.run(at, "UPDATE items SET name = 'good' || id WHERE name LIKE 'x%'").await;
            }
            self.sync().await;
        }
        for _ in 0..100 {
            let waiting = self.cluster.session().parked().await.expect("reading what waits");
            if waiting.is_empty() {
                return;
            }
            let chosen = &waiting[rng.below(waiting.len() as u64) as usize];
            if self.trace {
                eprintln!("drops {} {} of {waiting:#?}", chosen.node, chosen.key);
            }
            let (node, key) = (chosen.node.clone(), chosen.key.clone());
            let done = self.cluster.session().drop_parked(|row| row.node == node && row.key == key).await;
            done.expect("dropping what waits");
            self.sync().await;
        }
    }

    async fn check(&mut self) -> Result<(), String> {
        let what = format!("{}, lacking {:?}, strict {:?}", self.policy, self.lacks, self.strict);
        let waiting = self.cluster.waiting().await;
        if !waiting.is_empty() {
            return Err(format!("{what}: {waiting:?} still wait"));
        }
        for column in ["amount", "name", COLUMNS[0], COLUMNS[1]] {
            let having = (0..self.lacks.len()).filter(|&at| !self.lacks[at].contains(&column));
            let agreed = agreed(&mut self.cluster, column, having).await;
            agreed.map_err(|why| format!("{what}: {column} differs: {why}"))?;
        }
        if self.policy == SUM {
            let expected = self.totals.map(|total| total.to_string());
            for (at, name) in NAMES.iter().enumerate().take(self.lacks.len()) {
                let rows = self.cluster.rows(at, "SELECT amount FROM items ORDER BY id").await;
                if rows != expected {
                    return Err(format!("{what}: {name} has {rows:?} and not {expected:?}"));
                }
            }
        }
        self.cluster.quiet().await;
        Ok(())
    }
}

/// What an outcome can vouch for may be no more than what a loser has seen: it is written over the loser all the same.
#[tokio::test]
async fn who_lost_takes_what_won() {
    let lacks: [&[&'static str]; 5] = [&["place"], &[], &[], &["notes"], &["place"]];
    let lacks = lacks.map(<[_]>::to_vec).to_vec();
    let mut round = Round::over("\"earliest-wins\"", lacks, None).await;
    round.run(2, "INSERT INTO items (id, name) VALUES (0, 'v1')").await;
    round.sync().await;
    round.cluster.leave(0);
    round.run(3, "UPDATE items SET place = 'n2'").await;
    round.run(4, "DELETE FROM items").await;
    round.sync().await;
    round.cluster.back(0);
    round.run(1, "UPDATE items SET place = 'n3'").await;
    round.run(0, "DELETE FROM items").await;
    [1, 2, 4].iter().for_each(|&at| round.cluster.leave(at));
    round.sync().await;
    [1, 2, 4].iter().for_each(|&at| round.cluster.back(at));
    round.sync().await;
    assert_eq!(round.check().await, Ok(()));
}

/// Of two that hold the same change and lack a column each, the one is completed from the other, and not from whoever has the column
/// and never heard of the change.
#[tokio::test]
async fn a_column_comes_from_who_changed_it() {
    for (policy, name, place) in
        [("\"earliest-wins\"", "v1", "n2"), ("\"latest-wins\"", "v3", "NULL"), (SUM, "v3", "NULL")]
    {
        let lacks: [&[&'static str]; 5] = [&[], &[], &["place"], &[], &["notes"]];
        let mut round = Round::over(policy, lacks.map(<[_]>::to_vec).to_vec(), None).await;
        round.run(0, "INSERT INTO items (id, name) VALUES (0, 'v1') ON CONFLICT (id) DO UPDATE SET name = 'v1'").await;
        round.sync().await;
        [0, 1, 3].iter().for_each(|&at| round.cluster.leave(at));
        round.run(4, "UPDATE items SET amount = amount + 1, place = 'n2' WHERE id = 0").await;
        round.sync().await;
        round.run(1, "UPDATE items SET amount = amount + 4, name = 'v3' WHERE id = 0").await;
        [0, 1, 3].iter().for_each(|&at| round.cluster.back(at));
        round.sync().await;
        round.totals = [5, 0, 0];
        assert_eq!(round.check().await, Ok(()));
        let row = [format!("{name}|{place}")];
        assert_eq!(round.cluster.rows(0, "SELECT name, place FROM items WHERE id = 0").await, row, "{policy}");
        let kept = "SELECT count(*) FROM concord_journal WHERE loser_row LIKE '%n2%'";
        assert_eq!(round.cluster.rows(0, kept).await, [if place == "n2" { "0" } else { "1" }], "{policy}");
    }
}

async fn round(policy: &'static str, rng: &mut Rng) -> Result<(), String> {
    let mut round = Round::new(policy, rng).await;
    round.play(rng).await;
    round.release(rng).await;
    round.check().await
}

#[tokio::test]
async fn the_latest_wins() {
    rounds("sync_omitted::outcome::the_latest_wins", async |rng: &mut Rng| round("\"latest-wins\"", rng).await).await;
}

#[tokio::test]
async fn the_earliest_wins() {
    rounds("sync_omitted::outcome::the_earliest_wins", async |rng: &mut Rng| round("\"earliest-wins\"", rng).await)
        .await;
}

#[tokio::test]
async fn a_node_is_preferred() {
    rounds("sync_omitted::outcome::a_node_is_preferred", async |rng: &mut Rng| {
        round("{ prefer = [\"b\"] }", rng).await
    })
    .await;
}

#[tokio::test]
async fn amounts_are_summed() {
    rounds("sync_omitted::outcome::amounts_are_summed", async |rng: &mut Rng| round(SUM, rng).await).await;
}

#[tokio::test]
async fn a_person_decides() {
    rounds("sync_omitted::outcome::a_person_decides", async |rng: &mut Rng| round(PARK, rng).await).await;
}
