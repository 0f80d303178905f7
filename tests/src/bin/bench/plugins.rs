//! What it costs to let a plugin decide: the same conflicts decided by a built-in policy and by a plugin.

use std::path::PathBuf;
use std::time::Instant;

use concord::config::Config;
use concord::sync::Session;
use concord_tests::{Database, User, guests};

use super::Run;
use super::place;
use super::report::Target;

const TAKEN: &str = "plugin: conflicts decided by a resolver";
const SUMMED: &str = "plugin: conflicts merged by merge-fields";

/// A workload: its name, and how conflicts are decided by the plugin and without.
const WORKLOADS: [(&str, &str, &str); 2] = [
    (TAKEN, "{ plugin = \"longest\", column = \"payload\" }", "\"latest-wins\""),
    (SUMMED, "{ plugin = \"merge-fields\", fields = { balance = \"sum\" } }", "{ sum = [\"balance\"] }"),
];

pub async fn run(run: &mut Run) {
    for (name, plugin, built_in) in WORKLOADS {
        if !run.wants(name) {
            continue;
        }
        let mut ours = Sync::new(run, plugin).await;
        let mut theirs = Sync::new(run, built_in).await;
        let mut rounds = Vec::new();
        for round in 0..=run.rounds {
            let mut seconds = [0.0; 2];
            for turn in 0..2 {
                let which = (turn + round) % 2;
                let sync = if which == 0 { &mut ours } else { &mut theirs };
                seconds[which] = sync.carry(round).await;
            }
            // The first round warms up, and compiles the plugin if it is new.
            rounds.extend((round > 0).then_some((seconds[0], seconds[1])));
        }
        run.report.ratio(name, Target::AtMost(1.15), "s", rounds);
    }
}

/// Two databases, and how their conflicts are decided.
struct Sync {
    databases: Vec<Database>,
    users: Vec<User>,
    folder: tempfile::TempDir,
    text: String,
}

impl Sync {
    async fn new(run: &Run, conflict: &str) -> Sync {
        guests::host();
        let server = run.server().await;
        let (mut databases, mut users) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let database = Database::on(&server).await;
            place::create(&database, "accounts", run.sizes.rows).await;
            users.push(database.user().await);
            databases.push(database);
        }
        let folder = place::folder();
        let lock = guests::lock(&["longest", "merge-fields"]);
        std::fs::write(folder.path().join("concord.lock"), lock).expect("the folder is ours");
        let config = place::config(databases.iter().map(Database::url));
        let text = format!("plugins = \"{}\"\n{config}conflict = {conflict}\n", guests::plugins().display());
        let sync = Sync { databases, users, folder, text };
        sync.session().install().await.unwrap_or_else(|error| panic!("install: {error}"));
        sync
    }

    fn session(&self) -> Session {
        let path: PathBuf = self.folder.path().join("concord.toml");
        let config = Config::parse(&path, self.text.clone(), &|_| None);
        Session::new(config.unwrap_or_else(|error| panic!("{error}")))
    }

    /// Changes half of the rows at both nodes, and carries them; the seconds that it took.
    async fn carry(&mut self, round: usize) -> f64 {
        for (at, user) in self.users.iter_mut().enumerate() {
            user.execute(&place::change("accounts", round * 10 + at, "id % 2 = 0")).await;
        }
        for database in &self.databases {
            place::settle(database).await;
        }
        let mut session = self.session();
        let start = Instant::now();
        let summary = session.sync().await.unwrap_or_else(|error| panic!("sync: {error}"));
        let took = start.elapsed().as_secs_f64();
        assert_eq!((summary.waiting, summary.away.len()), (0, 0), "{summary:?}");
        took
    }
}
