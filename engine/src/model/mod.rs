//! What everything else speaks of: values, rows, tables, changes, versions and cuts. Pure data; knows no database, no
//! plugin and no file.

mod canonical;
mod change;
mod cut;
mod document;
mod domain;
mod fit;
mod json;
mod kept;
mod keys;
mod lack;
mod position;
mod table;
pub mod time;
mod value;
mod version;

pub use canonical::write_canonical;
pub use change::{Arrival, Entry, Images, Lost, Op, Parked, ParkedCode, Waiting};
pub use cut::{BadCut, Cut};
pub use domain::{Domain, Misfit, Type};
pub use fit::{Beyond, Grain};
pub use json::{
    KeyValue, former_key, key_value_from_json, key_value_to_json, row_from_json, row_to_json, value_from_json,
    value_to_json, write_json, written_value_from_json,
};
pub use kept::KeptRow;
pub use keys::{KeyRule, shared_key};
pub use lack::Lack;
pub use position::{EntryId, Position, Witness};
pub use table::{Column, ForeignKey, OnGone, TableSpec, Unique};
pub use value::{Decimal, Json, Key, Row, Value};
pub use version::{Dot, NodeId, Stamp, Vector};
