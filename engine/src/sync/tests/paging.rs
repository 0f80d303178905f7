//! Histories that are read in parts.

use super::cluster::{Cluster, later};

/// Who changed a row knowingly is not weighed against what he changed, also where that waits at the node of a change that lies
/// beyond what was read there, and nobody else is there to tell.
#[test]
fn what_waits_has_seen_what_it_was_made_upon_however_little_was_read() {
    for policy in ["\"latest-wins\"", "\"earliest-wins\"", "{ prefer = [\"b\"] }", "\"park\""] {
        for value in [Some(9), None] {
            let cluster = Cluster::new(3, &[(1, 0), (2, 0)]);
            let sync = |page| drop(cluster.block(cluster.session(policy, page).sync()).unwrap());
            let away = |node: usize, is: bool| cluster.databases[node].lock().up = !is;
            let write = |node: usize, key, value| {
                later();
                assert!(cluster.databases[node].lock().write(key, value, false));
            };
            cluster.block(cluster.session(policy, 20).install()).unwrap();
            away(0, true);
            // More than is read at once, of which others hear as of one change.
            (1..=8).for_each(|number| write(1, 2, Some(number)));
            write(1, 1, Some(8));
            sync(20);
            write(2, 1, value);
            away(0, false);
            // The first node, for which all of that is read, takes nothing.
            cluster.databases[0].lock().changing = true;
            cluster.block(cluster.session(policy, 3).cycle()).unwrap();
            cluster.databases[0].lock().changing = false;
            assert!(cluster.databases[1].lock().parked.contains_key(&1), "{policy}: it was read at once");
            away(2, true);
            sync(20);
            let expected: Vec<(i64, i64)> = value.map(|value| (1, value)).into_iter().chain([(2, 8)]).collect();
            assert_eq!(cluster.rows()[..2], [expected.clone(), expected.clone()], "{policy}");
            away(2, false);
            sync(20);
            assert_eq!(cluster.rows(), [expected.clone(), expected.clone(), expected], "{policy}");
            assert!(cluster.databases.iter().all(|database| database.lock().journal.is_empty()), "{policy}");
        }
    }
}
