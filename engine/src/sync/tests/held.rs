//! Rows that a user is changing while they are to become changes of their own.

use super::cluster::{Cluster, later};
use crate::error::Error;
use crate::sync::load::LoadOptions;

const LATEST: &str = "\"latest-wins\"";

fn sync(cluster: &Cluster) {
    (0..3).for_each(|_| drop(cluster.block(cluster.session(LATEST, 10).sync())));
}

/// A user changes the row of the first node to 7, and it is tried before and after he commits.
fn beside_a_user(cluster: &Cluster, work: impl Fn() -> Result<(), Error>) {
    later();
    assert!(cluster.databases[0].lock().write(1, Some(7), true));
    assert!(matches!(work(), Err(Error::Unreachable(_))));
    sync(cluster);
    cluster.databases[1].lock().refuses = None;
    cluster.databases[0].lock().commit(0);
    work().unwrap();
    sync(cluster);
    assert_eq!(cluster.rows(), [[(1, 7)], [(1, 7)], [(1, 7)]]);
}

/// Nodes of which the first and the last have the row 5.
fn nodes(second: Option<i64>) -> Cluster {
    let cluster = Cluster::new(3, &[(1, 5)]);
    cluster.databases[1].lock().rows = second.map(|value| (1, value)).into_iter().collect();
    cluster.block(cluster.session(LATEST, 10).install()).unwrap();
    cluster
}

#[test]
fn a_load_hands_over_no_row_that_a_user_is_changing() {
    let cluster = nodes(None);
    cluster.databases[1].lock().refuses = Some(5);
    beside_a_user(&cluster, || {
        cluster.block(cluster.session(LATEST, 10).load(&LoadOptions::default(), &mut |_| ())).map(drop)
    });
}

#[test]
fn nothing_is_given_up_beside_a_row_that_a_user_is_changing() {
    let cluster = nodes(Some(5));
    cluster.databases[0].lock().refuses = Some(8);
    assert!(cluster.databases[1].lock().write(1, Some(8), false));
    sync(&cluster);
    assert_eq!(cluster.databases[0].lock().parked.len(), 1);
    cluster.databases[1].lock().refuses = Some(5);
    beside_a_user(&cluster, || cluster.block(cluster.session(LATEST, 10).drop_parked(|_| true)).map(drop));
}
