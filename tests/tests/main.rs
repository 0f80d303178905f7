//! One binary for all end-to-end tests, so that they share one PostgreSQL server and are linked once.

mod cli;
mod conformance;
mod crash;
mod harness;
mod load;
mod model;
mod scene;
mod surroundings;
mod sync_basic;
mod sync_drift;
mod sync_keys;
mod sync_mapping;
mod sync_misfits;
mod sync_races;
mod sync_references;
mod sync_restored;
mod sync_setup;
mod sync_uniques;
mod sync_values;
mod sync_waiting;
