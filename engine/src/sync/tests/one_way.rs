//! Tables that go one way: what users make of rows at the nodes that only take them stays there.

use super::cluster::Cluster;
use super::files;
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

/// GIVEN a row of the source that one target has taken, by its filter, and another refuses
/// WHEN it is deleted or moved out of that filter while the other is away, and the source is away when that takes what waited
/// THEN the first does not get it back, and in the end all is as at the source.
#[test]
fn what_a_filtered_target_gave_up_does_not_come_back_from_what_waits() {
    const FILTERED_AT_A: &str =
        "\"latest-wins\"\nfrom = \"b\"\n[tables.t.nodes.a]\nfilter = { plugin = \"remainder\", at = 0, is = [1] }";
    for change in [None, Some(8)] {
        let cluster = Cluster::new(3, &[]);
        let sync = || cluster.block(cluster.session(FILTERED_AT_A, 10).sync()).unwrap();
        let set_up = |at: usize, up: bool| cluster.databases[at].lock().up = up;
        cluster.block(cluster.session(FILTERED_AT_A, 10).install()).unwrap();
        cluster.databases[2].lock().refuses = Some(7);
        assert!(cluster.databases[1].lock().write(1, Some(7), false));
        assert_eq!((sync().waiting, values(&cluster)), (1, vec![Some(7), Some(7), None]), "{change:?}");
        set_up(2, false);
        assert!(cluster.databases[1].lock().write(1, change, false));
        sync();
        assert_eq!(values(&cluster), [None, change, None], "{change:?}");
        cluster.databases[2].lock().refuses = None;
        set_up(1, false);
        set_up(2, true);
        assert_eq!((sync().waiting, values(&cluster)), (0, vec![None, change, Some(7)]), "{change:?}");
        set_up(1, true);
        assert_eq!((sync().waiting, values(&cluster)), (0, vec![None, change, change]), "{change:?}");
    }
}

/// GIVEN a row of the source that waits at a target with a filter, and belongs at no other
/// WHEN it is to be given up there while the source is away
/// THEN it is not, as it stands nowhere else; and once the source is back it is given up there alone.
#[test]
fn what_only_the_source_has_is_not_given_up_while_that_is_away() {
    const ALL_FILTERED: &str = "\"latest-wins\"\nfrom = \"b\"\n[tables.t.nodes.a]\nfilter = { plugin = \"remainder\", at = 0, is = [0] }\n\
                                [tables.t.nodes.c]\nfilter = { plugin = \"remainder\", at = 2, is = [0, 1, 2] }";
    let cluster = Cluster::new(3, &[]);
    let sync = || cluster.block(cluster.session(ALL_FILTERED, 10).sync()).unwrap();
    let give_up = || cluster.block(cluster.session(ALL_FILTERED, 10).drop_parked(|row| row.node == "c"));
    cluster.block(cluster.session(ALL_FILTERED, 10).install()).unwrap();
    cluster.databases[2].lock().refuses = Some(7);
    assert!(cluster.databases[1].lock().write(1, Some(7), false));
    assert_eq!((sync().waiting, values(&cluster)), (1, vec![None, Some(7), None]));
    cluster.databases[1].lock().up = false;
    let why = give_up().unwrap_err().to_string();
    assert!(why.contains("stands at no node that is there"), "{why}");
    cluster.databases[1].lock().up = true;
    let dropped = give_up().unwrap();
    assert!(dropped.len() == 1 && dropped[0].alone, "{dropped:?}");
    assert!(cluster.databases[2].lock().parked.is_empty());
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

/// GIVEN a trigger that may end whole transactions
/// WHEN it is on a table at its only source, to which nothing is ever written, and then at a target
/// THEN the first disturbs nobody, and the second is refused.
#[tokio::test]
async fn what_a_write_sets_off_is_no_matter_where_nothing_is_written() {
    let (_folder, databases, mut session) = files::two(
        "CREATE TABLE prices (id INTEGER PRIMARY KEY, price INTEGER); CREATE TABLE log (x UNIQUE)",
        "[tables.prices]\nfrom = \"a\"\n",
    );
    let trigger =
        "CREATE TRIGGER note AFTER INSERT ON prices BEGIN INSERT OR ROLLBACK INTO log VALUES (NEW.price); END";
    databases[0].execute_batch(trigger).expect("the tables are there");
    session.install().await.expect("nothing is written there");
    databases[0].execute_batch("INSERT INTO prices VALUES (1, 5)").expect("nobody has logged it");
    let summary = session.sync().await.expect("both are there");
    assert!(summary.stopped.is_empty(), "{summary:?}");
    let price: i64 = databases[1].query_row("SELECT price FROM prices", [], |row| row.get(0)).expect("it has come");
    assert_eq!(price, 5);
    databases[1].execute_batch(trigger).expect("the tables are there");
    let refused = session.install().await.expect_err("rows are written there").to_string();
    assert!(refused.contains("the danger that the trigger `note` ends"), "{refused}");
}
