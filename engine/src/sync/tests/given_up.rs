//! Rows that a node gave up by its filter, for changes that are away when others come.

use super::cluster::later;
use super::hidden::nodes;

/// The node has to wait with what comes then, as it does not know what becomes of it beside the change for which it gave up the row.
#[test]
fn what_comes_after_a_row_was_given_up_is_not_passed() {
    for (count, last) in [(3, &[0, 1][..]), (4, &[0, 1, 3]), (4, &[0, 1]), (4, &[1, 3]), (4, &[])] {
        let filters: &[Option<&[i64]>] = &[None, None, Some(&[0, 1]), None];
        let (cluster, settings) = nodes(&filters[..count], &[Some(4); 4][..count]);
        let with = |there: &[usize]| {
            (0..count).for_each(|node| cluster.databases[node].lock().up = there.contains(&node));
            drop(cluster.block(cluster.session(settings, 10).sync()));
        };
        let write = |node: usize, value| {
            later();
            assert!(cluster.databases[node].lock().write(1, Some(value), false));
        };
        write(1, 5);
        with(&[1, 2]);
        assert_eq!(cluster.rows()[2], []);
        write(0, 6);
        for _ in 0..2 {
            with(&[0, 2]);
            assert_eq!(cluster.rows()[2], []);
            assert_eq!(cluster.databases[2].lock().parked.len(), 1);
        }
        with(last);
        (0..3).for_each(|_| with(&[0, 1, 2, 3]));
        assert_eq!(cluster.rows(), vec![vec![(1, 6)]; count], "{last:?}");
        assert!(cluster.databases.iter().all(|database| database.lock().parked.is_empty()));
    }
}

/// Without that, the node had the old row again, and who deleted or changed it there had not seen what it was given up for.
#[test]
fn an_old_row_does_not_come_back_where_it_was_given_up() {
    let (cluster, settings) = nodes(&[Some(&[0, 1]), None, None], &[Some(4); 3]);
    let with = |there: &[usize]| {
        (0..3).for_each(|node| cluster.databases[node].lock().up = there.contains(&node));
        (0..2).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync())));
    };
    later();
    assert!(cluster.databases[1].lock().write(1, Some(5), false));
    with(&[0, 1]);
    with(&[0, 2]);
    assert_eq!(cluster.rows(), [vec![], vec![(1, 5)], vec![(1, 4)]]);
    with(&[0, 1, 2]);
    assert_eq!(cluster.rows(), [vec![], vec![(1, 5)], vec![(1, 5)]]);
}

/// Passed before it is known what became of the change for which the row went, it would be missing for good.
#[test]
fn what_waits_for_what_a_row_was_given_up_for_is_not_dropped() {
    for there in [&[0, 2][..], &[0, 1, 2]] {
        for next in [&[][..], &[0, 1], &[0, 2], &[1, 2]] {
            let (cluster, settings) = nodes(&[None, None, Some(&[0, 1])], &[Some(4); 3]);
            let up = |there: &[usize]| {
                (0..3).for_each(|node| cluster.databases[node].lock().up = there.contains(&node));
            };
            let with = |there: &[usize]| {
                up(there);
                drop(cluster.block(cluster.session(settings, 10).sync()));
            };
            let write = |node: usize, value| {
                later();
                assert!(cluster.databases[node].lock().write(1, Some(value), false));
            };
            write(1, 5);
            with(&[1, 2]);
            write(0, 6);
            with(&[0, 2]);
            up(there);
            let dropped = cluster.block(cluster.session(settings, 10).drop_parked(|_| true));
            assert!(dropped.unwrap_err().to_string().contains("still to be weighed"));
            with(next);
            (0..3).for_each(|_| with(&[0, 1, 2]));
            assert_eq!(cluster.rows(), [[(1, 6)], [(1, 6)], [(1, 6)]], "{there:?} {next:?}");
        }
    }
}

/// Nothing stands there, which says nothing where a filter is, also of a row that belongs there: nobody is told of a delete.
#[test]
fn what_is_given_up_at_a_node_alone_is_told_so() {
    let (cluster, settings) = nodes(&[None, Some(&[0])], &[Some(3); 2]);
    let sync = || cluster.block(cluster.session(settings, 10).sync()).unwrap();
    cluster.databases[1].lock().refuses = Some(6);
    later();
    assert!(cluster.databases[0].lock().write(2, Some(6), false));
    assert_eq!(sync().waiting, 1);
    let dropped = cluster.block(cluster.session(settings, 10).drop_parked(|_| true)).unwrap();
    assert!(dropped.len() == 1 && dropped[0].alone, "{dropped:?}");
    cluster.databases[1].lock().refuses = None;
    sync();
    assert_eq!(cluster.rows(), [vec![(1, 3), (2, 6)], vec![(1, 3)]]);
}
