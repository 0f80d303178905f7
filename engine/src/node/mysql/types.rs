//! What a column of each type can hold. How values travel is in [`wire`](super::wire).

use super::wire;
use crate::model::{Domain, Lack};

/// A column's type, as the catalogue has it.
#[derive(Clone, Debug, Default)]
pub struct NativeType {
    /// Such as `varchar`.
    pub name: String,
    /// Such as `varchar(20)` or `int(10) unsigned`.
    pub full: String,
    pub length: Option<u32>,
    pub precision: Option<u32>,
    pub scale: Option<u32>,
    /// Digits of a second.
    pub digits: Option<u8>,
    /// Of texts.
    pub charset: Option<String>,
    /// MariaDB's documents are texts that a constraint checks.
    pub is_json: bool,
}

impl NativeType {
    pub fn domain(&self) -> Domain {
        let unsigned = self.full.contains("unsigned");
        let int = |bits| Domain::Int { bits, unsigned };
        let text = |max, padded| Domain::Text { max, padded, nul: true };
        let digits = self.digits.unwrap_or(0);
        match self.name.as_str() {
            _ if self.is_json => Domain::Json { nul: true, binary: false },
            // What drivers take for a boolean, and what BOOLEAN is short for.
            "tinyint" if self.full == "tinyint(1)" => Domain::Bool { numbers: true },
            "tinyint" => int(8),
            "smallint" => int(16),
            "mediumint" => int(24),
            "int" | "integer" => int(32),
            "bigint" => int(64),
            "year" => Domain::Int { bits: 16, unsigned: true },
            "float" => Domain::Float { bits: 32 },
            "double" => Domain::Float { bits: 64 },
            "decimal" => Domain::Decimal { limits: Some((self.precision.unwrap_or(10), self.scale.unwrap_or(0))) },
            "char" => text(self.length, true),
            "varchar" => text(self.length, false),
            "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" => text(None, false),
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Domain::Bytes,
            "date" => Domain::Date { zeros: true },
            "time" => Domain::Time { digits, spans: true },
            "datetime" => Domain::Timestamp { digits, zeros: true },
            "timestamp" => Domain::Instant { digits, zeros: true },
            // MySQL's own, in which numbers are no texts.
            "json" => Domain::Json { nul: true, binary: true },
            "uuid" => Domain::Uuid,
            // The same words as PostgreSQL's.
            "bit" => Domain::Native(self.full.clone()),
            "inet4" | "inet6" => Domain::Native(self.name.clone()),
            name => Domain::Unsupported(format!("type {name} cannot be carried; leave the column out with `omit`")),
        }
    }

    /// Which values of its domain a column of the type has not.
    pub fn lacks(&self) -> Vec<Lack> {
        let mut lacks = Vec::new();
        let is_text =
            matches!(self.name.as_str(), "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext");
        match self.name.as_str() {
            "float" | "double" | "decimal" => {
                lacks.push(Lack::Infinite);
                if self.full.contains("unsigned") {
                    lacks.push(Lack::Negative);
                }
                if self.name != "decimal" {
                    lacks.extend(places(&self.full).map(|(before, after)| Lack::Rounded { before, after }));
                }
            }
            "year" => lacks.push(Lack::NoYear),
            "char" | "varchar" if self.is_json => lacks.push(Lack::Document(self.length.unwrap_or(1))),
            // In whichever order.
            "enum" => lacks.push(Lack::Labels { known: wire::labels(&self.full), in_order: false }),
            "set" => lacks.push(Lack::Labels { known: wire::labels(&self.full), in_order: true }),
            "binary" => lacks.push(Lack::OtherBytes(self.length.unwrap_or(1))),
            "varbinary" => lacks.push(Lack::Bytes { most: self.length.unwrap_or(0).into(), charset: None }),
            "date" | "datetime" => lacks.push(Lack::FarDays),
            "timestamp" => lacks.push(Lack::FarTimes),
            "uuid" => lacks.push(Lack::OddUuids),
            name => {
                let charset = self.charset.clone().filter(|_| is_text);
                lacks.extend(room(name).map(|most| Lack::Bytes { most: most as u64, charset }));
            }
        }
        if is_text {
            lacks.extend(self.charset.as_deref().into_iter().flat_map(unspelled));
        }
        lacks
    }
}

/// How many digits before and after the point a `float(7,2)` or `double(7,2)` keeps, to which the server rounds without an error.
pub fn places(native: &str) -> Option<(u32, u32)> {
    let (digits, _) = native.split_once('(')?.1.split_once(')')?;
    let (all, after) = digits.split_once(',')?;
    let (all, after): (u32, u32) = (all.trim().parse().ok()?, after.trim().parse().ok()?);
    Some((all.saturating_sub(after), after))
}

/// How many bytes a column takes whose type alone says so; the longest take more than can be sent.
pub fn room(native: &str) -> Option<usize> {
    Some(match native.split([' ', '(']).next()? {
        "tinytext" | "tinyblob" => 255,
        "text" | "blob" => 65_535,
        "mediumtext" | "mediumblob" => 16_777_215,
        _ => return None,
    })
}

/// What the names of collations begin with whose letters are of one byte each.
const NARROW: [&str; 18] = [
    "latin", "ascii", "cp125", "cp850", "cp852", "cp866", "koi8", "greek", "hebrew", "tis620", "macce", "macroman",
    "dec8", "hp8", "armscii8", "geostd8", "keybcs2", "swe7",
];

/// Whether the letters of a collation's character set are known to be of one byte each.
pub fn is_narrow(collation: &str) -> bool {
    NARROW.iter().any(|narrow| collation.starts_with(narrow))
}

/// The bytes that a letter of a collation's character set takes, or more.
pub fn letter(collation: &str) -> u32 {
    if is_narrow(collation) {
        1
    } else if collation.starts_with("ucs2_") {
        2
    } else if collation.starts_with("utf8mb3_") || collation.starts_with("utf8_") {
        3
    } else {
        4
    }
}

/// Letters that a character set has not.
fn unspelled(charset: &str) -> Vec<Lack> {
    match charset {
        "utf8mb4" | "utf16" | "utf16le" | "utf32" | "gb18030" => Vec::new(),
        "utf8mb3" | "utf8" | "ucs2" => vec![Lack::LongLetters],
        // Whoever has only the former has these, and not the other way round.
        _ => vec![Lack::LongLetters, Lack::LettersBeyond(charset.to_owned())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(name: &str, full: &str) -> Domain {
        NativeType { name: name.into(), full: full.into(), ..NativeType::default() }.domain()
    }

    #[test]
    fn types_become_domains() {
        assert_eq!(domain("tinyint", "tinyint(1)"), Domain::Bool { numbers: true });
        assert_eq!(domain("tinyint", "tinyint(4)"), Domain::Int { bits: 8, unsigned: false });
        assert_eq!(domain("bigint", "bigint(20) unsigned"), Domain::Int { bits: 64, unsigned: true });
        assert_eq!(domain("bit", "bit(3)"), Domain::Native("bit(3)".into()));
        assert!(matches!(domain("geometry", "geometry"), Domain::Unsupported(why) if why.contains("geometry")));
        let document = NativeType { name: "longtext".into(), is_json: true, ..NativeType::default() };
        assert_eq!(document.domain(), Domain::Json { nul: true, binary: false });
        assert_eq!(domain("json", "json"), Domain::Json { nul: true, binary: true });
    }

    #[test]
    fn what_a_column_has_not_is_told() {
        let lacks = |name: &str, full: &str, charset: Option<&str>| {
            let charset = charset.map(str::to_owned);
            let native = NativeType { name: name.into(), full: full.into(), charset, ..NativeType::default() };
            native.lacks().iter().map(Lack::to_string).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(lacks("double", "double", None), "NaN and infinities");
        assert_eq!(
            lacks("float", "float(7,2) unsigned", None),
            "NaN and infinities\nnumbers below 0\nnumbers that rounding to 5 digits before and 2 after the point alters"
        );
        assert_eq!(lacks("decimal", "decimal(7,2) unsigned", None), "NaN and infinities\nnumbers below 0");
        assert_eq!(lacks("enum", "enum('b','a\\n')", Some("latin1")), "labels other than \"b\", \"a\\n\"");
        assert_eq!(lacks("set", "set('b','a')", None), "labels other than \"b\", \"a\" in this order");
        assert_eq!(lacks("longtext", "longtext", Some("utf8mb4")), "");
        assert_eq!(lacks("varchar", "varchar(9)", Some("utf8mb3")), "letters of four bytes in UTF-8");
        assert_eq!(
            lacks("tinytext", "tinytext", Some("latin1")),
            "more than 255 bytes in latin1\nletters of four bytes in UTF-8\nletters that latin1 has not"
        );
        let document = NativeType { name: "text".into(), full: "text".into(), is_json: true, ..NativeType::default() };
        assert_eq!(document.lacks(), [Lack::Bytes { most: 65_535, charset: None }]);
    }
}
