//! Nodes that are away for a while and come back while the others went on.

use super::{ALL, items};
use concord_tests::{Kind, NAMES};

concord_tests::clusters! {
    pairs: [nobody_left_to_sync_with, away_and_back]
    many: [
        others_go_on, a_change_goes_by_way_of_another, a_late_comer_conflicts_with_what_it_did_not_see, everyone_is_away_in_turn,
    ]
    all: []
}

concord_tests::clusters! {
    mariadb: []
    many: [
        others_go_on, a_change_goes_by_way_of_another, a_late_comer_conflicts_with_what_it_did_not_see, everyone_is_away_in_turn,
    ]
}

async fn away_and_back(kinds: &[Kind]) {
    // GIVEN a node that is away
    let mut cluster = items(kinds).await;
    cluster.leave(1);
    cluster.run(0, "UPDATE items SET amount = 11 WHERE id = 1").await;
    cluster.run(1, "UPDATE items SET amount = 22 WHERE id = 2").await;
    // WHEN the other syncs without it
    let summary = cluster.sync().await;
    // THEN that is said, and nothing is lost
    assert_eq!(summary.away.len(), 1);
    assert_eq!((summary.away[0].node.as_str(), summary.away[0].unreachable), ("b", true));
    assert_eq!(summary.exit_code(), 3);
    cluster.back(1);
    assert_eq!(cluster.settle().await.conflicts, 0);
    cluster.holds(ALL, &["1|one|11", "2|two|22", "3|three|30"]).await;
}

async fn nobody_left_to_sync_with(kinds: &[Kind]) {
    let cluster = items(kinds).await;
    cluster.leave(0);
    cluster.leave(1);
    let error = cluster.session().sync().await.expect_err("nobody is there");
    assert_eq!(error.exit_code(), 3);
    assert_eq!(error.to_string(), "node `a`: nobody answers\nnode `b`: nobody answers");
}

async fn others_go_on(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    let last = kinds.len() - 1;
    cluster.leave(last);
    cluster.run(0, "UPDATE items SET amount = 11 WHERE id = 1; DELETE FROM items WHERE id = 3").await;
    cluster.run(last, "INSERT INTO items VALUES (4, 'four', 40)").await;
    let summary = cluster.sync().await;
    assert_eq!(summary.away.iter().map(|away| away.node.as_str()).collect::<Vec<_>>(), [NAMES[last]]);
    for at in 0..last {
        cluster.holds_at(at, ALL, &["1|one|11", "2|two|20"]).await;
    }
    cluster.holds_at(last, ALL, &["1|one|10", "2|two|20", "3|three|30", "4|four|40"]).await;
    cluster.back(last);
    assert_eq!(cluster.settle().await.conflicts, 0);
    cluster.holds(ALL, &["1|one|11", "2|two|20", "4|four|40"]).await;
}

/// A's change reaches C by way of B, whose users then change it: when A comes back that is no conflict with A's.
async fn a_change_goes_by_way_of_another(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    cluster.leave(2);
    cluster.run(0, "UPDATE items SET name = 'from a' WHERE id = 1").await;
    cluster.sync().await;
    cluster.back(2);
    cluster.leave(0);
    cluster.sync().await;
    cluster.holds_at(2, "SELECT name FROM items WHERE id = 1", &["from a"]).await;
    cluster.run(2, "UPDATE items SET name = name || ' and c' WHERE id = 1").await;
    cluster.sync().await;
    cluster.back(0);
    assert_eq!(cluster.settle().await.conflicts, 0);
    cluster.holds("SELECT name FROM items WHERE id = 1", &["from a and c"]).await;
}

/// What was decided without it is decided again with it, and the latest of all wins.
async fn a_late_comer_conflicts_with_what_it_did_not_see(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    cluster.leave(2);
    cluster.later(0, "UPDATE items SET name = 'a' WHERE id < 3").await;
    cluster.later(2, "UPDATE items SET name = 'c' WHERE id = 1").await;
    cluster.later(1, "UPDATE items SET name = 'b' WHERE id < 3").await;
    cluster.later(2, "UPDATE items SET name = 'c' WHERE id = 2").await;
    assert_eq!(cluster.sync().await.conflicts, 2);
    cluster.back(2);
    assert_eq!(cluster.settle().await.conflicts, 2);
    cluster.holds("SELECT name FROM items ORDER BY id", &["b", "c", "three"]).await;
}

async fn everyone_is_away_in_turn(kinds: &[Kind]) {
    let mut cluster = items(kinds).await;
    for round in 0..2 {
        for away in 0..kinds.len() {
            cluster.leave(away);
            for at in 0..kinds.len() {
                let id = 100 * round + 10 * away + at + 10;
                cluster.run(at, &format!("INSERT INTO items VALUES ({id}, '{round} {away} {at}', {at})")).await;
                cluster.later(at, &format!("UPDATE items SET name = '{round} {away} {at}' WHERE id = 1")).await;
            }
            cluster.sync().await;
            cluster.back(away);
        }
    }
    cluster.settle().await;
    let latest = format!("1 {} {}", kinds.len() - 1, kinds.len() - 1);
    cluster.holds("SELECT name FROM items WHERE id = 1", &[&latest]).await;
    cluster.holds("SELECT count(*) FROM items", &[&(3 + 2 * kinds.len() * kinds.len()).to_string()]).await;
}

/// The file itself goes away, as on a drive that is not mounted.
#[tokio::test]
async fn a_file_that_is_not_there() {
    let mut cluster = items(&[Kind::Postgres, Kind::Sqlite]).await;
    let path = cluster.nodes[1].database.url().trim_start_matches("sqlite:").to_owned();
    let elsewhere = format!("{path}.away");
    cluster.run(0, "UPDATE items SET amount = 11 WHERE id = 1").await;
    cluster.run(1, "UPDATE items SET amount = 22 WHERE id = 2").await;
    // Everything is in the file itself, as after the last user has closed it.
    cluster.nodes[1].user.rows("PRAGMA wal_checkpoint(TRUNCATE)").await;
    std::fs::rename(&path, &elsewhere).expect("the file is ours");
    let summary = cluster.sync().await;
    assert_eq!(
        summary.away.iter().map(|away| (away.node.as_str(), away.unreachable)).collect::<Vec<_>>(),
        [("b", true)]
    );
    assert!(!std::path::Path::new(&path).exists(), "nothing takes its place");
    std::fs::rename(&elsewhere, &path).expect("the file is ours");
    cluster.settle().await;
    cluster.holds(ALL, &["1|one|11", "2|two|22", "3|three|30"]).await;
}

/// A server goes away in the middle of a session that goes on, and comes back.
#[tokio::test]
async fn a_server_that_is_restarted() {
    use concord_tests::postgres::{Server, Stop};
    use concord_tests::{As, Database};
    let server = Server::dedicated(&[]);
    let mut cluster = items(&[Kind::Sqlite, Kind::Sqlite]).await;
    let database = Database::on(&server).await;
    database.user_as(As::Sync).await.execute(super::ITEMS).await;
    cluster.replace(1, database).await;
    let uninstalled = cluster.session().uninstall().await;
    uninstalled.expect("there is something to remove");
    cluster.install().await;
    let mut session = cluster.session();
    session.sync().await.expect("all are there");
    cluster.run(1, "UPDATE items SET amount = 22 WHERE id = 2").await;
    server.stop(Stop::Fast);
    cluster.run(0, "UPDATE items SET amount = 11 WHERE id = 1").await;
    let summary = session.sync().await.expect("one is there");
    assert_eq!(
        summary.away.iter().map(|away| (away.node.as_str(), away.unreachable)).collect::<Vec<_>>(),
        [("b", true)]
    );
    server.start();
    let summary = session.sync().await.expect("all are there again");
    assert_eq!(summary.away, []);
    cluster.holds_at(0, ALL, &["1|one|11", "2|two|22", "3|three|30"]).await;
}

/// What a replica shows says nothing about the transactions that are open at its primary, so nothing is read there until it is
/// promoted.
#[tokio::test]
async fn a_server_that_comes_back_as_a_replica() {
    use concord_tests::postgres::{Server, Stop};
    use concord_tests::{As, Database};
    let server = Server::dedicated(&[]);
    let mut cluster = items(&[Kind::Sqlite, Kind::Sqlite]).await;
    let database = Database::on(&server).await;
    database.user_as(As::Sync).await.execute(super::ITEMS).await;
    cluster.replace(1, database).await;
    cluster.session().uninstall().await.expect("there is something to remove");
    cluster.install().await;
    let mut session = cluster.session();
    session.sync().await.expect("all are there");
    cluster.run(1, "UPDATE items SET amount = 22 WHERE id = 2").await;
    server.stop(Stop::Fast);
    cluster.run(0, "UPDATE items SET amount = 11 WHERE id = 1").await;
    session.sync().await.expect("one is there");
    server.start_as_replica();
    // The session that knew the primary, and one that has seen nothing else.
    for session in [&mut session, &mut cluster.session()] {
        let summary = session.sync().await.expect("one is there");
        let [away] = &summary.away[..] else { panic!("{summary:?}") };
        assert!(away.node == "b" && away.why.contains("the server is a replica"), "{away:?}");
        cluster.holds_at(0, ALL, &["1|one|11", "2|two|20", "3|three|30"]).await;
    }
    cluster.nodes[1].database.user_as(As::Admin).await.rows("SELECT pg_promote()").await;
    let summary = session.sync().await.expect("all are there again");
    assert_eq!(summary.away, []);
    cluster.holds_at(0, ALL, &["1|one|11", "2|two|22", "3|three|30"]).await;
}
