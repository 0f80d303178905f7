//! Asking a resolver about the conflicts that the journals tell of: what another version of it, or other settings, would have
//! made of them.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value as Document;

use super::asked::MERGES;
use super::attendance::Away;
use super::decide::{is_conflict_id, to_held};
use super::plugins::{facts, shape};
use super::session::Session;
use super::status::Journals;
use super::table::Table;
use super::told;
use crate::error::{Error, Result};
use crate::merge::{self, Candidate, Delta, SUMS};
use crate::model::{Dot, Key, Lost, NodeId, Row, Stamp, Vector};
use crate::node::Sought;
use crate::plugin::{Change, Dispute, Failure, Host, Plugin, Resolution, Resolver, Side};

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Replay {
    pub table: String,
    pub plugin: String,
    pub version: String,
    /// How many conflicts it was asked about.
    pub asked: usize,
    /// How many were not asked about, because the journals do not hold every version of them, or not what each change did.
    pub incomplete: usize,
    /// What would become of rows otherwise, newest conflict first.
    pub differences: Vec<Difference>,
    /// Nodes whose journals could not be read.
    pub away: Vec<Away>,
}

/// A conflict that would end otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    pub id: String,
    pub key: Document,
    /// When it was decided, in µs UTC.
    pub decided: i64,
    /// What became of the row; `None` if it was deleted.
    pub was: Option<Document>,
    /// Why that was so.
    pub reason: String,
    /// What would become of it; `None` if it would be deleted, or left to a person.
    pub now: Option<Document>,
    /// Why the plugin would leave it to a person, if it would.
    pub parked: Option<String>,
}

/// A conflict as it can be put together again.
struct Recorded {
    id: String,
    key: Key,
    decided: i64,
    reason: String,
    became: Option<Arc<Row>>,
    /// In the order of the nodes' names.
    versions: Vec<Version>,
    latest: usize,
    start: usize,
    /// The columns that the resolver records, in its order, before the versions went different ways.
    base: Option<Row>,
    /// What was done to these columns.
    changes: Vec<told::Change<'static, Row>>,
}

struct Version {
    node: String,
    time: i64,
    row: Option<Arc<Row>>,
}

impl Session {
    /// Asks the resolver of a table about the newest `limit` conflicts of the journals, 0 is all; or in its place the plugin of a
    /// name and file, which need not be pinned. Nothing is changed.
    pub async fn replay(&mut self, table: &str, other: Option<(&str, &Path)>, limit: usize) -> Result<Replay> {
        self.needs_history(table)?;
        self.prepare().await?;
        let known = self.tables.iter().find(|known| known.name == table);
        let known = known.ok_or_else(|| Error::Usage(format!("no table is called `{table}`")))?;
        // Its journals are not read then, but for where only its filters are to be others.
        if let (Some(why), None) = (&known.stopped, &known.filtered_otherwise) {
            return Err(Error::Usage(format!("table `{table}` stands still: {why}")));
        }
        let Some(own) = known.resolver.clone() else {
            return Err(Error::Usage(format!(
                "no plugin decides conflicts of `{table}`; give it one with conflict = {{ plugin = \"…\" }}"
            )));
        };
        let resolver = match other {
            None => own,
            Some((name, file)) => {
                let (name, file, limits) = (name.to_owned(), file.to_owned(), self.config.plugins.limits(name));
                let (shape, facts) = (shape(table, &known.columns, &known.key), facts(&self.config));
                let open = move || {
                    let host = Host::shared().map_err(|why| Failure::new(&name, "host", why))?;
                    let plugin = Plugin::load(&host, &file, &name, limits, None)?;
                    Resolver::open(Arc::new(plugin), shape, own.config(), &facts).map(Arc::new)
                };
                blocking(open).await?.map_err(|failure| Error::Refused(vec![failure.to_string()]))?
            }
        };
        let columns: Vec<String> = resolver.recorded().iter().map(|&at| known.columns[at].name.clone()).collect();
        // How many entries that are no conflicts are younger than these, nobody knows, and a journal may be larger than memory.
        let mut each = limit.saturating_mul(self.names.len());
        let (recorded, incomplete) = loop {
            let journals =
                self.report(async |session| session.read_journals(Some(table), Sought::All, each).await).await?;
            let Journals { entries, since } = journals;
            let (recorded, incomplete) = self.recorded(entries, &columns, limit, since);
            if since.is_none() || recorded.len() == limit {
                break (recorded, incomplete);
            }
            each = each.saturating_mul(2);
        };
        let asking = Arc::clone(&resolver);
        let (recorded, answers) = blocking(move || {
            let disputes: Vec<Dispute<'_>> = recorded.iter().map(Recorded::dispute).collect();
            let answers = asking.resolve(&disputes);
            drop(disputes);
            (recorded, answers)
        })
        .await?;
        let asked = recorded.len();
        let differences = recorded.into_iter().zip(answers);
        let recorded = resolver.recorded();
        let differences =
            differences.filter_map(|(conflict, answer)| self.difference(table, recorded, conflict, answer)).collect();
        let plugin = resolver.plugin();
        Ok(Replay {
            table: table.to_owned(),
            plugin: plugin.name.clone(),
            version: plugin.description.version.clone(),
            asked,
            incomplete,
            differences,
            away: self.away(),
        })
    }

    /// The newest `limit` conflicts that entries of one table tell of, 0 is all, newest first as the entries are, and how many among
    /// them lack a version, or what was done to `columns`. Only those `since` then, if not all was read: of others versions may be
    /// missing that a journal holds.
    fn recorded(
        &self,
        journal: Vec<Lost>,
        columns: &[String],
        limit: usize,
        since: Option<i64>,
    ) -> (Vec<Recorded>, usize) {
        let mut groups: IndexMap<String, Vec<Lost>> = IndexMap::new();
        // What came of loads, repairs, deletes and people's own decisions was never put to a resolver.
        let is_conflict = |lost: &Lost| is_conflict_id(&lost.id) && self.tables[lost.table].may_have_key(&lost.key);
        for lost in journal.into_iter().filter(is_conflict) {
            groups.entry(lost.id.clone()).or_default().push(lost);
        }
        let mut recorded = Vec::new();
        let mut incomplete = 0;
        for group in groups.values() {
            let is_cut = group.iter().any(|lost| since.is_some_and(|since| lost.decided <= since));
            if is_cut || limit > 0 && recorded.len() == limit {
                break;
            }
            match self.put_together(group, columns) {
                Some(conflict) => recorded.push(conflict),
                None => incomplete += 1,
            }
        }
        (recorded, incomplete)
    }

    /// One conflict of its entries, each of which is a version that lost, for a resolver that records some columns.
    fn put_together(&self, lost: &[Lost], columns: &[String]) -> Option<Recorded> {
        let bearer = lost.iter().find_map(|one| Some((one, one.told.as_deref()?)));
        let told = bearer.and_then(|(bearer, text)| self.as_told(lost, bearer, text, columns));
        told.or_else(|| columns.is_empty().then(|| self.by_versions(lost)).flatten())
    }

    /// The same as a plugin was told of it then. What came of it is what the entry says that has the text: where it was decided twice,
    /// others may say otherwise.
    fn as_told(&self, lost: &[Lost], bearer: &Lost, text: &str, columns: &[String]) -> Option<Recorded> {
        let table = &self.tables[bearer.table];
        let told = told::read(table, text)?;
        let place = |name: &str| table.columns.iter().position(|column| column.name == name);
        let places: Vec<Option<usize>> = told.columns.iter().map(|name| place(name)).collect();
        let wanted = columns.iter().map(|column| told.columns.iter().position(|name| *name == **column));
        let wanted: Vec<usize> = wanted.collect::<Option<_>>()?;
        let picked = |row: &Row| -> Row { wanted.iter().map(|&at| row[at].clone()).collect() };
        let whole = |version: &told::Version<'_, Row>| -> Option<Option<Arc<Row>>> {
            let Some(values) = &version.row else { return Some(None) };
            if version.lost {
                let is_it =
                    |one: &&Lost| one.loser_time == version.time && self.names[one.loser.index()] == *version.node;
                return lost.iter().find(is_it)?.loser_row.clone().map(Some);
            }
            // It was kept by nobody, as it is what the row became but for what was told.
            let mut row = bearer.winner_row.clone()?;
            let cells = Arc::make_mut(&mut row);
            for (place, value) in places.iter().zip(values.iter()) {
                if let Some(place) = place {
                    cells.get_mut(*place)?.clone_from(value);
                }
            }
            Some(Some(row))
        };
        // Of two that lost at one moment the journal has one.
        let mut losers = HashSet::new();
        if !told.versions.iter().filter(|one| one.lost).all(|one| losers.insert((&one.node, one.time))) {
            return None;
        }
        let version = |version: &told::Version<'_, Row>| {
            Some(Version { node: version.node.clone().into_owned(), time: version.time, row: whole(version)? })
        };
        let change = |one: told::Change<'static, Row>| told::Change {
            before: one.before.as_ref().map(picked),
            after: one.after.as_ref().map(picked),
            ..one
        };
        let goes_by_changes = !columns.is_empty();
        Some(Recorded {
            versions: told.versions.iter().map(version).collect::<Option<_>>()?,
            latest: told.latest,
            start: told.start,
            base: told.base.as_ref().filter(|_| goes_by_changes).map(picked),
            changes: told.changes.into_iter().filter(|_| goes_by_changes).map(change).collect(),
            ..Recorded::of(bearer)
        })
    }

    /// The same of a conflict of which nothing but rows is kept.
    fn by_versions(&self, lost: &[Lost]) -> Option<Recorded> {
        let first = lost.first()?;
        let mut versions: Vec<(Reverse<usize>, Version)> = Vec::with_capacity(lost.len() + 1);
        let mut add = |node: NodeId, time: i64, row: &Option<Arc<Row>>| {
            let version = Version { node: self.names[node.index()].clone(), time, row: row.clone() };
            versions.push((Reverse(node.index()), version));
        };
        lost.iter().for_each(|lost| add(lost.loser, lost.loser_time, &lost.loser_row));
        // What was merged bears the time of the latest version, and is none itself. Versions of which it holds all that was added up
        // lost nothing, so no journal has them.
        let has_latest = lost.iter().any(|lost| (lost.loser, lost.loser_time) == (first.winner, first.winner_time));
        match merged_of(&first.reason) {
            Some(count) if !has_latest || count > lost.len() => return None,
            None if !has_latest => add(first.winner, first.winner_time, &first.winner_row),
            _ => {}
        }
        if versions.len() < 2 {
            return None;
        }
        versions.sort_by(|(_, a), (_, b)| (&a.node, a.time).cmp(&(&b.node, b.time)));
        let by_age = |&at: &usize| (versions[at].1.time, versions[at].0);
        let latest = (0..versions.len()).max_by_key(by_age)?;
        let versions: Vec<Version> = versions.into_iter().map(|(_, version)| version).collect();
        let there = (0..versions.len()).filter(|&at| versions[at].row.is_some());
        let start = there.max_by_key(|&at| (versions[at].time, at == latest)).unwrap_or(latest);
        Some(Recorded { versions, latest, start, ..Recorded::of(first) })
    }

    /// What differs, if anything does.
    fn difference(
        &self,
        table: &str,
        recorded: &[usize],
        conflict: Recorded,
        answer: std::result::Result<Resolution, Failure>,
    ) -> Option<Difference> {
        let table = self.tables.iter().find(|known| known.name == table)?;
        let document = |row: &Row| table.row_document(row);
        let (now, parked) = match answer {
            Ok(Resolution::Take(at)) => (conflict.versions[at].row.clone(), None),
            Ok(Resolution::Merged(mut row)) => {
                conflict.bring_to_held(table, recorded, &mut row);
                (Some(Arc::new(row)), None)
            }
            Ok(Resolution::Delete) => (None, None),
            Ok(Resolution::Park(why)) => (None, Some(why)),
            Err(failure) => (None, Some(failure.to_string())),
        };
        (parked.is_some() || now != conflict.became).then(|| Difference {
            id: conflict.id,
            key: table.key_document(&conflict.key),
            decided: conflict.decided,
            was: conflict.became.as_deref().map(document),
            reason: conflict.reason,
            now: now.as_deref().map(document),
            parked,
        })
    }
}

impl Recorded {
    /// What an entry tells of a conflict beside its versions.
    fn of(lost: &Lost) -> Recorded {
        Recorded {
            id: lost.id.clone(),
            key: lost.key.clone(),
            decided: lost.decided,
            reason: lost.reason.clone(),
            became: lost.winner_row.clone(),
            versions: Vec::new(),
            latest: 0,
            start: 0,
            base: None,
            changes: Vec::new(),
        }
    }

    fn dispute(&self) -> Dispute<'_> {
        let versions = self.versions.iter();
        let changes = self.changes.iter().map(|one| Change {
            node: &one.node,
            time: one.time,
            before: one.before.as_ref(),
            after: one.after.as_ref(),
            seen_by: one.seen.to_vec(),
        });
        Dispute {
            key: &self.key,
            versions: versions.map(|one| Side { node: &one.node, time: one.time, row: one.row.as_deref() }).collect(),
            latest: self.latest,
            start: self.start,
            base: self.base.clone(),
            changes: changes.collect(),
        }
    }

    /// Brings what a plugin made of it to what the nodes hold, as a sync does, which asks for nothing but the values.
    fn bring_to_held(&self, table: &Table, recorded: &[usize], row: &mut Row) {
        let stamp = Stamp { time: 0, node: NodeId(0) };
        let version = merge::Version { node: stamp.node, waiting: false, behind: false, vector: Vector::EMPTY, stamp };
        let versions = self.versions.iter().map(|one| Candidate { version: &version, row: one.row.as_deref() });
        let dot = Dot { node: stamp.node, number: 0, mark: 0 };
        let change = |one: &told::Change<'static, Row>| Delta {
            dot,
            before: one.before.clone(),
            after: one.after.clone(),
            upon: None,
        };
        let changes: Vec<Delta> = self.changes.iter().map(change).collect();
        to_held(table, recorded, row, &versions.collect::<Vec<_>>(), &changes);
    }
}

/// Of how many versions, at least, a row was made that is none of them, as the reason tells.
fn merged_of(reason: &str) -> Option<usize> {
    match reason.split_once(MERGES) {
        Some((_, versions)) => Some(versions.split(" and ").count()),
        None => reason.starts_with(SUMS).then_some(2),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|why| Error::Internal(format!("asking a plugin: {why}")))
}
