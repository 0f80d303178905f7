//! What a watch of two nodes goes on over, and what it ends for.

use std::time::Duration;

use tokio::sync::Notify;

use super::cluster::Cluster;
use super::filters::{Remainder, settings};
use crate::error::{Error, Result};
use crate::model::time;
use crate::sync::attendance::Away;
use crate::sync::memory::SECOND;
use crate::sync::session::Session;

/// Two nodes at which everything is right, and a session that looks again at once.
fn two() -> (Cluster, Session) {
    // What rests does so for some looks at the clock.
    time::step(1_000_000);
    let cluster = Cluster::new(2, &[(1, 1)]);
    let mut session = cluster.session("\"latest-wins\"", 10);
    cluster.block(session.install()).unwrap();
    session.look_again = Duration::from_millis(2);
    (cluster, session)
}

/// Watches until so many cycles were told, and does something after each: how that ended, and who was left out of each.
fn watched(
    cluster: &Cluster,
    session: &mut Session,
    most: usize,
    mut then: impl FnMut(usize),
) -> (Result<()>, Vec<Vec<Away>>) {
    let enough = Notify::new();
    let mut told = Vec::new();
    let ended = cluster.block(session.watch(Duration::from_millis(1), enough.notified(), |cycle| {
        told.push(cycle.away.clone());
        then(told.len());
        if told.len() == most {
            enough.notify_one();
        }
    }));
    (ended, told)
}

/// GIVEN a watch of two nodes that went well
/// WHEN one of them is not what it was, as while a file is being put back, and then is again
/// THEN the watch tells who is left out, goes on, and takes the node up again.
#[test]
fn a_watch_goes_on_over_what_may_be_put_right() {
    let (cluster, mut session) = two();
    let known = cluster.databases[1].lock().service.clone();
    let (ended, told) = watched(&cluster, &mut session, 60, |cycles| match cycles {
        1 => cluster.databases[1].lock().service = None,
        6 => {
            let mut state = cluster.databases[1].lock();
            state.service.clone_from(&known);
            assert!(state.write(1, Some(2), false));
        }
        _ => {}
    });
    ended.unwrap();
    assert!(told[0].is_empty() && told[59].is_empty(), "{told:?}");
    for away in &told[1..6] {
        assert_eq!(away.iter().map(|away| (&*away.node, away.unreachable)).collect::<Vec<_>>(), [("b", false)]);
    }
    assert_eq!(cluster.rows()[0], [(1, 2)]);
}

/// GIVEN tables that were carried, of which one has a plugin
/// WHEN they are set up anew because one stood still, and the plugin cannot be opened at that moment, nor when all nodes were away for
/// a while
/// THEN its table stands still, the other goes on, and so does the first once the plugin can be opened.
#[test]
fn a_plugin_that_cannot_be_opened_later_stops_its_table() {
    let cluster = Cluster::new(2, &[(1, 1)]);
    let filtered = settings("\"latest-wins\"", &[None, Some(Remainder::new(1, [0, 1, 2]))]);
    let mut session = cluster.session(filtered, 10);
    cluster.block(session.install()).unwrap();
    session.look_again = Duration::ZERO;
    let stopped = |session: &mut Session| cluster.block(session.cycle()).unwrap().stopped;
    assert_eq!(stopped(&mut session), []);
    cluster.databases[0].lock().drift = Some("a column was added".to_owned());
    assert_eq!(stopped(&mut session).len(), 1);
    cluster.databases[0].lock().drift = None;
    let plugins = std::mem::take(&mut session.plugins.native);
    assert!(cluster.databases[0].lock().write(SECOND, Some(7), false));
    let stands = stopped(&mut session);
    assert!(stands.len() == 1 && stands[0].table == "t", "{stands:?}");
    assert!(
        stands[0].why.starts_with("plugin `remainder`") && stands[0].why.contains("it is tried again"),
        "{stands:?}"
    );
    assert_eq!(cluster.databases[1].lock().rows.get(&SECOND), Some(&7));
    assert_eq!(stopped(&mut session), stands);
    // It is no matter of the file either after nobody was there to be asked for a while.
    let set_up = |up: bool| cluster.databases.iter().for_each(|database| database.lock().up = up);
    set_up(false);
    for _ in 0..2 {
        drop(cluster.block(session.cycle()));
    }
    assert_eq!(session.away().len(), 2);
    set_up(true);
    assert_eq!(stopped(&mut session), stands);
    session.plugins.native = plugins;
    assert!(cluster.databases[0].lock().write(1, Some(2), false));
    assert_eq!(stopped(&mut session), []);
    assert_eq!(cluster.databases[1].lock().rows.get(&1), Some(&2));
}

/// At the start it may be the file that is wrong, and nobody knows better.
#[test]
fn a_watch_does_not_begin_over_what_is_wrong() {
    let (cluster, mut session) = two();
    cluster.databases[1].lock().service = None;
    let (ended, told) = watched(&cluster, &mut session, 5, |_| ());
    assert!(matches!(ended, Err(Error::Refused(_))) && told.is_empty(), "{ended:?}");
}

/// An engine with the former file ends once nodes are installed for another.
#[test]
fn a_watch_ends_when_another_file_is_meant() {
    let (cluster, mut session) = two();
    let (ended, told) = watched(&cluster, &mut session, 20, |_| {
        if let Some(service) = &mut cluster.databases[1].lock().service {
            service.nodes = ["a", "b", "c"].map(str::to_owned).to_vec();
        }
    });
    assert!(matches!(ended, Err(Error::Refused(_))), "{ended:?}");
    assert_eq!(told.len(), 1);
}
