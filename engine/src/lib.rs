//! Concord keeps databases that are all written to in agreement.

pub mod fault;
pub mod merge;
pub mod model;
pub mod node;
