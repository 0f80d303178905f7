//! What a load does to the service tables: how far it has come, and nodes that join or come back.

use rusqlite::{Connection, OptionalExtension, params};

use super::failure::Told;
use super::install::{self, history_name, keep_number, last_id};
use super::service;
use crate::model::{Cut, time};
use crate::node::{Error, ErrorKind, NOT_INSTALLED, Result};

/// Runs work in a transaction of its own.
pub(super) fn changing<T>(db: &Connection, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let doing = || "changing the service tables";
    db.execute_batch("BEGIN IMMEDIATE").told(doing)?;
    let there = || {
        let state = service::read(db)?.ok_or_else(|| Error::new(ErrorKind::Service, NOT_INSTALLED))?;
        state.in_full().map(drop)
    };
    let done = there().and_then(|()| work()).and_then(|done| db.execute_batch("COMMIT").told(doing).map(|()| done));
    if !db.is_autocommit() {
        db.execute_batch("ROLLBACK").told(doing)?;
    }
    done
}

pub(super) fn progress(db: &Connection) -> Result<Option<String>> {
    let Some(state) = service::read(db)? else { return Ok(None) };
    state.in_full()?;
    db.query_row("SELECT progress FROM concord_load", [], |row| row.get(0))
        .optional()
        .told(|| "reading how far a load has come")
}

pub(super) fn set_progress(db: &Connection, progress: Option<&str>) -> Result<()> {
    let doing = || "writing how far a load has come";
    match progress {
        Some(text) => {
            db.execute("INSERT INTO concord_load (one, progress) VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET progress = excluded.progress", [text])
        }
        None => db.execute("DELETE FROM concord_load", []),
    }
    .map(drop)
    .told(doing)
}

/// See [`crate::node::Node::keep_shapes`].
pub(super) fn keep_shapes(db: &Connection, shapes: &[(String, String)]) -> Result<()> {
    for (table, shape) in shapes {
        db.execute("UPDATE concord_installed SET shape = ?2 WHERE name = ?1", [table, shape])
            .told(|| "writing what is installed")?;
    }
    Ok(())
}

/// See [`crate::node::Node::start_at`].
pub(super) fn start_at(db: &Connection, positions: &[(String, String, Cut)]) -> Result<()> {
    for (table, source, cut) in positions {
        db.execute(
            "INSERT INTO concord_position (name, source, cut) VALUES (?1, ?2, ?3)
             ON CONFLICT (name, source) DO UPDATE SET cut = excluded.cut, witness = NULL WHERE cut = ?4",
            params![table, source, cut.to_string(), Cut::START.to_string()],
        )
        .told(|| "writing positions")?;
    }
    Ok(())
}

/// See [`crate::node::Node::forget`].
pub(super) fn forget(db: &Connection, node: &str, seen: &[(String, Cut)]) -> Result<bool> {
    let doing = || "forgetting positions";
    for (table, cut) in seen {
        if service::position(db, table, node)?.unwrap_or(Cut::START) != *cut {
            return Ok(false);
        }
    }
    db.execute("DELETE FROM concord_position WHERE source = ?1", [node]).told(doing)?;
    db.execute("DELETE FROM concord_witness WHERE target = ?1", [node]).told(doing)?;
    Ok(true)
}

/// See [`crate::node::Node::renew`].
pub(super) fn renew(
    db: &Connection,
    former: &str,
    positions: &[(String, String, Cut)],
    progress: &str,
) -> Result<bool> {
    if service::read(db)?.is_none_or(|state| state.uuid != former) {
        return Ok(false);
    }
    install::reset_all(db)?;
    for name in service::installed(db)?.keys() {
        // Nobody writes a million entries a second for long, so this is above whatever a former life has given out.
        let last = last_id(db, &history_name(name))?.max(time::now());
        db.execute(&format!("DELETE FROM {}", super::quote::name(&history_name(name))), [])
            .told(|| format!("emptying `{}`", history_name(name)))?;
        keep_number(db, name, last)?;
    }
    let uuid = uuid::Uuid::new_v4().to_string();
    db.execute("UPDATE concord_node SET uuid = ?1", [uuid]).told(|| "writing who this is")?;
    set_progress(db, Some(progress))?;
    start_at(db, positions)?;
    Ok(true)
}
