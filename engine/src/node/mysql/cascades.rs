//! What references do by themselves: InnoDB deletes and changes the rows that refer to a row without firing any trigger, so
//! the trigger of the row that is referred to records them before.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::capture::{self, NUMBERED, Told, Trigger};
use super::quote;
use crate::model::{Column, TableSpec};
use crate::node::{Error, ErrorKind, Result};

/// As deep as InnoDB goes.
const DEEPEST: usize = 15;

/// Ways that references lead from one table, above which nobody would want to wait for a delete.
const MOST: usize = 200;

/// What happens to a row when the one that it refers to goes or changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Refuse,
    Cascade,
    Null,
}

impl Action {
    pub fn parse(rule: &str) -> Action {
        match rule {
            "CASCADE" => Action::Cascade,
            "SET NULL" => Action::Null,
            _ => Action::Refuse,
        }
    }
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    pub name: String,
    pub child: String,
    pub columns: Vec<String>,
    pub parent: String,
    pub referenced: Vec<String>,
    pub on_delete: Action,
    pub on_update: Action,
}

/// What becomes of a row on the way.
#[derive(Clone)]
enum Fate {
    Deleted,
    /// New values of some columns; any may have one where nothing is listed.
    Changed(Option<BTreeMap<String, String>>),
}

/// What the look at the rows of a table meets where that table, or a column by which it refers, is gone since `install`: nothing
/// refers by it any more. Where it has another name now, drift tells that changes may not have been recorded.
const GONE: &str = "1146, 1054";

/// The triggers of all tables from which references lead to captured ones; `looped` on MariaDB, see [`capture::insert_from`].
pub fn triggers(edges: &[Edge], captured: &[&TableSpec], proof: i64, looped: bool) -> Result<Vec<Trigger>> {
    let captured: HashMap<&str, &TableSpec> = captured.iter().map(|spec| (spec.local.as_str(), *spec)).collect();
    let edges = leading(edges, captured.keys().copied());
    let mut triggers = Vec::new();
    for root in roots(&edges) {
        for (letter, event, fate) in
            [("cd", "BEFORE DELETE", Fate::Deleted), ("cu", "BEFORE UPDATE", Fate::Changed(None))]
        {
            let mut way = Way { edges: &edges, captured: &captured, proof, looped, ways: 0 };
            let statements = way.from(root, &fate, &Step::Root)?;
            if !statements.is_empty() {
                // References do nothing in a session that has them switched off.
                let body = capture::timed(&format!(
                    "DECLARE concord_n BIGINT DEFAULT 0; \
                     IF @@SESSION.foreign_key_checks THEN {NUMBERED} {statements}END IF;"
                ));
                triggers.push(Trigger { name: capture::name(letter, root), table: root.to_owned(), event, body });
            }
        }
    }
    Ok(triggers)
}

/// The tables that get triggers because references change rows of a captured one, itself included where they lead back to it. Of
/// [`sources`] those are left out from which no change reaches it. What is [refused](refusal) gets none.
pub fn recording(edges: &[Edge], table: &TableSpec) -> BTreeSet<String> {
    let triggers = triggers(edges, &[table], 0, false).unwrap_or_default();
    triggers.into_iter().map(|trigger| trigger.table).collect()
}

/// Why what references do to a table cannot be recorded, if it cannot.
pub fn refusal(edges: &[Edge], table: &str) -> Option<String> {
    let edges = leading(edges, std::iter::once(table));
    let (captured, fates) = (HashMap::new(), [Fate::Deleted, Fate::Changed(None)]);
    let refused = |root: &str| {
        let mut tried = fates.iter().map(|fate| {
            let mut way = Way { edges: &edges, captured: &captured, proof: 0, looped: false, ways: 0 };
            way.from(root, fate, &Step::Root)
        });
        tried.find_map(|tried| tried.err().map(|error| error.to_string()))
    };
    roots(&edges).into_iter().find_map(refused)
}

/// The references by which a change can come to these tables. Others may be as many as they like.
fn leading<'a>(edges: &'a [Edge], tables: impl Iterator<Item = &'a str>) -> Vec<Edge> {
    let reached: HashSet<&str> =
        tables.flat_map(|table| sources(edges, table).into_iter().chain(std::iter::once(table))).collect();
    edges.iter().filter(|edge| reached.contains(edge.child.as_str())).cloned().collect()
}

fn roots(edges: &[Edge]) -> BTreeSet<&str> {
    edges.iter().map(|edge| edge.parent.as_str()).collect()
}

/// The tables from which a change can come to a table by references, itself included where they lead back to it.
pub fn sources<'a>(edges: &'a [Edge], table: &str) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    let mut next = vec![table];
    while let Some(child) = next.pop() {
        for edge in edges.iter().filter(|edge| edge.child == child && edge.acts()) {
            if !found.contains(&edge.parent.as_str()) {
                found.push(&edge.parent);
                next.push(&edge.parent);
            }
        }
    }
    found.sort_unstable();
    found
}

impl Edge {
    /// Whether it changes rows by itself.
    pub fn acts(&self) -> bool {
        self.on_delete != Action::Refuse || self.on_update != Action::Refuse
    }

    /// What it does when this happens to the row that is referred to.
    fn action(&self, fate: &Fate) -> Action {
        match fate {
            Fate::Deleted => self.on_delete,
            Fate::Changed(None) => self.on_update,
            Fate::Changed(Some(new)) if self.referenced.iter().any(|column| new.contains_key(column)) => self.on_update,
            Fate::Changed(Some(_)) => Action::Refuse,
        }
    }
}

/// Another reference of the same table to the same row, by which more columns of one row may change.
struct Beside {
    /// That it changes a row.
    condition: String,
    new: BTreeMap<String, String>,
    /// Whether what it does is recorded first.
    is_before: bool,
}

/// How a row on the way is named.
enum Step<'a> {
    Root,
    /// The last alias, and the query that finds the rows.
    Row {
        depth: usize,
        from: &'a str,
        condition: &'a str,
    },
}

struct Way<'a> {
    edges: &'a [Edge],
    captured: &'a HashMap<&'a str, &'a TableSpec>,
    proof: i64,
    looped: bool,
    ways: usize,
}

impl Way<'_> {
    /// What is recorded when this happens to a row of a table.
    fn from(&mut self, table: &str, fate: &Fate, step: &Step<'_>) -> Result<String> {
        let depth = match step {
            Step::Root => 0,
            Step::Row { depth, .. } => *depth,
        };
        let mut statements = String::new();
        if depth == DEEPEST {
            return Ok(statements);
        }
        for edge in self.edges.iter().filter(|edge| edge.parent == table) {
            let action = edge.action(fate);
            if action == Action::Refuse {
                continue;
            }
            self.ways += 1;
            if self.ways > MOST {
                let message = format!(
                    "references that delete or change rows lead in more than {MOST} ways from the table {table}, more than \
                     its triggers can record; make some of them ON DELETE RESTRICT"
                );
                return Err(Error::new(ErrorKind::Other, message));
            }
            statements += &self.along(edge, action, fate, step, depth + 1)?;
        }
        Ok(statements)
    }

    fn along(&mut self, edge: &Edge, action: Action, fate: &Fate, step: &Step<'_>, depth: usize) -> Result<String> {
        let alias = format!("c{depth}");
        let before = |column: &str| match step {
            Step::Root => quote::of("OLD", column),
            Step::Row { depth, .. } => quote::of(&format!("c{depth}"), column),
        };
        let after = |column: &str| match (fate, step) {
            (Fate::Changed(Some(new)), _) if new.contains_key(column) => new[column].clone(),
            (Fate::Changed(None), Step::Root) => quote::of("NEW", column),
            _ => before(column),
        };
        let child = quote::ident(&edge.child);
        let pairs = |edge: &Edge| edge.columns.clone().into_iter().zip(edge.referenced.clone());
        let refers = |edge: &Edge| {
            let joined = pairs(edge).map(|(own, other)| format!("{} = {}", quote::of(&alias, &own), before(&other)));
            joined.collect::<Vec<_>>().join(" AND ")
        };
        let follows = |edge: &Edge| pairs(edge).map(|(own, other)| (own, after(&other))).collect::<BTreeMap<_, _>>();
        // Whether the root is updated in what a reference is about.
        let changes = |edge: &Edge| match (fate, step) {
            (Fate::Changed(None), Step::Root) => {
                let binary = |row, column: &str| format!("CAST({} AS BINARY)", quote::of(row, column));
                let same =
                    edge.referenced.iter().map(|one| format!("{} <=> {}", binary("OLD", one), binary("NEW", one)));
                Some(format!("NOT ({})", same.collect::<Vec<_>>().join(" AND ")))
            }
            _ => None,
        };
        let (from, condition) = match step {
            Step::Root => (format!("FROM {child} AS {alias}"), refers(edge)),
            Step::Row { from, condition, .. } => {
                (format!("{from} JOIN {child} AS {alias} ON {}", refers(edge)), (*condition).to_owned())
            }
        };
        let next = match (fate, action) {
            (Fate::Deleted, Action::Cascade) => Fate::Deleted,
            (_, Action::Null) => {
                Fate::Changed(Some(edge.columns.iter().map(|own| (own.clone(), "NULL".to_owned())).collect()))
            }
            _ => Fate::Changed(Some(follows(edge))),
        };
        let mut besides = Vec::new();
        let mut is_before = true;
        for other in self.edges.iter().filter(|other| other.parent == edge.parent && other.child == edge.child) {
            if other.name == edge.name {
                is_before = false;
            } else if !matches!(fate, Fate::Deleted) && other.action(fate) == Action::Cascade {
                let condition = std::iter::once(refers(other)).chain(changes(other)).collect::<Vec<_>>().join(" AND ");
                besides.push(Beside { condition, new: follows(other), is_before });
            }
        }
        let mut inner = String::new();
        if let Some(spec) = self.captured.get(edge.child.as_str()) {
            inner += &self.record(spec, &alias, &next, &besides, &format!("{from} WHERE {condition}"));
        }
        inner += &self.from(&edge.child, &next, &Step::Row { depth, from: &from, condition: &condition })?;
        if inner.is_empty() {
            return Ok(inner);
        }
        // A read that locks sees what was committed since the user's snapshot, as the references do. With a limit of its own it does
        // not have that of the session (`sql_select_limit`), which may be none.
        let found = format!(
            "BEGIN DECLARE CONTINUE HANDLER FOR {GONE} SET concord_n = 0; \
             SELECT COUNT(*) INTO concord_n {from} WHERE {condition} LIMIT 1 LOCK IN SHARE MODE; END; \
             IF concord_n > 0 THEN {inner}END IF; "
        );
        Ok(match changes(edge) {
            Some(changed) => format!("IF {changed} THEN {found}END IF; "),
            None => found,
        })
    }

    fn record(&self, spec: &TableSpec, alias: &str, fate: &Fate, besides: &[Beside], from: &str) -> String {
        let from = format!("{from} AND {}", capture::is_recorded(&spec.name, self.proof));
        let insert = |told: &[Told<'_>], from: &str| capture::insert_from(spec, told, from, self.looped);
        let old = |column: &Column| quote::of(alias, &column.name);
        let gone = Told { op: "D", key: &old, before: Some(&old), after: None };
        let Fate::Changed(Some(changed)) = fate else {
            return insert(&[gone], &from);
        };
        let new = |column: &Column| changed.get(&column.name).cloned().unwrap_or_else(|| old(column));
        let moves = |new: &BTreeMap<String, String>| spec.key_columns().any(|column| new.contains_key(&column.name));
        if !moves(changed) {
            return insert(&[Told { op: "U", key: &old, before: Some(&old), after: Some(&new) }], &from);
        }
        // A row that moves by several references has one key in the end, and is recorded once.
        let new = |column: &Column| {
            let others = besides.iter().filter_map(|other| Some((&other.condition, other.new.get(&column.name)?)));
            others.fold(new(column), |value, (condition, other)| format!("IF({condition}, {other}, {value})"))
        };
        let mut from = from;
        for other in besides.iter().filter(|other| other.is_before && moves(&other.new)) {
            from += &format!(" AND ({}) IS NOT TRUE", other.condition);
        }
        insert(&[gone, Told { op: "I", key: &new, before: None, after: Some(&new) }], &from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Type;

    fn edge(child: &str, parent: &str, on_delete: Action, on_update: Action) -> Edge {
        Edge {
            name: format!("{child}_{parent}"),
            child: child.into(),
            columns: vec!["up".into()],
            parent: parent.into(),
            referenced: vec!["id".into()],
            on_delete,
            on_update,
        }
    }

    #[test]
    fn sources_are_found_through_tables_that_nobody_syncs() {
        use Action::{Cascade, Null, Refuse};
        let edges = [
            edge("b", "a", Cascade, Refuse),
            edge("c", "b", Null, Refuse),
            edge("c", "x", Refuse, Refuse),
            edge("tree", "tree", Cascade, Refuse),
        ];
        assert_eq!(sources(&edges, "c"), ["a", "b"]);
        assert_eq!(sources(&edges, "tree"), ["tree"]);
        assert_eq!(sources(&edges, "a"), [] as [&str; 0]);
    }

    #[test]
    fn triggers_are_for_tables_whose_changes_arrive() {
        use Action::{Cascade, Null, Refuse};
        let spec = TableSpec::bare(0, "c", std::iter::empty());
        let recording = |edges: &[Edge]| recording(edges, &spec).into_iter().collect::<Vec<_>>();
        let by_key = edge("c", "b", Refuse, Cascade);
        // What changes in `b` is not what `c` refers to.
        assert_eq!(recording(&[by_key.clone(), edge("b", "a", Null, Cascade)]), ["b"]);
        let key = Edge { columns: vec!["id".into()], ..edge("b", "a", Refuse, Cascade) };
        assert_eq!(recording(&[by_key, key]), ["a", "b"]);
        assert_eq!(recording(&[edge("c", "c", Cascade, Refuse)]), ["c"]);
    }

    /// Of three references of a table to itself there are 3^15 ways.
    #[test]
    fn too_many_ways_are_refused_where_they_lead_to_a_table() {
        let mut edges: Vec<Edge> = vec![edge("tree", "tree", Action::Cascade, Action::Refuse); 3];
        edges.push(edge("c", "b", Action::Cascade, Action::Refuse));
        edges.push(edge("leaf", "tree", Action::Cascade, Action::Refuse));
        for table in ["tree", "leaf"] {
            let why = refusal(&edges, table).expect("too many ways");
            assert!(why.contains("more than 200 ways from the table tree"), "{why}");
            let spec = TableSpec::bare(0, table, std::iter::empty());
            assert_eq!(triggers(&edges, &[&spec], 7, true).map(|_| ()).map_err(|error| error.to_string()), Err(why));
        }
        assert_eq!(refusal(&edges, "c"), None);
        let spec = TableSpec::bare(0, "c", std::iter::empty());
        assert_eq!(triggers(&edges, &[&spec], 7, true).expect("one way").len(), 1);
    }

    #[test]
    fn every_level_is_looked_at_only_if_the_one_above_has_rows() {
        let edges = [edge("b", "a", Action::Cascade, Action::Refuse), edge("c", "b", Action::Cascade, Action::Refuse)];
        let spec = TableSpec::bare(0, "c", std::iter::empty());
        let triggers = triggers(&edges, &[&spec], 7, true).unwrap();
        let names: Vec<_> = triggers.iter().map(|trigger| (trigger.table.as_str(), trigger.event)).collect();
        assert_eq!(names, [("a", "BEFORE DELETE"), ("b", "BEFORE DELETE")]);
        let body = &triggers[0].body;
        let look = "BEGIN DECLARE CONTINUE HANDLER FOR 1146, 1054 SET concord_n = 0; SELECT COUNT(*) INTO concord_n FROM `b` AS c1";
        let first = format!(
            "IF @@SESSION.foreign_key_checks THEN {NUMBERED} {look} WHERE c1.`up` = OLD.`id` LIMIT 1 LOCK IN SHARE MODE; END; \
             IF concord_n > 0 THEN {look} JOIN `c` AS c2 ON c2.`up` = c1.`id` WHERE c1.`up` = OLD.`id` LIMIT 1"
        );
        assert!(body.contains(&first), "{body}");
    }

    #[test]
    fn entries_come_from_no_query_where_that_would_keep_others_from_numbering_theirs() {
        let edges = [edge("c", "p", Action::Cascade, Action::Cascade)];
        let column = |at: usize, name: &str| Column { nullable: false, ..Column::bare(at, name, Type::Int) };
        let spec = TableSpec {
            columns: vec![column(0, "up"), column(1, "n")],
            key: vec![0],
            images: vec![1],
            ..TableSpec::bare(0, "c", std::iter::empty())
        };
        let body = |at: usize, looped| triggers(&edges, &[&spec], 7, looped).unwrap().remove(at).body;
        let (deleted, updated) = (body(0, true), body(1, true));
        let query = "SELECT 'D' AS v0, concord_at AS v1, c1.`up` AS v2, 1 AS v3, 0 AS v4, c1.`n` AS v5, NULL AS v6 FROM `c` AS c1";
        assert!(
            deleted.contains(&format!("FOR concord_r IN ({query} WHERE c1.`up` = OLD.`id` AND NOT (")),
            "{deleted}"
        );
        assert!(deleted.contains(" LIMIT 18446744073709551615 LOCK IN SHARE MODE) DO INSERT INTO "), "{deleted}");
        // What is the same of both entries is read once.
        assert!(updated.contains("NULL AS v6, 'I' AS v7, NEW.`id` AS v8 FROM `c` AS c1"), "{updated}");
        for (looped, inserts) in [(true, 0), (false, 1)] {
            assert_eq!(body(0, looped).matches(") SELECT 'D', concord_at, c1.`up`, 1, 0, ").count(), inserts);
            assert_eq!(body(1, looped).matches("INSERT INTO").count(), 2);
        }
    }

    #[test]
    fn a_circle_ends_where_the_server_ends_it() {
        let edges = [edge("tree", "tree", Action::Cascade, Action::Refuse)];
        let spec = TableSpec::bare(0, "tree", std::iter::empty());
        let triggers = triggers(&edges, &[&spec], 7, true).unwrap();
        assert_eq!(triggers[0].body.matches("INSERT INTO").count(), DEEPEST);
    }
}
