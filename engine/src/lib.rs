//! Concord keeps databases that are all written to in agreement.
//!
//! `sync` is the engine: [`sync::Session`] connects to the nodes of a [`config::Config`] and runs cycles. ARCHITECTURE.md
//! draws the whole.

pub mod allocator;
pub mod bundle;
pub mod cli;
pub mod config;
mod digest;
pub mod error;
pub mod fault;
pub mod files;
pub mod merge;
pub mod model;
pub mod node;
pub mod plugin;
pub mod sync;
