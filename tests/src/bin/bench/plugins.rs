//! What plugins cost a sync: the same changes of the same tables carried with plugins and without.

use std::path::PathBuf;
use std::time::Instant;

use concord::config::Config;
use concord::sync::Session;
use concord_tests::{As, Database, User, guests};

use super::Run;
use super::place;
use super::report::Target;

/// Half of the rows are changed at so many nodes, and carried by both files.
struct Workload {
    name: &'static str,
    sides: usize,
    /// What stands in the table's section.
    plugins: &'static str,
    without: &'static str,
    target: f64,
}

const NAMES: [&str; 4] = ["cel", "longest", "merge-fields", "reshape"];

/// They keep all rows and change no value, so that as many rows are written as without them.
const WORKLOADS: [Workload; 6] = [
    Workload {
        name: "plugin: rows through a filter",
        sides: 1,
        plugins: "[tables.accounts.nodes.n1]
                  filter = { plugin = \"cel\", keep = \"row.balance >= 0.0\" }",
        without: "",
        target: 1.15,
    },
    Workload {
        name: "plugin: rows through a filter, one way",
        sides: 1,
        plugins: "from = \"n0\"
                  [tables.accounts.nodes.n1]
                  filter = { plugin = \"cel\", keep = \"row.balance >= 0.0\" }",
        without: "from = \"n0\"",
        target: 1.15,
    },
    Workload {
        name: "plugin: rows through a mapping",
        sides: 1,
        plugins: "[tables.accounts.nodes.n1]
                  mapping = { plugin = \"reshape\", columns = { name = { case = \"lower\" } } }",
        without: "",
        target: 1.15,
    },
    Workload {
        name: "plugin: conflicts decided by a resolver",
        sides: 2,
        plugins: "conflict = { plugin = \"longest\", column = \"payload\" }",
        without: "conflict = \"latest-wins\"",
        target: 1.15,
    },
    Workload {
        name: "plugin: conflicts merged by merge-fields",
        sides: 2,
        plugins: "conflict = { plugin = \"merge-fields\", fields = { balance = \"sum\" } }",
        without: "conflict = { sum = [\"balance\"] }",
        target: 1.15,
    },
    Workload {
        name: "plugin: filter, mapping and resolver",
        sides: 2,
        plugins: "conflict = { plugin = \"longest\", column = \"payload\" }
                  [tables.accounts.nodes.n1]
                  filter = { plugin = \"cel\", keep = \"row.balance >= 0.0\" }
                  mapping = { plugin = \"reshape\", columns = { name = { case = \"lower\" } } }",
        without: "conflict = \"latest-wins\"",
        target: 1.3,
    },
];

pub async fn run(run: &mut Run) {
    for workload in WORKLOADS {
        if !run.wants(workload.name) {
            continue;
        }
        let mut syncs =
            vec![Sync::new(run, workload.plugins, false).await, Sync::new(run, workload.without, false).await];
        if workload.sides == 1 {
            syncs.push(Sync::new(run, workload.without, true).await);
        }
        let mut rounds: Vec<Vec<f64>> = Vec::new();
        for round in 0..=run.rounds {
            let mut seconds = vec![0.0; syncs.len()];
            for turn in 0..syncs.len() {
                let which = (turn + round) % syncs.len();
                seconds[which] = syncs[which].carry(round, workload.sides).await;
            }
            // The first round warms up, and compiles the plugin if it is new.
            rounds.extend((round > 0).then_some(seconds));
        }
        assert!(syncs.iter().all(|sync| sync.written == syncs[0].written), "as many rows are written");
        let by = |other: usize| rounds.iter().map(|seconds| (seconds[0], seconds[other])).collect();
        run.report.ratio(workload.name, Target::AtMost(workload.target), "s", by(1));
        if syncs.len() > 2 {
            run.report.ratio(&format!("{}, by late writing", workload.name), Target::None, "s", by(2));
        }
    }
}

/// A table with triggers of users is not written while others are read: a trigger that never fires shows what that is worth.
const NEVER_FIRES: [&str; 2] = [
    "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "CREATE TRIGGER never AFTER TRUNCATE ON accounts EXECUTE FUNCTION nothing()",
];

/// Two databases, and what the file says about their table.
struct Sync {
    databases: Vec<Database>,
    users: Vec<User>,
    folder: tempfile::TempDir,
    text: String,
    /// Rows that were written so far.
    written: u64,
}

impl Sync {
    async fn new(run: &Run, section: &str, late: bool) -> Sync {
        guests::host();
        let server = run.server().await;
        let (mut databases, mut users) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let database = Database::on(&server).await;
            place::create(&database, "accounts", run.sizes.rows).await;
            if late {
                let mut owner = database.user_as(As::Sync).await;
                for statement in NEVER_FIRES {
                    owner.execute(statement).await;
                }
            }
            users.push(database.user().await);
            databases.push(database);
        }
        let folder = place::folder();
        std::fs::write(folder.path().join("concord.lock"), guests::lock(&NAMES)).expect("the folder is ours");
        let config = place::config(databases.iter().map(Database::url));
        let text = format!("plugins = \"{}\"\n{config}{section}\n", guests::plugins().display());
        let sync = Sync { databases, users, folder, text, written: 0 };
        sync.session().install().await.unwrap_or_else(|error| panic!("install: {error}"));
        sync
    }

    fn session(&self) -> Session {
        let path: PathBuf = self.folder.path().join("concord.toml");
        let config = Config::parse(&path, self.text.clone(), &|_| None);
        Session::new(config.unwrap_or_else(|error| panic!("{error}")))
    }

    /// Changes half of the rows at the first nodes, and carries them; the seconds that it took.
    async fn carry(&mut self, round: usize, sides: usize) -> f64 {
        for (at, user) in self.users.iter_mut().enumerate().take(sides) {
            user.execute(&place::change("accounts", round * 10 + at, "id % 2 = 0")).await;
        }
        for database in &self.databases {
            place::settle(database).await;
        }
        let mut session = self.session();
        let start = Instant::now();
        let summary = session.sync().await.unwrap_or_else(|error| panic!("sync: {error}"));
        let took = start.elapsed().as_secs_f64();
        assert_eq!((summary.waiting, summary.away.len(), summary.stopped.len()), (0, 0, 0), "{summary:?}");
        self.written += summary.nodes.iter().map(|carried| carried.written).sum::<u64>();
        took
    }
}
