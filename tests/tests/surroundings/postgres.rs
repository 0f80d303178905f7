//! What others may do in a database of PostgreSQL, and what Concord's role may not.

use concord::node::Sync;
use concord_tests::postgres::Server;
use concord_tests::{As, Cluster, Database, Kind, spec};

const PAIR: &[Kind] = &[Kind::Sqlite, Kind::Postgres];
const BOTH_POSTGRES: &[Kind] = &[Kind::Postgres, Kind::Postgres];

/// The statements that `check` names.
async fn grants(cluster: &Cluster) -> Vec<String> {
    let problems = cluster.session().check().await.expect("all are there").problems;
    problems.iter().filter_map(|problem| problem.lines().nth(1)).map(|grant| grant.trim().to_owned()).collect()
}

/// GIVEN somebody who has made operators in a schema of the search path of Concord's role that fit better than the server's
/// WHEN rows arrive, pass unique values on, collide, lack what they refer to, and go
/// THEN none of these operators is called.
#[tokio::test]
async fn operators_of_somebody_else() {
    let setup = |_| {
        "CREATE DOMAIN label AS text;
         CREATE TABLE parents (id integer PRIMARY KEY, name varchar(20) UNIQUE);
         CREATE TABLE children (id integer PRIMARY KEY, parent integer REFERENCES parents ON DELETE CASCADE, name label UNIQUE)"
            .to_owned()
    };
    let mut cluster = Cluster::new(BOTH_POSTGRES, setup, "[tables.parents]\n[tables.children]").await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    admin.execute("GRANT CREATE ON SCHEMA public TO app").await;
    for (at, (left, operator, right, result)) in [
        ("oid", "=", "regclass", "boolean"),
        ("regclass", "=", "oid", "boolean"),
        ("varchar", "=", "text", "boolean"),
        ("text", "=", "varchar", "boolean"),
        ("label", "=", "text", "boolean"),
        ("name", "=", "varchar", "boolean"),
        ("text", "||", "name", "text"),
    ]
    .into_iter()
    .enumerate()
    {
        let mine = format!(
            "CREATE FUNCTION public.mine{at}({left}, {right}) RETURNS {result} LANGUAGE plpgsql
                 AS $$ BEGIN RAISE EXCEPTION 'called as %', current_user; END $$;
             CREATE OPERATOR public.{operator} (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = public.mine{at})"
        );
        cluster.run(1, &mine).await;
    }
    let all = "INSERT INTO parents VALUES (1, 'one'), (2, 'two'), (3, 'three');
               INSERT INTO children VALUES (10, 1, 'ten'), (20, 2, 'twenty'), (30, 3, 'thirty')";
    cluster.run(0, all).await;
    cluster.settle().await;
    for (table, one, other) in [("parents", (1, "one"), (2, "two")), ("children", (10, "ten"), (20, "twenty"))] {
        let set = |id: i32, name: &str| format!("UPDATE {table} SET name = '{name}' WHERE id = {id};");
        let swap = [set(one.0, "aside"), set(other.0, one.1), set(one.0, other.1)].concat();
        cluster.run(0, &swap).await;
    }
    cluster.settle().await;
    cluster.run(0, "DELETE FROM children WHERE id = 30; DELETE FROM parents WHERE id = 3").await;
    cluster.settle().await;
    // One collides, one lacks its parent, and both wait for that alone.
    cluster.run(1, "INSERT INTO parents VALUES (8, 'eight'); DELETE FROM parents WHERE id = 2").await;
    cluster.run(0, "INSERT INTO parents VALUES (9, 'eight'); INSERT INTO children VALUES (40, 2, 'forty')").await;
    cluster.sync().await;
    for node in ["a", "b"] {
        let reasons = cluster.reasons(node).await;
        assert!(!reasons.iter().any(|why| why.contains("called")), "{reasons:?}");
    }
    assert!(!cluster.waiting().await.is_empty());
}

/// Rows that a policy hides go with the row that they refer to all the same: the server takes them by their owner's rights.
#[tokio::test]
async fn rows_that_refer_and_are_hidden() {
    let setup = |kind| match kind {
        Kind::Postgres => "CREATE TABLE parents (id integer PRIMARY KEY);
             CREATE TABLE hidden (id integer PRIMARY KEY, parent integer REFERENCES parents ON DELETE CASCADE);
             INSERT INTO parents VALUES (1), (2); INSERT INTO hidden VALUES (10, 1)"
            .to_owned(),
        _ => "CREATE TABLE parents (id integer PRIMARY KEY); INSERT INTO parents VALUES (1), (2)".to_owned(),
    };
    let mut cluster = Cluster::new(PAIR, setup, "[tables.parents]").await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    admin
        .execute("ALTER TABLE hidden OWNER TO app; GRANT SELECT ON hidden TO sync; ALTER TABLE hidden ENABLE ROW LEVEL SECURITY")
        .await;
    cluster.run(0, "DELETE FROM parents WHERE id = 1").await;
    cluster.sync().await;
    // There may be none, and then it helps neither to look for them nor to undo the delete.
    let told = "rows that refer to it here would be deleted or changed with it, and Concord may not see all rows of public.hidden, \
                whose rows refer to public.parents; run ALTER ROLE \"sync\" BYPASSRLS";
    assert_eq!(cluster.reasons("b").await, [told]);
    assert_eq!(cluster.waiting().await.len(), 1);
    assert_eq!(admin.cell("SELECT count(*) FROM hidden").await, "1");
    assert_eq!(grants(&cluster).await, ["ALTER ROLE \"sync\" BYPASSRLS;"]);
    admin.execute("ALTER TABLE hidden DISABLE ROW LEVEL SECURITY").await;
    assert_eq!(grants(&cluster).await, [""; 0]);
    admin.execute("DELETE FROM hidden").await;
    cluster.settle().await;
}

/// Nobody looks for them where nothing is ever deleted.
#[tokio::test]
async fn rows_that_refer_and_are_hidden_where_no_delete_arrives() {
    let setup = |_| {
        "CREATE TABLE parents (id integer PRIMARY KEY, name text);
         CREATE TABLE hidden (id integer PRIMARY KEY, parent integer REFERENCES parents ON DELETE CASCADE)"
            .to_owned()
    };
    let tables = "[tables.parents]\noperations = [\"insert\", \"update\"]";
    let mut cluster = Cluster::bare(BOTH_POSTGRES, setup, tables).await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    admin
        .execute("ALTER TABLE hidden OWNER TO app; REVOKE ALL ON hidden FROM sync; ALTER TABLE hidden ENABLE ROW LEVEL SECURITY")
        .await;
    assert_eq!(grants(&cluster).await, [""; 0]);
    cluster.install().await;
    cluster.run(0, "INSERT INTO parents VALUES (1, 'one')").await;
    cluster.sync().await;
    cluster.holds("SELECT * FROM parents", &["1|one"]).await;
}

/// Values are cast to types by their names, and compared by operators that have some.
#[tokio::test]
async fn a_type_in_a_schema_that_may_not_be_used() {
    let setup = |_| {
        "CREATE SCHEMA ext; CREATE TYPE ext.mood AS ENUM ('good');
         CREATE TABLE items (id integer PRIMARY KEY, mood ext.mood)"
            .to_owned()
    };
    let mut cluster = Cluster::bare(BOTH_POSTGRES, setup, "[tables.items]").await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    admin.execute("ALTER SCHEMA ext OWNER TO admin").await;
    let told = grants(&cluster).await;
    assert_eq!(told, ["GRANT USAGE ON SCHEMA \"ext\" TO \"sync\";"]);
    admin.execute(&format!("{} GRANT USAGE ON SCHEMA ext TO app", told[0])).await;
    cluster.install().await;
    cluster.run_as_owner(0, "INSERT INTO items VALUES (1, 'good')").await;
    cluster.settle().await;
}

/// Where nothing is written, a value that is no part of the key is read as a text, for which nobody needs to name its type.
#[tokio::test]
async fn a_type_that_is_only_read_in_a_schema_that_may_not_be_used() {
    let setup = |_| {
        "CREATE SCHEMA ext; CREATE TYPE ext.mood AS ENUM ('good');
         CREATE TABLE items (id integer PRIMARY KEY, mood ext.mood)"
            .to_owned()
    };
    let mut cluster = Cluster::bare(BOTH_POSTGRES, setup, "[tables.items]\nfrom = \"b\"").await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    admin.execute("ALTER SCHEMA ext OWNER TO admin; GRANT USAGE ON SCHEMA ext TO app").await;
    assert_eq!(grants(&cluster).await, [""; 0]);
    cluster.install().await;
    cluster.run(1, "INSERT INTO items VALUES (1, 'good')").await;
    cluster.settle().await;
    let report = cluster.session().status().await.expect("all are there");
    assert_eq!((report.exit_code(), cluster.waiting().await.len()), (0, 0));
}

/// From a table that is published nothing can be deleted unless it has a key, or is published whole.
#[tokio::test]
async fn a_publication_of_all_tables() {
    let setup = |_| "CREATE TABLE items (id integer PRIMARY KEY, name text)".to_owned();
    let mut cluster = Cluster::new(PAIR, setup, "[tables.items]").await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    admin.execute("CREATE PUBLICATION everything FOR ALL TABLES").await;
    cluster.run_as_owner(1, "DELETE FROM concord.journal").await;
    cluster.run(0, "INSERT INTO items VALUES (1, 'one')").await;
    cluster.settle().await;
}

/// A default is worked out with the rights of who inserts.
#[tokio::test]
async fn a_sequence_that_may_not_be_used() {
    let setup = |kind| match kind {
        Kind::Postgres => "CREATE TABLE items (id integer PRIMARY KEY, name text, place serial,
             also integer GENERATED BY DEFAULT AS IDENTITY)"
            .to_owned(),
        _ => "CREATE TABLE items (id integer PRIMARY KEY, name text)".to_owned(),
    };
    let tables = "[tables.items]\nfrom = \"a\"\n[tables.items.nodes.a]\nomit = [\"place\", \"also\"]";
    let mut cluster = Cluster::bare(PAIR, setup, tables).await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    admin.execute("ALTER TABLE items OWNER TO app; GRANT ALL ON items TO sync").await;
    let told = grants(&cluster).await;
    assert_eq!(told, ["GRANT USAGE ON SEQUENCE public.items_place_seq TO \"sync\";"]);
    admin.execute(&told[0]).await;
    cluster.install().await;
    cluster.run(0, "INSERT INTO items VALUES (1, 'one')").await;
    cluster.sync().await;
    assert_eq!(cluster.waiting().await, [""; 0]);
    cluster.holds_at(1, "SELECT id, place FROM items", &["1|1"]).await;
}

/// GIVEN a trigger that refuses what is stale as a conflict of transactions, as optimistic locking is written
/// WHEN a row arrives that is, among others
/// THEN it waits with the trigger's message, and all others come.
#[tokio::test]
async fn a_trigger_that_raises_a_conflict_of_transactions() {
    let setup = |kind| {
        let tables = "CREATE TABLE items (id integer PRIMARY KEY, version integer NOT NULL); CREATE TABLE notes (id integer PRIMARY KEY);
                      INSERT INTO items VALUES (1, 1), (2, 1), (3, 1)";
        match kind {
            Kind::Postgres => format!(
                "{tables};
                 CREATE FUNCTION in_turn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                     IF NEW.version <> OLD.version + 1 THEN RAISE EXCEPTION 'stale' USING ERRCODE = '40001'; END IF;
                     RETURN NEW;
                 END $$;
                 CREATE TRIGGER in_turn BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION in_turn()"
            ),
            _ => tables.to_owned(),
        }
    };
    let mut cluster = Cluster::new(PAIR, setup, "[tables.items]\n[tables.notes]").await;
    let changes = "UPDATE items SET version = 3 WHERE id = 2; UPDATE items SET version = 2 WHERE id <> 2; INSERT INTO notes VALUES (1)";
    cluster.run(0, changes).await;
    let summary = cluster.sync().await;
    assert_eq!((summary.failed.as_deref(), summary.waiting), (None, 1), "{summary:?}");
    assert_eq!(cluster.waiting().await, ["b items [2] constraint"]);
    assert_eq!(cluster.reasons("b").await, ["stale [40001]"]);
    cluster.holds_at(1, "SELECT version FROM items ORDER BY id", &["2", "1", "2"]).await;
    cluster.holds("SELECT id FROM notes", &["1"]).await;
    cluster.run_as_owner(1, "DROP TRIGGER in_turn ON items").await;
    cluster.settle().await;
}

/// GIVEN an engine that goes on, and a trigger that nobody has told it of
/// WHEN the trigger changes what arrives, and is switched off again
/// THEN the engine looks at it by itself: the row waits, and those that come later arrive.
#[tokio::test]
async fn a_trigger_that_comes_and_goes_beside_a_watch() {
    let setup = |_| "CREATE TABLE items (id integer PRIMARY KEY, name text)".to_owned();
    let mut cluster = Cluster::new(PAIR, setup, "[tables.items]").await;
    let mut session = cluster.session();
    cluster.run(0, "INSERT INTO items VALUES (1, 'one')").await;
    session.sync().await.expect("a sync");
    let shouts = "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.name := upper(NEW.name); RETURN NEW; END';
                  CREATE TRIGGER shout BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION shout()";
    cluster.run_as_owner(1, shouts).await;
    cluster.run(0, "INSERT INTO items VALUES (2, 'two')").await;
    let summary = session.sync().await.expect("a sync");
    assert_eq!((summary.failed.as_deref(), summary.waiting), (None, 1), "{summary:?}");
    assert_eq!(summary.stopped, []);
    assert!(cluster.reasons("b").await[0].contains("a trigger of public.items (shout) changed `name`"));
    cluster.holds_at(1, "SELECT * FROM items", &["1|one"]).await;
    // It would swallow rows, and say nothing, if it were not looked at.
    let swallows = "CREATE OR REPLACE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'";
    cluster.run_as_owner(1, swallows).await;
    cluster.run(0, "INSERT INTO items VALUES (3, 'three')").await;
    assert_eq!(session.sync().await.expect("a sync").waiting, 2);
    cluster.run_as_owner(1, "ALTER TABLE items DISABLE TRIGGER shout").await;
    cluster.run(0, "INSERT INTO items VALUES (4, 'four')").await;
    let summary = session.sync().await.expect("a sync");
    assert_eq!(summary.failed, None);
    cluster.holds_at(1, "SELECT id FROM items WHERE id = 4", &["4"]).await;
    cluster.settle().await;
}

/// GIVEN a schema of Concord's name that somebody else has made, with a view over a function of his
/// WHEN Concord looks what is installed, or is to be installed or taken off
/// THEN the function does not run as Concord's role, and what is told can be acted upon.
#[tokio::test]
async fn service_tables_of_somebody_else() {
    let setup = |_| "CREATE TABLE items (id integer PRIMARY KEY, name text)".to_owned();
    let mut cluster = Cluster::bare(BOTH_POSTGRES, setup, "[tables.items]").await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    let mut other = cluster.nodes[1].database.user_as(As::App).await;
    admin.execute("CREATE SCHEMA concord AUTHORIZATION app").await;
    let view = "CREATE FUNCTION concord.mine() RETURNS bigint LANGUAGE plpgsql
                    AS $$ BEGIN RAISE EXCEPTION 'called as %', current_user; END $$;
                CREATE VIEW concord.node AS SELECT concord.mine() AS version, 'test' AS sync, 'b' AS node,
                    gen_random_uuid() AS uuid, ARRAY['a', 'b'] AS nodes;
                GRANT USAGE ON SCHEMA concord TO sync; GRANT SELECT ON ALL TABLES IN SCHEMA concord TO sync";
    other.execute(view).await;
    for role in [As::Sync, As::Admin] {
        cluster.connect_as(1, role);
        for refused in [
            cluster.session().check().await.err().map(|error| error.to_string()),
            cluster.try_install().await.err(),
            cluster.session().uninstall_at("b").await.err().map(|error| error.to_string()),
        ] {
            let refused = refused.expect("it is somebody else's");
            assert!(refused.contains("concord.node or concord.installed is not as Concord makes it"), "{refused}");
            assert!(refused.contains("ALTER SCHEMA concord RENAME TO") && !refused.contains("called"), "{refused}");
        }
    }
    // Nor does a table count whose owner could put something else there at any time.
    let table = "DROP VIEW concord.node; CREATE TABLE concord.node (version bigint, sync text, node text, uuid uuid, nodes text[]);
                 CREATE TABLE concord.installed (\"table\" text, shape text, fingerprint text);
                 GRANT SELECT ON ALL TABLES IN SCHEMA concord TO sync";
    other.execute(table).await;
    let refused = cluster.try_install().await.expect_err("it is somebody else's");
    let told = "belongs to the role app, who could make Concord run anything";
    assert!(refused.contains(told) && refused.contains("has run: GRANT \"app\" TO \"admin\"; Otherwise"), "{refused}");
}

/// A schema of Concord's name that is empty is another's as well, also to a superuser, whom the server takes for a member of every role.
#[tokio::test]
async fn an_empty_schema_of_somebody_else() {
    let setup = |_| "CREATE TABLE items (id integer PRIMARY KEY, name text)".to_owned();
    let mut cluster = Cluster::bare(BOTH_POSTGRES, setup, "[tables.items]").await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    admin.execute("CREATE SCHEMA concord AUTHORIZATION admin; CREATE SCHEMA history_store AUTHORIZATION app").await;
    cluster.connect_as(1, As::Admin);
    let told = grants(&cluster).await;
    assert_eq!(told, ["ALTER SCHEMA concord OWNER TO \"admin\"; ALTER SCHEMA history_store OWNER TO \"admin\";"]);
    let refused = cluster.try_install().await.expect_err("it is somebody else's");
    assert!(refused.contains("which another role created"), "{refused}");
    // Nor is it taken by whoever comes after the check.
    let target = concord::node::Target::new(cluster.nodes[1].database.url_as(As::Admin));
    let mut node = concord::node::connect(&target).await.expect("a connection");
    let specs = [spec(&mut *node, "items", 0).await];
    let sync = Sync { name: "test".into(), nodes: ["a", "b"].map(str::to_owned).to_vec(), node: "b".into() };
    let refused = node.install(&sync, &specs).await.expect_err("it is somebody else's").to_string();
    assert!(refused.contains("the schema history_store belongs to the role app"), "{refused}");
    admin.execute(&told[0]).await;
    let warnings = cluster.session().check().await.expect("all are there").warnings;
    assert_eq!(
        warnings.iter().filter(|told| told.contains("the role admin is a superuser")).count(),
        1,
        "{warnings:?}"
    );
    cluster.install().await;
    cluster.run(0, "INSERT INTO items VALUES (1, 'one')").await;
    cluster.sync().await;
    cluster.holds("SELECT * FROM items", &["1|one"]).await;
}

/// What a former role installed, and the present one after it, goes on.
#[tokio::test]
async fn service_tables_of_a_former_role() {
    let setup = |_| "CREATE TABLE items (id integer PRIMARY KEY, name text)".to_owned();
    let mut cluster = Cluster::new(BOTH_POSTGRES, setup, "[tables.items]").await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    admin.execute("ALTER TABLE concord.node OWNER TO app; GRANT ALL ON concord.node TO sync").await;
    cluster.run(0, "INSERT INTO items VALUES (1, 'one')").await;
    cluster.settle().await;
    assert_eq!(cluster.install().await, [""; 0]);
    cluster.holds("SELECT * FROM items", &["1|one"]).await;
}

/// GIVEN what one role has installed, and a file that names another one
/// WHEN that is given the rights to all of it, and the schemas, and at last made a member of the former one
/// THEN each command tells that only the last helps, by which users go on writing all the while, and so does Concord after `install`.
#[tokio::test]
async fn another_role_for_concord() {
    let setup = |_| "CREATE TABLE items (id integer PRIMARY KEY, name text)".to_owned();
    let mut cluster = Cluster::bare(PAIR, setup, "[tables.items]").await;
    // Roles belong to the server, and no other test is to find one a member of another.
    let server = tokio::task::spawn_blocking(|| Server::dedicated(&[])).await.expect("it starts");
    let database = Database::on(&server).await;
    database.user_as(As::Sync).await.execute(&setup(Kind::Postgres)).await;
    cluster.replace(1, database).await;
    cluster.install().await;
    cluster.run(1, "INSERT INTO items VALUES (1, 'one')").await;
    cluster.settle().await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    cluster.connect_as(1, As::App);
    let grant = "GRANT \"sync\" TO \"app\";";
    for told in [
        cluster.session().check().await.err().map(|error| error.to_string()),
        cluster.try_install().await.err(),
        cluster.session().uninstall_at("b").await.err().map(|error| error.to_string()),
        Some(match cluster.session().sync().await {
            Ok(summary) => summary.away.into_iter().map(|away| away.why).collect(),
            Err(error) => error.to_string(),
        }),
    ] {
        let told = told.expect("it may not");
        assert!(told.contains("permission denied for schema concord") && told.contains(grant), "{told}");
    }
    for more in [
        "GRANT USAGE ON SCHEMA concord, history_store TO app; GRANT ALL ON ALL TABLES IN SCHEMA concord, history_store TO app",
        "ALTER SCHEMA concord OWNER TO app; ALTER SCHEMA history_store OWNER TO app",
    ] {
        admin.execute(more).await;
        assert_eq!(grants(&cluster).await, [grant]);
    }
    // Without the right to what is installed, users could write nothing.
    admin.execute("ALTER SCHEMA concord OWNER TO sync; ALTER SCHEMA history_store OWNER TO sync").await;
    // Nor does it help to be a member that inherits nothing.
    admin.execute("GRANT USAGE ON SCHEMA concord, history_store TO app; ALTER ROLE app NOINHERIT").await;
    admin.execute(grant).await;
    let since_16 =
        admin.cell("SELECT (current_setting('server_version_num')::integer >= 160000)::text").await == "true";
    let inherit = match since_16 {
        true => "GRANT \"sync\" TO \"app\" WITH INHERIT TRUE;",
        false => "ALTER ROLE \"app\" INHERIT;",
    };
    assert_eq!(grants(&cluster).await, [inherit]);
    admin.execute(inherit).await;
    assert_eq!(grants(&cluster).await, [""; 0]);
    cluster.run(1, "INSERT INTO items VALUES (2, 'two')").await;
    let stopped = cluster.sync().await.stopped;
    assert!(stopped[0].why.contains("it was installed by role sync; the role connected now is app"), "{stopped:?}");
    cluster.install().await;
    cluster.run(0, "INSERT INTO items VALUES (3, 'three')").await;
    cluster.run(1, "INSERT INTO items VALUES (4, 'four')").await;
    cluster.settle().await;
    cluster.holds("SELECT id FROM items ORDER BY id", &["1", "2", "3", "4"]).await;
    cluster.each_uninstalls().await;
    assert_eq!(
        admin.cell("SELECT count(*) FROM pg_namespace WHERE nspname IN ('concord', 'history_store')").await,
        "0"
    );
}

/// What a superuser has installed changes hands as a whole: Concord's role is to be no member of him.
#[tokio::test]
async fn a_role_of_its_own_after_a_superuser() {
    let setup = |_| "CREATE TABLE items (id integer PRIMARY KEY, name text)".to_owned();
    let mut cluster = Cluster::bare(PAIR, setup, "[tables.items]").await;
    cluster.connect_as(1, As::Admin);
    cluster.install().await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    cluster.connect_as(1, As::Sync);
    let told = cluster.session().check().await.expect_err("it may not read what is installed").to_string();
    assert!(told.contains("ALTER %s OWNER TO %I") && !told.contains("GRANT \"admin\""), "{told}");
    assert!(told.contains("grant SELECT on the synced tables before"), "{told}");
    admin.execute("GRANT USAGE ON SCHEMA concord, history_store TO sync; GRANT SELECT ON ALL TABLES IN SCHEMA concord TO sync").await;
    let told = grants(&cluster).await;
    assert!(told.len() == 1 && told[0].starts_with("DO "), "{told:?}");
    cluster.run(1, "INSERT INTO items VALUES (1, 'one')").await;
    admin.execute(&told[0]).await;
    cluster.run_as_owner(1, "TRUNCATE items").await;
    cluster.run(1, "INSERT INTO items VALUES (1, 'one'), (2, 'two')").await;
    assert_eq!(grants(&cluster).await, [""; 0]);
    cluster.install().await;
    cluster.run(0, "INSERT INTO items VALUES (3, 'three')").await;
    cluster.run(1, "UPDATE items SET name = 'uno' WHERE id = 1").await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM items ORDER BY id", &["1|uno", "2|two", "3|three"]).await;
}

/// GIVEN what an administrator has installed who is no superuser, as hosters have them: he may make nobody a member of his own role
/// WHEN Concord is to log in as another role
/// THEN he can hand over all by himself with what is told, and users go on writing.
#[tokio::test]
async fn a_role_of_its_own_after_an_administrator() {
    let setup = |_| "CREATE TABLE items (id integer PRIMARY KEY, name text)".to_owned();
    let mut cluster = Cluster::bare(PAIR, setup, "[tables.items]").await;
    // Roles belong to the server, and no other test is to find one a member of another.
    let server = tokio::task::spawn_blocking(|| Server::dedicated(&[])).await.expect("it starts");
    let database = Database::on(&server).await;
    database.user_as(As::Sync).await.execute(&setup(Kind::Postgres)).await;
    cluster.replace(1, database).await;
    cluster.install().await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    // From PostgreSQL 16 whoever creates a role has it so.
    admin
        .execute("ALTER ROLE sync CREATEROLE; GRANT app TO sync WITH ADMIN OPTION; ALTER TABLE items OWNER TO app")
        .await;
    admin
        .execute(
            "GRANT USAGE ON SCHEMA concord, history_store TO app; GRANT SELECT ON ALL TABLES IN SCHEMA concord TO app",
        )
        .await;
    cluster.connect_as(1, As::App);
    let told = grants(&cluster).await;
    assert!(told.len() == 1 && told[0].starts_with("GRANT \"app\" TO \"sync\"; DO "), "{told:?}");
    cluster.run_as_owner(1, &told[0]).await;
    assert_eq!(grants(&cluster).await, [""; 0]);
    for write in ["INSERT INTO items VALUES (1, 'one')", "TRUNCATE items", "INSERT INTO items VALUES (2, 'two')"] {
        cluster.run_as_owner(1, write).await;
    }
    cluster.install().await;
    cluster.run(0, "INSERT INTO items VALUES (3, 'three')").await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM items ORDER BY id", &["2|two", "3|three"]).await;
}

/// Who lets Concord's role be a member of a superuser lets it do everything: other ways are told for his tables.
#[tokio::test]
async fn tables_of_a_superuser() {
    let setup =
        |_| "CREATE TABLE items (id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name text)".to_owned();
    let tables = "[tables.items]\nids = \"interleave\"\n";
    let mut cluster = Cluster::bare(BOTH_POSTGRES, setup, tables).await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    admin.execute("ALTER TABLE items OWNER TO admin; GRANT ALL ON items TO sync, app").await;
    let refused = cluster.try_install().await.expect_err("nobody may alter the sequence");
    assert!(refused.contains("it may not alter the sequence public.items_id_seq"), "{refused}");
    assert!(refused.contains("ALTER TABLE … OWNER TO") && !refused.contains("a member of its owner"), "{refused}");
    cluster.configure(&tables.replace("interleave", "unchanged"));
    let (_, warnings) = cluster.session().install().await.expect("it can be installed");
    let gap = warnings.iter().find(|told| told.contains("session_replication_role = replica")).expect("it is told");
    assert!(!gap.contains("GRANT"), "{gap}");
    let statement = gap.lines().find(|line| line.trim().starts_with("ALTER TABLE")).expect("a statement");
    admin.execute(statement).await;
    admin.execute("SET session_replication_role = replica; INSERT INTO items VALUES (1, 'one')").await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM items", &["1|one"]).await;
}

/// GIVEN a user's trigger that writes an audit, to which Concord's role has no right
/// WHEN a row arrives
/// THEN it waits with the function that needs the right, and arrives once that runs as its owner.
#[tokio::test]
async fn a_trigger_that_needs_a_right_of_its_own() {
    let setup = |_| "CREATE TABLE items (id integer PRIMARY KEY, name text)".to_owned();
    let mut cluster = Cluster::bare(PAIR, setup, "[tables.items]").await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    let audit = "CREATE TABLE log (name text); GRANT SELECT ON log TO sync;
                 CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql
                     AS 'BEGIN INSERT INTO public.log VALUES (NEW.name); RETURN NULL; END';
                 CREATE TRIGGER audit AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION audit()";
    admin.execute(audit).await;
    cluster.install().await;
    cluster.run(0, "INSERT INTO items VALUES (1, 'one')").await;
    cluster.sync().await;
    let told = "permission denied for table log in PL/pgSQL function public.audit(), which runs with the rights of Concord's role: grant it \
                what it lacks, or make the function SECURITY DEFINER with a search_path of its own that ends in pg_temp \
                (docs/triggers.md) [42501]";
    assert_eq!(cluster.reasons("b").await.concat().replace("function audit()", "function public.audit()"), told);
    admin.execute("ALTER FUNCTION audit() SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp").await;
    cluster.settle().await;
    cluster.holds("SELECT name FROM items", &["one"]).await;
    assert_eq!(admin.cell("SELECT name FROM log").await, "one");
}

/// A schema that may not be used is told with the statement that grants it, wherever it is in the way.
#[tokio::test]
async fn a_schema_that_may_not_be_used_any_more() {
    let setup = |_| "CREATE SCHEMA sales; CREATE TABLE sales.orders (id integer PRIMARY KEY)".to_owned();
    let cluster = Cluster::new(BOTH_POSTGRES, setup, "[tables.\"sales.orders\"]").await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    admin.execute("ALTER SCHEMA sales OWNER TO admin").await;
    let grant = "GRANT USAGE ON SCHEMA \"sales\" TO \"sync\";";
    let told = match cluster.session().sync().await {
        Ok(summary) => summary.away.into_iter().map(|away| away.why).chain(summary.failed).collect(),
        Err(error) => error.to_string(),
    };
    assert!(told.contains("permission denied for schema sales") && told.contains(grant), "{told}");
}

/// A schema is not taken for what may not be used where a table of its name is meant.
#[tokio::test]
async fn a_table_by_the_name_of_a_schema() {
    let setup = |_| "CREATE TABLE items (id integer PRIMARY KEY)".to_owned();
    let cluster = Cluster::bare(PAIR, setup, "[tables.items]").await;
    let target = concord::node::Target::new(cluster.nodes[1].database.url_as(As::Sync));
    let mut node = concord::node::connect(&target).await.expect("a connection");
    let specs = [spec(&mut *node, "items", 0).await];
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    admin.execute("CREATE SCHEMA items AUTHORIZATION admin; REVOKE ALL ON public.items FROM sync").await;
    let refused = node.begin_scan(&specs).await.expect_err("it may not read the table").to_string();
    assert_eq!(refused, "permission denied for table items [42501]");
}

/// What belongs to the owner of the database, whoever that is, is Concord's where it is Concord's role.
#[tokio::test]
async fn service_tables_of_the_owner_of_the_database() {
    let setup = |_| "CREATE TABLE items (id integer PRIMARY KEY)".to_owned();
    let mut cluster = Cluster::bare(BOTH_POSTGRES, setup, "[tables.items]").await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    // There from PostgreSQL 14.
    if admin.try_rows("CREATE SCHEMA concord AUTHORIZATION pg_database_owner").await.is_err() {
        return;
    }
    cluster.install().await;
    cluster.run(0, "INSERT INTO items VALUES (1)").await;
    cluster.settle().await;
    cluster.holds("SELECT id FROM items", &["1"]).await;
}
