//! The one place where names become SQL.

use crate::digest::short_digest;

/// Names of PostgreSQL have at most this many bytes.
const LONGEST: usize = 63;

/// A name as an identifier. Names come from the catalogue, which holds no NUL.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table with its schema.
pub fn table(schema: &str, name: &str) -> String {
    format!("{}.{}", ident(schema), ident(name))
}

/// A list of identifiers.
pub fn idents<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(ident).collect::<Vec<_>>().join(", ")
}

/// A text as a literal that means the same whatever `standard_conforming_strings` says: bodies of functions are read
/// under the settings of whoever fires them.
pub fn literal(text: &str) -> String {
    let quotes = text.replace('\'', "''");
    if quotes.contains('\\') { format!("E'{}'", quotes.replace('\\', "\\\\")) } else { format!("'{quotes}'") }
}

/// A body as a dollar-quoted literal.
pub fn body(text: &str) -> String {
    let mut tag = "concord".to_owned();
    while text.contains(&tag) {
        tag.push('_');
    }
    format!("${tag}$\n{text}\n${tag}$")
}

/// `prefix` and `name` as one name; what is too long is cut and told apart by a hash of the whole.
pub fn fitting(prefix: &str, name: &str) -> String {
    let whole = format!("{prefix}{name}");
    if whole.len() <= LONGEST {
        return whole;
    }
    let hash = short_digest(&whole);
    let mut end = LONGEST - hash.len() - 1;
    while !whole.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}~{hash}", &whole[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_names() {
        assert_eq!(ident(r#"a"; drop table b; --"#), r#""a""; drop table b; --""#);
        assert_eq!(table("a.b", "c"), r#""a.b"."c""#);
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"\'; --"), r"E'\\''; --'");
        assert_eq!(body("a $concord$ b"), "$concord_$\na $concord$ b\n$concord_$");
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let long = "ü".repeat(40);
        let (a, b) = (fitting("k_", &format!("{long}a")), fitting("k_", &format!("{long}b")));
        assert!(a.len() <= 63 && b.len() <= 63 && a != b, "{a} {b}");
        assert_eq!(fitting("k_", "id"), "k_id");
        assert_eq!(fitting("", &"x".repeat(63)).len(), 63);
    }
}
