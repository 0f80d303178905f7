//! The cycle that carries changes, and what stands beside it: setting up, looking, waiting.
//!
//! Start reading at [`Session::cycle`](cycle): it is the way of a change, step by step.

mod attendance;
mod contest;
mod create;
mod cycle;
mod decide;
mod examine;
mod fetch;
mod leaving;
mod lens;
mod load;
mod opened;
mod order;
mod read;
mod rejoin;
mod restored;
mod route;
mod schedule;
mod session;
mod settle;
mod setup;
mod shape;
mod status;
mod table;
mod waiting;
mod watch;

pub use attendance::Away;
pub use create::Created;
pub use cycle::Cycle;
pub use load::{LoadOptions, Loaded, LoadedNode, LoadedTable, Stage};
pub use session::{Carried, Connector, Session, Stopped, Summary};
pub use setup::{Checked, CheckedNode, CheckedTable, NodeLines};
pub use status::{ConflictReport, NodeStatus, ParkedReport, Status, TableStatus};
pub use waiting::Dropped;

#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests;
