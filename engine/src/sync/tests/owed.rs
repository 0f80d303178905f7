//! What waits for an outcome keeps when the latest of what it is to come of was made.

use super::cluster::{Cluster, later};
use super::hidden::nodes;
use crate::model::ParkedCode;

/// In one cycle for which the databases are as `set` makes them first.
fn cycle_while(cluster: &Cluster, settings: &'static str, set: impl Fn(&Cluster, bool)) {
    set(cluster, true);
    drop(cluster.block(cluster.session(settings, 10).cycle()));
    set(cluster, false);
}

fn sync(cluster: &Cluster, settings: &'static str) {
    (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync())));
}

/// The node of the latest change takes no part in the batch by which the others come to wait, and its entry is purged.
#[test]
fn the_latest_change_stays_the_latest() {
    for (count, filter) in [(2, None), (3, None), (2, Some(&[0, 1, 2][..]))] {
        let mut filters: Vec<Option<&[i64]>> = vec![None; count];
        filters[0] = filter;
        let (cluster, settings) = nodes(&filters, &vec![Some(5); count]);
        for (node, value) in [(0, 6), (1, 9)] {
            later();
            assert!(cluster.databases[node].lock().write(1, Some(value), false));
        }
        cycle_while(&cluster, settings, |cluster, odd| {
            cluster.databases[0].lock().unreadable = odd.then_some(6);
            cluster.databases[1].lock().changing = odd;
        });
        sync(&cluster, settings);
        assert_eq!(cluster.rows(), vec![vec![(1, 9)]; count], "{count} {filter:?}");
    }
}

/// What waits to be weighed has the only copy of the time when it was made.
#[test]
fn so_does_what_was_to_be_weighed() {
    let (cluster, settings) = nodes(&[Some(&[0]), None, None], &[None, Some(5), Some(5)]);
    later();
    assert!(cluster.databases[0].lock().write(1, Some(6), false));
    cycle_while(&cluster, settings, |_, _| ());
    assert_eq!(cluster.databases[1].lock().parked[&1].code, ParkedCode::Unweighed);
    cycle_while(&cluster, settings, |cluster, odd| {
        cluster.databases[2].lock().unreadable = odd.then_some(5);
        cluster.databases[0].lock().up = !odd;
    });
    sync(&cluster, settings);
    assert_eq!(cluster.rows(), vec![vec![(1, 6)]; 3]);
}
