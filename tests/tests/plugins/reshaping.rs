//! Mappings by themselves: each attack has one outcome, in both directions, and the rows beside the one that is concerned are mapped.

use std::sync::Arc;

use concord::model::{Row, Type, Value};
use concord::plugin::{Failure, Limits, Mapping, Put, Shape, ShapeColumn};

use super::{facts, items, load, row};

/// Tight, so that what runs into them does so soon.
fn tight() -> Limits {
    Limits { memory: 16 << 20, fuel: 50_000_000, fuel_per_row: 1_000_000, answer: 16 << 20, ..Limits::default() }
}

fn open(attack: &str) -> Result<Mapping, Failure> {
    let config = format!(r#"{{"attack": "{attack}"}}"#);
    Mapping::open(Arc::new(load("hostile", tight())?), items(), &config, &facts())
}

fn rows(notes: &[&str]) -> Vec<Row> {
    notes.iter().enumerate().map(|(at, note)| row(at as i64, note, 1)).collect()
}

/// The answers in one direction.
fn mapped(mapping: &Mapping, direction: &str, rows: &[Row]) -> Vec<Result<Row, Failure>> {
    match direction {
        "shared" => mapping.to_shared(&rows.iter().collect::<Vec<_>>()),
        _ => mapping.to_local(&rows.iter().map(|shared| Put { shared, current: None }).collect::<Vec<_>>()),
    }
}

/// What becomes of a poisoned row between two good ones, which is the same in both directions.
#[track_caller]
fn poisoned(attack: &str) -> String {
    let said = ["shared", "local"].map(|direction| {
        let mapping = open(&format!("{direction}-{attack}")).unwrap_or_else(|why| panic!("{attack}: {why}"));
        let asked = rows(&["good", "poison", "good"]);
        let mut answers = mapped(&mapping, direction, &asked);
        assert_eq!(answers.len(), 3, "{attack}");
        for neighbour in [2, 0] {
            assert_eq!(answers.remove(neighbour), Ok(asked[neighbour].clone()), "{attack}: the row beside it");
        }
        let good = rows(&["good"; 3]);
        let afterwards: Vec<Row> =
            mapped(&mapping, direction, &good).into_iter().map(|row| row.expect(attack)).collect();
        assert_eq!(afterwards, good, "{attack}: afterwards");
        let failure = answers.remove(0).expect_err(attack);
        let told = format!("plugin `hostile`, mapping of `items`, to-{direction}: ");
        assert!(failure.to_string().starts_with(&told), "{failure}");
        format!("{}: {}", failure.code, failure.message)
    });
    assert_eq!(said[0], said[1]);
    said[0].clone()
}

#[test]
fn what_it_makes_has_to_be_a_table_with_the_same_key() {
    let said = |attack: &str| {
        let failure = open(attack).expect_err(attack);
        let told = "plugin `hostile`, mapping of `items`, open: ";
        assert!(failure.to_string().starts_with(told) && failure.hint.is_some(), "{failure}");
        assert_eq!(&*failure.code, "open");
        failure.message.to_string()
    };
    assert_eq!(said("make-no-key"), "it makes a table without a key");
    assert_eq!(said("make-nothing"), "it makes a table without a key");
    assert_eq!(said("make-two-keys"), "it makes a table with the key (id, note), and that of the node is (id)");
    assert_eq!(said("make-other-key"), "in the key it makes `id` of text, and `id` of the node holds integer");
    assert_eq!(said("make-twice"), "it makes two columns `NOTE`");
    assert_eq!(said("make-kind"), "it makes a column `price` of the kind `money`, which is none");
    assert_eq!(said("make-nameless"), "it makes a column ``, which is no name");
    let refused = open("open-refuse").expect_err("it refuses");
    assert_eq!(&*refused.code, "no-thanks");
    assert_eq!(&*open("open-panic").expect_err("it panics").code, "trap");
}

#[test]
fn whatever_goes_wrong_is_no_answer() {
    assert_eq!(poisoned("problem"), "bad-note: `note`: the note is poison");
    assert_eq!(poisoned("short"), "answer: a row of 2 values, and the table has 3 columns");
    assert_eq!(poisoned("long"), "answer: a row of 4 values, and the table has 3 columns");
    assert_eq!(poisoned("key"), "answer: it changed the key of the row");
    assert_eq!(poisoned("uncopied"), "answer: `stock` is another than `stock`, of which it said that it is a copy");
    assert_eq!(poisoned("null-key"), "answer: it changed the key of the row");
    assert_eq!(poisoned("kind"), "answer: the value of `stock` is text, and the column holds integer");
    assert!(poisoned("other-value").starts_with("answer: the value of `note` is of a kind that is not known here"));
    assert_eq!(poisoned("loop"), "fuel: it used up its 51000000 instructions of fuel");
    assert_eq!(poisoned("recursion"), "stack: its calls go too deep");
    assert_eq!(poisoned("memory"), "memory: it asked for more than 16 MiB of memory");
    assert!(poisoned("panic").starts_with("trap: it gave up: "));
}

#[test]
fn answers_are_counted() {
    for direction in ["shared", "local"] {
        for (attack, told) in
            [("none", "it gave 0 answers about 1 rows"), ("too-many", "it gave 2 answers about 1 rows")]
        {
            let mapping = open(&format!("{direction}-{attack}")).expect(attack);
            let answers = mapped(&mapping, direction, &rows(&["good", "good"]));
            let failures: Vec<String> = answers.into_iter().map(|one| one.expect_err(attack).message.into()).collect();
            assert_eq!(failures, [told, told]);
        }
        // Answers in another order are those of other rows.
        let mapping = open(&format!("{direction}-swapped")).expect("a mapping");
        let answers = mapped(&mapping, direction, &rows(&["good", "good"]));
        assert!(answers.iter().all(|one| one.as_ref().is_err_and(|why| why.message.contains("changed the key"))));
    }
}

#[test]
fn what_fails_again_and_again_is_not_asked_any_more() {
    let mapping = open("local-panic").expect("a mapping");
    let answers = mapped(&mapping, "local", &rows(&["poison"; 12]));
    let told: Vec<bool> = answers
        .iter()
        .map(|answer| answer.as_ref().expect_err("none is mapped").message.contains("is not asked any more"))
        .collect();
    assert_eq!(told, [[false; 8].as_slice(), [true; 4].as_slice()].concat());
}

#[test]
fn the_example_keeps_what_it_is_not_told() {
    let columns =
        [("nr", Type::Int), ("first", Type::Text), ("last", Type::Text), ("cents", Type::Int), ("memo", Type::Text)];
    let columns = columns.map(|(name, ty)| ShapeColumn { name: name.to_owned(), ty });
    let local = Shape { name: "people".to_owned(), columns: columns.into(), key: vec![0] };
    let config = r#"{"name": "name", "first": "first", "last": "last", "cents": ["cents"], "own": ["memo"]}"#;
    let plugin = Arc::new(load("full-name", Limits::default()).expect("a plugin"));
    let mapping = Mapping::open(plugin, local, config, &facts()).expect("a mapping");
    let made: Vec<(&str, &Type)> = mapping.shape().columns.iter().map(|one| (one.name.as_str(), &one.ty)).collect();
    assert_eq!(made, [("nr", &Type::Int), ("name", &Type::Text), ("cents", &Type::Decimal)]);
    let current: Row =
        vec![Value::Int(1), Value::text("Ada"), Value::text("van Loon"), Value::Int(1), Value::text("memo")].into();
    let shared = mapping.to_shared(&[&current]).remove(0).expect("a row");
    let back = mapping.to_local(&[Put { shared: &shared, current: Some(&current) }]).remove(0).expect("a row");
    assert_eq!(back, current);
}
