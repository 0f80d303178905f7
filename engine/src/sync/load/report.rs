//! What a load is asked for, and what it tells.

use std::collections::HashSet;

use serde::Serialize;

use crate::error;
use crate::model::Key;
use crate::sync::attendance::Away;
use crate::sync::session::{Stopped, Summary};

/// What to load, and how.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The node whose rows count where rows differ.
    pub prefer: Option<String>,
    /// Only these tables; all if there are none.
    pub tables: Vec<String>,
    /// Only rows for which this holds.
    pub condition: Option<String>,
    /// Only tell what would be done.
    pub dry_run: bool,
    /// Begin anew, whatever an earlier load has done.
    pub restart: bool,
    /// Remove rows where they do not belong, and from then on go by the filters of the file.
    pub refilter: bool,
}

/// What a load did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Loaded {
    pub dry_run: bool,
    /// Whether it went on where an earlier one had been interrupted.
    pub resumed: bool,
    /// Nodes that had been left out and take part again.
    pub rejoined: Vec<String>,
    /// Which keys count on beyond what nodes that take part again had drawn before, a line each.
    pub numbered: Vec<String>,
    pub tables: Vec<LoadedTable>,
    /// Tables that need no load, because they are kept in step by comparison.
    pub compared: Vec<String>,
    /// What the sync carried before and after.
    pub sync: Summary,
    pub away: Vec<Away>,
    pub stopped: Vec<Stopped>,
    /// The keys that were passed over, by table: several nodes may have their rows.
    #[serde(skip)]
    pub(crate) passed_over: HashSet<(usize, Key)>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct LoadedTable {
    pub table: String,
    /// Rows that were gone through; a row that several nodes hold counts at each.
    pub rows: u64,
    pub nodes: Vec<LoadedNode>,
    /// Rows that could not be copied or read, and wait now: see `concord parked list`.
    pub waiting: u64,
    /// Rows that a dry run leaves to the sync, which would come first; see `concord plan`.
    pub on_their_way: u64,
    /// Rows that could not be written one by one, such as those that refer to each other, and came with the sync.
    pub together: u64,
    /// Rows that wait somewhere and were left as they are, although a mapping may have made others of them.
    pub passed_over: u64,
    /// Rows that differ and that nothing decides.
    pub undecided: u64,
    /// Rows that stay at a node where they do not belong, as far as the load met them; see [`LoadOptions::refilter`].
    pub outside: u64,
    /// Rows of which what was added at a node that is let in is counted nowhere; see the journal.
    pub uncounted: u64,
    /// How rows that differ are decided, if that is said anywhere.
    pub rule: Option<String>,
}

/// Rows that came to one node.
#[derive(Clone, Debug, Default, Serialize, PartialEq)]
pub struct LoadedNode {
    pub node: String,
    pub copied: u64,
    pub replaced: u64,
    /// Rows that did not belong there.
    pub removed: u64,
}

/// How far a load has come, for whoever looks on.
#[derive(Clone, Debug)]
pub struct Stage {
    pub table: String,
    pub node: String,
    /// Whether rows are only compared.
    pub comparing: bool,
    /// Rows of the table at this node that were gone through.
    pub rows: u64,
    /// About how many there are.
    pub total: u64,
}

impl Loaded {
    /// The code with which the command ends.
    pub fn exit_code(&self) -> u8 {
        let undecided = self.tables.iter().any(|table| table.undecided + table.waiting + table.passed_over > 0);
        match self.sync.exit_code() {
            error::DONE if undecided || !self.stopped.is_empty() || !self.away.is_empty() => error::ATTENTION,
            code => code,
        }
    }
}
