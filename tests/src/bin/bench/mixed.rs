//! Between two databases of the same or of different kinds: time of a sync by time of a raw write of the same rows at the second, after
//! the same work as `carry` has between two of PostgreSQL.

use concord::sync::LoadOptions;
use concord_tests::{Database, Kind};

use super::Run;
use super::carry::{self, WORKLOADS, Work, Workload};
use super::report::Target;
use super::{files, mariadb, place, raw, verify};

const PAIRS: [(&str, [Kind; 2]); 6] = [
    ("SQLite to SQLite", [Kind::Sqlite, Kind::Sqlite]),
    ("SQLite to PostgreSQL", [Kind::Sqlite, Kind::Postgres]),
    ("PostgreSQL to SQLite", [Kind::Postgres, Kind::Sqlite]),
    ("MariaDB to MariaDB", [Kind::Mariadb, Kind::Mariadb]),
    ("PostgreSQL to MariaDB", [Kind::Postgres, Kind::Mariadb]),
    ("MariaDB to PostgreSQL", [Kind::Mariadb, Kind::Postgres]),
];

pub async fn run(run: &mut Run) {
    for (pair, kinds) in PAIRS {
        let named = |workload: &Workload| format!("sync: {pair}, {}", workload.words);
        if !WORKLOADS.iter().any(|workload| run.wants(&named(workload))) {
            continue;
        }
        let mut bench = Box::pin(Bench::new(run, kinds)).await;
        for workload in &WORKLOADS {
            let name = named(workload);
            if run.wants(&name) {
                let rounds = Box::pin(bench.rounds(run, workload.work)).await;
                run.report.ratio(&name, target(kinds, workload), "s", rounds);
            }
        }
    }
}

/// The same for all workloads. Between files the raw write takes so little that all else weighs more, and only one side has a bound.
fn target(kinds: [Kind; 2], workload: &Workload) -> Target {
    match (kinds, workload.work) {
        ([Kind::Sqlite, Kind::Sqlite], Work::Update([_])) => Target::AtMost(6.0),
        ([Kind::Sqlite, Kind::Sqlite], _) => Target::None,
        _ => Target::AtMost(2.0),
    }
}

/// Two nodes with the same table.
struct Bench {
    nodes: [Database; 2],
    config: String,
    /// What the raw write takes its rows from, and where it writes them: as the second node, both without triggers.
    origin: Database,
    bare: Database,
    version: usize,
}

impl Bench {
    async fn new(run: &mut Run, kinds: [Kind; 2]) -> Bench {
        let nodes = [database(run, kinds[0]).await, database(run, kinds[1]).await];
        let (origin, bare) = (database(run, kinds[1]).await, database(run, kinds[1]).await);
        let rows = run.sizes.rows;
        for (database, rows) in [(&nodes[0], rows), (&nodes[1], 0), (&origin, rows), (&bare, rows)] {
            create(database, rows).await;
        }
        let config = place::config(nodes.iter().map(Database::url));
        place::install(&config).await;
        // Kinds fill their tables with texts of their own.
        let loaded = place::session(&config).load(&LoadOptions::default(), &mut |_| ()).await;
        assert_eq!(loaded.unwrap_or_else(|error| panic!("load: {error}")).exit_code(), 0);
        Bench { nodes, config, origin, bare, version: 0 }
    }

    /// Does the work, and carries what comes of it: seconds of the sync and of the raw write, by turns. The first round is not counted.
    async fn rounds(&mut self, run: &Run, work: Work) -> Vec<(f64, f64)> {
        let mut rounds = Vec::new();
        for round in 0..=run.rounds {
            let (rows, gone) = self.act(work, round, run.sizes.rows).await;
            let (mut ours, mut theirs) = (0.0, 0.0);
            for turn in 0..2 {
                for database in self.nodes.iter().chain([&self.bare]) {
                    settle(database).await;
                }
                if turn == round % 2 {
                    ours = place::sync(&self.config).await.0;
                } else {
                    theirs = rows.write(&self.bare, &gone).await;
                }
            }
            let sums = [sum(&self.nodes[0]).await, sum(&self.nodes[1]).await, sum(&self.bare).await];
            assert!(sums.iter().all(|sum| *sum == sums[0]), "the nodes or the raw write differ: {sums:?}");
            rounds.extend((round > 0).then_some((ours, theirs)));
        }
        verify::once(&self.config).await;
        rounds
    }

    /// Does a round's work, and likewise where the raw write takes its rows from; those, and the keys that it is to delete.
    async fn act(&mut self, work: Work, round: usize, rows: i64) -> (Rows, Vec<i64>) {
        match work {
            Work::Update(conditions) => {
                self.version += 10;
                // In conflict the first node's are the later ones, so that they win and the second node is written.
                for (at, (database, condition)) in self.nodes.iter().zip(conditions).enumerate().rev() {
                    change(database, self.version + at, condition).await;
                }
                let changed = carry::distinct(conditions).join(" OR ");
                change(&self.origin, self.version, &changed).await;
                (Rows::read(&self.origin, &changed).await, Vec::new())
            }
            Work::Replace => {
                let [new, gone] = carry::replaced(round, rows);
                for database in [&self.nodes[0], &self.origin] {
                    insert(database, new.start, new.end - 1).await;
                    database.user().await.execute(&format!("DELETE FROM accounts WHERE id < {}", gone.end)).await;
                }
                (Rows::read(&self.origin, &format!("id >= {}", new.start)).await, gone.collect())
            }
        }
    }
}

async fn database(run: &mut Run, kind: Kind) -> Database {
    match kind {
        Kind::Sqlite => Database::new(kind).await,
        Kind::Postgres => Database::on(&run.server().await).await,
        Kind::Mariadb => mariadb::database(run).await,
    }
}

async fn create(database: &Database, rows: i64) {
    match database.kind() {
        Kind::Sqlite => files::create(&files::of(database), rows),
        Kind::Postgres => place::create(database, "accounts", rows).await,
        Kind::Mariadb => mariadb::create(database, "accounts", rows).await,
    }
}

/// Inserts rows `from` to `to`, as a user.
async fn insert(database: &Database, from: i64, to: i64) {
    let mut user = database.user().await;
    match database.kind() {
        Kind::Sqlite => user.execute(&files::insert(from, to)).await,
        Kind::Postgres => place::insert(&mut user, "accounts", from, to).await,
        Kind::Mariadb => mariadb::insert(&mut user, "accounts", from, to).await,
    }
}

/// Changes the rows of a condition, as a user.
async fn change(database: &Database, version: usize, condition: &str) {
    let statement = match database.kind() {
        Kind::Sqlite => files::change(version, condition),
        Kind::Postgres => place::change("accounts", version, condition),
        Kind::Mariadb => mariadb::change("accounts", version, condition),
    };
    database.user().await.execute(&statement).await;
}

async fn settle(database: &Database) {
    match database.kind() {
        Kind::Sqlite => files::settle(&files::of(database)),
        Kind::Postgres => place::settle(database).await,
        Kind::Mariadb => mariadb::settle(database).await,
    }
}

/// Rows, and the hundredths of all balances, which kinds spell differently.
async fn sum(database: &Database) -> Vec<Option<f64>> {
    let rows = database.user().await.rows("SELECT count(*), round(sum(balance) * 100) FROM accounts").await;
    rows[0].iter().map(|cell| cell.as_ref()?.parse().ok()).collect()
}

/// The rows of a raw write, as its database has them.
enum Rows {
    Sqlite(files::Rows),
    Postgres(raw::Rows),
    Mariadb(mariadb::Rows),
}

impl Rows {
    /// The rows of a condition.
    async fn read(database: &Database, condition: &str) -> Rows {
        match database.kind() {
            Kind::Sqlite => Rows::Sqlite(files::read(&files::of(database), condition)),
            Kind::Postgres => Rows::Postgres(raw::read(&mut database.user().await, condition).await),
            Kind::Mariadb => Rows::Mariadb(mariadb::read(database, condition).await),
        }
    }

    /// As fast as an ordinary program writes them and deletes others, in one transaction; how many seconds it took.
    async fn write(&self, database: &Database, gone: &[i64]) -> f64 {
        match self {
            Rows::Sqlite(rows) => files::write(&files::of(database), rows, gone),
            Rows::Postgres(rows) => raw::write(&mut database.user().await, rows, gone).await,
            Rows::Mariadb(rows) => mariadb::write(database, rows, gone).await,
        }
    }
}
