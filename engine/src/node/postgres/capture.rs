//! History tables, and the triggers that write every change's key into them.
//!
//! Ordinary tables have statement-level triggers with transition tables, which cost a bulk change least. A trigger of each
//! row is needed where those cannot tell enough: on partitioned tables (a statement may aim at a partition), where
//! images are recorded (they pair before and after), where a subscription writes (its worker fires no others), and where a
//! cascade can come back to the table it started from (all its deletes share one transition table, so that Concord's own
//! cannot be told from the cascade's).
//!
//! Concord's own writes are not recorded. A write is Concord's own when the session logged in as Concord's role, the
//! transaction announced it in `concord.applying` (the oids of the tables written, between commas), and no trigger or
//! cascade stands between: the statement form compares the depth and the oid, the row form asks the depth at the moment
//! the row changes, when a cascade already counts.
//!
//! Trigger functions run with the rights of Concord's role and under the settings of whoever writes, so every name and
//! operator in them is qualified; a WHEN is bound at creation.

use super::quote::{self, ident, literal};
use super::sql;
use super::wire::Wire;
use super::{HISTORY, SERVICE};
use crate::model::{Column, TableSpec};

/// The function that tells the row form whether to record.
pub const WANTED: &str = "wanted";

/// Microseconds since 1970 when the row or statement was recorded, not when the transaction began: of two commits the
/// later one has the later time. Exact until the year 2106.
const NOW: &str = "(pg_catalog.date_part('epoch'::pg_catalog.text, pg_catalog.clock_timestamp()) \
                   OPERATOR(pg_catalog.*) 1000000::pg_catalog.float8)::pg_catalog.int8";

/// The time taken once for a statement: a variable, named with its block because a column of the same name would win.
const TIME: &str = "concord.t0";

fn declare() -> String {
    format!("<<concord>>\nDECLARE t0 pg_catalog.int8 := {NOW};\n")
}

/// Which triggers a table gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Statement,
    Row,
}

/// The current time in a statement of Concord's own, as triggers take it.
pub fn now() -> &'static str {
    NOW
}

/// The statements that create or replace [`WANTED`].
pub fn wanted(role: &str) -> String {
    // `concord.applying` is NULL until first set, and empty after the transaction that set it. A list of no table is set by a
    // comparison, which may be another sync's under the same role: to this one it is a user.
    let text = format!(
        "BEGIN\n  IF session_user OPERATOR(pg_catalog.<>) {}::pg_catalog.name THEN RETURN true; END IF;\n  \
         RETURN pg_catalog.pg_trigger_depth() OPERATOR(pg_catalog.>) 0\n    \
         OR pg_catalog.current_setting('concord.applying', true) IS NULL\n    \
         OR pg_catalog.current_setting('concord.applying', true) OPERATOR(pg_catalog.=) ''::pg_catalog.text\n    \
         OR pg_catalog.current_setting('concord.applying', true) OPERATOR(pg_catalog.=) ','::pg_catalog.text;\nEND",
        literal(role)
    );
    let name = format!("{HISTORY}.{WANTED}");
    format!(
        "CREATE OR REPLACE FUNCTION {name}() RETURNS pg_catalog.bool LANGUAGE plpgsql STABLE AS {};\n\
         GRANT EXECUTE ON FUNCTION {name}() TO PUBLIC",
        quote::body(&text)
    )
}

/// The columns of the history for one table: (name, type).
pub struct HistoryColumns {
    pub keys: Vec<(String, String)>,
    pub images: Vec<(String, String)>,
}

impl HistoryColumns {
    /// `type_of` gives a column's type without length, domains resolved, so that no legal value can fail here.
    pub fn of(spec: &TableSpec, type_of: impl Fn(&Column) -> String) -> HistoryColumns {
        let keys = spec.key_columns().zip(sql::history_keys(spec)).map(|(column, name)| (name, type_of(column)));
        let images = spec.image_columns().flat_map(|column| {
            let (old, new) = sql::image_columns(column);
            [(old, type_of(column)), (new, type_of(column))]
        });
        HistoryColumns { keys: keys.collect(), images: images.collect() }
    }

    /// The statement that creates the history. `before` and `after` say whether there was a row; NULL means that images
    /// are not known. No constraint that a legal row could fail, no index that a writer would pay for.
    pub fn create(&self, spec: &TableSpec) -> String {
        let define = |(name, ty): &(String, String)| format!(", {} {ty}", ident(name));
        let flags = if self.images.is_empty() { "" } else { ", before pg_catalog.bool, after pg_catalog.bool" };
        format!(
            "CREATE TABLE {} (id pg_catalog.int8 GENERATED ALWAYS AS IDENTITY, \
             xid pg_catalog.xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(), op pg_catalog.\"char\" NOT NULL, \
             \"time\" pg_catalog.int8 NOT NULL, origin pg_catalog.text, number pg_catalog.int8, mark pg_catalog.int8, \
             vector pg_catalog.text{}{flags}{}, PRIMARY KEY (xid, id))",
            sql::history(spec),
            self.keys.iter().map(define).collect::<String>(),
            self.images.iter().map(define).collect::<String>(),
        )
    }
}

/// The names of the trigger functions a table may have.
pub fn functions(shared: &str) -> Vec<String> {
    ["i", "u", "d", "k", "t"].map(|letter| function(shared, letter)).to_vec()
}

fn function(shared: &str, letter: &str) -> String {
    quote::fitting("", &format!("{shared}!{letter}"))
}

/// The statements that create a table's functions and triggers. Trigger names begin with a character that sorts before
/// letters, so that they come before users' triggers of the same kind.
pub fn create(spec: &TableSpec, form: Form, role: &str) -> Vec<String> {
    let capture = Capture { spec, role };
    let mut statements = match form {
        Form::Statement => capture.statement_form(),
        Form::Row => capture.row_form(),
    };
    statements.extend(capture.truncate());
    statements
}

struct Capture<'a> {
    spec: &'a TableSpec,
    role: &'a str,
}

impl Capture<'_> {
    fn statement_form(&self) -> Vec<String> {
        let mut statements = Vec::new();
        for (letter, op, event, side, alias) in [
            ("i", "I", "INSERT", "NEW", "concord_new"),
            ("u", "U", "UPDATE", "NEW", "concord_new"),
            ("d", "D", "DELETE", "OLD", "concord_old"),
        ] {
            let insert = format!(
                "{} SELECT '{op}', {TIME}, {} FROM {alias} AS r",
                self.into(&["op", "time"], false),
                self.values("r")
            );
            statements.push(self.function(letter, &declare(), &insert, true));
            statements.push(self.trigger(
                letter,
                &format!("AFTER {event}"),
                &format!("REFERENCING {side} TABLE AS {alias} FOR EACH STATEMENT"),
            ));
        }
        // What a key was before, and so which rows are new to theirs, can only be told row by row.
        let insert = format!(
            "{} VALUES ('D', {NOW}, {}), ('I', {NOW}, {})",
            self.into(&["op", "time"], false),
            self.values("OLD"),
            self.values("NEW")
        );
        statements.push(self.function("k", "", &insert, true));
        statements.push(self.trigger("k", "AFTER UPDATE", &format!("FOR EACH ROW WHEN ({})", self.key_changed())));
        statements
    }

    fn row_form(&self) -> Vec<String> {
        let insert = |op: &str, before: Option<&str>, after: Option<&str>| {
            let columns =
                if self.spec.images.is_empty() { vec!["op", "time"] } else { vec!["op", "time", "before", "after"] };
            let flags = match self.spec.images.is_empty() {
                true => String::new(),
                false => format!("{}, {}, ", before.is_some(), after.is_some()),
            };
            let keys = self.values(after.or(before).unwrap_or("NEW"));
            let images: String = self
                .spec
                .image_columns()
                .map(|column| {
                    let side = |row: Option<&str>| {
                        row.map_or("NULL".to_owned(), |row| format!("{row}.{}", ident(&column.name)))
                    };
                    format!(", {}, {}", side(before), side(after))
                })
                .collect();
            format!("{} VALUES ('{op}', {NOW}, {flags}{keys}{images})", self.into(&columns, true))
        };
        let update = format!(
            "IF {} THEN\n    {};\n    {};\n  ELSE\n    {};\n  END IF",
            self.key_changed(),
            insert("D", Some("OLD"), None),
            insert("I", None, Some("NEW")),
            insert("U", Some("OLD"), Some("NEW"))
        );
        let mut statements = Vec::new();
        for (letter, event, text) in [
            ("i", "INSERT", insert("I", None, Some("NEW"))),
            ("u", "UPDATE", update),
            ("d", "DELETE", insert("D", Some("OLD"), None)),
        ] {
            statements.push(self.function(letter, "", &text, false));
            let how = format!("FOR EACH ROW WHEN ({HISTORY}.{WANTED}())");
            statements.push(self.trigger(letter, &format!("AFTER {event}"), &how));
        }
        statements
    }

    /// TRUNCATE becomes a delete of each row. Triggers of this kind are not inherited: each partition has its own. It takes rows
    /// whether they are seen or not, so what might hide some makes it fail: a policy, and a snapshot that is older than a commit.
    fn truncate(&self) -> Vec<String> {
        let imaged = !self.spec.images.is_empty();
        let columns: &[&str] = if imaged { &["op", "time", "before", "after"] } else { &["op", "time"] };
        let flags = if imaged { "true, false, " } else { "" };
        let images: String =
            self.spec.image_columns().map(|column| format!(", r.{}, NULL", ident(&column.name))).collect();
        let select = |now: &str, from: &str| {
            format!(
                "{} SELECT 'D', {now}, {flags}{}{images} FROM ONLY {from} AS r",
                self.into(columns, true),
                self.values("r")
            )
        };
        let declare = format!("{}  later pg_catalog.int8;\n  is_old pg_catalog.bool;\n", declare());
        let text = if self.spec.partitioned {
            let dynamic = select("$1", "\u{1}").replace('%', "%%").replace('\u{1}', "%I.%I");
            format!(
                "EXECUTE pg_catalog.format({}::pg_catalog.text, TG_TABLE_SCHEMA, TG_TABLE_NAME) USING {TIME}",
                literal(&dynamic)
            )
        } else {
            select(TIME, &sql::table(self.spec))
        };
        let text = format!("{};\n  {text}", refuse_old_snapshot());
        let mut statements = vec![self.function("t", &declare, &text, false)];
        let how = format!("FOR EACH STATEMENT WHEN ({HISTORY}.{WANTED}())");
        if self.spec.partitioned {
            // Names of partitions come from the catalogue, quoted by it.
            for leaf in &self.spec.partitions {
                statements.push(self.trigger_on(leaf, "t", "BEFORE TRUNCATE", &how));
            }
        } else {
            statements.push(self.trigger("t", "BEFORE TRUNCATE", &how));
        }
        statements
    }

    fn into(&self, columns: &[&str], images: bool) -> String {
        let mut names: Vec<String> = columns.iter().map(|name| ident(name)).collect();
        names.extend(sql::history_keys(self.spec));
        if images {
            for column in self.spec.image_columns() {
                let (old, new) = sql::image_columns(column);
                names.extend([ident(&old), ident(&new)]);
            }
        }
        format!("INSERT INTO {} ({})", sql::history(self.spec), names.join(", "))
    }

    fn values(&self, row: &str) -> String {
        self.spec.key_columns().map(|column| format!("{row}.{}", ident(&column.name))).collect::<Vec<_>>().join(", ")
    }

    fn key_changed(&self) -> String {
        let changed = self.spec.key_columns().map(|column| {
            let name = ident(&column.name);
            // A type with an equality of its own may call two spellings equal; here they are two keys.
            let text = if matches!(Wire::of(column), Wire::Native(_)) { "::pg_catalog.text" } else { "" };
            // IS DISTINCT FROM would take whatever `=` the writer's search path has, with the rights of Concord's role.
            format!("(OLD.{name}{text} OPERATOR(pg_catalog.=) NEW.{name}{text}) IS NOT TRUE")
        });
        changed.collect::<Vec<_>>().join(" OR ")
    }

    fn function(&self, letter: &str, declare: &str, text: &str, asks: bool) -> String {
        let name = format!("{HISTORY}.{}", ident(&function(&self.spec.name, letter)));
        let ask = match asks {
            false => String::new(),
            true => format!(
                "  IF session_user OPERATOR(pg_catalog.=) {}::pg_catalog.name THEN\n    \
                 IF pg_catalog.pg_trigger_depth() OPERATOR(pg_catalog.=) 1 AND pg_catalog.strpos(\
                 pg_catalog.current_setting('concord.applying', true), ','::pg_catalog.text OPERATOR(pg_catalog.||) \
                 TG_RELID::pg_catalog.text OPERATOR(pg_catalog.||) ','::pg_catalog.text) OPERATOR(pg_catalog.>) 0 \
                 THEN RETURN NULL; END IF;\n  END IF;\n",
                literal(self.role)
            ),
        };
        let text = format!("#variable_conflict use_column\n{declare}BEGIN\n{ask}  {text};\n  RETURN NULL;\nEND");
        let settings = if letter == "t" { " SET row_security = off" } else { "" };
        format!(
            "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER{settings} AS {};\n\
             REVOKE ALL ON FUNCTION {name}() FROM PUBLIC",
            quote::body(&text)
        )
    }

    fn trigger(&self, letter: &str, when: &str, how: &str) -> String {
        self.trigger_on(&sql::table(self.spec), letter, when, how)
    }

    fn trigger_on(&self, table: &str, letter: &str, when: &str, how: &str) -> String {
        let function = ident(&function(&self.spec.name, letter));
        format!(
            "CREATE TRIGGER {} {when} ON {table} {how} EXECUTE FUNCTION {HISTORY}.{function}()",
            trigger_name(letter)
        )
    }
}

/// Statements that fail where the snapshot is kept for the transaction and somebody has committed since it was taken: rows of his
/// would go unseen. Whoever has not ended yet cannot have written to the table, which is locked. Who wrote what nobody can tell, so
/// each commit on the server counts, up to the first one: of those who were at work when the snapshot was taken, and of those who
/// began later, up to the number that is not given out yet, which the server refuses to look up. The transaction's own number
/// is no bound, as it may have been drawn long before.
fn refuse_old_snapshot() -> String {
    let has_committed =
        |xid: &str| format!("pg_catalog.pg_xact_status({xid}) OPERATOR(pg_catalog.=) 'committed'::pg_catalog.text");
    format!(
        "IF pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.=) \
         ANY (ARRAY['repeatable read', 'serializable']::pg_catalog.text[]) THEN\n    \
         concord.is_old := EXISTS (SELECT FROM pg_catalog.pg_snapshot_xip(pg_catalog.pg_current_snapshot()) AS x WHERE {});\n    \
         concord.later := pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8;\n    \
         BEGIN\n      \
         WHILE concord.is_old IS NOT TRUE LOOP\n        \
         concord.is_old := {};\n        \
         concord.later := concord.later OPERATOR(pg_catalog.+) 1::pg_catalog.int8;\n      \
         END LOOP;\n    \
         EXCEPTION WHEN SQLSTATE '22023' THEN NULL;\n    \
         END;\n    \
         IF concord.is_old THEN\n      \
         RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = 'TRUNCATE of a table that Concord records needs READ COMMITTED: somebody \
         on this server has committed since this transaction took its snapshot', \
         DETAIL = 'Each row that goes is recorded, and those that this transaction does not see would be missed.', \
         HINT = 'Begin the transaction with ISOLATION LEVEL READ COMMITTED. On a busy server the same may happen each time.';\n    \
         END IF;\n  \
         END IF",
        has_committed("x"),
        has_committed("concord.later::pg_catalog.text::pg_catalog.xid8")
    )
}

fn trigger_name(letter: &str) -> String {
    ident(&format!("!{SERVICE}_{letter}"))
}

/// By table (the partitions have triggers of their own) the statement that makes the triggers fire in replication sessions
/// as well, which only the table's owner may ask for.
pub fn always(spec: &TableSpec, form: Form) -> Vec<(String, String)> {
    let mut letters = match form {
        Form::Statement => vec!["i", "u", "d", "k"],
        Form::Row => vec!["i", "u", "d"],
    };
    // Without ONLY the root would ask for the partitions', which may belong to somebody else.
    let enable = |table: &str, letters: &[&str]| {
        let actions: Vec<_> =
            letters.iter().map(|letter| format!("ENABLE ALWAYS TRIGGER {}", trigger_name(letter))).collect();
        (table.to_owned(), format!("ALTER TABLE ONLY {table} {}", actions.join(", ")))
    };
    if spec.partitioned {
        let root = enable(&sql::table(spec), &letters);
        letters.push("t");
        [root].into_iter().chain(spec.partitions.iter().map(|leaf| enable(leaf, &letters))).collect()
    } else {
        letters.push("t");
        vec![enable(&sql::table(spec), &letters)]
    }
}
