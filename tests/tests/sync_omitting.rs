//! Random changes among nodes of which some omit columns: in the end all hold the same as far as they can, nobody's last word is
//! missing everywhere, and what is summed is exact.

use std::collections::BTreeSet;

use concord_tests::{As, Cluster, Kind, NAMES, Rng, Seed};

/// How many runs each policy gets, unless `CONCORD_ROUNDS` says otherwise.
const ROUNDS: u64 = 6;

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
        let mut tables = format!("[tables.items]\nconflict = {policy}\n");
        for (name, lacks) in NAMES.iter().zip(&lacks).filter(|(_, lacks)| !lacks.is_empty()) {
            tables += &format!("[tables.items.nodes.{name}]\nomit = {lacks:?}\n");
        }
        let cluster = Cluster::bare(&vec![Kind::Sqlite; lacks.len()], |_| String::new(), &tables).await;
        for (at, lacks) in lacks.iter().enumerate() {
            let mut sql =
                "CREATE TABLE items (id integer PRIMARY KEY, amount integer NOT NULL DEFAULT 0, name text".to_owned();
            for column in COLUMNS.iter().filter(|column| !lacks.contains(column)) {
                sql += &format!(", {column} text");
            }
            sql += if strict == Some(at) { ", CHECK (name NOT LIKE 'x%'))" } else { ")" };
            cluster.nodes[at].database.user_as(As::Sync).await.execute(&sql).await;
        }
        cluster.install().await;
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

    async fn check(&mut self, seed: &str) {
        let what = format!("{seed}: {}, lacking {:?}, strict {:?}", self.policy, self.lacks, self.strict);
        assert_eq!(self.cluster.waiting().await, [""; 0], "{what}");
        for column in ["amount", "name", COLUMNS[0], COLUMNS[1]] {
            let mut found = BTreeSet::new();
            for at in (0..self.lacks.len()).filter(|&at| !self.lacks[at].contains(&column)).collect::<Vec<_>>() {
                found.insert(self.cluster.rows(at, &format!("SELECT id, {column} FROM items ORDER BY id")).await);
            }
            assert!(found.len() <= 1, "{what}: {column} differs: {found:?}");
        }
        if self.policy == SUM {
            let expected: Vec<String> = self.totals.iter().map(u64::to_string).collect();
            let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
            for (at, name) in NAMES.iter().enumerate().take(self.lacks.len()) {
                let rows = self.cluster.rows(at, "SELECT amount FROM items ORDER BY id").await;
                assert_eq!(rows, expected, "{what}: at {name}");
            }
        }
        self.cluster.quiet().await;
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
    round.check("who lost").await;
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
        round.check("a column").await;
        let row = [format!("{name}|{place}")];
        assert_eq!(round.cluster.rows(0, "SELECT name, place FROM items WHERE id = 0").await, row, "{policy}");
        let kept = "SELECT count(*) FROM concord_journal WHERE loser_row LIKE '%n2%'";
        assert_eq!(round.cluster.rows(0, kept).await, [if place == "n2" { "0" } else { "1" }], "{policy}");
    }
}

/// What an engine with another file than was installed would pass over, or take for what it is not, stands still until it is said.
#[tokio::test]
async fn a_column_comes_and_goes_with_an_install() {
    const ALL: &str = "[tables.items]\n";
    const LESS: &str = "[tables.items]\n[tables.items.nodes.c]\nomit = [\"notes\"]";
    let table = |_| "CREATE TABLE items (id integer PRIMARY KEY, name text, notes text)".to_owned();
    let mut cluster = Cluster::new(&[Kind::Sqlite; 3], table, LESS).await;
    cluster.run(0, "INSERT INTO items VALUES (1, 'v1', 'n1')").await;
    cluster.sync().await;
    for (other, same, missed) in [(ALL, LESS, "n1"), (LESS, ALL, "n2")] {
        cluster.configure(other);
        cluster.run(0, "UPDATE items SET notes = 'n' || (substr(notes, 2) + 1)").await;
        let summary = cluster.sync().await;
        assert!(summary.stopped.iter().any(|stopped| stopped.why.contains("omit")), "{:?}", summary.stopped);
        cluster.holds_at(1, "SELECT notes FROM items", &[missed]).await;
        cluster.configure(same);
        let mut running = cluster.session();
        assert_eq!(running.sync().await.expect("a sync").stopped, []);
        cluster.configure(ALL);
        let (_, warnings) = cluster.session().install().await.expect("nothing stands in the way");
        // Who runs already has the older file.
        let stopped = running.sync().await.expect("a sync").stopped;
        assert_eq!(stopped.iter().any(|stopped| stopped.why.contains("omit")), same == LESS, "{stopped:?}");
        let told = warnings.iter().any(|line| line.contains("`notes`") && line.contains("verify --repair"));
        assert_eq!(told, other == ALL, "{warnings:?}");
    }
}

/// A change of the column would be passed over.
#[tokio::test]
async fn no_column_goes_before_its_changes_have_arrived() {
    let table = |_| "CREATE TABLE items (id integer PRIMARY KEY, notes text)".to_owned();
    let mut cluster = Cluster::new(&[Kind::Sqlite; 2], table, "[tables.items]\n").await;
    cluster.run(1, "INSERT INTO items VALUES (1, 'n1')").await;
    cluster.configure("[tables.items]\n[tables.items.nodes.b]\nomit = [\"notes\"]");
    let refused = cluster.session().install().await.expect_err("something stands in the way").to_string();
    assert!(refused.contains("`notes` of `items`") && refused.contains("former `omit`"), "{refused}");
    cluster.configure("[tables.items]\n");
    cluster.sync().await;
    cluster.configure("[tables.items]\n[tables.items.nodes.b]\nomit = [\"notes\"]");
    cluster.session().install().await.expect("nothing stands in the way");
}

async fn rounds(policy: &'static str, test: &'static str) {
    let seed = Seed::new(test);
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let count = number("CONCORD_ROUNDS").unwrap_or(ROUNDS);
    let only: Option<u64> = number("CONCORD_ROUND");
    for at in (0..count).filter(|at| only.is_none_or(|only| only == *at)) {
        let mut rng = seed.rng(at);
        let mut round = Round::new(policy, &mut rng).await;
        round.play(&mut rng).await;
        round.release(&mut rng).await;
        round.check(&format!("seed {} round {at}", seed.value())).await;
    }
}

#[tokio::test]
async fn the_latest_wins() {
    rounds("\"latest-wins\"", "sync_omitting::the_latest_wins").await;
}

#[tokio::test]
async fn the_earliest_wins() {
    rounds("\"earliest-wins\"", "sync_omitting::the_earliest_wins").await;
}

#[tokio::test]
async fn a_node_is_preferred() {
    rounds("{ prefer = [\"b\"] }", "sync_omitting::a_node_is_preferred").await;
}

#[tokio::test]
async fn amounts_are_summed() {
    rounds(SUM, "sync_omitting::amounts_are_summed").await;
}

#[tokio::test]
async fn a_person_decides() {
    rounds(PARK, "sync_omitting::a_person_decides").await;
}
