//! What has to be refused before anything is changed, and what one row may not hold up.

use concord_tests::{As, Cluster, Concord, Database, Kind, NAMES};

concord_tests::clusters! {
    pairs: [
        changes_that_were_not_carried_are_kept, changes_that_nobody_recorded_are_told, changes_of_a_table_that_leaves,
        rows_that_wait_of_a_table_that_leaves, changes_where_another_table_is_named, changes_of_a_node_that_gives_no_more,
        rows_that_wait_where_nothing_comes_any_more,
    ]
    standard: [one_table_under_two_names]
    many: [changes_of_a_node_that_leaves, changes_of_a_node_that_leaves_are_not_taken_twice, conflicts_of_a_node_that_leaves, rows_that_wait_of_a_node_that_leaves]
    all: []
}

fn counters(_: Kind) -> String {
    "CREATE TABLE counters (id integer PRIMARY KEY, n integer NOT NULL); INSERT INTO counters VALUES (1, 0), (2, 0)"
        .to_owned()
}

/// What SQLite lets a program write into a blob as into a file is recorded nowhere.
#[tokio::test]
async fn blobs_that_can_be_written_apart_are_told() {
    let setup = |kind: Kind| {
        let ty = if kind == Kind::Sqlite { "blob" } else { "bytea" };
        format!("CREATE TABLE t (id integer PRIMARY KEY, photo {ty}, name text)")
    };
    let cluster = Cluster::new(&[Kind::Sqlite, Kind::Postgres], setup, "[tables.t]").await;
    let (_, warnings) = cluster.session().install().await.expect("nothing stands in the way");
    let told: Vec<&String> = warnings.iter().filter(|line| line.contains("`photo`")).collect();
    assert!(
        told.len() == 1 && told[0].starts_with("node `a`: ") && told[0].contains("SET `photo` = `photo`"),
        "{told:?}"
    );
}

/// GIVEN changes that nobody has carried yet
/// WHEN the policy asks for another kind of history
/// THEN `install` refuses to give the changes up, and goes through once they were carried.
async fn changes_that_were_not_carried_are_kept(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, counters, "[tables.counters]").await;
    cluster.run(0, "UPDATE counters SET n = n + 1 WHERE id = 1").await;
    cluster.configure("[tables.counters]\nconflict = { sum = [\"n\"] }");
    let why = cluster.try_install().await.expect_err("changes would be lost");
    assert!(why.contains("node `a`: `counters`") && why.contains("`concord sync`"), "{why}");
    cluster.configure("[tables.counters]");
    cluster.settle().await;
    cluster.holds("SELECT n FROM counters ORDER BY id", &["1", "0"]).await;
    cluster.configure("[tables.counters]\nconflict = { sum = [\"n\"] }");
    cluster.install().await;
    cluster.run(0, "UPDATE counters SET n = n + 10 WHERE id = 2").await;
    cluster.run(1, "UPDATE counters SET n = n + 5 WHERE id = 2").await;
    cluster.settle().await;
    cluster.holds("SELECT n FROM counters ORDER BY id", &["1", "15"]).await;
}

/// GIVEN changes that have arrived, and that are kept for a row that waits
/// WHEN the policy asks for another kind of history
/// THEN `install` says what keeps them, and goes through once that is settled.
#[tokio::test]
async fn changes_that_are_kept_for_what_waits_are_told_as_such() {
    let setup = |kind: Kind| {
        let check = if kind == Kind::Postgres { " CHECK (n < 100)" } else { "" };
        format!(
            "CREATE TABLE counters (id integer PRIMARY KEY, n integer NOT NULL{check});
             INSERT INTO counters VALUES (1, 0), (2, 0)"
        )
    };
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Postgres], setup, SUM).await;
    cluster.run(0, "UPDATE counters SET n = n + 500 WHERE id = 1").await;
    assert_eq!(cluster.sync().await.waiting, 1);
    cluster.configure("[tables.counters]");
    let why = cluster.try_install().await.expect_err("what each change did is needed yet");
    let told = why.lines().find(|line| line.contains("node `a`")).unwrap_or_default();
    assert!(told.contains("cannot go while rows of it wait"), "{why}");
    assert!(told.contains("`concord parked list --table counters`"), "{why}");
    cluster.configure(SUM);
    cluster.install().await;
    cluster.run(0, "UPDATE counters SET n = n - 450 WHERE id = 1").await;
    cluster.settle().await;
    cluster.configure("[tables.counters]");
    cluster.install().await;
    cluster.holds("SELECT n FROM counters ORDER BY id", &["50", "0"]).await;
}

/// GIVEN changes that nobody has carried yet
/// WHEN the key is another at all nodes
/// THEN it is said what can be done, and either way helps.
#[tokio::test]
async fn changes_under_a_former_key_are_carried_with_it_or_given_up() {
    let kinds = [Kind::Postgres, Kind::Mariadb];
    let mut cluster = Cluster::new(&kinds, counters, "[tables.counters]").await;
    let key = async |cluster: &mut Cluster, columns: &str| {
        for (at, former) in ["CONSTRAINT counters_pkey", "PRIMARY KEY"].iter().enumerate() {
            let sql = format!("ALTER TABLE counters DROP {former}, ADD PRIMARY KEY ({columns})");
            cluster.run_as_owner(at, &sql).await;
        }
    };
    let refused = async |cluster: &mut Cluster| {
        let summary = cluster.sync().await;
        assert!(format!("{:?}", summary.stopped).contains("only with that key can changes be carried"), "{summary:?}");
        let why = cluster.try_install().await.expect_err("changes would be lost");
        assert!(why.contains("node `a`: `counters` has another key now, and 1 change"), "{why}");
        assert!(why.contains("its former key") && why.contains("`concord reset` with the key as it is now"), "{why}");
        assert!(why.contains("which gives up what is not carried of every table"), "{why}");
    };
    cluster.run(0, "UPDATE counters SET n = n + 1 WHERE id = 1").await;
    key(&mut cluster, "id, n").await;
    refused(&mut cluster).await;
    key(&mut cluster, "id").await;
    cluster.install().await;
    cluster.settle().await;
    cluster.holds("SELECT n FROM counters ORDER BY id", &["1", "0"]).await;
    cluster.run(0, "UPDATE counters SET n = 5 WHERE id = 2").await;
    key(&mut cluster, "id, n").await;
    refused(&mut cluster).await;
    cluster.session().reset().await.expect("it gives up what was not carried");
    cluster.load(&concord::sync::LoadOptions::default()).await;
    cluster.holds("SELECT id, n FROM counters ORDER BY id, n", &["1|1", "2|0", "2|5"]).await;
}

/// GIVEN changes that nobody has carried yet, under keys of one type
/// WHEN the key has another type, and more changes come
/// THEN `install` keeps them all.
#[tokio::test]
async fn changes_stay_where_the_key_has_another_type() {
    let mut cluster = Cluster::new(&[Kind::Mariadb, Kind::Sqlite], counters, "[tables.counters]").await;
    cluster.run(0, "UPDATE counters SET n = n + 1 WHERE id = 1").await;
    cluster.run_as_owner(0, "ALTER TABLE counters MODIFY id bigint NOT NULL").await;
    cluster.run(0, "UPDATE counters SET n = n + 2 WHERE id = 2").await;
    let done = cluster.install().await;
    assert!(done.iter().any(|line| line.contains("the new types of its columns")), "{done:?}");
    cluster.run(0, "INSERT INTO counters VALUES (5000000000, 7)").await;
    cluster.settle().await;
    cluster.holds("SELECT id, n FROM counters ORDER BY id", &["1|1", "2|2", "5000000000|7"]).await;
}

/// The same as a person does it who follows `docs/src/getting-started.md`: at PostgreSQL a trigger stands in the way, and SQLite
/// makes the table anew.
#[tokio::test]
async fn changes_stay_where_the_key_is_made_a_text() {
    for kind in [Kind::Postgres, Kind::Sqlite] {
        let mut cluster = Cluster::new(&[kind, Kind::Sqlite], counters, "[tables.counters]").await;
        cluster.run(0, "UPDATE counters SET n = 1 WHERE id = 1").await;
        cluster.run(1, "UPDATE counters SET n = 2 WHERE id = 2").await;
        for (at, kind) in [kind, Kind::Sqlite].into_iter().enumerate() {
            let change = match kind {
                Kind::Postgres => {
                    "BEGIN; DROP TRIGGER \"!concord_k\" ON counters; ALTER TABLE counters ALTER COLUMN id TYPE text; COMMIT"
                }
                _ => {
                    "ALTER TABLE counters RENAME TO former; CREATE TABLE counters (id text NOT NULL PRIMARY KEY, n integer NOT NULL);
                     INSERT INTO counters SELECT * FROM former; DROP TABLE former"
                }
            };
            cluster.run_as_owner(at, change).await;
            cluster.reconnect(at).await;
        }
        cluster.install().await;
        cluster.run(0, "INSERT INTO counters VALUES ('x', 3)").await;
        cluster.settle().await;
        cluster.holds("SELECT id, n FROM counters ORDER BY id", &["1|1", "2|2", "x|3"]).await;
    }
}

/// The same where the history records values as well.
#[tokio::test]
async fn changes_stay_where_what_they_add_to_has_another_type() {
    for kind in [Kind::Mariadb, Kind::Postgres] {
        let mut cluster = Cluster::new(&[kind, Kind::Sqlite], counters, SUM).await;
        cluster.run(0, "UPDATE counters SET n = n + 1 WHERE id = 1").await;
        cluster.run(1, "UPDATE counters SET n = n + 4 WHERE id = 1").await;
        let wider = match kind {
            Kind::Postgres => "ALTER TABLE counters ALTER COLUMN n TYPE bigint",
            _ => "ALTER TABLE counters MODIFY n bigint NOT NULL",
        };
        cluster.run_as_owner(0, wider).await;
        cluster.install().await;
        cluster.settle().await;
        cluster.holds("SELECT n FROM counters ORDER BY id", &["5", "0"]).await;
    }
}

const SUM: &str = "[tables.counters]\nconflict = { sum = [\"n\"] }";

/// GIVEN a change that some of the others have from a node, and b not
/// WHEN that node is taken out of the file
/// THEN `install` refuses, changes nothing, and goes through once b has it.
async fn changes_of_a_node_that_leaves(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, counters, SUM).await;
    let last = kinds.len() - 1;
    cluster.run(last, "UPDATE counters SET n = n + 5 WHERE id = 1").await;
    cluster.leave(1);
    cluster.sync().await;
    cluster.back(1);
    let left = cluster.nodes.pop().expect("a node");
    let why = cluster.try_install().await.expect_err("b would never get it as what it is");
    let lines: Vec<&str> = why.lines().collect();
    let told = format!("node `a`: 1 change of `counters` from `{}`, which is no longer in the file,", NAMES[last]);
    assert!(lines.len() == last - 1 && lines[0].starts_with(&told), "{why}");
    assert!(why.contains("run `concord sync` with the former file first, or `concord reset`"), "{why}");
    cluster.nodes.push(left);
    assert_eq!(cluster.try_install().await, Ok(Vec::new()), "nothing was changed");
    // The node that leaves need not be there for that.
    cluster.leave(last);
    cluster.sync().await;
    let _left = cluster.nodes.pop();
    cluster.install().await;
    cluster.run(0, "UPDATE counters SET n = n + 1 WHERE id = 1").await;
    cluster.settle().await;
    cluster.holds("SELECT n FROM counters ORDER BY id", &["6", "0"]).await;
}

/// Everybody has a change, but not what the others enter about it: without the node that made it, it would be theirs.
async fn changes_of_a_node_that_leaves_are_not_taken_twice(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, counters, SUM).await;
    let last = kinds.len() - 1;
    cluster.run(last, "UPDATE counters SET n = n + 5 WHERE id = 1").await;
    cluster.session().cycle().await.expect("all are there");
    cluster.holds("SELECT n FROM counters ORDER BY id", &["5", "0"]).await;
    let left = cluster.nodes.pop().expect("a node");
    cluster.try_install().await.expect_err("it would be counted twice");
    cluster.nodes.push(left);
    cluster.sync().await;
    let _left = cluster.nodes.pop();
    cluster.install().await;
    cluster.settle().await;
    cluster.holds("SELECT n FROM counters ORDER BY id", &["5", "0"]).await;
}

/// A conflict that a person has to decide is one of each of its sides.
async fn conflicts_of_a_node_that_leaves(kinds: &[Kind]) {
    let setup =
        |_| "CREATE TABLE names (id integer PRIMARY KEY, name text); INSERT INTO names VALUES (1, 'x')".to_owned();
    let mut cluster = Cluster::new(kinds, setup, "[tables.names]\nconflict = \"park\"\n").await;
    let last = kinds.len() - 1;
    cluster.later(last, "UPDATE names SET name = 'first' WHERE id = 1").await;
    cluster.later(0, "UPDATE names SET name = 'second' WHERE id = 1").await;
    cluster.sync().await;
    let left = cluster.nodes.pop().expect("a node");
    let why = cluster.try_install().await.expect_err("one side of the conflict would be forgotten");
    let told = format!("node `b`: 1 row waits there in `names` from `{}`, which is no longer in the file", NAMES[last]);
    assert!(why.contains(&told), "{why}");
    cluster.nodes.push(left);
    cluster.session().drop_parked(|row| row.node == "a").await.expect("it can be given up");
    cluster.settle().await;
    let _left = cluster.nodes.pop();
    cluster.install().await;
    cluster.settle().await;
}

/// What waits from a node that leaves would be left out for ever, without anybody being told.
async fn rows_that_wait_of_a_node_that_leaves(kinds: &[Kind]) {
    let setup = |_| "CREATE TABLE names (id integer PRIMARY KEY, name text UNIQUE)".to_owned();
    let mut cluster = Cluster::new(kinds, setup, "[tables.names]").await;
    let last = kinds.len() - 1;
    cluster.run(1, "INSERT INTO names VALUES (1, 'taken')").await;
    cluster.sync().await;
    cluster.run(last, "DELETE FROM names; INSERT INTO names VALUES (2, 'taken')").await;
    cluster.leave(0);
    cluster.run(1, "UPDATE names SET name = 'held' WHERE id = 1; INSERT INTO names VALUES (3, 'taken')").await;
    cluster.sync().await;
    cluster.back(0);
    assert!(cluster.waiting().await.contains(&"b names [2] constraint".to_owned()), "{:?}", cluster.waiting().await);
    let left = cluster.nodes.pop().expect("a node");
    let why = cluster.try_install().await.expect_err("the row would be forgotten");
    let told = format!(
        "node `b`: 1 row waits there in `names` from `{}`, which is no longer in the file; with the former file, \
         let them arrive with `concord sync` or give them up with `concord parked drop --node b --table names`",
        NAMES[last]
    );
    assert!(why.contains(&told), "{why}");
    cluster.nodes.push(left);
    cluster.session().drop_parked(|_| true).await.expect("they can be given up");
    cluster.sync().await;
    cluster.session().drop_parked(|_| true).await.expect("they can be given up");
    cluster.settle().await;
    let _left = cluster.nodes.pop();
    cluster.install().await;
    cluster.settle().await;
}

const TWO: &str = "CREATE TABLE one (id integer PRIMARY KEY, name text UNIQUE);
                   CREATE TABLE two (id integer PRIMARY KEY, name text UNIQUE)";

async fn changes_of_a_table_that_leaves(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, |_| TWO.to_owned(), "[tables.one]\n[tables.two]").await;
    cluster.run(0, "INSERT INTO two VALUES (1, 'x'), (2, 'y')").await;
    cluster.run(1, "INSERT INTO one VALUES (1, 'x')").await;
    cluster.configure("[tables.one]");
    let why = cluster.try_install().await.expect_err("the changes would be given up");
    assert_eq!(why.lines().count(), 1, "{why}");
    assert!(
        why.starts_with("node `a`: 2 changes of `two`, which is no longer in the file, may not have arrived"),
        "{why}"
    );
    cluster.configure("[tables.one]\n[tables.two]");
    assert_eq!(cluster.try_install().await, Ok(Vec::new()), "nothing was changed");
    cluster.settle().await;
    cluster.holds("SELECT id FROM two ORDER BY id", &["1", "2"]).await;
    cluster.configure("[tables.one]");
    let done = cluster.install().await;
    assert_eq!(done.len(), kinds.len(), "{done:?}");
    cluster.settle().await;
}

async fn rows_that_wait_of_a_table_that_leaves(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, |_| TWO.to_owned(), "[tables.one]\n[tables.two]").await;
    cluster.run(0, "INSERT INTO two VALUES (1, 'x')").await;
    cluster.run(1, "INSERT INTO two VALUES (2, 'x')").await;
    cluster.sync().await;
    cluster.configure("[tables.one]");
    let why = cluster.try_install().await.expect_err("the rows would be forgotten");
    assert!(why.contains("node `a`: 1 row waits there in `two`, which is no longer in the file;"), "{why}");
    // `reset` gives everything up.
    cluster.session().reset().await.expect("nothing stands in its way");
    cluster.settle().await;
}

/// Where no table is left of which a history is kept there is nothing that `reset` could empty.
#[tokio::test]
async fn changes_of_the_last_table_with_triggers() {
    let mut cluster = Cluster::new(&[Kind::Sqlite; 2], counters, "[tables.counters]").await;
    cluster.run(1, "UPDATE counters SET n = 5 WHERE id = 1").await;
    cluster.configure("[tables.counters]\nmode = \"compare\"\nfrom = \"a\"");
    let why = cluster.try_install().await.expect_err("the change would be given up");
    assert!(why.contains("node `b`: 1 change of `counters`, which is compared from now on,"), "{why}");
    assert!(why.contains("first, or with the former file too, `concord reset` to give up"), "{why}");
    cluster.session().reset().await.expect_err("no table has a history");
    cluster.configure("[tables.counters]");
    cluster.session().reset().await.expect("nothing stands in its way");
}

const OTHER_TABLE: &str = "[tables.counters.nodes.b]\ntable = \"counters_new\"";

/// GIVEN a change that nobody has carried yet
/// WHEN the file names another table at its node, which stands beside the former one and has no such row
/// THEN `install` refuses, as the change would be read as a delete, and goes through once it was carried.
async fn changes_where_another_table_is_named(kinds: &[Kind]) {
    let other = "CREATE TABLE counters_new (id integer PRIMARY KEY, n integer NOT NULL)";
    let mut cluster = Cluster::new(kinds, |kind| format!("{}; {other}", counters(kind)), "[tables.counters]").await;
    cluster.run(1, "UPDATE counters SET n = 5 WHERE id = 1").await;
    cluster.configure(OTHER_TABLE);
    let why = cluster.try_install().await.expect_err("a row would be deleted");
    assert!(why.contains("node `b`: `counters` is the table `") && why.contains("counters_new` there"), "{why}");
    assert!(why.contains("1 change made to that") && why.contains("with the former `table` first"), "{why}");
    cluster.configure("[tables.counters]");
    cluster.settle().await;
    cluster.holds("SELECT n FROM counters ORDER BY id", &["5", "0"]).await;
    cluster.configure(OTHER_TABLE);
    let (_, warnings) = cluster.session().install().await.expect("nothing stands in the way");
    let told = |line: &String| line.contains("counters_new` there") && line.contains("`concord load --table counters`");
    assert!(warnings.iter().any(told), "{warnings:?}");
    cluster.sync().await;
    cluster.holds_at(0, "SELECT n FROM counters ORDER BY id", &["5", "0"]).await;
}

/// A table that only has another name took its triggers along.
#[tokio::test]
async fn changes_stay_where_the_table_is_renamed() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let mut cluster = Cluster::new(&[Kind::Sqlite, kind], counters, "[tables.counters]").await;
        cluster.run(1, "UPDATE counters SET n = 5 WHERE id = 1").await;
        cluster.run_as_owner(1, "ALTER TABLE counters RENAME TO counters_new").await;
        cluster.reconnect(1).await;
        cluster.configure(OTHER_TABLE);
        cluster.install().await;
        cluster.settle().await;
        cluster.holds_at(0, "SELECT n FROM counters ORDER BY id", &["5", "0"]).await;
    }
}

/// GIVEN a change that nobody has carried yet
/// WHEN the table goes from another node alone from then on
/// THEN `install` refuses, goes through once it was carried, and tells of whoever was no source before.
async fn changes_of_a_node_that_gives_no_more(kinds: &[Kind]) {
    const LATER: &str = "[tables.counters]\nfrom = \"a\"";
    for former in ["[tables.counters]", "[tables.counters]\nfrom = \"b\""] {
        let mut cluster = Cluster::new(kinds, counters, former).await;
        cluster.run(1, "UPDATE counters SET n = 5 WHERE id = 1").await;
        cluster.configure(LATER);
        let why = cluster.try_install().await.expect_err("a would never get it");
        let told =
            "node `b`: 1 change of `counters`, which gets its changes from `a` alone from now on, may not have arrived";
        assert!(why.contains(told), "{former}: {why}");
        cluster.configure(former);
        cluster.settle().await;
        cluster.configure(LATER);
        let (_, warnings) = cluster.session().install().await.expect("nothing stands in the way");
        let told = "node `a`: what users change in `counters` there is carried from now on";
        assert_eq!(warnings.iter().any(|line| line.starts_with(told)), former.contains("from"), "{warnings:?}");
        cluster.run(0, "UPDATE counters SET n = 7 WHERE id = 2").await;
        cluster.settle().await;
        cluster.holds("SELECT n FROM counters ORDER BY id", &["5", "7"]).await;
        assert_eq!(cluster.try_install().await, Ok(Vec::new()), "nothing is left to ask");
    }
}

/// A row that waits could never be written where nothing of others is written any more.
async fn rows_that_wait_where_nothing_comes_any_more(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, |_| TWO.to_owned(), "[tables.one]").await;
    cluster.run(0, "INSERT INTO one VALUES (1, 'x')").await;
    cluster.run(1, "INSERT INTO one VALUES (2, 'x')").await;
    cluster.sync().await;
    cluster.configure("[tables.one]\nfrom = \"a\"");
    let why = cluster.try_install().await.expect_err("the row would wait for ever");
    let told =
        "node `a`: 1 row waits there in `one`, which gets its changes from `a` alone from now on; with the former file";
    assert!(why.contains(told), "{why}");
    assert!(!why.contains("node `b`: 1 row waits"), "{why}");
}

/// GIVEN a row that stayed where it was made, as inserts were not carried, and another of its key that nobody has looked at yet
/// WHEN the file has inserts carried
/// THEN the table stands still until that is installed, which is refused until the two were weighed; so it does for whoever has the
/// former file.
#[tokio::test]
async fn what_was_not_carried_is_not_overwritten_unread() {
    const LESS: &str = "[tables.counters]\noperations = [\"update\", \"delete\"]";
    let mut cluster = Cluster::new(&[Kind::Sqlite; 2], counters, LESS).await;
    let mut running = cluster.session();
    cluster.later(1, "INSERT INTO counters VALUES (7, 70)").await;
    assert_eq!(running.sync().await.expect("a sync").stopped, []);
    cluster.later(0, "INSERT INTO counters VALUES (7, 7)").await;
    cluster.configure("[tables.counters]");
    let stopped = cluster.sync().await.stopped;
    let told = |why: &str| why.contains("operations = [\"update\", \"delete\"]");
    assert!(stopped.iter().any(|stopped| told(&stopped.why)), "{stopped:?}");
    assert!(stopped[0].why.ends_with("and then `concord load --table counters --prefer NODE`"), "{stopped:?}");
    cluster.holds_at(1, "SELECT n FROM counters WHERE id = 7", &["70"]).await;
    let why = cluster.try_install().await.expect_err("the row of b would be overwritten");
    assert!(
        why.contains("`insert` of `counters` is carried") && why.contains("the former `operations` first"),
        "{why}"
    );
    cluster.configure(LESS);
    assert_eq!(cluster.sync().await.conflicts, 1);
    let journal = cluster.session().conflicts(0).await.expect("a journal");
    let lost: Vec<_> = journal.iter().map(|lost| lost.loser_row.clone()).collect();
    assert_eq!(lost, [Some(serde_json::json!({"id": 7, "n": 70}))]);
    cluster.configure("[tables.counters]");
    let (_, warnings) = cluster.session().install().await.expect("nothing stands in the way");
    let load = |line: &&String| line.contains("`insert` is carried from now on") && line.contains("`concord load");
    assert_eq!(warnings.iter().filter(load).count(), 1, "{warnings:?}");
    let stopped = running.sync().await.expect("a sync").stopped;
    assert!(stopped.iter().any(|stopped| told(&stopped.why)), "{stopped:?}");
    cluster.run(1, "INSERT INTO counters VALUES (8, 80)").await;
    cluster.settle().await;
    cluster.holds("SELECT n FROM counters ORDER BY id", &["0", "0", "7", "80"]).await;
}

/// GIVEN a delete that is on its way
/// WHEN the file has deletes carried no more, and later again
/// THEN `install` refuses until it has arrived; and of those that were not carried it says that a load would undo them.
#[tokio::test]
async fn what_is_carried_no_more_arrives_first() {
    const LESS: &str = "[tables.counters]\noperations = [\"insert\", \"update\"]";
    let mut cluster = Cluster::new(&[Kind::Sqlite; 2], counters, "[tables.counters]").await;
    cluster.run(0, "DELETE FROM counters WHERE id = 2").await;
    cluster.configure(LESS);
    let why = cluster.try_install().await.expect_err("the delete would be given up");
    assert!(why.contains("node `a`: `delete` of `counters` is carried no more in this file, and 1 change"), "{why}");
    assert!(why.contains("run `concord sync` with the former `operations` first"), "{why}");
    cluster.configure("[tables.counters]");
    cluster.settle().await;
    cluster.holds("SELECT id FROM counters", &["1"]).await;
    cluster.configure(LESS);
    let (_, warnings) = cluster.session().install().await.expect("nothing stands in the way");
    assert!(!warnings.iter().any(|line| line.contains("carried from now on")), "{warnings:?}");
    cluster.run(0, "DELETE FROM counters WHERE id = 1").await;
    cluster.sync().await;
    cluster.holds_at(1, "SELECT id FROM counters", &["1"]).await;
    cluster.configure("[tables.counters]");
    let stopped = cluster.sync().await.stopped;
    let told = |why: &str| why.ends_with("`concord load` would bring it back") && !why.contains("--prefer");
    assert!(stopped.len() == 1 && told(&stopped[0].why), "{stopped:?}");
    let (_, warnings) = cluster.session().install().await.expect("nothing stands in the way");
    let warned = |line: &&String| line.contains("`delete` is carried from now on") && told(line);
    assert_eq!(warnings.iter().filter(warned).count(), 1, "{warnings:?}");
    cluster.run(1, "DELETE FROM counters").await;
    cluster.settle().await;
}

/// A column that nobody has would let another policy decide than the file names.
#[tokio::test]
async fn a_table_whose_policy_names_no_column_stands_still() {
    let setup = |_| "CREATE TABLE counters (id integer PRIMARY KEY, n integer NOT NULL, At integer)".to_owned();
    let mut cluster = Cluster::new(&[Kind::Sqlite; 2], setup, "[tables.counters]").await;
    for wrong in ["conflict = { sum = [\"m\"] }", "updated = \"att\""] {
        cluster.configure(&format!("[tables.counters]\n{wrong}"));
        let stopped = cluster.sync().await.stopped;
        let told =
            |why: &str| why.contains("test.toml:") && why.contains("has no column") && why.contains("`concord check`");
        assert!(stopped.len() == 1 && told(&stopped[0].why), "{wrong}: {stopped:?}");
    }
    // The file need not repeat the case.
    cluster.configure("[tables.counters]\nupdated = \"AT\"\nconflict = { prefer = [\"a\"] }");
    assert_eq!(cluster.sync().await.stopped, []);
    // One that came since the install is known from the next one on.
    for at in 0..2 {
        cluster.run_as_owner(at, "ALTER TABLE counters ADD COLUMN seen integer").await;
    }
    cluster.configure("[tables.counters]\nupdated = \"seen\"");
    let stopped = cluster.sync().await.stopped;
    let told = |why: &str| why.contains("if the tables have it by now, run `concord install`");
    assert!(stopped.len() == 1 && told(&stopped[0].why), "{stopped:?}");
    cluster.install().await;
    assert_eq!(cluster.sync().await.stopped, []);
}

/// GIVEN a table whose triggers were gone for a while, or did nothing, or whose history is gone
/// WHEN `install` makes it anew
/// THEN it says that what was changed meanwhile, or before, is not known.
async fn changes_that_nobody_recorded_are_told(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, counters, "[tables.counters]").await;
    let (_, warnings) = cluster.session().install().await.expect("nothing is wrong");
    assert!(!warnings.iter().any(|line| line.contains("`counters`") && line.contains("compare")), "{warnings:?}");
    let no_op = "DO $do$ DECLARE f text; BEGIN
                    FOR f IN SELECT DISTINCT tgfoid::regprocedure FROM pg_trigger
                             WHERE tgrelid = 'counters'::regclass AND NOT tgisinternal LOOP
                        EXECUTE 'CREATE OR REPLACE FUNCTION ' || f
                            || ' RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$';
                    END LOOP; END $do$";
    let harms = match kinds[1] {
        Kind::Sqlite => [
            ("DROP TRIGGER concord_update_counters", "may not have been recorded"),
            ("CREATE UNIQUE INDEX by_n ON counters (n, id)", "may not have been recorded"),
            ("DROP TABLE history_store_counters", "gone with its history"),
            ("ALTER TABLE history_store_counters ADD COLUMN mine", "gone with its history"),
        ],
        Kind::Mariadb => [
            ("DROP TRIGGER concord_u_counters", "may not have been recorded"),
            (
                "DROP TRIGGER concord_i_counters; CREATE TRIGGER concord_i_counters AFTER INSERT ON counters FOR EACH ROW SET @n = 1",
                "may not have been recorded",
            ),
            ("DROP TABLE history_store_counters", "gone with its history"),
            ("ALTER TABLE history_store_counters DROP COLUMN time", "gone with its history"),
        ],
        Kind::Postgres => [
            ("DROP TRIGGER \"!concord_u\" ON counters", "may not have been recorded"),
            (no_op, "may not have been recorded"),
            ("DROP TABLE history_store.counters", "gone with its history"),
            ("ALTER TABLE history_store.counters DROP COLUMN \"time\"", "gone with its history"),
        ],
    };
    for (harm, lost) in harms {
        cluster.nodes[1].database.user_as(As::Sync).await.execute(harm).await;
        let (_, warnings) = cluster.session().install().await.expect("it can be put right");
        let told = |line: &&String| line.starts_with("node `b`: `counters`: ") && line.contains("compare");
        assert!(warnings.iter().find(told).is_some_and(|line| line.contains(lost)), "{harm}: {warnings:?}");
        let (_, warnings) = cluster.session().install().await.expect("nothing is wrong");
        assert!(
            !warnings.iter().any(|line| line.contains("`counters`") && line.contains("compare")),
            "{harm}: {warnings:?}"
        );
    }
    cluster.settle().await;
    cluster.run(1, "UPDATE counters SET n = 9 WHERE id = 1").await;
    cluster.settle().await;
}

/// Two spellings of one key are two rows to one database and one to the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_takes_different_values_for_equal_is_refused() {
    let table = |_: Kind| {
        "CREATE COLLATION lenient (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE words (word text COLLATE lenient PRIMARY KEY, meaning text)"
            .to_owned()
    };
    let cluster = Cluster::bare(&[Kind::Postgres, Kind::Postgres], table, "[tables.words]").await;
    let why = cluster.try_install().await.expect_err("'a' and 'A' are one key there");
    assert!(why.contains("key column word") && why.contains("COLLATE"), "{why}");
}

/// GIVEN a user who holds one row for longer than anybody waits
/// WHEN that row and another are brought
/// THEN the other arrives, the held one is told, and a later sync brings it.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_a_user_holds_holds_up_nothing_else() {
    let mut cluster = Cluster::new(&[Kind::Postgres, Kind::Postgres], counters, "[tables.counters]").await;
    let mut user = cluster.nodes[1].database.user_as(As::App).await;
    user.execute("BEGIN").await;
    user.execute("SELECT n FROM counters WHERE id = 1 FOR UPDATE").await;
    cluster.run(0, "UPDATE counters SET n = 7").await;
    let summary = cluster.sync().await;
    assert_eq!((summary.held, summary.waiting, summary.exit_code()), (1, 0, 3), "{summary:?}");
    cluster.holds_at(1, "SELECT n FROM counters ORDER BY id", &["0", "7"]).await;
    user.execute("ROLLBACK").await;
    cluster.settle().await;
    cluster.holds("SELECT n FROM counters ORDER BY id", &["7", "7"]).await;
}

/// Every change of it would be recorded and carried twice.
async fn one_table_under_two_names(kinds: &[Kind]) {
    let schema = |kind| if kind == Kind::Sqlite { "main" } else { "public" };
    let mut cluster = Cluster::bare(kinds, counters, SUM).await;
    let mut again = "\n[tables.again]\nconflict = { sum = [\"n\"] }".to_owned();
    for (kind, name) in kinds.iter().zip(NAMES) {
        again += &format!("\nnodes.{name}.table = \"{}.counters\"", schema(*kind));
    }
    cluster.configure(&format!("{SUM}{again}"));
    let why = cluster.try_install().await.expect_err("it is one table");
    for name in &NAMES[..2] {
        let told = format!("`counters` and `again` are both the table `counters` at node `{name}`");
        assert!(why.contains(&told), "{why}");
    }
}

/// A crash of the server empties it, of which no trigger tells.
#[tokio::test]
async fn an_unlogged_table_is_refused() {
    let setup = |_| "CREATE UNLOGGED TABLE items (id integer PRIMARY KEY)".to_owned();
    let cluster = Cluster::bare(&[Kind::Postgres, Kind::Postgres], setup, "[tables.items]").await;
    let why = cluster.try_install().await.expect_err("its rows may go without a trace");
    assert!(why.contains("public.items is unlogged") && why.contains("\"public\".\"items\" SET LOGGED"), "{why}");
}

/// A row with letters that its encoding has not could neither be written there nor wait.
#[tokio::test]
async fn a_database_of_another_encoding_is_refused() {
    let (database, file) = (Database::new(Kind::Postgres).await, Database::new(Kind::Sqlite).await);
    let url = database.url();
    let (server, name) = url.rsplit_once('/').expect("a URL ends with the database");
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let narrow = format!("{name}_{}", encoding.to_lowercase());
        let create =
            format!("CREATE DATABASE {narrow} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'");
        database.user_as(As::Admin).await.execute(&create).await;
        let concord = Concord::new(&format!(
            "name = \"narrow\"\n[nodes.a]\nurl = \"{server}/{narrow}\"\n[nodes.b]\nurl = \"{}\"\n[tables.items]\n",
            file.url()
        ));
        let refused = concord.run(&["check"]).await.expect(2);
        assert!(refused.says(&format!("has the encoding {encoding}")), "{refused:?}");
        assert!(refused.says("ENCODING 'UTF8'"), "{refused:?}");
    }
}
