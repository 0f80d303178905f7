//! Between two databases of the same or of different kinds: time of a sync by time of a raw write of the same rows at the target.
//! `carry` has more between two of PostgreSQL.

use concord::sync::LoadOptions;
use concord_tests::{Database, Kind};

use super::Run;
use super::report::Target;
use super::{files, mariadb, place, raw, verify};

const WORKLOADS: [(&str, [Kind; 2], f64); 6] = [
    ("sync: SQLite to SQLite", [Kind::Sqlite, Kind::Sqlite], 6.0),
    ("sync: SQLite to PostgreSQL", [Kind::Sqlite, Kind::Postgres], 2.0),
    ("sync: PostgreSQL to SQLite", [Kind::Postgres, Kind::Sqlite], 2.0),
    ("sync: MariaDB to MariaDB", [Kind::Mariadb, Kind::Mariadb], 2.0),
    ("sync: PostgreSQL to MariaDB", [Kind::Postgres, Kind::Mariadb], 2.0),
    ("sync: MariaDB to PostgreSQL", [Kind::Mariadb, Kind::Postgres], 2.0),
];

pub async fn run(run: &mut Run) {
    for (name, kinds, bound) in WORKLOADS {
        if run.wants(name) {
            let rounds = carried(run, kinds).await;
            run.report.ratio(name, Target::AtMost(bound), "s", rounds);
        }
    }
}

/// Changes every second row at the first of two nodes, and carries them.
async fn carried(run: &Run, kinds: [Kind; 2]) -> Vec<(f64, f64)> {
    let nodes = [database(run, kinds[0]).await, database(run, kinds[1]).await];
    // What the raw write takes its rows from, and where it writes them, both without triggers.
    let (origin, bare) = (database(run, kinds[1]).await, database(run, kinds[1]).await);
    for (database, rows) in [(&nodes[0], run.sizes.rows), (&nodes[1], 0), (&origin, run.sizes.rows)] {
        create(database, rows).await;
    }
    create(&bare, run.sizes.rows).await;
    let config = place::config(nodes.iter().map(Database::url));
    place::install(&config).await;
    // Kinds fill their tables with texts of their own.
    let loaded = place::session(&config).load(&LoadOptions::default(), &mut |_| ()).await;
    assert_eq!(loaded.unwrap_or_else(|error| panic!("load: {error}")).exit_code(), 0);
    let mut rounds = Vec::new();
    for round in 0..=run.rounds {
        change(&nodes[0], round).await;
        change(&origin, round).await;
        let rows = Rows::read(&origin).await;
        let (mut ours, mut theirs) = (0.0, 0.0);
        for turn in 0..2 {
            for database in nodes.iter().chain([&bare]) {
                settle(database).await;
            }
            if turn == round % 2 {
                ours = place::sync(&config).await.0;
            } else {
                theirs = rows.write(&bare).await;
            }
        }
        let sums = [sum(&nodes[0]).await, sum(&nodes[1]).await, sum(&bare).await];
        assert!(sums.iter().all(|sum| *sum == sums[0]), "the nodes or the raw write differ: {sums:?}");
        rounds.extend((round > 0).then_some((ours, theirs)));
    }
    verify::once(&config).await;
    rounds
}

async fn database(run: &Run, kind: Kind) -> Database {
    match kind {
        Kind::Sqlite => Database::new(kind).await,
        Kind::Postgres => Database::on(&run.server().await).await,
        Kind::Mariadb => mariadb::database().await,
    }
}

async fn create(database: &Database, rows: i64) {
    match database.kind() {
        Kind::Sqlite => files::create(&files::of(database), rows),
        Kind::Postgres => place::create(database, "accounts", rows).await,
        Kind::Mariadb => mariadb::create(database, "accounts", rows).await,
    }
}

/// Changes every second row, as a user.
async fn change(database: &Database, version: usize) {
    let statement = match database.kind() {
        Kind::Sqlite => files::change(version),
        Kind::Postgres => place::change("accounts", version, "id % 2 = 0"),
        Kind::Mariadb => mariadb::change("accounts", version),
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
    /// What was changed.
    async fn read(database: &Database) -> Rows {
        match database.kind() {
            Kind::Sqlite => Rows::Sqlite(files::read(&files::of(database))),
            Kind::Postgres => Rows::Postgres(raw::read(&mut database.user().await, "id % 2 = 0").await),
            Kind::Mariadb => Rows::Mariadb(mariadb::read(database).await),
        }
    }

    /// As fast as an ordinary program writes them, in one transaction; how many seconds it took.
    async fn write(&self, database: &Database) -> f64 {
        match self {
            Rows::Sqlite(rows) => files::write(&files::of(database), rows),
            Rows::Postgres(rows) => raw::write(&mut database.user().await, rows, &[]).await,
            Rows::Mariadb(rows) => mariadb::write(database, rows).await,
        }
    }
}
