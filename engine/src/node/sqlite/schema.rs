//! The catalogue: what a table of this file looks like.

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::failure::{Told, failure};
use super::types::{self, Affinity};
use super::{install, quote};
use crate::model::{ForeignKey, OnGone, Unique};
use crate::node::{Catalogue, CatalogueColumn, Numbered, Result};

/// A table as SQLite's own pragmas describe it.
pub(super) struct Table {
    pub name: String,
    pub kind: String,
    pub without_rowid: bool,
    pub strict: bool,
    pub sql: String,
    pub columns: Vec<Field>,
    /// Unique indexes, the oldest first; the primary key's own included.
    pub indexes: Vec<Index>,
    /// Positions in `columns` of the key; empty if there is none.
    pub key: Vec<usize>,
    /// The collation of each key column in the index that holds the key.
    pub collations: Vec<String>,
    /// Whether each key column is compared by its bytes where no collation is named, whatever that of the index is.
    pub binary: Vec<bool>,
    /// Which of `indexes` holds the key; an INTEGER PRIMARY KEY has none.
    pub key_index: Option<usize>,
}

pub(super) struct Field {
    pub name: String,
    pub declared: String,
    pub not_null: bool,
    pub default: Option<String>,
    pub primary: i64,
    pub generated: bool,
}

#[derive(Clone)]
pub(super) struct Index {
    pub name: String,
    pub origin: String,
    pub partial: bool,
    /// The condition of a partial index, if it can stand in a trigger, of a row `t`.
    pub condition: Option<String>,
    /// Column and collation; no column where the index is over an expression.
    pub columns: Vec<(Option<String>, String)>,
}

impl Table {
    /// The table or view of this name, whatever the case of its letters.
    pub(super) fn read(db: &Connection, name: &str) -> rusqlite::Result<Option<Table>> {
        let found = db
            .prepare_cached("SELECT name, type, wr, strict FROM pragma_table_list(?1) WHERE schema = 'main'")?
            .query_row([name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .optional()?;
        let Some((name, kind, without_rowid, strict)): Option<(String, String, bool, bool)> = found else {
            return Ok(None);
        };
        let sql = db
            .prepare_cached(
                "SELECT coalesce(sql, '') FROM sqlite_schema WHERE name = ?1 AND type IN ('table', 'view')",
            )?
            .query_row([&name], |row| row.get(0))
            .optional()?
            .unwrap_or_default();
        let columns = db
            .prepare_cached(
                "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1, 'main') ORDER BY cid",
            )?
            .query_map([&name], |row| {
                Ok(Field {
                    name: row.get(0)?,
                    declared: row.get(1)?,
                    not_null: row.get(2)?,
                    default: row.get(3)?,
                    primary: row.get(4)?,
                    generated: row.get::<_, i64>(5)? >= 2,
                })
            })?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let indexes = indexes(db, &name, &columns)?;
        let mut table = Table {
            name,
            kind,
            without_rowid,
            strict,
            sql,
            columns,
            indexes,
            key: Vec::new(),
            collations: Vec::new(),
            binary: Vec::new(),
            key_index: None,
        };
        table.find_key();
        let is_binary = |name: &str| -> rusqlite::Result<bool> {
            if table.kind != "table" {
                return Ok(true);
            }
            let (_, collation, ..) = db.column_metadata(Some("main"), table.name.as_str(), name)?;
            Ok(collation.is_none_or(|collation| collation == c"BINARY"))
        };
        table.binary = table.key_names().map(is_binary).collect::<rusqlite::Result<_>>()?;
        Ok(Some(table))
    }

    /// The primary key or, without one, the first unique index over columns that are never NULL.
    fn find_key(&mut self) {
        let mut primary: Vec<usize> = (0..self.columns.len()).filter(|&at| self.columns[at].primary > 0).collect();
        primary.sort_by_key(|&at| self.columns[at].primary);
        if !primary.is_empty() {
            self.key = primary;
            self.key_index = self.indexes.iter().position(|index| index.origin == "pk");
        } else {
            let never_null = |column: &Option<String>| {
                column.as_deref().and_then(|name| self.position(name)).filter(|&at| self.columns[at].not_null)
            };
            let found = self.indexes.iter().enumerate().filter(|(_, index)| !index.partial).find_map(|(at, index)| {
                Some((at, index.columns.iter().map(|(column, _)| never_null(column)).collect::<Option<Vec<_>>>()?))
            });
            if let Some((at, key)) = found {
                self.key_index = Some(at);
                self.key = key;
            }
        }
        self.collations = match self.key_index {
            None => vec!["BINARY".to_owned(); self.key.len()],
            Some(index) => {
                let columns = &self.indexes[index].columns;
                let collation = |name: &str| columns.iter().find(|(column, _)| column.as_deref() == Some(name));
                self.key
                    .iter()
                    .map(|&at| collation(&self.columns[at].name).map_or("BINARY".to_owned(), |(_, c)| c.clone()))
                    .collect()
            }
        };
    }

    pub(super) fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|field| field.name == column)
    }

    pub(super) fn key_names(&self) -> impl Iterator<Item = &str> {
        self.key.iter().map(|&at| self.columns[at].name.as_str())
    }

    /// The rowid counts by itself, by one from the greatest there is.
    fn numbered(&self) -> Vec<Numbered> {
        let columns = self.key_names().filter(|_| self.key_is_rowid());
        let numbered = |column: &str| {
            Numbered {
            column: column.to_owned(),
            by: "the rowid".to_owned(),
            from_the_greatest: !self.sql.to_ascii_uppercase().contains("AUTOINCREMENT"),
            obstacle: Some(
                "SQLite numbers rows by one from the greatest there is, and cannot be made to count in steps; let whoever \
                 inserts give the keys, such as uuids, or numbers of a range of the node's own, and declare a key of numbers BIGINT, not \
                 INTEGER, PRIMARY KEY"
                    .to_owned(),
            ),
            server: None,
        }
        };
        columns.map(numbered).collect()
    }

    /// Whether the key is the rowid itself.
    pub(super) fn key_is_rowid(&self) -> bool {
        !self.without_rowid && self.key_index.is_none() && !self.key.is_empty()
    }

    /// Whether `=` may call two values of this key column equal that are not the same: by its collation or that of
    /// the index, or, where no affinity makes them alike, because 1 equals 1.0.
    pub(super) fn is_lax(&self, key_part: usize) -> bool {
        let field = &self.columns[self.key[key_part]];
        self.collations[key_part] != "BINARY"
            || !self.binary[key_part]
            || (!self.key_is_rowid() && Affinity::of(&field.declared, self.strict) == Affinity::Blob)
    }

    /// Whether a key column may hold NULL, as SQLite allows in most primary keys.
    pub(super) fn is_nullable(&self, column: usize) -> bool {
        let field = &self.columns[column];
        let rowid = self.key_is_rowid() && field.primary > 0;
        !(field.not_null || rowid || (self.without_rowid && field.primary > 0))
    }

    /// Whether the definition says what to do on a conflict, which a statement has to overrule.
    pub(super) fn has_conflict_clauses(&self) -> bool {
        self.sql
            .to_ascii_uppercase()
            .split_whitespace()
            .collect::<Vec<_>>()
            .windows(2)
            .any(|w| w[0].ends_with("ON") && w[1].starts_with("CONFLICT"))
    }

    /// Whether what is written is to overrule what the definition says to do on a conflict, which overrules also what users' triggers say
    /// about theirs.
    pub(super) fn is_overruled(&self, has_user_triggers: bool) -> bool {
        self.has_conflict_clauses() || !has_user_triggers
    }

    /// The unique indexes that are not the key.
    pub(super) fn other_uniques(&self) -> impl Iterator<Item = &Index> {
        let key = self.key_index;
        self.indexes.iter().enumerate().filter(move |(at, _)| Some(*at) != key).map(|(_, index)| index)
    }
}

fn indexes(db: &Connection, table: &str, fields: &[Field]) -> rusqlite::Result<Vec<Index>> {
    let mut indexes = db
        .prepare_cached(
            "SELECT name, origin, partial FROM pragma_index_list(?1, 'main') WHERE \"unique\" ORDER BY seq DESC",
        )?
        .query_map([table], |row| {
            let (name, origin, partial) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(Index { name, origin, partial, condition: None, columns: Vec::new() })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for index in &mut indexes {
        index.columns = db
            .prepare_cached("SELECT name, coll FROM pragma_index_xinfo(?1, 'main') WHERE key ORDER BY seqno")?
            .query_map([&index.name], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        if index.partial {
            index.condition = condition(db, table, &index.name, fields)?;
        }
    }
    Ok(indexes)
}

/// The condition of a partial index, unless it names the table, which is called `t` where triggers look at its rows.
fn condition(db: &Connection, table: &str, index: &str, fields: &[Field]) -> rusqlite::Result<Option<String>> {
    let sql: Option<String> = db
        .prepare_cached("SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = ?1")?
        .query_row([index], |row| row.get::<_, Option<String>>(0))
        .optional()?
        .flatten();
    let Some(condition) = sql.as_deref().and_then(|sql| behind_columns(sql, fields)) else { return Ok(None) };
    match db.prepare(&format!("SELECT 1 FROM {} AS t WHERE ({condition}\n)", quote::table(table))) {
        Ok(_) => Ok(Some(condition.to_owned())),
        Err(rusqlite::Error::SqlInputError { .. }) => Ok(None),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What follows WHERE in the text of an index. In double quotes there may be names of columns alone: what is none is a text to most programs,
/// and an error to others.
fn behind_columns<'a>(sql: &'a str, fields: &[Field]) -> Option<&'a str> {
    let tokens = tokens(sql);
    let mut depth = 0;
    let closed = tokens.iter().position(|(token, _)| {
        match *token {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => return false,
        }
        depth == 0
    })?;
    let (word, end) = tokens.get(closed + 1)?;
    let is_known = |token: &str| {
        token.strip_prefix('"').is_none_or(|name| {
            let name = name.trim_end_matches('"');
            fields.iter().any(|field| field.name.eq_ignore_ascii_case(name))
        })
    };
    let is_usable =
        word.eq_ignore_ascii_case("where") && tokens[closed + 2..].iter().all(|&(token, _)| is_known(token));
    is_usable.then(|| sql[*end..].trim())
}

/// The words, quoted names, texts and signs of a statement, each with the place where it ends. Comments are left out.
pub(super) fn tokens(sql: &str) -> Vec<(&str, usize)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = sql[at..].chars().next() {
        let rest = &sql[at..];
        let is_comment = rest.starts_with("--") || rest.starts_with("/*");
        let through =
            |end: &str, from: usize| rest[from..].find(end).map_or(rest.len(), |found| from + found + end.len());
        let length = match first {
            '-' if is_comment => through("\n", 0),
            '/' if is_comment => through("*/", 2),
            '\'' | '"' | '`' => through(&first.to_string(), 1),
            '[' => through("]", 1),
            _ if is_word(first) => rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()),
            _ => 1,
        };
        at += length;
        if !is_comment && !first.is_ascii_whitespace() {
            tokens.push((&rest[..length], at));
        }
    }
    tokens
}

/// Triggers of users on the table: name, text, and place in the catalogue, which tells the order of creation.
pub(super) fn user_triggers(db: &Connection, table: &str) -> rusqlite::Result<Vec<(String, String, i64)>> {
    db.prepare_cached(
        "SELECT name, coalesce(sql, ''), rowid FROM sqlite_schema
         WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE ORDER BY name",
    )?
    .query_map([table], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get(2)?)))?
    .filter(|found| !matches!(found, Ok((name, sql, _)) if install::is_ours(name, sql)))
    .collect()
}

/// The references from `table`, or with `to` those to it, in names spelled as stored. The text of a table that has any says so;
/// to ask each of hundreds of tables for hundreds of them would take many seconds.
pub(super) fn references(db: &Connection, table: &str, to: bool) -> rusqlite::Result<Vec<ForeignKey>> {
    let side = if to { "f.\"table\"" } else { "s.name" };
    let rows = db
        .prepare_cached(&format!(
            "SELECT s.name, f.id, f.\"table\", f.\"from\", f.\"to\", f.on_delete, f.on_update
             FROM sqlite_schema AS s, pragma_foreign_key_list(s.name, 'main') AS f
             WHERE s.type = 'table' AND s.sql LIKE '%references%' AND {side} = ?1 COLLATE NOCASE
             ORDER BY s.name, f.id, f.seq"
        ))?
        .query_map([table], |row| {
            Ok((
                (row.get::<_, String>(0)?, row.get::<_, i64>(1)?),
                (row.get::<_, String>(2)?, row.get::<_, String>(3)?, row.get::<_, Option<String>>(4)?),
                (row.get::<_, String>(5)?, row.get::<_, String>(6)?),
            ))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut keys: Vec<ForeignKey> = Vec::new();
    for part in rows.chunk_by(|a, b| a.0 == b.0) {
        let ((child, id), (parent, ..), (on_delete, on_update)) = &part[0];
        let parent_table = Table::read(db, parent)?;
        let spelled = |table: &Option<Table>, column: &str| {
            let same = table.as_ref().and_then(|t| t.columns.iter().find(|f| f.name.eq_ignore_ascii_case(column)));
            same.map_or(column.to_owned(), |field| field.name.clone())
        };
        let child_table = Table::read(db, child)?;
        let columns = part.iter().map(|(_, (_, from, _), _)| spelled(&child_table, from)).collect();
        // Without columns a reference is to the primary key.
        let referenced_columns = if part.iter().all(|(_, (_, _, to), _)| to.is_none()) {
            parent_table.as_ref().map_or(Vec::new(), |table| table.key_names().map(str::to_owned).collect())
        } else {
            part.iter().filter_map(|(_, (_, _, to), _)| to.as_deref()).map(|to| spelled(&parent_table, to)).collect()
        };
        keys.push(ForeignKey {
            name: format!("{child} reference {}", id + 1),
            schema: None,
            table: child.clone(),
            columns,
            referenced_schema: None,
            referenced_table: parent_table.map_or_else(|| parent.clone(), |table| table.name),
            referenced_columns,
            on_delete: match on_delete.as_str() {
                "CASCADE" => OnGone::Cascade,
                "SET NULL" | "SET DEFAULT" => OnGone::Detach,
                _ => OnGone::Refuse,
            },
            follows: !matches!(on_update.as_str(), "NO ACTION" | "RESTRICT"),
        });
    }
    Ok(keys)
}

/// Whether a reference to `table` hands changes of the referenced columns on to the referring rows; those columns.
pub(super) fn followed_columns(db: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    db.prepare_cached(
        "SELECT DISTINCT f.\"to\" FROM sqlite_schema AS s, pragma_foreign_key_list(s.name, 'main') AS f
         WHERE s.type = 'table' AND s.sql LIKE '%references%' AND f.\"table\" = ?1 COLLATE NOCASE AND f.\"to\" IS NOT NULL
           AND f.on_update NOT IN ('NO ACTION', 'RESTRICT')",
    )?
    .query_map([table], |row| row.get(0))?
    .collect()
}

pub(super) fn catalogue(db: &Connection, name: &str) -> Result<Option<Catalogue>> {
    let doing = || format!("reading the catalogue of `{name}`");
    let mut table = Table::read(db, name).told(doing)?;
    if table.is_none() {
        let bare = name.strip_prefix("main.");
        table = bare.map(|bare| Table::read(db, bare)).transpose().told(doing)?.flatten();
    }
    let Some(table) = table else { return Ok(None) };
    let user_triggers = user_triggers(db, &table.name).told(doing)?.into_iter().map(|(name, ..)| name).collect();
    let uniques = table.other_uniques().map(|index| {
        let columns = index.columns.iter().filter(|_| !index.partial).map(|(column, _)| column.clone());
        Unique { name: index.name.clone(), columns: columns.collect::<Option<_>>().unwrap_or_default() }
    });
    let refused = refusals(db, &table)?;
    Ok(Some(Catalogue {
        schema: None,
        columns: table
            .columns
            .iter()
            .enumerate()
            .map(|(at, field)| CatalogueColumn {
                name: field.name.clone(),
                native: field.declared.clone(),
                collation: None,
                domain: types::domain(&field.declared, table.strict),
                nullable: table.is_nullable(at),
                generated: field.generated,
                lacks: types::lacks(&field.declared),
                alike: types::alike(&field.declared, table.strict),
            })
            .collect(),
        key: table.key_names().map(str::to_owned).collect(),
        uniques: uniques.collect(),
        references: references(db, &table.name, false).told(doing)?,
        referenced: references(db, &table.name, true).told(doing)?,
        user_triggers,
        partitioned: false,
        partitions: Vec::new(),
        refusals: refused.always,
        written_refusals: refused.written,
        numbered: table.numbered(),
        name: table.name,
    }))
}

/// Why the table cannot be synced, each with a remedy.
#[derive(Default)]
struct Refusals {
    always: Vec<String>,
    /// Where anything is written to it.
    written: Vec<String>,
}

fn refusals(db: &Connection, table: &Table) -> Result<Refusals> {
    let only = |why: String| Ok(Refusals { always: vec![why], ..Refusals::default() });
    let name = &table.name;
    let lower = name.to_ascii_lowercase();
    if lower.starts_with("sqlite_") || install::is_service_table(&lower) {
        return only(format!("`{name}` belongs to SQLite or to Concord itself; leave it out"));
    }
    match table.kind.as_str() {
        "table" => {}
        "view" => return only(format!("`{name}` is a view; sync the tables that it shows")),
        _ => return only(format!("`{name}` is a virtual table, which has no triggers; sync the table that feeds it")),
    }
    let mut refusals = Vec::new();
    if table.key.is_empty() {
        refusals.push(format!(
            "`{name}` has no key by which its rows can be told apart; give it a PRIMARY KEY, or a UNIQUE index over \
             columns that are NOT NULL"
        ));
    }
    for &at in &table.key {
        let field = &table.columns[at];
        if Affinity::of(&field.declared, table.strict) == Affinity::Real {
            refusals.push(format!("the key column `{}` of `{name}` holds floats; make it INTEGER or TEXT", field.name));
        }
        if field.generated {
            refusals.push(format!(
                "the key column `{}` of `{name}` is computed by the database; take an ordinary column as key",
                field.name
            ));
        }
    }
    for index in &table.indexes {
        if index.columns.iter().any(|(column, _)| column.is_none()) {
            refusals.push(format!(
                "the unique index `{}` of `{name}` is over an expression, so that rows which REPLACE removes through it \
                 cannot be noticed; put the expression into a generated column and make that unique",
                index.name
            ));
        }
    }
    let mut written = Vec::new();
    let triggers = user_triggers(db, name).told(|| format!("reading the triggers of `{name}`"))?;
    for (trigger, sql, _) in &triggers {
        if sql.split_whitespace().collect::<String>().to_ascii_uppercase().contains("RAISE(ROLLBACK") {
            written.push(format!(
                "the trigger `{trigger}` of `{name}` ends whole transactions with RAISE(ROLLBACK), so that one row would \
                 take all others with it; use RAISE(ABORT)"
            ));
        }
    }
    // Whatever in the table Concord's connection cannot compile (a collation or function of one program, a reference to
    // a table that is not there) would refuse every row.
    let first = table.columns.iter().find(|field| !field.generated);
    if let Some(first) = first.filter(|_| refusals.is_empty()) {
        let (target, column) = (quote::name(name), quote::name(&first.name));
        let others = table.columns.iter().enumerate().filter(|(at, field)| !field.generated && !table.key.contains(at));
        let sets: Vec<String> = others.map(|(_, field)| format!("{} = ?1", quote::name(&field.name))).collect();
        let sets = if sets.is_empty() { format!("{column} = ?1") } else { sets.join(", ") };
        let or = if table.is_overruled(!triggers.is_empty()) { " OR ABORT" } else { "" };
        let trials = [
            format!("INSERT{or} INTO {target}({column}) VALUES (?1)"),
            format!("UPDATE{or} {target} SET {sets} WHERE {column} = ?1"),
            format!("DELETE FROM {target} WHERE {column} = ?1"),
        ];
        // What Concord's own triggers miss is for `install` to put right.
        let foreign = |error: &rusqlite::Error| !error.to_string().contains("main.history_");
        for sql in &trials {
            match ending(db, sql) {
                Ok(Some(by)) if written.is_empty() => written.push(format!(
                    "`{name}` cannot be written without the danger that {by} ends the whole transaction, by ROLLBACK in a RAISE, an OR \
                     or an ON CONFLICT clause, so that one row would take all others with it; use ABORT there"
                )),
                Ok(_) => {}
                Err(error) if foreign(&error) => {
                    refusals.push(format!(
                        "`{name}` cannot be written from outside its own program: {}; remove what it names, or leave the table out",
                        failure(error)
                    ));
                    break;
                }
                Err(_) => {}
            }
        }
    }
    Ok(Refusals { always: refusals, written })
}

/// What may end the whole transaction when this statement is run, also within the triggers and references that it sets off.
fn ending(db: &Connection, sql: &str) -> rusqlite::Result<Option<String>> {
    /// `OE_Rollback` of SQLite's own sources.
    const ROLLBACK: i64 = 1;
    let mut statement = db.prepare(&format!("EXPLAIN {sql}"))?;
    let mut steps = statement.raw_query();
    let mut by = String::new();
    while let Some(step) = steps.next()? {
        let (operation, code, what): (String, i64, i64) = (step.get(1)?, step.get(2)?, step.get(3)?);
        match operation.as_str() {
            // Here the program of the statement, of a trigger or of a reference begins.
            "Init" => {
                let trigger = step.get_ref(5)?.as_str().ok().and_then(|told| told.strip_prefix("-- TRIGGER "));
                by = trigger.map_or("what depends on it".to_owned(), |trigger| format!("the trigger `{trigger}`"));
            }
            "Halt" | "HaltIfNull" if code != 0 && what == ROLLBACK => return Ok(Some(by)),
            _ => {}
        }
    }
    Ok(None)
}

/// A number that changes with every change of the catalogue.
pub(super) fn version(db: &Connection) -> Result<i64> {
    db.prepare_cached("PRAGMA schema_version")
        .and_then(|mut statement| statement.query_row(params![], |row| row.get(0)))
        .told(|| "reading the version of the catalogue")
}

/// What is another text after whatever was done to the table of this name, its indexes and its triggers, or put in its place. A
/// VACUUM makes it another as well.
pub(super) fn identity(db: &Connection, table: &str) -> Result<String> {
    let doing = || format!("looking what `{table}` is");
    let sql = "SELECT concat_ws(' ', type, name, rootpage, sql) FROM sqlite_schema WHERE tbl_name = ?1 COLLATE NOCASE ORDER BY 1";
    let mut statement = db.prepare_cached(sql).told(doing)?;
    let facts = statement.query_map([table], |row| row.get::<_, String>(0)).told(doing)?;
    Ok(facts.collect::<rusqlite::Result<Vec<String>>>().told(doing)?.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_of_partial_indexes() {
        let db = Connection::open_in_memory().unwrap();
        for (index, wanted) in [
            ("a ON s (email) WHERE deleted = 0", Some("deleted = 0")),
            ("a ON s /* ( */ (\"email\", [n)]) -- )\n wHeRe \"deleted\" = 0 -- live", Some("\"deleted\" = 0 -- live")),
            ("a ON s (email) WHERE `n)` IN (1, 2) AND email <> ')''('", Some("`n)` IN (1, 2) AND email <> ')''('")),
            // What triggers call by another name, and what is a text only where SQLite was built so.
            ("a ON s (email) WHERE s.deleted = 0", None),
            ("a ON s (email) WHERE email <> \"nobody\"", None),
        ] {
            let sql = "DROP TABLE IF EXISTS s; CREATE TABLE s (id INTEGER PRIMARY KEY, email, deleted, \"n)\")";
            db.execute_batch(&format!("{sql}; CREATE UNIQUE INDEX {index}")).unwrap();
            let table = Table::read(&db, "s").unwrap().unwrap();
            assert_eq!(table.indexes[0].condition.as_deref(), wanted, "{index}");
        }
    }
}
