//! Mappings in the sync: a node keeps a name in two columns and money in cents, and a column of which nobody else knows.

use concord::error::{ATTENTION, DONE};
use concord::sync::{LoadOptions, Repair, Verify};
use concord_tests::{As, Cluster, Kind};

concord_tests::clusters! {
    pairs: [
        rows_are_mapped_both_ways, what_a_user_writes_meanwhile_is_not_lost, what_cannot_be_mapped_waits,
        rows_that_are_there_are_loaded_and_compared, another_mapping_stands_still, what_does_not_fit_together_is_told,
        what_a_mapping_takes_away_is_installed, what_the_node_alone_must_fill_is_warned_of,
    ]
    many: []
    all: []
}

const PEOPLE: &str = "SELECT id, name, balance FROM people ORDER BY id";
const KUNDEN: &str = "SELECT nr, vorname, nachname, cents, memo FROM kunden ORDER BY nr";

const MAPPED: &str = "[tables.people]
[tables.people.nodes.b]
table = \"kunden\"
columns = { id = \"nr\", balance = \"cents\" }
mapping = { plugin = \"full-name\", name = \"name\", first = \"vorname\", last = \"nachname\", cents = [\"cents\"], own = [\"memo\"] }
";

async fn people(kinds: &[Kind], tables: &str) -> Cluster {
    let mut cluster = Cluster::bare(kinds, |_| String::new(), tables).await;
    let tables = [
        "CREATE TABLE people (id bigint PRIMARY KEY, name text, balance numeric(12,3))",
        "CREATE TABLE kunden (memo text, nr bigint PRIMARY KEY, nachname text, vorname text, cents bigint)",
    ];
    cluster.create(&tables).await;
    cluster.pin(&["full-name"]);
    cluster
}

async fn rows_are_mapped_both_ways(kinds: &[Kind]) {
    let mut cluster = people(kinds, MAPPED).await;
    cluster.install().await;
    cluster.later(0, "INSERT INTO people VALUES (1, 'Ada Lovelace', 12.5), (2, NULL, NULL)").await;
    cluster.later(1, "INSERT INTO kunden VALUES ('our own', 3, 'van Loon', 'Bob', -5)").await;
    let summary = cluster.sync().await;
    assert_eq!((summary.conflicts, summary.exit_code()), (0, DONE));
    cluster
        .holds_at(1, KUNDEN, &["1|Ada|Lovelace|1250|NULL", "2|NULL|NULL|NULL|NULL", "3|Bob|van Loon|-5|our own"])
        .await;
    cluster
        .holds_at(0, "SELECT id, name FROM people ORDER BY id", &["1|Ada Lovelace", "2|NULL", "3|Bob van Loon"])
        .await;
    cluster.holds_at(0, "SELECT id FROM people WHERE balance = -0.05", &["3"]).await;
    cluster.quiet().await;
    // What others do leaves the node's own column as it is, and how a name is divided as long as it is the same.
    cluster.later(0, "UPDATE people SET balance = 1 WHERE id = 3").await;
    cluster.sync().await;
    cluster
        .holds_at(1, KUNDEN, &["1|Ada|Lovelace|1250|NULL", "2|NULL|NULL|NULL|NULL", "3|Bob|van Loon|100|our own"])
        .await;
    // A conflict is one of shared rows, and the later wins.
    cluster.later(1, "UPDATE kunden SET cents = 7 WHERE nr = 1").await;
    cluster.later(0, "UPDATE people SET name = 'Ada King' WHERE id = 1").await;
    assert_eq!(cluster.sync().await.conflicts, 1);
    cluster.holds_at(1, "SELECT vorname, nachname, cents FROM kunden WHERE nr = 1", &["Ada|King|1250"]).await;
    let lost = cluster.session().conflicts(10).await.expect("the journal");
    let told = serde_json::to_string(&lost).expect("JSON");
    assert!(told.contains(r#""name":"Ada Lovelace""#) && told.contains(r#""balance":"0.07""#), "{told}");
    // The same balance, however many digits it is written with.
    cluster.later(1, "UPDATE kunden SET memo = 'x' WHERE nr = 1").await;
    cluster.later(0, "UPDATE people SET name = 'Ada Byron' WHERE id = 1").await;
    assert_eq!(cluster.sync().await.conflicts, 1);
    let lost = cluster.session().conflicts(1).await.expect("the journal");
    assert_eq!(lost[0].differing, ["name"], "{lost:?}");
    cluster.later(1, "DELETE FROM kunden WHERE nr = 2").await;
    cluster.sync().await;
    cluster.holds_at(0, "SELECT id FROM people ORDER BY id", &["1", "3"]).await;
    let verified = cluster.session().verify(&Verify::default()).await.expect("a comparison");
    assert_eq!((verified.exit_code(), verified.tables[0].differences), (DONE, 0), "{verified:?}");
    let why = cluster.session().why("people", &["3".to_owned()]).await.expect("an account");
    let told = serde_json::to_string(&why).expect("JSON");
    assert!(told.contains(r#""name":"Bob van Loon""#) && !told.contains("vorname"), "{told}");
    cluster.quiet().await;
}

async fn what_a_user_writes_meanwhile_is_not_lost(kinds: &[Kind]) {
    for tables in [MAPPED.to_owned(), MAPPED.replace("[tables.people]\n", "[tables.people]\nfrom = \"a\"\n")] {
        let mut cluster = people(kinds, &tables).await;
        cluster.install().await;
        cluster.later(0, "INSERT INTO people VALUES (1, 'Ada Lovelace', 1)").await;
        cluster.sync().await;
        cluster.later(0, "UPDATE people SET balance = 2").await;
        // Of the shared row it changes nothing: only the row that the mapping saw is another.
        let meanwhile = async |cluster: &mut Cluster| cluster.run(1, "UPDATE kunden SET memo = 'mine'").await;
        cluster.sync_while("read-done", meanwhile).await;
        cluster.sync().await;
        let row = ["1|Ada|Lovelace|200|mine"];
        match tables.contains("from") {
            true => cluster.holds_at(1, KUNDEN, &row).await,
            // To whoever looks at the history the user's is a change of the row, and the later one.
            false => cluster.holds_at(1, "SELECT memo FROM kunden", &["mine"]).await,
        }
        assert_eq!(cluster.waiting().await, [""; 0]);
        let verified = cluster.session().verify(&Verify::default()).await.expect("a comparison");
        assert_eq!(verified.exit_code(), DONE, "{verified:?}");
    }
}

async fn what_cannot_be_mapped_waits(kinds: &[Kind]) {
    let mut cluster = people(kinds, MAPPED).await;
    cluster.install().await;
    cluster.later(0, "INSERT INTO people VALUES (1, 'Ada Lovelace', 0.005), (2, 'Bob Loon', 1)").await;
    let summary = cluster.sync().await;
    assert_eq!((summary.waiting, summary.exit_code()), (1, ATTENTION));
    cluster.holds_at(1, KUNDEN, &["2|Bob|Loon|100|NULL"]).await;
    assert_eq!(cluster.waiting().await, ["b people [1] mapping"]);
    let told =
        "plugin `full-name`, mapping of `people`, to-local: `cents`: the node keeps whole cents (part-of-a-cent)";
    assert_eq!(cluster.reasons("b").await, [told]);
    cluster.later(0, "UPDATE people SET balance = 0.05 WHERE id = 1").await;
    cluster.sync().await;
    cluster.holds_at(1, KUNDEN, &["1|Ada|Lovelace|5|NULL", "2|Bob|Loon|100|NULL"]).await;
    assert_eq!(cluster.waiting().await, [""; 0]);
    cluster.quiet().await;
}

async fn rows_that_are_there_are_loaded_and_compared(kinds: &[Kind]) {
    let mut cluster = people(kinds, MAPPED).await;
    cluster.run(0, "INSERT INTO people VALUES (1, 'Ada Lovelace', 1), (2, 'Bob Loon', 2)").await;
    cluster
        .run(1, "INSERT INTO kunden VALUES ('same', 1, 'Lovelace', 'Ada', 100), ('other', 2, 'Loon', 'Bob', 3), (NULL, 3, 'C', 'A', 1)")
        .await;
    cluster.install().await;
    let prefer = Some("a".to_owned());
    let loaded = cluster.load(&LoadOptions { prefer: prefer.clone(), ..LoadOptions::default() }).await;
    let mut written: Vec<(&str, u64, u64)> =
        loaded.tables[0].nodes.iter().map(|node| (node.node.as_str(), node.copied, node.replaced)).collect();
    written.sort_unstable();
    assert_eq!(written, [("a", 1, 0), ("b", 0, 1)]);
    let rows = ["1|Ada|Lovelace|100|same", "2|Bob|Loon|200|other", "3|A|C|1|NULL"];
    cluster.holds_at(1, KUNDEN, &rows).await;
    cluster.holds_at(0, "SELECT id, name FROM people ORDER BY id", &["1|Ada Lovelace", "2|Bob Loon", "3|A C"]).await;
    // As a database comes to differ without anybody telling.
    cluster.run_as_owner(1, &unrecorded(kinds[1])).await;
    let how = |repair: Repair| Verify { repair, prefer: prefer.clone(), ..Verify::default() };
    let told = cluster.session().verify(&how(Repair::Tell)).await.expect("a comparison");
    assert_eq!((told.exit_code(), told.tables[0].differences), (ATTENTION, 1), "{told:?}");
    let mended = cluster.session().verify(&how(Repair::Mend)).await.expect("a comparison");
    assert_eq!(mended.exit_code(), DONE, "{mended:?}");
    cluster.holds_at(1, KUNDEN, &rows).await;
    assert_eq!(cluster.rows(0, PEOPLE).await.len(), 3);
}

/// Changes a row of which no entry tells.
fn unrecorded(kind: Kind) -> String {
    let update = "UPDATE kunden SET cents = 999 WHERE nr = 2";
    let purge = match kind {
        Kind::Postgres => "DELETE FROM history_store.people",
        Kind::Sqlite | Kind::Mariadb => "DELETE FROM history_store_people",
    };
    format!("{update}; {purge}")
}

async fn another_mapping_stands_still(kinds: &[Kind]) {
    let mut cluster = people(kinds, MAPPED).await;
    cluster.install().await;
    cluster.later(0, "INSERT INTO people VALUES (1, 'Ada Lovelace', 1)").await;
    cluster.sync().await;
    let other = MAPPED.replace("first = \"vorname\", last = \"nachname\"", "first = \"nachname\", last = \"vorname\"");
    cluster.configure(&other);
    let summary = cluster.sync().await;
    let told = &summary.stopped[0].why;
    let what = "the mapping there is another in this file than the one through which rows were brought there (start `concord \
                watch` again if it began before the file was changed); run `concord load --refilter --table people --prefer NODE`";
    assert!(told.ends_with(what), "{told}");
    cluster.later(0, "INSERT INTO people VALUES (2, 'Bob Loon', 2)").await;
    cluster.sync().await;
    cluster.holds_at(1, "SELECT nr FROM kunden", &["1"]).await;
    let options = LoadOptions { refilter: true, prefer: Some("a".to_owned()), ..LoadOptions::default() };
    cluster.load(&options).await;
    assert_eq!(cluster.sync().await.stopped, []);
    cluster.holds_at(1, KUNDEN, &["1|Lovelace|Ada|100|NULL", "2|Loon|Bob|200|NULL"]).await;
    // The former file, wherever it still lies, carries nothing.
    cluster.configure(MAPPED);
    assert_eq!(cluster.sync().await.stopped.len(), 1);
}

async fn what_does_not_fit_together_is_told(kinds: &[Kind]) {
    let mut cluster = people(kinds, MAPPED).await;
    let mut said = async |from: &str, to: &str| {
        cluster.configure(&MAPPED.replace(from, to));
        cluster.try_install().await.expect_err("it does not fit")
    };
    // SQLite's column would take whole numbers as well.
    if kinds[0] == Kind::Postgres {
        let told = said("cents = [\"cents\"], ", "").await;
        assert!(told.contains("holds integer") && told.contains("made by plugin `full-name`"), "{told}");
    }
    let told = said("first = \"vorname\"", "first = \"forename\"").await;
    assert!(told.contains("`forename`: `people` has no such column (unknown-column)"), "{told}");
    let told = said(", own = [\"memo\"]", "").await;
    assert!(told.contains("has no column `memo` at a"), "{told}");
    let told = said("cents = [\"cents\"], own = [\"memo\"]", "own = [\"memo\", \"cents\"]").await;
    assert!(told.contains("the mapping of `people` at b makes no column `cents`"), "{told}");
    assert!(told.contains("let it make one") && !told.contains("`kunden`"), "{told}");
    let told = said("balance = \"cents\" }", "balance = \"cents\" }\nomit = [\"name\"]").await;
    assert!(told.contains("its mapping makes a column `name`, and `omit` leaves it out"), "{told}");
    let told = said("plugin = \"full-name\", name", "plugin = \"region\", name").await;
    assert!(told.contains("does not name it"), "{told}");
}

/// A column of the others' goes with the mapping that made it.
async fn what_a_mapping_takes_away_is_installed(kinds: &[Kind]) {
    let with_memo = MAPPED.replace(", own = [\"memo\"]", "") + "[tables.people.nodes.a]\nomit = [\"memo\"]\n";
    let mut cluster = people(kinds, &with_memo).await;
    cluster.install().await;
    cluster.run(0, "INSERT INTO people VALUES (1, 'Ada Lovelace', 1)").await;
    cluster.sync().await;
    cluster.configure(MAPPED);
    let what = "the mapping at b is another in this file, and may make other columns; run `concord install`, and then `concord load \
                --refilter --table people --prefer NODE`";
    let told = cluster.sync().await.stopped;
    assert!(told[0].why.ends_with(what), "{told:?}");
    let (_, warned) = cluster.session().install().await.expect("everybody is there");
    assert!(!warned.iter().any(|line| line.contains("lives there")), "{warned:?}");
    let options = LoadOptions { refilter: true, prefer: Some("a".to_owned()), ..LoadOptions::default() };
    cluster.load(&options).await;
    cluster.run(1, "UPDATE kunden SET cents = 200").await;
    assert_eq!(cluster.sync().await.stopped, []);
    cluster.holds_at(0, "SELECT id FROM people WHERE balance = 2", &["1"]).await;
}

/// Between files of SQLite alone columns are of no kind, and those that a mapping makes are.
#[tokio::test]
async fn what_a_new_mapping_makes_of_another_kind_is_installed_first() {
    let setup = |_| "CREATE TABLE items (id integer PRIMARY KEY, qty integer)".to_owned();
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Sqlite], setup, "[tables.items]\n").await;
    cluster.pin(&["reshape"]);
    cluster.install().await;
    cluster.later(0, "INSERT INTO items VALUES (1, 4)").await;
    cluster.sync().await;
    let mapping =
        "mapping = { plugin = \"reshape\", columns = { qty = { from = \"qty\", multiply = 2, kind = \"integer\" } } }";
    cluster.configure(&format!("[tables.items.nodes.b]\n{mapping}\n"));
    let found = cluster.session().check().await.expect("everybody is there");
    let what =
        "after `concord install`, by which nodes agree on its columns, run `concord load --refilter --table items";
    assert!(found.problems.is_empty() && found.warnings.iter().any(|line| line.contains(what)), "{found:?}");
    let told = &cluster.sync().await.stopped[0].why;
    assert!(told.contains("any among the nodes; the mapping at b") && told.contains("run `concord install`"), "{told}");
    cluster.session().install().await.expect("everybody is there");
    let options = LoadOptions { refilter: true, prefer: Some("a".to_owned()), ..LoadOptions::default() };
    cluster.load(&options).await;
    assert_eq!(cluster.sync().await.stopped, []);
    cluster.holds_at(1, "SELECT id, qty FROM items", &["1|2"]).await;
}

async fn what_the_node_alone_must_fill_is_warned_of(kinds: &[Kind]) {
    let mut cluster = people(kinds, MAPPED).await;
    let stern = "DROP TABLE kunden; CREATE TABLE kunden (memo text NOT NULL DEFAULT 'none', nr bigint PRIMARY KEY, nachname text, \
                 vorname text, cents bigint NOT NULL)";
    cluster.nodes[1].database.user_as(As::Sync).await.execute(stern).await;
    let warned = async |cluster: &Cluster| {
        let checked = cluster.session().check().await.expect("everybody is there");
        let warned: Vec<String> = checked.warnings.into_iter().filter(|line| line.contains("may leave NULL")).collect();
        let begins = "node `b`: the mapping may leave NULL what takes none in ";
        assert!(warned.len() == 1 && warned[0].starts_with(begins), "{warned:?}");
        warned[0].split(": ").nth(2).unwrap_or_default().split(';').next().unwrap_or_default().to_owned()
    };
    assert_eq!(warned(&cluster).await, "`memo`");
    cluster.install().await;
    cluster.run(0, "INSERT INTO people VALUES (1, 'Ada Lovelace', 1)").await;
    // A row that comes has no value for it.
    assert_eq!(warned(&cluster).await, "`memo`");
    cluster.sync().await;
    assert_eq!(cluster.waiting().await, ["b people [1] constraint"]);
}

#[tokio::test]
async fn what_has_no_shared_form_waits_elsewhere() {
    let setup = |_| "CREATE TABLE items (id integer PRIMARY KEY, note text, stock integer)".to_owned();
    let tables = "[tables.items.nodes.b]\nmapping = { plugin = \"hostile\", attack = \"shared-problem\" }\n";
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Sqlite], setup, tables).await;
    cluster.pin(&["hostile"]);
    cluster.install().await;
    cluster.later(1, "INSERT INTO items VALUES (1, 'poison', 1), (2, 'good', 2)").await;
    cluster.sync().await;
    cluster.holds_at(0, "SELECT id, note FROM items", &["2|good"]).await;
    assert_eq!(cluster.waiting().await, ["a items [1] unreadable"]);
    let why = &cluster.reasons("a").await[0];
    assert!(why.contains("mapping of `items`, to-shared: `note`: the note is poison (bad-note)"), "{why}");
    cluster.later(1, "UPDATE items SET note = 'cured' WHERE id = 1").await;
    cluster.sync().await;
    cluster.holds("SELECT id, note FROM items ORDER BY id", &["1|cured", "2|good"]).await;
}

/// What it breaks is noticed before anything is written.
#[tokio::test]
async fn a_mapping_that_gives_back_something_else_writes_nothing() {
    let setup = |_| "CREATE TABLE items (id integer PRIMARY KEY, note text, stock integer)".to_owned();
    let tables = "[tables.items.nodes.b]\nmapping = { plugin = \"hostile\", attack = \"local-lawless\" }\n";
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Sqlite], setup, tables).await;
    cluster.pin(&["hostile"]);
    cluster.install().await;
    cluster.later(0, "INSERT INTO items VALUES (1, 'poison', 1), (2, 'good', 2)").await;
    cluster.sync().await;
    cluster.holds_at(1, "SELECT id, note FROM items", &["2|good"]).await;
    let told = "plugin `hostile` does not give back what was put: `note` would be another";
    assert_eq!(cluster.reasons("b").await, [told]);
}
