//! What columns of SQLite hold, and how values travel into and out of them.
//!
//! SQLite binds a type to the value, not to the column; a column only has an *affinity* that may turn one kind of
//! value into another when it is stored.

use std::borrow::Cow;

use rusqlite::types::{ToSqlOutput, Value as Stored, ValueRef};

use crate::model::{Column, Decimal, Domain, Json, Lack, Type, Value, time};

/// How a column treats what is stored in it (<https://www.sqlite.org/datatype3.html>, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Affinity {
    Integer,
    Real,
    Text,
    /// None: nothing is changed.
    Blob,
    Numeric,
}

impl Affinity {
    pub(super) fn of(declared: &str, strict: bool) -> Affinity {
        let declared = declared.to_ascii_uppercase();
        let has = |part: &str| declared.contains(part);
        if has("INT") {
            Affinity::Integer
        } else if has("CHAR") || has("CLOB") || has("TEXT") {
            Affinity::Text
        } else if declared.is_empty() || has("BLOB") || (strict && declared == "ANY") {
            Affinity::Blob
        } else if has("REAL") || has("FLOA") || has("DOUB") {
            Affinity::Real
        } else {
            Affinity::Numeric
        }
    }

    fn word(self) -> &'static str {
        match self {
            Affinity::Integer => "INTEGER",
            Affinity::Real => "REAL",
            Affinity::Text => "TEXT",
            Affinity::Blob => "BLOB",
            Affinity::Numeric => "NUMERIC",
        }
    }

    pub(super) fn of_column(column: &Column) -> Affinity {
        match &column.domain {
            Domain::Loose { affinity, .. } => match affinity.as_str() {
                "INTEGER" => Affinity::Integer,
                "REAL" => Affinity::Real,
                "TEXT" => Affinity::Text,
                "BLOB" => Affinity::Blob,
                _ => Affinity::Numeric,
            },
            _ => Affinity::of(&column.native, false),
        }
    }
}

/// What a column of this declared type holds, and which types come back from it as they were written.
pub(super) fn domain(declared: &str, strict: bool) -> Domain {
    let affinity = Affinity::of(declared, strict);
    let base = declared.split('(').next().unwrap_or_default().trim().to_ascii_uppercase();
    let texts = [Type::Date, Type::Time, Type::Timestamp, Type::Instant, Type::Json, Type::Decimal, Type::Text];
    let accepts = match affinity {
        Affinity::Integer => vec![Type::Int, Type::Bool],
        Affinity::Real => vec![Type::Float],
        Affinity::Text => [&texts[..], &[Type::Uuid]].concat(),
        Affinity::Blob if declared.to_ascii_uppercase().contains("BLOB") => vec![Type::Bytes, Type::Uuid],
        Affinity::Blob => [&texts[..], &[Type::Bytes, Type::Uuid, Type::Int, Type::Float, Type::Bool]].concat(),
        Affinity::Numeric => match base.as_str() {
            "BOOL" | "BOOLEAN" => vec![Type::Bool],
            "DATE" => vec![Type::Date],
            "TIME" => vec![Type::Time],
            "DATETIME" | "TIMESTAMP" | "TIMESTAMPTZ" => vec![Type::Timestamp, Type::Instant],
            "JSON" | "JSONB" => vec![Type::Json],
            "UUID" | "GUID" => vec![Type::Uuid],
            // A text that looks like a number would be turned into one.
            "STRING" => Vec::new(),
            _ => vec![Type::Decimal, Type::Int],
        },
    };
    Domain::Loose { affinity: affinity.word().to_owned(), accepts }
}

/// What becomes of values that count as the same here. Whole numbers are stored as integers, and those know no negative zero.
pub(super) fn alike(declared: &str, strict: bool) -> Option<&'static str> {
    matches!(Affinity::of(declared, strict), Affinity::Real).then_some("-0.0 arrives as 0.0")
}

/// Which values others have in such a column and SQLite has not.
pub(super) fn lacks(declared: &str) -> Vec<Lack> {
    let base = declared.split('(').next().unwrap_or_default().trim().to_ascii_uppercase();
    match Affinity::of(declared, false) {
        Affinity::Real => vec![Lack::Nan],
        _ if base.starts_with("DATE") || base.starts_with("TIMESTAMP") => vec![Lack::FarDays],
        _ => Vec::new(),
    }
}

/// The cell as a value of the type in which the column travels; otherwise why not, to be read after the column's name.
pub(super) fn decode(ty: &Type, cell: ValueRef<'_>) -> Result<Value, String> {
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| "holds text that is not valid UTF-8".to_owned());
    let parsed = |value: Option<Value>| value.ok_or_else(|| format!("holds text that is no {ty}"));
    Ok(match (ty, cell) {
        (_, ValueRef::Null) => Value::Null,
        (Type::Int | Type::Any, ValueRef::Integer(v)) => Value::Int(v),
        (Type::Float | Type::Any, ValueRef::Real(v)) => Value::Float(v),
        (Type::Text | Type::Native(_) | Type::Any, ValueRef::Text(v)) => Value::text(text(v)?),
        (Type::Bytes | Type::Any, ValueRef::Blob(v)) => Value::Bytes(v.into()),
        (Type::Bool, ValueRef::Integer(v @ (0 | 1))) => Value::Bool(v == 1),
        (Type::Bool, ValueRef::Integer(v)) => Value::Int(v),
        (Type::Decimal, ValueRef::Integer(v)) => Value::Decimal(Decimal::from_unscaled(v.into(), 0)),
        (Type::Decimal, ValueRef::Real(v)) => {
            Value::Decimal(Decimal::naming(v).ok_or_else(|| "holds an infinity".to_owned())?)
        }
        (Type::Decimal, ValueRef::Text(v)) => parsed(Decimal::parse(text(v)?).map(Value::Decimal))?,
        (Type::Date, ValueRef::Text(v)) => parsed(time::parse_date(text(v)?).map(Value::Date))?,
        (Type::Time, ValueRef::Text(v)) => parsed(time::parse_time(text(v)?).map(Value::Time))?,
        (Type::Timestamp, ValueRef::Text(v)) => parsed(time::parse_timestamp(text(v)?).map(Value::Timestamp))?,
        (Type::Instant, ValueRef::Text(v)) => parsed(time::parse_instant(text(v)?).map(Value::Instant))?,
        (Type::Json, ValueRef::Text(v)) => {
            let v = text(v)?;
            parsed(Some(Json::new(v)).filter(Json::is_json).map(Value::Json))?
        }
        (Type::Json, ValueRef::Integer(v)) => Value::Json(Json::new(v.to_string())),
        (Type::Json, ValueRef::Real(v)) if v.is_finite() => Value::Json(Json::new(format!("{v:?}"))),
        (Type::Uuid, ValueRef::Text(v)) => {
            parsed(uuid::Uuid::parse_str(text(v)?).ok().map(|v| Value::Uuid(v.into_bytes())))?
        }
        (Type::Uuid, ValueRef::Blob(v)) => {
            Value::Uuid(v.try_into().map_err(|_| format!("holds {} bytes and a uuid has 16", v.len()))?)
        }
        (ty, cell) => return Err(format!("holds {} and {ty} was expected", class(cell))),
    })
}

/// The key's cell as a value of its type, or as what it is if it is of another or not spelled as Concord spells it: the
/// key must be told apart even where its row cannot be carried, and a key that is spelled in two ways is two keys here.
pub(super) fn decode_key(column: &Column, cell: ValueRef<'_>) -> Value {
    if let Some(stored) = turned(column, cell) {
        return decode_key(column, ValueRef::from(&stored));
    }
    let spelled = |value: &Value| match encode_key(column, value) {
        Ok(ToSqlOutput::Borrowed(stored)) => stored == cell,
        Ok(ToSqlOutput::Owned(stored)) => ValueRef::from(&stored) == cell,
        _ => false,
    };
    // Any other value has one spelling.
    let several =
        matches!(column.ty, Type::Decimal | Type::Date | Type::Time | Type::Timestamp | Type::Instant | Type::Uuid);
    match decode(&column.ty, cell) {
        Ok(value) if !several || value.is_null() || spelled(&value) => value,
        _ => raw(cell),
    }
}

/// What the column makes of a cell that it could not hold as it is. Histories have no types, so they still tell keys as they were
/// before the column had the type that it has now.
fn turned(column: &Column, cell: ValueRef<'_>) -> Option<Stored> {
    match (cell, Affinity::of_column(column)) {
        (ValueRef::Integer(v), Affinity::Text) => Some(Stored::Text(v.to_string())),
        (ValueRef::Text(v), Affinity::Integer | Affinity::Numeric) => {
            std::str::from_utf8(v).ok()?.trim_matches(BLANKS).parse().ok().map(Stored::Integer)
        }
        _ => None,
    }
}

/// The cell as SQLite has it; bytes, where a text is none.
pub(super) fn raw(cell: ValueRef<'_>) -> Value {
    decode(&Type::Any, cell).unwrap_or_else(|_| match cell {
        ValueRef::Text(bytes) => Value::Bytes(bytes.into()),
        _ => Value::Null,
    })
}

fn class(cell: ValueRef<'_>) -> &'static str {
    match cell {
        ValueRef::Null => "NULL",
        ValueRef::Integer(_) => "an integer",
        ValueRef::Real(_) => "a float",
        ValueRef::Text(_) => "text",
        ValueRef::Blob(_) => "bytes",
    }
}

/// The form in which the column stores the value so that it comes back the same; otherwise why there is none, to be
/// read after "the value".
pub(super) fn encode<'a>(column: &Column, value: &'a Value) -> Result<ToSqlOutput<'a>, String> {
    let affinity = Affinity::of_column(column);
    let turned = |into: &str| Err(format!("would be stored as {into}"));
    let owned = |text: String| Ok(ToSqlOutput::Owned(Stored::Text(text)));
    let counts = matches!(affinity, Affinity::Integer | Affinity::Numeric);
    match value {
        Value::Null => Ok(ToSqlOutput::Borrowed(ValueRef::Null)),
        Value::Bool(_) | Value::Int(_) if affinity == Affinity::Text => turned("text"),
        Value::Bool(_) | Value::Int(_) if affinity == Affinity::Real => turned("a float"),
        Value::Bool(v) => Ok(ToSqlOutput::Borrowed(ValueRef::Integer((*v).into()))),
        Value::Int(v) => Ok(ToSqlOutput::Borrowed(ValueRef::Integer(*v))),
        Value::Uint(_) => Err("is above what SQLite's 64-bit integers hold".to_owned()),
        Value::Float(v) if v.is_nan() => turned("NULL, being NaN"),
        Value::Float(_) if affinity == Affinity::Text => turned("text"),
        Value::Float(v) if counts && is_whole(*v) => turned("an integer"),
        Value::Float(v) => Ok(ToSqlOutput::Borrowed(ValueRef::Real(*v))),
        Value::Decimal(v) if affinity == Affinity::Numeric => number(v),
        Value::Decimal(v) => textual(affinity, v.as_str()),
        Value::Text(v) => textual(affinity, v),
        Value::Bytes(v) => Ok(ToSqlOutput::Borrowed(ValueRef::Blob(v))),
        Value::Date(v) => owned(time::date(*v)),
        Value::Time(v) => owned(time::time_of_day(*v)),
        Value::Timestamp(v) => owned(time::timestamp(*v)),
        Value::Instant(v) => owned(time::instant(*v)),
        Value::Json(v) if affinity != Affinity::Text && affinity != Affinity::Blob => {
            match looks_like_a_number(v.as_str()) {
                true => json_number(v),
                false => Ok(ToSqlOutput::Borrowed(ValueRef::Text(v.as_str().as_bytes()))),
            }
        }
        Value::Json(v) => Ok(ToSqlOutput::Borrowed(ValueRef::Text(v.as_str().as_bytes()))),
        Value::Uuid(v) if affinity == Affinity::Blob => Ok(ToSqlOutput::Borrowed(ValueRef::Blob(v))),
        Value::Uuid(v) => owned(uuid::Uuid::from_bytes(*v).hyphenated().to_string()),
    }
}

/// The same for a key, by which rows are found: equal keys are stored alike, however they were spelled elsewhere.
pub(super) fn encode_key<'a>(column: &Column, value: &'a Value) -> Result<ToSqlOutput<'a>, String> {
    match value {
        Value::Decimal(v) if v.is_finite() && Affinity::of_column(column) != Affinity::Numeric => {
            textual(Affinity::of_column(column), v.as_str())?;
            Ok(ToSqlOutput::Owned(Stored::Text(plain(v))))
        }
        value => encode(column, value),
    }
}

/// A finite decimal in the one spelling that has no idle zeros.
pub(super) fn plain(decimal: &Decimal) -> String {
    let (negative, whole, fraction) = decimal.parts();
    let (sign, point) = (if negative { "-" } else { "" }, if fraction.is_empty() { "" } else { "." });
    let whole = if whole.is_empty() { "0" } else { whole };
    format!("{sign}{whole}{point}{fraction}")
}

/// Text, unless the column would make a number of it.
fn textual(affinity: Affinity, text: &str) -> Result<ToSqlOutput<'_>, String> {
    if !matches!(affinity, Affinity::Text | Affinity::Blob) && looks_like_a_number(text) {
        return Err("would be stored as a number".to_owned());
    }
    Ok(ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())))
}

/// A decimal number for a column of NUMERIC affinity, which keeps it as an integer or as a float.
fn number<'a>(decimal: &Decimal) -> Result<ToSqlOutput<'a>, String> {
    if let Some(whole) = decimal.unscaled(0).and_then(|whole| i64::try_from(whole).ok()) {
        return Ok(ToSqlOutput::Owned(Stored::Integer(whole)));
    }
    match decimal.float() {
        Some(float) => Ok(ToSqlOutput::Owned(Stored::Real(float))),
        None => Err("has more digits than a NUMERIC column of SQLite keeps".to_owned()),
    }
}

/// A document that is nothing but a number, for a column that makes a number of it.
fn json_number<'a>(json: &Json) -> Result<ToSqlOutput<'a>, String> {
    let text: Cow<'_, str> = json.as_str().trim().into();
    if let Ok(whole) = text.parse::<i64>() {
        return Ok(ToSqlOutput::Owned(Stored::Integer(whole)));
    }
    match text.parse::<f64>() {
        Ok(float) if float.is_finite() && !is_whole(float) && Json::new(format!("{float:?}")) == *json => {
            Ok(ToSqlOutput::Owned(Stored::Real(float)))
        }
        Ok(float) if is_whole(float) && Json::new((float as i64).to_string()) == *json => {
            Ok(ToSqlOutput::Owned(Stored::Integer(float as i64)))
        }
        _ => Err("has more digits than the column keeps".to_owned()),
    }
}

/// Whether a float is an integer that SQLite would rather store as one; the least and those above the greatest it leaves as they are.
fn is_whole(float: f64) -> bool {
    float.trunc() == float && float.abs() < 2f64.powi(63)
}

/// What SQLite passes over before and after a number in a text, and nothing else.
const BLANKS: [char; 6] = [' ', '\t', '\n', '\x0b', '\x0c', '\r'];

fn looks_like_a_number(text: &str) -> bool {
    let text = text.trim_matches(BLANKS);
    text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first))
        && text.contains(|any: char| any.is_ascii_digit())
        && text.parse::<f64>().is_ok()
}
