//! Deletes of rows that were made where others are hidden, and had won against these.

use super::cluster::later;
use super::filters::Remainder;
use super::hidden::{lost, nodes};

/// What was made was weighed, and its maker was told so and then deleted it, while the node of the other took no part. However few entries
/// a page has, all nodes end with the same.
#[test]
fn what_won_and_was_deleted_is_deleted_everywhere() {
    type Values = Option<&'static [i64]>;
    let filters: [Values; 3] = [None, Some(&[0, 1, 2]), Some(&[2])];
    let thirds: [Option<(Values, Option<i64>)>; 4] =
        [None, Some((None, Some(7))), Some((Some(&[]), None)), Some((Some(&[0, 1, 2]), Some(7)))];
    for (third, other, page) in thirds
        .iter()
        .flat_map(|third| filters.iter().flat_map(move |other| [1, 2, 3, 10].map(|page| (third, *other, page))))
    {
        let mut judges = vec![Some(&[0, 2][..]), other];
        let mut rows = vec![None, Some(7)];
        judges.extend(third.map(|(judge, _)| judge));
        rows.extend(third.map(|(_, row)| row));
        let (cluster, settings) = nodes(&judges, &rows);
        let write = |node: usize, value: Option<i64>| {
            later();
            assert!(cluster.databases[node].lock().write(1, value, false));
        };
        write(1, Some(8));
        write(0, Some(9));
        cluster.databases[1].lock().changing = true;
        drop(cluster.block(cluster.session(settings, 10).cycle()));
        cluster.databases[1].lock().changing = false;
        assert_eq!(cluster.rows()[0], [(1, 9)]);
        write(0, None);
        (0..4).for_each(|_| drop(cluster.block(cluster.session(settings, page).sync())));
        let ends = format!("{third:?} {other:?} {page}: {:?}", cluster.rows());
        assert!(lost(&cluster).contains(&8), "{ends}");
        let left = cluster.rows().iter().flatten().next().copied();
        for (node, judge) in judges.iter().enumerate() {
            let takes = |value| judge.is_none_or(|takes| Remainder::new(node, takes.iter().copied()).takes(value));
            let belongs: Vec<(i64, i64)> = left.into_iter().filter(|(_, value)| takes(*value)).collect();
            assert_eq!(cluster.rows()[node], belongs, "{ends}");
        }
    }
}

/// Who only changed what was made has not weighed it against what is hidden.
#[test]
fn what_was_changed_and_deleted_came_and_went() {
    let (cluster, settings) = nodes(&[Some(&[0]), Some(&[0]), None], &[None, None, Some(5)]);
    let sync = || (0..2).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync())));
    let write = |node: usize, value: Option<i64>| {
        later();
        assert!(cluster.databases[node].lock().write(1, value, false));
    };
    let up = |node: usize, up: bool| cluster.databases[node].lock().up = up;
    up(2, false);
    write(0, Some(6));
    sync();
    write(1, Some(9));
    sync();
    write(0, None);
    up(1, false);
    up(2, true);
    sync();
    assert_eq!(cluster.rows()[2], [(1, 5)]);
    up(1, true);
    sync();
    assert_eq!(cluster.rows(), [vec![], vec![], vec![(1, 5)]]);
    assert_eq!(lost(&cluster), [].into());
}

/// A node that has taken a delete goes on knowing that while something else waits there, and says so where that is given up.
#[test]
fn a_delete_stays_one_beside_what_waits() {
    let (cluster, settings) = nodes(&[None, None, Some(&[0, 1]), Some(&[0])], &[Some(4), Some(4), Some(4), None]);
    let with = |there: &[usize]| {
        (0..4).for_each(|node| cluster.databases[node].lock().up = there.contains(&node));
        drop(cluster.block(cluster.session(settings, 10).sync()));
    };
    let write = |node: usize, value: Option<i64>| {
        later();
        assert!(cluster.databases[node].lock().write(1, value, false));
    };
    write(1, None);
    with(&[1, 2, 3]);
    cluster.databases[2].lock().refuses = Some(6);
    write(3, Some(6));
    with(&[2, 3]);
    cluster.block(cluster.session(settings, 10).drop_parked(|_| true)).unwrap();
    (0..2).for_each(|_| with(&[0, 2]));
    cluster.databases[2].lock().refuses = None;
    with(&[0, 1, 2, 3]);
    assert_eq!(cluster.rows(), [[], [], [], []]);
}
