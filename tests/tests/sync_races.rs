//! Users who write while Concord works, and transactions that take their time: no acknowledged write is lost, skipped,
//! taken twice or overwritten unread.

use std::time::{Duration, Instant};

use concord::sync::ParkedReport;
use concord_tests::postgres::Server;
use concord_tests::{As, Cluster, Database, Kind, PATIENCE, User, wait_until};

concord_tests::clusters! {
    pairs: [
        changed_between_read_and_apply, inserted_between_read_and_apply, deleted_between_read_and_apply, changed_before_a_delete_arrives,
        sums_between_read_and_apply, another_engine_is_faster, what_was_parked_since_is_not_dropped,
        swapped_between_read_and_apply,
    ]
    many: [changed_between_read_and_apply_among_all]
    all: []
}

const ITEMS: &str = "CREATE TABLE items (id integer PRIMARY KEY, name text, amount integer NOT NULL DEFAULT 0);
                     INSERT INTO items VALUES (1, 'one', 10), (2, 'two', 20), (3, 'three', 30)";
const BOTH_POSTGRES: &[Kind] = &[Kind::Postgres, Kind::Postgres];
const WITH_MARIADB: &[Kind] = &[Kind::Postgres, Kind::Mariadb];
const SUM: &str = "[tables.items]\nconflict = { sum = [\"amount\"] }";

async fn items(kinds: &[Kind], tables: &str) -> Cluster {
    Cluster::new(kinds, |_| ITEMS.to_owned(), tables).await
}

/// The names that lost a conflict.
async fn losers(cluster: &Cluster) -> Vec<String> {
    let journal = cluster.session().conflicts(0).await.expect("a journal");
    journal.iter().filter_map(|lost| Some(lost.loser_row.as_ref()?["name"].as_str()?.to_owned())).collect()
}

async fn changed_between_read_and_apply(kinds: &[Kind]) {
    let mut cluster = items(kinds, "[tables.items]").await;
    cluster.run(0, "UPDATE items SET name = 'engine', amount = 11 WHERE id < 3").await;
    let last = kinds.len() - 1;
    let meanwhile =
        async |cluster: &mut Cluster| cluster.later(last, "UPDATE items SET name = 'user' WHERE id = 1").await;
    cluster.sync_while("read-done", meanwhile).await;
    cluster.settle().await;
    // The user wrote last and without having seen the other: a conflict like any other, and told.
    cluster.holds("SELECT * FROM items ORDER BY id", &["1|user|10", "2|engine|11", "3|three|30"]).await;
    assert_eq!(losers(&cluster).await, ["engine"]);
}

async fn changed_between_read_and_apply_among_all(kinds: &[Kind]) {
    changed_between_read_and_apply(kinds).await;
}

async fn inserted_between_read_and_apply(kinds: &[Kind]) {
    let mut cluster = items(kinds, "[tables.items]\nconflict = \"earliest-wins\"").await;
    cluster.run(0, "INSERT INTO items VALUES (4, 'engine', 40)").await;
    let meanwhile = async |cluster: &mut Cluster| cluster.later(1, "INSERT INTO items VALUES (4, 'user', 44)").await;
    cluster.sync_while("read-done", meanwhile).await;
    cluster.settle().await;
    cluster.holds("SELECT name FROM items WHERE id = 4", &["engine"]).await;
    assert_eq!(losers(&cluster).await, ["user"]);
}

async fn deleted_between_read_and_apply(kinds: &[Kind]) {
    let mut cluster = items(kinds, "[tables.items]").await;
    cluster.run(0, "UPDATE items SET name = 'engine' WHERE id = 1").await;
    let meanwhile = async |cluster: &mut Cluster| cluster.later(1, "DELETE FROM items WHERE id = 1").await;
    cluster.sync_while("read-done", meanwhile).await;
    cluster.settle().await;
    cluster.holds("SELECT id FROM items ORDER BY id", &["2", "3"]).await;
    assert_eq!(losers(&cluster).await, ["engine"]);
}

async fn changed_before_a_delete_arrives(kinds: &[Kind]) {
    let mut cluster = items(kinds, "[tables.items]").await;
    cluster.run(0, "DELETE FROM items WHERE id IN (1, 2)").await;
    let meanwhile = async |cluster: &mut Cluster| cluster.later(1, "UPDATE items SET name = 'user' WHERE id = 1").await;
    cluster.sync_while("read-done", meanwhile).await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM items ORDER BY id", &["1|user|10", "3|three|30"]).await;
}

async fn sums_between_read_and_apply(kinds: &[Kind]) {
    let mut cluster = items(kinds, SUM).await;
    for at in 0..2 {
        cluster.run(at, "UPDATE items SET amount = amount + 1 WHERE id = 1").await;
    }
    let meanwhile = async |cluster: &mut Cluster| {
        for at in 0..2 {
            cluster.run(at, "UPDATE items SET amount = amount + 10 WHERE id = 1").await;
        }
    };
    cluster.sync_while("read-done", meanwhile).await;
    cluster.settle().await;
    cluster.holds("SELECT amount FROM items WHERE id = 1", &["32"]).await;
}

/// A whole sync by somebody else between this one's reading and applying: only one of them counts.
async fn another_engine_is_faster(kinds: &[Kind]) {
    let mut cluster = items(kinds, SUM).await;
    for at in 0..2 {
        cluster.run(at, "UPDATE items SET amount = amount + 1 WHERE id = 1").await;
    }
    let meanwhile = async |cluster: &mut Cluster| {
        cluster.sync().await;
        cluster.run(0, "UPDATE items SET amount = amount + 10 WHERE id = 1").await;
    };
    cluster.sync_while("read-done", meanwhile).await;
    cluster.settle().await;
    cluster.holds("SELECT amount FROM items WHERE id = 1", &["22"]).await;
}

/// Another table under the name, which nobody has read, is not written: it stands still alone until `install` has seen it.
async fn swapped_between_read_and_apply(kinds: &[Kind]) {
    let setup = |_| {
        format!(
            "{ITEMS}; CREATE TABLE others (id integer PRIMARY KEY);
             CREATE TABLE swapped (id integer PRIMARY KEY, name text, amount integer NOT NULL DEFAULT 0);
             INSERT INTO swapped VALUES (1, 'mine', 1), (2, 'two', 20), (3, 'three', 30)"
        )
    };
    let mut cluster = Cluster::new(kinds, setup, "[tables.items]\n[tables.others]").await;
    cluster.run(0, "UPDATE items SET name = 'engine' WHERE id < 3; INSERT INTO others VALUES (1)").await;
    let swap = "ALTER TABLE items RENAME TO former; ALTER TABLE swapped RENAME TO items";
    let meanwhile = async |cluster: &mut Cluster| cluster.run_as_owner(1, swap).await;
    let summary = cluster.sync_while("read-done", meanwhile).await;
    let stopped: Vec<&str> = summary.stopped.iter().map(|stopped| stopped.table.as_str()).collect();
    assert_eq!((stopped, summary.away.len(), summary.exit_code()), (vec!["items"], 0, 1), "{summary:?}");
    assert!(summary.stopped[0].why.contains("run `concord install`"), "{summary:?}");
    cluster.holds_at(1, "SELECT * FROM items ORDER BY id", &["1|mine|1", "2|two|20", "3|three|30"]).await;
    cluster.holds("SELECT id FROM others", &["1"]).await;
    // `install` takes the triggers from the former one, which is a table like any other from then on.
    cluster.install().await;
    cluster.run_as_owner(1, "DELETE FROM former WHERE id = 3; UPDATE former SET name = 'ghost'").await;
    cluster.settle().await;
    cluster.holds("SELECT name FROM items ORDER BY id", &["engine", "engine", "three"]).await;
}

/// Nobody sees a row that somebody has inserted and not committed: its delete waits for him, and for nobody who came later.
#[tokio::test]
async fn a_delete_of_what_is_being_inserted() {
    // With a column that lives at one of them only, the rows of all are looked at beforehand.
    for (kinds, commits, omit) in [
        (BOTH_POSTGRES, true, ""),
        (BOTH_POSTGRES, true, "[tables.items.nodes.b]\nomit = [\"amount\"]"),
        (BOTH_POSTGRES, false, ""),
        (WITH_MARIADB, true, ""),
    ] {
        // GIVEN an open transaction that inserted a row, and a younger delete of that row
        let mut cluster = items(kinds, &format!("[tables.items]\n{omit}")).await;
        cluster.run(1, "START TRANSACTION; INSERT INTO items VALUES (4, 'user', 44)").await;
        cluster.later(0, "INSERT INTO items VALUES (4, 'engine', 40)").await;
        cluster.run(0, "DELETE FROM items WHERE id = 4; UPDATE items SET name = 'uno' WHERE id = 1").await;
        // WHEN it arrives
        let summary = cluster.sync().await;
        // THEN it is held, and nothing else is
        assert_eq!((summary.held, summary.conflicts), (1, 0));
        cluster.holds("SELECT name FROM items WHERE id = 1", &["uno"]).await;
        let mut other = cluster.nodes[1].database.user().await;
        other.execute("START TRANSACTION; INSERT INTO items VALUES (50, 'other', 0)").await;
        assert_eq!(cluster.sync().await.held, 1);
        cluster.run(1, if commits { "COMMIT" } else { "ROLLBACK" }).await;
        let summary = cluster.sync().await;
        assert_eq!((summary.held, summary.conflicts), (0, u64::from(commits)));
        cluster.holds("SELECT id FROM items ORDER BY id", &["1", "2", "3"]).await;
        assert_eq!(losers(&cluster).await, if commits { vec!["user"] } else { Vec::new() });
        other.execute("ROLLBACK").await;
        cluster.settle().await;
    }
}

/// Whoever parked another version since the rows were shown is not overruled by who gives them up.
async fn what_was_parked_since_is_not_dropped(kinds: &[Kind]) {
    // GIVEN a row that waits for an owner who is not at b
    let setup = |_| {
        "CREATE TABLE owners (id integer PRIMARY KEY);
         CREATE TABLE items (id integer PRIMARY KEY, name text, owner integer REFERENCES owners (id))"
            .to_owned()
    };
    let mut cluster = Cluster::new(kinds, setup, "[tables.items]").await;
    cluster.run(0, "INSERT INTO owners VALUES (1); INSERT INTO items VALUES (1, 'old', 1)").await;
    cluster.sync().await;
    let shown = cluster.session().parked().await.expect("what waits");
    let chosen = |row: &ParkedReport| shown.contains(row);
    // WHEN a newer version is parked after the look and before the dropping THEN nothing is given up
    let meanwhile = async |cluster: &mut Cluster| {
        cluster.run(0, "UPDATE items SET name = 'new'").await;
        cluster.sync().await;
    };
    let mut session = cluster.session();
    let dropped = cluster.during("drop-chosen", session.drop_parked(chosen), meanwhile).await;
    let error = dropped.expect_err("another engine was faster");
    assert!(error.to_string().contains("another engine has been at work"), "{error}");
    // NOR is it afterwards, as it is not what was shown
    assert_eq!(cluster.session().drop_parked(chosen).await.expect("nothing to drop").len(), 0);
    let waits = cluster.session().parked().await.expect("what waits");
    let names: Vec<_> = waits.iter().filter_map(|row| row.row.as_ref()?["name"].as_str()).collect();
    assert_eq!((shown.len(), names), (1, vec!["new"]));
    // AND what was shown as it is can be given up
    assert_eq!(cluster.session().drop_parked(|row| waits.contains(row)).await.expect("it waits").len(), 1);
    cluster.settle().await;
    cluster.holds("SELECT count(*) FROM items", &["0"]).await;
}

/// Whether a session of this database waits for a lock.
async fn somebody_waits(database: &Database) {
    let mut admin = database.user_as(As::Admin).await;
    let sql = match database.kind() {
        // Its view of transactions is not renewed as long as somebody goes on reading it. What runs so long waits.
        Kind::Mariadb => {
            "SELECT id FROM information_schema.processlist
             WHERE db = database() AND id <> connection_id() AND command <> 'Sleep' AND time_ms > 300"
        }
        _ => "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    };
    wait_until("somebody to wait for a lock", PATIENCE, async || (!admin.rows(sql).await.is_empty()).then_some(()))
        .await;
}

#[tokio::test]
async fn a_user_holds_a_lock_while_concord_applies() {
    for kinds in [BOTH_POSTGRES, WITH_MARIADB] {
        a_lock_is_held_while_concord_applies(kinds).await;
    }
}

async fn a_lock_is_held_while_concord_applies(kinds: &[Kind]) {
    let mut cluster = items(kinds, "[tables.items]").await;
    cluster.run(0, "UPDATE items SET name = 'engine', amount = 11").await;
    let meanwhile = async |cluster: &mut Cluster| {
        cluster.later(1, "START TRANSACTION").await;
        cluster.run(1, "UPDATE items SET name = 'user' WHERE id = 1; DELETE FROM items WHERE id = 2").await;
    };
    let afterwards = async |cluster: &mut Cluster| {
        somebody_waits(&cluster.nodes[1].database).await;
        cluster.run(1, "COMMIT").await;
    };
    cluster.sync_around("read-done", meanwhile, afterwards).await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM items ORDER BY id", &["1|user|10", "3|engine|11"]).await;
}

/// The lock is given up without a change: what Concord brought stands.
#[tokio::test]
async fn a_user_holds_a_lock_and_rolls_back() {
    for kinds in [BOTH_POSTGRES, WITH_MARIADB] {
        a_lock_is_held_and_rolled_back(kinds).await;
    }
}

async fn a_lock_is_held_and_rolled_back(kinds: &[Kind]) {
    let mut cluster = items(kinds, "[tables.items]").await;
    cluster.run(0, "UPDATE items SET name = 'engine' WHERE id = 1; INSERT INTO items VALUES (4, 'new', 0)").await;
    let meanwhile = async |cluster: &mut Cluster| {
        cluster
            .run(1, "START TRANSACTION; UPDATE items SET name = 'user' WHERE id = 1; INSERT INTO items VALUES (4, 'user', 1)")
            .await;
    };
    let afterwards = async |cluster: &mut Cluster| {
        somebody_waits(&cluster.nodes[1].database).await;
        cluster.run(1, "ROLLBACK").await;
    };
    let summary = cluster.sync_around("read-done", meanwhile, afterwards).await;
    assert_eq!(summary.conflicts, 0);
    cluster.settle().await;
    cluster.holds("SELECT name FROM items WHERE id IN (1, 4) ORDER BY id", &["engine", "new"]).await;
}

/// Whatever a user's open transaction keeps from being written is told and left to the next cycle, and nothing else is: a key
/// that it has inserted, a unique value that it has taken, a row that others refer to, a row that it deletes, a whole table.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_holds_up_nothing_else() {
    // MariaDB takes longer to tell who holds what, and nobody is waited for long.
    for (kinds, others) in [(BOTH_POSTGRES, 1000), (WITH_MARIADB, 60)] {
        nothing_else_is_held_up(kinds, others).await;
    }
}

async fn nothing_else_is_held_up(kinds: &[Kind], others: usize) {
    let setup = |_| {
        "CREATE TABLE owners (id integer PRIMARY KEY); CREATE TABLE notes (id integer PRIMARY KEY);
         CREATE TABLE items (id integer PRIMARY KEY, seat varchar(40) UNIQUE, owner integer REFERENCES owners (id));
         INSERT INTO owners VALUES (1), (2); INSERT INTO items VALUES (1, 'a', 1), (2, 'b', 1)"
            .to_owned()
    };
    let mut cluster = Cluster::new(kinds, setup, "[tables.items]\n[tables.notes]").await;
    // GIVEN a user who has begun much and ended nothing
    let mut users = Vec::new();
    let lock = match kinds[1] {
        // Which ends with whatever is done next.
        Kind::Mariadb => "LOCK TABLES notes READ",
        _ => "LOCK TABLE notes IN SHARE MODE",
    };
    for sql in [
        "INSERT INTO items VALUES (50, 'mine', 1)",
        "SELECT 1 FROM owners WHERE id = 2 FOR UPDATE",
        "DELETE FROM items WHERE id = 2",
        lock,
    ] {
        let mut user = cluster.nodes[1].database.user_as(As::Sync).await;
        user.execute(&format!("START TRANSACTION; {sql}")).await;
        users.push(user);
    }
    // WHEN what needs that is brought among many others
    let many = format!("INSERT INTO items SELECT i, 's' || i, 1 FROM generate_series(1001, {}) i", 1000 + others);
    cluster
        .run(
            0,
            &format!(
                "INSERT INTO items VALUES (50, 'fifty', 1), (51, 'mine', 1), (52, 'c', 2); DELETE FROM items WHERE id = 1;
                 UPDATE items SET seat = 'bb' WHERE id = 2; INSERT INTO notes VALUES (1), (2); {many}"
            ),
        )
        .await;
    let summary = cluster.sync().await;
    // THEN the others arrive
    assert_eq!((summary.held, summary.waiting, summary.failed.as_deref()), (6, 0, None), "{summary:?}");
    assert_eq!(summary.exit_code(), 3);
    cluster.holds_at(1, "SELECT count(*), min(id) FROM items WHERE id <> 2", &[&format!("{others}|1001")]).await;
    // AND as soon as the user is done the rest does
    for mut user in users {
        user.execute("ROLLBACK").await;
    }
    cluster.settle().await;
    cluster.holds("SELECT count(*) FROM items WHERE id < 100", &["4"]).await;
    cluster.holds("SELECT count(*) FROM notes", &["2"]).await;
}

/// A user who waits for Concord's locks writes upon what Concord wrote, and that is no conflict.
#[tokio::test]
async fn a_user_waits_for_concord() {
    for kinds in [BOTH_POSTGRES, WITH_MARIADB] {
        a_user_waits(kinds).await;
    }
}

async fn a_user_waits(kinds: &[Kind]) {
    let mut cluster = items(kinds, "[tables.items]").await;
    cluster.run(0, "UPDATE items SET name = 'engine', amount = 100 WHERE id = 1").await;
    let mut other = cluster.nodes[1].database.user().await;
    let (sender, waiting) = tokio::sync::oneshot::channel();
    let meanwhile = async |cluster: &mut Cluster| {
        let writing =
            tokio::spawn(async move { other.execute("UPDATE items SET amount = amount + 1 WHERE id = 1").await });
        somebody_waits(&cluster.nodes[1].database).await;
        sender.send(writing).expect("the test waits for it");
    };
    let summary = cluster.sync_while("apply-written", meanwhile).await;
    waiting.await.expect("it was sent").await.expect("the user's write succeeds");
    assert_eq!(summary.conflicts, 0);
    assert_eq!(cluster.settle().await.conflicts, 0);
    cluster.holds("SELECT * FROM items WHERE id = 1", &["1|engine|101"]).await;
}

/// Of two who hold what the other wants MariaDB undoes the one that has written less. That is Concord here: it begins anew,
/// finds what the user has done meanwhile, and nothing of its first attempt is left.
#[tokio::test]
async fn a_deadlock_is_begun_anew() {
    let setup = |kind| match kind {
        Kind::Mariadb => format!("{ITEMS}; CREATE TABLE ballast (id integer PRIMARY KEY)"),
        _ => ITEMS.to_owned(),
    };
    let mut cluster = Cluster::new(WITH_MARIADB, setup, SUM).await;
    let deadlocks = "SELECT CAST(variable_value AS SIGNED) FROM information_schema.global_status
                     WHERE variable_name = 'INNODB_DEADLOCKS'";
    let before: i64 = cluster.rows(1, deadlocks).await[0].parse().expect("a number");
    cluster.run(0, "UPDATE items SET amount = amount + 1; INSERT INTO items VALUES (4, 'new', 40)").await;
    let meanwhile = async |cluster: &mut Cluster| {
        cluster
            .run(
                1,
                "START TRANSACTION; INSERT INTO ballast SELECT seq FROM seq_1_to_2000;
                 UPDATE items SET amount = amount + 100 WHERE id = 2",
            )
            .await;
    };
    // Whichever of the others it has written before it came to the second.
    let afterwards = async |cluster: &mut Cluster| {
        somebody_waits(&cluster.nodes[1].database).await;
        cluster.run(1, "UPDATE items SET amount = amount + 100 WHERE id IN (1, 3); COMMIT").await;
    };
    let summary = cluster.sync_around("read-done", meanwhile, afterwards).await;
    assert_eq!((summary.failed, summary.away), (None, vec![]));
    let after: i64 = cluster.rows(1, deadlocks).await[0].parse().expect("a number");
    assert!(after > before, "nobody was in anybody's way");
    cluster.settle().await;
    cluster.holds("SELECT amount FROM items ORDER BY id", &["111", "121", "131", "40"]).await;
}

/// Transactions that write early and commit after others, some of whose numbers are lower and some higher.
#[tokio::test]
async fn late_commits_are_neither_skipped_nor_read_twice() {
    for kinds in [BOTH_POSTGRES, &[Kind::Mariadb, Kind::Postgres]] {
        commits_late(kinds).await;
    }
}

async fn commits_late(kinds: &[Kind]) {
    let mut cluster = items(kinds, SUM).await;
    let mut late: Vec<User> = Vec::new();
    for id in 1..=3 {
        let mut user = cluster.nodes[0].database.user().await;
        user.execute(&format!("BEGIN; UPDATE items SET amount = amount + 1 WHERE id = {id}")).await;
        cluster.run(0, &format!("INSERT INTO items VALUES ({}, 'between', {id})", id + 10)).await;
        late.push(user);
    }
    cluster.settle().await;
    for (n, at) in [1, 0, 2].into_iter().enumerate() {
        late[at].execute("SAVEPOINT s; INSERT INTO items VALUES (100, 'undone', 1); ROLLBACK TO s; COMMIT").await;
        cluster.run(1, &format!("UPDATE items SET amount = amount + 10 WHERE id = {}", at + 1)).await;
        cluster.settle().await;
        cluster.holds("SELECT sum(amount) FROM items WHERE id < 4", &[&(60 + 11 * (n + 1)).to_string()]).await;
    }
    cluster.holds("SELECT id, amount FROM items ORDER BY id", &["1|21", "2|31", "3|41", "11|1", "12|2", "13|3"]).await;
}

/// Nothing that somebody does in another database of the server keeps changes from arriving.
#[tokio::test]
async fn a_long_transaction_in_another_database() {
    let mut cluster = items(BOTH_POSTGRES, SUM).await;
    let other = Database::new(Kind::Postgres).await;
    let mut long = other.user_as(As::Sync).await;
    long.execute("BEGIN; CREATE TABLE t (id integer)").await;
    for _ in 0..2 {
        for at in 0..2 {
            cluster.run(at, "UPDATE items SET amount = amount + 1 WHERE id = 1").await;
        }
        cluster.settle().await;
    }
    cluster.holds("SELECT amount FROM items WHERE id = 1", &["14"]).await;
    long.execute("COMMIT").await;
    cluster.settle().await;
}

#[tokio::test]
async fn an_orphaned_prepared_transaction() {
    let server = Server::dedicated(&[]);
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Sqlite], |_| ITEMS.to_owned(), SUM).await;
    let database = Database::on(&server).await;
    database.user_as(As::Sync).await.execute(ITEMS).await;
    cluster.replace(0, database).await;
    cluster.install().await;
    // GIVEN a change that is neither there nor gone, and a session that has been idle within a transaction
    cluster.run(0, "BEGIN; UPDATE items SET amount = amount + 1 WHERE id = 1; PREPARE TRANSACTION 'orphan'").await;
    let mut idle = cluster.nodes[0].database.user().await;
    idle.execute("BEGIN; UPDATE items SET amount = amount + 1 WHERE id = 2").await;
    // WHEN others go on THEN their changes arrive
    cluster.run(0, "UPDATE items SET amount = 33 WHERE id = 3").await;
    cluster.run(1, "UPDATE items SET amount = amount + 10 WHERE id = 3").await;
    cluster.settle().await;
    cluster.holds("SELECT amount FROM items ORDER BY id", &["10", "20", "43"]).await;
    // AND status names, after a while, both that hold the horizon back
    let named = async || {
        let status = cluster.session().status().await.expect("a status");
        let blockers = status.nodes.into_iter().find(|node| node.node == "a").expect("a is there").blockers;
        (blockers.len() >= 2).then_some(blockers)
    };
    let blockers = wait_until("status to name two blockers", PATIENCE, named).await;
    assert!(blockers.iter().any(|line| line.contains("orphan")), "{blockers:?}");
    let pid = idle.cell("SELECT pg_backend_pid()").await;
    assert!(blockers.iter().any(|line| line.contains(&pid)), "{blockers:?}");
    // AND when they end, their changes count once
    idle.execute("COMMIT").await;
    cluster.run(0, "COMMIT PREPARED 'orphan'").await;
    cluster.settle().await;
    cluster.holds("SELECT amount FROM items ORDER BY id", &["11", "21", "43"]).await;
}

const THREE: &[Kind] = &[Kind::Sqlite, Kind::Sqlite, Kind::Postgres];

/// GIVEN a user who holds the write lock of a file for long
/// WHEN the others have something for it and for each other
/// THEN they get theirs within seconds, the node is named with the reason, and gets its own when the lock is free.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_holds_the_write_lock_of_a_file() {
    let mut cluster = items(THREE, SUM).await;
    cluster.run(1, "UPDATE items SET amount = amount + 1 WHERE id = 1").await;
    let mut long = cluster.nodes[1].database.user().await;
    long.execute("BEGIN IMMEDIATE; UPDATE items SET amount = amount + 5 WHERE id = 2").await;
    for at in [0, 2] {
        cluster.run(at, "UPDATE items SET amount = amount + 10 WHERE id = 1").await;
    }
    let mut session = cluster.session();
    let start = Instant::now();
    let cycle = session.cycle().await.expect("all are there");
    assert!(start.elapsed() < Duration::from_secs(6), "the cycle took {:?}", start.elapsed());
    let failed = cycle.failed.expect("b did not take its part");
    assert!(failed.starts_with("node `b`: ") && failed.contains("another program holds the write lock"), "{failed}");
    assert_eq!(cycle.away, []);
    for at in [0, 2] {
        cluster.holds_at(at, "SELECT amount FROM items WHERE id = 1", &["31"]).await;
    }
    let summary = cluster.sync().await;
    assert_eq!((summary.exit_code(), summary.failed.as_deref()), (3, Some(&*failed)));
    long.execute("COMMIT").await;
    cluster.settle().await;
    cluster.holds("SELECT amount FROM items WHERE id < 3 ORDER BY id", &["31", "25"]).await;
}

/// A user's long read keeps nobody waiting, nor does the log that cannot be put back meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_reads_a_file_for_long() {
    let mut cluster = items(THREE, SUM).await;
    let mut long = cluster.nodes[1].database.user().await;
    long.execute("BEGIN").await;
    let before = long.rows("SELECT * FROM items ORDER BY id").await;
    for round in 1..4 {
        for at in 0..3 {
            cluster.run(at, "UPDATE items SET amount = amount + 1 WHERE id = 1").await;
        }
        let start = Instant::now();
        let summary = cluster.sync().await;
        assert!(start.elapsed() < Duration::from_secs(6), "the sync took {:?}", start.elapsed());
        assert_eq!((summary.exit_code(), &summary.failed), (0, &None));
        cluster.holds("SELECT amount FROM items WHERE id = 1", &[&(10 + 3 * round).to_string()]).await;
        // It puts back what it can.
        cluster.nodes[1].user.rows("PRAGMA wal_checkpoint(PASSIVE)").await;
    }
    assert_eq!(long.rows("SELECT * FROM items ORDER BY id").await, before);
    long.execute("COMMIT").await;
    cluster.settle().await;
}

/// GIVEN a user who holds a whole table, as while altering it
/// WHEN the others have something for it and for each other
/// THEN they get theirs within seconds, and the node its own later: row by row where it can be read, else as a whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_holds_a_whole_table() {
    for (mode, reads) in [("EXCLUSIVE", true), ("ACCESS EXCLUSIVE", false)] {
        let mut cluster = items(THREE, SUM).await;
        cluster.run(2, "UPDATE items SET amount = amount + 1 WHERE id = 2").await;
        let mut long = cluster.nodes[2].database.user_as(As::Sync).await;
        long.execute(&format!("BEGIN; LOCK TABLE items IN {mode} MODE")).await;
        for at in [0, 1] {
            cluster.run(at, "UPDATE items SET amount = amount + 10 WHERE id = 1").await;
        }
        let mut session = cluster.session();
        let start = Instant::now();
        let cycle = session.cycle().await.expect("all are there");
        assert!(start.elapsed() < Duration::from_secs(12), "the cycle took {:?}", start.elapsed());
        if reads {
            assert_eq!((cycle.held, cycle.failed, cycle.away), (1, None, vec![]));
        } else {
            let told = cycle.away.first().map(|away| away.why.clone());
            assert!(told.as_ref().is_some_and(|why| why.contains("locked by somebody else")), "{told:?}");
            assert!(cycle.away[0].unreachable, "it is asked again with the next cycle");
        }
        for at in [0, 1] {
            cluster.holds_at(at, "SELECT amount FROM items WHERE id = 1", &["30"]).await;
        }
        long.execute("COMMIT").await;
        cluster.settle().await;
        cluster.holds("SELECT amount FROM items WHERE id < 3 ORDER BY id", &["30", "21"]).await;
    }
}

/// `install` says at which table somebody is in its way, and has done nothing by halves.
#[tokio::test]
async fn a_user_holds_a_table_that_is_installed() {
    let setup = |_| "CREATE TABLE items (id integer PRIMARY KEY, amount integer)".to_owned();
    let cluster = Cluster::bare(&[Kind::Sqlite, Kind::Postgres], setup, SUM).await;
    let mut long = cluster.nodes[1].database.user_as(As::Sync).await;
    long.execute("BEGIN; LOCK TABLE items IN ROW EXCLUSIVE MODE").await;
    let refused = cluster.try_install().await.expect_err("somebody is in the way");
    assert!(
        refused.contains("creating triggers on public.items: ") && refused.contains("locked by somebody else"),
        "{refused}"
    );
    long.execute("COMMIT").await;
    assert!(cluster.nodes[1].database.node().await.service().await.expect("it is there").is_none());
    cluster.install().await;
}

/// A history that somebody works on, as VACUUM FULL does, while old entries are to be deleted from it.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_holds_a_history() {
    let mut cluster = items(THREE, SUM).await;
    cluster.run(2, "UPDATE items SET amount = amount + 1 WHERE id = 1").await;
    let mut long = cluster.nodes[2].database.user_as(As::Sync).await;
    let lock = async |_: &mut Cluster| {
        long.execute("BEGIN; LOCK TABLE history_store.items IN ACCESS EXCLUSIVE MODE").await;
    };
    let summary = tokio::time::timeout(PATIENCE, cluster.sync_while("applied", lock)).await.expect("a sync that ends");
    assert!(
        summary.away.iter().any(|away| away.node == "c" && away.why.contains("locked by somebody else")),
        "{summary:?}"
    );
    for at in [0, 1] {
        cluster.holds_at(at, "SELECT amount FROM items WHERE id = 1", &["11"]).await;
    }
    long.execute("COMMIT").await;
    cluster.settle().await;
}

/// PostgreSQL shows a table as empty to a snapshot that is older than a rewrite of it.
#[tokio::test]
async fn a_table_that_is_rewritten_while_it_is_read_is_not_taken_for_empty() {
    for kinds in [BOTH_POSTGRES, &[Kind::Postgres, Kind::Sqlite]] {
        let mut cluster = items(kinds, "[tables.items]").await;
        cluster.run(0, "UPDATE items SET name = 'changed' WHERE id < 3; INSERT INTO items VALUES (4, 'new', 40)").await;
        let meanwhile = async |cluster: &mut Cluster| {
            let mut owner = cluster.nodes[0].database.user_as(As::Sync).await;
            owner.execute("ALTER TABLE items ALTER COLUMN name TYPE text USING pg_catalog.btrim(name)").await;
        };
        cluster.sync_while("fetch", meanwhile).await;
        cluster.settle().await;
        cluster.holds("SELECT id, name FROM items ORDER BY id", &["1|changed", "2|changed", "3|three", "4|new"]).await;
    }
}

/// Neither is one that another takes the place of, which is another table to its triggers too.
#[tokio::test]
async fn a_table_that_is_swapped_while_it_is_read_is_not_taken_for_empty() {
    let mut cluster = items(BOTH_POSTGRES, "[tables.items]").await;
    cluster.run(0, "UPDATE items SET name = 'changed' WHERE id < 3").await;
    let meanwhile = async |cluster: &mut Cluster| {
        let swap = "CREATE TABLE other (LIKE items INCLUDING ALL); INSERT INTO other SELECT * FROM items; \
                    BEGIN; ALTER TABLE items RENAME TO old; ALTER TABLE other RENAME TO items; COMMIT";
        cluster.nodes[0].database.user_as(As::Sync).await.execute(swap).await;
    };
    cluster.sync_while("fetch", meanwhile).await;
    assert_eq!(cluster.nodes[1].user.rows("SELECT id FROM items ORDER BY id").await.len(), 3);
}
