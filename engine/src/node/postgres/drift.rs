//! What `install` left behind, and in which words a table differs from it.

use std::collections::BTreeMap;

use super::schema::get;
use super::wire::Args;
use super::{HISTORY, Postgres, sql};
use crate::model::TableSpec;
use crate::node::{Drift, Result, found};

/// Facts about one table: (kind, name) and details.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(BTreeMap<(String, String), String>);

/// Columns, unique indexes, partitions, references that cascade, Concord's triggers with their functions, and the history; besides
/// what `install` refuses and nobody keeps a table from getting afterwards.
/// Names that were found are text; details are opaque except for a column's, which begin with its number, and a trigger's,
/// which begin with when it fires. Its state is the transaction that wrote its row of the catalogue last: another one has
/// switched it off or on. An index that is not valid is none yet, or none any more: REINDEX CONCURRENTLY has one beside that which
/// it replaces for as long as it takes.
const FACTS: &str = "SELECT t.n, f.kind, f.name, f.details \
    FROM unnest($1::pg_catalog.text[], $2::pg_catalog.text[]) WITH ORDINALITY AS t (tab, hist, n), \
    LATERAL (SELECT pg_catalog.to_regclass(t.tab)::pg_catalog.oid AS oid, pg_catalog.to_regclass(t.hist)::pg_catalog.oid AS hist) r, \
    LATERAL ( \
        SELECT 'column' AS kind, a.attname::pg_catalog.text AS name, pg_catalog.concat_ws(' ', a.attnum, \
            pg_catalog.format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END, \
            CASE WHEN a.attgenerated <> '' THEN 'generated' END, \
            CASE a.attidentity WHEN 'a' THEN 'identity always' WHEN 'd' THEN 'identity' END) AS details \
        FROM pg_catalog.pg_attribute a WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped \
    UNION ALL \
        SELECT 'history', a.attname::pg_catalog.text, pg_catalog.format_type(a.atttypid, a.atttypmod) \
        FROM pg_catalog.pg_attribute a WHERE a.attrelid = r.hist AND a.attnum > 0 AND NOT a.attisdropped \
    UNION ALL \
        SELECT CASE WHEN i.indisprimary THEN 'primary key' ELSE 'unique index' END, c.relname::pg_catalog.text, \
            pg_catalog.concat_ws(' ', i.indkey, i.indimmediate, i.indisvalid, \
                pg_catalog.md5(i.indpred::pg_catalog.text), pg_catalog.md5(i.indexprs::pg_catalog.text)) \
        FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
        WHERE i.indrelid = r.oid AND i.indisunique AND i.indisvalid \
    UNION ALL \
        SELECT 'partition', p.relid::pg_catalog.regclass::pg_catalog.text, '' \
        FROM pg_catalog.pg_partition_tree(r.oid) p WHERE p.level > 0 \
    UNION ALL \
        SELECT 'cascading reference', f.conname::pg_catalog.text || ' of ' || f.conrelid::pg_catalog.regclass::pg_catalog.text, '' \
        FROM pg_catalog.pg_constraint f WHERE f.contype = 'f' AND f.conparentid = 0 \
            AND (f.conrelid = r.oid OR f.confrelid = r.oid \
                OR f.confrelid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(r.oid) p)) \
            AND (f.confdeltype IN ('c', 'n', 'd') OR f.confupdtype IN ('c', 'n', 'd')) \
    UNION ALL \
        SELECT 'trigger', g.tgname::pg_catalog.text || CASE WHEN g.tgrelid = r.oid THEN '' \
                ELSE ' on ' || g.tgrelid::pg_catalog.regclass::pg_catalog.text END, \
            pg_catalog.concat_ws(' ', g.tgenabled, g.tgtype, pg_catalog.md5(g.tgqual::pg_catalog.text), p.proname) \
        FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid AND p.pronamespace = \
            (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $3) \
        WHERE g.tgrelid = r.oid OR g.tgrelid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(r.oid) p) \
    UNION ALL \
        SELECT 'trigger state', g.tgname::pg_catalog.text || CASE WHEN g.tgrelid = r.oid THEN '' \
                ELSE ' on ' || g.tgrelid::pg_catalog.regclass::pg_catalog.text END, g.xmin::pg_catalog.text \
        FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid AND p.pronamespace = \
            (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $3) \
        WHERE g.tgrelid = r.oid OR g.tgrelid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(r.oid) p) \
    UNION ALL \
        SELECT DISTINCT 'function', p.proname::pg_catalog.text, pg_catalog.concat_ws(' ', p.prosecdef, p.proowner, \
            p.proconfig, p.proacl, pg_catalog.md5(p.prosrc)) \
        FROM pg_catalog.pg_proc p WHERE p.pronamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $3) \
            AND (p.proname = $4 OR p.oid IN (SELECT g.tgfoid FROM pg_catalog.pg_trigger g WHERE g.tgrelid = r.oid \
                OR g.tgrelid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(r.oid) p))) \
    UNION ALL \
        SELECT 'row-level security', '', '' WHERE pg_catalog.row_security_active(r.oid) OR EXISTS \
            (SELECT FROM pg_catalog.pg_partition_tree(r.oid) p WHERE pg_catalog.row_security_active(p.relid)) \
    UNION ALL \
        SELECT 'parent', h.inhparent::pg_catalog.regclass::pg_catalog.text, '' FROM pg_catalog.pg_inherits h \
        WHERE h.inhrelid = r.oid \
    UNION ALL \
        SELECT 'child', h.inhrelid::pg_catalog.regclass::pg_catalog.text, '' FROM pg_catalog.pg_inherits h \
            JOIN pg_catalog.pg_class c ON c.oid = h.inhparent AND c.relkind = 'r' WHERE h.inhparent = r.oid \
    UNION ALL \
        SELECT 'rewrite rule', w.rulename::pg_catalog.text, '' FROM pg_catalog.pg_rewrite w WHERE w.ev_class = r.oid \
    UNION ALL \
        SELECT 'unlogged', '', '' FROM pg_catalog.pg_class c WHERE c.oid = r.oid AND c.relpersistence = 'u' \
    UNION ALL \
        SELECT 'subscription', '', '' WHERE EXISTS (SELECT FROM pg_catalog.pg_subscription_rel s WHERE s.srrelid = r.oid) \
    UNION ALL \
        SELECT 'role', session_user::pg_catalog.text, '') f";

impl Fingerprint {
    pub fn write(&self) -> String {
        let facts: Vec<_> = self.0.iter().map(|((kind, name), details)| [kind, name, details]).collect();
        serde_json::json!(facts).to_string()
    }

    /// Text that is not a fingerprint reads as an empty one, from which everything differs.
    pub fn read(text: &str) -> Fingerprint {
        let facts: Vec<[String; 3]> = serde_json::from_str(text).unwrap_or_default();
        Fingerprint(facts.into_iter().map(|[kind, name, details]| ((kind, name), details)).collect())
    }

    /// How the table is another now, if it is.
    pub fn drift(&self, now: &Fingerprint) -> Option<Drift> {
        let differences = self.differences(now);
        // Cascades decide how changes have to be recorded. A partition goes with its rows, and comes with those it has.
        let records =
            |kind: &str| matches!(kind, "trigger" | "trigger state" | "function" | "cascading reference" | "partition");
        let differs = |fact: &(String, String), details: &String| {
            now.0.get(fact) != Some(details) && !self.made_always(now, &fact.1)
        };
        let other = self.0.iter().any(|(fact, details)| records(&fact.0) && differs(fact, details));
        let adds =
            |kinds: &[&str]| now.0.keys().any(|fact| kinds.contains(&fact.0.as_str()) && !self.0.contains_key(fact));
        let evades = adds(&["parent", "child", "rewrite rule"]);
        let new = evades || adds(&["cascading reference", "partition"]);
        let dropped = self.0.keys().any(|fact| fact.0 == "history" && !now.0.contains_key(fact));
        let mut what = differences.join("; ");
        if evades {
            // Who undoes it leaves the table as it was installed, and nothing that would remind of it.
            what += "; once that is undone, compare its rows: `concord verify --repair`";
        }
        let has_triggers = |print: &Fingerprint| print.0.keys().any(|(kind, _)| kind == "trigger");
        if has_triggers(self) && !has_triggers(now) {
            what += "; if the former table still stands under another name, its triggers went with it and tell of changes there as if they \
                     were made here: change nothing there before `concord install`";
        }
        (!differences.is_empty()).then_some(Drift { what, unrecorded: other || new, dropped })
    }

    /// Whether all triggers fire in replication sessions as well.
    pub fn fires_always(&self) -> bool {
        self.0.iter().all(|((kind, _), details)| kind != "trigger" || details.starts_with('A'))
    }

    /// Whether nothing is different but that triggers fire in replication sessions as well.
    pub fn only_made_always(&self, now: &Fingerprint) -> bool {
        let mut made = false;
        let same = |(fact, details): (&(String, String), &String)| {
            let always = matches!(fact.0.as_str(), "trigger" | "trigger state") && self.made_always(now, &fact.1);
            made |= always;
            always || now.0.get(fact) == Some(details)
        };
        self.0.len() == now.0.len() && self.0.iter().all(same) && made
    }

    /// Whether the owner made a trigger of this name fire in replication sessions as well, which loses nothing.
    fn made_always(&self, now: &Fingerprint, name: &str) -> bool {
        let details = |print: &'_ Fingerprint| print.0.get(&("trigger".to_owned(), name.to_owned())).cloned();
        let (before, now) = (details(self), details(now));
        let rest = |details: &Option<String>, when: char| {
            details.as_deref().and_then(|details| details.strip_prefix(when)).map(str::to_owned)
        };
        rest(&before, 'O').is_some_and(|before| Some(before) == rest(&now, 'A'))
    }

    /// Whether another table has taken the place of the one that was installed, with the same names for the columns of the key and
    /// for those with images: none of its triggers is one that was there.
    pub fn is_moved(&self, now: &Fingerprint) -> bool {
        let mut states = self.0.iter().filter(|(fact, _)| fact.0 == "trigger state").peekable();
        let recorded = self.recorded();
        recorded.is_some()
            && recorded == now.recorded()
            && states.peek().is_some()
            && states.all(|(fact, details)| now.0.get(fact) != Some(details))
    }

    /// The names of the columns with images.
    pub fn images(&self) -> Vec<String> {
        self.recorded().map(|(_, images)| images).unwrap_or_default()
    }

    /// The names of the columns of the key, and of those with images.
    fn recorded(&self) -> Option<(Vec<String>, Vec<String>)> {
        let settings = self.0.get(&("setting".to_owned(), String::new()))?;
        let (_, key, images, _): (String, Vec<String>, Vec<String>, bool) = serde_json::from_str(settings).ok()?;
        Some((key, images))
    }

    /// What is different now; empty if nothing is.
    pub fn differences(&self, now: &Fingerprint) -> Vec<String> {
        if now.0.keys().all(|(kind, _)| kind != "column") {
            return vec!["the table is gone".to_owned()];
        }
        let mut words = Vec::new();
        let gone: Vec<_> = self.0.iter().filter(|(fact, _)| !now.0.contains_key(*fact)).collect();
        let mut new: Vec<_> = now.0.iter().filter(|(fact, _)| !self.0.contains_key(*fact)).collect();
        for ((kind, name), details) in gone {
            // Without its trigger a function is not looked for.
            if kind == "function" && name != super::capture::WANTED {
                continue;
            }
            // The triggers that it took see everybody else's changes too. A trigger's state is gone with it.
            if matches!(kind.as_str(), "subscription" | "trigger state") {
                continue;
            }
            let number = |details: &str| details.split(' ').next().map(str::to_owned);
            let renamed = new
                .iter()
                .position(|((other, _), now)| kind == "column" && other == kind && number(now) == number(details));
            words.push(match (kind.as_str(), renamed) {
                (_, Some(at)) => format!("column {name} was renamed to {}", new.remove(at).0.1),
                ("column", None) => format!("column {name} was dropped"),
                ("history", None) => format!("the history lacks its column {name}"),
                ("role", None) => format!("it was installed by role {name}"),
                ("setting", None) => "it was configured otherwise".to_owned(),
                ("row-level security", None) => "row-level security no longer hides rows".to_owned(),
                (_, None) => format!("{kind} {name} is missing"),
            });
        }
        for ((kind, name), _) in new {
            words.push(match kind.as_str() {
                // Partitions bring copies of the triggers along.
                "setting" | "trigger" | "trigger state" | "function" => continue,
                "role" => format!("the role connected now is {name}"),
                "history" => format!("the history has a column {name} that is not Concord's"),
                "row-level security" => "row-level security hides rows".to_owned(),
                "parent" => format!("it belongs to {name} now, and what is changed by way of that is not recorded"),
                "child" => format!("{name} inherits from it now, whose rows are read with it and not recorded"),
                "unlogged" => "it is unlogged now, so that a crash of the server empties it unnoticed".to_owned(),
                "subscription" => {
                    "a subscription writes to it now, some of whose changes may have been missed".to_owned()
                }
                _ => format!("{kind} {name} was added"),
            });
        }
        let then = now;
        for (fact, details) in &self.0 {
            let Some(now) = then.0.get(fact).filter(|now| *now != details) else { continue };
            let (kind, name) = fact;
            let trigger = ("trigger".to_owned(), name.clone());
            match kind.as_str() {
                "trigger" | "trigger state" if self.made_always(then, name) => continue,
                // What else was changed about it is told by itself.
                "trigger state" if self.0.get(&trigger) != then.0.get(&trigger) => continue,
                _ => {}
            }
            words.push(match kind.as_str() {
                "column" => {
                    let without_number =
                        |details: &str| details.split_once(' ').map_or("", |(_, rest)| rest).to_owned();
                    match (without_number(details), without_number(now)) {
                        (then, now) if then == now => format!("column {name} was made anew"),
                        (then, now) => format!("column {name} was {then} and is {now}"),
                    }
                }
                "function" => format!("the body or the owner of function {HISTORY}.{name} was changed"),
                "trigger" if now.starts_with('D') => format!("trigger {name} is disabled"),
                "trigger state" => format!("trigger {name} was switched off for a while, or made anew"),
                "setting" => found::configured_otherwise(details, now),
                _ => format!("{kind} {name} was changed"),
            });
        }
        words
    }
}

impl Postgres {
    /// The tables as they are now. A table that does not exist has no columns.
    pub(super) async fn fingerprints(&mut self, tables: &[TableSpec]) -> Result<Vec<Fingerprint>> {
        let mut prints: Vec<Fingerprint> = tables
            .iter()
            .map(|spec| {
                let mut print = Fingerprint::default();
                print.0.insert(("setting".to_owned(), String::new()), settings(spec));
                print
            })
            .collect();
        let mut args = Args::new();
        args.add(tables.iter().map(sql::table).collect::<Vec<_>>())
            .add(tables.iter().map(sql::history).collect::<Vec<_>>())
            .add(HISTORY)
            .add(super::capture::WANTED);
        for row in self.fetch(FACTS, args).await? {
            let table: i64 = get(&row, 0)?;
            prints[table as usize - 1].0.insert((get(&row, 1)?, get(&row, 2)?), get(&row, 3)?);
        }
        Ok(prints)
    }
}

/// What the triggers and the history depend on besides the catalogue.
fn settings(spec: &TableSpec) -> String {
    let names = |columns: &mut dyn Iterator<Item = &crate::model::Column>| {
        columns.map(|column| column.name.clone()).collect::<Vec<_>>()
    };
    serde_json::json!([
        sql::table(spec),
        names(&mut spec.key_columns()),
        names(&mut spec.image_columns()),
        spec.captured
    ])
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(facts: &[[&str; 3]]) -> Fingerprint {
        Fingerprint::read(&serde_json::json!(facts).to_string())
    }

    #[test]
    fn differences_are_told_in_words() {
        let before = print(&[
            ["column", "id", "1 integer not null"],
            ["column", "name", "2 text"],
            ["column", "city", "3 text"],
            ["trigger", "!concord_i", "A 5"],
            ["trigger", "!concord_u", "A 17"],
            ["function", "t!i", "x"],
        ]);
        assert_eq!(Fingerprint::read(&before.write()), before);
        assert!(before.differences(&before).is_empty());
        let now = print(&[
            ["column", "id", "1 bigint not null"],
            ["column", "label", "2 text"],
            ["column", "email", "4 text"],
            ["trigger", "!concord_u", "D 17"],
            ["function", "t!i", "y"],
        ]);
        assert_eq!(
            before.differences(&now),
            [
                "column city was dropped",
                "column name was renamed to label",
                "trigger !concord_i is missing",
                "column email was added",
                "column id was integer not null and is bigint not null",
                "the body or the owner of function history_store.t!i was changed",
                "trigger !concord_u is disabled",
            ]
        );
        let [then, now] = ["2 text", "3 text"].map(|details| print(&[["column", "name", details]]));
        assert_eq!(then.differences(&now), ["column name was made anew"]);
        let installed_for = |table: &str, captured: bool| {
            let settings = format!("[\"\\\"public\\\".\\\"{table}\\\"\",[\"id\"],[],{captured}]");
            print(&[["column", "id", "1 integer"], ["setting", "", &settings]])
        };
        let stock = installed_for("stock", true);
        let renamed = ["it was installed for the table \"public\".\"stock\""];
        assert_eq!(stock.differences(&installed_for("warehouse", true)), renamed);
        let otherwise = ["its key, its images or its direction were configured otherwise"];
        assert_eq!(stock.differences(&installed_for("stock", false)), otherwise);
        assert_eq!(before.differences(&print(&[["role", "x", ""]])), ["the table is gone"]);
    }

    #[test]
    fn a_trigger_that_was_switched_off_and_on_is_told_by_its_state() {
        let facts = |when: &'static str, state: &'static str| {
            print(&[["column", "id", "1 integer"], ["trigger", "i", when], ["trigger state", "i", state]])
        };
        let left = facts("O 5", "700");
        assert_eq!(
            left.drift(&facts("O 5", "900")),
            Some(Drift {
                what: "trigger i was switched off for a while, or made anew".to_owned(),
                unrecorded: true,
                dropped: false
            })
        );
        // The owner may let it fire in replication sessions as well, and not take that back.
        let always = facts("A 5", "900");
        assert!(left.drift(&always).is_none() && left.only_made_always(&always) && always.fires_always());
        assert!(always.drift(&left).is_some() && !always.only_made_always(&left) && !left.fires_always());
        assert_eq!(left.differences(&facts("D 5", "900")), ["trigger i is disabled"]);
        assert!(left.drift(&facts("A 7", "900")).is_some_and(|drift| drift.unrecorded));
        // What an earlier Concord left says nothing of states.
        assert_eq!(print(&[["column", "id", "1 integer"], ["trigger", "i", "O 5"]]).drift(&left), None);
    }

    #[test]
    fn another_table_in_its_place_is_known_by_its_triggers() {
        let setting = |key: &str| format!("[\"t\",[\"{key}\"],[\"n\"],true]");
        let [own, other] = [setting("id"), setting("code")];
        let facts = |setting: &str, state: &str| {
            print(&[["setting", "", setting], ["trigger", "i", "A 5"], ["trigger state", "i", state]])
        };
        let left = facts(&own, "700");
        assert!(left.is_moved(&facts(&own, "900")) && left.is_moved(&print(&[["setting", "", &own]])));
        assert!(!left.is_moved(&left) && !left.is_moved(&facts(&other, "900")));
        assert_eq!(left.images(), ["n"]);
        let gone = left.drift(&print(&[["setting", "", &own], ["column", "id", "1 integer"]])).unwrap_or_default();
        assert!(gone.what.contains("change nothing there before `concord install`") && gone.unrecorded, "{gone:?}");
    }

    #[test]
    fn what_a_drift_may_have_cost() {
        let left = [
            ["column", "id", "1 integer"],
            ["function", "t!i", "x"],
            ["history", "id", "bigint"],
            ["trigger", "i", "A"],
        ];
        let cost = |now: &[[&str; 3]]| print(&left).drift(&print(now)).map(|drift| (drift.unrecorded, drift.dropped));
        let with = |at: usize, fact: [&'static str; 3]| {
            let mut now = left;
            now[at] = fact;
            now
        };
        assert_eq!(cost(&left), None);
        assert_eq!(cost(&with(0, ["column", "id", "1 bigint"])), Some((false, false)));
        assert_eq!(cost(&with(1, ["function", "t!i", "y"])), Some((true, false)));
        assert_eq!(cost(&with(3, ["trigger", "i", "D"])), Some((true, false)));
        assert_eq!(cost(&[left[0], left[1], left[3]]), Some((false, true)));
        assert_eq!(cost(&left[..1]), Some((true, true)));
        let part = ["partition", "public.low", ""];
        let parted = [left[0], left[1], left[2], part, left[3]];
        assert_eq!(cost(&parted), Some((true, false)), "its rows came with it");
        let gone = print(&parted).drift(&print(&left)).map(|drift| drift.unrecorded);
        assert_eq!(gone, Some(true), "its rows went with it");
        for kind in ["parent", "child", "rewrite rule"] {
            let now = [left[0], left[1], left[2], left[3], [kind, "public.other", ""]];
            assert_eq!(cost(&now), Some((true, false)), "{kind}");
            let told = print(&left).drift(&print(&now)).unwrap_or_default().what;
            assert!(told.ends_with("once that is undone, compare its rows: `concord verify --repair`"), "{told}");
        }
    }
}
