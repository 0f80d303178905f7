//! Reading: the snapshot, the entries in it, the present rows; and what becomes of entries afterwards.
//!
//! The snapshot shows entries that have no mark yet, which are given theirs as it is opened (`marks.rs`). It goes on showing
//! them without one, and is told which it is.

use std::collections::HashSet;

use super::capture;
use super::drift::Fingerprint;
use super::marks::{self, Giving, Kept};
use super::schema::one;
use super::sql::ALIVE;
use super::wire::{Args, Wire, int, number, string, text};
use super::{MySql, Phase, SNAPSHOT, quote, sql, witness};
use crate::model::{Arrival, Column, Cut, Dot, Entry, EntryId, Images, Key, NodeId, Op, Row, TableSpec, Value, Vector};
use crate::node::{Drift, Entries, Error, ErrorKind, Opened, Purge, Result};

/// Of more keys than these, all entries are read and told apart here: the server would go through the history for every
/// [`sql::KEYS`] of them.
const MOST_SOUGHT: usize = 10 * sql::KEYS;

/// How often a snapshot is opened anew because another engine gave out marks meanwhile. However many entries there are to be given
/// theirs, that goes on.
const ATTEMPTS: usize = 20;

impl MySql {
    pub(super) async fn open_snapshot(&mut self, tables: &[TableSpec]) -> Result<Opened> {
        let mut attempts = 0;
        while attempts < ATTEMPTS {
            self.begin(Phase::Reading, SNAPSHOT).await?;
            let service = self.check_service().await?;
            match self.hold_captured(tables).await {
                // Somebody whose statement takes several tables went first.
                Err(error) if error.kind == ErrorKind::Retry && !error.is_lock() && attempts + 1 < ATTEMPTS => {
                    attempts += 1;
                    self.close().await;
                    continue;
                }
                held => held?,
            }
            // Before the fingerprints: what is put in a table's place later is another than what is noted here.
            self.note_identities(tables).await?;
            let now = self.fingerprints(tables).await?;
            let mut drifted = self.compare(tables, &now);
            let is_whole = |spec: &&TableSpec| {
                let drift = drifted.iter().find(|(index, _)| *index == spec.index);
                self.fingerprints.contains_key(&spec.name) && drift.is_none_or(|(_, drift)| !drift.dropped)
            };
            let there: Vec<&TableSpec> = tables.iter().filter(is_whole).collect();
            let giving = self.give_marks(&there).await?;
            if giving != Giving::Done {
                attempts += usize::from(giving == Giving::Again);
                self.close().await;
                continue;
            }
            let there: Vec<&TableSpec> =
                there.into_iter().filter(|spec| drifted.iter().all(|(index, _)| *index != spec.index)).collect();
            drifted.extend(self.look_for_samples(&service.node, &there).await?);
            let clock = self.clock().await?;
            let witness::Remembered { positions, purged, kept } = self.read_positions(tables).await?;
            let parked = self.read_parked(tables).await?;
            let next_marks = tables.iter().map(|table| (table.index, self.stamp + 1)).collect();
            return Ok(Opened {
                service,
                clock,
                shared_marks: true,
                positions,
                purged,
                kept,
                next_marks,
                parked,
                drifted,
            });
        }
        Err(Error::new(ErrorKind::Retry, "other engines kept reading the histories of this node at the same time"))
    }

    /// Keeps captured tables in their places until the snapshot is closed. In one that took the place of another meanwhile the snapshot
    /// may not show the rows that were copied there since, and every change of these would be read as a delete. One that is gone, or cannot
    /// be read, is told of as what it has become.
    async fn hold_captured(&mut self, tables: &[TableSpec]) -> Result<()> {
        let looks = holding(tables);
        if looks.is_empty() {
            return Ok(());
        }
        let ends_it = |error: &Error| error.is_lock() || matches!(error.kind, ErrorKind::Lost | ErrorKind::Retry);
        match self.main()?.run(&looks.join("; ")).await {
            Err(error) if !ends_it(&error) => {}
            done => return done,
        }
        // Those behind it were not come to.
        for look in &looks {
            match self.main()?.run(look).await {
                Err(error) if ends_it(&error) => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// The same where nothing of Concord's need be installed.
    pub(super) async fn open_scan(&mut self, tables: &[TableSpec]) -> Result<()> {
        for _ in 1..ATTEMPTS {
            match self.try_scan(tables).await {
                Err(error) if error.kind == ErrorKind::Retry => self.close().await,
                done => return done,
            }
        }
        self.try_scan(tables).await
    }

    async fn try_scan(&mut self, tables: &[TableSpec]) -> Result<()> {
        self.begin(Phase::Reading, SNAPSHOT).await?;
        // A table that was emptied by TRUNCATE since the snapshot fails here; from here on that waits.
        for table in tables {
            self.main()?.fetch(&format!("SELECT 1 FROM {} LIMIT 1", sql::table(table)), Args::new()).await?;
        }
        self.note_identities(tables).await
    }

    /// The clock by which entries are timed, µs UTC. How far the server's own is from it is noted.
    pub(super) async fn clock(&mut self) -> Result<i64> {
        let both = format!("SELECT UUID(), {}", capture::OWN_CLOCK);
        let rows = self.main()?.fetch(&both, Args::new()).await?;
        let uuid = rows.first().map_or(Ok(String::new()), |row| string(row, 0))?;
        let untold = || Error::new(ErrorKind::Other, "the server draws UUIDs that tell no time");
        let clock = capture::micros(&uuid).ok_or_else(untold)?;
        let own = rows.first().and_then(|row| super::wire::number(row, 1));
        self.strays = own.map_or(0, |own| clock - own);
        Ok(clock)
    }

    /// How tables differ from what the last install left, by table index.
    pub(super) fn compare(&self, tables: &[TableSpec], now: &[Fingerprint]) -> Vec<(usize, Drift)> {
        let mut drifted = Vec::new();
        for (table, now) in tables.iter().zip(now) {
            match self.fingerprints.get(&table.name) {
                None => drifted.push((table.index, Drift::harmless("it is not installed here"))),
                Some(left) => {
                    drifted.extend(Fingerprint::read(left).drift(now).map(|drift| (table.index, drift)));
                }
            }
        }
        drifted
    }

    /// Which entries with a mark the snapshot shows beyond a cut, up to the mark `through`, as conditions of which no two hold
    /// of the same one.
    fn beyond(&self, after: &Cut, through: i64) -> Vec<sql::Bound> {
        let mut conditions = sql::beyond(after);
        for (condition, marks) in &mut conditions {
            *condition += " AND h.mark <= ?";
            marks.push(through);
        }
        conditions
    }

    /// The same of what it shows without a mark, which has the last.
    fn beyond_unmarked(&self, table: &str, after: &Cut, through: i64) -> Vec<sql::Bound> {
        match self.stamp <= through && !after.contains_all(self.stamp) {
            true => self.shown_unmarked(table),
            false => Vec::new(),
        }
    }

    pub(super) async fn read_entries(
        &mut self,
        table: &TableSpec,
        after: &Cut,
        through: Option<i64>,
        limit: usize,
    ) -> Result<Entries> {
        let through = through.unwrap_or(i64::MAX);
        let whole = Cut::through(self.stamp);
        // One more than asked for tells whether there are more.
        let limited = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let columns = EntryColumns::of(table, self.stamp);
        let (what, history) = (&columns.select, sql::history(table));
        let (mut queries, mut args) = (Vec::new(), Args::new());
        for (condition, marks) in self.beyond(after, through) {
            queries.push(format!(
                "(SELECT {what} FROM {history} AS h WHERE {condition} AND {ALIVE} ORDER BY h.mark, h.id LIMIT {limited})"
            ));
            args.all(&marks);
        }
        let statement = match &queries[..] {
            [query] => query.clone(),
            queries => {
                format!("{} ORDER BY entry_mark, entry_id LIMIT {limited}", queries.join(" UNION ALL "))
            }
        };
        let mut statements = vec![(statement, args)];
        for (condition, ids) in self.beyond_unmarked(&table.name, after, through) {
            let mut args = Args::new();
            args.all(&ids);
            let query = format!(
                "SELECT {what} FROM {history} AS h WHERE {condition} AND {ALIVE} ORDER BY h.id LIMIT {limited}"
            );
            statements.push((query, args));
        }
        let names = self.names.clone();
        let (mut entries, mut more) = (Vec::new(), false);
        for (statement, args) in statements {
            if more {
                break;
            }
            self.main()?
                .stream(&statement, args, |row| {
                    more |= entries.len() == limit;
                    if !more {
                        entries.push(columns.read(&names, &row)?);
                    }
                    Ok(())
                })
                .await?;
        }
        Ok(Entries { entries, whole, more })
    }

    pub(super) async fn count_entries(&mut self, table: &str, after: &Cut, origin: Option<&str>) -> Result<u64> {
        let mine = if origin.is_some() { " AND h.origin = ?" } else { "" };
        let history = quote::ident(&sql::history_name(table));
        let (mut queries, mut args) = (Vec::new(), Args::new());
        let unmarked = self.beyond_unmarked(table, after, i64::MAX);
        for (condition, marks) in self.beyond(after, i64::MAX).into_iter().chain(unmarked) {
            queries.push(format!("(SELECT COUNT(*) FROM {history} AS h WHERE {condition}{mine} AND {ALIVE})"));
            args.all(&marks);
            origin.into_iter().for_each(|origin| {
                args.add(origin);
            });
        }
        let rows = self.main()?.fetch(&format!("SELECT {}", queries.join(" + ")), args).await?;
        Ok(rows.first().and_then(|row| number(row, 0)).unwrap_or(0).unsigned_abs())
    }

    pub(super) async fn read_entries_of(
        &mut self,
        table: &TableSpec,
        keys: &[&Key],
        each: &mut (dyn FnMut(Entry) + Send),
    ) -> Result<()> {
        let columns = EntryColumns::of(table, self.stamp);
        let wanted: HashSet<&Key> = keys.iter().copied().collect();
        let (names, history) = (self.names.clone(), sql::history(table));
        for (condition, args) in seeking(table, keys) {
            let statement =
                format!("SELECT {} FROM {history} AS h WHERE {condition}{ALIVE} ORDER BY h.id", columns.select);
            self.main()?
                .stream(&statement, args, |row| {
                    if wanted.contains(&columns.key(&row)?) {
                        each(columns.read(&names, &row)?);
                    }
                    Ok(())
                })
                .await?;
        }
        Ok(())
    }

    /// The rows of these keys; `hold` ends the statement, such as to lock them.
    pub(super) async fn read_rows(
        &mut self,
        table: &TableSpec,
        keys: &[&Key],
        hold: &str,
    ) -> Result<Vec<Option<std::result::Result<Row, String>>>> {
        let wires = sql::wires(table);
        let mut standing = std::collections::HashMap::new();
        let columns: Vec<String> =
            table.columns.iter().map(|column| sql::outgoing(column, &quote::of("t", &column.name))).collect();
        for part in keys.chunks(sql::KEYS) {
            let mut args = Args::new();
            let condition = sql::with_keys(&mut args, table, "t", part);
            let statement =
                format!("SELECT {} FROM {} AS t WHERE {condition}{hold}", columns.join(", "), sql::table(table));
            self.main()?
                .stream(&statement, args, |row| {
                    let key: std::result::Result<Key, String> =
                        table.key.iter().map(|&at| wires[at].read(&row, at)).collect();
                    let cells = wires.iter().zip(&table.columns).enumerate().map(|(at, (wire, column))| {
                        wire.read(&row, at).map_err(|why| format!("column {} {why}", column.name))
                    });
                    let cells: std::result::Result<Row, String> = cells.collect();
                    if let Ok(key) = key {
                        standing.insert(key, cells);
                    }
                    Ok(())
                })
                .await?;
        }
        Ok(keys.iter().map(|key| standing.get(*key).cloned()).collect())
    }

    pub(super) async fn delete_entries(
        &mut self,
        table: &TableSpec,
        through: &Cut,
        arrivals: bool,
        witnesses: &[(&str, EntryId)],
    ) -> Result<u64> {
        self.begin(Phase::Purging, "START TRANSACTION").await?;
        let gone = self.delete_passed(table, through, arrivals, witnesses).await?;
        if gone.is_some() {
            self.main()?.run("COMMIT").await?;
            self.phase = Phase::Idle;
        }
        Ok(gone.unwrap_or(0))
    }

    /// The same for several tables, without an end. Of users nobody asks for what it locks: they add entries, and it locks no place
    /// between any.
    pub(super) async fn begin_deleting(&mut self, purges: &[Purge]) -> Result<()> {
        self.begin(Phase::Purging, "START TRANSACTION").await?;
        for purge in purges {
            self.delete_passed(&purge.table, &purge.through, purge.arrivals, &purge.witnesses()).await?;
        }
        Ok(())
    }

    /// How many went; `None` if nothing was written.
    async fn delete_passed(
        &mut self,
        table: &TableSpec,
        through: &Cut,
        arrivals: bool,
        witnesses: &[(&str, EntryId)],
    ) -> Result<Option<u64>> {
        let (passed, bounds) = sql::passed(through);
        let args = || {
            let mut args = Args::new();
            args.all(&bounds);
            args
        };
        let mine = if arrivals { "" } else { " AND h.origin IS NULL" };
        let history = sql::history(table);
        let (whole, rest): (Vec<Kept>, Vec<Kept>) =
            self.claim_stretches(table).await?.into_iter().partition(|kept| through.contains_all(kept.mark));
        for kept in &rest {
            marks::write_mark(self.main()?, &history, kept.mark, kept.ids).await?;
        }
        let is_kept = !whole.is_empty() || !rest.is_empty();
        if is_kept {
            self.main()?.execute("DELETE FROM concord_marked WHERE name = ?", one(&table.name)).await?;
        }
        let some = format!("SELECT 1 FROM {history} AS h WHERE {passed}{mine} LIMIT 1");
        if whole.is_empty() && self.main()?.fetch(&some, args()).await?.is_empty() {
            return Ok(is_kept.then_some(0));
        }
        for kept in &whole {
            // What is remembered of them is looked for by mark.
            for (_, witness) in witnesses.iter().filter(|(_, witness)| witness.mark == kept.mark) {
                let (first, last) = kept.ids;
                if (first..=last).contains(&witness.id) {
                    marks::write_mark(self.main()?, &history, kept.mark, (witness.id, witness.id)).await?;
                }
            }
        }
        self.remember(table, through, witnesses).await?;
        self.note_purged(table, through).await?;
        let mut gone = 0;
        for kept in &whole {
            gone += marks::delete_stretch(self.main()?, &history, kept.ids, mine).await?;
            if !arrivals {
                marks::write_mark(self.main()?, &history, kept.mark, kept.ids).await?;
            }
        }
        // MySQL goes through a small history whole, and would come by entries of users that are not committed, and wait.
        let statement = format!("DELETE h FROM {history} AS h FORCE INDEX (by_mark) WHERE {passed}{mine}");
        gone += self.main()?.execute(&statement, args()).await?;
        Ok(Some(gone))
    }

    /// Notes up to where a history is purged. Whoever comes late takes nothing back of what another engine has purged.
    async fn note_purged(&mut self, table: &TableSpec, through: &Cut) -> Result<()> {
        let mut known = one(&table.name);
        known.add(through.to_string());
        // What stands is locked, whoever wrote it.
        let statement = format!(
            "INSERT INTO concord_purged (name, cut) VALUES {} ON DUPLICATE KEY UPDATE cut = cut",
            super::service::marks(2, 1)
        );
        self.main()?.execute(&statement, known).await?;
        let standing = "SELECT cut FROM concord_purged WHERE name = ? FOR UPDATE";
        let rows = self.main()?.fetch(standing, one(&table.name)).await?;
        let stands: Cut = match rows.first() {
            Some(row) => super::service::parse(&string(row, 0)?)?,
            None => Cut::START,
        };
        if !stands.includes(through) {
            let mut args = Args::new();
            args.add(stands.join(through).to_string()).add(table.name.as_str());
            self.main()?.execute("UPDATE concord_purged SET cut = ? WHERE name = ?", args).await?;
        }
        Ok(())
    }

    /// Changes when an entry was committed: then there is one without a mark, of which the others do not know.
    pub(super) async fn read_pulse(&mut self, tables: &[TableSpec]) -> Result<u64> {
        let mut pulse = 0u64;
        for table in tables {
            // More than these are read with the next cycle anyway.
            let history = sql::history(table);
            // What has a mark was read already, whether or not it holds it.
            let known = "SELECT 1 FROM concord_marked AS m WHERE m.name = ? AND h.id BETWEEN m.first AND m.last";
            let newest = sql::unmarked().map(|(condition, _)| {
                format!(
                    "(SELECT h.id FROM {history} AS h WHERE {condition} AND NOT EXISTS ({known}) ORDER BY h.id DESC LIMIT 100)"
                )
            });
            let statement = format!(
                "SELECT COALESCE(CAST(SUM(n.id) AS SIGNED), 0), COUNT(*), (SELECT COALESCE(MAX(id), 0) FROM {history}) \
                 FROM ({}) AS n",
                newest.join(" UNION ALL ")
            );
            let mut args = one(&table.name);
            args.add(table.name.as_str());
            let rows = self.main()?.fetch(&statement, args).await?;
            for row in &rows {
                for at in 0..3 {
                    let number = number(row, at).unwrap_or(0).cast_unsigned();
                    pulse = (pulse ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
                }
            }
        }
        Ok(pulse)
    }
}

/// Looks that keep captured tables in their places, in the order in which the server locks those that one statement names: whoever renames
/// several waits, or is waited for, and nothing ends in a deadlock.
fn holding(tables: &[TableSpec]) -> Vec<String> {
    let mut held: Vec<&TableSpec> = tables.iter().filter(|table| table.captured).collect();
    held.sort_unstable_by_key(|table| &table.local);
    // No cache of results answers in the table's place where the session is asked for, and no row is looked for: at the beginning of a
    // queue there may be very many that are deleted.
    held.into_iter().map(|table| format!("SELECT CONNECTION_ID() FROM {} WHERE FALSE", sql::table(table))).collect()
}

/// How the entries of these keys are found: what comes before the other conditions of each statement. A history has no index by
/// key, so each goes through all of it.
fn seeking(table: &TableSpec, keys: &[&Key]) -> Vec<(String, Args)> {
    // Of several columns the server compares each entry with one key after the other.
    let most = if table.key.len() == 1 { MOST_SOUGHT } else { sql::KEYS };
    if keys.len() > most {
        return vec![(String::new(), Args::new())];
    }
    let parts = keys.chunks(sql::KEYS).map(|part| {
        let mut args = Args::new();
        let condition = sql::of_keys(&mut args, table, part);
        (format!("{condition} AND "), args)
    });
    parts.collect()
}

/// The columns of a history in the order in which they are read.
struct EntryColumns<'a> {
    keys: Vec<(&'a Column, Wire)>,
    images: Vec<(&'a Column, Wire)>,
    select: String,
    /// The mark of what the snapshot shows without one.
    stamp: i64,
}

/// Where the key begins in a result.
const KEY: usize = 8;

impl<'a> EntryColumns<'a> {
    fn of(table: &'a TableSpec, stamp: i64) -> EntryColumns<'a> {
        let keys: Vec<_> = table.key_columns().map(|column| (column, Wire::of(column))).collect();
        let mut select = format!(
            "h.id AS entry_id, NULLIF(h.mark, {}) AS entry_mark, h.op, h.time, h.origin, h.number, h.dot, h.vector",
            sql::NO_MARK
        );
        for ((column, _), name) in keys.iter().zip(sql::history_keys(table)) {
            select += &format!(", {}", sql::outgoing(column, &format!("h.{name}")));
        }
        let images: Vec<_> = table.image_columns().map(|column| (column, Wire::of(column))).collect();
        if !images.is_empty() {
            select += ", h.before_, h.after_";
        }
        for (at, (column, _)) in images.iter().enumerate() {
            let (old, new) = sql::image_columns(at);
            for name in [old, new] {
                select += &format!(", {}", sql::outgoing(column, &format!("h.{name}")));
            }
        }
        EntryColumns { keys, images, select, stamp }
    }

    fn key(&self, row: &sqlx::mysql::MySqlRow) -> Result<Key> {
        self.keys.iter().enumerate().map(|(at, (column, wire))| cell(row, KEY + at, column, wire)).collect()
    }

    fn read(&self, names: &[String], row: &sqlx::mysql::MySqlRow) -> Result<Entry> {
        let key = self.key(row)?;
        // What a node made that is no longer in the sync is carried on as this node's own.
        let node = |name: String| names.iter().position(|known| *known == name).map(|at| NodeId(at as u16));
        let arrival = match text(row, 4).and_then(node) {
            None => None,
            Some(origin) => {
                let (number, mark) = (int(row, 5)?, int(row, 6)?);
                let vector = text(row, 7).and_then(|text| Vector::read(&text, names));
                let vector = vector.ok_or_else(|| damaged("its vector is malformed".to_owned()))?;
                Some(Arrival { dot: Dot { node: origin, number, mark }, vector })
            }
        };
        let op = Op::from_letter(&string(row, 2)?);
        Ok(Entry {
            id: int(row, 0)?,
            mark: number(row, 1).unwrap_or(self.stamp),
            op: op.ok_or_else(|| damaged("its operation is unknown".to_owned()))?,
            time: int(row, 3)?,
            key,
            arrival,
            images: self.read_images(row)?,
        })
    }

    fn read_images(&self, row: &sqlx::mysql::MySqlRow) -> Result<Option<Images>> {
        if self.images.is_empty() {
            return Ok(None);
        }
        let flags = KEY + self.keys.len();
        let (Some(before), Some(after)) = (number(row, flags), number(row, flags + 1)) else { return Ok(None) };
        let side = |offset: usize| -> Result<Row> {
            let cells = self.images.iter().enumerate();
            cells.map(|(at, (column, wire))| cell(row, flags + 2 + 2 * at + offset, column, wire)).collect()
        };
        Ok(Some(Images {
            before: if before == 1 { Some(side(0)?) } else { None },
            after: if after == 1 { Some(side(1)?) } else { None },
        }))
    }
}

fn cell(row: &sqlx::mysql::MySqlRow, at: usize, column: &Column, wire: &Wire) -> Result<Value> {
    wire.read(row, at).map_err(|why| damaged(format!("column {} {why}", column.name)))
}

fn damaged(why: String) -> Error {
    Error::new(ErrorKind::Service, format!("an entry of a history cannot be read: {why}; run `concord reset`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Type;

    #[test]
    fn tables_are_held_in_the_order_of_the_server() {
        let spec = |name: &str, captured| TableSpec { captured, ..TableSpec::bare(0, name, std::iter::empty()) };
        let tables = [spec("b", true), spec("a!", true), spec("compared", false), spec("a", true)];
        let look = |name: &str| format!("SELECT CONNECTION_ID() FROM `{name}` WHERE FALSE");
        assert_eq!(holding(&tables), ["a", "a!", "b"].map(look));
    }

    #[test]
    fn a_history_is_not_gone_through_for_each_of_many_keys() {
        let column = |at: usize| Column { nullable: false, ..Column::bare(at, &format!("c{at}"), Type::Int) };
        // Statements for so many keys of so many columns.
        let statements = |width: usize, count: usize| {
            let key = (0..width).collect();
            let columns = (0..width).map(column).collect();
            let table = TableSpec { columns, key, ..TableSpec::bare(0, "t", std::iter::empty()) };
            let keys: Vec<Key> = (0..count).map(|at| vec![Value::Int(at as i64); width].into()).collect();
            seeking(&table, &keys.iter().collect::<Vec<_>>()).iter().map(|(_, args)| args.count()).collect::<Vec<_>>()
        };
        assert_eq!(statements(1, sql::KEYS + 1), [sql::KEYS, 1]);
        assert_eq!((statements(1, MOST_SOUGHT).len(), statements(1, MOST_SOUGHT + 1)), (10, vec![0]));
        assert_eq!((statements(2, sql::KEYS), statements(2, sql::KEYS + 1)), (vec![2 * sql::KEYS], vec![0]));
    }
}
