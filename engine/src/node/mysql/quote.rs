//! The one place where names become SQL.

use crate::digest::{hexadecimal, short_digest};

/// Names have at most this many characters; bytes are counted, which is less.
const LONGEST: usize = 64;

/// A name as an identifier, under any `sql_mode`. Names come from the catalogue, which holds no NUL.
pub fn ident(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A list of identifiers.
pub fn idents<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(ident).collect::<Vec<_>>().join(", ")
}

/// A column of a table that goes by an alias.
pub fn of(alias: &str, column: &str) -> String {
    format!("{alias}.{}", ident(column))
}

/// A text as a literal that means the same under any `sql_mode` and character set.
pub fn literal(text: &str) -> String {
    if text.is_empty() { "''".to_owned() } else { format!("_utf8mb4 {}", bytes(text)) }
}

/// The bytes of a text as a literal. Bodies of triggers keep no other as it was written.
pub fn bytes(text: &str) -> String {
    format!("x'{}'", hexadecimal(text.as_bytes()))
}

/// `prefix` and `name` as one name; what is too long is cut and told apart by a hash of the whole.
pub fn fitting(prefix: &str, name: &str) -> String {
    let whole = format!("{prefix}{name}");
    if whole.len() <= LONGEST && !whole.ends_with(' ') {
        return whole;
    }
    let mut end = (LONGEST - 17).min(whole.len());
    while !whole.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}~{}", &whole[..end], short_digest(&whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_names() {
        assert_eq!(ident("a`; drop table b; --"), "`a``; drop table b; --`");
        assert_eq!(literal("it's \\"), "_utf8mb4 x'69742773205c'");
        assert_eq!(literal(""), "''");
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let long = "ü".repeat(40);
        let (a, b) = (fitting("k_", &format!("{long}a")), fitting("k_", &format!("{long}b")));
        assert!(a.len() <= 64 && b.len() <= 64 && a != b, "{a} {b}");
        assert_eq!(fitting("k_", "id"), "k_id");
        assert!(!fitting("", "ends in a blank ").ends_with(' '));
    }
}
