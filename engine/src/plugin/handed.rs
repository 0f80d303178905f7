//! What is handed to a plugin with each call. Rows are only looked at here, and copied once, into the plugin's memory; the bindings
//! that are generated would have a copy of each value before. Whether all this is what `wit/plugin.wit` says is looked at with each
//! call.

use bumpalo::Bump;
use wasmtime::component::{ComponentType, Lower};

use crate::model;

/// `value`.
#[derive(Clone, Copy, ComponentType, Lower)]
#[component(variant)]
pub(super) enum Value<'a> {
    #[component(name = "null")]
    Null,
    #[component(name = "boolean")]
    Boolean(bool),
    #[component(name = "integer")]
    Integer(i64),
    #[component(name = "unsigned")]
    Unsigned(u64),
    #[component(name = "float")]
    Float(f64),
    #[component(name = "decimal")]
    Decimal(&'a str),
    #[component(name = "text")]
    Text(&'a str),
    #[component(name = "bytes")]
    Bytes(&'a [u8]),
    #[component(name = "date")]
    Date(i32),
    #[component(name = "time")]
    Time(i64),
    #[component(name = "timestamp")]
    Timestamp(i64),
    #[component(name = "instant")]
    Instant(i64),
    #[component(name = "json")]
    Json(&'a str),
    #[component(name = "uuid")]
    Uuid(&'a str),
    /// Nothing here is of it.
    #[component(name = "other")]
    #[expect(dead_code, reason = "the interface has it")]
    Other((&'a str, &'a str)),
}

/// `row`.
pub(super) type Row<'a> = &'a [Value<'a>];

/// `put` of a mapping.
#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(super) struct Put<'a> {
    pub shared: Row<'a>,
    pub current: Option<Row<'a>>,
}

/// `conflict` of a resolver.
#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(super) struct Conflict<'a> {
    pub key: Row<'a>,
    pub versions: &'a [Version<'a>],
    pub latest: u32,
    pub start: u32,
    pub base: Option<Row<'a>>,
    pub changes: &'a [Change<'a>],
}

/// `version` of a resolver.
#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(super) struct Version<'a> {
    pub node: &'a str,
    pub time: i64,
    pub row: Option<Row<'a>>,
}

/// `change` of a resolver.
#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(super) struct Change<'a> {
    pub node: &'a str,
    pub time: i64,
    pub before: Option<Row<'a>>,
    pub after: Option<Row<'a>>,
    #[component(name = "seen-by")]
    pub seen_by: &'a [u32],
}

/// A row of these values. What they do not hold themselves is kept in `room`.
pub(super) fn row<'a, I>(room: &'a Bump, values: I) -> Row<'a>
where
    I: IntoIterator<Item = &'a model::Value, IntoIter: ExactSizeIterator>,
{
    room.alloc_slice_fill_iter(values.into_iter().map(|one| value(room, one)))
}

fn value<'a>(room: &'a Bump, value: &'a model::Value) -> Value<'a> {
    match value {
        model::Value::Null => Value::Null,
        model::Value::Bool(v) => Value::Boolean(*v),
        model::Value::Int(v) => Value::Integer(*v),
        model::Value::Uint(v) => Value::Unsigned(*v),
        model::Value::Float(v) => Value::Float(*v),
        model::Value::Decimal(v) => Value::Decimal(v.as_str()),
        model::Value::Text(v) => Value::Text(v),
        model::Value::Bytes(v) => Value::Bytes(v),
        model::Value::Date(v) => Value::Date(*v),
        model::Value::Time(v) => Value::Time(*v),
        model::Value::Timestamp(v) => Value::Timestamp(*v),
        model::Value::Instant(v) => Value::Instant(*v),
        model::Value::Json(v) => Value::Json(v.as_str()),
        model::Value::Uuid(v) => {
            let mut text = uuid::Uuid::encode_buffer();
            Value::Uuid(room.alloc_str(uuid::Uuid::from_bytes(*v).hyphenated().encode_lower(&mut text)))
        }
    }
}
