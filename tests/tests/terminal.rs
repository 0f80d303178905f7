//! The command on a terminal: colours, a line that tells how far it is, questions, and Ctrl-C.

use concord_tests::{Kind, Output};

use super::scene::Scene;

const SQLITE: &[Kind] = &[Kind::Sqlite, Kind::Sqlite];

/// Wide enough for every line of a report.
const WIDE: u16 = 200;

/// Takes the line away that tells how far a command is.
const AWAY: &str = "\r\x1b[K";

async fn shown(scene: &Scene, arguments: &[&str]) -> Output {
    scene.concord.start_on_terminal(WIDE, arguments).wait().await
}

#[tokio::test]
async fn every_command_says_the_same_on_a_terminal() {
    let scene = Scene::new(SQLITE, 1000).await;
    for arguments in [
        &["check"][..],
        &["install"],
        &["plan"],
        &["sync"],
        &["load"],
        &["verify"],
        &["status"],
        &["conflicts", "list"],
        &["parked", "list"],
        &["why", "notes", "1"],
        &["sync", "--config", "none.toml"],
        &["syncc"],
        &["--help"],
    ] {
        let piped = scene.concord.run(arguments).await;
        let output = shown(&scene, arguments).await.expect(piped.status.code().expect("it ends by itself"));
        let plain = plain(&output.stdout);
        // What `load` did is told with the time that it took.
        if arguments != ["load"] {
            for line in piped.stdout.lines().chain(piped.stderr.lines()).filter(|line| !line.is_empty()) {
                assert!(plain.contains(line.trim_end()), "{arguments:?} does not show `{line}`: {plain}");
            }
        }
        assert!(!plain.contains("panicked"), "{arguments:?}: {plain}");
    }
}

#[tokio::test]
async fn what_is_logged_has_colours_unless_they_are_not_wanted() {
    let mut scene = Scene::new(SQLITE, 1000).await;
    let colours = "\x1b[32m INFO\x1b[0m";
    for (no_color, wanted) in [(None, true), (Some(""), true), (Some("1"), false)] {
        if let Some(value) = no_color {
            scene.concord.env("NO_COLOR", value);
        }
        scene.users[0].execute("UPDATE notes SET body = body || '!'").await;
        let output = shown(&scene, &["sync", "-vv"]).await.ok();
        assert!(output.says("A cycle is done"), "{output:?}");
        assert_eq!(output.says(colours), wanted, "NO_COLOR is {no_color:?}: {output:?}");
        assert_eq!(output.says("\x1b["), wanted, "NO_COLOR is {no_color:?}: {output:?}");
    }
}

#[tokio::test]
async fn a_load_tells_how_far_it_is_on_one_line() {
    let scene = Scene::new(SQLITE, 1000).await;
    let many = "WITH RECURSIVE n (i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 60000) \
                INSERT INTO notes SELECT i, 'note ' || i FROM n";
    scene.databases[0].user().await.execute(many).await;
    for (columns, bar) in [(150, true), (70, false), (20, false)] {
        let output = scene.concord.start_on_terminal(columns, &["load", "--restart"]).wait().await.ok();
        let lines: Vec<&str> = output.stdout.split(AWAY).collect();
        let told = &lines[..lines.len() - 1];
        assert!(told.len() > 1, "it tells how far it is, and takes that away: {output:?}");
        for line in told.iter().flat_map(|told| told.lines()) {
            assert!(line.chars().count() < columns.into(), "`{line}` is wider than {columns} columns");
        }
        assert_eq!(told.concat().contains("[#"), bar, "{output:?}");
        assert!(!lines[told.len()].contains(" left"), "the report stands alone: {output:?}");
    }
    let output = shown(&scene, &["load", "--restart", "--quiet"]).await.ok();
    assert!(!output.says(" a second"), "{output:?}");
}

#[tokio::test]
async fn questions_are_asked_and_heeded() {
    let scene = Scene::new(SQLITE, 1000).await;
    let no = (1, "nothing was changed");
    for (answer, (code, part)) in [("\n", no), ("n\n", no), ("y\n", (0, "removed"))] {
        let mut running = scene.concord.start_on_terminal(WIDE, &["uninstall"]);
        running.line("Go on? [y/N]").await;
        running.enter(answer);
        let output = running.wait().await.expect(code);
        assert!(output.says(part), "answered {answer:?}: {output:?}");
    }
}

#[tokio::test]
async fn ctrl_c_ends_a_watch() {
    let scene = Scene::new(SQLITE, 1000).await;
    let mut watch = scene.concord.start_on_terminal(WIDE, &["watch", "--every", "1h", "-vv"]);
    watch.line("watching; Ctrl-C ends it").await;
    watch.enter("\x03");
    let output = watch.wait().await.ok();
    assert!(output.says("stopping after the current step"), "{output:?}");
    scene.concord.run(&["sync"]).await.ok();
}

/// Without colours and what moves the cursor.
fn plain(shown: &str) -> String {
    let mut parts = shown.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    let text = parts.fold(first, |text, part| {
        text + part.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).get(1..).unwrap_or_default()
    });
    text.replace('\r', "")
}
