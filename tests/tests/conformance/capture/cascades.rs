//! References of MySQL and MariaDB that fire no triggers: what the triggers of the rows that are referred to do to users.

use concord_tests::Kind;

use super::Case;
use crate::sync_races::locks::somebody_waits;

concord_tests::conformance! {
    every: []
    standard: []
    sqlite: []
    postgres: []
    mariadb: [
        others_change_rows_while_a_cascade_waits, cascades_of_hostile_sessions, a_table_that_is_gone_keeps_nobody_from_deleting,
        numbers_that_are_used_up,
    ]
}

/// Whoever waits with a delete keeps nobody from numbering entries in the histories that it has written to.
async fn others_change_rows_while_a_cascade_waits(kind: Kind) {
    let setup = "CREATE TABLE a (id integer PRIMARY KEY);
                 CREATE TABLE b (id integer PRIMARY KEY, a integer REFERENCES a (id) ON DELETE CASCADE);
                 INSERT INTO a VALUES (1), (2), (3), (4); INSERT INTO b VALUES (11, 1), (31, 3)";
    let mut case = Case::new(kind, setup, &["a", "b"]).await;
    case.touched(&[("b", &["40"])]);
    case.change("START TRANSACTION; INSERT INTO b VALUES (40, 3)").await;
    let mut deleter = case.database.user().await;
    let deleting = tokio::spawn(async move { deleter.execute("DELETE FROM a WHERE id IN (1, 2, 3)").await });
    somebody_waits(&case.database).await;
    case.change("INSERT INTO b VALUES (41, 4); COMMIT").await;
    deleting.await.expect("the delete succeeds");
    case.captured(&[("a", &["1", "2", "3"]), ("b", &["11", "31", "41"])]).await;
}

/// Whatever the session says, every row below is entered, with the server's own time.
async fn cascades_of_hostile_sessions(kind: Kind) {
    let setup = "CREATE TABLE a (id integer PRIMARY KEY);
                 CREATE TABLE b (a integer, mood enum('sad', 'früh'), n integer, PRIMARY KEY (a, mood),
                                 FOREIGN KEY (a) REFERENCES a (id) ON UPDATE CASCADE ON DELETE CASCADE);
                 CREATE TABLE c (id integer PRIMARY KEY, a integer, mood enum('sad', 'früh'),
                                 FOREIGN KEY (a, mood) REFERENCES b (a, mood) ON UPDATE CASCADE ON DELETE CASCADE)";
    let mut case = Case::new(kind, setup, &["a", "b", "c"]).await;
    let mysql = case.user.is_mysql();
    for settings in [
        "timestamp = 86400, time_zone = '+13:00'",
        "sql_select_limit = 0",
        "sql_select_limit = 1, sql_safe_updates = 1",
        "sql_mode = 'ANSI,TRADITIONAL,NO_BACKSLASH_ESCAPES,HIGH_NOT_PRECEDENCE,IGNORE_SPACE'",
        // Such modes are MariaDB's alone.
        if mysql { "sql_mode = 'REAL_AS_FLOAT'" } else { "sql_mode = 'ORACLE,EMPTY_STRING_IS_NULL'" },
        "sql_mode = 'PAD_CHAR_TO_FULL_LENGTH', character_set_client = latin1, collation_connection = latin1_german2_ci",
        "TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "auto_increment_increment = 7, auto_increment_offset = 3, sql_auto_is_null = 1",
    ] {
        case.change(
            "INSERT INTO a VALUES (1); INSERT INTO b VALUES (1, 'sad', 0), (1, 'früh', 0);
             INSERT INTO c VALUES (1, 1, 'sad'), (2, 1, 'früh')",
        )
        .await;
        let all = ["1/sad", "1/früh"];
        case.captured(&[("a", &["1"]), ("b", &all), ("c", &["1", "2"])]).await;
        let mut user = case.database.user().await;
        user.execute(&format!("SET SESSION {settings}")).await;
        // MySQL 9.7 refuses that for a second row of b, with or without triggers.
        if mysql {
            user.execute("DELETE FROM a WHERE id = 1").await;
            case.captured(&[("a", &["1"]), ("b", &all), ("c", &["1", "2"])]).await;
            continue;
        }
        user.execute("UPDATE a SET id = 2 WHERE id = 1").await;
        case.captured(&[("a", &["1", "2"]), ("b", &["1/sad", "1/früh", "2/sad", "2/früh"]), ("c", &["1", "2"])]).await;
        user.execute("DELETE FROM a WHERE id = 2").await;
        case.captured(&[("a", &["2"]), ("b", &["2/sad", "2/früh"]), ("c", &["1", "2"])]).await;
    }
}

/// Nor does a column by which it referred. What is no longer recorded is told.
async fn a_table_that_is_gone_keeps_nobody_from_deleting(kind: Kind) {
    let setup = "CREATE TABLE a (id integer PRIMARY KEY);
                 CREATE TABLE b (id integer PRIMARY KEY, a integer, FOREIGN KEY (a) REFERENCES a (id) ON DELETE CASCADE ON UPDATE CASCADE);
                 CREATE TABLE c (id integer PRIMARY KEY, b integer, FOREIGN KEY (b) REFERENCES b (id) ON DELETE CASCADE);
                 INSERT INTO a VALUES (1), (2), (3), (4); INSERT INTO b VALUES (1, 1), (2, 2), (3, 3), (4, 4); INSERT INTO c VALUES (1, 1)";
    let mut case = Case::new(kind, setup, &["a", "b", "c"]).await;
    case.observer.execute("ALTER TABLE c RENAME COLUMN b TO up").await;
    case.change("DELETE FROM a WHERE id = 1").await;
    let opened = case.node.begin_read(&case.specs).await.expect("a snapshot");
    let [(2, drift)] = &opened.drifted[..] else { panic!("{:?}", opened.drifted) };
    assert!(drift.unrecorded, "{drift:?}");
    case.node.end_read().await.expect("the end of it");
    case.observer.execute("DROP TABLE c").await;
    case.change("DELETE FROM a WHERE id = 2; UPDATE a SET id = 5 WHERE id = 3").await;
    let entered = "SELECT GROUP_CONCAT(CONCAT(op, k1) ORDER BY id) FROM history_store_b";
    assert_eq!(case.observer.cell(entered).await, "D1,D2,U3");
    case.observer.execute("DROP TABLE b").await;
    case.change("DELETE FROM a WHERE id = 4; UPDATE a SET id = 6 WHERE id = 5").await;
    let entered = "SELECT GROUP_CONCAT(CONCAT(op, k1) ORDER BY id) FROM history_store_a";
    assert_eq!(case.observer.cell(entered).await, "D1,D2,D3,I5,D4,D5,I6");
}

/// Of a history that had given out its last number nobody could change a row any more.
async fn numbers_that_are_used_up(kind: Kind) {
    let setup = "CREATE TABLE a (id integer PRIMARY KEY, n integer);
                 CREATE TABLE b (id integer PRIMARY KEY, a integer REFERENCES a (id) ON DELETE CASCADE);
                 INSERT INTO a VALUES (1, 1), (2, 1); INSERT INTO b VALUES (1, 1), (2, 2)";
    // Changes of a table that nobody syncs reach the history of another.
    for (tables, statement) in
        [(&["a", "b"][..], "UPDATE a SET n = 2 WHERE id = 1"), (&["b"][..], "DELETE FROM a WHERE id = 1")]
    {
        let mut case = Case::new(kind, setup, tables).await;
        let mut user = case.database.user().await;
        for number in ["9223372036854775807", "4611686018427387904"] {
            user.execute(&format!("SET insert_id = {number}")).await;
            let why = user.try_execute(statement).await.expect_err("it is refused");
            assert!(why.contains("insert_id is too large"), "{why}");
        }
        case.captured(&[]).await;
        case.change("UPDATE b SET a = 2 WHERE id = 1; DELETE FROM a WHERE id = 2").await;
        match tables.len() {
            1 => case.captured(&[("b", &["1", "2"])]).await,
            _ => case.captured(&[("a", &["2"]), ("b", &["1", "2"])]).await,
        }
    }
}
