use super::*;
use crate::model::{Cut, Images};

fn table() -> Table {
    Table::bare(&[], vec![None, None, None])
}

/// What the first node changed as number 7, told by `node` as of this time.
fn told(contest: &mut Contest, node: u16, time: i64) {
    let dot = Dot { node: NodeId(0), number: 7, mark: 7 };
    let arrival = (node > 0).then_some(Arrival { dot, vector: Vector::EMPTY });
    let entry = Entry { id: 7, mark: 7, op: Op::Update, time, key: Key::default(), arrival, images: None };
    contest.enter(NodeId(node), entry, &Clock { offset: 0, shown: i64::MAX }, &table());
}

fn times(contest: &mut Contest, opened: &Opened) -> Vec<i64> {
    let nodes = [0, 1, 2].map(NodeId);
    contest.close(&nodes, &table(), opened);
    nodes.iter().map(|node| contest.standing(*node).unwrap().version.stamp.time).collect()
}

#[test]
fn a_row_is_as_old_as_what_it_was_made_upon() {
    let mut opened = Opened::new(3, 1);
    opened.set_position(0, NodeId(1), NodeId(0), Cut::through(7).into());
    let mut contest = Contest::default();
    told(&mut contest, 0, 50);
    assert_eq!(times(&mut contest, &opened), [50, 50, i64::MIN]);
}

#[test]
fn whoever_has_seen_the_same_knows_how_young_it_is() {
    let mut contest = Contest::default();
    told(&mut contest, 1, 40);
    told(&mut contest, 2, 60);
    let times = times(&mut contest, &Opened::new(3, 1));
    assert_eq!(times[1..], [60, 60]);
}

/// Also to an engine whose snapshot was opened just after it.
#[test]
fn a_change_is_as_young_to_whoever_reads_it() {
    let entry = |time| Entry { id: 7, mark: 7, op: Op::Update, time, key: Key::default(), arrival: None, images: None };
    let read = |time, shown| {
        let mut contest = Contest::default();
        contest.enter(NodeId(0), entry(time), &Clock { offset: 0, shown }, &table());
        contest.standing(NodeId(0)).unwrap().version.stamp.time
    };
    assert_eq!((read(7_000, 6_600), read(7_000, 9_999)), (7_000, 7_000));
    // Unless the clock was put back.
    assert_eq!(read(60_000_000, 7_000), 7_000 + AHEAD);
}

/// The entry by which it was made anew is purged, and that of the delete before is not, as it tells of a change made elsewhere.
#[test]
fn a_row_that_stands_is_younger_than_a_delete_that_is_still_told_of() {
    let mut table = table();
    table.lacks_rows_still(NodeId(2));
    let mut contest = Contest::default();
    let dot = |node, number| Dot { node: NodeId(node), number, mark: number };
    let mut enter = |node, op, time, dot: Dot, vector: Vector| {
        let arrival = Some(Arrival { dot, vector });
        let entry = Entry { id: 3, mark: 3, op, time, key: Key::default(), arrival, images: None };
        contest.enter(NodeId(node), entry, &Clock { offset: 0, shown: i64::MAX }, &table);
    };
    let (deleted, made) = (dot(1, 1), dot(2, 9));
    let mut both = Vector::of(deleted);
    both.add(made);
    enter(2, Op::Delete, 10, deleted, Vector::of(deleted));
    enter(1, Op::Update, 50, made, both);
    contest.close(&[1, 2].map(NodeId), &table, &Opened::new(3, 1));
    let row = Content::Row(Arc::new(Vec::new().into()));
    [1, 2].map(NodeId).into_iter().for_each(|node| contest.fill(node, Some(row.clone())));
    contest.find_hollow(&table);
    let stamps = [1, 2].map(|node| contest.standing(NodeId(node)).unwrap().version.stamp);
    assert_eq!((stamps[0].time, stamps[0]), (50, stamps[1]));
}

/// What was taken as a delete and asserted since is not deleted.
#[test]
fn a_row_that_is_asserted_after_a_delete_from_elsewhere_stands() {
    let mut contest = Contest::default();
    let mut enter = |id, op, arrival| {
        let entry = Entry { id, mark: id, op, time: id, key: Key::default(), arrival, images: None };
        contest.enter(NodeId(1), entry, &Clock { offset: 0, shown: i64::MAX }, &table());
        contest.standing(NodeId(1)).unwrap().gone
    };
    let dot = Dot { node: NodeId(0), number: 7, mark: 7 };
    assert!(enter(1, Op::Delete, Some(Arrival { dot, vector: Vector::of(dot) })).is_some());
    assert!(enter(2, Op::Update, None).is_none());
    // Beside one that was made here the row is only asserted for others.
    assert!(enter(3, Op::Delete, None).is_some());
    assert!(enter(4, Op::Update, None).is_some());
}

fn waits(standing: Vector, standing_time: i64) -> Parked {
    let stamp = Stamp { time: 90, node: NodeId(2) };
    let vector = Vector::of(Dot { node: NodeId(2), number: 3, mark: 3 });
    let (code, message, key) = (ParkedCode::Unreadable, String::new(), Key::default());
    let read = Cut::START;
    let content = Waiting::Delete;
    Parked { table: 0, key, code, message, since: 0, vector, stamp, content, standing, standing_time, read }
}

/// However often its entries are read.
#[test]
fn what_stands_beside_what_waits_grows_no_younger() {
    let dot = Dot { node: NodeId(0), number: 7, mark: 7 };
    let mut contest = Contest::default();
    contest.wait(NodeId(0), &waits(Vector::of(dot), 50));
    told(&mut contest, 0, 40);
    assert_eq!(contest.standing(NodeId(0)).unwrap().version.stamp, Stamp { time: 50, node: NodeId(0) });
}

/// Node 1 has what came of changes of the other two, and no entry tells which of them stands.
#[test]
fn who_has_seen_the_same_tells_who_wrote_it() {
    let dot = |node, number| Dot { node: NodeId(node), number, mark: number };
    let mut both = Vector::of(dot(0, 7));
    both.add(dot(2, 3));
    let stamp = |standing: &Vector, is_known: bool| {
        let mut contest = Contest::default();
        contest.wait(NodeId(1), &waits(standing.clone(), 50));
        if is_known {
            let arrival = Some(Arrival { dot: dot(2, 3), vector: both.clone() });
            let (op, key) = (Op::Update, Key::default());
            let entry = Entry { id: 9, mark: 9, op, time: 50, key, arrival, images: None };
            contest.enter(NodeId(0), entry, &Clock { offset: 0, shown: i64::MAX }, &table());
        }
        contest.close(&[0, 1].map(NodeId), &table(), &Opened::new(3, 1));
        contest.standing(NodeId(1)).unwrap().version.stamp
    };
    assert_eq!(stamp(&both, true), Stamp { time: 50, node: NodeId(2) });
    assert_eq!(stamp(&Vector::of(dot(0, 7)), false), Stamp { time: 50, node: NodeId(0) });
}

/// Node 0 has made the row anew, and by what its clock is measured to be wrong now that would have been before.
#[test]
fn what_a_node_made_later_is_later() {
    let mut contest = Contest::default();
    told(&mut contest, 1, 60);
    let entry = Entry { id: 8, mark: 8, op: Op::Insert, time: 55, key: Key::default(), arrival: None, images: None };
    contest.enter(NodeId(0), entry, &Clock { offset: 0, shown: i64::MAX }, &table());
    let times = times(&mut contest, &Opened::new(3, 1));
    assert_eq!(times[..2], [61, 60]);
}

/// What each change did counts once, whoever tells of it; of a row that was changed very often too.
#[test]
fn a_change_that_two_tell_of_is_taken_in_once() {
    const CHANGES: i64 = 50_000;
    let table = Table { policy: merge::Policy::Sum(vec![0]), ..table() };
    let mut contest = Contest::default();
    // What the one has changed, the other tells once more.
    for node in [0, 1] {
        for number in 1..=CHANGES {
            let dot = Dot { node: NodeId(0), number, mark: number };
            let arrival = (node > 0).then_some(Arrival { dot, vector: Vector::EMPTY });
            let (op, key, images) = (Op::Update, Key::default(), Some(Images::default()));
            let entry = Entry { id: number, mark: number, op, time: number, key, arrival, images };
            contest.enter(NodeId(node), entry, &Clock { offset: 0, shown: i64::MAX }, &table);
        }
    }
    assert_eq!(contest.deltas.len() as i64, CHANGES);
}
