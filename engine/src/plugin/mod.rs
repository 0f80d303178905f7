//! Plugins: WebAssembly components that filter, map and resolve, in a sandbox.
//!
//! [`Plugin::load`] brings a file through a sequence of checks, each with a message of its own; [`Resolver::open`] opens a
//! role for one table, and from then on it answers batches. The interface is `wit/plugin.wit`. A plugin computes and
//! nothing else: no files, network, environment or clock. What it may use up is bounded by [`Limits`], and whatever goes
//! wrong in it becomes a [`Failure`] that names plugin, role, table and function; the instance is thrown away then, and the
//! next call gets a new one.
//!
//! Invariant: nothing in this folder knows a database or the cycle. Calls block and may take as long as the limits allow, so
//! they are made from threads that may block.

mod bindings;
mod build;
mod compiled;
mod engine;
mod exact;
mod failure;
mod filter;
pub mod fixture;
mod handed;
mod instance;
mod laws;
mod limits;
mod load;
mod lock;
mod mapping;
mod named_once;
mod part;
mod resolver;
mod schema;
mod secrets;
mod seen;
mod shape;
mod shrink;
mod state;
#[cfg(test)]
mod tests;
mod values;
mod vary;
mod written;

pub use build::componentize;
pub use engine::Host;
pub use failure::{Failure, Role};
pub use filter::Filter;
pub use instance::Spent;
pub use laws::{Law, broken, broken_by_filter, broken_by_mapping, course, failures, mapped, tried};
pub use limits::{Limit, Limits};
pub use load::{Description, NAMES, Plugin, is_name};
pub use lock::{LOCK, Lock, Pin};
pub use mapping::{Mapping, Put, TO_SHARED};
pub use part::Part;
pub use resolver::{Change, Dispute, Resolution, Resolver, Side};
pub use shape::{Facts, Shape, ShapeColumn};
pub use shrink::smallest;
pub use state::silently;
pub use vary::{Varied, varied};
pub use written::written;
