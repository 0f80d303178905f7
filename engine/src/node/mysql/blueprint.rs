//! What a table is made of here, and the statements that make one from another database.

use super::schema::one;
use super::wire::{string, text};
use super::{MySql, Phase, quote, sql};
use crate::model::{Domain, Type};
use crate::node::blueprint::{Blueprint, Draft, IndexPart, Part, Preset, ReferencePart, shape_of};
use crate::node::{CatalogueColumn, Result};

/// The scheme of this kind's URLs.
const KIND: &str = "mysql";

/// Characters of a text that has to be told apart by an index and says nothing of its length. The index takes 3,072 bytes.
const INDEXED: u32 = 255;

impl MySql {
    pub(super) async fn read_blueprint(&mut self, table: &str) -> Result<Option<Blueprint>> {
        let Some(catalogue) = self.read_catalogue(table).await? else { return Ok(None) };
        let mut blueprint = Blueprint { table: table.to_owned(), key: catalogue.key.clone(), ..Blueprint::default() };
        for facts in self.read_columns(&catalogue.name).await? {
            let column = facts.column;
            if column.generated {
                blueprint.notes.push(format!("column {} is computed", column.name));
                continue;
            }
            let default = facts.default.filter(|text| !self.maria || text != "NULL");
            let is_value = !self.maria && !facts.extra.contains("DEFAULT_GENERATED");
            let preset = default.as_deref().and_then(|text| match is_value {
                true => value(text, &column.domain),
                false => expression(text),
            });
            if let (Some(text), None) = (&default, &preset) {
                blueprint.notes.push(format!("the default of column {}: {text}", column.name));
            }
            if facts.extra.to_lowercase().contains("on update") {
                blueprint.notes.push(format!("column {}: {}", column.name, facts.extra));
            }
            let (ty, size) = shape_of(&column.domain);
            let limits = limits(&column, &blueprint.key);
            blueprint.columns.push(Part {
                limits,
                numbers: facts.extra.contains("auto_increment"),
                name: column.name,
                native: column.native,
                kind: KIND,
                ty,
                size,
                nullable: column.nullable,
                default: preset,
            });
        }
        for index in self.read_indexes(&catalogue.name).await? {
            let columns: Option<Vec<String>> = index.columns.iter().cloned().collect();
            match columns.filter(|_| index.whole) {
                Some(columns) if !(index.unique && columns == blueprint.key) => {
                    blueprint.indexes.push(IndexPart { name: index.name, unique: index.unique, columns });
                }
                Some(_) => {}
                None => blueprint.notes.push(format!("index {} (of expressions or of parts of columns)", index.name)),
            }
        }
        let rules = self
            .main()?
            .fetch(
                "SELECT CONSTRAINT_NAME, DELETE_RULE, UPDATE_RULE FROM information_schema.REFERENTIAL_CONSTRAINTS \
                 WHERE CONSTRAINT_SCHEMA = DATABASE() AND TABLE_NAME = ?",
                one(&catalogue.name),
            )
            .await?;
        for row in &rules {
            let name = string(row, 0)?;
            let Some(reference) = catalogue.references.iter().find(|reference| reference.name == name) else {
                continue;
            };
            blueprint.references.push(ReferencePart {
                columns: reference.columns.clone(),
                table: reference.referenced_table.clone(),
                referenced: reference.referenced_columns.clone(),
                on_delete: string(row, 1)?,
                on_update: string(row, 2)?,
            });
        }
        // MySQL names each once in a database, MariaDB once in a table.
        let own = if self.main()?.facts.maria { " AND c.TABLE_NAME = k.TABLE_NAME" } else { "" };
        let checks = self
            .main()?
            .fetch(
                &format!(
                    "SELECT k.CONSTRAINT_NAME, c.CHECK_CLAUSE FROM information_schema.TABLE_CONSTRAINTS k \
                 LEFT JOIN information_schema.CHECK_CONSTRAINTS c ON c.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA \
                    AND c.CONSTRAINT_NAME = k.CONSTRAINT_NAME{own} \
                 WHERE k.TABLE_SCHEMA = DATABASE() AND k.TABLE_NAME = ? AND k.CONSTRAINT_TYPE = 'CHECK' \
                 ORDER BY k.CONSTRAINT_NAME"
                ),
                one(&catalogue.name),
            )
            .await?;
        for row in &checks {
            let name = string(row, 0)?;
            let is_json = blueprint.columns.iter().any(|part| part.ty == Type::Json && part.name == name);
            if !is_json {
                blueprint.notes.push(format!("constraint {name}: CHECK ({})", text(row, 1).unwrap_or_default()));
            }
        }
        blueprint.notes.extend(catalogue.user_triggers.iter().map(|trigger| format!("trigger {trigger}")));
        Ok(Some(blueprint))
    }

    /// The statements that make a table of this blueprint. Texts are told apart as other databases do.
    pub(super) fn write_draft(&self, blueprint: &Blueprint) -> Draft {
        let maria = self.maria;
        let collation = if maria { "utf8mb4_nopad_bin" } else { "utf8mb4_0900_bin" };
        let mut draft = Draft::default();
        let name = quote::ident(&blueprint.table);
        let mut lines = Vec::new();
        let indexed = |column: &String| {
            let own = |index: &&IndexPart| index.columns.contains(column);
            blueprint.key.contains(column)
                || blueprint.indexes.iter().any(|index| own(&index))
                || blueprint.references.iter().any(|reference| reference.columns.contains(column))
        };
        for part in &blueprint.columns {
            let native = native_type(part, maria);
            let is_foreign = native.is_none();
            let mut ty = match native {
                Some(native) => native,
                None if part.ty == Type::Uuid && !maria => "binary(16)".to_owned(),
                None => type_of(part, indexed(&part.name)),
            };
            if let (Type::Native(native), true) = (&part.ty, is_foreign) {
                draft.notes.push(format!("column {} holds {native}, which travels as text", part.name));
                ty = "longtext".to_owned();
            }
            if part.kind != KIND && part.ty == Type::Text && part.size.length.is_none() && indexed(&part.name) {
                draft.notes.push(format!("column {} holds at most {INDEXED} characters here", part.name));
            }
            if part.kind != KIND && part.ty == Type::Decimal && part.size.digits.is_none() {
                draft.notes.push(format!("column {} holds 65 digits here, 30 of them after the point", part.name));
            }
            draft.notes.extend(part.not_carried().filter(|_| part.kind != KIND));
            let mut line = format!("{} {ty}", quote::ident(&part.name));
            match part.nullable && !blueprint.key.contains(&part.name) {
                true => line += " NULL",
                false => line += " NOT NULL",
            }
            if part.numbers && blueprint.key.first() == Some(&part.name) {
                line += " AUTO_INCREMENT";
            }
            match &part.default {
                Some(_) if part.numbers => {}
                // It is written as text, and the column takes bytes.
                Some(_) if part.ty == Type::Uuid && !maria => {
                    draft.notes.push(format!("the default of column {}", part.name));
                }
                Some(preset) => match preset_sql(preset, &part.ty) {
                    // To MySQL a default of such a type is an expression.
                    Some(sql) if ty.contains("text") => {
                        line += &format!(" DEFAULT ({})", unescaped(preset).unwrap_or(sql));
                    }
                    Some(preset) => line += &format!(" DEFAULT {preset}"),
                    None => draft.notes.push(format!("the default of column {}", part.name)),
                },
                None => {}
            }
            lines.push(line);
        }
        lines.push(format!("PRIMARY KEY ({})", quote::idents(blueprint.key.iter().map(String::as_str))));
        for index in &blueprint.indexes {
            let unique = if index.unique { "UNIQUE " } else { "" };
            lines.push(format!(
                "{unique}KEY {} ({})",
                quote::ident(&quote::fitting("", &index.name)),
                quote::idents(index.columns.iter().map(String::as_str))
            ));
        }
        for reference in &blueprint.references {
            let table = reference.table.rsplit_once('.').map_or(reference.table.as_str(), |(_, table)| table);
            lines.push(format!(
                "FOREIGN KEY ({}) REFERENCES {} ({}) ON DELETE {} ON UPDATE {}",
                quote::idents(reference.columns.iter().map(String::as_str)),
                quote::ident(table),
                quote::idents(reference.referenced.iter().map(String::as_str)),
                reference.on_delete,
                reference.on_update
            ));
        }
        draft.statements.push(format!(
            "CREATE TABLE {name} (\n  {}\n) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE {collation}",
            lines.join(",\n  ")
        ));
        draft
    }

    pub(super) async fn run_statements(&mut self, statements: &[String]) -> Result<()> {
        self.open().await?;
        self.phase = Phase::Installing;
        for statement in statements {
            self.main()?.run(statement).await?;
        }
        Ok(())
    }
}

/// A default as MariaDB writes it, and MySQL where it says so.
fn expression(text: &str) -> Option<Preset> {
    if is_now(text) {
        return Some(Preset::Now);
    }
    // Such as _utf8mb4\'none\'.
    let literal = text.strip_prefix('_').and_then(|text| text.split_once("\\'")?.1.strip_suffix("\\'"));
    match literal {
        Some(literal) if !literal.contains(['\\', '\'']) => Some(Preset::Text(literal.to_owned())),
        Some(_) => None,
        None => Preset::parse(text),
    }
}

/// Such as `current_timestamp(6)`, and nothing that is worked out from it.
fn is_now(text: &str) -> bool {
    let folded = text.to_ascii_lowercase();
    let Some(rest) = folded.strip_prefix("current_timestamp") else { return false };
    let digits = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    rest.is_empty() || digits.is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
}

/// A default that MySQL tells as its value.
fn value(text: &str, domain: &Domain) -> Option<Preset> {
    match shape_of(domain).0 {
        Type::Bool | Type::Int | Type::Float | Type::Decimal => Preset::parse(text),
        Type::Bytes | Type::Native(_) => None,
        _ => Some(Preset::Text(text.to_owned())),
    }
}

fn preset_sql(preset: &Preset, ty: &Type) -> Option<String> {
    Some(match preset {
        Preset::Number(number) if *ty == Type::Bool => i8::from(number != "0").to_string(),
        Preset::Number(number) => number.clone(),
        Preset::Text(text) => quote::literal(text),
        Preset::Bool(value) => i8::from(*value).to_string(),
        Preset::Now => match ty {
            Type::Timestamp | Type::Instant => "CURRENT_TIMESTAMP(6)".to_owned(),
            _ => return None,
        },
    })
    .filter(|_| !matches!(ty, Type::Json | Type::Bytes))
}

/// A text as an expression without quotes in it: MySQL keeps them with a backslash, and a session for which that escapes nothing can
/// write to the table no more.
fn unescaped(preset: &Preset) -> Option<String> {
    let Preset::Text(text) = preset else { return None };
    let hex = || text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    text.contains(['\'', '\\']).then(|| format!("CONVERT(UNHEX('{}') USING utf8mb4)", hex()))
}

/// What a column of another kind of database would take and this one does not.
fn limits(column: &CatalogueColumn, key: &[String]) -> Option<String> {
    let native = column.native.as_str();
    let is_lenient = matches!(column.domain, Domain::Text { .. })
        && column.collation.as_deref().is_some_and(|collation| !sql::is_exact(collation));
    match native.split('(').next() {
        Some("enum" | "set") => Some(format!("only the labels of {native}")),
        Some("year") => Some("only 0 and the years 1901 to 2155".to_owned()),
        _ if is_lenient && key.contains(&column.name) => {
            Some("texts that are one key here, such as 'a' and 'A', are several there".to_owned())
        }
        _ => None,
    }
}

/// The type as the other database has it, if that is of this kind and this one has the type too.
fn native_type(part: &Part, maria: bool) -> Option<String> {
    match &part.ty {
        _ if part.kind != KIND => None,
        // MariaDB tells the text that it is, and the check that makes it a document apart.
        Type::Json => Some("json".to_owned()),
        Type::Uuid if !maria => None,
        Type::Native(name) if !maria && name.starts_with("inet") => None,
        _ => Some(part.native.clone()),
    }
}

fn type_of(part: &Part, indexed: bool) -> String {
    match (&part.ty, part.size) {
        (Type::Bool, _) => "tinyint(1)".to_owned(),
        (Type::Int, size) => match size.bits {
            Some(8) => "tinyint".to_owned(),
            Some(16) => "smallint".to_owned(),
            Some(24) => "mediumint".to_owned(),
            Some(32) => "int".to_owned(),
            Some(65) => "bigint unsigned".to_owned(),
            _ => "bigint".to_owned(),
        },
        (Type::Float, size) if size.bits == Some(32) => "float".to_owned(),
        (Type::Float, _) => "double".to_owned(),
        (Type::Decimal, size) => {
            let (digits, scale) = size.digits.unwrap_or((65, 30));
            format!("decimal({},{})", digits.min(65), scale.min(38))
        }
        (Type::Text, size) => match size.length {
            Some(length) if length <= 16_000 => format!("varchar({length})"),
            None if indexed => format!("varchar({INDEXED})"),
            _ => "longtext".to_owned(),
        },
        (Type::Bytes, _) if indexed => format!("varbinary({INDEXED})"),
        (Type::Bytes, _) => "longblob".to_owned(),
        (Type::Date, _) => "date".to_owned(),
        (Type::Time, _) => "time(6)".to_owned(),
        (Type::Timestamp, _) => "datetime(6)".to_owned(),
        (Type::Instant, _) => "timestamp(6)".to_owned(),
        (Type::Json, _) => "json".to_owned(),
        (Type::Uuid, _) => "uuid".to_owned(),
        (Type::Native(_) | Type::Any, _) => "longtext".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_the_other_server_has_not() {
        let part = |native: &str, domain: &Domain| {
            let (ty, size) = shape_of(domain);
            Part {
                name: "c".to_owned(),
                native: native.to_owned(),
                kind: KIND,
                ty,
                size,
                nullable: true,
                default: None,
                numbers: false,
                limits: None,
            }
        };
        let document = part("longtext", &Domain::Json { nul: true, binary: false });
        let (id, address) = (part("uuid", &Domain::Uuid), part("inet6", &Domain::Native("inet6".to_owned())));
        let kept = |part: &Part, maria| native_type(part, maria).unwrap_or_default();
        assert_eq!([&document, &id, &address].map(|part| kept(part, true)), ["json", "uuid", "inet6"]);
        assert_eq!([&document, &id, &address].map(|part| kept(part, false)), ["json", "", ""]);
    }

    #[test]
    fn defaults_as_each_server_tells_them() {
        let text = |text: &str| Some(Preset::Text(text.to_owned()));
        let number = |text: &str| Some(Preset::Number(text.to_owned()));
        for (told, preset) in [
            ("'it''s'", text("it's")),
            ("current_timestamp(6)", Some(Preset::Now)),
            (r"_utf8mb4\'none\'", text("none")),
            (r"_utf8mb4\'it\\\'s\'", None),
            (r"concat(_utf8mb4\'a\',_utf8mb4\'b\')", None),
            ("current_timestamp()", Some(Preset::Now)),
            ("CURRENT_TIMESTAMP", Some(Preset::Now)),
            ("current_timestamp() + interval 1 day", None),
            ("current_timestamp(6) - interval (1) day", None),
            ("uuid()", None),
        ] {
            assert_eq!(expression(told), preset, "{told}");
        }
        let words = Domain::Text { max: Some(40), padded: false, nul: true };
        let whole = Domain::Int { bits: 32, unsigned: false };
        for (told, domain, preset) in [
            ("nobody's", &words, text("nobody's")),
            ("NULL", &words, text("NULL")),
            ("3", &words, text("3")),
            ("3", &whole, number("3")),
            ("0x6162", &Domain::Bytes, None),
        ] {
            assert_eq!(value(told, domain), preset, "{told}");
        }
    }
}
