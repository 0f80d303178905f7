//! Values that other databases have in columns of a domain, and one column has not.

use std::fmt::{self, Display, Formatter};

/// One kind of them. Rows with such values wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    Nan,
    /// NaN and infinities.
    Infinite,
    Negative,
    /// Numbers that the database rounds to so many digits before and after the point without an error.
    Rounded {
        before: u32,
        after: u32,
    },
    /// Numbers that are no `year` of MySQL.
    NoYear,
    /// Texts of more letters.
    Letters(u32),
    /// Documents of more letters.
    Document(u32),
    /// Values of more bytes, of text in this character set.
    Bytes {
        most: u64,
        charset: Option<String>,
    },
    /// Values of any other number of bytes.
    OtherBytes(u32),
    /// Labels other than those of an enum, in whichever order, or than those of a set, in this order.
    Labels {
        known: Vec<String>,
        in_order: bool,
    },
    /// Days outside the years 0 to 9999.
    FarDays,
    /// Times that no `timestamp` of MySQL tells.
    FarTimes,
    /// Uuids that MariaDB refuses.
    OddUuids,
    /// Letters that take four bytes in UTF-8.
    LongLetters,
    /// Letters that this character set has not.
    LettersBeyond(String),
}

impl Lack {
    /// Whether a column that has not these values has not those either.
    pub fn implies(&self, other: &Lack) -> bool {
        match (self, other) {
            (Lack::Infinite, Lack::Nan) | (Lack::FarTimes, Lack::FarDays) => true,
            (Lack::Rounded { before, after }, Lack::Rounded { before: other_before, after: other_after }) => {
                before <= other_before && after <= other_after
            }
            (Lack::Document(own), Lack::Document(other)) => own <= other,
            // Nobody takes more than four bytes for a letter, and nobody less than one.
            (Lack::Letters(own) | Lack::Document(own), Lack::Bytes { most, .. }) => u64::from(*own) * 4 <= *most,
            (Lack::Bytes { most: own, charset }, Lack::Bytes { most, charset: other }) => {
                let is_utf8 =
                    |charset: &Option<String>| charset.as_deref().is_some_and(|name| name.starts_with("utf8"));
                let width = if charset == other || is_utf8(charset) && is_utf8(other) { 1 } else { 4 };
                own.saturating_mul(width) <= *most
            }
            (Lack::OtherBytes(own), Lack::Bytes { most, .. }) => u64::from(*own) <= *most,
            (Lack::Labels { known: own, in_order: true }, Lack::Labels { known, in_order: true }) => {
                let mut rest = known.iter();
                own.iter().all(|label| rest.any(|other| other == label))
            }
            (Lack::Labels { known: own, in_order: false }, Lack::Labels { known, .. }) => {
                own.iter().all(|label| known.contains(label))
            }
            (Lack::Labels { known, .. }, Lack::LongLetters | Lack::LettersBeyond(_)) => {
                known.iter().all(|label| label.is_ascii())
            }
            // Of several labels all together may be one value.
            (Lack::Labels { known, .. }, Lack::Bytes { most, .. }) => {
                known.iter().map(|label| 4 * (label.chars().count() as u64 + 1)).sum::<u64>() <= *most
            }
            (Lack::LettersBeyond(charset), Lack::LongLetters | Lack::LettersBeyond(_)) if charset == "ascii" => true,
            _ => self == other,
        }
    }
}

impl Display for Lack {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Lack::Nan => out.write_str("NaN"),
            Lack::Infinite => out.write_str("NaN and infinities"),
            Lack::Negative => out.write_str("numbers below 0"),
            Lack::Rounded { before, after } => {
                write!(out, "numbers that rounding to {before} digits before and {after} after the point alters")
            }
            Lack::NoYear => out.write_str("numbers outside 1901 to 2155"),
            Lack::Letters(most) => write!(out, "more than {most} characters"),
            Lack::Document(most) => write!(out, "documents of more than {most} characters"),
            Lack::Bytes { most, charset: Some(charset) } => write!(out, "more than {most} bytes in {charset}"),
            Lack::Bytes { most, charset: None } => write!(out, "more than {most} bytes"),
            Lack::OtherBytes(length) => write!(out, "values of more or fewer than {length} bytes"),
            Lack::Labels { known, in_order } => {
                let known = known.iter().map(|label| format!("{label:?}")).collect::<Vec<_>>().join(", ");
                // Of hundreds the first will do.
                match known.char_indices().nth(180) {
                    Some((end, _)) => write!(out, "labels other than {}...", &known[..end])?,
                    None => write!(out, "labels other than {known}")?,
                }
                out.write_str(if *in_order { " in this order" } else { "" })
            }
            Lack::FarDays => out.write_str("days outside the years 0 to 9999"),
            Lack::FarTimes => out.write_str("times before 1970 or after 2038"),
            Lack::OddUuids => out.write_str("uuids whose 13th digit is above 7 and whose 17th is below 8"),
            Lack::LongLetters => out.write_str("letters of four bytes in UTF-8"),
            Lack::LettersBeyond(charset) => write!(out, "letters that {charset} has not"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(known: &[&str], in_order: bool) -> Lack {
        Lack::Labels { known: known.iter().map(|label| (*label).to_owned()).collect(), in_order }
    }

    fn bytes(most: u64, charset: Option<&str>) -> Lack {
        Lack::Bytes { most, charset: charset.map(str::to_owned) }
    }

    #[test]
    fn what_takes_less_lacks_more() {
        let ascii = || Lack::LettersBeyond("ascii".to_owned());
        let latin = || Lack::LettersBeyond("latin1".to_owned());
        for (own, other) in [
            (Lack::Infinite, Lack::Nan),
            (Lack::FarTimes, Lack::FarDays),
            (labels(&["a"], false), labels(&["a", "b"], false)),
            (labels(&["a", "c"], true), labels(&["a", "b", "c"], true)),
            (labels(&["a", "b"], false), labels(&["b", "c", "a"], true)),
            (labels(&["a", "b"], false), latin()),
            (labels(&["a", "b"], false), bytes(255, Some("utf16"))),
            (Lack::Rounded { before: 5, after: 2 }, Lack::Rounded { before: 7, after: 2 }),
            (bytes(255, Some("latin1")), bytes(65_535, Some("latin1"))),
            (bytes(255, Some("latin1")), bytes(65_535, Some("utf8mb4"))),
            (Lack::OtherBytes(16), bytes(20, None)),
            (Lack::Letters(36), bytes(255, Some("utf8mb4"))),
            (Lack::Document(7), Lack::Document(9)),
            (Lack::Document(100), bytes(65_535, None)),
            (ascii(), latin()),
            (ascii(), Lack::LongLetters),
        ] {
            assert!(own.implies(&other) && own.implies(&own), "{own} and {other}");
            assert!(!other.implies(&own), "{other} and {own}");
        }
    }

    /// Their letters take as many bytes.
    #[test]
    fn forms_of_utf_8_are_alike() {
        let room = ["utf8", "utf8mb3", "utf8mb4"].map(|charset| bytes(65_535, Some(charset)));
        assert!(room.iter().all(|own| room.iter().all(|other| own.implies(other))));
    }

    #[test]
    fn what_only_looks_alike_is_told() {
        for (own, other) in [
            (labels(&["ä"], false), Lack::LettersBeyond("ascii".to_owned())),
            (labels(&["b", "a"], true), labels(&["a", "b"], true)),
            // All of a set may stand in one value, of an enum one does.
            (labels(&["a", "b"], true), labels(&["a", "b"], false)),
            (Lack::LettersBeyond("cp1250".to_owned()), Lack::LettersBeyond("cp1251".to_owned())),
            (bytes(16, None), Lack::OtherBytes(16)),
            (Lack::OtherBytes(8), Lack::OtherBytes(16)),
            // A letter may take more bytes there.
            (bytes(65_535, Some("latin1")), bytes(65_535, Some("utf8mb4"))),
            (bytes(255, Some("utf8mb4")), bytes(255, Some("utf16"))),
            (Lack::Letters(36), bytes(100, Some("utf8mb4"))),
        ] {
            assert!(!own.implies(&other), "{own} and {other}");
        }
    }

    #[test]
    fn many_labels_are_cut() {
        let told = labels(&["ä".repeat(999).as_str()], true).to_string();
        assert!(told.chars().count() < 230 && told.ends_with("ä... in this order"), "{told}");
    }
}
