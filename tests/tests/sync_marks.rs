//! The marks that entries of MariaDB have without holding them: whoever else comes by knows of them, and none is left behind.

use concord_tests::{Cluster, Kind};

const WITH_POSTGRES: &[Kind] = &[Kind::Mariadb, Kind::Postgres];
const THREE: &[Kind] = &[Kind::Mariadb, Kind::Sqlite, Kind::Mariadb];

const SUM: &str = "[tables.items]\nconflict = { sum = [\"n\"] }";

fn items(_: Kind) -> String {
    "CREATE TABLE items (id integer PRIMARY KEY, n integer); INSERT INTO items VALUES (1, 0), (2, 0), (3, 0)".to_owned()
}

/// The entries that are there, those of them that hold no mark, and the stretches that are kept.
async fn left(cluster: &mut Cluster, at: usize) -> String {
    let sql = "SELECT CONCAT(COUNT(*), ' ', COALESCE(SUM(mark IS NULL OR mark < 0), 0), ' ', \
                             (SELECT COUNT(*) FROM concord_marked)) FROM history_store_items";
    cluster.rows(at, sql).await.remove(0)
}

/// Another engine opens a snapshot between the cycle's reading and its end, and writes the marks into the entries.
#[tokio::test(flavor = "multi_thread")]
async fn another_engine_writes_the_marks() {
    for point in ["fetch", "read-done", "applied", "purge"] {
        let mut cluster = Cluster::new(WITH_POSTGRES, items, SUM).await;
        cluster.run(0, "UPDATE items SET n = n + 1").await;
        let meanwhile = async |cluster: &mut Cluster| {
            assert_eq!(left(cluster, 0).await, "3 3 1", "at {point}");
            cluster.session().status().await.expect("a status");
            assert_eq!(left(cluster, 0).await, "3 0 0", "at {point}");
            cluster.run(0, "UPDATE items SET n = n + 10 WHERE id = 1").await;
        };
        cluster.sync_while(point, meanwhile).await;
        cluster.settle().await;
        cluster.holds("SELECT * FROM items ORDER BY id", &["1|11", "2|1", "3|1"]).await;
        assert_eq!(left(&mut cluster, 0).await, "0 0 0", "at {point}");
    }
}

/// What a node that is away has not passed stays, and holds its mark from then on.
#[tokio::test(flavor = "multi_thread")]
async fn entries_that_stay_hold_their_marks() {
    let mut cluster = Cluster::new(THREE, items, SUM).await;
    cluster.leave(1);
    for _ in 0..2 {
        cluster.run(0, "UPDATE items SET n = n + 1").await;
        cluster.run(2, "UPDATE items SET n = n + 10 WHERE id = 2").await;
        cluster.sync().await;
        for at in [0, 2] {
            let left = left(&mut cluster, at).await;
            assert!(left.ends_with(" 0 0") && !left.starts_with('0'), "at node {at}: {left}");
        }
    }
    cluster.back(1);
    cluster.settle().await;
    cluster.holds("SELECT * FROM items ORDER BY id", &["1|2", "2|22", "3|2"]).await;
    for at in [0, 2] {
        assert_eq!(left(&mut cluster, at).await, "0 0 0", "at node {at}");
    }
}

/// Ids that were drawn in vain part the stretches, here into too many to keep.
#[tokio::test(flavor = "multi_thread")]
async fn stretches_with_gaps() {
    for gaps in [3, 40] {
        let mut cluster = Cluster::new(WITH_POSTGRES, items, SUM).await;
        for _ in 0..gaps {
            cluster.run(0, "UPDATE items SET n = n + 1 WHERE id < 3").await;
            cluster.run(0, "BEGIN; UPDATE items SET n = n + 100 WHERE id = 3; ROLLBACK").await;
        }
        cluster.run(0, "UPDATE items SET n = n + 1 WHERE id = 3").await;
        let kept =
            if gaps > 20 { format!("{} 0 0", 2 * gaps + 1) } else { format!("{0} {0} {1}", 2 * gaps + 1, gaps + 1) };
        let meanwhile = async |cluster: &mut Cluster| assert_eq!(left(cluster, 0).await, kept);
        cluster.sync_while("fetch", meanwhile).await;
        cluster.settle().await;
        let (n, rows) = (gaps, |n| [format!("1|{n}"), format!("2|{n}"), "3|1".to_owned()]);
        cluster.holds("SELECT * FROM items ORDER BY id", &rows(n).each_ref().map(String::as_str)).await;
        assert_eq!(left(&mut cluster, 0).await, "0 0 0");
    }
}

/// More than a cycle takes is given several marks, which the entries hold; what it takes whole is not.
#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_cycle_takes() {
    let many = |_| {
        "CREATE TABLE items (id integer PRIMARY KEY, n integer);
         INSERT INTO items WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
             SELECT 60 * a.i + b.i, 0 FROM n AS a CROSS JOIN n AS b"
            .to_owned()
    };
    for (batch, kept) in [(1_000, "3600 0 0"), (4_000, "3600 3600 1")] {
        let mut cluster = Cluster::new(WITH_POSTGRES, many, &format!("[defaults]\nbatch = {batch}\n{SUM}")).await;
        cluster.run(0, "UPDATE items SET n = id").await;
        let meanwhile = async |cluster: &mut Cluster| assert_eq!(left(cluster, 0).await, kept, "with {batch}");
        cluster.sync_while("fetch", meanwhile).await;
        cluster.settle().await;
        cluster.holds("SELECT COUNT(*), SUM(n - id) FROM items", &["3600|0"]).await;
        assert_eq!(left(&mut cluster, 0).await, "0 0 0", "with {batch}");
    }
}

/// So many entries were left without a mark that a few attempts do not give all of them one.
#[tokio::test(flavor = "multi_thread")]
async fn more_than_is_marked_in_a_few_attempts() {
    let mut cluster = Cluster::new(WITH_POSTGRES, items, &format!("[defaults]\nbatch = 1000\n{SUM}")).await;
    cluster.run(0, "UPDATE items SET n = n + 1 WHERE id = 1").await;
    let many = "INSERT INTO history_store_items (op, time, k1, before_, after_, old_0, new_0)
                    SELECT h.op, h.time, h.k1, 1, 1, 1, 1 FROM history_store_items AS h CROSS JOIN
                        (WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
                            SELECT 1 FROM n AS a CROSS JOIN n AS b) AS many";
    cluster.run_as_owner(0, many).await;
    cluster.session().status().await.expect("a status");
    let left = left(&mut cluster, 0).await;
    assert!(left.starts_with("90001 0 "), "{left}");
}

/// Both sides have news: what was read of the node that is written to is no change that nobody has read.
#[tokio::test(flavor = "multi_thread")]
async fn entries_of_a_target_were_read() {
    let mut cluster = Cluster::new(&[Kind::Mariadb, Kind::Mariadb], items, "[tables.items]").await;
    cluster.run(0, "UPDATE items SET n = 5 WHERE id < 3").await;
    cluster.later(1, "UPDATE items SET n = 7 WHERE id > 1").await;
    let cycle = cluster.session().cycle().await.expect("a cycle");
    assert_eq!((cycle.conflicts, cycle.busy), (1, 0), "{cycle:?}");
    cluster.settle().await;
    cluster.holds("SELECT * FROM items ORDER BY id", &["1|5", "2|7", "3|7"]).await;
}

/// An install before entries could have a mark that they do not hold, and before histories drew their times.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_install_is_renewed() {
    let mut cluster = Cluster::new(WITH_POSTGRES, items, SUM).await;
    cluster.run(0, "UPDATE items SET n = n + 1").await;
    let older = "DROP TABLE concord_marked; UPDATE concord_node SET version = 1";
    cluster.run_as_owner(0, older).await;
    let error = cluster.session().sync().await.map(|summary| format!("{summary:?}"));
    let told = format!("{error:?}");
    assert!(told.contains("concord install"), "{told}");
    cluster.install().await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM items ORDER BY id", &["1|1", "2|1", "3|1"]).await;
    if concord_tests::mariadb::is_mysql().await {
        return;
    }
    // Without it the triggers would enter no time.
    cluster.run_as_owner(0, "ALTER TABLE history_store_items ALTER COLUMN time DROP DEFAULT").await;
    let summary = cluster.sync().await;
    assert!(format!("{summary:?}").contains("history time was changed"), "{summary:?}");
    let done = cluster.install().await;
    assert!(done.iter().any(|line| line.contains("draw the times")), "{done:?}");
    cluster.run(0, "UPDATE items SET n = n + 1").await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM items ORDER BY id", &["1|2", "2|2", "3|2"]).await;
}
