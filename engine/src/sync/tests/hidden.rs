//! Rows that filters hide from whoever makes another of the same key: both are weighed, or neither goes without an entry.

use std::collections::BTreeSet;

use super::cluster::{Cluster, later};
use super::filters::{Remainder, fail, settings};
use crate::model::ParkedCode;
use crate::sync::memory::number;

/// Nodes with these filters and rows at the start, of the one key 1.
pub fn nodes(filters: &[Option<&[i64]>], rows: &[Option<i64>]) -> (Cluster, &'static str) {
    fail(0);
    let judge = |(at, filter): (usize, &Option<&[i64]>)| Some(Remainder::new(at, filter.as_ref()?.iter().copied()));
    let filters: Vec<Option<Remainder>> = filters.iter().enumerate().map(judge).collect();
    let settings = settings("\"latest-wins\"", &filters);
    let cluster = Cluster::new(rows.len(), &[]);
    for (database, row) in cluster.databases.iter().zip(rows) {
        database.lock().rows.extend(row.map(|value| (1, value)));
    }
    cluster.block(cluster.session(settings, 10).install()).unwrap();
    (cluster, settings)
}

pub fn lost(cluster: &Cluster) -> BTreeSet<i64> {
    let journals = cluster.databases.iter().flat_map(|database| database.lock().journal.clone());
    journals.filter_map(|lost| Some(number(&lost.loser_row?[1]))).collect()
}

/// The node holds more that the third has not read than goes into a cycle, so that what it was told of the row is beyond the page.
#[test]
fn a_hidden_row_is_weighed_also_where_its_node_is_read_in_parts() {
    let (cluster, settings) = nodes(&[Some(&[0]), None, Some(&[1])], &[None, None, None]);
    let sync = || (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 3).sync())));
    let write = |node: usize, key: i64, value: i64| {
        later();
        assert!(cluster.databases[node].lock().write(key, Some(value), false));
    };
    write(0, 1, 3);
    sync();
    cluster.databases[2].lock().up = false;
    (2..9).for_each(|key| write(1, key, 5));
    write(0, 1, 5);
    sync();
    assert_eq!(cluster.rows()[0], []);
    write(0, 1, 6);
    cluster.databases[2].lock().up = true;
    sync();
    assert_eq!(cluster.rows()[0], [(1, 6)]);
    assert_eq!(cluster.rows()[1][0], (1, 6));
    assert_eq!(lost(&cluster), [5].into());
}

/// Rows that are weighed in turn, and removed where they do not belong once that is told, make more entries than go into the cycles that
/// carry what was there at the start.
#[test]
fn a_run_carries_what_it_writes_itself() {
    let (cluster, settings) = nodes(&[Some(&[0]), None, Some(&[1])], &[None, None, None]);
    let write = |node: usize, value: i64| {
        (1..=20).for_each(|key| {
            later();
            assert!(cluster.databases[node].lock().write(key, Some(value), false));
        });
    };
    write(1, 5);
    cluster.block(cluster.session(settings, 3).sync()).unwrap();
    write(0, 8);
    cluster.block(cluster.session(settings, 3).sync()).unwrap();
    assert_eq!(cluster.rows(), [vec![], (1..=20).map(|key| (key, 8)).collect(), vec![]]);
}

/// The third node took what was made, and tells whoever has the hidden row that it is not in there.
#[test]
fn a_hidden_row_is_weighed_also_where_the_maker_of_another_is_away() {
    let (cluster, settings) = nodes(&[Some(&[0]), Some(&[1]), None], &[None, None, Some(5)]);
    let sync = || (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync())));
    later();
    assert!(cluster.databases[1].lock().write(1, Some(3), false));
    cluster.databases[2].lock().up = false;
    sync();
    assert_eq!(cluster.rows(), [vec![(1, 3)], vec![], vec![(1, 5)]]);
    cluster.databases[1].lock().up = false;
    cluster.databases[2].lock().up = true;
    sync();
    // Nobody who is there knows what was known to the maker.
    assert_eq!(cluster.rows(), [vec![(1, 3)], vec![], vec![(1, 5)]]);
    cluster.databases[1].lock().up = true;
    sync();
    assert_eq!(cluster.rows(), [vec![(1, 3)], vec![], vec![(1, 3)]]);
    assert_eq!(lost(&cluster), [5].into());
}

/// Nothing can be written to the node that has the hidden row while the maker is there, and the entries of all others are purged.
#[test]
fn a_hidden_row_is_weighed_also_where_the_maker_of_another_comes_and_goes() {
    for (changed, count) in [(false, 5), (true, 5), (true, 4)] {
        let filters: &[Option<&[i64]>] = &[Some(&[0]), Some(&[0]), Some(&[0]), None, None];
        let (cluster, settings) = nodes(&filters[..count], &[None, None, None, Some(5), None][..count]);
        let sync = || (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync())));
        let up = |nodes: &[usize], up: bool| nodes.iter().for_each(|&node| cluster.databases[node].lock().up = up);
        let code = |node: usize| cluster.databases[node].lock().parked.get(&1).map(|parked| parked.code);
        let waits = || {
            sync();
            assert_eq!((code(3), &cluster.rows()[3][..]), (Some(ParkedCode::Unheard), &[(1, 5)][..]), "{changed}");
        };
        up(if count == 5 { &[3, 4] } else { &[3] }, false);
        let makers: &[(usize, i64)] = if changed { &[(0, 3), (1, 6)] } else { &[(1, 6)] };
        for (node, value) in makers {
            later();
            assert!(cluster.databases[*node].lock().write(1, Some(*value), false));
            sync();
        }
        up(&[1], false);
        up(&[3], true);
        waits();
        up(&[1], true);
        cluster.databases[3].lock().changing = true;
        (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 10).cycle())));
        cluster.databases[3].lock().changing = false;
        up(&[1], false);
        waits();
        // Nor where nobody is there who has any of it.
        up(&[0, 2], false);
        if count == 5 {
            up(&[4], true);
            waits();
            assert_eq!(code(4), Some(ParkedCode::Unreadable));
        }
        up(&[0, 2], true);
        waits();
        up(&[1], true);
        sync();
        assert_eq!(cluster.rows(), vec![vec![(1, 6)]; count], "{changed}");
        assert_eq!(lost(&cluster), [5].into(), "{changed}");
    }
}

/// Whoever made the row had the other and deleted it, which is told once he is back.
#[test]
fn what_was_known_to_a_maker_who_was_away_has_lost_to_nobody() {
    let (cluster, settings) = nodes(&[Some(&[0]), Some(&[2]), None], &[None, Some(5), Some(5)]);
    let sync = || (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync())));
    let up = |node: usize, up: bool| cluster.databases[node].lock().up = up;
    up(2, false);
    for value in [None, Some(3)] {
        later();
        assert!(cluster.databases[1].lock().write(1, value, false));
    }
    sync();
    up(1, false);
    up(2, true);
    sync();
    assert_eq!(cluster.rows(), [vec![(1, 3)], vec![], vec![(1, 5)]]);
    up(1, true);
    sync();
    assert_eq!(cluster.rows(), [vec![(1, 3)], vec![], vec![(1, 3)]]);
    assert_eq!(lost(&cluster), [].into());
}

/// What was made at the first node has moved to the second while that was away, so that nothing could be decided at first, and its maker's
/// entries are purged, although nothing could be written to the third node, which has the hidden row. The maker may go for a while.
pub fn moved_on(goes: bool) -> (Cluster, &'static str) {
    let (cluster, settings) = nodes(&[Some(&[0]), Some(&[0, 1]), None], &[None, None, Some(5)]);
    let sync = || (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync())));
    let up = |node: usize, up: bool| cluster.databases[node].lock().up = up;
    up(2, false);
    for value in [6, 7] {
        later();
        assert!(cluster.databases[0].lock().write(1, Some(value), false));
        sync();
    }
    assert_eq!(cluster.rows(), [vec![], vec![(1, 7)], vec![(1, 5)]]);
    up(1, false);
    up(2, true);
    sync();
    up(1, true);
    if goes {
        up(0, false);
        sync();
        up(0, true);
    }
    cluster.databases[2].lock().changing = true;
    drop(cluster.block(cluster.session(settings, 10).cycle()));
    cluster.databases[2].lock().changing = false;
    (cluster, settings)
}

#[test]
fn a_hidden_row_is_weighed_also_where_another_has_moved_on() {
    for goes in [false, true] {
        let (cluster, settings) = moved_on(goes);
        (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync())));
        assert_eq!(cluster.rows()[1..], [[(1, 7)], [(1, 7)]], "{goes}");
        assert_eq!(lost(&cluster), [5].into(), "{goes}");
    }
}

/// The filter of a node fails, so that the row waits there, and whoever else has it is away.
#[test]
fn a_delete_is_one_also_of_what_waits_elsewhere() {
    let (cluster, settings) = nodes(&[None, Some(&[0, 1, 2]), Some(&[])], &[Some(5), Some(5), None]);
    let sync = || (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync())));
    let write = |node: usize, value| {
        later();
        assert!(cluster.databases[node].lock().write(1, value, false));
    };
    fail(1 << 2);
    write(0, Some(6));
    sync();
    assert_eq!(cluster.rows(), [vec![(1, 6)], vec![(1, 6)], vec![]]);
    cluster.databases[0].lock().up = false;
    write(1, None);
    sync();
    cluster.databases[0].lock().up = true;
    fail(0);
    sync();
    assert_eq!(cluster.rows(), [vec![], vec![], vec![]]);
}

/// The third node took what was made, and then that it was deleted, which says nothing of the row that was hidden.
#[test]
fn a_hidden_row_is_weighed_also_against_a_delete_of_another() {
    for away in [false, true] {
        let (cluster, settings) = nodes(&[Some(&[0]), Some(&[0]), None], &[None, None, Some(5)]);
        let sync = || (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync())));
        cluster.databases[2].lock().up = false;
        for value in [Some(3), None] {
            later();
            assert!(cluster.databases[1].lock().write(1, value, false));
            sync();
            assert_eq!(cluster.rows()[0].first().copied(), value.map(|value| (1, value)));
        }
        cluster.databases[2].lock().up = true;
        cluster.databases[1].lock().up = !away;
        sync();
        cluster.databases[1].lock().up = true;
        sync();
        let stands = cluster.rows()[2].contains(&(1, 5));
        assert!(stands || lost(&cluster).contains(&5), "{:?}", cluster.rows());
    }
}

/// Who took the delete had made a row as well, and neither was the one that was hidden.
#[test]
fn a_hidden_row_is_weighed_also_against_a_delete_that_a_maker_of_another_took() {
    let (cluster, settings) = nodes(&[Some(&[0]), Some(&[0]), None], &[None, None, Some(5)]);
    let sync = || (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync())));
    cluster.databases[2].lock().up = false;
    later();
    assert!(cluster.databases[0].lock().write(1, Some(3), false));
    later();
    assert!(cluster.databases[1].lock().write(1, Some(6), false));
    sync();
    assert_eq!(cluster.rows(), [vec![(1, 6)], vec![(1, 6)], vec![(1, 5)]]);
    later();
    assert!(cluster.databases[0].lock().write(1, None, false));
    sync();
    assert_eq!(cluster.rows(), [vec![], vec![], vec![(1, 5)]]);
    cluster.databases[2].lock().up = true;
    sync();
    assert!(cluster.rows()[2] == [(1, 5)] || lost(&cluster).contains(&5), "{:?}", cluster.rows());
}

/// The row that was made was changed at a third node, which is away: nobody knows whether the hidden one was known there.
#[test]
fn a_hidden_row_is_weighed_also_where_who_changed_another_is_away() {
    let (cluster, settings) = nodes(&[Some(&[0]), Some(&[0]), Some(&[0]), None], &[None, None, None, Some(5)]);
    let sync = || (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync())));
    cluster.databases[3].lock().up = false;
    for (node, value) in [(0, 3), (1, 6)] {
        later();
        assert!(cluster.databases[node].lock().write(1, Some(value), false));
        sync();
    }
    cluster.databases[1].lock().up = false;
    cluster.databases[3].lock().up = true;
    sync();
    assert_eq!((cluster.rows()[2][0], cluster.rows()[3][0]), ((1, 6), (1, 5)));
    cluster.databases[1].lock().up = true;
    sync();
    assert_eq!(cluster.rows()[3], [(1, 6)]);
    assert_eq!(lost(&cluster), [5].into());
}

/// What was deleted elsewhere is what stands here, and not what was made without knowing of it by who took the delete.
#[test]
fn a_delete_counts_also_where_a_maker_of_another_row_took_it() {
    let (cluster, settings) = nodes(&[Some(&[2]), None, Some(&[0])], &[Some(5), Some(5), None]);
    let sync = || (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync())));
    cluster.databases[1].lock().up = false;
    later();
    assert!(cluster.databases[2].lock().write(1, Some(6), false));
    later();
    assert!(cluster.databases[0].lock().write(1, None, false));
    sync();
    assert_eq!(cluster.rows(), [vec![], vec![(1, 5)], vec![]]);
    cluster.databases[0].lock().up = false;
    cluster.databases[1].lock().up = true;
    sync();
    cluster.databases[0].lock().up = true;
    sync();
    assert_eq!(cluster.rows(), [vec![], vec![], vec![]]);
}

/// Somebody has locked the hidden row without changing it.
#[test]
fn a_hidden_row_that_is_held_is_weighed_afterwards() {
    let (cluster, settings) = nodes(&[Some(&[0]), None], &[None, Some(5)]);
    later();
    assert!(cluster.databases[0].lock().write(1, Some(6), false));
    cluster.databases[1].lock().holds = 2;
    (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync())));
    assert_eq!(cluster.databases[1].lock().holds, 0);
    assert_eq!(cluster.rows(), [vec![(1, 6)], vec![(1, 6)]]);
    assert_eq!(lost(&cluster), [5].into());
}

/// The same where the filter of its node fails meanwhile, so that what takes its place waits for that as well.
#[test]
fn a_hidden_row_that_is_held_is_weighed_also_where_a_filter_fails() {
    let (cluster, settings) = nodes(&[Some(&[0]), Some(&[0, 2])], &[None, Some(5)]);
    let sync = || (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync())));
    later();
    assert!(cluster.databases[0].lock().write(1, Some(6), false));
    cluster.databases[1].lock().holds = 2;
    fail(1 << 1);
    sync();
    assert_eq!(cluster.databases[1].lock().holds, 0);
    assert_eq!(cluster.databases[1].lock().parked[&1].code, ParkedCode::Filter);
    fail(0);
    sync();
    assert_eq!(cluster.rows(), [vec![(1, 6)], vec![(1, 6)]]);
    assert_eq!(lost(&cluster), [5].into());
}

/// The same where what takes its place is up to a person, and so waits for an outcome.
#[test]
fn a_hidden_row_that_is_held_is_weighed_also_where_a_person_decides() {
    fail(0);
    let filters = [Some(Remainder::new(0, [0])), None, Some(Remainder::new(2, [0]))];
    let settings = settings("\"park\"", &filters);
    let cluster = Cluster::new(3, &[]);
    cluster.databases[1].lock().rows.insert(1, 5);
    cluster.block(cluster.session(settings, 10).install()).unwrap();
    for (node, value) in [(0, 6), (2, 9)] {
        later();
        assert!(cluster.databases[node].lock().write(1, Some(value), false));
    }
    // Nothing else waits for that.
    assert!(cluster.databases[0].lock().write(2, Some(6), false));
    cluster.databases[1].lock().holds = 6;
    drop(cluster.block(cluster.session(settings, 10).sync()).unwrap());
    assert_eq!(cluster.rows()[1], [(1, 5), (2, 6)]);
    (0..6).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync()).unwrap()));
    assert_eq!(cluster.databases[1].lock().holds, 0);
    assert_eq!(cluster.rows(), [[(1, 6), (2, 6)], [(1, 5), (2, 6)], [(1, 9), (2, 6)]]);
    cluster.block(cluster.session(settings, 10).drop_parked(|row| row.node == "a")).unwrap();
    (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync()).unwrap()));
    assert_eq!((cluster.rows(), lost(&cluster)), (vec![vec![(1, 6), (2, 6)]; 3], [5, 9].into()));
}

/// Others have decided about it, and it could not be told of there.
#[test]
fn a_hidden_row_is_weighed_once() {
    for others in [&[Some(&[0][..])][..], &[Some(&[0][..]), Some(&[1][..])], &[Some(&[0][..]), None]] {
        let (filters, mut rows) = ([others, &[None]].concat(), vec![None; others.len()]);
        rows.push(Some(5));
        let (cluster, settings) = nodes(&filters, &rows);
        let last = others.len();
        let cycle = || drop(cluster.block(cluster.session(settings, 10).cycle()).unwrap());
        later();
        assert!(cluster.databases[0].lock().write(1, Some(6), false));
        cycle();
        assert_eq!(cluster.databases[last].lock().parked[&1].code, ParkedCode::Unweighed);
        cluster.databases[last].lock().changing = true;
        (0..3).for_each(|_| cycle());
        cluster.databases[last].lock().changing = false;
        (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync())));
        assert_eq!(cluster.rows()[last], [(1, 6)], "{others:?}");
        let journals = cluster.databases.iter().flat_map(|database| database.lock().journal.clone());
        let of_hidden = journals.filter(|lost| lost.loser_row.as_ref().is_some_and(|row| number(&row[1]) == 5));
        let conflicts: BTreeSet<String> = of_hidden.map(|lost| lost.id).collect();
        assert_eq!(conflicts.len(), 1, "{others:?}");
    }
}

/// The row that was made cannot be read for a while, and waits beside the one that was hidden from its maker.
#[test]
fn a_hidden_row_is_weighed_also_where_another_waits_beside_it() {
    let (cluster, settings) = nodes(&[Some(&[1]), None, Some(&[])], &[None, Some(5), None]);
    let sync = || (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync())));
    later();
    assert!(cluster.databases[2].lock().write(1, Some(6), false));
    cluster.databases[2].lock().unreadable = Some(6);
    sync();
    later();
    assert!(cluster.databases[0].lock().write(1, Some(7), false));
    sync();
    cluster.databases[2].lock().unreadable = None;
    sync();
    assert_eq!(cluster.rows(), [vec![(1, 7)], vec![(1, 7)], vec![]]);
    assert_eq!(lost(&cluster), [5, 6].into());
}

/// Also if what lost against it was made blindly, at a node that has taken it already.
#[test]
fn a_delete_of_a_row_is_one_wherever_it_stands() {
    fail(0);
    let settings = settings("\"latest-wins\"", &[Some(Remainder::new(0, [0])), None, Some(Remainder::new(2, [2]))]);
    let cluster = Cluster::new(3, &[]);
    cluster.databases[1].lock().rows.insert(1, 4);
    cluster.block(cluster.session(settings, 10).install()).unwrap();
    let cycles_without = |nodes: &[usize]| {
        nodes.iter().for_each(|&at| cluster.databases[at].lock().changing = true);
        (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 10).cycle()).unwrap()));
        nodes.iter().for_each(|&at| cluster.databases[at].lock().changing = false);
    };
    later();
    assert!(cluster.databases[2].lock().write(1, Some(5), false));
    cycles_without(&[0]);
    assert_eq!(cluster.rows(), [vec![], vec![(1, 5)], vec![(1, 5)]]);
    assert!(cluster.databases[0].lock().write(1, Some(3), false));
    later();
    assert!(cluster.databases[2].lock().write(1, None, false));
    cycles_without(&[1, 2]);
    assert_eq!(cluster.rows(), [vec![], vec![(1, 5)], vec![]]);
    let sync = || (0..2).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync()).unwrap()));
    sync();
    assert_eq!(cluster.rows(), [vec![], vec![], vec![]]);
}

/// The other row was passed at the maker's node, as not belonging there, while what was made was under way.
#[test]
fn a_row_has_not_seen_what_was_passed_while_it_was_made() {
    for changed in [false, true] {
        let (cluster, settings) = nodes(&[Some(&[0]), None, Some(&[2])], &[Some(3), Some(3), None]);
        let sync = || drop(cluster.block(cluster.session(settings, 10).sync()).unwrap());
        let write = |node: usize, value: Option<i64>, late: bool| {
            later();
            assert!(cluster.databases[node].lock().write(1, value, late));
        };
        // So that entries are kept.
        cluster.databases[1].lock().up = false;
        write(0, None, false);
        sync();
        write(0, Some(6), true);
        write(2, Some(5), false);
        sync();
        assert_eq!(cluster.rows(), [vec![], vec![(1, 3)], vec![(1, 5)]]);
        cluster.databases[0].lock().commit(0);
        if changed {
            write(0, Some(9), false);
        }
        sync();
        cluster.databases[1].lock().up = true;
        sync();
        let (left, gone) = if changed { (9, 5) } else { (5, 6) };
        let at = |value: i64| if value == left { vec![(1, value)] } else { vec![] };
        assert_eq!(cluster.rows(), [at(9), vec![(1, left)], at(5)], "{changed}");
        assert!(lost(&cluster).contains(&gone), "{changed}: {:?}", lost(&cluster));
    }
}

/// Whoever has it waiting tells by which change it was made, as who has taken it does.
#[test]
fn a_hidden_row_is_weighed_also_where_another_only_waits_while_its_maker_is_away() {
    let (cluster, settings) = nodes(&[Some(&[2]), None, None], &[None, Some(4), None]);
    let sync = || (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync())));
    cluster.databases[1].lock().up = false;
    cluster.databases[2].lock().refuses = Some(5);
    later();
    assert!(cluster.databases[0].lock().write(1, Some(5), false));
    sync();
    cluster.databases[0].lock().up = false;
    cluster.databases[1].lock().up = true;
    sync();
    assert_eq!(cluster.rows(), [vec![(1, 5)], vec![(1, 4)], vec![]]);
    cluster.databases[0].lock().up = true;
    cluster.databases[2].lock().refuses = None;
    sync();
    assert_eq!(cluster.rows(), [vec![(1, 5)], vec![(1, 5)], vec![(1, 5)]]);
    assert_eq!(lost(&cluster), [4].into());
}
