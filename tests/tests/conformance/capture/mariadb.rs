//! What only MySQL and MariaDB do: statements of their own, sessions that lie about the time, and references that fire no
//! triggers.

use concord_tests::mariadb::{Server, is_mysql};
use concord_tests::{As, Cluster, Database, Kind, Text, User};

use super::{Case, items, items_after, items_touched};

concord_tests::conformance! {
    every: []
    standard: []
    sqlite: []
    postgres: []
    mariadb: [
        on_duplicate_key, replace, replace_by_another_unique, insert_ignore, update_ignore, multi_table_statements,
        load_data, text_keys, keys_that_are_taken_for_equal, key_that_changes_its_case, hostile_session, the_marker_cannot_be_forged,
        a_history_of_an_older_install,
        cascades_into_keys, a_key_that_changes_by_two_references, a_row_that_goes_by_one_reference_and_changes_by_another,
        cascades_through_tables_that_nobody_syncs, a_tree_of_many_levels, set_null_far_below,
        references_unchecked, partitions, what_cannot_be_captured, odd_names_of_mysql, native_keys, generated_columns,
        no_rights_on_service_tables, a_transaction_that_commits_late, a_purge_beside_an_open_transaction, a_child_that_the_snapshot_does_not_show, rows_that_go_without_a_trace, a_binary_log,
        rights_that_come_by_a_role,
    ]
}

async fn on_duplicate_key(kind: Kind) {
    let sql = "INSERT INTO items VALUES (2, 'zwei', 21), (6, 'six', 60), (77, 'three', 31)
               ON DUPLICATE KEY UPDATE amount = VALUES(amount)";
    items_after(kind, sql, &["2", "6", "3"]).await;
}

async fn replace(kind: Kind) {
    items_after(kind, "REPLACE INTO items VALUES (2, 'zwei', 21), (6, 'six', 60)", &["2", "6"]).await;
}

/// The row that goes is not the one whose key was given; one of these takes two others with it.
async fn replace_by_another_unique(kind: Kind) {
    items_after(kind, "REPLACE INTO items VALUES (9, 'one', 0), (2, 'three', 0)", &["1", "9", "2", "3"]).await;
}

async fn insert_ignore(kind: Kind) {
    items_after(kind, "INSERT IGNORE INTO items VALUES (2, 'zwei', 21), (9, 'one', 1), (10, 'ten', 1)", &["10"]).await;
}

async fn update_ignore(kind: Kind) {
    items_touched(
        kind,
        "UPDATE IGNORE items SET name = 'one' WHERE id > 3; UPDATE IGNORE items SET id = id + 1 WHERE id IN (2, 5)",
        &["5", "6"],
        &["2", "3", "4"],
    )
    .await;
}

async fn multi_table_statements(kind: Kind) {
    let setup =
        "CREATE TABLE a (id integer PRIMARY KEY, n integer); CREATE TABLE b (id integer PRIMARY KEY, n integer);
                 INSERT INTO a VALUES (1, 1), (2, 2), (3, 3); INSERT INTO b VALUES (1, 1), (2, 2), (3, 3)";
    let mut case = Case::new(kind, setup, &["a", "b"]).await;
    case.change("UPDATE a JOIN b ON a.id = b.id SET a.n = 10, b.n = 20 WHERE a.id < 3").await;
    case.captured(&[("a", &["1", "2"]), ("b", &["1", "2"])]).await;
    case.change("DELETE a, b FROM a JOIN b ON a.id = b.id WHERE a.id > 1").await;
    case.captured(&[("a", &["2", "3"]), ("b", &["2", "3"])]).await;
}

async fn load_data(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    let mut admin = case.database.user_as(As::Admin).await;
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "2\tzwei\t0\n8\tacht\t0\n").expect("the file is ours");
    std::fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .expect("the file is ours");
    admin.execute(&format!("LOAD DATA INFILE '{}' REPLACE INTO TABLE items", file.path().display())).await;
    case.captured(&[("items", &["2", "8"])]).await;
}

async fn text_keys(kind: Kind) {
    let setup = "CREATE TABLE words (word varchar(99) NOT NULL PRIMARY KEY, count integer);
                 INSERT INTO words VALUES ('a', 1), ('A', 1), ('a ', 1), ('', 1), ('ä', 1), ('O''Brien', 1), ('null', 1), ('x\\y', 1)";
    let mut case = Case::new(kind, setup, &["words"]).await;
    case.change("UPDATE words SET count = 2").await;
    case.captured(&[("words", &["a", "A", "a ", "", "ä", "O'Brien", "null", "x\\y"])]).await;
    case.change("UPDATE words SET word = 'B' WHERE word = 'a'; DELETE FROM words WHERE word = ''").await;
    case.captured(&[("words", &["a", "B", ""])]).await;
    case.change("INSERT INTO words VALUES ('\u{1F600}\t\n\"', 1)").await;
    case.captured(&[("words", &["\u{1F600}\t\n\""])]).await;
}

/// For the database it is the same key; elsewhere each is another.
async fn keys_that_are_taken_for_equal(kind: Kind) {
    let unpadded = if is_mysql().await { "utf8mb4_0900_ai_ci" } else { "utf8mb4_unicode_nopad_ci" };
    for ty in [
        "varchar(20) COLLATE utf8mb4_general_ci",
        &format!("varchar(20) COLLATE {unpadded}"),
        "char(20) CHARACTER SET latin1 COLLATE latin1_german2_ci",
    ] {
        let setup = format!(
            "CREATE TABLE words (word {ty} PRIMARY KEY, n integer); INSERT INTO words VALUES ('a', 1), ('b', 1)"
        );
        let mut case = Case::new(kind, &setup, &["words"]).await;
        case.change("UPDATE words SET n = 2 WHERE word = 'A'").await;
        case.captured(&[("words", &["a"])]).await;
        case.change("UPDATE words SET word = 'A' WHERE word = 'a'").await;
        case.captured(&[("words", &["a", "A"])]).await;
        case.change("INSERT INTO words VALUES ('á', 3) ON DUPLICATE KEY UPDATE n = 3").await;
        case.captured(&[("words", &["A"])]).await;
        case.change("REPLACE INTO words VALUES ('Á', 4)").await;
        case.captured(&[("words", &["A", "Á"])]).await;
        case.change("DELETE FROM words WHERE word = 'B'").await;
        case.captured(&[("words", &["b"])]).await;
    }
}

/// For the database it is the same key; elsewhere it is another.
async fn key_that_changes_its_case(kind: Kind) {
    let setup = "CREATE TABLE words (word varchar(20) COLLATE utf8mb4_bin PRIMARY KEY, n integer);
                 INSERT INTO words VALUES ('a', 1), ('b ', 1)";
    let mut case = Case::new(kind, setup, &["words"]).await;
    case.change("UPDATE words SET word = 'a ' WHERE word = 'a'; UPDATE words SET n = 2 WHERE word = 'b'").await;
    case.captured(&[("words", &["a", "a ", "b "])]).await;
}

/// Whatever the session says, the time is the server's and every row is entered.
async fn hostile_session(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    let mysql = case.user.is_mysql();
    for (id, settings) in [
        "timestamp = 86400, time_zone = '+13:00'",
        "sql_mode = 'ANSI,TRADITIONAL,NO_BACKSLASH_ESCAPES,HIGH_NOT_PRECEDENCE,NO_UNSIGNED_SUBTRACTION,IGNORE_SPACE'",
        "sql_mode = '', character_set_client = latin1, collation_connection = latin1_german2_ci",
        // Such modes are MariaDB's alone.
        if mysql { "sql_mode = 'REAL_AS_FLOAT'" } else { "sql_mode = 'ORACLE'" },
        "sql_safe_updates = 1, sql_select_limit = 1, insert_id = 2",
        "TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "foreign_key_checks = 0, unique_checks = 0, div_precision_increment = 0",
        "auto_increment_increment = 7, auto_increment_offset = 3, sql_auto_is_null = 1",
    ]
    .into_iter()
    .enumerate()
    {
        let mut user = case.database.user().await;
        user.execute(&format!("SET SESSION {settings}")).await;
        user.execute(&format!("INSERT INTO items VALUES ({}, 'by {id}', 1)", 100 + id)).await;
        user.execute("UPDATE items SET amount = amount + 1 WHERE id = 1").await;
        let key = (100 + id).to_string();
        case.captured(&[("items", &["1", &key])]).await;
    }
}

/// The application sets what Concord's session does, without what only the triggers tell.
async fn the_marker_cannot_be_forged(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    let triggers = "SELECT action_statement FROM information_schema.triggers WHERE trigger_schema = database()";
    let bodies: Vec<String> = case.observer.rows(triggers).await.into_iter().flatten().flatten().collect();
    let own = bodies[0].split_once("IF @").and_then(|(_, rest)| rest.split(' ').next()).expect("a variable");
    for (id, value) in (1..).zip(["1", "5.5", "'x'", "TRUE", "0"]) {
        let id = id % 3 + 1;
        let forged = format!(
            "SET @{own} = {value}, @concord_applying = {value}; UPDATE items SET amount = amount + 1 WHERE id = {id}"
        );
        case.change(&forged).await;
        case.captured(&[("items", &[&id.to_string()])]).await;
    }
}

/// Where NULL stands in place of the marks that entries do not have yet; some have what stands there now.
async fn a_history_of_an_older_install(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    let older = "ALTER TABLE history_store_items ALTER COLUMN mark SET DEFAULT NULL";
    case.change("UPDATE items SET amount = 0 WHERE id = 1").await;
    case.observer.execute(older).await;
    case.change("UPDATE items SET amount = 0 WHERE id = 2").await;
    case.captured(&[("items", &["1", "2"])]).await;
}

/// A reference is part of the key, so that the row becomes another when what it refers to does.
async fn cascades_into_keys(kind: Kind) {
    let setup = "CREATE TABLE a (id integer PRIMARY KEY);
                 CREATE TABLE b (a integer, n integer, PRIMARY KEY (a, n), FOREIGN KEY (a) REFERENCES a (id) ON UPDATE CASCADE ON DELETE CASCADE);
                 CREATE TABLE c (a integer, n integer, m integer PRIMARY KEY,
                                 FOREIGN KEY (a, n) REFERENCES b (a, n) ON UPDATE CASCADE ON DELETE SET NULL);
                 INSERT INTO a VALUES (1), (2); INSERT INTO b VALUES (1, 1), (2, 1); INSERT INTO c VALUES (1, 1, 7), (2, 1, 8)";
    let mut case = Case::new(kind, setup, &["a", "b", "c"]).await;
    // MySQL 9.7 refuses that for a second row of b, with or without triggers.
    if !case.user.is_mysql() {
        case.change("INSERT INTO b VALUES (1, 2)").await;
        case.captured(&[("b", &["1/2"])]).await;
        case.change("UPDATE a SET id = 4 WHERE id = 1").await;
        case.captured(&[("a", &["1", "4"]), ("b", &["1/1", "1/2", "4/1", "4/2"]), ("c", &["7"])]).await;
        case.touched(&[("b", &["1/2"])]);
        case.change("UPDATE a SET id = 1 WHERE id = 4; DELETE FROM b WHERE n = 2").await;
        case.captured(&[("a", &["1", "4"]), ("b", &["1/1", "4/1", "4/2"]), ("c", &["7"])]).await;
    }
    case.change("UPDATE a SET id = 5 WHERE id = 1").await;
    case.captured(&[("a", &["1", "5"]), ("b", &["1/1", "5/1"]), ("c", &["7"])]).await;
    case.change("DELETE FROM a WHERE id = 5").await;
    case.captured(&[("a", &["5"]), ("b", &["5/1"]), ("c", &["7"])]).await;
}

/// Two columns of the key refer to two of one row: the row becomes the one that both make of it.
async fn a_key_that_changes_by_two_references(kind: Kind) {
    let setup = "CREATE TABLE users (id integer PRIMARY KEY, number integer NOT NULL UNIQUE);
                 CREATE TABLE edges (a integer, b integer, PRIMARY KEY (a, b),
                                     CONSTRAINT e1 FOREIGN KEY (a) REFERENCES users (id) ON UPDATE CASCADE,
                                     CONSTRAINT e2 FOREIGN KEY (b) REFERENCES users (number) ON UPDATE CASCADE);
                 INSERT INTO users VALUES (1, 1), (2, 2);
                 INSERT INTO edges VALUES (1, 1), (1, 2), (2, 1), (2, 2)";
    let mut case = Case::new(kind, setup, &["users", "edges"]).await;
    case.change("UPDATE users SET number = 8 WHERE id = 1").await;
    case.captured(&[("users", &["1"]), ("edges", &["1/1", "1/8", "2/1", "2/8"])]).await;
    case.change("UPDATE users SET number = 1 WHERE id = 1").await;
    case.captured(&[("users", &["1"]), ("edges", &["1/1", "1/8", "2/1", "2/8"])]).await;
    if !case.user.is_mysql() {
        case.change("UPDATE users SET id = 9, number = 8 WHERE id = 1").await;
        case.captured(&[("users", &["1", "9"]), ("edges", &["1/1", "1/2", "2/1", "9/8", "9/2", "2/8"])]).await;
    }
}

/// What is recorded last of a row that goes is that it changed, which is no reason to think that it went unrecorded.
async fn a_row_that_goes_by_one_reference_and_changes_by_another(kind: Kind) {
    let setup = "CREATE TABLE users (id integer PRIMARY KEY);
                 CREATE TABLE posts (id integer PRIMARY KEY, created_by integer, updated_by integer,
                                     CONSTRAINT p1 FOREIGN KEY (created_by) REFERENCES users (id) ON DELETE CASCADE,
                                     CONSTRAINT p2 FOREIGN KEY (updated_by) REFERENCES users (id) ON DELETE SET NULL);
                 INSERT INTO users VALUES (1), (2); INSERT INTO posts VALUES (1, 1, 1)";
    let mut case = Case::new(kind, setup, &["users", "posts"]).await;
    case.change("DELETE FROM users WHERE id = 1").await;
    case.captured(&[("users", &["1"]), ("posts", &["1"])]).await;
    // Such a row whose last recorded change is an update, and which then goes without a trace, is missed.
    case.change("INSERT INTO posts VALUES (2, 2, NULL)").await;
    case.captured(&[("posts", &["2"])]).await;
    case.change("UPDATE posts SET updated_by = 2").await;
    case.captured(&[("posts", &["2"])]).await;
    case.observer.execute("TRUNCATE posts").await;
    let opened = case.node.begin_read(&case.specs).await.expect("a snapshot");
    let [(1, drift)] = &opened.drifted[..] else { panic!("{:?}", opened.drifted) };
    assert!(drift.unrecorded && drift.what.contains("rows are gone"), "{drift:?}");
}

async fn cascades_through_tables_that_nobody_syncs(kind: Kind) {
    let setup = "CREATE TABLE a (id integer PRIMARY KEY);
                 CREATE TABLE b (id integer PRIMARY KEY, a integer REFERENCES a (id) ON DELETE CASCADE);
                 CREATE TABLE c (id integer PRIMARY KEY, b integer REFERENCES b (id) ON DELETE CASCADE);
                 INSERT INTO a VALUES (1), (2); INSERT INTO b VALUES (1, 1), (2, 2); INSERT INTO c VALUES (1, 1), (2, 1), (3, 2)";
    let mut case = Case::new(kind, setup, &["c"]).await;
    case.change("DELETE FROM a WHERE id = 1").await;
    case.captured(&[("c", &["1", "2"])]).await;
    // Where MySQL checks references above InnoDB, what they do by themselves is left out when a row is replaced by one of its key.
    let kept =
        case.user.is_mysql() && case.user.rows("SHOW VARIABLES LIKE 'innodb_native_foreign_keys'").await == off();
    case.change("REPLACE INTO a VALUES (2)").await;
    match kept {
        true => {
            case.touched(&[("c", &["3"])]);
            case.captured(&[]).await;
        }
        false => case.captured(&[("c", &["3"])]).await,
    }
}

/// The answer about a setting of MySQL's that is off.
fn off() -> [[Text; 2]; 1] {
    [["innodb_native_foreign_keys", "OFF"].map(|cell| Some(cell.to_owned()))]
}

async fn a_tree_of_many_levels(kind: Kind) {
    let rows: Vec<String> = (2..=14).map(|id| format!("({id}, {})", id - 1)).collect();
    let setup = format!(
        "CREATE TABLE tree (id integer PRIMARY KEY, up integer REFERENCES tree (id) ON DELETE CASCADE);
         INSERT INTO tree VALUES (1, NULL), {}, (99, NULL)",
        rows.join(", ")
    );
    let mut case = Case::new(kind, &setup, &["tree"]).await;
    case.change("DELETE FROM tree WHERE id = 1").await;
    let keys: Vec<String> = (1..=14).map(|id| id.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    case.captured(&[("tree", &keys)]).await;
}

async fn set_null_far_below(kind: Kind) {
    let setup = "CREATE TABLE a (id integer PRIMARY KEY);
                 CREATE TABLE b (id integer PRIMARY KEY, a integer REFERENCES a (id) ON DELETE CASCADE);
                 CREATE TABLE c (id integer PRIMARY KEY, b integer REFERENCES b (id) ON DELETE SET NULL);
                 INSERT INTO a VALUES (1); INSERT INTO b VALUES (1, 1); INSERT INTO c VALUES (1, 1), (2, NULL)";
    let mut case = Case::new(kind, setup, &["a", "b", "c"]).await;
    case.change("DELETE FROM a").await;
    case.captured(&[("a", &["1"]), ("b", &["1"]), ("c", &["1"])]).await;
}

/// Whoever switches references off deletes a row alone. That another had gone with it would pass for its delete, or for a later change.
async fn references_unchecked(kind: Kind) {
    let setup = "CREATE TABLE a (id integer PRIMARY KEY);
                 CREATE TABLE b (id integer PRIMARY KEY, a integer REFERENCES a (id) ON DELETE CASCADE);
                 INSERT INTO a VALUES (1); INSERT INTO b VALUES (1, 1)";
    let mut case = Case::new(kind, setup, &["a", "b"]).await;
    case.change("SET foreign_key_checks = 0; DELETE FROM a").await;
    case.captured(&[("a", &["1"])]).await;
    case.touched(&[("a", &["1"])]);
    case.change("INSERT INTO a VALUES (1); REPLACE INTO a VALUES (1); SET foreign_key_checks = 1; DELETE FROM a").await;
    case.captured(&[("b", &["1"])]).await;
}

async fn partitions(kind: Kind) {
    let setup = "CREATE TABLE sales (id integer, region integer, n integer, PRIMARY KEY (id, region))
                 PARTITION BY RANGE (region) (PARTITION low VALUES LESS THAN (10), PARTITION high VALUES LESS THAN (100));
                 INSERT INTO sales VALUES (1, 1, 0), (2, 1, 0), (3, 50, 0)";
    let mut case = Case::new(kind, setup, &["sales"]).await;
    case.change("UPDATE sales SET region = 60 WHERE id = 1; DELETE FROM sales PARTITION (high) WHERE id = 3").await;
    case.captured(&[("sales", &["1/1", "1/60", "3/50"])]).await;
}

/// By `install`, with the reason and a remedy, and nothing is made.
async fn what_cannot_be_captured(kind: Kind) {
    let (engine, versions) = ("ALTER TABLE `t` ENGINE = InnoDB", "ALTER TABLE `t` DROP SYSTEM VERSIONING");
    let (no_key, key) = ("t has no key by which its rows can be told apart", "ALTER TABLE `t` ADD PRIMARY KEY (...)");
    let of_mariadb = [
        ("CREATE TABLE t (id integer PRIMARY KEY) ENGINE = Aria", "t", "t is kept by Aria, which knows", engine),
        ("CREATE TABLE t (id integer PRIMARY KEY) WITH SYSTEM VERSIONING", "t", "t keeps its own former", versions),
        ("CREATE SEQUENCE s", "s", "s is a sequence and no table", "take it out of the configuration"),
    ];
    let of_mysql =
        [("CREATE TABLE t (id integer PRIMARY KEY) ENGINE = Memory", "t", "t is kept by MEMORY, which knows", engine)];
    let own = if is_mysql().await { &of_mysql[..] } else { &of_mariadb };
    let both = [
        ("CREATE TABLE t (id integer PRIMARY KEY) ENGINE = MyISAM", "t", "t is kept by MyISAM, which knows", engine),
        ("CREATE TABLE t (id integer)", "t", no_key, key),
        ("CREATE TABLE t (id integer UNIQUE)", "t", no_key, key),
        ("CREATE TABLE t (name varchar(99), PRIMARY KEY (name(3)))", "t", no_key, key),
        (
            "CREATE TABLE t (id integer PRIMARY KEY); CREATE VIEW v AS SELECT * FROM t",
            "v",
            "v is a view",
            "sync the tables it is made of",
        ),
    ];
    for &(setup, table, reason, remedy) in both.iter().chain(own) {
        let made = |here: Kind| match here {
            Kind::Sqlite => format!("CREATE TABLE {table} (id integer PRIMARY KEY)"),
            Kind::Postgres | Kind::Mariadb => setup.to_owned(),
        };
        let cluster = Cluster::bare(&[Kind::Sqlite, kind], made, &format!("[tables.{table}]")).await;
        let refused = cluster.try_install().await.expect_err(setup);
        let told = format!("`{table}` at b cannot be synced: {reason}");
        assert!(refused.contains(&told) && refused.contains(remedy), "{setup}: {refused}");
        let tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = database()";
        let mut owner = cluster.nodes[1].database.user_as(As::Sync).await;
        let made = "AND (table_name LIKE 'concord%' OR table_name LIKE 'history_store%')";
        assert_eq!(owner.cell(&format!("{tables} {made}")).await, "0", "{setup}");
        let triggers = "SELECT count(*) FROM information_schema.triggers WHERE trigger_schema = database()";
        assert_eq!(owner.cell(triggers).await, "0", "{setup}");
        let mut file = cluster.nodes[0].database.user_as(As::Sync).await;
        let made = "name LIKE 'concord%' OR name LIKE 'history_store%'";
        assert_eq!(file.cell(&format!("SELECT count(*) FROM sqlite_schema WHERE {made}")).await, "0", "{setup}");
    }
}

async fn odd_names_of_mysql(kind: Kind) {
    let setup = "CREATE TABLE `Order \"x\"` (`select` integer, id integer, op integer, `mark` integer, `é time'` text,
                                             `concord_at` integer, PRIMARY KEY (`select`, id, op, `mark`));
                 INSERT INTO `Order \"x\"` VALUES (1, 1, 1, 1, 'a', 1), (2, 2, 2, 2, 'b', 1)";
    let mut case = Case::new(kind, setup, &["Order \"x\""]).await;
    case.change("UPDATE `Order \"x\"` SET `é time'` = 'c' WHERE op = 2").await;
    case.captured(&[("Order \"x\"", &["2/2/2/2"])]).await;
    case.change("UPDATE `Order \"x\"` SET `mark` = 5 WHERE id = 1").await;
    case.captured(&[("Order \"x\"", &["1/1/1/1", "1/1/1/5"])]).await;
}

async fn native_keys(kind: Kind) {
    if is_mysql().await {
        let setup = "CREATE TABLE e (mood enum('sad', 'glad'), n integer, PRIMARY KEY (mood)); INSERT INTO e VALUES ('sad', 1), ('glad', 1)";
        let mut case = Case::new(kind, setup, &["e"]).await;
        case.change("UPDATE e SET n = 2 WHERE mood = 'glad'").await;
        return case.captured(&[("e", &["glad"])]).await;
    }
    let setup = "CREATE TABLE e (mood enum('sad', 'glad'), id uuid, n integer, PRIMARY KEY (mood, id));
                 INSERT INTO e VALUES ('sad', '0e37df36-f698-11e6-8dd4-cb9ced3df976', 1), ('glad', '0e37df36-f698-11e6-8dd4-cb9ced3df976', 1)";
    let mut case = Case::new(kind, setup, &["e"]).await;
    case.change("UPDATE e SET n = 2 WHERE mood = 'glad'").await;
    case.captured(&[("e", &["glad/0e37df36-f698-11e6-8dd4-cb9ced3df976"])]).await;
}

async fn generated_columns(kind: Kind) {
    let setup = "CREATE TABLE g (id integer PRIMARY KEY, n integer, twice integer AS (n * 2) STORED, thrice integer AS (n * 3) VIRTUAL);
                 INSERT INTO g (id, n) VALUES (1, 1)";
    let mut case = Case::new(kind, setup, &["g"]).await;
    case.change("UPDATE g SET n = 4").await;
    case.captured(&[("g", &["1"])]).await;
    assert_eq!(case.specs[0].columns.len(), 2);
}

/// A user needs no more than the rights that he has on the table.
async fn no_rights_on_service_tables(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    let mut admin = case.database.user_as(As::Admin).await;
    let name = admin.cell("SELECT database()").await;
    let account = format!("{name}@'%'");
    let right = "SELECT, INSERT, UPDATE, DELETE";
    admin
        .execute(&format!("CREATE USER {account} IDENTIFIED BY 'x'; GRANT {right} ON {name}.items TO {account}"))
        .await;
    let url = case.database.url();
    let (_, place) = url.rsplit_once('@').expect("a URL with a password");
    case.user = User::mariadb(&format!("mariadb://{name}:x@{place}")).await.expect("a connection");
    assert!(case.user.try_execute("SELECT * FROM history_store_items").await.is_err());
    // What Concord's session shows the triggers is known to nobody else.
    let triggers = "SELECT action_statement FROM information_schema.triggers WHERE trigger_schema = database()";
    let bodies = |rows: Vec<Vec<Text>>| rows.into_iter().flatten().flatten().count();
    let seen = (bodies(case.user.rows(triggers).await), bodies(case.observer.rows(triggers).await));
    assert_eq!(seen, (0, 3));
    assert!(case.user.try_execute("SELECT * FROM concord_own").await.is_err());
    case.change("INSERT INTO items VALUES (6, 'six', 6); UPDATE items SET amount = 0 WHERE id = 1; DELETE FROM items WHERE id = 2").await;
    case.captured(&[("items", &["1", "2", "6"])]).await;
    admin.execute(&format!("DROP USER {account}")).await;
}

/// It got its numbers before another that was read long ago.
async fn a_transaction_that_commits_late(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    let mut late = case.database.user().await;
    late.execute("START TRANSACTION; UPDATE items SET amount = 0 WHERE id = 1").await;
    case.change("UPDATE items SET amount = 0 WHERE id = 2").await;
    case.captured(&[("items", &["2"])]).await;
    late.execute("UPDATE items SET amount = 0 WHERE id = 3").await;
    case.captured(&[]).await;
    late.execute("COMMIT").await;
    case.captured(&[("items", &["1", "3"])]).await;
}

/// What goes is found without a look at entries that are not committed, which are locked.
async fn a_purge_beside_an_open_transaction(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    case.change("UPDATE items SET amount = 0 WHERE id = 1").await;
    case.node.begin_read(&case.specs).await.expect("a snapshot");
    let page = case.node.entries(&case.specs[0], &case.from[0], None, 10).await.expect("entries");
    case.node.end_read().await.expect("the end of it");
    let mut late = case.database.user().await;
    late.execute("START TRANSACTION; UPDATE items SET amount = 0 WHERE id = 2").await;
    let gone = case.node.purge(&case.specs[0], &page.whole, true, &[]).await.expect("a purge that waits for nobody");
    assert_eq!(gone, 1);
    case.start().await;
    late.execute("COMMIT").await;
    case.captured(&[("items", &["2"])]).await;
}

/// A row came under its parent after the transaction that deletes the parent took its snapshot: it goes with it.
async fn a_child_that_the_snapshot_does_not_show(kind: Kind) {
    let setup = "CREATE TABLE a (id integer PRIMARY KEY);
                 CREATE TABLE b (id integer PRIMARY KEY, a integer REFERENCES a (id) ON DELETE CASCADE);
                 CREATE TABLE c (id integer PRIMARY KEY, b integer REFERENCES b (id) ON DELETE CASCADE);
                 INSERT INTO a VALUES (1)";
    let mut case = Case::new(kind, setup, &["a", "b", "c"]).await;
    case.change("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION WITH CONSISTENT SNAPSHOT")
        .await;
    let mut other = case.database.user().await;
    other.execute("INSERT INTO b VALUES (1, 1); INSERT INTO c VALUES (1, 1)").await;
    case.start().await;
    case.change("DELETE FROM a; COMMIT").await;
    case.captured(&[("a", &["1"]), ("b", &["1"]), ("c", &["1"])]).await;
}

/// Whoever is no administrator may create no trigger, and is told what to do; statements in the log are refused.
async fn a_binary_log(_: Kind) {
    let settings = [("log-bin", "log"), ("server-id", "1"), ("binlog-format", "ROW")];
    let server = tokio::task::spawn_blocking(move || Server::dedicated(&settings)).await.expect("MariaDB starts");
    let database = Database::on_mariadb(&server).await;
    database.user_as(As::Sync).await.execute("CREATE TABLE items (id integer PRIMARY KEY)").await;
    let mut node = database.node().await;
    let spec = concord_tests::spec(&mut *node, "items", 0).await;
    let nodes = ["here", "there"].map(str::to_owned).to_vec();
    let sync = concord::node::Sync { name: "test".into(), nodes, node: "here".into() };
    let lacking = node.missing_rights(std::slice::from_ref(&spec)).await.expect("a look");
    let [right] = &lacking[..] else { panic!("{lacking:?}") };
    assert_eq!(right.grant, "SET GLOBAL log_bin_trust_function_creators = 1;");
    assert!(right.what.contains("binary log"), "{right:?}");
    let why =
        node.install(&sync, std::slice::from_ref(&spec)).await.expect_err("triggers may not be created").to_string();
    assert!(why.contains("log_bin_trust_function_creators = 1") && why.contains("`concord install`"), "{why}");
    let mut admin = database.user_as(As::Admin).await;
    admin.execute("SET GLOBAL log_bin_trust_function_creators = 1").await;
    assert_eq!(node.missing_rights(std::slice::from_ref(&spec)).await.expect("a look"), []);
    node.install(&sync, std::slice::from_ref(&spec)).await.expect("the install is taken up again");
    // What is there already needs no creating.
    admin.execute("SET GLOBAL log_bin_trust_function_creators = 0").await;
    assert_eq!(node.missing_rights(&[spec]).await.expect("a look"), []);
    assert_eq!(node.probe().await.expect("an answer").refusals, [] as [String; 0]);
    admin.execute("SET GLOBAL binlog_format = STATEMENT").await;
    let refusals = database.node().await.probe().await.expect("an answer").refusals;
    assert!(refusals.iter().any(|why| why.contains("binlog_format = ROW")), "{refusals:?}");
}

/// What takes rows away without a trigger stops the table until a person has looked, and nothing else does.
async fn rows_that_go_without_a_trace(kind: Kind) {
    let setup = "CREATE TABLE items (id integer PRIMARY KEY, n integer); INSERT INTO items VALUES (1, 1), (2, 2);
                 CREATE TABLE parts (id integer PRIMARY KEY) PARTITION BY RANGE (id)
                     (PARTITION low VALUES LESS THAN (10), PARTITION high VALUES LESS THAN (100));
                 INSERT INTO parts VALUES (1), (50)";
    let mut case = Case::new(kind, setup, &["items", "parts"]).await;
    // Rows that go in ordinary ways are no reason, whoever takes them.
    case.change("DELETE FROM items WHERE id = 1").await;
    case.captured(&[("items", &["1"])]).await;
    let spec = case.specs[0].clone();
    let key: concord::model::Key = vec![concord::model::Value::Int(2)].into();
    case.node.begin_apply(&case.specs).await.expect("a transaction");
    case.node.delete(&[(&spec, &[&key])]).await.expect("a delete");
    case.node.commit().await.expect("a commit");
    case.start().await;
    case.change("INSERT INTO items VALUES (3, 3), (4, 4)").await;
    case.captured(&[("items", &["3", "4"])]).await;
    for (statement, table, why) in [
        ("TRUNCATE items", 0, "rows are gone"),
        ("ALTER TABLE parts DROP PARTITION low", 1, "partition low is missing"),
    ] {
        case.observer.execute(statement).await;
        let opened = case.node.begin_read(&case.specs).await.expect("a snapshot");
        case.node.end_read().await.expect("the end");
        let [(index, drift)] = &opened.drifted[..] else { panic!("{statement}: {:?}", opened.drifted) };
        assert!(*index == table && drift.unrecorded && drift.what.contains(why), "{statement}: {drift:?}");
        let nodes = ["here", "there"].map(str::to_owned).to_vec();
        let sync = concord::node::Sync { name: "test".into(), nodes, node: "here".into() };
        let done = case.node.install(&sync, &case.specs).await.expect("an install");
        assert!(!done.is_empty(), "{statement}: the install takes note");
        case.start().await;
    }
}

/// Triggers of MariaDB have none of the rights of a role: what they need is asked for beforehand, and no more.
async fn rights_that_come_by_a_role(kind: Kind) {
    let database = Database::new(kind).await;
    let mut owner = database.user_as(As::Sync).await;
    if owner.is_mysql() {
        return;
    }
    owner
        .execute(
            "CREATE TABLE parents (id integer PRIMARY KEY); CREATE TABLE others (id integer PRIMARY KEY);
             CREATE TABLE items (id integer PRIMARY KEY, parent integer REFERENCES parents (id) ON DELETE CASCADE);
             INSERT INTO parents VALUES (1), (2)",
        )
        .await;
    let mut admin = database.user_as(As::Admin).await;
    let name = admin.cell("SELECT database()").await;
    // Whoever may read the rights of everybody sees those of the role, and of others, among his own.
    let made = format!(
        "CREATE ROLE {name}_role; GRANT ALL ON {name}.* TO {name}_role; GRANT SELECT ON mysql.* TO {name}_role;
         CREATE USER {name}@'%' IDENTIFIED BY 'x'; GRANT {name}_role TO {name}@'%'; SET DEFAULT ROLE {name}_role FOR {name}@'%'"
    );
    admin.execute(&made).await;
    let url = database.url();
    let (_, place) = url.rsplit_once('@').expect("a URL with a password");
    let target = concord::node::Target::new(format!("mariadb://{name}:x@{place}"));
    let mut node = concord::node::connect(&target).await.expect("a connection");
    let specs = [concord_tests::spec(&mut *node, "items", 0).await, concord_tests::spec(&mut *node, "others", 1).await];
    let lacking = node.missing_rights(&specs).await.expect("a look");
    let grants: Vec<&str> = lacking.iter().map(|right| &*right.grant).collect();
    let on_tables = ["items", "others", "parents"].into_iter().flat_map(|table| {
        ["SELECT", "TRIGGER"].map(|right| format!("GRANT {right} ON `{name}`.`{table}` TO '{name}'@'%';"))
    });
    let expected: Vec<String> =
        std::iter::once(format!("GRANT INSERT ON `{name}`.* TO '{name}'@'%';")).chain(on_tables).collect();
    assert_eq!(grants, expected);
    assert!(lacking.iter().all(|right| right.what.contains(" by itself, since MariaDB's triggers")), "{lacking:?}");
    admin.execute(&grants.concat()).await;
    assert_eq!(node.missing_rights(&specs).await.expect("a look"), []);
    let nodes = ["here", "there"].map(str::to_owned).to_vec();
    let sync = concord::node::Sync { name: "test".into(), nodes, node: "here".into() };
    node.install(&sync, &specs).await.expect("the role may do the rest");
    let mut user = database.user().await;
    user.execute(
        "INSERT INTO items VALUES (1, 1), (2, 2); UPDATE items SET id = 3 WHERE id = 2; DELETE FROM items WHERE id = 3;
         DELETE FROM parents; INSERT INTO others VALUES (1)",
    )
    .await;
    assert_eq!(admin.cell("SELECT group_concat(op ORDER BY id) FROM history_store_items").await, "I,I,D,I,D,D");
    admin.execute(&format!("DROP USER {name}@'%'; DROP ROLE {name}_role")).await;
}
