//! How names and texts are written into SQL. Values never are: they are bound.

/// A name in backticks. A wrong name in backticks is always an error, while SQLite takes a wrong name in double quotes
/// for a string; triggers are compiled by the users' programs, where that cannot be switched off.
pub(super) fn name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A table's name in double quotes, as SQLite writes it into triggers when a table is renamed: so their texts are what they were once it
/// has its name back. Where a table is named there are no strings.
pub(super) fn table(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Names in backticks, separated by commas.
pub(super) fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_names() {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        for odd in ["a`b", "a\"b", "a'b", "a]b", "ünï 表", "select", "a\nb", "rowid", ""] {
            let (table, column) = (super::table(odd), name(odd));
            db.execute_batch(&format!("CREATE TABLE {table}({column}); INSERT INTO {table}({column}) VALUES (1)"))
                .unwrap();
            let found: String = db
                .query_row("SELECT name FROM sqlite_schema ORDER BY rowid DESC LIMIT 1", [], |row| row.get(0))
                .unwrap();
            assert_eq!(found, odd);
            db.execute_batch(&format!("DROP TABLE {table}")).unwrap();
        }
    }
}
