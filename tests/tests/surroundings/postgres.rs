//! What others may do in a database of PostgreSQL, and what Concord's role may not.

use concord_tests::{As, Cluster, Kind};

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
