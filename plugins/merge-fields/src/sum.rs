//! Adding up what changes did, without rounding.

use concord_plugin::Value;
use concord_plugin::value::{align, parse_decimal, write_decimal};

/// A value, with what changes from one value to another did to it. NULL counts as nothing.
pub fn total(start: &Value, steps: &[(Value, Value)]) -> Result<Value, String> {
    let out_of_range = || "the sum leaves the range of its type".to_owned();
    let values = || std::iter::once(start).chain(steps.iter().flat_map(|(before, after)| [before, after]));
    if values().all(Value::is_null) {
        return Ok(Value::Null);
    }
    let all = |is: fn(&Value) -> bool| values().all(|value| value.is_null() || is(value));
    if all(|value| value.as_integer().is_some()) {
        let number = |value: &Value| value.as_integer().unwrap_or(0);
        // Only the outcome has to be in range, not what comes up on the way to it.
        let sum = steps.iter().fold(number(start), |sum, (before, after)| sum + number(after) - number(before));
        return Value::from_integer(sum).ok_or_else(out_of_range);
    }
    if all(|value| matches!(value, Value::Decimal(_)) || value.as_integer().is_some()) {
        let number = |value: &Value| match value {
            Value::Decimal(text) => parse_decimal(text),
            value => Some((value.as_integer().unwrap_or(0), 0)),
        };
        let combine = |sum: (i128, usize), value: &Value, combined: fn(i128, i128) -> Option<i128>| {
            let (a, b, scale) = align(sum, number(value)?)?;
            Some((combined(a, b)?, scale))
        };
        let step = |sum: Option<(i128, usize)>, (before, after): &(Value, Value)| {
            combine(combine(sum?, after, i128::checked_add)?, before, i128::checked_sub)
        };
        let sum = steps.iter().fold(number(start), step);
        let (sum, scale) = sum.ok_or_else(|| "there is no exact sum of up to 38 digits".to_owned())?;
        return Ok(Value::Decimal(write_decimal(sum, scale)));
    }
    if all(|value| matches!(value, Value::Float(_)) || value.as_integer().is_some()) {
        let number = |value: &Value| match value {
            Value::Float(number) => *number,
            value => value.as_integer().unwrap_or(0) as f64,
        };
        let sum = steps.iter().fold(number(start), |sum, (before, after)| sum + number(after) - number(before));
        return Ok(Value::Float(sum));
    }
    Err("there are values that are no numbers".to_owned())
}
