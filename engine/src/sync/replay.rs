//! Asking a resolver about the conflicts that the journals tell of: what another version of it, or other settings, would have
//! made of them.

use std::cmp::Reverse;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value as Document;

use super::asked::MERGES;
use super::attendance::Away;
use super::decide::is_conflict_id;
use super::plugins::{facts, shape};
use super::session::Session;
use super::status::Journals;
use crate::error::{Error, Result};
use crate::merge::SUMS;
use crate::model::{Key, Lost, NodeId, Row};
use crate::node::Sought;
use crate::plugin::{Dispute, Failure, Host, Plugin, Resolution, Resolver, Side};

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Replay {
    pub table: String,
    pub plugin: String,
    pub version: String,
    /// How many conflicts it was asked about.
    pub asked: usize,
    /// How many were not asked about, because the journals do not hold every version of them.
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
        let columns: Vec<&str> = resolver.recorded().iter().map(|&at| known.columns[at].name.as_str()).collect();
        if !columns.is_empty() {
            return Err(Error::Usage(format!(
                "plugin `{}` decides by what each change did to {}, which no journal keeps; try it with `concord plugin test`",
                resolver.plugin().name,
                columns.join(", ")
            )));
        }
        // How many entries that are no conflicts are younger than these, nobody knows, and a journal may be larger than memory.
        let mut each = limit.saturating_mul(self.names.len());
        let (recorded, incomplete) = loop {
            let journals =
                self.report(async |session| session.read_journals(Some(table), Sought::All, each).await).await?;
            let Journals { entries, since } = journals;
            let (recorded, incomplete) = self.recorded(entries, limit, since);
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
        let differences =
            differences.filter_map(|(conflict, answer)| self.difference(table, conflict, answer)).collect();
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
    /// them lack a version. Only those `since` then, if not all was read: of others versions may be missing that a journal holds.
    fn recorded(&self, journal: Vec<Lost>, limit: usize, since: Option<i64>) -> (Vec<Recorded>, usize) {
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
            match self.put_together(group) {
                Some(conflict) => recorded.push(conflict),
                None => incomplete += 1,
            }
        }
        (recorded, incomplete)
    }

    /// One conflict of its entries, each of which is a version that lost.
    fn put_together(&self, lost: &[Lost]) -> Option<Recorded> {
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
        Some(Recorded {
            id: first.id.clone(),
            key: first.key.clone(),
            decided: first.decided,
            reason: first.reason.clone(),
            became: first.winner_row.clone(),
            latest,
            versions: versions.into_iter().map(|(_, version)| version).collect(),
        })
    }

    /// What differs, if anything does.
    fn difference(
        &self,
        table: &str,
        conflict: Recorded,
        answer: std::result::Result<Resolution, Failure>,
    ) -> Option<Difference> {
        let table = self.tables.iter().find(|known| known.name == table)?;
        let document = |row: &Row| table.row_document(row);
        let (now, parked) = match answer {
            Ok(Resolution::Take(at)) => (conflict.versions[at].row.clone(), None),
            Ok(Resolution::Merged(row)) => (Some(Arc::new(row)), None),
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
    fn dispute(&self) -> Dispute<'_> {
        let there = (0..self.versions.len()).filter(|&at| self.versions[at].row.is_some());
        let start = there.max_by_key(|&at| (self.versions[at].time, at == self.latest)).unwrap_or(self.latest);
        let versions = self.versions.iter();
        Dispute {
            key: &self.key,
            versions: versions.map(|one| Side { node: &one.node, time: one.time, row: one.row.as_deref() }).collect(),
            latest: self.latest,
            start,
            base: None,
            changes: Vec::new(),
        }
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
