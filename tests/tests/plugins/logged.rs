//! What plugins log, as whoever runs a command sees it.

use super::commands::{ended, folder, put};

/// By the names of the tables in which a plugin says too much, too long a line, and what steers a terminal and forges a line.
#[tokio::test]
async fn what_a_plugin_logs_is_bounded_and_told_under_its_name() {
    let tables = ["flood", "long", "control"];
    let section = |table: &str| {
        format!("[tables.{table}.nodes.branch]\nfilter = {{ plugin = \"hostile\", attack = \"log-{table}\" }}\n")
    };
    let concord = folder(&tables.map(section).concat());
    put(&concord, "hostile");
    let everywhere = |sql: &str| tables.map(|table| sql.replace('$', table)).concat();
    for file in ["a.db", "b.db"] {
        let made = rusqlite::Connection::open(concord.path(file)).unwrap();
        let sql = everywhere("CREATE TABLE $ (id integer PRIMARY KEY, note text, stock integer);");
        made.execute_batch(&sql).unwrap();
    }
    ended(&concord.run(&["plugin", "lock"]).await, 0);
    ended(&concord.run(&["install"]).await, 0);
    let user = rusqlite::Connection::open(concord.path("a.db")).unwrap();
    user.execute_batch(&everywhere("INSERT INTO $ VALUES (1, 'poison', 1);")).unwrap();
    let said = concord.run(&["sync", "-v"]).await;
    ended(&said, 0);
    let log = &said.stderr;
    let of = |table: &str| {
        let field = format!("table=\"{table}\"");
        let lines = log.lines().filter(move |line| line.contains(&field) && line.contains("plugin=hostile"));
        lines.collect::<Vec<_>>()
    };
    // Of 5,000 lines of each call.
    let cut = log.matches("A plugin logs too much").count();
    assert!(cut > 0 && log.matches("lines=4900").count() == cut, "{log}");
    assert!(of("flood").len() == 100 * cut && !log.contains("line 100"), "{log}");
    // Of 1 MiB.
    let (most, more) = ("x".repeat(1_000), "x".repeat(1_001));
    let long = of("long");
    assert!(!long.is_empty() && long.iter().all(|line| line.contains(&most) && !line.contains(&more)), "{log}");
    let control = of("control");
    assert!(!control.is_empty() && control.iter().all(|line| line.contains("one ERROR forged [31m")), "{log}");
    assert!(!log.contains('\u{1b}'), "{log:?}");
    assert!(!log.lines().any(|line| line.trim_start().starts_with("ERROR")), "{log}");
}
