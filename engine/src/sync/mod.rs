//! The cycle that carries changes, and what stands beside it: setting up, looking, waiting.
//!
//! Start reading at [`Session::round`](cycle): it is the way of a change, step by step.

mod apart;
mod asked;
mod attendance;
mod awaited;
mod base;
mod brought;
mod check;
mod compared;
mod complete;
mod contest;
mod create;
mod cycle;
mod decide;
mod early;
mod examine;
mod fetch;
mod fits;
mod form;
mod kept_shape;
mod latest;
mod leaving;
mod lens;
mod load;
mod mapped;
mod namesakes;
mod numbers;
mod opened;
mod order;
mod plan;
mod plugins;
mod purge;
mod read;
mod rejoin;
mod replay;
mod resolve;
mod restored;
mod route;
mod schedule;
mod session;
mod settle;
mod setup;
mod shape;
mod snapshots;
mod status;
mod subset;
mod table;
mod tidy;
mod told;
mod trial;
mod turns;
mod uncompared;
mod untold;
mod verify;
mod waiting;
mod watch;
mod why;

pub use attendance::Away;
pub use check::{Checked, CheckedNode, CheckedTable};
pub use create::Created;
pub use cycle::Cycle;
pub use fits::Fit;
pub use load::{LoadOptions, Loaded, LoadedNode, LoadedTable, Stage};
pub use plan::{Carriage, Change, Counts, MovedOn, Plan, PlanFile, PlannedConflict, PlannedRow, PlannedVersion, Wish};
pub use replay::{Difference, Replay};
pub use resolve::{Remedy, ResolvedReport};
pub use session::{Carried, Connector, Session, Stopped, Summary};
pub use setup::NodeLines;
pub use snapshots::without_seconds;
pub use status::{ConflictReport, NodeStatus, ParkedReport, Status, TableStatus};
pub use verify::{Allowed, Example, Left, LeftAlone, Progress, Repair, Verified, VerifiedNode, VerifiedTable, Verify};
pub use waiting::Dropped;
pub use why::{KnownFrom, Why, WhyNode, WhyState, WhyVersion};

#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests;
