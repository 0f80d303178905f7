//! Disks that are full, files and databases that may not be written.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use concord_tests::{As, Cluster, Database, Kind, PATIENCE, Seed, wait_until};

use super::super::scene::{self, Scene};

const KINDS: &[Kind] = &[Kind::Sqlite, Kind::Postgres, Kind::Sqlite];

/// A table whose writes fail at PostgreSQL with the error that `broken` names.
fn breakable(kind: Kind) -> String {
    let items =
        "CREATE TABLE items (id integer PRIMARY KEY, name text); INSERT INTO items VALUES (1, 'one'), (2, 'two')";
    match kind {
        Kind::Sqlite | Kind::Mariadb => items.to_owned(),
        Kind::Postgres => format!(
            "{items}; CREATE TABLE broken (code text);
             CREATE FUNCTION break() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    IF EXISTS (SELECT FROM public.broken) THEN
                        RAISE EXCEPTION 'no' USING ERRCODE = (SELECT code FROM public.broken);
                    END IF;
                    RETURN NEW;
                END $$;
             CREATE TRIGGER break BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION break()"
        ),
    }
}

/// A disk that is full, memory or locks that have run out, a disk that fails: the node takes nothing, and is tried again.
#[tokio::test]
async fn a_server_without_room() {
    let mut cluster = Cluster::new(KINDS, breakable, "[tables.items]").await;
    let mut owner = cluster.nodes[1].database.user_as(As::Sync).await;
    // What may pass by itself counts as a node that cannot be used now.
    for (round, (code, ends)) in [("53100", 3), ("53200", 3), ("53400", 3), ("58030", 1)].into_iter().enumerate() {
        cluster.run(1, &format!("INSERT INTO items VALUES ({}, 'from b')", 100 + round)).await;
        owner.execute(&format!("INSERT INTO broken VALUES ('{code}')")).await;
        cluster.run(0, &format!("INSERT INTO items VALUES ({}, 'from a')", 200 + round)).await;
        cluster.run(2, &format!("UPDATE items SET name = '{code}' WHERE id = 1")).await;
        let before = cluster.rows(1, "SELECT * FROM items ORDER BY id").await;
        let summary = cluster.sync().await;
        let failed = summary.failed.clone().expect("b did not take its part");
        assert!(failed.starts_with("node `b`: ") && failed.contains(code), "{failed}");
        assert_eq!((summary.exit_code(), summary.away.len(), summary.waiting), (ends, 0, 0), "{summary:?}");
        assert_eq!(cluster.rows(1, "SELECT * FROM items ORDER BY id").await, before);
        for at in [0, 2] {
            let told =
                format!("SELECT count(*) FROM items WHERE id IN ({}, {}) OR name = '{code}'", 100 + round, 200 + round);
            cluster.holds_at(at, &told, &["3"]).await;
        }
        owner.execute("DELETE FROM broken").await;
        cluster.settle().await;
    }
}

/// An administrator has forbidden writing for the time being: what was written before still goes out.
#[tokio::test]
async fn a_database_that_may_not_be_written() {
    let mut cluster = Cluster::new(KINDS, breakable, "[tables.items]").await;
    cluster.run(1, "UPDATE items SET name = 'from b' WHERE id = 2").await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    let name = admin.cell("SELECT current_database()").await;
    admin.execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    cluster.run(0, "UPDATE items SET name = 'from a' WHERE id = 1").await;
    let summary = cluster.sync().await;
    let failed = summary.failed.clone().expect("b did not take its part");
    assert!(failed.starts_with("node `b`: ") && failed.contains("read-only transaction"), "{failed}");
    assert!(failed.contains("somebody has set default_transaction_read_only here"), "{failed}");
    assert_eq!(summary.exit_code(), 1);
    let status = cluster.session().status().await.expect("all are there");
    let told: Vec<&str> = status.problems.iter().flat_map(|problem| problem.lines()).map(str::trim).collect();
    assert!(
        told.len() == 2 && told[0].contains("may not write anything while default_transaction_read_only is on"),
        "{told:?}"
    );
    assert_eq!(status.exit_code(), 1);
    for at in [0, 2] {
        cluster.holds_at(at, "SELECT name FROM items ORDER BY id", &["from a", "from b"]).await;
    }
    cluster.holds_at(1, "SELECT name FROM items ORDER BY id", &["one", "from b"]).await;
    let refused = cluster.try_install().await.expect_err("nothing can be written there");
    assert!(refused.contains("node `b`: transactions are read-only here"), "{refused}");
    // The administrator's session is read-only as well by now.
    assert_eq!(
        told[1],
        format!("BEGIN READ WRITE; ALTER DATABASE \"{name}\" RESET default_transaction_read_only; COMMIT;")
    );
    cluster.nodes[1].database.user_as(As::Admin).await.execute(told[1]).await;
    cluster.settle().await;
    cluster.holds("SELECT name FROM items ORDER BY id", &["from a", "from b"]).await;
}

fn path(database: &Database) -> PathBuf {
    database.url().trim_start_matches("sqlite:").into()
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
}

/// A file that may not be written or read, and a folder in which nothing may be made: told, and nothing else suffers.
#[tokio::test]
async fn a_file_that_may_not_be_written() {
    let mut rng = Seed::new("surroundings::storage::a_file_that_may_not_be_written").rng(0);
    let mut scene = Scene::new(KINDS, 1000).await;
    let file = path(&scene.databases[2]);
    let folder = file.parent().expect("a file lies in a folder").to_owned();
    for (file_mode, folder_mode) in [(0o444, 0o700), (0o644, 0o500), (0o444, 0o500), (0o000, 0o700)] {
        scene.write_everywhere(&mut rng).await;
        let when = format!("modes {file_mode:o} and {folder_mode:o}");
        let before = scene.content("notes").await;
        scene.disconnect();
        chmod(&file, file_mode);
        chmod(&folder, folder_mode);
        let output = scene.concord.run(&["sync"]).await;
        let check = scene.concord.run(&["check"]).await;
        chmod(&folder, 0o700);
        // What SQLite made beside the file has the rights that the file had.
        for beside in std::fs::read_dir(&folder).expect("the folder is ours") {
            chmod(&beside.expect("the folder is ours").path(), 0o644);
        }
        scene.connect().await;
        assert!(matches!(output.status.code(), Some(1 | 3)), "{when}: {output:?}");
        let told: Vec<&str> = output.stderr.lines().collect();
        assert!(told.len() == 1 && told[0].contains("node `c`"), "{when}: one clear error: {output:?}");
        assert!(told[0].ends_with("must be readable and writable"), "{when}: {output:?}");
        assert!(matches!(check.status.code(), Some(2 | 3)) && check.says("problem: node `c`: "), "{when}: {check:?}");
        let notes = scene.content("notes").await;
        assert_eq!(notes[0], notes[1], "{when}: the others go on");
        assert_eq!(notes[2], before[2], "{when}");
        scene.converges(&when).await;
    }
}

/// Writing fails at one node from some size on: its rows stay what they were, and all arrive once there is room.
#[tokio::test]
async fn a_disk_that_takes_no_more() {
    let mut scene = Scene::new(KINDS, 1000).await;
    let text = "x".repeat(3000);
    for id in 100..300 {
        scene.users[0].execute(&format!("INSERT INTO notes VALUES ({id}, '{text}')")).await;
    }
    let before = scene.content("notes").await;
    let output = scene.concord.largest_file(Some(300_000)).run(&["sync"]).await;
    scene.concord.largest_file(None);
    assert!(matches!(output.status.code(), Some(1 | 3)), "{output:?}");
    assert!(output.stderr.lines().count() == 1 && output.says("node `c`") && output.says("disk"), "{output:?}");
    let notes = scene.content("notes").await;
    assert_eq!(notes[0], notes[1], "the other goes on");
    assert_eq!(notes[2], before[2]);
    scene.converges("there is room again").await;
}

/// What fails again and again is told once by a watch, which goes on.
#[tokio::test]
async fn a_watch_tells_a_failure_once() {
    let mut scene = Scene::new(KINDS, 1000).await;
    let mut watch = scene.concord.start(&["watch", "--every", "20ms", "-v"]);
    watch.line("watching").await;
    scene.users[2].execute("BEGIN IMMEDIATE").await;
    scene::add(&mut scene.users[0], 1, 5, &mut scene.done).await;
    wait_until("several vain attempts", PATIENCE, async || {
        (watch.stderr().matches("Nothing was written there.").count() >= 3).then_some(())
    })
    .await;
    let told = watch.stdout();
    assert_eq!(told.matches("node `c`: ").count(), 1, "{told}");
    assert!(told.contains("another program holds the write lock"), "{told}");
    scene.users[2].execute("COMMIT").await;
    wait_until("the change to arrive", PATIENCE, async || {
        let counters = scene.content("counters").await;
        (counters[2] == scene.done.counters()).then_some(())
    })
    .await;
    watch.signal(libc::SIGTERM);
    watch.wait().await.ok();
    scene.converges("the lock is free").await;
}

/// Waits until nothing is left in the log of a file, as once nobody has written for a while.
async fn log_is_empty(file: &Path) {
    let log = PathBuf::from(format!("{}-wal", file.display()));
    let is_empty = || log.metadata().is_ok_and(|log| log.len() == 0);
    wait_until("the log to be emptied", PATIENCE, async || is_empty().then_some(())).await;
}

/// A watch that has a file open, in whose place a backup is put, and what lies beside it is left there. It says what to do, and once that is
/// done the others tell that it was put back; the backup stays what it was. Applications `write` before they are stopped, or are already.
async fn replaced_beside_a_watch(write: bool) {
    let mut scene = Scene::new(KINDS, 1000).await;
    let file = path(&scene.databases[2]);
    let backup = file.with_extension("backup");
    let mut watch = scene.concord.start(&["watch", "--every", "20ms"]);
    watch.line("watching").await;
    scene.disconnect();
    log_is_empty(&file).await;
    std::fs::copy(&file, &backup).expect("the file is ours");
    scene.connect().await;
    let before = scene.content("counters").await;
    scene::add(&mut scene.users[2], 1, 5, &mut scene.done).await;
    wait_until("the change to arrive", PATIENCE, async || {
        let counters = scene.content("counters").await;
        (counters[0] == scene.done.counters()).then_some(())
    })
    .await;
    match write {
        true => log_is_empty(&file).await,
        false => scene.disconnect(),
    }
    std::fs::rename(&backup, &file).expect("the file is ours");
    let told = watch.line("another file was put in the place of").await;
    assert!(told.contains("has either file open, then remove `"), "{told}");
    if write {
        scene.users[2].execute("UPDATE counters SET value = 7000 WHERE id = 1").await;
    }
    scene.disconnect();
    for ending in ["-wal", "-shm"] {
        std::fs::remove_file(format!("{}{ending}", file.display())).expect("the watch has left it there");
    }
    watch.line("node `c` is left out: it was restored from a backup").await;
    watch.signal(libc::SIGTERM);
    watch.wait().await.ok();
    scene.connect().await;
    assert_eq!(scene.content("counters").await[2], before[2]);
    assert_eq!(scene.users[2].cell("PRAGMA integrity_check").await, "ok");
}

#[tokio::test]
async fn a_file_that_is_replaced_beside_a_watch() {
    replaced_beside_a_watch(false).await;
}

#[tokio::test]
async fn a_file_that_is_replaced_beneath_its_applications() {
    replaced_beside_a_watch(true).await;
}

/// GIVEN a copy of a file in its place, which an application opened before the watch could see it, and the log of the former with it
/// WHEN the watch looks
/// THEN it leaves both alone until the application has ended, and nothing that was written there is lost.
#[tokio::test]
async fn a_file_that_is_opened_before_the_log_of_the_former_is_gone() {
    let mut scene = Scene::new(KINDS, 1000).await;
    let file = path(&scene.databases[2]);
    let copy = file.with_extension("copy");
    let mut watch = scene.concord.start(&["watch", "--every", "20ms"]);
    watch.line("watching").await;
    scene.disconnect();
    log_is_empty(&file).await;
    watch.signal(libc::SIGSTOP);
    std::fs::copy(&file, &copy).expect("the file is ours");
    std::fs::rename(&copy, &file).expect("the file is ours");
    scene.connect().await;
    scene.content("counters").await;
    watch.signal(libc::SIGCONT);
    watch.line("another file was put in the place of").await;
    scene::add(&mut scene.users[2], 1, 5, &mut scene.done).await;
    scene.disconnect();
    watch.line("node `c` is back").await;
    watch.signal(libc::SIGTERM);
    watch.wait().await.ok();
    scene.connect().await;
    scene.converges("the application was started anew").await;
}

/// A watch of two files goes on although one of them is gone and nothing yet, and takes it up when it has been copied back.
#[tokio::test]
async fn a_file_that_is_copied_back_beside_a_watch_of_two() {
    let mut rng = Seed::new("surroundings::storage::a_file_that_is_copied_back_beside_a_watch_of_two").rng(0);
    let mut scene = Scene::new(&[Kind::Sqlite, Kind::Sqlite], 1000).await;
    let file = path(&scene.databases[1]);
    let backup = file.with_extension("backup");
    let mut watch = scene.concord.start(&["watch", "--every", "20ms"]);
    watch.line("watching").await;
    scene.disconnect();
    log_is_empty(&file).await;
    std::fs::copy(&file, &backup).expect("the file is ours");
    std::fs::remove_file(&file).expect("the file is ours");
    for ending in ["-wal", "-shm"] {
        std::fs::remove_file(format!("{}{ending}", file.display())).expect("the watch has left it there");
    }
    std::fs::write(&file, "").expect("the folder is ours");
    watch.line("node `b` is left out: nothing is installed there").await;
    std::fs::rename(&backup, &file).expect("the file is ours");
    watch.line("node `b` is back").await;
    scene.connect().await;
    scene.write_everywhere(&mut rng).await;
    watch.signal(libc::SIGTERM);
    watch.wait().await.ok();
    scene.converges("the file is back").await;
}
