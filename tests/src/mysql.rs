//! MySQL in MariaDB's place: what the tests say to MariaDB, as MySQL spells it.

use std::borrow::Cow;

/// What MySQL spells otherwise. It has no unique index over texts of any length, and no defaults of theirs but expressions.
const SPELLINGS: &[(&str, &str)] = &[
    ("name text", "name varchar(200)"),
    ("text UNIQUE", "varchar(200) UNIQUE"),
    ("text  UNIQUE", "varchar(200) UNIQUE"),
    ("text NOT NULL UNIQUE", "varchar(200) NOT NULL UNIQUE"),
    ("text DEFAULT 'none'", "text DEFAULT ('none')"),
    (" AS integer)", " AS signed)"),
];

/// Statements as MySQL takes them. Indexed columns are `name`, or say so where they are declared.
pub(crate) fn spelled(sql: &str) -> Cow<'_, str> {
    let mut sql = Cow::Borrowed(sql);
    for (maria, mysql) in SPELLINGS {
        if sql.contains(maria) {
            sql = Cow::Owned(sql.replace(maria, mysql));
        }
    }
    sql
}
