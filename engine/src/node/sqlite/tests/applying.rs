//! Writing rows and everything that goes with it.

use super::super::history;
use super::*;
use crate::model::{Dot, Images, Lost, NodeId, Parked, ParkedCode, Stamp, Vector, Waiting};
use crate::node::{Constraint, ErrorKind, Note, Room, Sought};

#[tokio::test]
async fn own_writes_are_not_recorded_and_users_writes_are() {
    let mut bench = Bench::new("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE)", &["t"]).await;
    bench.node.begin_apply(&bench.specs).await.unwrap();
    bench.write(&[row([int(1), text("a")]), row([int(2), text("b")])]).await.unwrap();
    bench.write(&[row([int(1), text("c")])]).await.unwrap();
    bench.node.delete(&[(&bench.specs[0], &[&key(2), &key(3)])]).await.unwrap();
    bench.node.commit().await.unwrap();
    assert_eq!(bench.table("t"), "1 c");
    bench.sql("UPDATE t SET a = 'd'");
    assert_eq!(bench.news(0).await, "U1");
    bench.node.begin_apply(&bench.specs).await.unwrap();
    bench.node.touch(&bench.specs[0], &key(1), None).await.unwrap();
    bench.node.touch(&bench.specs[0], &key(9), Some(5)).await.unwrap();
    bench.node.commit().await.unwrap();
    assert_eq!(bench.entries().await[1].time, 5);
    assert_eq!(bench.news(0).await, "U1 D9");
}

#[tokio::test]
async fn modes_of_writing() {
    for sql in [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a)",
        "CREATE TABLE t (id PRIMARY KEY NOT NULL, a) WITHOUT ROWID",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE TRIGGER x AFTER UPDATE ON t BEGIN SELECT 1; END",
        "CREATE TABLE t (id INTEGER PRIMARY KEY ON CONFLICT REPLACE, a)",
    ] {
        let mut bench = Bench::new(sql, &["t"]).await;
        let rows = [row([int(1), text("a")]), row([int(2), text("b")])];
        let rows: Vec<&Row> = rows.iter().collect();
        let newer = [row([int(2), text("c")]), row([int(3), text("d")])];
        let newer: Vec<&Row> = newer.iter().collect();
        bench.node.begin_apply(&bench.specs).await.unwrap();
        bench.node.write(&[(&bench.specs[0], &rows, WriteMode::Upsert)]).await.unwrap();
        bench.node.write(&[(&bench.specs[0], &newer, WriteMode::UpdateOnly)]).await.unwrap();
        bench.node.commit().await.unwrap();
        assert_eq!(bench.table("t"), "1 a\n2 c", "{sql}");
        let newest = [row([int(2), text("x")]), row([int(3), text("y")])];
        let newest: Vec<&Row> = newest.iter().collect();
        bench.node.begin_apply(&bench.specs).await.unwrap();
        bench.node.write(&[(&bench.specs[0], &newest, WriteMode::InsertOnly)]).await.unwrap();
        bench.node.commit().await.unwrap();
        assert_eq!(bench.table("t"), "1 a\n2 c\n3 y", "{sql}");
        assert_eq!(bench.entries().await, [], "{sql}");
    }
}

#[tokio::test]
async fn no_other_row_is_ever_touched() {
    for sql in [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE ON CONFLICT REPLACE)",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE ON CONFLICT IGNORE)",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE)",
        "CREATE TABLE t (id INT NOT NULL UNIQUE, a UNIQUE ON
         CONFLICT REPLACE); CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END",
    ] {
        let mut bench = Bench::new(sql, &["t"]).await;
        bench.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
        bench.node.begin_apply(&bench.specs).await.unwrap();
        for id in [2, 3] {
            bench.node.savepoint().await.unwrap();
            let error = bench.write(&[row([int(id), text("a")])]).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Constraint(Constraint::Unique), "{sql}: {error}");
            bench.node.undo().await.unwrap();
        }
        bench.node.commit().await.unwrap();
        assert_eq!(bench.table("t"), "1 a\n2 b", "{sql}");
    }
}

#[tokio::test]
async fn keys_that_only_look_alike_are_told_apart() {
    let mut bench = Bench::new("CREATE TABLE t (id TEXT PRIMARY KEY COLLATE NOCASE, a)", &["t"]).await;
    bench.sql("INSERT INTO t VALUES ('A', 1)");
    bench.node.begin_apply(&bench.specs).await.unwrap();
    bench.node.savepoint().await.unwrap();
    let error = bench.write(&[row([text("a"), int(2)])]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Constraint(Constraint::Unique));
    bench.node.undo().await.unwrap();
    let small: Key = Box::new([text("a")]);
    let big: Key = Box::new([text("A")]);
    bench.node.delete(&[(&bench.specs[0], &[&small])]).await.unwrap();
    let rows = bench.node.rows(&bench.specs[0], &[&small, &big]).await.unwrap();
    assert!(rows[0].is_none() && rows[1].is_some());
    bench.node.delete(&[(&bench.specs[0], &[&big])]).await.unwrap();
    bench.write(&[row([text("a"), int(2)])]).await.unwrap();
    bench.node.commit().await.unwrap();
    assert_eq!(bench.table("t"), "a 2");
}

#[tokio::test]
async fn keys_are_told_apart_as_their_index_does_whatever_the_column_calls_alike() {
    let sql = "CREATE TABLE t (id TEXT COLLATE NOCASE NOT NULL, a, PRIMARY KEY (id COLLATE BINARY))";
    for sql in [sql.to_owned(), format!("{sql} WITHOUT ROWID")] {
        let mut bench = Bench::new(&sql, &["t"]).await;
        bench.sql("INSERT INTO t VALUES ('a', 1), ('A', 2), ('b', 3), ('B', 4)");
        let keys = ["A", "a"].map(|id| -> Key { Box::new([text(id)]) });
        bench.node.begin_apply(&bench.specs).await.unwrap();
        bench.write(&[row([text("B"), int(5)])]).await.unwrap();
        bench.node.delete(&[(&bench.specs[0], &[&keys[1]])]).await.unwrap();
        let rows = bench.node.rows(&bench.specs[0], &[&keys[0], &keys[1]]).await.unwrap();
        assert!(rows[0].is_some() && rows[1].is_none(), "{sql}");
        bench.node.commit().await.unwrap();
        let content = "SELECT group_concat(id || a, ' ') FROM (SELECT * FROM t ORDER BY id COLLATE BINARY)";
        let found: String = bench.user.query_row(content, [], |row| row.get(0)).unwrap();
        assert_eq!(found, "A2 B5 b3", "{sql}");
    }
}

#[tokio::test]
async fn unique_values_can_be_swapped() {
    for (column, null) in [("TEXT UNIQUE", true), ("TEXT NOT NULL UNIQUE", false), ("INT NOT NULL UNIQUE", false)] {
        let mut bench = Bench::new(&format!("CREATE TABLE t (id INTEGER PRIMARY KEY, a {column}, b)"), &["t"]).await;
        bench.sql("INSERT INTO t VALUES (1, 10, 'x'), (2, 20, 'y'), (3, 30, 'z')");
        bench.news(0).await;
        let value = |n: i64| if column.starts_with("INT") { int(n) } else { text(&n.to_string()) };
        let rows =
            [row([int(1), value(20), int(1)]), row([int(2), value(10), int(2)]), row([int(4), value(40), int(4)])];
        let rows: Vec<&Row> = rows.iter().collect();
        bench.node.begin_apply(&bench.specs).await.unwrap();
        bench.node.savepoint().await.unwrap();
        let write = [(&bench.specs[0], &rows[..], WriteMode::Upsert)];
        let error = bench.node.write(&write).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Constraint(Constraint::Unique));
        bench.node.undo().await.unwrap();
        bench.node.savepoint().await.unwrap();
        bench.node.make_room(&bench.specs[0], &rows, Room::Null).await.unwrap();
        bench.node.write(&write).await.unwrap();
        bench.node.release().await.unwrap();
        bench.node.commit().await.unwrap();
        assert_eq!(bench.table("t"), "1 20 1\n2 10 2\n3 30 z\n4 40 4", "{column} {null}");
        assert_eq!(bench.news(0).await, "");
    }
}

#[tokio::test]
async fn references_are_checked_after_the_group_and_never_at_the_commit() {
    let mut bench = Bench::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, up REFERENCES t ON DELETE RESTRICT);
         CREATE TABLE c (id INTEGER PRIMARY KEY, t REFERENCES t)",
        &["t", "c"],
    )
    .await;
    bench.node.begin_apply(&bench.specs).await.unwrap();
    bench.node.savepoint().await.unwrap();
    // The child stands before its parent.
    bench.write(&[row([int(1), int(2)]), row([int(2), Value::Null]), row([int(3), int(1)])]).await.unwrap();
    bench.node.release().await.unwrap();
    for _ in 0..2 {
        bench.node.savepoint().await.unwrap();
        let rows = [&row([int(1), int(99)])];
        let error = bench.node.write(&[(&bench.specs[1], &rows, WriteMode::Upsert)]).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Constraint(Constraint::Reference), "{error}");
        assert!(error.to_string().contains("`c`"), "{error}");
        bench.node.undo().await.unwrap();
    }
    bench.node.savepoint().await.unwrap();
    let error = bench.node.delete(&[(&bench.specs[0], &[&key(2)])]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Constraint(Constraint::Reference), "{error}");
    bench.node.undo().await.unwrap();
    // Parent and child together, in the wrong order, although the reference says RESTRICT.
    bench.node.delete(&[(&bench.specs[0], &[&key(2), &key(1), &key(3)])]).await.unwrap();
    bench.node.commit().await.unwrap();
    assert_eq!(bench.table("t"), "");
    bench.node.begin_apply(&bench.specs).await.unwrap();
    let (parent, child) = ([&row([int(7), Value::Null])], [&row([int(1), int(7)])]);
    let groups = [(&bench.specs[1], &child[..], WriteMode::Upsert), (&bench.specs[0], &parent[..], WriteMode::Upsert)];
    bench.node.write(&groups).await.unwrap();
    bench.node.commit().await.unwrap();
    assert_eq!(bench.table("c"), "1 7");
}

#[tokio::test]
async fn what_cascades_and_triggers_do_is_recorded_and_own_writes_are_not() {
    let mut bench = Bench::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT UNIQUE, n INT);
         CREATE TABLE c (id INTEGER PRIMARY KEY, t REFERENCES t ON DELETE CASCADE,
                         code REFERENCES t (code) ON UPDATE CASCADE);
         CREATE TABLE log (id INTEGER PRIMARY KEY, what UNIQUE);
         CREATE TRIGGER count AFTER INSERT ON t BEGIN
             INSERT OR IGNORE INTO log (what) VALUES (NEW.id); UPDATE t SET n = n + 1 WHERE id = 100; END;
         CREATE TRIGGER changed AFTER UPDATE OF code ON t BEGIN INSERT OR IGNORE INTO log (what) VALUES (NEW.id); END",
        &["t", "c", "log"],
    )
    .await;
    bench.sql(
        "INSERT INTO t VALUES (100, 'x', 0), (1, 'a', 0), (2, 'b', 0); INSERT INTO c VALUES (10, 1, 'a'), (20, 2, 'b')",
    );
    for table in 0..3 {
        bench.news(table).await;
    }
    bench.node.begin_apply(&bench.specs).await.unwrap();
    // The log's row is there already: the trigger's own OR IGNORE must hold while Concord writes.
    bench.write(&[row([int(1), text("aa"), int(5)]), row([int(3), text("c"), int(0)])]).await.unwrap();
    bench.node.delete(&[(&bench.specs[0], &[&key(2)])]).await.unwrap();
    bench.node.commit().await.unwrap();
    assert_eq!(bench.table("t"), "1 aa 5\n3 c 0\n100 x 4");
    assert_eq!(bench.table("c"), "10 1 aa");
    assert_eq!(bench.news(0).await, "U100");
    assert_eq!(bench.news(1).await, "U10 D20");
    assert_eq!(bench.news(2).await, "I4");
}

/// What a cascade did to a row that is written, or deleted, afterwards is overwritten and no user's change; what it did to others is.
#[tokio::test]
async fn what_a_cascade_did_to_rows_that_arrive_is_forgotten() {
    let mut bench = Bench::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT UNIQUE);
         CREATE TABLE c (id INTEGER PRIMARY KEY, code TEXT REFERENCES t (code) ON UPDATE CASCADE)",
        &["t", "c"],
    )
    .await;
    bench.sql("INSERT INTO t VALUES (1, 'x'); INSERT INTO c VALUES (1, 'x'), (2, 'x'), (3, 'x')");
    for table in 0..2 {
        bench.news(table).await;
    }
    bench.node.begin_apply(&bench.specs).await.unwrap();
    bench.write(&[row([int(1), text("y")])]).await.unwrap();
    let child = [&row([int(1), text("y")])];
    bench.node.write(&[(&bench.specs[1], &child, WriteMode::Upsert)]).await.unwrap();
    bench.node.delete(&[(&bench.specs[1], &[&key(2)])]).await.unwrap();
    bench.node.commit().await.unwrap();
    assert_eq!(bench.table("c"), "1 y\n3 y");
    assert_eq!((bench.news(0).await, bench.news(1).await), (String::new(), "U3".to_owned()));
}

#[tokio::test]
async fn rows_that_triggers_change_are_told() {
    let mut bench = Bench::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b);
         CREATE TRIGGER stamp AFTER UPDATE ON t WHEN NEW.a = 'stamp' BEGIN UPDATE t SET b = 'now' WHERE id = NEW.id; END;
         CREATE TRIGGER skip BEFORE INSERT ON t WHEN NEW.a = 'skip' BEGIN SELECT RAISE(IGNORE); END;
         CREATE TRIGGER refuse BEFORE INSERT ON t WHEN NEW.a = 'refuse' BEGIN SELECT RAISE(ABORT, 'not here'); END;
         CREATE TRIGGER keep BEFORE DELETE ON t WHEN OLD.a = 'keep' BEGIN SELECT RAISE(IGNORE); END;
         CREATE TRIGGER revive AFTER DELETE ON t WHEN OLD.a = 'revive' BEGIN INSERT INTO t VALUES (OLD.id, 'back', 0); END",
        &["t"],
    )
    .await;
    bench.sql("INSERT INTO t VALUES (1, 'x', 0), (2, 'x', 0), (5, 'keep', 0), (6, 'revive', 0)");
    bench.news(0).await;
    let rows =
        [row([int(1), text("stamp"), int(1)]), row([int(2), text("y"), int(1)]), row([int(3), text("skip"), int(1)])];
    bench.node.begin_apply(&bench.specs).await.unwrap();
    bench.write(&rows).await.unwrap();
    let rows: Vec<&Row> = rows.iter().collect();
    let altered = bench.node.altered(&bench.specs[0], &rows).await.unwrap();
    assert_eq!(altered, [(key(1), "b".to_owned()), (key(3), "id".to_owned())]);
    bench.node.savepoint().await.unwrap();
    let error = bench.write(&[row([int(4), text("refuse"), int(1)])]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Constraint(Constraint::Other));
    assert!(error.to_string().contains("not here"), "{error}");
    bench.node.undo().await.unwrap();
    for id in [5, 6] {
        bench.node.savepoint().await.unwrap();
        let error = bench.node.delete(&[(&bench.specs[0], &[&key(id)])]).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Constraint(Constraint::Other));
        bench.node.undo().await.unwrap();
    }
    bench.node.commit().await.unwrap();
    assert_eq!(bench.entries().await, []);
}

/// What an index, a check, a computed column or a trigger cannot work out is a matter of the row, and of no other.
#[tokio::test]
async fn what_an_expression_fails_at_is_about_the_row() {
    for sql in [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE INDEX k ON t (json_extract(a, '$.k'))",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a, k AS (json_extract(a, '$.k')) STORED)",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a, CHECK (json_extract(a, '$.k') IS NOT 'none'))",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a);
         CREATE TRIGGER look AFTER INSERT ON t BEGIN SELECT json_extract(NEW.a, '$.k'); END",
    ] {
        let mut bench = Bench::new(sql, &["t"]).await;
        bench.node.begin_apply(&bench.specs).await.unwrap();
        bench.node.savepoint().await.unwrap();
        let error = bench.write(&[row([int(1), text("{}")]), row([int(2), text("")])]).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Constraint(Constraint::Other), "{sql}: {error}");
        assert!(error.to_string().contains("malformed JSON"), "{sql}: {error}");
        bench.node.undo().await.unwrap();
        bench.write(&[row([int(1), text("{}")])]).await.unwrap();
        bench.node.commit().await.unwrap();
        let there: i64 = bench.user.query_row("SELECT max(id) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(there, 1, "{sql}");
    }
}

#[tokio::test]
async fn rows_that_others_refer_to_are_found() {
    let mut bench = Bench::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, up REFERENCES t ON DELETE CASCADE);
         CREATE TABLE c (id INTEGER PRIMARY KEY, t REFERENCES t ON DELETE SET NULL)",
        &["t", "c"],
    )
    .await;
    bench.sql("INSERT INTO t VALUES (1, 1), (2, 1), (3, 2), (4, NULL), (5, NULL); INSERT INTO c VALUES (1, 4), (2, 4)");
    bench.node.begin_apply(&bench.specs).await.unwrap();
    let (t, c) = (&bench.specs[0], &bench.specs[1]);
    let keys: Vec<Key> = (1..=5).map(key).collect();
    let keys: Vec<&Key> = keys.iter().collect();
    let node = &mut bench.node;
    assert_eq!(node.still_referred(t, &keys, &[]).await.unwrap(), [key(1), key(2), key(4)]);
    assert_eq!(node.still_referred(t, &keys, &[(t, &keys)]).await.unwrap(), [key(4)]);
    assert_eq!(node.still_referred(t, &keys, &[(t, &keys[..1])]).await.unwrap(), [key(1), key(2), key(4)]);
    assert_eq!(node.still_referred(t, &keys, &[(t, &keys), (c, &keys[..1])]).await.unwrap(), [key(4)]);
    assert_eq!(node.still_referred(t, &keys, &[(t, &keys), (c, &keys[..2])]).await.unwrap(), []);
}

#[tokio::test]
async fn what_users_commit_in_between_is_noticed() {
    let mut bench = Bench::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE TRIGGER x AFTER UPDATE ON t BEGIN SELECT 1; END",
        &["t"],
    )
    .await;
    bench.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')");
    bench.node.begin_read(&bench.specs).await.unwrap();
    let read = bench.node.entries(&bench.specs[0], &Cut::START, None, 99).await.unwrap().whole;
    // The snapshot stands while a user writes, and does not make him wait.
    bench.sql("UPDATE t SET a = 'late' WHERE id = 2; INSERT INTO t VALUES (9, 'late')");
    assert_eq!(bench.node.entries(&bench.specs[0], &Cut::START, None, 99).await.unwrap().entries.len(), 3);
    let rows = bench.node.rows(&bench.specs[0], &[&key(2), &key(9)]).await.unwrap();
    assert_eq!(rows, [Some(Ok(row([int(2), text("b")]))), None]);
    bench.node.end_read().await.unwrap();
    let keys: Vec<Key> = [1, 2, 9].map(key).into();
    let keys: Vec<&Key> = keys.iter().collect();
    bench.node.begin_apply(&bench.specs).await.unwrap();
    bench.node.savepoint().await.unwrap();
    bench.write(&[row([int(1), text("x")]), row([int(2), text("x")])]).await.unwrap();
    assert_eq!(bench.node.unseen(&bench.specs[0], &read, &keys).await.unwrap(), [key(2), key(9)]);
    // Nobody else writes now.
    bench.user.busy_timeout(std::time::Duration::ZERO).unwrap();
    assert!(bench.user.execute_batch("UPDATE t SET a = 'locked out'").is_err());
    bench.node.undo().await.unwrap();
    bench.node.commit().await.unwrap();
    // Once read, they are seen.
    let cut = Cut::through(5);
    bench.node.begin_apply(&bench.specs).await.unwrap();
    assert_eq!(bench.node.unseen(&bench.specs[0], &cut, &keys).await.unwrap(), Vec::<Key>::new());
}

#[tokio::test]
async fn notes_come_back_as_arrivals() {
    let mut bench = Bench::bare("CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a, b)").await;
    bench.add("t").await.images = vec![1];
    bench.install().await;
    let dot = Dot { node: NodeId(2), number: 7, mark: 70 };
    let mut vector = Vector::EMPTY;
    vector.add(dot);
    vector.add(Dot { node: NodeId(0), number: 3, mark: 3 });
    let note = |id: &str, op, images| Note {
        key: Box::new([text(id)]),
        op,
        dot,
        vector: vector.clone(),
        stamp: Stamp { time: 123_456_789, node: NodeId(2) },
        images,
    };
    let image = |value| Some(row([value]));
    let notes = [
        note("k", Op::Insert, Some(Images { before: None, after: image(Value::Null) })),
        note("k", Op::Update, Some(Images { before: image(Value::Null), after: image(int(2)) })),
        note("l", Op::Delete, None),
    ];
    bench.node.begin_apply(&bench.specs).await.unwrap();
    bench.node.note(&bench.specs[0], &notes.iter().collect::<Vec<_>>()).await.unwrap();
    bench.node.commit().await.unwrap();
    bench.sql("INSERT INTO t VALUES ('k', 5, 0)");
    let entries = bench.entries().await;
    let ops: Vec<Op> = entries.iter().map(|entry| entry.op).collect();
    assert_eq!(ops, [Op::Insert, Op::Update, Op::Delete, Op::Insert]);
    for (entry, note) in entries.iter().zip(&notes) {
        assert_eq!((entry.time, &entry.key, &entry.images), (note.stamp.time, &note.key, &note.images));
        let arrival = entry.arrival.as_ref().unwrap();
        assert_eq!((arrival.dot, &arrival.vector), (dot, &vector));
    }
    assert_eq!(entries[3].images, Some(Images { before: None, after: image(int(5)) }));
    let keys: [Key; 2] = [Box::new([text("k")]), Box::new([text("l")])];
    bench.node.begin_read(&bench.specs).await.unwrap();
    for (wanted, ids) in [(vec![&keys[0], &keys[1]], vec![1, 2, 3, 4]), (vec![&keys[1]], vec![3])] {
        let mut of_keys = Vec::new();
        bench.node.entries_of(&bench.specs[0], &wanted, &mut |entry| of_keys.push(entry.id)).await.unwrap();
        assert_eq!(of_keys, ids);
    }
    assert_eq!(bench.node.pending(&bench.specs[0].name, &Cut::through(1), None).await.unwrap(), 3);
    let page = bench.node.entries(&bench.specs[0], &Cut::through(1), None, 2).await.unwrap();
    assert!(page.more && page.whole == Cut::through(4) && page.entries[0].id == 2);
    bench.node.end_read().await.unwrap();
    assert_eq!(bench.node.purge(&bench.specs[0], &Cut::through(4), false, &[]).await.unwrap(), 1);
    assert_eq!(bench.entries().await.len(), 3);
    assert_eq!(bench.node.purge(&bench.specs[0], &Cut::through(4), true, &[]).await.unwrap(), 3);
    assert_eq!(bench.entries().await, []);
}

#[tokio::test]
async fn waiting_rows_and_the_journal_are_kept() {
    let mut bench = Bench::bare("CREATE TABLE t (id DECIMAL(9,2) PRIMARY KEY NOT NULL, at DATETIME)").await;
    let spec = bench.add("t").await;
    spec.columns[0].ty = Type::Decimal;
    spec.columns[1].ty = Type::Instant;
    // The second shared column does not live here.
    spec.columns[1].shared = Some(2);
    spec.layout =
        [("id", Type::Decimal), ("name", Type::Any), ("at", Type::Instant)].map(|(name, ty)| (name.into(), ty)).into();
    bench.install().await;
    let decimal = |text: &str| Value::Decimal(crate::model::Decimal::parse(text).unwrap());
    let mut vector = Vector::EMPTY;
    vector.add(Dot { node: NodeId(1), number: 7, mark: 70 });
    let parked = |id: &str, message: &str| Parked {
        table: 0,
        key: Box::new([decimal(id)]),
        code: ParkedCode::Constraint,
        message: message.into(),
        since: 5,
        vector: vector.clone(),
        stamp: Stamp { time: 6, node: NodeId(1) },
        content: Waiting::Row {
            row: row([decimal(id), text("a\0'b"), Value::Instant(1_000_001)]),
            unknown: Vec::new(),
        },
        standing: Vector::EMPTY,
        standing_time: 4,
        read: Cut::new(9, vec![3, 7]),
    };
    bench.node.begin_apply(&bench.specs).await.unwrap();
    bench.node.park(&bench.specs, &[parked("1.50", "first"), parked("2", "other")]).await.unwrap();
    // Of the first nobody knew a name.
    let unknown = |parked: Parked| {
        let row = row([parked.key[0].clone(), Value::Null, Value::Instant(1_000_001)]);
        Parked { content: Waiting::Row { row, unknown: vec![1] }, ..parked }
    };
    let unread = |parked: Parked| Parked { content: Waiting::Unread, ..parked };
    bench.node.park(&bench.specs, &[unknown(parked("1.5", "second"))]).await.unwrap();
    // Without a name of its origin it would be found by nobody.
    let stranger = Parked { stamp: Stamp { time: 6, node: NodeId(9) }, ..parked("3", "unknown") };
    assert!(bench.node.park(&bench.specs, &[stranger]).await.is_err());
    let lost = |id: &str, decided| Lost {
        id: id.into(),
        table: 0,
        key: Box::new([decimal("1.5")]),
        decided,
        winner: NodeId(0),
        winner_time: 10,
        winner_row: None,
        winner_unknown: Vec::new(),
        loser: NodeId(1),
        loser_time: 9,
        loser_row: Some(std::sync::Arc::new(row([decimal("1.5"), Value::Null, Value::Null]))),
        loser_unknown: vec![1],
        reason: "latest wins".into(),
        told: (id == "a").then(|| "{\"told\":\"ä\"}".into()),
    };
    bench.node.record(&bench.specs, &[&lost("a", 1), &lost("b", 2)], false).await.unwrap();
    bench.node.record(&bench.specs, &[&Lost { reason: "again".into(), ..lost("a", 3) }], true).await.unwrap();
    bench.node.commit().await.unwrap();
    let opened = bench.node.begin_read(&bench.specs).await.unwrap();
    assert_eq!(opened.parked, [parked("1.5", "second"), parked("2", "other")].map(unread));
    let asked: [Key; 3] = ["1.500", "2", "9"].map(|id| Box::new([decimal(id)]) as Key);
    let waiting = bench.node.waiting_rows(&bench.specs[0], &asked.each_ref()).await.unwrap();
    assert_eq!(waiting, [unknown(parked("1.5", "second")), parked("2", "other")]);
    bench.node.end_read().await.unwrap();
    assert_eq!(bench.node.journal(&bench.specs, Sought::All, 0).await.unwrap(), [lost("b", 2), lost("a", 1)]);
    assert_eq!(bench.node.journal(&bench.specs, Sought::All, 1).await.unwrap(), [lost("b", 2)]);
    let keys: [Key; 2] = [Box::new([decimal("1.500")]), Box::new([decimal("9")])];
    for (sought, count) in
        [(Sought::Key(&keys[0]), 2), (Sought::Key(&keys[1]), 0), (Sought::Id("b"), 1), (Sought::Id(""), 2)]
    {
        assert_eq!(bench.node.journal(&bench.specs, sought, 0).await.unwrap().len(), count, "{sought:?}");
    }
    bench.node.begin_apply(&bench.specs).await.unwrap();
    bench.node.unpark(&bench.specs[0], &[&keys[0], &keys[1]]).await.unwrap();
    bench.node.commit().await.unwrap();
    assert_eq!(bench.node.begin_read(&bench.specs).await.unwrap().parked, [unread(parked("2", "other"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_write_while_concord_reads_and_applies() {
    let mut bench = Bench::new("CREATE TABLE t (id INTEGER PRIMARY KEY, n INT, UNIQUE (n))", &["t"]).await;
    let path = bench.url.strip_prefix("sqlite:").unwrap().to_owned();
    let writer = std::thread::spawn(move || {
        let user = Connection::open(path).unwrap();
        user.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
        for n in 0..300 {
            user.execute("INSERT OR REPLACE INTO t (id, n) VALUES (?1, ?2)", [n % 7, n % 11]).unwrap();
        }
    });
    let mut replica = Replica::default();
    let mut own = 1_000;
    loop {
        let finished = writer.is_finished();
        bench.node.begin_apply(&bench.specs).await.unwrap();
        own += 1;
        bench.write(&[row([int(own), int(own)])]).await.unwrap();
        bench.node.commit().await.unwrap();
        let only_users: BTreeMap<String, Row> = BTreeMap::new();
        // In the midst of it the copy is behind the table; it has to be right in the end.
        let _behind = replica.follow(&mut bench, 0, &only_users).await;
        if finished {
            break;
        }
    }
    writer.join().unwrap();
    let mut whole = whole(&bench.user, &bench.specs[0]);
    whole.retain(|_, row| matches!(row[0], Value::Int(id) if id < 1_000));
    replica.follow(&mut bench, 0, &whole).await.unwrap();
    assert!(own > 1_001);
}

#[tokio::test]
async fn many_rows_with_every_kind_of_key() {
    for sql in [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)",
        "CREATE TABLE t (a INT NOT NULL, id INT NOT NULL, b, PRIMARY KEY (id, a))",
        "CREATE TABLE t (a TEXT, id INT, b, PRIMARY KEY (a, id)) WITHOUT ROWID",
        "CREATE TABLE t (id PRIMARY KEY NOT NULL, a, b)",
        "CREATE TABLE t (id INT NOT NULL UNIQUE, a, b); CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END",
    ] {
        let mut bench = Bench::new(sql, &["t"]).await;
        let is_text = |column: &Column| column.native == "TEXT";
        let rows: Vec<Row> = (0..250)
            .map(|n| {
                bench.specs[0].columns.iter().map(|c| if is_text(c) { text(&n.to_string()) } else { int(n) }).collect()
            })
            .collect();
        bench.node.begin_apply(&bench.specs).await.unwrap();
        bench.write(&rows).await.unwrap();
        bench.write(&rows[..130]).await.unwrap();
        bench.node.commit().await.unwrap();
        let count = |bench: &Bench| bench.table("t").lines().count();
        assert_eq!(count(&bench), 250, "{sql}");
        let keys: Vec<Key> = rows[..249].iter().map(|row| bench.specs[0].key_of(row)).collect();
        let keys: Vec<&Key> = keys.iter().collect();
        bench.node.begin_apply(&bench.specs).await.unwrap();
        bench.node.delete(&[(&bench.specs[0], &keys)]).await.unwrap();
        bench.node.commit().await.unwrap();
        assert_eq!(bench.table("t"), "249 249 249", "{sql}");
        assert_eq!(bench.entries().await, [], "{sql}");
        if let [first, second] = &bench.specs[0].key[..] {
            let name = |at: &usize| bench.specs[0].columns[*at].name.clone();
            let delete = format!(
                "EXPLAIN QUERY PLAN DELETE FROM t WHERE ({}, {}) IN (VALUES (1, 2), (3, 4))",
                name(first),
                name(second)
            );
            let plan: String = bench.user.query_row(&delete, [], |row| row.get(3)).unwrap();
            assert!(plan.starts_with("SEARCH t USING"), "{plan}");
        }
    }
}

/// A disk that is full, played by a limit on the file.
#[tokio::test]
async fn a_file_that_may_not_grow_keeps_what_it_has() {
    let bench =
        Bench::new("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t VALUES (1, 'a')", &["t"]).await;
    let mut node = crate::node::sqlite::Sqlite::open(bench.url.trim_start_matches("sqlite:").into()).unwrap();
    let rows: Vec<Row> = (1..100).map(|id| row([int(id), text(&"x".repeat(1000))])).collect();
    let rows: Vec<&Row> = rows.iter().collect();
    let limit = |node: &crate::node::sqlite::Sqlite, pages: &str| {
        node.db.execute_batch(&format!("PRAGMA max_page_count = {pages}")).unwrap();
    };
    limit(&node, "1");
    node.begin_apply(&bench.specs).await.unwrap();
    node.savepoint().await.unwrap();
    let error = node.write(&[(&bench.specs[0], &rows, WriteMode::Upsert)]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Retry);
    assert!(error.to_string().ends_with("is full; make room on the disk"), "{error}");
    node.rollback().await.unwrap();
    assert_eq!(bench.table("t"), "1 a");
    limit(&node, "1000000");
    node.begin_apply(&bench.specs).await.unwrap();
    node.write(&[(&bench.specs[0], &rows, WriteMode::Upsert)]).await.unwrap();
    node.commit().await.unwrap();
    assert_eq!(bench.table("t").lines().count(), 99);
}

/// Users write in between.
#[tokio::test]
async fn many_entries_are_purged_in_several_transactions() {
    let mut bench = Bench::new("CREATE TABLE t (id INTEGER PRIMARY KEY)", &["t"]).await;
    bench.sql(
        "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 110000) SELECT i FROM n",
    );
    let before = bench.node.pulse(&[]).await.unwrap();
    assert_eq!(bench.node.purge(&bench.specs[0], &Cut::through(110_000), true, &[]).await.unwrap(), 110_000);
    assert_eq!(bench.node.pulse(&[]).await.unwrap() - before, 3);
    assert_eq!(bench.entries().await, []);
}

/// What stays of the portions before it, as what Concord wrote, is not gone through again by each.
#[tokio::test]
async fn a_portion_of_a_purge_begins_where_the_last_one_ended() {
    let bench = Bench::new("CREATE TABLE t (id INTEGER PRIMARY KEY)", &["t"]).await;
    bench.sql("INSERT INTO t VALUES (1), (2), (3), (4)");
    let (db, spec, through) = (&bench.user, &bench.specs[0], Cut::through(3));
    assert_eq!(history::purge(db, spec, &through, false, Some(2), &[]).unwrap(), 2);
    assert_eq!(history::purge(db, spec, &through, false, None, &[]).unwrap(), 1);
}
