//! When rows that wait are tried again.
//!
//! A row that a node could not take will mostly not be taken a second later either, and trying costs. So a run of
//! cycles tries each once. After that something has to happen on which the row may depend: a change of the row itself
//! anywhere; at the node where it waits, one in a table that its table refers to or that refers to it, or in its own table
//! if a unique value is in the way. Whatever else may free a row, such as a constraint that is lifted, is found out by
//! the clock where cycles run on for long.
//!
//! This is only about the attempts: a row that is put off waits, counts and takes part in decisions like any other.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::cycle::Pages;
use super::opened::Opened;
use super::table::Table;
use crate::model::{Entry, ForeignKey, Key, NodeId, ParkedCode, TableSpec};
use crate::node::Refusal;
use crate::node::apply::Applied;

/// The pause after the first failure. It doubles with each further one.
const FIRST: Duration = Duration::from_secs(1);

/// So often it doubles at most: to four minutes and a quarter.
const DOUBLINGS: u32 = 8;

/// More rows of a table than these, refused before as they are, pause for far longer than it takes to try them.
const MANY: usize = 250;

/// In how many parts an attempt is counted: where not each row is come to, each has its share of the attempts.
const PARTS: u32 = 1_000;

/// What was tried in vain, and when it is to be tried again.
#[derive(Debug, Default)]
pub struct Schedule {
    /// When the clock began to count; without one, time alone makes nobody try again.
    clock: Option<Instant>,
    /// By node and table.
    waits: HashMap<(NodeId, usize), HashMap<Key, Wait>>,
    /// Who took part in the last cycle.
    present: Vec<bool>,
    /// Whether the last cycle has freed a row on which others that wait may depend.
    pressing: bool,
    /// How many cycles there were.
    looks: usize,
    /// Rows, by table, to which this cycle comes though nobody has tried them.
    coming: Vec<(usize, Key)>,
    /// Those to which cycles came. Where nothing is decided about a row none of the waits above tells.
    came: HashMap<usize, HashSet<Key>>,
}

#[derive(Debug)]
struct Wait {
    /// How often it was tried in vain, in [`PARTS`].
    failures: u32,
    until: Option<Instant>,
    due: bool,
    /// Whether the row is spoken of in this cycle, so that something is to be decided about it.
    mentioned: bool,
    code: ParkedCode,
    /// Whether a unique value is in the way.
    unique: bool,
}

impl Schedule {
    /// For cycles that run on: what was tried in vain is tried again, at growing intervals.
    pub fn by_the_clock(now: Instant) -> Schedule {
        Schedule { clock: Some(now), ..Schedule::default() }
    }

    /// Takes in the state of a cycle: who waits no longer, what the clock says, and what users and others have done.
    pub fn look(&mut self, tables: &[Table], opened: &Opened, pages: &Pages, now: Instant) {
        let present: Vec<bool> = opened.present.iter().map(Option::is_some).collect();
        let somebody_came = present.iter().zip(&self.present).any(|(now, before)| *now && !before);
        self.present = present;
        self.pressing = false;
        self.looks = self.looks.wrapping_add(1);
        self.coming.clear();
        for (table, keys) in &mut self.came {
            keys.retain(|key| opened.nodes().any(|(node, _)| opened.parked(node, *table, key).is_some()));
        }
        // A table that stood still may have been seen to. So may whoever comes back: nothing waits where nobody is.
        self.waits.retain(|(node, table), _| tables[*table].spec(*node).is_some());
        for ((node, table), waits) in &mut self.waits {
            waits.retain(|key, wait| {
                // Where somebody came, what could not be read may be read, and what belongs elsewhere may be there; busy rows are a
                // matter of every cycle.
                let news = somebody_came
                    && matches!(wait.code, ParkedCode::Unreadable | ParkedCode::Unheard | ParkedCode::Outside);
                !news && opened.parked(*node, *table, key).is_some_and(|parked| !parked.code.is_passing())
            });
            for wait in waits.values_mut() {
                wait.due |= wait.until.is_some_and(|until| until <= now);
                wait.mentioned = false;
            }
        }
        self.waits.retain(|_, waits| !waits.is_empty());
        for table in tables {
            for (source, page) in pages[table.index].iter().enumerate() {
                if let Some(page) = page {
                    self.notice(tables, table, opened, NodeId(source as u16), &page.entries);
                }
            }
        }
    }

    /// Takes in what was read of one history.
    fn notice(&mut self, tables: &[Table], table: &Table, opened: &Opened, source: NodeId, entries: &[Entry]) {
        if self.waits.is_empty() {
            return;
        }
        // Users' changes are carried to everybody, others' to those who have not heard of them.
        let concerns = |entry: &Entry, node: NodeId| match &entry.arrival {
            None => node == source || table.is_target(node),
            Some(arrival) => {
                let mut told = arrival.vector.dots().iter().chain([&arrival.dot]);
                told.any(|dot| dot.node != node && !opened.passed(table.index, node, dot))
            }
        };
        for ((node, _), waits) in self.waits.iter_mut().filter(|((_, waiting), _)| *waiting == table.index) {
            for entry in entries {
                if let Some(wait) = waits.get_mut(&entry.key) {
                    wait.mentioned = true;
                    // Somebody else may have it now.
                    wait.due |= concerns(entry, *node) || wait.code == ParkedCode::Outside;
                }
            }
        }
        for (node, _) in opened.nodes() {
            if entries.iter().any(|entry| concerns(entry, node)) {
                self.touch(tables, node, table);
            }
        }
    }

    /// Something is changed in a table at a node: what may depend on it is tried again. Whether there is any.
    pub fn touch(&mut self, tables: &[Table], node: NodeId, changed: &Table) -> bool {
        let Some(spec) = changed.spec(node) else { return false };
        let mut any = false;
        for ((at, waiting), waits) in &mut self.waits {
            let Some(own) = tables[*waiting].spec(node).filter(|_| *at == node) else { continue };
            let related = are_related(own, spec);
            for wait in waits.values_mut() {
                let concerned = related || (wait.unique && *waiting == changed.index);
                wait.due |= concerned;
                any |= concerned;
            }
        }
        any
    }

    /// Takes in what became of a batch.
    pub fn tried(&mut self, tables: &[Table], node: NodeId, applied: &Applied, now: Instant) {
        let mut again: HashMap<usize, usize> = HashMap::new();
        for (table, _) in applied.refused.iter().filter(|(_, refusal)| may_be_left(refusal)) {
            *again.entry(*table).or_default() += 1;
        }
        for (table, refusal) in &applied.refused {
            let spared = applied.spared.get(table).copied().unwrap_or_default();
            let (share, least) = match again.get(table).filter(|_| may_be_left(refusal)) {
                // Where not each was come to, all pause as if they had taken turns.
                Some(&rows) if spared > 0 || rows > MANY => (share_of(rows, spared), doublings(applied.took)),
                _ => (PARTS, 0),
            };
            let waits = self.waits.entry((node, *table)).or_default();
            let code = refusal.reason.code;
            let former = waits.get(&refusal.key);
            let failures = former.map_or(0, |wait| wait.failures);
            // Of many that wait not each is come to; these go on for the same reason.
            let unique = refusal.reason.unique || !refusal.new && former.is_some_and(|wait| wait.unique);
            let until = self.clock.map(|clock| next(clock, least.max(failures / PARTS), now));
            let failures = failures.saturating_add(share);
            waits.insert(refusal.key.clone(), Wait { failures, until, due: false, mentioned: false, code, unique });
        }
        for (table, key) in &applied.unparked {
            if let Some(waits) = self.waits.get_mut(&(node, *table)) {
                waits.remove(key);
            }
        }
        for table in tables.iter().filter(|table| applied.unparked.iter().any(|(at, _)| *at == table.index)) {
            self.pressing |= self.touch(tables, node, table);
        }
    }

    /// Whether another cycle is to follow at once.
    pub fn is_pressing(&self) -> bool {
        self.pressing
    }

    /// Numbers the cycles.
    pub fn looks(&self) -> usize {
        self.looks
    }

    /// Whether a row waits at one of these nodes for more than the next cycle, and nobody has come to it since the cycles began.
    pub fn is_untried(&self, opened: &Opened, nodes: &[NodeId], table: usize, key: &Key) -> bool {
        let waits = |node: NodeId| opened.parked(node, table, key).is_some_and(|parked| !parked.code.is_passing());
        let is_new = |node: &NodeId| waits(*node) && self.wait(*node, table, key).is_none();
        nodes.iter().any(is_new) && !self.came.get(&table).is_some_and(|keys| keys.contains(key))
    }

    /// This cycle comes to rows that nobody has tried.
    pub fn comes_to(&mut self, table: usize, keys: &[Key]) {
        self.coming.extend(keys.iter().map(|key| (table, key.clone())));
    }

    /// It came to its end. For rows about which it had nothing to do no other has to follow.
    pub fn came(&mut self) {
        for (table, key) in std::mem::take(&mut self.coming) {
            self.came.entry(table).or_default().insert(key);
        }
    }

    fn wait(&self, node: NodeId, table: usize, key: &Key) -> Option<&Wait> {
        self.waits.get(&(node, table))?.get(key)
    }

    /// Whether a row that waits at a node is not to be tried there in this cycle.
    pub fn puts_off(&self, node: NodeId, table: usize, key: &Key) -> bool {
        self.wait(node, table, key).is_some_and(|wait| !wait.due)
    }

    /// Whether a row that waits is to be tried nowhere and nobody speaks of it, so that there is nothing to decide.
    pub fn rests(&self, opened: &Opened, table: usize, key: &Key) -> bool {
        let mut nodes = opened.nodes().filter(|(node, _)| opened.parked(*node, table, key).is_some());
        nodes.all(|(node, _)| self.wait(node, table, key).is_some_and(|wait| !wait.due && !wait.mentioned))
    }
}

#[cfg(test)]
impl Schedule {
    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        for wait in self.waits.values_mut().flat_map(HashMap::values_mut) {
            wait.until = wait.until.and_then(|until| until.checked_sub(time));
        }
    }
}

/// When a row is tried again: at a multiple of its pause, so that rows which can only be taken together are tried together,
/// however often each has failed.
fn next(clock: Instant, failures: u32, now: Instant) -> Instant {
    let pause = FIRST * 2u32.pow(failures.min(DOUBLINGS));
    let passed = (now + pause / 2).duration_since(clock);
    let pauses = passed.as_millis().div_ceil(pause.as_millis());
    clock + pause * u32::try_from(pauses).unwrap_or(u32::MAX)
}

/// Whether a row was refused before as it is, so that where there are many nobody may have tried it.
fn may_be_left(refusal: &Refusal) -> bool {
    !refusal.new && matches!(refusal.reason.code, ParkedCode::Constraint | ParkedCode::Value)
}

/// How often the pause has to double to be ten times as long as a try took: what is written then stays locked until its end.
fn doublings(took: Duration) -> u32 {
    let is_enough = |times: &u32| FIRST * 2u32.pow(*times) >= took.saturating_mul(10);
    (0..DOUBLINGS).find(is_enough).unwrap_or(DOUBLINGS)
}

/// What part of an attempt each of so many rows had, of which some were not come to.
fn share_of(rows: usize, spared: usize) -> u32 {
    let share = rows.saturating_sub(spared) * PARTS as usize / rows.max(1);
    u32::try_from(share).map_or(PARTS, |share| share.clamp(1, PARTS))
}

/// Whether rows of the one table may refer to rows of the other.
fn are_related(one: &TableSpec, other: &TableSpec) -> bool {
    let is_other = |name: &str, schema: &Option<String>| name == other.local && *schema == other.schema;
    let refers = |key: &ForeignKey| is_other(&key.referenced_table, &key.referenced_schema);
    one.references.iter().any(refers) || one.referenced.iter().any(|key| is_other(&key.table, &key.schema))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::contest::Clock;
    use super::super::lens::Lens;
    use super::super::opened::Presence;
    use super::super::table::Form;
    use super::*;
    use crate::model::{Arrival, Cut, Dot, Op, Parked, Stamp, Value, Vector, Waiting};
    use crate::node::Reason;

    /// A table at one node, and the one that it refers to.
    fn table(index: usize, name: &str, refers_to: &str) -> Table {
        let spec = TableSpec::bare(index, name, [refers_to].into_iter());
        Table {
            index,
            name: name.to_owned(),
            key: Vec::new(),
            ..Table::bare(&[], vec![Some(Form { lens: Lens::new(&spec, 0), spec: Arc::new(spec) })])
        }
    }

    /// What waits at the only node that takes part, for a change that it has passed.
    fn waiting(key: &Key) -> Opened {
        let parked = Parked {
            table: 0,
            key: key.clone(),
            code: ParkedCode::Constraint,
            message: String::new(),
            since: 0,
            vector: Vector::EMPTY,
            stamp: Stamp { time: 0, node: NodeId(1) },
            content: Waiting::Delete,
            standing: Vector::EMPTY,
            standing_time: 0,
            read: Cut::START,
        };
        let mut opened = Opened::new(2, 1);
        opened.present[0] = Some(Presence {
            clock: Clock { offset: 0, shown: 0 },
            shared_marks: true,
            installation: String::new(),
            parked: vec![HashMap::from([(key.clone(), parked)])],
            purged: Vec::new(),
            kept: Vec::new(),
            next_marks: Vec::new(),
        });
        opened.set_position(0, NodeId(0), NodeId(1), Cut::through(5).into());
        opened
    }

    /// What others tell again of a change that a node has passed is no reason to try it there; but whoever decides about
    /// the row has to know that it waits.
    #[test]
    fn a_row_that_is_mentioned_takes_part_in_decisions() {
        let (tables, key): (_, Key) = ([table(0, "orders", "customers")], vec![Value::Int(1)].into());
        let opened = waiting(&key);
        let reason = Reason { code: ParkedCode::Constraint, message: String::new(), unique: false };
        let refused = vec![(0, Refusal { key: key.clone(), reason, new: true })];
        let mut schedule = Schedule::default();
        schedule.tried(&tables, NodeId(0), &Applied { refused, ..Applied::default() }, Instant::now());
        let entry = |number| Entry {
            id: 1,
            mark: 1,
            op: Op::Update,
            time: 0,
            key: key.clone(),
            arrival: Some(Arrival { dot: Dot { node: NodeId(1), number, mark: number }, vector: Vector::EMPTY }),
            images: None,
        };
        let mut states = vec![(schedule.rests(&opened, 0, &key), schedule.puts_off(NodeId(0), 0, &key))];
        for number in [4, 6] {
            schedule.notice(&tables, &tables[0], &opened, NodeId(1), &[entry(number)]);
            states.push((schedule.rests(&opened, 0, &key), schedule.puts_off(NodeId(0), 0, &key)));
        }
        assert_eq!(states, [(true, true), (false, true), (false, false)]);
    }

    #[test]
    fn a_row_that_is_freed_presses_for_those_that_wait_for_it() {
        let tables = [table(0, "orders", "customers"), table(1, "customers", "towns"), table(2, "news", "papers")];
        let (node, now, key): (_, _, Key) = (NodeId(0), Instant::now(), vec![Value::Int(1)].into());
        let reason = Reason { code: ParkedCode::Constraint, message: String::new(), unique: false };
        let refused = (0, Refusal { key: key.clone(), reason, new: true });
        let freed = |table| Applied { unparked: vec![(table, key.clone())], ..Applied::default() };
        let mut schedule = Schedule::default();
        schedule.tried(&tables, node, &Applied { refused: vec![refused], ..Applied::default() }, now);
        for (table, pressing) in [(2, false), (1, true)] {
            schedule.tried(&tables, node, &freed(table), now);
            assert_eq!((schedule.is_pressing(), schedule.puts_off(node, 0, &key)), (pressing, !pressing), "{table}");
        }
    }

    /// Of many rows that wait not each is come to. What the others wait for is not forgotten.
    #[test]
    fn what_was_not_come_to_waits_for_the_same() {
        let (tables, node, key): (_, _, Key) =
            ([table(0, "orders", "customers")], NodeId(0), vec![Value::Int(1)].into());
        let mut schedule = Schedule::default();
        for (unique, new) in [(true, true), (false, false)] {
            let reason = Reason { code: ParkedCode::Constraint, message: String::new(), unique };
            let refused = vec![(0, Refusal { key: key.clone(), reason, new })];
            schedule.tried(&tables, node, &Applied { refused, ..Applied::default() }, Instant::now());
        }
        assert!(schedule.puts_off(node, 0, &key));
        assert!(schedule.touch(&tables, node, &tables[0]) && !schedule.puts_off(node, 0, &key));
    }

    /// The pauses, in seconds, of so many rows that were refused so often as they are, of which some were spared each time but the first.
    fn pauses(times: usize, rows: i64, spared: usize, took: Duration) -> HashSet<u64> {
        let (tables, node, now) = ([table(0, "orders", "customers")], NodeId(0), Instant::now());
        let mut schedule = Schedule::by_the_clock(now);
        for time in 0..times {
            let reason = Reason { code: ParkedCode::Constraint, message: String::new(), unique: false };
            let key = |id: i64| -> Key { vec![Value::Int(id)].into() };
            let refusal = |id| (0, Refusal { key: key(id), reason: reason.clone(), new: time == 0 });
            let refused = (0..rows).map(refusal).collect();
            let spared = if time == 0 { HashMap::new() } else { HashMap::from([(0, spared)]) };
            schedule.tried(&tables, node, &Applied { refused, spared, took, ..Applied::default() }, now);
        }
        let waits = schedule.waits.values().flat_map(HashMap::values);
        waits.filter_map(|wait| Some((wait.until? - now).as_secs())).collect()
    }

    /// GIVEN few and very many rows that are all tried each time, and many of which some are, all refused before as they are
    /// WHEN all are refused again and again
    /// THEN each has paused as often as it may have been tried, those of which some were not together.
    #[test]
    fn of_many_that_were_not_come_to_the_pauses_hardly_grow() {
        for (rows, spared, pause) in [(200, 0, 64), (20_000, 0, 64), (1_000, 750, 4), (20_000, 19_750, 2)] {
            assert_eq!(pauses(7, rows, spared, Duration::ZERO), HashSet::from([pause]), "{rows} {spared}");
        }
    }

    /// Else they would be tried without end, and what is carried beside them would be locked as long.
    #[test]
    fn many_pause_for_longer_than_it_takes_to_try_them() {
        for (rows, spared, pause) in [(200, 0, 2), (1_000, 0, 32), (1_000, 750, 32)] {
            assert_eq!(pauses(2, rows, spared, Duration::from_secs(3)), HashSet::from([pause]), "{rows} {spared}");
        }
    }

    #[test]
    fn what_nobody_has_come_to_is_untried() {
        let (tables, key): (_, Key) = ([table(0, "orders", "customers")], vec![Value::Int(1)].into());
        let (mut opened, nodes) = (waiting(&key), [NodeId(0)]);
        let mut schedule = Schedule::default();
        assert!(schedule.is_untried(&opened, &nodes, 0, &key));
        // A cycle that broke off did not come to its end.
        schedule.comes_to(0, std::slice::from_ref(&key));
        schedule.look(&tables, &opened, &vec![Vec::new()], Instant::now());
        schedule.came();
        assert!(schedule.is_untried(&opened, &nodes, 0, &key));
        schedule.comes_to(0, std::slice::from_ref(&key));
        schedule.came();
        schedule.look(&tables, &opened, &vec![Vec::new()], Instant::now());
        assert!(!schedule.is_untried(&opened, &nodes, 0, &key));
        // It waits no longer, and then it does again.
        let mut waited = HashMap::new();
        for _ in 0..2 {
            let presence = opened.present[0].as_mut().expect("it takes part");
            std::mem::swap(&mut presence.parked[0], &mut waited);
            schedule.look(&tables, &opened, &vec![Vec::new()], Instant::now());
        }
        assert!(schedule.is_untried(&opened, &nodes, 0, &key));
        let reason = Reason { code: ParkedCode::Constraint, message: String::new(), unique: false };
        let refused = vec![(0, Refusal { key: key.clone(), reason, new: false })];
        schedule.tried(&tables, NodeId(0), &Applied { refused, ..Applied::default() }, Instant::now());
        assert!(!schedule.is_untried(&opened, &nodes, 0, &key));
    }

    #[test]
    fn pauses_double_up_to_some_minutes() {
        let clock = Instant::now();
        let mut now = clock + Duration::from_millis(300);
        let mut tried = Vec::new();
        for failures in 0..12 {
            now = next(clock, failures, now);
            tried.push((now - clock).as_secs());
        }
        assert_eq!(tried, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024]);
    }

    #[test]
    fn whoever_pauses_longer_meets_all_others() {
        let clock = Instant::now();
        let at = |ms: u64| clock + Duration::from_millis(ms);
        // Tried in vain at any time, a row is tried again after half its pause or up to one and a half.
        for (failures, ms) in (0..20).flat_map(|failures| (1..200).map(move |n| (failures, n * 777))) {
            let pause = FIRST * 2u32.pow(failures.min(DOUBLINGS));
            let until = next(clock, failures, at(ms));
            assert!(until >= at(ms) + pause / 2 && until < at(ms) + pause * 3 / 2, "{failures} {ms}");
            assert_eq!((until - clock).as_millis() % pause.as_millis(), 0, "{failures} {ms}");
        }
    }
}
