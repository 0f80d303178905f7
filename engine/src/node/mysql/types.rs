//! What a column of each type can hold. How values travel is in [`wire`](super::wire).

use crate::model::Domain;

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
    pub fn lacks(&self) -> Option<String> {
        let bytes = |most: u64| format!("more than {most} bytes");
        Some(match self.name.as_str() {
            _ if self.is_json => return None,
            "float" | "double" | "decimal" => "NaN and infinities".to_owned(),
            "year" => "numbers outside 1901 to 2155".to_owned(),
            "tinytext" | "tinyblob" => bytes(255),
            "text" | "blob" => bytes(65_535),
            "mediumtext" | "mediumblob" => bytes(16_777_215),
            "enum" | "set" => "labels that the column has not".to_owned(),
            "binary" => format!("values of more or fewer than {} bytes", self.length.unwrap_or(1)),
            "varbinary" => bytes(self.length.unwrap_or(0).into()),
            "date" | "datetime" => "days outside the years 0 to 9999".to_owned(),
            "timestamp" => "times before 1970 or after 2038".to_owned(),
            _ => return None,
        })
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
}
