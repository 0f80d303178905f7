//! Dates and times as text, and back. Microseconds since 1970; the extremes of each type are the infinities.
//!
//! MySQL and MariaDB keep days that no calendar has, such as 0000-00-00 and 2024-02-31, and a time there is a span. Such days
//! are numbered from [`NO_DAY`] on, below every day that any database has, so that times of day can be added as to others.

use std::fmt;
use std::time::Instant;

use chrono::{NaiveDate, NaiveTime, TimeDelta};

/// 1970-01-01 as chrono counts days.
const EPOCH: NaiveDate = NaiveDate::from_ymd_opt(1970, 1, 1).expect("a valid date");

/// `2024-05-31`, or an infinity.
pub fn date(days: i32) -> String {
    text(|out| write_date(out, days))
}

/// The first number of a day that no calendar has. Its microseconds are numbers of 64 bits too.
const NO_DAY: i32 = -106_751_991;

/// The longest span that is a time, in microseconds: 838:59:59.999999, as in MariaDB.
pub const LONGEST: i64 = 839 * 3_600_000_000 - 1;

/// The longest time of a day, in microseconds: 24:00:00, as in PostgreSQL.
pub const DAY: i64 = 86_400_000_000;

/// Whether days since 1970 stand for a day that no calendar has.
pub fn is_no_day(days: i32) -> bool {
    (NO_DAY..NO_DAY + (10_000 << 9)).contains(&days)
}

/// Whether a day lies beyond the years -262143 to 262142. Only PostgreSQL has such days.
pub fn is_far(days: i32) -> bool {
    let is_near = EPOCH.checked_add_signed(TimeDelta::days(days.into())).is_some();
    !is_near && !is_no_day(days) && !matches!(days, i32::MAX | i32::MIN)
}

/// The same as [`is_no_day`] of microseconds since 1970.
pub fn is_of_no_day(micros: i64) -> bool {
    i32::try_from(micros.div_euclid(DAY)).is_ok_and(is_no_day)
}

/// `09:05:00` with up to six digits of a second where they are not zero. Spans below zero or beyond a day have a sign and more
/// hours.
pub fn time_of_day(micros: i64) -> String {
    text(|out| write_time_of_day(out, micros))
}

/// `2024-05-31 09:05:00.123456`, or an infinity.
pub fn timestamp(micros: i64) -> String {
    text(|out| write_timestamp(out, micros))
}

/// `2024-05-31 09:05:00.123456+00:00`, or an infinity.
pub fn instant(micros: i64) -> String {
    text(|out| write_instant(out, micros))
}

fn text(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut out = String::with_capacity(32);
    match write(&mut out) {
        Ok(()) => out,
        Err(fmt::Error) => unreachable!("a String takes everything"),
    }
}

/// As [`date`], into a text that is being written.
pub fn write_date(out: &mut impl fmt::Write, days: i32) -> fmt::Result {
    match days {
        i32::MAX => out.write_str("infinity"),
        i32::MIN => out.write_str("-infinity"),
        _ if ORDINARY.contains(&days) || is_no_day(days) => {
            let code = days.wrapping_sub(NO_DAY) as u32;
            let (year, month, day) = if is_no_day(days) { (code >> 9, code >> 5 & 15, code & 31) } else { civil(days) };
            let mut digits = Digits::default();
            digits.two(year / 100).two(year % 100).one(b'-').two(month).one(b'-').two(day);
            out.write_str(digits.as_str())
        }
        _ => {
            // The calendar repeats itself, and only the year tells one era from another.
            let (year, month, day) = civil(days.rem_euclid(ERA));
            let year = i64::from(year) + 400 * i64::from(days.div_euclid(ERA));
            write!(out, "{year:+05}-{month:02}-{day:02}")
        }
    }
}

/// As [`time_of_day`], into a text that is being written.
pub fn write_time_of_day(out: &mut impl fmt::Write, micros: i64) -> fmt::Result {
    if micros.unsigned_abs() > LONGEST.unsigned_abs() {
        return write!(out, "{micros} µs from midnight");
    }
    let (seconds, fraction) = ((micros.abs() / 1_000_000) as u32, (micros.abs() % 1_000_000) as u32);
    let mut digits = Digits::default();
    if micros < 0 {
        digits.one(b'-');
    }
    if seconds >= 360_000 {
        digits.one(b'0' + (seconds / 360_000) as u8);
    }
    digits.two(seconds / 3600).one(b':').two(seconds / 60 % 60).one(b':').two(seconds % 60);
    if fraction > 0 {
        digits.one(b'.').two(fraction / 10_000).two(fraction / 100 % 100).two(fraction % 100);
    }
    out.write_str(digits.as_str())
}

/// The days of the years 0 to 9999, which have four digits.
const ORDINARY: std::ops::RangeInclusive<i32> = -719_528..=2_932_896;

/// The days of 400 years.
const ERA: i32 = 146_097;

/// Year, month and day of one of the [`ORDINARY`] days: Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn civil(days: i32) -> (u32, u32, u32) {
    // Counted from 0000-03-01, or from 400 years before, so that leap days come last and nothing is negative.
    let days = (days + 719_468 + 146_097) as u32;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (year + era * 400 + u32::from(month <= 2) - 400, month, day)
}

/// A short text made of digits; formatting numbers one by one takes several times as long, and there are two times in
/// each conflict's reason.
#[derive(Default)]
struct Digits {
    text: [u8; 20],
    length: usize,
}

impl Digits {
    fn one(&mut self, letter: u8) -> &mut Digits {
        self.text[self.length] = letter;
        self.length += 1;
        self
    }

    /// Two digits of a number; what is above 99 is cut off.
    fn two(&mut self, number: u32) -> &mut Digits {
        self.one(b'0' + (number / 10 % 10) as u8).one(b'0' + (number % 10) as u8)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..self.length]).unwrap_or_default()
    }
}

/// As [`timestamp`], into a text that is being written.
pub fn write_timestamp(out: &mut impl fmt::Write, micros: i64) -> fmt::Result {
    match micros {
        i64::MAX => out.write_str("infinity"),
        i64::MIN => out.write_str("-infinity"),
        _ => {
            let day = micros.div_euclid(86_400_000_000);
            write_date(out, day as i32)?;
            out.write_char(' ')?;
            write_time_of_day(out, micros.rem_euclid(86_400_000_000))
        }
    }
}

/// As [`instant`], into a text that is being written.
pub fn write_instant(out: &mut impl fmt::Write, micros: i64) -> fmt::Result {
    write_timestamp(out, micros)?;
    match micros {
        i64::MAX | i64::MIN => Ok(()),
        _ => out.write_str("+00:00"),
    }
}

/// The inverse of [`date`].
pub fn parse_date(text: &str) -> Option<i32> {
    match text {
        "infinity" => Some(i32::MAX),
        "-infinity" => Some(i32::MIN),
        _ => {
            let Ok(date) = text.parse::<NaiveDate>() else { return parse_no_day(text).or_else(|| parse_far(text)) };
            i32::try_from(date.signed_duration_since(EPOCH).num_days()).ok()
        }
    }
}

/// A day that no calendar has, written as others are.
fn parse_no_day(text: &str) -> Option<i32> {
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let part = |text: &str, digits: usize, most: i32| {
        let plain = text.len() == digits && text.bytes().all(|digit| digit.is_ascii_digit());
        text.parse::<i32>().ok().filter(|number| plain && *number <= most)
    };
    Some(NO_DAY + (part(year, 4, 9_999)? << 9 | part(month, 2, 12)? << 5 | part(day, 2, 31)?))
}

/// How days that are [far](is_far) were written once, behind their number and a blank. Rows that were kept then are still read.
const COUNTED: &str = "days from 1970-01-01";

fn parse_counted(number: &str) -> Option<i32> {
    number.parse().ok().filter(|days| is_far(*days))
}

/// A day that is [far](is_far), in the one spelling that is written.
fn parse_far(text: &str) -> Option<i32> {
    if let Some(number) = text.strip_suffix(COUNTED) {
        return parse_counted(number.strip_suffix(' ')?);
    }
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (year, rest) = digits.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let are_digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    // From 262143 to 5881580.
    if !matches!((year.len(), month.len(), day.len()), (6..=7, 2, 2)) || year.starts_with('0') {
        return None;
    }
    if ![year, month, day].into_iter().all(are_digits) {
        return None;
    }
    let year = sign * year.parse::<i32>().ok()?;
    // The same day of years that chrono knows.
    let alike = NaiveDate::from_ymd_opt(year.rem_euclid(400) + 2000, month.parse().ok()?, day.parse().ok()?)?;
    let eras = i64::from(year.div_euclid(400) - 5);
    let days = alike.signed_duration_since(EPOCH).num_days() + eras * i64::from(ERA);
    i32::try_from(days).ok().filter(|days| is_far(*days))
}

/// Takes `HH:MM`, `HH:MM:SS` and `HH:MM:SS.f…`, up to [`LONGEST`] with or without a sign; more than six digits of a second are
/// refused unless zero.
pub fn parse_time(text: &str) -> Option<i64> {
    if text.strip_prefix("24:00").is_some_and(|rest| rest.bytes().all(|b| matches!(b, b':' | b'0' | b'.'))) {
        return Some(DAY);
    }
    let (hours, rest) = text.split_once(':')?;
    let (sign, digits) = hours.strip_prefix('-').map_or((1, hours), |digits| (-1, digits));
    if sign < 0 || digits.len() > 2 || digits > "23" {
        // What is within the hour is read as at the beginning of a day.
        let plain = (2..=3).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
        let within = if plain && rest.len() >= 5 { parse_time(&format!("00:{rest}"))? } else { return None };
        let micros = digits.parse::<i64>().ok()? * 3_600_000_000 + within;
        // Zero has no sign.
        return (micros <= LONGEST && (micros > 0 || sign > 0)).then_some(sign * micros);
    }
    let time = NaiveTime::parse_from_str(text, "%H:%M:%S%.f").or_else(|_| NaiveTime::parse_from_str(text, "%H:%M"));
    let since = time.ok()?.signed_duration_since(NaiveTime::MIN);
    (since.subsec_nanos() % 1000 == 0).then(|| since.num_microseconds())?
}

/// Takes `YYYY-MM-DD`, and the same with a time after a blank or a `T`. A text with a zone is refused.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    match text {
        "infinity" => return Some(i64::MAX),
        "-infinity" => return Some(i64::MIN),
        _ => {}
    }
    let (day, time) = text.split_once([' ', 'T']).unwrap_or((text, "00:00"));
    let (days, time) = match time.strip_prefix(COUNTED) {
        Some(time) => (parse_counted(day)?, time.strip_prefix(' ')?),
        None => (parse_date(day)?, time),
    };
    i64::from(days).checked_mul(DAY)?.checked_add(parse_time(time)?).filter(is_finite)
}

/// Whether microseconds are those of a moment: the infinities are not spelled as one.
fn is_finite(micros: &i64) -> bool {
    !matches!(*micros, i64::MAX | i64::MIN)
}

/// Takes what [`parse_timestamp`] takes, with `Z` or `±HH[:MM]` after it; without a zone the text is UTC.
pub fn parse_instant(text: &str) -> Option<i64> {
    if let Some(rest) = text.strip_suffix(['Z', 'z']) {
        return parse_timestamp(rest.trim_end());
    }
    let time_starts = text.find([' ', 'T']).unwrap_or(text.len());
    if let Some(sign) = text[time_starts..].rfind(['+', '-']).map(|at| at + time_starts) {
        let zone = text[sign + 1..].replace(':', "");
        let number: i64 = zone.parse().ok()?;
        let minutes = match zone.len() {
            2 => number * 60,
            4 => number / 100 * 60 + number % 100,
            _ => return None,
        };
        let local = parse_timestamp(text[..sign].trim_end())?;
        let offset = minutes * 60_000_000;
        if is_of_no_day(local) && offset != 0 {
            return None;
        }
        let is_west = text.as_bytes()[sign] == b'-';
        let micros = if is_west { local.checked_add(offset) } else { local.checked_sub(offset) };
        // What is near the ends must not become what is none.
        return micros.filter(|micros| is_finite(micros) && is_of_no_day(*micros) == is_of_no_day(local));
    }
    parse_timestamp(text)
}

/// The local clock, in microseconds since 1970. Only for records that people read and for measuring other clocks; order
/// between changes comes from the databases' clocks.
pub fn now() -> i64 {
    #[cfg(test)]
    return tested::now();
    #[cfg(not(test))]
    chrono::Utc::now().timestamp_micros()
}

/// The present, for whoever waits for a while to pass.
pub fn moment() -> Instant {
    #[cfg(test)]
    return tested::moment();
    #[cfg(not(test))]
    Instant::now()
}

#[cfg(test)]
pub use tested::{pass, step};

/// Time as tests want it.
#[cfg(test)]
mod tested {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    /// A clock that does not depend on how fast the machine is.
    #[derive(Clone, Copy)]
    struct Own {
        began: Instant,
        /// How much passed since, µs.
        passed: u64,
        /// How much passes whenever somebody looks, µs.
        step: u64,
    }

    thread_local! {
        /// How much time more than what clocks tell has passed for this thread.
        static PASSED: Cell<i64> = const { Cell::new(0) };
        /// The thread's own clock, if it has one.
        static OWN: Cell<Option<Own>> = const { Cell::new(None) };
    }

    /// Lets time pass, in microseconds, for tests that have no time to wait.
    pub fn pass(micros: i64) {
        PASSED.set(PASSED.get() + micros);
    }

    /// Gives this thread a clock of its own, on which so many microseconds pass whenever somebody looks, and no others.
    pub fn step(micros: u64) {
        OWN.set(Some(Own { began: Instant::now(), passed: 0, step: micros }));
        PASSED.set(0);
    }

    fn own() -> Option<Own> {
        OWN.set(OWN.get().map(|own| Own { passed: own.passed + own.step, ..own }));
        OWN.get()
    }

    pub fn now() -> i64 {
        let of_machine = || chrono::Utc::now().timestamp_micros();
        own().map_or_else(of_machine, |own| 1_800_000_000_000_000 + own.passed as i64) + PASSED.get()
    }

    pub fn moment() -> Instant {
        own().map_or_else(Instant::now, |own| own.began + Duration::from_micros(own.passed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn days_are_those_of_the_calendar(day in prop_oneof![-800_000..3_000_000i32, -96_000_000..95_000_000i32]) {
            let known = EPOCH.checked_add_signed(TimeDelta::days(day.into())).unwrap();
            prop_assert_eq!(date(day), known.to_string());
        }

        #[test]
        fn each_day_has_a_text_of_its_own(day: i32) {
            prop_assume!(!is_no_day(day));
            prop_assert_eq!(parse_date(&date(day)), Some(day));
        }

        #[test]
        fn spans_and_days_of_no_calendar_round_trip(
            span in -LONGEST..=LONGEST, year in 0..10_000, month in 0..13, day in 0..32, time in 0..DAY
        ) {
            prop_assert_eq!(parse_time(&time_of_day(span)), Some(span));
            let text = format!("{year:04}-{month:02}-{day:02}");
            let days = parse_date(&text).unwrap();
            prop_assert_eq!(date(days), text.clone());
            let known = NaiveDate::from_ymd_opt(year, month as u32, day as u32);
            prop_assert_eq!(is_no_day(days), known.is_none());
            let micros = i64::from(days) * DAY + time;
            prop_assert_eq!(parse_timestamp(&timestamp(micros)), Some(micros));
            prop_assert_eq!(parse_instant(&instant(micros)), Some(micros));
            prop_assert_eq!(is_of_no_day(micros), known.is_none());
        }

        #[test]
        fn texts_round_trip(
            micros in prop_oneof![
                -60_000_000_000_000_000i64..200_000_000_000_000_000,
                // All that PostgreSQL has.
                -210_866_803_200_000_000..i64::MAX,
            ]
        ) {
            prop_assert_eq!(parse_timestamp(&timestamp(micros)), Some(micros));
            prop_assert_eq!(parse_instant(&instant(micros)), Some(micros));
            let day = (micros / 86_400_000_000) as i32;
            prop_assert_eq!(parse_date(&date(day)), Some(day));
            let time = micros.rem_euclid(86_400_000_001);
            prop_assert_eq!(parse_time(&time_of_day(time)), Some(time));
        }
    }

    #[test]
    fn the_edges_of_ordinary_days() {
        for day in [*ORDINARY.start() - 1, *ORDINARY.start(), *ORDINARY.end(), *ORDINARY.end() + 1, 0, -1, 11_016] {
            assert_eq!(date(day), EPOCH.checked_add_signed(TimeDelta::days(day.into())).unwrap().to_string());
        }
        assert_eq!((date(*ORDINARY.start()).as_str(), date(*ORDINARY.end()).as_str()), ("0000-01-01", "9999-12-31"));
        assert_eq!(time_of_day(86_400_000_000), "24:00:00");
        assert_eq!(time_of_day(86_399_999_999), "23:59:59.999999");
        assert_eq!((time_of_day(-1), time_of_day(-LONGEST)), ("-00:00:00.000001".into(), "-838:59:59.999999".into()));
        assert_eq!(parse_time("838:59:59.999999"), Some(LONGEST));
        for text in ["839:00:00", "-00:00:00", "1000:00:00", "25:00", "-1:00:00", "24:60:00", "+24:00:01", "024:0:00"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn days_that_only_postgres_has() {
        let known = |date: NaiveDate| i32::try_from(date.signed_duration_since(EPOCH).num_days()).unwrap();
        let (first, last) = (known(NaiveDate::MIN), known(NaiveDate::MAX));
        assert_eq!((date(first), date(last)), (NaiveDate::MIN.to_string(), NaiveDate::MAX.to_string()));
        for (day, text) in [
            (first - 1, "-262144-12-31"),
            (last + 1, "+262143-01-01"),
            (364_522_971, "+999999-12-31"),
            (2_145_042_905, "+5874897-12-31"),
        ] {
            assert_eq!((date(day).as_str(), parse_date(text)), (text, Some(day)));
            assert!(is_far(day));
            // As they were kept once.
            assert_eq!(parse_date(&format!("{day} days from 1970-01-01")), Some(day));
        }
        assert!(![first, last, i32::MIN, i32::MAX, NO_DAY].into_iter().any(is_far));
        let noon = i64::from(last + 1) * DAY + DAY / 2;
        assert_eq!(instant(noon), "+262143-01-01 12:00:00+00:00");
        let counted = format!("{} days from 1970-01-01 12:00:00", last + 1);
        assert_eq!((parse_timestamp(&counted), parse_instant(&(counted + "+00:00"))), (Some(noon), Some(noon)));
        for text in [
            "999999-12-31",
            "+999999-02-30",
            "+0999999-12-31",
            "+999999-1-31",
            "+5881580-07-11",
            "+9999999-01-01",
            "-290000-01-01",
            "7 days from 1970-01-01",
            "99999999days from 1970-01-01",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
        assert_eq!(parse_timestamp("+294247-01-10 04:00:54.775807"), None);
        assert_eq!(parse_instant("+294247-01-10 04:00:54.775806-00:01"), None);
    }

    #[test]
    fn days_of_no_calendar_stand_below_all_others() {
        assert!(
            parse_date("0000-00-00") < parse_date("2024-00-00") && parse_date("2024-00-00") < parse_date("2024-02-31")
        );
        assert!(parse_date("9999-11-31").unwrap() < -2_500_000);
        for text in ["2024-13-00", "2024-00-32", "24-00-00", "02024-00-00", "2024-0-0", "-2024-00-00"] {
            assert_eq!(parse_date(text), None, "{text}");
        }
        assert_eq!(parse_instant("0000-00-00 00:00:00+02"), None);
        assert!(!is_of_no_day(i64::MIN) && !is_of_no_day(i64::MAX) && !is_no_day(i32::MIN));
    }

    #[test]
    fn spellings_of_an_instant() {
        let noon = parse_instant("2024-05-31T12:00:00Z").unwrap();
        for text in
            ["2024-05-31 12:00", "2024-05-31 14:00:00+02", "2024-05-31 14:00:00+02:00", "2024-05-31 09:30:00.0-0230"]
        {
            assert_eq!(parse_instant(text), Some(noon), "{text}");
        }
        assert_eq!(parse_timestamp("2024-05-31 12:00:00+02"), None);
        assert_eq!(parse_timestamp("2024-02-32"), None);
        assert_eq!(parse_time("12:00:00.1234567"), None);
        assert_eq!(parse_timestamp("infinity"), Some(i64::MAX));
        assert_eq!(timestamp(-1), "1969-12-31 23:59:59.999999");
    }
}
