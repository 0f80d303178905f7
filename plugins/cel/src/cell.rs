//! Cells as values of CEL.

use std::collections::HashMap;

use chrono::DateTime;
use common_expression::common::types::{
    CelBool, CelBytes, CelDouble, CelDuration, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelTimestamp,
    CelUInt,
};
use common_expression::common::value::{CowVal, Val};
use common_expression::context::VariableResolver;
use concord_plugin::Value;
use serde_json::Value as Document;

use crate::decimal::Decimal;

/// What an expression is evaluated with. It has the cells of the row as `@0`, `@1` and so on, and its constants as `@c0`, `@c1`,
/// which nobody can write.
pub struct Cells<'a> {
    pub row: Vec<Box<dyn Val + 'a>>,
    pub constants: &'a [Box<dyn Val>],
}

/// The name of a cell in a resolved expression.
pub fn name(place: usize) -> String {
    format!("@{place}")
}

/// The inverse of [`name`].
pub fn place(name: &str) -> Option<usize> {
    name.strip_prefix('@')?.parse().ok()
}

/// The name of a constant in a resolved expression.
pub fn constant(place: usize) -> String {
    format!("@c{place}")
}

impl VariableResolver for Cells<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let value = match variable.strip_prefix("@c") {
            Some(place) => self.constants.get(place.parse::<usize>().ok()?)?.as_ref(),
            None => self.row.get(place(variable)?)?.as_ref(),
        };
        Some(CowVal::Borrowed(value))
    }
}

/// The value of a cell, or in words why CEL has none like it. Reads after "`name` ".
pub fn value(cell: &Value) -> Result<Box<dyn Val + '_>, &'static str> {
    const NO_DATE: &str = "holds a date that is in no calendar";
    Ok(match cell {
        Value::Null => Box::new(CelNull),
        Value::Boolean(v) => Box::new(CelBool::from(*v)),
        Value::Integer(v) => Box::new(CelInt::from(*v)),
        Value::Unsigned(v) => Box::new(CelUInt::from(*v)),
        Value::Float(v) => Box::new(CelDouble::from(*v)),
        Value::Decimal(v) => match (v.as_str(), Decimal::parse(v)) {
            (_, Some(decimal)) => Box::new(decimal),
            ("NaN", _) => Box::new(CelDouble::from(f64::NAN)),
            ("Infinity", _) => Box::new(CelDouble::from(f64::INFINITY)),
            ("-Infinity", _) => Box::new(CelDouble::from(f64::NEG_INFINITY)),
            _ => return Err("holds a decimal number that is none"),
        },
        Value::Text(v) | Value::Uuid(v) => Box::new(CelString::from(v.as_str())),
        Value::Bytes(v) => Box::new(CelBytes::from(v.as_slice())),
        Value::Date(days) => {
            let micros = match *days {
                i32::MAX => i64::MAX,
                i32::MIN => i64::MIN,
                days => i64::from(days).checked_mul(86_400_000_000).ok_or(NO_DATE)?,
            };
            Box::new(moment(micros).ok_or(NO_DATE)?)
        }
        Value::Time(micros) => Box::new(CelDuration::from(chrono::Duration::microseconds(*micros))),
        Value::Timestamp(micros) | Value::Instant(micros) => Box::new(moment(*micros).ok_or(NO_DATE)?),
        Value::Json(text) => {
            let document = serde_json::from_str(text).map_err(|_| "holds JSON that cannot be read")?;
            json(document).ok_or("holds JSON with a number that is too large")?
        }
        Value::Other(_) => return Err("holds a kind of value that is not known here"),
    })
}

/// Some 190 000 years. What is further is no date but a mark, as that of MySQL's dates that are in no calendar; and the largest
/// duration of CEL beyond it is still a moment.
pub const FAR: i64 = 6_000_000_000_000_000_000;

/// A moment by its microseconds since 1970; the infinities are before and after all others.
fn moment(micros: i64) -> Option<CelTimestamp> {
    let micros = match micros {
        i64::MAX => FAR,
        i64::MIN => -FAR,
        _ if micros.unsigned_abs() < FAR.unsigned_abs() => micros,
        _ => return None,
    };
    Some(CelTimestamp::from(DateTime::from_timestamp_micros(micros)?.fixed_offset()))
}

fn json(document: Document) -> Option<Box<dyn Val>> {
    Some(match document {
        Document::Null => Box::new(CelNull),
        Document::Bool(v) => Box::new(CelBool::from(v)),
        Document::Number(v) => match (v.as_i64(), v.as_u64()) {
            (Some(v), _) => Box::new(CelInt::from(v)),
            (_, Some(v)) => Box::new(CelUInt::from(v)),
            _ => Box::new(CelDouble::from(v.as_f64().filter(|v| v.is_finite())?)),
        },
        Document::String(v) => Box::new(CelString::from(v)),
        Document::Array(v) => Box::new(CelList::from(v.into_iter().map(json).collect::<Option<Vec<_>>>()?)),
        Document::Object(v) => {
            let member = |(name, v)| Some((CelMapKey::from(CelString::from(name).into_inner()), json(v)?));
            Box::new(CelMap::from(v.into_iter().map(member).collect::<Option<HashMap<_, _>>>()?))
        }
    })
}
