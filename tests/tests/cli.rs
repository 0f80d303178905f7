//! What a person sees who runs the command: exit codes, messages, and never a password.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use concord_tests::{As, Concord, Database, Kind, Output, PATIENCE, Seed, User, wait_until};

use super::scene::{self, Scene};

/// Part of every password in these tests, and of nothing else.
const CANARY: &str = "canary";

const MIXED: &[Kind] = &[Kind::Postgres, Kind::Sqlite];

/// Runs a command as talkative as can be. Panics if it shows a password or does not end as it should.
async fn said(concord: &Concord, arguments: &[&str], code: i32, parts: &[&str]) -> Output {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["-vv"]).collect();
    let output = concord.run(&arguments).await;
    assert!(!output.says(CANARY), "`{}` shows a password: {output:?}", arguments.join(" "));
    assert_eq!(output.status.code(), Some(code), "`{}`: {}\n{}", arguments.join(" "), output.stdout, output.stderr);
    for part in parts {
        assert!(
            output.says(part),
            "`{}` does not say `{part}`: {}\n{}",
            arguments.join(" "),
            output.stdout,
            output.stderr
        );
    }
    output
}

/// Every command that opens the databases ends with this code, says these things, changes nothing and shows no password.
async fn all_say(concord: &Concord, code: i32, parts: &[&str]) {
    for command in [&["check"][..], &["install"], &["sync"], &["status"], &["reset", "--yes"], &["uninstall", "--yes"]]
    {
        said(concord, command, code, parts).await;
    }
}

#[tokio::test]
async fn everything_in_order() {
    let mut scene = Scene::bare(MIXED, 1000).await;
    let mut rng = Seed::new("cli::everything_in_order").rng(0);
    said(&scene.concord, &["check"], 0, &["PostgreSQL", "SQLite", "counters", "notes"]).await;
    said(&scene.concord, &["sync"], 2, &["concord install"]).await;
    said(&scene.concord, &["install"], 0, &["a: created", "b: created"]).await;
    said(&scene.concord, &["install"], 0, &["a: already in place", "b: already in place"]).await;
    said(&scene.concord, &["sync"], 0, &["nothing to carry"]).await;
    scene.write_everywhere(&mut rng).await;
    said(&scene.concord, &["sync"], 0, &["written"]).await;
    said(&scene.concord, &["sync"], 0, &["nothing to carry"]).await;
    scene.settled("in order").await;
    for command in [
        &["check", "--json"][..],
        &["install", "--json"],
        &["sync", "--json"],
        &["status", "--json"],
        &["conflicts", "list", "--json"],
        &["parked", "list", "--json"],
        &["reset", "--yes", "--json"],
        &["uninstall", "--yes", "--json"],
    ] {
        let output = said(&scene.concord, command, 0, &[]).await;
        assert!(!output.json().is_null(), "{command:?}: {output:?}");
    }
}

#[tokio::test]
async fn a_node_that_cannot_be_reached() {
    let mut scene = Scene::new(MIXED, 1000).await;
    let url = scene.databases[0].url();
    let wrong_password = url.replacen(CANARY, "canaryX", 1);
    let no_database = format!("{url}_missing");
    let port = url.rsplit([':', '/']).nth(1).expect("a URL has a port");
    let nobody = url.replace(&format!(":{port}/"), ":1/");
    for (at, url, parts) in [
        (0, wrong_password, &["password"][..]),
        (0, no_database, &["test_", "_missing"]),
        (0, nobody, &["127.0.0.1:1"]),
        (1, "sqlite:/nowhere/shop.db".to_owned(), &["/nowhere/shop.db"]),
    ] {
        let there = scene.databases[at].url();
        scene.concord.env(&format!("NODE_{}", scene::NAMES[at]), &url);
        let node = format!("node `{}`", scene::NAMES[at]);
        all_say(&scene.concord, 3, &[&[&*node], parts].concat()).await;
        scene.concord.env(&format!("NODE_{}", scene::NAMES[at]), &there);
    }
    // Not even half of it was reset or removed.
    said(&scene.concord, &["install"], 0, &["a: already in place", "b: already in place"]).await;
}

#[tokio::test]
async fn a_node_that_is_away_for_a_while() {
    let mut scene = Scene::new(&[Kind::Sqlite, Kind::Postgres, Kind::Sqlite], 1000).await;
    let mut rng = Seed::new("cli::a_node_that_is_away_for_a_while").rng(0);
    for away in 0..3 {
        scene.reach(away, false);
        scene.write_everywhere(&mut rng).await;
        let name = format!("node `{}` is left out", scene::NAMES[away]);
        said(&scene.concord, &["sync"], 3, &[&name]).await;
        let notes = scene.content("notes").await;
        let there: Vec<_> = (0..3).filter(|&at| at != away).map(|at| &notes[at]).collect();
        assert_eq!(there[0], there[1], "the others go on without {}", scene::NAMES[away]);
        said(&scene.concord, &["status"], 3, &[]).await;
        scene.reach(away, true);
    }
    scene.converges("everybody is back").await;
}

#[tokio::test]
async fn files_that_are_no_database() {
    let sqlite = Database::new(Kind::Sqlite).await;
    sqlite.user_as(As::Sync).await.execute(&scene::tables()).await;
    let concord = Concord::new(&scene::config(&["sqlite:letter.db".to_owned(), sqlite.url()], 1000));
    concord.write("letter.db", &"Dear reader, this is no database. ".repeat(200));
    let output = said(&concord, &["check"], 2, &["node `a`", "letter.db", "not a SQLite database"]).await;
    assert!(!output.says("node `b`:"), "{output:?}");
    said(&concord, &["install"], 2, &["not a SQLite database"]).await;
    concord.write("concord.toml", &scene::config(&["sqlite:.".to_owned(), sqlite.url()], 1000));
    said(&concord, &["install"], 2, &["node `a`", "is not a file"]).await;
}

#[tokio::test]
async fn a_table_that_is_missing() {
    let scene = Scene::bare(MIXED, 1000).await;
    scene.databases[1].user_as(As::Sync).await.execute("DROP TABLE notes").await;
    let parts = ["concord.toml", "there is no table `notes` at b"];
    said(&scene.concord, &["check"], 2, &parts).await;
    said(&scene.concord, &["install"], 2, &parts).await;
    // Nothing was changed anywhere, so nothing is installed.
    said(&scene.concord, &["sync"], 2, &["concord install"]).await;
}

/// The statements that are printed are all that it takes.
#[tokio::test]
async fn rights_that_are_missing() {
    let scene = Scene::bare(MIXED, 1000).await;
    let mut admin = scene.databases[0].user_as(As::Admin).await;
    let name = name_of(&scene.databases[0]);
    admin.execute(&format!("REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")).await;
    // What the role cannot do without owning the tables is told, and is no obstacle.
    let granted = granted(&scene, &mut admin, "ready, but not every change would be recorded").await;
    assert!(granted[0].starts_with("GRANT CONNECT ON DATABASE"), "{granted:?}");
}

/// An account that is let into no database, but may do to the synced tables what has to be done to them.
#[tokio::test]
async fn rights_that_are_missing_on_mariadb() {
    let scene = Scene::bare(&[Kind::Mariadb, Kind::Sqlite], 1000).await;
    let mut admin = scene.databases[0].user_as(As::Admin).await;
    let name = name_of(&scene.databases[0]);
    admin.execute(&format!("REVOKE ALL ON {name}.* FROM 'app'@'%'")).await;
    let first = granted(&scene, &mut admin, "ready").await;
    assert!(first[0].starts_with("GRANT SELECT ON"), "{first:?}");
    let scene = Scene::bare(&[Kind::Mariadb, Kind::Sqlite], 1000).await;
    let name = name_of(&scene.databases[0]);
    let tables = ["counters", "notes"];
    let on_tables =
        tables.map(|table| format!("GRANT SELECT, INSERT, UPDATE, DELETE, TRIGGER ON {name}.{table} TO 'app'@'%'"));
    admin.execute(&format!("REVOKE ALL ON {name}.* FROM 'app'@'%'; {}", on_tables.join("; "))).await;
    let then = granted(&scene, &mut admin, "ready").await;
    assert!(then.iter().any(|grant| grant.starts_with("GRANT INSERT ON")), "{then:?}");
}

/// MariaDB tells an account without the right that there are triggers, and not what they do.
#[tokio::test]
async fn the_right_to_triggers_is_missing_where_there_are_some_on_mariadb() {
    let scene = Scene::bare(&[Kind::Mariadb, Kind::Sqlite], 1000).await;
    let (name, mut admin) = (name_of(&scene.databases[0]), scene.databases[0].user_as(As::Admin).await);
    let other = "CREATE TABLE other (id integer PRIMARY KEY, n integer);
                 CREATE TRIGGER of_another BEFORE INSERT ON other FOR EACH ROW SET NEW.n = 1";
    scene.databases[0].user_as(As::Sync).await.execute(other).await;
    admin
        .execute(&format!(
            "REVOKE ALL ON {name}.* FROM 'app'@'%';
             GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX ON {name}.* TO 'app'@'%'"
        ))
        .await;
    let granted = granted(&scene, &mut admin, "ready").await;
    assert!(granted.iter().any(|grant| grant.starts_with("GRANT TRIGGER ON")), "{granted:?}");
    // Nor does anybody read that the service tables are damaged once its own are there.
    said(&scene.concord, &["install"], 0, &[]).await;
    admin.execute(&format!("REVOKE TRIGGER ON {name}.* FROM 'sync'@'%'")).await;
    for command in [&["check"][..], &["install"], &["sync"], &["status"]] {
        let output = scene.concord.run(command).await;
        assert!(!output.status.success() && !output.says("concord reset"), "{command:?}: {output:?}");
        // MySQL does not show the triggers at all.
        assert!(output.says("GRANT TRIGGER ON") || admin.is_mysql(), "{command:?}: {output:?}");
    }
    admin.execute(&format!("GRANT TRIGGER ON {name}.* TO 'sync'@'%'")).await;
    said(&scene.concord, &["sync"], 0, &[]).await;
}

/// GIVEN a node whose account may write every table of users, and not what its triggers enter changes into
/// WHEN nothing is pending
/// THEN `status` tells the right, without which no user can write anything there.
#[tokio::test]
async fn who_can_record_nothing_is_told_by_status_on_mariadb() {
    let scene = Scene::new(&[Kind::Sqlite, Kind::Mariadb], 1000).await;
    said(&scene.concord, &["status"], 0, &[]).await;
    let (name, mut admin) = (name_of(&scene.databases[1]), scene.databases[1].user_as(As::Admin).await);
    admin
        .execute(&format!(
            "REVOKE INSERT, CREATE ON {name}.* FROM 'sync'@'%';
             GRANT INSERT ON {name}.counters TO 'sync'@'%'; GRANT INSERT ON {name}.notes TO 'sync'@'%'"
        ))
        .await;
    let parts = ["node `b`: may not insert into service tables", "GRANT INSERT ON"];
    let told = said(&scene.concord, &["status"], 1, &parts).await;
    assert!(!told.says("GRANT CREATE"), "only `install` needs it: {told:?}");
    admin.execute(&format!("GRANT INSERT ON {name}.* TO 'sync'@'%'")).await;
    said(&scene.concord, &["status"], 0, &[]).await;
}

/// What a server calls the database.
fn name_of(database: &Database) -> String {
    database.url().rsplit('/').next().expect("the URL ends with it").to_owned()
}

/// Grants what the first node, entered by an application's role, is told to lack, until Concord is ready; then it works. What
/// was granted.
async fn granted(scene: &Scene, admin: &mut User, ready: &str) -> Vec<String> {
    let mut concord = Concord::new(&scene::config(&["${NODE_a}".to_owned(), "${NODE_b}".to_owned()], 1000));
    concord.env("NODE_a", &scene.databases[0].url_as(As::App)).env("NODE_b", &scene.databases[1].url());
    let mut granted: Vec<String> = Vec::new();
    loop {
        let output = concord.run(&["check", "-vv"]).await;
        assert!(!output.says(CANARY), "{output:?}");
        let text = output.stdout.clone() + &output.stderr;
        if output.status.success() {
            assert!(output.says(ready), "{text}");
            break;
        }
        let mut grants: Vec<String> =
            text.lines().filter_map(|line| Some(line[line.find("GRANT ")?..].to_owned())).collect();
        // Why a node is not reached is logged besides.
        grants.dedup();
        assert!(!grants.is_empty(), "{text}");
        assert_eq!(output.status.code(), Some(2), "{text}");
        let refused = said(&concord, &["install"], 2, &["node `a`: ", &grants[0]]).await;
        assert!(refused.stdout.is_empty(), "nothing was installed: {refused:?}");
        for grant in grants {
            assert!(!granted.contains(&grant), "asked for again: {grant}");
            admin.execute(&grant).await;
            granted.push(grant);
        }
    }
    assert!(!granted.is_empty());
    said(&concord, &["install"], 0, &["a: created"]).await;
    scene.databases[1].user().await.execute("UPDATE counters SET value = 7 WHERE id = 1").await;
    said(&concord, &["sync"], 0, &["written"]).await;
    said(&concord, &["uninstall", "--yes"], 0, &[]).await;
    granted
}

/// A reason may hold values of the row; whoever reads the log need not be allowed to see them.
#[tokio::test]
async fn values_of_rows_are_not_logged() {
    let scene = Scene::bare(MIXED, 1000).await;
    let refuses =
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not %'', NEW.body; END';
                   CREATE TRIGGER refuses BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION refuse()";
    scene.databases[0].user_as(As::Sync).await.execute(refuses).await;
    said(&scene.concord, &["install"], 0, &[]).await;
    // Some rows wait for a step only, so that the command tells at its end how many do.
    scene.databases[1].user().await.execute("INSERT INTO notes VALUES (97, 'the content')").await;
    let output = scene.concord.run(&["sync"]).await;
    assert!(output.says("1 row waits for a person") && !output.says("Rows wait;"), "{output:?}");
    let rows = "INSERT INTO notes VALUES (98, 'the content'), (99, 'the content')";
    scene.databases[1].user().await.execute(rows).await;
    let output = said(&scene.concord, &["sync", "-vv"], 1, &["Rows wait; `concord parked list` tells why"]).await;
    assert!(!output.says("the content"), "{output:?}");
    // One line for all that wait for the same there.
    let told: Vec<&str> = output.stderr.lines().filter(|line| line.contains("Rows wait; ")).collect();
    assert!(
        told.len() == 1 && told[0].contains("node=\"a\" table=\"notes\"") && told[0].contains("rows=2"),
        "{told:?}"
    );
    said(&scene.concord, &["parked", "list"], 0, &["not the content"]).await;
}

/// GIVEN a node that takes nothing, for want of a right
/// WHEN changes are pending because of it
/// THEN `status` names the node, tells the right, and does not end as if all were well.
#[tokio::test]
async fn who_takes_nothing_is_told_by_status() {
    let scene = Scene::new(&[Kind::Sqlite, Kind::Postgres], 1000).await;
    scene.databases[0].user().await.execute("INSERT INTO notes VALUES (2, 'new')").await;
    let pending = said(&scene.concord, &["status", "--json"], 0, &[]).await.json();
    let lines = pending["tables"].as_array().expect("a list").iter();
    let lacking: Vec<_> = lines.filter(|line| line["pending"] == 1).map(|line| line["lacking"].to_string()).collect();
    assert_eq!(lacking, ["[\"b\"]"], "{pending:#}");
    let mut owner = scene.databases[1].user_as(As::Sync).await;
    owner.execute("REVOKE INSERT ON notes FROM sync").await;
    said(&scene.concord, &["sync"], 1, &[]).await;
    said(&scene.concord, &["status"], 1, &["not yet at", "node `b`: may not insert into public.notes", "GRANT INSERT"])
        .await;
    owner.execute("GRANT INSERT ON notes TO sync").await;
    said(&scene.concord, &["sync"], 0, &["written"]).await;
    said(&scene.concord, &["status"], 0, &[]).await;
    // What is not carried takes no right.
    said(&scene.concord, &["sync"], 0, &[]).await;
    let file = std::fs::read_to_string(scene.concord.path("concord.toml")).expect("the file was written");
    scene.concord.write("concord.toml", &format!("{file}operations = [\"insert\", \"update\"]\n"));
    said(&scene.concord, &["install"], 0, &[]).await;
    owner.execute("REVOKE DELETE ON notes FROM sync").await;
    scene.databases[0].user().await.execute("INSERT INTO notes VALUES (4, 'new')").await;
    said(&scene.concord, &["status"], 0, &["not yet at"]).await;
}

/// A node's name in the file is taken away by an older file: an engine that has it does not say that installing is the remedy, and
/// `install` says who goes.
#[tokio::test]
async fn an_older_file_is_told_from_a_newer_one() {
    let scene = Scene::new(&[Kind::Sqlite; 3], 1000).await;
    let urls: Vec<String> = scene.databases[..2].iter().map(Database::url).collect();
    let older = Concord::new(&scene::config(&urls, 1000));
    let remedy = "if this file is the older one, start again with the newer one; otherwise run `concord install`, which takes c out";
    said(&older, &["sync"], 2, &[remedy]).await;
    said(&older, &["install"], 0, &["warning: node `c` left the sync"]).await;
}

/// GIVEN an older file, which takes a node out of the sync
/// WHEN it is installed as part of another command, or the install is broken off
/// THEN its warnings are told all the same, as the next install may have nothing to warn of.
#[tokio::test]
async fn warnings_of_an_install_are_told_whatever_becomes_of_it() {
    for (faults, command, code) in
        [("install-node=error@2", &["install"][..], 3), ("", &["load", "--create"], 0), ("", &["reset", "--yes"], 0)]
    {
        let scene = Scene::new(&[Kind::Sqlite; 3], 1000).await;
        let urls: Vec<String> = scene.databases[..2].iter().map(Database::url).collect();
        let mut older = Concord::new(&scene::config(&urls, 1000));
        said(older.faults(faults), command, code, &["node `c` left the sync"]).await;
    }
}

/// What `install` itself makes of a history is told as that, and not as if somebody had altered it.
#[tokio::test]
async fn a_history_that_records_more_is_no_news() {
    let scene = Scene::bare(&[Kind::Mariadb, Kind::Sqlite], 1000).await;
    let summed = std::fs::read_to_string(scene.concord.path("concord.toml")).expect("the file was written");
    let plain = summed.replace("conflict = { sum = [\"value\"] }\n", "");
    assert_ne!(plain, summed);
    scene.concord.write("concord.toml", &plain);
    said(&scene.concord, &["install"], 0, &[]).await;
    scene.concord.write("concord.toml", &summed);
    let output = said(&scene.concord, &["install"], 0, &["a: counters: replaced "]).await;
    assert!(!output.says("is not Concord's"), "{output:?}");
}

/// A file that is not there may be that of a new node, and a database that is not there may be misspelled.
#[tokio::test]
async fn databases_that_are_not_there() {
    let sqlite = [Database::new(Kind::Sqlite).await, Database::new(Kind::Sqlite).await];
    let concord = Concord::new(&scene::config(&["sqlite:none.db".to_owned(), sqlite[0].url()], 1000));
    said(&concord, &["check"], 3, &["create it as an empty file", "concord load --create"]).await;
    let maria = Database::new(Kind::Mariadb).await;
    let url = maria.url_as(As::App).replace(&name_of(&maria), "misspelled");
    let concord = Concord::new(&scene::config(&[url, sqlite[1].url()], 1000));
    said(&concord, &["check"], 2, &["if there is no database of this name, correct the node's url"]).await;
}

#[tokio::test]
async fn a_newer_concord_was_here() {
    let scene = Scene::new(MIXED, 1000).await;
    for (at, table) in [(0, "concord.node"), (1, "concord_node")] {
        let mut owner = scene.databases[at].user_as(As::Sync).await;
        let version = owner.cell(&format!("SELECT version FROM {table}")).await;
        owner.execute(&format!("UPDATE {table} SET version = 99")).await;
        let parts = [&*format!("node `{}`", scene::NAMES[at]), "newer Concord", "99"];
        for command in [&["check"][..], &["install"], &["sync"], &["reset", "--yes"], &["uninstall", "--yes"]] {
            said(&scene.concord, command, 2, &parts).await;
        }
        said(&scene.concord, &["status"], 1, &parts).await;
        owner.execute(&format!("UPDATE {table} SET version = {version}")).await;
    }
    said(&scene.concord, &["sync"], 0, &[]).await;
}

/// Whoever alters the service tables by hand gets an error with a name in it, and `uninstall` or `install` as a way out.
#[tokio::test]
async fn service_tables_that_are_broken() {
    for (at, breaking, repaired) in [
        (0, "DROP TABLE concord.position", true),
        (1, "DROP TABLE concord_position", true),
        (0, "DROP TABLE history_store.notes", true),
        (1, "DROP TABLE history_store_notes", true),
        (0, "INSERT INTO concord.position VALUES ('notes', 'b', 'somewhere')", false),
        (1, "INSERT INTO concord_position VALUES ('notes', 'a', 'somewhere', NULL)", false),
    ] {
        let scene = Scene::new(MIXED, 1000).await;
        scene.databases[at].user_as(As::Sync).await.execute(breaking).await;
        let output = scene.concord.run(&["sync", "-vv"]).await;
        assert!(matches!(output.status.code(), Some(1 | 2)), "{breaking}: {output:?}");
        assert!(!output.says(CANARY), "{breaking}: {output:?}");
        let named = format!("at {}", scene::NAMES[at]);
        let node = format!("node `{}`", scene::NAMES[at]);
        assert!(output.says(&node) || output.says(&named), "{breaking}: {output:?}");
        if repaired {
            said(&scene.concord, &["install"], 0, &[]).await;
            said(&scene.concord, &["sync"], 0, &[]).await;
        }
        said(&scene.concord, &["uninstall", "--yes"], 0, &[]).await;
    }
}

#[tokio::test]
async fn one_database_as_two_nodes() {
    for kind in Kind::ALL {
        let database = Database::new(kind).await;
        database.user_as(As::Sync).await.execute(&scene::tables()).await;
        let url = database.url();
        let concord = Concord::new(&scene::config(&[url.clone(), url.clone()], 1000));
        said(&concord, &["check"], 2, &["`a`", "`b`"]).await;
        said(&concord, &["install"], 2, &["`a`", "`b`"]).await;
        let other = match kind {
            Kind::Postgres | Kind::Mariadb => url.replace("127.0.0.1", "localhost"),
            Kind::Sqlite => {
                let file = url.trim_start_matches("sqlite:");
                std::os::unix::fs::symlink(file, concord.path("link.db")).expect("the folder is ours");
                "sqlite:link.db".to_owned()
            }
        };
        concord.write("concord.toml", &scene::config(&[url, other], 1000));
        let parts = ["`a`", "`b`", "the same database"];
        said(&concord, &["check"], 2, &parts).await;
        said(&concord, &["install"], 2, &parts).await;
    }
}

#[tokio::test]
async fn a_bad_file() {
    let url = "postgres://me:canary@127.0.0.1:1/shop";
    let nodes = format!("[nodes.a]\nurl = \"{url}\"\n[nodes.b]\nurl = \"sqlite:b.db\"\n");
    for (text, parts) in [
        (format!("nme = \"x\"\n{nodes}[tables.t]\n"), &["concord.toml:1", "nme", "name"][..]),
        (format!("name = \"x\"\n[nodes.a]\nurl = \"{url}\n"), &["concord.toml:3"]),
        (format!("name = \"x\"\n[nodes.a]\nurll = \"{url}\"\n"), &["concord.toml:3", "url"]),
        (format!("name = \"x\"\n[nodes.a]\nurl = {url}\n"), &["concord.toml:3"]),
        (format!("name = \"x\"\n[nodes.a]\nurl = [\"{url}\"]\n"), &["concord.toml:3"]),
        (format!("name = \"x\"\n{nodes}[tables.t]\nconflict = \"{url}\"\n"), &["concord.toml:7"]),
        (
            format!("name = \"x\"\n{}[tables.t]\n", nodes.replace("postgres:", "postgre:")),
            &["concord.toml:3", "postgre"],
        ),
        (format!("name = \"x\"\n{}[tables.t]\n", nodes.replace("/shop", "/shop?passwort=canary")), &["passwort"]),
        (format!("name = \"x\"\n{}[tables.t]\n", nodes.replace(":1/", ":port/")), &[]),
    ] {
        let concord = Concord::new(&text);
        concord.write("b.db", "");
        for command in [&["check"][..], &["sync"]] {
            let output = concord.run(&[command, &["-vv"]].concat()).await;
            assert!(!output.says(CANARY), "{text}: {output:?}");
            assert!(matches!(output.status.code(), Some(2 | 3)), "{text}: {output:?}");
            parts.iter().for_each(|part| assert!(output.says(part), "`{part}` for {text}: {output:?}"));
        }
    }
    let concord = Concord::new("");
    said(&concord, &["sync", "--config", "none.toml"], 2, &["none.toml"]).await;
    said(&concord, &["syncc"], 2, &["sync"]).await;
    said(&concord, &["sync", url], 2, &[]).await;
}

/// Waits until a watch has carried something, so that it is in its loop.
async fn carried(scene: &mut Scene, by: i64) {
    scene::add(&mut scene.users[0], 1, by, &mut scene.done).await;
    wait_until("the watch to carry a change", PATIENCE, async || {
        let rows = scene.content("counters").await;
        rows.iter().all(|rows| *rows == scene.done.counters()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn watch_ends_when_told() {
    let mut scene = Scene::new(MIXED, 1000).await;
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // Also in the middle of a long rest.
        let watch = scene.concord.start(&["watch", "--every", "1h", "-vv"]);
        carried(&mut scene, 1).await;
        let told = Instant::now();
        watch.signal(signal);
        let output = watch.wait().await.ok();
        assert!(told.elapsed() < Duration::from_secs(2), "it took {:?}", told.elapsed());
        assert!(!output.says(CANARY), "{output:?}");
    }
    // And while a node is away, between two attempts.
    scene.reach(0, false);
    let mut watch = scene.concord.start(&["watch", "--every", "1h"]);
    watch.line("node `a` is left out").await;
    watch.signal(libc::SIGTERM);
    let told = Instant::now();
    watch.wait().await.ok();
    assert!(told.elapsed() < Duration::from_secs(2), "it took {:?}", told.elapsed());
    scene.reach(0, true);
    scene.converges("after the watches").await;
}

#[tokio::test]
async fn an_engine_beside_a_watch() {
    let mut scene = Scene::new(MIXED, 1000).await;
    let mut rng = Seed::new("cli::an_engine_beside_a_watch").rng(0);
    let watch = scene.concord.start(&["watch", "--every", "20ms"]);
    carried(&mut scene, 1).await;
    for _ in 0..3 {
        scene.write_everywhere(&mut rng).await;
        said(&scene.concord, &["sync"], 0, &[]).await;
        said(&scene.concord, &["status"], 0, &[]).await;
        said(&scene.concord, &["install"], 0, &["already in place"]).await;
    }
    watch.signal(libc::SIGTERM);
    watch.wait().await.ok();
    scene.converges("after both").await;
}

#[tokio::test]
async fn a_sync_that_is_interrupted() {
    let mut scene = Scene::new(MIXED, 1000).await;
    let mut rng = Seed::new("cli::a_sync_that_is_interrupted").rng(0);
    for point in ["read-done", "apply-written", "apply-after-commit", "purge"] {
        scene.write_everywhere(&mut rng).await;
        let file = scene.concord.path("paused");
        let running = scene.concord.faults(&format!("{point}=pause:{}@1", file.display())).start(&["sync"]);
        wait_until(point, PATIENCE, async || file.exists().then_some(())).await;
        running.signal(libc::SIGINT);
        let output = running.wait().await;
        assert!(output.status.signal() == Some(libc::SIGINT) || output.status.code() == Some(130), "{output:?}");
        std::fs::remove_file(&file).expect("the engine made it");
        scene.converges(&format!("interrupted at `{point}`")).await;
    }
}

#[tokio::test]
async fn uninstall_leaves_nothing() {
    let mut scene = Scene::bare(&[Kind::Sqlite, Kind::Postgres, Kind::Sqlite, Kind::Mariadb], 1000).await;
    let mut rng = Seed::new("cli::uninstall_leaves_nothing").rng(0);
    let before = scene.schemas().await;
    said(&scene.concord, &["install"], 0, &[]).await;
    assert_ne!(scene.schemas().await, before);
    scene.write_everywhere(&mut rng).await;
    scene.converges("before it is removed").await;
    // Entries, journal and waiting rows do not keep it.
    scene.write_everywhere(&mut rng).await;
    let rows = scene.content("notes").await;
    let output = said(&scene.concord, &["uninstall"], 2, &["--yes"]).await;
    assert_ne!(scene.schemas().await, before, "nobody agreed: {output:?}");
    scene.disconnect();
    said(&scene.concord, &["uninstall", "--yes"], 0, &["a: ", "b: ", "c: ", "d: "]).await;
    scene.connect().await;
    assert_eq!(scene.schemas().await, before);
    assert_eq!(scene.content("notes").await, rows);
    said(&scene.concord, &["uninstall", "--yes"], 0, &[]).await;
    said(&scene.concord, &["sync"], 2, &["concord install"]).await;
}

/// A sync of SQLite files, each named for its node.
fn of_files(nodes: &[(&str, &str)]) -> String {
    let nodes = nodes.iter().map(|(node, file)| format!("[nodes.{node}]\nurl = \"sqlite:{file}.db\"\n"));
    format!("name = \"shop\"\n{}[tables.items]\n", nodes.collect::<String>())
}

fn execute(concord: &Concord, file: &str, sql: &str) {
    let database = rusqlite::Connection::open(concord.path(file)).expect("a file");
    database.execute_batch(sql).unwrap_or_else(|why| panic!("{sql}: {why}"));
}

/// GIVEN a database that was copied from a node's, service tables and all
/// WHEN the file names it as another node
/// THEN it is said how it becomes one, and that way is right: the node that it was copied from goes on as before.
#[tokio::test]
async fn a_copied_database_becomes_a_node_of_its_own() {
    let concord = Concord::new(&of_files(&[("a", "a"), ("b", "b")]));
    for file in ["a.db", "b.db"] {
        execute(&concord, file, "CREATE TABLE items (id integer PRIMARY KEY, note text)");
    }
    said(&concord, &["install"], 0, &[]).await;
    execute(&concord, "a.db", "INSERT INTO items VALUES (1, 'x')");
    said(&concord, &["sync"], 0, &[]).await;
    std::fs::copy(concord.path("a.db"), concord.path("c.db")).expect("the file is there");
    concord.write("concord.toml", &of_files(&[("a", "a"), ("b", "b"), ("c", "c")]));
    for command in [&["check"][..], &["install"], &["uninstall", "--yes"]] {
        let told = "node `c`: it is installed as node `a` of this sync";
        said(&concord, command, 2, &[told, "`concord uninstall --node c`"]).await;
    }
    said(&concord, &["uninstall", "--node", "c"], 2, &["--yes"]).await;
    said(&concord, &["uninstall", "--node", "d", "--yes"], 2, &["no node is called `d`", "a, b, c"]).await;
    said(&concord, &["uninstall", "--node", "c", "--yes"], 0, &["c: service tables"]).await;
    said(&concord, &["install"], 0, &["c: created"]).await;
    said(&concord, &["load"], 0, &[]).await;
    execute(&concord, "c.db", "INSERT INTO items VALUES (3, 'c')");
    execute(&concord, "a.db", "INSERT INTO items VALUES (2, 'a')");
    said(&concord, &["sync"], 0, &[]).await;
    for file in ["a.db", "b.db", "c.db"] {
        let database = rusqlite::Connection::open(concord.path(file)).expect("a file");
        let sql = "SELECT group_concat(id) FROM (SELECT id FROM items ORDER BY id)";
        let ids: String = database.query_one(sql, [], |row| row.get(0)).expect("there are rows");
        assert_eq!(ids, "1,2,3", "{file}");
    }
}

/// Nobody's own database is taken for a copy, and nobody else is touched, or needed.
#[tokio::test]
async fn one_node_is_taken_off_by_itself() {
    let own = of_files(&[("a", "a"), ("b", "b")]);
    let concord = Concord::new(&own);
    for file in ["a.db", "b.db"] {
        execute(&concord, file, "CREATE TABLE items (id integer PRIMARY KEY, note text)");
    }
    said(&concord, &["install"], 0, &[]).await;
    // Two names in each other's place; one whose own database is not there; another sync.
    concord.write("concord.toml", &of_files(&[("a", "b"), ("b", "a")]));
    said(&concord, &["uninstall", "--node", "a", "--yes"], 2, &["it is installed as node `b` of this sync"]).await;
    concord.write("concord.toml", &of_files(&[("b", "none"), ("c", "b")]));
    said(&concord, &["uninstall", "--node", "c", "--yes"], 2, &["cannot be told while that one is not there"]).await;
    concord.write("concord.toml", &own.replace("shop", "other"));
    let told = "it is installed as node `a` of the sync `shop`, not as `a` of `other`";
    said(&concord, &["uninstall", "--node", "a", "--yes"], 2, &[told, "`concord uninstall --node a`"]).await;
    concord.write("concord.toml", &own);
    said(&concord, &["sync"], 0, &[]).await;
    std::fs::rename(concord.path("b.db"), concord.path("gone.db")).expect("the file is there");
    said(&concord, &["uninstall", "--node", "a", "--yes"], 0, &["a: service tables"]).await;
    std::fs::rename(concord.path("gone.db"), concord.path("b.db")).expect("the file is there");
    said(&concord, &["check"], 0, &["not installed"]).await;
    said(&concord, &["uninstall", "--yes"], 0, &["a: nothing was installed", "b: service tables"]).await;
}

/// GIVEN a table that is installed
/// WHEN a file is used that does not name it
/// THEN who syncs or asks hears that its changes stay, until the file names it again.
#[tokio::test]
async fn a_table_that_an_older_file_lacks_is_told() {
    let older = of_files(&[("a", "a"), ("b", "b")]);
    let newer = format!("{older}[tables.parts]\n");
    let concord = Concord::new(&newer);
    for file in ["a.db", "b.db"] {
        execute(
            &concord,
            file,
            "CREATE TABLE items (id integer PRIMARY KEY); CREATE TABLE parts (id integer PRIMARY KEY)",
        );
    }
    said(&concord, &["install"], 0, &[]).await;
    let told = "installed and not in this file, so that what is changed there stays where it is: `parts`";
    assert!(!said(&concord, &["sync"], 0, &[]).await.says(told));
    execute(&concord, "a.db", "INSERT INTO parts VALUES (1)");
    concord.write("concord.toml", &older);
    said(&concord, &["sync"], 0, &["nothing to carry", told]).await;
    said(&concord, &["status"], 0, &[told]).await;
    let status = concord.run(&["status", "--json"]).await;
    assert_eq!(status.json()["unlisted"][0], "parts", "{status:?}");
    assert!(!concord.run(&["sync", "-q"]).await.says("parts"));
    concord.write("concord.toml", &newer);
    assert!(!said(&concord, &["sync"], 0, &["written"]).await.says(told));
}

/// The folder that the file stands in is no part of a URL, whatever it is called; and who asks for quiet has it.
#[tokio::test]
async fn a_folder_called_as_in_a_url() {
    let concord = Concord::new("");
    concord.write("a%20b?/concord.toml", &of_files(&[("a", "a"), ("b", "b")]));
    for file in ["a%20b?/a.db", "a%20b?/b.db"] {
        execute(&concord, file, "CREATE TABLE items (id integer PRIMARY KEY, note text)");
    }
    let file = ["--config", "a%20b?/concord.toml"];
    said(&concord, &[&["install"][..], &file[..]].concat(), 0, &["a: created", "b: created"]).await;
    execute(&concord, "a%20b?/a.db", "INSERT INTO items VALUES (1, 'x')");
    let planned = concord.run(&[&["plan", "-q", "--out", "x.plan"][..], &file[..]].concat()).await;
    assert!(planned.stderr.is_empty() && !planned.stdout.is_empty(), "{planned:?}");
    said(&concord, &[&["sync"][..], &file[..]].concat(), 0, &["written"]).await;
    let database = rusqlite::Connection::open(concord.path("a%20b?/b.db")).expect("a file");
    let ids: i64 = database.query_one("SELECT id FROM items", [], |row| row.get(0)).expect("there is a row");
    assert_eq!(ids, 1);
    concord.write("a%20b?/concord.toml", &of_files(&[("a", "a"), ("b", "none")]));
    said(&concord, &[&["check"][..], &file[..]].concat(), 3, &["a%20b?/none.db"]).await;
}
