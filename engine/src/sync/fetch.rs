//! Fetching rows and deciding, side by side: while the rows of some contests are read, those before them are decided.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::future::join_all;
use tokio::task::JoinHandle;

use super::apart::blocking;
use super::contest::{Contender, Content, Contest, Contests};
use super::cycle::AllContests;
use super::decide::{Facts, Outcomes};
use super::early::Writing;
use super::examine::{is_settled, participants, targets};
use super::mapped::Current;
use super::opened::Opened;
use super::session::Session;
use super::table::Table;
use crate::error::{Error, Result};
use crate::fault;
use crate::model::{Key, NodeId, Row, Value};
use crate::plugin::TO_SHARED;

/// Contests whose rows are asked for at once, at most.
pub(super) const FETCH: usize = 2_000;

/// Contests whose rows are asked for while nobody knows how large they are. So few are decided where they are.
pub(super) const PROBE: usize = 16;

/// How many such lots are decided at the same time.
const ABREAST: usize = 2;

/// The memory that the rows of one cycle may take, in bytes. Larger pages are read again in parts.
pub(super) const ROWS_LIMIT: usize = 48 << 20;

/// A contest whose versions are known, with those that are left and the key that it is about.
pub(super) struct Weighed {
    pub key: Key,
    pub contest: Contest,
    /// The places of the versions that no other has seen.
    pub tops: Vec<usize>,
    /// Nodes where it waits and is not to be tried now.
    pub put_off: Vec<NodeId>,
    /// Whether it came with a page, and is not only there because it waits.
    came: bool,
    /// What stands at nodes where a plugin maps, which has to see what it is to write over.
    pub current: Vec<(NodeId, Current)>,
}

impl Weighed {
    /// What stands at such a node. Of what was not read nobody may think that there is none.
    pub fn current(&mut self, node: NodeId) -> Current {
        let read = self.current.iter_mut().find(|(at, _)| *at == node);
        read.map_or_else(|| Some(Err("nobody has read it".to_owned())), |(_, current)| current.take())
    }
}

/// How much was read so far.
#[derive(Default)]
struct Fetched {
    rows: usize,
    /// In bytes.
    weight: usize,
    /// What of that smaller pages would make less.
    came: Came,
}

/// What was read about contests that came with the pages.
#[derive(Default)]
pub(super) struct Came {
    /// How many rows, by node.
    rows: Vec<usize>,
    /// In bytes, without the heaviest row: that has to be read, however small the page.
    weight: usize,
    heaviest: usize,
}

impl Came {
    pub(super) fn add(&mut self, node: NodeId, weight: usize) {
        let at = node.index();
        self.rows.resize(self.rows.len().max(at + 1), 0);
        self.rows[at] += 1;
        self.weight += weight.min(self.heaviest);
        self.heaviest = self.heaviest.max(weight);
    }

    /// In bytes, with the heaviest row.
    pub(super) fn weight(&self) -> usize {
        self.weight + self.heaviest
    }

    /// How many changes of each node to read instead of `page`, if what was read weighs more than `most`: a page holds so many of
    /// each node, and their rows are read at every node that tells of them.
    pub(super) fn smaller(&self, page: usize, most: usize) -> Option<usize> {
        if self.weight <= most || page <= 1 {
            return None;
        }
        let of_each = self.rows.iter().max().copied().unwrap_or_default();
        // Some tables are read whole, whatever the page.
        if of_each > page.saturating_mul(2 * self.rows.len()) {
            return None;
        }
        let fit = of_each.saturating_mul(most) / self.weight * 3 / 4;
        Some(fit.clamp(1, page - page.div_ceil(4)))
    }
}

impl Fetched {
    fn add(&mut self, node: NodeId, about: &Weighed, row: &Row) {
        let weight = row.iter().map(Value::weight).sum::<usize>();
        self.weight += weight;
        if about.came {
            self.came.add(node, weight);
        }
    }
}

/// Contests of which the last are still being decided.
pub(super) struct Deciding {
    outcomes: Outcomes,
    /// Tasks that only compute, at most [`ABREAST`].
    computing: VecDeque<JoinHandle<Outcomes>>,
    /// Tasks that ask plugins.
    asking: VecDeque<JoinHandle<Outcomes>>,
    /// Those about which a plugin was asked before, mostly in vain, by table: that is not to keep it from answering the others.
    waiting: Vec<(usize, Vec<Weighed>)>,
    facts: Arc<Facts>,
}

impl Deciding {
    fn new(facts: Facts, outcomes: Outcomes) -> Deciding {
        Deciding {
            outcomes,
            computing: VecDeque::new(),
            asking: VecDeque::new(),
            waiting: Vec::new(),
            facts: Arc::new(facts),
        }
    }

    /// Decides contests of a table whose rows are there: at once, beside what is read next, or, if a plugin is asked about them `again`,
    /// after all others.
    async fn add(&mut self, table: usize, contests: Vec<Weighed>, again: bool, writing: &mut Writing) {
        let asks_plugins = self.facts.tables[table].asks_plugins();
        if asks_plugins && again {
            self.waiting.push((table, contests));
        } else if asks_plugins {
            // A plugin takes its time, and nobody's snapshot is to stay open for it.
            self.asking.push_back(self.begun(table, contests));
            // What has been answered meanwhile is of use to those who write already.
            while !writing.is_idle()
                && let Some(first) = self.asking.pop_front_if(|first| first.is_finished())
            {
                self.take(first, writing).await;
            }
        } else if contests.len() <= PROBE {
            self.outcomes.extend(self.facts.decide(table, contests));
            writing.tell(&self.outcomes);
        } else {
            if self.computing.len() == ABREAST
                && let Some(first) = self.computing.pop_front()
            {
                self.take(first, writing).await;
            }
            self.computing.push_back(self.begun(table, contests));
        }
    }

    fn begun(&self, table: usize, contests: Vec<Weighed>) -> JoinHandle<Outcomes> {
        let facts = Arc::clone(&self.facts);
        blocking(move || facts.decide(table, contests))
    }

    async fn take(&mut self, task: JoinHandle<Outcomes>, writing: &mut Writing) {
        self.outcomes.extend(finished(task).await);
        writing.tell(&self.outcomes);
    }

    /// Before what waits is read: what reading that comes to stops no table.
    fn note_what_gave_up(&mut self, table: usize) {
        let failures = self.facts.tables[table].gave_up().into_iter();
        self.outcomes.gave_up.extend(failures.map(|failure| (table, failure)));
    }

    pub(super) async fn finish(mut self, writing: &mut Writing) -> Outcomes {
        while let Some(first) = self.computing.pop_front().or_else(|| self.asking.pop_front()) {
            self.take(first, writing).await;
        }
        let tables = self.facts.tables.iter().filter(|table| table.asks_plugins());
        let gave_up = tables.flat_map(|table| table.gave_up().into_iter().map(|failure| (table.index, failure)));
        // What reading came to was noted when it was so far.
        self.outcomes.gave_up.extend(gave_up.filter(|(_, failure)| failure.function != Some(TO_SHARED)));
        for (table, waiting) in std::mem::take(&mut self.waiting) {
            let task = self.begun(table, waiting);
            self.outcomes.extend(finished(task).await);
        }
        writing.end();
        self.outcomes
    }
}

impl Session {
    /// Decides all contests, with the rows that this needs from the snapshots that the entries came from. `Err` holds a
    /// smaller page size if the rows would take too much memory. What can be written early is, with `early`; `whole` if all that
    /// is visible was read.
    pub(super) async fn decide(
        &mut self,
        opened: &Arc<Opened>,
        all: AllContests,
        early: bool,
        whole: bool,
    ) -> Result<std::result::Result<(Outcomes, Writing), usize>> {
        let mut writing = if early { self.start_writing(opened, &all) } else { Writing::default() };
        let deciding = match self.start_deciding(opened, all, self.rows_limit, false, &mut writing).await {
            Ok(Ok(deciding)) => deciding,
            Ok(Err(smaller)) => {
                self.stop_writing(writing).await;
                return Ok(Err(smaller));
            }
            Err(error) => {
                self.stop_writing(writing).await;
                return Err(error);
            }
        };
        self.close().await;
        // Else it would be undone.
        if deciding.outcomes.conflicts == 0 {
            self.begin_purges(opened, whole, &mut writing);
        }
        let outcomes = deciding.finish(&mut writing).await;
        Ok(Ok((outcomes, writing)))
    }

    /// The same without end of the snapshots: what is still being decided needs them no more. `most` bounds the memory that
    /// the rows take, in bytes; `accounts` asks for an account of every conflict. `writing` is told what is decided.
    pub(super) async fn start_deciding(
        &mut self,
        opened: &Arc<Opened>,
        all: AllContests,
        most: usize,
        accounts: bool,
        writing: &mut Writing,
    ) -> Result<std::result::Result<Deciding, usize>> {
        let facts = Facts { tables: self.tables.clone(), names: self.names.clone(), opened: opened.clone(), accounts };
        let mut deciding = Deciding::new(facts, Outcomes::new(self.members.len(), self.tables.len()));
        let facts = Arc::clone(&deciding.facts);
        let mut fetched = Fetched::default();
        for (table, contests) in all.into_iter().enumerate() {
            deciding.outcomes.expect(table, contests.len());
            let lots = lots(&facts.tables[table], opened, contests);
            let mut step = PROBE;
            for (lot, mut left) in lots.into_iter().enumerate() {
                let again = lot > 0;
                if again {
                    deciding.note_what_gave_up(table);
                }
                loop {
                    let mut slice: Vec<Weighed> = left.by_ref().take(step).collect();
                    if slice.is_empty() {
                        break;
                    }
                    for weighed in &mut slice {
                        let off = |node: &NodeId| self.schedule.puts_off(*node, table, &weighed.key);
                        weighed.put_off = opened.nodes().map(|(node, _)| node).filter(off).collect();
                        let spoken = || self.spoken.get(table).is_some_and(|spoken| spoken.contains(&weighed.key));
                        weighed.came = !weighed.contest.waits() || spoken();
                    }
                    let before = (fetched.rows, fetched.weight);
                    self.fetch(table, opened, &mut slice, &mut fetched).await?;
                    if let Some(smaller) = fetched.came.smaller(self.page, most) {
                        return Ok(Err(smaller));
                    }
                    let each = ((fetched.weight - before.1) / (fetched.rows - before.0).max(1)).max(1);
                    step = (most.saturating_sub(fetched.weight) / each).clamp(PROBE, FETCH);
                    deciding.add(table, slice, again, writing).await;
                }
            }
        }
        // What waits has no part in how large a page may be, unless it came with one.
        self.weight = self.weight.max(fetched.came.weight());
        Ok(Ok(deciding))
    }

    /// Fetches the rows that deciding some contests of a table needs, and says which versions are left in the light of them.
    async fn fetch(
        &mut self,
        table: usize,
        opened: &Opened,
        contests: &mut [Weighed],
        fetched: &mut Fetched,
    ) -> Result<()> {
        let wanted = wanted(&self.tables[table], opened, contests);
        let (tables, known) = (&self.tables, &*contests);
        let reading = join_all(self.members.iter_mut().zip(wanted).map(async |(member, wanted)| {
            let form = tables[table].form(member.id)?;
            // Whoever is written to through a plugin: it is to see what stands.
            let all = form.lens.is_mapped() && tables[table].is_target(member.id);
            if wanted.is_empty() && !all {
                return None;
            }
            let asked = match all {
                true => [known.iter().map(|weighed| weighed.key.clone()).collect(), Vec::new()],
                false => [&wanted.rows, &wanted.standing]
                    .map(|places| places.iter().map(|(at, _)| known[*at].key.clone()).collect::<Vec<Key>>()),
            };
            let read = match fault::point("fetch").await {
                Ok(()) => {
                    let spec = form.spec.clone();
                    let reading = member.reading_apart(move |node| {
                        Box::pin(async move {
                            let [whole, there] = asked.each_ref().map(|keys| keys.iter().collect::<Vec<_>>());
                            let standing = match there.is_empty() {
                                true => Vec::new(),
                                false => node.stand(&spec, &there).await?,
                            };
                            Ok((node.rows(&spec, &whole).await?, standing))
                        })
                    });
                    reading.await?
                }
                Err(fault) => Err(fault.into()),
            };
            let doing = || format!("reading rows of {}", form.spec.full_name());
            let (rows, standing) = match read {
                Ok(read) => read,
                Err(error) => return Some(Err(Error::at(&member.name, doing())(error))),
            };
            // Which versions are left turns upon the rows, so a plugin maps them while the snapshots are open; those lock nothing.
            if all {
                let current: Vec<Current> = rows.into_iter().map(current_of).collect();
                let standing = wanted.standing.iter().map(|(at, _)| current[*at].is_some()).collect();
                let rows = wanted.rows.iter().map(|(at, _)| current[*at].clone()).collect();
                return Some(Ok((member.id, wanted, form.lens.shared_of(rows).await, standing, current)));
            }
            let rows = form.lens.share_apart(rows, Option::as_mut).await;
            Some(Ok((member.id, wanted, rows, standing, Vec::new())))
        }))
        .await;
        for read in reading.into_iter().flatten() {
            let (node, wanted, rows, standing, current) = read?;
            fetched.rows += wanted.rows.len();
            for ((at, version), row) in wanted.rows.into_iter().zip(rows) {
                contests[at].contest.versions[version].content = match row {
                    None => Content::Deleted,
                    Some(Err(why)) => Content::Unreadable(why.into()),
                    Some(Ok(row)) => {
                        fetched.add(node, &contests[at], &row);
                        Content::Row(Arc::new(row))
                    }
                };
            }
            for ((at, version), stands) in wanted.standing.into_iter().zip(standing) {
                let content = if stands { Content::Stands } else { Content::Deleted };
                contests[at].contest.versions[version].content = content;
            }
            for (weighed, current) in contests.iter_mut().zip(current) {
                if let Some(Ok(row)) = &current {
                    fetched.add(node, weighed, row);
                }
                weighed.current.push((node, current));
            }
        }
        if self.tables[table].may_lack_rows() {
            for Weighed { contest, tops, .. } in contests {
                contest.find_hollow(&self.tables[table]);
                *tops = contest.tops(&self.tables[table], opened);
            }
        }
        Ok(())
    }
}

/// A row as it was read, for whoever is to see it.
fn current_of(row: Option<std::result::Result<Row, String>>) -> Current {
    row.map(|row| row.map(Arc::new))
}

/// Contests that are taken one after the other.
type Lot<'a> = Box<dyn Iterator<Item = Weighed> + Send + 'a>;

/// The contests of a table that are about something, with the versions that are left of each. Where plugins are asked, what
/// waits makes a lot of its own, the second.
fn lots<'a>(table: &'a Table, opened: &'a Opened, contests: Contests) -> Vec<Lot<'a>> {
    let targets = targets(table, opened);
    let waits = contests.values().any(Contest::waits);
    let about = move |(key, contest): &(Key, Contest)| !is_settled(table, opened, key, contest, &targets);
    let all = contests.into_iter().filter(about).map(|(key, contest)| {
        let tops = contest.tops(table, opened);
        Weighed { key, contest, tops, put_off: Vec::new(), came: true, current: Vec::new() }
    });
    if !table.asks_plugins() {
        return vec![Box::new(all)];
    }
    if !waits {
        return vec![Box::new(all), Box::new(std::iter::empty())];
    }
    let (waiting, new): (Vec<Weighed>, Vec<Weighed>) = all.partition(|weighed| weighed.contest.waits());
    vec![Box::new(new.into_iter()), Box::new(waiting.into_iter())]
}

/// What is to be read at a node: the places of contests and of the versions in them.
#[derive(Clone, Default)]
struct Wanted {
    /// The rows that somebody has to see.
    rows: Vec<(usize, usize)>,
    /// Those of which it is enough to know whether they are there.
    standing: Vec<(usize, usize)>,
}

impl Wanted {
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.standing.is_empty()
    }
}

/// Which rows are needed, by node.
fn wanted(table: &Table, opened: &Opened, contests: &[Weighed]) -> Vec<Wanted> {
    let mut wanted = vec![Wanted::default(); table.forms.len()];
    let all_total =
        participants(table, opened).iter().all(|&node| table.form(node).is_some_and(|form| form.lens.is_total()));
    // Columns that do not live at a winner's node come from the others, or stay what they are.
    let everything = !all_total
            // Nor may who is to replace it have seen what stands.
            || table.may_lack_rows() || table.deletes_blindly() || table.uncompared.is_some();
    for (at, Weighed { contest, tops, .. }) in contests.iter().enumerate() {
        // Nor has what waits every column.
        let lacks = |contender: &Contender| contender.version.waiting && !contender.is_whole(table);
        let everything = everything || contest.versions.iter().any(lacks);
        for (place, contender) in contest.versions.iter().enumerate() {
            let version = &contender.version;
            let unread = contender.content == Content::Unread && !version.waiting;
            let is_top = tops.contains(&place);
            if unread && (everything || is_top) && opened.is_present(version.node) {
                let wanted = &mut wanted[version.node.index()];
                match !is_top && all_total && contest.may_stay_unread(place, table, opened) {
                    true => wanted.standing.push((at, place)),
                    false => wanted.rows.push((at, place)),
                }
            }
        }
    }
    wanted
}

async fn finished(deciding: JoinHandle<Outcomes>) -> Outcomes {
    match deciding.await {
        Ok(outcomes) => outcomes,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    /// The page that follows where so many rows of this size, of each of these nodes, were read of a page.
    fn smaller(page: usize, nodes: u16, rows: usize, size: usize) -> Option<usize> {
        let mut came = Came::default();
        (0..nodes).for_each(|node| (0..rows).for_each(|_| came.add(NodeId(node), size)));
        came.smaller(page, ROWS_LIMIT)
    }

    #[test]
    fn pages_shrink_until_their_rows_fit() {
        assert_eq!(smaller(100_000, 1, 2_000, 1_000), None);
        assert!(smaller(100_000, 1, 3_000, 20_000).is_some_and(|page| (1_500..2_500).contains(&page)));
        // Of conflicts both rows are read, and of many nodes as many as of one: however few, it goes on.
        assert_eq!(smaller(24, 2, 16, 16 * MIB), Some(1));
        assert_eq!(smaller(12, 8, 2, 16 * MIB), Some(1));
        assert_eq!(smaller(1, 12, 1, 16 * MIB), None);
        // No page makes a single row smaller.
        assert_eq!(smaller(100_000, 1, 1, 1_000 * MIB), None);
        // Rows of other nodes' changes are read as well. But of tables that are read whole no page makes them fewer.
        assert_eq!([smaller(800, 2, 1_000, MIB), smaller(8, 2, 1_000, MIB)], [Some(18), None]);
    }
}
