//! The values that every language has to hand on, bit by bit.

use concord::model::{Decimal, Json, Row, Type, Value};
use concord::plugin::{Shape, ShapeColumn};

/// Beyond what a float counts exactly, and what fits no further.
const WHOLE: [i64; 12] = [
    0,
    1,
    -1,
    1 << 53,
    (1 << 53) + 1,
    -(1 << 53) - 1,
    (1 << 62) + 1,
    i64::MIN,
    i64::MIN + 1,
    i64::MAX - 1,
    i64::MAX,
    0x0102_0304_0506_0708,
];

/// To Concord all NaNs are one value, and some languages know but one: of others than the usual one no more comes back than that
/// they are one.
const NANS: [u64; 4] = [0x7ff8_0000_dead_beef, 0xfff8_0000_0000_0000, 0x7ff0_0000_0000_0001, u64::MAX];

const FLOATS: [f64; 14] = [
    0.0,
    -0.0,
    0.1,
    -1.0 / 3.0,
    9_007_199_254_740_993.0,
    f64::MIN_POSITIVE,
    5e-324,
    -5e-324,
    f64::MAX,
    f64::MIN,
    f64::EPSILON,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
];

const DECIMALS: [&str; 8] = [
    "0",
    "0.10",
    "-0.000",
    "-123456789012345678901234567890.00123000",
    "9007199254740993",
    "NaN",
    "Infinity",
    "-Infinity",
];

const TEXTS: [&str; 8] = ["", " ", "\0", "a\0b", "äöü 🦀 e\u{301}", "\u{feff}\r\n", "\u{ffff}\u{10ffff}", "'\"\\${}%s"];

const DOCUMENTS: [&str; 4] =
    ["{\"b\": 1.10, \"a\": [null], \"a\": 12345678901234567890}", "\"\\u00e4\"", " [ ] ", "-0.0"];

/// Every case of `value` but `other`, which nothing sends: at its extremes, empty, and large.
pub fn all() -> Vec<(Type, Value)> {
    let decimal = |text: &str| Value::Decimal(Decimal::parse(text).expect("a decimal"));
    let mut values = vec![(Type::Text, Value::Null), (Type::Int, Value::Null), (Type::Bytes, Value::Null)];
    values.extend([true, false].map(|v| (Type::Bool, Value::Bool(v))));
    values.push((Type::Bool, Value::Int(2)));
    values.extend(WHOLE.map(|v| (Type::Int, Value::Int(v))));
    values.extend([1 << 63, (1 << 63) + 1, u64::MAX - 1, u64::MAX].map(|v| (Type::Int, Value::Uint(v))));
    values.extend(FLOATS.map(|v| (Type::Float, Value::Float(v))));
    values.extend(NANS.map(|bits| (Type::Float, Value::Float(f64::from_bits(bits)))));
    values.extend(DECIMALS.map(|v| (Type::Decimal, decimal(v))));
    values.push((Type::Decimal, decimal(&format!("{}.{}", "9".repeat(300), "7".repeat(300)))));
    values.extend(TEXTS.map(|v| (Type::Text, Value::text(v))));
    values.push((Type::Text, Value::text("ä🦀".repeat(40_000))));
    let blobs = [vec![], vec![0], (0..=255).collect(), (0..100_000).map(|at| (at % 251) as u8).collect()];
    values.extend(blobs.map(|v: Vec<u8>| (Type::Bytes, Value::Bytes(v.into()))));
    values.extend([i32::MIN, -106_751_991, -1, 0, i32::MAX].map(|v| (Type::Date, Value::Date(v))));
    let times = [-3_020_399_999_999, -1, 0, 86_399_999_999, 86_400_000_000, 3_020_399_999_999];
    values.extend(times.map(|v| (Type::Time, Value::Time(v))));
    values.extend(WHOLE.map(|v| (Type::Timestamp, Value::Timestamp(v))));
    values.extend(WHOLE.map(|v| (Type::Instant, Value::Instant(v))));
    values.extend(DOCUMENTS.map(|v| (Type::Json, Value::Json(Json::new(v)))));
    values.extend([0, 0x6b, 0xff].map(|byte| (Type::Uuid, Value::Uuid([byte; 16]))));
    values.push((Type::Native("inet".into()), Value::text("10.0.0.1/8")));
    values.extend([Value::Int(7), Value::text("seven"), Value::Float(-0.0)].map(|v| (Type::Any, v)));
    values
}

/// A table of all these, and the row; the key is an integer that no float holds.
pub fn row() -> (Shape, Row) {
    let key = (Type::Int, Value::Int(i64::MIN + 1));
    let note = (Type::Text, Value::text("as it is"));
    let values: Vec<(Type, Value)> = [key, note].into_iter().chain(all()).collect();
    let column = |(at, (ty, _)): (usize, &(Type, Value))| ShapeColumn { name: format!("column {at}"), ty: ty.clone() };
    let columns = values.iter().enumerate().map(column).collect();
    let shape = Shape { name: "items".to_owned(), columns, key: vec![0] };
    (shape, values.into_iter().map(|(_, value)| value).collect())
}

/// Fails unless a row came back with the same bits.
#[track_caller]
pub fn same(back: &Row, row: &Row) {
    assert_eq!(back.len(), row.len());
    for (at, (back, value)) in back.iter().zip(&**row).enumerate() {
        let shown = |value: &Value| value.to_string().chars().take(60).collect::<String>();
        assert_eq!(std::mem::discriminant(back), std::mem::discriminant(value), "value {at}, {}", shown(value));
        // Equality is by meaning, and so is that of floats.
        assert!(
            back == value && back.to_string() == value.to_string(),
            "value {at}: {}, was {}",
            shown(back),
            shown(value)
        );
        if let (Value::Float(back), Value::Float(value)) = (back, value)
            && !NANS.contains(&value.to_bits())
        {
            assert_eq!(back.to_bits(), value.to_bits(), "value {at}: {value}");
        }
    }
}
