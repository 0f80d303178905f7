//! The harness of Concord's end-to-end tests: private database servers, users of them, and the command under test.
//!
//! A test asks for a [`Database`] of some [`Kind`], writes to it through a [`User`] as an application would, and lets
//! Concord work on it, either in this process through [`concord::node`] or as a [`Concord`] command of its own that can
//! be paused, signalled and killed. What a test starts is gone when the test's process is gone, however that ends.

mod cluster;
mod command;
mod database;
mod faults;
pub mod guests;
mod kind;
pub mod mariadb;
mod mysql;
pub mod postgres;
mod process;
mod proxy;
mod scratch;
mod seed;
mod server;
mod shape;
mod terminal;
mod user;
mod wait;

pub use cluster::{Cluster, ClusterNode, NAMES};
pub use command::{Concord, Output, Running};
pub use database::{As, Database};
pub use faults::{POINTS, breaking_points};
pub use kind::Kind;
pub use proxy::{Mode, Proxy};
pub use seed::{Rng, Seed};
pub use shape::{parse_key, spec};
pub use user::{Text, User};
pub use wait::{PATIENCE, wait_until};
