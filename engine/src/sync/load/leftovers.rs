//! Rows that could not be copied: they are tried again, and what is left over is handed to the sync.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::FixedState;
use petgraph::algo::kosaraju_scc;
use petgraph::graph::DiGraph;
use tracing::info;

use super::super::session::Session;
use super::super::table::Table;
use super::portion::Portion;
use super::{Deferred, Leg, Load, Loaded, PROBE, ROWS, Stays, WEIGHT};
use crate::error::{Error, Result};
use crate::model::{Key, NodeId, ParkedCode, Row, TableSpec, Value, write_json};
use crate::node::{self, Node};

/// Rows of a table that are put in order, at most: the order takes memory for each.
const MOST_IN_ORDER: usize = 2_000_000;

/// Rows that are read for that at once: while nobody knows how large they are, and at most.
const FIRST: usize = 16;
const MOST_READ: usize = 2_000;

impl Session {
    /// Tries rows that could not be written once more, for as long as that helps: a row that they refer to may have come.
    pub(super) async fn try_again(
        &mut self,
        load: &Load,
        deferred: &mut Vec<Deferred>,
        loaded: &mut Loaded,
    ) -> Result<()> {
        loop {
            keep_one_each(deferred);
            let before = deferred.len();
            for table in 0..self.tables.len() {
                self.put_parents_first(table, deferred).await?;
            }
            *deferred = self.try_once(load, std::mem::take(deferred), false, loaded).await?;
            if !gets_on(before, deferred.len()) {
                return Ok(());
            }
        }
    }

    /// Puts rows of a table that refers to itself behind those that they refer to: however long the chains, they are written in one
    /// go although they are tried in parts.
    async fn put_parents_first(&mut self, table: usize, deferred: &mut Vec<Deferred>) -> Result<()> {
        let references = own_references(&self.tables[table]);
        let places: Vec<usize> = (0..deferred.len()).filter(|&at| deferred[at].table == table).collect();
        // What goes in one part is written together.
        if references.is_empty() || places.len() <= ROWS || places.len() > MOST_IN_ORDER {
            return Ok(());
        }
        let order = self.order_of(table, &references, deferred, &places).await;
        self.close().await;
        let order = order?.parents_first(places.len());
        let (rows, others): (Vec<Deferred>, Vec<Deferred>) =
            std::mem::take(deferred).into_iter().partition(|row| row.table == table);
        let mut rows: Vec<Option<Deferred>> = rows.into_iter().map(Some).collect();
        *deferred = others;
        deferred.extend(order.into_iter().filter_map(|at| rows[at].take()));
        Ok(())
    }

    /// Reads which of the rows at these places refer to which. Snapshots are open afterwards, also when it fails.
    async fn order_of(
        &mut self,
        table: usize,
        references: &[(Vec<usize>, Vec<usize>)],
        deferred: &[Deferred],
        places: &[usize],
    ) -> Result<Order> {
        let mut order = Order::default();
        self.look().await?;
        for member in &mut self.members {
            let (Some(form), Some(reader)) = (self.tables[table].form(member.id), member.node.as_deref_mut()) else {
                continue;
            };
            let held: Vec<usize> = (0..places.len()).filter(|&at| deferred[places[at]].holder == member.id).collect();
            let doing = format!("reading rows of {}", form.spec.full_name());
            let (mut left, mut step) = (&held[..], FIRST);
            while !left.is_empty() {
                let (some, rest) = left.split_at(step.min(left.len()));
                let keys: Vec<&Key> = some.iter().map(|&at| &deferred[places[at]].key).collect();
                let rows = reader.rows(&form.spec, &keys).await;
                let rows = rows.map_err(Error::at(&member.name, &doing))?;
                let rows = form.lens.share_apart(rows, Option::as_mut).await;
                let mut weight = 0;
                for (&at, row) in some.iter().zip(&rows) {
                    if let Some(Ok(row)) = row {
                        weight += row.iter().map(Value::weight).sum::<usize>();
                        order.add(at, row, references);
                    }
                }
                step = (WEIGHT / (weight / some.len()).max(1)).clamp(1, MOST_READ);
                left = rest;
            }
        }
        Ok(order)
    }

    /// Tries each row once; those that are still refused. With `last` what stands in their place is journalled where it does.
    pub(super) async fn try_once(
        &mut self,
        load: &Load,
        mut deferred: Vec<Deferred>,
        last: bool,
        loaded: &mut Loaded,
    ) -> Result<Vec<Deferred>> {
        let mut left: Vec<Deferred> = Vec::new();
        keep_one_each(&mut deferred);
        deferred.sort_by_key(|row| load.legs.iter().position(|leg| leg.table == row.table));
        let mut most = ROWS;
        while let Some(first) = deferred.first() {
            let table = first.table;
            let other = deferred.iter().take(most).position(|row| row.table != table);
            let part = ..other.unwrap_or(deferred.len().min(most));
            let holders: HashMap<&Key, NodeId> = deferred[part].iter().map(|row| (&row.key, row.holder)).collect();
            let walker = first.holder;
            let mut portion = Some(Portion {
                table,
                walker,
                rule: load.rule(self, table),
                condition: None,
                stretch: None,
                again: deferred[part].iter().map(|row| row.key.clone()).collect(),
                empty: Vec::new(),
                last,
                refilter: load.refilter,
                passed: None,
                reader: None,
                outcome: None,
            });
            let Some((weighed, refused)) = self.weighed(&mut portion).await? else {
                // Another engine is at work. Shorter parts are less in its way.
                most = (most / 2).max(PROBE);
                continue;
            };
            most = (most * 2).min(ROWS);
            self.count_up(Leg { table, walker }, &weighed, &refused, loaded);
            let holder = |key: &Key| weighed.winners.get(key).or(holders.get(key)).copied().unwrap_or(walker);
            // Before the same rows as refused where others only journal what they hold: these stay.
            let fails = || weighed.fails.clone().map(Stays::Fails);
            left.extend(Deferred::unread(table, &weighed).map(|mut row| {
                row.stays = row.stays.or_else(fails);
                row
            }));
            left.extend(refused.into_iter().map(|(node, key, reason)| {
                // What a database refuses waits for itself.
                let is_asked = matches!(reason.code, ParkedCode::Filter | ParkedCode::Mapping | ParkedCode::Unreadable);
                let stays = fails().filter(|_| is_asked);
                let held = reason.code.is_passing().then_some((node, reason.message));
                let holder = holder(&key);
                Deferred { held, stays, ..Deferred::refused(table, key, holder) }
            }));
            let unmoved = weighed.unmoved.iter();
            left.extend(unmoved.map(|key| Deferred::refused(table, key.clone(), holder(key))));
            let tried: Vec<Deferred> = deferred.drain(part).collect();
            if self.tables[table].stands_still() {
                // It may go on before this is over.
                left.extend(tried.into_iter().map(|row| Deferred {
                    stays: Some(Stays::Unlooked),
                    ..Deferred::refused(table, row.key, row.holder)
                }));
            }
        }
        keep_one_each(&mut left);
        Ok(left)
    }

    /// Hands what could not be written over to the sync: the row becomes a change of the node where it stands, waits where it
    /// is not taken, and is tried again like any other. It counts as made when the load began: what users have done since to
    /// the same key elsewhere is later.
    pub(super) async fn hand_over(&mut self, load: &Load, deferred: Vec<Deferred>) -> Result<HashSet<(usize, Key)>> {
        let mut by_node: HashMap<NodeId, Vec<(usize, Key)>> = HashMap::new();
        let mut seen = HashSet::new();
        for row in deferred {
            let rows = by_node.entry(row.holder).or_default();
            if seen.insert((row.table, row.key.clone())) {
                rows.push((row.table, row.key));
            }
        }
        for (node, rows) in by_node {
            info!(node = %self.names[node.index()], rows = rows.len(), "Rows that cannot be copied wait.");
            let mut specs = Session::specs(&self.tables, node);
            specs.retain(|spec| rows.iter().any(|(table, _)| *table == spec.index));
            let member = &mut self.members[node.index()];
            let Some(writer) = member.node.as_deref_mut() else { return Err(self.unreachable()) };
            if let Err(error) = touch(writer, &specs, &rows, load.since[node.index()]).await {
                writer.rollback().await.map_err(Error::at(&member.name, "handing rows over"))?;
                if error.is_lock() {
                    return Err(Error::Unreachable(vec![format!(
                        "node `{}`: a row that is to be handed over to the sync is held up: {error}\n    run `concord load` again when \
                         that is over; {}",
                        self.names[node.index()],
                        self.goes_on(load)
                    )]));
                }
                return Err(Error::at(&member.name, "handing rows over to the sync")(error));
            }
        }
        Ok(seen)
    }

    /// In words, what is left as it is.
    pub(super) fn told_as_left(&self, left: &[Deferred]) -> Vec<String> {
        let mut told = Vec::new();
        for table in &self.tables {
            let (mut undecidable, mut fail, mut stood_still) = (Vec::new(), Vec::new(), 0);
            for row in left.iter().filter(|row| row.table == table.index) {
                match &row.stays {
                    Some(Stays::Undecidable(why)) => undecidable.push((row, why)),
                    Some(Stays::Fails(why)) => fail.push(why),
                    Some(Stays::Unlooked) | None => stood_still += 1,
                }
            }
            if let Some((first, why)) = undecidable.first() {
                let count = undecidable.len() as u64;
                told.push(self.undecidable(table.index, count, first.holder, &first.key, why));
            }
            let counted = |count: usize| match count {
                1 => "1 row of it was".to_owned(),
                count => format!("{count} rows of it were"),
            };
            let name = &table.name;
            if let Some(why) = fail.first() {
                let rows = counted(fail.len());
                told.push(format!("table `{name}`: {rows} not copied: {why}; run the load again when that is mended"));
            }
            if stood_still > 0 {
                let rows = counted(stood_still);
                told.push(format!(
                    "table `{name}` stood still, and {rows} not copied; run the load again when it goes on"
                ));
            }
        }
        told
    }

    /// Why rows stay as they are at all nodes, of which one cannot be read at a node, and what comes of putting that right.
    pub(super) fn undecidable(&self, table: usize, rows: u64, at: NodeId, key: &Key, why: &str) -> String {
        let mut shown = Vec::new();
        write_json(key, &mut shown);
        let (cannot, one) = match rows {
            1 => ("1 row cannot".to_owned(), ""),
            rows => (format!("{rows} rows cannot"), ", for one"),
        };
        format!(
            "table `{}`: {cannot} be read at a node, and nothing is written over what cannot be read, so all nodes keep what they have: {} at \
             {}{one}: {why}; put that right and run the load again (what is changed or deleted there for that replaces the whole row of the \
             others, which is in their journals then)",
            self.tables[table].name,
            String::from_utf8_lossy(&shown),
            self.names[at.index()],
        )
    }

    /// Tells of the rows that were handed over, after the sync has been at them: which wait, and how many came together.
    pub(super) async fn count_handed(&mut self, handed: HashSet<(usize, Key)>, loaded: &mut Loaded) -> Result<()> {
        if handed.is_empty() {
            return Ok(());
        }
        // Of what stands still nothing was carried.
        let stand_still: Vec<bool> = self.tables.iter().map(Table::stands_still).collect();
        self.prepare().await?;
        let opened = self.open().await?;
        self.close().await;
        for (table, key) in handed.into_iter().filter(|(table, _)| !stand_still[*table]) {
            let name = &self.tables[table].name;
            let Some(told) = loaded.tables.iter_mut().find(|told| told.table == *name) else { continue };
            match opened.nodes().any(|(node, _)| opened.parked(node, table, &key).is_some()) {
                true => told.waiting += 1,
                false => told.together += 1,
            }
        }
        Ok(())
    }
}

/// Whether it is worth trying what is left once more. Where rows of many parts wait for each other, each pass over them may free but
/// a few; what is handed to the sync is written together there.
fn gets_on(before: usize, left: usize) -> bool {
    let freed = before.saturating_sub(left);
    left > 0 && freed > 0 && (before <= ROWS || freed >= before / 10)
}

/// By which columns of the shared row rows of a table refer to others of it at some node, and to which.
fn own_references(table: &Table) -> Vec<(Vec<usize>, Vec<usize>)> {
    let mut found = Vec::new();
    for spec in table.forms.iter().flatten().map(|form| &form.spec) {
        let place = |name: &String| spec.columns.iter().find(|column| column.name == *name)?.shared;
        let places = |names: &[String]| names.iter().map(place).collect::<Option<Vec<usize>>>();
        for reference in &spec.references {
            let is_own = reference.referenced_table == spec.local && reference.referenced_schema == spec.schema;
            if let (true, Some(own), Some(referenced)) =
                (is_own, places(&reference.columns), places(&reference.referenced_columns))
                && !found.contains(&(own.clone(), referenced.clone()))
            {
                found.push((own, referenced));
            }
        }
    }
    found
}

/// Which rows of a table refer to which, by digests of the values.
#[derive(Default)]
struct Order {
    refers: Vec<(usize, u64)>,
    holds: HashMap<u64, usize>,
}

impl Order {
    fn add(&mut self, at: usize, row: &Row, references: &[(Vec<usize>, Vec<usize>)]) {
        for (number, (own, referenced)) in references.iter().enumerate() {
            let digest = |places: &[usize]| {
                let mut hasher = FixedState::default().build_hasher();
                number.hash(&mut hasher);
                for &place in places {
                    row.get(place).filter(|value| **value != Value::Null)?.hash(&mut hasher);
                }
                Some(hasher.finish())
            };
            self.refers.extend(digest(own).map(|digest| (at, digest)));
            self.holds.extend(digest(referenced).map(|digest| (digest, at)));
        }
    }

    /// The rows, so many, each behind those that it refers to. (Rows of a circle are side by side.)
    fn parents_first(&self, rows: usize) -> Vec<usize> {
        let mut graph = DiGraph::<(), ()>::with_capacity(rows, self.refers.len());
        let nodes: Vec<_> = (0..rows).map(|_| graph.add_node(())).collect();
        for (row, digest) in &self.refers {
            if let Some(parent) = self.holds.get(digest).filter(|parent| *parent != row) {
                graph.add_edge(nodes[*row], nodes[*parent], ());
            }
        }
        kosaraju_scc(&graph).into_iter().flatten().map(|node| node.index()).collect()
    }
}

/// Several nodes may have refused the same row. Where one of them was held up, it is not done with by what the sync makes of it.
fn keep_one_each(deferred: &mut Vec<Deferred>) {
    let mut known = HashSet::new();
    deferred.sort_by_key(|row| row.held.is_none());
    deferred.retain(|row| known.insert((row.table, row.key.clone())));
}

async fn touch(
    node: &mut dyn Node,
    specs: &[TableSpec],
    rows: &[(usize, Key)],
    since: Option<i64>,
) -> node::Result<()> {
    node.begin_apply(specs).await?;
    for (table, key) in rows {
        if let Some(spec) = specs.iter().find(|spec| spec.index == *table && spec.captured) {
            node::apply::lock_and_touch(node, spec, key, since).await?;
        }
    }
    node.commit().await
}

#[cfg(test)]
mod tests {
    use super::super::{LoadOptions, Progress};
    use super::*;
    use crate::sync::tests::files;

    /// GIVEN a row of a table that stood still when it was to be tried, and goes on since
    /// WHEN what could not be written is handed over
    /// THEN it is not, and it is told.
    #[tokio::test]
    async fn what_nobody_has_looked_at_is_not_handed_over() {
        let sql = "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)";
        let (_folder, _databases, mut session) = files::two(sql, "[tables.t]\n");
        session.install().await.expect("nothing is wrong");
        let options = LoadOptions::default();
        let mut load = session.look_round(&options).await.expect("both are there");
        load.since = session.clocks().await.expect("both are there");
        for unlooked in [true, false] {
            let mut progress = Progress::new(&mut session, &options, true).await.expect("both are there");
            let stays = unlooked.then_some(Stays::Unlooked);
            let row = Deferred { stays, ..Deferred::refused(0, vec![Value::Int(1)].into(), NodeId(0)) };
            let (handed, left) = session.give_up(&load, vec![row], &mut progress).await.expect("nobody is in the way");
            assert_eq!((handed.is_empty(), left.len()), (unlooked, usize::from(unlooked)), "{left:?}");
            assert!(left.iter().all(|why| why.contains("1 row of it was not copied")), "{left:?}");
        }
    }

    /// Keys that say nothing of the order of the chain, and more rows than whoever recursed would get through.
    #[test]
    fn rows_come_behind_those_that_they_refer_to() {
        let rows = 50_000;
        let key = |at: i64| (at * 7_919) % rows;
        let references = [(vec![1], vec![0])];
        let mut order = Order::default();
        for at in 0..rows {
            let parent = if at == 0 { Value::Null } else { Value::Int(key(at - 1)) };
            order.add(key(at) as usize, &vec![Value::Int(key(at)), parent].into(), &references);
        }
        let expected: Vec<usize> = (0..rows).map(|at| key(at) as usize).collect();
        assert!(order.parents_first(rows as usize) == expected);
    }

    #[test]
    fn passes_that_free_hardly_a_row_come_to_an_end() {
        assert_eq!([gets_on(10, 9), gets_on(10, 10), gets_on(10, 0)], [true, false, false]);
        let many = 5 * ROWS;
        assert_eq!([gets_on(many, many - 2), gets_on(many, many - many / 10)], [false, true]);
    }
}
