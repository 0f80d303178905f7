//! Concord keeps databases that are all written to in agreement.

pub mod model;
pub mod node;
