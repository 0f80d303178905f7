//! Empty, half-filled and differing nodes, while nobody writes.

use std::sync::{Arc, Mutex};

use super::{ALL, ITEMS, before, came, items, prefer};
use concord::fault::{self, Faults};
use concord::sync::{LoadOptions, Remedy};
use concord_tests::{Cluster, Kind};

concord_tests::clusters! {
    pairs: [only_one_way, some_tables, some_rows, renamed_and_omitted, a_trigger_changes_rows, operations_are_heeded, rows_that_do_not_fit_wait, what_loses_to_a_row_that_waits_is_kept, before_an_install, a_dry_run_writes_nothing]
    standard: [many_rows]
    many: []
    all: [empty_nodes, half_filled_nodes, a_preferred_node, the_later_row, what_nothing_decides,
          parents_and_children, twice]
}

concord_tests::clusters! {
    mariadb: [empty_nodes, a_preferred_node, the_later_row]
}

/// Names of nodes but one.
fn others(kinds: &[Kind], but: usize) -> Vec<&'static str> {
    (0..kinds.len()).filter(|at| *at != but).map(|at| concord_tests::NAMES[at]).collect()
}

async fn empty_nodes(kinds: &[Kind]) {
    let mut cluster = items(kinds, "").await;
    let last = kinds.len() - 1;
    before(&mut cluster, &[(last, "INSERT INTO items VALUES (1, 'one', 10), (2, NULL, -20), (-3, 'three', 30)")]).await;
    let loaded = cluster.load(&LoadOptions::default()).await;
    let expected: Vec<String> = others(kinds, last).iter().map(|name| format!("items {name} 3 0")).collect();
    assert_eq!(came(&loaded), expected);
    assert_eq!(loaded.exit_code(), 0);
    cluster.holds(ALL, &["-3|three|30", "1|one|10", "2|NULL|-20"]).await;
    cluster.settle().await;
    // From here on it is an ordinary sync.
    cluster.run(0, "UPDATE items SET name = 'uno' WHERE id = 1; DELETE FROM items WHERE id = 2").await;
    cluster.settle().await;
    cluster.holds(ALL, &["-3|three|30", "1|uno|10"]).await;
}

/// To kinds to which the clusters above copy nothing from PostgreSQL.
#[tokio::test]
async fn empty_nodes_beside_a_filled_one_of_postgres() {
    for to in [Kind::Sqlite, Kind::Mariadb] {
        Box::pin(empty_nodes(&[to, Kind::Postgres])).await;
    }
}

async fn half_filled_nodes(kinds: &[Kind]) {
    let mut cluster = items(kinds, "").await;
    let last = kinds.len() - 1;
    let both = "INSERT INTO items VALUES (1, 'both', 1)";
    before(
        &mut cluster,
        &[
            (0, both),
            (last, both),
            (0, "INSERT INTO items VALUES (2, 'first', 2)"),
            (last, "INSERT INTO items VALUES (3, 'last', 3), (4, 'last', 4)"),
        ],
    )
    .await;
    let loaded = cluster.load(&LoadOptions::default()).await;
    cluster.holds(ALL, &["1|both|1", "2|first|2", "3|last|3", "4|last|4"]).await;
    assert_eq!(loaded.tables[0].undecided + loaded.tables[0].waiting, 0);
    assert!(came(&loaded).contains(&"items a 2 0".to_owned()), "{loaded:?}");
    cluster.settle().await;
}

async fn a_preferred_node(kinds: &[Kind]) {
    let mut cluster = items(kinds, "").await;
    let last = kinds.len() - 1;
    before(
        &mut cluster,
        &[
            (0, "INSERT INTO items VALUES (1, 'first', 1), (2, 'first', 2)"),
            (last, "INSERT INTO items VALUES (1, 'last', 1), (3, 'last', 3)"),
        ],
    )
    .await;
    let name = concord_tests::NAMES[last];
    let loaded = cluster.load(&prefer(name)).await;
    cluster.holds(ALL, &["1|last|1", "2|first|2", "3|last|3"]).await;
    assert!(came(&loaded).contains(&"items a 1 1".to_owned()), "{loaded:?}");
    // What was replaced can be found.
    let conflicts = cluster.session().conflicts(0).await.expect("the journal can be read");
    let told: Vec<String> =
        conflicts.iter().map(|one| format!("{} {} {} {}", one.table, one.key, one.loser, one.reason)).collect();
    assert_eq!(told, [format!("items [1] a load: --prefer {name}")]);
    assert_eq!(conflicts[0].loser_row.as_ref().map(|row| row["name"].clone()), Some("first".into()));
    cluster.settle().await;
}

async fn the_later_row(kinds: &[Kind]) {
    let mut cluster = items(kinds, "updated = \"amount\"").await;
    let last = kinds.len() - 1;
    before(
        &mut cluster,
        &[
            (0, "INSERT INTO items VALUES (1, 'older', 1), (2, 'younger', 9), (3, 'a', 5)"),
            (last, "INSERT INTO items VALUES (1, 'younger', 2), (2, 'older', 8), (3, 'b', 5)"),
        ],
    )
    .await;
    cluster.load(&LoadOptions::default()).await;
    cluster.holds(ALL, &["1|younger|2", "2|younger|9", "3|a|5"]).await;
    cluster.settle().await;
}

async fn what_nothing_decides(kinds: &[Kind]) {
    let mut cluster = items(kinds, "").await;
    let last = kinds.len() - 1;
    before(
        &mut cluster,
        &[
            (0, "INSERT INTO items VALUES (1, 'same', 1), (2, 'x', 2), (3, 'c', 3), (4, 'only', 4)"),
            (last, "INSERT INTO items VALUES (1, 'same', 1), (2, 'y', 2), (3, 'c', 33)"),
        ],
    )
    .await;
    let error = cluster.session().load(&LoadOptions::default(), &mut |_| ()).await.expect_err("nothing decides");
    let name = concord_tests::NAMES[last];
    let told = error.to_string();
    assert!(told.contains("table `items`: 2 rows differ between nodes"), "{told}");
    assert!(told.contains(&format!("[2] (a and {name}: name); [3] (a and {name}: amount)")), "{told}");
    assert!(told.contains("--prefer NODE") && told.contains("updated = "), "{told}");
    assert_eq!(error.exit_code(), 1);
    cluster.holds_at(last, ALL, &["1|same|1", "2|y|2", "3|c|33"]).await;
    cluster.holds_at(0, ALL, &["1|same|1", "2|x|2", "3|c|3", "4|only|4"]).await;
    cluster.load(&prefer("a")).await;
    cluster.holds(ALL, &["1|same|1", "2|x|2", "3|c|3", "4|only|4"]).await;
    cluster.settle().await;
}

/// A second load finds nothing to do, whatever the first came to, and nothing is left of either.
async fn twice(kinds: &[Kind]) {
    let mut cluster = items(kinds, "").await;
    before(&mut cluster, &[(0, "INSERT INTO items VALUES (1, 'one', 1)")]).await;
    cluster.load(&LoadOptions::default()).await;
    let loaded = cluster.load(&LoadOptions::default()).await;
    assert_eq!(came(&loaded), [] as [&str; 0]);
    assert!(!loaded.resumed);
    for (at, kind) in kinds.iter().enumerate() {
        let table = if *kind == Kind::Postgres { "concord.load" } else { "concord_load" };
        cluster.holds_at(at, &format!("SELECT count(*) FROM {table}"), &["0"]).await;
    }
    cluster.settle().await;
}

/// Tables in the wrong order, a table that refers to itself with children before their parents, and a circle.
async fn parents_and_children(kinds: &[Kind]) {
    let tables = "
        CREATE TABLE parts (id integer PRIMARY KEY, whole integer REFERENCES parts (id), name text);
        CREATE TABLE orders (id integer PRIMARY KEY, part integer NOT NULL REFERENCES parts (id));
        CREATE TABLE items (id integer PRIMARY KEY, orders integer NOT NULL REFERENCES orders (id))";
    let config = "[tables.items]\n[tables.orders]\n[tables.parts]\n";
    let mut cluster = Cluster::new(kinds, |_| tables.to_owned(), config).await;
    let last = kinds.len() - 1;
    let mut rows = vec!["INSERT INTO parts VALUES (2000, NULL, 'root')".to_owned()];
    // The parent of each has a higher key, and stands in a later part than the child.
    for id in (1..2000).rev() {
        rows.push(format!("INSERT INTO parts VALUES ({id}, {}, 'part')", id + 1));
    }
    rows.push("INSERT INTO orders SELECT id, id FROM parts".to_owned());
    rows.push("INSERT INTO items SELECT id, id FROM orders".to_owned());
    before(&mut cluster, &[(last, &rows.join(";"))]).await;
    let loaded = cluster.load(&LoadOptions::default()).await;
    assert_eq!(loaded.tables.iter().map(|table| table.waiting).sum::<u64>(), 0, "{loaded:?}");
    let expected: Vec<String> = ["items", "orders", "parts"]
        .iter()
        .flat_map(|table| others(kinds, last).into_iter().map(move |name| format!("{table} {name} 2000 0")))
        .collect();
    assert_eq!(came(&loaded), expected);
    cluster.settle().await;
}

async fn only_one_way(kinds: &[Kind]) {
    let mut cluster = items(kinds, "from = \"a\"").await;
    before(
        &mut cluster,
        &[
            (0, "INSERT INTO items VALUES (1, 'right', 1), (2, 'missing', 2)"),
            (1, "INSERT INTO items VALUES (1, 'wrong', 1), (3, 'own', 3)"),
        ],
    )
    .await;
    cluster.load(&prefer("b")).await;
    cluster.holds_at(0, ALL, &["1|right|1", "2|missing|2"]).await;
    // What is surplus stays: it may be there for a reason.
    cluster.holds_at(1, ALL, &["1|right|1", "2|missing|2", "3|own|3"]).await;
}

async fn operations_are_heeded(kinds: &[Kind]) {
    let mut cluster = items(kinds, "operations = [\"insert\"]").await;
    before(
        &mut cluster,
        &[(0, "INSERT INTO items VALUES (1, 'a', 1), (2, 'missing', 2)"), (1, "INSERT INTO items VALUES (1, 'b', 1)")],
    )
    .await;
    cluster.load(&prefer("a")).await;
    cluster.holds_at(1, ALL, &["1|b|1", "2|missing|2"]).await;
}

async fn some_tables(kinds: &[Kind]) {
    let tables = format!("{ITEMS}; CREATE TABLE notes (id integer PRIMARY KEY)");
    let mut cluster = Cluster::new(kinds, |_| tables.clone(), "[tables.items]\n[tables.notes]\n").await;
    before(&mut cluster, &[(0, "INSERT INTO items VALUES (1, 'x', 1); INSERT INTO notes VALUES (1)")]).await;
    let options = LoadOptions { tables: vec!["notes".to_owned()], ..LoadOptions::default() };
    let loaded = cluster.load(&options).await;
    assert_eq!(came(&loaded), ["notes b 1 0"]);
    cluster.holds_at(1, "SELECT count(*) FROM items", &["0"]).await;
    let options = LoadOptions { tables: vec!["note".to_owned()], ..LoadOptions::default() };
    let error = cluster.session().load(&options, &mut |_| ()).await.expect_err("there is no such table");
    assert!(error.to_string().contains("no table is called `note`\n    tables of this sync: items, notes"), "{error}");
}

async fn some_rows(kinds: &[Kind]) {
    let mut cluster = items(kinds, "").await;
    before(&mut cluster, &[(0, "INSERT INTO items VALUES (1, 'EU', 1), (2, 'US', 2), (3, 'EU', 3), (4, NULL, 4)")])
        .await;
    let condition = Some("name = 'EU' and (id >= 2 or amount is null)".to_owned());
    let loaded = cluster.load(&LoadOptions { condition, ..LoadOptions::default() }).await;
    assert_eq!(came(&loaded), ["items b 1 0"]);
    cluster.holds_at(1, ALL, &["3|EU|3"]).await;
    let condition = Some("id = 1; DROP TABLE items".to_owned());
    let error = cluster.session().load(&LoadOptions { condition, ..LoadOptions::default() }, &mut |_| ()).await;
    assert!(error.expect_err("that is no condition").to_string().starts_with("--where: "));
}

/// More than several parts hold, with keys of two columns of different types and of different orders.
async fn many_rows(kinds: &[Kind]) {
    let tables = |kind: Kind| {
        let text = if kind == Kind::Postgres { "text COLLATE \"C\"" } else { "varchar(99)" };
        format!("CREATE TABLE items (code {text}, number bigint, body text, PRIMARY KEY (number, code))")
    };
    let mut cluster = Cluster::new(kinds, tables, "[tables.items]\n").await;
    let rows = |from: i32, to: i32, body: &str| {
        let rows: Vec<String> =
            (from..to).map(|at| format!("('k{}', {}, '{body} {at}')", at % 7, at / 3 - 400)).collect();
        format!("INSERT INTO items VALUES {} ON CONFLICT DO NOTHING", rows.join(", "))
    };
    before(&mut cluster, &[(0, &rows(0, 3_000, "x")), (1, &rows(2_000, 4_500, "x"))]).await;
    let loaded = cluster.load(&LoadOptions::default()).await;
    assert_eq!(came(&loaded), ["items a 1500 0", "items b 2000 0"]);
    cluster.holds("SELECT count(*) FROM items", &["4500"]).await;
    cluster.settle().await;
}

async fn renamed_and_omitted(kinds: &[Kind]) {
    let tables = |_| "CREATE TABLE items (id integer PRIMARY KEY, name text, secret text)".to_owned();
    let config = "[tables.items]\n[tables.items.nodes.b]\ntable = \"things\"\ncolumns = { name = \"title\" }\nomit = [\"secret\"]\n";
    let mut cluster = Cluster::bare(kinds, tables, config).await;
    cluster.run_as_owner(1, "CREATE TABLE things (id integer PRIMARY KEY, title text)").await;
    cluster.run_as_owner(0, "INSERT INTO items VALUES (1, 'one', 's'), (2, 'first', 'kept')").await;
    cluster.run_as_owner(1, "INSERT INTO things VALUES (2, 'last'), (3, 'three')").await;
    cluster.install().await;
    cluster.load(&prefer("b")).await;
    cluster.holds_at(0, ALL, &["1|one|s", "2|last|kept", "3|three|NULL"]).await;
    cluster.holds_at(1, "SELECT * FROM things ORDER BY id", &["1|one", "2|last", "3|three"]).await;
}

/// A row that a trigger changes as it arrives does not arrive, and is told.
async fn a_trigger_changes_rows(kinds: &[Kind]) {
    let mut cluster = items(kinds, "").await;
    cluster.each_uninstalls().await;
    let trigger = match kinds[1] {
        Kind::Mariadb => "CREATE TRIGGER shout BEFORE INSERT ON items FOR EACH ROW SET NEW.name = upper(NEW.name)",
        Kind::Postgres => {
            "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
                NEW.name = upper(NEW.name); RETURN NEW; END$$;
             CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION shout()"
        }
        Kind::Sqlite => {
            "CREATE TRIGGER shout AFTER INSERT ON items BEGIN
                UPDATE items SET name = upper(name) WHERE id = new.id AND name <> upper(name); END"
        }
    };
    cluster.run_as_owner(1, trigger).await;
    cluster.run(0, "INSERT INTO items VALUES (1, 'quiet', 1), (2, 'LOUD', 2)").await;
    cluster.install().await;
    let loaded = cluster.load(&LoadOptions::default()).await;
    cluster.holds_at(1, ALL, &["2|LOUD|2"]).await;
    assert_eq!(loaded.tables[0].waiting, 1);
    assert_eq!(loaded.exit_code(), 1);
    assert_eq!(cluster.waiting().await, ["b items [1] altered"]);
}

/// What the other side cannot take waits with its reason, and comes when it can be taken.
async fn rows_that_do_not_fit_wait(kinds: &[Kind]) {
    let mut cluster = items(kinds, "").await;
    cluster.each_uninstalls().await;
    cluster.run_as_owner(1, "CREATE UNIQUE INDEX names ON items (name)").await;
    cluster.run(1, "INSERT INTO items VALUES (9, 'taken', 9)").await;
    cluster.run(0, "INSERT INTO items VALUES (1, 'taken', 1), (2, 'free', 2)").await;
    cluster.install().await;
    let loaded = cluster.load(&LoadOptions::default()).await;
    assert_eq!(came(&loaded), ["items a 1 0", "items b 1 0"]);
    assert_eq!(loaded.tables[0].waiting, 1);
    assert_eq!(cluster.waiting().await, ["b items [1] constraint"]);
    cluster.run(1, "UPDATE items SET name = 'given up' WHERE id = 9").await;
    cluster.settle().await;
    cluster.holds(ALL, &["1|taken|1", "2|free|2", "9|given up|9"]).await;
}

/// The row that is replaced once the other can be written was in no history: only the load knows that it is going to lose.
async fn what_loses_to_a_row_that_waits_is_kept(kinds: &[Kind]) {
    let mut cluster = items(kinds, "").await;
    cluster.each_uninstalls().await;
    cluster.run_as_owner(1, "CREATE UNIQUE INDEX names ON items (name)").await;
    cluster.run(1, "INSERT INTO items VALUES (1, 'loses', 10), (9, 'taken', 9)").await;
    cluster.run(0, "INSERT INTO items VALUES (1, 'taken', 1)").await;
    cluster.install().await;
    let loaded = cluster.load(&prefer("a")).await;
    assert_eq!((loaded.tables[0].waiting, loaded.exit_code()), (1, 1), "{loaded:?}");
    cluster.holds_at(1, ALL, &["1|loses|10", "9|taken|9"]).await;
    let lost = async |cluster: &Cluster| -> Vec<String> {
        let conflicts = cluster.session().conflicts(0).await.expect("the journal can be read");
        let rows = conflicts.iter().filter_map(|one| one.loser_row.as_ref());
        rows.map(|row| format!("{} {}", row["name"], row["amount"])).collect()
    };
    assert_eq!(lost(&cluster).await, ["\"loses\" 10"]);
    cluster.run(1, "UPDATE items SET name = 'given up' WHERE id = 9").await;
    cluster.settle().await;
    cluster.holds(ALL, &["1|taken|1", "9|given up|9"]).await;
    assert_eq!(lost(&cluster).await, ["\"loses\" 10"]);
    let id = cluster.session().conflicts(0).await.expect("the journal can be read")[0].id.clone();
    Box::pin(cluster.session().resolve(&id, &Remedy::Undo, false)).await.expect("nothing has changed since");
    cluster.settle().await;
    cluster.holds(ALL, &["1|loses|10", "9|given up|9"]).await;
}

async fn before_an_install(kinds: &[Kind]) {
    let cluster = Cluster::bare(kinds, |_| ITEMS.to_owned(), "[tables.items]\n").await;
    let error = cluster.session().load(&LoadOptions::default(), &mut |_| ()).await.expect_err("nothing is installed");
    assert!(error.to_string().contains("concord install"), "{error}");
    assert_eq!(error.exit_code(), 2);
}

async fn a_dry_run_writes_nothing(kinds: &[Kind]) {
    let mut cluster = items(kinds, "").await;
    before(
        &mut cluster,
        &[(0, "INSERT INTO items VALUES (1, 'a', 1), (2, 'missing', 2)"), (1, "INSERT INTO items VALUES (1, 'b', 1)")],
    )
    .await;
    let dry = LoadOptions { dry_run: true, ..LoadOptions::default() };
    let (undecided, decided) = (dry.clone(), LoadOptions { prefer: Some("b".into()), ..dry });
    let before = cluster.imprints().await;
    let loaded = cluster.load(&undecided).await;
    assert_eq!((came(&loaded), loaded.tables[0].undecided), (vec!["items b 1 0".to_owned()], 1));
    assert_eq!(loaded.exit_code(), 1);
    let loaded = cluster.load(&decided).await;
    assert_eq!(came(&loaded), ["items a 0 1", "items b 1 0"]);
    assert_eq!(cluster.imprints().await, before);
}

/// A text that is none stands before others in the order of SQLite, and as bytes behind all of them: a load that went on from
/// there would take itself for done.
#[tokio::test]
async fn behind_a_key_that_is_no_text() {
    let table = "CREATE TABLE names (k text PRIMARY KEY NOT NULL, n integer)";
    let kinds = [Kind::Sqlite, Kind::Sqlite];
    let mut cluster = Cluster::new(&kinds, |_| table.to_owned(), "[tables.names]\n").await;
    let ascii: Vec<String> = (0..499).map(|n| format!("('a{n:03}', {n})")).collect();
    let others: Vec<String> = (0..50).map(|n| format!("('é{n:02}', {n})")).collect();
    let rows =
        format!("INSERT INTO names VALUES {}, (CAST(x'80' AS TEXT), 0), {}", ascii.join(", "), others.join(", "));
    before(&mut cluster, &[(0, &rows)]).await;
    let loaded = cluster.load(&LoadOptions::default()).await;
    assert_eq!((loaded.tables[0].rows, loaded.tables[0].waiting, loaded.exit_code()), (550, 1, 1), "{loaded:?}");
    cluster.holds_at(1, "SELECT count(*), sum(n) FROM names", &["549|125476"]).await;
    // Corrected, it comes like any other.
    cluster.run(0, "UPDATE names SET k = 'z' WHERE k = CAST(x'80' AS TEXT)").await;
    cluster.settle().await;
    cluster.holds("SELECT count(*), sum(n) FROM names", &["550|125476"]).await;
}

/// What was copied without a column is not passed over when the column is to come along.
#[tokio::test]
async fn one_that_broke_off_begins_anew_where_a_column_is_no_longer_omitted() {
    let table = "CREATE TABLE items (id integer PRIMARY KEY, name text)";
    let omitting = "[tables.items]\n[tables.items.nodes.b]\nomit = [\"name\"]\n";
    let kinds = [Kind::Sqlite, Kind::Sqlite, Kind::Sqlite];
    let mut cluster = Cluster::new(&kinds, |_| table.to_owned(), omitting).await;
    let rows: Vec<String> = (1..=1_200).map(|id| format!("({id}, 'name {id}')")).collect();
    let rows = format!("INSERT INTO items VALUES {}", rows.join(", "));
    before(&mut cluster, &[(0, &rows), (2, &rows)]).await;
    // All rows of the first node were gone through, and some of the last.
    let faults = "load-part=error@5".parse().expect("the rule is one");
    let mut session = cluster.session();
    let options = prefer("a");
    let mut deaf = |_: &concord::sync::Stage| ();
    let load = Box::pin(session.load(&options, &mut deaf));
    let faults = std::sync::Arc::new(std::sync::Mutex::new(faults));
    concord::fault::scoped(faults, load).await.expect_err("it is broken off");
    drop(session);
    cluster.holds_at(1, "SELECT count(*), count(name) FROM items", &["1200|0"]).await;
    cluster.configure("[tables.items]\n");
    cluster.install().await;
    assert!(!cluster.load(&options).await.resumed, "it began anew");
    cluster.holds("SELECT count(*) FROM items WHERE name = 'name ' || id", &["1200"]).await;
}

/// The file need not spell it as the database does.
#[tokio::test]
async fn the_later_row_is_taken_however_the_column_is_spelled() {
    let mut cluster = items(&[Kind::Sqlite; 2], "updated = \"Amount\"\nconflict = { prefer = [\"a\"] }").await;
    let rows = [(0, "INSERT INTO items VALUES (1, 'older', 1)"), (1, "INSERT INTO items VALUES (1, 'later', 2)")];
    before(&mut cluster, &rows).await;
    cluster.load(&LoadOptions::default()).await;
    cluster.holds(ALL, &["1|later|2"]).await;
}

/// Who only follows takes what the source has, also where its own row cannot be read.
#[tokio::test]
async fn a_follower_whose_row_cannot_be_read() {
    let kinds = [Kind::Postgres, Kind::Sqlite];
    let mut cluster = items(&kinds, "from = \"a\"").await;
    let here = "INSERT INTO items VALUES (1, 'one', 1), (2, 'two', 2)";
    let there = "INSERT INTO items VALUES (1, 'one', 'no number'), (3, 'own', 'no number')";
    before(&mut cluster, &[(0, here), (1, there)]).await;
    cluster.load(&LoadOptions::default()).await;
    cluster.holds_at(1, "SELECT * FROM items WHERE id < 3 ORDER BY id", &["1|one|1", "2|two|2"]).await;
    cluster.holds_at(1, "SELECT amount FROM items WHERE id = 3", &["no number"]).await;
}

/// The others agree about columns that the preferred node lacks, also where it is the first of the file.
#[tokio::test]
async fn columns_that_the_preferred_node_lacks() {
    let kinds = [Kind::Sqlite, Kind::Postgres, Kind::Sqlite];
    let table = "CREATE TABLE items (id integer PRIMARY KEY, name text, amount integer NOT NULL DEFAULT 0)";
    let config = "[tables.items]\n[tables.items.nodes.a]\nomit = [\"name\"]\n";
    let mut cluster = Cluster::new(&kinds, |_| table.to_owned(), config).await;
    let rows = |name: &str, amount: u8| {
        format!("INSERT INTO items VALUES (1, '{name}', 1), (2, '{name}', {amount}), (3, 'alike', 3)")
    };
    before(&mut cluster, &[(0, &rows("hidden", 7)), (1, &rows("b", 2)), (2, &rows("c", 2))]).await;
    cluster.load(&prefer("a")).await;
    for at in [1, 2] {
        cluster.holds_at(at, ALL, &["1|b|1", "2|b|7", "3|alike|3"]).await;
    }
    cluster.holds_at(0, "SELECT name FROM items WHERE id < 3", &["hidden", "hidden"]).await;
    let lost = cluster.session().conflicts(0).await.expect("a journal");
    let told = |one: &&concord::sync::ConflictReport| one.loser == "c" && one.reason.contains("`name`");
    assert_eq!(lost.iter().filter(told).count(), 2, "{lost:?}");
}

/// Rows that refer to each other can only be written together, which is the sync's. They do not wait then.
#[tokio::test]
async fn rows_in_a_circle() {
    let tables = "CREATE TABLE teams (id integer PRIMARY KEY, lead integer NOT NULL REFERENCES staff (id) DEFERRABLE INITIALLY DEFERRED);
                  CREATE TABLE staff (id integer PRIMARY KEY, team integer NOT NULL REFERENCES teams (id) DEFERRABLE INITIALLY DEFERRED)";
    let kinds = [Kind::Sqlite, Kind::Sqlite];
    let mut cluster = Cluster::new(&kinds, |_| tables.to_owned(), "[tables.teams]\n[tables.staff]\n").await;
    let rows = "BEGIN; INSERT INTO teams VALUES (1, 11), (2, 12); INSERT INTO staff VALUES (11, 1), (12, 2); COMMIT";
    before(&mut cluster, &[(0, rows)]).await;
    let loaded = cluster.load(&LoadOptions::default()).await;
    let told: Vec<_> = loaded.tables.iter().map(|table| (table.waiting, table.together)).collect();
    assert_eq!((told, loaded.exit_code()), (vec![(0, 2), (0, 2)], 0), "{loaded:?}");
    cluster.settle().await;
    cluster.holds("SELECT (SELECT count(*) FROM teams), (SELECT count(*) FROM staff)", &["2|2"]).await;
}

/// Each refers to the next, which is copied later: all come, and it does not take trying each by itself to find out that they cannot
/// yet.
#[tokio::test]
async fn rows_in_a_chain() {
    let tables = "CREATE TABLE items (id integer PRIMARY KEY, next integer REFERENCES items (id))";
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let mut cluster = Cluster::new(&[kind, kind], |_| tables.to_owned(), "[tables.items]\n").await;
        let rows = "INSERT INTO items WITH RECURSIVE n(i) AS (SELECT 1500 UNION ALL SELECT i - 1 FROM n WHERE i > 1)
                    SELECT i, CASE WHEN i < 1500 THEN i + 1 END FROM n";
        before(&mut cluster, &[(0, rows)]).await;
        let faults = Arc::new(Mutex::new(Faults::default()));
        let load = async { cluster.load(&LoadOptions::default()).await };
        let loaded = Box::pin(fault::scoped(Arc::clone(&faults), load)).await;
        assert_eq!((came(&loaded), loaded.exit_code()), (vec!["items b 1500 0".to_owned()], 0), "{loaded:?}");
        let attempts = faults.lock().expect("nobody panics").passes("apply-attempt");
        assert!(attempts <= 20, "{attempts} attempts");
    }
}
