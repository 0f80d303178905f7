//! What a database tells of itself: who it is, its tables, what is installed there, and what it remembers.

use std::collections::{BTreeMap, BTreeSet};

use super::numbering::Numbered;
use crate::model::{
    Cut, Domain, Entry, EntryId, ForeignKey, Key, Lack, Parked, ParkedCode, Position, Row, Unique, Vector,
};

/// Which entries of a journal are asked for.
#[derive(Clone, Copy, Debug)]
pub enum Sought<'a> {
    All,
    /// Those about this key of the one table that is asked about.
    Key(&'a Key),
    /// Those whose id begins so.
    Id(&'a str),
}

/// A row met on a walk: its key, and the row or why it cannot be carried.
pub type Walked = (Key, std::result::Result<Row, String>);

/// Who answers at a URL.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Such as "PostgreSQL 15.18".
    pub server: String,
    /// The connected role; empty where there are none.
    pub role: String,
    /// The same for every connection to this database and for no other: two URLs with the same one are the same
    /// database.
    pub identity: String,
    /// Warnings about settings that weaken what Concord promises, such as `fsync = off`.
    pub warnings: Vec<String>,
    /// Reasons why this database cannot take part, such as a read-only replica.
    pub refusals: Vec<String>,
}

/// A table as the catalogue has it. Names are spelled as stored.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    pub schema: Option<String>,
    pub name: String,
    pub columns: Vec<CatalogueColumn>,
    /// The primary key or, without one, the first unique index over columns that are all NOT NULL; empty if there is
    /// neither.
    pub key: Vec<String>,
    pub uniques: Vec<Unique>,
    pub references: Vec<ForeignKey>,
    pub referenced: Vec<ForeignKey>,
    pub user_triggers: Vec<String>,
    pub partitioned: bool,
    pub partitions: Vec<String>,
    /// Reasons why the table cannot be synced whatever the configuration says, each with a remedy.
    pub refusals: Vec<String>,
    /// The same where anything is written to it. No matter where nothing ever is.
    pub written_refusals: Vec<String>,
    /// Columns of the key whose values the database draws by itself, counting.
    pub numbered: Vec<Numbered>,
}

#[derive(Clone, Debug)]
pub struct CatalogueColumn {
    pub name: String,
    pub native: String,
    /// See [`Column`](crate::model::Column).
    pub collation: Option<String>,
    pub domain: Domain,
    pub nullable: bool,
    /// Computed by the database: never read, never written.
    pub generated: bool,
    /// Which values other databases have in such a column and this one has not, beyond what the domain says.
    pub lacks: Vec<Lack>,
    /// What becomes here of values that other databases have in such a column, where it counts as the same, such as "-0.0 arrives
    /// as 0.0".
    pub alike: Option<&'static str>,
}

/// A right that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingRight {
    /// Such as "create triggers on public.customers".
    pub what: String,
    /// The statement that grants it, to be run by an administrator.
    pub grant: String,
}

/// What is written to a table that is only compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    pub insert: bool,
    pub update: bool,
    pub delete: bool,
}

/// The sync, as the service tables need to know it.
#[derive(Clone, Debug)]
pub struct Sync {
    pub name: String,
    /// The names of all nodes, in the order of the file.
    pub nodes: Vec<String>,
    /// This node's name.
    pub node: String,
}

/// What is installed at a node.
#[derive(Clone, Debug)]
pub struct Service {
    /// The name of the sync it was installed for.
    pub sync: String,
    /// The node's name in it.
    pub node: String,
    /// The names of all nodes, in the order that [`NodeId`](crate::model::NodeId)s of the service tables count by.
    pub nodes: Vec<String>,
    /// Drawn at the first install; the same database keeps it.
    pub uuid: String,
    /// The installed tables: shared name and [`TableSpec::shape`](crate::model::TableSpec::shape).
    pub tables: Vec<(String, String)>,
}

impl Service {
    /// The shape with which a table was installed.
    pub fn shape(&self, table: &str) -> Option<&str> {
        self.tables.iter().find(|(name, _)| name == table).map(|(_, shape)| shape.as_str())
    }
}

/// The state of a node in a snapshot.
#[derive(Clone, Debug)]
pub struct Opened {
    pub service: Service,
    /// The database's clock, µs UTC.
    pub clock: i64,
    /// Whether marks of different tables can be compared, because they number transactions.
    pub shared_marks: bool,
    /// Up to where this node has applied each source, by (table index, name of the source).
    pub positions: Vec<(usize, String, Position)>,
    /// Up to where each table's history here was purged, by table index.
    pub purged: Vec<(usize, Cut)>,
    /// The witnesses of other nodes' positions as the last purge that deleted anything remembered them, by (table index,
    /// name of the target).
    pub kept: Vec<(usize, String, EntryId)>,
    /// For each table the smallest mark that has certainly not been given out yet. A position of another node beyond
    /// it means that this database was restored from a backup.
    pub next_marks: Vec<(usize, i64)>,
    /// What waits. There may be much of it: rows are left unread, see [`Node::waiting_rows`](super::Node::waiting_rows).
    pub parked: Vec<Parked>,
    /// Tables that are not as `install` left them, by table index.
    pub drifted: Vec<(usize, Drift)>,
}

/// How a table is not as `install` left it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// What differs, in words.
    pub what: String,
    /// Whether changes may have been made that are in no history: something on which recording depends is another.
    pub unrecorded: bool,
    /// Whether changes that were recorded may be gone with the history.
    pub dropped: bool,
}

impl Drift {
    /// Such that no change is lost by it.
    pub fn harmless(what: impl Into<String>) -> Drift {
        Drift { what: what.into(), ..Drift::default() }
    }
}

/// What is told of the table that triggers went with when another took its place.
pub(super) fn strayed(table: &str) -> String {
    format!(
        "its triggers stand on {table} now, and would tell of changes there as if they were made here: change nothing there before \
         `concord install`"
    )
}

/// In which words a table was configured otherwise, by what its triggers depend on besides the catalogue: a list that begins with the
/// name of the table.
pub(super) fn configured_otherwise(installed: &str, now: &str) -> String {
    let table = |text: &str| -> Option<String> {
        let settings: Vec<serde_json::Value> = serde_json::from_str(text).ok()?;
        settings.first()?.as_str().map(str::to_owned)
    };
    match table(installed) {
        Some(name) if table(now).is_some_and(|now| now != name) => format!("it was installed for the table {name}"),
        _ => "its key, its images or its direction were configured otherwise".to_owned(),
    }
}

/// What `install` tells of changes to a table whose rows are gone though nobody deleted them.
pub(super) fn given_up(changes: u64, table: &str) -> String {
    let (changes, are) =
        if changes == 1 { ("1 change".to_owned(), "is") } else { (format!("{changes} changes"), "are") };
    format!(
        "{changes} made here {are} carried no further, as the rows are gone and nobody deleted them one by one: nowhere else are they \
         deleted for that, and what had reached only some of the others reaches no more of them: run `concord verify --repair --table \
         {table} --prefer NODE` with a node that has the rows as they are to be"
    )
}

/// What a node remembers, by names alone.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Up to where it has applied each source: the table's shared name, the source's name, the cut.
    pub positions: Vec<(String, String, Cut)>,
    /// How many rows wait, by the table's shared name and the nodes whose versions they are or stand for.
    pub parked: BTreeMap<(String, BTreeSet<String>), u64>,
}

impl Ledger {
    /// Counts a row that waits, from what is kept of it: its table, the node it came from, its code and its vector.
    pub(super) fn count_parked(&mut self, table: String, origin: String, code: &str, vector: &str) {
        let mut origins = BTreeSet::from([origin]);
        // What stands for several versions is a matter of all their nodes.
        if ParkedCode::parse(code).is_some_and(ParkedCode::is_owed) {
            origins.extend(Vector::names(vector).map(str::to_owned));
        }
        *self.parked.entry((table, origins)).or_default() += 1;
    }
}

/// A page of a history.
#[derive(Clone, Debug)]
pub struct Entries {
    pub entries: Vec<Entry>,
    /// Everything that is visible in the snapshot.
    pub whole: Cut,
    /// Whether `limit` cut the page short.
    pub more: bool,
}
