//! Concord keeps databases that are all written to in agreement.

pub mod cli;
pub mod config;
pub mod error;
pub mod model;
pub mod node;
