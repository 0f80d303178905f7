//! The mapping `redact` between servers: what the others see, what the node keeps, and what waits.

use std::sync::Arc;

use concord::error::DONE;
use concord::plugin::{Limits, Mapping};
use concord::sync::Verify;
use concord_tests::{As, Cluster, Kind};

use super::reshape::between;
use super::{facts, items, load};

const TABLES: &str = r#"[tables.customers.nodes.a.mapping]
plugin = "redact"
key = "correct horse battery staple"
columns = { iban = "hash", phone = { last = 4 }, born = "null", salary = { value = 0 } }
"#;

const ALL: &str = "SELECT id, name, iban, phone, born FROM customers ORDER BY id";
const ADA: &str = "1|Ada|DE02120300000000202051|030123456|1815-12-10";
/// The HMAC-SHA-256 of Ada's account.
const HASH: &str = "aa2175fece412efe6136525565de2b82f176f304084f94f7e3bb573feb25f0c0";

async fn customers(kinds: &[Kind], tables: &str) -> Cluster {
    let setup = |_| {
        "CREATE TABLE customers (id bigint PRIMARY KEY, name varchar(40), iban varchar(64), phone varchar(20), born date,
         salary numeric(10,2))"
            .to_owned()
    };
    let mut cluster = Cluster::bare(kinds, |_| String::new(), tables).await;
    for (at, kind) in kinds.iter().enumerate() {
        cluster.nodes[at].database.user_as(As::Sync).await.execute(&setup(*kind)).await;
    }
    cluster.pin(&["redact"]);
    cluster.install().await;
    let ada = "INSERT INTO customers VALUES (1, 'Ada', 'DE02120300000000202051', '030123456', '1815-12-10', 1000.50)";
    cluster.later(0, ada).await;
    assert_eq!(cluster.sync().await.exit_code(), DONE);
    cluster
}

async fn the_others_see_masks_and_the_values_stay(kinds: &[Kind]) {
    let mut cluster = customers(kinds, TABLES).await;
    cluster.holds_at(1, ALL, &[&format!("1|Ada|{HASH}|****3456|NULL")]).await;
    cluster.holds_at(1, "SELECT id FROM customers WHERE salary = 0", &["1"]).await;
    cluster.later(1, "UPDATE customers SET name = 'Ada King'").await;
    cluster.later(1, "INSERT INTO customers VALUES (2, 'Bob', NULL, NULL, NULL, NULL)").await;
    assert_eq!(cluster.sync().await.exit_code(), DONE);
    cluster.holds_at(0, ALL, &[&ADA.replace("Ada", "Ada King"), "2|Bob|NULL|NULL|NULL"]).await;
    cluster.holds_at(0, "SELECT id FROM customers WHERE salary = 1000.5", &["1"]).await;
    // Conflicts are of what all may know.
    cluster.later(0, "UPDATE customers SET phone = '089987654' WHERE id = 1").await;
    cluster.later(1, "UPDATE customers SET name = 'Ada L' WHERE id = 1").await;
    cluster.sync().await;
    // Its number has gone with the conflict, and nobody knows the former one but the node: that row waits.
    assert_eq!(cluster.waiting().await, ["a customers [1] mapping"]);
    let told = "plugin `redact`, mapping of `customers`, to-local: `phone`: it was changed where only its mask is known, so the value \
                that belongs to it is unknown (masked); change it at this node";
    assert_eq!(cluster.reasons("a").await, [told]);
    let journal = serde_json::to_string(&cluster.session().conflicts(10).await.expect("the journal")).expect("JSON");
    assert!(journal.contains("****7654") && !journal.contains("987654") && !journal.contains("DE02"), "{journal}");
    cluster.later(0, "UPDATE customers SET name = 'Ada L' WHERE id = 1").await;
    cluster.sync().await;
    cluster.holds_at(1, ALL, &[&format!("1|Ada L|{HASH}|****7654|NULL"), "2|Bob|NULL|NULL|NULL"]).await;
    let verified = cluster.session().verify(&Verify::default()).await.expect("a comparison");
    assert_eq!((verified.exit_code(), verified.tables[0].differences), (DONE, 0), "{verified:?}");
    cluster.quiet().await;
}

async fn an_edit_of_a_mask_waits_and_nothing_is_lost(kinds: &[Kind]) {
    let mut cluster = customers(kinds, TABLES).await;
    for edit in ["iban = NULL", "iban = 'DE03'", "phone = '****3457'", "born = '2000-01-01'", "salary = 1"] {
        cluster.later(1, &format!("UPDATE customers SET {edit} WHERE id = 1")).await;
        cluster.sync().await;
        assert_eq!(cluster.waiting().await, ["a customers [1] mapping"], "{edit}");
        cluster.holds_at(0, ALL, &[ADA]).await;
        cluster.later(0, "UPDATE customers SET name = 'Ada' WHERE id = 1").await;
        cluster.sync().await;
        assert_eq!(cluster.waiting().await, [""; 0], "{edit}");
        cluster.holds_at(1, ALL, &[&format!("1|Ada|{HASH}|****3456|NULL")]).await;
    }
    // What is its own mask can be taken, if somebody says so.
    cluster.configure(&format!("{TABLES}edits = \"accept\"\n"));
    assert_eq!(cluster.sync().await.stopped.len(), 1);
    let options = concord::sync::LoadOptions { refilter: true, prefer: Some("a".to_owned()), ..Default::default() };
    cluster.load(&options).await;
    cluster.later(1, "UPDATE customers SET iban = NULL WHERE id = 1").await;
    assert_eq!(cluster.sync().await.waiting, 0);
    cluster.holds_at(0, ALL, &["1|Ada|NULL|030123456|1815-12-10"]).await;
    cluster.quiet().await;
}

/// Neither the plugin nor what compares its configuration with its schema.
#[test]
fn no_refusal_shows_the_key() {
    let plugin = Arc::new(load("redact", Limits::default()).expect("the plugin"));
    for config in [
        r#"{"key": "secret", "columns": {"note": "hash"}}"#,
        r#"{"key": ["secret"], "columns": {"note": "hash"}}"#,
        r#"{"key": "secretsecretsecret", "columns": {"note": "stars"}}"#,
        r#"{"key": "secretsecretsecret", "columns": {"note": "hash"}, "edits": 1, "other": 1}"#,
        r#"{"key": "secretsecretsecret"}"#,
        r#"{"key": "secretsecretsecret", "columns": {"note": "null"}}"#,
    ] {
        let told = Mapping::open(plugin.clone(), items(), config, &facts()).expect_err(config).to_string();
        assert!(!told.contains("secret"), "{told}");
    }
}

between! {
    [the_others_see_masks_and_the_values_stay, an_edit_of_a_mask_waits_and_nothing_is_lost]
    postgres_mariadb: [Postgres, Mariadb];
    mariadb_postgres: [Mariadb, Postgres];
}
