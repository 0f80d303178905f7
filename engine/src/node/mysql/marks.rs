//! Marks: how entries get them.
//!
//! InnoDB tells nobody which transactions a snapshot sees, and numbers are given out long before they are committed. So an
//! entry gets its mark when it is read. The engine opens a snapshot; what it sees without a mark is given the next one in a
//! short transaction of its own, over a second session, by exact id. That transaction locks nothing but these entries,
//! which nobody else writes. Before, it locks the number of the last mark and compares it with what the snapshot saw: if
//! another engine has given out marks since, the snapshot is opened anew. So all entries with a mark up to the new one are
//! visible in the snapshot, and every other entry, whenever it commits, gets a later mark: the cut is "every mark below
//! `next`", and nothing is ever open.
//!
//! Where there are more than a cycle takes, they are given several marks, so that they can be carried in parts, and the
//! snapshot is opened anew. Else all get one, and mostly they are deleted at the end of the very cycle. So it is not written
//! into them: `concord_marked` says which ids have it, as stretches without a gap. A purge deletes by these, and writes the
//! mark into what is left. Whoever opens a snapshot and finds stretches writes it first, and opens another. So only the engine
//! that gave a mark ever meets entries that do not hold it, and it knows the stretches.

use std::collections::HashMap;

use super::connect::Line;
use super::wire::{Args, int, number, string, text};
use super::{MySql, connect, quote, sql};
use crate::fault;
use crate::model::{Cut, TableSpec};
use crate::node::{Error, ErrorKind, Result};

/// Stretches of ids in one statement.
const STRETCHES: usize = 500;

/// Ids without a gap between them, the first and the last.
type Stretch = (i64, i64);

/// Entries that are given marks in one transaction, of each table. Few where tests look at what comes of many; measurements are made
/// in release.
const AT_ONCE: usize = if cfg!(all(feature = "faults", debug_assertions)) { 4_000 } else { 200_000 };

/// Entries that share a mark, about. A cycle that does not take all there is divides between marks.
const BLOCK: usize = 1_000;

/// The times at which the next mark begins: where there are many entries, of whatever tables, those of one time go together,
/// as what one transaction wrote was mostly written at one time.
fn borders<'a>(entries: impl Iterator<Item = &'a (i64, i64)>) -> Vec<i64> {
    let mut times: Vec<i64> = entries.map(|(_, time)| *time).collect();
    times.sort_unstable();
    let mut borders: Vec<i64> = times.chunks(BLOCK).skip(1).map(|block| block[0]).collect();
    borders.dedup();
    borders
}

/// The entries of a table, in the order of their ids, by the marks they get. Marks rise with the ids, whatever the clock did.
fn marked(entries: &[(i64, i64)], first: i64, borders: &[i64]) -> Vec<(i64, Vec<Stretch>)> {
    let mut marked: Vec<(i64, Vec<Stretch>)> = Vec::new();
    for &(id, time) in entries {
        let mark = first + borders.partition_point(|border| *border <= time) as i64;
        let same = marked.last_mut().filter(|(last, _)| *last >= mark);
        match same {
            None => marked.push((mark, vec![(id, id)])),
            Some((_, stretches)) => match stretches.last_mut() {
                Some((_, end)) if *end + 1 == id => *end = id,
                _ => stretches.push((id, id)),
            },
        }
    }
    marked
}

/// Stretches that are kept instead of marks, in all. More are as many conditions in each statement that asks for entries.
const KEPT: usize = 20;

/// What came of giving marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Giving {
    /// All that the snapshot shows have one.
    Done,
    /// Another engine came first, or marks were written, which only another snapshot shows.
    Again,
    /// So many had none that there are more yet.
    Part,
}

/// Which entries have the last mark without holding it, by the shared name of each table that the snapshot is of.
pub type Given = HashMap<String, Vec<Stretch>>;

/// A stretch as it is kept.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    pub mark: i64,
    pub ids: Stretch,
}

/// The parts of stretches that lie before a cut, which have a mark in common.
fn before(stretches: &[Stretch], mark: i64, cut: &Cut) -> Vec<Stretch> {
    let inside = cut.inside().iter().find(|(divided, _)| *divided == mark).map(|(_, last)| *last);
    let end = match inside {
        _ if cut.contains_all(mark) => i64::MAX,
        Some(last) => last,
        None => return Vec::new(),
    };
    stretches.iter().filter(|(first, _)| *first <= end).map(|(first, last)| (*first, *last.min(&end))).collect()
}

/// The ids outside of stretches, which are in order, as conditions no two of which hold at once.
fn outside(stretches: &[Stretch]) -> Vec<sql::Bound> {
    let Some((first, _)) = stretches.first() else { return vec![(String::new(), Vec::new())] };
    let mut parts = vec![(" AND h.id < ?".to_owned(), vec![*first])];
    for pair in stretches.windows(2) {
        parts.push((" AND h.id > ? AND h.id < ?".to_owned(), vec![pair[0].1, pair[1].0]));
    }
    parts.extend(stretches.last().map(|(_, last)| (" AND h.id > ?".to_owned(), vec![*last])));
    parts
}

/// Writes a mark into what holds none of a stretch. Goes by the ids: by the other index it would come by entries of users that
/// are not committed, and wait.
pub async fn write_mark(line: &mut Line, history: &str, mark: i64, (first, last): Stretch) -> Result<()> {
    let mut args = Args::new();
    args.add(mark).add(first).add(last);
    let statement = format!(
        "UPDATE {history} AS h FORCE INDEX (PRIMARY) SET h.mark = ? WHERE {} AND h.id BETWEEN ? AND ?",
        sql::is_unmarked()
    );
    line.execute(&statement, args).await.map(drop)
}

/// Deletes the entries of a stretch of which a condition holds; how many.
pub async fn delete_stretch(line: &mut Line, history: &str, (first, last): Stretch, condition: &str) -> Result<u64> {
    // The server also locks what comes after a range, which may be an entry that is not committed.
    let mut gone = 0;
    for (first, last) in [(first, last - 1), (last, last)].into_iter().filter(|(first, last)| first <= last) {
        let mut args = Args::new();
        args.add(first);
        let range = match first == last {
            true => "h.id = ?",
            false => {
                args.add(last);
                "h.id BETWEEN ? AND ?"
            }
        };
        // A small history would be gone through whole.
        let statement = format!("DELETE h FROM {history} AS h FORCE INDEX (PRIMARY) WHERE {range}{condition}");
        gone += line.execute(&statement, args).await?;
    }
    Ok(gone)
}

impl MySql {
    /// Gives the entries that the snapshot shows without a mark the next one, or several if there are many. If another engine left
    /// marks to be written, these come first.
    pub(super) async fn give_marks(&mut self, tables: &[&TableSpec]) -> Result<Giving> {
        let statement = format!("SELECT last, {} FROM concord_mark", connect::READ_ONLY);
        let rows = self.main()?.fetch(&statement, Args::new()).await?;
        let row = rows
            .first()
            .ok_or_else(|| Error::new(ErrorKind::Service, "concord_mark is empty; run `concord install`"))?;
        connect::refuse_read_only(text(row, 1).as_deref())?;
        let last = int(row, 0)?;
        self.stamp = last;
        if !self.main()?.fetch("SELECT 1 FROM concord_marked LIMIT 1", Args::new()).await?.is_empty() {
            self.settle_marks().await?;
            return Ok(Giving::Again);
        }
        let mut given = Given::new();
        let mut all = 0;
        for table in tables {
            let (count, stretches) = self.find_unmarked(table).await?;
            all += count;
            given.insert(table.name.clone(), stretches);
        }
        if all == 0 {
            self.given = Some(given);
            return Ok(Giving::Done);
        }
        // By the clock, so that a database that was put back does not give out again what it gave out before.
        let first = self.clock().await?.max(last + 1);
        if all > self.lot.max(BLOCK) as u64 {
            return self.give_several(tables, first, last).await;
        }
        for table in tables {
            if let Some(stretches) = given.get_mut(&table.name).filter(|stretches| stretches.len() > 1) {
                *stretches = self.read_stretches(table).await?;
            }
        }
        if given.values().map(Vec::len).sum::<usize>() > KEPT {
            return self.give_several(tables, first, last).await;
        }
        fault::point("mark-entries").await?;
        let done = self.keep_stretches(&given, last, first).await;
        if done.is_err() {
            self.side = None;
        }
        if !done? {
            return Ok(Giving::Again);
        }
        (self.stamp, self.given) = (first, Some(given));
        Ok(Giving::Done)
    }

    /// How many entries the snapshot shows without a mark, and the first and the last: as one stretch if there is no gap.
    async fn find_unmarked(&mut self, table: &TableSpec) -> Result<(u64, Vec<Stretch>)> {
        let (mut count, mut ids) = (0, None::<Stretch>);
        for (condition, _) in sql::unmarked() {
            let statement = format!(
                "SELECT COUNT(*), COALESCE(MIN(h.id), 0), COALESCE(MAX(h.id), 0) FROM {} AS h WHERE {condition}",
                sql::history(table)
            );
            for row in self.main()?.fetch(&statement, Args::new()).await? {
                let (found, first, last) = (int(&row, 0)?, int(&row, 1)?, int(&row, 2)?);
                if found > 0 {
                    count += found.unsigned_abs();
                    let (least, most) = ids.unwrap_or((first, last));
                    ids = Some((least.min(first), most.max(last)));
                }
            }
        }
        Ok(match ids {
            None => (0, Vec::new()),
            Some((first, last)) if last.abs_diff(first) + 1 == count => (count, vec![(first, last)]),
            Some((first, last)) => (count, vec![(first, first), (last, last)]),
        })
    }

    /// What the snapshot shows without a mark, in the order of the ids.
    async fn read_stretches(&mut self, table: &TableSpec) -> Result<Vec<Stretch>> {
        let mut ids = Vec::new();
        for (condition, _) in sql::unmarked() {
            let statement = format!("SELECT h.id FROM {} AS h WHERE {condition} ORDER BY h.id", sql::history(table));
            self.main()?
                .stream(&statement, Args::new(), |row| {
                    ids.push((int(&row, 0)?, 0));
                    Ok(())
                })
                .await?;
        }
        ids.sort_unstable();
        let (_, stretches) = marked(&ids, 0, &[]).pop().unwrap_or_default();
        Ok(stretches)
    }

    /// Gives marks by writing them into the entries, as [`MySql::give_marks`] does.
    async fn give_several(&mut self, tables: &[&TableSpec], first: i64, last: i64) -> Result<Giving> {
        self.given = None;
        let mut unmarked: Vec<(&TableSpec, Vec<(i64, i64)>)> = Vec::new();
        for table in tables {
            let mut entries = Vec::new();
            for (condition, _) in sql::unmarked() {
                let statement = format!(
                    "SELECT h.id, h.time FROM {} AS h WHERE {condition} ORDER BY h.id LIMIT {AT_ONCE}",
                    sql::history(table)
                );
                self.main()?
                    .stream(&statement, Args::new(), |row| {
                        entries.push((int(&row, 0)?, int(&row, 1)?));
                        Ok(())
                    })
                    .await?;
            }
            entries.sort_unstable();
            if !entries.is_empty() {
                unmarked.push((table, entries));
            }
        }
        let borders = borders(unmarked.iter().flat_map(|(_, entries)| entries));
        fault::point("mark-entries").await?;
        let mark = first + borders.len() as i64;
        let done = self.write_marks(&unmarked, first, &borders, last, mark).await;
        if done.is_err() {
            // What has been marked so far must not be kept by what that session begins next.
            self.side = None;
        }
        if !done? {
            return Ok(Giving::Again);
        }
        self.stamp = mark;
        let is_all = unmarked.iter().all(|(_, entries)| entries.len() < AT_ONCE);
        Ok(match is_all {
            true if borders.is_empty() => Giving::Done,
            true => Giving::Again,
            false => Giving::Part,
        })
    }

    /// Gives the mark to stretches of ids without writing it into the entries; whether the last mark was still the one that the
    /// snapshot saw.
    async fn keep_stretches(&mut self, given: &Given, last: i64, mark: i64) -> Result<bool> {
        let side = self.side().await?;
        if !begin(side, last).await? {
            return take_back(side).await;
        }
        for (name, stretches) in given.iter().filter(|(_, stretches)| !stretches.is_empty()) {
            let (mut rows, mut ends) = (Args::new(), Args::new());
            for (first, last) in stretches {
                rows.add(name.as_str()).add(*first).add(*last).add(mark);
                ends.add(*first).add(*last);
            }
            let history = quote::ident(&sql::history_name(name));
            let list = vec!["?"; 2 * stretches.len()].join(", ");
            let there = format!("SELECT COUNT(*) FROM {history} AS h WHERE h.id IN ({list})");
            let there = side.fetch(&there, ends).await?;
            let ends: usize = stretches.iter().map(|(first, last)| if first == last { 1 } else { 2 }).sum();
            // Else somebody has emptied the history.
            if there.first().and_then(|row| number(row, 0)) != i64::try_from(ends).ok() {
                return take_back(side).await;
            }
            let statement = format!(
                "INSERT INTO concord_marked (name, first, last, mark) VALUES {}",
                vec!["(?, ?, ?, ?)"; stretches.len()].join(", ")
            );
            side.execute(&statement, rows).await?;
        }
        finish(side, mark).await
    }

    /// Writes the marks of all stretches into the entries.
    async fn settle_marks(&mut self) -> Result<()> {
        let side = self.side().await?;
        let done = async {
            side.run("START TRANSACTION").await?;
            claim_last(side).await?;
            for row in side.fetch("SELECT name, mark, first, last FROM concord_marked", Args::new()).await? {
                let name = sql::history_name(&string(&row, 0)?);
                let history = quote::ident(&name);
                match write_mark(side, &history, int(&row, 1)?, (int(&row, 2)?, int(&row, 3)?)).await {
                    // Somebody has dropped it.
                    Err(error) if error.kind == ErrorKind::Drift => {}
                    done => done.map_err(|error| error.held_at(&name))?,
                }
            }
            side.run("DELETE FROM concord_marked; COMMIT").await
        };
        let done = done.await;
        if done.is_err() {
            self.side = None;
        }
        done
    }

    /// The stretches that are kept of a table, so that nobody else writes their marks before the end of the transaction.
    pub(super) async fn claim_stretches(&mut self, table: &TableSpec) -> Result<Vec<Kept>> {
        let kept = self.read_kept(table).await?;
        if kept.is_empty() {
            return Ok(kept);
        }
        claim_last(self.main()?).await?;
        self.read_kept(table).await
    }

    async fn read_kept(&mut self, table: &TableSpec) -> Result<Vec<Kept>> {
        let statement = "SELECT mark, first, last FROM concord_marked WHERE name = ? ORDER BY first";
        let rows = self.main()?.fetch(statement, super::schema::one(&table.name)).await?;
        rows.iter().map(|row| Ok(Kept { mark: int(row, 0)?, ids: (int(row, 1)?, int(row, 2)?) })).collect()
    }

    /// What the snapshot shows without a mark, as conditions no two of which hold at once, in the order of the ids if the
    /// snapshot knows.
    pub(super) fn shown_unmarked(&self, table: &str) -> Vec<sql::Bound> {
        match self.given.as_ref().and_then(|given| given.get(table)) {
            None => sql::unmarked().into(),
            Some(stretches) => {
                stretches.iter().map(|(first, last)| ("h.id BETWEEN ? AND ?".to_owned(), vec![*first, *last])).collect()
            }
        }
    }

    /// What holds no mark and was not given one that lies before a cut, as conditions no two of which hold at once.
    pub(super) fn unmarked_beyond(&self, table: &TableSpec, cut: &Cut) -> Vec<sql::Bound> {
        let given = self.given.as_ref().and_then(|given| given.get(&table.name));
        let known = given.map_or(Vec::new(), |stretches| before(stretches, self.stamp, cut));
        let mut conditions = Vec::new();
        for (unmarked, _) in sql::unmarked() {
            for (part, ids) in outside(&known) {
                conditions.push((format!("{unmarked}{part}"), ids));
            }
        }
        conditions
    }

    /// Whether the last mark was still the one that the snapshot saw, so that the entries have their marks now.
    async fn write_marks(
        &mut self,
        unmarked: &[(&TableSpec, Vec<(i64, i64)>)],
        first: i64,
        borders: &[i64],
        last: i64,
        mark: i64,
    ) -> Result<bool> {
        let side = self.side().await?;
        if !begin(side, last).await? {
            return take_back(side).await;
        }
        for (table, entries) in unmarked {
            let mut found = 0;
            for (mark, stretches) in marked(entries, first, borders) {
                for part in stretches.chunks(STRETCHES) {
                    let mut args = Args::new();
                    args.add(mark);
                    for (first, last) in part {
                        args.add(*first).add(*last);
                    }
                    let either = vec!["h.id BETWEEN ? AND ?"; part.len()].join(" OR ");
                    // By the other index it would come by entries of users that are not committed, and wait.
                    let statement = format!(
                        "UPDATE {} AS h FORCE INDEX (PRIMARY) SET h.mark = ? WHERE {} AND ({either})",
                        sql::history(table),
                        sql::is_unmarked()
                    );
                    found += side.execute(&statement, args).await?;
                }
            }
            // Somebody has emptied the history.
            if found != entries.len() as u64 {
                return take_back(side).await;
            }
        }
        finish(side, mark).await
    }
}

/// Begins the transaction that gives marks; whether the last mark is still this one.
async fn begin(side: &mut Line, last: i64) -> Result<bool> {
    side.run("START TRANSACTION").await?;
    Ok(claim_last(side).await? == Some(last))
}

/// The last mark, which nobody else goes beyond before the end of the transaction.
pub(super) async fn claim_last(line: &mut Line) -> Result<Option<i64>> {
    let standing = line.fetch("SELECT last FROM concord_mark FOR UPDATE", Args::new()).await;
    let standing = standing.map_err(|error| held_by_whom(error, "concord_mark"))?;
    Ok(standing.first().and_then(|row| number(row, 0)))
}

/// Who may hold what no user writes.
const WHO: &str = "that is another engine, which lets go of it by itself, a commit of Concord's own that still waits at the server, or \
                   whoever locks whole tables, such as a backup";

/// The same error, told with who may hold this table of Concord's own if it is about a lock.
pub(super) fn held_by_whom(error: Error, table: &str) -> Error {
    if !error.is_lock() {
        return error;
    }
    error.held_at(table).with(WHO)
}

/// Gives no marks.
async fn take_back(side: &mut Line) -> Result<bool> {
    side.run("ROLLBACK").await?;
    Ok(false)
}

/// Gives the marks, of which this is the last.
async fn finish(side: &mut Line, mark: i64) -> Result<bool> {
    let mut args = Args::new();
    args.add(mark);
    side.execute("UPDATE concord_mark SET last = ?", args).await?;
    side.run("COMMIT").await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_rise_with_the_ids_and_part_at_times() {
        let entries: Vec<(i64, i64)> = (0..2_500).map(|n| (10 + n + i64::from(n >= 100), n / 10)).collect();
        let borders = borders(entries.iter());
        assert_eq!(borders, [100, 200]);
        let marked = marked(&entries, 7, &borders);
        let shape: Vec<_> = marked.iter().map(|(mark, stretches)| (*mark, stretches.clone())).collect();
        assert_eq!(shape, [(7, vec![(10, 109), (111, 1_010)]), (8, vec![(1_011, 2_010)]), (9, vec![(2_011, 2_510)])]);
        // A clock that was put back.
        let back = [(1, 500), (2, 50), (3, 150)];
        assert_eq!(super::marked(&back, 7, &[100, 200]), [(9, vec![(1, 3)])]);
        assert!(super::borders([(1, 5); 3_000].iter()).len() <= 1);
    }

    #[test]
    fn who_may_hold_the_last_mark_is_told() {
        let told = held_by_whom(Error::new(ErrorKind::Locked, crate::node::HELD), "concord_mark").to_string();
        assert!(told.starts_with("concord_mark: locked by somebody else") && told.ends_with(WHO), "{told}");
        assert!(told.contains("a commit of Concord's own"), "{told}");
        assert!(!held_by_whom(Error::new(ErrorKind::Lost, "away"), "concord_mark").to_string().contains(WHO));
    }

    #[test]
    fn stretches_are_parted_by_a_cut() {
        let stretches = [(3, 5), (8, 8), (10, 20)];
        assert_eq!(before(&stretches, 7, &Cut::through(7)), stretches);
        assert_eq!(before(&stretches, 7, &Cut::through(6)), []);
        assert_eq!(before(&stretches, 7, &Cut::through(6).extend_inside(7, 12)), [(3, 5), (8, 8), (10, 12)]);
        assert_eq!(before(&stretches, 7, &Cut::through(6).extend_inside(7, 8)), [(3, 5), (8, 8)]);
        let parts: Vec<_> = outside(&stretches).into_iter().map(|(_, ids)| ids).collect();
        assert_eq!(parts, [vec![3], vec![5, 8], vec![8, 10], vec![20]]);
        assert_eq!(outside(&[]), [(String::new(), vec![])]);
    }
}
