//! The generated interface, and what happens when a plugin panics.

use std::sync::Once;

mod words {
    wit_bindgen::generate!({
        inline: "package concord:words; world words {
            import concord:plugin/types@0.1.0;
            import concord:plugin/log@0.1.0;
            export concord:plugin/describe@0.1.0;
        }",
        path: "../../wit",
        world: "concord:words/words",
        generate_all,
        pub_export_macro: true,
        default_bindings_module: "concord_plugin::inside",
        export_macro_name: "export_describe",
    });
}

pub use words::*;

pub use words::concord::plugin::log::{Level, log};
pub use words::concord::plugin::types::{Column, Context, Problem, Row, Table, Value};

/// The generated types, for the worlds of the roles.
pub mod generated {
    pub use super::words::concord::plugin::{log, types};
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    Integer,
    Float,
    Decimal,
    Text,
    Bytes,
    Date,
    Time,
    Timestamp,
    Instant,
    Json,
    Uuid,
    /// Whatever is stored.
    Any,
    /// A database's own type; values are its text.
    Native,
}

impl Column {
    pub fn kind(&self) -> Kind {
        match self.kind.as_str() {
            "boolean" => Kind::Boolean,
            "integer" => Kind::Integer,
            "float" => Kind::Float,
            "decimal" => Kind::Decimal,
            "text" => Kind::Text,
            "bytes" => Kind::Bytes,
            "date" => Kind::Date,
            "time" => Kind::Time,
            "timestamp" => Kind::Timestamp,
            "instant" => Kind::Instant,
            "json" => Kind::Json,
            "uuid" => Kind::Uuid,
            "any" => Kind::Any,
            _ => Kind::Native,
        }
    }

    /// The same, a column of the key, of whose values a mapping makes others by this rule, see `wit/plugin.wit`.
    pub fn key_rule(self, rule: String) -> Column {
        Column { facts: vec![("key-rule".to_owned(), rule)], ..self }
    }

    /// The same, which a mapping makes of a column of the node's table without changing a value, in either direction. What each change
    /// did is recorded in such columns alone, so sums take it.
    pub fn copy_of(self, own: &str) -> Column {
        Column { facts: vec![("copy-of".to_owned(), own.to_owned())], ..self }
    }
}

/// Lets a panic leave its message in Concord's log, since all that WebAssembly tells of it is that it happened.
#[doc(hidden)]
pub fn silence() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string().replace('\n', " ")))));
}
