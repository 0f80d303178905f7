//! What `install` left behind, and in which words a table differs from it.

use std::collections::{BTreeMap, HashSet};

use super::cascades::{self, Edge};
use super::schema::TriggerFacts;
use super::wire::{Args, string};
use super::{MySql, capture, quote, sql};
use crate::digest::short_digest;
use crate::model::TableSpec;
use crate::node::{Drift, Result, found};

/// Facts about one table: (kind, name) and details.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(BTreeMap<(String, String), String>);

impl Fingerprint {
    fn add(&mut self, kind: &str, name: impl Into<String>, details: impl Into<String>) {
        self.0.insert((kind.to_owned(), name.into()), details.into());
    }

    pub fn write(&self) -> String {
        let facts: Vec<_> = self.0.iter().map(|((kind, name), details)| [kind, name, details]).collect();
        serde_json::json!(facts).to_string()
    }

    /// Text that is not a fingerprint reads as an empty one, from which everything differs.
    pub fn read(text: &str) -> Fingerprint {
        let facts: Vec<[String; 3]> = serde_json::from_str(text).unwrap_or_default();
        Fingerprint(facts.into_iter().map(|[kind, name, details]| ((kind, name), details)).collect())
    }

    /// Whether the history is there.
    pub fn has_history(&self) -> bool {
        self.0.keys().any(|(kind, _)| kind == "history")
    }

    /// How the table is another now, if it is.
    pub fn drift(&self, now: &Fingerprint) -> Option<Drift> {
        let differences = self.differences(now);
        // References that act decide how changes have to be recorded.
        let records = |kind: &str| matches!(kind, "trigger" | "trigger since" | "reference that acts");
        let other = self.0.iter().any(|(fact, details)| records(&fact.0) && now.0.get(fact) != Some(details));
        let new = now.0.keys().any(|fact| fact.0 == "reference that acts" && !self.0.contains_key(fact));
        // A partition goes with its rows.
        let part = self.0.keys().any(|fact| fact.0 == "partition" && !now.0.contains_key(fact));
        let dropped = self.0.keys().any(|fact| fact.0 == "history" && !now.0.contains_key(fact));
        let what = differences.join("; ");
        let unrecorded = other || new || part || self.is_unknown();
        (!differences.is_empty()).then_some(Drift { what, unrecorded, dropped })
    }

    /// Whether nothing is told of the table, as while its history is replaced.
    fn is_unknown(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the history is about the same columns of the table, by name or by place, whatever their types are now.
    pub fn records_the_same(&self, now: &Fingerprint) -> bool {
        if self.records_others(now) {
            return false;
        }
        let (Some(then), Some(now)) = (self.recorded(), now.recorded()) else { return false };
        then.iter().zip(&now).all(|(then, now)| then.len() == now.len())
            && (then.iter().flatten().map(|(name, _)| name).eq(now.iter().flatten().map(|(name, _)| name))
                || then.iter().flatten().map(|(_, place)| place).eq(now.iter().flatten().map(|(_, place)| place)))
    }

    /// Whether the history is about other columns of the table than those that are recorded now, and would be taken to tell of these if
    /// their types are alike. One that is gone, where another is that was not there before, may only be called otherwise.
    pub fn records_others(&self, now: &Fingerprint) -> bool {
        // Of what an install made that was broken off nothing is known, but that it was to be as its layout says.
        let (Some(recorded), Some(wanted)) = (self.recorded(), now.recorded()) else { return false };
        let (stood, stands) = (self.columns(), now.columns());
        let is_other = |then: &str, now: &str| then != now && (stands.contains(then) || stood.contains(now));
        recorded.iter().zip(&wanted).any(|(then, now)| {
            then.len() != now.len() || then.iter().zip(now).any(|((then, _), (now, _))| is_other(then, now))
        })
    }

    /// The names of the table's columns.
    fn columns(&self) -> HashSet<&str> {
        self.0.keys().filter(|(kind, _)| kind == "column").map(|(_, name)| name.as_str()).collect()
    }

    /// Name and place of the columns of the key, and of those with images.
    fn recorded(&self) -> Option<[Vec<(String, &str)>; 2]> {
        let settings = self.0.get(&("setting".to_owned(), String::new()))?;
        let (_, key, images, _): (String, Vec<String>, Vec<String>, bool) = serde_json::from_str(settings).ok()?;
        Some([self.placed(key)?, self.placed(images)?])
    }

    fn placed(&self, names: Vec<String>) -> Option<Vec<(String, &str)>> {
        let mut placed = Vec::with_capacity(names.len());
        for name in names {
            let details = self.0.get(&("column".to_owned(), name.clone()))?;
            placed.push((name, details.split(' ').next()?));
        }
        Some(placed)
    }

    /// What is different now; empty if nothing is.
    pub fn differences(&self, now: &Fingerprint) -> Vec<String> {
        if now.0.keys().all(|(kind, _)| kind != "column") {
            return vec!["the table is gone".to_owned()];
        }
        if self.is_unknown() {
            return vec!["its install was broken off, or what it left cannot be read".to_owned()];
        }
        let mut words = Vec::new();
        let gone: Vec<_> = self.0.iter().filter(|(fact, _)| !now.0.contains_key(*fact)).collect();
        let mut new: Vec<_> = now.0.iter().filter(|(fact, _)| !self.0.contains_key(*fact)).collect();
        for ((kind, name), details) in gone {
            let number = |details: &str| details.split(' ').next().map(str::to_owned);
            let renamed = new
                .iter()
                .position(|((other, _), now)| kind == "column" && other == kind && number(now) == number(details));
            words.push(match (kind.as_str(), renamed) {
                ("trigger since" | "elsewhere", _) => continue,
                (_, Some(at)) => format!("column {name} was renamed to {}", new.remove(at).0.1),
                ("column", None) => format!("column {name} was dropped"),
                ("history", None) => format!("the history lacks its column {name}"),
                ("account", None) => format!("it was installed by {name}"),
                ("setting", None) => "it was configured otherwise".to_owned(),
                _ => format!("{kind} {name} is missing"),
            });
        }
        for ((kind, name), _) in new {
            words.push(match kind.as_str() {
                "setting" | "trigger since" => continue,
                "account" => format!("the account connected now is {name}"),
                "elsewhere" => found::strayed(name),
                "history" => format!("the history has a column {name} that is not Concord's"),
                _ => format!("{kind} {name} was added"),
            });
        }
        for (fact, details) in &self.0 {
            let Some(now) = now.0.get(fact).filter(|now| *now != details) else { continue };
            let (kind, name) = fact;
            words.push(match kind.as_str() {
                "column" => {
                    let without_number =
                        |details: &str| details.split_once(' ').map_or("", |(_, rest)| rest).to_owned();
                    match (without_number(details), without_number(now)) {
                        (then, now) if then == now => {
                            format!("column {name} now stands at another place among the columns")
                        }
                        (then, now) => format!("column {name} was {then} and is {now}"),
                    }
                }
                "trigger" => format!("the body or the owner of trigger {name} was changed"),
                "trigger since" => format!("trigger {name} was made anew, as when the table is put back from a dump"),
                "setting" => found::configured_otherwise(details, now),
                "engine" => format!("the table is kept by {now} and not by {details}"),
                _ => format!("{kind} {name} was changed"),
            });
        }
        words
    }
}

impl MySql {
    /// The tables as they are now. A table that does not exist has no columns.
    pub(super) async fn fingerprints(&mut self, tables: &[TableSpec]) -> Result<Vec<Fingerprint>> {
        let edges = self.read_edges().await?;
        let triggers = self.read_triggers().await?;
        let mut prints = Vec::with_capacity(tables.len());
        for spec in tables {
            prints.push(self.fingerprint(spec, &edges, &triggers).await?);
        }
        Ok(prints)
    }

    async fn fingerprint(
        &mut self,
        spec: &TableSpec,
        edges: &[Edge],
        triggers: &[TriggerFacts],
    ) -> Result<Fingerprint> {
        let mut print = Fingerprint::default();
        print.add("setting", "", settings(spec));
        print.add("account", self.main()?.facts.account.clone(), "");
        for (at, facts) in self.read_columns(&spec.local).await?.into_iter().enumerate() {
            let column = facts.column;
            let mut details = format!("{} {}", at + 1, column.native);
            if let Some(collation) = &column.collation {
                details += &format!(" {collation}");
            }
            if !column.nullable {
                details += " not null";
            }
            if column.generated {
                details += " generated";
            }
            print.add("column", column.name, details);
        }
        for index in self.read_indexes(&spec.local).await?.into_iter().filter(|index| index.unique) {
            let kind = if index.name == "PRIMARY" { "primary key" } else { "unique index" };
            print.add(kind, index.name, format!("{:?} {}", index.columns, index.whole));
        }
        for partition in self.read_partitions(&spec.local).await? {
            print.add("partition", partition, "");
        }
        for column in self.read_columns(&sql::history_name(&spec.name)).await? {
            // Triggers that leave the time to the history would enter none.
            let drawn = if column.column.name == "time" && column.default.is_some() { " drawn" } else { "" };
            print.add("history", column.column.name, column.column.native + drawn);
        }
        let mut names = super::schema::one(&spec.local);
        names.add(sql::history_name(&spec.name));
        let engines = "SELECT TABLE_NAME, COALESCE(ENGINE, TABLE_TYPE) FROM information_schema.TABLES \
                       WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN (?, ?)";
        for row in self.main()?.fetch(engines, names).await? {
            print.add("engine", string(&row, 0)?, string(&row, 1)?);
        }
        let sources = cascades::sources(edges, &spec.local);
        for edge in edges.iter().filter(|edge| edge.acts()) {
            if edge.child == spec.local || sources.contains(&edge.child.as_str()) {
                let details =
                    format!("{:?} {:?} {:?} {:?}", edge.columns, edge.referenced, edge.on_delete, edge.on_update);
                print.add("reference that acts", format!("{} of {}", edge.name, edge.child), details);
            }
        }
        for trigger in triggers.iter().filter(|trigger| trigger.is_ours()) {
            let own = trigger.table == spec.local;
            if own || sources.contains(&trigger.table.as_str()) {
                // What a parent's trigger records of other tables is no business of this one.
                let records = trigger.body.contains(&sql::history(spec));
                if own || records {
                    let name =
                        if own { trigger.name.clone() } else { format!("{} on {}", trigger.name, trigger.table) };
                    print.add(
                        "trigger",
                        name,
                        short_digest(format!("{} {} {}", trigger.event, trigger.made, trigger.body)),
                    );
                }
                if own {
                    print.add("trigger since", trigger.name.clone(), trigger.since.clone());
                }
            }
            // It went with the table that it was made for, when another took its place.
            let is_for_it = ["i", "u", "d"].iter().any(|letter| trigger.name == capture::name(letter, &spec.name));
            if is_for_it && !own {
                print.add("elsewhere", trigger.table.clone(), "");
            }
        }
        Ok(print)
    }

    /// The largest number that a table has drawn, or `None` without the table.
    pub(super) async fn drawn(&mut self, table: &str) -> Result<Option<i64>> {
        let statement = format!("SELECT COALESCE(MAX(id), 0) FROM {}", quote::ident(table));
        let rows = self.main()?.fetch(&statement, Args::new()).await;
        match rows {
            Ok(rows) => Ok(rows.first().and_then(|row| super::wire::number(row, 0))),
            Err(error) if error.kind == crate::node::ErrorKind::Drift => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What the triggers and the history depend on besides the catalogue.
fn settings(spec: &TableSpec) -> String {
    let names = |columns: &mut dyn Iterator<Item = &crate::model::Column>| {
        columns.map(|column| column.name.clone()).collect::<Vec<_>>()
    };
    serde_json::json!([spec.local, names(&mut spec.key_columns()), names(&mut spec.image_columns()), spec.captured])
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(facts: &[[&str; 3]]) -> Fingerprint {
        Fingerprint::read(&serde_json::json!(facts).to_string())
    }

    #[test]
    fn differences_are_told_in_words_and_by_what_they_may_have_cost() {
        let left = [
            ["column", "id", "1 int(11) not null"],
            ["column", "name", "2 varchar(9)"],
            ["history", "k1", "int(11)"],
            ["trigger", "concord_i_t", "x"],
        ];
        let told = |now: &[[&str; 3]]| {
            print(&left).drift(&print(now)).map(|drift| (drift.what, drift.unrecorded, drift.dropped))
        };
        assert_eq!(Fingerprint::read(&print(&left).write()), print(&left));
        assert_eq!(told(&left), None);
        let now = [left[0], ["column", "label", "2 varchar(9)"], left[2], left[3]];
        assert_eq!(told(&now), Some(("column name was renamed to label".into(), false, false)));
        let now = [left[0], left[1], left[2]];
        assert_eq!(told(&now), Some(("trigger concord_i_t is missing".into(), true, false)));
        let now = [left[0], left[1], left[3]];
        assert_eq!(told(&now), Some(("the history lacks its column k1".into(), false, true)));
        let now = [left[0], left[1], left[2], left[3], ["reference that acts", "f of t", ""]];
        assert_eq!(told(&now), Some(("reference that acts f of t was added".into(), true, false)));
        let now = [left[0], ["column", "name", "3 varchar(9)"], left[2], left[3]];
        let moved = "column name now stands at another place among the columns";
        assert_eq!(told(&now), Some((moved.into(), false, false)));
        assert_eq!(told(&[]), Some(("the table is gone".into(), true, true)));
        let left = [left[0], left[3], ["trigger since", "concord_i_t", "2026-01-01 00:00:00.00"]];
        let told = |now: &[[&str; 3]]| print(&left).drift(&print(now)).map(|drift| (drift.what, drift.unrecorded));
        let anew = "trigger concord_i_t was made anew, as when the table is put back from a dump";
        let since = ["trigger since", "concord_i_t", "2026-01-01 00:00:00.01"];
        assert_eq!(told(&[left[0], left[1], since]), Some((anew.into(), true)));
        assert_eq!(told(&[left[0]]), Some(("trigger concord_i_t is missing".into(), true)));
        let broken_off = Fingerprint::default().drift(&print(&left)).map(|drift| (drift.unrecorded, drift.dropped));
        assert_eq!(broken_off, Some((true, false)));
    }

    #[test]
    fn a_history_goes_on_where_the_same_columns_are_recorded() {
        let setting = |key: &str, image: &str| format!("[\"t\",[\"{key}\"],[\"{image}\"],true]");
        let settings = [setting("id", "n"), setting("ident", "n"), setting("n", "id")];
        let [own, renamed, other] = settings.each_ref().map(String::as_str);
        let (id, n) = (["column", "id", "1 int(11) not null"], ["column", "n", "2 int(11)"]);
        let left = print(&[["setting", "", own], id, n]);
        let same = |facts: &[[&str; 3]]| left.records_the_same(&print(facts));
        assert!(same(&[["setting", "", own], ["column", "id", "1 bigint(20) not null"], n]));
        assert!(same(&[["setting", "", own], ["column", "id", "2 bigint(20) not null"], ["column", "n", "3 int(11)"]]));
        assert!(same(&[["setting", "", renamed], ["column", "ident", "1 int(11) not null"], n]));
        assert!(!same(&[["setting", "", renamed], ["column", "ident", "3 int(11) not null"], n]));
        assert!(!same(&[["setting", "", other], id, n]));
        assert!(!same(&[["setting", "", "[\"t\",[\"id\",\"n\"],[],true]"], id, n]));
        assert!(!same(&[id, n]));
        // The one that took the place of another, which was dropped, stood beside it.
        let left = print(&[["setting", "", own], id, n, ["column", "m", "3 int(11)"]]);
        let m = setting("id", "m");
        assert!(!left.records_the_same(&print(&[["setting", "", m.as_str()], id, ["column", "m", "2 bigint(20)"]])));
    }

    #[test]
    fn a_history_of_columns_that_are_recorded_no_more_is_of_others() {
        let recording = |recorded: &str, columns: &[&str]| {
            let fact = |kind: &str, name: &str, details: String| [kind.to_owned(), name.to_owned(), details];
            let places = columns.iter().zip(1..).map(|(name, place)| fact("column", name, format!("{place} int(11)")));
            let mut facts: Vec<[String; 3]> = places.collect();
            facts.push(fact("setting", "", format!("[\"t\",[\"id\"],[\"{recorded}\"],true]")));
            Fingerprint::read(&serde_json::json!(facts).to_string())
        };
        let then = recording("n", &["id", "n", "m"]);
        let others = |recorded: &str, columns: &[&str]| then.records_others(&recording(recorded, columns));
        assert!(others("m", &["id", "n", "m"]));
        assert!(others("k", &["id", "n", "m", "k"]));
        // Whatever was dropped besides.
        assert!(others("k", &["id", "n", "k"]));
        assert!(others("m", &["id", "m"]));
        assert!(recording("n", &["id", "n", "m", "x"]).records_others(&recording("m", &["id", "n", "m"])));
        assert!(!others("n", &["id", "n"]));
        assert!(!others("n", &["new", "id", "n", "m"]));
        // Renamed, also at another place.
        assert!(!others("amount", &["id", "amount", "m"]));
        assert!(!others("amount", &["new", "id", "amount", "m"]));
        assert!(!Fingerprint::default().records_others(&then));
    }
}
