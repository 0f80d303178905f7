//! What `concord check` says of filters and mappings after trying them on some rows.

use concord::error::{DONE, USAGE};
use concord::sync::{Checked, LoadOptions};
use concord_tests::{As, Cluster, Kind, guests};

use super::commands::ended;
use super::reshape::between;

between! {
    [a_filter_is_tried_on_rows_of_all_nodes, a_mapping_is_tried_both_ways]
    postgres_mariadb: [Postgres, Mariadb];
    sqlite_postgres: [Sqlite, Postgres];
    mariadb_sqlite: [Mariadb, Sqlite];
}

fn keeping(keep: &str) -> String {
    format!("[tables.orders.nodes.b]\nfilter = {{ plugin = \"cel\", keep = \"{keep}\" }}\n")
}

async fn checked(cluster: &Cluster) -> Checked {
    cluster.session().check().await.expect("everybody is there")
}

/// What is said of the plugins that were tried.
fn said<'a>(lines: &'a [String], role: &str) -> Vec<&'a str> {
    lines.iter().filter(|line| line.contains(&format!("the {role} of "))).map(String::as_str).collect()
}

async fn a_filter_is_tried_on_rows_of_all_nodes(kinds: &[Kind]) {
    let setup = |_| "CREATE TABLE orders (id integer PRIMARY KEY, country varchar(20), total integer)".to_owned();
    let mut cluster = Cluster::bare(kinds, setup, &keeping("row.total > 100")).await;
    cluster.pin(&["cel"]);
    let found = checked(&cluster).await;
    let tried = |found: &Checked| {
        let filter =
            found.tables.first().and_then(|table| table.filters.first()).unwrap_or_else(|| panic!("{found:?}"));
        (filter.tried, filter.failed)
    };
    assert_eq!((found.exit_code(), tried(&found)), (DONE, (0, 0)), "{found:?}");
    // Those that stand at both nodes are one.
    cluster.run(0, "INSERT INTO orders VALUES (1, 'DE', 5), (2, 'FR', NULL), (3, 'DE', 500)").await;
    cluster.run(1, "INSERT INTO orders VALUES (3, 'DE', 500), (4, 'IT', 500)").await;
    let found = checked(&cluster).await;
    assert_eq!((found.exit_code(), tried(&found)), (DONE, (4, 1)), "{found:?}");
    let told = "node `b`: the filter of `orders` fails at 1 of 4 rows that were tried: plugin `cel`, filter of `orders`, judge: `keep` \
                cannot do `>` with null_type and int (kind); `total` is NULL here; ask `row.total != null && …` first";
    assert_eq!(said(&found.warnings, "filter"), [told]);
    // It opens, and is of no use.
    cluster.configure(&keeping("row.country.split('-')[5] == 'x'"));
    let found = checked(&cluster).await;
    assert_eq!((found.exit_code(), tried(&found)), (USAGE, (4, 4)), "{found:?}");
    let problems = said(&found.problems, "filter");
    let begin = "node `b`: the filter of `orders` fails at 4 of 4 rows that were tried: plugin `cel`, filter of `orders`, judge: ";
    assert!(matches!(problems[..], [problem] if problem.starts_with(begin)), "{found:?}");
    assert_eq!(said(&found.warnings, "filter"), [""; 0]);
    // Installing is not kept from anybody by rows.
    cluster.install().await;
    // Of many rows some are enough.
    for id in 10..50 {
        cluster.run(0, &format!("INSERT INTO orders VALUES ({id}, 'DE', 1)")).await;
    }
    cluster.configure(&keeping("row.total != null && row.total > 100"));
    let found = checked(&cluster).await;
    assert_eq!((found.exit_code(), tried(&found)), (DONE, (21, 0)), "{found:?}");
    // Nothing but the source's rows comes to the others.
    cluster.configure(
        &keeping("row.total > 100")
            .replace("[tables.orders.nodes", "[tables.orders]\nfrom = \"b\"\n[tables.orders.nodes")
            .replace("nodes.b", "nodes.a"),
    );
    let found = checked(&cluster).await;
    assert_eq!((found.exit_code(), tried(&found)), (DONE, (2, 0)), "{found:?}");
}

const MAPPED: &str = r#"[tables.people.nodes.b]
table = "kunden"

[tables.people.nodes.b.mapping]
plugin = "cel"

[tables.people.nodes.b.mapping.shared]
id = { is = "row.nr" }
name = { kind = "text", is = "row.first + ' ' + row.last" }

[tables.people.nodes.b.mapping.local]
nr = "row.id"
first = "row.id == 3 && current.first == null ? row.name.split(' ', 2)[9] : row.name.split(' ', 2)[0]"
last = "row.name.split(' ', 2)[1]"
"#;

async fn a_mapping_is_tried_both_ways(kinds: &[Kind]) {
    let mut cluster = Cluster::bare(kinds, |_| String::new(), MAPPED).await;
    let tables = [
        "CREATE TABLE people (id bigint PRIMARY KEY, name varchar(80))",
        "CREATE TABLE kunden (nr bigint PRIMARY KEY, first varchar(40), last varchar(40))",
    ];
    cluster.create(&tables).await;
    cluster.pin(&["cel"]);
    cluster.reconnect(0).await;
    cluster.reconnect(1).await;
    cluster.run(0, "INSERT INTO people VALUES (1, 'Bob Loon'), (2, 'Cher'), (3, 'Eve Black')").await;
    cluster.run(1, "INSERT INTO kunden VALUES (2, 'Cher', 'Y'), (3, 'Eve', NULL), (4, 'Al', 'B')").await;
    let found = checked(&cluster).await;
    assert_eq!(found.exit_code(), DONE, "{found:?}");
    // Three are got, and three put, one of them upon what stands although that cannot be got.
    assert_eq!((found.tables[0].mappings[0].tried, found.tables[0].mappings[0].failed), (6, 2), "{found:?}");
    let warnings = said(&found.warnings, "mapping");
    let begins = [
        "node `b`: the mapping of `people` makes no shared row of 1 of 3 rows that were tried: plugin `cel`, ",
        "node `b`: the mapping of `people` makes no row for the node of 1 of 3 rows that were tried: plugin `cel`, ",
    ];
    assert!(
        warnings.len() == 2 && warnings.iter().zip(begins).all(|(told, begin)| told.starts_with(begin)),
        "{warnings:?}"
    );
    // The way to the node alone.
    cluster.configure(&MAPPED.replace("row.name.split(' ', 2)[0]", "row.name.split(' ', 2)[7]"));
    let found = checked(&cluster).await;
    assert_eq!((found.exit_code(), said(&found.problems, "mapping").len()), (USAGE, 1), "{found:?}");
    assert!(found.problems[0].contains("makes no row for the node of 3 of 3 rows"), "{found:?}");
    assert_eq!(said(&found.warnings, "mapping").len(), 1, "{found:?}");
}

/// What others hold was made by the former mapping, and nobody can put that right but the load, for which a script looks here first.
#[tokio::test]
async fn another_mapping_may_fail_at_all_rows_of_others() {
    let mapped = |active: &str, closed: &str| {
        format!(
            "[tables.people.nodes.b.mapping]\nplugin = \"reshape\"\n\
             columns = {{ status = {{ from = \"stand\", values = {{ A = \"{active}\", G = \"{closed}\" }} }} }}\n"
        )
    };
    let mut cluster =
        Cluster::bare(&[Kind::Sqlite, Kind::Postgres], |_| String::new(), &mapped("active", "closed")).await;
    let tables = [
        "CREATE TABLE people (id bigint PRIMARY KEY, status varchar(20))",
        "CREATE TABLE people (id bigint PRIMARY KEY, stand varchar(20))",
    ];
    cluster.create(&tables).await;
    cluster.pin(&["reshape"]);
    cluster.reconnect(0).await;
    cluster.reconnect(1).await;
    cluster.install().await;
    cluster.later(1, "INSERT INTO people VALUES (1, 'A'), (2, 'G')").await;
    cluster.sync().await;
    cluster.holds_at(0, "SELECT status FROM people ORDER BY id", &["active", "closed"]).await;
    cluster.configure(&mapped("aktiv", "zu"));
    let found = checked(&cluster).await;
    assert!(found.exit_code() == DONE && found.problems.is_empty(), "{found:?}");
    let warnings = said(&found.warnings, "mapping");
    let is_told = |line: &&str| {
        line.contains("makes no row for the node of 2 of 2 rows")
            && line.contains("`concord load --refilter` brings them in step")
    };
    assert!(warnings.iter().any(is_told), "{warnings:?}");
    let options = LoadOptions { refilter: true, prefer: Some("b".to_owned()), ..LoadOptions::default() };
    cluster.load(&options).await;
    cluster.holds_at(0, "SELECT status FROM people ORDER BY id", &["aktiv", "zu"]).await;
    let found = checked(&cluster).await;
    assert_eq!(said(&found.warnings, "mapping"), [""; 0], "{found:?}");
}

/// Nothing is wrong with a plugin whose rows somebody holds.
#[tokio::test]
async fn rows_that_are_locked_are_left_out() {
    let setup = |_| {
        "CREATE TABLE orders (id integer PRIMARY KEY, country text, total integer); INSERT INTO orders VALUES (1, 'DE', 1)".to_owned()
    };
    let cluster = Cluster::bare(&[Kind::Sqlite, Kind::Postgres], setup, "").await;
    let mut concord = cluster.command(&keeping("row.total > 100"));
    concord.env("CONCORD_PATIENCE", "100");
    let text = std::fs::read_to_string(concord.path("concord.toml")).expect("it was written");
    let plugins = format!("plugins = \"{}\"\n", guests::plugins().display());
    concord.write("concord.toml", &text.replacen("\n[", &format!("\n{plugins}["), 1));
    concord.write("concord.lock", &guests::lock(&["cel"]));
    let said = concord.run(&["check"]).await;
    assert!(
        ended(&said, 0).contains("at b: filter cel {\"keep\":\"row.total > 100\"}, tried on 1 row\n"),
        "{}",
        said.stdout
    );
    let mut user = cluster.nodes[1].database.user_as(As::Sync).await;
    user.execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").await;
    let said = concord.run(&["check"]).await;
    assert!(
        ended(&said, 0).contains("warning: node `b`: no plugin was tried on the rows of `orders` there: "),
        "{}",
        said.stdout
    );
    user.execute("ROLLBACK").await;
}
