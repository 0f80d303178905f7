//! What a table is made of here, and the statements that make one from another database.

use std::collections::HashSet;

use super::schema::{ORDINARY, get};
use super::types::MADE_OF;
use super::wire::Args;
use super::{Phase, Postgres, quote};
use crate::model::{Domain, Type, Value};
use crate::node::Result;
use crate::node::blueprint::{
    Blueprint, Building, Draft, IndexPart, NOT_UNIQUE, Part, Preset, ReferencePart, Rule, Size, accepts, bits_of,
    free_name, shape_of, sized, the_statement, unsupported,
};

/// The scheme of this kind's URLs.
const KIND: &str = "postgres";

/// The bytes of the longest name: what is longer is cut without a word.
const LONGEST: usize = 63;

/// The lengths that a text may be limited to, and the most digits a decimal may.
const LENGTHS: std::ops::RangeInclusive<u32> = 1..=10_485_760;
const DIGITS: u32 = 1_000;

/// What the domains of a table's columns demand, and those that they are made of.
const CHECKS_OF_DOMAINS: &str = "WITH RECURSIVE base (at, name, oid) AS ( \
        SELECT a.attnum, a.attname, a.atttypid FROM pg_catalog.pg_attribute a \
        WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped \
    UNION ALL \
        SELECT b.at, b.name, t.typbasetype FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.oid WHERE t.typtype = 'd') \
    SELECT 'column ' || b.name || ': ' || pg_catalog.pg_get_constraintdef(c.oid) FROM base b \
        JOIN pg_catalog.pg_constraint c ON c.contypid = b.oid AND c.contype = 'c' ORDER BY b.at, c.conname";

/// One row if there is any, with the names of its policies.
const ROW_SECURITY: &str = "SELECT 'its row-level security' || coalesce((SELECT \
            ' (' || pg_catalog.string_agg(p.polname::pg_catalog.text, ', ' ORDER BY p.polname) || ')' \
        FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid), '') \
    FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass($1) AND c.relrowsecurity";

impl Postgres {
    pub(super) async fn read_blueprint(&mut self, table: &str) -> Result<Option<Blueprint>> {
        let Some(catalogue) = self.read_catalogue(table).await? else { return Ok(None) };
        let schema = catalogue.schema.clone().unwrap_or_default();
        let name = quote::table(&schema, &catalogue.name);
        let asked = || {
            let mut args = Args::new();
            args.add(name.as_str());
            args
        };
        let mut blueprint = Blueprint {
            table: table.to_owned(),
            found: format!("{schema}.{}", catalogue.name),
            key: catalogue.key.clone(),
            ..Blueprint::default()
        };
        let facts = self
            .fetch(
                "SELECT a.attname::pg_catalog.text, coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), \
                        CASE WHEN t.typtype = 'd' THEN t.typdefault END), a.attidentity <> '', \
                    a.attcollation <> t.typcollation, a.attidentity = 'a' \
                 FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
                 LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
                 WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped",
                asked(),
            )
            .await?;
        for column in &catalogue.columns {
            if column.generated {
                blueprint.notes.push(format!("column {} is computed", column.name));
                continue;
            }
            let mut part = Part {
                name: column.name.clone(),
                native: column.native.clone(),
                kind: KIND,
                collation: None,
                ty: shape_of(&column.domain).0,
                size: shape_of(&column.domain).1,
                nullable: column.nullable,
                default: None,
                numbers: false,
                limits: None,
                accepts: accepts(&column.domain),
                unsupported: unsupported(&column.domain),
            };
            for row in &facts {
                if get::<String>(row, 0)? != column.name {
                    continue;
                }
                let default: Option<String> = get(row, 1)?;
                part.default = default.as_deref().and_then(Preset::parse);
                // No server numbers rows by a decimal or a text.
                let draws = default.as_deref().is_some_and(|text| text.starts_with("nextval("));
                part.numbers = get(row, 2)? || draws && part.ty == Type::Int;
                if let (Some(text), None, false) = (&default, &part.default, part.numbers) {
                    blueprint.notes.push(format!("the default of column {}: {text}", column.name));
                }
                if get(row, 3)? {
                    blueprint.notes.push(format!("the collation of column {}", column.name));
                }
                if get(row, 4)? {
                    let why = "rows may bring numbers of their own there";
                    blueprint.notes.push(format!("GENERATED ALWAYS of column {}: {why}", column.name));
                }
            }
            blueprint.columns.push(part);
        }
        let indexes = self
            .fetch(
                format!(
                    "SELECT c.relname::pg_catalog.text, i.indisunique, \
                        i.indpred IS NULL AND i.indexprs IS NULL AND m.amname = 'btree' \
                            AND coalesce(pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct', 'false') = 'false', \
                        k.names, NOT i.indisunique OR k.ordinary \
                     FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
                     JOIN pg_catalog.pg_am m ON m.oid = c.relam, \
                     LATERAL (SELECT coalesce(pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY k.at), '{{}}') AS names, \
                            coalesce(pg_catalog.bool_and({ORDINARY}), true) AS ordinary \
                        FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k (number, at) \
                            JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number \
                        WHERE k.at <= i.indnkeyatts) k \
                     WHERE i.indrelid = pg_catalog.to_regclass($1) AND i.indisvalid ORDER BY c.relname"
                ),
                asked(),
            )
            .await?;
        for row in &indexes {
            let (name, unique, columns) = (get(row, 0)?, get(row, 1)?, get(row, 3)?);
            let index = IndexPart { name, of_table: false, unique, columns };
            if !get::<bool>(row, 2)? {
                blueprint
                    .notes
                    .push(format!("index {} (of expressions, of a part of the rows, or of another kind)", index.name));
            } else if !get::<bool>(row, 4)? {
                // Elsewhere it might refuse what it lets pass here.
                blueprint
                    .notes
                    .push(format!("index {} (by a collation or operators that its columns have not)", index.name));
            } else if !(index.unique && index.columns == blueprint.key) {
                blueprint.indexes.push(index);
            }
        }
        let constraints = self
            .fetch(
                "SELECT c.contype::pg_catalog.text, c.conname::pg_catalog.text, pg_catalog.pg_get_constraintdef(c.oid), \
                    c.confdeltype::pg_catalog.text, c.confupdtype::pg_catalog.text, c.confmatchtype = 'f', \
                    CASE WHEN c.condeferrable THEN 'DEFERRABLE' \
                        || CASE WHEN c.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END END, \
                    ARRAY (SELECT a.attname::pg_catalog.text FROM pg_catalog.jsonb_array_elements_text( \
                            nullif(pg_catalog.to_jsonb(c) -> 'confdelsetcols', 'null')) AS s (number) \
                        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid \
                            AND a.attnum = s.number::pg_catalog.int2 ORDER BY a.attnum) \
                 FROM pg_catalog.pg_constraint c WHERE c.conrelid = pg_catalog.to_regclass($1) \
                    AND (c.contype IN ('c', 'x', 'f') OR c.contype IN ('p', 'u') AND c.condeferrable) ORDER BY c.conname",
                asked(),
            )
            .await?;
        for row in &constraints {
            let (kind, name): (String, String) = (get(row, 0)?, get(row, 1)?);
            let reference = catalogue.references.iter().find(|reference| reference.name == name);
            let deferral: Option<String> = get(row, 6)?;
            match (kind.as_str(), reference) {
                // The index comes along.
                ("p" | "u", _) => {
                    blueprint.notes.push(format!("{} of constraint {name}", deferral.unwrap_or_default()));
                }
                ("f", Some(reference)) => blueprint.references.push(ReferencePart {
                    columns: reference.columns.clone(),
                    table: match &reference.referenced_schema {
                        Some(schema) => format!("{schema}.{}", reference.referenced_table),
                        None => reference.referenced_table.clone(),
                    },
                    referenced: reference.referenced_columns.clone(),
                    on_delete: action(&get::<String>(row, 3)?).to_owned(),
                    on_update: action(&get::<String>(row, 4)?).to_owned(),
                    full: get(row, 5)?,
                    deferral,
                    sets: get(row, 7)?,
                    ..ReferencePart::default()
                }),
                _ => blueprint.notes.push(format!("constraint {name}: {}", get::<String>(row, 2)?)),
            }
        }
        blueprint.notes.extend(self.names(CHECKS_OF_DOMAINS, asked()).await?);
        blueprint.notes.extend(self.names(ROW_SECURITY, asked()).await?);
        blueprint.notes.extend(catalogue.user_triggers.iter().map(|trigger| format!("trigger {trigger}")));
        if catalogue.partitioned {
            blueprint.notes.push(format!("its partitions ({})", catalogue.partitions.len()));
        }
        Ok(Some(blueprint))
    }

    /// The statements that make a table of this blueprint.
    pub(super) async fn write_draft(&mut self, blueprint: &Blueprint, taken: &mut HashSet<String>) -> Result<Draft> {
        // Tables, indexes and sequences of one schema share their names.
        let schemas = blueprint.table.split_once('.').map_or(self.path.clone(), |(schema, _)| vec![schema.to_owned()]);
        let mut args = Args::new();
        args.add(schemas);
        let names = "SELECT c.relname::pg_catalog.text FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ANY ($1)";
        taken.extend(self.names(names, args).await?.into_iter().map(|name| name.to_lowercase()));
        let partly =
            blueprint.references.iter().any(|reference| !reference.sets.is_empty()) && self.sets_partly().await?;
        let mut draft = drafted(blueprint, taken, partly);
        // What is made by hand has to be there first: types of a database's own, and the table's schema.
        for part in blueprint.columns.iter().filter(|part| part.kind == KIND) {
            let ty = declared(part);
            if ty.contains('.') && !self.is_there("pg_catalog.to_regtype", &ty).await? {
                draft.problems.push(format!(
                    "column {} is of the type {ty}, which is missing there: create the type as it is where the table is",
                    part.name
                ));
            }
        }
        if let Some((schema, _)) = blueprint.table.split_once('.')
            && !self.is_there("pg_catalog.to_regnamespace", &quote::ident(schema)).await?
        {
            draft.problems.push(format!("the schema {schema} is missing there: create it first"));
        }
        draft.problems.extend(self.kept_from_creating(blueprint).await?);
        Ok(draft)
    }

    /// Why the role may make no table in the schema that it would come to.
    async fn kept_from_creating(&mut self, blueprint: &Blueprint) -> Result<Option<String>> {
        let schema = blueprint.table.split_once('.').map(|(schema, _)| schema.to_owned());
        let Some(schema) = schema.or_else(|| self.path.first().cloned()) else { return Ok(None) };
        let mut args = Args::new();
        args.add(schema.as_str());
        let missing = "SELECT r.name FROM pg_catalog.pg_namespace n, unnest(ARRAY['USAGE', 'CREATE']) WITH ORDINALITY AS r (name, at) \
                       WHERE n.nspname = $1 AND NOT pg_catalog.has_schema_privilege(n.oid, r.name) ORDER BY r.at";
        let missing = self.names(missing, args).await?;
        Ok((!missing.is_empty()).then(|| {
            format!(
                "the role may create no tables in the schema {schema}; an administrator grants it with: GRANT {} ON SCHEMA {} TO {};",
                missing.join(", "),
                quote::ident(&schema),
                quote::ident(&self.role)
            )
        }))
    }

    /// Whether a reference may set some of its columns only, as from PostgreSQL 15 on.
    async fn sets_partly(&mut self) -> Result<bool> {
        let asked = "SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 150000";
        let rows = self.fetch(asked, Args::new()).await?;
        rows.first().map_or(Ok(false), |row| get(row, 0))
    }

    /// Whether a function that looks up names finds this one.
    async fn is_there(&mut self, lookup: &str, name: &str) -> Result<bool> {
        let mut args = Args::new();
        args.add(name);
        let rows = self.fetch(&format!("SELECT {lookup}($1) IS NOT NULL"), args).await?;
        rows.first().map_or(Ok(false), |row| get(row, 0))
    }

    pub(super) async fn run_statements(
        &mut self,
        tables: &[Vec<String>],
        made: &mut (dyn FnMut(usize) + Send),
    ) -> Building {
        // Tables without a schema are made where the role makes them.
        let begun = self.begin(Phase::Installing, "BEGIN; SET LOCAL search_path TO DEFAULT").await;
        begun.map_err(|error| (0, error))?;
        for (place, statements) in tables.iter().enumerate() {
            for statement in statements {
                let done = self.run(statement).await;
                done.map_err(|error| (place, error.with(the_statement(statement))))?;
            }
        }
        self.run("COMMIT").await.map_err(|error| (tables.len().saturating_sub(1), error))?;
        self.phase = Phase::Idle;
        (0..tables.len()).for_each(made);
        Ok(())
    }
}

/// `partly`: whether the server knows references that set some of their columns only.
fn drafted(blueprint: &Blueprint, taken: &mut HashSet<String>, partly: bool) -> Draft {
    let own: Vec<&str> = blueprint.table.splitn(2, '.').collect();
    // What PostgreSQL names by itself.
    let table = blueprint.bare_name().to_lowercase();
    taken.insert(format!("{table}_pkey"));
    taken.extend(blueprint.columns.iter().filter(|part| part.numbers).map(|part| format!("{table}_{}_seq", part.name)));
    let problems = blueprint.too_long(&own, str::len, LONGEST, "bytes");
    let mut draft = Draft { problems, typed: true, ..Draft::default() };
    let name = named(&blueprint.table);
    let mut lines = Vec::new();
    for part in &blueprint.columns {
        let Some(ty) = made_of(blueprint, part) else {
            draft.problems.push(blueprint.without_type(part, "PostgreSQL"));
            continue;
        };
        if part.kind != KIND && blueprint.has_to_count(part) {
            draft.notes.push(format!("column {} holds no number above {}", part.name, i64::MAX));
        }
        if part.kind != KIND && part.size.length.is_some() && ty == "text" {
            draft.notes.push(format!("the limits of column {} ({}) are not enforced", part.name, part.native));
        }
        draft.notes.extend(part.not_carried().filter(|_| part.kind != KIND));
        let mut line = format!("{} {ty}", quote::ident(&part.name));
        if part.numbers {
            line += " GENERATED BY DEFAULT AS IDENTITY";
        }
        if !part.nullable || blueprint.key.contains(&part.name) {
            line += " NOT NULL";
        }
        let preset = match (part.kind, &part.ty) {
            (KIND, _) => part.default.clone(),
            _ => part.preset(|value| takes(&part.ty, &ty, value)),
        };
        match preset {
            _ if part.numbers => {}
            Some(preset) => line += &format!(" DEFAULT {}", preset_sql(&preset, &part.ty)),
            None if part.default.is_some() => draft.notes.push(format!("the default of column {}", part.name)),
            None => {}
        }
        lines.push(line);
    }
    lines.push(format!("PRIMARY KEY ({})", quote::idents(blueprint.key.iter().map(String::as_str))));
    draft.statements.push(format!("CREATE TABLE {name} (\n  {}\n)", lines.join(",\n  ")));
    for index in &blueprint.indexes {
        let unique = if index.unique { "UNIQUE " } else { "" };
        draft.statements.push(format!(
            "CREATE {unique}INDEX {} ON {name} ({})",
            quote::ident(&free_name(&blueprint.name_of(index), taken, |name| quote::fitting("", name))),
            quote::idents(index.columns.iter().map(String::as_str))
        ));
    }
    for reference in &blueprint.references {
        if let Some(note) = unfit(blueprint, reference) {
            draft.notes.push(note);
            continue;
        }
        let mut on_delete = reference.on_delete.clone();
        if !partly {
            draft.notes.extend(reference.without(&[Rule::Sets]));
            reference.on_delete_of_all().clone_into(&mut on_delete);
        } else if !reference.sets.is_empty() {
            on_delete += &format!(" ({})", quote::idents(reference.sets.iter().map(String::as_str)));
        }
        let place = if reference.later { &mut draft.links } else { &mut draft.statements };
        place.push(format!(
            "ALTER TABLE {name} ADD FOREIGN KEY ({}) REFERENCES {} ({}){} ON DELETE {on_delete} ON UPDATE {}{}",
            quote::idents(reference.columns.iter().map(String::as_str)),
            named(&reference.table),
            quote::idents(reference.referenced.iter().map(String::as_str)),
            if reference.full { " MATCH FULL" } else { "" },
            reference.on_update,
            reference.ending()
        ));
    }
    draft
}

/// The type of a column as it is made; `None` if there is none for it.
fn made_of(blueprint: &Blueprint, part: &Part) -> Option<String> {
    Some(match (part.kind, &part.ty) {
        (KIND, _) => declared(part),
        (_, Type::Native(name)) => Some(name).filter(|name| bits_of(name).is_some())?.clone(),
        _ if blueprint.has_to_count(part) => "bigint".to_owned(),
        _ => type_of(part),
    })
}

/// Why a reference cannot be made.
fn unfit(blueprint: &Blueprint, reference: &ReferencePart) -> Option<String> {
    if !reference.is_to_unique() {
        return Some(reference.left_out(NOT_UNIQUE));
    }
    let to = reference.to.as_deref()?;
    reference.pairs(blueprint).filter(|(own, _)| own.kind != KIND).find_map(|(own, other)| {
        let (own, other) = (made_of(blueprint, own)?, made_of(to, other)?);
        (!refers(family(&own), family(&other))).then(|| reference.misfit(&own, &other))
    })
}

/// Whether the server compares a column with another that it refers to.
fn refers(own: &str, other: &str) -> bool {
    own == other || own == "integer" && matches!(other, "numeric" | "real" | "double precision")
}

/// The type without its size, of types that are compared with each other the first.
fn family(ty: &str) -> &str {
    match ty.split('(').next().unwrap_or_default() {
        "smallint" | "bigint" => "integer",
        "varchar" | "character varying" | "character" => "text",
        "timestamp without time zone" => "timestamp",
        "timestamp with time zone" => "timestamptz",
        "time without time zone" => "time",
        name => name,
    }
}

/// A name as the configuration has it, with its schema if there is one.
fn named(name: &str) -> String {
    match name.split_once('.') {
        Some((schema, table)) => quote::table(schema, table),
        None => quote::ident(name),
    }
}

/// The type of a column of this kind as it is declared. What values are cast to lacks the length, and the name under which they
/// travel lacks the schema, and says what the type is made of.
fn declared(part: &Part) -> String {
    let Type::Native(name) = &part.ty else { return part.native.clone() };
    let name = name.split_once(MADE_OF).map_or(name.as_str(), |(name, _)| name);
    let mut quoted = false;
    let dot = part.native.find(|letter: char| {
        quoted ^= letter == '"';
        letter == '.' && !quoted
    });
    let schema = dot.map_or("", |dot| &part.native[..=dot]);
    format!("{schema}{}", name.strip_prefix(schema).unwrap_or(name))
}

fn action(letter: &str) -> &'static str {
    match letter {
        "c" => "CASCADE",
        "n" => "SET NULL",
        "d" => "SET DEFAULT",
        "r" => "RESTRICT",
        _ => "NO ACTION",
    }
}

/// Whether a column that is made of this type holds a value of another kind of database.
fn takes(ty: &Type, made: &str, value: &Value) -> bool {
    let domain = match ty {
        Type::Date => Domain::Date { zeros: false },
        Type::Time => Domain::Time { digits: 6, spans: false },
        Type::Timestamp => Domain::Timestamp { digits: 6, zeros: false },
        Type::Instant => Domain::Instant { digits: 6, zeros: false },
        Type::Bool => Domain::Bool { numbers: false },
        Type::Json => Domain::Json { nul: false, binary: false },
        _ => sized(made).unwrap_or_else(|| Domain::of(ty)),
    };
    domain.holds(value).is_ok()
}

fn preset_sql(preset: &Preset, ty: &Type) -> String {
    match preset {
        Preset::Number(number) if *ty == Type::Bool => (number != "0").to_string(),
        Preset::Number(number) => number.clone(),
        Preset::Text(text) => quote::literal(text),
        Preset::Bool(value) => value.to_string(),
        Preset::Now if *ty == Type::Date => "CURRENT_DATE".to_owned(),
        Preset::Now => "CURRENT_TIMESTAMP".to_owned(),
    }
}

fn type_of(part: &Part) -> String {
    match (&part.ty, part.size) {
        (Type::Bool, _) => "boolean".to_owned(),
        (Type::Int, size) => match size.bits {
            Some(..=16) => "smallint".to_owned(),
            Some(..=32) => "integer".to_owned(),
            Some(65) => "numeric(20)".to_owned(),
            _ => "bigint".to_owned(),
        },
        (Type::Float, size) if size.bits == Some(32) => "real".to_owned(),
        (Type::Float, _) => "double precision".to_owned(),
        (Type::Decimal, size) => {
            let digits = size.digits.filter(|(digits, _)| *digits <= DIGITS);
            digits.map_or("numeric".to_owned(), |(digits, scale)| format!("numeric({digits},{scale})"))
        }
        (Type::Text, size) => match size.length.filter(|length| LENGTHS.contains(length)) {
            Some(length) => format!("varchar({length})"),
            None => "text".to_owned(),
        },
        (Type::Bytes, _) => "bytea".to_owned(),
        (Type::Date, _) => "date".to_owned(),
        (Type::Time, size) => timed("time", size),
        (Type::Timestamp, size) => timed("timestamp", size),
        (Type::Instant, size) => timed("timestamptz", size),
        (Type::Json, _) => "jsonb".to_owned(),
        (Type::Uuid, _) => "uuid".to_owned(),
        (Type::Native(_) | Type::Any, _) => "text".to_owned(),
    }
}

/// A type of times, no finer than the other column: what a default wrote here would wait there.
fn timed(name: &str, size: Size) -> String {
    match size.seconds {
        Some(digits @ 0..=5) => format!("{name}({digits})"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_refer_to_each_other() {
        let may = |own: &str, other: &str| refers(family(own), family(other));
        assert!(may("smallint", "bigint") && may("integer", "numeric(20)") && may("varchar(3)", "character varying"));
        assert!(may("timestamptz(3)", "timestamp with time zone"));
        assert!(!may("numeric", "bigint") && !may("text", "uuid") && !may("text", "bigint"));
    }

    #[test]
    fn types_as_columns_are_declared_with_them() {
        for (native, name, whole) in [
            ("\"bit\"", "bit(3)", "bit(3)"),
            ("interval", "interval(3)", "interval(3)"),
            ("public.mood", "mood", "public.mood"),
            ("\"a.b\".mood[]", "mood[]", "\"a.b\".mood[]"),
            ("public.geometry", "geometry(Point,4326)", "public.geometry(Point,4326)"),
            ("own.pos[]", "pos[] = (lat numeric(6,2))", "own.pos[]"),
        ] {
            assert_eq!(declared(&Part::bare(KIND, native, Type::Native(name.into()))), whole);
        }
    }
}
