//! The journal: what lost, in Concord's own table.

use std::sync::Arc;

use rusqlite::{Connection, params};
use serde_json::Value as Document;

use super::failure::Told;
use super::service::{has_column, kept, key_from, name_of, node_named, spec_at, written_key};
use crate::model::{KeptRow, Lost, TableSpec, former_key};
use crate::node::{Result, Sought};

pub(super) fn record(db: &Connection, specs: &[TableSpec], names: &[String], lost: &[&Lost]) -> Result<()> {
    let doing = || "writing the journal";
    let (column, value, rest) =
        if tells(db)? { (", told", ", ?12", "") } else { ("", "", " AND (?12 IS NULL OR true)") };
    let mut write = db
        .prepare_cached(&format!(
            "INSERT INTO concord_journal
                 (id, name, key, decided, winner, winner_time, winner_row, loser, loser_time, loser_row, reason{column})
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11{value} WHERE true{rest} ON CONFLICT DO NOTHING"
        ))
        .told(doing)?;
    for lost in lost {
        let spec = spec_at(specs, lost.table)?;
        write
            .execute(params![
                lost.id,
                spec.name,
                written_key(spec, &lost.key),
                lost.decided,
                name_of(names, lost.winner)?,
                lost.winner_time,
                lost.winner_row.as_deref().map(|row| spec.keep(row, &lost.winner_unknown)),
                name_of(names, lost.loser)?,
                lost.loser_time,
                lost.loser_row.as_deref().map(|row| spec.keep(row, &lost.loser_unknown)),
                lost.reason,
                lost.told.as_deref(),
            ])
            .told(doing)?;
    }
    Ok(())
}

/// Whether it keeps what plugins were told, which that of an earlier Concord does not.
fn tells(db: &Connection) -> Result<bool> {
    has_column(db, "concord_journal", "told")
}

/// What can be told: conflicts of tables or nodes that have left the sync cannot.
const TOLD: &str = "concord_journal WHERE name IN (SELECT value FROM json_each(?1)) \
                    AND winner IN (SELECT value FROM json_each(?2)) AND loser IN (SELECT value FROM json_each(?2))";

/// The parameters of [`TOLD`].
fn told(specs: &[TableSpec], names: &[String]) -> [String; 2] {
    let tables: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    [Document::from(tables).to_string(), Document::from(names.to_vec()).to_string()]
}

/// See [`crate::node::Node::journalled`].
pub(super) fn journalled(db: &Connection, specs: &[TableSpec], names: &[String]) -> Result<u64> {
    db.prepare_cached(&format!("SELECT count(*) FROM {TOLD}"))
        .and_then(|mut statement| statement.query_row(told(specs, names), |row| row.get::<_, i64>(0)))
        .map(i64::cast_unsigned)
        .told(|| "counting the journal")
}

/// See [`crate::node::Node::journal_size`].
pub(super) fn size(db: &Connection) -> Result<u64> {
    db.prepare_cached("SELECT count(*) FROM concord_journal")
        .and_then(|mut statement| statement.query_row([], |row| row.get::<_, i64>(0)))
        .map(i64::cast_unsigned)
        .told(|| "counting the journal")
}

/// See [`crate::node::Node::trim_journal`].
pub(super) fn trim(db: &Connection, before: i64, most: usize) -> Result<u64> {
    let doing = || "clearing the journal";
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    // Asked first, since a delete takes the write lock also where there is nothing to delete.
    let any: bool = db
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM concord_journal WHERE decided < ?1)")
        .and_then(|mut statement| statement.query_row([before], |row| row.get(0)))
        .told(doing)?;
    if !any {
        return Ok(0);
    }
    let gone = db
        .prepare_cached(
            "DELETE FROM concord_journal WHERE rowid IN \
                 (SELECT rowid FROM concord_journal WHERE decided < ?1 ORDER BY decided LIMIT ?2)",
        )
        .and_then(|mut statement| statement.execute([before, most]))
        .told(doing)?;
    Ok(gone as u64)
}

/// The journal, or what is sought in it, newest first.
pub(super) fn journal(
    db: &Connection,
    specs: &[TableSpec],
    names: &[String],
    sought: Sought<'_>,
    limit: usize,
) -> Result<Vec<Lost>> {
    let doing = || "reading the journal";
    let (wanted, text) = match (sought, specs) {
        (Sought::Key(key), [spec]) => (" AND key = ?4", written_key(spec, key)),
        (Sought::Id(begins), _) => (" AND substr(id, 1, length(?4)) = ?4", begins.to_owned()),
        _ => (" AND ?4 IS NOT NULL", String::new()),
    };
    let mut statement = db
        .prepare_cached(&format!(
            "SELECT name, id, key, decided, winner, winner_time, winner_row, loser, loser_time, loser_row, reason, {}
             FROM {TOLD}{wanted} ORDER BY decided DESC, rowid DESC LIMIT ?3",
            if tells(db)? { "told" } else { "NULL" }
        ))
        .told(doing)?;
    let [tables, nodes] = told(specs, names);
    let limit = if limit == 0 { -1 } else { i64::try_from(limit).unwrap_or(i64::MAX) };
    let mut rows = statement.query(params![tables, nodes, limit, text]).told(doing)?;
    let mut journal = Vec::new();
    while let Some(row) = rows.next().told(doing)? {
        let text = |at| row.get::<_, String>(at).told(doing);
        let spec = row.get::<_, String>(0).map(|name| specs.iter().find(|spec| spec.name == name)).told(doing)?;
        let nodes = (node_named(names, &text(4)?), node_named(names, &text(7)?));
        let (Some(spec), (Some(winner), Some(loser))) = (spec, nodes) else { continue };
        let written = text(2)?;
        let Some(key) = key_from(spec, &written).ok().or_else(|| former_key(&written)) else { continue };
        let content = |at| -> Result<Option<KeptRow>> {
            let content: Option<String> = row.get(at).told(doing)?;
            content.map(|content| kept(spec, &content)).transpose()
        };
        let (winner_row, winner_unknown) = KeptRow::parts(content(6)?);
        let (loser_row, loser_unknown) = KeptRow::parts(content(9)?);
        journal.push(Lost {
            id: text(1)?,
            table: spec.index,
            key,
            decided: row.get(3).told(doing)?,
            winner,
            winner_time: row.get(5).told(doing)?,
            winner_row,
            winner_unknown,
            loser,
            loser_time: row.get(8).told(doing)?,
            loser_row,
            loser_unknown,
            reason: text(10)?,
            told: row.get::<_, Option<String>>(11).told(doing)?.map(Arc::from),
        });
    }
    Ok(journal)
}
