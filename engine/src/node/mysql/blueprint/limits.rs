//! What tables here forbid and those of another kind of database do not.

use super::super::{sql, types};
use crate::model::Domain;
use crate::node::CatalogueColumn;

/// What a column of another kind of database would take and this one does not; `unique`: whether it is in an index that takes no
/// two values for one.
pub fn limits(column: &CatalogueColumn, key: &[String], unique: bool) -> Option<String> {
    let native = column.native.as_str();
    let is_lenient = matches!(column.domain, Domain::Text { .. })
        && column.collation.as_deref().is_some_and(|collation| !sql::is_exact(collation));
    match native.split('(').next() {
        Some("enum" | "set") => Some(format!("only the labels of {native}")),
        Some("year") => Some("only 0 and the years 1901 to 2155".to_owned()),
        _ if is_lenient && key.contains(&column.name) => {
            Some("texts that are one key here, such as 'a' and 'A', are several there".to_owned())
        }
        _ if is_lenient && unique => Some("texts that are one here, such as 'a' and 'A', are several there".to_owned()),
        _ => range(native, &column.domain),
    }
}

/// The values of a type that is narrower than the one that it becomes elsewhere.
fn range(native: &str, domain: &Domain) -> Option<String> {
    let length = |name: &str| native.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
    match domain {
        Domain::Int { bits, unsigned: true } => Some(format!("only the numbers 0 to {}", u64::MAX >> (64 - *bits))),
        Domain::Int { bits: bits @ (8 | 24), .. } => {
            let most = (1_i64 << (*bits - 1)) - 1;
            Some(format!("only the numbers {} to {most}", -most - 1))
        }
        Domain::Float { .. } | Domain::Decimal { .. } if native.contains("unsigned") => {
            Some("no numbers below 0".to_owned())
        }
        Domain::Bytes | Domain::Text { .. } => match (length("binary"), length("varbinary"), types::room(native)) {
            (Some(length), ..) => Some(format!("only {length} bytes, no fewer and no more")),
            (_, Some(most), _) => Some(format!("at most {most} bytes")),
            (.., Some(most)) => Some(format!("at most {most} bytes")),
            _ => None,
        },
        _ => None,
    }
}

/// What MariaDB alone knows of times from one column to another, by the statement with which it would make a table again.
pub fn periods(made: &str) -> Vec<String> {
    let lines = made.lines().map(|line| line.trim().trim_end_matches(','));
    // Names of columns come first in their lines, in quotes.
    let others = lines.filter(|line| !line.starts_with('`'));
    let told = others.filter_map(|line| match line.split_once(" (") {
        _ if line.starts_with("PERIOD FOR ") => Some(line.to_owned()),
        Some((key, columns)) if columns.contains("` WITHOUT OVERLAPS)") => Some(format!("WITHOUT OVERLAPS of {key}")),
        _ => None,
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_wider_types_have_room_for() {
        let int = |bits, unsigned| Domain::Int { bits, unsigned };
        let text = Domain::Text { max: None, padded: false, nul: true };
        for (native, domain, told) in [
            ("tinyint(4)", int(8, false), Some("only the numbers -128 to 127")),
            ("mediumint(9)", int(24, false), Some("only the numbers -8388608 to 8388607")),
            ("int(10) unsigned", int(32, true), Some("only the numbers 0 to 4294967295")),
            ("bigint unsigned", int(64, true), Some("only the numbers 0 to 18446744073709551615")),
            ("smallint(6)", int(16, false), None),
            ("bigint(20)", int(64, false), None),
            ("decimal(5,2) unsigned", Domain::Decimal { limits: Some((5, 2)) }, Some("no numbers below 0")),
            ("double", Domain::Float { bits: 64 }, None),
            ("binary(16)", Domain::Bytes, Some("only 16 bytes, no fewer and no more")),
            ("varbinary(9)", Domain::Bytes, Some("at most 9 bytes")),
            ("blob", Domain::Bytes, Some("at most 65535 bytes")),
            ("longblob", Domain::Bytes, None),
            ("tinytext", text, Some("at most 255 bytes")),
        ] {
            assert_eq!(range(native, &domain).as_deref(), told, "{native}");
        }
    }

    #[test]
    fn periods_as_the_server_shows_them() {
        let made = "CREATE TABLE `rooms` (
  `room` int(11) NOT NULL COMMENT '` WITHOUT OVERLAPS)',
  `PERIOD FOR a` date NOT NULL,
  PERIOD FOR `validity` (`starts`, `ends`),
  PRIMARY KEY (`room`,`validity` WITHOUT OVERLAPS),
  UNIQUE KEY `once` (`code`,`validity` WITHOUT OVERLAPS) COMMENT 'one',
  UNIQUE KEY `plain` (`code`)
) ENGINE=InnoDB";
        let told = [
            "PERIOD FOR `validity` (`starts`, `ends`)",
            "WITHOUT OVERLAPS of PRIMARY KEY",
            "WITHOUT OVERLAPS of UNIQUE KEY `once`",
        ];
        assert_eq!(periods(made), told);
    }
}
