//! What databases do unasked, or take for the same: each is a way in which a row could become another one, or two rows one.

use concord::sync::Verify;
use concord_tests::mariadb::Server;
use concord_tests::{As, Cluster, Database, Kind};

const BOTH_POSTGRES: &[Kind] = &[Kind::Postgres, Kind::Postgres];
const BOTH_MARIADB: &[Kind] = &[Kind::Mariadb, Kind::Mariadb];
const ALL_KINDS: &[Kind] = &[Kind::Postgres, Kind::Mariadb, Kind::Sqlite];

/// GIVEN a session that is not strict, which makes a label that an enum lacks the empty text
/// WHEN that row is carried
/// THEN it arrives where any text may stand, and waits where it would be another label or an error, until it is one that is known.
#[tokio::test]
async fn what_a_lax_session_makes_of_an_unknown_label_on_mariadb() {
    let setup = |kind: Kind| {
        let ty = if kind == Kind::Mariadb { "enum('sad', 'glad')" } else { "text" };
        format!("CREATE TABLE moods (id integer PRIMARY KEY, mood {ty})")
    };
    let kinds = &[Kind::Mariadb, Kind::Mariadb, Kind::Sqlite];
    let mut cluster = Cluster::new(kinds, setup, "[tables.moods]").await;
    cluster.run(0, "SET SESSION sql_mode = ''; INSERT INTO moods VALUES (1, 'angry'), (2, 'sad')").await;
    cluster.holds_at(0, "SELECT mood FROM moods ORDER BY id", &["", "sad"]).await;
    cluster.sync().await;
    assert_eq!(cluster.waiting().await, ["b moods [1] value"]);
    assert!(cluster.reasons("b").await[0].contains("column mood (enum('sad','glad')) cannot hold this text"));
    cluster.holds_at(1, "SELECT id, mood FROM moods", &["2|sad"]).await;
    cluster.holds_at(2, "SELECT id, mood FROM moods ORDER BY id", &["1|", "2|sad"]).await;
    cluster.quiet().await;
    cluster.later(2, "UPDATE moods SET mood = 'glad' WHERE id = 1").await;
    cluster.settle().await;
    cluster.holds("SELECT mood FROM moods ORDER BY id", &["glad", "sad"]).await;
}

/// A column that the server sets with every update is written as it was elsewhere, and only a user's update sets it.
#[tokio::test]
async fn a_time_that_the_target_sets_with_updates_on_mariadb() {
    let mut cluster = Cluster::bare(BOTH_MARIADB, |_| String::new(), "[tables.notes]").await;
    let table = "CREATE TABLE notes (id integer PRIMARY KEY, name varchar(20), changed datetime(6) NOT NULL";
    let by_itself = "DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)";
    cluster.create(&[&format!("{table})"), &format!("{table} {by_itself})")]).await;
    cluster.install().await;
    cluster.run(0, "INSERT INTO notes VALUES (1, 'one', '2020-01-02 03:04:05.000006'), (2, 'two', '2020-01-02')").await;
    cluster.settle().await;
    cluster.run(0, "UPDATE notes SET name = 'uno' WHERE id = 1").await;
    cluster.settle().await;
    cluster.holds("SELECT name, changed FROM notes WHERE id = 1", &["uno|2020-01-02 03:04:05.000006"]).await;
    cluster.run(1, "UPDATE notes SET name = 'due' WHERE id = 2").await;
    cluster.settle().await;
    cluster.holds("SELECT name, changed > '2025-01-01' FROM notes WHERE id = 2", &["due|1"]).await;
}

/// `SELECT *` leaves such a column out, and an insert that does not name it sets its default.
#[tokio::test]
async fn an_invisible_column_of_mariadb() {
    const ALL: &str = "SELECT id, n, secret FROM notes ORDER BY id";
    let setup = |kind: Kind| {
        let invisible = if kind == Kind::Mariadb { " DEFAULT 7 INVISIBLE" } else { "" };
        format!("CREATE TABLE notes (id integer PRIMARY KEY, n integer, secret integer{invisible})")
    };
    let mut cluster = Cluster::new(&[Kind::Mariadb, Kind::Sqlite], setup, "[tables.notes]").await;
    cluster.run(0, "INSERT INTO notes VALUES (1, 1); INSERT INTO notes (id, n, secret) VALUES (2, 2, 5)").await;
    cluster.run(1, "INSERT INTO notes VALUES (3, 3, NULL)").await;
    cluster.sync().await;
    cluster.holds(ALL, &["1|1|7", "2|2|5", "3|3|NULL"]).await;
    cluster.quiet().await;
    cluster.run(0, "UPDATE notes SET n = 4 WHERE id = 3").await;
    cluster.run(1, "UPDATE notes SET secret = 9 WHERE id = 1").await;
    cluster.sync().await;
    assert_eq!(cluster.waiting().await, [""; 0]);
    cluster.holds(ALL, &["1|1|9", "2|2|5", "3|4|NULL"]).await;
    cluster.quiet().await;
}

/// A change of capitals alone is one, though the type takes both texts for equal; as a key it would be two rows here and one there.
#[tokio::test]
async fn texts_whose_capitals_do_not_count() {
    let extension = "CREATE EXTENSION citext";
    let setup = |_| format!("{extension}; CREATE TABLE people (id integer PRIMARY KEY, name citext UNIQUE)");
    let mut cluster = Cluster::new(BOTH_POSTGRES, setup, "[tables.people]").await;
    cluster.run(0, "INSERT INTO people VALUES (1, 'Anna'), (2, 'Berta')").await;
    cluster.settle().await;
    cluster.run(0, "UPDATE people SET name = 'ANNA' WHERE id = 1").await;
    cluster.run(1, "UPDATE people SET name = 'berta' WHERE id = 2").await;
    cluster.settle().await;
    cluster.holds("SELECT name FROM people ORDER BY id", &["ANNA", "berta"]).await;
    let setup = |_| format!("{extension}; CREATE TABLE people (name citext PRIMARY KEY, n integer)");
    let cluster = Cluster::bare(BOTH_POSTGRES, setup, "[tables.people]").await;
    let why = cluster.try_install().await.expect_err("'a' and 'A' are one key there");
    assert!(why.contains("key column name") && why.contains("takes different values for equal"), "{why}");
}

/// Types of extensions, and one that has no `=`, travel as their own text.
#[tokio::test]
async fn documents_pairs_and_paths_of_postgres() {
    for (extension, ty, first, second) in [
        ("", "xml", r#"<a b="1">x &amp; y</a>"#, "<a/>"),
        ("CREATE EXTENSION hstore;", "hstore", r#""a"=>"1", "b"=>NULL"#, r#""a"=>"\"2\"""#),
        ("CREATE EXTENSION ltree;", "ltree", "Top.Science", "Top"),
    ] {
        let setup = |_| format!("{extension} CREATE TABLE t (id integer PRIMARY KEY, v {ty})");
        let mut cluster = Cluster::new(BOTH_POSTGRES, setup, "[tables.t]").await;
        cluster.run(0, &format!("INSERT INTO t VALUES (1, '{first}'), (2, '{first}'), (3, NULL)")).await;
        cluster.settle().await;
        cluster.run(1, &format!("UPDATE t SET v = '{second}' WHERE id = 2")).await;
        cluster.settle().await;
        cluster.holds("SELECT v FROM t ORDER BY id", &[first, second, "NULL"]).await;
    }
}

/// More columns than a function takes arguments, and more values than a statement takes parameters.
#[tokio::test]
async fn a_wide_table() {
    const COLUMNS: usize = 300;
    let each = |of: &dyn Fn(usize) -> String| (1..=COLUMNS).map(of).collect::<Vec<_>>().join(", ");
    let setup = |_| format!("CREATE TABLE wide (id integer PRIMARY KEY, {})", each(&|at| format!("c{at} integer")));
    let mut cluster = Cluster::new(ALL_KINDS, setup, "[tables.wide]").await;
    let row = |id: usize| format!("({id}, {})", each(&|at| (id * 1000 + at).to_string()));
    let rows: Vec<String> = (1..=250).map(row).collect();
    cluster.run(0, &format!("INSERT INTO wide VALUES {}", rows.join(", "))).await;
    cluster.settle().await;
    cluster.run(1, "UPDATE wide SET c300 = -1 WHERE id = 7; DELETE FROM wide WHERE id = 8").await;
    // In conflict, so that a row of that width is kept as the one that lost.
    cluster.run(0, "UPDATE wide SET c1 = -2 WHERE id = 9").await;
    cluster.later(2, "UPDATE wide SET c2 = -3 WHERE id = 9").await;
    cluster.settle().await;
    let some = "SELECT id, c1, c2, c300 FROM wide WHERE id IN (7, 8, 9) ORDER BY id";
    cluster.holds(some, &["7|7001|7002|-1", "9|9001|-3|9300"]).await;
    cluster.holds("SELECT count(*) FROM wide", &["249"]).await;
}

#[tokio::test]
async fn what_is_no_table_of_postgres_own_is_refused() {
    for (role, create, says) in [
        (
            As::Sync,
            "CREATE TABLE base (id integer PRIMARY KEY, n integer); CREATE MATERIALIZED VIEW items AS SELECT * FROM base",
            "public.items is a view; sync the tables it is made of",
        ),
        (
            As::Admin,
            "CREATE FOREIGN DATA WRAPPER far; CREATE SERVER far FOREIGN DATA WRAPPER far;
             CREATE FOREIGN TABLE items (id integer, n integer) SERVER far",
            "public.items is a foreign table; sync it where it is stored",
        ),
    ] {
        let mut cluster = Cluster::bare(BOTH_POSTGRES, |_| String::new(), "[tables.items]").await;
        cluster.nodes[0].database.user_as(role).await.execute(create).await;
        cluster.run_as_owner(1, "CREATE TABLE items (id integer PRIMARY KEY, n integer)").await;
        let why = cluster.try_install().await.expect_err("nothing of it can be recorded");
        assert!(why.contains(says), "{why}");
        let node = cluster.nodes[1].database.node().await.service().await;
        assert!(node.expect("it can be asked").is_none(), "nothing was changed");
    }
}

/// One letter, composed and as a letter with an accent: two keys, unless a collation takes them for one.
#[tokio::test]
async fn keys_that_look_alike() {
    const COMPOSED: &str = "caf\u{e9}";
    const APART: &str = "cafe\u{301}";
    let table = |collation: &str| format!("CREATE TABLE words (word varchar(20){collation} PRIMARY KEY, n integer)");
    let mut cluster = Cluster::new(ALL_KINDS, |_| table(""), "[tables.words]").await;
    cluster.run(0, &format!("INSERT INTO words VALUES ('{COMPOSED}', 1), ('{APART}', 2)")).await;
    cluster.settle().await;
    for at in 0..3 {
        cluster.run(at, &format!("UPDATE words SET n = n + 2 WHERE word = '{APART}'")).await;
        cluster.settle().await;
    }
    cluster.run(2, &format!("DELETE FROM words WHERE word = '{COMPOSED}'")).await;
    cluster.settle().await;
    cluster.holds("SELECT word, n FROM words", &[&format!("{APART}|8")]).await;

    let lenient = |kind: Kind| table(if kind == Kind::Mariadb { " COLLATE utf8mb4_unicode_ci" } else { "" });
    let mut cluster = Cluster::new(&[Kind::Mariadb, Kind::Postgres], lenient, "[tables.words]").await;
    cluster.run(1, &format!("INSERT INTO words VALUES ('{COMPOSED}', 1)")).await;
    cluster.settle().await;
    cluster.run(1, &format!("INSERT INTO words VALUES ('{APART}', 2)")).await;
    cluster.sync().await;
    cluster.holds_at(0, "SELECT word, n FROM words", &[&format!("{COMPOSED}|1")]).await;
    let reasons = cluster.reasons("a").await;
    assert!(reasons.len() == 1 && reasons[0].contains("is the same as"), "{reasons:?}");
    cluster.run(1, &format!("DELETE FROM words WHERE word = '{COMPOSED}'")).await;
    cluster.settle().await;
    cluster.holds("SELECT word, n FROM words", &[&format!("{APART}|2")]).await;
}

/// Quotes of every kind, and letters of others, in the names of a table, of its key and of another column.
#[tokio::test]
async fn odd_names() {
    const TABLE: &str = r#""we`ird ""表""; --""#;
    const KEY: &str = r#""no ""名""""#;
    const VALUE: &str = r#""it's `v`""#;
    let setup = |_| format!("CREATE TABLE {TABLE} ({KEY} integer PRIMARY KEY, {VALUE} varchar(20))");
    let mut cluster = Cluster::new(ALL_KINDS, setup, r#"[tables."we`ird \"表\"; --"]"#).await;
    for at in 0..3 {
        cluster.run(at, &format!("INSERT INTO {TABLE} VALUES ({at}, 'new')")).await;
    }
    cluster.sync().await;
    for at in 0..3 {
        cluster.run(at, &format!("UPDATE {TABLE} SET {VALUE} = 'of {at}' WHERE {KEY} = {}", (at + 1) % 3)).await;
    }
    cluster.sync().await;
    cluster.run(1, &format!("DELETE FROM {TABLE} WHERE {KEY} = 0")).await;
    // A key that changes is entered as two.
    cluster.run(2, &format!("UPDATE {TABLE} SET {KEY} = 5 WHERE {KEY} = 2")).await;
    cluster.sync().await;
    assert_eq!(cluster.waiting().await, [""; 0]);
    cluster.holds(&format!("SELECT {KEY}, {VALUE} FROM {TABLE} ORDER BY {KEY}"), &["1|of 0", "5|of 1"]).await;
    cluster.quiet().await;
    let verified = Box::pin(cluster.session().verify(&Verify::default())).await.expect("a comparison");
    assert_eq!(verified.exit_code(), 0, "{verified:?}");
}

/// Two tables are two on a server that tells capitals apart; their histories would be one on a server that does not, so names that all
/// nodes share differ by more than that.
#[tokio::test]
async fn tables_that_differ_in_capitals_on_mariadb() {
    let table = |name: &str| format!("CREATE TABLE {name} (id integer PRIMARY KEY, n integer)");
    let setup = |_| format!("{}; {}", table("users"), table("Users"));
    let mut cluster = Cluster::bare(BOTH_MARIADB, setup, "[tables.users]\n[tables.Users]").await;
    let why = cluster.try_install().await.expect_err("they would share a history");
    assert!(why.contains("`users` and `Users` would share history_store_users; rename one of them"), "{why}");
    cluster.configure("[tables.users]\n[tables.guests]\nnodes.a.table = \"Users\"\nnodes.b.table = \"Users\"");
    cluster.install().await;
    cluster.run(0, "INSERT INTO users VALUES (1, 1)").await;
    cluster.run(1, "INSERT INTO Users VALUES (1, 2), (2, 2)").await;
    cluster.settle().await;
    cluster.run(0, "UPDATE Users SET n = 3 WHERE id = 1").await;
    cluster.run(1, "DELETE FROM users").await;
    cluster.settle().await;
    cluster.holds("SELECT n FROM Users ORDER BY id", &["3", "2"]).await;
    cluster.holds("SELECT count(*) FROM users", &["0"]).await;
}

/// On a server that takes both spellings for one table it is that table, once.
#[tokio::test]
async fn two_spellings_of_one_table_on_mariadb() {
    let start = || Server::dedicated(&[("lower-case-table-names", "1")]);
    let server = tokio::task::spawn_blocking(start).await.expect("MariaDB starts");
    let table = |name: &str| format!("CREATE TABLE {name} (id integer PRIMARY KEY, n integer)");
    let setup = |_| format!("{}; {}", table("users"), table("others"));
    let config = "[tables.users]\n[tables.others]\nnodes.b.table = \"Users\"";
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Sqlite], setup, config).await;
    let database = Database::on_mariadb(&server).await;
    database.user_as(As::Sync).await.execute(&table("Users")).await;
    cluster.replace(1, database).await;
    let why = cluster.try_install().await.expect_err("it is one table");
    assert!(why.contains("`users` and `others` are both the table `users` at node `b`"), "{why}");
    cluster.configure("[tables.users]\nnodes.b.table = \"Users\"");
    cluster.install().await;
    cluster.run(0, "INSERT INTO users VALUES (1, 1), (2, 1)").await;
    cluster.settle().await;
    cluster.run(1, "UPDATE USERS SET n = 2 WHERE id = 1; DELETE FROM Users WHERE id = 2").await;
    cluster.settle().await;
    cluster.holds("SELECT id, n FROM users", &["1|2"]).await;
}
