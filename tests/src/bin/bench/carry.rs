//! PostgreSQL to PostgreSQL: time of a sync by time of a raw write of the same rows.

use std::sync::Arc;

use concord_tests::postgres::Server;
use concord_tests::{As, Database, User};

use super::Run;
use super::place::{self, Nodes};
use super::raw::{self, Rows};
use super::report::Target;

const UPDATED: &str = "sync: rows updated on one side";
const BOTH: &str = "sync: rows updated on both sides";
const CONFLICTS: &str = "sync: rows in conflict";
const INSERTS: &str = "sync: inserts and deletes";
const THREE: &str = "sync: rows updated, three nodes";

pub async fn run(run: &mut Run) {
    if [UPDATED, BOTH, CONFLICTS, INSERTS].iter().any(|name| run.wants(name)) {
        let server = run.server().await;
        let nodes = Nodes::postgres(&server, 2, run.sizes.rows).await;
        let bare = Database::on(&server).await;
        place::create(&bare, "accounts", run.sizes.rows).await;
        let mut bench = Bench::new(server, nodes, bare).await;
        run.report.server = bench.users[0].cell("SHOW server_version").await;
        bench.all(run).await;
    }
    if run.wants(THREE) {
        let server = run.server().await;
        let nodes = Nodes::postgres(&server, 3, run.sizes.rows).await;
        let bare = Database::on(&server).await;
        place::create(&bare, "accounts", run.sizes.rows).await;
        let mut bench = Bench::new(server, nodes, bare).await;
        let rounds = bench.updates(run.rounds, &["id % 2 = 0"]).await;
        rounds.tell(run, THREE, Target::None);
    }
}

struct Bench {
    nodes: Nodes,
    /// Has the same table and no triggers.
    bare: Database,
    server: Arc<Server>,
    users: Vec<User>,
    version: usize,
}

impl Bench {
    async fn new(server: Arc<Server>, nodes: Nodes, bare: Database) -> Bench {
        let mut users = Vec::new();
        for database in &nodes.databases {
            users.push(database.user().await);
        }
        Bench { nodes, bare, server, users, version: 0 }
    }

    async fn all(&mut self, run: &mut Run) {
        if run.wants(UPDATED) {
            let rounds = self.updates(run.rounds, &["id % 2 = 0"]).await;
            rounds.tell(run, UPDATED, Target::AtMost(2.0));
        }
        if run.wants(BOTH) {
            let rounds = self.updates(run.rounds, &["id % 4 = 0", "id % 4 = 2"]).await;
            rounds.tell(run, BOTH, Target::AtMost(3.0));
        }
        if run.wants(CONFLICTS) {
            let rounds = self.updates(run.rounds, &["id % 10 = 0", "id % 10 = 0"]).await;
            rounds.tell(run, CONFLICTS, Target::AtMost(3.0));
        }
        if run.wants(INSERTS) {
            let rounds = self.inserts(run.rounds, run.sizes.rows).await;
            rounds.tell(run, INSERTS, Target::AtMost(3.0));
        }
    }

    /// Changes the rows of a condition at each node, and carries them. The first round is not counted.
    async fn updates(&mut self, rounds: usize, conditions: &[&str]) -> Rounds {
        let mut measured = Rounds::default();
        for round in 0..=rounds {
            self.version += 1;
            // The same at both nodes would be no conflict in the end, only two ways to one content.
            for (at, (user, condition)) in self.users.iter_mut().zip(conditions).enumerate() {
                user.execute(&place::change("accounts", self.version * 10 + at, condition)).await;
            }
            let mut rows = Rows::new();
            let distinct = if conditions.len() == 2 && conditions[0] == conditions[1] { 1 } else { conditions.len() };
            for (user, condition) in self.users.iter_mut().zip(&conditions[..distinct]) {
                rows.extend(raw::read(user, condition).await);
            }
            let pair = self.compare(round, &rows, &[]).await;
            measured.add(round, pair);
        }
        measured
    }

    /// A fifth as many rows more, a twentieth gone.
    async fn inserts(&mut self, rounds: usize, rows: i64) -> Rounds {
        let mut measured = Rounds::default();
        let (mut first, mut last) = (1, rows);
        for round in 0..=rounds {
            let (more, fewer) = (rows / 5, rows / 20);
            let user = &mut self.users[0];
            place::insert(user, "accounts", last + 1, last + more).await;
            let gone: Vec<i64> = (first..first + fewer).collect();
            user.execute(&format!("DELETE FROM accounts WHERE id < {}", first + fewer)).await;
            let rows = raw::read(user, &format!("id > {last}")).await;
            (first, last) = (first + fewer, last + more);
            measured.add(round, self.compare(round, &rows, &gone).await);
        }
        measured
    }

    /// Times the sync and the raw write, in turn the one and the other first.
    async fn compare(&mut self, round: usize, rows: &Rows, gone: &[i64]) -> [Measure; 2] {
        let mut measures = [Measure::default(); 2];
        for turn in 0..2 {
            self.nodes.settle().await;
            place::settle(&self.bare).await;
            let which = (turn + round) % 2;
            let before = place::work(&self.server).await;
            let seconds = if which == 0 {
                self.nodes.sync().await.0
            } else {
                let mut writer = self.bare.user_as(As::Sync).await;
                raw::write(&mut writer, rows, gone).await
            };
            measures[which] = Measure { seconds, work: place::work(&self.server).await - before };
        }
        self.nodes.agree().await;
        measures
    }
}

/// What the sync and the raw write took, by turns.
#[derive(Clone, Copy, Default)]
struct Measure {
    seconds: f64,
    /// Processor time, in seconds.
    work: f64,
}

#[derive(Default)]
struct Rounds(Vec<[Measure; 2]>);

impl Rounds {
    /// The first round warms up and is not counted.
    fn add(&mut self, round: usize, measures: [Measure; 2]) {
        self.0.extend((round > 0).then_some(measures));
    }

    fn tell(&self, run: &mut Run, name: &str, target: Target) {
        let side = |of: fn(&Measure) -> f64| self.0.iter().map(|[ours, theirs]| (of(ours), of(theirs))).collect();
        run.report.ratio(name, target, "s", side(|measure| measure.seconds));
        run.report.work(name, side(|measure| measure.work));
    }
}
