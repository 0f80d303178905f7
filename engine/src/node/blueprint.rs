//! What a table is made of, in no database's words: how `load --create` carries a table from one node to another.

use super::Error;
use crate::model::{Domain, Type, Value, time};

/// A table that exists at one node or is to be made at another.
#[derive(Clone, Debug, Default)]
pub struct Blueprint {
    /// The local name, with its schema where it is not the usual one.
    pub table: String,
    pub columns: Vec<Part>,
    /// The columns of the key, in its order.
    pub key: Vec<String>,
    pub indexes: Vec<IndexPart>,
    pub references: Vec<ReferencePart>,
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
    /// The type in which its values travel, and how large they may be.
    pub ty: Type,
    pub size: Size,
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferencePart {
    pub columns: Vec<String>,
    pub table: String,
    pub referenced: Vec<String>,
    /// Such as `CASCADE`; `NO ACTION` unless anything is said.
    pub on_delete: String,
    pub on_update: String,
    /// Whether the other table refers to this one as well and is made after it.
    pub later: bool,
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
}

/// What comes of making tables; an error with the place of the table over which it came.
pub type Building = std::result::Result<(), (usize, Error)>;

/// The statement that failed, as an error says it at its end.
pub fn the_statement(statement: &str) -> String {
    format!("the statement: {statement}")
}

impl Part {
    /// What is to be told of the column at another kind of database.
    pub fn not_carried(&self) -> Option<String> {
        Some(format!("column {}: {}", self.name, self.limits.as_ref()?))
    }

    /// The default for another kind of database whose column `takes` certain values, a time in the words in which values travel;
    /// `None` also if there is one that cannot be carried.
    pub fn preset(&self, takes: impl Fn(&Value) -> bool) -> Option<Preset> {
        let preset = self.default.clone()?;
        let read: fn(&str) -> Option<Value> = match self.ty {
            Type::Date => |text| time::parse_date(text).map(Value::Date),
            Type::Time => |text| time::parse_time(text).map(Value::Time),
            Type::Timestamp => |text| time::parse_timestamp(text).map(Value::Timestamp),
            Type::Instant => |text| time::parse_instant(text).map(Value::Instant),
            _ => return Some(preset),
        };
        match preset {
            Preset::Text(text) => read(&text).filter(takes).map(|value| Preset::Text(value.to_string())),
            Preset::Now => Some(Preset::Now),
            _ => None,
        }
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

impl Preset {
    /// A default as SQL has it, if it is one that can be carried.
    pub fn parse(expression: &str) -> Option<Preset> {
        let mut text = expression.trim();
        while let Some(inner) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
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
            let cast = rest[end + 1..].trim();
            let plain = cast.is_empty() || (cast.starts_with("::") && !cast.contains(['\'', '(']));
            return (plain && !rest[..end].contains('\\')).then(|| Preset::Text(rest[..end].replace("''", "'")));
        }
        let number = text.split("::").next().unwrap_or_default().trim().trim_matches(['(', ')']);
        let digits = number.strip_prefix('-').unwrap_or(number);
        let plain = !digits.is_empty()
            && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            && digits.bytes().filter(|byte| *byte == b'.').count() <= 1
            && digits != ".";
        plain.then(|| Preset::Number(number.to_owned()))
    }
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
            ("now()", Some(Preset::Now)),
            ("CURRENT_TIMESTAMP", Some(Preset::Now)),
            ("true", Some(Preset::Bool(true))),
            ("nextval('a_seq'::regclass)", None),
            ("gen_random_uuid()", None),
            ("'a' || 'b'", None),
            ("1 + 1", None),
            ("'x'; DROP TABLE t", None),
        ] {
            assert_eq!(Preset::parse(sql), preset, "{sql}");
        }
    }

    #[test]
    fn times_are_told_in_the_words_in_which_they_travel() {
        let part = |ty: Type, default: Preset| Part {
            name: "c".to_owned(),
            native: String::new(),
            kind: "sqlite",
            ty,
            size: Size::default(),
            nullable: true,
            default: Some(default),
            numbers: false,
            limits: None,
            unsupported: None,
        };
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
