//! What is written is what was meant, and what is read is what is there.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::model::{Decimal, Domain, Json, time};
use crate::node::{ErrorKind, Walked};

/// Columns of each declared type, with values of each type that they accept.
fn pairs() -> Vec<(&'static str, Type, BoxedStrategy<Value>)> {
    let texts = prop_oneof![any::<String>(), Just("12".to_owned()), Just("1e5".to_owned()), Just("a\0b".to_owned())];
    let texts = texts.prop_map(Value::text).boxed();
    let ints = any::<i64>().prop_map(Value::Int).boxed();
    let numbers = any::<i64>().prop_filter("these are true and false", |v| !(0..=1).contains(v)).prop_map(Value::Int);
    let bools = prop_oneof![any::<bool>().prop_map(Value::Bool), numbers].boxed();
    let floats = any::<u64>().prop_map(f64::from_bits).prop_filter("NaN is refused", |v| !v.is_nan());
    let floats = prop_oneof![floats, (-1000..1000i32).prop_map(f64::from)].prop_map(Value::Float).boxed();
    let decimal = |digits: i64| {
        (-digits..digits, 0..9usize).prop_map(|(v, scale)| Value::Decimal(Decimal::from_unscaled(v.into(), scale)))
    };
    let wide =
        (any::<i64>(), 0..30usize).prop_map(|(v, s)| Value::Decimal(Decimal::from_unscaled(v.into(), s))).boxed();
    let narrow = prop_oneof![decimal(999_999_999_999_999), decimal(1000)].boxed();
    let bytes = prop::collection::vec(any::<u8>(), 0..20).prop_map(|v| Value::Bytes(v.into())).boxed();
    let zeros =
        (0..10_000, 0..13, 0..32).prop_map(|(y, m, d)| time::parse_date(&format!("{y:04}-{m:02}-{d:02}")).unwrap());
    let of_zeros = (zeros.clone(), 0..time::DAY).prop_map(|(day, micros)| i64::from(day) * time::DAY + micros);
    let micros =
        prop_oneof![-60_000_000_000_000_000..200_000_000_000_000_000i64, Just(i64::MAX), Just(i64::MIN), of_zeros];
    let dates =
        prop_oneof![-700_000..2_000_000i32, Just(i32::MAX), Just(i32::MIN), zeros].prop_map(Value::Date).boxed();
    let times = (-time::LONGEST..=time::LONGEST).prop_map(Value::Time).boxed();
    let stamps = micros.clone().prop_map(Value::Timestamp).boxed();
    let instants = micros.prop_map(Value::Instant).boxed();
    let uuids = prop_oneof![any::<[u8; 16]>(), Just([0x11; 16])].prop_map(Value::Uuid).boxed();
    let json = |text: &str| Value::Json(Json::new(text));
    let documents =
        ["{\"a\": 1.50}", "[1, 2]", "\"12\"", "null", "true", "12", "-1.5", "1.0", "9007199254740993", " 7 "];
    let jsons = prop::sample::select(documents.to_vec()).prop_map(json).boxed();
    let mut pairs = vec![
        ("INTEGER", Type::Int, ints.clone()),
        ("BIGINT", Type::Bool, bools.clone()),
        ("NUMERIC", Type::Int, ints.clone()),
        ("BOOLEAN", Type::Bool, bools.clone()),
        ("REAL", Type::Float, floats.clone()),
        ("DOUBLE PRECISION", Type::Float, floats.clone()),
        ("DECIMAL(15, 5)", Type::Decimal, narrow),
        ("DATE", Type::Date, dates.clone()),
        ("TIME", Type::Time, times.clone()),
        ("DATETIME", Type::Timestamp, stamps.clone()),
        ("TIMESTAMP", Type::Instant, instants.clone()),
        ("JSON", Type::Json, jsons.clone()),
        ("UUID", Type::Uuid, uuids.clone()),
        ("BLOB", Type::Bytes, bytes.clone()),
        ("BLOB", Type::Uuid, uuids.clone()),
        ("", Type::Int, ints),
        ("", Type::Bool, bools),
        ("", Type::Float, floats),
        ("", Type::Bytes, bytes),
    ];
    for declared in ["TEXT", "VARCHAR(9)", ""] {
        pairs.extend([
            (declared, Type::Text, texts.clone()),
            (declared, Type::Decimal, wide.clone()),
            (declared, Type::Date, dates.clone()),
            (declared, Type::Time, times.clone()),
            (declared, Type::Timestamp, stamps.clone()),
            (declared, Type::Instant, instants.clone()),
            (declared, Type::Json, jsons.clone()),
            (declared, Type::Uuid, uuids.clone()),
        ]);
    }
    pairs
}

#[tokio::test]
async fn values_come_back_as_they_were_written() {
    let pairs = pairs();
    let columns =
        pairs.iter().enumerate().map(|(at, (declared, ..))| format!(", c{at} {declared}")).collect::<String>();
    let mut bench = Bench::bare(&format!("CREATE TABLE t (id INTEGER PRIMARY KEY{columns})")).await;
    let spec = bench.add("t").await;
    for (column, (declared, ty, _)) in spec.columns[1..].iter_mut().zip(&pairs) {
        let Domain::Loose { accepts, .. } = &column.domain else { panic!("{declared}") };
        assert!(accepts.contains(ty), "{declared} {ty}");
        column.ty = ty.clone();
    }
    bench.install().await;
    let mut runner = TestRunner::deterministic();
    let strategies: Vec<_> =
        pairs.iter().map(|(.., strategy)| prop_oneof![9 => strategy.clone(), 1 => Just(Value::Null)]).collect();
    let mut rows = Vec::new();
    for id in 0..500 {
        let values = strategies.iter().map(|strategy| strategy.new_tree(&mut runner).unwrap().current());
        let row: Row = std::iter::once(int(id)).chain(values).collect();
        assert_eq!(bench.specs[0].misfit(&row), None);
        rows.push(row);
    }
    bench.node.begin_apply(&bench.specs).await.unwrap();
    bench.write(&rows).await.unwrap();
    bench.node.commit().await.unwrap();
    let keys: Vec<Key> = (0..500).map(key).collect();
    let keys: Vec<&Key> = keys.iter().collect();
    bench.node.begin_read(&bench.specs).await.unwrap();
    let back = bench.node.rows(&bench.specs[0], &keys).await.unwrap();
    for (wrote, read) in rows.iter().zip(back) {
        let read = read.unwrap().unwrap();
        for ((wrote, read), column) in wrote.iter().zip(&read).zip(&bench.specs[0].columns) {
            assert_eq!(read, wrote, "{} {}", column.native, column.ty);
        }
    }
}

#[tokio::test]
async fn any_value_travels_between_columns_of_one_affinity() {
    let declared = ["INTEGER", "REAL", "TEXT", "BLOB", "NUMERIC", "", "DATE", "STRING"];
    let columns = declared.iter().enumerate().map(|(at, declared)| format!(", c{at} {declared}")).collect::<String>();
    let mut bench = Bench::new(&format!("CREATE TABLE t (id INTEGER PRIMARY KEY{columns})"), &["t"]).await;
    let odd = [
        "1",
        "1.0",
        "1.5",
        "'1'",
        "'x'",
        "'1.5'",
        "x'00ff'",
        "NULL",
        "9e999",
        "' 7 '",
        "'1e3'",
        "9223372036854775807",
        "'0x10'",
        "'inf'",
        "1e20",
        "'+5'",
    ];
    for (id, value) in odd.iter().enumerate() {
        let values = vec![*value; declared.len()].join(", ");
        bench.sql(&format!("INSERT INTO t VALUES ({id}, {values})"));
    }
    let before = bench.table("t");
    bench.node.begin_read(&bench.specs).await.unwrap();
    let keys: Vec<Key> = (0..odd.len() as i64).map(key).collect();
    let keys: Vec<&Key> = keys.iter().collect();
    let rows = bench.node.rows(&bench.specs[0], &keys).await.unwrap();
    bench.node.end_read().await.unwrap();
    let rows: Vec<Row> = rows.into_iter().map(|row| row.unwrap().unwrap()).collect();
    bench.sql("DELETE FROM t");
    bench.node.begin_apply(&bench.specs).await.unwrap();
    bench.write(&rows).await.unwrap();
    bench.node.commit().await.unwrap();
    assert_eq!(bench.table("t"), before);
}

#[tokio::test]
async fn a_cell_of_another_kind_is_told_by_its_column() {
    let mut bench = Bench::bare("CREATE TABLE t (id INTEGER PRIMARY KEY, i INT, s TEXT, d DATE, b BOOL)").await;
    let spec = bench.add("t").await;
    for (column, ty) in spec.columns.iter_mut().zip([Type::Int, Type::Int, Type::Text, Type::Date, Type::Bool]) {
        column.ty = ty;
    }
    bench.install().await;
    bench.sql(
        "INSERT INTO t VALUES (1, 'secret', '', NULL, 1), (2, 1, x'00', NULL, 1), (3, 1, CAST(x'ff' AS TEXT), NULL, 1),
                (4, 1, '', 20240101, 1), (5, 1, '', 'soon', 0), (6, 1, '', NULL, 'no'), (7, 1, '', '2024-01-01', 0)",
    );
    bench.node.begin_read(&bench.specs).await.unwrap();
    let keys: Vec<Key> = (1..=7).map(key).collect();
    let keys: Vec<&Key> = keys.iter().collect();
    let rows = bench.node.rows(&bench.specs[0], &keys).await.unwrap();
    let said: Vec<String> = rows.into_iter().filter_map(|row| row.unwrap().err()).collect();
    assert_eq!(
        said,
        [
            "column `i` holds text and integer was expected",
            "column `s` holds bytes and text was expected",
            "column `s` holds text that is not valid UTF-8",
            "column `d` holds an integer and date was expected",
            "column `d` holds text that is no date",
            "column `b` holds text and boolean was expected",
        ]
    );
}

#[tokio::test]
async fn values_that_would_change_are_refused() {
    let mut bench =
        Bench::new("CREATE TABLE t (id INTEGER PRIMARY KEY, i INT, r REAL, s TEXT, n NUMERIC, j JSON)", &["t"]).await;
    let null = || Value::Null;
    let decimal = |text: &str| Value::Decimal(Decimal::parse(text).unwrap());
    for values in [
        [text("12"), null(), null(), null(), null()],
        [Value::Float(2.0), null(), null(), null(), null()],
        [Value::Uint(u64::MAX), null(), null(), null(), null()],
        [null(), int(1), null(), null(), null()],
        [null(), Value::Float(f64::NAN), null(), null(), null()],
        [null(), null(), int(1), null(), null()],
        [null(), null(), Value::Float(0.5), null(), null()],
        [null(), null(), null(), decimal("0.12345678901234567"), null()],
        [null(), null(), null(), text("1e3"), null()],
        [null(), null(), null(), null(), Value::Json(Json::new("0.10000000000000000000001"))],
    ] {
        let row: Row = std::iter::once(int(1)).chain(values).collect();
        bench.node.begin_apply(&bench.specs).await.unwrap();
        let error = bench.write(&[row]).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Value, "{error}");
        assert!(error.to_string().contains("of `t`: the value"), "{error}");
        bench.node.rollback().await.unwrap();
    }
    let mut strict = Bench::new("CREATE TABLE t (id INTEGER PRIMARY KEY, i INT) STRICT", &["t"]).await;
    strict.node.begin_apply(&strict.specs).await.unwrap();
    assert_eq!(strict.write(&[row([int(1), text("x")])]).await.unwrap_err().kind, ErrorKind::Value);
}

#[tokio::test]
async fn a_key_in_another_spelling_is_told_and_never_taken_for_a_deletion() {
    let mut bench = Bench::bare("CREATE TABLE t (u TEXT, d TEXT, at DATETIME, a, PRIMARY KEY (u, d, at))").await;
    let spec = bench.add("t").await;
    for (column, ty) in spec.columns.iter_mut().zip([Type::Uuid, Type::Decimal, Type::Instant]) {
        column.ty = ty;
    }
    bench.install().await;
    let proper = ["'0f8fad5b-d9cb-469f-a165-70867728950e'", "'1.5'", "'2024-01-01 12:00:00+00:00'"];
    let odd = ["'0F8FAD5B-D9CB-469F-A165-70867728950E'", "'1.50'", "'2024-01-01T12:00:00Z'"];
    bench.sql(&format!("INSERT INTO t VALUES ({}, 0)", proper.join(", ")));
    for at in 0..3 {
        let mut values = proper;
        values[at] = odd[at];
        bench.sql(&format!("INSERT INTO t VALUES ({}, {at})", values.join(", ")));
    }
    let keys: Vec<Key> = bench.entries().await.into_iter().map(|entry| entry.key).collect();
    let keys: Vec<&Key> = keys.iter().collect();
    bench.node.begin_read(&bench.specs).await.unwrap();
    let rows = bench.node.rows(&bench.specs[0], &keys).await.unwrap();
    bench.node.end_read().await.unwrap();
    assert!(matches!(rows[0], Some(Ok(_))), "{:?}", rows[0]);
    for row in &rows[1..] {
        let said = row.clone().unwrap().unwrap_err();
        assert!(said.contains("as Concord spells it"), "{said}");
    }
    // What comes from elsewhere in another spelling is the same key.
    let mut row = rows[0].clone().unwrap().unwrap();
    row[1] = Value::Decimal(Decimal::parse("1.500").unwrap());
    row[3] = int(9);
    bench.node.begin_apply(&bench.specs).await.unwrap();
    bench.write(&[row]).await.unwrap();
    bench.node.commit().await.unwrap();
    let count: i64 =
        bench.user.query_row("SELECT count(*) FROM t WHERE a = 9 AND d = '1.5'", [], |row| row.get(0)).unwrap();
    assert_eq!((count, bench.table("t").lines().count()), (1, 4));
}

#[tokio::test]
async fn rows_without_a_proper_key_are_told() {
    let mut bench = Bench::bare("CREATE TABLE t (k TEXT PRIMARY KEY, a)").await;
    bench.add("t").await.columns[0].ty = Type::Text;
    bench.install().await;
    bench.sql("INSERT INTO t VALUES (NULL, 1), (NULL, 2), (x'01', 3), ('fine', 4)");
    let keys: Vec<Key> = bench.entries().await.into_iter().map(|entry| entry.key).collect();
    let keys: Vec<&Key> = keys.iter().collect();
    bench.node.begin_read(&bench.specs).await.unwrap();
    let rows = bench.node.rows(&bench.specs[0], &keys).await.unwrap();
    bench.node.end_read().await.unwrap();
    assert_eq!(rows[0], Some(Err("the key column `k` is NULL; give the row a key".to_owned())));
    assert_eq!(
        rows[2],
        Some(Err(
            "the key column `k` holds bytes and text was expected, as Concord spells it; correct the row".to_owned()
        ))
    );
    assert!(matches!(rows[3], Some(Ok(_))));
    bench.sql("DELETE FROM t WHERE k IS NULL");
    bench.node.begin_read(&bench.specs).await.unwrap();
    assert_eq!(bench.node.rows(&bench.specs[0], &keys[..1]).await.unwrap(), [None]);
}

#[tokio::test]
async fn a_walk_goes_on_behind_keys_that_are_no_text() {
    for ty in [Type::Text, Type::Any, Type::Bytes] {
        let mut bench = Bench::bare("CREATE TABLE t (k BLOB PRIMARY KEY, a)").await;
        bench.add("t").await.columns[0].ty = ty;
        bench.install().await;
        let odd = |byte: &str| format!("CAST(x'{byte}' AS TEXT)");
        // In the order of SQLite: texts by their bytes, then bytes by theirs. The texts that are none come before the others.
        let keys = ["'a'", &odd("80"), &odd("81"), "'é'", "'ü'", "x'01'", "x'80'", "x'81'"];
        for key in keys {
            bench.sql(&format!("INSERT INTO t VALUES ({key}, 1)"));
        }
        for limit in 1..=keys.len() {
            let mut walked = Vec::new();
            bench.node.begin_read(&bench.specs).await.unwrap();
            loop {
                let after = walked.last().map(|(key, _): &Walked| key.clone());
                let part = bench.node.walk(&bench.specs[0], after.as_ref(), limit).await.unwrap();
                if part.is_empty() {
                    break;
                }
                walked.extend(part);
                assert!(walked.len() <= keys.len(), "{limit}: {walked:?}");
            }
            bench.node.end_read().await.unwrap();
            assert_eq!(walked.len(), keys.len(), "{limit}: {walked:?}");
        }
    }
}

/// Where bytes are a key like any other, a text that is none is not taken for a row that is gone.
#[tokio::test]
async fn a_row_whose_key_is_no_text_is_told() {
    let mut bench = Bench::new("CREATE TABLE t (k BLOB PRIMARY KEY, a)", &["t"]).await;
    bench.sql("INSERT INTO t VALUES (CAST(x'80' AS TEXT), 1), (x'81', 2)");
    let keys: Vec<Key> = bench.entries().await.into_iter().map(|entry| entry.key).collect();
    let keys: Vec<&Key> = keys.iter().collect();
    bench.node.begin_read(&bench.specs).await.unwrap();
    let rows = bench.node.rows(&bench.specs[0], &keys).await.unwrap();
    let said = "the key column `k` holds text that is not valid UTF-8; correct the row";
    assert_eq!(rows[0], Some(Err(said.to_owned())));
    assert!(matches!(rows[1], Some(Ok(_))), "{:?}", rows[1]);
}

/// The history took a key down when its column had another type.
#[tokio::test]
async fn entries_are_about_the_rows_that_a_column_of_another_type_keeps() {
    for (former, ty, before, after) in [
        ("INTEGER", "TEXT", "(5), (-6)", [text("5"), text("-6")]),
        ("TEXT", "INTEGER", "(' +5'), ('-6')", [int(5), int(-6)]),
        ("TEXT", "NUMERIC", "('5' || char(160)), ('x')", [text("5\u{a0}"), text("x")]),
    ] {
        let create = |ty: &str| format!("CREATE TABLE t (id {ty} NOT NULL PRIMARY KEY)");
        let mut bench = Bench::new(&create(former), &["t"]).await;
        bench.sql(&format!(
            "INSERT INTO t VALUES {before}; ALTER TABLE t RENAME TO was; {}; INSERT INTO t SELECT * FROM was; DROP TABLE was",
            create(ty)
        ));
        bench.specs.clear();
        bench.add("t").await;
        bench.install().await;
        let entries = bench.entries().await;
        let told: Vec<(&str, &Value)> = entries.iter().map(|entry| (entry.op.letter(), &entry.key[0])).collect();
        assert_eq!(told, [("I", &after[0]), ("I", &after[1])], "{former} {ty}");
        bench.node.begin_read(&bench.specs).await.unwrap();
        let keys: Vec<&Key> = entries.iter().map(|entry| &entry.key).collect();
        let rows = bench.node.rows(&bench.specs[0], &keys).await.unwrap();
        assert!(rows.iter().all(|row| matches!(row, Some(Ok(_)))), "{former} {ty}: {rows:?}");
        bench.node.end_read().await.unwrap();
    }
}
