//! Triggers that record which rows of a synced table change.
//!
//! A trigger's body runs under the `sql_mode` and the rights of whoever created it, whatever the writer's session is set to.
//! The time is taken from `UUID()`, which is made of the server's clock in UTC: `SET timestamp`, `time_zone` and
//! `sysdate_is_now` do not reach it. On MariaDB it is made of the clock as it was when the server started, and of what has passed
//! since by a clock that nobody sets and that stands still while the machine is suspended; so it may stray from the server's own
//! clock until the server is restarted, which [`OWN_CLOCK`] tells.
//!
//! On MariaDB the history draws it by itself, as the value that its column has by default: that
//! is worked out once for the opened table and not for every row, and takes a third from what capture costs.

use super::quote;
use super::sql;
use crate::digest::short_digest;
use crate::model::{Column, TableSpec};

/// The session variable that names the tables which Concord is writing, for users' triggers.
pub const APPLYING: &str = "@concord_applying";

/// What stands in it where Concord writes as a user: no table.
pub const NOTHING: &str = ",";

/// What every trigger of Concord's has in its body.
pub const OURS: &str = "concord_at";

/// What draws the time where a history does it by itself, µs UTC. There is one `UUID()` in it: two might lie before and after the
/// moment at which the lowest part begins anew.
pub const DRAWN: &str = "CAST(CONV(REGEXP_REPLACE(UUID(), '^(.{8})-(.{4})-.(.{3}).*$', '\\\\3\\\\2\\\\1'), 16, 10) AS UNSIGNED) \
    DIV 10 - 12219292800000000";

/// What tells the server's own clock in Concord's sessions, µs UTC.
pub const OWN_CLOCK: &str = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', SYSDATE(6))";

/// The `sql_mode` of triggers: one under which no value that stands in a table is refused in its history.
pub const MODE: &str = "";

/// What refuses a change in whose session the next number is set near the end of those that there are: a history that had given it out
/// would take no entry any more, of anybody. `SET insert_id` holds in triggers, and asks for no right on MariaDB.
pub const NUMBERED: &str = "IF @@SESSION.insert_id > 4611686018427387903 THEN SIGNAL SQLSTATE '45000' \
    SET MESSAGE_TEXT = 'insert_id is too large for a change to be recorded'; END IF;";

/// As many rows as there are: without it `sql_select_limit` holds, in triggers too.
const ALL: &str = "LIMIT 18446744073709551615";

/// A trigger as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    pub name: String,
    /// The local name of the table that fires it.
    pub table: String,
    /// Such as `AFTER INSERT`.
    pub event: &'static str,
    pub body: String,
}

impl Trigger {
    /// The statement that creates it; `replacing` where the database can replace one at a stroke.
    pub fn create(&self, replacing: bool) -> String {
        format!(
            "CREATE {}TRIGGER {} {} ON {} FOR EACH ROW {}",
            if replacing { "OR REPLACE " } else { "" },
            quote::ident(&self.name),
            self.event,
            quote::ident(&self.table),
            self.body
        )
    }
}

/// The name by which [`APPLYING`] calls a table.
pub fn token(shared: &str) -> String {
    format!(",{},", short_digest(shared))
}

/// The session variable that tells the triggers of a table that its changes are Concord's own. What it has to hold stands in the
/// triggers, which nobody can read who may not drop them, and in `concord_own`, to which applications are to have no right.
pub fn own(shared: &str) -> String {
    format!("@concord_own_{}", short_digest(shared))
}

/// The condition that a change of the table is Concord's own. It is evaluated for every row, and texts would take it longer than
/// the rest of the trigger.
fn is_own(shared: &str, proof: i64) -> String {
    format!("{} <=> {proof}", own(shared))
}

/// The condition that a change of the table is to be recorded.
pub fn is_recorded(shared: &str, proof: i64) -> String {
    format!("NOT ({})", is_own(shared, proof))
}

/// Statements that know the time as `concord_at`, µs UTC.
pub fn timed(statements: &str) -> String {
    format!(
        "BEGIN DECLARE concord_id CHAR(36) CHARACTER SET ascii DEFAULT UUID(); \
         DECLARE concord_at BIGINT DEFAULT CAST(CONV(CONCAT(SUBSTR(concord_id, 16, 3), SUBSTR(concord_id, 10, 4), \
         SUBSTR(concord_id, 1, 8)), 16, 10) AS UNSIGNED) DIV 10 - 12219292800000000; {statements} END"
    )
}

/// The microseconds in the text of a UUID that the server drew.
pub fn micros(uuid: &str) -> Option<i64> {
    let hex = format!("{}{}{}", uuid.get(15..18)?, uuid.get(9..13)?, uuid.get(0..8)?);
    Some(i64::from_str_radix(&hex, 16).ok()? / 10 - 12_219_292_800_000_000)
}

/// The triggers of a captured table; `drawn` if its history draws the time by itself.
pub fn triggers(spec: &TableSpec, proof: i64, drawn: bool) -> Vec<Trigger> {
    let trigger = |letter: &str, event, statements: String| {
        let own = is_own(&spec.name, proof);
        let body = match drawn {
            true => format!("{OURS}: BEGIN IF {own} THEN LEAVE {OURS}; END IF; {NUMBERED} {statements} END"),
            false => {
                let timed = timed(&statements);
                format!("concord_own: BEGIN IF {own} THEN LEAVE concord_own; END IF; {NUMBERED} {timed}; END")
            }
        };
        Trigger { name: name(letter, &spec.name), table: spec.local.clone(), event, body }
    };
    let insert = |op: &str, key: Cell<'_>, before: Option<Cell<'_>>, after: Option<Cell<'_>>| {
        let (names, values) = entry(spec, &Told { op, key, before, after }, !drawn);
        format!("INSERT INTO {} ({}) VALUES ({})", sql::history(spec), names.join(", "), values.join(", "))
    };
    let row = |row: &'static str| move |column: &Column| quote::of(row, &column.name);
    let (old, new) = (row("OLD"), row("NEW"));
    let same: Vec<String> = spec.key_columns().map(unchanged).collect();
    let update = format!(
        "IF {} THEN {}; ELSE {}; {}; END IF;",
        same.join(" AND "),
        insert("U", &new, Some(&old), Some(&new)),
        insert("D", &old, Some(&old), None),
        insert("I", &new, None, Some(&new))
    );
    vec![
        trigger("i", "AFTER INSERT", format!("{};", insert("I", &new, None, Some(&new)))),
        trigger("u", "AFTER UPDATE", update),
        trigger("d", "AFTER DELETE", format!("{};", insert("D", &old, Some(&old), None))),
    ]
}

/// The name of a table's trigger.
pub fn name(letter: &str, table: &str) -> String {
    quote::fitting(&format!("concord_{letter}_"), table)
}

/// That a column of the row is as it was, byte by byte.
fn unchanged(column: &Column) -> String {
    let (old, new) = (quote::of("OLD", &column.name), quote::of("NEW", &column.name));
    match column.domain {
        crate::model::Domain::Text { .. } => format!("CAST({old} AS BINARY) <=> CAST({new} AS BINARY)"),
        _ => format!("{old} <=> {new}"),
    }
}

type Cell<'a> = &'a dyn Fn(&Column) -> String;

/// What an entry tells of a row.
pub struct Told<'a> {
    pub op: &'a str,
    pub key: Cell<'a>,
    pub before: Option<Cell<'a>>,
    pub after: Option<Cell<'a>>,
}

/// Statements that make these entries of every row that a query finds; row by row where `looped`.
///
/// Where entries come from a query, MariaDB lets nobody else number any in that history until the whole statement of the user has ended
/// (`innodb_autoinc_lock_mode` is 1 there unless it is set, and 2 at MySQL, which has no such loops).
pub fn insert_from(spec: &TableSpec, told: &[Told<'_>], from: &str, looped: bool) -> String {
    let history = sql::history(spec);
    let mut found: Vec<String> = Vec::new();
    let mut inserts = String::new();
    for told in told {
        let (names, values) = entry(spec, told, true);
        let names = names.join(", ");
        if !looped {
            inserts += &format!("INSERT INTO {history} ({names}) SELECT {} {from}; ", values.join(", "));
            continue;
        }
        let mut cells = Vec::with_capacity(values.len());
        for value in values {
            let at = found.iter().position(|known| *known == value).unwrap_or_else(|| {
                found.push(value);
                found.len() - 1
            });
            cells.push(format!("concord_r.v{at}"));
        }
        inserts += &format!("INSERT INTO {history} ({names}) VALUES ({}); ", cells.join(", "));
    }
    if !looped {
        return inserts;
    }
    let columns: Vec<String> = found.iter().enumerate().map(|(at, value)| format!("{value} AS v{at}")).collect();
    format!("FOR concord_r IN (SELECT {} {from} {ALL} LOCK IN SHARE MODE) DO {inserts}END FOR; ", columns.join(", "))
}

/// The columns of an entry and their values; with the time, if it is not drawn by the history.
fn entry(spec: &TableSpec, told: &Told<'_>, timed: bool) -> (Vec<String>, Vec<String>) {
    let Told { op, key, before, after } = told;
    let mut names = vec!["op".to_owned()];
    let mut values = vec![format!("'{op}'")];
    if timed {
        names.push("time".to_owned());
        values.push("concord_at".to_owned());
    }
    for (column, name) in spec.key_columns().zip(sql::history_keys(spec)) {
        names.push(name);
        values.push(key(column));
    }
    if !spec.images.is_empty() {
        names.extend(["before_".to_owned(), "after_".to_owned()]);
        values.extend([before.is_some(), after.is_some()].map(|there| i8::from(there).to_string()));
        for (at, column) in spec.image_columns().enumerate() {
            let (old, new) = sql::image_columns(at);
            for (name, side) in [(old, before), (new, after)] {
                names.push(name);
                values.push(side.map_or("NULL".to_owned(), |side| side(column)));
            }
        }
    }
    (names, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_tells_the_time() {
        // 2026-11-26 05:17:47.331892 UTC.
        assert_eq!(micros("b7af740f-e958-11f1-9cbc-02fc00000001"), Some(1_795_670_267_331_892));
        assert_eq!(micros("short"), None);
    }
}
