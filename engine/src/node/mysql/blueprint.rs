//! What a table is made of here, and the statements that make one from another database.

mod limits;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use self::limits::{limits, periods};
use super::schema::{one, told};
use super::wire::{Args, text};
use super::{MySql, Phase, quote, sql, types};
use crate::digest::hexadecimal;
use crate::model::{Domain, Type, Value, time};
use crate::node::Result;
use crate::node::blueprint::{
    Blueprint, Building, Draft, IndexPart, NOT_UNIQUE, Part, Preset, ReferencePart, Rule, Size, accepts, bits_of,
    free_name, shape_of, sized, the_statement, unsupported,
};

/// The scheme of this kind's URLs.
const KIND: &str = "mysql";

/// Characters of a text that has to be told apart by an index and says nothing of its length. The index takes 3,072 bytes.
const INDEXED: u32 = 255;

/// Characters of the longest text that is kept within its row.
const VARCHAR: u32 = 16_000;

/// The characters of the longest name, and the bits of the longest column of bits.
const LONGEST: usize = 64;
const BITS: u32 = 64;

/// The bytes that a key and a row may have, those of long texts left out.
const KEY_BYTES: u32 = 3_072;
const ROW_BYTES: u32 = 65_000;

impl MySql {
    pub(super) async fn read_blueprint(&mut self, table: &str) -> Result<Option<Blueprint>> {
        let Some(catalogue) = self.read_catalogue(table).await? else { return Ok(None) };
        let mut blueprint = Blueprint {
            table: table.to_owned(),
            found: catalogue.name.clone(),
            key: catalogue.key.clone(),
            ..Blueprint::default()
        };
        let collations =
            "SELECT TABLE_COLLATION FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?";
        let collations = self.main()?.fetch(collations, one(&catalogue.name)).await?;
        blueprint.collation = collations.first().and_then(|row| text(row, 0));
        let indexes = self.read_indexes(&catalogue.name).await?;
        let is_unique = |name: &String| {
            let mut unique = indexes.iter().filter(|index| index.unique);
            unique.any(|index| index.columns.iter().flatten().any(|column| column == name))
        };
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
            let limits = limits(&column, &blueprint.key, is_unique(&column.name));
            blueprint.columns.push(Part {
                collation: column.collation.filter(|_| matches!(column.domain, Domain::Text { .. })),
                limits,
                accepts: accepts(&column.domain),
                unsupported: unsupported(&column.domain),
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
        for index in indexes {
            let columns: Option<Vec<String>> = index.columns.iter().cloned().collect();
            match columns.filter(|_| index.whole) {
                Some(columns) if !(index.unique && columns == blueprint.key) => {
                    let (name, unique) = (index.name, index.unique);
                    blueprint.indexes.push(IndexPart { name, of_table: true, unique, columns });
                }
                Some(_) => {}
                None => blueprint
                    .notes
                    .push(format!("index {} (of expressions, of parts of columns, or of another kind)", index.name)),
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
            let name = told(row, 0)?;
            let Some(reference) = catalogue.references.iter().find(|reference| reference.name == name) else {
                continue;
            };
            blueprint.references.push(ReferencePart {
                columns: reference.columns.clone(),
                table: reference.referenced_table.clone(),
                referenced: reference.referenced_columns.clone(),
                on_delete: told(row, 1)?,
                on_update: told(row, 2)?,
                ..ReferencePart::default()
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
            let name = told(row, 0)?;
            let is_json = blueprint.columns.iter().any(|part| part.ty == Type::Json && part.name == name);
            if !is_json {
                blueprint.notes.push(format!("constraint {name}: CHECK ({})", text(row, 1).unwrap_or_default()));
            }
        }
        // A view is told otherwise.
        if self.maria && catalogue.refusals.is_empty() {
            let statement = format!("SHOW CREATE TABLE {}", quote::ident(&catalogue.name));
            let made = self.main()?.fetch(&statement, Args::new()).await?;
            blueprint.notes.extend(periods(&made.first().and_then(|row| text(row, 1)).unwrap_or_default()));
        }
        blueprint.notes.extend(catalogue.user_triggers.iter().map(|trigger| format!("trigger {trigger}")));
        if catalogue.partitioned {
            blueprint.notes.push(format!("its partitions ({})", catalogue.partitions.len()));
        }
        Ok(Some(blueprint))
    }

    pub(super) async fn write_draft(&mut self, blueprint: &Blueprint) -> Result<Draft> {
        let known = self.read_collations().await?;
        Ok(draft(blueprint, self.maria, &known))
    }

    /// The collations that the server knows, by the names that columns have them.
    async fn read_collations(&mut self) -> Result<HashSet<String>> {
        let statement = "SELECT COLLATION_NAME, CHARACTER_SET_NAME \
                         FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY";
        let rows = self.main()?.fetch(statement, Args::new()).await?;
        let named = rows.iter().filter_map(|row| {
            let (name, charset) = (text(row, 0)?, text(row, 1)?);
            // MariaDB leaves the character set out of those that several have.
            Some(if name.starts_with(&charset) { name } else { format!("{charset}_{name}") })
        });
        Ok(named.collect())
    }

    pub(super) async fn run_statements(
        &mut self,
        tables: &[Vec<String>],
        made: &mut (dyn FnMut(usize) + Send),
    ) -> Building {
        self.open().await.map_err(|error| (0, error))?;
        self.phase = Phase::Installing;
        for (place, statements) in tables.iter().enumerate() {
            for (at, statement) in statements.iter().enumerate() {
                let done = self.main().map_err(|error| (place, error))?.run(statement).await;
                done.map_err(|error| match at {
                    0 => (place, error.with(the_statement(statement))),
                    // What was done cannot be undone here.
                    _ => {
                        let left = statements[at..].join("; ");
                        (place, error.with(format!("the statements before are done; what is left: {left}")))
                    }
                })?;
            }
            made(place);
        }
        Ok(())
    }
}

/// The statements that make a table of this blueprint. Its texts are compared as where it comes from, if this server knows how, and
/// told apart as other databases do if it comes from one.
fn draft(blueprint: &Blueprint, maria: bool, known: &HashSet<String>) -> Draft {
    let exact = if maria { "utf8mb4_nopad_bin" } else { "utf8mb4_0900_bin" };
    let here = |named: Option<&String>| named.and_then(|named| known_as(named, known));
    let collation = here(blueprint.collation.as_ref()).unwrap_or_else(|| exact.to_owned());
    let collated = |part: &Part| here(part.collation.as_ref()).unwrap_or_else(|| exact.to_owned());
    let problems = blueprint.too_long(&[&blueprint.table], |name| name.chars().count(), LONGEST, "characters");
    let mut draft = Draft { problems, typed: true, ..Draft::default() };
    // What refers to nothing needs no index.
    let mut references = Vec::new();
    for reference in &blueprint.references {
        match fitting(blueprint, reference, maria, collated) {
            Ok(fitted) => {
                draft.notes.extend(reference.without(&[Rule::Deferral, Rule::Full, Rule::Sets]));
                references.push(fitted);
            }
            Err(note) => draft.notes.push(note),
        }
    }
    let blueprint = &Blueprint { references, ..blueprint.clone() };
    for part in blueprint.columns.iter().filter(|part| part.name.ends_with(' ')) {
        draft.problems.push(format!(
            "the name of column `{}` ends in a blank, which no name may there: give it another with `columns`",
            part.name
        ));
    }
    let name = quote::ident(&blueprint.table);
    let mut lines = Vec::new();
    let mut timeless = Vec::new();
    let letters: Vec<u32> = blueprint.columns.iter().map(|part| types::letter(&collated(part))).collect();
    let (types, indexes) = types_of(blueprint, maria, &letters, &mut draft);
    for (part, ty) in blueprint.columns.iter().zip(types) {
        let (digits, scale) = limits_of(part.size, maria);
        if part.kind != KIND && part.ty == Type::Decimal && part.size.digits != Some((digits, scale)) {
            draft
                .notes
                .push(format!("column {} holds {digits} digits here, {scale} of them after the point", part.name));
        }
        draft.notes.extend(part.not_carried().filter(|_| part.kind != KIND));
        let mut line = format!("{} {ty}", quote::ident(&part.name));
        if is_of_letters(&ty) {
            let own = here(part.collation.as_ref());
            // By another name the other server has this one too.
            let is_lost = |named: &&String| own.is_none() && !(named.starts_with("utf8mb4_") && sql::is_exact(named));
            draft.notes.extend(part.collation.as_ref().filter(is_lost).map(|named| {
                format!("the collation {named} of column {}, which the server does not know ({exact} there)", part.name)
            }));
            let own = own.unwrap_or_else(|| exact.to_owned());
            if own != collation {
                line += &format!(" COLLATE {own}");
            }
        }
        match part.nullable && !blueprint.key.contains(&part.name) {
            true => line += " NULL",
            false => line += " NOT NULL",
        }
        match blueprint.key.first() == Some(&part.name) {
            true if part.numbers => line += " AUTO_INCREMENT",
            false if part.numbers => draft.notes.push(format!("column {} is not numbered by itself", part.name)),
            _ => {}
        }
        let preset = match (part.kind, &part.ty) {
            (KIND, _) => part.default.clone(),
            _ => part.preset(|value| takes(&part.ty, &ty, value)),
        };
        if preset.is_none() && part.default.is_some() {
            draft.notes.push(format!("the default of column {}", part.name));
        }
        match &preset {
            Some(_) if part.numbers => {}
            // It is written as text, and the column takes bytes.
            Some(_) if part.ty == Type::Uuid && !maria => {
                draft.notes.push(format!("the default of column {}", part.name));
            }
            Some(preset) => match preset_sql(preset, part) {
                // To MySQL a default of such a type is an expression.
                Some(sql) if ty.contains("text") => {
                    line += &format!(" DEFAULT ({})", unescaped(preset).unwrap_or(sql));
                }
                Some(preset) => line += &format!(" DEFAULT {preset}"),
                None => draft.notes.push(format!("the default of column {}", part.name)),
            },
            None => {}
        }
        // Without one, and with explicit_defaults_for_timestamp off, the server gives it the present time, with every UPDATE again.
        if ty.starts_with("timestamp") && line.ends_with(" NOT NULL") {
            line += " DEFAULT '2000-01-01 00:00:00'";
            timeless.push(format!("ALTER COLUMN {} DROP DEFAULT", quote::ident(&part.name)));
        }
        lines.push(line);
    }
    lines.push(format!("PRIMARY KEY ({})", quote::idents(blueprint.key.iter().map(String::as_str))));
    // Names are those of the table alone.
    let mut taken = HashSet::from(["primary".to_owned()]);
    for index in indexes {
        let unique = if index.unique { "UNIQUE " } else { "" };
        lines.push(format!(
            "{unique}KEY {} ({})",
            quote::ident(&free_name(&index.name, &mut taken, |name| quote::fitting("", name))),
            quote::idents(index.columns.iter().map(String::as_str))
        ));
    }
    for (at, reference) in blueprint.references.iter().enumerate() {
        let link = format!(
            "{}FOREIGN KEY ({}) REFERENCES {} ({}) ON DELETE {} ON UPDATE {}",
            constraint(&blueprint.table, at + 1),
            quote::idents(reference.columns.iter().map(String::as_str)),
            quote::ident(&reference.table),
            quote::idents(reference.referenced.iter().map(String::as_str)),
            reference.on_delete,
            reference.on_update
        );
        match reference.later {
            true => draft.links.push(format!("ALTER TABLE {name} ADD {link}")),
            false => lines.push(link),
        }
    }
    draft.statements.push(format!(
        "CREATE TABLE {name} (\n  {}\n) ENGINE = InnoDB DEFAULT COLLATE {collation}",
        lines.join(",\n  ")
    ));
    if !timeless.is_empty() {
        draft.statements.push(format!("ALTER TABLE {name} {}", timeless.join(", ")));
    }
    draft
}

/// What a server that knows these collations calls this one; `None` if it has it not.
fn known_as(collation: &str, known: &HashSet<String>) -> Option<String> {
    // What is utf8mb3 now was utf8 to earlier versions.
    let other = match collation.strip_prefix("utf8mb3_") {
        Some(rest) => Some(format!("utf8_{rest}")),
        None => collation.strip_prefix("utf8_").map(|rest| format!("utf8mb3_{rest}")),
    };
    std::iter::once(collation.to_owned()).chain(other).find(|name| known.contains(name))
}

/// Whether a column of this type has a character set.
fn is_of_letters(ty: &str) -> bool {
    let name = ty.split(['(', ' ']).next().unwrap_or_default();
    matches!(name, "char" | "varchar" | "enum" | "set") || name.ends_with("text")
}

/// A reference as it can be made, or what is told where it cannot.
fn fitting(
    blueprint: &Blueprint,
    reference: &ReferencePart,
    maria: bool,
    collated: impl Fn(&Part) -> String,
) -> std::result::Result<ReferencePart, String> {
    // MySQL wants the whole of a unique index since 8.4.
    let ordered = reference.ordered().filter(|_| maria || reference.is_to_unique());
    let Some(mut ordered) = ordered else { return Err(reference.left_out(NOT_UNIQUE)) };
    if [&ordered.on_delete, &ordered.on_update].iter().any(|action| *action == "SET DEFAULT") {
        return Err(reference.left_out("because there is no SET DEFAULT there"));
    }
    ordered.on_delete = ordered.on_delete_of_all().to_owned();
    // What sets NULL where none may stand refuses, and here it cannot be declared.
    if ordered.columns.iter().any(|name| blueprint.is_filled(name)) {
        for action in [&mut ordered.on_delete, &mut ordered.on_update] {
            if action == "SET NULL" {
                *action = "NO ACTION".to_owned();
            }
        }
    }
    let misfit = ordered.pairs(blueprint).find_map(|(part, to)| {
        let (own, other) = (made_of(part, true, maria)?, made_of(to, true, maria)?);
        if part.kind != KIND && family(&own) != family(&other) {
            return Some(reference.misfit(&own, &other));
        }
        // A column that refers to several has the collation of one, and the server takes no reference to another. Of what is there
        // nothing is known that was not read.
        let is_known = to.collation.is_some() || ordered.to.as_ref().is_some_and(|to| to.found.is_empty());
        let [ours, theirs] = [part, to].map(&collated);
        let differ = is_known && ours != theirs && is_of_letters(&own) && is_of_letters(&other);
        differ.then(|| reference.misfit(&format!("{own} COLLATE {ours}"), &format!("{other} COLLATE {theirs}")))
    });
    misfit.map_or(Ok(ordered), Err)
}

/// The type without what two columns that refer to each other may have different: the length of texts and bytes, and the width in
/// which numbers are shown.
fn family(ty: &str) -> String {
    let (name, rest) = ty.split_once('(').unwrap_or((ty, ""));
    let sign = if rest.ends_with("unsigned") || name.ends_with("unsigned") { " unsigned" } else { "" };
    match name.split(' ').next().unwrap_or_default() {
        "varchar" | "char" => "varchar".to_owned(),
        "varbinary" | "binary" => "varbinary".to_owned(),
        int if int.ends_with("int") => format!("{int}{sign}"),
        _ => ty.to_owned(),
    }
}

/// The type of a column as it is made before lengths are cut; `None` if there is none for it.
fn made_of(part: &Part, indexed: bool, maria: bool) -> Option<String> {
    Some(match (&part.ty, native_type(part, maria)) {
        (_, Some(native)) => native,
        (Type::Uuid, None) if !maria => "binary(16)".to_owned(),
        (Type::Native(native), None) => {
            Some(native).filter(|native| bits_of(native).is_some_and(|bits| bits <= BITS))?.clone()
        }
        (_, None) => type_of(part, indexed, maria),
    })
}

/// Whether no index takes a column of this type as a whole.
fn is_boundless(ty: &str) -> bool {
    ty == "json" || ty.ends_with("text") || ty.ends_with("blob")
}

/// The name of a table's reference, where the one that the database would make of the table's name does not fit.
fn constraint(table: &str, number: usize) -> String {
    let name = format!("{table}_ibfk_{number}");
    match name.chars().count() > LONGEST {
        true => format!("CONSTRAINT {} ", quote::ident(&quote::fitting("", &name))),
        false => String::new(),
    }
}

/// The types of the columns, whose `letters` take so many bytes, and the indexes that can be made over them. What is too long for a key
/// or a row is shortened, and told.
fn types_of<'a>(
    blueprint: &'a Blueprint,
    maria: bool,
    letters: &[u32],
    draft: &mut Draft,
) -> (Vec<String>, Vec<&'a IndexPart>) {
    let Draft { notes, problems, .. } = draft;
    let is_in = |columns: &[String], part: &Part| columns.contains(&part.name);
    // Where two values may not be one: a longer one waits. Other indexes only make searches quick.
    let mut strict: Vec<&[String]> = vec![&blueprint.key];
    strict.extend(blueprint.indexes.iter().filter(|index| index.unique).map(|index| &index.columns[..]));
    strict.extend(blueprint.references.iter().map(|reference| &reference.columns[..]));
    let mut types: Vec<String> = Vec::new();
    for part in &blueprint.columns {
        let indexed = strict.iter().any(|columns| is_in(columns, part))
            || blueprint.indexes.iter().any(|index| is_in(&index.columns, part));
        types.push(made_of(part, indexed, maria).unwrap_or_else(|| {
            problems.push(blueprint.without_type(part, if maria { "MariaDB" } else { "MySQL" }));
            "longtext".to_owned()
        }));
        let is_bounded = part.size.length.is_some_and(|length| length <= VARCHAR);
        if part.kind != KIND && part.ty == Type::Text && !is_bounded && indexed {
            notes.push(format!("column {} holds at most {INDEXED} characters here", part.name));
        }
    }
    for columns in strict {
        let mut places: Vec<usize> =
            (0..types.len()).filter(|&place| is_in(columns, &blueprint.columns[place])).collect();
        // Whoever needs little leaves more to the others.
        places.sort_by_key(|&place| (!is_fixed(&types[place]), width(&types[place], letters[place])));
        let mut left = KEY_BYTES;
        for (at, &place) in places.iter().enumerate() {
            let share = left / (places.len() - at) as u32;
            if width(&types[place], letters[place]) > share && !is_fixed(&types[place]) {
                let (name, letter, what) = match types[place].starts_with("varbinary") {
                    true => ("varbinary", 1, "bytes"),
                    false => ("varchar", letters[place], "characters"),
                };
                types[place] = format!("{name}({})", share / letter);
                notes.push(format!(
                    "column {} holds at most {} {what} here, because no key may be longer than {KEY_BYTES} bytes",
                    blueprint.columns[place].name,
                    share / letter
                ));
            }
            left = left.saturating_sub(width(&types[place], letters[place]));
        }
    }
    let mut indexes = Vec::new();
    for index in &blueprint.indexes {
        let places = (0..types.len()).filter(|&place| is_in(&index.columns, &blueprint.columns[place]));
        if let Some(place) = places.clone().find(|&place| is_boundless(&types[place])) {
            let (part, ty) = (&blueprint.columns[place], &types[place]);
            notes.push(format!("index {}, because no index takes column {} ({ty}) there", index.name, part.name));
            continue;
        }
        match places.map(|place| width(&types[place], letters[place])).sum::<u32>() <= KEY_BYTES {
            true => indexes.push(index),
            false => notes.push(format!("index {}, which would be longer than {KEY_BYTES} bytes", index.name)),
        }
    }
    // What no index needs may lie outside the row.
    let mut free: Vec<usize> = (0..types.len())
        .filter(|&place| {
            let part = &blueprint.columns[place];
            let strict = is_in(&blueprint.key, part)
                || blueprint.references.iter().any(|reference| is_in(&reference.columns, part));
            !strict && !indexes.iter().any(|index| is_in(&index.columns, part)) && !is_fixed(&types[place])
        })
        .collect();
    free.sort_by_key(|&place| width(&types[place], letters[place]));
    while types.iter().zip(letters).map(|(ty, &letter)| width(ty, letter)).sum::<u32>() > ROW_BYTES {
        let Some(place) = free.pop() else { break };
        let part = &blueprint.columns[place];
        notes.push(format!(
            "the length of column {} ({}), because no row may be longer than {ROW_BYTES} bytes",
            part.name, types[place]
        ));
        types[place] = if types[place].starts_with("varbinary") { "longblob" } else { "longtext" }.to_owned();
    }
    (types, indexes)
}

/// Whether a type cannot be made shorter.
fn is_fixed(ty: &str) -> bool {
    !ty.starts_with("varchar(") && !ty.starts_with("varbinary(")
}

/// The bytes that a column of this type takes in a key and in a row, or more, where a letter takes so many.
fn width(ty: &str, letter: u32) -> u32 {
    let (name, rest) = ty.split_once('(').unwrap_or((ty, ""));
    let size: u32 = rest.split([')', ',']).next().and_then(|digits| digits.parse().ok()).unwrap_or(0);
    match name {
        "varchar" | "char" => size.saturating_mul(letter),
        "varbinary" | "binary" => size,
        "decimal" => 30,
        _ => 16,
    }
}

/// Whether a column that is made of this type holds a value of another kind of database.
fn takes(ty: &Type, made: &str, value: &Value) -> bool {
    let ordinary = -354_285..=2_932_896;
    let of = |micros: &i64| ordinary.contains(&micros.div_euclid(time::DAY));
    match value {
        Value::Date(days) => ordinary.contains(&i64::from(*days)),
        Value::Timestamp(micros) => of(micros),
        // `timestamp` is a number of seconds, of 31 bits and not zero.
        Value::Instant(micros) => (1_000_000..=2_147_483_647_999_999).contains(micros),
        // A number here.
        Value::Bool(_) => true,
        _ => sized(made).unwrap_or_else(|| Domain::of(ty)).holds(value).is_ok(),
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

fn preset_sql(preset: &Preset, part: &Part) -> Option<String> {
    let ty = &part.ty;
    Some(match preset {
        Preset::Number(number) if *ty == Type::Bool => i8::from(number != "0").to_string(),
        Preset::Number(number) => number.clone(),
        // The session's zone is this one, and not every server reads a zone.
        Preset::Text(text) if *ty == Type::Instant => quote::literal(text.strip_suffix("+00:00").unwrap_or(text)),
        Preset::Text(text) => quote::literal(text),
        Preset::Bool(value) => i8::from(*value).to_string(),
        Preset::Now => match ty {
            Type::Timestamp | Type::Instant => format!("CURRENT_TIMESTAMP({})", digits(part)),
            _ => return None,
        },
    })
    .filter(|_| !matches!(ty, Type::Json | Type::Bytes))
}

/// A text as an expression without quotes in it: MySQL keeps them with a backslash, and a session for which that escapes nothing can
/// write to the table no more.
fn unescaped(preset: &Preset) -> Option<String> {
    let Preset::Text(text) = preset else { return None };
    text.contains(['\'', '\\']).then(|| format!("CONVERT(UNHEX('{}') USING utf8mb4)", hexadecimal(text.as_bytes())))
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

/// Digits of a second, no more than the other column has: what a default wrote here would wait there.
fn digits(part: &Part) -> u8 {
    part.size.seconds.unwrap_or(6)
}

/// The digits of a decimal, and how many of them may stand after the point.
fn limits_of(size: Size, maria: bool) -> (u32, u32) {
    let (digits, scale) = size.digits.unwrap_or((65, 30));
    (digits.min(65), scale.min(if maria { 38 } else { 30 }))
}

fn type_of(part: &Part, indexed: bool, maria: bool) -> String {
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
            let (digits, scale) = limits_of(size, maria);
            format!("decimal({digits},{scale})")
        }
        (Type::Text, size) => match size.length {
            Some(length) if length <= VARCHAR => format!("varchar({length})"),
            _ if indexed => format!("varchar({INDEXED})"),
            _ => "longtext".to_owned(),
        },
        (Type::Bytes, _) if indexed => format!("varbinary({INDEXED})"),
        (Type::Bytes, _) => "longblob".to_owned(),
        (Type::Date, _) => "date".to_owned(),
        (Type::Time, _) => format!("time({})", digits(part)),
        (Type::Timestamp, _) => format!("datetime({})", digits(part)),
        (Type::Instant, _) => format!("timestamp({})", digits(part)),
        (Type::Json, _) => "json".to_owned(),
        (Type::Uuid, _) => "uuid".to_owned(),
        (Type::Native(_) | Type::Any, _) => "longtext".to_owned(),
    }
}
