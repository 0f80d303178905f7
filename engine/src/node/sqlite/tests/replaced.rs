//! Files in whose place others are put while they are open, and the log that lies beside them.

use std::path::Path;
use std::time::{Duration, Instant};

use super::*;
use crate::node::ErrorKind;

const T: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)";

/// What ends so beside the file.
fn beside(bench: &Bench, ending: &str) -> String {
    format!("{}{ending}", bench.url.strip_prefix("sqlite:").unwrap())
}

fn size(path: &str) -> Option<u64> {
    std::fs::metadata(path).ok().map(|file| file.len())
}

/// A file in WAL mode, a copy of it with one row, and a second row in its log. The user has closed it.
async fn copied() -> Bench {
    let mut bench = Bench::new(T, &["t"]).await;
    bench.node.pulse(&bench.specs).await.unwrap();
    let copy = beside(&bench, ".copy");
    bench.sql(&format!("INSERT INTO t VALUES (1, 'kept'); VACUUM INTO '{copy}'; INSERT INTO t VALUES (2, 'lost')"));
    let user = Connection::open(&copy).unwrap();
    user.query_row("PRAGMA journal_mode = wal", [], |_| Ok(())).unwrap();
    bench.user = Connection::open_in_memory().unwrap();
    assert!(size(&beside(&bench, "-wal")).is_some_and(|size| size > 0), "the second row is in the log");
    // Since then Concord has seen the log.
    bench.node.pulse(&bench.specs).await.unwrap();
    bench
}

fn put(bench: &Bench) {
    std::fs::rename(beside(bench, ".copy"), beside(bench, "")).unwrap();
}

/// What an administrator does once everybody has ended.
fn remove(bench: &Bench) {
    for ending in ["-wal", "-shm"] {
        std::fs::remove_file(beside(bench, ending)).unwrap();
    }
}

/// Why Concord does not open what lies there.
async fn refused(bench: &mut Bench) -> String {
    let refused = bench.node.pulse(&bench.specs).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Lost, "{refused}");
    refused.to_string()
}

fn rows(path: &str) -> i64 {
    let user = Connection::open(path).unwrap();
    let whole: String = user.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
    user.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

/// GIVEN a file whose last changes stand in its log, which only Concord keeps there
/// WHEN a backup is put in its place, and nothing else is done
/// THEN the file that was moved away has all that was written to it, and the backup is opened once the log is gone, and what it was.
#[tokio::test]
async fn a_backup_is_not_mixed_with_the_former_files_log() {
    let mut bench = copied().await;
    std::fs::hard_link(beside(&bench, ""), beside(&bench, ".former")).unwrap();
    put(&bench);
    let told = refused(&mut bench).await;
    assert!(told.contains("node.db-wal` was brought into the former file; end every program"), "{told}");
    assert_eq!(size(&beside(&bench, "-wal")), Some(0));
    remove(&bench);
    bench.node.pulse(&bench.specs).await.unwrap();
    assert_eq!(bench.entries().await.len(), 1);
    let (file, former) = (beside(&bench, ""), beside(&bench, ".former"));
    drop(bench.node);
    assert_eq!((rows(&file), rows(&former)), (1, 2));
}

/// The same with a backup of more pages than the former file has.
#[tokio::test]
async fn a_backup_that_is_bigger_is_not_mixed_with_the_former_files_log() {
    let mut bench = copied().await;
    let copy = Connection::open(beside(&bench, ".copy")).unwrap();
    let many = "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 509) \
                INSERT INTO t SELECT i, hex(zeroblob(500)) FROM n";
    copy.execute_batch(many).unwrap();
    drop(copy);
    std::fs::hard_link(beside(&bench, ""), beside(&bench, ".former")).unwrap();
    put(&bench);
    let told = refused(&mut bench).await;
    assert!(told.contains("node.db-wal` was brought into the former file; end every program"), "{told}");
    remove(&bench);
    bench.node.pulse(&bench.specs).await.unwrap();
    assert_eq!(bench.entries().await.len(), 501);
    let (file, former) = (beside(&bench, ""), beside(&bench, ".former"));
    drop(bench.node);
    assert_eq!((rows(&file), rows(&former)), (501, 2));
}

/// What the manual advises: nothing of the former file lies there.
#[tokio::test]
async fn a_backup_beside_which_nothing_lies_is_opened_at_once() {
    let mut bench = copied().await;
    remove(&bench);
    put(&bench);
    bench.node.pulse(&bench.specs).await.unwrap();
    assert_eq!(bench.entries().await.len(), 1);
    let file = beside(&bench, "");
    drop(bench.node);
    assert_eq!(rows(&file), 1);
}

/// GIVEN a user who has the former file open, with an empty log or not, when a backup is put in its place
/// WHEN he goes on writing
/// THEN the backup has nothing of it.
#[tokio::test]
async fn a_backup_is_not_mixed_with_what_is_written_to_the_former_file_later() {
    for sql in ["PRAGMA user_version", "PRAGMA wal_checkpoint(TRUNCATE)"] {
        let mut bench = copied().await;
        bench.user = Connection::open(beside(&bench, "")).unwrap();
        bench.user.query_row(sql, [], |_| Ok(())).unwrap();
        put(&bench);
        let told = refused(&mut bench).await;
        bench.sql("INSERT INTO t VALUES (3, 'lost')");
        assert_eq!(bench.table("t"), "1 kept\n2 lost\n3 lost");
        assert_eq!(refused(&mut bench).await, told);
        bench.user = Connection::open_in_memory().unwrap();
        remove(&bench);
        assert_eq!(bench.entries().await.len(), 1);
        let file = beside(&bench, "");
        drop(bench.node);
        assert_eq!(rows(&file), 1);
    }
}

/// GIVEN a backup in the place of a file, and a program that has opened it with the former's log, and written there
/// WHEN Concord looks
/// THEN nothing of that gets into the former file, and it stays until the program has brought it into its own.
#[tokio::test]
async fn a_log_that_holds_what_was_written_to_the_backup_is_left_alone() {
    let mut bench = copied().await;
    bench.user = Connection::open(beside(&bench, "")).unwrap();
    bench.user.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    bench.user = Connection::open_in_memory().unwrap();
    bench.node.pulse(&bench.specs).await.unwrap();
    std::fs::hard_link(beside(&bench, ""), beside(&bench, ".former")).unwrap();
    put(&bench);
    bench.user = Connection::open(beside(&bench, "")).unwrap();
    bench.sql("INSERT INTO t VALUES (3, 'new')");
    let log = size(&beside(&bench, "-wal"));
    assert!(log.is_some_and(|size| size > 0), "{log:?}");
    let told = refused(&mut bench).await;
    assert!(told.contains("node.db-wal` was not brought into the former file"), "{told}");
    assert_eq!(size(&beside(&bench, "-wal")), log);
    assert_eq!(rows(&beside(&bench, ".former")), 2);
    bench.user = Connection::open_in_memory().unwrap();
    bench.node.pulse(&bench.specs).await.unwrap();
    assert_eq!(bench.entries().await.len(), 2);
}

/// GIVEN a file that a user has open and goes on writing to, with or without Concord ending meanwhile
/// WHEN it is moved away and back
/// THEN nothing is lost, and Concord sees it.
#[tokio::test]
async fn a_file_that_is_moved_away_and_back_goes_on() {
    for ends in [false, true] {
        let mut bench = copied().await;
        bench.user = Connection::open(beside(&bench, "")).unwrap();
        assert_eq!(bench.table("t"), "1 kept\n2 lost");
        std::fs::rename(beside(&bench, ""), beside(&bench, ".aside")).unwrap();
        bench.sql("INSERT INTO t VALUES (3, 'away')");
        let told = refused(&mut bench).await;
        assert!(told.starts_with("cannot open the database file"), "{told}");
        if ends {
            // A connection in its place is as good for what follows.
            bench.node = Bench::bare(T).await.node;
            let anew = super::super::connect(&bench.url).await.err().unwrap();
            assert_eq!(anew.to_string(), told);
        }
        std::fs::rename(beside(&bench, ".aside"), beside(&bench, "")).unwrap();
        if ends {
            bench.node = super::super::connect(&bench.url).await.unwrap();
        }
        bench.sql("INSERT INTO t VALUES (4, 'back')");
        bench.node.pulse(&bench.specs).await.unwrap();
        assert_eq!(bench.entries().await.len(), 4);
        let file = beside(&bench, "");
        bench.user = Connection::open_in_memory().unwrap();
        drop(bench.node);
        assert_eq!(rows(&file), 4);
    }
}

/// GIVEN a file that was moved away, and Concord at its end before anything lies there again
/// WHEN another file is put there
/// THEN it is not opened with the former's log.
#[tokio::test]
async fn a_backup_in_the_place_of_a_file_that_was_gone_is_not_mixed() {
    let mut bench = copied().await;
    std::fs::remove_file(beside(&bench, "")).unwrap();
    refused(&mut bench).await;
    bench.node = Bench::bare(T).await.node;
    put(&bench);
    let anew = super::super::connect(&bench.url).await.err().unwrap().to_string();
    assert!(anew.contains("node.db-wal` was not brought into the former file"), "{anew}");
    remove(&bench);
    bench.node = super::super::connect(&bench.url).await.unwrap();
    assert_eq!(bench.entries().await.len(), 1);
}

/// The same where Concord is at its end before it looks.
#[tokio::test]
async fn a_backup_is_not_mixed_with_the_former_files_log_at_the_end() {
    let bench = copied().await;
    put(&bench);
    let file = beside(&bench, "");
    drop(bench.node);
    assert_eq!(rows(&file), 1);
}

/// GIVEN a backup in the place of a file, and a reader of the former one, for whom its log has to stay what it is
/// WHEN Concord looks, and connects anew
/// THEN it opens nothing until the log is gone.
#[tokio::test]
async fn a_log_that_has_to_stay_keeps_the_backup_closed() {
    let mut bench = copied().await;
    let reader = Connection::open(beside(&bench, "")).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    reader.query_row("SELECT count(*) FROM t", [], |_| Ok(())).unwrap();
    put(&bench);
    let told = refused(&mut bench).await;
    assert!(told.contains("node.db-shm` were left there by the former one"), "{told}");
    // Whatever is asked of it.
    assert_eq!(bench.node.service().await.unwrap_err().to_string(), told);
    let anew = super::super::connect(&bench.url).await.err().unwrap();
    assert_eq!(anew.to_string(), told);
    drop(reader);
    remove(&bench);
    assert_eq!(bench.entries().await.len(), 1);
    drop(super::super::connect(&bench.url).await.unwrap());
}

/// What an administrator removes once more when Concord has opened the backup already.
#[tokio::test]
async fn a_log_that_is_removed_later_is_given_up() {
    let mut bench = copied().await;
    put(&bench);
    refused(&mut bench).await;
    for _ in 0..2 {
        remove(&bench);
        bench.node.pulse(&bench.specs).await.unwrap();
    }
    bench.user = Connection::open(beside(&bench, "")).unwrap();
    bench.sql("INSERT INTO t VALUES (3, 'new')");
    assert_eq!(bench.entries().await.len(), 2);
}

/// GIVEN changes that stand in a log which only Concord keeps there
/// WHEN the log, its index or both are removed
/// THEN the file has the changes all the same.
#[tokio::test]
async fn what_stands_in_a_log_that_is_removed_is_kept() {
    for gone in [&["-wal", "-shm"][..], &["-wal"], &["-shm"]] {
        let mut bench = copied().await;
        for ending in gone {
            std::fs::remove_file(beside(&bench, ending)).unwrap();
        }
        bench.node.pulse(&bench.specs).await.unwrap();
        assert_eq!(bench.entries().await.len(), 2, "{gone:?}");
        let file = beside(&bench, "");
        drop(bench.node);
        assert_eq!(rows(&file), 2, "{gone:?}");
    }
}

/// GIVEN a user who has the file open when its log is removed, and not the log's index
/// WHEN Concord looks
/// THEN it opens nothing until he has closed the file, as it would take part of the one without the other.
#[tokio::test]
async fn a_log_that_is_removed_beneath_a_user_keeps_the_file_closed() {
    let mut bench = copied().await;
    bench.user = Connection::open(beside(&bench, "")).unwrap();
    bench.sql("INSERT INTO t VALUES (3, 'kept')");
    std::fs::remove_file(beside(&bench, "-wal")).unwrap();
    let told = refused(&mut bench).await;
    assert!(told.contains("node.db-shm` was removed or replaced while a program"), "{told}");
    bench.user = Connection::open_in_memory().unwrap();
    bench.node.pulse(&bench.specs).await.unwrap();
    assert_eq!(bench.entries().await.len(), 3);
}

/// What another program has put there is not Concord's to remove.
#[tokio::test]
async fn a_log_that_is_another_is_left_alone() {
    let bench = copied().await;
    remove(&bench);
    let log = beside(&bench, "-wal");
    std::fs::write(&log, "of another program").unwrap();
    drop(bench.node);
    assert!(Path::new(&log).exists());
}

/// Whoever copies the file alone once nobody writes has all of it, although Concord keeps the log there.
#[tokio::test]
async fn the_log_is_emptied_once_nobody_writes() {
    let mut bench = copied().await;
    let log = beside(&bench, "-wal");
    let until = Instant::now() + Duration::from_secs(10);
    let pulse = bench.node.pulse(&bench.specs).await.unwrap();
    while size(&log) != Some(0) {
        assert!(Instant::now() < until, "{:?}", size(&log));
        tokio::time::sleep(Duration::from_millis(50)).await;
        // It is no news, or there would be no end of it.
        assert_eq!(bench.node.pulse(&bench.specs).await.unwrap(), pulse);
    }
    bench.node.pulse(&bench.specs).await.unwrap();
    assert_eq!(bench.entries().await.len(), 2);
}

/// GIVEN a log that was brought into the file and not emptied, and a user who has read since and will write
/// WHEN nobody writes for a while
/// THEN the log stays, for he could not write otherwise.
#[tokio::test]
async fn a_log_is_not_emptied_beneath_a_reader() {
    let mut bench = Bench::new(T, &["t"]).await;
    bench.sql("INSERT INTO t VALUES (1, 'a')");
    bench.user.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
    bench.sql("BEGIN");
    assert_eq!(bench.table("t"), "1 a");
    let until = Instant::now() + super::super::file::AT_REST + Duration::from_millis(300);
    while Instant::now() < until {
        bench.node.pulse(&bench.specs).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bench.sql("UPDATE t SET a = 'b'; COMMIT");
    assert_eq!(bench.table("t"), "1 b");
}
