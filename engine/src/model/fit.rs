//! How the values of one column fare in another, and what columns of several databases keep in common.

use serde::{Deserialize, Serialize};

use super::domain::Domain;
use super::value::{Decimal, Value};

/// How exactly all nodes keep a column, where some keep it less exactly than others. A value is brought to it when it is read,
/// so that none travels back and forth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grain {
    /// So many digits after the point; half a digit is rounded away from zero.
    Scale(u32),
    /// So many digits of a second; what is finer is cut off.
    Seconds(u8),
    /// Floats of 4 bytes.
    Single,
    /// Texts of at most so many characters, without blanks at the end if they are `trimmed`; what is longer is cut off.
    Text { characters: Option<u32>, trimmed: bool },
}

impl Grain {
    /// What columns of these domains have in common; `None` if each keeps as much as the others.
    pub fn common<'a>(domains: impl Iterator<Item = &'a Domain>) -> Option<Grain> {
        let mut grains: Vec<Option<Grain>> = domains.map(Grain::of).collect();
        let first = grains.first().copied().flatten();
        if grains.iter().all(|grain| *grain == first) {
            return None;
        }
        grains.retain(Option::is_some);
        grains.into_iter().flatten().reduce(Grain::coarser)
    }

    /// To what a column of this domain brings the values that it takes, if to anything.
    fn of(domain: &Domain) -> Option<Grain> {
        match domain {
            Domain::Decimal { limits: Some((_, scale)) } => Some(Grain::Scale(*scale)),
            Domain::Time { digits, .. } | Domain::Timestamp { digits, .. } | Domain::Instant { digits, .. }
                if *digits < 6 =>
            {
                Some(Grain::Seconds(*digits))
            }
            Domain::Float { bits: 32 } => Some(Grain::Single),
            Domain::Text { max, padded, .. } if max.is_some() || *padded => {
                Some(Grain::Text { characters: *max, trimmed: *padded })
            }
            _ => None,
        }
    }

    fn coarser(self, other: Grain) -> Grain {
        match (self, other) {
            (Grain::Scale(a), Grain::Scale(b)) => Grain::Scale(a.min(b)),
            (Grain::Seconds(a), Grain::Seconds(b)) => Grain::Seconds(a.min(b)),
            (Grain::Text { characters: a, trimmed }, Grain::Text { characters: b, trimmed: also }) => {
                let characters = match (a, b) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
                Grain::Text { characters, trimmed: trimmed || also }
            }
            (grain, _) => grain,
        }
    }

    /// The value as all nodes keep it.
    pub fn apply(self, value: Value) -> Value {
        let cut = |micros: i64, digits: u8| {
            let unit = 10i64.pow(6 - u32::from(digits.min(6)));
            // The extremes are the infinities.
            if matches!(micros, i64::MAX | i64::MIN) { micros } else { micros.div_euclid(unit) * unit }
        };
        match (self, value) {
            (Grain::Scale(scale), Value::Decimal(number)) => Value::Decimal(rounded(number, scale as usize)),
            // Of a span below zero the digits are cut off as of any other.
            (Grain::Seconds(digits), Value::Time(micros)) => Value::Time(micros.signum() * cut(micros.abs(), digits)),
            (Grain::Seconds(digits), Value::Timestamp(micros)) => Value::Timestamp(cut(micros, digits)),
            (Grain::Seconds(digits), Value::Instant(micros)) => Value::Instant(cut(micros, digits)),
            (Grain::Single, Value::Float(number)) => {
                let single = f64::from(number as f32);
                // What is beyond them would become an infinity.
                Value::Float(if single.is_infinite() { number } else { single })
            }
            (Grain::Text { characters, trimmed }, Value::Text(text)) => {
                let end = characters.and_then(|most| text.char_indices().nth(most as usize)).map(|(at, _)| at);
                let cut = &text[..end.unwrap_or(text.len())];
                let cut = if trimmed { cut.trim_end_matches(' ') } else { cut };
                if cut.len() == text.len() { Value::Text(text) } else { Value::text(cut) }
            }
            (_, value) => value,
        }
    }

    /// Values of one column that another would hold if they were not rounded up.
    pub fn rounds_beyond(self, from: &Domain, to: &Domain) -> Option<Beyond> {
        let (Grain::Scale(scale), Domain::Decimal { limits: Some(own) }, Domain::Decimal { limits: Some(other) }) =
            (self, from, to)
        else {
            return None;
        };
        let whole = |(precision, scale): &(u32, u32)| precision.saturating_sub(*scale);
        // Where there are fewer digits before the point that is told anyhow; where there are more there is room for one.
        let beyond = own.1 > scale && whole(own) == whole(other);
        let values = format!("numbers that are rounded up to more than {} digits before the point", whole(other));
        beyond.then_some(Beyond { values, can_be_cut: false })
    }

    /// What becomes of a value, such as "rounded to 2 digits after the point".
    pub fn told(self) -> String {
        match self {
            Grain::Scale(scale) => format!("rounded to {scale} digits after the point"),
            Grain::Seconds(digits) => format!("cut to {digits} digits of a second"),
            Grain::Single => "rounded to floats of 4 bytes".to_owned(),
            Grain::Text { characters, trimmed } => {
                let cut = characters.map(|most| format!("cut to {most} characters"));
                let parts: Vec<String> =
                    cut.into_iter().chain(trimmed.then(|| "without blanks at the end".to_owned())).collect();
                parts.join(", ")
            }
        }
    }
}

/// A number with at most `scale` digits after the point.
fn rounded(number: Decimal, scale: usize) -> Decimal {
    let (negative, whole, fraction) = number.parts();
    if !number.is_finite() || fraction.len() <= scale {
        return number;
    }
    let up = fraction.as_bytes()[scale] >= b'5';
    let mut digits: Vec<u8> = format!("0{whole}{}", &fraction[..scale]).into_bytes();
    let mut at = digits.len();
    let mut carry = up;
    while carry && at > 0 {
        at -= 1;
        carry = digits[at] == b'9';
        digits[at] = if carry { b'0' } else { digits[at] + 1 };
    }
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let part = |digits: &[u8]| String::from_utf8_lossy(digits).into_owned();
    let whole = part(whole).trim_start_matches('0').to_owned();
    let whole = if whole.is_empty() { "0".to_owned() } else { whole };
    let fraction = if scale == 0 { String::new() } else { format!(".{}", part(fraction)) };
    let is_zero = whole == "0" && fraction.bytes().all(|digit| matches!(digit, b'0' | b'.'));
    let sign = if negative && !is_zero { "-" } else { "" };
    Decimal::parse(&format!("{sign}{whole}{fraction}")).unwrap_or(number)
}

/// What the columns of some databases hold in place of a day.
const NO_DAYS: &str = "days of no calendar such as 0000-00-00";

/// Values of one column that another does not hold as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beyond {
    /// Such as "numbers outside 0 to 255".
    pub values: String,
    /// Whether they would fit once they were rounded or cut.
    pub can_be_cut: bool,
}

impl Beyond {
    /// What fits in no form.
    pub fn never(values: &str) -> Beyond {
        Beyond { values: values.to_owned(), can_be_cut: false }
    }

    /// What a column of SQLite holds that is of no type that is agreed on.
    pub fn of_another_type() -> Beyond {
        Beyond::never("values stored as another type")
    }
}

impl Domain {
    /// Which values of this column do not fit another.
    pub fn misfits(&self, to: &Domain) -> Vec<Beyond> {
        let mut misfits = Vec::new();
        let never = |values: String| Beyond { values, can_be_cut: false };
        let cut = |values: String| Beyond { values, can_be_cut: true };
        let range = |bits: u8, unsigned: bool| match unsigned {
            true => (0, (1i128 << bits) - 1),
            false => (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1),
        };
        match (self, to) {
            (Domain::Int { bits: a, unsigned: from_zero }, Domain::Int { bits: b, unsigned }) => {
                let ((low, high), (least, most)) = (range(*a, *from_zero), range(*b, *unsigned));
                if low < least || high > most {
                    misfits.push(never(format!("numbers outside {least} to {most}")));
                }
            }
            (Domain::Decimal { .. }, Domain::Int { bits, unsigned }) => {
                let (least, most) = range(*bits, *unsigned);
                misfits.push(never(format!("numbers outside {least} to {most}")));
            }
            (Domain::Int { bits, unsigned }, Domain::Decimal { limits: Some((precision, 0)) })
                if range(*bits, *unsigned).1.to_string().len() > *precision as usize =>
            {
                misfits.push(never(format!("numbers of more than {precision} digits")));
            }
            (Domain::Text { .. }, Domain::Uuid) => {
                misfits.push(never("texts that are no uuid in small letters".to_owned()))
            }
            (Domain::Bytes, Domain::Uuid) => misfits.push(never("values of more or fewer than 16 bytes".to_owned())),
            (Domain::Float { bits: 64 }, Domain::Float { bits: 32 }) => {
                misfits.push(cut("numbers that are not exact as floats of 4 bytes".to_owned()));
                misfits.push(never(format!("numbers beyond {:e}", f32::MAX)));
            }
            (Domain::Decimal { limits: from }, Domain::Decimal { limits: Some((precision, scale)) }) => {
                if from.is_none_or(|(_, digits)| digits > *scale) {
                    misfits.push(cut(format!("more than {scale} digits after the point")));
                }
                let whole = precision.saturating_sub(*scale);
                if from.is_none_or(|(precision, scale)| precision.saturating_sub(scale) > whole) {
                    misfits.push(never(format!("more than {whole} digits before the point")));
                }
            }
            (Domain::Text { max: from, padded: trimmed, nul: from_nul }, Domain::Text { max, padded, nul }) => {
                if let Some(max) = max.filter(|max| from.is_none_or(|from| from > *max)) {
                    misfits.push(cut(format!("texts of more than {max} characters")));
                }
                if *from_nul && !nul {
                    misfits.push(never("texts with the letter NUL".to_owned()));
                }
                if *padded && !trimmed {
                    misfits.push(cut("texts that end in blanks".to_owned()));
                }
            }
            (Domain::Json { nul: from_nul, binary: from }, Domain::Json { nul, binary }) => {
                if self.keeps_text() && !to.keeps_text() {
                    misfits.push(never("documents that name a member twice".to_owned()));
                }
                if *from_nul && !nul {
                    misfits.push(never("texts with the letter NUL".to_owned()));
                }
                if *binary && !from {
                    misfits.push(never("numbers beyond 64-bit integers and floats of 8 bytes".to_owned()));
                }
            }
            (Domain::Bool { numbers: true }, Domain::Bool { numbers: false }) => {
                misfits.push(never("numbers other than 0 and 1".to_owned()));
            }
            (Domain::Date { zeros: true }, Domain::Date { zeros: false }) => misfits.push(never(NO_DAYS.to_owned())),
            (Domain::Time { digits: from, spans: also }, Domain::Time { digits, spans }) => {
                if from > digits {
                    misfits.push(cut(format!("more than {digits} digits of a second")));
                }
                if *also && !spans {
                    misfits.push(never("spans below 0 and above 24:00".to_owned()));
                }
            }
            (Domain::Timestamp { digits: from, zeros: also }, Domain::Timestamp { digits, zeros })
            | (Domain::Instant { digits: from, zeros: also }, Domain::Instant { digits, zeros }) => {
                if from > digits {
                    misfits.push(cut(format!("more than {digits} digits of a second")));
                }
                if *also && !zeros {
                    misfits.push(never(NO_DAYS.to_owned()));
                }
            }
            (Domain::Loose { .. }, Domain::Loose { .. }) => {}
            (Domain::Loose { .. }, to) => {
                misfits.push(Beyond::of_another_type());
                if let Some(widest) = to.widest() {
                    misfits.extend(widest.misfits(to));
                }
            }
            (Domain::Int { bits: 64, unsigned: true }, Domain::Loose { .. }) => {
                misfits.push(never("numbers above 9223372036854775807".to_owned()));
            }
            (Domain::Decimal { limits }, Domain::Loose { affinity, .. })
                if affinity == "NUMERIC" && limits.is_none_or(|(precision, _)| precision > 15) =>
            {
                misfits.push(never(
                    "numbers of more than 15 digits, but for whole ones of 64 bits and the names of floats".to_owned(),
                ));
            }
            // What is but a number becomes one there.
            (Domain::Json { .. }, Domain::Loose { affinity, .. }) if affinity == "NUMERIC" => {
                misfits.push(never(
                    "documents that are but a number of more than 15 digits, unless it is a whole one of 64 bits or \
                     the name of a float"
                        .to_owned(),
                ));
            }
            _ => {}
        }
        misfits
    }

    /// The same type without limits.
    fn widest(&self) -> Option<Domain> {
        Some(match self {
            Domain::Int { .. } => Domain::Int { bits: 64, unsigned: false },
            Domain::Float { .. } => Domain::Float { bits: 64 },
            Domain::Decimal { .. } => Domain::Decimal { limits: None },
            Domain::Text { .. } => Domain::Text { max: None, padded: false, nul: true },
            Domain::Bool { .. } => Domain::Bool { numbers: true },
            Domain::Date { .. } => Domain::Date { zeros: true },
            Domain::Time { .. } => Domain::Time { digits: 6, spans: true },
            Domain::Timestamp { .. } => Domain::Timestamp { digits: 6, zeros: true },
            Domain::Instant { .. } => Domain::Instant { digits: 6, zeros: true },
            Domain::Json { .. } => Domain::Json { nul: true, binary: false },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decimal(text: &str) -> Value {
        Value::Decimal(Decimal::parse(text).unwrap())
    }

    #[test]
    fn values_are_brought_to_what_all_keep() {
        for (text, scale, expected) in [
            ("1.005", 2, "1.01"),
            ("-1.005", 2, "-1.01"),
            ("1.004", 2, "1.00"),
            ("9.995", 2, "10.00"),
            ("99.5", 0, "100"),
            ("-0.004", 2, "0.00"),
            ("0.5", 0, "1"),
            ("NaN", 2, "NaN"),
            ("12345678901234567890.129", 2, "12345678901234567890.13"),
        ] {
            let Value::Decimal(rounded) = Grain::Scale(scale).apply(decimal(text)) else { unreachable!("a decimal") };
            assert_eq!(rounded.as_str(), expected, "{text} to {scale}");
        }
        assert_eq!(Grain::Seconds(3).apply(Value::Timestamp(-1)), Value::Timestamp(-1_000));
        assert_eq!(Grain::Seconds(0).apply(Value::Instant(i64::MAX)), Value::Instant(i64::MAX));
        assert_eq!(Grain::Seconds(0).apply(Value::Time(-1_500_000)), Value::Time(-1_000_000));
        let on_no_day = |text| Value::Timestamp(crate::model::time::parse_timestamp(text).unwrap());
        assert_eq!(Grain::Seconds(1).apply(on_no_day("2024-00-00 01:02:03.45")), on_no_day("2024-00-00 01:02:03.4"));
        let single = |number| match Grain::Single.apply(Value::Float(number)) {
            Value::Float(number) => number,
            other => unreachable!("{other} is no float"),
        };
        assert_eq!(single(0.1), f64::from(0.1f32));
        assert_eq!(single(3.4028235e38), f64::from(f32::MAX));
        for beyond in [1e300, -1e39, f64::MAX, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(single(beyond), beyond);
        }
        assert!(single(f64::NAN).is_nan());
        let short = Grain::Text { characters: Some(3), trimmed: true };
        assert_eq!(short.apply(Value::text("äö üx")), Value::text("äö"));
        assert_eq!(short.apply(Value::Null), Value::Null);
    }

    #[test]
    fn the_coarsest_is_what_all_keep() {
        let common = |domains: &[Domain]| Grain::common(domains.iter());
        let money = |scale| Domain::Decimal { limits: Some((12, scale)) };
        assert_eq!(common(&[money(4), Domain::Decimal { limits: None }, money(2)]), Some(Grain::Scale(2)));
        assert_eq!(common(&[money(2), money(2)]), None);
        let instant = |digits| Domain::Instant { digits, zeros: false };
        assert_eq!(common(&[instant(6), instant(0), instant(3)]), Some(Grain::Seconds(0)));
        assert_eq!(common(&[instant(6), instant(6)]), None);
        let text = |max, padded| Domain::Text { max, padded, nul: true };
        let both = common(&[text(Some(9), false), text(None, true)]);
        assert_eq!(both, Some(Grain::Text { characters: Some(9), trimmed: true }));
    }

    #[test]
    fn what_rounding_makes_not_fit_is_told() {
        let money = |precision, scale| Domain::Decimal { limits: Some((precision, scale)) };
        let told = |scale, from, to| Grain::Scale(scale).rounds_beyond(&from, &to).map(|beyond| beyond.values);
        let beyond = Some("numbers that are rounded up to more than 3 digits before the point".to_owned());
        assert_eq!(told(1, money(5, 2), money(4, 1)), beyond);
        assert_eq!(told(0, money(4, 1), money(4, 1)), beyond);
        assert_eq!(told(1, money(5, 2), money(5, 1)), None);
        assert_eq!(told(1, money(4, 1), money(5, 2)), None);
        assert_eq!(told(1, Domain::Decimal { limits: None }, money(4, 1)), None);
        assert_eq!(Grain::Single.rounds_beyond(&money(5, 2), &money(4, 1)), None);
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let int = |bits, unsigned| Domain::Int { bits, unsigned };
        let told = |from: &Domain, to: &Domain| from.misfits(to).into_iter().map(|one| one.values).collect::<Vec<_>>();
        let beyond = format!("numbers outside {} to {}", i64::MIN, i64::MAX);
        assert_eq!(told(&int(64, true), &int(64, false)), [beyond]);
        assert!(int(32, true).misfits(&int(64, false)).is_empty());
        let whole = |digits| Domain::Decimal { limits: Some((digits, 0)) };
        assert_eq!(told(&whole(20), &int(64, true)), ["numbers outside 0 to 18446744073709551615"]);
        assert!(int(64, true).misfits(&whole(20)).is_empty());
        assert_eq!(told(&int(64, true), &whole(19)), ["numbers of more than 19 digits"]);
        assert_eq!(told(&Domain::Bytes, &Domain::Uuid), ["values of more or fewer than 16 bytes"]);
        let money = Domain::Decimal { limits: Some((5, 2)) };
        let any = Domain::Decimal { limits: None };
        assert_eq!(told(&any, &money), ["more than 2 digits after the point", "more than 3 digits before the point"]);
        assert!(money.misfits(&any).is_empty() && money.misfits(&money).is_empty());
        let text = |max, padded| Domain::Text { max, padded, nul: true };
        assert_eq!(text(None, false).misfits(&text(Some(3), true)).len(), 2);
        let span = |spans| Domain::Time { digits: 0, spans };
        assert_eq!(told(&span(true), &span(false)), ["spans below 0 and above 24:00"]);
        assert!(span(false).misfits(&span(true)).is_empty() && span(true).misfits(&span(true)).is_empty());
        let truth = |numbers| Domain::Bool { numbers };
        assert_eq!(told(&truth(true), &truth(false)), ["numbers other than 0 and 1"]);
        let day = |zeros| Domain::Timestamp { digits: 0, zeros };
        assert_eq!(told(&day(true), &day(false)), [NO_DAYS]);
        let json = |nul, binary| Domain::Json { nul, binary };
        let twice = "documents that name a member twice";
        assert_eq!(told(&json(true, false), &json(false, false)), [twice, "texts with the letter NUL"]);
        assert_eq!(told(&json(true, true), &json(false, false)), ["texts with the letter NUL"]);
        assert!(json(false, false).misfits(&json(true, false)).is_empty());
        let float = |bits| Domain::Float { bits };
        let not_exact = "numbers that are not exact as floats of 4 bytes";
        assert_eq!(told(&float(64), &float(32)), [not_exact, "numbers beyond 3.4028235e38"]);
        let loose = Domain::Loose { affinity: "TEXT".into(), accepts: Vec::new() };
        assert_eq!(
            told(&loose, &text(Some(3), false)),
            ["values stored as another type", "texts of more than 3 characters"]
        );
        let (other, nul) = ("values stored as another type", "texts with the letter NUL");
        let numbers = "numbers beyond 64-bit integers and floats of 8 bytes";
        assert_eq!(told(&loose, &json(false, false)), [other, twice, nul]);
        assert_eq!(told(&loose, &json(true, true)), [other, twice, numbers]);
        assert_eq!(told(&loose, &json(true, false)), [other]);
        let numeric = Domain::Loose { affinity: "NUMERIC".into(), accepts: Vec::new() };
        for (nul, binary) in [(false, false), (true, false), (true, true)] {
            let lost = told(&json(nul, binary), &numeric);
            assert_eq!(lost.len(), 1, "{lost:?}");
            assert!(lost[0].starts_with("documents that are but a number"), "{lost:?}");
            assert_eq!(told(&json(nul, binary), &loose), [""; 0]);
        }
    }

    proptest! {
        /// Whatever was brought to the common grain stays so, fits every column of it, and nothing says so of less.
        #[test]
        fn what_is_common_fits_everywhere(text in "-?[0-9]{1,12}(\\.[0-9]{1,9})?", a in 0u32..8, b in 0u32..8) {
            let (a, b) = (Domain::Decimal { limits: Some((30, a)) }, Domain::Decimal { limits: Some((30, b)) });
            let value = decimal(&text);
            match Grain::common([&a, &b].into_iter()) {
                None => prop_assert_eq!(&a, &b),
                Some(grain) => {
                    let once = grain.apply(value.clone());
                    prop_assert!(a.holds(&once).is_ok() && b.holds(&once).is_ok());
                    prop_assert!(a.misfits(&b).iter().all(|beyond| beyond.can_be_cut || beyond.values.contains("before")));
                    prop_assert_eq!(grain.apply(once.clone()), once);
                }
            }
            if a.misfits(&b).is_empty() {
                prop_assert!(a.holds(&value).is_err() || b.holds(&value).is_ok());
            }
        }

        /// Whatever fits one column and, once rounded, not the other is told.
        #[test]
        fn nothing_is_rounded_beyond_untold(text in "[89]{0,3}9(\\.[0-9]{1,4})?", whole in 2u32..5, more in 0u32..2, a in 0u32..4, b in 0u32..4, c in 0u32..4) {
            let column = |whole, scale| Domain::Decimal { limits: Some((whole + scale, scale)) };
            let (from, to) = (column(whole, a), column(whole + more, b));
            let (grain, value) = (Grain::Scale(a.min(b).min(c)), decimal(&text));
            prop_assume!(from.holds(&value).is_ok());
            if to.holds(&grain.apply(value)).is_err() {
                prop_assert!(grain.rounds_beyond(&from, &to).is_some());
            }
        }

        #[test]
        fn no_float_becomes_an_infinity(number in proptest::num::f64::ANY) {
            let Value::Float(once) = Grain::Single.apply(Value::Float(number)) else { unreachable!("a float") };
            prop_assert_eq!(once.is_infinite(), number.is_infinite());
            prop_assert_eq!(Grain::Single.apply(Value::Float(once)), Value::Float(once));
            let fits = Domain::Float { bits: 32 }.holds(&Value::Float(once)).is_ok();
            prop_assert_eq!(fits, !number.is_finite() || (number as f32).is_finite());
        }

        #[test]
        fn texts_are_cut_to_what_fits(text in "\\PC{0,12} {0,2}", max in 0u32..14, padded: bool) {
            let (wide, narrow) = (Domain::Text { max: None, padded: false, nul: false }, Domain::Text { max: Some(max), padded, nul: false });
            let grain = Grain::common([&wide, &narrow].into_iter()).unwrap();
            let cut = grain.apply(Value::text(text.clone()));
            prop_assert!(narrow.holds(&cut).is_ok());
            if narrow.holds(&Value::text(text.clone())).is_ok() {
                prop_assert_eq!(cut, Value::text(text));
            }
        }
    }
}
