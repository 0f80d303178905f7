//! What plugins of Concord in Rust are written with. A whole filter:
//!
//! ```no_run,standalone_crate
//! use concord_plugin::*;
//!
//! filter!("germany", "Rows of Germany belong at the node", ["country"], |row| row[0].as_text() == Some("DE"));
//! ```
//!
//! One that takes a configuration, or answers problems, is a type that is a [`Plugin`] and a [`Filter`]. So it is with the other roles.
//!
//! A whole resolver:
//!
//! ```no_run,standalone_crate
//! use concord_plugin::*;
//!
//! struct Longest;
//!
//! impl Plugin for Longest {
//!     const NAME: &str = "longest";
//!     const VERSION: &str = env!("CARGO_PKG_VERSION");
//!     const SUMMARY: &str = "The version with the longest note wins";
//! }
//!
//! impl Resolver for Longest {
//!     fn open(_: &Context) -> Result<Self, Problem> {
//!         Ok(Longest)
//!     }
//!
//!     fn resolve(&self, conflict: &Conflict) -> Result<Resolution, Problem> {
//!         let length = |version: &Version| version.row.as_ref().map_or(0, |row| row[2].as_text().unwrap_or("").len());
//!         // Of equals the latest: nobody's place in the list may matter.
//!         let rank = |&at: &usize| {
//!             let version = &conflict.versions[at];
//!             (length(version), version.time, at == conflict.latest as usize)
//!         };
//!         let longest = (0..conflict.versions.len()).max_by_key(rank);
//!         Ok(Resolution::Take(longest.unwrap_or(0) as u32))
//!     }
//! }
//!
//! resolver!(Longest);
//! ```
//!
//! And a whole mapping, of a node that keeps prices in cents:
//!
//! ```no_run,standalone_crate
//! use concord_plugin::*;
//!
//! struct Cents {
//!     columns: Vec<Column>,
//!     price: usize,
//! }
//!
//! impl Plugin for Cents {
//!     const NAME: &str = "cents";
//!     const VERSION: &str = env!("CARGO_PKG_VERSION");
//!     const SUMMARY: &str = "Prices are cents at the node and whole elsewhere";
//! }
//!
//! impl Mapping for Cents {
//!     fn open(context: &Context) -> Result<Self, Problem> {
//!         let price = context.place("price")?;
//!         Ok(Cents { columns: context.table.columns.clone(), price })
//!     }
//!
//!     fn columns(&self) -> Vec<Column> {
//!         self.columns.clone()
//!     }
//!
//!     fn to_shared(&self, local: &[Value]) -> Result<Row, Problem> {
//!         let mut row = local.to_vec();
//!         if let Value::Integer(cents) = local[self.price] {
//!             if cents % 100 != 0 {
//!                 return Err(problem("part", "it is no whole price"));
//!             }
//!             row[self.price] = Value::Integer(cents / 100);
//!         }
//!         Ok(row)
//!     }
//!
//!     fn to_local(&self, shared: &[Value], _: Option<&[Value]>) -> Result<Row, Problem> {
//!         let mut row = shared.to_vec();
//!         if let Value::Integer(price) = shared[self.price] {
//!             row[self.price] = Value::Integer(price.checked_mul(100).ok_or(problem("large", "it is too large"))?);
//!         }
//!         Ok(row)
//!     }
//! }
//!
//! mapping!(Cents);
//! ```
//!
//! A panic is no answer: it costs the instance, and the row waits for a person. Answer a [`Problem`] instead.

pub mod filter;
#[doc(hidden)]
pub mod inside;
pub mod mapping;
// Where a program has one thread alone, as a plugin has.
#[cfg(any(
    test,
    all(feature = "allocator", target_arch = "wasm32", target_os = "unknown", not(target_feature = "atomics"))
))]
mod memory;
pub mod resolver;
pub mod value;

pub use filter::Filter;
pub use inside::{Column, Context, Kind, Level, Problem, Row, Table, Value, log};
pub use mapping::Mapping;
pub use resolver::{Change, Conflict, Resolution, Resolver, Version};

#[doc(hidden)]
pub use inside::silence;

/// Who a plugin is.
pub trait Plugin {
    /// Lower-case letters, digits and hyphens; the name of its file.
    const NAME: &str;
    /// What `plugin check` and `concord.lock` call it by; `env!("CARGO_PKG_VERSION")` is that of its `Cargo.toml`.
    const VERSION: &str = "0.1.0";
    /// What it does, in a sentence.
    const SUMMARY: &str;
    /// The JSON Schema of its configuration; empty if it takes none.
    const CONFIG_SCHEMA: &str = "";
}

/// Exports a type in one or more roles: `plugin!(Region: filter, resolver)`.
#[macro_export]
macro_rules! plugin {
    ($plugin:ty: $($role:ident),+) => {
        const _: () = {
            struct Exported;

            impl $crate::inside::exports::concord::plugin::describe::Guest for Exported {
                fn describe() -> $crate::inside::exports::concord::plugin::describe::Description {
                    $crate::silence();
                    $crate::inside::exports::concord::plugin::describe::Description {
                        name: <$plugin as $crate::Plugin>::NAME.to_owned(),
                        version: <$plugin as $crate::Plugin>::VERSION.to_owned(),
                        summary: <$plugin as $crate::Plugin>::SUMMARY.to_owned(),
                        config_schema: <$plugin as $crate::Plugin>::CONFIG_SCHEMA.to_owned(),
                        facts: Vec::new(),
                    }
                }
            }

            $crate::inside::export_describe!(Exported with_types_in $crate::inside);
        };
        $($crate::$role!(role $plugin);)+
    };
}

/// A problem with this code and message.
pub fn problem(code: &str, message: impl Into<String>) -> Problem {
    Problem { code: code.to_owned(), message: message.into(), column: None, hint: None }
}

impl Context {
    /// The configuration, read into a type that serde can read.
    pub fn config<T: serde::de::DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_str(&self.config).map_err(|why| problem("config", why.to_string()))
    }

    /// The names of the nodes, in the order of the file.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.facts.iter().filter(|(name, _)| name == "node").map(|(_, node)| node.as_str())
    }

    /// The place of a column, or a problem that names it.
    pub fn place(&self, column: &str) -> Result<usize, Problem> {
        let place = self.table.columns.iter().position(|known| known.name == column);
        place.ok_or_else(|| {
            let names: Vec<&str> = self.table.columns.iter().map(|column| column.name.as_str()).collect();
            Problem {
                column: Some(column.to_owned()),
                hint: Some(format!("it has: {}", names.join(", "))),
                ..problem("unknown-column", format!("`{}` has no such column", self.table.name))
            }
        })
    }
}
