//! Users write while a load is at a given point: nothing of theirs is overwritten, and nothing waits needlessly.

use super::{ALL, before, items, prefer};
use concord::sync::{LoadOptions, Repair, Verify};
use concord_tests::{Cluster, Kind};

concord_tests::clusters! {
    pairs: [a_row_comes_where_it_is_missing, a_row_is_deleted_at_its_source, a_row_changes_at_its_source,
            a_row_is_deleted_that_was_just_copied, another_engine_is_at_work, two_loads_at_once,
            two_loads_that_prefer_different_nodes, a_comparison_mends_beside_a_load]
    many: []
    all: []
}

/// Loads; while it stands at its first pass of a fault point, something happens.
pub(super) async fn load_while(cluster: &mut Cluster, point: &str, meanwhile: impl AsyncFnOnce(&mut Cluster)) {
    let mut session = cluster.session();
    let options = LoadOptions { prefer: Some("a".to_owned()), ..LoadOptions::default() };
    let mut deaf = |_: &concord::sync::Stage| ();
    let load = Box::pin(session.load(&options, &mut deaf));
    let loaded = cluster.during(point, load, meanwhile).await.unwrap_or_else(|error| panic!("load: {error}"));
    assert_eq!(loaded.exit_code(), 0, "{loaded:?}");
    assert_eq!(loaded.sync.waiting, 0, "{loaded:?}");
}

/// Between the decision and the writing a user creates the very row.
async fn a_row_comes_where_it_is_missing(kinds: &[Kind]) {
    let mut cluster = items(kinds, "").await;
    before(&mut cluster, &[(0, "INSERT INTO items VALUES (1, 'old', 1), (2, 'two', 2)")]).await;
    load_while(&mut cluster, "read-done", async |cluster| {
        cluster.later(1, "INSERT INTO items VALUES (1, 'by a user', 10)").await;
    })
    .await;
    cluster.holds(ALL, &["1|by a user|10", "2|two|2"]).await;
    cluster.settle().await;
}

async fn a_row_is_deleted_at_its_source(kinds: &[Kind]) {
    let mut cluster = items(kinds, "").await;
    before(&mut cluster, &[(0, "INSERT INTO items VALUES (1, 'one', 1), (2, 'two', 2)")]).await;
    load_while(&mut cluster, "read-done", async |cluster| cluster.run(0, "DELETE FROM items WHERE id = 1").await).await;
    cluster.holds(ALL, &["2|two|2"]).await;
    cluster.settle().await;
}

async fn a_row_changes_at_its_source(kinds: &[Kind]) {
    let mut cluster = items(kinds, "").await;
    before(&mut cluster, &[(0, "INSERT INTO items VALUES (1, 'one', 1), (2, 'two', 2)")]).await;
    load_while(&mut cluster, "read-done", async |cluster| {
        cluster.run(0, "UPDATE items SET name = 'uno' WHERE id = 1").await;
    })
    .await;
    cluster.holds(ALL, &["1|uno|1", "2|two|2"]).await;
    cluster.settle().await;
}

/// A delete of what was just copied is a delete like any other.
async fn a_row_is_deleted_that_was_just_copied(kinds: &[Kind]) {
    let mut cluster = items(kinds, "").await;
    before(&mut cluster, &[(0, "INSERT INTO items VALUES (1, 'one', 1), (2, 'two', 2)")]).await;
    load_while(&mut cluster, "load-remembered", async |cluster| {
        cluster.run(1, "DELETE FROM items WHERE id = 1").await;
    })
    .await;
    cluster.holds(ALL, &["2|two|2"]).await;
    cluster.settle().await;
}

/// Another engine carries a delete between the load's look and its writing: the row does not come back.
async fn another_engine_is_at_work(kinds: &[Kind]) {
    let mut cluster = items(kinds, "").await;
    before(&mut cluster, &[(0, "INSERT INTO items VALUES (1, 'one', 1), (2, 'two', 2)")]).await;
    // The first pass is that of the sync which goes before.
    let mut session = cluster.session();
    session.sync().await.expect("everybody is there");
    load_while(&mut cluster, "apply-begin", async |cluster| {
        cluster.run(0, "DELETE FROM items WHERE id = 1").await;
        session.sync().await.expect("everybody is there");
    })
    .await;
    cluster.holds(ALL, &["2|two|2"]).await;
    cluster.settle().await;
}

async fn two_loads_at_once(kinds: &[Kind]) {
    let mut cluster = items(kinds, "").await;
    let rows: Vec<String> = (1..=3_000).map(|id| format!("({id}, 'name {id}', {id})")).collect();
    before(&mut cluster, &[(0, &format!("INSERT INTO items VALUES {}", rows.join(", ")))]).await;
    let (mut first, mut second) = (cluster.session(), cluster.session());
    let options = LoadOptions::default();
    let (mut deaf, mut mute) = (|_: &concord::sync::Stage| (), |_: &concord::sync::Stage| ());
    let both =
        futures::future::join(Box::pin(first.load(&options, &mut deaf)), Box::pin(second.load(&options, &mut mute)));
    let (one, other) = both.await;
    one.unwrap_or_else(|error| panic!("load: {error}"));
    other.unwrap_or_else(|error| panic!("load: {error}"));
    cluster.holds("SELECT count(*) FROM items", &["3000"]).await;
    cluster.settle().await;
}

const ONE_AND_ITS_LIKE: [(usize, &str); 2] =
    [(0, "INSERT INTO items VALUES (1, 'of a', 1)"), (1, "INSERT INTO items VALUES (1, 'of b', 1)")];

/// The second has done all its work between the look of the first and its writing.
async fn two_loads_that_prefer_different_nodes(kinds: &[Kind]) {
    let mut cluster = items(kinds, "").await;
    before(&mut cluster, &ONE_AND_ITS_LIKE).await;
    cluster.sync().await;
    // The first pass is that of the sync which goes before.
    load_while(&mut cluster, "read-done@2", async |cluster| {
        assert_eq!(cluster.load(&prefer("b")).await.exit_code(), 0);
        cluster.holds(ALL, &["1|of b|1"]).await;
    })
    .await;
    cluster.holds(ALL, &["1|of b|1"]).await;
    let lost = cluster.session().conflicts(0).await.expect("the journal can be read");
    assert_eq!(lost.len(), 1, "{lost:#?}");
    cluster.settle().await;
}

async fn a_comparison_mends_beside_a_load(kinds: &[Kind]) {
    let mut cluster = items(kinds, "").await;
    before(&mut cluster, &ONE_AND_ITS_LIKE).await;
    cluster.sync().await;
    let mut session = cluster.session();
    let how = Verify { repair: Repair::Mend, prefer: Some("a".to_owned()), ..Verify::default() };
    let verified = cluster
        .during("verify-mend", Box::pin(session.verify(&how)), async |cluster| {
            assert_eq!(cluster.load(&prefer("b")).await.exit_code(), 0);
        })
        .await
        .unwrap_or_else(|error| panic!("verify: {error}"));
    let table = &verified.tables[0];
    assert_eq!((verified.exit_code(), table.differences, table.moved_on), (0, 0, 0), "{verified:#?}");
    cluster.holds(ALL, &["1|of b|1"]).await;
    cluster.settle().await;
}
