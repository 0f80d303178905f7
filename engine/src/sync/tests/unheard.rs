//! Rows that are put off beside a hidden one, which is known only to their maker, who changes them once more before it is weighed.

use super::cluster::{Cluster, later};
use super::hidden::{lost, moved_on, nodes};
use crate::model::ParkedCode;

/// The maker changes the row once more, of which the first change is purged, and all syncs go on.
fn change_once_more(cluster: &Cluster, settings: &'static str, holder: usize) {
    assert_eq!(cluster.databases[holder].lock().parked[&1].code, ParkedCode::Unheard);
    later();
    assert!(cluster.databases[0].lock().write(1, Some(9), false));
    (0..3).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync())));
    assert_eq!(cluster.rows()[holder], [(1, 9)]);
    assert!(lost(cluster).contains(&5), "{:?}", lost(cluster));
}

#[test]
fn a_hidden_row_is_weighed_also_where_another_could_not_be_read_and_is_changed() {
    let (cluster, settings) = nodes(&[Some(&[0]), None], &[None, Some(5)]);
    later();
    assert!(cluster.databases[0].lock().write(1, Some(6), false));
    cluster.databases[0].lock().unreadable = Some(6);
    // A user has the row until it is looked at, and until it is to be locked.
    cluster.databases[1].lock().holds = 2;
    drop(cluster.block(cluster.session(settings, 10).cycle()));
    cluster.databases[0].lock().unreadable = None;
    change_once_more(&cluster, settings, 1);
}

#[test]
fn a_hidden_row_is_weighed_also_where_another_waits_with_other_columns_and_is_changed() {
    let (cluster, settings) = nodes(&[Some(&[0]), None], &[None, Some(5)]);
    later();
    assert!(cluster.databases[0].lock().write(1, Some(6), false));
    cluster.databases[1].lock().holds = 2;
    drop(cluster.block(cluster.session(settings, 10).cycle()));
    // As `Parked::with_row` has it after an install with other columns.
    cluster.databases[1].lock().parked.get_mut(&1).unwrap().code = ParkedCode::Unheard;
    change_once_more(&cluster, settings, 1);
}

#[test]
fn a_hidden_row_is_weighed_also_where_another_has_moved_on_and_is_changed() {
    let (cluster, settings) = moved_on(false);
    change_once_more(&cluster, settings, 2);
}
