//! What Concord remembers in the database: who it is, positions, rows that wait, and the journal.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value as Document;
use sqlx::mysql::MySqlRow;
use tracing::warn;

use super::schema::one;
use super::wire::{Args, int, number, string, text};
use super::witness::Remembered;
use super::{MySql, capture, connect};
use crate::digest::digest;
use crate::model::{
    Cut, EntryId, KeptRow, Key, Lost, NodeId, Parked, ParkedCode, Position, Stamp, TableSpec, Value, Vector, Waiting,
    key_value_from_json, key_value_to_json,
};
use crate::node::{Error, ErrorKind, Ledger, Move, NOT_INSTALLED, Result, SERVICE_VERSION, Service, Sought};

/// The layout of the service tables. One more since entries may have a mark that they do not hold: who knows nothing of that
/// would give them another.
pub const VERSION: i64 = SERVICE_VERSION + 1;

/// The same from the first entry on that was given up, see [`NEWEST`](crate::node::NEWEST).
pub const NEWEST: i64 = VERSION + 1;

/// Rows in one statement.
const ROWS: usize = 500;

/// What is kept of a row that waits.
const PARKED: &str = "name, `key`, code, message, since, vector, time, origin, `row`, standing, standing_time, `read`";

/// The same with whether there is no row in place of the row, which may be large.
const PARKED_UNREAD: &str =
    "name, `key`, code, message, since, vector, time, origin, `row` IS NULL, standing, standing_time, `read`";

/// Bytes of parameters after which a statement takes no further row. Where the server takes less, it is tried with fewer.
pub const LARGE: usize = 4 << 20;

/// Name and columns of each service table.
pub const TABLES: [(&str, &str); 13] = [
    (
        "concord_node",
        "one TINYINT PRIMARY KEY DEFAULT 1, version BIGINT NOT NULL, sync LONGTEXT NOT NULL, node LONGTEXT NOT NULL, \
         nodes LONGTEXT NOT NULL, uuid CHAR(36) NOT NULL",
    ),
    ("concord_own", "one TINYINT PRIMARY KEY DEFAULT 1, proof BIGINT NOT NULL"),
    ("concord_mark", "one TINYINT PRIMARY KEY DEFAULT 1, last BIGINT NOT NULL"),
    (
        "concord_marked",
        "name VARCHAR(255), first BIGINT, last BIGINT NOT NULL, mark BIGINT NOT NULL, PRIMARY KEY (name, first)",
    ),
    (
        "concord_installed",
        "name VARCHAR(255) PRIMARY KEY, local LONGTEXT NOT NULL, layout LONGTEXT NOT NULL, shape LONGTEXT NOT NULL, \
         fingerprint LONGTEXT NOT NULL",
    ),
    (
        "concord_position",
        "name VARCHAR(255), source VARCHAR(255), cut LONGTEXT NOT NULL, witness LONGTEXT, PRIMARY KEY (name, source)",
    ),
    ("concord_purged", "name VARCHAR(255) PRIMARY KEY, cut LONGTEXT NOT NULL"),
    (
        "concord_witness",
        "name VARCHAR(255), target VARCHAR(255), mark BIGINT, id BIGINT, time BIGINT NOT NULL, \
         PRIMARY KEY (name, target, mark, id)",
    ),
    ("concord_sample", "name VARCHAR(255) PRIMARY KEY, hash CHAR(64) NOT NULL, `key` LONGTEXT NOT NULL"),
    ("concord_steps", "name VARCHAR(255) PRIMARY KEY, step BIGINT NOT NULL, slot BIGINT NOT NULL"),
    ("concord_load", "one TINYINT PRIMARY KEY DEFAULT 1, progress LONGTEXT NOT NULL"),
    (
        "concord_parked",
        "name VARCHAR(255), hash CHAR(64), `key` LONGTEXT NOT NULL, code VARCHAR(32) NOT NULL, message LONGTEXT NOT NULL, \
         since BIGINT NOT NULL, vector LONGTEXT NOT NULL, time BIGINT NOT NULL, origin VARCHAR(255) NOT NULL, \
         `row` LONGTEXT, standing LONGTEXT NOT NULL, standing_time BIGINT NOT NULL, `read` LONGTEXT NOT NULL, \
         PRIMARY KEY (name, hash)",
    ),
    (
        "concord_journal",
        "number BIGINT AUTO_INCREMENT PRIMARY KEY, id VARCHAR(255) NOT NULL, loser VARCHAR(255) NOT NULL, \
         name VARCHAR(255) NOT NULL, `key` LONGTEXT NOT NULL, decided BIGINT NOT NULL, winner VARCHAR(255) NOT NULL, \
         winner_time BIGINT NOT NULL, winner_row LONGTEXT, loser_time BIGINT NOT NULL, loser_row LONGTEXT, \
         reason LONGTEXT NOT NULL, told LONGTEXT, INDEX (decided)",
    ),
];

/// Shows a row if the journal keeps what plugins were told, which that of an earlier Concord does not.
const TELLS: &str = "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() \
                         AND TABLE_NAME = 'concord_journal' AND COLUMN_NAME = 'told'";

impl MySql {
    /// Whether there are service tables.
    async fn is_installed(&mut self) -> Result<bool> {
        let names = TABLES.map(|(name, _)| format!("'{name}'")).join(", ");
        let statement = format!(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN ({names}) \
             UNION ALL {TELLS}"
        );
        let rows = self.main()?.fetch(&statement, Args::new()).await?;
        let is_there = |name: &str| rows.iter().any(|row| text(row, 0).as_deref() == Some(name));
        self.tells = is_there("told");
        self.complete = rows.len() - usize::from(self.tells) == TABLES.len();
        Ok(is_there("concord_node"))
    }

    /// The layout of the service tables, or `None` without any.
    pub(super) async fn read_service_version(&mut self) -> Result<Option<i64>> {
        if !self.is_installed().await? {
            return Ok(None);
        }
        let rows = self.main()?.fetch("SELECT version FROM concord_node", Args::new()).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let version = int(row, 0)?;
        refuse_newer(version).map(|()| Some(version))
    }

    /// Fails unless Concord is installed, with all that this one needs.
    pub(super) async fn check_service(&mut self) -> Result<Service> {
        match self.read_service().await? {
            Some(service) if self.complete => Ok(service),
            Some(_) => Err(Error::new(
                ErrorKind::Service,
                "service tables are missing here, as after an install that was broken off; run `concord install`",
            )),
            None => Err(not_installed()),
        }
    }

    pub(super) async fn read_service(&mut self) -> Result<Option<Service>> {
        if !self.is_installed().await? {
            return Ok(None);
        }
        let rows = self.main()?.fetch("SELECT version, sync, node, uuid, nodes FROM concord_node", Args::new()).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let version = int(row, 0)?;
        refuse_newer(version)?;
        self.complete &= version >= VERSION;
        self.names = names(&string(row, 4)?)?;
        let (sync, node, uuid) = (string(row, 1)?, string(row, 2)?, string(row, 3)?);
        let (mut tables, mut fingerprints) = (Vec::new(), HashMap::new());
        if self.complete {
            let installed = "SELECT name, shape, fingerprint FROM concord_installed ORDER BY name";
            for row in self.main()?.fetch(installed, Args::new()).await? {
                tables.push((string(&row, 0)?, string(&row, 1)?));
                fingerprints.insert(string(&row, 0)?, string(&row, 2)?);
            }
        }
        self.fingerprints = fingerprints;
        Ok(Some(Service { sync, node, nodes: self.names.clone(), uuid, tables }))
    }

    /// Those of the tables, by index, that are installed for the sync of this name, or on which triggers of its stand that an install
    /// has just made or left. To an account that has no right to the service tables they are not there.
    pub(super) async fn read_recorded(&mut self, sync: &str, tables: &[TableSpec]) -> Result<Vec<usize>> {
        let there = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() \
                     AND TABLE_NAME IN ('concord_node', 'concord_installed')";
        let there = self.main()?.fetch(there, Args::new()).await?;
        // An uninstall that was broken off may have left the first of them alone.
        let stands = |name: &str| there.iter().any(|row| text(row, 0).as_deref() == Some(name));
        let lists = stands("concord_installed");
        if !stands("concord_node") {
            return Ok(Vec::new());
        }
        let rows = self.main()?.fetch("SELECT version, sync FROM concord_node", Args::new()).await?;
        let Some(row) = rows.first() else { return Ok(Vec::new()) };
        if string(row, 1)? != sync {
            return Ok(Vec::new());
        }
        refuse_newer(int(row, 0)?)?;
        let mut recorded = Vec::new();
        let installed = match lists {
            true => self.main()?.fetch("SELECT name, local FROM concord_installed", Args::new()).await?,
            false => Vec::new(),
        };
        for row in installed {
            let (name, local) = (string(&row, 0)?, string(&row, 1)?);
            // The file may give it another name by now.
            let known = tables.iter().filter(|spec| spec.name == name || spec.local == local);
            recorded.extend(known.map(|spec| spec.index));
        }
        for spec in tables {
            let names = ["i", "u", "d"].map(|letter| capture::name(letter, &spec.name));
            let mut args = one(&spec.local);
            args.add(names[0].as_str()).add(names[1].as_str()).add(names[2].as_str());
            let standing = "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = DATABASE() \
                            AND EVENT_OBJECT_TABLE = ? AND TRIGGER_NAME IN (?, ?, ?)";
            if !self.main()?.fetch(standing, args).await?.is_empty() {
                recorded.push(spec.index);
            }
        }
        Ok(recorded)
    }

    /// The sync's nodes, as the last install left them.
    pub(super) async fn read_names(&mut self) -> Result<()> {
        let rows = self.main()?.fetch("SELECT nodes FROM concord_node", Args::new()).await?;
        let row = rows.first().ok_or_else(not_installed)?;
        self.names = names(&string(row, 0)?)?;
        Ok(())
    }

    /// What shows triggers that a change is Concord's own.
    pub(super) async fn read_proof(&mut self) -> Result<()> {
        let statement = format!("SELECT proof, {} FROM concord_own", connect::SERVER);
        let rows = self.main()?.fetch(&statement, Args::new()).await?;
        self.proof = rows.first().map(|row| int(row, 0)).transpose()?;
        self.server = rows.first().and_then(|row| number(row, 1));
        self.proof().map(drop)
    }

    pub(super) fn proof(&self) -> Result<i64> {
        self.proof.ok_or_else(|| Error::new(ErrorKind::Service, "concord_own is empty; run `concord install`"))
    }

    /// The node's place in the order of the sync.
    pub(super) fn node_id(&self, name: &str) -> Option<NodeId> {
        self.names.iter().position(|known| known == name).map(|at| NodeId(at as u16))
    }

    pub(super) fn node_name(&self, id: NodeId) -> Result<String> {
        self.names.get(id.index()).cloned().ok_or_else(|| {
            Error::new(ErrorKind::Service, "the sync has more nodes than this one knows; run `concord install`")
        })
    }

    pub(super) fn vector_text(&self, vector: &Vector) -> Result<String> {
        for dot in vector.dots() {
            self.node_name(dot.node)?;
        }
        Ok(vector.write(&self.names))
    }

    // ---- positions ----

    /// Positions in every source's history, what was purged, and others' witnesses, for the given tables.
    pub(super) async fn read_positions(&mut self, tables: &[TableSpec]) -> Result<Remembered> {
        let mut all = Remembered::default();
        let positions = "SELECT name, source, cut, witness FROM concord_position";
        for row in self.main()?.fetch(positions, Args::new()).await? {
            let Some(index) = index_of(tables, &string(&row, 0)?) else { continue };
            let witness = text(&row, 3).map(|witness| parse(&witness)).transpose()?;
            all.positions.push((index, string(&row, 1)?, Position { cut: parse(&string(&row, 2)?)?, witness }));
        }
        for row in self.main()?.fetch("SELECT name, cut FROM concord_purged", Args::new()).await? {
            let Some(index) = index_of(tables, &string(&row, 0)?) else { continue };
            all.purged.push((index, parse(&string(&row, 1)?)?));
        }
        let kept = "SELECT name, target, mark, id, time FROM concord_witness";
        for row in self.main()?.fetch(kept, Args::new()).await? {
            let Some(index) = index_of(tables, &string(&row, 0)?) else { continue };
            let entry = EntryId { mark: int(&row, 2)?, id: int(&row, 3)?, time: int(&row, 4)? };
            all.kept.push((index, string(&row, 1)?, entry));
        }
        Ok(all)
    }

    pub(super) async fn read_ledger(&mut self) -> Result<Ledger> {
        let mut ledger = Ledger::default();
        for row in self.main()?.fetch("SELECT name, source, cut FROM concord_position", Args::new()).await? {
            ledger.positions.push((string(&row, 0)?, string(&row, 1)?, parse::<Cut>(&string(&row, 2)?)?));
        }
        let parked = "SELECT name, origin, code, vector FROM concord_parked";
        for row in self.main()?.fetch(parked, Args::new()).await? {
            ledger.count_parked(string(&row, 0)?, string(&row, 1)?, &string(&row, 2)?, &string(&row, 3)?);
        }
        Ok(ledger)
    }

    pub(super) async fn claim_positions(&mut self, moves: &[Move]) -> Result<bool> {
        if moves.is_empty() {
            return Ok(true);
        }
        // In one order everywhere, so that two engines do not wait for each other.
        let mut sorted: Vec<&Move> = moves.iter().collect();
        sorted.sort_by(|a, b| (&a.table, &a.source).cmp(&(&b.table, &b.source)));
        let mut standing = self.lock_positions(&sorted).await?;
        if standing.len() < moves.len() {
            for part in sorted.chunks(ROWS) {
                let mut args = Args::new();
                for step in part {
                    args.add(step.table.as_str()).add(step.source.as_str()).add(Cut::START.to_string());
                }
                let statement = format!(
                    "INSERT INTO concord_position (name, source, cut) VALUES {} ON DUPLICATE KEY UPDATE name = VALUES(name)",
                    marks(3, part.len())
                );
                self.main()?.execute(&statement, args).await?;
            }
            standing = self.lock_positions(&sorted).await?;
        }
        Ok(moves.iter().all(|step| standing.get(&(step.table.clone(), step.source.clone())) == Some(&step.from)))
    }

    async fn lock_positions(&mut self, sorted: &[&Move]) -> Result<HashMap<(String, String), Cut>> {
        let mut standing = HashMap::new();
        for part in sorted.chunks(ROWS) {
            let mut args = Args::new();
            for step in part {
                args.add(step.table.as_str()).add(step.source.as_str());
            }
            let either = vec!["(name = ? AND source = ?)"; part.len()].join(" OR ");
            let statement = format!("SELECT name, source, cut FROM concord_position WHERE {either} FOR UPDATE");
            for row in self.main()?.fetch(&statement, args).await? {
                standing.insert((string(&row, 0)?, string(&row, 1)?), parse(&string(&row, 2)?)?);
            }
        }
        Ok(standing)
    }

    pub(super) async fn move_positions(&mut self, moves: &[Move]) -> Result<()> {
        for step in moves {
            let mut args = Args::new();
            args.add(step.to.cut.to_string()).add(step.to.witness.as_ref().map(ToString::to_string));
            args.add(step.table.as_str()).add(step.source.as_str());
            let statement = "UPDATE concord_position SET cut = ?, witness = ? WHERE name = ? AND source = ?";
            self.main()?.execute(statement, args).await?;
        }
        Ok(())
    }

    // ---- rows that wait ----

    pub(super) async fn read_parked(&mut self, tables: &[TableSpec]) -> Result<Vec<Parked>> {
        let statement = format!("SELECT {PARKED_UNREAD} FROM concord_parked ORDER BY since, name, hash");
        let mut parked = Vec::new();
        for row in self.main()?.fetch(&statement, Args::new()).await? {
            let name = string(&row, 0)?;
            let Some(table) = tables.iter().find(|table| table.name == name) else { continue };
            parked.extend(self.parked_row(table, &row, false)?);
        }
        Ok(parked)
    }

    /// What waits of some keys, `whole` with the rows themselves.
    pub(super) async fn read_parked_of(
        &mut self,
        groups: &[(&TableSpec, &[&Key])],
        whole: bool,
    ) -> Result<Vec<Parked>> {
        let columns = if whole { PARKED } else { PARKED_UNREAD };
        let mut waiting = Vec::new();
        // Mostly nothing waits, and no key need be named.
        for part in groups.chunks(ROWS) {
            let mut args = Args::new();
            part.iter().for_each(|(table, _)| {
                args.add(table.name.as_str());
            });
            let look = "(SELECT name FROM concord_parked WHERE name = ? LIMIT 1)";
            let statement = vec![look; part.len()].join(" UNION ALL ");
            for row in self.main()?.fetch(&statement, args).await? {
                waiting.push(string(&row, 0)?);
            }
        }
        let mut parked = Vec::new();
        for (table, keys) in groups.iter().filter(|(table, _)| waiting.contains(&table.name)) {
            for part in keys.chunks(ROWS) {
                let mut args = one(&table.name);
                for key in part {
                    args.add(hash(table, key));
                }
                let list = vec!["?"; part.len()].join(", ");
                let statement = format!("SELECT {columns} FROM concord_parked WHERE name = ? AND hash IN ({list})");
                for row in self.main()?.fetch(&statement, args).await? {
                    parked.extend(self.parked_row(table, &row, whole)?);
                }
            }
        }
        Ok(parked)
    }

    /// A row of [`PARKED`], if it is read `whole`, or of [`PARKED_UNREAD`]; `None` if it came from a node that is no longer there.
    fn parked_row(&self, table: &TableSpec, row: &MySqlRow, whole: bool) -> Result<Option<Parked>> {
        let damaged = || damaged("parked", &table.name);
        let Some(node) = self.node_id(&string(row, 7)?) else {
            warn!(
                table = table.name,
                "A row that waits came from a node that is no longer in the sync; it is left out."
            );
            return Ok(None);
        };
        let Some(key) = key_from_text(table, &string(row, 1)?) else {
            warn!(
                table = table.name,
                "A row waits under another key than the table has now; it is left out until the table has its former key."
            );
            return Ok(None);
        };
        let vector = |at| -> Result<Vector> { Vector::read(&string(row, at)?, &self.names).ok_or_else(damaged) };
        let (content, text_of_it) = match whole {
            true => (Waiting::Delete, text(row, 8)),
            false if int(row, 8)? != 0 => (Waiting::Delete, None),
            false => (Waiting::Unread, None),
        };
        let parked = Parked {
            table: table.index,
            key,
            code: ParkedCode::parse(&string(row, 2)?).ok_or_else(damaged)?,
            message: string(row, 3)?,
            since: int(row, 4)?,
            vector: vector(5)?,
            stamp: Stamp { time: int(row, 6)?, node },
            content,
            standing: vector(9)?,
            standing_time: int(row, 10)?,
            read: parse(&string(row, 11)?)?,
        };
        parked.with_row(table, text_of_it.as_deref()).map(Some).ok_or_else(damaged)
    }

    pub(super) async fn write_parked(&mut self, tables: &[TableSpec], parked: &[Parked]) -> Result<()> {
        for one in parked {
            let table = table_at(tables, one.table)?;
            let mut args = Args::new();
            args.add(table.name.as_str())
                .add(hash(table, &one.key))
                .add(key_text(table, &one.key))
                .add(one.code.as_str())
                .add(one.message.replace('\0', "\u{FFFD}"))
                .add(one.since)
                .add(self.vector_text(&one.vector)?)
                .add(one.stamp.time)
                .add(self.node_name(one.stamp.node)?)
                .add(table.keep_waiting(&one.content))
                .add(self.vector_text(&one.standing)?)
                .add(one.standing_time)
                .add(one.read.to_string());
            self.main()?
                .execute(
                    "REPLACE INTO concord_parked (name, hash, `key`, code, message, since, vector, time, origin, `row`, \
                     standing, standing_time, `read`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    args,
                )
                .await
                .map_err(|error| match error.kind {
                    ErrorKind::Value => {
                        let key = key_text(table, &one.key);
                        let kept = format!("the row {key} of {} is refused and cannot be kept for later", table.full_name());
                        Error::new(error.kind, format!("{kept}: {error}; raise that and run it again"))
                    }
                    _ => error,
                })?;
        }
        Ok(())
    }

    pub(super) async fn delete_parked(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<()> {
        for part in keys.chunks(ROWS) {
            let mut args = one(&table.name);
            for key in part {
                args.add(hash(table, key));
            }
            let list = vec!["?"; part.len()].join(", ");
            let statement = format!("DELETE FROM concord_parked WHERE name = ? AND hash IN ({list})");
            self.main()?.execute(&statement, args).await?;
        }
        Ok(())
    }

    // ---- the journal ----

    pub(super) async fn write_journal(&mut self, tables: &[TableSpec], lost: &[&Lost], again: bool) -> Result<()> {
        let known = if again { self.known_losses(lost).await? } else { Vec::new() };
        let known: std::collections::HashSet<(String, String, i64)> = known.into_iter().collect();
        let is_known = |one: &Lost| {
            let loser = self.names.get(one.loser.index());
            loser.is_some_and(|loser| known.contains(&(one.id.clone(), loser.clone(), one.loser_time)))
        };
        let new: Vec<&Lost> = lost.iter().copied().filter(|one| !is_known(one)).collect();
        let mut left = vec![(&new[..], self.tells)];
        while let Some((lost, tells)) = left.pop() {
            let (args, count) = self.journal_args(tables, lost, tells)?;
            if count == 0 {
                continue;
            }
            let (lot, rest) = lost.split_at(count);
            left.push((rest, tells));
            let statement = format!(
                "INSERT INTO concord_journal (id, loser, name, `key`, decided, winner, winner_time, winner_row, loser_time, \
                 loser_row, reason{}) VALUES {}",
                if tells { ", told" } else { "" },
                marks(11 + usize::from(tells), count)
            );
            match self.main()?.execute(&statement, args).await {
                // The server may take less at once than is usual.
                Err(error) if error.kind == ErrorKind::Value && count > 1 => {
                    let (first, second) = lot.split_at(count / 2);
                    left.extend([(second, tells), (first, tells)]);
                }
                // What was told is kept where there is room for it beside the rows.
                Err(error) if error.kind == ErrorKind::Value && tells && lot[0].told.is_some() => {
                    left.push((lot, false))
                }
                written => drop(written?),
            }
        }
        Ok(())
    }

    /// The parameters of one statement, and for how many of those that lost.
    fn journal_args(&self, tables: &[TableSpec], lost: &[&Lost], tells: bool) -> Result<(Args, usize)> {
        let (mut args, mut count) = (Args::new(), 0);
        for one in lost.iter().take(ROWS) {
            if args.size() >= LARGE {
                break;
            }
            count += 1;
            let table = table_at(tables, one.table)?;
            args.add(one.id.as_str())
                .add(self.node_name(one.loser)?)
                .add(table.name.as_str())
                .add(key_text(table, &one.key))
                .add(one.decided)
                .add(self.node_name(one.winner)?)
                .add(one.winner_time)
                .add(one.winner_row.as_deref().map(|row| table.keep(row, &one.winner_unknown)))
                .add(one.loser_time)
                .add(one.loser_row.as_deref().map(|row| table.keep(row, &one.loser_unknown)))
                .add(one.reason.replace('\0', "\u{FFFD}"));
            if tells {
                args.add(one.told.as_deref());
            }
        }
        Ok((args, count))
    }

    /// Those of the losses that the journal has, by id, loser and its time. No index helps to find them: each entry would pay for it,
    /// and only what waited is ever looked for.
    async fn known_losses(&mut self, lost: &[&Lost]) -> Result<Vec<(String, String, i64)>> {
        let mut known = Vec::new();
        for part in lost.chunks(ROWS) {
            let mut args = Args::new();
            for one in part {
                args.add(one.id.as_str());
            }
            let list = vec!["?"; part.len()].join(", ");
            let statement = format!("SELECT id, loser, loser_time FROM concord_journal WHERE id IN ({list})");
            for row in self.main()?.fetch(&statement, args).await? {
                known.push((string(&row, 0)?, string(&row, 1)?, int(&row, 2)?));
            }
        }
        Ok(known)
    }

    /// What can be told of the journal, and what the condition asks for. What a node lost or won that is no longer in the sync
    /// is kept, but cannot be told.
    async fn told(&mut self, tables: &[TableSpec]) -> Result<(Args, String)> {
        self.check_service().await?;
        let mut args = Args::new();
        let mut list = |names: &mut dyn Iterator<Item = &str>| {
            let mut marks = vec!["NULL"];
            for name in names {
                args.add(name);
                marks.push("?");
            }
            marks.join(", ")
        };
        let tables = list(&mut tables.iter().map(|table| table.name.as_str()));
        let losers = list(&mut self.names.iter().map(String::as_str));
        let winners = list(&mut self.names.iter().map(String::as_str));
        let told =
            format!("concord_journal WHERE name IN ({tables}) AND loser IN ({losers}) AND winner IN ({winners})");
        Ok((args, told))
    }

    pub(super) async fn count_journal(&mut self, tables: &[TableSpec]) -> Result<u64> {
        let (args, told) = self.told(tables).await?;
        let rows =
            self.main()?.fetch(&format!("SELECT COUNT(DISTINCT id, loser, loser_time) FROM {told}"), args).await?;
        Ok(rows.first().and_then(|row| number(row, 0)).unwrap_or(0).unsigned_abs())
    }

    pub(super) async fn count_whole_journal(&mut self) -> Result<u64> {
        self.check_service().await?;
        let counted = "SELECT COUNT(DISTINCT id, loser, loser_time) FROM concord_journal";
        let rows = self.main()?.fetch(counted, Args::new()).await?;
        Ok(rows.first().and_then(|row| number(row, 0)).unwrap_or(0).unsigned_abs())
    }

    pub(super) async fn delete_journal(&mut self, before: i64, most: usize) -> Result<u64> {
        let mut args = Args::new();
        args.add(before);
        let old = "SELECT 1 FROM concord_journal WHERE decided < ? LIMIT 1";
        if self.main()?.fetch(old, args).await?.is_empty() {
            return Ok(0);
        }
        let mut args = Args::new();
        args.add(before);
        let statement = format!("DELETE FROM concord_journal WHERE decided < ? ORDER BY decided LIMIT {most}");
        self.main()?.execute(&statement, args).await
    }

    pub(super) async fn read_journal(
        &mut self,
        tables: &[TableSpec],
        sought: Sought<'_>,
        limit: usize,
    ) -> Result<Vec<Lost>> {
        let (mut args, told) = self.told(tables).await?;
        let wanted = match (sought, tables) {
            // One number may be spelled in several ways.
            (Sought::Key(key), [table]) if !key.iter().any(|value| matches!(value, Value::Decimal(_))) => {
                args.add(key_text(table, key));
                " AND `key` = ?"
            }
            (Sought::Id(begins), _) => {
                args.add(begins).add(begins);
                " AND LEFT(id, CHAR_LENGTH(?)) = ?"
            }
            _ => "",
        };
        let limit = if limit == 0 { String::new() } else { format!(" LIMIT {limit}") };
        let statement = format!(
            "SELECT id, loser, name, `key`, decided, winner, winner_time, winner_row, loser_time, loser_row, reason, \
                {} FROM {told}{wanted} ORDER BY decided DESC, id DESC, loser{limit}",
            if self.tells { "told" } else { "NULL" }
        );
        let rows = self.main()?.fetch(&statement, args).await?;
        let mut lost = Vec::with_capacity(rows.len());
        for row in &rows {
            let name = string(row, 2)?;
            let damaged = || damaged("journal", &name);
            let table = tables.iter().find(|table| table.name == name).ok_or_else(damaged)?;
            let written = string(row, 3)?;
            let former = || crate::model::former_key(&written);
            let Some(key) = key_from_text(table, &written).or_else(former) else { continue };
            let node = |at| -> Result<NodeId> { self.node_id(&string(row, at)?).ok_or_else(damaged) };
            let kept = |at| kept_column(table, row, at).map_err(|()| damaged());
            let (winner_row, winner_unknown) = KeptRow::parts(kept(7)?);
            let (loser_row, loser_unknown) = KeptRow::parts(kept(9)?);
            lost.push(Lost {
                id: string(row, 0)?,
                table: table.index,
                key,
                decided: int(row, 4)?,
                winner: node(5)?,
                winner_time: int(row, 6)?,
                winner_row,
                winner_unknown,
                loser: node(1)?,
                loser_time: int(row, 8)?,
                loser_row,
                loser_unknown,
                reason: string(row, 10)?,
                told: text(row, 11).map(Arc::from),
            });
        }
        Ok(lost)
    }
}

/// So many rows of so many parameters each.
pub fn marks(width: usize, rows: usize) -> String {
    let row = format!("({})", vec!["?"; width].join(", "));
    vec![row.as_str(); rows].join(", ")
}

fn not_installed() -> Error {
    Error::new(ErrorKind::Service, NOT_INSTALLED)
}

fn refuse_newer(version: i64) -> Result<()> {
    match version > NEWEST {
        false => Ok(()),
        true => Err(Error::new(
            ErrorKind::Service,
            format!(
                "a newer Concord installed the service tables here (version {version}, this one knows {NEWEST}); \
                 use that one"
            ),
        )),
    }
}

/// The nodes of the sync, from a JSON array.
fn names(text: &str) -> Result<Vec<String>> {
    serde_json::from_str(text)
        .map_err(|_| Error::new(ErrorKind::Service, "concord_node holds a list of nodes that Concord did not write"))
}

fn index_of(tables: &[TableSpec], name: &str) -> Option<usize> {
    tables.iter().find(|table| table.name == name).map(|table| table.index)
}

fn table_at(tables: &[TableSpec], index: usize) -> Result<&TableSpec> {
    let found = tables.iter().find(|table| table.index == index);
    found.ok_or_else(|| Error::new(ErrorKind::Other, "a row of a table that does not take part here"))
}

pub(super) fn parse<T: std::str::FromStr<Err = crate::model::BadCut>>(text: &str) -> Result<T> {
    text.parse().map_err(|error: crate::model::BadCut| Error::new(ErrorKind::Service, error.to_string()))
}

fn damaged(what: &str, table: &str) -> Error {
    Error::new(
        ErrorKind::Service,
        format!(
            "concord_{what} holds a row of `{table}` that Concord did not write; delete it, or run `concord reset`"
        ),
    )
}

pub fn key_from_text(table: &TableSpec, text: &str) -> Option<Key> {
    let cells: Vec<Document> = serde_json::from_str(text).ok()?;
    if cells.len() != table.key.len() {
        return None;
    }
    table.key_columns().zip(&cells).map(|(column, cell)| key_value_from_json(&column.ty, cell)).collect()
}

pub fn key_text(table: &TableSpec, key: &[Value]) -> String {
    let cells = table.key_columns().zip(key).map(|(column, value)| key_value_to_json(&column.ty, value));
    Document::Array(cells.collect()).to_string()
}

/// Identifies a key of any length, one number spelled in two ways alike.
pub fn hash(table: &TableSpec, key: &[Value]) -> String {
    let cells = table.key_columns().zip(key).map(|(column, value)| match value {
        Value::Decimal(number) if number.is_finite() => {
            let (negative, whole, fraction) = number.parts();
            format!("{}{whole}.{fraction}", if negative { "-" } else { "" }).into()
        }
        value => key_value_to_json(&column.ty, value),
    });
    let text = Document::Array(cells.collect()).to_string();
    digest(text)
}

fn kept_column(table: &TableSpec, row: &MySqlRow, at: usize) -> std::result::Result<Option<KeptRow>, ()> {
    let Some(text) = text(row, at) else { return Ok(None) };
    table.kept(&text).map(Some).ok_or(())
}
