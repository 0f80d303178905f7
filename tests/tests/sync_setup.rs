//! What has to be refused before anything is changed, and what one row may not hold up.

use concord_tests::{As, Cluster, Kind};

concord_tests::clusters! {
    pairs: [changes_that_were_not_carried_are_kept, changes_that_nobody_recorded_are_told]
    many: []
    all: []
}

fn counters(_: Kind) -> String {
    "CREATE TABLE counters (id integer PRIMARY KEY, n integer NOT NULL); INSERT INTO counters VALUES (1, 0), (2, 0)"
        .to_owned()
}

/// GIVEN changes that nobody has carried yet
/// WHEN the policy asks for another kind of history
/// THEN `install` refuses to give the changes up, and goes through once they were carried.
async fn changes_that_were_not_carried_are_kept(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, counters, "[tables.counters]").await;
    cluster.run(0, "UPDATE counters SET n = n + 1 WHERE id = 1").await;
    cluster.configure("[tables.counters]\nconflict = { sum = [\"n\"] }");
    let why = cluster.try_install().await.expect_err("changes would be lost");
    assert!(why.contains("node `a`: `counters`") && why.contains("`concord sync`"), "{why}");
    cluster.configure("[tables.counters]");
    cluster.settle().await;
    cluster.holds("SELECT n FROM counters ORDER BY id", &["1", "0"]).await;
    cluster.configure("[tables.counters]\nconflict = { sum = [\"n\"] }");
    cluster.install().await;
    cluster.run(0, "UPDATE counters SET n = n + 10 WHERE id = 2").await;
    cluster.run(1, "UPDATE counters SET n = n + 5 WHERE id = 2").await;
    cluster.settle().await;
    cluster.holds("SELECT n FROM counters ORDER BY id", &["1", "15"]).await;
}

/// GIVEN a table whose triggers were gone for a while
/// WHEN `install` makes them anew
/// THEN it says that what was changed meanwhile is not known.
async fn changes_that_nobody_recorded_are_told(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, counters, "[tables.counters]").await;
    let (_, warnings) = cluster.session().install().await.expect("nothing is wrong");
    assert!(!warnings.iter().any(|line| line.contains("counters")), "{warnings:?}");
    let drop = match kinds[1] {
        Kind::Sqlite => "DROP TRIGGER concord_delete_counters",
        Kind::Postgres => "DROP TRIGGER \"!concord_u\" ON counters",
    };
    cluster.nodes[1].database.user_as(As::Sync).await.execute(drop).await;
    cluster.run(1, "UPDATE counters SET n = 9 WHERE id = 1").await;
    let (_, warnings) = cluster.session().install().await.expect("it can be put right");
    assert!(
        warnings.iter().any(|line| line.contains("node `b`: `counters`") && line.contains("compare")),
        "{warnings:?}"
    );
}

/// Two spellings of one key are two rows to one database and one to the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_takes_different_values_for_equal_is_refused() {
    let table = |_: Kind| {
        "CREATE COLLATION lenient (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE words (word text COLLATE lenient PRIMARY KEY, meaning text)"
            .to_owned()
    };
    let cluster = Cluster::bare(&[Kind::Postgres, Kind::Postgres], table, "[tables.words]").await;
    let why = cluster.try_install().await.expect_err("'a' and 'A' are one key there");
    assert!(why.contains("key column word") && why.contains("COLLATE"), "{why}");
}

/// GIVEN a user who holds one row for longer than anybody waits
/// WHEN that row and another are brought
/// THEN the other arrives, the held one is told, and a later sync brings it.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_a_user_holds_holds_up_nothing_else() {
    let mut cluster = Cluster::new(&[Kind::Postgres, Kind::Postgres], counters, "[tables.counters]").await;
    let mut user = cluster.nodes[1].database.user_as(As::App).await;
    user.execute("BEGIN").await;
    user.execute("SELECT n FROM counters WHERE id = 1 FOR UPDATE").await;
    cluster.run(0, "UPDATE counters SET n = 7").await;
    let summary = cluster.sync().await;
    assert_eq!((summary.held, summary.waiting, summary.exit_code()), (1, 0, 1), "{summary:?}");
    cluster.holds_at(1, "SELECT n FROM counters ORDER BY id", &["0", "7"]).await;
    user.execute("ROLLBACK").await;
    cluster.settle().await;
    cluster.holds("SELECT n FROM counters ORDER BY id", &["7", "7"]).await;
}
