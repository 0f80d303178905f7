//! Writing: how many rows were really written and deleted, and which of them others have changed.

use concord::model::{
    Cut, Dot, Images, Key, Lost, NodeId, Op, Parked, ParkedCode, Row, Stamp, TableSpec, Value, Vector, Waiting,
};
use concord::node::{Constraint, ErrorKind, Move, Node, Note, Sought, Sync, WriteMode};
use concord_tests::mariadb::Server;
use concord_tests::{As, Database, Kind, spec};

concord_tests::conformance! {
    every: [
        counts, counts_with_a_trigger, what_waits_is_asked_for_again, a_taken_value_is_told, every_version_that_lost_is_kept,
        where_unread_entries_were_purged_all_rows_count_as_changed, what_was_changed_since_it_was_read_is_not_written,
        what_is_compared_is_what_is_mended,
    ]
    standard: []
    sqlite: [counts_beside_an_ignoring_key]
    postgres: [counts_with_a_deferrable_key, a_target_that_was_exchanged_is_not_written]
    mariadb: [counts_beside_a_hashed_unique, what_no_entry_can_hold, more_than_a_packet_takes]
}

async fn counts(kind: Kind) {
    counted(kind, "CREATE TABLE items (id integer PRIMARY KEY, name text)").await;
}

async fn counts_with_a_trigger(kind: Kind) {
    let body = match kind {
        Kind::Sqlite => "BEGIN INSERT INTO log VALUES (1), (2); END",
        Kind::Postgres => "FOR EACH ROW EXECUTE FUNCTION told()",
        Kind::Mariadb => "FOR EACH ROW INSERT INTO log VALUES (1), (2)",
    };
    let function = match kind {
        Kind::Sqlite | Kind::Mariadb => "",
        Kind::Postgres => {
            "CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql
             AS 'BEGIN INSERT INTO public.log VALUES (1), (2); RETURN NULL; END';"
        }
    };
    let setup = format!(
        "CREATE TABLE items (id integer PRIMARY KEY, name text); CREATE TABLE log (n integer);
         {function} CREATE TRIGGER tells AFTER INSERT ON items {body}"
    );
    counted(kind, &setup).await;
}

async fn counts_beside_an_ignoring_key(kind: Kind) {
    counted(kind, "CREATE TABLE items (id integer PRIMARY KEY ON CONFLICT IGNORE, name text COLLATE NOCASE)").await;
}

async fn counts_beside_a_hashed_unique(kind: Kind) {
    counted(kind, "CREATE TABLE items (id integer PRIMARY KEY, name text, more text UNIQUE)").await;
}

async fn counts_with_a_deferrable_key(kind: Kind) {
    counted(kind, "CREATE TABLE items (id integer PRIMARY KEY DEFERRABLE, name text)").await;
}

/// A database with the table `items`, which is installed.
async fn installed(database: &Database, setup: &str) -> (Box<dyn Node>, Vec<TableSpec>) {
    database.user_as(As::Sync).await.execute(setup).await;
    let mut node = database.node().await;
    let specs = vec![spec(&mut *node, "items", 0).await];
    install(&mut *node, &specs).await;
    (node, specs)
}

async fn install(node: &mut dyn Node, specs: &[TableSpec]) {
    let nodes = ["here", "there"].map(str::to_owned).to_vec();
    let sync = Sync { name: "test".into(), nodes, node: "here".into() };
    node.install(&sync, specs).await.unwrap_or_else(|error| panic!("install: {error}"));
}

/// Writes rows of which some are there already, and deletes some that are not.
async fn counted(kind: Kind, setup: &str) {
    let database = Database::new(kind).await;
    let (mut node, specs) = installed(&database, setup).await;
    node.begin_apply(&specs).await.expect("a transaction");
    let all: Vec<Row> = (1..=4)
        .map(|id| {
            let cells = specs[0].columns.iter().map(|column| match column.name.as_str() {
                "id" => Value::Int(id),
                "more" => Value::text(id.to_string()),
                _ => Value::text("x"),
            });
            cells.collect()
        })
        .collect();
    let rows = |ids: std::ops::Range<usize>| all[ids].iter().collect::<Vec<&Row>>();
    for (mode, ids, written) in [
        (WriteMode::UpdateOnly, 0..2, 0),
        (WriteMode::InsertOnly, 0..2, 2),
        (WriteMode::InsertOnly, 1..3, 1),
        (WriteMode::UpdateOnly, 2..4, 1),
        (WriteMode::Upsert, 2..4, 2),
    ] {
        let count = node.write(&[(&specs[0], &rows(ids.clone()), mode)]).await;
        assert_eq!(count.expect("a count"), written, "{mode:?} {ids:?}");
    }
    let keys: Vec<Key> = [4, 5].map(|id| vec![Value::Int(id)].into()).to_vec();
    let keys: Vec<&Key> = keys.iter().collect();
    assert_eq!(node.delete(&[(&specs[0], &keys)]).await.expect("a count"), 1);
    // Several modes at once, as a batch may need them.
    let (new, old) = (rows(3..4), rows(0..2));
    let count = node.write(&[(&specs[0], &new, WriteMode::InsertOnly), (&specs[0], &old, WriteMode::UpdateOnly)]).await;
    assert_eq!(count.expect("a count"), 3);
    node.commit().await.expect("a commit");
}

/// An entry about a key that could never stand here is left out, alone, and one about an image that cannot be held is an error.
async fn what_no_entry_can_hold(kind: Kind) {
    let database = Database::new(kind).await;
    let setup = "CREATE TABLE items (code varchar(20) CHARACTER SET latin1 PRIMARY KEY, n tinyint)";
    database.user_as(As::Sync).await.execute(setup).await;
    let mut node = database.node().await;
    let specs = vec![TableSpec { images: vec![1], ..spec(&mut *node, "items", 0).await }];
    install(&mut *node, &specs).await;
    let note = |code: &str, n: i64| Note {
        key: vec![Value::text(code)].into(),
        op: Op::Update,
        dot: Dot { node: NodeId(1), number: 3, mark: 3 },
        vector: Vector::EMPTY,
        stamp: Stamp { time: 4, node: NodeId(1) },
        images: Some(Images { before: None, after: Some(vec![Value::Int(n)].into()) }),
    };
    let notes = [("漢", 1), ("a", 1), ("b", 2), ("字", 1_000), ("c", 3), ("漢字", 4)].map(|(code, n)| note(code, n));
    node.begin_apply(&specs).await.expect("a transaction");
    node.note(&specs[0], &notes.iter().collect::<Vec<_>>()).await.expect("they are entered");
    let error = node.note(&specs[0], &[&note("d", 1_000)]).await.expect_err("a tinyint is smaller");
    assert_eq!(error.kind, ErrorKind::Value, "{error}");
    node.commit().await.expect("a commit");
    let mut owner = database.user_as(As::Sync).await;
    let entered = owner.rows("SELECT k1, new_0 FROM history_store_items ORDER BY id").await;
    let entered: Vec<String> =
        entered.iter().map(|row| row.iter().flatten().cloned().collect::<Vec<_>>().join("|")).collect();
    assert_eq!(entered, ["a|1", "b|2", "c|3"]);
}

/// Positions that are named for the first time are made, and what waits of the keys asked for is what a snapshot shows that was
/// opened just now.
async fn what_waits_is_asked_for_again(kind: Kind) {
    let database = Database::new(kind).await;
    let (mut node, specs) = installed(&database, "CREATE TABLE items (id integer PRIMARY KEY, name text)").await;
    let keys = [1, 2].map(|id| Key::from(vec![Value::Int(id)]));
    let waits = |key: &Key| Parked {
        table: 0,
        key: key.clone(),
        code: ParkedCode::Constraint,
        message: "no".to_owned(),
        since: 5,
        vector: Vector::EMPTY,
        stamp: Stamp { time: 4, node: NodeId(1) },
        content: match *key == keys[0] {
            true => Waiting::Row { row: vec![key[0].clone(), Value::text("x")].into(), unknown: Vec::new() },
            false => Waiting::Delete,
        },
        standing: Vector::EMPTY,
        standing_time: i64::MIN,
        read: Cut::through(3),
    };
    let unread = |key: &Key| Parked { content: waits(key).content.unread(), ..waits(key) };
    let first = Move { table: "items".into(), source: "there".into(), from: Cut::START, to: Cut::through(7).into() };
    node.begin_apply(&specs).await.expect("a transaction");
    assert!(node.claim(std::slice::from_ref(&first)).await.expect("an answer"));
    let asked = [&keys[1], &Key::from(vec![Value::Int(3)]), &keys[0]];
    let all: [(&TableSpec, &[&Key]); 1] = [(&specs[0], &asked)];
    assert_eq!(node.waiting_now(&all).await.expect("an answer"), []);
    node.park(&specs, &keys.each_ref().map(waits)).await.expect("they wait");
    node.advance(std::slice::from_ref(&first)).await.expect("it moves");
    node.commit().await.expect("a commit");
    let mut other = database.node().await;
    let opened = other.begin_read(&specs).await.expect("a snapshot");
    // The rows themselves are read only where somebody asks for them.
    let mut whole = other.waiting_rows(&specs[0], &asked).await.expect("an answer");
    whole.sort_by_key(|one| one.key != keys[0]);
    assert_eq!(whole, keys.each_ref().map(waits));
    assert_eq!(other.waiting_rows(&specs[0], &asked[1..2]).await.expect("an answer"), []);
    other.end_read().await.expect("it ends");
    other.begin_apply(&specs).await.expect("a transaction");
    assert!(!other.claim(std::slice::from_ref(&first)).await.expect("an answer"));
    let second = Move { from: Cut::through(7), ..first };
    assert!(other.claim(std::slice::from_ref(&second)).await.expect("an answer"));
    let mut waiting = other.waiting_now(&all).await.expect("an answer");
    waiting.sort_by_key(|one| one.key != keys[0]);
    assert_eq!(waiting, keys.each_ref().map(unread));
    assert_eq!((opened.parked.len(), opened.parked.iter().all(|one| waiting.contains(one))), (2, true));
    // Whatever else waits is not read.
    let waiting = other.waiting_now(&[(&specs[0], &asked[1..])]).await.expect("an answer");
    assert_eq!(waiting, [unread(&keys[0])]);
    assert_eq!(other.waiting_rows(&specs[0], &asked[1..]).await.expect("an answer"), [waits(&keys[0])]);
    other.unpark(&specs[0], &[&keys[0]]).await.expect("it waits no longer");
    let waiting = other.waiting_now(&all).await.expect("an answer");
    assert_eq!(waiting, [unread(&keys[1])]);
    other.rollback().await.expect("it ends");
}

/// Another engine has carried and purged what this one has not read: nobody can tell any more which rows it was about.
async fn where_unread_entries_were_purged_all_rows_count_as_changed(kind: Kind) {
    let database = Database::new(kind).await;
    let (mut node, specs) = installed(&database, "CREATE TABLE items (id integer PRIMARY KEY, name text)").await;
    let mut user = database.user().await;
    let mut cuts = Vec::new();
    for sql in ["INSERT INTO items VALUES (1, 'x')", "UPDATE items SET name = 'y'; INSERT INTO items VALUES (2, 'x')"] {
        user.execute(sql).await;
        node.begin_read(&specs).await.expect("a snapshot");
        let page = node.entries(&specs[0], &Cut::START, None, usize::MAX).await.expect("a page");
        node.end_read().await.expect("it ends");
        cuts.push(page.whole);
    }
    let keys = [1, 9].map(|id| Key::from(vec![Value::Int(id)]));
    for (through, expected) in [(&cuts[0], &keys[..1]), (&cuts[1], &keys[..])] {
        node.purge(&specs[0], through, true, &[]).await.expect("a purge");
        node.begin_apply(&specs).await.expect("a transaction");
        let unseen = node.unseen(&specs[0], &cuts[0], &[&keys[0], &keys[1]]).await.expect("an answer");
        node.rollback().await.expect("it ends");
        assert_eq!(unseen, expected);
    }
}

/// A row that may only be created is let be where its own key is there, and refused where another row has its unique value.
async fn a_taken_value_is_told(kind: Kind) {
    let database = Database::new(kind).await;
    let setup =
        "CREATE TABLE items (id integer PRIMARY KEY, name varchar(20) UNIQUE); INSERT INTO items VALUES (1, 'x')";
    database.user_as(As::Sync).await.execute(setup).await;
    let mut node = database.node().await;
    let specs = vec![spec(&mut *node, "items", 0).await];
    node.begin_mend(&specs).await.expect("a transaction");
    let rows: [Row; 2] = [1, 2].map(|id| vec![Value::Int(id), Value::text("x")].into());
    let error = node.write(&[(&specs[0], &[&rows[0], &rows[1]], WriteMode::InsertOnly)]).await;
    assert_eq!(error.expect_err("the value is taken").kind, ErrorKind::Constraint(Constraint::Unique));
    node.rollback().await.expect("it can be given up");
    assert_eq!(database.user().await.cell("SELECT count(*) FROM items").await, "1");
}

/// In one conflict two versions of one node may lose, such as one that waits somewhere and what its node wrote since. So is what a plugin
/// was told beside them, however many there are at once.
async fn every_version_that_lost_is_kept(kind: Kind) {
    let database = Database::new(kind).await;
    let (mut node, specs) = installed(&database, "CREATE TABLE items (id integer PRIMARY KEY, name text)").await;
    let lost = |loser: u16, time: i64| Lost {
        id: "1-abc".to_owned(),
        table: 0,
        key: Key::from(vec![Value::Int(1)]),
        decided: 9,
        winner: NodeId(1),
        winner_time: 8,
        winner_row: None,
        winner_unknown: Vec::new(),
        loser: NodeId(loser),
        loser_time: time,
        loser_row: None,
        loser_unknown: Vec::new(),
        reason: "why".to_owned(),
        told: (time == 1).then(|| r#"{"told":"ä\\"}"#.into()),
    };
    let all = [lost(0, 1), lost(0, 2), lost(1, 2)];
    for (part, again) in [(&all[1..2], false), (&all[..], true), (&all[..], true)] {
        node.begin_apply(&specs).await.expect("a transaction");
        node.record(&specs, &part.iter().collect::<Vec<_>>(), again).await.expect("it is written");
        node.commit().await.expect("a commit");
    }
    let mut kept = node.journal(&specs, Sought::All, 0).await.expect("a journal");
    kept.sort_by_key(|lost| (lost.loser, lost.loser_time));
    assert_eq!(kept, all);
    let many: Vec<Lost> = (0..1_200).map(|at| Lost { id: format!("2-{at:04}"), ..lost(0, at % 2) }).collect();
    node.begin_apply(&specs).await.expect("a transaction");
    node.record(&specs, &many.iter().collect::<Vec<_>>(), false).await.expect("it is written");
    node.commit().await.expect("a commit");
    let mut kept = node.journal(&specs, Sought::Id("2-"), 0).await.expect("a journal");
    kept.sort_by(|one, other| one.id.cmp(&other.id));
    assert_eq!(kept, many);
}

/// What is kept of rows that lost goes in several statements where together it is more than the server takes in one.
async fn more_than_a_packet_takes(_: Kind) {
    let settings = [("max-allowed-packet", "1M")];
    let server = tokio::task::spawn_blocking(move || Server::dedicated(&settings)).await.expect("MariaDB starts");
    let database = Database::on_mariadb(&server).await;
    let (mut node, specs) = installed(&database, "CREATE TABLE items (id integer PRIMARY KEY, name longtext)").await;
    let rows: Vec<Row> = (1..=25).map(|id| vec![Value::Int(id), Value::text("x".repeat(100_000))].into()).collect();
    let lost = |row: &Row| Lost {
        id: "1-abc".to_owned(),
        table: 0,
        key: specs[0].key_of(row),
        decided: 9,
        winner: NodeId(1),
        winner_time: 8,
        winner_row: Some(row.clone().into()),
        winner_unknown: Vec::new(),
        loser: NodeId(0),
        loser_time: 7,
        loser_row: Some(row.clone().into()),
        loser_unknown: Vec::new(),
        reason: "why".to_owned(),
        told: None,
    };
    let lost: Vec<Lost> = rows.iter().map(lost).collect();
    node.begin_apply(&specs).await.expect("a transaction");
    node.record(&specs, &lost.iter().collect::<Vec<_>>(), false).await.expect("what lost is kept");
    // One that is too large by itself is refused, with what to do about it.
    let large = Lost { reason: "y".repeat(1 << 20), ..lost[0].clone() };
    let error = node.record(&specs, &[&lost[1], &large], false).await.expect_err("it is too large").to_string();
    assert!(error.contains("max_allowed_packet"), "{error}");
    node.commit().await.expect("a commit");
    let mut kept = node.journal(&specs, Sought::All, 0).await.expect("a journal");
    let place = |one: &Lost| lost.iter().position(|lost| lost.key == one.key);
    kept.sort_by_key(place);
    kept.dedup();
    assert_eq!(kept, lost);
}

/// Between reading and writing nothing is locked. What is done to the table then counts, and what changes nothing about it does not.
async fn what_was_changed_since_it_was_read_is_not_written(kind: Kind) {
    let database = Database::new(kind).await;
    // What stands in the search path of triggers, and not in that of an install, has two names.
    let (mood, ty) = match kind {
        Kind::Postgres => ("CREATE TYPE mood AS ENUM ('glad');", "mood"),
        _ => ("", "text"),
    };
    let setup = format!(
        "{mood} CREATE TABLE swapped (id integer PRIMARY KEY, name {ty}); CREATE TABLE items (id integer PRIMARY KEY, name {ty})"
    );
    let (mut node, specs) = installed(&database, &setup).await;
    let mut owner = database.user_as(As::Sync).await;
    let same = match kind {
        Kind::Sqlite => "VACUUM; ANALYZE",
        Kind::Postgres => {
            "VACUUM FULL items; ANALYZE items; GRANT SELECT ON items TO PUBLIC; CREATE INDEX by_name ON items (name)"
        }
        Kind::Mariadb => "OPTIMIZE TABLE items; ANALYZE TABLE items; CREATE INDEX by_name ON items (name(9))",
    };
    for (change, expected) in
        [(same, None), ("ALTER TABLE items RENAME TO former; ALTER TABLE swapped RENAME TO items", Some("items"))]
    {
        node.begin_read(&specs).await.expect("a snapshot");
        node.end_read().await.expect("it ends");
        for statement in change.split("; ") {
            owner.execute(statement).await;
        }
        let begun = node.begin_apply(&specs).await;
        match expected {
            None => begun.unwrap_or_else(|error| panic!("{change}: {error}")),
            Some(word) => {
                let error = begun.expect_err(change);
                assert!(error.kind == ErrorKind::Drift && error.to_string().contains(word), "{change}: {error}");
            }
        }
        node.rollback().await.expect("it ends");
    }
}

/// The same for a table that is only written to, which has no triggers by which it is known.
async fn a_target_that_was_exchanged_is_not_written(kind: Kind) {
    let database = Database::new(kind).await;
    let mut owner = database.user_as(As::Sync).await;
    let create = "CREATE TABLE items (id integer PRIMARY KEY, name text)";
    owner.execute(create).await;
    let mut node = database.node().await;
    let specs = vec![TableSpec { captured: false, ..spec(&mut *node, "items", 0).await }];
    install(&mut *node, &specs).await;
    for (change, same) in [
        ("VACUUM FULL items; GRANT SELECT ON items TO PUBLIC".to_owned(), true),
        // Of the same shape, down to the name of its key.
        (format!("DROP TABLE items; {create}"), false),
    ] {
        node.begin_read(&specs).await.expect("a snapshot");
        node.end_read().await.expect("it ends");
        for statement in change.split("; ") {
            owner.execute(statement).await;
        }
        match node.begin_apply(&specs).await {
            Ok(()) => assert!(same, "{change}: it is written"),
            Err(error) => assert!(!same && error.kind == ErrorKind::Drift, "{change}: {error}"),
        }
        node.rollback().await.expect("it ends");
    }
}

/// The same where no history is kept. As long as it is written nobody changes it either.
async fn what_is_compared_is_what_is_mended(kind: Kind) {
    let database = Database::new(kind).await;
    let mut owner = database.user_as(As::Sync).await;
    owner.execute("CREATE TABLE items (id integer PRIMARY KEY, amount decimal(9, 2))").await;
    let mut node = database.node().await;
    let specs = vec![TableSpec { captured: false, ..spec(&mut *node, "items", 0).await }];
    node.begin_scan(&specs).await.expect("a snapshot");
    node.end_read().await.expect("it ends");
    node.begin_mend(&specs).await.expect("nothing was changed");
    let (wait, change) = match kind {
        Kind::Mariadb => ("SET SESSION lock_wait_timeout = 0", "ALTER TABLE items MODIFY amount decimal(9, 0)"),
        Kind::Postgres => ("SET lock_timeout = '10ms'", "ALTER TABLE items ALTER COLUMN amount TYPE decimal(9, 0)"),
        Kind::Sqlite => (
            "PRAGMA busy_timeout = 10",
            "DROP TABLE items; CREATE TABLE items (id integer PRIMARY KEY, amount decimal(9, 0))",
        ),
    };
    owner.execute(wait).await;
    owner.try_execute(change).await.expect_err("somebody is about to write to it");
    node.rollback().await.expect("it ends");
    owner.execute(change).await;
    let error = node.begin_mend(&specs).await.expect_err("it would be rounded");
    assert!(error.kind == ErrorKind::Drift && error.to_string().contains("items"), "{error}");
}
