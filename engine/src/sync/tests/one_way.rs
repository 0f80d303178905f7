//! Tables that go one way: what users make of rows at the nodes that only take them stays there.

use super::cluster::Cluster;
use crate::sync::WhyState;

const FROM_B: &str = "\"latest-wins\"\nfrom = \"b\"";

/// The same, with a filter by which all rows belong at the last of three nodes.
const FILTERED: &str =
    "\"latest-wins\"\nfrom = \"b\"\n[tables.t.nodes.c]\nfilter = { plugin = \"remainder\", at = 2, is = [0, 1, 2] }";

/// What stands under the key 1.
fn values(cluster: &Cluster) -> Vec<Option<i64>> {
    cluster.databases.iter().map(|database| database.lock().rows.get(&1).copied()).collect()
}

/// GIVEN a row of the source that one target has taken and another refuses
/// WHEN a user changes or deletes it at the one, and nothing is in its way any more at the other, while the source may be away
/// THEN the other gets what came from the source.
#[test]
fn what_waits_is_not_filled_from_another_target() {
    for settings in [FROM_B, FILTERED] {
        for (change, away) in [(Some(8), false), (None, false), (Some(8), true), (None, true)] {
            let cluster = Cluster::new(3, &[]);
            let sync = || cluster.block(cluster.session(settings, 10).sync()).unwrap();
            cluster.block(cluster.session(settings, 10).install()).unwrap();
            cluster.databases[2].lock().refuses = Some(7);
            assert!(cluster.databases[1].lock().write(1, Some(7), false));
            assert_eq!((sync().waiting, values(&cluster)), (1, vec![Some(7), Some(7), None]));
            assert!(cluster.databases[0].lock().write(1, change, false));
            cluster.databases[2].lock().refuses = None;
            cluster.databases[1].lock().up = !away;
            let waiting = sync().waiting;
            let what = format!("{settings}: {change:?}, away: {away}");
            assert_eq!((waiting, values(&cluster)), (0, vec![change, Some(7), Some(7)]), "{what}");
        }
    }
}

/// What cannot be read at the source is not to be had from a target, whatever that has passed.
#[test]
fn what_is_owed_is_not_filled_from_another_target() {
    let cluster = Cluster::new(4, &[(1, 1)]);
    let sync = || cluster.block(cluster.session(FROM_B, 10).sync()).unwrap();
    cluster.block(cluster.session(FROM_B, 10).install()).unwrap();
    let set_up = |at: usize, up: bool| cluster.databases[at].lock().up = up;
    // The first and third wait for what nobody can read; the last takes it when somebody can, while the third is away.
    cluster.databases[1].lock().unreadable = Some(7);
    set_up(3, false);
    assert!(cluster.databases[1].lock().write(1, Some(7), false));
    sync();
    cluster.databases[1].lock().unreadable = None;
    set_up(2, false);
    set_up(3, true);
    sync();
    assert!(cluster.databases[3].lock().write(1, Some(9), false));
    set_up(1, false);
    set_up(2, true);
    sync();
    assert_eq!(values(&cluster), [Some(7), Some(7), Some(1), Some(9)]);
    set_up(1, true);
    assert_eq!((sync().waiting, values(&cluster)), (0, vec![Some(7), Some(7), Some(7), Some(9)]));
}

#[test]
fn why_goes_by_the_source() {
    let cluster = Cluster::new(3, &[(1, 1)]);
    cluster.block(cluster.session(FROM_B, 10).install()).unwrap();
    assert!(cluster.databases[0].lock().write(1, Some(8), false));
    let told = cluster.block(cluster.session(FROM_B, 10).why("t", &["1".to_owned()])).unwrap();
    let states: Vec<WhyState> = told.nodes.iter().map(|node| node.state).collect();
    assert_eq!(states, [WhyState::Differs, WhyState::Current, WhyState::Current], "{told:?}");
    assert_eq!(told.versions[0].row, Some(serde_json::json!({ "id": 1, "value": 1 })));
}

/// GIVEN a change that one target has taken, and of which the history tells as another is away
/// WHEN a user changes the row there
/// THEN that node is not told to have what the source has.
#[test]
fn why_tells_what_a_user_made_of_what_had_come() {
    let cluster = Cluster::new(3, &[(1, 1)]);
    let session = || cluster.session(FROM_B, 10);
    cluster.block(session().install()).unwrap();
    cluster.databases[2].lock().up = false;
    assert!(cluster.databases[1].lock().write(1, Some(7), false));
    cluster.block(session().sync()).unwrap();
    for (made, state) in [(None, WhyState::Current), (Some(8), WhyState::Differs)] {
        if made.is_some() {
            assert!(cluster.databases[0].lock().write(1, made, false));
        }
        let told = cluster.block(session().why("t", &["1".to_owned()])).unwrap();
        let states: Vec<WhyState> = told.nodes.iter().map(|node| node.state).collect();
        assert_eq!(states, [state, WhyState::Current], "{told:?}");
        assert_eq!(told.versions[0].row, Some(serde_json::json!({ "id": 1, "value": 7 })));
    }
}
