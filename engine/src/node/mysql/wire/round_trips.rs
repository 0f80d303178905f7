//! Values of every type come back as they were sent, by what a server does to each.

use std::ops::Range;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::Union;

use super::*;

/// What a server keeps of what it is sent for a column, and sends back, as the binary protocol has it.
fn sent_back(wire: &Wire, sent: &[u8]) -> Vec<u8> {
    match wire {
        Wire::Bool | Wire::Int { .. } | Wire::Float { .. } => sent.to_vec(),
        // Two bytes hold every year.
        Wire::Year => sent[..2].to_vec(),
        Wire::Bits(length) => {
            let bytes = length.div_ceil(8);
            sent[..bytes].iter().rev().copied().collect()
        }
        Wire::Date | Wire::Timestamp | Wire::Instant => moment_of(spelled(sent)),
        Wire::Time => span_of(spelled(sent)),
        _ => unprefixed(sent).to_vec(),
    }
}

/// Without the length before it, of one byte or of a mark and two.
fn unprefixed(sent: &[u8]) -> &[u8] {
    match sent {
        [0xFC, low, high, rest @ ..] if rest.len() == usize::from(u16::from_le_bytes([*low, *high])) => rest,
        [length, rest @ ..] if rest.len() == usize::from(*length) => rest,
        _ => panic!("a length and as many bytes, and not {sent:?}"),
    }
}

fn spelled(sent: &[u8]) -> &str {
    std::str::from_utf8(unprefixed(sent)).unwrap()
}

/// The numbers of a date or time: those before the point, and the millionths.
fn numbers(text: &str) -> (Vec<u32>, u32) {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let whole = whole.split(|letter: char| !letter.is_ascii_digit()).map(|digits| digits.parse().unwrap()).collect();
    (whole, format!("{fraction:0<6}").parse().unwrap())
}

fn moment_of(text: &str) -> Vec<u8> {
    let (numbers, micros) = numbers(text);
    let at = |place: usize| numbers.get(place).copied().unwrap_or(0);
    let mut bytes = (at(0) as u16).to_le_bytes().to_vec();
    bytes.extend((1..6).map(|place| at(place) as u8));
    bytes.extend(micros.to_le_bytes());
    without_zeros(&bytes, &[0, 4, 7, 11])
}

fn span_of(text: &str) -> Vec<u8> {
    let (numbers, micros) = numbers(text.trim_start_matches('-'));
    let mut bytes = vec![u8::from(text.starts_with('-'))];
    bytes.extend((numbers[0] / 24).to_le_bytes());
    bytes.extend([numbers[0] % 24, numbers[1], numbers[2]].map(|number| number as u8));
    bytes.extend(micros.to_le_bytes());
    without_zeros(&bytes, &[0, 8, 12])
}

/// A length, the least of these beyond which all are zero, and so many bytes.
fn without_zeros(bytes: &[u8], lengths: &[usize]) -> Vec<u8> {
    let all_zero = |length: &usize| bytes[*length..].iter().all(|byte| *byte == 0);
    let length = lengths.iter().copied().find(all_zero).unwrap();
    let mut sent = vec![length as u8];
    sent.extend(&bytes[..length]);
    sent
}

/// Columns of each type, with values that they hold.
fn cells() -> Union<BoxedStrategy<(Wire, Value)>> {
    let mut cells: Vec<BoxedStrategy<(Wire, Value)>> = Vec::new();
    let mut of = |wire: Wire, values: BoxedStrategy<Value>| {
        cells.push(values.prop_map(move |value| (wire.clone(), value)).boxed());
    };
    let ints = any::<i64>().prop_map(Value::Int).boxed();
    let natural = any::<u64>().prop_map(|number| match i64::try_from(number) {
        Ok(number) => Value::Int(number),
        Err(_) => Value::Uint(number),
    });
    let natural = natural.boxed();
    let numbers = any::<i8>().prop_filter("these are true and false", |number| !(0..=1).contains(number));
    of(Wire::Bool, any::<bool>().prop_map(Value::Bool).boxed());
    of(Wire::Bool, numbers.prop_map(|number| Value::Int(number.into())).boxed());
    of(Wire::Int { unsigned: false }, ints.clone());
    of(Wire::Int { unsigned: true }, natural.clone());
    of(Wire::Whole, prop_oneof![ints, natural].boxed());
    of(Wire::Year, prop_oneof![Just(0i64), 1901..=2155i64].prop_map(Value::Int).boxed());

    let doubles = any::<u64>().prop_map(f64::from_bits).prop_filter("it has no others", |number| number.is_finite());
    let singles = any::<u32>().prop_map(f32::from_bits).prop_filter("it has no others", |number| number.is_finite());
    of(Wire::Float { single: false, digits: None }, doubles.prop_map(Value::Float).boxed());
    of(Wire::Float { single: true, digits: None }, singles.prop_map(|number| Value::Float(number.into())).boxed());
    for single in [false, true] {
        let quarters = (-4_000..4_000i16).prop_map(|number| Value::Float(f64::from(number) / 4.0));
        of(Wire::Float { single, digits: Some(2) }, quarters.boxed());
    }
    let decimals = (any::<i64>(), 0..30usize);
    let decimals = decimals.prop_map(|(number, scale)| Value::Decimal(Decimal::from_unscaled(number.into(), scale)));
    of(Wire::Decimal, decimals.boxed());

    let texts = prop_oneof![any::<String>(), "[a-zé漢 ]{0,200}"].prop_map(Value::text);
    of(Wire::Text { most: None, narrow: false }, texts.boxed());
    of(Wire::Text { most: Some(255), narrow: true }, "[a-zé ]{0,255}".prop_map(Value::text).boxed());
    let labels = || ["a", "B", "it's", ""].map(str::to_owned).to_vec();
    of(Wire::Labels { labels: labels(), several: false }, select(labels()).prop_map(Value::text).boxed());
    let several = subsequence(labels()[..3].to_vec(), 0..=3).prop_map(|chosen| Value::text(chosen.join(",")));
    of(Wire::Labels { labels: labels(), several: true }, several.boxed());
    let bytes =
        |length: Range<usize>| prop::collection::vec(any::<u8>(), length).prop_map(|bytes| Value::Bytes(bytes.into()));
    of(Wire::Bytes, bytes(0..600).boxed());
    of(Wire::FixedBytes(3), bytes(3..4).boxed());
    for length in [1, 3, 8, 64] {
        let bits = prop::collection::vec(select(vec!['0', '1']), length);
        of(Wire::Bits(length), bits.prop_map(|bits| Value::text(bits.into_iter().collect::<String>())).boxed());
    }

    let of_no_calendar = (0..10_000, 0..13, 0..32)
        .prop_map(|(year, month, day)| time::parse_date(&format!("{year:04}-{month:02}-{day:02}")).unwrap());
    let days = prop_oneof![-719_528..=2_932_896i32, of_no_calendar].boxed();
    let micros = prop_oneof![Just(0i64), (0..86_400i64).prop_map(|second| second * 1_000_000), 0..time::DAY];
    let moments = (days.clone(), micros).prop_map(|(day, micros)| i64::from(day) * time::DAY + micros).boxed();
    of(Wire::Date, days.prop_map(Value::Date).boxed());
    of(Wire::Timestamp, moments.clone().prop_map(Value::Timestamp).boxed());
    of(Wire::Instant, moments.prop_map(Value::Instant).boxed());
    of(Wire::Time, (-time::LONGEST..=time::LONGEST).prop_map(Value::Time).boxed());

    let documents = ["{\"b\": 1.50, \"a\": [null, true]}", "\"12\"", "12345678901234567890", " 7 "];
    of(Wire::Json, select(documents.to_vec()).prop_map(|text| Value::Json(Json::new(text))).boxed());
    for wire in [Wire::Uuid, Wire::SpelledUuid, Wire::UuidBytes] {
        of(wire, any::<[u8; 16]>().prop_map(Value::Uuid).boxed());
    }
    Union::new(cells)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn values_come_back_as_they_were_sent((wire, value) in cells()) {
        let mut args = Args::new();
        prop_assert!(wire.add(&mut args, &value).is_some(), "{wire:?} takes {value:?}");
        prop_assert_eq!(wire.decode(&sent_back(&wire, &args.sent[0])), Ok(value));
        prop_assert!(args.finish().is_ok());
    }
}
