//! Tables in which inserts are not carried: a row that is made where none stands has seen nothing of those that others have
//! under its key.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::cluster::{Cluster, later};
use super::random::{Random, seeds};
use crate::model::{Entry, Key, Lost, NodeId, Row, Value, time};
use crate::sync::memory::number;
use crate::sync::session::Session;
use crate::sync::{KnownFrom, WhyState};

const UPDATES: &str = "operations = [\"update\", \"delete\"]";

/// So many databases in memory, and how their table is configured.
struct Case {
    cluster: Cluster,
    settings: String,
}

impl Case {
    fn new(count: usize, policy: &str, operations: &str) -> Case {
        let case = Case { cluster: Cluster::new(count, &[]), settings: format!("{policy}\n{operations}") };
        case.cluster.block(case.session().install()).unwrap();
        case
    }

    fn session(&self) -> Session {
        self.cluster.session(&self.settings, 100)
    }

    fn write(&self, at: usize, value: Option<i64>) {
        later();
        assert!(self.cluster.databases[at].lock().write(1, value, false));
    }

    /// Syncs, and finds that a further sync writes nothing.
    fn sync(&self) -> crate::sync::Summary {
        let summary = self.cluster.block(self.session().sync()).unwrap();
        let again = self.cluster.block(self.session().sync()).unwrap();
        assert_eq!((again.cycles, &again.nodes[..]), (1, &[][..]), "a sync at rest has something to do");
        summary
    }

    /// What each node has under the key.
    fn values(&self) -> Vec<Option<i64>> {
        self.cluster.databases.iter().map(|database| database.lock().rows.get(&1).copied()).collect()
    }

    /// What the journals keep, alike at whatever nodes: who won, and the value that lost.
    fn lost(&self) -> Vec<(u16, i64)> {
        let value = |lost: &Lost| lost.loser_row.as_ref().map_or(0, |row| number(&row[1]));
        let mut kept = BTreeSet::new();
        for database in &self.cluster.databases {
            let journal = database.lock().journal.clone();
            assert!(journal.iter().all(|lost| lost.loser_time.min(lost.winner_time) > 0), "{journal:?}");
            kept.extend(journal.iter().map(|lost| (lost.winner.0, value(lost))));
        }
        kept.into_iter().collect()
    }
}

/// A row is made and changed at one node, all of which the others have passed when they make theirs.
fn made_apart(policy: &str, first: usize) -> Case {
    let case = Case::new(2, policy, UPDATES);
    case.write(first, Some(1));
    case.sync();
    case.write(first, Some(2));
    assert_eq!(case.sync().nodes, [], "nothing is written where no row stands");
    case.write(1 - first, Some(3));
    case
}

/// GIVEN a transaction that had begun before another, and deletes a row that this one has deleted and made anew
/// WHEN what both did is read in the order of their marks
/// THEN the delete counts as the last.
#[test]
fn what_a_node_did_is_told_in_the_order_in_which_it_was_done() {
    let case = Case::new(2, "\"latest-wins\"", UPDATES);
    case.cluster.databases.iter().for_each(|database| _ = database.lock().rows.insert(1, 5));
    [None, Some(6), None].into_iter().for_each(|value| case.write(0, value));
    let begin_first = |history: &mut [Entry]| {
        let first = history[0].mark;
        history.iter_mut().zip([first + 1, first + 2, first]).for_each(|(entry, mark)| entry.mark = mark);
    };
    begin_first(&mut case.cluster.databases[0].lock().history);
    case.sync();
    assert_eq!(case.values(), [None, None]);
}

#[test]
fn the_later_of_rows_that_were_made_apart_wins() {
    for first in [0, 1] {
        let case = made_apart("\"latest-wins\"", first);
        assert_eq!(case.sync().conflicts, 1);
        assert_eq!((case.values(), case.lost()), (vec![Some(3); 2], vec![(1 - first as u16, 2)]));
    }
}

/// A plan tells the conflict that comes, although the first cycle only puts it off.
#[test]
fn a_plan_foresees_the_conflict_of_rows_that_were_made_apart() {
    use crate::sync::plan::{Change, Wish};
    for (policy, first, stays) in [("\"latest-wins\"", 0, 3), ("\"latest-wins\"", 1, 3), ("{ prefer = [\"a\"] }", 0, 2)]
    {
        let case = made_apart(policy, first);
        let wish = Wish { table: None, limit: 0, file: false };
        let (plan, _) = case.cluster.block(case.session().plan(&wish)).unwrap();
        let rows: Vec<_> = plan.rows.iter().map(|row| (&*row.node, row.change, row.after.clone())).collect();
        let loser = if stays == 3 { first } else { 1 - first };
        let after = serde_json::json!({ "id": 1, "value": stays });
        assert_eq!(rows, [(["a", "b"][loser], Change::Update, Some(after))], "{policy}");
        assert_eq!((plan.conflict_count, plan.conflicts[0].versions.len()), (1, 2), "{policy}");
        let summary = case.sync();
        assert_eq!((summary.conflicts, case.values()), (1, vec![Some(stays); 2]), "{policy}");
    }
}

#[test]
fn other_policies_decide_about_rows_that_were_made_apart() {
    for (policy, first) in [("\"earliest-wins\"", 0), ("\"earliest-wins\"", 1), ("{ prefer = [\"a\"] }", 0)] {
        let case = made_apart(policy, first);
        assert_eq!(case.sync().conflicts, 1, "{policy}");
        assert_eq!((case.values(), case.lost()), (vec![Some(2); 2], vec![(first as u16, 3)]), "{policy}");
    }
    let case = made_apart("{ prefer = [\"a\"] }", 1);
    case.sync();
    assert_eq!((case.values(), case.lost()), (vec![Some(3); 2], vec![(0, 2)]));
}

/// Nobody can read the row that was made until its insert is purged, and what stands elsewhere may be locked by users meanwhile.
#[test]
fn what_could_not_be_read_at_first_is_weighed_too() {
    for (policy, stays) in [("\"latest-wins\"", 3), ("\"earliest-wins\"", 2), ("{ prefer = [\"a\"] }", 2)] {
        for (holds, syncs) in [(0, 0), (0, 2), (2, 0), (2, 2)] {
            let what = format!("{policy}, held {holds} times, {syncs} syncs");
            let case = made_apart(policy, 0);
            let sync = |count: u32| {
                (0..count).for_each(|_| drop(case.cluster.block(case.session().sync()).unwrap()));
            };
            case.cluster.databases[1].lock().unreadable = Some(3);
            case.cluster.databases[0].lock().holds = holds;
            case.cluster.block(case.session().cycle()).unwrap();
            sync(syncs);
            assert_eq!((case.values(), case.lost()), (vec![Some(2), Some(3)], Vec::new()), "{what}");
            case.cluster.databases[1].lock().unreadable = None;
            sync(3);
            let (winner, lost) = if stays == 3 { (1, 2) } else { (0, 3) };
            assert_eq!((case.values(), case.lost()), (vec![Some(stays); 2], vec![(winner, lost)]), "{what}");
        }
    }
}

/// Nobody can tell what a row adds that was made where the others of its key are unknown, nor what a delete that stays where it was made
/// takes from the others.
#[test]
fn what_is_added_up_has_to_be_carried_as_a_whole() {
    for (operations, refused) in [
        (UPDATES, true),
        ("operations = [\"insert\", \"update\"]", true),
        ("operations = [\"insert\", \"delete\"]", true),
        ("operations = [\"insert\", \"update\", \"delete\"]", false),
        ("", false),
    ] {
        let cluster = Cluster::new(2, &[]);
        let installed = cluster.block(cluster.session(&format!("{{ sum = [\"value\"] }}\n{operations}"), 10).install());
        match installed {
            Err(why) if refused => {
                let why = why.to_string();
                assert!(why.contains("remove `operations`, or let another policy decide"), "{why}");
            }
            installed => assert!(installed.is_ok() && !refused, "{operations}"),
        }
    }
    // Where changes come from one node alone none conflict.
    let cluster = Cluster::new(2, &[]);
    let from = format!("{{ sum = [\"value\"] }}\n{UPDATES}\nfrom = \"a\"");
    cluster.block(cluster.session(&from, 10).install()).unwrap();
}

/// An earlier Concord took it, and what is on its way has to arrive before anything else can be installed.
#[test]
fn what_was_installed_to_be_added_up_in_part_goes_on() {
    for operations in ["operations = [\"insert\", \"update\"]", "operations = [\"insert\", \"delete\"]"] {
        // As that one installed it, as far as nodes in memory keep it.
        let case = Case::new(2, "\"latest-wins\"", operations);
        case.write(0, Some(1));
        let session = || case.cluster.session(&format!("{{ sum = [\"value\"] }}\n{operations}"), 10);
        let summary = case.cluster.block(session().sync()).unwrap();
        assert_eq!((summary.stopped, case.values()[1]), (Vec::new(), Some(1)), "{operations}");
        assert!(case.cluster.block(session().parked()).is_ok());
        assert!(case.cluster.block(session().install()).is_err());
    }
}

#[test]
fn rows_that_were_made_apart_wait_for_a_person() {
    let case = made_apart("\"park\"", 0);
    let summary = case.sync();
    assert_eq!((summary.waiting, case.values()), (2, vec![Some(2), Some(3)]));
    case.cluster.block(case.session().drop_parked(|row| row.node == "a")).unwrap();
    case.sync();
    assert_eq!(case.values(), [Some(2); 2]);
}

#[test]
fn equal_rows_that_were_made_apart_are_no_conflict() {
    let case = made_apart("\"latest-wins\"", 0);
    case.write(1, Some(2));
    let summary = case.sync();
    assert_eq!((summary.conflicts, summary.nodes.len(), case.lost()), (0, 0, Vec::new()));
}

#[test]
fn what_has_seen_the_other_row_goes_on() {
    let case = made_apart("{ prefer = [\"a\"] }", 0);
    case.sync();
    case.write(1, Some(4));
    assert_eq!((case.sync().conflicts, case.values()), (0, vec![Some(4); 2]));
    // Deleted and made anew between two looks: who did it had seen what stood.
    case.write(1, None);
    case.write(1, Some(5));
    assert_eq!((case.sync().conflicts, case.values()), (0, vec![Some(5); 2]));
    case.write(0, None);
    assert_eq!((case.sync().conflicts, case.values()), (0, vec![None; 2]));
}

#[test]
fn a_row_that_came_and_went_concerns_nobody() {
    for updated in [false, true] {
        let case = made_apart("\"latest-wins\"", 0);
        case.write(1, None);
        if updated {
            case.write(0, Some(4));
        }
        let summary = case.sync();
        let standing = if updated { 4 } else { 2 };
        assert_eq!((summary.conflicts, case.values(), case.lost()), (0, vec![Some(standing), None], Vec::new()));
    }
}

/// Whatever put it there without a record, such as a session in which triggers do not fire.
#[test]
fn a_row_that_stands_after_all_is_weighed() {
    let case = made_apart("\"latest-wins\"", 0);
    case.write(1, None);
    case.cluster.databases[1].lock().rows.insert(1, 5);
    case.write(0, Some(4));
    assert_eq!(case.sync().conflicts, 1);
    assert_eq!((case.values(), case.lost()), (vec![Some(4); 2], vec![(0, 5)]));
}

/// Who never had the row is no side of the conflict, and nothing waits there that could be given up for all.
#[test]
fn nothing_waits_where_a_row_is_absent() {
    let case = Case::new(3, "\"park\"", UPDATES);
    case.write(0, Some(2));
    case.sync();
    case.write(1, Some(3));
    let summary = case.sync();
    case.cluster.block(case.session().drop_parked(|row| row.node == "c")).unwrap();
    case.sync();
    assert_eq!((summary.waiting, case.values()), (2, vec![Some(2), Some(3), None]));
}

#[test]
fn each_of_three_is_asked() {
    for (policy, winner, lost) in [("\"latest-wins\"", 3, vec![(1, 2)]), ("{ prefer = [\"c\"] }", 2, vec![(2, 3)])] {
        let case = Case::new(3, policy, UPDATES);
        [0, 2].iter().for_each(|&at| case.write(at, Some(2)));
        assert_eq!((case.sync().conflicts, case.values()), (0, vec![Some(2), None, Some(2)]));
        case.write(1, Some(3));
        case.sync();
        assert_eq!((case.values(), case.lost()), (vec![Some(winner); 3], lost), "{policy}");
    }
}

/// What one of them has not heard of yet is weighed in place of what it has.
#[test]
fn who_was_away_is_not_asked_about_what_is_past() {
    let case = Case::new(3, "\"earliest-wins\"", UPDATES);
    [0, 2].iter().for_each(|&at| case.write(at, Some(2)));
    case.sync();
    case.cluster.databases[2].lock().up = false;
    case.write(0, Some(4));
    case.cluster.block(case.session().sync()).unwrap();
    case.write(1, Some(3));
    case.cluster.databases[2].lock().up = true;
    case.sync();
    assert_eq!((case.values(), case.lost()), (vec![Some(4); 3], vec![(0, 3)]));
}

/// Who passed a change without taking it cannot speak for it.
#[test]
fn nobody_deletes_what_he_never_had() {
    let case = Case::new(3, "\"latest-wins\"", UPDATES);
    [0, 2].iter().for_each(|&at| case.write(at, Some(2)));
    case.sync();
    let sync_without = |away: usize| {
        case.cluster.databases[away].lock().up = false;
        case.cluster.block(case.session().sync()).unwrap();
        case.cluster.databases[away].lock().up = true;
    };
    case.write(0, Some(4));
    sync_without(2);
    sync_without(0);
    assert_eq!(case.values(), [Some(4), None, Some(2)]);
    case.sync();
    assert_eq!(case.values(), [Some(4), None, Some(4)]);
}

/// Two changes lose to a delete that is not carried: the next change of one takes the place of the other.
#[test]
fn what_lost_to_a_delete_that_stays_is_told() {
    let case = Case::new(3, "\"latest-wins\"", "operations = [\"insert\", \"update\"]");
    case.write(0, Some(1));
    case.sync();
    case.write(0, Some(2));
    case.write(1, Some(3));
    case.write(2, None);
    assert_eq!((case.sync().conflicts, case.values()), (1, vec![Some(2), Some(3), None]));
    case.write(0, Some(4));
    case.sync();
    assert_eq!((case.values(), case.lost()), (vec![Some(4); 3], vec![(2, 2), (2, 3)]));
}

/// Whichever of the others is away: while the history tells of the delete, a node that keeps its row is not told to have the outcome.
#[test]
fn a_row_that_a_delete_leaves_goes_its_own_way() {
    for (deletes, keeps) in [(0, 1), (1, 0)] {
        let case = Case::new(3, "\"latest-wins\"", "operations = [\"insert\", \"update\"]");
        case.write(0, Some(1));
        case.sync();
        case.cluster.databases[2].lock().up = false;
        case.write(deletes, None);
        case.sync();
        let told = case.cluster.block(case.session().why("t", &["1".to_owned()])).unwrap();
        assert_eq!((told.versions.len(), &told.versions[0].row), (1, &None), "{told:?}");
        let states = [deletes, keeps].map(|at| told.nodes[at].state);
        assert_eq!(states, [WhyState::Current, WhyState::Apart], "{told:?}");
    }
}

/// The same once everybody has had the change, and its history is purged.
#[test]
fn what_operations_leave_apart_goes_its_own_way_for_good() {
    let cases = [
        ("operations = [\"insert\", \"update\"]", &[Some(1), None][..]),
        ("operations = [\"insert\", \"delete\"]", &[Some(1), Some(2)]),
        (UPDATES, &[Some(1)]),
    ];
    for ((operations, values), at) in cases.into_iter().flat_map(|case| [(case, 0), (case, 1)]) {
        let case = Case::new(2, "\"latest-wins\"", operations);
        for value in values {
            case.write(at, *value);
            case.sync();
        }
        let told = case.cluster.block(case.session().why("t", &["1".to_owned()])).unwrap();
        assert_ne!(told.known_from, KnownFrom::History, "{told:?}");
        let states: Vec<WhyState> = told.nodes.iter().map(|node| node.state).collect();
        assert_eq!(states, [WhyState::Current, WhyState::Apart], "{operations}: {told:?}");
        assert_eq!(told.exit_code(), 0);
    }
}

/// What was replaced though nobody had read it lost to whoever wrote what is there instead; a load is nobody's word.
#[test]
fn why_names_who_replaced_what_was_unread() {
    for (id, is_known) in
        [("unread-1-0123456789ab", true), ("delete-1-0123456789ab", true), ("load-1-0123456789ab", false)]
    {
        let case = Case::new(2, "\"latest-wins\"", "");
        case.cluster.databases.iter().for_each(|database| _ = database.lock().rows.insert(1, 5));
        let key: Key = vec![Value::Int(1)].into();
        let row = |value: i64| -> Row { vec![Value::Int(1), Value::Int(value)].into() };
        case.cluster.databases[0].lock().journal.push(Lost {
            id: id.to_owned(),
            table: 0,
            key,
            decided: 8,
            winner: NodeId(1),
            winner_time: 7,
            winner_row: Some(Arc::new(row(5))),
            winner_unknown: Vec::new(),
            loser: NodeId(0),
            loser_time: 6,
            loser_row: Some(Arc::new(row(4))),
            loser_unknown: Vec::new(),
            reason: String::new(),
            told: None,
        });
        let told = case.cluster.block(case.session().why("t", &["1".to_owned()])).unwrap();
        assert_eq!(told.known_from == KnownFrom::Journal, is_known, "{id}: {told:?}");
        assert_eq!(told.versions[0].node.as_deref(), is_known.then_some("b"), "{id}: {told:?}");
    }
}

/// A target fails between the cycle that finds out and the next.
#[test]
fn nothing_is_lost_where_one_fails_in_between() {
    for failing in [0, 1] {
        for policy in ["\"latest-wins\"", "\"earliest-wins\""] {
            let case = made_apart(policy, 0);
            let mut session = case.session();
            for cycle in 0..2 {
                case.cluster.databases[failing].lock().changing = true;
                case.cluster.block(session.cycle()).unwrap();
                case.cluster.databases[failing].lock().changing = false;
                assert!(case.values().contains(&Some(2)) || !case.lost().is_empty(), "cycle {cycle}");
            }
            case.sync();
            let winner = if policy.contains("latest") { 3 } else { 2 };
            assert_eq!(case.values(), [Some(winner); 2], "{policy}, {failing}");
        }
    }
}

/// Updates are not carried, so whoever deletes a row does not know what others have made of it.
#[test]
fn a_delete_keeps_what_it_takes_unread() {
    for count in [2, 3] {
        let case = Case::new(count, "\"latest-wins\"", "operations = [\"insert\", \"delete\"]");
        case.write(0, Some(1));
        case.sync();
        case.write(1, Some(2));
        case.sync();
        case.write(0, None);
        assert_eq!(case.sync().conflicts, 0);
        let lost = if count == 2 { vec![(0, 2)] } else { vec![(0, 1), (0, 2)] };
        assert_eq!((case.values(), case.lost()), (vec![None; count], lost));
        let journal = case.cluster.databases[1].lock().journal.clone();
        assert!(journal[0].reason.starts_with("deleted elsewhere; `operations` carries no updates"), "{journal:?}");
    }
}

/// Whatever was written stands somewhere, was replaced or deleted by somebody who had it, or is in a journal.
#[test]
fn nothing_goes_silently() {
    let sets = [
        "[\"insert\", \"update\"]",
        "[\"update\"]",
        "[\"delete\"]",
        "[\"update\", \"delete\"]",
        "[\"insert\", \"delete\"]",
        "[\"insert\"]",
    ];
    for seed in seeds(150) {
        let mut random = Random(seed);
        let (count, operations) = (2 + random.below(2) as usize, sets[random.below(sets.len() as u64) as usize]);
        let policy = ["\"latest-wins\"", "\"earliest-wins\"", "{ prefer = [\"b\"] }"][random.below(3) as usize];
        let case = Case::new(count, policy, &format!("operations = {operations}"));
        let told = |what: &str| format!("seed {seed}: {what} ({count} nodes, {policy}, {operations})");
        let trace = std::env::var("CONCORD_TRACE").is_ok();
        let mut known: BTreeSet<i64> = BTreeSet::new();
        let mut written = 0;
        for _ in 0..20 {
            let at = random.below(count as u64) as usize;
            if random.chance(60) {
                time::pass(1_000_000);
                let mut state = case.cluster.databases[at].lock();
                let value = (!random.chance(25)).then_some(written + 1);
                let before = state.rows.get(&1).copied();
                let done = state.write(1, value, false);
                if trace {
                    eprintln!("{at} writes {value:?} over {before:?}: {done}");
                }
                if done {
                    known.extend(before);
                    written += i64::from(value.is_some());
                }
                continue;
            }
            let away = (random.chance(30) && count > 2).then_some(at);
            away.iter().for_each(|&at| case.cluster.databases[at].lock().up = false);
            case.cluster.block(case.session().sync()).unwrap();
            if trace {
                eprintln!("sync without {away:?}: {:?}", case.values());
            }
            away.iter().for_each(|&at| case.cluster.databases[at].lock().up = true);
        }
        case.sync();
        let standing: Vec<i64> = case.values().into_iter().flatten().collect();
        let lost: Vec<i64> = case.lost().into_iter().map(|(.., value)| value).collect();
        let gone =
            (1..=written).find(|value| !known.contains(value) && !standing.contains(value) && !lost.contains(value));
        assert!(gone.is_none(), "{}", told(&format!("{gone:?} is gone")));
        let differ = standing.iter().any(|value| *value != standing[0]);
        assert!(!differ || operations != "[\"update\", \"delete\"]", "{}", told(&format!("rows differ: {standing:?}")));
    }
}
