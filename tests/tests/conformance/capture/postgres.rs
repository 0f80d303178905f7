//! What only PostgreSQL does: TRUNCATE, roles, and the settings of a session.

use super::{Case, items, items_after, refused};
use concord_tests::{As, Database, Kind, PATIENCE, spec, wait_until};

concord_tests::conformance! {
    every: []
    standard: []
    sqlite: []
    postgres: [
        truncate, truncate_cascade, truncate_several, truncate_and_refill, truncate_rolled_back,
        truncate_beside_rows_that_are_not_seen, truncate_that_waited_for_a_writer, session_settings,
        hostile_search_path, temporary_tables_in_the_way, no_rights_on_service_tables, the_marker_cannot_be_forged,
        set_role, replica_role, function_and_do_block, security_definer, row_security, inheritance_child,
        what_makes_changes_go_unrecorded_is_told, generated_columns, other_schema, transaction_time_is_not_the_time_of_the_change,
    ]
    mariadb: []
}

async fn truncate(kind: Kind) {
    items_after(kind, "TRUNCATE items", &["1", "2", "3", "4", "5"]).await;
}

const FAMILY: &str =
    "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent);
                      INSERT INTO parent VALUES (1), (2); INSERT INTO child VALUES (10, 1), (20, 2)";

async fn truncate_cascade(kind: Kind) {
    let mut case = Case::new(kind, FAMILY, &["parent", "child"]).await;
    case.change("TRUNCATE parent CASCADE").await;
    case.captured(&[("parent", &["1", "2"]), ("child", &["10", "20"])]).await;
}

async fn truncate_several(kind: Kind) {
    let mut case = Case::new(kind, FAMILY, &["parent", "child"]).await;
    case.change("TRUNCATE ONLY child, parent").await;
    case.captured(&[("parent", &["1", "2"]), ("child", &["10", "20"])]).await;
}

async fn truncate_and_refill(kind: Kind) {
    let sql =
        "BEGIN; TRUNCATE items CONTINUE IDENTITY; INSERT INTO items VALUES (1, 'one', 11), (8, 'eight', 8); COMMIT";
    items_after(kind, sql, &["1", "2", "3", "4", "5", "8"]).await;
}

async fn truncate_rolled_back(kind: Kind) {
    items_after(kind, "BEGIN; TRUNCATE items; ROLLBACK", &[]).await;
}

/// Rows that are not seen could not be recorded, so they do not go.
async fn truncate_beside_rows_that_are_not_seen(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    // Whoever has written has a number already, below that of who commits after him.
    for (id, first) in [(8, "SELECT count(*) FROM items"), (9, "UPDATE items SET amount = 0 WHERE id = 1")] {
        case.change(&format!("BEGIN ISOLATION LEVEL REPEATABLE READ; {first}")).await;
        case.database.user().await.execute(&format!("INSERT INTO items VALUES ({id}, 'new {id}', {id})")).await;
        let refused = case.user.try_execute("TRUNCATE items").await.expect_err("it does not see the new row");
        assert!(refused.contains("needs READ COMMITTED"), "{first}: {refused}");
        case.change("ROLLBACK").await;
    }
    case.captured(&[("items", &["8", "9"])]).await;
    let hide = "ALTER TABLE items ENABLE ROW LEVEL SECURITY; ALTER TABLE items FORCE ROW LEVEL SECURITY";
    case.observer.execute(hide).await;
    let refused = case.observer.try_execute("TRUNCATE items").await.expect_err("a policy hides all rows");
    assert!(refused.contains("row-level security"), "{refused}");
    case.observer.execute("ALTER TABLE items DISABLE ROW LEVEL SECURITY").await;
    case.change("TRUNCATE items").await;
    case.captured(&[("items", &["1", "2", "3", "4", "5", "8", "9"])]).await;
}

/// It has a number and a snapshot before it has the lock.
async fn truncate_that_waited_for_a_writer(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    let mut writer = case.database.user().await;
    writer.execute("BEGIN; DELETE FROM items WHERE false").await;
    let mut observer = case.database.user_as(As::Sync).await;
    let writing = async {
        let waits = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'items'::regclass
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let waiting = async || (observer.cell(waits).await == "t").then_some(());
        wait_until("TRUNCATE to wait for the writer", PATIENCE, waiting).await;
        writer.execute("INSERT INTO items VALUES (8, 'eight', 8); COMMIT").await;
    };
    case.user.execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    let refused = futures::join!(case.user.try_execute("TRUNCATE items"), writing).0;
    let refused = refused.expect_err("it does not see the row 8");
    assert!(refused.contains("needs READ COMMITTED"), "{refused}");
    case.change("ROLLBACK").await;
    case.captured(&[("items", &["8"])]).await;
}

async fn session_settings(kind: Kind) {
    let settings = [
        "TimeZone = 'Asia/Kathmandu'",
        "DateStyle = 'German, DMY'",
        "IntervalStyle = 'sql_standard'",
        "bytea_output = 'escape'",
        "extra_float_digits = -15",
        "standard_conforming_strings = off",
        "client_encoding = 'LATIN1'",
        "transform_null_equals = on",
        "array_nulls = off",
        "quote_all_identifiers = on",
        "row_security = off",
        "default_transaction_isolation = 'serializable'",
        "default_transaction_deferrable = on",
        "plpgsql.variable_conflict = 'use_column'",
        "check_function_bodies = off",
        "enable_seqscan = off",
        "jit_above_cost = 0",
        "work_mem = '64kB'",
        "synchronous_commit = on",
        "concord.applying = ''",
    ];
    let setup = "CREATE TABLE stamps (day timestamptz, raw bytea, code text, n int, PRIMARY KEY (code));
                 INSERT INTO stamps VALUES (now(), '\\x0001', 'a\\b', 1), (now(), '\\xff', 'é', 1), (now(), '', 'c', 1)";
    let mut case = Case::new(kind, setup, &["stamps"]).await;
    for setting in settings {
        case.user = case.database.user().await;
        case.change(&format!("SET {setting}")).await;
        case.change("UPDATE stamps SET n = n + 1, day = clock_timestamp() WHERE code <> 'c'").await;
        case.captured(&[("stamps", &["a\\b", "é"])]).await;
        case.change("DELETE FROM stamps WHERE code = 'c'").await;
        case.captured(&[("stamps", &["c"])]).await;
        case.change("INSERT INTO stamps VALUES (now(), '\\x01', 'c', 1)").await;
        case.captured(&[("stamps", &["c"])]).await;
    }
}

/// Functions, operators, tables and types of the same name stand before the real ones.
async fn hostile_search_path(kind: Kind) {
    let setup = format!(
        "{};
         CREATE SCHEMA evil;
         CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT '1999-01-01'::timestamptz $$;
         CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT '1999-01-01'::timestamptz $$;
         CREATE FUNCTION evil.statement_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT '1999-01-01'::timestamptz $$;
         CREATE FUNCTION evil.current_setting(text, boolean) RETURNS text LANGUAGE sql AS $$ SELECT 'on'::text $$;
         CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE sql AS $$ SELECT 'on'::text $$;
         CREATE FUNCTION evil.pg_current_xact_id() RETURNS xid8 LANGUAGE sql AS $$ SELECT '1'::xid8 $$;
         CREATE FUNCTION evil.lie(int, int) RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
         CREATE FUNCTION evil.lie(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
         CREATE FUNCTION evil.lie(name, name) RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
         CREATE OPERATOR evil.= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.lie);
         CREATE OPERATOR evil.<> (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.lie);
         CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.lie);
         CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.lie);
         CREATE TABLE evil.items (id int PRIMARY KEY, name text, amount int);
         CREATE TABLE evil.node (n int);
         GRANT USAGE ON SCHEMA evil TO app",
        items(kind)
    );
    let partitioned = "CREATE TABLE parts (id int PRIMARY KEY, name text) PARTITION BY RANGE (id);
         CREATE TABLE part PARTITION OF parts DEFAULT; INSERT INTO parts VALUES (1, 'one'), (2, 'two')";
    let mut case = Case::new(kind, &format!("{setup}; {partitioned}"), &["items", "parts"]).await;
    case.change("SET search_path = evil, pg_catalog, public").await;
    case.change("UPDATE public.items SET amount = 0 WHERE id OPERATOR(pg_catalog.<) 3").await;
    case.captured(&[("items", &["1", "2"])]).await;
    case.change("UPDATE public.items SET id = 33 WHERE id OPERATOR(pg_catalog.=) 3; INSERT INTO public.items VALUES (7, 'seven', 7)").await;
    case.captured(&[("items", &["3", "33", "7"])]).await;
    case.change("UPDATE public.parts SET id = 22 WHERE id OPERATOR(pg_catalog.=) 2").await;
    case.captured(&[("parts", &["2", "22"])]).await;
    case.change("SET search_path = ''").await;
    case.change("DELETE FROM public.items WHERE id = 1; TRUNCATE public.items").await;
    case.captured(&[("items", &["1", "2", "33", "4", "5", "7"])]).await;
}

async fn temporary_tables_in_the_way(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    let admin = &mut case.database.user_as(As::Admin).await;
    let sql = "SELECT DISTINCT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
               WHERE nspname IN ('concord', 'history_store') AND relkind IN ('r', 'S')";
    for name in admin.rows(sql).await.into_iter().flatten().flatten() {
        if name != "items" {
            case.change(&format!("CREATE TEMP TABLE \"{name}\" (x int)")).await;
        }
    }
    case.change("CREATE TEMP TABLE items (id int, name text, amount int); CREATE TEMP TABLE pg_class (oid int)").await;
    case.change("INSERT INTO items VALUES (1, '', 1); UPDATE public.items SET amount = 0 WHERE id = 2").await;
    case.captured(&[("items", &["2"])]).await;
}

async fn no_rights_on_service_tables(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    let mut admin = case.database.user_as(As::Admin).await;
    let sql = "SELECT format('%I.%I', nspname, relname) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
               WHERE nspname IN ('concord', 'history_store') AND relkind = 'r'";
    let tables: Vec<String> = admin.rows(sql).await.into_iter().flatten().flatten().collect();
    assert!(tables.len() > 3, "{tables:?}");
    for table in tables {
        for sql in [format!("SELECT * FROM {table}"), format!("DELETE FROM {table}"), format!("TRUNCATE {table}")] {
            let error = case.user.try_execute(&sql).await.expect_err(&sql);
            assert!(error.contains("permission denied"), "{sql}: {error}");
        }
    }
    // Nor may the application run the functions that write there with their owner's rights.
    let sql = "SELECT format('%I.%I', nspname, proname) FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace
               WHERE nspname IN ('concord', 'history_store') AND prosecdef
                 AND (has_function_privilege('public', pg_proc.oid, 'EXECUTE') OR has_function_privilege('app', pg_proc.oid, 'EXECUTE'))";
    assert_eq!(admin.rows(sql).await, Vec::<Vec<_>>::new(), "functions that anyone may run");
    case.change("UPDATE items SET amount = 0 WHERE id = 2").await;
    case.captured(&[("items", &["2"])]).await;
}

/// An application cannot pass for Concord by setting what Concord sets.
async fn the_marker_cannot_be_forged(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    for value in ["on", "true", "1", "yes", "here", "test", "sync"] {
        case.change(&format!("SET concord.applying = '{value}'")).await;
        case.change("UPDATE items SET amount = amount + 1 WHERE id = 1").await;
        case.change(&format!(
            "BEGIN; SET LOCAL concord.applying = '{value}'; UPDATE items SET amount = amount + 1 WHERE id = 2; COMMIT"
        ))
        .await;
        case.captured(&[("items", &["1", "2"])]).await;
    }
}

async fn set_role(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    case.user = case.database.user_as(As::Admin).await;
    case.change("SET ROLE app; UPDATE items SET amount = 0 WHERE id = 1").await;
    case.captured(&[("items", &["1"])]).await;
    case.change("SET SESSION AUTHORIZATION app; UPDATE items SET amount = 0 WHERE id = 2").await;
    case.captured(&[("items", &["2"])]).await;
}

/// What a subscription of logical replication sets, and restores.
async fn replica_role(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    case.user = case.database.user_as(As::Admin).await;
    case.change("SET session_replication_role = replica").await;
    case.change("UPDATE items SET amount = 0 WHERE id = 1; DELETE FROM items WHERE id = 2; INSERT INTO items VALUES (6, 'six', 6)").await;
    case.captured(&[("items", &["1", "2", "6"])]).await;
    case.change("TRUNCATE items").await;
    case.captured(&[("items", &["1", "3", "4", "5", "6"])]).await;
}

async fn function_and_do_block(kind: Kind) {
    let setup = format!(
        "{}; CREATE FUNCTION raise(int) RETURNS SETOF items LANGUAGE sql AS $$ UPDATE items SET amount = amount + 1 WHERE id = $1 RETURNING * $$",
        items(kind)
    );
    let mut case = Case::new(kind, &setup, &["items"]).await;
    case.user.rows("SELECT raise(id) FROM items WHERE id IN (1, 3)").await;
    case.captured(&[("items", &["1", "3"])]).await;
    case.change(
        "DO $$ DECLARE i int; BEGIN FOR i IN 4..7 LOOP
                     INSERT INTO items VALUES (i, NULL, i) ON CONFLICT (id) DO UPDATE SET amount = -i;
                 END LOOP; END $$",
    )
    .await;
    case.captured(&[("items", &["4", "5", "6", "7"])]).await;
}

async fn security_definer(kind: Kind) {
    let setup = format!(
        "{}; CREATE FUNCTION wipe() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
             AS $$ DELETE FROM public.items WHERE id < 3 $$;
         REVOKE ALL ON items FROM app",
        items(kind)
    );
    let mut case = Case::new(kind, &setup, &["items"]).await;
    case.user.rows("SELECT wipe()").await;
    case.captured(&[("items", &["1", "2"])]).await;
}

/// The application sees and writes only some of the rows.
async fn row_security(kind: Kind) {
    let setup = format!(
        "{}; ALTER TABLE items ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON items TO app USING (id > 2)",
        items(kind)
    );
    let mut case = Case::new(kind, &setup, &["items"]).await;
    case.change("UPDATE items SET amount = 0").await;
    case.captured(&[("items", &["3", "4", "5"])]).await;
}

/// Statement triggers of a child do not fire when its rows are written by way of the parent: such a child is refused, or
/// what is written to it is captured.
async fn inheritance_child(kind: Kind) {
    let setup =
        "CREATE TABLE base (id int PRIMARY KEY, n int); CREATE TABLE derived (PRIMARY KEY (id)) INHERITS (base);
                 INSERT INTO derived VALUES (1, 1), (2, 2)";
    if refused(kind, setup, "derived").await {
        return;
    }
    let mut case = Case::new(kind, setup, &["derived"]).await;
    case.change("UPDATE base SET n = 5 WHERE id = 1; DELETE FROM base WHERE id = 2").await;
    case.captured(&[("derived", &["1", "2"])]).await;
}

/// What is refused where Concord is installed may be done to the table afterwards: an engine at work tells.
async fn what_makes_changes_go_unrecorded_is_told(kind: Kind) {
    let setup = "CREATE TABLE items (id int PRIMARY KEY, name text); CREATE TABLE base (LIKE items);
                 CREATE TABLE whole (LIKE items) PARTITION BY RANGE (id); INSERT INTO items VALUES (1, 'one')";
    let mut case = Case::new(kind, setup, &["items"]).await;
    for (change, back, what) in [
        (
            "ALTER TABLE items INHERIT base",
            "ALTER TABLE items NO INHERIT base",
            "it belongs to public.base now, and what is changed by way of that is not recorded",
        ),
        (
            "ALTER TABLE whole ATTACH PARTITION items FOR VALUES FROM (0) TO (99)",
            "ALTER TABLE whole DETACH PARTITION items",
            "it belongs to public.whole now",
        ),
        (
            "CREATE TABLE child () INHERITS (items)",
            "DROP TABLE child",
            "public.child inherits from it now, whose rows are read with it and not recorded",
        ),
        (
            "CREATE RULE keep AS ON DELETE TO items DO INSTEAD NOTHING",
            "DROP RULE keep ON items",
            "rewrite rule keep was added",
        ),
        ("ALTER TABLE items SET UNLOGGED", "ALTER TABLE items SET LOGGED", "it is unlogged now"),
    ] {
        case.observer.execute(change).await;
        let opened = case.node.begin_read(&case.specs).await.expect("a snapshot");
        case.node.end_read().await.expect("it ends");
        let told: Vec<&str> = opened.drifted.iter().map(|(_, drift)| drift.what.as_str()).collect();
        assert!(matches!(told[..], [why] if why.contains(what)), "{change}: {told:?}");
        // Nothing does any more once it is undone.
        assert_eq!(told[0].contains("`concord verify --repair`"), !what.contains("unlogged"), "{told:?}");
        case.observer.execute(back).await;
    }
    case.start().await;
}

async fn generated_columns(kind: Kind) {
    let setup = "CREATE TABLE g (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (2 * n) STORED);
                 INSERT INTO g (n) VALUES (1), (2)";
    let mut case = Case::new(kind, setup, &["g"]).await;
    case.change("UPDATE g SET n = 5 WHERE id = 1; INSERT INTO g (n) VALUES (3)").await;
    case.captured(&[("g", &["1", "3"])]).await;
}

async fn other_schema(kind: Kind) {
    let setup = "CREATE SCHEMA sales; GRANT USAGE ON SCHEMA sales TO app; CREATE TABLE sales.orders (id int PRIMARY KEY, n int);
                 CREATE TABLE orders (id int PRIMARY KEY, n int); GRANT ALL ON sales.orders TO app; INSERT INTO sales.orders VALUES (1, 1)";
    let database = Database::new(kind).await;
    database.user_as(As::Sync).await.execute(setup).await;
    let mut node = database.node().await;
    let found = spec(&mut *node, "sales.orders", 0).await;
    assert_eq!((found.schema.as_deref(), found.local.as_str()), (Some("sales"), "orders"));
}

/// A change is as late as its statement, however long ago its transaction began.
async fn transaction_time_is_not_the_time_of_the_change(kind: Kind) {
    let mut case = Case::new(kind, items(kind), &["items"]).await;
    case.change("BEGIN; SELECT now()").await;
    let begun = case.observer.cell("SELECT clock_timestamp()").await;
    let is_old = format!("SELECT clock_timestamp() > '{begun}'::timestamptz + interval '2.5 s'");
    wait_until("the transaction is old", PATIENCE, async || (case.observer.cell(&is_old).await == "t").then_some(()))
        .await;
    case.start().await;
    case.change("UPDATE items SET amount = 0 WHERE id = 1; COMMIT").await;
    case.captured(&[("items", &["1"])]).await;
}
