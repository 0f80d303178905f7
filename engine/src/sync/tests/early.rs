//! Rows that are written while others are still being read.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;

use super::cluster::Cluster;
use super::mapping::UNLUCKY;
use crate::model::{Cut, Key, Value, time};
use crate::node::apply::early::{self, Beginning, Early, Next, Ready};
use crate::node::apply::{self, Batch, Place};
use crate::node::{ErrorKind, Move, Node};
use crate::sync::cycle::Cycle;
use crate::sync::session::Session;

const ROWS: i64 = 40;

/// The values of rows, by their keys.
const VALUE: i64 = 200;

/// Tables of which nothing is read at the target, and such of which it is while rows are written there. All keep all rows as they are.
const TABLES: [&str; 4] = [
    PLAIN,
    "\"latest-wins\"\n[tables.t.nodes.b]\nfilter = { plugin = \"remainder\", at = 1, is = [0, 1, 2] }",
    "\"latest-wins\"\n[tables.t.nodes.b]\nmapping = { plugin = \"times\", by = 1 }",
    "\"latest-wins\"\n[tables.t.nodes.b]\nfilter = { plugin = \"remainder\", at = 1, is = [0, 1, 2] }\n\
     mapping = { plugin = \"times\", by = 1 }",
];

const PLAIN: &str = "\"latest-wins\"";

/// Two nodes, at the first of which rows are new.
fn changed(table: &str) -> Cluster {
    let mut cluster = Cluster::new(2, &[]);
    cluster.few = 1;
    cluster.block(session(&cluster, table).install()).unwrap();
    (0..ROWS).for_each(|id| assert!(cluster.databases[0].lock().write(id, Some(VALUE + id), false)));
    cluster
}

fn session(cluster: &Cluster, table: &str) -> Session {
    cluster.session(table, 1000)
}

/// Wherever the source breaks, nothing is left of what was written before.
#[test]
fn what_was_written_early_is_undone_if_the_rest_cannot_be_read() {
    for table in TABLES {
        let mut undone = 0;
        for calls in 0..80 {
            let cluster = changed(table);
            let mut session = session(&cluster, table);
            cluster.databases[0].lock().fuse = Some(calls);
            let cycle = cluster.block(session.cycle());
            let broke = cluster.databases[0].lock().fuse.is_none();
            let arrived = cluster.rows()[1].len();
            if broke && arrived == 0 && cluster.databases[1].lock().tries > 0 {
                undone += 1;
            }
            assert!(arrived == 0 || arrived == ROWS as usize, "after {calls} calls: {cycle:?}");
            cluster.databases[0].lock().fuse = None;
            cluster.block(session.sync()).unwrap();
            assert_eq!(cluster.rows()[1], cluster.rows()[0], "after {calls} calls");
        }
        // Whether a plugin has answered by then is a matter of threads.
        assert!(undone > 0 || table != PLAIN, "nothing was ever written early");
    }
}

/// Nor is anything if what is read at the target itself breaks.
#[test]
fn what_was_written_early_is_undone_if_what_stands_cannot_be_read() {
    for table in TABLES {
        for calls in 0..80 {
            let cluster = changed(table);
            let mut session = session(&cluster, table);
            cluster.databases[1].lock().fuse = Some(calls);
            let cycle = cluster.block(session.cycle());
            let arrived = cluster.rows()[1].len();
            assert!(arrived == 0 || arrived == ROWS as usize, "after {calls} calls: {cycle:?}");
            cluster.databases[1].lock().fuse = None;
            cluster.block(session.sync()).unwrap();
            assert_eq!(cluster.rows()[1], cluster.rows()[0], "after {calls} calls");
        }
    }
}

/// Nor do others feel it, also where both of its connections break.
#[test]
fn others_go_on_without_a_target_that_breaks_while_it_is_read_and_written() {
    for table in TABLES {
        for calls in 0..80 {
            let mut cluster = Cluster::new(3, &[]);
            cluster.few = 1;
            cluster.block(session(&cluster, table).install()).unwrap();
            (0..ROWS).for_each(|id| assert!(cluster.databases[0].lock().write(id, Some(VALUE + id), false)));
            let mut state = cluster.databases[1].lock();
            (state.fuse, state.dies) = (Some(calls), true);
            drop(state);
            let cycle = cluster.block(session(&cluster, table).cycle());
            assert!(cycle.is_ok(), "after {calls} calls, {table}: {cycle:?}");
        }
    }
}

/// It may be that a server waits long before it refuses.
#[test]
fn a_second_connection_is_not_asked_for_again_where_it_was_refused() {
    let table = TABLES[1];
    let cluster = changed(table);
    let mut session = session(&cluster, table);
    cluster.databases[1].lock().changing = true;
    let _ = cluster.block(session.cycle());
    cluster.databases[1].lock().changing = false;
    let tries = || cluster.databases[1].lock().tries;
    let before = tries();
    cluster.block(session.cycle()).unwrap();
    assert_eq!((cluster.rows()[1].len(), tries() - before), (ROWS as usize, 1));
}

/// A change that the snapshot did not show is a matter of the next cycle, and not written over.
#[test]
fn what_a_user_changed_meanwhile_is_not_overwritten_early() {
    for table in TABLES {
        let cluster = changed(table);
        cluster.block(session(&cluster, table).sync()).unwrap();
        (0..ROWS).for_each(|id| assert!(cluster.databases[0].lock().write(id, Some(300 + id), false)));
        let before = cluster.databases[1].lock().clone();
        time::pass(2_000_000);
        assert!(cluster.databases[1].lock().write(7, Some(1000), false));
        cluster.databases[1].lock().shown.push_back(Some(before));
        let mut session = session(&cluster, table);
        let cycle = cluster.block(session.cycle()).unwrap();
        assert_eq!((cycle.busy, cluster.rows()[1][7]), (1, (7, 1000)), "{cycle:?}");
        cluster.block(session.sync()).unwrap();
        assert_eq!(cluster.rows()[0][7], (7, 1000));
        assert_eq!(cluster.rows()[1], cluster.rows()[0]);
    }
}

/// What does not belong at a node, or cannot be mapped there, is left to the rest of the batch.
#[test]
fn what_plugins_keep_back_is_not_written_early() {
    let filtered = "\"latest-wins\"\n[tables.t.nodes.b]\nfilter = { plugin = \"remainder\", at = 1, is = [0, 2] }";
    let cluster = changed(filtered);
    cluster.block(session(&cluster, filtered).sync()).unwrap();
    assert!(cluster.rows()[1].iter().all(|(_, value)| value % 3 != 1));
    // Some come to belong there, and others no more.
    (0..ROWS).for_each(|id| assert!(cluster.databases[0].lock().write(id, Some(VALUE + id + 1), false)));
    let tries = cluster.databases[1].lock().tries;
    cluster.block(session(&cluster, filtered).sync()).unwrap();
    assert!(cluster.databases[1].lock().tries > tries);
    let kept: Vec<_> = cluster.rows()[0].iter().copied().filter(|(_, value)| value % 3 != 1).collect();
    assert_eq!(cluster.rows()[1], kept);

    let mapped = "\"latest-wins\"\n[tables.t.nodes.b]\nmapping = { plugin = \"times\", by = 100 }";
    let cluster = changed(mapped);
    assert!(cluster.databases[0].lock().write(5, Some(UNLUCKY), false));
    let summary = cluster.block(session(&cluster, mapped).sync()).unwrap();
    assert_eq!((summary.parked, summary.waiting), (1, 1), "{summary:?}");
    assert_eq!(cluster.rows()[1].len(), ROWS as usize - 1);
}

/// One row that is refused keeps nobody else back.
#[test]
fn a_row_that_is_refused_waits_although_others_were_written_early() {
    for table in TABLES {
        let tries = [1, usize::MAX].map(|few| {
            let mut cluster = changed(table);
            cluster.few = few;
            cluster.databases[1].lock().refuses = Some(VALUE + 30);
            let summary = cluster.block(session(&cluster, table).sync()).unwrap();
            assert_eq!((summary.parked, summary.waiting), (1, 1), "{summary:?}");
            assert_eq!(cluster.rows()[1].len(), ROWS as usize - 1);
            cluster.databases[1].lock().tries
        });
        assert!(tries[0] > tries[1], "nothing was written early: {table}");
    }
}

/// A source that is slow does not keep users of the target waiting.
#[test]
fn what_was_written_early_is_let_go_if_nothing_follows() {
    let Target { cluster, mut node, beginning } = target();
    let (rows, coming) = unbounded_channel();
    rows.send(row(1)).unwrap();
    let early = cluster.block(early::write(&mut *node, beginning, coming));
    assert!(matches!(early, Early::Nothing), "{early:?}");
    drop(rows);
    assert!(cluster.databases[1].lock().write(1, Some(56), false));
}

/// Nor does one that sends a little now and then.
#[test]
fn what_was_written_early_is_let_go_if_the_rest_is_long_in_coming() {
    let Target { cluster, mut node, beginning } = target();
    let (rows, coming) = unbounded_channel();
    let slowly = async {
        for number in 1..30 {
            rows.send(row(number)).unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let early = cluster.block(async {
        tokio::select! {
            early = early::write(&mut *node, beginning, coming) => early,
            () = slowly => panic!("it waits for ever"),
        }
    });
    assert!(matches!(early, Early::Nothing), "{early:?}");
    assert!(cluster.databases[1].lock().write(1, Some(56), false));
}

/// Users wait for rows that are locked, and for no entry that is being deleted.
#[test]
fn rows_are_given_free_before_entries_are_there_again() {
    let cluster = changed(PLAIN);
    let mut session = session(&cluster, PLAIN);
    let (source, target) = (&cluster.databases[0], &cluster.databases[1]);
    source.lock().deleting = true;
    let undone = cluster.block(async {
        session.prepare().await.unwrap();
        let (opened, all) = session.weigh(&mut Cycle::default(), &[]).await.unwrap().unwrap();
        let decided = session.decide(&Arc::new(opened), all, true, true).await.unwrap();
        let Ok((_, writing)) = decided else { panic!("few rows take little memory") };
        assert_eq!(writing.purging.len(), 1);
        while target.lock().tries == 0 {
            tokio::task::yield_now().await;
        }
        let rows: Vec<(i64, Option<i64>)> = (0..ROWS).map(|id| (id, Some(56))).collect();
        let user = async {
            while target.lock().write_all(&rows, false).is_none() {
                tokio::task::yield_now().await;
            }
            source.lock().deleting = false;
        };
        let undoing = async { tokio::join!(session.stop_writing(writing), user) };
        tokio::time::timeout(Duration::from_secs(5), undoing).await
    });
    assert!(undone.is_ok(), "rows stay locked until entries are there again");
}

/// Rows that come in small lots are gathered, so that statements are of the same length.
#[test]
fn rows_that_come_a_few_at_a_time_are_written_in_whole_steps() {
    let Target { cluster, mut node, beginning } = target();
    let (rows, coming) = unbounded_channel();
    let tries = cluster.databases[1].lock().tries;
    let beginning = Beginning { step: 10, ..beginning };
    let (early, ()) = cluster.block(async {
        tokio::join!(early::write(&mut *node, beginning, coming), async {
            for number in 0..15 {
                rows.send(row(number)).unwrap();
                for _ in 0..200 {
                    tokio::task::yield_now().await;
                }
            }
            rows.send(Next::End).unwrap();
        })
    });
    assert!(matches!(early, Early::Begun(_)), "{early:?}");
    assert_eq!(cluster.databases[1].lock().tries, tries + 2);
    cluster.block(node.commit()).unwrap();
    assert!((0..15).all(|id| cluster.rows()[1][id as usize] == (id, 55)));
}

/// What was decided before the source broke is not written for nothing.
#[test]
fn nothing_more_is_written_early_once_nobody_wants_it() {
    let Target { cluster, mut node, beginning } = target();
    let (rows, coming) = unbounded_channel();
    (0..20_000).for_each(|number| rows.send(row(number)).unwrap());
    drop(rows);
    let tries = cluster.databases[1].lock().tries;
    let early = cluster.block(early::write(&mut *node, beginning, coming));
    assert!(matches!(early, Early::Nothing), "{early:?}");
    assert_eq!(cluster.databases[1].lock().tries, tries);
}

/// The other nodes wait for the end of the cycle, so who was waited for early is not waited for as long once more.
#[test]
fn what_was_waited_for_early_counts() {
    let tries = |waited: Duration| {
        let cluster = changed(PLAIN);
        let mut node = cluster.databases[1].connect().unwrap();
        cluster.databases[1].lock().held = Some(0);
        let step = Move { table: "items".to_owned(), source: "a".to_owned(), from: Cut::START, to: Cut::START.into() };
        let batch = Batch { moves: vec![step], ..Batch::default() };
        let applying = apply::apply(&mut *node, &batch, Place::default(), Early::Warily(waited));
        let error = cluster.block(applying).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Locked);
        cluster.databases[1].lock().held
    };
    assert_eq!(tries(Duration::from_secs(6)), Some(1));
    assert!(tries(Duration::ZERO) > Some(1));
}

/// A target whose connection breaks is left to the next cycle, and not waited for a second time.
#[test]
fn a_target_that_breaks_is_left() {
    let mut broken = 0;
    for calls in 0..20 {
        let Target { cluster, mut node, beginning } = target();
        let (rows, coming) = unbounded_channel();
        (0..20).for_each(|number| rows.send(row(number)).unwrap());
        rows.send(Next::End).unwrap();
        cluster.databases[1].lock().fuse = Some(calls);
        let early = cluster.block(early::write(&mut *node, beginning, coming));
        match cluster.databases[1].lock().fuse {
            Some(_) => assert!(matches!(early, Early::Begun(_)), "after {calls} calls: {early:?}"),
            None => {
                let (Early::Unbegun(error) | Early::Failed(error)) = &early else {
                    panic!("after {calls} calls: {early:?}")
                };
                assert!(error.is_absence(), "after {calls} calls: {error}");
                broken += 1;
            }
        }
    }
    assert!((2..20).contains(&broken), "{broken}");
}

/// A node that has all rows, and what it is to know before the first that is written.
struct Target {
    cluster: Cluster,
    node: Box<dyn Node>,
    beginning: Beginning,
}

fn target() -> Target {
    let cluster = changed(PLAIN);
    let mut session = session(&cluster, PLAIN);
    cluster.block(session.sync()).unwrap();
    let node = cluster.databases[1].connect().unwrap();
    let spec = session.tables[0].spec(session.members[1].id).unwrap();
    let beginning = Beginning { step: 1, tables: vec![((**spec).clone(), None)], claimed: Vec::new() };
    Target { cluster, node, beginning }
}

/// A row that is ready to be written.
fn row(number: usize) -> Next {
    let id = number as i64;
    let key: Key = vec![Value::Int(id)].into();
    let row = Arc::new(vec![Value::Int(id), Value::Int(55)].into());
    Next::Row(Ready { table: 0, number, key, row })
}
