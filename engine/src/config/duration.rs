//! Spans of time as people write them: `500ms`, `5s`, `1.5s`, `2m`, `1h`.

use std::time::Duration;

use super::section::shown;

/// Reads a number and its unit (`ms`, `s`, `m`, `h` or `d`). The error is a sentence for a person.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{}` is not a duration", shown(text));
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..unit_at], text[unit_at..].trim_start());
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        "" if !number.is_empty() => return Err(format!("{}, its unit is missing", wrong())),
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        for (text, millis) in [("500ms", 500), ("5s", 5000), ("1.5s", 1500), ("2m", 120_000), ("1 h", 3_600_000)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "5x", "-1s", "1e5s", "1.2.3s", "99999999999999999999999d"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse("5").unwrap_err(), "`5` is not a duration, its unit is missing");
    }
}
