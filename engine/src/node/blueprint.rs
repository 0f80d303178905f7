//! What a table is made of, in no database's words: how `load --create` carries a table from one node to another.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use super::Error;
use crate::model::{Decimal, Domain, Json, Type, Value, time};

/// A table that exists at one node or is to be made at another.
#[derive(Clone, Debug, Default)]
pub struct Blueprint {
    /// The local name, with its schema where it is not the usual one.
    pub table: String,
    /// The name by which references there know it; empty of a table that is to be made.
    pub found: String,
    pub columns: Vec<Part>,
    /// The columns of the key, in its order.
    pub key: Vec<String>,
    pub indexes: Vec<IndexPart>,
    pub references: Vec<ReferencePart>,
    /// What it is besides, in words that only databases of its own kind know.
    pub options: Vec<&'static str>,
    /// How it compares the texts of columns that say nothing else, where MySQL and MariaDB name it.
    pub collation: Option<String>,
    /// Whether nodes are to number keys in steps of their own, so that a database which cannot is not to number any.
    pub in_steps: bool,
    /// What the table has besides and cannot be carried, a line each.
    pub notes: Vec<String>,
}

/// A column.
#[derive(Clone, Debug)]
pub struct Part {
    pub name: String,
    /// The type in the words of the database it comes from, and the URL scheme of that kind of database.
    pub native: String,
    pub kind: &'static str,
    /// How its texts are compared, and so their character set, where MySQL and MariaDB name it.
    pub collation: Option<String>,
    /// The type in which its values travel, and how large they may be.
    pub ty: Type,
    pub size: Size,
    /// All types in which they could travel, if the column beside it had one of them.
    pub accepts: Vec<Type>,
    pub nullable: bool,
    pub default: Option<Preset>,
    /// Whether the database numbers rows by it.
    pub numbers: bool,
    /// What the type forbids besides, and no other kind of database does.
    pub limits: Option<String>,
    /// Why no value of the column can be carried, if none can.
    pub unsupported: Option<String>,
}

/// How large values may be, where anything says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Of floats, and of integers with their sign: one that has none takes the next wider with one, and the widest 65.
    pub bits: Option<u8>,
    /// Characters of a text.
    pub length: Option<u32>,
    /// Digits of a decimal, and how many of them stand after the point.
    pub digits: Option<(u32, u32)>,
    /// Digits of a second.
    pub seconds: Option<u8>,
}

/// A default that every database understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preset {
    Number(String),
    Text(String),
    Bool(bool),
    /// The time at which the row is made.
    Now,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexPart {
    pub name: String,
    /// Whether other tables there may have an index of this name too.
    pub of_table: bool,
    pub unique: bool,
    pub columns: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct ReferencePart {
    pub columns: Vec<String>,
    pub table: String,
    /// The other table as it is, or will be, where this one is to be made.
    pub to: Option<Arc<Blueprint>>,
    pub referenced: Vec<String>,
    /// Such as `CASCADE`; `NO ACTION` unless anything is said.
    pub on_delete: String,
    pub on_update: String,
    /// The columns that `on_delete` sets, unless it sets all.
    pub sets: Vec<String>,
    /// Whether of several columns either all are NULL or none is.
    pub full: bool,
    /// `DEFERRABLE` or `DEFERRABLE INITIALLY DEFERRED`, if it may be looked at later than with each statement.
    pub deferral: Option<String>,
    /// Whether the other table refers to this one as well and is made after it.
    pub later: bool,
}

/// What not every database knows of a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// To look at it later.
    Deferral,
    /// To take no NULL in some of its columns only.
    Full,
    /// To set some of its columns only.
    Sets,
}

/// The statements that make a table, and what they leave out.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    pub statements: Vec<String>,
    /// What is left to be run once the tables are there that this one refers to.
    pub links: Vec<String>,
    pub notes: Vec<String>,
    /// Why no table can be made that could be synced, a line each.
    pub problems: Vec<String>,
    /// Whether its columns hold values of one type each.
    pub typed: bool,
}

/// What comes of making tables; an error with the place of the table over which it came.
pub type Building = std::result::Result<(), (usize, Error)>;

/// The statement that failed, as an error says it at its end.
pub fn the_statement(statement: &str) -> String {
    format!("the statement: {statement}")
}

impl Part {
    /// A column of this type and of nothing else.
    #[cfg(test)]
    pub fn bare(kind: &'static str, native: &str, ty: Type) -> Part {
        Part {
            name: "c".to_owned(),
            native: native.to_owned(),
            kind,
            collation: None,
            ty,
            size: Size::default(),
            nullable: true,
            default: None,
            numbers: false,
            limits: None,
            accepts: Vec::new(),
            unsupported: None,
        }
    }

    /// What is to be told of the column at another kind of database.
    pub fn not_carried(&self) -> Option<String> {
        Some(format!("column {}: {}", self.name, self.limits.as_ref()?))
    }

    /// The default for another kind of database whose column `takes` certain values, in the words in which values travel; `None` also
    /// if there is one that cannot be carried.
    pub fn preset(&self, takes: impl Fn(&Value) -> bool) -> Option<Preset> {
        let is_time = matches!(self.ty, Type::Date | Type::Time | Type::Timestamp | Type::Instant);
        let value = match (&self.ty, self.default.clone()?) {
            // Elsewhere it would be of another spelling.
            (_, Preset::Now) => return is_time.then_some(Preset::Now),
            (Type::Bool, preset) => Value::Bool(preset.truth()?),
            (Type::Int, preset) => {
                let number = preset.number()?;
                number.parse().map(Value::Int).or_else(|_| number.parse().map(Value::Uint)).ok()?
            }
            (Type::Float, preset) => {
                let number = preset.number()?;
                return number.parse::<f64>().is_ok_and(f64::is_finite).then_some(Preset::Number(number));
            }
            (Type::Decimal, preset) => Value::Decimal(Decimal::parse(&preset.number()?)?),
            (Type::Text, Preset::Text(text)) => Value::text(text),
            // So SQLite keeps whole numbers in a column of texts.
            (Type::Text, preset) => Value::text(preset.number()?.parse::<i64>().ok()?.to_string()),
            (Type::Date, Preset::Text(text)) => Value::Date(time::parse_date(&text)?),
            (Type::Time, Preset::Text(text)) => Value::Time(time::parse_time(&text)?),
            (Type::Timestamp, Preset::Text(text)) => Value::Timestamp(time::parse_timestamp(&text)?),
            (Type::Instant, Preset::Text(text)) => Value::Instant(time::parse_instant(&text)?),
            (Type::Json, Preset::Text(text)) => Value::Json(Some(Json::new(text)).filter(Json::is_json)?),
            (Type::Uuid, Preset::Text(text)) => Value::Uuid(uuid::Uuid::parse_str(&text).ok()?.into_bytes()),
            _ => return None,
        };
        takes(&value).then(|| match value {
            Value::Bool(value) => Preset::Bool(value),
            Value::Int(_) | Value::Uint(_) | Value::Decimal(_) => Preset::Number(value.to_string()),
            _ => Preset::Text(value.to_string()),
        })
    }
}

impl Blueprint {
    /// Whether a number without a sign, of 64 bits, has to be of a type that counts and refers: it numbers rows, tells them apart,
    /// or refers to such a column.
    pub fn has_to_count(&self, part: &Part) -> bool {
        let refers = || self.references.iter().any(|reference| reference.columns.contains(&part.name));
        part.size.bits == Some(65) && (part.numbers || self.key.contains(&part.name) || refers())
    }

    /// Why no table can be made here: a column is of a type that only the database has which it comes from.
    pub fn without_type(&self, part: &Part, here: &str) -> String {
        let what = if let Type::Native(name) = &part.ty { name } else { &part.native };
        let help = match self.key.contains(&part.name) {
            true => ", and a key cannot be left out: give it another type where it is",
            false => ": name it in `omit` for this node",
        };
        format!("column {} holds {what}, which no column of {here} can{help}", part.name)
    }

    /// Why no table can be made here: names that the database would cut or refuse. `own` are the table's own name and its schema's.
    pub fn too_long(&self, own: &[&str], length: fn(&str) -> usize, most: usize, of: &str) -> Vec<String> {
        let problem = |what: String, name: &str, option: &str| {
            (length(name) > most).then(|| {
                let length = length(name);
                format!(
                    "{what} has {length} {of}, and names have at most {most} there: give it another with `{option}`"
                )
            })
        };
        let own = own.iter().filter_map(|name| problem(format!("the name {name}"), name, "table"));
        let columns = self.columns.iter();
        own.chain(
            columns.filter_map(|part| problem(format!("the name of column {}", part.name), &part.name, "columns")),
        )
        .collect()
    }

    /// The column of this name, or of one that differs in the case of its letters alone.
    pub fn part(&self, name: &str) -> Option<&Part> {
        let exact = self.columns.iter().find(|part| part.name == name);
        exact.or_else(|| self.columns.iter().find(|part| part.name.eq_ignore_ascii_case(name)))
    }

    /// Whether a column takes no NULL.
    pub fn is_filled(&self, name: &str) -> bool {
        self.key.iter().any(|key| key == name) || self.part(name).is_some_and(|part| !part.nullable)
    }

    /// The table's name without its schema.
    pub fn bare_name(&self) -> &str {
        self.table.rsplit('.').next().unwrap_or_default()
    }

    /// The name of an index where no two tables may have an index of one name, nor a table and an index.
    pub fn name_of(&self, index: &IndexPart) -> String {
        match index.of_table {
            true => format!("{}_{}_idx", self.bare_name(), index.name),
            false => index.name.clone(),
        }
    }
}

impl ReferencePart {
    /// The columns of both tables that belong together.
    pub fn pairs<'a>(&'a self, own: &'a Blueprint) -> impl Iterator<Item = (&'a Part, &'a Part)> {
        let to = self.to.iter().flat_map(|to| self.referenced.iter().map(|name| to.part(name)));
        self.columns.iter().map(|name| own.part(name)).zip(to).filter_map(|(own, to)| own.zip(to))
    }

    /// Whether the columns that it refers to are those of a key or of a unique index, in whatever order.
    pub fn is_to_unique(&self) -> bool {
        let is_all = |columns: &[String]| {
            columns.len() == self.referenced.len() && self.referenced.iter().all(|name| columns.contains(name))
        };
        self.to
            .as_ref()
            .is_none_or(|to| is_all(&to.key) || to.indexes.iter().any(|index| index.unique && is_all(&index.columns)))
    }

    /// The same with its columns in the order of a key or an index that begins with them, if there is one.
    pub fn ordered(&self) -> Option<ReferencePart> {
        let Some(to) = &self.to else { return Some(self.clone()) };
        let indexes = std::iter::once(&to.key).chain(to.indexes.iter().map(|index| &index.columns));
        let mut heads = indexes.filter_map(|columns| columns.get(..self.referenced.len()));
        let head = heads.find(|head| self.referenced.iter().all(|name| head.contains(name)))?;
        let place = |name: &String| self.referenced.iter().position(|referenced| referenced == name);
        let places: Vec<usize> = head.iter().map(place).collect::<Option<_>>()?;
        let columns = places.iter().map(|&place| self.columns[place].clone()).collect();
        Some(ReferencePart { columns, referenced: head.to_vec(), ..self.clone() })
    }

    /// What is told of a reference that is left out.
    pub fn left_out(&self, why: &str) -> String {
        format!("{self}, {why}")
    }

    /// The same where both are of types that are not compared there.
    pub fn misfit(&self, own: &str, other: &str) -> String {
        self.left_out(&format!("because {own} cannot refer to {other} there"))
    }

    /// What is told of a reference that is made where none of these rules is known.
    pub fn without(&self, rules: &[Rule]) -> Vec<String> {
        let rules = rules.iter().filter_map(|rule| match rule {
            Rule::Deferral => self.deferral.clone(),
            Rule::Full => (self.full && self.columns.len() > 1).then(|| "MATCH FULL".to_owned()),
            Rule::Sets => {
                (!self.sets.is_empty()).then(|| format!("ON DELETE {} ({})", self.on_delete, self.sets.join(", ")))
            }
        });
        rules.map(|rule| format!("{rule} of {self}")).collect()
    }

    /// What a delete does where it can be said of all its columns alone: what sets some would set what is to stay.
    pub fn on_delete_of_all(&self) -> &str {
        if self.sets.is_empty() { &self.on_delete } else { "NO ACTION" }
    }

    /// The end of the words that make it: when it is looked at.
    pub fn ending(&self) -> String {
        self.deferral.iter().map(|words| format!(" {words}")).collect()
    }
}

impl fmt::Display for ReferencePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (own, others) = (self.columns.join(", "), self.referenced.join(", "));
        write!(f, "the reference of {own} to {} ({others})", self.table)
    }
}

/// Why a reference is left out whose columns are not unique.
pub const NOT_UNIQUE: &str = "because these are not unique there";

/// A name like this that is not taken yet, however its letters are written; it is from then on. `fit` brings names to the length that
/// the database allows.
pub fn free_name(name: &str, taken: &mut HashSet<String>, fit: impl Fn(&str) -> String) -> String {
    let mut fitted = fit(name);
    let mut count = 1;
    while !taken.insert(fitted.to_lowercase()) {
        count += 1;
        fitted = fit(&format!("{name}_{count}"));
    }
    fitted
}

/// What a column of such a type holds, of those types that name a size.
pub fn sized(ty: &str) -> Option<Domain> {
    let (name, rest) = ty.split_once('(').unwrap_or((ty, ""));
    let mut sizes = rest.trim_end_matches(')').split(',').map_while(|size| size.trim().parse().ok());
    let int = |bits| Some(Domain::Int { bits, unsigned: false });
    match name {
        "tinyint" => int(8),
        "smallint" => int(16),
        "mediumint" => int(24),
        "int" | "integer" => int(32),
        "bigint" => int(64),
        "numeric" | "decimal" => {
            Some(Domain::Decimal { limits: sizes.next().map(|all| (all, sizes.next().unwrap_or(0))) })
        }
        "varchar" => Some(Domain::Text { max: sizes.next(), padded: false, nul: true }),
        _ => None,
    }
}

impl Preset {
    /// The number that it is, as a database takes it for one.
    fn number(&self) -> Option<String> {
        match self {
            Preset::Number(number) => Some(number.clone()),
            Preset::Bool(value) => Some(u8::from(*value).to_string()),
            Preset::Text(text) => match Preset::parse(text) {
                Some(Preset::Number(number)) if number == *text => Some(number),
                _ => None,
            },
            Preset::Now => None,
        }
    }

    fn truth(&self) -> Option<bool> {
        match self {
            Preset::Bool(value) => Some(*value),
            Preset::Number(text) | Preset::Text(text) => match text.as_str() {
                "1" | "true" => Some(true),
                "0" | "false" => Some(false),
                _ => None,
            },
            Preset::Now => None,
        }
    }

    /// A default as SQL has it, if it is one that can be carried.
    pub fn parse(expression: &str) -> Option<Preset> {
        let mut text = expression.trim();
        while let Some(inner) = unwrapped(text) {
            text = inner.trim();
        }
        let folded = text.to_ascii_lowercase();
        if matches!(folded.as_str(), "now()" | "current_timestamp" | "localtimestamp" | "statement_timestamp()") {
            return Some(Preset::Now);
        }
        match folded.as_str() {
            "true" => return Some(Preset::Bool(true)),
            "false" => return Some(Preset::Bool(false)),
            _ => {}
        }
        if let Some(rest) = text.strip_prefix('\'') {
            let end = literal_end(rest)?;
            // What may follow is the type of the text, as PostgreSQL writes it.
            let value = rest[..end].replace("''", "'");
            let length = value.chars().count();
            let plain = is_kept(rest[end + 1..].trim(), |sizes| matches!(sizes, [most] if length <= *most));
            return (plain && !value.contains('\\')).then_some(Preset::Text(value));
        }
        let (number, cast) = text.split_at(text.find("::").unwrap_or(text.len()));
        let number = number.trim().trim_matches(['(', ')']);
        let digits = number.strip_prefix('-').unwrap_or(number);
        let plain = !digits.is_empty()
            && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            && digits.bytes().filter(|byte| *byte == b'.').count() <= 1
            && digits != "."
            && is_kept(cast, |sizes| {
                let scale = digits.split_once('.').map_or(0, |(_, after)| after.len());
                scale <= sizes.get(1).copied().unwrap_or(0)
            });
        plain.then(|| Preset::Number(number.to_owned()))
    }
}

/// What stands between two brackets that belong together and hold all of the text.
fn unwrapped(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?;
    let (mut depth, mut quoted) = (0, false);
    let is_whole = inner.bytes().all(|byte| {
        match byte {
            b'\'' => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth -= 1,
            _ => {}
        }
        depth >= 0
    });
    is_whole.then_some(inner)
}

/// Whether what follows a value is nothing or, as PostgreSQL writes it, `::` and one type that leaves the value as it is: behind an
/// operator more is worked out of it. `fits` tells whether the value is none that a type of these sizes would cut.
fn is_kept(cast: &str, fits: impl Fn(&[usize]) -> bool) -> bool {
    if cast.is_empty() {
        return true;
    }
    let Some(ty) = cast.strip_prefix("::") else { return false };
    let name = match ty.split_once('(') {
        None => ty.to_owned(),
        Some((name, rest)) => {
            let Some((sizes, rest)) = rest.split_once(')') else { return false };
            let sizes: Option<Vec<usize>> = sizes.split(',').map(|size| size.trim().parse().ok()).collect();
            if !sizes.is_some_and(|sizes| fits(&sizes)) {
                return false;
            }
            format!("{name}{rest}")
        }
    };
    let is_part = |word: &str| matches!(word, "varying" | "precision" | "with" | "without" | "time" | "zone");
    let mut words = name.split_whitespace();
    words.next().is_some()
        && words.all(|word| is_part(word.trim_end_matches("[]")))
        && name.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '_' | '.' | '"' | '[' | ']'))
}

/// Where a text in quotes ends whose first quote is gone.
fn literal_end(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'\'', Some(b'\'')) => at += 2,
            (b'\'', _) => return Some(at),
            _ => at += 1,
        }
    }
    None
}

/// How many bits a type of fixed length has: both servers have it under one name, so that it is the only one of a database's own
/// which goes to another kind.
pub fn bits_of(native: &str) -> Option<u32> {
    native.strip_prefix("bit(")?.strip_suffix(')')?.parse().ok()
}

/// Why no value of a column can be carried, if none can.
pub fn unsupported(domain: &Domain) -> Option<String> {
    if let Domain::Unsupported(why) = domain { Some(why.clone()) } else { None }
}

/// All types in which the values of a column can travel.
pub fn accepts(domain: &Domain) -> Vec<Type> {
    match domain {
        Domain::Loose { accepts, .. } => accepts.clone(),
        _ => vec![shape_of(domain).0],
    }
}

/// The type and size of what a column holds. Of a column that takes several types the first counts.
pub fn shape_of(domain: &Domain) -> (Type, Size) {
    let none = Size::default();
    match domain {
        Domain::Bool { .. } => (Type::Bool, none),
        Domain::Int { bits: 64, unsigned: true } => (Type::Int, Size { bits: Some(65), ..none }),
        Domain::Int { bits, unsigned } => {
            let wider = if *unsigned { (bits + 1).next_power_of_two() } else { *bits };
            (Type::Int, Size { bits: Some(wider), ..none })
        }
        Domain::Float { bits } => (Type::Float, Size { bits: Some(*bits), ..none }),
        Domain::Decimal { limits } => (Type::Decimal, Size { digits: *limits, ..none }),
        Domain::Text { max, .. } => (Type::Text, Size { length: *max, ..none }),
        Domain::Bytes => (Type::Bytes, none),
        Domain::Date { .. } => (Type::Date, none),
        Domain::Time { digits, .. } => (Type::Time, Size { seconds: Some(*digits), ..none }),
        Domain::Timestamp { digits, .. } => (Type::Timestamp, Size { seconds: Some(*digits), ..none }),
        Domain::Instant { digits, .. } => (Type::Instant, Size { seconds: Some(*digits), ..none }),
        Domain::Json { .. } => (Type::Json, none),
        Domain::Uuid => (Type::Uuid, none),
        Domain::Native(name) | Domain::Unsupported(name) => (Type::Native(name.clone()), none),
        Domain::Loose { accepts, .. } => (accepts.first().cloned().unwrap_or(Type::Text), none),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_without_a_sign_take_the_next_wider_type() {
        let bits = |bits, unsigned| shape_of(&Domain::Int { bits, unsigned }).1.bits;
        let wider = [(8, 16), (16, 32), (24, 32), (32, 64), (64, 65)];
        assert!(wider.iter().all(|&(from, to)| bits(from, true) == Some(to) && bits(from, false) == Some(from)));
    }

    #[test]
    fn bits_of_a_fixed_number() {
        assert_eq!(["bit(3)", "bit varying(3)", "bit(3)[]", "bit"].map(bits_of), [Some(3), None, None, None]);
    }

    #[test]
    fn defaults_that_can_be_carried() {
        let text = |text: &str| Some(Preset::Text(text.to_owned()));
        let number = |text: &str| Some(Preset::Number(text.to_owned()));
        for (sql, preset) in [
            ("0", number("0")),
            ("(-1)", number("-1")),
            ("'-1'::integer", text("-1")),
            ("0.50", number("0.50")),
            ("12::numeric", number("12")),
            ("'it''s'::text", text("it's")),
            ("''::character varying", text("")),
            ("'a(b'::character varying(20)", text("a(b")),
            ("'{a,b}'::text[]", text("{a,b}")),
            ("'2024-01-01 12:00:00'::timestamp without time zone", text("2024-01-01 12:00:00")),
            ("'glad'::public.\"Mood\"", text("glad")),
            ("(1)::numeric(5,2)", number("1")),
            ("(('a)b'))", text("a)b")),
            ("now()", Some(Preset::Now)),
            ("CURRENT_TIMESTAMP", Some(Preset::Now)),
            ("true", Some(Preset::Bool(true))),
            ("nextval('a_seq'::regclass)", None),
            ("gen_random_uuid()", None),
            ("'a' || 'b'", None),
            ("1 + 1", None),
            ("'x'; DROP TABLE t", None),
            ("((100)::numeric * 1.5)", None),
            ("((1)::bigint << 40)", None),
            ("((1)::bigint + (2)::bigint)", None),
            ("((1.5)::integer)::numeric", None),
            ("((1)::bigint IS NULL)", None),
            ("('2024-01-01'::date + 30)", None),
            ("('o-'::text || CURRENT_DATE)", None),
            // Cut, or rounded.
            ("'abcdef'::character varying(3)", None),
            ("9.99::numeric(3,1)", None),
            ("'-9.99'::numeric(5,1)", None),
        ] {
            assert_eq!(Preset::parse(sql), preset, "{sql}");
        }
    }

    fn part(name: &str, ty: Type, default: Option<Preset>) -> Part {
        Part { name: name.to_owned(), accepts: vec![ty.clone()], default, ..Part::bare("sqlite", "", ty) }
    }

    #[test]
    fn defaults_are_carried_where_the_column_takes_them() {
        let carried = |ty: Type, made: &str, sql: &str| {
            let domain = sized(made).unwrap_or_else(|| Domain::of(&ty));
            let preset = part("c", ty, Preset::parse(sql)).preset(|value| domain.holds(value).is_ok());
            match preset {
                Some(Preset::Number(text) | Preset::Text(text)) => text,
                Some(Preset::Bool(value)) => value.to_string(),
                Some(Preset::Now) => "now".to_owned(),
                None => "nothing".to_owned(),
            }
        };
        for (ty, made, sql, expected) in [
            (Type::Int, "integer", "'-1'::integer", "-1"),
            (Type::Int, "bigint", "true", "1"),
            (Type::Int, "bigint", "1.5", "nothing"),
            (Type::Int, "smallint", "40000", "nothing"),
            (Type::Int, "bigint", "99999999999999999999", "nothing"),
            (Type::Int, "bigint", "CURRENT_TIMESTAMP", "nothing"),
            (Type::Bool, "boolean", "'1'", "true"),
            (Type::Bool, "boolean", "2", "nothing"),
            (Type::Float, "real", "0.1", "0.1"),
            (Type::Float, "real", "'abc'", "nothing"),
            (Type::Decimal, "numeric(4,2)", "0.50", "0.50"),
            (Type::Decimal, "decimal(4,2)", "1000", "nothing"),
            (Type::Text, "varchar(3)", "'abc'", "abc"),
            (Type::Text, "varchar(3)", "'unknown'", "nothing"),
            (Type::Text, "text", "CURRENT_TIMESTAMP", "nothing"),
            (Type::Text, "text", "0", "0"),
            (Type::Bytes, "bytea", "'abc'", "nothing"),
            (Type::Json, "jsonb", "''", "nothing"),
            (Type::Json, "jsonb", "'{}'::jsonb", "{}"),
            (Type::Uuid, "uuid", "''", "nothing"),
        ] {
            assert_eq!(carried(ty, made, sql), expected, "{sql} of {made}");
        }
    }

    #[test]
    fn names_that_are_free() {
        let mut taken = HashSet::from(["by_name".to_owned(), "by_name_2".to_owned()]);
        let mut free = |name: &str| free_name(name, &mut taken, |name| name.chars().take(9).collect());
        assert_eq!(["other", "Other", "by_name"].map(&mut free), ["other", "Other_2", "by_name_3"]);
    }

    #[test]
    fn references_in_the_order_of_a_key() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let index = |unique, columns: &[&str]| IndexPart {
            name: "i".to_owned(),
            of_table: false,
            unique,
            columns: names(columns),
        };
        let to = Blueprint {
            key: names(&["a", "b"]),
            indexes: vec![index(false, &["c", "d"]), index(true, &["e"])],
            ..Blueprint::default()
        };
        let reference = |referenced: &[&str]| ReferencePart {
            columns: referenced.iter().map(|name| format!("to_{name}")).collect(),
            table: "p".to_owned(),
            to: Some(Arc::new(to.clone())),
            referenced: names(referenced),
            on_delete: "CASCADE".to_owned(),
            on_update: "CASCADE".to_owned(),
            ..ReferencePart::default()
        };
        let ordered = |referenced: &[&str]| reference(referenced).ordered().map(|found| found.columns.join(" "));
        assert_eq!(ordered(&["b", "a"]).as_deref(), Some("to_a to_b"));
        assert_eq!(ordered(&["c"]).as_deref(), Some("to_c"));
        assert_eq!([ordered(&["b"]), ordered(&["d"])], [None, None]);
        let unique = |referenced: &[&str]| reference(referenced).is_to_unique();
        assert!(unique(&["b", "a"]) && unique(&["e"]) && !unique(&["a"]) && !unique(&["c", "d"]));
    }

    #[test]
    fn times_are_told_in_the_words_in_which_they_travel() {
        let part = |ty, default| part("c", ty, Some(default));
        let carried = |ty, text: &str| match part(ty, Preset::Text(text.to_owned())).preset(|_| true) {
            Some(Preset::Text(text)) => text,
            _ => "nothing".to_owned(),
        };
        assert_eq!(carried(Type::Instant, "2024-02-29 12:00:00+02"), "2024-02-29 10:00:00+00:00");
        assert_eq!(carried(Type::Timestamp, "2024-02-29 12:00"), "2024-02-29 12:00:00");
        assert_eq!(carried(Type::Date, "tomorrow"), "nothing");
        assert_eq!(carried(Type::Text, "tomorrow"), "tomorrow");
        assert_eq!(part(Type::Date, Preset::Number("0".to_owned())).preset(|_| true), None);
        assert_eq!(part(Type::Date, Preset::Text("2024-02-29".to_owned())).preset(|_| false), None);
        assert_eq!(part(Type::Time, Preset::Now).preset(|_| false), Some(Preset::Now));
    }
}
