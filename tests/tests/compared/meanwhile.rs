//! Users and other engines who are at work on the rows meanwhile.

use concord::sync::Summary;
use concord_tests::{As, Cluster, Kind};

use super::{ALL, ONE_WAY, PAIRS, TWO_WAY, carried, compared, settle, table};

/// GIVEN rows that were read and are about to be written
/// WHEN a user changes, deletes and creates rows of the same keys
/// THEN what the user did stands, and the next look decides about it.
#[tokio::test]
async fn what_a_user_wrote_is_not_overwritten_unread() {
    for kinds in PAIRS {
        let mut cluster = Cluster::bare(kinds, table, TWO_WAY).await;
        cluster.run(0, "INSERT INTO t VALUES (1, 'a', 5), (2, 'a', 5), (3, 'a', 5), (4, 'a', 5)").await;
        cluster.run(1, "INSERT INTO t VALUES (1, 'b', 1), (2, 'b', 1), (4, 'b', 1)").await;
        let summary = cluster
            .sync_while("verify-mend", async |cluster| {
                cluster.run(1, "UPDATE t SET name = 'user', at = 9 WHERE id = 1; DELETE FROM t WHERE id = 2").await;
                cluster.run(1, "INSERT INTO t VALUES (3, 'user', 9)").await;
            })
            .await;
        assert_eq!(summary.exit_code(), 0, "{summary:#?}");
        // Had any of it been overwritten, both nodes would hold what a had.
        cluster.holds(ALL, &["1|user|9", "2|a|5", "3|user|9", "4|a|5"]).await;
        settle(&mut cluster).await;
    }
}

/// The same where the users' rows are deleted: one that was changed since is not what was decided about.
#[tokio::test]
async fn what_a_user_wrote_is_not_deleted_unread() {
    for kinds in PAIRS {
        // Had it been deleted, the next sync would have to write it again.
        let mut cluster = Cluster::bare(kinds, table, ONE_WAY).await;
        cluster.run(1, "INSERT INTO t VALUES (1, 'b', 1), (2, 'b', 1)").await;
        cluster
            .sync_while("verify-mend", async |cluster| {
                cluster.run(1, "UPDATE t SET name = 'user' WHERE id = 1").await;
                cluster.run(0, "INSERT INTO t VALUES (1, 'a', 1)").await;
            })
            .await;
        let summary = settle(&mut cluster).await;
        assert_eq!(carried(&summary), []);
        cluster.holds(ALL, &["1|a|1"]).await;
    }
}

/// From the look to the end of the transaction nobody else changes the rows; one that is created meanwhile stays.
#[tokio::test]
async fn rows_are_held_until_they_are_written() {
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Postgres], table, TWO_WAY).await;
    cluster.run(0, "INSERT INTO t VALUES (1, 'a', 5), (2, 'a', 5)").await;
    cluster.run(1, "INSERT INTO t VALUES (1, 'b', 1)").await;
    let summary = cluster
        .sync_while("apply-attempt", async |cluster| {
            let mut user = cluster.nodes[1].database.user_as(As::App).await;
            user.execute("SET lock_timeout = '100ms'").await;
            let held = user.try_execute("UPDATE t SET name = 'user', at = 9 WHERE id = 1").await;
            assert!(held.is_err_and(|why| why.contains("lock timeout")));
            user.execute("INSERT INTO t VALUES (2, 'user', 9)").await;
        })
        .await;
    assert_eq!(summary.away, []);
    // What was not written is not told as mended, and so is looked at again.
    cluster.holds(ALL, &["1|a|5", "2|user|9"]).await;
    settle(&mut cluster).await;
}

/// GIVEN a user who writes just what is about to be written
/// WHEN the row is looked at again
/// THEN nothing of the difference that was is told.
#[tokio::test]
async fn a_difference_that_is_gone_is_not_told() {
    for kinds in PAIRS {
        let mut cluster = Cluster::bare(kinds, table, TWO_WAY).await;
        cluster.run(0, "INSERT INTO t VALUES (1, 'a', 5), (2, 'a', 5)").await;
        cluster.run(1, "INSERT INTO t VALUES (2, 'b', 1)").await;
        let summary = cluster
            .sync_while("verify-mend", async |cluster| {
                cluster.run(1, "INSERT INTO t VALUES (1, 'a', 5); UPDATE t SET name = 'a', at = 5 WHERE id = 2").await;
            })
            .await;
        let found = compared(&summary);
        let counted: Vec<u64> = found.nodes.iter().map(|node| node.missing + node.differing).collect();
        assert_eq!((found.differences, counted, found.examples.len()), (0, vec![0, 0], 0), "{found:#?}");
        assert_eq!(summary.exit_code(), 0, "{summary:#?}");
    }
}

/// GIVEN a trigger of a user's that leaves rows as they are
/// WHEN a user creates a row that is about to be created
/// THEN that is not told as the trigger's doing, and the next look decides about it.
#[tokio::test]
async fn what_a_user_creates_is_not_blamed_on_a_trigger() {
    let setup = |kind| match kind {
        Kind::Sqlite | Kind::Mariadb => table(kind),
        Kind::Postgres => format!(
            "{};
             CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TRIGGER watch BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION watch()",
            table(kind)
        ),
    };
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Postgres], setup, TWO_WAY).await;
    cluster.run(0, "INSERT INTO t VALUES (1, 'a', 5), (2, 'a', 5)").await;
    let summary = cluster
        .sync_while("apply-attempt", async |cluster| {
            cluster.run(1, "INSERT INTO t VALUES (2, 'user', 9)").await;
        })
        .await;
    assert_eq!((compared(&summary).refused, summary.exit_code()), (0, 0), "{summary:#?}");
    cluster.holds(ALL, &["1|a|5", "2|user|9"]).await;
}

/// GIVEN two engines that have read the same rows
/// WHEN the second writes first, and a user changes what it wrote
/// THEN the first does not overwrite that.
#[tokio::test]
async fn two_engines_do_not_fight() {
    for kinds in PAIRS {
        let mut cluster = Cluster::bare(kinds, table, TWO_WAY).await;
        cluster.run(0, "INSERT INTO t VALUES (1, 'a', 5), (2, 'a', 1)").await;
        cluster.run(1, "INSERT INTO t VALUES (1, 'b', 1), (2, 'b', 5)").await;
        let summary: Summary = cluster
            .sync_while("verify-mend", async |cluster| {
                let other = cluster.session().sync().await.expect("nobody is in its way");
                assert_eq!(other.exit_code(), 0, "{other:#?}");
                cluster.run(1, "UPDATE t SET name = 'user', at = 9 WHERE id = 1").await;
            })
            .await;
        assert_eq!(summary.exit_code(), 0, "{summary:#?}");
        cluster.holds(ALL, &["1|user|9", "2|b|5"]).await;
        settle(&mut cluster).await;
    }
}

/// A user's trigger that sets the time of every row would make each node's row the later one, again and again.
#[tokio::test]
async fn a_trigger_that_changes_what_is_written_is_told_and_not_fed() {
    for (kind, named, aside) in [
        (
            Kind::Postgres,
            "public.t (touch)",
            "DROP TRIGGER touch ON t;
             CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON t FOR EACH ROW
                WHEN (coalesce(current_setting('concord.applying', true), '') = '') EXECUTE FUNCTION touch()",
        ),
        (
            Kind::Mariadb,
            "t (touch, touch_too)",
            "CREATE OR REPLACE TRIGGER touch BEFORE INSERT ON t FOR EACH ROW
                SET NEW.at = IF(coalesce(@concord_applying, '') = '', 99, NEW.at);
             CREATE OR REPLACE TRIGGER touch_too BEFORE UPDATE ON t FOR EACH ROW
                SET NEW.at = IF(coalesce(@concord_applying, '') = '', 99, NEW.at)",
        ),
    ] {
        a_trigger_changes_what_is_written(kind, named, aside).await;
    }
}

/// `aside` lets the trigger stand aside while Concord writes, as docs/triggers.md says.
async fn a_trigger_changes_what_is_written(kind: Kind, named: &str, aside: &str) {
    let touching = match kind {
        Kind::Mariadb => {
            "CREATE TRIGGER touch BEFORE INSERT ON t FOR EACH ROW SET NEW.at = 99;
             CREATE TRIGGER touch_too BEFORE UPDATE ON t FOR EACH ROW SET NEW.at = 99"
        }
        _ => {
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.at := 99; RETURN NEW; END';
             CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch()"
        }
    };
    let setup = |kind| match kind {
        Kind::Sqlite => table(kind),
        _ => format!("{}; {touching}", table(kind)),
    };
    let mut cluster = Cluster::bare(&[Kind::Sqlite, kind], setup, TWO_WAY).await;
    cluster.run(0, "INSERT INTO t VALUES (1, 'a', 5), (2, 'a', 100)").await;
    cluster.run(1, "INSERT INTO t VALUES (2, 'b', 1)").await;
    let summary = cluster.sync().await;
    let found = compared(&summary);
    assert_eq!((found.refused, summary.exit_code()), (2, 1), "{found:#?}");
    assert!(found.left[0].why.contains(&format!("a trigger of {named} changed `at`")), "{found:#?}");
    cluster.holds_at(1, ALL, &["2|b|99"]).await;
    cluster.run_as_owner(1, aside).await;
    settle(&mut cluster).await;
    cluster.holds(ALL, &["1|a|5", "2|a|100"]).await;
}

/// The columns are looked up anew for every comparison, so that a new one takes part at once.
#[tokio::test]
async fn a_new_column_takes_part_without_install() {
    let mut cluster = Cluster::bare(PAIRS[1], table, ONE_WAY).await;
    cluster.run(0, "INSERT INTO t VALUES (1, 'a', 5)").await;
    let mut session = cluster.session();
    session.sync().await.expect("all are there");
    cluster.run_as_owner(0, "ALTER TABLE t ADD COLUMN more text DEFAULT 'x'").await;
    let summary = session.sync().await.expect("all are there");
    assert!(summary.stopped[0].why.contains("`t` has no column `more` at b"), "{summary:#?}");
    assert_eq!(summary.exit_code(), 1);
    cluster.run_as_owner(1, "ALTER TABLE t ADD COLUMN more text").await;
    assert_eq!(session.sync().await.expect("all are there").exit_code(), 0);
    cluster.holds("SELECT id, more FROM t", &["1|x"]).await;
}
