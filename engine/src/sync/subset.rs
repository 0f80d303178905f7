//! Which rows belong at which node: the filters of a table, and what is to be done where a row does not belong.
//!
//! A node with a filter holds the rows that belong there and no others. So that it holds no row says nothing: only a delete that its
//! history tells of does (`Contest::find_hollow`). Its filter judges the outcome of every decision (`Ruling::at`), and what does
//! not belong is removed. Nobody gives up a row before another node has it, or something that has seen it.

use std::fmt::Debug;
use std::sync::Arc;

use super::apart::blocking;
use super::contest::{Contender, Content, Contest};
use super::decide::{Resolved, Settled};
use super::table::Table;
use crate::error::{Error, Result};
use crate::model::{NodeId, Row};
use crate::plugin::{Failure, Filter, Part};

/// Says of rows in the shared shape whether they belong at a node: an answer for each, which depends on that row alone.
pub trait Judge: Debug + Send + Sync {
    /// Blocks.
    fn judge(&self, rows: &[&Row]) -> Vec<std::result::Result<bool, Failure>>;

    /// In words, for whoever asks why a row is not there.
    fn told(&self) -> String;

    /// The plugin's part that it is, if it is one.
    fn part(&self) -> Option<&Part> {
        None
    }
}

impl Judge for Filter {
    fn judge(&self, rows: &[&Row]) -> Vec<std::result::Result<bool, Failure>> {
        Filter::judge(self, rows)
    }

    fn told(&self) -> String {
        format!("plugin `{}`", self.plugin().name)
    }

    fn part(&self) -> Option<&Part> {
        Some(Filter::part(self))
    }
}

/// A filter in use, and what tells it from others.
#[derive(Clone, Debug)]
pub struct Subset {
    pub judge: Arc<dyn Judge>,
    /// A digest of the plugin and of what the file says to it: rows that were judged by another may be at the wrong place. None
    /// where a filter was taken away.
    pub mark: Option<String>,
}

/// Where a filter was taken away: all rows belong there, but until they have been brought there that one is missing says nothing.
#[derive(Debug)]
struct Everything;

impl Judge for Everything {
    fn judge(&self, rows: &[&Row]) -> Vec<std::result::Result<bool, Failure>> {
        vec![Ok(true); rows.len()]
    }

    fn told(&self) -> String {
        "a filter that was taken away".to_owned()
    }
}

/// Where a row stands to a node's filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Belongs {
    /// Also where there is no filter.
    #[default]
    Inside,
    Outside,
    /// The filter failed, and why.
    Unknown(String),
}

impl Belongs {
    fn of(answer: std::result::Result<bool, Failure>) -> Belongs {
        match answer {
            Ok(true) => Belongs::Inside,
            Ok(false) => Belongs::Outside,
            Err(failure) => Belongs::Unknown(failure.to_string()),
        }
    }
}

impl Table {
    /// Whether some node takes only a part of the rows.
    pub fn has_subsets(&self) -> bool {
        self.subsets.iter().any(Option::is_some)
    }

    /// The filter at a node, if there is one.
    pub fn subset(&self, node: NodeId) -> Option<&Subset> {
        self.subsets.get(node.index())?.as_ref()
    }

    /// Rows are yet to be brought to a node of which its former filter kept them away.
    pub(super) fn lacks_rows_still(&mut self, node: NodeId) {
        self.subsets.resize_with(self.forms.len(), || None);
        self.subsets[node.index()] = Some(Subset { judge: Arc::new(Everything), mark: None });
    }

    /// Where these rows stand to a node's filter. Blocks.
    pub fn belong(&self, node: NodeId, rows: &[&Row]) -> Vec<Belongs> {
        match self.subset(node) {
            Some(subset) => subset.judge.judge(rows).into_iter().map(Belongs::of).collect(),
            None => vec![Belongs::Inside; rows.len()],
        }
    }

    /// The same for whoever may not block.
    pub async fn belong_apart(&self, node: NodeId, rows: Vec<Arc<Row>>) -> Result<Vec<Belongs>> {
        let Some(subset) = self.subset(node) else { return Ok(vec![Belongs::Inside; rows.len()]) };
        let judge = Arc::clone(&subset.judge);
        let judging = blocking(move || {
            let rows: Vec<&Row> = rows.iter().map(|row| &**row).collect();
            judge.judge(&rows).into_iter().map(Belongs::of).collect()
        });
        judging.await.map_err(|error| Error::Internal(format!("a filter was not asked to the end: {error}")))
    }

    /// Where the outcomes of contests belong, by contest and node. Blocks.
    pub(super) fn place<'a>(&self, outcomes: impl Iterator<Item = &'a Resolved>) -> Vec<Vec<Belongs>> {
        if !self.has_subsets() {
            return vec![Vec::new(); outcomes.count()];
        }
        let rows: Vec<Option<&Row>> = outcomes
            .map(|resolved| match &resolved.settled {
                Settled::Row { row, .. } => Some(&**row),
                Settled::Deleted | Settled::Parked(..) => None,
            })
            .collect();
        let asked: Vec<&Row> = rows.iter().flatten().copied().collect();
        let mut places = vec![Vec::with_capacity(self.subsets.len()); rows.len()];
        for at in 0..self.subsets.len() {
            let mut answers = self.belong(NodeId(at as u16), &asked).into_iter();
            for (places, row) in places.iter_mut().zip(&rows) {
                places.push(row.and_then(|_| answers.next()).unwrap_or_default());
            }
        }
        places
    }
}

/// Why what stands at a node stays there, although neither it nor what takes its place belongs there.
pub const LAST: &str =
    "it does not belong here by this node's filter, and stays until another node has what takes its place";

/// Whether a node may remove what stands there: at another stands the same and stays, or what has seen it. What waits elsewhere may
/// yet turn out not to belong there; once it is taken, the node is told (`Contest::is_answered`).
///
/// Of several that have the same and do not want it the first in the order of the file keeps it, so that they do not rely on each
/// other.
pub fn may_go(contest: &Contest, places: &[Belongs], target: NodeId) -> bool {
    let Some(standing) = contest.standing(target) else { return false };
    let own = &standing.version.vector;
    let belongs = |node: NodeId| places.get(node.index()) != Some(&Belongs::Outside);
    contest.versions.iter().any(|other: &Contender| {
        let node = other.version.node;
        let newer = !own.includes(&other.version.vector);
        node != target
            && other.stands()
            // What was made and deleted elsewhere without knowing of it takes nobody's place.
            && other.content != Content::Deleted
            && other.version.vector.includes(own)
            && (newer || belongs(node) || node < target)
    })
}

/// Whether what waits at a node is all that is left of it, as far as anybody knows who is there.
pub fn is_last(contest: &Contest, target: NodeId) -> bool {
    let mut waiting = contest.versions.iter().filter(|one| one.version.waiting && one.is_version());
    waiting.find(|one| one.version.node == target).is_some_and(|last| {
        let mut standing = contest.versions.iter().filter(|other| other.stands());
        !standing.any(|other| other.version.vector.includes(&last.version.vector))
    })
}
