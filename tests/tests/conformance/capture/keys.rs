//! Keys of every shape, and changes of keys.

use super::{Case, items_after, items_touched};
use concord::node::Sync;
use concord_tests::{As, Database, Kind};

concord_tests::conformance! {
    every: [update_key, update_key_of_many, key_moved_onto_a_deleted_row, swap_keys, update_key_chain, key_to_itself, composite_key, key_not_first, unique_instead_of_primary, wide_integers, what_is_not_carried_is_not_replaced, what_is_recorded_of_other_columns_is_not_kept]
    standard: [composite_key_in_another_order, text_key, uuid_key, odd_names]
    sqlite: [update_rowid, without_rowid, strict]
    postgres: [deferrable_chain_and_swap, case_of_names, native_keys, types_of_two_spellings, long_names]
    mariadb: [replaced_under_a_cascade, what_is_recorded_of_renamed_columns_is_kept]
}

/// Whoever asked for the install cannot know what users write until it begins.
async fn what_is_not_carried_is_not_replaced(kind: Kind) {
    let setup = "CREATE TABLE sums (id integer PRIMARY KEY, n integer NOT NULL)";
    let mut case = Case::new(kind, setup, &["sums"]).await;
    case.change("INSERT INTO sums VALUES (1, 1)").await;
    let mut others = case.specs.clone();
    others[0].images = vec![1];
    let why = case.node.install(&here(), &others).await.expect_err("a change would be lost").to_string();
    assert!(why.contains("`sums` has to be recorded in another way now, and 1 change recorded"), "{why}");
    assert!(why.contains("`concord sync`") && why.contains("`concord reset`, which gives up"), "{why}");
    assert!(why.contains("not carried of every table"), "{why}");
    case.captured(&[("sums", &["1"])]).await;
    case.node.reset().await.expect("it is given up");
    case.node.install(&here(), &others).await.expect("nothing is left to lose");
    case.specs = others;
    case.start().await;
    case.change("UPDATE sums SET n = 2").await;
    case.captured(&[("sums", &["1"])]).await;
}

/// Also if their types are alike, so that the history would look the same.
async fn what_is_recorded_of_other_columns_is_not_kept(kind: Kind) {
    let mut case = sums(kind).await;
    let mut others = case.specs.clone();
    others[0].images = vec![2];
    let why = case.node.install(&here(), &others).await.expect_err("a change would be misread").to_string();
    assert!(why.contains("`sums` has to be recorded in another way now, and 1 change recorded"), "{why}");
    case.captured(&[("sums", &["1"])]).await;
    case.node.reset().await.expect("it is given up");
    case.node.install(&here(), &others).await.expect("nothing is left to lose");
    case.specs = others;
    case.start().await;
    case.change("UPDATE sums SET m = 2").await;
    case.captured(&[("sums", &["1"])]).await;
}

/// A column that has another name, and stands elsewhere, may be the same.
async fn what_is_recorded_of_renamed_columns_is_kept(kind: Kind) {
    let mut case = sums(kind).await;
    case.observer.execute("ALTER TABLE sums ADD COLUMN extra integer FIRST, RENAME COLUMN n TO amount").await;
    let mut specs = [super::spec(&mut *case.node, "sums", 0).await];
    specs[0].images = vec![2];
    case.node.install(&here(), &specs).await.expect("the same is recorded");
    assert_eq!(case.observer.cell("SELECT count(*) FROM history_store_sums").await, "1");
}

/// A table of which one amount is added up, with a change that nobody has read.
async fn sums(kind: Kind) -> Case {
    let setup = "CREATE TABLE sums (id integer PRIMARY KEY, n integer NOT NULL, m integer NOT NULL)";
    let mut case = Case::new(kind, setup, &["sums"]).await;
    case.specs[0].images = vec![1];
    case.node.install(&here(), &case.specs).await.expect("there is nothing to lose");
    case.start().await;
    case.change("INSERT INTO sums VALUES (1, 1, 1)").await;
    case
}

/// Triggers of another table write to the history as well.
async fn replaced_under_a_cascade(kind: Kind) {
    let setup = "CREATE TABLE parents (id integer PRIMARY KEY);
                 CREATE TABLE parts (id integer PRIMARY KEY, n integer NOT NULL, parent integer,
                                     FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE)";
    let mut case = Case::new(kind, setup, &["parents", "parts"]).await;
    case.specs[1].images = vec![1];
    case.node.install(&here(), &case.specs).await.expect("there is nothing to lose");
    case.start().await;
    case.change("INSERT INTO parents VALUES (1), (2); INSERT INTO parts VALUES (10, 0, 1), (20, 0, 2)").await;
    case.captured(&[("parents", &["1", "2"]), ("parts", &["10", "20"])]).await;
    case.change("DELETE FROM parents WHERE id = 1").await;
    case.captured(&[("parents", &["1"]), ("parts", &["10"])]).await;
}

fn here() -> Sync {
    Sync { name: "test".into(), nodes: vec!["here".into(), "there".into()], node: "here".into() }
}

async fn update_key(kind: Kind) {
    items_after(kind, "UPDATE items SET id = 33 WHERE id = 3", &["3", "33"]).await;
}

async fn update_key_of_many(kind: Kind) {
    items_after(kind, "UPDATE items SET id = id + 10, amount = 0 WHERE id > 3", &["4", "5", "14", "15"]).await;
}

/// Each row takes the key of the one before it.
async fn update_key_chain(kind: Kind) {
    items_after(kind, "UPDATE items SET id = id - 1", &["0", "1", "2", "3", "4", "5"]).await;
}

async fn swap_keys(kind: Kind) {
    let sql = "BEGIN; UPDATE items SET id = -1 WHERE id = 1; UPDATE items SET id = 1 WHERE id = 2;
               UPDATE items SET id = 2 WHERE id = -1; COMMIT";
    items_touched(kind, sql, &["1", "2"], &["-1"]).await;
}

async fn key_moved_onto_a_deleted_row(kind: Kind) {
    let sql = "BEGIN; DELETE FROM items WHERE id = 2; UPDATE items SET id = 2 WHERE id = 4; COMMIT";
    items_after(kind, sql, &["2", "4"]).await;
}

async fn key_to_itself(kind: Kind) {
    items_touched(kind, "UPDATE items SET id = id + 0 WHERE id = 2", &[], &["2"]).await;
}

async fn composite_key(kind: Kind) {
    let setup = "CREATE TABLE parts (doc integer, line integer, content text, PRIMARY KEY (doc, line));
                 INSERT INTO parts VALUES (1, 1, 'a'), (1, 2, 'b'), (2, 1, 'c'), (2, 2, 'd')";
    let mut case = Case::new(kind, setup, &["parts"]).await;
    case.change("UPDATE parts SET content = 'x' WHERE line = 2").await;
    case.captured(&[("parts", &["1/2", "2/2"])]).await;
    case.change("UPDATE parts SET doc = 3 WHERE doc = 2").await;
    case.captured(&[("parts", &["2/1", "2/2", "3/1", "3/2"])]).await;
    case.change("DELETE FROM parts WHERE doc = 1 AND line = 1").await;
    case.captured(&[("parts", &["1/1"])]).await;
}

async fn composite_key_in_another_order(kind: Kind) {
    let setup = "CREATE TABLE prices (cents integer, valid_from integer NOT NULL, item text NOT NULL, PRIMARY KEY (item, valid_from));
                 INSERT INTO prices VALUES (100, 1, 'tea'), (120, 2, 'tea'), (300, 1, 'cake')";
    let mut case = Case::new(kind, setup, &["prices"]).await;
    case.change("UPDATE prices SET cents = cents + 1 WHERE valid_from = 1").await;
    case.captured(&[("prices", &["tea/1", "cake/1"])]).await;
    case.change("UPDATE prices SET item = 'scone' WHERE item = 'cake'").await;
    case.captured(&[("prices", &["cake/1", "scone/1"])]).await;
}

async fn text_key(kind: Kind) {
    let setup = "CREATE TABLE words (word text NOT NULL PRIMARY KEY, count integer);
                 INSERT INTO words VALUES ('a', 1), ('A', 1), ('a ', 1), ('', 1), ('ä', 1), ('O''Brien', 1), ('null', 1), ('x\\y', 1)";
    let mut case = Case::new(kind, setup, &["words"]).await;
    case.change("UPDATE words SET count = 2").await;
    case.captured(&[("words", &["a", "A", "a ", "", "ä", "O'Brien", "null", "x\\y"])]).await;
    case.change("UPDATE words SET word = 'B' WHERE word = 'a'; DELETE FROM words WHERE word = ''").await;
    case.captured(&[("words", &["a", "B", ""])]).await;
    case.change("INSERT INTO words VALUES ('\u{1F600}\t\n\"', 1)").await;
    case.captured(&[("words", &["\u{1F600}\t\n\""])]).await;
}

async fn uuid_key(kind: Kind) {
    let ty = if kind == Kind::Postgres { "uuid" } else { "text NOT NULL" };
    let (first, second) = ("0e37df36-f698-11e6-8dd4-cb9ced3df976", "ffffffff-ffff-4fff-bfff-ffffffffffff");
    let setup = format!(
        "CREATE TABLE tokens (id {ty} PRIMARY KEY, note text);
         INSERT INTO tokens VALUES ('{first}', 'a'), ('{second}', 'b')"
    );
    let mut case = Case::new(kind, &setup, &["tokens"]).await;
    case.change(&format!("UPDATE tokens SET note = 'c' WHERE id = '{second}'")).await;
    case.captured(&[("tokens", &[second])]).await;
    case.change("DELETE FROM tokens").await;
    case.captured(&[("tokens", &[first, second])]).await;
}

async fn key_not_first(kind: Kind) {
    let setup = "CREATE TABLE people (name text, born integer, id integer PRIMARY KEY, note text);
                 INSERT INTO people VALUES ('Ada', 1815, 1, NULL), ('Grace', 1906, 2, NULL)";
    let mut case = Case::new(kind, setup, &["people"]).await;
    case.change("UPDATE people SET note = 'admiral' WHERE name = 'Grace'").await;
    case.captured(&[("people", &["2"])]).await;
    case.change("UPDATE people SET id = 3 WHERE id = 1; INSERT INTO people VALUES ('Alan', 1912, 1, NULL)").await;
    case.captured(&[("people", &["1", "3"])]).await;
}

async fn unique_instead_of_primary(kind: Kind) {
    let setup = "CREATE TABLE codes (label text, code integer NOT NULL UNIQUE);
                 INSERT INTO codes VALUES ('a', 1), ('b', 2)";
    let mut case = Case::new(kind, setup, &["codes"]).await;
    case.change("UPDATE codes SET label = 'c' WHERE code = 2; INSERT INTO codes VALUES ('d', 3)").await;
    case.captured(&[("codes", &["2", "3"])]).await;
    case.change("UPDATE codes SET code = 4 WHERE code = 1").await;
    case.captured(&[("codes", &["1", "4"])]).await;
}

/// Names that need quoting, that are words of SQL, and that the history's own columns might have.
async fn odd_names(kind: Kind) {
    let setup = r#"CREATE TABLE "Order ""x""" ("select" integer, id integer, op integer, "mark" integer, "é time'" text,
                                               PRIMARY KEY ("select", id, op, "mark"));
                   INSERT INTO "Order ""x""" VALUES (1, 1, 1, 1, 'a'), (2, 2, 2, 2, 'b')"#;
    let mut case = Case::new(kind, setup, &["Order \"x\""]).await;
    case.change(r#"UPDATE "Order ""x""" SET "é time'" = 'c' WHERE op = 2"#).await;
    case.captured(&[("Order \"x\"", &["2/2/2/2"])]).await;
    case.change(r#"UPDATE "Order ""x""" SET "mark" = 5 WHERE id = 1"#).await;
    case.captured(&[("Order \"x\"", &["1/1/1/1", "1/1/1/5"])]).await;
    case.change(r#"DELETE FROM "Order ""x""""#).await;
    case.captured(&[("Order \"x\"", &["2/2/2/2", "1/1/1/5"])]).await;
}

async fn wide_integers(kind: Kind) {
    let setup = "CREATE TABLE big (id bigint NOT NULL PRIMARY KEY, n integer);
                 INSERT INTO big VALUES (9223372036854775807, 1), (-9223372036854775808, 1), (9007199254740993, 1), (0, 1)";
    let mut case = Case::new(kind, setup, &["big"]).await;
    case.change("UPDATE big SET n = 2").await;
    case.captured(&[("big", &["9223372036854775807", "-9223372036854775808", "9007199254740993", "0"])]).await;
}

async fn update_rowid(kind: Kind) {
    items_after(kind, "UPDATE items SET rowid = 33 WHERE _rowid_ = 3", &["3", "33"]).await;
}

async fn without_rowid(kind: Kind) {
    let setup = "CREATE TABLE w (a text, b integer, c text, PRIMARY KEY (b, a)) WITHOUT ROWID;
                 INSERT INTO w VALUES ('x', 1, 'one'), ('y', 1, 'two'), ('z', 2, 'three')";
    let mut case = Case::new(kind, setup, &["w"]).await;
    case.change("UPDATE w SET c = 'changed' WHERE b = 1").await;
    case.captured(&[("w", &["1/x", "1/y"])]).await;
    case.change("REPLACE INTO w VALUES ('z', 2, 'replaced'), ('z', 3, 'new'); UPDATE w SET b = 9 WHERE a = 'x'").await;
    case.captured(&[("w", &["2/z", "3/z", "1/x", "9/x"])]).await;
    case.change("DELETE FROM w").await;
    case.captured(&[("w", &["2/z", "3/z", "9/x", "1/y"])]).await;
}

async fn strict(kind: Kind) {
    let setup = "CREATE TABLE s (id TEXT NOT NULL PRIMARY KEY, n INTEGER, any ANY) STRICT; INSERT INTO s VALUES ('a', 1, x'00')";
    let mut case = Case::new(kind, setup, &["s"]).await;
    case.change("UPDATE s SET any = 1.5; INSERT INTO s VALUES ('b', 2, NULL)").await;
    case.captured(&[("s", &["a", "b"])]).await;
}

async fn deferrable_chain_and_swap(kind: Kind) {
    let setup =
        "CREATE TABLE d (id int PRIMARY KEY DEFERRABLE, n int); INSERT INTO d SELECT i, i FROM generate_series(1, 5) i";
    let mut case = Case::new(kind, setup, &["d"]).await;
    case.change("UPDATE d SET id = id + 1").await;
    case.captured(&[("d", &["1", "2", "3", "4", "5", "6"])]).await;
    case.change("UPDATE d SET id = CASE id WHEN 2 THEN 3 ELSE 2 END WHERE id IN (2, 3)").await;
    case.captured(&[("d", &["2", "3"])]).await;
}

/// The same name in two spellings is two tables.
async fn case_of_names(kind: Kind) {
    let setup = r#"CREATE TABLE users (id int PRIMARY KEY, n int); CREATE TABLE "Users" (id int PRIMARY KEY, n int);
                   INSERT INTO users VALUES (1, 1); INSERT INTO "Users" VALUES (1, 1), (2, 1)"#;
    let mut case = Case::new(kind, setup, &["users", "Users"]).await;
    case.change(r#"UPDATE "Users" SET n = 2 WHERE id = 2"#).await;
    case.captured(&[("Users", &["2"])]).await;
    case.change("UPDATE users SET n = 2").await;
    case.captured(&[("users", &["1"])]).await;
}

async fn native_keys(kind: Kind) {
    let setup = "CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN code AS varchar(8) CHECK (value <> '');
                 CREATE TABLE e (m mood, c code, v varchar(5), n int, PRIMARY KEY (m, c, v));
                 INSERT INTO e VALUES ('sad', 'x', 'y', 1), ('glad', 'x', 'y', 1)";
    let mut case = Case::new(kind, setup, &["e"]).await;
    case.change("UPDATE e SET n = 2 WHERE m = 'glad'").await;
    case.captured(&[("e", &["glad/x/y"])]).await;
    case.change("UPDATE e SET c = 'z' WHERE m = 'sad'; DELETE FROM e WHERE m = 'glad'").await;
    case.captured(&[("e", &["sad/x/y", "sad/z/y", "glad/x/y"])]).await;
}

/// Two spellings of one key would be two rows to Concord and one to the database.
async fn types_of_two_spellings(kind: Kind) {
    let lenient =
        ["interval", "span", "numeric(6,2)[]", "char(3)[]", "float8[]", "numrange", "priced", "priced[]", "price[]"];
    let exact =
        ["int[]", "text[]", "int4range", "tstzrange", "labelled", "numeric(6,2)", "char(3)", "float8", "mood[]"];
    let types = || lenient.iter().chain(&exact);
    let tables = types().enumerate().map(|(at, ty)| format!("CREATE TABLE t{at} (id {ty} PRIMARY KEY, n int)"));
    let setup = format!(
        "CREATE DOMAIN span AS interval; CREATE DOMAIN price AS numeric; CREATE TYPE priced AS (n int, price price);
         CREATE TYPE labelled AS (n int, label text); CREATE TYPE mood AS ENUM ('sad'); {}",
        tables.collect::<Vec<_>>().join("; ")
    );
    let database = Database::new(kind).await;
    database.user_as(As::Sync).await.execute(&setup).await;
    let mut node = database.node().await;
    for (at, ty) in types().enumerate() {
        let found = node.catalogue(&format!("t{at}")).await.expect("an answer").expect("the table is there");
        let told = found.refusals.iter().any(|why| why.contains("takes different values for equal"));
        assert_eq!(told, at < lenient.len(), "{ty}: {:?}", found.refusals);
    }
}

/// Two names of the greatest length that differ in their last letter.
async fn long_names(kind: Kind) {
    let (a, b) = ("t".repeat(62) + "a", "t".repeat(62) + "b");
    let setup = format!(
        "CREATE TABLE {a} (id int PRIMARY KEY, n int); CREATE TABLE {b} (id int PRIMARY KEY, n int);
         INSERT INTO {a} VALUES (1, 1); INSERT INTO {b} VALUES (1, 1)"
    );
    let mut case = Case::new(kind, &setup, &[&a, &b]).await;
    case.change(&format!("UPDATE {b} SET n = 2")).await;
    case.captured(&[(&b, &["1"])]).await;
}
