//! One binary for all end-to-end tests, so that they share one PostgreSQL server and are linked once.

mod conformance;
mod crash;
mod harness;
mod scene;
mod sync_basic;
mod sync_keys;
mod sync_mapping;
mod sync_references;
mod sync_values;
