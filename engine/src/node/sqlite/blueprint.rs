//! What a table is made of here, and the statements that make one from another database.

use std::collections::HashSet;

use rusqlite::{Connection, params};

use super::failure::{Told, failure};
use super::quote;
use super::schema::{self, Table};
use crate::model::{Domain, Type, Value};
use crate::node::Result;
use crate::node::blueprint::{
    Blueprint, Draft, IndexPart, NOT_UNIQUE, Part, Preset, ReferencePart, Rule, Size, accepts, free_name, shape_of,
    the_statement, unsupported,
};

/// The scheme of this kind's URLs.
const KIND: &str = "sqlite";

/// What a table may be that no other database knows: all of it comes along from file to file.
const STRICT: &str = "STRICT";
const WITHOUT_ROWID: &str = "WITHOUT ROWID";
/// No number of a row that was deleted is given out again.
const AUTOINCREMENT: &str = "AUTOINCREMENT";

/// How a reference is declared that is looked at with the commit; whatever else may be said is looked at with each statement.
const DEFERRED: &str = "DEFERRABLE INITIALLY DEFERRED";

/// Numbers of so many digits come back from SQLite as they were written.
const EXACT: u32 = 15;

pub(super) fn read(db: &Connection, name: &str) -> Result<Option<Blueprint>> {
    let doing = || format!("reading the catalogue of `{name}`");
    let bare = name.strip_prefix("main.").unwrap_or(name);
    let (Some(table), Some(catalogue)) = (Table::read(db, bare).told(doing)?, schema::catalogue(db, bare)?) else {
        return Ok(None);
    };
    let mut blueprint = Blueprint {
        table: bare.to_owned(),
        found: table.name.clone(),
        key: catalogue.key.clone(),
        options: options(&table),
        ..Blueprint::default()
    };
    for (field, column) in table.columns.iter().zip(&catalogue.columns) {
        if field.generated {
            blueprint.notes.push(format!("column {} is computed", field.name));
            continue;
        }
        let (mut ty, mut size) = shape_of(&column.domain);
        let declared = field.declared.to_ascii_uppercase();
        let base = declared.split('(').next().unwrap_or_default().trim();
        // What turns values into others, such as STRING, is shared by SQLite alone.
        if matches!(&column.domain, Domain::Loose { accepts, .. } if accepts.is_empty()) {
            ty = Type::Native(field.declared.clone());
        }
        let numbers: Vec<u32> = declared
            .split_once('(')
            .and_then(|(_, rest)| {
                rest.trim_end_matches(')').split(',').map(|part| part.trim().parse().ok()).collect::<Option<_>>()
            })
            .unwrap_or_default();
        match base {
            "TIMESTAMPTZ" => ty = Type::Instant,
            _ if ty == Type::Date && !declared.contains("DATE") => ty = Type::Text,
            _ => {}
        }
        match (&ty, &numbers[..]) {
            // Sizes that no other database has SQLite takes, and heeds none.
            (Type::Decimal, [digits, scale]) if *digits > 0 && scale <= digits => size.digits = Some((*digits, *scale)),
            (Type::Decimal, [digits]) if *digits > 0 => size.digits = Some((*digits, 0)),
            (Type::Text, [length]) if *length > 0 => size.length = Some(*length),
            _ => {}
        }
        let default = field.default.as_deref().and_then(Preset::parse);
        let is_null = field.default.as_deref().is_some_and(|text| text.trim().eq_ignore_ascii_case("null"));
        if let (Some(text), None, false) = (&field.default, &default, is_null) {
            blueprint.notes.push(format!("the default of column {}: {text}", field.name));
        }
        // An INTEGER PRIMARY KEY numbers rows by itself.
        let numbers = table.key_index.is_none() && field.primary > 0 && !table.without_rowid;
        blueprint.columns.push(Part {
            name: field.name.clone(),
            native: field.declared.clone(),
            kind: KIND,
            collation: None,
            ty,
            size,
            nullable: column.nullable,
            default,
            numbers,
            limits: None,
            accepts: accepts(&column.domain),
            unsupported: unsupported(&column.domain),
        });
    }
    let mut statement =
        db.prepare("SELECT name, \"unique\", partial FROM pragma_index_list(?1) ORDER BY name").told(doing)?;
    let indexes = statement
        .query_map([&table.name], |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?, row.get::<_, bool>(2)?)))
        .and_then(|rows| rows.collect::<rusqlite::Result<Vec<_>>>())
        .told(doing)?;
    for (index, unique, partial) in indexes {
        let mut columns = db.prepare("SELECT name FROM pragma_index_info(?1) ORDER BY seqno").told(doing)?;
        let columns = columns
            .query_map([&index], |row| row.get::<_, Option<String>>(0))
            .and_then(|rows| rows.collect::<rusqlite::Result<Option<Vec<String>>>>())
            .told(doing)?;
        match columns {
            Some(columns) if !partial => {
                if !(unique && columns == blueprint.key) {
                    let name = match index.starts_with("sqlite_autoindex_") {
                        true => format!("{}_{}", table.name, columns.join("_")),
                        false => index,
                    };
                    blueprint.indexes.push(IndexPart { name, of_table: false, unique, columns });
                }
            }
            _ => blueprint.notes.push(format!("index {index} (of expressions or of a part of the rows)")),
        }
    }
    for index in table.indexes.iter().filter(|index| index.origin == "c" && !index.partial) {
        let others = index.columns.iter().filter(|(_, collation)| !collation.eq_ignore_ascii_case("BINARY"));
        blueprint.notes.extend(others.filter_map(|(column, collation)| {
            Some(format!("the collation {collation} of column {} in index {}", column.as_ref()?, index.name))
        }));
    }
    let words: Vec<String> = schema::tokens(&table.sql).iter().map(|(word, _)| word.to_ascii_uppercase()).collect();
    // The pragma tells the youngest first, and so does the catalogue.
    let deferred = deferred(&words).into_iter().rev().chain(std::iter::repeat(false));
    for ((id, reference), deferred) in (0_i64..).zip(&catalogue.references).zip(deferred) {
        let actions = "SELECT on_delete, on_update FROM pragma_foreign_key_list(?1, 'main') WHERE id = ?2";
        let (on_delete, on_update): (String, String) =
            db.query_row(actions, params![table.name, id], |row| Ok((row.get(0)?, row.get(1)?))).told(doing)?;
        blueprint.references.push(ReferencePart {
            columns: reference.columns.clone(),
            table: reference.referenced_table.clone(),
            referenced: reference.referenced_columns.clone(),
            on_delete,
            on_update,
            deferral: deferred.then(|| DEFERRED.to_owned()),
            ..ReferencePart::default()
        });
    }
    for (what, told) in
        [(&["CHECK"][..], "checks"), (&["COLLATE"], "collations"), (&["ON", "CONFLICT"], "ON CONFLICT clauses")]
    {
        if words.windows(what.len()).any(|found| found == what) {
            blueprint.notes.push(told.to_owned());
        }
    }
    blueprint.notes.extend(catalogue.user_triggers.iter().map(|trigger| format!("trigger {trigger}")));
    Ok(Some(blueprint))
}

/// Of each reference in the words of a table, the oldest first, whether it is looked at with the commit.
fn deferred(words: &[String]) -> Vec<bool> {
    let clauses = words.split(|word| word == "REFERENCES").skip(1);
    let is_deferred = |clause: &[String]| {
        let at = clause.iter().rposition(|word| word == "DEFERRABLE");
        at.is_some_and(|at| {
            clause[..at].last().is_none_or(|word| word != "NOT") && clause[at..].join(" ").starts_with(DEFERRED)
        })
    };
    clauses.map(is_deferred).collect()
}

fn options(table: &Table) -> Vec<&'static str> {
    let says = |(word, _): &(&str, _)| word.eq_ignore_ascii_case(AUTOINCREMENT);
    let counts_on = table.key_is_rowid() && schema::tokens(&table.sql).iter().any(says);
    let options = [(table.strict, STRICT), (table.without_rowid, WITHOUT_ROWID), (counts_on, AUTOINCREMENT)];
    options.into_iter().filter(|(is_so, _)| *is_so).map(|(_, option)| option).collect()
}

/// The statements that make a table of this blueprint.
pub(super) fn draft(db: &Connection, blueprint: &Blueprint, taken: &mut HashSet<String>) -> Result<Draft> {
    // Tables and indexes of a file share their names.
    let doing = || "reading the names in the file";
    let mut names = db.prepare("SELECT name FROM sqlite_schema").told(doing)?;
    let names = names.query_map([], |row| row.get::<_, String>(0)).told(doing)?;
    for name in names {
        taken.insert(name.told(doing)?.to_lowercase());
    }
    let mut draft = Draft::default();
    let table = blueprint.table.strip_prefix("main.").unwrap_or(&blueprint.table);
    let mut lines = Vec::new();
    let sole_key = (blueprint.key.len() == 1).then(|| &blueprint.key[0]);
    let mut rowid = false;
    let is_own = blueprint.columns.iter().all(|part| part.kind == KIND);
    let has = |option: &str| is_own && blueprint.options.contains(&option);
    for part in &blueprint.columns {
        let ty = match (part.kind, &part.ty) {
            (KIND, _) => part.native.clone(),
            (_, Type::Native(_)) => {
                draft.problems.push(blueprint.without_type(part, "SQLite"));
                continue;
            }
            _ => type_of(&part.ty, part.size),
        };
        let limited = part.size.length.is_some()
            || part.size.digits.is_some()
            || part.limits.is_none() && part.size.bits.is_some_and(|bits| bits < 64)
            || part.size.seconds.is_some_and(|digits| digits < 6);
        if part.kind != KIND && limited {
            draft.notes.push(format!("the limits of column {} ({}) are not enforced", part.name, part.native));
        }
        draft.notes.extend(part.not_carried().filter(|_| part.kind != KIND));
        if part.size.bits == Some(65) {
            draft.notes.push(format!("column {} holds no number above {}", part.name, i64::MAX));
        }
        // SQLite numbers rows by INTEGER alone, and never in steps. A STRICT table takes the shorter word only.
        let whole = if has(STRICT) { "INT" } else { "BIGINT" };
        let ty = match sole_key == Some(&part.name) && blueprint.in_steps && ty.eq_ignore_ascii_case("INTEGER") {
            true => whole.to_owned(),
            false => ty,
        };
        let mut line = format!("{} {ty}", quote::name(&part.name));
        // The key that SQLite numbers rows by.
        if sole_key == Some(&part.name) && ty.eq_ignore_ascii_case("INTEGER") {
            line += " PRIMARY KEY";
            if has(AUTOINCREMENT) {
                line += " AUTOINCREMENT";
            }
            rowid = true;
        }
        if !part.nullable || blueprint.key.contains(&part.name) {
            line += " NOT NULL";
        }
        let takes = |value: &Value| !matches!(value, Value::Uint(_));
        let preset = if part.kind == KIND { part.default.clone() } else { part.preset(takes) };
        match preset {
            _ if part.numbers => {}
            Some(preset) => line += &format!(" DEFAULT {}", preset_sql(&preset, &part.ty)),
            None if part.default.is_some() => draft.notes.push(format!("the default of column {}", part.name)),
            None => {}
        }
        if part.numbers && (sole_key != Some(&part.name) || blueprint.in_steps) {
            draft.notes.push(format!("column {} is not numbered by itself", part.name));
        }
        lines.push(line);
    }
    if !rowid {
        lines.push(format!("PRIMARY KEY ({})", quote::names(blueprint.key.iter().map(String::as_str))));
    }
    for reference in &blueprint.references {
        // To SQLite that is an error of every statement that writes to either table.
        if !reference.is_to_unique() {
            draft.notes.push(reference.left_out(NOT_UNIQUE));
            continue;
        }
        draft.notes.extend(reference.without(&[Rule::Full, Rule::Sets]));
        lines.push(format!(
            "FOREIGN KEY ({}) REFERENCES {} ({}) ON DELETE {} ON UPDATE {}{}",
            quote::names(reference.columns.iter().map(String::as_str)),
            quote::name(reference.table.strip_prefix("main.").unwrap_or(&reference.table)),
            quote::names(reference.referenced.iter().map(String::as_str)),
            reference.on_delete_of_all(),
            reference.on_update,
            reference.ending()
        ));
    }
    let options = [STRICT, WITHOUT_ROWID].into_iter().filter(|option| has(option)).collect::<Vec<_>>().join(", ");
    let options = if options.is_empty() { options } else { format!(" {options}") };
    draft.statements.push(format!("CREATE TABLE {} (\n  {}\n){options}", quote::name(table), lines.join(",\n  ")));
    for index in &blueprint.indexes {
        let unique = if index.unique { "UNIQUE " } else { "" };
        draft.statements.push(format!(
            "CREATE {unique}INDEX {} ON {} ({})",
            quote::name(&free_name(&blueprint.name_of(index), taken, str::to_owned)),
            quote::name(table),
            quote::names(index.columns.iter().map(String::as_str))
        ));
    }
    Ok(draft)
}

fn preset_sql(preset: &Preset, ty: &Type) -> String {
    match preset {
        Preset::Number(number) => number.clone(),
        Preset::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Preset::Bool(value) => i32::from(*value).to_string(),
        Preset::Now if *ty == Type::Date => "CURRENT_DATE".to_owned(),
        Preset::Now if *ty == Type::Time => "CURRENT_TIME".to_owned(),
        Preset::Now => "CURRENT_TIMESTAMP".to_owned(),
    }
}

fn type_of(ty: &Type, size: Size) -> String {
    match ty {
        Type::Bool => "BOOLEAN".to_owned(),
        Type::Int => "INTEGER".to_owned(),
        Type::Float => "REAL".to_owned(),
        Type::Decimal => match size.digits {
            Some((digits, scale)) if digits <= EXACT => format!("DECIMAL({digits},{scale})"),
            _ => "TEXT".to_owned(),
        },
        Type::Text => "TEXT".to_owned(),
        Type::Bytes => "BLOB".to_owned(),
        Type::Date => "DATE".to_owned(),
        Type::Time => "TIME".to_owned(),
        Type::Timestamp => "TIMESTAMP".to_owned(),
        Type::Instant => "TIMESTAMPTZ".to_owned(),
        Type::Json => "JSON".to_owned(),
        Type::Uuid => "UUID".to_owned(),
        Type::Native(_) | Type::Any => "TEXT".to_owned(),
    }
}

/// Makes all tables in one transaction; `at` tells which of them it is at.
pub(super) fn build(db: &Connection, tables: &[Vec<String>], at: &mut usize) -> Result<()> {
    db.execute_batch("BEGIN IMMEDIATE").map_err(failure)?;
    let done = tables.iter().enumerate().try_for_each(|(place, statements)| {
        *at = place;
        statements.iter().try_for_each(|statement| {
            db.execute_batch(statement).map_err(|error| failure(error).with(the_statement(statement)))
        })
    });
    let done = done.and_then(|()| db.execute_batch("COMMIT").map_err(failure));
    if !db.is_autocommit() {
        db.execute_batch("ROLLBACK").map_err(failure)?;
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It would be refused as soon as it is there.
    #[test]
    fn a_key_that_others_number_in_steps_is_not_the_rowid() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT); CREATE TABLE s (id INTEGER PRIMARY KEY) STRICT",
        )
        .unwrap();
        let made = |name: &str, in_steps: bool| {
            let blueprint = Blueprint { table: "new".to_owned(), in_steps, ..read(&db, name).unwrap().unwrap() };
            let draft = draft(&db, &blueprint, &mut HashSet::new()).unwrap();
            let other = Connection::open_in_memory().unwrap();
            other.execute_batch(&draft.statements.concat()).unwrap();
            Table::read(&other, "new").unwrap().unwrap().key_is_rowid()
        };
        for name in ["t", "s"] {
            assert_eq!([made(name, false), made(name, true)], [true, false], "{name}");
        }
    }

    #[test]
    fn what_a_comment_says_is_no_option() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(
            "CREATE TABLE s (id INTEGER PRIMARY KEY -- no AUTOINCREMENT
             ); CREATE TABLE t (id INTEGER PRIMARY KEY autoincrement)",
        )
        .unwrap();
        let counts_on = |name: &str| options(&Table::read(&db, name).unwrap().unwrap()).contains(&AUTOINCREMENT);
        assert_eq!([counts_on("s"), counts_on("t")], [false, true]);
    }

    #[test]
    fn references_keep_what_each_of_them_says() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(
            "CREATE TABLE p (id INTEGER PRIMARY KEY, code TEXT UNIQUE);
             CREATE TABLE t (id INTEGER PRIMARY KEY, \"references\" TEXT DEFAULT 'REFERENCES', a INTEGER
                 REFERENCES p ON DELETE CASCADE deferrable /* REFERENCES */ initially deferred
                 REFERENCES p (id) ON DELETE SET NULL NOT DEFERRABLE INITIALLY DEFERRED,
                 b TEXT, FOREIGN KEY (b) REFERENCES p (code) ON UPDATE CASCADE DEFERRABLE INITIALLY IMMEDIATE,
                 FOREIGN KEY (a) REFERENCES p (id) DEFERRABLE INITIALLY DEFERRED)",
        )
        .unwrap();
        let told = |reference: &ReferencePart| {
            format!("{} {}{}", reference.on_delete, reference.on_update, reference.ending())
        };
        let found = read(&db, "t").unwrap().unwrap();
        let mut rules: Vec<String> = found.references.iter().map(told).collect();
        rules.sort();
        let wanted = [
            "CASCADE NO ACTION DEFERRABLE INITIALLY DEFERRED",
            "NO ACTION CASCADE",
            "NO ACTION NO ACTION DEFERRABLE INITIALLY DEFERRED",
            "SET NULL NO ACTION",
        ];
        assert_eq!(rules, wanted);
        let by_its_code = found.references.iter().find(|reference| reference.referenced == ["code"]).unwrap();
        assert_eq!(told(by_its_code), "NO ACTION CASCADE");
        // So they are made, the youngest first.
        let statements = draft(&db, &found, &mut HashSet::new()).unwrap().statements;
        db.execute_batch(&format!("DROP TABLE t; {}", statements.join(";"))).unwrap();
        let made = read(&db, "t").unwrap().unwrap().references;
        let first: Vec<String> = found.references.iter().map(told).collect();
        assert_eq!(made.iter().rev().map(told).collect::<Vec<_>>(), first);
    }

    #[test]
    fn defaults_of_times() {
        let now = |ty| preset_sql(&Preset::Now, &ty);
        assert_eq!(
            [Type::Date, Type::Time, Type::Instant].map(now),
            ["CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP"]
        );
    }
}
