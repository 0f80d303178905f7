//! Rows that a user's open transaction holds while Concord applies, and that Concord holds while a user writes.

use concord_tests::{As, Cluster, Database, Kind, PATIENCE, wait_until};

use super::{BOTH_POSTGRES, ITEMS, SUM, WITH_MARIADB, items, losers};

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

/// GIVEN a change that waits because a user holds the row, whom another follows with a row of the same key, before its delete
/// WHEN the delete arrives
/// THEN it waits for the second user too, whose row it has not seen nor he it: the change was tried before he began, the delete was not.
#[tokio::test]
async fn a_delete_after_a_change_that_was_held_up() {
    let mut cluster = items(BOTH_POSTGRES, "[tables.items]").await;
    cluster.run(0, "UPDATE items SET name = 'engine' WHERE id = 1").await;
    let mut first = cluster.nodes[1].database.user().await;
    first.execute("BEGIN; UPDATE items SET amount = 11 WHERE id = 1").await;
    assert_eq!(cluster.sync().await.held, 1);
    first.execute("DELETE FROM items WHERE id = 1; COMMIT").await;
    cluster.run(1, "BEGIN; INSERT INTO items VALUES (1, 'user', 12)").await;
    cluster.later(0, "DELETE FROM items WHERE id = 1").await;
    assert_eq!(cluster.sync().await.held, 1);
    cluster.run(1, "COMMIT").await;
    cluster.settle().await;
    cluster.holds("SELECT id FROM items ORDER BY id", &["2", "3"]).await;
    assert!(losers(&cluster).await.contains(&"user".to_owned()));
}

/// Whether a session of this database waits for a lock.
pub(crate) async fn somebody_waits(database: &Database) {
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

/// What only engines lock is told as what it is, and not as tables of users.
#[tokio::test]
async fn another_engine_holds_the_marks() {
    let mut cluster = items(WITH_MARIADB, "[tables.items]").await;
    let mut concord = cluster.command("[tables.items]\n");
    concord.env("CONCORD_PATIENCE", "100");
    let mut other = cluster.nodes[1].database.user_as(As::Sync).await;
    other.execute("START TRANSACTION; SELECT last FROM concord_mark FOR UPDATE").await;
    cluster.run(1, "UPDATE items SET name = 'uno' WHERE id = 1").await;
    let output = concord.run(&["sync"]).await.expect(3);
    assert!(output.says("concord_mark: locked by") && output.says("that is another engine"), "{output:?}");
    assert!(!output.says("items: locked by"), "{output:?}");
    other.execute("ROLLBACK").await;
    cluster.settle().await;
    cluster.holds("SELECT name FROM items WHERE id = 1", &["uno"]).await;
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
