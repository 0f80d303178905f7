//! What a database must offer to take part, and one folder per database that offers it.
//!
//! A [`Node`] is a thin, honest view of one database: it reads histories and rows, writes rows, and keeps the service
//! tables. It takes no decision. How a batch of decisions is written safely ([`apply`]) is the same for every
//! database and lives here once, in terms of the primitives below; what may differ is SQL.
//!
//! Invariant: nothing in this folder knows about plugins, policies or the configuration file.

pub mod apply;
pub mod blueprint;
mod error;
mod found;
mod mysql;
mod numbering;
mod patience;
mod portions;
mod postgres;
mod purge;
mod registry;
mod rekeyed;
mod scan;
mod sqlite;
mod tls;
mod written;

use std::collections::HashSet;

use async_trait::async_trait;

use self::blueprint::{Blueprint, Building, Draft};

use crate::model::{Cut, Entry, EntryId, Key, Lost, Parked, Row, TableSpec};

use error::IN_THE_WAY;
pub use error::{Constraint, Error, ErrorKind, HELD, OF_FORMER_SHAPE, without_holders};
pub use found::{
    Catalogue, CatalogueColumn, Drift, Entries, Ledger, MissingRight, Opened, Probe, Service, Sought, Sync, Walked,
    Writes,
};
pub use numbering::{Numbered, Numbers, ServerSteps, Stepped, Steps};
pub use purge::Purge;
pub use registry::{Target, connect, kinds};
pub use scan::{LOT, Lot, Lots, Scanned, lots};
pub use tls::is_inline;
pub use written::{Move, Note, Obstacle, Reason, Refusal, Room, WriteMode};

/// The layout of the service tables that this build writes. A database with a higher one was installed by a newer
/// Concord and is refused. Tables and columns that an earlier one can do without leave it as it is: they are looked for.
pub const SERVICE_VERSION: i64 = 1;

/// What a database is that knows nothing of Concord.
pub const NOT_INSTALLED: &str = "nothing is installed there, as in a database that is new or from which Concord was removed; \
                                 run `concord install`";

/// What stands in a history in place of what was done, where a change is carried no further as its row vanished unrecorded. Nobody reads
/// such an entry; it keeps its place until it is purged, as others may know it as the last that they have passed.
const GIVEN_UP: &str = "X";

/// The version from the first such entry on: an earlier Concord cannot read it, and says by this that it is too old. Whatever comes next has
/// to be higher.
const NEWEST: i64 = SERVICE_VERSION + 1;

/// Whoever has read may not write any more: nodes are numbered by their list, and the numbers have other meanings now.
const NODES_CHANGED: &str = "`concord install` changed the list of nodes meanwhile";

pub type Result<T> = std::result::Result<T, Error>;

/// One database that takes part, through one connection.
///
/// Calls come one at a time. Reading happens between [`begin_read`](Node::begin_read), or
/// [`begin_scan`](Node::begin_scan) for tables without a history, and [`end_read`](Node::end_read), in one snapshot; writing
/// between [`begin_apply`](Node::begin_apply) or [`begin_mend`](Node::begin_mend) and
/// [`commit`](Node::commit) or [`rollback`](Node::rollback), in one transaction; the two never overlap. After an
/// error of kind [`ErrorKind::Lost`] or [`ErrorKind::Retry`] the transaction is gone: nothing more is sent in it, and
/// the next `begin_…` starts afresh, on a new connection where the old one may be broken.
#[async_trait]
pub trait Node: Send {
    // ---- the catalogue ----

    /// Server, role and identity, as error messages and `check` show them.
    async fn probe(&mut self) -> Result<Probe>;

    /// The table of this local name (`name` or, where schemas exist, `schema.name`) as the catalogue describes it,
    /// or `None` if there is none. Views and the like are returned with [`Catalogue::refusals`].
    async fn catalogue(&mut self, table: &str) -> Result<Option<Catalogue>>;

    /// What the table of this local name is made of, or `None` if there is none.
    async fn blueprint(&mut self, table: &str) -> Result<Option<Blueprint>>;

    /// The statements that make a table of a blueprint here, and what they leave out of it. No index gets a name that is `taken` where
    /// it would be in the way; those of the draft are added.
    async fn draft(&mut self, blueprint: &Blueprint, taken: &mut HashSet<String>) -> Result<Draft>;

    /// Makes tables by the statements of their drafts, in one transaction where the database can undo them. `made` hears of the place
    /// of each as soon as it is there to stay.
    async fn build(&mut self, tables: &[Vec<String>], made: &mut (dyn FnMut(usize) + Send)) -> Building;

    /// What the connected user may not do and needs to, each with the statement that grants it.
    async fn missing_rights(&mut self, tables: &[TableSpec]) -> Result<Vec<MissingRight>>;

    /// The same without what `install` needs: reading them, of each what is written there, and what it takes to record what users change
    /// in those that have a history.
    async fn missing_rights_to_compare(&mut self, tables: &[(&TableSpec, Writes)]) -> Result<Vec<MissingRight>>;

    /// Ways to change these tables that are not recorded here although somebody could see to it, a line each with the
    /// statements for that.
    async fn gaps(&mut self, _tables: &[TableSpec]) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    // ---- the service tables ----

    /// What is installed, or `None`. Fails with a kind of its own if a newer Concord installed it.
    async fn service(&mut self) -> Result<Option<Service>>;

    /// Those of the tables, by index, that are installed here for the sync of this name, so that whatever is written to them may be
    /// recorded as a user's change. Asked within the transaction that is open, if there is one; tells what was committed a moment ago.
    async fn recorded(&mut self, sync: &str, tables: &[TableSpec]) -> Result<Vec<usize>>;

    /// Creates or repairs service tables, history tables and triggers. Idempotent; on databases with transactional
    /// DDL all or nothing. History tables of captured tables keep their entries, but for those about rows that are gone though
    /// nobody deleted them, where changes may not have been recorded: these are given up, as they would delete the rows
    /// elsewhere. A table whose shape has changed gets new triggers and, if its key or images changed, a new history table:
    /// refused while the former one of a captured table holds entries, unless somebody altered it. Where columns only have
    /// other types, names or places, the entries stay. Tables of the sync that are installed but not listed lose their
    /// triggers and history. Records the fingerprint of each table. Returns what was done, one line each, empty when
    /// everything was in place.
    async fn install(&mut self, sync: &Sync, tables: &[TableSpec]) -> Result<Vec<String>>;

    /// Keeps another shape beside these tables, by shared name, all or none; whatever else is installed stays. What is not
    /// installed is passed over.
    async fn keep_shapes(&mut self, shapes: &[(String, String)]) -> Result<()>;

    /// Removes every trace of Concord; `false` if there was none.
    async fn uninstall(&mut self) -> Result<bool>;

    /// How far the numbers of a column, by its place, have come: the greatest that stands there or that whatever counts for it has
    /// drawn, 0 if there is none. And how far they can go.
    async fn numbers(&mut self, table: &TableSpec, column: usize) -> Result<Numbers>;

    /// The greatest number with this remainder that stands in a column; 0 if there is none.
    async fn greatest_in(&mut self, table: &TableSpec, column: usize, step: i64, slot: i64) -> Result<i64>;

    /// Makes whatever draws the column's values count in steps, and remembers how it counted before, for
    /// [`Node::restore_numbers`] and [`Node::uninstall`]. Nothing is done where that is so already, or where nothing counts.
    async fn step_numbers(&mut self, _table: &TableSpec, _column: usize, _steps: Steps) -> Result<Stepped> {
        Ok(Stepped::default())
    }

    /// Lets everything count as it did before, except for columns of `keep` (by table and place). What was done, a line each.
    async fn restore_numbers(&mut self, _keep: &[(&TableSpec, usize)]) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Empties the histories and forgets positions, witnesses, parked rows and what was purged, of all tables; keeps the
    /// journal.
    async fn reset(&mut self) -> Result<()>;

    /// Gives the node a new identity, as if Concord had just been installed there: what [`Node::reset`] does, and numbers of
    /// new entries that are above all that a former life of the database may have given out. Its positions begin with
    /// `positions`: the table's shared name, the source, the cut. `progress` is remembered as by [`Node::set_progress`].
    ///
    /// `false`, and nothing is done, if its identity is not `former`: somebody else was here.
    async fn renew(&mut self, former: &str, positions: &[(String, String, Cut)], progress: &str) -> Result<bool>;

    /// Sets positions of which none stands or which stand at [`Cut::START`].
    async fn start_at(&mut self, positions: &[(String, String, Cut)]) -> Result<()>;

    /// Forgets how far the history of the node of this name was applied here, and how far it has come in the history here.
    ///
    /// `false`, and nothing is done, unless the positions stand where `seen` says, by the table's shared name: somebody else
    /// was here.
    async fn forget(&mut self, node: &str, seen: &[(String, Cut)]) -> Result<bool>;

    /// What a load remembers here about how far it has come, as it was left by [`Node::set_progress`].
    async fn progress(&mut self) -> Result<Option<String>>;

    /// Remembers how far a load has come, or that none is at work any more. A transaction of its own.
    async fn set_progress(&mut self, progress: Option<&str>) -> Result<()>;

    // ---- reading ----

    /// How many entries are read at once from here on, at most, of all tables. Where entries are numbered when they are read, so
    /// many may share a number.
    fn take_at_once(&mut self, _entries: usize) {}

    /// Opens a snapshot and reads the state of the service tables in it. Blocks no user and is not blocked.
    ///
    /// `tables` are those that take part here. Their drift is judged in the same snapshot.
    async fn begin_read(&mut self, tables: &[TableSpec]) -> Result<Opened>;

    /// By how much the clock by which changes are timed, which is [`Opened::clock`], was ahead of the server's own when it was probed or a
    /// snapshot was opened last, in µs; 0 where these are one.
    fn strays(&self) -> i64 {
        0
    }

    /// The same for tables of which no history is kept: no service table has to be there, and none is read. Where a snapshot
    /// would make users wait, there is none, and each row is read as it is at that moment.
    async fn begin_scan(&mut self, tables: &[TableSpec]) -> Result<()>;

    /// Entries of `table` beyond `after`, in the order of (mark, id), at most `limit` of them and, where
    /// [`Opened::shared_marks`], none with a mark above `through`.
    ///
    /// Entries written by transactions that commit late appear in a later snapshot; none is ever skipped.
    async fn entries(&mut self, table: &TableSpec, after: &Cut, through: Option<i64>, limit: usize) -> Result<Entries>;

    /// Which of these entries the histories hold, as they were given out: an entry of the same number and another time is
    /// another one. What was purged and is remembered is in [`Opened::kept`].
    async fn holds(&mut self, entries: &[(&TableSpec, EntryId)]) -> Result<Vec<bool>>;

    /// How many entries of the table of this shared name lie beyond `after`: all, or those of changes that were made at the
    /// node `origin` and arrived here.
    async fn pending(&mut self, table: &str, after: &Cut, origin: Option<&str>) -> Result<u64>;

    /// What the service tables remember, also of tables and nodes that are in no configuration file any more.
    async fn ledger(&mut self) -> Result<Ledger>;

    /// Hands over all entries of these keys that are visible in the snapshot, those of each key in the order of their ids, as
    /// they are read: nobody knows how many there are. Asked only for keys about which a page of entries may not say all.
    async fn entries_of(
        &mut self,
        table: &TableSpec,
        keys: &[&Key],
        each: &mut (dyn FnMut(Entry) + Send),
    ) -> Result<()>;

    /// What waits of these keys, with the rows that [`Opened::parked`] and [`Node::waiting_now`] leave unread, in no particular order:
    /// in the snapshot, or within the transaction that applies.
    async fn waiting_rows(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<Vec<Parked>>;

    /// The present rows of `keys`, in order: `None` where there is no row. A row that holds a value which cannot be
    /// carried comes as an error text of its own and does not disturb the others.
    async fn rows(&mut self, table: &TableSpec, keys: &[&Key])
    -> Result<Vec<Option<std::result::Result<Row, String>>>>;

    /// The keys of rows that stand and which the database takes for the same as other ones of `keys`, each behind that. For kinds
    /// that tell texts in keys apart less exactly than others.
    async fn namesakes(&mut self, _table: &TableSpec, _keys: &[&Key]) -> Result<Vec<(Key, Key)>> {
        Ok(Vec::new())
    }

    /// Whether rows of these keys stand, in order, whatever is in them. For kinds that keep no statements by the table's index.
    async fn stand(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<Vec<bool>> {
        Ok(self.rows(&table.keys_alone(), keys).await?.iter().map(Option::is_some).collect())
    }

    /// Sends all rows of the table to `lots`, in no particular order, as fast as they are taken there. Holds a few MiB at
    /// a time, however large the table is.
    async fn scan(&mut self, table: &TableSpec, lots: &Lots) -> Result<()>;

    /// The rows that stand behind `after` in the order that the database itself gives to keys, or from the beginning, at most
    /// `limit`: keys and rows, a row that cannot be carried as its own error text. Keys that cannot be compared, such as
    /// those with NULL, stand at the beginning. Whoever goes on behind the last key misses nothing and meets nothing twice;
    /// where a key does not tell that, those behind it come as well, above `limit`.
    async fn walk(&mut self, table: &TableSpec, after: Option<&Key>, limit: usize) -> Result<Vec<Walked>>;

    /// How many rows a table has, perhaps only roughly.
    async fn count(&mut self, table: &TableSpec) -> Result<u64>;

    /// Closes the snapshot.
    async fn end_read(&mut self) -> Result<()>;

    /// Gives the open snapshot away: what is returned reads rows in it ([`Node::rows`]) until its own [`Node::end_read`], while this
    /// node writes over another connection. `None`, and all is as before, where a database cannot be read while it is written.
    fn give_snapshot(&mut self) -> Option<Box<dyn Node>> {
        None
    }

    // ---- applying ----

    /// Begins the transaction that applies a batch: READ COMMITTED where there are isolation levels, with the write
    /// lock where there is only one, durable on commit, deferrable constraints immediate. `tables` are all tables
    /// that the batch may write. Fails as [`ErrorKind::Drift`] if the list of nodes is not that of the last snapshot, and as
    /// [`ErrorKind::Retry`] if somebody holds the write lock for longer than the other nodes should wait.
    async fn begin_apply(&mut self, tables: &[TableSpec]) -> Result<()>;

    /// The same for tables of which no history is kept: no service table has to be there, and none is read. What is written is
    /// a user's change to whoever records changes here, though users' triggers can tell that it is Concord's.
    async fn begin_mend(&mut self, tables: &[TableSpec]) -> Result<()>;

    /// The rows of `keys` as [`Node::rows`], but within the transaction that applies; with `hold` they stay what they are until
    /// it ends, and the role has to be allowed to update them.
    async fn rows_now(
        &mut self,
        table: &TableSpec,
        keys: &[&Key],
        hold: bool,
    ) -> Result<Vec<Option<std::result::Result<Row, String>>>>;

    /// Locks the positions that `moves` name, creating missing ones at [`Cut::START`], and tells whether each stands
    /// where its `from` says. If not, another engine has been here and the batch must be given up.
    async fn claim(&mut self, moves: &[Move]) -> Result<bool>;

    /// What waits of these keys, within the transaction that applies: once positions are claimed, nobody else changes it.
    /// Groups as in [`Node::delete`]. Rows are left unread.
    async fn waiting_now(&mut self, groups: &[(&TableSpec, &[&Key])]) -> Result<Vec<Parked>>;

    /// From here to the end of the transaction only a moment is waited for what somebody holds locked, before a statement
    /// fails as [`ErrorKind::Locked`]. Databases of which no part can be locked wait for nothing.
    async fn hurry(&mut self) -> Result<()> {
        Ok(())
    }

    /// Starts a savepoint, perhaps within another.
    async fn savepoint(&mut self) -> Result<()>;

    /// Undoes everything since the last savepoint, and closes it.
    async fn undo(&mut self) -> Result<()>;

    /// Keeps everything since the last savepoint, and closes it.
    async fn release(&mut self) -> Result<()>;

    /// Writes whole rows, creating or replacing each by its key and touching no other row. Where `groups` names more
    /// than one table (they refer to each other) or a table refers to itself, references are checked only after all
    /// of them are written. Concord's own writes are not recorded as users' changes; what triggers and cascades of
    /// the database do besides is. Returns how many rows were written; what the mode lets be does not count.
    async fn write(&mut self, groups: &[(&TableSpec, &[&Row], WriteMode)]) -> Result<u64>;

    /// Deletes the rows of these keys; a missing row is no error. Groups as in [`Node::write`]. Returns how many rows were
    /// there to be deleted, without those that another of them took along.
    async fn delete(&mut self, groups: &[(&TableSpec, &[&Key])]) -> Result<u64>;

    /// Writes a row whole, or deletes it where there is none, as a user of this database would: it is recorded as a change
    /// made here now. `key` is its key.
    async fn write_as_user(&mut self, table: &TableSpec, key: &Key, row: Option<&Row>) -> Result<()>;

    /// What stands in the way of writing `rows`, as far as the table and those it refers to tell as they are now. It may
    /// leave out what it cannot tell for certain, such as unique values of expressions.
    async fn obstacles(&mut self, _table: &TableSpec, _rows: &[&Row]) -> Result<Vec<Obstacle>> {
        Ok(Vec::new())
    }

    /// Prepares for a [`Node::write`] that fails on unique values which rows pass among each other: where `rows` stand,
    /// gives columns of theirs that make them unique values that collide with nothing. They are overwritten next in the
    /// same savepoint. Unique values that references hand on to other rows stay.
    async fn make_room(&mut self, table: &TableSpec, rows: &[&Row], room: Room) -> Result<()>;

    /// Those of `keys` whose row other rows still refer to through a reference that would delete or change them. Rows
    /// that are `going` (by table and key) do not count as referring. The rows of `keys` are locked first where that is
    /// needed to keep the answer true until the transaction ends.
    async fn still_referred(
        &mut self,
        table: &TableSpec,
        keys: &[&Key],
        going: &[(&TableSpec, &[&Key])],
    ) -> Result<Vec<Key>>;

    /// What the role lacks to see all rows that [`Node::still_referred`] has to find. Without it any row counts as referred to.
    async fn hidden_referring(&mut self, _table: &TableSpec) -> Result<Option<MissingRight>> {
        Ok(None)
    }

    /// Those of `keys` whose rows somebody else holds locked, asked without waiting; locks the others. Databases that
    /// lock no single rows answer none.
    async fn locked(&mut self, _table: &TableSpec, _keys: &[&Key]) -> Result<Vec<Key>> {
        Ok(Vec::new())
    }

    /// The marks of transactions of others that are open and may have written to the table. What they inserted nobody else
    /// sees until they commit. Databases that let only one write at a time have none.
    async fn writers(&mut self, _table: &TableSpec) -> Result<Vec<i64>> {
        Ok(Vec::new())
    }

    /// Those of `keys` for which the history holds entries beyond `read`, committed by somebody else. A current read:
    /// it sees what was committed a moment ago. Where another engine has purged entries beyond `read`, nobody can tell, and it
    /// is all keys. Also those that were just written or deleted although this transaction had recorded before what must not be lost of them.
    async fn unseen(&mut self, table: &TableSpec, read: &Cut, keys: &[&Key]) -> Result<Vec<Key>>;

    /// Those of `rows` which, although just written in this transaction, read differently now or were changed again
    /// by a trigger, with the name of a column that differs. Only asked for tables with triggers of users.
    async fn altered(&mut self, table: &TableSpec, rows: &[&Row]) -> Result<Vec<(Key, String)>>;

    /// Adds entries for changes made elsewhere.
    async fn note(&mut self, table: &TableSpec, notes: &[&Note]) -> Result<()>;

    /// Adds an entry for the key as if a user had touched the row now, or at `since` by this database's clock (µs UTC): the
    /// content that stands here is asserted anew. A row that cannot be read may be touched as well.
    async fn touch(&mut self, table: &TableSpec, key: &Key, since: Option<i64>) -> Result<()>;

    /// Makes rows wait, in place of what waited for the same keys before.
    async fn park(&mut self, tables: &[TableSpec], parked: &[Parked]) -> Result<()>;

    /// Ends the waiting of these keys; keys that do not wait are no error.
    async fn unpark(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<()>;

    /// Adds to the journal; a version that is there already (by its conflict's id, its node and time) stays as it is.
    ///
    /// With `again` it may well be there. Without, it hardly is, and the database need not look: who reads the journal tells one
    /// that is there twice once.
    async fn record(&mut self, tables: &[TableSpec], lost: &[&Lost], again: bool) -> Result<()>;

    /// Moves positions to where their `to` says.
    async fn advance(&mut self, moves: &[Move]) -> Result<()>;

    async fn commit(&mut self) -> Result<()>;

    /// Gives the transaction up. Never fails for a transaction that is gone already.
    async fn rollback(&mut self) -> Result<()>;

    // ---- afterwards ----

    /// Deletes entries that every node has passed, in a transaction of its own: those before `through` that users of
    /// this node made, and with `arrivals` those that Concord wrote as well. Remembers `through` as purged, beside what was,
    /// and of the `witnesses` of positions, by the target's name, those that the history holds, in place of the targets'
    /// former ones that lie before `through`. Returns how many went. Where there is nothing to do, nothing is written.
    ///
    /// Another engine may have moved a position meanwhile. Its new witness lies beyond the former position and therefore
    /// beyond `through`: it is neither deleted nor forgotten here.
    async fn purge(
        &mut self,
        table: &TableSpec,
        through: &Cut,
        arrivals: bool,
        witnesses: &[(&str, EntryId)],
    ) -> Result<u64>;

    /// Begins what [`Node::purge`] does, in one transaction, in which nothing follows but [`Node::commit`] or
    /// [`Node::rollback`]. `false`, and nothing is begun, where users would wait for its end.
    async fn begin_purge(&mut self, _purges: &[Purge]) -> Result<bool> {
        Ok(false)
    }

    /// A number that changes whenever something may have been written, as cheap to ask as the database allows.
    async fn pulse(&mut self, tables: &[TableSpec]) -> Result<u64>;

    /// How many entries the journal has of these tables.
    async fn journalled(&mut self, tables: &[TableSpec]) -> Result<u64>;

    /// How many it has of whatever tables and nodes, also of such as are in no configuration file any more.
    async fn journal_size(&mut self) -> Result<u64>;

    /// The journal of these tables, or what is sought in it, newest first; `limit` counts entries, 0 is all. More than what is
    /// sought may be told.
    async fn journal(&mut self, tables: &[TableSpec], sought: Sought<'_>, limit: usize) -> Result<Vec<Lost>>;

    /// Deletes journal entries decided before `before` (µs UTC), the oldest first and at most so many, in a transaction of
    /// its own. Returns how many went. Where there are none, nothing is written and nobody is waited for.
    async fn trim_journal(&mut self, before: i64, most: usize) -> Result<u64>;

    /// What holds back the history's horizon, one line each, such as a long transaction with its process; empty if
    /// nothing does or the database has no such thing.
    async fn blockers(&mut self) -> Result<Vec<String>>;
}
