//! What a comparison has found.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use serde_json::Value as Document;

use super::super::attendance::Away;
use super::super::session::{Carried, Stopped, add_carried};
use super::super::table::Table;
use super::compare::{Allowed, Difference, Standing};
use super::mend::{Done, Mend};
use super::tangle::Tangle;
use crate::model::{Key, NodeId, value_to_json};

/// What begins with it is what had been written before a comparison came to no end.
const WRITTEN: &str = "; before that, rows were mended: ";

/// What a comparison has found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verified {
    pub tables: Vec<VerifiedTable>,
    /// Nodes that took no part, also those that missed one table alone.
    pub away: Vec<Away>,
    pub stopped: Vec<Stopped>,
}

/// What was found of one table.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VerifiedTable {
    pub table: String,
    /// Why it was not compared, if it was not.
    pub skipped: Option<String>,
    /// Nodes that missed this table alone, and why, which begins with its name.
    pub missed: Vec<Away>,
    pub nodes: Vec<VerifiedNode>,
    /// Keys whose rows differ, or are not at all nodes.
    pub differences: u64,
    /// Keys whose rows were not alike because changes were on their way, also those that are tried again with the next sync because
    /// somebody held the row.
    pub on_their_way: u64,
    /// The same because something waits at a node, as `concord parked list` tells.
    pub waiting: u64,
    /// Differences that the table's `operations` leave alone, as rows at nodes.
    pub allowed: Allowed,
    /// Rows, of all nodes together, that stand in parts of the table in which something differs, and were not looked at one
    /// by one.
    pub not_narrowed: u64,
    /// Some of the differences.
    pub examples: Vec<Example>,
    /// Keys whose rows were mended.
    pub mended: u64,
    /// Of these, keys whose rows were equally late, so that the table's policy alone decided; of tables that are compared.
    pub disputed: u64,
    /// Rows written and deleted, by node.
    pub carried: Vec<Carried>,
    /// Keys that were changed by somebody in the meantime, and were left alone.
    pub moved_on: u64,
    /// Keys of which nothing tells whose row is right, or at which a filter failed.
    pub undecided: u64,
    /// Keys whose rows a node would not take.
    pub refused: u64,
    /// Some of the keys that were not mended, and why; one for each node that would not take it.
    pub left: Vec<LeftAlone>,
}

/// One node's share.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VerifiedNode {
    pub node: String,
    pub rows: u64,
    /// Rows that other nodes have and this one has not.
    pub missing: u64,
    /// Rows that this target has and the source has not.
    pub extra: u64,
    /// Rows that have other values elsewhere.
    pub differing: u64,
    /// Differing rows that hold a value which cannot be read.
    pub unreadable: u64,
}

/// A key whose rows differ.
#[derive(Clone, Debug, Serialize)]
pub struct Example {
    pub key: Document,
    /// By node: `missing`, `extra`, `differing`, `unreadable`, or `unjudged` where a filter failed; nodes of which there is nothing to say are left out.
    pub nodes: BTreeMap<String, &'static str>,
    /// By node with an `extra` row that does not belong there: the node's filter, in words.
    pub filters: BTreeMap<String, String>,
    /// By column and node: the values, where they differ.
    pub columns: BTreeMap<String, BTreeMap<String, Document>>,
    /// By node: why a row cannot be read.
    pub unreadable: BTreeMap<String, String>,
}

/// Why a difference was not mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Left {
    MovedOn,
    Undecided,
    Refused,
}

/// A key whose difference was not mended.
#[derive(Clone, Debug, Serialize)]
pub struct LeftAlone {
    pub key: Document,
    pub because: Left,
    /// Where, if it is about one node.
    pub node: Option<String>,
    pub why: String,
}

/// As what one key was counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    kinds: Vec<(NodeId, &'static str)>,
    allowed: Allowed,
}

impl VerifiedNode {
    fn counter(&mut self, kind: &str) -> &mut u64 {
        match kind {
            "missing" => &mut self.missing,
            "extra" => &mut self.extra,
            "differing" => &mut self.differing,
            _ => &mut self.unreadable,
        }
    }

    pub fn new(node: &str, rows: u64) -> VerifiedNode {
        VerifiedNode { node: node.to_owned(), rows, ..VerifiedNode::default() }
    }
}

impl VerifiedTable {
    pub fn new(table: &str) -> VerifiedTable {
        VerifiedTable { table: table.to_owned(), ..VerifiedTable::default() }
    }

    /// Forgets what was found so far, and keeps what was mended, if anything is; what is only foreseen will be so again.
    pub fn begin(&mut self, mends: bool) {
        let VerifiedTable { table, missed, mended, disputed, carried, .. } = std::mem::take(self);
        *self = VerifiedTable { table, missed, ..VerifiedTable::default() };
        if mends {
            (self.mended, self.disputed, self.carried, self.differences) = (mended, disputed, carried, mended);
        }
    }

    /// Tells with what a second look found what the first had: rows that were mended by then are no longer to be found, and are counted.
    /// Those that still differ come first, so that the limit does not hide them.
    pub fn look_back(&mut self, before: VerifiedTable, limit: usize) {
        let found: HashSet<String> = self.examples.iter().map(|example| example.key.to_string()).collect();
        let former = before.examples.into_iter().filter(|example| !found.contains(&example.key.to_string()));
        self.examples.extend(former.take(limit.saturating_sub(found.len())));
        self.nodes = before.nodes;
    }

    /// Goes back to what was known before a look that did not come to its end, but for what was written since.
    pub fn fall_back(&mut self, before: VerifiedTable) {
        let VerifiedTable { skipped, missed, mended, disputed, carried, .. } = std::mem::replace(self, before);
        // Some of it may be about rows that came later.
        self.differences = self.differences.max(mended);
        (self.skipped, self.missed) = (skipped, missed);
        (self.mended, self.disputed, self.carried) = (mended, disputed, carried);
    }

    /// Counts a difference, and what of its key was allowed; tells it while there are fewer than `limit`.
    pub fn add(
        &mut self,
        table: &Table,
        names: &[String],
        difference: &Difference,
        allowed: Allowed,
        limit: usize,
    ) -> Counted {
        self.differences += 1;
        let mut counted = Counted { kinds: Vec::new(), allowed };
        let name = |at: usize| names[at].as_str();
        let kinds = [
            ("missing", &difference.missing),
            ("extra", &difference.extra),
            ("differing", &difference.differing),
            ("unreadable", &difference.odd),
        ];
        let mut nodes = BTreeMap::new();
        for (kind, at) in kinds {
            for node in at {
                nodes.insert(name(node.index()).to_owned(), kind);
                counted.kinds.push((*node, kind));
                let line = self.nodes.iter_mut().find(|line| line.node == name(node.index()));
                line.into_iter().for_each(|line| *line.counter(kind) += 1);
            }
        }
        if self.examples.len() >= limit {
            return counted;
        }
        nodes.extend(difference.unjudged.iter().map(|(node, _)| (name(node.index()).to_owned(), "unjudged")));
        let mut columns = BTreeMap::new();
        for &column in &difference.columns {
            let held = |(node, stands): &(NodeId, Standing)| {
                let row = stands.row().filter(|_| table.form(*node).is_some_and(|form| form.lens.has(column)))?;
                Some((name(node.index()).to_owned(), value_to_json(&row[column])))
            };
            columns.insert(table.columns[column].name.clone(), difference.standing.iter().filter_map(held).collect());
        }
        let odd = difference.standing.iter().filter_map(|(node, stands)| match stands {
            Standing::Odd(why) => Some((name(node.index()).to_owned(), why.clone())),
            _ => None,
        });
        let strays = difference.strays.iter().filter(|node| difference.extra.contains(node));
        let filters =
            strays.filter_map(|node| Some((name(node.index()).to_owned(), table.subset(*node)?.judge.told())));
        self.examples.push(Example {
            key: table.key_document(&difference.key),
            nodes,
            filters: filters.collect(),
            columns,
            unreadable: odd.collect(),
        });
        counted
    }

    /// Undoes what [`VerifiedTable::add`] did about a key, because it is looked at anew.
    pub fn take_back(&mut self, table: &Table, key: &Key, counted: &Counted, names: &[String]) {
        self.differences -= 1;
        self.allowed.subtract(counted.allowed);
        for (node, kind) in &counted.kinds {
            let line = self.nodes.iter_mut().find(|line| line.node == names[node.index()]);
            line.into_iter().for_each(|line| *line.counter(kind) -= 1);
        }
        let key = table.key_document(key);
        self.examples.retain(|example| example.key != key);
    }

    /// Counts a key that was not mended; tells it while there are fewer than `limit`.
    pub fn leave(&mut self, table: &Table, key: &Key, because: Left, node: Option<String>, why: String, limit: usize) {
        self.leave_at(table, key, because, [(node, why)], limit);
    }

    /// The same with why of each node that it is about.
    pub fn leave_at(
        &mut self,
        table: &Table,
        key: &Key,
        because: Left,
        told: impl IntoIterator<Item = (Option<String>, String)>,
        limit: usize,
    ) {
        *match because {
            Left::MovedOn => &mut self.moved_on,
            Left::Undecided => &mut self.undecided,
            Left::Refused => &mut self.refused,
        } += 1;
        if self.left.len() < limit {
            let key = table.key_document(key);
            let alone = |(node, why)| LeftAlone { key: key.clone(), because, node, why };
            self.left.extend(told.into_iter().map(alone));
        }
    }

    /// Counts what is to be written, though it is not.
    pub fn foresee(&mut self, mend: &Mend, names: &[String]) {
        self.disputed += u64::from(mend.disputed);
        for (node, row) in &mend.write {
            let (written, deleted) = (u64::from(row.is_some()), u64::from(row.is_none()));
            add_carried(&mut self.carried, &[Carried { node: names[node.index()].clone(), written, deleted }]);
        }
    }

    /// Takes in what became of rows that were to be written.
    pub fn take(&mut self, table: &Table, done: Done, names: &[String], limit: usize) {
        self.mended += done.mended;
        self.disputed += done.disputed;
        add_carried(&mut self.carried, &done.carried);
        for (mend, because, told) in done.left {
            let told = told.into_iter().map(|(node, why)| (Some(names[node.index()].clone()), why));
            self.leave_at(table, &mend.key, because, told, limit);
        }
    }

    /// The same of rows that were kept to be tried again, in vain.
    pub fn refuse(&mut self, table: &Table, tangle: &Tangle, names: &[String], limit: usize) {
        for row in tangle.rows() {
            let told = row.told.iter().map(|(node, why)| (Some(names[node.index()].clone()), why.clone()));
            self.leave_at(table, &row.key, Left::Refused, told, limit);
        }
    }

    /// Tells with why it was not compared to its end what had been written by then.
    pub fn tell_written(&mut self) {
        let written = |one: &Carried| format!("{} written and {} deleted at {}", one.written, one.deleted, one.node);
        if let Some(why) = self.skipped.as_mut().filter(|_| !self.carried.is_empty()) {
            let all: Vec<String> = self.carried.iter().map(written).collect();
            *why = format!("{why}{WRITTEN}{}", all.join(", "));
        }
    }

    /// Why it was not compared to its end, without what was written by then: it is the same when that is done.
    pub fn why_skipped(&self) -> Option<&str> {
        let why = self.skipped.as_deref()?;
        Some(why.split_once(WRITTEN).map_or(why, |(why, _)| why))
    }

    /// Differences that are still there, as far as is known.
    pub fn left_over(&self) -> u64 {
        self.differences - self.mended
    }

    /// Whether rows differ, or may.
    pub fn differs(&self) -> bool {
        self.left_over() + self.not_narrowed > 0 || self.skipped.is_some()
    }
}

impl Verified {
    /// The code with which the command ends.
    pub fn exit_code(&self) -> u8 {
        if self.away.iter().any(|away| away.unreachable) {
            crate::error::UNREACHABLE
        } else if !self.stopped.is_empty() || !self.away.is_empty() || self.tables.iter().any(VerifiedTable::differs) {
            crate::error::ATTENTION
        } else {
            crate::error::DONE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was written is so however often a table is begun anew; what would be is found again.
    #[test]
    fn what_is_foreseen_is_not_counted_twice() {
        let known = VerifiedTable {
            table: "t".into(),
            differences: 3,
            mended: 2,
            disputed: 1,
            carried: vec![Carried { node: "a".into(), written: 2, deleted: 0 }],
            ..VerifiedTable::default()
        };
        for (mends, counts) in [(true, [2, 2, 1, 1]), (false, [0; 4])] {
            let mut report = known.clone();
            report.begin(mends);
            let found = [report.differences, report.mended, report.disputed, report.carried.len() as u64];
            assert_eq!((report.table.as_str(), found), ("t", counts));
        }
    }

    /// Ten rows were mended, and of one that was refused there was a second look.
    #[test]
    fn what_was_mended_before_a_second_look_is_still_told() {
        let example = |key: u64| Example {
            key: serde_json::json!([key]),
            nodes: [("b".to_owned(), "differing")].into(),
            filters: BTreeMap::new(),
            columns: BTreeMap::new(),
            unreadable: BTreeMap::new(),
        };
        let node = |differing| VerifiedNode { differing, ..VerifiedNode::new("b", 20) };
        for (limit, first, shown) in [(usize::MAX, 11, 11), (3, 3, 3), (3, 2, 3)] {
            let before = VerifiedTable {
                table: "t".into(),
                nodes: vec![node(11)],
                differences: 11,
                examples: (1..=first).map(example).collect(),
                mended: 10,
                refused: 1,
                ..VerifiedTable::default()
            };
            let mut report = before.clone();
            report.begin(true);
            (report.nodes, report.refused) = (vec![node(1)], 1);
            report.differences += 1;
            report.examples.push(example(11));
            report.look_back(before, limit);
            let told = (report.differences, report.examples.len(), report.nodes[0].differing);
            assert_eq!((told, report.left_over()), ((11, shown, 11), 1));
            // What still differs is shown whatever the limit.
            assert_eq!(report.examples[0].key, serde_json::json!([11]));
        }
    }

    /// What was refused is told with the reasons of the look that came to its end, and what was written with that of both.
    #[test]
    fn a_look_without_an_end_hides_nothing_that_was_known() {
        let left = LeftAlone { key: 1.into(), because: Left::Refused, node: Some("b".into()), why: "no".into() };
        let before = VerifiedTable {
            table: "t".into(),
            differences: 3,
            mended: 1,
            refused: 2,
            left: vec![left],
            carried: vec![Carried { node: "a".into(), written: 1, deleted: 0 }],
            ..VerifiedTable::default()
        };
        for (wrote, left_over) in [(0, 2), (1, 1), (5, 0)] {
            let mut report = before.clone();
            report.begin(true);
            (report.mended, report.disputed, report.skipped) = (1 + wrote, wrote, Some("gone".into()));
            add_carried(&mut report.carried, &[Carried { node: "b".into(), written: wrote, deleted: 0 }]);
            report.fall_back(before.clone());
            assert_eq!((report.left_over(), report.disputed, report.carried.len()), (left_over, wrote, 2));
            assert_eq!((report.refused, report.left.len(), report.why_skipped()), (2, 1, Some("gone")));
            report.tell_written();
            assert!(report.skipped.as_ref().is_some_and(|why| why.contains("deleted at b")));
            assert_eq!(report.why_skipped(), Some("gone"));
        }
    }
}
