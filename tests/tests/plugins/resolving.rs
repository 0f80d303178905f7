//! Resolvers in the sync: conflicts are decided once, everywhere alike, and what a plugin fails at waits with its words.

use concord::error::DONE;
use concord::sync::Remedy;
use concord_tests::{Cluster, Kind, guests, mariadb};
use serde_json::json;

concord_tests::clusters! {
    pairs: [
        a_conflict_is_merged_column_by_column, sums_are_exact_and_texts_are_the_latest, a_row_that_fails_waits_with_the_plugins_words,
        a_delete_by_the_plugin_is_one_everywhere, decisions_are_left_to_a_person,
        what_was_decided_is_asked_about_again, conflicts_of_every_kind_are_merged, what_is_added_up_has_lost_nothing,
    ]
    many: [
        every_change_counts_once, what_was_changed_twice_is_compared_with_what_it_was_between, what_was_added_up_is_asked_about_again,
    ]
    all: []
}

concord_tests::clusters! {
    mariadb: []
    many: [what_was_added_up_is_asked_about_again]
}

const MERGE: &str = "[tables.items]\nconflict = { plugin = \"merge-fields\", fields = { stock = \"sum\", note = \"latest\", price = \"max\" } }";
const ROW: &str = "SELECT note, stock, price FROM items WHERE id = 1";

fn hostile(attack: &str) -> String {
    format!("[tables.items]\nconflict = {{ plugin = \"hostile\", attack = \"{attack}\" }}")
}

/// Three items at every node.
async fn items(kinds: &[Kind], tables: &str) -> Cluster {
    let setup = |_| {
        "CREATE TABLE items (id integer PRIMARY KEY, note text, stock integer, price integer);
         INSERT INTO items VALUES (1, 'one', 10, 5), (2, 'two', 20, 5), (3, 'three', 30, 5)"
            .to_owned()
    };
    let mut cluster = Cluster::bare(kinds, setup, tables).await;
    cluster.pin(&["merge-fields", "hostile"]);
    cluster.install().await;
    cluster
}

async fn a_conflict_is_merged_column_by_column(kinds: &[Kind]) {
    let mut cluster = items(kinds, MERGE).await;
    cluster.later(1, "UPDATE items SET note = 'b', price = 9 WHERE id = 1").await;
    cluster.later(0, "UPDATE items SET stock = stock - 1, price = 7 WHERE id = 1").await;
    let summary = cluster.settle().await;
    assert_eq!((summary.conflicts, summary.exit_code()), (1, DONE));
    // The note was changed at b alone, though a wrote last.
    cluster.holds(ROW, &["b|9|9"]).await;
}

async fn sums_are_exact_and_texts_are_the_latest(kinds: &[Kind]) {
    let mut cluster = items(kinds, MERGE).await;
    for step in 1..=20 {
        cluster.run(0, &format!("UPDATE items SET stock = stock + {step}")).await;
        cluster.run(1, &format!("UPDATE items SET stock = stock - {} WHERE id = 1", 2 * step)).await;
    }
    cluster.later(0, "UPDATE items SET note = 'a' WHERE id = 1").await;
    cluster.later(1, "UPDATE items SET note = 'b' WHERE id = 1").await;
    cluster.settle().await;
    cluster.holds(ROW, &[&format!("b|{}|5", 10 + 210 - 420)]).await;
    cluster.holds("SELECT stock FROM items WHERE id = 2", &["230"]).await;
    // Equal changes are two changes.
    for at in 0..2 {
        cluster.run(at, "UPDATE items SET stock = stock + 1 WHERE id = 2").await;
    }
    cluster.settle().await;
    cluster.holds("SELECT stock FROM items WHERE id = 2", &["232"]).await;
}

/// A row that differs from the outcome where every change is added up is no loss; one that differs elsewhere is.
async fn what_is_added_up_has_lost_nothing(kinds: &[Kind]) {
    let mut cluster = items(kinds, MERGE).await;
    for at in 0..2 {
        cluster.run(at, "UPDATE items SET stock = stock + 1 WHERE id = 1").await;
    }
    cluster.later(0, "UPDATE items SET note = 'a', stock = stock + 1 WHERE id = 2").await;
    cluster.later(1, "UPDATE items SET note = 'b', stock = stock + 1 WHERE id = 2").await;
    cluster.settle().await;
    cluster.holds("SELECT note, stock FROM items WHERE id < 3 ORDER BY id", &["one|12", "b|22"]).await;
    let lost = cluster.session().conflicts(0).await.expect("a journal");
    let told: Vec<(&str, &serde_json::Value)> =
        lost.iter().map(|conflict| (conflict.loser.as_str(), &conflict.key)).collect();
    assert_eq!(told, [("a", &json!([2]))]);
    // No journal holds it whole, and yet it can be asked about anew.
    let replay = cluster.session().replay("items", None, 0).await.expect("a replay");
    assert_eq!((replay.asked, replay.incomplete, replay.differences.len()), (1, 0, 0), "{replay:#?}");
    cluster.configure("[tables.items]\nconflict = { plugin = \"merge-fields\", fields = { stock = \"max\" } }");
    cluster.install().await;
    let replay = cluster.session().replay("items", None, 0).await.expect("a replay");
    assert_eq!((replay.asked, replay.incomplete, replay.differences.len()), (1, 0, 1), "{replay:#?}");
    assert_eq!(replay.differences[0].now, Some(json!({"id": 2, "note": "b", "stock": 21, "price": 5})));
    // What is damaged is nobody's conflict any more.
    for told in ["'{'", "NULL"] {
        for (at, kind) in kinds.iter().enumerate() {
            let journal = if *kind == Kind::Postgres { "concord.journal" } else { "concord_journal" };
            cluster.run_as_owner(at, &format!("UPDATE {journal} SET told = {told}")).await;
        }
        let replay = cluster.session().replay("items", None, 0).await.expect("a replay");
        assert_eq!((replay.asked, replay.incomplete), (0, 1), "{told}");
    }
}

/// Every node adds something, and the first two say what it is called. What other settings would have made of that is told, also where a
/// version has lost nothing and no journal has it; and that nothing is known of what was not recorded.
async fn what_was_added_up_is_asked_about_again(kinds: &[Kind]) {
    let fields =
        |fields: &str| format!("[tables.items]\nconflict = {{ plugin = \"merge-fields\", fields = {{ {fields} }} }}");
    let mut cluster = items(kinds, MERGE).await;
    for (at, note) in (0..kinds.len()).zip(["note = 'a', ", "note = 'b', ", "", "", ""]) {
        cluster.later(at, &format!("UPDATE items SET {note}stock = stock + {} WHERE id = 1", at + 1)).await;
    }
    cluster.settle().await;
    let largest = 10 + kinds.len();
    let total = 10 + (1..=kinds.len()).sum::<usize>();
    cluster.holds(ROW, &[&format!("b|{total}|5")]).await;
    let same = cluster.session().replay("items", None, 0).await.expect("a replay");
    assert_eq!((same.asked, same.incomplete, same.differences.len()), (1, 0, 0), "{same:#?}");
    for (rules, note, stock) in [
        ("stock = \"sum\", note = \"earliest\", price = \"max\"", "a", total),
        ("stock = \"max\", note = \"latest\"", "b", largest),
        ("stock = \"max\", note = { prefer = [\"b\"] }", "b", largest),
    ] {
        cluster.configure(&fields(rules));
        cluster.install().await;
        let replay = cluster.session().replay("items", None, 0).await.expect("a replay");
        assert_eq!((replay.asked, replay.incomplete, replay.differences.len()), (1, 0, 1), "{rules}: {replay:#?}");
        let difference = &replay.differences[0];
        assert_eq!(difference.was, Some(json!({"id": 1, "note": "b", "stock": total, "price": 5})), "{rules}");
        assert_eq!(difference.now, Some(json!({"id": 1, "note": note, "stock": stock, "price": 5})), "{rules}");
        assert_eq!(difference.parked, None, "{rules}");
    }
    cluster.configure(&fields("price = \"sum\""));
    cluster.install().await;
    let replay = cluster.session().replay("items", None, 0).await.expect("a replay");
    assert_eq!((replay.asked, replay.incomplete), (0, 1));
}

async fn every_change_counts_once(kinds: &[Kind]) {
    let mut cluster = items(kinds, MERGE).await;
    for away in 0..kinds.len() {
        cluster.leave(away);
        for _ in 0..2 {
            for at in 0..kinds.len() {
                cluster.run(at, "UPDATE items SET stock = stock + 1 WHERE id = 1").await;
            }
            cluster.sync().await;
        }
        cluster.back(away);
    }
    cluster.settle().await;
    cluster.holds(ROW, &[&format!("one|{}|5", 10 + 2 * kinds.len() * kinds.len())]).await;
}

async fn a_row_that_fails_waits_with_the_plugins_words(kinds: &[Kind]) {
    let mut cluster = items(kinds, &hostile("problem")).await;
    cluster.run(0, "UPDATE items SET note = 'poison' WHERE id = 2; UPDATE items SET note = 'a' WHERE id <> 2").await;
    cluster.later(1, "UPDATE items SET stock = 7").await;
    let summary = cluster.sync().await;
    assert_eq!(summary.waiting, 2);
    assert_eq!(cluster.waiting().await, ["a items [2] conflict", "b items [2] conflict"]);
    let told = "plugin `hostile`, resolver of `items`, resolve: `note`: the note is poison (bad-note); a hint";
    assert_eq!(cluster.reasons("a").await, [told]);
    // Its neighbours went on: the first version in the order of the names won.
    cluster.holds("SELECT note, stock FROM items WHERE id <> 2 ORDER BY id", &["a|10", "a|30"]).await;
    cluster.quiet().await;
    // A later change that has seen both sides ends it.
    cluster.configure("[tables.items]\nconflict = { plugin = \"hostile\", attack = \"merged\" }");
    cluster.settle().await;
    cluster.holds("SELECT note, stock FROM items WHERE id = 2", &["cured|20"]).await;
}

async fn a_delete_by_the_plugin_is_one_everywhere(kinds: &[Kind]) {
    let mut cluster = items(kinds, &hostile("delete")).await;
    cluster.run(0, "UPDATE items SET note = 'poison' WHERE id = 1").await;
    cluster.run(1, "UPDATE items SET stock = 7 WHERE id = 1").await;
    let summary = cluster.settle().await;
    assert_eq!(summary.conflicts, 1);
    cluster.holds(ROW, &[]).await;
    let lost = cluster.session().conflicts(10).await.expect("the journal");
    assert!(lost.iter().all(|lost| lost.reason.starts_with("plugin `hostile`: deletes, of a (")), "{lost:?}");
    assert_eq!(lost.len(), 2, "both versions are kept");
}

async fn decisions_are_left_to_a_person(kinds: &[Kind]) {
    let mut cluster = items(kinds, &hostile("park")).await;
    cluster.run(0, "UPDATE items SET note = 'poison' WHERE id = 1").await;
    cluster.run(1, "UPDATE items SET stock = 7 WHERE id = 1").await;
    assert_eq!(cluster.sync().await.waiting, 2);
    assert_eq!(cluster.reasons("b").await, ["plugin `hostile` leaves it to a person: a person has to look"]);
}

#[tokio::test]
async fn a_plugin_that_breaks_down_loses_no_row() {
    let kinds = &[Kind::Sqlite, Kind::Sqlite];
    for attack in ["panic", "loop", "memory", "recursion", "none", "too-many", "first-call"] {
        let mut cluster = items(kinds, &hostile(attack)).await;
        cluster.run(0, "UPDATE items SET note = 'poison' WHERE id = 2").await;
        cluster.run(1, "UPDATE items SET stock = 7 WHERE id = 2; INSERT INTO items VALUES (4, 'new', 1, 1)").await;
        assert_eq!(cluster.sync().await.waiting, 2, "{attack}");
        // Both sides are still there, and rows without a conflict went on.
        cluster.holds_at(0, "SELECT note, stock FROM items WHERE id IN (2, 4)", &["poison|20", "new|1"]).await;
        cluster.holds_at(1, "SELECT note, stock FROM items WHERE id IN (2, 4)", &["two|7", "new|1"]).await;
        cluster.configure(&hostile("merged"));
        cluster.settle().await;
        cluster.holds("SELECT note FROM items WHERE id = 2", &["cured"]).await;
    }
}

#[tokio::test]
async fn what_is_not_pinned_does_not_run() {
    let kinds = &[Kind::Sqlite, Kind::Sqlite];
    let mut cluster = items(kinds, MERGE).await;
    std::fs::write(cluster.file("concord.lock"), guests::lock(&["hostile"])).unwrap();
    cluster.run(0, "UPDATE items SET stock = 11 WHERE id = 1").await;
    let error = cluster.session().sync().await.unwrap_err().to_string();
    assert!(error.contains("plugin `merge-fields`: concord.lock does not name it (lock); look at it with"), "{error}");
    let other = guests::lock(&["merge-fields"]).replace("sha256 = \"", "sha256 = \"0").replace("\"\n\n", "\"\n");
    let digest = other.split("sha256 = \"").nth(1).unwrap();
    let other = other.replace(digest, &format!("{}\"\n", &digest[..64]));
    std::fs::write(cluster.file("concord.lock"), other).unwrap();
    let error = cluster.session().sync().await.unwrap_err().to_string();
    assert!(error.contains("is not the file that concord.lock names"), "{error}");
    cluster.holds_at(1, "SELECT stock FROM items WHERE id = 1", &["10"]).await;
}

#[tokio::test]
async fn another_configuration_of_the_plugin_needs_an_install() {
    let kinds = &[Kind::Sqlite, Kind::Sqlite];
    let mut cluster =
        items(kinds, "[tables.items]\nconflict = { plugin = \"merge-fields\", fields = { price = \"max\" } }").await;
    cluster.configure(MERGE);
    let summary = cluster.sync().await;
    assert!(summary.stopped[0].why.contains("concord install"), "{:?}", summary.stopped);
    cluster.install().await;
    for at in 0..2 {
        cluster.run(at, "UPDATE items SET stock = stock + 1 WHERE id = 1").await;
    }
    cluster.settle().await;
    cluster.holds("SELECT stock FROM items WHERE id = 1", &["12"]).await;
}

#[tokio::test]
async fn a_recorded_column_lives_everywhere() {
    let kinds = &[Kind::Sqlite, Kind::Sqlite];
    let mut cluster = items(kinds, MERGE).await;
    cluster.configure(&format!("{MERGE}\n[tables.items.nodes.b]\nomit = [\"stock\"]"));
    let why = cluster.try_install().await.unwrap_err();
    assert!(why.contains("`stock` of `items` does not live at b, and the table's conflicts are decided by"), "{why}");
}

/// The type of a column, a value of it, and another.
type Cell = (&'static str, &'static str, &'static str);

/// Every kind of value goes through a plugin and comes back as it was, and so do the values of recorded changes. `text` tells a column's
/// value so that no two are told alike.
async fn values_go_through(kind: Kind, cells: &[Cell], text: fn(&str) -> String) {
    let listed = |item: &dyn Fn(&str, &Cell) -> String| {
        let items = cells.iter().enumerate().map(|(at, cell)| item(&format!("c{at}"), cell));
        items.collect::<Vec<String>>().join(", ")
    };
    let columns = listed(&|name, (ty, ..)| format!("{name} {ty}"));
    let values = listed(&|_, (_, value, _)| (*value).to_owned());
    let setup = |_| {
        format!(
            "CREATE TABLE items (id integer PRIMARY KEY, note text, {columns}); INSERT INTO items VALUES (1, 'old', {values})"
        )
    };
    let fields = listed(&|name, _| format!("{name} = \"latest\""));
    let tables = format!(
        "[tables.items]\nconflict = {{ plugin = \"merge-fields\", fields = {{ note = \"latest\", {fields} }} }}"
    );
    let mut cluster = Cluster::bare(&[kind, kind], setup, &tables).await;
    cluster.pin(&["merge-fields"]);
    cluster.install().await;
    let all = listed(&|name, _| text(name));
    let before = cluster.rows(0, &format!("SELECT {all} FROM items")).await;
    let others = listed(&|name, (.., other)| format!("{name} = {other}"));
    cluster.later(0, &format!("UPDATE items SET {others}")).await;
    let changed = cluster.rows(0, &format!("SELECT {all} FROM items")).await;
    assert!(before[0].split('|').zip(changed[0].split('|')).all(|(before, changed)| before != changed), "{changed:?}");
    cluster.later(1, "UPDATE items SET note = 'new'").await;
    cluster.settle().await;
    // The younger row has the old values; all of them come from what the older change recorded.
    cluster.holds(&format!("SELECT note, {all} FROM items"), &[&format!("new|{}", changed[0])]).await;
    cluster.later(0, "UPDATE items SET note = 'a'").await;
    let values = listed(&|name, (_, value, _)| format!("{name} = {value}"));
    cluster.later(1, &format!("UPDATE items SET {values}")).await;
    cluster.settle().await;
    cluster.holds(&format!("SELECT note, {all} FROM items"), &[&format!("a|{}", before[0])]).await;
}

#[tokio::test]
async fn values_of_all_kinds_go_through() {
    let cells = [
        ("boolean", "true", "false"),
        ("bigint", "-9223372036854775808", "7"),
        ("double precision", "'NaN'", "-0.1"),
        ("numeric", "-12345678901234567890.00123000", "'Infinity'"),
        ("text", "E'ä\\n\\''", "''"),
        ("bytea", "'\\x00ff'", "''"),
        ("date", "'infinity'", "'2026-02-28'"),
        ("time", "'23:59:59.999999'", "'00:00'"),
        ("timestamp", "'0001-01-01 00:00:00.000001'", "'infinity'"),
        ("timestamptz", "'-infinity'", "'2026-01-01 00:00:00.5+00'"),
        ("jsonb", "'{\"a\": 1.10, \"b\": [null]}'", "'0.1'"),
        ("uuid", "'6ba7b810-9dad-11d1-80b4-00c04fd430c8'", "'00000000-0000-0000-0000-000000000000'"),
        ("inet", "'10.0.0.1/8'", "'::1'"),
    ];
    values_go_through(Kind::Postgres, &cells, |name| format!("{name}::text")).await;
}

#[tokio::test]
async fn values_of_all_kinds_of_mariadb_go_through() {
    let mut cells = vec![
        ("boolean", "true", "false"),
        ("bigint", "-9223372036854775808", "7"),
        ("bigint unsigned", "18446744073709551615", "0"),
        ("double", "1e300", "-0.1"),
        ("decimal(38,8)", "-123456789012345678901234567890.00123000", "0.5"),
        ("text", "'ä''\n'", "''"),
        ("blob", "x'00ff'", "x''"),
        ("date", "'9999-12-31'", "'2026-02-28'"),
        ("time(6)", "'-838:59:58.500001'", "'00:00:00'"),
        ("datetime(6)", "'1000-01-01 00:00:00.000001'", "'9999-12-31 23:59:59.999999'"),
        ("timestamp(6) NULL", "'2037-12-31 00:00:00.000001'", "'2026-01-01 00:00:00.5'"),
        ("json", "'{\"a\": 1.5, \"b\": [null]}'", "'0.1'"),
        ("bit(8)", "b'00000101'", "b'11111111'"),
    ];
    // MySQL has no such type.
    if !mariadb::is_mysql().await {
        cells.push(("uuid", "'6ba7b810-9dad-11d1-80b4-00c04fd430c8'", "'00000000-0000-0000-0000-000000000000'"));
    }
    values_go_through(Kind::Mariadb, &cells, |name| format!("hex(cast({name} AS binary))")).await;
}

#[tokio::test]
async fn values_of_all_kinds_of_sqlite_go_through() {
    let cells = [
        ("boolean", "true", "false"),
        ("bigint", "(-9223372036854775807 - 1)", "7"),
        ("double", "1e300", "-0.1"),
        ("numeric(12,2)", "-1234567890.12", "0.5"),
        ("text", "'ä''\n'", "''"),
        ("blob", "x'00ff'", "x''"),
        ("date", "'infinity'", "'2026-02-28'"),
        ("timestamp", "'0001-01-01 00:00:00.000001'", "'2026-01-01 00:00:00.5'"),
        ("json", "'{\"a\": 1.10, \"b\": [null]}'", "'[0.1]'"),
        ("uuid", "'6ba7b810-9dad-11d1-80b4-00c04fd430c8'", "'00000000-0000-0000-0000-000000000000'"),
        ("", "'7'", "7.5"),
        ("integer", "'no number'", "x'01'"),
    ];
    values_go_through(Kind::Sqlite, &cells, |name| format!("quote({name})")).await;
}

const DEAREST: &str = "[tables.items]\nconflict = { plugin = \"merge-fields\", fields = { price = \"max\" } }";

async fn what_was_decided_is_asked_about_again(kinds: &[Kind]) {
    let mut cluster = items(kinds, "[tables.items]").await;
    cluster.later(0, "UPDATE items SET price = price + id WHERE id < 3").await;
    cluster.later(0, "DELETE FROM items WHERE id = 3").await;
    cluster.later(1, "UPDATE items SET price = 8 WHERE id > 1").await;
    cluster.later(1, "UPDATE items SET price = 4, note = 'cheap' WHERE id = 1").await;
    assert_eq!(cluster.settle().await.conflicts, 3);
    let refused = cluster.session().replay("items", None, 0).await.expect_err("no plugin");
    assert!(refused.to_string().contains("no plugin decides conflicts of `items`"), "{refused}");
    // What the latest change decided, the dearest would have decided otherwise once.
    cluster.configure(DEAREST);
    let replay = cluster.session().replay("items", None, 0).await.expect("a replay");
    assert_eq!((replay.asked, replay.incomplete, replay.differences.len()), (3, 0, 1), "{replay:#?}");
    let difference = &replay.differences[0];
    assert_eq!(difference.key, json!([1]));
    assert_eq!(difference.was, Some(json!({"id": 1, "note": "cheap", "stock": 10, "price": 4})));
    assert_eq!(difference.now, Some(json!({"id": 1, "note": "cheap", "stock": 10, "price": 6})));
    assert_eq!(difference.parked, None);
    cluster.holds(ROW, &["cheap|10|4"]).await;
    // So does a file that nobody pinned.
    let file = cluster.file("merge-fields.wasm");
    std::fs::copy(guests::plugins().join("merge-fields.wasm"), &file).expect("a copy");
    let same = cluster.session().replay("items", Some(("merge-fields", &file)), 0).await.expect("a replay");
    assert_eq!((same.asked, same.differences.len()), (3, 1));
    // The newest alone, and that which the plugin itself decided, though it took neither version.
    cluster.later(0, "UPDATE items SET price = 9 WHERE id = 2").await;
    cluster.later(1, "UPDATE items SET note = 'b' WHERE id = 2").await;
    assert_eq!(cluster.settle().await.conflicts, 1);
    cluster.holds("SELECT note, price FROM items WHERE id = 2", &["b|9"]).await;
    let newest = cluster.session().replay("items", None, 1).await.expect("a replay");
    assert_eq!((newest.asked, newest.differences.len()), (1, 0), "{newest:#?}");
    // What people said since is no conflict, however much of it there is.
    for node in ["a", "b", "a"] {
        let id = cluster.session().conflicts(0).await.expect("a journal");
        let id = id.into_iter().find(|one| one.resolves().is_none()).expect("a conflict").id;
        let remedy = Remedy::Take(node.to_owned());
        Box::pin(cluster.session().resolve(&id, &remedy, true)).await.expect("another version");
        cluster.settle().await;
    }
    let newest = cluster.session().replay("items", None, 1).await.expect("a replay");
    assert_eq!((newest.asked, newest.incomplete), (1, 0), "{newest:#?}");
    // Nor is what cannot be told any more, because the table had another key.
    for (at, kind) in kinds.iter().enumerate() {
        let journal = if *kind == Kind::Postgres { "concord.journal" } else { "concord_journal" };
        cluster.run_as_owner(at, &format!("UPDATE {journal} SET \"key\" = '[1, 1]' WHERE id LIKE '%.%'")).await;
    }
    let newest = cluster.session().replay("items", None, 1).await.expect("a replay");
    assert_eq!((newest.asked, newest.incomplete), (1, 0), "{newest:#?}");
    // Of a table that stands still no journal is read.
    cluster.run_as_owner(1, "ALTER TABLE items RENAME TO elsewhere").await;
    let refused = cluster.session().replay("items", None, 0).await.expect_err("it stands still");
    assert!(refused.to_string().contains("table `items` stands still"), "{refused}");
    cluster.run_as_owner(1, "ALTER TABLE elsewhere RENAME TO items").await;
    // Who counts what each change did cannot be asked about what was decided without that.
    cluster.configure(MERGE);
    cluster.install().await;
    let replay = cluster.session().replay("items", None, 0).await.expect("a replay");
    assert_eq!((replay.asked, replay.incomplete), (0, 4));
}

/// Every kind of conflict in one sync: update and delete, delete and insert anew, and a key that moves, each as the earlier and as the
/// later change; and an insert at both.
async fn conflicts_of_every_kind(kinds: &[Kind], rules: &str, expected: &[&str]) {
    let mut cluster = items(kinds, rules).await;
    cluster.run(0, "INSERT INTO items VALUES (4, 'four', 40, 5), (5, 'five', 50, 5), (6, 'six', 60, 5)").await;
    cluster.sync().await;
    let first = "UPDATE items SET note = 'a', stock = 11, price = 9 WHERE id = 1; DELETE FROM items WHERE id = 2;
                 DELETE FROM items WHERE id = 3; INSERT INTO items VALUES (3, 'again', 1, 7);
                 UPDATE items SET id = 50 WHERE id = 5; INSERT INTO items VALUES (7, 'a', 3, 8)";
    cluster.later(0, first).await;
    let then =
        "DELETE FROM items WHERE id = 1; UPDATE items SET note = 'b', stock = stock + id WHERE id IN (2, 3, 4, 5, 6);
                INSERT INTO items VALUES (7, 'b', 4, 2)";
    cluster.later(1, then).await;
    let last = "DELETE FROM items WHERE id = 4; INSERT INTO items VALUES (4, 'again', 1, 7);
                UPDATE items SET id = 60 WHERE id = 6";
    cluster.later(0, last).await;
    assert_eq!(cluster.settle().await.conflicts, 7);
    cluster.holds("SELECT id, note, stock, price FROM items ORDER BY id", expected).await;
}

/// To a sum a row that is deleted takes all that it had with it, and one that is inserted brings what it has.
async fn conflicts_of_every_kind_are_merged(kinds: &[Kind]) {
    let expected = ["2|b|2|5", "3|b|4|7", "4|again|5|7", "5|b|5|5", "7|b|7|8", "50|five|50|5", "60|six|60|5"];
    conflicts_of_every_kind(kinds, MERGE, &expected).await;
}

#[tokio::test]
async fn of_conflicts_of_every_kind_the_largest_counts() {
    let expected = ["2|b|22|5", "3|b|33|7", "4|again|1|7", "5|b|55|5", "7|b|4|8", "50|five|50|5", "60|six|60|5"];
    conflicts_of_every_kind(&[Kind::Postgres, Kind::Mariadb], DEAREST, &expected).await;
}

/// GIVEN a change that was merged with another node's elsewhere
/// WHEN its own node changes the same line again before it hears of that, and be it back to what it was at first
/// THEN that counts as a change, and no other was made to the line.
async fn what_was_changed_twice_is_compared_with_what_it_was_between(kinds: &[Kind]) {
    let rules =
        "[tables.items]\nconflict = { plugin = \"merge-fields\", fields = { note = \"text\", price = \"latest\" } }";
    for last in ["one", "third"] {
        let mut cluster = items(kinds, rules).await;
        cluster.later(1, "UPDATE items SET note = 'second' WHERE id = 1").await;
        cluster.leave(0);
        cluster.sync().await;
        cluster.back(0);
        cluster.later(0, "UPDATE items SET price = 7 WHERE id = 1").await;
        cluster.leave(1);
        cluster.sync().await;
        cluster.back(1);
        cluster.holds_at(0, ROW, &["second|10|7"]).await;
        cluster.later(1, &format!("UPDATE items SET note = '{last}' WHERE id = 1")).await;
        let summary = cluster.settle().await;
        assert_eq!((summary.waiting, summary.exit_code()), (0, DONE));
        cluster.holds(ROW, &[&format!("{last}|10|7")]).await;
    }
}
