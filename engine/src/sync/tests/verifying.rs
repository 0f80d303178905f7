//! Comparing while another engine carries: the snapshots of two nodes are not of one moment, and what one shows already and
//! the other not yet is no difference.

use super::cluster::Cluster;
use crate::sync::memory::State;
use crate::sync::verify::{Repair, Verify};

/// Two nodes, the second with changes of the first that have just been carried; and what each was before that.
fn carried(late: bool) -> (Cluster, State, State) {
    let cluster = Cluster::new(2, &[(1, 1), (2, 2)]);
    let session = || cluster.session("\"latest-wins\"", 10);
    let write = |id: i64, value: i64, late: bool| assert!(cluster.databases[0].lock().write(id, Some(value), late));
    cluster.block(session().install()).unwrap();
    if late {
        // It ends when others that began later have been carried.
        write(1, 10, true);
    }
    write(2, 20, false);
    cluster.block(session().sync()).unwrap();
    if late {
        // What the target has passed in the end by mark and by number, so that it proves nothing.
        write(2, 30, false);
    }
    let before = |at: usize| cluster.databases[at].lock().clone();
    let (first, second) = (before(0), before(1));
    if late {
        cluster.databases[0].lock().commit(0);
    } else {
        write(1, 10, false);
    }
    cluster.block(session().sync()).unwrap();
    let expected = [(1, 10), (2, if late { 30 } else { 20 })];
    assert!(cluster.rows().iter().all(|rows| *rows == expected), "{:?}", cluster.rows());
    (cluster, first, second)
}

/// However many snapshots of the node at a place show an earlier moment, one after the other in this order.
fn no_difference(cluster: &Cluster, at: usize, pattern: &[Option<State>]) {
    for count in 0..=8 {
        let shown = (0..count).flat_map(|_| pattern.iter().cloned()).collect();
        cluster.databases[at].lock().shown = shown;
        let mut session = cluster.session("\"latest-wins\"", 10);
        let verified = cluster.block(session.verify(&Verify::default())).unwrap();
        assert_eq!((verified.exit_code(), verified.tables[0].differences), (0, 0), "{count}: {verified:?}");
    }
}

/// The target has applied what the source's snapshot does not show, though it shows later transactions.
#[test]
fn what_the_target_shows_already_is_no_difference() {
    let (cluster, first, _) = carried(true);
    no_difference(&cluster, 0, &[Some(first)]);
}

/// The target's snapshot does not show what the source has purged, because the target has applied it since. That it was not
/// put back is told by a second look; the third is another such pair.
#[test]
fn what_the_target_does_not_show_yet_is_no_difference() {
    let (cluster, _, second) = carried(false);
    no_difference(&cluster, 1, &[Some(second.clone()), None, Some(second)]);
}

/// A table that is named twice is compared once: a plan has each key once.
#[test]
fn tables_are_compared_once() {
    let cluster = Cluster::new(2, &[(1, 1)]);
    cluster.block(cluster.session("\"latest-wins\"", 10).install()).unwrap();
    let how = Verify { tables: vec!["t".to_owned(); 2], ..Verify::default() };
    let verified = cluster.block(cluster.session("\"latest-wins\"", 10).verify(&how)).unwrap();
    assert_eq!(verified.tables.len(), 1, "{verified:?}");
}

/// Of two lines about one key the last would be what stands, and both would count.
#[test]
fn a_plan_has_each_key_once() {
    let cluster = Cluster::new(2, &[(1, 1), (2, 2)]);
    let session = || cluster.session("\"latest-wins\"", 10);
    cluster.block(session().install()).unwrap();
    cluster.databases[1].lock().rows.insert(1, 5);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.jsonl");
    let how = Verify { repair: Repair::Plan(file.clone()), prefer: Some("a".to_owned()), ..Verify::default() };
    cluster.block(session().verify(&how)).unwrap();
    let plan = std::fs::read_to_string(&file).unwrap();
    let line = plan.lines().nth(1).unwrap();
    let other = line.replace("\"b\":{\"id\":1,\"value\":1}", "\"b\":{\"id\":1,\"value\":7}");
    assert_ne!(line, other);
    std::fs::write(&file, format!("{plan}\n{other}\n")).unwrap();
    let error = cluster.block(session().carry_out_plan(&file, 0)).unwrap_err();
    let says = ":4: line 2 is about this key of `t` already";
    assert!(error.exit_code() == 2 && error.to_string().contains(says), "{error}");
    assert_eq!(cluster.rows(), [vec![(1, 1), (2, 2)], vec![(1, 5), (2, 2)]]);
    std::fs::write(&file, plan).unwrap();
    cluster.block(session().carry_out_plan(&file, 0)).unwrap();
    assert_eq!(cluster.rows(), vec![vec![(1, 1), (2, 2)]; 2]);
}
