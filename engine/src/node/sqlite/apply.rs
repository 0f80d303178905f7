//! Writing: rows, and entries for changes made elsewhere.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Display;

use rusqlite::{Connection, Statement, ffi};

use super::capture::NOW;
use super::connect::Silence;
use super::failure::Told;
use super::history::{self, bind, bind_key};
use super::install::{history_name, last_id};
use super::plan::{Many, Plan};
use super::{quote, service, types};
use crate::model::{Cut, Images, Key, OnGone, Op, Row, TableSpec, Value};
use crate::node::{Constraint, Error, ErrorKind, Note, Result, WriteMode};

/// Runs a write of the rows of `own` without recording them as changes of users.
///
/// Where the database may change other rows by itself, recording stays on, and what was recorded about `own` is taken
/// out again; what remains is what triggers and cascades did. Without a `silence` it is a user's change.
pub(super) fn unrecorded<T>(
    db: &Connection,
    silence: Option<&Silence>,
    plan: &Plan,
    spec: &TableSpec,
    own: impl FnOnce() -> HashSet<Key>,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let Some(silence) = silence else { return work() };
    if !plan.reacts || !spec.captured {
        return silence.during(!plan.reacts, work);
    }
    let start = last_id(db, &history_name(&spec.name))?;
    let done = silence.during(false, work)?;
    forget(db, plan, spec, start, &Overwritten::ALL, own)?;
    Ok(done)
}

/// Which entries are taken out, as conditions.
pub(super) struct Overwritten {
    /// What they tell is overwritten.
    meant: &'static str,
    /// No change need be counted of which they tell: nothing is added up here, or a reference did it, or the row is deleted anyway. What
    /// was added to a row that goes everywhere is moot.
    uncounted: Cow<'static, str>,
}

impl Overwritten {
    const ALL: Overwritten = Overwritten { meant: "TRUE", uncounted: Cow::Borrowed("TRUE") };

    /// By a write, or by deleting the row where there is no mode. What is only updated stays away where it is gone.
    pub(super) fn by(spec: &TableSpec, mode: Option<WriteMode>) -> Overwritten {
        let meant = if mode == Some(WriteMode::UpdateOnly) { "op = 'U'" } else { "TRUE" };
        if spec.images.is_empty() || mode.is_none() && spec.takes_all {
            return Overwritten { meant, ..Overwritten::ALL };
        }
        let same = spec.counted_columns().map(|(_, column)| {
            let [old, new] = ["old_", "new_"].map(|side| quote::name(&format!("{side}{}", column.name)));
            format!(" AND {old} IS {new}")
        });
        let mut ways = vec![format!("sides IS 3{}", same.collect::<String>())];
        if mode.is_none() {
            ways.push("op = 'D'".to_owned());
        }
        ways.extend(moved(spec));
        Overwritten { meant, uncounted: Cow::Owned(format!("({})", ways.join(" OR "))) }
    }
}

/// The condition that an entry after ?1 tells of a row to which a reference gave another key, if one can: as much went under one key as
/// came under the other.
fn moved(spec: &TableSpec) -> Option<String> {
    let keys = spec.kept_of_key()?.into_iter().map(|(_, column)| quote::name(&format!("key_{}", column.name)));
    let images = spec.counted_columns().map(|(_, column)| {
        let [old, new] = ["old_", "new_"].map(|side| quote::name(&format!("{side}{}", column.name)));
        format!("coalesce({old}, {new})")
    });
    // No NULL, and types told apart.
    let told: String = keys.chain(images).map(|cell| format!(", quote({cell})")).collect();
    Some(format!(
        "op IN ('I', 'D') AND (op = 'I'{told}) IN \
         (SELECT op = 'D'{told} FROM {} WHERE id > ?1 AND origin IS NULL AND op IN ('I', 'D'))",
        quote::name(&history_name(&spec.name))
    ))
}

/// Takes out what was recorded after an id about rows of `own` and is overwritten. The keys of those of which more was recorded, that has
/// to be counted.
pub(super) fn forget(
    db: &Connection,
    plan: &Plan,
    spec: &TableSpec,
    after: i64,
    overwritten: &Overwritten,
    own: impl FnOnce() -> HashSet<Key>,
) -> Result<Vec<Key>> {
    let doing = || format!("writing the history of `{}`", spec.name);
    let Overwritten { meant, uncounted } = overwritten;
    let sql = format!(
        "SELECT id, {uncounted}, {} FROM {} WHERE id > ?1 AND origin IS NULL AND {meant}",
        plan.keys, plan.history
    );
    let mut read = db.prepare_cached(&sql).told(doing)?;
    let mut rows = read.query([after]).told(doing)?;
    let mut recorded: Vec<(i64, bool, Key)> = Vec::new();
    while let Some(row) = rows.next().told(doing)? {
        let key = history::key_at(row, 2, spec).told(doing)?;
        recorded.push((row.get(0).told(doing)?, row.get(1).told(doing)?, key));
    }
    if recorded.is_empty() {
        return Ok(Vec::new());
    }
    drop(rows);
    let own = own();
    let mut delete = db.prepare_cached(&format!("DELETE FROM {} WHERE id = ?1", plan.history)).told(doing)?;
    let mut counted = Vec::new();
    for (id, goes, key) in recorded.into_iter().filter(|(.., key)| own.contains(key)) {
        if goes {
            delete.execute([id]).told(doing)?;
        } else {
            counted.push(key);
        }
    }
    Ok(counted)
}

/// What a statement that writes answers. What an expression of the table's own answers, as of an index, a check or a trigger, is
/// about the row for which it was worked out: a statement that cannot be run at all is refused before.
pub(super) fn stepped<D: Display>(ran: rusqlite::Result<usize>, doing: impl FnOnce() -> D) -> Result<u64> {
    let is_worked_out = matches!(&ran, Err(rusqlite::Error::SqliteFailure(code, _))
        if code.extended_code & 0xff == ffi::SQLITE_ERROR);
    ran.map(|rows| rows as u64).told(doing).map_err(|mut error| {
        if is_worked_out && error.kind == ErrorKind::Other {
            error.kind = ErrorKind::Constraint(Constraint::Other);
        }
        error
    })
}

/// See [`crate::node::Node::write`], for one table; references are looked at by [`refuse_dangling`] afterwards.
pub(super) fn write(
    db: &Connection,
    silence: Option<&Silence>,
    plan: &Plan,
    spec: &TableSpec,
    rows: &[&Row],
    mode: WriteMode,
) -> Result<u64> {
    let doing = || format!("writing `{}`", spec.local);
    let own = || rows.iter().map(|row| spec.key_of(row)).collect();
    unrecorded(db, silence, plan, spec, own, || {
        let put = |statement: &mut Statement<'_>, row: &Row| {
            bind_row(statement, 1, spec, row)?;
            stepped(statement.raw_execute(), doing)
        };
        match (mode, &plan.upsert, &plan.insert_only) {
            (WriteMode::Upsert, Some(many), _) | (WriteMode::InsertOnly, _, Some(many)) => {
                in_batches(db, many, spec.columns.len(), rows, doing, |statement, first, row| {
                    bind_row(statement, first, spec, row)
                })
            }
            (WriteMode::UpdateOnly, ..) => {
                let Some(update) = &plan.update else { return Ok(0) };
                let mut update = db.prepare_cached(update).told(doing)?;
                rows.iter().map(|row| put(&mut update, row)).sum()
            }
            (mode, ..) => {
                let mut insert = db.prepare_cached(&plan.insert).told(doing)?;
                let update = plan.update.as_ref().filter(|_| mode == WriteMode::Upsert);
                let mut update = update.map(|sql| db.prepare_cached(sql)).transpose().told(doing)?;
                let mut written = 0;
                for row in rows {
                    let updated = match &mut update {
                        Some(update) => put(update, row)?,
                        None => 0,
                    };
                    written += updated;
                    if updated == 0 && (update.is_some() || !exists(db, plan, spec, &spec.key_of(row))?) {
                        written += put(&mut insert, row)?;
                    }
                }
                Ok(written)
            }
        }
    })
}

/// Rows or keys in one statement. SQLite keeps a journal for every statement on a table with triggers, into which each
/// page that it changes is copied, so that many small statements cost several times as much as few larger ones.
const TOGETHER: usize = 100;

/// The parameters that one statement may have.
const PARAMETERS: usize = 32_766;

/// Runs a statement over all items, several at a time; `bind` binds one from a given number on. How many rows it changed.
fn in_batches<T, D: Display>(
    db: &Connection,
    many: &Many,
    width: usize,
    items: &[T],
    doing: impl Fn() -> D,
    bind: impl Fn(&mut Statement<'_>, usize, &T) -> Result<()>,
) -> Result<u64> {
    let mut changed = 0;
    for batch in items.chunks(TOGETHER.min(PARAMETERS / width.max(1)).max(1)) {
        let mut statement = db.prepare_cached(&many.sql(batch.len())).told(&doing)?;
        for (at, item) in batch.iter().enumerate() {
            bind(&mut statement, at * width + 1, item)?;
        }
        changed += stepped(statement.raw_execute(), &doing)?;
    }
    Ok(changed)
}

fn bind_row(statement: &mut Statement<'_>, first: usize, spec: &TableSpec, row: &[Value]) -> Result<()> {
    for (at, (column, value)) in spec.columns.iter().zip(row).enumerate() {
        let is_key = spec.key.contains(&at);
        let encoded = if is_key { types::encode_key(column, value) } else { types::encode(column, value) };
        bind(statement, first + at, spec, column, encoded)?;
    }
    Ok(())
}

fn exists(db: &Connection, plan: &Plan, spec: &TableSpec, key: &Key) -> Result<bool> {
    let doing = || format!("reading rows of `{}`", spec.local);
    let mut statement = db.prepare_cached(&plan.exists).told(doing)?;
    bind_key(&mut statement, 1, spec, key)?;
    let found = statement.raw_query().next().told(doing)?.is_some();
    Ok(found)
}

/// See [`crate::node::Node::delete`], for one table.
pub(super) fn delete(
    db: &Connection,
    silence: Option<&Silence>,
    plan: &Plan,
    spec: &TableSpec,
    keys: &[&Key],
) -> Result<u64> {
    let doing = || format!("deleting from `{}`", spec.local);
    let keys: Vec<&Key> = keys.iter().copied().filter(|key| history::can_hold(spec, key)).collect();
    let own = || keys.iter().map(|key| (*key).clone()).collect();
    let deleted = unrecorded(db, silence, plan, spec, own, || match &plan.delete {
        Some(many) => in_batches(db, many, spec.key.len(), &keys, doing, |statement, first, key| {
            bind_key(statement, first, spec, key)
        }),
        None => {
            let mut statement = db.prepare_cached(&plan.delete_one).told(doing)?;
            let one = |key: &&Key| {
                bind_key(&mut statement, 1, spec, key)?;
                stepped(statement.raw_execute(), doing)
            };
            keys.iter().map(one).sum()
        }
    })?;
    if plan.has_user_triggers {
        for key in &keys {
            if exists(db, plan, spec, key)? {
                return Err(Error::new(
                    ErrorKind::Constraint(Constraint::Other),
                    format!("deleting from `{}`: a trigger keeps the row or brings it back", spec.local),
                ));
            }
        }
    }
    Ok(deleted)
}

/// Fails if rows refer to rows that are not there. References are deferred while Concord writes, so this is where they
/// are checked, long before the commit.
pub(super) fn refuse_dangling<'a>(db: &Connection, tables: impl Iterator<Item = &'a TableSpec>) -> Result<()> {
    let (mut open, mut highest) = (0, 0);
    // SAFETY: the connection is open for as long as `db` is borrowed, and the call only writes the two integers.
    let code =
        unsafe { ffi::sqlite3_db_status(db.handle(), ffi::SQLITE_DBSTATUS_DEFERRED_FKS, &mut open, &mut highest, 0) };
    if code == ffi::SQLITE_OK && open == 0 {
        return Ok(());
    }
    let names = tables.map(|spec| format!("`{}`", spec.local)).collect::<Vec<_>>().join(", ");
    Err(Error::new(
        ErrorKind::Constraint(Constraint::Reference),
        format!("writing {names}: FOREIGN KEY constraint failed: a row refers to one that is not there"),
    ))
}

/// See [`crate::node::Node::still_referred`]. The write lock is held, so the answer stays true.
pub(super) fn still_referred(
    db: &Connection,
    plan: &Plan,
    spec: &TableSpec,
    keys: &[&Key],
    going: &[(&TableSpec, &[&Key])],
) -> Result<Vec<Key>> {
    let doing = || format!("looking for rows that refer to `{}`", spec.local);
    let mut held = vec![false; keys.len()];
    for reference in spec.referenced.iter().filter(|reference| reference.on_delete != OnGone::Refuse) {
        // Of a table of which rows are going, the keys are needed to tell which stay; of others one row is enough.
        let referring = going.iter().find(|(table, _)| table.local == reference.table);
        let leaving: HashSet<&Key> = referring.map(|(_, keys)| keys.iter().copied().collect()).unwrap_or_default();
        let columns = referring.map(|(table, _)| {
            table.key_columns().map(|column| format!("c.{}", quote::name(&column.name))).collect::<Vec<_>>().join(", ")
        });
        let pairs = reference.referenced_columns.iter().zip(&reference.columns);
        let joined = pairs.map(|(to, from)| format!("p.{} = c.{}", quote::name(to), quote::name(from)));
        let sql = format!(
            "SELECT {} FROM (SELECT * FROM {} WHERE {}) AS p JOIN {} AS c ON {}",
            columns.as_deref().unwrap_or("1"),
            quote::name(&spec.local),
            plan.by_key(1),
            quote::name(&reference.table),
            joined.collect::<Vec<_>>().join(" AND "),
        );
        let mut statement = db.prepare_cached(&sql).told(doing)?;
        for (key, held) in keys.iter().zip(&mut held).filter(|(key, held)| !**held && history::can_hold(spec, key)) {
            bind_key(&mut statement, 1, spec, key)?;
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next().told(doing)? {
                let stays = match referring {
                    None => true,
                    Some((table, _)) => !leaving.contains(&history::key_at(row, 0, table).told(doing)?),
                };
                if stays {
                    *held = true;
                    break;
                }
            }
        }
    }
    Ok(keys.iter().zip(held).filter(|(_, held)| *held).map(|(key, _)| (*key).clone()).collect())
}

/// See [`crate::node::Node::unseen`]. `last` is the last number given out before this transaction began.
pub(super) fn unseen(
    db: &Connection,
    plan: &Plan,
    spec: &TableSpec,
    read: &Cut,
    last: i64,
    keys: &[&Key],
) -> Result<Vec<Key>> {
    let doing = || format!("reading the history of `{}`", spec.name);
    let first = history::first_beyond(read);
    if first > last {
        return Ok(Vec::new());
    }
    if !read.includes(&history::purged(db, &spec.name)?) {
        return Ok(keys.iter().map(|key| (*key).clone()).collect());
    }
    let mut statement = db
        .prepare_cached(&format!(
            "SELECT id, {} FROM {} WHERE id BETWEEN ?1 AND ?2 AND op <> '-'",
            plan.keys, plan.history
        ))
        .told(doing)?;
    let mut rows = statement.query([first, last]).told(doing)?;
    let mut changed = HashSet::new();
    while let Some(row) = rows.next().told(doing)? {
        let id: i64 = row.get(0).told(doing)?;
        if !read.contains(id, id) {
            changed.insert(history::key_at(row, 1, spec).told(doing)?);
        }
    }
    Ok(keys.iter().filter(|key| changed.contains(**key)).map(|key| (*key).clone()).collect())
}

/// See [`crate::node::Node::altered`].
pub(super) fn altered(db: &Connection, plan: &Plan, spec: &TableSpec, rows: &[&Row]) -> Result<Vec<(Key, String)>> {
    let doing = || format!("reading rows of `{}` back", spec.local);
    let mut statement = db.prepare_cached(&plan.select).told(doing)?;
    let mut altered = Vec::new();
    for row in rows {
        let key = spec.key_of(row);
        bind_key(&mut statement, 1, spec, &key)?;
        let mut found = statement.raw_query();
        let different = match found.next().told(doing)? {
            // The row is gone: every column differs, the key first of all.
            None => spec.key_columns().next(),
            Some(stands) => spec.columns.iter().zip(row.iter()).enumerate().find_map(|(at, (column, value))| {
                let same = stands.get_ref(at).is_ok_and(|cell| types::decode(&column.ty, cell).as_ref() == Ok(value));
                (!same).then_some(column)
            }),
        };
        drop(found);
        if let Some(column) = different {
            altered.push((key, column.name.clone()));
        }
    }
    Ok(altered)
}

/// See [`crate::node::Node::note`].
pub(super) fn note(db: &Connection, plan: &Plan, spec: &TableSpec, names: &[String], notes: &[&Note]) -> Result<()> {
    let doing = || format!("writing the history of `{}`", spec.name);
    // Everything but the id, which SQLite gives.
    let columns = plan.entry_columns.split_once(", ").map_or("", |(_, rest)| rest);
    let width = 6 + spec.key.len() + if spec.images.is_empty() { 0 } else { 1 + 2 * spec.images.len() };
    let marks = (1..=width).map(|at| format!("?{at}")).collect::<Vec<_>>().join(", ");
    let mut write =
        db.prepare_cached(&format!("INSERT INTO {} ({columns}) VALUES ({marks})", plan.history)).told(doing)?;
    // Nobody asks for a row that could never stand here.
    for note in notes.iter().filter(|note| history::can_hold(spec, &note.key)) {
        write.raw_bind_parameter(1, note.op.letter()).told(doing)?;
        write.raw_bind_parameter(2, note.stamp.time).told(doing)?;
        write.raw_bind_parameter(3, service::name_of(names, note.dot.node)?).told(doing)?;
        write.raw_bind_parameter(4, note.dot.number).told(doing)?;
        write.raw_bind_parameter(5, note.dot.mark).told(doing)?;
        write.raw_bind_parameter(6, service::vector_text(&note.vector, names)?).told(doing)?;
        for ((column, value), at) in spec.key_columns().zip(&note.key).zip(7..) {
            bind(&mut write, at, spec, column, types::encode_key(column, value))?;
        }
        if !spec.images.is_empty() {
            // What a column of another database held, this one might store as something else.
            let images = note.images.as_ref().filter(|images| {
                let mut sides = [&images.before, &images.after].into_iter().flatten();
                sides.all(|side| {
                    spec.image_columns().zip(side).all(|(column, value)| types::encode(column, value).is_ok())
                })
            });
            bind_images(&mut write, 7 + spec.key.len(), spec, images)?;
        }
        write.raw_execute().told(doing)?;
    }
    Ok(())
}

fn bind_images(statement: &mut Statement<'_>, first: usize, spec: &TableSpec, images: Option<&Images>) -> Result<()> {
    let doing = || format!("writing the history of `{}`", spec.name);
    let (before, after) = images.map_or((None, None), |images| (images.before.as_ref(), images.after.as_ref()));
    let sides = i64::from(before.is_some()) + 2 * i64::from(after.is_some());
    statement.raw_bind_parameter(first, sides).told(doing)?;
    for (side, start) in [(before, first + 1), (after, first + 1 + spec.images.len())] {
        for ((column, part), at) in spec.image_columns().zip(0..).zip(start..) {
            let value = side.and_then(|row| row.get(part)).unwrap_or(&Value::Null);
            bind(statement, at, spec, column, types::encode(column, value))?;
        }
    }
    Ok(())
}

/// See [`crate::node::Node::touch`].
pub(super) fn touch(db: &Connection, plan: &Plan, spec: &TableSpec, key: &Key, since: Option<i64>) -> Result<()> {
    let doing = || format!("writing the history of `{}`", spec.name);
    let found = history::rows(db, plan, spec, &[key])?.pop().flatten();
    let op = if found.is_some() { Op::Update } else { Op::Delete };
    let images = !spec.images.is_empty();
    let columns =
        plan.keys.clone() + if images { plan.entry_columns.split_once(&plan.keys).map_or("", |(_, i)| i) } else { "" };
    let width = spec.key.len() + if images { 1 + 2 * spec.images.len() } else { 0 };
    let marks = (3..3 + width).map(|at| format!("?{at}")).collect::<Vec<_>>().join(", ");
    let sql = format!("INSERT INTO {} (op, time, {columns}) VALUES (?1, coalesce(?2, {NOW}), {marks})", plan.history);
    let mut write = db.prepare_cached(&sql).told(doing)?;
    write.raw_bind_parameter(1, op.letter()).told(doing)?;
    write.raw_bind_parameter(2, since).told(doing)?;
    for ((column, value), at) in spec.key_columns().zip(key).zip(3..) {
        bind(&mut write, at, spec, column, history::stored(column, value))?;
    }
    if images {
        // Of a row that cannot be read nobody knows what it was.
        let image: Option<Row> =
            found.and_then(|row| row.ok()).map(|row| spec.images.iter().map(|&at| row[at].clone()).collect());
        let images = image.map(|image| Images { before: Some(image.clone()), after: Some(image) });
        bind_images(&mut write, 3 + spec.key.len(), spec, images.as_ref())?;
    }
    write.raw_execute().map(drop).told(doing)
}
