//! Names of what `load --create` makes: words of SQL, those that are too long, those of schemas, those that are taken.

use concord_tests::Kind;

use super::creating::scene;
use super::scene_of;

/// Other names, and columns that do not live there.
#[tokio::test]
async fn names_are_those_of_the_node() {
    let tables = "[tables.customers]\n[tables.customers.nodes.b]\ntable = \"Kunden\"\ncolumns = { name = \"Vollname\" }\n\
                  omit = [\"raw\"]\n";
    let (concord, _databases, mut owners) = scene([Kind::Sqlite, Kind::Postgres], tables).await;
    concord.run(&["load", "--create"]).await.ok();
    let names = owners[1].rows("SELECT \"Vollname\" FROM \"Kunden\" ORDER BY id").await;
    assert_eq!(names, [[Some("Ann".to_owned())], [Some("Bob".to_owned())]]);
    assert!(owners[1].try_rows("SELECT raw FROM \"Kunden\"").await.is_err());
}

/// GIVEN tables, columns and indexes whose names are words of SQL
/// WHEN they are made elsewhere, changed at both ends, also by a cascade, and compared
/// THEN they are names like others.
async fn words_of_sql<const N: usize>(kinds: [Kind; N]) {
    let filled = "
        CREATE TABLE \"order\" (\"key\" integer PRIMARY KEY, \"select\" varchar(20) UNIQUE, \"group\" integer);
        CREATE INDEX \"where\" ON \"order\" (\"group\");
        CREATE TABLE \"select\" (\"table\" integer, \"desc\" integer, \"from\" integer NOT NULL, \"values\" varchar(20),
            PRIMARY KEY (\"table\", \"desc\"), FOREIGN KEY (\"from\") REFERENCES \"order\" (\"key\") ON DELETE CASCADE);
        INSERT INTO \"order\" VALUES (1, 'one', 10), (2, 'two', NULL);
        INSERT INTO \"select\" VALUES (1, 1, 1, 'a'), (1, 2, 2, 'b')";
    let (concord, _databases, mut owners) = scene_of(kinds, filled, "[tables.order]\n[tables.select]\n").await;
    concord.run(&["load", "--create"]).await.ok();
    let mariadb = kinds.iter().position(|kind| *kind == Kind::Mariadb).expect("one of them");
    owners[mariadb].execute("DELETE FROM \"order\" WHERE \"key\" = 2").await;
    let changes = "UPDATE \"order\" SET \"select\" = 'uno', \"group\" = 20 WHERE \"key\" = 1;
                   INSERT INTO \"order\" VALUES (3, 'three', 30); INSERT INTO \"select\" VALUES (9, 9, 3, 'c')";
    owners[(mariadb + 1) % N].execute(changes).await;
    concord.run(&["sync"]).await.ok();
    let some = |row: &[&str]| row.iter().map(|cell| Some((*cell).to_owned())).collect::<Vec<_>>();
    for owner in &mut owners {
        let orders = owner.rows("SELECT \"key\", \"select\", \"group\" FROM \"order\" ORDER BY 1").await;
        assert_eq!(orders, [some(&["1", "uno", "20"]), some(&["3", "three", "30"])], "{kinds:?}");
        let lines = owner.rows("SELECT \"table\", \"desc\", \"from\", \"values\" FROM \"select\" ORDER BY 1, 2").await;
        assert_eq!(lines, [some(&["1", "1", "1", "a"]), some(&["9", "9", "3", "c"])], "{kinds:?}");
    }
    concord.run(&["verify"]).await.ok();
    concord.run(&["why", "order", "1"]).await.ok();
}

#[tokio::test]
async fn words_of_sql_from_mariadb() {
    words_of_sql([Kind::Mariadb, Kind::Postgres, Kind::Sqlite]).await;
}

#[tokio::test]
async fn words_of_sql_to_mariadb() {
    words_of_sql([Kind::Postgres, Kind::Mariadb]).await;
}

/// A name that the other database would cut or refuse is told before anything is created; with another name there the table is made.
#[tokio::test]
async fn names_that_are_too_long_create_nothing() {
    let (wide, long) = ("名".repeat(22), "n".repeat(65));
    for (kinds, name, limit) in [
        ([Kind::Mariadb, Kind::Postgres], &wide, "has 66 bytes, and names have at most 63 there"),
        ([Kind::Sqlite, Kind::Postgres], &long, "has 65 bytes, and names have at most 63 there"),
        ([Kind::Sqlite, Kind::Mariadb], &long, "has 65 characters, and names have at most 64 there"),
    ] {
        let filled = format!(
            "CREATE TABLE \"{name}\" (id integer PRIMARY KEY);
             CREATE TABLE plain (id integer PRIMARY KEY);
             CREATE TABLE columned (id integer PRIMARY KEY, \"{name}\" integer, \"{name}s\" integer);
             INSERT INTO columned VALUES (1, 2, 3)"
        );
        let tables = format!("[tables.plain]\n[tables.\"{name}\"]\n[tables.columned]\n");
        let (concord, _databases, mut owners) = scene_of(kinds, &filled, &tables).await;
        let output = concord.run(&["load", "--create"]).await.expect(2);
        for line in [
            format!("`{name}` cannot be created at b: the name {name} {limit}"),
            format!("`columned` cannot be created at b: the name of column {name} {limit}"),
            format!("the name of column {name}s has "),
        ] {
            assert!(output.says(&line), "{line}: {output:?}");
        }
        assert!(owners[1].try_rows("SELECT * FROM plain").await.is_err());
        let renamed = format!(
            "[tables.\"{name}\"]\nnodes.b.table = \"short\"\n\
             [tables.columned]\nnodes.b.columns = {{ \"{name}\" = \"one\", \"{name}s\" = \"other\" }}\n"
        );
        let (concord, _databases, mut owners) = scene_of(kinds, &filled, &renamed).await;
        concord.run(&["load", "--create"]).await.ok();
        assert_eq!(owners[1].cell("SELECT other FROM columned").await, "3");
    }
}

/// MariaDB names a reference after its table, where that leaves room.
#[tokio::test]
async fn references_of_tables_with_long_names() {
    let [one, other] = ["a", "b"].map(|last| format!("{}{last}", "n".repeat(60)));
    let filled = format!(
        "CREATE TABLE p (id integer PRIMARY KEY, c integer);
         CREATE TABLE {one} (id integer PRIMARY KEY, p integer REFERENCES p, q integer REFERENCES p);
         CREATE TABLE {other} (id integer PRIMARY KEY, p integer REFERENCES p);
         ALTER TABLE p ADD FOREIGN KEY (c) REFERENCES {one};
         INSERT INTO p VALUES (1, NULL);
         INSERT INTO {one} VALUES (1, 1, 1);
         INSERT INTO {other} VALUES (1, 1)"
    );
    let tables = format!("[tables.{one}]\n[tables.{other}]\n[tables.p]\n");
    let (concord, _databases, mut owners) = scene_of([Kind::Postgres, Kind::Mariadb], &filled, &tables).await;
    concord.run(&["load", "--create"]).await.ok();
    for refused in [
        format!("INSERT INTO {one} VALUES (2, 9, 1)"),
        format!("INSERT INTO {one} VALUES (2, 1, 9)"),
        format!("INSERT INTO {other} VALUES (2, 9)"),
        "UPDATE p SET c = 9".to_owned(),
    ] {
        assert!(owners[1].try_execute(&refused).await.is_err(), "{refused}");
    }
    owners[1].execute(&format!("INSERT INTO {one} VALUES (2, 1, 1)")).await;
    concord.run(&["sync"]).await.ok();
    assert_eq!(owners[0].cell(&format!("SELECT count(*) FROM {one}")).await, "2");
}

/// Of tables of one name the one in the schema of the reference is meant, and MariaDB takes name and schema for one name.
#[tokio::test]
async fn references_to_tables_with_a_schema() {
    let filled = "
        CREATE SCHEMA app; CREATE SCHEMA auth;
        CREATE TABLE app.users (id integer PRIMARY KEY);
        CREATE TABLE auth.users (id integer PRIMARY KEY);
        CREATE TABLE profiles (id integer PRIMARY KEY REFERENCES auth.users, owner integer REFERENCES app.users);
        INSERT INTO app.users VALUES (1); INSERT INTO auth.users VALUES (7); INSERT INTO profiles VALUES (7, 1)";
    let tables = "[tables.profiles]\n[tables.\"app.users\"]\n";
    for kind in [Kind::Postgres, Kind::Mariadb] {
        let (concord, _databases, mut owners) = scene_of([Kind::Postgres, kind], filled, tables).await;
        if kind == Kind::Postgres {
            owners[1].execute("CREATE SCHEMA app").await;
        }
        let output = concord.run(&["load", "--create"]).await.ok();
        assert!(output.says("the reference to auth.users, which is not synced"), "{output:?}");
        assert!(!output.says("the reference to app.users"), "{output:?}");
        assert_eq!(owners[1].cell("SELECT owner FROM profiles WHERE id = 7").await, "1");
        assert!(owners[1].try_execute("UPDATE profiles SET owner = 9").await.is_err(), "{kind:?}");
    }
}

/// An index gets a name that nothing else has.
#[tokio::test]
async fn indexes_get_names_that_are_free() {
    let filled = "
        CREATE TABLE p (id INTEGER PRIMARY KEY, a INT UNIQUE);
        CREATE INDEX p_a ON p (id, a);
        CREATE INDEX t_pkey ON p (a, id);
        CREATE TABLE t (id INTEGER PRIMARY KEY, a INT UNIQUE, CONSTRAINT x UNIQUE (a));
        CREATE INDEX t_a ON t (a);
        CREATE INDEX there ON t (id, a);
        INSERT INTO p VALUES (1, 1); INSERT INTO t VALUES (1, 1)";
    for kind in [Kind::Postgres, Kind::Mariadb, Kind::Sqlite] {
        let (concord, _databases, mut owners) =
            scene_of([Kind::Sqlite, kind], filled, "[tables.t]\n[tables.p]\n").await;
        owners[1].execute("CREATE TABLE there (id integer)").await;
        concord.run(&["load", "--create"]).await.ok();
        for table in ["p", "t"] {
            assert_eq!(owners[1].cell(&format!("SELECT count(*) FROM {table}")).await, "1");
            let twice = format!("INSERT INTO {table} VALUES (2, 1)");
            assert!(owners[1].try_execute(&twice).await.is_err(), "{kind:?} {table}");
        }
    }
}
