//! The whole cycle against databases in memory and a simple reference: random nodes, writes, deletes, re-inserts, absences,
//! wrong clocks, transactions that commit late, connections that break at any call, small pages, and transactions over two
//! tables that do not fit into them.

mod blindly;
mod checking;
mod clocks;
mod cluster;
mod deciding;
mod deleted;
mod early;
mod ending;
mod engines;
pub mod files;
mod filters;
mod given_up;
mod held;
mod hidden;
mod journalling;
mod loading;
mod mapping;
mod one_way;
mod owed;
mod paging;
mod planning;
mod purging;
mod random;
mod reference;
mod refiltering;
mod restoring;
mod subsets;
mod taking_part;
mod unheard;
mod unreadable;
mod verifying;
mod waiting;
mod watching;

pub use self::cluster::names;
