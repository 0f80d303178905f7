//! Installing and removing what records changes.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::capture::{self, Capture};
use super::drift::{self, Shape};
use super::failure::{Told, damaged};
use super::schema::{self, Table};
use super::service::{self, Installed};
use super::{calls, history, quote, read_mode};
use crate::fault;
use crate::model::{Column, Cut, TableSpec, time};
use crate::node::{Error, ErrorKind, GIVEN_UP, NEWEST, Result, Sync, found};

/// The table that records which rows of a synced table changed.
pub(super) fn history_name(table: &str) -> String {
    format!("history_store_{table}")
}

/// The table in which triggers note rows that REPLACE may be about to remove, see [`capture`].
pub(super) fn guard_name(table: &str) -> String {
    format!("history_guard_{table}")
}

/// Whether a trigger of this name and text is Concord's.
pub(super) fn is_ours(trigger: &str, sql: &str) -> bool {
    trigger.starts_with("concord_") && sql.contains(capture::HEARD)
}

/// Whether the table, in small letters, is one that Concord makes.
pub(super) fn is_service_table(lower: &str) -> bool {
    lower.starts_with("history_store_")
        || lower.starts_with("history_guard_")
        || service::TABLES.iter().any(|(name, _)| *name == lower)
}

/// Creates or repairs everything, in one transaction; then switches the file to write-ahead logging.
pub(super) fn install(db: &Connection, sync: &Sync, specs: &[TableSpec]) -> Result<Vec<String>> {
    refuse_collisions(specs)?;
    db.execute_batch("BEGIN IMMEDIATE").told(|| "installing")?;
    let lines = install_all(db, sync, specs).and_then(|mut lines| {
        fault::blocking_point("install-commit")?;
        db.execute_batch("COMMIT").told(|| "installing")?;
        switch_to_wal(db, &mut lines)?;
        Ok(lines)
    });
    if !db.is_autocommit() {
        db.execute_batch("ROLLBACK").told(|| "taking an install back")?;
    }
    lines
}

fn refuse_collisions(specs: &[TableSpec]) -> Result<()> {
    let mut names: HashMap<String, &str> = HashMap::new();
    for spec in specs {
        if let Some(other) = names.insert(spec.name.to_ascii_lowercase(), &spec.name) {
            return Err(Error::new(
                ErrorKind::Other,
                format!("the tables `{other}` and `{}` would share one history table; rename one of them", spec.name),
            ));
        }
    }
    Ok(())
}

fn install_all(db: &Connection, sync: &Sync, specs: &[TableSpec]) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let known = service::read(db)?;
    let extended = service::create(db, sync, read_mode(db)?.as_str())?;
    match known {
        None => lines.push("created the service tables".to_owned()),
        Some(known) if known.nodes != sync.nodes => {
            lines.push(format!("this is `{}` of the nodes {}", sync.node, sync.nodes.join(", ")));
        }
        Some(_) if extended => lines.push("extended the service tables of an earlier Concord".to_owned()),
        Some(_) => {}
    }
    let before = service::installed(db)?;
    for gone in before.iter().filter(|(name, _)| !specs.iter().any(|spec| spec.name == **name)) {
        let (name, installed) = gone;
        remove(db, name, installed)?;
        lines.push(format!("removed triggers and history of `{name}`, which is no longer synced"));
    }
    for spec in specs {
        install_table(db, spec, before.get(&spec.name), &mut lines)
            .map_err(|error| error.while_doing(format!("installing `{}`", spec.local)))?;
    }
    drift::make_last(db, &specs.iter().map(|spec| &spec.name[..]).collect::<Vec<_>>())?;
    Ok(lines)
}

fn install_table(db: &Connection, spec: &TableSpec, before: Option<&Installed>, lines: &mut Vec<String>) -> Result<()> {
    let doing = || "reading the catalogue";
    let Some(table) = Table::read(db, &spec.local).told(doing)? else {
        return Err(Error::new(ErrorKind::Drift, "the table does not exist"));
    };
    let capture = capture::capture(spec, &table);
    let was = before.map(|before| Shape::parse(&before.fingerprint)).transpose()?;
    let standing = drift::shape(db, spec, &table)?;
    let drift = was.as_ref().and_then(|was| was.drift(&standing));
    let said = lines.len();
    install_history(db, spec, &table, &capture, was.as_ref(), lines)?;
    install_triggers(db, spec, &table, &capture, was.as_ref(), lines)?;
    let shape = drift::shape(db, spec, &table)?;
    let difference = was.as_ref().and_then(|was| was.difference(&shape));
    if let Some(difference) = difference.filter(|_| lines.len() == said) {
        lines.push(format!("took note of the new shape of `{}`: {difference}", spec.local));
    }
    if before.is_some_and(|before| before.shape != spec.shape) {
        lines.push(format!("took note of the new shared shape of `{}`", spec.name));
    }
    if spec.captured && drift.is_some_and(|drift| drift.unrecorded) {
        let changes = give_up_vanished(db, spec)?;
        if changes > 0 {
            lines.push(format!("`{}`: {}", spec.name, found::given_up(changes, &spec.name)));
        }
    }
    service::set_installed(db, spec, &shape.noted())
}

/// Makes the history and guard tables unless they are there and right.
fn install_history(
    db: &Connection,
    spec: &TableSpec,
    table: &Table,
    capture: &Capture,
    was: Option<&Shape>,
    lines: &mut Vec<String>,
) -> Result<()> {
    let (history, guard) = (history_name(&spec.name), guard_name(&spec.name));
    let doing = || format!("making `{history}`");
    for table in [&history, &guard].into_iter().filter(|_| was.is_none()) {
        if text_of(db, "table", table)?.is_some() {
            return Err(Error::new(
                ErrorKind::Service,
                format!(
                    "a table `{table}` is there that Concord did not make, as far as its service tables tell; rename it, \
                     or drop it if it was left by an install whose service tables are gone"
                ),
            ));
        }
    }
    let standing = text_of(db, "table", &history)?;
    if standing.as_deref() != Some(&capture.history) {
        // Numbers go on where the old table ended: other nodes remember them.
        let last = match (&standing, was) {
            (Some(_), _) => last_id(db, &history)?,
            (None, Some(_)) => beyond_all(db, &spec.name)?,
            (None, None) => 0,
        };
        let whole = match was {
            Some(was) => was.has_its_history(db, &history)?,
            None => false,
        };
        let renamed = whole && was.is_some_and(|was| was.records_the_same(&capture.columns, table));
        if whole && !renamed && spec.captured {
            let left = history::pending(db, &spec.name, &Cut::START, None)?;
            if left > 0 {
                return Err(Error::holds_changes(spec, left));
            }
        }
        if renamed {
            rename_columns(db, &history, &capture.history)?;
        } else {
            drop_table(db, &history)?;
            db.execute_batch(&capture.history).told(doing)?;
            if last > 0 {
                keep_number(db, &spec.name, last)?;
            }
        }
        lines.push(match standing {
            None => format!("created `{history}`"),
            Some(_) if renamed => {
                format!("gave the columns of `{history}` the names that those of `{}` have", spec.local)
            }
            Some(_) => format!("replaced `{history}`, as the key or the images of `{}` are others now", spec.local),
        });
    }
    let standing = text_of(db, "table", &guard)?;
    if standing.as_ref() != capture.guard.first() || !indexes_match(db, &guard, &capture.guard)? {
        drop_table(db, &guard)?;
        for sql in &capture.guard {
            db.execute_batch(sql).told(|| format!("making `{guard}`"))?;
        }
    }
    Ok(())
}

/// Gives up the changes of rows that are gone although nobody deleted them, which would delete the rows elsewhere; how many of users
/// there were. What Concord did to these rows goes with them. A row that Concord took away has no change later than that; one that
/// others only told of has none of a user, and may have none here where not all rows are to be here.
///
/// Where such a row had another key before, the delete of that one goes too, as there would be neither elsewhere. Then that key may have
/// changes of a row that is gone, and so on.
fn give_up_vanished(db: &Connection, spec: &TableSpec) -> Result<u64> {
    let doing = || format!("looking for changes of rows of `{}` that are gone", spec.name);
    let history = quote::name(&history_name(&spec.name));
    let recorded = |column: &Column| quote::name(&format!("key_{}", column.name));
    let keys = spec.key_columns().map(recorded).collect::<Vec<_>>().join(", ");
    let same = spec.key_columns().map(|column| {
        let is = if column.nullable { "IS" } else { "=" };
        // The first term is for the index, the other makes it exact.
        let is = format!("t.{} {is} +l.{}", quote::name(&column.name), recorded(column));
        format!("{is} AND {is} COLLATE BINARY")
    });
    // Of changes that are counted one by one others' are entered also while the row itself waits.
    let others = spec.takes_all && (spec.images.is_empty() || !service::any_waits(db, spec)?);
    let whose = if others { "" } else { "origin IS NULL AND " };
    // An update alone brings no row back. The two entries of a row that gets another key have one time.
    let mut statement = db
        .prepare(&format!(
            "SELECT id, origin IS NULL, former FROM
                (SELECT id, origin, {keys}, max(CASE WHEN {whose}op IN ('I', 'U') THEN id END) OVER w AS made,
                    CASE WHEN op = 'I' AND origin IS NULL AND lag(op) OVER x = 'D' AND lag(origin) OVER x IS NULL
                        AND lag(time) OVER x = time THEN lag(id) OVER x END AS former,
                    max(CASE WHEN op = 'D' THEN id END) OVER w AS gone,
                    max(CASE WHEN op = 'I' OR (op = 'U' AND origin IS NOT NULL) THEN id END) OVER w AS back
                 FROM {history} WHERE op NOT IN ('-', 'X') WINDOW w AS (PARTITION BY {keys}), x AS (ORDER BY id)) AS l
             WHERE made > coalesce(gone, 0) AND (gone IS NULL OR back > gone)
                AND NOT EXISTS (SELECT 1 FROM {} AS t WHERE {})",
            quote::table(&spec.local),
            same.collect::<Vec<_>>().join(" AND ")
        ))
        .told(doing)?;
    let mut give_up = db.prepare(&format!("UPDATE {history} SET op = ?1 WHERE id = ?2 AND op <> ?1")).told(doing)?;
    let mut given = 0;
    loop {
        let vanished = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .and_then(|rows| rows.collect::<rusqlite::Result<Vec<(i64, bool, Option<i64>)>>>())
            .told(doing)?;
        if vanished.is_empty() {
            return Ok(given);
        }
        db.execute("UPDATE concord_node SET version = max(version, ?1)", [NEWEST]).told(doing)?;
        for (id, is_own, former) in vanished {
            let gone = give_up.execute(params![GIVEN_UP, id]).told(doing)?;
            given += if is_own { gone as u64 } else { 0 };
            if let Some(former) = former {
                given += give_up.execute(params![GIVEN_UP, former]).told(doing)? as u64;
            }
        }
    }
}

/// Makes a history anew with other names of its columns and the same entries. (SQLite could rename columns, and would read all
/// triggers and views of the file for it, of which any may be one that it cannot read.)
fn rename_columns(db: &Connection, history: &str, create: &str) -> Result<()> {
    let name = quote::name(history);
    db.execute_batch(&format!(
        "CREATE TEMP TABLE concord_renamed AS SELECT * FROM main.{name}; DROP TABLE main.{name}; {create};
         INSERT INTO main.{name} SELECT * FROM temp.concord_renamed; DROP TABLE temp.concord_renamed"
    ))
    .told(|| format!("renaming columns of `{history}`"))
}

fn indexes_match(db: &Connection, guard: &str, wanted: &[String]) -> Result<bool> {
    let standing = db
        .prepare("SELECT sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = ?1 ORDER BY rowid")
        .and_then(|mut statement| {
            statement.query_map([guard], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()
        })
        .told(|| "reading the catalogue")?;
    Ok(standing.iter().eq(wanted.iter().skip(1)))
}

/// Makes the triggers unless they are there, right, and made after those of users.
fn install_triggers(
    db: &Connection,
    spec: &TableSpec,
    table: &Table,
    capture: &Capture,
    was: Option<&Shape>,
    lines: &mut Vec<String>,
) -> Result<()> {
    let doing = || format!("making the triggers of `{}`", spec.local);
    let standing = drift::our_triggers(db, &spec.name)?;
    let user_last = schema::user_triggers(db, &table.name).told(doing)?.iter().map(|(.., place)| *place).max();
    let right = standing.len() == capture.triggers.len()
        && capture.triggers.iter().all(|(name, sql)| {
            standing.get(name).is_some_and(|ours| {
                ours.sql == *sql && ours.table == table.name && user_last.is_none_or(|user| user < ours.place)
            })
        });
    if right {
        return Ok(());
    }
    for name in standing.keys() {
        db.execute_batch(&format!("DROP TRIGGER {}", quote::name(name))).told(doing)?;
    }
    for (_, sql) in &capture.triggers {
        db.execute_batch(sql).told(doing)?;
    }
    // SQLite compiles a trigger only when it is used.
    if let Some(first) = table.columns.iter().find(|field| !field.generated) {
        let (target, column) = (quote::name(&table.name), quote::name(&first.name));
        for sql in [
            format!("INSERT INTO {target}({column}) VALUES (?1)"),
            format!("UPDATE {target} SET {column} = ?1 WHERE {column} = ?1"),
            format!("DELETE FROM {target} WHERE {column} = ?1"),
        ] {
            db.prepare(&sql).map(drop).told(|| format!("trying the triggers of `{}`", spec.local))?;
        }
    }
    lines.push(match (was, standing.is_empty(), capture.triggers.is_empty()) {
        (.., true) => format!("removed the triggers of `{}`, whose changes go nowhere", spec.local),
        (Some(_), ..) => format!("made the triggers of `{}` anew", spec.local),
        (None, ..) => format!("created the triggers of `{}`", spec.local),
    });
    Ok(())
}

/// Writes are seen at once but read without a lock only in this mode.
fn switch_to_wal(db: &Connection, lines: &mut Vec<String>) -> Result<()> {
    let mode = read_mode(db)?;
    if mode == "wal" {
        return Ok(());
    }
    let doing = || {
        "switching the file to write-ahead logging (everything else is installed; end the programs that have the file \
         open and run `concord install` again)"
    };
    let now: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).told(doing)?;
    if now != "wal" {
        let refused = format!("the file stays in mode `{now}`; it must lie on a local disk");
        return Err(Error::new(ErrorKind::Other, refused).while_doing(doing()));
    }
    lines.push(format!(
        "switched the file from journal mode `{mode}` to `wal`, so that readers and writers do not wait for each other; two writers do, \
         and Concord is one: see \"SQLite: what applications need\" (docs/src/getting-started.md)"
    ));
    Ok(())
}

/// Gives the file its former journal mode back, and removes every trace. The mode goes first: what it was is known for as
/// long as the service tables are there.
pub(super) fn uninstall(db: &Connection) -> Result<bool> {
    let Some(state) = service::read(db)? else { return Ok(false) };
    let switched = leave_wal(db, &state.journal_mode);
    fault::blocking_point("uninstall-switched")?;
    db.execute_batch("BEGIN IMMEDIATE").told(|| "uninstalling")?;
    let done = uninstall_all(db).and_then(|()| {
        fault::blocking_point("uninstall-commit")?;
        db.execute_batch("COMMIT").told(|| "uninstalling")
    });
    if !db.is_autocommit() {
        db.execute_batch("ROLLBACK").told(|| "taking an uninstall back")?;
    }
    done?;
    // Concord is gone; only the mode, which any program may set, cannot be changed while others have the file open.
    if let Err(error) = switched {
        let former = state.journal_mode;
        tracing::warn!(
            "The file stays in journal mode `wal` ({error}). To have `{former}` again, end the programs that have it open \
             and run `PRAGMA journal_mode = {former}` in it."
        );
    }
    Ok(true)
}

/// Of all modes only write-ahead logging is remembered by the file; in the others it is as in this one.
fn leave_wal(db: &Connection, former: &str) -> Result<()> {
    if former == "wal" || read_mode(db)? != "wal" {
        return Ok(());
    }
    db.busy_timeout(std::time::Duration::ZERO).told(|| "uninstalling")?;
    let switched = db.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())).told(|| "switching it back");
    db.busy_timeout(calls::MUCH_PATIENCE).told(|| "uninstalling")?;
    switched
}

fn uninstall_all(db: &Connection) -> Result<()> {
    if service::read(db)?.is_none() {
        // Somebody else was faster.
        return Ok(());
    }
    for (name, installed) in &service::installed(db)? {
        remove(db, name, installed)?;
    }
    for (table, _) in service::TABLES {
        drop_table(db, table)?;
    }
    Ok(())
}

/// Removes triggers, history and state of one table; the journal stays.
fn remove(db: &Connection, name: &str, installed: &Installed) -> Result<()> {
    let doing = || format!("removing what records changes of `{}`", installed.local);
    for trigger in drift::our_triggers(db, name)?.keys() {
        db.execute_batch(&format!("DROP TRIGGER {}", quote::name(trigger))).told(doing)?;
    }
    drop_table(db, &history_name(name))?;
    drop_table(db, &guard_name(name))?;
    for table in ["concord_installed", "concord_position", "concord_purged", "concord_witness", "concord_parked"] {
        db.execute(&format!("DELETE FROM {table} WHERE name = ?1"), [name]).told(doing)?;
    }
    Ok(())
}

fn drop_table(db: &Connection, name: &str) -> Result<()> {
    db.execute_batch(&format!("DROP TABLE IF EXISTS {}", quote::name(name))).told(|| format!("removing `{name}`"))
}

/// Empties the histories and forgets what was applied, purged and parked; the journal stays.
pub(super) fn reset(db: &Connection) -> Result<()> {
    db.execute_batch("BEGIN IMMEDIATE").told(|| "resetting")?;
    let done = reset_all(db).and_then(|()| db.execute_batch("COMMIT").told(|| "resetting"));
    if !db.is_autocommit() {
        db.execute_batch("ROLLBACK").told(|| "taking a reset back")?;
    }
    done
}

pub(super) fn reset_all(db: &Connection) -> Result<()> {
    let Some(state) = service::read(db)? else { return Ok(()) };
    state.in_full()?;
    for table in ["concord_position", "concord_purged", "concord_witness", "concord_parked"] {
        db.execute(&format!("DELETE FROM {table}"), []).told(|| "resetting")?;
    }
    for name in service::installed(db)?.keys() {
        let history = history_name(name);
        if text_of(db, "table", &history)?.is_none() {
            // Somebody dropped it; `install` makes it anew.
            continue;
        }
        let last = last_id(db, &history)?;
        db.execute(&format!("DELETE FROM {}", quote::name(&history)), []).told(|| format!("emptying `{history}`"))?;
        if last > 0 {
            keep_number(db, name, last)?;
        }
        clear_guard(db, name)?;
    }
    Ok(())
}

/// Forgets the notes that transactions of users have left, which mean nothing by now.
pub(super) fn clear_guard(db: &Connection, table: &str) -> Result<()> {
    let guard = guard_name(table);
    if text_of(db, "table", &guard)?.is_some() {
        db.execute(&format!("DELETE FROM {}", quote::name(&guard)), []).told(|| format!("emptying `{guard}`"))?;
    }
    Ok(())
}

/// The highest id ever given out in a history.
pub(super) fn last_id(db: &Connection, history: &str) -> Result<i64> {
    db.prepare_cached(&format!("SELECT coalesce(max(id), 0) FROM {}", quote::name(history)))
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .told(|| format!("reading `{history}`"))
}

/// A number above all that a history gave out which somebody dropped. What this node remembers of it may be less than others
/// have passed; nobody writes a million entries a second for long, so the microseconds of the clock are above even that.
fn beyond_all(db: &Connection, table: &str) -> Result<i64> {
    let doing = || format!("looking for the last number of `{}`", history_name(table));
    let purged = service::purged_through(db, table)?;
    let known: Option<i64> = db
        .query_row(
            "SELECT max(id) FROM (SELECT keeper AS id FROM concord_purged WHERE name = ?1
                                  UNION ALL SELECT id FROM concord_witness WHERE name = ?1)",
            [table],
            |row| row.get(0),
        )
        .told(doing)?;
    Ok(known.unwrap_or(0).max(purged.next()).max(time::now()))
}

/// Puts a row that is no entry in the place of the last one, so that its number is not given out again.
pub(super) fn keep_number(db: &Connection, table: &str, last: i64) -> Result<()> {
    let history = history_name(table);
    db.execute(&format!("INSERT OR REPLACE INTO {} (id, op) VALUES (?1, '-')", quote::name(&history)), [last])
        .and_then(|_| {
            db.execute(
                "INSERT INTO concord_purged (name, cut, keeper) VALUES (?1, '0', ?2)
                 ON CONFLICT (name) DO UPDATE SET keeper = excluded.keeper",
                params![table, last],
            )
        })
        .map(drop)
        .told(|| format!("emptying `{history}`"))
}

fn text_of(db: &Connection, kind: &str, name: &str) -> Result<Option<String>> {
    db.prepare_cached("SELECT sql FROM sqlite_schema WHERE type = ?1 AND name = ?2 COLLATE NOCASE")
        .and_then(|mut statement| statement.query_row([kind, name], |row| row.get(0)).optional())
        .told(|| "reading the catalogue")
}

/// The version of the service tables, refused if it is from the future.
pub(super) fn refuse_newer(version: i64) -> Result<()> {
    match version {
        1..=NEWEST => Ok(()),
        newer if newer > NEWEST => Err(Error::new(
            ErrorKind::Service,
            format!(
                "the service tables were made by a newer Concord (version {newer}, this one knows {NEWEST}); \
                 update Concord here"
            ),
        )),
        _ => Err(damaged("the service tables give no version")),
    }
}
