//! Tables that stand still and nodes that do not take their part: the rest goes on, and it is told.

use super::cluster::Cluster;

#[test]
fn a_table_that_was_seen_to_goes_on() {
    let cluster = Cluster::new(2, &[(1, 1)]);
    cluster.block(cluster.session("\"latest-wins\"", 10).install()).unwrap();
    let mut session = cluster.session("\"latest-wins\"", 10);
    cluster.databases[1].lock().drift = Some("a trigger is missing".to_owned());
    cluster.databases[0].lock().write(1, Some(2), false);
    let cycle = cluster.block(session.cycle()).unwrap();
    assert_eq!((cycle.stopped.len(), cluster.databases[1].lock().rows[&1]), (1, 1));
    cluster.databases[1].lock().drift = None;
    // As after a while.
    session.adopted = None;
    let cycle = cluster.block(session.cycle()).unwrap();
    assert_eq!((cycle.stopped.len(), cluster.databases[1].lock().rows[&1]), (0, 2));
}

#[test]
fn a_node_that_could_not_take_its_part_is_no_success() {
    let cluster = Cluster::new(2, &[(1, 1)]);
    cluster.block(cluster.session("\"latest-wins\"", 10).install()).unwrap();
    cluster.databases[1].lock().changing = true;
    cluster.databases[0].lock().write(1, Some(2), false);
    let mut session = cluster.session("\"latest-wins\"", 10);
    let summary = cluster.block(session.sync()).unwrap();
    assert!(summary.failed.is_some());
    assert_eq!(summary.exit_code(), crate::error::ATTENTION);
    cluster.databases[1].lock().changing = false;
    let summary = cluster.block(session.sync()).unwrap();
    assert_eq!((summary.exit_code(), cluster.databases[1].lock().rows[&1]), (crate::error::DONE, 2));
}

/// Whoever is alone knows of nobody who has passed anything.
#[test]
fn what_is_pending_is_counted_where_nobody_else_is_there() {
    let cluster = Cluster::new(2, &[(1, 1), (2, 1)]);
    cluster.block(cluster.session("\"latest-wins\"", 10).install()).unwrap();
    (1..3).for_each(|id| assert!(cluster.databases[0].lock().write(id, Some(2), false)));
    cluster.databases[1].lock().up = false;
    let status = cluster.block(cluster.session("\"latest-wins\"", 10).status()).unwrap();
    let line = status.tables.iter().find(|line| line.table == "t").expect("a line");
    assert_eq!((line.node.as_str(), line.pending, line.kept, line.lag.is_some()), ("a", 2, 2, true));
}
