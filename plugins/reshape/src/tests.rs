//! The laws of a lens, on every pair of some values; and numbers. The cases in `fixtures` say what comes of what.

use concord_plugin::value::{align, parse_decimal};
use concord_plugin::{Column, Context, Mapping, Table, Value};

use crate::Reshape;
use crate::number::{Factor, Why};

fn context(config: &str, columns: &[(&str, &str)]) -> Context {
    let column = |(at, (name, kind)): (usize, &(&str, &str))| Column {
        name: (*name).to_owned(),
        kind: (*kind).to_owned(),
        key: at == 0,
        facts: Vec::new(),
    };
    let columns = columns.iter().enumerate().map(column).collect();
    Context { table: Table { name: "items".to_owned(), columns }, config: config.to_owned(), facts: Vec::new() }
}

/// Every pair of rows of two columns, beside the key, is put and got. How many could be put.
fn lawful(config: &str, kinds: [&str; 2], locals: &[Value], shared: &[Value]) -> usize {
    let columns = [("id", "integer"), ("a", kinds[0]), ("b", kinds[1])];
    let reshape = Reshape::open(&context(config, &columns)).unwrap_or_else(|why| panic!("{config}: {}", why.message));
    let rows = |values: &[Value], width: usize| -> Vec<Vec<Value>> {
        let mut rows = vec![vec![Value::Integer(1)]];
        for _ in 1..width {
            let longer = |row: &Vec<Value>| {
                let row = row.clone();
                values.iter().map(move |value| row.iter().cloned().chain([value.clone()]).collect::<Vec<_>>())
            };
            rows = rows.iter().flat_map(longer).collect();
        }
        rows
    };
    let same = |one: &[Value], other: &[Value]| one.iter().zip(other).all(|(one, other)| one.same(other));
    let locals = rows(locals, 3);
    let mut put = 0;
    for local in &locals {
        if let Ok(got) = reshape.to_shared(local) {
            let back = reshape.to_local(&got, Some(local)).expect("it came from there");
            assert!(format!("{back:?}") == format!("{local:?}"), "{config}: {local:?} came back as {back:?}");
        }
    }
    for shared in rows(shared, reshape.columns.len()) {
        for current in locals.iter().map(|row| Some(&row[..])).chain([None]) {
            if let Ok(made) = reshape.to_local(&shared, current) {
                let got = reshape.to_shared(&made).expect("it was put");
                assert!(same(&got, &shared), "{config}: {shared:?} upon {current:?} became {got:?}");
                put += 1;
            }
        }
    }
    put
}

/// What stands and says the same stays as it is written, and nothing else does.
#[test]
fn what_says_the_same_stays() {
    use Value::*;
    let reshape = Reshape::open(&context("{}", &[("id", "integer"), ("a", "any")]))
        .unwrap_or_else(|why| panic!("{}", why.message));
    let decimal = |text: &str| Decimal(text.to_owned());
    let (json, text) = (|text: &str| Json(text.to_owned()), |text: &str| Text(text.to_owned()));
    let uuid = |text: &str| Uuid(text.to_owned());
    let made = |stands: &Value, put: &Value| {
        let row = |value: &Value| vec![Integer(1), value.clone()];
        format!("{:?}", reshape.to_local(&row(put), Some(&row(stands))).expect("a row")[1])
    };
    let (lower, upper) = ("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6BA7B810-9DAD-11D1-80B4-00C04FD430C8");
    for (stands, put) in [
        (decimal("1.00"), decimal("1.0")),
        (Float(-0.0), Float(0.0)),
        (Float(f64::NAN), Float(f64::NAN)),
        (Integer(5), Unsigned(5)),
        (uuid(upper), uuid(lower)),
        (json("{\"a\": 1}"), json("{\"a\":1}")),
    ] {
        assert_eq!(made(&stands, &put), format!("{stands:?}"));
    }
    for (stands, put) in [
        (decimal("1.01"), decimal("1.0")),
        (Integer(1), Boolean(true)),
        (json("1"), text("1")),
        (text("a"), text("A")),
        (Null, text("")),
        (text("a"), Null),
    ] {
        assert_eq!(made(&stands, &put), format!("{put:?}"));
    }
}

fn texts(all: &[&str]) -> Vec<Value> {
    all.iter().map(|text| Value::Text((*text).to_owned())).chain([Value::Null]).collect()
}

#[test]
fn every_part_keeps_the_laws_of_a_lens() {
    let words = texts(&["", " ", "a", "b c", "a ", " x y", "A", "ß", "DŽ", "İ"]);
    let texts_of = |config: &str| lawful(config, ["text", "text"], &words, &words);
    for config in [
        r#"{"join": [{"column": "ab", "from": ["a", "b"], "separator": " "}]}"#,
        r#"{"join": [{"column": "ab", "from": ["b", "a"], "separator": " ", "rest": "first"}]}"#,
        r#"{"columns": {"a": {"case": "lower"}, "b": {"case": "upper"}}}"#,
        r#"{"columns": {"a": {"case": "lower", "stored": "upper"}, "b": {"case": "upper", "stored": "lower"}}}"#,
        r#"{"columns": {"a": {"default": "a"}, "b": {"empty": ""}}}"#,
        r#"{"columns": {"a": {"default": "a", "empty": "a"}, "b": {"default": " ", "empty": "A"}}}"#,
        r#"{"columns": {"a": {"values": {"A": "a", "a": "A"}}, "b": {"values": {"A": "a"}, "others": "same"}}}"#,
        r#"{"columns": {"a": {"values": {"A": "a", "ß": "a", "": "x"}, "back": {"a": "ß"}, "default": "a", "empty": ""}}}"#,
        r#"{"columns": {"c": {"constant": "a"}, "x": {"from": "a"}}, "own": ["b"], "initial": {"b": "a"}}"#,
    ] {
        assert!(texts_of(config) > 50, "{config}");
    }
    let few = texts(&["", "a", "b c", " "]);
    for rest in ["first", "last"] {
        let split =
            format!(r#"{{"split": [{{"from": "a", "columns": ["x", "y"], "separator": " ", "rest": "{rest}"}}]}}"#);
        assert!(lawful(&split, ["text", "text"], &words, &few) > 50, "{split}");
    }
    let number = |text: &str| Value::Decimal(text.to_owned());
    let mut numbers: Vec<Value> =
        ["0", "-0.00", "1.50", "0.005", "-3", "7", "NaN", "123456789012345678901234567890"].map(number).into();
    numbers.push(Value::Null);
    let whole = [0, 1, -5, 100, i64::MAX].map(Value::Integer).into_iter().chain([Value::Null]).collect::<Vec<_>>();
    for (config, kinds) in [
        (r#"{"columns": {"a": {"multiply": "2.54"}, "b": {"divide": 3}}}"#, ["decimal", "decimal"]),
        (
            r#"{"columns": {"a": {"multiply": "-0.25", "default": 0}, "b": {"divide": 8, "empty": "-3"}}}"#,
            ["decimal", "decimal"],
        ),
    ] {
        assert!(lawful(config, kinds, &numbers, &numbers) > 50, "{config}");
    }
    let units = r#"{"columns": {"a": {"divide": 100}, "b": {"divide": "0.001"}}}"#;
    assert!(lawful(units, ["integer", "integer"], &whole, &numbers) > 50, "{units}");
    let units = r#"{"columns": {"a": {"multiply": 60, "kind": "integer"}, "b": {"divide": 4, "kind": "integer"}}}"#;
    assert!(lawful(units, ["integer", "decimal"], &whole, &whole) > 10, "{units}");
}

#[test]
fn numbers_are_exact_or_none() {
    let times = |factor: &Factor, text: &str| factor.times(&Value::Decimal(text.to_owned()));
    let text = |number: i128, scale: usize| concord_plugin::value::write_decimal(number, scale);
    for factor in ["1", "-1", "2.54", "0.01", "100", "-0.004", "1600"] {
        for number in ["0", "1", "-7.25", "0.03", "123456789.000001", "-0.0"] {
            let (multiplied, divided) = (Factor::multiply(factor).unwrap(), Factor::divide(factor).unwrap());
            let (product, scale) = times(&multiplied, number).unwrap();
            let back = times(&divided, &text(product, scale)).unwrap();
            let (a, b, _) = align(back, parse_decimal(number).unwrap()).unwrap();
            assert_eq!(a, b, "{number} * {factor} = {}", text(product, scale));
        }
    }
    assert_eq!(times(&Factor::divide("8").unwrap(), "1"), Ok((125, 3)));
    assert_eq!(times(&Factor::divide("0.03").unwrap(), "0.6"), Ok((20, 0)));
    assert_eq!(times(&Factor::divide("3").unwrap(), "1"), Err(Why::Endless));
    assert_eq!(times(&Factor::multiply("10").unwrap(), &"9".repeat(38)), Err(Why::TooLarge));
    assert_eq!(times(&Factor::multiply("10").unwrap(), &"9".repeat(60)), Err(Why::TooLarge));
    assert_eq!(times(&Factor::multiply("10").unwrap(), "-Infinity"), Err(Why::NoNumber));
    for none in ["", "0", "0.00", "1e5", "NaN", "x", "--1"] {
        assert!(Factor::multiply(none).is_none(), "{none}");
    }
}

/// Sums take these and no others.
#[test]
fn a_column_that_is_the_same_on_both_sides_is_said_to_be() {
    let config = r#"{"columns": {"x": {"from": "a"}, "b": {"default": "none"}}}"#;
    let columns = [("id", "integer"), ("a", "integer"), ("b", "text"), ("c", "text")];
    let reshape = Reshape::open(&context(config, &columns)).expect("a mapping");
    let said: Vec<String> =
        reshape.columns().iter().map(|column| format!("{} {:?}", column.name, column.facts)).collect();
    let copy = |name: &str, own: &str| format!("{name} [(\"copy-of\", \"{own}\")]");
    assert_eq!(said, [copy("id", "id"), copy("x", "a"), "b []".to_owned(), copy("c", "c")]);
}
