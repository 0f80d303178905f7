//! Disks that are full, files and databases that may not be written.

use concord_tests::{As, Cluster, Kind};

const KINDS: &[Kind] = &[Kind::Sqlite, Kind::Postgres, Kind::Sqlite];

/// A table whose writes fail at PostgreSQL with the error that `broken` names.
fn breakable(kind: Kind) -> String {
    let items =
        "CREATE TABLE items (id integer PRIMARY KEY, name text); INSERT INTO items VALUES (1, 'one'), (2, 'two')";
    match kind {
        Kind::Sqlite => items.to_owned(),
        Kind::Postgres => format!(
            "{items}; CREATE TABLE broken (code text);
             CREATE FUNCTION break() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    IF EXISTS (SELECT FROM public.broken) THEN
                        RAISE EXCEPTION 'no' USING ERRCODE = (SELECT code FROM public.broken);
                    END IF;
                    RETURN NEW;
                END $$;
             CREATE TRIGGER break BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION break()"
        ),
    }
}

/// A disk that is full, memory or locks that have run out, a disk that fails: the node takes nothing, and is tried again.
#[tokio::test]
async fn a_server_without_room() {
    let mut cluster = Cluster::new(KINDS, breakable, "[tables.items]").await;
    let mut owner = cluster.nodes[1].database.user_as(As::Sync).await;
    for (round, code) in ["53100", "53200", "53400", "58030"].into_iter().enumerate() {
        cluster.run(1, &format!("INSERT INTO items VALUES ({}, 'from b')", 100 + round)).await;
        owner.execute(&format!("INSERT INTO broken VALUES ('{code}')")).await;
        cluster.run(0, &format!("INSERT INTO items VALUES ({}, 'from a')", 200 + round)).await;
        cluster.run(2, &format!("UPDATE items SET name = '{code}' WHERE id = 1")).await;
        let before = cluster.rows(1, "SELECT * FROM items ORDER BY id").await;
        let summary = cluster.sync().await;
        let failed = summary.failed.clone().expect("b did not take its part");
        assert!(failed.starts_with("node `b`: ") && failed.contains(code), "{failed}");
        assert_eq!((summary.exit_code(), summary.away.len(), summary.waiting), (1, 0, 0), "{summary:?}");
        assert_eq!(cluster.rows(1, "SELECT * FROM items ORDER BY id").await, before);
        for at in [0, 2] {
            let told =
                format!("SELECT count(*) FROM items WHERE id IN ({}, {}) OR name = '{code}'", 100 + round, 200 + round);
            cluster.holds_at(at, &told, &["3"]).await;
        }
        owner.execute("DELETE FROM broken").await;
        cluster.settle().await;
    }
}

/// An administrator has forbidden writing for the time being: what was written before still goes out.
#[tokio::test]
async fn a_database_that_may_not_be_written() {
    let mut cluster = Cluster::new(KINDS, breakable, "[tables.items]").await;
    cluster.run(1, "UPDATE items SET name = 'from b' WHERE id = 2").await;
    let mut admin = cluster.nodes[1].database.user_as(As::Admin).await;
    let name = admin.cell("SELECT current_database()").await;
    admin.execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    cluster.run(0, "UPDATE items SET name = 'from a' WHERE id = 1").await;
    let summary = cluster.sync().await;
    let failed = summary.failed.clone().expect("b did not take its part");
    assert!(failed.starts_with("node `b`: ") && failed.contains("read-only transaction"), "{failed}");
    assert_eq!(summary.exit_code(), 1);
    for at in [0, 2] {
        cluster.holds_at(at, "SELECT name FROM items ORDER BY id", &["from a", "from b"]).await;
    }
    cluster.holds_at(1, "SELECT name FROM items ORDER BY id", &["one", "from b"]).await;
    let refused = cluster.try_install().await.expect_err("nothing can be written there");
    assert!(refused.contains("node `b`: transactions are read-only here"), "{refused}");
    admin.execute(&format!("ALTER DATABASE {name} RESET default_transaction_read_only")).await;
    cluster.settle().await;
    cluster.holds("SELECT name FROM items ORDER BY id", &["from a", "from b"]).await;
}
