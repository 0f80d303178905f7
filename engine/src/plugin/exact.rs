//! Integers beyond what a float counts exactly, and the tools that make floats of them.

use memchr::memmem::Finder;

use super::failure::Failure;
use super::load::Plugin;
use super::part::Part;
use crate::model::Value;

/// Up to here, above and below 0, a float stands for one integer alone: the next one may be what became of a larger one.
const EXACT: u64 = (1 << 53) - 1;

/// What a tool leaves in every component that it makes.
pub(super) struct Mark(Finder<'static>);

impl Mark {
    pub const LEFT: &[u8] = b"componentize_qjs_runtime.wasm";
    pub const LONG: usize = Mark::LEFT.len();

    pub fn new() -> Mark {
        Mark(Finder::new(Mark::LEFT))
    }

    pub fn is_in(&self, bytes: &[u8]) -> bool {
        self.0.find(bytes).is_some()
    }
}

/// The tool that made a component, if that leaves its mark in it and makes floats of integers. `exports` are the functions that the
/// component exports beside interfaces: the mark alone may be there by chance.
pub(super) fn rounding_tool<'a>(mut exports: impl Iterator<Item = &'a str>) -> Option<&'static str> {
    exports.any(|export| export == "init").then_some("componentize-qjs")
}

/// Whether this would come out as another number where integers are floats.
pub(super) fn is_wide(value: &Value) -> bool {
    match value {
        Value::Int(v) | Value::Time(v) | Value::Timestamp(v) | Value::Instant(v) => v.unsigned_abs() > EXACT,
        Value::Uint(_) => true,
        _ => false,
    }
}

impl Plugin {
    /// What there is to say of a plugin that can be used, but not for everything.
    pub fn warning(&self) -> Option<String> {
        let tool = self.rounds?;
        let why = "integers beyond 2^53 - 1 would be rounded in it, so rows with such are kept from it and wait";
        Some(format!("plugin `{}` was made by {tool}: {why}; {INSTEAD}", self.name))
    }
}

impl Part {
    /// Fails if one of these is an integer that the plugin rounds without knowing: what it makes of it is not to be trusted.
    pub fn exact<'a>(
        &self,
        function: &'static str,
        mut values: impl Iterator<Item = &'a Value>,
    ) -> Result<(), Failure> {
        match self.plugin.rounds {
            Some(tool) if values.any(is_wide) => {
                let message =
                    format!("the row holds an integer beyond 2^53 - 1, and {tool}, which made it, rounds those");
                Err(self.fails(function, "rounds", message).hint(INSTEAD))
            }
            _ => Ok(()),
        }
    }
}

/// What to do about a tool that rounds.
const INSTEAD: &str =
    "make the plugin with componentize-js, where they are exact, or keep such numbers out of what it sees";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_known_by_what_it_leaves_and_exports() {
        let made = [b"anything ".as_slice(), Mark::LEFT, b" else"].concat();
        assert!(Mark::new().is_in(&made) && !Mark::new().is_in(&made[..made.len() - 6]));
        assert_eq!(rounding_tool(["memory", "init"].into_iter()), Some("componentize-qjs"));
        assert_eq!(rounding_tool(["memory"].into_iter()), None);
    }

    #[test]
    fn floats_count_exactly_up_to_some_number() {
        let edge = (1 << 53) - 1;
        for v in [0, edge, -edge] {
            assert!(!is_wide(&Value::Int(v)) && !is_wide(&Value::Instant(v)), "{v}");
            assert_eq!(v as f64 as i64, v);
        }
        assert_eq!((edge + 2) as f64 as i64, edge + 1, "which is why that is not trusted");
        for v in [edge + 1, -edge - 1, i64::MIN, i64::MAX] {
            assert!([Value::Int(v), Value::Time(v), Value::Timestamp(v), Value::Instant(v)].iter().all(is_wide), "{v}");
        }
        assert!(is_wide(&Value::Uint(u64::MAX)) && !is_wide(&Value::Date(i32::MAX)));
        assert!(!is_wide(&Value::Float(f64::MAX)) && !is_wide(&Value::Null));
    }
}
