//! From contests to outcomes: asks the policy, and says what lost.

use std::borrow::Cow;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tracing::debug;

use super::asked::{self, Disputed, Said};
use super::complete::{Completed, complete, went};
use super::contest::{Contender, Content, Contest};
use super::examine::targets;
use super::fetch::Weighed;
use super::mapped::{Current, localized};
use super::opened::Opened;
use super::route::Ruling;
use super::table::{Form, Table};
use crate::merge::{self, Candidate, Delta, Verdict};
use crate::model::{Column, Domain, Dot, Key, NodeId, ParkedCode, Row, Stamp, Value, Vector, time, write_json};
use crate::node::apply::Decision;
use crate::plugin::Failure;

/// What deciding takes besides the contests.
pub struct Facts {
    pub tables: Vec<Table>,
    pub names: Vec<String>,
    pub opened: Arc<Opened>,
    /// Whether an account of every conflict is wanted.
    pub accounts: bool,
}

/// What each node has to do about the contests that were decided.
pub struct Outcomes {
    /// By node and table.
    pub decisions: Vec<Vec<Vec<Decision>>>,
    /// How many conflicts were decided.
    pub conflicts: u64,
    /// The conflicts themselves, if they are wanted.
    pub accounts: Vec<Account>,
    /// If these are wanted, what a later cycle makes of rows that stay until another node has taken them, by node and table.
    pub leaving: Vec<(NodeId, usize, Decision)>,
    /// What became of plugins that broke at every row that did not wait yet, by table. Nothing of these tables is to be done.
    pub gave_up: Vec<(usize, Failure)>,
}

/// A conflict, and what became of it.
#[derive(Debug)]
pub struct Account {
    pub table: usize,
    pub key: Key,
    pub id: String,
    pub versions: Vec<Side>,
    /// The place of the version taken, if one was taken as it is.
    pub taken: Option<usize>,
    pub settled: Settled,
    pub reason: String,
}

/// One version of a conflict.
#[derive(Debug)]
pub struct Side {
    /// Where and when it was written.
    pub stamp: Stamp,
    /// The node that has it.
    pub holder: NodeId,
    /// Whether it waits there.
    pub waiting: bool,
    pub row: Option<Arc<Row>>,
}

impl Facts {
    /// Decides contests of a table whose rows were read, and turns the outcomes into what each node has to do.
    pub fn decide(&self, table: usize, contests: Vec<Weighed>) -> Outcomes {
        let mut outcomes = Outcomes::new(self.names.len(), self.tables.len());
        let (index, table) = (table, &self.tables[table]);
        let targets = targets(table, &self.opened);
        let everybody = self.opened.present.iter().all(Option::is_some);
        let mut decided: Vec<(Weighed, Resolved)> = Vec::with_capacity(contests.len());
        let mut ready: Vec<(Weighed, Ready)> = Vec::with_capacity(contests.len());
        for weighed in contests {
            // Where nobody who is there has the row, or deleted it, it is a matter of those who are away.
            let contest = &weighed.contest;
            if table.has_subsets() && !contest.is_about_something() && contest.taken_away(table).is_none() {
                continue;
            }
            match prepare(table, &weighed.contest, &weighed.tops, &self.names, everybody) {
                Ok(prepared) => ready.push((weighed, prepared)),
                Err(resolved) => decided.push((weighed, *resolved)),
            }
        }
        let resolve = |weighed: &Weighed, prepared: &Ready, asked: Option<(Said, Disputed<'_>)>| {
            resolve(table, &weighed.key, &weighed.contest, &weighed.tops, &self.names, prepared, asked)
        };
        match &table.resolver {
            Some(resolver) => {
                let asked = ready.iter().zip(asked::ask(resolver, &table.policy, &ready, &self.names));
                let resolved: Vec<Resolved> =
                    asked.map(|((weighed, prepared), asked)| resolve(weighed, prepared, asked)).collect();
                decided.extend(ready.into_iter().map(|(weighed, _)| weighed).zip(resolved));
            }
            None => decided.extend(ready.into_iter().map(|(weighed, prepared)| {
                let resolved = resolve(&weighed, &prepared, None);
                (weighed, resolved)
            })),
        }
        let places = table.place(decided.iter().map(|(_, resolved)| resolved));
        let mut unmapped: Vec<Vec<(Decision, Current)>> = self.names.iter().map(|_| Vec::new()).collect();
        for ((mut weighed, resolved), places) in decided.into_iter().zip(places) {
            let mut current: Vec<Current> = targets.iter().map(|&target| weighed.current(target)).collect();
            let Weighed { key, contest, tops, put_off, .. } = weighed;
            outcomes.conflicts += u64::from(resolved.conflict && !resolved.losers.is_empty());
            if resolved.conflict {
                debug!(table = %table.name, reason = %resolved.reason, "A conflict is decided.");
                if self.accounts {
                    outcomes.accounts.extend(account(index, &key, &contest, &tops, &resolved));
                }
            }
            let (contest, resolved, opened) = (&contest, &resolved, &*self.opened);
            let places = &places[..];
            let ruling = Ruling { table, key: &key, contest, tops: &tops, resolved, places, opened };
            if self.accounts {
                let leaving = ruling.leaving(&targets, &current).into_iter();
                outcomes.leaving.extend(leaving.map(|(node, decision)| (node, index, decision)));
            }
            for (&target, current) in targets.iter().zip(&mut current).filter(|(target, _)| !put_off.contains(target)) {
                let Some(form) = table.form(target) else { continue };
                let decision = ruling.at(target, form);
                match form.lens.is_mapped() {
                    true => unmapped[target.index()].extend(decision.map(|decision| (decision, current.take()))),
                    false => outcomes.decisions[target.index()][index].extend(decision),
                }
            }
        }
        for (&target, form) in targets.iter().filter_map(|target| Some((target, table.form(*target)?))) {
            let decisions = std::mem::take(&mut unmapped[target.index()]);
            outcomes.decisions[target.index()][index].extend(localized(form, decisions));
        }
        outcomes
    }
}

impl Outcomes {
    pub fn new(nodes: usize, tables: usize) -> Outcomes {
        let empty = || (0..tables).map(|_| Vec::new()).collect();
        Outcomes {
            decisions: (0..nodes).map(|_| empty()).collect(),
            conflicts: 0,
            accounts: Vec::new(),
            leaving: Vec::new(),
            gave_up: Vec::new(),
        }
    }

    /// Makes room for what so many contests of a table come to. There are as many as changes, and each is moved.
    pub fn expect(&mut self, table: usize, contests: usize) {
        self.decisions.iter_mut().for_each(|tables| tables[table].reserve_exact(contests));
    }

    pub fn extend(&mut self, more: Outcomes) {
        self.conflicts += more.conflicts;
        self.accounts.extend(more.accounts);
        self.leaving.extend(more.leaving);
        self.gave_up.extend(more.gave_up);
        for (tables, more) in self.decisions.iter_mut().zip(more.decisions) {
            tables.iter_mut().zip(more).for_each(|(decisions, more)| decisions.extend(more));
        }
    }
}

/// Why a version lost that the outcome has seen.
const PASSED_OVER: &str = "the latest of a column that does not live where the row was changed last";

/// What a key becomes, everywhere.
#[derive(Debug)]
pub struct Resolved {
    pub settled: Settled,
    /// Everything that went into it.
    pub vector: Vector,
    /// What versions have seen besides, of which it is not known what became of it: whoever lacks that lacks the outcome, and
    /// whoever has the outcome has not seen it. Nothing where each change is counted.
    pub unvouched: Vec<Dot>,
    pub stamp: Stamp,
    /// The place of the version taken, if it was taken as it is.
    pub taken: Option<usize>,
    /// The versions that lost, with content of their own.
    pub losers: Vec<Loser>,
    pub conflict: bool,
    /// Whether nodes that have seen the same hold what was decided differently.
    pub rivals: bool,
    pub reason: Cow<'static, str>,
    /// When it was decided, in µs UTC.
    pub decided: i64,
    /// Names what is journalled, alike at all nodes.
    pub id: String,
}

/// A version that lost.
#[derive(Debug)]
pub struct Loser {
    /// Its place in the contest.
    pub at: usize,
    /// Its row, with the columns that do not live at its node as far as they are known.
    pub row: Option<Arc<Row>>,
    /// Those that are not known.
    pub unknown: Vec<usize>,
    /// See [`Lost::told`](crate::model::Lost::told).
    pub told: Option<Arc<str>>,
}

#[derive(Debug, Clone)]
pub enum Settled {
    /// The row in the shared shape. Columns in `unknown` live at none of the nodes that changed it: there every node keeps
    /// its own value.
    Row {
        row: Arc<Row>,
        unknown: Vec<usize>,
    },
    Deleted,
    /// No content can be carried; it waits at every node that lacks it.
    Parked(ParkedCode, String),
}

/// Tells a conflict; `None` if the versions that were written without each other say the same.
fn account(table: usize, key: &Key, contest: &Contest, tops: &[usize], resolved: &Resolved) -> Option<Account> {
    if resolved.losers.is_empty() && !matches!(resolved.settled, Settled::Parked(..)) {
        return None;
    }
    let side = |&top: &usize| {
        let Contender { version, content, .. } = &contest.versions[top];
        Side { stamp: version.stamp, holder: version.node, waiting: version.waiting, row: content.shared() }
    };
    let besides = resolved.losers.iter().map(|loser| &loser.at).filter(|at| !tops.contains(at));
    Some(Account {
        table,
        key: key.clone(),
        id: resolved.id.clone(),
        versions: tops.iter().chain(besides).map(side).collect(),
        taken: resolved.taken.and_then(|taken| tops.iter().position(|&top| top == taken)),
        settled: resolved.settled.clone(),
        reason: resolved.reason.clone().into_owned(),
    })
}

/// A contest whose contents are complete, so that it can be decided.
pub(super) struct Ready {
    /// The rows of the versions that are left, in their order.
    rows: Vec<Option<Arc<Row>>>,
    /// Columns that none of them knows.
    unknown: Vec<usize>,
    /// The places of versions that are replaced, with a column of theirs that is not in what replaces them.
    passed_over: Vec<(usize, usize)>,
    /// What goes into the outcome.
    seen: Vector,
    /// See [`Resolved::unvouched`].
    unvouched: Vec<Dot>,
    /// The recorded changes, with their times.
    pub deltas: Vec<(Delta, i64)>,
}

impl Ready {
    pub fn candidates<'a>(&'a self, contest: &'a Contest, tops: &[usize]) -> Vec<Candidate<'a>> {
        let rows = tops.iter().zip(&self.rows);
        rows.map(|(&top, row)| Candidate { version: &contest.versions[top].version, row: row.as_deref() }).collect()
    }
}

/// Completes the contents of the versions that are left, which were read; or says why nothing can be decided. `tops` are
/// their places; `everybody` if no node is away.
fn prepare(
    table: &Table,
    contest: &Contest,
    tops: &[usize],
    names: &[String],
    everybody: bool,
) -> Result<Ready, Box<Resolved>> {
    let mut seen = contest.seen();
    // What waits for the outcome keeps when the latest was made, which may be told nowhere else by then.
    let waits = |code, why, seen, known: Stamp| {
        let stamps = tops.iter().map(|&top| contest.versions[top].version.stamp);
        let latest = stamps.fold(known, |latest, stamp| if stamp.time > latest.time { stamp } else { latest });
        Err(Box::new(parked(code, why, seen, latest)))
    };
    // Where everybody is here there is nobody to wait for.
    let owed = if everybody { contest.owes_what_is_left(table) } else { contest.owes(table) };
    if let Some(owed) = owed {
        let (version, (code, why)) = owed;
        return waits(*code, why.clone(), seen, version.stamp);
    }
    if let Some(dot) = contest.taken_away(table).filter(|_| !everybody) {
        let node = &names[dot.node.index()];
        let why = format!("what {node} made of it did not belong there and went to nodes that are away");
        let stamp = contest.standing(dot.node).map_or(Stamp { time: i64::MIN, node: dot.node }, |c| c.version.stamp);
        seen.add(dot);
        return waits(ParkedCode::Unreadable, why, seen, stamp);
    }
    for &top in tops {
        let contender = &contest.versions[top];
        if let Content::Unreadable(why) = &contender.content {
            let stamp = Stamp { time: contender.version.stamp.time, node: contender.version.node };
            let why = format!("at {} it cannot be read: {why}", names[stamp.node.index()]);
            return waits(ParkedCode::Unreadable, why, seen, stamp);
        }
        debug_assert!(contender.content != Content::Stands, "what is left was to be read");
        if contender.content == Content::Unread {
            let stamp = contender.version.stamp;
            let why = format!("its content is at {}, which is away", names[stamp.node.index()]);
            return waits(ParkedCode::Unreadable, why, seen, stamp);
        }
    }
    let Completed { rows, unknown, passed_over, mut unvouched } = complete(table, contest, tops, &seen);
    // What became of a column stands there, and would be written over with what another has had before.
    if let Some((version, why)) = unvouched.iter().find_map(|dot| contest.unreadable_with(dot, tops, table)) {
        let stamp = Stamp { time: version.stamp.time, node: version.node };
        let why = format!("at {} it cannot be read: {why}", names[version.node.index()]);
        return waits(ParkedCode::Unreadable, why, seen, stamp);
    }
    let speaks = |dot: &Dot| contest.versions.iter().any(|contender| contender.version.node == dot.node);
    if !unknown.is_empty() {
        // Who passes a row on without some of its columns cannot vouch for what others changed in them.
        unvouched.extend(seen.dots().iter().filter(|dot| !speaks(dot) && !went(contest, tops, dot)));
    }
    if table.policy.merges() && table.from.is_none() {
        // What such a change did to the recorded columns is in the row: whoever took it without having seen the change would count it
        // once more, and whoever passed for having seen it would be preferred to who has all of it.
        let is_news = |dot: &Dot| {
            let mut standing = contest.versions.iter().map(|contender| &contender.version).filter(|one| !one.waiting);
            standing.any(|version| !version.vector.saw(dot))
        };
        if let Some(dot) = unvouched.iter().find(|dot| !speaks(dot) && is_news(dot)) {
            let node = &names[dot.node.index()];
            let why = format!(
                "what {node} changed came by way of a node that lacks columns, and nobody who is there knows what became of these; decided \
                 when {node} is there as well"
            );
            return waits(ParkedCode::Unreadable, why, seen, Stamp { time: i64::MIN, node: dot.node });
        }
        unvouched.clear();
    }
    seen.retain(|dot| !unvouched.contains(dot));
    let deltas = if tops.len() == 1 { Vec::new() } else { contest.deltas.clone() };
    Ok(Ready { rows, unknown, passed_over, seen, unvouched, deltas })
}

/// Decides a contest. `asked` is what whoever was asked about it said, and what he was told.
fn resolve(
    table: &Table,
    key: &Key,
    contest: &Contest,
    tops: &[usize],
    names: &[String],
    ready: &Ready,
    asked: Option<(Said, Disputed<'_>)>,
) -> Resolved {
    let (asked, disputed) = asked.unzip();
    let candidates = ready.candidates(contest, tops);
    let deltas: Vec<Delta> = ready.deltas.iter().map(|(delta, _)| delta.clone()).collect();
    let mut outcome = merge::decide(&table.policy, &candidates, ready.seen.clone(), &deltas, names, asked);
    // Of columns in which every change is added up nothing is lost.
    let mut merged_columns = Vec::new();
    if let Verdict::Merge(row) = &mut outcome.verdict {
        merged_columns = match &table.policy {
            merge::Policy::Sum(columns) => columns.clone(),
            other => merge::added_up(other.recorded(), &candidates, &deltas, row),
        };
        to_held(table, table.policy.recorded(), row, &candidates, &deltas);
    }
    if outcome.stamp.time == i64::MIN && table.has_subsets() {
        // It is told beside what came and went elsewhere, and must not pass for as young as that.
        outcome.stamp.time = contest.before_all();
    }
    let Ready { rows, unknown, passed_over, unvouched, .. } = ready;
    let (settled, taken) = match outcome.verdict {
        Verdict::Take(place) => {
            let settled = match &rows[place] {
                Some(row) => Settled::Row { row: row.clone(), unknown: unknown.clone() },
                None => Settled::Deleted,
            };
            (settled, Some(place))
        }
        Verdict::Merge(row) => (Settled::Row { row: Arc::new(row), unknown: unknown.clone() }, None),
        Verdict::Delete => (Settled::Deleted, None),
        Verdict::Park(why) => (Settled::Parked(ParkedCode::Conflict, why), None),
    };
    let mut losers: Vec<Loser> = Vec::new();
    if outcome.conflict {
        let lost = |row: Option<&Row>| match &settled {
            Settled::Row { row: winner, .. } => !row.is_some_and(|row| same_but(row, winner, &merged_columns)),
            Settled::Deleted => row.is_some(),
            Settled::Parked(..) => false,
        };
        let places = (0..tops.len()).filter(|&place| Some(place) != taken && lost(rows[place].as_deref()));
        let loser =
            |place: usize| Loser { at: tops[place], row: rows[place].clone(), unknown: unknown.clone(), told: None };
        losers.extend(places.map(loser));
    }
    if let Some(disputed) = disputed.filter(|_| table.policy.merges() && !losers.is_empty()) {
        let told = disputed.told(table, |place| losers.iter().any(|loser| loser.at == tops[place]));
        // One entry will do, and at every node the same.
        let bearer = losers.iter_mut().min_by_key(|loser| contest.versions[loser.at].version.stamp);
        if let Some(bearer) = bearer {
            bearer.told = told;
        }
    }
    for &(at, column) in passed_over {
        let row = contest.versions[at].content.shared();
        let value = || row.as_deref().map(|row| &row[column]);
        let lost = match &settled {
            Settled::Row { row: winner, .. } => value() != Some(&winner[column]),
            Settled::Deleted => true,
            Settled::Parked(..) => false,
        };
        if lost && losers.iter().all(|loser| loser.at != at) {
            losers.push(Loser { at, row, unknown: contest.untold(at, table), told: None });
        }
    }
    let apart = !outcome.conflict && !losers.is_empty();
    let conflict = outcome.conflict || apart;
    let deletes_blindly = table.deletes_blindly() && matches!(settled, Settled::Deleted);
    let journals = conflict || deletes_blindly || table.uncompared.is_some();
    Resolved {
        settled,
        vector: outcome.vector,
        unvouched: unvouched.clone(),
        stamp: outcome.stamp,
        taken: taken.map(|place| tops[place]),
        id: if journals { conflict_id(table, key, contest, tops, names) } else { String::new() },
        losers,
        conflict,
        rivals: rivals(table, contest, tops),
        reason: if apart { PASSED_OVER.into() } else { outcome.reason },
        decided: time::now(),
    }
}

/// Brings what was made of several versions to what the nodes hold: in the recorded columns, by their places in the row and in the
/// order of the changes.
pub(super) fn to_held(table: &Table, recorded: &[usize], row: &mut Row, versions: &[Candidate<'_>], changes: &[Delta]) {
    let placed = |(_, column): (usize, usize)| Some((recorded.iter().position(|&one| one == column)?, column));
    merge::to_singles(row, table.singles().filter_map(placed), versions, changes);
    let unheld = unheld_by_floats(table, row);
    merge::to_names(row, unheld.into_iter().filter_map(placed), versions, changes);
}

/// Columns of whose value a node of SQLite that is there holds no float, where it keeps decimals as such: as [`Table::singles`].
fn unheld_by_floats(table: &Table, row: &Row) -> Vec<(usize, usize)> {
    let is_unheld = |form: &Form, recorded: usize, value: &Value| {
        let own = form.spec.images.get(recorded).and_then(|&at| form.spec.columns.get(at));
        own.is_some_and(|Column { domain, .. }| {
            matches!(domain, Domain::Loose { affinity, .. } if affinity == "NUMERIC") && domain.holds(value).is_err()
        })
    };
    let recorded = table.policy.recorded().iter().copied().enumerate();
    let of_any = |&(recorded, column): &(usize, usize)| {
        table.forms.iter().flatten().any(|form| is_unheld(form, recorded, &row[column]))
    };
    recorded.filter(of_any).collect()
}

/// Whether some of the versions that are left have seen the same.
fn rivals(table: &Table, contest: &Contest, tops: &[usize]) -> bool {
    let vector = |at: usize| &contest.versions[at].version.vector;
    let rival = |&at: &usize| tops.iter().any(|&other| other != at && vector(other) == vector(at));
    tops.len() > 1 && table.tells_all() && tops.iter().any(rival)
}

fn parked(code: ParkedCode, why: String, vector: Vector, stamp: Stamp) -> Resolved {
    Resolved {
        settled: Settled::Parked(code, why.clone()),
        vector,
        unvouched: Vec::new(),
        stamp,
        taken: None,
        losers: Vec::new(),
        conflict: false,
        rivals: false,
        reason: why.into(),
        decided: time::now(),
        id: String::new(),
    }
}

fn same_but(a: &Row, b: &Row, but: &[usize]) -> bool {
    a.iter().zip(b.iter()).enumerate().all(|(at, (a, b))| but.contains(&at) || a == b)
}

/// Whether an id is one that [`conflict_id`] makes: a number and a digest. Others begin with what they come of, and those of
/// decisions that were overturned have a point.
pub(super) fn is_conflict_id(id: &str) -> bool {
    let hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    id.split_once('-').is_some_and(|(number, digest)| hex(number) && digest.len() == 12 && hex(digest))
}

/// The same at every node and at every repetition: made of the table, the key and the changes in question. It begins with the
/// number of the youngest change, so that conflicts found together lie together where a journal has an index.
fn conflict_id(table: &Table, key: &Key, contest: &Contest, tops: &[usize], names: &[String]) -> String {
    let vectors = || tops.iter().map(|&top| &contest.versions[top].version.vector);
    let mut texts: Vec<String> = vectors().map(|vector| vector.write(names)).collect();
    texts.sort();
    let mut text = Vec::with_capacity(128);
    text.extend_from_slice(table.name.as_bytes());
    text.push(b'\n');
    write_json(key, &mut text);
    for vector in texts {
        text.push(b'\n');
        text.extend_from_slice(vector.as_bytes());
    }
    let digest = Sha256::digest(text);
    let number = vectors().flat_map(Vector::dots).map(|dot| dot.number).max().unwrap_or(0);
    let digest = digest.iter().take(6).fold(0u64, |digest, byte| digest << 8 | u64::from(*byte));
    format!("{number:x}-{digest:012x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::Version;
    use crate::model::Type;

    /// A table of an id and notes, which the second of three nodes lacks.
    fn table(policy: merge::Policy) -> Table {
        let columns = [("id", Type::Int), ("notes", Type::Text)];
        let form = |columns: &[(&str, Type)]| Some(Form::bare(columns, 2));
        Table { policy, ..Table::bare(&columns, vec![form(&columns), form(&columns[..1]), form(&columns)]) }
    }

    /// GIVEN notes of the third node that the second, which lacks them, has passed on, and that cannot be read any more
    /// WHEN the second changes the row
    /// THEN nobody takes that with the notes that the first has had before, until the third can be read.
    #[test]
    fn what_cannot_be_read_is_not_replaced_by_what_was_before() {
        let row = |notes: Value| Content::Row(Arc::new(vec![Value::Int(1), notes].into()));
        let dot = |node: u16| Dot { node: NodeId(node), number: 1, mark: 1 };
        let names = ["a", "b", "c"].map(str::to_owned);
        for policy in [merge::Policy::LatestWins, merge::Policy::Sum(vec![0])] {
            for (content, waits) in [(Content::Unreadable("it is odd".into()), true), (row(Value::text("new")), false)]
            {
                let mut contest = Contest::default();
                for (node, time, seen, content) in [
                    (0, 1, &[][..], row(Value::text("old"))),
                    (1, 3, &[1, 2][..], row(Value::Null)),
                    (2, 2, &[2][..], content),
                ] {
                    let mut vector = Vector::EMPTY;
                    seen.iter().for_each(|&node| vector.add(dot(node)));
                    let stamp = Stamp { time, node: NodeId(node) };
                    let version = Version { node: NodeId(node), waiting: false, behind: false, vector, stamp };
                    contest.versions.push(Contender::new(version, content));
                }
                let prepared = prepare(&table(policy.clone()), &contest, &[1], &names, true);
                match (prepared, waits) {
                    (Err(resolved), true) => {
                        let Settled::Parked(ParkedCode::Unreadable, why) = &resolved.settled else {
                            panic!("{:?}", resolved.settled)
                        };
                        assert_eq!(why, "at c it cannot be read: it is odd");
                        assert!([1, 2].iter().all(|&node| resolved.vector.saw(&dot(node))));
                    }
                    (Ok(ready), false) => {
                        let notes = ready.rows[0].as_ref().map(|row| row[1].clone());
                        assert_eq!(notes, Some(Value::text("new")));
                    }
                    (prepared, _) => panic!("{policy:?}: {}", if prepared.is_ok() { "decided" } else { "it waits" }),
                }
            }
        }
    }
}
