//! PostgreSQL to PostgreSQL: time of a sync by time of a raw write of the same rows. What is done there is done between other kinds as
//! well, by `mixed`.

use std::ops::Range;
use std::sync::Arc;

use concord_tests::postgres::Server;
use concord_tests::{As, Database, User};

use super::Run;
use super::place::{self, Nodes};
use super::raw::{self, Rows};
use super::report::Target;

/// What users do between two syncs.
pub struct Workload {
    /// Between two of PostgreSQL.
    name: &'static str,
    /// What it is called behind the kinds of other pairs.
    pub words: &'static str,
    pub work: Work,
    pub bound: f64,
}

#[derive(Clone, Copy)]
pub enum Work {
    /// The rows of a condition are changed at each node.
    Update(&'static [&'static str]),
    /// A fifth as many rows more at the first node, a twentieth gone.
    Replace,
}

/// Half of the rows; a quarter at each; the same tenth at both, by other values: by the same there would be no conflict in the
/// end, only two ways to one content.
pub const WORKLOADS: [Workload; 4] = [
    Workload {
        name: "sync: rows updated on one side",
        words: "on one side",
        work: Work::Update(&["id % 2 = 0"]),
        bound: 2.0,
    },
    Workload {
        name: "sync: rows updated on both sides",
        words: "on both sides",
        work: Work::Update(&["id % 4 = 0", "id % 4 = 2"]),
        bound: 3.0,
    },
    Workload {
        name: "sync: rows in conflict",
        words: "in conflict",
        work: Work::Update(&["id % 10 = 0", "id % 10 = 0"]),
        bound: 3.0,
    },
    Workload { name: "sync: inserts and deletes", words: "inserts and deletes", work: Work::Replace, bound: 3.0 },
];

const THREE: &str = "sync: rows updated, three nodes";

/// The conditions of the rows that a raw write has to write, each once.
pub fn distinct<'c>(conditions: &'c [&'c str]) -> &'c [&'c str] {
    match conditions {
        [first, second] if first == second => &conditions[..1],
        _ => conditions,
    }
}

/// The keys that are new after a round, and those that are gone, of a table that had keys from 1 to `rows` before the first.
pub fn replaced(round: usize, rows: i64) -> [Range<i64>; 2] {
    let (more, fewer, round) = (rows / 5, rows / 20, round as i64);
    let (first, next) = (1 + round * fewer, 1 + rows + round * more);
    [next..next + more, first..first + fewer]
}

pub async fn run(run: &mut Run) {
    if WORKLOADS.iter().any(|workload| run.wants(workload.name)) {
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
        let rounds = bench.rounds(run, WORKLOADS[0].work).await;
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
        for workload in &WORKLOADS {
            if run.wants(workload.name) {
                let rounds = self.rounds(run, workload.work).await;
                rounds.tell(run, workload.name, Target::AtMost(workload.bound));
            }
        }
    }

    /// Does the work, and carries what comes of it. The first round is not counted.
    async fn rounds(&mut self, run: &Run, work: Work) -> Rounds {
        let mut measured = Rounds::default();
        for round in 0..=run.rounds {
            let (rows, gone) = match work {
                Work::Update(conditions) => (self.update(conditions).await, Vec::new()),
                Work::Replace => self.replace(replaced(round, run.sizes.rows)).await,
            };
            measured.add(round, self.compare(round, &rows, &gone).await);
        }
        measured
    }

    /// Changes the rows of a condition at each node; all that were.
    async fn update(&mut self, conditions: &[&str]) -> Rows {
        self.version += 1;
        for (at, (user, condition)) in self.users.iter_mut().zip(conditions).enumerate() {
            user.execute(&place::change("accounts", self.version * 10 + at, condition)).await;
        }
        let mut rows = Rows::new();
        for (user, condition) in self.users.iter_mut().zip(distinct(conditions)) {
            rows.extend(raw::read(user, condition).await);
        }
        rows
    }

    /// Inserts rows and deletes others; the new ones, and the keys of the others.
    async fn replace(&mut self, [new, gone]: [Range<i64>; 2]) -> (Rows, Vec<i64>) {
        let user = &mut self.users[0];
        place::insert(user, "accounts", new.start, new.end - 1).await;
        user.execute(&format!("DELETE FROM accounts WHERE id < {}", gone.end)).await;
        (raw::read(user, &format!("id >= {}", new.start)).await, gone.collect())
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
