//! What users and other engines do between two steps of Concord.

use concord::sync::ParkedReport;
use concord_tests::{As, Cluster, Kind};

use super::{BOTH_POSTGRES, ITEMS, SUM, items, losers};

concord_tests::clusters! {
    pairs: [
        changed_between_read_and_apply, inserted_between_read_and_apply, deleted_between_read_and_apply, changed_before_a_delete_arrives,
        sums_between_read_and_apply, another_engine_is_faster, what_was_parked_since_is_not_dropped,
        swapped_between_read_and_apply,
    ]
    many: [changed_between_read_and_apply_among_all]
    all: []
}

concord_tests::clusters! {
    mariadb: []
    many: [changed_between_read_and_apply_among_all]
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

/// Nobody takes a table's place at MariaDB while it is read, also before a row of it is known that has to be there: of what was copied
/// into the other since, the snapshot shows nothing.
#[tokio::test]
async fn a_table_that_is_read_is_swapped_afterwards() {
    let other = "CREATE TABLE other (id integer PRIMARY KEY, name text, amount integer NOT NULL DEFAULT 0)";
    let setup = |_| format!("{ITEMS}; {other}");
    let mut cluster = Cluster::new(&[Kind::Mariadb, Kind::Sqlite], setup, "[tables.items]").await;
    cluster.run(0, "UPDATE items SET name = 'changed' WHERE id < 3").await;
    let meanwhile = async |cluster: &mut Cluster| {
        let mut owner = cluster.nodes[0].database.user_as(As::Sync).await;
        owner.execute("INSERT INTO other SELECT * FROM items; SET SESSION lock_wait_timeout = 1").await;
        owner.try_execute("RENAME TABLE items TO old, other TO items").await.expect_err("somebody reads");
    };
    cluster.sync_while("mark-entries", meanwhile).await;
    cluster.settle().await;
    cluster.holds("SELECT id, name FROM items ORDER BY id", &["1|changed", "2|changed", "3|three"]).await;
}
