//! The SQL of history tables and of the triggers that fill them.
//!
//! A trigger records the key of each row that changed, nothing else, and cannot fail for a legal row. Three facts of
//! SQLite shape what follows:
//!
//! - REPLACE removes rows that stand in the way of a unique value without firing any trigger (unless the writer has set
//!   `recursive_triggers`). So a trigger before the statement notes in a *guard table* the rows that would clash, and one
//!   after it records those that are gone. Notes are erased as soon as their row is seen to change; what is left of them
//!   after a transaction means nothing.
//! - The OR clause of the user's statement overrules that of statements in triggers. So nothing here relies on a
//!   constraint.
//! - The trigger made last fires first (not promised, but so since 3.6). Ours are made after the users' own, which
//!   could otherwise stop the row's triggers with RAISE(IGNORE) before ours have run.

use super::install::{guard_name, history_name};
use super::quote;
use super::schema::Table;
use crate::model::{OnGone, TableSpec};

/// The database's clock in microseconds UTC. SQLite's clock counts milliseconds. The rounding matters: half of all
/// times are off by one without it. (`unixepoch('subsec')` is unknown before 3.42.)
pub(super) const NOW: &str = "CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000";

/// False while Concord writes, see [`super::connect::Silence`].
pub(super) const HEARD: &str = "sqlite_source_id() <> 'concord'";

/// What a history table says besides keys and images.
pub(super) const FIXED: [&str; 7] = ["id", "op", "time", "origin", "number", "mark", "vector"];

/// Everything that records the changes of one table.
pub(super) struct Capture {
    pub history: String,
    /// The columns of the history.
    pub columns: Vec<String>,
    /// The guard table and its indexes; empty where nothing needs it.
    pub guard: Vec<String>,
    /// Name and text of each trigger.
    pub triggers: Vec<(String, String)>,
}

/// A way in which REPLACE may remove a row other than the one it writes.
struct Clash {
    /// Column and collation of each part of the unique value.
    columns: Vec<(String, String)>,
    rowid: bool,
    partial: bool,
    /// Which rows are in the index, where that can be said of a row `t`. Only these can be removed through it, and only by a statement
    /// that says so does SQLite look rows up in it.
    condition: Option<String>,
}

pub(super) fn capture(spec: &TableSpec, table: &Table) -> Capture {
    let writer = Writer::new(spec, table);
    let history_columns = FIXED
        .iter()
        .map(|column| (*column).to_owned())
        .chain(spec.key_columns().map(|column| format!("key_{}", column.name)))
        .chain((!spec.images.is_empty()).then(|| "sides".to_owned()))
        .chain(spec.image_columns().map(|column| format!("old_{}", column.name)))
        .chain(spec.image_columns().map(|column| format!("new_{}", column.name)))
        .collect::<Vec<_>>();
    // Without AUTOINCREMENT, whose table `sqlite_sequence` could never be removed again: the row of the highest id is
    // kept, so that no id is given out twice. No column but the id has a type: a type would change the keys' values.
    let history = format!(
        "CREATE TABLE {} (id INTEGER PRIMARY KEY, {})",
        writer.history,
        quote::names(history_columns[1..].iter().map(String::as_str))
    );
    let (guard, triggers) = if spec.captured { writer.all() } else { (Vec::new(), Vec::new()) };
    Capture { history, columns: history_columns, guard, triggers }
}

struct Writer<'a> {
    spec: &'a TableSpec,
    table: &'a Table,
    target: String,
    history: String,
    guard: String,
    /// The key columns as the history and the guard call them.
    keys: String,
    clashes: Vec<Clash>,
    /// Whether rows may take each other along: where REPLACE removes a row, the row that was to be updated may go with it, so that
    /// nothing is updated and no trigger fires after the statement.
    cascades: bool,
}

impl<'a> Writer<'a> {
    fn new(spec: &'a TableSpec, table: &'a Table) -> Writer<'a> {
        Writer {
            spec,
            table,
            target: quote::table(&table.name),
            history: quote::name(&history_name(&spec.name)),
            guard: quote::name(&guard_name(&spec.name)),
            keys: spec.key_columns().map(|column| key(&column.name)).collect::<Vec<_>>().join(", "),
            clashes: clashes(table),
            cascades: [&spec.references, &spec.referenced]
                .iter()
                .all(|keys| keys.iter().any(|key| key.on_delete == OnGone::Cascade)),
        }
    }

    fn images(&self) -> bool {
        !self.spec.images.is_empty()
    }

    /// The key of a row, such as `NEW`.
    fn key_of(&self, row: &str) -> String {
        listed(self.spec.key_columns().map(|column| format!("{row}.{}", quote::name(&column.name))))
    }

    /// Whether two rows have the very same key. `a` and `b` are rows of the table or, where marked, of the guard.
    fn same(&self, (a, a_noted): (&str, bool), (b, b_noted): (&str, bool)) -> String {
        let part = |(at, column): (usize, &crate::model::Column)| {
            let side = |row: &str, noted: bool| {
                format!("{row}.{}", if noted { key(&column.name) } else { quote::name(&column.name) })
            };
            let (x, y) = (side(a, a_noted), side(b, b_noted));
            // The spec's key may be in another order than the catalogue's.
            let part = self.table.key.iter().position(|&at| self.table.columns[at].name == column.name).unwrap_or(at);
            let is = if column.nullable { "IS" } else { "=" };
            if self.table.is_lax(part) {
                // The first term is for the index, the others make it exact.
                let collation = quote::name(&self.table.collations[part]);
                format!(
                    "{x} {is} {y} COLLATE {collation} AND {x} {is} {y} COLLATE BINARY AND typeof({x}) = typeof({y})"
                )
            } else {
                format!("{x} {is} {y}")
            }
        };
        self.spec.key_columns().enumerate().map(part).collect::<Vec<_>>().join(" AND ")
    }

    fn trigger(&self, kind: &str, event: &str, condition: &str, body: &str) -> (String, String) {
        let name = trigger_name(kind, &self.spec.name);
        let sql = format!(
            "CREATE TRIGGER {} {event} ON {} WHEN {HEARD}{condition} BEGIN {body}END",
            quote::name(&name),
            self.target
        );
        (name, sql)
    }

    /// The statement that adds an entry about a row that the trigger sees. `op` is an expression.
    fn entry(&self, op: &str, row: &str, old: Option<&str>, new: Option<&str>) -> String {
        format!(
            "INSERT INTO {}(op, time, {}{}) VALUES ({op}, {NOW}, {}{}); ",
            self.history,
            self.keys,
            self.image_names(),
            self.key_of(row),
            self.image_values(old.map(|row| (row, false)), new)
        )
    }

    fn image_names(&self) -> String {
        if !self.images() {
            return String::new();
        }
        let side = |prefix: &'static str| {
            self.spec.image_columns().map(move |column| quote::name(&format!("{prefix}{}", column.name)))
        };
        format!(", sides, {}", listed(side("old_").chain(side("new_"))))
    }

    /// Values for [`Writer::image_names`]; the row before may come from the guard.
    fn image_values(&self, old: Option<(&str, bool)>, new: Option<&str>) -> String {
        if !self.images() {
            return String::new();
        }
        let sides = i32::from(old.is_some()) + 2 * i32::from(new.is_some());
        let before = self.spec.image_columns().map(|column| match old {
            None => "NULL".to_owned(),
            Some((row, true)) => format!("{row}.{}", quote::name(&format!("old_{}", column.name))),
            Some((row, false)) => format!("{row}.{}", quote::name(&column.name)),
        });
        let after = self.spec.image_columns().map(|column| match new {
            None => "NULL".to_owned(),
            Some(row) => format!("{row}.{}", quote::name(&column.name)),
        });
        format!(", {sides}, {}", listed(before.chain(after)))
    }

    /// Whether an update gives a row another key.
    fn moved(&self) -> String {
        let moved = |column: &crate::model::Column| {
            let name = quote::name(&column.name);
            format!("OLD.{name} IS NOT NEW.{name} COLLATE BINARY OR typeof(OLD.{name}) <> typeof(NEW.{name})")
        };
        self.spec.key_columns().map(moved).collect::<Vec<_>>().join(" OR ")
    }

    fn all(&self) -> (Vec<String>, Vec<(String, String)>) {
        let moved = self.moved();
        let deleted = self.entry("'D'", "OLD", Some("OLD"), None);
        let mut triggers = vec![self.trigger("delete", "AFTER DELETE", "", &deleted)];
        if !self.images() {
            triggers.extend([
                self.trigger("insert", "AFTER INSERT", "", &self.entry("'I'", "NEW", None, Some("NEW"))),
                self.trigger(
                    "update",
                    "AFTER UPDATE",
                    "",
                    &self.entry(&format!("CASE WHEN {moved} THEN 'I' ELSE 'U' END"), "NEW", None, None),
                ),
                // Not AFTER UPDATE OF the key, which `SET rowid = …` escapes.
                self.trigger("rekey", "AFTER UPDATE", &format!(" AND ({moved})"), &deleted),
            ]);
        }
        let is_needed = !self.clashes.is_empty() || self.images() || self.cascades;
        let guard = if is_needed { self.guard_table() } else { Vec::new() };
        if !guard.is_empty() {
            self.guard_triggers(&mut triggers);
        }
        (guard, triggers)
    }

    fn guard_table(&self) -> Vec<String> {
        let widest = self.clashes.iter().map(|clash| clash.columns.len()).max().unwrap_or(0);
        let columns = (1..=widest).map(|at| format!(", u{at}")).collect::<String>();
        let olds =
            self.spec.image_columns().map(|column| format!(", {}", quote::name(&format!("old_{}", column.name))));
        let guard = &self.guard;
        let index = |number: usize| quote::name(&format!("concord_guard_{number}_{}", self.spec.name));
        let mut sql = vec![
            format!("CREATE TABLE {guard}(n INTEGER NOT NULL, {}{columns}{})", self.keys, olds.collect::<String>()),
            format!("CREATE INDEX {} ON {guard}({})", index(0), self.keys),
        ];
        for (clash, number) in self.clashes.iter().zip(1..) {
            let columns = clash.columns.iter().zip(1..);
            let columns = columns.map(|((_, collation), at)| format!("u{at} COLLATE {}", quote::name(collation)));
            sql.push(format!("CREATE INDEX {} ON {guard}({}) WHERE n = {number}", index(number), listed(columns)));
        }
        sql
    }

    fn guard_triggers(&self, triggers: &mut Vec<(String, String)>) {
        let (guard, target) = (&self.guard, &self.target);
        let olds = |row: &str| -> (String, String) {
            let columns = || self.spec.image_columns();
            (
                columns().map(|column| format!(", {}", quote::name(&format!("old_{}", column.name)))).collect(),
                columns().map(|column| format!(", {row}.{}", quote::name(&column.name))).collect(),
            )
        };
        let (old_names, old_values) = olds("t");
        let mut before_insert = String::new();
        let mut before_update = String::new();
        let mut resolve = String::new();
        let mut changed = Vec::new();
        // The row that the statement itself is about is no clash.
        let itself = if self.table.key_is_rowid() {
            // Before an insert a rowid that SQLite is yet to choose reads -1.
            let key = self.key_of("NEW");
            format!("{} = {key} AND {key} <> -1", self.key_of("t"))
        } else {
            format!("ifnull({}, 0)", self.same(("t", false), ("NEW", false)))
        };
        if self.images() || self.cascades {
            // REPLACE of a row by one of the same key: what was there is the image before.
            let note = |same: &str| {
                format!(
                    "DELETE FROM {guard} WHERE n = 0 AND {}; \
                     INSERT INTO {guard}(n, {}{old_names}) SELECT 0, {}{old_values} FROM {target} AS t WHERE {same}; ",
                    self.same((guard, true), ("NEW", false)),
                    self.keys,
                    self.key_of("t"),
                )
            };
            // No matter whether the rowid is yet to be chosen: a note for the wrong key is never looked at.
            if self.images() {
                before_insert += &note(&self.same(("t", false), ("NEW", false)));
            }
            let moved = self.moved();
            before_update += &note(&format!("({moved}) AND {}", self.same(("t", false), ("NEW", false))));
            changed.push(moved);
        }
        for (clash, number) in self.clashes.iter().zip(1..) {
            let parts =
                || clash.columns.iter().map(|(column, collation)| (quote::name(column), quote::name(collation)));
            // The condition of each part, and whether the database works the part out.
            let compared = parts().zip(&clash.columns).map(|((column, collation), (name, _))| {
                let field = self.table.columns.iter().find(|field| field.name == *name && !clash.rowid);
                // OR REPLACE puts the default in place of NULL after this trigger has run.
                let new = match field.and_then(|field| field.default.as_ref().filter(|_| field.not_null)) {
                    Some(default) => format!("coalesce(NEW.{column}, {})", default_value(default)),
                    None => format!("NEW.{column}"),
                };
                (field.is_some_and(|field| field.generated), format!("t.{column} = {new} COLLATE {collation}"))
            });
            let (computed, plain): (Vec<_>, Vec<_>) = compared.partition(|(computed, _)| *computed);
            let is_computed = !computed.is_empty();
            let plain = || plain.iter().map(|(_, part)| part.as_str());
            let clashing =
                plain().chain(computed.iter().map(|(_, part)| part.as_str())).collect::<Vec<_>>().join(" AND ");
            let noted = (1..).zip(parts()).map(|(at, (column, _))| format!("c.u{at} IS +t.{column} COLLATE BINARY"));
            let noted = noted.collect::<Vec<_>>().join(" AND ");
            let within = clash.condition.as_ref().map_or(String::new(), |condition| format!(" AND ({condition}\n)"));
            let note = |clashing: &str, itself: &str| {
                format!(
                    "INSERT INTO {guard}(n, {}, {}{old_names}) SELECT {number}, {}, {}{old_values} FROM {target} AS t \
                     WHERE {clashing}{within} AND NOT ({itself}) AND NOT EXISTS \
                     (SELECT 1 FROM {guard} AS c WHERE {} AND c.n = {number} AND {noted}); ",
                    self.keys,
                    listed((1..=clash.columns.len()).map(|at| format!("u{at}"))),
                    self.key_of("t"),
                    listed(parts().map(|(column, _)| format!("t.{column}"))),
                    self.same(("c", true), ("t", false)),
                )
            };
            let updated = self.same(("t", false), ("OLD", false));
            before_insert += &note(&clashing, &itself);
            before_update += &note(&clashing, &updated);
            if is_computed {
                // Before an update NEW holds, of the columns that stay as they are, only those that a trigger names, and
                // works out the others from these. A column that is named here cannot be dropped.
                let fields =
                    self.table.columns.iter().filter(|field| !field.generated && self.may_be_part(&field.name));
                let made_of = listed(fields.map(|field| format!("NEW.{}", quote::name(&field.name))));
                if !made_of.is_empty() {
                    before_update += &format!("SELECT {made_of}; ");
                }
                // What it works out from a default that OR REPLACE is yet to put in cannot be told: any row may go.
                if let Some(replaced) = self.replaced() {
                    let any = std::iter::once(replaced.as_str()).chain(plain()).collect::<Vec<_>>().join(" AND ");
                    before_insert += &note(&any, &itself);
                    before_update += &note(&any, &updated);
                    changed.push(replaced);
                }
            }
            if clash.partial {
                // A column of its condition may change and make the row clash.
                changed.push("1".to_owned());
            }
            changed.extend(parts().map(|(column, _)| format!("OLD.{column} IS NOT NEW.{column} COLLATE BINARY")));
            let hit = (1..)
                .zip(parts())
                .map(|(at, (column, collation))| format!("c.u{at} = +NEW.{column} COLLATE {collation}"));
            let gone = format!(
                "c.n = {number} AND {} AND NOT EXISTS (SELECT 1 FROM {target} AS t WHERE {})",
                hit.collect::<Vec<_>>().join(" AND "),
                self.same(("t", false), ("c", true))
            );
            resolve += &self.record_gone(&gone);
        }
        if self.cascades {
            // Which row was to be updated while notes are there.
            before_update += &format!(
                "INSERT INTO {guard}(n, {}) SELECT -1, {} WHERE EXISTS (SELECT 1 FROM {guard}); ",
                self.keys,
                self.key_of("OLD")
            );
        }
        let clean = |row: &str| format!("DELETE FROM {guard} WHERE {}; ", self.same((guard, true), (row, false)));
        let some = format!(" AND EXISTS (SELECT 1 FROM {guard})");
        let only_rowid = self.clashes.iter().all(|clash| clash.rowid) && !self.images();
        let chosen = match self.clashes.first().filter(|_| only_rowid) {
            Some(clash) => format!(" AND NEW.{} <> -1", quote::name(&clash.columns[0].0)),
            None => String::new(),
        };
        if !before_insert.is_empty() {
            triggers.push(self.trigger("guard_before_insert", "BEFORE INSERT", &chosen, &before_insert));
        }
        if !changed.is_empty() {
            let changed = format!(" AND ({})", changed.join(" OR "));
            triggers.push(self.trigger("guard_before_update", "BEFORE UPDATE", &changed, &before_update));
        }
        let inserted = format!("{}{resolve}", clean("NEW"));
        let updated = format!("{}{}{resolve}", clean("OLD"), clean("NEW"));
        if self.images() {
            // The entries need the notes, so that they are erased by the same trigger, afterwards.
            let moved = self.moved();
            let entry = self.entry("'U'", "NEW", Some("OLD"), Some("NEW"));
            let entries = format!("{}{}", self.entry("'D'", "OLD", Some("OLD"), None), self.image_insert());
            triggers.extend([
                self.trigger("insert", "AFTER INSERT", "", &format!("{}{inserted}", self.image_insert())),
                self.trigger("update", "AFTER UPDATE", &format!(" AND NOT ({moved})"), &format!("{entry}{updated}")),
                self.trigger("rekey", "AFTER UPDATE", &format!(" AND ({moved})"), &format!("{entries}{updated}")),
            ]);
        } else {
            triggers.extend([
                self.trigger("guard_after_insert", "AFTER INSERT", &some, &inserted),
                self.trigger("guard_after_update", "AFTER UPDATE", &some, &updated),
            ]);
        }
        if self.cascades {
            // What REPLACE removes is seen to go before the rows that it takes along, where it is seen at all.
            let seen = format!("DELETE FROM {guard} WHERE {} AND n >= 0; ", self.same((guard, true), ("OLD", false)));
            triggers.push(self.trigger("guard_before_delete", "BEFORE DELETE", &some, &seen));
        }
        triggers.push(self.trigger("guard_after_delete", "AFTER DELETE", &some, &clean("OLD")));
        if self.cascades {
            // After the other, so that it fires before it.
            triggers.push(self.taken_along());
        }
    }

    /// After a row is deleted that was to be updated: which rows are gone of those that are noted. A trigger of its own, as to look through
    /// all notes that were left takes long, and such a row is rare.
    fn taken_along(&self) -> (String, String) {
        let was_to_be_updated = format!(
            " AND EXISTS (SELECT 1 FROM {} AS m WHERE {} AND m.n = -1)",
            self.guard,
            self.same(("m", true), ("OLD", false))
        );
        let gone = format!(
            "c.n >= 0 AND NOT EXISTS (SELECT 1 FROM {} AS t WHERE {})",
            self.target,
            self.same(("t", false), ("c", true))
        );
        self.trigger("guard_after_cascade", "AFTER DELETE", &was_to_be_updated, &self.record_gone(&gone))
    }

    /// Records the deletion of the noted rows of which a condition on their notes, `c`, holds, and erases all notes of them.
    fn record_gone(&self, gone: &str) -> String {
        let guard = &self.guard;
        let noted_key = listed(self.spec.key_columns().map(|column| format!("c.{}", key(&column.name))));
        let same_key = self.spec.key_columns().map(|column| format!("o.{0} IS c.{0}", key(&column.name)));
        format!(
            "INSERT INTO {}(op, time, {}{}) SELECT DISTINCT 'D', {NOW}, {noted_key}{} FROM {guard} AS c WHERE {gone}; \
             DELETE FROM {guard} WHERE rowid IN \
             (SELECT o.rowid FROM {guard} AS c JOIN {guard} AS o ON {} WHERE {gone}); ",
            self.history,
            self.keys,
            self.image_names(),
            self.image_values(Some(("c", true)), None),
            same_key.collect::<Vec<_>>().join(" AND "),
        )
    }

    /// Whether a computed column may be made of this one. SQLite does not tell, but it is named in the table's text then besides where it
    /// is declared.
    fn may_be_part(&self, name: &str) -> bool {
        let text = self.table.sql.to_ascii_lowercase();
        name.contains(['"', '`', '\'']) || text.matches(&name.to_ascii_lowercase()).nth(1).is_some()
    }

    /// Whether the new row has a NULL in whose place OR REPLACE puts a default that a computed column may be made of.
    fn replaced(&self) -> Option<String> {
        let fields = self.table.columns.iter().filter(|field| field.not_null && !field.generated);
        let fields = fields.filter(|field| field.default.is_some() && self.may_be_part(&field.name));
        let nulls = fields.map(|field| format!("NEW.{} IS NULL", quote::name(&field.name))).collect::<Vec<_>>();
        (!nulls.is_empty()).then(|| format!("({})", nulls.join(" OR ")))
    }

    /// The entry of an insert where images are recorded: a REPLACE of a row of the same key is an update.
    fn image_insert(&self) -> String {
        let noted = format!("FROM {} AS c WHERE c.n = 0 AND {}", self.guard, self.same(("c", true), ("NEW", false)));
        let into = format!("INSERT INTO {}(op, time, {}{})", self.history, self.keys, self.image_names());
        let key = self.key_of("NEW");
        format!(
            "{into} SELECT 'U', {NOW}, {key}{} {noted}; {into} SELECT 'I', {NOW}, {key}{} WHERE NOT EXISTS (SELECT 1 {noted}); ",
            self.image_values(Some(("c", true)), Some("NEW")),
            self.image_values(None, Some("NEW")),
        )
    }
}

/// The unique values of a table through which REPLACE may remove another row.
fn clashes(table: &Table) -> Vec<Clash> {
    let lax = (0..table.key.len()).any(|part| table.is_lax(part));
    let mut clashes = Vec::new();
    for (at, index) in table.indexes.iter().enumerate() {
        let Some(columns) = index
            .columns
            .iter()
            .map(|(column, collation)| Some((column.clone()?, collation.clone())))
            .collect::<Option<Vec<_>>>()
        else {
            continue;
        };
        // Rows that clash through an index which holds the whole key have the same key.
        let holds_key = table
            .key_names()
            .all(|key| columns.iter().any(|(column, collation)| column == key && collation == "BINARY"));
        if !lax && (Some(at) == table.key_index || holds_key) {
            continue;
        }
        clashes.push(Clash { columns, rowid: false, partial: index.partial, condition: index.condition.clone() });
    }
    if !table.key_is_rowid() && !table.without_rowid {
        let free = |name: &&str| !table.columns.iter().any(|field| field.name.eq_ignore_ascii_case(name));
        if let Some(rowid) = ["rowid", "_rowid_", "oid"].into_iter().find(free) {
            let columns = vec![(rowid.to_owned(), "BINARY".to_owned())];
            clashes.push(Clash { columns, rowid: true, partial: false, condition: None });
        }
    }
    clashes
}

/// A column's default, as the catalogue has it, as an expression. Behind DEFAULT, and nowhere else, a lone name is a string.
fn default_value(text: &str) -> String {
    const VALUES: [&str; 6] = ["NULL", "TRUE", "FALSE", "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP"];
    let text = text.trim();
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii();
    let between = |open: char, close: char| text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    let word = match text.chars().next() {
        Some(quote @ ('"' | '`')) => {
            between(quote, quote).map(|word| word.replace(&format!("{quote}{quote}"), &quote.to_string()))
        }
        Some('[') => between('[', ']').map(str::to_owned),
        Some(first) if !first.is_ascii_digit() && text.chars().all(is_letter) => {
            (!VALUES.iter().any(|value| text.eq_ignore_ascii_case(value))).then(|| text.to_owned())
        }
        _ => None,
    };
    match word {
        Some(word) => format!("'{}'", word.replace('\'', "''")),
        // It may end in a comment.
        None => format!("({text}\n)"),
    }
}

fn key(column: &str) -> String {
    quote::name(&format!("key_{column}"))
}

fn listed(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// The kind comes first, so that no two tables' triggers can have one name.
pub(super) fn trigger_name(kind: &str, table: &str) -> String {
    format!("concord_{kind}_{table}")
}
