//! The harness keeps its own promises: nothing outlives a test, and users are told apart.

use concord_tests::postgres::{ADMIN, APP, Server, Stop};
use concord_tests::{As, Concord, Database, Kind, PATIENCE, User, wait_until};

concord_tests::conformance! {
    every: [a_user_reads_what_another_wrote]
    standard: []
    sqlite: []
    postgres: [a_wrong_password_is_refused, roles_are_told_apart]
    mariadb: []
}

async fn a_user_reads_what_another_wrote(kind: Kind) {
    let database = Database::new(kind).await;
    let mut owner = database.user_as(As::Sync).await;
    owner.execute("CREATE TABLE t (id integer PRIMARY KEY, name text)").await;
    let mut user = database.user().await;
    user.execute("INSERT INTO t VALUES (1, 'ä'), (2, NULL)").await;
    let rows = owner.rows("SELECT id, name FROM t ORDER BY id").await;
    assert_eq!(rows, [[Some("1".to_owned()), Some("ä".to_owned())], [Some("2".to_owned()), None]]);
    assert!(user.try_execute("INSERT INTO t VALUES (1, 'again')").await.is_err());
}

async fn a_wrong_password_is_refused(kind: Kind) {
    let url = Database::new(kind).await.url().replacen("canary", "wrong", 1);
    let Err(error) = User::postgres(&url).await else { panic!("let in by a wrong password") };
    assert!(error.contains("password authentication failed"), "{error}");
}

async fn roles_are_told_apart(kind: Kind) {
    let database = Database::new(kind).await;
    assert_eq!(database.user().await.cell("SELECT session_user").await, APP);
    assert_eq!(database.user_as(As::Admin).await.cell("SHOW is_superuser").await, "on");
    assert_eq!(database.user_as(As::Sync).await.cell("SHOW is_superuser").await, "off");
    assert!(database.user().await.try_execute("CREATE TABLE mine (id int)").await.is_err());
}

#[tokio::test]
async fn a_server_of_its_own_can_be_killed_and_keeps_what_was_prepared() {
    let server = Server::dedicated(&[("fsync", "on")]);
    let database = Database::on(&server).await;
    let mut user = database.user_as(As::Sync).await;
    user.execute("CREATE TABLE t (id int PRIMARY KEY)").await;
    user.execute("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'orphan'").await;
    for how in [Stop::Kill, Stop::Fast] {
        server.stop(how);
        assert!(user.try_execute("SELECT 1").await.is_err());
        server.start();
        user = database.user_as(As::Sync).await;
        assert_eq!(user.cell("SELECT count(*) FROM pg_prepared_xacts").await, "1");
    }
    user.execute("COMMIT PREPARED 'orphan'").await;
    assert_eq!(user.cell("SELECT count(*) FROM t").await, "1");
}

#[tokio::test]
async fn what_the_command_says_is_heard() {
    let concord = Concord::new("");
    let output = concord.run(&["--help"]).await;
    assert!(output.status.code().is_some() && !(output.stdout + &output.stderr).is_empty());
}

/// Runs as a child of the next test, and hangs once its servers run.
#[tokio::test]
#[ignore = "a part of the next test"]
async fn victim() {
    let Ok(report) = std::env::var("CONCORD_VICTIM") else { return };
    let _shared = Database::new(Kind::Postgres).await;
    let _own = Server::dedicated(&[]);
    std::fs::write(report, "ready").expect("the folder is there");
    std::future::pending::<()>().await;
}

/// Processes whose command line or folder lies in the folder that a dead test used.
#[cfg(target_os = "linux")]
fn processes_in(folder: &str) -> Vec<String> {
    std::fs::read_dir("/proc")
        .expect("Linux has /proc")
        .flatten()
        .filter_map(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let folder_of = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            (line.contains(folder) || folder_of.to_string_lossy().contains(folder)).then_some(line)
        })
        .collect()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn nothing_outlives_a_killed_test() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // The servers' user has to get through.
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).expect("it is ours");
    let report = folder.path().join("report");
    let mut victim = std::process::Command::new(std::env::current_exe().expect("a process knows its program"))
        .args(["--exact", "harness::victim", "--ignored", "--nocapture"])
        .env("CONCORD_VICTIM", &report)
        .env("CONCORD_TEST_DIR", folder.path())
        .spawn()
        .expect("this program can be run");
    wait_until("the victim's servers", PATIENCE, async || report.exists().then_some(())).await;
    let place = folder.path().to_string_lossy().into_owned();
    assert!(processes_in(&place).len() > 10, "two servers and their helpers run: {:?}", processes_in(&place));
    victim.kill().expect("the victim runs");
    victim.wait().expect("the victim is a child");
    wait_until("the victim's processes to be gone", PATIENCE, async || processes_in(&place).is_empty().then_some(()))
        .await;
    let user_folder = std::fs::read_dir(folder.path())
        .expect("the folder is there")
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.is_dir())
        .expect("the victim made a folder");
    let left = || std::fs::read_dir(&user_folder).expect("there").flatten().filter(|e| e.path().is_dir()).count();
    wait_until("the victim's folders to be gone", PATIENCE, async || (left() == 0).then_some(())).await;
}

/// A server that somebody else runs serves as well, given by its URL.
#[tokio::test]
async fn a_server_of_mysql_elsewhere() {
    let (server, ours) = tokio::task::spawn_blocking(|| {
        let server = concord_tests::mariadb::Server::dedicated(&[]);
        let ours = concord_tests::mariadb::Server::at(&server.url(ADMIN, "mysql"));
        (server, ours)
    })
    .await
    .expect("it starts");
    let database = Database::on_mariadb(&ours).await;
    let name = database.user().await.cell("SELECT database()").await;
    assert!(name.starts_with(&format!("concord_test_{}_", std::process::id())), "{name}");
    let exact = "SELECT 'a' = 'a ' COLLATE utf8mb4_nopad_bin, @@collation_database";
    assert_eq!(database.user().await.rows(exact).await, [[Some("0".into()), Some("utf8mb4_nopad_bin".into())]]);
    drop(ours);
    // It is left running.
    database.user().await.cell("SELECT version()").await;
    drop(server);
}
