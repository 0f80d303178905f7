//! Many new rows go into PostgreSQL by COPY, which takes nothing away from what holds for rows written otherwise.

use super::{before, items};
use concord::sync::LoadOptions;
use concord_tests::{Cluster, Kind, PATIENCE};

const KINDS: [Kind; 2] = [Kind::Postgres, Kind::Postgres];

/// Six hundred rows at the first node; the second remembers by which statement each row was written.
async fn watched(constraint: &str) -> Cluster {
    let mut cluster = items(&KINDS, "").await;
    let rows: Vec<String> = (1..=600).map(|id| format!("({id}, 'name {id}', {id})")).collect();
    before(&mut cluster, &[(0, &format!("INSERT INTO items VALUES {}", rows.join(", ")))]).await;
    let watch = format!(
        "CREATE TABLE verbs (verb text, id integer);
         CREATE FUNCTION seen(id integer) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN
             INSERT INTO public.verbs VALUES (split_part(current_query(), ' ', 1), id); RETURN true; END$$;
         GRANT ALL ON verbs TO PUBLIC;
         ALTER TABLE items ADD CHECK (seen(id)), ADD CHECK ({constraint})"
    );
    cluster.run_as_owner(1, &watch).await;
    cluster
}

#[tokio::test]
async fn new_rows_are_copied_in() {
    let mut cluster = watched("true").await;
    let loaded = cluster.load(&LoadOptions::default()).await;
    assert_eq!(super::came(&loaded), ["items b 600 0"]);
    // The second part is too small to be worth it.
    let verbs = "SELECT verb, count(*) FROM verbs GROUP BY 1 ORDER BY 1";
    cluster.holds_at(1, verbs, &["COPY|500", "INSERT|100"]).await;
    // None of them was recorded as a change that a user made.
    cluster.holds_at(1, "SELECT count(*) FROM history_store.items", &["0"]).await;
    cluster.settle().await;
}

/// Indexes for patterns and for another order of sorting tell rows apart as the key does.
#[tokio::test]
async fn indexes_for_searching_beside_the_key() {
    let table = |_| {
        "CREATE TABLE items (id varchar(20) PRIMARY KEY);
         CREATE UNIQUE INDEX found ON items (id text_pattern_ops);
         CREATE UNIQUE INDEX sorted ON items (id COLLATE \"C\")"
            .to_owned()
    };
    let mut cluster = Cluster::new(&KINDS, table, "[tables.items]\n").await;
    before(&mut cluster, &[(0, "INSERT INTO items SELECT 'row ' || i FROM generate_series(1, 500) AS i")]).await;
    let copied = "CREATE FUNCTION copied() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN
                      RETURN split_part(current_query(), ' ', 1) = 'COPY'; END$$;
                  ALTER TABLE items ADD CHECK (copied())";
    cluster.run_as_owner(1, copied).await;
    let loaded = cluster.load(&LoadOptions::default()).await;
    assert_eq!(super::came(&loaded), ["items b 500 0"]);
    cluster.settle().await;
}

/// The copy fails on a row that a user has written meanwhile, and that row stays.
#[tokio::test]
async fn a_users_row_comes_among_many() {
    let mut cluster = watched("true").await;
    super::meanwhile::load_while(&mut cluster, "read-done", async |cluster| {
        cluster.later(1, "INSERT INTO items VALUES (300, 'by a user', 0)").await;
    })
    .await;
    cluster.holds("SELECT count(*) FROM items WHERE name = 'name ' || id", &["599"]).await;
    cluster.holds("SELECT * FROM items WHERE id = 300", &["300|by a user|0"]).await;
    cluster.settle().await;
}

#[tokio::test]
async fn a_row_that_is_refused_among_many_waits_alone() {
    let mut cluster = watched("amount <> 300").await;
    let loaded = cluster.load(&LoadOptions::default()).await;
    assert_eq!((loaded.tables[0].waiting, loaded.exit_code()), (1, 1), "{loaded:?}");
    cluster.holds_at(1, "SELECT count(*) FROM items", &["599"]).await;
}

/// GIVEN rows and notices about them, each more than the connection holds
/// WHEN the rows are copied in
/// THEN the server does not wait for its notices to be read while it is being sent rows.
#[tokio::test]
async fn a_server_that_has_much_to_tell() {
    let mut cluster = items(&KINDS, "").await;
    let rows = "INSERT INTO items SELECT id, repeat(md5(id::text), 1000), id FROM generate_series(1, 600) AS id";
    before(&mut cluster, &[(0, rows)]).await;
    let told = "CREATE FUNCTION told() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN
                    RAISE NOTICE '%', repeat('x', 100000); RETURN true; END$$;
                ALTER TABLE items ADD CHECK (told())";
    cluster.run_as_owner(1, told).await;
    let loaded = tokio::time::timeout(PATIENCE, cluster.load(&LoadOptions::default())).await.expect("a load that ends");
    assert_eq!(super::came(&loaded), ["items b 600 0"]);
}

#[tokio::test]
async fn values_of_every_type_are_copied() {
    let tables = |_| {
        "CREATE TYPE mood AS ENUM ('glad', 'sad');
         CREATE DOMAIN short AS varchar(5);
         CREATE TABLE items (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, m mood, v varchar(5), c char(5), t text,
             b boolean, s smallint, i integer, o oid, r real, f double precision, n numeric(12,2), m2 numeric, y bytea,
             d date, h time, at timestamp, tz timestamptz(3), j json, jb jsonb, u uuid,
             twice bigint GENERATED ALWAYS AS (i * 2) STORED);
         CREATE TABLE others (id integer PRIMARY KEY, net inet, a integer[], x short)"
            .to_owned()
    };
    let mut cluster = Cluster::new(&KINDS, tables, "[tables.items]\n[tables.others]\n").await;
    let rows = "INSERT INTO items (m, v, c, t, b, s, i, o, r, f, n, m2, y, d, h, at, tz, j, jb, u)
        SELECT CASE WHEN i % 3 > 0 THEN 'glad' ELSE 'sad' END::mood, 'v' || i, 'c' || i % 10, repeat('ä', i % 50), i % 2 = 0,
            -i, i * 1000, i, i / 3.0, CASE WHEN i = 7 THEN 'NaN' ELSE i / 7.0 END, -i / 8.0, i ^ 9.0 / 1000000, decode(lpad(to_hex(i), 6, '0'), 'hex'),
            CASE WHEN i = 5 THEN 'infinity' ELSE date '2000-02-29' - i * 1000 END, time '23:59:59.999999' - i * interval '1 s',
            CASE WHEN i = 6 THEN '-infinity' ELSE timestamp '2000-01-01' - i * interval '97 days' END,
            timestamptz '2024-01-01 00:00:00.123Z' + i * interval '1 day', '{\"a\": [1,  2]}', jsonb_build_object('i', i), gen_random_uuid()
        FROM generate_series(1, 600) AS i;
        INSERT INTO items (v) VALUES (NULL);
        INSERT INTO others SELECT i, '10.0.0.0'::inet + i, ARRAY[i, NULL], 'x' || i FROM generate_series(1, 600) AS i";
    before(&mut cluster, &[(0, rows)]).await;
    let loaded = cluster.load(&LoadOptions::default()).await;
    assert_eq!(super::came(&loaded), ["items b 601 0", "others b 600 0"]);
    // All columns of all rows are the same, those that are computed included.
    cluster.settle().await;
}
