//! Concord keeps databases that are all written to in agreement.

pub mod config;
pub mod error;
pub mod fault;
pub mod merge;
pub mod model;
pub mod node;
pub mod sync;
